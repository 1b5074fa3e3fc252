package deputy

import "time"

// SigningAlgorithm is a JWS algorithm that we sign with (RFC 7518 §3.1).
type SigningAlgorithm string

// The algorithms. RS256 is the default, because every client verifies it;
// ES256 signs some thirty times faster.
const (
	RS256 SigningAlgorithm = "RS256" // RSA-2048, PKCS #1 v1.5, SHA-256
	ES256 SigningAlgorithm = "ES256" // P-256, SHA-256
)

// KeyState says what a signing key is used for.
type KeyState string

// The states, in the order in which a key passes them. Keys in all three are
// published.
const (
	KeyNext    KeyState = "next"    // verifiers learn of it, nothing is signed yet
	KeyActive  KeyState = "active"  // signs
	KeyRetired KeyState = "retired" // what it signed may still be in use
)

// SigningKey is a key pair at rest, of a zone or of the platform.
type SigningKey struct {
	// ID is the kid: the RFC 7638 thumbprint of the public key.
	ID string
	// OwnerID is the zone's id, or the platform's.
	OwnerID   ID
	Algorithm SigningAlgorithm
	State     KeyState
	// Public is the public key as a JWK with kid, alg and use (RFC 7517).
	Public []byte
	// Sealed is the private key, readable through the vault only.
	Sealed    []byte
	CreatedAt time.Time
	// ActivatedAt and RetiredAt are when it entered the state; nil before.
	ActivatedAt, RetiredAt *time.Time
}
