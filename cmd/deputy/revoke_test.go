package main_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"deputy/internal/deputytest"
)

// holder is an application that people sign in to, and a person who has.
type holder struct {
	*agent
	admin *manager
	nodes []*node
	v     *visitor
}

func newHolder(t *testing.T, admin *manager, nodes []*node, zone string, folders ...string) *holder {
	h := &holder{agent: admin.newAgent(t, zone, "holder"), admin: admin, nodes: nodes, v: newVisitor(t, nodes[0])}
	admin.call(t, 200, "PATCH", "/zones/"+zone, map[string]any{"requires_invitation": false})
	admin.call(t, 200, "PATCH", "/zones/"+zone+"/applications/"+h.app, map[string]any{
		"consent": "implicit", "protocols": map[string]any{"oauth2": map[string]any{"redirect_uris": []string{"http://127.0.0.1/callback"}}},
	})
	h.v.visit(h.authorize(""), nil)
	h.v.visit(h.issuer()+"/login", url.Values{"identifier": {"ada@example.com"}})
	h.v.visit(h.issuer()+"/login/signup", url.Values{"username": {"ada@example.com"}, "password": {"the analytical engine weaves"}})
	if away := h.v.visit(h.issuer()+"/login/verify-email", url.Values{"code": {mailed(t, folders...)}}); !strings.Contains(away, "code=") {
		t.Fatalf("the browser is sent to %s", away)
	}
	return h
}

func (h *holder) issuer() string { return "/z/" + h.zone }

func (h *holder) authorize(prompt string) string {
	sum := sha256.Sum256([]byte(itsVerifier))
	return h.issuer() + "/oauth/2/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {h.id}, "redirect_uri": {goesBackTo}, "state": {"s"}, "prompt": {prompt},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}, "resource": {h.target},
	}.Encode()
}

// post sends a form to any node, and to another when it is told to try again.
func (h *holder) post(path string, f url.Values) (status int, body map[string]any, err error) {
	for range 5 {
		n := h.nodes[rand.N(len(h.nodes))]
		status, body, err = tryForm(n.base+h.issuer()+path, h.id, h.secret, f)
		if errors.Is(err, io.EOF) { // an answer without a body
			status, err = 200, nil
		}
		if err != nil || status != 503 {
			break
		}
	}
	return status, body, err
}

// signIn gets the person's tokens of a new session. Whoever is asked, agrees:
// what was revoked is not given again in silence.
func (h *holder) signIn() (access, refresh string, err error) {
	sent := h.v.visit(h.authorize(""), nil)
	if sent == "" {
		sent = h.v.visit(h.issuer()+"/login/consent", url.Values{"action": {"approve"}})
	}
	away, err := url.Parse(sent)
	if err != nil {
		return "", "", err
	}
	status, body, err := h.post("/oauth/2/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {away.Query().Get("code")}, "redirect_uri": {goesBackTo}, "code_verifier": {itsVerifier},
	})
	if err != nil || status != 200 {
		return "", "", fmt.Errorf("after %s: %d %v, %w", away, status, body, err)
	}
	return body["access_token"].(string), body["refresh_token"].(string), nil
}

// refused wants the refresh refused.
func (h *holder) refused(refresh, code string) error {
	status, body, err := h.post("/oauth/2/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}})
	if err == nil && (status != 400 || body["error"] != code) {
		err = fmt.Errorf("refreshed: %d %v, want %s", status, body, code)
	}
	return err
}

// inactive wants a token to be good before it is revoked and not after.
func (h *holder) inactive(token string, revoke func() error) error {
	for _, want := range []bool{true, false} {
		status, body, err := h.post("/oauth/2/introspect", url.Values{"token": {token}})
		if err == nil && (status != 200 || body["active"] != want) {
			err = fmt.Errorf("introspected: %d %v, want active %v", status, body, want)
		}
		if err == nil && want {
			err = revoke()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// anywhere is the manager at one of the nodes.
func (h *holder) anywhere() *manager { return h.admin.at(h.nodes[rand.N(len(h.nodes))]) }

// endSession revokes a session of the person, and with it the tokens.
func (h *holder) endSession() error {
	access, refresh, err := h.signIn()
	if err != nil {
		return err
	}
	sid, err := claim(access, "sid")
	if err != nil {
		return err
	}
	if err := h.inactive(access, func() error {
		_, err := h.anywhere().try(200, "PATCH", "/zones/"+h.zone+"/sessions/"+sid, map[string]any{"status": "revoked"})
		return err
	}); err != nil {
		return err
	}
	return h.refused(refresh, "invalid_grant")
}

// endGrant revokes what the person lets others reach.
func (h *holder) endGrant() error {
	_, refresh, err := h.signIn()
	if err != nil {
		return err
	}
	at := h.anywhere()
	page, err := at.try(200, "GET", "/zones/"+h.zone+"/delegated-grants?active=true", nil)
	if err != nil {
		return err
	}
	items := page["items"].([]any)
	if len(items) != 1 {
		return fmt.Errorf("%d grants: %v", len(items), items)
	}
	if _, err := at.try(200, "PATCH", "/zones/"+h.zone+"/delegated-grants/"+items[0].(map[string]any)["id"].(string), map[string]any{"status": "revoked"}); err != nil {
		return err
	}
	return h.refused(refresh, "invalid_grant")
}

// endToken revokes a token of the application itself.
func (h *holder) endToken() error {
	status, body, err := h.post("/oauth/2/token", url.Values{"grant_type": {"client_credentials"}, "resource": {h.target}})
	if err != nil || status != 200 {
		return fmt.Errorf("%d %v, %w", status, body, err)
	}
	token := body["access_token"].(string)
	return h.inactive(token, func() error {
		status, body, err := h.post("/oauth/2/revoke", url.Values{"token": {token}})
		if err == nil && status != 200 {
			err = fmt.Errorf("revoked: %d %v", status, body)
		}
		return err
	})
}

// claim returns a claim of a token.
func claim(token, name string) (string, error) {
	var claims map[string]any
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", fmt.Errorf("not a JWT: %q", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(raw, &claims)
	}
	value, _ := claims[name].(string)
	return value, err
}

// What is revoked at one node is refused at the very next request, at any, while
// others keep asking: tokens, sessions, grants, credentials.
func TestARevocationIsInForceForTheNextRequestOnEveryNode(t *testing.T) {
	t.Parallel()
	database, key, folder := deputytest.Postgres(t), sharedKey(t), t.TempDir()
	folders := []string{filepath.Join(folder, "one"), filepath.Join(folder, "two")}
	var nodes []*node
	for _, f := range folders {
		nodes = append(nodes, startNode(t, f, "--database-url", database, "--root-key-file", key, "--public-url", signedInAt))
	}
	admin := nodes[0].login(t, readAccount(t, folders[0]))
	zone := admin.newZone(t, "Revoking")
	h := newHolder(t, admin, nodes, zone, folders...)
	steady := admin.newAgent(t, zone, "steady")
	renewed := newChanger(t, admin, nodes, zone, "renewed")

	stop := make(chan struct{})
	var load, revoking sync.WaitGroup
	var total, busy atomic.Int64
	for i := range 4 {
		load.Go(func() {
			for asked := i; ; asked++ {
				select {
				case <-stop:
					return
				default:
				}
				status, body, err := steady.token(nodes[asked%2])
				if total.Add(1); status == 503 {
					busy.Add(1)
				} else if err != nil || status != 200 {
					t.Errorf("load: %d %v %v", status, body, err)
					return
				}
			}
		})
	}
	rounds := deputytest.Times(10, 50, 2500)
	repeat := func(what string, revoke func() error) {
		for round := range rounds {
			if err := revoke(); err != nil {
				t.Errorf("round %d of a %s: %v", round, what, err)
				return
			}
		}
	}
	revoking.Go(func() { repeat("token", h.endToken) })
	revoking.Go(func() {
		repeat("credential", func() error { return renewed.changeCredential(renewed.admin.at(renewed.anywhere()), "/zones/"+zone) })
	})
	// The browser is the test's own.
	repeat("session", h.endSession)
	repeat("grant", h.endGrant)
	revoking.Wait()
	close(stop)
	load.Wait()
	t.Logf("%d revocations; of %d requests beside them, %d were told to try again", 4*rounds, total.Load(), busy.Load())
}
