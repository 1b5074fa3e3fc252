-- +goose Up

-- Packages of the catalogs of zones and organizations, and of the global one.
CREATE TABLE packages (
	catalog_id TEXT COLLATE "C" NOT NULL,
	id TEXT COLLATE "C" NOT NULL,
	organization_id TEXT COLLATE "C" NOT NULL,
	slug TEXT COLLATE "C" NOT NULL,
	kind TEXT COLLATE "C" NOT NULL,
	name TEXT COLLATE "C" NOT NULL,
	published BOOLEAN NOT NULL,
	listed BOOLEAN NOT NULL,
	latest_version BIGINT NOT NULL,
	current_version_id TEXT COLLATE "C" NOT NULL,
	draft TEXT COLLATE "C",
	draft_id TEXT COLLATE "C" NOT NULL,
	draft_sha TEXT COLLATE "C" NOT NULL,
	draft_updated_at BIGINT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	archived_at BIGINT,
	revision BIGINT NOT NULL,
	PRIMARY KEY (catalog_id, id)
);
CREATE UNIQUE INDEX packages_slug ON packages (catalog_id, slug);

CREATE TABLE package_versions (
	catalog_id TEXT COLLATE "C" NOT NULL,
	id TEXT COLLATE "C" NOT NULL,
	package_id TEXT COLLATE "C" NOT NULL,
	owner_type TEXT COLLATE "C" NOT NULL,
	version BIGINT NOT NULL,
	manifest TEXT COLLATE "C",
	manifest_sha TEXT COLLATE "C" NOT NULL,
	created_by TEXT COLLATE "C" NOT NULL,
	created_at BIGINT NOT NULL,
	archived_at BIGINT,
	archived_by TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (catalog_id, id)
);
CREATE UNIQUE INDEX package_versions_version ON package_versions (catalog_id, package_id, version);
CREATE INDEX package_versions_package ON package_versions (catalog_id, package_id, id);

CREATE TABLE installs (
	zone_id TEXT COLLATE "C" NOT NULL,
	id TEXT COLLATE "C" NOT NULL,
	organization_id TEXT COLLATE "C" NOT NULL,
	package_id TEXT COLLATE "C" NOT NULL,
	package_slug TEXT COLLATE "C" NOT NULL,
	catalog_id TEXT COLLATE "C" NOT NULL,
	version BIGINT NOT NULL,
	status TEXT COLLATE "C" NOT NULL,
	inputs TEXT COLLATE "C",
	sealed_inputs BYTEA,
	outputs TEXT COLLATE "C",
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
);
CREATE INDEX installs_package ON installs (zone_id, package_id, id);

-- The journal of an install: each entity of its graph that exists, written with
-- the change that made it.
CREATE TABLE install_entities (
	zone_id TEXT COLLATE "C" NOT NULL,
	install_id TEXT COLLATE "C" NOT NULL,
	name TEXT COLLATE "C" NOT NULL,
	position BIGINT NOT NULL,
	entity_type TEXT COLLATE "C" NOT NULL,
	entity_id TEXT COLLATE "C" NOT NULL,
	path TEXT COLLATE "C" NOT NULL,
	relation TEXT COLLATE "C" NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (zone_id, install_id, name)
);
CREATE INDEX install_entities_entity ON install_entities (zone_id, entity_id);

CREATE TABLE catalog_tasks (
	zone_id TEXT COLLATE "C" NOT NULL,
	id TEXT COLLATE "C" NOT NULL,
	organization_id TEXT COLLATE "C" NOT NULL,
	install_id TEXT COLLATE "C" NOT NULL,
	operation TEXT COLLATE "C" NOT NULL,
	status TEXT COLLATE "C" NOT NULL,
	error TEXT COLLATE "C" NOT NULL,
	warnings TEXT COLLATE "C",
	run TEXT COLLATE "C" NOT NULL,
	actor TEXT COLLATE "C",
	request_id TEXT COLLATE "C" NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
);
CREATE INDEX catalog_tasks_install ON catalog_tasks (zone_id, install_id, id);
