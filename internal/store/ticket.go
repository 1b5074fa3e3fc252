package store

import (
	"cmp"
	"context"
	"encoding/hex"
	"slices"

	"deputy/internal/deputy"
)

// tickets are found by kind, zone and key; lists of them there are none.
var tickets = declare(table[deputy.Ticket]{
	relation: relation{
		name: "tickets", noun: "ticket", scope: zoned, id: "key",
		replace: "(kind, zone_id, key) DO UPDATE SET source = excluded.source, data = excluded.data, size = excluded.size," +
			" created_at = excluded.created_at, expires_at = excluded.expires_at",
	},
	fields: func(t *deputy.Ticket) []field {
		return []field{
			{"kind", &t.Kind},
			{"zone_id", &t.ZoneID},
			{"key", &t.Key},
			{"source", &t.Source},
			{"data", &t.Data},
			{"created_at", micros{&t.CreatedAt}},
			{"expires_at", micros{&t.ExpiresAt}},
		}
	},
	search: func(t *deputy.Ticket) []field {
		return []field{{"size", number(ticketSize + len(t.Source) + len(t.Data))}}
	},
})

// ticketSize is about what a ticket takes beside its data, in the table and in
// two indexes.
const ticketSize = 256

// ticketBound is how many bytes the tickets of one bounded kind may take.
const ticketBound = 64 << 20

const ofTicket = "kind = $1 AND zone_id = $2 AND key = $3"

func ticketKey(kind deputy.TicketKind, zone deputy.ZoneID, key deputy.SecretHash) []any {
	return []any{string(kind), string(zone), []byte(key)}
}

// ticket reads a ticket that is still good.
func (s *Store) ticket(ctx context.Context, q querier, kind deputy.TicketKind, zone deputy.ZoneID, key deputy.SecretHash) (*deputy.Ticket, error) {
	t, err := tickets.one(ctx, q, ofTicket, ticketKey(kind, zone, key)...)
	if err == nil && !s.now().Before(t.ExpiresAt) {
		return nil, absent(tickets.noun)
	}
	return t, err
}

func (s *Store) Ticket(ctx context.Context, kind deputy.TicketKind, zone deputy.ZoneID, key deputy.SecretHash) (t *deputy.Ticket, err error) {
	err = s.readers.with(ctx, func(q querier) (err error) {
		t, err = s.ticket(ctx, q, kind, zone, key)
		return err
	})
	return t, s.fault(err)
}

func (x *tx) Ticket(_ context.Context, kind deputy.TicketKind, zone deputy.ZoneID, key deputy.SecretHash) (*deputy.Ticket, error) {
	return x.store.ticket(x.ctx, x, kind, zone, key)
}

func (x *tx) PutTicket(_ context.Context, t *deputy.Ticket) error {
	if t.Kind.Bounded() {
		x.store.ticketed.Add(int64(ticketSize + len(t.Source) + len(t.Data)))
	}
	if err := tickets.add(x.ctx, x, t); err != nil || t.Kind != deputy.RevokedTicket {
		return err
	}
	if err := x.over(x.ctx, t.ZoneID, deputy.SignalToken, string(t.Data)); err != nil {
		return err
	}
	return x.changed(x.ctx, change{t.ZoneID, deputy.ChangedToken, hex.EncodeToString(t.Key)})
}

// maxRevoked is how many revoked tokens of a zone are listed.
const maxRevoked = 1000

// revokedTokens lists the tokens that were revoked in a zone.
func revokedTokens(ctx context.Context, q querier, zone deputy.ZoneID) (*deputy.RevokedTokens, error) {
	keys, err := column[[]byte](ctx, q, "SELECT key FROM tickets WHERE kind = $1 AND zone_id = $2 LIMIT $3",
		string(deputy.RevokedTicket), string(zone), maxRevoked+1)
	if err != nil || len(keys) > maxRevoked {
		return &deputy.RevokedTokens{TooMany: true}, err
	}
	r := &deputy.RevokedTokens{Keys: make(map[string]bool, len(keys))}
	for _, key := range keys {
		r.Keys[string(key)] = true
	}
	return r, nil
}

// SpendTicket inserts the row or nothing: whoever comes second waits here for the
// first one's end and finds its row.
func (x *tx) SpendTicket(_ context.Context, t *deputy.Ticket) error {
	values, err := tickets.values(t)
	if err != nil {
		return err
	}
	n, err := x.exec(x.ctx, tickets.inserted+" WHERE tickets.expires_at <= excluded.created_at", values...)
	if err == nil && n == 0 {
		err = conflict("key")
	}
	return err
}

func (s *Store) SpendTicket(ctx context.Context, t *deputy.Ticket) error {
	return s.work(ctx, func(x *tx) error { return x.SpendTicket(ctx, t) })
}

func (x *tx) TakeTicket(_ context.Context, kind deputy.TicketKind, zone deputy.ZoneID, key deputy.SecretHash) (*deputy.Ticket, error) {
	t, err := x.store.ticket(x.ctx, x, kind, zone, key)
	if err != nil {
		return nil, err
	}
	// Whoever removes the row has the ticket; another waits here and finds none.
	n, err := x.exec(x.ctx, "DELETE FROM tickets WHERE "+ofTicket, ticketKey(kind, zone, key)...)
	if err == nil && n == 0 {
		err = absent(tickets.noun)
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// PutTicket adds a ticket, in place of another where was is given, and sees to
// the bounds now and then.
func (s *Store) PutTicket(ctx context.Context, t *deputy.Ticket, was deputy.SecretHash) error {
	err := s.work(ctx, func(x *tx) error {
		if was != nil {
			if _, err := x.TakeTicket(ctx, t.Kind, t.ZoneID, was); err != nil {
				return err
			}
		}
		return x.PutTicket(ctx, t)
	})
	if err != nil || s.ticketed.Load() < s.ticketBound/64 {
		return err
	}
	s.ticketed.Store(0)
	return s.work(ctx, func(x *tx) error { return x.trimTickets(t.Kind) })
}

func (s *Store) TakeTicket(ctx context.Context, kind deputy.TicketKind, zone deputy.ZoneID, key deputy.SecretHash) (t *deputy.Ticket, err error) {
	err = s.work(ctx, func(x *tx) (err error) {
		t, err = x.TakeTicket(ctx, kind, zone, key)
		return err
	})
	return t, err
}

func (s *Store) DropTicket(ctx context.Context, kind deputy.TicketKind, zone deputy.ZoneID, key deputy.SecretHash) error {
	return s.work(ctx, func(x *tx) error {
		_, err := x.exec(x.ctx, "DELETE FROM tickets WHERE "+ofTicket, ticketKey(kind, zone, key)...)
		return err
	})
}

// trimTickets brings a kind within its bound again, with room for what may come
// before the next time: it removes what is over, then of the heaviest sources
// the oldest.
func (x *tx) trimTickets(kind deputy.TicketKind) error {
	if _, err := x.exec(x.ctx, "DELETE FROM tickets WHERE kind = $1 AND expires_at <= $2", string(kind), x.now.UnixMicro()); err != nil {
		return err
	}
	sources, total, err := x.ticketSources(kind)
	if err != nil {
		return err
	}
	excess := total - (x.store.ticketBound - x.store.ticketBound/16)
	for level := levelOf(sources, excess); len(sources) > 0 && excess > 0; sources = sources[1:] {
		freed, err := x.dropTickets(kind, sources[0].name, sources[0].size-level)
		if err != nil {
			return err
		}
		excess -= freed
	}
	return nil
}

// ticketSource is who takes how much.
type ticketSource struct {
	name   string
	size   int64
	oldest int64
}

// levelOf returns the most that a source may have left when the heaviest, which
// come first, give up excess bytes together.
func levelOf(sources []ticketSource, excess int64) int64 {
	var above int64
	for i, s := range sources {
		above += s.size
		next := int64(0)
		if i+1 < len(sources) {
			next = sources[i+1].size
		}
		if n := int64(i + 1); above-n*next >= excess {
			return (above - excess) / n
		}
	}
	return 0
}

// ticketSources returns who takes how much of a kind, heaviest first.
func (x *tx) ticketSources(kind deputy.TicketKind) (sources []ticketSource, total int64, err error) {
	err = rows(x.ctx, x, "SELECT source, CAST(SUM(size) AS BIGINT), MIN(created_at) FROM tickets WHERE kind = $1 GROUP BY source",
		[]any{string(kind)}, func(scan func(...any) error) error {
			var s ticketSource
			err := scan(&s.name, &s.size, &s.oldest)
			sources, total = append(sources, s), total+s.size
			return err
		})
	slices.SortFunc(sources, func(a, b ticketSource) int {
		return cmp.Or(cmp.Compare(b.size, a.size), cmp.Compare(a.oldest, b.oldest))
	})
	return sources, total, err
}

// dropTickets removes the oldest tickets of a source that together take size
// bytes or a little more, and returns how many bytes went.
func (x *tx) dropTickets(kind deputy.TicketKind, source string, size int64) (freed int64, err error) {
	for freed < size {
		sizes, err := column[int64](x.ctx, x, "DELETE FROM tickets WHERE (kind, zone_id, key) IN (SELECT kind, zone_id, key FROM tickets"+
			" WHERE kind = $1 AND source = $2 ORDER BY created_at LIMIT $3) RETURNING size", string(kind), source, 1+(size-freed)/1024)
		if err != nil {
			return freed, err
		}
		if len(sizes) == 0 {
			break
		}
		for _, n := range sizes {
			freed += n
		}
	}
	return freed, nil
}

// Sweep removes up to limit tickets that are over, and as many families of
// refresh tokens, signals that nobody has come for, and mailed codes but for
// those of people who go with them (Unverified).
func (s *Store) Sweep(ctx context.Context, limit int) (more bool, err error) {
	err = s.work(ctx, func(x *tx) error {
		n, err := x.exec(x.ctx, "DELETE FROM tickets WHERE (kind, zone_id, key) IN (SELECT kind, zone_id, key FROM tickets"+
			" WHERE expires_at <= $1 LIMIT $2)", x.now.UnixMicro(), limit)
		if err != nil {
			return err
		}
		m, err := x.exec(x.ctx, "DELETE FROM refresh_families WHERE (zone_id, session_id) IN (SELECT zone_id, session_id"+
			" FROM refresh_families WHERE expires_at <= $1 LIMIT $2)", x.now.UnixMicro(), limit)
		if err != nil {
			return err
		}
		k, err := x.exec(x.ctx, "DELETE FROM signals WHERE (zone_id, seq) IN (SELECT zone_id, seq FROM signals WHERE at <= $1 LIMIT $2)",
			x.now.Add(-deputy.SignalsKept).UnixMicro(), limit)
		if err != nil {
			return err
		}
		c, err := x.exec(x.ctx, "DELETE FROM mailed_codes WHERE (zone_id, id) IN (SELECT zone_id, id FROM mailed_codes"+
			" WHERE expires_at <= $1 AND NOT ("+unverified+") LIMIT $2)", x.now.UnixMicro(), limit)
		more = max(n, m, k, c) >= int64(limit)
		return err
	})
	return more, s.fault(err)
}
