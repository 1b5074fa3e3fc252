package oauth

import (
	"context"

	"deputy/internal/deputy"
)

// tickets is where tickets are looked up: the store, or the committing
// transaction.
type tickets interface {
	Ticket(context.Context, deputy.TicketKind, deputy.ZoneID, deputy.SecretHash) (*deputy.Ticket, error)
}

// unrevoked refuses a token that was revoked before its time.
func unrevoked(ctx context.Context, in tickets, zone deputy.ZoneID, jti string) error {
	_, err := in.Ticket(ctx, deputy.RevokedTicket, zone, revokedKey(jti))
	switch {
	case err == nil:
		return errGone
	case deputy.KindOf(err) == deputy.NotFound:
		return nil
	}
	return err
}

// revokedKey returns what a revoked token is found by.
func revokedKey(jti string) deputy.SecretHash { return deputy.HashSecret(deputy.Conceal(jti)) }
