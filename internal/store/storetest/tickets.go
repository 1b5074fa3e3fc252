package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"deputy/internal/deputy"
)

var tickets = map[string]func(*world){
	"a ticket is found until it is over":       ticketLife,
	"a ticket is taken once":                   ticketOnce,
	"a ticket is spent once":                   ticketSpent,
	"a ticket takes another's place":           ticketPlace,
	"tickets over are swept away":              ticketSweep,
	"a family of refresh tokens":               refreshFamily,
	"refresh tokens are replaced one by one":   turnedFamily,
	"a source with many tickets displaces its": ticketBound,
}

func (w *world) ticket(kind deputy.TicketKind, secret string) *deputy.Ticket {
	now := w.tick()
	return &deputy.Ticket{
		Kind: kind, ZoneID: w.zone.ID, Key: deputy.HashSecret(deputy.Conceal(secret)), Source: "192.0.2.1",
		Data: []byte(secret), CreatedAt: now, ExpiresAt: now.Add(time.Minute),
	}
}

func (w *world) find(t *deputy.Ticket) (*deputy.Ticket, error) {
	return w.Ticket(w.ctx, t.Kind, t.ZoneID, t.Key)
}

func (w *world) take(t *deputy.Ticket) error {
	return w.write(func(x deputy.Tx) error {
		_, err := x.TakeTicket(w.ctx, t.Kind, t.ZoneID, t.Key)
		return err
	})
}

func ticketLife(w *world) {
	t := w.ticket(deputy.CodeTicket, "one")
	w.insert(func(x deputy.Tx) error { return x.PutTicket(w.ctx, t) })
	w.same(t, sure(w.find(t)))
	for name, other := range map[string]deputy.Ticket{
		"another kind": {Kind: deputy.LoginTicket, ZoneID: t.ZoneID, Key: t.Key},
		"another zone": {Kind: t.Kind, Key: t.Key},
		"another key":  {Kind: t.Kind, ZoneID: t.ZoneID, Key: deputy.HashSecret(deputy.Conceal("two"))},
	} {
		if _, err := w.find(&other); deputy.KindOf(err) != deputy.NotFound {
			w.Errorf("%s: %v", name, err)
		}
	}
	again := w.ticket(deputy.PushedTicket, "another")
	w.insert(func(x deputy.Tx) error { return x.PutTicket(w.ctx, again) })
	w.same(again, sure(w.TakeTicket(w.ctx, again.Kind, again.ZoneID, again.Key)))
	_, err := w.TakeTicket(w.ctx, again.Kind, again.ZoneID, again.Key)
	w.is(err, deputy.NotFound)
	w.clock.advance(time.Minute)
	_, err = w.find(t)
	w.is(err, deputy.NotFound)
	w.is(w.take(t), deputy.NotFound)
	w.insert(func(x deputy.Tx) error {
		_, err := x.Ticket(w.ctx, t.Kind, t.ZoneID, t.Key)
		w.is(err, deputy.NotFound)
		return nil
	})
}

func ticketOnce(w *world) {
	t := w.ticket(deputy.CodeTicket, "one")
	w.insert(func(x deputy.Tx) error { return x.PutTicket(w.ctx, t) })
	nodes := []Store{w.Store, w.node()}
	events := make([]*deputy.Event, 16)
	for i := range events {
		events[i] = w.event()
	}
	var taken atomic.Int32
	var wait sync.WaitGroup
	for i, e := range events {
		wait.Go(func() {
			err := nodes[i%2].Write(w.ctx, e, func(x deputy.Tx) error {
				_, err := x.TakeTicket(w.ctx, t.Kind, t.ZoneID, t.Key)
				return err
			})
			switch {
			case err == nil:
				taken.Add(1)
			case deputy.KindOf(err) != deputy.NotFound:
				w.Error(err)
			}
		})
	}
	wait.Wait()
	if n := taken.Load(); n != 1 {
		w.Errorf("taken %d times", n)
	}
}

func ticketSpent(w *world) {
	t := w.ticket(deputy.AssertionTicket, "one")
	nodes := []Store{w.Store, w.node()}
	events := make([]*deputy.Event, 16)
	for i := range events {
		events[i] = w.event()
	}
	var spent atomic.Int32
	var wait sync.WaitGroup
	for i, e := range events {
		wait.Go(func() {
			var err error
			if i%4 == 0 {
				err = nodes[i%2].SpendTicket(w.ctx, t)
			} else {
				err = nodes[i%2].Write(w.ctx, e, func(x deputy.Tx) error { return x.SpendTicket(w.ctx, t) })
			}
			switch {
			case err == nil:
				spent.Add(1)
			case deputy.KindOf(err) != deputy.Conflict:
				w.Error(err)
			}
		})
	}
	wait.Wait()
	if n := spent.Load(); n != 1 {
		w.Errorf("spent %d times", n)
	}
	other := w.ticket(deputy.AssertionTicket, "two")
	failed := errors.New("no")
	if err := w.write(func(x deputy.Tx) error {
		w.must(x.SpendTicket(w.ctx, other))
		return failed
	}); !errors.Is(err, failed) {
		w.Error(err)
	}
	w.must(w.SpendTicket(w.ctx, other)) // what was undone was not spent
	w.clock.advance(time.Minute)
	w.must(w.SpendTicket(w.ctx, w.ticket(deputy.AssertionTicket, "one"))) // the first is over
}

func ticketPlace(w *world) {
	first, second := w.ticket(deputy.LoginTicket, "one"), w.ticket(deputy.LoginTicket, "two")
	w.must(w.PutTicket(w.ctx, first, nil))
	w.must(w.PutTicket(w.ctx, second, first.Key))
	_, err := w.find(first)
	w.is(err, deputy.NotFound)
	w.same(second, sure(w.find(second)))
	w.is(w.PutTicket(w.ctx, w.ticket(deputy.LoginTicket, "three"), first.Key), deputy.NotFound)
	again := w.ticket(deputy.LoginTicket, "two")
	again.Data = []byte("changed")
	w.must(w.PutTicket(w.ctx, again, nil))
	w.same(again, sure(w.find(again)))
}

func ticketSweep(w *world) {
	short, long := w.ticket(deputy.CodeTicket, "short"), w.ticket(deputy.CodeTicket, "long")
	long.ExpiresAt = long.ExpiresAt.Add(time.Hour)
	w.insert(
		func(x deputy.Tx) error { return x.PutTicket(w.ctx, short) },
		func(x deputy.Tx) error { return x.PutTicket(w.ctx, long) },
	)
	w.clock.advance(2 * time.Minute)
	for more := true; more; {
		more = sure(w.Sweep(w.ctx, 1))
	}
	w.clock.advance(-2 * time.Minute) // what is gone does not come back with the time
	_, err := w.find(short)
	w.is(err, deputy.NotFound)
	sure(w.find(long))
}

// ticketBound floods a store whose bound is small: what the flood's source has
// goes, oldest first, and nothing of anybody else's.
func ticketBound(w *world) {
	bounded, ok := w.Store.(interface{ BoundTickets(int64) })
	if !ok {
		w.Fatal("the store cannot be bounded")
	}
	bounded.BoundTickets(256 << 10)
	other := w.ticket(deputy.RegistrationTicket, "other")
	other.Source = "192.0.2.2"
	w.must(w.PutTicket(w.ctx, other, nil))
	elsewhere := w.ticket(deputy.LoginTicket, "elsewhere")
	w.must(w.PutTicket(w.ctx, elsewhere, nil))
	flood := make([]*deputy.Ticket, 2000)
	for i := range flood {
		flood[i] = w.ticket(deputy.RegistrationTicket, fmt.Sprint(i))
		w.must(w.PutTicket(w.ctx, flood[i], nil))
	}
	sure(w.find(other))
	sure(w.find(elsewhere))
	kept := 0
	for i, t := range flood {
		_, err := w.find(t)
		switch {
		case err == nil:
			kept++
		case deputy.KindOf(err) != deputy.NotFound:
			w.Fatal(err)
		case kept > 0:
			w.Fatalf("ticket %d went before an older one", i)
		}
	}
	if kept < 700 || kept > 1000 { // of some 260 bytes each
		w.Errorf("%d tickets are kept", kept)
	}
}

func refreshFamily(w *world) {
	now := w.tick()
	f := &deputy.RefreshFamily{
		ZoneID: w.zone.ID, SessionID: fresh[deputy.SessionID](w), ClientID: "client", Generation: 1,
		Current: deputy.HashSecret(deputy.Conceal("one")), Tag: []byte("tag"), Data: []byte(`{"a":1}`),
		CreatedAt: now, ExpiresAt: now.Add(time.Hour),
	}
	w.insert(func(x deputy.Tx) error { return x.RefreshFamilies().Insert(w.ctx, f) })
	w.same(f, sure(w.RefreshFamilies().Get(w.ctx, w.in, deputy.ID(f.SessionID))))
	w.insert(func(x deputy.Tx) error {
		_, err := x.RefreshFamilies().Update(w.ctx, w.in, deputy.ID(f.SessionID), func(f *deputy.RefreshFamily) error {
			f.Generation, f.Previous, f.Current = 2, f.Current, deputy.HashSecret(deputy.Conceal("two"))
			f.Sealed, f.Turns = []byte("sealed"), []int64{now.UnixMicro()}
			return nil
		})
		return err
	})
	got := sure(w.RefreshFamilies().Get(w.ctx, w.in, deputy.ID(f.SessionID)))
	if got.Generation != 2 || string(got.Sealed) != "sealed" || len(got.Turns) != 1 || string(got.Previous) != string(f.Current) {
		w.Errorf("the family is %+v", got)
	}
	w.clock.advance(2 * time.Hour)
	sure(w.Sweep(w.ctx, 10))
	_, err := w.RefreshFamilies().Get(w.ctx, w.in, deputy.ID(f.SessionID))
	w.is(err, deputy.NotFound)
}

// turnedFamily replaces the tokens of families: each only by whoever has the
// newest, one at a time, and not at all where what goes with it fails.
func turnedFamily(w *world) {
	now := w.tick()
	hash := func(generation int64) deputy.SecretHash {
		return deputy.HashSecret(deputy.Conceal(fmt.Sprint(generation)))
	}
	begun := func() *deputy.RefreshFamily {
		f := &deputy.RefreshFamily{
			ZoneID: w.zone.ID, SessionID: fresh[deputy.SessionID](w), ClientID: "client", Generation: 1,
			Current: hash(1), Tag: []byte("tag"), Data: []byte(`{"a":1}`), CreatedAt: now, ExpiresAt: now.Add(time.Hour),
		}
		w.insert(func(x deputy.Tx) error { return x.RefreshFamilies().Insert(w.ctx, f) })
		return f
	}
	read := func(f *deputy.RefreshFamily) *deputy.RefreshFamily {
		return sure(w.RefreshFamilies().Get(w.ctx, w.in, deputy.ID(f.SessionID)))
	}
	following := func(f deputy.RefreshFamily) *deputy.RefreshFamily {
		f.Generation++
		f.Previous, f.Current = f.Current, hash(f.Generation)
		f.Sealed, f.Turns = []byte("sealed"), append(slices.Clone(f.Turns), now.UnixMicro())
		return &f
	}
	turn := func(to *deputy.RefreshFamily, was deputy.SecretHash, then error) error {
		return w.write(func(x deputy.Tx) error {
			if err := x.TurnRefresh(w.ctx, to, was); err != nil {
				return err
			}
			return then
		})
	}
	f, other := begun(), begun()
	second := following(*f)
	w.is(turn(second, hash(2), nil), deputy.Stale)
	w.same(f, read(f))
	w.must(turn(second, f.Current, nil))
	w.same(second, read(f))
	w.is(turn(second, f.Current, nil), deputy.Stale)
	w.same(other, read(other))
	nobody := following(*f)
	nobody.SessionID = "nobody"
	w.is(turn(nobody, f.Current, nil), deputy.Stale)

	// Many at once.
	failing := errors.New("and then it failed")
	var wait sync.WaitGroup
	var turned atomic.Int64
	for n := range 32 {
		wait.Go(func() {
			for range 10 {
				var then error
				switch {
				case n%2 == 1: // others, whose group goes well
					w.must(w.write(func(deputy.Tx) error { return nil }))
					continue
				case n%8 == 0:
					then = failing
				}
				at := read(f)
				switch err := turn(following(*at), at.Current, then); {
				case err == nil:
					turned.Add(1)
				case !errors.Is(err, failing) && deputy.KindOf(err) != deputy.Stale:
					w.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if now := read(f); now.Generation != 2+turned.Load() || turned.Load() == 0 || int64(len(now.Turns)) != now.Generation-1 {
		w.Errorf("after %d turns the family is at %d, with %d times", turned.Load(), now.Generation, len(now.Turns))
	}
}
