-- +goose Up

-- Where events are streamed to: who delivers at the moment, and how far each
-- organization's log was delivered.
CREATE TABLE event_sinks (
	sink TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	lease_until BIGINT NOT NULL,
	fence BIGINT NOT NULL
);
CREATE TABLE event_deliveries (
	sink TEXT COLLATE "C" NOT NULL,
	organization_id TEXT COLLATE "C" NOT NULL,
	seq BIGINT NOT NULL,
	delivered_at BIGINT NOT NULL,
	PRIMARY KEY (sink, organization_id)
);
