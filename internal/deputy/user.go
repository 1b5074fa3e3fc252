package deputy

import "time"

// UserStatus says whether a person may authenticate.
type UserStatus string

// The user statuses. Only users can be disabled.
const (
	UserActive   UserStatus = "active"
	UserDisabled UserStatus = "disabled"
)

// User is a person of a zone. Issuer and Subject name the federated account
// the row belongs to.
type User struct {
	ID              UserID
	OrganizationID  OrganizationID
	ZoneID          ZoneID
	Identifier      string // unique in the zone; the sub claim of the person's tokens
	Email           string
	EmailVerified   bool
	Status          UserStatus
	ProviderID      *ProviderID
	Issuer, Subject *string
	AuthenticatedAt *time.Time
	// KeyID names the person's own data key: their secrets and what the log
	// knows of them hang on it, and destroying it forgets them.
	KeyID                ID
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// SessionType tells whose session it is.
type SessionType string

// The session types.
const (
	UserSession        SessionType = "user"
	ApplicationSession SessionType = "application"
)

// Status is the state of a session or a delegated grant.
type Status string

// The statuses. Expired and revoked are final.
const (
	Active  Status = "active"
	Expired Status = "expired"
	Revoked Status = "revoked"
)

// Session is a standing authentication: a person's at a browser (no parent), a
// person's at a client (child), or an application's.
type Session struct {
	ID                   SessionID
	OrganizationID       OrganizationID
	ZoneID               ZoneID
	Type                 SessionType
	Status               Status
	ParentID             *SessionID // user sessions only; ending it ends the children
	UserID               *UserID
	ApplicationID        *ApplicationID
	UserAgentID          *ID
	CredentialID         *CredentialID // application sessions: one per credential
	ProviderID           *ProviderID
	Name                 string // what the client calls itself
	Issuer, Subject      string
	Data                 []byte // claims as JSON
	AuthenticatedAt      time.Time
	ExpiresAt            time.Time
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// Grant is a person's standing authorization for a resource.
type Grant struct {
	ID                   ID
	OrganizationID       OrganizationID
	ZoneID               ZoneID
	UserID               UserID
	ResourceID           ResourceID
	ProviderID           ProviderID
	Scopes               []string
	Status               Status
	RefreshTokenSet      bool
	ExpiresAt            time.Time
	RefreshedAt          *time.Time
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// ConsentRecord is a person's agreement that an application may reach a
// resource for them. It outlives sessions and is apart from grants, which
// know no application.
type ConsentRecord struct {
	ZoneID        ZoneID
	UserID        UserID
	ApplicationID ApplicationID
	ResourceID    ResourceID
	Scopes        []string
	CreatedAt     time.Time
}
