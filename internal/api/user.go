package api

import (
	"context"

	"deputy/internal/deputy"
)

// User is a person of a zone, as clients see them.
type User struct {
	ID              string                `json:"id"`
	OrganizationID  string                `json:"organization_id"`
	ZoneID          string                `json:"zone_id"`
	Identifier      string                `json:"identifier" doc:"Unique in the zone; the sub claim of the person's tokens."`
	Email           string                `json:"email"`
	EmailVerified   bool                  `json:"email_verified"`
	Status          string                `json:"status" enum:"active,disabled" doc:"Whoever is disabled cannot authenticate."`
	ProviderID      *string               `json:"provider_id,omitzero" doc:"The provider that the person came from, while it exists."`
	Issuer          *string               `json:"issuer,omitzero"`
	Subject         *string               `json:"subject,omitzero" doc:"The person's account at the issuer."`
	AuthenticatedAt *Time                 `json:"authenticated_at,omitzero"`
	RoleAssignments *[]UserRoleAssignment `json:"role_assignments,omitzero" doc:"The roles that the person has alone; with expand role-assignments."`
	SessionCount    *int                  `json:"session_count,omitzero" doc:"How many sessions a list of this person's has; with expand session_count."`
	GrantCount      *int                  `json:"grant_count,omitzero" doc:"How many delegated grants a list of this person's has; with expand grant_count."`
	CreatedAt       Time                  `json:"created_at"`
	UpdatedAt       Time                  `json:"updated_at"`
}

// UserRoleAssignment is a role that a person has.
type UserRoleAssignment struct {
	RoleID         string              `json:"role_id"`
	RoleIdentifier string              `json:"role_identifier"`
	Scope          Nullable[RoleScope] `json:"scope" doc:"What the role counts for; null: the whole zone."`
}

// UserPatch changes a person.
type UserPatch struct {
	Status Patch[string] `json:"status,omitzero" enum:"active,disabled" doc:"Disabling ends every session of the person at once."`
}

var userExpand = []string{"session_count", "grant_count", "role-assignments"}

var users = Noun[deputy.User, User, empty, UserPatch]{
	Name: "user", Plural: "users", Path: "/zones/{zone_id}/users", Key: "id", Tag: "Users", Short: true,
	About: "A user is a person who has signed in to the zone.",
	List: listing{
		Expand: append([]string{"total_count"}, userExpand...), Sort: []string{"created_at", "email", "authenticated_at"},
		Parameters: []parameter{
			{Name: "filter[id]", Fields: []string{"id"}, Many: true, IDs: true, Doc: "These, on one page; ids of none are left out."},
			{Name: "filter[email]", Fields: []string{"email"}, Many: true, Doc: "Exactly one of these e-mail addresses."},
			{Name: "query[]", Fields: []string{"email", "subject"}, Op: deputy.Contains, Many: true, Doc: "E-mail address or subject contains one of these, letter case aside."},
			{Name: "query[email]", Fields: []string{"email"}, Op: deputy.Contains, Many: true, Doc: "E-mail address contains one of these."},
			{Name: "query[subject]", Fields: []string{"subject"}, Op: deputy.Contains, Many: true, Doc: "Subject contains one of these."},
		},
	},
	Expand: userExpand,
	Reads:  func(v deputy.View) deputy.Reads[deputy.User] { return v.Users() },
	Writes: func(tx deputy.Tx) deputy.Writes[deputy.User] { return tx.Users() },
	ID:     func(d *deputy.User) deputy.ID { return deputy.ID(d.ID) },
	View:   viewUser,
	Change: func(_ *API, _ *call, d *deputy.User, in *UserPatch) error {
		if in.Status.Set {
			d.Status = deputy.UserStatus(in.Status.V)
		}
		return nil
	},
	Check: func(*deputy.User) error { return nil },
	Beside: func(ctx context.Context, a *API, c *call, page []*deputy.User) (err error) {
		c.people, err = a.beside(ctx, c, page)
		return err
	},
}

func viewUser(a *API, c *call, d *deputy.User) User {
	v := User{
		ID: string(d.ID), OrganizationID: string(d.OrganizationID), ZoneID: string(d.ZoneID),
		Identifier: d.Identifier, Email: d.Email, EmailVerified: d.EmailVerified, Status: string(d.Status),
		ProviderID: text(d.ProviderID), Subject: d.Subject, AuthenticatedAt: timePointer(d.AuthenticatedAt),
		CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt),
	}
	if d.Issuer != nil {
		v.Issuer = pointer(a.addresses.Shown(c.zone, *d.Issuer))
	}
	c.people.show(&v)
	return v
}

// people is what views of users show beside their rows; nil where it was not
// asked for.
type people struct {
	sessions, grants map[string]int
	roles            map[string][]UserRoleAssignment
}

// beside reads what the request asks to be added to a page of users.
func (a *API) beside(ctx context.Context, c *call, page []*deputy.User) (*people, error) {
	in, ids := deputy.Scope{Zone: c.zone.ID}, make([]string, 0, len(page))
	for _, u := range page {
		ids = append(ids, string(u.ID))
	}
	p := &people{}
	var err error
	if c.expand["session_count"] {
		if p.sessions, err = a.store.Sessions().Tally(ctx, in, "user_id", ids, inViews(deputy.EntryUser)); err != nil {
			return nil, err
		}
	}
	if c.expand["grant_count"] {
		if p.grants, err = a.store.Grants().Tally(ctx, in, "user_id", ids); err != nil {
			return nil, err
		}
	}
	if c.expand["role-assignments"] {
		p.roles, err = a.rolesOf(ctx, in, ids)
	}
	return p, err
}

// rolesOf returns the assignments of users, the oldest first.
func (a *API) rolesOf(ctx context.Context, in deputy.Scope, ids []string) (map[string][]UserRoleAssignment, error) {
	out := map[string][]UserRoleAssignment{}
	page, err := a.store.RoleAssignments().List(ctx, in, deputy.Query{
		All: true, Sort: []deputy.Sort{{Field: "created_at"}},
		Where: []deputy.Filter{
			{Fields: []string{"principal_type"}, Values: []string{string(deputy.UserPrincipal)}},
			{Fields: []string{"principal_id"}, Values: ids},
		},
	})
	if err != nil {
		return nil, err
	}
	for _, r := range page.Items {
		user := string(r.PrincipalID)
		out[user] = append(out[user], UserRoleAssignment{RoleID: string(r.RoleID), RoleIdentifier: r.RoleIdentifier, Scope: viewScope(r)})
	}
	return out, nil
}

// show adds what was asked for to the view of a user.
func (p *people) show(v *User) {
	if p == nil {
		return
	}
	count := func(of map[string]int) *int {
		if of == nil {
			return nil
		}
		n := of[v.ID]
		return &n
	}
	v.SessionCount, v.GrantCount = count(p.sessions), count(p.grants)
	if p.roles != nil {
		roles := append([]UserRoleAssignment{}, p.roles[v.ID]...)
		v.RoleAssignments = &roles
	}
}

func (a *API) mountUsers() {
	users.mountAll(a, list, get)
	change := users.operation(patch)
	change.Doc, change.Errors = "Beside the contract of existing clients: the only way to shut a person out.", nil
	mount(a, change, users.patch(a))
	erase := users.operation(remove)
	erase.Doc = "Beside the contract of existing clients: the person is gone for good, with their sessions, grants and roles, and what the log knows of them cannot be read any more, because the key that it is encrypted under is destroyed. Tokens of providers are not revoked there: revoke the grants first where that matters."
	mount(a, erase, users.remove(a))
}
