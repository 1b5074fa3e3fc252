package store

import (
	"context"
	"log/slog"
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
		if !c.s.archive.prepare() {
			continue
		}
		if c.shred.Load() && c.s.archive.following() {
			c.rest.Store(true)
			c.nudge()
			continue
		}
		if c.shred.CompareAndSwap(true, false) {
			if empty, err := c.s.emptied(context.Background()); err != nil || !empty {
				c.shred.Store(true)
			}
			continue
		}
		err := c.s.writing.with(context.Background(), func(q querier) error {
			for range 2 { // the second moves what came during the first
				if err := checkpoint(q); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			c.s.log.Warn("a checkpoint failed", slog.Any("error", err))
		}
		c.rest.Store(true)
	}
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
	if c == nil || !c.rest.CompareAndSwap(true, false) {
		return
	}
	var err error
	if c.s.archive.following() {
		cut := c.shred.Load()
		var done bool
		if done, err = c.s.archive.turn(q, cut); done {
			c.shred.Store(false)
		}
	} else {
		err = checkpoint(q)
	}
	if err != nil {
		c.s.log.Warn("a checkpoint failed", slog.Any("error", err))
	}
}

func checkpoint(q querier) error {
	_, err := q.exec(context.Background(), "PRAGMA wal_checkpoint(PASSIVE)")
	return err
}

func (c *checkpoints) close() {
	if c != nil {
		close(c.stop)
		<-c.gone
	}
}
