package store_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/store"
)

// crowded returns a store with a zone of n users and as many sessions: of each
// hundred sessions 2 are revoked, 18 have run out and 10 are nested. Of each
// thousand one has run out and is not written down yet: as many run out within
// three seconds where a million live for an hour.
func crowded(t testing.TB, c store.Config, n int) (*store.Store, *deputy.Zone) {
	t.Helper()
	c.Migrate = true
	s, z := open(t, c), newZone()
	write(t, s, z.ID, func(x deputy.Tx) error { return x.Zones().Insert(t.Context(), z) })
	numbers, id := "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $n)", "printf('%026d', i)"
	if c.URL != "" {
		numbers, id = "WITH n(i) AS (SELECT generate_series(1::bigint, $n))", "lpad(i::text, 26, '0')"
	}
	fill := strings.NewReplacer("$numbers", strings.ReplaceAll(numbers, "$n", strconv.Itoa(n)), "$id", id, "$zone", string(z.ID),
		"$organization", string(z.OrganizationID), "$email", "('user' || (i * 7919 % 1000003) || '@example.test')",
		"$now", fmt.Sprint(time.Now().UnixMicro()), "$hour", fmt.Sprint(time.Hour.Microseconds()))
	before, after := "PRAGMA cache_size = -400000", "PRAGMA wal_checkpoint(TRUNCATE)"
	if c.URL != "" {
		before, after = "SELECT 1", "VACUUM ANALYZE"
	}
	people := fill.Replace(`INSERT INTO users (zone_id, id, organization_id, identifier, identifier_key, email, email_folded, email_verified, status, issuer,
			subject, subject_folded, account_key, authenticated_at, key_id, created_at, updated_at, revision)
		$numbers SELECT '$zone', $id, '$organization', $id, $id, $email, $email, true, 'active', 'https://idp.test',
			$id, $id, $id, CASE WHEN i % 3 = 0 THEN NULL ELSE $now - i END, 'k', $now, $now, 1 FROM n`)
	sessions := fill.Replace(`INSERT INTO sessions (zone_id, id, organization_id, session_type, status, depth, view, user_id, application_id,
			name, issuer, subject, session_data, authenticated_at, expires_at, created_at, updated_at, revision)
		$numbers SELECT '$zone', $id, '$organization', 'user',
			CASE WHEN i % 100 < 2 THEN 'revoked' WHEN i % 100 < 20 AND i % 4000 <> 19 THEN 'expired' ELSE 'active' END, 1,
			CASE WHEN i % 100 >= 90 THEN 'nested' ELSE 'user' END, $id, 'a', 'Agent', 'https://idp.test', 's', '{"sub":"s"}',
			$now, CASE WHEN i % 100 < 20 THEN $now - $hour ELSE $now + $hour END, $now, $now, 1 FROM n`)
	if err := s.Exec(t.Context(), before, people, sessions, after); err != nil {
		t.Fatal(err)
	}
	return s, z
}

func where(field string, op deputy.FilterOp, values ...string) deputy.Filter {
	return deputy.Filter{Fields: []string{field}, Op: op, Values: values}
}

var shown = where("view", deputy.Equals, "user", "application")

// questions are what lists of sessions and users are asked.
var questions = map[string]map[string]deputy.Query{
	"sessions": {
		"all":            {Where: []deputy.Filter{shown}},
		"oldest first":   {Where: []deputy.Filter{shown}, Sort: []deputy.Sort{{Field: "created_at"}}},
		"nested":         {Where: []deputy.Filter{where("view", deputy.Equals, "user", "application", "nested")}},
		"active":         {Where: []deputy.Filter{shown, where("status", deputy.InState, "active")}},
		"expired":        {Where: []deputy.Filter{shown, where("status", deputy.InState, "expired")}},
		"revoked":        {Where: []deputy.Filter{shown, where("status", deputy.InState, "revoked")}},
		"of a user":      {Where: []deputy.Filter{shown, where("user_id", deputy.Equals, "00000000000000000000000077")}},
		"active, a user": {Where: []deputy.Filter{shown, where("user_id", deputy.Equals, "00000000000000000000000177"), where("status", deputy.InState, "active")}},
	},
	"users": {
		"all":                            {},
		"by email":                       {Sort: []deputy.Sort{{Field: "email"}}},
		"by email, latest":               {Sort: []deputy.Sort{{Field: "email", Descending: true}}},
		"by email, newest":               {Sort: []deputy.Sort{{Field: "email"}, {Field: "created_at", Descending: true}}},
		"by authentication, newest":      {Sort: []deputy.Sort{{Field: "authenticated_at"}, {Field: "created_at", Descending: true}}},
		"by authentication, email":       {Sort: []deputy.Sort{{Field: "authenticated_at", Descending: true}, {Field: "email"}}},
		"never authenticated, by email":  {Sort: []deputy.Sort{{Field: "authenticated_at"}, {Field: "email", Descending: true}}},
		"by authentication":              {Sort: []deputy.Sort{{Field: "authenticated_at", Descending: true}}},
		"of an email, by authentication": {Where: []deputy.Filter{where("email", deputy.Equals, "user7919@example.test")}, Sort: []deputy.Sort{{Field: "authenticated_at"}}},
	},
}

// TestListsGoByIndex: no page of a list is found by reading or sorting all
// there is, whatever it is asked, be it the first one, one in the middle or the
// last one.
func TestListsGoByIndex(t *testing.T) {
	for engine, rows := range map[string]int{"SQLite": 600, "PostgreSQL": 10_000} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := engines[engine](t)
			if c.URL != "" {
				c.URL += "&plan_cache_mode=force_generic_plan"
			}
			s, z := crowded(t, c, rows)
			in := deputy.Scope{Organization: z.OrganizationID, Zone: z.ID}
			for noun, list := range map[string]func(context.Context, deputy.Scope, deputy.Query) ([]string, error){
				"sessions": s.ListSessions, "users": s.ListUsers,
			} {
				for name, q := range questions[noun] {
					q.Limit = 100
					for place, q := range pages(t, s, in, noun, q, rows) {
						plans, err := list(t.Context(), in, q)
						if err != nil || len(plans) == 0 {
							t.Fatal(plans, err)
						}
						if bad := map[string]func(string, deputy.Query, []string) string{"SQLite": searched, "PostgreSQL": visited}[engine](name, q, plans); bad != "" {
							t.Errorf("%s, %s, %s: %s in\n%s", noun, name, place, bad, strings.Join(plans, "\n"))
						}
					}
				}
			}
		})
	}
}

// pages are the first page of a list, the one after the item that was made in
// the middle, and the first one of the list the other way round, which is the
// last one.
func pages(t testing.TB, s *store.Store, in deputy.Scope, noun string, q deputy.Query, rows int) map[string]deputy.Query {
	t.Helper()
	middle, last, err := q, q, error(nil)
	if middle.After, err = s.CursorAt(t.Context(), noun, in, q, fmt.Sprintf("%026d", rows/2)); err != nil {
		t.Fatal(err)
	}
	last.Sort = nil
	for _, o := range q.Sort {
		last.Sort = append(last.Sort, deputy.Sort{Field: o.Field, Descending: !o.Descending})
	}
	if last.Sort == nil {
		last.Sort = []deputy.Sort{{Field: "created_at"}}
	}
	return map[string]deputy.Query{"first": q, "middle": middle, "last": last}
}

// searched returns the step with which SQLite reads or sorts too much.
func searched(name string, q deputy.Query, plans []string) string {
	// What one person has is little to sort, and so is who authenticated at one time.
	little := slices.Contains([]string{"of a user", "active, a user", "of an email, by authentication", "by authentication, email", "never authenticated, by email"}, name)
	for _, p := range plans {
		whole := strings.Contains(p, "(zone_id=?)") && (len(q.Where) > 0 || q.After != "")
		if strings.HasPrefix(p, "SCAN") || whole || !little && strings.Contains(p, "TEMP B-TREE FOR ORDER BY") {
			return p
		}
	}
	return ""
}

var (
	found   = regexp.MustCompile(`Scan.* \(actual rows=(\d+) loops=(\d+)\)`)
	removed = regexp.MustCompile(`Rows Removed by Filter: (\d+)`)
)

// visited says so if PostgreSQL looked at many more rows than it needed.
func visited(_ string, q deputy.Query, plans []string) string {
	rows := 0
	for _, p := range plans {
		if m := found.FindStringSubmatch(p); m != nil {
			n, _ := strconv.Atoi(m[1])
			loops, _ := strconv.Atoi(m[2])
			rows += n * loops
		} else if m := removed.FindStringSubmatch(p); m != nil {
			n, _ := strconv.Atoi(m[1])
			rows += n
		}
	}
	if rows > 10*q.Limit {
		return fmt.Sprint(rows, " rows")
	}
	return ""
}

// TestWhatWasSaidLastIsFoundByIndex: a person may revoke and authorize as often as
// they like, no decision reads more than what they said last; nor more secrets of a
// resource than the newest.
func TestWhatWasSaidLastIsFoundByIndex(t *testing.T) {
	const grants = 2000
	for engine, setup := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := setup(t)
			c.Migrate = true
			numbers, id, after := "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $n)", "printf('%026d', i)", "SELECT 1"
			if c.URL != "" {
				c.URL += "&plan_cache_mode=force_generic_plan"
				numbers, id, after = "WITH n(i) AS (SELECT generate_series(1::bigint, $n))", "lpad(i::text, 26, '0')", "VACUUM ANALYZE"
			}
			s, z := open(t, c), newZone()
			write(t, s, z.ID, func(x deputy.Tx) error { return x.Zones().Insert(t.Context(), z) })
			const active = 7
			insert := strings.NewReplacer("$numbers", strings.ReplaceAll(numbers, "$n", strconv.Itoa(grants)), "$id", id, "$zone", string(z.ID),
				"$organization", string(z.OrganizationID), "$active", strconv.Itoa(active)).Replace(
				`INSERT INTO grants (zone_id, id, organization_id, user_id, resource_id, provider_id, status, refresh_token_set, expires_at, created_at, updated_at, revision)
				$numbers SELECT '$zone', $id, '$organization', CASE WHEN i % 4 = 0 THEN 'other' ELSE 'user' END, CASE WHEN i % 4 = 1 THEN 'other' ELSE 'resource' END,
					'p', CASE WHEN i = $active THEN 'active' ELSE 'revoked' END, false, 0, 0, 0, 1 FROM n`)
			if err := s.Exec(t.Context(), insert, after); err != nil {
				t.Fatal(err)
			}
			insert = strings.NewReplacer("$numbers", strings.ReplaceAll(numbers, "$n", strconv.Itoa(grants)), "$id", id, "$zone", string(z.ID)).Replace(
				`INSERT INTO secrets (zone_id, id, entity_id, name, description, type, sealed, metadata, version, created_at, updated_at, revision)
				$numbers SELECT '$zone', $id, CASE WHEN i % 2 = 0 THEN 'entity' ELSE $id END, $id, '', 'token', '', '{}', 1, 0, 0, 1 FROM n`)
			if err := s.Exec(t.Context(), insert, after); err != nil {
				t.Fatal(err)
			}
			alone, foreseen, plans, err := s.NewestSecret(t.Context(), z.ID, "entity")
			if newest := fmt.Sprintf("%026d", grants); err != nil || string(alone.ID) != newest || foreseen == nil || string(foreseen.ID) != newest {
				t.Fatal(alone, foreseen, err)
			}
			if all := strings.Join(plans, "\n"); c.URL != "" {
				if bad := visited("", deputy.Query{Limit: 1}, plans); bad != "" {
					t.Errorf("the secret: %s in\n%s", bad, all)
				}
			} else if strings.Count(all, "secrets_entity (zone_id=? AND entity_id=?)") != 2 || !strings.Contains(all, "CORRELATED") {
				t.Errorf("the secret: %s", all)
			}
			for resource, want := range map[string]int{"resource": active, "other": grants - 3} {
				g, plans, err := s.SaidLast(t.Context(), z.ID, "user", deputy.ResourceID(resource))
				if err != nil || string(g.ID) != fmt.Sprintf("%026d", want) {
					t.Fatal(resource, g, err)
				}
				if c.URL != "" {
					if bad := visited("", deputy.Query{Limit: 1}, plans); bad != "" {
						t.Errorf("%s: %s in\n%s", resource, bad, strings.Join(plans, "\n"))
					}
				} else if all := strings.Join(plans, "\n"); strings.Count(all, "grants_said (zone_id=? AND user_id=? AND resource_id=?)") != 2 || strings.Contains(all, "TEMP B-TREE") {
					t.Errorf("%s: %s", resource, all)
				}
			}
		})
	}
}

// Lists of what has run out are whole and in order, page by page in both
// directions, also where more of it is not written down than usual.
func TestListsOfWhatHasRunOut(t *testing.T) {
	for name, database := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, z := crowded(t, database(t), 100)
			if err := s.Exec(t.Context(), "UPDATE sessions SET status = 'active' WHERE status = 'expired' AND id LIKE '%5'"); err != nil {
				t.Fatal(err)
			}
			in := deputy.Scope{Organization: z.OrganizationID, Zone: z.ID}
			for _, few := range []int{10, 0} {
				s.ReadFewDue(few)
				for want, states := range map[int][][]string{18: {{"expired"}}, 20: {{"expired", "revoked"}}, 0: {{"expired"}, {"active"}}} {
					q := deputy.Query{Where: []deputy.Filter{shown, shown}, Count: true}
					for _, in := range states {
						q.Where = append(q.Where, where("status", deputy.InState, in...))
					}
					for _, q.Sort = range [][]deputy.Sort{nil, {{Field: "created_at"}}, {{Field: "created_at", Descending: true}}} {
						whole := walked(t, s, in, q, 100)
						if len(whole) != want || want > 0 && slices.IsSorted(whole) != (len(q.Sort) == 1 && !q.Sort[0].Descending) {
							t.Errorf("%v by %v, of few %d: %v", states, q.Sort, few, whole)
						}
						for _, limit := range []int{1, 4, 17} {
							if pages := walked(t, s, in, q, limit); !slices.Equal(pages, whole) {
								t.Errorf("%v by %v, of few %d, pages of %d: %v, not %v", states, q.Sort, few, limit, pages, whole)
							}
						}
					}
				}
			}
		})
	}
}

// walked returns the ids of all pages of a list of sessions, from its beginning
// to its end, which is found as it was on the way back.
func walked(t *testing.T, s *store.Store, in deputy.Scope, q deputy.Query, limit int) (ids []string) {
	t.Helper()
	q.Limit = limit
	page := func() *deputy.Page[deputy.Session] {
		p, err := s.Sessions().List(t.Context(), in, q)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := page()
	add := func() {
		for _, e := range p.Items {
			ids = append(ids, string(e.ID))
		}
	}
	for add(); p.HasNext; add() {
		q.After = p.Last
		p = page()
	}
	if *p.Total != len(ids) {
		t.Errorf("a total of %d for %d", *p.Total, len(ids))
	}
	there := ids
	for q.After, ids = "", slices.Clone(there[len(there)-len(p.Items):]); p.HasPrevious; {
		q.Before = p.First
		p = page()
		after := ids
		ids = nil
		add()
		ids = append(ids, after...)
	}
	if !slices.Equal(ids, there) {
		t.Errorf("%v on the way back, not %v", ids, there)
	}
	return there
}

// rowsOf is how many rows benchmarks of lists have: 10,000 unless
// DEPUTY_BENCH_ROWS says otherwise.
func rowsOf(b *testing.B) int {
	n, err := strconv.Atoi(os.Getenv("DEPUTY_BENCH_ROWS"))
	if err != nil {
		n = 10_000
	}
	return n
}

// BenchmarkLists reads pages of lists, from their beginning, their middle and
// their end, and reports the median and the 99th percentile in milliseconds,
// and what a total costs.
func BenchmarkLists(b *testing.B) {
	for engine, database := range engines {
		b.Run(engine, func(b *testing.B) {
			s, z := crowded(b, database(b), rowsOf(b))
			measureLists(b, s, deputy.Scope{Organization: z.OrganizationID, Zone: z.ID}, rowsOf(b))
		})
	}
}

func measureLists(b *testing.B, s *store.Store, in deputy.Scope, rows int) {
	for noun, all := range questions {
		for name, q := range all {
			b.Run(noun+" "+name, func(b *testing.B) { measure(b, s, in, noun, q, rows) })
		}
	}
	for name, q := range map[string]deputy.Query{
		"found early": {Where: []deputy.Filter{{Fields: []string{"email", "subject"}, Op: deputy.Contains, Values: []string{"example"}}}},
		"not found":   {Where: []deputy.Filter{{Fields: []string{"email", "subject"}, Op: deputy.Contains, Values: []string{"nobody"}}}},
	} {
		b.Run("search "+name, func(b *testing.B) { measure(b, s, in, "users", q, rows) })
	}
}

// measure reads the pages of a list in turn.
func measure(b *testing.B, s *store.Store, in deputy.Scope, noun string, q deputy.Query, rows int) {
	read := func(q deputy.Query) (err error) {
		if noun == "users" {
			_, err = s.Users().List(b.Context(), in, q)
		} else {
			_, err = s.Sessions().List(b.Context(), in, q)
		}
		return err
	}
	page := pages(b, s, in, noun, q, rows)
	var took []time.Duration
	for n := 0; b.Loop(); n++ {
		begun := time.Now()
		if err := read(page[[]string{"first", "middle", "last"}[n%3]]); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	q.Count = true
	var counted time.Duration
	for range 2 { // the first may find its pages on the disk
		begun := time.Now()
		if err := read(q); err != nil {
			b.Fatal(err)
		}
		counted = time.Since(begun)
	}
	b.ReportMetric(float64(counted.Microseconds())/1000, "count-ms")
}
