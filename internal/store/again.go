package store

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"

	"deputy/internal/deputy"
)

// What a decision rested on is read again in the transaction that commits it.
// For one row that is quick; for five rows of each of thirty members it would be
// most of what a commit costs. So the rows that the members' bases list are read
// for all of them at once, after the locks of their zones were taken and before
// the first turn. Of those that count their changes it reads no more than the
// count: at the one they were decided by they are what they were. A turn that
// writes what may be among them has the rest read theirs alone.

// foreseen are rows that were read before somebody asked for them; nil where
// there is none. What it does not have nobody has looked for, or has changed.
type foreseen struct {
	sessions map[place]*deputy.Session
	users    map[place]*deputy.User
	grants   map[place]*deputy.Grant
	consents map[place]*deputy.ConsentRecord
	secrets  map[place]*deputy.VaultSecret
}

// place names a row in a zone.
type place struct {
	zone     deputy.ZoneID
	id       string // of the session, the user or the entity
	client   string
	resource string
}

// known returns what was foreseen at a place, else what read finds. A row that
// is not there is absent.
func known[T any](rows map[place]*T, at place, t *table[T], read func() (*T, error)) (*T, error) {
	e, ok := rows[at]
	switch {
	case !ok:
		return read()
	case e == nil:
		return nil, absent(t.noun)
	}
	return e, nil
}

// aside are the beginnings of statements that write nothing of what is foreseen.
var aside = []string{"UPDATE refresh_families ", "INSERT INTO tickets "}

// forget drops what was foreseen if a statement may write some of it.
func (f *foreseen) forget(text string) {
	if !slices.ContainsFunc(aside, func(start string) bool { return strings.HasPrefix(text, start) }) {
		*f = foreseen{}
	}
}

// foresee reads what the members of a group are about to.
func (x *tx) foresee(group []*member) error {
	f := foreseen{}
	var zones []deputy.ZoneID
	for _, m := range group {
		if m.event == nil || m.event.Basis == nil {
			continue
		}
		b := m.event.Basis
		if f.want(b.Zone, &b.Again) && !slices.Contains(zones, b.Zone) {
			zones = append(zones, b.Zone)
		}
	}
	for _, zone := range zones {
		if err := x.foreseeIn(zone, &f); err != nil {
			return err
		}
	}
	x.seen = f
	return nil
}

// want notes what is to be read, and reports whether that is anything.
func (f *foreseen) want(zone deputy.ZoneID, r *deputy.Rows) (any bool) {
	for _, s := range r.Sessions {
		if s != nil {
			want(&f.sessions, place{zone: zone, id: string(s.ID)}, s)
			any = true
		}
	}
	if u := r.User; u != nil {
		want(&f.users, place{zone: zone, id: string(u.ID)}, u)
		any = true
		if r.Resource != "" {
			at := place{zone: zone, id: string(u.ID), resource: string(r.Resource)}
			want(&f.grants, at, r.Grant)
			if r.Client != "" {
				at.client = string(r.Client)
				want(&f.consents, at, nil)
				at.resource = ""
				want(&f.consents, at, nil)
			}
		}
	}
	if r.Entity != "" {
		want(&f.secrets, place{zone: zone, id: string(r.Entity)}, nil)
		any = true
	}
	return any
}

// want notes a row that somebody decided by as it was then; nil where they had
// none or it counts no changes.
func want[T any](rows *map[place]*T, at place, was *T) {
	if *rows == nil {
		*rows = map[place]*T{}
	}
	if was != nil || (*rows)[at] == nil {
		(*rows)[at] = was
	}
}

// foreseeIn reads what is wanted of a zone.
func (x *tx) foreseeIn(zone deputy.ZoneID, f *foreseen) error {
	id := given{"id", func(p *place) *string { return &p.id }}
	user, resource := given{"user_id", id.in}, given{"resource_id", func(p *place) *string { return &p.resource }}
	err := foreseeChanges(x, zone, sessions, f.sessions, []given{id}, "", func(s *deputy.Session) mark { return mark{string(s.ID), s.Revision} })
	if err == nil {
		err = foreseeChanges(x, zone, users, f.users, []given{id}, "", func(u *deputy.User) mark { return mark{string(u.ID), u.Revision} })
	}
	if err == nil {
		err = foreseeChanges(x, zone, grants, f.grants, []given{user, resource}, lastSaid, func(g *deputy.Grant) mark { return mark{string(g.ID), g.Revision} })
	}
	if err == nil {
		client := given{"client_id", func(p *place) *string { return &p.client }}
		err = foreseeRows(x, zone, consents, f.consents, []given{user, client, resource}, "",
			func(c *deputy.ConsentRecord) place {
				return place{zone: zone, id: string(c.UserID), client: string(c.ClientID), resource: string(c.ResourceID)}
			})
	}
	if err == nil {
		err = foreseeRows(x, zone, secrets, f.secrets, []given{{"entity_id", id.in}}, newestSecret,
			func(s *deputy.VaultSecret) place { return place{zone: zone, id: string(s.EntityID)} })
	}
	return err
}

// given is a column and where a place has its value.
type given struct {
	column string
	in     func(*place) *string
}

// mark tells two states of a row apart.
type mark struct {
	id       string
	revision int64
}

// foreseeChanges finds out which of the rows of one table that are wanted are as
// they were. Those that are not there are nil, and others are forgotten. Of
// several at one place the first in the order counts.
func foreseeChanges[T any](x *tx, zone deputy.ZoneID, t *table[T], rows map[place]*T, by []given, order string, of func(*T) mark) error {
	now := map[place]mark{}
	for some := range wanted(rows, zone, by) {
		if err := x.marks(zone, t.name, some, by, order, now); err != nil {
			return err
		}
	}
	for at, was := range rows {
		switch is, exists := now[at]; {
		case at.zone != zone:
		case !exists:
			rows[at] = nil
		case was == nil || of(was) != is:
			delete(rows, at)
		}
	}
	return nil
}

// marks reads the marks of the rows that meet a condition, by their places.
func (x *tx) marks(zone deputy.ZoneID, table string, some *statement, by []given, order string, now map[place]mark) error {
	text := "SELECT "
	for _, g := range by {
		text += g.column + ", "
	}
	text += "id, revision FROM " + table + " WHERE " + some.String() + order
	at, is := place{zone: zone}, mark{}
	var into []any
	for _, g := range by {
		into = append(into, g.in(&at))
	}
	into = append(into, &is.id, &is.revision)
	return rows(x.ctx, x, text, some.args, func(scan func(...any) error) error {
		if err := scan(into...); err != nil {
			return err
		}
		if _, had := now[at]; !had {
			now[at] = is
		}
		return nil
	})
}

// foreseeRows reads the rows of one table that are wanted; of several at one
// place the first in the order counts.
func foreseeRows[T any](x *tx, zone deputy.ZoneID, t *table[T], rows map[place]*T, by []given, order string, at func(*T) place) error {
	for some := range wanted(rows, zone, by) {
		found, err := t.many(x.ctx, x, some.String()+order, some.args...)
		if err != nil {
			return err
		}
		for _, e := range found {
			if was, wanted := rows[at(e)]; wanted && was == nil {
				rows[at(e)] = e
			}
		}
	}
	return nil
}

// maxForeseen bounds the values of one column in one statement.
const maxForeseen = 512

// wanted yields conditions that all rows at the wanted places of a zone meet.
func wanted[T any](rows map[place]*T, zone deputy.ZoneID, by []given) iter.Seq[*statement] {
	return func(yield func(*statement) bool) {
		places := slices.DeleteFunc(slices.Collect(maps.Keys(rows)), func(p place) bool { return p.zone != zone })
		slices.SortFunc(places, func(a, b place) int { return strings.Compare(a.id, b.id) })
		for some := range slices.Chunk(places, maxForeseen) {
			b := &statement{}
			b.WriteString("zone_id = " + b.arg(string(zone)))
			for _, g := range by {
				values := make([]string, 0, len(some))
				for i := range some {
					values = append(values, *g.in(&some[i]))
				}
				slices.Sort(values)
				b.among(g.column, slices.Compact(values))
			}
			if !yield(b) {
				return
			}
		}
	}
}

// among writes the condition that a column has one of some values. There are few
// texts of such conditions, so that the statements are prepared once: the last
// value is repeated up to a power of two.
func (b *statement) among(column string, some []string) {
	size := 1
	for size < len(some) {
		size *= 2
	}
	b.WriteString(" AND " + column + " IN (")
	for i := range size {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(b.arg(some[min(i, len(some)-1)]))
	}
	b.WriteByte(')')
}

// session reads a session, as far as it was not foreseen.
func (f *foreseen) session(ctx context.Context, r querier, zone deputy.ZoneID, id deputy.SessionID) (*deputy.Session, error) {
	return known(f.sessions, place{zone: zone, id: string(id)}, sessions, func() (*deputy.Session, error) {
		return sessions.one(ctx, r, "zone_id = $1 AND id = $2", string(zone), string(id))
	})
}

// user reads a user, as far as they were not foreseen.
func (f *foreseen) user(ctx context.Context, r querier, zone deputy.ZoneID, id deputy.UserID) (*deputy.User, error) {
	return known(f.users, place{zone: zone, id: string(id)}, users, func() (*deputy.User, error) {
		return users.one(ctx, r, "zone_id = $1 AND id = $2", string(zone), string(id))
	})
}
