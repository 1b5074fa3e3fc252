package store

import (
	"context"
	"time"
)

// Backlog is what waits to be done behind the answers.
type Backlog struct {
	// Tasks are the tasks that are due and not leased, by kind.
	Tasks map[string]DueTasks
	// Unindexed is by how many events the index of the log that is the furthest
	// behind lacks what was appended, Ungrown so of its tree.
	Unindexed, Ungrown int64
}

// DueTasks are the due tasks of one kind, and since when the oldest is due.
type DueTasks struct {
	Due    int64
	Oldest time.Time
}

// Backlog returns what waits to be done.
func (s *Store) Backlog(ctx context.Context) (b Backlog, err error) {
	b.Tasks = map[string]DueTasks{}
	err = s.readers.consistent(ctx, func(q querier) error {
		err := rows(ctx, q, "SELECT kind, COUNT(*), MIN(run_at) FROM tasks WHERE run_at <= $1 AND lease_until <= $1 GROUP BY kind",
			[]any{s.now().UnixMicro()}, func(scan func(...any) error) error {
				var kind string
				var due DueTasks
				err := scan(&kind, &due.Due, micros{&due.Oldest})
				b.Tasks[kind] = due
				return err
			})
		if err != nil {
			return err
		}
		if err := row(ctx, q, "SELECT COALESCE(MAX(h.last_seq - COALESCE(i.indexed_seq, 0)), 0) FROM event_heads h"+
			" LEFT JOIN event_indexed i ON i.organization_id = h.organization_id", nil, &b.Unindexed); err != nil {
			return err
		}
		return row(ctx, q, "SELECT COALESCE(MAX(h.last_seq - COALESCE(t.size, 0)), 0) FROM event_heads h"+
			" LEFT JOIN event_trees t ON t.organization_id = h.organization_id", nil, &b.Ungrown)
	})
	return b, s.fault(err)
}
