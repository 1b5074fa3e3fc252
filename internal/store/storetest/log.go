package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"deputy/internal/deputy"

	"pgregory.net/rapid"
)

var log = map[string]func(*world){
	"a record reads back":                        records,
	"pages of any log make up the log":           logPaging,
	"an event is found at once":                  foundAtOnce,
	"events are found before and after indexing": requests,
	"a clock that goes back loses nothing":       clockGoesBack,
	"a cursor is of one log only":                foreignLogCursors,
	"sequence numbers have no gap":               sequence,
	"decisions are read in order":                decisions,
}

func records(w *world) {
	e := w.event()
	e.UserKey, e.IP, e.UserAgent = "key", "192.0.2.1", "agent"
	e.Actor = deputy.Actor{Type: "user", ID: "u", Identifier: "canary@example.com"}
	w.must(w.Write(w.ctx, e, nil))
	r := sure(w.Event(w.ctx, w.org.ID, w.zone.ID, e.ID))
	if r.ID != e.ID || r.OrganizationID != w.org.ID || r.ZoneID != w.zone.ID || r.RequestID != e.RequestID || r.Seq != 3 {
		w.Errorf("%+v", r)
	}
	if r.Leaf != deputy.LeafHash(r.Bytes) || bytes.Contains(r.Bytes, []byte("canary")) {
		w.Errorf("bytes %s", r.Bytes)
	}
	got := sure(r.Event(w.ctx, reversal{}))
	e.UserKey = ""
	e.Time = e.Time.Truncate(time.Millisecond) // as it is shown
	w.same(e, got)
	_, err := w.Event(w.ctx, w.org.ID, "another zone", e.ID)
	w.is(err, deputy.NotFound)
	_, err = w.Event(w.ctx, "another organization", "", e.ID)
	w.is(err, deputy.NotFound)
	for _, id := range []deputy.EventID{"odd", fresh[deputy.EventID](w), deputy.EventID(deputy.MinID(w.clock.Now().Add(-1e15)))} {
		_, err = w.Event(w.ctx, w.org.ID, "", id)
		w.is(err, deputy.NotFound)
	}
}

// fill writes n events in groups of many writers, of two zones and a few
// requests, and returns them in the order of the log.
func (w *world) fill(n int) []*deputy.Record {
	other := deputy.ZoneID(w.newID())
	var wait sync.WaitGroup
	events := make(chan *deputy.Event, n)
	for i := range n {
		e := w.event()
		e.RequestID = fmt.Sprint("request-", i%17)
		e.Type, e.Outcome = fmt.Sprint("things:do", i%2), []deputy.Outcome{deputy.Success, deputy.Failure}[i%6/5]
		e.SessionID, e.UserID = deputy.SessionID(fmt.Sprint("s", i%23)), deputy.UserID(fmt.Sprint("u", i%7))
		e.Resource = &deputy.EventResource{ID: deputy.ResourceID(fmt.Sprint("r", i%5)), Identifier: "r"}
		if i%9 == 0 {
			e.Actor = deputy.Actor{Type: "application", ID: "a", IdentityChain: []deputy.Actor{{Type: "application", ID: "b"}, {Type: "user", ID: "u1"}}}
			e.Target = &deputy.Target{Type: []string{"session", "user", "resource", "application", "zone"}[i%5], ID: "target"}
		}
		if i%3 == 0 {
			e.Evaluation = evaluation(i)
			e.Policy = &deputy.EventPolicy{SetID: "set", SetVersionID: deputy.ID(fmt.Sprint("v", i%2)), Version: i % 2}
		}
		switch i % 5 {
		case 0:
			e.ZoneID = other
		case 1:
			e.ZoneID = ""
		}
		events <- e
	}
	close(events)
	for range 8 {
		wait.Go(func() {
			for e := range events {
				if err := w.Write(w.ctx, e, nil); err != nil {
					w.Error(err)
				}
			}
		})
	}
	wait.Wait()
	return w.all()
}

// evaluation returns one of several decisions: allowed or not, enforced or not.
func evaluation(i int) *deputy.Evaluation {
	e := &deputy.Evaluation{Legs: []deputy.EvaluatedLeg{{Principal: deputy.EntityID{byte(i)}}}, Resource: deputy.EntityID{1}, Scopes: []string{`,"evaluation":`}}
	if i%4 == 0 {
		e.Refusal = "forbidden"
	}
	if i%5 == 0 {
		e.Shadow = &deputy.ShadowOf{Event: "e", Refusal: "forbidden", Diverged: i%2 == 0}
	}
	return e
}

// all reads the whole log of the organization.
func (w *world) all() (all []*deputy.Record) {
	q := deputy.EventQuery{Organization: w.org.ID, Ascending: true}
	for more := true; more; {
		p := sure(w.Events(w.ctx, q))
		all = append(all, p.Items...)
		q.After, more = p.Last, p.HasNext
	}
	return all
}

func named(t deputy.Term, values ...string) map[deputy.Term][]string {
	return map[deputy.Term][]string{t: values}
}

// isNamed reports whether an event has one of the values of each term.
func isNamed(want map[deputy.Term][]string, e *deputy.Event) bool {
	for term, values := range want {
		has := len(values) == 0
		e.Terms(func(t deputy.Term, value string) { has = has || t == term && slices.Contains(values, value) })
		if !has {
			return false
		}
	}
	return true
}

// logPaging compares random queries with a model that has the whole log in
// memory, before and after a part of it is indexed.
func logPaging(w *world) {
	all := w.fill(400)
	times, events, values := make([]time.Time, len(all)), make([]*deputy.Event, len(all)), map[deputy.Term][]string{}
	for i, r := range all {
		events[i] = sure(r.Event(w.ctx, reversal{}))
		times[i] = events[i].Time
		events[i].Terms(func(t deputy.Term, value string) { values[t] = append(values[t], value) })
	}
	rapid.Check(w.T, func(t *rapid.T) {
		q := deputy.EventQuery{Organization: w.org.ID, Limit: rapid.IntRange(1, 100).Draw(t, "limit"), Ascending: rapid.Bool().Draw(t, "ascending"), Count: rapid.Bool().Draw(t, "count")}
		if rapid.Bool().Draw(t, "zoned") {
			q.Zone = rapid.SampledFrom([]deputy.ZoneID{w.zone.ID, all[len(all)-3].ZoneID, "nowhere"}).Draw(t, "zone")
		}
		if rapid.Bool().Draw(t, "since") {
			q.Since = rapid.SampledFrom(times).Draw(t, "from").Add(time.Duration(rapid.IntRange(-1, 1).Draw(t, "µs")) * time.Microsecond)
		}
		if rapid.Bool().Draw(t, "until") {
			q.Until = rapid.SampledFrom(times).Draw(t, "to").Add(time.Duration(rapid.IntRange(-1, 1).Draw(t, "µs")) * time.Microsecond)
		}
		for _, term := range rapid.SliceOfNDistinct(rapid.SampledFrom(deputy.Terms), 0, 3, rapid.ID).Draw(t, "terms") {
			if q.Named == nil {
				q.Named = map[deputy.Term][]string{}
			}
			q.Named[term] = rapid.SliceOfN(rapid.SampledFrom(append([]string{"none"}, values[term]...)), 0, 2).Draw(t, "values")
		}
		for range rapid.IntRange(0, 3).Draw(t, "ids") {
			q.JTI = append(q.JTI, rapid.SampledFrom(all).Draw(t, "id").ID)
		}
		if rapid.Bool().Draw(t, "evaluated") {
			q.Evaluated = &deputy.EvaluationFilter{
				Allowed: drawFlag(t, "allowed"), Shadow: drawFlag(t, "shadow"), Diverged: drawFlag(t, "diverged"),
				SetVersions: rapid.SampledFrom([][]deputy.ID{nil, {"v0"}, {"v1", "v7"}, {"v7"}}).Draw(t, "versions"),
			}
		}
		var want []*deputy.Record
		for i, r := range all {
			if q.Evaluated != nil && !decided(q.Evaluated, events[i]) {
				continue
			}
			if (q.Zone == "" || r.ZoneID == q.Zone) && (q.Since.IsZero() || !times[i].Before(q.Since)) && (q.Until.IsZero() || times[i].Before(q.Until)) &&
				isNamed(q.Named, events[i]) && (len(q.JTI) == 0 || slices.Contains(q.JTI, r.ID)) {
				want = append(want, r)
			}
		}
		if !q.Ascending {
			slices.Reverse(want)
		}
		logPagesMakeUp(t, w, q, want)
	})
}

// drawFlag returns true, false or nil.
func drawFlag(t *rapid.T, name string) *bool {
	return rapid.SampledFrom([]*bool{nil, ref(true), ref(false)}).Draw(t, name)
}

// decided reports whether an event is a decision that the filter is about.
func decided(f *deputy.EvaluationFilter, e *deputy.Event) bool {
	return e.Evaluation != nil &&
		(f.Allowed == nil || *f.Allowed == (e.Evaluation.Refusal == "")) &&
		(f.Shadow == nil || *f.Shadow == (e.Evaluation.Shadow != nil)) &&
		(f.Diverged == nil || *f.Diverged == (e.Evaluation.Shadow != nil && e.Evaluation.Shadow.Diverged)) &&
		(len(f.SetVersions) == 0 || slices.Contains(f.SetVersions, e.Policy.SetVersionID))
}

func logPagesMakeUp(t *rapid.T, w *world, q deputy.EventQuery, want []*deputy.Record) {
	check := func(q deputy.EventQuery, from, to int) *deputy.Page[deputy.Record] {
		p, err := w.Events(w.ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(p.Items, want[from:to], func(a, b *deputy.Record) bool { return a.Seq == b.Seq && bytes.Equal(a.Bytes, b.Bytes) }) {
			t.Fatalf("%+v: items %d to %d of %d are not what was returned: %d items", q, from, to, len(want), len(p.Items))
		}
		if p.HasPrevious != (from > 0) || p.HasNext != (to < len(want)) {
			t.Fatalf("%+v: items %d to %d of %d: previous %v, next %v", q, from, to, len(want), p.HasPrevious, p.HasNext)
		}
		if q.Count != (p.Total != nil) || q.Count && *p.Total != len(want) {
			t.Fatalf("%+v: total %d, want %d", q, *p.Total, len(want))
		}
		return p
	}
	n := len(want)
	var p *deputy.Page[deputy.Record]
	for from := 0; from == 0 || from < n; from += q.Limit {
		p = check(q, from, min(n, from+q.Limit))
		q.After = p.Last
	}
	if n == 0 {
		return
	}
	q.After, q.Before = "", p.First
	for to := (n - 1) / q.Limit * q.Limit; to > 0; to -= q.Limit {
		p = check(q, max(0, to-q.Limit), to)
		q.Before = p.First
	}
}

func foundAtOnce(w *world) {
	var wait sync.WaitGroup
	for range 64 {
		e := w.event()
		wait.Go(func() {
			if err := w.Write(w.ctx, e, nil); err != nil {
				w.Error(err)
				return
			}
			for _, zone := range []deputy.ZoneID{"", e.ZoneID} {
				p, err := w.Events(w.ctx, deputy.EventQuery{Organization: w.org.ID, Zone: zone, JTI: []deputy.EventID{e.ID}})
				if err != nil || len(p.Items) != 1 || p.Items[0].ID != e.ID {
					w.Errorf("by id: %v, %v", p, err)
				}
				p, err = w.Events(w.ctx, deputy.EventQuery{Organization: w.org.ID, Zone: zone, Named: named(deputy.TermRequest, e.RequestID)})
				if err != nil || len(p.Items) != 1 || p.Items[0].ID != e.ID {
					w.Errorf("by request: %v, %v", p, err)
				}
			}
		})
	}
	wait.Wait()
}

func requests(w *world) {
	rare := w.event()
	rare.RequestID, rare.Type = "rare", "things:rare"
	rare.Actor = deputy.Actor{Type: "application", ID: "rare"}
	w.must(w.Write(w.ctx, rare, nil))
	findBy := func(term deputy.Term, id string, want int) {
		w.Helper()
		q := deputy.EventQuery{Organization: w.org.ID, Named: named(term, id), Limit: 7, Ascending: term == deputy.TermRequest, Count: true}
		var seqs []int64
		for more := true; more; {
			p := sure(w.Events(w.ctx, q))
			for _, r := range p.Items {
				seqs = append(seqs, r.Seq)
				if r.RequestID != id {
					w.Errorf("event of request %q", r.RequestID)
				}
			}
			if *p.Total != want {
				w.Errorf("%d events of %s in total, want %d", *p.Total, id, want)
			}
			q.After, more = p.Last, p.HasNext
		}
		if !q.Ascending {
			slices.Reverse(seqs)
		}
		if len(seqs) != want || !slices.IsSorted(seqs) {
			w.Errorf("%d events of %s, want %d", len(seqs), id, want)
		}
	}
	find := func(id string, want int) {
		w.Helper()
		findBy(deputy.TermRequest, id, want)
		findBy(deputy.TermApplication, id, want) // in the other direction
	}
	// More than a run at a time, so that some is indexed and some is not; eight
	// runs, so that they are merged. A node knows what it appended itself; what
	// others did it reads.
	here, other := w.Store, w.node()
	written := 0
	write := func(n int, by ...Store) {
		events := make(chan *deputy.Event, n)
		for i := range n {
			e := w.event()
			e.RequestID = fmt.Sprint("r", (written+i)%1000)
			e.Actor = deputy.Actor{Type: "application", ID: e.RequestID}
			events <- e
		}
		close(events)
		written += n
		var wait sync.WaitGroup
		for i := range 64 {
			node := by[i%len(by)]
			wait.Go(func() {
				for e := range events {
					if err := node.Write(w.ctx, e, nil); err != nil {
						w.Error(err)
					}
				}
			})
		}
		wait.Wait()
	}
	write(1000, here)
	if more := sure(w.IndexEvents(w.ctx, 1)); more {
		w.Error("a short log needs no index")
	}
	find("r7", 1)
	for round := 1; round <= 9; round++ {
		by, indexers := []Store{here}, []Store{here}
		if round%3 == 1 {
			by = []Store{here, other}
		}
		switch round {
		case 1, 5: // at once, the first time and later
			indexers = []Store{here, other}
		case 4, 8:
			indexers = []Store{other}
		}
		write(4000, by...)
		find("r7", 4*round+1)
		var wait sync.WaitGroup
		for _, indexer := range indexers {
			wait.Go(func() {
				for more, err := indexer.IndexEvents(w.ctx, 4096); more || err != nil; more, err = indexer.IndexEvents(w.ctx, 4096) {
					if err != nil {
						w.Error(err)
						return
					}
				}
			})
		}
		wait.Wait()
		find("r7", 4*round+1)
	}
	find("rare", 1)
	find("none", 0)
	// What is rare and what is frequent, together and alone.
	both := map[deputy.Term][]string{deputy.TermType: {"things:rare"}, deputy.TermApplication: {"rare", "r7"}, deputy.TermOutcome: {string(deputy.Success)}}
	if p := sure(w.Events(w.ctx, deputy.EventQuery{Organization: w.org.ID, Named: both, Count: true})); len(p.Items) != 1 || *p.Total != 1 {
		w.Errorf("%d events with all three", len(p.Items))
	}
	for _, ascending := range []bool{true, false} {
		q := deputy.EventQuery{Organization: w.org.ID, Named: named(deputy.TermType, w.event().Type), Ascending: ascending, Limit: 50, Count: true}
		p := sure(w.Events(w.ctx, q))
		if len(p.Items) != 50 || *p.Total < written {
			w.Errorf("%d, %d events of the type of most", len(p.Items), *p.Total)
		}
	}
	p := sure(w.Events(w.ctx, deputy.EventQuery{Organization: w.org.ID, Zone: w.zone.ID, Named: named(deputy.TermRequest, "r1", "rare"), Limit: 100}))
	if len(p.Items) != 38 {
		w.Errorf("%d events of two requests", len(p.Items))
	}
}

func clockGoesBack(w *world) {
	var events []*deputy.Event
	for _, by := range []time.Duration{0, -time.Hour, 2 * time.Hour, -30 * time.Minute, 0} {
		w.clock.advance(by)
		for range 3 {
			e := w.event()
			e.Time = e.Time.Add(-by) // its own time and id disagree, too
			events = append(events, e)
			w.must(w.Write(w.ctx, e, nil))
		}
	}
	for i, e := range events {
		if !w.logged(e) {
			w.Errorf("event %d is not found", i)
		}
		p := sure(w.Events(w.ctx, deputy.EventQuery{Organization: w.org.ID, Since: e.Time.Truncate(time.Millisecond), Until: e.Time.Add(time.Millisecond), Count: true}))
		if !slices.ContainsFunc(p.Items, func(r *deputy.Record) bool { return r.ID == e.ID }) || *p.Total != len(p.Items) {
			w.Errorf("event %d is not found by its time: %d, %d", i, len(p.Items), *p.Total)
		}
	}
}

func foreignLogCursors(w *world) {
	w.fill(20)
	q := deputy.EventQuery{Organization: w.org.ID, Zone: w.zone.ID, Limit: 2}
	cursor := sure(w.Events(w.ctx, q)).Last
	for name, change := range map[string]func(*deputy.EventQuery){
		"zone":         func(q *deputy.EventQuery) { q.Zone = "" },
		"organization": func(q *deputy.EventQuery) { q.Organization = "other" },
		"order":        func(q *deputy.EventQuery) { q.Ascending = true },
		"since":        func(q *deputy.EventQuery) { q.Since = w.clock.Now().Add(-time.Hour) },
		"until":        func(q *deputy.EventQuery) { q.Until = w.clock.Now() },
		"type":         func(q *deputy.EventQuery) { q.Named = named(deputy.TermType, "r") },
		"request":      func(q *deputy.EventQuery) { q.Named = named(deputy.TermRequest, "r") },
		"jti":          func(q *deputy.EventQuery) { q.JTI = []deputy.EventID{"r"} },
	} {
		other := q
		change(&other)
		other.After = cursor
		_, err := w.Events(w.ctx, other)
		if !errors.Is(err, deputy.Invalid) {
			w.Errorf("%s: %v", name, err)
		}
	}
	list := sure(w.Zones().List(w.ctx, w.owned(), deputy.Query{})).Last
	for parameter, q := range map[string]deputy.EventQuery{"after": {After: list}, "before": {Before: "junk"}, "limit": {Limit: 101}} {
		q.Organization = w.org.ID
		_, err := w.Events(w.ctx, q)
		w.blames(err, deputy.Invalid, parameter)
	}
}

func sequence(w *world) {
	other := w.organization("Other")
	w.insert(func(t deputy.Tx) error { return t.Organizations().Insert(w.ctx, other) })
	var wait sync.WaitGroup
	for i := range 64 {
		e := w.event()
		if i%2 == 0 {
			e.OrganizationID, e.ZoneID = other.ID, ""
		}
		wait.Go(func() {
			if err := w.Write(w.ctx, e, nil); err != nil {
				w.Error(err)
			}
		})
	}
	wait.Wait()
	for i, r := range w.all() {
		if r.Seq != int64(i+1) {
			w.Fatalf("event %d has number %d", i, r.Seq)
		}
	}
	p := sure(w.Events(w.ctx, deputy.EventQuery{Organization: other.ID, Count: true}))
	if *p.Total != 32 || p.Items[0].Seq != 32 {
		w.Errorf("the other organization has %d events", *p.Total)
	}
}

// decisions reads what policy decided, and that alone, in steps of any size.
func decisions(w *world) {
	all := w.fill(300)
	var want []*deputy.Record
	for _, r := range all {
		if e := sure(r.Event(w.ctx, reversal{})); r.ZoneID == w.zone.ID && e.Evaluation != nil && e.Evaluation.Shadow == nil {
			want = append(want, r)
		}
	}
	slices.Reverse(want)
	for _, limit := range []int{1, 7, 1000} {
		q := deputy.EvaluationQuery{Organization: w.org.ID, Zone: w.zone.ID, Limit: limit}
		var got []deputy.StoredEvaluation
		for {
			some := sure(w.Evaluations(w.ctx, q))
			if len(some) == 0 {
				break
			}
			got = append(got, some...)
			q.Before = some[len(some)-1].Seq
		}
		if !slices.EqualFunc(want, got, func(r *deputy.Record, e deputy.StoredEvaluation) bool {
			return r.ID == e.ID && r.Seq == e.Seq && bytes.Equal(deputy.EvaluationBytes(r.Bytes), e.Bytes)
		}) {
			w.Errorf("%d decisions in steps of %d, want %d", len(got), limit, len(want))
		}
	}
	since := sure(want[40].Event(w.ctx, reversal{})).Time
	until := sure(want[10].Event(w.ctx, reversal{})).Time
	some := sure(w.Evaluations(w.ctx, deputy.EvaluationQuery{Organization: w.org.ID, Zone: w.zone.ID, Limit: 1000, Since: since, Until: until}))
	for _, e := range some {
		if at := sure(sure(w.Event(w.ctx, w.org.ID, "", e.ID)).Event(w.ctx, reversal{})).Time; at.Before(since) || !at.Before(until) {
			w.Errorf("a decision of %s, not from %s to %s", at, since, until)
		}
	}
	hidden := sure(w.Events(w.ctx, deputy.EventQuery{Organization: w.org.ID, Zone: w.zone.ID, Horizon: until, Evaluated: &deputy.EvaluationFilter{Shadow: ref(false)}}))
	for _, r := range hidden.Items {
		if at := sure(r.Event(w.ctx, reversal{})).Time; at.Before(until) {
			w.Errorf("a decision of %s, beyond the horizon %s", at, until)
		}
	}
	if len(hidden.Items) == 0 || len(some) == 0 || len(sure(w.Evaluations(w.ctx, deputy.EvaluationQuery{Organization: w.org.ID, Zone: "nowhere", Limit: 9}))) != 0 {
		w.Error("decisions of a time, or of another zone")
	}
	paused(w, len(want))
}

// paused reads a list whose filter leaves few: pages that have looked at enough
// say where to go on, in either order.
func paused(w *world, want int) {
	w.Store.(interface{ LookAt(int) }).LookAt(10)
	q := deputy.EventQuery{Organization: w.org.ID, Zone: w.zone.ID, Limit: 5, Evaluated: &deputy.EvaluationFilter{Shadow: ref(false)}}
	found, pages := 0, 0
	for more := true; more; pages++ {
		p := sure(w.Events(w.ctx, q))
		found += len(p.Items)
		q.After, more = p.Last, p.HasNext
	}
	if found != want || pages <= want/5 {
		w.Errorf("%d of %d decisions on %d pages", found, want, pages)
	}
	q.After, q.Ascending, found = "", true, 0
	for more := true; more; {
		p := sure(w.Events(w.ctx, q))
		found += len(p.Items)
		q.After, more = p.Last, p.HasNext
	}
	if found != want {
		w.Errorf("%d of %d decisions from the other end", found, want)
	}
}
