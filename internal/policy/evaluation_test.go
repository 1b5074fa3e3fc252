package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

// rebuild writes a decision down, and makes its request again of what is kept.
func rebuild(t interface{ Fatal(...any) }, r policy.Request, out *policy.Outcome) (deputy.Evaluation, policy.Request) {
	var evaluation deputy.Evaluation
	out.Evaluation(&evaluation)
	kept := map[deputy.EntityID][]byte{}
	for _, e := range r.Entities(nil) {
		kept[e.Trace().ID] = e.Facts()
	}
	var entities policy.Entities
	missing := entities.Missing(&evaluation, nil)
	if len(missing) != len(kept) {
		t.Fatal("entities named:", len(missing), "shown:", len(kept))
	}
	for _, id := range missing {
		if err := entities.Add(id, kept[id]); err != nil {
			t.Fatal(err)
		}
	}
	if again := entities.Missing(&evaluation, nil); len(again) != 0 {
		t.Fatal("still missing:", again)
	}
	rebuilt, err := entities.Request(&evaluation)
	if err != nil {
		t.Fatal(err)
	}
	return evaluation, rebuilt
}

// A decision that was written down can be made again, by the policies that made
// it and by any others, whatever their schema.
func TestEvaluationsCanBeMadeAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRequest(t).request
		active := compile(t, enums, drawPolicies.Draw(t, "policies")...)
		out := active.Decide(r)
		evaluation, rebuilt := rebuild(t, r, &out)
		if evaluation.Allowed() != out.Allowed || !slices.Equal(evaluation.Kept, out.Scopes) || !slices.Equal(evaluation.Scopes, r.Scopes) {
			t.Fatalf("%+v of %+v", evaluation, out)
		}
		for _, schema := range []string{plain, enums} {
			other := compile(t, schema, drawPolicies.Draw(t, "others")...)
			for _, set := range []*policy.Set{active, other, nil} {
				want, got := set.Decide(r), set.Decide(rebuilt)
				if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(policy.Outcome{}), cmpopts.EquateEmpty()); diff != "" {
					t.Fatal(diff)
				}
				if want.Message() != got.Message() {
					t.Fatalf("%q, made again %q", want.Message(), got.Message())
				}
			}
		}
	})
}

// What tells nothing of a person is named by what it is, what does is not.
func TestEntityIDs(t *testing.T) {
	user := func() *policy.User {
		return policy.NewUser(policy.UserFacts{ID: "u", Email: "u@example.com"})
	}
	claims := func() *policy.Claims {
		c, err := policy.NewClaims([]byte(`{"email":"u@example.com"}`))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if a, b := application("a", always("r1")), application("a", always("r1")); a.Trace().ID != b.Trace().ID || a.Personal() {
		t.Error("the same application has two names")
	}
	if a, b := application("a", always("r1")), application("a", always("r2")); a.Trace().ID == b.Trace().ID {
		t.Error("applications with other dependencies have one name")
	}
	if a, b := resource("r", "s1"), resource("r", "s1"); a.Trace().ID != b.Trace().ID || a.Personal() {
		t.Error("the same resource has two names")
	}
	if a, b := resource("r", "s1"), resource("r", "s2"); a.Trace().ID == b.Trace().ID {
		t.Error("resources with other scopes have one name")
	}
	if a, b := user(), user(); a.Trace().ID == b.Trace().ID || !a.Personal() {
		t.Error("a person's name can be guessed")
	}
	if a, b := claims(), claims(); a.Trace().ID == b.Trace().ID || !a.Personal() {
		t.Error("the name of a person's claims can be guessed")
	}
}

// What is gone is said to be, and what is no entity is refused.
func TestEntitiesThatAreGone(t *testing.T) {
	r := policy.Request{Legs: []policy.Leg{{Principal: application("a", always("r1"))}}, Resource: resource("r1", "s1")}
	out := compile(t, enums, "permit (principal, action, resource);").Decide(r)
	var evaluation deputy.Evaluation
	out.Evaluation(&evaluation)
	var entities policy.Entities
	if _, err := entities.Request(&evaluation); deputy.KindOf(err) != deputy.NotFound {
		t.Errorf("nothing was added: %v", err)
	}
	ids := entities.Missing(&evaluation, nil)
	for _, facts := range []string{"", "{}", `{"user":7}`, `{"claims":[]}`, "x"} {
		if err := entities.Add(ids[0], []byte(facts)); deputy.KindOf(err) != deputy.Invalid {
			t.Errorf("%q: %v", facts, err)
		}
	}
	for _, id := range ids {
		if err := entities.Add(id, nil); err != nil {
			t.Error(err)
		}
	}
	if _, err := entities.Request(&evaluation); deputy.KindOf(err) != deputy.NotFound || len(entities.Missing(&evaluation, nil)) != 0 {
		t.Errorf("all is gone: %v", err)
	}
	// An entity of another kind is not taken for what is named.
	if err := entities.Add(ids[0], r.Resource.Facts()); err != nil {
		t.Error(err)
	}
	if _, err := entities.Request(&evaluation); deputy.KindOf(err) != deputy.NotFound {
		t.Errorf("a resource asks: %v", err)
	}
}

func TestSecretClaimsAreNotKept(t *testing.T) {
	c, err := policy.NewClaims([]byte(`{"sub":"u","access_token":"canary","client-secret":"canary","nested":{"apiKey":"canary","a":[{"Password":{"x":"canary"},"b":1}]},
		"code":"canary","token_use":"id","pinned":true,"email":"u@example.com","Authorization":["canary"],"n":1.50,"keys":2}`))
	if err != nil {
		t.Fatal(err)
	}
	got := string(c.Facts())
	if strings.Contains(got, "canary") {
		t.Errorf("kept: %s", got)
	}
	const want = `{"claims":{"sub":"u","nested":{"a":[{"b":1}]},"token_use":"id","pinned":true,"email":"u@example.com","n":1.50,"keys":2}}`
	if got != want {
		t.Errorf("kept %s, want %s", got, want)
	}
}
