package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
)

// Every token that was answered has its event, however the server ends.
func TestKilledUnderLoadNothingAnsweredIsLost(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	n := startNode(t, folder)
	m := n.login(t, readAccount(t, folder))
	zone := m.newZone(t, "Crash")
	a := m.newAgent(t, zone, "crash")
	tokens := 0
	kills := deputytest.Times(2, 5, 50)
	for round := range kills {
		answered := loadUntilKilled(t, n, a, 50*time.Millisecond+rand.N(600*time.Millisecond))
		if len(answered) == 0 {
			t.Fatalf("round %d: no token was answered", round)
		}
		tokens += len(answered)
		n = startNode(t, folder)
		m = n.login(t, readAccount(t, folder))
		total := len(answered)
		notLogged(t, m, zone, answered)
		if len(answered) > 0 {
			t.Fatalf("round %d: %d of %d answered tokens have no event", round, len(answered), total)
		}
	}
	t.Logf("%d tokens answered before %d kills, each with its event after", tokens, kills)
}

// The archive of a server that was killed under load has all that was answered
// until the moment that a restore names, which is little before the end, on
// another machine with the root key alone.
func TestKilledUnderLoadTheArchiveHasWhatWasAnswered(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	archive := filepath.Join(folder, "archive")
	n := startNode(t, filepath.Join(folder, "data"), "--archive-folder", archive)
	m := n.login(t, readAccount(t, filepath.Join(folder, "data")))
	zone := m.newZone(t, "Archived")
	a := m.newAgent(t, zone, "archived")
	early := a.tokens(t, n, 20)
	asked := time.Now()
	answered := loadUntilKilled(t, n, a, 4*time.Second)
	killed := time.Now()
	other := filepath.Join(folder, "other")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"root.key", "bootstrap.json"} {
		raw, err := os.ReadFile(filepath.Join(folder, "data", file))
		if err == nil {
			err = os.WriteFile(filepath.Join(other, file), raw, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	status, said, complaint := command(t, nil, "restore", "--data-dir", other, archive)
	if status != 0 {
		t.Fatalf("exit %d %s", status, complaint)
	}
	_, at, _ := strings.Cut(strings.TrimSuffix(strings.TrimSpace(said), "; start the server"), " as it was at ")
	reached, err := time.Parse(time.RFC3339Nano, at)
	if err != nil || reached.Before(asked) || reached.After(killed) {
		t.Fatalf("%q: %v", said, err)
	}
	n = startNode(t, other)
	m = n.login(t, readAccount(t, other))
	total := len(answered)
	notLogged(t, m, zone, answered)
	for id := range answered {
		// An id begins with when it was made, in milliseconds, which is before
		// its event is committed.
		if made, ok := deputy.ID(id).Time(); !ok || made.Before(reached.Add(-time.Second)) {
			t.Errorf("%s of %v lacks its event at %v", id, made, reached)
		}
	}
	before := map[string]bool{}
	for _, id := range early {
		before[id] = true
	}
	notLogged(t, m, zone, before)
	if len(before) > 0 {
		t.Errorf("%d of those before lack theirs", len(before))
	}
	events := filepath.Join(folder, "events.jsonl")
	if status, _, complaint := command(t, nil, "audit", "export", "--data-dir", other, events); status != 0 {
		t.Fatalf("exit %d %s", status, complaint)
	}
	if status, _, complaint := command(t, nil, "audit", "verify", events); status != 0 {
		t.Errorf("exit %d %s", status, complaint)
	}
	t.Logf("%d tokens in %v; the archive lacks %d, of the last %v", total, killed.Sub(asked), len(answered), killed.Sub(reached))
}

// loadUntilKilled asks for tokens on many connections, kills the server after
// a while of answers, and returns the jti of each token that was answered.
func loadUntilKilled(t *testing.T, n *node, a *agent, after time.Duration) map[string]bool {
	var mu sync.Mutex
	answered := map[string]bool{}
	first := make(chan struct{})
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			for {
				status, body, err := a.token(n)
				if err != nil {
					return // the server is gone
				}
				token, _ := body["access_token"].(string)
				id, err := jti(token)
				if status != 200 || err != nil {
					t.Errorf("%d %v: %v", status, body, err)
					return
				}
				mu.Lock()
				if len(answered) == 0 {
					close(first)
				}
				answered[id] = true
				mu.Unlock()
			}
		})
	}
	select {
	case <-first:
	case <-time.After(30 * time.Second):
	}
	time.Sleep(after)
	n.kill()
	clients.Wait()
	return answered
}

// The log that is exported holds every event once, oldest first, however many
// pages it takes.
func TestExportOfManyEvents(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	n := startNode(t, folder)
	m := n.login(t, readAccount(t, folder))
	zone := m.newZone(t, "Exported")
	a := m.newAgent(t, zone, "exported")
	want := a.tokens(t, n, 250)
	file := filepath.Join(folder, "events.jsonl")
	if status, _, stderr := command(t, nil, "audit", "export", "--data-dir", folder, "--zone", zone, file); status != 0 {
		t.Fatalf("exit %d %s", status, stderr)
	}
	if status, _, stderr := command(t, nil, "audit", "verify", file); status != 0 {
		t.Errorf("exit %d %s", status, stderr)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var got []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var event struct {
			JTI  string `json:"jti"`
			Zone string `json:"zone_id"`
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil || event.Zone != zone && event.JTI != "" {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		if event.JTI != "" {
			got = append(got, event.JTI)
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%d tokens exported, %d issued, or in another order", len(got), len(want))
	}
}

// A change made on one node is in force for the very next token request on
// any node.
func TestAChangeIsInForceForTheNextRequestOnEveryNode(t *testing.T) {
	t.Parallel()
	database, key, folder := deputytest.Postgres(t), sharedKey(t), t.TempDir()
	start := func(name string) *node {
		return startNode(t, filepath.Join(folder, name), "--database-url", database, "--root-key-file", key, "--public-url", "http://deputy.example.com")
	}
	nodes := []*node{start("one"), start("two")}
	if _, err := os.Stat(filepath.Join(folder, "two", "bootstrap.json")); err == nil {
		t.Error("the node that did not make the account wrote bootstrap.json")
	}
	admin := nodes[0].login(t, readAccount(t, filepath.Join(folder, "one")))

	shared := admin.newZone(t, "Busy")
	steady := admin.newAgent(t, shared, "steady")
	var changers []*changer
	for _, name := range []string{"b", "c", "d"} {
		changers = append(changers, newChanger(t, admin, nodes, shared, name))
	}
	// Its policies must not meet the agents of the others.
	own := newChanger(t, admin, nodes, admin.newZone(t, "Policies"), "a")
	own.addPolicies(t)
	changers = append(changers, own)

	stop := make(chan struct{})
	var load, changing sync.WaitGroup
	var total, busy atomic.Int64
	for i := range 8 {
		load.Go(func() {
			for asked := 0; ; asked++ {
				select {
				case <-stop:
					return
				default:
				}
				status, body, err := steady.token(nodes[(i+asked)%2])
				if total.Add(1); status == 503 {
					busy.Add(1)
				} else if err != nil || status != 200 {
					t.Errorf("load: %d %v %v", status, body, err)
					return
				}
			}
		})
	}
	pairs := deputytest.Times(50, 250, 25000)
	for _, c := range changers {
		changing.Go(func() {
			for pair := range pairs {
				if err := c.pair(); err != nil {
					t.Errorf("pair %d of %s: %v", pair, c.agent.target, err)
					return
				}
			}
		})
	}
	changing.Wait()
	close(stop)
	load.Wait()
	t.Logf("%d pairs; of %d requests beside them, %d were told to try again", len(changers)*pairs, total.Load(), busy.Load())
	// A zone may change faster than a request can be decided, but that is rare
	// even here, where three clients do nothing else than change it.
	if busy.Load()*100 > total.Load() {
		t.Error("too many requests were told to try again")
	}
}

// changer makes one change after the other to its own agent and policy set and
// asks for a token after each. Its fields say what the next answer must be.
type changer struct {
	admin            *manager
	nodes            []*node
	agent            *agent
	depends, forbids bool
	lifetime         int
	scope            string
	set              string   // a policy set of the agent's zone, if it has one
	versions         []string // of it: one that permits, one that forbids
}

func newChanger(t *testing.T, admin *manager, nodes []*node, zone, name string) *changer {
	t.Helper()
	return &changer{admin: admin, nodes: nodes, agent: admin.newAgent(t, zone, name), depends: true, lifetime: 3600, scope: "read"}
}

// addPolicies makes a policy set with two versions beside the managed one.
func (c *changer) addPolicies(t *testing.T) {
	t.Helper()
	base := "/zones/" + c.agent.zone
	managed := c.admin.call(t, 200, "GET", base+"/policy-sets", nil)["items"].([]any)[0].(map[string]any)
	version := c.admin.call(t, 200, "GET", base+"/policy-sets/"+managed["id"].(string)+"/versions/"+managed["active_version_id"].(string), nil)
	forbid := c.admin.call(t, 201, "POST", base+"/policies", map[string]any{"name": "no-agent"})["id"].(string)
	forbidVersion := c.admin.call(t, 201, "POST", base+"/policies/"+forbid+"/versions", map[string]any{
		"schema_version": version["schema_version"],
		"cedar_raw":      `@id("no-agent") forbid (principal is Keycard::Application, action, resource);`,
	})["id"].(string)
	c.set = c.admin.call(t, 201, "POST", base+"/policy-sets", map[string]any{"name": "custom"})["id"].(string)
	open := version["manifest"].(map[string]any)["entries"].([]any)
	closed := append(open[:len(open):len(open)], map[string]any{"policy_id": forbid, "policy_version_id": forbidVersion})
	for _, entries := range [][]any{open, closed} {
		c.versions = append(c.versions, c.admin.call(t, 201, "POST", base+"/policy-sets/"+c.set+"/versions", map[string]any{
			"schema_version": version["schema_version"], "manifest": map[string]any{"entries": entries},
		})["id"].(string))
	}
}

// anywhere returns one of the nodes.
func (c *changer) anywhere() *node { return c.nodes[rand.N(len(c.nodes))] }

// pair makes a random change on a random node and checks the very next answer
// of a random node.
func (c *changer) pair() error {
	changes := []func(m *manager, base string) error{c.changeCredential, c.changeDependency, c.changeLifetime, c.changeScopes, c.changeIdentifier}
	if c.set != "" {
		changes = append(changes, c.changePolicies)
	}
	if err := changes[rand.N(len(changes))](c.admin.at(c.anywhere()), "/zones/"+c.agent.zone); err != nil {
		return err
	}
	return c.check()
}

// ask asks a random node for a token, and another when it is told to try again.
func (c *changer) ask(target string) (status int, body map[string]any, err error) {
	for range 5 {
		if status, body, err = c.agent.tokenFor(c.anywhere(), target); err != nil || status != 503 {
			break
		}
	}
	return status, body, err
}

// check asks for a token and compares the answer with what must be in force.
func (c *changer) check() error {
	status, body, err := c.ask(c.agent.target)
	if err != nil {
		return err
	}
	description, _ := body["error_description"].(string)
	scope, _ := body["scope"].(string)
	lifetime, _ := body["expires_in"].(float64)
	switch {
	case c.forbids:
		if status != 400 || body["error"] != "access_denied" || !strings.Contains(description, "no-agent") {
			return fmt.Errorf("forbidden: %d %v", status, body)
		}
	case !c.depends:
		if status != 400 || body["error"] != "access_denied" {
			return fmt.Errorf("without the dependency: %d %v", status, body)
		}
	case status != 200 || int(lifetime) != c.lifetime || scope != c.scope:
		return fmt.Errorf("with lifetime %d and scope %q: %d %v", c.lifetime, c.scope, status, body)
	}
	return nil
}

// expect asks for a token that must be refused.
func (c *changer) expect(want int, code, target string) error {
	status, body, err := c.ask(target)
	if err == nil && (status != want || body["error"] != code) {
		err = fmt.Errorf("%d %v, want %d %s", status, body, want, code)
	}
	return err
}

// changeCredential removes the credential, which must not work any more, and
// makes another.
func (c *changer) changeCredential(m *manager, base string) error {
	if _, err := m.try(204, "DELETE", base+"/application-credentials/"+c.agent.credential, nil); err != nil {
		return err
	}
	if err := c.expect(401, "invalid_client", c.agent.target); err != nil {
		return fmt.Errorf("with a deleted credential: %w", err)
	}
	return c.agent.renew(m)
}

// changeDependency removes the dependency, or makes it again.
func (c *changer) changeDependency(m *manager, base string) error {
	method := "PUT"
	if c.depends {
		method = "DELETE"
	}
	c.depends = !c.depends
	_, err := m.try(204, method, base+"/applications/"+c.agent.app+"/dependencies/"+c.agent.resource, nil)
	return err
}

// changeLifetime makes tokens live longer or shorter.
func (c *changer) changeLifetime(m *manager, base string) error {
	c.lifetime = 60 + rand.N(86000)
	_, err := m.try(200, "PATCH", base+"/resources/"+c.agent.resource, map[string]any{"credential_lifetime_seconds": c.lifetime})
	return err
}

// changeScopes takes the scope away that the agent asks for, or gives it back.
func (c *changer) changeScopes(m *manager, base string) error {
	scopes := []string{"write"}
	if c.scope == "" {
		c.scope, scopes = "read", []string{"read", "write"}
	} else {
		c.scope = ""
	}
	_, err := m.try(200, "PATCH", base+"/resources/"+c.agent.resource, map[string]any{"scopes": scopes})
	return err
}

// changeIdentifier gives the resource another identifier; the old one must not
// work any more.
func (c *changer) changeIdentifier(m *manager, base string) error {
	old := c.agent.target
	c.agent.target = fmt.Sprintf("https://%d.example.com/api", rand.Uint64())
	if _, err := m.try(200, "PATCH", base+"/resources/"+c.agent.resource, map[string]any{"identifier": c.agent.target}); err != nil {
		return err
	}
	if err := c.expect(400, "invalid_target", old); err != nil {
		return fmt.Errorf("with an identifier that is gone: %w", err)
	}
	return nil
}

// changePolicies activates the version that forbids, or the one that permits.
func (c *changer) changePolicies(m *manager, base string) error {
	c.forbids = !c.forbids
	version := c.versions[0]
	if c.forbids {
		version = c.versions[1]
	}
	_, err := m.try(200, "PATCH", base+"/policy-sets/"+c.set+"/versions/"+version, map[string]any{"active": true})
	return err
}
