package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"slices"

	"deputy/internal/deputy"
)

// The index is a list of sorted runs: each covers a stretch of a log and holds
// (hash of a term, sequence number) for everything that each event in it is found
// by, sorted, in chunks. New runs are of level 0; mergeRuns neighbours of one
// level become one of the next.
const (
	minRun    = 4096 // events; a shorter tail is scanned
	mergeRuns = 8
	maxLevel  = 1
	chunkSize = 512 // entries of 16 bytes
)

// pair is an entry of the index.
type pair struct{ hash, seq int64 }

func comparePairs(a, b pair) int {
	return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.seq, b.seq))
}

// indexedUntil returns how far the index of an organization's log reaches.
func indexedUntil(ctx context.Context, q querier, organization deputy.OrganizationID, lock string) (seq int64, err error) {
	err = row(ctx, q, "SELECT indexed_seq FROM event_indexed WHERE organization_id = $1"+lock, []any{string(organization)}, &seq)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return seq, err
}

// runsWithin returns the runs that reach into from to to, in the order of the log.
func runsWithin(ctx context.Context, q querier, organization deputy.OrganizationID, from, to int64) (out []run, err error) {
	err = rows(ctx, q, "SELECT run, last_seq, level FROM event_runs WHERE organization_id = $1 AND run <= $2 AND last_seq >= $3 ORDER BY run",
		[]any{string(organization), to, from}, func(scan func(...any) error) error {
			var r run
			err := scan(&r.first, &r.last, &r.level)
			out = append(out, r)
			return err
		})
	return out, err
}

// lookUp returns the sequence numbers that a run has for any of the hashes, in
// ascending order.
func lookUp(ctx context.Context, q querier, organization deputy.OrganizationID, run int64, hashes []int64) (seqs []int64, err error) {
	for _, hash := range hashes {
		// From the last chunk that may hold the hash back to the first.
		err := rows(ctx, q, "SELECT entries FROM event_run_chunks WHERE organization_id = $1 AND run = $2 AND first_hash <= $3"+
			" AND first_hash >= COALESCE((SELECT MAX(first_hash) FROM event_run_chunks WHERE organization_id = $1 AND run = $2 AND first_hash < $3), $3)",
			[]any{string(organization), run, hash}, func(scan func(...any) error) error {
				var b []byte
				if err := scan(&b); err != nil {
					return err
				}
				pairs := decodePairs(b)
				i, _ := slices.BinarySearchFunc(pairs, pair{hash: hash}, comparePairs)
				for ; i < len(pairs) && pairs[i].hash == hash; i++ {
					seqs = append(seqs, pairs[i].seq)
				}
				return nil
			})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(seqs)
	return slices.Compact(seqs), nil
}

func encodePairs(pairs []pair) []byte {
	b := make([]byte, 0, 16*len(pairs))
	for _, p := range pairs {
		b = binary.BigEndian.AppendUint64(b, uint64(p.hash))
		b = binary.BigEndian.AppendUint64(b, uint64(p.seq))
	}
	return b
}

func decodePairs(b []byte) []pair {
	pairs := make([]pair, 0, len(b)/16)
	for ; len(b) >= 16; b = b[16:] {
		pairs = append(pairs, pair{int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:]))})
	}
	return pairs
}

// IndexEvents builds the index further: about limit events of the log of which
// it lacks most, or a merge of runs. It reports whether there is more to do here.
// Any node may call it, and one at a time works; when it stops half way nothing
// is lost, because what is not indexed is scanned.
func (s *Store) IndexEvents(ctx context.Context, limit int) (more bool, err error) {
	err = s.readers.solely(ctx, "the index of the log", func() (err error) {
		more, err = s.indexEvents(ctx, limit)
		return err
	})
	return more, s.fault(err)
}

func (s *Store) indexEvents(ctx context.Context, limit int) (more bool, err error) {
	organization, indexed, err := s.behind(ctx)
	if organization == "" || err != nil {
		return false, err
	}
	pairs, err := s.pairsAfter(ctx, organization, indexed, max(limit, minRun))
	if err != nil || len(pairs) == 0 {
		return false, err
	}
	last := pairs[len(pairs)-1].seq
	slices.SortFunc(pairs, comparePairs) // not in the transaction, in which others wait
	pairs = slices.Compact(pairs)
	err = s.work(ctx, func(x *tx) error {
		if indexed == 0 { // a row that is not there keeps nobody waiting
			if _, err := x.exec(x.ctx, "INSERT INTO event_indexed (organization_id, indexed_seq) VALUES ($1, 0) ON CONFLICT (organization_id) DO NOTHING", string(organization)); err != nil {
				return err
			}
		}
		now, err := indexedUntil(x.ctx, x, organization, x.store.d.forUpdate)
		if err != nil || now != indexed {
			return err // somebody else was faster
		}
		if err := putRun(x, organization, 0, indexed+1, last, pairs); err != nil {
			return err
		}
		_, err = x.exec(x.ctx, "UPDATE event_indexed SET indexed_seq = $1 WHERE organization_id = $2", last, string(organization))
		return err
	})
	if err == nil {
		err = s.mergeRuns(ctx, organization)
	}
	if err != nil {
		return false, err
	}
	organization, _, err = s.behind(ctx)
	return organization != "", err
}

// behind returns the organization whose index lacks most, if that is a run.
func (s *Store) behind(ctx context.Context) (organization deputy.OrganizationID, indexed int64, err error) {
	err = s.readers.with(ctx, func(q querier) error {
		return row(ctx, q, "SELECT h.organization_id, COALESCE(i.indexed_seq, 0) FROM event_heads h"+
			" LEFT JOIN event_indexed i ON i.organization_id = h.organization_id"+
			" WHERE h.last_seq - COALESCE(i.indexed_seq, 0) >= $1 ORDER BY h.last_seq - COALESCE(i.indexed_seq, 0) DESC LIMIT 1", []any{minRun}, &organization, &indexed)
	})
	return organization, indexed, missing(err, nil)
}

// pairsAfter returns the entries of up to limit events after a sequence
// number, in the order of the log.
func (s *Store) pairsAfter(ctx context.Context, organization deputy.OrganizationID, after int64, limit int) (pairs []pair, err error) {
	if pairs := s.writer.tails.take(organization, after, limit); pairs != nil {
		return pairs, nil
	}
	err = s.readers.consistent(ctx, func(q querier) error {
		l := &eventLog{ctx: ctx, q: q, EventQuery: deputy.EventQuery{Organization: organization}}
		return l.scan(after+1, after+int64(limit), true, func(e *entry) error {
			event, err := e.event()
			if err == nil {
				event.Terms(func(t deputy.Term, value string) { pairs = append(pairs, pair{hashTerm(t, value), e.seq}) })
			}
			return err
		})
	})
	return pairs, err
}

// putRun writes a run of the entries, which are sorted.
func putRun(x *tx, organization deputy.OrganizationID, level, run, last int64, pairs []pair) error {
	if _, err := x.exec(x.ctx, "INSERT INTO event_runs (organization_id, run, last_seq, level) VALUES ($1, $2, $3, $4)",
		string(organization), run, last, level); err != nil {
		return err
	}
	number := 0
	for chunk := range slices.Chunk(pairs, chunkSize) {
		if _, err := x.exec(x.ctx, "INSERT INTO event_run_chunks (organization_id, run, first_hash, chunk, entries) VALUES ($1, $2, $3, $4, $5)",
			string(organization), run, chunk[0].hash, number, encodePairs(chunk)); err != nil {
			return err
		}
		number++
	}
	return nil
}

// run is a stretch of a log that is indexed together.
type run struct{ first, last, level int64 }

// mergeRuns makes one run of the newest ones, when enough of them have the
// same level, and again while that makes enough of the next.
func (s *Store) mergeRuns(ctx context.Context, organization deputy.OrganizationID) error {
	for {
		var newest []run
		var pairs []pair
		err := s.readers.consistent(ctx, func(q querier) (err error) {
			newest, pairs, err = mergeable(ctx, q, organization)
			return err
		})
		if err != nil || len(newest) < mergeRuns {
			return err
		}
		first, last := newest[len(newest)-1].first, newest[0].last
		slices.SortFunc(pairs, comparePairs)
		err = s.work(ctx, func(x *tx) error {
			for _, r := range newest {
				n, err := x.exec(x.ctx, "DELETE FROM event_runs WHERE organization_id = $1 AND run = $2 AND last_seq = $3",
					string(organization), r.first, r.last)
				if err == nil && n == 0 {
					err = deputy.Errorf(deputy.Stale, "another node merged these runs")
				}
				if err != nil {
					return err
				}
				if _, err := x.exec(x.ctx, "DELETE FROM event_run_chunks WHERE organization_id = $1 AND run = $2", string(organization), r.first); err != nil {
					return err
				}
			}
			return putRun(x, organization, newest[0].level+1, first, last, pairs)
		})
		if deputy.KindOf(err) == deputy.Stale {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// mergeable returns the newest runs and their entries, when they are enough of
// one level to be merged.
func mergeable(ctx context.Context, q querier, organization deputy.OrganizationID) (newest []run, pairs []pair, err error) {
	err = rows(ctx, q, "SELECT run, last_seq, level FROM event_runs WHERE organization_id = $1 ORDER BY run DESC LIMIT $2",
		[]any{string(organization), mergeRuns}, func(scan func(...any) error) error {
			var r run
			err := scan(&r.first, &r.last, &r.level)
			newest = append(newest, r)
			return err
		})
	if err != nil || len(newest) < mergeRuns || newest[0].level >= maxLevel ||
		slices.ContainsFunc(newest, func(r run) bool { return r.level != newest[0].level }) {
		return nil, nil, err
	}
	for _, r := range newest {
		chunks, err := column[[]byte](ctx, q, "SELECT entries FROM event_run_chunks WHERE organization_id = $1 AND run = $2", string(organization), r.first)
		if err != nil {
			return nil, nil, err
		}
		for _, b := range chunks {
			pairs = append(pairs, decodePairs(b)...)
		}
	}
	return newest, pairs, nil
}
