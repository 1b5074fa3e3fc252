package policy

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"deputy/internal/deputy"
	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
	"github.com/go-json-experiment/json/jsontext"
)

// DefaultSchema is the version that new zones start with: the newest.
const DefaultSchema = "2026-06-18"

// Schema is one dated version of the platform's Cedar schema. It is immutable
// and shared by all zones.
type Schema struct {
	version   string
	text      string
	json      []byte
	resolved  *resolved.Schema
	validator *validate.Validator
}

//go:embed schemas/*.cedarschema
var schemaFiles embed.FS

// schemas parses the shipped files on first use, oldest version first.
var schemas = sync.OnceValue(func() []*Schema {
	var all []*Schema
	names, err := fs.Glob(schemaFiles, "schemas/*.cedarschema")
	for _, name := range names {
		text, _ := schemaFiles.ReadFile(name)
		version := strings.TrimSuffix(strings.TrimPrefix(name, "schemas/"), ".cedarschema")
		var s *Schema
		s, err = newSchema(version, string(text))
		if err != nil {
			break
		}
		all = append(all, s)
	}
	if err != nil {
		panic(err) // a broken shipped file; the tests parse them all
	}
	return all
})

func newSchema(version, text string) (*Schema, error) {
	var parsed schema.Schema
	parsed.SetFilename(version)
	if err := parsed.UnmarshalCedar([]byte(text)); err != nil {
		return nil, fmt.Errorf("schema %s: %w", version, err)
	}
	r, err := parsed.Resolve()
	if err != nil {
		return nil, fmt.Errorf("schema %s: %w", version, err)
	}
	raw, err := parsed.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("schema %s: %w", version, err)
	}
	value := jsontext.Value(raw)
	if err := value.Canonicalize(); err != nil {
		return nil, fmt.Errorf("schema %s: %w", version, err)
	}
	return &Schema{version: version, text: text, json: value, resolved: r, validator: validate.New(r)}, nil
}

// Schemas returns every shipped schema, oldest version first.
func Schemas() []*Schema { return slices.Clone(schemas()) }

// LookupSchema returns the schema of the given version, or a NotFound error.
func LookupSchema(version string) (*Schema, error) {
	for _, s := range schemas() {
		if s.version == version {
			return s, nil
		}
	}
	return nil, deputy.Errorf(deputy.NotFound, "unknown schema version")
}

// Version returns the schema's date-shaped version, such as "2026-06-18".
func (s *Schema) Version() string { return s.version }

// Text returns the schema in Cedar schema syntax, as shipped.
func (s *Schema) Text() string { return s.text }

// JSON returns the schema as Cedar JSON, a fresh copy.
func (s *Schema) JSON() []byte { return slices.Clone(s.json) }

// Validate checks a document strictly: entity types, actions and members of
// enumerations are known, every attribute is proven present, branches have
// compatible types, and at least one request could match. It fails with an
// Invalid error on the field the document came in, one detail per finding in
// a stable order.
func (s *Schema) Validate(d *Document) error {
	tree := (*ast.Policy)(d.policy.AST())
	var findings []finding
	for _, err := range flatten(s.validator.Policy("", tree)) {
		findings = append(findings, finding{message: err.Error()})
	}
	for _, uid := range literals(tree) {
		if e, ok := s.resolved.Enums[uid.Type]; ok && !slices.Contains(e.Values, uid) {
			findings = append(findings, finding{message: fmt.Sprintf("`%s` is not a member of the enumeration `%s`", uid, uid.Type)})
		}
	}
	if len(findings) == 0 {
		return nil
	}
	return invalid(d.form, fmt.Sprintf("does not satisfy schema %s", s.version), findings...)
}

// flatten takes joined errors apart.
func flatten(err error) []error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, flatten(e)...)
		}
		return all
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// literals returns every entity that a policy names, in scope or conditions.
func literals(p *ast.Policy) []cedar.EntityUID {
	var all []cedar.EntityUID
	for _, scope := range []ast.IsScopeNode{p.Principal, p.Action, p.Resource} {
		switch n := scope.(type) {
		case ast.ScopeTypeEq:
			all = append(all, n.Entity)
		case ast.ScopeTypeIn:
			all = append(all, n.Entity)
		case ast.ScopeTypeInSet:
			all = append(all, n.Entities...)
		case ast.ScopeTypeIsIn:
			all = append(all, n.Entity)
		}
	}
	for _, c := range p.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			if v, ok := n.(ast.NodeValue); ok {
				if uid, ok := v.Value.(cedar.EntityUID); ok {
					all = append(all, uid)
				}
			}
			return true
		})
	}
	return all
}
