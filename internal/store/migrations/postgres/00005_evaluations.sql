-- +goose Up

-- The set version that is asked as well, without a say.
ALTER TABLE zones ADD COLUMN shadow_policy_set_version_id TEXT COLLATE "C" NOT NULL DEFAULT '';

-- Entities as policies saw them, each once: decisions in the log name them. What
-- tells of a person is sealed. They go some time after they were last used.
CREATE TABLE policy_entities (
	zone_id TEXT COLLATE "C" NOT NULL,
	id TEXT COLLATE "C" NOT NULL,
	sealed BOOLEAN NOT NULL,
	data BYTEA NOT NULL,
	used_at BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
);
CREATE INDEX policy_entities_used ON policy_entities (used_at);
