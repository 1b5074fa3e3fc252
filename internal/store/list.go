package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"

	"deputy/internal/deputy"
)

// listing is one list in the making: which rows, in which order, and where the
// page lies in it.
type listing struct {
	t      *relation
	s      *Store
	r      querier
	in     deputy.Scope
	where  statement
	orders []order
	// from names the table, and the index to go by where that must be said.
	from string
	// stretches are the ways in which the filters can hold beside where, of
	// which exactly one does for each row.
	stretches []condition
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
	l := &listing{t: &t.relation, s: s, r: r, in: in, from: t.from(s.d, q.Where, q.Sort), orders: orders, bind: []any{t.name, in, q.Where, q.Sort}, entity: func() (any, []any) {
		e := new(T)
		return e, t.places(e)
	}}
	t.within(&l.where, in)
	if err := l.filter(q.Where); err != nil {
		return nil, err
	}
	at, err := l.start(ctx, q)
	if err != nil {
		return nil, err
	}
	items, ahead, behind, err := l.page(ctx, at, q.Before != "", limit)
	if err != nil {
		return nil, err
	}
	p := &deputy.Page[T]{Items: make([]*T, len(items)), HasNext: ahead, HasPrevious: behind}
	for i, item := range items {
		p.Items[i] = item.entity.(*T)
	}
	if n := len(items); n > 0 {
		p.First, p.Last = s.encodeCursor(items[0].at, l.bind...), s.encodeCursor(items[n-1].at, l.bind...)
	}
	if q.Count {
		p.Total = new(int)
		err = l.count(ctx, p.Total)
	}
	return p, err
}

// filter writes the conditions of filters: those that are several stretches
// of an index beside the others.
func (l *listing) filter(filters []deputy.Filter) error {
	l.stretches = []condition{{}}
	for _, f := range filters {
		ways := l.t.ways(l.s, l.in, f)
		if ways == nil {
			if err := l.t.filter(&l.where, l.s.d, f); err != nil {
				return err
			}
			continue
		}
		var all []condition
		for _, before := range l.stretches {
			for _, way := range ways {
				all = append(all, before.and(way))
			}
		}
		l.stretches = all
	}
	return nil
}

// count adds up the rows of the whole list.
func (l *listing) count(ctx context.Context, total *int) error {
	for _, stretch := range l.stretches {
		b := l.selecting("COUNT(*)", stretch)
		n := 0
		if err := row(ctx, l.r, b.String(), b.args, &n); err != nil {
			return err
		}
		*total += n
	}
	return nil
}

// selecting begins a SELECT of the rows of one stretch.
func (l *listing) selecting(what string, stretch condition) *statement {
	b := &statement{args: slices.Clone(l.where.args)}
	from := l.from
	if stretch.named {
		from = l.t.name
	}
	b.WriteString("SELECT " + what + " FROM " + from + " WHERE " + l.where.String())
	if stretch.write != nil {
		b.WriteString(" AND ")
		stretch.write(b)
	}
	return b
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
// stretch as many, of which the first ones count.
func (l *listing) fetch(ctx context.Context, at *cursor, backward bool, take int) (items []listed, err error) {
	for _, stretch := range l.stretches {
		more, err := l.fetchStretch(ctx, stretch, at, backward, take)
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

// fetchStretch is fetch for one stretch.
func (l *listing) fetchStretch(ctx context.Context, stretch condition, at *cursor, backward bool, take int) (items []listed, err error) {
	what := l.t.selected
	for _, o := range l.orders {
		what += ", " + o.expression
	}
	b := l.selecting(what, stretch)
	if at != nil {
		at.beyond(b, l.orders, backward)
	}
	orderBy(b, l.orders, backward)
	if take > 0 {
		b.WriteString(" LIMIT " + strconv.Itoa(take))
	}
	err = rows(ctx, l.r, b.String(), b.args, func(scan func(...any) error) error {
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
