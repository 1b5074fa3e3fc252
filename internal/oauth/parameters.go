package oauth

import (
	"slices"
	"strconv"
	"strings"
)

// parameters are those of an authorization request, each name once except
// resource. Empty ones count as absent (RFC 6749 §3.1).
type parameters struct {
	values   map[string]string
	resource []string
	repeated []string // names of which there is more than one
}

// maxQuery bounds what an authorization request may say.
const maxQuery = 64 << 10

// parseParameters reads parameters in form encoding. A second question mark
// counts as an ampersand: clients that append their query to an endpoint which
// has one already write it.
func parseParameters(raw string) (*parameters, error) {
	if len(raw) > maxQuery {
		return nil, refuse(codeInvalidRequest, "The request is too long.")
	}
	p := &parameters{values: make(map[string]string)}
	for pair := range strings.FieldsFuncSeq(raw, func(r rune) bool { return r == '&' || r == '?' }) {
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, okName := unescape(rawName)
		value, okValue := unescape(rawValue)
		if !okName || !okValue {
			return nil, refuse(codeInvalidRequest, "The request is not properly encoded.")
		}
		if value == "" {
			continue
		}
		if err := p.add(name, value); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *parameters) add(name, value string) error {
	if name == "resource" {
		return appendTarget(&p.resource, value)
	}
	if _, there := p.values[name]; there {
		p.repeated = append(p.repeated, name)
		return nil
	}
	p.values[name] = value
	return nil
}

// once returns a parameter that decides where an answer may go, and must not be
// there twice.
func (p *parameters) once(name string) (string, error) {
	if slices.Contains(p.repeated, name) {
		return "", refuse(codeInvalidRequest, "The parameter %s is given more than once.", name)
	}
	return p.values[name], nil
}

// authorizationRequest is a request that was checked: what a login transaction,
// a pushed request and a code carry on.
type authorizationRequest struct {
	ClientID string `json:"client_id,omitzero"`
	// RedirectURI is where the answer goes; Redirect says that the request named
	// it, so that the token request must as well (RFC 6749 §4.1.3).
	RedirectURI string `json:"redirect_uri,omitzero"`
	Redirect    bool   `json:"redirect,omitzero"`
	State       string `json:"state,omitzero"`
	Nonce       string `json:"nonce,omitzero"`
	Challenge   string `json:"code_challenge,omitzero"` // S256 (RFC 7636 §4.2)

	Resources []string `json:"resources,omitempty"` // as written; the first is the audience
	Scopes    []string `json:"scopes,omitempty"`    // of resources
	OpenID    []string `json:"openid,omitempty"`    // of OpenID Connect

	Prompt    []string `json:"prompt,omitempty"`
	MaxAge    *int64   `json:"max_age,omitzero"` // seconds
	LoginHint string   `json:"login_hint,omitzero"`
	UILocales string   `json:"ui_locales,omitzero"`
	// Hinted is the subject of the ID token that was given as a hint.
	Hinted string `json:"hinted,omitzero"`
}

// Prompts (OpenID Connect Core 1.0 §3.1.2.1).
const (
	promptNone    = "none"
	promptLogin   = "login"
	promptConsent = "consent"
	promptSelect  = "select_account"
)

// prompts reports whether the request asks for a prompt.
func (r *authorizationRequest) prompts(prompt string) bool { return slices.Contains(r.Prompt, prompt) }

// read takes over the parameters that need no look at the zone, in the order of
// the checks.
func (r *authorizationRequest) read(p *parameters) error {
	if len(p.repeated) > 0 {
		return refuse(codeInvalidRequest, "The parameter %s is given more than once.", clip(p.repeated[0]))
	}
	switch kind := p.values["response_type"]; kind {
	case "code":
	case "":
		return refuse(codeInvalidRequest, "The parameter response_type is missing.")
	default:
		return refuse(codeUnsupportedResponseType, "The response type must be code.")
	}
	if mode := p.values["response_mode"]; mode != "" && mode != "query" {
		return refuse(codeInvalidRequest, "The response mode must be query.")
	}
	if p.values["request"] != "" {
		return refuse(codeRequestNotSupported, "Request objects are not supported.")
	}
	return nil
}

// readChallenge takes over the PKCE parameters (RFC 7636 §4.3). Only S256 is
// accepted: a plain challenge is no secret from whoever sees the request.
func (r *authorizationRequest) readChallenge(p *parameters, required bool) error {
	challenge, method := p.values["code_challenge"], p.values["code_challenge_method"]
	switch {
	case challenge == "" && method == "" && !required:
		return nil
	case challenge == "":
		return refuse(codeInvalidRequest, "The parameter code_challenge is missing.")
	case method != "S256":
		return refuse(codeInvalidRequest, "The code challenge method must be S256.")
	case !isChallenge(challenge):
		return refuse(codeInvalidRequest, "The code challenge is malformed.")
	}
	r.Challenge = challenge
	return nil
}

// isChallenge reports whether s has the form of a SHA-256 in base64url.
func isChallenge(s string) bool {
	return len(s) == 43 && !strings.ContainsFunc(s, func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_')
	})
}

// readScopes takes over the scopes, apart from each other: those of OpenID
// Connect are granted outside of policy.
func (r *authorizationRequest) readScopes(p *parameters) error {
	all, err := scopes(p.values["scope"])
	if err != nil {
		return err
	}
	for _, scope := range all {
		if slices.Contains(openIDScopes, scope) {
			r.OpenID = append(r.OpenID, scope)
		} else {
			r.Scopes = append(r.Scopes, scope)
		}
	}
	return nil
}

// maxKept bounds the texts that go back to the client as they came.
const maxKept = 4096

// readPrompts takes over what says how the person is to be treated.
func (r *authorizationRequest) readPrompts(p *parameters) error {
	for prompt := range strings.FieldsSeq(p.values["prompt"]) {
		switch prompt {
		case promptNone, promptLogin, promptConsent, promptSelect:
			r.Prompt = append(r.Prompt, prompt)
		default:
			return refuse(codeInvalidRequest, "The prompt is not supported.")
		}
	}
	if r.prompts(promptNone) && len(r.Prompt) > 1 {
		return refuse(codeInvalidRequest, "The prompt none cannot be combined with others.")
	}
	if text := p.values["max_age"]; text != "" {
		seconds, err := strconv.ParseInt(text, 10, 32)
		if err != nil || seconds < 0 {
			return refuse(codeInvalidRequest, "The parameter max_age must be a number of seconds.")
		}
		r.MaxAge = &seconds
	}
	if len(p.values["nonce"]) > maxKept {
		return refuse(codeInvalidRequest, "The nonce is too long.")
	}
	r.Nonce, r.LoginHint, r.UILocales = p.values["nonce"], clip(p.values["login_hint"]), clip(p.values["ui_locales"])
	return nil
}
