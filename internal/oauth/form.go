package oauth

import (
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"deputy/internal/deputy"
)

// maxForm is the most bytes that a request's body may have.
const maxForm = 256 << 10

// usualForm is what nearly all bodies fit into, and forms the memory to read
// those.
const usualForm = 4 << 10

var forms = sync.Pool{New: func() any { return new([usualForm]byte) }}

// maxTargets bounds how often resource and audience may be repeated.
const maxTargets = 64

// tokenRequest is the form of a token request, parsed once: no grant sees the
// raw form. An empty member was absent or empty, which is the same (RFC 6749
// §3.2).
type tokenRequest struct {
	grantType           string
	clientID            string
	clientSecret        deputy.Secret
	clientAssertion     string
	clientAssertionType string

	resource []string // RFC 8707 §2
	audience []string // RFC 8693 §2.1
	scope    string

	subjectToken       string
	subjectTokenType   string
	actorToken         string
	actorTokenType     string
	requestedTokenType string

	code         deputy.Secret // RFC 6749 §4.1.3
	redirectURI  string
	codeVerifier deputy.Secret // RFC 7636 §4.5
	refreshToken deputy.Secret // RFC 6749 §6
}

var (
	errRepeated = refuse(codeInvalidRequest, "A parameter other than resource and audience is given more than once.")
	errEncoding = refuse(codeInvalidRequest, "The form is not properly encoded.")
	errTooLarge = refuse(codeInvalidRequest, "The request body is larger than 256 KiB.")
	errNotForm  = refuse(codeInvalidRequest, "The content type must be application/x-www-form-urlencoded.")
)

// readForm returns the body of r, which must say that it is a form.
func readForm(r *http.Request) (string, error) {
	if !isForm(r.Header["Content-Type"]) {
		return "", errNotForm
	}
	if r.ContentLength > maxForm {
		return "", errTooLarge
	}
	if n := r.ContentLength; n >= 0 {
		usual := forms.Get().(*[usualForm]byte)
		defer forms.Put(usual)
		defer clear(usual[:]) // of secrets
		b := usual[:min(n, usualForm)]
		if n > usualForm {
			b = make([]byte, n)
		}
		if _, err := io.ReadFull(r.Body, b); err != nil {
			return "", refuse(codeInvalidRequest, "The request body is incomplete.").because(err)
		}
		return string(b), nil
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, maxForm+1))
	switch {
	case err != nil:
		return "", refuse(codeInvalidRequest, "The request body is incomplete.").because(err)
	case len(b) > maxForm:
		return "", errTooLarge
	}
	return string(b), nil
}

func isForm(contentType []string) bool {
	if len(contentType) != 1 {
		return false
	}
	if contentType[0] == formType {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType[0])
	return err == nil && media == formType
}

// parseForm parses the body of a token request. Parameters that it does not
// know are ignored (RFC 6749 §3.2), so that newer clients work.
func parseForm(body string) (*tokenRequest, error) {
	f := new(tokenRequest)
	for body != "" {
		var pair string
		pair, body, _ = strings.Cut(body, "&")
		rawName, rawValue, _ := strings.Cut(pair, "=")
		if rawValue == "" {
			continue
		}
		name, ok := unescape(rawName)
		if !ok {
			return nil, errEncoding
		}
		if !f.knows(name) {
			continue
		}
		value, ok := unescape(rawValue)
		if !ok {
			return nil, errEncoding
		}
		if err := f.set(name, value); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// knows reports whether name is a parameter that set takes.
func (f *tokenRequest) knows(name string) bool {
	switch name {
	case "resource", "audience":
		return true
	}
	return f.secret(name) != nil || f.text(name) != nil
}

// text returns where the parameter called name is kept, nil if it is not one
// that is kept as it is.
func (f *tokenRequest) text(name string) *string {
	switch name {
	case "grant_type":
		return &f.grantType
	case "client_id":
		return &f.clientID
	case "client_assertion":
		return &f.clientAssertion
	case "client_assertion_type":
		return &f.clientAssertionType
	case "scope":
		return &f.scope
	case "subject_token":
		return &f.subjectToken
	case "subject_token_type":
		return &f.subjectTokenType
	case "actor_token":
		return &f.actorToken
	case "actor_token_type":
		return &f.actorTokenType
	case "requested_token_type":
		return &f.requestedTokenType
	case "redirect_uri":
		return &f.redirectURI
	}
	return nil
}

// secret returns where the secret called name is kept, nil if it is none.
func (f *tokenRequest) secret(name string) *deputy.Secret {
	switch name {
	case "client_secret":
		return &f.clientSecret
	case "code":
		return &f.code
	case "code_verifier":
		return &f.codeVerifier
	case "refresh_token":
		return &f.refreshToken
	}
	return nil
}

// set keeps the value of a known parameter.
func (f *tokenRequest) set(name, value string) error {
	switch name {
	case "resource":
		return appendTarget(&f.resource, value)
	case "audience":
		return appendTarget(&f.audience, value)
	}
	if secret := f.secret(name); secret != nil {
		if !secret.IsZero() {
			return errRepeated
		}
		*secret = deputy.Conceal(value)
		return nil
	}
	place := f.text(name)
	if *place != "" {
		return errRepeated
	}
	*place = value
	return nil
}

func appendTarget(targets *[]string, value string) error {
	if len(*targets) == maxTargets {
		return refuse(codeInvalidRequest, "Too many resources are given.")
	}
	*targets = append(*targets, value)
	return nil
}

// unescape decodes a form value (application/x-www-form-urlencoded). ok is
// false when an escape is broken or the result is not UTF-8 (RFC 6749
// appendix B).
func unescape(s string) (decoded string, ok bool) {
	plain := true
	for i := range len(s) {
		if c := s[i]; c == '%' || c == '+' || c >= utf8.RuneSelf {
			plain = false
			break
		}
	}
	if plain {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '+':
			b = append(b, ' ')
		case '%':
			if i+2 >= len(s) {
				return "", false
			}
			hi, lo := unhex(s[i+1]), unhex(s[i+2])
			if hi > 15 || lo > 15 {
				return "", false
			}
			b = append(b, hi<<4|lo)
			i += 2
		default:
			b = append(b, c)
		}
	}
	return string(b), utf8.Valid(b)
}

// unhex returns the value of a hexadecimal digit, or 16.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}

// scopes splits a scope parameter (RFC 6749 §3.3), each scope once, in order.
func scopes(param string) ([]string, error) {
	if param == "" {
		return nil, nil
	}
	var kept []string
	for s := range strings.SplitSeq(param, " ") {
		switch {
		case s == "" || slices.Contains(kept, s):
			continue
		case !deputy.ValidScope(s):
			return nil, refuse(codeInvalidScope, "A scope is malformed.")
		case len(kept) == maxScopes:
			return nil, refuse(codeInvalidScope, "More than %d scopes are requested.", maxScopes)
		}
		kept = append(kept, s)
	}
	return kept, nil
}

// maxScopes bounds the decisions that one request can ask for.
const maxScopes = 256
