package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"deputy/internal/deputy"

	"pgregory.net/rapid"
)

func tally(w *world) {
	u, v := w.user("u"), w.user("v")
	put(w, deputy.Tx.Users, u, v)
	family(w, u, "app")
	family(w, u, "app")
	count := func(values []string, where ...deputy.Filter) map[string]int {
		return sure(w.Sessions().Tally(w.ctx, w.in, "user_id", values, where...))
	}
	of := []string{string(u.ID), string(v.ID), "nobody"}
	w.same(map[string]int{string(u.ID): 6}, count(of))
	w.same(map[string]int{string(u.ID): 2}, count(of, deputy.Filter{Fields: []string{"view"}, Values: []string{"user", "application"}}))
	w.same(map[string]int{}, count(nil))
}

// sessionPages compares pages of random queries with a model.
func sessionPages(w *world) {
	var all []*deputy.Session
	statuses := []deputy.Status{deputy.Active, deputy.Expired, deputy.Revoked}
	var root *deputy.SessionID
	for i := range 60 {
		s := w.session([]deputy.SessionType{deputy.UserSession, deputy.UserSession, deputy.ApplicationSession}[i%3])
		s.Status = statuses[i*7%5%3]
		s.ExpiresAt = s.CreatedAt.Add(time.Duration(i*13%7) * 20 * time.Millisecond)
		if s.Type == deputy.ApplicationSession || i%4 > 0 {
			s.ApplicationID, s.CredentialID = ref(deputy.ApplicationID("app")), ref(deputy.CredentialID(fmt.Sprint(i)))
		}
		if s.Type == deputy.UserSession {
			s.UserID, s.ParentID = ref(deputy.UserID(fmt.Sprint("user-", i%2))), root
			root = []*deputy.SessionID{&s.ID, root, nil}[i%3]
		}
		all = append(all, s)
	}
	put(w, deputy.Tx.Sessions, all...)
	rapid.Check(w.T, func(t *rapid.T) {
		q := deputy.Query{Limit: rapid.IntRange(1, 25).Draw(t, "limit"), Count: true}
		views := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"user", "application", "nested"}), 1, 3, rapid.ID).Draw(t, "views")
		q.Where = append(q.Where, deputy.Filter{Fields: []string{"view"}, Values: views})
		states := rapid.SliceOfDistinct(rapid.SampledFrom([]string{"active", "expired", "revoked", "unheard of"}), rapid.ID).Draw(t, "states")
		if len(states) > 0 {
			q.Where = append(q.Where, deputy.Filter{Fields: []string{"status"}, Op: deputy.InState, Values: states})
		}
		user := rapid.SampledFrom([]string{"", "user-0", "user-1"}).Draw(t, "user")
		if user != "" {
			q.Where = append(q.Where, deputy.Filter{Fields: []string{"user_id"}, Values: []string{user}})
		}
		ascending := rapid.Bool().Draw(t, "ascending")
		q.Sort = []deputy.Sort{{Field: "created_at", Descending: !ascending}}
		want := slices.Clone(all)
		want = slices.DeleteFunc(want, func(s *deputy.Session) bool {
			return !slices.Contains(views, string(s.View())) || user != "" && (s.UserID == nil || string(*s.UserID) != user) ||
				len(states) > 0 && !slices.Contains(states, string(s.State(w.clock.Now())))
		})
		slices.SortFunc(want, func(a, b *deputy.Session) int { return cmp.Compare(a.ID, b.ID) })
		if !ascending {
			slices.Reverse(want)
		}
		var got []deputy.SessionID
		for {
			p, err := w.Sessions().List(w.ctx, w.in, q)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range p.Items {
				got = append(got, s.ID)
			}
			if *p.Total != len(want) || len(p.Items) > q.Limit || p.HasNext != (len(got) < len(want)) || p.HasPrevious != (len(got) > len(p.Items)) {
				t.Fatalf("%+v: %d of %d, total %d", q, len(got), len(want), *p.Total)
			}
			if !p.HasNext {
				break
			}
			q.After = p.Last
		}
		if !slices.EqualFunc(got, want, func(id deputy.SessionID, s *deputy.Session) bool { return id == s.ID }) {
			t.Fatalf("%+v: got %v, want %d", q, got, len(want))
		}
	})
}

// inState returns how many sessions and grants are in each state.
func (w *world) inState() map[deputy.Status][2]int {
	out := map[deputy.Status][2]int{}
	for _, s := range []deputy.Status{deputy.Active, deputy.Expired, deputy.Revoked} {
		q := deputy.Query{Where: []deputy.Filter{{Fields: []string{"status"}, Op: deputy.InState, Values: []string{string(s)}}}}
		sessions, grants := sure(w.Sessions().List(w.ctx, w.in, q)), sure(w.Grants().List(w.ctx, w.in, q))
		out[s] = [2]int{len(sessions.Items), len(grants.Items)}
		for _, e := range sessions.Items {
			w.same(s, e.State(w.clock.Now()))
		}
		for _, e := range grants.Items {
			w.same(s, e.State(w.clock.Now()))
		}
	}
	return out
}

// perishable adds two sessions that end within the hour and one that was
// revoked, a grant that ends with them and one that can be refreshed.
func perishable(w *world) {
	a, b, revoked := w.session(deputy.UserSession), w.session(deputy.UserSession), w.session(deputy.UserSession)
	revoked.Status = deputy.Revoked
	put(w, deputy.Tx.Sessions, a, b, revoked)
	u, r := w.user("u"), w.resource("r")
	ends, refreshed := w.grant(u, r), w.grant(u, r)
	refreshed.RefreshTokenSet = true
	put(w, deputy.Tx.Grants, ends, refreshed)
}

func states(w *world) {
	perishable(w)
	w.same(map[deputy.Status][2]int{deputy.Active: {2, 2}, deputy.Expired: {0, 0}, deputy.Revoked: {1, 0}}, w.inState())
	w.clock.advance(time.Hour)
	w.same(map[deputy.Status][2]int{deputy.Active: {0, 1}, deputy.Expired: {2, 1}, deputy.Revoked: {1, 0}}, w.inState())
	_, err := w.Users().List(w.ctx, w.in, deputy.Query{Where: []deputy.Filter{{Fields: []string{"status"}, Op: deputy.InState, Values: []string{"active"}}}})
	w.is(err, deputy.Invalid)
}

func expire(w *world) {
	perishable(w)
	w.same(false, sure(w.Expire(w.ctx, 10)))
	w.clock.advance(time.Hour)
	before := w.inState()
	one := sure(w.Sessions().List(w.ctx, w.in, deputy.Query{Sort: []deputy.Sort{{Field: "created_at"}}})).Items[0]
	rounds := 0
	for more := true; more; rounds++ {
		more = sure(w.Expire(w.ctx, 1))
	}
	w.same(3, rounds)
	w.same(before, w.inState())
	after := sure(w.Sessions().Get(w.ctx, w.in, deputy.ID(one.ID)))
	w.same(deputy.Expired, after.Status)
	after.Status = deputy.Active
	w.same(one, after) // nothing that anybody could see has changed
}
