package oauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/maypok86/otter/v2"

	"deputy/internal/deputy"
	"deputy/internal/upstream"
)

// Tokens that somebody else has signed: assertions of clients, tokens of
// workloads, ID tokens of identity providers. Nothing in them is believed
// before one of the keys that their issuer publishes has verified them
// (RFC 7515, RFC 8725).

const (
	// maxOutside is the longest token of somebody else's that is looked at.
	maxOutside = 16 << 10
	// maxKeysets is how many key sets are kept parsed.
	maxKeysets = 1024
	// maxNamesakes is how many keys of one id are tried.
	maxNamesakes = 8
	// skew is how far the clocks of others may be off.
	skew = time.Minute
)

// Bounds of RSA keys: shorter ones can be broken, and longer ones only cost.
const (
	minRSA = 2048
	maxRSA = 8192
)

// outsideAlgorithms are those that clients and identity providers may sign with.
var outsideAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.PS256, jose.EdDSA}

// outsideNames are the algorithms as metadata documents write them.
var outsideNames = []string{string(jose.RS256), string(jose.ES256), string(jose.PS256), string(jose.EdDSA)}

// outsideTypes are the typ values of tokens of others, in lower case. A token
// of another kind that the same key has signed says something else.
var outsideTypes = []string{"", "jwt", "jose", "client-authentication+jwt"}

// workloadAlgorithms are those that the tokens of workloads may be signed with:
// who runs them chooses (JWT-SVID §3).
var workloadAlgorithms = slices.Concat(outsideAlgorithms, []jose.SignatureAlgorithm{
	jose.RS384, jose.RS512, jose.ES384, jose.ES512, jose.PS384, jose.PS512,
})

// outside is a token of somebody else's, read but not believed.
type outside struct {
	parsed   *jose.JSONWebSignature
	alg, kid string
	payload  []byte
}

// outsideHeader is what we look at of a JOSE header. Keys that it brings along
// or points to are passed over.
type outsideHeader struct {
	Alg  string         `json:"alg"`
	Kid  string         `json:"kid"`
	Typ  string         `json:"typ"`
	Crit jsontext.Value `json:"crit"`
	B64  jsontext.Value `json:"b64"`
}

// readOutside reads a compact JWS signed with one of the algorithms. Members
// given twice, in header or payload, are refused: two readers may take different
// ones.
func readOutside(token string, algorithms []jose.SignatureAlgorithm) (*outside, error) {
	if len(token) > maxOutside {
		return nil, fmt.Errorf("the token is longer than %d KiB", maxOutside>>10)
	}
	head, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil || strings.ContainsAny(token, " \r\n\t") {
		return nil, errors.New("the token is not a compact JWS")
	}
	var h outsideHeader
	if err := json.Unmarshal(text, &h); err != nil {
		return nil, fmt.Errorf("the token's header: %w", err)
	}
	switch {
	case h.Crit != nil || h.B64 != nil:
		return nil, errors.New("the token's header asks for extensions")
	case !slices.Contains(outsideTypes, strings.ToLower(h.Typ)):
		return nil, fmt.Errorf("the token is of the type %q", clip(h.Typ))
	case !slices.Contains(algorithms, jose.SignatureAlgorithm(h.Alg)):
		return nil, fmt.Errorf("the token's algorithm %q is not accepted", clip(h.Alg))
	}
	parsed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return nil, fmt.Errorf("the token is not a compact JWS: %w", err)
	}
	return &outside{parsed: parsed, alg: h.Alg, kid: h.Kid, payload: parsed.UnsafePayloadWithoutVerification()}, nil
}

// algorithm returns what the token is signed with.
func (t *outside) algorithm() jose.SignatureAlgorithm { return jose.SignatureAlgorithm(t.alg) }

// outsideClaims are the registered claims (RFC 7519 §4.1).
type outsideClaims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  audience `json:"aud"`
	Expires   *moment  `json:"exp"`
	NotBefore *moment  `json:"nbf"`
	IssuedAt  *moment  `json:"iat"`
	ID        string   `json:"jti"`
}

// claims reads the registered claims.
func (t *outside) claims() (*outsideClaims, error) {
	c := new(outsideClaims)
	if err := json.Unmarshal(t.payload, c); err != nil {
		return nil, fmt.Errorf("the token's claims: %w", err)
	}
	return c, nil
}

// moment is a NumericDate, which need not be whole (RFC 7519 §2).
type moment float64

// time returns the moment. What no clock will ever show is as far away as can be
// said.
func (m moment) time() time.Time {
	const farthest = 1 << 40
	seconds := math.Max(-farthest, math.Min(farthest, float64(m)))
	return time.Unix(int64(math.Floor(seconds)), 0)
}

// current refuses a token that is over, or not good yet. One without an end is
// never good.
func (c *outsideClaims) current(now time.Time) error {
	switch {
	case c.Expires == nil:
		return errors.New("the token has no exp")
	case !now.Before(c.Expires.time()):
		return errors.New("the token has expired")
	case c.NotBefore != nil && c.NotBefore.time().After(now.Add(skew)):
		return errors.New("the token is not good yet")
	case c.IssuedAt != nil && c.IssuedAt.time().After(now.Add(skew)):
		return errors.New("the token is from the future")
	}
	return nil
}

// keySource is where somebody's public keys are: at an address, or given.
type keySource struct {
	zone    deputy.ZoneID
	address string
	given   []byte // a JWK set; used where there is no address
}

// trusts returns nil when one of the source's keys has signed the token. A key that is
// not known yet is asked for once more, which the fetcher does once a minute:
// within that time unknown key ids cost nothing.
func (s *Server) trusts(ctx context.Context, from keySource, t *outside) error {
	if from.address == "" {
		return t.verify(outsideSet(from.given))
	}
	if s.fetcher == nil {
		return errors.New("no key set can be fetched here")
	}
	source := upstream.Source{Zone: from.zone, URL: from.address}
	d, err := s.fetcher.Get(ctx, source)
	if err != nil {
		return err
	}
	refused := t.verify(s.keysets.of(d))
	if refused == nil {
		return nil
	}
	again, err := s.fetcher.Refresh(ctx, source)
	if err != nil || again == d {
		return refused
	}
	return t.verify(s.keysets.of(again))
}

// verify returns nil when one of the keys has signed the token: those with its
// key id, or where it has none, the only one.
func (t *outside) verify(keys []jose.JSONWebKey) error {
	var named, fit []jose.JSONWebKey
	for _, k := range keys {
		if !fits(k, t.alg) {
			continue
		}
		fit = append(fit, k)
		if t.kid != "" && k.KeyID == t.kid {
			named = append(named, k)
		}
	}
	if len(named) == 0 && len(fit) == 1 && (t.kid == "" || fit[0].KeyID == "") {
		named = fit
	}
	if len(named) == 0 {
		return fmt.Errorf("no key of the issuer's has the id %q and the algorithm %s", clip(t.kid), t.alg)
	}
	for _, k := range named[:min(len(named), maxNamesakes)] {
		if _, err := t.parsed.Verify(k.Key); err == nil {
			return nil
		}
	}
	return errors.New("the token's signature is wrong")
}

// fits reports whether a key is one that verifies the algorithm: a key is for
// one kind of signature, whatever a token says (RFC 8725 §3.1).
func fits(k jose.JSONWebKey, alg string) bool {
	if k.Algorithm != "" && k.Algorithm != alg {
		return false
	}
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		bits := key.N.BitLen()
		return (alg[:2] == "RS" || alg[:2] == "PS") && minRSA <= bits && bits <= maxRSA
	case *ecdsa.PublicKey:
		return key.Curve == curves[alg]
	case ed25519.PublicKey:
		return alg == string(jose.EdDSA)
	}
	return false
}

// curves are those that the ECDSA algorithms are of (RFC 7518 §3.4).
var curves = map[string]elliptic.Curve{
	string(jose.ES256): elliptic.P256(), string(jose.ES384): elliptic.P384(), string(jose.ES512): elliptic.P521(),
}

// outsideSet reads the keys of a JWK set that can verify. One that cannot be
// read is passed over (RFC 7517 §5).
func outsideSet(body []byte) (out []jose.JSONWebKey) {
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if json.Unmarshal(body, &set) != nil {
		return nil
	}
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) == nil && k.Valid() && k.IsPublic() && k.Use != "enc" {
			out = append(out, k)
		}
	}
	return out
}

// keysets holds the keys of documents that were parsed before.
type keysets struct {
	parsed *otter.Cache[*upstream.Document, []jose.JSONWebKey]
}

func newKeysets() keysets {
	return keysets{otter.Must(&otter.Options[*upstream.Document, []jose.JSONWebKey]{
		MaximumSize: maxKeysets, Executor: func(f func()) { f() },
	})}
}

// of returns the keys of a document.
func (k keysets) of(d *upstream.Document) []jose.JSONWebKey {
	if known, ok := k.parsed.GetIfPresent(d); ok {
		return known
	}
	keys := outsideSet(d.Body)
	k.parsed.Set(d, keys)
	return keys
}
