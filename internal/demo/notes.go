package demo

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// The scopes of the notes API.
const (
	ReadNotes  = "notes:read"
	WriteNotes = "notes:write"
)

// NotesConfig is what the notes API must be told.
type NotesConfig struct {
	Issuer   string // of the zone whose tokens it accepts
	Resource string // its own address and identifier, such as http://127.0.0.1:4000/notes
	HTTP     *http.Client
	Now      func() time.Time
}

// A Note is a small document.
type Note struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// An Answer of the notes API has the note and, so that a demonstration can show
// it, who the API took the caller to be.
type Answer struct {
	Note   Note   `json:"note"`
	Caller Caller `json:"caller"`
}

// A Caller is what a verified token says about who calls.
type Caller struct {
	Subject  string   `json:"sub"`
	ClientID string   `json:"client_id"`
	Scopes   []string `json:"scopes"`
	Actors   []Actor  `json:"actors,omitempty"` // the latest first
	TokenID  string   `json:"jti"`
}

// NewNotes returns a REST API that keeps a few notes in memory:
// GET {Resource}/{id} needs the scope notes:read, PUT {Resource}/{id} with
// {"text": …} needs notes:write. Both answer with an Answer. Refusals carry
// challenges after RFC 6750 §3 that lead to the API's metadata (RFC 9728).
func NewNotes(c NotesConfig) (http.Handler, error) {
	u, err := url.Parse(c.Resource)
	if err != nil || u.Host == "" || u.Path == "" || strings.HasSuffix(u.Path, "/") {
		return nil, fmt.Errorf("the resource must be an address with a path, not %q", c.Resource)
	}
	api := &notes{
		verifier: &Verifier{Issuer: c.Issuer, Audience: c.Resource, HTTP: c.HTTP, Now: c.Now},
		metadata: metadataURL(u),
		texts: map[string]string{
			"1": "Buy oat milk.",
			"2": "The launch moved to Thursday.",
		},
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+u.Path+"/{id}", api.needs(ReadNotes, api.read))
	mux.Handle("PUT "+u.Path+"/{id}", api.needs(WriteNotes, api.write))
	mux.Handle(metadataPath(u), auth.ProtectedResourceMetadataHandler(&oauthex.ProtectedResourceMetadata{
		Resource:               c.Resource,
		AuthorizationServers:   []string{c.Issuer},
		ScopesSupported:        []string{ReadNotes, WriteNotes},
		BearerMethodsSupported: []string{"header"},
		ResourceName:           "Notes API",
	}))
	return mux, nil
}

// metadataPath returns where the metadata of a resource lies (RFC 9728 §3.1).
func metadataPath(resource *url.URL) string {
	return "/.well-known/oauth-protected-resource" + resource.Path
}

func metadataURL(resource *url.URL) string {
	return resource.Scheme + "://" + resource.Host + metadataPath(resource)
}

type notes struct {
	verifier *Verifier
	metadata string

	mu    sync.Mutex
	texts map[string]string // by id
}

// needs lets requests through whose token is valid and carries the scope.
func (n *notes) needs(scope string, next func(http.ResponseWriter, *http.Request, *Token)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := bearer(r)
		if err != nil {
			// RFC 6750 §3: no error code for those who did not try.
			n.challenge(w, http.StatusUnauthorized, Refusal{}, scope)
			return
		}
		token, err := n.verifier.Verify(r.Context(), raw)
		var invalid InvalidToken
		switch {
		case errors.As(err, &invalid):
			n.challenge(w, http.StatusUnauthorized, Refusal{Code: "invalid_token", Description: invalid.Error()}, scope)
		case err != nil:
			w.Header().Set("Retry-After", "1")
			answer(w, http.StatusServiceUnavailable, Refusal{Code: "temporarily_unavailable", Description: "the issuer's keys cannot be read"})
		case !token.Has(scope):
			n.challenge(w, http.StatusForbidden, Refusal{Code: "insufficient_scope", Description: "this needs the scope " + scope}, scope)
		default:
			next(w, r, token)
		}
	})
}

// challenge refuses a request and says how it could do better.
func (n *notes) challenge(w http.ResponseWriter, status int, refusal Refusal, scope string) {
	var parts []string
	if refusal.Code != "" {
		parts = append(parts, fmt.Sprintf("error=%q, error_description=%q", refusal.Code, refusal.Description))
	}
	parts = append(parts, fmt.Sprintf("scope=%q", scope), fmt.Sprintf("resource_metadata=%q", n.metadata))
	w.Header().Set("WWW-Authenticate", "Bearer "+strings.Join(parts, ", "))
	answer(w, status, refusal)
}

func (n *notes) read(w http.ResponseWriter, r *http.Request, token *Token) {
	id := r.PathValue("id")
	n.mu.Lock()
	text, ok := n.texts[id]
	n.mu.Unlock()
	if !ok {
		answer(w, http.StatusNotFound, Refusal{Code: "not_found", Description: "there is no such note"})
		return
	}
	answer(w, http.StatusOK, Answer{Note: Note{ID: id, Text: text}, Caller: callerOf(token)})
}

func (n *notes) write(w http.ResponseWriter, r *http.Request, token *Token) {
	var in struct {
		Text string `json:"text"`
	}
	if err := json.UnmarshalRead(r.Body, &in); err != nil {
		answer(w, http.StatusBadRequest, Refusal{Code: "invalid_request", Description: `want a JSON object with "text"`})
		return
	}
	id := r.PathValue("id")
	n.mu.Lock()
	// A toy keeps no more than a toy needs.
	_, exists := n.texts[id]
	full := !exists && len(n.texts) >= 100
	if !full {
		n.texts[id] = in.Text
	}
	n.mu.Unlock()
	if full {
		answer(w, http.StatusInsufficientStorage, Refusal{Code: "full", Description: "a hundred notes are enough"})
		return
	}
	answer(w, http.StatusOK, Answer{Note: Note{ID: id, Text: in.Text}, Caller: callerOf(token)})
}

func callerOf(t *Token) Caller {
	return Caller{Subject: t.Subject, ClientID: t.ClientID, Scopes: slices.Clone(t.Scopes), Actors: t.Actors, TokenID: t.ID}
}

// answer writes a JSON answer; a Refusal gets its status.
func answer(w http.ResponseWriter, status int, v any) {
	if r, ok := v.(Refusal); ok {
		r.Status = status
		v = r
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.MarshalWrite(w, v) // a broken connection is the caller's
}
