package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"deputy/internal/deputy"
)

// A draft is work in progress on something that has versions. There is at most
// one of each, so it has no id of its own: its noun has the path and the key of
// what it is a draft of. What hands a draft to a transaction holds the row of
// that, so that drafts of one thing change one after the other.

// draft returns the operation of a verb on the one draft: patch saves it, in
// place of the one there is, and create makes a version of it.
func (n *Noun[D, V, C, P]) draft(v verb) operation {
	of, noun := strings.TrimSuffix(n.Name, "_draft"), strings.ReplaceAll(n.Name, "_", "-")
	of = "a " + strings.ReplaceAll(of, "_", " ")
	o := n.operation(v)
	switch v {
	case get:
		o.Summary = "Get the draft of " + of
	case patch:
		o.ID, o.Method, o.Action, o.Summary = "save-"+noun, http.MethodPut, n.Plural+":save", "Save the draft of "+of
		o.Also, o.Body, o.Errors = http.StatusCreated, true, []int{http.StatusPreconditionFailed}
	case create:
		o.ID, o.Action, o.Summary = "publish-"+noun, n.Plural+":publish", "Make a version of "+of+" from its draft"
		o.Doc = "It is checked as any new version is. The draft goes with it."
		o.Path += "/{" + n.Key + "}"
		o.Status, o.ETag, o.Errors = http.StatusCreated, false, nil
	case remove:
		o.Summary = "Drop the draft of " + of
	}
	o.Path += "/draft"
	if v == create {
		o.Path += "/publish"
	}
	if v == create || v == remove {
		o.Errors = append(o.Errors[:len(o.Errors):len(o.Errors)], http.StatusPreconditionFailed)
		o.Headers = append([]*huma.Param{ifMatchHeader}, o.Headers...)
	}
	return o
}

// save adds a draft, or hands the one that is there to replace.
func (n *Noun[D, V, C, P]) save(ctx context.Context, tx deputy.Tx, c *call, fresh *D, replace func(*D)) (d *D, made bool, err error) {
	d, err = n.Writes(tx).Update(ctx, n.scope(c), n.ID(fresh), func(d *D) error {
		if err := n.writable(c, d); err != nil {
			return err
		}
		replace(d)
		return nil
	})
	if deputy.KindOf(err) != deputy.NotFound {
		return d, false, err
	}
	if c.header("If-Match") != "" { // there is nothing to match (RFC 9110 §13.1.1)
		return nil, false, deputy.Errorf(deputy.Stale, "there is no draft to match")
	}
	return fresh, true, n.Writes(tx).Insert(ctx, fresh)
}

// use removes a draft that a version was made of, unless it is another than was
// looked at.
func (n *Noun[D, V, C, P]) use(ctx context.Context, tx deputy.Tx, c *call, d *D) error {
	now, err := n.Writes(tx).Get(ctx, n.scope(c), n.ID(d))
	if err != nil {
		return missing(err, n.Name)
	}
	if n.Revision(now) != n.Revision(d) {
		return deputy.Errorf(deputy.Stale, "the draft was saved meanwhile: read it again")
	}
	return n.Writes(tx).Delete(ctx, n.scope(c), n.ID(d))
}

// placement is the answer of a put.
func placement[V any](out *output[V], made bool) *placed[V] {
	if made {
		return &placed[V]{http.StatusCreated, out.Body}
	}
	return &placed[V]{http.StatusOK, out.Body}
}

// absent reports whether a member says nothing.
func absent[T any](p Nullable[T]) bool { return !p.Set || p.Null }
