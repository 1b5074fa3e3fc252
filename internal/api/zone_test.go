package api_test

import (
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"deputy/internal/deputy"
)

func TestZones(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.run(
		step{do: "GET /zones/{zone}", status: 200, want: `{"id":"{zone}","name":"Prod","slug":"prod","organization_id":"{org}","owner_type":"customer",
			"description":"<absent>","encryption_key":"<absent>","user_identity_provider_id":"<absent>","default_resource_id":"<absent>","permissions":"<absent>",
			"requires_invitation":true,"login_flow":"default",
			"protocols":{"oauth2":{"issuer":"http://deputy.test:8080/z/{zone}","token_endpoint":"{issuer}/oauth/2/token","jwks_uri":"{issuer}/openidconnect/jwks",
				"authorization_server_metadata":"{issuer}/.well-known/oauth-authorization-server","redirect_uri":"{issuer}/oauth/2/redirect",
				"pkce_required":true,"dcr_enabled":true,"signing_alg":"RS256","cimd":{"enabled":false,"allowed_client_ids":[]}},
			"openid":{"userinfo_endpoint":"{issuer}/openid/connect/userinfo","provider_configuration":"{issuer}/.well-known/openid-configuration"}}}`},
		step{do: "GET /zones/{zone}?expand[]=permissions", status: 200, want: `{"permissions":{"zones":{"read":true,"delete":true},"applications":{"create":true}}}`},
		step{do: "GET /zones/{zone}?expand[]=total_count", status: 400},
		step{do: "GET /zones?expand[]=total_count&expand[]=permissions", status: 200, want: `{"items":[{"id":"{zone}","permissions":{"zones":{"update":true}}}],"pagination":{"total_count":1}}`},
		step{do: "GET /zones?slug=prod", status: 200, want: `{"items":[{"id":"{zone}"}]}`},
		step{do: "GET /zones?slug=other", status: 200, want: `{"items":[]}`},
		step{do: "GET /zones?filter[organization_id]={org}", status: 200, want: `{"items":[{"id":"{zone}"}]}`},
		step{do: "GET /zones?filter[organization_id]={foreign}", status: 200, want: `{"items":[]}`},
		// The same name again gets a slug of its own.
		step{do: "POST /zones", body: `{"name":"Prod","organization_id":"{org}","description":"d","requires_invitation":false,"login_flow":"identifier_first",
			"protocols":{"oauth2":{"pkce_required":false,"dcr_enabled":false,"signing_alg":"ES256","cimd":{"enabled":true,"allowed_client_ids":["https://*.example.com"]}}}}`,
			status: 200, keep: []string{"second=id", "slug=slug"}, events: []string{"zones:create"},
			want: `{"description":"d","requires_invitation":false,"login_flow":"identifier_first",
				"protocols":{"oauth2":{"pkce_required":false,"dcr_enabled":false,"signing_alg":"ES256","cimd":{"enabled":true,"allowed_client_ids":["https://*.example.com"]}}}}`},
		step{do: "POST /zones", body: `{"name":"X","organization_id":"{foreign}"}`, status: 403, events: []string{"zones:create!"}},
		step{do: "POST /zones", body: `{"name":""}`, status: 400},
		step{do: "POST /zones", body: `{"name":"X","protocols":{"oauth2":{"cimd":{"enabled":true}}}}`, status: 400, want: `{"details":[{"field":"protocols.oauth2.cimd.allowed_client_ids","message":"is required"}]}`},
		step{do: "POST /zones", body: `{"name":"X","protocols":{"oauth2":{"cimd":{"enabled":true,"allowed_client_ids":["*","https://*.*.example.com"]}}}}`, status: 400,
			want: `{"details":[{"field":"protocols.oauth2.cimd.allowed_client_ids[1]","message":"may hold one *, standing for the first label of an origin's host"}]}`},
		step{do: "POST /zones", body: `{"name":"X","protocols":{"oauth2":{"cimd":{"enabled":true,"allowed_client_ids":["https://*."]}}}}`, status: 400},
		step{do: "POST /zones", body: `{"name":"X","encryption_key":{"type":"aws","arn":"arn:aws:kms:x"}}`, status: 400, want: `{"details":[{"field":"encryption_key"}]}`},
		step{do: "DELETE /zones/{second}", status: 204, events: []string{"zones:delete"}},
		step{do: "GET /zones/{second}", status: 404},
		step{do: "GET /zones/{second}/applications", status: 404},
		step{do: "DELETE /zones/{second}", status: 404},
		step{do: "GET /zones", status: 200, want: `{"items":[{"id":"{zone}"}]}`},
	)
	if s.vars["slug"] == "prod" {
		t.Error("two zones have one slug")
	}
}

func TestPatchZone(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	patch := func(body, want string) step {
		return step{do: "PATCH /zones/{zone}", body: body, status: 200, want: want, events: []string{"zones:update"}}
	}
	s.run(
		step{do: "POST /zones/{zone}/providers", body: `{"identifier":"https://idp.test","name":"IdP"}`, status: 200, keep: []string{"idp=id"}, events: []string{"providers:create"}},
		step{do: "POST /zones/{zone}/applications", body: `{"identifier":"gw","name":"GW"}`, status: 200, keep: []string{"app=id"}, events: []string{"applications:create"}},
		step{do: "POST /zones/{zone}/resources", body: `{"identifier":"https://api.test","name":"API"}`, status: 200, keep: []string{"res=id"}, events: []string{"resources:create"}},
		patch(`{"name":"P2","description":"text"}`, `{"name":"P2","description":"text","slug":"prod"}`),
		patch(`{"description":""}`, `{"name":"P2","description":""}`),
		patch(`{"description":null}`, `{"name":"P2","description":"<absent>"}`),
		// Nested members are merged one by one; null goes back to the default.
		patch(`{"protocols":{"oauth2":{"pkce_required":false}}}`, `{"protocols":{"oauth2":{"pkce_required":false,"dcr_enabled":true}}}`),
		patch(`{"protocols":{"oauth2":{"dcr_enabled":false,"signing_alg":"ES256"}}}`, `{"protocols":{"oauth2":{"pkce_required":false,"dcr_enabled":false,"signing_alg":"ES256"}}}`),
		patch(`{"protocols":{"oauth2":{"pkce_required":null}}}`, `{"protocols":{"oauth2":{"pkce_required":true,"dcr_enabled":false}}}`),
		patch(`{"protocols":{"oauth2":{}}}`, `{"protocols":{"oauth2":{"dcr_enabled":false}}}`),
		patch(`{"protocols":null}`, `{"protocols":{"oauth2":{"pkce_required":true,"dcr_enabled":true,"signing_alg":"RS256"}}}`),
		patch(`{"user_identity_provider_id":"{idp}","default_resource_id":"{res}","default_mcp_gateway_application_id":"{app}"}`,
			`{"user_identity_provider_id":"{idp}","default_resource_id":"{res}","default_mcp_gateway_application_id":"{app}"}`),
		patch(`{"user_identity_provider_id":null}`, `{"user_identity_provider_id":"<absent>","default_resource_id":"{res}"}`),
		patch(`{"login_flow":"identifier_first"}`, `{"login_flow":"identifier_first"}`),
		patch(`{"login_flow":null}`, `{"login_flow":"default"}`),
		step{do: "PATCH /zones/{zone}", body: `{"default_resource_id":"{app}"}`, status: 400, want: `{"code":"validation_error","details":[{"field":"default_resource_id"}]}`},
		step{do: "PATCH /zones/{zone}", body: `{"user_identity_provider_id":"none"}`, status: 400, want: `{"details":[{"field":"user_identity_provider_id"}]}`},
		step{do: "PATCH /zones/{zone}", body: `{"name":null}`, status: 400},
		step{do: "PATCH /zones/{zone}", body: `{"requires_invitation":null}`, status: 400},
		step{do: "PATCH /zones/{zone}", body: `{"encryption_key":{"type":"aws","arn":"a"}}`, status: 400},
		step{do: "PATCH /zones/{zone}", body: `{"protocols":{"oauth2":{"pkce_required":"yes"}}}`, status: 400, want: `{"details":[{"field":"protocols.oauth2.pkce_required"}]}`},
		// What a zone points to is unset when it goes.
		step{do: "DELETE /zones/{zone}/resources/{res}", status: 204, events: []string{"resources:delete"}},
		step{do: "DELETE /zones/{zone}/applications/{app}", status: 204, events: []string{"applications:delete"}},
		step{do: "GET /zones/{zone}", status: 200, want: `{"default_resource_id":"<absent>","default_mcp_gateway_application_id":"<absent>"}`},
	)
}

// TestBirth looks at what a zone has when the call that made it answers.
func TestBirth(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.run(
		step{do: "POST /zones", body: `{"name":"Z","default_mcp_gateway_application":true}`, status: 200, events: []string{"zones:create"},
			want: `{"default_mcp_gateway_application_id":"<any>"}`, keep: []string{"zone=id", "issuer=protocols.oauth2.issuer", "gateway=default_mcp_gateway_application_id"}},
		step{do: "GET /zones/{zone}/applications/{gateway}", status: 200, want: `{"traits":["gateway"],"owner_type":"customer"}`},
		step{do: "GET /zones/{zone}/providers?type=keycard-sts", status: 200, keep: []string{"sts=items.0.id"},
			want: `{"items":[{"name":"Zone Provider","identifier":"{issuer}","owner_type":"platform","type":"keycard-sts"}]}`},
		step{do: "GET /zones/{zone}/providers?type=keycard-vault", status: 200, want: `{"items":[{"owner_type":"platform","type":"keycard-vault"}]}`},
		step{do: "GET /zones/{zone}/providers?identifier={issuer}", status: 200, want: `{"items":[{"id":"{sts}"}]}`},
		step{do: "GET /zones/{zone}/resources?slug=openid-connect-userinfo", status: 200, keep: []string{"userinfo=items.0.id"},
			want: `{"items":[{"identifier":"{issuer}","owner_type":"platform","credential_provider_id":"{sts}"}]}`},
		step{do: "GET /zones/{zone}/resources?identifier={issuer}/events", status: 200, want: `{"items":[{"slug":"events","identifier":"{issuer}/events","credential_provider_id":"{sts}"}]}`},
		step{do: "GET /zones/{zone}/policies?order=asc", status: 200, want: `{"items":["<any>","<any>","<any>"]}`},
		step{do: "GET /zones/{zone}/policies?query[name]=default-app-direct", status: 200, want: `{"items":[{"name":"default-app-direct-access","owner_type":"platform","latest_version":1,"created_by":"platform"}]}`, keep: []string{"policy=items.0.id"}},
		step{do: "GET /zones/{zone}/policy-sets", status: 200, keep: []string{"set=items.0.id", "version=items.0.active_version_id"},
			want: `{"items":[{"name":"default-zone-policies","owner_type":"platform","active":true,"active_version":1,"mode":"active","target_type":"zone","scope_type":"zone","target_id":"{zone}","scope_target_id":"{zone}"}]}`},
		step{do: "GET /zones/{zone}/policy-sets/{set}/versions/{version}", status: 200, keep: []string{"sha=manifest_sha", "kid=attestation.key_id"},
			want: `{"active":true,"version":1,"manifest":{"entries":["<any>","<any>","<any>"]},
				"attestation":{"v":1,"type":"policy_set_attestation","status":"created","zone_id":"{zone}","policy_set_id":"{set}","policy_set_version":1,"attested_by":"platform"}}`},
		// The platform's own cannot be changed, nor taken.
		step{do: "PATCH /zones/{zone}/providers/{sts}", body: `{"name":"mine"}`, status: 403, want: errorBody(403, "forbidden"), events: []string{"providers:update!"}},
		step{do: "DELETE /zones/{zone}/providers/{sts}", status: 403, events: []string{"providers:delete!"}},
		step{do: "PATCH /zones/{zone}/resources/{userinfo}", body: `{"name":"mine"}`, status: 403, events: []string{"resources:update!"}},
		step{do: "PATCH /zones/{zone}/policies/{policy}", body: `{"name":"mine"}`, status: 403, events: []string{"policies:update!"}},
		step{do: "DELETE /zones/{zone}/policies/{policy}", status: 403, events: []string{"policies:archive!"}},
		step{do: "POST /zones/{zone}/policies/{policy}/versions", body: `{"schema_version":"2026-06-18","cedar_raw":"permit (principal, action, resource);"}`, status: 403, events: []string{"policy_versions:create!"}},
		step{do: "PATCH /zones/{zone}/policy-sets/{set}", body: `{"name":"mine"}`, status: 403, events: []string{"policy_sets:update!"}},
		step{do: "DELETE /zones/{zone}/policy-sets/{set}", status: 403, events: []string{"policy_sets:archive!"}},
		step{do: "POST /zones/{zone}/providers", body: `{"identifier":"{issuer}","name":"P"}`, status: 409, want: `{"code":"conflict","details":[{"code":"conflict","field":"identifier"}]}`, heads: map[string]string{"X-Should-Retry": "false"}},
		step{do: "POST /zones/{zone}/resources", body: `{"identifier":"{issuer}/events","name":"R"}`, status: 409},
		step{do: "POST /zones/{zone}/resources", body: "{\"identifier\":\"\\u0001\",\"name\":\"R\"}", status: 400},
	)
	s.attested()
}

// attested verifies the attestation of the default set with the zone's
// published key, and what it says with what is shown.
func (s *server) attested() {
	s.t.Helper()
	ctx := s.t.Context()
	zone := deputy.ZoneID(s.vars["zone"])
	v, err := s.store.PolicySetVersions().Get(ctx, deputy.Scope{Zone: zone, Parent: deputy.ID(s.vars["set"])}, deputy.ID(s.vars["version"]))
	if err != nil {
		s.t.Fatal(err)
	}
	jws, err := jose.ParseSignedJSON(string(v.Attestation), []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		s.t.Fatal(err)
	}
	rows, err := s.store.SigningKeys(ctx, deputy.ID(zone))
	if err != nil {
		s.t.Fatal(err)
	}
	if len(rows) != 2 {
		s.t.Errorf("%d signing keys, want RS256 and ES256", len(rows))
	}
	for _, row := range rows {
		if row.ID != s.vars["kid"] {
			continue
		}
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(row.Public); err != nil {
			s.t.Fatal(err)
		}
		payload, err := jws.Verify(key)
		if err != nil {
			s.t.Fatal(err)
		}
		var statement map[string]any
		if err := json.Unmarshal(payload, &statement); err != nil || statement["manifest_sha"] != s.vars["sha"] {
			s.t.Errorf("statement %s, manifest %s: %v", payload, s.vars["sha"], err)
		}
		return
	}
	s.t.Errorf("no key %s: %s", s.vars["kid"], base64.StdEncoding.EncodeToString(v.Attestation))
}
