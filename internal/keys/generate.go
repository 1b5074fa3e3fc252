package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	_ "crypto/sha256" // the thumbprint's hash
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"

	"deputy/internal/deputy"
	"deputy/internal/vault"
)

// Spec says what key to make.
type Spec struct {
	// Owner is the zone's id, or the platform's.
	Owner deputy.ID
	// DataKey is the owner's data key, under which the private key is sealed.
	DataKey   deputy.ID
	Algorithm deputy.SigningAlgorithm
	// State is KeyActive for an owner's first key of the algorithm, else KeyNext.
	State deputy.KeyState
	Now   time.Time
}

// Generate makes a key pair and seals it. It returns the signer, usable at
// once, and the row for the caller to insert. RSA keys come from the pool.
func Generate(ctx context.Context, v *vault.Vault, pool *Pool, spec Spec) (*Signer, deputy.SigningKey, error) {
	row := deputy.SigningKey{OwnerID: spec.Owner, Algorithm: spec.Algorithm, State: spec.State, CreatedAt: spec.Now}
	switch spec.State {
	case deputy.KeyNext:
	case deputy.KeyActive:
		row.ActivatedAt = &spec.Now
	default:
		return nil, deputy.SigningKey{}, fmt.Errorf("keys: a key cannot start as %q", spec.State)
	}
	private, err := newPrivate(ctx, pool, spec.Algorithm)
	if err != nil {
		return nil, deputy.SigningKey{}, fmt.Errorf("keys: make a key: %w", err)
	}
	public, err := publicJWK(private.Public(), spec.Algorithm)
	if err != nil {
		return nil, deputy.SigningKey{}, err
	}
	row.ID = public.KeyID
	if row.Public, err = public.MarshalJSON(); err != nil {
		return nil, deputy.SigningKey{}, fmt.Errorf("keys: encode a public key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, deputy.SigningKey{}, fmt.Errorf("keys: encode a private key: %w", err)
	}
	defer clear(der)
	if row.Sealed, err = v.Seal(ctx, spec.DataKey, placeOf(row), der); err != nil {
		return nil, deputy.SigningKey{}, fmt.Errorf("keys: seal: %w", err)
	}
	signer, err := newSigner(row, private)
	return signer, row, err
}

// Load unseals the private key of a row. A row whose parts do not belong
// together is refused; one whose data key was destroyed is deputy.NotFound.
func Load(ctx context.Context, v *vault.Vault, row deputy.SigningKey) (*Signer, error) {
	der, err := v.Open(ctx, placeOf(row), row.Sealed)
	if err != nil {
		return nil, fmt.Errorf("keys: load %s: %w", row.ID, err)
	}
	defer clear(der)
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		// The parser's own words could quote the key.
		return nil, fmt.Errorf("keys: load %s: not a private key", row.ID)
	}
	private, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("keys: load %s: %T does not sign", row.ID, parsed)
	}
	public, err := publicJWK(private.Public(), row.Algorithm)
	if err != nil {
		return nil, fmt.Errorf("keys: load %s: %w", row.ID, err)
	}
	if public.KeyID != row.ID {
		return nil, fmt.Errorf("keys: load %s: the private key is of %s", row.ID, public.KeyID)
	}
	return newSigner(row, private)
}

// placeOf is where a row's private key lies.
func placeOf(row deputy.SigningKey) vault.Place {
	return vault.Place{Zone: deputy.ZoneID(row.OwnerID), Table: "signing_keys", Column: "sealed", Row: row.ID}
}

// newPrivate makes a private key for alg.
func newPrivate(ctx context.Context, pool *Pool, alg deputy.SigningAlgorithm) (crypto.Signer, error) {
	switch alg {
	case deputy.RS256:
		return pool.Take(ctx)
	case deputy.ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return nil, fmt.Errorf("unknown algorithm %q", alg)
}

// publicJWK returns a public key as it is published.
func publicJWK(key crypto.PublicKey, alg deputy.SigningAlgorithm) (jose.JSONWebKey, error) {
	jwk := jose.JSONWebKey{Key: key, Algorithm: string(alg), Use: "sig"}
	if !fits(key, alg) || !jwk.Valid() {
		return jose.JSONWebKey{}, errors.New("keys: the key is not one for " + string(alg))
	}
	thumbprint, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return jose.JSONWebKey{}, fmt.Errorf("keys: thumbprint: %w", err)
	}
	jwk.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	return jwk, nil
}
