package store

import (
	"cmp"
	"slices"
	"sync"

	"deputy/internal/deputy"
)

// tails holds the index entries of what this node appended last, so that the
// index need not read it back: on the one node of a small installation all
// there is. Where other nodes append to the same log, or many logs are written
// at once, it holds only some, and the log is read.
type tails struct {
	mu   sync.Mutex
	logs map[deputy.OrganizationID][]pair // each in order and without a gap
	held int                              // entries of all logs
}

// maxTail bounds the entries held, of 16 bytes each. Normally there are those
// of a second or two.
const maxTail = 1 << 17

// add takes in the entries of events that were appended to a log.
func (t *tails) add(organization deputy.OrganizationID, pairs []pair) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.logs == nil || t.held+len(pairs) > maxTail {
		t.logs, t.held = make(map[deputy.OrganizationID][]pair), 0
	}
	log := t.logs[organization]
	if n := len(log); n > 0 && log[n-1].seq+1 != pairs[0].seq { // another node was faster
		t.held -= n
		log = log[:0]
	}
	t.logs[organization] = append(log, pairs...)
	t.held += len(pairs)
}

// take returns a copy of the entries of up to limit events that follow a
// sequence number, and forgets all before them; nil where the next is not held.
func (t *tails) take(organization deputy.OrganizationID, after int64, limit int) []pair {
	t.mu.Lock()
	defer t.mu.Unlock()
	log := t.logs[organization]
	if len(log) == 0 || log[0].seq > after+1 || log[len(log)-1].seq <= after {
		return nil
	}
	from := func(seq int64) int {
		i, _ := slices.BinarySearchFunc(log, seq, func(p pair, seq int64) int { return cmp.Compare(p.seq, seq) })
		return i
	}
	spent := from(after + 1)
	t.held -= spent
	log = slices.Delete(log, 0, spent)
	t.logs[organization] = log
	return slices.Clone(log[:from(after+1+int64(limit))])
}
