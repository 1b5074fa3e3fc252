-- +goose Up

-- The tokens of outside providers, and who refreshes them.
ALTER TABLE grants ADD COLUMN requested_scopes TEXT COLLATE "C";
ALTER TABLE grants ADD COLUMN sealed BYTEA;
ALTER TABLE grants ADD COLUMN lease_until BIGINT NOT NULL DEFAULT 0;
ALTER TABLE grants ADD COLUMN fence BIGINT NOT NULL DEFAULT 0;
