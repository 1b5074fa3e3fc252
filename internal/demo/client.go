package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// A Client is an OAuth client with a secret: it asks a token endpoint.
type Client struct {
	ID       string
	Secret   string
	TokenURL string // the token endpoint
	HTTP     *http.Client
}

// A Grant is what a token endpoint gave.
type Grant struct {
	Token     string
	Scopes    []string // may be fewer than asked for
	ExpiresIn int64    // seconds
}

// A Refusal is an answer that says no: of a token endpoint (RFC 6749 §5.2), or
// a resource server's challenge (RFC 6750 §3).
type Refusal struct {
	From        string `json:"from"` // the address that refused
	Status      int    `json:"status"`
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
	URI         string `json:"error_uri,omitempty"` // where a person can do something about it
}

// Error returns the code and its description.
func (r *Refusal) Error() string {
	if r.Description == "" {
		return r.Code
	}
	return r.Code + ": " + r.Description
}

// Credentials asks for a token of the client's own for a resource (RFC 6749
// §4.4, RFC 8707 §2). A refusal is a *Refusal.
func (c Client) Credentials(ctx context.Context, resource string, scopes ...string) (*Grant, error) {
	return c.ask(ctx, url.Values{"resource": {resource}}, scopes)
}

// Exchange asks for a token for another resource on behalf of a token's subject
// (RFC 8693 §2.1). A refusal is a *Refusal.
func (c Client) Exchange(ctx context.Context, subjectToken, resource string, scopes ...string) (*Grant, error) {
	return c.ask(ctx, url.Values{
		"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":      {subjectToken},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		"resource":           {resource},
	}, scopes)
}

// Redeem exchanges the code that a person's sign-in has ended with (RFC 6749
// §4.1.3, RFC 7636 §4.5). A refusal is a *Refusal.
func (c Client) Redeem(ctx context.Context, code, redirectURI, verifier string) (*Grant, error) {
	return c.ask(ctx, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI}, "code_verifier": {verifier},
	}, nil)
}

// ask sends one token request. The oauth2 package's client credentials carry
// any parameters, another grant type included.
func (c Client) ask(ctx context.Context, parameters url.Values, scopes []string) (*Grant, error) {
	config := clientcredentials.Config{
		ClientID: c.ID, ClientSecret: c.Secret, TokenURL: c.TokenURL, AuthStyle: oauth2.AuthStyleInHeader,
		EndpointParams: parameters, Scopes: scopes,
	}
	token, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, c.HTTP))
	var refused *oauth2.RetrieveError
	switch {
	case errors.As(err, &refused) && refused.ErrorCode != "":
		return nil, &Refusal{From: c.TokenURL, Status: refused.Response.StatusCode, Code: refused.ErrorCode, Description: refused.ErrorDescription, URI: refused.ErrorURI}
	case errors.As(err, &refused):
		return nil, fmt.Errorf("%s answered %s", c.TokenURL, refused.Response.Status)
	case err != nil:
		return nil, err
	case !strings.EqualFold(token.TokenType, "Bearer"):
		return nil, fmt.Errorf("%s gave a token of type %q", c.TokenURL, token.TokenType)
	}
	scope, _ := token.Extra("scope").(string)
	return &Grant{Token: token.AccessToken, Scopes: strings.Fields(scope), ExpiresIn: expiresIn(token)}, nil
}

// expiresIn returns the lifetime as the token endpoint stated it.
func expiresIn(token *oauth2.Token) int64 {
	seconds, _ := token.Extra("expires_in").(float64)
	return int64(seconds)
}
