package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"deputy/internal/deputy"

	"github.com/go-json-experiment/json"
)

// head is the end of an organization's log.
type head struct {
	last  int64
	drift time.Duration
}

func headOf(ctx context.Context, q querier, organization deputy.OrganizationID) (h head, err error) {
	var drift int64
	err = row(ctx, q, "SELECT last_seq, drift FROM event_heads WHERE organization_id = $1", []any{string(organization)}, &h.last, &drift)
	if errors.Is(err, sql.ErrNoRows) {
		return head{}, nil
	}
	h.drift = time.Duration(drift) * time.Microsecond
	return h, err
}

// locate finds an event by its id, or gives sql.ErrNoRows. The id says when it
// was made, the head how far from its commit that can have been; of the
// segments of that time the most likely come first.
func locate(ctx context.Context, q querier, organization deputy.OrganizationID, id deputy.EventID) (*entry, error) {
	made, ok := deputy.ID(id).Time()
	if !ok {
		return nil, sql.ErrNoRows
	}
	h, err := headOf(ctx, q, organization)
	if err != nil {
		return nil, err
	}
	at, from, until := made.UnixMicro(), made.Add(-h.drift).UnixMicro(), made.Add(h.drift).UnixMicro()
	e, err := locateIn(ctx, q, organization, id, at, until, false)
	if e == nil && err == nil {
		e, err = locateIn(ctx, q, organization, id, from, at-1, true)
	}
	if e == nil && err == nil {
		err = sql.ErrNoRows
	}
	return e, err
}

// locateIn looks through the segments committed from one time to another; nil
// when none has the event.
func locateIn(ctx context.Context, q querier, organization deputy.OrganizationID, id deputy.EventID, from, until int64, backward bool) (*entry, error) {
	text := "SELECT committed_at, first_seq FROM event_segments WHERE organization_id = $1 AND committed_at <= $2" +
		" AND (committed_at, first_seq) > ($3, $4) AND min_id <= $5 AND max_id >= $5 ORDER BY committed_at, first_seq LIMIT 1"
	committed, first := from-1, int64(1)<<62
	if backward {
		text = "SELECT committed_at, first_seq FROM event_segments WHERE organization_id = $1 AND committed_at >= $2" +
			" AND (committed_at, first_seq) < ($3, $4) AND min_id <= $5 AND max_id >= $5 ORDER BY committed_at DESC, first_seq DESC LIMIT 1"
		committed, first = until, int64(1)<<62
		until = from
	}
	for {
		err := row(ctx, q, text, []any{string(organization), until, committed, first, string(id)}, &committed, &first)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		entries, err := segmentAt(ctx, q, organization, first)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(entries, func(e entry) bool { return e.id == id }); i >= 0 {
			return &entries[i], nil
		}
	}
}

// segmentAt reads the segment that holds a sequence number.
func segmentAt(ctx context.Context, q querier, organization deputy.OrganizationID, seq int64) ([]entry, error) {
	found, err := segments(ctx, q, "event_segments s WHERE s.organization_id = $1 AND s.first_seq <= $2 ORDER BY s.first_seq DESC LIMIT 1",
		string(organization), seq)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, errSegment
	}
	return found[0], nil
}

// event returns the event without what is sealed of it.
func (e *entry) event() (*deputy.Event, error) {
	var event deputy.Event
	if err := json.Unmarshal(e.bytes, &event); err != nil {
		return nil, errors.Join(errSegment, err)
	}
	return &event, nil
}

// record returns the event as the rest of the program knows it.
func (e *entry) record(organization deputy.OrganizationID) (*deputy.Record, error) {
	var named struct {
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal(e.bytes, &named); err != nil {
		return nil, errors.Join(errSegment, err)
	}
	return &deputy.Record{
		ID: e.id, OrganizationID: organization, ZoneID: e.zone, RequestID: named.RequestID,
		Seq: e.seq, Bytes: e.bytes, Leaf: e.leaf,
	}, nil
}

// Event returns one event by its id, or NotFound.
func (s *Store) Event(ctx context.Context, organization deputy.OrganizationID, zone deputy.ZoneID, id deputy.EventID) (r *deputy.Record, err error) {
	err = s.readers.consistent(ctx, func(q querier) error {
		r, err = eventIn(ctx, q, organization, zone, id)
		return err
	})
	return r, s.fault(err)
}

// eventIn returns one event of an organization's log, or when zone is not empty
// of the zone's.
func eventIn(ctx context.Context, q querier, organization deputy.OrganizationID, zone deputy.ZoneID, id deputy.EventID) (*deputy.Record, error) {
	e, err := locate(ctx, q, organization, id)
	if err != nil {
		return nil, missing(err, absent("event"))
	}
	if zone != "" && e.zone != zone {
		return nil, absent("event")
	}
	return e.record(organization)
}

// Events returns a page of an organization's log.
func (s *Store) Events(ctx context.Context, q deputy.EventQuery) (p *deputy.Page[deputy.Record], err error) {
	limit, err := pageSize(q.Limit)
	if err != nil {
		return nil, err
	}
	named := maps.Clone(q.Named)
	maps.DeleteFunc(named, func(_ deputy.Term, values []string) bool { return len(values) == 0 })
	q.Named = named
	bind := []any{"events", q.Organization, q.Zone, q.JTI, fmt.Sprint(q.Named), q.Since.UnixMicro(), q.Until.UnixMicro(), q.Ascending, q.Evaluated.String()}
	if q.Horizon.After(q.Since) {
		q.Since = q.Horizon
	}
	parameter, text, err := cursorOf(q.After, q.Before)
	if err != nil {
		return nil, err
	}
	at := int64(0)
	if text != "" {
		c, err := s.decodeCursor(parameter, text, bind...)
		if err != nil {
			return nil, err
		}
		if at, err = c.seq(); err != nil {
			return nil, deputy.Bad(parameter, "is not a cursor of this list")
		}
	}
	var paused int64
	err = s.readers.consistent(ctx, func(r querier) error {
		l, err := openLog(ctx, r, q)
		if err != nil {
			return err
		}
		l.most = s.looks
		if p, paused, err = l.page(at, limit); err != nil || !q.Count {
			return err
		}
		total, err := l.count()
		p.Total = &total
		return err
	})
	if err != nil {
		return nil, s.fault(err)
	}
	if n := len(p.Items); n > 0 {
		p.First = s.encodeCursor(cursor{keys: []any{p.Items[0].Seq}}, bind...)
		p.Last = s.encodeCursor(cursor{keys: []any{p.Items[n-1].Seq}}, bind...)
	}
	if paused != 0 {
		end := &p.Last
		if q.Before != "" {
			end = &p.First
		}
		*end = s.encodeCursor(cursor{keys: []any{paused}}, bind...)
	}
	return p, nil
}

// seq returns the sequence number that a cursor of a log names.
func (c *cursor) seq() (int64, error) {
	if len(c.keys) == 1 {
		if seq, ok := c.keys[0].(int64); ok {
			return seq, nil
		}
	}
	return 0, errors.New("not a cursor of a log")
}

// Evaluations returns decisions of policy that were enforced in a zone.
func (s *Store) Evaluations(ctx context.Context, q deputy.EvaluationQuery) (found []deputy.StoredEvaluation, err error) {
	err = s.readers.consistent(ctx, func(r querier) error {
		found = nil
		l, err := openLog(ctx, r, deputy.EventQuery{Organization: q.Organization, Zone: q.Zone, Since: q.Since, Until: q.Until})
		if err != nil {
			return err
		}
		to := l.highest
		if q.Before > 0 {
			to = min(to, q.Before-1)
		}
		err = l.scan(l.lowest, to, false, func(e *entry) error {
			if ok, err := l.covers(e); !ok || err != nil {
				return err
			}
			if b := deputy.EvaluationBytes(e.bytes); b != nil && deputy.Enforced(b) {
				found = append(found, deputy.StoredEvaluation{ID: e.id, Seq: e.seq, Bytes: b})
			}
			if len(found) == q.Limit {
				return errEnough
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			err = nil
		}
		return err
	})
	return found, s.fault(err)
}
