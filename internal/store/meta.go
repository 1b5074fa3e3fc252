package store

import (
	"context"

	"deputy/internal/deputy"
)

// MetaRootKey is the name under which the fingerprint of the root key is kept,
// so that a node with another key refuses to start.
const MetaRootKey = "root_key_fingerprint"

// Meta returns a fact about the database, or NotFound.
func (s *Store) Meta(ctx context.Context, name string) (value string, err error) {
	err = s.readers.with(ctx, func(q querier) error {
		err := row(ctx, q, "SELECT value FROM meta WHERE name = $1", []any{name}, &value)
		return missing(err, absent("fact"))
	})
	return value, s.fault(err)
}

// Remember notes a fact about the database unless it is known, and returns what
// is known: of several nodes that start at once, all get the same answer.
func (s *Store) Remember(ctx context.Context, name, value string) (known string, err error) {
	err = s.work(ctx, func(x *tx) error {
		if _, err := x.exec(x.ctx, "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING", name, value); err != nil {
			return err
		}
		return missing(row(x.ctx, x, "SELECT value FROM meta WHERE name = $1", []any{name}, &known), deputy.Unavailable)
	})
	return known, err
}
