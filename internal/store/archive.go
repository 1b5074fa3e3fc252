package store

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// archive keeps in a folder what brings a SQLite database back to any moment:
// copies of the database, the bases, and what was committed since, in pieces.
//
// A piece holds the pages that SQLite's log got since the piece before, each
// once, however often it was written: restoring ends between pieces, and a log
// rewrites the same few pages with every commit. Bases are copied while the
// database is written to, so that alone they are torn; the first piece of their
// file repeats what was only in the log when the copy began, and those up to the
// end of the copy make it whole.
//
// Nothing may take the place of what was not read: while the archive follows
// the log, no checkpoint moves into the database file what was not. What others
// do to the log shows in its salts. Then, at a start, and when the folder was
// away for too long, a new chain begins with a new base.
//
// No write waits for the folder: only memory and SQLite's files are touched
// with mu held.
type archive struct {
	s            *Store
	folder, path string
	retention    time.Duration
	bound        int64    // bytes of the log at which it is given up
	db           *os.File // never closed before SQLite has: that would end SQLite's locks

	mu    sync.Mutex
	wal   *wal        // nil: does not follow
	reads atomic.Bool // wal is there
	queue []piece     // read and not handed over to the folder
	whole time.Time   // all that was committed before was read
	ended time.Time

	held func() // lets go of the log; nil: it is not held. Guarded by checkpoints.turns

	asked chan chan bool
	stop  context.CancelFunc
	gone  chan struct{}

	// Of the goroutine that writes to the folder.
	chain    chain
	unsent   *piece
	number   int64 // of the file
	file     *os.File
	size     int64 // bytes of it that are whole
	page     int
	written  time.Time // when the last piece was
	based    time.Time // when the last base was begun
	first    int64     // file that the next base goes on from; 0: a new one
	copying  chan *base
	cancel   context.CancelFunc // of the copy
	copied   *base              // waits for the piece that makes it whole
	marked   bool               // the chain has a base
	said     time.Time
	reached  atomic.Int64 // what can be restored, in microseconds since 1970
	interval time.Duration
}

const (
	archiveEvery   = time.Second / 2
	archiveIdle    = time.Minute    // a piece is written even if it is empty
	baseEvery      = 24 * time.Hour // little to replay, and a copy a day
	baseAgain      = time.Minute    // after one that did not succeed
	pieceBytes     = 1 << 20
	turnBytes      = 4 << 20 // what the writer reads at most
	pieceFileBytes = 64 << 20
	logBound       = 1 << 30
	complainEvery  = time.Minute
	shippingTime   = 2 * time.Second // what a checkpoint waits for the folder
	closingTime    = 5 * time.Second
)

func newArchive(s *Store, c Config) (*archive, error) {
	db, err := os.Open(c.Path)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	a := &archive{
		s: s, folder: c.Archive, path: c.Path, retention: c.ArchiveRetention, bound: logBound, db: db,
		asked: make(chan chan bool), stop: stop, gone: make(chan struct{}), copying: make(chan *base, 1), interval: archiveEvery,
	}
	a.reached.Store(s.clock().UnixMicro())
	go a.run(ctx)
	return a, nil
}

// ArchiveLag returns for how long nothing of what was committed can be restored
// from the archive; false where there is none.
func (s *Store) ArchiveLag() (time.Duration, bool) {
	if s.archive == nil {
		return 0, false
	}
	return max(0, s.clock().Sub(time.UnixMicro(s.archive.reached.Load()))), true
}

func (a *archive) run(ctx context.Context) {
	defer close(a.gone)
	for pause := time.Duration(0); ; pause = a.interval {
		var answer chan bool
		select {
		case <-ctx.Done():
			if a.file != nil {
				if err := a.ship(context.Background()); err != nil {
					a.complain(err)
				}
			}
			if a.cancel != nil {
				a.cancel()
			}
			if a.file != nil {
				a.file.Close()
			}
			return
		case answer = <-a.asked:
		case <-time.After(pause):
		}
		late := time.AfterFunc(complainEvery, func() {
			a.s.log.Error("the archive waits for its folder, which does not answer", slog.String("folder", a.folder))
		})
		err := a.ship(ctx)
		late.Stop()
		if err != nil {
			a.complain(err)
		}
		if answer != nil {
			answer <- err == nil
		}
	}
}

// complain says once a minute what is wrong.
func (a *archive) complain(err error) {
	if now := a.s.clock(); now.Sub(a.said) >= complainEvery {
		a.said = now
		a.s.log.Error("the archive is not written", slog.String("folder", a.folder), slog.Any("error", err))
	}
}

// ship hands over to the folder what was committed.
func (a *archive) ship(ctx context.Context) error {
	if !a.following() {
		a.unchain()
	}
	if a.file == nil {
		if err := a.begin(ctx, true); err != nil {
			return err
		}
	}
	select {
	case b := <-a.copying:
		a.cancel = nil
		if b.err != nil {
			a.based = a.s.clock().Add(baseAgain - baseEvery)
			return b.err
		}
		a.copied = b
	default:
	}
	for more := true; more; {
		p, fresh, err := a.take(ctx)
		if err != nil {
			return err
		}
		whole := a.copied != nil && fresh && p.all // makes the base whole
		if p.pages != nil || whole || p.ended.Sub(a.written) >= archiveIdle {
			a.unsent = &p
			if err := a.write(p); err != nil {
				return err
			}
			a.unsent = nil
		}
		if whole {
			if err := a.mark(p); err != nil {
				return err
			}
		}
		if a.marked && p.all {
			a.reached.Store(p.begun.UnixMicro())
		}
		more = !fresh || !p.all
	}
	switch due := a.cancel == nil && a.copied == nil && a.s.clock().Sub(a.based).Abs() >= baseEvery; {
	case due && a.first == 0:
		return a.begin(ctx, false)
	case due:
		return a.base(ctx)
	}
	return nil
}

// following reports whether what is written to the log is read.
func (a *archive) following() bool {
	return a != nil && a.reads.Load()
}

// follow has l read from now on, with mu held. nil: nothing is, and what was read
// and not handed over belongs to no chain any more.
func (a *archive) follow(l *wal) {
	a.wal, a.queue = l, nil
	a.reads.Store(l != nil)
}

// unchain ends the chain.
func (a *archive) unchain() {
	if a.file != nil {
		a.s.log.Warn("the archive begins anew: moments from now until it has a new base cannot be restored", slog.String("folder", a.folder))
		a.file.Close()
	}
	if a.cancel != nil {
		a.cancel()
		<-a.copying
	}
	a.file, a.unsent, a.first, a.copied, a.cancel, a.marked = nil, nil, 0, nil, nil, false
	a.mu.Lock()
	a.follow(nil)
	a.mu.Unlock()
}

// take returns the next piece, with no pages if there is nothing new; a fresh
// one was read just now.
func (a *archive) take(ctx context.Context) (p piece, fresh bool, err error) {
	if a.unsent != nil {
		return *a.unsent, false, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.wal == nil {
		return p, false, errMissed
	}
	if len(a.queue) > 0 {
		p, a.queue = a.queue[0], a.queue[1:]
		return p, false, nil
	}
	err = a.s.readers.with(ctx, func(q querier) (err error) {
		p, _, err = a.read(ctx, q, pieceBytes)
		return err
	})
	return p, true, err
}

// read reads from the log, with mu held; last is how many frames there were.
func (a *archive) read(ctx context.Context, q querier, most int) (p piece, last int64, err error) {
	p.begun = a.s.clock()
	var moved int64
	if err = a.wal.round(); err == nil {
		if last, moved, err = checkpoint(ctx, q, "NOOP"); err == nil {
			p.pages, err = a.wal.read(last, most)
		}
	}
	if err == nil {
		err = a.wal.settle(last, moved)
	}
	if errors.Is(err, errMissed) {
		a.follow(nil)
	}
	if p.all = a.wal != nil && a.wal.next >= last; p.all {
		a.whole = p.begun
	}
	p.begun = a.whole
	a.end(&p)
	return p, last, err
}

// end gives a piece its end: clocks go back, and pieces do not.
func (a *archive) end(p *piece) {
	p.ended = a.s.clock().Add(time.Microsecond)
	if p.ended.Before(a.ended) {
		p.ended = a.ended
	}
	a.ended = p.ended
}

// begin begins a file with all that is only in the log, and a base. A fresh one
// begins a chain as well.
func (a *archive) begin(ctx context.Context, fresh bool) error {
	if err := os.Mkdir(a.folder, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if fresh {
		number, err := lastNumber(a.folder)
		if err != nil {
			return err
		}
		a.chain, a.number = newChain(), number
	}
	var page int
	var p piece
	err := a.s.readers.with(ctx, func(q querier) error {
		if err := row(ctx, q, "PRAGMA page_size", nil, &page); err != nil {
			return err
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if fresh {
			a.follow(&wal{path: a.path + "-wal"})
			var err error
			p, _, err = a.read(ctx, q, 1<<62)
			return err
		}
		if a.wal == nil || len(a.queue) > 0 {
			return errLater
		}
		var err error
		p.begun = time.UnixMicro(a.reached.Load()) // it holds nothing that is new
		p.pages, err = a.wal.again()
		a.end(&p)
		return err
	})
	if errors.Is(err, errLater) {
		return nil
	}
	if err == nil {
		a.page = page
		err = a.open(&p)
	}
	if err != nil {
		if fresh {
			a.unchain()
		}
		return err
	}
	a.first = a.number
	return a.base(ctx)
}

// base begins to copy a base, once what is not needed any more has made room.
// One that did not succeed goes on from the same file as the next, which only
// has more to replay.
func (a *archive) base(ctx context.Context) error {
	now := a.s.clock()
	a.based = now.Add(baseAgain - baseEvery)
	if err := a.prune(); err != nil {
		return err
	}
	a.based = now
	b := &base{First: a.first, Chain: hex.EncodeToString(a.chain.id[:])}
	copied, cancel := context.WithCancel(ctx)
	a.cancel = cancel
	go func() {
		b.err = a.copy(copied, b)
		a.copying <- b
	}()
	return nil
}

// errLater puts a base off.
var errLater = errors.New("later")

// beside runs a checkpoint beside the writer, if one may be made. While the
// archive follows the log, that is when what the log has by now is in the folder;
// and the log is held, so that nothing else is moved. Then the writer's part has
// to come, which lets go of it. When the folder stays away and the log has grown
// too much, the archive gives it up.
func (a *archive) beside(do func(followed bool) error) error {
	if a.following() {
		if a.hold() {
			if a.shipped() {
				return do(true)
			}
			a.release()
		}
		info, err := os.Stat(a.path + "-wal")
		if err != nil || info.Size() < a.bound {
			return err
		}
		a.s.log.Error("the archive lacks what is written from now on, until its folder can be written again", slog.String("folder", a.folder))
		a.mu.Lock()
		a.follow(nil)
		a.mu.Unlock()
		a.s.checkpoints.empty()
	}
	return a.unfollowed(func() error { return do(false) })
}

// unfollowed runs a checkpoint unless the archive follows the log, which it does
// not begin to meanwhile.
func (a *archive) unfollowed(do func() error) error {
	if a == nil {
		return do()
	}
	if !a.mu.TryLock() {
		return nil
	}
	defer a.mu.Unlock()
	if a.wal != nil {
		return nil
	}
	a.release() // for nobody, if the chain ended since
	return do()
}

// settle notes after a checkpoint beside the writer what it has moved: should
// the writer's part come to nothing, the log's next round may begin all the same.
func (a *archive) settle(last, moved int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.wal == nil {
		return nil
	}
	return a.wal.settle(last, moved)
}

// shipped has the log shipped now, and reports whether that went well in time.
func (a *archive) shipped() bool {
	late := time.After(shippingTime)
	answer := make(chan bool, 1)
	select {
	case a.asked <- answer:
	case <-late:
		return false
	}
	select {
	case good := <-answer:
		return good
	case <-late:
		return false
	}
}

// hold keeps what is written from now on in the log alone, by reading. It
// reports whether it does.
func (a *archive) hold() bool {
	if a.held != nil {
		return true
	}
	release, reading, over := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		err := a.s.readers.consistent(context.Background(), func(q querier) error {
			var n int
			if err := row(context.Background(), q, "SELECT COUNT(*) FROM meta", nil, &n); err != nil {
				return err
			}
			close(reading)
			<-release
			return nil
		})
		if err != nil {
			a.s.log.Warn("the log could not be held for the archive", slog.Any("error", err))
		}
	}()
	select {
	case <-reading:
		a.held = func() { close(release); <-over }
		return true
	case <-over:
		return false
	}
}

func (a *archive) release() {
	if a.held != nil {
		a.held()
		a.held = nil
	}
}

// turn is the writer's part of a checkpoint, between two groups: it reads the
// rest of the log into memory, after which the log's next round may begin. With
// cut it also cuts the log, and reports whether that is done.
func (a *archive) turn(q querier, cut bool) (done bool, err error) {
	defer a.release()
	if !a.mu.TryLock() {
		return false, nil
	}
	defer a.mu.Unlock()
	if a.wal == nil || len(a.queue) > 0 {
		return false, nil
	}
	ctx := context.Background()
	p, last, err := a.read(ctx, q, turnBytes)
	if p.pages != nil {
		a.queue = append(a.queue, p)
	}
	if err != nil || a.wal.next < last {
		return false, err
	}
	before, err := version(ctx, q)
	if err != nil {
		return false, err
	}
	a.release()
	log, moved, err := checkpoint(ctx, q, "PASSIVE")
	if err != nil {
		return false, err
	}
	if log != a.wal.next { // another program has written in between
		if moved == log {
			a.follow(nil)
		}
		return false, nil
	}
	a.wal.moved = moved == log
	if !cut || !a.wal.moved {
		return false, nil
	}
	if done, err = a.s.emptiedOn(ctx, q); err != nil || !done {
		return done, err
	}
	a.wal.next = 0
	after, err := version(ctx, q)
	if err != nil || after != before { // and was cut off
		a.follow(nil)
	}
	return true, err
}

// version changes when another connection changes the database.
func version(ctx context.Context, q querier) (v int64, err error) {
	err = row(ctx, q, "PRAGMA data_version", nil, &v)
	return v, err
}

// close ships what is left, unless the folder takes too long.
func (a *archive) close() {
	if a == nil {
		return
	}
	a.release()
	a.stop()
	select {
	case <-a.gone:
	case <-time.After(closingTime):
		a.s.log.Error("the archive lacks what was written last: its folder does not answer", slog.String("folder", a.folder))
	}
}
