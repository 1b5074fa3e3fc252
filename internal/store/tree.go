package store

import (
	"context"
	"database/sql"
	"errors"

	"golang.org/x/mod/sumdb/tlog"

	"deputy/internal/deputy"
)

// The tree of a log (RFC 6962 §2.1) is kept from height blockHeight up: one row
// for each complete subtree, written behind the log. What lies below is made
// from the leaves of its segments, and so is the right edge, as far as nothing
// is written yet.
const (
	blockHeight = 8
	blockSize   = 1 << blockHeight // leaves
)

// treeOf reads the hashes of a log's tree.
type treeOf struct {
	ctx          context.Context
	q            querier
	organization deputy.OrganizationID
	kept         int64 // leaves whose subtrees are rows
	blocks       map[int64][][32]byte
}

func openTree(ctx context.Context, q querier, organization deputy.OrganizationID) (*treeOf, error) {
	t := &treeOf{ctx: ctx, q: q, organization: organization, blocks: map[int64][][32]byte{}}
	var err error
	t.kept, err = keptLeaves(ctx, q, organization, "")
	return t, err
}

// keptLeaves returns how many leaves of a log have their subtrees written.
func keptLeaves(ctx context.Context, q querier, organization deputy.OrganizationID, lock string) (n int64, err error) {
	err = row(ctx, q, "SELECT size FROM event_trees WHERE organization_id = $1"+lock, []any{string(organization)}, &n)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return n, err
}

// ReadHashes implements tlog.HashReader.
func (t *treeOf) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, 0, len(indexes))
	for _, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		h, err := t.hash(level, n)
		if err != nil {
			return nil, err
		}
		out = append(out, h)
	}
	return out, nil
}

// hash returns the root of the complete subtree of a height, number n of them.
func (t *treeOf) hash(level int, n int64) (h tlog.Hash, err error) {
	switch {
	case level == 0:
		block, err := t.block(n / blockSize)
		if err == nil && n%blockSize >= int64(len(block)) {
			err = errSegment
		}
		if err != nil {
			return h, err
		}
		return block[n%blockSize], nil
	case level >= blockHeight && (n+1)<<level <= t.kept:
		var b []byte
		err = row(t.ctx, t.q, "SELECT hash FROM event_nodes WHERE organization_id = $1 AND level = $2 AND n = $3",
			[]any{string(t.organization), level, n}, &b)
		if err == nil && len(b) != len(h) {
			err = errSegment
		}
		if err != nil {
			return h, err
		}
		return tlog.Hash(b), nil
	}
	left, err := t.hash(level-1, 2*n)
	if err != nil {
		return h, err
	}
	right, err := t.hash(level-1, 2*n+1)
	return tlog.NodeHash(left, right), err
}

// block returns the leaves of block n, as many as there are.
func (t *treeOf) block(n int64) ([][32]byte, error) {
	if b, ok := t.blocks[n]; ok {
		return b, nil
	}
	b, err := leaves(t.ctx, t.q, t.organization, n*blockSize+1, (n+1)*blockSize)
	t.blocks[n] = b
	return b, err
}

// leaves returns the leaf hashes of a stretch of a log, as far as it reaches.
func leaves(ctx context.Context, q querier, organization deputy.OrganizationID, from, to int64) (out [][32]byte, err error) {
	err = rows(ctx, q, "SELECT first_seq, leaves FROM event_segments WHERE organization_id = $1 AND first_seq <= $2 AND first_seq >= COALESCE("+
		"(SELECT MAX(first_seq) FROM event_segments WHERE organization_id = $1 AND first_seq <= $3), 0) ORDER BY first_seq",
		[]any{string(organization), to, from}, func(scan func(...any) error) error {
			var seq int64
			var b []byte
			if err := scan(&seq, &b); err != nil {
				return err
			}
			for ; len(b) >= 32; b, seq = b[32:], seq+1 {
				if seq >= from && seq <= to {
					out = append(out, [32]byte(b))
				}
			}
			return nil
		})
	return out, err
}

// LogState returns the size and root of an organization's log, and the hashes
// that prove that it continues what it was at an earlier size (RFC 6962 §2.1.2),
// none when since is 0. A size that it has not had yet is Invalid.
func (s *Store) LogState(ctx context.Context, organization deputy.OrganizationID, since int64) (state deputy.LogState, err error) {
	err = s.readers.consistent(ctx, func(q querier) error {
		t, err := openTree(ctx, q, organization)
		if err != nil {
			return err
		}
		if state, err = t.state(); err != nil || since == 0 {
			return err
		}
		if since < 0 || since > state.Size {
			return deputy.Bad("since_size", "the log has only %d events", state.Size)
		}
		proof, err := tlog.ProveTree(state.Size, since, t)
		state.Proof = plain(proof)
		return err
	})
	return state, s.fault(err)
}

func (t *treeOf) state() (s deputy.LogState, err error) {
	h, err := headOf(t.ctx, t.q, t.organization)
	if err != nil {
		return s, err
	}
	root, err := tlog.TreeHash(h.last, t)
	return deputy.LogState{Size: h.last, Root: root}, err
}

func plain(proof []tlog.Hash) [][32]byte {
	out := make([][32]byte, 0, len(proof))
	for _, h := range proof {
		out = append(out, h)
	}
	return out
}

// ProveEvent returns one event as Event does, and the state of its log with the
// hashes that prove that the event is in it (RFC 6962 §2.1.1).
func (s *Store) ProveEvent(ctx context.Context, organization deputy.OrganizationID, zone deputy.ZoneID, id deputy.EventID) (r *deputy.Record, state deputy.LogState, err error) {
	err = s.readers.consistent(ctx, func(q querier) error {
		if r, err = eventIn(ctx, q, organization, zone, id); err != nil {
			return err
		}
		t, err := openTree(ctx, q, organization)
		if err != nil {
			return err
		}
		if state, err = t.state(); err != nil {
			return err
		}
		proof, err := tlog.ProveRecord(state.Size, r.Seq-1, t)
		state.Proof = plain(proof)
		return err
	})
	return r, state, s.fault(err)
}

// LogEntries returns up to limit events of a log from a sequence number on, in
// its order; of events of another zone than the one asked for, or made before
// since, only where they are and their hash.
func (s *Store) LogEntries(ctx context.Context, q deputy.LogQuery) (out []deputy.LogEntry, err error) {
	err = s.readers.consistent(ctx, func(r querier) error {
		out = nil
		l := &eventLog{ctx: ctx, q: r, EventQuery: deputy.EventQuery{Organization: q.Organization}}
		return l.scan(q.From, q.From+int64(q.Limit)-1, true, func(e *entry) error {
			shown := deputy.LogEntry{Seq: e.seq, Leaf: e.leaf}
			if (q.Zone == "" || e.zone == q.Zone) && !e.at.Before(q.Since) {
				shown.Record = e.bytes
			}
			out = append(out, shown)
			return nil
		})
	})
	return out, s.fault(err)
}

// GrowTree writes further subtrees of the tree that is furthest behind its log,
// of up to limit blocks. It reports whether there is more to do here. Any node
// may call it, and one at a time works; when it stops half way nothing is lost,
// because what is not written is computed.
func (s *Store) GrowTree(ctx context.Context, limit int) (more bool, err error) {
	err = s.readers.solely(ctx, "the tree of the log", func() (err error) {
		more, err = s.growTree(ctx, limit)
		return err
	})
	return more, s.fault(err)
}

func (s *Store) growTree(ctx context.Context, limit int) (more bool, err error) {
	var organization deputy.OrganizationID
	var kept int64
	err = s.readers.with(ctx, func(q querier) error {
		return row(ctx, q, "SELECT h.organization_id, COALESCE(t.size, 0) FROM event_heads h"+
			" LEFT JOIN event_trees t ON t.organization_id = h.organization_id"+
			" WHERE h.last_seq - COALESCE(t.size, 0) >= $1 ORDER BY h.last_seq - COALESCE(t.size, 0) DESC LIMIT 1", []any{blockSize}, &organization, &kept)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	nodes, size, err := s.newNodes(ctx, organization, kept, limit)
	if err != nil {
		return false, err
	}
	err = s.work(ctx, func(x *tx) error {
		now, err := keptLeaves(x.ctx, x, organization, x.store.d.forUpdate)
		if err != nil || now != kept {
			return err // somebody else was faster
		}
		if _, err := x.exec(x.ctx, "INSERT INTO event_trees (organization_id, size) VALUES ($1, $2)"+
			" ON CONFLICT (organization_id) DO UPDATE SET size = excluded.size", string(organization), size); err != nil {
			return err
		}
		var calls []call // others wait
		for _, n := range nodes {
			calls = append(calls, call{text: "INSERT INTO event_nodes (organization_id, level, n, hash) VALUES ($1, $2, $3, $4)" +
				" ON CONFLICT DO NOTHING", // a node of the release before may have been as fast, and came to the same
				args: []any{string(organization), n.level, n.n, n.hash[:]}})
		}
		x.statements += len(calls)
		_, err = x.link.together(x.ctx, calls...)
		return err
	})
	return err == nil, err
}

// node is the root of a complete subtree.
type node struct {
	level int
	n     int64
	hash  tlog.Hash
}

// newNodes makes the subtrees that complete with up to limit blocks behind the
// leaves kept, and returns how many leaves are then.
func (s *Store) newNodes(ctx context.Context, organization deputy.OrganizationID, kept int64, limit int) (nodes []node, size int64, err error) {
	err = s.readers.consistent(ctx, func(q querier) error {
		nodes, size = nil, kept
		t := &treeOf{ctx: ctx, q: q, organization: organization, kept: kept, blocks: map[int64][][32]byte{}}
		made := map[[2]int64]tlog.Hash{}
		get := func(level int, n int64) (tlog.Hash, error) {
			if h, ok := made[[2]int64{int64(level), n}]; ok {
				return h, nil
			}
			return t.hash(level, n)
		}
		for range limit {
			n := size / blockSize
			block, err := t.block(n)
			if err != nil || len(block) < blockSize {
				return err
			}
			h, err := t.hash(blockHeight, n)
			for level := blockHeight; err == nil; level, n = level+1, n>>1 {
				made[[2]int64{int64(level), n}] = h
				nodes = append(nodes, node{level, n, h})
				if n&1 == 0 {
					break
				}
				var left tlog.Hash
				if left, err = get(level, n-1); err == nil {
					h = tlog.NodeHash(left, h)
				}
			}
			if err != nil {
				return err
			}
			delete(t.blocks, size/blockSize)
			size += blockSize
		}
		return nil
	})
	return nodes, size, err
}
