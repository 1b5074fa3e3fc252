package deputy

import "time"

// SecretType is what a vaulted secret consists of.
type SecretType string

// The types of vaulted secrets.
const (
	TokenSecret    SecretType = "token"    // one token
	PasswordSecret SecretType = "password" // user name and password
)

// MaxSecretText bounds the description of a secret, in characters.
const MaxSecretText = 128

// VaultSecret is a credential that the zone keeps for an entity, most often a
// resource. What it consists of is sealed under the zone's key.
type VaultSecret struct {
	ID          ID
	ZoneID      ZoneID
	EntityID    ID
	Name        string
	Description *string
	Type        SecretType
	Sealed      []byte
	Metadata    []byte // a JSON object, in clear
	Version     int    // counts what Sealed held
	CreatedAt   time.Time
	UpdatedAt   time.Time
	Revision    int64
}

// Validate checks the secret's own invariants.
func (s *VaultSecret) Validate() error {
	if err := SafeText("name", s.Name, 1, MaxName); err != nil {
		return err
	}
	if s.Description == nil {
		return nil
	}
	return SafeText("description", *s.Description, 0, MaxSecretText)
}
