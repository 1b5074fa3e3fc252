package deputytest_test

import (
	"sync"
	"testing"
	"time"

	"deputy/internal/deputytest"
)

func TestClockMovesOnlyWhenTold(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("", 3600))
	clock := deputytest.NewClock(start)
	if got := clock.Now(); got != start.UTC() {
		t.Fatalf("the clock shows %v, want %v", got, start.UTC())
	}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() { clock.Advance(time.Minute) })
	}
	all.Wait()
	if got, want := clock.Now(), start.Add(10*time.Minute); !got.Equal(want) {
		t.Fatalf("the clock shows %v, want %v", got, want)
	}
	if got := clock.Advance(time.Hour); got != clock.Now() {
		t.Fatalf("Advance returned %v and the clock shows %v", got, clock.Now())
	}
}
