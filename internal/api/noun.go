package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"deputy/internal/deputy"
)

// Noun declares what the API offers of one kind of entity: D of the domain,
// shown as V, made from C, changed by P.
type Noun[D, V, C, P any] struct {
	Name   string // one, as targets of events name it: policy_version
	Plural string // many, as actions and events name them
	Path   string // of the collection
	Key    string // path parameter that names one
	Tag    string // heading in the document
	About  string // a sentence for the document
	Made   int    // status of create

	List    listing
	Short   bool     // the list has no page_info
	Owned   bool     // lies in an organization, whose lists are of their own form
	Expand  []string // values of expand on a read of one
	Headers []*huma.Param

	// One returns the id of the only one there is; nil where the path names it.
	One func(*call) deputy.ID
	// Scope says where its entities lie: in the zone, or where Owned in the
	// organization, unless set.
	Scope  func(*call) deputy.Scope
	Reads  func(deputy.View) deputy.Reads[D]
	Writes func(deputy.Tx) deputy.Writes[D]
	// ID returns an entity's id.
	ID func(*D) deputy.ID
	// Owner returns whose it is; nil where the platform owns none.
	Owner func(*D) deputy.Owner
	// Revision returns what its ETag is made of; nil where there is none.
	Revision func(*D) int64

	// Narrow completes what a list is asked, where a filter is not enough.
	Narrow func(context.Context, *API, *call, *asked) error
	// Beside reads, for entities about to be shown, what their views show beside
	// their rows; nil where that is nothing.
	Beside func(context.Context, *API, *call, []*D) error
	View   func(*API, *call, *D) V
	New    func(*API, *call, *C) *D
	Change func(*API, *call, *D, *P) error
	// Check is the domain's own check of one entity.
	Check func(*D) error
	// Settle puts an entity that was checked into the form that is stored; nil
	// where that is the same.
	Settle func(*API, *call, *D)
	// Refer checks, inside the transaction, that what it refers to exists.
	Refer func(context.Context, deputy.Tx, *call, *D) error
	// Leave checks, inside the transaction, that it could be deleted; nil: any can.
	Leave func(context.Context, deputy.Tx, *call, *D) error
}

// verb is one of the five.
type verb int

const (
	list verb = iota
	get
	create
	patch
	remove
)

// mountAll registers the verbs of a noun.
func (n *Noun[D, V, C, P]) mountAll(a *API, verbs ...verb) {
	for _, v := range verbs {
		switch v {
		case list:
			switch o := n.operation(list); {
			case n.Owned:
				mount(a, o, n.listOwned(a))
			case n.Short:
				mount(a, o, n.listShort(a))
			default:
				mount(a, o, n.list(a))
			}
		case get:
			mount(a, n.operation(get), n.get(a))
		case create:
			mount(a, n.operation(create), n.create(a))
		case patch:
			mount(a, n.operation(patch), n.patch(a))
		case remove:
			mount(a, n.operation(remove), n.remove(a))
		}
	}
}

// operation returns the route of a verb.
func (n *Noun[D, V, C, P]) operation(v verb) operation {
	one, many := strings.ReplaceAll(n.Name, "_", " "), strings.ReplaceAll(n.Plural, "_", " ")
	id, ids := strings.ReplaceAll(n.Name, "_", "-"), strings.ReplaceAll(n.Plural, "_", "-")
	path := n.Path
	if n.One == nil {
		path += "/{" + n.Key + "}"
	}
	o := operation{Tag: n.Tag, Path: path, Status: http.StatusOK, Headers: n.Headers}
	tagged := n.Revision != nil
	switch v {
	case list:
		o.ID, o.Method, o.Path, o.Action = "list-"+ids, http.MethodGet, n.Path, n.Plural+":list"
		o.Summary, o.Doc, o.Query = "List "+many, n.About, n.List.document()
	case get:
		o.ID, o.Method, o.Action, o.Summary = "get-"+id, http.MethodGet, n.Plural+":read", "Get one of the "+many
		o.Query, o.ETag = expandParams(n.Expand, n.List.Style), tagged
	case create:
		o.ID, o.Method, o.Path, o.Action = "create-"+id, http.MethodPost, n.Path, n.Plural+":create"
		o.Summary, o.Status, o.Errors, o.ETag = "Create "+article(one), n.Made, []int{http.StatusConflict}, tagged
	case patch:
		o.ID, o.Method, o.Action, o.Summary = "update-"+id, http.MethodPatch, n.Plural+":update", "Change "+article(one)
		o.Doc = "What is left out stays; null clears, where it is allowed. Nested objects are merged member by member, lists are replaced."
		o.Errors, o.ETag = []int{http.StatusConflict}, tagged
		if tagged {
			o.Errors, o.Headers = append(o.Errors, http.StatusPreconditionFailed), append([]*huma.Param{ifMatchHeader}, n.Headers...)
		}
	case remove:
		o.ID, o.Method, o.Action, o.Summary = "delete-"+id, http.MethodDelete, n.Plural+":delete", "Delete "+article(one)
		o.Status = http.StatusNoContent
	}
	return o
}

func article(noun string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}

func (n *Noun[D, V, C, P]) scope(c *call) deputy.Scope {
	if n.Scope != nil {
		return n.Scope(c)
	}
	if n.Owned {
		return deputy.Scope{Organization: c.organization.ID}
	}
	return deputy.Scope{Zone: c.zone.ID}
}

// id returns which one the path names.
func (n *Noun[D, V, C, P]) id(c *call) deputy.ID {
	if n.One != nil {
		return n.One(c)
	}
	return deputy.ID(c.param(n.Key))
}

func (n *Noun[D, V, C, P]) target(id deputy.ID) *deputy.Target {
	return &deputy.Target{Type: n.Name, ID: string(id)}
}

// view returns an entity as the answer shows it, and sets its ETag.
func (n *Noun[D, V, C, P]) view(a *API, c *call, d *D) *output[V] {
	if n.Revision != nil {
		c.answer.Set("ETag", etag(n.Revision(d)))
	}
	return &output[V]{n.View(a, c, d)}
}

// page returns the page that the query asks for, among those that also match
// the filters.
func (n *Noun[D, V, C, P]) page(ctx context.Context, a *API, c *call, where ...deputy.Filter) (*List[V], error) {
	q, err := n.List.read(a, c)
	if err != nil {
		return nil, err
	}
	c.expand = q.expand
	q.Where = append(q.Where, where...)
	if n.Narrow != nil {
		if err := n.Narrow(ctx, a, c, q); err != nil {
			return nil, err
		}
	}
	page, err := n.Reads(a.store).List(ctx, n.scope(c), q.Query)
	if err != nil {
		return nil, err
	}
	if err := n.beside(ctx, a, c, page.Items...); err != nil {
		return nil, err
	}
	return newList(page, func(d *D) V { return n.View(a, c, d) }), nil
}

func (n *Noun[D, V, C, P]) list(a *API) func(context.Context, *call, *empty) (*output[List[V]], error) {
	return func(ctx context.Context, c *call, _ *empty) (*output[List[V]], error) {
		page, err := n.page(ctx, a, c)
		if err != nil {
			return nil, err
		}
		return &output[List[V]]{*page}, nil
	}
}

func (n *Noun[D, V, C, P]) listShort(a *API) func(context.Context, *call, *empty) (*output[ShortList[V]], error) {
	return func(ctx context.Context, c *call, _ *empty) (*output[ShortList[V]], error) {
		page, err := n.page(ctx, a, c)
		if err != nil {
			return nil, err
		}
		return &output[ShortList[V]]{ShortList[V]{page.Items, page.Pagination}}, nil
	}
}

func (n *Noun[D, V, C, P]) listOwned(a *API) func(context.Context, *call, *empty) (*output[OwnedList[V]], error) {
	return func(ctx context.Context, c *call, _ *empty) (*output[OwnedList[V]], error) {
		page, err := n.page(ctx, a, c)
		if err != nil {
			return nil, err
		}
		return &output[OwnedList[V]]{newOwnedList(page, n.permissions(a, c))}, nil
	}
}

// permissions returns what the caller may do with such entities, when asked.
func (n *Noun[D, V, C, P]) permissions(a *API, c *call) Permissions {
	return a.allowed(c, strings.TrimPrefix(n.Plural, organizationPrefix))
}

func (n *Noun[D, V, C, P]) get(a *API) func(context.Context, *call, *empty) (*output[V], error) {
	return func(ctx context.Context, c *call, _ *empty) (*output[V], error) {
		expand, err := readExpand(c, n.Expand, n.List.Style, n.List.Lenient)
		if err != nil {
			return nil, err
		}
		c.expand = expand
		d, err := n.Reads(a.store).Get(ctx, n.scope(c), n.id(c))
		if err != nil {
			return nil, missing(err, n.Name)
		}
		if err := n.beside(ctx, a, c, d); err != nil {
			return nil, err
		}
		return n.view(a, c, d), nil
	}
}

func (n *Noun[D, V, C, P]) beside(ctx context.Context, a *API, c *call, shown ...*D) error {
	if n.Beside == nil {
		return nil
	}
	return n.Beside(ctx, a, c, shown)
}

func (n *Noun[D, V, C, P]) create(a *API) func(context.Context, *call, *input[C]) (*output[V], error) {
	return func(ctx context.Context, c *call, in *input[C]) (*output[V], error) {
		d := n.New(a, c, &in.Body)
		if err := n.insert(ctx, a, c, d, nil); err != nil {
			return nil, err
		}
		return n.view(a, c, d), nil
	}
}

// insert adds an entity and, in the same transaction, what also returns.
func (n *Noun[D, V, C, P]) insert(ctx context.Context, a *API, c *call, d *D, also func(deputy.Tx) error) error {
	if err := n.settle(a, c, d); err != nil {
		return err
	}
	return a.write(ctx, c, n.target(n.ID(d)), func(tx deputy.Tx) error {
		if err := n.refer(ctx, tx, c, d); err != nil {
			return err
		}
		if err := n.Writes(tx).Insert(ctx, d); err != nil || also == nil {
			return err
		}
		return also(tx)
	})
}

func (n *Noun[D, V, C, P]) settle(a *API, c *call, d *D) error {
	if err := n.Check(d); err != nil || n.Settle == nil {
		return err
	}
	n.Settle(a, c, d)
	return nil
}

func (n *Noun[D, V, C, P]) refer(ctx context.Context, tx deputy.Tx, c *call, d *D) error {
	if n.Refer == nil {
		return nil
	}
	return n.Refer(ctx, tx, c, d)
}

func (n *Noun[D, V, C, P]) patch(a *API) func(context.Context, *call, *input[P]) (*output[V], error) {
	return func(ctx context.Context, c *call, in *input[P]) (*output[V], error) {
		d, err := n.update(ctx, a, c, func(d *D) error { return n.Change(a, c, d, &in.Body) })
		if err != nil {
			return nil, err
		}
		return n.view(a, c, d), nil
	}
}

// update changes the entity that the path names and, in the same transaction,
// does what also says.
func (n *Noun[D, V, C, P]) update(ctx context.Context, a *API, c *call, change func(*D) error, also ...func(deputy.Tx) error) (d *D, err error) {
	id := n.id(c)
	err = a.write(ctx, c, n.target(id), func(tx deputy.Tx) (err error) {
		d, err = n.Writes(tx).Update(ctx, n.scope(c), id, func(d *D) error {
			if err := n.writable(c, d); err != nil {
				return err
			}
			if err := change(d); err != nil {
				return err
			}
			return n.settle(a, c, d)
		})
		if err != nil {
			return missing(err, n.Name)
		}
		for _, more := range also {
			if err := more(tx); err != nil {
				return err
			}
		}
		return n.refer(ctx, tx, c, d)
	})
	return d, err
}

// writable reports whether the caller may change the entity in its state.
func (n *Noun[D, V, C, P]) writable(c *call, d *D) error {
	if n.Owner != nil {
		if err := ownedByCustomer(n.Owner(d), n.Name); err != nil {
			return err
		}
	}
	if n.Revision != nil && !matches(c.header("If-Match"), etag(n.Revision(d))) {
		return deputy.Errorf(deputy.Stale, "somebody else changed it: read it again")
	}
	return nil
}

func (n *Noun[D, V, C, P]) remove(a *API) func(context.Context, *call, *empty) (*empty, error) {
	return func(ctx context.Context, c *call, _ *empty) (*empty, error) {
		id := n.id(c)
		return nil, a.write(ctx, c, n.target(id), func(tx deputy.Tx) error {
			d, err := n.Writes(tx).Get(ctx, n.scope(c), id)
			if err != nil {
				return missing(err, n.Name)
			}
			if err := n.writable(c, d); err != nil {
				return err
			}
			if err := n.Writes(tx).Delete(ctx, n.scope(c), id); err != nil || n.Leave == nil {
				return err
			}
			return n.Leave(ctx, tx, c, d)
		})
	}
}

// ownedByCustomer refuses to change or add to what the platform owns.
func ownedByCustomer(owner deputy.Owner, noun string) error {
	if owner == deputy.Platform {
		return deputy.Errorf(deputy.Denied, "the platform owns this %s: it cannot be changed", strings.ReplaceAll(noun, "_", " "))
	}
	return nil
}

// etag returns the strong validator of a revision (RFC 9110 §8.8.3).
func etag(revision int64) string { return `"` + strconv.FormatInt(revision, 10) + `"` }

// matches reports whether an If-Match header lets the entity with the tag be
// changed: it is absent, *, or lists the tag; weak tags never match
// (RFC 9110 §13.1.1).
func matches(header, tag string) bool {
	if header == "" {
		return true
	}
	for candidate := range strings.SplitSeq(header, ",") {
		if candidate = strings.TrimSpace(candidate); candidate == tag || candidate == "*" {
			return true
		}
	}
	return false
}
