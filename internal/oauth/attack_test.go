package oauth_test

import (
	"context"
	"maps"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"deputy/internal/deputy"
)

// Attacks on the sign-in of people that are about more than one page. Those on a
// single one are with the tests of it.

// TestLoopbackRedirects: the port of a loopback address is free (RFC 8252 §7.3),
// and nothing else of a redirect address is.
func TestLoopbackRedirects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client := w.newWebApp("program", deputy.ImplicitConsent)
	w.change(client, func(a *deputy.Application) {
		a.RedirectURIs = []string{"http://127.0.0.1/callback", "http://[::1]:8080/cb", "http://localhost/callback?x=y", "com.example.app:/callback"}
	})
	for given, taken := range map[string]bool{
		"http://127.0.0.1/callback": true, "http://127.0.0.1:1/callback": true, "http://127.0.0.1:65535/callback": true,
		"http://[::1]/cb": true, "http://[::1]:9/cb": true, "http://localhost:3000/callback?x=y": true, "com.example.app:/callback": true,

		"http://localhost:3000/callback": false, "http://localhost:3000/callback?x=z": false, "http://localhost:3000/callback?x=y&z": false,
		"http://127.0.0.1:1/callback?x=y": false, "http://127.0.0.1:1/callback/": false, "http://127.0.0.1:1/callback%2f": false,
		"http://127.0.0.1:1/x/../callback": false, "http://127.0.0.1:1//callback": false, "http://127.0.0.1:1/callback#x": false,
		"http://127.0.0.1:1/Callback": false, "http://LOCALHOST/callback?x=y": false, "HTTP://127.0.0.1/callback": false,
		"http://[::1]:9/callback": false, "http://127.0.0.2/callback": false, "http://127.1/callback": false, "http://2130706433/callback": false,
		"http://0.0.0.0/callback": false, "http://[::ffff:127.0.0.1]/callback": false, "http://[0:0:0:0:0:0:0:1]:8080/cb": false,
		"https://127.0.0.1/callback": false, "http://localhost.:3000/callback?x=y": false, "http://127.0.0.1.evil.test/callback": false,
		"http://127.0.0.1:80@evil.test/callback": false, "http://evil.test:80@127.0.0.1/callback": false, "http://evil.test/callback": false,
		`http://127.0.0.1:80\@evil.test/callback`: false, "http://127.0.0.1:1\t/callback": false, "http://127.0.0.1%2eevil.test/callback": false,
		"com.example.app:/callback/x": false, "com.example.app://callback": false, "com.example.app:callback": false, "COM.example.app:/callback": false,
	} {
		b := w.newBrowser()
		p := b.open(asking(client.credential.Identifier, "redirect_uri", given))
		if taken {
			b.at(p, "/login")
		} else {
			b.shown(p, "invalid_request")
		}
	}
}

// TestARedirectLeftOut: the only one that is registered is meant, and OpenID
// Connect wants it said (RFC 6749 §3.1.2.3, OpenID Connect Core 1.0 §3.1.2.1).
func TestARedirectLeftOut(t *testing.T) {
	t.Parallel()
	f := newFlow(t)
	code := f.code("redirect_uri", "")
	f.must(f.redeem(code, "redirect_uri", callback+"/x"), 400, "invalid_grant")
	f.must(f.redeem(code, "redirect_uri", ""), 200, "")
	f.must(f.redeem(f.code("redirect_uri", "")), 200, "") // said where it need not be
	f.change(f.client, func(a *deputy.Application) { a.RedirectURIs = append(a.RedirectURIs, callback+"/other") })
	f.browser.shown(f.browser.open(asking(f.client.credential.Identifier, "redirect_uri", "")), "invalid_request")
}

// TestWhoNeedsAChallenge: in a zone that does not ask for PKCE, those need it who
// have nothing else to prove themselves with (OAuth 2.1 §7.6).
func TestWhoNeedsAChallenge(t *testing.T) {
	t.Parallel()
	f := newDocumented(t)
	f.setZone(func(z *deputy.Zone) { z.PKCERequired = false })
	public := f.insertCredential(f.client.Application, deputy.PublicCredential, nil)
	plain := func(id string) *page {
		return f.newBrowser().open(asking(id, "code_challenge", "", "code_challenge_method", ""))
	}
	f.browser.at(plain(f.client.credential.Identifier), "/login")
	for name, id := range map[string]string{"public": public.Identifier, "registered itself": f.registerAgent(), "with a document": f.id} {
		if p := plain(id); p.query("error") != "invalid_request" || !strings.Contains(p.query("error_description"), "code_challenge") {
			t.Errorf("%s: %d %v", name, p.status, p.location)
		}
	}
	f.say(callback, f.keyed(newOutsideKey("one", "ES256")))
	f.browser.at(plain(f.id), "/login")
}

// TestAnswersSayWhoseTheyAre: a client with two servers can tell the answer of
// one from that of the other, good or bad (RFC 9207), and what one gave is of no
// use at the other.
func TestAnswersSayWhoseTheyAre(t *testing.T) {
	t.Parallel()
	f := newFlow(t)
	second := *f.world
	second.zone, second.sts, second.vaulted = f.newZone(f.organization, deputy.PathIssuer)
	g := &flow{world: &second, browser: second.newBrowser(), client: second.newWebApp("client", deputy.ImplicitConsent), user: second.newUser("zoe@example.test")}
	code, theirs := f.code(), g.code()
	for _, x := range []*flow{f, g} {
		x.browser.refused(x.browser.open(asking(x.client.credential.Identifier, "prompt", "none", "max_age", "0", "resource", "urn:nothing")), "invalid_target")
	}
	g.must(g.redeem(code), 400, "invalid_grant")
	f.must(f.redeem(theirs), 400, "invalid_grant")
	token := f.must(f.redeem(code), 200, "").text("refresh_token")
	g.must(g.refreshed(token), 400, "invalid_grant")
	// Nor is a browser that is signed in at one signed in at the other, whatever
	// its cookies are called.
	for name, value := range f.browser.cookies {
		g.browser.cookies[strings.ReplaceAll(name, string(f.zone.ID), string(g.zone.ID))] = value
	}
	g.browser.refused(g.browser.open(asking(g.client.credential.Identifier, "prompt", "none")), "login_required")
}

// TestNobodyKnowsTheSessionFromBefore: to sign in gives the browser a new secret,
// and ends the one that it had.
func TestNobodyKnowsTheSessionFromBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.newBrowser()
	ada.withCode(ada.signUp(adaMail, adaPass))
	thief := w.newBrowser()
	thief.client = ada.client
	thief.cookies = maps.Clone(ada.cookies)
	thief.says(thief.get("/account"), 200, adaMail)
	ada.withCode(ada.signInAgain(adaMail, adaPass))
	thief.at(thief.get("/account"), "/login")
	ada.says(ada.get("/account"), 200, adaMail)
}

// TestNobodyFinishesForAnother: whoever signs in to a transaction and plants its
// cookie in another person's browser does not have that person agree for them,
// nor use the client as them.
func TestNobodyFinishesForAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.newBrowser()
	ada.withCode(ada.signUp(adaMail, adaPass))
	w.clock.advance(time.Second) // mails are in order
	mallory := w.newBrowser()
	mallory.client = ada.client
	mallory.withCode(mallory.signUp("mallory@example.test", "a password of nobody else"))
	ada.client = w.newWebApp("another", deputy.RequiredConsent)
	mallory.client = ada.client
	theirs := mallory.at(mallory.open(asking(ada.client.credential.Identifier)), "/login/consent")
	form := mallory.follow(theirs)
	name := "deputy-login-" + string(w.zone.ID)
	ada.cookies[name] = mallory.cookies[name]
	if p := ada.get("/login/consent"); p.status == 200 {
		t.Errorf("somebody else's consent page is shown: %s", p.body)
	}
	ada.cookies[name] = mallory.cookies[name]
	if p := ada.fill(form, "/login/consent", "action", "approve"); p.query("code") != "" {
		t.Errorf("another person has finished: %v", p.location)
	}
	if n := len(w.events("consents:create")); n != 0 {
		t.Errorf("%d people have agreed", n)
	}
	// A browser that has no session at all finishes nothing either.
	nobody := w.newBrowser()
	nobody.cookies[name] = mallory.cookies[name]
	if p := nobody.fill(form, "/login/consent", "action", "approve"); p.query("code") != "" {
		t.Errorf("nobody has finished: %v", p.location)
	}
	mallory.withCode(mallory.fill(mallory.follow(mallory.open(asking(ada.client.credential.Identifier))), "/login/consent", "action", "approve"))
}

// TestWhoeverIsNamedCostsOneHash: how long a wrong password takes does not tell
// whether the address has an account, whatever else the machine does.
func TestWhoeverIsNamedCostsOneHash(t *testing.T) {
	w := newWorld(t)
	b := w.signedUp()
	w.clock.advance(time.Second) // mails are in order
	off := w.newBrowser()
	off.client = b.client
	off.withCode(off.signUp("off@example.test", adaPass))
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		p, err := w.store.Passwords().Find(ctx, w.in(), "email", "off@example.test")
		if err != nil {
			return err
		}
		_, err = tx.Users().Update(ctx, w.in(), deputy.ID(p.UserID), func(u *deputy.User) error { u.Status = deputy.UserDisabled; return nil })
		return err
	})
	for _, invited := range []bool{false, true} {
		w.setZone(func(z *deputy.Zone) { z.RequiresInvitation = invited })
		for n, email := range []string{adaMail, "nobody@example.test", "off@example.test", "no address"} {
			x := w.newBrowser()
			x.client, x.address = b.client, "203.0.113."+string(rune('1'+n))+":1"
			p := x.follow(x.begin())
			x.fill(p, "/login", "identifier", adaMail)
			p = x.get("/login/password")
			before := w.server.PasswordHashes()
			x.says(x.fill(p, "/login/password", "username", email, "password", "wrong and long enough"), 400, "did not work")
			if made := w.server.PasswordHashes() - before; made != 1 {
				t.Errorf("%s: %d hashes", email, made)
			}
			before = w.server.PasswordHashes()
			q := x.get("/login/forgot-password")
			x.fill(q, "/login/forgot-password", "username", email)
			w.server.Settle()
			if made := w.server.PasswordHashes() - before; made != 0 {
				t.Errorf("%s: to ask for a code costs %d hashes", email, made)
			}
		}
	}
}

// TestDisabledAtEachStep disables a person before each step of a sign-in: none
// leads on.
func TestDisabledAtEachStep(t *testing.T) {
	t.Parallel()
	for _, stage := range []string{"verify", "password", "consent", "code", "tokens", "never"} {
		t.Run(stage, func(t *testing.T) {
			w := newWorld(t, both...)
			first := w.newBrowser()
			at := func(step string) bool {
				if step == stage {
					w.setStatus(w.onlyUser(), deputy.UserDisabled)
				}
				return step == stage
			}
			// noCode fails if the client gets one.
			noCode := func(p *page, what string) {
				t.Helper()
				if p.query("code") != "" {
					t.Errorf("disabled before %s, the person is at %v", what, p.location)
				}
			}
			p := first.follow(first.begin())
			p = first.follow(first.fill(p, "/login", "identifier", adaMail))
			p = first.follow(first.at(first.fill(p, "/login/signup", "password", adaPass), "/login/verify-email"))
			_, code, _ := w.lastMail()
			if at("verify") {
				noCode(first.fill(p, "/login/verify-email", "code", code), stage)
				return
			}
			first.withCode(first.fill(p, "/login/verify-email", "code", code))

			b := w.newBrowser()
			b.client = w.newWebApp("asks", deputy.RequiredConsent)
			p = b.follow(b.begin("scope", "openid"))
			p = b.follow(b.fill(p, "/login", "identifier", adaMail))
			if at("password") {
				b.says(b.fill(p, "/login/password", "password", adaPass), 403, "You cannot sign in")
				return
			}
			p = b.follow(b.at(b.fill(p, "/login/password", "password", adaPass), "/login/consent"))
			if at("consent") {
				if r := b.fill(p, "/login/consent", "action", "approve"); r.query("error") != "access_denied" || r.query("code") != "" {
					t.Errorf("the client hears %v", r.location)
				}
				noCode(b.open(asking(b.client.credential.Identifier)), stage)
				return
			}
			back := b.withCode(b.fill(p, "/login/consent", "action", "approve"))
			redeem := func() *answer {
				return w.post(b.client, form("grant_type", "authorization_code", "code", back.query("code"), "redirect_uri", callback, "code_verifier", verifier))
			}
			if at("code") {
				w.must(redeem(), 400, "invalid_grant")
				return
			}
			tokens := w.must(redeem(), 200, "")
			renewal := form("grant_type", "refresh_token", "refresh_token", tokens.text("refresh_token"))
			if !at("tokens") {
				w.must(w.post(b.client, renewal), 200, "")
				b.says(b.get("/account"), 200, adaMail)
				return
			}
			w.must(w.post(b.client, renewal), 400, "invalid_grant")
			w.must((&flow{world: w}).userInfo(tokens.text("access_token")), 401, "invalid_token")
			if a := w.postTo("/oauth/2/introspect", b.client, form("token", tokens.text("access_token"))); a.json["active"] != false {
				t.Errorf("introspection says %s", a)
			}
			b.at(b.get("/account"), "/login")
			noCode(b.open(asking(b.client.credential.Identifier, "prompt", "none")), stage)
			b.says(b.signInAgain(adaMail, adaPass), 403, "You cannot sign in")
		})
	}
}

// TestSecretsInAddressesCountForNothing: what is in an address is in logs and
// histories (RFC 6750 §2.3, RFC 6749 §2.3.1).
func TestSecretsInAddressesCountForNothing(t *testing.T) {
	t.Parallel()
	f := newFlow(t, both...)
	a := f.must(f.redeem(f.code("scope", "openid")), 200, "")
	token := a.text("access_token")
	get := func(method, path string, query url.Values, body string) *answer {
		r := httptest.NewRequest(method, "/z/"+string(f.zone.ID)+path+"?"+query.Encode(), strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return f.do(r)
	}
	f.must(get("GET", "/openid/connect/userinfo", form("access_token", token), ""), 401, "invalid_token")
	client := []string{"client_id", f.client.credential.Identifier, "client_secret", f.client.secret}
	said := form(append(client, "grant_type", "refresh_token", "refresh_token", a.text("refresh_token"))...)
	f.must(get("POST", "/oauth/2/token", said, ""), 401, "invalid_client")
	f.must(get("POST", "/oauth/2/token", form(client...), form("grant_type", "refresh_token", "refresh_token", a.text("refresh_token")).Encode()), 401, "invalid_client")
	f.must(get("POST", "/oauth/2/introspect", form(append(client, "token", token)...), ""), 401, "invalid_client")
	f.must(get("POST", "/oauth/2/revoke", form("token", token), form(client...).Encode()), 400, "invalid_request")
	f.must(f.userInfo(token), 200, "") // and so it was not revoked
	// A password in the address of a page is none.
	b := f.newBrowser()
	b.client = f.client
	b.withCode(b.signUp(adaMail, adaPass))
	p := b.follow(b.at(b.open(asking(f.client.credential.Identifier, "prompt", "login")), "/login"))
	p = b.follow(b.fill(p, "/login", "identifier", adaMail))
	csrf := attribute(inputTag.FindString(p.body), "value")
	r := b.send("/login/password?"+form("username", adaMail, "password", adaPass).Encode(), form("csrf_token", csrf))
	if r.location != nil || r.status == 200 {
		t.Errorf("the browser is at %d %v", r.status, r.location)
	}
	// Where an answer is in an address, nothing of it stays or is passed on.
	back := b.open(asking(f.client.credential.Identifier))
	b.answered(back)
	if back.header.Get("Referrer-Policy") != "no-referrer" || back.header.Get("Cache-Control") != "no-store" || back.body != "" {
		t.Errorf("the answer has %v and %q", back.header, back.body)
	}
}

// TestLogoutLeadsNowhereElse: to where a client has registered, and that only for
// itself (OpenID Connect RP-Initiated Logout 1.0 §3).
func TestLogoutLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	f := newFlow(t, both...)
	const mine, theirs = "https://client.test/bye", "https://other.test/bye"
	f.change(f.client, func(a *deputy.Application) { a.LogoutURIs = []string{mine, "http://client.test/bye"} })
	other := f.newWebApp("other", deputy.ImplicitConsent)
	f.change(other, func(a *deputy.Application) { a.LogoutURIs = []string{theirs} })
	id := f.must(f.redeem(f.code("scope", "openid")), 200, "").text("id_token")
	leave := func(pairs ...string) *page { return f.browser.get("/openid/connect/logout?" + form(pairs...).Encode()) }
	for _, pairs := range [][]string{
		{"id_token_hint", id, "post_logout_redirect_uri", theirs},
		{"id_token_hint", id, "client_id", other.credential.Identifier, "post_logout_redirect_uri", theirs},
		{"client_id", f.client.credential.Identifier, "post_logout_redirect_uri", theirs},
		{"post_logout_redirect_uri", mine}, {"id_token_hint", "x", "post_logout_redirect_uri", mine},
		{"id_token_hint", id, "post_logout_redirect_uri", "https://client.test@evil.test/bye"},
		{"id_token_hint", id, "post_logout_redirect_uri", "https://client.test/BYE"}, {"id_token_hint", id, "post_logout_redirect_uri", mine + "/"},
		{"id_token_hint", id, "post_logout_redirect_uri", "//client.test/bye"}, {"id_token_hint", id, "post_logout_redirect_uri", mine + "#x"},
		{"id_token_hint", id, "post_logout_redirect_uri", mine, "post_logout_redirect_uri", mine},
		{"id_token_hint", id, "client_id", other.credential.Identifier, "post_logout_redirect_uri", mine},
		{"id_token_hint", id, "post_logout_redirect_uri", "http://client.test/bye"}, // registered, and open to whoever listens
	} {
		f.browser.shown(leave(pairs...), "invalid_request")
	}
	// With the ID token of another person the one who is signed in is asked.
	bob := f.newBrowser()
	bob.open(asking(f.client.credential.Identifier, "scope", "openid"))
	theirID := f.must(f.redeem(bob.answered(bob.act("sign in", f.newUser("bob@example.test")))), 200, "").text("id_token")
	f.browser.says(leave("id_token_hint", theirID, "post_logout_redirect_uri", mine), 200, "Sign out")
	f.browser.answered(f.browser.open(asking(f.client.credential.Identifier, "prompt", "none"))) // still signed in
	p := leave("id_token_hint", id, "post_logout_redirect_uri", mine, "state", "a\r\nSet-Cookie: x=y&iss=evil#x")
	if p.location == nil || !strings.HasPrefix(p.location.String(), mine+"?state=") || len(p.location.Query()) != 1 || p.header.Get("Set-Cookie") == "x=y" {
		t.Errorf("the browser is at %v", p.location)
	}
}

// TestARedirectTakenAwayMeanwhile: an address that is no longer registered gets
// nothing, whoever began when it was.
func TestARedirectTakenAwayMeanwhile(t *testing.T) {
	t.Parallel()
	f := newFlow(t)
	f.browser.at(f.browser.open(asking(f.client.credential.Identifier)), "/login")
	f.change(f.client, func(a *deputy.Application) { a.RedirectURIs = []string{"https://client.test/new"} })
	f.browser.shown(f.browser.act("sign in", f.user), "invalid_client")
}

// TestAnswersAreComplete: how the browser is sent back, and with exactly what.
func TestAnswersAreComplete(t *testing.T) {
	t.Parallel()
	f := newFlow(t)
	f.code()
	for method, status := range map[string]int{"GET": 302, "POST": 303} {
		for state, names := range map[string][]string{"s&=?#": {"code", "iss", "state"}, "": {"code", "iss"}} {
			q := asking(f.client.credential.Identifier, "state", state)
			p := f.browser.open(q)
			if method == "POST" {
				p = f.browser.send("/oauth/2/authorize", q)
			}
			if p.status != status || p.location == nil || !slices.Equal(slices.Sorted(maps.Keys(p.location.Query())), names) || p.query("state") != state {
				t.Errorf("%s, state %q: %d %v", method, state, p.status, p.location)
			}
		}
	}
	// A redirect address that has a query keeps it; an endpoint that has one, too.
	f.change(f.client, func(a *deputy.Application) { a.RedirectURIs = []string{callback + "?tenant=1"} })
	p := f.browser.open(asking(f.client.credential.Identifier, "redirect_uri", callback+"?tenant=1"))
	if p.query("tenant") != "1" || p.query("code") == "" {
		t.Errorf("the browser is at %v", p.location)
	}
	q := asking(f.client.credential.Identifier, "redirect_uri", callback+"?tenant=1")
	p = f.browser.get("/oauth/2/authorize?resource=" + url.QueryEscape(f.api.Identifier) + "?" + q.Encode())
	if p.query("code") == "" {
		t.Errorf("with a second question mark the browser is at %d %v", p.status, p.location)
	}
}
