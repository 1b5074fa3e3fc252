package api

import (
	"context"
	"fmt"
	"net/http"

	"deputy/internal/deputy"
	"deputy/internal/mail"
)

// ZoneInvitation lets a person sign up in a zone that requires it, as clients
// see it.
type ZoneInvitation struct {
	ID             string  `json:"id"`
	OrganizationID string  `json:"organization_id"`
	ZoneID         string  `json:"zone_id"`
	Email          string  `json:"email"`
	Status         string  `json:"status" enum:"pending,accepted,expired,revoked"`
	UserID         *string `json:"user_id,omitzero" doc:"Who signed up with it."`
	ExpiresAt      Time    `json:"expires_at"`
	CreatedAt      Time    `json:"created_at"`
	UpdatedAt      Time    `json:"updated_at"`
}

// ZoneInvitationCreate invites a person to a zone.
type ZoneInvitationCreate struct {
	Email string `json:"email" format:"email" minLength:"3" maxLength:"254" doc:"Who signs up must show that this address is theirs." example:"ada@example.com"`
}

var zoneInvitations = Noun[deputy.ZoneInvitation, ZoneInvitation, ZoneInvitationCreate, empty]{
	Name: "zone_invitation", Plural: "zone_invitations", Path: "/zones/{zone_id}/invitations", Key: "id", Tag: "Users", Made: http.StatusOK, Short: true,
	About: "An invitation lets the owner of a mail address sign up in a zone that requires one. It is good for 30 days.",
	List: listing{
		Expand: []string{"total_count"}, Sort: []string{"created_at"},
		Parameters: []parameter{{Name: "filter[id]", Fields: []string{"id"}, Many: true, IDs: true, Doc: "These, on one page; ids of none are left out."}},
	},
	Reads:  func(v deputy.View) deputy.Reads[deputy.ZoneInvitation] { return v.ZoneInvitations() },
	Writes: func(tx deputy.Tx) deputy.Writes[deputy.ZoneInvitation] { return tx.ZoneInvitations() },
	ID:     func(d *deputy.ZoneInvitation) deputy.ID { return d.ID },
	View: func(_ *API, c *call, d *deputy.ZoneInvitation) ZoneInvitation {
		return ZoneInvitation{
			ID: string(d.ID), OrganizationID: string(d.OrganizationID), ZoneID: string(d.ZoneID), Email: d.Email, Status: string(d.State(c.at)),
			UserID: text(d.UserID), ExpiresAt: Time(d.ExpiresAt), CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt),
		}
	},
	Check: (*deputy.ZoneInvitation).Validate,
	Refer: func(ctx context.Context, tx deputy.Tx, c *call, d *deputy.ZoneInvitation) error {
		in := deputy.Scope{Zone: d.ZoneID}
		had, err := tx.ZoneInvitations().Find(ctx, in, "email", d.Email)
		if err == nil && had.State(c.at) == deputy.InvitationExpired { // it makes room for the next
			_, err = tx.ZoneInvitations().Update(ctx, in, had.ID, func(i *deputy.ZoneInvitation) error {
				i.Status = deputy.InvitationExpired
				return nil
			})
		}
		if deputy.KindOf(err) == deputy.NotFound {
			return nil
		}
		return err
	},
}

func (a *API) mountZoneInvitations() {
	zoneInvitations.mountAll(a, list, get, remove)
	mount(a, zoneInvitations.operation(create), a.createZoneInvitation)
}

// createZoneInvitation invites a person. The mail is a courtesy: being named is
// what lets them sign up.
func (a *API) createZoneInvitation(ctx context.Context, c *call, in *input[ZoneInvitationCreate]) (*output[ZoneInvitation], error) {
	d := &deputy.ZoneInvitation{
		ID: deputy.NewID(c.at), OrganizationID: c.zone.OrganizationID, ZoneID: c.zone.ID, Email: in.Body.Email,
		Status: deputy.InvitationPending, ExpiresAt: c.at.Add(deputy.ZoneInvitationLifetime), CreatedAt: c.at, UpdatedAt: c.at,
	}
	if err := d.Validate(); err != nil {
		return nil, err
	}
	m := &deputy.Mail{ID: deputy.NewID(c.at), OrganizationID: d.OrganizationID, ZoneID: d.ZoneID, Purpose: deputy.MailInvitation, CreatedAt: c.at}
	if err := mail.Seal(ctx, a.vault, c.zone.KeyID, m, mail.Message{
		To: d.Email, Subject: "Join " + c.zone.Name,
		Text: fmt.Sprintf("You are invited to %s.\n\nOpen this page and sign up with this mail address:\n\n%s/account\n\nThe invitation is good until %s.\nIf you did not expect this, there is nothing to do.\n",
			c.zone.Name, a.addresses.Issuer(c.zone), d.ExpiresAt.UTC().Format("2 January 2006, 15:04 MST")),
	}); err != nil {
		return nil, err
	}
	if err := zoneInvitations.insert(ctx, a, c, d, func(tx deputy.Tx) error { return tx.Mails().Insert(ctx, m) }); err != nil {
		return nil, err
	}
	return zoneInvitations.view(a, c, d), nil
}
