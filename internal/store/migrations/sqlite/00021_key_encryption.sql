-- +goose Up

-- Which key-encryption key wraps a data key without a parent: a root key, by its
-- fingerprint, or a customer's.
ALTER TABLE data_keys ADD COLUMN kek TEXT NOT NULL DEFAULT '';
UPDATE data_keys SET kek = COALESCE((SELECT value FROM meta WHERE name = 'root_key_fingerprint'), '') WHERE parent_id = '';
CREATE INDEX data_keys_kek ON data_keys (kek, id) WHERE parent_id = '';
