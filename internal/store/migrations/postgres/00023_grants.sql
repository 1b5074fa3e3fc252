-- +goose Up

-- What a person last said about a resource is found at once, however often they
-- said something else before.
CREATE INDEX grants_said ON grants (zone_id, user_id, resource_id, (CASE status WHEN 'active' THEN 0 ELSE 1 END), id DESC);
