package demo

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// delegation is the part of the story that has a person in it.
type delegation struct {
	site      *Site
	codeHost  *CodeHost
	ada       *Person
	assistant Client
	token     string // Ada's, at the assistant
	upstream  string // the code host's
}

// Where the assistant has people sent back to, and what it is called as the
// resource that people sign in for. Nothing needs to answer at either.
const (
	assistantRedirect = "http://127.0.0.1/assistant"
	assistantResource = "https://assistant.example"
)

func (s *Story) repositories() string { return s.site.URL + "/api" }

func (s *Story) joinCodeHost(ctx context.Context, a *Account) (err error) {
	if s.site, err = Listen(); err != nil {
		return err
	}
	s.codeHost = NewCodeHost(s.site.URL)
	s.site.Serve(s.codeHost)
	repositories, err := s.installCodeHost(ctx)
	if err != nil {
		return err
	}
	assistant, err := s.create(ctx, "/applications", object{
		"name": "Assistant", "identifier": "assistant", "dependencies": []object{{"id": repositories}},
		"protocols": object{"oauth2": object{"redirect_uris": []string{assistantRedirect}}},
	})
	if err != nil {
		return err
	}
	if err := s.Manage(ctx, "PATCH", s.path(""), object{"requires_invitation": false}, nil); err != nil {
		return err
	}
	var providers list[ref]
	if err := s.Manage(ctx, "GET", s.path("/providers?type=keycard-sts"), nil, &providers); err != nil {
		return err
	}
	if _, err := s.create(ctx, "/resources", object{
		"name": "Assistant", "identifier": assistantResource, "application_id": assistant, "credential_provider_id": providers.Items[0].ID,
	}); err != nil {
		return err
	}
	s.assistant = Client{TokenURL: s.discovery.TokenURL, HTTP: s.HTTP}
	if _, s.assistant.ID, s.assistant.Secret, err = s.credential(ctx, assistant); err != nil {
		return err
	}
	a.Request("a package, released and installed: provider %s, resource %s", s.site.URL, s.repositories())
	a.Decision("the assistant depends on it, and holds no credential for it")
	a.Reason("whoever comes to the zone may sign up")
	return nil
}

// installCodeHost makes a package of the code host's API, as whoever integrates
// it does once, and installs it, as an operator does with what they were given
// there. It returns the id of the resource.
func (s *Story) installCodeHost(ctx context.Context) (resource string, err error) {
	text := object{"type": "string"}
	made, err := s.create(ctx, "/packages", object{
		"kind": "oauth-api", "name": "Code host",
		"inputs": object{
			"schema": object{
				"type": "object", "required": []string{"client_id", "client_secret"},
				"properties": object{"client_id": text, "client_secret": object{"type": "string", "writeOnly": true}},
			},
			"bindings": fmt.Sprintf(`{"name": "Repositories", "issuer": %q, "resource_identifier": %q, "scopes": ["repo", "read:user"],`+
				` "client_id": pkg.inputs.client_id, "client_secret": pkg.inputs.client_secret}`, s.site.URL, s.repositories()),
		},
		"outputs": object{
			"schema":   object{"type": "object", "properties": object{"resource_id": text}},
			"bindings": `{"resource_id": entities.resource.outputs.id}`,
		},
	})
	if err != nil {
		return "", err
	}
	if _, err := s.create(ctx, "/packages/"+made+"/versions", object{}); err != nil {
		return "", err
	}
	var task struct {
		InstallID string `json:"install_id"`
	}
	inputs := object{"client_id": s.codeHost.ClientID, "client_secret": s.codeHost.ClientSecret}
	if err := s.Manage(ctx, "POST", s.path("/installs"), object{"package_id": made, "inputs": inputs}, &task); err != nil {
		return "", err
	}
	for end := s.Now().Add(10 * time.Second); ; {
		var install struct {
			Status  string `json:"status"`
			Outputs struct {
				ResourceID string `json:"resource_id"`
			} `json:"outputs"`
		}
		err := s.Manage(ctx, "GET", s.path("/installs/%s", task.InstallID), nil, &install)
		switch {
		case err != nil:
			return "", err
		case install.Status == "active":
			return install.Outputs.ResourceID, nil
		case s.Now().After(end):
			return "", fmt.Errorf("the install of the code host is %s", install.Status)
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Story) delegate(ctx context.Context, a *Account) (err error) {
	if s.ada, err = NewPerson("ada@example.com", rand.Text(), s.HTTP); err != nil {
		return err
	}
	s.ada.Code = func(ctx context.Context) (string, error) { return s.Mailed(ctx, s.ada.Email) }
	verifier := rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	request := url.Values{
		"response_type": {"code"}, "client_id": {s.assistant.ID}, "redirect_uri": {assistantRedirect}, "resource": {assistantResource},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	a.Request("a browser at %s/oauth/2/authorize, signing up", s.issuer)
	back, _, err := s.ada.Visit(ctx, s.issuer+"/oauth/2/authorize?"+request.Encode(), assistantRedirect)
	if err != nil {
		return err
	}
	if back == nil || back.Query().Get("code") == "" {
		return fmt.Errorf("the browser came back with %v", back)
	}
	grant, err := s.assistant.Redeem(ctx, back.Query().Get("code"), assistantRedirect, verifier)
	if err != nil {
		return err
	}
	s.token = grant.Token
	var grants list[struct {
		Status          string `json:"status"`
		RefreshTokenSet bool   `json:"refresh_token_set"`
	}]
	if err := s.Manage(ctx, "GET", s.path("/delegated-grants?status=active"), nil, &grants); err != nil {
		return err
	}
	for _, g := range grants.Items {
		if g.RefreshTokenSet {
			a.Decision("a token for the assistant, and a grant for the code host")
			a.Reason("its tokens are encrypted under Ada's key, and nobody was handed them")
			return nil
		}
	}
	return errors.New("there is no grant of the code host")
}

func (s *Story) broker(ctx context.Context, a *Account) error {
	a.Request("token exchange, subject Ada, resource %s", s.repositories())
	grant, err := s.assistant.Exchange(ctx, s.token, s.repositories())
	if err != nil {
		return err
	}
	s.upstream = grant.Token
	status, found, err := s.list(ctx)
	if err != nil || status != http.StatusOK {
		return fmt.Errorf("the code host answered %d, %w", status, err)
	}
	a.Decision("the code host's token, for %d s; it lists %s", grant.ExpiresIn, strings.Join(found, ", "))
	a.Reason("Ada has agreed to the assistant, and authorized the code host")
	return nil
}

// list asks the code host for repositories with its token.
func (s *Story) list(ctx context.Context) (status int, found []string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.repositories()+"/repositories", nil)
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+s.upstream)
	answer, err := s.HTTP.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		err = json.UnmarshalRead(answer.Body, &found)
	}
	return answer.StatusCode, found, err
}

func (s *Story) takeBack(ctx context.Context, a *Account) error {
	a.Request("Ada's browser at %s/account, then the same exchange", s.issuer)
	if err := s.ada.Revoke(ctx, s.issuer+"/account", "Repositories"); err != nil {
		return err
	}
	_, err := s.assistant.Exchange(ctx, s.token, s.repositories())
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		return fmt.Errorf("want a refusal, got %v", err)
	}
	a.Decision("%d %s", refusal.Status, refusal.Code)
	a.Reason("%s Ada can allow it again at %s", refusal.Description, refusal.URI)
	if refusal.Code != "insufficient_authorization" || refusal.URI == "" {
		return errors.New("that is not the refusal of what a person took back")
	}
	for end := s.Now().Add(10 * time.Second); ; { // it is revoked there right after
		status, _, err := s.list(ctx)
		switch {
		case err != nil:
			return err
		case status == http.StatusUnauthorized:
			a.Decision("401 at the code host for the token from before")
			return nil
		case s.Now().After(end):
			return fmt.Errorf("the code host still answers %d to the token", status)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}
