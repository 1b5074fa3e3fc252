package api_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestTerraform makes the calls of the Terraform provider in its order, each
// followed by the read that it compares its plan with: what was not configured
// must not show, what was comes back as it was sent.
func TestTerraform(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	keep := func(do, body, want, name, event string) step {
		return step{do: do, body: body, status: 200, want: want, keep: []string{name + "=id"}, events: []string{event}}
	}
	read := func(do, want string) step { return step{do: "GET " + do, status: 200, want: want} }
	s.run(
		// zone
		keep("POST /zones", `{"name":"tf"}`, `{"name":"tf","description":"<absent>","encryption_key":"<absent>"}`, "zone", "zones:create"),
		read("/zones/{zone}", `{"name":"tf","description":"<absent>","encryption_key":"<absent>","user_identity_provider_id":"<absent>","protocols":{"oauth2":{"pkce_required":true,"dcr_enabled":true}}}`),
		step{do: "PATCH /zones/{zone}", body: `{"name":"tf","description":"now","protocols":{"oauth2":{"pkce_required":true,"dcr_enabled":false}},"encryption_key":null}`, status: 200,
			want: `{"description":"now","encryption_key":"<absent>","protocols":{"oauth2":{"dcr_enabled":false}}}`, events: []string{"zones:update"}},
		step{do: "PATCH /zones/{zone}", body: `{"name":"tf","description":null,"protocols":{"oauth2":{}},"encryption_key":null}`, status: 200, want: `{"description":"<absent>"}`, events: []string{"zones:update"}},
		// provider, by id and by identifier
		keep("POST /zones/{zone}/providers", `{"name":"idp","identifier":"https://idp.test/","protocols":{"oauth2":{}}}`,
			`{"identifier":"https://idp.test/","client_id":"<absent>","description":"<absent>","protocols":{"oauth2":{"issuer":"https://idp.test/","authorization_endpoint":"<absent>"}}}`, "idp", "providers:create"),
		read("/zones/{zone}/providers/{idp}", `{"client_id":"<absent>","client_secret_set":false}`),
		read("/zones/{zone}/providers?identifier=https%3A%2F%2Fidp.test%2F", `{"items":[{"id":"{idp}"}]}`),
		step{do: "PATCH /zones/{zone}/providers/{idp}", body: `{"name":"idp","client_id":"cid","client_secret":"cs","protocols":{"oauth2":{"token_endpoint":"https://idp.test/token"}}}`, status: 200,
			want: `{"client_id":"cid","client_secret_set":true}`, events: []string{"providers:update"}},
		step{do: "PATCH /zones/{zone}/providers/{idp}", body: `{"client_id":null,"client_secret":null,"protocols":{"oauth2":{"token_endpoint":null}}}`, status: 200,
			want: `{"client_id":"<absent>","client_secret_set":false,"protocols":{"oauth2":{"token_endpoint":"<absent>"}}}`, events: []string{"providers:update"}},
		// zone user identity config: echoed exactly, then gone
		step{do: "PATCH /zones/{zone}", body: `{"user_identity_provider_id":"{idp}"}`, status: 200, want: `{"user_identity_provider_id":"{idp}"}`, events: []string{"zones:update"}},
		read("/zones/{zone}", `{"user_identity_provider_id":"{idp}"}`),
		step{do: "PATCH /zones/{zone}", body: `{"user_identity_provider_id":null}`, status: 200, want: `{"user_identity_provider_id":"<absent>"}`, events: []string{"zones:update"}},
		// application, bare and full; as a data source by id
		keep("POST /zones/{zone}/applications", `{"name":"app","identifier":"https://app.test"}`,
			`{"description":"<absent>","metadata":"<absent>","traits":"<absent>","protocols":"<absent>"}`, "app", "applications:create"),
		step{do: "PATCH /zones/{zone}/applications/{app}", status: 200, events: []string{"applications:update"},
			body: `{"name":"app","identifier":"https://app.test","description":null,"metadata":{"docs_url":null},"protocols":{"oauth2":{"redirect_uris":["http://localhost:3000/b","http://localhost:3000/a"]}},"traits":["gateway"]}`,
			want: `{"metadata":"<absent>","traits":["gateway"],"protocols":{"oauth2":{"redirect_uris":["http://localhost:3000/b","http://localhost:3000/a"]}}}`},
		step{do: "PATCH /zones/{zone}/applications/{app}", status: 200, events: []string{"applications:update"},
			body: `{"name":"app","identifier":"https://app.test","description":null,"metadata":null,"protocols":{"oauth2":{"redirect_uris":null}},"traits":null}`,
			want: `{"traits":"<absent>","protocols":"<absent>"}`},
		read("/zones/{zone}/applications/{app}", `{"name":"app","description":"<absent>","traits":"<absent>","metadata":"<absent>","protocols":"<absent>"}`),
		read("/zones/{zone}/applications?identifier=https%3A%2F%2Fapp.test", `{"items":[{"id":"{app}"}]}`),
		read("/zones/{zone}/applications?identifier=https%3A%2F%2Fapp.test%2F", `{"items":[]}`),
		// credentials
		keep("POST /zones/{zone}/application-credentials", `{"application_id":"{app}","type":"password"}`, `{"password":"<any>","identifier":"<any>"}`, "secret", "application_credentials:create"),
		read("/zones/{zone}/application-credentials/{secret}", `{"password":"<absent>","type":"password"}`),
		keep("POST /zones/{zone}/application-credentials", `{"application_id":"{app}","type":"token","provider_id":"{idp}","subject":"s"}`, `{"subject":"s"}`, "workload", "application_credentials:create"),
		read("/zones/{zone}/application-credentials/{workload}", `{"type":"token","provider_id":"{idp}","subject":"s"}`),
		step{do: "PATCH /zones/{zone}/application-credentials/{workload}", body: `{"type":"token","subject":null}`, status: 200, want: `{"subject":"<absent>"}`, events: []string{"application_credentials:update"}},
		keep("POST /zones/{zone}/application-credentials", `{"application_id":"{app}","type":"token","provider_id":"{idp}","subject":"t"}`, `{"subject":"t"}`, "another", "application_credentials:create"),
		step{do: "PATCH /zones/{zone}/application-credentials/{another}", body: `{"type":"token","subject":"u"}`, status: 200, want: `{"subject":"u"}`, events: []string{"application_credentials:update"}},
		keep("POST /zones/{zone}/application-credentials", `{"application_id":"{app}","type":"url","identifier":"https://app.test/client.json"}`, `{"identifier":"https://app.test/client.json"}`, "url", "application_credentials:create"),
		read("/zones/{zone}/application-credentials/{url}", `{"type":"url","identifier":"https://app.test/client.json"}`),
		// resource: exactly what was sent
		keep("POST /zones/{zone}/resources", `{"name":"res","identifier":"https://Api.Test/v1/?b=2&a=1","credential_provider_id":"{idp}"}`,
			`{"identifier":"https://Api.Test/v1/?b=2&a=1","application_id":"<absent>","scopes":"<absent>","metadata":"<absent>","description":"<absent>"}`, "res", "resources:create"),
		step{do: "PATCH /zones/{zone}/resources/{res}", body: `{"scopes":["z","a"],"metadata":{"docs_url":"https://d.test"},"application_id":"{app}","credential_provider_id":"{idp}"}`, status: 200,
			want: `{"scopes":["z","a"],"metadata":{"docs_url":"https://d.test"},"application_id":"{app}"}`, events: []string{"resources:update"}},
		step{do: "PATCH /zones/{zone}/resources/{res}", body: `{"scopes":null,"metadata":{"docs_url":null},"application_id":null,"credential_provider_id":"{idp}"}`, status: 200,
			want: `{"scopes":"<absent>","metadata":"<absent>","application_id":"<absent>","credential_provider_id":"{idp}"}`, events: []string{"resources:update"}},
		read("/zones/{zone}/resources?identifier=https%3A%2F%2FApi.Test%2Fv1%2F%3Fb%3D2%26a%3D1", `{"items":[{"id":"{res}"}]}`),
		// dependency
		step{do: "PUT /zones/{zone}/applications/{app}/dependencies/{res}", status: 204, events: []string{"application_dependencies:put"}},
		read("/zones/{zone}/applications/{app}/dependencies/{res}", `{"id":"{res}","when_accessing":"<absent>"}`),
		keep("POST /zones/{zone}/resources", `{"name":"own","identifier":"https://own.test","application_id":"{app}","credential_provider_id":"{idp}"}`, `{"application_id":"{app}"}`, "own", "resources:create"),
		step{do: "PUT /zones/{zone}/applications/{app}/dependencies/{res}?when_accessing={own}", body: `{}`, status: 204, events: []string{"application_dependencies:put"}},
		read("/zones/{zone}/applications/{app}/dependencies/{res}", `{"id":"{res}","when_accessing":["{own}"]}`),
		step{do: "PUT /zones/{zone}/applications/{app}/dependencies/{res}", status: 204, events: []string{"application_dependencies:put"}},
		read("/zones/{zone}/applications/{app}/dependencies/{res}", `{"when_accessing":"<absent>"}`),
	)
	// Destruction, dependents first; a second one finds nothing.
	for _, path := range []string{
		"/applications/{app}/dependencies/{res}", "/resources/{res}", "/resources/{own}", "/application-credentials/{url}", "/application-credentials/{workload}",
		"/application-credentials/{another}",
		"/application-credentials/{secret}", "/applications/{app}", "/providers/{idp}", "",
	} {
		for _, status := range []int{204, 404} {
			if w := s.request(step{do: "DELETE /zones/{zone}" + path}); w.Code != status {
				t.Errorf("DELETE %s: %d, want %d: %s", path, w.Code, status, w.Body)
			}
		}
	}
	s.events("")
	s.run(
		step{do: "GET /zones/{zone}", status: 404},
		// The zone's identity configuration is destroyed after the zone is gone.
		step{do: "PATCH /zones/{zone}", body: `{"user_identity_provider_id":null}`, status: 404},
		step{do: "GET /zones/non-existent-zone-id-12345", status: 404},
	)
	// SSO connection and key policy, of the one organization that it sees.
	const sso = " /organizations/{org}/sso-connection"
	s.run(
		step{do: "GET /organizations", status: 200, want: `{"items":[{"id":"{org}","sso_enabled":false}]}`},
		step{do: "GET" + sso, status: 404},
		step{do: "POST" + sso, body: `{"identifier":"https://sso.test/","client_id":"cid","client_secret":"hush","protocols":{"oauth2":{"token_endpoint":"https://sso.test/token"}}}`, status: 201,
			want:   `{"id":"<any>","identifier":"https://sso.test/","client_id":"cid","client_secret":"<absent>","client_secret_set":true,"protocols":{"oauth2":{"token_endpoint":"https://sso.test/token"}}}`,
			events: []string{"sso_connections:create"}},
		step{do: "POST" + sso, body: `{"identifier":"https://sso.test/","client_id":"cid"}`, status: 409, heads: map[string]string{"X-Should-Retry": "false"}},
		step{do: "GET" + sso, status: 200, want: `{"identifier":"https://sso.test/","client_secret":"<absent>","client_secret_set":true}`},
		step{do: "GET /organizations", status: 200, want: `{"items":[{"sso_enabled":true}]}`},
		step{do: "PATCH" + sso, body: `{"client_id":"other","client_secret":null,"protocols":{"oauth2":{"token_endpoint":null}}}`, status: 200,
			want: `{"client_id":"other","client_secret_set":false}`, events: []string{"sso_connections:update"}},
		step{do: "DELETE" + sso, status: 204, events: []string{"sso_connections:delete"}},
		step{do: "DELETE" + sso, status: 404},
		step{do: "PATCH" + sso, body: `{"client_id":"x"}`, status: 404},
		step{do: "GET /organizations", status: 200, want: `{"items":[{"sso_enabled":false}]}`},
		step{do: "GET /organizations/{org}/aws/key-policy", status: 200, keep: []string{"policy=policy"}},
	)
	policy := s.vars["policy"]
	filled := strings.ReplaceAll(policy, "<YOUR_AWS_ACCOUNT_ID>", "123456789012")
	if policy == filled || !json.Valid([]byte(filled)) || !strings.Contains(filled, "123456789012") {
		t.Errorf("the key policy is not one with a place for the account: %s", policy)
	}
}
