package store

import (
	"context"
	"time"

	"deputy/internal/deputy"
)

var tasks = declare(table[deputy.Task]{
	relation: relation{name: "tasks", noun: "task"},
	fields: func(t *deputy.Task) []field {
		return []field{
			{"id", &t.ID},
			{"kind", &t.Kind},
			{"zone_id", &t.ZoneID},
			{"data", &t.Data},
			{"run_at", micros{&t.RunAt}},
			{"attempt", &t.Attempt},
		}
	},
	// Nobody has a new task.
	search: func(*deputy.Task) []field { return []field{{"lease_until", number(0)}} },
	stamp:  func(*deputy.Task) (*int64, *time.Time) { return nil, nil },
})

func (x *tx) Enqueue(_ context.Context, t deputy.Task) error { return tasks.insert(x.ctx, x, &t) }

// ClaimTasks leases due tasks of the kinds until now+lease. Each claim counts
// up the attempt, which is what later tells the holder from those before.
func (s *Store) ClaimTasks(ctx context.Context, kinds []string, limit int, lease time.Duration) (claimed []deputy.Task, err error) {
	if len(kinds) == 0 || limit <= 0 {
		return nil, nil
	}
	err = s.work(ctx, func(x *tx) error {
		claimed = nil
		b := &statement{}
		now := b.arg(x.now.UnixMicro())
		// Materialized, because a planner may run what is inside IN more than once,
		// and each time others are not locked.
		b.WriteString("WITH due AS MATERIALIZED (SELECT id FROM tasks WHERE run_at <= " + now + " AND lease_until <= " + now + " AND kind IN ")
		b.all(texts(kinds))
		b.WriteString(" ORDER BY run_at, id LIMIT " + b.arg(limit) + x.store.d.skipLocked + ") UPDATE tasks SET lease_until = " +
			b.arg(x.now.Add(lease).UnixMicro()) + ", attempt = attempt + 1 WHERE id IN (SELECT id FROM due) RETURNING " + tasks.selected)
		return rows(x.ctx, x, b.String(), b.args, func(scan func(...any) error) error {
			var t deputy.Task
			err := scan(tasks.places(&t)...)
			claimed = append(claimed, t)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return claimed, nil
}

// FinishTask removes a claimed task, or makes it due again.
func (s *Store) FinishTask(ctx context.Context, t deputy.Task, again time.Time) error {
	return s.work(ctx, func(x *tx) error {
		text, args := "DELETE FROM tasks WHERE id = $1 AND attempt = $2 AND lease_until > 0", []any{string(t.ID), t.Attempt}
		if !again.IsZero() {
			text = "UPDATE tasks SET run_at = $3, lease_until = 0 WHERE id = $1 AND attempt = $2 AND lease_until > 0"
			args = append(args, again.UnixMicro())
		}
		n, err := x.exec(x.ctx, text, args...)
		if err == nil && n == 0 {
			return deputy.Errorf(deputy.Stale, "the lease of the task was lost")
		}
		return err
	})
}
