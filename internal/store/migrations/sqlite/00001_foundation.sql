-- +goose Up

-- Facts about the database itself.
CREATE TABLE meta (
	name TEXT NOT NULL PRIMARY KEY,
	value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE organizations (
	id TEXT NOT NULL PRIMARY KEY,
	name TEXT NOT NULL,
	label TEXT NOT NULL,
	key_id TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX organizations_label ON organizations (label);

CREATE TABLE service_accounts (
	organization_id TEXT NOT NULL,
	id TEXT NOT NULL,
	name TEXT NOT NULL,
	description TEXT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (organization_id, id)
) WITHOUT ROWID;

CREATE TABLE service_account_credentials (
	organization_id TEXT NOT NULL,
	id TEXT NOT NULL,
	service_account_id TEXT NOT NULL,
	client_id TEXT NOT NULL,
	secret_hash BLOB,
	last_used_at BIGINT,
	created_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (organization_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX service_account_credentials_client ON service_account_credentials (client_id);
CREATE INDEX service_account_credentials_account ON service_account_credentials (organization_id, service_account_id, id);

CREATE TABLE zones (
	id TEXT NOT NULL PRIMARY KEY,
	organization_id TEXT NOT NULL,
	owner_type TEXT NOT NULL,
	slug TEXT NOT NULL,
	name TEXT NOT NULL,
	description TEXT,
	default_gateway_application_id TEXT,
	default_resource_id TEXT,
	user_identity_provider_id TEXT,
	requires_invitation BOOLEAN NOT NULL,
	encryption_key TEXT,
	login_flow TEXT NOT NULL,
	pkce_required BOOLEAN NOT NULL,
	dcr_enabled BOOLEAN NOT NULL,
	cimd_enabled BOOLEAN NOT NULL,
	cimd_client_ids TEXT,
	signing_alg TEXT NOT NULL,
	issuer_form TEXT NOT NULL,
	key_id TEXT NOT NULL,
	active_policy_set_version_id TEXT NOT NULL,
	revision BIGINT NOT NULL,
	deleted_at BIGINT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX zones_organization ON zones (organization_id, id);
CREATE UNIQUE INDEX zones_slug ON zones (organization_id, slug) WHERE deleted_at IS NULL;

-- What changed in a zone at which of its revisions; each revision after the
-- first has at least one row until it is pruned.
CREATE TABLE zone_changes (
	zone_id TEXT NOT NULL,
	revision BIGINT NOT NULL,
	kind TEXT NOT NULL,
	id TEXT NOT NULL,
	PRIMARY KEY (zone_id, revision, kind, id)
) WITHOUT ROWID;

CREATE TABLE applications (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	owner_type TEXT NOT NULL,
	slug TEXT NOT NULL,
	identifier TEXT NOT NULL,
	identifier_key TEXT NOT NULL,
	identifier_folded TEXT NOT NULL,
	name TEXT NOT NULL,
	name_folded TEXT NOT NULL,
	description TEXT,
	consent TEXT NOT NULL,
	docs_url TEXT,
	redirect_uris TEXT,
	logout_uris TEXT,
	traits TEXT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX applications_slug ON applications (zone_id, slug);
CREATE UNIQUE INDEX applications_identifier ON applications (zone_id, identifier_key);
CREATE INDEX applications_name ON applications (zone_id, name, id);

CREATE TABLE application_credentials (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	application_id TEXT NOT NULL,
	slug TEXT NOT NULL,
	type TEXT NOT NULL,
	identifier TEXT NOT NULL,
	identifier_key TEXT NOT NULL,
	secret_hash BLOB,
	jwks_uri TEXT NOT NULL,
	provider_id TEXT NOT NULL,
	subject TEXT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX application_credentials_slug ON application_credentials (zone_id, slug);
CREATE UNIQUE INDEX application_credentials_identifier ON application_credentials (zone_id, identifier_key) WHERE type <> 'token';
CREATE INDEX application_credentials_application ON application_credentials (zone_id, application_id, id);
CREATE INDEX application_credentials_provider ON application_credentials (zone_id, provider_id, id) WHERE provider_id <> '';

CREATE TABLE application_dependencies (
	zone_id TEXT NOT NULL,
	application_id TEXT NOT NULL,
	resource_id TEXT NOT NULL,
	when_accessing TEXT,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (zone_id, application_id, resource_id)
) WITHOUT ROWID;
CREATE INDEX application_dependencies_resource ON application_dependencies (zone_id, resource_id, application_id);
CREATE INDEX application_dependencies_conditional ON application_dependencies (zone_id) WHERE when_accessing IS NOT NULL;

CREATE TABLE providers (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	owner_type TEXT NOT NULL,
	slug TEXT NOT NULL,
	identifier TEXT NOT NULL,
	identifier_key TEXT NOT NULL,
	name TEXT NOT NULL,
	description TEXT,
	type TEXT NOT NULL,
	client_id TEXT,
	sealed_secret BLOB,
	metadata TEXT,
	oauth2 TEXT,
	openid TEXT,
	has_protocols BOOLEAN NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX providers_slug ON providers (zone_id, slug);
CREATE UNIQUE INDEX providers_identifier ON providers (zone_id, identifier_key);

CREATE TABLE resources (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	owner_type TEXT NOT NULL,
	slug TEXT NOT NULL,
	identifier TEXT NOT NULL,
	identifier_key TEXT NOT NULL,
	name TEXT NOT NULL,
	description TEXT,
	application_type TEXT NOT NULL,
	prefix BOOLEAN NOT NULL,
	credential_lifetime_seconds BIGINT,
	signing_alg TEXT,
	application_id TEXT,
	credential_provider_id TEXT,
	scopes TEXT,
	docs_url TEXT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX resources_slug ON resources (zone_id, slug);
CREATE UNIQUE INDEX resources_identifier ON resources (zone_id, identifier_key);
CREATE INDEX resources_application ON resources (zone_id, application_id, id) WHERE application_id IS NOT NULL;
CREATE INDEX resources_provider ON resources (zone_id, credential_provider_id, id) WHERE credential_provider_id IS NOT NULL;

CREATE TABLE users (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	identifier TEXT NOT NULL,
	identifier_key TEXT NOT NULL,
	email TEXT NOT NULL,
	email_folded TEXT NOT NULL,
	email_verified BOOLEAN NOT NULL,
	status TEXT NOT NULL,
	provider_id TEXT,
	issuer TEXT,
	subject TEXT,
	subject_folded TEXT NOT NULL,
	authenticated_at BIGINT,
	key_id TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX users_identifier ON users (zone_id, identifier_key);
CREATE INDEX users_provider ON users (zone_id, provider_id, id) WHERE provider_id IS NOT NULL;

CREATE TABLE sessions (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	session_type TEXT NOT NULL,
	status TEXT NOT NULL,
	parent_id TEXT,
	user_id TEXT,
	application_id TEXT,
	user_agent_id TEXT,
	credential_id TEXT,
	provider_id TEXT,
	name TEXT NOT NULL,
	issuer TEXT NOT NULL,
	subject TEXT NOT NULL,
	session_data TEXT,
	authenticated_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE INDEX sessions_parent ON sessions (zone_id, parent_id, id) WHERE parent_id IS NOT NULL;
CREATE INDEX sessions_user ON sessions (zone_id, user_id, id) WHERE user_id IS NOT NULL;
CREATE UNIQUE INDEX sessions_credential ON sessions (zone_id, credential_id) WHERE session_type = 'application' AND status = 'active';

CREATE TABLE grants (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	user_id TEXT NOT NULL,
	resource_id TEXT NOT NULL,
	provider_id TEXT NOT NULL,
	scopes TEXT,
	status TEXT NOT NULL,
	refresh_token_set BOOLEAN NOT NULL,
	expires_at BIGINT NOT NULL,
	refreshed_at BIGINT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE INDEX grants_user ON grants (zone_id, user_id, id);
CREATE INDEX grants_resource ON grants (zone_id, resource_id, id);

CREATE TABLE consents (
	zone_id TEXT NOT NULL,
	user_id TEXT NOT NULL,
	application_id TEXT NOT NULL,
	resource_id TEXT NOT NULL,
	scopes TEXT,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (zone_id, user_id, application_id, resource_id)
) WITHOUT ROWID;
CREATE INDEX consents_application ON consents (zone_id, application_id);
CREATE INDEX consents_resource ON consents (zone_id, resource_id);

CREATE TABLE policies (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	owner_type TEXT NOT NULL,
	name TEXT NOT NULL,
	name_folded TEXT NOT NULL,
	description TEXT,
	description_folded TEXT NOT NULL,
	latest_version BIGINT NOT NULL,
	latest_version_id TEXT NOT NULL,
	latest_schema_version TEXT NOT NULL,
	created_by TEXT NOT NULL,
	updated_by TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	archived_at BIGINT,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX policies_name ON policies (zone_id, name) WHERE archived_at IS NULL;

CREATE TABLE policy_versions (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	policy_id TEXT NOT NULL,
	owner_type TEXT NOT NULL,
	version BIGINT NOT NULL,
	schema_version TEXT NOT NULL,
	cedar_raw TEXT NOT NULL,
	cedar_json TEXT,
	sha TEXT NOT NULL,
	created_by TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	archived_at BIGINT,
	archived_by TEXT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX policy_versions_version ON policy_versions (zone_id, policy_id, version);
CREATE INDEX policy_versions_policy ON policy_versions (zone_id, policy_id, id);

CREATE TABLE policy_sets (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	owner_type TEXT NOT NULL,
	name TEXT NOT NULL,
	name_folded TEXT NOT NULL,
	target_type TEXT NOT NULL,
	target_id TEXT NOT NULL,
	latest_version BIGINT NOT NULL,
	latest_version_id TEXT NOT NULL,
	active BOOLEAN NOT NULL,
	active_version BIGINT NOT NULL,
	active_version_id TEXT NOT NULL,
	shadow_version BIGINT NOT NULL,
	shadow_version_id TEXT NOT NULL,
	created_by TEXT NOT NULL,
	updated_by TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	archived_at BIGINT,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX policy_sets_name ON policy_sets (zone_id, name) WHERE archived_at IS NULL;

CREATE TABLE policy_set_versions (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	policy_set_id TEXT NOT NULL,
	owner_type TEXT NOT NULL,
	version BIGINT NOT NULL,
	schema_version TEXT NOT NULL,
	manifest TEXT,
	manifest_sha TEXT NOT NULL,
	attestation TEXT,
	created_by TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	archived_at BIGINT,
	archived_by TEXT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX policy_set_versions_version ON policy_set_versions (zone_id, policy_set_id, version);
CREATE INDEX policy_set_versions_set ON policy_set_versions (zone_id, policy_set_id, id);

CREATE TABLE data_keys (
	id TEXT NOT NULL PRIMARY KEY,
	owner_id TEXT NOT NULL,
	parent_id TEXT NOT NULL,
	wrapped BLOB NOT NULL,
	created_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX data_keys_owner ON data_keys (owner_id, id);

CREATE TABLE signing_keys (
	owner_id TEXT NOT NULL,
	id TEXT NOT NULL,
	algorithm TEXT NOT NULL,
	state TEXT NOT NULL,
	public TEXT NOT NULL,
	sealed BLOB NOT NULL,
	created_at BIGINT NOT NULL,
	activated_at BIGINT,
	retired_at BIGINT,
	PRIMARY KEY (owner_id, id)
) WITHOUT ROWID;

CREATE TABLE tasks (
	id TEXT NOT NULL PRIMARY KEY,
	kind TEXT NOT NULL,
	zone_id TEXT NOT NULL,
	data BLOB,
	run_at BIGINT NOT NULL,
	lease_until BIGINT NOT NULL,
	attempt BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX tasks_due ON tasks (kind, run_at);

-- The end of each organization's log. drift is the most by which an event's
-- own time or id ever differed from the time of its commit, in microseconds.
CREATE TABLE event_heads (
	organization_id TEXT NOT NULL PRIMARY KEY,
	last_seq BIGINT NOT NULL,
	committed_at BIGINT NOT NULL,
	drift BIGINT NOT NULL
) WITHOUT ROWID;

-- The log: one row per organization and commit. Rows are large, so they lie
-- beside their keys, not in them.
CREATE TABLE event_segments (
	organization_id TEXT NOT NULL,
	first_seq BIGINT NOT NULL,
	last_seq BIGINT NOT NULL,
	committed_at BIGINT NOT NULL,
	min_id TEXT NOT NULL,
	max_id TEXT NOT NULL,
	leaves BLOB NOT NULL,
	events BLOB NOT NULL,
	PRIMARY KEY (organization_id, first_seq)
);
CREATE INDEX event_segments_time ON event_segments (organization_id, committed_at, first_seq, last_seq, min_id, max_id);

-- Which segments hold events of a zone, and how many.
CREATE TABLE event_zones (
	zone_id TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	first_seq BIGINT NOT NULL,
	events BIGINT NOT NULL,
	PRIMARY KEY (zone_id, organization_id, first_seq)
) WITHOUT ROWID;

-- Request ids of the log, in sorted runs built behind it. A run covers the
-- sequence numbers run to last_seq; indexed_seq is the end of the last run.
CREATE TABLE event_indexed (
	organization_id TEXT NOT NULL PRIMARY KEY,
	indexed_seq BIGINT NOT NULL
) WITHOUT ROWID;
CREATE TABLE event_runs (
	organization_id TEXT NOT NULL,
	run BIGINT NOT NULL,
	last_seq BIGINT NOT NULL,
	level BIGINT NOT NULL,
	PRIMARY KEY (organization_id, run)
) WITHOUT ROWID;
CREATE TABLE event_run_chunks (
	organization_id TEXT NOT NULL,
	run BIGINT NOT NULL,
	first_hash BIGINT NOT NULL,
	chunk BIGINT NOT NULL,
	entries BLOB NOT NULL,
	PRIMARY KEY (organization_id, run, first_hash, chunk)
) WITHOUT ROWID;
