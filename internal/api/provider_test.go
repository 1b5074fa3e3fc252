package api_test

import (
	"bytes"
	"testing"

	"deputy/internal/deputy"
	"deputy/internal/vault"
)

func TestProviders(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.run(
		step{do: "POST /zones/{zone}/providers", body: `{"identifier":"https://idp.test","name":"IdP","type":"oauth"}`, status: 200, keep: []string{"bare=id"}, events: []string{"providers:create"},
			want:  `{"identifier":"https://idp.test","type":"external","slug":"idp","client_secret_set":false,"client_id":"<absent>","protocols":"<absent>","metadata":"<absent>","description":"<absent>","client_secret":"<absent>"}`,
			heads: map[string]string{"X-Deputy-Ignored-Fields": "type"}},
		step{do: "POST /zones/{zone}/providers", status: 200, keep: []string{"full=id"}, events: []string{"providers:create"},
			body: `{"identifier":"https://full.test","name":"Full","client_id":"c","client_secret":"hush","metadata":{"a":[1,{"b":null}]},
				"protocols":{"oauth2":{"token_endpoint":"https://full.test/t","authorization_parameters":{"prompt":"x"},"scope_separator":",","authorization_resource_enabled":true,"allowed_audiences":["sts.amazonaws.com"]},"openid":{"scopes":["groups"]}}}`,
			want: `{"client_id":"c","client_secret":"<absent>","client_secret_set":true,"metadata":{"a":[1,{"b":null}]},
				"protocols":{"oauth2":{"issuer":"https://full.test","token_endpoint":"https://full.test/t","authorization_parameters":{"prompt":"x"},"scope_separator":",",
					"authorization_resource_enabled":true,"allowed_audiences":["sts.amazonaws.com"],"jwks_uri":"<absent>","scope_parameter":"<absent>"},"openid":{"scopes":["groups"],"userinfo_endpoint":"<absent>"}}}`},
		step{do: "POST /zones/{zone}/providers", body: `{"identifier":"https://full.test","name":"X"}`, status: 409, want: errorBody(409, "conflict")},
		step{do: "POST /zones/{zone}/providers", body: `{"identifier":"i","name":"X","protocols":{"oauth2":{"jwks_uri":"nope"}}}`, status: 400, want: `{"details":[{"field":"protocols.oauth2.jwks_uri"}]}`},
		step{do: "POST /zones/{zone}/providers", body: `{"identifier":"i","name":"X","client_id":"a\u0000b"}`, status: 400, want: `{"code":"validation_error","details":[{"field":"client_id"}]}`},
		step{do: "GET /zones/{zone}/providers?identifier=https://full.test", status: 200, want: `{"items":[{"id":"{full}","client_secret":"<absent>"}],"page_info":"<any>"}`},
		step{do: "GET /zones/{zone}/providers?slug=idp&type=external", status: 200, want: `{"items":[{"id":"{bare}"}]}`},
		step{do: "GET /zones/{zone}/providers?type=oauth", status: 400},
	)
	patch := func(body, want string) {
		t.Helper()
		s.run(step{do: "PATCH /zones/{zone}/providers/{full}", body: body, status: 200, want: want, events: []string{"providers:update"}})
	}
	patch(`{"protocols":{"oauth2":{"jwks_uri":"https://full.test/k"}}}`, `{"protocols":{"oauth2":{"jwks_uri":"https://full.test/k","token_endpoint":"https://full.test/t"},"openid":{"scopes":["groups"]}}}`)
	patch(`{"protocols":{"oauth2":{"token_endpoint":null,"authorization_parameters":null,"issuer":"https://issuer.test"}}}`, `{"protocols":{"oauth2":{"issuer":"https://issuer.test","token_endpoint":"<absent>","authorization_parameters":"<absent>","jwks_uri":"<any>"}}}`)
	patch(`{"protocols":{"openid":null}}`, `{"protocols":{"oauth2":"<any>","openid":"<absent>"}}`)
	patch(`{"protocols":{"oauth2":null}}`, `{"protocols":{"oauth2":"<absent>"}}`)
	patch(`{"protocols":null}`, `{"protocols":"<absent>"}`)
	patch(`{"metadata":null}`, `{"metadata":"<absent>"}`)
	patch(`{"metadata":"text"}`, `{"metadata":"text"}`)
	patch(`{"client_id":"d"}`, `{"client_id":"d","client_secret_set":true}`)
	patch(`{"client_secret":"other"}`, `{"client_secret_set":true,"client_secret":"<absent>"}`)
	s.sealed("other")
	patch(`{"client_id":null,"client_secret":null}`, `{"client_id":"<absent>","client_secret_set":false}`)
	patch(`{"client_id":null,"client_secret":null,"protocols":{"oauth2":{}}}`, `{"protocols":{"oauth2":{"issuer":"https://full.test"}}}`)
	s.run(
		step{do: "PATCH /zones/{zone}/providers/{full}", body: `{"protocols":{"oauth2":{"issuer":null}}}`, status: 400, want: `{"details":[{"field":"protocols.oauth2.issuer","message":"must not be null"}]}`},
		step{do: "PATCH /zones/{zone}/providers/{full}", body: `{"identifier":"https://idp.test"}`, status: 409},
		step{do: "PATCH /zones/{zone}/providers/{full}", body: `{"identifier":"{issuer}"}`, status: 409},
		step{do: "PATCH /zones/{zone}/providers/none", body: `{"client_secret":"x"}`, status: 404},
		// References to a provider are unset when it goes.
		step{do: "PATCH /zones/{zone}", body: `{"user_identity_provider_id":"{full}"}`, status: 200, events: []string{"zones:update"}},
		step{do: "POST /zones/{zone}/resources", body: `{"identifier":"https://r.test","name":"R","credential_provider_id":"{full}"}`, status: 200, keep: []string{"res=id"}, events: []string{"resources:create"}},
		step{do: "DELETE /zones/{zone}/providers/{full}", status: 204, events: []string{"providers:delete"}},
		step{do: "GET /zones/{zone}", status: 200, want: `{"user_identity_provider_id":"<absent>"}`},
		step{do: "GET /zones/{zone}/resources/{res}", status: 200, want: `{"credential_provider_id":"<absent>"}`},
	)
}

// sealed checks that the full provider's secret is at rest only as the vault
// sealed it for its row.
func (s *server) sealed(secret string) {
	s.t.Helper()
	zone := deputy.ZoneID(s.vars["zone"])
	p, err := s.store.Providers().Get(s.t.Context(), deputy.Scope{Zone: zone}, deputy.ID(s.vars["full"]))
	if err != nil {
		s.t.Fatal(err)
	}
	if bytes.Contains(p.SealedSecret, []byte(secret)) {
		s.t.Error("the secret is stored as it is")
	}
	place := vault.Place{Zone: zone, Table: "providers", Column: "sealed_secret", Row: string(p.ID)}
	if plain, err := s.vault.Open(s.t.Context(), place, p.SealedSecret); err != nil || string(plain) != secret {
		s.t.Errorf("opened %q: %v", plain, err)
	}
}
