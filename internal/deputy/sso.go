package deputy

import "time"

// SSOConnection is the identity provider that signs an organization's users
// in: at most one an organization.
type SSOConnection struct {
	ID             ID
	OrganizationID OrganizationID
	Identifier     string // the issuer
	ClientID       *string
	SealedSecret   []byte // client_secret, sealed under the organization's key; empty: none
	OAuth2         *ProviderOAuth2
	OpenID         *ProviderOpenID
	// HasProtocols tells an empty protocols object from an absent one.
	HasProtocols         bool
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// Validate checks the connection's own invariants.
func (c *SSOConnection) Validate() error {
	if err := URI("identifier", c.Identifier); err != nil {
		return err
	}
	if c.ClientID != nil {
		if err := SafeText("client_id", *c.ClientID, 1, MaxIdentifier); err != nil {
			return err
		}
	}
	return validProtocols(c.OAuth2, c.OpenID)
}
