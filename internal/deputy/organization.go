package deputy

import "time"

// Organization is a tenant: it owns zones and the accounts that manage them.
type Organization struct {
	ID    OrganizationID
	Name  string // 1 to 255 characters
	Label string // DNS label, unique; may stand for the id in paths
	// KeyID names the data key that seals what the organization's log and
	// settings keep secret.
	KeyID                ID
	SSOEnabled           bool // derived: it has an SSO connection
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// Validate checks the organization's own invariants.
func (o *Organization) Validate() error { return SafeText("name", o.Name, 1, MaxName) }

// ServiceAccount is a program that manages an organization.
type ServiceAccount struct {
	ID                   ID
	OrganizationID       OrganizationID
	Name                 string
	Description          *string
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// Validate checks the account's own invariants.
func (a *ServiceAccount) Validate() error {
	if err := SafeText("name", a.Name, 1, MaxName); err != nil {
		return err
	}
	return optionalText("description", a.Description)
}

// ServiceAccountCredential is a client id and secret of a service account. An
// account may have several, so that one can be replaced without a gap.
type ServiceAccountCredential struct {
	ID               ID
	OrganizationID   OrganizationID
	ServiceAccountID ID
	Name             string
	Description      *string
	ClientID         string // unique over all organizations
	SecretHash       []byte // SHA-256 of the secret, which has 256 random bits or more
	LastUsedAt       *time.Time
	CreatedAt        time.Time
	Revision         int64
}

// Validate checks the credential's own invariants.
func (c *ServiceAccountCredential) Validate() error {
	if err := SafeText("name", c.Name, 1, MaxName); err != nil {
		return err
	}
	return optionalText("description", c.Description)
}

func optionalText(field string, s *string) error {
	if s == nil {
		return nil
	}
	return SafeText(field, *s, 0, MaxDescription)
}
