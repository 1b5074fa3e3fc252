package keys

import (
	"time"

	"deputy/internal/deputy"
)

const (
	// PublishedAhead is how long a key is published before it signs, so that
	// verifiers who remember the key set for a while know it in time.
	PublishedAhead = 10 * time.Minute
	// Retention is how long a retired key stays: the longest lifetime of a token,
	// a day, and an hour.
	Retention = 25 * time.Hour
	// DefaultMaxAge is how long a key signs before the next one is made.
	DefaultMaxAge = 90 * 24 * time.Hour
)

// algorithms are those that every owner has keys of.
var algorithms = []deputy.SigningAlgorithm{deputy.RS256, deputy.ES256}

// Turn is what an owner's keys need at one moment. The zero Turn is nothing.
type Turn struct {
	// Make names the algorithms of which a key is to be generated: one that is
	// next, or one that signs at once.
	Make   []deputy.SigningAlgorithm
	AtOnce bool
	// Update holds rows in their new state.
	Update []deputy.SigningKey
	// Remove holds the ids of keys that no living token is signed with.
	Remove []string
}

// State is that of the keys to be made.
func (t Turn) State() deputy.KeyState {
	if t.AtOnce {
		return deputy.KeyActive
	}
	return deputy.KeyNext
}

// Ask returns the turn by command: successors for all keys of an owner, which
// sign once they have been published long enough.
func Ask() Turn { return Turn{Make: algorithms} }

// Discard returns the turn for keys that somebody else may have: others sign at
// once, and none of these is published any more, so that nothing they signed is
// valid.
func Discard(rows []deputy.SigningKey) Turn {
	t := Turn{Make: algorithms, AtOnce: true}
	for _, row := range rows {
		t.Remove = append(t.Remove, row.ID)
	}
	return t
}

// Next returns what the keys of one owner need at now: a successor for keys
// older than maxAge, the change of turn once the successor has been published
// long enough, the end of retired keys. To rotate by command is to Generate a
// key in state next; the rest follows. Commands given again before the change
// of turn make one change; their keys wait for later ones. An algorithm without
// an active key takes its next one at once. Done twice, it asks for nothing
// more.
func Next(rows []deputy.SigningKey, now time.Time, maxAge time.Duration) Turn {
	var t Turn
	for _, alg := range algorithms {
		active, hasActive := Active(rows, alg)
		next, asked, hasNext := successor(rows, alg)
		ofAge := !hasActive || !now.Before(activation(active).Add(maxAge))
		// A key made since the active one began asks for a change of turn.
		due := ofAge || asked.After(activation(active))
		switch {
		case !hasNext && ofAge:
			t.Make = append(t.Make, alg)
		case hasNext && due && (!hasActive || !now.Before(next.CreatedAt.Add(PublishedAhead))):
			next.State, next.ActivatedAt = deputy.KeyActive, &now
			t.Update = append(t.Update, next)
			active = next
		}
		for _, row := range rows {
			if row.Algorithm == alg && row.State == deputy.KeyActive && row.ID != active.ID {
				row.State, row.RetiredAt = deputy.KeyRetired, &now
				t.Update = append(t.Update, row)
			}
		}
	}
	for _, row := range rows {
		if expired(row, now) {
			t.Remove = append(t.Remove, row.ID)
		}
	}
	return t
}

// Active returns the key that signs with alg: of several, the one activated
// last.
func Active(rows []deputy.SigningKey, alg deputy.SigningAlgorithm) (active deputy.SigningKey, ok bool) {
	for _, row := range rows {
		if row.Algorithm == alg && row.State == deputy.KeyActive && (!ok || activation(row).After(activation(active))) {
			active, ok = row, true
		}
	}
	return active, ok
}

// successor returns the key that is next in turn, the one published longest,
// and when the last of those waiting was made.
func successor(rows []deputy.SigningKey, alg deputy.SigningAlgorithm) (next deputy.SigningKey, asked time.Time, ok bool) {
	for _, row := range rows {
		if row.Algorithm != alg || row.State != deputy.KeyNext {
			continue
		}
		if !ok || row.CreatedAt.Before(next.CreatedAt) {
			next = row
		}
		if !ok || row.CreatedAt.After(asked) {
			asked = row.CreatedAt
		}
		ok = true
	}
	return next, asked, ok
}

// activation is when a key began to sign.
func activation(row deputy.SigningKey) time.Time {
	if row.ActivatedAt == nil {
		return row.CreatedAt
	}
	return *row.ActivatedAt
}

// retention is when a retired key ends.
func retention(row deputy.SigningKey) time.Time {
	if row.RetiredAt == nil {
		return activation(row).Add(Retention)
	}
	return row.RetiredAt.Add(Retention)
}

// expired reports whether a key is past its retention at now.
func expired(row deputy.SigningKey, now time.Time) bool {
	return row.State == deputy.KeyRetired && !now.Before(retention(row))
}
