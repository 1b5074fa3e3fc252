package storetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"deputy/internal/deputy"
)

var background = map[string]func(*world){
	"a task is claimed by one":      exclusive,
	"a lost lease finishes nothing": lostLease,
	"facts about the database":      facts,
	"a sink is served by one":       sinks,
	"entities go once unused":       entities,
}

func (w *world) enqueue(kind string, at time.Time) deputy.Task {
	t := deputy.Task{ID: w.newID(), Kind: kind, ZoneID: w.zone.ID, Data: []byte(`{"n":1}`), RunAt: at}
	w.insert(func(tx deputy.Tx) error { return tx.Enqueue(w.ctx, t) })
	return t
}

func exclusive(w *world) {
	now := w.clock.Now()
	for range 40 {
		w.enqueue("work", now)
	}
	w.enqueue("other", now)
	w.enqueue("work", now.Add(time.Hour))
	var mu sync.Mutex
	var wait sync.WaitGroup
	claims := map[deputy.ID]int{}
	nodes := []Store{w.Store, w.node()}
	for i := range 8 {
		wait.Go(func() {
			for {
				tasks, err := nodes[i%2].ClaimTasks(w.ctx, []string{"work", "none"}, 3, time.Minute)
				if err != nil {
					w.Error(err)
				}
				if len(tasks) == 0 {
					return
				}
				if len(tasks) > 3 {
					w.Errorf("claimed %d tasks at once", len(tasks))
				}
				for _, t := range tasks {
					if t.Attempt != 1 || t.Kind != "work" || string(t.Data) != `{"n":1}` {
						w.Errorf("claimed %+v", t)
					}
					mu.Lock()
					claims[t.ID]++
					mu.Unlock()
					if err := nodes[i%2].FinishTask(w.ctx, t, time.Time{}); err != nil {
						w.Error(err)
					}
				}
			}
		})
	}
	wait.Wait()
	for id, n := range claims {
		if n != 1 {
			w.Errorf("task %s was claimed %d times", id, n)
		}
	}
	if len(claims) != 40 {
		w.Errorf("%d tasks were claimed", len(claims))
	}
	w.clock.advance(2 * time.Hour)
	if left := sure(w.ClaimTasks(w.ctx, []string{"work"}, 10, time.Minute)); len(left) != 1 {
		w.Errorf("an hour later %d are due", len(left))
	}
	if none := sure(w.ClaimTasks(w.ctx, nil, 10, time.Minute)); len(none) != 0 {
		w.Error("tasks of no kind")
	}
}

func sinks(w *world) {
	const where = "folder:1"
	other := w.node()
	first := sure(w.LeaseSink(w.ctx, where, time.Minute))
	if first == 0 {
		w.Fatal("nobody has the lease, and yet it is not given")
	}
	if fence := sure(other.LeaseSink(w.ctx, where, time.Minute)); fence != 0 {
		w.Error("two have the lease")
	}
	if fence := sure(other.LeaseSink(w.ctx, "folder:2", time.Minute)); fence == 0 {
		w.Error("the lease of one sink is that of another")
	}
	heads := sure(w.SinkHeads(w.ctx, where, 10))
	if len(heads) == 0 || heads[0].Delivered != 0 || heads[0].Last == 0 || heads[0].Since.IsZero() {
		w.Fatalf("what there is to deliver: %+v", heads)
	}
	h := heads[0]
	events, since, err := w.SinkLag(w.ctx, where)
	w.must(err)
	if events < h.Last || since.After(h.Since) {
		w.Errorf("a lag of %d events since %v", events, since)
	}
	w.must(w.AdvanceSink(w.ctx, where, first, time.Minute, h.Organization, h.Last-1))
	w.must(w.AdvanceSink(w.ctx, where, first, time.Minute, h.Organization, 1)) // never back
	for _, now := range sure(w.SinkHeads(w.ctx, where, 10)) {
		if now.Organization == h.Organization && (now.Delivered != h.Last-1 || now.Last != h.Last) {
			w.Errorf("after a delivery up to %d: %+v", h.Last-1, now)
		}
	}
	w.must(w.AdvanceSink(w.ctx, where, first, time.Minute, h.Organization, h.Last))
	for _, now := range sure(w.SinkHeads(w.ctx, where, 10)) {
		if now.Organization == h.Organization {
			w.Errorf("everything was delivered, and yet %+v", now)
		}
	}
	w.clock.advance(2 * time.Minute)
	second := sure(other.LeaseSink(w.ctx, where, time.Minute))
	if second == 0 || second == first {
		w.Errorf("the lease that ran out: fence %d after %d", second, first)
	}
	w.is(w.AdvanceSink(w.ctx, where, first, time.Minute, h.Organization, h.Last+5), deputy.Stale)
	w.must(w.ReleaseSink(w.ctx, where, first)) // changes nothing
	if fence := sure(w.LeaseSink(w.ctx, where, time.Minute)); fence != 0 {
		w.Error("who lost the lease gave it away")
	}
	w.must(other.ReleaseSink(w.ctx, where, second))
	if fence := sure(w.LeaseSink(w.ctx, where, time.Minute)); fence == 0 {
		w.Error("a lease that was given back is not free")
	}
}

func lostLease(w *world) {
	w.enqueue("work", w.clock.Now())
	claim := func() deputy.Task {
		w.Helper()
		tasks := sure(w.ClaimTasks(w.ctx, []string{"work"}, 10, time.Minute))
		if len(tasks) != 1 {
			w.Fatalf("%d tasks", len(tasks))
		}
		return tasks[0]
	}
	first := claim()
	w.clock.advance(2 * time.Minute)
	second := claim()
	if second.ID != first.ID || second.Attempt != 2 {
		w.Errorf("claimed again: %+v", second)
	}
	w.is(w.FinishTask(w.ctx, first, time.Time{}), deputy.Stale)
	w.must(w.FinishTask(w.ctx, second, w.clock.Now().Add(time.Minute)))
	w.is(w.FinishTask(w.ctx, second, time.Time{}), deputy.Stale)
	if early := sure(w.ClaimTasks(w.ctx, []string{"work"}, 10, time.Minute)); len(early) != 0 {
		w.Error("claimed before it is due")
	}
	w.clock.advance(time.Minute)
	third := claim()
	w.must(w.FinishTask(w.ctx, third, time.Time{}))
	w.clock.advance(time.Hour)
	if gone := sure(w.ClaimTasks(w.ctx, []string{"work"}, 10, time.Minute)); len(gone) != 0 {
		w.Error("a finished task came back")
	}
	no := errors.New("no")
	if err := w.write(func(t deputy.Tx) error {
		w.must(t.Enqueue(w.ctx, deputy.Task{ID: w.newID(), Kind: "work", RunAt: w.clock.Now()}))
		return no
	}); !errors.Is(err, no) {
		w.Error(err)
	}
	if none := sure(w.ClaimTasks(w.ctx, []string{"work"}, 10, time.Minute)); len(none) != 0 {
		w.Error("the task of a failed write")
	}
}

func facts(w *world) {
	_, err := w.Meta(w.ctx, "root")
	w.is(err, deputy.NotFound)
	nodes := []Store{w.Store, w.node()}
	known := make([]string, 16)
	var wait sync.WaitGroup
	for i := range known {
		wait.Go(func() {
			var err error
			if known[i], err = nodes[i%2].Remember(w.ctx, "root", fmt.Sprint(i)); err != nil {
				w.Error(err)
			}
		})
	}
	wait.Wait()
	for _, k := range known {
		if k != known[0] || k != sure(w.Meta(w.ctx, "root")) {
			w.Errorf("known: %v", known)
		}
	}
}

func entities(w *world) {
	other := w.newZone("Other")
	w.must(w.Write(w.ctx, w.event(), func(t deputy.Tx) error { return t.Zones().Insert(w.ctx, other) }))
	keep := func(zone deputy.ZoneID, all ...deputy.PolicyEntity) {
		w.must(w.write(func(t deputy.Tx) error {
			for _, e := range all {
				t.KeepEntity(zone, e)
				t.KeepEntity(zone, e)
			}
			return nil
		}))
	}
	have := func(zone deputy.ZoneID, ids ...deputy.EntityID) map[deputy.EntityID]deputy.PolicyEntity {
		found := map[deputy.EntityID]deputy.PolicyEntity{}
		for _, e := range sure(w.PolicyEntities(w.ctx, zone, ids)) {
			found[e.ID] = e
		}
		return found
	}
	var ids []deputy.EntityID
	var many []deputy.PolicyEntity
	for n := range 1200 { // more than one statement names
		e := deputy.PolicyEntity{ID: deputy.NewEntityID(), Sealed: n%2 == 0, Data: []byte(fmt.Sprint(n))}
		ids, many = append(ids, e.ID), append(many, e)
	}
	keep(w.zone.ID, many...)
	found := have(w.zone.ID, ids...)
	for _, e := range many {
		w.same(e, found[e.ID])
	}
	if len(have(other.ID, ids...)) != 0 || len(have(w.zone.ID, deputy.NewEntityID())) != 0 || len(have(w.zone.ID)) != 0 {
		w.Error("entities of another zone, or none that was asked for")
	}
	// A failed write keeps nothing.
	lost := deputy.PolicyEntity{ID: deputy.NewEntityID(), Data: []byte("lost")}
	w.is(w.write(func(t deputy.Tx) error {
		t.KeepEntity(w.zone.ID, lost)
		return deputy.Errorf(deputy.Conflict, "no")
	}), deputy.Conflict)
	if len(have(w.zone.ID, lost.ID)) != 0 {
		w.Error("a failed write kept an entity")
	}
	// Use keeps; the rest goes in steps.
	w.tick()
	used := w.clock.Now()
	w.tick()
	keep(w.zone.ID, many[0])
	for more := true; more; {
		more = sure(w.PruneEntities(w.ctx, used, 500))
	}
	if left := have(w.zone.ID, ids...); len(left) != 1 || string(left[ids[0]].Data) != "0" {
		w.Errorf("%d entities are left", len(left))
	}
}
