package oauth_test

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/upstream"
)

// documented is a flow with a client that has a metadata document.
type documented struct {
	*flow
	id   string
	said atomic.Pointer[string]
}

func newDocumented(t *testing.T) *documented {
	f := &documented{flow: newFlow(t)}
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
	f := newDocumented(t)
	f.browser.at(f.browser.open(asking(f.id)), "/login")
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
