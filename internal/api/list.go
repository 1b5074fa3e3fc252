package api

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"deputy/internal/deputy"
)

// Bounds of a page.
const (
	defaultLimit = 100
	maxLimit     = 100
	maxValues    = 100 // of one parameter
	maxCursor    = 255
)

// parameter is a query parameter of a list or of one: what it narrows, and how
// it is documented.
type parameter struct {
	Name string
	// Also are further names that mean the same.
	Also []string
	Doc  string
	Enum []string
	// Many says that it may be repeated: any of the values.
	Many bool
	// Deprecated parameters still work.
	Deprecated bool
	// IDs says that the values are ids, on one page: filter[id].
	IDs bool

	// Fields, Op narrow the list; every value must hold when All is set, else
	// any. A parameter without fields is read by the noun's own code.
	Fields []string
	Op     deputy.FilterOp
	All    bool
	// Stored says that the value is an identifier, which may be a built-in one.
	Stored bool
}

// expandStyle is which spelling of expand a route documents; both are taken.
type expandStyle int

const (
	bracketed expandStyle = iota // expand[]
	bare                         // expand
	both                         // expand[], and expand as deprecated
)

// listing says what a list can be asked.
type listing struct {
	Parameters []parameter
	Expand     []string // "total_count", "permissions"
	Style      expandStyle
	// Lenient lists ignore unknown values of expand.
	Lenient bool
	Cursor  bool     // takes the older name of after
	Sort    []string // fields of sort; nil: no sort parameter
	Ordered bool     // sort=created_at and order=asc|desc
}

// asked is what a request asks of a list.
type asked struct {
	deputy.Query
	expand map[string]bool
}

// read returns what the query asks for.
func (l *listing) read(a *API, c *call) (*asked, error) {
	q := &asked{}
	steps := []func(*call, *asked) error{l.readExpand, l.readPage, l.readSort}
	for _, step := range steps {
		if err := step(c, q); err != nil {
			return nil, err
		}
	}
	for _, p := range l.Parameters {
		values, err := p.values(c.query)
		if err != nil {
			return nil, err
		}
		if len(values) == 0 || p.Fields == nil {
			continue
		}
		if p.IDs {
			if err := l.readIDs(c, q, values); err != nil {
				return nil, err
			}
		}
		if p.Stored {
			for i := range values {
				values[i] = a.addresses.Stored(c.zone, values[i])
			}
		}
		if p.All {
			for _, v := range values {
				q.Where = append(q.Where, deputy.Filter{Fields: p.Fields, Op: p.Op, Values: []string{v}})
			}
			continue
		}
		q.Where = append(q.Where, deputy.Filter{Fields: p.Fields, Op: p.Op, Values: values})
	}
	return q, nil
}

// values returns the values of a parameter under any of its names, checked.
func (p *parameter) values(query url.Values) ([]string, error) {
	var out []string
	for _, name := range append([]string{p.Name}, p.Also...) {
		out = append(out, query[strings.TrimSuffix(name, "[]")]...)
	}
	seen := map[string]bool{"": true}
	out = slices.DeleteFunc(out, func(s string) bool { again := seen[s]; seen[s] = true; return again })
	switch {
	case len(out) > 1 && !p.Many:
		return nil, deputy.Bad(p.Name, "must be given once")
	case len(out) > maxValues:
		return nil, deputy.Bad(p.Name, "must have at most %d values", maxValues)
	}
	for _, v := range out {
		if len(v) > deputy.MaxIdentifier {
			return nil, deputy.Bad(p.Name, "must be at most %d bytes long", deputy.MaxIdentifier)
		}
		if p.Enum == nil && !p.IDs || slices.Contains(p.Enum, v) {
			continue
		}
		if strings.Contains(v, ",") && p.Many {
			return nil, deputy.Bad(p.Name, "repeat the parameter for more than one value: %s=…&%s=…", p.Name, p.Name)
		}
		if p.Enum != nil {
			return nil, deputy.Bad(p.Name, "must be one of %s", strings.Join(p.Enum, ", "))
		}
	}
	return out, nil
}

// readIDs makes the list one page of the named entities.
func (l *listing) readIDs(c *call, q *asked, ids []string) error {
	if q.After != "" || q.Before != "" {
		return deputy.Errorf(deputy.Invalid, "filter[id] gives one page: it does not go with after or before")
	}
	if !l.Ordered {
		q.All = true // limit is ignored
	} else if c.query.Get("limit") == "" {
		q.Limit = len(ids)
	}
	return nil
}

func (l *listing) readExpand(c *call, q *asked) error {
	expand, err := readExpand(c, l.Expand, l.Style, l.Lenient)
	q.expand, q.Count = expand, expand["total_count"]
	return err
}

// readExpand returns the set of values that expand and expand[] hold.
func readExpand(c *call, allowed []string, style expandStyle, lenient bool) (map[string]bool, error) {
	set := func(name string) map[string]bool {
		out := map[string]bool{}
		for _, list := range c.sent[name] {
			for v := range strings.SplitSeq(list, ",") {
				out[v] = true
			}
		}
		return out
	}
	older, out := set("expand"), set("expand[]")
	if style == both && len(older) > 0 && len(out) > 0 && !maps.Equal(older, out) {
		return nil, deputy.Errorf(deputy.Invalid, "expand is an older name of expand[]: give one of them")
	}
	maps.Copy(out, older)
	for v := range out {
		if !slices.Contains(allowed, v) && !lenient {
			return nil, deputy.Bad("expand[]", "must be one of %s", strings.Join(allowed, ", "))
		}
	}
	return out, nil
}

func (l *listing) readPage(c *call, q *asked) error {
	if err := c.once("after", "before", "cursor", "limit", "sort", "order"); err != nil {
		return err
	}
	q.After, q.Before = c.query.Get("after"), c.query.Get("before")
	if older := c.query.Get("cursor"); l.Cursor && older != "" {
		if q.After != "" && q.After != older {
			return deputy.Errorf(deputy.Invalid, "cursor is an older name of after: give one of them")
		}
		q.After = older
	}
	if len(q.After) > maxCursor || len(q.Before) > maxCursor {
		return deputy.Errorf(deputy.Invalid, "the cursor is not of this list")
	}
	if q.After != "" && q.Before != "" {
		return deputy.Errorf(deputy.Invalid, "give after or before, not both")
	}
	q.Limit = defaultLimit
	if limit := c.query.Get("limit"); limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil || n < 1 || n > maxLimit {
			return deputy.Bad("limit", "must be 1 to %d", maxLimit)
		}
		q.Limit = n
	}
	return nil
}

func (l *listing) readSort(c *call, q *asked) error {
	sort := c.query.Get("sort")
	if l.Ordered {
		order := c.query.Get("order")
		switch {
		case order != "" && order != "asc" && order != "desc":
			return deputy.Bad("order", "must be one of asc, desc")
		case sort != "" && !slices.Contains(append([]string{"created_at"}, l.Sort...), sort):
			return deputy.Bad("sort", "must be one of %s", strings.Join(append([]string{"created_at"}, l.Sort...), ", "))
		}
		q.Sort = []deputy.Sort{{Field: "created_at", Descending: order != "asc"}}
		return nil
	}
	if l.Sort == nil || sort == "" {
		return nil
	}
	for field := range strings.SplitSeq(sort, ",") {
		name, descending := strings.CutPrefix(field, "-")
		if !slices.Contains(l.Sort, name) {
			return deputy.Bad("sort", "must be among %s, each with - in front to descend", strings.Join(l.Sort, ", "))
		}
		q.Sort = append(q.Sort, deputy.Sort{Field: name, Descending: descending})
	}
	return nil
}

// document returns the parameters as the OpenAPI document shows them.
func (l *listing) document() []*huma.Param {
	cursor := func(name, doc string) *huma.Param {
		return queryParam(name, doc, &huma.Schema{Type: huma.TypeString, MinLength: number(1), MaxLength: number(maxCursor)})
	}
	low, high := 1.0, float64(maxLimit)
	params := []*huma.Param{
		cursor("after", "Cursor: the page after it."),
		cursor("before", "Cursor: the page before it, in the same order."),
		queryParam("limit", "Items a page.", &huma.Schema{Type: huma.TypeInteger, Minimum: &low, Maximum: &high, Default: defaultLimit}),
	}
	if l.Cursor {
		p := cursor("cursor", "Older name of after.")
		p.Deprecated = true
		params = append(params, p)
	}
	params = append(params, expandParams(l.Expand, l.Style)...)
	switch {
	case l.Ordered:
		params = append(params,
			parameter{Name: "sort", Enum: append([]string{"created_at"}, l.Sort...), Doc: "What to order by."}.document(),
			parameter{Name: "order", Enum: []string{"asc", "desc"}, Doc: "Direction; desc unless said."}.document())
	case l.Sort != nil:
		params = append(params, parameter{
			Name: "sort", Doc: "Fields, separated by commas, each with - in front to descend: " + strings.Join(l.Sort, ", ") + ". Newest first unless said.",
		}.document())
	}
	for _, p := range l.Parameters {
		params = append(params, p.document())
		for _, name := range p.Also {
			p.Name, p.Doc = name, "Another name of "+p.Name+"."
			params = append(params, p.document())
		}
	}
	return params
}

func expandParams(values []string, style expandStyle) []*huma.Param {
	if len(values) == 0 {
		return nil
	}
	p := parameter{Enum: values, Many: true, Doc: "What to add to the answer."}
	var out []*huma.Param
	if style != bare {
		p.Name = "expand[]"
		out = append(out, p.document())
	}
	if style != bracketed {
		p.Name, p.Deprecated = "expand", style == both
		out = append(out, p.document())
	}
	return out
}

// document returns the parameter as the OpenAPI document shows it.
func (p parameter) document() *huma.Param {
	s := &huma.Schema{Type: huma.TypeString}
	for _, v := range p.Enum {
		s.Enum = append(s.Enum, v)
	}
	if slices.Equal(p.Enum, truth) {
		s = &huma.Schema{Type: huma.TypeBoolean}
	}
	if p.Many {
		s = &huma.Schema{Type: huma.TypeArray, Items: s, MaxItems: number(maxValues)}
	}
	out := queryParam(p.Name, p.Doc, s)
	out.Deprecated = p.Deprecated
	return out
}

func queryParam(name, doc string, s *huma.Schema) *huma.Param {
	explode := true
	p := &huma.Param{Name: name, In: "query", Description: doc, Schema: s}
	if s.Type == huma.TypeArray {
		p.Explode = &explode
	}
	return p
}

func number(n int) *int { return &n }
