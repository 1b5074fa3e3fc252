package store

import (
	"context"
	"time"

	"deputy/internal/deputy"
)

var userAgents = declare(table[deputy.UserAgent]{
	relation: relation{name: "user_agents", noun: "user agent", scope: zoned},
	fields: func(u *deputy.UserAgent) []field {
		return []field{
			{"zone_id", &u.ZoneID},
			{"id", &u.ID},
			{"organization_id", &u.OrganizationID},
			{"slug", &u.Slug},
			{"name", &u.Name},
			{"identifier", &u.Identifier},
			{"redirect_uris", listOf(&u.RedirectURIs)},
			{"grant_types", listOf(&u.GrantTypes)},
			{"auth_method", &u.AuthMethod},
			{"jwks", raw{&u.JWKS}},
			{"jwks_uri", &u.JWKSURI},
			{"logo_uri", &u.LogoURI},
			{"software_id", &u.SoftwareID},
			{"software_version", &u.SoftwareVersion},
			{"metadata", raw{&u.Metadata}},
			{"last_used_at", micros{&u.LastUsedAt}},
			{"created_at", micros{&u.CreatedAt}},
			{"updated_at", micros{&u.UpdatedAt}},
			{"revision", &u.Revision},
		}
	},
	uniques: []unique[deputy.UserAgent]{
		{field: "identifier", column: "identifier", within: zoned},
		{field: "slug", column: "slug", within: zoned, slug: true},
	},
	stamp: func(u *deputy.UserAgent) (*int64, *time.Time) { return &u.Revision, &u.UpdatedAt },
	cascade: func(ctx context.Context, x *tx, u *deputy.UserAgent) error {
		if err := forgetClient(ctx, x, u.ZoneID, u.ID); err != nil {
			return err
		}
		if err := x.over(ctx, u.ZoneID, deputy.SignalClient, u.Identifier); err != nil {
			return err
		}
		return revokeSessions(ctx, x, u.ZoneID, "user_agent_id", string(u.ID))
	},
})

// forgetClient removes what people agreed to for a client.
func forgetClient(ctx context.Context, x *tx, zone deputy.ZoneID, client deputy.ID) error {
	_, err := x.exec(ctx, "DELETE FROM consents WHERE zone_id = $1 AND client_id = $2", string(zone), string(client))
	return err
}
