package store

import (
	"context"
	"slices"
	"strings"

	"deputy/internal/deputy"
)

// What a decision rested on is read again in the transaction that commits it.
// For one row that is quick; for five rows of each of thirty members it would be
// most of what a commit costs. So the rows that the members' bases list are read
// for all of them at once, after the locks of their zones were taken and before
// the first turn. A turn that writes what may be among them has the rest read
// theirs alone.

// foreseen are rows that were read before somebody asked for them; nil where
// there is none. What it does not have nobody has looked for.
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
	client   deputy.ID
	resource deputy.ResourceID
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
			want(&f.sessions, place{zone: zone, id: string(s.ID)})
			any = true
		}
	}
	if r.User != "" {
		want(&f.users, place{zone: zone, id: string(r.User)})
		any = true
		if r.Resource != "" {
			want(&f.grants, place{zone: zone, id: string(r.User), resource: r.Resource})
			if r.Client != "" {
				want(&f.consents, place{zone: zone, id: string(r.User), client: r.Client, resource: r.Resource})
				want(&f.consents, place{zone: zone, id: string(r.User), client: r.Client})
			}
		}
	}
	if r.Entity != "" {
		want(&f.secrets, place{zone: zone, id: string(r.Entity)})
		any = true
	}
	return any
}

func want[T any](rows *map[place]*T, at place) {
	if *rows == nil {
		*rows = map[place]*T{}
	}
	(*rows)[at] = nil
}

// foreseeIn reads what is wanted of a zone.
func (x *tx) foreseeIn(zone deputy.ZoneID, f *foreseen) error {
	id := func(p place) string { return p.id }
	err := foreseeRows(x, zone, sessions, f.sessions, []given{{"id", id}}, "",
		func(s *deputy.Session) place { return place{zone: zone, id: string(s.ID)} })
	if err == nil {
		err = foreseeRows(x, zone, users, f.users, []given{{"id", id}}, "",
			func(u *deputy.User) place { return place{zone: zone, id: string(u.ID)} })
	}
	resource := given{"resource_id", func(p place) string { return string(p.resource) }}
	if err == nil {
		err = foreseeRows(x, zone, grants, f.grants, []given{{"user_id", id}, resource}, lastSaid,
			func(g *deputy.Grant) place { return place{zone: zone, id: string(g.UserID), resource: g.ResourceID} })
	}
	if err == nil {
		client := given{"client_id", func(p place) string { return string(p.client) }}
		err = foreseeRows(x, zone, consents, f.consents, []given{{"user_id", id}, client, resource}, "",
			func(c *deputy.ConsentRecord) place {
				return place{zone: zone, id: string(c.UserID), client: c.ClientID, resource: c.ResourceID}
			})
	}
	if err == nil {
		err = foreseeRows(x, zone, secrets, f.secrets, []given{{"entity_id", id}}, newestSecret,
			func(s *deputy.VaultSecret) place { return place{zone: zone, id: string(s.EntityID)} })
	}
	return err
}

// given is a column and what of a place it has the value of.
type given struct {
	column string
	of     func(place) string
}

// maxForeseen bounds the values of one column in one statement.
const maxForeseen = 512

// foreseeRows reads the rows of one table whose places are wanted; of several at
// one place the first in the order counts.
func foreseeRows[T any](x *tx, zone deputy.ZoneID, t *table[T], rows map[place]*T, by []given, order string, at func(*T) place) error {
	lead := make([]string, 0, len(rows))
	for p := range rows {
		if p.zone == zone {
			lead = append(lead, by[0].of(p))
		}
	}
	slices.Sort(lead)
	for some := range slices.Chunk(slices.Compact(lead), maxForeseen) {
		b := &statement{}
		b.WriteString("zone_id = " + b.arg(string(zone)))
		b.among(by[0].column, some)
		for _, g := range by[1:] {
			b.among(g.column, valuesOf(rows, zone, g, by[0], some))
		}
		found, err := t.many(x.ctx, x, b.String()+order, b.args...)
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

// valuesOf returns the values that a column has at the wanted places whose
// leading column has one of some values.
func valuesOf[T any](rows map[place]*T, zone deputy.ZoneID, g, lead given, some []string) []string {
	var out []string
	for p := range rows {
		if _, ours := slices.BinarySearch(some, lead.of(p)); ours && p.zone == zone {
			out = append(out, g.of(p))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
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
