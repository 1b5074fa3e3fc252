package store

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"deputy/internal/deputy"
)

// KeepChanges makes a zone's list of changes short enough for a test.
func (s *Store) KeepChanges(n int64) { s.kept = n }

// PruneEvery is how many changes a zone's list may be longer.
const PruneEvery = pruneEvery

// LookAt makes a page of decisions look at few events.
func (s *Store) LookAt(n int) { s.looks = n }

// ReadFewDue makes lists of what has run out read fewer rows at once that are not
// written down as such.
func (s *Store) ReadFewDue(n int) { s.fewDue = n }

// ZoneTables returns the tables whose rows belong to a zone, and those of them
// that PurgeZone empties. It asks SQLite; both engines have the same tables.
func (s *Store) ZoneTables(ctx context.Context) (all, emptied []string, err error) {
	err = s.readers.with(ctx, func(q querier) (err error) {
		all, err = column[string](ctx, q, "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND c.name = 'zone_id'")
		return err
	})
	for _, p := range purged {
		if p.scope == "zone_id" {
			emptied = append(emptied, p.table)
		}
	}
	return all, emptied, err
}

// BoundTickets bounds the tickets of a kind to n bytes, little enough for a
// test.
func (s *Store) BoundTickets(n int64) { s.ticketBound = n }

// Exec runs statements on a connection beside the writer's, to make many rows
// at once.
func (s *Store) Exec(ctx context.Context, texts ...string) error {
	conn, err := s.writing.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, text := range texts {
		if _, err := conn.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

// ListSessions and ListUsers are lists that also say how the engine reads them:
// a line for each step of each query, with PostgreSQL how many rows it looked at.
func (s *Store) ListSessions(ctx context.Context, in deputy.Scope, q deputy.Query) (plans []string, err error) {
	return plan(ctx, s, sessions, in, q)
}

// ListUsers is ListSessions for users.
func (s *Store) ListUsers(ctx context.Context, in deputy.Scope, q deputy.Query) (plans []string, err error) {
	return plan(ctx, s, users, in, q)
}

// SaidLast looks for what a person last said about a resource, alone and with what
// else a commit is about to read, and says how the engine does it.
func (s *Store) SaidLast(ctx context.Context, zone deputy.ZoneID, user deputy.UserID, resource deputy.ResourceID) (found *deputy.Grant, plans []string, err error) {
	asked := foreseen{}
	err = s.readers.with(ctx, func(r querier) error {
		e := explainer{r, s.d.told, &plans}
		if found, err = grantOf(ctx, e, zone, user, resource); err != nil {
			return err
		}
		asked.grants = map[place]*deputy.Grant{
			{zone: zone, id: string(user), resource: string(resource)}: found, {zone: zone, id: "nobody", resource: string(resource)}: found,
		}
		return foreseeGrants(ctx, e, zone, asked.grants)
	})
	if is, ok := asked.grants[place{zone: zone, id: "nobody", resource: string(resource)}]; err == nil && (!ok || is != nil || len(asked.grants) != 2) {
		err = fmt.Errorf("foreseen: %v", asked.grants)
	}
	return found, plans, err
}

// NewestSecret looks for the secret of an entity, alone and with what else a commit
// is about to read, and says how the engine does it.
func (s *Store) NewestSecret(ctx context.Context, zone deputy.ZoneID, entity deputy.ID) (alone, foreseen *deputy.VaultSecret, plans []string, err error) {
	err = s.readers.with(ctx, func(r querier) error {
		e := explainer{r, s.d.told, &plans}
		if alone, err = secretOf(ctx, e, zone, entity); err != nil {
			return err
		}
		asked := map[place]*deputy.VaultSecret{{zone: zone, id: string(entity)}: nil, {zone: zone, id: "nothing"}: nil}
		err := foreseeSecrets(ctx, e, zone, asked)
		foreseen = asked[place{zone: zone, id: string(entity)}]
		return err
	})
	return alone, foreseen, plans, err
}

// CursorAt returns the cursor of a user's or a session's place in a list.
func (s *Store) CursorAt(ctx context.Context, noun string, in deputy.Scope, q deputy.Query, id string) (text string, err error) {
	t := &users.relation
	if noun == sessions.name {
		t = &sessions.relation
	}
	l := &listing{t: t, in: in}
	if l.orders, err = t.orders(q.Sort); err != nil {
		return "", err
	}
	c := cursor{keys: make([]any, len(l.orders)-1), id: id}
	if len(c.keys) == 0 {
		return s.encodeCursor(c, t.name, in, q.Where, q.Sort), nil
	}
	err = s.readers.with(ctx, func(r querier) error {
		l.r = r
		return l.lengthen(ctx, &c)
	})
	return s.encodeCursor(c, t.name, in, q.Where, q.Sort), err
}

func plan[T any](ctx context.Context, s *Store, t *table[T], in deputy.Scope, q deputy.Query) (plans []string, err error) {
	err = s.readers.with(ctx, func(r querier) error {
		_, err := t.list(ctx, s, explainer{r, s.d.told, &plans}, in, q)
		return err
	})
	return plans, err
}

// explainer notes the plan of each query.
type explainer struct {
	querier
	sqlite bool
	plans  *[]string
}

func (e explainer) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	explain, step := "EXPLAIN QUERY PLAN "+text, []any{new(int), new(int), new(int), new(string)}
	with := args
	if !e.sqlite { // the plan for whatever the arguments may be, which it comes to after a while
		if err := rows(ctx, e.querier, "PREPARE asked AS "+text, nil, nil); err != nil {
			return nil, err
		}
		explain, step, with = "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE asked", []any{new(string)}, nil
		for i, a := range args {
			explain += []string{"(", ", "}[min(i, 1)] + "'" + strings.ReplaceAll(fmt.Sprint(a), "'", "''") + "'"
		}
		explain += ")"
	}
	err := rows(ctx, e.querier, explain, with, func(scan func(...any) error) error {
		err := scan(step...)
		*e.plans = append(*e.plans, *step[len(step)-1].(*string))
		return err
	})
	if err == nil && !e.sqlite {
		err = rows(ctx, e.querier, "DEALLOCATE asked", nil, nil)
	}
	if err != nil {
		return nil, err
	}
	return e.querier.query(ctx, text, args...)
}

// WorkTogether runs each statement as work of its own, in this order in one
// transaction, and returns what became of it.
func (s *Store) WorkTogether(ctx context.Context, texts ...string) []error {
	begun, wait, said := make(chan struct{}), make(chan struct{}), make([]error, len(texts))
	first := newMember(ctx)
	first.apply = func(*tx) error { close(begun); <-wait; return nil }
	s.writer.queue <- first
	<-begun
	var all sync.WaitGroup
	for i, text := range texts {
		all.Go(func() {
			said[i] = s.work(ctx, func(x *tx) error {
				if strings.HasPrefix(text, "SELECT") {
					return row(x.ctx, x, text, nil, new(int))
				}
				_, err := x.exec(x.ctx, text)
				return err
			})
		})
		for len(s.writer.queue) < i+1 {
			runtime.Gosched()
		}
	}
	close(wait)
	all.Wait()
	<-first.done
	return said
}

// ArchiveBound bounds the log that waits for the archive to n bytes.
func (s *Store) ArchiveBound(n int64) { s.archive.bound = n }

// ShipArchive has the archive written now, instead of within half a second.
func (s *Store) ShipArchive() { s.archive.shipped() }

// CheckpointAfter has a checkpoint made each time that about n bytes were written.
func (s *Store) CheckpointAfter(n int64) { s.checkpoints.after = n }

// CutLog has SQLite's log cut soon, as when a key was destroyed.
func (s *Store) CutLog() { s.checkpoints.empty() }

// PiecesOf returns a file of n pieces with pages of some bytes.
func PiecesOf(page, n int) []byte {
	c := newChain()
	raw := c.header(1, page)
	for i := range n {
		p := piece{time.UnixMicro(int64(i)), time.UnixMicro(int64(i + 1)), &pages{page, 2, map[uint32][]byte{2: make([]byte, page)}}, true}
		raw = append(raw, c.piece(p)...)
	}
	return raw
}

// ReadPieces returns how many pieces a file has up to where it ends or is
// damaged.
func ReadPieces(raw []byte) (n int) {
	p, err := readPieces(bytes.NewReader(raw))
	for ; err == nil; n++ {
		_, err = p.next(func(_, _ time.Time) bool { return true }, func(uint32, []byte) error { return nil })
	}
	return max(0, n-1)
}

// PieceEnds returns when the pieces of a file end.
func PieceEnds(raw []byte) (ends []time.Time) {
	p, err := readPieces(bytes.NewReader(raw))
	for err == nil {
		_, err = p.next(func(_, ended time.Time) bool { ends = append(ends, ended); return true }, func(uint32, []byte) error { return nil })
	}
	return ends
}

// LogHeld reports whether the log is held for the archive.
func (s *Store) LogHeld() bool {
	s.checkpoints.turns.Lock()
	defer s.checkpoints.turns.Unlock()
	return s.archive.held != nil
}

// Solely runs do unless another node runs what has this name.
func (s *Store) Solely(ctx context.Context, name string, do func() error) error {
	return s.readers.solely(ctx, name, do)
}

// Column returns the first column of what a query finds, as text.
func (s *Store) Column(ctx context.Context, text string) (found []string, err error) {
	err = s.readers.with(ctx, func(q querier) error {
		found, err = column[string](ctx, q, text)
		return err
	})
	return found, err
}
