package store

import (
	"context"
	"time"

	"deputy/internal/deputy"
)

// What people sign in with. The zone is empty for those who manage.

var passwords = declare(table[deputy.Password]{
	relation: relation{name: "passwords", noun: "password", scope: zoned, id: "user_id"},
	fields: func(p *deputy.Password) []field {
		return []field{
			{"zone_id", &p.ZoneID},
			{"user_id", &p.UserID},
			{"email", &p.Email},
			{"hash", &p.Hash},
			{"changed_at", micros{&p.ChangedAt}},
			{"created_at", micros{&p.CreatedAt}},
		}
	},
	search: func(p *deputy.Password) []field {
		return []field{{"email_folded", text(fold(p.Email))}}
	},
	uniques: []unique[deputy.Password]{{field: "email", column: "email_folded", within: zoned}},
	after:   passwordChanged("create"),
	follow:  passwordChanged("update"),
	cascade: passwordChanged("revoke"),
	stamp:   func(*deputy.Password) (*int64, *time.Time) { return nil, nil },
})

var mailedCodes = declare(table[deputy.MailedCode]{
	relation: relation{
		name: "mailed_codes", noun: "code", scope: zoned,
		replace: "(zone_id, id) DO UPDATE SET email = excluded.email, sealed_code = excluded.sealed_code, link = excluded.link," +
			" attempts = excluded.attempts, expires_at = excluded.expires_at, created_at = excluded.created_at",
	},
	fields: func(c *deputy.MailedCode) []field {
		return []field{
			{"zone_id", &c.ZoneID},
			{"id", &c.ID},
			{"user_id", &c.UserID},
			{"purpose", &c.Purpose},
			{"email", &c.Email},
			{"sealed_code", &c.SealedCode},
			{"link", &c.Link},
			{"attempts", &c.Attempts},
			{"expires_at", micros{&c.ExpiresAt}},
			{"created_at", micros{&c.CreatedAt}},
		}
	},
	uniques: []unique[deputy.MailedCode]{{field: "link", column: "link", within: zoned}},
	stamp:   func(*deputy.MailedCode) (*int64, *time.Time) { return nil, nil },
})

var passkeys = declare(table[deputy.Passkey]{
	relation: relation{name: "passkeys", noun: "passkey", scope: zoned, parent: "user_id"},
	fields: func(p *deputy.Passkey) []field {
		return []field{
			{"zone_id", &p.ZoneID},
			{"id", &p.ID},
			{"user_id", &p.UserID},
			{"credential_id", &p.CredentialID},
			{"name", &p.Name},
			{"credential", &p.Credential},
			{"last_used_at", optionalMicros{&p.LastUsedAt}},
			{"created_at", micros{&p.CreatedAt}},
			{"revision", &p.Revision},
		}
	},
	uniques: []unique[deputy.Passkey]{{field: "credential_id", column: "credential_id", within: zoned}},
	after:   passkeyChanged("create"),
	cascade: passkeyChanged("revoke"),
	stamp:   func(p *deputy.Passkey) (*int64, *time.Time) { return &p.Revision, nil },
})

var zoneInvitations = declare(table[deputy.ZoneInvitation]{
	relation: relation{name: "zone_invitations", noun: "invitation", scope: zoned},
	fields: func(i *deputy.ZoneInvitation) []field {
		return []field{
			{"zone_id", &i.ZoneID},
			{"organization_id", &i.OrganizationID},
			{"id", &i.ID},
			{"email", &i.Email},
			{"status", &i.Status},
			{"user_id", &i.UserID},
			{"expires_at", micros{&i.ExpiresAt}},
			{"created_at", micros{&i.CreatedAt}},
			{"updated_at", micros{&i.UpdatedAt}},
			{"revision", &i.Revision},
		}
	},
	search: func(i *deputy.ZoneInvitation) []field {
		return []field{{"email_folded", text(fold(i.Email))}}
	},
	uniques: []unique[deputy.ZoneInvitation]{{
		field: "email", column: "email_folded", within: zoned, where: "status = 'pending'",
		about: func(i *deputy.ZoneInvitation) bool { return i.Status == deputy.InvitationPending },
	}},
	stamp: func(i *deputy.ZoneInvitation) (*int64, *time.Time) { return &i.Revision, &i.UpdatedAt },
})

// passwordChanged and passkeyChanged signal what happened to what a person signs
// in with (OpenID CAEP 1.0 §3.3).
func passwordChanged(how string) func(context.Context, *tx, *deputy.Password) error {
	return func(ctx context.Context, x *tx, p *deputy.Password) error {
		return x.credentialChanged(ctx, p.ZoneID, p.UserID, "password "+how)
	}
}

func passkeyChanged(how string) func(context.Context, *tx, *deputy.Passkey) error {
	return func(ctx context.Context, x *tx, p *deputy.Passkey) error {
		return x.credentialChanged(ctx, p.ZoneID, p.UserID, "fido2-platform "+how)
	}
}

// unverified is the condition that a code was to show that an address is a
// person's who has not done so yet.
const unverified = "purpose = '" + string(deputy.MailVerifyEmail) + "' AND EXISTS (SELECT 1 FROM users WHERE users.zone_id = mailed_codes.zone_id" +
	" AND users.id = mailed_codes.user_id AND NOT users.email_verified AND users.issuer IS NULL AND users.status = '" + string(deputy.UserActive) + "')"

func (s *Store) Unverified(ctx context.Context, before time.Time, limit int) (people []*deputy.User, err error) {
	err = s.readers.with(ctx, func(q querier) (err error) {
		people, err = users.many(ctx, q, "(zone_id, id) IN (SELECT zone_id, user_id FROM mailed_codes WHERE expires_at <= $1 AND "+unverified+" LIMIT $2)",
			before.UnixMicro(), limit)
		return err
	})
	return people, s.fault(err)
}

// forgetSignIn removes what a person signs in with.
func (x *tx) forgetSignIn(ctx context.Context, zone deputy.ZoneID, user deputy.UserID) error {
	return x.each(ctx, []any{string(zone), string(user)},
		"DELETE FROM passwords WHERE zone_id = $1 AND user_id = $2",
		"DELETE FROM mailed_codes WHERE zone_id = $1 AND user_id = $2",
		"DELETE FROM passkeys WHERE zone_id = $1 AND user_id = $2")
}
