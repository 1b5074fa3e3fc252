package oauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"hash"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// outsideKey is a key pair of somebody else's.
type outsideKey struct {
	kid, alg string
	private  crypto.Signer
}

// jwk returns the public key as it is published.
func (k *outsideKey) jwk() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.private.Public(), KeyID: k.kid, Algorithm: k.alg, Use: "sig"}
}

// sign returns a compact JWS with exactly this header and these claims.
func (k *outsideKey) sign(header, claims map[string]any) string {
	return jws(header, claims, func(input []byte) []byte { return k.signature(header["alg"].(string), input) })
}

// token returns a JWS with the header that is usual.
func (k *outsideKey) token(claims map[string]any) string {
	return k.sign(map[string]any{"alg": k.alg, "kid": k.kid}, claims)
}

// signature signs input as the algorithm says, whatever the key was made for.
func (k *outsideKey) signature(alg string, input []byte) []byte {
	newHash, id := map[string]func() hash.Hash{"256": sha256.New, "384": sha512.New384, "512": sha512.New}[alg[max(0, len(alg)-3):]], crypto.Hash(0)
	switch alg[max(0, len(alg)-3):] {
	case "256":
		id = crypto.SHA256
	case "384":
		id = crypto.SHA384
	case "512":
		id = crypto.SHA512
	}
	var digest []byte
	if newHash != nil {
		h := newHash()
		h.Write(input)
		digest = h.Sum(nil)
	}
	switch private := k.private.(type) {
	case *rsa.PrivateKey:
		if alg[:2] == "PS" {
			return must(rsa.SignPSS(rand.Reader, private, id, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}))
		}
		return must(rsa.SignPKCS1v15(rand.Reader, private, id, digest))
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, private, digest)
		if err != nil {
			panic(err)
		}
		size := (private.Curve.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	case ed25519.PrivateKey:
		return ed25519.Sign(private, input)
	}
	panic("unknown key")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// jws joins a compact JWS. A header or claims that are texts are taken as they
// are.
func jws(header, claims any, sign func(input []byte) []byte) string {
	part := func(v any) string {
		text, ok := v.(string)
		if !ok {
			text = string(must(json.Marshal(v)))
		}
		return base64.RawURLEncoding.EncodeToString([]byte(text))
	}
	input := part(header) + "." + part(claims)
	return input + "." + base64.RawURLEncoding.EncodeToString(sign([]byte(input)))
}

// hs256 signs with a shared secret.
func hs256(secret []byte) func([]byte) []byte {
	return func(input []byte) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write(input)
		return mac.Sum(nil)
	}
}

// Key pairs that tests share, because RSA ones take long to make.
var (
	rsaKey   = sync.OnceValue(func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	shortKey = sync.OnceValue(func() crypto.Signer {
		testing.Init()
		return must(rsa.GenerateKey(rand.Reader, 1024))
	})
)

// newOutsideKey makes a key pair for the algorithm.
func newOutsideKey(kid, alg string) *outsideKey {
	k := &outsideKey{kid: kid, alg: alg}
	switch alg {
	case "ES256":
		k.private = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	case "ES384":
		k.private = must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	case "EdDSA":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		k.private = must(private, err)
	default:
		k.private = rsaKey()
	}
	return k
}

// publisher is a site of somebody else's that publishes documents, and counts how
// often each is asked for.
type publisher struct {
	*httptest.Server
	mu      sync.Mutex
	content map[string]any
	asked   map[string]int
}

func newPublisher(t testing.TB) *publisher {
	p := &publisher{content: make(map[string]any), asked: make(map[string]int)}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	return p
}

func (p *publisher) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[r.URL.Path]++
	content, ok := p.content[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if text, ok := content.(string); ok {
		w.Write([]byte(text))
		return
	}
	json.NewEncoder(w).Encode(content)
}

// put publishes a document at a path, or with nil takes it away.
func (p *publisher) put(path string, content any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.content[path] = content
	if content == nil {
		delete(p.content, path)
	}
}

// publish publishes keys at /jwks.json.
func (p *publisher) publish(keys ...*outsideKey) {
	set := jose.JSONWebKeySet{}
	for _, k := range keys {
		set.Keys = append(set.Keys, k.jwk())
	}
	p.put("/jwks.json", set)
}

// fetched returns how often a path was asked for.
func (p *publisher) fetched(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[path]
}

// with returns claims with some changed; nil takes one away.
func with(claims map[string]any, pairs ...any) map[string]any {
	out := maps.Clone(claims)
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i].(string)] = pairs[i+1]
		if pairs[i+1] == nil {
			delete(out, pairs[i].(string))
		}
	}
	return out
}
