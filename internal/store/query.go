package store

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"deputy/internal/deputy"

	"github.com/go-json-experiment/json/jsontext"
)

// statement is the text of a query in the making, with its arguments.
type statement struct {
	strings.Builder
	args []any
}

// arg adds an argument and returns its placeholder.
func (b *statement) arg(v any) string {
	b.args = append(b.args, v)
	return "$" + strconv.Itoa(len(b.args))
}

// all writes a parenthesized list of placeholders.
func (b *statement) all(values []any) {
	b.WriteByte('(')
	for i, v := range values {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(b.arg(v))
	}
	b.WriteByte(')')
}

// oneOf writes a parenthesized list of placeholders for values, of which there is
// one at least. The last one is repeated, so that there are few different
// statements.
func oneOf[T ~string](b *statement, values []T) {
	all := make([]any, 1<<bits.Len(uint(len(values)-1)))
	for i := range all {
		all[i] = string(values[min(i, len(values)-1)])
	}
	b.all(all)
}

// clone returns a statement that can be written on separately.
func (b *statement) clone() *statement {
	c := &statement{args: slices.Clone(b.args)}
	c.WriteString(b.String())
	return c
}

// within writes the condition that a row lies in the scope.
func (t *relation) within(b *statement, in deputy.Scope) {
	switch t.scope {
	case zoned:
		b.WriteString("zone_id = " + b.arg(string(in.Zone)))
		if in.Organization != "" {
			// One value, looked up once: SQLite makes a join of EXISTS, and then
			// sorts what an index has in order.
			b.WriteString(" AND (SELECT z.organization_id FROM zones z WHERE z.id = " + b.arg(string(in.Zone)) +
				") = " + b.arg(string(in.Organization)))
		}
	case owned:
		b.WriteString("organization_id = " + b.arg(string(in.Organization)))
	case catalogued:
		b.WriteString("catalog_id IN ")
		b.all(catalogs(in))
	default:
		b.WriteString("1 = 1")
	}
	if t.parent != "" && in.Parent != "" {
		b.WriteString(" AND " + t.parent + " = " + b.arg(string(in.Parent)))
	}
	if t.live != "" {
		b.WriteString(" AND " + t.live)
	}
}

// catalogs returns the ids of the catalogs that a scope sees.
func catalogs(in deputy.Scope) []any {
	switch {
	case in.Zone != "" && in.Organization != "":
		return []any{string(in.Zone), string(in.Organization), string(deputy.GlobalCatalog)}
	case in.Zone != "":
		return []any{string(in.Zone)}
	case in.Organization != "":
		return []any{string(in.Organization)}
	}
	return []any{string(deputy.GlobalCatalog)}
}

// condition writes a condition; nil always holds.
type condition func(*statement)

// and returns the condition that both hold.
func (c condition) and(other condition) condition {
	if c == nil {
		return other
	}
	return func(b *statement) {
		c(b)
		b.WriteString(" AND ")
		other(b)
	}
}

// ways returns the conditions that a filter comes to where each is a stretch of
// an index in the order of ids: a planner that is given them as one reads and
// sorts all that match. It returns nil for other filters.
func (t *relation) ways(s *Store, f deputy.Filter) (out []condition) {
	if len(f.Fields) != 1 || f.Op == deputy.InState && t.lapses == nil {
		return nil
	}
	for i, v := range f.Values {
		switch {
		case slices.Contains(f.Values[:i], v):
		case f.Op == deputy.InState:
			out = append(out, t.state(deputy.Status(v), s.now().UnixMicro())...)
		case f.Op == deputy.Equals && slices.Contains(t.stretches, f.Fields[0]):
			// In the words of the statement: a planner that does not know the value
			// takes it for a common one, and where no row has it looks for one
			// through half of the table.
			same := f.Fields[0] + " = '" + strings.ReplaceAll(v, "'", "''") + "'"
			out = append(out, func(b *statement) { b.WriteString(same) })
		default:
			return nil
		}
	}
	if len(out) == 0 && f.Op == deputy.InState { // no such state
		out = append(out, func(b *statement) { b.WriteString("1 = 0") })
	}
	return out
}

// from names the table, and the index that serves the filters best where the
// engine must be told.
func (t *relation) from(d *dialect, filters []deputy.Filter, sorts []deputy.Sort) string {
	if !d.told {
		return t.name
	}
	for _, s := range t.indexes {
		for _, f := range filters {
			if f.Op == s.op && len(f.Fields) == 1 && f.Fields[0] == s.field && len(f.Values) > 0 {
				return t.name + " INDEXED BY " + s.index
			}
		}
	}
	if len(filters) == 0 && len(sorts) > 0 && t.sorted[sorts[0].Field] != "" {
		return t.name + " INDEXED BY " + t.sorted[sorts[0].Field]
	}
	return t.name
}

// filter writes the condition of one filter.
func (t *relation) filter(b *statement, d *dialect, f deputy.Filter) error {
	alternatives := 0
	or := func(condition ...string) {
		if alternatives++; alternatives > 1 {
			b.WriteString(" OR ")
		}
		for _, s := range condition {
			b.WriteString(s)
		}
	}
	b.WriteString(" AND (")
	for _, name := range f.Fields {
		if name == "id" {
			name = t.id
		}
		if condition, ok := t.related[name]; ok {
			for _, v := range f.Values {
				or(fmt.Sprintf(condition, b.arg(v)))
			}
			continue
		}
		if !slices.Contains(t.columns, name) {
			return deputy.Bad("filter", "unknown field %q", name)
		}
		switch f.Op {
		case deputy.IsNull:
			or(name, " IS NULL")
		case deputy.Equals:
			column, values, err := t.equals(name, f.Values)
			if err != nil {
				return err
			}
			if len(values) == 0 {
				continue
			}
			or(column, " IN ")
			b.all(values)
		case deputy.Contains:
			if !slices.Contains(t.columns, name+"_folded") {
				return deputy.Bad("filter", "%q cannot be searched", name)
			}
			for _, v := range f.Values {
				or(d.contains, "(", name, "_folded, ", b.arg(fold(v)), ") > 0")
			}
		case deputy.Has:
			if t.always == name { // an empty list stands for everything
				or(name, " IS NULL")
			}
			for _, v := range f.Values {
				quoted, err := jsontext.AppendQuote(nil, v)
				if err != nil {
					return deputy.Bad("filter", "must be valid UTF-8")
				}
				or(d.contains, "(", name, ", ", b.arg(string(quoted)), ") > 0")
			}
		default:
			return deputy.Bad("filter", "%q cannot be compared so", name)
		}
	}
	if alternatives == 0 {
		b.WriteString("1 = 0")
	}
	b.WriteByte(')')
	return nil
}

// equals returns the column to compare for equality with a field, and the
// values as that column has them. A value that the column cannot hold matches
// nothing and is left out.
func (t *relation) equals(name string, values []string) (column string, out []any, err error) {
	column = name
	for _, v := range values {
		switch t.kinds[name] {
		case "bool":
			if truth, err := strconv.ParseBool(v); err == nil {
				out = append(out, truth)
			}
		case "int64":
			if n, err := strconv.ParseInt(v, 10, 64); err == nil {
				out = append(out, n)
			}
		default:
			if slices.Contains(t.columns, name+"_key") {
				column, v = name+"_key", key(v)
			}
			out = append(out, v)
		}
	}
	return column, out, nil
}

// order is one expression that a list is sorted by.
type order struct {
	expression string
	descending bool
}

// after is the comparison of what comes later in a direction of travel.
func (o order) after(backward bool) string {
	if o.descending != backward {
		return " < "
	}
	return " > "
}

// orders returns what a list is sorted by, the id last.
func (t *relation) orders(sorts []deputy.Sort) ([]order, error) {
	var out []order
	descending := true // newest first
	for _, s := range sorts {
		descending = s.Descending
		if s.Field == "created_at" && t.newest == "" {
			break // ids are in the order of creation, and no two are equal
		}
		expression, ok := t.sorts[s.Field]
		if s.Field == "created_at" {
			expression, ok = t.newest, true
		}
		if !ok {
			return nil, deputy.Bad("sort", "cannot sort by %q", s.Field)
		}
		out = append(out, order{expression, s.Descending})
	}
	if len(sorts) == 0 && t.newest != "" {
		out = append(out, order{t.newest, descending})
	}
	return append(out, order{t.id, descending}), nil
}

// beyond writes the condition that a row comes after the cursor, or before it
// when backward is set.
func (c *cursor) beyond(b *statement, orders []order, backward bool) {
	values := append(slices.Clone(c.keys), c.id)
	uniform := true
	for _, o := range orders {
		uniform = uniform && o.descending == orders[0].descending
	}
	if uniform { // one comparison of rows, which an index can answer
		b.WriteString(" AND (")
		for i, o := range orders {
			b.WriteString([]string{"", ", "}[min(i, 1)] + o.expression)
		}
		b.WriteString(")" + orders[0].after(backward))
		b.all(values)
		return
	}
	// The first comparison again, by itself: an index can begin there.
	b.WriteString(" AND " + orders[0].expression + strings.TrimRight(orders[0].after(backward), " ") + "= " + b.arg(values[0]) + " AND (")
	for i, o := range orders {
		b.WriteString([]string{"(", " OR ("}[min(i, 1)])
		for j := range i {
			b.WriteString(orders[j].expression + " = " + b.arg(values[j]) + " AND ")
		}
		b.WriteString(o.expression + o.after(backward) + b.arg(values[i]) + ")")
	}
	b.WriteString(")")
}

// orderBy writes the ORDER BY clause.
func orderBy(b *statement, orders []order, backward bool) {
	for i, o := range orders {
		b.WriteString([]string{" ORDER BY ", ", "}[min(i, 1)] + o.expression)
		if o.descending != backward {
			b.WriteString(" DESC")
		}
	}
}

// maxPage is the largest and the usual size of a page.
const maxPage = 100

// pageSize checks and returns the size of a page.
func pageSize(limit int) (int, error) {
	switch {
	case limit == 0:
		return maxPage, nil
	case limit < 0 || limit > maxPage:
		return 0, deputy.Bad("limit", "must be 1 to %d", maxPage)
	}
	return limit, nil
}
