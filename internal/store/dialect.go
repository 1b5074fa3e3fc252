package store

import (
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// dialect is everything in which the engines differ, beside the migrations.
type dialect struct {
	name   string
	driver string
	goose  goose.Dialect
	// begin starts a transaction that writes, snapshot one that reads a single
	// state of the database.
	begin, snapshot string
	// contains is the function that is positive when its first text holds its
	// second.
	contains string
	// forUpdate and skipLocked end a SELECT whose rows are about to be changed,
	// forShare one whose rows nobody may change meanwhile.
	forUpdate, skipLocked, forShare string
	// told says that lists name the index to go by: without statistics, which
	// SQLite keeps only when asked to, it reads a zone by its primary key.
	told bool
	// prepares tells whether we keep prepared statements of a connection
	// ourselves; pgx does so alone.
	prepares bool
	// pipelines tells whether several statements are sent at once.
	pipelines bool
	// exclusive locks a zone until the end of the transaction, locks locks many,
	// each shared or alone; empty where there is a single writer anyway.
	exclusive, locks string
	// attempt takes a lock until the end of the transaction if nobody has it,
	// and says whether; empty where there is a single node.
	attempt string
	// version reads what is another number once another connection has written
	// anything; empty where others write all the time.
	version string
	// nap is for how long a group waits for more members: short beside what a
	// transaction takes.
	nap      time.Duration
	classify func(error) failure
}

// failure is what an error of the engine means to us.
type failure int

const (
	otherFailure failure = iota
	taken                // a unique value exists
	again                // the transaction is lost but may work when run again
	lost                 // the database cannot be reached, or is busy
)

var sqliteDialect = &dialect{
	name:     "sqlite",
	driver:   "sqlite",
	goose:    goose.DialectSQLite3,
	begin:    "BEGIN IMMEDIATE",
	version:  "PRAGMA data_version",
	nap:      50 * time.Microsecond,
	snapshot: "BEGIN",
	contains: "instr",
	told:     true,
	prepares: true,
	classify: func(err error) failure {
		var e *sqlite.Error
		if !errors.As(err, &e) {
			return otherFailure
		}
		switch e.Code() {
		case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
			return taken
		}
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			return again
		case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
			return lost
		}
		return otherFailure
	},
}

var postgresDialect = &dialect{
	name:       "postgres",
	driver:     "pgx",
	goose:      goose.DialectPostgres,
	begin:      "BEGIN ISOLATION LEVEL READ COMMITTED",
	pipelines:  true,
	snapshot:   "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
	contains:   "strpos",
	forUpdate:  " FOR UPDATE",
	skipLocked: " FOR UPDATE SKIP LOCKED",
	forShare:   " FOR SHARE",
	exclusive:  "SELECT pg_advisory_xact_lock($1)",
	locks: "SELECT CASE WHEN alone THEN pg_advisory_xact_lock(zone)::text ELSE pg_advisory_xact_lock_shared(zone)::text END" +
		" FROM unnest($1::bigint[], $2::boolean[]) AS involved (zone, alone)",
	attempt: "SELECT pg_try_advisory_xact_lock($1)",
	nap:     time.Millisecond,
	classify: func(err error) failure {
		var dial *pgconn.ConnectError
		if errors.As(err, &dial) { // whatever the server's reason is
			return lost
		}
		var e *pgconn.PgError
		if errors.As(err, &e) {
			switch {
			case e.Code == "23505":
				return taken
			case e.Code == "40001", e.Code == "40P01", e.Code == "25P02":
				return again
			case strings.HasPrefix(e.Code, "08"), strings.HasPrefix(e.Code, "53"), strings.HasPrefix(e.Code, "57P"),
				e.Code == "25P03": // who said nothing for too long, with a transaction begun: see patient
				return lost
			}
			return otherFailure
		}
		var network net.Error
		if errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) ||
			errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
			return lost
		}
		return otherFailure
	},
}
