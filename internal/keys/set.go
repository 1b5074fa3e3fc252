package keys

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"deputy/internal/deputy"
)

// Set is the public keys of one owner: what it publishes and what verifies its
// tokens. It never changes, and is safe for concurrent use.
type Set struct {
	keys     map[string]verifier // by kid
	document []byte
}

// verifier is one public key.
type verifier struct {
	alg deputy.SigningAlgorithm
	key crypto.PublicKey
	// until is when a retired key stops verifying; zero for others.
	until time.Time
}

// NewSet returns the set of an owner's keys that are not past their retention
// at now. Rows whose parts do not belong together are refused.
func NewSet(rows []deputy.SigningKey, now time.Time) (*Set, error) {
	rows = slices.Clone(rows)
	slices.SortFunc(rows, func(a, b deputy.SigningKey) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	s := &Set{keys: make(map[string]verifier, len(rows)), document: []byte(`{"keys":[`)}
	for _, row := range rows {
		if expired(row, now) {
			continue
		}
		jwk, err := parsePublic(row)
		if err != nil {
			return nil, err
		}
		v := verifier{alg: row.Algorithm, key: jwk.Key}
		if row.State == deputy.KeyRetired {
			v.until = retention(row)
		}
		if len(s.keys) > 0 {
			s.document = append(s.document, ',')
		}
		s.keys[row.ID] = v
		// Encoded again, so that the document holds our members only, whatever
		// the row holds.
		member, err := jwk.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("keys: encode %s: %w", row.ID, err)
		}
		s.document = append(s.document, member...)
	}
	s.document = append(s.document, "]}"...)
	return s, nil
}

// JWKS returns the key set document (RFC 7517 §5), the newest key first. Each
// key has kty, kid, alg, use, and n and e or crv, x and y. The caller must not
// change it.
func (s *Set) JWKS() []byte { return s.document }

// parsePublic returns the public key of a row.
func parsePublic(row deputy.SigningKey) (jose.JSONWebKey, error) {
	var stored jose.JSONWebKey
	if err := stored.UnmarshalJSON(row.Public); err != nil {
		return jose.JSONWebKey{}, fmt.Errorf("keys: public key %s: %w", row.ID, err)
	}
	jwk, err := publicJWK(stored.Key, row.Algorithm)
	if err != nil {
		return jose.JSONWebKey{}, fmt.Errorf("keys: public key %s: %w", row.ID, err)
	}
	if jwk.KeyID != row.ID {
		return jose.JSONWebKey{}, fmt.Errorf("keys: public key %s is another's: %s", row.ID, jwk.KeyID)
	}
	return jwk, nil
}

// fits reports whether a public key is one that alg is used with.
func fits(key crypto.PublicKey, alg deputy.SigningAlgorithm) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return alg == deputy.RS256 && k.Size()*8 >= rsaBits
	case *ecdsa.PublicKey:
		return alg == deputy.ES256 && k.Curve == elliptic.P256()
	}
	return false
}
