-- +goose Up

-- The refresh tokens of a client's session: the newest, and the one before.
CREATE TABLE refresh_families (
	zone_id TEXT COLLATE "C" NOT NULL,
	session_id TEXT COLLATE "C" NOT NULL,
	client_id TEXT COLLATE "C" NOT NULL,
	generation BIGINT NOT NULL,
	current BYTEA NOT NULL,
	previous BYTEA,
	sealed BYTEA,
	turns TEXT COLLATE "C",
	tag BYTEA NOT NULL,
	data TEXT COLLATE "C" NOT NULL,
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	PRIMARY KEY (zone_id, session_id)
);
CREATE INDEX refresh_families_expiry ON refresh_families (expires_at);
