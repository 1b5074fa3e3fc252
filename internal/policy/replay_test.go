package policy_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

// archive keeps decisions as the log and the store do.
type archive struct {
	stored []deputy.StoredEvaluation
	kept   map[deputy.EntityID][]byte
}

func (a *archive) keep(t interface{ Fatal(...any) }, r policy.Request, out *policy.Outcome) {
	e := &deputy.Event{ID: deputy.EventID(fmt.Sprint("e", len(a.stored))), Evaluation: new(deputy.Evaluation)}
	out.Evaluation(e.Evaluation)
	record := new(deputy.Record)
	if err := record.Take(context.Background(), e, nil); err != nil {
		t.Fatal(err)
	}
	a.stored = append(a.stored, deputy.StoredEvaluation{ID: e.ID, Seq: int64(len(a.stored)), Bytes: deputy.EvaluationBytes(record.Bytes)})
	if a.kept == nil {
		a.kept = map[deputy.EntityID][]byte{}
	}
	for _, entity := range r.Entities(nil) {
		a.kept[entity.Trace().ID] = entity.Facts()
	}
}

// replay makes all decisions again by a set, in steps.
func (a *archive) replay(t interface{ Fatal(...any) }, set *policy.Set, step int) []*policy.Case {
	r := policy.NewReplay(set)
	for some := range slices.Chunk(a.stored, step) {
		for i := range some {
			if err := r.Take(&some[i]); err != nil {
				t.Fatal(err)
			}
		}
		for _, id := range r.Missing() {
			if err := r.Entities.Add(id, a.kept[id]); err != nil {
				t.Fatal(err)
			}
		}
		r.Decide()
	}
	return r.Cases()
}

// A replay says what the set would have answered to each stored question, as if
// each were asked alone, whatever they were made by.
func TestReplayAsksEveryQuestion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := compile(t, enums, drawPolicies.Draw(t, "before")...)
		after := compile(t, rapid.SampledFrom([]string{plain, enums}).Draw(t, "schema"), drawPolicies.Draw(t, "after")...)
		var a archive
		want := map[policy.Change]int{}
		for range rapid.IntRange(1, 8).Draw(t, "requests") {
			r := drawRequest(t).request
			for range rapid.IntRange(1, 3).Draw(t, "times") {
				was := before.Decide(r)
				a.keep(t, r, &was)
				want[differs(was, after.Decide(r))]++
			}
		}
		got := map[policy.Change]int{}
		for _, c := range a.replay(t, after, rapid.IntRange(1, 9).Draw(t, "step")) {
			got[c.Change] += c.Count
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}

func differs(was, is policy.Outcome) policy.Change {
	gained, lost := false, false
	for _, s := range is.Scopes {
		gained = gained || !slices.Contains(was.Scopes, s)
	}
	for _, s := range was.Scopes {
		lost = lost || !slices.Contains(is.Scopes, s)
	}
	switch {
	case is.Allowed && !was.Allowed:
		return policy.NewlyAllowed
	case was.Allowed && !is.Allowed:
		return policy.NewlyDenied
	case gained:
		return policy.Widened
	case lost:
		return policy.Narrowed
	}
	return policy.Unchanged
}

// Equal questions are one case; claims tell them apart only where a policy
// reads them.
func TestReplayGroupsQuestions(t *testing.T) {
	const open = "permit (principal, action, resource);"
	app, r := application("a", always("r")), resource("r", "s1")
	var a archive
	set := compile(t, enums, open)
	for i := range 6 {
		claims, err := policy.NewClaims([]byte(fmt.Sprintf(`{"jti":"%d","t":"v"}`, i)))
		if err != nil {
			t.Fatal(err)
		}
		request := policy.Request{Legs: []policy.Leg{{Principal: app}}, Resource: r, SubjectClaims: claims, ActorClaims: claims, Scopes: []string{"s1"}, Narrowable: true}
		if i > 3 {
			request.Scopes = nil
		}
		out := set.Decide(request)
		a.keep(t, request, &out)
	}
	for condition, want := range map[string]int{
		"":                            2,
		"when { context.on_behalf }":  2,
		`when { context has scopes }`: 2,
		`when { context has subject_claims && context.subject_claims.hasTag("t") }`: 6,
		`when { context has actor_claims }`:                                         6,
		`when { Keycard::Claims::"actor".hasTag("t") }`:                             6,
		`when { {c: context}.c has scopes }`:                                        6,
	} {
		cases := a.replay(t, compile(t, enums, "permit (principal, action, resource) "+condition+";"), 4)
		count := 0
		for _, c := range cases {
			count += c.Count
		}
		if len(cases) != want || count != 6 || cases[0].Of != "e0" {
			t.Errorf("%q: %d cases of %d decisions, want %d", condition, len(cases), count, want)
		}
	}
	// What is gone is counted apart.
	delete(a.kept, app.Trace().ID)
	for _, c := range a.replay(t, set, 4) {
		if c.Change != policy.Gone {
			t.Errorf("of what is gone: %s", c.Change)
		}
	}
	if err := policy.NewReplay(set).Take(&deputy.StoredEvaluation{Bytes: []byte("x")}); deputy.KindOf(err) != deputy.Invalid {
		t.Errorf("no decision: %v", err)
	}
}

// BenchmarkReplay makes decisions of a busy zone again by fifty policies: a
// thousand applications that use some of a hundred resources, half of them for
// people whose tokens differ. That counts only where a policy reads claims: then
// half of the questions are asked once each.
func BenchmarkReplay(b *testing.B) {
	for name, first := range map[string]string{
		"claims=false": `permit (principal, action, resource) when { if context has scopes then resource.scopes.containsAll(context.scopes) else true };`,
		"claims=true":  `permit (principal, action, resource) when { context has subject_claims && context.subject_claims has email };`,
	} {
		b.Run(name, func(b *testing.B) { benchmarkReplay(b, first) })
	}
}

func benchmarkReplay(b *testing.B, first string) {
	texts := make([]string, 50)
	for i := range texts {
		texts[i] = fmt.Sprintf(`permit (principal == Keycard::Application::"a%d", action, resource) when { resource.scopes.contains("s1") };`, i)
	}
	texts[0] = first
	set := compile(b, enums, texts...)
	apps, resources := make([]*policy.Application, 1000), make([]*policy.Resource, 100)
	for i := range apps {
		apps[i] = application(fmt.Sprint("a", i), always("r1"))
	}
	for i := range resources {
		resources[i] = resource(fmt.Sprint("r", i), "s1", "s2")
	}
	var a archive
	const many = 100_000
	for i := range many {
		r := policy.Request{Legs: []policy.Leg{{Principal: apps[i*7%len(apps)]}}, Resource: resources[i%len(resources)], Scopes: []string{"s1"}, Narrowable: true}
		if i%2 == 0 {
			r.SubjectClaims, _ = policy.NewClaims([]byte(fmt.Sprintf(`{"jti":"%d"}`, i)))
			r.Legs[0].OnBehalf = true
		}
		out := set.Decide(r)
		a.keep(b, r, &out)
	}
	b.ResetTimer()
	for b.Loop() {
		a.replay(b, set, 4096)
	}
	b.ReportMetric(many*float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
}
