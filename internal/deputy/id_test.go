package deputy_test

import (
	"testing"
	"time"

	"deputy/internal/deputy"
)

func TestIDsAreTimeOrderedAndCarryTheirTime(t *testing.T) {
	at := time.Date(2026, 11, 24, 2, 23, 0, 123e6, time.UTC)
	seen := map[deputy.ID]bool{}
	for i := range 1000 {
		now := at.Add(time.Duration(i) * time.Millisecond)
		id := deputy.NewID(now)
		if !id.Valid() || seen[id] {
			t.Fatalf("id %q is invalid or a repetition", id)
		}
		seen[id] = true
		got, ok := id.Time()
		if !ok || !got.Equal(now) {
			t.Fatalf("id %q carries %v, want %v", id, got, now)
		}
		if next := deputy.NewID(now.Add(time.Millisecond)); next <= id {
			t.Fatalf("%q does not sort after %q", next, id)
		}
		if lowest := deputy.MinID(now); lowest > id {
			t.Fatalf("MinID %q sorts after %q", lowest, id)
		}
	}
}

func TestOddIDsAreNotIDs(t *testing.T) {
	for _, id := range []deputy.ID{"", "non-existent-zone-id-12345", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789012345678901234é", "01234567890123456789012345\x00"} {
		if id.Valid() {
			t.Errorf("%q passes as an id", id)
		}
		if _, ok := id.Time(); ok {
			t.Errorf("%q carries a time", id)
		}
	}
}
