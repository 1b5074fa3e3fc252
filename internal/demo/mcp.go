package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// MCPConfig is what the MCP server must be told.
type MCPConfig struct {
	Issuer       string   // of the zone whose tokens it accepts and where it exchanges them
	Resource     string   // its own address and identifier, such as http://127.0.0.1:4001/mcp
	Scopes       []string // a caller must have all of them
	ClientID     string   // its own credential at the zone
	ClientSecret string
	API          string // the identifier and address of the notes API
	HTTP         *http.Client
	Now          func() time.Time
}

// A ToolResult is the structured result of each tool: the API's answer, or who
// refused.
type ToolResult struct {
	Answer  *Answer  `json:"answer,omitempty"`
	Refusal *Refusal `json:"refusal,omitempty"`
}

// The tools of the MCP server.
const (
	ReadNoteTool  = "read_note"  // {"id"}
	WriteNoteTool = "write_note" // {"id", "text"}
)

// NewNotesMCP returns an MCP server (streamable HTTP, no sessions) with the
// tools read_note and write_note. Each call exchanges its caller's token for
// one for the notes API, with the one scope that the tool needs, and calls the
// API with that; what refuses on the way comes back in the ToolResult.
func NewNotesMCP(c MCPConfig) (http.Handler, error) {
	u, err := url.Parse(c.Resource)
	if err != nil || u.Host == "" || u.Path == "" {
		return nil, fmt.Errorf("the resource must be an address with a path, not %q", c.Resource)
	}
	s := &notesMCP{config: c}
	server := mcp.NewServer(&mcp.Implementation{Name: "notes", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: ReadNoteTool, Description: "Reads a note."}, s.readNote)
	mcp.AddTool(server, &mcp.Tool{Name: WriteNoteTool, Description: "Writes a note."}, s.writeNote)

	protected := auth.RequireBearerToken(tokenVerifier(&Verifier{Issuer: c.Issuer, Audience: c.Resource, HTTP: c.HTTP, Now: c.Now}),
		&auth.RequireBearerTokenOptions{ResourceMetadataURL: metadataURL(u), Scopes: c.Scopes, ClockSkew: clockSkew})
	mux := http.NewServeMux()
	mux.Handle(u.Path, protected(mcp.NewStreamableHTTPHandler(
		func(*http.Request) *mcp.Server { return server },
		&mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true})))
	mux.Handle(metadataPath(u), auth.ProtectedResourceMetadataHandler(&oauthex.ProtectedResourceMetadata{
		Resource:               c.Resource,
		AuthorizationServers:   []string{c.Issuer},
		ScopesSupported:        c.Scopes,
		BearerMethodsSupported: []string{"header"},
		ResourceName:           "Notes MCP server",
	}))
	return mux, nil
}

// tokenVerifier fits a Verifier to the MCP SDK.
func tokenVerifier(v *Verifier) auth.TokenVerifier {
	return func(ctx context.Context, raw string, _ *http.Request) (*auth.TokenInfo, error) {
		token, err := v.Verify(ctx, raw)
		var invalid InvalidToken
		if errors.As(err, &invalid) {
			return nil, fmt.Errorf("%w: %w", auth.ErrInvalidToken, err)
		}
		if err != nil {
			return nil, err
		}
		return &auth.TokenInfo{
			Scopes: token.Scopes, Expiration: token.Expiry, UserID: token.Subject,
			Extra: map[string]any{"token": token},
		}, nil
	}
}

type notesMCP struct {
	config MCPConfig

	mu       sync.Mutex
	tokenURL string // once discovered
}

type readNoteInput struct {
	ID string `json:"id" jsonschema:"the id of the note"`
}

func (s *notesMCP) readNote(ctx context.Context, req *mcp.CallToolRequest, in readNoteInput) (*mcp.CallToolResult, ToolResult, error) {
	return s.call(ctx, req, ReadNotes, http.MethodGet, in.ID, nil)
}

type writeNoteInput struct {
	ID   string `json:"id" jsonschema:"the id of the note"`
	Text string `json:"text" jsonschema:"its new text"`
}

func (s *notesMCP) writeNote(ctx context.Context, req *mcp.CallToolRequest, in writeNoteInput) (*mcp.CallToolResult, ToolResult, error) {
	body, err := json.Marshal(map[string]string{"text": in.Text})
	if err != nil {
		return nil, ToolResult{}, err
	}
	return s.call(ctx, req, WriteNotes, http.MethodPut, in.ID, body)
}

// call exchanges the caller's token for one with the scope and calls the API.
func (s *notesMCP) call(ctx context.Context, req *mcp.CallToolRequest, scope, method, id string, body []byte) (*mcp.CallToolResult, ToolResult, error) {
	token, ok := req.Extra.TokenInfo.Extra["token"].(*Token)
	if !ok {
		return nil, ToolResult{}, errors.New("the call came without a token")
	}
	client, err := s.client(ctx)
	if err != nil {
		return nil, ToolResult{}, err
	}
	grant, err := client.Exchange(ctx, token.Raw, s.config.API, scope)
	if err != nil {
		return refused(err)
	}
	got, err := s.callAPI(ctx, method, id, body, grant.Token)
	if err != nil {
		return refused(err)
	}
	return nil, ToolResult{Answer: got}, nil
}

// refused makes a tool result of a refusal, and passes on other errors.
func refused(err error) (*mcp.CallToolResult, ToolResult, error) {
	var r *Refusal
	if !errors.As(err, &r) {
		return nil, ToolResult{}, err
	}
	return &mcp.CallToolResult{IsError: true}, ToolResult{Refusal: r}, nil
}

// client returns this server as a client of its zone. The token endpoint is
// discovered once: it never moves.
func (s *notesMCP) client(ctx context.Context) (Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokenURL == "" {
		m, err := fetchMetadata(ctx, s.config.HTTP, s.config.Issuer)
		if err != nil {
			return Client{}, err
		}
		s.tokenURL = m.TokenEndpoint
	}
	return Client{ID: s.config.ClientID, Secret: s.config.ClientSecret, TokenURL: s.tokenURL, HTTP: s.config.HTTP}, nil
}

// callAPI sends one request to the notes API. A refusal is a *Refusal.
func (s *notesMCP) callAPI(ctx context.Context, method, id string, body []byte, token string) (*Answer, error) {
	address := s.config.API + "/" + url.PathEscape(id)
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.config.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(http.MaxBytesReader(nil, resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		r := Refusal{Code: strings.ToLower(http.StatusText(resp.StatusCode))}
		json.Unmarshal(content, &r) // an answer without a reason keeps the status' name
		r.From, r.Status = address, resp.StatusCode
		return nil, &r
	}
	var out Answer
	if err := json.Unmarshal(content, &out); err != nil {
		return nil, fmt.Errorf("%s gave an odd answer: %w", address, err)
	}
	return &out, nil
}
