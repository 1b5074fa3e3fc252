package oauth_test

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"deputy/internal/deputy"
	"deputy/internal/upstream"
)

// documented is a flow with a client that has a metadata document.
type documented struct {
	*flow
	id   string
	said atomic.Pointer[string]
}

func newDocumented(t *testing.T, algs ...deputy.SigningAlgorithm) *documented {
	f := &documented{flow: newFlow(t, algs...)}
	site := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, *f.said.Load())
	}))
	t.Cleanup(site.Close)
	roots := x509.NewCertPool()
	roots.AddCert(site.Certificate())
	f.id = site.URL + "/client.json"
	f.say(callback)
	f.config.Fetcher = upstream.New(upstream.Config{Now: f.clock.Now, Dev: true, RootCAs: roots})
	t.Cleanup(f.config.Fetcher.Close)
	f.restart()
	f.setZone(func(z *deputy.Zone) { z.CIMDEnabled, z.CIMDClientIDs = true, []string{"*"} })
	return f
}

// say changes the document.
func (f *documented) say(redirect string, more ...string) {
	text := fmt.Sprintf(`{"client_id":%q,"client_name":"Tool","redirect_uris":[%q]%s}`, f.id, redirect, strings.Join(more, ""))
	f.said.Store(&text)
	f.clock.advance(10 * time.Minute) // what was fetched is old
}

func TestMetadataDocument(t *testing.T) {
	t.Parallel()
	f := newDocumented(t, both...)
	f.browser.at(f.browser.open(asking(f.id, "scope", "openid")), "/login")
	f.browser.at(f.browser.act("sign in", f.user), "/login/consent")
	code := f.browser.answered(f.browser.act("approve", nil))
	a := f.must(f.post(nil, form("grant_type", "authorization_code", "code", code, "client_id", f.id, "redirect_uri", callback, "code_verifier", verifier)), 200, "")
	if claims := f.payload(a.text("access_token")); claims["client_id"] != f.id || claims["keycard_app_id"] != nil {
		t.Errorf("the token is %v", claims)
	}
	refresh := func(status int, code string) {
		t.Helper()
		a = f.must(f.post(nil, form("grant_type", "refresh_token", "refresh_token", a.text("refresh_token"), "client_id", f.id)), status, code)
	}
	refresh(200, "")
	f.say(callback, `,"logo_uri":"https://client.test/logo.png"`)
	f.browser.answered(f.browser.open(asking(f.id))) // nothing that matters has changed
	refresh(200, "")

	// A zone that no longer allows the address gives the client nothing, and
	// stands for nothing that it had.
	had := a
	for _, c := range []struct {
		allow     []string
		got, said int
		code      string
	}{
		{nil, 401, 401, "invalid_client"},
		{[]string{"*"}, 200, 200, ""},
	} {
		f.setZone(func(z *deputy.Zone) { z.CIMDClientIDs = c.allow })
		if a := f.userInfo(had.text("access_token")); a.status != c.said {
			t.Errorf("allowed %v: UserInfo answers %s", c.allow, a)
		}
		a = had
		refresh(c.got, c.code)
	}

	const other = "https://client.test/other"
	f.say(other)
	f.browser.shown(f.browser.open(asking(f.id)), "invalid_request") // not there any more
	f.browser.at(f.browser.open(asking(f.id, "redirect_uri", other)), "/login/consent")
	if events := f.events("clients:change"); len(events) != 1 || events[0].ClientID != f.id {
		t.Errorf("the events are %v", events)
	}
	refresh(401, "invalid_client")
}

func TestMetadataDocumentRefusals(t *testing.T) {
	t.Parallel()
	f := newDocumented(t)
	for name, turn := range map[string]func(){
		"another client_id": func() { f.id += "?x"; f.said.Store(f.said.Load()) },
		"a secret":          func() { f.say(callback, `,"token_endpoint_auth_method":"client_secret_basic"`) },
		"no redirects": func() {
			text := fmt.Sprintf(`{"client_id":%q}`, f.id)
			f.said.Store(&text)
			f.clock.advance(10 * time.Minute)
		},
		"a script":    func() { f.say("javascript:alert(1)") },
		"no JSON":     func() { text := "<html>"; f.said.Store(&text); f.clock.advance(10 * time.Minute) },
		"not allowed": func() { f.setZone(func(z *deputy.Zone) { z.CIMDClientIDs = []string{"https://*.example.com"} }) },
		"not enabled": func() { f.setZone(func(z *deputy.Zone) { z.CIMDEnabled = false }) },
	} {
		id := f.id
		turn()
		f.browser.shown(f.browser.open(asking(f.id)), "invalid_client")
		f.id = id
		f.say(callback)
		f.setZone(func(z *deputy.Zone) { z.CIMDEnabled, z.CIMDClientIDs = true, []string{"*"} })
		if p := f.browser.open(asking(f.id)); p.location == nil {
			t.Fatalf("after %s: %d %s", name, p.status, p.body)
		}
	}
	f.must(f.post(nil, form("grant_type", "authorization_code", "code", "x", "client_id", f.id)), 401, "invalid_client") // nobody has signed in
}

// keyed adds to a document that the client proves who it is with keys.
func (f *documented) keyed(keys ...*outsideKey) string {
	set := jose.JSONWebKeySet{}
	for _, k := range keys {
		set.Keys = append(set.Keys, k.jwk())
	}
	return `,"token_endpoint_auth_method":"private_key_jwt","jwks":` + string(must(json.Marshal(set)))
}

// asserted returns form members with an assertion of the client called id.
func (f *documented) asserted(key *outsideKey, id string, more ...string) url.Values {
	now := f.clock.Now()
	assertion := key.token(map[string]any{
		"iss": id, "sub": id, "aud": f.issuer(), "jti": string(f.world.id()), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	})
	return form(append([]string{"client_assertion_type", jwtBearer, "client_assertion", assertion}, more...)...)
}

// An administrator registered the address of a document that has keys.
func TestRegisteredDocumentWithKeys(t *testing.T) {
	t.Parallel()
	f := newDocumented(t)
	key, other := newOutsideKey("one", "ES256"), newOutsideKey("other", "ES256")
	tool := f.newApp("tool")
	f.depend(tool, f.api)
	f.insertCredential(tool.Application, deputy.URLCredential, func(c *deputy.Credential) { c.Identifier = f.id })
	f.setZone(func(z *deputy.Zone) { z.CIMDEnabled = false }) // which is about others
	ask := []string{"grant_type", "client_credentials", "resource", f.api.Identifier}

	f.say(callback, f.keyed(key))
	a := f.must(f.post(nil, f.asserted(key, f.id, ask...)), 200, "")
	if claims := f.payload(a.text("access_token")); claims["client_id"] != f.id || claims["sub"] != tool.Identifier {
		t.Errorf("the token is %v", claims)
	}
	f.must(f.post(nil, f.asserted(other, f.id, ask...)), 401, "invalid_client")
	f.must(f.post(nil, form(append(ask, "client_id", f.id)...)), 401, "invalid_client")
	f.must(f.post(nil, form("grant_type", "refresh_token", "refresh_token", "x", "client_id", f.id)), 401, "invalid_client")
	f.must(f.postTo("/oauth/2/introspect", nil, f.asserted(key, f.id, "token", a.text("access_token"))), 200, "")

	keys := newPublisher(t)
	keys.publish(other)
	f.say(callback, `,"jwks_uri":"`+keys.URL+`/jwks.json"`) // the method goes without saying
	f.must(f.post(nil, f.asserted(key, f.id, ask...)), 401, "invalid_client")
	f.must(f.post(nil, f.asserted(other, f.id, ask...)), 200, "")
	f.must(f.post(nil, form("grant_type", "refresh_token", "refresh_token", "x", "client_id", f.id)), 401, "invalid_client")

	f.say(callback) // from here on it is public
	f.must(f.post(nil, f.asserted(key, f.id, ask...)), 401, "invalid_client")
	f.must(f.post(nil, form(append(ask, "client_id", f.id)...)), 401, "invalid_client")
	f.must(f.post(nil, form("grant_type", "refresh_token", "refresh_token", "x", "client_id", f.id)), 400, "invalid_grant")
	f.must(f.postTo("/oauth/2/introspect", nil, form("client_id", f.id, "token", "x")), 401, "invalid_client")

	gone := "<html>"
	f.said.Store(&gone)
	f.clock.advance(25 * time.Hour)
	f.must(f.post(nil, form("grant_type", "refresh_token", "refresh_token", "x", "client_id", f.id)), 401, "invalid_client")
}

// A document that nobody registered, with keys: who has signed in with it is
// bound to the keys of that day.
func TestMetadataDocumentWithKeys(t *testing.T) {
	t.Parallel()
	f := newDocumented(t)
	key, other := newOutsideKey("one", "ES256"), newOutsideKey("other", "ES256")
	f.say(callback, f.keyed(key))
	f.browser.at(f.browser.open(asking(f.id)), "/login")
	f.browser.at(f.browser.act("sign in", f.user), "/login/consent")
	code := f.browser.answered(f.browser.act("approve", nil))
	redeem := []string{"grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", verifier}
	f.must(f.post(nil, form(append(redeem, "client_id", f.id)...)), 401, "invalid_client")
	f.must(f.post(nil, f.asserted(other, f.id, redeem...)), 401, "invalid_client")
	a := f.must(f.post(nil, f.asserted(key, f.id, redeem...)), 200, "")
	refresh := []string{"grant_type", "refresh_token", "refresh_token", a.text("refresh_token")}
	f.must(f.post(nil, form(append(refresh, "client_id", f.id)...)), 401, "invalid_client")
	a = f.must(f.post(nil, f.asserted(key, f.id, refresh...)), 200, "")
	for _, grant := range []string{"client_credentials", exchangeGrantType} {
		f.must(f.post(nil, f.asserted(key, f.id, "grant_type", grant)), 400, "unauthorized_client")
	}
	f.say(callback, f.keyed(other))
	f.browser.at(f.browser.open(asking(f.id)), "/login/consent")
	if events := f.events("clients:change"); len(events) != 1 || !slices.Equal(events[0].Changes, []string{"keys"}) {
		t.Errorf("the events are %v", events)
	}
	f.must(f.post(nil, f.asserted(key, f.id, "grant_type", "refresh_token", "refresh_token", a.text("refresh_token"))), 401, "invalid_client")
	// Nobody has signed in with an address that is not known yet.
	f.must(f.post(nil, f.asserted(key, f.id+"?other", refresh...)), 401, "invalid_client")
}

func TestRegistrationWithKeys(t *testing.T) {
	t.Parallel()
	f := newDocumented(t)
	key := newOutsideKey("one", "EdDSA")
	said := `{"client_name":"Desk","redirect_uris":["` + callback + `"]` + f.keyed(key)
	// Somebody else has registered the same, but for the proof.
	if a := f.register(strings.Replace(said, "private_key_jwt", "none", 1) + `}`); a.status != 201 || a.json["token_endpoint_auth_method"] != "none" {
		t.Fatalf("registered as %s", a)
	}
	a := f.register(said + `}`)
	if a.status != 201 || a.json["token_endpoint_auth_method"] != "private_key_jwt" || a.json["jwks"] == nil {
		t.Fatalf("registered as %s", a)
	}
	id := a.text("client_id")
	f.browser.at(f.browser.open(asking(id)), "/login")
	f.browser.at(f.browser.act("sign in", f.user), "/login/consent")
	code := f.browser.answered(f.browser.act("approve", nil))
	redeem := []string{"grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", verifier}
	f.must(f.post(nil, form(append(redeem, "client_id", id)...)), 401, "invalid_client")
	f.must(f.post(nil, f.asserted(key, id, redeem...)), 200, "")
	for name, more := range map[string]string{
		"both":      f.keyed(key) + `,"jwks_uri":"https://client.test/jwks.json"`,
		"no keys":   `,"token_endpoint_auth_method":"private_key_jwt"`,
		"null":      `,"token_endpoint_auth_method":"private_key_jwt","jwks":null`,
		"empty set": `,"jwks":{"keys":[]}`,
		"a secret":  `,"jwks":{"keys":[{"kty":"oct","k":"AAAA"}]}`,
		"a text":    `,"jwks":"x"`,
	} {
		if a := f.register(`{"client_name":"Desk","redirect_uris":["` + callback + `"]` + more + `}`); a.status != 400 || a.text("error") != "invalid_client_metadata" {
			t.Errorf("%s: %s", name, a)
		}
	}
	if a := f.register(`{"redirect_uris":["` + callback + `"],"jwks_uri":"https://client.test/jwks.json","jwks":null}`); a.json["token_endpoint_auth_method"] != "none" {
		t.Errorf("without the method: %s", a)
	}
}

// register sends a registration.
func (f *documented) register(body string) *answer {
	f.Helper()
	r := httptest.NewRequest("POST", "/z/"+string(f.zone.ID)+"/oauth/2/registration", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return f.do(r)
}
