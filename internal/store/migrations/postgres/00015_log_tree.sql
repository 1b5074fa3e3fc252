-- +goose Up

-- Subtrees of each log's Merkle tree, from 256 leaves up, built behind the log.
-- size is how many leaves they cover.
CREATE TABLE event_trees (
	organization_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	size BIGINT NOT NULL
);
CREATE TABLE event_nodes (
	organization_id TEXT COLLATE "C" NOT NULL,
	level BIGINT NOT NULL,
	n BIGINT NOT NULL,
	hash BYTEA NOT NULL,
	PRIMARY KEY (organization_id, level, n)
);
