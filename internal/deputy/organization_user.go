package deputy

import (
	"net/mail"
	"time"
)

// OrganizationRole is what an organization user may do in the organization.
type OrganizationRole string

// The organization roles.
const (
	OrganizationAdmin  OrganizationRole = "org_admin"  // everything
	OrganizationViewer OrganizationRole = "org_viewer" // reads what the organization has outside zones
	OrganizationMember OrganizationRole = "org_member" // nothing but the zones they are a member of
)

// ZoneRole is what an organization user may do in a zone.
type ZoneRole string

// The zone roles.
const (
	ZoneManager ZoneRole = "zone_manager" // everything but the membership of others
	ZoneViewer  ZoneRole = "zone_viewer"  // reads
)

// OrganizationUser is a person who manages an organization.
type OrganizationUser struct {
	OrganizationID OrganizationID
	// ID is the person's account: the same in every organization they are in.
	ID     ID
	Email  string // theirs for certain; unique in the organization, letter case aside
	Role   OrganizationRole
	Status UserStatus
	// Source is the issuer of the identity provider that signs them in; empty:
	// they sign in here.
	Source string
	// Subject is who they are to the source: its sub, or here the account's id.
	Subject string
	// KeyID names the data key that seals what the organization's log knows of
	// the person.
	KeyID                ID
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// Identity is whom a source calls the person: unique in the organization.
func (u *OrganizationUser) Identity() string { return Identity(u.Source, u.Subject) }

// Identity joins a source and a subject, of which only the subject may hold
// spaces.
func Identity(source, subject string) string { return source + " " + subject }

// Validate checks the user's own invariants.
func (u *OrganizationUser) Validate() error {
	if err := Email("email", u.Email); err != nil {
		return err
	}
	if err := u.Role.Validate("role"); err != nil {
		return err
	}
	if u.Status != UserActive && u.Status != UserDisabled {
		return Bad("status", "must be one of %s, %s", UserActive, UserDisabled)
	}
	return nil
}

// Validate refuses what is no role, blaming the field.
func (r OrganizationRole) Validate(field string) error {
	switch r {
	case OrganizationAdmin, OrganizationViewer, OrganizationMember:
		return nil
	}
	return Bad(field, "must be one of %s, %s, %s", OrganizationAdmin, OrganizationViewer, OrganizationMember)
}

// ZoneMember is an organization user with a role in a zone.
type ZoneMember struct {
	ID                   ID
	OrganizationID       OrganizationID
	ZoneID               ZoneID
	UserID               ID // of the organization user; unique in the zone
	Role                 ZoneRole
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// Validate checks the member's own invariants.
func (m *ZoneMember) Validate() error {
	if m.Role != ZoneManager && m.Role != ZoneViewer {
		return Bad("role", "must be one of %s, %s", ZoneManager, ZoneViewer)
	}
	return nil
}

// MaxEmail is the longest address that mail can be sent to (RFC 5321 §4.5.3.1.3).
const MaxEmail = 254

// Email checks that s is one mail address and nothing else. It returns an
// Invalid error naming field.
func Email(field, s string) error {
	if err := SafeText(field, s, 3, MaxEmail); err != nil {
		return err
	}
	if a, err := mail.ParseAddress(s); err != nil || a.Address != s {
		return Bad(field, "must be a mail address")
	}
	return nil
}
