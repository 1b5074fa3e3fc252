package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"
	"strings"

	"deputy/internal/deputy"
)

// listing is one list in the making: which rows, in which order, and where the
// page lies in it.
type listing struct {
	t  *relation
	s  *Store
	r  querier
	in deputy.Scope
	// filters and orders are what is asked for.
	filters []deputy.Filter
	orders  []order
	// parts are what the list is made of; no row is in two.
	parts []part
	// bind is what a cursor of this list is bound to.
	bind []any
	// entity returns a new entity and where its columns are scanned into.
	entity func() (entity any, places []any)
}

// listed is an entity of a list, and where in the list it is.
type listed struct {
	entity any
	at     cursor
}

// list reads one page.
func (t *table[T]) list(ctx context.Context, s *Store, r querier, in deputy.Scope, q deputy.Query) (*deputy.Page[T], error) {
	limit, err := pageSize(q.Limit)
	if err != nil {
		return nil, err
	}
	if q.All {
		limit = 0
	}
	orders, err := t.orders(q.Sort)
	if err != nil {
		return nil, err
	}
	l := &listing{t: &t.relation, s: s, r: r, in: in, filters: q.Where, orders: orders, bind: []any{t.name, in, q.Where, q.Sort}, entity: func() (any, []any) {
		e := new(T)
		return e, t.places(e)
	}}
	if err := l.filter(ctx, q); err != nil {
		return nil, err
	}
	at, err := l.start(ctx, q)
	if err != nil {
		return nil, err
	}
	items, next, previous, err := l.page(ctx, at, q.Before != "", limit)
	if err != nil {
		return nil, err
	}
	p := &deputy.Page[T]{Items: make([]*T, len(items)), HasNext: next, HasPrevious: previous}
	for i, item := range items {
		p.Items[i] = item.entity.(*T)
	}
	if n := len(items); n > 0 {
		p.First, p.Last = s.encodeCursor(items[0].at, l.bind...), s.encodeCursor(items[n-1].at, l.bind...)
	}
	if q.Count {
		p.Total = new(int)
		if *p.Total = len(items); at != nil || next {
			err = l.count(ctx, p.Total)
		}
	}
	return p, err
}

// part are rows of a list that one query finds.
type part struct {
	where *statement
	// from names the table, and the index to go by where that must be said.
	from string
	// ids, unless nil, are those among which the rows are.
	ids []string
}

// filter says what the list is made of. Filters that are several stretches of
// an index make as many parts.
func (l *listing) filter(ctx context.Context, q deputy.Query) error {
	base := &statement{}
	l.t.within(base, l.in)
	stretches := []condition{nil}
	for _, f := range q.Where {
		ways := l.t.ways(l.s, f)
		if ways == nil {
			if err := l.t.filter(base, l.s.d, f); err != nil {
				return err
			}
			continue
		}
		var all []condition
		for _, before := range stretches {
			for _, way := range ways {
				all = append(all, before.and(way))
			}
		}
		stretches = all
	}
	from := l.t.from(l.s.d, q.Where, q.Sort)
	for _, stretch := range stretches {
		where := base.clone()
		if stretch != nil {
			where.WriteString(" AND ")
			stretch(where)
		}
		l.parts = append(l.parts, part{where: where, from: from})
	}
	return l.addDue(ctx, q.Where)
}

// count adds up the rows of the whole list.
func (l *listing) count(ctx context.Context, total *int) error {
	*total = 0
	for _, p := range l.parts {
		b := p.selecting("COUNT(*)")
		n := 0
		if err := row(ctx, l.r, b.String(), b.args, &n); err != nil {
			return err
		}
		*total += n
	}
	return nil
}

// selecting begins a SELECT of the rows of a part.
func (p part) selecting(what string) *statement {
	b := &statement{args: slices.Clone(p.where.args)}
	b.WriteString("SELECT " + what + " FROM " + p.from + " WHERE " + p.where.String())
	if p.ids != nil {
		b.WriteString(" AND id IN ")
		oneOf(b, p.ids)
	}
	return b
}

// between returns the part of a part whose ids lie between two places of the
// list; nil is its beginning or its end in the direction of travel.
func (p part) between(at, until *cursor, orders []order, backward bool) part {
	p.ids = slices.DeleteFunc(slices.Clone(p.ids), func(id string) bool {
		c := &cursor{id: id}
		return at != nil && c.compare(*at, orders, backward) <= 0 || until != nil && c.compare(*until, orders, backward) >= 0
	})
	return p
}

// tally counts, for each of the values of a field, the rows that have it and
// match the filters.
func (t *relation) tally(ctx context.Context, s *Store, r querier, in deputy.Scope, field string, values []string, where []deputy.Filter) (map[string]int, error) {
	counts := map[string]int{}
	b := &statement{}
	where = append([]deputy.Filter{{Fields: []string{field}, Values: values}}, where...)
	b.WriteString("SELECT " + field + ", COUNT(*) FROM " + t.from(s.d, where, nil) + " WHERE ")
	t.within(b, in)
	for _, f := range where {
		if err := t.filter(b, s.d, f); err != nil {
			return nil, err
		}
	}
	b.WriteString(" GROUP BY " + field)
	err := rows(ctx, r, b.String(), b.args, func(scan func(...any) error) error {
		var value string
		var n int
		err := scan(&value, &n)
		counts[value] = n
		return err
	})
	return counts, err
}

// start returns the cursor that the page begins after or ends before; nil for
// the first page.
func (l *listing) start(ctx context.Context, q deputy.Query) (*cursor, error) {
	parameter, text, err := cursorOf(q.After, q.Before)
	if text == "" || err != nil {
		return nil, err
	}
	c, err := l.s.decodeCursor(parameter, text, l.bind...)
	if err != nil {
		return nil, err
	}
	if len(c.keys) != len(l.orders)-1 {
		return nil, deputy.Bad(parameter, "is not a cursor of this list")
	}
	if c.shortened {
		err = l.lengthen(ctx, &c)
	}
	return &c, err
}

// cursorOf returns which of the two cursors of a query is set.
func cursorOf(after, before string) (parameter, text string, err error) {
	switch {
	case after != "" && before != "":
		return "", "", deputy.Bad("before", "cannot be given together with after")
	case before != "":
		return "before", before, nil
	}
	return "after", after, nil
}

// lengthen replaces shortened sort keys by the whole ones. When the item is
// gone, the page begins where its shortened key would: nothing is left out.
func (l *listing) lengthen(ctx context.Context, c *cursor) error {
	b := &statement{}
	b.WriteString("SELECT ")
	dest := make([]any, len(c.keys))
	for i, o := range l.orders[:len(c.keys)] {
		b.WriteString([]string{"", ", "}[min(i, 1)] + o.expression)
		dest[i] = &c.keys[i]
	}
	b.WriteString(" FROM " + l.t.name + " WHERE ")
	l.t.within(b, l.in)
	b.WriteString(" AND " + l.t.id + " = " + b.arg(c.id))
	err := row(ctx, l.r, b.String(), b.args, dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

// page reads the items after the cursor, or before it, and whether more lie
// after and before them; limit 0 means all.
func (l *listing) page(ctx context.Context, at *cursor, backward bool, limit int) (items []listed, next, previous bool, err error) {
	take := 0
	if limit > 0 {
		take = limit + 1
	}
	if items, err = l.fetch(ctx, at, backward, take); err != nil {
		return nil, false, false, err
	}
	ahead, behind := false, false
	if limit > 0 && len(items) > limit {
		items, ahead = items[:limit], true
	}
	if at != nil {
		// The item that the cursor named may be gone, so look: what lies on the
		// other side of the page, or of an empty page anything at all.
		var from *cursor
		if len(items) > 0 {
			from = &items[0].at
		}
		beside, err := l.fetch(ctx, from, !backward, 1)
		if err != nil {
			return nil, false, false, err
		}
		behind = len(beside) > 0
	}
	if backward {
		slices.Reverse(items)
		return items, behind, ahead, nil
	}
	return items, ahead, behind, nil
}

// fetch reads up to take items (0: all) in the direction of travel: from each
// part as many, of which the first ones count.
func (l *listing) fetch(ctx context.Context, at *cursor, backward bool, take int) (items []listed, err error) {
	for _, p := range l.parts {
		if p.ids != nil && len(l.orders) == 1 {
			var until *cursor
			if take > 0 && len(items) >= take {
				until = &items[take-1].at
			}
			if p = p.between(at, until, l.orders, backward); len(p.ids) == 0 {
				continue
			}
		}
		more, err := l.fetchPart(ctx, p, at, backward, take)
		if err != nil {
			return nil, err
		}
		items = merge(items, more, func(a, b listed) int { return a.at.compare(b.at, l.orders, backward) })
	}
	if take > 0 && len(items) > take {
		items = items[:take]
	}
	return items, nil
}

// merge returns two sorted lists as one.
func merge(a, b []listed, compare func(a, b listed) int) []listed {
	if len(a) == 0 {
		return b
	}
	out := make([]listed, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if compare(a[0], b[0]) <= 0 {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// fetchPart is fetch for one part.
func (l *listing) fetchPart(ctx context.Context, p part, at *cursor, backward bool, take int) ([]listed, error) {
	// SQLite goes by no index where rows are compared by more than columns.
	n := len(l.orders)
	apart := n == 2 && (l.orders[0].descending != l.orders[1].descending || at != nil && l.s.d.told && strings.Contains(l.orders[0].expression, "("))
	if take > 0 && (apart || n == 3 && l.t.crowd.of(l.orders)) {
		return l.fetchGrouped(ctx, p, at, backward, take)
	}
	b := p.selecting(l.columns())
	if at != nil {
		at.beyond(b, l.orders, backward)
	}
	return l.read(ctx, b, l.orders, backward, take)
}

// crowd is a value of a field that very many rows may have in common, which an
// index has in the order of another field.
type crowd struct{ value, then, index string } // two expressions and a name

// of reports whether a list is in the order that the crowd is for.
func (c *crowd) of(orders []order) bool {
	return c != nil && strings.HasPrefix(c.value, orders[0].expression+" = ") && orders[1].expression == c.then && orders[1].descending == orders[2].descending
}

// fetchGrouped is fetchPart where an index has no more of the order than its
// first field, as rows that have it in common are in another order than that of
// the index. The index says of which value the last of the rows is, of which
// there may be very many; either the ids of one value are in both directions in
// it, or another index has that value.
func (l *listing) fetchGrouped(ctx context.Context, p part, at *cursor, backward bool, take int) (items []listed, err error) {
	field, rest := l.orders[0], l.orders[1:]
	add := func(b *statement, orders ...order) error {
		more, err := l.read(ctx, b, orders, backward, take-len(items))
		items = append(items, more...)
		return err
	}
	// with begins the query of the rows that have a value.
	with := func(value any) *statement {
		same, c := "", l.t.crowd
		if n, ok := value.(int64); ok {
			same = field.expression + " = " + strconv.FormatInt(n, 10)
		}
		if c == nil || c.value != same || len(rest) == 1 {
			b := p.selecting(l.columns())
			b.WriteString(" AND " + field.expression + " = " + b.arg(value))
			return b
		}
		crowded := p
		if l.s.d.told && len(l.filters) == 0 {
			crowded.from = l.t.name + " INDEXED BY " + c.index
		}
		b := crowded.selecting(l.columns())
		b.WriteString(" AND " + same) // in the words of the index
		return b
	}
	if at != nil { // what is left of the value that the cursor has
		b := with(at.keys[0])
		(&cursor{keys: at.keys[1:], id: at.id}).beyond(b, rest, backward)
		if err := add(b, rest...); err != nil || len(items) >= take {
			return items, err
		}
	}
	further := func(what string) *statement {
		b := p.selecting(what)
		if at != nil {
			b.WriteString(" AND " + field.expression + field.after(backward) + b.arg(at.keys[0]))
		}
		return b
	}
	b := further(field.expression)
	orderBy(b, []order{field, {l.t.id, field.descending}}, backward)
	b.WriteString(" LIMIT " + strconv.Itoa(take-len(items)))
	var first, last any
	n := 0
	err = rows(ctx, l.r, b.String(), b.args, func(scan func(...any) error) error {
		err := scan(&last)
		if n++; n == 1 {
			first = last
		}
		return err
	})
	if err != nil || n == 0 {
		return items, err
	}
	if first != last {
		b := further(l.columns())
		b.WriteString(" AND " + field.expression + field.after(!backward) + b.arg(last))
		if err := add(b, l.orders...); err != nil || len(items) >= take {
			return items, err
		}
	}
	err = add(with(last), rest...)
	return items, err
}

// columns is what is read of a row: the entity, then what it is sorted by.
func (l *listing) columns() string {
	what := l.t.selected
	for _, o := range l.orders {
		what += ", " + o.expression
	}
	return what
}

// read reads up to take rows (0: all) of a query of the columns, in an order and
// the direction of travel.
func (l *listing) read(ctx context.Context, b *statement, orders []order, backward bool, take int) ([]listed, error) {
	orderBy(b, orders, backward)
	if take > 0 {
		b.WriteString(" LIMIT " + strconv.Itoa(take))
	}
	var items []listed
	err := rows(ctx, l.r, b.String(), b.args, func(scan func(...any) error) error {
		entity, dest := l.entity()
		item := listed{entity, cursor{keys: make([]any, len(l.orders)-1)}}
		for i := range item.at.keys {
			dest = append(dest, &item.at.keys[i])
		}
		err := scan(append(dest, &item.at.id)...)
		items = append(items, item)
		return err
	})
	return items, err
}
