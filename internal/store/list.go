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
	l := &listing[T]{t: t, s: s, r: r, in: in, orders: orders, bind: []any{t.name, in, q.Where, q.Sort}}
	t.within(&l.where, in)
	for _, f := range q.Where {
		if err := t.filter(&l.where, s.d, f); err != nil {
			return nil, err
		}
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
		err = row(ctx, r, "SELECT COUNT(*) FROM "+t.name+" WHERE "+l.where.String(), l.where.args, p.Total)
	}
	return p, err
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
// they are sorted by.
func (l *listing[T]) fetch(ctx context.Context, at *cursor, backward bool, take int) ([]*T, []cursor, error) {
	b := &statement{args: slices.Clone(l.where.args)}
	b.WriteString("SELECT " + l.t.selected)
	for _, o := range l.orders {
		b.WriteString(", " + o.expression)
	}
	b.WriteString(" FROM " + l.t.name + " WHERE " + l.where.String())
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
