-- +goose Up

-- Workloads are found by provider and subject: the very one, or by the text
-- before the first star of a pattern.
ALTER TABLE application_credentials ADD COLUMN subject_prefix TEXT COLLATE "C";
UPDATE application_credentials
SET subject_prefix = substr(subject, 1, length(subject) - length(ltrim(subject, replace(subject, '*', ''))))
WHERE type = 'token' AND subject <> '*' AND replace(subject, '*', '') <> subject AND length(subject) < 128;
CREATE INDEX application_credentials_subject ON application_credentials (zone_id, provider_id, identifier_key) WHERE type = 'token';
CREATE INDEX application_credentials_pattern ON application_credentials (zone_id, provider_id, subject_prefix) WHERE subject_prefix IS NOT NULL;
