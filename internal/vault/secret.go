package vault

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"

	"deputy/internal/deputy"
)

// SealUnder encrypts plain for place under a secret that somebody else holds,
// of at least 256 random bits: nothing that we keep opens it. Whoever shows the
// secret again gets back what was sealed with OpenUnder.
func SealUnder(secret deputy.Secret, place Place, plain []byte) []byte {
	aead, info := underSecret(secret, place)
	return aead.Seal(nil, nil, plain, info)
}

// OpenUnder returns what SealUnder sealed with the secret for place; anything
// else answers ErrRefused.
func OpenUnder(secret deputy.Secret, place Place, sealed []byte) ([]byte, error) {
	aead, info := underSecret(secret, place)
	plain, err := aead.Open(nil, nil, sealed, info)
	if err != nil {
		return nil, fmt.Errorf("vault: open %s.%s: %w", place.Table, place.Column, ErrRefused)
	}
	return plain, nil
}

// underSecret derives the key from the secret (RFC 5869), which is random and
// long, so that it needs neither salt nor stretching.
func underSecret(secret deputy.Secret, place Place) (aead cipher.AEAD, info []byte) {
	info = associated("deputy value under a secret", string(place.Zone), place.Table, place.Column, place.Row)
	key, err := hkdf.Key(sha256.New, []byte(secret.Reveal()), nil, string(info), keySize)
	if err != nil {
		panic(err) // the length is one that SHA-256 gives
	}
	defer clear(key)
	return newAEAD(key), info
}
