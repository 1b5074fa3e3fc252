package oauth_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/vault"
)

const (
	cli     = "deputy-cli"
	cliBack = "http://127.0.0.1:7777/callback"
)

// newManager returns a browser that looks at the management plane, and an
// organization there.
func (w *world) newManager() (*browser, *deputy.Organization) {
	w.Helper()
	o := w.newAccount().organization
	b := w.newBrowser()
	b.manages = true
	return b, o
}

// elsewhere returns another browser that looks at the management plane.
func (b *browser) elsewhere() *browser {
	other := b.newBrowser()
	other.manages = true
	return other
}

// invite mails nobody and returns the path that the link would have.
func (w *world) invite(o *deputy.Organization, email string) string {
	w.Helper()
	token := deputy.NewSecret()
	now := w.clock.Now()
	w.write("", func(ctx context.Context, tx deputy.Tx) error {
		return tx.Invitations().Insert(ctx, &deputy.Invitation{
			ID: deputy.NewID(now), OrganizationID: o.ID, Email: email, Role: deputy.OrganizationViewer, Status: deputy.InvitationPending,
			TokenHash: deputy.HashSecret(token), CreatedBy: "somebody", CreatedByName: "Somebody", ExpiresAt: now.Add(deputy.InvitationLifetime),
			CreatedAt: now, UpdatedAt: now,
		})
	})
	return "/login/invitations/" + token.Reveal()
}

// accept follows an invitation with a password.
func (b *browser) accept(path, password string) *page {
	b.Helper()
	return b.fill(b.says(b.get(path), 200, "You are invited to look around"), path, "password", password)
}

func askingPlane(more ...string) url.Values {
	return asking(cli, append([]string{"redirect_uri", cliBack}, more...)...)
}

// back fails unless the browser is sent back to the program, with the parameter.
func (b *browser) back(p *page, name string) string {
	b.Helper()
	if p.location == nil || !strings.HasPrefix(p.location.String(), cliBack+"?") || p.query(name) == "" || p.query("iss") != publicURL || p.query("state") != "the-state" {
		b.Fatalf("the browser is at %d %v %s, want it back with %s", p.status, p.location, p.body, name)
	}
	return p.query(name)
}

// consented says yes to the program that asks, who is signed in.
func (b *browser) consented(more ...string) string {
	b.Helper()
	p := b.follow(b.at(b.open(askingPlane(more...)), "/login/consent"))
	return b.back(b.fill(p, "/login/consent", "action", "approve"), "code")
}

// redeemPlane asks for the bearer that a code stands for.
func (w *world) redeemPlane(code string, more ...string) *answer {
	w.Helper()
	q := form("grant_type", "authorization_code", "code", code, "redirect_uri", cliBack, "client_id", cli, "code_verifier", verifier)
	for i := 0; i < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	r := httptest.NewRequest("POST", "/oauth/2/token", strings.NewReader(q.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.RemoteAddr = "192.0.2.7:1234"
	return w.do(r)
}

func (w *world) onlyMember(o *deputy.Organization) *deputy.OrganizationUser {
	w.Helper()
	page, err := w.store.OrganizationUsers().List(context.Background(), deputy.Scope{Organization: o.ID}, deputy.Query{All: true})
	if err != nil || len(page.Items) != 1 {
		w.Fatalf("%d members: %v", len(page.Items), err)
	}
	return page.Items[0]
}

func (w *world) setMember(u *deputy.OrganizationUser, set func(*deputy.OrganizationUser)) {
	w.Helper()
	w.write("", func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.OrganizationUsers().Update(ctx, deputy.Scope{Organization: u.OrganizationID}, u.ID, func(u *deputy.OrganizationUser) error {
			set(u)
			return nil
		})
		return err
	})
}

func TestInvitationToBearer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, o := w.newManager()
	b.at(b.accept(w.invite(o, adaMail), adaPass), "/login/joined")
	b.says(b.get("/login/joined"), 200, "Welcome")
	ada := w.onlyMember(o)
	if ada.Email != adaMail || ada.Role != deputy.OrganizationViewer || ada.Source != "" || ada.Subject != string(ada.ID) || ada.KeyID == "" {
		t.Errorf("the member is %+v", ada)
	}
	p := b.follow(b.at(b.open(askingPlane()), "/login/consent"))
	b.says(p, 200, o.Name)
	b.says(p, 200, "Deputy command line")
	code := b.back(b.fill(p, "/login/consent", "action", "approve"), "code")
	a := w.must(w.redeemPlane(code), 200, "")
	if a.json["token_type"] != "Bearer" || a.json["expires_in"] != 3600.0 || a.json["refresh_token"] != nil {
		t.Errorf("the answer is %v", a.json)
	}
	caller, err := w.server.Authenticate(context.Background(), a.text("access_token"), "192.0.2.9")
	if err != nil || caller.Organization != o.ID || caller.Account != ada.ID || caller.Role != ada.Role || caller.ClientID != cli {
		t.Fatalf("the caller is %+v, %v", caller, err)
	}
	w.must(w.redeemPlane(code), 400, "invalid_grant")
	// Elsewhere it takes the password, and another is none.
	other := b.elsewhere()
	p = other.follow(other.at(other.open(askingPlane()), "/login"))
	p = other.follow(other.at(other.fill(p, "/login", "identifier", "ADA@example.TEST"), "/login/password"))
	other.says(other.fill(p, "/login/password", "password", newPass), 400, "That did not work")
	other.at(other.fill(p, "/login/password", "password", adaPass), "/login/consent")
	// Disabled, she is out at once, and deleted as well.
	w.setMember(ada, func(u *deputy.OrganizationUser) { u.Status = deputy.UserDisabled })
	other.at(other.open(askingPlane()), "/login")
	if _, err := w.server.Authenticate(context.Background(), a.text("access_token"), "192.0.2.9"); !errors.Is(err, deputy.Unauthenticated) {
		t.Errorf("the bearer of somebody disabled: %v", err)
	}
	third := b.elsewhere()
	third.open(askingPlane())
	third.fill(third.get("/login"), "/login", "identifier", adaMail)
	third.says(third.fill(third.get("/login/password"), "/login/password", "password", adaPass), 403, "You cannot sign in")
}

func TestInvitationsThatAreNoGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, o := w.newManager()
	b.says(b.get("/login/invitations/nothing"), 404, "There is nothing here")
	path := w.invite(o, adaMail)
	for range 3 { // to look accepts nothing
		b.says(b.get(path), 200, o.Name)
	}
	b.says(b.send(path, form("password", adaPass)), 400, "Please start again")
	p := b.get(path)
	b.says(b.fill(p, path, "password", "short"), 400, "12")
	stranger := b.elsewhere()
	stranger.says(stranger.fill(p, path, "password", adaPass), 400, "Please start again")
	other := w.invite(o, "bob@example.test")
	b.says(b.fill(p, other, "password", adaPass), 400, "Please start again") // the form is of another invitation
	b.at(b.accept(path, adaPass), "/login/joined")
	b.says(b.get(path), 410, "no longer good")
	b.says(b.fill(p, path, "password", adaPass), 400, "Please start again")
	// Who has a password gives it, and has the same account in both.
	second := w.newOrganization("Second", "second")
	path = w.invite(second, "Ada@Example.test")
	b.says(b.fill(b.get(path), path, "password", newPass), 400, "That did not work")
	b.at(b.accept(path, adaPass), "/login/joined")
	if w.onlyMember(second).ID != w.onlyMember(o).ID {
		t.Error("the account is another")
	}
	path = w.invite(second, "carol@example.test")
	open := b.get(path)
	w.write("", func(ctx context.Context, tx deputy.Tx) error {
		i, _, err := tx.Invitation(ctx, deputy.HashSecret(deputy.Conceal(strings.TrimPrefix(path, "/login/invitations/"))))
		if err == nil {
			_, err = tx.Invitations().Update(ctx, deputy.Scope{Organization: second.ID}, i.ID, func(i *deputy.Invitation) error {
				i.Status = deputy.InvitationRevoked
				return nil
			})
		}
		return err
	})
	b.says(b.fill(open, path, "password", adaPass), 410, "no longer good")
	w.clock.advance(deputy.InvitationLifetime)
	b.says(b.get(other), 410, "no longer good")
	if n := len(w.eventsOf(second, "invitations:accept")); n != 1 {
		t.Errorf("%d invitations were accepted", n)
	}
}

// eventsOf returns the events of a kind in the log of an organization.
func (w *world) eventsOf(o *deputy.Organization, kind string) []*deputy.Event {
	w.Helper()
	had := w.organization
	w.organization = o
	defer func() { w.organization = had }()
	return w.events(kind)
}

func TestABearerIsOfTheOrganizationAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, first := w.newManager()
	second := w.newOrganization("Second", "second")
	w.newOrganization("Third", "third") // which nobody has invited her to
	b.accept(w.invite(first, adaMail), adaPass)
	b.accept(w.invite(second, adaMail), adaPass)
	for name, want := range map[string]*deputy.Organization{"": first, "second": second, string(first.ID): first} {
		a := w.must(w.redeemPlane(b.consented("organization", name)), 200, "")
		if got := w.payload(a.text("access_token"))["organization_id"]; got != string(want.ID) {
			t.Errorf("for %q the bearer is of %v", name, got)
		}
	}
	if code := b.back(b.open(askingPlane("organization", "third")), "error"); code != "access_denied" {
		t.Errorf("for another's organization: %s", code)
	}
	// What was agreed to is what was shown.
	p := b.follow(b.open(askingPlane("organization", "second")))
	w.setMember(w.onlyMember(second), func(u *deputy.OrganizationUser) { u.Status = deputy.UserDisabled })
	if code := b.back(b.fill(p, "/login/consent", "action", "approve"), "error"); code != "access_denied" {
		t.Errorf("of a former organization: %s", code)
	}
	// Between the code and the bearer as well.
	code := b.consented()
	w.setMember(w.onlyMember(first), func(u *deputy.OrganizationUser) { u.Status = deputy.UserDisabled })
	w.must(w.redeemPlane(code), 400, "invalid_grant")
}

// TestPlaneRequestsThatAreRefused walks what the authorization and the token
// endpoint of the management plane refuse.
func TestPlaneRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, o := w.newManager()
	for name, c := range map[string]struct {
		with []string
		page string // else an error for the client
		code string
	}{
		"an unknown client":      {with: []string{"client_id", "other"}, page: "invalid_client"},
		"a zone's application":   {with: []string{"client_id", w.newWebApp("app", deputy.ImplicitConsent).credential.Identifier}, page: "invalid_client"},
		"another redirect":       {with: []string{"redirect_uri", callback}, page: "invalid_request"},
		"another path":           {with: []string{"redirect_uri", cliBack + "/x"}, page: "invalid_request"},
		"no challenge":           {with: []string{"code_challenge", "", "code_challenge_method", ""}, code: "invalid_request"},
		"a plain challenge":      {with: []string{"code_challenge_method", "plain"}, code: "invalid_request"},
		"another type":           {with: []string{"response_type", "token"}, code: "unsupported_response_type"},
		"a zone's resource":      {with: []string{"resource", w.issuer()}, code: "invalid_target"},
		"no page, nobody there":  {with: []string{"prompt", "none"}, code: "login_required"},
		"a prompt that is not":   {with: []string{"prompt", "dance"}, code: "invalid_request"},
		"a scope that is broken": {with: []string{"scope", "\""}, code: "invalid_scope"},
	} {
		p := b.open(askingPlane(c.with...))
		if c.page != "" {
			b.shown(p, c.page)
		} else if got := b.back(p, "error"); got != c.code {
			t.Errorf("%s: %s", name, got)
		}
	}
	b.accept(w.invite(o, adaMail), adaPass)
	if got := b.back(b.open(askingPlane("prompt", "none")), "error"); got != "consent_required" {
		t.Errorf("no page, and nobody agreed: %s", got)
	}
	b.at(b.open(askingPlane("prompt", "login")), "/login")
	p := b.follow(b.open(askingPlane()))
	if got := b.back(b.fill(p, "/login/consent", "action", "deny"), "error"); got != "access_denied" {
		t.Errorf("denied: %s", got)
	}
	code := b.consented()
	for name, c := range map[string]struct {
		with   []string
		status int
		code   string
	}{
		"another client":   {[]string{"client_id", "other"}, 401, "invalid_client"},
		"a secret":         {[]string{"client_secret", "x"}, 401, "invalid_client"},
		"another code":     {[]string{"code", "x"}, 400, "invalid_grant"},
		"another redirect": {[]string{"redirect_uri", "http://127.0.0.1:7778/callback"}, 400, "invalid_grant"},
		"another verifier": {[]string{"code_verifier", strings.Repeat("x", 43)}, 400, "invalid_grant"},
		"another resource": {[]string{"resource", w.issuer()}, 400, "invalid_target"},
	} {
		t.Run(name, func(t *testing.T) { w.must(w.redeemPlane(code, c.with...), c.status, c.code) })
	}
	r := httptest.NewRequest("POST", "/service-account-token", strings.NewReader(form("grant_type", "authorization_code", "code", code,
		"client_id", cli, "code_verifier", verifier, "redirect_uri", cliBack).Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w.must(w.do(r), 401, "invalid_client")
	bearer := w.must(w.redeemPlane(code), 200, "").text("access_token")
	late := b.consented()
	w.clock.advance(time.Minute)
	w.must(w.redeemPlane(late), 400, "invalid_grant")

	// The plane's bearers are nothing to a zone, and a zone's codes and tokens
	// nothing to the plane.
	app := w.newApp("caller")
	w.must(w.exchange(app, bearer, w.issuer()), 400, "invalid_grant")
	f := newFlow(t)
	token := f.must(f.redeem(f.code()), 200, "").text("access_token")
	if _, err := f.server.Authenticate(context.Background(), token, "192.0.2.9"); !errors.Is(err, deputy.Unauthenticated) {
		t.Errorf("a zone's token at the management API: %v", err)
	}
	w.must(f.redeemPlane(f.code()), 400, "invalid_grant")
}

func TestPlaneDocuments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, _ := w.newManager()
	p := b.says(b.get("/.well-known/oauth-authorization-server"), 200, `"issuer":"`+publicURL+`"`)
	b.says(p, 200, `"authorization_endpoint":"`+publicURL+`/oauth/2/authorize"`)
	b.says(b.get("/openidconnect/jwks"), 200, `"kid"`)
	for _, path := range []string{"/login/signup", "/login/verify-email", "/login/passkey", "/oauth/2/registration", "/oauth/2/par", "/login/invitations/", "/login/invitations/a/b"} {
		if p := b.get(path); p.status != 404 {
			t.Errorf("%s: %d %s", path, p.status, p.body)
		}
	}
	for _, path := range []string{"/account", "/.well-known/openid-configuration", "/zones", "/oauth2/token", "/"} {
		if w.server.Handles(httptest.NewRequest("GET", path, nil)) {
			t.Errorf("%s is taken", path)
		}
	}
}

func TestForgottenPasswordOfAManager(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, o := w.newManager()
	b.accept(w.invite(o, adaMail), adaPass)
	other := b.elsewhere()
	other.open(askingPlane())
	p := other.at(other.fill(other.get("/login/forgot-password"), "/login/forgot-password", "username", adaMail), "/login/reset-password")
	w.server.Settle()
	all := w.mailsOf(o)
	if len(all) != 1 || all[0].To != adaMail {
		t.Fatalf("the mails are %v", all)
	}
	w.clock.advance(time.Second)
	page := other.follow(p)
	other.says(other.fill(page, "/login/reset-password", "code", "00000000", "password", newPass), 400, "does not work")
	other.at(other.fill(page, "/login/reset-password", "code", codeLine.FindString(all[0].Text), "password", newPass), "/login/consent")
	b.at(b.open(askingPlane()), "/login") // the browser that knew the old one
	if n := len(w.eventsOf(o, "users:reset_password")); n != 1 {
		t.Errorf("%d events", n)
	}
	// Nobody else's address gets mail.
	other.fill(other.get("/login/forgot-password"), "/login/forgot-password", "username", "bob@example.test")
	w.server.Settle()
	if n := len(w.mailsOf(o)); n != 1 {
		t.Errorf("%d mails", n)
	}
}

// TestNoBearerOfASessionThatIsOver: a sign-in that waits for a yes when the
// password is replaced gives the one who knew the old one nothing.
func TestNoBearerOfASessionThatIsOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, o := w.newManager()
	b.accept(w.invite(o, adaMail), adaPass)
	thief := b.elsewhere()
	p := thief.follow(thief.at(thief.open(askingPlane()), "/login"))
	p = thief.follow(thief.fill(p, "/login", "identifier", adaMail))
	asked := thief.follow(thief.at(thief.fill(p, "/login/password", "password", adaPass), "/login/consent"))

	b.open(askingPlane())
	w.clock.advance(time.Second)
	p = b.follow(b.fill(b.get("/login/forgot-password"), "/login/forgot-password", "username", adaMail))
	w.server.Settle()
	mails := w.mailsOf(o)
	b.at(b.fill(p, "/login/reset-password", "code", codeLine.FindString(mails[len(mails)-1].Text), "password", newPass), "/login/consent")
	thief.at(thief.fill(asked, "/login/consent", "action", "approve"), "/login")
}

func TestSignOutOfThePlane(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, o := w.newManager()
	b.accept(w.invite(o, adaMail), adaPass)
	p := b.says(b.get("/openid/connect/logout"), 200, adaMail)
	b.at(b.open(askingPlane()), "/login/consent") // to look signs nobody out
	b.says(b.fill(p, "/openid/connect/logout"), 200, "signed out")
	b.at(b.open(askingPlane()), "/login")
}

// connect gives an organization an identity provider.
func (w *world) connect(o *deputy.Organization, set func(*deputy.SSOConnection)) *deputytest.Provider {
	w.Helper()
	outside := deputytest.NewProvider(w, w.clock.Now)
	client := deputytest.ProviderClientID
	place := vault.Place{Table: "sso_connections", Column: "sealed_secret", Row: string(o.ID)}
	secret, err := w.vault.Seal(context.Background(), o.KeyID, place, []byte(deputytest.ProviderClientSecret))
	if err != nil {
		w.Fatal(err)
	}
	c := &deputy.SSOConnection{
		ID: w.id(), OrganizationID: o.ID, Identifier: outside.URL, ClientID: &client, SealedSecret: secret,
		CreatedAt: w.clock.Now(), UpdatedAt: w.clock.Now(),
	}
	if set != nil {
		set(c)
	}
	w.write("", func(ctx context.Context, tx deputy.Tx) error { return tx.SSOConnections().Insert(ctx, c) })
	return outside
}

// through follows the browser to a provider and back, without the parameters
// that are dropped on the way.
func (b *browser) through(p *page, outside *deputytest.Provider, drop ...string) *page {
	b.Helper()
	if p.location == nil || !strings.HasPrefix(p.location.String(), outside.URL+"/authorize?") {
		b.Fatalf("the browser is at %d %v %s", p.status, p.location, p.body)
	}
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := c.Get(p.location.String())
	if err != nil {
		b.Fatal(err)
	}
	answer.Body.Close()
	to, err := answer.Location()
	if err != nil {
		b.Fatal(err)
	}
	q := to.Query()
	for _, name := range drop {
		q.Del(name)
	}
	return b.get(to.Path + "?" + q.Encode())
}

func TestSingleSignOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, o := w.newManager()
	outside := w.connect(o, nil)
	path := w.invite(o, adaMail)
	for name, claims := range map[string]map[string]any{
		"another address":        {"sub": "1", "email": "eve@example.test", "email_verified": true},
		"an address not checked": {"sub": "1", "email": adaMail, "email_verified": false},
		"no address":             {"sub": "1"},
	} {
		outside.Says(claims)
		p := b.through(b.fill(b.get(path), path), outside)
		if p.status != 400 || !strings.Contains(p.body, "No account for you here") {
			t.Errorf("%s: %d %s", name, p.status, p.body)
		}
	}
	outside.Says(map[string]any{"sub": "1", "email": adaMail, "email_verified": true})
	b.says(b.get(path), 200, "single sign-on")
	b.at(b.through(b.fill(b.get(path), path), outside), "/login/joined")
	ada := w.onlyMember(o)
	if ada.Source != outside.URL || ada.Subject != "1" {
		t.Errorf("the member is %+v", ada)
	}
	caller, err := w.server.Authenticate(context.Background(), w.must(w.redeemPlane(b.consented()), 200, "").text("access_token"), "192.0.2.9")
	if err != nil || caller.Account != ada.ID {
		t.Fatal(caller, err)
	}
	// Elsewhere her address leads to the provider, and another's there to nobody.
	other := b.elsewhere()
	other.open(askingPlane())
	other.at(other.through(other.fill(other.get("/login"), "/login", "identifier", adaMail), outside), "/login/consent")
	third := b.elsewhere()
	third.open(askingPlane("organization", o.Label))
	outside.Says(map[string]any{"sub": "2", "email": "eve@example.test", "email_verified": true})
	third.says(third.through(third.fill(third.get("/login"), "/login", "identifier", "eve@example.test"), outside), 400, "No account for you here")
	if n := len(w.eventsOf(o, "users:login")); n != 6 {
		t.Errorf("%d sign-ins are in the log", n) // two that went well, four that did not
	}
	// Without the provider there is no session that it began.
	b.at(b.open(askingPlane()), "/login/consent")
	w.write("", func(ctx context.Context, tx deputy.Tx) error {
		return tx.SSOConnections().Delete(ctx, deputy.Scope{Organization: o.ID}, deputy.ID(o.ID))
	})
	b.at(b.open(askingPlane()), "/login")
}

// TestAProviderCountsAtHomeOnly: whoever runs an organization can make its
// provider say anything, in the name of any issuer.
func TestAProviderCountsAtHomeOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, o := w.newManager()
	outside := w.connect(o, nil)
	outside.Says(map[string]any{"sub": "1", "email": adaMail, "email_verified": true})
	path := w.invite(o, adaMail)
	b.at(b.through(b.fill(b.get(path), path), outside), "/login/joined")
	// Another organization's provider says that it is the same issuer, and that
	// this is the same person.
	evil := w.newOrganization("Evil", "evil")
	var said string
	forger := w.connect(evil, func(c *deputy.SSOConnection) {
		authorize, token, keys := c.Identifier+"/authorize", c.Identifier+"/token", c.Identifier+"/jwks"
		c.OAuth2 = &deputy.ProviderOAuth2{AuthorizationEndpoint: &authorize, TokenEndpoint: &token, JWKSURI: &keys}
		c.Identifier, said = outside.URL, outside.URL
	})
	forger.Says(map[string]any{"iss": said, "sub": "1", "email": adaMail, "email_verified": true})
	thief := b.elsewhere()
	thief.open(askingPlane("organization", "evil"))
	p := thief.fill(thief.get("/login"), "/login", "identifier", adaMail)
	thief.says(thief.through(p, forger, "iss"), 400, "No account for you here")
	if p := thief.open(askingPlane()); p.location == nil || !strings.HasSuffix(p.location.Path, "/login") {
		t.Errorf("somebody is signed in: %v", p.location)
	}
	path = w.invite(evil, adaMail)
	thief.at(thief.through(thief.fill(thief.get(path), path), forger, "iss"), "/login/joined")
	if w.onlyMember(evil).ID == w.onlyMember(o).ID {
		t.Error("the account is shared")
	}
	if code := thief.back(thief.open(askingPlane("organization", o.Label)), "error"); code != "access_denied" {
		t.Errorf("the thief gets into the other organization: %s", code)
	}
}
