package oauth

import (
	"time"

	"github.com/go-json-experiment/json"

	"deputy/internal/deputy"
	"deputy/internal/vault"
)

// newTicket returns a ticket that the secret opens. What it says is sealed under
// the secret, so that nobody reads it who only has the database.
func newTicket(kind deputy.TicketKind, zone deputy.ZoneID, secret deputy.Secret, says any, now time.Time, lives time.Duration) (*deputy.Ticket, error) {
	plain, err := json.Marshal(says)
	if err != nil {
		return nil, err
	}
	return &deputy.Ticket{
		Kind: kind, ZoneID: zone, Key: deputy.HashSecret(secret), Data: vault.SealUnder(secret, ticketPlace(kind, zone), plain),
		CreatedAt: deputy.Time(now), ExpiresAt: deputy.Time(now.Add(lives)),
	}, nil
}

// openTicket reads what a ticket says.
func openTicket(t *deputy.Ticket, secret deputy.Secret, says any) error {
	plain, err := vault.OpenUnder(secret, ticketPlace(t.Kind, t.ZoneID), t.Data)
	if err != nil {
		return err
	}
	return json.Unmarshal(plain, says)
}

func ticketPlace(kind deputy.TicketKind, zone deputy.ZoneID) vault.Place {
	return vault.Place{Zone: zone, Table: "tickets", Column: "data", Row: string(kind)}
}
