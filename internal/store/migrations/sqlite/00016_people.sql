-- +goose Up

-- What people sign in with. The zone is empty for those who manage.
CREATE TABLE passwords (
	zone_id TEXT NOT NULL,
	user_id TEXT NOT NULL,
	email TEXT NOT NULL,
	email_folded TEXT NOT NULL,
	hash TEXT NOT NULL,
	changed_at BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (zone_id, user_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX passwords_email ON passwords (zone_id, email_folded);

CREATE TABLE mailed_codes (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	user_id TEXT NOT NULL,
	purpose TEXT NOT NULL,
	email TEXT NOT NULL,
	sealed_code BLOB NOT NULL,
	link TEXT NOT NULL,
	attempts BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX mailed_codes_link ON mailed_codes (zone_id, link);
CREATE INDEX mailed_codes_user ON mailed_codes (zone_id, user_id);

CREATE TABLE passkeys (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	user_id TEXT NOT NULL,
	credential_id TEXT NOT NULL,
	name TEXT NOT NULL,
	credential BLOB NOT NULL,
	last_used_at BIGINT,
	created_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX passkeys_credential ON passkeys (zone_id, credential_id);
CREATE INDEX passkeys_user ON passkeys (zone_id, user_id, id);

-- Who may sign up where that takes an invitation.
CREATE TABLE zone_invitations (
	zone_id TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	id TEXT NOT NULL,
	email TEXT NOT NULL,
	email_folded TEXT NOT NULL,
	status TEXT NOT NULL,
	user_id TEXT,
	expires_at BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX zone_invitations_email ON zone_invitations (zone_id, email_folded) WHERE status = 'pending';
