package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// built is the folder of the program, once binary has built it.
var built string

// binary builds the program once for all tests and returns its path.
var binary = sync.OnceValues(func() (string, error) {
	var err error
	if built, err = os.MkdirTemp("", "deputy-test-"); err != nil {
		return "", err
	}
	path := filepath.Join(built, "deputy")
	if out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(code)
}

// environment is this process's, without the settings of a server that the
// developer may run, and with what is given.
func environment(with ...string) (env []string) {
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "DEPUTY_") {
			env = append(env, pair)
		}
	}
	return append(env, with...)
}

// output collects what a process writes while others read it.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// until waits until the output holds text.
func (o *output) until(t *testing.T, text string) {
	t.Helper()
	eventually(t, func() bool { return strings.Contains(o.String(), text) }, func() string {
		return fmt.Sprintf("%q does not appear in:\n%s", text, o)
	})
}

// eventually waits until ok, for a time that no working machine needs.
func eventually(t *testing.T, ok func() bool, complain func() string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(complain())
		}
	}
}

// node is a running server, a process of its own.
type node struct {
	*manager
	process *exec.Cmd
	stderr  *output
	ended   chan struct{}
	err     error // how it ended, once ended is closed
}

// startNode runs `deputy serve` on a free port until the test ends.
func startNode(t *testing.T, folder string, args ...string) *node {
	t.Helper()
	n, err := launch(nil, folder, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.kill)
	return n
}

// launch runs `deputy serve` on a free port and waits until it answers.
func launch(env []string, folder string, args ...string) (*node, error) {
	return launchUnder(":", env, folder, args...)
}

// launchUnder is launch in a shell that has done something before, such as to
// limit what the program may have.
func launchUnder(shell string, env []string, folder string, args ...string) (*node, error) {
	path, err := binary()
	if err != nil {
		return nil, err
	}
	return launchProgram(path, shell, env, folder, args...)
}

// launchProgram is launchUnder with a program that is perhaps another one.
func launchProgram(path, shell string, env []string, folder string, args ...string) (*node, error) {
	n := &node{stderr: &output{}, ended: make(chan struct{})}
	n.process = exec.Command("/bin/sh", append([]string{"-c", shell + `; exec "$0" "$@"`, path, "serve", "--listen", "127.0.0.1:0", "--data-dir", folder}, args...)...)
	n.process.Env, n.process.Stderr, n.process.SysProcAttr = environment(env...), n.stderr, dieWithUs
	stdout, err := n.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := n.process.Start(); err != nil {
		return nil, err
	}
	line := make(chan string, 1)
	go func() {
		first, _ := bufio.NewReader(stdout).ReadString('\n')
		line <- strings.TrimSpace(first)
		io.Copy(io.Discard, stdout)
		n.err = n.process.Wait()
		close(n.ended)
	}()
	select {
	case first := <-line:
		base, ok := strings.CutPrefix(first, "listening on ")
		if !ok {
			n.kill()
			return nil, fmt.Errorf("the server said %q and ended: %w\n%s", first, n.err, n.stderr)
		}
		n.manager = &manager{base: base}
		return n, nil
	case <-time.After(30 * time.Second):
		n.kill()
		return nil, fmt.Errorf("the server did not start\n%s", n.stderr)
	}
}

// kill ends the node as a power failure would.
func (n *node) kill() {
	n.process.Process.Kill()
	<-n.ended
}

// stop asks the node to end and returns how it did.
func (n *node) stop(t testing.TB) error {
	t.Helper()
	n.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.ended:
		return n.err
	case <-time.After(20 * time.Second):
		t.Fatalf("the server did not stop\n%s", n.stderr)
		return nil
	}
}

// account is the content of bootstrap.json.
type account struct {
	BaseURL          string `json:"base_url"`
	OrganizationID   string `json:"organization_id"`
	OrganizationSlug string `json:"organization_slug"`
	ClientID         string `json:"client_id"`
	ClientSecret     string `json:"client_secret"`
}

func readAccount(t *testing.T, folder string) account {
	t.Helper()
	a, err := loadAccount(folder)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func loadAccount(folder string) (a account, err error) {
	raw, err := os.ReadFile(filepath.Join(folder, "bootstrap.json"))
	if err == nil {
		err = json.Unmarshal(raw, &a)
	}
	return a, err
}

// web keeps as many connections as the load has clients.
var web = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: time.Minute}

// manager makes management calls to one node.
type manager struct{ base, bearer string }

var grantForm = url.Values{"grant_type": {"client_credentials"}}

// login returns a manager of the same node with a fresh bearer token.
func (m *manager) login(t *testing.T, a account) *manager {
	t.Helper()
	status, body := form(t, m.base+"/service-account-token", a.ClientID, a.ClientSecret, grantForm)
	if status != 200 {
		t.Fatalf("management token: %d %v", status, body)
	}
	return &manager{m.base, body["access_token"].(string)}
}

// at returns the same caller at another node.
func (m *manager) at(n *node) *manager { return &manager{n.base, m.bearer} }

// call makes one management call; want is the status that it must have. Only
// the test's own goroutine may use it; others use try.
func (m *manager) call(t testing.TB, want int, method, path string, in any) map[string]any {
	t.Helper()
	out, err := m.try(want, method, path, in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (m *manager) try(want int, method, path string, in any) (map[string]any, error) {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(raw)
	}
	r, err := http.NewRequest(method, m.base+path, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+m.bearer)
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := web.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != want {
		return nil, fmt.Errorf("%s %s: %d, want %d: %s", method, path, answer.StatusCode, want, raw)
	}
	var out map[string]any
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// form posts a form with Basic credentials and returns the JSON answer.
func form(t testing.TB, address, id, secret string, values url.Values) (int, map[string]any) {
	t.Helper()
	status, body, err := tryForm(address, id, secret, values)
	if err != nil {
		t.Fatal(err)
	}
	return status, body
}

func tryForm(address, id, secret string, values url.Values) (int, map[string]any, error) {
	r, err := http.NewRequest("POST", address, strings.NewReader(values.Encode()))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(id, secret)
	answer, err := web.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	var body map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		return 0, nil, err
	}
	return answer.StatusCode, body, nil
}

// agent is an application that may reach one resource of a zone.
type agent struct {
	zone, app, credential, resource string
	id, secret, target              string
}

// newZone makes a zone whose tokens are signed with ES256.
func (m *manager) newZone(t testing.TB, name string) (id string) {
	t.Helper()
	zone := m.call(t, 200, "POST", "/zones", map[string]any{"name": name, "protocols": map[string]any{"oauth2": map[string]any{"signing_alg": "ES256"}}})
	return zone["id"].(string)
}

// newAgent makes an application with a secret and a resource it depends on.
func (m *manager) newAgent(t testing.TB, zone, name string) *agent {
	t.Helper()
	a := &agent{zone: zone, target: "https://" + name + ".example.com/api"}
	base := "/zones/" + zone
	providers := m.call(t, 200, "GET", base+"/providers?type=keycard-sts", nil)["items"].([]any)
	a.resource = m.call(t, 200, "POST", base+"/resources", map[string]any{
		"name": name + " API", "identifier": a.target, "scopes": []string{"read", "write"},
		"credential_provider_id": providers[0].(map[string]any)["id"],
	})["id"].(string)
	a.app = m.call(t, 200, "POST", base+"/applications", map[string]any{"name": name, "identifier": name})["id"].(string)
	m.call(t, 204, "PUT", base+"/applications/"+a.app+"/dependencies/"+a.resource, nil)
	if err := a.renew(m); err != nil {
		t.Fatal(err)
	}
	return a
}

// renew gives the agent a fresh password credential.
func (a *agent) renew(m *manager) error {
	made, err := m.try(200, "POST", "/zones/"+a.zone+"/application-credentials", map[string]any{"application_id": a.app, "type": "password"})
	if err == nil {
		a.credential, a.id, a.secret = made["id"].(string), made["identifier"].(string), made["password"].(string)
	}
	return err
}

// token asks a node for a token for the agent's resource.
func (a *agent) token(n *node) (status int, body map[string]any, err error) {
	return a.tokenFor(n, a.target)
}

// tokens gets so many tokens for the agent's resource, and returns their jti in
// order.
func (a *agent) tokens(t *testing.T, n *node, count int) (ids []string) {
	t.Helper()
	for range count {
		status, body, err := a.token(n)
		if err != nil || status != 200 {
			t.Fatalf("%d %v %v", status, body, err)
		}
		id, err := jti(body["access_token"].(string))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

// tokenFor asks a node for a token; the issuer's host is replaced by the node's.
func (a *agent) tokenFor(n *node, target string) (status int, body map[string]any, err error) {
	return tryForm(n.base+"/z/"+a.zone+"/oauth/2/token", a.id, a.secret,
		url.Values{"grant_type": {"client_credentials"}, "resource": {target}, "scope": {"read"}})
}

// jti returns the event id that a token names.
func jti(token string) (string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", fmt.Errorf("not a JWT: %q", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", err
	}
	var claims struct {
		JTI string `json:"jti"`
	}
	if err := json.Unmarshal(raw, &claims); err != nil || claims.JTI == "" {
		return "", fmt.Errorf("claims %s, %w", raw, err)
	}
	return claims.JTI, nil
}

// command runs the program to its end.
func command(t *testing.T, env []string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, path, args...)
	c.Env = environment(env...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err = c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), out.String(), errs.String()
}
