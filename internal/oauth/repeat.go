package oauth

import (
	"crypto/sha256"
	"time"

	"github.com/maypok86/otter/v2"

	"deputy/internal/deputy"
)

// maxRepeated is how many tokens a node keeps to hand them out again, about a
// kilobyte each.
const maxRepeated = 16384

// repeats is the tokens that were handed out a moment ago. Where the operator
// wants that, who asks for the same again gets the same: the request is decided
// anew and recorded anew, and what it saves is the signature, which with RSA
// takes ten times as long as everything else.
//
// The same is what the same key would sign: issuer, subject, audience, client,
// scopes, session, actors. A token is handed out again for half of its life at
// most, never beyond what a new one would have, and not when it was revoked.
type repeats struct {
	within time.Duration
	tokens *otter.Cache[[32]byte, *signed] // nil: each request gets a token of its own
}

// signed is a token with those of its claims that the next one would not share.
type signed struct {
	token               string
	id                  deputy.EventID
	issuedAt, expiresAt time.Time
}

func newRepeats(within time.Duration) repeats {
	if within <= 0 {
		return repeats{}
	}
	return repeats{within, otter.Must(&otter.Options[[32]byte, *signed]{MaximumSize: maxRepeated, Executor: func(f func()) { f() }})}
}

// find gives a decision the token to hand out again, if there is one, and has
// the one that is signed otherwise kept. The decision then rests on the token
// not being revoked.
func (r repeats) find(i *issuance, d *decided) {
	if r.tokens == nil || d.held != nil || d.signer == nil || i.agreed != nil || i.snap.revoked.TooMany {
		return
	}
	c := d.claims
	c.id, c.issuedAt, c.expiresAt = "", time.Time{}, time.Time{}
	key := sha256.Sum256(c.append(append(make([]byte, 0, 1024), d.signer.KeyID()...)))
	d.keep = func(s *signed) { r.tokens.Set(key, s) }
	s, ok := r.tokens.GetIfPresent(key)
	now := i.event.Time
	if !ok || now.Sub(s.issuedAt) > r.within || s.expiresAt.Sub(now) < d.lifetime/2 {
		return
	}
	ticket := string(revokedKey(string(s.id)))
	if i.snap.revoked.Keys[ticket] {
		return
	}
	i.grounds.tokens = append(i.grounds.tokens, ticket)
	d.again = s
}
