// Package store keeps everything Deputy knows, in SQLite or PostgreSQL, and
// holds all SQL there is. It implements deputy.Store; that interface's comments
// are its contract, and storetest proves each of them on both engines.
//
// Reading. A table[T] declares once how the entities of one kind are stored;
// get, find, list, insert, update and delete are the same code for all. Lists
// go by key, never by offset: a page costs what its items cost, wherever it
// lies. The fields of filters are the names of columns, those of a table's
// declaration.
//
// Writing. All changes go through one goroutine, the writer, which commits them
// in groups: whoever comes while a commit is under way shares the next one and
// its sync. Inside the transaction members have their turns one after the
// other; one that fails is undone to its savepoint and alone gets the error.
// On SQLite the writer is the only connection that writes. On PostgreSQL each
// node has one, and advisory locks of zones keep a decision and a change that
// would have changed it apart.
//
// Zones. What a snapshot of a zone may hold declares its change; the table code
// counts up the zone's revision and notes the change in the same transaction,
// so that no caller can forget to.
//
// The log. The events of one commit and organization are one row, a segment.
// No event has a row or an index entry of its own; segments are found by the
// time that event ids carry, and request ids by sorted runs that IndexEvents
// builds behind, while the part it has not reached yet is scanned.
//
// The package leaves encryption to others: what it gets sealed it keeps sealed,
// and the personal fields of events are sealed by an injected deputy.Sealing.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"deputy/internal/deputy"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver of PostgreSQL
)

// Config says where the database is and what the store works with.
type Config struct {
	// Path is the SQLite file; its folder must exist. URL is that of a
	// PostgreSQL database, postgres://…. Exactly one is set.
	Path, URL string
	// CursorKey authenticates the cursors of lists, so it is the same on every
	// node and after a restart. At least 32 bytes.
	CursorKey []byte
	// Now is the clock.
	Now func() time.Time
	// Sealing seals the personal fields of events.
	Sealing deputy.Sealing
	// Destroyed is told of each data key that was destroyed here, once that is
	// committed. It must not wait for anything. Nil: nobody wants to know.
	Destroyed func(deputy.ID)
	// Archive is a folder that keeps what brings the SQLite database back to any
	// moment of the ArchiveRetention, as Rewind does; empty: none. Only who
	// serves names it: one program writes to it.
	Archive          string
	ArchiveRetention time.Duration
	// Migrate brings the schema up to date first. Without it, Ready tells
	// whether it is.
	Migrate bool
	// Logger gets what no caller can be told.
	Logger *slog.Logger
	// Committed is called after each group of writes, with how many shared the
	// commit and what it took; nil is not.
	Committed func(members int, took time.Duration)
	// Around, if set, runs each statement; tests make the database fail with it,
	// or stall. It is called concurrently.
	Around func(statement string, run func() error) error
}

// Store is a deputy.Store over SQL.
type Store struct {
	d         *dialect
	clock     func() time.Time
	sealing   deputy.Sealing
	cursorKey []byte
	destroyed func(deputy.ID)
	log       *slog.Logger

	readers     *links
	writing     *links
	writer      *writer
	checkpoints *checkpoints
	archive     *archive // nil: there is none
	hints       hints
	kept        int64 // revisions of a zone's list of changes
	looks       int   // events that a page of decisions looks at
	fewDue      int   // rows that have run out which a list reads at once
	ticketBound int64
	ticketed    atomic.Int64 // bytes of tickets put since their bounds were last seen to
	committed   func(members int, took time.Duration)
	close       func() error
}

var _ deputy.Store = (*Store)(nil)

// Open opens the database, bringing its schema up to date if asked to.
func Open(ctx context.Context, c Config) (*Store, error) {
	if c.Archive != "" && c.Path == "" {
		return nil, errors.New("only a SQLite database has an archive")
	}
	if len(c.CursorKey) < 32 {
		return nil, errors.New("the key of the cursors must have at least 32 bytes")
	}
	s := &Store{clock: c.Now, sealing: c.Sealing, cursorKey: c.CursorKey, destroyed: c.Destroyed, log: c.Logger, kept: keptChanges, looks: maxLooked, fewDue: fewDue, ticketBound: ticketBound, committed: c.Committed}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.connect(c); err != nil {
		return nil, err
	}
	s.readers.around, s.writing.around = c.Around, c.Around
	if c.Migrate {
		if err := migrate(ctx, s.d, s.writing.db); err != nil {
			s.readers.close()
			s.writing.close()
			return nil, fmt.Errorf("bringing the database schema up to date: %w", err)
		}
	}
	if c.Archive != "" {
		// The archive begins with a copy of the database: it need not read all
		// that a crash left in SQLite's log.
		_, err := s.emptied(ctx)
		if err != nil {
			s.log.Warn("a checkpoint failed", slog.Any("error", err))
		}
		if s.archive, err = newArchive(s, c); err != nil {
			s.readers.close()
			s.writing.close()
			return nil, fmt.Errorf("opening the archive: %w", err)
		}
	}
	if s.d == sqliteDialect {
		s.checkpoints = newCheckpoints(s)
	}
	s.writer = &writer{s: s, queue: make(chan *member, maxGroup), gone: make(chan struct{})}
	go s.writer.run()
	s.close = sync.OnceValue(func() error {
		s.writer.close()
		s.checkpoints.close()
		s.archive.close()
		err := errors.Join(s.readers.close(), s.writing.close())
		if s.archive != nil {
			s.archive.db.Close()
		}
		return err
	})
	return s, nil
}

// connect makes the pools; nothing is opened before it is needed.
func (s *Store) connect(c Config) error {
	if (c.Path == "") == (c.URL == "") {
		return errors.New("a store needs either a path or a URL")
	}
	if c.URL != "" {
		s.d = postgresDialect
		at, err := patient(c.URL)
		if err != nil {
			return err
		}
		readers, err := sql.Open(s.d.driver, at)
		if err != nil {
			return err
		}
		writing, err := sql.Open(s.d.driver, at)
		if err != nil {
			return err
		}
		s.readers, s.writing = newLinks(s.d, readers, 16), newLinks(s.d, writing, 2)
		return nil
	}
	s.d = sqliteDialect
	// What readers have cached is void after each commit, and the system caches
	// the file too. The caches of a process share their room, so that the writer
	// comes to hold most of it. It takes twice the memory that is said here: a
	// page with its header is 4.4 KB and lies in 8 KB.
	readers, err := sql.Open(s.d.driver, dataSource(c.Path, "deferred", "query_only(1)", "cache_size(-250)"))
	if err != nil {
		return err
	}
	// Checkpoints are made beside the writer; if they ever fall behind, SQLite
	// makes one itself after this many pages, unless the archive has to have seen
	// them. What is deleted is overwritten: a key that was destroyed must not be
	// found in a free page.
	behind := "wal_autocheckpoint(32000)"
	if c.Archive != "" {
		behind = "wal_autocheckpoint(0)"
	}
	writing, err := sql.Open(s.d.driver, dataSource(c.Path, "immediate", behind, "cache_size(-1000)", "secure_delete(1)"))
	if err != nil {
		return err
	}
	s.readers, s.writing = newLinks(s.d, readers, min(8, max(4, runtime.GOMAXPROCS(0)))), newLinks(s.d, writing, 2)
	return nil
}

// patient adds to the URL of a PostgreSQL database how long it waits for a node
// that has begun a transaction and says no more, because it was frozen or cut
// off: others may wait for what it has locked. One that was cut off in the middle
// of a word is found by TCP.
func patient(database string) (string, error) {
	u, err := url.Parse(database)
	if err != nil {
		return "", errors.New("the URL of the database cannot be read") // it may hold a password
	}
	q := u.Query()
	for setting, value := range map[string]string{
		"idle_in_transaction_session_timeout": "10000",                                                          // ms
		"tcp_keepalives_idle":                 "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3", // s, s, times
	} {
		if !q.Has(setting) {
			q.Set(setting, value)
		}
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// dataSource names a SQLite file with the settings of its connections. FULL,
// because an answer must not outlive its event.
func dataSource(path, lock string, pragmas ...string) string {
	q := url.Values{"_txlock": {lock}}
	for _, p := range append([]string{"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"}, pragmas...) {
		q.Add("_pragma", p)
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// Ready returns nil when the database can be reached and its schema is the one
// this program needs, or a newer one: each schema serves the release before it.
func (s *Store) Ready(ctx context.Context) error {
	var had []int64
	err := s.readers.with(ctx, func(q querier) (err error) {
		had, err = applied(ctx, q)
		return err
	})
	if err != nil {
		return deputy.Error{Kind: deputy.Unavailable, Message: "the database cannot be read"}.Because(err)
	}
	lacks, err := lacking(had)
	if lacks {
		return deputy.Errorf(deputy.Unavailable, "the database has schema %d and this program needs %d: run deputy migrate",
			slices.Max(append(had, 0)), SchemaVersion())
	}
	return err
}

// Close finishes the writes under way and closes the database. Writes that
// come later are Unavailable.
func (s *Store) Close() error { return s.close() }

// fault turns a failure of the engine into one that callers know.
func (s *Store) fault(err error) error {
	if err == nil || deputy.KindOf(err) != "" || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	switch s.d.classify(err) {
	case lost, again:
		return deputy.Error{Kind: deputy.Unavailable, Message: "the database is not available, try again"}.Because(err)
	case taken:
		return deputy.Error{Kind: deputy.Conflict, Message: "this contradicts what exists"}.Because(err)
	}
	return err
}
