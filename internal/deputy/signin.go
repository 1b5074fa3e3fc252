package deputy

import "time"

// Password is what a person signs in with where the zone itself vouches for
// its people, or where the management plane does for those who manage.
type Password struct {
	ZoneID ZoneID // empty: of the management plane
	UserID UserID
	// Email is what they are found by: unique, letter case aside.
	Email     string
	Hash      string // see package password
	ChangedAt time.Time
	CreatedAt time.Time
}

// MailedCode is a secret on its way to a mail address, as a code to be typed
// and as a link: whoever brings it back reads that address's mail. A person
// has one for each purpose at most.
type MailedCode struct {
	ZoneID     ZoneID // empty: of the management plane
	ID         ID     // CodeID
	UserID     UserID
	Purpose    MailPurpose
	Email      string
	SealedCode []byte
	Link       string // the hash of the link's secret, in hex
	Attempts   int    // tries to type the code that failed
	ExpiresAt  time.Time
	CreatedAt  time.Time
}

// CodeID returns the id of a person's code for a purpose.
func CodeID(user UserID, purpose MailPurpose) ID { return ID(string(user) + "." + string(purpose)) }

// Passkey is a person's WebAuthn credential.
type Passkey struct {
	ZoneID       ZoneID // empty: of the management plane
	ID           ID
	UserID       UserID
	CredentialID string // as the authenticator calls it, in base64url; unique
	Name         string // as the person calls it
	Credential   []byte // public key, counters and flags, as JSON
	LastUsedAt   *time.Time
	CreatedAt    time.Time
	Revision     int64
}

// Validate checks the passkey's own invariants.
func (p *Passkey) Validate() error { return SafeText("name", p.Name, 1, 64) }

// ZoneInvitation lets the owner of a mail address sign up in a zone that
// requires an invitation. Opening the mail is not needed: being named is.
type ZoneInvitation struct {
	ZoneID               ZoneID
	OrganizationID       OrganizationID
	ID                   ID
	Email                string           // at most one pending in the zone, letter case aside
	Status               InvitationStatus // as stored: see State
	UserID               *UserID          // who signed up
	ExpiresAt            time.Time
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// ZoneInvitationLifetime is how long an invitation to a zone is good for.
const ZoneInvitationLifetime = 30 * 24 * time.Hour

// State returns the status at now: what is pending ends with its time.
func (i *ZoneInvitation) State(now time.Time) InvitationStatus {
	if i.Status == InvitationPending && !now.Before(i.ExpiresAt) {
		return InvitationExpired
	}
	return i.Status
}

// Validate checks the invitation's own invariants.
func (i *ZoneInvitation) Validate() error { return Email("email", i.Email) }
