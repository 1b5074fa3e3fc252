package oauth_test

import (
	"context"
	"html"
	"strings"
	"testing"
	"time"

	"deputy/internal/deputy"
)

func TestAccountShowsAndEndsSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedUp()
	other := w.newBrowser()
	other.client = b.client
	other.withCode(other.signIn(adaMail, adaPass))
	p := b.says(b.get("/account"), 200, "Where you are signed in")
	if n := strings.Count(p.body, `action="/z/`+string(w.zone.ID)+`/account/sessions"`); n != 2 {
		t.Fatalf("%d sessions are shown", n)
	}
	// Somebody else's session is none of hers.
	bob := w.newBrowser()
	bob.client = b.client
	w.clock.advance(time.Minute)
	bob.withCode(bob.signUp("bob@example.test", adaPass))
	theirs := attribute(bob.get("/account").body[strings.Index(bob.get("/account").body, `name="id"`):], "value")
	b.fill(p, "/account/sessions", "id", theirs)
	bob.withCode(bob.open(asking(b.client.credential.Identifier)))

	_, own, _ := strings.Cut(p.body, "This one")
	own = attribute(own[strings.Index(own, `name="id"`):], "value")
	for _, m := range formTag.FindAllStringSubmatch(p.body, -1) {
		if id := attribute(m[2][strings.LastIndex(m[2], "<input"):], "value"); strings.HasSuffix(m[1], "/account/sessions") && id != own {
			b.at(b.fill(p, "/account/sessions", "id", id), "/account?done=removed")
		}
	}
	b.at(b.fill(p, "/account/sessions", "id", own), "/account?done=removed")
	other.at(other.open(asking(b.client.credential.Identifier)), "/login")
	b.at(b.get("/account"), "/login") // her own is over as well
	told := w.events("sessions:revoke")
	if len(told) != 2 || string(told[0].SessionID) == own || string(told[1].SessionID) != own {
		t.Errorf("%d events tell of it", len(told))
	}
}

// TestWhatHasRunOutIsNotRevoked: a session or grant whose time has run out has
// expired, whoever ends it and though nobody has written that down.
func TestWhatHasRunOutIsNotRevoked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.newBrowser()
	b.withCode(b.signUp(adaMail, adaPass))
	other := w.newBrowser()
	other.client = b.client
	other.withCode(other.signIn(adaMail, adaPass))
	session := w.newest(func(x *deputy.Session) bool { return x.ParentID == nil })
	grant := w.grantsOf(w.onlyUser())[0]
	p := b.get("/account")
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.Sessions().Update(ctx, w.in(), deputy.ID(session.ID), func(x *deputy.Session) error {
			x.ExpiresAt = tx.Now()
			return nil
		})
		if err != nil {
			return err
		}
		_, err = tx.Grants().Update(ctx, w.in(), grant.ID, func(g *deputy.Grant) error {
			g.ExpiresAt, g.RefreshTokenSet = tx.Now(), false
			return nil
		})
		return err
	})
	b.fill(p, "/account/sessions", "id", string(session.ID))
	b.fill(p, "/account/grants", "id", string(grant.ID))
	x, err := w.store.Sessions().Get(context.Background(), w.in(), deputy.ID(session.ID))
	if err != nil || x.State(w.clock.Now()) != deputy.Expired {
		t.Errorf("the session is %v, %v", x, err)
	}
	g, err := w.store.Grants().Get(context.Background(), w.in(), grant.ID)
	if err != nil || g.State(w.clock.Now()) != deputy.Expired {
		t.Errorf("the grant is %v, %v", g, err)
	}
}

func TestSignOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedUp()
	b.says(b.fill(b.get("/account"), "/account/sign-out"), 200, "You are signed out")
	b.at(b.open(asking(b.client.credential.Identifier)), "/login")
	if n := len(w.events("users:logout")); n != 1 {
		t.Errorf("%d events tell of it", n)
	}
}

func TestTheAccountAsksToSignInAndComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signedUp()
	other := w.newBrowser()
	p := other.follow(other.at(other.get("/account"), "/login"))
	p = other.follow(other.fill(p, "/login", "identifier", adaMail))
	p = other.at(other.fill(p, "/login/password", "password", adaPass), "/account")
	other.says(other.follow(p), 200, adaMail)
	// What is shown is what the page knows to say, whatever the address has.
	if p := other.get("/account?done=evil"); strings.Contains(p.body, "evil") {
		t.Error("the page repeats its address")
	}
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedUp()
	other := w.newBrowser()
	other.client = b.client
	other.withCode(other.signIn(adaMail, adaPass))
	p := b.says(b.get("/account/password"), 200, "Change your password")
	for _, c := range []struct{ current, chosen, says string }{
		{"not the right one", newPass, "did not work"},
		{adaPass, "short", "too short"},
		{adaPass, adaPass, "the password you had"},
		{adaPass, adaMail, "one of the first"},
	} {
		b.says(b.fill(p, "/account/password", "current", c.current, "password", c.chosen), 400, c.says)
	}
	b.at(b.fill(p, "/account/password", "current", adaPass, "password", newPass), "/account?done=password")
	b.withCode(b.open(asking(b.client.credential.Identifier)))
	other.at(other.open(asking(b.client.credential.Identifier)), "/login")
	other.says(other.signInAgain(adaMail, adaPass), 400, "did not work")
	other.withCode(other.signInAgain(adaMail, newPass))
}

// TestAnAccountHoldsNothingBeforeItsAddressIsVerified: who signs up with the
// address of another could leave a passkey there.
func TestAnAccountHoldsNothingBeforeItsAddressIsVerified(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.newBrowser()
	p := b.follow(b.begin())
	p = b.follow(b.fill(p, "/login", "identifier", adaMail))
	b.fill(p, "/login/signup", "password", adaPass)
	for _, path := range []string{"/account", "/account/passkeys", "/account/password"} {
		b.at(b.get(path), "/login/verify-email")
	}
	b.at(b.send("/account/passkeys", form("action", "remove")), "/login/verify-email")
	_, code, _ := w.lastMail()
	p = b.get("/account")
	b.says(b.follow(b.at(b.fill(b.follow(p), "/login/verify-email", "code", code), "/account")), 200, adaMail)
}

// TestAPasswordReplacedMeanwhile: who has brought the old password when another is
// set is not let in, and does not set a third.
func TestAPasswordReplacedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.newBrowser()
	b.withCode(b.signUp(adaMail, adaPass))
	store := &interposed{Store: w.store}
	w.config.Store = store
	w.restart()
	replace := func(hash string) func() {
		return func() {
			w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
				_, err := tx.Passwords().Update(ctx, w.in(), deputy.ID(w.onlyUser().ID), func(p *deputy.Password) error {
					p.Hash = hash
					return nil
				})
				return err
			})
		}
	}
	had, err := w.store.Passwords().Get(context.Background(), w.in(), deputy.ID(w.onlyUser().ID))
	if err != nil {
		t.Fatal(err)
	}
	other := w.newBrowser()
	other.client = b.client
	store.beforeWrite = replace("another")
	other.says(other.signIn(adaMail, adaPass), 400, "did not work")
	replace(had.Hash)()

	p := b.get("/account/password")
	store.beforeWrite = replace("another")
	b.says(b.fill(p, "/account/password", "current", adaPass, "password", newPass), 400, "did not work")
	replace(had.Hash)()
	other.withCode(other.signInAgain(adaMail, adaPass))
}

// TestASessionEndedMeanwhile: whoever is signed out changes nothing any more, also
// where the change had begun.
func TestASessionEndedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.newBrowser()
	b.withCode(b.signUp(adaMail, adaPass))
	store := &interposed{Store: w.store}
	w.config.Store = store
	w.restart()
	p := b.get("/account/password")
	store.beforeWrite = func() {
		web := w.newest(func(s *deputy.Session) bool { return s.ParentID == nil })
		w.setSession(web, func(s *deputy.Session) { s.Status = deputy.Revoked })
	}
	b.says(b.fill(p, "/account/password", "current", adaPass, "password", newPass), 400, "start again")
	other := w.newBrowser()
	other.client = b.client
	other.withCode(other.signIn(adaMail, adaPass))
}

func TestConsentShowsWhatIsAskedAndWhatIsNew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.newBrowser()
	b.client = w.newWebApp("Inbox Agent", deputy.RequiredConsent)
	api := w.newResource("https://api.test", func(r *deputy.Resource) { r.Scopes, r.Name, r.Slug = []string{"read", "write"}, "The API", "api" })
	w.depend(b.client, api)
	p := b.signUp(adaMail, adaPass)
	ask := func(scope string) *page {
		return b.follow(b.at(b.open(asking(b.client.credential.Identifier, "resource", api.Identifier, "scope", scope)), "/login/consent"))
	}
	_ = p
	p = ask("openid email read")
	for _, want := range []string{"Inbox Agent asks for access", "The API", "https://api.test", ">read", "client.test", adaMail, "Registered.", "Your e-mail address"} {
		if !strings.Contains(html.UnescapeString(p.body), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(p.body, "New</span>") || strings.Contains(p.body, ">write") {
		t.Error("the page marks something as new, or shows what is not asked")
	}
	if csp := p.header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self' "+callback) {
		t.Errorf("forms lead to %s", csp)
	}
	b.withCode(b.fill(p, "/login/consent", "action", "approve"))
	b.withCode(b.open(asking(b.client.credential.Identifier, "resource", api.Identifier, "scope", "read")))
	p = ask("read write")
	if strings.Count(p.body, `class="new"`) != 1 || !strings.Contains(p.body, `write <span class="new"`) {
		t.Errorf("what is new is not marked: %s", p.body)
	}
	// What is approved is what was shown: with less shown, it is asked again.
	b.at(b.fill(p, "/login/consent", "action", "approve", "shown", "something else"), "/login/consent")
	r := b.fill(b.get("/login/consent"), "/login/consent", "action", "deny")
	if r.query("error") != "access_denied" {
		t.Errorf("the client hears %v", r.location)
	}
	// prompt=consent asks again for what was agreed to; prompt=none asks nothing.
	b.at(b.open(asking(b.client.credential.Identifier, "resource", api.Identifier, "scope", "read", "prompt", "consent")), "/login/consent")
	if q := b.open(asking(b.client.credential.Identifier, "resource", api.Identifier, "scope", "write", "prompt", "none")); q.query("error") != "consent_required" {
		t.Errorf("prompt=none leads to %v", q.location)
	}
}

// TestAuthorizeWithoutAClientWaiting is the way of a person whom error_uri has
// sent here.
func TestAuthorizeWithoutAClientWaiting(t *testing.T) {
	t.Parallel()
	for _, mode := range []deputy.Consent{deputy.RequiredConsent, deputy.ImplicitConsent} {
		w := newWorld(t)
		b := w.newBrowser()
		b.withCode(b.signUp(adaMail, adaPass))
		client := w.newWebApp("Inbox Agent", mode)
		api := w.newResource("https://api.test", func(r *deputy.Resource) { r.Name, r.Slug = "The API", "api" })
		w.depend(client, api)
		address := "/login/authorize?" + form("client_id", client.credential.Identifier, "resource", api.Identifier).Encode()
		p := b.follow(b.at(b.get(address), "/login/consent"))
		b.says(p, 200, "Inbox Agent asks for access")
		if grants := w.grantsOf(w.onlyUser()); len(grants) != 1 {
			t.Fatalf("looking at the page has granted something: %d", len(grants))
		}
		p = b.follow(b.at(b.fill(p, "/login/consent", "action", "approve"), "/login/authorized"))
		b.says(p, 200, "Access allowed")
		if grants := w.grantsOf(w.onlyUser()); len(grants) != 2 {
			t.Errorf("%d grants", len(grants))
		}
		b.says(b.get("/login/authorize?client_id=nobody&resource="+api.Identifier), 400, "invalid_client")
		b.says(b.get("/login/authorize?client_id="+client.credential.Identifier+"&resource=https://nothing.test"), 400, "invalid_target")
		b.says(b.get("/login/authorize?client_id="+client.credential.Identifier), 400, "invalid_request")
	}
}

func (w *world) grantsOf(u *deputy.User) []*deputy.Grant {
	w.Helper()
	page, err := w.store.Grants().List(context.Background(), w.in(), deputy.Query{All: true})
	if err != nil {
		w.Fatal(err)
	}
	return page.Items
}

// TestARevokedGrantStopsEverybody: who revokes the grant for a resource is asked
// before anything reaches it for them again, whichever client it is and whoever
// provides the credential.
func TestARevokedGrantStopsEverybody(t *testing.T) {
	t.Parallel()
	for _, mode := range []deputy.Consent{deputy.RequiredConsent, deputy.ImplicitConsent} {
		t.Run(string(mode), func(t *testing.T) {
			w := newWorld(t)
			b := w.newBrowser()
			b.client = w.newWebApp("Inbox Agent", mode)
			api := w.newResource("https://api.test", func(r *deputy.Resource) { r.Name, r.Slug = "The API", "api" })
			front := w.newResource("https://front.test", func(r *deputy.Resource) {
				r.Name, r.Slug, r.ApplicationID = "The front", "front", &b.client.ID
			})
			w.depend(b.client, api)
			b.signUp(adaMail, adaPass)
			authorize := func(page bool) string {
				t.Helper()
				p := b.open(asking(b.client.credential.Identifier, "resource", front.Identifier, "resource", api.Identifier))
				if page {
					p = b.fill(b.follow(b.at(p, "/login/consent")), "/login/consent", "action", "approve")
				}
				return b.withCode(p).query("code")
			}
			redeem := func(code string) *answer {
				q := form("grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", verifier)
				return w.must(w.post(b.client, q), 200, "")
			}
			had := redeem(authorize(mode == deputy.RequiredConsent))
			refresh := func(status int, code string) {
				t.Helper()
				a := w.post(b.client, form("grant_type", "refresh_token", "refresh_token", had.text("refresh_token"), "resource", api.Identifier))
				w.must(a, status, code)
			}
			token := had.text("access_token")
			w.must(w.exchange(b.client, token, api.Identifier), 200, "")
			var id deputy.ID
			for _, g := range w.grantsOf(w.onlyUser()) {
				if g.ResourceID == api.ID {
					id = g.ID
				}
			}
			b.at(b.fill(b.get("/account"), "/account/grants", "id", string(id)), "/account?done=removed")
			if e := w.events("delegated_grants:revoke"); len(e) != 1 || e[0].Resource == nil || e[0].Resource.ID != api.ID {
				t.Errorf("the log tells of %v", e)
			}
			a := w.must(w.exchange(b.client, token, api.Identifier), 400, "insufficient_authorization")
			if !strings.Contains(a.text("error_uri"), "/login/authorize?") {
				t.Errorf("error_uri is %q", a.text("error_uri"))
			}
			refresh(400, "insufficient_authorization")
			w.must(w.exchange(b.client, token, front.Identifier), 200, "") // which nobody has revoked
			// Another visit brings it back, and not without a click.
			silent := asking(b.client.credential.Identifier, "resource", front.Identifier, "resource", api.Identifier, "prompt", "none")
			b.refused(b.open(silent), "consent_required")
			redeem(authorize(true))
			w.must(w.exchange(b.client, token, api.Identifier), 200, "")
			redeem(authorize(false))

			// So it is with what was agreed to for the client: it gets nothing,
			// of another resource neither, before the person has said so.
			w.depend(b.client, w.newResource("https://new.test", nil))
			b.fill(b.get("/account"), "/account/consents", "client", "nobody") // writes nothing down
			b.at(b.fill(b.get("/account"), "/account/consents", "client", string(b.client.ID)), "/account?done=removed")
			told := w.events("consents:delete")
			if len(told) != 1 || told[0].Target == nil || *told[0].Target != (deputy.Target{Type: "application", ID: string(b.client.ID)}) {
				t.Errorf("the log tells of %v", told)
			}
			b.refused(b.open(silent), "consent_required")
			b.refused(b.open(asking(b.client.credential.Identifier, "resource", "https://new.test", "prompt", "none")), "consent_required")
			p := b.fill(b.follow(b.at(b.open(asking(b.client.credential.Identifier)), "/login/consent")), "/login/consent", "action", "deny")
			b.refused(p, "access_denied")
			b.refused(b.open(silent), "consent_required")
			redeem(authorize(true))
			b.withCode(b.open(silent))
		})
	}
}

// TestWithdrawnMeanwhile: what a person takes back while a request is decided is
// not brought back by its end, also where clients need not ask.
func TestWithdrawnMeanwhile(t *testing.T) {
	for name, withdraw := range map[string]func(*flow, context.Context, deputy.Tx) error{
		"what was agreed to": func(f *flow, ctx context.Context, tx deputy.Tx) error {
			return tx.WithdrawConsents(ctx, f.zone.ID, f.user.ID, deputy.ID(f.client.ID))
		},
		"the grant": func(f *flow, ctx context.Context, tx deputy.Tx) error {
			_, err := tx.Grants().Update(ctx, f.in(), f.grantsOf(f.user)[0].ID, func(g *deputy.Grant) error {
				g.Status = deputy.Revoked
				return nil
			})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFlow(t)
			f.code()
			store := &interposed{Store: f.store}
			f.config.Store = store
			f.restart()
			store.beforeWrite = func() {
				f.write(f.zone.ID, func(ctx context.Context, tx deputy.Tx) error { return withdraw(f, ctx, tx) })
			}
			f.browser.refused(f.browser.open(asking(f.client.credential.Identifier, "prompt", "none")), "consent_required")
			f.browser.at(f.browser.open(asking(f.client.credential.Identifier)), "/login/consent")
			f.browser.answered(f.browser.act("approve", nil))
			f.browser.answered(f.browser.open(asking(f.client.credential.Identifier, "prompt", "none")))
			// A client that wants people to be asked has them asked.
			f.browser.at(f.browser.open(asking(f.client.credential.Identifier, "prompt", "consent")), "/login/consent")
			f.browser.answered(f.browser.act("approve", nil))
		})
	}
}
