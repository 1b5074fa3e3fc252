package main

import (
	"runtime"
	"testing"
	"time"
)

func TestTheHeapGrowsByWhatASecondMakes(t *testing.T) {
	const mb, room = 1 << 20, 32 << 20
	for name, c := range map[string]struct {
		live, made uint64
		since      time.Duration
		want       int
	}{
		"nothing happens":            {10 * mb, mb, time.Minute, leastGrowth},
		"some load":                  {10 * mb, 20 * mb, 2 * time.Second, 100},
		"collected too often":        {10 * mb, 3 * mb, 250 * time.Millisecond, 120},
		"more than there is room":    {20 * mb, 100 * mb, time.Second, 160},
		"much is live":               {200 * mb, 500 * mb, time.Second, leastGrowth},
		"little is live":             {mb, 100 * mb, time.Second, mostGrowth},
		"before the first":           {0, 0, 0, leastGrowth},
		"twice in the same instance": {mb, 0, 0, leastGrowth},
	} {
		if got := growth(c.live, c.made, c.since, room); got != c.want {
			t.Errorf("%s: %d %%, want %d", name, got, c.want)
		}
	}
}

func TestCollectionsAreNoticed(t *testing.T) {
	seen := make(chan struct{})
	for range 3 {
		afterCollection(func() { close(seen) })
		runtime.GC()
		<-seen
		seen = make(chan struct{})
	}
}
