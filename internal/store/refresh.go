package store

import (
	"context"
	"time"

	"deputy/internal/deputy"
)

var refreshFamilies = declare(table[deputy.RefreshFamily]{
	relation: relation{name: "refresh_families", noun: "refresh token", scope: zoned, id: "session_id"},
	fields: func(f *deputy.RefreshFamily) []field {
		return []field{
			{"zone_id", &f.ZoneID},
			{"session_id", &f.SessionID},
			{"client_id", &f.ClientID},
			{"generation", &f.Generation},
			{"current", &f.Current},
			{"previous", &f.Previous},
			{"sealed", &f.Sealed},
			{"turns", document{&f.Turns}},
			{"tag", &f.Tag},
			{"data", raw{&f.Data}},
			{"created_at", micros{&f.CreatedAt}},
			{"expires_at", micros{&f.ExpiresAt}},
		}
	},
	stamp: func(*deputy.RefreshFamily) (*int64, *time.Time) { return nil, nil },
})

// TurnRefresh is one statement: it is the last of its turn, which cannot fail
// any more when it has changed a row, so it needs no savepoint.
func (x *tx) TurnRefresh(_ context.Context, f *deputy.RefreshFamily, was deputy.SecretHash) error {
	turns, err := value(document{&f.Turns})
	if err != nil {
		return err
	}
	n, err := x.execLast("UPDATE refresh_families SET generation = $1, current = $2, previous = $3, sealed = $4, turns = $5"+
		" WHERE zone_id = $6 AND session_id = $7 AND current = $8",
		f.Generation, []byte(f.Current), f.Previous, f.Sealed, turns, string(f.ZoneID), string(f.SessionID), []byte(was))
	if err == nil && n == 0 {
		return deputy.Errorf(deputy.Stale, "another refresh token is the newest")
	}
	return err
}
