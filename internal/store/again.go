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
// count: at the one they were decided by they are what they were. Where nobody
// else writes, what was read stays good for the transactions to come. A
// statement that writes one of these tables has what is known of it forgotten.

// foreseen are rows that were read before somebody asked for them, as they are
// now; nil where there is none. What it does not have nobody has looked for, or
// has changed.
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

// forget drops what a statement may change: the rows of the table that it
// writes, which are all that it changes, because the schema has no triggers and
// nothing cascades. What Expire writes down decides nothing.
func (f *foreseen) forget(text string) {
	switch verb, _, _ := strings.Cut(text, " "); verb {
	case "SELECT", "BEGIN", "SAVEPOINT", "RELEASE", "COMMIT", "PRAGMA":
		return
	}
	table := ""
	for _, start := range []string{"INSERT INTO ", "UPDATE ", "DELETE FROM "} {
		if rest, ok := strings.CutPrefix(text, start); ok {
			after := strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyz_")
			if strings.HasPrefix(after, runOut) {
				return
			}
			table = strings.TrimSuffix(rest, after)
		}
	}
	switch table {
	case "":
		*f = foreseen{}
	case "sessions":
		f.sessions = nil
	case "users":
		f.users = nil
	case "grants":
		f.grants = nil
	case "consents":
		f.consents = nil
	case "secrets":
		f.secrets = nil
	}
}

// renew begins a transaction's knowledge with what its connection knew, unless
// another has written since.
func (l *link) renew(ctx context.Context) error {
	if l.d.version == "" {
		l.seen = foreseen{}
		return nil
	}
	now, err := column[int64](ctx, l, l.d.version)
	if err != nil {
		return err
	}
	if now[0] != l.version {
		l.seen, l.version = foreseen{}, now[0]
	}
	return nil
}

// maxForeseen bounds the rows of each table that are known from one transaction
// to the next, and maxKnown the bytes of any length in one of them: a larger one
// is read by whoever asks.
const (
	maxForeseen = 8192
	maxKnown    = 4096
)

// foresee reads what the members of a group are about to, as far as it is not
// known yet.
func (x *tx) foresee(group []*member) error {
	f, asked := &x.link.seen, foreseen{}
	var zones []deputy.ZoneID
	for _, m := range group {
		if m.event == nil || m.event.Basis == nil {
			continue
		}
		b := m.event.Basis
		if f.want(&asked, b.Zone, &b.Again) && !slices.Contains(zones, b.Zone) {
			zones = append(zones, b.Zone)
		}
	}
	for _, zone := range zones {
		if err := x.foreseeIn(zone, &asked); err != nil {
			return err
		}
	}
	f.sessions = learn(f.sessions, asked.sessions, func(s *deputy.Session) int { return len(s.Data) })
	f.users = learn(f.users, asked.users, nil)
	f.grants = learn(f.grants, asked.grants, func(g *deputy.Grant) int { return len(g.Sealed) })
	f.consents = learn(f.consents, asked.consents, nil)
	f.secrets = learn(f.secrets, asked.secrets, func(s *deputy.VaultSecret) int { return len(s.Sealed) + len(s.Metadata) })
	return nil
}

// learn adds to what is known what was found out. No size is of rows that have
// nothing of any length.
func learn[T any](known, found map[place]*T, size func(*T) int) map[place]*T {
	if size != nil {
		maps.DeleteFunc(found, func(_ place, e *T) bool { return e != nil && size(e) > maxKnown })
	}
	if known == nil || len(known)+len(found) > maxForeseen {
		return found
	}
	maps.Copy(known, found)
	return known
}

// want notes what is to be read, and reports whether that is anything.
func (f *foreseen) want(asked *foreseen, zone deputy.ZoneID, r *deputy.Rows) (any bool) {
	for _, s := range r.Sessions {
		if s != nil {
			any = want(f.sessions, &asked.sessions, place{zone: zone, id: string(s.ID)}, s, sessionMark) || any
		}
	}
	if u := r.User; u != nil {
		any = want(f.users, &asked.users, place{zone: zone, id: string(u.ID)}, u, userMark) || any
		if r.Resource != "" {
			at := place{zone: zone, id: string(u.ID), resource: string(r.Resource)}
			any = want(f.grants, &asked.grants, at, r.Grant, grantMark) || any
			if r.Client != "" {
				at.client = string(r.Client)
				any = want(f.consents, &asked.consents, at, nil, nil) || any
				at.resource = ""
				any = want(f.consents, &asked.consents, at, nil, nil) || any
			}
		}
	}
	if r.Entity != "" {
		any = want(f.secrets, &asked.secrets, place{zone: zone, id: string(r.Entity)}, nil, nil) || any
	}
	return any
}

// want notes a row that somebody decided by as it was then; nil where they had
// none or it counts no changes. What is known is not asked, unless they saw
// something else.
func want[T any](known map[place]*T, asked *map[place]*T, at place, was *T, of func(*T) mark) bool {
	if is, ok := known[at]; ok && (was == nil || is != nil && of(was) == of(is)) {
		return false
	}
	if *asked == nil {
		*asked = map[place]*T{}
	}
	if was != nil || (*asked)[at] == nil {
		(*asked)[at] = was
	}
	return true
}

// foreseeIn reads what is wanted of a zone.
func (x *tx) foreseeIn(zone deputy.ZoneID, f *foreseen) error {
	err := foreseeChanges(x, zone, sessions, f.sessions, sessionMark)
	if err == nil {
		err = foreseeChanges(x, zone, users, f.users, userMark)
	}
	if err == nil {
		err = foreseeGrants(x.ctx, x, zone, f.grants)
	}
	if err == nil {
		err = foreseeRows(x, zone, consents, f.consents, []given{aUser, aClient, aResource},
			func(c *deputy.ConsentRecord) place {
				return place{zone: zone, id: string(c.UserID), client: string(c.ClientID), resource: string(c.ResourceID)}
			})
	}
	if err == nil {
		err = foreseeSecrets(x.ctx, x, zone, f.secrets)
	}
	return err
}

// given is a column and where a place has its value.
type given struct {
	column string
	in     func(*place) *string
}

var (
	anID      = given{"id", func(p *place) *string { return &p.id }}
	aUser     = given{"user_id", anID.in}
	aClient   = given{"client_id", func(p *place) *string { return &p.client }}
	aResource = given{"resource_id", func(p *place) *string { return &p.resource }}
)

// mark tells two states of a row apart.
type mark struct {
	id       string
	revision int64
}

func sessionMark(s *deputy.Session) mark { return mark{string(s.ID), s.Revision} }
func userMark(u *deputy.User) mark       { return mark{string(u.ID), u.Revision} }
func grantMark(g *deputy.Grant) mark     { return mark{string(g.ID), g.Revision} }

// foreseeChanges finds out which of the rows of one table that are wanted are as
// they were. Those that are not there are nil, and others are forgotten.
func foreseeChanges[T any](x *tx, zone deputy.ZoneID, t *table[T], rows map[place]*T, of func(*T) mark) error {
	now := map[place]mark{}
	for some := range wanted(rows, zone, []given{anID}) {
		if err := marks(x.ctx, x, zone, "SELECT id, id, revision FROM "+t.name+" WHERE "+some.String(), some.args, []given{anID}, now); err != nil {
			return err
		}
	}
	unchanged(rows, zone, now, of)
	return nil
}

// foreseeGrants is foreseeChanges for what people last said about resources. Each
// is looked for alone, because any number of grants may be older.
func foreseeGrants(ctx context.Context, q querier, zone deputy.ZoneID, rows map[place]*deputy.Grant) error {
	now := map[place]mark{}
	for some := range slices.Chunk(places(rows, zone), maxWanted) {
		b := &statement{}
		in := b.arg(string(zone))
		b.WriteString("SELECT asked.column1, asked.column2, said.id, said.revision FROM ")
		b.asked(some, aUser, aResource)
		b.WriteString(" JOIN grants AS said ON said.zone_id = " + in + " AND said.id = (SELECT id FROM grants WHERE zone_id = " + in +
			" AND user_id = asked.column1 AND resource_id = asked.column2" + lastSaid + ")")
		if err := marks(ctx, q, zone, b.String(), b.args, []given{aUser, aResource}, now); err != nil {
			return err
		}
	}
	unchanged(rows, zone, now, grantMark)
	return nil
}

// asked writes a table of what places have, which is called asked and has a column
// for each of by.
func (b *statement) asked(some []place, by ...given) {
	b.WriteString("(VALUES ")
	for i := range padded(len(some)) {
		at := &some[min(i, len(some)-1)]
		for j, g := range by {
			switch {
			case j > 0:
				b.WriteString(", ")
			case i > 0:
				b.WriteString("), (")
			default:
				b.WriteString("(")
			}
			b.WriteString(b.arg(*g.in(at)))
		}
	}
	b.WriteString(")) AS asked")
}

// foreseeSecrets reads the newest secrets of entities. Each is looked for alone,
// because any number may be older.
func foreseeSecrets(ctx context.Context, q querier, zone deputy.ZoneID, rows map[place]*deputy.VaultSecret) error {
	for some := range slices.Chunk(places(rows, zone), maxWanted) {
		b := &statement{}
		in := b.arg(string(zone))
		b.WriteString("zone_id = " + in + " AND id IN (SELECT " + newestSecret(in, "asked.column1") + " FROM ")
		b.asked(some, anID)
		b.WriteString(")")
		found, err := secrets.many(ctx, q, b.String(), b.args...)
		if err != nil {
			return err
		}
		for _, s := range found {
			rows[place{zone: zone, id: string(s.EntityID)}] = s
		}
	}
	return nil
}

// marks reads marks, each behind what its place has, and puts them there.
func marks(ctx context.Context, q querier, zone deputy.ZoneID, text string, args []any, by []given, now map[place]mark) error {
	at, is := place{zone: zone}, mark{}
	var into []any
	for _, g := range by {
		into = append(into, g.in(&at))
	}
	into = append(into, &is.id, &is.revision)
	return rows(ctx, q, text, args, func(scan func(...any) error) error {
		err := scan(into...)
		now[at] = is
		return err
	})
}

// unchanged forgets those rows of a zone whose mark is another now.
func unchanged[T any](rows map[place]*T, zone deputy.ZoneID, now map[place]mark, of func(*T) mark) {
	for at, was := range rows {
		switch is, exists := now[at]; {
		case at.zone != zone:
		case !exists:
			rows[at] = nil
		case was == nil || of(was) != is:
			delete(rows, at)
		}
	}
}

// foreseeRows reads the rows of one table that are wanted.
func foreseeRows[T any](x *tx, zone deputy.ZoneID, t *table[T], rows map[place]*T, by []given, at func(*T) place) error {
	for some := range wanted(rows, zone, by) {
		found, err := t.many(x.ctx, x, some.String(), some.args...)
		if err != nil {
			return err
		}
		for _, e := range found {
			if _, wanted := rows[at(e)]; wanted {
				rows[at(e)] = e
			}
		}
	}
	return nil
}

// places returns where rows of a zone are wanted.
func places[T any](rows map[place]*T, zone deputy.ZoneID) []place {
	all := slices.DeleteFunc(slices.Collect(maps.Keys(rows)), func(p place) bool { return p.zone != zone })
	slices.SortFunc(all, func(a, b place) int { return strings.Compare(a.id, b.id) })
	return all
}

// maxWanted bounds the values of one column in one statement.
const maxWanted = 512

// wanted yields conditions that all rows at the wanted places of a zone meet.
func wanted[T any](rows map[place]*T, zone deputy.ZoneID, by []given) iter.Seq[*statement] {
	return func(yield func(*statement) bool) {
		for some := range slices.Chunk(places(rows, zone), maxWanted) {
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

// padded returns how many values stand for n, the last of them repeated: a power
// of two, so that there are few texts of statements and each is prepared once.
func padded(n int) int {
	size := 1
	for size < n {
		size *= 2
	}
	return size
}

// among writes the condition that a column has one of some values.
func (b *statement) among(column string, some []string) {
	b.WriteString(" AND " + column + " IN (")
	for i := range padded(len(some)) {
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
