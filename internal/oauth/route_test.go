package oauth_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"deputy/internal/deputy"
)

// get asks for a URL of the server.
func (w *world) get(method, url string, headers ...string) *answer {
	w.Helper()
	r := httptest.NewRequest(method, url, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return w.do(r)
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	z := string(w.zone.ID)
	host := "http://" + z + ".zones.test"
	base := "http://deputy.test"
	first := w.get("GET", base+"/z/"+z+"/.well-known/oauth-authorization-server")
	if first.status != 200 {
		t.Fatal(first)
	}
	issuer := "http://deputy.test/z/" + z
	want := map[string]any{
		"issuer": issuer, "authorization_endpoint": issuer + "/oauth/2/authorize",
		"token_endpoint": issuer + "/oauth/2/token", "jwks_uri": issuer + "/openidconnect/jwks",
		"userinfo_endpoint": issuer + "/openid/connect/userinfo", "revocation_endpoint": issuer + "/oauth/2/revoke",
		"introspection_endpoint": issuer + "/oauth/2/introspect", "pushed_authorization_request_endpoint": issuer + "/oauth/2/par",
		"end_session_endpoint": issuer + "/openid/connect/logout", "registration_endpoint": issuer + "/oauth/2/registration",
		"response_types_supported": []any{"code"}, "response_modes_supported": []any{"query"},
		"grant_types_supported":                                    []any{"authorization_code", "refresh_token", "client_credentials", exchangeGrantType},
		"code_challenge_methods_supported":                         []any{"S256"},
		"token_endpoint_auth_methods_supported":                    []any{"client_secret_basic", "client_secret_post", "private_key_jwt", "none"},
		"revocation_endpoint_auth_methods_supported":               []any{"client_secret_basic", "client_secret_post", "private_key_jwt", "none"},
		"introspection_endpoint_auth_methods_supported":            []any{"client_secret_basic", "client_secret_post", "private_key_jwt"},
		"token_endpoint_auth_signing_alg_values_supported":         assertionAlgorithms,
		"revocation_endpoint_auth_signing_alg_values_supported":    assertionAlgorithms,
		"introspection_endpoint_auth_signing_alg_values_supported": assertionAlgorithms,
		"scopes_supported":                                         []any{"openid", "profile", "email", "offline_access"},
		"claims_supported": []any{
			"sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "sid", "email", "email_verified", "preferred_username", "updated_at",
		},
		"prompt_values_supported":                        []any{"none", "login", "consent", "select_account"},
		"authorization_response_iss_parameter_supported": true, "client_id_metadata_document_supported": false,
		"subject_types_supported": []any{"public"}, "id_token_signing_alg_values_supported": []any{"RS256"},
		"request_parameter_supported": false, "request_uri_parameter_supported": false, "claims_parameter_supported": false,
		"require_pushed_authorization_requests": false, "resource_indicators_supported": true,
	}
	if diff := cmp.Diff(want, first.json); diff != "" {
		t.Error(diff)
	}
	for _, url := range []string{
		base + "/.well-known/oauth-authorization-server/z/" + z,
		base + "/.well-known/openid-configuration/z/" + z,
		base + "/.well-known/openid-configuration/z/" + z + "/",
		base + "/z/" + z + "/.well-known/openid-configuration",
		base + "//z//" + z + "//.well-known///openid-configuration",
		host + "/.well-known/oauth-authorization-server",
		host + "//.well-known/openid-configuration",
		host + ":8080/.well-known/openid-configuration",
		strings.ToUpper(host) + "/.well-known/openid-configuration",
	} {
		a := w.get("GET", strings.Replace(url, "HTTP", "http", 1), "Authorization", "Basic eDp5", "User-Agent", "")
		if a.status != 200 || a.body != first.body {
			t.Errorf("%s: %s", url, a)
		}
		for name, value := range map[string]string{
			"Content-Type": "application/json", "Cache-Control": "public, max-age=300", "Access-Control-Allow-Origin": "*",
		} {
			if got := a.header.Get(name); got != value {
				t.Errorf("%s: %s is %q", url, name, got)
			}
		}
	}
}

func TestIssuerForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	z, _, _ := w.newZone(w.newOrganization("Other", "other"), deputy.HostIssuer)
	want := "http://" + string(z.ID) + ".zones.test"
	for _, url := range []string{want, publicURL + "/z/" + string(z.ID)} {
		a := w.get("GET", url+"/.well-known/openid-configuration")
		if a.text("issuer") != want || a.text("jwks_uri") != want+"/openidconnect/jwks" {
			t.Errorf("%s: %s", url, a)
		}
	}
	// Neither Host nor forwarded headers make an issuer.
	a := w.get("GET", "http://evil.test/z/"+string(w.zone.ID)+"/.well-known/openid-configuration", "X-Forwarded-Host", "evil.test", "X-Forwarded-Proto", "https")
	if a.text("issuer") != w.issuer() {
		t.Errorf("the issuer came from the request: %s", a)
	}
}

func TestJWKS(t *testing.T) {
	t.Parallel()
	w := newWorld(t, both...)
	a := w.get("GET", w.issuer()+"/openidconnect/jwks")
	keys, _ := a.json["keys"].([]any)
	if a.status != 200 || len(keys) != 2 || a.header.Get("Cache-Control") != "public, max-age=300" {
		t.Fatal(a)
	}
	kinds := map[any]bool{}
	for _, k := range keys {
		key := k.(map[string]any)
		kinds[key["kty"]] = true
		for member := range key {
			if strings.Contains(" d p q dp dq qi k oth ", " "+member+" ") {
				t.Errorf("the key set has private member %s", member)
			}
		}
	}
	if !kinds["RSA"] || !kinds["EC"] {
		t.Errorf("kinds of keys: %v", kinds)
	}
	if head := w.get("HEAD", w.issuer()+"/openidconnect/jwks"); head.status != 200 {
		t.Errorf("HEAD: %s", head)
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	z := string(w.zone.ID)
	nobody := string(w.id())
	for _, c := range []struct {
		method, url string
		status      int
		code        string
	}{
		{"GET", "/z/" + nobody + "/.well-known/openid-configuration", 404, "not_found"},
		{"GET", "/.well-known/openid-configuration/z/" + nobody, 404, "not_found"},
		{"GET", "/z/" + nobody + "/openidconnect/jwks", 404, "not_found"},
		{"POST", "/z/" + nobody + "/oauth/2/token", 404, "not_found"},
		{"POST", "/z/not-a-zone/oauth/2/token", 404, "not_found"},
		{"POST", "/z/" + strings.ToUpper(z) + "/oauth/2/token", 404, "not_found"},
		{"GET", "http://" + nobody + ".zones.test/openidconnect/jwks", 404, "not_found"},
		{"GET", "/z/" + z + "/nothing", 404, "not_found"},
		{"GET", "/z/" + z, 404, "not_found"},
		{"GET", "/z/", 404, "not_found"},
		{"GET", "/.well-known/openid-configuration/z/" + z + "/x", 404, "not_found"},
		{"GET", "http://" + z + ".zones.test/service-account-token", 404, "not_found"},
		{"GET", "/z/" + z + "/oauth/2/token", 405, "method_not_allowed"},
		{"PUT", "/z/" + z + "/oauth2/token", 405, "method_not_allowed"},
		{"POST", "/z/" + z + "/openidconnect/jwks", 405, "method_not_allowed"},
		{"DELETE", "/service-account-token", 405, "method_not_allowed"},
		{"POST", "/z/" + z + "/oauth2/token", 400, "invalid_request"},
		{"POST", "/z/" + z + "//oauth/2//token", 400, "invalid_request"},
		{"POST", "http://" + z + ".zones.test/oauth/2/token", 400, "invalid_request"},
		{"POST", "//service-account-token", 400, "invalid_request"},
	} {
		a := w.get(c.method, c.url)
		if a.status != c.status || a.text("error") != c.code || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %s", c.method, c.url, a)
		}
		if c.status == 405 && a.header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow", c.method, c.url)
		}
		if strings.HasSuffix(c.url, "/service-account-token") && strings.HasPrefix(c.url, "/") && (a.text("message") == "" || a.text("code") != "bad_request") {
			t.Errorf("%s %s: not in the words of the management API too: %s", c.method, c.url, a)
		}
	}
	for _, other := range []string{
		"/", "/zones", "/zones/x", "/z", "/zed/" + z, "/healthz", "/.well-known/openid-configuration", "/.well-known/other/z/" + z,
		"http://sub." + z + ".zones.test/", "http://zones.test/", "/service-account-token/x",
	} {
		if w.server.Handles(httptest.NewRequest("GET", other, nil)) {
			t.Errorf("%s is taken", other)
		}
	}
}

func TestPreflight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for path, methods := range map[string]string{
		"/oauth/2/token":                    "POST, OPTIONS",
		"/openidconnect/jwks":               "GET, HEAD, OPTIONS",
		"/.well-known/openid-configuration": "GET, HEAD, OPTIONS",
	} {
		a := w.get("OPTIONS", w.issuer()+path, "Origin", "https://app.test", "Access-Control-Request-Method", "POST")
		if a.status != 204 || a.body != "" || a.header.Get("Access-Control-Allow-Origin") != "*" ||
			a.header.Get("Access-Control-Allow-Methods") != methods || a.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %s %v", path, a, a.header)
		}
		for _, name := range []string{"Content-Type", "Authorization", "MCP-Protocol-Version"} {
			if !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), name) {
				t.Errorf("%s: %s is not allowed", path, name)
			}
		}
	}
}

func TestPublicURLWithPath(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	addresses, err := deputy.NewAddresses("http://deputy.test/base", "")
	if err != nil {
		t.Fatal(err)
	}
	w.config.Addresses = addresses
	w.restart()
	z := string(w.zone.ID)
	for _, path := range []string{
		"/base/z/" + z + "/.well-known/openid-configuration", "/z/" + z + "/.well-known/openid-configuration",
		"/.well-known/openid-configuration/base/z/" + z,
	} {
		if a := w.get("GET", path); a.text("issuer") != "http://deputy.test/base/z/"+z {
			t.Errorf("%s: %s", path, a)
		}
	}
}

var assertionAlgorithms = []any{"RS256", "ES256", "PS256", "EdDSA"}
