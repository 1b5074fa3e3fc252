package oauth_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/keys"
	"deputy/internal/oauth"
	"deputy/internal/policy"
	"deputy/internal/store"
	"deputy/internal/upstream"
	"deputy/internal/vault"
)

const publicURL = "http://deputy.test"

// clock stands still until a test moves it, moves by a tick whenever somebody
// looks at it, or is the machine's.
type clock struct {
	mu   sync.Mutex
	now  time.Time
	tick time.Duration
	real bool
}

func (c *clock) Now() time.Time {
	if c.real {
		return time.Now()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(c.tick)
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// sealing is the vault as the log uses it.
type sealing struct{ vault *vault.Vault }

func personalPlace(e deputy.EventID) vault.Place {
	return vault.Place{Table: "events", Column: "personal", Row: string(e)}
}

func (s *sealing) SealPersonal(ctx context.Context, key deputy.ID, e deputy.EventID, personal []byte) ([]byte, error) {
	return s.vault.Seal(ctx, key, personalPlace(e), personal)
}

func (s *sealing) OpenPersonal(ctx context.Context, e deputy.EventID, sealed []byte) ([]byte, error) {
	return s.vault.Open(ctx, personalPlace(e), sealed)
}

// world is a store with one organization and one zone as a create call leaves
// it, and a server in front of it.
type world struct {
	testing.TB
	clock   *clock
	store   *store.Store
	vault   *vault.Vault
	sealing *sealing
	config  oauth.Config
	server  *oauth.Server
	algs    []deputy.SigningAlgorithm
	root    [32]byte
	lease   time.Duration // of refreshes
	path    string        // of a SQLite database
	ear     string        // a receiver's access token

	platform     deputy.ID
	organization *deputy.Organization
	zone         *deputy.Zone
	sts          *deputy.Provider
	vaulted      *deputy.Provider
	signers      map[deputy.SigningAlgorithm]*keys.Signer
}

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// newWorld makes a world whose keys are of the given algorithms; the first is
// the zone's choice. Without any they are of ES256, which take no time to make.
func newWorld(t testing.TB, algs ...deputy.SigningAlgorithm) *world {
	t.Helper()
	return newWorldAt(t, noon, algs...)
}

func newWorldAt(t testing.TB, now time.Time, algs ...deputy.SigningAlgorithm) *world {
	t.Helper()
	if len(algs) == 0 {
		algs = []deputy.SigningAlgorithm{deputy.ES256}
	}
	w := &world{TB: t, clock: &clock{now: now}, platform: deputy.NewID(now), algs: algs}
	rand.Read(w.root[:])
	w.path = deputytest.SQLite(t)
	w.open(store.Config{Path: w.path})
	w.fill()
	return w
}

// open opens the store and puts a server in front of it.
func (w *world) open(c store.Config) {
	w.Helper()
	var cursors [32]byte
	rand.Read(cursors[:])
	w.sealing = new(sealing)
	c.CursorKey, c.Now, c.Sealing, c.Migrate, c.Logger = cursors[:], w.clock.Now, w.sealing, true, slog.New(slog.DiscardHandler)
	opened, err := store.Open(context.Background(), c)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { opened.Close() })
	w.store, w.vault = opened, vault.New(vault.NewRoot(w.root), opened)
	w.sealing.vault = w.vault
	w.serve()
}

// serve puts a server in front of the store.
func (w *world) serve() {
	w.Helper()
	addresses, err := deputy.NewAddresses(publicURL, "zones.test")
	if err != nil {
		w.Fatal(err)
	}
	w.config = oauth.Config{
		Store: w.store, Vault: w.vault, Addresses: addresses, Platform: w.platform,
		Now: w.clock.Now, Logger: slog.New(slog.NewTextHandler(w.Output(), nil)), RefreshLease: w.lease,
		Fetcher: upstream.New(upstream.Config{Now: w.clock.Now, Dev: true}),
	}
	w.Cleanup(w.config.Fetcher.Close)
	w.server = oauth.New(w.config)
	w.Cleanup(w.server.Close)
}

// fill makes what a first start and a create call leave.
func (w *world) fill() {
	w.Helper()
	w.organization = w.newOrganization("Acme", string(w.id()))
	w.zone, w.sts, w.vaulted = w.newZone(w.organization, deputy.PathIssuer)
}

// id returns a new id and moves the clock, so that ids are in order.
func (w *world) id() deputy.ID {
	w.clock.advance(time.Millisecond)
	return deputy.NewID(w.clock.Now())
}

// write changes the store as the management API does.
func (w *world) write(zone deputy.ZoneID, apply func(context.Context, deputy.Tx) error) {
	w.Helper()
	if err := w.tryWrite(zone, apply); err != nil {
		w.Fatal(err)
	}
}

func (w *world) tryWrite(zone deputy.ZoneID, apply func(context.Context, deputy.Tx) error) error {
	ctx := context.Background()
	e := &deputy.Event{
		ID: deputy.EventID(w.id()), Time: w.clock.Now(), Type: "things:change", Outcome: deputy.Success,
		ZoneID: zone, Actor: deputy.Actor{Type: "platform"},
	}
	if w.organization != nil {
		e.OrganizationID = w.organization.ID
	} else {
		e.OrganizationID = deputy.OrganizationID(w.platform)
	}
	return w.store.Write(ctx, e, func(tx deputy.Tx) error { return apply(ctx, tx) })
}

func (w *world) newOrganization(name, label string) *deputy.Organization {
	w.Helper()
	id := w.id()
	key := w.newDataKey(id, "")
	o := &deputy.Organization{
		ID: deputy.OrganizationID(id), Name: name, Label: label, KeyID: key.ID,
		CreatedAt: w.clock.Now(), UpdatedAt: w.clock.Now(),
	}
	w.write("", func(ctx context.Context, tx deputy.Tx) error {
		if err := tx.InsertDataKey(ctx, key); err != nil {
			return err
		}
		return tx.Organizations().Insert(ctx, o)
	})
	return o
}

func (w *world) newDataKey(owner, parent deputy.ID) deputy.DataKey {
	w.Helper()
	key, err := w.vault.New(context.Background(), owner, parent, w.clock.Now())
	if err != nil {
		w.Fatal(err)
	}
	return key
}

// newKeys makes an active key of each of the world's algorithms.
func (w *world) newKeys(owner, dataKey deputy.ID) ([]deputy.SigningKey, map[deputy.SigningAlgorithm]*keys.Signer) {
	w.Helper()
	signers := make(map[deputy.SigningAlgorithm]*keys.Signer)
	var rows []deputy.SigningKey
	for _, alg := range w.algs {
		signer, row, err := keys.Generate(context.Background(), w.vault, keys.NewPool(1), keys.Spec{
			Owner: owner, DataKey: dataKey, Algorithm: alg, State: deputy.KeyActive, Now: w.clock.Now(),
		})
		if err != nil {
			w.Fatal(err)
		}
		signers[alg] = signer
		rows = append(rows, row)
	}
	return rows, signers
}

// newZone makes a zone as it is when its create call answers.
func (w *world) newZone(o *deputy.Organization, form deputy.IssuerForm) (z *deputy.Zone, sts, vaulted *deputy.Provider) {
	w.Helper()
	now := w.clock.Now()
	id := w.id()
	dataKey := w.newDataKey(id, "")
	rows, signers := w.newKeys(id, dataKey.ID)
	if w.signers == nil {
		w.signers = signers
	}
	z = &deputy.Zone{
		ID: deputy.ZoneID(id), OrganizationID: o.ID, Owner: deputy.Customer, Slug: "zone", Name: "Zone",
		LoginFlow: "default", PKCERequired: true, DCREnabled: true, SigningAlg: string(w.algs[0]), IssuerForm: form,
		KeyID: dataKey.ID, CreatedAt: now, UpdatedAt: now,
	}
	provider := func(kind deputy.ProviderType, identifier, name string) *deputy.Provider {
		return &deputy.Provider{
			ID: deputy.ProviderID(w.id()), OrganizationID: o.ID, ZoneID: z.ID, Owner: deputy.Platform, Slug: deputy.Slug(name, "p"),
			Identifier: identifier, Name: name, Type: kind, CreatedAt: now, UpdatedAt: now,
		}
	}
	sts = provider(deputy.STSProvider, deputy.STSIdentifier, deputy.STSProviderName)
	vaulted = provider(deputy.VaultProvider, deputy.VaultIdentifier, deputy.VaultProviderName)
	builtin := &deputy.Resource{
		ID: deputy.ResourceID(w.id()), OrganizationID: o.ID, ZoneID: z.ID, Owner: deputy.Platform, Slug: deputy.UserInfoSlug,
		Identifier: deputy.UserInfoIdentifier, Name: "User info", ApplicationType: deputy.Web,
		CredentialProviderID: &sts.ID, CreatedAt: now, UpdatedAt: now,
	}
	managed, err := policy.Defaults(policy.DefaultSchema)
	if err != nil {
		w.Fatal(err)
	}
	w.write(z.ID, func(ctx context.Context, tx deputy.Tx) error {
		if err := tx.InsertDataKey(ctx, dataKey); err != nil {
			return err
		}
		if err := tx.Zones().Insert(ctx, z); err != nil {
			return err
		}
		for _, row := range rows {
			if err := tx.InsertSigningKey(ctx, row); err != nil {
				return err
			}
		}
		for _, p := range []*deputy.Provider{sts, vaulted} {
			if err := tx.Providers().Insert(ctx, p); err != nil {
				return err
			}
		}
		return tx.Resources().Insert(ctx, builtin)
	})
	texts := make(map[string]string)
	order := make([]string, 0, len(managed))
	for _, m := range managed {
		texts[m.Name] = m.Text
		order = append(order, m.Name)
	}
	w.activate(z, policy.DefaultSetName, order, texts)
	return z, sts, vaulted
}

// activate makes a policy set of the texts and makes it the one that decides.
func (w *world) activate(z *deputy.Zone, name string, order []string, texts map[string]string, change ...func(*deputy.PolicySetVersion)) *deputy.PolicySet {
	w.Helper()
	return w.bind(deputy.Tx.Activate, z, name, order, texts, change...)
}

// bind makes a policy set of the texts and binds it.
func (w *world) bind(how func(deputy.Tx, context.Context, deputy.ZoneID, deputy.ID, deputy.ID) (deputy.ID, error),
	z *deputy.Zone, name string, order []string, texts map[string]string, change ...func(*deputy.PolicySetVersion)) *deputy.PolicySet {
	w.Helper()
	now := w.clock.Now()
	set := &deputy.PolicySet{
		ID: w.id(), ZoneID: z.ID, Owner: deputy.Customer, Name: name, TargetType: "zone", TargetID: string(z.ID),
		CreatedBy: "test", UpdatedBy: "test", CreatedAt: now, UpdatedAt: now,
	}
	var manifest []deputy.ManifestEntry
	var entries []policy.Entry
	var policies []*deputy.Policy
	var versions []*deputy.PolicyVersion
	for _, n := range order {
		doc, err := policy.ParseText(texts[n])
		if err != nil {
			w.Fatalf("%s: %v", n, err)
		}
		p := &deputy.Policy{
			ID: w.id(), ZoneID: z.ID, Owner: deputy.Customer, Name: name + "/" + n,
			CreatedBy: "test", UpdatedBy: "test", CreatedAt: now, UpdatedAt: now,
		}
		v := &deputy.PolicyVersion{
			ID: w.id(), ZoneID: z.ID, PolicyID: p.ID, Owner: deputy.Customer, SchemaVersion: policy.DefaultSchema,
			Text: doc.Text(), JSON: doc.JSON(), SHA: doc.SHA(), CreatedBy: "test", CreatedAt: now,
		}
		policies, versions = append(policies, p), append(versions, v)
		manifest = append(manifest, deputy.ManifestEntry{PolicyID: p.ID, PolicyVersionID: v.ID, SHA: v.SHA})
		entries = append(entries, policy.Entry{PolicyID: p.ID, VersionID: v.ID, SHA: v.SHA})
	}
	sha, err := policy.ManifestSHA(entries)
	if err != nil {
		w.Fatal(err)
	}
	version := &deputy.PolicySetVersion{
		ID: w.id(), ZoneID: z.ID, PolicySetID: set.ID, Owner: deputy.Customer, SchemaVersion: policy.DefaultSchema,
		Manifest: manifest, ManifestSHA: sha, Attestation: []byte(`{}`), CreatedBy: "test", CreatedAt: now,
	}
	for _, f := range change {
		f(version)
	}
	w.write(z.ID, func(ctx context.Context, tx deputy.Tx) error {
		for i := range policies {
			if err := tx.Policies().Insert(ctx, policies[i]); err != nil {
				return err
			}
			if err := tx.PolicyVersions().Insert(ctx, versions[i]); err != nil {
				return err
			}
		}
		if err := tx.PolicySets().Insert(ctx, set); err != nil {
			return err
		}
		if err := tx.PolicySetVersions().Insert(ctx, version); err != nil {
			return err
		}
		_, err := how(tx, ctx, z.ID, set.ID, version.ID)
		return err
	})
	return set
}

// app is an application with a client secret.
type app struct {
	*deputy.Application
	credential *deputy.Credential
	secret     string
}

func (w *world) newApp(name string) *app {
	w.Helper()
	now := w.clock.Now()
	a := &deputy.Application{
		ID: deputy.ApplicationID(w.id()), OrganizationID: w.organization.ID, ZoneID: w.zone.ID, Owner: deputy.Customer,
		Slug: deputy.Slug(name, "app"), Identifier: "urn:app:" + name, Name: name, Consent: deputy.ImplicitConsent,
		CreatedAt: now, UpdatedAt: now,
	}
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error { return tx.Applications().Insert(ctx, a) })
	c, secret := w.newCredential(a)
	return &app{a, c, secret}
}

func (w *world) newCredential(a *deputy.Application) (*deputy.Credential, string) {
	w.Helper()
	secret := deputy.NewSecret()
	c := w.insertCredential(a, deputy.PasswordCredential, func(c *deputy.Credential) {
		c.SecretHash = deputy.HashSecret(secret)
	})
	return c, secret.Reveal()
}

func (w *world) insertCredential(a *deputy.Application, kind deputy.CredentialType, set func(*deputy.Credential)) *deputy.Credential {
	w.Helper()
	now := w.clock.Now()
	c := &deputy.Credential{
		ID: deputy.CredentialID(w.id()), OrganizationID: a.OrganizationID, ZoneID: a.ZoneID, ApplicationID: a.ID,
		Slug: "c", Type: kind, Identifier: deputy.NewClientID(), CreatedAt: now, UpdatedAt: now,
	}
	if set != nil {
		set(c)
	}
	w.write(a.ZoneID, func(ctx context.Context, tx deputy.Tx) error { return tx.Credentials().Insert(ctx, c) })
	return c
}

func (w *world) newResource(identifier string, set func(*deputy.Resource)) *deputy.Resource {
	w.Helper()
	now := w.clock.Now()
	r := &deputy.Resource{
		ID: deputy.ResourceID(w.id()), OrganizationID: w.organization.ID, ZoneID: w.zone.ID, Owner: deputy.Customer,
		Slug: "r", Identifier: identifier, Name: "Resource " + identifier, ApplicationType: deputy.Web,
		CredentialProviderID: &w.sts.ID, CreatedAt: now, UpdatedAt: now,
	}
	if set != nil {
		set(r)
	}
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error { return tx.Resources().Insert(ctx, r) })
	return r
}

func (w *world) depend(a *app, r *deputy.Resource, when ...deputy.ResourceID) {
	w.Helper()
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		return tx.Dependencies().Insert(ctx, &deputy.Dependency{
			ZoneID: w.zone.ID, ApplicationID: a.ID, ResourceID: r.ID, WhenAccessing: when, CreatedAt: w.clock.Now(),
		})
	})
}

// in is the scope of the zone.
func (w *world) in() deputy.Scope {
	return deputy.Scope{Organization: w.organization.ID, Zone: w.zone.ID}
}

// person is a user with a session at a browser and one at a client.
type person struct {
	*deputy.User
	web, child *deputy.Session
}

func (w *world) newPerson(identifier string) *person {
	w.Helper()
	now := w.clock.Now()
	id := w.id()
	key := w.newDataKey(id, w.zone.KeyID)
	u := &deputy.User{
		ID: deputy.UserID(id), OrganizationID: w.organization.ID, ZoneID: w.zone.ID, Identifier: identifier,
		Email: identifier, EmailVerified: true, Status: deputy.UserActive, KeyID: key.ID, CreatedAt: now, UpdatedAt: now,
	}
	session := func(parent *deputy.SessionID) *deputy.Session {
		return &deputy.Session{
			ID: deputy.SessionID(w.id()), OrganizationID: w.organization.ID, ZoneID: w.zone.ID, Type: deputy.UserSession,
			Status: deputy.Active, ParentID: parent, UserID: &u.ID, AuthenticatedAt: now,
			ExpiresAt: now.Add(24 * time.Hour), CreatedAt: now, UpdatedAt: now,
		}
	}
	web := session(nil)
	child := session(&web.ID)
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		if err := tx.InsertDataKey(ctx, key); err != nil {
			return err
		}
		if err := tx.Users().Insert(ctx, u); err != nil {
			return err
		}
		if err := tx.Sessions().Insert(ctx, web); err != nil {
			return err
		}
		return tx.Sessions().Insert(ctx, child)
	})
	return &person{u, web, child}
}

func (w *world) issuer() string { return w.config.Addresses.Issuer(w.zone) }

// sign signs claims with a key of the zone, as an access token.
func (w *world) sign(alg deputy.SigningAlgorithm, typ string, claims map[string]any) string {
	w.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		w.Fatal(err)
	}
	token, err := w.signers[alg].Sign(typ, payload)
	if err != nil {
		w.Fatal(err)
	}
	return token
}

// userClaims are those of a token that p got at a client for the resource.
func (w *world) userClaims(p *person, clientID, audience string) map[string]any {
	now := w.clock.Now()
	return map[string]any{
		"iss": w.issuer(), "sub": p.Identifier, "aud": audience, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"jti": string(w.id()), "client_id": clientID, "sub_profile": "user", "sid": string(p.child.ID), "keycard_app_id": "urn:app:client",
	}
}

func (w *world) userToken(p *person, clientID, audience string) string {
	w.Helper()
	return w.sign(deputy.ES256, "at+jwt", w.userClaims(p, clientID, audience))
}

// answer is a response, with its JSON object.
type answer struct {
	status int
	header http.Header
	body   string
	json   map[string]any
}

func (a *answer) text(member string) string {
	s, _ := a.json[member].(string)
	return s
}

func (a *answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// asked are the endpoints that something was sent to.
var asked sync.Map

// do sends a request to the server.
func (w *world) do(r *http.Request) *answer {
	w.Helper()
	if !w.server.Handles(r) {
		w.Fatalf("%s is not for the server", r.URL)
	}
	asked.Store(oauth.EndpointOf(w.server, r), true)
	rec := httptest.NewRecorder()
	w.server.ServeHTTP(rec, r)
	body, _ := io.ReadAll(rec.Body)
	a := &answer{status: rec.Code, header: rec.Header(), body: string(body)}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &a.json); err != nil {
			w.Fatalf("the answer %s is not JSON: %v", a, err)
		}
	}
	return a
}

// post sends a form to the zone's token endpoint, as the app with Basic
// authentication unless it is nil.
func (w *world) post(a *app, form url.Values) *answer {
	w.Helper()
	return w.postTo("/oauth/2/token", a, form)
}

// postTo sends a form to another endpoint of the zone.
func (w *world) postTo(path string, a *app, form url.Values) *answer {
	w.Helper()
	r := httptest.NewRequest("POST", "/z/"+string(w.zone.ID)+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.RemoteAddr = "192.0.2.7:1234"
	if a != nil {
		r.SetBasicAuth(a.credential.Identifier, a.secret)
	}
	return w.do(r)
}

// form makes a form from pairs of name and value.
func form(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v
}

// credentialsFor asks for a token with client credentials.
func (w *world) credentialsFor(a *app, resource string, more ...string) *answer {
	w.Helper()
	f := form(append([]string{"grant_type", "client_credentials"}, more...)...)
	if resource != "" {
		f.Set("resource", resource)
	}
	return w.post(a, f)
}

const exchangeGrantType = "urn:ietf:params:oauth:grant-type:token-exchange"
const accessTokenType = "urn:ietf:params:oauth:token-type:access_token"

// exchange exchanges a token for one for the resource.
func (w *world) exchange(a *app, subjectToken, resource string, more ...string) *answer {
	w.Helper()
	f := form(append([]string{
		"grant_type", exchangeGrantType, "subject_token", subjectToken, "subject_token_type", accessTokenType,
	}, more...)...)
	if resource != "" {
		f.Set("resource", resource)
	}
	return w.post(a, f)
}

// events returns the events of the organization with the type, oldest first.
func (w *world) events(kind string) []*deputy.Event {
	w.Helper()
	page, err := w.store.Events(context.Background(), deputy.EventQuery{Organization: w.organization.ID, Limit: 100})
	if err != nil {
		w.Fatal(err)
	}
	var all []*deputy.Event
	for i := len(page.Items) - 1; i >= 0; i-- {
		e, err := page.Items[i].Event(context.Background(), w.sealing)
		if err != nil {
			w.Fatal(err)
		}
		if e.Type == kind {
			all = append(all, e)
		}
	}
	return all
}

// lastEvent returns the newest credentials:issue event.
func (w *world) lastEvent() *deputy.Event {
	w.Helper()
	all := w.events("credentials:issue")
	if len(all) == 0 {
		w.Fatal("there is no event")
	}
	return all[len(all)-1]
}

// payload returns the claims of a token, unverified.
func (w *world) payload(token string) map[string]any {
	w.Helper()
	return w.part(token, 1)
}

func (w *world) part(token string, n int) map[string]any {
	w.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		w.Fatalf("%q is not a JWS", token)
	}
	var m map[string]any
	if err := json.Unmarshal(decode(w, parts[n]), &m); err != nil {
		w.Fatal(err)
	}
	return m
}

// must fails unless the answer has the status and, for refusals, the code.
func (w *world) must(a *answer, status int, code string) *answer {
	w.Helper()
	if a.status != status || a.text("error") != code {
		w.Fatalf("got %s, want %d %s", a, status, code)
	}
	return a
}

// restart puts another server in front of the store, as another node or the
// next start would.
func (w *world) restart() {
	w.server = oauth.New(w.config)
	w.Cleanup(w.server.Close)
}

// platformSigner returns a signer of the management plane's active key.
func (w *world) platformSigner() *keys.Signer {
	w.Helper()
	rows, err := w.store.SigningKeys(context.Background(), w.platform)
	if err != nil {
		w.Fatal(err)
	}
	row, _ := keys.Active(rows, deputy.ES256)
	signer, err := keys.Load(context.Background(), w.vault, row)
	if err != nil {
		w.Fatal(err)
	}
	return signer
}
