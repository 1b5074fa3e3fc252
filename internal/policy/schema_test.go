package policy_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"deputy/internal/deputy"
	"deputy/internal/policy"
	"github.com/google/go-cmp/cmp"
)

const (
	plain = "2026-02-24"
	enums = "2026-03-16"
	tools = "2026-06-18"
)

func lookup(t testing.TB, version string) *policy.Schema {
	t.Helper()
	s, err := policy.LookupSchema(version)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSchemas(t *testing.T) {
	var versions []string
	for _, s := range policy.Schemas() {
		versions = append(versions, s.Version())
		if !strings.Contains(s.Text(), "namespace Keycard") {
			t.Errorf("%s: text is %q", s.Version(), s.Text())
		}
		var form map[string]struct {
			CommonTypes, EntityTypes, Actions map[string]any
		}
		if err := json.Unmarshal(s.JSON(), &form); err != nil || len(form["Keycard"].EntityTypes) < 4 || form["Keycard"].Actions["access"] == nil {
			t.Errorf("%s: JSON is %s (%v)", s.Version(), s.JSON(), err)
		}
	}
	if diff := cmp.Diff([]string{plain, enums, tools}, versions); diff != "" {
		t.Error(diff)
	}
	if policy.DefaultSchema != versions[len(versions)-1] {
		t.Errorf("the default is %s, not the newest", policy.DefaultSchema)
	}
	if _, err := policy.LookupSchema("2026-02-14"); !errors.Is(err, deputy.NotFound) {
		t.Errorf("an unknown version gives %v", err)
	}
}

func TestDefaultsValidateAgainstEverySchema(t *testing.T) {
	for _, s := range policy.Schemas() {
		defaults, err := policy.Defaults(s.Version())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, m := range defaults {
			names = append(names, m.Name)
			d := document(t, m.Text)
			if d.ID() != m.Name || d.Effect() != policy.Permit {
				t.Errorf("%s has id %q and effect %s", m.Name, d.ID(), d.Effect())
			}
			if err := s.Validate(d); err != nil {
				t.Errorf("%s against %s: %s", m.Name, s.Version(), explain(err))
			}
		}
		if want := []string{"default-user-grants", "default-app-delegation", "default-app-direct-access"}; !slices.Equal(names, want) {
			t.Errorf("defaults are %v", names)
		}
	}
	if _, err := policy.Defaults("1999-01-01"); !errors.Is(err, deputy.NotFound) {
		t.Errorf("defaults of an unknown schema: %v", err)
	}
}

// The shapes of policies that users of the platform publish, and against
// which schemas they hold.
var examples = []struct {
	name, text string
	since      string // first schema they satisfy
	until      string // last one, if not the newest
}{
	{"open permit", openPolicy, plain, ""},
	{"open forbid", "forbid(principal, action, resource);", plain, ""},
	{"impersonation by one application", `permit(principal is Keycard::Application, action, resource)
		when { principal.identifier == "urn:app:agent" && context.impersonate };`, enums, ""},
	{"impersonation of guarded subjects", `permit(principal is Keycard::Application, action, resource)
		when { context.impersonate && context has subject && context.subject.email like "*@example.com" };`, plain, ""},
	{"delegation", `permit(principal is Keycard::Application, action, resource) when { context.on_behalf == true };`, plain, ""},
	{"direct access", `permit(principal is Keycard::Application, action, resource)
		when { principal.dependencies.contains(resource) } unless { context.on_behalf };`, plain, ""},
	{"a user's group", `permit(principal is Keycard::User, action, resource is Keycard::Resource)
		when { principal.groups.contains("engineering") };`, plain, ""},
	{"a scope forbidden", `forbid(principal, action, resource is Keycard::Resource)
		when { context has scopes && context.scopes.contains("admin") };`, plain, ""},
	{"a scope of a group", `forbid(principal is Keycard::User, action, resource is Keycard::Resource)
		when { context has scopes && context.scopes.contains("write") } unless { principal.groups.contains("writers") };`, plain, ""},
	{"a resource by identifier", `permit(principal is Keycard::Application, action, resource is Keycard::Resource)
		when { resource.identifier == "https://api.example.com" };`, enums, ""},
	{"a resource by id", `forbid(principal, action, resource == Keycard::Resource::"r1");`, plain, ""},
	{"dynamic registration, plain", `forbid(principal is Keycard::Application, action, resource) when { principal.registration_method == "dcr" };`, plain, plain},
	{"dynamic registration, enumerated", `forbid(principal is Keycard::Application, action, resource)
		when { principal.registration_method == Keycard::RegistrationMethod::"dcr" };`, enums, ""},
	{"public credentials", `forbid(principal is Keycard::Application, action, resource)
		when { [Keycard::CredentialType::"public", Keycard::CredentialType::"url"].contains(principal.credential_type) };`, enums, ""},
	{"a gateway", `permit(principal is Keycard::Application, action, resource) when { principal.traits.contains("gateway") };`, plain, ""},
	{"claims of the workload", `permit(principal is Keycard::Application, action, resource)
		when { context has actor_claims && context.actor_claims.hasTag("repository") && context.actor_claims.getTag("repository") == "org/app" };`, plain, ""},
	{"claims of the subject", `permit(principal is Keycard::User, action, resource is Keycard::Resource)
		when { context has subject_claims && context.subject_claims has email && context.subject_claims.email like "*@example.com" };`, plain, ""},
	{"the resource that was accessed", `permit(principal is Keycard::Application, action, resource)
		when { context has resource && context.resource.name == "MCP server" };`, plain, ""},
	{"the access action", `permit(principal is Keycard::User, action == Keycard::Action::"access", resource);`, plain, ""},
	{"a role", `permit(principal is Keycard::User in Keycard::Role::"admin", action, resource is Keycard::Resource);`, tools, ""},
	{"a group as parent", `permit(principal in Keycard::Group::"g", action, resource is Keycard::Resource);`, tools, ""},
	{"tools by action group", `permit(principal is Keycard::User, action in [Keycard::Action::"WriteTools", Keycard::Action::"ControlTools"], resource)
		when { context has command && context.command like "git *" };`, tools, ""},
}

func TestPublishedExamples(t *testing.T) {
	for _, c := range examples {
		d := document(t, c.text)
		for _, s := range policy.Schemas() {
			fits := s.Version() >= c.since && (c.until == "" || s.Version() <= c.until)
			if err := s.Validate(d); (err == nil) != fits {
				t.Errorf("%s against %s: fits is %t, want %t: %v", c.name, s.Version(), err == nil, fits, err)
			}
		}
	}
}

// A policy that satisfies a schema satisfies the later ones, but for the
// strings that became enumerations.
func TestSchemaEvolution(t *testing.T) {
	for _, c := range examples {
		d := document(t, c.text)
		satisfied := false
		for _, s := range policy.Schemas() {
			ok := s.Validate(d) == nil
			if satisfied && !ok && !strings.Contains(c.text, "registration_method ==") {
				t.Errorf("%s: %s took it away", c.name, s.Version())
			}
			satisfied = ok
		}
	}
}

func TestStrictValidation(t *testing.T) {
	for name, c := range map[string]struct{ version, text, want string }{
		"unknown attribute":         {tools, `permit(principal is Keycard::User, action, resource) when { principal.age > 3 };`, "age"},
		"unguarded attribute":       {tools, `permit(principal is Keycard::Application, action, resource) when { context.subject.email == "x" };`, "subject"},
		"unguarded tag":             {tools, `permit(principal is Keycard::Application, action, resource) when { context has actor_claims && context.actor_claims.getTag("a") == "x" };`, "tag"},
		"unknown entity type":       {tools, `permit(principal is Keycard::Robot, action, resource);`, "Keycard::Robot"},
		"unknown entity in a set":   {tools, `permit(principal, action, resource) when { [Other::"x"].contains(Other::"y") };`, "Other"},
		"unknown action":            {tools, `permit(principal, action == Keycard::Action::"delete", resource);`, "delete"},
		"no possible request":       {tools, `permit(principal is Keycard::Resource, action, resource);`, "applicable action"},
		"tools for applications":    {tools, `permit(principal is Keycard::Application, action in Keycard::Action::"WriteTools", resource);`, "applicable action"},
		"type error":                {tools, `permit(principal is Keycard::User, action, resource) when { principal.email > 3 };`, "String"},
		"string for an enumeration": {enums, `permit(principal is Keycard::Application, action, resource) when { principal.credential_type == "public" };`, ""},
		"member of no enumeration":  {enums, `permit(principal is Keycard::Application, action, resource) when { principal.credential_type == Keycard::CredentialType::"publik" };`, "`Keycard::CredentialType::\"publik\"` is not a member of the enumeration"},
		"member in a list":          {tools, `permit(principal is Keycard::Application, action, resource) when { [Keycard::RegistrationMethod::"manual"].contains(principal.registration_method) };`, "\"manual\"` is not a member"},
		"member in a branch never taken": {tools, `permit(principal is Keycard::Application, action, resource)
			when { false && principal.registration_method == Keycard::RegistrationMethod::"manual" };`, "\"manual\"` is not a member"},
		"negated guard": {tools, `permit(principal is Keycard::User, action, resource is Keycard::Resource)
			when { !(context has scopes) || resource.scopes.containsAll(context.scopes) };`, "scopes"},
	} {
		t.Run(name, func(t *testing.T) {
			err := lookup(t, c.version).Validate(document(t, c.text))
			var e *deputy.Error
			if !errors.As(err, &e) || e.Kind != deputy.Invalid || e.Field != "cedar_raw" || len(e.Details) == 0 {
				t.Fatalf("error is %v, want Invalid with details", err)
			}
			if !strings.Contains(explain(err), c.want) {
				t.Errorf("error is %s, want %q", explain(err), c.want)
			}
		})
	}
}

func TestFindingsAreToldOnceInAStableOrder(t *testing.T) {
	const text = `permit(principal, action, resource)
		when { principal.b == resource.a && principal.a == 1 && principal.a == 1 && context.z == 2 && Keycard::CredentialType::"x" == Keycard::CredentialType::"y" };`
	s := lookup(t, tools)
	byJSON, err := policy.ParseJSON(document(t, text).JSON())
	if err != nil {
		t.Fatal(err)
	}
	first := explain(s.Validate(document(t, text)))
	lines := strings.Split(first, "\n")[1:]
	if !slices.IsSorted(lines) || len(slices.Compact(slices.Clone(lines))) != len(lines) || len(lines) < 4 {
		t.Errorf("findings are not sorted and distinct:\n%s", first)
	}
	for range 20 {
		if got := explain(s.Validate(document(t, text))); got != first {
			t.Fatalf("findings changed:\n%s\n%s", first, got)
		}
	}
	if got, want := explain(s.Validate(byJSON)), strings.ReplaceAll(first, "cedar_raw", "cedar_json"); got != want {
		t.Errorf("the JSON form has other findings:\n%s\n%s", got, want)
	}
}
