package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"deputy/internal/deputy"
)

// table is how the entities of one kind are stored. An aggregate declares its
// own in its file; everything they have in common is here.
type table[T any] struct {
	relation
	// fields lists the columns and where an entity keeps them.
	fields func(*T) []field
	// search lists columns that are derived from an entity for looking it up
	// and never read. Column x_folded is what Contains looks into for x, x_key
	// what Equals and Find compare for x; Find looks into a unique x_folded too.
	search  func(*T) []field
	uniques []unique[T]
	// stamp returns what an update counts up and sets; either may be nil.
	stamp func(*T) (revision *int64, updated *time.Time)
	// change returns what a change of the entity changes in its zone; nil where
	// no snapshot or cache holds such entities.
	change func(*T) change
	// before runs before an insert, after behind it, in the same transaction.
	before, after func(context.Context, *tx, *T) error
	// follow makes what hangs on an entity that was updated follow it.
	follow func(context.Context, *tx, *T) error
	// cascade removes what hangs on an entity about to be deleted.
	cascade func(context.Context, *tx, *T) error
	// remove replaces the removal of the row.
	remove func(context.Context, *tx, *T) error
}

// relation is what of a table does not depend on the type of its entities. All
// that needs no more is a method of it, as each method of a table is compiled
// once for every type.
type relation struct {
	name   string
	noun   string // what a caller calls one
	scope  scope
	parent string // the column that Scope.Parent narrows by; empty: none
	id     string // the column that ids name; "id" unless said otherwise
	live   string // a condition that rows must meet to exist; empty: none
	// newest is what newest first means; empty where ids tell.
	newest string
	// computed are the expressions of fields that are read and never stored.
	computed map[string]string
	// sorts maps the fields that lists can be sorted by, beside created_at, to
	// expressions that are never NULL.
	sorts map[string]string
	// related are further fields of Equals that lie in other tables: conditions
	// with one place for a value.
	related map[string]string
	// always is the list column whose absence stands for every value.
	always string
	// stretches are the columns whose values, few and known to the program, each
	// are a stretch of an index, in the order of ids: a filter with several of them
	// is read stretch by stretch.
	stretches []string
	// indexes serve filters, the most telling first; sorted, by what a list
	// without filters is sorted by first.
	indexes []served
	sorted  map[string]string
	// crowd is what very many have in common of the field that a list is sorted
	// by; nil where there is no such value.
	crowd *crowd
	// lapses says when an active row has expired; nil where none does.
	lapses *runsOut
	// replace says what an insert does to a row that exists with the same key;
	// empty: it is a conflict.
	replace string

	// Derived from the above and the fields by declare.
	columns  []string
	kinds    map[string]string // Go kind of a column's values
	selected string
	inserted string
}

// served is a filter, by comparison and field, and the index that serves it.
type served struct {
	op    deputy.FilterOp
	field string
	index string
}

// scope is whose entities a table holds.
type scope int

const (
	global scope = iota
	owned        // by an organization
	zoned        // by a zone
	// catalogued entities lie in the catalog of a zone, of an organization, or
	// in the global one; a scope with both ids sees what a zone sees of all three.
	catalogued
)

// unique is a rule that no two entities of a scope have the same value.
type unique[T any] struct {
	field  string // as Find and Conflict name it
	column string
	within scope
	slug   bool // a taken value is replaced
	// where says which rows the rule is about, and about which entities it is
	// the same in Go; empty and nil: all.
	where string
	about func(*T) bool
}

// change is one entry of a zone's list of changes.
type change struct {
	zone deputy.ZoneID
	kind deputy.ChangeKind
	id   string
}

// declare completes a table.
func declare[T any](t table[T]) *table[T] {
	if t.id == "" {
		t.id = "id"
	}
	t.kinds = map[string]string{}
	var selected, placeholders []string
	for _, f := range t.fields(new(T)) {
		expression, ok := t.computed[f.column]
		if !ok {
			expression = f.column
		}
		selected = append(selected, expression)
	}
	for _, f := range t.stored(new(T)) {
		t.columns = append(t.columns, f.column)
		t.kinds[f.column] = kindOf(f.at)
		placeholders = append(placeholders, fmt.Sprintf("$%d", len(t.columns)))
	}
	t.selected = strings.Join(selected, ", ")
	if t.replace == "" {
		t.replace = "DO NOTHING"
	}
	t.inserted = "INSERT INTO " + t.name + " (" + strings.Join(t.columns, ", ") + ") VALUES (" +
		strings.Join(placeholders, ", ") + ") ON CONFLICT " + t.replace
	return &t
}

func kindOf(at any) string {
	switch at.(type) {
	case micros, optionalMicros, *int, *int64, **int:
		return "int64"
	case *bool, flag:
		return "bool"
	}
	return "string"
}

// stored returns the columns of an entity that are written.
func (t *table[T]) stored(e *T) []field {
	fields := slices.DeleteFunc(t.fields(e), func(f field) bool {
		_, computed := t.computed[f.column]
		return computed
	})
	if t.search != nil {
		fields = append(fields, t.search(e)...)
	}
	return fields
}

// places returns where the selected columns of an entity are scanned into.
func (t *table[T]) places(e *T) []any {
	fields := t.fields(e)
	places := make([]any, len(fields), len(fields)+4)
	for i, f := range fields {
		places[i] = f.at
	}
	return places
}

// values returns what is stored of an entity, in the order of the columns.
func (t *table[T]) values(e *T) ([]any, error) {
	out := make([]any, 0, len(t.columns))
	for _, f := range t.stored(e) {
		v, err := value(f.at)
		if err != nil {
			return nil, fmt.Errorf("column %s of %s: %w", f.column, t.name, err)
		}
		if s, ok := v.(string); ok && !storable(s) {
			return nil, deputy.Bad(f.column, "must be valid UTF-8 without the character NUL")
		}
		out = append(out, v)
	}
	return out, nil
}

// absent is the answer when there is no such entity.
func absent(noun string) error { return deputy.Errorf(deputy.NotFound, "there is no such %s", noun) }

// one returns the entity that the rest of a SELECT finds.
func (t *table[T]) one(ctx context.Context, r querier, rest string, args ...any) (*T, error) {
	e := new(T)
	err := row(ctx, r, "SELECT "+t.selected+" FROM "+t.name+" WHERE "+rest, args, t.places(e)...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, absent(t.noun)
	}
	if err != nil {
		return nil, fmt.Errorf("reading a %s: %w", t.noun, err)
	}
	return e, nil
}

// many returns the entities that the rest of a SELECT finds.
func (t *table[T]) many(ctx context.Context, r querier, rest string, args ...any) ([]*T, error) {
	var out []*T
	err := rows(ctx, r, "SELECT "+t.selected+" FROM "+t.name+" WHERE "+rest, args, func(scan func(...any) error) error {
		e := new(T)
		out = append(out, e)
		return scan(t.places(e)...)
	})
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", t.name, err)
	}
	return out, nil
}

// get returns the entity with the id, locked for change when asked.
func (t *table[T]) get(ctx context.Context, r querier, in deputy.Scope, id deputy.ID, lock string) (*T, error) {
	b := &statement{}
	t.within(b, in)
	b.WriteString(" AND " + t.id + " = " + b.arg(string(id)) + lock)
	return t.one(ctx, r, b.String(), b.args...)
}

// find returns the entity whose unique field has the value.
func (t *table[T]) find(ctx context.Context, r querier, in deputy.Scope, name, text string) (*T, error) {
	i := slices.IndexFunc(t.uniques, func(u unique[T]) bool { return u.field == name })
	if i < 0 {
		return nil, fmt.Errorf("%s is not a unique field of %s", name, t.name)
	}
	u := t.uniques[i]
	b := &statement{}
	t.within(b, in)
	switch {
	case strings.HasSuffix(u.column, "_key"):
		text = key(text)
	case strings.HasSuffix(u.column, "_folded"):
		text = fold(text)
	}
	b.WriteString(" AND " + u.column + " = " + b.arg(text))
	if u.where != "" {
		b.WriteString(" AND " + u.where)
	}
	return t.one(ctx, r, b.String(), b.args...)
}
