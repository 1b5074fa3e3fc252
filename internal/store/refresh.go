package store

import (
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
