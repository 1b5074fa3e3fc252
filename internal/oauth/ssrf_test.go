package oauth_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/upstream"
	"deputy/internal/vault"
)

// Every place where a tenant's word becomes an address that is fetched, with
// every address that must not be: no connection is made, which the dialer
// records and a listener on loopback would notice.
func TestNoPlaceFetchesFromInside(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	canary, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepted atomic.Int32
	go func() {
		for {
			conn, err := canary.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			conn.Close()
		}
	}()
	t.Cleanup(func() { canary.Close() })
	_, port, _ := net.SplitHostPort(canary.Addr().String())

	// A site of the tenant's that can be reached says where to go on.
	site := newPublisher(t)
	at := netip.MustParseAddrPort(site.Listener.Addr().String())
	allow, err := upstream.ParseAllow(at.String())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	dials := make(map[netip.AddrPort]int)
	w.config.Fetcher = upstream.New(upstream.Config{Now: w.clock.Now, Allow: allow, Dialed: func(to netip.AddrPort) error {
		mu.Lock()
		defer mu.Unlock()
		dials[to]++
		return nil
	}})
	t.Cleanup(w.config.Fetcher.Close)
	w.restart()

	agent, key := w.newApp("agent"), newOutsideKey("one", "ES256")
	p := w.newPlatform("ES256")
	p.trust(agent, "")
	w.changeProvider(p.provider, func(x *deputy.Provider) { x.Identifier = site.URL; x.OAuth2 = nil })
	assertion := func(iss, sub string) []string {
		now := w.clock.Now()
		return []string{"grant_type", "client_credentials", "client_assertion_type", jwtBearer, "client_assertion", key.token(map[string]any{
			"iss": iss, "sub": sub, "aud": w.issuer(), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		})}
	}
	asked := 0
	ask := func(place, address string, pairs ...string) {
		t.Helper()
		asked++
		if got := w.post(nil, form(pairs...)); got.status != 401 && got.status != 429 {
			t.Errorf("%s at %.60q: %s", place, address, got)
		}
	}
	places := map[string]func(n int, address string){
		"jwks_uri of a credential": func(n int, address string) {
			c := w.insertCredential(agent.Application, deputy.PublicKeyCredential, func(c *deputy.Credential) { c.JWKSURI = address })
			ask("jwks_uri", address, assertion(c.Identifier, c.Identifier)...)
		},
		"metadata document": func(n int, address string) {
			if w.tryCredential(agent.Application, func(x *deputy.Credential) { x.Type, x.Identifier = deputy.URLCredential, address }) == nil {
				ask("document", address, "grant_type", "refresh_token", "refresh_token", "x", "client_id", address)
				ask("document", address, assertion(address, address)...)
			}
		},
		"jwks_uri of a user agent": func(n int, address string) {
			a := &deputy.UserAgent{
				ID: w.id(), OrganizationID: w.organization.ID, ZoneID: w.zone.ID, Slug: "ua", Name: "UA", Identifier: fmt.Sprintf("ua:%064d", n),
				AuthMethod: "private_key_jwt", JWKSURI: address, LastUsedAt: noon, CreatedAt: noon, UpdatedAt: noon,
			}
			w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error { return tx.UserAgents().Insert(ctx, a) })
			ask("user agent", address, append(assertion(a.Identifier, a.Identifier)[2:], "grant_type", "refresh_token")...)
		},
		"discovery of an issuer": func(n int, address string) {
			w.changeProvider(p.provider, func(x *deputy.Provider) { x.OAuth2 = &deputy.ProviderOAuth2{Issuer: &address} })
			ask("issuer", address, assertion(address, "x")...)
		},
		"jwks_uri of a provider": func(n int, address string) {
			w.changeProvider(p.provider, func(x *deputy.Provider) { x.OAuth2 = &deputy.ProviderOAuth2{JWKSURI: &address} })
			ask("provider", address, assertion(site.URL, "x")...)
		},
		"jwks_uri that an issuer names": func(n int, address string) {
			w.changeProvider(p.provider, func(x *deputy.Provider) { x.OAuth2 = nil })
			site.put("/.well-known/openid-configuration", map[string]any{"issuer": site.URL, "jwks_uri": address})
			w.clock.advance(2 * time.Hour)
			ask("discovered", address, assertion(site.URL, "x")...)
		},
	}
	maps.Copy(places, w.brokeredPlaces(agent, site, &asked))
	maps.Copy(places, w.signInPlaces(site, &asked))
	n := 0
	for _, raw := range deputytest.PrivateURLs {
		address := strings.ReplaceAll(raw, "PORT", port)
		if strings.ContainsRune(address, 0) {
			continue // what no row can hold
		}
		for _, fetch := range places {
			n++
			fetch(n, address)
		}
	}
	if n < 60*len(places) || asked < n {
		t.Errorf("%d addresses at %d places, %d requests", n/len(places), len(places), asked)
	}
	mu.Lock()
	defer mu.Unlock()
	if dials[at] == 0 {
		t.Error("the site that may be reached was not: nothing was tried")
	}
	delete(dials, at)
	if len(dials) != 0 || accepted.Load() != 0 {
		t.Errorf("connections were made to %v, %d accepted", dials, accepted.Load())
	}
}

// brokeredPlaces are those where a resource's provider says where tokens come
// from and are revoked.
func (w *world) brokeredPlaces(agent *app, site *publisher, asked *int) map[string]func(int, string) {
	p := w.newProvider(&deputytest.Upstream{Server: site.Server}, func(x *deputy.Provider) { x.Identifier = "https://guards.test" })
	described := &deputy.ProviderOAuth2{Issuer: &site.URL}
	r := w.newGuarded("urn:guarded", p)
	w.depend(agent, r)
	person := w.newPerson("guarded@example.test")
	grant := w.newGrant(person.User, r)
	describe := func(member, address string) {
		document := map[string]any{"issuer": site.URL, "authorization_endpoint": site.URL + "/authorize", "token_endpoint": site.URL + "/token"}
		document[member] = address
		site.put("/.well-known/openid-configuration", document)
		w.clock.advance(2 * time.Hour)
	}
	ask := func(place, address string) {
		w.Helper()
		*asked++
		if a := w.credentialsFor(agent, r.Identifier); a.status != 503 && a.status != 400 {
			w.Errorf("%s at %.60q: %s", place, address, a)
		}
	}
	// A provider that Deputy is to register at, and a grant whose token has run
	// out, of another person.
	strange := w.newProvider(&deputytest.Upstream{Server: site.Server}, func(x *deputy.Provider) {
		x.Identifier, x.ClientID, x.SealedSecret = "https://strange.test", nil, nil
	})
	unregistered := w.newGuarded("urn:unregistered", strange)
	w.depend(agent, unregistered)
	front := w.newResource("urn:front", func(x *deputy.Resource) { x.ApplicationID = &agent.ID })
	absent := w.newPerson("absent@example.test")
	for _, session := range []*deputy.Session{absent.web, absent.child} { // longer than the clock goes here
		w.setSession(session, func(s *deputy.Session) { s.ExpiresAt = s.ExpiresAt.Add(365 * 24 * time.Hour) })
	}
	stale := w.newGrant(absent.User, r)
	sealed, err := w.vault.Seal(context.Background(), absent.User.KeyID, vault.GrantPlace(w.zone.ID, stale.ID), []byte(`{"access_token":"x","refresh_token":"y"}`))
	if err != nil {
		w.Fatal(err)
	}
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.Grants().Update(ctx, w.in(), stale.ID, func(g *deputy.Grant) error {
			g.Sealed, g.RefreshTokenSet, g.ExpiresAt = sealed, true, tx.Now()
			return nil
		})
		return err
	})
	register := func(place, address string) {
		w.Helper()
		*asked++
		if a := w.credentialsFor(agent, unregistered.Identifier); a.status != 503 && a.status != 400 {
			w.Errorf("%s at %.60q: %s", place, address, a)
		}
	}
	return map[string]func(int, string){
		"registration endpoint of a provider": func(_ int, address string) {
			authorize, token := site.URL+"/authorize", site.URL+"/token"
			w.changeProvider(strange, func(x *deputy.Provider) {
				x.OAuth2 = &deputy.ProviderOAuth2{AuthorizationEndpoint: &authorize, TokenEndpoint: &token, RegistrationEndpoint: &address}
			})
			register("registration endpoint", address)
		},
		"registration endpoint that a provider names": func(_ int, address string) {
			w.changeProvider(strange, func(x *deputy.Provider) { x.OAuth2 = described })
			describe("registration_endpoint", address)
			register("named registration endpoint", address)
		},
		"token endpoint where a grant is refreshed": func(_ int, address string) {
			authorize := site.URL + "/authorize"
			w.changeProvider(p, func(x *deputy.Provider) {
				x.OAuth2 = &deputy.ProviderOAuth2{AuthorizationEndpoint: &authorize, TokenEndpoint: &address}
			})
			*asked++
			a := w.exchange(agent, w.userToken(absent, agent.credential.Identifier, front.Identifier), r.Identifier)
			if a.status != 503 {
				w.Errorf("refresh at %.60q: %s", address, a)
			}
		},
		"issuer of a resource's provider": func(_ int, address string) {
			w.changeProvider(p, func(x *deputy.Provider) { x.OAuth2 = &deputy.ProviderOAuth2{Issuer: &address} })
			ask("issuer of a provider", address)
		},
		"token endpoint of a provider": func(_ int, address string) {
			authorize := site.URL + "/authorize"
			w.changeProvider(p, func(x *deputy.Provider) {
				x.OAuth2 = &deputy.ProviderOAuth2{AuthorizationEndpoint: &authorize, TokenEndpoint: &address}
			})
			ask("token endpoint", address)
		},
		"token endpoint that a provider names": func(_ int, address string) {
			w.changeProvider(p, func(x *deputy.Provider) { x.OAuth2 = described })
			describe("token_endpoint", address)
			ask("named token endpoint", address)
		},
		"revocation endpoint that a provider names": func(_ int, address string) {
			w.changeProvider(p, func(x *deputy.Provider) { x.OAuth2 = described })
			describe("revocation_endpoint", address)
			data, err := json.Marshal(deputy.GrantRevocation{
				OrganizationID: w.organization.ID, GrantID: grant.ID, UserID: person.User.ID, ProviderID: p.ID, Sealed: grant.Sealed,
			})
			if err != nil {
				w.Fatal(err)
			}
			*asked++
			if err := w.server.Withdraw(context.Background(), deputy.Task{Kind: deputy.TaskRevokeGrant, ZoneID: w.zone.ID, Data: data}); err == nil && address != "" {
				w.Errorf("tokens were revoked at %.60q", address)
			}
		},
	}
}

// signInPlaces are those where an identity provider says who people are.
func (w *world) signInPlaces(site *publisher, asked *int) map[string]func(int, string) {
	id, client, now := deputy.ProviderID(w.id()), "client", w.clock.Now()
	p := &deputy.Provider{
		ID: id, OrganizationID: w.organization.ID, ZoneID: w.zone.ID, Owner: deputy.Customer, Slug: "signs-in", Identifier: "https://idp.test",
		Name: "Everybody", Type: deputy.ExternalProvider, ClientID: &client, CreatedAt: now, UpdatedAt: now,
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
	web := w.newWebApp("signs in", deputy.ImplicitConsent)
	leave := func() (*browser, *page) {
		*asked++
		b := w.newBrowser()
		b.client = web
		return b, b.follow(b.begin())
	}
	refused := func(place, address string, p *page) {
		w.Helper()
		if p.location != nil && p.query("code") != "" || p.location == nil && p.status < 400 {
			w.Errorf("%s at %.60q: the browser is at %d %v", place, address, p.status, p.location)
		}
	}
	return map[string]func(int, string){
		"discovery of an identity provider": func(_ int, address string) {
			w.changeProvider(p, func(x *deputy.Provider) { x.OAuth2 = &deputy.ProviderOAuth2{Issuer: &address} })
			_, shown := leave()
			refused("discovery at sign-in", address, shown)
		},
		"token endpoint of an identity provider": func(_ int, address string) {
			authorize, keys := site.URL+"/authorize", site.URL+"/keys"
			w.changeProvider(p, func(x *deputy.Provider) {
				x.OAuth2 = &deputy.ProviderOAuth2{AuthorizationEndpoint: &authorize, TokenEndpoint: &address, JWKSURI: &keys}
			})
			b, sent := leave()
			if address == "" { // not set, so it is discovered
				return
			}
			if sent.location == nil || !strings.HasPrefix(sent.location.String(), authorize) {
				w.Fatalf("the browser is at %d %v", sent.status, sent.location)
			}
			refused("token endpoint at sign-in", address, b.get("/oauth/2/redirect?code=x&state="+sent.query("state")))
		},
	}
}

// tryCredential inserts a credential and tells whether that went well.
func (w *world) tryCredential(a *deputy.Application, set func(*deputy.Credential)) error {
	now := w.clock.Now()
	c := &deputy.Credential{
		ID: deputy.CredentialID(w.id()), OrganizationID: a.OrganizationID, ZoneID: a.ZoneID, ApplicationID: a.ID,
		Slug: "c", Identifier: deputy.NewClientID(), CreatedAt: now, UpdatedAt: now,
	}
	set(c)
	return w.tryWrite(a.ZoneID, func(ctx context.Context, tx deputy.Tx) error { return tx.Credentials().Insert(ctx, c) })
}
