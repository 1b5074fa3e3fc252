package oauth_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/oauth"
)

// flow is a person who signs in to a client.
type flow struct {
	*world
	browser *browser
	client  *app
	user    *deputy.User
	api     *deputy.Resource
}

func newFlow(t testing.TB, algs ...deputy.SigningAlgorithm) *flow {
	w := newWorld(t, algs...)
	f := &flow{world: w, browser: w.newBrowser(), client: w.newWebApp("client", deputy.ImplicitConsent), user: w.newUser("zoe@example.test")}
	f.api = w.newResource("https://api.test", func(r *deputy.Resource) { r.Scopes = []string{"read", "write"} })
	return f
}

// code signs the person in, if need be, and returns the code that the client
// gets.
func (f *flow) code(more ...string) string {
	f.Helper()
	p := f.browser.open(asking(f.client.credential.Identifier, more...))
	if p.location != nil && strings.HasSuffix(p.location.Path, "/login") {
		p = f.browser.act("sign in", f.user)
	}
	if p.location != nil && strings.HasSuffix(p.location.Path, "/consent") {
		p = f.browser.act("approve", nil)
	}
	return f.browser.answered(p)
}

// redeem asks for tokens with a code; more are set on top, or removed when
// empty.
func (f *flow) redeem(code string, more ...string) *answer {
	f.Helper()
	q := form("grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", verifier)
	for i := 0; i < len(more); i += 2 {
		set(more[i], more[i+1])(q)
	}
	return f.post(f.client, q)
}

// refreshed asks for tokens with a refresh token.
func (f *flow) refreshed(token string, more ...string) *answer {
	f.Helper()
	return f.post(f.client, form(append([]string{"grant_type", "refresh_token", "refresh_token", token}, more...)...))
}

func TestCodeToTokens(t *testing.T) {
	t.Parallel()
	f := newFlow(t, both...)
	code := f.code("scope", "openid email read admin", "resource", f.api.Identifier, "nonce", "n-1")
	f.clock.advance(time.Second)
	a := f.must(f.redeem(code), 200, "")
	token, id := a.text("access_token"), a.text("id_token")
	now := float64(f.clock.Now().Unix())
	claims := f.payload(token)
	sid, _ := claims["sid"].(string)
	event := f.lastEvent()
	if diff := cmp.Diff(map[string]any{
		"iss": f.issuer(), "sub": f.user.Identifier, "aud": f.api.Identifier, "iat": now, "exp": now + 3600, "jti": string(event.ID),
		"client_id": f.client.credential.Identifier, "sub_profile": "user", "keycard_app_id": f.client.Identifier,
		"scope": "openid email read", "sid": sid, "auth_time": now - 1, "email": "zoe@example.test",
	}, claims); diff != "" {
		t.Error("the access token:", diff)
	}
	identity := f.payload(id)
	if len(identity["at_hash"].(string)) != 22 || f.part(id, 0)["alg"] != "RS256" || f.part(id, 0)["typ"] != "JWT" {
		t.Errorf("the ID token is %v %v", f.part(id, 0), identity)
	}
	delete(identity, "at_hash")
	if diff := cmp.Diff(map[string]any{
		"iss": f.issuer(), "sub": f.user.Identifier, "aud": f.client.credential.Identifier, "iat": now, "exp": now + 3600,
		"auth_time": now - 1, "nonce": "n-1", "sid": sid, "email": "zoe@example.test", "email_verified": true,
	}, identity); diff != "" {
		t.Error("the ID token:", diff)
	}
	refresh := a.text("refresh_token")
	for _, secret := range []string{"access_token", "id_token", "refresh_token"} {
		delete(a.json, secret)
	}
	if diff := cmp.Diff(map[string]any{
		"token_type": "Bearer", "expires_in": 3600.0, "scope": "openid email read", "user_id": string(f.user.ID),
	}, a.json); diff != "" {
		t.Error("the answer:", diff)
	}
	b := f.must(f.refreshed(refresh), 200, "")
	again := f.payload(b.text("id_token"))
	if again["nonce"] != nil || again["sub"] != f.user.Identifier || again["auth_time"] != now-1 {
		t.Errorf("the ID token of a refresh is %v", again)
	}
	if got := f.payload(b.text("access_token")); got["sid"] != sid || got["scope"] != "openid email read" || got["aud"] != f.api.Identifier {
		t.Errorf("the access token of a refresh is %v", got)
	}
	if e := f.lastEvent(); e.GrantType != "refresh_token" || e.SessionID != deputy.SessionID(sid) || e.UserID != f.user.ID || len(e.Actor.IdentityChain) != 2 {
		t.Errorf("the event is %+v", e)
	}
}

func TestCodeTwice(t *testing.T) {
	t.Parallel()
	f := newFlow(t)
	code := f.code()
	a := f.must(f.redeem(code), 200, "")
	f.must(f.redeem(code), 400, "invalid_grant")
	f.must(f.refreshed(a.text("refresh_token")), 400, "invalid_grant")
	if events := f.events("sessions:revoke"); len(events) != 1 || events[0].SessionID == "" {
		t.Errorf("the events are %v", events)
	}
	// The browser is still signed in.
	f.must(f.redeem(f.code("prompt", "none")), 200, "")
}

// TestPublicClient: a client without a secret names itself, or is named by its
// code.
func TestPublicClient(t *testing.T) {
	t.Parallel()
	for name, clientID := range map[string]bool{"named": true, "by its code": false} {
		t.Run(name, func(t *testing.T) {
			f := newFlow(t)
			f.client.credential = f.insertCredential(f.client.Application, deputy.PublicCredential, nil)
			q := form("grant_type", "authorization_code", "code", f.code(), "redirect_uri", callback, "code_verifier", verifier)
			if clientID {
				q.Set("client_id", f.client.credential.Identifier)
			}
			a := f.must(f.post(nil, q), 200, "")
			q = form("grant_type", "refresh_token", "refresh_token", a.text("refresh_token"), "client_id", f.client.credential.Identifier)
			f.must(f.post(nil, q), 200, "")
			f.must(f.post(nil, form("grant_type", "client_credentials", "client_id", f.client.credential.Identifier)), 400, "unauthorized_client")
		})
	}
	f := newFlow(t)
	q := form("grant_type", "authorization_code", "code", f.code(), "redirect_uri", callback, "code_verifier", verifier)
	f.must(f.post(nil, q), 401, "invalid_client") // a confidential client proves itself
	f.browser.refused(f.browser.open(asking(f.client.credential.Identifier, "code_challenge", "")), "invalid_request")
}

func TestRefreshRotation(t *testing.T) {
	t.Parallel()
	f := newFlow(t)
	first := f.must(f.redeem(f.code()), 200, "").text("refresh_token")
	second := f.must(f.refreshed(first), 200, "").text("refresh_token")
	if second == first || second == "" {
		t.Fatal("the refresh token was not replaced")
	}
	f.clock.advance(29 * time.Second)
	if again := f.must(f.refreshed(first), 200, "").text("refresh_token"); again != second {
		t.Error("the successor is another the second time")
	}
	third := f.must(f.refreshed(second), 200, "").text("refresh_token")
	f.must(f.refreshed(first), 400, "invalid_grant") // within the time, and its successor was used: no harm
	fourth := f.must(f.refreshed(third), 200, "").text("refresh_token")
	f.clock.advance(31 * time.Second)
	fifth := f.must(f.refreshed(fourth), 200, "").text("refresh_token")
	// What the zone never made ends nothing, whatever it says of itself.
	parts := strings.Split(third, "_")
	parts[3] = deputy.NewSecret().Reveal()
	f.must(f.refreshed(strings.Join(parts, "_")), 400, "invalid_grant")
	fourth = f.must(f.refreshed(fifth), 200, "").text("refresh_token")
	f.must(f.refreshed(third), 400, "invalid_grant")
	f.must(f.refreshed(fourth), 400, "invalid_grant") // the family is dead
	if events := f.events("sessions:revoke"); len(events) != 1 {
		t.Errorf("%d events", len(events))
	}
}

// TestRefreshNarrows: a token can be for less, or for something else, and the next
// one for everything again.
func TestRefreshNarrows(t *testing.T) {
	t.Parallel()
	f := newFlow(t)
	f.newResource("https://other.test", func(r *deputy.Resource) { r.Scopes = []string{"use"} })
	token := f.must(f.redeem(f.code("scope", "read write", "resource", f.api.Identifier)), 200, "").text("refresh_token")
	a := f.must(f.refreshed(token, "scope", "read admin"), 200, "")
	if a.text("scope") != "read" {
		t.Errorf("narrowed to %q", a.text("scope"))
	}
	a = f.must(f.refreshed(a.text("refresh_token"), "resource", "https://other.test", "scope", "use"), 200, "")
	if claims := f.payload(a.text("access_token")); claims["aud"] != "https://other.test" || claims["scope"] != "use" {
		t.Errorf("the token is %v", claims)
	}
	a = f.must(f.refreshed(a.text("refresh_token")), 200, "")
	if claims := f.payload(a.text("access_token")); claims["aud"] != f.api.Identifier || claims["scope"] != "read write" {
		t.Errorf("the token is %v", claims)
	}
}

// TestRefreshElsewhere: a resource that the person has not agreed to is one to
// ask them about.
func TestRefreshElsewhere(t *testing.T) {
	t.Parallel()
	f := newFlow(t)
	f.client = f.newWebApp("asking", deputy.RequiredConsent)
	f.newResource("https://other.test", nil)
	token := f.must(f.redeem(f.code("resource", f.api.Identifier)), 200, "").text("refresh_token")
	a := f.must(f.refreshed(token, "resource", "https://other.test"), 400, "insufficient_authorization")
	u, err := url.Parse(a.text("error_uri"))
	if err != nil || !strings.HasPrefix(a.text("error_uri"), f.issuer()+"/login/authorize?") ||
		u.Query().Get("resource") != "https://other.test" || u.Query().Get("client_id") != f.client.credential.Identifier {
		t.Errorf("error_uri is %q", a.text("error_uri"))
	}
	token = f.must(f.redeem(f.code("resource", f.api.Identifier, "resource", "https://other.test")), 200, "").text("refresh_token")
	a = f.must(f.refreshed(token, "resource", "https://other.test"), 200, "")
	if got := f.payload(f.must(f.refreshed(a.text("refresh_token")), 200, "").text("access_token"))["target"]; cmp.Diff(got, []any{"https://other.test"}) != "" {
		t.Errorf("target is %v", got)
	}
}

func TestRegistration(t *testing.T) {
	t.Parallel()
	f := newFlow(t)
	register := func(body string) *answer {
		r := httptest.NewRequest("POST", "/z/"+string(f.zone.ID)+"/oauth/2/registration", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Basic Zm9vOmJhcg==")
		r.RemoteAddr = "192.0.2.7:1"
		return f.do(r)
	}
	const said = `{"redirect_uris":["http://127.0.0.1/callback"],"client_name":"Tool","scope":null,"jwks":null,"contacts":null,"client_id":"mine",
		"grant_types":["authorization_code","refresh_token","urn:ietf:params:oauth:grant-type:token-exchange"],"token_endpoint_auth_method":"client_secret_post"}`
	a := f.must(register(said), 201, "")
	id := a.text("client_id")
	if len(id) != 67 || !strings.HasPrefix(id, "ua:") || strings.Contains(a.body, "null") || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("registered %s", a)
	}
	delete(a.json, "client_id")
	delete(a.json, "client_id_issued_at")
	if diff := cmp.Diff(map[string]any{
		"client_name": "Tool", "redirect_uris": []any{"http://127.0.0.1/callback"}, "token_endpoint_auth_method": "none",
		"grant_types": []any{"authorization_code", "refresh_token"}, "response_types": []any{"code"},
	}, a.json); diff != "" {
		t.Error(diff)
	}
	if again := register(said).text("client_id"); again != id {
		t.Errorf("the same client is %s and %s", id, again)
	}
	agents := func() int {
		page, err := f.store.UserAgents().List(t.Context(), f.in(), deputy.Query{})
		if err != nil {
			t.Fatal(err)
		}
		return len(page.Items)
	}
	if agents() != 0 {
		t.Error("a registration that nobody used is a user agent")
	}
	q := asking(id, "redirect_uri", "http://127.0.0.1:41234/callback")
	f.browser.at(f.browser.open(q), "/login")
	f.browser.at(f.browser.act("sign in", f.user), "/login/consent")
	p := f.browser.act("approve", nil)
	if p.query("code") == "" || p.location.Host != "127.0.0.1:41234" {
		t.Fatalf("the browser is at %v", p.location)
	}
	if agents() != 1 || len(f.events("clients:register")) != 1 {
		t.Error("the client has not become a user agent")
	}
	tokens := f.must(f.post(nil, form("grant_type", "authorization_code", "code", p.query("code"), "client_id", id,
		"redirect_uri", "http://127.0.0.1:41234/callback", "code_verifier", verifier)), 200, "")
	if claims := f.payload(tokens.text("access_token")); claims["client_id"] != id || claims["keycard_app_id"] != nil {
		t.Errorf("the token is %v", claims)
	}
	refreshed := f.must(f.post(nil, form("grant_type", "refresh_token", "refresh_token", tokens.text("refresh_token"), "client_id", id)), 200, "")
	if next := refreshed.text("refresh_token"); next == "" || next == tokens.text("refresh_token") {
		t.Errorf("the successor of a refresh token is %q", next)
	}
	f.must(f.post(nil, form("grant_type", "client_credentials", "client_id", id)), 400, "unauthorized_client")
	// Signed in and agreed.
	if p := f.browser.open(q); p.query("code") == "" {
		t.Errorf("the browser is at %v", p.location)
	}
	for name, body := range map[string]string{
		"no redirects": `{}`, "none": `{"redirect_uris":[]}`, "http": `{"redirect_uris":["http://client.test/"]}`,
		"a script": `{"redirect_uris":["javascript:alert(1)"]}`, "a fragment": `{"redirect_uris":["https://client.test/#x"]}`,
		"web and loopback": `{"redirect_uris":["https://client.test/","http://127.0.0.1/"]}`, "a user": `{"redirect_uris":["https://u@client.test/"]}`,
	} {
		if a := register(body); a.status != 400 || a.text("error") != "invalid_redirect_uri" {
			t.Errorf("%s: %s", name, a)
		}
	}
	for name, body := range map[string]string{
		"no JSON": `x`, "a list": `[]`, "another grant": `{"redirect_uris":["https://client.test/"],"grant_types":["client_credentials"]}`,
		"a tag": `{"redirect_uris":["https://client.test/"],"client_name":"<b>x</b>"}`, "a logo": `{"redirect_uris":["https://client.test/"],"logo_uri":"javascript:x"}`,
	} {
		if a := register(body); a.status != 400 || a.text("error") != "invalid_client_metadata" {
			t.Errorf("%s: %s", name, a)
		}
	}
	f.setZone(func(z *deputy.Zone) { z.DCREnabled = false })
	f.must(register(said), 403, "access_denied")
}

// setUser changes a person.
func (w *world) setUser(u *deputy.User, change func(*deputy.User)) {
	w.Helper()
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.Users().Update(ctx, w.in(), deputy.ID(u.ID), func(u *deputy.User) error {
			change(u)
			return nil
		})
		return err
	})
}

// registerAgent makes a user agent that has the callback.
func (w *world) registerAgent() string {
	w.Helper()
	r := httptest.NewRequest("POST", "/z/"+string(w.zone.ID)+"/oauth/2/registration", strings.NewReader(`{"redirect_uris":["`+callback+`"]}`))
	r.Header.Set("Content-Type", "application/json")
	return w.must(w.do(r), 201, "").text("client_id")
}

// TestParallelRefresh: many processes that share a client refresh at the same
// time on two nodes, one of which is gone in between. In each round, which has a
// session of its own, all get the same successor, none loses the session, and a
// token from before is noticed when it is presented after its time.
func TestParallelRefresh(t *testing.T) {
	t.Parallel()
	const processes = 64
	f := newFlow(t)
	nodes := []*oauth.Server{f.server, oauth.New(f.config)}
	t.Cleanup(func() { nodes[1].Close() })
	for round := range deputytest.Times(3, 10, 1000) {
		if round%3 == 1 {
			nodes[1].Close()
			nodes[1] = oauth.New(f.config)
		}
		first := f.must(f.redeem(f.code()), 200, "").text("refresh_token")
		token := first
		for range 2 {
			got := make([]string, processes)
			var wait sync.WaitGroup
			for n := range processes {
				wait.Go(func() {
					r := httptest.NewRequest("POST", "/z/"+string(f.zone.ID)+"/oauth/2/token",
						strings.NewReader(form("grant_type", "refresh_token", "refresh_token", token).Encode()))
					r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
					r.SetBasicAuth(f.client.credential.Identifier, f.client.secret)
					rec := httptest.NewRecorder()
					nodes[n%2].ServeHTTP(rec, r)
					var body struct {
						Refresh string `json:"refresh_token"`
					}
					if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil || rec.Code != 200 {
						t.Errorf("round %d: %d %s", round, rec.Code, rec.Body)
					}
					got[n] = body.Refresh
				})
			}
			wait.Wait()
			for _, next := range got {
				if next != got[0] || next == token {
					t.Fatalf("round %d has several successors", round)
				}
			}
			token = got[0]
		}
		f.clock.advance(31 * time.Second)
		token = f.must(f.refreshed(token), 200, "").text("refresh_token") // the session lives
		f.must(f.refreshed(first), 400, "invalid_grant")
		f.must(f.refreshed(token), 400, "invalid_grant") // and has ended
		session := deputy.SessionID(strings.Split(first, "_")[1])
		if ends := f.events("sessions:revoke"); len(ends) == 0 || ends[len(ends)-1].SessionID != session {
			t.Errorf("round %d: no event tells of it: %v", round, ends)
		}
	}
}

// TestRegistrationFlood: registrations that nobody uses make no user agents and
// do not get into the way of somebody else's.
func TestRegistrationFlood(t *testing.T) {
	f := newFlow(t)
	mine := f.registerAgent()
	many := deputytest.Times(4000, 20_000, 1_000_000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var wait sync.WaitGroup
	for n := range 32 {
		wait.Go(func() {
			for i := n; i < many; i += 32 {
				r := httptest.NewRequest("POST", "/z/"+string(f.zone.ID)+"/oauth/2/registration",
					strings.NewReader(fmt.Sprintf(`{"redirect_uris":["http://127.0.0.1/%d"]}`, i)))
				r.Header.Set("Content-Type", "application/json")
				r.RemoteAddr = "198.51.100.1:1"
				rec := httptest.NewRecorder()
				f.server.ServeHTTP(rec, r)
				if rec.Code != 201 {
					t.Errorf("registration %d: %d %s", i, rec.Code, rec.Body)
				}
			}
		})
	}
	wait.Wait()
	page, err := f.store.UserAgents().List(t.Context(), f.in(), deputy.Query{})
	if err != nil || len(page.Items) != 0 {
		t.Errorf("%d user agents, %v", len(page.Items), err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("memory has grown by %d bytes", grown)
	}
	if waiting := f.waiting(deputy.RegistrationTicket); waiting > 64<<20 || waiting == 0 {
		t.Errorf("%d bytes wait", waiting)
	}
	f.browser.at(f.browser.open(asking(mine)), "/login")
	f.browser.at(f.browser.act("sign in", f.user), "/login/consent")
	f.browser.answered(f.browser.act("approve", nil))
}

// waiting returns how many bytes tickets of a kind take.
func (w *world) waiting(kind deputy.TicketKind) (n int64) {
	w.Helper()
	db, err := sql.Open("sqlite", "file:"+w.path+"?mode=ro&_pragma=busy_timeout(10000)")
	if err != nil {
		w.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("SELECT COALESCE(SUM(size), 0) FROM tickets WHERE kind = $1", string(kind)).Scan(&n); err != nil {
		w.Fatal(err)
	}
	return n
}
