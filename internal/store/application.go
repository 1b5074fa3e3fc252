package store

import (
	"context"
	"time"

	"deputy/internal/deputy"
)

var applications = declare(table[deputy.Application]{
	relation: relation{
		name: "applications", noun: "application", scope: zoned,
		computed: map[string]string{
			"dependencies": "(SELECT COUNT(*) FROM application_dependencies d WHERE d.zone_id = applications.zone_id AND d.application_id = applications.id)",
		},
		sorts: map[string]string{"name": "name", "identifier": "identifier_key"},
	},
	fields: func(a *deputy.Application) []field {
		return []field{
			{"zone_id", &a.ZoneID},
			{"id", &a.ID},
			{"organization_id", &a.OrganizationID},
			{"owner_type", &a.Owner},
			{"slug", &a.Slug},
			{"identifier", &a.Identifier},
			{"name", &a.Name},
			{"description", &a.Description},
			{"consent", &a.Consent},
			{"docs_url", &a.DocsURL},
			{"redirect_uris", listOf(&a.RedirectURIs)},
			{"logout_uris", listOf(&a.LogoutURIs)},
			{"traits", listOf(&a.Traits)},
			{"dependencies", &a.Dependencies},
			{"created_at", micros{&a.CreatedAt}},
			{"updated_at", micros{&a.UpdatedAt}},
			{"revision", &a.Revision},
		}
	},
	search: func(a *deputy.Application) []field {
		return []field{
			{"identifier_key", text(key(a.Identifier))},
			{"identifier_folded", text(fold(a.Identifier))},
			{"name_folded", text(fold(a.Name))},
		}
	},
	uniques: []unique[deputy.Application]{
		{field: "identifier", column: "identifier_key", within: zoned},
		{field: "slug", column: "slug", within: zoned, slug: true},
	},
	stamp:  func(a *deputy.Application) (*int64, *time.Time) { return &a.Revision, &a.UpdatedAt },
	change: func(a *deputy.Application) change { return change{a.ZoneID, deputy.ChangedApplication, string(a.ID)} },
	cascade: func(ctx context.Context, x *tx, a *deputy.Application) error {
		where := []any{string(a.ZoneID), string(a.ID)}
		if err := x.each(ctx, where,
			"DELETE FROM application_credentials WHERE zone_id = $1 AND application_id = $2",
			"DELETE FROM application_dependencies WHERE zone_id = $1 AND application_id = $2",
			"DELETE FROM consents WHERE zone_id = $1 AND client_id = $2",
			"DELETE FROM secrets WHERE zone_id = $1 AND entity_id = $2",
			"DELETE FROM streams WHERE zone_id = $1 AND application_id = $2"); err != nil {
			return err
		}
		if err := x.over(ctx, a.ZoneID, deputy.SignalApplication, a.Identifier); err != nil {
			return err
		}
		if err := revokeSessions(ctx, x, a.ZoneID, "application_id", string(a.ID)); err != nil {
			return err
		}
		if err := unassignPrincipal(ctx, x, a.ZoneID, deputy.ApplicationPrincipal, deputy.ID(a.ID)); err != nil {
			return err
		}
		if err := x.unset(ctx, a.ZoneID, "resources", "application_id", string(a.ID), deputy.ChangedResource); err != nil {
			return err
		}
		return x.unset(ctx, a.ZoneID, "zones", "default_gateway_application_id", string(a.ID), deputy.ChangedZone)
	},
})

var credentials = declare(table[deputy.Credential]{
	relation: relation{name: "application_credentials", noun: "application credential", scope: zoned, parent: "application_id"},
	fields: func(c *deputy.Credential) []field {
		return []field{
			{"zone_id", &c.ZoneID},
			{"id", &c.ID},
			{"organization_id", &c.OrganizationID},
			{"application_id", &c.ApplicationID},
			{"slug", &c.Slug},
			{"type", &c.Type},
			{"identifier", &c.Identifier},
			{"secret_hash", &c.SecretHash},
			{"jwks_uri", &c.JWKSURI},
			{"provider_id", &c.ProviderID},
			{"subject", &c.Subject},
			{"created_at", micros{&c.CreatedAt}},
			{"updated_at", micros{&c.UpdatedAt}},
			{"revision", &c.Revision},
		}
	},
	search: func(c *deputy.Credential) []field {
		return []field{{"identifier_key", text(key(c.Identifier))}, {"subject_prefix", subjectPrefix(c)}}
	},
	uniques: []unique[deputy.Credential]{
		{
			field: "identifier", column: "identifier_key", within: zoned, where: "type <> 'token'",
			about: func(c *deputy.Credential) bool { return c.Type != deputy.TokenCredential },
		},
		{field: "slug", column: "slug", within: zoned, slug: true},
	},
	stamp: func(c *deputy.Credential) (*int64, *time.Time) { return &c.Revision, &c.UpdatedAt },
	cascade: func(ctx context.Context, x *tx, c *deputy.Credential) error {
		clientID := c.Identifier
		if c.Type == deputy.TokenCredential {
			clientID = string(c.ID)
		}
		return x.over(ctx, c.ZoneID, deputy.SignalClient, clientID)
	},
	change: func(c *deputy.Credential) change {
		return change{c.ZoneID, deputy.ChangedApplication, string(c.ApplicationID)}
	},
})

var dependencies = declare(table[deputy.Dependency]{
	relation: relation{
		name: "application_dependencies", noun: "dependency", scope: zoned, parent: "application_id", id: "resource_id", newest: "created_at", always: "when_accessing",
		replace: "(zone_id, application_id, resource_id) DO UPDATE SET when_accessing = excluded.when_accessing",
	},
	fields: func(d *deputy.Dependency) []field {
		return []field{
			{"zone_id", &d.ZoneID},
			{"application_id", &d.ApplicationID},
			{"resource_id", &d.ResourceID},
			{"when_accessing", listOf(&d.WhenAccessing)},
			{"created_at", micros{&d.CreatedAt}},
		}
	},
	stamp: func(*deputy.Dependency) (*int64, *time.Time) { return nil, nil },
	change: func(d *deputy.Dependency) change {
		return change{d.ZoneID, deputy.ChangedApplication, string(d.ApplicationID)}
	},
})

// client reads the application behind an OAuth client_id.
func client(ctx context.Context, r querier, zone deputy.ZoneID, clientID string) (*deputy.Client, error) {
	c := &deputy.Client{}
	var err error
	if c.Revision, err = revisionOf(ctx, r, zone); err != nil {
		return nil, missing(err, absent("zone"))
	}
	c.Credential, err = credentials.one(ctx, r, "zone_id = $1 AND identifier_key = $2 AND type <> 'token'", string(zone), key(clientID))
	if deputy.KindOf(err) == deputy.NotFound {
		c.Credential, err = credentials.one(ctx, r, "zone_id = $1 AND id = $2 AND type = 'token'", string(zone), clientID)
	}
	if err != nil {
		return nil, err
	}
	app := string(c.Credential.ApplicationID)
	if c.Application, err = applications.one(ctx, r, "zone_id = $1 AND id = $2", string(zone), app); err != nil {
		return nil, err
	}
	edges, err := dependencies.many(ctx, r, "zone_id = $1 AND application_id = $2 ORDER BY created_at, resource_id", string(zone), app)
	for _, d := range edges {
		c.Dependencies = append(c.Dependencies, *d)
	}
	if err != nil {
		return nil, err
	}
	c.Roles, err = held(ctx, r, zone, deputy.ApplicationPrincipal, deputy.ID(app))
	return c, err
}
