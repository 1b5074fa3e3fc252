-- +goose Up

-- Where events are streamed to: who delivers at the moment, and how far each
-- organization's log was delivered.
CREATE TABLE event_sinks (
	sink TEXT NOT NULL PRIMARY KEY,
	lease_until BIGINT NOT NULL,
	fence BIGINT NOT NULL
) WITHOUT ROWID;
CREATE TABLE event_deliveries (
	sink TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	seq BIGINT NOT NULL,
	delivered_at BIGINT NOT NULL,
	PRIMARY KEY (sink, organization_id)
) WITHOUT ROWID;
