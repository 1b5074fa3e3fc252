package broker

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/upstream"
)

// Authorization is what a person is asked to authorize.
type Authorization struct {
	Redirect string // where the answer goes
	State    string
	Verifier string // of PKCE
	Scopes   []string
	Resource string // the identifier, for servers that are told
	Nonce    string // of an ID token, for an identity provider
	// Wishes are further parameters, which what the provider was configured with
	// overrides.
	Wishes map[string]string
}

// Address returns where the person is sent. What the provider was configured
// with overrides nothing that the safety of the answer rests on.
func (s *Server) Address(a Authorization) (string, error) {
	u, err := url.Parse(s.authorize)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return "", &Fault{cause: errors.New("its authorization endpoint is no address")}
	}
	q := u.Query()
	for name, value := range a.Wishes {
		q.Set(name, value)
	}
	scopes := func() {
		if len(a.Scopes) > 0 {
			q.Set(or(s.set.ScopeParameter, "scope"), s.join(a.Scopes))
		}
	}
	scopes()
	s.name(q, a.Resource)
	for name, value := range s.set.AuthorizationParameters {
		q.Set(name, value)
	}
	if s.identity {
		scopes() // without openid there is no ID token
		q.Set("nonce", a.Nonce)
	}
	q.Set("response_type", "code")
	q.Set("client_id", *s.row.ClientID)
	q.Set("redirect_uri", a.Redirect)
	q.Set("state", a.State)
	q.Del("code_challenge")
	q.Del("code_challenge_method")
	if s.proves() {
		sum := sha256.Sum256([]byte(a.Verifier))
		q.Set("code_challenge", base64.RawURLEncoding.EncodeToString(sum[:]))
		q.Set("code_challenge_method", "S256")
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// join writes scopes as the server reads them.
func (s *Server) join(scopes []string) string {
	return strings.Join(scopes, or(s.set.ScopeSeparator, " "))
}

// name adds the resource, for a server that wants to know it.
func (s *Server) name(q url.Values, resource string) {
	if on := s.set.AuthorizationResourceEnabled; on != nil && *on && resource != "" {
		q.Set(or(s.set.AuthorizationResourceParameter, "resource"), resource)
	}
}

func or(set *string, otherwise string) string {
	if set == nil || *set == "" {
		return otherwise
	}
	return *set
}

// Redeem exchanges the code of an authorization for tokens.
func (s *Server) Redeem(ctx context.Context, a Authorization, code string) (*Tokens, error) {
	f := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {a.Redirect}}
	if s.proves() {
		f.Set("code_verifier", a.Verifier)
	}
	s.name(f, a.Resource)
	return s.ask(ctx, f)
}

// Refresh exchanges a refresh token for new tokens. Where the answer has no
// refresh token, the one that was used goes on (RFC 6749 §6). It asks once:
// whether to ask again is for the caller, who knows who else does.
func (s *Server) Refresh(ctx context.Context, token deputy.Secret, resource string) (*Tokens, error) {
	f := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.Reveal()}}
	s.name(f, resource)
	t, err := s.ask(ctx, f)
	if err == nil && t.Refresh.IsZero() {
		t.Refresh = token
	}
	return t, err
}

// Apply asks for a token for Deputy itself (RFC 6749 §4.4).
func (s *Server) Apply(ctx context.Context, scopes []string, resource string) (*Tokens, error) {
	f := url.Values{"grant_type": {"client_credentials"}}
	if len(scopes) > 0 {
		f.Set("scope", s.join(scopes))
	}
	s.name(f, resource)
	return s.ask(ctx, f)
}

// Revoke revokes a token, if the server has a way to (RFC 7009).
func (s *Server) Revoke(ctx context.Context, token deputy.Secret, hint string) error {
	if s.revoke == "" {
		if err := s.discover(ctx); err != nil || s.revoke == "" {
			return ErrNoRevocation
		}
	}
	answer, err := s.post(ctx, s.revoke, url.Values{"token": {token.Reveal()}, "token_type_hint": {hint}})
	if err != nil {
		return &Fault{Transient: true, cause: err}
	}
	if answer.Status >= http.StatusBadRequest {
		return fault(answer)
	}
	return nil
}

// ErrNoRevocation says that a server offers no way to revoke tokens.
var ErrNoRevocation = errors.New("broker: the server has no revocation endpoint")

// ask asks the token endpoint and reads the tokens.
func (s *Server) ask(ctx context.Context, f url.Values) (*Tokens, error) {
	answer, err := s.post(ctx, s.token, f)
	if err != nil {
		return nil, &Fault{Transient: true, cause: err}
	}
	return s.read(answer, f.Get("grant_type") == "refresh_token")
}

// Ways for a client to authenticate (RFC 7591 §2).
const (
	inHeader = "client_secret_basic"
	inForm   = "client_secret_post"
)

// post sends a form as Deputy. A server that has not said how clients
// authenticate is tried by header first, which all must take (RFC 6749 §2.3.1),
// and by form when it refuses that without a word about the grant.
func (s *Server) post(ctx context.Context, address string, f url.Values) (*upstream.Response, error) {
	method := s.method()
	answer, err := s.send(ctx, address, f, method)
	if err != nil || s.methods != nil || method != inHeader || !refusesClient(answer) {
		return answer, err
	}
	again, err := s.send(ctx, address, f, inForm)
	if err == nil && !refusesClient(again) {
		revision := s.row.Revision
		s.broker.posting.Set(s.row.ID, &revision)
		return again, nil
	}
	return answer, nil
}

// method returns how Deputy authenticates.
func (s *Server) method() string {
	revision, posting := s.broker.posting.GetIfPresent(s.row.ID)
	switch {
	case s.secret.IsZero():
		return "none"
	case s.methods == nil && posting && *revision == s.row.Revision:
		return inForm
	case s.methods == nil || slices.Contains(s.methods, inHeader):
		return inHeader
	}
	return inForm
}

// callTimeout bounds a call that the context does not.
const callTimeout = 30 * time.Second

func (s *Server) send(ctx context.Context, address string, f url.Values, method string) (*upstream.Response, error) {
	form, h := url.Values{}, http.Header{}
	for name, values := range f {
		form[name] = values
	}
	h.Set("Content-Type", "application/x-www-form-urlencoded")
	h.Set("Accept", "application/json") // some answer with a form otherwise
	switch method {
	case inHeader:
		pair := url.QueryEscape(*s.row.ClientID) + ":" + url.QueryEscape(s.secret.Reveal()) // RFC 6749 §2.3.1
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	case inForm:
		form.Set("client_secret", s.secret.Reveal())
		form.Set("client_id", *s.row.ClientID)
	default:
		form.Set("client_id", *s.row.ClientID)
	}
	return s.broker.fetcher.Do(ctx, upstream.Request{
		Zone: s.zone, Method: http.MethodPost, URL: address, Header: h, Body: []byte(form.Encode()), Timeout: callTimeout,
	})
}
