package store

import (
	"context"
	"slices"
	"time"

	"deputy/internal/deputy"
)

var resources = declare(table[deputy.Resource]{
	relation: relation{
		name: "resources", noun: "resource", scope: zoned,
		sorts: map[string]string{"name": "name", "identifier": "identifier_key"},
	},
	fields: func(r *deputy.Resource) []field {
		return []field{
			{"zone_id", &r.ZoneID},
			{"id", &r.ID},
			{"organization_id", &r.OrganizationID},
			{"owner_type", &r.Owner},
			{"slug", &r.Slug},
			{"identifier", &r.Identifier},
			{"name", &r.Name},
			{"description", &r.Description},
			{"application_type", &r.ApplicationType},
			{"prefix", &r.Prefix},
			{"credential_lifetime_seconds", &r.Lifetime},
			{"signing_alg", &r.SigningAlg},
			{"application_id", &r.ApplicationID},
			{"credential_provider_id", &r.CredentialProviderID},
			{"scopes", listOf(&r.Scopes)},
			{"docs_url", &r.DocsURL},
			{"created_at", micros{&r.CreatedAt}},
			{"updated_at", micros{&r.UpdatedAt}},
			{"revision", &r.Revision},
		}
	},
	search: func(r *deputy.Resource) []field {
		return []field{{"identifier_key", text(key(r.Identifier))}}
	},
	uniques: []unique[deputy.Resource]{
		{field: "identifier", column: "identifier_key", within: zoned},
		{field: "slug", column: "slug", within: zoned, slug: true},
	},
	stamp:  func(r *deputy.Resource) (*int64, *time.Time) { return &r.Revision, &r.UpdatedAt },
	change: func(r *deputy.Resource) change { return change{r.ZoneID, deputy.ChangedResource, string(r.ID)} },
	cascade: func(ctx context.Context, x *tx, r *deputy.Resource) error {
		where := []any{string(r.ZoneID), string(r.ID)}
		edges, err := column[string](ctx, x,
			"DELETE FROM application_dependencies WHERE zone_id = $1 AND resource_id = $2 RETURNING application_id", where...)
		if err != nil {
			return err
		}
		narrowed, err := dropCondition(ctx, x, r)
		if err != nil {
			return err
		}
		if err := x.changedApplications(ctx, r.ZoneID, append(edges, narrowed...)); err != nil {
			return err
		}
		if err := x.each(ctx, where,
			"DELETE FROM grants WHERE zone_id = $1 AND resource_id = $2",
			"DELETE FROM consents WHERE zone_id = $1 AND resource_id = $2",
			"DELETE FROM secrets WHERE zone_id = $1 AND entity_id = $2"); err != nil {
			return err
		}
		if err := unassign(ctx, x, r.ZoneID, "scope_type = $2 AND scope_id = $3 AND scope_id <> ''", string(deputy.ResourceScope), string(r.ID)); err != nil {
			return err
		}
		return x.unset(ctx, r.ZoneID, "zones", "default_resource_id", string(r.ID), deputy.ChangedZone)
	},
})

// dropCondition takes a resource out of the conditions of edges and returns
// whose edges they were. An edge without any condition left would be
// unconditional: it goes.
func dropCondition(ctx context.Context, x *tx, r *deputy.Resource) (applications []string, err error) {
	edges, err := dependencies.many(ctx, x, "zone_id = $1 AND when_accessing IS NOT NULL AND "+
		x.store.d.contains+"(when_accessing, $2) > 0", string(r.ZoneID), `"`+string(r.ID)+`"`)
	if err != nil {
		return nil, err
	}
	for _, d := range edges {
		applications = append(applications, string(d.ApplicationID))
		d.WhenAccessing = slices.DeleteFunc(d.WhenAccessing, func(id deputy.ResourceID) bool { return id == r.ID })
		where := []any{string(d.ZoneID), string(d.ApplicationID), string(d.ResourceID)}
		change := "DELETE FROM application_dependencies"
		if len(d.WhenAccessing) > 0 {
			change = "UPDATE application_dependencies SET when_accessing = $4"
			left, err := listOf(&d.WhenAccessing).Value()
			if err != nil {
				return nil, err
			}
			where = append(where, left)
		}
		if _, err := x.exec(ctx, change+" WHERE zone_id = $1 AND application_id = $2 AND resource_id = $3", where...); err != nil {
			return nil, err
		}
	}
	return applications, nil
}
