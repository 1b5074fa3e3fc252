package catalog_test

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"deputy/internal/catalog"
	"deputy/internal/deputy"
)

type jsonValue = jsontext.Value

func release(t *testing.T, m *catalog.Manifest) *catalog.Release {
	t.Helper()
	r, err := catalog.Builtin().Check(m)
	if err != nil {
		t.Fatal(found(err))
	}
	return r
}

func values(t *testing.T, raw string) catalog.Values {
	t.Helper()
	v, err := catalog.ParseValues([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestInputsBecomeTheKindsInputs(t *testing.T) {
	r := release(t, manifest())
	in, err := r.Inputs(values(t, `{"id": "c1", "secret": "s1", "region": "eu", "sceret": "s2"}`))
	if err != nil {
		t.Fatal(found(err))
	}
	if in["size"] != int64(1) {
		t.Errorf("the default is %v", in["size"])
	}
	merged, err := r.Merge(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	want := catalog.Values{
		"name": "Calendar", "issuer": "https://id.example", "client_id": "c1", "client_secret": "s1",
		"resource_identifier": "https://eu.api.example",
	}
	if d := cmp.Diff(want, merged); d != "" {
		t.Error(d)
	}
	shown, secret := r.Secrets(in)
	if d := cmp.Diff(catalog.Values{"secret": "s1", "sceret": "s2"}, secret); d != "" || len(shown) != 3 {
		t.Errorf("secret %v, shown %v", secret, shown)
	}
}

func TestTheAuthorsBindingWins(t *testing.T) {
	m := manifest()
	m.Inputs.Schema = []byte(`{"type": "object", "properties": {
		"client_id": {"type": "string"}, "name": {"type": "string"}, "prefix": {"type": "boolean"}}}`)
	m.Inputs.Bindings = `{"name": "Fixed", "issuer": "https://id.example", "resource_identifier": "r", "prefix": null}`
	r := release(t, m)
	in, err := r.Inputs(values(t, `{"client_id": "c", "name": "Mine", "prefix": true, "unknown": 1}`))
	if err != nil {
		t.Fatal(found(err))
	}
	merged, err := r.Merge(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	want := catalog.Values{"name": "Fixed", "issuer": "https://id.example", "resource_identifier": "r", "client_id": "c"}
	if d := cmp.Diff(want, merged); d != "" {
		t.Error(d)
	}
}

func TestInputsAreRefusedWithoutTheirValues(t *testing.T) {
	m := manifest()
	m.Inputs.Schema = []byte(`{"type": "object", "required": ["id", "secret"], "additionalProperties": false, "properties": {
		"id": {"type": "string", "format": "uuid"}, "region": {"type": "string", "enum": ["eu", "us"]},
		"secret": {"type": "string", "writeOnly": true, "minLength": 8, "pattern": "^[a-z]+$"}}}`)
	r := release(t, m)
	_, err := r.Inputs(values(t, `{"secret": "Hunter2", "region": "Hunter2", "id": "Hunter2", "more": "Hunter2"}`))
	lines := found(err)
	for _, want := range []string{
		"inputs.secret: must have at least 8 characters", "inputs.secret: must match the pattern ^[a-z]+$",
		"inputs.region: must be one of the allowed values", "inputs.id: must be a valid uuid", "inputs.more: is not a property here",
	} {
		if !contains(lines, want) {
			t.Errorf("no finding %q in %q", want, lines)
		}
	}
	if strings.Contains(strings.Join(lines, " ")+err.Error(), "Hunter2") {
		t.Errorf("a value is repeated: %q", lines)
	}
	_, err = r.Inputs(values(t, `{}`))
	if !contains(found(err), "inputs.secret: is required") {
		t.Error(found(err))
	}
}

// An evaluation ends at its cost, whatever values it is given.
func TestEvaluationsAreBounded(t *testing.T) {
	r := release(t, manifest())
	in := values(t, `{"id": "c", "secret": "s", "region": "`+strings.Repeat("x", 400<<10)+`"}`)
	if _, err := r.Merge(t.Context(), in); deputy.KindOf(err) != deputy.Invalid || !strings.Contains(err.Error(), "takes too long") {
		t.Errorf("got %v", err)
	}
}

// What assertions there are for values of an input, each finding with its path.
func TestValuesOfInputsAreChecked(t *testing.T) {
	m := manifest()
	m.Inputs.Schema = []byte(`{"type": "object", "required": ["id", "secret"], "properties": {
		"id": {"type": "string", "const": "c"}, "secret": {"type": "string", "writeOnly": true, "maxLength": 2},
		"region": {"type": "string", "format": "colour"}, "mail": {"format": "email"}, "at": {"format": "date-time"}, "link": {"format": "uri"},
		"few": {"type": "array", "minItems": 2, "items": {"type": "integer", "minimum": 1, "maximum": 3}}, "many": {"type": "array", "maxItems": 1},
		"rest": {"type": "object", "additionalProperties": {"type": "boolean"}}, "nothing": {"type": "null"}}}`)
	_, err := release(t, m).Inputs(values(t, `{"id": "d", "secret": "long", "region": "red", "mail": "x", "at": "noon", "link": "%", "few": [4], "many": [0, 1], "rest": {"a": 1}, "nothing": 0}`))
	lines := found(err)
	for _, want := range []string{
		"inputs.id: must be the one allowed value", "inputs.secret: must have at most 2 characters",
		"inputs.mail: must be a valid email", "inputs.at: must be a valid date-time", "inputs.link: must be a valid uri",
		"inputs.few: must have at least 2 items", "inputs.few[0]: must meet maximum", "inputs.many: must have at most 1 items",
		"inputs.rest.a: must be of type boolean", "inputs.nothing: must be of type null",
	} {
		if !contains(lines, want) {
			t.Errorf("no finding %q in %q", want, lines)
		}
	}
	if len(lines) != 10 {
		t.Errorf("%d findings: %q", len(lines), lines)
	}
}

func TestReadOnlyInputsAreIgnored(t *testing.T) {
	m := manifest()
	m.Inputs.Schema = []byte(strings.Replace(string(m.Inputs.Schema), `"size": {`, `"filled": {"type": "string", "readOnly": true}, "size": {`, 1))
	in, err := release(t, m).Inputs(values(t, `{"id": "c", "secret": "s", "filled": "by me"}`))
	if err != nil {
		t.Fatal(found(err))
	}
	if _, there := in["filled"]; there {
		t.Error("a read-only input was taken")
	}
}

func TestInputState(t *testing.T) {
	s := release(t, manifest()).InputState()
	got, err := s.Bindings.JSON()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"client_id":{"$input":"id"},"client_secret":{"$input":"secret"},"issuer":"https://id.example","name":"Calendar",` +
		`"resource_identifier":{"$expr":"\"https://\" + (has(pkg.inputs.region) ? (pkg.inputs.region + \".\") : \"\") + \"api.example\"","$input":"region"}}`
	if string(got) != want {
		t.Errorf("bindings\n%s\nwant\n%s", got, want)
	}
	properties := s.Schema["properties"].(map[string]any)
	issuer := properties["issuer"].(map[string]any)
	if issuer["const"] != "https://id.example" || issuer["readOnly"] != true {
		t.Errorf("issuer %v", issuer)
	}
	if secret := properties["client_secret"].(map[string]any); secret["writeOnly"] != true {
		t.Errorf("client_secret %v", secret)
	}
	if properties["region"] == nil {
		t.Error("an input that only an expression uses is not there")
	}
	if d := cmp.Diff([]any{"client_id", "client_secret", "resource_identifier"}, s.Schema["required"]); d != "" {
		t.Error(d)
	}
}

func TestEffectiveSchemaIsNarrower(t *testing.T) {
	m := manifest()
	m.Inputs.Schema = []byte(`{"type": "object", "required": ["scopes"], "properties": {
		"client_id": {"type": "string", "minLength": 5, "maxLength": 9999}, "scopes": {"type": "array", "items": {"type": "string"}, "maxItems": 2}}}`)
	m.Inputs.Bindings = `{"name": "x", "issuer": "https://id.example", "resource_identifier": "r"}`
	s := release(t, m).InputState().Schema
	properties := s["properties"].(map[string]any)
	id, scopes := properties["client_id"].(map[string]any), properties["scopes"].(map[string]any)
	if id["minLength"] != int64(5) || id["maxLength"] != int64(2048) || scopes["maxItems"] != int64(2) {
		t.Errorf("client_id %v, scopes %v", id, scopes)
	}
	if d := cmp.Diff([]any{"client_id", "scopes"}, s["required"]); d != "" {
		t.Error(d)
	}
}

func TestPackagesThatComeWithTheProgram(t *testing.T) {
	kinds := map[string]int{}
	for _, p := range catalog.Packages() {
		kinds[p.Manifest.Kind]++
		r, err := catalog.Builtin().Check(p.Manifest)
		if err != nil {
			t.Errorf("%s: %q", p.Slug, found(err))
			continue
		}
		if s := r.InputState(); s == nil || len(p.SHA) != 64 {
			t.Errorf("%s has no state or hash", p.Slug)
		}
	}
	if kinds["oauth-api"] < 10 || kinds["mcp-server"] < 10 || kinds["api-key"] < 5 {
		t.Errorf("packages by kind: %v", kinds)
	}
}

func TestWithoutASchemaWhatIsLeftIsAsked(t *testing.T) {
	m := manifest()
	m.Inputs = &catalog.Binding{Bindings: `{"name": pkg.inputs.name + "!", "issuer": "https://id.example", "resource_identifier": "r"}`}
	r := release(t, m)
	_, err := r.Inputs(values(t, `{"issuer": "https://other.example"}`))
	for _, want := range []string{"inputs.name: is required", "inputs.client_id: is required", "inputs.issuer: is not a property here"} {
		if !contains(found(err), want) {
			t.Errorf("no finding %q in %q", want, found(err))
		}
	}
	in, err := r.Inputs(values(t, `{"name": "N", "client_id": "c"}`))
	if err != nil {
		t.Fatal(found(err))
	}
	merged, err := r.Merge(t.Context(), in)
	if err != nil || merged["name"] != "N!" || merged["client_id"] != "c" {
		t.Errorf("%v, %v", merged, err)
	}
}
