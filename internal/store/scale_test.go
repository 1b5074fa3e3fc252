package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"deputy/internal/deputy"
	"deputy/internal/store"
)

// installation is what BenchmarkScale asks about: zones of ten organizations,
// their users, of whom a tenth is in the first zone, and events of
// issuances.
type installation struct {
	zones, users, events int
}

// installed is the size that DEPUTY_BENCH_SCALE names, as a share of 10,000
// zones, 1,000,000 users and 10,000,000 events; a thousandth unless it is set.
func installed() installation {
	share, err := strconv.ParseFloat(os.Getenv("DEPUTY_BENCH_SCALE"), 64)
	if err != nil {
		share = 0.001
	}
	return installation{int(max(10, 10_000*share)), int(max(1000, 1_000_000*share)), int(max(10_000, 10_000_000*share))}
}

func numbered(n int) string { return fmt.Sprintf("%026d", n) }

// scopeOf returns a zone, which are numbered from 0, with its organization.
func (installation) scopeOf(zone int) deputy.Scope {
	return deputy.Scope{Organization: deputy.OrganizationID(numbered(zone % 10)), Zone: deputy.ZoneID(numbered(zone))}
}

// issuance is the event of a token for some user in some zone.
func (in installation) issuance() *deputy.Event {
	scope := in.scopeOf(rand.IntN(in.zones))
	e := issued(scope.Zone)
	e.OrganizationID = scope.Organization
	e.UserID = deputy.UserID(numbered(rand.IntN(in.users)))
	e.SessionID = deputy.SessionID(deputy.NewID(e.Time))
	e.Basis = &deputy.Basis{Zone: scope.Zone, Revision: 1}
	return e
}

// rows makes the zones and the users.
func (in installation) rows(b *testing.B, s *store.Store) {
	fill := strings.NewReplacer("$zones", strconv.Itoa(in.zones), "$users", strconv.Itoa(in.users), "$now", fmt.Sprint(time.Now().UnixMicro()))
	if err := s.Exec(b.Context(), fill.Replace(`INSERT INTO zones (id, organization_id, owner_type, slug, name, requires_invitation, login_flow, pkce_required,
			dcr_enabled, cimd_enabled, signing_alg, issuer_form, key_id, active_policy_set_version_id, revision, created_at, updated_at)
		SELECT lpad(i::text, 26, '0'), lpad((i % 10)::text, 26, '0'), 'customer', 'zone' || i, 'Zone', false, 'default', false,
			false, false, 'ES256', 'path', '', '', 1, $now + i, $now + i FROM generate_series(0, $zones - 1) i`),
		fill.Replace(`INSERT INTO users (zone_id, id, organization_id, identifier, identifier_key, email, email_folded, email_verified, status, issuer,
			subject, subject_folded, account_key, key_id, created_at, updated_at, revision)
		SELECT lpad(z::text, 26, '0'), id, lpad((z % 10)::text, 26, '0'), id, id, id || '@example.test', id || '@example.test', true, 'active', 'https://idp.test',
			id, id, id, 'k', $now + i, $now + i, 1
			FROM (SELECT i, lpad(i::text, 26, '0') AS id, CASE WHEN i % 10 = 0 THEN 0 ELSE i % $zones END AS z FROM generate_series(0, $users - 1) i) u`),
		"VACUUM ANALYZE"); err != nil {
		b.Fatal(err)
	}
}

// log writes the events from 512 writers, with the tree and the index growing
// behind as they do in a server, and returns some of them.
func (in installation) log(b *testing.B, s *store.Store) (known []*deputy.Event) {
	var wait, behind sync.WaitGroup
	var done atomic.Int64
	var keep sync.Mutex
	steps, stop := context.WithCancel(b.Context())
	for pause, step := range map[time.Duration]func() (bool, error){
		time.Second / 4: func() (bool, error) { return s.IndexEvents(b.Context(), 4096) },
		time.Second:     func() (bool, error) { return s.GrowTree(b.Context(), 64) },
	} {
		behind.Go(func() { repeat(b, steps, pause, step) })
	}
	begun := time.Now()
	for range 512 {
		wait.Go(func() {
			for n := done.Add(1); n <= int64(in.events); n = done.Add(1) {
				e := in.issuance()
				if err := s.Write(b.Context(), e, nil); err != nil {
					b.Error(err)
					return
				}
				if n%(int64(in.events)/1000) == 0 {
					keep.Lock()
					known = append(known, e)
					keep.Unlock()
				}
			}
		})
	}
	wait.Wait()
	took := time.Since(begun)
	lag, err := s.Backlog(b.Context())
	if err != nil || len(known) == 0 {
		b.Fatal(err)
	}
	stop()
	behind.Wait()
	b.Logf("%+v: %.0f events/s; at the end the index lacked %d events of the log furthest behind, the tree %d",
		in, float64(in.events)/took.Seconds(), lag.Unindexed, lag.Ungrown)
	return known
}

// repeat does steps of work behind the log, and pauses when none is left.
func repeat(b *testing.B, ctx context.Context, pause time.Duration, step func() (bool, error)) {
	for ctx.Err() == nil {
		more, err := step()
		if err != nil {
			b.Error(err)
			return
		}
		if !more {
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

// BenchmarkScale asks a large installation on PostgreSQL what operators and
// applications ask it, and reports the median and the 99th percentile in
// milliseconds. With -v it says as well what the tables take, and which were
// read from end to end.
func BenchmarkScale(b *testing.B) {
	in := installed()
	c := engines["PostgreSQL"](b)
	c.Migrate = true
	s := open(b, c)
	in.rows(b, s)
	known := in.log(b, s)
	begun := time.Now()
	if err := s.Exec(b.Context(), "VACUUM ANALYZE"); err != nil {
		b.Fatal(err)
	}
	b.Logf("VACUUM ANALYZE took %v", time.Since(begun))
	c.Migrate = false
	asked, err := tryOpen(b, c)
	if err != nil {
		b.Fatal(err)
	}
	in.lists(b, asked)
	in.found(b, asked, known)
	in.proven(b, asked, known)
	in.changed(b, asked, s)
	if err := asked.Close(); err != nil { // its connections say what they read when they end
		b.Fatal(err)
	}
	tables, err := s.Column(b.Context(), `SELECT format('%s: %s MB, of which rows %s MB; %s scans by index, %s from end to end (%s rows)', relname,
		pg_total_relation_size(relid) / 1000000, pg_relation_size(relid) / 1000000, idx_scan, seq_scan, seq_tup_read)
		FROM pg_stat_user_tables WHERE relname IN ('zones', 'users') OR relname LIKE 'event%' ORDER BY pg_total_relation_size(relid) DESC`)
	if err != nil {
		b.Fatal(err)
	}
	b.Log(strings.Join(tables, "\n"))
}

// percentiles measures what is asked, numbered from 0.
func percentiles(b *testing.B, name string, ask func(n int) error) {
	b.Run(name, func(b *testing.B) {
		var took []time.Duration
		for n := 0; b.Loop(); n++ {
			begun := time.Now()
			if err := ask(n); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(begun))
		}
		slices.Sort(took)
		b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
		b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
	})
}

func (in installation) lists(b *testing.B, s *store.Store) {
	oldest := deputy.Query{Limit: 100, Sort: []deputy.Sort{{Field: "created_at"}}}
	percentiles(b, "zones of an organization", func(n int) error {
		_, err := s.Zones().List(b.Context(), deputy.Scope{Organization: in.scopeOf(n).Organization}, deputy.Query{Limit: 100})
		return err
	})
	percentiles(b, "users, first page", func(int) error {
		_, err := s.Users().List(b.Context(), in.scopeOf(0), deputy.Query{Limit: 100})
		return err
	})
	percentiles(b, "users, last page", func(int) error {
		_, err := s.Users().List(b.Context(), in.scopeOf(0), oldest)
		return err
	})
}

// found looks events up.
func (in installation) found(b *testing.B, s *store.Store, known []*deputy.Event) {
	for name, ask := range map[string]func(e *deputy.Event, q *deputy.EventQuery){
		"newest":               func(*deputy.Event, *deputy.EventQuery) {},
		"newest of a zone":     func(e *deputy.Event, q *deputy.EventQuery) { q.Zone = e.ZoneID },
		"by token id":          func(e *deputy.Event, q *deputy.EventQuery) { q.JTI = []deputy.EventID{e.JTI} },
		"by request id":        func(e *deputy.Event, q *deputy.EventQuery) { naming(q, deputy.TermRequest, e.RequestID) },
		"by user":              func(e *deputy.Event, q *deputy.EventQuery) { naming(q, deputy.TermUser, string(e.UserID)) },
		"by application":       func(e *deputy.Event, q *deputy.EventQuery) { naming(q, deputy.TermApplication, e.Actor.ID) },
		"by application, time": func(e *deputy.Event, q *deputy.EventQuery) { naming(q, deputy.TermApplication, e.Actor.ID); near(q, e) },
		"by application, total": func(e *deputy.Event, q *deputy.EventQuery) {
			naming(q, deputy.TermApplication, e.Actor.ID)
			q.Count = true
		},
	} {
		percentiles(b, "events "+name, func(n int) error {
			e := known[n*7919%len(known)]
			q := deputy.EventQuery{Organization: e.OrganizationID, Limit: 100}
			ask(e, &q)
			p, err := s.Events(b.Context(), q)
			if err == nil && len(p.Items) == 0 {
				err = fmt.Errorf("an event is not found")
			}
			return err
		})
	}
}

func naming(q *deputy.EventQuery, t deputy.Term, value string) {
	q.Named = map[deputy.Term][]string{t: {value}}
}

func near(q *deputy.EventQuery, e *deputy.Event) {
	q.Since, q.Until = e.Time.Add(-10*time.Second), e.Time.Add(10*time.Second)
}

// proven asks for proofs, and reads and checks a whole log.
func (in installation) proven(b *testing.B, s *store.Store, known []*deputy.Event) {
	var most int
	percentiles(b, "proof of an event", func(n int) error {
		e := known[n*7919%len(known)]
		_, state, err := s.ProveEvent(b.Context(), e.OrganizationID, e.ZoneID, e.ID)
		most = max(most, len(state.Proof))
		return err
	})
	percentiles(b, "proof that a log continues", func(n int) error {
		state, err := s.LogState(b.Context(), known[0].OrganizationID, 1+int64(n*7919%(in.events/20)))
		most = max(most, len(state.Proof))
		return err
	})
	b.Logf("the longest proof: %d hashes, %d bytes", most, 32*most)
	b.Run("export and check of a log", func(b *testing.B) {
		var entries, bytes int64
		for n := 0; b.Loop(); n++ {
			read, size := checked(b, s, in.scopeOf(n).Organization)
			entries, bytes = entries+read, bytes+size
		}
		b.ReportMetric(float64(entries)/b.Elapsed().Seconds(), "events/s")
		b.ReportMetric(float64(bytes)/1e6/b.Elapsed().Seconds(), "MB/s")
	})
}

// checked reads a log to its end, as an export does, and compares the tree of
// what it read with the root that the store states.
func checked(b *testing.B, s *store.Store, organization deputy.OrganizationID) (entries, size int64) {
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(at []int64) (out []tlog.Hash, err error) {
		for _, i := range at {
			out = append(out, stored[i])
		}
		return out, nil
	})
	state, err := s.LogState(b.Context(), organization, 0)
	for err == nil && entries < state.Size {
		var page []deputy.LogEntry
		page, err = s.LogEntries(b.Context(), deputy.LogQuery{Organization: organization, From: entries + 1, Limit: 1000})
		if len(page) == 0 && err == nil {
			b.Fatal("the log ends early")
		}
		for _, e := range page {
			if e.Seq > state.Size || err != nil {
				break
			}
			var hashes []tlog.Hash
			hashes, err = tlog.StoredHashesForRecordHash(entries, deputy.LeafHash(e.Record), read)
			stored = append(stored, hashes...)
			entries, size = entries+1, size+int64(len(e.Record))
		}
	}
	if err != nil {
		b.Fatal(err)
	}
	if root, err := tlog.TreeHash(entries, read); err != nil || root != state.Root {
		b.Fatal("the log is not what its root says", err)
	}
	return entries, size
}

// changed commits tokens one after the other, and changes zones at one store
// while another has decided on what they were.
func (in installation) changed(b *testing.B, s, other *store.Store) {
	percentiles(b, "commit of a token alone", func(int) error {
		return s.Write(b.Context(), in.issuance(), nil)
	})
	revision := int64(1)
	decided := func(zone deputy.ZoneID) *deputy.Event {
		e := issued(zone)
		e.OrganizationID, e.Basis = in.scopeOf(1).Organization, &deputy.Basis{Zone: zone, Revision: revision}
		return e
	}
	zone := in.scopeOf(1)
	percentiles(b, "change, and the refusal on another node", func(int) error {
		late := decided(zone.Zone)
		change := decided(zone.Zone)
		change.Basis = nil
		if err := s.Write(b.Context(), change, func(t deputy.Tx) error {
			now := deputy.Time(time.Now())
			return t.Applications().Insert(b.Context(), &deputy.Application{
				ID: deputy.ApplicationID(deputy.NewID(now)), OrganizationID: zone.Organization, ZoneID: zone.Zone, Owner: deputy.Customer,
				Slug: string(deputy.NewID(now)), Identifier: string(deputy.NewID(now)), Name: "A", Consent: deputy.RequiredConsent, CreatedAt: now, UpdatedAt: now,
			})
		}); err != nil {
			return err
		}
		revision++
		if err := other.Write(b.Context(), late, nil); deputy.KindOf(err) != deputy.Stale {
			return fmt.Errorf("what was decided before was committed: %v", err)
		}
		return nil
	})
}

// BenchmarkLogCost writes events to SQLite from 64 writers, with the tree and
// the index growing behind or not, and reports what an event takes of the
// processor.
func BenchmarkLogCost(b *testing.B) {
	for name, step := range map[string]func(*store.Store) (bool, error){
		"neither": func(*store.Store) (bool, error) { return false, nil },
		"tree":    func(s *store.Store) (bool, error) { return s.GrowTree(context.Background(), 64) },
		"index":   func(s *store.Store) (bool, error) { return s.IndexEvents(context.Background(), 4096) },
	} {
		b.Run(name, func(b *testing.B) {
			c := engines["SQLite"](b)
			c.Migrate = true
			s, z := open(b, c), newZone()
			write(b, s, z.ID, func(t deputy.Tx) error { return t.Zones().Insert(b.Context(), z) })
			before := processor(b)
			b.ResetTimer()
			var wait, behind sync.WaitGroup
			var done atomic.Int64
			ctx, stop := context.WithCancel(b.Context())
			behind.Go(func() { repeat(b, ctx, time.Second/4, func() (bool, error) { return step(s) }) })
			for range 64 {
				wait.Go(func() {
					for done.Add(1) <= int64(b.N) {
						e := issued(z.ID)
						e.Basis = &deputy.Basis{Zone: z.ID, Revision: 1}
						if err := s.Write(b.Context(), e, nil); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wait.Wait()
			stop()
			behind.Wait()
			for more := true; more; { // what it still owes
				var err error
				if more, err = step(s); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64((processor(b)-before).Nanoseconds())/1000/float64(b.N), "cpu-µs/event")
		})
	}
}

// processor returns how long this process has computed.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
