package main_test

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"deputy/internal/demo"

	"github.com/klauspost/compress/s2"
	_ "modernc.org/sqlite"
)

// estate is a zone with one secret of each kind: what a thief would look for.
type estate struct {
	*testing.T
	folder, root string
	node         *node
	listen       string // where it answers, also after a restart
	m            *manager
	zone, base   string
	agent        *agent
	outside      *httptest.Server
	host         *demo.CodeHost
	code         string // the resource at the code host

	mu       sync.Mutex
	canaries map[string]string // by what they are
}

// newEstate starts a node whose root key lies elsewhere than its data.
func newEstate(t *testing.T) *estate {
	t.Helper()
	e := &estate{T: t, folder: t.TempDir(), root: filepath.Join(t.TempDir(), "root.key"), canaries: map[string]string{}}
	var key [32]byte
	rand.Read(key[:])
	if err := os.WriteFile(e.root, []byte(hex.EncodeToString(key[:])), 0o600); err != nil {
		t.Fatal(err)
	}
	e.node = e.start()
	account := readAccount(t, e.folder)
	e.m = (&manager{base: e.node.base}).login(t, account)
	e.keep("client secret of the service account", account.ClientSecret)
	e.settle()
	return e
}

// settle starts what is outside, and makes the zone.
func (e *estate) settle() {
	e.Helper()
	var served atomic.Int32
	e.outside = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorded := httptest.NewRecorder()
		e.host.ServeHTTP(recorded, r)
		var body map[string]any
		if json.Unmarshal(recorded.Body.Bytes(), &body) == nil && body["access_token"] != nil {
			n := served.Add(1)
			e.keep(fmt.Sprintf("access token %d of the provider", n), body["access_token"].(string))
			e.keep(fmt.Sprintf("refresh token %d of the provider", n), body["refresh_token"].(string))
		}
		for name, values := range recorded.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(recorded.Code)
		w.Write(recorded.Body.Bytes())
	}))
	e.Cleanup(e.outside.Close)
	e.host = demo.NewCodeHost(e.outside.URL)
	e.fill()
}

// start starts a node on the data.
func (e *estate) start() *node {
	e.Helper()
	n := startNode(e.T, e.folder, "--dev", "--root-key-file", e.root, "--listen", cmp.Or(e.listen, "127.0.0.1:0"))
	e.listen = strings.TrimPrefix(n.base, "http://")
	return n
}

// keep notes what must not be readable.
func (e *estate) keep(name, secret string) {
	if len(secret) < 16 {
		e.Fatalf("%s is too short to be found: %q", name, secret)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.canaries[name] = secret
}

// post makes something and returns its id.
func (e *estate) post(path string, in map[string]any) string {
	e.Helper()
	made, err := e.m.try(200, "POST", e.base+path, in)
	if err != nil {
		if made, err = e.m.try(201, "POST", e.base+path, in); err != nil {
			e.Fatal(err)
		}
	}
	return made["id"].(string)
}

func (e *estate) fill() {
	e.zone = e.m.newZone(e.T, "Drill")
	e.base = "/zones/" + e.zone
	e.m.call(e, 200, "PATCH", e.base, map[string]any{"requires_invitation": false})
	e.agent = e.m.newAgent(e.T, e.zone, "assistant")
	e.keep("client secret of the agent", e.agent.secret)
	e.m.call(e, 200, "PATCH", e.base+"/applications/"+e.agent.app, map[string]any{
		"consent": "implicit", "protocols": map[string]any{"oauth2": map[string]any{"redirect_uris": []string{"http://127.0.0.1/back"}}},
	})
	e.m.call(e, 200, "PATCH", e.base+"/resources/"+e.agent.resource, map[string]any{"application_id": e.agent.app})
	e.keep("client secret at the provider", e.host.ClientSecret)
	e.code = e.post("/resources", map[string]any{
		"name": "Code", "identifier": e.outside.URL + "/api", "scopes": []string{"repo"}, "credential_provider_id": e.post("/providers", map[string]any{
			"name": "Host", "identifier": e.outside.URL, "client_id": e.host.ClientID, "client_secret": e.host.ClientSecret,
		}),
	})
	e.m.call(e, 204, "PUT", e.base+"/applications/"+e.agent.app+"/dependencies/"+e.code, nil)
	vault := e.m.call(e, 200, "GET", e.base+"/providers?type=keycard-vault", nil)["items"].([]any)[0].(map[string]any)["id"]
	for name, data := range map[string]map[string]any{
		"token":    {"type": "token", "token": "vaulted-" + rand.Text()},
		"password": {"type": "password", "username": "etl", "password": "vaulted-" + rand.Text()},
	} {
		e.keep("vaulted "+name, data[name].(string))
		r := e.post("/resources", map[string]any{"name": name, "identifier": "urn:vaulted:" + name, "credential_provider_id": vault})
		e.post("/secrets", map[string]any{"name": name, "entity_id": r, "data": data})
		e.m.call(e, 204, "PUT", e.base+"/applications/"+e.agent.app+"/dependencies/"+r, nil)
	}
}

// signUp lets somebody sign up with the agent, which gives a grant at the code
// host, and returns their token.
func (e *estate) signUp(email string) string {
	e.Helper()
	token, refresh, password := signUpWhole(e.T, e.node, e.agent, e.folder, email)
	e.keep("password of "+email, password)
	e.keep("refresh token of "+email, refresh)
	e.keep("access token of "+email, token)
	return token
}

// exchange asks for the code host's token for somebody.
func (e *estate) exchange(subject string) (status int, token string) {
	e.Helper()
	status, body := form(e, e.node.base+"/z/"+e.zone+"/oauth/2/token", e.agent.id, e.agent.secret, url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {subject},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"}, "resource": {e.outside.URL + "/api"},
	})
	token, _ = body["access_token"].(string)
	return status, token
}

// forms are the ways in which a secret may be written down.
func forms(secret string) (all [][]byte) {
	b := []byte(secret)
	all = append(all, b, []byte(hex.EncodeToString(b)), []byte(strings.ToUpper(hex.EncodeToString(b))))
	for skip := range 3 { // wherever it begins within what was encoded
		whole := b[skip : skip+(len(b)-skip)/3*3]
		all = append(all, []byte(base64.StdEncoding.EncodeToString(whole)), []byte(base64.URLEncoding.EncodeToString(whole)))
	}
	return all
}

// readable returns which of the canaries a text shows.
func (e *estate) readable(where string, text []byte) {
	e.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, secret := range e.canaries {
		for _, form := range forms(secret) {
			if bytes.Contains(text, form) {
				e.Errorf("%s shows the %s", where, name)
				break
			}
		}
	}
}

// files returns the database files of the data folder, and what else is given.
func (e *estate) files(more ...string) map[string][]byte {
	e.Helper()
	found := map[string][]byte{}
	names, err := filepath.Glob(filepath.Join(e.folder, "deputy.db*"))
	if err != nil || len(names) == 0 {
		e.Fatal(names, err)
	}
	for _, name := range append(names, more...) {
		text, err := os.ReadFile(name)
		if os.IsNotExist(err) && strings.HasSuffix(name, "-wal") {
			continue
		}
		if err != nil {
			e.Fatal(err)
		}
		found[filepath.Base(name)] = text
	}
	return found
}

// cells calls each for every value of a database, the packed ones unpacked.
func cells(t *testing.T, file string, each func(where string, value []byte)) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tables, err := db.Query("SELECT name FROM sqlite_master WHERE type = 'table'")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for tables.Next() {
		var name string
		if err := tables.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	for _, name := range names {
		rows, err := db.Query("SELECT * FROM " + name)
		if err != nil {
			t.Fatal(err)
		}
		columns, _ := rows.Columns()
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		for rows.Next() {
			if err := rows.Scan(into...); err != nil {
				t.Fatal(err)
			}
			for i, v := range values {
				text, ok := v.([]byte)
				if s, is := v.(string); is {
					text, ok = []byte(s), true
				}
				if !ok {
					continue
				}
				each(name+"."+columns[i], text)
				if plain, err := s2.Decode(nil, text); err == nil {
					each(name+"."+columns[i]+" unpacked", plain)
				}
			}
		}
		rows.Close()
	}
}

// TestStolenDatabase is the drill: somebody has the files of the database, its
// log and a backup, but not the root key. No byte of them tells a secret.
func TestStolenDatabase(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	ada, bob := e.signUp("ada@example.com"), e.signUp("bob@example.com")
	for _, subject := range []string{ada, bob} {
		if status, _ := e.exchange(subject); status != 200 {
			t.Fatal("no token for", subject)
		}
	}
	for _, resource := range []string{"urn:vaulted:token", "urn:vaulted:password"} {
		if status, body, err := e.agent.tokenFor(e.node, resource); err != nil || status != 200 {
			t.Fatal(status, body, err)
		}
	}
	if len(e.canaries) < 14 {
		t.Fatalf("only %d secrets are looked for", len(e.canaries))
	}
	backup := filepath.Join(t.TempDir(), "backup.db")
	if status, _, complaint := command(t, nil, "backup", "--data-dir", e.folder, "--root-key-file", e.root, backup); status != 0 {
		t.Fatal(complaint)
	}
	// The search finds what is there.
	found := map[string]bool{}
	cells(t, backup, func(where string, value []byte) {
		if bytes.Contains(value, []byte("urn:vaulted:password")) {
			found[where] = true
		}
	})
	if !found["resources.identifier"] || len(found) < 2 {
		t.Errorf("what is no secret is found in %v only", found)
	}

	look := func(when string) {
		for name, text := range e.files(backup) {
			e.readable(name+" "+when, text)
		}
	}
	look("while it runs")
	e.node.kill() // and what a power failure leaves
	look("after it was killed")
	cells(t, backup, func(where string, value []byte) { e.readable("the backup's "+where, value) })
	cells(t, filepath.Join(e.folder, "deputy.db"), func(where string, value []byte) { e.readable(where, value) })
}

// TestShredding: who has the root key as well as the database cannot read what
// was deleted: the keys of a person and of a zone go with them, from the files
// too, and a backup from then on has nothing to read either.
func TestShredding(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	ada := e.signUp("ada@example.com")
	if status, _ := e.exchange(ada); status != 200 {
		t.Fatal("no token")
	}
	wrapped := func() map[string][]byte { // by owner
		all := map[string][]byte{}
		db, err := sql.Open("sqlite", "file:"+filepath.Join(e.folder, "deputy.db")+"?mode=ro")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		rows, err := db.Query("SELECT owner_id, wrapped FROM data_keys")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var owner string
			var key []byte
			if err := rows.Scan(&owner, &key); err != nil {
				t.Fatal(err)
			}
			all[owner] = key
		}
		return all
	}
	gone := func(what string, key []byte) {
		t.Helper()
		if len(key) < 32 {
			t.Fatalf("no key of the %s", what)
		}
		eventually(t, func() bool {
			for _, text := range e.files() {
				if bytes.Contains(text, key) {
					return false
				}
			}
			return true
		}, func() string { return "the key of the " + what + " is still in a file" })
	}
	users := e.m.call(t, 200, "GET", e.base+"/users", nil)["items"].([]any)
	user := users[0].(map[string]any)["id"].(string)
	before := wrapped()
	e.m.call(t, 204, "DELETE", e.base+"/users/"+user, nil)
	gone("person", before[user])
	if _, still := wrapped()[user]; still {
		t.Error("the person's key has a row")
	}
	// What the log knew of them is not shown any more, by the process that had
	// their key in memory.
	events := e.m.call(t, 200, "GET", e.base+"/audit-events?filter[user_id]="+user, nil)
	if text, _ := json.Marshal(events); bytes.Contains(text, []byte("ada@example.com")) {
		t.Errorf("the log shows %s", text)
	}
	if before[e.zone] == nil {
		t.Fatal("the zone has no key")
	}
	e.m.call(t, 204, "DELETE", e.base, nil)
	if _, still := wrapped()[e.zone]; still {
		t.Error("the zone's key has a row right after it was deleted")
	}
	gone("zone", before[e.zone])
}

// TestAProcessTellsWhatItUsed: of two people's grants, the memory of a process
// that handed out one shows that one, and not the other, which it never opened.
func TestAProcessTellsWhatItUsed(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	ada, bob := e.signUp("ada@example.com"), e.signUp("bob@example.com")
	_, theirs := e.exchange(bob)
	e.node.kill()
	e.node = e.start() // the thief is in this one
	since := time.Now()
	_, used := e.exchange(ada)
	if used == "" || theirs == "" || used == theirs {
		t.Fatalf("tokens %q and %q", used, theirs)
	}
	eventually(t, func() bool { // what is handed out is in memory for a while
		e.exchange(ada)
		memory := memoryOf(t, e.node.process.Process.Pid)
		if bytes.Contains(memory, []byte(theirs)) {
			t.Fatal("the token of the grant that nobody used is in memory")
		}
		return memory == nil || bytes.Contains(memory, []byte(used))
	}, func() string { return "the token that is handed out is never in memory" })
	// And one command says which, and takes it back here and there.
	env := []string{"DEPUTY_DATA_DIR=" + e.folder}
	status, out, complaint := command(t, env, "used", "--zone", e.zone, "--since", since.UTC().Format(time.RFC3339Nano), "--revoke")
	if status != 0 || !strings.HasSuffix(out, "\nrevoked 1 grants; 0 secrets have to be replaced\n") {
		t.Fatalf("%d %s\n%s", status, out, complaint)
	}
	eventually(t, func() bool { return answers(t, e.outside.URL, used) == http.StatusUnauthorized }, func() string { return "the token still works at the provider" })
	if status, _ := e.exchange(ada); status != 400 {
		t.Errorf("ada's grant: %d", status)
	}
	if status, again := e.exchange(bob); status != 200 || again != theirs || answers(t, e.outside.URL, again) != http.StatusOK {
		t.Errorf("bob's grant: %d", status)
	}
}
