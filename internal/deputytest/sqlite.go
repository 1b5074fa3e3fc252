package deputytest

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"deputy/internal/store"
)

// SQLite returns the path of a new SQLite database that has today's schema and
// nothing in it, and goes when the test ends. It is a copy of one that the
// first call in a process made: a copy takes a hundredth of the time that the
// migrations take.
func SQLite(t testing.TB) (path string) {
	t.Helper()
	raw, err := empty()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "deputy.db")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// empty returns the bytes of a database that was migrated and closed.
var empty = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "deputy-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "deputy.db")
	s, err := store.Open(context.Background(), store.Config{Path: path, CursorKey: make([]byte, 32), Now: time.Now, Migrate: true})
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})
