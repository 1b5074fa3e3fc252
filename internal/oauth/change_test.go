package oauth_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/oauth"
)

// TestChangesAreInForceAtOnce makes random changes and checks after each that
// the very next request sees it, at the server that was asked before and at
// one that shares only the store; while others keep asking.
func TestChangesAreInForceAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const many = 6
	var apps []*app
	var resources []*deputy.Resource
	for n := range many {
		apps = append(apps, w.newApp(fmt.Sprint("app", n)))
		resources = append(resources, w.newResource(fmt.Sprint("urn:r", n), nil))
	}
	servers := []*oauth.Server{w.server, oauth.New(w.config)}
	t.Cleanup(servers[1].Close)
	stop := make(chan struct{})
	var load sync.WaitGroup
	var served atomic.Int64
	for n := range 4 {
		at := *w
		at.server = servers[n%2]
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					a := at.credentialsFor(apps[n], resources[n].Identifier)
					if a.status != 200 && a.text("error") != "access_denied" {
						t.Errorf("under load: %s", a)
						return
					}
					served.Add(1)
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(1, 2))
	allowed := make(map[[2]int]bool)
	forbidden := false
	pairs := deputytest.Times(30, 200, 200)
	for n := range pairs {
		a, r := rng.IntN(many), rng.IntN(many)
		switch k := rng.IntN(10); {
		case k == 0:
			texts := map[string]string{
				"permit": `permit (principal, action, resource) when { principal is Keycard::Application && principal.dependencies.contains(resource) };`,
				"forbid": `forbid (principal, action, resource) when { resource.name == "never" };`,
			}
			if forbidden = !forbidden; forbidden {
				texts["forbid"] = `forbid (principal, action, resource);`
			}
			w.activate(w.zone, fmt.Sprint("set", n), []string{"permit", "forbid"}, texts)
		case allowed[[2]int{a, r}]:
			w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
				in := w.in()
				in.Parent = deputy.ID(apps[a].ID)
				return tx.Dependencies().Delete(ctx, in, deputy.ID(resources[r].ID))
			})
			delete(allowed, [2]int{a, r})
		default:
			w.depend(apps[a], resources[r])
			allowed[[2]int{a, r}] = true
		}
		for s, server := range servers {
			at := *w
			at.server = server
			got := at.credentialsFor(apps[a], resources[r].Identifier)
			if want := allowed[[2]int{a, r}] && !forbidden; (got.status == 200) != want {
				t.Fatalf("change %d, server %d: %s, want allowed = %v", n, s, got, want)
			}
		}
	}
	close(stop)
	load.Wait()
	t.Logf("%d changes, %d requests beside them", pairs, served.Load())
}

// TestRevokedWhileAsked revokes a session while its token is being exchanged:
// once the revocation has committed, nothing is issued.
func TestRevokedWhileAsked(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	for range 10 {
		p := w.newPerson(string(w.id()) + "@example.test")
		token := w.userToken(p, w.agent.credential.Identifier, w.front.Identifier)
		w.revokeWhileAsked(token, func() { w.setSession(p.web, func(s *deputy.Session) { s.Status = deputy.Revoked }) })
	}
}

// revokeWhileAsked exchanges a token again and again while revoke makes it
// worthless, and fails when something is issued once that is done.
func (w *relay) revokeWhileAsked(token string, revoke func()) {
	w.Helper()
	var revoked atomic.Bool
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for range 20 {
				before := revoked.Load()
				a := w.exchange(w.server, token, w.api.Identifier)
				switch {
				case a.status == 200 && before:
					w.Errorf("issued after the revocation: %s", a)
				case a.status != 200 && a.text("error") != "invalid_grant":
					w.Errorf("refused with %s", a)
				}
			}
		})
	}
	revoke()
	revoked.Store(true)
	asking.Wait()
}

// TestManyZones holds no more zones than it may, and serves all of them.
func TestManyZones(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	oauth.Hold(w.server, 300) // a fresh zone weighs about 90
	var zones []*deputy.Zone
	for range 8 {
		z, _, _ := w.newZone(w.newOrganization("Other", string(w.id())), deputy.PathIssuer)
		zones = append(zones, z)
	}
	for range 2 {
		for _, z := range zones {
			w.clock.advance(1e9)
			if a := w.get("GET", "/z/"+string(z.ID)+"/openidconnect/jwks"); a.status != 200 {
				t.Fatal(a)
			}
		}
	}
	if n := oauth.Held(w.server); n > 3 {
		t.Errorf("%d zones are held", n)
	}
	// What was cached of a zone before it was dropped is not used when it is back.
	agent := w.newApp("agent")
	r := w.newResource("urn:api", nil)
	w.depend(agent, r)
	w.must(w.credentialsFor(agent, "urn:api"), 200, "")
	for _, z := range zones {
		w.clock.advance(1e9)
		w.get("GET", "/z/"+string(z.ID)+"/openidconnect/jwks")
	}
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		in := w.in()
		in.Parent = deputy.ID(agent.ID)
		return tx.Dependencies().Delete(ctx, in, deputy.ID(r.ID))
	})
	w.must(w.credentialsFor(agent, "urn:api"), 400, "access_denied")
}

// TestUnknownZonesAreNotHeld: anybody can ask for zones that do not exist.
func TestUnknownZonesAreNotHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 50 {
		w.get("GET", "/z/"+string(w.id())+"/openidconnect/jwks")
	}
	// Nor are those that could not be asked for, because the caller was gone.
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for range 50 {
		w.do(httptest.NewRequestWithContext(gone, "GET", "/z/"+string(w.id())+"/openidconnect/jwks", nil))
	}
	if n := oauth.Held(w.server); n != 0 {
		t.Errorf("%d zones are held", n)
	}
}

// TestNoPolicies: where no set is active, everything is denied.
func TestNoPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.newApp("agent")
	r := w.newResource("urn:api", nil)
	w.depend(agent, r)
	w.must(w.credentialsFor(agent, "urn:api"), 200, "")
	w.setZone(func(z *deputy.Zone) { z.ActivePolicySetVersionID = "" })
	w.restart()
	a := w.must(w.credentialsFor(agent, "urn:api"), 400, "access_denied")
	if want := `Access to "Resource urn:api" is denied: the zone has no active policy set.`; a.text("error_description") != want {
		t.Errorf("got %s", a)
	}
	if e := w.lastEvent(); e.Policy != nil {
		t.Errorf("the event names a policy: %+v", e.Policy)
	}
}

// TestBrokenPolicies: a set that is not what its manifest says decides nothing.
func TestBrokenPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.newApp("agent")
	r := w.newResource("urn:api", nil)
	w.depend(agent, r)
	w.must(w.credentialsFor(agent, "urn:api"), 200, "")
	set := w.activate(w.zone, "broken", []string{"all"}, map[string]string{"all": "permit (principal, action, resource);"}, func(v *deputy.PolicySetVersion) {
		v.ManifestSHA = "00" + v.ManifestSHA[2:]
	})
	a := w.must(w.credentialsFor(agent, "urn:api"), 503, "temporarily_unavailable")
	if a.header.Get("Retry-After") == "" {
		t.Errorf("no Retry-After: %v", a.header)
	}
	if e := w.lastEvent(); e.Outcome != "failure" || e.Error != "temporarily_unavailable" {
		t.Errorf("the event is %+v (set %s)", e, set.ID)
	}
}

// TestRegistrationsDoNotStarveTokens: who registers applications all the time
// voids no decision that does not rest on them.
func TestRegistrationsDoNotStarveTokens(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	const requests = 150
	var stop atomic.Bool
	var registering, asking sync.WaitGroup
	for n := range 8 {
		registering.Go(func() {
			for m := 0; !stop.Load(); m++ {
				w.newApp(fmt.Sprint("app", n, "-", m))
			}
		})
	}
	for range 4 {
		asking.Go(func() {
			for range requests / 4 {
				for _, a := range []*answer{
					w.credentialsFor(w.agent, w.front.Identifier), w.exchange(w.server, w.token, w.api.Identifier),
				} {
					if a.status != 200 {
						t.Error(a)
					}
				}
			}
		})
	}
	asking.Wait()
	stop.Store(true)
	registering.Wait()
}

// TestGroundsOfARefusal: a refusal because something is not there does not
// stand once it is, nor does a prefix once there is a longer one.
func TestGroundsOfARefusal(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	other := *w.world // a node that hears of changes only when it commits
	other.config.Store = deaf{w.store}
	other.restart()
	ask := func(resource string) *answer { t.Helper(); return other.credentialsFor(w.agent, resource) }
	other.must(ask("urn:later"), 400, "invalid_target")
	w.depend(w.agent, w.newResource("urn:later", nil))
	other.must(ask("urn:later"), 200, "")

	w.depend(w.agent, w.newResource("https://p.test/", func(r *deputy.Resource) { r.Prefix = true }))
	other.must(ask("https://p.test/a/b"), 200, "")
	w.depend(w.agent, w.newResource("https://p.test/a", func(r *deputy.Resource) { r.Prefix = true }))
	aud := w.payload(other.must(ask("https://p.test/a/b"), 200, "").text("access_token"))["aud"].([]any)
	if aud[1] != "https://p.test/a" {
		t.Errorf("aud %v", aud)
	}

	// A chain whose subject is renamed away and back.
	second := w.newApp("second")
	w.setResource(w.api, func(r *deputy.Resource) { r.ApplicationID = &second.ID })
	token := other.must(other.exchange(w.server, w.token, w.api.Identifier), 200, "").text("access_token")
	last := w.newResource("urn:last", nil)
	w.depend(w.agent, last)
	other.must(other.exchange(second, token, "urn:last"), 200, "")
	rename := func(identifier string) {
		w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
			_, err := tx.Applications().Update(ctx, w.in(), deputy.ID(w.agent.ID), func(a *deputy.Application) error {
				a.Identifier = identifier
				return nil
			})
			return err
		})
	}
	name := w.agent.Identifier
	rename("urn:app:elsewhere")
	other.must(other.exchange(second, token, "urn:last"), 400, "invalid_grant")
	rename(name)
	other.must(other.exchange(second, token, "urn:last"), 200, "")
	w.setZone(func(z *deputy.Zone) { z.SigningAlg = "ES256" })
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		return tx.Providers().Delete(ctx, w.in(), deputy.ID(w.sts.ID))
	})
	other.must(other.exchange(second, token, "urn:last"), 400, "invalid_target")
}

// deaf is a store that gives no hints.
type deaf struct{ deputy.Store }

func (deaf) Revision(deputy.ZoneID) int64 { return 0 }
