-- +goose Up

-- What those outside are told that is over, and who is told.
ALTER TABLE zones ADD COLUMN signals BIGINT NOT NULL DEFAULT 0;
CREATE TABLE signals (
	zone_id TEXT NOT NULL,
	seq BIGINT NOT NULL,
	kind TEXT NOT NULL,
	subject TEXT NOT NULL,
	holder TEXT NOT NULL,
	detail TEXT NOT NULL,
	stream_id TEXT NOT NULL,
	at BIGINT NOT NULL,
	PRIMARY KEY (zone_id, seq)
) WITHOUT ROWID;
CREATE INDEX signals_at ON signals (at);
CREATE TABLE streams (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	application_id TEXT NOT NULL,
	audience TEXT NOT NULL,
	method TEXT NOT NULL,
	endpoint_url TEXT NOT NULL,
	sealed BLOB,
	events TEXT,
	status TEXT NOT NULL,
	reason TEXT NOT NULL,
	description TEXT NOT NULL,
	delivered BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
