package oauth_test

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/vault"
)

// federate makes an outside provider the zone's identity provider.
func (w *world) federate(set func(*deputy.Provider)) *deputytest.Provider {
	w.Helper()
	outside := deputytest.NewProvider(w, w.clock.Now)
	now := w.clock.Now()
	id, client := deputy.ProviderID(w.id()), deputytest.ProviderClientID
	place := vault.Place{Zone: w.zone.ID, Table: "providers", Column: "sealed_secret", Row: string(id)}
	secret, err := w.vault.Seal(context.Background(), w.zone.KeyID, place, []byte(deputytest.ProviderClientSecret))
	if err != nil {
		w.Fatal(err)
	}
	p := &deputy.Provider{
		ID: id, OrganizationID: w.organization.ID, ZoneID: w.zone.ID, Owner: deputy.Customer, Slug: "idp", Identifier: outside.URL,
		Name: "Everybody", Type: deputy.ExternalProvider, ClientID: &client, SealedSecret: secret, CreatedAt: now, UpdatedAt: now,
	}
	if set != nil {
		set(p)
	}
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		if err := tx.Providers().Insert(ctx, p); err != nil {
			return err
		}
		_, err := tx.Zones().Update(ctx, deputy.Scope{Organization: w.organization.ID}, deputy.ID(w.zone.ID), func(z *deputy.Zone) error {
			z.UserIdentityProviderID = &p.ID
			return nil
		})
		return err
	})
	return outside
}

// TestAProviderThatKnewThePerson: who was signed in there an hour ago has not
// proved who they are since, whatever brought them here.
func TestAProviderThatKnewThePerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t, both...)
	outside := w.federate(nil)
	then := w.clock.Now().Add(-time.Hour).Unix()
	outside.Says(map[string]any{"auth_time": then})
	b := w.newBrowser()
	code := b.withCode(b.get(b.depart(outside, "scope", "openid"))).query("code")
	a := w.must(w.post(b.client, form("grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", verifier)), 200, "")
	if at := w.payload(a.text("id_token"))["auth_time"]; at != float64(then) {
		t.Errorf("auth_time is %v, want %d", at, then)
	}
	b.refused(b.open(asking(b.client.credential.Identifier, "prompt", "none", "max_age", "60")), "login_required")
	b.withCode(b.open(asking(b.client.credential.Identifier, "prompt", "none", "max_age", "3660")))
	// A clock that is ahead makes nobody younger than they are.
	outside.Says(map[string]any{"auth_time": w.clock.Now().Add(time.Hour).Unix()})
	b.withCode(b.get(b.depart(outside, "prompt", "login")))
	w.clock.advance(2 * time.Minute)
	b.refused(b.open(asking(b.client.credential.Identifier, "prompt", "none", "max_age", "60")), "login_required")
}

// depart sends the browser to the provider and returns the address that the
// provider sends it back to.
func (b *browser) depart(outside *deputytest.Provider, more ...string) (back string) {
	b.Helper()
	p := b.follow(b.begin(more...))
	if p.location == nil || !strings.HasPrefix(p.location.String(), outside.URL+"/authorize?") {
		b.Fatalf("the browser is at %d %v", p.status, p.location)
	}
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := c.Get(p.location.String())
	if err != nil {
		b.Fatal(err)
	}
	answer.Body.Close()
	back, ok := strings.CutPrefix(answer.Header.Get("Location"), b.issuer())
	if !ok {
		b.Fatalf("the provider sends the browser to %s", answer.Header.Get("Location"))
	}
	return back
}

func TestSignInThroughTheProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim := "employee"
	outside := w.federate(func(p *deputy.Provider) {
		p.OpenID = &deputy.ProviderOpenID{UserIdentifierClaim: &claim, Scopes: []string{"groups", "openid"}}
		p.OAuth2 = &deputy.ProviderOAuth2{AuthorizationParameters: map[string]string{"hd": "example.test", "state": "stolen", "redirect_uri": "https://evil.test"}}
	})
	outside.Says(map[string]any{"sub": "248289", "email": adaMail, "email_verified": true, "employee": "ada"})
	b := w.newBrowser()
	b.withCode(b.get(b.depart(outside, "login_hint", adaMail, "max_age", "60", "prompt", "select_account")))
	q := outside.Asked()
	for name, want := range map[string]string{
		"tenant": "one", "response_type": "code", "scope": "openid profile email groups", "code_challenge_method": "S256", "hd": "example.test",
		"login_hint": adaMail, "max_age": "60", "prompt": "select_account", "redirect_uri": w.issuer() + "/oauth/2/redirect",
	} {
		if got := q[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	if len(q.Get("state")) < 43 || len(q.Get("nonce")) < 43 || q.Get("state") == q.Get("nonce") || q.Get("state") == "stolen" {
		t.Errorf("state %q and nonce %q", q.Get("state"), q.Get("nonce"))
	}
	u := w.onlyUser()
	if u.Identifier != "ada" || u.Email != adaMail || !u.EmailVerified || *u.Issuer != outside.URL || *u.Subject != "248289" || u.ProviderID == nil {
		t.Errorf("the person is %+v", u)
	}
	// Once more, by another name: it is who it was, and is called the same.
	outside.Says(map[string]any{"sub": "248289", "email": "countess@example.test", "email_verified": "true", "employee": "countess"})
	other := w.newBrowser()
	other.client = b.client
	other.withCode(other.get(other.depart(outside)))
	if u := w.onlyUser(); u.Identifier != "ada" || u.Email != "countess@example.test" {
		t.Errorf("the person is %+v", u)
	}
	// A new key is looked up once.
	outside.RotateKey()
	w.clock.advance(2 * time.Minute)
	again := w.newBrowser()
	again.client = b.client
	again.withCode(again.get(again.depart(outside)))
	if n := len(w.events("users:create")); n != 1 {
		t.Errorf("%d people were made", n)
	}
}

func TestAnAddressJoinsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedUp()
	outside := w.federate(nil)
	outside.Says(map[string]any{"sub": "somebody else", "email": adaMail, "email_verified": true})
	other := w.newBrowser()
	other.client = b.client
	other.withCode(other.get(other.depart(outside)))
	page, err := w.store.Users().List(context.Background(), w.in(), deputy.Query{All: true})
	if err != nil || len(page.Items) != 2 {
		t.Errorf("%d people: %v", len(page.Items), err)
	}
	// The zone's own passwords sign nobody in any more.
	third := w.newBrowser()
	third.client = b.client
	third.begin()
	if p := third.get("/login/password"); p.status == 200 {
		t.Error("the zone still asks for passwords")
	}
}

// TestTheProviderIsNotBelieved gives answers that must not sign anybody in.
func TestTheProviderIsNotBelieved(t *testing.T) {
	t.Parallel()
	past := noon.Add(-time.Hour).Unix()
	for name, c := range map[string]struct {
		claims map[string]any
		answer url.Values
		iss    string // in place of that of a good answer
	}{
		"another issuer":             {claims: map[string]any{"iss": "https://evil.test"}},
		"another audience":           {claims: map[string]any{"aud": "somebody"}},
		"several, and no azp":        {claims: map[string]any{"aud": []string{deputytest.ProviderClientID, "somebody"}}},
		"another azp":                {claims: map[string]any{"azp": "somebody"}},
		"another nonce":              {claims: map[string]any{"nonce": "another"}},
		"no nonce":                   {claims: map[string]any{"nonce": ""}},
		"no sub":                     {claims: map[string]any{"sub": ""}},
		"over":                       {claims: map[string]any{"exp": past}},
		"no end":                     {claims: map[string]any{"exp": nil}},
		"from the future":            {claims: map[string]any{"iat": noon.Add(time.Hour).Unix()}},
		"too long ago":               {claims: map[string]any{"auth_time": past}},
		"when is not said":           {claims: map[string]any{"auth_time": nil}},
		"an error":                   {answer: url.Values{"error": {"access_denied"}, "iss": {"ISSUER"}}},
		"no code":                    {answer: url.Values{"iss": {"ISSUER"}}},
		"an unknown code":            {answer: url.Values{"code": {"x"}, "iss": {"ISSUER"}}},
		"an answer of another":       {answer: url.Values{"code": {"x"}, "iss": {"https://evil.test"}}},
		"an answer that says no iss": {answer: url.Values{"code": {"x"}}},
		"a good answer of another":   {iss: "https://evil.test"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			outside := w.federate(nil)
			if c.answer != nil {
				if c.answer.Get("iss") == "ISSUER" {
					c.answer.Set("iss", outside.URL)
				}
				outside.Answers(c.answer)
			}
			outside.Says(c.claims)
			b := w.newBrowser()
			back := b.depart(outside, "max_age", "60")
			if path, query, _ := strings.Cut(back, "?"); c.iss != "" {
				q, _ := url.ParseQuery(query)
				q.Set("iss", c.iss)
				back = path + "?" + q.Encode()
			}
			p := b.says(b.get(back), 400, "The sign-in did not work")
			if strings.Contains(p.body, "evil.test") {
				t.Error("the page shows what a stranger wrote")
			}
			if r := b.fill(p, "/login/cancel"); r.query("error") != "access_denied" {
				t.Errorf("the client hears %v", r.location)
			}
			events := w.events("users:login")
			if len(events) != 1 || events[0].Outcome != deputy.Failure {
				t.Errorf("%d events", len(events))
			}
			if n := len(w.events("users:create")); n != 0 {
				t.Error("somebody was made")
			}
		})
	}
}

// TestAnAddressNobodyChecked: what a person could have typed in at the provider
// is not what they are called here, nor what policies and tokens show of them.
func TestAnAddressNobodyChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, both...)
	claim := "email"
	outside := w.federate(func(p *deputy.Provider) { p.OpenID = &deputy.ProviderOpenID{UserIdentifierClaim: &claim} })
	b := w.newBrowser()
	outside.Says(map[string]any{"sub": "1", "email": adaMail, "email_verified": false})
	b.says(b.get(b.depart(outside)), 400, "No account for you here")

	outside.Says(map[string]any{"sub": "1", "email": adaMail, "email_verified": true})
	again := w.newBrowser()
	again.client = b.client
	again.withCode(again.get(again.depart(outside)))
	if u := w.onlyUser(); u.Identifier != adaMail || u.Email != adaMail {
		t.Errorf("the person is %+v", u)
	}
	for _, no := range []any{false, "false"} { // she has typed in another
		outside.Says(map[string]any{"sub": "1", "email": "ceo@example.test", "email_verified": no})
		code := again.withCode(again.get(again.depart(outside, "scope", "openid email", "prompt", "login"))).query("code")
		if u := w.onlyUser(); u.Identifier != adaMail || u.Email != "" || u.EmailVerified {
			t.Errorf("the person is %+v", u)
		}
		a := w.must(w.post(again.client, form("grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", verifier)), 200, "")
		for _, token := range []string{"access_token", "id_token"} {
			if email, ok := w.payload(a.text(token))["email"].(string); ok && email != "" {
				t.Errorf("the %s says %q", token, email)
			}
		}
	}
}

func TestTheStateIsGoodOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	outside := w.federate(nil)
	b := w.newBrowser()
	back := b.depart(outside)
	stolen := w.newBrowser()
	stolen.says(stolen.get(back), 400, "Please start again")
	b.says(b.get(strings.Replace(back, "state=", "state=x", 1)), 400, "Please start again")
	was := make(map[string]string)
	for name, value := range b.cookies {
		was[name] = value
	}
	b.withCode(b.get(back))
	b.says(b.get(back), 400, "Please start again")
	stolen.cookies = was
	stolen.says(stolen.get(back), 400, "Please start again")
	late := w.newBrowser()
	late.client = b.client
	back = late.depart(outside)
	w.clock.advance(11 * time.Minute)
	late.says(late.get(back), 400, "Please start again")
	if n := outside.Redeemed(); n != 1 {
		t.Errorf("%d codes were redeemed", n)
	}
}

// TestTheStateIsGoodForOne: of requests that bring it at the same time, one goes on.
func TestTheStateIsGoodForOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	outside := w.federate(nil)
	b := w.newBrowser()
	back := b.depart(outside)
	pages := make([]*page, 4)
	w.gather(deputy.LoginTicket, len(pages))
	var wait sync.WaitGroup
	for i := range pages {
		same := w.newBrowser()
		same.cookies = maps.Clone(b.cookies)
		wait.Go(func() { pages[i] = same.get(back) })
	}
	wait.Wait()
	codes := 0
	for _, p := range pages {
		if p.query("code") != "" {
			codes++
		}
	}
	if n := outside.Redeemed(); codes != 1 || n != 1 {
		t.Errorf("%d codes for the client, %d of the provider were redeemed", codes, n)
	}
}

// TestAnAnswerInAForm comes from another site, without a cookie, and is sent
// around once.
func TestAnAnswerInAForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	outside := w.federate(nil)
	b := w.newBrowser()
	back, err := url.Parse(b.depart(outside))
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/z/"+string(w.zone.ID)+back.Path, strings.NewReader(back.RawQuery+"&more=x"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rec := httptest.NewRecorder()
	w.server.ServeHTTP(rec, r)
	to, _ := strings.CutPrefix(rec.Header().Get("Location"), w.issuer())
	if rec.Code != 303 || strings.Contains(to, "more=") {
		t.Fatalf("%d %s", rec.Code, rec.Header().Get("Location"))
	}
	b.withCode(b.get(to))
}

func TestAnIdentifierThatIsTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim := "name"
	outside := w.federate(func(p *deputy.Provider) { p.OpenID = &deputy.ProviderOpenID{UserIdentifierClaim: &claim} })
	b := w.newBrowser()
	outside.Says(map[string]any{"sub": "1", "name": "ada"})
	b.withCode(b.get(b.depart(outside)))
	outside.Says(map[string]any{"sub": "2", "name": "ada"})
	other := w.newBrowser()
	other.client = b.client
	other.says(other.get(other.depart(outside)), 400, "No account for you here")
	w.onlyUser()
	// Disabled, she is told so whatever the provider says.
	w.setStatus(w.onlyUser(), deputy.UserDisabled)
	outside.Says(map[string]any{"sub": "1", "name": "ada"})
	third := w.newBrowser()
	third.client = b.client
	third.says(third.get(third.depart(outside)), 403, "You cannot sign in")
}
