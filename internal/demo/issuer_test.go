package demo_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/go-json-experiment/json"
)

// An issuer is an authorization server for these tests: path-form issuer, two
// keys, client credentials and token exchange for known clients. What it grants
// is decided by the test through refuse and narrow.
type issuer struct {
	URL     string // the issuer
	alg     jose.SignatureAlgorithm
	keys    map[jose.SignatureAlgorithm]any
	secrets map[string]string
	fetches atomic.Int64 // of the key set
	jwks    func() any   // the key set to publish
	meta    func(m map[string]any)
	refuse  func(r *http.Request) (code, description string)
	narrow  func(scope string) string
}

const zonePath = "/z/01jd0000000000000000000000"

func newIssuer(t *testing.T, alg jose.SignatureAlgorithm) *issuer {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	is := &issuer{
		alg:     alg,
		keys:    map[jose.SignatureAlgorithm]any{jose.ES256: ec, jose.RS256: rs},
		secrets: map[string]string{"agent": "agent-secret", "mcp": "mcp-secret"},
		refuse:  func(*http.Request) (string, string) { return "", "" },
		narrow:  func(scope string) string { return scope },
		meta:    func(map[string]any) {},
	}
	is.jwks = func() any {
		return map[string]any{"keys": []any{
			map[string]any{"kty": "NEW", "kid": "from-the-future"}, // to be passed over
			jose.JSONWebKey{Key: ec.Public(), KeyID: "ES256", Algorithm: "ES256", Use: "sig"},
			jose.JSONWebKey{Key: rs.Public(), KeyID: "RS256", Algorithm: "RS256", Use: "sig"},
		}}
	}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	is.URL = server.URL + zonePath
	mux.HandleFunc("GET /.well-known/oauth-authorization-server"+zonePath, func(w http.ResponseWriter, r *http.Request) {
		m := map[string]any{
			"issuer": is.URL, "token_endpoint": is.URL + "/oauth/2/token", "jwks_uri": is.URL + "/openidconnect/jwks",
			"authorization_endpoint": is.URL + "/oauth/2/authorize", "response_types_supported": []string{"code"},
			"code_challenge_methods_supported": []string{"S256"},
		}
		is.meta(m)
		writeJSON(w, 200, m)
	})
	mux.HandleFunc("GET "+zonePath+"/openidconnect/jwks", func(w http.ResponseWriter, r *http.Request) {
		is.fetches.Add(1)
		writeJSON(w, 200, is.jwks())
	})
	mux.HandleFunc("POST "+zonePath+"/oauth/2/token", is.token)
	return is
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(b)
}

func (is *issuer) token(w http.ResponseWriter, r *http.Request) {
	no := func(status int, code, description string) {
		writeJSON(w, status, map[string]string{"error": code, "error_description": description, "requestId": "r1"})
	}
	id, secret, _ := r.BasicAuth()
	if want, ok := is.secrets[id]; !ok || secret != want {
		no(401, "invalid_client", "Client authentication failed.")
		return
	}
	if err := r.ParseForm(); err != nil {
		no(400, "invalid_request", "bad form")
		return
	}
	if code, description := is.refuse(r); code != "" {
		no(400, code, description)
		return
	}
	claims := map[string]any{"sub": id, "client_id": id, "aud": r.PostForm.Get("resource")}
	if r.PostForm.Get("grant_type") == "urn:ietf:params:oauth:grant-type:token-exchange" {
		parsed, err := jwt.ParseSigned(r.PostForm.Get("subject_token"), []jose.SignatureAlgorithm{is.alg})
		if err != nil {
			no(400, "invalid_request", "not a token")
			return
		}
		var subject jwt.Claims
		if err := parsed.Claims(public(is.keys[is.alg]), &subject); err != nil || r.PostForm.Get("subject_token_type") != "urn:ietf:params:oauth:token-type:access_token" {
			no(400, "invalid_grant", "not our token")
			return
		}
		claims["sub"] = subject.Subject
		claims["act"] = map[string]string{"sub": id, "client_id": id}
	}
	scope := is.narrow(r.PostForm.Get("scope"))
	claims["scope"] = scope
	writeJSON(w, 200, map[string]any{
		"access_token": is.sign(claims, nil), "token_type": "Bearer", "expires_in": 3600, "scope": scope,
		"issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
	})
}

func public(key any) any {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		return k.Public()
	case *rsa.PrivateKey:
		return k.Public()
	}
	panic("no such key")
}

// sign issues a token with sound claims, changed as asked; change may also
// replace header members.
func (is *issuer) sign(claims map[string]any, change func(header, claims map[string]any)) string {
	now := time.Now().Unix()
	all := map[string]any{"iss": is.URL, "iat": now, "exp": now + 3600, "jti": rand.Text()}
	for k, v := range claims {
		all[k] = v
	}
	header := map[string]any{"typ": "at+jwt", "kid": string(is.alg)}
	if change != nil {
		change(header, all)
	}
	opts := &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{}}
	for k, v := range header {
		opts.ExtraHeaders[jose.HeaderKey(k)] = v
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: is.alg, Key: is.keys[is.alg]}, opts)
	if err != nil {
		panic(err)
	}
	token, err := jwt.Signed(signer).Claims(all).Serialize()
	if err != nil {
		panic(err)
	}
	return token
}

// tampered returns the token with its last signature byte changed.
func tampered(token string) string {
	i := len(token) - 10
	c := "A"
	if strings.HasPrefix(token[i:], "A") {
		c = "B"
	}
	return token[:i] + c + token[i+1:]
}
