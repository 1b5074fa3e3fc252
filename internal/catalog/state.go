package catalog

import (
	"maps"
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
)

// InputState says what an installer of a release has to give, and what the
// author decided. It is computed, never stored.
type InputState struct {
	// Schema is the schema of the kind's inputs with what the author decided.
	Schema map[string]any
	// Bindings has, for each input that the author binds, its value, or a marker
	// that names the installer's input it comes from.
	Bindings Values
}

// marker is the member that says that a value comes from the installer.
const marker = "$input"

// InputState returns the state of a release's inputs.
func (r *Release) InputState() *InputState {
	s := &InputState{Bindings: Values{}}
	for _, e := range r.entries {
		s.Bindings[e.name] = r.shown(e.value)
	}
	s.Schema = r.effective()
	return s
}

// shown returns an expression as its value, or as a marker where the value
// comes from the installer.
func (r *Release) shown(e ast.Expr) any {
	refs := r.input.references(e)
	if len(refs) == 0 {
		v, err := r.input.constant(bounded, e)
		if err != nil {
			return nil // Check has evaluated it, so it has a value
		}
		return v
	}
	if path, test, ok := r.input.path(e); ok && !test {
		return map[string]any{marker: dotted(path)}
	}
	switch e.Kind() {
	case ast.ListKind:
		var out []any
		for _, item := range e.AsList().Elements() {
			out = append(out, r.shown(item))
		}
		return out
	case ast.MapKind:
		out := map[string]any{}
		for _, m := range e.AsMap().Entries() {
			key, _ := m.AsMapEntry().Key().AsLiteral().(types.String)
			out[string(key)] = r.shown(m.AsMapEntry().Value())
		}
		return out
	}
	return map[string]any{marker: dotted(refs[0].path), "$expr": r.input.source(e)}
}

// dotted returns a path below pkg without the inputs in front.
func dotted(path []string) string {
	out := ""
	for _, part := range path[min(1, len(path)):] {
		out = join(out, part)
	}
	return out
}

// holdsMarker reports whether a value has the marker as a member anywhere.
func holdsMarker(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if name == marker || holdsMarker(member) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, holdsMarker)
	}
	return false
}

// effective returns the kind's schema with what the author decided in it, and
// with those inputs of the installer that are no inputs of the kind.
func (r *Release) effective() map[string]any {
	out := maps.Clone(r.Kind.Inputs.tree)
	properties := map[string]any{}
	for _, name := range r.Kind.Inputs.Properties() {
		properties[name] = property(r.Kind.Inputs.tree, name)
	}
	required := map[string]bool{}
	for _, name := range r.Kind.Inputs.Properties() {
		required[name] = r.Kind.Inputs.Requires(name)
	}
	if r.inputs != nil {
		for _, name := range r.inputs.Properties() {
			if r.Kind.Inputs.Has(name) && !r.binds(name) {
				properties[name] = intersect(property(r.Kind.Inputs.tree, name), property(r.inputs.tree, name))
				required[name] = required[name] || r.inputs.Requires(name)
			}
		}
	}
	for _, e := range r.entries {
		r.decide(e, properties, required)
	}
	out["properties"] = properties
	var names []any
	for _, name := range sorted(required) {
		if required[name] {
			names = append(names, name)
		}
	}
	delete(out, "required")
	if names != nil {
		out["required"] = names
	}
	return out
}

// decide applies what the author binds to an input.
func (r *Release) decide(e entry, properties map[string]any, required map[string]bool) {
	own := property(r.Kind.Inputs.tree, e.name)
	path, test, bare := r.input.path(e.value)
	refs := r.input.references(e.value)
	switch {
	case len(refs) == 0:
		fixed := maps.Clone(own)
		delete(fixed, "default")
		if v := r.shown(e.value); v != nil {
			fixed["const"] = v
		}
		fixed["readOnly"] = true
		properties[e.name] = fixed
		required[e.name] = false
	case bare && !test && len(path) == 2 && r.offers().Has(path[1]):
		properties[e.name] = intersect(own, property(r.offers().tree, path[1]))
		required[e.name] = r.Kind.Inputs.Requires(e.name) || r.offers().Requires(path[1])
	}
	for _, ref := range refs {
		if len(ref.path) < 2 || r.Kind.Inputs.Has(ref.path[1]) || bare && len(path) == 2 {
			continue
		}
		properties[ref.path[1]] = property(r.offers().tree, ref.path[1])
		required[ref.path[1]] = r.offers().Requires(ref.path[1])
	}
}

// intersect returns what meets both schemas of one value: the kind's, and the
// installer's, whose texts win.
func intersect(kind, install map[string]any) map[string]any {
	out := maps.Clone(kind)
	for keyword, v := range install {
		was, both := kind[keyword]
		switch {
		case !both:
			out[keyword] = v
		case keyword == "minLength" || keyword == "minItems" || keyword == "minimum":
			if low, ok := asFloat(v); ok {
				if other, _ := asFloat(was); low > other {
					out[keyword] = v
				}
			}
		case keyword == "maxLength" || keyword == "maxItems" || keyword == "maximum":
			if high, ok := asFloat(v); ok {
				if other, _ := asFloat(was); high < other {
					out[keyword] = v
				}
			}
		case keyword == "enum":
			out[keyword] = slices.DeleteFunc(slices.Clone(was.([]any)), func(x any) bool {
				return !slices.ContainsFunc(v.([]any), func(y any) bool { return equal(x, y) })
			})
		default:
			out[keyword] = v
		}
	}
	return out
}
