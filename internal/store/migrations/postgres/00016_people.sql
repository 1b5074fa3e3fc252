-- +goose Up

-- What people sign in with. The zone is empty for those who manage.
CREATE TABLE passwords (
	zone_id TEXT COLLATE "C" NOT NULL,
	user_id TEXT COLLATE "C" NOT NULL,
	email TEXT COLLATE "C" NOT NULL,
	email_folded TEXT COLLATE "C" NOT NULL,
	hash TEXT COLLATE "C" NOT NULL,
	changed_at BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (zone_id, user_id)
);
CREATE UNIQUE INDEX passwords_email ON passwords (zone_id, email_folded);

CREATE TABLE mailed_codes (
	zone_id TEXT COLLATE "C" NOT NULL,
	id TEXT COLLATE "C" NOT NULL,
	user_id TEXT COLLATE "C" NOT NULL,
	purpose TEXT COLLATE "C" NOT NULL,
	email TEXT COLLATE "C" NOT NULL,
	sealed_code BYTEA NOT NULL,
	link TEXT COLLATE "C" NOT NULL,
	attempts BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
);
CREATE UNIQUE INDEX mailed_codes_link ON mailed_codes (zone_id, link);
CREATE INDEX mailed_codes_user ON mailed_codes (zone_id, user_id);

CREATE TABLE passkeys (
	zone_id TEXT COLLATE "C" NOT NULL,
	id TEXT COLLATE "C" NOT NULL,
	user_id TEXT COLLATE "C" NOT NULL,
	credential_id TEXT COLLATE "C" NOT NULL,
	name TEXT COLLATE "C" NOT NULL,
	credential BYTEA NOT NULL,
	last_used_at BIGINT,
	created_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
);
CREATE UNIQUE INDEX passkeys_credential ON passkeys (zone_id, credential_id);
CREATE INDEX passkeys_user ON passkeys (zone_id, user_id, id);

-- Who may sign up where that takes an invitation.
CREATE TABLE zone_invitations (
	zone_id TEXT COLLATE "C" NOT NULL,
	organization_id TEXT COLLATE "C" NOT NULL,
	id TEXT COLLATE "C" NOT NULL,
	email TEXT COLLATE "C" NOT NULL,
	email_folded TEXT COLLATE "C" NOT NULL,
	status TEXT COLLATE "C" NOT NULL,
	user_id TEXT COLLATE "C",
	expires_at BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
);
CREATE UNIQUE INDEX zone_invitations_email ON zone_invitations (zone_id, email_folded) WHERE status = 'pending';
