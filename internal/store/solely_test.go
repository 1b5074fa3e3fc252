package store_test

import (
	"testing"

	"deputy/internal/deputytest"
	"deputy/internal/store"
)

// TestNodesDoNotRepeatWhatAnotherDoes: while one node builds an index, another
// that would build the same leaves it alone.
func TestNodesDoNotRepeatWhatAnotherDoes(t *testing.T) {
	database := deputytest.Postgres(t)
	one, two := open(t, store.Config{URL: database}), open(t, store.Config{URL: database})
	done := 0
	do := func() error { done++; return nil }
	solely := func(s *store.Store, name string, do func() error) {
		if err := s.Solely(t.Context(), name, do); err != nil {
			t.Error(err)
		}
	}
	solely(one, "this", func() error {
		solely(two, "this", do)
		if done != 0 {
			t.Error("both did it")
		}
		solely(two, "that", do)
		return nil
	})
	solely(two, "this", do)
	if done != 2 {
		t.Errorf("%d of 2 times", done)
	}
}
