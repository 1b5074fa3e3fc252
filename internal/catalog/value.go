package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"deputy/internal/deputy"
)

// Values are named JSON values: inputs and outputs. Numbers are int64 where
// they are written as integers that fit, else float64.
type Values map[string]any

// whole reads numbers that are written as integers as such: an expression
// must see 1 and 1.0 as different, as their author does.
var whole = json.WithUnmarshalers(json.UnmarshalFromFunc(func(d *jsontext.Decoder, v *any) error {
	if d.PeekKind() != '0' {
		return errors.ErrUnsupported
	}
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	if n, err := strconv.ParseInt(token.String(), 10, 64); err == nil {
		*v = n
		return nil
	}
	*v, err = token.Float()
	return err
}))

// ParseValues reads a JSON object.
func ParseValues(raw []byte) (Values, error) {
	var v Values
	if err := json.Unmarshal(raw, &v, whole); err != nil {
		return nil, deputy.Errorf(deputy.Invalid, "must be a JSON object").Because(err)
	}
	return v, nil
}

// parse reads any JSON value.
func parse(raw []byte) (any, error) {
	var v any
	err := json.Unmarshal(raw, &v, whole)
	return v, err
}

// JSON writes the values, their names in order.
func (v Values) JSON() ([]byte, error) { return json.Marshal(v, json.Deterministic(true)) }

// hashOf returns the lower-case hexadecimal SHA-256 of v in the form of
// RFC 8785.
func hashOf(v any) (string, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	value := jsontext.Value(raw)
	if err := value.Canonicalize(); err != nil {
		return "", err
	}
	sum := sha256.Sum256(value)
	return hex.EncodeToString(sum[:]), nil
}

// sorted returns the keys of a map in order, so that findings come in one too.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// join appends a name to a path as clients read it: inputs.schema.properties.
func join(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }

// Findings are what is wrong, one error with a Field each.
type Findings []deputy.Error

func (f *Findings) add(field, format string, args ...any) {
	*f = append(*f, *deputy.Bad(field, format, args...))
}

// take adds what another check found.
func (f *Findings) take(err error) {
	var e *deputy.Error
	if errors.As(err, &e) {
		*f = append(*f, *e)
	}
}

// Err returns the findings as one Invalid error with the summary, or nil.
func (f Findings) Err(summary string) error {
	if len(f) == 0 {
		return nil
	}
	return &deputy.Error{Kind: deputy.Invalid, Message: summary, Details: f}
}
