package oauth_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/store"
)

var atOnce = flag.Int("fire", 8, "exchanges at once in the test of refreshes under fire")

// node is what another process needs to be a node of a world.
type node struct {
	Database string    `json:"database"`
	Root     string    `json:"root"`
	Platform deputy.ID `json:"platform"`
}

// aNode is set in a process that is to be one.
const aNode = "DEPUTY_TEST_NODE_OF_A_WORLD"

// fireLease is how long the refresh of a grant is one node's own here: short, and
// long enough for a machine that is busy with other tests.
const fireLease = 6 * time.Second

// TestBeANode is no test: it is another node, until it is killed.
func TestBeANode(t *testing.T) {
	text := os.Getenv(aNode)
	if text == "" {
		return // this process is none
	}
	var n node
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	w := &world{TB: t, clock: &clock{real: true}, platform: n.Platform, algs: []deputy.SigningAlgorithm{deputy.ES256}, lease: fireLease}
	if _, err := hex.Decode(w.root[:], []byte(n.Root)); err != nil {
		t.Fatal(err)
	}
	w.open(store.Config{URL: n.Database})
	s := httptest.NewServer(w.server)
	fmt.Printf("\nat %s\n", s.URL)
	_, _ = io.Copy(io.Discard, os.Stdin) // until whoever started it is gone
}

// startNode starts another process as a node and returns where it answers.
func startNode(t *testing.T, n node) (c *exec.Cmd, url string) {
	t.Helper()
	text, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	c = exec.Command(os.Args[0], "-test.run=^TestBeANode$", "-test.v")
	c.Env = append(os.Environ(), aNode+"="+string(text))
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = c.Wait()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if at, ok := strings.CutPrefix(lines.Text(), "at "); ok {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return c, at
		}
	}
	t.Fatal("the node did not start")
	return nil, ""
}

// TestRefreshUnderFire: many at once want a token that is replaced with each
// refresh, at two nodes of one database, from a provider that fails, dawdles and
// breaks off, and one node is killed while it refreshes. No grant is lost, no two
// refreshes run at once, and everybody gets a token or is told to come again.
func TestRefreshUnderFire(t *testing.T) {
	database := deputytest.Postgres(t)
	w := &world{TB: t, clock: &clock{real: true}, platform: deputy.NewID(time.Now()), algs: []deputy.SigningAlgorithm{deputy.ES256}, lease: fireLease}
	rand.Read(w.root[:])
	w.open(store.Config{URL: database})
	w.fill()
	g := newRelayIn(w).guard()
	g.allow()
	subject := g.subject()
	here := httptest.NewServer(w.server)
	t.Cleanup(here.Close)
	child, there := startNode(t, node{Database: database, Root: hex.EncodeToString(w.root[:]), Platform: w.platform})

	var calm sync.Mutex // held while the provider is to be as it should
	storm := func(rw http.ResponseWriter, r *http.Request) bool {
		if !calm.TryLock() {
			return false
		}
		calm.Unlock()
		switch mathrand.IntN(12) {
		case 0, 1:
			rw.WriteHeader(http.StatusInternalServerError)
			return true
		case 2, 3:
			panic(http.ErrAbortHandler)
		case 4: // longer than it is waited for
			select {
			case <-r.Context().Done():
			case <-time.After(fireLease):
			}
			return true
		}
		time.Sleep(time.Duration(mathrand.IntN(20)) * time.Millisecond)
		return false
	}
	behave := func(interfere func(http.ResponseWriter, *http.Request) bool, lose func(*http.Request) bool) {
		g.upstream.Change(func(u *deputytest.Upstream) { u.Interfere, u.Lose = interfere, lose })
	}
	often := func(*http.Request) bool { return mathrand.IntN(8) == 0 }
	behave(storm, often)
	expire := func() {
		w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
			_, err := tx.Grants().Update(ctx, w.in(), g.grant().ID, func(x *deputy.Grant) error {
				x.ExpiresAt = tx.Now()
				return nil
			})
			return err
		})
	}
	ask := func(at string) (status int, body map[string]any, err error) {
		f := form("grant_type", exchangeGrantType, "subject_token", subject, "subject_token_type", accessTokenType, "resource", g.files.Identifier)
		r, err := http.NewRequest("POST", at+"/z/"+string(w.zone.ID)+"/oauth/2/token", strings.NewReader(f.Encode()))
		if err != nil {
			return 0, nil, err
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(g.server.credential.Identifier, g.server.secret)
		c := http.Client{Timeout: time.Minute}
		answer, err := c.Do(r)
		if err != nil {
			return 0, nil, err
		}
		defer answer.Body.Close()
		return answer.StatusCode, body, json.NewDecoder(answer.Body).Decode(&body)
	}
	var mu sync.Mutex
	good, again := 0, 0
	judge := func(at string) {
		status, body, err := ask(at)
		mu.Lock()
		defer mu.Unlock()
		token, _ := body["access_token"].(string)
		switch {
		case err == nil && status == 200 && g.upstream.Known(token):
			good++
		case err == nil && status == 503 && body["error"] == "temporarily_unavailable":
			again++
		default:
			t.Errorf("got %d %v, %v", status, body, err)
		}
	}
	round := func(nodes ...string) {
		expire()
		var wait sync.WaitGroup
		for n := range *atOnce {
			wait.Go(func() { judge(nodes[n%len(nodes)]) })
		}
		wait.Wait()
	}
	for range 6 {
		round(here.URL, there)
	}

	// The other node is killed when the provider has its request.
	struck := make(chan struct{})
	strike := sync.OnceFunc(func() { close(struck) })
	behave(func(rw http.ResponseWriter, r *http.Request) bool {
		strike()
		<-r.Context().Done()
		return true
	}, often)
	expire()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for { // a lease may be left, a circuit open
			status, _, err := ask(there)
			select {
			case <-struck:
				return
			default:
			}
			if err != nil || status != 503 {
				return
			}
			time.Sleep(fireLease / 5)
		}
	}()
	select {
	case <-struck:
	case <-gone:
		select {
		case <-struck:
		default:
			t.Fatal("the other node answered without asking the provider")
		}
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-gone
	behave(storm, often)
	for range 2 {
		round(here.URL)
	}

	// And in the end all is as it was.
	calm.Lock()
	behave(storm, nil)
	expire()
	status, body, err := ask(here.URL)
	for n := 0; n < 60 && status == 503; n++ { // a lease may be left, a circuit open
		time.Sleep(fireLease / 5)
		status, body, err = ask(here.URL)
	}
	if err != nil || status != 200 || !g.upstream.Good(body["access_token"].(string)) {
		t.Errorf("in the end: %d %v, %v", status, body, err)
	}
	if grant := g.grant(); grant.Status != deputy.Active || !grant.RefreshTokenSet {
		t.Errorf("the grant is %+v", grant)
	}
	if n := g.upstream.AtOnce(); n != 1 {
		t.Errorf("%d refreshes ran at once", n)
	}
	if lost := w.events("delegated_grants:expire"); len(lost) != 0 {
		t.Errorf("grants were lost: %+v", lost)
	}
	if good == 0 {
		t.Error("nobody got a token")
	}
	t.Logf("%d got a token, %d were told to come again", good, again)
}
