package store

import (
	"time"

	"deputy/internal/deputy"
)

// pace keeps a node from appending to a log again as soon as it has let go of
// it, where other nodes append as well: for as long as its last turn took, to
// gather members and to commit them, further members gather. Otherwise each node
// would commit as often as one that has all the members, and every token would
// cost so much more.
type pace struct {
	organization deputy.OrganizationID // whose log this node appended to last
	last         int64                 // up to where
	shared       bool                  // somebody else had appended meanwhile
	until        time.Time             // when members have gathered long enough
}

// maxPause bounds how long members gather for the sake of other nodes.
const maxPause = 5 * time.Millisecond

// appended notes what the turn under way appends.
func (p *pace) appended(organization deputy.OrganizationID, first, last int64) {
	p.shared = p.shared || organization == p.organization && first != p.last+1
	p.organization, p.last = organization, last
}

// ended notes when a turn began and ended.
func (p *pace) ended(begun, now time.Time) {
	p.until = time.Time{}
	if p.shared {
		p.until = now.Add(now.Sub(begun))
	}
	p.shared = false
}

// pause returns for how long members are still to gather.
func (p *pace) pause(now time.Time) time.Duration {
	return min(max(p.until.Sub(now), 0), maxPause)
}
