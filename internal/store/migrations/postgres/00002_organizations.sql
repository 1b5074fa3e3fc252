-- +goose Up

-- People who manage an organization. The id is the person's account: the same
-- in every organization that they are in.
CREATE TABLE organization_users (
	organization_id TEXT COLLATE "C" NOT NULL,
	id TEXT COLLATE "C" NOT NULL,
	email TEXT COLLATE "C" NOT NULL,
	email_folded TEXT COLLATE "C" NOT NULL,
	role TEXT COLLATE "C" NOT NULL,
	status TEXT COLLATE "C" NOT NULL,
	source TEXT COLLATE "C" NOT NULL,
	subject TEXT COLLATE "C" NOT NULL,
	identity_key TEXT COLLATE "C" NOT NULL,
	key_id TEXT COLLATE "C" NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (organization_id, id)
);
CREATE UNIQUE INDEX organization_users_email ON organization_users (organization_id, email_folded);
CREATE UNIQUE INDEX organization_users_identity ON organization_users (organization_id, identity_key);
CREATE INDEX organization_users_newest ON organization_users (organization_id, created_at, id);
CREATE INDEX organization_users_by_id ON organization_users (id);
CREATE INDEX organization_users_by_email ON organization_users (email_folded);
CREATE INDEX organization_users_by_identity ON organization_users (identity_key);

-- Organization users with a role in a zone.
CREATE TABLE zone_members (
	zone_id TEXT COLLATE "C" NOT NULL,
	organization_user_id TEXT COLLATE "C" NOT NULL,
	id TEXT COLLATE "C" NOT NULL,
	organization_id TEXT COLLATE "C" NOT NULL,
	role TEXT COLLATE "C" NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, organization_user_id)
);
CREATE INDEX zone_members_newest ON zone_members (zone_id, created_at, organization_user_id);
CREATE INDEX zone_members_user ON zone_members (organization_id, organization_user_id, zone_id);

CREATE TABLE invitations (
	organization_id TEXT COLLATE "C" NOT NULL,
	id TEXT COLLATE "C" NOT NULL,
	email TEXT COLLATE "C" NOT NULL,
	email_folded TEXT COLLATE "C" NOT NULL,
	role TEXT COLLATE "C" NOT NULL,
	status TEXT COLLATE "C" NOT NULL,
	token_hash BYTEA NOT NULL,
	created_by TEXT COLLATE "C" NOT NULL,
	created_by_name TEXT COLLATE "C" NOT NULL,
	user_id TEXT COLLATE "C",
	expires_at BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (organization_id, id)
);
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
	organization_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	id TEXT COLLATE "C" NOT NULL,
	identifier TEXT COLLATE "C" NOT NULL,
	client_id TEXT COLLATE "C",
	sealed_secret BYTEA,
	oauth2 TEXT COLLATE "C",
	openid TEXT COLLATE "C",
	has_protocols BOOLEAN NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL
);

ALTER TABLE service_account_credentials ADD COLUMN name TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE service_account_credentials ADD COLUMN description TEXT COLLATE "C";

-- Messages to people on their way out; what was handed over is gone from here.
CREATE TABLE mails (
	organization_id TEXT COLLATE "C" NOT NULL,
	id TEXT COLLATE "C" NOT NULL,
	zone_id TEXT COLLATE "C" NOT NULL,
	purpose TEXT COLLATE "C" NOT NULL,
	sealed BYTEA NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (organization_id, id)
);
CREATE INDEX mails_zone ON mails (zone_id);
