package main_test

import (
	"database/sql"
	_ "embed"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"deputy/internal/demo"
	"deputy/internal/deputytest"

	_ "modernc.org/sqlite"
)

// Deputy as the client libraries of others see it, with a person who signs in at
// a real browser.

var (
	//go:embed testdata/node/person.mjs
	personScript string
	//go:embed testdata/node/openid-client.mjs
	openidClientScript string
	//go:embed testdata/node/oauth4webapi.mjs
	oauth4webapiScript string
	//go:embed testdata/node/mcp.mjs
	mcpScript string
)

// peers is a node with a zone in which a person signs in to clients, and an MCP
// server that uses an API.
type peers struct {
	*testing.T
	*manager
	folder, zone, issuer string
	api, mcp             string       // identifiers
	sts                  string       // the zone's provider
	document             string       // where the metadata document of a client lies
	bearer               atomic.Value // the token that the MCP server saw last
	stale                atomic.Value // the one that it takes no more
	id, secret           string       // of a client with a secret
	bye                  string       // where that goes after signing out
}

func newPeers(t *testing.T) *peers {
	p := &peers{T: t, folder: filepath.Join(t.TempDir(), "data")}
	roots := p.publish()
	n, err := launch([]string{"SSL_CERT_FILE=" + roots}, p.folder, "--dev")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.kill)
	p.manager = n.login(t, readAccount(t, p.folder))
	zone := p.call(t, 200, "POST", "/zones", map[string]any{
		"name": "Peers", "requires_invitation": false,
		"protocols": map[string]any{"oauth2": map[string]any{"cimd": map[string]any{"enabled": true, "allowed_client_ids": []string{p.document}}}},
	})
	p.zone = "/zones/" + zone["id"].(string)
	p.issuer = n.base + "/z/" + zone["id"].(string)
	providers := p.call(t, 200, "GET", p.zone+"/providers?type=keycard-sts", nil)["items"].([]any)
	p.sts = providers[0].(map[string]any)["id"].(string)
	p.protect()
	return p
}

// publish puts the document of a client where its client_id says, and returns a
// file with the certificate of that place.
func (p *peers) publish() (roots string) {
	site := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"client_id":%q,"client_name":"MCP program","redirect_uris":["http://127.0.0.1/callback"],
			"grant_types":["authorization_code","refresh_token"],"token_endpoint_auth_method":"none"}`, p.document)
	}))
	p.Cleanup(site.Close)
	p.document = site.URL + "/program.json"
	roots = filepath.Join(p.TempDir(), "roots.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: site.Certificate().Raw})
	if err := os.WriteFile(roots, block, 0o600); err != nil {
		p.Fatal(err)
	}
	return roots
}

// protect starts an API and an MCP server that exchanges what it is called with
// for a token for the API, and makes both known to the zone.
func (p *peers) protect() {
	listen := func() *demo.Site {
		s, err := demo.Listen()
		if err != nil {
			p.Fatal(err)
		}
		p.Cleanup(func() { s.Close() })
		return s
	}
	api, server := listen(), listen()
	p.api, p.mcp = api.URL+"/notes", server.URL+"/mcp"
	notes := p.resource("Notes", p.api, "", "notes:read", "notes:write")
	app := p.call(p.T, 200, "POST", p.zone+"/applications", map[string]any{
		"name": "MCP server", "identifier": "mcp-server", "dependencies": []map[string]any{{"id": notes}},
	})["id"].(string)
	p.resource("MCP", p.mcp, app, "mcp:tools")
	id, secret := p.credential(app)

	c := &http.Client{Timeout: 30 * time.Second}
	answers, err := demo.NewNotes(demo.NotesConfig{Issuer: p.issuer, Resource: p.api, HTTP: c, Now: time.Now})
	if err != nil {
		p.Fatal(err)
	}
	api.Serve(answers)
	tools, err := demo.NewNotesMCP(demo.MCPConfig{
		Issuer: p.issuer, Resource: p.mcp, Scopes: []string{"mcp:tools"}, ClientID: id, ClientSecret: secret, API: p.api, HTTP: c, Now: time.Now,
	})
	if err != nil {
		p.Fatal(err)
	}
	server.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if bearer := r.Header.Get("Authorization"); bearer != "" {
			if p.bearer.Store(bearer); bearer == p.stale.Load() {
				r.Header.Set("Authorization", "Bearer one that has expired")
			}
		}
		tools.ServeHTTP(w, r)
	}))
}

// expire makes the MCP server refuse the token that it saw last.
func (p *peers) expire() { p.stale.Store(p.bearer.Load()) }

func (p *peers) resource(name, identifier, owner string, scopes ...string) string {
	said := map[string]any{"name": name, "identifier": identifier, "scopes": scopes, "credential_provider_id": p.sts}
	if owner != "" {
		said["application_id"] = owner
	}
	return p.call(p.T, 200, "POST", p.zone+"/resources", said)["id"].(string)
}

func (p *peers) credential(app string) (id, secret string) {
	made := p.call(p.T, 200, "POST", p.zone+"/application-credentials", map[string]any{"application_id": app, "type": "password"})
	return made["identifier"].(string), made["password"].(string)
}

// newClient makes a client with a secret and an address to go to after signing
// out.
func (p *peers) newClient() {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "bye") }))
	p.Cleanup(elsewhere.Close)
	p.bye = elsewhere.URL + "/bye"
	app := p.call(p.T, 200, "POST", p.zone+"/applications", map[string]any{
		"name": "Web client", "identifier": "web-client",
		"protocols": map[string]any{"oauth2": map[string]any{
			"redirect_uris": []string{"http://127.0.0.1/callback"}, "post_logout_redirect_uris": []string{p.bye},
		}},
	})["id"].(string)
	p.id, p.secret = p.credential(app)
}

// outcome is what a script says in the end.
type outcome struct {
	Problems    []string        `json:"problems"`
	Saved       json.RawMessage `json:"saved"`
	Typed       int             `json:"typed"`
	Agreed      int             `json:"agreed"`
	Invalidated []string        `json:"invalidated"`
	Caller      struct {
		ClientID string `json:"client_id"`
		Actors   []struct {
			Subject string `json:"sub"`
		} `json:"actors"`
	} `json:"caller"`
}

// run runs a script.
func (p *peers) run(script string, more map[string]any) (out outcome) {
	p.Helper()
	in := map[string]any{
		"issuer": p.issuer, "mcp": p.mcp, "resource": p.api, "outbox": filepath.Join(p.folder, "outbox"), "email": "ada@example.com",
		"password": "the analytical engine weaves", "client_id": p.id, "client_secret": p.secret, "bye": p.bye,
	}
	for name, value := range more {
		in[name] = value
	}
	text, err := json.Marshal(in)
	if err != nil {
		p.Fatal(err)
	}
	if err := json.Unmarshal(deputytest.Node(p.T, personScript+script, text), &out); err != nil {
		p.Fatal(err)
	}
	for _, problem := range out.Problems {
		p.Error(problem)
	}
	return out
}

func TestOpenIDClientInABrowser(t *testing.T) {
	t.Parallel()
	p := newPeers(t)
	p.newClient()
	p.run(openidClientScript, nil)
}

func TestOAuth4WebAPIInABrowser(t *testing.T) {
	t.Parallel()
	newPeers(t).run(oauth4webapiScript, nil)
}

// TestMCPClientInABrowser has a program use a tool of a protected MCP server: it
// is led to the zone, is known by its metadata document or registers itself, and
// signs the person in; started again it needs nobody; it renews what has
// expired; and where the zone knows it no more, it becomes known anew.
func TestMCPClientInABrowser(t *testing.T) {
	t.Parallel()
	for kind, prefix := range map[string]string{"metadata document": "https://", "registration": "ua:"} {
		t.Run(kind, func(t *testing.T) {
			p := newPeers(t)
			more := make(map[string]any)
			if prefix == "https://" {
				more["document"] = p.document
			}
			var saved struct {
				Client struct {
					ID string `json:"client_id"`
				} `json:"client"`
				Tokens struct {
					Refresh string `json:"refresh_token"`
				} `json:"tokens"`
			}
			live := func(what string, signIns int) outcome {
				t.Helper()
				out := p.run(mcpScript, more)
				if out.Typed != signIns {
					t.Errorf("%s: the password was typed %d times, want %d", what, out.Typed, signIns)
				}
				more["saved"] = out.Saved
				if err := json.Unmarshal(out.Saved, &saved); err != nil {
					t.Fatal(err)
				}
				if !strings.HasPrefix(saved.Client.ID, prefix) {
					t.Errorf("%s: the client is %q", what, saved.Client.ID)
				}
				return out
			}
			out := live("at first", 1)
			if out.Agreed != 1 || len(out.Caller.Actors) != 1 || out.Caller.Actors[0].Subject != "mcp-server" {
				t.Errorf("the person agreed %d times; the API was called by %+v", out.Agreed, out.Caller)
			}
			first := saved.Tokens.Refresh
			live("started again", 0)
			if saved.Tokens.Refresh != first {
				t.Error("started again, it asked for other tokens")
			}
			p.expire()
			live("with an expired token", 0)
			if saved.Tokens.Refresh == first || first == "" {
				t.Error("the refresh token is the same")
			}
			agent := p.agent(saved.Client.ID)
			p.forget(agent)
			p.expire()
			out = live("no longer known", 1)
			if strings.Join(out.Invalidated, " ") != "all" {
				t.Errorf("the program forgot %v", out.Invalidated)
			}
			if again := p.agent(saved.Client.ID); again == agent {
				t.Error("the user agent is still there")
			}
		})
	}
}

// forget removes a user agent, as when nobody has used it for long.
func (p *peers) forget(agent string) {
	p.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(p.folder, "deputy.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		p.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("DELETE FROM user_agents WHERE id = $1", agent); err != nil {
		p.Fatal(err)
	}
}

// agent returns the user agent with the client_id.
func (p *peers) agent(clientID string) (id string) {
	p.Helper()
	for _, item := range p.call(p.T, 200, "GET", p.zone+"/user-agents", nil)["items"].([]any) {
		if a := item.(map[string]any); a["identifier"] == clientID {
			return a["id"].(string)
		}
	}
	p.Fatalf("nobody is called %s", clientID)
	return ""
}
