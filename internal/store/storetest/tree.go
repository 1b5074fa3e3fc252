package storetest

import (
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"deputy/internal/deputy"
)

var trees = map[string]func(*world){
	"a log is a tree, grown or not":             treeOfLog,
	"every event is proven in its log":          provenEvents,
	"a log continues what it was":               consistentLog,
	"entries show what was asked for":           logEntries,
	"trees grow by several nodes without a gap": growByMany,
}

// model is the tree of the log as it is, made of its leaves alone.
func (w *world) model(all []*deputy.Record) (root func(size int64) tlog.Hash) {
	var hashes []tlog.Hash
	read := tlog.HashReaderFunc(func(at []int64) (out []tlog.Hash, err error) {
		for _, i := range at {
			out = append(out, hashes[i])
		}
		return out, nil
	})
	for i, r := range all {
		hashes = append(hashes, sure(tlog.StoredHashesForRecordHash(int64(i), r.Leaf, read))...)
	}
	return func(size int64) tlog.Hash { return sure(tlog.TreeHash(size, read)) }
}

func treeOfLog(w *world) {
	empty := sure(w.LogState(w.ctx, "another organization", 0))
	if empty.Size != 0 || empty.Root != sure(tlog.TreeHash(0, nil)) {
		w.Errorf("an empty log: %+v", empty)
	}
	for range 4 {
		all := w.fill(300)
		root := w.model(all)
		for range 2 { // before and after growing
			s := sure(w.LogState(w.ctx, w.org.ID, 0))
			if s.Size != int64(len(all)) || s.Root != root(s.Size) || s.Proof != nil {
				w.Errorf("%d events: %+v", len(all), s)
			}
			for sure(w.GrowTree(w.ctx, 2)) {
			}
		}
	}
}

func provenEvents(w *world) {
	all := w.fill(700)
	grow := func() {
		for sure(w.GrowTree(w.ctx, 64)) {
		}
	}
	for _, then := range []func(){func() {}, grow, func() { w.fill(77) }} {
		then()
		for i := 0; i < len(all); i += 13 {
			e := all[i]
			r, s, err := w.ProveEvent(w.ctx, w.org.ID, e.ZoneID, e.ID)
			w.must(err)
			proof := tlog.RecordProof{}
			for _, h := range s.Proof {
				proof = append(proof, h)
			}
			if err := tlog.CheckRecord(proof, s.Size, s.Root, r.Seq-1, deputy.LeafHash(r.Bytes)); err != nil || r.ID != e.ID || r.Seq != int64(i+1) {
				w.Errorf("event %d of %d: %v", i, s.Size, err)
			}
		}
	}
	_, _, err := w.ProveEvent(w.ctx, w.org.ID, "another zone", all[0].ID)
	w.is(err, deputy.NotFound)
	_, _, err = w.ProveEvent(w.ctx, "another organization", "", all[0].ID)
	w.is(err, deputy.NotFound)
}

func consistentLog(w *world) {
	all := w.fill(600)
	sure(w.GrowTree(w.ctx, 1))
	root := w.model(all)
	for since := int64(1); since <= int64(len(all)); since += 7 {
		s := sure(w.LogState(w.ctx, w.org.ID, since))
		proof := tlog.TreeProof{}
		for _, h := range s.Proof {
			proof = append(proof, h)
		}
		if err := tlog.CheckTree(proof, s.Size, s.Root, since, root(since)); err != nil {
			w.Errorf("since %d: %v", since, err)
		}
	}
	for _, since := range []int64{-1, int64(len(all)) + 1} {
		_, err := w.LogState(w.ctx, w.org.ID, since)
		w.is(err, deputy.Invalid)
	}
}

func logEntries(w *world) {
	all := w.fill(50)
	at := sure(all[20].Event(w.ctx, reversal{})).Time
	for from := int64(1); from <= int64(len(all)); from += 11 {
		for _, q := range []deputy.LogQuery{
			{Organization: w.org.ID, From: from, Limit: 11},
			{Organization: w.org.ID, Zone: w.zone.ID, From: from, Limit: 11},
			{Organization: w.org.ID, Since: at, From: from, Limit: 11},
		} {
			want := []deputy.LogEntry{}
			for _, r := range all[from-1 : min(from+10, int64(len(all)))] {
				e := deputy.LogEntry{Seq: r.Seq, Leaf: r.Leaf}
				if (q.Zone == "" || q.Zone == r.ZoneID) && !sure(r.Event(w.ctx, reversal{})).Time.Before(q.Since) {
					e.Record = r.Bytes
				}
				want = append(want, e)
			}
			w.same(want, sure(w.LogEntries(w.ctx, q)))
		}
	}
	if beyond := sure(w.LogEntries(w.ctx, deputy.LogQuery{Organization: w.org.ID, From: 1000, Limit: 5})); len(beyond) > 0 {
		w.Errorf("beyond the end: %v", beyond)
	}
}

func growByMany(w *world) {
	all := w.fill(1500)
	other := w.node()
	done := make(chan struct{})
	for _, by := range []Store{w.Store, other} {
		go func() {
			defer func() { done <- struct{}{} }()
			for more, err := true, error(nil); more; {
				if more, err = by.GrowTree(w.ctx, 1); err != nil {
					w.Error(err)
					return
				}
				time.Sleep(time.Millisecond)
			}
		}()
	}
	<-done
	<-done
	for _, by := range []Store{w.Store, other} {
		if s := sure(by.LogState(w.ctx, w.org.ID, 0)); s.Root != w.model(all)(s.Size) || s.Size != int64(len(all)) {
			w.Errorf("%+v", s)
		}
	}
}
