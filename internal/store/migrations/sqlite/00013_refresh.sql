-- +goose Up

-- The refresh tokens of a client's session: the newest, and the one before.
CREATE TABLE refresh_families (
	zone_id TEXT NOT NULL,
	session_id TEXT NOT NULL,
	client_id TEXT NOT NULL,
	generation BIGINT NOT NULL,
	current BLOB NOT NULL,
	previous BLOB,
	sealed BLOB,
	turns TEXT,
	tag BLOB NOT NULL,
	data TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	PRIMARY KEY (zone_id, session_id)
) WITHOUT ROWID;
CREATE INDEX refresh_families_expiry ON refresh_families (expires_at);
