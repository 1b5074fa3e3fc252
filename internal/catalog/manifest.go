package catalog

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"deputy/internal/deputy"
)

// Manifest is what an author writes of a package, and what a release freezes.
type Manifest struct {
	Kind        string                    `json:"kind"`
	Name        string                    `json:"name"`
	Description string                    `json:"description,omitzero"`
	IconURL     string                    `json:"icon_url,omitzero"`
	Inputs      *Binding                  `json:"inputs,omitzero"`
	Outputs     *Binding                  `json:"outputs,omitzero"`
	Links       []Link                    `json:"links,omitempty"`
	Properties  map[string]jsontext.Value `json:"properties,omitempty"`
	Tags        []string                  `json:"tags,omitempty"`
}

// Binding is a schema and the expression that belongs to it: of the inputs, a
// map of the kind's inputs made from the installer's; of the outputs, a map of
// what the schema describes.
type Binding struct {
	Schema   jsontext.Value `json:"schema,omitzero"`
	Bindings string         `json:"bindings,omitzero"`
}

// Bounds of a manifest, in characters, items or bytes.
const (
	maxName        = 128
	maxDescription = 1024
	maxIcon        = 512
	maxLinks       = 50
	maxTags        = 50
	maxTag         = 64
	maxAnnotations = 32 << 10
)

// ParseManifest reads a manifest as it was stored.
func ParseManifest(raw []byte) (*Manifest, error) {
	m := new(Manifest)
	if err := json.Unmarshal(raw, m); err != nil {
		return nil, deputy.Errorf(deputy.Invalid, "must be a manifest").Because(err)
	}
	return m, nil
}

// JSON writes the manifest.
func (m *Manifest) JSON() ([]byte, error) { return json.Marshal(m, json.Deterministic(true)) }

// SHA returns the hash of the manifest: SHA-256, in lower-case hexadecimal, of
// its RFC 8785 form. What is absent is left out, lists keep their order, and
// expressions count as the text they are.
func (m *Manifest) SHA() (string, error) { return hashOf(m) }

// Normalize puts tags into the form that is stored: trimmed, in lower case.
func (m *Manifest) Normalize() {
	for i, t := range m.Tags {
		m.Tags[i] = strings.ToLower(strings.TrimSpace(t))
	}
}

// Release is a manifest that may be released: every part of it is checked and
// compiled. It is immutable.
type Release struct {
	Manifest Manifest
	Kind     *Kind
	inputs   *Schema // what the author asks the installer for; nil: nothing is said of it
	left     *Schema // what the installer gives in that case
	outputs  *Schema
	input    *Expression // nil: none
	output   *Expression
	entries  []entry // of input
}

// Check reads a manifest as something to be released. What is wrong with it,
// one finding each with the path in the manifest as field, makes an Invalid
// error, and nothing may be stored.
func (c *Catalog) Check(m *Manifest) (*Release, error) {
	r, findings := c.check(m)
	return r, findings.Err("the package cannot be released as it is")
}

// Findings returns what Check would find, none when the manifest may be
// released.
func (c *Catalog) Findings(m *Manifest) Findings {
	_, findings := c.check(m)
	return findings
}

func (c *Catalog) check(m *Manifest) (*Release, Findings) {
	findings := Findings{}
	m.checkFields(&findings)
	r := &Release{Manifest: *m, Kind: c.Kind(m.Kind)}
	if r.Kind == nil {
		findings.add("kind", "is not a kind that is known here")
	}
	if m.Inputs != nil {
		if m.Inputs.Schema != nil {
			r.inputs = parseSchema(m.Inputs.Schema, "inputs.schema", &findings)
		}
		if m.Inputs.Bindings != "" {
			r.input = parseExpression(m.Inputs.Bindings, pkg, "inputs.bindings", &findings)
		}
	}
	if m.Outputs != nil {
		r.checkOutputs(&findings)
	}
	if r.Kind != nil && len(findings) == 0 {
		r.checkInputs(&findings)
	}
	m.checkTags(&findings)
	m.checkProperties(&findings)
	return r, findings
}

func (m *Manifest) checkFields(findings *Findings) {
	text := func(field, s string, least, most int) {
		if err := deputy.SafeText(field, s, least, most); err != nil {
			findings.take(err)
		}
	}
	text("name", m.Name, 1, maxName)
	text("description", m.Description, 0, maxDescription)
	if utf8.RuneCountInString(m.IconURL) > maxIcon {
		findings.add("icon_url", "must have at most %d characters", maxIcon)
	}
	if u, err := url.Parse(m.IconURL); m.IconURL != "" && (err != nil || u.Scheme != "https" && u.Scheme != "data") {
		findings.add("icon_url", "must be an https or data URL")
	}
	if len(m.Links) > maxLinks {
		findings.add("links", "must be at most %d", maxLinks)
	}
	for i, l := range m.Links {
		l.check(indexed("links", i), findings)
	}
}

func (l *Link) check(at string, findings *Findings) {
	if l.Rel == "" {
		findings.add(at+".rel", "is required")
	}
	u, err := url.Parse(l.Href)
	if l.Href == "" || err != nil || u.Scheme != "" && u.Scheme != "https" && u.Scheme != "http" ||
		u.Scheme == "" && l.Href[0] != '#' && l.Href[0] != '/' {
		findings.add(at+".href", "must be #name, an absolute path, or an http or https URL")
	}
}

var tag = regexp.MustCompile(`^[a-z0-9_.:-]+$`)

func (m *Manifest) checkTags(findings *Findings) {
	if len(m.Tags) > maxTags {
		findings.add("tags", "must be at most %d", maxTags)
	}
	for i, t := range m.Tags {
		switch {
		case !tag.MatchString(t) || len(t) > maxTag:
			findings.add(indexed("tags", i), "must have 1 to %d of the characters a-z 0-9 - _ . :", maxTag)
		case slices.Index(m.Tags, t) < i:
			findings.add(indexed("tags", i), "is there twice")
		}
	}
}

// urn is the form of a property's name (RFC 8141 §2).
var urn = regexp.MustCompile(`^urn:[A-Za-z0-9][A-Za-z0-9-]{0,30}[A-Za-z0-9]:[!-~]+$`)

func (m *Manifest) checkProperties(findings *Findings) {
	total := 0
	for _, name := range sorted(m.Properties) {
		total += len(name) + len(m.Properties[name])
		at := "properties." + name
		declared := vocabulary()[name]
		switch {
		case !urn.MatchString(name):
			findings.add(at, "must be named by a URN")
		case strings.Contains(name, "draft/"):
			findings.add(at, "experimental properties are not for packages")
		case declared == nil:
		case !slices.Contains(declared.subjects, "package"):
			findings.add(at, "does not belong to a package")
		default:
			v, err := parse(m.Properties[name])
			if err != nil {
				findings.add(at, "must be valid JSON")
				continue
			}
			validate(declared.schema, v, at, findings)
		}
	}
	if total > maxAnnotations {
		findings.add("properties", "must be at most %d bytes", maxAnnotations)
	}
}

// checkInputs checks how the installer's values and the author's become the
// inputs of the kind.
func (r *Release) checkInputs(findings *Findings) {
	set := map[string]bool{}
	var refs []reference
	if r.input != nil {
		r.entries = r.input.literal("inputs.bindings", findings)
		refs = r.input.references(r.input.tree.NativeRep().Expr())
	}
	for _, e := range r.entries {
		set[e.name] = true
	}
	if r.inputs == nil {
		r.leave(set, refs)
	}
	for _, e := range r.entries {
		r.checkEntry(e, join("inputs.bindings", e.name), findings)
	}
	for _, ref := range refs {
		r.checkReference(ref, findings)
	}
	offers := r.offers()
	for _, name := range r.Kind.Inputs.Properties() {
		if r.Kind.Inputs.Requires(name) && !set[name] && !offers.Has(name) {
			findings.add("inputs", "the kind needs %s: bind it, or ask the installer for it", name)
		}
		if !set[name] && offers.Has(name) && offers.WriteOnly(name) != r.Kind.Inputs.WriteOnly(name) {
			findings.add("inputs.schema.properties."+name, "must be writeOnly exactly when the kind's input is")
		}
	}
}

// leave makes the schema of what the installer gives where the author says
// nothing of it: the kind's inputs, but for those that the author binds and
// does not refer to.
func (r *Release) leave(bound map[string]bool, refs []reference) {
	used := map[string]bool{}
	for _, ref := range refs {
		if len(ref.path) > 1 {
			used[ref.path[1]] = true
		}
	}
	tree, properties := maps.Clone(r.Kind.Inputs.tree), map[string]any{}
	delete(tree, "required")
	var required []any
	for _, name := range r.Kind.Inputs.Properties() {
		if bound[name] && !used[name] {
			continue
		}
		properties[name] = property(r.Kind.Inputs.tree, name)
		if r.Kind.Inputs.Requires(name) {
			required = append(required, name)
		}
	}
	tree["properties"] = properties
	if required != nil {
		tree["required"] = required
	}
	left, err := compile(tree)
	if err != nil {
		panic(err) // a part of a schema that compiles
	}
	r.left = left
}

// offers is what the installer may give.
func (r *Release) offers() *Schema {
	if r.inputs != nil {
		return r.inputs
	}
	return r.left
}

// checkEntry checks one input that the author binds.
func (r *Release) checkEntry(e entry, at string, findings *Findings) {
	if !r.Kind.Inputs.Has(e.name) {
		findings.add(at, "is not an input of the kind")
		return
	}
	secret := r.Kind.Inputs.WriteOnly(e.name)
	refs := r.input.references(e.value)
	for _, ref := range refs {
		if len(ref.path) < 2 || ref.test {
			continue
		}
		if r.offers().WriteOnly(ref.path[1]) != secret {
			findings.add(at, "a writeOnly input may feed only a writeOnly input of the kind, and such a one only by it")
		}
	}
	if len(refs) > 0 {
		return
	}
	if secret {
		findings.add(at, "a secret cannot be part of a package")
		return
	}
	v, err := r.input.constant(bounded, e.value)
	if err != nil {
		findings.add(at, "%v", err)
		return
	}
	if holdsMarker(v) {
		findings.add(at, "an object must not have the member %s", marker)
	}
	if v == nil {
		return
	}
	own, err := compile(property(r.Kind.Inputs.tree, e.name))
	if err == nil {
		validate(own.compiled, v, at, findings)
	}
}

// checkReference checks one use of the installer's values.
func (r *Release) checkReference(ref reference, findings *Findings) {
	const at = "inputs.bindings"
	if len(ref.path) < 2 || ref.path[0] != "inputs" {
		findings.add(at, "may refer to pkg.inputs.NAME and nothing else")
		return
	}
	name := ref.path[1]
	p := property(r.offers().tree, name)
	if p == nil {
		findings.add(at, "pkg.inputs.%s is not in the schema of the inputs", name)
		return
	}
	_, fallback := p["default"]
	if !ref.test && !fallback && !ref.guarded["inputs."+name] && (!r.offers().Requires(name) || flag(p, "readOnly")) {
		findings.add(at, "pkg.inputs.%s may be missing: ask with has(pkg.inputs.%s), or give it a default", name, name)
	}
}

// checkOutputs checks what an install shows.
func (r *Release) checkOutputs(findings *Findings) {
	out := r.Manifest.Outputs
	if out.Schema == nil {
		findings.add("outputs.schema", "is required")
	} else if r.outputs = parseSchema(out.Schema, "outputs.schema", findings); r.outputs != nil && holds(r.outputs.tree, "writeOnly") {
		findings.add("outputs.schema", "must hold nothing that is writeOnly: outputs are shown")
	}
	if out.Bindings == "" {
		findings.add("outputs.bindings", "is required")
		return
	}
	if r.output = parseExpression(out.Bindings, entities, "outputs.bindings", findings); r.output == nil || r.outputs == nil || r.Kind == nil {
		return
	}
	var names []string
	for _, e := range r.output.literal("outputs.bindings", findings) {
		names = append(names, e.name)
		if !r.outputs.Has(e.name) {
			findings.add(join("outputs.bindings", e.name), "is not in the schema of the outputs")
		}
	}
	for _, name := range r.outputs.Properties() {
		if !slices.Contains(names, name) {
			findings.add(join("outputs.bindings", name), "is missing")
		}
	}
	for _, ref := range r.output.references(r.output.tree.NativeRep().Expr()) {
		r.checkOutputReference(ref, findings)
	}
}

func (r *Release) checkOutputReference(ref reference, findings *Findings) {
	const at = "outputs.bindings"
	switch {
	case len(ref.path) < 2 && !ref.test:
		findings.add(at, "may refer to entities.inputs.NAME and to what an entity shows")
	case ref.path[0] != "inputs":
		r.Kind.checkOutput(ref, at, findings)
	case !r.Kind.Inputs.Has(ref.path[1]):
		findings.add(at, "entities.inputs.%s is not an input of the kind", ref.path[1])
	case r.Kind.Inputs.WriteOnly(ref.path[1]):
		findings.add(at, "entities.inputs.%s is a secret, and outputs are shown", ref.path[1])
	}
}
