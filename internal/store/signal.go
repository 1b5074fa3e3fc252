package store

import (
	"context"
	"time"

	"deputy/internal/deputy"
)

var streams = declare(table[deputy.Stream]{
	relation: relation{name: "streams", noun: "stream", scope: zoned, parent: "application_id"},
	fields: func(s *deputy.Stream) []field {
		return []field{
			{"zone_id", &s.ZoneID},
			{"id", &s.ID},
			{"organization_id", &s.OrganizationID},
			{"application_id", &s.ApplicationID},
			{"audience", &s.Audience},
			{"method", &s.Method},
			{"endpoint_url", &s.EndpointURL},
			{"sealed", &s.Sealed},
			{"events", listOf(&s.Events)},
			{"status", &s.Status},
			{"reason", &s.Reason},
			{"description", &s.Description},
			{"delivered", &s.Delivered},
			{"created_at", micros{&s.CreatedAt}},
			{"updated_at", micros{&s.UpdatedAt}},
			{"revision", &s.Revision},
		}
	},
	stamp: func(s *deputy.Stream) (*int64, *time.Time) { return &s.Revision, &s.UpdatedAt },
	// A stream tells of what happens from its beginning on.
	before: func(ctx context.Context, x *tx, s *deputy.Stream) error {
		return missing(row(ctx, x, "SELECT signals FROM zones WHERE id = $1", []any{string(s.ZoneID)}, &s.Delivered), absent("zone"))
	},
	follow: func(ctx context.Context, x *tx, s *deputy.Stream) error { return x.push(ctx, s.ZoneID) },
})

// signals are read and written whole.
var signals = declare(table[deputy.Signal]{
	relation: relation{name: "signals", noun: "signal", scope: zoned, id: "seq"},
	fields: func(s *deputy.Signal) []field {
		return []field{
			{"zone_id", &s.ZoneID},
			{"seq", &s.Seq},
			{"kind", &s.Kind},
			{"subject", &s.Subject},
			{"holder", &s.Holder},
			{"detail", &s.Detail},
			{"stream_id", &s.StreamID},
			{"at", micros{&s.At}},
		}
	},
	stamp: func(*deputy.Signal) (*int64, *time.Time) { return nil, nil },
})

// Signal numbers the signal and keeps it, and makes the push of the zone's
// streams due. The zone's row is locked until the commit, so that numbers become
// visible in their order; a zone that is gone has nobody to tell. A stream that
// is disabled will never be told.
func (x *tx) Signal(ctx context.Context, s *deputy.Signal) error {
	ids, err := column[int64](ctx, x, "UPDATE zones SET signals = signals + 1 WHERE id = $1 AND deleted_at IS NULL RETURNING signals", string(s.ZoneID))
	if err != nil || len(ids) == 0 {
		return err
	}
	s.Seq, s.At = ids[0], x.now
	if err := signals.insert(ctx, x, s); err != nil {
		return err
	}
	if _, err := x.exec(ctx, "UPDATE streams SET delivered = $1 WHERE zone_id = $2 AND status = 'disabled'", s.Seq, string(s.ZoneID)); err != nil {
		return err
	}
	return x.push(ctx, s.ZoneID)
}

// push makes the push of a zone's streams due. One that is under way loses its
// lease, because it may have looked before the signal was there: the next takes
// it up.
func (x *tx) push(ctx context.Context, zone deputy.ZoneID) error {
	_, err := x.exec(ctx, "INSERT INTO tasks (id, kind, zone_id, run_at, lease_until, attempt) SELECT id, '"+deputy.TaskPushSignals+
		"', zone_id, CAST($1 AS BIGINT), 0, 0 FROM streams WHERE zone_id = $2 AND method = $3 AND status = 'enabled'"+
		" ON CONFLICT (id) DO UPDATE SET run_at = excluded.run_at, lease_until = 0",
		x.now.UnixMicro(), string(zone), deputy.PushDelivery)
	return err
}

// over signals that what the subject names is over.
func (x *tx) over(ctx context.Context, zone deputy.ZoneID, kind deputy.SignalKind, subject string) error {
	return x.Signal(ctx, &deputy.Signal{ZoneID: zone, Kind: kind, Subject: subject})
}

// sessionsOver signals that sessions of one person are over; sessions of
// applications nobody outside knows.
func (x *tx) sessionsOver(ctx context.Context, zone deputy.ZoneID, user *deputy.UserID, ids ...string) error {
	if user == nil || len(ids) == 0 {
		return nil
	}
	holder, err := x.identifierOf(ctx, zone, *user)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := x.Signal(ctx, &deputy.Signal{ZoneID: zone, Kind: deputy.SignalSession, Subject: id, Holder: holder}); err != nil {
			return err
		}
	}
	return nil
}

// identifierOf returns the identifier of a person, empty if they are gone.
func (x *tx) identifierOf(ctx context.Context, zone deputy.ZoneID, user deputy.UserID) (identifier string, err error) {
	err = row(ctx, x, "SELECT identifier FROM users WHERE zone_id = $1 AND id = $2", []any{string(zone), string(user)}, &identifier)
	return identifier, missing(err, nil)
}

// credentialChanged signals that a person's means to sign in changed. Those who
// manage are of no zone, and nobody is told.
func (x *tx) credentialChanged(ctx context.Context, zone deputy.ZoneID, user deputy.UserID, detail string) error {
	if zone == "" {
		return nil
	}
	holder, err := x.identifierOf(ctx, zone, user)
	if err != nil || holder == "" {
		return err
	}
	return x.Signal(ctx, &deputy.Signal{ZoneID: zone, Kind: deputy.SignalCredential, Subject: holder, Detail: detail})
}

// Signals returns signals of a zone after a number, in their order.
func (s *Store) Signals(ctx context.Context, zone deputy.ZoneID, after int64, since time.Time, limit int) (out []*deputy.Signal, err error) {
	err = s.readers.with(ctx, func(q querier) (err error) {
		out, err = signals.many(ctx, q, "zone_id = $1 AND seq > $2 AND at >= $3 ORDER BY seq LIMIT $4",
			string(zone), after, since.UnixMicro(), limit)
		return err
	})
	return out, s.fault(err)
}

// DeliveredSignals notes that a stream needs no sending of the signals up to a
// number. It is nothing that anybody could see, so revision and time stay.
func (s *Store) DeliveredSignals(ctx context.Context, zone deputy.ZoneID, stream deputy.ID, upTo int64) error {
	return s.work(ctx, func(x *tx) error {
		_, err := x.exec(x.ctx, "UPDATE streams SET delivered = $1 WHERE zone_id = $2 AND id = $3 AND delivered < $1", upTo, string(zone), string(stream))
		return err
	})
}
