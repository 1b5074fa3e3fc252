package policy_test

import (
	"fmt"
	"testing"

	"deputy/internal/policy"
	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

// A decision looks only at policies that could apply.
func TestIndexFindsOnlyWhatCouldApply(t *testing.T) {
	uid := func(kind, id string) types.EntityUID {
		return types.NewEntityUID(types.EntityType(kind), types.String(id))
	}
	entities := types.EntityMap{}
	for child, parents := range map[types.EntityUID][]types.EntityUID{
		uid("User", "u"):   {uid("Group", "g1"), uid("Group", "g2")},
		uid("Group", "g1"): {uid("Group", "g3")},
		uid("Group", "g3"): {uid("Group", "top"), uid("Group", "g1")}, // a cycle
	} {
		entities[child] = types.Entity{UID: child, Parents: types.NewEntityUIDSet(parents...)}
	}
	for i, c := range []struct {
		scope string
		found bool
	}{
		{`principal, action, resource`, true},
		{`principal == User::"u", action, resource`, true},
		{`principal == User::"v", action, resource`, false},
		{`principal in Group::"g2", action, resource`, true},
		{`principal in Group::"top", action, resource`, true},
		{`principal in Group::"other", action, resource`, false},
		{`principal is User, action, resource`, true},
		{`principal is Robot, action, resource`, false},
		{`principal is User in Group::"g1", action, resource`, true},
		{`principal, action == Action::"read", resource`, true},
		{`principal, action == Action::"write", resource`, false},
		{`principal, action in [Action::"write"], resource`, false},
		{`principal == User::"u", action == Action::"read", resource == Doc::"d"`, true},
		{`principal == User::"u", action == Action::"read", resource == Doc::"e"`, false},
		{`principal == User::"u", action, resource is Folder`, false},
		{`principal is User, action, resource == Doc::"d"`, true},
	} {
		var p cedar.Policy
		if err := p.UnmarshalCedar([]byte(`permit(` + c.scope + `);`)); err != nil {
			t.Fatal(err)
		}
		// A second policy with in makes ancestors count.
		var other cedar.Policy
		if err := other.UnmarshalCedar([]byte(`permit(principal in User::"nobody", action in Action::"none", resource in Doc::"none");`)); err != nil {
			t.Fatal(err)
		}
		x := policy.NewIndex([]types.PolicyID{"p", "other"}, []*cedar.Policy{&p, &other})
		_, diagnostic, candidates := x.Authorize(entities, types.Request{Principal: uid("User", "u"), Action: uid("Action", "read"), Resource: uid("Doc", "d")})
		if (candidates == 1) != c.found || (len(diagnostic.Reasons) == 1) != c.found {
			t.Errorf("%d: permit(%s): %d candidates, %d reasons, want it found: %t", i, c.scope, candidates, len(diagnostic.Reasons), c.found)
		}
	}
}

// Of policies that demand an attribute to be a text, a decision looks at those
// that demand the one that it is, and at all where there is none: then each
// fails, and has to.
func TestGuards(t *testing.T) {
	user, doc := types.NewEntityUID("User", "u"), types.NewEntityUID("Doc", "d")
	entities := types.EntityMap{
		user: {UID: user, Attributes: types.NewRecord(types.RecordMap{"name": types.String("ada"), "age": types.Long(7)})},
		doc:  {UID: doc, Attributes: types.NewRecord(types.RecordMap{"name": types.String("d")})},
	}
	for condition, c := range map[string]struct {
		candidates int
		decision   cedar.Decision
		errors     int
	}{
		`principal.name == "ada"`:                                    {1, cedar.Allow, 0},
		`"ada" == principal.name`:                                    {1, cedar.Allow, 0},
		`principal.name == "bob"`:                                    {0, cedar.Deny, 0},
		`principal.name == "bob" && principal.none`:                  {0, cedar.Deny, 0},
		`principal.name == "ada" && principal.none`:                  {1, cedar.Deny, 1},
		`principal.name == "bob" || true`:                            {1, cedar.Allow, 0},
		`principal.name != "bob"`:                                    {1, cedar.Allow, 0},
		`!(principal.name == "ada")`:                                 {1, cedar.Deny, 0},
		`principal.age == "7"`:                                       {0, cedar.Deny, 0},
		`principal.age == 8`:                                         {1, cedar.Deny, 0},
		`principal.none == "x"`:                                      {1, cedar.Deny, 1},
		`principal has none && principal.none == "x"`:                {1, cedar.Deny, 0},
		`principal has name && principal.name == "bob"`:              {0, cedar.Deny, 0},
		`principal is User && context has x && resource.name == "e"`: {0, cedar.Deny, 0},
		`resource.name == "d" && principal.name == "bob"`:            {1, cedar.Deny, 0},
		`context.x == "y"`:                                           {1, cedar.Deny, 1},
		`context.x && principal.name == "bob"`:                       {1, cedar.Deny, 1},
		`User::"u".name == "bob"`:                                    {1, cedar.Deny, 0},
		`principal.name == resource.name`:                            {1, cedar.Deny, 0},
	} {
		var p cedar.Policy
		if err := p.UnmarshalCedar([]byte(`permit(principal, action, resource) when { ` + condition + ` };`)); err != nil {
			t.Fatal(err)
		}
		x := policy.NewIndex([]types.PolicyID{"p"}, []*cedar.Policy{&p})
		decision, diagnostic, candidates := x.Authorize(entities, types.Request{Principal: user, Action: types.NewEntityUID("Action", "read"), Resource: doc})
		if decision != c.decision || len(diagnostic.Errors) != c.errors || candidates != c.candidates {
			t.Errorf("%s: %v with %d errors of %d candidates, want %+v", condition, decision, len(diagnostic.Errors), candidates, c)
		}
	}
	var unless cedar.Policy
	if err := unless.UnmarshalCedar([]byte(`permit(principal, action, resource) unless { principal.name == "bob" };`)); err != nil {
		t.Fatal(err)
	}
	x := policy.NewIndex([]types.PolicyID{"p"}, []*cedar.Policy{&unless})
	if decision, _, _ := x.Authorize(entities, types.Request{Principal: user, Resource: doc}); decision != cedar.Allow {
		t.Error("what is excluded is taken for a demand")
	}
}

// fleet makes a set of n policies, of which open of them pin nothing and the
// others pin an application and a resource each; the first application has a
// permit for the first resource.
func fleet(n, open int) []string {
	return fleetOf(n, open, func(int) string { return `principal.identifier != "urn:app:app0"` })
}

// demanding is a fleet whose open policies each demand another identifier.
func demanding(n, open int) []string {
	return fleetOf(n, open, func(i int) string { return fmt.Sprintf(`principal.identifier == "urn:app:none%d"`, i) })
}

func fleetOf(n, open int, condition func(i int) string) []string {
	texts := make([]string, n)
	for i := range texts {
		switch {
		case i < open:
			texts[i] = fmt.Sprintf(`permit(principal is Keycard::Application, action, resource) when { %s };`, condition(i))
		case i%3 == 0:
			texts[i] = fmt.Sprintf(`forbid(principal == Keycard::Application::"app%d", action, resource) when { context.impersonate };`, i-open)
		case i%3 == 1:
			texts[i] = fmt.Sprintf(`permit(principal, action, resource == Keycard::Resource::"res%d") when { context.on_behalf };`, i-open)
		default:
			texts[i] = fmt.Sprintf(`permit(principal == Keycard::Application::"app%[1]d", action, resource == Keycard::Resource::"res%[1]d") when { !context.impersonate };`, i-open)
		}
	}
	return append(texts, `permit(principal == Keycard::Application::"app0", action, resource == Keycard::Resource::"res0");`)
}

// What a decision allocates does not grow with the set.
func TestDecideAllocatesTheSameForEverySize(t *testing.T) {
	q := asItself(application("app0"), resource("res0", "read"), "read")
	allocations := func(n, open int) float64 {
		s := compile(t, tools, fleet(n, open)...)
		return testing.AllocsPerRun(100, func() { s.Decide(q) })
	}
	small := allocations(10, 2)
	for _, n := range []int{100, 1000} {
		if large := allocations(n, n/5); large > small {
			t.Errorf("%v allocations with %d policies, %v with 10", large, n, small)
		}
	}
}

// The targets are 1,000 scoped policies in 2 µs, 10,000 in 3 µs; 5 % open ones
// in 10 µs, 20 % in 30 µs; and 3, 4, 14 and 40 times the cost of 10.
func BenchmarkDecide(b *testing.B) {
	a, r := application("app0", always("res0")), resource("res0", "read", "write")
	for _, c := range []struct {
		n, open int
		kind    string
		texts   func(n, open int) []string
	}{
		{10, 0, "open", fleet}, {1000, 0, "open", fleet}, {10000, 0, "open", fleet}, {1000, 50, "open", fleet}, {1000, 200, "open", fleet},
		{1000, 200, "demanding", demanding},
	} {
		s := compile(b, tools, c.texts(c.n, c.open)...)
		b.Run(fmt.Sprintf("policies=%d/%s=%d", c.n, c.kind, c.open), func(b *testing.B) {
			q := asItself(a, r, "read")
			b.ReportAllocs()
			for b.Loop() {
				if out := s.Decide(q); !out.Allowed {
					b.Fatal(out.Message())
				}
			}
		})
	}
}

func BenchmarkDecideDefaults(b *testing.B) {
	s := compile(b, tools, defaults(b, tools)...)
	a, r := application("a", always("r")), resource("r", "read", "write", "admin")
	for name, q := range map[string]policy.Request{
		"client credentials":     asItself(a, r, "read"),
		"user":                   forUser(alice, a, r),
		"user with one scope":    forUser(alice, a, r, "read"),
		"user with three scopes": forUser(alice, a, r, "read", "write", "admin"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if out := s.Decide(q); !out.Allowed {
					b.Fatal(out.Message())
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	v := version(b, tools, fleet(1000, 50)...)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := policy.Compile(v); err != nil {
			b.Fatal(err)
		}
	}
}
