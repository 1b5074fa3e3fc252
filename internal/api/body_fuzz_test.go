package api_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"deputy/internal/deputy"
)

// FuzzBodies sends to every operation bodies that fit its schema or nearly do:
// nothing fails here, a refusal changes nothing, is as documented, and repeats
// neither what was sent nor names of the program.
func FuzzBodies(f *testing.F) {
	s := newServer(f)
	own := newEstate(s, "admin", s.vars["org"], "Own")
	operations := own.withBody()
	random := rand.New(rand.NewPCG(1, 2))
	for range 8 * len(operations) {
		entropy := make([]byte, 64)
		for i := range entropy {
			entropy[i] = byte(random.Uint32())
		}
		f.Add(entropy)
	}
	for i := range operations { // what fits
		f.Add([]byte{byte(i)})
	}
	sent := 0
	f.Fuzz(func(t *testing.T, entropy []byte) {
		s.t = t
		if sent++; sent%bodiesEach == 0 {
			own = newEstate(s, "admin", s.vars["org"], fmt.Sprint("Own", sent))
		}
		own.fuzz(operations, &dice{bytes: entropy})
	})
}

// bodiesEach is how many bodies an estate takes: of some of what they make, like
// versions, nothing can be removed, and all there is gets compared.
const bodiesEach = 10_000

// withBody returns the operations that take a body, in order.
func (e *estate) withBody() []described {
	e.t.Helper()
	var out []described
	for _, op := range operationsOf(e.document()) {
		if _, ok := op.bodySchema(); ok && !op.open() {
			out = append(out, op)
		}
	}
	slices.SortFunc(out, func(a, b described) int { return strings.Compare(a.method+a.path, b.method+b.path) })
	if len(out) == 0 {
		e.t.Fatal("no operation takes a body")
	}
	return out
}

// fields are where the members are that a refusal is about: their names are the
// sender's.
var fields = regexp.MustCompile(`"field":"[^"]*"`)

// maxRefusal bounds what a refusal says, in bytes.
const maxRefusal = 16 << 10

// fuzz sends one body.
func (e *estate) fuzz(operations []described, d *dice) {
	e.t.Helper()
	op := operations[d.of(len(operations))]
	path := e.path(op.path, nil)
	body := generate(op, e.bodyFor(op.method, op.path), e.all(), d)
	thorough := d.once(64)
	var before string
	if thorough {
		before = e.everything()
	}
	last := e.lastEvent()
	w := e.request(step{do: op.method + " " + path, as: e.as, body: body, header: map[string]string{"Content-Type": "application/json"}})
	switch {
	case w.Code >= http.StatusInternalServerError:
		e.t.Errorf("%s %s: status %d for %q: %s\n%s", op.method, op.path, w.Code, body, w.Body, e.log)
	case w.Code < http.StatusBadRequest:
		e.undo(op, text(w, "id"))
		return
	case w.Code != http.StatusForbidden && e.lastEvent() != last:
		e.t.Errorf("%s %s: the refusal %d of %q left an event", op.method, op.path, w.Code, body)
	case thorough && e.everything() != before:
		e.t.Errorf("%s %s: the refusal %d of %q changed something", op.method, op.path, w.Code, body)
	}
	said := w.Body.String()
	if strings.Contains(said, mark) || internals.MatchString(fields.ReplaceAllString(said, "")) || len(said) > maxRefusal {
		e.t.Errorf("%s %s: the refusal of %q says too much: %s", op.method, op.path, body, said)
	}
}

// all returns the estate's ids, in order.
func (e *estate) all() []string {
	var out []string
	for _, id := range e.ids {
		out = append(out, id)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// lastEvent returns the newest event of the owner's organization.
func (e *estate) lastEvent() deputy.EventID {
	e.t.Helper()
	page, err := e.store.Events(e.t.Context(), deputy.EventQuery{Organization: deputy.OrganizationID(e.ids["/organizations/{organization_id}"]), Limit: 1})
	if err != nil {
		e.t.Fatal(err)
	}
	event, err := page.Items[0].Event(e.t.Context(), openSealing{})
	if err != nil {
		e.t.Fatal(err)
	}
	return event.ID
}

// undo removes what a body made, where it can be removed, and saves drafts that it
// changed or published as they were: what is wrong with one is said later, in the
// words of whoever wrote it.
func (e *estate) undo(op described, id string) {
	e.t.Helper()
	draft, spent := strings.CutSuffix(op.path, "/publish")
	if of, released := strings.CutSuffix(op.path, "/{package_id}/versions"); released {
		draft, spent = of+"/{package_id}/draft", true
	}
	if spent || op.method == http.MethodPut && strings.HasSuffix(draft, "/draft") {
		e.call("PUT "+e.path(draft, nil), e.bodyFor("PUT", draft))
	}
	if op.method != http.MethodPost || id == "" {
		return
	}
	for _, r := range e.api.Routes() {
		if rest, ok := strings.CutPrefix(r.Path, op.path+"/{"); ok && r.Method == http.MethodDelete && strings.HasSuffix(rest, "}") && !strings.Contains(rest, "/") {
			e.call("DELETE "+e.path(r.Path, map[string]string{r.Path: id}), "")
		}
	}
}
