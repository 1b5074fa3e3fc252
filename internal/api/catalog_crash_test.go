package api_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"deputy/internal/api"
	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/store"
	"deputy/internal/vault"
)

// The environment of a process that does one catalog task and dies at one of
// its commits: which, in which database, at what time.
const (
	dieAt   = "DEPUTY_TEST_DIE_AT"
	dieIn   = "DEPUTY_TEST_DIE_IN"
	dieTime = "DEPUTY_TEST_DIE_TIME"
)

// dying is a store whose process is killed right behind a commit.
type dying struct {
	deputy.Store
	left int
}

func (d *dying) Write(ctx context.Context, event *deputy.Event, apply func(deputy.Tx) error) error {
	err := d.Store.Write(ctx, event, apply)
	if d.left--; err == nil && d.left == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return err
}

// database returns the configuration of the store that a text names.
func database(text string) store.Config {
	if strings.HasPrefix(text, "postgres") {
		return store.Config{URL: text}
	}
	return store.Config{Path: text}
}

// runAndDie is the process. It exits with 0 when the task was over before the
// commit came at which it was to die.
func runAndDie() {
	ctx := context.Background()
	left, err := strconv.Atoi(os.Getenv(dieAt))
	start, alsoErr := strconv.ParseInt(os.Getenv(dieTime), 10, 64)
	if err := errors.Join(err, alsoErr); err != nil {
		panic(err)
	}
	var mu sync.Mutex
	clock := time.UnixMicro(start).UTC()
	now := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		clock = clock.Add(time.Millisecond)
		return clock
	}
	c := database(os.Getenv(dieIn))
	c.CursorKey, c.Now, c.Sealing = make([]byte, 32), now, openSealing{}
	opened, err := store.Open(ctx, c)
	if err != nil {
		panic(err)
	}
	a, err := newAPI(&dying{opened, left}, now)
	if err != nil {
		panic(err)
	}
	if _, err := doTask(ctx, opened, a); err != nil {
		panic(err)
	}
	os.Exit(0)
}

// newAPI returns a management API for a catalog's work alone: nobody calls it.
func newAPI(s deputy.Store, now func() time.Time) (*api.API, error) {
	addresses, err := deputy.NewAddresses(publicURL, "")
	if err != nil {
		return nil, err
	}
	return api.New(api.Config{
		Store: s, Addresses: addresses, Vault: vault.New(vault.NewRoot([32]byte{1}), s), Pool: pool, Sealing: openSealing{}, Now: now, Version: "test",
		Log:          slog.New(slog.DiscardHandler),
		Authenticate: func(context.Context, string, string) (*deputy.Caller, error) { return nil, errors.New("nobody") },
		IssueBearer:  func(context.Context, deputy.BearerRequest) (*deputy.Bearer, error) { return nil, errors.New("nobody") },
	})
}

// doTask does one catalog task if any is due.
func doTask(ctx context.Context, s deputy.Store, a *api.API) (any bool, err error) {
	tasks, err := s.ClaimTasks(ctx, []string{deputy.TaskCatalog}, 1, time.Minute)
	if err != nil || len(tasks) == 0 {
		return false, err
	}
	if err := a.RunCatalogTask(ctx, tasks[0].ZoneID, tasks[0].ID, tasks[0].Attempt); err != nil {
		return true, err
	}
	return true, s.FinishTask(ctx, tasks[0], time.Time{})
}

// A node may be killed behind any commit of a task: the others end it, once,
// and nothing is there twice or left over.
func TestKilledAtEveryStepOfAnInstall(t *testing.T) {
	t.Parallel()
	engines := map[string]func(testing.TB) string{
		"SQLite":     func(t testing.TB) string { return deputytest.SQLite(t) },
		"PostgreSQL": deputytest.Postgres,
	}
	for name, where := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := where(t)
			s := newServerOn(t, database(at))
			s.run(step{do: "POST /zones", body: `{"name": "Prod"}`, status: 200, keep: []string{"zone=id"}, events: []string{"zones:create"}})
			s.releaseCalendar()
			before := s.contents()
			for n, killed := 1, true; killed; n++ {
				install := s.object(202, "POST /zones/{zone}/installs", s.fill(`{"package_id": "{package}", "inputs": {"id": "c1", "secret": "hunter2"}}`))["install_id"].(string)
				created := s.killedAt(at, n)
				s.recover()
				s.installed(n, install)
				s.object(202, "DELETE /zones/{zone}/installs/"+install, "")
				removed := s.killedAt(at, n)
				s.recover()
				if got := s.object(200, "GET /zones/{zone}/installs/"+install, "")["status"]; got != "deleted" {
					t.Fatalf("killed at commit %d of the removal: the install is %v", n, got)
				}
				if d := cmp.Diff(before, s.contents()); d != "" {
					t.Fatalf("killed at commit %d: %s", n, d)
				}
				killed = created || removed
				if !killed && n < 5 {
					t.Fatalf("a task had %d commits alone", n-1)
				}
			}
		})
	}
}

// installed checks that an install is whole after a kill.
func (s *server) installed(n int, install string) {
	s.t.Helper()
	got := s.object(200, "GET /zones/{zone}/installs/"+install, "")
	links, _ := got["links"].([]any)
	if got["status"] != "active" || len(links) != 2 {
		s.t.Fatalf("killed at commit %d of the creation: %v", n, got)
	}
	for _, path := range []string{"providers", "resources"} {
		made := slices.DeleteFunc(s.object(200, "GET /zones/{zone}/"+path, "")["items"].([]any), func(item any) bool {
			return item.(map[string]any)["owner_type"] == "platform"
		})
		if len(made) != 1 {
			s.t.Fatalf("killed at commit %d of the creation: %s %v", n, path, made)
		}
	}
}

// killedAt has the task that is due done by a process that dies at its nth
// commit, and reports whether it came to that.
func (s *server) killedAt(at string, n int) bool {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	child := exec.Command(self)
	child.Env = append(os.Environ(), dieAt+"="+strconv.Itoa(n), dieIn+"="+at, dieTime+"="+strconv.FormatInt(s.now().UnixMicro(), 10))
	out, err := child.CombinedOutput()
	if err == nil {
		return false
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		s.t.Fatalf("the process ended otherwise: %v\n%s", err, out)
	}
	return true
}

// recover has two nodes look for what the dead one left, once its lease is
// over.
func (s *server) recover() {
	s.t.Helper()
	s.mu.Lock()
	s.clock = s.clock.Add(2 * time.Minute)
	s.mu.Unlock()
	var nodes sync.WaitGroup
	failures := make(chan error, 2)
	for range 2 {
		nodes.Go(func() {
			a, err := newAPI(s.store, s.now)
			for more := true; more && err == nil; {
				more, err = doTask(s.t.Context(), s.store, a)
			}
			failures <- err
		})
	}
	nodes.Wait()
	for range 2 {
		if err := <-failures; err != nil {
			s.t.Fatal(fmt.Errorf("a node could not end the task: %w", err))
		}
	}
}

// Two nodes that both believe that a task is theirs do it once.
func TestTwoNodesDoOneInstall(t *testing.T) {
	t.Parallel()
	s := newCatalogServer(t)
	s.releaseCalendar()
	for range 20 {
		task := s.object(202, "POST /zones/{zone}/installs", s.fill(`{"package_id": "{package}", "inputs": {"id": "c1", "secret": "hunter2"}}`))
		install := task["install_id"].(string)
		var nodes sync.WaitGroup
		for range 2 {
			nodes.Go(func() {
				err := s.api.RunCatalogTask(t.Context(), deputy.ZoneID(s.vars["zone"]), deputy.ID(task["id"].(string)), 1)
				if err != nil && deputy.KindOf(err) != deputy.Stale {
					t.Error(err)
				}
			})
		}
		nodes.Wait()
		s.work()
		s.installed(0, install)
		s.object(202, "DELETE /zones/{zone}/installs/"+install, "")
		s.work()
	}
}
