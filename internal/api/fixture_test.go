package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"deputy/internal/api"
	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/keys"
	"deputy/internal/store"
	"deputy/internal/vault"
)

// server is the whole API over a SQLite store of its own, with two
// organizations, each with an administrating service account.
type server struct {
	t     testing.TB
	api   *api.API
	store deputy.Store
	vault *vault.Vault
	vars  map[string]string
	seen  map[deputy.OrganizationID]int
	read  map[deputy.OrganizationID]readLog
	log   *bytes.Buffer
	mu    sync.Mutex
	clock time.Time
	// between runs before the next change of the API commits.
	between func()
}

// interrupted is a store that lets something happen before a change.
type interrupted struct {
	deputy.Store
	s *server
}

func (i interrupted) Write(ctx context.Context, e *deputy.Event, apply func(deputy.Tx) error) error {
	if between := i.s.between; between != nil {
		i.s.between = nil
		between()
	}
	return i.Store.Write(ctx, e, apply)
}

// pool is shared: an RSA key takes a while to find.
var pool = keys.NewPool(8)

func TestMain(m *testing.M) {
	if os.Getenv(dieAt) != "" {
		runAndDie()
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() { _ = pool.Run(ctx) }()
	m.Run()
	stop()
}

// openSealing keeps personal fields as they are: nothing here involves people.
type openSealing struct{}

func (openSealing) SealPersonal(_ context.Context, _ deputy.ID, _ deputy.EventID, personal []byte) ([]byte, error) {
	return personal, nil
}

func (openSealing) OpenPersonal(_ context.Context, _ deputy.EventID, sealed []byte) ([]byte, error) {
	return sealed, nil
}

const publicURL = "http://deputy.test:8080"

func newServer(t testing.TB) *server {
	t.Helper()
	return newServerOn(t, store.Config{Path: deputytest.SQLite(t)})
}

// newServerOn is newServer over another database.
func newServerOn(t testing.TB, database store.Config) *server {
	t.Helper()
	s := &server{
		t: t, vars: map[string]string{}, seen: map[deputy.OrganizationID]int{}, read: map[deputy.OrganizationID]readLog{}, log: &bytes.Buffer{},
		clock: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC),
	}
	s.api, s.store, s.vault = s.node(database)
	s.vars["org"] = string(s.organization("Own", "own", "admin"))
	s.platform()
	s.vars["foreign"] = string(s.organization("Foreign", "foreign", "stranger"))
	return s
}

// node returns one more API over a database, with a store of its own.
func (s *server) node(database store.Config) (*api.API, deputy.Store, *vault.Vault) {
	s.t.Helper()
	database.CursorKey, database.Now, database.Sealing, database.Migrate = make([]byte, 32), s.now, openSealing{}, true
	opened, err := store.Open(s.t.Context(), database)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { opened.Close() })
	keys := vault.New(vault.NewRoot([32]byte{1}), opened)
	addresses, err := deputy.NewAddresses(publicURL, "")
	if err != nil {
		s.t.Fatal(err)
	}
	node, err := api.New(api.Config{
		Store: interrupted{opened, s}, Addresses: addresses, Authenticate: s.authenticate, IssueBearer: s.issueBearer, Vault: keys, Pool: pool,
		Sealing: openSealing{}, Now: s.now, Version: "test", Log: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return node, opened, keys
}

// now moves on with every look, so that nothing happens at the same time.
func (s *server) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = s.clock.Add(time.Millisecond)
	return s.clock
}

// organization adds an organization whose service account has the client id.
func (s *server) organization(name, label, clientID string) deputy.OrganizationID {
	s.t.Helper()
	now := s.now()
	o := &deputy.Organization{ID: deputy.OrganizationID(deputy.NewID(now)), Name: name, Label: label, CreatedAt: now, UpdatedAt: now}
	key, err := s.vault.New(s.t.Context(), deputy.ID(o.ID), "", now)
	if err != nil {
		s.t.Fatal(err)
	}
	o.KeyID = key.ID
	a := &deputy.ServiceAccount{ID: deputy.NewID(now), OrganizationID: o.ID, Name: clientID, CreatedAt: now, UpdatedAt: now}
	c := &deputy.ServiceAccountCredential{
		ID: deputy.NewID(now), OrganizationID: o.ID, ServiceAccountID: a.ID, ClientID: clientID,
		SecretHash: deputy.HashSecret(deputy.NewSecret()), CreatedAt: now,
	}
	s.write(o.ID, func(tx deputy.Tx) error {
		ctx := s.t.Context()
		return errors.Join(tx.InsertDataKey(ctx, key), tx.Organizations().Insert(ctx, o), tx.ServiceAccounts().Insert(ctx, a), tx.ServiceCredentials().Insert(ctx, c))
	})
	return o.ID
}

// platform gives the platform its keys.
func (s *server) platform() {
	s.t.Helper()
	ctx, now := s.t.Context(), s.now()
	data, err := s.vault.New(ctx, deputy.PlatformID, "", now)
	if err != nil {
		s.t.Fatal(err)
	}
	_, signing, err := keys.Generate(ctx, s.vault, nil, keys.Spec{
		Owner: deputy.PlatformID, DataKey: data.ID, Algorithm: deputy.ES256, State: deputy.KeyActive, Now: now,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(deputy.OrganizationID(s.vars["org"]), func(tx deputy.Tx) error {
		return errors.Join(tx.InsertDataKey(ctx, data), tx.InsertSigningKey(ctx, signing))
	})
}

// get reads an answer.
func (s *server) get(path string, out any) {
	s.t.Helper()
	w := s.request(step{do: "GET " + path})
	if w.Code != http.StatusOK {
		s.t.Fatalf("%s: status %d: %s", path, w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), out); err != nil {
		s.t.Fatal(err)
	}
}

// write changes the store beside the API.
func (s *server) write(o deputy.OrganizationID, change func(deputy.Tx) error) {
	s.t.Helper()
	now := s.now()
	err := s.store.Write(s.t.Context(), &deputy.Event{
		ID: deputy.EventID(deputy.NewID(now)), Time: now, Type: "tests:arrange", Outcome: deputy.Success,
		OrganizationID: o, Actor: deputy.Actor{Type: "platform"},
	}, change)
	if err != nil {
		s.t.Fatal(err)
	}
	s.seen[o]++
}

// authenticate takes a client id as the token; of a person their mail address,
// or ADDRESS/LABEL for the organization with the label instead of the first
// that they are in.
func (s *server) authenticate(ctx context.Context, bearer, _ string) (*deputy.Caller, error) {
	switch bearer {
	case "ghost": // whose credential goes between this and the change
		return &deputy.Caller{Organization: deputy.OrganizationID(s.vars["org"]), ClientID: bearer}, nil
	case "phantom": // a person who goes likewise
		return &deputy.Caller{Organization: deputy.OrganizationID(s.vars["org"]), Account: "phantom", Role: deputy.OrganizationAdmin}, nil
	}
	email, label, _ := strings.Cut(bearer, "/")
	users, err := s.store.AccountsOf(ctx, "email", email)
	if err != nil {
		return nil, err
	}
	for _, u := range users {
		o, err := s.store.Organizations().Get(ctx, deputy.Scope{}, deputy.ID(u.OrganizationID))
		if err != nil {
			return nil, err
		}
		if (label == "" || label == o.Label) && u.Status == deputy.UserActive {
			return &deputy.Caller{Organization: o.ID, Account: u.ID, Name: u.Email, ClientID: "console", Role: u.Role, KeyID: u.KeyID, Until: bearersEnd}, nil
		}
	}
	account, err := s.store.Account(ctx, bearer)
	if err != nil {
		return nil, deputy.Errorf(deputy.Unauthenticated, "the token is not valid")
	}
	return &deputy.Caller{
		Organization: account.Organization.ID, Account: account.Account.ID, Name: account.Account.Name,
		ClientID: bearer, Credential: account.Credential.ID,
	}, nil
}

// bearersEnd is when the bearers of people end.
var bearersEnd = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// issueBearer answers what authenticate takes, if it is to end with the bearer
// that it is asked for with.
func (s *server) issueBearer(ctx context.Context, r deputy.BearerRequest) (*deputy.Bearer, error) {
	if !r.Until.Equal(bearersEnd) {
		return nil, fmt.Errorf("the bearer is to end at %v", r.Until)
	}
	u, err := s.store.OrganizationUsers().Get(ctx, deputy.Scope{Organization: r.Organization}, r.Account)
	if err != nil {
		return nil, err
	}
	o, err := s.store.Organizations().Get(ctx, deputy.Scope{}, deputy.ID(r.Organization))
	if err != nil {
		return nil, err
	}
	return &deputy.Bearer{Token: deputy.Conceal(u.Email + "/" + o.Label), Lifetime: time.Hour}, nil
}

// person adds a person to the organization kept as the variable, with the local
// part of their address at example.com, and keeps their id under it.
func (s *server) person(organization, local string, role deputy.OrganizationRole) *deputy.OrganizationUser {
	s.t.Helper()
	now := s.now()
	id := deputy.NewID(now)
	if known := s.vars[local]; known != "" { // in another organization
		id = deputy.ID(known)
	}
	u := &deputy.OrganizationUser{
		OrganizationID: deputy.OrganizationID(s.vars[organization]), ID: id, Email: local + "@example.com", Role: role,
		Status: deputy.UserActive, Subject: string(id), CreatedAt: now, UpdatedAt: now,
	}
	s.write(u.OrganizationID, func(tx deputy.Tx) error { return tx.OrganizationUsers().Insert(s.t.Context(), u) })
	s.vars[local] = string(id)
	return u
}

// member gives a person a role in the zone kept as the variable.
func (s *server) member(zone, local string, role deputy.ZoneRole) {
	s.t.Helper()
	now, organization := s.now(), deputy.OrganizationID(s.vars["org"])
	m := &deputy.ZoneMember{
		ID: deputy.NewID(now), OrganizationID: organization, ZoneID: deputy.ZoneID(s.vars[zone]), UserID: s.id(local), Role: role,
		CreatedAt: now, UpdatedAt: now,
	}
	s.write(organization, func(tx deputy.Tx) error { return tx.ZoneMembers().Insert(s.t.Context(), m) })
}

// id, inOrganization and inZone are variables as the store takes them.
func (s *server) id(name string) deputy.ID { return deputy.ID(s.vars[name]) }

func (s *server) inOrganization(name string) deputy.Scope {
	return deputy.Scope{Organization: deputy.OrganizationID(s.vars[name])}
}

func (s *server) inZone(name string) deputy.Scope {
	return deputy.Scope{Zone: deputy.ZoneID(s.vars[name])}
}

// step is one request with what must come of it. Braces in the request and in
// what is wanted stand for variables.
type step struct {
	do     string // method and path
	as     string // client id; admin unless said, "-" for none
	header map[string]string
	body   string
	status int
	// want is JSON that the answer must contain: members that are named, with
	// "<any>" for any value and "<absent>" for none.
	want string
	// keep names members of the answer to keep as variables: name=path.
	keep []string
	// events are the types recorded by the step in the caller's organization,
	// with ! behind a failure.
	events []string
	// heads are headers of the answer.
	heads map[string]string
}

func (s *server) run(steps ...step) {
	s.t.Helper()
	for i, st := range steps {
		s.step(fmt.Sprintf("step %d: %s", i+1, s.fill(st.do)), st)
	}
}

// fill replaces {name} by the variable.
func (s *server) fill(text string) string {
	for name, value := range s.vars {
		text = strings.ReplaceAll(text, "{"+name+"}", value)
	}
	return text
}

// request makes the call and checks that the answer is one that the document
// promises.
func (s *server) request(st step) *httptest.ResponseRecorder {
	s.t.Helper()
	return s.requestAt(s.api, st)
}

// requestAt is request at another node.
func (s *server) requestAt(node *api.API, st step) *httptest.ResponseRecorder {
	s.t.Helper()
	method, path, _ := strings.Cut(s.fill(st.do), " ")
	r := httptest.NewRequest(method, path, strings.NewReader(s.fill(st.body)))
	if st.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if st.as != "-" {
		as := st.as
		if as == "" {
			as = "admin"
		}
		r.Header.Set("Authorization", "Bearer "+as)
	}
	for name, value := range st.header {
		r.Header.Set(name, s.fill(value))
		if value == "" {
			r.Header.Del(name)
		}
	}
	w := httptest.NewRecorder()
	node.ServeHTTP(w, r)
	conforms(s.t, r, w)
	return w
}

func (s *server) step(name string, st step) {
	s.t.Helper()
	w := s.request(st)
	if w.Code != st.status {
		s.t.Fatalf("%s: status %d, want %d: %s\n%s", name, w.Code, st.status, w.Body, s.log)
	}
	var got any
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			s.t.Fatalf("%s: %v: %s", name, err, w.Body)
		}
	}
	if st.want != "" {
		var want any
		if err := json.Unmarshal([]byte(s.fill(st.want)), &want); err != nil {
			s.t.Fatalf("%s: the wanted JSON: %v", name, err)
		}
		if diff := contains(want, got, "$"); diff != "" {
			s.t.Errorf("%s: %s\nin %s", name, diff, w.Body)
		}
	}
	for header, want := range st.heads {
		if got := w.Header().Get(header); got != s.fill(want) {
			s.t.Errorf("%s: header %s is %q, want %q", name, header, got, s.fill(want))
		}
	}
	for _, k := range st.keep {
		variable, path, _ := strings.Cut(k, "=")
		if header, ok := strings.CutPrefix(path, "header:"); ok {
			s.vars[variable] = w.Header().Get(header)
			continue
		}
		value, ok := at(got, path).(string)
		if !ok {
			s.t.Fatalf("%s: no text at %s in %s", name, path, w.Body)
		}
		s.vars[variable] = value
	}
	if diff := cmp.Diff(st.events, s.events(st.as)); diff != "" && st.as != "-" {
		s.t.Errorf("%s: events (-want +got):\n%s", name, diff)
	}
}

// events returns what was recorded in the caller's organization since the last
// look.
func (s *server) events(as string) []string {
	organization := deputy.OrganizationID(s.vars["org"])
	if as == "stranger" || strings.HasSuffix(as, "/foreign") {
		organization = deputy.OrganizationID(s.vars["foreign"])
	}
	var fresh []string
	at := s.read[organization]
	q := deputy.EventQuery{Organization: organization, Ascending: true, Limit: 100, After: at.cursor}
	for {
		page, err := s.store.Events(s.t.Context(), q)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, r := range page.Items {
			e, err := r.Event(s.t.Context(), openSealing{})
			if err != nil {
				s.t.Fatal(err)
			}
			mark := ""
			if e.Outcome == deputy.Failure {
				mark = "!"
			}
			fresh = append(fresh, e.Type+mark)
			q.After = page.Last
		}
		if !page.HasNext {
			break
		}
	}
	known := s.seen[organization] - at.events
	s.read[organization] = readLog{q.After, at.events + len(fresh)}
	s.seen[organization] = at.events + len(fresh)
	if fresh = fresh[known:]; len(fresh) == 0 {
		return nil
	}
	return fresh
}

// readLog is how far a log was read: a cursor, and how many events lie before it.
type readLog struct {
	cursor string
	events int
}

// at returns the value at a path such as items.0.id.
func at(v any, path string) any {
	for part := range strings.SplitSeq(path, ".") {
		switch typed := v.(type) {
		case map[string]any:
			v = typed[part]
		case []any:
			var i int
			if _, err := fmt.Sscanf(part, "%d", &i); err != nil || i >= len(typed) {
				return nil
			}
			v = typed[i]
		default:
			return nil
		}
	}
	return v
}

// contains says where got lacks something of want.
func contains(want, got any, path string) string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s is %v, want an object", path, got)
		}
		for name, value := range w {
			have, there := g[name]
			switch {
			case value == "<absent>":
				if there {
					return fmt.Sprintf("%s.%s is %v, want it absent", path, name, have)
				}
			case !there:
				return fmt.Sprintf("%s.%s is absent", path, name)
			default:
				if diff := contains(value, have, path+"."+name); diff != "" {
					return diff
				}
			}
		}
		return ""
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return fmt.Sprintf("%s is %v, want %d items", path, got, len(w))
		}
		for i := range w {
			if diff := contains(w[i], g[i], fmt.Sprintf("%s[%d]", path, i)); diff != "" {
				return diff
			}
		}
		return ""
	}
	if want == "<any>" {
		if got == nil || got == "" {
			return path + " is empty"
		}
		return ""
	}
	if !reflect.DeepEqual(want, got) {
		return fmt.Sprintf("%s is %v, want %v", path, got, want)
	}
	return ""
}

// zone makes a zone and keeps its id as {zone}.
func (s *server) zone() {
	s.t.Helper()
	s.run(step{
		do: "POST /zones", body: `{"name":"Prod"}`, status: 200, keep: []string{"zone=id", "issuer=protocols.oauth2.issuer"},
		events: []string{"zones:create"},
	})
}

// errorBody is the body of every error, with a status and code.
func errorBody(status int, code string) string {
	return fmt.Sprintf(`{"status":%d,"code":%q,"message":"<any>","details":"<any>","path":"<any>","request_id":"<any>","timestamp":"<any>"}`, status, code)
}

var _ http.Handler = (*api.API)(nil)
