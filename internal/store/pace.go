package store

import (
	"time"

	"deputy/internal/deputy"
)

// pace keeps a node from appending to a log again as soon as it has let go of
// it, where other nodes append as well: for as long as its commit took, new
// members gather instead. Otherwise each node would commit as often as one that
// has all the members, and every token would cost so much more.
type pace struct {
	organization deputy.OrganizationID // whose log this node appended to last
	last         int64                 // up to where
	shared       bool                  // somebody else had appended meanwhile
	until        time.Time             // when members have gathered long enough
}

// maxPause bounds how long members gather for the sake of other nodes.
const maxPause = 5 * time.Millisecond

// appended notes what the commit under way appends.
func (p *pace) appended(organization deputy.OrganizationID, first, last int64) {
	p.shared = p.shared || organization == p.organization && first != p.last+1
	p.organization, p.last = organization, last
}

// committed notes when a commit began and ended.
func (p *pace) committed(begun, ended time.Time) {
	p.until = time.Time{}
	if p.shared {
		p.until = ended.Add(ended.Sub(begun))
	}
	p.shared = false
}

// pause returns for how long members are still to gather.
func (p *pace) pause(now time.Time) time.Duration {
	return min(max(p.until.Sub(now), 0), maxPause)
}
