package oauth_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/store"
)

// failing is a database one of whose statements fails: before it was run, or
// behind, so that only the answer is lost.
type failing struct {
	left   atomic.Int64 // statements until one fails; negative: none does
	behind bool
	hit    string // the statement that failed
}

var errDisk = errors.New("the disk has failed")

func (f *failing) around(statement string, run func() error) error {
	if f.left.Add(-1) != 0 {
		return run()
	}
	f.hit = statement
	if f.behind {
		if err := run(); err != nil {
			return err
		}
	}
	return errDisk
}

// during runs send while the statement with the number fails, and reports whether
// there was one.
func (f *failing) during(n int64, send func() *answer) (a *answer, failed bool) {
	f.hit = ""
	f.left.Store(n)
	a = send()
	f.left.Store(-1)
	return a, f.hit != ""
}

// newFailing returns a database with one node, whose statements fail when told to.
func newFailing(t testing.TB) (*duo, *failing) {
	f := new(failing)
	f.left.Store(-1)
	w := newBareWorld(t)
	w.open(store.Config{Path: deputytest.SQLite(t), Around: f.around})
	return &duo{"SQLite", w, w}, f
}

// failureTold reports whether an answer tells of a failure, in whatever way the
// path has; calls that are not HTTP have no status for it.
func failureTold(a *answer) bool {
	return a.status == 0 || a.status >= 500 || a.text("error") == "temporarily_unavailable" || a.text("error") == "server_error" || a.text("error") == "unavailable"
}

// TestStoreThatFails fails each statement of each path in turn. While everything
// is in force the answer is the usual one or tells of a failure, and the next is
// the usual one: nothing was half done. Once something is off, no failure makes
// the refusal a permit.
func TestStoreThatFails(t *testing.T) {
	t.Parallel()
	all, _ := cells()
	at, database := newFailing(t)
	statements := 0
	for i := 0; i < len(paths); i += deputytest.Times(6, 1, 1) {
		p := &paths[i]
		ofPath := slices.DeleteFunc(slices.Clone(all), func(c cell) bool { return c.path != p })
		last := ofPath[i*7%len(ofPath)] // another part for each path
		t.Run(p.name, func(t *testing.T) {
			s := at.newCrossing(t)
			send := last.sending()
			good := func(a *answer) bool { return a.status == max(p.ok, 200) }
			for range 2 { // what is read once is read
				if a := send(s.stage); !good(a) {
					t.Fatalf("with everything in force: %s", a)
				}
			}
			for _, database.behind = range []bool{false, true} {
				for n := int64(1); ; n++ {
					s.moreCodes()
					a, failed := database.during(n, func() *answer { return send(s.stage) })
					if !failed {
						break
					}
					statements++
					if !good(a) && !failureTold(a) {
						t.Errorf("statement %d (%s) failed, and the answer is %s", n, database.hit, a)
					}
					if a := send(s.stage); !good(a) {
						t.Fatalf("after statement %d (%s) failed: %s", n, database.hit, a)
					}
				}
			}
			last.turn(s.stage)
			for _, database.behind = range []bool{false, true} {
				for n := int64(1); ; n++ {
					a, failed := database.during(n, func() *answer { return send(s.stage) })
					if good(a) {
						t.Errorf("%s %s, and when statement %d (%s) fails it is %s", last.part, last.state, n, database.hit, a)
					}
					if !failed {
						break
					}
					statements++
				}
			}
		})
	}
	t.Logf("%d statements failed", statements)
}

// moreCodes sees to it that there is a code to redeem.
func (s *stage) moreCodes() {
	if s.browser != nil && s.clientID != "" && len(s.codes) < 2 {
		for range 2 {
			s.codes = append(s.codes, s.browser.answered(s.ask()))
		}
	}
}

// sending returns what sends the requests of the cell's path.
func (c *cell) sending() func(*stage) *answer {
	if c.path.send != nil {
		return c.path.send
	}
	if c.path.held != "" {
		return uses[c.path.held]
	}
	return uses[c.path.use]
}

// TestStoreThatStalls: however long statements take, nothing is issued once a
// revocation was acknowledged.
func TestStoreThatStalls(t *testing.T) {
	var stalling atomic.Bool
	w := newBareWorld(t)
	w.open(store.Config{Path: deputytest.SQLite(t), Around: func(_ string, run func() error) error {
		if stalling.Load() && rand.IntN(4) == 0 {
			time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
		}
		return run()
	}})
	w.platform = deputy.NewID(noon)
	w.fill()
	r := newRelayIn(w)
	for range 5 {
		p := w.newPerson(string(w.id()))
		token := w.userToken(p, r.agent.credential.Identifier, r.front.Identifier)
		stalling.Store(true)
		r.revokeWhileAsked(token, func() { w.setSession(p.web, func(s *deputy.Session) { s.Status = deputy.Revoked }) })
		stalling.Store(false)
	}
}

// TestClockSteps: the clock of the machine is set forward and back, by a minute,
// an hour, a day. What is off stays off, what is issued has its event, and no
// event is lost sight of.
func TestClockSteps(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	gone := w.newPerson("gone")
	void := w.userToken(gone, w.agent.credential.Identifier, w.front.Identifier)
	w.setSession(gone.web, func(s *deputy.Session) { s.Status = deputy.Revoked })
	issued := map[string]bool{}
	for _, step := range []time.Duration{
		time.Minute, -time.Minute, -time.Hour, time.Hour, time.Hour, -24 * time.Hour, 24 * time.Hour, 48 * time.Hour, -49 * time.Hour, time.Minute,
	} {
		w.clock.advance(step)
		zoe := w.newPerson("zoe" + string(w.id()))
		for _, a := range []*answer{
			w.credentialsFor(w.agent, w.front.Identifier),
			w.exchange(w.server, w.userToken(zoe, w.agent.credential.Identifier, w.front.Identifier), w.api.Identifier),
		} {
			issued[w.payload(w.must(a, 200, "").text("access_token"))["jti"].(string)] = true
		}
		if a := w.exchange(w.server, void, w.api.Identifier); a.text("error") != "invalid_grant" {
			t.Errorf("after %v: %s", step, a)
		}
		w.restart() // which remembers nothing
		if a := w.exchange(w.server, void, w.api.Identifier); a.text("error") != "invalid_grant" {
			t.Errorf("after %v, restarted: %s", step, a)
		}
		for id := range issued {
			if _, err := w.store.Event(context.Background(), w.organization.ID, "", deputy.EventID(id)); err != nil {
				t.Errorf("after %v: event %s: %v", step, id, err)
			}
		}
	}
}
