package store_test

import (
	"path/filepath"
	"testing"

	"deputy/internal/deputytest"
	"deputy/internal/store"
	"deputy/internal/store/storetest"
)

// node returns how to open stores on one database.
func node(t testing.TB, c store.Config, s storetest.Settings) func() storetest.Store {
	c.CursorKey, c.Now, c.Sealing, c.Migrate = make([]byte, 32), s.Now, s.Sealing, true
	return func() storetest.Store {
		s, err := store.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
}

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t testing.TB, s storetest.Settings) func() storetest.Store {
		return node(t, store.Config{Path: filepath.Join(t.TempDir(), "deputy.db")}, s)
	})
}

func TestPostgreSQL(t *testing.T) {
	storetest.Run(t, func(t testing.TB, s storetest.Settings) func() storetest.Store {
		return node(t, store.Config{URL: deputytest.Postgres(t)}, s)
	})
}
