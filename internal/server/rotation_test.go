package server_test

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"deputy/internal/api"
	"deputy/internal/client"
	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/keys"
	"deputy/internal/server"
)

// rotating is two nodes on one database, at a time that the test sets.
type rotating struct {
	*testing.T
	clock  *deputytest.Clock
	nodes  []*server.Server
	manage *client.Client
	zone   string
	agent  struct{ id, secret string }
	env    map[string]string
	log    records
}

func newRotating(t *testing.T) *rotating {
	return newNodes(t, 2, map[string]string{"DEPUTY_PUBLIC_URL": "https://id.example.com"})
}

// newNodes makes nodes on one database with a zone and an agent that may have
// tokens for an API in it.
func newNodes(t *testing.T, nodes int, env map[string]string) *rotating {
	t.Helper()
	w := &rotating{T: t, clock: deputytest.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))}
	env = maps.Clone(env)
	if env["DEPUTY_DATA_DIR"] == "" {
		env["DEPUTY_DATA_DIR"] = t.TempDir()
	}
	w.env = env
	var bootstrap string
	for range nodes {
		s, c := openAt(t, w.clock.Now, env, &w.log)
		serve(t, s)
		w.nodes, bootstrap = append(w.nodes, s), c.BootstrapFile()
	}
	account, err := client.ReadAccount(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	account.BaseURL = w.nodes[0].ListensOn()
	w.manage = account.Open()
	w.zone = w.make("/zones", map[string]any{"name": "Rotating", "protocols": map[string]any{"oauth2": map[string]any{"signing_alg": "ES256"}}}).ID
	base := "/zones/" + w.zone
	var providers struct {
		Items []struct {
			ID string `json:"id"`
		} `json:"items"`
	}
	if err := w.manage.Do(t.Context(), "GET", base+"/providers?type=keycard-sts", nil, &providers); err != nil {
		t.Fatal(err)
	}
	resource := w.make(base+"/resources", map[string]any{"name": "API", "identifier": "https://api.example.com", "credential_provider_id": providers.Items[0].ID})
	app := w.make(base+"/applications", map[string]any{"name": "Agent", "identifier": "agent", "dependencies": []any{map[string]any{"id": resource.ID}}})
	credential := w.make(base+"/application-credentials", map[string]any{"application_id": app.ID, "type": "password"})
	w.agent.id, w.agent.secret = credential.Identifier, credential.Password
	return w
}

// made is what the tests read of an entity.
type made struct {
	ID  string `json:"id"`
	Key *struct {
		ARN string `json:"arn"`
	} `json:"encryption_key"`
	Identifier string `json:"identifier"`
	Password   string `json:"password"`
}

func (w *rotating) make(path string, in any) (out made) {
	w.Helper()
	if err := w.manage.Do(w.Context(), "POST", path, in, &out); err != nil {
		w.Fatalf("POST %s: %v", path, err)
	}
	return out
}

// published returns the ids of the keys that a node publishes for an algorithm.
func (w *rotating) published(node *server.Server, algorithm string) (kids []string) {
	w.Helper()
	_, body := get(w.T, node.ListensOn()+"/z/"+w.zone+"/openidconnect/jwks")
	var set struct {
		Keys []struct{ Kid, Alg string } `json:"keys"`
	}
	if err := json.Unmarshal([]byte(body), &set); err != nil {
		w.Fatal(err)
	}
	for _, k := range set.Keys {
		if k.Alg == algorithm {
			kids = append(kids, k.Kid)
		}
	}
	return kids
}

// signer returns the id of the key that signs a token of the zone at a node, or
// a management token where there is no zone.
func (w *rotating) signer(node *server.Server, token string) string {
	w.Helper()
	if token == "" {
		r, err := http.NewRequest("POST", node.ListensOn()+"/z/"+w.zone+"/oauth/2/token", strings.NewReader(
			url.Values{"grant_type": {"client_credentials"}, "resource": {"https://api.example.com"}}.Encode()))
		if err != nil {
			w.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(w.agent.id, w.agent.secret)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			w.Fatal(err)
		}
		defer answer.Body.Close()
		var body struct {
			AccessToken string `json:"access_token"`
		}
		if err := json.NewDecoder(answer.Body).Decode(&body); err != nil || answer.StatusCode != 200 {
			w.Fatalf("token: %d %v", answer.StatusCode, err)
		}
		token = body.AccessToken
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
	var header struct{ Kid string }
	if err != nil || json.Unmarshal(raw, &header) != nil {
		w.Fatalf("not a JWT: %s", token)
	}
	return header.Kid
}

// until lets the time go by, in steps too small to matter, until ok.
func (w *rotating) until(what string, ok func() bool) {
	w.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("never: %s", what)
		}
		w.clock.Advance(100 * time.Millisecond)
	}
}

// rotations counts the events of the zone's rotation.
func (w *rotating) rotations() (n int) {
	w.Helper()
	var page struct {
		Items []struct {
			Type string `json:"type"`
		} `json:"items"`
	}
	if err := w.manage.Do(w.Context(), "GET", "/zones/"+w.zone+"/audit-events", nil, &page); err != nil {
		w.Fatal(err)
	}
	for _, e := range page.Items {
		if e.Type == "keys:rotate" {
			n++
		}
	}
	return n
}

func TestKeysTakeTheirTurns(t *testing.T) {
	t.Parallel()
	w := newRotating(t)
	one, two := w.nodes[0], w.nodes[1]
	old := w.published(one, "ES256")
	bearer, err := w.manage.Bearer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	platform := w.signer(one, bearer)
	if len(old) != 1 || len(w.published(one, "RS256")) != 1 || w.signer(one, "") != old[0] {
		t.Fatalf("the zone begins with %v", old)
	}

	first := w.attestation()
	if first.Status != "created" || first.KeyID != w.published(one, "RS256")[0] {
		t.Errorf("the managed set begins with %+v", first)
	}

	// Of age: a successor is published, and does not sign yet.
	w.clock.Advance(keys.DefaultMaxAge)
	for _, algorithm := range []string{"ES256", "RS256"} {
		for _, node := range w.nodes {
			w.until("a successor is published", func() bool { return len(w.published(node, algorithm)) == 2 })
		}
	}
	made := w.clock.Now()
	for _, node := range w.nodes {
		if got := w.signer(node, ""); got != old[0] {
			t.Errorf("%s signs before verifiers know it", got)
		}
	}
	if n := w.rotations(); n != 1 {
		t.Errorf("%d rotations in the log", n)
	}

	// Known long enough: it signs, and the old key stays published for what it
	// signed.
	bearer = w.bearer()
	w.until("the successor signs on one node", func() bool {
		w.clock.Advance(10 * time.Second)
		return w.signer(one, "") != old[0]
	})
	if w.clock.Now().Sub(made) < keys.PublishedAhead-time.Minute {
		t.Errorf("it signs after %v", w.clock.Now().Sub(made))
	}
	young := w.signer(one, "")
	w.until("it signs on the other node", func() bool { return w.signer(two, "") == young })
	for _, node := range w.nodes {
		kids := w.published(node, "ES256")
		slices.Sort(kids)
		want := []string{old[0], young}
		slices.Sort(want)
		if !slices.Equal(kids, want) {
			t.Errorf("published %v, want %v", kids, want)
		}
	}

	// What the old key attests is attested by the new one, and is otherwise the
	// same.
	w.until("the attestation is signed again", func() bool {
		w.clock.Advance(time.Second)
		return w.attestation().Status == "re_signed"
	})
	second := w.attestation()
	if second.KeyID == first.KeyID || !slices.Contains(w.published(two, "RS256"), second.KeyID) {
		t.Errorf("signed again with %s after %s", second.KeyID, first.KeyID)
	}
	first.Status, first.KeyID, first.AttestedBy, first.AttestedAt = second.Status, second.KeyID, "platform", second.AttestedAt
	if first != second {
		t.Errorf("the statement changed: %+v, %+v", first, second)
	}

	// So does the platform's, and what its old key signed is still good.
	w.until("the platform's successor signs", func() bool {
		w.clock.Advance(10 * time.Second)
		return w.signer(one, w.bearer()) != platform
	})
	for _, node := range w.nodes {
		r, err := http.NewRequest("GET", node.ListensOn()+"/zones/"+w.zone, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+bearer)
		if answer, err := http.DefaultClient.Do(r); err != nil || answer.StatusCode != 200 {
			t.Errorf("with a bearer of the key before: %v %v", answer, err)
		}
	}

	// The old keys go when nothing they signed can be in use.
	w.clock.Advance(keys.Retention + deputy.KeyCheck)
	for _, algorithm := range []string{"ES256", "RS256"} {
		for _, node := range w.nodes {
			w.until("the old key goes", func() bool { return len(w.published(node, algorithm)) == 1 })
		}
	}
	if kids := w.published(two, "ES256"); kids[0] != young {
		t.Errorf("%v stays, not %s", kids, young)
	}
	if n := w.rotations(); n != 3 {
		t.Errorf("%d rotations in the log: made, signing, gone", n)
	}
}

// attestation returns what is attested about the version that decides.
func (w *rotating) attestation() (out api.Attestation) {
	w.Helper()
	var sets struct {
		Items []api.PolicySet `json:"items"`
	}
	var v api.PolicySetVersion
	err := w.manage.Do(w.Context(), "GET", "/zones/"+w.zone+"/policy-sets?filter[active]=true", nil, &sets)
	if err == nil {
		err = w.manage.Do(w.Context(), "GET", "/zones/"+w.zone+"/policy-sets/"+sets.Items[0].ID+"/versions/"+*sets.Items[0].ActiveVersionID, nil, &v)
	}
	if err != nil {
		w.Fatal(err)
	}
	return *v.Attestation
}

// bearer returns a fresh management token.
func (w *rotating) bearer() string {
	w.Helper()
	account, err := client.ReadAccount(w.nodes[0].Config().BootstrapFile())
	if err != nil {
		w.Fatal(err)
	}
	account.BaseURL = w.nodes[0].ListensOn()
	bearer, err := account.Open().Bearer(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return bearer
}
