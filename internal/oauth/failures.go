package oauth

import (
	"context"
	"net/http"
	"sync"
	"time"

	"deputy/internal/deputy"
)

// Failed authentications are counted, because anybody can cause them: each
// source gets one event a minute, whatever it does.
const (
	failurePeriod = time.Minute
	// maxFailures of one client id from one address are answered as such in a
	// period; more are told to wait. A right secret is never refused.
	maxFailures = 100
	// maxSources bounds the sources told apart in a period: the first half by
	// address and client id, the second by address, further ones not at all. So
	// nobody can hide who else fails by naming many clients.
	maxSources = 4096
	// maxSummaries bounds the events of one period.
	maxSummaries = 1024
	// flushTimeout bounds the writing of one period's events.
	flushTimeout = 10 * time.Second
)

// failure is what failures are counted by. The client id is what somebody
// wrote, known or not. Without an organization there is no log to write to; it
// is counted all the same, so that whoever does not exist is told to wait like
// whoever does.
type failure struct {
	organization deputy.OrganizationID
	zone         deputy.ZoneID
	address      string
	clientID     string
}

// failures counts failed authentications of the current period.
type failures struct {
	server *Server

	mu     sync.Mutex
	counts map[failure]int
	whys   map[failure]string // of a source, why the last one failed, where that is known
	timer  *time.Timer        // runs while there is something to write
	closed bool
	busy   sync.WaitGroup // counts timers that will fire or are firing
}

func (f *failures) init(s *Server) { f.server = s }

// count notes a failure and returns the answer to it: r, or that there have
// been too many.
func (f *failures) count(r *refusal, by failure) *refusal {
	f.note(by, r)
	if !f.tooMany(by) {
		return r
	}
	return &refusal{
		code: codeUnavailable, description: "Client authentication failed too often. Try again later.",
		status: http.StatusTooManyRequests, retryAfter: failurePeriod,
	}
}

// note remembers why a source failed, for its summary.
func (f *failures) note(by failure, r *refusal) {
	why := r.why()
	by.clientID = ""
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.whys[by]; why == "" || !known && len(f.whys) >= maxSummaries {
		return
	}
	if f.whys == nil {
		f.whys = make(map[failure]string)
	}
	f.whys[by] = why
}

// tooMany notes a failure and reports whether it is one too many.
func (f *failures) tooMany(by failure) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts == nil {
		f.counts = make(map[failure]int)
	}
	if _, known := f.counts[by]; !known && len(f.counts) >= maxSources/2 {
		by.clientID = ""
	}
	if _, known := f.counts[by]; !known && len(f.counts) >= maxSources {
		by.address = ""
	}
	f.counts[by]++
	if f.timer == nil && !f.closed {
		f.busy.Add(1)
		f.timer = time.AfterFunc(failurePeriod, func() {
			defer f.busy.Done()
			f.flush()
		})
	}
	return f.counts[by] > maxFailures && by.address != ""
}

// flush ends the period and writes its summaries.
func (f *failures) flush() {
	f.mu.Lock()
	counts, whys := f.counts, f.whys
	f.counts, f.whys, f.timer = nil, nil, nil
	f.mu.Unlock()
	sources := make(map[failure]int) // without the client id
	for by, n := range counts {
		if by.organization == "" {
			continue
		}
		by.clientID = ""
		if _, known := sources[by]; !known && len(sources) >= maxSummaries {
			by.address = ""
		}
		sources[by] += n
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	for by, n := range sources {
		event := f.server.summary(by, n)
		event.ErrorDetail = whys[by]
		if err := f.server.store.Write(ctx, event, nil); err != nil {
			f.server.log.Error("failed authentications were not recorded", "zone_id", string(by.zone), "count", n, "cause", err)
		}
	}
}

// summary returns the event for n failures of one source.
func (s *Server) summary(by failure, n int) *deputy.Event {
	at := deputy.Time(s.now())
	return &deputy.Event{
		ID: deputy.EventID(deputy.NewID(at)), Time: at, Type: eventAuthenticate,
		Outcome: deputy.Failure, Error: codeInvalidClient,
		OrganizationID: by.organization, ZoneID: by.zone,
		Actor: deputy.Actor{Type: "anonymous"}, IP: by.address, Count: n,
	}
}

// close writes what has been counted and waits for a flush under way.
func (f *failures) close() {
	f.mu.Lock()
	f.closed = true
	pending := f.timer != nil && f.timer.Stop()
	f.mu.Unlock()
	if pending {
		f.busy.Done()
	}
	f.busy.Wait()
	f.flush()
}
