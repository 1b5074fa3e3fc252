package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"deputy/internal/deputy"
)

// LeaseSink takes the lease of a sink, which is made if it is new, and returns
// the fence that is the caller's; 0 when another has the lease.
func (s *Store) LeaseSink(ctx context.Context, sink string, lease time.Duration) (fence int64, err error) {
	err = s.work(ctx, func(x *tx) error {
		fence = 0
		err := row(x.ctx, x, "INSERT INTO event_sinks (sink, lease_until, fence) VALUES ($1, $2, 1) ON CONFLICT (sink) DO UPDATE"+
			" SET lease_until = excluded.lease_until, fence = event_sinks.fence + 1 WHERE event_sinks.lease_until <= $3 RETURNING fence",
			[]any{sink, x.now.Add(lease).UnixMicro(), x.now.UnixMicro()}, &fence)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return fence, err
}

// AdvanceSink keeps a lease and notes, if an organization is named, how far its
// log was delivered. It is Stale when the lease was lost.
func (s *Store) AdvanceSink(ctx context.Context, sink string, fence int64, lease time.Duration, organization deputy.OrganizationID, delivered int64) error {
	return s.work(ctx, func(x *tx) error {
		n, err := x.exec(x.ctx, "UPDATE event_sinks SET lease_until = $3 WHERE sink = $1 AND fence = $2", sink, fence, x.now.Add(lease).UnixMicro())
		if err == nil && n == 0 {
			err = deputy.Errorf(deputy.Stale, "the lease of the sink was lost")
		}
		if err != nil || organization == "" {
			return err
		}
		_, err = x.exec(x.ctx, "INSERT INTO event_deliveries (sink, organization_id, seq, delivered_at) VALUES ($1, $2, $3, $4)"+
			" ON CONFLICT (sink, organization_id) DO UPDATE SET seq = excluded.seq, delivered_at = excluded.delivered_at WHERE excluded.seq > event_deliveries.seq",
			sink, string(organization), delivered, x.now.UnixMicro())
		return err
	})
}

// ReleaseSink gives a lease back, if it is still held.
func (s *Store) ReleaseSink(ctx context.Context, sink string, fence int64) error {
	return s.work(ctx, func(x *tx) error {
		_, err := x.exec(x.ctx, "UPDATE event_sinks SET lease_until = 0 WHERE sink = $1 AND fence = $2", sink, fence)
		return err
	})
}

// sinkHeads are the logs that go on behind what was delivered to $1, with the
// commit of the first event that was not.
const sinkHeads = "SELECT h.organization_id, COALESCE(d.seq, 0) AS seq, h.last_seq, COALESCE(d.delivered_at, 0) AS delivered_at," +
	" (SELECT s.committed_at FROM event_segments s WHERE s.organization_id = h.organization_id AND s.first_seq <= COALESCE(d.seq, 0) + 1" +
	" ORDER BY s.first_seq DESC LIMIT 1) AS since" +
	" FROM event_heads h LEFT JOIN event_deliveries d ON d.sink = $1 AND d.organization_id = h.organization_id" +
	" WHERE h.last_seq > COALESCE(d.seq, 0)"

// SinkHeads returns up to limit logs that go on behind what was delivered of
// them, those first that were served the longest ago.
func (s *Store) SinkHeads(ctx context.Context, sink string, limit int) (heads []deputy.SinkHead, err error) {
	err = s.readers.with(ctx, func(q querier) error {
		heads = nil
		return rows(ctx, q, sinkHeads+" ORDER BY 4, 1 LIMIT $2", []any{sink, limit}, func(scan func(...any) error) error {
			var h deputy.SinkHead
			var at int64
			err := scan(&h.Organization, &h.Delivered, &h.Last, &at, micros{&h.Since})
			heads = append(heads, h)
			return err
		})
	})
	return heads, s.fault(err)
}

// SinkLag returns how many events of all logs a sink lacks, and when the first
// of them was committed; the zero time when it lacks none.
func (s *Store) SinkLag(ctx context.Context, sink string) (events int64, since time.Time, err error) {
	err = s.readers.with(ctx, func(q querier) error {
		var oldest int64
		err := row(ctx, q, "SELECT CAST(COALESCE(SUM(last_seq - seq), 0) AS BIGINT), COALESCE(MIN(since), 0) FROM ("+sinkHeads+") behind", []any{sink}, &events, &oldest)
		if oldest != 0 {
			since = fromMicros(oldest)
		}
		return err
	})
	return events, since, s.fault(err)
}
