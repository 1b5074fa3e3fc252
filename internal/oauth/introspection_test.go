package oauth_test

import (
	"context"
	"fmt"
	"maps"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/oauth"
)

func (f *flow) userInfo(token string) *answer {
	f.Helper()
	r := httptest.NewRequest("GET", "/z/"+string(f.zone.ID)+"/openid/connect/userinfo", nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return f.do(r)
}

func TestUserInfo(t *testing.T) {
	t.Parallel()
	f := newFlow(t, both...)
	a := f.must(f.redeem(f.code("scope", "openid email")), 200, "")
	token := a.text("access_token")
	got := f.must(f.userInfo(token), 200, "")
	if got.text("sub") != f.payload(a.text("id_token"))["sub"] || got.text("email") != "zoe@example.test" || got.json["email_verified"] != true {
		t.Errorf("the answer is %s", got)
	}
	for name, bad := range map[string]string{"none": "", "nonsense": "x.y.z", "of an application": f.credentialsFor(f.client, "").text("access_token"), "an ID token": a.text("id_token")} {
		if got := f.userInfo(bad); got.status != 401 || got.header.Get("WWW-Authenticate") != `Bearer error="invalid_token"` {
			t.Errorf("%s: %s %v", name, got, got.header)
		}
	}
	plain := f.must(f.redeem(f.code("scope", "email")), 200, "").text("access_token")
	if got := f.userInfo(plain); got.status != 403 || got.header.Get("WWW-Authenticate") != `Bearer error="insufficient_scope"` {
		t.Errorf("without openid: %s", got)
	}
	f.setUser(f.user, func(u *deputy.User) { u.Status = deputy.UserDisabled })
	f.must(f.userInfo(token), 401, "invalid_token")
}

func TestIntrospection(t *testing.T) {
	t.Parallel()
	f := newFlow(t)
	owner, stranger := f.newApp("owner"), f.newApp("stranger")
	f.setResource(f.api, func(r *deputy.Resource) { r.ApplicationID = &owner.ID })
	token := f.must(f.redeem(f.code("resource", f.api.Identifier, "scope", "read")), 200, "").text("access_token")
	for name, a := range map[string]*app{"its client": f.client, "the resource's owner": owner} {
		got := f.must(f.introspect(a, token), 200, "")
		if got.text("sub") != f.user.Identifier || got.text("scope") != "read" || got.text("token_type") != "Bearer" || got.text("aud") != f.api.Identifier {
			t.Errorf("%s learns %s", name, got)
		}
	}
	for name, a := range map[string]*answer{
		"a stranger": f.introspect(stranger, token), "nonsense": f.introspect(owner, "x"),
	} {
		if a.text("error") != "inactive" {
			t.Errorf("%s: %s", name, a)
		}
	}
	f.must(f.postTo("/oauth/2/introspect", nil, form("token", token)), 401, "invalid_client")
	public := f.insertCredential(f.client.Application, deputy.PublicCredential, nil)
	f.must(f.postTo("/oauth/2/introspect", nil, form("token", token, "client_id", public.Identifier)), 401, "invalid_client")
	f.must(f.postTo("/oauth/2/introspect", owner, form()), 400, "invalid_request")
}

func TestRevocation(t *testing.T) {
	t.Parallel()
	f := newFlow(t)
	stranger := f.newApp("stranger")
	a := f.must(f.redeem(f.code("resource", f.api.Identifier)), 200, "")
	access, refresh := a.text("access_token"), a.text("refresh_token")
	revoke := func(by *app, token string) {
		t.Helper()
		if a := f.postTo("/oauth/2/revoke", by, form("token", token)); a.status != 200 || a.body != "" {
			t.Errorf("revoked with %s", a)
		}
	}
	revoke(f.client, "nonsense")
	revoke(stranger, access)
	revoke(stranger, refresh)
	f.must(f.introspect(f.client, access), 200, "")
	revoke(f.client, access)
	if a := f.introspect(f.client, access); a.text("error") != "inactive" {
		t.Errorf("a revoked token is %s", a)
	}
	f.setResource(f.api, func(r *deputy.Resource) { r.ApplicationID = &stranger.ID })
	f.must(f.exchange(stranger, access, f.api.Identifier), 400, "invalid_grant")
	refresh = f.must(f.refreshed(refresh), 200, "").text("refresh_token") // the session goes on
	revoke(f.client, refresh)
	f.must(f.refreshed(refresh), 400, "invalid_grant")
	f.must(f.postTo("/oauth/2/revoke", nil, form("token", access)), 401, "invalid_client")
}

// TestRevokedIsNotExchanged revokes tokens at one server, and presents them at
// that and at one which shares only the store: when few are revoked, and when
// there are too many to list.
func TestRevokedIsNotExchanged(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	w.depend(w.server, w.front)
	other := *w.world
	other.server = oauth.New(w.config)
	t.Cleanup(other.server.Close)
	check := func() {
		t.Helper()
		token := w.must(w.credentialsFor(w.agent, w.front.Identifier), 200, "").text("access_token")
		own := w.must(w.credentialsFor(w.server, w.front.Identifier), 200, "").text("access_token")
		actor := []string{"actor_token", own, "actor_token_type", accessTokenType}
		for _, at := range []*world{w.world, &other} {
			at.must(at.exchange(w.server, token, w.api.Identifier, actor...), 200, "")
		}
		w.must(w.postTo("/oauth/2/revoke", w.server, form("token", own)), 200, "")
		for _, at := range []*world{w.world, &other} {
			at.must(at.exchange(w.server, token, w.api.Identifier, actor...), 400, "invalid_request")
		}
		w.must(w.postTo("/oauth/2/revoke", w.agent, form("token", token)), 200, "")
		for _, at := range []*world{&other, w.world} {
			at.must(at.exchange(w.server, token, w.api.Identifier), 400, "invalid_grant")
			at.must(at.exchange(w.server, w.token, w.api.Identifier), 200, "") // another token
		}
	}
	check()
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) (err error) {
		for n := 0; n < 1001 && err == nil; n++ {
			key := deputy.HashSecret(deputy.Conceal(fmt.Sprint(n)))
			err = tx.PutTicket(ctx, &deputy.Ticket{
				Kind: deputy.RevokedTicket, ZoneID: w.zone.ID, Key: key, CreatedAt: tx.Now(), ExpiresAt: tx.Now().Add(time.Hour),
			})
		}
		return err
	})
	check()
}

// TestTokenRevokedWhileAsked revokes a token while it is being exchanged: once
// the revocation has committed, nothing is issued for it.
func TestTokenRevokedWhileAsked(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	for range 10 {
		token := w.must(w.credentialsFor(w.agent, w.front.Identifier), 200, "").text("access_token")
		w.revokeWhileAsked(token, func() { w.must(w.postTo("/oauth/2/revoke", w.agent, form("token", token)), 200, "") })
	}
}

func TestPushedRequest(t *testing.T) {
	t.Parallel()
	f := newFlow(t)
	push := func(by *app, q url.Values) *answer { return f.postTo("/oauth/2/par", by, q) }
	a := f.must(push(f.client, asking(f.client.credential.Identifier, "resource", f.api.Identifier)), 201, "")
	uri := a.text("request_uri")
	if !strings.HasPrefix(uri, "urn:ietf:params:oauth:request_uri:") || a.json["expires_in"] != 60.0 {
		t.Errorf("pushed %s", a)
	}
	other := f.newWebApp("other", deputy.ImplicitConsent)
	f.browser.shown(f.browser.open(form("client_id", other.credential.Identifier, "request_uri", uri)), "invalid_request_uri")
	f.browser.at(f.browser.open(form("client_id", f.client.credential.Identifier, "request_uri", uri, "state", "another")), "/login")
	f.must(f.redeem(f.browser.answered(f.browser.act("sign in", f.user))), 200, "")
	f.browser.shown(f.browser.open(form("client_id", f.client.credential.Identifier, "request_uri", uri)), "invalid_request_uri")
	f.browser.shown(f.browser.open(form("client_id", f.client.credential.Identifier, "request_uri", "https://client.test/request")), "invalid_request_uri")
	f.must(push(nil, asking(f.client.credential.Identifier)), 401, "invalid_client")
}

// TestPushedRequestIsForOne: of browsers that open the address of a request at
// the same time, one gets to sign in.
func TestPushedRequestIsForOne(t *testing.T) {
	t.Parallel()
	f := newFlow(t)
	uri := f.must(f.postTo("/oauth/2/par", f.client, asking(f.client.credential.Identifier)), 201, "").text("request_uri")
	pages := make([]*page, 8)
	f.gather(deputy.PushedTicket, len(pages))
	var wait sync.WaitGroup
	for i := range pages {
		b := f.newBrowser()
		wait.Go(func() { pages[i] = b.open(form("client_id", f.client.credential.Identifier, "request_uri", uri)) })
	}
	wait.Wait()
	signingIn := 0
	for _, p := range pages {
		if p.location != nil {
			signingIn++
		} else {
			f.browser.shown(p, "invalid_request_uri")
		}
	}
	if signingIn != 1 {
		t.Errorf("%d browsers sign in", signingIn)
	}
}

// gathering is the store where nobody gets a ticket of a kind that they read before
// so many have read one.
type gathering struct {
	deputy.Store
	kind  deputy.TicketKind
	left  atomic.Int64
	reads sync.WaitGroup
}

// gather has the next n who read a ticket of the kind wait for one another.
func (w *world) gather(kind deputy.TicketKind, n int) {
	g := &gathering{Store: w.store, kind: kind}
	g.left.Store(int64(n))
	g.reads.Add(n)
	w.config.Store = g
	w.restart()
}

func (g *gathering) Ticket(ctx context.Context, kind deputy.TicketKind, zone deputy.ZoneID, key deputy.SecretHash) (*deputy.Ticket, error) {
	t, err := g.Store.Ticket(ctx, kind, zone, key)
	if kind == g.kind && g.left.Add(-1) >= 0 {
		g.reads.Done()
		g.reads.Wait()
	}
	return t, err
}

// TestNewcomersPush: a client can push its first request, which is before
// anybody has signed in with it.
func TestNewcomersPush(t *testing.T) {
	t.Parallel()
	f := newDocumented(t)
	key := newOutsideKey("one", "ES256")
	for name, id := range map[string]string{"registered itself": f.registerAgent(), "with a document": f.id} {
		a := f.must(f.postTo("/oauth/2/par", nil, asking(id)), 201, "")
		b := f.newBrowser()
		b.at(b.open(form("client_id", id, "request_uri", a.text("request_uri"))), "/login")
		b.at(b.act("sign in", f.user), "/login/consent")
		if b.answered(b.act("approve", nil)); len(f.events("clients:register")) == 0 {
			t.Errorf("%s: nobody became a client", name)
		}
	}
	f.must(f.postTo("/oauth/2/par", nil, asking("ua:"+strings.Repeat("0", 64))), 401, "invalid_client")
	f.say(callback, f.keyed(key))
	f.must(f.postTo("/oauth/2/par", nil, asking(f.id)), 401, "invalid_client")
	pushing := asking("")
	maps.Copy(pushing, f.asserted(key, f.id))
	f.must(f.postTo("/oauth/2/par", nil, pushing), 201, "")
	// What is beside the way of a person is for those that one has signed in with.
	f.must(f.postTo("/oauth/2/revoke", nil, form("client_id", f.registerAgent()+"0", "token", "x")), 401, "invalid_client")
}

func TestLogout(t *testing.T) {
	t.Parallel()
	f := newFlow(t, both...)
	const after = "https://client.test/bye"
	f.change(f.client, func(a *deputy.Application) { a.LogoutURIs = []string{after} })
	leave := func(pairs ...string) *page { return f.browser.get("/openid/connect/logout?" + form(pairs...).Encode()) }
	a := f.must(f.redeem(f.code("scope", "openid")), 200, "")
	id, refresh := a.text("id_token"), a.text("refresh_token")
	for _, elsewhere := range []string{"https://evil.test/", after + "/x", after + "?x", "javascript:alert(1)"} {
		f.browser.shown(leave("id_token_hint", id, "post_logout_redirect_uri", elsewhere), "invalid_request")
	}
	f.browser.shown(leave("post_logout_redirect_uri", after), "invalid_request") // of which client?
	f.browser.shown(leave("id_token_hint", "x.y.z"), "invalid_request")
	// Without a hint any site could send the person here: they are asked.
	p := leave("client_id", f.client.credential.Identifier, "post_logout_redirect_uri", after)
	if p.status != 200 || !strings.Contains(p.body, `name="csrf_token"`) {
		t.Fatalf("the browser is at %d %s", p.status, p.body)
	}
	if p := f.browser.send("/openid/connect/logout", form("csrf_token", "forged")); p.status != 200 || !strings.Contains(p.body, `name="csrf_token"`) {
		t.Errorf("a forged form: %d %s", p.status, p.body)
	}
	f.must(f.refreshed(refresh), 200, "")
	p = leave("id_token_hint", id, "post_logout_redirect_uri", after, "state", "s")
	if p.location == nil || p.location.String() != after+"?state=s" || len(f.browser.cookies) != 0 {
		t.Errorf("the browser is at %v with %v", p.location, f.browser.cookies)
	}
	f.must(f.refreshed(refresh), 400, "invalid_grant")
	f.browser.refused(f.browser.open(asking(f.client.credential.Identifier, "prompt", "none")), "login_required")
	if len(f.events("users:logout")) != 1 {
		t.Error("no event tells of it")
	}
}

// TestRevokedAfterItsEnd: a token that has just expired is exchanged for a moment
// more, and so it is revoked for a moment more.
func TestRevokedAfterItsEnd(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	token := s.tokenOfPerson()
	end := time.Unix(int64(s.payload(token)["exp"].(float64)), 0)
	s.clock.advance(end.Add(30 * time.Second).Sub(s.clock.Now()))
	s.must(s.asPerson(), 200, "")
	s.revoke(token)
	s.must(s.asPerson(), 400, "invalid_grant")
}
