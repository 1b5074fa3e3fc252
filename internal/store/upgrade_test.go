package store_test

import (
	"bytes"
	"database/sql"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"deputy/internal/deputytest"
	"deputy/internal/store"

	"github.com/pressly/goose/v3"
)

var update = flag.Bool("update", false, "write the dumps that are missing")

// dumpOf names the dump of a SQLite database as it was at a schema version. A
// dump is written once, with the version, and never again: what was released
// cannot change any more.
func dumpOf(version int64) string { return fmt.Sprintf("testdata/schema/%05d.sql", version) }

// versions returns the numbers of the migrations of an engine.
func versions(t *testing.T, engine string) (all []int64) {
	t.Helper()
	names, err := filepath.Glob("migrations/" + engine + "/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		var n int64
		if _, err := fmt.Sscanf(filepath.Base(name), "%05d_", &n); err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

// migrateTo brings an empty database to a version by the migrations up to it.
func migrateTo(t *testing.T, db *sql.DB, dialect goose.Dialect, engine string, version int64) {
	t.Helper()
	p, err := goose.NewProvider(dialect, db, os.DirFS("migrations/"+engine))
	if err == nil {
		_, err = p.UpTo(t.Context(), version)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// fill puts a row into each table of a database, with values of the types
// of its columns that say where they are.
func fill(t *testing.T, db *sql.DB, columns map[string][]column) {
	t.Helper()
	for table, of := range columns {
		if strings.HasPrefix(table, "goose_") {
			continue
		}
		var names, values []string
		for _, c := range of {
			names, values = append(names, c.name), append(values, c.value(table))
		}
		if _, err := db.Exec("INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(values, ", ") + ")"); err != nil {
			t.Fatalf("%s: %v", table, err)
		}
	}
}

// column is a column of a table.
type column struct{ name, kind string }

// value returns a value of the column, as SQL.
func (c column) value(table string) string {
	switch kind := strings.ToUpper(c.kind); {
	case strings.HasPrefix(kind, "BOOL"):
		return "TRUE"
	case strings.Contains(kind, "INT"):
		return "1"
	case kind == "BLOB" || kind == "BYTEA":
		return fmt.Sprintf("CAST('%s %s' AS %s)", table, c.name, kind)
	}
	return fmt.Sprintf("'%s %s'", table, c.name)
}

// columnsOf returns the tables of a SQLite database with their columns.
func columnsOf(t *testing.T, db *sql.DB) map[string][]column {
	t.Helper()
	out := map[string][]column{}
	found, err := db.Query("SELECT m.name, c.name, c.type FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' ORDER BY m.name, c.cid")
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	for found.Next() {
		var table string
		var c column
		if err := found.Scan(&table, &c.name, &c.kind); err != nil {
			t.Fatal(err)
		}
		out[table] = append(out[table], c)
	}
	return out
}

// texts runs a query of one text column.
func texts(t *testing.T, db *sql.DB, query string) (out []string) {
	t.Helper()
	found, err := db.Query(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer found.Close()
	for found.Next() {
		var text string
		if err := found.Scan(&text); err != nil {
			t.Fatal(err)
		}
		out = append(out, text)
	}
	return out
}

// dump returns a SQLite database as SQL: its schema, then its rows.
func dump(t *testing.T, db *sql.DB) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, statement := range texts(t, db, "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY type = 'index', name") {
		fmt.Fprintf(&out, "%s;\n", statement)
	}
	columns := columnsOf(t, db)
	tables := make([]string, 0, len(columns))
	for table := range columns {
		tables = append(tables, table)
	}
	slices.Sort(tables)
	for _, table := range tables {
		var names, quoted []string
		for _, c := range columns[table] {
			if c.name == "tstamp" { // of goose; it differs each time
				continue
			}
			names, quoted = append(names, c.name), append(quoted, "quote("+c.name+")")
		}
		for _, row := range texts(t, db, "SELECT "+strings.Join(quoted, " || ', ' || ")+" FROM "+table+" ORDER BY 1") {
			fmt.Fprintf(&out, "INSERT INTO %s (%s) VALUES (%s);\n", table, strings.Join(names, ", "), row)
		}
	}
	return out.Bytes()
}

func sqlite(t *testing.T) (db *sql.DB, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "deputy.db")
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_pragma=synchronous(OFF)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db, path
}

// A database of every earlier schema, with rows in each of its tables, becomes
// one of today's, which has the same rows.
func TestDatabasesOfEarlierSchemasAreBroughtToToday(t *testing.T) {
	fresh, path := sqlite(t)
	open(t, store.Config{Path: path, Migrate: true})
	const schema = "SELECT name || ': ' || group_concat(c, ', ') FROM (SELECT m.name, c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' ' || c.pk AS c" +
		" FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' ORDER BY m.name, c.name) GROUP BY name" +
		" UNION ALL SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
	want := texts(t, fresh, schema)
	slices.Sort(want)
	for _, version := range versions(t, "sqlite") {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			if _, err := os.Stat(dumpOf(version)); os.IsNotExist(err) && *update {
				old, _ := sqlite(t)
				migrateTo(t, old, goose.DialectSQLite3, "sqlite", version)
				fill(t, old, columnsOf(t, old))
				if err := os.WriteFile(dumpOf(version), dump(t, old), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			raw, err := os.ReadFile(dumpOf(version))
			if err != nil {
				t.Fatalf("every schema has its dump: run the test with -update, once (%v)", err)
			}
			old, path := sqlite(t)
			if _, err := old.Exec("BEGIN;\n" + string(raw) + "COMMIT;"); err != nil {
				t.Fatal(err)
			}
			before := columnsOf(t, old)
			had := map[string]map[string][]string{}
			for table, columns := range before {
				had[table] = map[string][]string{}
				for _, c := range columns {
					had[table][c.name] = texts(t, old, "SELECT quote("+c.name+") FROM "+table+" ORDER BY 1")
				}
			}
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			s := open(t, store.Config{Path: path, Migrate: true})
			if err := s.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			now, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)")
			if err != nil {
				t.Fatal(err)
			}
			defer now.Close()
			got := texts(t, now, schema)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("the schema is another than that of a new database:\n%s", differing(got, want))
			}
			for table, columns := range columnsOf(t, now) {
				if strings.HasPrefix(table, "goose_") {
					continue
				}
				for _, c := range columns {
					values, known := had[table][c.name]
					if !known {
						continue
					}
					if got := texts(t, now, "SELECT quote("+c.name+") FROM "+table+" ORDER BY 1"); !slices.Equal(got, values) {
						t.Errorf("%s.%s was %v and is %v", table, c.name, values, got)
					}
				}
			}
		})
	}
}

// differing returns the lines that one list has and the other has not.
func differing(got, want []string) string {
	var out strings.Builder
	for _, line := range got {
		if !slices.Contains(want, line) {
			out.WriteString("+ " + line + "\n")
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			out.WriteString("- " + line + "\n")
		}
	}
	return out.String()
}

// So on PostgreSQL, from some of the versions that its migrations lead to.
func TestPostgresIsBroughtToToday(t *testing.T) {
	all := versions(t, "postgres")
	for _, version := range []int64{all[0], all[len(all)/2], all[len(all)-2]} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			url := deputytest.Postgres(t)
			db, err := sql.Open("pgx", url)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			migrateTo(t, db, goose.DialectPostgres, "postgres", version)
			columns := map[string][]column{}
			for _, line := range texts(t, db, "SELECT table_name || ' ' || column_name || ' ' || data_type FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)"+
				" WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY table_name, ordinal_position") {
				parts := strings.SplitN(line, " ", 3)
				columns[parts[0]] = append(columns[parts[0]], column{parts[1], parts[2]})
			}
			fill(t, db, columns)
			had := map[string]string{} // some migrations bring rows of their own
			for table := range columns {
				had[table] = texts(t, db, "SELECT COUNT(*)::text FROM "+table)[0]
			}
			s := open(t, store.Config{URL: url, Migrate: true})
			if err := s.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			for table := range columns {
				if strings.HasPrefix(table, "goose_") {
					continue
				}
				if there := texts(t, db, "SELECT COUNT(*)::text FROM information_schema.tables WHERE table_schema = 'public' AND table_name = '"+table+"'"); there[0] == "0" {
					continue
				}
				if n := texts(t, db, "SELECT COUNT(*)::text FROM "+table); n[0] != had[table] {
					t.Errorf("%s had %s rows and has %s", table, had[table], n[0])
				}
			}
		})
	}
}
