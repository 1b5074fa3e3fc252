package store

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// checkpoints moves what SQLite wrote to its log into the database file, on a
// connection of its own, so that no write waits for it. On PostgreSQL, which
// does that itself, it is nil.
type checkpoints struct {
	s       *Store
	pending atomic.Int64 // bytes written since the last one, roughly
	due     chan struct{}
	stop    chan struct{}
	gone    chan struct{}
}

const (
	// checkpointAfter is how much the log holds when it is time: enough that
	// pages written over and over are moved once.
	checkpointAfter = 16 << 20
	// commitPages is what a commit writes beside its events, roughly.
	commitPages = 8 * 4096
)

func newCheckpoints(s *Store) *checkpoints {
	c := &checkpoints{s: s, due: make(chan struct{}, 1), stop: make(chan struct{}), gone: make(chan struct{})}
	go c.run()
	return c
}

// wrote counts a commit of n members.
func (c *checkpoints) wrote(bytes, members int) {
	if c == nil || c.pending.Add(int64(bytes+commitPages)) < checkpointAfter {
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
		}
		err := c.s.writing.with(context.Background(), func(q querier) error {
			_, err := q.exec(context.Background(), "PRAGMA wal_checkpoint(PASSIVE)")
			return err
		})
		if err != nil {
			c.s.log.Warn("a checkpoint failed", slog.Any("error", err))
		}
	}
}

func (c *checkpoints) close() {
	if c != nil {
		close(c.stop)
		<-c.gone
	}
}
