package api

import (
	"context"
	"fmt"
	"net/http"

	"deputy/internal/deputy"
	"deputy/internal/mail"
)

// Invitation lets a person join an organization, as clients see it.
type Invitation struct {
	ID             string      `json:"id"`
	OrganizationID string      `json:"organization_id"`
	Email          string      `json:"email"`
	Role           string      `json:"role" enum:"org_admin,org_member,org_viewer"`
	Status         string      `json:"status" enum:"pending,accepted,expired,revoked"`
	CreatedBy      string      `json:"created_by" doc:"Account of who invited."`
	ExpiresAt      Time        `json:"expires_at"`
	Permissions    Permissions `json:"permissions,omitzero" doc:"What the caller may do with invitations; with expand permissions."`
	CreatedAt      Time        `json:"created_at"`
	UpdatedAt      Time        `json:"updated_at"`
}

// InvitationCreate invites a person.
type InvitationCreate struct {
	Email string `json:"email" format:"email" minLength:"3" maxLength:"254" doc:"Where the link goes." example:"ann@example.com"`
	Role  string `json:"role" enum:"org_admin,org_member,org_viewer"`
}

// InvitationPreview is what who has the link may know.
type InvitationPreview struct {
	Email            string `json:"email"`
	Role             string `json:"role" enum:"org_admin,org_member,org_viewer"`
	Status           string `json:"status" enum:"pending,accepted,expired,revoked"`
	ExpiresAt        Time   `json:"expires_at"`
	OrganizationName string `json:"organization_name"`
	CreatedByName    string `json:"created_by_name"`
}

// InvitationAcceptance says what the caller joined.
type InvitationAcceptance struct {
	Success          bool   `json:"success"`
	OrganizationID   string `json:"organization_id"`
	OrganizationName string `json:"organization_name"`
	UserID           string `json:"user_id"`
}

var invitations = Noun[deputy.Invitation, Invitation, InvitationCreate, empty]{
	Name: "invitation", Plural: "invitations", Path: organizationPath + "/invitations", Key: "invitation_id", Tag: "Invitations",
	Made: http.StatusCreated, Owned: true,
	About:  "An invitation lets a person join the organization. Its link is mailed, and good for seven days.",
	List:   ownedListing(),
	Reads:  func(v deputy.View) deputy.Reads[deputy.Invitation] { return v.Invitations() },
	Writes: func(tx deputy.Tx) deputy.Writes[deputy.Invitation] { return tx.Invitations() },
	ID:     func(d *deputy.Invitation) deputy.ID { return d.ID },
	View: func(a *API, c *call, d *deputy.Invitation) Invitation {
		return Invitation{
			ID: string(d.ID), OrganizationID: string(d.OrganizationID), Email: d.Email, Role: string(d.Role), Status: string(d.State(c.at)),
			CreatedBy: string(d.CreatedBy), ExpiresAt: Time(d.ExpiresAt), Permissions: a.allowed(c, "invitations"),
			CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt),
		}
	},
	Check: (*deputy.Invitation).Validate,
	Refer: func(ctx context.Context, tx deputy.Tx, c *call, d *deputy.Invitation) error {
		_, err := tx.OrganizationUsers().Find(ctx, deputy.Scope{Organization: d.OrganizationID}, "email", d.Email)
		if err == nil {
			return &deputy.Error{Kind: deputy.Conflict, Field: "email", Message: "a user of the organization has this mail address"}
		}
		if deputy.KindOf(err) == deputy.NotFound {
			return nil
		}
		return err
	},
}

func (a *API) mountInvitations() {
	invitations.mountAll(a, list)
	mount(a, invitations.operation(create), a.createInvitation)
	revoke := invitations.operation(remove)
	revoke.ID, revoke.Action, revoke.Summary = "revoke-invitation", "invitations:revoke", "Revoke an invitation"
	revoke.Doc = "Its link is no longer good. It stays in the list. One that was accepted cannot be revoked: delete the user."
	revoke.Errors = []int{http.StatusConflict}
	mount(a, revoke, a.revokeInvitation)
	mount(a, operation{
		ID: "preview-invitation", Method: http.MethodGet, Path: "/invitations/{token}", Tag: invitations.Tag, Public: true,
		Summary: "Show what a link invites to", Doc: "It needs no bearer, and does not use the link up.", Status: http.StatusOK,
	}, a.previewInvitation)
	mount(a, operation{
		ID: "accept-invitation", Method: http.MethodPost, Path: "/invitations/{token}/accept", Action: "invitations:accept", Tag: invitations.Tag,
		Summary: "Join the organization that a link invites to", Status: http.StatusOK, Errors: []int{http.StatusConflict},
		Doc: "It takes the bearer of a person whose mail address is the one that the invitation was sent to.",
	}, a.acceptInvitation)
}

// createInvitation invites a person. The token is in the mail and nowhere else:
// its hash is stored.
func (a *API) createInvitation(ctx context.Context, c *call, in *input[InvitationCreate]) (*output[Invitation], error) {
	token := deputy.NewSecret()
	d := &deputy.Invitation{
		ID: deputy.NewID(c.at), OrganizationID: c.organization.ID, Email: in.Body.Email, Role: deputy.OrganizationRole(in.Body.Role),
		Status: deputy.InvitationPending, TokenHash: deputy.HashSecret(token), CreatedBy: c.caller.Account, CreatedByName: c.caller.Name,
		ExpiresAt: c.at.Add(deputy.InvitationLifetime), CreatedAt: c.at, UpdatedAt: c.at,
	}
	if err := d.Validate(); err != nil {
		return nil, err
	}
	m := &deputy.Mail{ID: deputy.NewID(c.at), OrganizationID: d.OrganizationID, Purpose: deputy.MailInvitation, CreatedAt: c.at}
	if err := mail.Seal(ctx, a.vault, c.organization.KeyID, m, a.invitationMail(c, d, token)); err != nil {
		return nil, err
	}
	if err := invitations.insert(ctx, a, c, d, func(tx deputy.Tx) error { return tx.Mails().Insert(ctx, m) }); err != nil {
		return nil, err
	}
	return invitations.view(a, c, d), nil
}

// invitationMail returns what an invited person reads.
func (a *API) invitationMail(c *call, d *deputy.Invitation, token deputy.Secret) mail.Message {
	return mail.Message{
		To: d.Email, Subject: "Join " + c.organization.Name,
		Text: fmt.Sprintf("%s invites you to %s.\n\nOpen this link to join:\n\n%s/login/invitations/%s\n\nIt is good until %s.\nIf you did not expect this, there is nothing to do.\n",
			d.CreatedByName, c.organization.Name, a.addresses.PublicURL(), token.Reveal(), d.ExpiresAt.UTC().Format("2 January 2006, 15:04 MST")),
	}
}

func (a *API) revokeInvitation(ctx context.Context, c *call, _ *empty) (*empty, error) {
	id := invitations.id(c)
	return nil, a.write(ctx, c, invitations.target(id), func(tx deputy.Tx) error {
		_, err := tx.Invitations().Update(ctx, invitations.scope(c), id, func(d *deputy.Invitation) error {
			switch d.State(tx.Now()) {
			case deputy.InvitationAccepted:
				return deputy.Errorf(deputy.Conflict, "the invitation was accepted: delete the user")
			case deputy.InvitationPending:
				d.Status = deputy.InvitationRevoked
			}
			return nil
		})
		return missing(err, invitations.Name)
	})
}

func (a *API) previewInvitation(ctx context.Context, c *call, _ *empty) (*output[InvitationPreview], error) {
	d, o, err := a.store.Invitation(ctx, deputy.HashSecret(deputy.Conceal(c.param("token"))))
	if err != nil {
		return nil, missing(err, invitations.Name)
	}
	return &output[InvitationPreview]{InvitationPreview{
		Email: d.Email, Role: string(d.Role), Status: string(d.State(c.at)), ExpiresAt: Time(d.ExpiresAt),
		OrganizationName: o.Name, CreatedByName: d.CreatedByName,
	}}, nil
}

// errVouched keeps whom an organization's identity provider vouches for in that
// organization: whoever runs it can make it say anything, and another's bearers
// must not hang on that.
var errVouched = deputy.Errorf(deputy.Denied, "an account that an organization's identity provider signs in belongs to that organization alone")

// acceptInvitation makes the caller a user of another organization: the same
// person as in the one that their bearer is of.
func (a *API) acceptInvitation(ctx context.Context, c *call, _ *empty) (*output[InvitationAcceptance], error) {
	token := deputy.Conceal(c.param("token"))
	d, o, err := a.store.Invitation(ctx, deputy.HashSecret(token))
	if err != nil {
		return nil, missing(err, invitations.Name)
	}
	key, err := a.vault.New(ctx, c.caller.Account, o.KeyID, c.at)
	if err != nil {
		return nil, err
	}
	event := c.event(deputy.Success, invitations.target(d.ID))
	event.OrganizationID, event.UserKey = o.ID, key.ID
	err = a.writeEvent(ctx, c, event, func(tx deputy.Tx) error {
		who, err := tx.OrganizationUsers().Get(ctx, deputy.Scope{Organization: c.caller.Organization}, c.caller.Account)
		if err != nil {
			return err
		}
		if who.Source != "" {
			return errVouched
		}
		who.KeyID, who.CreatedAt, who.UpdatedAt, who.Revision = key.ID, c.at, c.at, 0
		if err := tx.InsertDataKey(ctx, key); err != nil {
			return err
		}
		o, err = deputy.Accept(ctx, tx, token, who)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &output[InvitationAcceptance]{InvitationAcceptance{true, string(o.ID), o.Name, string(c.caller.Account)}}, nil
}
