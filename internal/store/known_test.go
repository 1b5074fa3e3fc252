package store_test

import (
	"context"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/store"
)

// TestWhatACommitReadIsKnownInTheNext, on SQLite, until it changes, wherever it
// is changed; but nothing large.
func TestWhatACommitReadIsKnownInTheNext(t *testing.T) {
	var reads atomic.Int64
	c := store.Config{Path: filepath.Join(t.TempDir(), "db"), Migrate: true, Around: func(statement string, run func() error) error {
		if strings.Contains(statement, " FROM secrets ") {
			reads.Add(1)
		}
		return run()
	}}
	s := open(t, c)
	zone := newZone()
	kept := func(entity string, size int) *deputy.VaultSecret {
		return &deputy.VaultSecret{
			ID: deputy.NewID(zone.CreatedAt), ZoneID: zone.ID, EntityID: deputy.ID(entity), Name: entity, Type: deputy.TokenSecret,
			Sealed: make([]byte, size), Version: 1, CreatedAt: zone.CreatedAt, UpdatedAt: zone.CreatedAt,
		}
	}
	small := kept("small", 100)
	write := func(s *store.Store, change func(context.Context, deputy.Tx) error) {
		t.Helper()
		e := issued(zone.ID)
		if err := s.Write(t.Context(), e, func(tx deputy.Tx) error { return change(t.Context(), tx) }); err != nil {
			t.Fatal(err)
		}
	}
	write(s, func(ctx context.Context, tx deputy.Tx) error { return tx.Zones().Insert(ctx, zone) })
	write(s, func(ctx context.Context, tx deputy.Tx) error { return tx.Secrets().Insert(ctx, small) })
	write(s, func(ctx context.Context, tx deputy.Tx) error { return tx.Secrets().Insert(ctx, kept("large", 64<<10)) })
	// asked has a commit rest on the secret of an entity, and returns its name and
	// whether it was read.
	asked := func(entity string) (name string, read bool) {
		t.Helper()
		before := reads.Load()
		e := issued(zone.ID)
		e.Basis = &deputy.Basis{Zone: zone.ID, Revision: s.Revision(zone.ID), Again: deputy.Rows{Entity: deputy.ID(entity)}}
		err := s.Write(t.Context(), e, func(tx deputy.Tx) error {
			kept, err := tx.Secret(t.Context(), zone.ID, deputy.ID(entity))
			if err == nil {
				name = kept.Name
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return name, reads.Load() > before
	}
	rename := func(s *store.Store, to string) {
		t.Helper()
		write(s, func(ctx context.Context, tx deputy.Tx) error {
			_, err := tx.Secrets().Update(ctx, deputy.Scope{Zone: zone.ID}, small.ID, func(k *deputy.VaultSecret) error { k.Name = to; return nil })
			return err
		})
	}
	expect := func(what, entity, want string, wantRead bool) {
		t.Helper()
		if name, read := asked(entity); name != want || read != wantRead {
			t.Errorf("%s: %q, read %v", what, name, read)
		}
	}
	expect("at first", "small", "small", true)
	expect("again", "small", "small", false)
	expect("large", "large", "large", true)
	expect("large again", "large", "large", true)
	rename(s, "renamed")
	expect("renamed", "small", "renamed", true)
	expect("renamed, again", "small", "renamed", false)
	other := open(t, store.Config{Path: c.Path})
	rename(other, "renamed beside")
	expect("renamed beside", "small", "renamed beside", true)
	expect("renamed beside, again", "small", "renamed beside", false)

	// Of an entity that had many secrets the last one is read.
	write(s, func(ctx context.Context, tx deputy.Tx) error {
		for i := range 200 {
			k := kept("many", 64<<10)
			k.ID, k.Name = deputy.NewID(zone.CreatedAt.Add(time.Duration(i)*time.Second)), strconv.Itoa(i)
			if err := tx.Secrets().Insert(ctx, k); err != nil {
				return err
			}
		}
		return nil
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	expect("many", "many", "199", true)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("one of many secrets took %d bytes", n)
	}
}
