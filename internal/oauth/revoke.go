package oauth

import (
	"context"

	"deputy/internal/deputy"
)

// presentedRevoked reports whether a token that was presented for a credential
// was revoked before its time. The decision rests on the answer: the commit
// notices a revocation that came later.
func (s *Server) presentedRevoked(ctx context.Context, i *issuance, v *verified) (bool, error) {
	key := string(revokedKey(v.ID))
	i.grounds.tokens = append(i.grounds.tokens, key)
	if i.snap.revoked.TooMany {
		return s.revoked(ctx, i.zone.id, v)
	}
	return i.snap.revoked.Keys[key], nil
}

// revoked asks the store whether a token was revoked before its time, for answers
// that no commit validates.
func (s *Server) revoked(ctx context.Context, zone deputy.ZoneID, v *verified) (bool, error) {
	t, err := s.store.Ticket(ctx, deputy.RevokedTicket, zone, revokedKey(v.ID))
	return t != nil, unlessAbsent(err)
}

// revokedKey returns what a revoked token is found by.
func revokedKey(jti string) deputy.SecretHash { return deputy.HashSecret(deputy.Conceal(jti)) }
