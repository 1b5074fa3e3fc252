-- +goose Up

-- What those outside are told that is over, and who is told.
ALTER TABLE zones ADD COLUMN signals BIGINT NOT NULL DEFAULT 0;
CREATE TABLE signals (
	zone_id TEXT COLLATE "C" NOT NULL,
	seq BIGINT NOT NULL,
	kind TEXT COLLATE "C" NOT NULL,
	subject TEXT COLLATE "C" NOT NULL,
	holder TEXT COLLATE "C" NOT NULL,
	detail TEXT COLLATE "C" NOT NULL,
	stream_id TEXT COLLATE "C" NOT NULL,
	at BIGINT NOT NULL,
	PRIMARY KEY (zone_id, seq)
);
CREATE INDEX signals_at ON signals (at);
CREATE TABLE streams (
	zone_id TEXT COLLATE "C" NOT NULL,
	id TEXT COLLATE "C" NOT NULL,
	organization_id TEXT COLLATE "C" NOT NULL,
	application_id TEXT COLLATE "C" NOT NULL,
	audience TEXT COLLATE "C" NOT NULL,
	method TEXT COLLATE "C" NOT NULL,
	endpoint_url TEXT COLLATE "C" NOT NULL,
	sealed BYTEA,
	events TEXT COLLATE "C",
	status TEXT COLLATE "C" NOT NULL,
	reason TEXT COLLATE "C" NOT NULL,
	description TEXT COLLATE "C" NOT NULL,
	delivered BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
);
