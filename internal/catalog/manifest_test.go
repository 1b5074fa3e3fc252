package catalog_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"deputy/internal/catalog"
	"deputy/internal/deputy"
)

// manifest is one that may be released, of the kind oauth-api.
func manifest() *catalog.Manifest {
	return &catalog.Manifest{
		Kind: "oauth-api", Name: "Calendar",
		Inputs: &catalog.Binding{
			Schema: []byte(`{"type": "object", "required": ["id", "secret"], "properties": {
				"id": {"type": "string"}, "secret": {"type": "string", "writeOnly": true},
				"region": {"type": "string"}, "size": {"type": "integer", "default": 1}}}`),
			Bindings: `{"name": "Calendar", "issuer": "https://id.example", "client_id": pkg.inputs.id, "client_secret": pkg.inputs.secret,
				"resource_identifier": "https://" + (has(pkg.inputs.region) ? pkg.inputs.region + "." : "") + "api.example"}`,
		},
		Outputs: &catalog.Binding{
			Schema:   []byte(`{"type": "object", "properties": {"api": {"type": "string"}}}`),
			Bindings: `{"api": entities.resource.outputs.identifier}`,
		},
		Links: []catalog.Link{{Rel: "help", Href: "https://example.com/help"}},
		Tags:  []string{"calendar"},
	}
}

// found returns the findings of an error, one line each.
func found(err error) []string {
	var e *deputy.Error
	if !errors.As(err, &e) {
		return nil
	}
	var out []string
	for _, d := range e.Details {
		out = append(out, d.Field+": "+d.Message)
	}
	return out
}

func TestReleaseChecks(t *testing.T) {
	if _, err := catalog.Builtin().Check(manifest()); err != nil {
		t.Fatal(found(err))
	}
	schema := func(s string) func(*catalog.Manifest) {
		return func(m *catalog.Manifest) { m.Inputs.Schema = []byte(s) }
	}
	bind := func(s string) func(*catalog.Manifest) {
		return func(m *catalog.Manifest) { m.Inputs.Bindings = s }
	}
	// member replaces what the author binds for the scopes.
	member := func(s string) func(*catalog.Manifest) {
		return func(m *catalog.Manifest) {
			m.Inputs.Bindings = strings.TrimSuffix(m.Inputs.Bindings, "}") + `, "scopes": ` + s + `}`
		}
	}
	output := func(s string) func(*catalog.Manifest) {
		return func(m *catalog.Manifest) { m.Outputs.Bindings = s }
	}
	cases := map[string]struct {
		change func(*catalog.Manifest)
		field  string
		says   string
	}{
		"unknown kind":         {func(m *catalog.Manifest) { m.Kind = "toaster" }, "kind", "not a kind"},
		"no name":              {func(m *catalog.Manifest) { m.Name = "" }, "name", "1 to 128"},
		"long name":            {func(m *catalog.Manifest) { m.Name = strings.Repeat("x", 129) }, "name", "1 to 128"},
		"HTML in name":         {func(m *catalog.Manifest) { m.Name = "<b>x</b>" }, "name", "HTML"},
		"long description":     {func(m *catalog.Manifest) { m.Description = strings.Repeat("x", 1025) }, "description", "1024"},
		"long icon":            {func(m *catalog.Manifest) { m.IconURL = "https://x/" + strings.Repeat("x", 512) }, "icon_url", "512"},
		"icon of a script":     {func(m *catalog.Manifest) { m.IconURL = "javascript:alert(1)" }, "icon_url", "https or data"},
		"link without rel":     {func(m *catalog.Manifest) { m.Links[0].Rel = "" }, "links[0].rel", "required"},
		"link to a script":     {func(m *catalog.Manifest) { m.Links[0].Href = "javascript:alert(1)" }, "links[0].href", "absolute path"},
		"link to nonsense":     {func(m *catalog.Manifest) { m.Links[0].Href = "https://%zz" }, "links[0].href", "absolute path"},
		"too many links":       {func(m *catalog.Manifest) { m.Links = slices.Repeat(m.Links, 51) }, "links", "at most 50"},
		"odd tag":              {func(m *catalog.Manifest) { m.Tags = []string{"a b"} }, "tags[0]", "characters"},
		"long tag":             {func(m *catalog.Manifest) { m.Tags = []string{strings.Repeat("x", 65)} }, "tags[0]", "64"},
		"tag twice":            {func(m *catalog.Manifest) { m.Tags = []string{"a", "a"} }, "tags[1]", "twice"},
		"too many tags":        {func(m *catalog.Manifest) { m.Tags = numbered(51) }, "tags", "at most 50"},
		"property without URN": {property("publisher", `"x"`), "properties.publisher", "URN"},
		"experimental":         {property("urn:deputy:draft/x", `1`), "properties.urn:deputy:draft/x", "experimental"},
		"declared, wrong type": {property("urn:deputy:property:category", `1`), "properties.urn:deputy:property:category", "must be"},
		"declared elsewhere":   {property("urn:deputy:property:audience", `"user"`), "properties.urn:deputy:property:audience", "package"},
		"many properties":      {property("urn:x-y:z", `"`+strings.Repeat("x", 33<<10)+`"`), "properties", "bytes"},

		"schema is no JSON":       {schema(`{`), "inputs.schema", "JSON"},
		"schema is no object":     {schema(`{"type": "string"}`), "inputs.schema.type", "object"},
		"schema without type":     {schema(`{"properties": {}}`), "inputs.schema.type", "object"},
		"schema is a list":        {schema(`[]`), "inputs.schema", "object"},
		"schema too large":        {schema(`{"type": "object", "title": "` + strings.Repeat("x", 64<<10) + `"}`), "inputs.schema", "bytes"},
		"schema too deep":         {schema(`{"type": "object", ` + strings.Repeat(`"additionalProperties": {"type": "object", `, 8) + `"title": ""` + strings.Repeat(`}`, 9)), "", "deeper"},
		"too many properties":     {schema(`{"type": "object", "properties": {` + many(201) + `}}`), "inputs.schema", "200"},
		"odd name":                {schema(`{"type": "object", "properties": {"a-b": {}}}`), "inputs.schema.properties.a-b", "name"},
		"type list":               {schema(`{"type": ["object"]}`), "inputs.schema.type", "one of"},
		"required, not there":     {schema(`{"type": "object", "required": ["x"]}`), "inputs.schema.required[0]", "properties"},
		"required twice":          {schema(`{"type": "object", "properties": {"a": {}}, "required": ["a", "a"]}`), "inputs.schema.required[1]", "twice"},
		"required, no name":       {schema(`{"type": "object", "properties": {"a": {}}, "required": [1]}`), "inputs.schema.required[0]", "name"},
		"unknown type":            {schema(`{"type": "object", "properties": {"a": {"type": "text"}}}`), "inputs.schema.properties.a.type", "one of"},
		"properties, no object":   {schema(`{"type": "object", "properties": []}`), "inputs.schema.properties", "object"},
		"items, no schema":        {schema(`{"type": "object", "properties": {"a": {"items": 1}}}`), "inputs.schema.properties.a.items", "schema"},
		"others, no schema":       {schema(`{"type": "object", "additionalProperties": "no"}`), "inputs.schema.additionalProperties", "schema"},
		"enum, no list":           {schema(`{"type": "object", "properties": {"a": {"enum": "a"}}}`), "inputs.schema.properties.a.enum", "at least one"},
		"pattern, no text":        {schema(`{"type": "object", "properties": {"a": {"pattern": 1}}}`), "inputs.schema.properties.a.pattern", "string"},
		"minimum, no number":      {schema(`{"type": "object", "properties": {"a": {"minimum": "1"}}}`), "inputs.schema.properties.a.minimum", "number"},
		"length without bound":    {schema(`{"type": "object", "properties": {"a": {"maxLength": 3000000000}}}`), "inputs.schema.properties.a.maxLength", "whole number"},
		"default below":           {schema(`{"type": "object", "properties": {"a": {"items": {"type": "string", "default": 1}}}}`), "inputs.schema.properties.a.items.default", "type string"},
		"required, no list":       {schema(`{"type": "object", "required": "x"}`), "inputs.schema.required", "list"},
		"min above max":           {schema(`{"type": "object", "properties": {"a": {"minLength": 3, "maxLength": 2}}}`), "inputs.schema.properties.a.minLength", "above"},
		"minimum above maximum":   {schema(`{"type": "object", "properties": {"a": {"minimum": 3, "maximum": 2}}}`), "inputs.schema.properties.a.minimum", "above"},
		"minItems above maxItems": {schema(`{"type": "object", "properties": {"a": {"minItems": 3, "maxItems": 2}}}`), "inputs.schema.properties.a.minItems", "above"},
		"negative length":         {schema(`{"type": "object", "properties": {"a": {"minLength": -1}}}`), "inputs.schema.properties.a.minLength", "whole number"},
		"length no integer":       {schema(`{"type": "object", "properties": {"a": {"maxLength": 1.5}}}`), "inputs.schema.properties.a.maxLength", "whole number"},
		"empty enum":              {schema(`{"type": "object", "properties": {"a": {"enum": []}}}`), "inputs.schema.properties.a.enum", "at least one"},
		"enum of another type":    {schema(`{"type": "object", "properties": {"a": {"type": "string", "enum": ["a", 1]}}}`), "inputs.schema.properties.a.enum[1]", "type string"},
		"const of another type":   {schema(`{"type": "object", "properties": {"a": {"type": "integer", "const": 1.5}}}`), "inputs.schema.properties.a.const", "type integer"},
		"default of another type": {schema(`{"type": "object", "properties": {"a": {"type": "boolean", "default": "yes"}}}`), "inputs.schema.properties.a.default", "type boolean"},
		"default too long":        {schema(`{"type": "object", "properties": {"a": {"type": "string", "maxLength": 1, "default": "yes"}}}`), "inputs.schema.properties.a.default", "at most 1"},
		"pattern of another kind": {schema(`{"type": "object", "properties": {"a": {"pattern": "(?=x)"}}}`), "inputs.schema.properties.a.pattern", "RE2"},
		"read and write only":     {schema(`{"type": "object", "properties": {"a": {"readOnly": true, "writeOnly": true}}}`), "inputs.schema.properties.a", "both"},
		"flag is no truth":        {schema(`{"type": "object", "properties": {"a": {"writeOnly": "yes"}}}`), "inputs.schema.properties.a.writeOnly", "true or false"},
		"title is no text":        {schema(`{"type": "object", "title": 1}`), "inputs.schema.title", "string"},

		"no expression":             {bind(`{`), "inputs.bindings", "line 1"},
		"expression too long":       {bind(`{"name": "` + strings.Repeat("x", 16<<10) + `"}`), "inputs.bindings", "bytes"},
		"expression too deep":       {bind(strings.Repeat("[", 33) + strings.Repeat("]", 33)), "inputs.bindings", "deeper"},
		"too many parts":            {member(`[` + strings.Repeat(`1,`, 2100) + `1]`), "inputs.bindings", "parts"},
		"too many words":            {member(`[` + strings.Repeat(`1,`, 2600) + `1]`), "inputs.bindings", "words and signs"},
		"comment":                   {bind("{\"name\": \"x\" // x\n}"), "inputs.bindings", "comments"},
		"string without an end":     {bind(`{"name": "x`), "inputs.bindings", "no end"},
		"name of nothing":           {member(`[colour]`), "inputs.bindings", "nothing called colour"},
		"bytes":                     {member(`[b"x"]`), "inputs.bindings.scopes", "JSON"},
		"time":                      {member(`[timestamp("2026-01-01T00:00:00Z")]`), "inputs.bindings.scopes", "JSON"},
		"no number":                 {member(`[string(0.0/0.0), 0.0/0.0]`), "inputs.bindings.scopes", "JSON"},
		"guarded by another":        {member(`[has(pkg.inputs.size) ? pkg.inputs.region : ""]`), "inputs.bindings", "has(pkg.inputs.region)"},
		"guarded by either":         {member(`[has(pkg.inputs.region) || pkg.inputs.region == "" ? "a" : "b"]`), "inputs.bindings", "has(pkg.inputs.region)"},
		"not guarded":               {member(`[!has(pkg.inputs.region) && pkg.inputs.region == "" ? "a" : "b"]`), "inputs.bindings", "has(pkg.inputs.region)"},
		"no map":                    {bind(`"x"`), "inputs.bindings", "map literal"},
		"a key twice":               {bind(`{"name": "a", "name": "b"}`), "inputs.bindings.name", "twice"},
		"a computed key":            {bind(`{"a" + "b": 1}`), "inputs.bindings", "string constants"},
		"a number as key":           {bind(`{1: 1}`), "inputs.bindings", "string constants"},
		"a key twice below":         {member(`{"a": 1, "a": 2}`), "inputs.bindings.a", "twice"},
		"comprehension":             {member(`[1].map(x, "a")`), "inputs.bindings", ""},
		"unknown function":          {member(`[now()]`), "inputs.bindings", ""},
		"another variable":          {member(`[entities.x]`), "inputs.bindings", "entities"},
		"the whole root":            {member(`[string(pkg)]`), "inputs.bindings", ""},
		"all inputs":                {member(`[pkg.inputs]`), "inputs.bindings", "pkg.inputs.NAME"},
		"beside inputs":             {member(`[pkg.secrets.x]`), "inputs.bindings", "pkg.inputs.NAME"},
		"input nobody gives":        {member(`[pkg.inputs.missing]`), "inputs.bindings", "not in the schema"},
		"optional input":            {member(`[pkg.inputs.region]`), "inputs.bindings", "has(pkg.inputs.region)"},
		"guarded on the wrong side": {member(`[has(pkg.inputs.region) ? "" : pkg.inputs.region]`), "inputs.bindings", "has(pkg.inputs.region)"},
		"not an input of the kind":  {bind(`{"colour": "red"}`), "inputs.bindings.colour", "kind"},
		"constant of another type":  {member(`"read"`), "inputs.bindings.scopes", "type array"},
		"constant too short":        {member(`[""]`), "inputs.bindings.scopes[0]", "at least 1"},
		"marker": {func(m *catalog.Manifest) {
			m.Inputs.Bindings = strings.TrimSuffix(m.Inputs.Bindings, "}") + `, "authorization_parameters": {"$input": "x"}}`
		}, "inputs.bindings.authorization_parameters", "$input"},
		"division":        {member(`["" + string(1/0)]`), "inputs.bindings.scopes", "range"},
		"kind needs more": {bind(`{"name": "x", "client_secret": pkg.inputs.secret}`), "inputs", "needs issuer"},
		"secret in the package": {func(m *catalog.Manifest) {
			m.Inputs.Bindings = strings.Replace(m.Inputs.Bindings, "pkg.inputs.secret", `"s3cret"`, 1)
		}, "inputs.bindings.client_secret", "secret"},
		"secret from an open input": {func(m *catalog.Manifest) {
			m.Inputs.Bindings = strings.Replace(m.Inputs.Bindings, "pkg.inputs.secret", "pkg.inputs.id", 1)
		}, "inputs.bindings.client_secret", "writeOnly"},
		"secret into an open input": {func(m *catalog.Manifest) {
			m.Inputs.Bindings = strings.Replace(m.Inputs.Bindings, "pkg.inputs.id", "pkg.inputs.secret", 1)
		}, "inputs.bindings.client_id", "writeOnly"},
		"open input of a secret's name": {func(m *catalog.Manifest) {
			m.Inputs.Schema = []byte(strings.ReplaceAll(string(m.Inputs.Schema), `"region"`, `"client_secret"`))
			m.Inputs.Bindings = `{"name": "x", "issuer": "https://id.example", "client_id": pkg.inputs.id, "resource_identifier": "x"}`
		}, "inputs.schema.properties.client_secret", "writeOnly"},

		"outputs without schema":   {func(m *catalog.Manifest) { m.Outputs.Schema = nil }, "outputs.schema", "required"},
		"outputs without bindings": {func(m *catalog.Manifest) { m.Outputs.Bindings = "" }, "outputs.bindings", "required"},
		"output not described":     {output(`{"api": "x", "more": "y"}`), "outputs.bindings.more", "not in the schema"},
		"output missing":           {output(`{}`), "outputs.bindings.api", "missing"},
		"write-only output": {func(m *catalog.Manifest) {
			m.Outputs.Schema = []byte(`{"type": "object", "properties": {"api": {"type": "string", "writeOnly": true}}}`)
		}, "outputs.schema", "writeOnly"},
		"output of no entity":      {output(`{"api": entities.toaster.href}`), "outputs.bindings", "toaster"},
		"output of a whole entity": {output(`{"api": entities.resource}`), "outputs.bindings", "entities.inputs.NAME"},
		"output nobody shows":      {output(`{"api": entities.provider.outputs.client_secret}`), "outputs.bindings", "only href and outputs"},
		"output of a secret":       {output(`{"api": entities.inputs.client_secret}`), "outputs.bindings", "secret"},
		"output of no input":       {output(`{"api": entities.inputs.colour}`), "outputs.bindings", "not an input"},
		"output from the package":  {output(`{"api": pkg.inputs.id}`), "outputs.bindings", "pkg"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := manifest()
			c.change(m)
			_, err := catalog.Builtin().Check(m)
			if deputy.KindOf(err) != deputy.Invalid {
				t.Fatalf("released: %v", err)
			}
			lines := found(err)
			for _, line := range lines {
				if field, message, _ := strings.Cut(line, ": "); (c.field == "" || field == c.field) && strings.Contains(message, c.says) {
					return
				}
			}
			t.Errorf("no finding on %q that says %q: %q", c.field, c.says, lines)
		})
	}
}

// What has() has found may be used behind it, however the question is put.
func TestGuardedInputsAreTaken(t *testing.T) {
	for _, text := range []string{
		`has(pkg.inputs.region) ? pkg.inputs.region : ""`,
		`!has(pkg.inputs.region) ? "" : pkg.inputs.region`,
		`has(pkg.inputs.region) && pkg.inputs.region == "eu" ? "a" : "b"`,
		`!has(pkg.inputs.region) || pkg.inputs.region == "eu" ? "a" : "b"`,
		`has(pkg.inputs.region) && pkg.inputs.size > 1 ? pkg.inputs["region"] : "b"`,
		`!has(pkg.inputs.region) || pkg.inputs.size > 1 ? "b" : pkg.inputs.region`,
	} {
		m := manifest()
		m.Inputs.Bindings = strings.TrimSuffix(m.Inputs.Bindings, "}") + `, "scopes": [` + text + `]}`
		if _, err := catalog.Builtin().Check(m); err != nil {
			t.Errorf("%s: %q", text, found(err))
		}
	}
}

func property(name, value string) func(*catalog.Manifest) {
	return func(m *catalog.Manifest) { m.Properties = map[string]jsonValue{name: jsonValue(value)} }
}

func numbered(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprint("t", i))
	}
	return out
}

func many(n int) string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf(`"p%d": {}`, i))
	}
	return strings.Join(out, ",")
}

func TestUnsupportedKeywordsAreRefused(t *testing.T) {
	for _, keyword := range strings.Fields(`allOf anyOf oneOf not $ref $dynamicRef patternProperties propertyNames
		unevaluatedProperties $vocabulary $schema $id $anchor $dynamicAnchor $defs definitions $comment if then else
		dependentSchemas dependentRequired prefixItems contains minContains maxContains unevaluatedItems uniqueItems
		multipleOf exclusiveMinimum exclusiveMaximum minProperties maxProperties contentEncoding contentMediaType
		contentSchema examples deprecated x-order Type`) {
		for at, schema := range map[string]string{
			"inputs.schema.":                    `{"type": "object", "` + keyword + `": true}`,
			"inputs.schema.properties.a.":       `{"type": "object", "properties": {"a": {"` + keyword + `": true}}}`,
			"inputs.schema.properties.a.items.": `{"type": "object", "properties": {"a": {"items": {"` + keyword + `": true}}}}`,
		} {
			m := manifest()
			m.Inputs.Schema = []byte(schema)
			_, err := catalog.Builtin().Check(m)
			if want := at + keyword + ": the keyword is not supported"; !contains(found(err), want) {
				t.Errorf("%s: %q", want, found(err))
			}
		}
	}
}

func contains(lines []string, want string) bool {
	for _, line := range lines {
		if line == want {
			return true
		}
	}
	return false
}

func TestManifestHash(t *testing.T) {
	m := &catalog.Manifest{Kind: "api-key", Name: "X", Tags: []string{"b", "a"}}
	sha, err := m.SHA()
	if err != nil {
		t.Fatal(err)
	}
	// printf '{"kind":"api-key","name":"X","tags":["b","a"]}' | sha256sum
	if want := "46b7b9eb42b40fd8c8991fdf8ca976280a8fd7811b050c784555c1406c2d8105"; sha != want {
		t.Errorf("sha = %s, want %s", sha, want)
	}
	m.Tags = []string{"a", "b"}
	if other, _ := m.SHA(); other == sha {
		t.Error("the order of a list does not count")
	}
}
