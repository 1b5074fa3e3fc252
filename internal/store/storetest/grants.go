package storetest

import (
	"encoding/json"
	"sync"
	"time"

	"deputy/internal/deputy"
)

// grants are the cases about what people have authorized at providers.
var grants = map[string]func(*world){
	"what a person last said about a resource":    newestGrant,
	"the refresh of a grant is somebody's own":    leasedGrant,
	"a lease that has run out goes to the next":   lostGrantLease,
	"a grant that is over has no tokens any more": withdrawnGrant,
}

func newestGrant(w *world) {
	u, r := w.user("u"), w.resource("r")
	older, newer, over, other := w.grant(u, r), w.grant(u, r), w.grant(u, r), w.grant(u, w.resource("other"))
	over.Status = deputy.Revoked
	put(w, deputy.Tx.Grants, older, newer, over, other)
	w.same(newer, sure(w.Grant(w.ctx, w.zone.ID, u.ID, r.ID)))
	w.insert(func(t deputy.Tx) error {
		w.same(newer, sure(t.Grant(w.ctx, w.zone.ID, u.ID, r.ID)))
		if err := t.Grants().Delete(w.ctx, w.in, newer.ID); err != nil {
			return err
		}
		w.same(older, sure(t.Grant(w.ctx, w.zone.ID, u.ID, r.ID)))
		if err := t.Grants().Delete(w.ctx, w.in, older.ID); err != nil {
			return err
		}
		w.same(over, sure(t.Grant(w.ctx, w.zone.ID, u.ID, r.ID)))
		return t.Grants().Delete(w.ctx, w.in, over.ID)
	})
	for _, ask := range []func() (*deputy.Grant, error){
		func() (*deputy.Grant, error) { return w.Grant(w.ctx, w.zone.ID, u.ID, r.ID) },
		func() (*deputy.Grant, error) { return w.Grant(w.ctx, "elsewhere", u.ID, other.ResourceID) },
		func() (*deputy.Grant, error) { return w.Grant(w.ctx, w.zone.ID, "nobody", other.ResourceID) },
	} {
		if g, err := ask(); deputy.KindOf(err) != deputy.NotFound {
			w.Errorf("found %+v, %v", g, err)
		}
	}
}

// refreshable puts a grant with tokens.
func (w *world) refreshable() *deputy.Grant {
	g := w.grant(w.user("u"), w.resource("r"))
	g.RefreshTokenSet, g.Sealed = true, []byte("tokens")
	put(w, deputy.Tx.Grants, g)
	return g
}

func leasedGrant(w *world) {
	g := w.refreshable()
	nodes := []Store{w.Store, w.node()}
	var mu sync.Mutex
	var wait sync.WaitGroup
	fences := map[int64]int{}
	for i := range 8 {
		wait.Go(func() {
			had, ours, err := nodes[i%2].LeaseGrant(w.ctx, w.zone.ID, g.ID, time.Minute)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				w.Error(err)
			case ours:
				fences[had.Fence]++
			case had.Fence != 1 || string(had.Sealed) != "tokens":
				w.Errorf("somebody else sees %+v", had)
			}
		})
	}
	wait.Wait()
	if len(fences) != 1 || fences[1] != 1 {
		w.Errorf("leases by fence: %v", fences)
	}
	seen := sure(w.Grants().Get(w.ctx, w.in, g.ID))
	w.same([]any{g.Revision, g.UpdatedAt}, []any{seen.Revision, seen.UpdatedAt}) // nothing that anybody could see
	if err := w.EndLease(w.ctx, w.zone.ID, g.ID, 0); err != nil {
		w.Fatal(err)
	}
	if _, ours, err := w.LeaseGrant(w.ctx, w.zone.ID, g.ID, time.Minute); ours || err != nil {
		w.Errorf("another's end of the lease ended it: %v", err)
	}
	if err := w.EndLease(w.ctx, w.zone.ID, g.ID, 1); err != nil {
		w.Fatal(err)
	}
	if had, ours, err := w.LeaseGrant(w.ctx, w.zone.ID, g.ID, time.Minute); !ours || err != nil || had.Fence != 2 {
		w.Errorf("the next lease: %v, %+v, %v", ours, had, err)
	}
}

func lostGrantLease(w *world) {
	g := w.refreshable()
	first, ours, err := w.LeaseGrant(w.ctx, w.zone.ID, g.ID, time.Minute)
	if !ours || err != nil {
		w.Fatal(ours, err)
	}
	w.clock.advance(time.Minute)
	second, ours, err := w.LeaseGrant(w.ctx, w.zone.ID, g.ID, time.Minute)
	if !ours || err != nil || second.Fence <= first.Fence {
		w.Fatal(ours, err)
	}
	if err := w.EndLease(w.ctx, w.zone.ID, g.ID, first.Fence); err != nil {
		w.Fatal(err)
	}
	if _, ours, _ := w.LeaseGrant(w.ctx, w.zone.ID, g.ID, time.Minute); ours {
		w.Error("whoever lost the lease ended that of the next")
	}
	w.clock.advance(time.Minute)
	alter(w, deputy.Tx.Grants, g.ID, func(g *deputy.Grant) { g.Status = deputy.Expired })
	if over, ours, err := w.LeaseGrant(w.ctx, w.zone.ID, g.ID, time.Minute); ours || err != nil || over.Status != deputy.Expired {
		w.Errorf("a grant that is over: %v, %+v, %v", ours, over, err)
	}
	if _, _, err := w.LeaseGrant(w.ctx, w.zone.ID, "none", time.Minute); deputy.KindOf(err) != deputy.NotFound {
		w.Errorf("no grant: %v", err)
	}
	if _, _, err := w.LeaseGrant(w.ctx, "elsewhere", g.ID, time.Minute); deputy.KindOf(err) != deputy.NotFound {
		w.Errorf("a grant of another zone: %v", err)
	}
}

func withdrawnGrant(w *world) {
	revoked, deleted, bare := w.grant(w.user("u"), w.resource("r")), w.grant(w.user("v"), w.resource("s")), w.grant(w.user("x"), w.resource("t"))
	revoked.Sealed, deleted.Sealed = []byte("of the one"), []byte("of the other")
	put(w, deputy.Tx.Grants, revoked, deleted, bare)
	end := func(g *deputy.Grant) { g.Status = deputy.Revoked }
	alter(w, deputy.Tx.Grants, revoked.ID, end)
	alter(w, deputy.Tx.Grants, bare.ID, end)
	drop(w, deputy.Tx.Grants, deleted.ID)
	if g := sure(w.Grants().Get(w.ctx, w.in, revoked.ID)); len(g.Sealed) != 0 {
		w.Errorf("a revoked grant keeps %q", g.Sealed)
	}
	got := map[deputy.ID]string{}
	for _, t := range sure(w.ClaimTasks(w.ctx, []string{deputy.TaskRevokeGrant}, 10, time.Minute)) {
		var of deputy.GrantRevocation
		if err := json.Unmarshal(t.Data, &of); err != nil || t.ZoneID != w.zone.ID || of.ProviderID != "p" || of.OrganizationID != w.org.ID || of.UserID == "" {
			w.Errorf("the task is %+v %s, %v", t, t.Data, err)
		}
		got[of.GrantID] = string(of.Sealed)
	}
	w.same(map[deputy.ID]string{revoked.ID: "of the one", deleted.ID: "of the other"}, got)
	alter(w, deputy.Tx.Grants, revoked.ID, func(g *deputy.Grant) { g.Scopes = []string{"x"} })
	if again := sure(w.ClaimTasks(w.ctx, []string{deputy.TaskRevokeGrant}, 10, time.Minute)); len(again) != 0 {
		w.Errorf("enqueued again: %+v", again)
	}
}

// alter changes an entity.
func alter[T any](w *world, in func(deputy.Tx) deputy.Writes[T], id deputy.ID, change func(*T)) {
	w.Helper()
	w.insert(func(t deputy.Tx) error {
		_, err := in(t).Update(w.ctx, w.in, id, func(e *T) error {
			change(e)
			return nil
		})
		return err
	})
}
