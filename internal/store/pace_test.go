package store

import (
	"testing"
	"time"

	"deputy/internal/deputy"
)

// A node leaves a log to the others for as long as its own turn took, and only
// where there are others.
func TestPace(t *testing.T) {
	begun := time.Unix(1_000_000, 0)
	var p pace
	for _, c := range []struct {
		name                 string
		organization         deputy.OrganizationID
		first, last          int64
		took, later, expects time.Duration
	}{
		{"the first turn", "a", 7, 9, 2 * time.Millisecond, 0, 0},
		{"nobody else", "a", 10, 12, 2 * time.Millisecond, 0, 0},
		{"another log", "b", 50, 50, 2 * time.Millisecond, 0, 0},
		{"somebody else", "b", 60, 61, 2 * time.Millisecond, 0, 2 * time.Millisecond},
		{"somebody else, a while ago", "b", 70, 70, 2 * time.Millisecond, 1500 * time.Microsecond, 500 * time.Microsecond},
		{"somebody else, long ago", "b", 80, 80, 2 * time.Millisecond, time.Second, 0},
		{"a long turn", "b", 90, 90, time.Second, 0, maxPause},
		{"a clock that was set back", "b", 95, 95, 2 * time.Millisecond, -time.Hour, maxPause},
		{"nobody else any more", "b", 96, 96, 2 * time.Millisecond, 0, 0},
	} {
		p.appended(c.organization, c.first, c.last)
		p.ended(begun, begun.Add(c.took))
		if pause := p.pause(begun.Add(c.took + c.later)); pause != c.expects {
			t.Errorf("%s: %v", c.name, pause)
		}
	}
}
