package deputytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Provider is an OpenID provider of somebody else's: it signs in whom it is
// told to, without asking, and does what a test tells it to do wrong.
type Provider struct {
	*httptest.Server
	Now func() time.Time

	mu sync.Mutex
	// What it does. Claims are added to those of an ID token, and win.
	claims  map[string]any
	answer  url.Values // in place of a code
	key     *ecdsa.PrivateKey
	kid     string
	pending map[string]url.Values // authorization requests, by code
	last    url.Values
	posts   int
}

// ClientID and ClientSecret are those of the provider's only client.
const (
	ProviderClientID     = "deputy at the provider"
	ProviderClientSecret = "a secret: with / everything%"
)

// NewProvider starts a provider, which ends with the test.
func NewProvider(t testing.TB, now func() time.Time) *Provider {
	p := &Provider{Now: now, pending: make(map[string]url.Values)}
	p.RotateKey()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /jwks", p.jwks)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

// Says sets claims of the ID tokens to come: sub and email above all, or
// whatever is to be wrong with them.
func (p *Provider) Says(claims map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.claims = maps.Clone(claims)
}

// Answers makes the provider answer with these parameters in place of a code.
func (p *Provider) Answers(with url.Values) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = with
}

// Asked returns the last authorization request.
func (p *Provider) Asked() url.Values {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// Redeemed returns how many token requests there were.
func (p *Provider) Redeemed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.posts
}

// RotateKey signs with a new key from now on, and publishes that one only.
func (p *Provider) RotateKey() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.key, p.kid = key, rand.Text()
}

func (p *Provider) discovery(w http.ResponseWriter, _ *http.Request) {
	write(w, map[string]any{
		"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize?tenant=one", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/jwks",
		"response_types_supported": []string{"code"}, "authorization_response_iss_parameter_supported": true,
	})
}

func (p *Provider) jwks(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	write(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.key.Public(), KeyID: p.kid, Algorithm: "ES256", Use: "sig"}}})
}

func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := r.URL.Query()
	p.last = q
	code := rand.Text()
	p.pending[code] = q
	answer := url.Values{"code": {code}, "iss": {p.URL}}
	if p.answer != nil {
		answer = maps.Clone(p.answer)
	}
	answer.Set("state", q.Get("state"))
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+answer.Encode(), http.StatusFound)
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.posts++
	id, secret, _ := r.BasicAuth()
	id, _ = url.QueryUnescape(id)
	secret, _ = url.QueryUnescape(secret)
	q, known := p.pending[r.PostFormValue("code")]
	delete(p.pending, r.PostFormValue("code"))
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if id != ProviderClientID || secret != ProviderClientSecret || !known || r.PostFormValue("redirect_uri") != q.Get("redirect_uri") ||
		base64.RawURLEncoding.EncodeToString(sum[:]) != q.Get("code_challenge") {
		w.WriteHeader(http.StatusBadRequest)
		write(w, map[string]any{"error": "invalid_grant"})
		return
	}
	now := p.Now()
	claims := map[string]any{
		"iss": p.URL, "aud": ProviderClientID, "sub": "somebody", "nonce": q.Get("nonce"),
		"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "auth_time": now.Unix(),
	}
	maps.Copy(claims, p.claims)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.key, KeyID: p.kid}}, nil)
	if err != nil {
		panic(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		panic(err)
	}
	write(w, map[string]any{"access_token": "opaque", "token_type": "Bearer", "id_token": token})
}

func write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		panic(err)
	}
}
