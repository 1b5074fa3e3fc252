package store

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"deputy/internal/deputy"
)

// querier runs statements. Rows are read to their end before the next
// statement, because a connection runs one at a time.
type querier interface {
	query(ctx context.Context, text string, args ...any) (*sql.Rows, error)
	// exec returns how many rows were changed.
	exec(ctx context.Context, text string, args ...any) (int64, error)
}

// maxPrepared bounds the statements kept of one connection; lists with many
// filters have texts of their own.
const maxPrepared = 128

// link is one connection and, where the driver keeps none, its prepared
// statements.
type link struct {
	d        *dialect
	conn     *sql.Conn
	prepared map[string]*sql.Stmt
	around   func(statement string, run func() error) error // nil: nothing is

	// What the writer knows of rows, and the database's version at that time.
	seen    foreseen
	version int64
}

func (l *link) query(ctx context.Context, text string, args ...any) (found *sql.Rows, err error) {
	l.seen.forget(text)
	if l.around == nil {
		return l.find(ctx, text, args)
	}
	err = l.around(text, func() (err error) {
		found, err = l.find(ctx, text, args)
		return err
	})
	if err != nil && found != nil {
		found.Close()
	}
	return found, err
}

func (l *link) find(ctx context.Context, text string, args []any) (*sql.Rows, error) {
	stmt, err := l.statement(ctx, text)
	if err != nil {
		return nil, err
	}
	if stmt == nil {
		return l.conn.QueryContext(ctx, text, args...)
	}
	return stmt.QueryContext(ctx, args...)
}

func (l *link) exec(ctx context.Context, text string, args ...any) (n int64, err error) {
	l.seen.forget(text)
	if l.around == nil {
		return l.run(ctx, text, args)
	}
	err = l.around(text, func() (err error) {
		n, err = l.run(ctx, text, args)
		return err
	})
	return n, err
}

func (l *link) run(ctx context.Context, text string, args []any) (int64, error) {
	stmt, err := l.statement(ctx, text)
	if err != nil {
		return 0, err
	}
	var result sql.Result
	if stmt == nil {
		result, err = l.conn.ExecContext(ctx, text, args...)
	} else {
		result, err = stmt.ExecContext(ctx, args...)
	}
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// call is one statement of several.
type call struct {
	text string
	args []any
	each func(scan func(...any) error) error // for every row; nil: nobody asks
}

// together runs statements in turn, until one fails: on PostgreSQL in one round
// trip. It returns how many may have run well; where the connection was lost
// meanwhile, that is all of them.
func (l *link) together(ctx context.Context, calls ...call) (ran int, err error) {
	if !l.d.pipelines {
		for _, c := range calls {
			if c.each == nil {
				_, err = l.exec(ctx, c.text, c.args...)
			} else {
				err = rows(ctx, l, c.text, c.args, c.each)
			}
			if err != nil {
				return ran, err
			}
			ran++
		}
		return ran, nil
	}
	err = l.conn.Raw(func(conn any) error {
		b := &pgx.Batch{}
		for _, c := range calls {
			l.seen.forget(c.text)
			b.Queue(c.text, c.args...)
		}
		postgres := conn.(*stdlib.Conn).Conn()
		if postgres.IsClosed() {
			return driver.ErrBadConn
		}
		answers := postgres.SendBatch(ctx, b)
		var err error
		for _, c := range calls {
			if err = answer(answers, c); err != nil {
				break
			}
			ran++
		}
		err = cmp.Or(err, answers.Close())
		if postgres.IsClosed() {
			return errors.Join(driver.ErrBadConn, err)
		}
		return err
	})
	if l.d.classify(err) == lost {
		ran = len(calls)
	}
	return ran, err
}

// answer reads what the next statement of a batch gave.
func answer(answers pgx.BatchResults, c call) error {
	found, err := answers.Query()
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		if c.each == nil {
			continue
		}
		if err := c.each(found.Scan); err != nil {
			return err
		}
	}
	found.Close()
	if c.text == "COMMIT" && found.CommandTag().String() == "ROLLBACK" {
		return errUndone
	}
	return found.Err()
}

// errUndone is how PostgreSQL would call a COMMIT after a statement that failed,
// if it did not take it for a ROLLBACK.
var errUndone = &pgconn.PgError{Code: "25P02", Message: "the transaction was rolled back"}

// statement returns the prepared statement, or nil where the driver keeps them.
func (l *link) statement(ctx context.Context, text string) (*sql.Stmt, error) {
	if !l.d.prepares {
		return nil, nil
	}
	if s, ok := l.prepared[text]; ok {
		return s, nil
	}
	s, err := l.conn.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	if len(l.prepared) >= maxPrepared {
		for old, s := range l.prepared {
			s.Close()
			delete(l.prepared, old)
			break
		}
	}
	if l.prepared == nil {
		l.prepared = map[string]*sql.Stmt{}
	}
	l.prepared[text] = s
	return s, nil
}

// discard closes the connection instead of handing it back to its pool.
func (l *link) discard() {
	for _, s := range l.prepared {
		s.Close()
	}
	_ = l.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = l.conn.Close()
}

// links is a bounded set of connections, each opened when it is first needed.
type links struct {
	d      *dialect
	db     *sql.DB
	slots  chan struct{}
	around func(statement string, run func() error) error
	mu     sync.Mutex
	idle   []*link
	closed bool
}

func newLinks(d *dialect, db *sql.DB, size int) *links {
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return &links{d: d, db: db, slots: make(chan struct{}, size)}
}

// with runs read on one connection. The connection used last is used first, so
// that few are open when little is going on.
func (p *links) with(ctx context.Context, read func(querier) error) error {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-p.slots }()
	l, err := p.take(ctx)
	if err != nil {
		return err
	}
	if err = read(l); err != nil && !expected(err) {
		l.discard()
		if ctx.Err() != nil {
			return ctx.Err() // whatever the driver makes of it
		}
		if p.d.classify(err) == lost {
			p.forget()
		}
		return err
	}
	p.mu.Lock()
	closed := p.closed
	if !closed {
		p.idle = append(p.idle, l)
	}
	p.mu.Unlock()
	if closed {
		l.discard()
	}
	return err
}

func (p *links) take(ctx context.Context) (*link, error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		l := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return l, nil
	}
	p.mu.Unlock()
	conn, err := p.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &link{d: p.d, conn: conn, around: p.around}, nil
}

// forget discards the idle connections: what ended one has ended them as well.
func (p *links) forget() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, l := range idle {
		l.discard()
	}
}

// consistent runs read in a transaction that sees one state of the database.
func (p *links) consistent(ctx context.Context, read func(querier) error) error {
	return p.with(ctx, func(q querier) error {
		if _, err := q.exec(ctx, p.d.snapshot); err != nil {
			return err
		}
		err := read(q)
		if _, end := q.exec(context.WithoutCancel(ctx), "COMMIT"); end != nil {
			return end // whatever was read: the connection is not as it was
		}
		return err
	})
}

// solely runs do unless another node runs what has this name.
func (p *links) solely(ctx context.Context, name string, do func() error) error {
	if p.d.attempt == "" {
		return do()
	}
	return p.consistent(ctx, func(q querier) error {
		var ours bool
		if err := row(ctx, q, p.d.attempt, []any{lockOf(deputy.ZoneID(name))}, &ours); err != nil || !ours {
			return err
		}
		return do()
	})
}

// close closes every connection: those in use when their read has ended.
func (p *links) close() error {
	p.mu.Lock()
	for _, l := range p.idle {
		for _, s := range l.prepared {
			s.Close()
		}
		l.conn.Close()
	}
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	return p.db.Close()
}

// expected reports whether err is an answer rather than a failure: after it
// the connection is as good as before.
func expected(err error) bool {
	return errors.Is(err, sql.ErrNoRows) || deputy.KindOf(err) != ""
}

// row reads the single row of a query into dest; sql.ErrNoRows if there is none.
func row(ctx context.Context, q querier, text string, args []any, dest ...any) error {
	found := false
	err := rows(ctx, q, text, args, func(scan func(...any) error) error {
		if found {
			return nil
		}
		found = true
		return scan(dest...)
	})
	if err == nil && !found {
		return sql.ErrNoRows
	}
	return err
}

// rows calls each for every row of a query. A text that cannot be stored is
// found nowhere: PostgreSQL would call the question itself an error.
func rows(ctx context.Context, q querier, text string, args []any, each func(scan func(...any) error) error) error {
	r, err := q.query(ctx, text, findable(args)...)
	if err != nil {
		return err
	}
	defer r.Close()
	for r.Next() {
		if err := each(r.Scan); err != nil {
			return err
		}
	}
	return r.Err()
}

// column reads the single column of a query.
func column[T any](ctx context.Context, q querier, text string, args ...any) ([]T, error) {
	var out []T
	err := rows(ctx, q, text, args, func(scan func(...any) error) error {
		var v T
		if err := scan(&v); err != nil {
			return err
		}
		out = append(out, v)
		return nil
	})
	return out, err
}
