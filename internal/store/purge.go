package store

import (
	"context"
	"database/sql"
	"errors"

	"deputy/internal/deputy"
)

// purged are the tables that hold rows of a zone, with what tells rows apart.
// The zone's own row goes last, so that an interrupted purge is taken up.
var purged = []struct{ table, scope, id string }{
	{"application_dependencies", "zone_id", "application_id, resource_id"},
	{"application_credentials", "zone_id", "id"},
	{"tickets", "zone_id", "kind, key"},
	{"refresh_families", "zone_id", "session_id"},
	{"streams", "zone_id", "id"},
	{"signals", "zone_id", "seq"},
	{"consents", "zone_id", "user_id, client_id, resource_id"},
	{"group_members", "zone_id", "group_id, user_id"},
	{"role_assignments", "zone_id", "id"},
	{"roles", "zone_id", "id"},
	{"user_groups", "zone_id", "id"},
	{"secrets", "zone_id", "id"},
	{"grants", "zone_id", "id"},
	{"sessions", "zone_id", "id"},
	{"data_keys", "owner_id", "id"},
	{"users", "zone_id", "id"},
	{"passwords", "zone_id", "user_id"},
	{"mailed_codes", "zone_id", "id"},
	{"passkeys", "zone_id", "id"},
	{"zone_invitations", "zone_id", "id"},
	{"zone_members", "zone_id", "organization_user_id"},
	{"mails", "zone_id", "organization_id, id"},
	{"user_agents", "zone_id", "id"},
	{"applications", "zone_id", "id"},
	{"resources", "zone_id", "id"},
	{"providers", "zone_id", "id"},
	{"install_entities", "zone_id", "install_id, name"},
	{"catalog_tasks", "zone_id", "id"},
	{"installs", "zone_id", "id"},
	{"package_versions", "catalog_id", "id"},
	{"packages", "catalog_id", "id"},
	{"policy_set_drafts", "zone_id", "policy_set_id"},
	{"policy_entities", "zone_id", "id"},
	{"policy_set_versions", "zone_id", "id"},
	{"policy_sets", "zone_id", "id"},
	{"policy_drafts", "zone_id", "policy_id"},
	{"policy_versions", "zone_id", "id"},
	{"policies", "zone_id", "id"},
	{"signing_keys", "owner_id", "id"},
	{"zone_changes", "zone_id", "revision, kind, id"},
	{"zones", "id", "id"},
}

// PurgeZone removes up to limit rows of a deleted zone and reports whether any
// are left. The zone's events stay, as do the data keys of its people, which
// hang on the zone's own: without that they open nothing.
func (s *Store) PurgeZone(ctx context.Context, zone deputy.ZoneID, limit int) (more bool, err error) {
	err = s.work(ctx, func(x *tx) error {
		more = false
		var deleted bool
		err := row(x.ctx, x, "SELECT deleted_at IS NOT NULL FROM zones WHERE id = $1", []any{string(zone)}, &deleted)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if !deleted {
			return deputy.Errorf(deputy.Conflict, "the zone is not deleted")
		}
		left := int64(limit)
		for _, p := range purged {
			if left <= 0 {
				more = true
				return nil
			}
			n, err := x.exec(x.ctx, "DELETE FROM "+p.table+" WHERE "+p.scope+" = $1 AND ("+p.id+") IN (SELECT "+p.id+
				" FROM "+p.table+" WHERE "+p.scope+" = $1 LIMIT $2)", string(zone), left)
			if err != nil {
				return err
			}
			left -= n
		}
		return nil
	})
	return more, err
}
