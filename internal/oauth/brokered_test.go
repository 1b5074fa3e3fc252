package oauth_test

import (
	"context"
	"html"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/vault"
)

// guarded is a resource that an outside provider guards, and the application
// that is to reach it for people.
type guarded struct {
	*relay
	upstream *deputytest.Upstream
	provider *deputy.Provider
	files    *deputy.Resource
	user     *deputy.User
	browser  *browser
}

// newProvider makes an upstream a provider of the zone.
func (w *world) newProvider(at *deputytest.Upstream, set ...func(*deputy.Provider)) *deputy.Provider {
	w.Helper()
	id, client, now := deputy.ProviderID(w.id()), deputytest.UpstreamClientID, w.clock.Now()
	sealed, err := w.vault.Seal(context.Background(), w.zone.KeyID, vault.ClientSecretPlace(w.zone.ID, id), []byte(deputytest.UpstreamClientSecret))
	if err != nil {
		w.Fatal(err)
	}
	p := &deputy.Provider{
		ID: id, OrganizationID: w.organization.ID, ZoneID: w.zone.ID, Owner: deputy.Customer, Slug: string(id), Identifier: at.URL, Name: "Elsewhere",
		Type: deputy.ExternalProvider, ClientID: &client, SealedSecret: sealed, HasProtocols: true, OAuth2: &deputy.ProviderOAuth2{}, CreatedAt: now, UpdatedAt: now,
	}
	for _, f := range set {
		f(p)
	}
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error { return tx.Providers().Insert(ctx, p) })
	return p
}

func (w *world) newGuarded(identifier string, by *deputy.Provider) *deputy.Resource {
	w.Helper()
	return w.newResource(identifier, func(r *deputy.Resource) {
		r.CredentialProviderID, r.Scopes = &by.ID, []string{"files.read", "files.write"}
	})
}

// newGrant makes a grant of a person with a token that lasts.
func (w *world) newGrant(u *deputy.User, r *deputy.Resource) *deputy.Grant {
	w.Helper()
	now := w.clock.Now()
	g := &deputy.Grant{
		ID: w.id(), OrganizationID: w.organization.ID, ZoneID: w.zone.ID, UserID: u.ID, ResourceID: r.ID, ProviderID: *r.CredentialProviderID,
		Scopes: r.Scopes, Status: deputy.Active, ExpiresAt: now.Add(time.Hour), CreatedAt: now, UpdatedAt: now,
	}
	g.Sealed = w.sealGrant(u, g.ID, "kept")
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error { return tx.Grants().Insert(ctx, g) })
	return g
}

func (w *world) sealGrant(u *deputy.User, id deputy.ID, access string) []byte {
	w.Helper()
	sealed, err := w.vault.Seal(context.Background(), u.KeyID, vault.GrantPlace(w.zone.ID, id), []byte(`{"access_token":"`+access+`"}`))
	if err != nil {
		w.Fatal(err)
	}
	return sealed
}

// guard makes a guarded resource, which the server depends on.
func (r *relay) guard(set ...func(*deputy.Provider)) *guarded {
	r.Helper()
	g := &guarded{relay: r, upstream: deputytest.NewUpstream(r)}
	g.provider = r.newProvider(g.upstream, set...)
	g.files = r.newGuarded("https://files.test", g.provider)
	r.depend(r.server, g.files)
	r.change(r.agent, func(a *deputy.Application) { a.RedirectURIs = []string{callback} })
	return g
}

func newGuarded(t testing.TB, set ...func(*deputy.Provider)) *guarded {
	return newRelay(t).guard(set...)
}

// visit sends the browser where a page leads, as long as that is the zone's, and
// returns the page it ends at: one that is shown, or that sends it elsewhere.
func (b *browser) visit(p *page) *page {
	b.Helper()
	for range 10 {
		if p.location == nil {
			return p
		}
		below, ours := strings.CutPrefix(p.location.String(), b.issuer())
		if !ours {
			return p
		}
		p = b.get(below)
	}
	b.Fatal("the browser is sent around")
	return nil
}

// leaves returns the address that a page sends the browser to by itself.
func (b *browser) leaves(p *page) string {
	b.Helper()
	p = b.visit(p)
	_, rest, ok := strings.Cut(p.body, `content="0;url=`)
	address, _, _ := strings.Cut(rest, `"`)
	if !ok || !strings.Contains(p.body, `<a class="button" href="`+address+`"`) {
		b.Fatalf("the browser is at %d %v %s, want it on its way to a provider", p.status, p.location, p.body)
	}
	return html.UnescapeString(address)
}

// outside goes to an address elsewhere and returns where that sends the browser
// below the issuer.
func (b *browser) outside(address string) (below string) {
	b.Helper()
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := c.Get(address)
	if err != nil {
		b.Fatal(err)
	}
	answer.Body.Close()
	below, ok := strings.CutPrefix(answer.Header.Get("Location"), b.issuer())
	if !ok {
		b.Fatalf("the provider sends the browser to %q", answer.Header.Get("Location"))
	}
	return below
}

// connect takes the browser to a provider and back.
func (b *browser) connect(p *page) *page {
	b.Helper()
	return b.visit(b.get(b.outside(b.leaves(p))))
}

// arrive signs the person in to the client up to what comes after consent.
func (g *guarded) arrive(more ...string) *page {
	g.Helper()
	if g.user == nil {
		g.user = g.newUser("zoe@example.test")
	}
	g.browser = g.newBrowser()
	g.browser.open(asking(g.agent.credential.Identifier, append([]string{"resource", g.front.Identifier}, more...)...))
	return g.browser.act("sign in", g.user)
}

// subject is a token that the person has got at the client.
func (g *guarded) subject() string {
	g.Helper()
	return g.userToken(g.signedIn(), g.agent.credential.Identifier, g.front.Identifier)
}

// signedIn is the person with their newest session.
func (g *guarded) signedIn() *person {
	g.Helper()
	web := g.newestSession(&person{User: g.user})
	return &person{User: g.user, web: web, child: web}
}

// allow signs the person in and lets them authorize everything.
func (g *guarded) allow() *guarded {
	g.Helper()
	g.browser = nil
	p := g.arrive()
	g.browser.answered(g.browser.connect(p))
	return g
}

func (g *guarded) exchangeFiles(more ...string) *answer {
	g.Helper()
	return g.exchange(g.server, g.subject(), g.files.Identifier, more...)
}

// grant returns the newest grant of the person.
func (g *guarded) grant() *deputy.Grant {
	g.Helper()
	page, err := g.store.Grants().List(context.Background(), g.in(), deputy.Query{Where: []deputy.Filter{{Fields: []string{"resource_id"}, Values: []string{string(g.files.ID)}}}})
	if err != nil || len(page.Items) == 0 {
		g.Fatal("no grant", err)
	}
	return page.Items[0]
}

func TestBrokeredToken(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	a := g.must(g.exchange(g.server, g.userToken(g.newPerson("ann@example.test"), g.agent.credential.Identifier, g.front.Identifier), g.files.Identifier), 400, "insufficient_authorization")
	if a.text("error_description") != "User consent is required." || !strings.HasPrefix(a.text("error_uri"), g.issuer()+"/login/authorize?") {
		t.Error(a)
	}
	g.allow()
	q := g.upstream.Asked()
	for name, want := range map[string]string{
		"tenant": "one", "response_type": "code", "client_id": "deputy", "redirect_uri": g.issuer() + "/oauth/2/redirect",
		"scope": "files.read files.write", "code_challenge_method": "S256",
	} {
		if got := q[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	a = g.must(g.exchangeFiles("scope", "files.read"), 200, "")
	token := a.text("access_token")
	if !g.upstream.Good(token) {
		t.Errorf("the provider does not know %s", token)
	}
	delete(a.json, "access_token")
	if in := a.json["expires_in"].(float64); in > 3600 || in < 3590 {
		t.Errorf("expires_in is %v", in)
	}
	delete(a.json, "expires_in")
	if diff := cmp.Diff(map[string]any{
		"issued_token_type": accessTokenType, "token_type": "Bearer", "scope": "files.read files.write", "user_id": string(g.user.ID),
	}, a.json); diff != "" {
		t.Error(diff)
	}
	e, grant := g.lastEvent(), g.grant()
	if *e.Target != (deputy.Target{Type: "delegated_grant", ID: string(grant.ID)}) || e.ProviderID != g.provider.ID || !cmp.Equal(e.ScopesGranted, []string{"files.read"}) || e.JTI != "" {
		t.Errorf("the event is %+v", e)
	}
	if !grant.RefreshTokenSet || grant.Status != deputy.Active || grant.RefreshedAt != nil || !cmp.Equal(grant.Scopes, g.files.Scopes) {
		t.Errorf("the grant is %+v", grant)
	}
	if made := g.events("delegated_grants:create"); len(made) != 1 || made[0].UserID != g.user.ID || made[0].Target.ID != string(grant.ID) {
		t.Errorf("the events are %+v", made)
	}
	// The same one, as long as it lasts.
	if again := g.must(g.exchangeFiles(), 200, ""); again.text("access_token") != token || g.upstream.Refreshes(token) != 0 {
		t.Errorf("again: %s", again)
	}
	// What was declared after the person was asked, they were not asked for.
	g.setResource(g.files, func(r *deputy.Resource) { r.Scopes = append(r.Scopes, "files.delete") })
	g.must(g.exchangeFiles("scope", "files.delete"), 400, "insufficient_authorization")
	g.must(g.exchangeFiles("scope", "files.read"), 200, "")
}

func TestRefreshUpstream(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.allow()
	first := g.must(g.exchangeFiles(), 200, "").text("access_token")
	g.clock.advance(59*time.Minute + 30*time.Second)
	second := g.must(g.exchangeFiles(), 200, "").text("access_token")
	if second == first || !g.upstream.Good(second) || g.upstream.Refreshes(second) != 1 {
		t.Errorf("refreshed %d times to %s", g.upstream.Refreshes(second), second)
	}
	grant := g.grant()
	if grant.RefreshedAt == nil || grant.Status != deputy.Active || !cmp.Equal(grant.Scopes, g.files.Scopes) {
		t.Errorf("the grant is %+v", grant)
	}
	if e := g.events("delegated_grants:refresh"); len(e) != 1 || e[0].UserID != g.user.ID || e[0].Actor.Type != "platform" {
		t.Errorf("the events are %+v", e)
	}
	// A provider that fails is asked once more, then the caller is told to wait.
	fails := 1
	g.upstream.Interfere = func(w http.ResponseWriter, r *http.Request) bool {
		if fails--; fails < 0 {
			return false
		}
		w.WriteHeader(http.StatusBadGateway)
		return true
	}
	g.clock.advance(time.Hour)
	third := g.must(g.exchangeFiles(), 200, "").text("access_token")
	fails = 2
	g.clock.advance(time.Hour)
	if a := g.must(g.exchangeFiles(), 503, "temporarily_unavailable"); a.header.Get("Retry-After") != "1" {
		t.Error(a)
	}
	if grant := g.grant(); grant.Status != deputy.Active {
		t.Errorf("the grant is %+v", grant)
	}
	fourth := g.must(g.exchangeFiles(), 200, "").text("access_token")
	if g.upstream.Refreshes(fourth) != 3 || fourth == third {
		t.Errorf("refreshed %d times", g.upstream.Refreshes(fourth))
	}
	// An answer that is lost is not the end.
	lose := true
	g.upstream.Lose = func(*http.Request) bool { defer func() { lose = false }(); return lose }
	g.clock.advance(time.Hour)
	if a := g.exchangeFiles(); a.status != 200 {
		g.must(a, 503, "temporarily_unavailable")
		g.must(g.exchangeFiles(), 200, "")
	}
	// The provider's word is.
	g.upstream.End()
	g.clock.advance(time.Hour)
	g.must(g.exchangeFiles(), 400, "insufficient_authorization")
	over := g.grant()
	if over.Status != deputy.Expired || over.Sealed != nil {
		t.Errorf("the grant is %+v", over)
	}
	if e := g.events("delegated_grants:expire"); len(e) != 1 || !strings.Contains(e[0].ErrorDetail, "invalid_grant") {
		t.Errorf("the events are %+v", e)
	}
	g.must(g.exchangeFiles(), 400, "insufficient_authorization")
	// The person can authorize again, which makes another grant.
	g.allow()
	g.must(g.exchangeFiles(), 200, "")
	if g.grant().ID == over.ID {
		t.Error("the grant that was over is in use again")
	}
}

func TestTokensThatLastBriefly(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.upstream.ExpiresIn = 20
	g.allow()
	first := g.must(g.exchangeFiles(), 200, "").text("access_token")
	if a := g.must(g.exchangeFiles(), 200, ""); a.text("access_token") != first || a.json["expires_in"].(float64) > 20 {
		t.Errorf("within half of its life: %s", a)
	}
	g.clock.advance(15 * time.Second)
	if a := g.must(g.exchangeFiles(), 200, ""); a.text("access_token") == first {
		t.Errorf("after that: %s", a)
	}
}

func TestTokensWithoutAnEnd(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.upstream.ExpiresIn = 0
	g.upstream.Shape = func(answer map[string]any) any { delete(answer, "refresh_token"); return answer }
	g.allow()
	if a := g.must(g.exchangeFiles(), 200, ""); a.json["expires_in"] != 3600.0 {
		t.Error(a)
	}
	lifetime := 120
	g.setResource(g.files, func(r *deputy.Resource) { r.Lifetime = &lifetime })
	if a := g.must(g.exchangeFiles(), 200, ""); a.json["expires_in"] != 120.0 {
		t.Error(a)
	}
	if grant := g.grant(); grant.RefreshTokenSet || grant.ExpiresAt.Before(noon.Add(50*365*24*time.Hour)) {
		t.Errorf("the grant is %+v", grant)
	}
}

// TestTokenThatCannotBeRefreshed is good until its very end, and then no more.
func TestTokenThatCannotBeRefreshed(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.upstream.Shape = func(answer map[string]any) any { delete(answer, "refresh_token"); return answer }
	g.allow()
	g.clock.advance(g.grant().ExpiresAt.Sub(g.clock.Now()) - 10*time.Second)
	if a := g.must(g.exchangeFiles(), 200, ""); a.json["expires_in"].(float64) > 10 {
		t.Error(a)
	}
	g.clock.advance(10 * time.Second)
	g.must(g.exchangeFiles(), 400, "insufficient_authorization")
	if len(g.upstream.Forms()) != 1 {
		t.Error("the provider was asked for more")
	}
	over := g.grant()
	g.allow()
	g.must(g.exchangeFiles(), 200, "")
	if now := g.grant(); now.ID == over.ID || now.Status != deputy.Active {
		t.Errorf("the grant is %+v", now)
	}
}

// TestScopesThatNobodyNamed: a token for the application has every scope of the
// resource where none is requested, or none that there is, so policy decides
// about them all.
func TestScopesThatNobodyNamed(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.activate(g.zone, "reading", []string{"all", "but"}, map[string]string{
		"all": `permit (principal, action, resource);`,
		"but": `forbid (principal, action, resource) when { context has scopes && context.scopes.contains("files.write") };`,
	})
	for _, scopes := range [][]string{{"scope", "files.write"}, {"scope", "files.other"}, nil} {
		g.must(g.credentialsFor(g.server, g.files.Identifier, scopes...), 400, "access_denied")
	}
	if asked := g.upstream.Forms(); len(asked) != 0 {
		t.Errorf("the provider was asked for what policy forbids: %v", asked)
	}
	g.must(g.credentialsFor(g.server, g.files.Identifier, "scope", "files.read"), 200, "")
}

func TestBrokeredForTheApplication(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	a := g.must(g.credentialsFor(g.server, g.files.Identifier, "scope", "files.read"), 200, "")
	if !strings.HasPrefix(a.text("access_token"), "access-") || a.text("scope") != "files.read" || a.json["expires_in"] != 3600.0 {
		t.Error(a)
	}
	g.must(g.credentialsFor(g.server, g.files.Identifier), 200, "")
	if forms := g.upstream.Forms(); len(forms) != 2 || forms[1].Get("scope") != "files.read files.write" || forms[1].Get("grant_type") != "client_credentials" {
		t.Errorf("asked with %v", forms)
	}
	g.must(g.credentialsFor(g.agent, g.files.Identifier), 400, "access_denied")
	if len(g.upstream.Forms()) != 2 {
		t.Error("the provider was asked for what policy refuses")
	}
	status := http.StatusBadRequest
	g.upstream.Interfere = func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(status); return true }
	g.must(g.credentialsFor(g.server, g.files.Identifier), 400, "invalid_target")
	status = http.StatusServiceUnavailable
	g.must(g.credentialsFor(g.server, g.files.Identifier), 503, "temporarily_unavailable")
	if e := g.lastEvent(); e.Outcome != deputy.Failure || e.Error != "temporarily_unavailable" {
		t.Errorf("the event is %+v", e)
	}
	g.upstream.Close()
	g.must(g.credentialsFor(g.server, g.files.Identifier), 503, "temporarily_unavailable")
}

func TestNothingReadableIsKept(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.allow()
	token := g.must(g.exchangeFiles(), 200, "").text("access_token")
	grant := g.grant()
	if strings.Contains(string(grant.Sealed), token) || len(grant.Sealed) == 0 {
		t.Error("the grant holds the token in the clear")
	}
	// The person's key opens it, and nothing does without.
	if string(grant.Sealed[1:27]) != string(g.user.KeyID) {
		t.Errorf("it is sealed under %s", grant.Sealed[1:27])
	}
	for _, e := range g.events("delegated_grants:create") {
		record, err := g.store.Event(context.Background(), g.organization.ID, g.zone.ID, e.ID)
		if err != nil || strings.Contains(string(record.Bytes), token) {
			t.Errorf("the log has %s, %v", record.Bytes, err)
		}
	}
}
