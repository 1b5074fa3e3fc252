-- +goose Up

-- What may be done with each version of the platform's Cedar schema. A new one
-- comes with the migration that adds its row.
CREATE TABLE policy_schemas (
	version TEXT NOT NULL PRIMARY KEY,
	status TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	deprecated_at BIGINT,
	archived_at BIGINT
) WITHOUT ROWID;
INSERT INTO policy_schemas (version, status, created_at, updated_at, deprecated_at) VALUES
	('2026-02-24', 'deprecated', 1771891200000000, 1781740800000000, 1781740800000000),
	('2026-03-16', 'active', 1773619200000000, 1773619200000000, NULL),
	('2026-06-18', 'active', 1781740800000000, 1781740800000000, NULL);

-- The schema that a zone's clients preselect.
ALTER TABLE zones ADD COLUMN policy_schema TEXT NOT NULL DEFAULT '2026-06-18';

CREATE TABLE policy_drafts (
	zone_id TEXT NOT NULL,
	policy_id TEXT NOT NULL,
	schema_version TEXT NOT NULL,
	cedar_raw TEXT NOT NULL,
	cedar_json TEXT,
	base_version_id TEXT NOT NULL,
	updated_by TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, policy_id)
) WITHOUT ROWID;

CREATE TABLE policy_set_drafts (
	zone_id TEXT NOT NULL,
	policy_set_id TEXT NOT NULL,
	schema_version TEXT NOT NULL,
	manifest TEXT,
	name TEXT,
	description TEXT,
	base_version_id TEXT NOT NULL,
	updated_by TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, policy_set_id)
) WITHOUT ROWID;

-- The sets of one person, of which one may be bound.
CREATE INDEX policy_sets_target ON policy_sets (zone_id, target_type, target_id, id);
