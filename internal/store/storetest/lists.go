package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"deputy/internal/deputy"

	"pgregory.net/rapid"
)

var lists = map[string]func(*world){
	"pages of any list make up the list":     paging,
	"cursors outlive their items":            cursorsOutlive,
	"a cursor is of one list only":           foreignCursors,
	"limits":                                 limits,
	"filters":                                filters,
	"sets are listed by status":              statusOrder,
	"edges are listed by creation":           edgeOrder,
	"organizations and zones are listed":     owners,
	"unknown fields are refused":             unknownFields,
	"long sort keys, many items of one name": longKeys,
}

// paging compares random queries with a model that has the whole list in
// memory.
func paging(w *world) {
	var all []*deputy.Application
	names := []string{"a", "B", "b", "bb", "é", "z z", ""}
	var inserts []func(deputy.Tx) error
	for i := range 60 {
		a := w.application(fmt.Sprintf("%s-%d", names[i%5], i*7919%61))
		a.Name = names[i%len(names)]
		if i%3 == 0 {
			a.Traits = []string{"gateway"}
		}
		all = append(all, a)
		inserts = append(inserts, func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, a) })
	}
	w.insert(inserts...)
	slices.Reverse(all) // newest first

	rapid.Check(w.T, func(t *rapid.T) {
		q := deputy.Query{Limit: rapid.IntRange(1, 100).Draw(t, "limit"), Count: rapid.Bool().Draw(t, "count")}
		want := slices.Clone(all)
		if rapid.Bool().Draw(t, "filtered") {
			part := rapid.SampledFrom([]string{"B", "é-", "1", "nothing"}).Draw(t, "part")
			q.Where = append(q.Where, deputy.Filter{Fields: []string{"name", "identifier"}, Op: deputy.Contains, Values: []string{part}})
			want = slices.DeleteFunc(want, func(a *deputy.Application) bool {
				return !strings.Contains(strings.ToLower(a.Name), strings.ToLower(part)) && !strings.Contains(strings.ToLower(a.Identifier), strings.ToLower(part))
			})
		}
		if rapid.Bool().Draw(t, "gateways") {
			q.Where = append(q.Where, deputy.Filter{Fields: []string{"traits"}, Op: deputy.Has, Values: []string{"gateway"}})
			want = slices.DeleteFunc(want, func(a *deputy.Application) bool { return len(a.Traits) == 0 })
		}
		for _, field := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"name", "identifier", "created_at"}), 0, 3, rapid.ID).Draw(t, "sort") {
			q.Sort = append(q.Sort, deputy.Sort{Field: field, Descending: rapid.Bool().Draw(t, "descending")})
		}
		slices.SortStableFunc(want, byModel(q.Sort))
		pagesMakeUp(t, w, q, want)
	})
}

// byModel compares as a query's sort says.
func byModel(sorts []deputy.Sort) func(a, b *deputy.Application) int {
	return func(a, b *deputy.Application) int {
		descending := true
		for _, s := range sorts {
			descending = s.Descending
			c := 0
			switch s.Field {
			case "name":
				c = cmp.Compare(a.Name, b.Name)
			case "identifier":
				c = cmp.Compare(a.Identifier, b.Identifier)
			case "created_at":
				c = a.CreatedAt.Compare(b.CreatedAt)
			}
			if s.Descending {
				c = -c
			}
			if c != 0 {
				return c
			}
		}
		if descending {
			return cmp.Compare(b.ID, a.ID)
		}
		return cmp.Compare(a.ID, b.ID)
	}
}

// pagesMakeUp walks a list forward and back.
func pagesMakeUp(t *rapid.T, w *world, q deputy.Query, want []*deputy.Application) {
	ids := func(items []*deputy.Application) (out []deputy.ApplicationID) {
		for _, a := range items {
			out = append(out, a.ID)
		}
		return out
	}
	check := func(q deputy.Query, from, to int) *deputy.Page[deputy.Application] {
		p, err := w.Applications().List(w.ctx, w.in, q)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(ids(p.Items), ids(want[from:to])) {
			t.Fatalf("%+v: got %v, want %v", q, ids(p.Items), ids(want[from:to]))
		}
		if p.HasPrevious != (from > 0) || p.HasNext != (to < len(want)) {
			t.Fatalf("%+v: items %d to %d of %d: previous %v, next %v", q, from, to, len(want), p.HasPrevious, p.HasNext)
		}
		if len(p.First) > 255 || len(p.Last) > 255 || (p.First == "") != (from == to) {
			t.Fatalf("cursors %q, %q", p.First, p.Last)
		}
		if q.Count != (p.Total != nil) || q.Count && *p.Total != len(want) {
			t.Fatalf("total %v, want %d", p.Total, len(want))
		}
		return p
	}
	n := len(want)
	var p *deputy.Page[deputy.Application]
	for from := 0; from == 0 || from < n; from += q.Limit {
		p = check(q, from, min(n, from+q.Limit))
		q.After = p.Last
	}
	if n == 0 {
		return
	}
	check(q, n, n) // after the last
	q.After, q.Before = "", p.First
	for to := (n - 1) / q.Limit * q.Limit; to > 0; to -= q.Limit {
		p = check(q, max(0, to-q.Limit), to)
		q.Before = p.First
	}
	check(q, 0, 0)
}

func cursorsOutlive(w *world) {
	var all []*deputy.Application
	for i := range 6 {
		a := w.application(fmt.Sprint("app-", i))
		all = append(all, a)
		w.insert(func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, a) })
	}
	for _, sort := range [][]deputy.Sort{nil, {{Field: "identifier", Descending: true}}} {
		p := sure(w.Applications().List(w.ctx, w.in, deputy.Query{Limit: 2, Sort: sort}))
		last := all[len(all)-2]
		w.must(w.write(func(t deputy.Tx) error { return t.Applications().Delete(w.ctx, w.in, deputy.ID(last.ID)) }))
		all = slices.Delete(all, len(all)-2, len(all)-1)
		next := sure(w.Applications().List(w.ctx, w.in, deputy.Query{Limit: 2, Sort: sort, After: p.Last}))
		w.same(all[len(all)-2].ID, next.Items[0].ID)
		if !next.HasPrevious {
			w.Error("the first item is still before the page")
		}
		back := sure(w.Applications().List(w.ctx, w.in, deputy.Query{Limit: 2, Sort: sort, Before: p.Last}))
		w.same(all[len(all)-1].ID, back.Items[0].ID)
	}
}

func foreignCursors(w *world) {
	for i := range 3 {
		w.insert(func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, w.application(fmt.Sprint("app", i))) })
	}
	filter := []deputy.Filter{{Fields: []string{"name"}, Op: deputy.Contains, Values: []string{"app"}}}
	p := sure(w.Applications().List(w.ctx, w.in, deputy.Query{Limit: 1, Where: filter}))
	for name, q := range map[string]deputy.Query{
		"no filter":    {After: p.Last},
		"other filter": {After: p.Last, Where: []deputy.Filter{{Fields: []string{"name"}, Op: deputy.Contains, Values: []string{"ap"}}}},
		"other sort":   {After: p.Last, Where: filter, Sort: []deputy.Sort{{Field: "created_at"}}},
		"cut":          {After: p.Last[:len(p.Last)-1], Where: filter},
		"longer":       {After: p.Last + "AA", Where: filter},
		"junk":         {After: "x", Where: filter},
		"very long":    {After: strings.Repeat("x", 300), Where: filter},
	} {
		if _, err := w.Applications().List(w.ctx, w.in, q); deputy.KindOf(err) != deputy.Invalid {
			w.Errorf("%s: %v", name, err)
		} else {
			w.blames(err, deputy.Invalid, "after")
		}
		q.Before, q.After = q.After, ""
		_, err := w.Applications().List(w.ctx, w.in, q)
		w.blames(err, deputy.Invalid, "before")
	}
	_, err := w.Providers().List(w.ctx, w.in, deputy.Query{After: sure(w.Applications().List(w.ctx, w.in, deputy.Query{})).Last})
	w.blames(err, deputy.Invalid, "after")
	_, err = w.Applications().List(w.ctx, deputy.Scope{Zone: "other"}, deputy.Query{After: p.Last, Where: filter})
	w.blames(err, deputy.Invalid, "after")
	_, err = w.Applications().List(w.ctx, w.in, deputy.Query{After: p.Last, Before: p.Last, Where: filter})
	w.blames(err, deputy.Invalid, "before")
}

func limits(w *world) {
	for i := range 103 {
		w.insert(func(t deputy.Tx) error { return t.Providers().Insert(w.ctx, w.provider(fmt.Sprint(i))) })
	}
	for limit, want := range map[int]int{0: 100, 1: 1, 100: 100} {
		if p := sure(w.Providers().List(w.ctx, w.in, deputy.Query{Limit: limit})); len(p.Items) != want {
			w.Errorf("limit %d gives %d", limit, len(p.Items))
		}
	}
	for _, limit := range []int{-1, 101} {
		_, err := w.Providers().List(w.ctx, w.in, deputy.Query{Limit: limit})
		w.blames(err, deputy.Invalid, "limit")
	}
	if p := sure(w.Providers().List(w.ctx, w.in, deputy.Query{All: true, Limit: 1})); len(p.Items) != 103 || p.HasNext {
		w.Errorf("all gives %d", len(p.Items))
	}
}

func filters(w *world) {
	first, second := w.application("first"), w.application("second")
	first.Traits, second.Traits = []string{"gateway"}, []string{"mcp-provider", "gateway"}
	r := w.resource("https://api.example.com")
	r.Prefix, r.ApplicationID = true, &first.ID
	bare := w.resource("https://api.example.com/v1")
	provider := w.provider("issuer")
	policy := w.policy("Policy")
	policy.Description = ref("Über alles")
	w.insert(
		func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, first) },
		func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, second) },
		func(t deputy.Tx) error { return t.Resources().Insert(w.ctx, r) },
		func(t deputy.Tx) error { return t.Resources().Insert(w.ctx, bare) },
		func(t deputy.Tx) error { return t.Providers().Insert(w.ctx, provider) },
		func(t deputy.Tx) error { return t.Policies().Insert(w.ctx, policy) },
		func(t deputy.Tx) error { return t.Dependencies().Insert(w.ctx, w.edge(first, r)) },
		func(t deputy.Tx) error { return t.Dependencies().Insert(w.ctx, w.edge(first, bare, r.ID)) },
	)
	f := func(op deputy.FilterOp, field string, values ...string) deputy.Filter {
		return deputy.Filter{Fields: strings.Split(field, " "), Op: op, Values: values}
	}
	for i, c := range []struct {
		where []deputy.Filter
		want  int
	}{
		{[]deputy.Filter{f(deputy.Equals, "slug", first.Slug)}, 1},
		{[]deputy.Filter{f(deputy.Equals, "id", string(first.ID), string(second.ID), "none")}, 2},
		{[]deputy.Filter{f(deputy.Equals, "id")}, 0},
		{[]deputy.Filter{f(deputy.Equals, "identifier", "FIRST")}, 0},
		{[]deputy.Filter{f(deputy.Has, "traits", "gateway", "mcp-provider")}, 2},
		{[]deputy.Filter{f(deputy.Has, "traits", "gateway"), f(deputy.Has, "traits", "mcp-provider")}, 1},
		{[]deputy.Filter{f(deputy.Has, "traits", "gate")}, 0},
		{[]deputy.Filter{f(deputy.Contains, "name identifier", "FIR", "none")}, 1},
		{[]deputy.Filter{f(deputy.Equals, "owner_type", "customer"), f(deputy.Equals, "slug", second.Slug)}, 1},
		{[]deputy.Filter{f(deputy.IsNull, "description")}, 2},
	} {
		if got := sure(w.Applications().List(w.ctx, w.in, deputy.Query{Where: c.where, Count: true})); len(got.Items) != c.want || *got.Total != c.want {
			w.Errorf("application filter %d: %d, want %d", i, len(got.Items), c.want)
		}
	}
	for filter, want := range map[string]int{"prefix true": 1, "prefix false": 1, "prefix maybe": 0, "application_id " + string(first.ID): 1, "identifier https://api.example.com": 1} {
		field, v, _ := strings.Cut(filter, " ")
		if got := sure(w.Resources().List(w.ctx, w.in, deputy.Query{Where: []deputy.Filter{f(deputy.Equals, field, v)}})); len(got.Items) != want {
			w.Errorf("%s: %d resources, want %d", filter, len(got.Items), want)
		}
	}
	if got := sure(w.Policies().List(w.ctx, w.in, deputy.Query{Where: []deputy.Filter{
		f(deputy.IsNull, "archived_at"), f(deputy.Contains, "name description", "ÜBER"),
	}})); len(got.Items) != 1 {
		w.Errorf("%d policies", len(got.Items))
	}
	if got := sure(w.Providers().List(w.ctx, w.in, deputy.Query{Where: []deputy.Filter{f(deputy.Equals, "type", "external")}})); len(got.Items) != 1 {
		w.Errorf("%d providers", len(got.Items))
	}
	// An edge without a condition counts whatever is being accessed.
	for accessing, want := range map[string]int{string(r.ID): 2, "other": 1} {
		if got := sure(w.Dependencies().List(w.ctx, w.below(deputy.ID(first.ID)), deputy.Query{Where: []deputy.Filter{f(deputy.Has, "when_accessing", accessing)}})); len(got.Items) != want {
			w.Errorf("accessing %s: %d edges, want %d", accessing, len(got.Items), want)
		}
	}
}

func statusOrder(w *world) {
	var sets []*deputy.PolicySet
	for i := range 4 {
		s := w.policySet(fmt.Sprint(i))
		v := w.setVersion(s)
		sets = append(sets, s)
		w.insert(
			func(t deputy.Tx) error { return t.PolicySets().Insert(w.ctx, s) },
			func(t deputy.Tx) error { return t.PolicySetVersions().Insert(w.ctx, v) },
		)
		if i == 1 {
			w.insert(func(t deputy.Tx) error { _, err := t.Activate(w.ctx, w.zone.ID, s.ID, v.ID); return err })
		}
	}
	q := deputy.Query{Limit: 1, Sort: []deputy.Sort{{Field: "status", Descending: true}, {Field: "created_at", Descending: true}}}
	for _, want := range []int{1, 3, 2, 0} {
		p := sure(w.PolicySets().List(w.ctx, w.in, q))
		w.same(sets[want].Name, p.Items[0].Name)
		q.After = p.Last
	}
	for value, want := range map[string]int{"true": 1, "false": 3} {
		if p := sure(w.PolicySets().List(w.ctx, w.in, deputy.Query{Where: []deputy.Filter{{Fields: []string{"active"}, Values: []string{value}}}})); len(p.Items) != want {
			w.Errorf("%d sets are active=%s", len(p.Items), value)
		}
	}
}

func edgeOrder(w *world) {
	a := w.application("app")
	x, y := w.resource("x"), w.resource("y")
	w.insert(
		func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, a) },
		func(t deputy.Tx) error { return t.Dependencies().Insert(w.ctx, w.edge(a, y)) },
		func(t deputy.Tx) error { return t.Dependencies().Insert(w.ctx, w.edge(a, x)) },
	)
	in := w.below(deputy.ID(a.ID))
	p := sure(w.Dependencies().List(w.ctx, in, deputy.Query{Limit: 1}))
	w.same(x.ID, p.Items[0].ResourceID)
	p = sure(w.Dependencies().List(w.ctx, in, deputy.Query{Limit: 1, After: p.Last}))
	w.same(y.ID, p.Items[0].ResourceID)
	p = sure(w.Dependencies().List(w.ctx, in, deputy.Query{Limit: 1, Sort: []deputy.Sort{{Field: "created_at"}}}))
	w.same(y.ID, p.Items[0].ResourceID)
}

func owners(w *world) {
	z := w.newZone("Second")
	w.insert(func(t deputy.Tx) error { return t.Zones().Insert(w.ctx, z) })
	p := sure(w.Zones().List(w.ctx, w.owned(), deputy.Query{Limit: 1}))
	w.same(z.ID, p.Items[0].ID)
	p = sure(w.Zones().List(w.ctx, w.owned(), deputy.Query{Limit: 1, After: p.Last}))
	w.same(w.zone.ID, p.Items[0].ID)
	if p := sure(w.Organizations().List(w.ctx, deputy.Scope{}, deputy.Query{})); len(p.Items) != 1 {
		w.Errorf("%d organizations", len(p.Items))
	}
	o := sure(w.Organizations().Find(w.ctx, deputy.Scope{}, "label", w.org.Label))
	w.same(w.org, o)
	found := sure(w.Zones().Find(w.ctx, w.owned(), "slug", z.Slug))
	w.same(z.ID, found.ID)
}

func unknownFields(w *world) {
	for _, q := range []deputy.Query{
		{Sort: []deputy.Sort{{Field: "secret"}}},
		{Where: []deputy.Filter{{Fields: []string{"1=1; --"}, Values: []string{"x"}}}},
		{Where: []deputy.Filter{{Fields: []string{"description"}, Op: deputy.Contains, Values: []string{"x"}}}},
	} {
		_, err := w.Applications().List(w.ctx, w.in, q)
		w.is(err, deputy.Invalid)
	}
	_, err := w.Applications().Find(w.ctx, w.in, "name", "x")
	if err == nil || deputy.KindOf(err) == deputy.NotFound {
		w.Errorf("finding by a field that is not unique: %v", err)
	}
}

func longKeys(w *world) {
	var all []*deputy.Application
	for i := range 9 {
		a := w.application(strings.Repeat("long/", 200) + fmt.Sprint(i))
		a.Name = strings.Repeat("n", 255)
		all = append(all, a)
		w.insert(func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, a) })
	}
	for _, sorts := range [][]deputy.Sort{{{Field: "name"}}, {{Field: "name", Descending: true}, {Field: "identifier"}}} {
		seen := map[deputy.ApplicationID]bool{}
		q := deputy.Query{Limit: 2, Sort: sorts}
		for more := true; more; {
			p := sure(w.Applications().List(w.ctx, w.in, q))
			for _, a := range p.Items {
				seen[a.ID] = true
			}
			if len(p.Last) > 255 {
				w.Errorf("a cursor of %d characters", len(p.Last))
			}
			q.After, more = p.Last, p.HasNext
		}
		if len(seen) != len(all) {
			w.Errorf("%v: %d of %d were listed", sorts, len(seen), len(all))
		}
	}
}
