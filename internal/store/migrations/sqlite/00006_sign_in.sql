-- +goose Up

-- What is short-lived and opened by a secret in somebody else's hands, found by
-- the secret's hash.
CREATE TABLE tickets (
	kind TEXT NOT NULL,
	zone_id TEXT NOT NULL,
	key BLOB NOT NULL,
	source TEXT NOT NULL,
	data BLOB,
	size BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	PRIMARY KEY (kind, zone_id, key)
) WITHOUT ROWID;
CREATE INDEX tickets_source ON tickets (kind, source, created_at, size);
CREATE INDEX tickets_expiry ON tickets (expires_at);
CREATE INDEX tickets_zone ON tickets (zone_id);
