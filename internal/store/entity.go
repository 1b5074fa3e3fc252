package store

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"deputy/internal/deputy"
)

// usedEntity is an entity that a decision of this transaction names.
type usedEntity struct {
	zone deputy.ZoneID
	deputy.PolicyEntity
}

// flushEntities writes each entity once, in an order that every node keeps.
func flushEntities(ctx context.Context, q querier, all []usedEntity, now time.Time) error {
	slices.SortFunc(all, func(a, b usedEntity) int {
		return cmp.Or(cmp.Compare(a.zone, b.zone), bytes.Compare(a.ID[:], b.ID[:]))
	})
	for i, e := range all {
		if i > 0 && e.zone == all[i-1].zone && e.ID == all[i-1].ID {
			continue
		}
		if _, err := q.exec(ctx, "INSERT INTO policy_entities (zone_id, id, sealed, data, used_at) VALUES ($1, $2, $3, $4, $5)"+
			" ON CONFLICT (zone_id, id) DO UPDATE SET used_at = excluded.used_at",
			string(e.zone), e.ID.String(), e.Sealed, e.Data, now.UnixMicro()); err != nil {
			return err
		}
	}
	return nil
}

// maxNamed bounds the entities that one statement names.
const maxNamed = 500

func (s *Store) PolicyEntities(ctx context.Context, zone deputy.ZoneID, ids []deputy.EntityID) (found []deputy.PolicyEntity, err error) {
	err = s.readers.consistent(ctx, func(q querier) error {
		found = nil
		for some := range slices.Chunk(ids, maxNamed) {
			args := []any{string(zone)}
			for _, id := range some {
				args = append(args, id.String())
			}
			err := rows(ctx, q, "SELECT id, sealed, data FROM policy_entities WHERE zone_id = $1 AND id IN ("+placeholders(2, len(some))+")", args,
				func(scan func(...any) error) error {
					var e deputy.PolicyEntity
					var id []byte
					if err := scan(&id, &e.Sealed, &e.Data); err != nil {
						return err
					}
					found = append(found, e)
					return found[len(found)-1].ID.UnmarshalText(id)
				})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return found, s.fault(err)
}

func (s *Store) PruneEntities(ctx context.Context, before time.Time, limit int) (more bool, err error) {
	err = s.work(ctx, func(x *tx) error {
		n, err := x.exec(x.ctx, "DELETE FROM policy_entities WHERE (zone_id, id) IN (SELECT zone_id, id FROM policy_entities WHERE used_at < $1 ORDER BY used_at LIMIT $2)",
			before.UnixMicro(), limit)
		more = n == int64(limit)
		return err
	})
	return more, err
}
