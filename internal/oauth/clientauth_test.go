package oauth_test

import (
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"deputy/internal/deputy"
)

// send posts a raw body with the given headers (pairs) to the token endpoint.
func (w *world) send(body string, headers ...string) *answer {
	w.Helper()
	r := httptest.NewRequest("POST", "/z/"+string(w.zone.ID)+"/oauth/2/token", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Content-Type" {
			r.Header.Del("Content-Type")
		}
		if headers[i+1] != "" {
			r.Header.Add(headers[i], headers[i+1])
		}
	}
	return w.do(r)
}

func basic(id, secret string) string {
	r := httptest.NewRequest("GET", "/", nil)
	r.SetBasicAuth(id, secret)
	return r.Header.Get("Authorization")
}

func TestClientAuthentication(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.newApp("agent")
	r := w.newResource("urn:api", nil)
	w.depend(agent, r)
	other := w.newApp("other")
	// A client id whose raw and encoded forms differ.
	odd, oddSecret := w.newCredential(agent.Application)
	odd = w.insertCredential(agent.Application, deputy.PasswordCredential, func(c *deputy.Credential) {
		c.Identifier, c.SecretHash = "a-b_c.d+e%20f", odd.SecretHash
	})
	kinds := make(map[deputy.CredentialType]*deputy.Credential)
	for _, kind := range []deputy.CredentialType{deputy.PublicCredential, deputy.URLCredential, deputy.PublicKeyCredential, deputy.TokenCredential} {
		kinds[kind] = w.insertCredential(agent.Application, kind, func(c *deputy.Credential) {
			switch kind {
			case deputy.URLCredential:
				c.Identifier = "https://client.test/metadata.json"
			case deputy.PublicKeyCredential:
				c.JWKSURI = "https://client.test/jwks.json"
			case deputy.TokenCredential:
				c.Identifier, c.ProviderID = "*", w.sts.ID
			}
		})
	}
	id, secret := agent.credential.Identifier, agent.secret
	const ask = "grant_type=client_credentials&resource=urn:api"
	inForm := func(id, secret string) string {
		return ask + "&client_id=" + url.QueryEscape(id) + "&client_secret=" + url.QueryEscape(secret)
	}
	percent := func(s string) string { // encodes even what needs no encoding
		var b strings.Builder
		for _, c := range []byte(s) {
			fmt.Fprintf(&b, "%%%02X", c)
		}
		return b.String()
	}
	for _, c := range []struct {
		name, body, header string
		status             int
		code               string
	}{
		{"Basic", ask, basic(id, secret), 200, ""},
		{"Basic, form-encoded", ask, basic(percent(id), percent(secret)), 200, ""},
		{"Basic, odd id raw", ask, basic(odd.Identifier, oddSecret), 200, ""},
		{"Basic, odd id form-encoded", ask, basic(url.QueryEscape(odd.Identifier), oddSecret), 200, ""},
		{"Basic, scheme in another case", ask, strings.Replace(basic(id, secret), "Basic", "bAsIc", 1), 200, ""},
		{"Basic and the same client_id", ask + "&client_id=" + id, basic(id, secret), 200, ""},
		{"Basic form-encoded and the same client_id", ask + "&client_id=" + url.QueryEscape(odd.Identifier), basic(url.QueryEscape(odd.Identifier), oddSecret), 200, ""},
		{"post", inForm(id, secret), "", 200, ""},
		{"post, odd id", inForm(odd.Identifier, oddSecret), "", 200, ""},
		{"post and a bearer that means nothing here", inForm(id, secret), "Bearer x", 200, ""},

		{"nothing", ask, "", 401, "invalid_client"},
		{"client_id alone", ask + "&client_id=" + id, "", 401, "invalid_client"},
		{"unknown client", inForm("nobody", secret), "", 401, "invalid_client"},
		{"unknown client by Basic", ask, basic("nobody", secret), 401, "invalid_client"},
		{"wrong secret", inForm(id, secret+"x"), "", 401, "invalid_client"},
		{"wrong secret by Basic", ask, basic(id, "wrong"), 401, "invalid_client"},
		{"another client's secret", inForm(id, other.secret), "", 401, "invalid_client"},
		{"empty secret", inForm(id, ""), "", 401, "invalid_client"},
		{"empty secret by Basic", ask, basic(id, ""), 401, "invalid_client"},
		{"secret without client_id", ask + "&client_secret=" + secret, "", 401, "invalid_client"},
		{"Basic and another client_id", ask + "&client_id=" + other.credential.Identifier, basic(id, secret), 401, "invalid_client"},
		{"Basic without a colon", ask, "Basic YWJj", 401, "invalid_client"},
		{"Basic that is not base64", ask, "Basic !!", 401, "invalid_client"},
		{"Basic without credentials", ask, "Basic", 401, "invalid_client"},
		{"client id in another letter case", inForm(strings.ToUpper(id), secret), "", 401, "invalid_client"},
		{"over-long client id", inForm(strings.Repeat("x", 100_000), secret), "", 401, "invalid_client"},

		{"Basic and post", inForm(id, secret), basic(id, secret), 400, "invalid_request"},
		{"Basic and an assertion", ask + "&client_assertion=x&client_assertion_type=y", basic(id, secret), 400, "invalid_request"},
		{"post and an assertion", inForm(id, secret) + "&client_assertion=x", "", 400, "invalid_request"},

		{"public", ask + "&client_id=" + kinds[deputy.PublicCredential].Identifier, "", 400, "unauthorized_client"},
		{"public with a secret", inForm(kinds[deputy.PublicCredential].Identifier, secret), "", 401, "invalid_client"},
		{"public-key with a secret", inForm(kinds[deputy.PublicKeyCredential].Identifier, secret), "", 401, "invalid_client"},
		{"public-key without", ask + "&client_id=" + kinds[deputy.PublicKeyCredential].Identifier, "", 401, "invalid_client"},
		{"url with a secret", inForm(kinds[deputy.URLCredential].Identifier, secret), "", 401, "invalid_client"},
		{"url without", ask + "&client_id=" + url.QueryEscape(kinds[deputy.URLCredential].Identifier), "", 401, "invalid_client"},
		{"token with a secret", inForm(string(kinds[deputy.TokenCredential].ID), secret), "", 401, "invalid_client"},
		{"token's subject as client_id", inForm("*", secret), "", 401, "invalid_client"},
		{"assertion", ask + "&client_assertion=a.b.c&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "", 401, "invalid_client"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(w.events("credentials:issue"))
			a := w.send(c.body, "Authorization", c.header)
			if a.status != c.status || a.text("error") != c.code {
				t.Fatalf("got %s, want %d %s", a, c.status, c.code)
			}
			challenge := a.header.Get("WWW-Authenticate")
			want := ""
			if c.status == 401 && strings.HasPrefix(strings.ToLower(c.header), "basic") {
				want = `Basic realm="` + w.issuer() + `"`
			}
			if challenge != want {
				t.Errorf("WWW-Authenticate: %q, want %q", challenge, want)
			}
			if c.status == 401 && a.text("error_description") != "Client authentication failed." {
				t.Errorf("the description says why: %s", a)
			}
			if n := len(w.events("credentials:issue")) - before; n != map[bool]int{true: 1, false: 0}[c.status == 200] {
				t.Errorf("%d events", n)
			}
		})
	}
	t.Run("two Authorization headers", func(t *testing.T) {
		for _, first := range []string{basic(id, secret), "Bearer x"} {
			w.must(w.send(ask, "Authorization", first, "Authorization", basic(id, secret)), 400, "invalid_request")
		}
	})
}

func TestForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.newApp("agent")
	r := w.newResource("urn:api", nil)
	w.depend(agent, r)
	auth := basic(agent.credential.Identifier, agent.secret)
	const ask = "grant_type=client_credentials&resource=urn:api"
	for _, c := range []struct {
		name, body, contentType string
		status                  int
		code                    string
	}{
		{"charset", ask, "application/x-www-form-urlencoded; charset=UTF-8", 200, ""},
		{"type in another case", ask, "Application/X-WWW-Form-Urlencoded", 200, ""},
		{"unknown parameters, even twice", ask + "&foo=1&foo=2&foo=%C3%A9", "", 200, ""},
		{"empty counts as absent", ask + "&scope=&scope=&client_assertion=&client_secret=&resource=&audience=", "", 200, ""},
		{"escaped names", "grant%5ftype=client_credentials&resource=urn%3aapi", "", 200, ""},
		{"JSON", `{"grant_type":"client_credentials"}`, "application/json", 400, "invalid_request"},
		{"no type", ask, " ", 400, "invalid_request"},
		{"multipart", ask, "multipart/form-data; boundary=x", 400, "invalid_request"},
		{"grant_type twice", ask + "&grant_type=client_credentials", "", 400, "invalid_request"},
		{"scope twice", ask + "&scope=a&scope=a", "", 400, "invalid_request"},
		{"client_id twice", ask + "&client_id=a&client_id=a", "", 400, "invalid_request"},
		{"client_secret twice", ask + "&client_secret=a&client_secret=a", "", 400, "invalid_request"},
		{"broken escape", ask + "&scope=%zz", "", 400, "invalid_request"},
		{"broken escape in a name", ask + "&sc%ope=x", "", 400, "invalid_request"},
		{"cut escape", ask + "&scope=%2", "", 400, "invalid_request"},
		{"not UTF-8", ask + "&scope=%ff", "", 400, "invalid_request"},
		{"too large", ask + "&x=" + strings.Repeat("a", 256<<10), "", 400, "invalid_request"},
		{"just not too large", ask + "&x=" + strings.Repeat("a", 256<<10-len(ask)-3), "", 200, ""},
		{"too many resources", ask + strings.Repeat("&resource=urn:api", 100), "", 400, "invalid_request"},
		{"no grant_type", "resource=urn:api", "", 400, "invalid_request"},
		{"empty", "", "", 400, "invalid_request"},
		{"unknown grant_type", "grant_type=password", "", 400, "unsupported_grant_type"},
		{"jwt-bearer", "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer", "", 400, "unsupported_grant_type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			contentType := c.contentType
			if contentType == "" {
				contentType = "application/x-www-form-urlencoded"
			}
			a := w.send(c.body, "Authorization", auth, "Content-Type", strings.TrimSpace(contentType))
			if a.status != c.status || a.text("error") != c.code {
				t.Fatalf("got %s, want %d %s", a, c.status, c.code)
			}
			if c.status != 200 && (a.text("error_description") == "" || a.text("requestId") == "" || a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "no-store") {
				t.Errorf("the refusal lacks something: %s %v", a, a.header)
			}
		})
	}
	t.Run("of unknown length", func(t *testing.T) {
		for _, body := range []string{ask, ask + "&x=" + strings.Repeat("a", 256<<10)} {
			r := httptest.NewRequest("POST", "/z/"+string(w.zone.ID)+"/oauth/2/token", strings.NewReader(body))
			r.ContentLength = -1
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Authorization", auth)
			if a, want := w.do(r), map[bool]int{true: 200, false: 400}[len(body) < 1000]; a.status != want {
				t.Errorf("%d bytes: %s", len(body), a)
			}
		}
	})
}
