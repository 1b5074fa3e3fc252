package store

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"

	"deputy/internal/deputy"
)

// eventLog reads the part of an organization's log that a query is about.
type eventLog struct {
	ctx context.Context
	q   querier
	deputy.EventQuery
	// most bounds the events that one page of a filter looks at.
	most int
	// lowest and highest bound the sequence numbers that can match.
	lowest, highest int64
	// within are the segments that lie wholly in the times asked for.
	within [2]int64
	// candidates, when the query names events: what can match, in ascending order.
	named      bool
	candidates []int64
	// hashes of a term that the query names, and how far the index of it reaches.
	hashes  []int64
	indexed int64
}

func openLog(ctx context.Context, r querier, q deputy.EventQuery) (*eventLog, error) {
	l := &eventLog{ctx: ctx, q: r, EventQuery: q, most: math.MaxInt}
	h, err := headOf(ctx, r, q.Organization)
	if err != nil {
		return nil, err
	}
	l.lowest, l.highest = 1, h.last
	l.within = [2]int64{1, h.last}
	// Segments lie in the order of their commits, and no event is further from
	// its commit than the drift.
	if !q.Since.IsZero() {
		if l.lowest, err = l.firstFrom(q.Since.Add(-h.drift).UnixMicro(), h.last); err != nil {
			return nil, err
		}
		if l.within[0], err = l.firstFrom(q.Since.Add(h.drift).UnixMicro(), h.last); err != nil {
			return nil, err
		}
	}
	if !q.Until.IsZero() {
		after, err := l.firstFrom(q.Until.Add(h.drift).UnixMicro()+1, h.last)
		if err != nil {
			return nil, err
		}
		before, err := l.firstFrom(q.Until.Add(-h.drift).UnixMicro(), h.last)
		if err != nil {
			return nil, err
		}
		l.highest, l.within[1] = after-1, before-1
	}
	if len(q.JTI) > 0 {
		return l, l.nameEvents()
	}
	for _, t := range deputy.Terms {
		// The index does not help to find what most events are.
		if values := q.Named[t]; len(values) > 0 && !slices.Contains(values, string(deputy.Success)) {
			for _, v := range values {
				l.hashes = append(l.hashes, hashTerm(t, v))
			}
			l.indexed, err = indexedUntil(ctx, r, q.Organization, "")
			return l, err
		}
	}
	return l, nil
}

// firstFrom returns the first sequence number committed at a time or later, or
// the one after the last.
func (l *eventLog) firstFrom(micros, last int64) (int64, error) {
	found, err := column[int64](l.ctx, l.q, "SELECT first_seq FROM event_segments WHERE organization_id = $1 AND committed_at >= $2"+
		" ORDER BY committed_at, first_seq LIMIT 1", string(l.Organization), micros)
	if err != nil || len(found) == 0 {
		return last + 1, err
	}
	return found[0], nil
}

// nameEvents finds the events that the query names.
func (l *eventLog) nameEvents() error {
	l.named = true
	for _, id := range l.JTI {
		e, err := locate(l.ctx, l.q, l.Organization, id)
		switch {
		case err == nil:
			l.candidates = append(l.candidates, e.seq)
		case missing(err, nil) != nil:
			return err
		}
	}
	slices.Sort(l.candidates)
	l.candidates = slices.Compact(l.candidates)
	return nil
}

// matches reports whether an event that the query covers is one that it names,
// if it names any.
func (l *eventLog) matches(e *entry) (bool, error) {
	if len(l.JTI) > 0 && !slices.Contains(l.JTI, e.id) {
		return false, nil
	}
	if len(l.Named) == 0 {
		return true, nil
	}
	if ids := l.Named[deputy.TermRequest]; len(ids) > 0 && !slices.ContainsFunc(ids, func(id string) bool { return hashRequest(id) == e.hash }) {
		return false, nil
	}
	event, err := e.event()
	if err != nil {
		return false, err
	}
	found := map[deputy.Term]bool{}
	event.Terms(func(t deputy.Term, value string) {
		if slices.Contains(l.Named[t], value) {
			found[t] = true
		}
	})
	return len(found) == len(l.Named), nil
}

// covers reports whether an event is of the zone, time and kind asked for.
func (l *eventLog) covers(e *entry) (bool, error) {
	if l.Zone != "" && e.zone != l.Zone || !l.Since.IsZero() && e.at.Before(l.Since) || !l.Until.IsZero() && !e.at.Before(l.Until) {
		return false, nil
	}
	if l.Evaluated == nil {
		return true, nil
	}
	return l.Evaluated.Match(e.bytes)
}

// maxLooked bounds the events that one page of a filter looks at, which may leave
// few of many.
const maxLooked = 100_000

var errEnough = errors.New("enough was read")

// page reads the events after or before a sequence number (0: from the
// beginning of the list). Where it paused because it has looked at enough, the
// list goes on behind the sequence number that it returns.
func (l *eventLog) page(at int64, limit int) (p *deputy.Page[deputy.Record], paused int64, err error) {
	backward := l.Before != ""
	ascending := l.Ascending != backward // the direction of travel
	from, to := l.lowest, l.highest
	if at > 0 && ascending {
		from = max(from, at+1)
	} else if at > 0 {
		to = min(to, at-1)
	}
	p = &deputy.Page[deputy.Record]{}
	more := false
	looked, seen := 0, at
	err = l.walk(from, to, ascending, func(e *entry) error {
		if looked++; looked > l.most && (l.Evaluated != nil || len(l.Named) > 0) {
			paused, more = seen, true
			return errEnough
		}
		seen = e.seq
		if ok, err := l.covers(e); !ok || err != nil {
			return err
		}
		if ok, err := l.matches(e); !ok || err != nil {
			return err
		}
		if len(p.Items) == limit {
			more = true
			return errEnough
		}
		r, err := e.record(l.Organization)
		p.Items = append(p.Items, r)
		return err
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, 0, err
	}
	// The event that a cursor names is still there: the log only grows.
	p.HasNext, p.HasPrevious = more, at > 0
	if backward {
		p.HasNext, p.HasPrevious = at > 0, more
		slices.Reverse(p.Items)
	}
	return p, paused, nil
}

// walk visits what may match between two sequence numbers.
func (l *eventLog) walk(from, to int64, ascending bool, visit func(*entry) error) error {
	switch {
	case l.named:
		return l.visit(l.candidates, from, to, ascending, visit)
	case l.hashes == nil:
		return l.scan(from, to, ascending, visit)
	}
	// By the index as far as it reaches, then by looking at each.
	steps := []func() error{
		func() error { return l.walkIndex(from, min(to, l.indexed), ascending, visit) },
		func() error { return l.scan(max(from, l.indexed+1), to, ascending, visit) },
	}
	if !ascending {
		slices.Reverse(steps)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// walkIndex visits what the index has for the term that the query names, one
// run after the other: a page of what is frequent needs few of them.
func (l *eventLog) walkIndex(from, to int64, ascending bool, visit func(*entry) error) error {
	if from > to {
		return nil
	}
	runs, err := runsWithin(l.ctx, l.q, l.Organization, from, to)
	if err != nil {
		return err
	}
	if !ascending {
		slices.Reverse(runs)
	}
	for _, r := range runs {
		seqs, err := lookUp(l.ctx, l.q, l.Organization, r.first, l.hashes)
		if err == nil {
			err = l.visit(seqs, from, to, ascending, visit)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// visit visits those of the events, which are in ascending order, that lie
// between two sequence numbers.
func (l *eventLog) visit(seqs []int64, from, to int64, ascending bool, visit func(*entry) error) error {
	first, _ := slices.BinarySearch(seqs, from)
	end, _ := slices.BinarySearch(seqs, to+1)
	seqs = seqs[first:max(first, end)]
	if !ascending {
		seqs = slices.Clone(seqs)
		slices.Reverse(seqs)
	}
	var entries []entry
	for _, seq := range seqs {
		if n := len(entries); n == 0 || seq < entries[0].seq || seq > entries[n-1].seq {
			var err error
			if entries, err = segmentAt(l.ctx, l.q, l.Organization, seq); err != nil {
				return err
			}
		}
		if i := seq - entries[0].seq; i < int64(len(entries)) {
			if err := visit(&entries[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// scan visits every event between two sequence numbers; of a zone's list only
// the segments that hold some of its events.
func (l *eventLog) scan(from, to int64, ascending bool, visit func(*entry) error) error {
	for take := 4; from <= to; take = min(2*take, 64) {
		found, err := l.segments(from, to, ascending, take)
		if err != nil {
			return err
		}
		for _, entries := range found {
			if !ascending {
				slices.Reverse(entries)
			}
			for i := range entries {
				if e := &entries[i]; e.seq >= from && e.seq <= to {
					if err := visit(e); err != nil {
						return err
					}
				}
			}
		}
		if len(found) < take {
			return nil
		}
		// The next segment begins where the last one read ended.
		end := found[len(found)-1]
		if last := end[len(end)-1].seq; ascending {
			from = last + 1
		} else {
			to = last - 1
		}
	}
	return nil
}

// segments reads up to take segments that reach into from to to.
func (l *eventLog) segments(from, to int64, ascending bool, take int) ([][]entry, error) {
	direction := " DESC"
	if ascending {
		direction = ""
	}
	if l.Zone != "" {
		return segments(l.ctx, l.q, "event_zones z JOIN event_segments s ON s.organization_id = z.organization_id AND s.first_seq = z.first_seq"+
			" WHERE z.zone_id = $1 AND z.organization_id = $2 AND z.first_seq <= $3 AND z.first_seq >= COALESCE("+
			"(SELECT MAX(first_seq) FROM event_segments WHERE organization_id = $2 AND first_seq <= $4), 0)"+
			" ORDER BY z.first_seq"+direction+" LIMIT "+strconv.Itoa(take), string(l.Zone), string(l.Organization), to, from)
	}
	return segments(l.ctx, l.q, "event_segments s WHERE s.organization_id = $1 AND s.first_seq <= $2 AND s.first_seq >= COALESCE("+
		"(SELECT MAX(first_seq) FROM event_segments WHERE organization_id = $1 AND first_seq <= $3), 0)"+
		" ORDER BY s.first_seq"+direction+" LIMIT "+strconv.Itoa(take), string(l.Organization), to, from)
}

// count returns how many events the query is about: whole segments by their
// numbers, those at the ends of the time asked for by looking.
func (l *eventLog) count() (int, error) {
	total := 0
	tally := func(e *entry) error {
		if ok, err := l.covers(e); !ok || err != nil {
			return err
		}
		if ok, err := l.matches(e); !ok || err != nil {
			return err
		}
		total++
		return nil
	}
	if l.named || len(l.Named) > 0 || l.Evaluated != nil || l.within[0] > l.within[1] {
		return total, l.walk(l.lowest, l.highest, true, tally)
	}
	text, args := "SELECT COALESCE(SUM(last_seq - first_seq + 1), 0) FROM event_segments WHERE organization_id = $1 AND first_seq >= $2 AND first_seq <= $3",
		[]any{string(l.Organization), l.within[0], l.within[1]}
	if l.Zone != "" {
		text = "SELECT COALESCE(SUM(events), 0) FROM event_zones WHERE organization_id = $1 AND first_seq >= $2 AND first_seq <= $3 AND zone_id = $4"
		args = append(args, string(l.Zone))
	}
	if err := row(l.ctx, l.q, text, args, &total); err != nil {
		return 0, err
	}
	if err := l.scan(l.lowest, l.within[0]-1, true, tally); err != nil {
		return 0, err
	}
	return total, l.scan(l.within[1]+1, l.highest, true, tally)
}
