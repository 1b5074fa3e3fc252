package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/server"
	"deputy/internal/vault"
)

// interrupted is an output that ends what writes to it after some lines.
type interrupted struct {
	left int
	end  context.CancelFunc
}

func (i *interrupted) Write(p []byte) (int, error) {
	if i.left--; i.left == 0 {
		i.end()
	}
	return len(p), nil
}

// rotatesAndDies is set in a process that is to replace the root key of a folder
// and to be killed at it.
const rotatesAndDies = "DEPUTY_TEST_ROTATES_AND_DIES"

// deadly is an output at which its process is killed.
type deadly struct{}

func (deadly) Write(p []byte) (int, error) {
	process, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = process.Kill()
	}
	time.Sleep(time.Minute) // the signal comes before
	return len(p), err
}

// TestRotateAndDie is no test: it is the command, until it is killed after its
// first step.
func TestRotateAndDie(t *testing.T) {
	folder := os.Getenv(rotatesAndDies)
	if folder == "" {
		return // this process is none
	}
	server.RewrapStep(3)
	c := server.Config{Now: time.Now}
	err := c.Apply(func(string) bool { return false }, func(name string) (string, bool) { return folder, name == "DEPUTY_DATA_DIR" })
	if err == nil {
		err = server.RotateRootKey(t.Context(), c, io.Discard, deadly{})
	}
	t.Fatal("it was not killed", err)
}

// rotateAndDie begins to replace the root key of a folder in a process that is
// killed.
func rotateAndDie(t *testing.T, folder string) {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^TestRotateAndDie$")
	c.Env = append(os.Environ(), rotatesAndDies+"="+folder)
	said, err := c.CombinedOutput()
	if status, ok := c.ProcessState.Sys().(syscall.WaitStatus); err == nil || !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the command ended by itself, with %v: %s", err, said)
	}
}

// TestTheRootKeyIsReplacedWhileServersRun, by a command that is killed and
// ended. The tests' nodes share one process and its setting.
func TestTheRootKeyIsReplacedWhileServersRun(t *testing.T) {
	server.RewrapStep(3)
	t.Cleanup(func() { server.RewrapStep(100) })
	w := newRotating(t)
	node, cfg := w.nodes[0], *w.nodes[0].Config()
	for n := range 8 {
		if _, err := server.CreateOrganization(t.Context(), cfg, fmt.Sprintf("Organization %d", n), io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	at := filepath.Join(cfg.DataDir, "root.key")
	former, err := vault.ReadRootKey(at)
	if err != nil {
		t.Fatal(err)
	}
	before, opened, err := node.DataKeys(t.Context(), former)
	if err != nil || len(before) < 11 || opened != len(before) {
		t.Fatalf("%d keys, %d of which open, %v", len(before), opened, err)
	}

	// Killed after a step, ended after another, and continued.
	ended := func() {
		ctx, end := context.WithCancel(t.Context())
		if err := server.RotateRootKey(ctx, cfg, io.Discard, &interrupted{left: 1, end: end}); !errors.Is(err, context.Canceled) {
			t.Fatalf("ended with %v", err)
		}
	}
	for _, stop := range []func(){func() { rotateAndDie(t, cfg.DataDir) }, ended} {
		stop()
		// Meanwhile everything works: on the nodes that run, and on one that starts.
		for _, n := range w.nodes {
			w.signer(n, "")
		}
	}
	left, _, err := node.DataKeys(t.Context(), former)
	if err != nil || len(left) == 0 || len(left) >= len(before) {
		t.Fatalf("%d of %d keys are left, %v", len(left), len(before), err)
	}
	late, _ := openAt(t, w.clock.Now, map[string]string{"DEPUTY_DATA_DIR": cfg.DataDir, "DEPUTY_PUBLIC_URL": cfg.PublicURL}, io.Discard)
	serve(t, late)
	w.signer(late, "")
	made := w.make("/zones", map[string]any{"name": "Meanwhile"}) // a new key is wrapped by the next one
	after, _, err := node.DataKeys(t.Context(), former)
	if err != nil || len(after) != len(left) {
		t.Errorf("%d keys hang on the former one after a zone was made, %d before", len(after), len(left))
	}

	kept := at + "." + former.Fingerprint()[:8]
	if err := os.Link(at, kept); err != nil { // as it is when the command is killed while it changes the files
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := server.RotateRootKey(t.Context(), cfg, io.Discard, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), at+" is in force") {
		t.Errorf("it said %s", &out)
	}
	next, err := vault.ReadRootKey(at)
	if err != nil || next.Fingerprint() == former.Fingerprint() {
		t.Fatalf("the file holds the former key, %v", err)
	}
	if _, err := os.Stat(at + ".next"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the next key is still waiting: %v", err)
	}
	if k, err := vault.ReadRootKey(kept); err != nil || k.Fingerprint() != former.Fingerprint() {
		t.Errorf("the former key is not kept: %v", err)
	}
	if left, _, err := node.DataKeys(t.Context(), former); err != nil || len(left) != 0 {
		t.Errorf("%d keys hang on the former key, %v", len(left), err)
	}
	all, opened, err := node.DataKeys(t.Context(), next)
	if err != nil || len(all) != len(before)+1 || opened != len(all) {
		t.Errorf("%d keys, %d of which open, %v; there were %d", len(all), opened, err, len(before))
	}
	for _, row := range before {
		if _, err := vault.New(former, rowsOf{row.ID: row}).Rewrap(t.Context(), row, ""); err != nil {
			t.Fatalf("the test's own rows: %v", err)
		}
		for _, name := range []string{"deputy.db", "deputy.db-wal"} {
			text, err := os.ReadFile(filepath.Join(cfg.DataDir, name))
			if err == nil && bytes.Contains(text, row.Wrapped) {
				t.Errorf("%s still has the key %s as the former key wraps it", name, row.ID)
			}
		}
	}

	// The former key is refused, and what runs goes on: restarted or not.
	alone := t.TempDir()
	if err := os.Link(kept, filepath.Join(alone, "root.key")); err != nil {
		t.Fatal(err)
	}
	refused := cfg
	refused.Listen, refused.RootKeyFile = "127.0.0.1:0", filepath.Join(alone, "root.key")
	if s, err := server.Open(t.Context(), refused, io.Discard); err == nil || !strings.Contains(err.Error(), "another root key") {
		t.Errorf("started with the former key: %v %v", s, err)
	}
	fresh, _ := openAt(t, w.clock.Now, map[string]string{"DEPUTY_DATA_DIR": cfg.DataDir, "DEPUTY_PUBLIC_URL": cfg.PublicURL}, io.Discard)
	serve(t, fresh)
	for _, n := range append(w.nodes, late, fresh) {
		w.signer(n, "")
	}
	w.make("/zones", map[string]any{"name": "Afterwards"})
	w.zone = made.ID
	if kids := w.published(fresh, "RS256"); len(kids) != 1 {
		t.Errorf("the zone that was made meanwhile publishes %v", kids)
	}
	out.Reset()
	w.clock.Advance(1)
	if err := server.RotateRootKey(t.Context(), cfg, io.Discard, &out); err != nil { // and once more, from the beginning
		t.Fatal(err)
	}
	if again, err := vault.ReadRootKey(at); err != nil || again.Fingerprint() == next.Fingerprint() {
		t.Errorf("the second rotation made no key: %v", err)
	}
	w.make("/zones", map[string]any{"name": "Again"})
}

// rowsOf is data keys by their ids.
type rowsOf map[deputy.ID]deputy.DataKey

func (r rowsOf) DataKey(_ context.Context, id deputy.ID) (deputy.DataKey, error) { return r[id], nil }

// TestSigningKeysAreReplacedByCommand, in time, or at once where somebody else
// may have them.
func TestSigningKeysAreReplacedByCommand(t *testing.T) {
	t.Parallel()
	w := newRotating(t)
	one, two, cfg := w.nodes[0], w.nodes[1], *w.nodes[0].Config()
	old := w.signer(one, "")
	w.clock.Advance(1e9)
	var out bytes.Buffer
	if err := server.RotateSigningKeys(t.Context(), cfg, w.zone, false, io.Discard, &out); err != nil {
		t.Fatal(err)
	}
	for _, n := range w.nodes {
		w.until("the next keys are published", func() bool { return len(w.published(n, "ES256")) == 2 && len(w.published(n, "RS256")) == 2 })
		if got := w.signer(n, ""); got != old {
			t.Errorf("%s signs before verifiers know it", got)
		}
	}
	w.clock.Advance(11 * 60e9)
	w.until("the next key signs", func() bool { return w.signer(one, "") != old && w.signer(two, "") != old })

	// Discarded: nothing that the keys before signed is valid.
	young := w.signer(one, "")
	if err := server.RotateSigningKeys(t.Context(), cfg, w.zone, true, io.Discard, &out); err != nil {
		t.Fatal(err)
	}
	for _, n := range w.nodes {
		w.until("one key is published, and signs", func() bool {
			kids := w.published(n, "ES256")
			return len(kids) == 1 && kids[0] != young && kids[0] != old && w.signer(n, "") == kids[0]
		})
	}
	w.until("the new key attests", func() bool {
		w.clock.Advance(1e9)
		return w.attestation().KeyID == w.published(one, "RS256")[0]
	})
	// And that of the management plane.
	platform := w.signer(one, w.bearer())
	if err := server.RotateSigningKeys(t.Context(), cfg, "", true, io.Discard, &out); err != nil {
		t.Fatal(err)
	}
	w.until("the plane signs with another key", func() bool {
		w.clock.Advance(10e9)
		return w.signer(one, w.bearer()) != platform
	})
	if err := server.RotateSigningKeys(t.Context(), cfg, "nowhere", false, io.Discard, &out); err == nil {
		t.Error("keys were made for a zone that there is not")
	}
}
