package oauth_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

// benchWorld is a realistic zone: a thousand resources, as many applications
// as said, a hundred policies of which five apply, ES256.
type benchWorld struct {
	*world
	apps      []*app
	resources []*deputy.Resource
}

func newBenchWorld(b *testing.B, applications int) *benchWorld {
	b.Helper()
	w := &benchWorld{world: newWorld(b)}
	now := w.clock.Now()
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.Zones().Update(ctx, deputy.Scope{Organization: w.organization.ID}, deputy.ID(w.zone.ID), func(z *deputy.Zone) error {
			z.SigningAlg = "ES256"
			return nil
		})
		return err
	})
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		for n := range 1000 {
			r := &deputy.Resource{
				ID: deputy.ResourceID(w.id()), OrganizationID: w.organization.ID, ZoneID: w.zone.ID, Owner: deputy.Customer,
				Slug: fmt.Sprintf("r%d", n), Identifier: fmt.Sprintf("https://api-%d.test/mcp", n), Name: fmt.Sprintf("API %d", n),
				ApplicationType: deputy.Web, CredentialProviderID: &w.sts.ID, Scopes: []string{"read", "write"}, CreatedAt: now, UpdatedAt: now,
			}
			w.resources = append(w.resources, r)
			if err := tx.Resources().Insert(ctx, r); err != nil {
				return err
			}
		}
		return nil
	})
	for start := 0; start < applications; start += 1000 {
		w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
			for n := start; n < min(start+1000, applications); n++ {
				if err := w.insertApp(ctx, tx, n); err != nil {
					return err
				}
			}
			return nil
		})
	}
	texts := make(map[string]string)
	var order []string
	managed, err := policy.Defaults(policy.DefaultSchema)
	if err != nil {
		b.Fatal(err)
	}
	add := func(name, text string) { order, texts[name] = append(order, name), text }
	for _, m := range managed {
		add(m.Name, m.Text)
	}
	for n := range 95 {
		add(fmt.Sprintf("other-%d", n), fmt.Sprintf(`forbid (principal, action, resource == Keycard::Resource::"%s") when { principal is Keycard::Application && principal.traits.contains("gateway") };`, w.resources[900+n].ID))
	}
	add("open-1", `forbid (principal is Keycard::Application, action, resource) when { principal.traits.contains("mcp-provider") && context.impersonate };`)
	add("open-2", `forbid (principal is Keycard::Application, action, resource) when { resource.name == "nothing" };`)
	w.activate(w.zone, "bench", order, texts)
	return w
}

func (w *benchWorld) insertApp(ctx context.Context, tx deputy.Tx, n int) error {
	now := w.clock.Now()
	a := &deputy.Application{
		ID: deputy.ApplicationID(w.id()), OrganizationID: w.organization.ID, ZoneID: w.zone.ID, Owner: deputy.Customer,
		Slug: fmt.Sprintf("a%d", n), Identifier: fmt.Sprintf("urn:app:%d", n), Name: fmt.Sprintf("Agent %d", n),
		Consent: deputy.ImplicitConsent, CreatedAt: now, UpdatedAt: now,
	}
	if err := tx.Applications().Insert(ctx, a); err != nil {
		return err
	}
	secret := deputy.NewSecret()
	c := &deputy.Credential{
		ID: deputy.CredentialID(w.id()), OrganizationID: a.OrganizationID, ZoneID: a.ZoneID, ApplicationID: a.ID,
		Slug: fmt.Sprintf("c%d", n), Type: deputy.PasswordCredential, Identifier: deputy.NewClientID(),
		SecretHash: deputy.HashSecret(secret), CreatedAt: now, UpdatedAt: now,
	}
	if err := tx.Credentials().Insert(ctx, c); err != nil {
		return err
	}
	w.apps = append(w.apps, &app{a, c, secret.Reveal()})
	return tx.Dependencies().Insert(ctx, &deputy.Dependency{
		ZoneID: w.zone.ID, ApplicationID: a.ID, ResourceID: w.resources[n%900].ID, CreatedAt: now,
	})
}

// discard is a response of which only the status counts.
type discard struct {
	header http.Header
	status int
	size   int
}

func (d *discard) Header() http.Header  { return d.header }
func (d *discard) WriteHeader(code int) { d.status = code }
func (d *discard) Write(b []byte) (int, error) {
	d.size += len(b)
	return len(b), nil
}

// run sends prepared forms through the handler, each n-th of them by turns.
func (w *benchWorld) run(b *testing.B, apps []*app, forms []string) {
	u := &url.URL{Path: "/z/" + string(w.zone.ID) + "/oauth/2/token"}
	headers := make([]http.Header, len(apps))
	for n, a := range apps {
		r := &http.Request{Header: http.Header{}}
		r.SetBasicAuth(a.credential.Identifier, a.secret)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("User-Agent", "bench/1")
		headers[n] = r.Header
	}
	send := func(n int) {
		body := forms[n%len(forms)]
		r := (&http.Request{
			Method: "POST", URL: u, Host: "deputy.test", Header: headers[n%len(apps)], RemoteAddr: "192.0.2.7:1234",
			Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
		}).WithContext(b.Context())
		rec := &discard{header: make(http.Header, 8), status: 200}
		w.server.ServeHTTP(rec, r)
		if rec.status != 200 {
			again := httptest.NewRecorder()
			r.Body = io.NopCloser(strings.NewReader(body))
			w.server.ServeHTTP(again, r)
			b.Errorf("request %d: %d %s", n, again.Code, again.Body)
		}
	}
	for n := range apps {
		send(n)
	}
	var next atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			send(int(next.Add(1)))
		}
	})
}

func BenchmarkClientCredentials(b *testing.B) {
	const applications = 2000
	w := newBenchWorld(b, applications)
	forms := make([]string, applications)
	for n := range forms {
		forms[n] = "grant_type=client_credentials&scope=read&resource=" + url.QueryEscape(w.resources[n%900].Identifier)
	}
	w.run(b, w.apps, forms)
}

// BenchmarkExchange exchanges an agent's own token; the tokens of all agents
// are in use, so every one is remembered.
func BenchmarkExchange(b *testing.B) {
	const applications = 2000
	w := newBenchWorld(b, applications)
	server := w.newApp("server")
	front := w.newResource("https://front.test/mcp", func(r *deputy.Resource) { r.ApplicationID = &server.ID })
	now := w.clock.Now()
	w.clock.advance(1e9)
	forms := make([]string, applications)
	for n, a := range w.apps {
		token := w.sign(deputy.ES256, "at+jwt", map[string]any{
			"iss": w.issuer(), "sub": a.Identifier, "aud": front.Identifier, "iat": now.Unix(), "exp": now.Unix() + 3600, "jti": string(w.id()),
			"client_id": a.credential.Identifier, "sub_profile": "app", "keycard_app_id": a.Identifier,
		})
		forms[n] = form("grant_type", exchangeGrantType, "subject_token", token, "subject_token_type", accessTokenType,
			"resource", w.resources[n%900].Identifier, "scope", "read").Encode()
	}
	servers := make([]*app, applications)
	for n := range servers {
		servers[n] = server
	}
	w.run(b, servers, forms)
}

// BenchmarkExchangeBrokered exchanges a person's token for the fresh one of an
// outside provider, BenchmarkExchangeOfPerson for one of the zone's.
func BenchmarkExchangeBrokered(b *testing.B) { benchmarkPerson(b, true) }

func BenchmarkExchangeOfPerson(b *testing.B) { benchmarkPerson(b, false) }

func benchmarkPerson(b *testing.B, brokered bool) {
	g := newGuarded(b)
	g.allow()
	target := g.api.Identifier
	if brokered {
		target = g.files.Identifier
	}
	w := &benchWorld{world: g.world}
	w.run(b, []*app{g.server}, []string{form(
		"grant_type", exchangeGrantType, "subject_token", g.subject(), "subject_token_type", accessTokenType, "resource", target,
	).Encode()})
}
