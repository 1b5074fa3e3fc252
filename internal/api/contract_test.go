package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// promise is what the contract says of one endpoint that existing clients call.
type promise struct {
	Method, Path string
	Headers      []string
	Query        map[string]promised
	Body         map[string]promised
	Response     map[string]promised
}

// promised is what the contract says of one value. Its name is a flat path:
// [] is an element, {} the value of a map. The variants of a union are merged.
type promised struct {
	Type               string
	Required, Nullable bool
	Enum               []any
}

// toCome names the endpoints of the contract that are not built yet. It only
// ever gets shorter: -update takes out what has been built.
const toCome = "to_come.txt"

// embedded are paths into entities inside others, which are not sent.
var embedded = regexp.MustCompile(`(^|\.|\])(application|provider|credential_provider|resource|user|user_agent)\.`)

// departures are facts of the contract that are served otherwise, and why.
var departures = map[string]string{
	"GET /zones/{zone_id}/application-credentials response items[].provider_id":                   ofItsVariant,
	"GET /zones/{zone_id}/application-credentials response items[].jwks_uri":                      ofItsVariant,
	"GET /zones/{zone_id}/applications/{id}/application-credentials response items[].provider_id": ofItsVariant,
	"GET /zones/{zone_id}/applications/{id}/application-credentials response items[].jwks_uri":    ofItsVariant,
	"GET /zones/{zone_id}/sessions response items[].user_id":                                      ofItsVariant,
}

const ofItsVariant = "always there in those of the type that has it, as a read of one promises too"

// TestContract compares the served document with what existing clients rely
// on: nothing of it may be missing, stricter to send, or looser to read.
func TestContract(t *testing.T) {
	t.Parallel()
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	served := operationsOf(doc)
	var missing []string
	used := map[string]bool{}
	for _, p := range readContract(t) {
		op, ok := served[p.Method+" "+anyParam.ReplaceAllString(p.Path, "{}")]
		if !ok {
			missing = append(missing, p.Method+" "+p.Path)
			continue
		}
		for _, loss := range op.losses(p) {
			fact, _, _ := strings.Cut(loss, ": ")
			if departures[fact] == "" {
				t.Error(loss)
			}
			used[fact] = true
		}
	}
	for fact := range departures {
		if !used[fact] {
			t.Errorf("%s is served as the contract says: take it out of the departures", fact)
		}
	}
	checkToCome(t, missing)
}

// checkToCome compares the endpoints that do not exist with the list of those
// that are still to come.
func checkToCome(t *testing.T, missing []string) {
	t.Helper()
	path := filepath.Join("testdata", toCome)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	listed := strings.Fields(strings.ReplaceAll(string(raw), " ", "\t"))
	var left []string
	for pair := range slices.Chunk(listed, 2) {
		name := strings.Join(pair, " ")
		if slices.Contains(missing, name) {
			left = append(left, name)
		} else if !*update {
			t.Errorf("%s exists: take it off %s (-update does)", name, toCome)
		}
	}
	for _, name := range missing {
		if !slices.Contains(left, name) {
			t.Errorf("%s is missing", name)
		}
	}
	if *update {
		text := strings.Join(append(left, ""), "\n")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func readContract(t *testing.T) []promise {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "contract.json"))
	if err != nil {
		t.Fatal(err)
	}
	var contract struct{ Endpoints []promise }
	if err := json.Unmarshal(raw, &contract); err != nil {
		t.Fatal(err)
	}
	if len(contract.Endpoints) == 0 {
		t.Fatal("the contract names no endpoint")
	}
	return contract.Endpoints
}

var anyParam = regexp.MustCompile(`\{[^}]*\}`)

// described is an operation of the served document.
type described struct {
	method, path string
	item, op     map[string]any
	doc          map[string]any
}

// operationsOf returns the operations of a document by method and path, whose
// parameters have no names there.
func operationsOf(doc map[string]any) map[string]described {
	out := map[string]described{}
	for path, item := range doc["paths"].(map[string]any) {
		item := item.(map[string]any)
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			if op, ok := item[strings.ToLower(method)].(map[string]any); ok {
				out[method+" "+anyParam.ReplaceAllString(path, "{}")] = described{method, path, item, op, doc}
			}
		}
	}
	return out
}

// losses says where the operation gives less than was promised.
func (d described) losses(p promise) (out []string) {
	add := func(kind, field, format string, args ...any) {
		out = append(out, fmt.Sprintf("%s %s %s %s: %s", p.Method, p.Path, kind, field, fmt.Sprintf(format, args...)))
	}
	params := d.parameters()
	for _, name := range p.Headers {
		if _, ok := params["header"][name]; !ok {
			add("header", name, "is missing")
		}
	}
	for _, side := range []struct {
		kind     string
		promised map[string]promised
		served   map[string]fact
	}{{"query", p.Query, params["query"]}, {"body", p.Body, d.body()}, {"response", p.Response, d.answer()}} {
		for _, name := range slices.Sorted(maps.Keys(side.promised)) {
			if side.kind == "response" && embedded.MatchString(name) {
				continue
			}
			served, ok := side.served[name]
			if !ok {
				add(side.kind, name, "is missing")
				continue
			}
			for _, loss := range served.losses(side.promised[name], side.kind) {
				add(side.kind, name, "%s", loss)
			}
		}
		if side.kind == "response" {
			continue
		}
		for name, served := range side.served {
			if served.required && !side.promised[name].Required && !strings.ContainsAny(name, ".[{") {
				add(side.kind, name, "must be given, which the contract does not ask for")
			}
		}
	}
	return out
}

// fact is what a schema says of one value.
type fact struct {
	types    map[string]bool // JSON types; none means any
	required bool            // in every variant of a union
	optional bool            // in a variant that has it
	nullable bool
	enum     []any
}

// losses says where the value is less than was promised.
func (f fact) losses(p promised, kind string) (out []string) {
	if want := jsonType(p); want != "" && len(f.types) > 0 && !f.types[want] && (want != "number" || !f.types["integer"]) {
		out = append(out, fmt.Sprintf("is %v, promised %s", slices.Sorted(maps.Keys(f.types)), want))
	}
	reading := kind == "response"
	switch {
	case reading && p.Required && f.optional:
		out = append(out, "may be absent")
	case reading && f.nullable && p.Required && !p.Nullable && p.Type != "any":
		out = append(out, "may be null")
	case kind == "body" && p.Nullable && !f.nullable && len(f.types) > 0:
		out = append(out, "may not be null")
	}
	if reading && len(p.Enum) > 0 && len(f.enum) == 0 || len(f.enum) > 0 {
		for _, v := range p.Enum {
			if !slices.ContainsFunc(f.enum, func(have any) bool { return fmt.Sprint(have) == fmt.Sprint(v) }) {
				out = append(out, fmt.Sprintf("is never %v", v))
			}
		}
	}
	return out
}

// jsonType returns the JSON type of a promised value; empty for any.
func jsonType(p promised) string {
	name, _, _ := strings.Cut(p.Type, "|")
	switch {
	case name == "any":
		return ""
	case strings.HasPrefix(name, "array<"):
		return "array"
	case len(p.Enum) > 0 && name == "object": // a named type of texts
		return "string"
	case strings.HasPrefix(name, "map<"), name == "object", strings.HasPrefix(name, "_"):
		return "object"
	case name == "int":
		return "integer"
	case name == "bool":
		return "boolean"
	case name == "date-time":
		return "string"
	}
	return name
}

// parameters returns what the operation takes outside its body: in → name.
func (d described) parameters() map[string]map[string]fact {
	out := map[string]map[string]fact{}
	for _, list := range []any{d.item["parameters"], d.op["parameters"]} {
		list, _ := list.([]any)
		for _, p := range list {
			p := d.deref(p)
			flat := d.flatten(p["schema"])
			f := flat[""]
			f.required, _ = p["required"].(bool)
			if items, ok := flat["[]"]; ok { // one value or several
				f.enum = items.enum
				maps.Copy(f.types, items.types)
			}
			in := p["in"].(string)
			if out[in] == nil {
				out[in] = map[string]fact{}
			}
			out[in][p["name"].(string)] = f
		}
	}
	return out
}

func (d described) body() map[string]fact {
	return d.content(d.deref(d.op["requestBody"]))
}

// answer returns what the operation answers on success.
func (d described) answer() map[string]fact {
	for status, response := range d.op["responses"].(map[string]any) {
		if strings.HasPrefix(status, "2") {
			return d.content(d.deref(response))
		}
	}
	return nil
}

func (d described) content(of map[string]any) map[string]fact {
	content, _ := of["content"].(map[string]any)
	for _, media := range content {
		return d.flatten(media.(map[string]any)["schema"])
	}
	return nil
}

// deref follows references within the document.
func (d described) deref(v any) map[string]any {
	m, _ := v.(map[string]any)
	for m["$ref"] != nil {
		var at any = d.doc
		for part := range strings.SplitSeq(strings.TrimPrefix(m["$ref"].(string), "#/"), "/") {
			at = at.(map[string]any)[strings.NewReplacer("~1", "/", "~0", "~").Replace(part)]
		}
		m = at.(map[string]any)
	}
	return m
}

// flatten returns what a schema says of each value in it, by flat path.
func (d described) flatten(schema any) map[string]fact {
	out := map[string]fact{}
	d.flattenInto(out, "", schema, 0)
	return out
}

// maxNesting ends schemas that hold themselves.
const maxNesting = 9

func (d described) flattenInto(out map[string]fact, prefix string, schema any, depth int) {
	s := d.deref(schema)
	if depth > maxNesting {
		return
	}
	f := out[prefix]
	f.add(s)
	out[prefix] = f
	required := map[string]bool{}
	for _, name := range list(s["required"]) {
		required[name.(string)] = true
	}
	properties, _ := s["properties"].(map[string]any)
	for name, sub := range properties {
		path := strings.TrimPrefix(prefix+"."+name, ".")
		d.flattenInto(out, path, sub, depth+1)
		f := out[path]
		f.required, f.optional = required[name], !required[name]
		out[path] = f
	}
	if items, ok := s["items"]; ok {
		d.flattenInto(out, prefix+"[]", items, depth+1)
	}
	if values, ok := s["additionalProperties"].(map[string]any); ok {
		d.flattenInto(out, prefix+"{}", values, depth+1)
	}
	d.flattenVariants(out, prefix, s, depth)
}

// flattenVariants merges the variants of a union: a member must be there when
// it must in each of them.
func (d described) flattenVariants(out map[string]fact, prefix string, s map[string]any, depth int) {
	var variants []map[string]fact
	for _, key := range []string{"oneOf", "anyOf", "allOf"} {
		for _, v := range list(s[key]) {
			variant := map[string]fact{}
			d.flattenInto(variant, prefix, v, depth)
			variants = append(variants, variant)
		}
	}
	for i, variant := range variants {
		for path, f := range variant {
			merged, known := out[path]
			if i == 0 && !known {
				merged.required = f.required
				for _, other := range variants[1:] {
					merged.required = merged.required && other[path].required
				}
			}
			merged.merge(f)
			out[path] = merged
		}
	}
}

func list(v any) []any { l, _ := v.([]any); return l }

// add notes what the schema says of the value itself.
func (f *fact) add(s map[string]any) {
	if f.types == nil {
		f.types = map[string]bool{}
	}
	types := list(s["type"])
	if one, ok := s["type"].(string); ok {
		types = []any{one}
	}
	for _, t := range types {
		if t == "null" {
			f.nullable = true
			continue
		}
		f.types[t.(string)] = true
	}
	values := list(s["enum"])
	if c, ok := s["const"]; ok {
		values = append(values, c)
	}
	for _, v := range values {
		if v == nil {
			f.nullable = true
		} else {
			f.enum = append(f.enum, v)
		}
	}
}

func (f *fact) merge(other fact) {
	if f.types == nil {
		f.types = map[string]bool{}
	}
	maps.Copy(f.types, other.types)
	f.nullable, f.optional = f.nullable || other.nullable, f.optional || other.optional
	f.enum = append(f.enum, other.enum...)
}
