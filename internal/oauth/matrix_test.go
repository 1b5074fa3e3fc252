package oauth_test

import (
	"cmp"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/oauth"
	"deputy/internal/store"
	"deputy/internal/upstream"
)

var update = flag.Bool("update", false, "write docs/revocation.md anew")

// duo is one database with two nodes on it.
type duo struct {
	name        string
	here, there *world // each with its node's store and vault
}

// duos are the databases that the matrix is walked on: SQLite has one node, in
// front of which two servers share nothing but the store.
var duos = map[string]func(testing.TB) *duo{
	"SQLite": func(t testing.TB) *duo {
		here := newBareWorld(t)
		here.open(store.Config{Path: deputytest.SQLite(t)})
		return &duo{"SQLite", here, here}
	},
	"PostgreSQL": func(t testing.TB) *duo {
		database := deputytest.Postgres(t)
		here := newBareWorld(t)
		there := *here
		here.open(store.Config{URL: database})
		there.open(store.Config{URL: database})
		return &duo{"PostgreSQL", here, &there}
	},
}

func newBareWorld(t testing.TB) *world {
	w := &world{TB: t, clock: &clock{now: noon}, algs: []deputy.SigningAlgorithm{deputy.ES256}}
	rand.Read(w.root[:])
	return w
}

// crossing is a stage in front of two nodes.
type crossing struct {
	*stage
	there *world
}

// newCrossing makes an organization, a zone and a management plane of its own
// on the database.
func (at *duo) newCrossing(t testing.TB) *crossing {
	here := *at.here
	here.TB, here.platform = t, deputy.NewID(here.clock.Now())
	here.serve()
	here.fill()
	c := &crossing{stage: newStageIn(&here)}
	there := here
	there.store, there.vault, there.sealing = at.there.store, at.there.vault, at.there.sealing
	there.serve()
	c.there = &there
	return c
}

// elsewhere asks at the other node.
func (c *crossing) elsewhere(send func(*stage) *answer) *answer {
	here := *c.world
	*c.world = *c.there
	c.world.ear = here.ear
	defer func() {
		here.ear = c.world.ear
		*c.there, *c.world = *c.world, here
	}()
	return send(c.stage)
}

// fetchWith restarts the server with a fetcher that trusts the certificates.
func (s *stage) fetchWith(roots *x509.CertPool) {
	f := upstream.New(upstream.Config{Now: s.clock.Now, Dev: true, RootCAs: roots})
	s.Cleanup(f.Close)
	s.config.Fetcher = f
	s.restart()
}

// path is a way in which something is handed out, or said about what was.
type path struct {
	name string
	use  deputy.Use // whose parts it rests on
	held deputy.Use // of what is handed out and not signed, with more parts
	send func(*stage) *answer
	// parts are what it rests on where that is no use's.
	parts []deputy.Part
	// other are refusals that differ from those of the use, more what else it
	// rests on.
	other map[deputy.Part]off
	more  map[string]off
	ok    int // the status with everything in force; 0 is 200
}

// caller is what a client at an endpoint beside the token endpoint rests on.
var caller = []deputy.Part{deputy.PartZone, deputy.PartApplication, deputy.PartCredential}

var (
	revokedToken = map[string]off{"access token revoked": {func(s *stage) { s.revoke(s.presented()) }, 400, "inactive"}}
	paths        = []path{
		{name: "client credentials, secret in the header", use: deputy.UseClientCredentials},
		{name: "client credentials, secret in the form", use: deputy.UseClientCredentials, send: func(s *stage) *answer {
			return s.post(nil, form("grant_type", "client_credentials", "resource", s.api.Identifier, "client_id", s.server.credential.Identifier, "client_secret", s.server.secret))
		}},
		{name: "client credentials, private_key_jwt", use: deputy.UseClientCredentials, send: func(s *stage) *answer {
			return s.post(nil, s.assertion("grant_type", "client_credentials", "resource", s.api.Identifier))
		}},
		{name: "client credentials, keys of a metadata document", use: deputy.UseClientCredentials, send: func(s *stage) *answer {
			s.documentKeys()
			return s.post(nil, s.assertion("grant_type", "client_credentials", "resource", s.api.Identifier))
		}},
		{name: "client credentials, token of a workload", use: deputy.UseClientCredentials, send: func(s *stage) *answer {
			s.trustPlatform()
			return s.post(nil, form("grant_type", "client_credentials", "resource", s.api.Identifier,
				"client_assertion_type", jwtBearer, "client_assertion", s.outside.key.token(s.outside.claims("pod"))))
		}, more: map[string]off{
			"the workload's provider deleted": {remove(deputy.Tx.Providers, func(s *stage) deputy.ID { return deputy.ID(s.outside.provider.ID) }), 401, "invalid_client"},
		}},
		{name: "client credentials for a vaulted secret", use: deputy.UseClientCredentials, held: deputy.UseSecret},
		{name: "exchange of an application's token", use: deputy.UseExchangeApplication, more: map[string]off{
			"access token revoked": {func(s *stage) { s.revoke(s.token) }, 400, "invalid_grant"},
		}},
		{name: "exchange of a person's token", use: deputy.UseExchangeUser, more: map[string]off{
			"access token revoked": {func(s *stage) { s.revoke(s.personToken) }, 400, "invalid_grant"},
		}},
		{name: "exchange of a person's token, private_key_jwt", use: deputy.UseExchangeUser, send: func(s *stage) *answer {
			token := s.tokenOfPerson()
			return s.post(nil, s.assertion("grant_type", exchangeGrantType, "subject_token", token, "subject_token_type", accessTokenType, "resource", s.api.Identifier))
		}},
		{name: "exchange for a vaulted secret", use: deputy.UseExchangeUser, held: deputy.UseSecret, send: func(s *stage) *answer {
			return s.exchange(s.server, s.tokenOfPerson(), "urn:vaulted")
		}},
		{name: "exchange for a brokered token", use: deputy.UseExchangeUser, held: deputy.UseGrant, send: func(s *stage) *answer {
			s.broker()
			return s.exchange(s.server, s.tokenOfPerson(), s.files.Identifier)
		}},
		{name: "exchange of an impersonated person's token", use: deputy.UseExchangeImpersonated, more: map[string]off{
			"access token revoked": {func(s *stage) { s.revoke(s.bearer) }, 400, "invalid_grant"},
		}},
		{name: "impersonation", use: deputy.UseImpersonation},
		{name: "impersonation for a brokered token", use: deputy.UseImpersonation, held: deputy.UseGrant, send: func(s *stage) *answer {
			s.broker()
			s.permitImpersonation()
			return s.impersonate(s.server, s.person.Identifier, s.files.Identifier)
		}},
		{name: "code", use: deputy.UseCode},
		{name: "code, user agent", use: deputy.UseCodeAgent},
		{name: "refresh", use: deputy.UseRefresh, more: map[string]off{
			"refresh token revoked": {func(s *stage) { s.revoke(s.refresh) }, 400, "invalid_grant"},
		}},
		{name: "refresh, user agent", use: deputy.UseRefreshAgent},
		{name: "refresh for a vaulted secret", use: deputy.UseRefresh, held: deputy.UseSecret, send: func(s *stage) *answer {
			s.meet(false, 1)
			return s.refreshAgain("resource", "urn:vaulted")
		}},
		{name: "refresh for a brokered token", use: deputy.UseRefresh, held: deputy.UseGrant, send: func(s *stage) *answer {
			s.broker()
			s.meet(false, 1)
			return s.refreshAgain("resource", s.files.Identifier)
		}},
		{name: "authorization", use: deputy.UseAuthorize},
		{name: "authorization, user agent", use: deputy.UseAuthorizeAgent},
		{name: "sign-in", use: deputy.UseSignIn},
		{name: "web session", use: deputy.UseWebSession},
		{name: "account page", use: deputy.UseWebSession, send: func(s *stage) *answer {
			s.meet(false, 0)
			return s.browser.get("/account").answer()
		}, other: map[deputy.Part]off{deputy.PartUser: {status: 302}, deputy.PartSession: {status: 302}}},
		{name: "introspection of a person's token", use: deputy.UseToken, more: revokedToken},
		{name: "introspection of an impersonated person's token", use: deputy.UseImpersonatedToken, more: revokedToken},
		{name: "introspection of an application's token", use: deputy.UseApplicationToken, more: map[string]off{
			"access token revoked": {func(s *stage) { s.revoke(s.token) }, 400, "inactive"},
		}},
		{name: "introspection, who asks", parts: caller, send: func(s *stage) *answer { return s.introspect(s.server, s.token) }},
		{name: "UserInfo", use: deputy.UseToken, send: func(s *stage) *answer {
			if s.bearer == "" {
				s.bearer = s.sign(deputy.ES256, "at+jwt", with(s.userClaims(s.person, s.agent.credential.Identifier, s.issuer()), "scope", "openid"))
			}
			r := httptest.NewRequest("GET", "/z/"+string(s.zone.ID)+"/openid/connect/userinfo", nil)
			r.Header.Set("Authorization", "Bearer "+s.bearer)
			return s.do(r)
		}, other: map[deputy.Part]off{
			deputy.PartUser: {status: 401, code: "invalid_token"}, deputy.PartSession: {status: 401, code: "invalid_token"},
			deputy.PartTokenClient: {status: 401, code: "invalid_token"},
		}, more: map[string]off{"access token revoked": {func(s *stage) { s.revoke(s.bearer) }, 401, "invalid_token"}}},
		{name: "pushed authorization request", parts: caller, ok: 201, send: func(s *stage) *answer {
			return s.postTo("/oauth/2/par", s.server, asking(s.server.credential.Identifier))
		}},
		{name: "revocation, who asks", parts: caller, send: func(s *stage) *answer { return s.postTo("/oauth/2/revoke", s.server, form("token", "x")) }},
		{name: "signals, polled", use: deputy.UseSignals, more: map[string]off{
			"credential of the receiver deleted": {ways[deputy.PartCredential]["deleted"].turn, 401, "invalid_token"},
			"access token revoked":               {func(s *stage) { s.revoke(s.ear) }, 401, "invalid_token"},
		}},
		{name: "feed of revocations", parts: caller, send: func(s *stage) *answer {
			s.listen(s.server)
			return s.signals("GET", "/revocations", "")
		}, other: map[deputy.Part]off{
			deputy.PartApplication: {status: 401, code: "invalid_token"}, deputy.PartCredential: {status: 401, code: "invalid_token"},
		}},
		{name: "registration", parts: []deputy.Part{deputy.PartZone}, ok: 201, send: func(s *stage) *answer {
			r := httptest.NewRequest("POST", "/z/"+string(s.zone.ID)+"/oauth/2/registration", strings.NewReader(`{"redirect_uris":["`+callback+`"]}`))
			r.Header.Set("Content-Type", "application/json")
			return s.do(r)
		}},
		{name: "sign-out page", parts: []deputy.Part{deputy.PartZone}, send: func(s *stage) *answer {
			return s.newBrowser().get("/openid/connect/logout").answer()
		}},
		{name: "management call of a service account", use: deputy.UseManagement},
		{name: "management call of a person", use: deputy.UseUserManagement},
		{name: "service account token", use: deputy.UseServiceToken},
		{name: "management token of a person", use: deputy.UseUserToken},
		{name: "acceptance of an invitation", use: deputy.UseInvitation},
	}
)

// presented is the access token that was last asked about.
func (s *stage) presented() string { return cmp.Or(s.bearer, s.personToken) }

// revoke revokes a token as the client that it was given to: of another's it
// stays as it is.
func (s *stage) revoke(token string) {
	for _, by := range []*app{s.server, s.agent} {
		if a := s.postTo("/oauth/2/revoke", by, form("token", token)); a.status != 200 {
			s.Fatal(a)
		}
	}
}

// tokenOfPerson returns the person's token for the front resource.
func (s *stage) tokenOfPerson() string {
	if s.personToken == "" {
		s.personToken = s.userToken(s.person, s.agent.credential.Identifier, s.front.Identifier)
	}
	return s.personToken
}

// assertion returns a form in which the server proves who it is with a key.
func (s *stage) assertion(pairs ...string) map[string][]string {
	if s.key == nil {
		s.key = newOutsideKey("one", "ES256")
		site := newPublisher(s)
		site.publish(s.key)
		s.server.credential = s.insertCredential(s.server.Application, deputy.PublicKeyCredential, func(c *deputy.Credential) {
			c.JWKSURI = site.URL + "/jwks.json"
		})
	}
	id, now := s.server.credential.Identifier, s.clock.Now()
	assertion := s.key.token(map[string]any{
		"iss": id, "sub": id, "aud": s.issuer(), "jti": string(s.id()), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	})
	return form(append([]string{"client_assertion_type", jwtBearer, "client_assertion", assertion}, pairs...)...)
}

// documentKeys registers the server by a document that has its key.
func (s *stage) documentKeys() {
	if s.roots == nil {
		s.fetching = make(map[*oauth.Server]bool)
		var text string
		site := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, text) }))
		s.Cleanup(site.Close)
		s.key, s.roots = newOutsideKey("one", "ES256"), x509.NewCertPool()
		s.roots.AddCert(site.Certificate())
		id := site.URL + "/client.json"
		set := string(must(json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{s.key.jwk()}})))
		text = fmt.Sprintf(`{"client_id":%q,"client_name":"Tool","redirect_uris":[%q],"token_endpoint_auth_method":"private_key_jwt","jwks":%s}`, id, callback, set)
		s.server.credential = s.insertCredential(s.server.Application, deputy.URLCredential, func(c *deputy.Credential) { c.Identifier = id })
	}
	if !s.fetching[s.world.server] {
		s.fetchWith(s.roots)
		s.fetching[s.world.server] = true
	}
}

// trustPlatform lets the server in by tokens of a platform.
func (s *stage) trustPlatform() {
	if s.outside == nil {
		s.outside = s.newPlatform("ES256")
		s.server.credential = s.outside.trust(s.server, "pod")
	}
}

// watchEndpoints notes which endpoints are asked from now on, and returns what
// names those that were not. The documents are left out: they are the same for
// everybody, and may be a second old.
func watchEndpoints() (unseen func() []string) {
	asked.Clear()
	return func() (paths []string) {
		for to, path := range oauth.Endpoints() {
			if _, ok := asked.Load(to); !ok && !strings.Contains(path, "jwks") && !strings.Contains(path, "well-known") {
				paths = append(paths, path)
			}
		}
		return paths
	}
}

// cell is one way of turning off one part of what a path rests on.
type cell struct {
	path        *path
	part, state string
	off
}

// cells returns all there are, and what has no row.
func cells() (all []cell, lacking []string) {
	covered := make(map[deputy.Use]bool)
	for i := range paths {
		p := &paths[i]
		covered[p.use], covered[p.held] = true, true
		parts := slices.Clone(p.parts)
		if p.use != "" {
			parts = slices.Clone(deputy.Uses()[p.use])
		}
		for _, part := range deputy.Uses()[p.held] {
			if !slices.Contains(parts, part) {
				parts = append(parts, part)
			}
		}
		for _, part := range parts {
			if part == deputy.PartKey && p.held != "" {
				continue // nothing is signed
			}
			if len(ways[part]) == 0 {
				lacking = append(lacking, fmt.Sprintf("%s rests on the %s, which nothing turns off", p.name, part))
			}
			for state, way := range ways[part] {
				for _, in := range []map[deputy.Part]off{elsewhere[p.use], elsewhere[p.held], p.other} {
					if differs, ok := in[part]; ok {
						if way.status, way.code = differs.status, differs.code; differs.turn != nil {
							way.turn = differs.turn
						}
					}
				}
				all = append(all, cell{p, string(part), state, way})
			}
		}
		for state, way := range p.more {
			all = append(all, cell{p, "", state, way})
		}
	}
	for use := range deputy.Uses() {
		if !covered[use] {
			lacking = append(lacking, string(use)+" has no path")
		}
	}
	slices.SortFunc(all, func(a, b cell) int {
		return cmp.Or(cmp.Compare(a.path.name, b.path.name), cmp.Compare(a.part, b.part), cmp.Compare(a.state, b.state))
	})
	return all, lacking
}

// run turns the part off at one node between requests to both. The first succeed
// and the very next ones are refused, wherever they are sent.
func (c *cell) run(t *testing.T, at *duo) {
	s := at.newCrossing(t)
	send := c.sending()
	for _, a := range []*answer{s.elsewhere(send), send(s.stage)} {
		if a.status != cmp.Or(c.path.ok, 200) {
			t.Fatalf("with everything in force: %s", a)
		}
	}
	s.clock.advance(10 * time.Millisecond)
	c.turn(s.stage)
	for node, a := range map[string]*answer{"the other": s.elsewhere(send), "the same": send(s.stage)} {
		if a.status != c.status || a.text("error") != c.code {
			t.Errorf("%s node answers %s, want %d %s", node, a, c.status, c.code)
		}
	}
}

// TestOffMeansOff turns off every part of what every path rests on, on both
// databases: at one node, and the next request at the other is refused. The
// table it has walked is docs/revocation.md.
func TestOffMeansOff(t *testing.T) {
	all, lacking := cells()
	for _, what := range lacking {
		t.Error(what)
	}
	seen := watchEndpoints()
	every := deputytest.Times(10, 1, 1)
	for name, open := range duos {
		t.Run(name, func(t *testing.T) {
			at := open(t)
			queue := make(chan *cell)
			var workers sync.WaitGroup
			for range 12 {
				workers.Go(func() {
					for c := range queue {
						t.Run(c.path.name+"/"+strings.TrimSpace(c.part+" "+c.state), func(t *testing.T) { c.run(t, at) })
					}
				})
			}
			for i := range all {
				// Of a few cells, others on each database.
				if i%every == len(name)%every {
					queue <- &all[i]
				}
			}
			close(queue)
			workers.Wait()
		})
	}
	if every == 1 {
		for _, path := range seen() {
			t.Errorf("nothing here asks at the endpoint %s", path)
		}
	}
	golden(t, "../../docs/revocation.md", matrixPage(all))
}

// golden compares a page with what is committed, or writes it.
func golden(t *testing.T, file, text string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	had, err := os.ReadFile(file)
	if err != nil || string(had) != text {
		t.Errorf("%s is not what the test walks (%v): run go test ./internal/oauth -run TestOffMeansOff -update", file, err)
	}
}

// matrixPage is the table for operators.
func matrixPage(all []cell) string {
	b := &strings.Builder{}
	b.WriteString(matrixIntroduction)
	for _, name := range slices.Compact(slices.Collect(func(yield func(string) bool) {
		for _, c := range all {
			if !yield(c.path.name) {
				return
			}
		}
	})) {
		fmt.Fprintf(b, "\n## %s\n\n| What is off | How | Answer |\n|---|---|---|\n", strings.ToUpper(name[:1])+name[1:])
		states := make(map[[2]string][]string)
		for _, c := range all {
			if c.path.name == name {
				row := [2]string{cmp.Or(c.part, "else"), strings.TrimSpace(fmt.Sprintf("%d %s", c.status, c.code))}
				states[row] = append(states[row], c.state)
			}
		}
		for _, row := range slices.SortedFunc(maps.Keys(states), func(a, b [2]string) int {
			return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]))
		}) {
			fmt.Fprintf(b, "| %s | %s | `%s` |\n", row[0], strings.Join(states[row], ", "), row[1])
		}
	}
	return b.String()
}

const matrixIntroduction = `# What off means

When something is deleted, revoked, disabled, archived or has run out, the very next request that rests on it is refused, on every node, with no window: whoever asks after the change was acknowledged gets the answer below. One function decides for every way in which something is handed out, and every commit that hands something out proves that nothing it rested on has moved.

This page is written by the test that walks it: each line was turned off at one node while requests succeeded at two, and the next request at either was refused, on SQLite and on PostgreSQL. ` + "`inactive`" + ` stands for introspection's ` + "`{\"active\":false}`" + `; an answer without a code is a page or leads to one.

What was handed out before is another matter: whoever validates an access token offline, by the zone's keys, accepts it until it expires. Ask at the introspection endpoint, follow the feed of revocations ([signals.md](signals.md)), or give tokens shorter lives (` + "`credential_lifetime_seconds`" + ` of a resource). A secret from the vault ends where it came from, and a token of another provider at that provider.
`
