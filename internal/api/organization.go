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
	Label       string      `json:"label" maxLength:"63" doc:"May stand for the id in paths."`
	SSOEnabled  bool        `json:"sso_enabled" doc:"An outside identity provider signs its people in."`
	Permissions Permissions `json:"permissions,omitzero" doc:"What the caller may do in the organization; with expand permissions."`
	CreatedAt   Time        `json:"created_at"`
	UpdatedAt   Time        `json:"updated_at"`
}

// OrganizationCreate makes an organization.
type OrganizationCreate struct {
	Name Patch[string] `json:"name,omitzero" minLength:"1" maxLength:"255"`
}

// OrganizationPatch changes an organization.
type OrganizationPatch struct {
	Name Patch[string] `json:"name,omitzero" minLength:"1" maxLength:"255" example:"Example Ltd."`
}

// organizationList is what a list of organizations can be asked. A service
// account sees exactly one.
var organizationList = listing{Expand: []string{"permissions", "total_count"}, Style: bare, Lenient: true, Cursor: true,
	Parameters: []parameter{{Name: "slug", Fields: []string{"label"}, Doc: "The organization with the label."}}}

func (a *API) mountOrganizations() {
	const tag, path = "Organizations", "/organizations/{organization_id}"
	expand := expandParams(organizationList.Expand, bare)
	mount(a, operation{
		ID: "list-organizations", Method: http.MethodGet, Path: "/organizations", Action: "organizations:list", Tag: tag,
		Summary: "List organizations", Doc: "A service account sees its own and no other.", Status: http.StatusOK, Query: organizationList.document(),
	}, a.listOrganizations)
	mount(a, operation{
		ID: "create-organization", Method: http.MethodPost, Path: "/organizations", Action: "organizations:create", Tag: tag,
		Summary: "Create an organization", Doc: "Service accounts may not: the operator makes organizations with deputy organization create.", Status: http.StatusCreated,
	}, func(context.Context, *call, *input[OrganizationCreate]) (*output[Organization], error) {
		return nil, deputy.Errorf(deputy.Denied, "the operator makes organizations") // no kind of caller gets here
	})
	mount(a, operation{
		ID: "get-organization", Method: http.MethodGet, Path: path, Action: "organizations:read", Tag: tag,
		Summary: "Get an organization", Status: http.StatusOK, Query: expand,
	}, a.getOrganization)
	mount(a, operation{
		ID: "update-organization", Method: http.MethodPatch, Path: path, Action: "organizations:update", Tag: tag,
		Summary: "Change an organization", Status: http.StatusOK,
	}, a.patchOrganization)
}

func viewOrganization(a *API, c *call, d *deputy.Organization) Organization {
	v := Organization{ID: string(d.ID), Name: d.Name, Label: d.Label, CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt)}
	if c.expand["permissions"] {
		v.Permissions = a.permissions(c.roles, false)
	}
	return v
}

func (a *API) listOrganizations(ctx context.Context, c *call, _ *empty) (*output[OrganizationList], error) {
	q, err := organizationList.read(a, c)
	if err != nil {
		return nil, err
	}
	c.expand = q.expand
	q.Where = append(q.Where, deputy.Filter{Fields: []string{"id"}, Values: []string{string(c.caller.Organization)}})
	page, err := a.store.Organizations().List(ctx, deputy.Scope{}, q.Query)
	if err != nil {
		return nil, err
	}
	all := newList(page, func(d *deputy.Organization) Organization { return viewOrganization(a, c, d) })
	out := OrganizationList{Items: all.Items, PageInfo: OrganizationPageInfo{
		HasNextPage: page.HasNext, HasPrevPage: page.HasPrevious, HasPreviousPage: page.HasPrevious,
		StartCursor: all.PageInfo.StartCursor, EndCursor: all.PageInfo.EndCursor,
	}}
	if q.expand["permissions"] {
		out.Permissions = a.permissions(c.roles, false, "organizations")
	}
	return &output[OrganizationList]{out}, nil
}

func (a *API) getOrganization(_ context.Context, c *call, _ *empty) (*output[Organization], error) {
	expand, err := readExpand(c, organizationList.Expand, bare, true)
	if err != nil {
		return nil, err
	}
	c.expand = expand
	return &output[Organization]{viewOrganization(a, c, c.organization)}, nil
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
	return &output[Organization]{viewOrganization(a, c, changed)}, nil
}
