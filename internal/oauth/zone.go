package oauth

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"deputy/internal/deputy"
)

// maxWeight bounds the snapshots in memory, in the measure of snapshot.weight:
// the least recently used zones are dropped first. A unit is some kilobyte.
const maxWeight = 40_000

// checkEvery is how long a document may be served without asking the store
// whether the zone has moved. Tokens never wait for it: every commit asks.
const checkEvery = time.Second

// zone is what this node holds of a zone: its newest snapshot, brought forward
// when the store has news.
type zone struct {
	id      deputy.ZoneID
	serial  uint64 // tells this holding from an earlier one of the same zone
	current atomic.Pointer[snapshot]
	used    atomic.Int64 // when a request last came, in Unix seconds
	checked atomic.Int64 // when the store was last asked, in Unix nanoseconds

	mu sync.Mutex // held while the snapshot is brought forward
}

// zones holds the zones in use. Reading takes no lock.
type zones struct {
	held   sync.Map // of *zone by deputy.ZoneID
	serial atomic.Uint64
	mu     sync.Mutex // held while zones are dropped
	limit  int        // of the weight of all
}

// zone returns a zone and its snapshot, loading it on first use. It is NotFound
// when there is no such zone.
func (s *Server) zone(ctx context.Context, id deputy.ZoneID) (*zone, *snapshot, error) {
	if id == "" {
		return s.plane, s.plane.current.Load(), nil
	}
	if !deputy.ID(id).Valid() {
		return nil, nil, errNoZone
	}
	held, ok := s.zones.held.Load(id)
	if !ok {
		held, _ = s.zones.held.LoadOrStore(id, &zone{id: id, serial: s.zones.serial.Add(1)})
	}
	z := held.(*zone)
	snap := z.current.Load()
	if now := s.now().Unix(); z.used.Load() != now {
		z.used.Store(now)
	}
	if snap != nil && s.store.Revision(id) <= snap.revision {
		return z, snap, nil
	}
	snap, err := s.advance(ctx, z, snap)
	return z, snap, err
}

// current returns a zone and its snapshot as it is now, for answers that no
// commit validates: it asks the store each time, so that what another node has
// changed before the request came is seen.
func (s *Server) current(ctx context.Context, id deputy.ZoneID) (*zone, *snapshot, error) {
	z, snap, err := s.zone(ctx, id)
	if err != nil || id == "" {
		return z, snap, err
	}
	now, err := s.store.Zone(ctx, id, snap.revision)
	if deputy.KindOf(err) == deputy.NotFound {
		s.zones.held.CompareAndDelete(id, z)
		return nil, nil, errNoZone
	}
	// Another request may be the one to bring the snapshot forward, and only to
	// where the zone was when that asked.
	for err == nil && snap.revision < now.Revision {
		snap, err = s.advance(ctx, z, snap)
	}
	return z, snap, err
}

// fresh returns a snapshot that was the newest a moment ago, for documents that
// are the same for everybody.
func (s *Server) fresh(ctx context.Context, id deputy.ZoneID) (*snapshot, error) {
	z, snap, err := s.zone(ctx, id)
	if err != nil || s.now().UnixNano()-z.checked.Load() < int64(checkEvery) {
		return snap, err
	}
	return s.advance(ctx, z, snap)
}

// advance brings the zone's snapshot forward and returns it. When another
// request has done so since seen was the current one, there is nothing to do:
// of all that notice a change, one asks the store.
func (s *Server) advance(ctx context.Context, z *zone, seen *snapshot) (*snapshot, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	old := z.current.Load()
	if old != seen {
		return old, nil
	}
	now := s.now()
	var since int64
	if old != nil {
		since = old.revision
	}
	delta, err := s.store.Zone(ctx, z.id, since)
	if gone := deputy.KindOf(err) == deputy.NotFound; gone || err != nil && old == nil {
		s.zones.held.CompareAndDelete(z.id, z) // anybody can ask for anything
		if gone {
			return nil, errNoZone
		}
	}
	if err != nil {
		return nil, err
	}
	z.checked.Store(now.UnixNano())
	if old != nil && delta.Revision == old.revision && !delta.Full {
		return old, nil
	}
	next, err := s.builder.advance(ctx, old, delta, now)
	if err != nil {
		return nil, err
	}
	s.observer.Built(delta.Full)
	if next.undecidable != nil {
		s.log.Error("the zone's active policies cannot decide", "zone_id", string(z.id), "cause", next.undecidable)
	}
	if old != nil {
		s.clients.apply(z, delta) // before the snapshot is seen: see clients.go
	}
	z.current.Store(next)
	if old == nil {
		s.zones.shrink(z)
	}
	return next, nil
}

// Snapshots returns how many zones this node holds, and since when it has held
// the snapshot that has changed the longest ago; zero where there is none.
func (s *Server) Snapshots() (n int, oldest time.Time) {
	for _, held := range s.zones.held.Range {
		n++
		if snap := held.(*zone).current.Load(); snap != nil && (oldest.IsZero() || snap.made.Before(oldest)) {
			oldest = snap.made
		}
	}
	return n, oldest
}

// shrink drops the least recently used zones while all weigh too much, but
// never the one just loaded. A request that holds a dropped zone goes on with
// it; the next one loads it again.
func (zs *zones) shrink(loaded *zone) {
	zs.mu.Lock()
	defer zs.mu.Unlock()
	for {
		total, oldest := 0, (*zone)(nil)
		for _, held := range zs.held.Range {
			z := held.(*zone)
			snap := z.current.Load()
			if snap == nil {
				continue // being loaded
			}
			total += snap.weight()
			if z != loaded && (oldest == nil || z.used.Load() < oldest.used.Load()) {
				oldest = z
			}
		}
		if total <= zs.limit || oldest == nil {
			return
		}
		zs.held.CompareAndDelete(oldest.id, oldest)
	}
}
