package upstream

import (
	"sync"
	"time"
)

// A circuit opens after circuitFailures failures in a row, and lets one
// request through as a probe each circuitRest after that, until one succeeds.
const (
	circuitFailures = 5
	circuitRest     = 30 * time.Second
)

// verdict is what one exchange says about the host it went to.
type verdict int

const (
	healthy   verdict = iota // it answered, whatever it said
	failing                  // unreachable, too slow, or an answer of 500 and above
	abandoned                // the caller left before there was an answer
)

// circuit keeps requests away from a host that keeps failing: they would hold
// their callers for the whole time limit, and the host from recovering.
type circuit struct {
	mu       sync.Mutex
	failures int // in a row
	until    time.Time
	probing  bool
}

// enter reports whether a request may go out at now. If so, leave must follow.
func (c *circuit) enter(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failures < circuitFailures {
		return true
	}
	if c.probing || now.Before(c.until) {
		return false
	}
	c.probing = true
	return true
}

// leave records how a request that entered ended.
func (c *circuit) leave(now time.Time, v verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.probing = false
	switch v {
	case healthy:
		c.failures = 0
	case failing:
		c.failures++
		c.until = now.Add(circuitRest)
	}
}
