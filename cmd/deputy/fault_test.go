package main_test

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"deputy/internal/deputytest"
)

// notLogged removes from answered what the zone's log has, so that what is left
// was answered and is lost.
func notLogged(t *testing.T, m *manager, zone string, answered map[string]bool) {
	t.Helper()
	for query := "?limit=100"; query != "" && len(answered) > 0; {
		page := m.call(t, 200, "GET", "/zones/"+zone+"/audit-events"+query, nil)
		for _, e := range page["items"].([]any) {
			event := e.(map[string]any)
			if id, ok := event["jti"].(string); ok && event["outcome"] == "success" {
				delete(answered, id)
			}
		}
		query = ""
		if cursor, more := page["pagination"].(map[string]any)["after_cursor"].(string); more {
			query = "?limit=100&after=" + cursor
		}
	}
}

// TestFaultFullDisk: when the database can grow no more, requests are refused and
// nothing that was answered is lost; when it can again, all goes on.
func TestFaultFullDisk(t *testing.T) {
	folder := t.TempDir()
	n := startNode(t, folder)
	m := n.login(t, readAccount(t, folder))
	zone := m.newZone(t, "Full")
	a := m.newAgent(t, zone, "full")
	if err := n.stop(t); err != nil {
		t.Fatal(err)
	}
	database, err := os.Stat(filepath.Join(folder, "deputy.db"))
	if err != nil {
		t.Fatal(err)
	}
	// No file may grow beyond what the database has and half a megabyte, in
	// blocks of 512 bytes as POSIX has it.
	if n, err = launchUnder(fmt.Sprintf("ulimit -f %d", database.Size()/512+1024), nil, folder); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.kill)
	var mu sync.Mutex
	answered, refused := map[string]bool{}, 0
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 5000 {
				status, body, err := a.token(n)
				if err != nil {
					t.Errorf("the server is gone: %v\n%s", err, n.stderr)
					return
				}
				mu.Lock()
				if status == 200 {
					id, err := jti(body["access_token"].(string))
					if err != nil {
						t.Error(err)
					}
					answered[id] = true
				} else if refused++; status != 503 && status != 500 {
					t.Errorf("on a full disk: %d %v", status, body)
				}
				enough := refused > 40
				mu.Unlock()
				if enough {
					return
				}
			}
		})
	}
	clients.Wait()
	if len(answered) == 0 || refused == 0 {
		t.Fatalf("%d answered, %d refused: the disk was not filled", len(answered), refused)
	}
	total := len(answered)
	n.kill()
	n = startNode(t, folder)
	m = n.login(t, readAccount(t, folder))
	if notLogged(t, m, zone, answered); len(answered) > 0 {
		t.Errorf("%d of %d answered tokens have no event", len(answered), total)
	}
	if status, body, err := a.token(n); status != 200 {
		t.Errorf("with room again: %d %v %v", status, body, err)
	}
	t.Logf("%d tokens answered before the disk was full, %d requests refused then", total, refused)
}

// TestFaultFrozenNode freezes one of two nodes under load, again and again, with
// whatever it is holding then. The other goes on, changes included, and what was
// revoked meanwhile the frozen one refuses when it is back.
func TestFaultFrozenNode(t *testing.T) {
	// A transaction of somebody frozen is given up by the database soon here.
	database := deputytest.Postgres(t) + "&idle_in_transaction_session_timeout=1000"
	key, folder := sharedKey(t), t.TempDir()
	start := func(name string) *node {
		return startNode(t, filepath.Join(folder, name), "--database-url", database, "--root-key-file", key, "--public-url", "http://deputy.example.com")
	}
	nodes := []*node{start("one"), start("two")}
	m := nodes[0].login(t, readAccount(t, filepath.Join(folder, "one")))
	zone := m.newZone(t, "Frozen")
	steady := m.newAgent(t, zone, "steady")
	changed := m.newAgent(t, zone, "changed")
	frozen := nodes[1].process.Process
	thaw := func() { frozen.Signal(syscall.SIGCONT) }
	t.Cleanup(thaw) // before it is killed

	var mu sync.Mutex
	answered := map[string]bool{}
	stop := make(chan struct{})
	var load sync.WaitGroup
	var total atomic.Int64
	for i := range 6 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				status, body, err := steady.token(nodes[i%2])
				if err != nil || status != 200 && status != 503 {
					t.Errorf("load: %d %v %v", status, body, err)
					return
				}
				if total.Add(1); status == 200 {
					id, err := jti(body["access_token"].(string))
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					answered[id] = true
					mu.Unlock()
				}
			}
		})
	}
	rounds := deputytest.Times(2, 3, 100)
	for round := range rounds {
		if status, body, err := changed.token(nodes[1]); status != 200 {
			t.Fatalf("round %d: %d %v %v", round, status, body, err)
		}
		time.Sleep(time.Duration(round%7) * time.Millisecond)
		frozen.Signal(syscall.SIGSTOP)
		m.call(t, 204, "DELETE", "/zones/"+zone+"/application-credentials/"+changed.credential, nil)
		if status, body, err := changed.token(nodes[0]); status != 401 {
			t.Errorf("round %d, at the other node: %d %v %v", round, status, body, err)
		}
		thaw()
		if status, body, err := changed.token(nodes[1]); status != 401 {
			t.Errorf("round %d, at the node that was frozen: %d %v %v", round, status, body, err)
		}
		if err := changed.renew(m); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	load.Wait()
	count := len(answered)
	if notLogged(t, m, zone, answered); len(answered) > 0 {
		t.Errorf("%d of %d answered tokens have no event", len(answered), count)
	}
	t.Logf("%d times frozen; %d requests beside, %d answered, each with its event", rounds, total.Load(), count)
}

// TestFaultSlowCallers: callers who never finish what they send keep nobody from
// being answered, however many they are.
func TestFaultSlowCallers(t *testing.T) {
	folder := t.TempDir()
	n := startNode(t, folder)
	m := n.login(t, readAccount(t, folder))
	zone := m.newZone(t, "Slow")
	a := m.newAgent(t, zone, "slow")
	address := strings.TrimPrefix(n.base, "http://")
	path := "/z/" + zone + "/oauth/2/token"
	starts := []string{
		"POST " + path + " HTT", // in the first line
		"POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Ty",
		"POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\ngrant_type=",
		"POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ngr",
	}
	// More than a node answers at once, of those that have got past the header.
	many := deputytest.Times(5000, 5000, 8000)
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for i := range many {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		conns = append(conns, c)
		fmt.Fprint(c, starts[i%4])
	}
	for i := range 50 {
		if status, body, err := a.token(n); status != 200 {
			t.Fatalf("request %d beside %d slow ones: %d %v %v", i, many, status, body, err)
		}
	}
}

// TestFaultStorm: clients that connect, ask and go at once, thousands of them,
// on as little memory as there may be. The server stays, and nothing is lost.
func TestFaultStorm(t *testing.T) {
	folder := t.TempDir()
	n, err := launch([]string{"GOMEMLIMIT=48MiB"}, folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.kill)
	m := n.login(t, readAccount(t, folder))
	zone := m.newZone(t, "Storm")
	a := m.newAgent(t, zone, "storm")
	body := url.Values{"grant_type": {"client_credentials"}, "resource": {a.target}, "client_id": {a.id}, "client_secret": {a.secret}}.Encode()
	request := fmt.Sprintf("POST /z/%s/oauth/2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", zone, len(body), body)
	var storm sync.WaitGroup
	for i := range 8 * runtime.GOMAXPROCS(0) {
		storm.Go(func() {
			for k := range deputytest.Times(20, 60, 5000) {
				c, err := net.Dial("tcp", strings.TrimPrefix(n.base, "http://"))
				if err != nil {
					t.Errorf("not connected: %v", err)
					return
				}
				fmt.Fprint(c, request)
				if (i+k)%3 == 0 { // the others do not wait for an answer
					c.Read(make([]byte, 1))
				}
				c.Close()
			}
		})
	}
	storm.Wait()
	if status, answer, err := a.token(n); status != 200 {
		t.Errorf("after the storm: %d %v %v", status, answer, err)
	}
}
