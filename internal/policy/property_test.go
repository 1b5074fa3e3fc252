package policy_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"deputy/internal/deputy"
	"deputy/internal/policy"
	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// Everything the random policies and requests below are made of. Small, so
// that they meet; with every form of scope, and with conditions that read
// scopes in every way, fail, or see nothing.
var (
	drawPrincipal = rapid.SampledFrom([]string{
		"principal", "principal", `principal == Keycard::User::"u1"`, `principal == Keycard::Application::"a1"`,
		`principal in Keycard::Application::"a2"`, "principal is Keycard::User", "principal is Keycard::Application",
		`principal is Keycard::Application in Keycard::Application::"a1"`, `principal is Keycard::User in Keycard::User::"u2"`,
		`principal in Keycard::Group::"g"`, `principal == Keycard::Robot::"a1"`,
	})
	drawAction = rapid.SampledFrom([]string{
		"action", "action", `action == Keycard::Action::"access"`, `action in Keycard::Action::"access"`, `action in [Keycard::Action::"access"]`,
		`action in [Keycard::Action::"tool:read", Keycard::Action::"access"]`, `action == Keycard::Action::"tool:read"`, "action in []",
	})
	drawResource = rapid.SampledFrom([]string{
		"resource", "resource", `resource == Keycard::Resource::"r1"`, `resource == Keycard::Resource::"r2"`, `resource in Keycard::Resource::"r1"`,
		"resource is Keycard::Resource", "resource is Keycard::Tool", `resource is Keycard::Resource in Keycard::Resource::"r2"`,
	})
	drawCondition = rapid.SampledFrom([]string{
		"true", "true", "true", "false", "context.on_behalf", "context.impersonate",
		`context has scopes && context.scopes.contains("s1")`,
		`context["scopes"].contains("s2")`, // fails without scopes
		`(if context has scopes then context.scopes else []) == ["s3"]`,
		`{c: context}.c has scopes`,
		`context == {on_behalf: false, impersonate: false, scopes: ["s1"]}`,
		`if context has scopes then resource.scopes.containsAll(context.scopes) else true`,
		`context has subject && context.subject.email like "*@example.com"`,
		`principal.dependencies.contains(resource)`, // fails for users
		`context has actor_claims && context.actor_claims.hasTag("t")`,
		`9007199254740991 * 9007199254740991 > 0`, // always fails
		`context has scopes && 9007199254740991 * 9007199254740991 > 0`,
		`context has resource && context.resource.name == "Resource r4"`,
		// Demands, also of what is not there, behind tests that cannot fail, and
		// before what fails.
		`principal.identifier == "urn:app:a1"`, `"u1" == principal.identifier && context.on_behalf`,
		`resource.name == "Resource r1" && context.impersonate`, `resource.identifier == "https://r2.example.com"`,
		`principal.email == "u1@example.com"`, // fails for applications
		`principal has email && principal.email == "u1@example.com"`, `principal is Keycard::User && principal.email == "u2@example.com"`,
		`principal.groups == "u1"`, `principal.identifier == "u2" && 9007199254740991 * 9007199254740991 > 0`,
		`principal.identifier == "u3" || context.on_behalf`, `(principal.identifier == "u1") == false`,
		`context has scopes && principal.identifier == "urn:app:a2" && context.scopes.contains("s1")`,
	})
)

func drawPolicy(t *rapid.T) string {
	var b strings.Builder
	if rapid.Bool().Draw(t, "annotated") {
		fmt.Fprintf(&b, "@id(%q) ", rapid.SampledFrom([]string{"a", "b", "policy1"}).Draw(t, "id"))
	}
	fmt.Fprintf(&b, "%s(%s, %s, %s)", rapid.SampledFrom([]string{"permit", "permit", "permit", "forbid"}).Draw(t, "effect"),
		drawPrincipal.Draw(t, "principal"), drawAction.Draw(t, "action"), drawResource.Draw(t, "resource"))
	for range rapid.IntRange(0, 2).Draw(t, "conditions") {
		fmt.Fprintf(&b, " %s { %s }", rapid.SampledFrom([]string{"when", "when", "unless"}).Draw(t, "kind"), drawCondition.Draw(t, "condition"))
	}
	return b.String() + ";"
}

var drawPolicies = rapid.SliceOfN(rapid.Custom(drawPolicy), 0, 12)

// asked is a request and what it was made of, so that the reference need not
// look inside.
type asked struct {
	request        policy.Request
	entities       types.EntityMap
	legs           []types.EntityUID
	resource, from types.EntityUID
	declared       []string
}

func drawRequest(t *rapid.T) asked {
	drawID := func(of, prefix string) string {
		return prefix + rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, of)
	}
	a := asked{entities: types.EntityMap{}}
	q := &a.request
	add := func(kind, id string, attributes types.RecordMap) types.EntityUID {
		uid := types.NewEntityUID(types.EntityType("Keycard::"+kind), types.String(id))
		a.entities[uid] = types.Entity{UID: uid, Attributes: types.NewRecord(attributes)}
		return uid
	}
	newResource := func(id string, scopes []string) (*policy.Resource, types.EntityUID) {
		return resource(id, scopes...), add("Resource", id, types.RecordMap{
			"id": types.String(id), "name": types.String("Resource " + id),
			"identifier": types.String("https://" + id + ".example.com"), "scopes": set(scopes),
		})
	}
	a.declared = rapid.SampledFrom([][]string{nil, {"s1"}, {"s1", "s2"}, {"s3", "s2", "s1"}}).Draw(t, "declared")
	q.Resource, a.resource = newResource(drawID("resource", "r"), a.declared)
	if rapid.Bool().Draw(t, "exchange") {
		q.From, a.from = newResource("r4", nil)
	}
	q.Impersonate = rapid.Bool().Draw(t, "impersonate")
	onBehalf := !q.Impersonate && rapid.Bool().Draw(t, "on behalf")
	if rapid.Bool().Draw(t, "user") {
		id := drawID("user", "u")
		u := policy.NewUser(policy.UserFacts{ID: deputy.UserID(id), Identifier: id, Email: id + "@example.com"})
		uid := add("User", id, types.RecordMap{"identifier": types.String(id), "email": types.String(id + "@example.com"), "groups": types.NewSet()})
		q.Subject = u
		q.Legs, a.legs = append(q.Legs, policy.Leg{Principal: u, OnBehalf: onBehalf}), append(a.legs, uid)
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "applications") {
		id := drawID("application", "a") + fmt.Sprint(i)
		if i == 0 {
			id = id[:2]
		}
		conditional := policy.Dependency{ResourceID: "r3", WhenAccessing: []deputy.ResourceID{"r4"}}
		dependencies := []types.Value{types.NewEntityUID("Keycard::Resource", "r1")}
		if q.From != nil {
			dependencies = append(dependencies, types.NewEntityUID("Keycard::Resource", "r3"))
		}
		uid := add("Application", id, types.RecordMap{
			"identifier": types.String("urn:app:" + id), "name": types.String("App " + id),
			"registration_method": types.NewEntityUID("Keycard::RegistrationMethod", "managed"),
			"credential_type":     types.NewEntityUID("Keycard::CredentialType", "password"),
			"dependencies":        types.NewSet(dependencies...), "traits": types.NewSet(),
		})
		q.Legs = append(q.Legs, policy.Leg{Principal: application(id, always("r1"), conditional), OnBehalf: onBehalf || i == 1})
		a.legs = append(a.legs, uid)
	}
	if rapid.Bool().Draw(t, "claims") {
		q.ActorClaims, _ = policy.NewClaims([]byte(`{"t":"v"}`))
		uid := add("Claims", "actor", types.RecordMap{"groups": types.NewSet()})
		e := a.entities[uid]
		e.Tags = types.NewRecord(types.RecordMap{"t": types.String("v")})
		a.entities[uid] = e
	}
	q.Scopes = rapid.SliceOfN(rapid.SampledFrom([]string{"s1", "s2", "s3", "s4"}), 0, 4).Draw(t, "scopes")
	q.Narrowable = rapid.Bool().Draw(t, "narrowable")
	return a
}

func set(all []string) types.Set {
	var values []types.Value
	for _, s := range all {
		values = append(values, types.String(s))
	}
	return types.NewSet(values...)
}

// reference decides by the letter, with plain Cedar over the whole set: every
// step, every scope, every leg, and nothing remembered.
type reference struct {
	policies *cedar.PolicySet
	asked    asked
}

type answer struct {
	Allowed     bool
	Refusal     policy.Refusal
	Scopes      []string
	Determining []map[string]bool // per leg
}

// ask decides every leg with the given scopes.
func (r reference) ask(scopes []string) (answers []answer) {
	q := r.asked.request
	for i, uid := range r.asked.legs {
		context := types.RecordMap{"on_behalf": types.Boolean(q.Legs[i].OnBehalf), "impersonate": types.Boolean(q.Impersonate)}
		if q.Subject != nil {
			context["subject"] = r.asked.legs[0]
		}
		if q.From != nil {
			context["resource"] = r.asked.from
		}
		if q.ActorClaims != nil {
			context["actor_claims"] = types.NewEntityUID("Keycard::Claims", "actor")
		}
		if scopes != nil {
			context["scopes"] = set(scopes)
		}
		decision, d := cedar.Authorize(r.policies, r.asked.entities, types.Request{
			Principal: uid, Action: types.NewEntityUID("Keycard::Action", "access"), Resource: r.asked.resource, Context: types.NewRecord(context),
		})
		a := answer{Allowed: decision == cedar.Allow, Determining: []map[string]bool{{}}}
		for _, reason := range d.Reasons {
			a.Determining[0][string(reason.PolicyID)] = true
		}
		switch {
		case len(d.Errors) > 0:
			a.Allowed, a.Refusal = false, policy.EvaluationFailed
		case !a.Allowed && len(d.Reasons) > 0:
			a.Refusal = policy.Forbidden
		case !a.Allowed:
			a.Refusal = policy.NotPermitted
		}
		answers = append(answers, a)
	}
	return answers
}

// all merges the answers of the legs.
func all(legs []answer) answer {
	if len(legs) == 0 {
		return answer{Refusal: policy.NotPermitted}
	}
	whole := answer{Allowed: true}
	for _, refusal := range []policy.Refusal{policy.NotPermitted, policy.Forbidden, policy.EvaluationFailed} { // the last one wins
		for _, leg := range legs {
			if leg.Refusal == refusal {
				whole.Allowed, whole.Refusal = false, refusal
			}
		}
	}
	for _, leg := range legs {
		whole.Determining = append(whole.Determining, leg.Determining[0])
	}
	return whole
}

// decide is architecture.md §6, "Scopes".
func (r reference) decide() answer {
	var wanted []string
	for _, s := range r.asked.request.Scopes {
		if slices.Contains(r.asked.declared, s) && !slices.Contains(wanted, s) {
			wanted = append(wanted, s)
		}
	}
	if len(wanted) > 0 {
		if whole := all(r.ask(wanted)); whole.Refusal == policy.Forbidden || whole.Refusal == policy.EvaluationFailed {
			return whole
		}
	}
	var kept answer
	for _, s := range wanted {
		alone := all(r.ask([]string{s}))
		if alone.Refusal == policy.EvaluationFailed {
			return alone
		}
		if !alone.Allowed {
			continue
		}
		kept.Allowed = true
		kept.Scopes = append(kept.Scopes, s)
		for i, leg := range alone.Determining {
			if len(kept.Determining) <= i {
				kept.Determining = append(kept.Determining, map[string]bool{})
			}
			maps.Copy(kept.Determining[i], leg)
		}
	}
	if len(kept.Scopes) == 0 {
		kept = all(r.ask(nil))
	}
	if kept.Allowed && !r.asked.request.Narrowable && len(kept.Scopes) < len(wanted) {
		kept.Allowed, kept.Refusal, kept.Scopes = false, policy.NotNarrowable, nil
	}
	return kept
}

// Random sets and requests are decided as the reference decides them: the
// index, the shortcut for policies that read no scopes and everything that is
// remembered between steps change nothing.
func TestDecideIsTheReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := drawPolicies.Draw(t, "policies")
		a := drawRequest(t)
		r := reference{policies: cedar.NewPolicySet(), asked: a}
		for i, text := range texts {
			var p cedar.Policy
			if err := p.UnmarshalCedar([]byte(text)); err != nil {
				t.Fatal(err)
			}
			r.policies.Add(types.PolicyID(fmt.Sprintf("pv%d", i)), &p)
		}
		out := compile(t, enums, texts...).Decide(a.request)
		got := answer{Allowed: out.Allowed, Refusal: out.Refusal, Scopes: out.Scopes}
		for _, leg := range out.Legs {
			ids := map[string]bool{}
			for _, p := range leg.Determining {
				ids[string(p.VersionID)] = true
			}
			got.Determining = append(got.Determining, ids)
		}
		if diff := cmp.Diff(r.decide(), got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%s", diff)
		}
	})
}

// Order and duplicates of policies do not matter.
func TestOrderAndDuplicatesDoNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := drawPolicies.Draw(t, "policies")
		a := drawRequest(t)
		shuffled := rapid.Permutation(slices.Concat(texts, texts)).Draw(t, "shuffled")
		one, other := compile(t, enums, texts...).Decide(a.request), compile(t, enums, shuffled...).Decide(a.request)
		if one.Allowed != other.Allowed || one.Refusal != other.Refusal || !slices.Equal(one.Scopes, other.Scopes) {
			t.Fatalf("%t %s %v, shuffled and doubled %t %s %v", one.Allowed, one.Refusal, one.Scopes, other.Allowed, other.Refusal, other.Scopes)
		}
	})
}

// An open forbid denies whatever else is in the set; nothing is allowed by a
// set without permits.
func TestForbidWinsAndDefaultIsDeny(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := drawPolicies.Draw(t, "policies")
		a := drawRequest(t)
		forbids := slices.DeleteFunc(slices.Clone(texts), func(s string) bool { return !strings.Contains(s, "forbid(") })
		for _, policies := range [][]string{append(texts, "forbid(principal, action, resource);"), forbids, nil} {
			if out := compile(t, enums, policies...).Decide(a.request); out.Allowed || out.Scopes != nil || out.Message() == "" {
				t.Fatalf("%v allowed", policies)
			}
		}
	})
}

// The index alone, over hierarchies that the platform's requests do not have.
func TestIndexChangesNothing(t *testing.T) {
	kinds := []types.EntityType{"A", "B"}
	drawUID := rapid.Custom(func(t *rapid.T) types.EntityUID {
		return types.NewEntityUID(rapid.SampledFrom(kinds).Draw(t, "type"), types.String(rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, "id")))
	})
	scope := func(t *rapid.T, variable string) string {
		forms := []string{"", " == ONE", " in ONE", " is TYPE", " is TYPE in ONE"}
		if variable == "action" {
			forms = []string{"", " == ONE", " in ONE", " in [ONE]", " in [ONE, OTHER]", " in []"}
		}
		return variable + strings.NewReplacer("ONE", drawUID.Draw(t, "one").String(), "OTHER", drawUID.Draw(t, "other").String(),
			"TYPE", string(rapid.SampledFrom(kinds).Draw(t, "type"))).Replace(rapid.SampledFrom(forms).Draw(t, "form"))
	}
	rapid.Check(t, func(t *rapid.T) {
		entities := types.EntityMap{}
		for range rapid.IntRange(0, 6).Draw(t, "entities") {
			uid := drawUID.Draw(t, "entity")
			parents := rapid.SliceOfN(drawUID, 0, 3).Draw(t, "parents") // cycles, too
			entities[uid] = types.Entity{UID: uid, Parents: types.NewEntityUIDSet(parents...)}
		}
		plain := cedar.NewPolicySet()
		var ids []types.PolicyID
		var policies []*cedar.Policy
		for i := range rapid.IntRange(0, 10).Draw(t, "policies") {
			text := fmt.Sprintf("%s(%s, %s, %s) when { %s };", rapid.SampledFrom([]string{"permit", "forbid"}).Draw(t, "effect"),
				scope(t, "principal"), scope(t, "action"), scope(t, "resource"), rapid.SampledFrom([]string{"true", "false", "principal.missing", "principal in resource"}).Draw(t, "condition"))
			var p cedar.Policy
			if err := p.UnmarshalCedar([]byte(text)); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			id := types.PolicyID(fmt.Sprint(i))
			plain.Add(id, &p)
			ids, policies = append(ids, id), append(policies, &p)
		}
		r := types.Request{Principal: drawUID.Draw(t, "principal"), Action: drawUID.Draw(t, "action"), Resource: drawUID.Draw(t, "resource")}
		wantDecision, want := cedar.Authorize(plain, entities, r)
		gotDecision, got, _ := policy.NewIndex(ids, policies).Authorize(entities, r)
		sortDiagnostic(&want)
		sortDiagnostic(&got)
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || gotDecision != wantDecision {
			t.Fatalf("decision %s, want %s\n%s", gotDecision, wantDecision, diff)
		}
	})
}

func sortDiagnostic(d *cedar.Diagnostic) {
	slices.SortFunc(d.Reasons, func(a, b types.DiagnosticReason) int { return strings.Compare(string(a.PolicyID), string(b.PolicyID)) })
	slices.SortFunc(d.Errors, func(a, b types.DiagnosticError) int { return strings.Compare(string(a.PolicyID), string(b.PolicyID)) })
}
