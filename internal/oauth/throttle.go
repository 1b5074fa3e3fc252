package oauth

import (
	"crypto/sha256"
	"strings"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
)

// Tries of people and of those who pretend to be them, in a minute. Whoever
// tries more is told to wait for the minute's end; nobody is locked out.
const (
	// triesAtAccount is how often one network may fail at one account.
	triesAtAccount = 10
	// triesOfNetwork is how often one network may fail in all.
	triesOfNetwork = 100
	// triesOfAccount is how often all together may fail at one account. Browsers
	// that have signed in to it before do not mind: so an attack from many
	// places keeps out those who attack, and not the person.
	triesOfAccount = 50
	// mailsOfNetwork is how many mails one network may cause.
	mailsOfNetwork = 30
	// mailsToAddress is how many mails strangers may cause to one address.
	mailsToAddress = 3

	throttlePeriod = time.Minute
	// maxThrottled bounds what is counted at once; the least recent is forgotten.
	maxThrottled = 100_000
)

// throttle counts what was tried lately, by whatever it is counted by.
type throttle struct {
	now    func() time.Time
	counts *otter.Cache[string, *tries]
}

// tries are those of the minute that began then.
type tries struct {
	mu    sync.Mutex
	since time.Time
	n     int
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, counts: otter.Must(&otter.Options[string, *tries]{
		MaximumSize: maxThrottled, Executor: func(f func()) { f() },
	})}
}

// at is a thing to count by, and how much of it is too much.
type at struct {
	key  string
	most int
}

// by joins what is counted by. Letter case tells no addresses apart. What a
// stranger has typed may be long, so a hash of it is kept.
func by(most int, parts ...string) at {
	sum := sha256.Sum256([]byte(strings.ToLower(strings.Join(parts, "\x00"))))
	return at{string(sum[:]), most}
}

// exceeded reports whether any of the things was tried too often.
func (t *throttle) exceeded(all ...at) bool {
	for _, a := range all {
		if c, ok := t.counts.GetIfPresent(a.key); ok && c.count(t.now(), 0) >= a.most {
			return true
		}
	}
	return false
}

// count notes a try of each of the things.
func (t *throttle) count(all ...at) {
	for _, a := range all {
		c, _ := t.counts.ComputeIfAbsent(a.key, func() (*tries, bool) { return new(tries), false })
		c.count(t.now(), 1)
	}
}

// count adds to the tries of the minute and returns how many there are.
func (c *tries) count(now time.Time, more int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.since) >= throttlePeriod {
		c.since, c.n = now, 0
	}
	c.n += more
	return c.n
}
