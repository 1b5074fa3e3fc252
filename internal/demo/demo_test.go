package demo_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"deputy/internal/demo"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// A world is an issuer with everything around it.
type world struct {
	*issuer
	agent    *demo.Agent
	api, mcp string // identifiers
}

func newWorld(t *testing.T, alg jose.SignatureAlgorithm) *world {
	t.Helper()
	is := newIssuer(t, alg)
	client := &http.Client{Timeout: 10 * time.Second}
	listen := func() *demo.Site {
		s, err := demo.Listen()
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
	api, server := listen(), listen()
	w := &world{issuer: is, api: api.URL + "/notes", mcp: server.URL + "/mcp"}
	notes, err := demo.NewNotes(demo.NotesConfig{Issuer: is.URL, Resource: w.api, HTTP: client, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	api.Serve(notes)
	tools, err := demo.NewNotesMCP(demo.MCPConfig{
		Issuer: is.URL, Resource: w.mcp, Scopes: []string{"mcp:tools"}, ClientID: "mcp", ClientSecret: "mcp-secret",
		API: w.api, HTTP: client, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Serve(tools)
	w.agent = &demo.Agent{MCP: w.mcp, ClientID: "agent", ClientSecret: "agent-secret", HTTP: client}
	return w
}

// token discovers and asks, as the agent does.
func (w *world) token(t *testing.T) string {
	t.Helper()
	d, err := w.agent.Discover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	grant, err := w.agent.Token(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return grant.Token
}

func TestAnAgentReadsANoteThroughTheMCPServer(t *testing.T) {
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.RS256} {
		t.Run(string(alg), func(t *testing.T) {
			w := newWorld(t, alg)
			d, err := w.agent.Discover(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want := &demo.Discovery{Resource: w.mcp, Issuer: w.URL, TokenURL: w.URL + "/oauth/2/token", Scopes: []string{"mcp:tools"}}
			if diff := cmp.Diff(want, d, cmpopts.IgnoreFields(demo.Discovery{}, "Challenge")); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(d.Challenge, `resource_metadata="`+strings.TrimSuffix(w.mcp, "/mcp")+`/.well-known/oauth-protected-resource/mcp"`) {
				t.Errorf("challenge %s", d.Challenge)
			}
			grant, err := w.agent.Token(t.Context(), d)
			if err != nil || grant.ExpiresIn != 3600 || !cmp.Equal(grant.Scopes, []string{"mcp:tools"}) {
				t.Fatalf("%+v, %v", grant, err)
			}
			got, err := w.agent.Call(t.Context(), grant.Token, demo.ReadNoteTool, map[string]string{"id": "2"})
			if err != nil {
				t.Fatal(err)
			}
			result := &demo.ToolResult{Answer: &demo.Answer{
				Note: demo.Note{ID: "2", Text: "The launch moved to Thursday."},
				Caller: demo.Caller{
					Subject: "agent", ClientID: "mcp", Scopes: []string{"notes:read"},
					Actors: []demo.Actor{{Subject: "mcp", ClientID: "mcp"}},
				},
			}}
			if diff := cmp.Diff(result, got, cmpopts.IgnoreFields(demo.Caller{}, "TokenID")); diff != "" {
				t.Error(diff)
			}
			got, err = w.agent.Call(t.Context(), grant.Token, demo.WriteNoteTool, map[string]string{"id": "3", "text": "New."})
			if err != nil || got.Answer == nil || got.Answer.Note.Text != "New." || !cmp.Equal(got.Answer.Caller.Scopes, []string{"notes:write"}) {
				t.Errorf("%+v, %v", got, err)
			}
			got, err = w.agent.Call(t.Context(), grant.Token, demo.ReadNoteTool, map[string]string{"id": "3"})
			if err != nil || got.Answer == nil || got.Answer.Note.Text != "New." {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func TestARefusedExchangeIsTheToolsResult(t *testing.T) {
	w := newWorld(t, jose.ES256)
	token := w.token(t)
	why := `Access to "notes" is denied by Policy "quiet hours" in version 2 of Policy Set "default".`
	w.refuse = func(r *http.Request) (string, string) {
		if strings.HasSuffix(r.PostForm.Get("grant_type"), "token-exchange") {
			return "access_denied", why
		}
		return "", ""
	}
	got, err := w.agent.Call(t.Context(), token, demo.ReadNoteTool, map[string]string{"id": "1"})
	if err != nil {
		t.Fatal(err)
	}
	want := &demo.ToolResult{Refusal: &demo.Refusal{From: w.URL + "/oauth/2/token", Status: 400, Code: "access_denied", Description: why}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestANarrowedTokenIsRefusedByTheAPI(t *testing.T) {
	w := newWorld(t, jose.ES256)
	token := w.token(t)
	w.narrow = func(string) string { return "notes:read" }
	got, err := w.agent.Call(t.Context(), token, demo.WriteNoteTool, map[string]string{"id": "1", "text": "x"})
	if err != nil {
		t.Fatal(err)
	}
	want := &demo.ToolResult{Refusal: &demo.Refusal{
		From: w.api + "/1", Status: 403, Code: "insufficient_scope", Description: "this needs the scope notes:write",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAMissingNoteIsTheToolsResult(t *testing.T) {
	w := newWorld(t, jose.ES256)
	got, err := w.agent.Call(t.Context(), w.token(t), demo.ReadNoteTool, map[string]string{"id": "../../etc"})
	if err != nil || got.Refusal == nil || got.Refusal.Status != 404 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := w.agent.Call(t.Context(), w.token(t), demo.ReadNoteTool, map[string]string{"name": "1"}); err == nil || !strings.Contains(err.Error(), "id") {
		t.Errorf("a call without its argument: %v", err)
	}
}

func TestTheTokenEndpointsRefusalsReachTheAgent(t *testing.T) {
	w := newWorld(t, jose.ES256)
	d, err := w.agent.Discover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	delete(w.secrets, "agent")
	_, err = w.agent.Token(t.Context(), d)
	var refused *demo.Refusal
	if !errors.As(err, &refused) || refused.Status != 401 || refused.Code != "invalid_client" || refused.From != d.TokenURL {
		t.Errorf("%+v", err)
	}
}

func TestTheMCPServerRefusesTokensItShould(t *testing.T) {
	w := newWorld(t, jose.ES256)
	claims := func(aud, scope string) map[string]any {
		return map[string]any{"sub": "agent", "client_id": "agent", "aud": aud, "scope": scope}
	}
	for name, c := range map[string]struct {
		token  string
		status int
		code   string
	}{
		"for another resource": {w.sign(claims(w.api, "mcp:tools"), nil), 401, "invalid_token"},
		"expired":              {w.sign(claims(w.mcp, "mcp:tools"), func(_, c map[string]any) { c["exp"] = 1 }), 401, "invalid_token"},
		"without the scope":    {w.sign(claims(w.mcp, "notes:read"), nil), 403, "insufficient_scope"},
		"garbage":              {"garbage", 401, "invalid_token"},
	} {
		_, err := w.agent.Call(t.Context(), c.token, demo.ReadNoteTool, map[string]string{"id": "1"})
		var refused *demo.Refusal
		if !errors.As(err, &refused) || refused.Status != c.status || refused.Code != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := w.agent.Call(t.Context(), w.sign(claims(w.mcp, "mcp:tools"), nil), demo.ReadNoteTool, map[string]string{"id": "1"}); err != nil || got.Answer == nil {
		t.Errorf("and a good one: %+v, %v", got, err)
	}
}

// send makes a request to the API as any client might.
func (w *world) send(t *testing.T, method, path, token, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, w.api+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" && !strings.HasPrefix(token, "Basic ") {
		token = "Bearer " + token
	}
	req.Header.Set("Authorization", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestTheAPIChallengesAsTheStandardsSay(t *testing.T) {
	w := newWorld(t, jose.ES256)
	metadata := strings.TrimSuffix(w.api, "/notes") + "/.well-known/oauth-protected-resource/notes"
	claims := func(aud, scope string) map[string]any {
		return map[string]any{"sub": "ann", "client_id": "mcp", "aud": aud, "scope": scope}
	}
	reader := w.sign(claims(w.api, "notes:read"), nil)
	writer := w.sign(claims(w.api, "notes:write"), nil)
	for _, c := range []struct {
		name, method, path, token, body string
		status                          int
		challenge                       string
	}{
		{"no token", "GET", "/1", "", "", 401, `Bearer scope="notes:read", resource_metadata="` + metadata + `"`},
		{"another scheme", "GET", "/1", "Basic " + reader, "", 401, `Bearer scope="notes:read", resource_metadata="` + metadata + `"`},
		{"another resource's token", "GET", "/1", w.sign(claims(w.mcp, "notes:read"), nil), "", 401,
			`Bearer error="invalid_token", error_description="issued for another resource", scope="notes:read", resource_metadata="` + metadata + `"`},
		{"reader reads", "GET", "/1", reader, "", 200, ""},
		{"reader writes", "PUT", "/1", reader, `{"text":"x"}`, 403,
			`Bearer error="insufficient_scope", error_description="this needs the scope notes:write", scope="notes:write", resource_metadata="` + metadata + `"`},
		{"writer reads", "GET", "/1", writer, "", 403,
			`Bearer error="insufficient_scope", error_description="this needs the scope notes:read", scope="notes:read", resource_metadata="` + metadata + `"`},
		{"writer writes", "PUT", "/1", writer, `{"text":"x"}`, 200, ""},
		{"writer writes nonsense", "PUT", "/1", writer, `nonsense`, 400, ""},
		{"no such note", "GET", "/99", reader, "", 404, ""},
	} {
		resp, body := w.send(t, c.method, c.path, c.token, c.body)
		if resp.StatusCode != c.status || resp.Header.Get("WWW-Authenticate") != c.challenge {
			t.Errorf("%s: %d %q %s", c.name, resp.StatusCode, resp.Header.Get("WWW-Authenticate"), body)
		}
		if resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v", c.name, resp.Header)
		}
	}
	resp, err := http.Get(metadata)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	for _, want := range []string{`"resource":"` + w.api + `"`, `"authorization_servers":["` + w.URL + `"]`, `"notes:write"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("metadata %s lacks %s", b, want)
		}
	}
}

func TestTheAPIBlamesTheIssuerForMissingKeys(t *testing.T) {
	w := newWorld(t, jose.ES256)
	w.jwks = func() any { return "nonsense" }
	resp, body := w.send(t, "GET", "/1", w.sign(map[string]any{"sub": "a", "client_id": "a", "aud": w.api, "scope": "notes:read"}, nil), "")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, "temporarily_unavailable") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestAToyKeepsAHundredNotes(t *testing.T) {
	w := newWorld(t, jose.ES256)
	writer := w.sign(map[string]any{"sub": "a", "client_id": "a", "aud": w.api, "scope": "notes:write"}, nil)
	var last int
	for i := range 100 {
		resp, _ := w.send(t, "PUT", "/n"+string(rune('a'+i%26))+strings.Repeat("x", i/26), writer, `{"text":"x"}`)
		last = resp.StatusCode
	}
	if last != http.StatusInsufficientStorage { // two were there before
		t.Errorf("the 102nd note: %d", last)
	}
	if resp, _ := w.send(t, "PUT", "/1", writer, `{"text":"changed"}`); resp.StatusCode != 200 {
		t.Errorf("changing one of them: %d", resp.StatusCode)
	}
}

func TestResourcesWithoutAPathAreRefused(t *testing.T) {
	for _, resource := range []string{"", "notes", "http://127.0.0.1:1", "http://127.0.0.1:1/notes/"} {
		if _, err := demo.NewNotes(demo.NotesConfig{Resource: resource}); err == nil {
			t.Errorf("the API takes %q", resource)
		}
	}
	for _, resource := range []string{"", "mcp", "http://127.0.0.1:1"} {
		if _, err := demo.NewNotesMCP(demo.MCPConfig{Resource: resource}); err == nil {
			t.Errorf("the MCP server takes %q", resource)
		}
	}
}

func TestDiscoveryNeedsAChallenge(t *testing.T) {
	w := newWorld(t, jose.ES256)
	w.agent.MCP = w.URL + "/oauth/2/token" // refuses, but challenges nobody
	if d, err := w.agent.Discover(t.Context()); err == nil {
		t.Errorf("discovered %+v", d)
	}
}

func TestAClosedSiteFreesItsPort(t *testing.T) {
	for _, serve := range []bool{false, true} {
		s, err := demo.Listen()
		if err != nil {
			t.Fatal(err)
		}
		if serve {
			s.Serve(http.NotFoundHandler())
			if resp, err := http.Get(s.URL); err != nil || resp.StatusCode != 404 {
				t.Errorf("%v, %v", resp, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, "GET", s.URL, nil)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			t.Error("still answering")
		}
	}
}
