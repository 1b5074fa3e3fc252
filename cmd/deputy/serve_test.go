package main_test

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"deputy/internal/deputytest"

	"github.com/jackc/pgx/v5"
)

func TestFirstStartAndRestart(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "data")
	n := startNode(t, folder)
	first := readAccount(t, folder)
	if first.BaseURL != n.base || first.OrganizationSlug != "default" || len(first.ClientSecret) < 43 {
		t.Errorf("bootstrap.json: %+v, listening on %s", first, n.base)
	}
	for _, name := range []string{"bootstrap.json", "root.key", "deputy.db"} {
		if info, err := os.Stat(filepath.Join(folder, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("data folder: %v, %v", info, err)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, body := get(t, n.base+path); status != 200 || body["status"] != "ok" {
			t.Errorf("%s: %d %v", path, status, body)
		}
	}
	m := n.login(t, first)
	zone := m.newZone(t, "Kept")
	if err := n.stop(t); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, n.stderr)
	}

	again := startNode(t, folder)
	second := readAccount(t, folder)
	if second.BaseURL != again.base || second.ClientSecret != first.ClientSecret {
		t.Errorf("bootstrap.json after a restart: %+v", second)
	}
	if got := again.login(t, second).call(t, 200, "GET", "/zones/"+zone, nil)["name"]; got != "Kept" {
		t.Errorf("the zone is called %v", got)
	}
}

// get returns the status and the JSON body of a plain request.
func get(t *testing.T, address string) (status int, body map[string]any) {
	t.Helper()
	answer, err := web.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		t.Fatalf("%s: %v", address, err)
	}
	return answer.StatusCode, body
}

func TestAFixedFirstAccount(t *testing.T) {
	t.Parallel()
	folder, secret := t.TempDir(), strings.Repeat("s", 40)
	n, err := launch([]string{"DEPUTY_BOOTSTRAP_CLIENT_ID=infrastructure", "DEPUTY_BOOTSTRAP_CLIENT_SECRET=" + secret}, folder)
	if err != nil {
		t.Fatal(err)
	}
	defer n.kill()
	n.login(t, account{ClientID: "infrastructure", ClientSecret: secret}).call(t, 200, "GET", "/organizations", nil)
	if a := readAccount(t, folder); a.ClientID != "infrastructure" || a.ClientSecret != secret {
		t.Errorf("bootstrap.json: %+v", a)
	}
}

func TestHalfSetSettingsRefuseToStart(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	lost, open := filepath.Join(folder, "lost"), filepath.Join(folder, "open.key")
	if err := os.MkdirAll(lost, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(lost, "deputy.db"), "", 0o600)
	write(t, open, aRootKey, 0o644)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]struct {
		env, args []string
		status    int
		says      string
	}{
		"wildcard without a public URL":    {args: []string{"--listen", "0.0.0.0:0"}, status: 1, says: "--public-url"},
		"IPv6 wildcard":                    {args: []string{"--listen", "[::]:0"}, status: 1, says: "--public-url"},
		"no host":                          {args: []string{"--listen", ":18080"}, status: 1, says: "--public-url"},
		"no port":                          {args: []string{"--listen", "localhost"}, status: 1, says: "HOST:PORT"},
		"a taken port":                     {args: []string{"--listen", taken.Addr().String()}, status: 1, says: "in use"},
		"PostgreSQL without a root key":    {args: []string{"--database-url", "postgres://localhost/x"}, status: 1, says: "--root-key-file"},
		"PostgreSQL out of reach":          {args: []string{"--database-url", "postgres://u:hidden@127.0.0.1:1/x", "--root-key-file", sharedKey(t)}, status: 1, says: "connection refused"},
		"a root key that is not there":     {args: []string{"--root-key-file", filepath.Join(folder, "absent")}, status: 1, says: "openssl rand -hex 32"},
		"a root key that others may read":  {args: []string{"--root-key-file", open}, status: 1, says: "chmod 600"},
		"a database without its root key":  {args: []string{"--data-dir", lost}, status: 1, says: "root.key"},
		"public URL with a trailing slash": {args: []string{"--public-url", "https://id.example.com/"}, status: 1, says: "trailing slash"},
		"half a bootstrap pair":            {env: []string{"DEPUTY_BOOTSTRAP_CLIENT_ID=x"}, status: 1, says: "DEPUTY_BOOTSTRAP_CLIENT_SECRET"},
		"a short bootstrap secret":         {env: []string{"DEPUTY_BOOTSTRAP_CLIENT_ID=x", "DEPUTY_BOOTSTRAP_CLIENT_SECRET=short"}, status: 1, says: "32 characters"},
		"an odd outgoing allowance":        {args: []string{"--outgoing-allow", "everything"}, status: 1, says: "--outgoing-allow"},
		"an odd proxy list":                {args: []string{"--trusted-proxies", "proxy"}, status: 1, says: "--trusted-proxies"},
		"an odd log level":                 {args: []string{"--log-level", "loud"}, status: 1, says: "--log-level"},
		"an odd log format":                {args: []string{"--log-format", "xml"}, status: 1, says: "--log-format"},
		"an odd migration mode":            {args: []string{"--migrate", "maybe"}, status: 1, says: "--migrate"},
		"no migrations and no database":    {args: []string{"--migrate", "off"}, status: 1, says: "run deputy migrate"},
		"an odd switch":                    {env: []string{"DEPUTY_DEV=perhaps"}, status: 2, says: "DEPUTY_DEV"},
		"an unknown flag":                  {args: []string{"--colour"}, status: 2, says: "--help"},
		"an argument too many":             {args: []string{"now"}, status: 2, says: "--help"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"serve", "--listen", "127.0.0.1:0", "--data-dir", filepath.Join(folder, "data")}, c.args...)
			status, stdout, stderr := command(t, c.env, args...)
			if status != c.status || !strings.Contains(stderr, c.says) || stdout != "" {
				t.Errorf("exit %d, stdout %q, stderr %q", status, stdout, stderr)
			}
			if !strings.HasPrefix(stderr, "deputy: ") || strings.Count(stderr, "\n") != 1 || strings.Contains(stderr, "hidden") {
				t.Errorf("not one sentence fit for a log: %q", stderr)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(folder, "data", "deputy.db")); err == nil {
		t.Error("a refused start made a database")
	}
}

const aRootKey = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"

// sharedKey writes a root key for several nodes.
func sharedKey(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shared.key")
	write(t, path, aRootKey, 0o600)
	return path
}

func write(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func TestAWildcardAddressWithAPublicURL(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	n := startNode(t, folder, "--listen", "0.0.0.0:0", "--public-url", "https://id.example.com/deputy")
	_, port, err := net.SplitHostPort(strings.TrimPrefix(n.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	n.base = "http://127.0.0.1:" + port
	if status, _ := get(t, n.base+"/readyz"); status != 200 {
		t.Errorf("/readyz: %d", status)
	}
	if a := readAccount(t, folder); a.BaseURL != "https://id.example.com/deputy" {
		t.Errorf("bootstrap.json: %+v", a)
	}
	zone := n.login(t, readAccount(t, folder)).newZone(t, "Public")
	_, metadata := get(t, n.base+"/z/"+zone+"/.well-known/oauth-authorization-server")
	if want := "https://id.example.com/deputy/z/" + zone; metadata["issuer"] != want {
		t.Errorf("issuer %v, want %s", metadata["issuer"], want)
	}
}

func TestMigrationsOff(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if status, _, stderr := command(t, nil, "migrate", "--data-dir", folder); status != 0 {
		t.Fatalf("migrate: exit %d %s", status, stderr)
	}
	n := startNode(t, folder, "--migrate", "off")
	n.login(t, readAccount(t, folder)).call(t, 200, "GET", "/organizations", nil)

	database := deputytest.Postgres(t)
	status, _, stderr := command(t, nil, "serve", "--listen", "127.0.0.1:0", "--data-dir", t.TempDir(),
		"--database-url", database, "--root-key-file", sharedKey(t), "--migrate", "off")
	if status != 1 || !strings.Contains(stderr, "run deputy migrate") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("an empty PostgreSQL database: exit %d %q", status, stderr)
	}
}

// A start that was killed at any moment can be made again, and its account is
// never lost.
func TestAFirstStartKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for round := range deputytest.Times(3, 8, 200) {
		folder := t.TempDir()
		first := exec.Command(path, "serve", "--listen", "127.0.0.1:0", "--data-dir", folder)
		first.Env, first.SysProcAttr = environment(), dieWithUs
		if err := first.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(round%40) * 3 * time.Millisecond)
		first.Process.Kill()
		first.Wait()
		n := startNode(t, folder)
		n.login(t, readAccount(t, folder)).call(t, 200, "GET", "/organizations", nil)
		n.kill()
	}
}

// A stopped server's database, copied, is a backup; with the root key, that is.
func TestACopyOfAStoppedServer(t *testing.T) {
	t.Parallel()
	folder, copied := t.TempDir(), t.TempDir()
	n := startNode(t, folder)
	a := readAccount(t, folder)
	zone := n.login(t, a).newZone(t, "Copied")
	if err := n.stop(t); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "deputy.db*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("a stopped server leaves %v, %v", files, err)
	}
	transfer := func(name string) {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(copied, name), string(text), 0o600)
	}
	transfer("deputy.db")
	if status, _, stderr := command(t, nil, "serve", "--listen", "127.0.0.1:0", "--data-dir", copied); status != 1 || !strings.Contains(stderr, "put the file back") {
		t.Errorf("without its root key: exit %d %s", status, stderr)
	}
	transfer("root.key")
	n = startNode(t, copied)
	m := n.login(t, a)
	m.call(t, 200, "GET", "/zones/"+zone, nil)
	if status, body, err := m.newAgent(t, zone, "later").token(n); err != nil || status != 200 {
		t.Errorf("a token from the copy: %d %v %v", status, body, err)
	}
}

// slowRequest starts a token request of an unknown client at n and returns what
// finishes it. When slowRequest returns, the server has begun to read the body.
func slowRequest(t *testing.T, n *node) (finish func() (*http.Response, error)) {
	t.Helper()
	body, feed := io.Pipe()
	reading := make(chan struct{})
	r, err := http.NewRequest("POST", n.base+"/service-account-token", readNotice{body, reading})
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Expect", "100-continue")
	r.ContentLength = int64(len(slowForm))
	transport := &http.Transport{ExpectContinueTimeout: time.Minute}
	t.Cleanup(transport.CloseIdleConnections)
	type result struct {
		answer *http.Response
		err    error
	}
	done := make(chan result, 1)
	go func() {
		answer, err := transport.RoundTrip(r)
		done <- result{answer, err}
	}()
	select {
	case <-reading: // the server has said 100, which it does when it reads
	case got := <-done:
		t.Fatalf("the request ended early: %v %v", got.answer, got.err)
	}
	t.Cleanup(func() { feed.Close() })
	return func() (*http.Response, error) {
		io.WriteString(feed, slowForm)
		feed.Close()
		got := <-done
		return got.answer, got.err
	}
}

const slowForm = "grant_type=client_credentials&client_id=nobody&client_secret=nothing"

// readNotice closes begun at the first read.
type readNotice struct {
	io.Reader
	begun chan struct{}
}

func (r readNotice) Read(p []byte) (int, error) {
	select {
	case <-r.begun:
	default:
		close(r.begun)
	}
	return r.Reader.Read(p)
}

func TestAStoppingServerFinishesWhatRuns(t *testing.T) {
	t.Parallel()
	n := startNode(t, t.TempDir())
	finish := slowRequest(t, n)
	n.process.Process.Signal(syscall.SIGTERM)
	n.stderr.until(t, "stopping")
	address := strings.TrimPrefix(n.base, "http://")
	eventually(t, func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err != nil
	}, func() string { return "the stopping server still accepts connections" })
	answer, err := finish()
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != 401 || !strings.Contains(string(body), "invalid_client") {
		t.Errorf("%d %s %v", answer.StatusCode, body, err)
	}
	<-n.ended
	if n.err != nil {
		t.Errorf("the server ended with %v\n%s", n.err, n.stderr)
	}
}

func TestAStoppingServerWaitsNoLongerThanItsGrace(t *testing.T) {
	t.Parallel()
	n := startNode(t, t.TempDir())
	slowRequest(t, n) // never finished
	if err := n.stop(t); err != nil {
		t.Errorf("the server ended with %v\n%s", err, n.stderr)
	}
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	n := startNode(t, t.TempDir())
	slowRequest(t, n) // never finished
	n.process.Process.Signal(syscall.SIGTERM)
	n.stderr.until(t, "stopping")
	eventually(t, func() bool {
		n.process.Process.Signal(syscall.SIGTERM)
		select {
		case <-n.ended:
			return true
		default:
			return false
		}
	}, n.stderr.String)
	var exit *exec.ExitError
	if !errors.As(n.err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("the server ended with %v, not by the signal\n%s", n.err, n.stderr)
	}
}

func TestAnotherOrganizationBesideARunningServer(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	n := startNode(t, folder)
	status, stdout, stderr := command(t, nil, "organization", "create", "Acme & Sons", "--data-dir", folder)
	var made account
	if err := json.Unmarshal([]byte(stdout), &made); status != 0 || err != nil {
		t.Fatalf("exit %d, %v: %s%s", status, err, stdout, stderr)
	}
	if made.OrganizationSlug != "acme-sons" || made.BaseURL != n.base {
		t.Errorf("made %+v", made)
	}
	acme, first := n.login(t, made), n.login(t, readAccount(t, folder))
	zone := acme.newZone(t, "Theirs")
	first.call(t, 404, "GET", "/zones/"+zone, nil)
	list := acme.call(t, 200, "GET", "/organizations", nil)["items"].([]any)
	if len(list) != 1 || list[0].(map[string]any)["id"] != made.OrganizationID {
		t.Errorf("a service account sees %v", list)
	}
}

// An organization may be made before the first start, which then misses
// nothing that it would have made itself.
func TestAnOrganizationBeforeTheFirstStart(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	status, stdout, stderr := command(t, nil, "organization", "create", "Early", "--data-dir", folder)
	var made account
	if err := json.Unmarshal([]byte(stdout), &made); status != 0 || err != nil {
		t.Fatalf("exit %d, %v: %s%s", status, err, stdout, stderr)
	}
	n := startNode(t, folder)
	n.login(t, made).newZone(t, "Theirs")
	first := readAccount(t, folder)
	if first.BaseURL != n.base || first.OrganizationSlug != "default" {
		t.Errorf("bootstrap.json: %+v", first)
	}
	n.login(t, first).newZone(t, "Ours")
}

// Nodes with different root keys would corrupt each other's data.
func TestAnotherRootKeyOnTheSameDatabaseRefusesToStart(t *testing.T) {
	t.Parallel()
	database := deputytest.Postgres(t)
	n := startNode(t, t.TempDir(), "--database-url", database, "--root-key-file", sharedKey(t))
	other := filepath.Join(t.TempDir(), "other.key")
	write(t, other, strings.Repeat("f", 64)+"\n", 0o600)
	status, _, stderr := command(t, nil, "serve", "--listen", "127.0.0.1:0", "--data-dir", t.TempDir(), "--database-url", database, "--root-key-file", other)
	if status != 1 || !strings.Contains(stderr, "another root key") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit %d %q", status, stderr)
	}
	if status, _ := get(t, n.base+"/readyz"); status != 200 {
		t.Errorf("the first node's /readyz: %d", status)
	}
}

// A database that cannot be reached makes a node unready, for no longer than
// that.
func TestReadinessFollowsTheDatabase(t *testing.T) {
	t.Parallel()
	database := deputytest.Postgres(t)
	folder := t.TempDir()
	n := startNode(t, folder, "--database-url", database, "--root-key-file", sharedKey(t))
	config, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	name := config.Database
	config.Database = "postgres"
	superuser, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer superuser.Close(t.Context())
	execute := func(statement string) {
		t.Helper()
		if _, err := superuser.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}

	execute("ALTER DATABASE " + name + " ALLOW_CONNECTIONS false")
	execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '" + name + "'")
	status, body := get(t, n.base+"/readyz")
	reason, _ := body["reason"].(string)
	if status != 503 || !strings.Contains(reason, "database") || strings.Contains(reason, name) {
		t.Errorf("without its database: %d %v", status, body)
	}
	if status, _ := get(t, n.base+"/healthz"); status != 200 {
		t.Errorf("/healthz without the database: %d", status)
	}
	a := readAccount(t, folder)
	if status, body, err := tryForm(n.base+"/service-account-token", a.ClientID, a.ClientSecret, grantForm); err != nil || status != 503 {
		t.Errorf("a token without the database: %d %v %v", status, body, err)
	}

	execute("ALTER DATABASE " + name + " ALLOW_CONNECTIONS true")
	eventually(t, func() bool { status, _ := get(t, n.base+"/readyz"); return status == 200 },
		func() string { return "the node does not come back\n" + n.stderr.String() })
	defer func() {
		if t.Failed() {
			n.kill()
			t.Log(n.stderr)
		}
	}()
	n.login(t, a).newZone(t, "Back")
}
