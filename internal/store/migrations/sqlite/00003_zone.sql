-- +goose Up

-- People: whom a federated account belongs to, and what lists sort by. A key
-- that is not filled here because the account's names are long is written when
-- its user changes next.
ALTER TABLE users ADD COLUMN account_key TEXT NOT NULL DEFAULT '';
UPDATE users SET account_key = issuer || ' ' || subject
	WHERE issuer IS NOT NULL AND subject IS NOT NULL AND length(issuer) + length(subject) < 100;
CREATE UNIQUE INDEX users_account ON users (zone_id, account_key) WHERE account_key <> '';
CREATE UNIQUE INDEX users_local ON users (zone_id, email_folded) WHERE issuer IS NULL;
CREATE INDEX users_email ON users (zone_id, email, id);
CREATE INDEX users_authenticated ON users (zone_id, (COALESCE(authenticated_at, 0)), id);

-- Sessions: how far from its web session one is, and which list shows it.
ALTER TABLE sessions ADD COLUMN depth BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN view TEXT NOT NULL DEFAULT '';
UPDATE sessions SET depth = CASE WHEN EXISTS (SELECT 1 FROM sessions p
	WHERE p.zone_id = sessions.zone_id AND p.id = sessions.parent_id AND p.parent_id IS NOT NULL) THEN 2 ELSE 1 END
	WHERE parent_id IS NOT NULL;
UPDATE sessions SET view = CASE WHEN session_type = 'application' THEN 'application' WHEN depth < 2 THEN 'user' ELSE 'nested' END
	WHERE application_id IS NOT NULL OR user_agent_id IS NOT NULL;
DROP INDEX sessions_user;
CREATE INDEX sessions_user ON sessions (zone_id, user_id, view, status, id, expires_at) WHERE user_id IS NOT NULL;
CREATE INDEX sessions_view ON sessions (zone_id, view, id);
CREATE INDEX sessions_status ON sessions (zone_id, view, status, id, expires_at);
CREATE INDEX sessions_due ON sessions (expires_at) WHERE status = 'active';
CREATE INDEX sessions_application ON sessions (zone_id, application_id, id) WHERE application_id IS NOT NULL;
CREATE INDEX sessions_agent ON sessions (zone_id, user_agent_id, id) WHERE user_agent_id IS NOT NULL;

CREATE INDEX grants_status ON grants (zone_id, status, id, expires_at);
CREATE INDEX grants_due ON grants (expires_at) WHERE status = 'active' AND NOT refresh_token_set;
CREATE INDEX grants_provider ON grants (zone_id, provider_id, id);

-- What a person agrees to, they agree to for a client: an application or a
-- user agent.
DROP INDEX consents_application;
ALTER TABLE consents RENAME COLUMN application_id TO client_id;
CREATE INDEX consents_client ON consents (zone_id, client_id);

CREATE TABLE user_agents (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	slug TEXT NOT NULL,
	name TEXT NOT NULL,
	identifier TEXT NOT NULL,
	redirect_uris TEXT,
	grant_types TEXT,
	auth_method TEXT NOT NULL,
	jwks TEXT,
	jwks_uri TEXT NOT NULL,
	logo_uri TEXT NOT NULL,
	software_id TEXT NOT NULL,
	software_version TEXT NOT NULL,
	metadata TEXT,
	last_used_at BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX user_agents_slug ON user_agents (zone_id, slug);
CREATE UNIQUE INDEX user_agents_identifier ON user_agents (zone_id, identifier);
CREATE INDEX user_agents_used ON user_agents (last_used_at);

CREATE TABLE secrets (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	entity_id TEXT NOT NULL,
	name TEXT NOT NULL,
	description TEXT,
	type TEXT NOT NULL,
	sealed BLOB NOT NULL,
	metadata TEXT,
	version BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE INDEX secrets_entity ON secrets (zone_id, entity_id, id);

CREATE TABLE roles (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	slug TEXT NOT NULL,
	identifier TEXT NOT NULL,
	name TEXT NOT NULL,
	name_folded TEXT NOT NULL,
	description TEXT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX roles_slug ON roles (zone_id, slug);
CREATE UNIQUE INDEX roles_identifier ON roles (zone_id, identifier);

CREATE TABLE role_assignments (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	role_id TEXT NOT NULL,
	principal_type TEXT NOT NULL,
	principal_id TEXT NOT NULL,
	scope_type TEXT NOT NULL,
	scope_id TEXT NOT NULL,
	assignment_key TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX role_assignments_once ON role_assignments (zone_id, assignment_key);
CREATE INDEX role_assignments_role ON role_assignments (zone_id, role_id, id);
CREATE INDEX role_assignments_principal ON role_assignments (zone_id, principal_id, id);
CREATE INDEX role_assignments_scope ON role_assignments (zone_id, scope_id) WHERE scope_id <> '';

CREATE TABLE user_groups (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	slug TEXT NOT NULL,
	identifier TEXT NOT NULL,
	name TEXT NOT NULL,
	name_folded TEXT NOT NULL,
	description TEXT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX user_groups_slug ON user_groups (zone_id, slug);
CREATE UNIQUE INDEX user_groups_identifier ON user_groups (zone_id, identifier);

CREATE TABLE group_members (
	zone_id TEXT NOT NULL,
	group_id TEXT NOT NULL,
	user_id TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (zone_id, group_id, user_id)
) WITHOUT ROWID;
CREATE INDEX group_members_user ON group_members (zone_id, user_id, group_id);
