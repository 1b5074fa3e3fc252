package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"deputy/internal/deputy"
)

// MetaFormerRootKey is the name under which the fingerprint of the root key is
// kept that is being replaced, until nothing hangs on it any more.
const MetaFormerRootKey = "root_key_former"

// ReplaceRootKey puts a root key in force in place of another: from here on
// nothing new is wrapped by the former one. Done again, it changes nothing. It
// is a Conflict when the former one is not in force, or is itself replacing one.
func (s *Store) ReplaceRootKey(ctx context.Context, former, next string) error {
	return s.work(ctx, func(x *tx) error {
		var known, replaced string
		err := row(x.ctx, x, "SELECT value FROM meta WHERE name = $1"+s.d.forUpdate, []any{MetaRootKey}, &known)
		if err != nil {
			return err
		}
		err = row(x.ctx, x, "SELECT value FROM meta WHERE name = $1", []any{MetaFormerRootKey}, &replaced)
		switch {
		case err == nil && known == next && replaced == former:
			return nil
		case err == nil:
			return deputy.Errorf(deputy.Conflict, "another replacement of the root key has not ended")
		case !errors.Is(err, sql.ErrNoRows):
			return err
		case known != former:
			return deputy.Errorf(deputy.Conflict, "the root key in force is another one")
		}
		if _, err := x.exec(x.ctx, "INSERT INTO meta (name, value) VALUES ($1, $2)", MetaFormerRootKey, former); err != nil {
			return err
		}
		_, err = x.exec(x.ctx, "UPDATE meta SET value = $1 WHERE name = $2", next, MetaRootKey)
		return err
	})
}

// underRoot finds what a root key wraps, rows from before names were kept
// included.
const underRoot = "parent_id = '' AND kek IN ('', $1)"

// DataKeysUnder returns up to limit data keys that a root key wraps.
func (s *Store) DataKeysUnder(ctx context.Context, root string, limit int) (keys []deputy.DataKey, err error) {
	err = s.readers.with(ctx, func(q querier) error {
		found, err := dataKeys.many(ctx, q, underRoot+" ORDER BY id LIMIT $2", root, limit)
		keys = keys[:0]
		for _, k := range found {
			keys = append(keys, *k)
		}
		return err
	})
	return keys, s.fault(err)
}

// Rewrap stores how some data keys are wrapped now. One that was destroyed or
// wrapped anew since it was read as was is left as it is.
func (s *Store) Rewrap(ctx context.Context, was, now []deputy.DataKey) error {
	return s.work(ctx, func(x *tx) error {
		for i := range was {
			err := x.RewrapDataKey(x.ctx, was[i], now[i])
			if kind := deputy.KindOf(err); err != nil && kind != deputy.Conflict && kind != deputy.NotFound {
				return err
			}
		}
		return nil
	})
}

// RetireRootKey ends the replacement of a root key, which the event tells of. It
// is a Conflict while anything hangs on the former one.
func (s *Store) RetireRootKey(ctx context.Context, event *deputy.Event, former string) error {
	return s.Write(ctx, event, func(t deputy.Tx) error {
		x := t.(*tx)
		var left int
		if err := row(x.ctx, x, "SELECT COUNT(*) FROM data_keys WHERE "+underRoot, []any{former}, &left); err != nil {
			return err
		}
		if left > 0 {
			return deputy.Errorf(deputy.Conflict, "%d keys are wrapped by the former root key", left)
		}
		n, err := x.exec(x.ctx, "DELETE FROM meta WHERE name = $1 AND value = $2", MetaFormerRootKey, former)
		if err == nil && n == 0 {
			err = deputy.Errorf(deputy.Conflict, "no such root key is being replaced")
		}
		return err
	})
}

// Shred waits until nothing that was overwritten is left in SQLite's log: as
// long as somebody reads what is only there, for a while at most. PostgreSQL
// removes it when it vacuums.
func (s *Store) Shred(ctx context.Context) error {
	for s.checkpoints != nil {
		empty, err := s.emptied(ctx)
		if err != nil || empty {
			return s.fault(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}
