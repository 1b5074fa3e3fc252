package storetest

import (
	"fmt"
	"sync"

	"deputy/internal/deputy"
)

var rootKeys = map[string]func(*world){
	"a root key is replaced key by key": replacedRoot,
	"a zone's key goes with it":         zoneKeyGone,
}

const metaRootKey = "root_key_fingerprint"

func replacedRoot(w *world) {
	sure(w.Remember(w.ctx, metaRootKey, "one"))
	add := func(kek string, parent deputy.ID) (deputy.DataKey, error) {
		k := deputy.DataKey{ID: w.newID(), OwnerID: "o", ParentID: parent, KEK: kek, Wrapped: []byte(kek + string(w.newID())), CreatedAt: w.tick()}
		return k, w.write(func(t deputy.Tx) error { return t.InsertDataKey(w.ctx, k) })
	}
	first, second := sure(add("one", "")), sure(add("one", ""))
	theirs, below := sure(add("aws:o:arn", "")), sure(add("", first.ID))
	_, err := add("two", "")
	w.is(err, deputy.Unavailable)

	w.is(w.ReplaceRootKey(w.ctx, "other", "two"), deputy.Conflict)
	w.must(w.ReplaceRootKey(w.ctx, "one", "two"))
	w.must(w.ReplaceRootKey(w.ctx, "one", "two"))
	w.is(w.ReplaceRootKey(w.ctx, "two", "three"), deputy.Conflict)
	_, err = add("one", "") // nothing new under the former one, from any node
	w.is(err, deputy.Unavailable)
	third := sure(add("two", ""))
	w.same([]deputy.DataKey{first}, sure(w.DataKeysUnder(w.ctx, "one", 1)))
	w.same([]deputy.DataKey{first, second}, sure(w.DataKeysUnder(w.ctx, "one", 10)))
	w.is(w.RetireRootKey(w.ctx, w.event(), "one"), deputy.Conflict)

	again := func(k deputy.DataKey) deputy.DataKey {
		k.KEK, k.Wrapped = "two", []byte("two "+string(k.ID))
		return k
	}
	stale := first
	stale.Wrapped = []byte("what it was never")
	gone := first
	gone.ID = "gone"
	w.is(w.write(func(t deputy.Tx) error { return t.RewrapDataKey(w.ctx, stale, again(first)) }), deputy.Conflict)
	w.is(w.write(func(t deputy.Tx) error { return t.RewrapDataKey(w.ctx, gone, again(first)) }), deputy.NotFound)
	back := first
	back.Wrapped = []byte("by the former one")
	w.is(w.write(func(t deputy.Tx) error { return t.RewrapDataKey(w.ctx, first, back) }), deputy.Unavailable)
	w.must(w.Rewrap(w.ctx, []deputy.DataKey{stale, gone, first, second}, []deputy.DataKey{again(first), again(first), again(first), again(second)}))
	w.same(again(first), sure(w.DataKey(w.ctx, first.ID)))
	w.same(theirs, sure(w.DataKey(w.ctx, theirs.ID)))
	w.same(below, sure(w.DataKey(w.ctx, below.ID)))
	w.must(w.RetireRootKey(w.ctx, w.event(), "one"))
	w.is(w.RetireRootKey(w.ctx, w.event(), "one"), deputy.Conflict)
	w.same([]deputy.DataKey{again(first), again(second), third}, sure(w.DataKeysUnder(w.ctx, "two", 10)))

	// Whoever inserts while another node replaces it is before or after it.
	var wait sync.WaitGroup
	other := w.node()
	wait.Go(func() {
		if err := other.ReplaceRootKey(w.ctx, "two", "three"); err != nil {
			w.Error(err)
		}
	})
	for n := range 20 {
		k := deputy.DataKey{ID: w.newID(), OwnerID: "o", KEK: "two", Wrapped: []byte(fmt.Sprint(n)), CreatedAt: w.tick()}
		wait.Go(func() {
			if err := w.write(func(t deputy.Tx) error { return t.InsertDataKey(w.ctx, k) }); err != nil && deputy.KindOf(err) != deputy.Unavailable {
				w.Error(err)
			}
		})
	}
	wait.Wait()
	left := sure(w.DataKeysUnder(w.ctx, "two", 100))
	now := make([]deputy.DataKey, len(left))
	for i, k := range left {
		now[i] = k
		now[i].KEK, now[i].Wrapped = "three", []byte("three "+string(k.ID))
	}
	w.must(w.Rewrap(w.ctx, left, now))
	w.must(w.RetireRootKey(w.ctx, w.event(), "two"))
}

func zoneKeyGone(w *world) {
	z := w.newZone("Doomed")
	key := deputy.DataKey{ID: w.newID(), OwnerID: deputy.ID(z.ID), Wrapped: []byte{1}, CreatedAt: w.tick()}
	z.KeyID = key.ID
	w.insert(
		func(t deputy.Tx) error { return t.InsertDataKey(w.ctx, key) },
		func(t deputy.Tx) error { return t.Zones().Insert(w.ctx, z) },
	)
	w.same(key, sure(w.DataKey(w.ctx, key.ID)))
	w.must(w.write(func(t deputy.Tx) error {
		return t.Zones().Delete(w.ctx, deputy.Scope{Organization: z.OrganizationID}, deputy.ID(z.ID))
	}))
	_, err := w.DataKey(w.ctx, key.ID)
	w.is(err, deputy.NotFound)
}
