package store

import (
	"context"
	"slices"
	"strconv"

	"deputy/internal/deputy"
)

// The status of a session or a grant counts at a time: what was written down as
// active may have run out since. Expire writes that down as well, so that each
// status is a stretch of an index in the order of ids; lists look for the few
// that it has not reached yet by their time.

// runsOut is the condition that the time of an active row has run out: one
// without whose column is true never does. The index has those rows by their
// time.
type runsOut struct{ unless, index string }

// before writes the condition, at a time. Both bounds are there because without
// values at hand a planner takes one alone for a third of the table.
func (r runsOut) before(b *statement, now int64) {
	b.WriteString("status = 'active' AND ")
	if r.unless != "" {
		b.WriteString("NOT " + r.unless + " AND ")
	}
	b.WriteString("expires_at > 0 AND expires_at <= " + b.arg(now))
}

// state returns the conditions that a row is in a state, as far as that is
// written down; each is a stretch of an index.
func (t *relation) state(state deputy.Status, now int64) []condition {
	switch state {
	case deputy.Active:
		return []condition{func(b *statement) {
			b.WriteString("status = 'active' AND (expires_at > " + b.arg(now))
			if t.lapses.unless != "" {
				b.WriteString(" OR " + t.lapses.unless)
			}
			b.WriteString(")")
		}}
	case deputy.Expired, deputy.Revoked:
		return []condition{func(b *statement) { b.WriteString("status = '" + string(state) + "'") }}
	}
	return nil
}

// fewDue is how many rows whose time has run out may wait to be written down
// for a list to read them all: Expire comes by twice a second.
const fewDue = 10_000

// addDue adds to a list of expired rows those that are not written down as such.
// They are found by their time, before anything else is asked of them. A planner
// believes that they are many, for it knows how many are active and how many
// are over, and not that hardly any are both: few must be asked for, in the
// order of the index.
func (l *listing) addDue(ctx context.Context, filters []deputy.Filter) error {
	p := part{where: &statement{}, from: l.t.name}
	l.t.within(p.where, l.in)
	asked := false
	for _, f := range filters {
		if f.Op == deputy.InState {
			if asked = slices.Contains(f.Values, string(deputy.Expired)); !asked {
				return nil // nothing is in two states
			}
		} else if err := l.t.filter(p.where, l.s.d, f); err != nil {
			return err
		}
	}
	if !asked {
		return nil
	}
	now, byTime := l.s.now().UnixMicro(), l.t.name
	if l.s.d.told {
		byTime += " INDEXED BY " + l.t.lapses.index
	}
	due := &statement{}
	due.WriteString("SELECT id FROM " + byTime + " WHERE zone_id = " + due.arg(string(l.in.Zone)) + " AND ")
	l.t.lapses.before(due, now)
	due.WriteString(" ORDER BY expires_at LIMIT " + strconv.Itoa(l.s.fewDue+1))
	var err error
	if p.ids, err = column[string](ctx, l.r, due.String(), due.args...); err != nil || len(p.ids) == 0 {
		return err
	}
	if len(p.ids) > l.s.fewDue {
		p.ids, p.from = nil, byTime
		p.where.WriteString(" AND ")
		l.t.lapses.before(p.where, now)
	}
	l.parts = append(l.parts, p)
	return nil
}

// Expire writes down that the time of up to limit sessions and grants has run
// out. It is no change that anybody could see, so revision and time stay.
func (s *Store) Expire(ctx context.Context, limit int) (more bool, err error) {
	for _, t := range []struct {
		name   string
		lapses runsOut
	}{{sessions.name, *sessions.lapses}, {grants.name, *grants.lapses}} {
		first := &statement{}
		first.WriteString("SELECT expires_at FROM " + t.name + " WHERE ")
		t.lapses.before(first, s.now().UnixMicro())
		first.WriteString(" ORDER BY expires_at LIMIT 1")
		var due []int64
		err := s.readers.with(ctx, func(q querier) (err error) {
			due, err = column[int64](ctx, q, first.String(), first.args...)
			return err
		})
		if err == nil && len(due) > 0 {
			err = s.work(ctx, func(x *tx) error {
				b := &statement{}
				b.WriteString("UPDATE " + t.name + runOut + " WHERE ")
				t.lapses.before(b, x.now.UnixMicro()) // again, as it may have changed once it is locked
				b.WriteString(" AND (zone_id, id) IN (SELECT zone_id, id FROM " + t.name + " WHERE ")
				t.lapses.before(b, x.now.UnixMicro())
				b.WriteString(" ORDER BY expires_at LIMIT " + b.arg(limit) + ")")
				n, err := x.exec(x.ctx, b.String(), b.args...)
				more = more || n >= int64(limit)
				return err
			})
		}
		if err != nil {
			return false, err
		}
	}
	return more, nil
}

// runOut is the change that Expire makes. A row decides what it did, for its time
// has run out either way.
const runOut = " SET status = 'expired'"

// revokeSessions revokes the active sessions that a column ties to an id, and
// all that are below them. Outside it is told of whom or what the id is.
func revokeSessions(ctx context.Context, x *tx, zone deputy.ZoneID, field, id string) error {
	ended, err := column[string](ctx, x, "UPDATE sessions SET status = 'revoked', updated_at = $1, revision = revision + 1"+
		" WHERE zone_id = $2 AND "+field+" = $3 AND status = 'active' RETURNING id", x.now.UnixMicro(), string(zone), id)
	if err != nil {
		return err
	}
	return revokeBelow(ctx, x, zone, nil, ended)
}

// revokeBelow revokes the sessions below some, generation by generation: those
// of a person, whose end is signalled, unless user is nil.
func revokeBelow(ctx context.Context, x *tx, zone deputy.ZoneID, user *deputy.UserID, parents []string) error {
	for len(parents) > 0 {
		var next []string
		for batch := range slices.Chunk(parents, 100) {
			below := " WHERE zone_id = $1 AND parent_id IN (" + placeholders(2, len(batch)) + ")"
			args := append([]any{string(zone)}, texts(batch)...)
			children, err := column[string](ctx, x, "SELECT id FROM sessions"+below, args...)
			if err != nil {
				return err
			}
			if len(children) == 0 {
				continue
			}
			ended, err := column[string](ctx, x, "UPDATE sessions SET status = 'revoked', revision = revision + 1, updated_at = "+placeholders(len(args)+1, 1)+
				below+" AND status = 'active' RETURNING id", append(args, x.now.UnixMicro())...)
			if err == nil {
				err = x.sessionsOver(ctx, zone, user, ended...)
			}
			if err != nil {
				return err
			}
			next = append(next, children...)
		}
		parents = next
	}
	return nil
}
