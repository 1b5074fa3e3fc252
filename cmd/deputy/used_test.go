package main_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"deputy/internal/demo"
)

// TestWhatWasOpenedIsRevoked is the drill for a stolen process: of two people's
// grants and two secrets, those that were opened within the time are listed, and
// the grant is revoked, here and at its provider.
func TestWhatWasOpenedIsRevoked(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	n := startNode(t, folder, "--dev")
	m := (&manager{base: n.base}).login(t, readAccount(t, folder))
	var host *demo.CodeHost
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { host.ServeHTTP(w, r) }))
	t.Cleanup(outside.Close)
	host = demo.NewCodeHost(outside.URL)

	zone := m.newZone(t, "Drill")
	base := "/zones/" + zone
	id := func(path string, in map[string]any) string {
		made, err := m.try(200, "POST", base+path, in)
		if err != nil {
			if made, err = m.try(201, "POST", base+path, in); err != nil {
				t.Fatal(err)
			}
		}
		return made["id"].(string)
	}
	m.call(t, 200, "PATCH", base, map[string]any{"requires_invitation": false})
	providerOf := func(kind string) any {
		return m.call(t, 200, "GET", base+"/providers?type="+kind, nil)["items"].([]any)[0].(map[string]any)["id"]
	}
	a := m.newAgent(t, zone, "assistant")
	m.call(t, 200, "PATCH", base+"/applications/"+a.app, map[string]any{
		"consent": "implicit", "protocols": map[string]any{"oauth2": map[string]any{"redirect_uris": []string{"http://127.0.0.1/back"}}},
	})
	m.call(t, 200, "PATCH", base+"/resources/"+a.resource, map[string]any{"application_id": a.app})
	code := id("/resources", map[string]any{
		"name": "Code", "identifier": outside.URL + "/api", "scopes": []string{"repo"}, "credential_provider_id": id("/providers", map[string]any{
			"name": "Host", "identifier": outside.URL, "client_id": host.ClientID, "client_secret": host.ClientSecret,
		}),
	})
	m.call(t, 204, "PUT", base+"/applications/"+a.app+"/dependencies/"+code, nil)
	secrets := make([]string, 2)
	for i := range secrets {
		identifier := fmt.Sprintf("urn:vaulted:%d", i)
		r := id("/resources", map[string]any{"name": identifier, "identifier": identifier, "credential_provider_id": providerOf("keycard-vault")})
		secrets[i] = id("/secrets", map[string]any{"name": "key", "entity_id": r, "data": map[string]any{"type": "token", "token": "a secret"}})
		m.call(t, 204, "PUT", base+"/applications/"+a.app+"/dependencies/"+r, nil)
	}
	ada, bob := signUp(t, n, a, folder, "ada@example.com"), signUp(t, n, a, folder, "bob@example.com")
	exchange := func(subject string, want int) string {
		status, body := form(t, n.base+"/z/"+zone+"/oauth/2/token", a.id, a.secret, url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {subject},
			"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"}, "resource": {outside.URL + "/api"},
		})
		if status != want {
			t.Fatalf("got %d %v, want %d", status, body, want)
		}
		token, _ := body["access_token"].(string)
		return token
	}
	time.Sleep(time.Millisecond) // the window is open from here on
	since := time.Now().UTC().Format(time.RFC3339Nano)
	time.Sleep(2 * time.Millisecond)
	stolen := exchange(ada, 200)
	if status, body, err := a.tokenFor(n, "urn:vaulted:0"); err != nil || status != 200 {
		t.Fatal(status, body, err)
	}
	env := []string{"DEPUTY_DATA_DIR=" + folder}
	until := time.Now().Add(time.Millisecond).UTC().Format(time.RFC3339Nano)
	time.Sleep(5 * time.Millisecond)
	kept := exchange(bob, 200) // after it

	status, out, complaint := command(t, env, "used", "--zone", zone, "--since", since, "--until", until)
	if lines := strings.Split(strings.TrimSpace(out), "\n"); status != 0 || len(lines) != 3 || !strings.HasPrefix(lines[1], "delegated_grant") ||
		!strings.Contains(lines[1], outside.URL+"/api") || !strings.Contains(lines[2], secrets[0]) || strings.Contains(out, secrets[1]) {
		t.Fatalf("%d %s\n%s", status, out, complaint)
	}
	if status, out, complaint = command(t, env, "used", "--zone", zone, "--since", since, "--until", until, "--revoke"); status != 0 ||
		!strings.HasSuffix(out, "\nrevoked 1 grants; 1 secrets have to be replaced\n") {
		t.Fatalf("%d %s\n%s", status, out, complaint)
	}
	exchange(ada, 400)
	eventually(t, func() bool { return answers(t, outside.URL, stolen) == http.StatusUnauthorized }, func() string { return "the stolen token still works at the provider" })
	if exchange(bob, 200) != kept || answers(t, outside.URL, kept) != http.StatusOK {
		t.Error("who was not concerned has lost their grant")
	}
	for _, wrong := range [][]string{{"used"}, {"used", "--zone", zone, "--since", "yesterday"}, {"used", "--zone", zone, "more"}} {
		if status, _, _ := command(t, env, wrong...); status != 2 {
			t.Errorf("%v: status %d", wrong, status)
		}
	}
}

// answers returns what the API of the code host answers to a token.
func answers(t *testing.T, at, token string) int {
	t.Helper()
	r, err := http.NewRequest("GET", at+"/api/repositories", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

// signUp lets somebody sign up and in to the agent, and returns their token.
func signUp(t *testing.T, n *node, a *agent, folder, email string) (token string) {
	t.Helper()
	token, _, _ = signUpWhole(t, n, a, folder, email)
	return token
}

// signUpWhole is signUp that returns all the secrets that come of it.
func signUpWhole(t *testing.T, n *node, a *agent, folder, email string) (token, refresh, password string) {
	t.Helper()
	p, err := demo.NewPerson(email, rand.Text(), http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	p.Code = func(context.Context) (code string, err error) {
		line := regexp.MustCompile(`(?m)^([0-9]{8})\r?$`)
		eventually(t, func() bool {
			files, _ := filepath.Glob(filepath.Join(folder, "outbox", "*.eml"))
			for _, name := range files {
				mail, _ := os.ReadFile(name)
				if m := line.FindSubmatch(mail); m != nil && strings.Contains(string(mail), email) {
					code = string(m[1])
				}
			}
			return code != ""
		}, func() string { return "no code was mailed" })
		return code, nil
	}
	verifier := rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	back, page, err := p.Visit(t.Context(), n.base+"/z/"+a.zone+"/oauth/2/authorize?"+url.Values{
		"response_type": {"code"}, "client_id": {a.id}, "redirect_uri": {"http://127.0.0.1/back"}, "resource": {a.target},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}.Encode(), "http://127.0.0.1/back")
	if err != nil || back == nil {
		t.Fatal(err, page)
	}
	status, body := form(t, n.base+"/z/"+a.zone+"/oauth/2/token", a.id, a.secret, url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {"http://127.0.0.1/back"}, "code_verifier": {verifier},
	})
	if status != 200 {
		t.Fatal(status, body)
	}
	return body["access_token"].(string), body["refresh_token"].(string), p.Password
}
