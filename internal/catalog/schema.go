package catalog

import (
	"errors"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// Bounds of a schema.
const (
	maxSchema     = 64 << 10 // bytes
	maxNesting    = 8
	maxProperties = 200 // at all levels together
)

// Schema is a checked schema of the supported subset of JSON Schema 2020-12,
// whose root is an object.
type Schema struct {
	tree     map[string]any
	compiled *jsonschema.Schema
}

// name is what a property may be called: a CEL identifier.
var name = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)

// formats are those that values must meet; others are remarks.
var formats = []string{"uri", "uuid", "email", "date-time"}

// keywords are the supported ones, each with its check: the keyword's value,
// its schema, and the path of the value.
var keywords map[string]func(*checker, any, map[string]any, string)

func init() { // the checks refer to the table
	keywords = map[string]func(*checker, any, map[string]any, string){
		"type":                 (*checker).typeName,
		"properties":           (*checker).properties,
		"required":             (*checker).required,
		"items":                func(c *checker, v any, _ map[string]any, at string) { c.schema(v, at) },
		"additionalProperties": (*checker).additional,
		"title":                wants[string]("a string"),
		"description":          wants[string]("a string"),
		"default":              (*checker).typed,
		"const":                (*checker).typed,
		"enum":                 (*checker).enum,
		"readOnly":             wants[bool]("true or false"),
		"writeOnly":            wants[bool]("true or false"),
		"pattern":              (*checker).pattern,
		"format":               wants[string]("a string"),
		"minLength":            (*checker).length,
		"maxLength":            (*checker).length,
		"minItems":             (*checker).length,
		"maxItems":             (*checker).length,
		"minimum":              (*checker).number,
		"maximum":              (*checker).number,
	}
}

// parseSchema checks a schema and returns it ready for use. What is wrong is
// added to findings under the path at, and the schema is nil.
func parseSchema(raw []byte, at string, findings *Findings) *Schema {
	if len(raw) > maxSchema {
		findings.add(at, "must be at most %d bytes", maxSchema)
		return nil
	}
	v, err := parse(raw)
	if err != nil {
		findings.add(at, "must be valid JSON")
		return nil
	}
	before := len(*findings)
	c := checker{findings: findings}
	c.schema(v, at)
	tree, _ := v.(map[string]any)
	if tree["type"] != "object" && tree != nil {
		findings.add(join(at, "type"), "the root must be an object")
	}
	if c.count > maxProperties {
		findings.add(at, "must have at most %d properties", maxProperties)
	}
	if len(*findings) > before {
		return nil
	}
	s, err := compile(tree)
	if err != nil {
		findings.add(at, "is not a valid schema")
		return nil
	}
	s.defaults(s.tree, at, findings)
	if len(*findings) > before {
		return nil
	}
	return s
}

// compile makes the validator of a checked tree, of the keywords that assert
// something about values.
func compile(tree map[string]any) (*Schema, error) {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(jsonschema.SchemeURLLoader{}) // nothing is ever fetched
	if err := c.AddResource("mem:schema", assertions(tree)); err != nil {
		return nil, err
	}
	compiled, err := c.Compile("mem:schema")
	return &Schema{tree: tree, compiled: compiled}, err
}

// assertions returns a checked tree without its remarks, and without what the
// server fills in.
func assertions(tree map[string]any) map[string]any {
	out := maps.Clone(tree)
	for _, remark := range []string{"title", "description", "default", "readOnly", "writeOnly"} {
		delete(out, remark)
	}
	if f, ok := out["format"].(string); ok && !slices.Contains(formats, f) {
		delete(out, "format")
	}
	if p, ok := out["properties"].(map[string]any); ok {
		properties := map[string]any{}
		for name, sub := range p {
			properties[name] = assertions(sub.(map[string]any))
		}
		out["properties"] = properties
	}
	if names, ok := out["required"].([]any); ok {
		out["required"] = slices.DeleteFunc(slices.Clone(names), func(n any) bool {
			return flag(property(tree, n.(string)), "readOnly")
		})
	}
	for _, keyword := range []string{"items", "additionalProperties"} {
		if sub, ok := out[keyword].(map[string]any); ok {
			out[keyword] = assertions(sub)
		}
	}
	return out
}

// property returns the schema of a property, or nil.
func property(tree map[string]any, name string) map[string]any {
	properties, _ := tree["properties"].(map[string]any)
	p, _ := properties[name].(map[string]any)
	return p
}

// flag returns a Boolean keyword of a schema.
func flag(tree map[string]any, keyword string) bool { return tree[keyword] == true }

// Properties returns the names of the root's properties, in order.
func (s *Schema) Properties() []string {
	properties, _ := s.tree["properties"].(map[string]any)
	return sorted(properties)
}

// Has reports whether the root has the property.
func (s *Schema) Has(name string) bool { return property(s.tree, name) != nil }

// Requires reports whether the root requires the property.
func (s *Schema) Requires(name string) bool {
	names, _ := s.tree["required"].([]any)
	return slices.Contains(names, any(name))
}

// WriteOnly reports whether any part of the property is write-only: a secret.
func (s *Schema) WriteOnly(name string) bool { return holds(property(s.tree, name), "writeOnly") }

// holds reports whether a schema or any below it has the Boolean keyword set.
func holds(tree map[string]any, keyword string) bool {
	if flag(tree, keyword) {
		return true
	}
	properties, _ := tree["properties"].(map[string]any)
	for _, sub := range properties {
		if holds(sub.(map[string]any), keyword) {
			return true
		}
	}
	for _, below := range []string{"items", "additionalProperties"} {
		if sub, ok := tree[below].(map[string]any); ok && holds(sub, keyword) {
			return true
		}
	}
	return false
}

// Complete returns the values without what the server fills in, and with the
// defaults of what is missing. The values given stay as they are.
func (s *Schema) Complete(v Values) Values { return complete(s.tree, v) }

func complete(tree map[string]any, v map[string]any) map[string]any {
	out := map[string]any{}
	maps.Copy(out, v)
	properties, _ := tree["properties"].(map[string]any)
	for name, sub := range properties {
		p := sub.(map[string]any)
		if flag(p, "readOnly") {
			delete(out, name)
		}
		if fallback, ok := p["default"]; ok {
			if _, given := out[name]; !given {
				out[name] = fallback
			}
		}
		if object, ok := out[name].(map[string]any); ok {
			out[name] = complete(p, object)
		}
	}
	return out
}

// Validate adds to findings what is wrong with the values, under the path at.
// It repeats no value: some are secret.
func (s *Schema) Validate(v Values, at string, findings *Findings) {
	validate(s.compiled, map[string]any(v), at, findings)
}

func validate(s *jsonschema.Schema, v any, at string, findings *Findings) {
	var wrong *jsonschema.ValidationError
	if errors.As(s.Validate(v), &wrong) {
		explain(wrong, at, findings)
	}
}

func explain(e *jsonschema.ValidationError, at string, findings *Findings) {
	for _, cause := range e.Causes {
		explain(cause, at, findings)
	}
	if len(e.Causes) > 0 {
		return
	}
	path := at
	for _, part := range e.InstanceLocation {
		if _, err := strconv.Atoi(part); err == nil {
			path += "[" + part + "]"
			continue
		}
		path = join(path, part)
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, missing := range k.Missing {
			findings.add(join(path, missing), "is required")
		}
	case *kind.AdditionalProperties:
		for _, extra := range k.Properties {
			findings.add(join(path, extra), "is not a property here")
		}
	case *kind.Type:
		findings.add(path, "must be of type %s", strings.Join(k.Want, " or "))
	case *kind.Enum:
		findings.add(path, "must be one of the allowed values")
	case *kind.Const:
		findings.add(path, "must be the one allowed value")
	case *kind.Pattern:
		findings.add(path, "must match the pattern %s", k.Want)
	case *kind.Format:
		findings.add(path, "must be a valid %s", k.Want)
	case *kind.MinLength:
		findings.add(path, "must have at least %d characters", k.Want)
	case *kind.MaxLength:
		findings.add(path, "must have at most %d characters", k.Want)
	case *kind.MinItems:
		findings.add(path, "must have at least %d items", k.Want)
	case *kind.MaxItems:
		findings.add(path, "must have at most %d items", k.Want)
	default:
		findings.add(path, "must meet %s", strings.Join(e.ErrorKind.KeywordPath(), "/"))
	}
}

// defaults checks that every default is a value of its own schema.
func (s *Schema) defaults(tree map[string]any, at string, findings *Findings) {
	if v, ok := tree["default"]; ok {
		if own, err := compile(tree); err == nil {
			validate(own.compiled, v, join(at, "default"), findings)
		}
	}
	properties, _ := tree["properties"].(map[string]any)
	for _, name := range sorted(properties) {
		s.defaults(properties[name].(map[string]any), join(join(at, "properties"), name), findings)
	}
	for _, below := range []string{"items", "additionalProperties"} {
		if sub, ok := tree[below].(map[string]any); ok {
			s.defaults(sub, join(at, below), findings)
		}
	}
}

// checker walks a schema that is not trusted.
type checker struct {
	findings *Findings
	depth    int
	count    int // of properties
}

func (c *checker) schema(v any, at string) {
	tree, ok := v.(map[string]any)
	if !ok {
		c.findings.add(at, "must be a schema, which is an object")
		return
	}
	if c.depth++; c.depth > maxNesting {
		c.findings.add(at, "schemas must not be nested deeper than %d", maxNesting)
		return
	}
	defer func() { c.depth-- }()
	for _, keyword := range sorted(tree) {
		check, supported := keywords[keyword]
		if !supported {
			c.findings.add(join(at, keyword), "the keyword is not supported")
			continue
		}
		check(c, tree[keyword], tree, join(at, keyword))
	}
	c.pair(tree, "minLength", "maxLength", at)
	c.pair(tree, "minItems", "maxItems", at)
	c.pair(tree, "minimum", "maximum", at)
	if flag(tree, "readOnly") && flag(tree, "writeOnly") {
		c.findings.add(at, "must not be both readOnly and writeOnly")
	}
}

// wants is the check of a keyword whose value has one Go type.
func wants[T any](what string) func(*checker, any, map[string]any, string) {
	return func(c *checker, v any, _ map[string]any, at string) {
		if _, ok := v.(T); !ok {
			c.findings.add(at, "must be %s", what)
		}
	}
}

func (c *checker) typeName(v any, _ map[string]any, at string) {
	switch v {
	case "object", "array", "string", "integer", "number", "boolean", "null":
	default:
		c.findings.add(at, "must be one of object, array, string, integer, number, boolean, null")
	}
}

func (c *checker) properties(v any, _ map[string]any, at string) {
	properties, ok := v.(map[string]any)
	if !ok {
		c.findings.add(at, "must be an object")
		return
	}
	c.count += len(properties)
	for _, n := range sorted(properties) {
		if !name.MatchString(n) {
			c.findings.add(join(at, n), "a name must be a letter or underscore, then at most 62 letters, digits and underscores")
		}
		c.schema(properties[n], join(at, n))
	}
}

func (c *checker) required(v any, tree map[string]any, at string) {
	names, ok := v.([]any)
	if !ok {
		c.findings.add(at, "must be a list of names")
		return
	}
	seen := map[string]bool{}
	for i, n := range names {
		field := at + "[" + strconv.Itoa(i) + "]"
		name, ok := n.(string)
		switch {
		case !ok:
			c.findings.add(field, "must be a name")
		case property(tree, name) == nil:
			c.findings.add(field, "is not among the properties")
		case seen[name]:
			c.findings.add(field, "is there twice")
		}
		seen[name] = true
	}
}

func (c *checker) additional(v any, _ map[string]any, at string) {
	if _, ok := v.(bool); !ok {
		c.schema(v, at)
	}
}

func (c *checker) enum(v any, tree map[string]any, at string) {
	values, ok := v.([]any)
	if !ok || len(values) == 0 {
		c.findings.add(at, "must be a list of at least one value")
		return
	}
	for i, value := range values {
		c.typed(value, tree, at+"["+strconv.Itoa(i)+"]")
	}
}

// typed checks that a value has the type of its schema.
func (c *checker) typed(v any, tree map[string]any, at string) {
	if t, ok := tree["type"].(string); ok && !isType(v, t) {
		c.findings.add(at, "must be of type %s", t)
	}
}

func isType(v any, t string) bool {
	switch v := v.(type) {
	case nil:
		return t == "null"
	case bool:
		return t == "boolean"
	case string:
		return t == "string"
	case int64:
		return t == "integer" || t == "number"
	case float64:
		return t == "number" || t == "integer" && v == math.Trunc(v)
	case []any:
		return t == "array"
	}
	return t == "object"
}

func (c *checker) pattern(v any, _ map[string]any, at string) {
	text, ok := v.(string)
	if !ok {
		c.findings.add(at, "must be a string")
		return
	}
	if _, err := regexp.Compile(text); err != nil {
		c.findings.add(at, "must be a regular expression of the RE2 syntax")
	}
}

func (c *checker) length(v any, _ map[string]any, at string) {
	if n, ok := v.(int64); !ok || n < 0 || n > math.MaxInt32 {
		c.findings.add(at, "must be a whole number, 0 or more")
	}
}

func (c *checker) number(v any, _ map[string]any, at string) {
	if !isType(v, "number") {
		c.findings.add(at, "must be a number")
	}
}

func (c *checker) pair(tree map[string]any, low, high, at string) {
	min, ok := asFloat(tree[low])
	max, also := asFloat(tree[high])
	if ok && also && min > max {
		c.findings.add(join(at, low), "must not be above %s", high)
	}
}

func asFloat(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// equal reports whether two JSON values are the same; 1 and 1.0 are.
func equal(a, b any) bool {
	x, ok := asFloat(a)
	y, also := asFloat(b)
	if ok && also {
		return x == y
	}
	return reflect.DeepEqual(a, b)
}

// JSON writes the schema as it was given.
func (s *Schema) JSON() ([]byte, error) { return Values(s.tree).JSON() }
