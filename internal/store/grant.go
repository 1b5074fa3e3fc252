package store

import (
	"context"
	"time"

	"github.com/go-json-experiment/json"

	"deputy/internal/deputy"
)

var grants = declare(table[deputy.Grant]{
	relation: relation{
		name: "grants", noun: "delegated grant", scope: zoned,
		lapses: &runsOut{unless: "refresh_token_set", index: "grants_due"},
		indexes: []served{
			{deputy.Equals, "user_id", "grants_user"}, {deputy.Equals, "resource_id", "grants_resource"}, {deputy.InState, "status", "grants_status"},
		},
	},
	fields: func(g *deputy.Grant) []field {
		return []field{
			{"zone_id", &g.ZoneID},
			{"id", &g.ID},
			{"organization_id", &g.OrganizationID},
			{"user_id", &g.UserID},
			{"resource_id", &g.ResourceID},
			{"provider_id", &g.ProviderID},
			{"scopes", listOf(&g.Scopes)},
			{"status", &g.Status},
			{"refresh_token_set", &g.RefreshTokenSet},
			{"expires_at", micros{&g.ExpiresAt}},
			{"refreshed_at", optionalMicros{&g.RefreshedAt}},
			{"requested_scopes", listOf(&g.Requested)},
			{"sealed", &g.Sealed},
			{"lease_until", micros{&g.Lease}},
			{"fence", &g.Fence},
			{"created_at", micros{&g.CreatedAt}},
			{"updated_at", micros{&g.UpdatedAt}},
			{"revision", &g.Revision},
		}
	},
	stamp: func(g *deputy.Grant) (*int64, *time.Time) { return &g.Revision, &g.UpdatedAt },
	follow: func(ctx context.Context, x *tx, g *deputy.Grant) error {
		if g.Status != deputy.Revoked || len(g.Sealed) == 0 {
			return nil
		}
		if err := revokeUpstream(ctx, x, g); err != nil {
			return err
		}
		g.Sealed = nil
		_, err := x.exec(ctx, "UPDATE grants SET sealed = NULL WHERE zone_id = $1 AND id = $2", string(g.ZoneID), string(g.ID))
		return err
	},
	cascade: revokeUpstream,
})

// revokeUpstream enqueues what revokes the tokens of a grant at their provider.
func revokeUpstream(ctx context.Context, x *tx, g *deputy.Grant) error {
	if len(g.Sealed) == 0 {
		return nil
	}
	data, err := json.Marshal(deputy.GrantRevocation{
		OrganizationID: g.OrganizationID, GrantID: g.ID, UserID: g.UserID, ProviderID: g.ProviderID, Sealed: g.Sealed,
	})
	if err != nil {
		return err
	}
	return x.Enqueue(ctx, deputy.Task{ID: deputy.NewID(x.now), Kind: deputy.TaskRevokeGrant, ZoneID: g.ZoneID, Data: data, RunAt: x.now})
}

// lastSaid ends what selects from the grants of a person for a resource: with what
// they last said about it, which is the first in the index grants_said.
const lastSaid = " ORDER BY CASE status WHEN 'active' THEN 0 ELSE 1 END, id DESC LIMIT 1"

// grantOf reads what a person last said about a resource.
func grantOf(ctx context.Context, q querier, zone deputy.ZoneID, user deputy.UserID, resource deputy.ResourceID) (*deputy.Grant, error) {
	return grants.one(ctx, q, "zone_id = $1 AND user_id = $2 AND resource_id = $3"+lastSaid,
		string(zone), string(user), string(resource))
}

// LeaseGrant gives the caller the refresh of a grant to themselves. It is nothing
// that anybody could see, so revision and time stay.
func (s *Store) LeaseGrant(ctx context.Context, zone deputy.ZoneID, id deputy.ID, lease time.Duration) (g *deputy.Grant, ours bool, err error) {
	err = s.work(ctx, func(x *tx) error {
		n, err := x.exec(x.ctx, "UPDATE grants SET lease_until = $1, fence = fence + 1 WHERE zone_id = $2 AND id = $3 AND lease_until <= $4 AND status = 'active'",
			x.now.Add(lease).UnixMicro(), string(zone), string(id), x.now.UnixMicro())
		if err != nil {
			return err
		}
		ours = n > 0
		g, err = grants.one(x.ctx, x, "zone_id = $1 AND id = $2", string(zone), string(id))
		return err
	})
	if err != nil {
		return nil, false, err
	}
	return g, ours, nil
}

// EndLease gives a lease back.
func (s *Store) EndLease(ctx context.Context, zone deputy.ZoneID, id deputy.ID, fence int64) error {
	return s.work(ctx, func(x *tx) error {
		_, err := x.exec(x.ctx, "UPDATE grants SET lease_until = 0 WHERE zone_id = $1 AND id = $2 AND fence = $3", string(zone), string(id), fence)
		return err
	})
}
