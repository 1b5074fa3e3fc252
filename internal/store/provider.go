package store

import (
	"context"
	"time"

	"deputy/internal/deputy"
)

var providers = declare(table[deputy.Provider]{
	relation: relation{
		name: "providers", noun: "provider", scope: zoned,
		sorts: map[string]string{"name": "name", "identifier": "identifier_key"},
	},
	fields: func(p *deputy.Provider) []field {
		return []field{
			{"zone_id", &p.ZoneID},
			{"id", &p.ID},
			{"organization_id", &p.OrganizationID},
			{"owner_type", &p.Owner},
			{"slug", &p.Slug},
			{"identifier", &p.Identifier},
			{"name", &p.Name},
			{"description", &p.Description},
			{"type", &p.Type},
			{"client_id", &p.ClientID},
			{"sealed_secret", &p.SealedSecret},
			{"metadata", raw{&p.Metadata}},
			{"oauth2", document{&p.OAuth2}},
			{"openid", document{&p.OpenID}},
			{"has_protocols", &p.HasProtocols},
			{"created_at", micros{&p.CreatedAt}},
			{"updated_at", micros{&p.UpdatedAt}},
			{"revision", &p.Revision},
		}
	},
	search: func(p *deputy.Provider) []field {
		return []field{{"identifier_key", text(key(p.Identifier))}}
	},
	uniques: []unique[deputy.Provider]{
		{field: "identifier", column: "identifier_key", within: zoned},
		{field: "slug", column: "slug", within: zoned, slug: true},
	},
	stamp:  func(p *deputy.Provider) (*int64, *time.Time) { return &p.Revision, &p.UpdatedAt },
	change: func(p *deputy.Provider) change { return change{p.ZoneID, deputy.ChangedProvider, string(p.ID)} },
	cascade: func(ctx context.Context, x *tx, p *deputy.Provider) error {
		owners, err := column[string](ctx, x, "DELETE FROM application_credentials WHERE zone_id = $1 AND provider_id = $2 AND provider_id <> '' RETURNING application_id",
			string(p.ZoneID), string(p.ID))
		if err != nil {
			return err
		}
		if err := x.changedApplications(ctx, p.ZoneID, owners); err != nil {
			return err
		}
		if err := x.unset(ctx, p.ZoneID, "resources", "credential_provider_id", string(p.ID), deputy.ChangedResource); err != nil {
			return err
		}
		if _, err := x.exec(ctx, "UPDATE grants SET status = 'revoked', sealed = NULL, updated_at = $1, revision = revision + 1"+
			" WHERE zone_id = $2 AND provider_id = $3 AND status = 'active'", x.now.UnixMicro(), string(p.ZoneID), string(p.ID)); err != nil {
			return err
		}
		if err := forgetSecrets(ctx, x, p.ZoneID, deputy.ID(p.ID)); err != nil {
			return err
		}
		if err := x.unset(ctx, p.ZoneID, "users", "provider_id", string(p.ID), ""); err != nil {
			return err
		}
		return x.unset(ctx, p.ZoneID, "zones", "user_identity_provider_id", string(p.ID), deputy.ChangedZone)
	},
})
