package catalog

import (
	"context"
	"slices"

	"deputy/internal/deputy"
)

// bounded is the context of evaluations that nobody waits for to be called
// off: each is over soon by its own bounds.
var bounded = context.Background()

// Inputs completes and checks the values that an installer gives: read-only
// ones are dropped, defaults applied. What is wrong makes an Invalid error
// whose findings have paths below inputs, and repeat no value.
func (r *Release) Inputs(given Values) (Values, error) {
	v := r.offers().Complete(given)
	findings := Findings{}
	r.offers().Validate(v, "inputs", &findings)
	return v, findings.Err("the inputs are not what the package asks for")
}

// Secrets parts values that Inputs returned into those that may be shown and
// those that may not. What nobody declares may be a secret with its name
// misspelt.
func (r *Release) Secrets(v Values) (shown, secret Values) {
	shown, secret = Values{}, Values{}
	for name, value := range v {
		known := r.offers().Has(name) || r.Kind.Inputs.Has(name)
		if !known || r.offers().WriteOnly(name) || r.Kind.Inputs.WriteOnly(name) {
			secret[name] = value
		} else {
			shown[name] = value
		}
	}
	return shown, secret
}

// Merge computes the inputs of the kind from values that Inputs returned: what
// the author binds, and for the rest what the installer gave under the kind's
// own names.
func (r *Release) Merge(ctx context.Context, given Values) (Values, error) {
	bound := map[string]any{}
	if r.input != nil {
		v, err := r.input.evaluate(ctx, map[string]any{"inputs": map[string]any(given)})
		if err != nil {
			return nil, deputy.Bad("inputs.bindings", "the inputs could not be bound: %v", err)
		}
		bound, _ = v.(map[string]any)
	}
	merged := Values{}
	for _, name := range r.Kind.Inputs.Properties() {
		if v, ok := bound[name]; ok {
			if v != nil {
				merged[name] = v
			}
		} else if v, ok := given[name]; ok && !r.binds(name) {
			merged[name] = v
		}
	}
	merged = r.Kind.Inputs.Complete(merged)
	findings := Findings{}
	r.Kind.Inputs.Validate(merged, "inputs", &findings)
	if len(findings) > 0 {
		return nil, &findings[0]
	}
	return merged, nil
}

func (r *Release) binds(name string) bool {
	return slices.ContainsFunc(r.entries, func(e entry) bool { return e.name == name })
}

// Outputs computes what an install shows once every entity is made, from what
// Merge returned.
func (r *Release) Outputs(ctx context.Context, inputs Values, made map[string]Made) (Values, error) {
	if r.output == nil {
		return nil, nil
	}
	v, err := r.output.evaluate(ctx, scope(inputs, made))
	if err != nil {
		return nil, deputy.Bad("outputs.bindings", "the outputs could not be computed: %v", err)
	}
	out, _ := v.(map[string]any)
	findings := Findings{}
	r.outputs.Validate(out, "outputs", &findings)
	if len(findings) > 0 {
		return nil, &findings[0]
	}
	return out, nil
}
