package deputytest

import (
	"sync"
	"time"
)

// Clock is a clock that stands still until it is told to move. Its Now method
// is what the code under test takes as Now func() time.Time. It may be used by
// several goroutines.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that shows the time now, in UTC.
func NewClock(now time.Time) *Clock { return &Clock{now: now.UTC()} }

// Now returns the time the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock forward by d and returns the time it then shows.
func (c *Clock) Advance(d time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return c.now
}
