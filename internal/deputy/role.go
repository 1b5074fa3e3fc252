package deputy

import (
	"context"
	"time"
)

// Role is what policies can ask whether a principal has. Who has it is told by
// its assignments.
type Role struct {
	ID                   ID
	OrganizationID       OrganizationID
	ZoneID               ZoneID
	Slug                 string
	Identifier           string // unique in the zone
	Name                 string
	Description          *string
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// Validate checks the role's own invariants.
func (r *Role) Validate() error { return labelled(r.Identifier, r.Name, r.Description) }

// Group is a set of users that can have roles together, and that policies can
// ask whether a user is in.
type Group struct {
	ID                   ID
	OrganizationID       OrganizationID
	ZoneID               ZoneID
	Slug                 string
	Identifier           string // unique in the zone
	Name                 string
	Description          *string
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// Validate checks the group's own invariants.
func (g *Group) Validate() error { return labelled(g.Identifier, g.Name, g.Description) }

// labelled checks what roles and groups share.
func labelled(identifier, name string, description *string) error {
	if err := SafeText("identifier", identifier, 1, MaxName); err != nil {
		return err
	}
	return named(identifier, name, description)
}

// PrincipalType says what kind of principal a role is assigned to.
type PrincipalType string

// The principals that can have roles.
const (
	UserPrincipal        PrincipalType = "user"
	ApplicationPrincipal PrincipalType = "application"
	GroupPrincipal       PrincipalType = "group"
)

// ScopeType says what kind of entity an assignment is limited to.
type ScopeType string

// ResourceScope limits an assignment to requests for one resource.
const ResourceScope ScopeType = "resource"

// RoleAssignment gives a role to a principal: in the whole zone, or with a
// scope only where that is what is asked for. It never changes.
type RoleAssignment struct {
	ID             ID
	OrganizationID OrganizationID
	ZoneID         ZoneID
	RoleID         ID
	// RoleIdentifier is the role's; the store fills it when it reads.
	RoleIdentifier string
	PrincipalType  PrincipalType
	PrincipalID    ID
	ScopeType      ScopeType // empty: the whole zone
	ScopeID        ID
	CreatedAt      time.Time
}

// Membership says that a user is in a group. Its id is the user's.
type Membership struct {
	ZoneID    ZoneID
	GroupID   ID
	UserID    UserID
	CreatedAt time.Time
}

// HeldRole is a role as one of its holders has it.
type HeldRole struct {
	ID         ID
	Identifier string
	Resource   ResourceID // the only one that it counts for; empty: every one
}

// HeldGroup is a group that a user is in, with the roles it has.
type HeldGroup struct {
	ID         ID
	Identifier string
	Name       string
	Roles      []HeldRole
}

// Affiliations are the groups and roles of a user.
type Affiliations struct {
	Groups []HeldGroup
	Roles  []HeldRole // those that the user has alone
}

// RolesOf returns the roles of an application, the oldest first. Whoever uses
// them rests on the application.
func RolesOf(ctx context.Context, v View, zone ZoneID, app ApplicationID) ([]HeldRole, error) {
	page, err := v.RoleAssignments().List(ctx, Scope{Zone: zone}, Query{
		All: true, Sort: []Sort{{Field: "created_at"}},
		Where: []Filter{
			{Fields: []string{"principal_type"}, Values: []string{string(ApplicationPrincipal)}},
			{Fields: []string{"principal_id"}, Values: []string{string(app)}},
		},
	})
	if err != nil {
		return nil, err
	}
	var roles []HeldRole
	for _, r := range page.Items {
		roles = append(roles, HeldRole{ID: r.RoleID, Identifier: r.RoleIdentifier, Resource: ResourceID(r.ScopeID)})
	}
	return roles, nil
}
