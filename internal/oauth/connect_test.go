package oauth_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
)

// targets returns what a client's token names as targets.
func (g *guarded) targets(p *page) []any {
	g.Helper()
	a := g.must(g.post(g.agent, form(
		"grant_type", "authorization_code", "code", g.browser.answered(p), "redirect_uri", callback, "code_verifier", verifier,
	)), 200, "")
	list, _ := g.payload(a.text("access_token"))["target"].([]any)
	return list
}

func TestSeveralProviders(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	second := deputytest.NewUpstream(t)
	mail := g.newGuarded("https://mail.test", g.newProvider(second))
	g.depend(g.server, mail)
	g.depend(g.agent, g.newVaulted("urn:vaulted", map[string]string{"type": "token", "token": "kept"}).Resource)
	p := g.arrive("resource", g.api.Identifier)
	p = g.browser.get(g.browser.outside(g.browser.leaves(p)))
	if g.upstream.Asked() == nil || len(second.Forms()) != 0 {
		t.Error("the providers are not asked in the order of the dependencies")
	}
	p = g.browser.connect(p)
	if got := g.targets(p); !slices.Equal(got, []any{g.api.Identifier, "urn:vaulted", g.files.Identifier, "https://mail.test"}) {
		t.Errorf("the targets are %v", got)
	}
	for _, r := range []string{g.files.Identifier, "https://mail.test"} {
		g.must(g.exchange(g.server, g.subject(), r), 200, "")
	}
	// The next time nobody is asked.
	before := len(g.upstream.Forms())
	g.browser.answered(g.browser.visit(g.arrive()))
	if len(g.upstream.Forms()) != before {
		t.Error("the person was sent to the provider again")
	}
	// Unless there is more to ask for.
	g.setResource(g.files, func(r *deputy.Resource) { r.Scopes = append(r.Scopes, "files.delete") })
	was := g.grant()
	g.browser.answered(g.browser.connect(g.arrive()))
	if now := g.grant(); now.ID != was.ID || !slices.Contains(now.Scopes, "files.delete") || g.upstream.Asked().Get("scope") != "files.read files.write files.delete" {
		t.Errorf("the grant is %+v", now)
	}
}

func TestProviderThatRefuses(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.upstream.Deny = "access_denied"
	p := g.arrive()
	p = g.browser.visit(g.browser.get(g.browser.outside(g.browser.leaves(p))))
	if p.status != 200 || !strings.Contains(p.body, `value="retry"`) || !strings.Contains(p.body, `value="skip"`) || strings.Contains(p.body, "http-equiv") {
		t.Fatalf("the browser is at %d %s", p.status, p.body)
	}
	if e := g.events("delegated_grants:create"); len(e) != 1 || e[0].Outcome != deputy.Failure || !strings.Contains(e[0].ErrorDetail, "access_denied") || e[0].UserID != g.user.ID {
		t.Errorf("the events are %+v", e)
	}
	answer := func(action string) *page {
		_, rest, _ := strings.Cut(p.body, `name="csrf_token" value="`)
		token, _, _ := strings.Cut(rest, `"`)
		return g.browser.send("/login/connect", form("csrf_token", token, "action", action))
	}
	if forged := g.browser.send("/login/connect", form("action", "skip")); forged.location != nil {
		t.Errorf("a form of another site is taken: %v", forged.location)
	}
	g.upstream.Deny = ""
	retried := answer("retry")
	g.upstream.Interfere = func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(500); return true }
	p = g.browser.connect(retried) // the person agrees, and the code does not redeem
	skipped := g.browser.visit(answer("skip"))
	if got := g.targets(skipped); !slices.Equal(got, []any{g.api.Identifier}) {
		t.Errorf("the targets are %v", got)
	}
	g.must(g.exchangeFiles(), 400, "insufficient_authorization")
	// Skipped once is not skipped for ever.
	g.upstream.Interfere = nil
	g.browser.answered(g.browser.connect(g.arrive()))
	g.must(g.exchangeFiles(), 200, "")
}

func TestWithoutThePersonNobodyIsConnected(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.arrive()
	g.browser.refused(g.browser.open(asking(g.agent.credential.Identifier, "prompt", "none", "resource", g.front.Identifier)), "interaction_required")
}

// TestAnswersOfProviders: only the answer to the browser's own request, while it
// is waited for, for the one who left, and from the server that was asked.
func TestAnswersOfProviders(t *testing.T) {
	t.Parallel()
	back := func(g *guarded) (address string, q url.Values) {
		address = g.browser.outside(g.browser.leaves(g.arrive()))
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		return u.Path, u.Query()
	}
	for name, wrong := range map[string]func(g *guarded, q url.Values){
		"no state":      func(_ *guarded, q url.Values) { q.Del("state") },
		"another state": func(_ *guarded, q url.Values) { q.Set("state", deputy.NewSecret().Reveal()) },
		"too late":      func(g *guarded, _ url.Values) { g.clock.advance(10 * time.Minute) },
		"another browser": func(g *guarded, _ url.Values) {
			g.browser = g.newBrowser()
			g.browser.open(asking(g.agent.credential.Identifier))
			g.browser.act("sign in", g.newUser("eve@example.test"))
		},
		"no browser": func(g *guarded, _ url.Values) { g.browser = g.newBrowser() },
		"another person": func(g *guarded, _ url.Values) {
			g.browser.act("sign in", g.newUser("eve@example.test"))
		},
		"another issuer": func(_ *guarded, q url.Values) { q.Set("iss", "https://evil.test") },
		"no issuer":      func(_ *guarded, q url.Values) { q.Del("iss") },
		"no code":        func(_ *guarded, q url.Values) { q.Del("code") },
		"another provider now": func(g *guarded, _ url.Values) {
			other := g.newProvider(deputytest.NewUpstream(g))
			g.setResource(g.files, func(r *deputy.Resource) { r.CredentialProviderID = &other.ID })
		},
		"no such resource now": func(g *guarded, _ url.Values) {
			g.write(g.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
				return tx.Resources().Delete(ctx, g.in(), deputy.ID(g.files.ID))
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGuarded(t)
			path, q := back(g)
			wrong(g, q)
			p := g.browser.get(path + "?" + q.Encode())
			if p.query("code") != "" || len(g.upstream.Forms()) != 0 {
				t.Errorf("the browser is at %d %v, the provider was asked %v", p.status, p.location, g.upstream.Forms())
			}
			page, err := g.store.Grants().List(context.Background(), g.in(), deputy.Query{Where: []deputy.Filter{
				{Fields: []string{"resource_id"}, Values: []string{string(g.files.ID)}},
			}})
			if err != nil || len(page.Items) != 0 {
				t.Errorf("there are grants: %v, %v", page.Items, err)
			}
		})
	}
	t.Run("twice", func(t *testing.T) {
		g := newGuarded(t)
		path, q := back(g)
		cookies := make(map[string]string)
		for name, value := range g.browser.cookies {
			cookies[name] = value
		}
		g.browser.answered(g.browser.visit(g.browser.get(path + "?" + q.Encode())))
		g.browser.get(path + "?" + q.Encode())
		g.browser.cookies = cookies
		g.browser.get(path + "?" + q.Encode())
		if n := len(g.upstream.Forms()); n != 1 {
			t.Errorf("the answer was taken %d times", n)
		}
	})
	t.Run("by a form", func(t *testing.T) { // which brings no cookies along from another site
		g := newGuarded(t)
		path, q := back(g)
		g.browser.answered(g.browser.visit(g.browser.send(path, q)))
	})
}

// TestARefreshTokenGoesOnForTheSameAccount: a provider that gives no refresh token
// again means the one it gave before, if the person is at the same account there.
func TestARefreshTokenGoesOnForTheSameAccount(t *testing.T) {
	t.Parallel()
	said := func(sub string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://elsewhere.test","sub":"`+sub+`"}`)) + ".c2ln"
	}
	for name, c := range map[string]struct {
		first, then string // ID tokens
		kept        bool
	}{
		"the same":       {said("one"), said("one"), true},
		"another":        {said("one"), said("two"), false},
		"unknown":        {"", "", false},
		"unknown now":    {said("one"), "", false},
		"unknown before": {"", said("one"), false},
		"no token":       {"a.b.c", "a.b.c", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGuarded(t)
			says := func(idToken string, refresh bool) {
				g.upstream.Shape = func(answer map[string]any) any {
					if idToken != "" {
						answer["id_token"] = idToken
					}
					if !refresh {
						delete(answer, "refresh_token")
					}
					return answer
				}
			}
			says(c.first, true)
			g.allow()
			says("", true) // a refresh need not say it again
			g.clock.advance(g.grant().ExpiresAt.Sub(g.clock.Now()))
			g.must(g.exchangeFiles(), 200, "")
			had := g.grant()
			says(c.then, false)
			g.setResource(g.files, func(r *deputy.Resource) { r.Scopes = append(r.Scopes, "files.more") })
			g.allow()
			now := g.grant()
			if now.ID != had.ID || !had.RefreshTokenSet || now.RefreshTokenSet != c.kept || cmp.Equal(now.Scopes, had.Scopes) {
				t.Errorf("the grant is %+v", now)
			}
		})
	}
}

// TestAuthorizeOneResource: the way that error_uri shows finishes the job.
func TestAuthorizeOneResource(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.change(g.server, func(a *deputy.Application) { a.Consent = deputy.RequiredConsent })
	g.depend(g.server, g.newGuarded("https://other.test", g.newProvider(deputytest.NewUpstream(t))))
	g.user = g.newUser("zoe@example.test")
	g.browser = g.newBrowser()
	g.browser.open(asking(g.agent.credential.Identifier, "resource", g.api.Identifier))
	g.browser.act("sign in", g.user)
	subject := g.subject()
	a := g.must(g.exchange(g.server, subject, g.files.Identifier, "scope", "files.read"), 400, "insufficient_authorization")
	way, ok := strings.CutPrefix(a.text("error_uri"), g.issuer())
	if !ok {
		t.Fatal(a)
	}
	p := g.browser.visit(g.browser.get(way))
	if p.status != 200 || !strings.Contains(p.body, g.files.Name) || strings.Contains(p.body, "other.test") || len(g.upstream.Forms()) != 0 {
		t.Fatalf("the browser is at %d %s", p.status, p.body)
	}
	fields := func(name string) string {
		_, rest, _ := strings.Cut(p.body, `name="`+name+`" value="`)
		value, _, _ := strings.Cut(rest, `"`)
		return value
	}
	approved := g.browser.send("/login/consent", form("csrf_token", fields("csrf_token"), "shown", fields("shown"), "action", "approve"))
	p = g.browser.connect(approved)
	if p.status != 200 || !strings.Contains(p.body, "Access allowed") {
		t.Fatalf("the browser is at %d %v %s", p.status, p.location, p.body)
	}
	g.must(g.exchange(g.server, subject, g.files.Identifier, "scope", "files.read files.write"), 200, "") // the same token as before
	// Who does not go through with it has authorized nothing.
	g.upstream.Deny = "access_denied"
	g.setResource(g.files, func(r *deputy.Resource) { r.Scopes = []string{"files.more"} })
	p = g.browser.visit(g.browser.get(way))
	approved = g.browser.send("/login/consent", form("csrf_token", fields("csrf_token"), "shown", fields("shown"), "action", "approve"))
	p = g.browser.visit(g.browser.get(g.browser.outside(g.browser.leaves(approved))))
	p = g.browser.send("/login/connect", form("csrf_token", fields("csrf_token"), "action", "skip"))
	g.browser.shown(p, "access_denied")
	g.must(g.exchange(g.server, subject, g.files.Identifier, "scope", "files.more"), 400, "insufficient_authorization")
}

func TestDeputyRegistersAtAProvider(t *testing.T) {
	t.Parallel()
	r := newRelay(t)
	g := &guarded{relay: r, upstream: deputytest.NewUpstream(t)}
	g.upstream.Clients = true
	g.provider = g.newProvider(g.upstream, func(p *deputy.Provider) { p.ClientID, p.SealedSecret = nil, nil })
	g.files = g.newGuarded("https://files.test", g.provider)
	g.depend(g.server, g.files)
	g.change(g.agent, func(a *deputy.Application) { a.RedirectURIs = []string{callback} })
	g.allow()
	g.must(g.exchangeFiles(), 200, "")
	p, err := g.store.Providers().Get(context.Background(), g.in(), deputy.ID(g.provider.ID))
	if err != nil || p.ClientID == nil || len(p.SealedSecret) == 0 || *p.ClientID != g.upstream.Asked().Get("client_id") {
		t.Errorf("the provider is %+v, %v", p, err)
	}
	was := *p.ClientID
	g.user = g.newUser("ann@example.test")
	g.allow()
	if got := g.upstream.Asked().Get("client_id"); got != was || len(g.events("providers:register")) != 1 {
		t.Errorf("registered again, as %s", got)
	}
}

func TestProviderThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	g := newGuarded(t, func(p *deputy.Provider) { p.ClientID = nil }) // and it takes nobody
	p := g.browserAt(g.arrive())
	if p.status != 200 || !strings.Contains(p.body, `value="skip"`) {
		t.Errorf("the browser is at %d %s", p.status, p.body)
	}
}

// browserAt follows the browser to what it is shown.
func (g *guarded) browserAt(p *page) *page {
	g.Helper()
	return g.browser.visit(p)
}

// TestRevokedHereIsRevokedThere: whoever ends a grant ends it at the provider.
func TestRevokedHereIsRevokedThere(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*guarded, *deputy.Grant){
		"revoked": func(g *guarded, x *deputy.Grant) {
			g.write(g.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
				_, err := tx.Grants().Update(ctx, g.in(), x.ID, func(x *deputy.Grant) error {
					x.Status = deputy.Revoked
					return nil
				})
				return err
			})
		},
		"deleted": func(g *guarded, x *deputy.Grant) {
			g.write(g.zone.ID, func(ctx context.Context, tx deputy.Tx) error { return tx.Grants().Delete(ctx, g.in(), x.ID) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuarded(t)
			g.allow()
			token := g.must(g.exchangeFiles(), 200, "").text("access_token")
			end(g, g.grant())
			g.must(g.exchangeFiles(), 400, "insufficient_authorization")
			if g.withdraw() != 1 || g.upstream.Known(token) || len(g.upstream.Revoked()) != 2 {
				t.Errorf("revoked at the provider: %v", g.upstream.Revoked())
			}
			if e := g.events("delegated_grants:withdraw"); len(e) != 1 || e[0].Outcome != deputy.Success {
				t.Errorf("the events are %+v", e)
			}
		})
	}
	t.Run("at a provider without a way to", func(t *testing.T) {
		g := newGuarded(t, func(p *deputy.Provider) {
			authorize, token := p.Identifier+"/authorize", p.Identifier+"/token"
			p.OAuth2.AuthorizationEndpoint, p.OAuth2.TokenEndpoint = &authorize, &token
		})
		g.upstream.Bare = true
		g.allow()
		g.write(g.zone.ID, func(ctx context.Context, tx deputy.Tx) error { return tx.Grants().Delete(ctx, g.in(), g.grant().ID) })
		if e := g.events("delegated_grants:withdraw"); g.withdraw() != 1 || len(e) != 0 {
			t.Error(e)
		}
		if e := g.events("delegated_grants:withdraw"); len(e) != 1 || e[0].Outcome != deputy.Failure {
			t.Errorf("the events are %+v", e)
		}
	})
}

// withdraw does the tasks that revoke at providers, and returns how many there
// were.
func (g *guarded) withdraw() (n int) {
	g.Helper()
	ctx := context.Background()
	tasks, err := g.store.ClaimTasks(ctx, []string{deputy.TaskRevokeGrant}, 10, time.Minute)
	if err != nil {
		g.Fatal(err)
	}
	for _, task := range tasks {
		if err := g.world.server.Withdraw(ctx, task); err != nil {
			g.Fatal(err)
		}
	}
	return len(tasks)
}
