package store

import (
	"context"
	"time"

	"deputy/internal/deputy"
)

var organizations = declare(table[deputy.Organization]{
	relation: relation{
		name: "organizations", noun: "organization",
		computed: map[string]string{"sso_enabled": "EXISTS (SELECT 1 FROM sso_connections s WHERE s.organization_id = organizations.id)"},
		related:  map[string]string{"user": "id IN (SELECT organization_id FROM organization_users u WHERE u.id = %s AND u.status = 'active')"},
	},
	fields: func(o *deputy.Organization) []field {
		return []field{
			{"id", &o.ID},
			{"name", &o.Name},
			{"label", &o.Label},
			{"key_id", &o.KeyID},
			{"sso_enabled", &o.SSOEnabled},
			{"created_at", micros{&o.CreatedAt}},
			{"updated_at", micros{&o.UpdatedAt}},
			{"revision", &o.Revision},
		}
	},
	uniques: []unique[deputy.Organization]{{field: "label", column: "label", slug: true}},
	stamp:   func(o *deputy.Organization) (*int64, *time.Time) { return &o.Revision, &o.UpdatedAt },
	cascade: func(ctx context.Context, x *tx, o *deputy.Organization) error {
		zones, err := column[string](ctx, x, "SELECT id FROM zones WHERE organization_id = $1 AND deleted_at IS NULL LIMIT 1", string(o.ID))
		if err != nil {
			return err
		}
		if len(zones) > 0 {
			return deputy.Errorf(deputy.Conflict, "the organization still has zones")
		}
		return x.each(ctx, []any{string(o.ID)},
			"DELETE FROM mails WHERE organization_id = $1",
			"DELETE FROM sso_connections WHERE organization_id = $1",
			"DELETE FROM invitations WHERE organization_id = $1",
			"DELETE FROM zone_members WHERE organization_id = $1",
			"DELETE FROM organization_users WHERE organization_id = $1",
			"DELETE FROM service_account_credentials WHERE organization_id = $1",
			"DELETE FROM service_accounts WHERE organization_id = $1")
	},
})

var serviceAccounts = declare(table[deputy.ServiceAccount]{
	relation: relation{name: "service_accounts", noun: "service account", scope: owned},
	fields: func(a *deputy.ServiceAccount) []field {
		return []field{
			{"organization_id", &a.OrganizationID},
			{"id", &a.ID},
			{"name", &a.Name},
			{"description", &a.Description},
			{"created_at", micros{&a.CreatedAt}},
			{"updated_at", micros{&a.UpdatedAt}},
			{"revision", &a.Revision},
		}
	},
	stamp: func(a *deputy.ServiceAccount) (*int64, *time.Time) { return &a.Revision, &a.UpdatedAt },
	cascade: func(ctx context.Context, x *tx, a *deputy.ServiceAccount) error {
		return x.each(ctx, []any{string(a.OrganizationID), string(a.ID)},
			"DELETE FROM service_account_credentials WHERE organization_id = $1 AND service_account_id = $2")
	},
})

var serviceCredentials = declare(table[deputy.ServiceAccountCredential]{
	relation: relation{name: "service_account_credentials", noun: "service account credential", scope: owned, parent: "service_account_id"},
	fields: func(c *deputy.ServiceAccountCredential) []field {
		return []field{
			{"organization_id", &c.OrganizationID},
			{"id", &c.ID},
			{"service_account_id", &c.ServiceAccountID},
			{"name", &c.Name},
			{"description", &c.Description},
			{"client_id", &c.ClientID},
			{"secret_hash", &c.SecretHash},
			{"last_used_at", optionalMicros{&c.LastUsedAt}},
			{"created_at", micros{&c.CreatedAt}},
			{"revision", &c.Revision},
		}
	},
	uniques: []unique[deputy.ServiceAccountCredential]{{field: "client_id", column: "client_id"}},
	stamp:   func(c *deputy.ServiceAccountCredential) (*int64, *time.Time) { return &c.Revision, nil },
})

// account reads what a management caller's client id rests on.
func account(ctx context.Context, r querier, clientID string) (*deputy.Account, error) {
	c, err := serviceCredentials.one(ctx, r, "client_id = $1", clientID)
	if err != nil {
		return nil, err
	}
	a, err := serviceAccounts.one(ctx, r, "organization_id = $1 AND id = $2", string(c.OrganizationID), string(c.ServiceAccountID))
	if err != nil {
		return nil, err
	}
	o, err := organizations.one(ctx, r, "id = $1", string(c.OrganizationID))
	if err != nil {
		return nil, err
	}
	return &deputy.Account{Organization: o, Account: a, Credential: c}, nil
}
