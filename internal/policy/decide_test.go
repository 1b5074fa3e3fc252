package policy_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"deputy/internal/deputy"
	"deputy/internal/policy"
	"github.com/google/go-cmp/cmp"
)

// version makes a set version number 7 of the set "Guard" (ps) out of texts,
// named after their @id or else p0, p1…
func version(t failer, schema string, texts ...string) policy.SetVersion {
	t.Helper()
	v := policy.SetVersion{ID: "psv", SetID: "ps", SetName: "Guard", Number: 7, SchemaVersion: schema}
	for i, text := range texts {
		d := document(t, text)
		name := d.ID()
		if name == "" {
			name = fmt.Sprintf("p%d", i)
		}
		v.Entries = append(v.Entries, policy.Entry{
			PolicyID: deputy.ID(fmt.Sprintf("pol%d", i)), VersionID: deputy.ID(fmt.Sprintf("pv%d", i)),
			PolicyName: name, Text: d.Text(), SHA: d.SHA(),
		})
	}
	return v
}

func compile(t failer, schema string, texts ...string) *policy.Set {
	t.Helper()
	s, err := policy.Compile(version(t, schema, texts...))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func defaults(t failer, schema string) (texts []string) {
	t.Helper()
	managed, err := policy.Defaults(schema)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range managed {
		texts = append(texts, m.Text)
	}
	return texts
}

func application(id string, dependencies ...policy.Dependency) *policy.Application {
	return policy.NewApplication(policy.ApplicationFacts{
		ID: deputy.ApplicationID(id), Identifier: "urn:app:" + id, Name: "App " + id,
		RegistrationMethod: "managed", CredentialType: "password", Dependencies: dependencies,
	})
}

func resource(id string, scopes ...string) *policy.Resource {
	return policy.NewResource(policy.ResourceFacts{
		ID: deputy.ResourceID(id), Identifier: "https://" + id + ".example.com", Name: "Resource " + id, Scopes: scopes,
	})
}

var alice = policy.NewUser(policy.UserFacts{ID: "alice", Identifier: "alice@example.com", Email: "alice@example.com", Groups: []string{"engineering"}})

// always is the dependency on a resource without a condition.
func always(id string) policy.Dependency {
	return policy.Dependency{ResourceID: deputy.ResourceID(id)}
}

// asItself is an application using its own credentials.
func asItself(a *policy.Application, r *policy.Resource, scopes ...string) policy.Request {
	return policy.Request{Legs: []policy.Leg{{Principal: a}}, Resource: r, Scopes: scopes, Narrowable: true}
}

// forUser is an application acting with a user's token.
func forUser(u *policy.User, a *policy.Application, r *policy.Resource, scopes ...string) policy.Request {
	return policy.Request{
		Legs:     []policy.Leg{{Principal: u, OnBehalf: true}, {Principal: a, OnBehalf: true}},
		Resource: r, Subject: u, Scopes: scopes, Narrowable: true,
	}
}

func labels(policies []policy.PolicyRef) (all []string) {
	for _, p := range policies {
		all = append(all, p.Label)
	}
	return all
}

func TestDefaultsDecide(t *testing.T) {
	r, other := resource("r", "read", "write"), resource("other")
	dependent, stranger := application("dependent", always("r")), application("stranger")
	impersonate := func(a *policy.Application) policy.Request {
		q := forUser(alice, a, r)
		q.Legs[0].OnBehalf, q.Legs[1].OnBehalf, q.Impersonate = false, false, true
		return q
	}
	onward := func(subject, caller *policy.Application) policy.Request {
		return policy.Request{Legs: []policy.Leg{{Principal: subject}, {Principal: caller, OnBehalf: true}}, Resource: r, From: other, Narrowable: true}
	}
	for name, c := range map[string]struct {
		request policy.Request
		allowed bool
		labels  []string
		message string
	}{
		"an application on its dependency": {asItself(dependent, r), true, []string{"ps::default-app-direct-access"}, ""},
		"an application without one":       {asItself(stranger, r), false, nil, `Application "App stranger" is not allowed to access "Resource r".`},
		"a user at an application":         {forUser(alice, stranger, r), true, []string{"ps::default-user-grants", "ps::default-app-delegation"}, ""},
		"impersonation":                    {impersonate(dependent), false, []string{"ps::default-user-grants"}, `Application "App dependent" is not allowed to access "Resource r".`},
		"exchange of an application's token": {onward(dependent, stranger), true,
			[]string{"ps::default-app-direct-access", "ps::default-app-delegation"}, ""},
		"exchange without a dependency of the subject": {onward(stranger, dependent), false,
			[]string{"ps::default-app-delegation"}, `Application "App stranger" is not allowed to access "Resource r".`},
	} {
		for _, schema := range []string{plain, enums, tools} {
			out := compile(t, schema, defaults(t, schema)...).Decide(c.request)
			if out.Allowed != c.allowed || out.Message() != c.message || len(out.Errors) > 0 {
				t.Errorf("%s, %s: allowed %t (%s, %v)", name, schema, out.Allowed, out.Message(), out.Errors)
			}
			if diff := cmp.Diff(c.labels, labels(out.Determining())); diff != "" {
				t.Errorf("%s, %s: %s", name, schema, diff)
			}
		}
	}
}

// policy.md §9.4: a dependency with a condition counts while its resource is
// the one whose token was presented.
func TestDependenciesFollowTheContextResource(t *testing.T) {
	r, gate, other := resource("r"), resource("gate"), resource("other")
	a := application("a", policy.Dependency{ResourceID: "r", WhenAccessing: []deputy.ResourceID{"x", "gate"}})
	s := compile(t, tools, defaults(t, tools)...)
	for _, c := range []struct {
		from *policy.Resource
		want bool
	}{{nil, false}, {other, false}, {gate, true}, {nil, false}, {gate, true}} {
		q := asItself(a, r)
		q.From = c.from
		if out := s.Decide(q); out.Allowed != c.want {
			t.Errorf("from %v: allowed %t", c.from, out.Allowed)
		}
	}
}

func TestScopes(t *testing.T) {
	r := resource("r", "read", "write", "admin")
	bare := resource("bare")
	a := application("a", always("r"), always("bare"))
	const (
		anyone   = `permit(principal, action, resource);`
		onlyRead = `@id("only-read") permit(principal is Keycard::Application, action, resource is Keycard::Resource) when { context has scopes && context.scopes == ["read"] };`
		bothTwo  = `permit(principal is Keycard::Application, action, resource is Keycard::Resource) when { context has scopes && context.scopes.containsAll(["read", "write"]) };`
		noAdmin  = `@id("no-admin") forbid(principal, action, resource is Keycard::Resource) when { context has scopes && context.scopes.contains("admin") };`
		notAlone = `forbid(principal, action, resource is Keycard::Resource) when { context has scopes && context.scopes == ["write"] };`
		unscoped = `permit(principal, action, resource is Keycard::Resource) unless { context has scopes };`
		needSome = `forbid(principal, action, resource is Keycard::Resource) unless { context has scopes };`
	)
	fixed := func(q policy.Request) policy.Request { q.Narrowable = false; return q }
	for name, c := range map[string]struct {
		policies []string
		request  policy.Request
		allowed  bool
		scopes   []string
		refusal  policy.Refusal
	}{
		"undeclared ones are dropped":                   {[]string{anyone}, asItself(a, r, "read", "delete", "openid"), true, []string{"read"}, policy.None},
		"undeclared ones are dropped, scopes read":      {[]string{anyone, noAdmin}, asItself(a, r, "delete", "read"), true, []string{"read"}, policy.None},
		"an undeclared one cannot be forbidden":         {[]string{anyone, noAdmin}, asItself(a, bare, "admin"), true, nil, policy.None},
		"a resource that declares none grants none":     {[]string{anyone}, asItself(a, bare, "read"), true, nil, policy.None},
		"none asked, none granted":                      {[]string{anyone}, asItself(a, r), true, nil, policy.None},
		"each once":                                     {[]string{anyone}, asItself(a, r, "write", "read", "write"), true, []string{"write", "read"}, policy.None},
		"kept where permitted alone":                    {[]string{onlyRead}, asItself(a, r, "read", "write"), true, []string{"read"}, policy.None},
		"permitted only together is not permitted":      {[]string{bothTwo}, asItself(a, r, "read", "write"), false, nil, policy.NotPermitted},
		"a forbid of one refuses all":                   {[]string{anyone, noAdmin}, asItself(a, r, "read", "admin"), false, nil, policy.Forbidden},
		"a forbid of one alone drops it":                {[]string{anyone, notAlone}, asItself(a, r, "read", "write"), true, []string{"read"}, policy.None},
		"none kept, allowed without":                    {[]string{unscoped}, asItself(a, r, "read"), true, nil, policy.None},
		"none kept, denied without":                     {[]string{onlyRead}, asItself(a, r, "write"), false, nil, policy.NotPermitted},
		"none kept, forbidden without":                  {[]string{needSome}, asItself(a, r, "write"), false, nil, policy.Forbidden},
		"none asked, forbidden without":                 {[]string{anyone, needSome}, asItself(a, r), false, nil, policy.Forbidden},
		"default set narrows users to what is declared": {defaults(t, tools), forUser(alice, a, r, "read", "x"), true, []string{"read"}, policy.None},
		"fixed credential, all kept":                    {[]string{anyone, noAdmin}, fixed(asItself(a, r, "read", "undeclared")), true, []string{"read"}, policy.None},
		"fixed credential, some kept":                   {[]string{onlyRead}, fixed(asItself(a, r, "read", "write")), false, nil, policy.NotNarrowable},
		"fixed credential, none kept":                   {[]string{unscoped}, fixed(asItself(a, r, "read")), false, nil, policy.NotNarrowable},
		"fixed credential, none permitted at all":       {[]string{onlyRead}, fixed(asItself(a, r, "write")), false, nil, policy.NotPermitted},
		"fixed credential, none asked":                  {[]string{unscoped}, fixed(asItself(a, r)), true, nil, policy.None},
		"fixed credential, only undeclared ones asked":  {[]string{unscoped}, fixed(asItself(a, bare, "read")), true, nil, policy.None},
		"scopes read through the whole context": {[]string{`permit(principal, action, resource) when { context == {on_behalf: false, impersonate: false, scopes: ["read"]} };`},
			asItself(a, r, "read", "write"), true, []string{"read"}, policy.None},
		"scopes read through a record": {[]string{`permit(principal, action, resource) when { {c: context}.c.scopes == ["read"] };`},
			asItself(a, r, "read"), true, []string{"read"}, policy.None},
		"scopes read through a branch": {[]string{`permit(principal, action, resource) when { (if context.on_behalf then context else context).scopes == ["read"] };`},
			asItself(a, r, "read"), true, []string{"read"}, policy.None},
	} {
		t.Run(name, func(t *testing.T) {
			out := compile(t, tools, c.policies...).Decide(c.request)
			if out.Allowed != c.allowed || out.Refusal != c.refusal || len(out.Errors) > 0 {
				t.Errorf("allowed %t, refusal %q, errors %v", out.Allowed, out.Refusal, out.Errors)
			}
			if diff := cmp.Diff(c.scopes, out.Scopes); diff != "" {
				t.Error(diff)
			}
			if (out.Message() == "") != out.Allowed {
				t.Errorf("message is %q", out.Message())
			}
		})
	}
}

func TestRefusalsNameWhatDenied(t *testing.T) {
	r, a := resource("r", "read", "write"), application("a")
	const anyone = `permit(principal, action, resource);`
	overflow := `@id("overflow") forbid(principal, action, resource is Keycard::Resource) when { 9007199254740991 * 9007199254740991 > 1 };`
	for name, c := range map[string]struct {
		set     *policy.Set
		request policy.Request
		refusal policy.Refusal
		message string
	}{
		"no active set": {nil, asItself(a, r), policy.NoActiveSet, `Access to "Resource r" is denied: the zone has no active policy set.`},
		"an empty set":  {compile(t, tools), asItself(a, r), policy.NotPermitted, `Application "App a" is not allowed to access "Resource r".`},
		"a forbid": {compile(t, tools, anyone, `@id("freeze") forbid(principal, action, resource == Keycard::Resource::"r");`), asItself(a, r),
			policy.Forbidden, `Access to "Resource r" is denied by Policy "freeze" in version 7 of Policy Set "Guard".`},
		"a forbid of the second leg": {compile(t, tools, anyone, `@id("no-apps") forbid(principal is Keycard::Application, action, resource);`), forUser(alice, a, r),
			policy.Forbidden, `Access to "Resource r" is denied by Policy "no-apps" in version 7 of Policy Set "Guard".`},
		"a forbid in one leg, nothing in the other": {compile(t, tools, `@id("no-apps") forbid(principal is Keycard::Application, action, resource);`), forUser(alice, a, r),
			policy.Forbidden, `Access to "Resource r" is denied by Policy "no-apps" in version 7 of Policy Set "Guard".`},
		"a user without a permit": {compile(t, tools, `permit(principal is Keycard::Application, action, resource);`), forUser(alice, a, r),
			policy.NotPermitted, `The user is not allowed to access "Resource r".`},
		"nobody with a permit": {compile(t, tools), forUser(alice, a, r),
			policy.NotPermitted, `Application "App a" is not allowed to access "Resource r".`},
		"an error": {compile(t, tools, anyone, overflow), asItself(a, r, "read"),
			policy.EvaluationFailed, `Access to "Resource r" is denied: a policy in version 7 of Policy Set "Guard" could not be evaluated.`},
		"an error with one scope": {compile(t, tools, anyone, `forbid(principal, action, resource is Keycard::Resource) when { context has scopes && context.scopes == ["write"] && 9007199254740991 * 9007199254740991 > 1 };`),
			asItself(a, r, "read", "write"), policy.EvaluationFailed, `Access to "Resource r" is denied: a policy in version 7 of Policy Set "Guard" could not be evaluated.`},
		"no legs":     {compile(t, tools, anyone), policy.Request{Resource: r}, policy.NotPermitted, `The user is not allowed to access "Resource r".`},
		"no resource": {compile(t, tools, anyone), policy.Request{Legs: []policy.Leg{{Principal: a}}}, policy.NotPermitted, "Access is denied."},
	} {
		t.Run(name, func(t *testing.T) {
			out := c.set.Decide(c.request)
			if out.Allowed || out.Refusal != c.refusal || out.Message() != c.message || out.Scopes != nil {
				t.Errorf("allowed %t, refusal %q, scopes %v, message %s", out.Allowed, out.Refusal, out.Scopes, out.Message())
			}
			if (c.refusal == policy.EvaluationFailed) != (len(out.Errors) > 0) {
				t.Errorf("errors are %v", out.Errors)
			}
			for _, e := range out.Errors {
				if !strings.Contains(e.Message, "overflow") || e.Policy.VersionID != "pv1" {
					t.Errorf("error is %+v", e)
				}
			}
			if out.Set != c.set.Ref() {
				t.Errorf("decided by %+v", out.Set)
			}
		})
	}
}

func TestOutcomeNamesPoliciesAndLegs(t *testing.T) {
	s := compile(t, tools,
		`permit(principal is Keycard::User, action, resource);`,
		`@id("mine") permit(principal is Keycard::Application, action, resource);`,
		`@id("mine") permit(principal is Keycard::Application, action, resource) when { context.on_behalf };`,
		`@id("policy0") permit(principal is Keycard::User, action, resource) when { true };`,
		`@id("") permit(principal is Keycard::User, action, resource) when { false };`,
		`@id("mine#2") permit(principal is Keycard::Application, action, resource) when { !context.impersonate };`)
	out := s.Decide(forUser(alice, application("a"), resource("r")))
	want := []policy.LegOutcome{
		{Allowed: true, Determining: []policy.PolicyRef{
			{PolicyID: "pol0", VersionID: "pv0", Name: "p0", Label: "ps::policy0", Effect: policy.Permit},
			{PolicyID: "pol3", VersionID: "pv3", Name: "policy0", Label: "ps::policy0#3", Effect: policy.Permit},
		}},
		{Allowed: true, Determining: []policy.PolicyRef{
			{PolicyID: "pol1", VersionID: "pv1", Name: "mine", Label: "ps::mine", Effect: policy.Permit},
			{PolicyID: "pol2", VersionID: "pv2", Name: "mine", Label: "ps::mine#2", Effect: policy.Permit},
			{PolicyID: "pol5", VersionID: "pv5", Name: "mine#2", Label: "ps::mine#2#5", Effect: policy.Permit},
		}},
	}
	if diff := cmp.Diff(want, out.Legs); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"ps::policy0", "ps::mine", "ps::mine#2", "ps::policy0#3", "ps::policy4", "ps::mine#2#5"}, labels(s.Policies())); diff != "" {
		t.Error(diff)
	}
	ref := out.Set
	if ref.SetID != "ps" || ref.SetName != "Guard" || ref.Number != 7 || ref.VersionID != "psv" || ref.SchemaVersion != tools || len(ref.ManifestSHA) != 64 {
		t.Errorf("set is %+v", ref)
	}
}

// The facts must reach policies under the names and types of each schema.
func TestEntitiesShowTheFacts(t *testing.T) {
	actor, err := policy.NewClaims([]byte(`{"iss":"https://ci.example.com","email":"bot@example.com","groups":["ci","bots"],"run":12.50,"protected":true,"gone":null,"nested":{"a": [1, 2]}}`))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := policy.NewClaims([]byte(`{"sub":"alice","email":7,"groups":"one"}`))
	if err != nil {
		t.Fatal(err)
	}
	a := policy.NewApplication(policy.ApplicationFacts{
		ID: "a", Identifier: "urn:a", Name: "A", RegistrationMethod: "dcr", CredentialType: "public",
		Dependencies: []policy.Dependency{always("r")}, Traits: []string{"gateway"},
	})
	q := forUser(alice, a, resource("r", "read"))
	q.From, q.ActorClaims, q.SubjectClaims = resource("mcp"), actor, subject
	both := []string{
		`context.on_behalf && !context.impersonate && !(context has scopes)`,
		`context.subject == Keycard::User::"alice" && context.subject.email == "alice@example.com" && context.subject.groups == ["engineering"]`,
		`context.resource == Keycard::Resource::"mcp" && context.resource.name == "Resource mcp" && context.resource.id == "mcp" && context.resource.scopes.isEmpty()`,
		`resource.name == "Resource r" && resource.id == "r" && resource.scopes == ["read"]`,
		`principal is Keycard::User || (principal.dependencies == [Keycard::Resource::"r"] && principal.traits == ["gateway"])`,
		`context.actor_claims.email == "bot@example.com" && context.actor_claims.groups == ["bots", "ci"]`,
		`context.actor_claims.getTag("run") == "12.50" && context.actor_claims.getTag("protected") == "true" && context.actor_claims.getTag("iss") == "https://ci.example.com"`,
		`!context.actor_claims.hasTag("gone") && context.actor_claims.getTag("nested") == "{\"a\":[1,2]}" && !context.actor_claims.hasTag("email")`,
		`context.subject_claims.getTag("sub") == "alice" && context.subject_claims.getTag("email") == "7" && !(context.subject_claims has email)`,
		`context.subject_claims.groups.isEmpty() && context.subject_claims.getTag("groups") == "one"`,
	}
	for schema, more := range map[string][]string{
		plain: {
			`principal is Keycard::User || (principal.registration_method == "dcr" && principal.credential_type == "public")`,
			`!(principal has identifier) && !(resource has identifier)`,
		},
		enums: {
			`principal is Keycard::User || (principal.registration_method == Keycard::RegistrationMethod::"dcr" && principal.credential_type == Keycard::CredentialType::"public")`,
			`principal is Keycard::User || (principal.name == "A" && principal.identifier == "urn:a")`,
			`context.subject.identifier == "alice@example.com" && resource.identifier == "https://r.example.com"`,
		},
		tools: nil,
	} {
		for _, fact := range append(more, both...) {
			out := compile(t, schema, `permit(principal, action == Keycard::Action::"access", resource) when { `+fact+` };`).Decide(q)
			if !out.Allowed {
				t.Errorf("%s: not so: %s (%v)", schema, fact, out.Errors)
			}
		}
	}
}

func TestAbsentPartsOfTheContextAreAbsent(t *testing.T) {
	s := compile(t, tools, `permit(principal, action, resource) unless { context has subject || context has resource || context has scopes || context has actor_claims || context has subject_claims };`)
	if out := s.Decide(asItself(application("a"), resource("r"))); !out.Allowed {
		t.Error(out.Message())
	}
}

// TestContextsAreTheRequests: what is kept of the context of one request is the
// context of the next only where that is the same.
func TestContextsAreTheRequests(t *testing.T) {
	s := compile(t, policy.DefaultSchema, `permit (principal, action, resource) when {
		context has resource && context.resource == Keycard::Resource::"front" && context has scopes && context.scopes.contains("read") };`)
	u, a, r := policy.NewUser(policy.UserFacts{ID: "u", Identifier: "u"}), application("a"), resource("r", "read", "write")
	front, back := resource("front"), resource("back")
	for _, c := range []struct {
		from   *policy.Resource
		scopes []string
		want   bool
	}{
		{front, []string{"read"}, true}, {back, []string{"read"}, false}, {front, []string{"read"}, true}, {nil, []string{"read"}, false},
		{front, []string{"write"}, false}, {front, nil, false}, {front, []string{"read"}, true}, {front, []string{}, false}, {resource("front"), []string{"read"}, true},
	} {
		for _, q := range []policy.Request{forUser(u, a, r, c.scopes...), asItself(a, r, c.scopes...)} {
			q.From = c.from
			if s.Decide(q).Allowed != c.want {
				t.Errorf("from %v with %q for %v: %v", c.from, c.scopes, q.Subject, !c.want)
			}
		}
	}
}

func TestClaimsMustBeAnObject(t *testing.T) {
	for _, raw := range []string{``, `null`, `[]`, `{`, `{"a":1,"a":2}`, `{"a":1}{}`} {
		if _, err := policy.NewClaims([]byte(raw)); deputy.KindOf(err) != deputy.Invalid {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for name, change := range map[string]func(*policy.SetVersion){
		"an unknown schema":            func(v *policy.SetVersion) { v.SchemaVersion = "1999-01-01" },
		"another text than was hashed": func(v *policy.SetVersion) { v.Entries[0].Text = "forbid(principal, action, resource);" },
		"another hash":                 func(v *policy.SetVersion) { v.Entries[1].SHA = openSHA },
		"two policies in one":          func(v *policy.SetVersion) { v.Entries[0].Text += v.Entries[0].Text },
		"a text over the limits":       func(v *policy.SetVersion) { v.Entries[0].Text = strings.Repeat("(", 500_000) },
		"a policy version twice":       func(v *policy.SetVersion) { v.Entries[1] = v.Entries[0] },
	} {
		v := version(t, tools, openPolicy, `forbid(principal, action, resource) when { context.impersonate };`)
		if _, err := policy.Compile(v); err != nil {
			t.Fatal(err)
		}
		change(&v)
		if _, err := policy.Compile(v); err == nil {
			t.Errorf("compiles with %s", name)
		}
	}
}

// One set, one application, one user: many decisions at once.
func TestDecideConcurrently(t *testing.T) {
	s := compile(t, tools, defaults(t, tools)...)
	a := application("a", policy.Dependency{ResourceID: "r", WhenAccessing: []deputy.ResourceID{"gate", "door"}})
	r, gate, other := resource("r", "read"), resource("gate"), resource("other")
	claims, err := policy.NewClaims([]byte(`{"sub":"a"}`))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 100 {
				q := asItself(a, r)
				q.From, q.ActorClaims = gate, claims
				if (i+j)%2 == 0 {
					q.From = other
				}
				if out := s.Decide(q); out.Allowed != (q.From == gate) {
					t.Errorf("from %v: allowed %t", q.From, out.Allowed)
				}
				if out := s.Decide(forUser(alice, a, r, "read")); !out.Allowed {
					t.Error(out.Message())
				}
			}
		})
	}
	all.Wait()
}
