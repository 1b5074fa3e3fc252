package store

import (
	"context"
	"fmt"
	"time"

	"deputy/internal/deputy"
)

var organizationUsers = declare(table[deputy.OrganizationUser]{
	relation: relation{name: "organization_users", noun: "organization user", scope: owned, newest: "created_at"},
	fields: func(u *deputy.OrganizationUser) []field {
		return []field{
			{"organization_id", &u.OrganizationID},
			{"id", &u.ID},
			{"email", &u.Email},
			{"role", &u.Role},
			{"status", &u.Status},
			{"source", &u.Source},
			{"subject", &u.Subject},
			{"key_id", &u.KeyID},
			{"created_at", micros{&u.CreatedAt}},
			{"updated_at", micros{&u.UpdatedAt}},
			{"revision", &u.Revision},
		}
	},
	search: func(u *deputy.OrganizationUser) []field {
		return []field{{"email_folded", text(fold(u.Email))}, {"identity_key", text(key(u.Identity()))}}
	},
	uniques: []unique[deputy.OrganizationUser]{
		{field: "email", column: "email_folded", within: owned},
		{field: "identity", column: "identity_key", within: owned},
	},
	stamp: func(u *deputy.OrganizationUser) (*int64, *time.Time) { return &u.Revision, &u.UpdatedAt },
	cascade: func(ctx context.Context, x *tx, u *deputy.OrganizationUser) error {
		if err := x.each(ctx, []any{string(u.OrganizationID), string(u.ID)},
			"DELETE FROM zone_members WHERE organization_id = $1 AND organization_user_id = $2"); err != nil {
			return err
		}
		if err := x.destroyKey(ctx, u.KeyID, u.ID); err != nil {
			return err
		}
		all, err := column[string](ctx, x, "SELECT organization_id FROM organization_users WHERE id = $1 LIMIT 2", string(u.ID))
		if err != nil || len(all) > 1 {
			return err
		}
		return x.forgetSignIn(ctx, "", deputy.UserID(u.ID)) // it was their last organization
	},
})

// accountsOf reads the users of all organizations whose field has the value.
func accountsOf(ctx context.Context, q querier, name, value string) ([]*deputy.OrganizationUser, error) {
	column := name
	switch name {
	case "email":
		column, value = "email_folded", fold(value)
	case "identity":
		column, value = "identity_key", key(value)
	case "id":
	default:
		return nil, fmt.Errorf("memberships are not found by %s", name)
	}
	return organizationUsers.many(ctx, q, column+" = $1 ORDER BY created_at, organization_id", value)
}

var zoneMembers = declare(table[deputy.ZoneMember]{
	relation: relation{name: "zone_members", noun: "zone member", scope: zoned, id: "organization_user_id", newest: "created_at"},
	fields: func(m *deputy.ZoneMember) []field {
		return []field{
			{"zone_id", &m.ZoneID},
			{"organization_user_id", &m.UserID},
			{"id", &m.ID},
			{"organization_id", &m.OrganizationID},
			{"role", &m.Role},
			{"created_at", micros{&m.CreatedAt}},
			{"updated_at", micros{&m.UpdatedAt}},
			{"revision", &m.Revision},
		}
	},
	uniques: []unique[deputy.ZoneMember]{{field: "organization_user_id", column: "organization_user_id", within: zoned}},
	stamp:   func(m *deputy.ZoneMember) (*int64, *time.Time) { return &m.Revision, &m.UpdatedAt },
})

// zoneRoles reads the roles that an organization user has in zones.
func zoneRoles(ctx context.Context, q querier, organization deputy.OrganizationID, user deputy.ID) (map[deputy.ZoneID]deputy.ZoneRole, error) {
	members, err := zoneMembers.many(ctx, q, "organization_id = $1 AND organization_user_id = $2", string(organization), string(user))
	roles := make(map[deputy.ZoneID]deputy.ZoneRole, len(members))
	for _, m := range members {
		roles[m.ZoneID] = m.Role
	}
	return roles, err
}

var invitations = declare(table[deputy.Invitation]{
	relation: relation{name: "invitations", noun: "invitation", scope: owned},
	fields: func(i *deputy.Invitation) []field {
		return []field{
			{"organization_id", &i.OrganizationID},
			{"id", &i.ID},
			{"email", &i.Email},
			{"role", &i.Role},
			{"status", &i.Status},
			{"token_hash", &i.TokenHash},
			{"created_by", &i.CreatedBy},
			{"created_by_name", &i.CreatedByName},
			{"user_id", &i.UserID},
			{"expires_at", micros{&i.ExpiresAt}},
			{"created_at", micros{&i.CreatedAt}},
			{"updated_at", micros{&i.UpdatedAt}},
			{"revision", &i.Revision},
		}
	},
	search: func(i *deputy.Invitation) []field { return []field{{"email_folded", text(fold(i.Email))}} },
	uniques: []unique[deputy.Invitation]{{
		field: "email", column: "email_folded", within: owned, where: "status = 'pending'",
		about: func(i *deputy.Invitation) bool { return i.Status == deputy.InvitationPending },
	}},
	// One whose time is over makes way for another to the same address.
	before: func(ctx context.Context, x *tx, i *deputy.Invitation) error {
		_, err := x.exec(ctx, "UPDATE invitations SET status = 'expired', updated_at = expires_at, revision = revision + 1"+
			" WHERE organization_id = $1 AND email_folded = $2 AND status = 'pending' AND expires_at <= $3",
			string(i.OrganizationID), fold(i.Email), x.now.UnixMicro())
		return err
	},
	stamp: func(i *deputy.Invitation) (*int64, *time.Time) { return &i.Revision, &i.UpdatedAt },
})

// invitation reads what has the token, with its organization.
func invitation(ctx context.Context, q querier, token deputy.SecretHash) (*deputy.Invitation, *deputy.Organization, error) {
	i, err := invitations.one(ctx, q, "token_hash = $1", []byte(token))
	if err != nil {
		return nil, nil, err
	}
	o, err := organizations.one(ctx, q, "id = $1", string(i.OrganizationID))
	return i, o, err
}

// organizationIdentities is a view: it is only read.
var organizationIdentities = declare(table[deputy.OrganizationIdentity]{
	relation: relation{name: "organization_identities", noun: "identity", scope: owned, newest: "created_at"},
	fields: func(i *deputy.OrganizationIdentity) []field {
		return []field{
			{"organization_id", &i.OrganizationID},
			{"id", &i.ID},
			{"type", &i.Type},
			{"email", &i.Email},
			{"role", &i.Role},
			{"source", &i.Source},
			{"status", &i.Status},
			{"expires_at", micros{&i.ExpiresAt}},
			{"created_at", micros{&i.CreatedAt}},
			{"updated_at", micros{&i.UpdatedAt}},
		}
	},
	search: func(i *deputy.OrganizationIdentity) []field { return []field{{"email_folded", text(fold(i.Email))}} },
})

var ssoConnections = declare(table[deputy.SSOConnection]{
	relation: relation{name: "sso_connections", noun: "SSO connection", scope: owned, id: "organization_id"},
	fields: func(c *deputy.SSOConnection) []field {
		return []field{
			{"organization_id", &c.OrganizationID},
			{"id", &c.ID},
			{"identifier", &c.Identifier},
			{"client_id", &c.ClientID},
			{"sealed_secret", &c.SealedSecret},
			{"oauth2", document{&c.OAuth2}},
			{"openid", document{&c.OpenID}},
			{"has_protocols", &c.HasProtocols},
			{"created_at", micros{&c.CreatedAt}},
			{"updated_at", micros{&c.UpdatedAt}},
			{"revision", &c.Revision},
		}
	},
	uniques: []unique[deputy.SSOConnection]{{field: "organization_id", column: "organization_id", within: owned}},
	stamp:   func(c *deputy.SSOConnection) (*int64, *time.Time) { return &c.Revision, &c.UpdatedAt },
})

var mails = declare(table[deputy.Mail]{
	relation: relation{name: "mails", noun: "mail", scope: owned},
	fields: func(m *deputy.Mail) []field {
		return []field{
			{"organization_id", &m.OrganizationID},
			{"id", &m.ID},
			{"zone_id", &m.ZoneID},
			{"purpose", &m.Purpose},
			{"sealed", &m.Sealed},
			{"created_at", micros{&m.CreatedAt}},
		}
	},
	stamp: func(*deputy.Mail) (*int64, *time.Time) { return nil, nil },
	after: func(ctx context.Context, x *tx, m *deputy.Mail) error { return x.Enqueue(ctx, m.Task(x.now)) },
})
