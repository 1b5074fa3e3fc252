package main_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"deputy/internal/deputytest"
)

const (
	signedInAt  = "http://deputy.example.com" // where browsers are told to go
	goesBackTo  = "http://127.0.0.1:9/callback"
	itsVerifier = "a-verifier-that-is-long-enough-to-be-accepted-0123456789"
)

var (
	hiddenInput = regexp.MustCompile(`type="hidden" name="([^"]*)" value="([^"]*)"`)
	typedCode   = regexp.MustCompile(`(?m)^(\d{8})\r?$`)
)

// visitor is a person's browser, which takes every address of the server to be
// at one node.
type visitor struct {
	*testing.T
	node   *node
	http   *http.Client
	hidden [][]string // of the first form it shows, as hiddenInput finds them
}

func newVisitor(t *testing.T, n *node) *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{T: t, node: n, http: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}}
}

// visit asks for an address, or sends a form there, and follows while the answer
// leads to another page; it returns where the browser is sent away, or "".
func (v *visitor) visit(address string, f url.Values) (away string) {
	v.Helper()
	for {
		path := strings.TrimPrefix(strings.TrimPrefix(address, signedInAt), v.node.base)
		if strings.Contains(path, "://") {
			return path
		}
		var r *http.Response
		var err error
		if f == nil {
			r, err = v.http.Get(v.node.base + path)
		} else {
			for _, input := range v.hidden {
				f.Set(input[1], input[2])
			}
			r, err = v.http.PostForm(v.node.base+path, f)
		}
		if err != nil {
			v.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil {
			v.Fatal(err)
		}
		if to := r.Header.Get("Location"); to != "" {
			address, f = to, nil
			continue
		}
		if r.StatusCode != http.StatusOK {
			v.Fatalf("%s: %d %s", path, r.StatusCode, body)
		}
		form, _, _ := strings.Cut(string(body), "</form>")
		v.hidden = hiddenInput.FindAllStringSubmatch(form, -1)
		return ""
	}
}

// mailed returns the code of the only mail that the nodes have sent.
func mailed(t *testing.T, folders ...string) string {
	t.Helper()
	var code string
	eventually(t, func() bool {
		for _, folder := range folders {
			files, _ := filepath.Glob(filepath.Join(folder, "outbox", "*.eml"))
			for _, file := range files {
				text, err := os.ReadFile(file)
				if found := typedCode.FindSubmatch(text); err == nil && found != nil {
					code = string(found[1])
				}
			}
		}
		return code != ""
	}, func() string { return "no mail has come" })
	return code
}

// TestOneSuccessorWhoeverRefreshes: many processes of one client present the
// same refresh token at the same time, to two nodes of which one is killed
// meanwhile. Each gets the same successor, and the session lives.
func TestOneSuccessorWhoeverRefreshes(t *testing.T) {
	database, key, folder := deputytest.Postgres(t), sharedKey(t), t.TempDir()
	folders := []string{filepath.Join(folder, "one"), filepath.Join(folder, "two")}
	start := func(folder string) *node {
		return startNode(t, folder, "--database-url", database, "--root-key-file", key, "--public-url", signedInAt)
	}
	nodes := []*node{start(folders[0]), start(folders[1])}
	m := nodes[0].login(t, readAccount(t, folders[0]))
	zone := m.newZone(t, "People")
	m.call(t, 200, "PATCH", "/zones/"+zone, map[string]any{"requires_invitation": false})
	app := m.call(t, 200, "POST", "/zones/"+zone+"/applications", map[string]any{
		"name": "Agent", "identifier": "agent", "consent": "implicit",
		"protocols": map[string]any{"oauth2": map[string]any{"redirect_uris": []string{"http://127.0.0.1/callback"}}},
	})
	m.call(t, 200, "POST", "/zones/"+zone+"/application-credentials", map[string]any{
		"application_id": app["id"], "type": "public", "identifier": "agent-cli",
	})

	sum := sha256.Sum256([]byte(itsVerifier))
	issuer := "/z/" + zone
	v := newVisitor(t, nodes[0])
	v.visit(issuer+"/oauth/2/authorize?"+url.Values{
		"response_type": {"code"}, "client_id": {"agent-cli"}, "redirect_uri": {goesBackTo}, "state": {"s"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}.Encode(), nil)
	v.visit(issuer+"/login", url.Values{"identifier": {"ada@example.com"}})
	v.visit(issuer+"/login/signup", url.Values{"username": {"ada@example.com"}, "password": {"the analytical engine weaves"}})
	back, err := url.Parse(v.visit(issuer+"/login/verify-email", url.Values{"code": {mailed(t, folders...)}}))
	if err != nil || back.Query().Get("code") == "" {
		t.Fatalf("the browser is sent to %v, %v", back, err)
	}
	token := func(n *node, f url.Values) (status int, body map[string]any, err error) {
		f.Set("client_id", "agent-cli")
		r, err := web.PostForm(n.base+issuer+"/oauth/2/token", f)
		if err != nil {
			return 0, nil, err
		}
		defer r.Body.Close()
		err = json.NewDecoder(r.Body).Decode(&body)
		return r.StatusCode, body, err
	}
	status, body, err := token(nodes[1], url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {goesBackTo}, "code_verifier": {itsVerifier},
	})
	if err != nil || status != 200 {
		t.Fatal(status, body, err)
	}

	const processes = 64
	current := body["refresh_token"].(string)
	for round := range deputytest.Times(3, 10, 1000) {
		got := make([]string, processes)
		var all sync.WaitGroup
		for i := range got {
			n := nodes[i%2]
			all.Go(func() {
				for {
					status, body, err := token(n, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {current}})
					if err != nil && n != nodes[0] {
						n = nodes[0] // the other was killed: who has no answer asks again
						continue
					}
					if got[i], _ = body["refresh_token"].(string); err != nil || status != 200 {
						t.Errorf("round %d, process %d: %d %v %v", round, i, status, body, err)
					}
					return
				}
			})
		}
		kill := round%3 == 1
		if kill {
			nodes[1].kill()
		}
		all.Wait()
		for i, next := range got {
			if next == "" || next == current || next != got[0] {
				t.Fatalf("round %d: process %d has another successor, or none", round, i)
			}
		}
		current = got[0]
		if kill {
			nodes[1] = start(folders[1])
		}
	}
	// Nothing of it has cost the session.
	sessions := m.call(t, 200, "GET", "/zones/"+zone+"/sessions?filter[status]=active", nil)
	if n := len(sessions["items"].([]any)); n == 0 {
		t.Error("the session is over")
	}
}
