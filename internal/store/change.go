package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"deputy/internal/deputy"
)

// insert adds the entity.
func (t *table[T]) insert(ctx context.Context, x *tx, e *T) error {
	if t.before != nil {
		if err := t.before(ctx, x, e); err != nil {
			return err
		}
	}
	if revision, _ := t.stamp(e); revision != nil && *revision == 0 {
		*revision = 1
	}
	if err := t.add(ctx, x, e); err != nil {
		return err
	}
	if t.after != nil {
		if err := t.after(ctx, x, e); err != nil {
			return err
		}
	}
	return t.changed(ctx, x, e)
}

// slugTries is how often a taken slug is replaced: a suffix has 25 random bits.
const slugTries = 5

// add inserts the row, with another slug while the one it has is taken. A
// conflict is found without an error of the engine, because on PostgreSQL an
// error would end the transaction of everyone in the group.
func (t *table[T]) add(ctx context.Context, x *tx, e *T) error {
	slug := ""
	for range slugTries {
		values, err := t.values(e)
		if err != nil {
			return err
		}
		n, err := x.exec(ctx, t.inserted, values...)
		if err != nil {
			return fmt.Errorf("inserting a %s: %w", t.noun, err)
		}
		if n > 0 {
			return nil
		}
		u, err := t.violated(ctx, x, e, nil, values)
		switch {
		case err != nil:
			return err
		case u == nil:
			return conflict("id")
		case !u.slug:
			return conflict(u.field)
		}
		at := t.place(e, u.column)
		if slug == "" {
			slug = *at
		}
		*at = deputy.NextSlug(slug)
	}
	return fmt.Errorf("no slug like %q is free", slug)
}

func conflict(field string) error {
	return &deputy.Error{Kind: deputy.Conflict, Field: field, Message: "this " + field + " is taken"}
}

// place returns the text in an entity that a column keeps.
func (t *table[T]) place(e *T, column string) *string {
	for _, f := range t.fields(e) {
		if f.column == column {
			return f.at.(*string)
		}
	}
	panic(t.name + " has no column " + column)
}

// violated returns the first rule that an entity would break with its new
// values, nil when it breaks none. Rules about values that it had before, if
// it was stored before, are kept.
func (t *table[T]) violated(ctx context.Context, x *tx, e *T, before, after []any) (*unique[T], error) {
	of := func(values []any, column string) any { return values[slices.Index(t.columns, column)] }
	for i := range t.uniques {
		u := &t.uniques[i]
		if u.about != nil && !u.about(e) || before != nil && same(of(before, u.column), of(after, u.column)) {
			continue
		}
		switch taken, err := t.taken(ctx, x, u.column, u.within, u.where, after); {
		case err != nil:
			return nil, err
		case taken:
			return u, nil
		}
	}
	return nil, nil
}

// taken reports whether a row has the value of a column, in the scope that its
// values name, where a condition holds.
func (t *relation) taken(ctx context.Context, x *tx, column string, within scope, where string, values []any) (bool, error) {
	of := func(column string) any { return values[slices.Index(t.columns, column)] }
	b := &statement{}
	b.WriteString("SELECT 1 FROM " + t.name + " WHERE " + column + " = " + b.arg(of(column)))
	switch within {
	case zoned:
		b.WriteString(" AND zone_id = " + b.arg(of("zone_id")))
	case owned:
		b.WriteString(" AND organization_id = " + b.arg(of("organization_id")))
	case catalogued:
		b.WriteString(" AND catalog_id = " + b.arg(of("catalog_id")))
	}
	if where != "" {
		b.WriteString(" AND " + where)
	}
	var one int
	err := row(ctx, x, b.String(), b.args, &one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// same compares two stored values.
func same(a, b any) bool {
	if x, ok := a.([]byte); ok {
		y, ok := b.([]byte)
		return ok && slices.Equal(x, y)
	}
	return a == b
}

// update hands the entity to change and stores what differs afterwards.
func (t *table[T]) update(ctx context.Context, x *tx, in deputy.Scope, id deputy.ID, change func(*T) error) (*T, error) {
	e, err := t.get(ctx, x, in, id, x.store.d.forUpdate)
	if err != nil {
		return nil, err
	}
	before, err := t.values(e)
	if err != nil {
		return nil, err
	}
	if err := change(e); err != nil {
		return nil, err
	}
	after, err := t.values(e)
	if err != nil || slices.EqualFunc(before, after, same) {
		return e, err
	}
	u, err := t.violated(ctx, x, e, before, after)
	if err != nil {
		return nil, err
	}
	if u != nil {
		return nil, conflict(u.field)
	}
	if err := t.changed(ctx, x, e); err != nil {
		return nil, err
	}
	revision, updated := t.stamp(e)
	if updated != nil {
		*updated = x.now
	}
	if revision != nil {
		*revision++
	}
	if err := t.write(ctx, x, e, before, in, id); err != nil || t.follow == nil {
		return e, err
	}
	return e, t.follow(ctx, x, e)
}

// write stores the columns of an entity that differ from before.
func (t *table[T]) write(ctx context.Context, x *tx, e *T, before []any, in deputy.Scope, id deputy.ID) error {
	after, err := t.values(e)
	if err != nil {
		return err
	}
	b := &statement{}
	separator := "UPDATE " + t.name + " SET "
	for i, column := range t.columns {
		if !same(before[i], after[i]) {
			b.WriteString(separator + column + " = " + b.arg(after[i]))
			separator = ", "
		}
	}
	if len(b.args) == 0 {
		return nil
	}
	b.WriteString(" WHERE ")
	t.within(b, in)
	b.WriteString(" AND " + t.id + " = " + b.arg(string(id)))
	if _, err := x.exec(ctx, b.String(), b.args...); err != nil {
		return fmt.Errorf("updating a %s: %w", t.noun, err)
	}
	return nil
}

// delete removes the entity and what hangs on it.
func (t *table[T]) delete(ctx context.Context, x *tx, in deputy.Scope, id deputy.ID) error {
	e, err := t.get(ctx, x, in, id, x.store.d.forUpdate)
	if err != nil {
		return err
	}
	if t.cascade != nil {
		if err := t.cascade(ctx, x, e); err != nil {
			return fmt.Errorf("removing what hangs on a %s: %w", t.noun, err)
		}
	}
	if t.remove != nil {
		return t.remove(ctx, x, e)
	}
	b := &statement{}
	b.WriteString("DELETE FROM " + t.name + " WHERE ")
	t.within(b, in)
	b.WriteString(" AND " + t.id + " = " + b.arg(string(id)))
	if _, err := x.exec(ctx, b.String(), b.args...); err != nil {
		return fmt.Errorf("deleting a %s: %w", t.noun, err)
	}
	return t.changed(ctx, x, e)
}

// changed notes the change of an entity in its zone.
func (t *table[T]) changed(ctx context.Context, x *tx, e *T) error {
	if t.change == nil {
		return nil
	}
	return x.changed(ctx, t.change(e))
}

// placeholders returns a list of n of them: $from, $from+1, …
func placeholders(from, n int) string {
	b := &strings.Builder{}
	for i := range n {
		fmt.Fprintf(b, "%s$%d", []string{"", ", "}[min(i, 1)], from+i)
	}
	return b.String()
}
