package main_test

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"deputy/internal/deputytest"
)

// soak reports whether the tests run at full size, as scripts/soak does.
var soak = os.Getenv("DEPUTY_SOAK") != ""

func times(ci, full int) int {
	if soak {
		return full
	}
	return ci
}

func TestFirstStartAndRestart(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data")
	n := startNode(t, folder)
	first := readAccount(t, folder)
	if first.BaseURL != n.base || first.OrganizationSlug != "default" || len(first.ClientSecret) < 43 {
		t.Errorf("bootstrap.json: %+v, listening on %s", first, n.base)
	}
	for _, name := range []string{"bootstrap.json", "root.key"} {
		if info, err := os.Stat(filepath.Join(folder, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("data folder: %v, %v", info, err)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if answer, err := http.Get(n.base + path); err != nil || answer.StatusCode != 200 {
			t.Errorf("%s: %v, %v", path, answer, err)
		}
	}
	m := n.login(t, first)
	zone, _ := m.newZone(t, "Kept")
	if err := n.stop(t); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, n.stderr)
	}

	again := startNode(t, folder)
	second := readAccount(t, folder)
	if second.BaseURL != again.base || second.ClientSecret != first.ClientSecret {
		t.Errorf("bootstrap.json after a restart: %+v", second)
	}
	if got := again.login(t, second).call(t, 200, "GET", "/zones/"+zone, nil)["name"]; got != "Kept" {
		t.Errorf("the zone is called %v", got)
	}
}

func TestAFixedFirstAccount(t *testing.T) {
	folder, secret := t.TempDir(), strings.Repeat("s", 40)
	t.Setenv("DEPUTY_BOOTSTRAP_CLIENT_ID", "infrastructure")
	t.Setenv("DEPUTY_BOOTSTRAP_CLIENT_SECRET", secret)
	n := startNode(t, folder)
	n.login(t, account{ClientID: "infrastructure", ClientSecret: secret}).call(t, 200, "GET", "/organizations", nil)
}

func TestHalfSetSettingsRefuseToStart(t *testing.T) {
	folder := t.TempDir()
	lost := filepath.Join(folder, "lost")
	if err := os.MkdirAll(lost, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(lost, "deputy.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env, args []string
		status    int
		says      string
	}{
		"wildcard without a public URL":    {args: []string{"--listen", "0.0.0.0:0"}, status: 1, says: "--public-url"},
		"IPv6 wildcard":                    {args: []string{"--listen", "[::]:0"}, status: 1, says: "--public-url"},
		"no host":                          {args: []string{"--listen", ":18080"}, status: 1, says: "--public-url"},
		"PostgreSQL without a root key":    {args: []string{"--database-url", "postgres://localhost/x"}, status: 1, says: "--root-key-file"},
		"public URL with a trailing slash": {args: []string{"--public-url", "https://id.example.com/"}, status: 1, says: "trailing slash"},
		"half a bootstrap pair":            {env: []string{"DEPUTY_BOOTSTRAP_CLIENT_ID=x"}, status: 1, says: "DEPUTY_BOOTSTRAP_CLIENT_SECRET"},
		"a short bootstrap secret":         {env: []string{"DEPUTY_BOOTSTRAP_CLIENT_ID=x", "DEPUTY_BOOTSTRAP_CLIENT_SECRET=short"}, status: 1, says: "32 characters"},
		"a database without its root key":  {args: []string{"--data-dir", lost}, status: 1, says: "root.key"},
		"an odd outgoing allowance":        {args: []string{"--outgoing-allow", "everything"}, status: 1, says: "--outgoing-allow"},
		"an odd proxy list":                {args: []string{"--trusted-proxies", "proxy"}, status: 1, says: "--trusted-proxies"},
		"an odd log level":                 {args: []string{"--log-level", "loud"}, status: 1, says: "--log-level"},
		"an odd switch":                    {env: []string{"DEPUTY_DEV=perhaps"}, status: 2, says: "DEPUTY_DEV"},
		"an unknown flag":                  {args: []string{"--colour"}, status: 2, says: "--help"},
		"an argument too many":             {args: []string{"now"}, status: 2, says: "--help"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"serve", "--listen", "127.0.0.1:0", "--data-dir", filepath.Join(folder, "data")}, c.args...)
			status, stdout, stderr := command(t, c.env, args...)
			if status != c.status || !strings.Contains(stderr, c.says) || strings.Count(stderr, "\n") != 1 || stdout != "" {
				t.Errorf("exit %d, stdout %q, stderr %q", status, stdout, stderr)
			}
		})
	}
}

func TestAnotherOrganizationBesideARunningServer(t *testing.T) {
	folder := t.TempDir()
	n := startNode(t, folder)
	status, stdout, stderr := command(t, nil, "organization", "create", "Acme & Sons", "--data-dir", folder)
	var made account
	if err := json.Unmarshal([]byte(stdout), &made); status != 0 || err != nil {
		t.Fatalf("exit %d, %v: %s%s", status, err, stdout, stderr)
	}
	if made.OrganizationSlug != "acme-sons" || made.BaseURL != n.base {
		t.Errorf("made %+v", made)
	}
	acme, first := n.login(t, made), n.login(t, readAccount(t, folder))
	zone, _ := acme.newZone(t, "Theirs")
	first.call(t, 404, "GET", "/zones/"+zone, nil)
	list := acme.call(t, 200, "GET", "/organizations", nil)["items"].([]any)
	if len(list) != 1 || list[0].(map[string]any)["id"] != made.OrganizationID {
		t.Errorf("a service account sees %v", list)
	}
}

// Every token that was answered has its event, however the server ends.
func TestKilledUnderLoadNothingAnsweredIsLost(t *testing.T) {
	folder := t.TempDir()
	n := startNode(t, folder)
	m := n.login(t, readAccount(t, folder))
	zone, issuer := m.newZone(t, "Crash")
	a := m.newAgent(t, zone, issuer, "crash")
	for round := range times(5, 50) {
		var mu sync.Mutex
		answered := map[string]bool{}
		var clients sync.WaitGroup
		for range 16 {
			clients.Go(func() {
				for {
					status, body, err := a.token(n)
					if err != nil {
						return // the server is gone
					}
					if status != 200 {
						t.Errorf("round %d: %d %v", round, status, body)
						return
					}
					id := jti(t, body["access_token"].(string))
					mu.Lock()
					answered[id] = true
					mu.Unlock()
				}
			})
		}
		time.Sleep(100*time.Millisecond + rand.N(900*time.Millisecond))
		n.kill()
		clients.Wait()
		if len(answered) == 0 {
			t.Fatalf("round %d: no token was answered", round)
		}
		n = startNode(t, folder)
		m = n.login(t, readAccount(t, folder))
		total := len(answered)
		for after := ""; ; {
			page := m.call(t, 200, "GET", "/zones/"+zone+"/audit-events?limit=100"+after, nil)
			for _, e := range page["items"].([]any) {
				if id, ok := e.(map[string]any)["jti"].(string); ok {
					delete(answered, id)
				}
			}
			cursor, more := page["pagination"].(map[string]any)["after_cursor"].(string)
			if !more || len(answered) == 0 {
				break
			}
			after = "&after=" + cursor
		}
		if len(answered) > 0 {
			t.Fatalf("round %d: %d of %d answered tokens have no event", round, len(answered), total)
		}
	}
}

// A change made on one node is in force for the very next token request on
// any node.
func TestAChangeIsInForceForTheNextRequestOnEveryNode(t *testing.T) {
	database := deputytest.Postgres(t)
	folder := t.TempDir()
	key := filepath.Join(folder, "shared.key")
	if err := os.WriteFile(key, []byte(strings.Repeat("0123456789abcdef", 4)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	public := "http://deputy.example.com"
	start := func(name string) *node {
		return startNode(t, filepath.Join(folder, name), "--database-url", database, "--root-key-file", key, "--public-url", public)
	}
	nodes := []*node{start("one"), start("two")}
	if _, err := os.Stat(filepath.Join(folder, "two", "bootstrap.json")); err == nil {
		t.Error("the node that did not make the account wrote bootstrap.json")
	}
	admin := nodes[0].login(t, readAccount(t, filepath.Join(folder, "one")))

	zone, issuer := admin.newZone(t, "Busy")
	steady := admin.newAgent(t, zone, issuer, "steady")
	stop := make(chan struct{})
	var load sync.WaitGroup
	for i := range 8 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if status, body, err := steady.token(nodes[i%2]); err != nil || status != 200 {
					t.Errorf("load: %d %v %v", status, body, err)
					return
				}
			}
		})
	}
	var changing sync.WaitGroup
	for w := range 4 {
		changing.Go(func() {
			c := newChanger(t, admin, nodes, zone, issuer, "worker-"+string(rune('a'+w)))
			for range times(250, 25000) {
				c.pair(t)
			}
		})
	}
	changing.Wait()
	close(stop)
	load.Wait()
}

// changer makes one change after the other to its own agent and policy set and
// asks for a token after each.
type changer struct {
	admin             *manager
	nodes             []*node
	agent             *agent
	depends, forbids  bool
	lifetime          int
	set, open, closed string
}

func newChanger(t *testing.T, admin *manager, nodes []*node, zone, issuer, name string) *changer {
	c := &changer{admin: admin, nodes: nodes, depends: true, lifetime: 3600}
	if name == "worker-a" { // its policies must not meet the others' agents
		zone, issuer = admin.newZone(t, name)
	}
	c.agent = admin.newAgent(t, zone, issuer, name)
	if name != "worker-a" {
		return c
	}
	base := "/zones/" + zone
	sets := admin.call(t, 200, "GET", base+"/policy-sets", nil)["items"].([]any)
	managed := sets[0].(map[string]any)
	version := admin.call(t, 200, "GET", base+"/policy-sets/"+managed["id"].(string)+"/versions/"+managed["active_version_id"].(string), nil)
	forbid := admin.call(t, 201, "POST", base+"/policies", map[string]any{"name": "no-worker"})["id"].(string)
	forbidVersion := admin.call(t, 201, "POST", base+"/policies/"+forbid+"/versions", map[string]any{
		"schema_version": version["schema_version"],
		"cedar_raw":      `@id("no-worker") forbid (principal is Keycard::Application, action, resource) when { principal.identifier == "worker-a" };`,
	})["id"].(string)
	c.set = admin.call(t, 201, "POST", base+"/policy-sets", map[string]any{"name": "custom"})["id"].(string)
	entries := version["manifest"].(map[string]any)["entries"].([]any)
	publish := func(entries []any) string {
		return admin.call(t, 201, "POST", base+"/policy-sets/"+c.set+"/versions", map[string]any{
			"schema_version": version["schema_version"], "manifest": map[string]any{"entries": entries},
		})["id"].(string)
	}
	c.open = publish(entries)
	c.closed = publish(append(entries[:len(entries):len(entries)], map[string]any{"policy_id": forbid, "policy_version_id": forbidVersion}))
	return c
}

// pair makes a random change on a random node and checks the very next answer
// of a random node.
func (c *changer) pair(t *testing.T) {
	m, a := c.admin.at(c.nodes[rand.N(len(c.nodes))]), c.agent
	base := "/zones/" + a.zone
	changes := []func(){
		func() { // a credential goes, the answer is tested, another comes
			m.call(t, 204, "DELETE", base+"/application-credentials/"+a.credential, nil)
			if status, body, err := a.token(c.nodes[rand.N(len(c.nodes))]); err != nil || status != 401 {
				t.Errorf("with a deleted credential: %d %v %v", status, body, err)
			}
			a.renew(t, m)
		},
		func() { // the dependency comes or goes
			method := map[bool]string{true: "DELETE", false: "PUT"}[c.depends]
			m.call(t, 204, method, base+"/applications/"+a.app+"/dependencies/"+a.resource, nil)
			c.depends = !c.depends
		},
		func() { // tokens live longer or shorter
			c.lifetime = 60 + rand.N(86000)
			m.call(t, 200, "PATCH", base+"/resources/"+a.resource, map[string]any{"credential_lifetime_seconds": c.lifetime})
		},
		func() { // another identifier
			a.target += "x"
			m.call(t, 200, "PATCH", base+"/resources/"+a.resource, map[string]any{"identifier": a.target})
		},
	}
	if c.set != "" {
		changes = append(changes, func() {
			c.forbids = !c.forbids
			version := map[bool]string{true: c.closed, false: c.open}[c.forbids]
			m.call(t, 200, "PATCH", base+"/policy-sets/"+c.set+"/versions/"+version, map[string]any{"active": true})
		})
	}
	changes[rand.N(len(changes))]()

	status, body, err := a.token(c.nodes[rand.N(len(c.nodes))])
	if err != nil {
		t.Error(err)
		return
	}
	description, _ := body["error_description"].(string)
	switch {
	case c.forbids:
		if status != 400 || body["error"] != "access_denied" || !strings.Contains(description, "no-worker") {
			t.Errorf("forbidden: %d %v", status, body)
		}
	case !c.depends:
		if status != 400 || body["error"] != "access_denied" {
			t.Errorf("without the dependency: %d %v", status, body)
		}
	case status != 200 || int(body["expires_in"].(float64)) != c.lifetime:
		t.Errorf("with lifetime %d: %d %v", c.lifetime, status, body)
	}
}
