package api

import (
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"deputy/internal/deputy"
)

// Patch is a member of a request that may be left out but not null.
type Patch[T any] struct {
	Set bool
	V   T
}

// Nullable is a member of a request that may be left out, or be null to clear
// what it names.
type Nullable[T any] struct {
	Set, Null bool
	V         T
}

// Set returns a member with a value, for requests made in Go.
func Set[T any](v T) Patch[T] { return Patch[T]{Set: true, V: v} }

// SetNullable returns a nullable member with a value.
func SetNullable[T any](v T) Nullable[T] { return Nullable[T]{Set: true, V: v} }

// Null returns a nullable member that clears.
func Null[T any]() Nullable[T] { return Nullable[T]{Set: true, Null: true} }

const mustNotBeNull = "must not be null"

// IsZero reports that the member is left out.
func (p Patch[T]) IsZero() bool { return !p.Set }

// IsZero reports that the member is left out.
func (p Nullable[T]) IsZero() bool { return !p.Set }

// Or returns the value, or fallback when the member was left out.
func (p Patch[T]) Or(fallback T) T {
	if p.Set {
		return p.V
	}
	return fallback
}

// To stores the value in target unless the member was left out.
func (p Patch[T]) To(target *T) {
	if p.Set {
		*target = p.V
	}
}

// ToPointer stores the value in target unless the member was left out.
func (p Patch[T]) ToPointer(target **T) {
	if p.Set {
		*target = &p.V
	}
}

// To stores the value in target, nil for null, unless the member was left out.
func (p Nullable[T]) To(target **T) {
	switch {
	case p.Null:
		*target = nil
	case p.Set:
		*target = &p.V
	}
}

// toSlice is To for lists: null clears.
func toSlice[T any](p Nullable[[]T], target *[]T) {
	if p.Set {
		*target = p.V
	}
}

// UnmarshalJSONFrom reads a value; null is refused.
func (p *Patch[T]) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() == 'n' {
		return errors.New(mustNotBeNull)
	}
	p.Set = true
	return json.UnmarshalDecode(d, &p.V)
}

// UnmarshalJSONFrom reads a value or null.
func (p *Nullable[T]) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	p.Set = true
	if d.PeekKind() == 'n' {
		p.Null = true
		return d.SkipValue()
	}
	return json.UnmarshalDecode(d, &p.V)
}

// MarshalJSONTo writes the value.
func (p Patch[T]) MarshalJSONTo(e *jsontext.Encoder) error { return json.MarshalEncode(e, p.V) }

// MarshalJSONTo writes the value or null.
func (p Nullable[T]) MarshalJSONTo(e *jsontext.Encoder) error {
	if p.Null {
		return e.WriteToken(jsontext.Null)
	}
	return json.MarshalEncode(e, p.V)
}

// Schema is that of the value.
func (Patch[T]) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[T](), true, "")
}

// Schema is that of the value, or null.
func (Nullable[T]) Schema(r huma.Registry) *huma.Schema {
	s := r.Schema(reflect.TypeFor[T](), true, "")
	if s.Ref != "" {
		s = r.SchemaFromRef(s.Ref) // a copy, as the checker accepts anything for anyOf [$ref, null]
	}
	null := &huma.Schema{Enum: []any{nil}}
	c := *s
	switch {
	case c.OneOf != nil:
		c.Nullable, c.OneOf = true, append(slices.Clone(c.OneOf), null)
	case c.AnyOf != nil:
		c.AnyOf = append(slices.Clone(c.AnyOf), null)
	case c.Type != "": // else anything, null included
		c.Nullable = true
	}
	return &c
}

// Time is shown in UTC with milliseconds (RFC 3339).
type Time time.Time

// MarshalText writes the time as clients see it.
func (t Time) MarshalText() ([]byte, error) {
	return time.Time(t).UTC().AppendFormat(nil, deputy.TimeFormat), nil
}

// UnmarshalText reads an RFC 3339 time.
func (t *Time) UnmarshalText(b []byte) error { return (*time.Time)(t).UnmarshalText(b) }

// IsZero reports whether the time is unset.
func (t Time) IsZero() bool { return time.Time(t).IsZero() }

// Schema is a date-time.
func (Time) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time", Examples: []any{"2026-01-02T03:04:05.678Z"}}
}

// timePointer returns the wire form of an optional time.
func timePointer(t *time.Time) *Time {
	if t == nil {
		return nil
	}
	w := Time(*t)
	return &w
}

// Value is any JSON value, kept as it was sent.
type Value jsontext.Value

// UnmarshalJSONFrom keeps the value.
func (v *Value) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	raw, err := d.ReadValue()
	*v = Value(slices.Clone(raw))
	return err
}

// MarshalJSONTo writes the value.
func (v Value) MarshalJSONTo(e *jsontext.Encoder) error {
	if v == nil {
		return e.WriteToken(jsontext.Null)
	}
	return e.WriteValue(jsontext.Value(v))
}

// Schema accepts anything.
func (Value) Schema(huma.Registry) *huma.Schema { return &huma.Schema{Description: "Any JSON value."} }

// Object is any JSON object, kept as it was sent.
type Object jsontext.Value

// UnmarshalJSONFrom keeps the object.
func (o *Object) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() != '{' {
		return errors.New("must be an object")
	}
	return (*Value)(o).UnmarshalJSONFrom(d)
}

// MarshalJSONTo writes the object.
func (o Object) MarshalJSONTo(e *jsontext.Encoder) error { return Value(o).MarshalJSONTo(e) }

// Schema accepts any object.
func (Object) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Description: "Any JSON object."}
}

// variant is one of several forms of an object, and the value of type that
// tells it.
type variant struct {
	kind string
	of   reflect.Type
}

// choice is the schema of an object that is one of several variants.
func choice(r huma.Registry, variants ...variant) *huma.Schema {
	s := &huma.Schema{
		Type:          huma.TypeObject,
		Discriminator: &huma.Discriminator{PropertyName: "type", Mapping: map[string]string{}},
		Properties:    map[string]*huma.Schema{"type": {Type: huma.TypeString}},
		Required:      []string{"type"},
	}
	for _, v := range variants {
		ref := r.Schema(v.of, true, "")
		s.OneOf = append(s.OneOf, ref)
		s.Discriminator.Mapping[v.kind] = ref.Ref
		s.Properties["type"].Enum = append(s.Properties["type"].Enum, v.kind)
	}
	return s
}

// pointer returns nil for an empty text, else its address: optional ids of the
// domain as the wire leaves them out.
func pointer[T ~string](s T) *string {
	if s == "" {
		return nil
	}
	text := string(s)
	return &text
}

// text returns an optional id of the domain as the wire shows it.
func text[T ~string](p *T) *string {
	if p == nil {
		return nil
	}
	return pointer(*p)
}
