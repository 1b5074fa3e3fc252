package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"deputy/internal/deputy"
)

var commits = map[string]func(*world){
	"change and event commit together or not at all": together,
	"a failing write leaves the others alone":        isolation,
	"a panic is an error":                            panics,
	"a basis that has moved is stale":                basis,
	"a basis minds what it relies on":                reliance,
	"a member of a group sees those before it":       groupOrder,
	"what a basis lists is read as it is":            readAgain,
	"a given-up write does nothing":                  cancelled,
	"a closed store writes nothing":                  closed,
	"touches are written once":                       touches,
	"a credential's last use":                        lastUse,
	"once":                                           once,
	"the account behind a client id":                 accounts,
	"a chain of sessions":                            chains,
	"the time of a transaction":                      txTime,
}

// logged reports whether the event is in the log.
func (w *world) logged(e *deputy.Event) bool {
	w.Helper()
	_, err := w.Event(w.ctx, e.OrganizationID, "", e.ID)
	if err != nil && deputy.KindOf(err) != deputy.NotFound {
		w.Fatal(err)
	}
	return err == nil
}

func (w *world) exists(a *deputy.Application) bool {
	w.Helper()
	_, err := w.Applications().Get(w.ctx, w.in, deputy.ID(a.ID))
	if err != nil && deputy.KindOf(err) != deputy.NotFound {
		w.Fatal(err)
	}
	return err == nil
}

func together(w *world) {
	a, e := w.application("app"), w.event()
	no := errors.New("no")
	if err := w.Write(w.ctx, e, func(t deputy.Tx) error {
		w.must(t.Applications().Insert(w.ctx, a))
		return no
	}); !errors.Is(err, no) {
		w.Errorf("error %v", err)
	}
	if w.logged(e) || w.exists(a) {
		w.Error("a failed write left something")
	}
	w.must(w.Write(w.ctx, e, func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, a) }))
	if !w.logged(e) || !w.exists(a) {
		w.Error("something is missing")
	}
	alone := w.event()
	w.must(w.Write(w.ctx, alone, nil))
	if !w.logged(alone) {
		w.Error("the event alone is missing")
	}
	for name, broken := range map[string]func(*deputy.Event){
		"no organization": func(e *deputy.Event) { e.OrganizationID = "" },
		"odd id":          func(e *deputy.Event) { e.ID = "odd" },
	} {
		b, e := w.application(name), w.event()
		broken(e)
		if err := w.Write(w.ctx, e, func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, b) }); err == nil || w.exists(b) {
			w.Errorf("%s: error %v", name, err)
		}
	}
	if err := w.Write(w.ctx, nil, nil); err == nil {
		w.Error("a write without an event")
	}
}

func isolation(w *world) {
	const writers = 64
	var wait sync.WaitGroup
	apps := make([]*deputy.Application, writers*3)
	events := make([]*deputy.Event, len(apps))
	errs := make([]error, len(apps))
	taken := w.application("taken")
	w.insert(func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, taken) })
	for i := range apps {
		apps[i], events[i] = w.application(fmt.Sprint("app-", i)), w.event()
	}
	for n := range writers {
		wait.Go(func() {
			for i := n; i < len(apps); i += writers {
				errs[i] = w.Write(w.ctx, events[i], func(t deputy.Tx) error {
					if err := t.Applications().Insert(w.ctx, apps[i]); err != nil {
						return err
					}
					switch i % 4 {
					case 1:
						return deputy.Errorf(deputy.Denied, "no")
					case 2:
						return t.Applications().Insert(w.ctx, renew(w, taken, true))
					case 3:
						_, err := t.Applications().Get(w.ctx, w.in, "none")
						return err
					}
					return nil
				})
			}
		})
	}
	wait.Wait()
	for i, err := range errs {
		want := []deputy.Kind{"", deputy.Denied, deputy.Conflict, deputy.NotFound}[i%4]
		if deputy.KindOf(err) != want || (want == "") != (err == nil) {
			w.Errorf("write %d: %v", i, err)
		}
		if ok := want == ""; w.exists(apps[i]) != ok || w.logged(events[i]) != ok {
			w.Errorf("write %d ended with %v; there: change %v, event %v", i, err, w.exists(apps[i]), w.logged(events[i]))
		}
	}
	if p := sure(w.Events(w.ctx, deputy.EventQuery{Organization: w.org.ID, Count: true})); *p.Total != 3+writers*3/4 {
		w.Errorf("%d events", *p.Total)
	}
}

func panics(w *world) {
	a, e := w.application("app"), w.event()
	if err := w.Write(w.ctx, e, func(t deputy.Tx) error {
		w.must(t.Applications().Insert(w.ctx, a))
		panic("oh")
	}); err == nil || w.exists(a) || w.logged(e) {
		w.Errorf("error %v", err)
	}
	w.must(w.Write(w.ctx, w.event(), nil))
}

func basis(w *world) {
	now := w.revision()
	decide := func(revision int64) (*deputy.Event, error) {
		e := w.event()
		e.Basis = &deputy.Basis{Zone: w.zone.ID, Revision: revision}
		return e, w.Write(w.ctx, e, func(t deputy.Tx) error { t.Touch(w.touched("c", w.clock.Now())); return nil })
	}
	if e, err := decide(now); err != nil || !w.logged(e) {
		w.Errorf("a basis in force: %v", err)
	}
	w.insert(func(t deputy.Tx) error { return t.Resources().Insert(w.ctx, w.resource("new")) })
	for _, revision := range []int64{now, now + 2, 0} {
		e, err := decide(revision)
		w.is(err, deputy.Stale)
		if w.logged(e) {
			w.Error("a stale event was written")
		}
	}
	if e, err := decide(now + 1); err != nil || !w.logged(e) {
		w.Errorf("the next basis: %v", err)
	}
	w.must(w.write(func(t deputy.Tx) error { return t.Zones().Delete(w.ctx, w.owned(), deputy.ID(w.zone.ID)) }))
	_, err := decide(now + 2)
	w.is(err, deputy.Stale)
	e := w.event()
	e.Basis = &deputy.Basis{Zone: "nowhere", Revision: 1}
	w.is(w.Write(w.ctx, e, nil), deputy.Stale)
}

// reliance changes a zone in two ways under a decision that minds one of them.
func reliance(w *world) {
	minded := w.resource("minded")
	w.insert(func(t deputy.Tx) error { return t.Resources().Insert(w.ctx, minded) })
	decide := func(revision int64) error {
		e := w.event()
		e.Basis = &deputy.Basis{Zone: w.zone.ID, Revision: revision, Relies: func(kind deputy.ChangeKind, id string) bool {
			return kind == deputy.ChangedProvider || kind == deputy.ChangedResource && id == string(minded.ID)
		}}
		err := w.Write(w.ctx, e, nil)
		if w.logged(e) != (err == nil) {
			w.Errorf("the event is there: %v, with the error %v", w.logged(e), err)
		}
		return err
	}
	now := w.revision()
	for range 3 {
		w.insert(func(t deputy.Tx) error { return t.Resources().Insert(w.ctx, w.resource(string(w.newID()))) })
	}
	w.must(decide(now))
	w.is(decide(now+4), deputy.Stale) // from nowhere
	w.is(decide(0), deputy.Stale)
	w.is(decide(-1), deputy.Stale)
	later := w.revision()
	w.must(w.write(func(t deputy.Tx) error {
		_, err := t.Resources().Update(w.ctx, w.in, deputy.ID(minded.ID), func(r *deputy.Resource) error { r.Name = "other"; return nil })
		return err
	}))
	w.is(decide(now), deputy.Stale)
	w.is(decide(later), deputy.Stale)
	later = w.revision()
	w.insert(func(t deputy.Tx) error { return t.Resources().Insert(w.ctx, w.resource("another")) })
	w.must(decide(later))
	w.must(w.write(func(t deputy.Tx) error { return t.Zones().Delete(w.ctx, w.owned(), deputy.ID(w.zone.ID)) }))
	w.is(decide(later), deputy.Stale)
}

// groupOrder lets decisions and changes of one zone race: whatever shares a
// transaction, no decision comes after a change that it did not know of.
func groupOrder(w *world) {
	var wait sync.WaitGroup
	for n := range 16 {
		wait.Go(func() {
			for i := range 20 {
				if n%4 == 0 {
					w.change(w.Store)
				} else if err := w.decide(w.Store); err != nil && !errors.Is(err, deputy.Stale) {
					w.Error(n, i, err)
				}
			}
		})
	}
	wait.Wait()
	w.noDecisionIsLate()
}

// change changes the zone and writes down its new revision.
func (w *world) change(s Store) {
	e := w.event()
	e.Type = "zones:update"
	err := s.Write(w.ctx, e, func(t deputy.Tx) error {
		_, err := t.Zones().Update(w.ctx, w.owned(), deputy.ID(w.zone.ID), func(z *deputy.Zone) error {
			z.Description = ref(string(e.ID))
			return nil
		})
		return err
	})
	if err != nil {
		w.Error(err)
	}
}

// decide relies on the newest state that the node can read, and writes down
// which it was.
func (w *world) decide(s Store) error {
	d, err := s.Zone(w.ctx, w.zone.ID, 0)
	if err != nil {
		return err
	}
	e := w.event()
	e.Type, e.Basis, e.Count = "credentials:issue", &deputy.Basis{Zone: w.zone.ID, Revision: d.Revision}, int(d.Revision)
	return s.Write(w.ctx, e, nil)
}

// noDecisionIsLate reads the log of changes and decisions.
func (w *world) noDecisionIsLate() {
	w.Helper()
	revision, decisions := int64(1), 0
	q := deputy.EventQuery{Organization: w.org.ID, Ascending: true}
	for more := true; more; {
		p := sure(w.Events(w.ctx, q))
		for _, r := range p.Items {
			switch e := sure(r.Event(w.ctx, reversal{})); e.Type {
			case "zones:update":
				revision++
			case "credentials:issue":
				decisions++
				if int64(e.Count) != revision {
					w.Errorf("event %d decided at revision %d while %d was in force", r.Seq, e.Count, revision)
				}
			}
		}
		q.After, more = p.Last, p.HasNext
	}
	if now := w.revision(); now != revision || decisions == 0 {
		w.Errorf("revision %d after %d changes and %d decisions", now, revision-1, decisions)
	}
}

// readAgain lets writes that have their rows read for all at once race with
// writes that change those, on two nodes: each sees what is there in its turn.
func readAgain(w *world) {
	u, r, s := w.user("u"), w.resource("r"), w.session(deputy.UserSession)
	s.UserID = &u.ID
	put(w, deputy.Tx.Users, u)
	put(w, deputy.Tx.Resources, r)
	put(w, deputy.Tx.Sessions, s)
	g := w.grant(u, r)
	g.Scopes = []string{"0"}
	put(w, deputy.Tx.Grants, g)
	kept := &deputy.VaultSecret{ID: w.newID(), ZoneID: w.zone.ID, EntityID: deputy.ID(r.ID), Name: "s", Type: deputy.TokenSecret, Sealed: []byte("s"), Version: 1, CreatedAt: w.tick()}
	put(w, deputy.Tx.Secrets, kept)
	agreed := &deputy.ConsentRecord{ZoneID: w.zone.ID, UserID: u.ID, ClientID: "c", ResourceID: r.ID, Scopes: []string{"0"}, CreatedAt: w.tick()}
	w.insert(func(t deputy.Tx) error { return t.PutConsent(w.ctx, agreed) })
	revision := w.revision()
	again := deputy.Rows{Sessions: []*deputy.Session{s, nil}, User: u, Client: "c", Resource: r.ID, Grant: g, Entity: deputy.ID(r.ID)}

	var changed atomic.Int64 // as of the turns before
	change := func(t deputy.Tx) error {
		n := fmt.Sprint(changed.Load() + 1)
		_, err := t.Users().Update(w.ctx, w.in, deputy.ID(u.ID), func(u *deputy.User) error { u.Email = n; return nil })
		if err == nil {
			_, err = t.Sessions().Update(w.ctx, w.in, deputy.ID(s.ID), func(s *deputy.Session) error { s.Name = n; return nil })
		}
		if err == nil {
			_, err = t.Grants().Update(w.ctx, w.in, g.ID, func(g *deputy.Grant) error { g.Scopes = []string{n}; return nil })
		}
		if err == nil {
			_, err = t.Secrets().Update(w.ctx, w.in, kept.ID, func(k *deputy.VaultSecret) error { k.Name = n; return nil })
		}
		if err == nil {
			now := *agreed
			now.Scopes = []string{n}
			err = t.PutConsent(w.ctx, &now)
		}
		changed.Add(1)
		return err
	}
	look := func(t deputy.Tx) error {
		n := fmt.Sprint(changed.Load())
		chain, user, err := t.SessionChain(w.ctx, w.zone.ID, s.ID)
		if err != nil {
			return err
		}
		said, err := t.Grant(w.ctx, w.zone.ID, u.ID, r.ID)
		if err != nil {
			return err
		}
		secret, err := t.Secret(w.ctx, w.zone.ID, deputy.ID(r.ID))
		if err != nil {
			return err
		}
		c, err := t.Consent(w.ctx, w.zone.ID, u.ID, "c", r.ID)
		if err != nil {
			return err
		}
		if seen := []string{user.Email, chain[0].Name, said.Scopes[0], secret.Name, c.Scopes[0]}; n != "0" && slices.ContainsFunc(seen, func(v string) bool { return v != n }) {
			w.Errorf("after %s changes the rows are of %q", n, seen)
		}
		return nil
	}
	var wait sync.WaitGroup
	nodes := []Store{w.Store, w.node()}
	for n := range 16 {
		wait.Go(func() {
			for i := range 20 {
				e, node := w.event(), nodes[(n/4+i)%2]
				var err error
				if n%4 == 0 {
					err = node.Write(w.ctx, e, change)
				} else {
					e.Basis = &deputy.Basis{Zone: w.zone.ID, Revision: revision, Relies: func(deputy.ChangeKind, string) bool { return false }, Again: again}
					err = node.Write(w.ctx, e, look)
				}
				if err != nil {
					w.Error(err)
				}
			}
		})
	}
	wait.Wait()

	// What is not there is not there.
	e := w.event()
	e.Basis = &deputy.Basis{Zone: w.zone.ID, Revision: w.revision(), Again: deputy.Rows{Sessions: []*deputy.Session{{ID: "no"}}, User: &deputy.User{ID: "no"}, Client: "no", Resource: r.ID, Entity: "no"}}
	w.must(w.Write(w.ctx, e, func(t deputy.Tx) error {
		_, _, chain := t.SessionChain(w.ctx, w.zone.ID, "no")
		_, said := t.Grant(w.ctx, w.zone.ID, "no", r.ID)
		_, secret := t.Secret(w.ctx, w.zone.ID, "no")
		_, agreed := t.Consent(w.ctx, w.zone.ID, "no", "no", r.ID)
		for _, err := range []error{chain, said, secret, agreed} {
			w.is(err, deputy.NotFound)
		}
		return nil
	}))
}

func cancelled(w *world) {
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	a, e := w.application("app"), w.event()
	if err := w.Write(ctx, e, func(t deputy.Tx) error { return t.Applications().Insert(ctx, a) }); !errors.Is(err, context.Canceled) {
		w.Errorf("error %v", err)
	}
	if w.exists(a) || w.logged(e) {
		w.Error("a given-up write left something")
	}
	// Giving up at any moment: what is answered with an error did not happen,
	// what is answered well did.
	var wait sync.WaitGroup
	for range 64 {
		a, e := w.application(string(w.newID())), w.event()
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(w.ctx, 3*time.Millisecond)
			defer cancel()
			err := w.Write(ctx, e, func(t deputy.Tx) error { return t.Applications().Insert(ctx, a) })
			if ok := err == nil; w.exists(a) != ok || w.logged(e) != ok {
				w.Errorf("error %v; there: change %v, event %v", err, w.exists(a), w.logged(e))
			}
		})
	}
	wait.Wait()
	if _, err := w.Applications().List(ctx, w.in, deputy.Query{}); !errors.Is(err, context.Canceled) {
		w.Errorf("a given-up read: %v", err)
	}
}

func closed(w *world) {
	other := w.node()
	var wait sync.WaitGroup
	events := make([]*deputy.Event, 100)
	errs := make([]error, len(events))
	for i := range events {
		events[i] = w.event()
	}
	for i := range events {
		wait.Go(func() { errs[i] = other.Write(w.ctx, events[i], nil) })
	}
	w.must(other.Close())
	wait.Wait()
	for i, err := range errs {
		if err != nil {
			w.is(err, deputy.Unavailable)
		}
		if w.logged(events[i]) != (err == nil) {
			w.Errorf("write %d: %v", i, err)
		}
	}
	w.is(other.Write(w.ctx, w.event(), nil), deputy.Unavailable)
	if other.Ready(w.ctx) == nil {
		w.Error("a closed store is ready")
	}
	w.must(w.Ready(w.ctx))
}

// touched is the application session of a credential used at a time.
func (w *world) touched(credential deputy.CredentialID, at time.Time) *deputy.Session {
	s := w.session(deputy.ApplicationSession)
	s.CredentialID, s.AuthenticatedAt, s.ExpiresAt = &credential, at, at.Add(time.Hour)
	return s
}

func touches(w *world) {
	first, later := w.touched("c", w.tick()), w.touched("c", w.tick())
	other := w.touched("d", w.tick())
	failed := errors.New("no")
	w.must(w.write(func(t deputy.Tx) error { t.Touch(other); t.Touch(first); return nil }))
	if err := w.write(func(t deputy.Tx) error { t.Touch(w.touched("e", w.tick())); return failed }); !errors.Is(err, failed) {
		w.Error(err)
	}
	w.must(w.write(func(t deputy.Tx) error { t.Touch(later); return nil }))
	p := sure(w.Sessions().List(w.ctx, w.in, deputy.Query{}))
	if len(p.Items) != 2 {
		w.Fatalf("%d sessions", len(p.Items))
	}
	got := sure(w.Sessions().Get(w.ctx, w.in, deputy.ID(first.ID)))
	if !got.AuthenticatedAt.Equal(later.AuthenticatedAt) || !got.ExpiresAt.Equal(later.ExpiresAt) || !got.CreatedAt.Equal(first.CreatedAt) {
		w.Errorf("the session is %+v", got)
	}
	// Revoked is final: the next use is another session.
	w.must(w.write(func(t deputy.Tx) error {
		_, err := t.Sessions().Update(w.ctx, w.in, deputy.ID(first.ID), func(s *deputy.Session) error { s.Status = deputy.Revoked; return nil })
		return err
	}))
	w.must(w.write(func(t deputy.Tx) error { t.Touch(later); return nil }))
	if got := sure(w.Sessions().Get(w.ctx, w.in, deputy.ID(first.ID))); got.Status != deputy.Revoked {
		w.Error("a revoked session came back")
	}
	if _, err := w.Sessions().Get(w.ctx, w.in, deputy.ID(later.ID)); err != nil {
		w.Error(err)
	}
	// So is expired, from the moment on when the time has run out.
	w.clock.advance(2 * time.Hour)
	next := w.touched("c", w.tick())
	w.must(w.write(func(t deputy.Tx) error { t.Touch(next); return nil }))
	if got := sure(w.Sessions().Get(w.ctx, w.in, deputy.ID(later.ID))); got.Status != deputy.Expired || !got.ExpiresAt.Equal(later.ExpiresAt) {
		w.Errorf("the session that had expired is %+v", got)
	}
	if got := sure(w.Sessions().Get(w.ctx, w.in, deputy.ID(next.ID))); got.Status != deputy.Active {
		w.Errorf("the next session is %+v", got)
	}
}

func lastUse(w *world) {
	c := &deputy.ServiceAccountCredential{ID: w.newID(), OrganizationID: w.org.ID, ServiceAccountID: "s", ClientID: "c", CreatedAt: w.tick()}
	w.insert(func(t deputy.Tx) error { return t.ServiceCredentials().Insert(w.ctx, c) })
	at := w.tick()
	w.must(w.write(func(t deputy.Tx) error {
		t.TouchServiceCredential(w.org.ID, c.ID, at.Add(-time.Second))
		t.TouchServiceCredential(w.org.ID, c.ID, at)
		return nil
	}))
	got := sure(w.ServiceCredentials().Get(w.ctx, w.owned(), c.ID))
	if got.LastUsedAt == nil || !got.LastUsedAt.Equal(at) || got.Revision != 1 {
		w.Errorf("%+v", got)
	}
}

func once(w *world) {
	stores := []Store{w.Store, w.node()}
	firsts := make([]bool, 32)
	var wait sync.WaitGroup
	for i := range firsts {
		e := w.event()
		wait.Go(func() {
			if err := stores[i%2].Write(w.ctx, e, func(t deputy.Tx) (err error) {
				firsts[i], err = t.Once(w.ctx, "bootstrap")
				return err
			}); err != nil {
				w.Error(err)
			}
		})
	}
	wait.Wait()
	n := 0
	for _, first := range firsts {
		if first {
			n++
		}
	}
	if n != 1 {
		w.Errorf("%d were first", n)
	}
	no := errors.New("no")
	for range 2 { // a first that failed was none
		if err := w.write(func(t deputy.Tx) error {
			if first := sure(t.Once(w.ctx, "other")); !first {
				w.Error("a failed write counted")
			}
			return no
		}); !errors.Is(err, no) {
			w.Error(err)
		}
	}
}

func accounts(w *world) {
	now := w.tick()
	a := &deputy.ServiceAccount{ID: w.newID(), OrganizationID: w.org.ID, Name: "a", CreatedAt: now, UpdatedAt: now}
	c := &deputy.ServiceAccountCredential{ID: w.newID(), OrganizationID: w.org.ID, ServiceAccountID: a.ID, ClientID: "client", CreatedAt: now}
	w.insert(
		func(t deputy.Tx) error { return t.ServiceAccounts().Insert(w.ctx, a) },
		func(t deputy.Tx) error { return t.ServiceCredentials().Insert(w.ctx, c) },
		func(t deputy.Tx) error {
			inside, err := t.Account(w.ctx, "client")
			if err == nil {
				w.same(a, inside.Account)
			}
			return err
		},
	)
	w.same(&deputy.Account{Organization: w.org, Account: a, Credential: c}, sure(w.Account(w.ctx, "client")))
	_, err := w.Account(w.ctx, "Client")
	w.is(err, deputy.NotFound)
}

func chains(w *world) {
	u := w.user("u")
	root, child, orphan := w.session(deputy.UserSession), w.session(deputy.UserSession), w.session(deputy.UserSession)
	child.ParentID, child.UserID, orphan.ParentID, orphan.UserID = &root.ID, &u.ID, ref(deputy.SessionID("gone")), ref(deputy.UserID("gone"))
	for _, s := range []*deputy.Session{root, child, orphan} {
		w.insert(func(t deputy.Tx) error { return t.Sessions().Insert(w.ctx, s) })
	}
	w.insert(func(t deputy.Tx) error { return t.Users().Insert(w.ctx, u) })
	check := func(read func(context.Context, deputy.ZoneID, deputy.SessionID) ([]*deputy.Session, *deputy.User, error)) {
		chain, user, err := read(w.ctx, w.zone.ID, child.ID)
		w.must(err)
		w.same([]*deputy.Session{child, root}, chain)
		w.same(u, user)
		chain, user, err = read(w.ctx, w.zone.ID, orphan.ID)
		w.must(err)
		w.same([]*deputy.Session{orphan, nil}, chain)
		if user != nil {
			w.Error("a user that is gone")
		}
		_, _, err = read(w.ctx, w.zone.ID, "none")
		w.is(err, deputy.NotFound)
		_, _, err = read(w.ctx, "elsewhere", child.ID)
		w.is(err, deputy.NotFound)
	}
	check(w.SessionChain)
	w.must(w.write(func(t deputy.Tx) error { check(t.SessionChain); return nil }))
}

func txTime(w *world) {
	at := w.tick()
	w.must(w.Write(w.ctx, w.event(), func(t deputy.Tx) error {
		if now := t.Now(); now.Before(at) || now.Nanosecond()%1000 != 0 {
			w.Errorf("the time is %v", now)
		}
		return nil
	}))
}
