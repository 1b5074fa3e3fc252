-- +goose Up

-- The set version that is asked as well, without a say.
ALTER TABLE zones ADD COLUMN shadow_policy_set_version_id TEXT NOT NULL DEFAULT '';

-- Entities as policies saw them, each once: decisions in the log name them. What
-- tells of a person is sealed. They go some time after they were last used.
CREATE TABLE policy_entities (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	sealed BOOLEAN NOT NULL,
	data BLOB NOT NULL,
	used_at BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE INDEX policy_entities_used ON policy_entities (used_at);
