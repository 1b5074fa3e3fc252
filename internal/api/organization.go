package api

import (
	"context"
	"net/http"

	"deputy/internal/deputy"
)

// Organization is a tenant as clients see it.
type Organization struct {
	ID          string      `json:"id"`
	Name        string      `json:"name"`
	Label       string      `json:"label" maxLength:"63" doc:"May stand for the id in paths. It is made of the first name and stays."`
	SSOEnabled  bool        `json:"sso_enabled" doc:"An outside identity provider signs its people in."`
	Permissions Permissions `json:"permissions,omitzero" doc:"What the caller may do in the organization; with expand permissions."`
	CreatedAt   Time        `json:"created_at"`
	UpdatedAt   Time        `json:"updated_at"`
}

// OrganizationCreate makes an organization.
type OrganizationCreate struct {
	Name Patch[string] `json:"name,omitzero" minLength:"1" maxLength:"255" doc:"Made up unless said." example:"Example Ltd."`
}

// OrganizationPatch changes an organization.
type OrganizationPatch struct {
	Name Patch[string] `json:"name,omitzero" minLength:"1" maxLength:"255" example:"Example Ltd."`
}

// OrganizationToken is a bearer of the management API.
type OrganizationToken struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type" enum:"Bearer"`
	ExpiresIn   int    `json:"expires_in" doc:"Seconds."`
}

// organizationExpand is what lists and reads of organizations, and of what they
// have, can be asked to add. Other values mean nothing.
var organizationExpand = []string{"permissions", "total_count"}

// ownedListing returns what a list of something that an organization has can be
// asked.
func ownedListing(parameters ...parameter) listing {
	return listing{Expand: organizationExpand, Style: bare, Lenient: true, Parameters: parameters}
}

// organizationList is what a list of organizations can be asked.
var organizationList = listing{Expand: organizationExpand, Style: bare, Lenient: true, Cursor: true,
	Parameters: []parameter{{Name: "slug", Fields: []string{"label"}, Doc: "The organization with the label."}}}

const (
	organizationTag  = "Organizations"
	organizationPath = "/organizations/{organization_id}"
)

func (a *API) mountOrganizations() {
	expand := expandParams(organizationExpand, bare)
	mount(a, operation{
		ID: "list-organizations", Method: http.MethodGet, Path: "/organizations", Action: "organizations:list", Tag: organizationTag,
		Summary: "List organizations", Doc: "A person sees those that they are a user of, a service account its own.",
		Status: http.StatusOK, Query: organizationList.document(),
	}, a.listOrganizations)
	mount(a, operation{
		ID: "create-organization", Method: http.MethodPost, Path: "/organizations", Action: "organizations:create", Tag: organizationTag,
		Summary: "Create an organization", Doc: "The caller administers it. Service accounts may not: they are of one organization.",
		Status: http.StatusCreated,
	}, a.createOrganization)
	mount(a, operation{
		ID: "get-organization", Method: http.MethodGet, Path: organizationPath, Action: "organizations:read", Tag: organizationTag,
		Summary: "Get an organization", Status: http.StatusOK, Query: expand,
	}, a.getOrganization)
	mount(a, operation{
		ID: "update-organization", Method: http.MethodPatch, Path: organizationPath, Action: "organizations:update", Tag: organizationTag,
		Summary: "Change an organization", Status: http.StatusOK,
	}, a.patchOrganization)
	mount(a, operation{
		ID: "create-organization-token", Method: http.MethodPost, Path: organizationPath + "/token", Action: "organizations:token", Tag: organizationTag,
		Summary: "Get a bearer token for one of the caller's organizations", Doc: "It takes the bearer of a person, which may be of another organization. The new one ends with it.",
		Status: http.StatusOK, Records: "credentials:issue",
	}, a.createOrganizationToken)
	mount(a, operation{
		ID: "list-organization-identities", Method: http.MethodGet, Path: organizationPath + "/identities", Action: "organization_identities:list",
		Tag: organizationTag, Summary: "List who is in an organization, and who is invited",
		Doc: "An invitation gives way to the user with its mail address.", Status: http.StatusOK, Query: identities.List.document(),
	}, a.listIdentities)
	mount(a, operation{
		ID: "list-organization-roles", Method: http.MethodGet, Path: organizationPath + "/roles", Action: "organization_roles:list",
		Tag: organizationTag, Summary: "List the roles that people can have", Status: http.StatusOK,
		Query: append(expandParams(organizationExpand, bare), roleScope.document()),
	}, a.listRoles)
}

func viewOrganization(a *API, c *call, d *deputy.Organization, r capacities) Organization {
	v := Organization{
		ID: string(d.ID), Name: d.Name, Label: d.Label, SSOEnabled: d.SSOEnabled, CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt),
	}
	if c.expand["permissions"] {
		v.Permissions = a.permissions(r, false)
	}
	return v
}

func (a *API) listOrganizations(ctx context.Context, c *call, _ *empty) (*output[OwnedList[Organization]], error) {
	q, err := organizationList.read(a, c)
	if err != nil {
		return nil, err
	}
	c.expand = q.expand
	own := deputy.Filter{Fields: []string{"id"}, Values: []string{string(c.caller.Organization)}}
	in := map[deputy.OrganizationID]capacities{c.caller.Organization: c.roles}
	if c.caller.Person() {
		own = deputy.Filter{Fields: []string{"user"}, Values: []string{string(c.caller.Account)}}
		users, err := a.store.AccountsOf(ctx, "id", string(c.caller.Account))
		if err != nil {
			return nil, err
		}
		for _, u := range users {
			in[u.OrganizationID] = roleNamed(u.Role)
		}
	}
	q.Where = append(q.Where, own)
	page, err := a.store.Organizations().List(ctx, deputy.Scope{}, q.Query)
	if err != nil {
		return nil, err
	}
	all := newList(page, func(d *deputy.Organization) Organization { return viewOrganization(a, c, d, in[d.ID]) })
	return &output[OwnedList[Organization]]{newOwnedList(all, a.allowed(c, "organizations"))}, nil
}

// createOrganization makes an organization whose administrator is the caller:
// the same person as in the one that their bearer is of.
func (a *API) createOrganization(ctx context.Context, c *call, in *input[OrganizationCreate]) (*output[Organization], error) {
	name := in.Body.Name.Or("Organization")
	o := &deputy.Organization{
		ID: deputy.OrganizationID(deputy.NewID(c.at)), Name: name, Label: deputy.Slug(name, "organization"), CreatedAt: c.at, UpdatedAt: c.at,
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	key, err := a.vault.New(ctx, deputy.ID(o.ID), "", c.at)
	if err != nil {
		return nil, err
	}
	o.KeyID = key.ID
	person, err := a.vault.New(ctx, c.caller.Account, key.ID, c.at)
	if err != nil {
		return nil, err
	}
	event := c.event(deputy.Success, &deputy.Target{Type: "organization", ID: string(o.ID)})
	event.OrganizationID, event.UserKey = o.ID, person.ID // the first of the new one's log
	err = a.writeEvent(ctx, c, event, func(tx deputy.Tx) error {
		admin, err := tx.OrganizationUsers().Get(ctx, deputy.Scope{Organization: c.caller.Organization}, c.caller.Account)
		if err != nil {
			return err
		}
		if admin.Source != "" {
			return errVouched
		}
		admin.OrganizationID, admin.Role, admin.KeyID = o.ID, deputy.OrganizationAdmin, person.ID
		admin.CreatedAt, admin.UpdatedAt, admin.Revision = c.at, c.at, 0
		for _, k := range []deputy.DataKey{key, person} {
			if err := tx.InsertDataKey(ctx, k); err != nil {
				return err
			}
		}
		if err := tx.Organizations().Insert(ctx, o); err != nil {
			return err
		}
		return tx.OrganizationUsers().Insert(ctx, admin)
	})
	if err != nil {
		return nil, err
	}
	return &output[Organization]{viewOrganization(a, c, o, orgAdmin)}, nil
}

func (a *API) getOrganization(_ context.Context, c *call, _ *empty) (*output[Organization], error) {
	expand, err := readExpand(c, organizationExpand, bare, true)
	if err != nil {
		return nil, err
	}
	c.expand = expand
	return &output[Organization]{viewOrganization(a, c, c.organization, c.roles)}, nil
}

func (a *API) patchOrganization(ctx context.Context, c *call, in *input[OrganizationPatch]) (*output[Organization], error) {
	var changed *deputy.Organization
	target := &deputy.Target{Type: "organization", ID: string(c.organization.ID)}
	err := a.write(ctx, c, target, func(tx deputy.Tx) (err error) {
		changed, err = tx.Organizations().Update(ctx, deputy.Scope{}, deputy.ID(c.organization.ID), func(d *deputy.Organization) error {
			in.Body.Name.To(&d.Name)
			return d.Validate()
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return &output[Organization]{viewOrganization(a, c, changed, c.roles)}, nil
}

// createOrganizationToken gives the caller a bearer of the organization that
// the path names. Its event is the issuer's.
func (a *API) createOrganizationToken(ctx context.Context, c *call, _ *empty) (*output[OrganizationToken], error) {
	b, err := a.issue(ctx, deputy.BearerRequest{
		Organization: c.organization.ID, Account: c.caller.Account, ClientID: c.caller.ClientID, Until: c.caller.Until,
		RequestID: c.id, IP: c.ip, UserAgent: c.agent,
	})
	if err != nil {
		return nil, missing(err, "organization")
	}
	return &output[OrganizationToken]{OrganizationToken{b.Token.Reveal(), "Bearer", int(b.Lifetime.Seconds())}}, nil
}

// Identity is a user of an organization or somebody invited.
type Identity struct {
	ID          string      `json:"id"`
	Type        string      `json:"type" enum:"user,invitation"`
	Email       string      `json:"email"`
	Role        string      `json:"role" enum:"org_admin,org_member,org_viewer"`
	Source      string      `json:"source" doc:"Issuer of the identity provider that signs them in."`
	Status      string      `json:"status" enum:"active,disabled,pending,accepted,expired,revoked"`
	Permissions Permissions `json:"permissions,omitzero" doc:"What the caller may do with identities; with expand permissions."`
	CreatedAt   Time        `json:"created_at"`
	UpdatedAt   Time        `json:"updated_at"`
}

// IdentityList is a page of identities.
type IdentityList struct {
	Items       []Identity    `json:"items"`
	PageInfo    OwnedPageInfo `json:"page_info"`
	Pagination  Pagination    `json:"pagination"`
	Permissions Permissions   `json:"permissions,omitzero" doc:"What the caller may do with identities; with expand permissions."`
}

// roleParameter narrows a list to those with an organization role.
var roleParameter = parameter{Name: "role", Fields: []string{"role"}, Doc: "Those with the role.", Enum: []string{
	string(deputy.OrganizationAdmin), string(deputy.OrganizationMember), string(deputy.OrganizationViewer),
}}

var identities = Noun[deputy.OrganizationIdentity, Identity, empty, empty]{
	Name: "organization_identity", Plural: "organization_identities", Owned: true,
	List: ownedListing(roleParameter, parameter{
		Name: "query[email]", Fields: []string{"email"}, Op: deputy.Contains, Doc: "Those whose mail address holds the text, letter case aside.",
	}),
	Reads: func(v deputy.View) deputy.Reads[deputy.OrganizationIdentity] { return v.OrganizationIdentities() },
	View: func(a *API, c *call, d *deputy.OrganizationIdentity) Identity {
		return Identity{
			ID: string(d.ID), Type: string(d.Type), Email: d.Email, Role: string(d.Role), Source: a.source(d.Source), Status: d.State(c.at),
			Permissions: a.allowed(c, "identities"), CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt),
		}
	},
}

func (a *API) listIdentities(ctx context.Context, c *call, _ *empty) (*output[IdentityList], error) {
	page, err := identities.page(ctx, a, c)
	if err != nil {
		return nil, err
	}
	return &output[IdentityList]{IdentityList{page.Items, ownedPageInfo(page.PageInfo), page.Pagination, identities.permissions(a, c)}}, nil
}

// source returns the issuer that signs a person in: whoever signs in here does
// so at the public URL.
func (a *API) source(issuer string) string {
	if issuer == "" {
		return a.addresses.PublicURL()
	}
	return issuer
}

// OrganizationRole is what a person can be.
type OrganizationRole struct {
	Name        string `json:"name" enum:"org_admin,org_member,org_viewer,zone_manager,zone_viewer"`
	Label       string `json:"label"`
	Description string `json:"description"`
	Scope       string `json:"scope" enum:"organization,zone"`
}

// OrganizationRoleList are all roles.
type OrganizationRoleList struct {
	Items       []OrganizationRole `json:"items"`
	Permissions Permissions        `json:"permissions,omitzero" doc:"What the caller may do with roles; with expand permissions."`
}

var roleScope = parameter{Name: "scope", Enum: []string{"organization", "zone"}, Doc: "Roles of an organization or of a zone."}

// everyRole describes what rights gives each role.
var everyRole = []OrganizationRole{
	{string(deputy.OrganizationAdmin), "Organization Administrator", "Everything in the organization and all its zones.", "organization"},
	{string(deputy.OrganizationMember), "Organization Member", "Nothing but the zones that they are a member of.", "organization"},
	{string(deputy.OrganizationViewer), "Organization Viewer", "Reads what the organization has beside its zones; zones only as a member.", "organization"},
	{string(deputy.ZoneManager), "Zone Manager", "Everything in a zone but who its members are.", "zone"},
	{string(deputy.ZoneViewer), "Zone Viewer", "Reads what is in a zone.", "zone"},
}

func (a *API) listRoles(_ context.Context, c *call, _ *empty) (*output[OrganizationRoleList], error) {
	expand, err := readExpand(c, organizationExpand, bare, true)
	if err != nil {
		return nil, err
	}
	c.expand = expand
	scope, err := roleScope.values(c.query)
	if err != nil {
		return nil, err
	}
	out := OrganizationRoleList{Items: []OrganizationRole{}, Permissions: a.allowed(c, "roles")}
	for _, r := range everyRole {
		if len(scope) == 0 || scope[0] == r.Scope {
			out.Items = append(out.Items, r)
		}
	}
	return &output[OrganizationRoleList]{out}, nil
}
