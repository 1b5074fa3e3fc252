-- +goose Up

-- What has run out is found together with what lists ask of it.
DROP INDEX sessions_due;
CREATE INDEX sessions_due ON sessions (expires_at, view) WHERE status = 'active';

-- Very many may never have authenticated: these in the order of their mail
-- addresses.
CREATE INDEX users_newcomers ON users (zone_id, email, id) WHERE COALESCE(authenticated_at, 0) = 0;
