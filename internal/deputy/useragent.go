package deputy

import "time"

// UserAgent is client software that registered itself: a desktop application, a
// command line, a browser. It becomes one at its first completed sign-in, and is
// nobody's configuration.
type UserAgent struct {
	ID             ID
	OrganizationID OrganizationID
	ZoneID         ZoneID
	Slug           string
	Name           string
	Identifier     string // "ua:" and a SHA-256 in hex, unique in the zone; its OAuth client_id
	RedirectURIs   []string
	GrantTypes     []string
	// AuthMethod is its token_endpoint_auth_method: "none" or "private_key_jwt",
	// the latter with the keys in JWKS or at JWKSURI.
	AuthMethod      string
	JWKS            []byte // a JSON Web Key Set
	JWKSURI         string
	LogoURI         string
	SoftwareID      string
	SoftwareVersion string
	Metadata        []byte // what else it registered, as a JSON object
	LastUsedAt      time.Time
	CreatedAt       time.Time
	UpdatedAt       time.Time
	Revision        int64
}
