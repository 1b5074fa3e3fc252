package oauth_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/oauth"
)

// The model: what must be known to say what every request is answered. It is
// the rules in their simplest form, without snapshots, caches or commits.
type (
	simApp struct {
		*app
		there, credentialed bool
	}
	simResource struct {
		*deputy.Resource
		owner  *simApp // nil: it lies in the vault
		there  bool
		secret string // what the vault has; empty: nothing
	}
	simUser struct {
		*deputy.User
		status deputy.UserStatus // empty: gone
	}
	simSession struct {
		id       deputy.SessionID
		user     *simUser
		app      *simApp
		resource *simResource
		over     bool
		refresh  string
	}
	simToken struct {
		text    string
		holder  *simApp
		session *simSession // nil: of the application itself
		at      *simResource
		issued  time.Time
		revoked bool
		void    bool // the credential that got it is gone
	}
	pair[A, B any] struct {
		a A
		b B
	}
)

// simulation drives random operations against two servers on one store and
// compares every answer with the model's.
type simulation struct {
	*world
	dice      *rand.Rand
	servers   []*oauth.Server
	apps      []*simApp
	resources []*simResource
	users     []*simUser
	sessions  []*simSession
	tokens    []*simToken
	edges     map[pair[*simApp, *simResource]]bool
	forbidden map[pair[*simApp, *simResource]]bool
	withdrawn map[pair[*simUser, *simResource]]bool
	keys      []*simResource             // which lie in the vault
	granted   map[deputy.ResourceID]bool // somebody has authorized it
	installer *installer
	sets      int
	did       map[string]int
	last      []string // what was done last, for whoever looks into a difference
}

func newSimulation(t testing.TB, seed uint64) *simulation {
	s := &simulation{
		world: newWorld(t), dice: rand.New(rand.NewPCG(seed, 1)), did: map[string]int{},
		edges: map[pair[*simApp, *simResource]]bool{}, forbidden: map[pair[*simApp, *simResource]]bool{}, withdrawn: map[pair[*simUser, *simResource]]bool{},
		granted: map[deputy.ResourceID]bool{},
	}
	s.servers = []*oauth.Server{s.server, oauth.New(s.config)}
	t.Cleanup(s.servers[1].Close)
	for n := range 4 {
		s.apps = append(s.apps, &simApp{s.newWebApp(fmt.Sprint("app", n), deputy.ImplicitConsent), true, true})
	}
	for n := range 5 {
		r := &simResource{owner: s.apps[n%len(s.apps)], there: true}
		r.Resource = s.newResource(fmt.Sprint("https://r", n, ".test"), func(x *deputy.Resource) { x.ApplicationID = &r.owner.ID })
		s.resources = append(s.resources, r)
	}
	for n := range 2 { // made by hand, or by an install
		s.keys = append(s.keys, &simResource{Resource: &deputy.Resource{ID: deputy.ResourceID(s.id()), Identifier: fmt.Sprint("urn:key", n)}})
	}
	for n := range 4 {
		s.users = append(s.users, &simUser{s.newUser(fmt.Sprint("u", n, "@example.test")), deputy.UserActive})
	}
	s.decide()
	s.installer = newInstaller(s)
	return s
}

// all is every resource, there or not.
func (s *simulation) all() []*simResource { return slices.Concat(s.resources, s.keys) }

// one picks an element.
func one[T any](s *simulation, from []T) T { return from[s.dice.IntN(len(from))] }

// answers compares an answer with the reasons that there are to refuse it: with
// none it is given, with some it is refused for one of them.
func (s *simulation) answers(what string, a *answer, reasons ...string) bool {
	s.Helper()
	s.did[what]++
	reasons = slices.DeleteFunc(reasons, func(r string) bool { return r == "" })
	code := a.text("error")
	ok := code == "" && a.status == 200
	s.last = append(s.last, fmt.Sprintf("%s: %d %s", what, a.status, code))
	if ok != (len(reasons) == 0) || !ok && !slices.Contains(reasons, code) {
		s.Fatalf("%s: %s, and the model refuses it for %q, after\n%s", what, a, reasons, strings.Join(s.last[max(0, len(s.last)-25):], "\n"))
	}
	return ok
}

// because returns the code when it applies.
func because(code string, applies bool) string {
	if applies {
		return code
	}
	return ""
}

func (a *simApp) off() string      { return because("invalid_client", !a.there || !a.credentialed) }
func (r *simResource) off() string { return because("invalid_target", !r.there) }
func (x *simSession) off() string {
	return because("invalid_grant", x.over || x.user.status != deputy.UserActive)
}

func (s *simulation) denied(a *simApp, r *simResource) string {
	return because("access_denied", s.forbidden[pair[*simApp, *simResource]{a, r}])
}

// age returns how old a token is: fresh, over, or so that either may be said.
func (s *simulation) age(t *simToken) (fresh, over bool) {
	old := s.clock.Now().Sub(t.issued)
	return old < 58*time.Minute, old > 62*time.Minute
}

// step does something.
func (s *simulation) step() {
	s.server = one(s, s.servers)
	requests := []func(){s.askForItself, s.askForKey, s.exchangeToken, s.exchangeToken, s.refreshSession, s.refreshSession, s.introspectToken, s.introspectToken, s.signInto}
	changes := []func(){s.changeEdge, s.changePolicy, s.changeCredential, s.changeUser, s.changeResource, s.endSession, s.endGrant, s.revokeToken, s.passTime, s.restartNode, s.install, s.install, s.install, s.uninstall, s.uninstall}
	if s.dice.IntN(3) > 0 {
		one(s, requests)()
	} else {
		one(s, changes)()
	}
}

func (s *simulation) note(format string, args ...any) {
	s.last = append(s.last, fmt.Sprintf(format, args...))
}

func (s *simulation) askForItself() {
	a, r := one(s, s.apps), one(s, s.resources)
	got := s.credentialsFor(a.app, r.Identifier)
	lacking := because("access_denied", !s.edges[pair[*simApp, *simResource]{a, r}])
	if s.answers("client credentials", got, a.off(), r.off(), s.denied(a, r), lacking) {
		s.tokens = append(s.tokens, &simToken{text: got.text("access_token"), holder: a, at: r, issued: s.clock.Now()})
	}
}

func (s *simulation) askForKey() {
	a, k := one(s, s.apps), one(s, s.keys)
	got := s.credentialsFor(a.app, k.Identifier)
	lacking := because("access_denied", !s.edges[pair[*simApp, *simResource]{a, k}])
	if s.answers("vaulted secret", got, a.off(), k.off(), s.denied(a, k), lacking, because("invalid_target", k.secret == "")) && got.text("access_token") != k.secret {
		s.Fatalf("%s instead of %q", got, k.secret)
	}
}

// token picks a token, newest ones more often.
func (s *simulation) token() *simToken {
	if len(s.tokens) == 0 {
		return nil
	}
	if s.dice.IntN(2) == 0 {
		return s.tokens[max(0, len(s.tokens)-1-s.dice.IntN(10))]
	}
	return one(s, s.tokens)
}

// void says why a token is not good any more.
func (s *simulation) void(t *simToken, code string) string {
	fresh, _ := s.age(t)
	off := t.revoked || !fresh
	if t.session == nil {
		off = off || t.void || !t.holder.there
	} else {
		off = off || t.session.off() != ""
	}
	return because(code, off)
}

func (s *simulation) exchangeToken() {
	t := s.token()
	if t == nil {
		return
	}
	if fresh, over := s.age(t); !fresh && !over {
		return
	}
	by, r := one(s, s.apps), one(s, s.resources)
	if s.dice.IntN(2) == 0 { // who may, if all is well
		by = t.at.owner
	}
	got := s.exchange(by.app, t.text, r.Identifier)
	reasons := []string{
		by.off(), r.off(), s.void(t, "invalid_grant"), s.denied(by, r),
		because("invalid_grant", t.at.owner != by || !t.at.there),
	}
	if t.session == nil { // two legs: the subject as for itself
		reasons = append(reasons, s.denied(t.holder, r), because("access_denied", !s.edges[pair[*simApp, *simResource]{t.holder, r}]))
	} else {
		reasons = append(reasons, because("insufficient_authorization", s.withdrawn[pair[*simUser, *simResource]{t.session.user, r}]))
	}
	s.answers("exchange", got, reasons...)
}

func (s *simulation) refreshSession() {
	if len(s.sessions) == 0 {
		return
	}
	x := one(s, s.sessions)
	got := s.post(x.app.app, form("grant_type", "refresh_token", "refresh_token", x.refresh))
	if s.answers("refresh", got, x.app.off(), x.off(), x.resource.off(), s.denied(x.app, x.resource),
		because("invalid_grant", s.withdrawn[pair[*simUser, *simResource]{x.user, x.resource}])) {
		x.refresh = got.text("refresh_token")
		s.tokens = append(s.tokens, &simToken{text: got.text("access_token"), holder: x.app, session: x, at: x.resource, issued: s.clock.Now()})
	}
}

func (s *simulation) introspectToken() {
	t := s.token()
	if t == nil {
		return
	}
	if fresh, over := s.age(t); !fresh && !over {
		return
	}
	s.answers("introspection", s.introspect(t.holder.app, t.text), t.holder.off(), s.void(t, "inactive"))
}

func (s *simulation) signInto() {
	u, a, r := one(s, s.users), one(s, s.apps), one(s, s.resources)
	if u.status == "" {
		return
	}
	b := s.newBrowser()
	p := b.open(asking(a.credential.Identifier, "resource", r.Identifier))
	if len(b.cookies) > 0 {
		p = b.act("sign in", u.User)
	}
	// What the application depends on is authorized along, and what the owner of
	// the resource does, who will exchange the token.
	wanted := []*simResource{r}
	for _, by := range []*simApp{a, r.owner} {
		for _, also := range s.all() {
			if also.there && s.edges[pair[*simApp, *simResource]{by, also}] && s.denied(by, also) == "" {
				wanted = append(wanted, also)
			}
		}
	}
	asked := slices.ContainsFunc(wanted, func(r *simResource) bool { return s.withdrawn[pair[*simUser, *simResource]{u, r}] })
	if asked && p.location != nil && strings.HasSuffix(p.location.Path, "/consent") {
		p = b.act("approve", nil)
	}
	disabled := because("access_denied", u.status != deputy.UserActive)
	if !s.answers("sign-in", p.answer(), a.off(), r.off(), s.denied(a, r), disabled) {
		return
	}
	for _, r := range wanted {
		delete(s.withdrawn, pair[*simUser, *simResource]{u, r})
		s.granted[r.ID] = true
	}
	got := s.post(a.app, form("grant_type", "authorization_code", "code", p.query("code"), "redirect_uri", callback, "code_verifier", verifier))
	if !s.answers("code", got) {
		return
	}
	x := &simSession{user: u, app: a, resource: r, refresh: got.text("refresh_token")}
	x.id = deputy.SessionID(s.payload(got.text("access_token"))["sid"].(string))
	s.sessions = append(s.sessions, x)
	s.tokens = append(s.tokens, &simToken{text: got.text("access_token"), holder: a, session: x, at: r, issued: s.clock.Now()})
}

// seldom is true mostly: where all is off there is nothing to see.
func (s *simulation) seldom() bool { return s.dice.IntN(4) > 0 }

func (s *simulation) changeEdge() {
	a, r := one(s, s.apps), one(s, s.all())
	if !a.there || !r.there {
		return
	}
	key := pair[*simApp, *simResource]{a, r}
	if s.edges[key] && s.seldom() {
		return
	}
	if s.edges[key] = !s.edges[key]; s.edges[key] {
		s.depend(a.app, r.Resource)
	} else {
		s.write(s.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
			in := s.in()
			in.Parent = deputy.ID(a.ID)
			return tx.Dependencies().Delete(ctx, in, deputy.ID(r.ID))
		})
	}
	s.note("%s depends on %s: %v", a.Name, r.Identifier, s.edges[key])
}

func (s *simulation) changePolicy() {
	key := pair[*simApp, *simResource]{one(s, s.apps), one(s, s.all())}
	if s.forbidden[key] {
		delete(s.forbidden, key)
	} else if len(s.forbidden) < 4 {
		s.forbidden[key] = true
	}
	s.decide()
}

// decide activates policies that say what the model does.
func (s *simulation) decide() {
	texts := map[string]string{
		"people":     `permit (principal is Keycard::User, action, resource);`,
		"delegation": `permit (principal is Keycard::Application, action, resource) when { context.on_behalf };`,
		"direct":     `permit (principal is Keycard::Application, action, resource) when { !context.on_behalf && principal.dependencies.contains(resource) };`,
	}
	order := []string{"people", "delegation", "direct"}
	for key := range s.forbidden {
		name := "forbid " + key.a.Identifier + " " + key.b.Identifier
		texts[name] = fmt.Sprintf(`forbid (principal == Keycard::Application::%q, action, resource == Keycard::Resource::%q);`, key.a.ID, key.b.ID)
		order = append(order, name)
	}
	s.sets++
	s.activate(s.zone, fmt.Sprint("set", s.sets), order, texts)
	s.note("%d are forbidden", len(s.forbidden))
}

func (s *simulation) changeCredential() {
	a := one(s, s.apps)
	if a.credentialed && s.seldom() {
		return
	}
	if a.credentialed {
		s.write(s.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
			return tx.Credentials().Delete(ctx, s.in(), deputy.ID(a.credential.ID))
		})
		for _, t := range s.tokens {
			t.void = t.void || t.holder == a
		}
		// Sessions are another client's, which never comes back.
		s.sessions = slices.DeleteFunc(s.sessions, func(x *simSession) bool { return x.app == a })
		s.tokens = slices.DeleteFunc(s.tokens, func(t *simToken) bool { return t.holder == a && t.session != nil })
	} else {
		a.credential, a.secret = s.newCredential(a.Application)
		s.tokens = slices.DeleteFunc(s.tokens, func(t *simToken) bool { return t.holder == a })
	}
	a.credentialed = !a.credentialed
	s.note("%s has a credential: %v", a.Name, a.credentialed)
}

func (s *simulation) changeUser() {
	u := one(s, s.users)
	if u.status == deputy.UserActive && s.seldom() {
		return
	}
	if u.status == deputy.UserActive {
		u.status = deputy.UserDisabled
		for _, x := range s.sessions {
			x.over = x.over || x.user == u
		}
	} else {
		u.status = deputy.UserActive
	}
	s.write(s.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.Users().Update(ctx, s.in(), deputy.ID(u.ID), func(x *deputy.User) error {
			x.Status = u.status
			return nil
		})
		return err
	})
	s.note("%s is %s", u.Email, u.status)
}

// changeResource deletes a resource, or makes one of the same name in its place.
func (s *simulation) changeResource() {
	r := one(s, s.all())
	if r.there && s.seldom() {
		return
	}
	switch {
	case r.there:
		s.write(s.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
			return tx.Resources().Delete(ctx, s.in(), deputy.ID(r.ID))
		})
		s.vanished(r)
	case r.owner == nil:
		secret := fmt.Sprint("kept ", s.sets)
		s.appeared(r, s.newVaulted(r.Identifier, map[string]string{"type": "token", "token": secret}).Resource)
		r.secret = secret
	default:
		s.appeared(r, s.newResource(r.Identifier, func(x *deputy.Resource) { x.ApplicationID = &r.owner.ID }))
	}
	s.note("%s is there: %v", r.Identifier, r.there)
}

// appeared notes that a resource is there, in place of one of the name that was.
func (s *simulation) appeared(r *simResource, as *deputy.Resource) {
	r.Resource, r.there = as, true
	s.sessions = slices.DeleteFunc(s.sessions, func(x *simSession) bool { return x.resource == r })
	s.tokens = slices.DeleteFunc(s.tokens, func(t *simToken) bool { return t.session != nil && t.session.resource == r })
	s.decide() // what was forbidden meanwhile is about this one
}

// vanished notes that a resource is gone, with all that was about it.
func (s *simulation) vanished(r *simResource) {
	r.there, r.secret = false, ""
	for _, a := range s.apps {
		delete(s.edges, pair[*simApp, *simResource]{a, r})
		delete(s.forbidden, pair[*simApp, *simResource]{a, r}) // which is about the one that is gone
	}
	for _, u := range s.users {
		delete(s.withdrawn, pair[*simUser, *simResource]{u, r})
	}
	s.decide()
}

func (s *simulation) endSession() {
	if len(s.sessions) == 0 {
		return
	}
	x := one(s, s.sessions)
	x.over = true
	chain, _, err := s.store.SessionChain(context.Background(), s.zone.ID, x.id)
	if err != nil {
		s.Fatal(err)
	}
	s.setSession(one(s, chain), func(at *deputy.Session) { at.Status = deputy.Revoked }) // it, or the one it hangs on
	s.note("a session of %s is revoked", x.user.Email)
}

func (s *simulation) endGrant() {
	u, r := one(s, s.users), one(s, s.resources)
	g, err := s.store.Grant(context.Background(), s.zone.ID, u.ID, r.ID)
	if deputy.KindOf(err) == deputy.NotFound {
		return
	}
	if err != nil {
		s.Fatal(err)
	}
	s.write(s.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.Grants().Update(ctx, s.in(), g.ID, func(g *deputy.Grant) error {
			g.Status = deputy.Revoked
			return nil
		})
		return err
	})
	s.withdrawn[pair[*simUser, *simResource]{u, r}] = true
	s.note("%s withdraws %s", u.Email, r.Identifier)
}

func (s *simulation) revokeToken() {
	t := s.token()
	if t == nil {
		return
	}
	got := s.postTo("/oauth/2/revoke", t.holder.app, form("token", t.text))
	if s.answers("revocation", got, t.holder.off()) {
		_, over := s.age(t)
		t.revoked = !over
	}
}

func (s *simulation) passTime() { s.clock.advance(time.Duration(s.dice.IntN(600)) * time.Second) }

// restartNode replaces a server by one that remembers nothing.
func (s *simulation) restartNode() {
	n := s.dice.IntN(len(s.servers))
	s.servers[n] = oauth.New(s.config)
	s.Cleanup(s.servers[n].Close)
}

// TestSimulation compares every decision of a long random run with the model's.
// DEPUTY_SEED repeats a run, DEPUTY_STEPS makes it longer.
func TestSimulation(t *testing.T) {
	t.Parallel()
	seed, steps := uint64(2), deputytest.Times(300, 1500, 1500)
	for name, into := range map[string]func(string) error{
		"DEPUTY_SEED":  func(v string) (err error) { seed, err = strconv.ParseUint(v, 10, 64); return err },
		"DEPUTY_STEPS": func(v string) (err error) { steps, err = strconv.Atoi(v); return err },
	} {
		if v := os.Getenv(name); v != "" {
			if err := into(v); err != nil {
				t.Fatal(err)
			}
		}
	}
	defer func() {
		if t.Failed() {
			t.Logf("again: DEPUTY_SEED=%d DEPUTY_STEPS=%d go test ./internal/oauth -run TestSimulation", seed, steps)
		}
	}()
	s := newSimulation(t, seed)
	for range steps {
		s.step()
	}
	t.Logf("%d steps: %v", steps, s.did)
}
