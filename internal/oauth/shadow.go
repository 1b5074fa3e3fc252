package oauth

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

const (
	// maxShadows bounds the questions that wait for a shadow's answer, about a
	// kilobyte each; more are dropped, and counted.
	maxShadows = 2048
	// shadowWorkers is how many write at once what a shadow said. They wait
	// for commits most of the time, which they share with answers.
	shadowWorkers = 16
	// shadowTimeout bounds the writing of one of them.
	shadowTimeout = 10 * time.Second
	// dropPeriod is how often dropped questions are written down, one event a
	// zone.
	dropPeriod = time.Minute
)

// shadowed is a question that was answered, for a zone's shadow to answer too.
// It shares no memory with the request that it came with.
type shadowed struct {
	shadow   *policy.Set
	question policy.Request
	event    deputy.Event // what was enforced, as far as it tells of it
	enforced deputy.ShadowOf
}

// shadows asks the shadow policies of zones once an answer has left. Whatever
// they say changes nothing, and while they cannot keep up they are not asked.
type shadows struct {
	server  *Server
	queue   chan *shadowed
	start   sync.Once // of the workers, which most servers never need
	workers sync.WaitGroup
	dropped atomic.Int64 // since the start

	mu     sync.Mutex
	counts map[dropKey]int // dropped, and not written down yet
	timer  *time.Timer     // runs while there is something to write
	closed bool
	busy   sync.WaitGroup // counts timers that will fire or are firing
}

type dropKey struct {
	organization deputy.OrganizationID
	zone         deputy.ZoneID
}

func (s *shadows) init(server *Server) {
	s.server, s.queue = server, make(chan *shadowed, maxShadows)
}

// observe hands a question that was decided and recorded, in the event, to the
// zone's shadow, if there is one. It never waits.
func (s *Server) observe(snap *snapshot, question *policy.Request, e *deputy.Event) {
	if snap.shadow == nil || e.Evaluation == nil {
		return
	}
	q := &shadowed{shadow: snap.shadow, question: *question}
	q.question.Legs, q.question.Scopes = slices.Clone(question.Legs), slices.Clone(question.Scopes)
	q.event = deputy.Event{
		ZoneID: e.ZoneID, OrganizationID: e.OrganizationID, RequestID: e.RequestID, ClientID: e.ClientID,
		UserID: e.UserID, Resource: e.Resource, GrantType: e.GrantType,
	}
	q.enforced = deputy.ShadowOf{
		Event: e.ID, Policy: e.Policy, Kept: slices.Clone(e.Evaluation.Kept), Refusal: e.Evaluation.Refusal,
	}
	s.shadows.start.Do(s.shadows.run)
	select {
	case s.shadows.queue <- q:
	default:
		s.shadows.drop(dropKey{e.OrganizationID, e.ZoneID})
	}
}

// ShadowsDropped returns how many questions were not put to a shadow because
// too many waited.
func (s *Server) ShadowsDropped() int64 { return s.shadows.dropped.Load() }

// run starts the workers.
func (s *shadows) run() {
	for range shadowWorkers {
		s.workers.Go(func() {
			for q := range s.queue {
				if err := s.server.askShadow(q); err != nil {
					s.server.log.Error("what a shadow said was not recorded", "zone_id", string(q.event.ZoneID), "cause", err)
					s.drop(dropKey{q.event.OrganizationID, q.event.ZoneID})
				}
			}
		})
	}
}

// askShadow puts a question to the shadow and records both decisions. It names the
// entities of the enforced one, which are kept.
func (s *Server) askShadow(q *shadowed) error {
	outcome, took := s.askPolicy(context.Background(), q.shadow, q.question)
	var evaluation deputy.Evaluation
	outcome.Evaluation(&evaluation)
	q.enforced.Diverged = evaluation.Allowed() != (q.enforced.Refusal == "") || !slices.Equal(evaluation.Kept, q.enforced.Kept)
	evaluation.Shadow = &q.enforced
	e := &q.event
	e.Time = deputy.Time(s.now())
	e.ID = deputy.EventID(deputy.NewID(e.Time))
	e.Type, e.Outcome, e.Actor = eventEvaluate, deputy.Success, deputy.Actor{Type: "platform"}
	e.Policy, e.Evaluation = eventPolicy(&outcome, took), &evaluation
	ctx, cancel := context.WithTimeout(context.Background(), shadowTimeout)
	defer cancel()
	return s.store.Write(ctx, e, nil)
}

// drop counts a question that is not answered.
func (s *shadows) drop(key dropKey) {
	s.dropped.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = make(map[dropKey]int)
	}
	s.counts[key]++
	if s.timer == nil && !s.closed { // else close writes them down
		s.busy.Add(1)
		s.timer = time.AfterFunc(dropPeriod, func() {
			defer s.busy.Done()
			s.flush()
		})
	}
}

// flush writes down what was dropped.
func (s *shadows) flush() {
	s.mu.Lock()
	counts := s.counts
	s.counts, s.timer = nil, nil
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	for key, n := range counts {
		at := deputy.Time(s.server.now())
		e := &deputy.Event{
			ID: deputy.EventID(deputy.NewID(at)), Time: at, Type: eventEvaluate, Outcome: deputy.Failure, Error: codeUnavailable,
			ErrorDetail:    "Shadow policies were not asked: too many questions waited.",
			OrganizationID: key.organization, ZoneID: key.zone, Actor: deputy.Actor{Type: "platform"}, Count: n,
		}
		if err := s.server.store.Write(ctx, e, nil); err != nil {
			s.server.log.Error("dropped questions to a shadow were not recorded", "zone_id", string(key.zone), "count", n, "cause", err)
		}
	}
}

// close answers what waits and writes down what was dropped.
func (s *shadows) close() {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		return
	}
	close(s.queue)
	s.workers.Wait()
	s.mu.Lock()
	pending := s.timer != nil && s.timer.Stop()
	s.mu.Unlock()
	if pending {
		s.busy.Done()
	}
	s.busy.Wait()
	s.flush()
}
