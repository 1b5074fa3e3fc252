package api

import (
	"context"

	"deputy/internal/deputy"
)

// DelegatedGrant is a person's standing authorization for a resource, as
// clients see it.
type DelegatedGrant struct {
	ID              string    `json:"id"`
	OrganizationID  string    `json:"organization_id"`
	ZoneID          string    `json:"zone_id"`
	UserID          string    `json:"user_id"`
	ResourceID      string    `json:"resource_id"`
	ProviderID      string    `json:"provider_id" doc:"Who issued it."`
	Scopes          []string  `json:"scopes" nullable:"false"`
	Status          string    `json:"status" enum:"active,expired,revoked"`
	Active          bool      `json:"active" deprecated:"true" doc:"status is active."`
	RefreshTokenSet bool      `json:"refresh_token_set" doc:"It can be refreshed once its access token has expired."`
	Provider        *Embedded `json:"provider,omitzero" deprecated:"true" doc:"Not sent: provider_id names it."`
	Resource        *Embedded `json:"resource,omitzero" deprecated:"true" doc:"Not sent: resource_id names it."`
	User            *Embedded `json:"user,omitzero" deprecated:"true" doc:"Not sent: user_id names them."`
	ExpiresAt       Time      `json:"expires_at"`
	RefreshedAt     *Time     `json:"refreshed_at,omitzero"`
	CreatedAt       Time      `json:"created_at"`
	UpdatedAt       Time      `json:"updated_at"`
}

var delegatedGrants = Noun[deputy.Grant, DelegatedGrant, empty, Revocation]{
	Name: "delegated_grant", Plural: "delegated_grants", Path: "/zones/{zone_id}/delegated-grants", Key: "id", Tag: "Delegated grants", Short: true,
	About: "A delegated grant is a person's standing authorization for a resource. Sign-in makes it; here it can be seen and ended.",
	List: listing{
		Expand: []string{"total_count"}, Sort: []string{"created_at"},
		Parameters: []parameter{
			userParameter, statusParameter, activeParameter,
			{Name: "resource_id", Fields: []string{"resource_id"}, Doc: "For this resource."},
		},
	},
	Reads:  func(v deputy.View) deputy.Reads[deputy.Grant] { return v.Grants() },
	Writes: func(tx deputy.Tx) deputy.Writes[deputy.Grant] { return tx.Grants() },
	ID:     func(d *deputy.Grant) deputy.ID { return d.ID },
	Narrow: func(_ context.Context, _ *API, c *call, q *asked) error { return narrowActive(c, q) },
	View:   viewGrant,
	Change: func(_ *API, c *call, d *deputy.Grant, _ *Revocation) error {
		d.End(c.at)
		return nil
	},
	Check: func(*deputy.Grant) error { return nil },
}

func viewGrant(_ *API, c *call, d *deputy.Grant) DelegatedGrant {
	state := d.State(c.at)
	return DelegatedGrant{
		ID: string(d.ID), OrganizationID: string(d.OrganizationID), ZoneID: string(d.ZoneID),
		UserID: string(d.UserID), ResourceID: string(d.ResourceID), ProviderID: string(d.ProviderID),
		Scopes: append([]string{}, d.Scopes...), Status: string(state), Active: state == deputy.Active, RefreshTokenSet: d.RefreshTokenSet,
		ExpiresAt: Time(d.ExpiresAt), RefreshedAt: timePointer(d.RefreshedAt), CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt),
	}
}

func (a *API) mountGrants() {
	delegatedGrants.mountAll(a, list, get, remove)
	revoke := revoking(delegatedGrants.operation(patch), "delegated-grant", "delegated_grants:revoke")
	revoke.Doc = "The person has to authorize again. A grant that is over already stays as it ended."
	mount(a, revoke, delegatedGrants.patch(a))
}
