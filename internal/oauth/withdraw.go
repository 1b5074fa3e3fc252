package oauth

import (
	"context"
	"errors"

	"github.com/go-json-experiment/json"

	"deputy/internal/broker"
	"deputy/internal/deputy"
)

// Withdraw does a TaskRevokeGrant: it revokes the tokens of a grant that is over
// at the provider that they are of, as far as that has a way to. An error says
// that trying again may help.
func (s *Server) Withdraw(ctx context.Context, t deputy.Task) error {
	var g deputy.GrantRevocation
	if err := json.Unmarshal(t.Data, &g); err != nil {
		return err
	}
	zone := t.ZoneID
	z, snap, err := s.zone(ctx, zone)
	if err == nil {
		snap, err = s.advance(ctx, z, snap)
	}
	if err != nil {
		return unlessAbsent(err) // deleted, and with it the keys
	}
	p := snap.providers[g.ProviderID]
	if p == nil {
		return nil
	}
	tokens, err := s.openTokens(ctx, zone, g.GrantID, g.Sealed)
	if err != nil {
		return unlessAbsent(err) // the person is gone, and with them their key
	}
	to, err := s.provider(ctx, snap, p)
	if err == nil {
		err = revokeTokens(ctx, to, tokens.Access, tokens.Refresh)
	}
	var fault *broker.Fault
	if errors.As(err, &fault) && fault.Transient {
		return err
	}
	e := s.ownEvent(snap, eventGrantWithdraw)
	e.UserID, e.ProviderID = g.UserID, g.ProviderID
	e.Target = &deputy.Target{Type: "delegated_grant", ID: string(g.GrantID)}
	if err != nil {
		e.Outcome, e.Error, e.ErrorDetail = deputy.Failure, "not_revoked", err.Error()
	}
	return s.store.Write(ctx, e, nil)
}

// revokeTokens revokes what a grant had: the refresh token, which takes along
// what was made with it, and the access token, which not every server counts to
// that.
func revokeTokens(ctx context.Context, at *broker.Server, access, refresh deputy.Secret) error {
	if !refresh.IsZero() {
		if err := at.Revoke(ctx, refresh, "refresh_token"); err != nil {
			return err
		}
	}
	return at.Revoke(ctx, access, "access_token")
}
