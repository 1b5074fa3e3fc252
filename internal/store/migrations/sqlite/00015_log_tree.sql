-- +goose Up

-- Subtrees of each log's Merkle tree, from 256 leaves up, built behind the log.
-- size is how many leaves they cover.
CREATE TABLE event_trees (
	organization_id TEXT NOT NULL PRIMARY KEY,
	size BIGINT NOT NULL
) WITHOUT ROWID;
CREATE TABLE event_nodes (
	organization_id TEXT NOT NULL,
	level BIGINT NOT NULL,
	n BIGINT NOT NULL,
	hash BLOB NOT NULL,
	PRIMARY KEY (organization_id, level, n)
) WITHOUT ROWID;
