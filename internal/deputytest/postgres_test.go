package deputytest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"deputy/internal/deputytest"
)

func TestPostgresGivesEachCallADatabaseOfItsOwn(t *testing.T) {
	first, second := deputytest.Postgres(t), deputytest.Postgres(t)
	if first == second {
		t.Fatalf("two calls share %s", first)
	}
	ask[int](t, first, `CREATE TABLE one (n int); INSERT INTO one VALUES (1)`)
	if n := ask[int](t, first, `SELECT n FROM one`); n != 1 {
		t.Errorf("read back %d, want 1", n)
	}
	if n := ask[int](t, second, `SELECT count(*) FROM pg_tables WHERE tablename = 'one'`); n != 0 {
		t.Error("a table of the first database is seen in the second")
	}
	if !ask[bool](t, first, `SELECT usesuper FROM pg_user WHERE usename = current_user`) {
		t.Error("the user is not a superuser")
	}
	if version := ask[int](t, first, `SELECT current_setting('server_version_num')::int`); version < 150000 {
		t.Errorf("the server has version %d, want 15 or newer", version)
	}
	if private := os.Getenv("DEPUTY_TEST_POSTGRES_URL") == ""; private && !ask[bool](t, first, `SELECT 'a' < 'B'`) {
		t.Error("the server sorts text by byte")
	}
}

func TestPostgresDropsTheDatabaseThoughATestForgotAConnection(t *testing.T) {
	var name string
	var forgotten *pgx.Conn
	t.Run("forgetful", func(t *testing.T) {
		database := deputytest.Postgres(t)
		name = ask[string](t, database, `SELECT current_database()`)
		forgotten = connect(t, database)
	})
	defer forgotten.Close(context.Background())
	if n := ask[int](t, deputytest.Postgres(t), `SELECT count(*) FROM pg_database WHERE datname = '`+name+`'`); n != 0 {
		t.Errorf("the database %s is still there", name)
	}
}

func TestPostgresServesParallelTests(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]bool{}
	t.Run("all", func(t *testing.T) {
		for i := range 4 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				name := ask[string](t, deputytest.Postgres(t), `SELECT current_database()`)
				mu.Lock()
				defer mu.Unlock()
				seen[name] = true
			})
		}
	})
	if !t.Failed() && len(seen) != 4 {
		t.Errorf("4 tests saw %d databases", len(seen))
	}
}

// childEnds tells the test binary, started by itself, how to end.
const childEnds = "DEPUTYTEST_CHILD_ENDS"

func TestPostgresEndsWithItsProcess(t *testing.T) {
	if how := os.Getenv(childEnds); how != "" {
		database := deputytest.Postgres(t)
		fmt.Println("folder", ask[string](t, database, `SHOW unix_socket_directories`))
		fmt.Println("port", ask[string](t, database, `SHOW port`))
		endBy(how)
		return
	}
	deputytest.Postgres(t) // skips where there is none
	for _, how := range []string{"return", "panic", "kill"} {
		t.Run(how, func(t *testing.T) {
			child := exec.Command(os.Args[0], "-test.run=^TestPostgresEndsWithItsProcess$")
			child.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
				return strings.HasPrefix(v, "DEPUTY_TEST_POSTGRES_URL=")
			})
			child.Env = append(child.Env, childEnds+"="+how)
			out, err := child.Output()
			if (err == nil) != (how == "return") {
				t.Errorf("the child ended with %v", err)
			}
			folder, port := reported(string(out), "folder"), reported(string(out), "port")
			if folder == "" || port == "" {
				t.Fatalf("the child had no server:\n%s", out)
			}
			eventually(t, folder+" is removed", func() bool {
				_, err := os.Stat(folder)
				return errors.Is(err, fs.ErrNotExist)
			})
			eventually(t, "nobody listens on port "+port, func() bool {
				conn, err := net.Dial("tcp", "127.0.0.1:"+port)
				if err == nil {
					conn.Close()
				}
				return err != nil
			})
		})
	}
}

func endBy(how string) {
	switch how {
	case "panic":
		panic("as the parent wished")
	case "kill":
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = self.Kill()
		}
		if err != nil {
			panic(err)
		}
		select {} // until the signal arrives
	}
}

// reported returns the rest of the line of out that begins with name.
func reported(out, name string) string {
	for line := range strings.Lines(out) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// eventually fails the test when what does not come true. The limit bounds a
// failure; a success is as quick as it can be.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 600 {
		if holds() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("not true: %s", what)
}

// ask runs SQL and returns the one value it answers, or none.
func ask[T any](t *testing.T, database, sql string) (value T) {
	t.Helper()
	conn := connect(t, database)
	defer conn.Close(context.Background())
	rows, err := conn.Query(context.Background(), sql, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	value, err = pgx.CollectOneRow(rows, pgx.RowTo[T])
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func connect(t *testing.T, database string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), database)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}
