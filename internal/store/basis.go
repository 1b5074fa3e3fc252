package store

import "deputy/internal/deputy"

// maxBehind is how many revisions a basis may be behind before nobody looks
// what they were: to decide again is cheaper then.
const maxBehind = 256

// span is a stretch of a zone's revisions, from the one after since to now.
type span struct {
	zone       deputy.ZoneID
	since, now int64
}

// stale reports whether something that b relies on has changed, as this turn
// sees it.
func (x *tx) stale(b *deputy.Basis) (bool, error) {
	now, err := x.revision(b.Zone)
	switch {
	case err != nil:
		return false, err
	case now == b.Revision:
		return false, nil
	case b.Relies == nil, b.Revision <= 0, now < b.Revision, now-b.Revision > maxBehind:
		return true, nil
	}
	changes, err := x.changes(span{b.Zone, b.Revision, now})
	if err != nil {
		return false, err
	}
	if len(changes) == 0 || changes[0].revision != b.Revision+1 {
		return true, nil // pruned
	}
	for _, c := range changes {
		if b.Relies(c.kind, c.id) {
			return true, nil
		}
	}
	return false, nil
}

// changes reads what changed in a span of revisions, once in a transaction:
// members of a group are often behind by the same.
func (x *tx) changes(s span) ([]noted, error) {
	if known, ok := x.spans[s]; ok {
		return known, nil
	}
	changes, err := changesSince(x.ctx, x, s.zone, s.since)
	if err != nil {
		return nil, err
	}
	if x.spans == nil {
		x.spans = make(map[span][]noted)
	}
	x.spans[s] = changes
	return changes, nil
}
