-- +goose Up

-- People who manage an organization. The id is the person's account: the same
-- in every organization that they are in.
CREATE TABLE organization_users (
	organization_id TEXT NOT NULL,
	id TEXT NOT NULL,
	email TEXT NOT NULL,
	email_folded TEXT NOT NULL,
	role TEXT NOT NULL,
	status TEXT NOT NULL,
	source TEXT NOT NULL,
	subject TEXT NOT NULL,
	identity_key TEXT NOT NULL,
	key_id TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (organization_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX organization_users_email ON organization_users (organization_id, email_folded);
CREATE UNIQUE INDEX organization_users_identity ON organization_users (organization_id, identity_key);
CREATE INDEX organization_users_newest ON organization_users (organization_id, created_at, id);
CREATE INDEX organization_users_by_id ON organization_users (id);
CREATE INDEX organization_users_by_email ON organization_users (email_folded);
CREATE INDEX organization_users_by_identity ON organization_users (identity_key);

-- Organization users with a role in a zone.
CREATE TABLE zone_members (
	zone_id TEXT NOT NULL,
	organization_user_id TEXT NOT NULL,
	id TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	role TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, organization_user_id)
) WITHOUT ROWID;
CREATE INDEX zone_members_newest ON zone_members (zone_id, created_at, organization_user_id);
CREATE INDEX zone_members_user ON zone_members (organization_id, organization_user_id, zone_id);

CREATE TABLE invitations (
	organization_id TEXT NOT NULL,
	id TEXT NOT NULL,
	email TEXT NOT NULL,
	email_folded TEXT NOT NULL,
	role TEXT NOT NULL,
	status TEXT NOT NULL,
	token_hash BLOB NOT NULL,
	created_by TEXT NOT NULL,
	created_by_name TEXT NOT NULL,
	user_id TEXT,
	expires_at BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (organization_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX invitations_token ON invitations (token_hash);
CREATE UNIQUE INDEX invitations_email ON invitations (organization_id, email_folded) WHERE status = 'pending';

-- Who is or may become a user of an organization. An invitation gives way to
-- the user with its address.
CREATE VIEW organization_identities AS
	SELECT organization_id, id, 'user' AS type, email, email_folded, role, source, status, created_at AS expires_at, created_at, updated_at
	FROM organization_users
	UNION ALL
	SELECT organization_id, id, 'invitation', email, email_folded, role, '', status, expires_at, created_at, updated_at
	FROM invitations i
	WHERE NOT EXISTS (SELECT 1 FROM organization_users u WHERE u.organization_id = i.organization_id AND u.email_folded = i.email_folded);

-- The identity provider that signs an organization's users in.
CREATE TABLE sso_connections (
	organization_id TEXT NOT NULL PRIMARY KEY,
	id TEXT NOT NULL,
	identifier TEXT NOT NULL,
	client_id TEXT,
	sealed_secret BLOB,
	oauth2 TEXT,
	openid TEXT,
	has_protocols BOOLEAN NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL
) WITHOUT ROWID;

ALTER TABLE service_account_credentials ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE service_account_credentials ADD COLUMN description TEXT;

-- Messages to people on their way out; what was handed over is gone from here.
CREATE TABLE mails (
	organization_id TEXT NOT NULL,
	id TEXT NOT NULL,
	zone_id TEXT NOT NULL,
	purpose TEXT NOT NULL,
	sealed BLOB NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (organization_id, id)
) WITHOUT ROWID;
CREATE INDEX mails_zone ON mails (zone_id);
