package policy_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

const (
	openPolicy = "permit(principal, action, resource);"
	openJSON   = `{"action":{"op":"All"},"conditions":[],"effect":"permit","principal":{"op":"All"},"resource":{"op":"All"}}`
	openSHA    = "98fb30e4c651063e13b12cee533bd4431ea535da9f2b8284b246ca9a798ac0b5"
)

// failer is a test, a benchmark or a property.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func document(t failer, text string) *policy.Document {
	t.Helper()
	d, err := policy.ParseText(text)
	if err != nil {
		t.Fatalf("ParseText(%s): %v", text, explain(err))
	}
	return d
}

// explain writes an error with its details.
func explain(err error) string {
	var e *deputy.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	lines := []string{e.Field + ": " + err.Error()}
	for i := range e.Details {
		lines = append(lines, e.Details[i].Field+": "+e.Details[i].Message)
	}
	return strings.Join(lines, "\n")
}

func TestContentHashVector(t *testing.T) {
	for name, parse := range map[string]func() (*policy.Document, error){
		"text": func() (*policy.Document, error) { return policy.ParseText(openPolicy) },
		"text, other layout": func() (*policy.Document, error) {
			return policy.ParseText("// open\npermit (\n principal,action,\n\tresource,) ;\n")
		},
		"JSON": func() (*policy.Document, error) { return policy.ParseJSON([]byte(openJSON)) },
		"JSON, other layout": func() (*policy.Document, error) {
			return policy.ParseJSON([]byte(`{"effect": "permit", "principal": {"op": "All"}, "action": {"op": "All"}, "resource": {"op": "All"}}`))
		},
	} {
		d, err := parse()
		if err != nil {
			t.Fatalf("%s: %v", name, explain(err))
		}
		if string(d.JSON()) != openJSON || d.SHA() != openSHA {
			t.Errorf("%s: canonical JSON %s with hash %s", name, d.JSON(), d.SHA())
		}
		if want := "permit ( principal, action, resource );"; d.Text() != want {
			t.Errorf("%s: text %q, want %q", name, d.Text(), want)
		}
	}
}

func TestDocumentTellsItsIDAndEffect(t *testing.T) {
	d := document(t, `@description("nobody") @id("no-one") forbid(principal, action, resource);`)
	if d.ID() != "no-one" || d.Effect() != policy.Forbid {
		t.Errorf("id %q, effect %q", d.ID(), d.Effect())
	}
	if got := d.Annotation("description"); got != "nobody" {
		t.Errorf("annotation description is %q", got)
	}
	if d := document(t, openPolicy); d.ID() != "" || d.Effect() != policy.Permit {
		t.Errorf("id %q, effect %q of a bare permit", d.ID(), d.Effect())
	}
}

func TestFormsMeanTheSame(t *testing.T) {
	for _, text := range []string{
		`permit(principal == Keycard::User::"a\"b", action in [Keycard::Action::"access"], resource is Keycard::Resource in Keycard::Resource::"r");`,
		`forbid(principal, action, resource) when { context has subject && context.subject.email like "*@example.com" } unless { {"b": 1, "a": [true, -2]}.b == 1 };`,
		`@b("2") @a("1") permit(principal, action, resource) when { if context.on_behalf then !(1 + 2 * 3 < -4) else "é\u{1F600}\0" == "x" };`,
		`permit(principal, action, resource) when { context has actor_claims && context.actor_claims.hasTag("t") && context.actor_claims.getTag("t") == "v" };`,
		`permit(principal, action, resource) when { context has a.b.c && ip("10.0.0.1").isInRange(ip("10.0.0.0/8")) };`,
		`permit(principal, action, resource) when { "a*b" like "a\**" && context["odd name"] has "other name" };`,
	} {
		byText := document(t, text)
		byJSON, err := policy.ParseJSON(byText.JSON())
		if err != nil {
			t.Fatalf("the JSON of %s does not parse: %s", text, explain(err))
		}
		again := document(t, byText.Text())
		for form, d := range map[string]*policy.Document{"its JSON": byJSON, "its normal form": again} {
			if d.SHA() != byText.SHA() {
				t.Errorf("%s: %s has another hash:\n%s\n%s", text, form, byText.JSON(), d.JSON())
			}
		}
		if again.Text() != byText.Text() {
			t.Errorf("normal form is not stable:\n%s\n%s", byText.Text(), again.Text())
		}
	}
}

// JSON gives members no order; the text of a policy must not depend on chance.
func TestTextOfJSONIsAlwaysTheSame(t *testing.T) {
	raw := []byte(`{"annotations":{"d":"4","c":"3","b":"2","a":"1"},"effect":"permit","principal":{"op":"All"},"action":{"op":"All"},"resource":{"op":"All"},
		"conditions":[{"kind":"when","body":{"==":{"left":{"Record":{"z":{"Value":1},"y":{"Value":2},"x":{"Value":3},"w":{"Value":4}}},"right":{"Value":{"q":1,"p":2}}}}}]}`)
	var first string
	for range 20 {
		d, err := policy.ParseJSON(raw)
		if err != nil {
			t.Fatal(explain(err))
		}
		if first == "" {
			first = d.Text()
		}
		if d.Text() != first {
			t.Fatalf("two texts for one policy:\n%s\n%s", first, d.Text())
		}
	}
}

func TestRefusedDocuments(t *testing.T) {
	deep := func(open, shut string, n int) string {
		return "permit(principal, action, resource) when { " + strings.Repeat(open, n) + "true" + strings.Repeat(shut, n) + " };"
	}
	chain := func(op string, n int) string { return deep("true "+op+" ", "", n) }
	jsonBody := func(body string) string {
		return `{"effect":"permit","principal":{"op":"All"},"action":{"op":"All"},"resource":{"op":"All"},"conditions":[{"kind":"when","body":` + body + `}]}`
	}
	const text, asJSON = "cedar_raw", "cedar_json"
	for name, c := range map[string]struct{ form, in, want string }{
		"nothing":                 {text, "", "there is none"},
		"only a comment":          {text, "// permit(principal, action, resource);", "there is none"},
		"two policies":            {text, openPolicy + "\n" + openPolicy, "line 2, column 1: exactly one policy is expected"},
		"a policy and rubbish":    {text, openPolicy + " x", "line 1, column 38: exactly one policy is expected"},
		"no semicolon":            {text, "permit(principal, action, resource)", "exact got"},
		"syntax":                  {text, "permit(principal,\n  acton, resource);", "line 2, column 8"},
		"unterminated string":     {text, "permit(principal, action, resource) when { \"x };", "literal not terminated"},
		"unterminated comment":    {text, openPolicy + " /* x", ""},
		"invalid UTF-8":           {text, "permit(principal, action, resource) when { \"\xff\" == \"\" };", "invalid UTF-8"},
		"NUL":                     {text, "permit(principal, action, resource);\x00", ""},
		"template":                {text, "permit(principal == ?principal, action, resource);", "line 1, column 21: templates are not supported"},
		"brackets":                {text, deep("(", ")", 101), "nest at most 100 deep"},
		"half a million brackets": {text, deep("(", ")", 500_000), "at most 65536 bytes"},
		"brackets up to the size": {text, deep("[", "]", 32_000), "nest at most 100 deep"},
		"braces":                  {text, deep("{a:", "}", 101), "nest at most 100 deep"},
		"negations":               {text, deep("!", "", 101), "nest at most 100 deep"},
		"negations and brackets":  {text, deep("!(", ")", 51), "nest at most 100 deep"},
		"minus signs":             {text, deep("- ", "", 30_000), "nest at most 100 deep"},
		"a chain of or":           {text, chain("||", 5000), "operators high"},
		"a chain of plus":         {text, chain("+", 9000), "operators high"},
		"nested if":               {text, deep("if true then true else ", "", 2000), "operators high"},
		"members of members":      {text, "permit(principal, action, resource) when { context" + strings.Repeat(".a", 30_000) + " };", "operators high"},
		"has of members":          {text, "permit(principal, action, resource) when { context has a" + strings.Repeat(".a", 30_000) + " };", "operators high"},
		"many has of members": {text, "permit(principal, action, resource) when { [" +
			strings.Repeat("context has a"+strings.Repeat(".a", 150)+", ", 100) + "true] == [] };", "operators and literals"},
		"a long name":          {text, "permit(principal, action, resource) when { " + strings.Repeat("a::", 20_000) + "\"x\" == 1 };", "at most 32 parts"},
		"a long type":          {text, "permit(principal is a" + strings.Repeat(":: /* and */ a", 32) + ", action, resource);", "at most 32 parts"},
		"too large an integer": {text, "permit(principal, action, resource) when { 9007199254740992 > 1 };", "canonical JSON would round"},
		"too small an integer": {text, "permit(principal, action, resource) when { -9007199254740992 < 1 };", "canonical JSON would round"},
		"no JSON":              {asJSON, "{", "unexpected EOF"},
		"null":                 {asJSON, "null", "null"},
		"a list":               {asJSON, "[" + openJSON + "]", ""},
		"a policy set":         {asJSON, `{"staticPolicies":{"a":` + openJSON + `},"templates":{},"templateLinks":[]}`, "staticPolicies"},
		"two values":           {asJSON, openJSON + openJSON, ""},
		"a member twice":       {asJSON, strings.Replace(openJSON, `"effect":"permit"`, `"effect":"forbid","effect":"permit"`, 1), "duplicate"},
		"a slot":               {asJSON, strings.Replace(openJSON, `{"op":"All"}`, `{"op":"==","slot":"?principal"}`, 1), "slot"},
		"JSON nesting":         {asJSON, jsonBody(strings.Repeat(`{"!":{"arg":`, 60) + `{"Value":true}` + strings.Repeat("}}", 60)), "nest at most 100 deep"},
		"JSON of lists":        {asJSON, jsonBody(`{"Value":` + strings.Repeat("[", 200_000)), "at most 65536 bytes"},
		"deep JSON of lists":   {asJSON, jsonBody(`{"Value":` + strings.Repeat("[", 60_000)), "nest at most 100 deep"},
		"JSON without text":    {asJSON, jsonBody(`{".":{"left":{"Value":-1},"attr":"a"}}`), "exact got"},
		"JSON integer":         {asJSON, jsonBody(`{"==":{"left":{"Value":9007199254740993},"right":{"Value":1}}}`), "canonical JSON would round"},
		"JSON entity type":     {asJSON, strings.Replace(openJSON, `"principal":{"op":"All"}`, `"principal":{"op":"is","entity_type":"a b"}`, 1), "entity_type"},
	} {
		t.Run(name, func(t *testing.T) {
			parse := policy.ParseText
			if c.form == asJSON {
				parse = func(s string) (*policy.Document, error) { return policy.ParseJSON([]byte(s)) }
			}
			_, err := parse(c.in)
			var e *deputy.Error
			if !errors.As(err, &e) || e.Kind != deputy.Invalid || e.Field != c.form || len(e.Details) != 1 {
				t.Fatalf("error is %v, want Invalid on %s with one detail", err, c.form)
			}
			if got := explain(err); !strings.Contains(got, c.want) {
				t.Errorf("error is %s, want %q", got, c.want)
			}
			if c.form == asJSON && strings.Contains(explain(err), "line ") {
				t.Errorf("error has a position in text that nobody wrote: %s", explain(err))
			}
			for _, leak := range []string{"cedar-go", "jsontext", "Go type", "json."} {
				if strings.Contains(explain(err), leak) {
					t.Errorf("error speaks of the engine: %s", explain(err))
				}
			}
		})
	}
}

// What the limits count is only what nests: strings and comments do not.
func TestAcceptedDocuments(t *testing.T) {
	for name, text := range map[string]string{
		"a hundred brackets":   "permit(principal, action, resource) when {" + strings.Repeat("(", 99) + "true" + strings.Repeat(")", 99) + "};",
		"brackets in a string": `permit(principal, action, resource) when { "` + strings.Repeat("([{!;?", 500) + `" == "\"" };`,
		"brackets in comments": "/* " + strings.Repeat("([{!;?\"", 500) + " */" + openPolicy + "// ;;((\"",
		"brackets in a row":    "permit(principal, action, resource) when { [" + strings.Repeat("(1), ", 5000) + "2] == [] };",
		"a chain of or":        "permit(principal, action, resource) when { true" + strings.Repeat(" || true", 195) + " };",
		"bounds of integers":   "permit(principal, action, resource) when { -9007199254740991 < 9007199254740991 };",
		"long names":           "permit(principal is a" + strings.Repeat("::a", 30) + ` in b::"b", action in [` + strings.Repeat(`a::b::"c", `, 1000) + "], resource);",
		"many minus signs":     "permit(principal, action, resource) when { 1" + strings.Repeat(" - 1", 190) + " < 2 };",
	} {
		t.Run(name, func(t *testing.T) { document(t, text) })
	}
	quoted := strings.Replace(openJSON, `{"action"`, `{"annotations":{"note":"`+strings.Repeat(`[{\"`, 500)+`"},"action"`, 1)
	if _, err := policy.ParseJSON([]byte(quoted)); err != nil {
		t.Error(explain(err))
	}
}

func FuzzParseText(f *testing.F) {
	f.Add(openPolicy)
	f.Add(`@id("a") forbid(principal == A::"b", action in [A::"b"], resource is B in A::"c") when { context.x.y like "a*" } unless { -1 + 2 < 3 };`)
	f.Add(`permit(principal, action, resource) when { if !{a: [1]}.a.contains(1) then ip("::1").isLoopback() else context has a.b."c" };`)
	f.Add("permit(((((")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := policy.ParseText(text)
		if err != nil {
			return
		}
		accepted(t, d)
	})
}

func FuzzParseJSON(f *testing.F) {
	f.Add([]byte(openJSON))
	for _, text := range []string{
		`forbid(principal == A::"b", action in [A::"b"], resource is B in A::"c") when { context.x like "a*" };`,
		`permit(principal, action, resource) when { if !{a: [1]}.a.contains(1) then ip("::1").isLoopback() else context has a };`,
	} {
		d, err := policy.ParseText(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(d.JSON())
	}
	f.Add([]byte(`{"effect":"permit","principal":{"op":"All"},"action":{"op":"All"},"resource":{"op":"All"},"conditions":[{"kind":"when","body":{"Value":{"__extn":{"fn":"ip","arg":"::1"}}}}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := policy.ParseJSON(raw)
		if err != nil {
			return
		}
		accepted(t, d)
	})
}

// accepted checks what holds of every document: both forms parse back to the
// same hash, and no schema's validation panics on it.
func accepted(t *testing.T, d *policy.Document) {
	t.Helper()
	again, err := policy.ParseText(d.Text())
	if err != nil {
		t.Fatalf("normal form %q does not parse: %s", d.Text(), explain(err))
	}
	if again.SHA() != d.SHA() {
		t.Fatalf("normal form %q has another hash", d.Text())
	}
	if !json.Valid(d.JSON()) {
		t.Fatalf("JSON form %q is not JSON", d.JSON())
	}
	if byJSON, err := policy.ParseJSON(d.JSON()); err == nil && byJSON.SHA() != d.SHA() {
		t.Fatalf("JSON form %s has another hash: %s", d.JSON(), byJSON.JSON())
	}
	for _, s := range policy.Schemas() {
		_ = s.Validate(d)
	}
}
