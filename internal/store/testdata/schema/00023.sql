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
	revision BIGINT NOT NULL, subject_prefix TEXT,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE TABLE application_dependencies (
	zone_id TEXT NOT NULL,
	application_id TEXT NOT NULL,
	resource_id TEXT NOT NULL,
	when_accessing TEXT,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (zone_id, application_id, resource_id)
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
CREATE TABLE catalog_tasks (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	install_id TEXT NOT NULL,
	operation TEXT NOT NULL,
	status TEXT NOT NULL,
	error TEXT NOT NULL,
	warnings TEXT,
	run TEXT NOT NULL,
	actor TEXT,
	request_id TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE TABLE consents (
	zone_id TEXT NOT NULL,
	user_id TEXT NOT NULL,
	client_id TEXT NOT NULL,
	resource_id TEXT NOT NULL,
	scopes TEXT,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (zone_id, user_id, client_id, resource_id)
) WITHOUT ROWID;
CREATE TABLE data_keys (
	id TEXT NOT NULL PRIMARY KEY,
	owner_id TEXT NOT NULL,
	parent_id TEXT NOT NULL,
	wrapped BLOB NOT NULL,
	created_at BIGINT NOT NULL
, kek TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
CREATE TABLE event_deliveries (
	sink TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	seq BIGINT NOT NULL,
	delivered_at BIGINT NOT NULL,
	PRIMARY KEY (sink, organization_id)
) WITHOUT ROWID;
CREATE TABLE event_heads (
	organization_id TEXT NOT NULL PRIMARY KEY,
	last_seq BIGINT NOT NULL,
	committed_at BIGINT NOT NULL,
	drift BIGINT NOT NULL
) WITHOUT ROWID;
CREATE TABLE event_indexed (
	organization_id TEXT NOT NULL PRIMARY KEY,
	indexed_seq BIGINT NOT NULL
) WITHOUT ROWID;
CREATE TABLE event_nodes (
	organization_id TEXT NOT NULL,
	level BIGINT NOT NULL,
	n BIGINT NOT NULL,
	hash BLOB NOT NULL,
	PRIMARY KEY (organization_id, level, n)
) WITHOUT ROWID;
CREATE TABLE event_run_chunks (
	organization_id TEXT NOT NULL,
	run BIGINT NOT NULL,
	first_hash BIGINT NOT NULL,
	chunk BIGINT NOT NULL,
	entries BLOB NOT NULL,
	PRIMARY KEY (organization_id, run, first_hash, chunk)
) WITHOUT ROWID;
CREATE TABLE event_runs (
	organization_id TEXT NOT NULL,
	run BIGINT NOT NULL,
	last_seq BIGINT NOT NULL,
	level BIGINT NOT NULL,
	PRIMARY KEY (organization_id, run)
) WITHOUT ROWID;
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
CREATE TABLE event_sinks (
	sink TEXT NOT NULL PRIMARY KEY,
	lease_until BIGINT NOT NULL,
	fence BIGINT NOT NULL
) WITHOUT ROWID;
CREATE TABLE event_trees (
	organization_id TEXT NOT NULL PRIMARY KEY,
	size BIGINT NOT NULL
) WITHOUT ROWID;
CREATE TABLE event_zones (
	zone_id TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	first_seq BIGINT NOT NULL,
	events BIGINT NOT NULL,
	PRIMARY KEY (zone_id, organization_id, first_seq)
) WITHOUT ROWID;
CREATE TABLE goose_db_version (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		version_id INTEGER NOT NULL,
		is_applied INTEGER NOT NULL,
		tstamp TIMESTAMP DEFAULT (datetime('now'))
	);
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
	revision BIGINT NOT NULL, requested_scopes TEXT, sealed BLOB, lease_until BIGINT NOT NULL DEFAULT 0, fence BIGINT NOT NULL DEFAULT 0,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE TABLE group_members (
	zone_id TEXT NOT NULL,
	group_id TEXT NOT NULL,
	user_id TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (zone_id, group_id, user_id)
) WITHOUT ROWID;
CREATE TABLE install_entities (
	zone_id TEXT NOT NULL,
	install_id TEXT NOT NULL,
	name TEXT NOT NULL,
	position BIGINT NOT NULL,
	entity_type TEXT NOT NULL,
	entity_id TEXT NOT NULL,
	path TEXT NOT NULL,
	relation TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (zone_id, install_id, name)
) WITHOUT ROWID;
CREATE TABLE installs (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	package_id TEXT NOT NULL,
	package_slug TEXT NOT NULL,
	catalog_id TEXT NOT NULL,
	version BIGINT NOT NULL,
	status TEXT NOT NULL,
	inputs TEXT,
	sealed_inputs BLOB,
	outputs TEXT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
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
CREATE TABLE mails (
	organization_id TEXT NOT NULL,
	id TEXT NOT NULL,
	zone_id TEXT NOT NULL,
	purpose TEXT NOT NULL,
	sealed BLOB NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (organization_id, id)
) WITHOUT ROWID;
CREATE TABLE meta (
	name TEXT NOT NULL PRIMARY KEY,
	value TEXT NOT NULL
) WITHOUT ROWID;
CREATE VIEW organization_identities AS
	SELECT organization_id, id, 'user' AS type, email, email_folded, role, source, status, created_at AS expires_at, created_at, updated_at
	FROM organization_users
	UNION ALL
	SELECT organization_id, id, 'invitation', email, email_folded, role, '', status, expires_at, created_at, updated_at
	FROM invitations i
	WHERE NOT EXISTS (SELECT 1 FROM organization_users u WHERE u.organization_id = i.organization_id AND u.email_folded = i.email_folded);
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
CREATE TABLE organizations (
	id TEXT NOT NULL PRIMARY KEY,
	name TEXT NOT NULL,
	label TEXT NOT NULL,
	key_id TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL
) WITHOUT ROWID;
CREATE TABLE package_versions (
	catalog_id TEXT NOT NULL,
	id TEXT NOT NULL,
	package_id TEXT NOT NULL,
	owner_type TEXT NOT NULL,
	version BIGINT NOT NULL,
	manifest TEXT,
	manifest_sha TEXT NOT NULL,
	created_by TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	archived_at BIGINT,
	archived_by TEXT NOT NULL,
	PRIMARY KEY (catalog_id, id)
) WITHOUT ROWID;
CREATE TABLE packages (
	catalog_id TEXT NOT NULL,
	id TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	slug TEXT NOT NULL,
	kind TEXT NOT NULL,
	name TEXT NOT NULL,
	published BOOLEAN NOT NULL,
	listed BOOLEAN NOT NULL,
	latest_version BIGINT NOT NULL,
	current_version_id TEXT NOT NULL,
	draft TEXT,
	draft_id TEXT NOT NULL,
	draft_sha TEXT NOT NULL,
	draft_updated_at BIGINT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	archived_at BIGINT,
	revision BIGINT NOT NULL,
	PRIMARY KEY (catalog_id, id)
) WITHOUT ROWID;
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
CREATE TABLE policy_drafts (
	zone_id TEXT NOT NULL,
	policy_id TEXT NOT NULL,
	schema_version TEXT NOT NULL,
	cedar_raw TEXT NOT NULL,
	cedar_json TEXT,
	base_version_id TEXT NOT NULL,
	updated_by TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, policy_id)
) WITHOUT ROWID;
CREATE TABLE policy_entities (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	sealed BOOLEAN NOT NULL,
	data BLOB NOT NULL,
	used_at BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE TABLE policy_schemas (
	version TEXT NOT NULL PRIMARY KEY,
	status TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	deprecated_at BIGINT,
	archived_at BIGINT
) WITHOUT ROWID;
CREATE TABLE policy_set_drafts (
	zone_id TEXT NOT NULL,
	policy_set_id TEXT NOT NULL,
	schema_version TEXT NOT NULL,
	manifest TEXT,
	name TEXT,
	description TEXT,
	base_version_id TEXT NOT NULL,
	updated_by TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, policy_set_id)
) WITHOUT ROWID;
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
CREATE TABLE refresh_families (
	zone_id TEXT NOT NULL,
	session_id TEXT NOT NULL,
	client_id TEXT NOT NULL,
	generation BIGINT NOT NULL,
	current BLOB NOT NULL,
	previous BLOB,
	sealed BLOB,
	turns TEXT,
	tag BLOB NOT NULL,
	data TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	PRIMARY KEY (zone_id, session_id)
) WITHOUT ROWID;
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
CREATE TABLE service_account_credentials (
	organization_id TEXT NOT NULL,
	id TEXT NOT NULL,
	service_account_id TEXT NOT NULL,
	client_id TEXT NOT NULL,
	secret_hash BLOB,
	last_used_at BIGINT,
	created_at BIGINT NOT NULL,
	revision BIGINT NOT NULL, name TEXT NOT NULL DEFAULT '', description TEXT,
	PRIMARY KEY (organization_id, id)
) WITHOUT ROWID;
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
	revision BIGINT NOT NULL, depth BIGINT NOT NULL DEFAULT 0, view TEXT NOT NULL DEFAULT '',
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE TABLE signals (
	zone_id TEXT NOT NULL,
	seq BIGINT NOT NULL,
	kind TEXT NOT NULL,
	subject TEXT NOT NULL,
	holder TEXT NOT NULL,
	detail TEXT NOT NULL,
	stream_id TEXT NOT NULL,
	at BIGINT NOT NULL,
	PRIMARY KEY (zone_id, seq)
) WITHOUT ROWID;
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
CREATE TABLE streams (
	zone_id TEXT NOT NULL,
	id TEXT NOT NULL,
	organization_id TEXT NOT NULL,
	application_id TEXT NOT NULL,
	audience TEXT NOT NULL,
	method TEXT NOT NULL,
	endpoint_url TEXT NOT NULL,
	sealed BLOB,
	events TEXT,
	status TEXT NOT NULL,
	reason TEXT NOT NULL,
	description TEXT NOT NULL,
	delivered BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (zone_id, id)
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
CREATE TABLE tickets (
	kind TEXT NOT NULL,
	zone_id TEXT NOT NULL,
	key BLOB NOT NULL,
	source TEXT NOT NULL,
	data BLOB,
	size BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	PRIMARY KEY (kind, zone_id, key)
) WITHOUT ROWID;
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
	revision BIGINT NOT NULL, account_key TEXT NOT NULL DEFAULT '',
	PRIMARY KEY (zone_id, id)
) WITHOUT ROWID;
CREATE TABLE zone_changes (
	zone_id TEXT NOT NULL,
	revision BIGINT NOT NULL,
	kind TEXT NOT NULL,
	id TEXT NOT NULL,
	PRIMARY KEY (zone_id, revision, kind, id)
) WITHOUT ROWID;
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
, policy_schema TEXT NOT NULL DEFAULT '2026-06-18', shadow_policy_set_version_id TEXT NOT NULL DEFAULT '', signals BIGINT NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE INDEX application_credentials_application ON application_credentials (zone_id, application_id, id);
CREATE UNIQUE INDEX application_credentials_identifier ON application_credentials (zone_id, identifier_key) WHERE type <> 'token';
CREATE INDEX application_credentials_pattern ON application_credentials (zone_id, provider_id, subject_prefix) WHERE subject_prefix IS NOT NULL;
CREATE INDEX application_credentials_provider ON application_credentials (zone_id, provider_id, id) WHERE provider_id <> '';
CREATE UNIQUE INDEX application_credentials_slug ON application_credentials (zone_id, slug);
CREATE INDEX application_credentials_subject ON application_credentials (zone_id, provider_id, identifier_key) WHERE type = 'token';
CREATE INDEX application_dependencies_conditional ON application_dependencies (zone_id) WHERE when_accessing IS NOT NULL;
CREATE INDEX application_dependencies_resource ON application_dependencies (zone_id, resource_id, application_id);
CREATE UNIQUE INDEX applications_identifier ON applications (zone_id, identifier_key);
CREATE INDEX applications_name ON applications (zone_id, name, id);
CREATE UNIQUE INDEX applications_slug ON applications (zone_id, slug);
CREATE INDEX catalog_tasks_install ON catalog_tasks (zone_id, install_id, id);
CREATE INDEX consents_client ON consents (zone_id, client_id);
CREATE INDEX consents_resource ON consents (zone_id, resource_id);
CREATE INDEX data_keys_kek ON data_keys (kek, id) WHERE parent_id = '';
CREATE INDEX data_keys_owner ON data_keys (owner_id, id);
CREATE INDEX event_segments_time ON event_segments (organization_id, committed_at, first_seq, last_seq, min_id, max_id);
CREATE INDEX grants_due ON grants (expires_at) WHERE status = 'active' AND NOT refresh_token_set;
CREATE INDEX grants_provider ON grants (zone_id, provider_id, id);
CREATE INDEX grants_resource ON grants (zone_id, resource_id, id);
CREATE INDEX grants_said ON grants (zone_id, user_id, resource_id, (CASE status WHEN 'active' THEN 0 ELSE 1 END), id DESC);
CREATE INDEX grants_status ON grants (zone_id, status, id, expires_at);
CREATE INDEX grants_user ON grants (zone_id, user_id, id);
CREATE INDEX group_members_user ON group_members (zone_id, user_id, group_id);
CREATE INDEX install_entities_entity ON install_entities (zone_id, entity_id);
CREATE INDEX installs_package ON installs (zone_id, package_id, id);
CREATE UNIQUE INDEX invitations_email ON invitations (organization_id, email_folded) WHERE status = 'pending';
CREATE UNIQUE INDEX invitations_token ON invitations (token_hash);
CREATE UNIQUE INDEX mailed_codes_link ON mailed_codes (zone_id, link);
CREATE INDEX mailed_codes_user ON mailed_codes (zone_id, user_id);
CREATE INDEX mails_zone ON mails (zone_id);
CREATE INDEX organization_users_by_email ON organization_users (email_folded);
CREATE INDEX organization_users_by_id ON organization_users (id);
CREATE INDEX organization_users_by_identity ON organization_users (identity_key);
CREATE UNIQUE INDEX organization_users_email ON organization_users (organization_id, email_folded);
CREATE UNIQUE INDEX organization_users_identity ON organization_users (organization_id, identity_key);
CREATE INDEX organization_users_newest ON organization_users (organization_id, created_at, id);
CREATE UNIQUE INDEX organizations_label ON organizations (label);
CREATE INDEX package_versions_package ON package_versions (catalog_id, package_id, id);
CREATE UNIQUE INDEX package_versions_version ON package_versions (catalog_id, package_id, version);
CREATE UNIQUE INDEX packages_slug ON packages (catalog_id, slug);
CREATE UNIQUE INDEX passkeys_credential ON passkeys (zone_id, credential_id);
CREATE INDEX passkeys_user ON passkeys (zone_id, user_id, id);
CREATE UNIQUE INDEX passwords_email ON passwords (zone_id, email_folded);
CREATE UNIQUE INDEX policies_name ON policies (zone_id, name) WHERE archived_at IS NULL;
CREATE INDEX policy_entities_used ON policy_entities (used_at);
CREATE INDEX policy_set_versions_set ON policy_set_versions (zone_id, policy_set_id, id);
CREATE UNIQUE INDEX policy_set_versions_version ON policy_set_versions (zone_id, policy_set_id, version);
CREATE UNIQUE INDEX policy_sets_name ON policy_sets (zone_id, name) WHERE archived_at IS NULL;
CREATE INDEX policy_sets_target ON policy_sets (zone_id, target_type, target_id, id);
CREATE INDEX policy_versions_policy ON policy_versions (zone_id, policy_id, id);
CREATE UNIQUE INDEX policy_versions_version ON policy_versions (zone_id, policy_id, version);
CREATE UNIQUE INDEX providers_identifier ON providers (zone_id, identifier_key);
CREATE UNIQUE INDEX providers_slug ON providers (zone_id, slug);
CREATE INDEX refresh_families_expiry ON refresh_families (expires_at);
CREATE INDEX resources_application ON resources (zone_id, application_id, id) WHERE application_id IS NOT NULL;
CREATE UNIQUE INDEX resources_identifier ON resources (zone_id, identifier_key);
CREATE INDEX resources_provider ON resources (zone_id, credential_provider_id, id) WHERE credential_provider_id IS NOT NULL;
CREATE UNIQUE INDEX resources_slug ON resources (zone_id, slug);
CREATE UNIQUE INDEX role_assignments_once ON role_assignments (zone_id, assignment_key);
CREATE INDEX role_assignments_principal ON role_assignments (zone_id, principal_id, id);
CREATE INDEX role_assignments_role ON role_assignments (zone_id, role_id, id);
CREATE INDEX role_assignments_scope ON role_assignments (zone_id, scope_id) WHERE scope_id <> '';
CREATE UNIQUE INDEX roles_identifier ON roles (zone_id, identifier);
CREATE UNIQUE INDEX roles_slug ON roles (zone_id, slug);
CREATE INDEX secrets_entity ON secrets (zone_id, entity_id, id);
CREATE INDEX service_account_credentials_account ON service_account_credentials (organization_id, service_account_id, id);
CREATE UNIQUE INDEX service_account_credentials_client ON service_account_credentials (client_id);
CREATE INDEX sessions_agent ON sessions (zone_id, user_agent_id, id) WHERE user_agent_id IS NOT NULL;
CREATE INDEX sessions_application ON sessions (zone_id, application_id, id) WHERE application_id IS NOT NULL;
CREATE UNIQUE INDEX sessions_credential ON sessions (zone_id, credential_id) WHERE session_type = 'application' AND status = 'active';
CREATE INDEX sessions_due ON sessions (expires_at, view) WHERE status = 'active';
CREATE INDEX sessions_parent ON sessions (zone_id, parent_id, id) WHERE parent_id IS NOT NULL;
CREATE INDEX sessions_status ON sessions (zone_id, view, status, id, expires_at);
CREATE INDEX sessions_user ON sessions (zone_id, user_id, view, status, id, expires_at) WHERE user_id IS NOT NULL;
CREATE INDEX sessions_view ON sessions (zone_id, view, id);
CREATE INDEX signals_at ON signals (at);
CREATE INDEX tasks_due ON tasks (kind, run_at);
CREATE INDEX tickets_expiry ON tickets (expires_at);
CREATE INDEX tickets_source ON tickets (kind, source, created_at, size);
CREATE INDEX tickets_zone ON tickets (zone_id);
CREATE UNIQUE INDEX user_agents_identifier ON user_agents (zone_id, identifier);
CREATE UNIQUE INDEX user_agents_slug ON user_agents (zone_id, slug);
CREATE INDEX user_agents_used ON user_agents (last_used_at);
CREATE UNIQUE INDEX user_groups_identifier ON user_groups (zone_id, identifier);
CREATE UNIQUE INDEX user_groups_slug ON user_groups (zone_id, slug);
CREATE UNIQUE INDEX users_account ON users (zone_id, account_key) WHERE account_key <> '';
CREATE INDEX users_authenticated ON users (zone_id, (COALESCE(authenticated_at, 0)), id);
CREATE INDEX users_email ON users (zone_id, email, id);
CREATE UNIQUE INDEX users_identifier ON users (zone_id, identifier_key);
CREATE UNIQUE INDEX users_local ON users (zone_id, email_folded) WHERE issuer IS NULL;
CREATE INDEX users_newcomers ON users (zone_id, email, id) WHERE COALESCE(authenticated_at, 0) = 0;
CREATE INDEX users_provider ON users (zone_id, provider_id, id) WHERE provider_id IS NOT NULL;
CREATE UNIQUE INDEX zone_invitations_email ON zone_invitations (zone_id, email_folded) WHERE status = 'pending';
CREATE INDEX zone_members_newest ON zone_members (zone_id, created_at, organization_user_id);
CREATE INDEX zone_members_user ON zone_members (organization_id, organization_user_id, zone_id);
CREATE INDEX zones_organization ON zones (organization_id, id);
CREATE UNIQUE INDEX zones_slug ON zones (organization_id, slug) WHERE deleted_at IS NULL;
INSERT INTO application_credentials (zone_id, id, organization_id, application_id, slug, type, identifier, identifier_key, secret_hash, jwks_uri, provider_id, subject, created_at, updated_at, revision, subject_prefix) VALUES ('application_credentials zone_id', 'application_credentials id', 'application_credentials organization_id', 'application_credentials application_id', 'application_credentials slug', 'application_credentials type', 'application_credentials identifier', 'application_credentials identifier_key', X'6170706C69636174696F6E5F63726564656E7469616C73207365637265745F68617368', 'application_credentials jwks_uri', 'application_credentials provider_id', 'application_credentials subject', 1, 1, 1, 'application_credentials subject_prefix');
INSERT INTO application_dependencies (zone_id, application_id, resource_id, when_accessing, created_at) VALUES ('application_dependencies zone_id', 'application_dependencies application_id', 'application_dependencies resource_id', 'application_dependencies when_accessing', 1);
INSERT INTO applications (zone_id, id, organization_id, owner_type, slug, identifier, identifier_key, identifier_folded, name, name_folded, description, consent, docs_url, redirect_uris, logout_uris, traits, created_at, updated_at, revision) VALUES ('applications zone_id', 'applications id', 'applications organization_id', 'applications owner_type', 'applications slug', 'applications identifier', 'applications identifier_key', 'applications identifier_folded', 'applications name', 'applications name_folded', 'applications description', 'applications consent', 'applications docs_url', 'applications redirect_uris', 'applications logout_uris', 'applications traits', 1, 1, 1);
INSERT INTO catalog_tasks (zone_id, id, organization_id, install_id, operation, status, error, warnings, run, actor, request_id, created_at, updated_at, revision) VALUES ('catalog_tasks zone_id', 'catalog_tasks id', 'catalog_tasks organization_id', 'catalog_tasks install_id', 'catalog_tasks operation', 'catalog_tasks status', 'catalog_tasks error', 'catalog_tasks warnings', 'catalog_tasks run', 'catalog_tasks actor', 'catalog_tasks request_id', 1, 1, 1);
INSERT INTO consents (zone_id, user_id, client_id, resource_id, scopes, created_at) VALUES ('consents zone_id', 'consents user_id', 'consents client_id', 'consents resource_id', 'consents scopes', 1);
INSERT INTO data_keys (id, owner_id, parent_id, wrapped, created_at, kek) VALUES ('data_keys id', 'data_keys owner_id', 'data_keys parent_id', X'646174615F6B6579732077726170706564', 1, 'data_keys kek');
INSERT INTO event_deliveries (sink, organization_id, seq, delivered_at) VALUES ('event_deliveries sink', 'event_deliveries organization_id', 1, 1);
INSERT INTO event_heads (organization_id, last_seq, committed_at, drift) VALUES ('event_heads organization_id', 1, 1, 1);
INSERT INTO event_indexed (organization_id, indexed_seq) VALUES ('event_indexed organization_id', 1);
INSERT INTO event_nodes (organization_id, level, n, hash) VALUES ('event_nodes organization_id', 1, 1, X'6576656E745F6E6F6465732068617368');
INSERT INTO event_run_chunks (organization_id, run, first_hash, chunk, entries) VALUES ('event_run_chunks organization_id', 1, 1, 1, X'6576656E745F72756E5F6368756E6B7320656E7472696573');
INSERT INTO event_runs (organization_id, run, last_seq, level) VALUES ('event_runs organization_id', 1, 1, 1);
INSERT INTO event_segments (organization_id, first_seq, last_seq, committed_at, min_id, max_id, leaves, events) VALUES ('event_segments organization_id', 1, 1, 1, 'event_segments min_id', 'event_segments max_id', X'6576656E745F7365676D656E7473206C6561766573', X'6576656E745F7365676D656E7473206576656E7473');
INSERT INTO event_sinks (sink, lease_until, fence) VALUES ('event_sinks sink', 1, 1);
INSERT INTO event_trees (organization_id, size) VALUES ('event_trees organization_id', 1);
INSERT INTO event_zones (zone_id, organization_id, first_seq, events) VALUES ('event_zones zone_id', 'event_zones organization_id', 1, 1);
INSERT INTO goose_db_version (id, version_id, is_applied) VALUES (1, 0, 1);
INSERT INTO goose_db_version (id, version_id, is_applied) VALUES (10, 15, 1);
INSERT INTO goose_db_version (id, version_id, is_applied) VALUES (11, 16, 1);
INSERT INTO goose_db_version (id, version_id, is_applied) VALUES (12, 17, 1);
INSERT INTO goose_db_version (id, version_id, is_applied) VALUES (13, 18, 1);
INSERT INTO goose_db_version (id, version_id, is_applied) VALUES (14, 19, 1);
INSERT INTO goose_db_version (id, version_id, is_applied) VALUES (15, 20, 1);
INSERT INTO goose_db_version (id, version_id, is_applied) VALUES (16, 21, 1);
INSERT INTO goose_db_version (id, version_id, is_applied) VALUES (17, 22, 1);
INSERT INTO goose_db_version (id, version_id, is_applied) VALUES (18, 23, 1);
INSERT INTO goose_db_version (id, version_id, is_applied) VALUES (2, 1, 1);
INSERT INTO goose_db_version (id, version_id, is_applied) VALUES (3, 2, 1);
INSERT INTO goose_db_version (id, version_id, is_applied) VALUES (4, 3, 1);
INSERT INTO goose_db_version (id, version_id, is_applied) VALUES (5, 4, 1);
INSERT INTO goose_db_version (id, version_id, is_applied) VALUES (6, 5, 1);
INSERT INTO goose_db_version (id, version_id, is_applied) VALUES (7, 6, 1);
INSERT INTO goose_db_version (id, version_id, is_applied) VALUES (8, 13, 1);
INSERT INTO goose_db_version (id, version_id, is_applied) VALUES (9, 14, 1);
INSERT INTO grants (zone_id, id, organization_id, user_id, resource_id, provider_id, scopes, status, refresh_token_set, expires_at, refreshed_at, created_at, updated_at, revision, requested_scopes, sealed, lease_until, fence) VALUES ('grants zone_id', 'grants id', 'grants organization_id', 'grants user_id', 'grants resource_id', 'grants provider_id', 'grants scopes', 'grants status', 1, 1, 1, 1, 1, 1, 'grants requested_scopes', X'6772616E7473207365616C6564', 1, 1);
INSERT INTO group_members (zone_id, group_id, user_id, created_at) VALUES ('group_members zone_id', 'group_members group_id', 'group_members user_id', 1);
INSERT INTO install_entities (zone_id, install_id, name, position, entity_type, entity_id, path, relation, created_at) VALUES ('install_entities zone_id', 'install_entities install_id', 'install_entities name', 1, 'install_entities entity_type', 'install_entities entity_id', 'install_entities path', 'install_entities relation', 1);
INSERT INTO installs (zone_id, id, organization_id, package_id, package_slug, catalog_id, version, status, inputs, sealed_inputs, outputs, created_at, updated_at, revision) VALUES ('installs zone_id', 'installs id', 'installs organization_id', 'installs package_id', 'installs package_slug', 'installs catalog_id', 1, 'installs status', 'installs inputs', X'696E7374616C6C73207365616C65645F696E70757473', 'installs outputs', 1, 1, 1);
INSERT INTO invitations (organization_id, id, email, email_folded, role, status, token_hash, created_by, created_by_name, user_id, expires_at, created_at, updated_at, revision) VALUES ('invitations organization_id', 'invitations id', 'invitations email', 'invitations email_folded', 'invitations role', 'invitations status', X'696E7669746174696F6E7320746F6B656E5F68617368', 'invitations created_by', 'invitations created_by_name', 'invitations user_id', 1, 1, 1, 1);
INSERT INTO mailed_codes (zone_id, id, user_id, purpose, email, sealed_code, link, attempts, expires_at, created_at) VALUES ('mailed_codes zone_id', 'mailed_codes id', 'mailed_codes user_id', 'mailed_codes purpose', 'mailed_codes email', X'6D61696C65645F636F646573207365616C65645F636F6465', 'mailed_codes link', 1, 1, 1);
INSERT INTO mails (organization_id, id, zone_id, purpose, sealed, created_at) VALUES ('mails organization_id', 'mails id', 'mails zone_id', 'mails purpose', X'6D61696C73207365616C6564', 1);
INSERT INTO meta (name, value) VALUES ('meta name', 'meta value');
INSERT INTO organization_users (organization_id, id, email, email_folded, role, status, source, subject, identity_key, key_id, created_at, updated_at, revision) VALUES ('organization_users organization_id', 'organization_users id', 'organization_users email', 'organization_users email_folded', 'organization_users role', 'organization_users status', 'organization_users source', 'organization_users subject', 'organization_users identity_key', 'organization_users key_id', 1, 1, 1);
INSERT INTO organizations (id, name, label, key_id, created_at, updated_at, revision) VALUES ('organizations id', 'organizations name', 'organizations label', 'organizations key_id', 1, 1, 1);
INSERT INTO package_versions (catalog_id, id, package_id, owner_type, version, manifest, manifest_sha, created_by, created_at, archived_at, archived_by) VALUES ('package_versions catalog_id', 'package_versions id', 'package_versions package_id', 'package_versions owner_type', 1, 'package_versions manifest', 'package_versions manifest_sha', 'package_versions created_by', 1, 1, 'package_versions archived_by');
INSERT INTO packages (catalog_id, id, organization_id, slug, kind, name, published, listed, latest_version, current_version_id, draft, draft_id, draft_sha, draft_updated_at, created_at, updated_at, archived_at, revision) VALUES ('packages catalog_id', 'packages id', 'packages organization_id', 'packages slug', 'packages kind', 'packages name', 1, 1, 1, 'packages current_version_id', 'packages draft', 'packages draft_id', 'packages draft_sha', 1, 1, 1, 1, 1);
INSERT INTO passkeys (zone_id, id, user_id, credential_id, name, credential, last_used_at, created_at, revision) VALUES ('passkeys zone_id', 'passkeys id', 'passkeys user_id', 'passkeys credential_id', 'passkeys name', X'706173736B6579732063726564656E7469616C', 1, 1, 1);
INSERT INTO passwords (zone_id, user_id, email, email_folded, hash, changed_at, created_at) VALUES ('passwords zone_id', 'passwords user_id', 'passwords email', 'passwords email_folded', 'passwords hash', 1, 1);
INSERT INTO policies (zone_id, id, owner_type, name, name_folded, description, description_folded, latest_version, latest_version_id, latest_schema_version, created_by, updated_by, created_at, updated_at, archived_at, revision) VALUES ('policies zone_id', 'policies id', 'policies owner_type', 'policies name', 'policies name_folded', 'policies description', 'policies description_folded', 1, 'policies latest_version_id', 'policies latest_schema_version', 'policies created_by', 'policies updated_by', 1, 1, 1, 1);
INSERT INTO policy_drafts (zone_id, policy_id, schema_version, cedar_raw, cedar_json, base_version_id, updated_by, created_at, updated_at, revision) VALUES ('policy_drafts zone_id', 'policy_drafts policy_id', 'policy_drafts schema_version', 'policy_drafts cedar_raw', 'policy_drafts cedar_json', 'policy_drafts base_version_id', 'policy_drafts updated_by', 1, 1, 1);
INSERT INTO policy_entities (zone_id, id, sealed, data, used_at) VALUES ('policy_entities zone_id', 'policy_entities id', 1, X'706F6C6963795F656E7469746965732064617461', 1);
INSERT INTO policy_schemas (version, status, created_at, updated_at, deprecated_at, archived_at) VALUES ('2026-02-24', 'deprecated', 1771891200000000, 1781740800000000, 1781740800000000, NULL);
INSERT INTO policy_schemas (version, status, created_at, updated_at, deprecated_at, archived_at) VALUES ('2026-03-16', 'active', 1773619200000000, 1773619200000000, NULL, NULL);
INSERT INTO policy_schemas (version, status, created_at, updated_at, deprecated_at, archived_at) VALUES ('2026-06-18', 'active', 1781740800000000, 1781740800000000, NULL, NULL);
INSERT INTO policy_schemas (version, status, created_at, updated_at, deprecated_at, archived_at) VALUES ('policy_schemas version', 'policy_schemas status', 1, 1, 1, 1);
INSERT INTO policy_set_drafts (zone_id, policy_set_id, schema_version, manifest, name, description, base_version_id, updated_by, created_at, updated_at, revision) VALUES ('policy_set_drafts zone_id', 'policy_set_drafts policy_set_id', 'policy_set_drafts schema_version', 'policy_set_drafts manifest', 'policy_set_drafts name', 'policy_set_drafts description', 'policy_set_drafts base_version_id', 'policy_set_drafts updated_by', 1, 1, 1);
INSERT INTO policy_set_versions (zone_id, id, policy_set_id, owner_type, version, schema_version, manifest, manifest_sha, attestation, created_by, created_at, archived_at, archived_by) VALUES ('policy_set_versions zone_id', 'policy_set_versions id', 'policy_set_versions policy_set_id', 'policy_set_versions owner_type', 1, 'policy_set_versions schema_version', 'policy_set_versions manifest', 'policy_set_versions manifest_sha', 'policy_set_versions attestation', 'policy_set_versions created_by', 1, 1, 'policy_set_versions archived_by');
INSERT INTO policy_sets (zone_id, id, owner_type, name, name_folded, target_type, target_id, latest_version, latest_version_id, active, active_version, active_version_id, shadow_version, shadow_version_id, created_by, updated_by, created_at, updated_at, archived_at, revision) VALUES ('policy_sets zone_id', 'policy_sets id', 'policy_sets owner_type', 'policy_sets name', 'policy_sets name_folded', 'policy_sets target_type', 'policy_sets target_id', 1, 'policy_sets latest_version_id', 1, 1, 'policy_sets active_version_id', 1, 'policy_sets shadow_version_id', 'policy_sets created_by', 'policy_sets updated_by', 1, 1, 1, 1);
INSERT INTO policy_versions (zone_id, id, policy_id, owner_type, version, schema_version, cedar_raw, cedar_json, sha, created_by, created_at, archived_at, archived_by) VALUES ('policy_versions zone_id', 'policy_versions id', 'policy_versions policy_id', 'policy_versions owner_type', 1, 'policy_versions schema_version', 'policy_versions cedar_raw', 'policy_versions cedar_json', 'policy_versions sha', 'policy_versions created_by', 1, 1, 'policy_versions archived_by');
INSERT INTO providers (zone_id, id, organization_id, owner_type, slug, identifier, identifier_key, name, description, type, client_id, sealed_secret, metadata, oauth2, openid, has_protocols, created_at, updated_at, revision) VALUES ('providers zone_id', 'providers id', 'providers organization_id', 'providers owner_type', 'providers slug', 'providers identifier', 'providers identifier_key', 'providers name', 'providers description', 'providers type', 'providers client_id', X'70726F766964657273207365616C65645F736563726574', 'providers metadata', 'providers oauth2', 'providers openid', 1, 1, 1, 1);
INSERT INTO refresh_families (zone_id, session_id, client_id, generation, current, previous, sealed, turns, tag, data, created_at, expires_at) VALUES ('refresh_families zone_id', 'refresh_families session_id', 'refresh_families client_id', 1, X'726566726573685F66616D696C6965732063757272656E74', X'726566726573685F66616D696C6965732070726576696F7573', X'726566726573685F66616D696C696573207365616C6564', 'refresh_families turns', X'726566726573685F66616D696C69657320746167', 'refresh_families data', 1, 1);
INSERT INTO resources (zone_id, id, organization_id, owner_type, slug, identifier, identifier_key, name, description, application_type, prefix, credential_lifetime_seconds, signing_alg, application_id, credential_provider_id, scopes, docs_url, created_at, updated_at, revision) VALUES ('resources zone_id', 'resources id', 'resources organization_id', 'resources owner_type', 'resources slug', 'resources identifier', 'resources identifier_key', 'resources name', 'resources description', 'resources application_type', 1, 1, 'resources signing_alg', 'resources application_id', 'resources credential_provider_id', 'resources scopes', 'resources docs_url', 1, 1, 1);
INSERT INTO role_assignments (zone_id, id, organization_id, role_id, principal_type, principal_id, scope_type, scope_id, assignment_key, created_at) VALUES ('role_assignments zone_id', 'role_assignments id', 'role_assignments organization_id', 'role_assignments role_id', 'role_assignments principal_type', 'role_assignments principal_id', 'role_assignments scope_type', 'role_assignments scope_id', 'role_assignments assignment_key', 1);
INSERT INTO roles (zone_id, id, organization_id, slug, identifier, name, name_folded, description, created_at, updated_at, revision) VALUES ('roles zone_id', 'roles id', 'roles organization_id', 'roles slug', 'roles identifier', 'roles name', 'roles name_folded', 'roles description', 1, 1, 1);
INSERT INTO secrets (zone_id, id, entity_id, name, description, type, sealed, metadata, version, created_at, updated_at, revision) VALUES ('secrets zone_id', 'secrets id', 'secrets entity_id', 'secrets name', 'secrets description', 'secrets type', X'73656372657473207365616C6564', 'secrets metadata', 1, 1, 1, 1);
INSERT INTO service_account_credentials (organization_id, id, service_account_id, client_id, secret_hash, last_used_at, created_at, revision, name, description) VALUES ('service_account_credentials organization_id', 'service_account_credentials id', 'service_account_credentials service_account_id', 'service_account_credentials client_id', X'736572766963655F6163636F756E745F63726564656E7469616C73207365637265745F68617368', 1, 1, 1, 'service_account_credentials name', 'service_account_credentials description');
INSERT INTO service_accounts (organization_id, id, name, description, created_at, updated_at, revision) VALUES ('service_accounts organization_id', 'service_accounts id', 'service_accounts name', 'service_accounts description', 1, 1, 1);
INSERT INTO sessions (zone_id, id, organization_id, session_type, status, parent_id, user_id, application_id, user_agent_id, credential_id, provider_id, name, issuer, subject, session_data, authenticated_at, expires_at, created_at, updated_at, revision, depth, view) VALUES ('sessions zone_id', 'sessions id', 'sessions organization_id', 'sessions session_type', 'sessions status', 'sessions parent_id', 'sessions user_id', 'sessions application_id', 'sessions user_agent_id', 'sessions credential_id', 'sessions provider_id', 'sessions name', 'sessions issuer', 'sessions subject', 'sessions session_data', 1, 1, 1, 1, 1, 1, 'sessions view');
INSERT INTO signals (zone_id, seq, kind, subject, holder, detail, stream_id, at) VALUES ('signals zone_id', 1, 'signals kind', 'signals subject', 'signals holder', 'signals detail', 'signals stream_id', 1);
INSERT INTO signing_keys (owner_id, id, algorithm, state, public, sealed, created_at, activated_at, retired_at) VALUES ('signing_keys owner_id', 'signing_keys id', 'signing_keys algorithm', 'signing_keys state', 'signing_keys public', X'7369676E696E675F6B657973207365616C6564', 1, 1, 1);
INSERT INTO sso_connections (organization_id, id, identifier, client_id, sealed_secret, oauth2, openid, has_protocols, created_at, updated_at, revision) VALUES ('sso_connections organization_id', 'sso_connections id', 'sso_connections identifier', 'sso_connections client_id', X'73736F5F636F6E6E656374696F6E73207365616C65645F736563726574', 'sso_connections oauth2', 'sso_connections openid', 1, 1, 1, 1);
INSERT INTO streams (zone_id, id, organization_id, application_id, audience, method, endpoint_url, sealed, events, status, reason, description, delivered, created_at, updated_at, revision) VALUES ('streams zone_id', 'streams id', 'streams organization_id', 'streams application_id', 'streams audience', 'streams method', 'streams endpoint_url', X'73747265616D73207365616C6564', 'streams events', 'streams status', 'streams reason', 'streams description', 1, 1, 1, 1);
INSERT INTO tasks (id, kind, zone_id, data, run_at, lease_until, attempt) VALUES ('tasks id', 'tasks kind', 'tasks zone_id', X'7461736B732064617461', 1, 1, 1);
INSERT INTO tickets (kind, zone_id, key, source, data, size, created_at, expires_at) VALUES ('tickets kind', 'tickets zone_id', X'7469636B657473206B6579', 'tickets source', X'7469636B6574732064617461', 1, 1, 1);
INSERT INTO user_agents (zone_id, id, organization_id, slug, name, identifier, redirect_uris, grant_types, auth_method, jwks, jwks_uri, logo_uri, software_id, software_version, metadata, last_used_at, created_at, updated_at, revision) VALUES ('user_agents zone_id', 'user_agents id', 'user_agents organization_id', 'user_agents slug', 'user_agents name', 'user_agents identifier', 'user_agents redirect_uris', 'user_agents grant_types', 'user_agents auth_method', 'user_agents jwks', 'user_agents jwks_uri', 'user_agents logo_uri', 'user_agents software_id', 'user_agents software_version', 'user_agents metadata', 1, 1, 1, 1);
INSERT INTO user_groups (zone_id, id, organization_id, slug, identifier, name, name_folded, description, created_at, updated_at, revision) VALUES ('user_groups zone_id', 'user_groups id', 'user_groups organization_id', 'user_groups slug', 'user_groups identifier', 'user_groups name', 'user_groups name_folded', 'user_groups description', 1, 1, 1);
INSERT INTO users (zone_id, id, organization_id, identifier, identifier_key, email, email_folded, email_verified, status, provider_id, issuer, subject, subject_folded, authenticated_at, key_id, created_at, updated_at, revision, account_key) VALUES ('users zone_id', 'users id', 'users organization_id', 'users identifier', 'users identifier_key', 'users email', 'users email_folded', 1, 'users status', 'users provider_id', 'users issuer', 'users subject', 'users subject_folded', 1, 'users key_id', 1, 1, 1, 'users account_key');
INSERT INTO zone_changes (zone_id, revision, kind, id) VALUES ('zone_changes zone_id', 1, 'zone_changes kind', 'zone_changes id');
INSERT INTO zone_invitations (zone_id, organization_id, id, email, email_folded, status, user_id, expires_at, created_at, updated_at, revision) VALUES ('zone_invitations zone_id', 'zone_invitations organization_id', 'zone_invitations id', 'zone_invitations email', 'zone_invitations email_folded', 'zone_invitations status', 'zone_invitations user_id', 1, 1, 1, 1);
INSERT INTO zone_members (zone_id, organization_user_id, id, organization_id, role, created_at, updated_at, revision) VALUES ('zone_members zone_id', 'zone_members organization_user_id', 'zone_members id', 'zone_members organization_id', 'zone_members role', 1, 1, 1);
INSERT INTO zones (id, organization_id, owner_type, slug, name, description, default_gateway_application_id, default_resource_id, user_identity_provider_id, requires_invitation, encryption_key, login_flow, pkce_required, dcr_enabled, cimd_enabled, cimd_client_ids, signing_alg, issuer_form, key_id, active_policy_set_version_id, revision, deleted_at, created_at, updated_at, policy_schema, shadow_policy_set_version_id, signals) VALUES ('zones id', 'zones organization_id', 'zones owner_type', 'zones slug', 'zones name', 'zones description', 'zones default_gateway_application_id', 'zones default_resource_id', 'zones user_identity_provider_id', 1, 'zones encryption_key', 'zones login_flow', 1, 1, 1, 'zones cimd_client_ids', 'zones signing_alg', 'zones issuer_form', 'zones key_id', 'zones active_policy_set_version_id', 1, 1, 1, 1, 'zones policy_schema', 'zones shadow_policy_set_version_id', 1);
