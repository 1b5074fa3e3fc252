package main_test

import (
	"bufio"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"deputy/internal/deputytest"
)

// Every event reaches the folder that the log is streamed to, and each is there
// once, however often the server is killed meanwhile.
func TestKilledWhileTheLogIsStreamed(t *testing.T) {
	t.Parallel()
	folder, events := t.TempDir(), filepath.Join(t.TempDir(), "events")
	stream := []string{"--events-folder", events, "--events-interval", "0s"}
	n := startNode(t, folder, stream...)
	m := n.login(t, readAccount(t, folder))
	a := m.newAgent(t, m.newZone(t, "Streamed"), "streamed")
	answered := map[string]bool{}
	for range deputytest.Times(1, 1, 30) {
		for id := range loadUntilKilled(t, n, a, 50*time.Millisecond+rand.N(1500*time.Millisecond)) {
			answered[id] = true
		}
		n = startNode(t, folder, stream...)
	}
	for end := time.Now().Add(90 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		seen := streamed(t, events)
		missing := 0
		for id := range answered {
			if seen[id] == 0 {
				missing++
			}
		}
		if missing == 0 {
			for id, times := range seen {
				if times != 1 {
					t.Errorf("event %s is there %d times", id, times)
				}
			}
			return
		}
		if time.Now().After(end) { // a dead node's lease lasts a while
			t.Fatalf("%d of %d events never came", missing, len(answered))
		}
	}
}

// streamed counts the events in the files below a folder by their ids.
func streamed(t *testing.T, dir string) map[string]int {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*", "*", "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var e struct {
				Metadata struct{ UID string }
			}
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			seen[e.Metadata.UID]++
		}
		f.Close()
	}
	return seen
}
