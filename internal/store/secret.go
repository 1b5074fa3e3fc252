package store

import (
	"context"
	"time"

	"deputy/internal/deputy"
)

var secrets = declare(table[deputy.VaultSecret]{
	relation: relation{name: "secrets", noun: "secret", scope: zoned},
	fields: func(s *deputy.VaultSecret) []field {
		return []field{
			{"zone_id", &s.ZoneID},
			{"id", &s.ID},
			{"entity_id", &s.EntityID},
			{"name", &s.Name},
			{"description", &s.Description},
			{"type", &s.Type},
			{"sealed", &s.Sealed},
			{"metadata", raw{&s.Metadata}},
			{"version", &s.Version},
			{"created_at", micros{&s.CreatedAt}},
			{"updated_at", micros{&s.UpdatedAt}},
			{"revision", &s.Revision},
		}
	},
	stamp: func(s *deputy.VaultSecret) (*int64, *time.Time) { return &s.Revision, &s.UpdatedAt },
})

// newestSecret selects the id of the secret of an entity that counts. By itself it
// is read from the index alone, which a planner would not take for whole rows.
func newestSecret(zone, entity string) string {
	return "(SELECT id FROM secrets WHERE zone_id = " + zone + " AND entity_id = " + entity + " ORDER BY id DESC LIMIT 1)"
}

// secretOf reads the newest secret that is kept for an entity.
func secretOf(ctx context.Context, q querier, zone deputy.ZoneID, entity deputy.ID) (*deputy.VaultSecret, error) {
	return secrets.one(ctx, q, "zone_id = $1 AND id = "+newestSecret("$1", "$2"), string(zone), string(entity))
}

// forgetSecrets removes what is kept for an entity.
func forgetSecrets(ctx context.Context, x *tx, zone deputy.ZoneID, entity deputy.ID) error {
	_, err := x.exec(ctx, "DELETE FROM secrets WHERE zone_id = $1 AND entity_id = $2", string(zone), string(entity))
	return err
}
