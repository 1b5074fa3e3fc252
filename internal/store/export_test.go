package store

import "context"

// KeepChanges makes a zone's list of changes short enough for a test.
func (s *Store) KeepChanges(n int64) { s.kept = n }

// PruneEvery is how many changes a zone's list may be longer.
const PruneEvery = pruneEvery

// ZoneTables returns the tables whose rows belong to a zone, and those of them
// that PurgeZone empties. It asks SQLite; both engines have the same tables.
func (s *Store) ZoneTables(ctx context.Context) (all, emptied []string, err error) {
	err = s.readers.with(ctx, func(q querier) (err error) {
		all, err = column[string](ctx, q, "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND c.name = 'zone_id'")
		return err
	})
	for _, p := range purged {
		if p.scope == "zone_id" {
			emptied = append(emptied, p.table)
		}
	}
	return all, emptied, err
}

// BoundTickets bounds the tickets of a kind to n bytes, little enough for a
// test.
func (s *Store) BoundTickets(n int64) { s.ticketBound = n }
