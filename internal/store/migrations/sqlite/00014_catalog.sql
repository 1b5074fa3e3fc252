-- +goose Up

-- Packages of the catalogs of zones and organizations, and of the global one.
CREATE TABLE packages (
	catalog_id TEXT NOT NULL,
	id TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	slug TEXT NOT NULL,
	kind TEXT NOT NULL,
	name TEXT NOT NULL,
	published BOOLEAN NOT NULL,
	listed BOOLEAN NOT NULL,
	latest_version BIGINT NOT NULL,
	current_version_id TEXT NOT NULL,
	draft TEXT,
	draft_id TEXT NOT NULL,
	draft_sha TEXT NOT NULL,
	draft_updated_at BIGINT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	archived_at BIGINT,
	revision BIGINT NOT NULL,
	PRIMARY KEY (catalog_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX packages_slug ON packages (catalog_id, slug);

CREATE TABLE package_versions (
	catalog_id TEXT NOT NULL,
	id TEXT NOT NULL,
	package_id TEXT NOT NULL,
	owner_type TEXT NOT NULL,
	version BIGINT NOT NULL,
	manifest TEXT,
	manifest_sha TEXT NOT NULL,
	created_by TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	archived_at BIGINT,
	archived_by TEXT NOT NULL,
	PRIMARY KEY (catalog_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX package_versions_version ON package_versions (catalog_id, package_id, version);
CREATE INDEX package_versions_package ON package_versions (catalog_id, package_id, id);

CREATE TABLE installs (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	package_id TEXT NOT NULL,
	package_slug TEXT NOT NULL,
	catalog_id TEXT NOT NULL,
	version BIGINT NOT NULL,
	status TEXT NOT NULL,
	inputs TEXT,
	sealed_inputs BLOB,
	outputs TEXT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE INDEX installs_package ON installs (zone_id, package_id, id);

-- The journal of an install: each entity of its graph that exists, written with
-- the change that made it.
CREATE TABLE install_entities (
	zone_id TEXT NOT NULL,
	install_id TEXT NOT NULL,
	name TEXT NOT NULL,
	position BIGINT NOT NULL,
	entity_type TEXT NOT NULL,
	entity_id TEXT NOT NULL,
	path TEXT NOT NULL,
	relation TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (zone_id, install_id, name)
) WITHOUT ROWID;
CREATE INDEX install_entities_entity ON install_entities (zone_id, entity_id);

CREATE TABLE catalog_tasks (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	install_id TEXT NOT NULL,
	operation TEXT NOT NULL,
	status TEXT NOT NULL,
	error TEXT NOT NULL,
	warnings TEXT,
	run TEXT NOT NULL,
	actor TEXT,
	request_id TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE INDEX catalog_tasks_install ON catalog_tasks (zone_id, install_id, id);
