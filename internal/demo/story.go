package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Manage makes one management call: it sends in as JSON, unless it is nil, and
// reads the answer into out, unless that is nil.
type Manage func(ctx context.Context, method, path string, in, out any) error

// Story is the main job from beginning to end: a zone is made, an agent calls
// a tool on a protected MCP server, which reaches an API behind it; credentials
// are narrowed, refused by a policy that names itself, and off once revoked.
type Story struct {
	Manage Manage
	HTTP   *http.Client // for the agent and the two servers
	Now    func() time.Time
	// Mailed returns the code in the newest mail to an address.
	Mailed func(ctx context.Context, to string) (code string, err error)

	delegation
	zone, issuer    string
	api, mcp        *Site
	agent           Agent
	agentCredential string
	managed         struct{ set, version, schema string }
	entries         []manifestEntry
	resources       struct{ api, mcp string }
	discovery       *Discovery
	grant           *Grant
	exchanged       string // jti of the token that the API last saw
}

type manifestEntry struct {
	PolicyID  string `json:"policy_id"`
	VersionID string `json:"policy_version_id"`
}

type object = map[string]any

// What the management API answers with, as far as it is of interest here.
type (
	ref struct {
		ID string `json:"id"`
	}
	list[T any] struct {
		Items []T `json:"items"`
	}
	credential struct {
		ID         string `json:"id"`
		Identifier string `json:"identifier"`
		Password   string `json:"password"`
	}
	zone struct {
		ID        string `json:"id"`
		Protocols struct {
			OAuth2 struct {
				Issuer string `json:"issuer"`
			} `json:"oauth2"`
		} `json:"protocols"`
	}
	activeSet struct {
		ID              string `json:"id"`
		ActiveVersionID string `json:"active_version_id"`
	}
	setVersion struct {
		SchemaVersion string `json:"schema_version"`
		Manifest      struct {
			Entries []manifestEntry `json:"entries"`
		} `json:"manifest"`
	}
	event struct {
		Type     string `json:"type"`
		Outcome  string `json:"outcome"`
		Error    string `json:"error"`
		Resource struct {
			Identifier string `json:"identifier"`
		} `json:"resource"`
		Policy struct {
			Determining []string `json:"determining"`
		} `json:"policy"`
	}
)

// Steps returns the story's steps, to be told in order.
func (s *Story) Steps() []Step {
	return []Step{
		{"an organization makes a zone", s.makeZone},
		{"two programs start: a notes API, and an MCP server that uses it", s.startPrograms},
		{"the zone learns of the agent, the MCP server and the API", s.register},
		{"the agent calls the MCP server and is told where to ask", s.discover},
		{"the agent asks for too much and gets a narrow, short-lived token", s.narrow},
		{"the agent calls a tool; the MCP server exchanges the token for the API", s.callTool},
		{"with a token to read, the agent cannot write", s.refuseScope},
		{"a policy forbids notes to the agent, and the next call is refused by name", s.forbid},
		{"the managed policies are back, and so is access", s.restore},
		{"the agent's credential is deleted, and the next token request fails", s.revoke},
		{"a code host elsewhere is installed, and an assistant for people joins the zone", s.joinCodeHost},
		{"Ada signs in to the assistant, agrees, and authorizes it at the code host", s.delegate},
		{"the assistant exchanges Ada's token for the code host's own", s.broker},
		{"Ada takes it back, and the assistant is refused, here and there", s.takeBack},
		{"every answer and every refusal is in the log", s.evidence},
	}
}

// Close ends the programs.
func (s *Story) Close() error {
	var errs []error
	for _, site := range []*Site{s.mcp, s.api, s.site} {
		if site != nil {
			errs = append(errs, site.Close())
		}
	}
	return errors.Join(errs...)
}

func (s *Story) makeZone(ctx context.Context, a *Account) error {
	var made zone
	a.Request(`POST /zones {"name": "Demo"}`)
	if err := s.Manage(ctx, "POST", "/zones", object{"name": "Demo"}, &made); err != nil {
		return err
	}
	s.zone, s.issuer = made.ID, made.Protocols.OAuth2.Issuer
	a.Decision("issuer %s", s.issuer)
	a.Reason("with keys, a token provider and the managed policies, active")
	return nil
}

func (s *Story) startPrograms(_ context.Context, a *Account) (err error) {
	if s.api, err = Listen(); err != nil {
		return err
	}
	if s.mcp, err = Listen(); err != nil {
		return err
	}
	notes, err := NewNotes(NotesConfig{Issuer: s.issuer, Resource: s.apiResource(), HTTP: s.HTTP, Now: s.Now})
	if err != nil {
		return err
	}
	s.api.Serve(notes)
	a.Request("API         %s", s.apiResource())
	a.Request("MCP server  %s", s.mcpResource())
	return nil
}

func (s *Story) apiResource() string { return s.api.URL + "/notes" }
func (s *Story) mcpResource() string { return s.mcp.URL + "/mcp" }

// path returns a path below the zone in the management API.
func (s *Story) path(format string, args ...any) string {
	return "/zones/" + s.zone + fmt.Sprintf(format, args...)
}

func (s *Story) register(ctx context.Context, a *Account) error {
	var providers list[ref]
	if err := s.Manage(ctx, "GET", s.path("/providers?type=keycard-sts"), nil, &providers); err != nil {
		return err
	}
	if len(providers.Items) != 1 {
		return fmt.Errorf("the zone has %d token providers", len(providers.Items))
	}
	sts := providers.Items[0].ID
	server, err := s.create(ctx, "/applications", object{"name": "Notes MCP server", "identifier": "notes-mcp"})
	if err != nil {
		return err
	}
	if s.resources.mcp, err = s.create(ctx, "/resources", object{
		"name": "Notes MCP server", "identifier": s.mcpResource(), "application_id": server,
		"credential_provider_id": sts, "scopes": []string{ReadNotes},
	}); err != nil {
		return err
	}
	if s.resources.api, err = s.create(ctx, "/resources", object{
		"name": "Notes API", "identifier": s.apiResource(), "credential_provider_id": sts,
		"scopes": []string{ReadNotes, WriteNotes}, "credential_lifetime_seconds": 300,
	}); err != nil {
		return err
	}
	agent, err := s.create(ctx, "/applications", object{
		"name": "Agent", "identifier": "agent",
		"dependencies": []object{{"id": s.resources.mcp}, {"id": s.resources.api}},
	})
	if err != nil {
		return err
	}
	if err := s.Manage(ctx, "PUT", s.path("/applications/%s/dependencies/%s", server, s.resources.api), nil, nil); err != nil {
		return err
	}
	s.agent = Agent{MCP: s.mcpResource(), HTTP: s.HTTP}
	if s.agentCredential, s.agent.ClientID, s.agent.ClientSecret, err = s.credential(ctx, agent); err != nil {
		return err
	}
	_, id, secret, err := s.credential(ctx, server)
	if err != nil {
		return err
	}
	protected, err := NewNotesMCP(MCPConfig{
		Issuer: s.issuer, Resource: s.mcpResource(), Scopes: []string{ReadNotes}, ClientID: id, ClientSecret: secret,
		API: s.apiResource(), HTTP: s.HTTP, Now: s.Now,
	})
	if err != nil {
		return err
	}
	s.mcp.Serve(protected)
	a.Request("applications agent and notes-mcp, resources MCP server and notes API")
	a.Decision("agent depends on both, notes-mcp on the API")
	return nil
}

// create makes an entity of the zone and returns its id.
func (s *Story) create(ctx context.Context, path string, in object) (id string, err error) {
	var made ref
	err = s.Manage(ctx, "POST", s.path("%s", path), in, &made)
	return made.ID, err
}

// credential gives an application a client id and secret.
func (s *Story) credential(ctx context.Context, application string) (id, client, secret string, err error) {
	var made credential
	err = s.Manage(ctx, "POST", s.path("/application-credentials"), object{"application_id": application, "type": "password"}, &made)
	return made.ID, made.Identifier, made.Password, err
}

func (s *Story) discover(ctx context.Context, a *Account) (err error) {
	a.Request("POST %s without a token", s.mcpResource())
	if s.discovery, err = s.agent.Discover(ctx); err != nil {
		return err
	}
	a.Decision("401 %s", s.discovery.Challenge)
	a.Reason("its metadata names the issuer %s", s.discovery.Issuer)
	if s.discovery.Issuer != s.issuer {
		return fmt.Errorf("that is not the zone's issuer %s", s.issuer)
	}
	return nil
}

func (s *Story) narrow(ctx context.Context, a *Account) (err error) {
	asked := []string{ReadNotes, "notes:delete", "admin"}
	a.Request("client_credentials, resource %s, scope %s", s.discovery.Resource, strings.Join(asked, " "))
	if s.grant, err = s.agent.Token(ctx, s.discovery, asked...); err != nil {
		return err
	}
	a.Decision("a token for %d s with scope %s", s.grant.ExpiresIn, strings.Join(s.grant.Scopes, " "))
	a.Reason("the resource declares no other scope")
	if strings.Join(s.grant.Scopes, " ") != ReadNotes {
		return errors.New("the token was not narrowed")
	}
	return nil
}

func (s *Story) callTool(ctx context.Context, a *Account) error {
	a.Request("tools/call read_note {\"id\": \"1\"}")
	result, err := s.agent.Call(ctx, s.grant.Token, ReadNoteTool, object{"id": "1"})
	if err != nil {
		return err
	}
	if result.Answer == nil {
		return fmt.Errorf("refused: %v", result.Refusal)
	}
	caller := result.Answer.Caller
	s.exchanged = caller.TokenID
	a.Decision("note %q", result.Answer.Note.Text)
	actors := make([]string, len(caller.Actors))
	for i, actor := range caller.Actors {
		actors[i] = actor.Subject
	}
	a.Reason("the API saw subject %s, acting %s, scope %s", caller.Subject, strings.Join(actors, " for "), strings.Join(caller.Scopes, " "))
	if caller.Subject != "agent" || len(actors) != 1 || actors[0] != "notes-mcp" {
		return errors.New("the chain of actors is not agent, notes-mcp")
	}
	return nil
}

func (s *Story) refuseScope(ctx context.Context, a *Account) error {
	a.Request("PUT %s/1 with a token for %s", s.apiResource(), ReadNotes)
	own := Client{ID: s.agent.ClientID, Secret: s.agent.ClientSecret, TokenURL: s.discovery.TokenURL, HTTP: s.HTTP}
	grant, err := own.Credentials(ctx, s.apiResource(), ReadNotes)
	if err != nil {
		return err
	}
	status, challenge, err := s.put(ctx, s.apiResource()+"/1", grant.Token)
	if err != nil {
		return err
	}
	a.Decision("%d %s", status, challenge)
	a.Reason("the token carries %s alone", strings.Join(grant.Scopes, " "))
	if status != http.StatusForbidden {
		return errors.New("a token to read was good enough to write")
	}
	return nil
}

// put tries to write a note with a token of the caller's.
func (s *Story) put(ctx context.Context, address, token string) (status int, challenge string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, address, strings.NewReader(`{"text": "overwritten"}`))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	answer, err := s.HTTP.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	return answer.StatusCode, answer.Header.Get("WWW-Authenticate"), nil
}

const forbidName = "no-notes-for-the-agent"

func (s *Story) forbid(ctx context.Context, a *Account) error {
	text := fmt.Sprintf(`@id(%q) forbid (principal is Keycard::Application, action, resource) when { principal.identifier == "agent" && resource.identifier == %q };`, forbidName, s.apiResource())
	a.Request("activate a set with the managed policies and: %s", text)
	if err := s.readManaged(ctx); err != nil {
		return err
	}
	policy, err := s.create(ctx, "/policies", object{"name": forbidName})
	if err != nil {
		return err
	}
	version, err := s.create(ctx, "/policies/"+policy+"/versions", object{"schema_version": s.managed.schema, "cedar_raw": text})
	if err != nil {
		return err
	}
	set, err := s.create(ctx, "/policy-sets", object{"name": "demo"})
	if err != nil {
		return err
	}
	entries := append(s.entries[:len(s.entries):len(s.entries)], manifestEntry{policy, version})
	setVersion, err := s.create(ctx, "/policy-sets/"+set+"/versions", object{"schema_version": s.managed.schema, "manifest": object{"entries": entries}})
	if err != nil {
		return err
	}
	if err := s.activate(ctx, set, setVersion); err != nil {
		return err
	}
	result, err := s.agent.Call(ctx, s.grant.Token, ReadNoteTool, object{"id": "1"})
	if err != nil {
		return err
	}
	if result.Refusal == nil {
		return errors.New("the call was answered although a policy forbids it")
	}
	a.Decision("%d %s", result.Refusal.Status, result.Refusal.Code)
	a.Reason("%s", result.Refusal.Description)
	if result.Refusal.Code != "access_denied" || !strings.Contains(result.Refusal.Description, forbidName) {
		return errors.New("the refusal does not name the policy")
	}
	return nil
}

// readManaged finds the platform's active set version and what it holds.
func (s *Story) readManaged(ctx context.Context) error {
	var sets list[activeSet]
	if err := s.Manage(ctx, "GET", s.path("/policy-sets?filter[active]=true"), nil, &sets); err != nil {
		return err
	}
	if len(sets.Items) != 1 {
		return fmt.Errorf("the zone has %d active policy sets", len(sets.Items))
	}
	s.managed.set, s.managed.version = sets.Items[0].ID, sets.Items[0].ActiveVersionID
	var version setVersion
	if err := s.Manage(ctx, "GET", s.path("/policy-sets/%s/versions/%s", s.managed.set, s.managed.version), nil, &version); err != nil {
		return err
	}
	s.managed.schema, s.entries = version.SchemaVersion, version.Manifest.Entries
	return nil
}

func (s *Story) activate(ctx context.Context, set, version string) error {
	return s.Manage(ctx, "PATCH", s.path("/policy-sets/%s/versions/%s", set, version), object{"active": true}, nil)
}

func (s *Story) restore(ctx context.Context, a *Account) error {
	a.Request("activate default-zone-policies again, then the same call")
	if err := s.activate(ctx, s.managed.set, s.managed.version); err != nil {
		return err
	}
	return s.callTool(ctx, a)
}

func (s *Story) revoke(ctx context.Context, a *Account) error {
	a.Request("DELETE the agent's credential, then client_credentials")
	if err := s.Manage(ctx, "DELETE", s.path("/application-credentials/%s", s.agentCredential), nil, nil); err != nil {
		return err
	}
	_, err := s.agent.Token(ctx, s.discovery, ReadNotes)
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		return fmt.Errorf("want a refusal, got %v", err)
	}
	a.Decision("%d %s", refusal.Status, refusal.Code)
	a.Reason("%s", refusal.Description)
	if refusal.Code != "invalid_client" {
		return errors.New("that is not the refusal of an unknown client")
	}
	return nil
}

func (s *Story) evidence(ctx context.Context, a *Account) error {
	var one, all list[event]
	a.Request("GET audit-events?filter[jti]=%s", s.exchanged)
	if err := s.Manage(ctx, "GET", s.path("/audit-events?filter[jti]=%s", url.QueryEscape(s.exchanged)), nil, &one); err != nil {
		return err
	}
	if len(one.Items) != 1 || one.Items[0].Resource.Identifier != s.apiResource() {
		return fmt.Errorf("the token's event was not found: %v", one.Items)
	}
	a.Decision("%s %s for %s", one.Items[0].Type, one.Items[0].Outcome, one.Items[0].Resource.Identifier)
	a.Reason("permitted by %s", strings.Join(one.Items[0].Policy.Determining, ", "))
	if err := s.Manage(ctx, "GET", s.path("/audit-events"), nil, &all); err != nil {
		return err
	}
	for _, e := range all.Items {
		if e.Error == "access_denied" {
			a.Decision("%s %s, %s", e.Type, e.Outcome, e.Error)
			a.Reason("decided by %s", strings.Join(e.Policy.Determining, ", "))
			return nil
		}
	}
	return errors.New("the refusal is not in the log")
}
