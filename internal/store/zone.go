package store

import (
	"context"
	"time"

	"deputy/internal/deputy"
)

var zones = declare(table[deputy.Zone]{
	relation: relation{
		name: "zones", noun: "zone", scope: owned, live: "deleted_at IS NULL",
		related: map[string]string{"member": "id IN (SELECT zone_id FROM zone_members m WHERE m.organization_id = zones.organization_id AND m.organization_user_id = %s)"},
	},
	fields: func(z *deputy.Zone) []field {
		return []field{
			{"id", &z.ID},
			{"organization_id", &z.OrganizationID},
			{"owner_type", &z.Owner},
			{"slug", &z.Slug},
			{"name", &z.Name},
			{"description", &z.Description},
			{"default_gateway_application_id", &z.DefaultGatewayApplicationID},
			{"default_resource_id", &z.DefaultResourceID},
			{"user_identity_provider_id", &z.UserIdentityProviderID},
			{"requires_invitation", &z.RequiresInvitation},
			{"encryption_key", document{&z.EncryptionKey}},
			{"login_flow", &z.LoginFlow},
			{"pkce_required", &z.PKCERequired},
			{"dcr_enabled", &z.DCREnabled},
			{"cimd_enabled", &z.CIMDEnabled},
			{"cimd_client_ids", listOf(&z.CIMDClientIDs)},
			{"signing_alg", &z.SigningAlg},
			{"issuer_form", &z.IssuerForm},
			{"key_id", &z.KeyID},
			{"active_policy_set_version_id", &z.ActivePolicySetVersionID},
			{"policy_schema", &z.PolicySchema},
			{"shadow_policy_set_version_id", &z.ShadowPolicySetVersionID},
			{"revision", &z.Revision},
			{"deleted_at", optionalMicros{&z.DeletedAt}},
			{"created_at", micros{&z.CreatedAt}},
			{"updated_at", micros{&z.UpdatedAt}},
		}
	},
	uniques: []unique[deputy.Zone]{{field: "slug", column: "slug", within: owned, slug: true, where: "deleted_at IS NULL"}},
	// The revision counts the changes of everything in the zone: see changed.
	stamp: func(z *deputy.Zone) (*int64, *time.Time) { return nil, &z.UpdatedAt },
	before: func(_ context.Context, _ *tx, z *deputy.Zone) error {
		z.Revision = 1
		return nil
	},
	after: func(_ context.Context, x *tx, z *deputy.Zone) error {
		x.bumped[z.ID] = 1
		x.born[z.ID] = true
		return nil
	},
	change: func(z *deputy.Zone) change { return change{z.ID, deputy.ChangedZone, string(z.ID)} },
	remove: func(ctx context.Context, x *tx, z *deputy.Zone) error {
		if err := x.changed(ctx, change{z.ID, deputy.ChangedZone, string(z.ID)}); err != nil {
			return err
		}
		if err := x.destroyKey(ctx, z.KeyID, deputy.ID(z.ID)); err != nil {
			return err
		}
		if _, err := x.exec(ctx, "UPDATE zones SET deleted_at = $1 WHERE id = $2", x.now.UnixMicro(), string(z.ID)); err != nil {
			return err
		}
		return x.Enqueue(ctx, deputy.Task{
			ID: deputy.NewID(x.now), Kind: deputy.TaskPurgeZone, ZoneID: z.ID, RunAt: x.now,
		})
	},
})

// revisionOf returns the revision of a zone; sql.ErrNoRows when it does not
// exist or was deleted.
func revisionOf(ctx context.Context, r querier, zone deputy.ZoneID) (revision int64, err error) {
	err = row(ctx, r, "SELECT revision FROM zones WHERE id = $1 AND deleted_at IS NULL", []any{string(zone)}, &revision)
	return revision, err
}
