package oauth

import (
	"net/http"
	"strconv"

	"deputy/internal/deputy"
)

// Paths below an issuer.
const (
	pathToken     = "/oauth/2/token"
	pathAuthorize = "/oauth/2/authorize"
	pathJWKS      = "/openidconnect/jwks"
)

// wellKnown are the names of the metadata document: RFC 8414 §3 and OpenID
// Connect Discovery 1.0 §4.
var wellKnown = [...]string{"oauth-authorization-server", "openid-configuration"}

// document is an answer that is the same for everybody, ready to be sent.
type document struct {
	body   []byte
	length []string // Content-Length
}

func newDocument(body []byte) *document {
	return &document{body: body, length: []string{strconv.Itoa(len(body))}}
}

// publicly is how long others may keep the documents.
var publicly = []string{"public, max-age=300"}

// serve sends the document to anybody, from any origin.
func (d *document) serve(w http.ResponseWriter) {
	h := w.Header()
	h["Content-Type"], h["Content-Length"], h["Cache-Control"] = jsonType, d.length, publicly
	h["Access-Control-Allow-Origin"] = anyone
	_, _ = w.Write(d.body)
}

// metadata returns the zone's metadata document. It tells what exists and
// nothing else, but for the members that parsers of either standard demand:
// see docs/spec-notes.md.
func metadata(_ *deputy.Zone, issuer string) []byte {
	b := append(make([]byte, 0, 1024), '{')
	b = appendMember(b, "issuer", issuer)
	b = appendMember(b, "authorization_endpoint", issuer+pathAuthorize)
	b = appendMember(b, "token_endpoint", issuer+pathToken)
	b = appendMember(b, "jwks_uri", issuer+pathJWKS)
	for _, list := range []struct {
		name   string
		values []string
	}{
		{"response_types_supported", []string{"code"}},
		{"response_modes_supported", []string{"query"}},
		{"grant_types_supported", []string{clientCredentials, tokenExchange}},
		{"code_challenge_methods_supported", []string{"S256"}},
		{"token_endpoint_auth_methods_supported", []string{"client_secret_basic", "client_secret_post"}},
		{"subject_types_supported", []string{"public"}},
		{"id_token_signing_alg_values_supported", []string{string(deputy.RS256)}},
	} {
		b = appendName(b, list.name)
		for i, v := range list.values {
			b = appendQuoted(append(b, "[,"[min(i, 1)]), v)
		}
		b = append(b, ']')
	}
	for _, flag := range []struct {
		name  string
		value bool
	}{
		{"request_parameter_supported", false},
		{"request_uri_parameter_supported", false},
		{"claims_parameter_supported", false},
		{"require_pushed_authorization_requests", false},
		{"resource_indicators_supported", true},
	} {
		b = strconv.AppendBool(appendName(b, flag.name), flag.value)
	}
	return append(b, '}')
}
