package deputytest

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// oldestPostgres is the first major version that Deputy supports.
const oldestPostgres = 15

// Postgres returns the URL of a new, empty PostgreSQL database, whose user is
// the server's superuser, and drops it when the test ends.
//
// The server is a private one, started from the installed binaries at the
// first call in a process and gone when the process ends, however it ends. It
// forgets everything in a crash (fsync is off), and it sorts text by language
// and not by byte, as most servers do, so that a query which leaves its
// collation to chance is found out. DEPUTY_TEST_POSTGRES_URL names another
// server to use instead, by the URL of a superuser.
func Postgres(t testing.TB) (databaseURL string) {
	t.Helper()
	return postgres(t, "")
}

// PostgresLike is Postgres, but the database has what the one at the URL has,
// which Postgres gave and nobody is connected to.
func PostgresLike(t testing.TB, databaseURL string) string {
	t.Helper()
	return postgres(t, databaseURL)
}

func postgres(t testing.TB, like string) (databaseURL string) {
	t.Helper()
	server, err := theCluster()
	if errors.Is(err, errNoPostgres) {
		missing(t, "postgres", err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	name := "deputy_test_" + strings.ToLower(rand.Text())
	if like != "" {
		u, err := url.Parse(like)
		if err != nil {
			t.Fatal(err)
		}
		like = " TEMPLATE " + strings.TrimPrefix(u.Path, "/")
	}
	// Files are copied two to four times as fast as pages through the log.
	if err := execute(server.superuser, "CREATE DATABASE "+name+like+" STRATEGY file_copy"); err != nil {
		t.Fatalf("create a database: %v", err)
	}
	t.Cleanup(func() {
		// FORCE: a connection that the test forgot must not keep the database.
		if err := execute(server.superuser, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("drop the database: %v", err)
		}
	})
	database := *server.superuser
	database.Path = "/" + name
	return database.String()
}

// execute runs one statement on a connection of its own, so that no pool
// outlives the test.
func execute(server *url.URL, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, server.String())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}

var errNoPostgres = fmt.Errorf("needs PostgreSQL %d or newer: install it (on Debian: apt-get install postgresql), "+
	"or name a server in DEPUTY_TEST_POSTGRES_URL", oldestPostgres)

// cluster is a running server.
type cluster struct {
	superuser *url.URL
	// lifeline is the write end of the supervisor's standard input. The kernel
	// closes it when this process ends, by whatever cause; until then it must
	// stay reachable, or the garbage collector closes it.
	lifeline *os.File
}

// theCluster returns the process's one cluster, which the first call starts.
var theCluster = sync.OnceValues(func() (*cluster, error) {
	if named := os.Getenv("DEPUTY_TEST_POSTGRES_URL"); named != "" {
		superuser, err := url.Parse(named)
		return &cluster{superuser: superuser}, err
	}
	bin, err := postgresBinaries()
	if err != nil {
		return nil, err
	}
	return startPostgres(bin)
})

// postgresBinaries returns the first folder with a PostgreSQL that is new
// enough: those on PATH, then Debian's, newest first.
func postgresBinaries() (dir string, err error) {
	debian, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	slices.SortFunc(debian, func(a, b string) int { return cmp.Compare(majorOf(b), majorOf(a)) })
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), debian...) {
		if filepath.IsAbs(dir) && isPostgres(dir) {
			return dir, nil
		}
	}
	return "", errNoPostgres
}

// majorOf returns the version in the name of one of Debian's folders, or 0.
func majorOf(debian string) int {
	major, _ := strconv.Atoi(filepath.Base(filepath.Dir(debian))) // 9.6 and its like are too old anyway
	return major
}

var versionLine = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

func isPostgres(dir string) bool {
	for _, program := range []string{"initdb", "pg_ctl", "postgres"} {
		if _, err := exec.LookPath(filepath.Join(dir, program)); err != nil {
			return false
		}
	}
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output()
	version := versionLine.FindSubmatch(out)
	if err != nil || version == nil {
		return false
	}
	major, err := strconv.Atoi(string(version[1]))
	return err == nil && major >= oldestPostgres
}

// supervisor starts a cluster, waits for its standard input to end, and
// removes the cluster.
//
//go:embed postgres.sh
var supervisor string

// startPostgres starts a cluster from the binaries in bin.
func startPostgres(bin string) (c *cluster, err error) {
	dir, err := os.MkdirTemp("", "deputy-postgres-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil { // otherwise the supervisor removes it
			os.RemoveAll(dir)
		}
	}()
	password := rand.Text()
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte(password), 0o600); err != nil {
		return nil, err
	}
	owner, err := giveAway(dir)
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	shell := exec.Command("/bin/sh", append([]string{"-c", supervisor, "supervisor", dir, bin}, ports...)...)
	shell.Dir = dir
	// Nothing of the developer's own PostgreSQL settings, and none of the
	// signals that a terminal sends to the tests.
	shell.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: owner}
	port, lifeline, err := supervise(shell)
	if err != nil {
		return nil, err
	}
	superuser := &url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword("deputy", password),
		Host:     net.JoinHostPort("127.0.0.1", port),
		Path:     "/postgres",
		RawQuery: "sslmode=disable",
	}
	return &cluster{superuser, lifeline}, nil
}

// giveAway gives the folder to the user whom the server must run as: nil, the
// present one, unless that is root, which PostgreSQL refuses.
func giveAway(dir string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	to, err := user.Lookup("postgres")
	if err != nil {
		if to, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.ParseUint(to.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(to.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	for _, path := range []string{dir, filepath.Join(dir, "password")} {
		if err := os.Chown(path, int(uid), int(gid)); err != nil {
			return nil, err
		}
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// freePorts returns loopback ports that nobody listens on. Another process may
// take one before the server does, so the supervisor is given several.
func freePorts(n int) (ports []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return ports, nil
}

// supervise starts the supervisor and returns the port it reports, or what it
// said instead, and the end of the pipe that keeps it going.
func supervise(shell *exec.Cmd) (port string, lifeline *os.File, err error) {
	stdin, lifeline, err := os.Pipe()
	if err != nil {
		return "", nil, err
	}
	output, stdout, err := os.Pipe()
	if err != nil {
		return "", nil, err
	}
	defer output.Close()
	shell.Stdin, shell.Stdout, shell.Stderr = stdin, stdout, stdout
	err = shell.Start()
	stdin.Close()
	stdout.Close()
	if err != nil {
		return "", nil, err
	}
	var said strings.Builder
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if port, ok := strings.CutPrefix(lines.Text(), "ready on port "); ok {
			return port, lifeline, nil
		}
		said.WriteString(lines.Text() + "\n")
	}
	return "", nil, fmt.Errorf("PostgreSQL does not start: %w\n%s", shell.Wait(), said.String())
}
