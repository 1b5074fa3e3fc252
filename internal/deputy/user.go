package deputy

import (
	"slices"
	"time"
)

// UserStatus says whether a person may authenticate.
type UserStatus string

// The user statuses. Only users can be disabled.
const (
	UserActive   UserStatus = "active"
	UserDisabled UserStatus = "disabled"
)

// User is a person of a zone. Issuer and Subject name the federated account
// the row belongs to; an account belongs to one user, and so does an e-mail
// address among those who have none and sign in here.
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

// FederatedAccount is what the store calls an account of an issuer: the unique
// field "account" of the user it belongs to.
func FederatedAccount(issuer, subject string) string { return issuer + " " + subject }

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
	Depth                int        // how many sessions are above; the store sets it
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

// State returns the status of the session at a time: an active one expires
// without anybody writing it down.
func (s *Session) State(now time.Time) Status {
	if s.Status == Active && !now.Before(s.ExpiresAt) {
		return Expired
	}
	return s.Status
}

// End revokes the session at a time. What is over already stays as it ended.
func (s *Session) End(now time.Time) {
	if s.State(now) == Active {
		s.Status = Revoked
	}
}

// SessionView tells in which lists a session is.
type SessionView string

// The views. Sessions without an initiator, which is an application or a user
// agent, are in none of them.
const (
	EntryUser        SessionView = "user"        // at most one session is above
	EntryApplication SessionView = "application" // an application's own
	NestedUser       SessionView = "nested"      // further down
)

// View returns the lists that the session is in; empty for none.
func (s *Session) View() SessionView {
	switch {
	case s.ApplicationID == nil && s.UserAgentID == nil:
		return ""
	case s.Type == ApplicationSession:
		return EntryApplication
	case s.Depth > 1:
		return NestedUser
	}
	return EntryUser
}

// Grant is a person's standing authorization for a resource.
type Grant struct {
	ID              ID
	OrganizationID  OrganizationID
	ZoneID          ZoneID
	UserID          UserID
	ResourceID      ResourceID
	ProviderID      ProviderID
	Scopes          []string
	Status          Status
	RefreshTokenSet bool
	ExpiresAt       time.Time
	RefreshedAt     *time.Time
	// Requested are the scopes that an outside provider was asked for: it may
	// have other words for what it granted.
	Requested []string
	// Sealed are the tokens of an outside provider, sealed under the person's
	// key; empty where there are none.
	Sealed []byte
	// Lease is until when somebody has the grant's refresh to themselves, and
	// Fence counts who had.
	Lease                time.Time
	Fence                int64
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// refreshAhead is how long before its end a token is replaced, so that whoever
// gets it can still use it.
const refreshAhead = time.Minute

// Fresh reports whether the provider's token need not be refreshed yet: it lasts
// another minute, or half of its life where that is short.
func (g *Grant) Fresh(now time.Time) bool {
	since := g.CreatedAt
	if g.RefreshedAt != nil {
		since = *g.RefreshedAt
	}
	return g.ExpiresAt.Sub(now) >= min(refreshAhead, g.ExpiresAt.Sub(since)/2)
}

// Covers reports whether the person was asked for all of the scopes.
func (g *Grant) Covers(scopes []string) bool {
	for _, scope := range scopes {
		if !slices.Contains(g.Scopes, scope) && !slices.Contains(g.Requested, scope) {
			return false
		}
	}
	return true
}

// State returns the status of the grant at a time. One that can be refreshed
// does not run out.
func (g *Grant) State(now time.Time) Status {
	if g.Status == Active && !g.RefreshTokenSet && !now.Before(g.ExpiresAt) {
		return Expired
	}
	return g.Status
}

// End revokes the grant at a time. What is over already stays as it ended.
func (g *Grant) End(now time.Time) {
	if g.State(now) == Active {
		g.Status = Revoked
	}
}

// ConsentRecord is a person's agreement that a client may reach a resource for
// them. It outlives sessions and is apart from grants, which know no client.
type ConsentRecord struct {
	ZoneID     ZoneID
	UserID     UserID
	ClientID   ID // of an application or a user agent
	ResourceID ResourceID
	Scopes     []string
	CreatedAt  time.Time
}
