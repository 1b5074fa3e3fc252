package store_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/store"
	"deputy/internal/store/storetest"

	"github.com/google/go-cmp/cmp"
)

// engines are the databases that a store runs on, each as what opens a fresh
// one.
var engines = map[string]func(testing.TB) store.Config{
	"SQLite":     func(t testing.TB) store.Config { return store.Config{Path: filepath.Join(t.TempDir(), "deputy.db")} },
	"PostgreSQL": func(t testing.TB) store.Config { return store.Config{URL: deputytest.Postgres(t)} },
}

func tryOpen(t testing.TB, c store.Config) (*store.Store, error) {
	c.CursorKey = make([]byte, 32)
	if c.Sealing == nil {
		c.Now, c.Sealing = time.Now, unsealed{}
	}
	return store.Open(t.Context(), c)
}

func open(t testing.TB, c store.Config) *store.Store {
	t.Helper()
	s, err := tryOpen(t, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// copies are the engines, each as what copies a database that is closed.
var copies = map[string]func(testing.TB, store.Config) store.Config{
	"SQLite": func(t testing.TB, c store.Config) store.Config {
		t.Helper()
		raw, err := os.ReadFile(c.Path)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "deputy.db")
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		return store.Config{Path: path}
	},
	"PostgreSQL": func(t testing.TB, c store.Config) store.Config {
		return store.Config{URL: deputytest.PostgresLike(t, c.URL)}
	},
}

func TestStore(t *testing.T) {
	for name, database := range engines {
		t.Run(name, func(t *testing.T) {
			migrated := database(t)
			c := migrated
			c.CursorKey, c.Now, c.Sealing, c.Migrate = make([]byte, 32), time.Now, unsealed{}, true
			s, err := store.Open(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			storetest.Run(t, func(t testing.TB, s storetest.Settings) func() storetest.Store {
				c := copies[name](t, migrated)
				c.Now, c.Sealing = s.Now, s.Sealing
				return func() storetest.Store { return open(t, c) }
			})
		})
	}
}

func TestAListOfChangesThatIsTooShortGivesEverything(t *testing.T) {
	for name, database := range engines {
		t.Run(name, func(t *testing.T) {
			c := database(t)
			c.Migrate = true
			s := open(t, c)
			s.KeepChanges(10)
			z := newZone()
			write(t, s, z.ID, func(x deputy.Tx) error { return x.Zones().Insert(t.Context(), z) })
			for range store.PruneEvery - 1 {
				write(t, s, z.ID, func(x deputy.Tx) error {
					_, err := x.Zones().Update(t.Context(), deputy.Scope{Organization: organization}, deputy.ID(z.ID), func(z *deputy.Zone) error {
						z.Name += "x"
						return nil
					})
					return err
				})
			}
			for since, full := range map[int64]bool{1: true, store.PruneEvery - 11: true, store.PruneEvery - 10: false, store.PruneEvery: false} {
				d, err := s.Zone(t.Context(), z.ID, since)
				if err != nil || d.Full != full || d.Revision != store.PruneEvery {
					t.Errorf("since %d: %+v, %v", since, d, err)
				}
			}
		})
	}
}

func write(t testing.TB, s *store.Store, zone deputy.ZoneID, apply func(deputy.Tx) error) {
	t.Helper()
	if err := s.Write(t.Context(), issued(zone), apply); err != nil {
		t.Fatal(err)
	}
}

func TestASchemaThatIsOldIsNotReady(t *testing.T) {
	for name, database := range engines {
		t.Run(name, func(t *testing.T) {
			c := database(t)
			s := open(t, c)
			if err := s.Ready(t.Context()); !errors.Is(err, deputy.Unavailable) {
				t.Errorf("before the migrations: %v", err)
			}
			c.Migrate = true
			for range 2 {
				migrated := open(t, c)
				if err := migrated.Ready(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if err := s.Ready(t.Context()); err != nil {
				t.Errorf("after the migrations: %v", err)
			}
		})
	}
}

// TestASchemaOfAnotherLine: a program starts on the schema of the release after
// it, but not on one that lacks a migration before others, or has a strange one.
func TestASchemaOfAnotherLine(t *testing.T) {
	strange := "INSERT INTO goose_db_version (version_id, is_applied) VALUES "
	for name, database := range engines {
		t.Run(name, func(t *testing.T) {
			c := database(t)
			c.Migrate = true
			s := open(t, c)
			for _, step := range []struct {
				change string
				says   string
			}{
				{strange + "(9998, true)", ""},
				{strange + "(0, true)", ""}, // goose's own
				{"UPDATE goose_db_version SET is_applied = false WHERE version_id = 2", "migration 3 where this program has 2"},
				{"UPDATE goose_db_version SET version_id = 2, is_applied = true WHERE version_id = 3", "migration 4 where this program has 3"},
			} {
				if err := s.Exec(t.Context(), step.change); err != nil {
					t.Fatal(err)
				}
				again, err := tryOpen(t, c)
				if err == nil {
					err = again.Close()
				}
				for what, err := range map[string]error{"ready": s.Ready(t.Context()), "open": err} {
					if step.says == "" && err != nil || step.says != "" && (err == nil || !strings.Contains(err.Error(), step.says)) {
						t.Errorf("%s: %s: %v", step.change, what, err)
					}
				}
			}
		})
	}
}

func TestBothEnginesHaveTheSameMigrations(t *testing.T) {
	text := func(engine string) map[string]string {
		out := map[string]string{}
		root := filepath.Join("migrations", engine)
		err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(filepath.Join(root, name))
			out[name] = string(b)
			return err
		})
		if err != nil || len(out) == 0 {
			t.Fatal(out, err)
		}
		return out
	}
	sqlite := text("sqlite")
	for name, s := range sqlite {
		sqlite[name] = strings.NewReplacer(" TEXT", ` TEXT COLLATE "C"`, "BLOB", "BYTEA", ") WITHOUT ROWID;", ");").Replace(s)
	}
	if diff := cmp.Diff(sqlite, text("postgres")); diff != "" {
		t.Error("the migrations differ beyond what the engines call things:\n" + diff)
	}
}

func TestHalfAConfigurationIsRefused(t *testing.T) {
	key := make([]byte, 32)
	for name, c := range map[string]store.Config{
		"no database":   {CursorKey: key},
		"two databases": {CursorKey: key, Path: "a", URL: "postgres://"},
		"short key":     {CursorKey: key[1:], Path: filepath.Join(t.TempDir(), "a")},
	} {
		if s, err := store.Open(t.Context(), c); err == nil {
			s.Close()
			t.Error(name)
		}
	}
	if _, err := store.Open(t.Context(), store.Config{CursorKey: key, Path: filepath.Join(t.TempDir(), "none", "a"), Migrate: true}); err == nil {
		t.Error("a folder that does not exist")
	}
}

func TestALostDatabaseIsUnavailable(t *testing.T) {
	ctx := context.WithoutCancel(t.Context())
	s := open(t, store.Config{URL: "postgres://nobody@127.0.0.1:1/none?connect_timeout=1"})
	_, err := s.Zones().Get(ctx, deputy.Scope{}, "z")
	for what, err := range map[string]error{"read": err, "write": s.Write(ctx, issued("z"), nil), "ready": s.Ready(ctx)} {
		if !errors.Is(err, deputy.Unavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzCursor(f *testing.F) {
	s := open(f, store.Config{Path: filepath.Join(f.TempDir(), "deputy.db"), Migrate: true})
	z := newZone()
	write(f, s, z.ID, func(x deputy.Tx) error { return x.Zones().Insert(f.Context(), z) })
	in := deputy.Scope{Organization: organization}
	genuine, err := s.Zones().List(f.Context(), in, deputy.Query{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(genuine.Last)
	f.Add("")
	f.Add("AAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, cursor string) {
		_, err := s.Zones().List(context.WithoutCancel(t.Context()), in, deputy.Query{After: cursor})
		if good := cursor == "" || cursor == genuine.Last; good && err != nil || !good && deputy.KindOf(err) != deputy.Invalid {
			t.Errorf("cursor %q: %v", cursor, err)
		}
		_, err = s.Events(context.WithoutCancel(t.Context()), deputy.EventQuery{Organization: organization, Before: cursor})
		if cursor != "" && deputy.KindOf(err) != deputy.Invalid {
			t.Errorf("cursor %q of a log: %v", cursor, err)
		}
	})
}

// TestNothingOfAZoneIsLeftBehind finds the table that a migration added and
// PurgeZone does not know.
func TestNothingOfAZoneIsLeftBehind(t *testing.T) {
	s := open(t, store.Config{Path: filepath.Join(t.TempDir(), "deputy.db"), Migrate: true})
	all, emptied, err := s.ZoneTables(t.Context())
	if err != nil || len(all) < 10 {
		t.Fatal(all, err)
	}
	kept := []string{
		"event_zones", // the log stays
		"tasks",       // each finds its zone gone
	}
	slices.Sort(all)
	emptied = append(emptied, kept...)
	slices.Sort(emptied)
	if diff := cmp.Diff(all, emptied); diff != "" {
		t.Error("tables with a zone_id, and those that are emptied or kept:\n" + diff)
	}
}
