package storetest

import (
	"errors"
	"fmt"
	"sync"

	"deputy/internal/deputy"
)

var nodes = map[string]func(*world){
	"a change on one node is in force on another": changeInForce,
	"decisions and changes of two nodes":          twoNodes,
	"changes of two nodes do not get lost":        lostUpdates,
	"two nodes share a log":                       sharedLog,
	"events come together or not at all":          eventsTogether,
}

// changeInForce changes something on one node and at once uses it on another.
func changeInForce(w *world) {
	other := w.node()
	var last int64
	for i := range 50 {
		r := w.resource(fmt.Sprint(i))
		w.insert(func(t deputy.Tx) error { return t.Resources().Insert(w.ctx, r) })
		d := sure(other.Zone(w.ctx, w.zone.ID, last))
		if d.Resources[r.ID] == nil {
			w.Fatalf("change %d is not seen", i)
		}
		e := w.event()
		e.Basis = &deputy.Basis{Zone: w.zone.ID, Revision: last}
		w.is(other.Write(w.ctx, e, nil), deputy.Stale)
		e = w.event()
		e.Basis = &deputy.Basis{Zone: w.zone.ID, Revision: d.Revision}
		w.must(other.Write(w.ctx, e, nil))
		last = d.Revision
	}
}

// twoNodes lets both nodes decide and change at once.
func twoNodes(w *world) {
	stores := []Store{w.Store, w.node()}
	var wait sync.WaitGroup
	for n := range 12 {
		wait.Go(func() {
			for range 25 {
				if n < 2 {
					w.change(stores[n%2])
				} else if err := w.decide(stores[n%2]); err != nil && !errors.Is(err, deputy.Stale) {
					w.Error(err)
				}
			}
		})
	}
	wait.Wait()
	w.noDecisionIsLate()
}

func lostUpdates(w *world) {
	stores := []Store{w.Store, w.node()}
	now := w.tick()
	account := &deputy.ServiceAccount{ID: w.newID(), OrganizationID: w.org.ID, Name: "a", CreatedAt: now, UpdatedAt: now}
	a := w.application("app")
	w.insert(
		func(t deputy.Tx) error { return t.ServiceAccounts().Insert(w.ctx, account) },
		func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, a) },
	)
	var wait sync.WaitGroup
	for n := range 8 {
		wait.Go(func() {
			for range 10 {
				if err := stores[n%2].Write(w.ctx, w.event(), func(t deputy.Tx) error {
					if _, err := t.ServiceAccounts().Update(w.ctx, w.owned(), account.ID, func(a *deputy.ServiceAccount) error { a.Name += "x"; return nil }); err != nil {
						return err
					}
					_, err := t.Applications().Update(w.ctx, w.in, deputy.ID(a.ID), func(a *deputy.Application) error { a.Name += "x"; return nil })
					return err
				}); err != nil {
					w.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if got := sure(w.ServiceAccounts().Get(w.ctx, w.owned(), account.ID)); len(got.Name) != 81 || got.Revision != 81 {
		w.Errorf("after 80 changes: %+v", got)
	}
	if got := sure(w.Applications().Get(w.ctx, w.in, deputy.ID(a.ID))); len(got.Name) != len(a.Name)+80 || got.Revision != 81 {
		w.Errorf("after 80 changes: %+v", got)
	}
}

func sharedLog(w *world) {
	stores := []Store{w.Store, w.node()}
	var wait sync.WaitGroup
	for n := range 16 {
		wait.Go(func() {
			for range 10 {
				if err := stores[n%2].Write(w.ctx, w.event(), nil); err != nil {
					w.Error(err)
				}
			}
		})
	}
	wait.Wait()
	all := w.all()
	if len(all) != 162 {
		w.Errorf("%d events", len(all))
	}
	for i, r := range all {
		if r.Seq != int64(i+1) {
			w.Fatalf("event %d has number %d", i, r.Seq)
		}
	}
}

// eventsTogether: the events that one brings along lie right behind it, and are
// not there when it is not.
func eventsTogether(w *world) {
	before := len(w.all())
	together := func() *deputy.Event {
		e := w.event()
		e.With = []*deputy.Event{w.event(), w.event()}
		return e
	}
	w.must(w.Write(w.ctx, together(), nil))
	failing := errors.New("no")
	if err := w.Write(w.ctx, together(), func(deputy.Tx) error { return failing }); !errors.Is(err, failing) {
		w.Errorf("a failing write: %v", err)
	}
	foreign, unnamed := together(), together()
	foreign.With[1].OrganizationID, unnamed.With[0].ID = "another", "?"
	for name, e := range map[string]*deputy.Event{"of another organization": foreign, "without an id": unnamed} {
		if err := w.Write(w.ctx, e, nil); err == nil {
			w.Errorf("an event %s was brought along", name)
		}
	}
	last := together()
	var wait sync.WaitGroup
	for range 8 { // in one commit with others
		wait.Go(func() {
			if err := w.Write(w.ctx, together(), nil); err != nil {
				w.Error(err)
			}
		})
	}
	wait.Wait()
	w.must(w.Write(w.ctx, last, nil))
	all := w.all()
	if len(all) != before+3+8*3+3 {
		w.Fatalf("%d events after %d", len(all), before)
	}
	for i, r := range all {
		if r.Seq != int64(i+1) {
			w.Fatalf("event %d has number %d", i, r.Seq)
		}
	}
	for i, e := range append([]*deputy.Event{last}, last.With...) {
		if got := all[len(all)-3+i]; got.ID != e.ID || got.RequestID != e.RequestID {
			w.Errorf("at place %d is %s, not %s", i, got.ID, e.ID)
		}
	}
}
