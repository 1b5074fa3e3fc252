package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"deputy/internal/deputy"
)

// member is one Write waiting for its turn.
type member struct {
	ctx    context.Context
	event  *deputy.Event // nil for the store's own work
	record deputy.Record
	with   []*member // what else is recorded; each an event and nothing more
	apply  func(*tx) error
	state  atomic.Int32
	err    error
	done   chan struct{} // receives one value at the end
}

// members holds members that have come to their end, because each has a
// kilobyte of memory that the next one needs as well. What was abandoned may
// still lie in the queue and never comes back.
var members = sync.Pool{New: func() any {
	return &member{record: deputy.Record{Bytes: make([]byte, 0, 1024)}, done: make(chan struct{}, 1)}
}}

// maxRecord bounds the memory that a member takes along to its next use.
const maxRecord = 4096

// newMember returns a member with nothing in it.
func newMember(ctx context.Context) *member {
	m := members.Get().(*member)
	m.ctx = ctx
	return m
}

// end returns how the member ended, and lets others have it.
func (m *member) end() error {
	err := m.err
	if cap(m.record.Bytes) <= maxRecord {
		m.ctx, m.event, m.with, m.apply, m.err = nil, nil, nil, nil, nil
		m.state.Store(waiting)
		members.Put(m)
	}
	return err
}

// The states of a member. Whoever takes it out of waiting decides its fate: the
// writer runs it, or its caller gives up.
const (
	waiting = iota
	running
	abandoned
)

// writer commits members in groups: one transaction and one sync for all who
// came while the last one was under way.
type writer struct {
	s     *Store
	queue chan *member
	gone  chan struct{} // closed when the queue was worked off after Close

	mu     sync.RWMutex // held for reading while a member enters the queue
	closed bool

	link  *link // nil until connected
	group []*member
	tails tails
	pace  pace

	// Memory that is used again in each transaction.
	segment  []byte
	packed   [][]byte // of each organization
	pairs    []pair
	appended []appended
}

// maxGroup is how many members share a transaction at most.
const maxGroup = 257

// tries is how often a group, and then each member of it, is run while the
// engine says that it may work the next time.
const tries = 4

var errClosed = deputy.Errorf(deputy.Unavailable, "the store is closed")

// Write runs apply in a transaction, appends the event to its organization's
// log and returns when both are durable.
func (s *Store) Write(ctx context.Context, event *deputy.Event, apply func(deputy.Tx) error) error {
	ctx, span := deputy.StartSpan(ctx, deputy.SpanCommit)
	err := s.write(ctx, event, apply)
	span.End(err)
	return err
}

func (s *Store) write(ctx context.Context, event *deputy.Event, apply func(deputy.Tx) error) error {
	if event == nil || event.OrganizationID == "" {
		return errors.New("a write needs an event of an organization")
	}
	m := newMember(ctx)
	if err := m.take(ctx, event, s.sealing); err != nil {
		return err
	}
	for _, e := range event.With {
		if e.OrganizationID != event.OrganizationID {
			return errors.New("an event of another organization needs a write of its own")
		}
		with := &member{}
		if err := with.take(ctx, e, s.sealing); err != nil {
			return err
		}
		m.with = append(m.with, with)
	}
	if apply != nil {
		m.apply = func(x *tx) error { return apply(x) }
	}
	return s.fault(s.writer.do(m))
}

// take makes the member's event the one that is recorded.
func (m *member) take(ctx context.Context, event *deputy.Event, sealing deputy.Sealing) error {
	if _, ok := deputy.ID(event.ID).Time(); !ok {
		return fmt.Errorf("an event cannot be called %q", event.ID)
	}
	m.event = event
	return m.record.Take(ctx, event, sealing)
}

// work runs the store's own changes, which are no event, in a group.
func (s *Store) work(ctx context.Context, apply func(*tx) error) error {
	m := newMember(ctx)
	m.apply = apply
	return s.fault(s.writer.do(m))
}

// do puts a member into the queue and waits for its end. A caller who gives up
// while the member waits takes it out; afterwards the end is near and awaited,
// so that an error always means that nothing happened. Nobody may use the
// member afterwards.
func (w *writer) do(m *member) error {
	if err := w.enter(m); err != nil {
		return err
	}
	select {
	case <-m.done:
		return m.end()
	case <-m.ctx.Done():
	}
	if m.state.CompareAndSwap(waiting, abandoned) {
		return m.ctx.Err()
	}
	<-m.done
	return m.end()
}

func (w *writer) enter(m *member) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return errClosed
	}
	select {
	case w.queue <- m:
		return nil
	case <-m.ctx.Done():
		return m.ctx.Err()
	}
}

// close works off the queue and ends the writer. It is called once.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	close(w.queue)
	<-w.gone
}

// run commits group after group until the queue is closed.
func (w *writer) run() {
	defer close(w.gone)
	for first := range w.queue {
		time.Sleep(w.pace.pause(w.s.clock()))
		begun := w.s.clock()
		w.group = append(w.group[:0], first)
		w.gather()
		w.settle()
		w.pace.ended(begun, w.s.clock())
		if w.link != nil {
			w.s.checkpoints.finish(w.link)
		}
	}
	if w.link != nil {
		w.link.discard()
	}
}

// gather lets those come who are about to, so that they share this sync
// instead of waiting for the next: it yields to whoever can run for as long as
// that brings more members. When nobody can run that takes no time. Where
// several came, more are on their way through sockets that yielding alone does
// not look at: a nap does.
func (w *writer) gather() {
	w.yield()
	if len(w.group) > 1 {
		time.Sleep(w.s.d.nap)
		w.yield()
	}
}

func (w *writer) yield() {
	for more := true; more; {
		runtime.Gosched()
		more = w.drain()
	}
}

// drain takes what is in the queue and reports whether that was anything.
func (w *writer) drain() (any bool) {
	for len(w.group) < maxGroup {
		select {
		case m, ok := <-w.queue:
			if !ok {
				return false
			}
			w.group, any = append(w.group, m), true
		default:
			return any
		}
	}
	return false
}

// settle commits the group and answers its members: together, or when that
// fails as a whole, one by one, unless the database is away.
func (w *writer) settle() {
	group := slices.DeleteFunc(w.group, func(m *member) bool { return !m.state.CompareAndSwap(waiting, running) })
	var begun time.Time
	if w.s.committed != nil {
		begun = w.s.clock()
	}
	err := w.attempt(group)
	if w.s.committed != nil && len(group) > 0 {
		w.s.committed(len(group), w.s.clock().Sub(begun))
	}
	for _, m := range group {
		alone := err
		if err != nil && len(group) > 1 && w.s.d.classify(err) != lost {
			alone = w.attempt([]*member{m})
		}
		if alone != nil {
			m.err = alone
		}
	}
	for i, m := range group {
		group[i] = nil
		m.done <- struct{}{} // from here on it is the caller's
	}
}

// attempt runs a transaction, again where that may help. An error is about
// the whole; the members' own are in them.
func (w *writer) attempt(group []*member) (err error) {
	for n := 0; n < tries && len(group) > 0; n++ {
		err = w.transact(group)
		if kind := w.s.d.classify(err); kind != again && (kind != lost || n > 0) {
			break
		}
	}
	return err
}

// transact runs the members' turns in one transaction.
func (w *writer) transact(group []*member) (err error) {
	ctx := context.Background()
	if err := w.connect(ctx); err != nil {
		return err
	}
	x := &tx{
		store: w.s, ctx: ctx, alone: len(group) == 1,
		revisions: map[deputy.ZoneID]int64{}, locked: map[deputy.ZoneID]bool{},
		bumped: map[deputy.ZoneID]int64{}, born: map[deputy.ZoneID]bool{},
	}
	if err := w.begin(x, group); err != nil {
		return err
	}
	good, err := w.turns(x, group)
	if err == nil && len(good) > 0 {
		err = w.finish(x, good)
	} else {
		err = w.rollBack(x, err)
	}
	if err != nil {
		return err
	}
	for zone, revision := range x.revisions {
		w.s.hints.note(zone, revision)
	}
	if len(x.destroyed) > 0 {
		w.s.forget(x.destroyed)
	}
	return nil
}

// connect makes sure that there is a connection.
func (w *writer) connect(ctx context.Context) (err error) {
	if w.link == nil {
		w.link, err = w.s.writing.take(ctx)
	}
	return err
}

// begin starts the transaction and locks the zones involved: on a new connection
// if the one at hand was lost since it was last used.
func (w *writer) begin(x *tx, group []*member) error {
	begin := func() (int, error) {
		return w.link.together(x.ctx, append([]call{{text: w.s.d.begin}}, w.lock(x, group)...)...)
	}
	ran, err := begin()
	if w.s.d.classify(err) == lost {
		w.drop()
		if err := w.connect(x.ctx); err != nil {
			return err
		}
		ran, err = begin()
	}
	x.link, x.now = w.link, w.s.now()
	switch {
	case err == nil:
		return nil
	case ran == 0 || w.s.d.classify(err) == lost:
		w.drop()
		return err
	}
	return w.rollBack(x, err)
}

// rollBack ends the transaction because of an error, which it returns.
func (w *writer) rollBack(x *tx, failed error) error {
	if _, err := w.link.exec(x.ctx, "ROLLBACK"); err != nil {
		w.drop()
	}
	return failed
}

// drop gives up the connection; the next transaction makes a new one.
func (w *writer) drop() {
	w.link.discard()
	w.link = nil
}

// turns gives each member its turn. It returns the members whose turn went well.
func (w *writer) turns(x *tx, group []*member) (good []*member, err error) {
	if err := w.link.renew(x.ctx); err != nil {
		return nil, err
	}
	if err := x.foresee(group); err != nil {
		return nil, err
	}
	good = make([]*member, 0, len(group))
	for _, m := range group {
		if m.err = m.ctx.Err(); m.err != nil {
			continue
		}
		x.begin()
		m.err = x.turn(m)
		switch kind := w.s.d.classify(m.err); {
		case m.err == nil:
			good = append(good, m)
			err = x.keep()
		case kind == again || kind == lost:
			err = m.err
		default:
			err = x.undo()
		}
		if err != nil {
			return nil, err
		}
	}
	return good, nil
}

// lock returns what takes the locks of the zones that the group is about, in the
// order of their ids, and reads their revisions. A decision shares a zone with
// other decisions; a change or a revocation has it to itself. Without that, a
// change could slip between the check of a basis and the commit.
func (w *writer) lock(x *tx, group []*member) []call {
	if w.s.d.locks == "" {
		return nil
	}
	involved := map[deputy.ZoneID]bool{}
	for _, m := range group {
		switch e := m.event; {
		case e == nil:
		case e.Basis != nil:
			involved[e.Basis.Zone] = true
		case e.ZoneID != "" && m.apply != nil:
			x.locked[e.ZoneID] = true
		}
	}
	maps.Copy(involved, x.locked)
	if len(involved) == 0 {
		return nil
	}
	zones := slices.Sorted(maps.Keys(involved))
	locks, alone := make([]int64, len(zones)), make([]bool, len(zones))
	for i, zone := range zones {
		locks[i], alone[i] = lockOf(zone), x.locked[zone]
	}
	return []call{{text: w.s.d.locks, args: []any{locks, alone}}, x.readRevisions(zones)}
}

// turn checks the basis of a member and applies its change.
func (x *tx) turn(m *member) (err error) {
	defer func() {
		if p := recover(); p != nil {
			x.store.log.Error("a write panicked", slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			err = fmt.Errorf("a write panicked: %v", p)
		}
	}()
	if m.event != nil && m.event.Basis != nil {
		stale, err := x.stale(m.event.Basis)
		if err != nil {
			return err
		}
		if stale {
			return deputy.Errorf(deputy.Stale, "the zone has changed")
		}
	}
	if m.apply == nil {
		return nil
	}
	return m.apply(x)
}

// finish writes what the turns left for the end, appends the events, and
// commits.
func (w *writer) finish(x *tx, good []*member) error {
	err := x.touches.flush(x.ctx, x.link, x.now)
	var last []call
	if err == nil {
		last, err = w.appendEvents(x, good)
	}
	if err != nil {
		return w.rollBack(x, err)
	}
	ran, err := w.link.together(x.ctx, append(last, call{text: "COMMIT"})...)
	if err != nil && ran < len(last) {
		return w.rollBack(x, err)
	}
	if err != nil {
		return w.doubtful(x, good, err)
	}
	for _, a := range w.appended {
		w.tails.add(a.organization, a.pairs)
	}
	w.s.checkpoints.wrote(x.packed, x.statements)
	return nil
}

// doubtful finds out how a commit ended whose answer was lost. The head of the
// log stays locked until the other transaction has ended, either way; then its
// event is there or not, and if not, the group may run again.
func (w *writer) doubtful(x *tx, good []*member, failed error) error {
	_, _ = w.link.exec(x.ctx, "ROLLBACK") // where the engine kept the transaction
	w.drop()
	i := slices.IndexFunc(good, func(m *member) bool { return m.event != nil })
	if kind := w.s.d.classify(failed); kind == again || kind == taken { // then it did not happen
		return failed
	}
	if i >= 0 {
		there, err := w.committed(x.ctx, good[i].event)
		if err == nil && there {
			return nil
		}
		if err == nil {
			return failed
		}
		failed = errors.Join(failed, err)
	}
	w.s.log.Error("how a commit ended is unknown", slog.Any("error", failed))
	return deputy.Errorf(deputy.Unavailable, "how the write ended is unknown")
}

// committed reports whether the log has the event, once everybody who was
// appending to it is done.
func (w *writer) committed(ctx context.Context, e *deputy.Event) (there bool, err error) {
	if err := w.connect(ctx); err != nil {
		return false, err
	}
	defer w.drop()
	if _, err := w.link.exec(ctx, w.s.d.begin); err != nil {
		return false, err
	}
	// This waits for the other transaction even where it made the head.
	_, err = w.link.exec(ctx, "INSERT INTO event_heads (organization_id, last_seq, committed_at, drift) VALUES ($1, 0, 0, 0)"+
		" ON CONFLICT (organization_id) DO UPDATE SET last_seq = event_heads.last_seq", string(e.OrganizationID))
	if err == nil {
		_, err = locate(ctx, w.link, e.OrganizationID, e.ID)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}
