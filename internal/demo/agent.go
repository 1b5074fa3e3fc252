package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"golang.org/x/oauth2"
)

// An Agent is a program that uses the tools of an MCP server. It knows the
// server's address and its own credential, and finds out the rest.
type Agent struct {
	MCP          string // address of the MCP server
	ClientID     string
	ClientSecret string
	HTTP         *http.Client
}

// A Discovery is what an MCP server's challenge leads to.
type Discovery struct {
	Challenge string   // the WWW-Authenticate header of the refused request
	Resource  string   // the identifier to ask a token for
	Issuer    string   // who gives tokens for it
	TokenURL  string   // and where
	Scopes    []string // the MCP server asks for these
}

// Discover calls the MCP server without a token and follows its challenge: to
// the resource's metadata (RFC 9728 §5), from there to the authorization
// server's (RFC 8414).
func (a *Agent) Discover(ctx context.Context) (*Discovery, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.MCP, strings.NewReader("{}"))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		return nil, fmt.Errorf("%s answered %s to a request without a token", a.MCP, resp.Status)
	}
	challenge := bearerChallenge(resp.Header)
	resource, err := oauthex.GetProtectedResourceMetadata(ctx, challenge["resource_metadata"], a.MCP, a.HTTP)
	if err != nil {
		return nil, err
	}
	if len(resource.AuthorizationServers) == 0 {
		return nil, fmt.Errorf("%s names no authorization server", a.MCP)
	}
	issuer := resource.AuthorizationServers[0]
	server, err := auth.GetAuthServerMetadata(ctx, issuer, a.HTTP)
	if err != nil {
		return nil, err
	}
	if server == nil {
		return nil, fmt.Errorf("%s publishes no metadata", issuer)
	}
	scopes := strings.Fields(challenge["scope"])
	if len(scopes) == 0 {
		scopes = resource.ScopesSupported
	}
	return &Discovery{
		Challenge: resp.Header.Get("WWW-Authenticate"),
		Resource:  resource.Resource,
		Issuer:    server.Issuer,
		TokenURL:  server.TokenEndpoint,
		Scopes:    scopes,
	}, nil
}

// Token asks for a token for what was discovered, with the given scopes or,
// without any, those the MCP server asked for. A refusal is a *Refusal.
func (a *Agent) Token(ctx context.Context, d *Discovery, scopes ...string) (*Grant, error) {
	if len(scopes) == 0 {
		scopes = d.Scopes
	}
	c := Client{ID: a.ClientID, Secret: a.ClientSecret, TokenURL: d.TokenURL, HTTP: a.HTTP}
	return c.Credentials(ctx, d.Resource, scopes...)
}

// Call connects to the MCP server with a token and calls a tool. When the MCP
// server itself refuses the token the error is a *Refusal; what refused the
// tool is in the result.
func (a *Agent) Call(ctx context.Context, token, tool string, arguments any) (*ToolResult, error) {
	client := mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1"}, nil)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: a.MCP, HTTPClient: a.HTTP, OAuthHandler: fixedToken(token), MaxRetries: -1, DisableStandaloneSSE: true,
	}, nil)
	if err != nil {
		return nil, refusalIn(err)
	}
	defer session.Close()
	got, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		return nil, refusalIn(err)
	}
	return toolResult(got)
}

// toolResult reads the structured content of a tool's answer.
func toolResult(got *mcp.CallToolResult) (*ToolResult, error) {
	if got.StructuredContent == nil {
		var text []string
		for _, c := range got.Content {
			if t, ok := c.(*mcp.TextContent); ok {
				text = append(text, t.Text)
			}
		}
		return nil, fmt.Errorf("the tool failed: %s", strings.Join(text, " "))
	}
	b, err := json.Marshal(got.StructuredContent)
	if err != nil {
		return nil, err
	}
	var out ToolResult
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("the tool gave an odd result: %w", err)
	}
	return &out, nil
}

// fixedToken is an authorization handler of the MCP SDK that has one token and
// gets no other: when that is refused, the refusal is the error.
type fixedToken string

func (t fixedToken) TokenSource(context.Context) (oauth2.TokenSource, error) {
	return oauth2.StaticTokenSource(&oauth2.Token{AccessToken: string(t)}), nil
}

func (t fixedToken) Authorize(_ context.Context, req *http.Request, resp *http.Response) error {
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	r := &Refusal{From: req.URL.String(), Status: resp.StatusCode, Code: "invalid_token", Description: strings.TrimSpace(string(body))}
	if resp.StatusCode == http.StatusForbidden {
		r.Code = "insufficient_scope"
	}
	if code := bearerChallenge(resp.Header)["error"]; code != "" {
		r.Code = code
	}
	return r
}

// bearerChallenge returns the parameters of the Bearer challenge of an answer;
// none when there is no such challenge.
func bearerChallenge(h http.Header) map[string]string {
	challenges, err := oauthex.ParseWWWAuthenticate(h.Values("WWW-Authenticate"))
	if err != nil {
		return nil
	}
	for _, c := range challenges {
		if c.Scheme == "bearer" {
			return c.Params
		}
	}
	return nil
}

// refusalIn returns the refusal an error of the MCP SDK was caused by, or else
// the error.
func refusalIn(err error) error {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return err
}
