package api

import (
	"context"
	"net/http"

	"deputy/internal/deputy"
)

// Role is what policies can ask whether a principal has, as clients see it.
type Role struct {
	ID             string  `json:"id" doc:"Policies name the role by it: principal in Keycard::Role::\"…\"."`
	OrganizationID string  `json:"organization_id"`
	ZoneID         string  `json:"zone_id"`
	Slug           string  `json:"slug"`
	Identifier     string  `json:"identifier"`
	Name           string  `json:"name"`
	Description    *string `json:"description,omitzero"`
	CreatedAt      Time    `json:"created_at"`
	UpdatedAt      Time    `json:"updated_at"`
}

// Group is a set of users, as clients see it.
type Group struct {
	ID             string  `json:"id" doc:"Policies name the group by it: principal in Keycard::Group::\"…\"."`
	OrganizationID string  `json:"organization_id"`
	ZoneID         string  `json:"zone_id"`
	Slug           string  `json:"slug"`
	Identifier     string  `json:"identifier"`
	Name           string  `json:"name"`
	Description    *string `json:"description,omitzero"`
	CreatedAt      Time    `json:"created_at"`
	UpdatedAt      Time    `json:"updated_at"`
}

// LabelCreate makes a role or a group.
type LabelCreate struct {
	Identifier  string  `json:"identifier" minLength:"1" maxLength:"255" doc:"Unique in the zone; free form." example:"approver"`
	Name        string  `json:"name" minLength:"1" maxLength:"255" example:"Approver"`
	Description *string `json:"description,omitzero" maxLength:"2048"`
}

// LabelPatch changes a role or a group.
type LabelPatch struct {
	Identifier  Patch[string]    `json:"identifier,omitzero" minLength:"1" maxLength:"255"`
	Name        Patch[string]    `json:"name,omitzero" minLength:"1" maxLength:"255"`
	Description Nullable[string] `json:"description,omitzero" maxLength:"2048"`
}

// labelList is what lists of roles and of groups can be asked.
var labelList = listing{
	Expand: []string{"total_count"}, Sort: []string{"created_at", "identifier"},
	Parameters: []parameter{
		{Name: "filter[id]", Fields: []string{"id"}, Many: true, IDs: true, Doc: "These, on one page; ids of none are left out."},
		{Name: "filter[identifier]", Fields: []string{"identifier"}, Many: true, Doc: "Exactly one of these identifiers."},
		{Name: "filter[slug]", Fields: []string{"slug"}, Many: true, Doc: "Exactly one of these slugs."},
		{Name: "query[name]", Fields: []string{"name"}, Op: deputy.Contains, Many: true, Doc: "Name contains one of these, letter case aside."},
	},
}

var roles = Noun[deputy.Role, Role, LabelCreate, LabelPatch]{
	Name: "role", Plural: "roles", Path: "/zones/{zone_id}/roles", Key: "id", Tag: "Roles", Made: http.StatusOK, Short: true,
	About:  "A role is what policies can ask whether a principal has. Assignments say who has it.",
	List:   labelList,
	Reads:  func(v deputy.View) deputy.Reads[deputy.Role] { return v.Roles() },
	Writes: func(tx deputy.Tx) deputy.Writes[deputy.Role] { return tx.Roles() },
	ID:     func(d *deputy.Role) deputy.ID { return d.ID },
	View: func(_ *API, _ *call, d *deputy.Role) Role {
		return Role{
			ID: string(d.ID), OrganizationID: string(d.OrganizationID), ZoneID: string(d.ZoneID), Slug: d.Slug, Identifier: d.Identifier,
			Name: d.Name, Description: d.Description, CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt),
		}
	},
	New: func(_ *API, c *call, in *LabelCreate) *deputy.Role {
		return &deputy.Role{
			ID: deputy.NewID(c.at), OrganizationID: c.zone.OrganizationID, ZoneID: c.zone.ID, Slug: deputy.Slug(in.Name, "role"),
			Identifier: in.Identifier, Name: in.Name, Description: in.Description, CreatedAt: c.at, UpdatedAt: c.at,
		}
	},
	Change: func(_ *API, _ *call, d *deputy.Role, in *LabelPatch) error {
		in.Identifier.To(&d.Identifier)
		in.Name.To(&d.Name)
		in.Description.To(&d.Description)
		return nil
	},
	Check: (*deputy.Role).Validate,
}

var groups = Noun[deputy.Group, Group, LabelCreate, LabelPatch]{
	Name: "group", Plural: "groups", Path: "/zones/{zone_id}/groups", Key: "id", Tag: "Groups", Made: http.StatusOK, Short: true,
	About:  "A group is a set of users that can have roles together, and that policies can ask whether a user is in.",
	List:   labelList,
	Reads:  func(v deputy.View) deputy.Reads[deputy.Group] { return v.Groups() },
	Writes: func(tx deputy.Tx) deputy.Writes[deputy.Group] { return tx.Groups() },
	ID:     func(d *deputy.Group) deputy.ID { return d.ID },
	View: func(_ *API, _ *call, d *deputy.Group) Group {
		return Group{
			ID: string(d.ID), OrganizationID: string(d.OrganizationID), ZoneID: string(d.ZoneID), Slug: d.Slug, Identifier: d.Identifier,
			Name: d.Name, Description: d.Description, CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt),
		}
	},
	New: func(_ *API, c *call, in *LabelCreate) *deputy.Group {
		return &deputy.Group{
			ID: deputy.NewID(c.at), OrganizationID: c.zone.OrganizationID, ZoneID: c.zone.ID, Slug: deputy.Slug(in.Name, "group"),
			Identifier: in.Identifier, Name: in.Name, Description: in.Description, CreatedAt: c.at, UpdatedAt: c.at,
		}
	},
	Change: func(_ *API, _ *call, d *deputy.Group, in *LabelPatch) error {
		in.Identifier.To(&d.Identifier)
		in.Name.To(&d.Name)
		in.Description.To(&d.Description)
		return nil
	},
	Check: (*deputy.Group).Validate,
}

// RoleAssignment gives a role to a principal, as clients see it.
type RoleAssignment struct {
	ID             string              `json:"id"`
	OrganizationID string              `json:"organization_id"`
	ZoneID         string              `json:"zone_id"`
	RoleID         string              `json:"role_id"`
	RoleIdentifier string              `json:"role_identifier"`
	Principal      RolePrincipal       `json:"principal"`
	Scope          Nullable[RoleScope] `json:"scope" doc:"What the role counts for; null: the whole zone."`
	CreatedAt      Time                `json:"created_at"`
}

// RolePrincipal is who has a role.
type RolePrincipal struct {
	Type string `json:"type" enum:"user,application,group"`
	ID   string `json:"id" minLength:"1"`
}

// RoleScope is what a role is limited to.
type RoleScope struct {
	Type string `json:"type" enum:"resource"`
	ID   string `json:"id" minLength:"1"`
}

// RoleAssignmentCreate gives a role to a principal.
type RoleAssignmentCreate struct {
	RoleID    string              `json:"role_id" minLength:"1"`
	Principal RolePrincipal       `json:"principal"`
	Scope     Nullable[RoleScope] `json:"scope,omitzero" doc:"Counts only where credentials for this are asked for; for the whole zone unless said."`
}

var roleAssignments = Noun[deputy.RoleAssignment, RoleAssignment, RoleAssignmentCreate, empty]{
	Name: "role_assignment", Plural: "role_assignments", Path: "/zones/{zone_id}/role-assignments", Key: "id", Tag: "Roles", Made: http.StatusOK, Short: true,
	About: "An assignment gives a role to a user, an application, or everybody in a group. It never changes, and counts from the next request on.",
	List: listing{
		Expand: []string{"total_count"},
		Parameters: []parameter{
			{Name: "role_id", Fields: []string{"role_id"}, Doc: "Of this role."},
			{Name: "principal_type", Fields: []string{"principal_type"}, Enum: []string{"user", "application", "group"}, Doc: "To principals of this type."},
			{Name: "principal_id", Fields: []string{"principal_id"}, Doc: "To this principal."},
		},
	},
	Reads:  func(v deputy.View) deputy.Reads[deputy.RoleAssignment] { return v.RoleAssignments() },
	Writes: func(tx deputy.Tx) deputy.Writes[deputy.RoleAssignment] { return tx.RoleAssignments() },
	ID:     func(d *deputy.RoleAssignment) deputy.ID { return d.ID },
	View: func(_ *API, _ *call, d *deputy.RoleAssignment) RoleAssignment {
		return RoleAssignment{
			ID: string(d.ID), OrganizationID: string(d.OrganizationID), ZoneID: string(d.ZoneID),
			RoleID: string(d.RoleID), RoleIdentifier: d.RoleIdentifier,
			Principal: RolePrincipal{Type: string(d.PrincipalType), ID: string(d.PrincipalID)},
			Scope:     viewScope(d), CreatedAt: Time(d.CreatedAt),
		}
	},
	New: func(_ *API, c *call, in *RoleAssignmentCreate) *deputy.RoleAssignment {
		d := &deputy.RoleAssignment{
			ID: deputy.NewID(c.at), OrganizationID: c.zone.OrganizationID, ZoneID: c.zone.ID, RoleID: deputy.ID(in.RoleID),
			PrincipalType: deputy.PrincipalType(in.Principal.Type), PrincipalID: deputy.ID(in.Principal.ID), CreatedAt: c.at,
		}
		if in.Scope.Set && !in.Scope.Null {
			d.ScopeType, d.ScopeID = deputy.ScopeType(in.Scope.V.Type), deputy.ID(in.Scope.V.ID)
		}
		return d
	},
	Check: func(*deputy.RoleAssignment) error { return nil },
	Refer: referAssignment,
}

func viewScope(d *deputy.RoleAssignment) Nullable[RoleScope] {
	if d.ScopeType == "" {
		return Null[RoleScope]()
	}
	return SetNullable(RoleScope{Type: string(d.ScopeType), ID: string(d.ScopeID)})
}

// referAssignment checks that role, principal and scope are in the zone, and
// fills in what the role is called.
func referAssignment(ctx context.Context, tx deputy.Tx, c *call, d *deputy.RoleAssignment) error {
	in := deputy.Scope{Zone: c.zone.ID}
	if err := exists(ctx, tx.Roles(), in, "role_id", &d.RoleID); err != nil {
		return err
	}
	role, err := tx.Roles().Get(ctx, in, d.RoleID)
	if err != nil {
		return err
	}
	d.RoleIdentifier = role.Identifier
	if d.ScopeType == deputy.ResourceScope {
		if err := exists(ctx, tx.Resources(), in, "scope.id", &d.ScopeID); err != nil {
			return err
		}
	}
	switch d.PrincipalType {
	case deputy.UserPrincipal:
		return exists(ctx, tx.Users(), in, "principal.id", &d.PrincipalID)
	case deputy.ApplicationPrincipal:
		return exists(ctx, tx.Applications(), in, "principal.id", &d.PrincipalID)
	}
	return exists(ctx, tx.Groups(), in, "principal.id", &d.PrincipalID)
}
