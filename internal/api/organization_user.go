package api

import (
	"context"
	"net/http"

	"deputy/internal/deputy"
)

// OrganizationUser is a person who manages an organization, as clients see them.
type OrganizationUser struct {
	ID          string      `json:"id" doc:"The person's account: the same in every organization."`
	Email       string      `json:"email"`
	Role        string      `json:"role" enum:"org_admin,org_member,org_viewer"`
	Status      string      `json:"status" enum:"active,disabled"`
	Source      string      `json:"source" format:"uri" doc:"Issuer of the identity provider that signs them in."`
	Permissions Permissions `json:"permissions,omitzero" doc:"What the caller may do with users; with expand permissions."`
	CreatedAt   Time        `json:"created_at"`
	UpdatedAt   Time        `json:"updated_at"`
}

// OrganizationUserPatch changes an organization user.
type OrganizationUserPatch struct {
	Role   Patch[string] `json:"role,omitzero" enum:"org_admin,org_member,org_viewer"`
	Status Patch[string] `json:"status,omitzero" enum:"active,disabled"`
}

var organizationUsers = Noun[deputy.OrganizationUser, OrganizationUser, empty, OrganizationUserPatch]{
	Name: organizationUserName, Plural: "organization_users", Path: organizationPath + "/users", Key: "user_id", Tag: "Organization users", Owned: true,
	About:  "An organization user is a person who manages the organization. People join by invitation.",
	List:   ownedListing(roleParameter),
	Expand: organizationExpand,
	Reads:  func(v deputy.View) deputy.Reads[deputy.OrganizationUser] { return v.OrganizationUsers() },
	Writes: func(tx deputy.Tx) deputy.Writes[deputy.OrganizationUser] { return tx.OrganizationUsers() },
	ID:     func(d *deputy.OrganizationUser) deputy.ID { return d.ID },
	View: func(a *API, c *call, d *deputy.OrganizationUser) OrganizationUser {
		return OrganizationUser{
			ID: string(d.ID), Email: d.Email, Role: string(d.Role), Status: string(d.Status), Source: a.source(d.Source),
			Permissions: a.allowed(c, "users"), CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt),
		}
	},
	Check: (*deputy.OrganizationUser).Validate,
	Leave: func(ctx context.Context, tx deputy.Tx, c *call, d *deputy.OrganizationUser) error {
		if !administers(d) {
			return nil
		}
		return administrated(ctx, tx, c.organization.ID)
	},
}

func (a *API) mountOrganizationUsers() {
	organizationUsers.mountAll(a, list, get)
	mount(a, organizationUsers.operation(patch), a.patchOrganizationUser)
	remove := organizationUsers.operation(remove)
	remove.Errors = []int{http.StatusConflict}
	remove.Doc = "They are no longer a user of the organization, nor a member of its zones."
	mount(a, remove, organizationUsers.remove(a))
}

// patchOrganizationUser changes a person's role or status, unless they are the
// last who administers the organization.
func (a *API) patchOrganizationUser(ctx context.Context, c *call, in *input[OrganizationUserPatch]) (*output[OrganizationUser], error) {
	id := organizationUsers.id(c)
	var d *deputy.OrganizationUser
	err := a.write(ctx, c, organizationUsers.target(id), func(tx deputy.Tx) (err error) {
		var did bool
		d, err = tx.OrganizationUsers().Update(ctx, organizationUsers.scope(c), id, func(d *deputy.OrganizationUser) error {
			did = administers(d)
			d.Role = deputy.OrganizationRole(in.Body.Role.Or(string(d.Role)))
			d.Status = deputy.UserStatus(in.Body.Status.Or(string(d.Status)))
			return d.Validate()
		})
		if err != nil || !did || administers(d) {
			return missing(err, organizationUsers.Name)
		}
		return administrated(ctx, tx, c.organization.ID)
	})
	if err != nil {
		return nil, err
	}
	return organizationUsers.view(a, c, d), nil
}

func administers(d *deputy.OrganizationUser) bool {
	return d.Role == deputy.OrganizationAdmin && d.Status == deputy.UserActive
}

// administrated refuses to leave an organization without a person who
// administers it. Those who take one away wait for each other at the
// organization, so that the last two cannot go at once.
func administrated(ctx context.Context, tx deputy.Tx, organization deputy.OrganizationID) error {
	same := func(*deputy.Organization) error { return nil }
	if _, err := tx.Organizations().Update(ctx, deputy.Scope{}, deputy.ID(organization), same); err != nil {
		return err
	}
	left, err := tx.OrganizationUsers().List(ctx, deputy.Scope{Organization: organization}, deputy.Query{Limit: 1, Where: []deputy.Filter{
		{Fields: []string{"role"}, Values: []string{string(deputy.OrganizationAdmin)}},
		{Fields: []string{"status"}, Values: []string{string(deputy.UserActive)}},
	}})
	if err == nil && len(left.Items) == 0 {
		err = deputy.Errorf(deputy.Conflict, "somebody must administer the organization: give the role to another first")
	}
	return err
}

// ZoneMember is an organization user with a role in a zone, as clients see them.
type ZoneMember struct {
	ID                 string          `json:"id"`
	OrganizationID     string          `json:"organization_id"`
	ZoneID             string          `json:"zone_id"`
	OrganizationUserID string          `json:"organization_user_id"`
	Role               string          `json:"role" enum:"zone_manager,zone_viewer"`
	Links              ZoneMemberLinks `json:"_links"`
	CreatedAt          Time            `json:"created_at"`
	UpdatedAt          Time            `json:"updated_at"`
}

// ZoneMemberLinks point to what a member is about.
type ZoneMemberLinks struct {
	Self             Link `json:"self"`
	OrganizationUser Link `json:"organization_user"`
}

// Link points somewhere in the API.
type Link struct {
	Href string `json:"href" format:"uri-reference"`
}

// ZoneMemberCreate gives an organization user a role in a zone.
type ZoneMemberCreate struct {
	OrganizationUserID string `json:"organization_user_id" minLength:"1"`
	Role               string `json:"role" enum:"zone_manager,zone_viewer"`
}

// ZoneMemberPatch changes a member's role.
type ZoneMemberPatch struct {
	ZoneID Patch[Value] `json:"zoneId,omitzero" deprecated:"true" doc:"Means nothing: the path names the zone."`
	Role   string       `json:"role" enum:"zone_manager,zone_viewer"`
}

var zoneMembers = Noun[deputy.ZoneMember, ZoneMember, ZoneMemberCreate, ZoneMemberPatch]{
	Name: "zone_member", Plural: "zone_members", Path: "/zones/{zone_id}/members", Key: "organization_user_id", Tag: "Zone members", Made: http.StatusOK,
	About: "A zone member is an organization user with a role in the zone.",
	List: listing{Expand: []string{"total_count"}, Parameters: []parameter{{
		Name: "role", Fields: []string{"role"}, Doc: "Members with the role.", Enum: []string{string(deputy.ZoneManager), string(deputy.ZoneViewer)},
	}}},
	Reads:  func(v deputy.View) deputy.Reads[deputy.ZoneMember] { return v.ZoneMembers() },
	Writes: func(tx deputy.Tx) deputy.Writes[deputy.ZoneMember] { return tx.ZoneMembers() },
	ID:     func(d *deputy.ZoneMember) deputy.ID { return d.UserID },
	View: func(_ *API, _ *call, d *deputy.ZoneMember) ZoneMember {
		return ZoneMember{
			ID: string(d.ID), OrganizationID: string(d.OrganizationID), ZoneID: string(d.ZoneID), OrganizationUserID: string(d.UserID), Role: string(d.Role),
			Links: ZoneMemberLinks{
				Self:             Link{"/zones/" + string(d.ZoneID) + "/members/" + string(d.UserID)},
				OrganizationUser: Link{"/organizations/" + string(d.OrganizationID) + "/users/" + string(d.UserID)},
			},
			CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt),
		}
	},
	New: func(_ *API, c *call, in *ZoneMemberCreate) *deputy.ZoneMember {
		return &deputy.ZoneMember{
			ID: deputy.NewID(c.at), OrganizationID: c.zone.OrganizationID, ZoneID: c.zone.ID, UserID: deputy.ID(in.OrganizationUserID),
			Role: deputy.ZoneRole(in.Role), CreatedAt: c.at, UpdatedAt: c.at,
		}
	},
	Change: func(_ *API, _ *call, d *deputy.ZoneMember, in *ZoneMemberPatch) error {
		d.Role = deputy.ZoneRole(in.Role)
		return nil
	},
	Check: (*deputy.ZoneMember).Validate,
	Refer: func(ctx context.Context, tx deputy.Tx, _ *call, d *deputy.ZoneMember) error {
		_, err := tx.OrganizationUsers().Get(ctx, deputy.Scope{Organization: d.OrganizationID}, d.UserID)
		return missing(err, organizationUserName)
	},
}

const organizationUserName = "organization_user"
