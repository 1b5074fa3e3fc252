package policy

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	internal "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/go-json-experiment/json/jsontext"
)

// Effect is what a matching policy does.
type Effect string

// The effects.
const (
	Permit Effect = "permit"
	Forbid Effect = "forbid"
)

// The two forms a policy comes in, named as the members that carry them.
const (
	textForm = "cedar_raw"
	jsonForm = "cedar_json"
)

// Document is exactly one Cedar policy in both its forms. It is immutable.
type Document struct {
	policy *cedar.Policy
	form   string // the form it was given in, which errors blame
	text   string
	json   []byte
	sha    string
}

// ParseText reads one policy from Cedar text. It fails with an Invalid error
// on the field cedar_raw, with one detail per finding, when text is over the
// limits, is not Cedar, holds a template, or holds none or several policies.
// Schemas are not consulted: see [Schema.Validate].
func ParseText(text string) (*Document, error) { return parse(textForm, text) }

// ParseJSON reads one policy from Cedar policy JSON. It fails as [ParseText]
// does, on the field cedar_json. Annotations and the members of records are
// put in the order of their names, since JSON gives them none.
func ParseJSON(raw []byte) (*Document, error) {
	if f := checkJSON(raw); f != nil {
		return nil, invalid(jsonForm, notCedar, *f)
	}
	var tree ast.Policy
	if err := tree.UnmarshalJSON(raw); err != nil {
		return nil, invalid(jsonForm, notCedar, jsonFinding(err))
	}
	nodes := (*internal.Policy)(&tree)
	if err := checkTree(nodes); err != nil {
		return nil, invalid(jsonForm, notCedar, finding{message: err.Error()})
	}
	sortNames(nodes)
	// The engine's trees from JSON hold literals that its validator panics on
	// (sets as values, for one); trees from text never do.
	return parse(jsonForm, string(tree.MarshalCedar()))
}

const notCedar = "must be one valid Cedar policy"

// sortNames orders annotations and record members, which the engine reads from
// JSON in random order. Annotation names and members are unique.
func sortNames(p *internal.Policy) {
	slices.SortFunc(p.Annotations, func(a, b internal.AnnotationType) int { return cmp.Compare(a.Key, b.Key) })
	for _, c := range p.Conditions {
		internal.Inspect(internal.NewNode(c.Body), func(n internal.IsNode) bool {
			if r, ok := n.(internal.NodeTypeRecord); ok {
				slices.SortFunc(r.Elements, func(a, b internal.RecordElementNode) int { return cmp.Compare(a.Key, b.Key) })
			}
			return true
		})
	}
}

// parse reads text, normalises it, and proves that the normal form still says
// the same: what is stored is the normal form, and what was reviewed is the
// text.
func parse(form, text string) (*Document, error) {
	first, f := compile(text)
	if f != nil {
		if form == jsonForm {
			f.line = 0 // a position in text that nobody has seen
		}
		return nil, invalid(form, notCedar, *f)
	}
	normal := string(first.MarshalCedar())
	policy, f := compile(normal)
	if f != nil {
		return nil, invalid(form, notCedar, finding{message: "in normal form: " + f.message})
	}
	meant, err := canonicalJSON(first)
	if err != nil {
		return nil, err
	}
	stored, err := canonicalJSON(policy)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(meant, stored) {
		return nil, invalid(form, notCedar, finding{message: "the policy has no stable normal form; write it more simply"})
	}
	return &Document{policy: policy, form: form, text: normal, json: stored, sha: hash(stored)}, nil
}

// compile parses and compiles the one policy in text, within the limits.
func compile(text string) (*cedar.Policy, *finding) {
	if f := checkText(text); f != nil {
		return nil, f
	}
	// Only the first statement, and without compiling it: checkText has seen
	// that there is no second one, and the tree is measured before anything
	// copies it.
	var tree ast.Policy
	if err := tree.UnmarshalCedar([]byte(text)); err != nil {
		f := syntaxFinding(err)
		return nil, &f
	}
	if err := checkTree((*internal.Policy)(&tree)); err != nil {
		return nil, &finding{message: err.Error()}
	}
	return cedar.NewPolicyFromAST(&tree), nil
}

// canonicalJSON is the policy's Cedar JSON in the form of RFC 8785.
func canonicalJSON(p *cedar.Policy) ([]byte, error) {
	raw, err := p.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("write policy as JSON: %w", err)
	}
	value := jsontext.Value(raw)
	if err := value.Canonicalize(); err != nil {
		return nil, fmt.Errorf("canonicalize policy: %w", err)
	}
	return value, nil
}

func hash(canonical []byte) string {
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:])
}

// Text returns the policy in normalised Cedar: without comments, with the
// engine's whitespace and parentheses.
func (d *Document) Text() string { return d.text }

// JSON returns the policy as canonical Cedar JSON (RFC 8785), a fresh copy.
func (d *Document) JSON() []byte { return bytes.Clone(d.json) }

// SHA returns the content hash: SHA-256 of JSON in lower-case hex. Policies
// that differ only in layout share it.
func (d *Document) SHA() string { return d.sha }

func annotation(p *cedar.Policy, name types.AnnotationKey) string {
	for _, a := range p.AST().Annotations {
		if a.Key == name {
			return string(a.Value)
		}
	}
	return ""
}

func effect(p *cedar.Policy) Effect {
	if p.Effect() == cedar.Permit {
		return Permit
	}
	return Forbid
}
