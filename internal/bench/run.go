package bench

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// A run is a load under way. Workers own their tallies; the rest is either
// fixed before they start or atomic.
type run struct {
	ctx     context.Context
	load    Load
	target  *target
	start   time.Time
	begin   time.Time // of the measured time
	end     time.Time
	stopped time.Time     // when the last worker was through
	done    chan struct{} // closed after that
	sent    atomic.Uint64 // requests begun
	workers []worker
	usage   usage
}

type worker struct {
	*run
	conn     *conn
	number   int
	took     histogram
	ok       uint64
	bytes    int64
	statuses map[int]int
	errors   map[string]int
}

func newRun(ctx context.Context, l Load, t *target) *run {
	r := &run{ctx: ctx, load: l, target: t, done: make(chan struct{}), workers: make([]worker, l.Connections)}
	r.start = l.Now()
	r.begin = r.start.Add(l.Warmup)
	r.end = r.begin.Add(l.Duration)
	for i := range r.workers {
		r.workers[i] = worker{run: r, number: i, statuses: map[int]int{}, errors: map[string]int{}}
	}
	return r
}

// work sends requests on one connection until the run is over.
func (w *worker) work() {
	defer w.conn.close()
	stop := context.AfterFunc(w.ctx, w.conn.interrupt)
	defer stop()
	var request []byte
	for now := w.load.Now(); w.ctx.Err() == nil; {
		seq := w.sent.Add(1) - 1
		if w.load.Requests > 0 && seq >= w.load.Requests {
			return
		}
		due, more := w.due(seq, now)
		if !more {
			return
		}
		// A request without a body is the same bytes each time.
		if request == nil || w.load.Body != nil || w.load.Raw != nil {
			request = w.target.request(request[:0], w.load, w.number, seq)
		}
		status, n, err := w.conn.do(w.ctx, request, w.load.Now().Add(w.load.Timeout))
		now = w.load.Now()
		w.tally(due, now, status, n, err)
		if err == nil && w.load.Answer != nil {
			w.load.Answer(w.number, status, w.conn.location, w.conn.body)
		}
		if err != nil {
			w.pause(time.Millisecond) // a dead server must not be hammered
			now = w.load.Now()
		}
	}
}

// due returns the moment request seq is due, having waited for it, or that
// nothing more is to be sent.
func (w *worker) due(seq uint64, now time.Time) (due time.Time, more bool) {
	if w.load.Rate == 0 {
		return now, now.Before(w.end)
	}
	due = w.start.Add(time.Duration(float64(seq) / w.load.Rate * float64(time.Second)))
	if !due.Before(w.end) {
		return due, false
	}
	// A server that cannot keep the pace gets one timeout more for its backlog.
	if now.After(w.end.Add(w.load.Timeout)) {
		w.errors[unsent]++
		return due, false
	}
	if early := due.Sub(w.load.Now()); early > 0 {
		w.pause(early)
	}
	return due, w.ctx.Err() == nil
}

// tally counts one answer, unless it belongs to the warm-up or, in the closed
// loop, came after the measured time.
func (w *worker) tally(due, now time.Time, status int, n int64, err error) {
	if due.Before(w.begin) || w.load.Rate == 0 && now.After(w.end) || w.ctx.Err() != nil {
		return
	}
	if err != nil {
		w.errors[reason(err)]++
		return
	}
	w.statuses[status]++
	if status == w.load.Step {
		return
	}
	w.bytes += n
	w.took.add(uint64(max(now.Sub(due), 0)))
	if status == w.load.Expect {
		w.ok++
	}
}

// pause waits for d or the end of ctx.
func (w *worker) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.ctx.Done():
	}
}

// sample fills in what the server and the generator used of the machine during
// the measured time.
func (r *run) sample() {
	r.usage.generator = cpuTime(os.Getpid())
	if r.load.PID > 0 {
		r.usage.rssBefore = residentKB(r.load.PID)
	}
	if !r.wait(r.load.Warmup) {
		return
	}
	if r.load.PID <= 0 {
		return
	}
	cpu, written := cpuTime(r.load.PID), bytesWritten(r.load.PID)
	r.usage.rssPeak = r.usage.rssBefore
	for open := true; open; {
		// Short, so that a peak is seen; reading one line of /proc costs little.
		open = r.load.Now().Before(r.end) && r.wait(50*time.Millisecond)
		r.usage.rssPeak = max(r.usage.rssPeak, residentKB(r.load.PID))
	}
	r.usage.over = r.load.Now().Sub(r.begin)
	r.usage.server = cpuTime(r.load.PID) - cpu
	r.usage.written = bytesWritten(r.load.PID) - written
}

// wait returns after d, or early and false when the run is over.
func (r *run) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.done:
		return false
	}
}

// result adds up what the workers saw.
func (r *run) result() Result {
	l := r.load
	out := Result{
		Scenario: l.Scenario, Label: l.Label, Concurrency: l.Connections, RateTarget: l.Rate,
		Seconds: r.measured().Seconds(), Statuses: map[string]int{},
		RSSBeforeKB: r.usage.rssBefore, RSSPeakKB: r.usage.rssPeak, ServerWrite: r.usage.written,
	}
	var took histogram
	failed := map[string]int{}
	for i := range r.workers {
		w := &r.workers[i]
		took.merge(&w.took)
		out.OK += w.ok
		out.Bytes += w.bytes
		out.Dials += w.conn.dials
		for status, n := range w.statuses {
			out.Statuses[strconv.Itoa(status)] += n
		}
		for why, n := range w.errors {
			failed[why] += n
		}
	}
	if n := r.owed() - int(r.sent.Load()); n > 0 {
		failed[unsent] += n
	}
	if len(failed) > 0 {
		out.Errors = failed
	}
	out.Requests = took.n
	out.latencies(&took)
	if out.Seconds > 0 {
		out.PerSec = float64(out.OK) / out.Seconds
	}
	if r.usage.over > 0 {
		out.ServerCPU = r.usage.server.Seconds() / r.usage.over.Seconds()
	}
	if all := r.stopped.Sub(r.start); all > 0 {
		out.GenCPU = (cpuTime(os.Getpid()) - r.usage.generator).Seconds() / all.Seconds()
	}
	return out
}

// measured returns the time the figures stand for: the measured time, less when
// the run ended early, more when an open loop's backlog ran over.
func (r *run) measured() time.Duration {
	ran := max(r.stopped.Sub(r.begin), 0)
	if r.load.Rate > 0 && r.load.Requests == 0 && r.ctx.Err() == nil {
		return max(ran, r.load.Duration)
	}
	return min(ran, r.load.Duration)
}

// owed returns how many requests an open loop was to send.
func (r *run) owed() int {
	if r.load.Rate == 0 || r.ctx.Err() != nil {
		return 0
	}
	owed := math.Ceil(r.load.Rate * (r.load.Warmup + r.load.Duration).Seconds())
	if r.load.Requests > 0 {
		owed = min(owed, float64(r.load.Requests))
	}
	return int(owed)
}

// unsent is the reason in Result.Errors for requests that an open loop gave up
// on before they were sent.
const unsent = "not sent in time"

// reason names an error in a few words that are the same for every request.
func reason(err error) string {
	var errno syscall.Errno
	var timeout net.Error
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, errMalformed):
		return errMalformed.Error()
	}
	return "connection failed"
}
