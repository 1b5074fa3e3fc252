package broker

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json"

	"deputy/internal/deputy"
	"deputy/internal/upstream"
)

// CanRegister reports whether the server takes new clients.
func (s *Server) CanRegister() bool { return s.register != "" }

// registration is what Deputy says of itself, and what a server makes of it
// (RFC 7591 §2, §3.2.1).
type registration struct {
	ClientID      string   `json:"client_id,omitzero"`
	ClientSecret  string   `json:"client_secret,omitzero"`
	ClientName    string   `json:"client_name,omitzero"`
	RedirectURIs  []string `json:"redirect_uris,omitempty"`
	GrantTypes    []string `json:"grant_types,omitempty"`
	ResponseTypes []string `json:"response_types,omitempty"`
	AuthMethod    string   `json:"token_endpoint_auth_method,omitzero"`
}

// Register makes Deputy a client of the server, under a name, whose answers go
// to redirect. A client without a secret proves itself by PKCE alone.
func (s *Server) Register(ctx context.Context, name, redirect string) (clientID string, secret deputy.Secret, err error) {
	body, err := json.Marshal(registration{
		ClientName: name, RedirectURIs: []string{redirect}, GrantTypes: []string{"authorization_code", "refresh_token"},
		ResponseTypes: []string{"code"}, AuthMethod: s.registered(),
	})
	if err != nil {
		return "", secret, err
	}
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("Accept", "application/json")
	answer, err := s.broker.fetcher.Do(ctx, upstream.Request{
		Zone: s.zone, Method: http.MethodPost, URL: s.register, Header: h, Body: body, Timeout: callTimeout,
	})
	if err != nil {
		return "", secret, &Fault{Transient: true, cause: err}
	}
	if f := fault(answer); f != nil {
		return "", secret, f
	}
	var made registration
	if err := json.Unmarshal(answer.Body, &made); err != nil || made.ClientID == "" {
		return "", secret, &Fault{Status: answer.Status, cause: errors.New("the registration has no client_id")}
	}
	return made.ClientID, deputy.Conceal(made.ClientSecret), nil
}

// registered returns how Deputy asks to authenticate: as it would anyway.
func (s *Server) registered() string {
	for _, method := range []string{inHeader, inForm, "none"} {
		if s.methods == nil || slices.Contains(s.methods, method) {
			return method
		}
	}
	return inHeader
}
