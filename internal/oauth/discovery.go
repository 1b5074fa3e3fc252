package oauth

import (
	"net/http"
	"slices"
	"strconv"

	"deputy/internal/deputy"
)

// Paths below an issuer.
const (
	pathToken        = "/oauth/2/token"
	pathAuthorize    = "/oauth/2/authorize"
	pathPush         = "/oauth/2/par"
	pathIntrospect   = "/oauth/2/introspect"
	pathRevoke       = "/oauth/2/revoke"
	pathUserInfo     = "/openid/connect/userinfo"
	pathLogout       = "/openid/connect/logout"
	pathJWKS         = "/openidconnect/jwks"
	pathRegistration = "/oauth/2/registration"
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

// metadata returns the zone's metadata document: what exists, and nothing else.
func metadata(z *deputy.Zone, issuer string) []byte {
	b := append(make([]byte, 0, 2048), '{')
	b = appendMember(b, "issuer", issuer)
	for _, at := range []struct{ name, path string }{
		{"authorization_endpoint", pathAuthorize},
		{"token_endpoint", pathToken},
		{"jwks_uri", pathJWKS},
		{"userinfo_endpoint", pathUserInfo},
		{"revocation_endpoint", pathRevoke},
		{"introspection_endpoint", pathIntrospect},
		{"pushed_authorization_request_endpoint", pathPush},
		{"end_session_endpoint", pathLogout},
	} {
		b = appendMember(b, at.name, issuer+at.path)
	}
	if z.DCREnabled {
		b = appendMember(b, "registration_endpoint", issuer+pathRegistration)
	}
	confidential := []string{methodBasic, methodPost, methodKeys}
	public := append(slices.Clone(confidential), methodNone)
	for _, list := range []struct {
		name   string
		values []string
	}{
		{"response_types_supported", []string{"code"}},
		{"response_modes_supported", []string{"query"}},
		{"grant_types_supported", []string{authorizationCode, refreshToken, clientCredentials, tokenExchange}},
		{"code_challenge_methods_supported", []string{"S256"}},
		{"token_endpoint_auth_methods_supported", public},
		{"revocation_endpoint_auth_methods_supported", public},
		{"introspection_endpoint_auth_methods_supported", confidential},
		{"token_endpoint_auth_signing_alg_values_supported", outsideNames},
		{"revocation_endpoint_auth_signing_alg_values_supported", outsideNames},
		{"introspection_endpoint_auth_signing_alg_values_supported", outsideNames},
		{"subject_types_supported", []string{"public"}},
		{"id_token_signing_alg_values_supported", []string{string(deputy.RS256)}},
		{"scopes_supported", openIDScopes},
		{"claims_supported", []string{
			"sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "sid", "email", "email_verified", "preferred_username", "updated_at",
		}},
		{"prompt_values_supported", []string{promptNone, promptLogin, promptConsent, promptSelect}},
	} {
		for i, v := range list.values {
			if i == 0 {
				b = append(appendName(b, list.name), '[')
			} else {
				b = append(b, ',')
			}
			b = appendQuoted(b, v)
		}
		b = append(b, ']')
	}
	for _, flag := range []struct {
		name  string
		value bool
	}{
		{"authorization_response_iss_parameter_supported", true},
		{"client_id_metadata_document_supported", z.CIMDEnabled},
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
