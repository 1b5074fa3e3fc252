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
type listing[T any] struct {
	t      *table[T]
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
	l := &listing[T]{t: t, s: s, r: r, in: in, from: t.from(s.d, q.Where, q.Sort), orders: orders, bind: []any{t.name, in, q.Where, q.Sort}}
	t.within(&l.where, in)
	if err := l.filter(q.Where); err != nil {
		return nil, err
	}
	at, err := l.start(ctx, q)
	if err != nil {
		return nil, err
	}
	p, err := l.page(ctx, at, q.Before != "", limit)
	if err != nil {
		return nil, err
	}
	if q.Count {
		p.Total = new(int)
		err = l.count(ctx, p.Total)
	}
	return p, err
}

// filter writes the conditions of filters: those that are several stretches
// of an index beside the others.
func (l *listing[T]) filter(filters []deputy.Filter) error {
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
func (l *listing[T]) count(ctx context.Context, total *int) error {
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
func (l *listing[T]) selecting(what string, stretch condition) *statement {
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
func (t *table[T]) tally(ctx context.Context, s *Store, r querier, in deputy.Scope, field string, values []string, where []deputy.Filter) (map[string]int, error) {
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
func (l *listing[T]) start(ctx context.Context, q deputy.Query) (*cursor, error) {
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
func (l *listing[T]) lengthen(ctx context.Context, c *cursor) error {
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

// page reads the items after the cursor, or before it; limit 0 means all.
func (l *listing[T]) page(ctx context.Context, at *cursor, backward bool, limit int) (*deputy.Page[T], error) {
	take := 0
	if limit > 0 {
		take = limit + 1
	}
	items, keys, err := l.fetch(ctx, at, backward, take)
	if err != nil {
		return nil, err
	}
	p := &deputy.Page[T]{Items: items}
	ahead, behind := &p.HasNext, &p.HasPrevious
	if backward {
		ahead, behind = behind, ahead
	}
	if limit > 0 && len(items) > limit {
		p.Items, keys, *ahead = items[:limit], keys[:limit], true
	}
	if at != nil {
		// The item that the cursor named may be gone, so look: what lies on the
		// other side of the page, or of an empty page anything at all.
		var from *cursor
		if len(keys) > 0 {
			from = &keys[0]
		}
		beside, _, err := l.fetch(ctx, from, !backward, 1)
		if err != nil {
			return nil, err
		}
		*behind = len(beside) > 0
	}
	if backward {
		slices.Reverse(p.Items)
		slices.Reverse(keys)
	}
	if n := len(keys); n > 0 {
		p.First, p.Last = l.s.encodeCursor(keys[0], l.bind...), l.s.encodeCursor(keys[n-1], l.bind...)
	}
	return p, nil
}

// fetch reads up to take items (0: all) in the direction of travel, with what
// they are sorted by: from each stretch as many, of which the first ones count.
func (l *listing[T]) fetch(ctx context.Context, at *cursor, backward bool, take int) ([]*T, []cursor, error) {
	var items []*T
	var keys []cursor
	for _, stretch := range l.stretches {
		more, theirs, err := l.fetchStretch(ctx, stretch, at, backward, take)
		if err != nil {
			return nil, nil, err
		}
		items, keys = merge(items, more, keys, theirs, func(a, b cursor) int { return a.compare(b, l.orders, backward) })
	}
	if take > 0 && len(items) > take {
		items, keys = items[:take], keys[:take]
	}
	return items, keys, nil
}

// merge returns two sorted lists as one, with what they are sorted by.
func merge[T any](a, b []T, keysOfA, keysOfB []cursor, compare func(a, b cursor) int) ([]T, []cursor) {
	if len(a) == 0 {
		return b, keysOfB
	}
	items, keys := make([]T, 0, len(a)+len(b)), make([]cursor, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if compare(keysOfA[0], keysOfB[0]) <= 0 {
			items, keys, a, keysOfA = append(items, a[0]), append(keys, keysOfA[0]), a[1:], keysOfA[1:]
		} else {
			items, keys, b, keysOfB = append(items, b[0]), append(keys, keysOfB[0]), b[1:], keysOfB[1:]
		}
	}
	return append(append(items, a...), b...), append(append(keys, keysOfA...), keysOfB...)
}

// fetchStretch is fetch for one stretch.
func (l *listing[T]) fetchStretch(ctx context.Context, stretch condition, at *cursor, backward bool, take int) ([]*T, []cursor, error) {
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
	var items []*T
	var keys []cursor
	err := rows(ctx, l.r, b.String(), b.args, func(scan func(...any) error) error {
		item := new(T)
		c := cursor{keys: make([]any, len(l.orders)-1)}
		dest := l.t.places(item)
		for i := range c.keys {
			dest = append(dest, &c.keys[i])
		}
		items = append(items, item)
		err := scan(append(dest, &c.id)...)
		keys = append(keys, c)
		return err
	})
	return items, keys, err
}
