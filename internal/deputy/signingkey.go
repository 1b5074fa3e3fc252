package deputy

import (
	"encoding/json"
	"time"
)

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

// TaskRotateKeys gives the signing keys of a zone, or without a zone those of
// the platform, their turn. Its Data is a KeyRotation.
const TaskRotateKeys = "keys:rotate"

// KeyCheck is how often an owner's keys are looked at.
const KeyCheck = 24 * time.Hour

// KeyRotation is what the rotation of keys needs to know beside their owner.
type KeyRotation struct {
	// OrganizationID is whose log tells of it: the zone's, or for the platform
	// the first.
	OrganizationID OrganizationID `json:"organization_id"`
	// KeyID is the data key that seals the platform's keys. A zone knows its own.
	KeyID ID `json:"key_id,omitzero"`
	// Once says that the task is done when no key waits for its turn.
	Once bool `json:"once,omitzero"`
}

// Task returns the task of an owner whose first keys are made now; no zone
// means the platform.
func (r KeyRotation) Task(zone ZoneID, now time.Time) Task {
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // two texts
	}
	return Task{ID: NewID(now), Kind: TaskRotateKeys, ZoneID: zone, Data: data, RunAt: now.Add(KeyCheck)}
}
