package main_test

import (
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"deputy/internal/deputytest"
)

// releaseBefore is the commit of the release before, or as long as there is none
// the last one of the schema before. The promise that its program runs beside
// this one, and after it, is in docs/operations.md.
const releaseBefore = "fc532121554b0c87df343c46c9ea22fd93ad1054"

// olderProgram builds the program of a commit and returns its path. Without the
// folder in it, what was compiled for the last test serves the next.
func olderProgram(t *testing.T, commit string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "deputy")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "./cmd/deputy")
	build.Dir = deputytest.Sources(t, commit)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", commit, err, out)
	}
	return path
}

// front stands before nodes as a balancer does, and is used as one: each request
// goes to any of those that are meant for its kind.
type front struct {
	*node
	mu               sync.Mutex
	changes, answers []*node
}

func newFront(t *testing.T) *front {
	f := &front{}
	s := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		f.mu.Lock()
		defer f.mu.Unlock()
		to := f.changes
		if strings.HasPrefix(r.In.URL.Path, "/z/") {
			to = f.answers
		}
		base, err := url.Parse(to[rand.N(len(to))].base)
		if err != nil {
			panic(err)
		}
		r.SetURL(base)
	}})
	t.Cleanup(s.Close)
	f.node = &node{manager: &manager{base: s.URL}}
	return f
}

// lead says which nodes get calls of the management API, and which get what is
// asked of zones.
func (f *front) lead(changes, answers []*node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes, f.answers = changes, answers
}

// releases is the program of the release before and this one, on one database.
type releases struct {
	*testing.T
	*front
	folder string
	args   []string
	all    []*node // that ever ran
	admin  *manager
	h      *holder
	c      *changer
	steady *agent
	e      *estate
	// What a person got from the agent of the estate, and what follows from it.
	access, refresh string
}

// run starts a program, with a folder of its own and the database of all.
func (r *releases) run(program string) *node {
	r.Helper()
	n, err := launchProgram(program, ":", nil, filepath.Join(r.folder, fmt.Sprint(len(r.all))), r.args...)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(n.kill)
	r.all = append(r.all, n)
	return n
}

// settle makes something of everything.
func (r *releases) settle() {
	r.Helper()
	folders := filepath.Join(r.folder, "*")
	r.admin = r.login(r.T, readAccount(r.T, filepath.Join(r.folder, "0")))
	r.h = newHolder(r.T, r.admin, []*node{r.node}, r.admin.newZone(r.T, "Held"), folders)
	r.steady = r.admin.newAgent(r.T, r.h.zone, "steady")
	r.c = newChanger(r.T, r.admin, []*node{r.node}, r.admin.newZone(r.T, "Changed"), "changed")
	r.c.addPolicies(r.T)
	r.e = &estate{T: r.T, folder: folders, node: r.node, m: r.admin, canaries: map[string]string{}}
	r.e.settle()
	r.access, r.refresh, _ = signUpWhole(r.T, r.node, r.e.agent, folders, "bob@example.com")
}

// walk changes and ends everything; each is in force for the very next request.
// What is not touched keeps working.
func (r *releases) walk(where string, rounds int) {
	r.Helper()
	zone := func(change func(*manager, string) error) func() error {
		return func() error {
			if err := change(r.admin, "/zones/"+r.c.agent.zone); err != nil {
				return err
			}
			return r.c.check()
		}
	}
	for _, one := range []struct {
		what string
		do   func() error
	}{
		{"a credential", zone(r.c.changeCredential)}, {"a dependency", zone(r.c.changeDependency)}, {"it back", zone(r.c.changeDependency)},
		{"a lifetime", zone(r.c.changeLifetime)}, {"scopes", zone(r.c.changeScopes)}, {"an identifier", zone(r.c.changeIdentifier)},
		{"policies", zone(r.c.changePolicies)}, {"them back", zone(r.c.changePolicies)},
		{"a token", r.h.endToken}, {"a session", r.h.endSession}, {"a grant", r.h.endGrant}, {"a consent", r.endConsent},
		{"a person", r.h.endPerson}, {"an application", r.endApplication}, {"a zone", r.endZone},
		{"what stays", r.use},
	} {
		for round := range rounds {
			if err := one.do(); err != nil {
				r.Fatalf("%s, round %d of %s: %v", where, round, one.what, err)
			}
		}
	}
}

// endPerson disables the person and lets them in again.
func (h *holder) endPerson() error {
	access, refresh, err := h.signIn()
	if err != nil {
		return err
	}
	set := func(status string) error {
		m, users := h.anywhere(), "/zones/"+h.zone+"/users"
		page, err := m.try(200, "GET", users, nil)
		if err == nil {
			_, err = m.try(200, "PATCH", users+"/"+page["items"].([]any)[0].(map[string]any)["id"].(string), map[string]any{"status": status})
		}
		return err
	}
	if err := h.inactive(access, func() error { return set("disabled") }); err != nil {
		return err
	}
	if err := h.refused(refresh, "invalid_grant"); err != nil {
		return err
	}
	if err := set("active"); err != nil {
		return err
	}
	h.v.visit(h.authorize(""), nil)
	h.v.visit(h.issuer()+"/login", url.Values{"identifier": {"ada@example.com"}})
	if away := h.v.visit(h.issuer()+"/login/password", url.Values{"username": {"ada@example.com"}, "password": {"the analytical engine weaves"}}); !strings.Contains(away, "code=") {
		return fmt.Errorf("the person is sent to %q", away)
	}
	return nil
}

// endConsent lets the person agree, take that back and agree again: at the newest
// node, for the release before does not keep that they took it back.
func (r *releases) endConsent() error {
	if err := r.h.endConsent(); err != nil {
		return err
	}
	changes, answers := r.changes, r.answers
	r.lead(changes, answers[len(answers)-1:])
	defer r.lead(changes, answers)
	_, _, err := r.h.signIn()
	return err
}

// endConsent lets the person agree and take that back on their account page.
func (h *holder) endConsent() error {
	ask := func(consent string) error {
		_, err := h.anywhere().try(200, "PATCH", "/zones/"+h.zone+"/applications/"+h.app, map[string]any{"consent": consent})
		return err
	}
	if err := ask("required"); err != nil {
		return err
	}
	access, refresh, err := h.signIn()
	if err != nil {
		return err
	}
	account := h.issuer() + "/account"
	h.v.visit(account, nil)
	if err := h.inactive(access, func() error {
		h.v.visit(account+"/consents", url.Values{"client": {h.app}})
		return nil
	}); err != nil {
		return err
	}
	if err := h.refused(refresh, "invalid_grant"); err != nil {
		return err
	}
	h.v.visit(account, nil)
	return ask("implicit")
}

// endApplication makes an application, which gets a token, and deletes it.
func (r *releases) endApplication() error {
	a := r.admin.newAgent(r.T, r.c.agent.zone, fmt.Sprint("brief", rand.Uint64()))
	status, body, err := a.token(r.node)
	if err != nil || status != 200 {
		return fmt.Errorf("%d %v, %w", status, body, err)
	}
	if _, err := r.admin.try(204, "DELETE", "/zones/"+a.zone+"/applications/"+a.app, nil); err != nil {
		return err
	}
	if status, body, err = a.token(r.node); err != nil || status != 401 {
		return fmt.Errorf("after it was deleted: %d %v, %w", status, body, err)
	}
	return nil
}

// endZone makes a zone, which issues a token, and deletes it.
func (r *releases) endZone() error {
	a := r.admin.newAgent(r.T, r.admin.newZone(r.T, "Brief"), "brief")
	status, body, err := a.token(r.node)
	if err != nil || status != 200 {
		return fmt.Errorf("%d %v, %w", status, body, err)
	}
	if _, err := r.admin.try(204, "DELETE", "/zones/"+a.zone, nil); err != nil {
		return err
	}
	if status, body, err = a.token(r.node); err != nil || status != 404 {
		return fmt.Errorf("after it was deleted: %d %v, %w", status, body, err)
	}
	return nil
}

// use uses what was made at first: secrets, a grant at another provider and a
// refresh token, whose successor is the same wherever it is asked for.
func (r *releases) use() error {
	for _, target := range []string{r.e.agent.target, "urn:vaulted:token", "urn:vaulted:password"} {
		if status, body, err := r.e.agent.tokenFor(r.node, target); err != nil || status != 200 {
			return fmt.Errorf("%s: %d %v, %w", target, status, body, err)
		}
	}
	if status, _ := r.e.exchange(r.access); status != 200 {
		return fmt.Errorf("the token of another provider: %d", status)
	}
	var next string
	for range 4 {
		status, body, err := tryForm(r.base+"/z/"+r.e.zone+"/oauth/2/token", r.e.agent.id, r.e.agent.secret,
			url.Values{"grant_type": {"refresh_token"}, "refresh_token": {r.refresh}})
		if err != nil || status != 200 || next != "" && body["refresh_token"] != next {
			return fmt.Errorf("refreshed: %d %v, %w", status, body, err)
		}
		next, r.access = body["refresh_token"].(string), body["access_token"].(string)
	}
	r.refresh = next
	return nil
}

// load asks all nodes for tokens until the test says stop.
func (r *releases) load(nodes ...*node) (stop func()) {
	var clients sync.WaitGroup
	end := make(chan struct{})
	for i := range 4 {
		clients.Go(func() {
			for asked := i; ; asked++ {
				select {
				case <-end:
					return
				default:
				}
				if status, body, err := r.steady.token(nodes[asked%len(nodes)]); err != nil || status != 200 {
					r.Errorf("load: %d %v %v", status, body, err)
					return
				}
			}
		})
	}
	stop = sync.OnceFunc(func() {
		close(end)
		clients.Wait()
	})
	r.Cleanup(stop)
	return stop
}

// verified checks the log, as a program exports it.
func (r *releases) verified(n *node, program string) {
	r.Helper()
	file := filepath.Join(r.TempDir(), "events.jsonl")
	for _, args := range [][]string{{"audit", "export", "--url", n.base, "--data-dir", filepath.Join(r.folder, "0"), file}, {"audit", "verify", file}} {
		c := exec.CommandContext(r.Context(), program, args...)
		c.Env = environment()
		if out, err := c.CombinedOutput(); err != nil {
			r.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}

// lost kills a node under load and returns how many tokens it had answered, all
// of which another must know of.
func (r *releases) lost(dying, other *node) int {
	r.Helper()
	answered := loadUntilKilled(r.T, dying, r.steady, 200*time.Millisecond)
	total := len(answered)
	if notLogged(r.T, r.admin.at(other), r.steady.zone, answered); total == 0 || len(answered) > 0 {
		r.Errorf("%d of %d answered tokens have no event", len(answered), total)
	}
	return total
}

var (
	// failure finds what no node may say of itself.
	failure = regexp.MustCompile(`(?m)^.*(level=ERROR|msg=request .*status=5).*$`)
	// failedBefore finds what the release before says and this one does not: of
	// two nodes that index a log for the first time, one fails and is tried again.
	failedBefore = regexp.MustCompile(`(?m)^.*event_runs_pkey.*$`)
)

// TestTheReleaseBeforeBesideThisOne replaces a node of the release before while
// people and applications go on, and goes back.
func TestTheReleaseBeforeBesideThisOne(t *testing.T) {
	t.Parallel()
	older := olderProgram(t, releaseBefore)
	this, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	r := &releases{T: t, front: newFront(t), folder: t.TempDir()}
	r.args = []string{"--dev", "--log-level", "debug", "--public-url", r.base, "--database-url", deputytest.Postgres(t), "--root-key-file", sharedKey(t)}

	before := r.run(older)
	r.lead([]*node{before}, []*node{before})
	r.settle()
	after := r.run(this) // which migrates
	both := []*node{before, after}
	stop := r.load(both...)
	r.lead(both[:1], both[1:])
	r.walk("changed at the release before", deputytest.Times(1, 1, 100))
	r.lead(both[1:], both[:1])
	r.walk("changed at this release", deputytest.Times(1, 1, 100))
	r.lead(both, both)
	r.walk("anywhere", deputytest.Times(1, 4, 100))
	stop()
	r.verified(before, older)
	r.verified(after, this)

	tokens := r.lost(after, before)
	after = r.run(this)
	tokens += r.lost(before, after)
	r.lead([]*node{after}, []*node{after})
	r.walk("this release alone", deputytest.Times(1, 3, 3))

	// Back.
	if err := after.stop(t); err != nil {
		t.Error(err)
	}
	before = r.run(older)
	r.lead([]*node{before}, []*node{before})
	r.walk("the release before again", deputytest.Times(1, 3, 3))
	if status, body := get(t, before.base+"/readyz"); status != 200 {
		t.Errorf("%d %v", status, body)
	}
	r.verified(before, older)
	requests := 0
	for i, n := range r.all {
		said := n.stderr.String()
		requests += strings.Count(said, " msg=request ")
		if slices.Contains(n.process.Args, older) {
			said = failedBefore.ReplaceAllString(said, "")
		}
		if found := failure.FindAllString(said, 5); found != nil {
			t.Errorf("node %d says:\n%s", i, strings.Join(found, "\n"))
		}
	}
	t.Logf("%d requests, %d tokens of nodes that were killed then", requests, tokens)
}
