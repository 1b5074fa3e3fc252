package deputy

import "context"

// Scope says where an entity lives; what lies outside it does not exist.
// Organizations have the empty scope, what an organization owns has its id,
// what a zone owns the zone's. Parent narrows further where a collection says
// so.
type Scope struct {
	Organization OrganizationID
	Zone         ZoneID
	Parent       ID
}

// Reads is a collection that can be read.
type Reads[T any] interface {
	// Get returns the entity with the id, or NotFound.
	Get(ctx context.Context, in Scope, id ID) (*T, error)
	// Find returns the entity whose unique field has the value, or NotFound.
	Find(ctx context.Context, in Scope, field, value string) (*T, error)
	// List returns one page. A cursor that is not of this very query is Invalid.
	List(ctx context.Context, in Scope, q Query) (*Page[T], error)
	// Tally counts, for each of the values of a field, the entities that have it
	// and match the filters.
	Tally(ctx context.Context, in Scope, field string, values []string, where ...Filter) (map[string]int, error)
}

// Inserts is a collection whose entities never change.
type Inserts[T any] interface {
	Reads[T]
	// Insert adds the entity, whose id and times are set. A unique field that is
	// taken gives Conflict with that Field, except that a taken Slug is replaced
	// by a free one.
	Insert(ctx context.Context, entity *T) error
}

// Archives is a collection whose entities can only be taken out of use, for
// good.
type Archives[T any] interface {
	Inserts[T]
	// Archive notes that the entity is archived, at the time of the transaction
	// and by whom, and returns it. One that was archived before stays as it is.
	Archive(ctx context.Context, in Scope, id ID, by string) (*T, error)
}

// Writes is a collection that can be changed.
type Writes[T any] interface {
	Inserts[T]
	// Update hands the entity to change and stores what it made of it; the
	// revision counts up and the update time is set if anything differs.
	Update(ctx context.Context, in Scope, id ID, change func(*T) error) (*T, error)
	// Delete removes the entity and what hangs on it, or gives NotFound.
	Delete(ctx context.Context, in Scope, id ID) error
}

// Query selects a page of a list. The zero value is the first page, newest
// first.
type Query struct {
	After, Before string   // cursors of an earlier page; at most one is set
	Limit         int      // 1 to 100; 0 means 100
	Where         []Filter // all must hold
	Sort          []Sort   // then by id; none: newest first
	Count         bool     // fill Page.Total
	// All returns every match in one page, for lists that name their ids.
	All bool
}

// Filter holds when any of the fields matches any of the values.
type Filter struct {
	Fields []string
	Op     FilterOp
	Values []string
}

// FilterOp is how a filter compares.
type FilterOp int

// The comparisons.
const (
	Equals   FilterOp = iota // exact
	Contains                 // substring, letter case aside
	Has                      // the field is a list and holds the value
	IsNull                   // the field is unset; no values
	InState                  // the field is a Status, and this one at the time of the query
)

// Sort orders by a field.
type Sort struct {
	Field      string
	Descending bool
}

// Page is a part of a list.
type Page[T any] struct {
	Items []*T
	// Cursors of the first and the last item; empty when there are no items.
	First, Last string
	// HasNext and HasPrevious tell whether the list goes on beyond the page.
	HasNext, HasPrevious bool
	Total                *int // when asked for: matches, cursors and limit aside
}
