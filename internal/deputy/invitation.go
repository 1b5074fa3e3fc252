package deputy

import (
	"context"
	"strings"
	"time"
)

// InvitationLifetime is how long an invitation can be accepted.
const InvitationLifetime = 7 * 24 * time.Hour

// InvitationStatus is what became of an invitation.
type InvitationStatus string

// The invitation statuses. All but pending are final.
const (
	InvitationPending  InvitationStatus = "pending"
	InvitationAccepted InvitationStatus = "accepted"
	InvitationExpired  InvitationStatus = "expired"
	InvitationRevoked  InvitationStatus = "revoked"
)

// Invitation lets whoever has its token and its mail address join an
// organization.
type Invitation struct {
	ID             ID
	OrganizationID OrganizationID
	Email          string // at most one pending in the organization, letter case aside
	Role           OrganizationRole
	Status         InvitationStatus // as stored: see State
	TokenHash      SecretHash       // of the token in the mailed link
	// CreatedBy is the account that invited, CreatedByName what it was called.
	CreatedBy            ID
	CreatedByName        string
	UserID               *ID // who accepted it
	ExpiresAt            time.Time
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// State returns the status at now: what is pending ends with its time.
func (i *Invitation) State(now time.Time) InvitationStatus {
	if i.Status == InvitationPending && !now.Before(i.ExpiresAt) {
		return InvitationExpired
	}
	return i.Status
}

// Validate checks the invitation's own invariants.
func (i *Invitation) Validate() error {
	if err := Email("email", i.Email); err != nil {
		return err
	}
	return i.Role.Validate("role")
}

// Accept makes who a user of the organization that a token invites to, inside
// a Write: in the invitation's role, once. The invitation's organization and
// role are filled in. It is NotFound when there is no such invitation, Conflict
// when it is used up or who is a user already, and Denied when it was sent to
// another address.
func Accept(ctx context.Context, tx Tx, token Secret, who *OrganizationUser) (*Organization, error) {
	i, organization, err := tx.Invitation(ctx, HashSecret(token))
	if err != nil {
		return nil, err
	}
	standing := Standing{Organization: organization, Invitation: i}
	if off := standing.Live(UseInvitation, tx.Now()); off != nil {
		return nil, Error{Kind: Conflict, Message: "the invitation is " + string(i.State(tx.Now()))}.Because(off)
	}
	if !strings.EqualFold(i.Email, who.Email) {
		return nil, Errorf(Denied, "the invitation was sent to another mail address")
	}
	who.OrganizationID, who.Role, who.Status = organization.ID, i.Role, UserActive
	err = tx.OrganizationUsers().Insert(ctx, who)
	if KindOf(err) == Conflict {
		err = Error{Kind: Conflict, Message: "you are a user of the organization already"}.Because(err)
	}
	if err != nil {
		return nil, err
	}
	_, err = tx.Invitations().Update(ctx, Scope{Organization: organization.ID}, i.ID, func(i *Invitation) error {
		i.Status, i.UserID = InvitationAccepted, &who.ID
		return nil
	})
	return organization, err
}

// IdentityType says what an identity is.
type IdentityType string

// The identity types.
const (
	UserIdentity       IdentityType = "user"
	InvitationIdentity IdentityType = "invitation"
)

// OrganizationIdentity is someone who is or may become a user of an
// organization: a user, or an invitation whose address no user has.
type OrganizationIdentity struct {
	OrganizationID       OrganizationID
	ID                   ID
	Type                 IdentityType
	Email                string
	Role                 OrganizationRole
	Source               string
	Status               string // as stored: see State
	ExpiresAt            time.Time
	CreatedAt, UpdatedAt time.Time
}

// State returns the status at now.
func (i *OrganizationIdentity) State(now time.Time) string {
	if i.Type == InvitationIdentity {
		invitation := Invitation{Status: InvitationStatus(i.Status), ExpiresAt: i.ExpiresAt}
		return string(invitation.State(now))
	}
	return i.Status
}
