package policy

import (
	"bytes"
	"slices"

	"github.com/go-json-experiment/json"

	"deputy/internal/deputy"
)

// Change is how a decision made again differs from the one that is stored.
type Change string

// The changes. A decision that gives some scopes and takes others is widened:
// it gives what was not given before.
const (
	Unchanged    Change = "unchanged"
	NewlyAllowed Change = "newly_allowed"
	NewlyDenied  Change = "newly_denied"
	Narrowed     Change = "narrowed"
	Widened      Change = "widened"
	// Gone is a decision that cannot be made again, because what it was made of
	// is not kept any more.
	Gone Change = "gone"
)

// Widens reports whether the change gives access that was not there.
func (c Change) Widens() bool { return c == NewlyAllowed || c == Widened }

// Replay makes stored decisions again, by a set that did not make them. Equal
// questions with equal answers are one case, which is decided once.
//
// Cases come in by [Replay.Take], their entities by [Replay.Missing] and
// [Entities.Add], and [Replay.Decide] makes them again.
type Replay struct {
	Entities Entities
	set      *Set
	cases    map[string]*Case
	fresh    []*Case // not decided yet
	order    []*Case
}

// Case is one question with the answer that was given, however often.
type Case struct {
	// Of is the newest event with the question, Count how many there are.
	Of     deputy.EventID
	Count  int
	Change Change
	// Request and what was decided, before and again; only of a case that is
	// not gone.
	Request Request
	Before  deputy.Evaluation
	After   Outcome
}

// NewReplay returns a replay by a set; nil denies everything.
func NewReplay(set *Set) *Replay { return &Replay{set: set, cases: map[string]*Case{}} }

// Take adds a stored decision. It fails with Invalid when the bytes are none.
func (r *Replay) Take(e *deputy.StoredEvaluation) error {
	key := e.Bytes
	if !r.set.readsClaims() {
		key = withoutClaims(key)
	}
	if c := r.cases[string(key)]; c != nil {
		c.Count++
		return nil
	}
	c := &Case{Of: e.ID, Count: 1}
	if err := json.Unmarshal(key, &c.Before); err != nil {
		return deputy.Error{Kind: deputy.Invalid, Message: "a stored decision is unreadable"}.Because(err)
	}
	r.cases[string(key)] = c
	r.fresh, r.order = append(r.fresh, c), append(r.order, c)
	return nil
}

// Missing returns the entities that the next [Replay.Decide] needs beside those
// that were added.
func (r *Replay) Missing() []deputy.EntityID {
	seen := map[deputy.EntityID]bool{}
	var ids, few []deputy.EntityID
	for _, c := range r.fresh {
		for _, id := range r.Entities.Missing(&c.Before, few[:0]) {
			if !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// Decide makes the decisions again that were added since it was last called.
func (r *Replay) Decide() {
	for _, c := range r.fresh {
		request, err := r.Entities.Request(&c.Before)
		if err != nil {
			c.Change = Gone
			continue
		}
		c.Request = request
		c.After = r.set.Decide(request)
		c.Change = change(&c.Before, &c.After)
	}
	r.fresh = r.fresh[:0]
}

// Cases returns every case, the one with the newest decision first.
func (r *Replay) Cases() []*Case { return r.order }

func change(before *deputy.Evaluation, after *Outcome) Change {
	switch {
	case before.Allowed() && !after.Allowed:
		return NewlyDenied
	case !before.Allowed() && after.Allowed:
		return NewlyAllowed
	case slices.ContainsFunc(after.Scopes, func(s string) bool { return !slices.Contains(before.Kept, s) }):
		return Widened
	case len(after.Scopes) < len(before.Kept):
		return Narrowed
	}
	return Unchanged
}

// withoutClaims returns the bytes of an evaluation without the claims that it
// names, which are others for every token.
func withoutClaims(evaluation []byte) []byte {
	for _, name := range [...]string{`,"actor_claims":"`, `,"subject_claims":"`} {
		before, after, found := bytes.Cut(evaluation, []byte(name))
		if !found {
			continue
		}
		end := bytes.IndexByte(after, '"')
		evaluation = append(append(make([]byte, 0, len(evaluation)), before...), after[end+1:]...)
	}
	return evaluation
}

// Against compares what was decided with what another set decides now, in place
// of what is stored.
func (r *Replay) Against(set *Set) {
	for _, c := range r.order {
		if c.Change == Gone {
			continue
		}
		before := set.Decide(c.Request)
		c.Before.Legs = nil
		before.Evaluation(&c.Before)
		c.Change = change(&c.Before, &c.After)
	}
}
