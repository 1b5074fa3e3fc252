package api_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// mark is in every text that generated bodies hold of their own: no refusal
// may repeat it.
const mark = "zqxhush"

// dice turns bytes into choices, so that a fuzzer can steer what is generated.
// Once they are used up, every choice is the first.
type dice struct {
	bytes []byte
	n     int
}

// of returns a number below n.
func (d *dice) of(n int) int {
	if d.n >= len(d.bytes) {
		return 0
	}
	d.n++
	v := int(d.bytes[d.n-1])
	if n > 256 && d.n < len(d.bytes) {
		v = v<<8 | int(d.bytes[d.n])
		d.n++
	}
	return v % n
}

// once in n times it is true; never when the bytes are used up.
func (d *dice) once(n int) bool { return d.of(n) == n-1 }

// pick returns one of the choices.
func pick[T any](d *dice, choices ...T) T { return choices[d.of(len(choices))] }

// generator writes bodies that fit a schema, or nearly do.
type generator struct {
	described
	*dice
	known map[string]any // values that are taken there, by flat path
	ids   []string
	out   bytes.Buffer
}

// generate returns a body for the operation. Its values are like those of the
// sample where that has any.
func generate(op described, sample string, ids []string, d *dice) string {
	g := &generator{described: op, dice: d, known: map[string]any{}, ids: ids}
	var v any
	if json.Unmarshal([]byte(sample), &v) == nil {
		g.learn("", v)
	}
	schema, _ := op.bodySchema()
	g.value(schema, "", 0)
	body := g.out.String()
	if strings.Contains(body, `"cedar_`) {
		body = strings.ReplaceAll(body, mark, "policy") // what is wrong in a policy is shown
	}
	if d.once(40) {
		return body[:d.of(len(body)+1)]
	}
	return body + pick(d, "", "", "", "", "", "", "", " ", "\n{}", "\xff", "]")
}

// learn remembers the values of a sample by their flat paths.
func (g *generator) learn(path string, v any) {
	g.known[path] = v
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			g.learn(strings.TrimPrefix(path+"."+name, "."), member)
		}
	case []any:
		for _, item := range v {
			g.learn(path+"[]", item)
		}
	}
}

// value writes a value of the schema, or one that nearly is.
func (g *generator) value(schema any, path string, depth int) {
	s := g.deref(schema)
	if g.once(24) || depth > maxNesting {
		g.out.WriteString(g.odd())
		return
	}
	if known, ok := g.known[path]; ok && g.of(3) > 0 {
		if _, object := known.(map[string]any); !object {
			g.json(known)
			return
		}
	}
	if variants := list(s["oneOf"]); len(variants) > 0 {
		g.value(pick(g.dice, variants...), path, depth+1)
		return
	}
	if values := list(s["enum"]); len(values) > 0 && !g.once(16) {
		g.json(pick(g.dice, values...))
		return
	}
	kinds := list(s["type"])
	if kind, ok := s["type"].(string); ok {
		kinds = []any{kind}
	}
	if len(kinds) == 0 {
		kinds = []any{"object", "string", "array", "null", "boolean", "integer"}
	}
	switch pick(g.dice, kinds...) {
	case "object":
		g.object(s, path, depth)
	case "array":
		g.array(s, path, depth)
	case "string":
		g.json(g.text(s, path))
	case "integer", "number":
		g.number(s)
	case "boolean":
		g.out.WriteString(pick(g.dice, "true", "false"))
	default:
		g.out.WriteString("null")
	}
}

// odd returns a value that fits nowhere in particular.
func (g *generator) odd() string {
	return pick(g.dice, `null`, `true`, `-1`, `1e400`, `1.5`, `""`, `[]`, `{}`, `[[[[{"a":[null]}]]]]`, `"`+mark+`"`, `"\ud800"`, `"\u0000"`,
		`9223372036854775808`, `{"`+"a"+`":1,"a":2}`, strings.Repeat(`[`, 2000)+strings.Repeat(`]`, 2000), `nul`, `{"type":"token"}`)
}

func (g *generator) json(v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts and numbers
	}
	g.out.Write(raw)
}

func (g *generator) object(s map[string]any, path string, depth int) {
	required := list(s["required"])
	properties, _ := s["properties"].(map[string]any)
	g.out.WriteByte('{')
	first := true
	member := func(name string, schema any) {
		if !first {
			g.out.WriteByte(',')
		}
		first = false
		g.json(name)
		g.out.WriteByte(':')
		g.value(schema, strings.TrimPrefix(path+"."+name, "."), depth+1)
	}
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		wanted := slices.Contains(required, any(name))
		if wanted && !g.once(16) || !wanted && g.of(3) == 1 {
			member(name, properties[name])
		}
		if g.once(64) {
			member(name, properties[name]) // perhaps once more
		}
	}
	if values, ok := s["additionalProperties"].(map[string]any); ok {
		for range g.of(4) {
			member("k"+strconv.Itoa(g.of(3)), values)
		}
	}
	if g.once(12) {
		member(pick(g.dice, "unheard_of", "Name", "__proto__", "a\nb", "id", "organization_id", "owner_type"), nil)
	}
	g.out.WriteByte('}')
}

func (g *generator) array(s map[string]any, path string, depth int) {
	n := g.of(4)
	if g.once(32) {
		n = 120
	}
	g.out.WriteByte('[')
	for i := range n {
		if i > 0 {
			g.out.WriteByte(',')
		}
		g.value(s["items"], path+"[]", depth+1)
	}
	g.out.WriteByte(']')
}

func (g *generator) number(s map[string]any) {
	low, high := bound(s["minimum"], 0), bound(s["maximum"], 1000)
	g.out.WriteString(pick(g.dice, low, high, low+".0", "-"+high, high+"0", "1.5", "0", "-0", "1e2"))
}

// bound returns a bound of a schema.
func bound(v any, otherwise int) string {
	if n, ok := v.(json.Number); ok {
		return n.String()
	}
	return strconv.Itoa(otherwise)
}

// text returns a text of the schema, or one just beyond its bounds.
func (g *generator) text(s map[string]any, path string) string {
	if reference.MatchString(path) && g.of(4) > 0 {
		return pick(g.dice, append(g.ids, unknown)...)
	}
	format, _ := s["format"].(string)
	switch format {
	case "uri":
		return pick(g.dice, "https://"+mark+".test/a?b=c#d", "http://localhost:1/"+mark, "urn:"+mark, mark, "https://", "javascript:"+mark, "https://"+mark+":hunter2@x.test", "https://x.test/"+strings.Repeat("a", 3000))
	case "email":
		return pick(g.dice, mark+"@example.com", mark, mark+"@", "a@b@c", "<"+mark+"@x.test>", mark+"@example.com\r\nBcc: x@y.test")
	case "date-time":
		return pick(g.dice, "2030-01-02T03:04:05Z", "2030-01-02", mark, "0000-00-00T00:00:00Z")
	}
	low, _ := strconv.Atoi(bound(s["minLength"], 0))
	high, _ := strconv.Atoi(bound(s["maxLength"], 300))
	return pick(g.dice, mark, mark+" and more", strings.Repeat("x", low), strings.Repeat("x", max(0, low-1)), mark+strings.Repeat("x", max(0, high-len(mark))),
		mark+strings.Repeat("x", high), "<b>"+mark+"</b>", mark+"\x07", mark+" ", strings.Repeat("ü", high), mark+" ", mark+"😀", mark+"\"}\\")
}

// internals matches what a refusal must not say: names of the program's types,
// and of what lies under it.
var internals = regexp.MustCompile(`\b(api|deputy|huma|json|jsontext|reflect|policy|store|cedar|types|ast|eval|schema|validate|keys|vault|url|mime|strconv)\.[A-Z(]|` +
	`\bGo (type|value|struct)|\bstruct \{|\binterface ?\{|\bmap\[string\]|goroutine|runtime error|\bsql\b|SQLITE|constraint failed|pq:|\bpgx\b|\.go:\d`)
