package store

import (
	"context"
	"time"

	"deputy/internal/deputy"
)

var packages = declare(table[deputy.Package]{
	relation: relation{name: "packages", noun: "package", scope: catalogued},
	fields: func(p *deputy.Package) []field {
		return []field{
			{"catalog_id", &p.CatalogID},
			{"id", &p.ID},
			{"organization_id", &p.OrganizationID},
			{"slug", &p.Slug},
			{"kind", &p.Kind},
			{"name", &p.Name},
			{"published", &p.Published},
			{"latest_version", &p.LatestVersion},
			{"current_version_id", &p.CurrentVersionID},
			{"draft", raw{&p.Draft}},
			{"draft_id", &p.DraftID},
			{"draft_sha", &p.DraftSHA},
			{"draft_updated_at", optionalMicros{&p.DraftUpdatedAt}},
			{"created_at", micros{&p.CreatedAt}},
			{"updated_at", micros{&p.UpdatedAt}},
			{"archived_at", optionalMicros{&p.ArchivedAt}},
			{"revision", &p.Revision},
		}
	},
	search: func(p *deputy.Package) []field {
		return []field{{"listed", flag(p.Published && p.CurrentVersionID != "")}}
	},
	uniques: []unique[deputy.Package]{{field: "slug", column: "slug", within: catalogued, slug: true}},
	stamp:   func(p *deputy.Package) (*int64, *time.Time) { return &p.Revision, &p.UpdatedAt },
})

var packageVersions = declare(table[deputy.PackageVersion]{
	relation: relation{name: "package_versions", noun: "package version", scope: catalogued, parent: "package_id"},
	fields: func(v *deputy.PackageVersion) []field {
		return []field{
			{"catalog_id", &v.CatalogID},
			{"id", &v.ID},
			{"package_id", &v.PackageID},
			{"owner_type", &v.Owner},
			{"version", &v.Version},
			{"manifest", raw{&v.Manifest}},
			{"manifest_sha", &v.ManifestSHA},
			{"created_by", &v.CreatedBy},
			{"created_at", micros{&v.CreatedAt}},
			{"archived_at", optionalMicros{&v.ArchivedAt}},
			{"archived_by", &v.ArchivedBy},
		}
	},
	stamp: func(*deputy.PackageVersion) (*int64, *time.Time) { return nil, nil },
	// The row of the package is locked by this, so that numbers have no gaps.
	before: func(ctx context.Context, x *tx, v *deputy.PackageVersion) error {
		err := row(ctx, x, "UPDATE packages SET latest_version = latest_version + 1 WHERE catalog_id = $1 AND id = $2 RETURNING latest_version",
			[]any{string(v.CatalogID), string(v.PackageID)}, &v.Version)
		return missing(err, absent("package"))
	},
})

var installs = declare(table[deputy.Install]{
	relation: relation{name: "installs", noun: "install", scope: zoned},
	fields: func(i *deputy.Install) []field {
		return []field{
			{"zone_id", &i.ZoneID},
			{"id", &i.ID},
			{"organization_id", &i.OrganizationID},
			{"package_id", &i.PackageID},
			{"package_slug", &i.PackageSlug},
			{"catalog_id", &i.CatalogID},
			{"version", &i.Version},
			{"status", &i.Status},
			{"inputs", raw{&i.Inputs}},
			{"sealed_inputs", &i.SealedInputs},
			{"outputs", raw{&i.Outputs}},
			{"created_at", micros{&i.CreatedAt}},
			{"updated_at", micros{&i.UpdatedAt}},
			{"revision", &i.Revision},
		}
	},
	stamp: func(i *deputy.Install) (*int64, *time.Time) { return &i.Revision, &i.UpdatedAt },
})

var installedEntities = declare(table[deputy.InstalledEntity]{
	relation: relation{name: "install_entities", noun: "entity of the install", scope: zoned, parent: "install_id", id: "name", newest: "position"},
	fields: func(e *deputy.InstalledEntity) []field {
		return []field{
			{"zone_id", &e.ZoneID},
			{"install_id", &e.InstallID},
			{"name", &e.Name},
			{"position", &e.Position},
			{"entity_type", &e.Type},
			{"entity_id", &e.EntityID},
			{"path", &e.Path},
			{"relation", &e.Relation},
			{"created_at", micros{&e.CreatedAt}},
		}
	},
	stamp: func(*deputy.InstalledEntity) (*int64, *time.Time) { return nil, nil },
})

var catalogTasks = declare(table[deputy.CatalogTask]{
	relation: relation{name: "catalog_tasks", noun: "catalog task", scope: zoned},
	fields: func(t *deputy.CatalogTask) []field {
		return []field{
			{"zone_id", &t.ZoneID},
			{"id", &t.ID},
			{"organization_id", &t.OrganizationID},
			{"install_id", &t.InstallID},
			{"operation", &t.Operation},
			{"status", &t.Status},
			{"error", &t.Error},
			{"warnings", raw{&t.Warnings}},
			{"run", &t.Run},
			{"actor", document{&t.Actor}},
			{"request_id", &t.RequestID},
			{"created_at", micros{&t.CreatedAt}},
			{"updated_at", micros{&t.UpdatedAt}},
			{"revision", &t.Revision},
		}
	},
	stamp: func(t *deputy.CatalogTask) (*int64, *time.Time) { return &t.Revision, &t.UpdatedAt },
})
