package sink

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"deputy/internal/deputy"
)

// Destination takes batches of events.
type Destination interface {
	// Deliver returns once the destination has the batch, as far as that can be
	// known. The same batch may come again, and then with more events behind.
	Deliver(context.Context, Batch) error
	// Close gives up what is open.
	Close() error
}

// Batch is a stretch of an organization's log.
type Batch struct {
	Organization deputy.OrganizationID
	First, Last  int64
	Events       []*Event
}

// lines returns the events of a batch, each as a line of JSON.
func (b Batch) lines() ([]byte, error) {
	var out []byte
	for _, e := range b.Events {
		line, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		out = append(append(out, line...), '\n')
	}
	return out, nil
}

// Log is what a worker needs of a store: the log, and a durable cursor.
type Log interface {
	LogEntries(context.Context, deputy.LogQuery) ([]deputy.LogEntry, error)
	// LeaseSink takes the lease of a sink for a time and returns its fence; 0 when
	// somebody has it.
	LeaseSink(ctx context.Context, sink string, lease time.Duration) (fence int64, err error)
	// AdvanceSink keeps the lease for a time and notes how far the log of an
	// organization, if one is named, was delivered. It is Stale once the lease was
	// lost.
	AdvanceSink(ctx context.Context, sink string, fence int64, lease time.Duration, organization deputy.OrganizationID, delivered int64) error
	// ReleaseSink lets others have the lease.
	ReleaseSink(ctx context.Context, sink string, fence int64) error
	// SinkHeads returns logs that go on behind what was delivered of them, those
	// first that were served the longest ago.
	SinkHeads(ctx context.Context, sink string, limit int) ([]deputy.SinkHead, error)
}

const (
	lease          = 20 * time.Second
	deliverTimeout = 10 * time.Second // less than the lease
	pause          = time.Second
	maxPause       = 5 * time.Minute
	logsPerRound   = 64
)

// Worker delivers the logs of all organizations to one destination. All fields
// but Personal, Version and Ended are required.
type Worker struct {
	Name string // durable: what its cursors are kept under
	To   Destination
	Log  Log
	// Sealing opens what events know of people; nil leaves it out.
	Sealing deputy.Sealing
	Now     func() time.Time
	// Most bounds a batch. Fewer events are delivered once the first of them has
	// waited for Hold.
	Most    int
	Hold    time.Duration
	Version string // the program's
	Logger  *slog.Logger
	// Ended is called at the end of each delivery.
	Ended func(events int, err error)

	fence    int64 // 0: the lease is not ours
	failures int
}

// Run delivers until ctx ends.
func (w *Worker) Run(ctx context.Context) {
	defer func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		w.release(late)
		if err := w.To.Close(); err != nil {
			w.Logger.Debug("closing a destination of events", "sink", w.Name, "error", err)
		}
	}()
	for {
		more, err := w.Round(ctx)
		wait := pause
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			wait = w.backOff(ctx, err)
		case more:
			wait = 0
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// backOff says what failed, lets another node try, and returns how long to
// wait: a second, then twice as long each time.
func (w *Worker) backOff(ctx context.Context, err error) time.Duration {
	w.failures++
	wait := min(maxPause, pause<<min(w.failures-1, 20))
	w.Logger.Warn("events could not be delivered; it is tried again", "sink", w.Name, "failures", w.failures, "again_in", wait.String(), "cause", err)
	w.release(ctx)
	return wait
}

func (w *Worker) release(ctx context.Context) {
	if w.fence == 0 {
		return
	}
	if err := w.Log.ReleaseSink(ctx, w.Name, w.fence); err != nil && ctx.Err() == nil {
		w.Logger.Debug("a lease of events was not given back", "sink", w.Name, "error", err)
	}
	w.fence = 0
}

// Round delivers a batch of each log that has one, if the lease is ours, and
// reports whether there is more.
func (w *Worker) Round(ctx context.Context) (more bool, err error) {
	if ours, err := w.hold(ctx); !ours || err != nil {
		return false, err
	}
	heads, err := w.Log.SinkHeads(ctx, w.Name, logsPerRound)
	if err != nil {
		return false, err
	}
	for _, h := range heads {
		if h.Last-h.Delivered < int64(w.Most) && w.Now().Sub(h.Since) < w.Hold {
			continue
		}
		last, err := w.deliver(ctx, h)
		if deputy.KindOf(err) == deputy.Stale {
			w.fence = 0 // another node goes on
			return false, nil
		}
		if err != nil {
			return false, err
		}
		w.failures = 0
		more = more || last < h.Last
	}
	return more || len(heads) == logsPerRound, nil
}

// hold makes sure that the lease is ours.
func (w *Worker) hold(ctx context.Context) (ours bool, err error) {
	if w.fence != 0 {
		err := w.Log.AdvanceSink(ctx, w.Name, w.fence, lease, "", 0)
		if deputy.KindOf(err) != deputy.Stale {
			return err == nil, err
		}
		w.fence = 0
	}
	w.fence, err = w.Log.LeaseSink(ctx, w.Name, lease)
	return w.fence != 0, err
}

// deliver hands over the next batch of a log and moves its cursor.
func (w *Worker) deliver(ctx context.Context, h deputy.SinkHead) (last int64, err error) {
	entries, err := w.Log.LogEntries(ctx, deputy.LogQuery{Organization: h.Organization, From: h.Delivered + 1, Limit: w.Most})
	if err != nil || len(entries) == 0 {
		return h.Last, err
	}
	b := Batch{Organization: h.Organization, First: entries[0].Seq, Last: entries[len(entries)-1].Seq, Events: make([]*Event, 0, len(entries))}
	for _, entry := range entries {
		e, err := Map(ctx, h.Organization, entry, w.Sealing, w.Version)
		if err != nil {
			return 0, err
		}
		b.Events = append(b.Events, e)
	}
	limited, cancel := context.WithTimeout(ctx, deliverTimeout)
	err = w.To.Deliver(limited, b)
	cancel()
	if w.Ended != nil && ctx.Err() == nil {
		w.Ended(len(b.Events), err)
	}
	if err != nil {
		return 0, err
	}
	return b.Last, w.Log.AdvanceSink(ctx, w.Name, w.fence, lease, h.Organization, b.Last)
}
