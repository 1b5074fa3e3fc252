package store

import (
	"context"
	"time"

	"deputy/internal/deputy"
)

var users = declare(table[deputy.User]{
	relation: relation{
		name: "users", noun: "user", scope: zoned,
		sorts:   map[string]string{"email": "email", "authenticated_at": "COALESCE(authenticated_at, 0)"},
		indexes: []served{{deputy.Equals, "email", "users_email"}},
		sorted:  map[string]string{"email": "users_email", "authenticated_at": "users_authenticated"},
		crowd:   &crowd{value: "COALESCE(authenticated_at, 0) = 0", then: "email", index: "users_newcomers"},
	},
	fields: func(u *deputy.User) []field {
		return []field{
			{"zone_id", &u.ZoneID},
			{"id", &u.ID},
			{"organization_id", &u.OrganizationID},
			{"identifier", &u.Identifier},
			{"email", &u.Email},
			{"email_verified", &u.EmailVerified},
			{"status", &u.Status},
			{"provider_id", &u.ProviderID},
			{"issuer", &u.Issuer},
			{"subject", &u.Subject},
			{"authenticated_at", optionalMicros{&u.AuthenticatedAt}},
			{"key_id", &u.KeyID},
			{"created_at", micros{&u.CreatedAt}},
			{"updated_at", micros{&u.UpdatedAt}},
			{"revision", &u.Revision},
		}
	},
	search: func(u *deputy.User) []field {
		subject, account := "", ""
		if u.Subject != nil {
			subject = *u.Subject
		}
		if u.Issuer != nil && u.Subject != nil {
			account = deputy.FederatedAccount(*u.Issuer, *u.Subject)
		}
		return []field{
			{"identifier_key", text(key(u.Identifier))},
			{"email_folded", text(fold(u.Email))},
			{"subject_folded", text(fold(subject))},
			{"account_key", text(key(account))},
		}
	},
	uniques: []unique[deputy.User]{
		{field: "identifier", column: "identifier_key", within: zoned},
		{
			field: "account", column: "account_key", within: zoned, where: "account_key <> ''",
			about: func(u *deputy.User) bool { return u.Issuer != nil && u.Subject != nil },
		},
		{
			field: "email", column: "email_folded", within: zoned, where: "issuer IS NULL",
			about: func(u *deputy.User) bool { return u.Issuer == nil },
		},
	},
	stamp: func(u *deputy.User) (*int64, *time.Time) { return &u.Revision, &u.UpdatedAt },
	follow: func(ctx context.Context, x *tx, u *deputy.User) error {
		if u.Status != deputy.UserDisabled {
			return nil
		}
		if err := x.over(ctx, u.ZoneID, deputy.SignalUser, u.Identifier); err != nil {
			return err
		}
		return revokeSessions(ctx, x, u.ZoneID, "user_id", string(u.ID))
	},
	cascade: func(ctx context.Context, x *tx, u *deputy.User) error {
		if err := x.forgetSignIn(ctx, u.ZoneID, u.ID); err != nil {
			return err
		}
		if err := unassignPrincipal(ctx, x, u.ZoneID, deputy.UserPrincipal, deputy.ID(u.ID)); err != nil {
			return err
		}
		if err := x.each(ctx, []any{string(u.ZoneID), string(u.ID)},
			"DELETE FROM sessions WHERE zone_id = $1 AND user_id = $2",
			"DELETE FROM grants WHERE zone_id = $1 AND user_id = $2",
			"DELETE FROM consents WHERE zone_id = $1 AND user_id = $2",
			"DELETE FROM group_members WHERE zone_id = $1 AND user_id = $2"); err != nil {
			return err
		}
		if err := x.over(ctx, u.ZoneID, deputy.SignalUser, u.Identifier); err != nil {
			return err
		}
		return x.destroyKey(ctx, u.KeyID, deputy.ID(u.ID))
	},
})

// consents have no id of their own; their table is read and written whole. One
// without a resource says that the person has taken back all that they agreed
// to for the client.
var consents = declare(table[deputy.ConsentRecord]{
	relation: relation{
		name: "consents", noun: "consent", scope: zoned, id: "resource_id",
		replace: "(zone_id, user_id, client_id, resource_id) DO UPDATE SET scopes = excluded.scopes, created_at = excluded.created_at",
	},
	fields: func(c *deputy.ConsentRecord) []field {
		return []field{
			{"zone_id", &c.ZoneID},
			{"user_id", &c.UserID},
			{"client_id", &c.ClientID},
			{"resource_id", &c.ResourceID},
			{"scopes", listOf(&c.Scopes)},
			{"created_at", micros{&c.CreatedAt}},
		}
	},
	stamp: func(*deputy.ConsentRecord) (*int64, *time.Time) { return nil, nil },
})

// consent reads the record of a person, client and resource.
func consent(ctx context.Context, q querier, zone deputy.ZoneID, user deputy.UserID, client deputy.ID, resource deputy.ResourceID) (*deputy.ConsentRecord, error) {
	return consents.one(ctx, q, "zone_id = $1 AND user_id = $2 AND client_id = $3 AND resource_id = $4",
		string(zone), string(user), string(client), string(resource))
}
