package store

import (
	"context"
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/s2"

	"deputy/internal/deputy"
)

// A segment holds the events of one organization that one commit appended, in
// order. Its bytes are a version, the zones named in it, and for each event
// what lists look at, before the record itself, packed with S2: the events of
// one moment have most of their bytes in common, so that a fifth is written,
// to the log of changes and to the database, for half a microsecond an event.
//
//	version, n, n × (length, zone id)
//	each event: length, id; index of its zone; hash of its request id;
//	            time in milliseconds, as the record shows it; length, record
//
// Lengths, indexes and counts are unsigned varints, the rest 8 bytes each.
const segmentVersion = 1

// entry is one event of a segment.
type entry struct {
	seq   int64
	id    deputy.EventID
	zone  deputy.ZoneID
	hash  int64 // of the request id
	at    time.Time
	bytes []byte
	leaf  [32]byte
}

// hashRequest is what a segment knows of a request id.
func hashRequest(id string) int64 { return int64(fnv1a(14695981039346656037, id)) }

// hashTerm is what the index knows of a term.
func hashTerm(t deputy.Term, value string) int64 {
	return int64(fnv1a(14695981039346656037^uint64(t), value))
}

// fnv1a goes on with the FNV-1a hash h over a text.
func fnv1a(h uint64, text string) uint64 {
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	return h
}

// appended are the index entries of a segment.
type appended struct {
	organization deputy.OrganizationID
	pairs        []pair
}

// appendEvents appends the members' events to the logs of their organizations,
// in the order of their turns. The heads are locked in the order of the
// organizations, and last of all; what is left to run before the commit is
// returned.
func (w *writer) appendEvents(x *tx, good []*member) (left []call, err error) {
	w.pairs, w.appended = w.pairs[:0], w.appended[:0]
	with := make([]*member, 0, len(good))
	for _, m := range good {
		if m.event != nil {
			with = append(append(with, m), m.with...)
		}
	}
	slices.SortStableFunc(with, func(a, b *member) int {
		return strings.Compare(string(a.event.OrganizationID), string(b.event.OrganizationID))
	})
	for i := 0; len(with) > 0; i++ {
		n := 1
		for n < len(with) && with[n].event.OrganizationID == with[0].event.OrganizationID {
			n++
		}
		calls, err := w.appendSegment(x, i, with[:n])
		if err != nil {
			return nil, err
		}
		left, with = append(left, calls...), with[n:]
	}
	return left, nil
}

// appendSegment appends events of one organization, the i-th of the transaction.
func (w *writer) appendSegment(x *tx, i int, members []*member) (left []call, err error) {
	organization := string(members[0].event.OrganizationID)
	var last, committed, drift int64
	err = row(x.ctx, x.link, "INSERT INTO event_heads (organization_id, last_seq, committed_at, drift) VALUES ($1, $2, $3, 0)"+
		" ON CONFLICT (organization_id) DO UPDATE SET last_seq = event_heads.last_seq + excluded.last_seq,"+
		" committed_at = CASE WHEN excluded.committed_at > event_heads.committed_at THEN excluded.committed_at ELSE event_heads.committed_at END"+
		" RETURNING last_seq, committed_at, drift",
		[]any{organization, int64(len(members)), x.now.UnixMicro()}, &last, &committed, &drift)
	if err != nil {
		return nil, err
	}
	first := last - int64(len(members)) + 1
	w.pace.appended(members[0].event.OrganizationID, first, last)
	s := encodeSegment(w.segment[:0], members, committed)
	begun := len(w.pairs)
	for i, m := range members {
		m.event.Terms(func(t deputy.Term, value string) {
			w.pairs = append(w.pairs, pair{hashTerm(t, value), first + int64(i)})
		})
	}
	w.appended = append(w.appended, appended{members[0].event.OrganizationID, w.pairs[begun:]})
	w.segment = s.events
	if i == len(w.packed) {
		w.packed = append(w.packed, nil)
	}
	w.packed[i] = s2.Encode(w.packed[i][:cap(w.packed[i])], s.events)
	x.packed += len(w.packed[i])
	if s.drift > drift {
		left = append(left, call{text: "UPDATE event_heads SET drift = $1 WHERE organization_id = $2", args: []any{s.drift, organization}})
	}
	left = append(left, call{text: "INSERT INTO event_segments (organization_id, first_seq, last_seq, committed_at, min_id, max_id, leaves, events)" +
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)", args: []any{organization, first, last, committed, string(s.min), string(s.max), s.leaves, w.packed[i]}})
	var named []any
	for i, zone := range s.zones {
		if zone != "" {
			named = append(named, string(zone), organization, first, s.counts[i])
		}
	}
	for len(named) > 0 { // in rows of powers of two, so that there are few different statements
		n := 4 << (bits.Len(uint(len(named)/4)) - 1)
		b := &statement{}
		b.WriteString("INSERT INTO event_zones (zone_id, organization_id, first_seq, events) VALUES ")
		for i := 0; i < n; i += 4 {
			b.WriteString([]string{"", ", "}[min(i, 1)])
			b.all(named[i : i+4])
		}
		left, named = append(left, call{text: b.String(), args: b.args}), named[n:]
	}
	return left, nil
}

// segment is what a row of the log is made of.
type segment struct {
	events, leaves []byte
	min, max       deputy.EventID
	drift          int64 // the most by which a time or id differs from the commit
	zones          []deputy.ZoneID
	counts         []int64 // events of each zone
}

// encodeSegment writes the members' events into b.
func encodeSegment(b []byte, members []*member, committed int64) segment {
	s := segment{leaves: make([]byte, 0, 32*len(members))}
	index := make(map[deputy.ZoneID]int, 4)
	for _, m := range members {
		i, ok := index[m.event.ZoneID]
		if !ok {
			i = len(s.zones)
			index[m.event.ZoneID] = i
			s.zones, s.counts = append(s.zones, m.event.ZoneID), append(s.counts, 0)
		}
		s.counts[i]++
	}
	b = append(b, segmentVersion)
	b = binary.AppendUvarint(b, uint64(len(s.zones)))
	for _, zone := range s.zones {
		b = appendText(b, string(zone))
	}
	for _, m := range members {
		e, r := m.event, &m.record
		b = appendText(b, string(e.ID))
		b = binary.AppendUvarint(b, uint64(index[e.ZoneID]))
		b = binary.BigEndian.AppendUint64(b, uint64(hashRequest(e.RequestID)))
		b = binary.BigEndian.AppendUint64(b, uint64(e.Time.UnixMilli()))
		b = binary.AppendUvarint(b, uint64(len(r.Bytes)))
		b = append(b, r.Bytes...)
		s.leaves = append(s.leaves, r.Leaf[:]...)
		if s.min == "" || e.ID < s.min {
			s.min = e.ID
		}
		s.max = max(s.max, e.ID)
		made, _ := deputy.ID(e.ID).Time()
		s.drift = max(s.drift, apart(e.Time.UnixMicro(), committed), apart(made.UnixMicro(), committed))
	}
	s.events = b
	return s
}

func apart(a, b int64) int64 { return max(a-b, b-a) }

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errSegment = errors.New("a segment of the log is unreadable")

// decodeSegment returns the events of a segment. They share memory.
func decodeSegment(first int64, packed, leaves []byte) ([]entry, error) {
	b, err := s2.Decode(nil, packed)
	if err != nil {
		return nil, errSegment
	}
	d := &decoder{b: b}
	if d.take(1)[0] != segmentVersion {
		return nil, errSegment
	}
	zones := make([]deputy.ZoneID, 0, 4)
	for n := d.number(); n > 0 && !d.short; n-- {
		zones = append(zones, deputy.ZoneID(d.text()))
	}
	entries := make([]entry, 0, len(leaves)/32)
	for seq := first; len(leaves) >= 32; seq++ {
		e := entry{seq: seq, id: deputy.EventID(d.text()), leaf: [32]byte(leaves)}
		zone := d.number()
		e.hash = int64(binary.BigEndian.Uint64(d.take(8)))
		e.at = time.UnixMilli(int64(binary.BigEndian.Uint64(d.take(8))))
		e.bytes = d.text()
		if d.short || zone >= uint64(len(zones)) {
			return nil, errSegment
		}
		e.zone = zones[zone]
		entries, leaves = append(entries, e), leaves[32:]
	}
	return entries, nil
}

// decoder reads a segment; once it is short, everything it returns is zero.
type decoder struct {
	b     []byte
	short bool
}

func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.short, d.b = true, nil
		return make([]byte, min(n, 8))
	}
	taken := d.b[:n:n]
	d.b = d.b[n:]
	return taken
}

func (d *decoder) number() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.short, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) text() []byte {
	n := d.number()
	if n > uint64(len(d.b)) {
		d.short, d.b = true, nil
		return nil
	}
	return d.take(int(n))
}

// segments reads segments that the rest of a SELECT finds.
func segments(ctx context.Context, q querier, rest string, args ...any) ([][]entry, error) {
	var out [][]entry
	err := rows(ctx, q, "SELECT s.first_seq, s.leaves, s.events FROM "+rest, args, func(scan func(...any) error) error {
		var first int64
		var leaves, events []byte
		if err := scan(&first, &leaves, &events); err != nil {
			return err
		}
		entries, err := decodeSegment(first, events, leaves)
		out = append(out, entries)
		return err
	})
	return out, err
}
