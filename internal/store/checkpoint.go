package store

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"deputy/internal/deputy"
)

// checkpoints moves what SQLite wrote to its log into the database file, so
// that the log is written from its beginning again. Most of the work is done
// on a connection of its own, and no write waits for it; but as long as writes
// go on, something is always left, and the log starts again only when nothing
// is. So the writer moves the small rest itself, between two groups.
//
// On PostgreSQL, which does all that alone, it is nil.
type checkpoints struct {
	s       *Store
	after   int64        // bytes: checkpointAfter
	pending atomic.Int64 // bytes written since the last one, roughly
	turns   sync.Mutex   // one of the two works at it
	rest    atomic.Bool  // the writer's part is due
	shred   atomic.Bool  // the log has to be emptied, because of what is in it
	due     chan struct{}
	stop    chan struct{}
	gone    chan struct{}
}

const (
	// checkpointAfter is how much the log holds when it is time: enough that
	// pages written over and over are moved once, little enough to be read
	// quickly after a crash.
	checkpointAfter = 16 << 20
	// statementBytes and commitBytes are what a statement of a change and a
	// commit write beside the events, roughly.
	statementBytes = 2 * 4096
	commitBytes    = 8 * 4096
)

func newCheckpoints(s *Store) *checkpoints {
	c := &checkpoints{s: s, after: checkpointAfter, due: make(chan struct{}, 1), stop: make(chan struct{}), gone: make(chan struct{})}
	go c.run()
	return c
}

// wrote counts a commit.
func (c *checkpoints) wrote(events, statements int) {
	if c == nil || c.pending.Add(int64(events+commitBytes+statements*statementBytes)) < c.after {
		return
	}
	c.pending.Store(0)
	select {
	case c.due <- struct{}{}:
	default:
	}
}

func (c *checkpoints) run() {
	defer close(c.gone)
	for {
		select {
		case <-c.stop:
			return
		case <-c.due:
		case <-c.again():
		}
		waits, err := c.beside(context.Background())
		if err != nil {
			c.s.log.Warn("a checkpoint failed", slog.Any("error", err))
		}
		if waits {
			c.nudge()
		}
	}
}

// beside does what the writer need not do. It reports whether the writer's part
// must not wait until somebody writes.
func (c *checkpoints) beside(ctx context.Context) (waits bool, err error) {
	c.turns.Lock()
	defer c.turns.Unlock()
	err = c.s.archive.beside(func(followed bool) error {
		if !followed && c.shred.CompareAndSwap(true, false) {
			empty, err := c.s.emptied(ctx)
			if err != nil || !empty {
				c.shred.Store(true)
			}
			return err
		}
		c.rest.Store(true)
		if waits = c.shred.Load(); waits {
			return nil
		}
		return c.s.writing.with(ctx, func(q querier) error {
			var last, moved int64
			for range 2 { // the second moves what came during the first
				var err error
				if last, moved, err = checkpoint(ctx, q, "PASSIVE"); err != nil {
					return err
				}
			}
			if followed {
				return c.s.archive.settle(last, moved)
			}
			return nil
		})
	})
	return waits, err
}

// nudge gives the writer something to do, after which its part is done.
func (c *checkpoints) nudge() {
	if err := c.s.work(context.Background(), func(*tx) error { return nil }); err != nil {
		c.s.log.Warn("a checkpoint failed", slog.Any("error", err))
	}
}

// again is when to try once more to empty the log, if it has to be.
func (c *checkpoints) again() <-chan time.Time {
	if !c.shred.Load() {
		return nil
	}
	return time.After(time.Second)
}

// empty has the log emptied soon.
func (c *checkpoints) empty() {
	if c == nil {
		return
	}
	c.shred.Store(true)
	select {
	case c.due <- struct{}{}:
	default:
	}
}

// emptied moves all that is in SQLite's log into the database file and cuts the
// log, unless somebody reads what is only there. Others write again when it is
// done, which is at once.
func (s *Store) emptied(ctx context.Context) (empty bool, err error) {
	err = s.writing.with(ctx, func(q querier) (err error) {
		empty, err = s.emptiedOn(ctx, q)
		return err
	})
	return empty, err
}

// emptiedOn is emptied on a connection that is at hand.
func (s *Store) emptiedOn(ctx context.Context, q querier) (empty bool, err error) {
	if _, err := q.exec(ctx, "PRAGMA busy_timeout = 20"); err != nil {
		return false, err
	}
	defer q.exec(ctx, "PRAGMA busy_timeout = 5000")
	var busy, pages, moved int64
	err = row(ctx, q, "PRAGMA wal_checkpoint(TRUNCATE)", nil, &busy, &pages, &moved)
	return busy == 0, err
}

// forget tells of data keys that were destroyed, and has what is left of them
// overwritten.
func (s *Store) forget(keys []deputy.ID) {
	if s.destroyed != nil {
		for _, k := range keys {
			s.destroyed(k)
		}
	}
	s.checkpoints.empty()
}

// finish does the writer's part, if it is due.
func (c *checkpoints) finish(q querier) {
	if c == nil || !c.rest.Load() || !c.turns.TryLock() {
		return
	}
	defer c.turns.Unlock()
	c.rest.Store(false)
	var err error
	if c.s.archive.following() {
		cut := c.shred.Load()
		var done bool
		if done, err = c.s.archive.turn(q, cut); done {
			c.shred.Store(false)
		}
	} else {
		err = c.s.archive.unfollowed(func() error {
			_, _, err := checkpoint(context.Background(), q, "PASSIVE")
			return err
		})
	}
	if err != nil {
		c.s.log.Warn("a checkpoint failed", slog.Any("error", err))
	}
}

// checkpoint moves what it can without waiting for anybody, or with NOOP nothing.
// It returns how many frames of the log's round are committed and synced, and
// how many of them are in the database file.
func checkpoint(ctx context.Context, q querier, mode string) (last, moved int64, err error) {
	var busy int64
	err = row(ctx, q, "PRAGMA wal_checkpoint("+mode+")", nil, &busy, &last, &moved)
	return last, moved, err
}

func (c *checkpoints) close() {
	if c != nil {
		close(c.stop)
		<-c.gone
	}
}
