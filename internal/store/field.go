package store

import (
	"crypto/sha256"
	"database/sql/driver"
	"encoding/base64"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"deputy/internal/deputy"
)

// field ties a column to a place in an entity: a pointer to a text, number,
// truth value or byte slice (or to a pointer to one, for NULL), or one of the
// wrappers below.
type field struct {
	column string
	at     any
}

// value returns what is stored of the place that p points to: a string, int64,
// bool, []byte or nil, so that two values can be compared.
func value(p any) (any, error) {
	if v, ok := p.(driver.Valuer); ok {
		return v.Value()
	}
	v := reflect.ValueOf(p).Elem()
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil, nil
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.String:
		return v.String(), nil
	case reflect.Int, reflect.Int64:
		return v.Int(), nil
	case reflect.Bool:
		return v.Bool(), nil
	case reflect.Slice:
		if v.Len() == 0 {
			return nil, nil
		}
		return v.Bytes(), nil
	}
	return nil, fmt.Errorf("no column type holds a %s", v.Type())
}

// micros stores a time as microseconds since 1970.
type micros struct{ t *time.Time }

func (m micros) Value() (driver.Value, error) { return m.t.UnixMicro(), nil }
func (m micros) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("a time is stored as %T", v)
	}
	*m.t = fromMicros(n)
	return nil
}

// fromMicros is the one place where stored times become times.
func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }

// optionalMicros stores a time that may be unset.
type optionalMicros struct{ t **time.Time }

func (m optionalMicros) Value() (driver.Value, error) {
	if *m.t == nil {
		return nil, nil
	}
	return micros{*m.t}.Value()
}

func (m optionalMicros) Scan(v any) error {
	if v == nil {
		*m.t = nil
		return nil
	}
	*m.t = new(time.Time)
	return micros{*m.t}.Scan(v)
}

// list stores texts as a JSON array, nothing as NULL.
type list[T ~string] struct{ items *[]T }

func listOf[T ~string](items *[]T) list[T] { return list[T]{items} }

func (l list[T]) Value() (driver.Value, error) {
	if len(*l.items) == 0 {
		return nil, nil
	}
	return document{l.items}.Value()
}

func (l list[T]) Scan(v any) error {
	*l.items = nil
	return document{l.items}.Scan(v)
}

// document stores whatever v points to as JSON, a nil pointer or slice as NULL.
type document struct{ v any }

func (d document) Value() (driver.Value, error) {
	if reflect.ValueOf(d.v).Elem().IsNil() {
		return nil, nil
	}
	b, err := json.Marshal(d.v, json.Deterministic(true))
	return string(b), err
}

func (d document) Scan(v any) error {
	text, err := textOf(v)
	if err != nil || text == "" {
		return err
	}
	return json.Unmarshal([]byte(text), d.v)
}

// raw stores bytes that are text already, such as JSON; none as NULL.
type raw struct{ b *[]byte }

func (r raw) Value() (driver.Value, error) {
	if len(*r.b) == 0 {
		return nil, nil
	}
	return string(*r.b), nil
}

func (r raw) Scan(v any) error {
	text, err := textOf(v)
	*r.b = nil
	if text != "" {
		*r.b = []byte(text)
	}
	return err
}

func textOf(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case []byte:
		return string(v), nil
	}
	return "", fmt.Errorf("a text is stored as %T", v)
}

// text is a value that only searching needs.
type text string

func (t text) Value() (driver.Value, error) { return string(t), nil }

// flag is a truth value that only searching needs.
type flag bool

func (f flag) Value() (driver.Value, error) { return bool(f), nil }

// number is a number that is never read.
type number int64

func (n number) Value() (driver.Value, error) { return int64(n), nil }

// storable reports whether both engines can hold a text: PostgreSQL takes
// nothing but UTF-8, and no NUL.
func storable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// nowhere is a text that is never looked for: what is looked for holds no
// control character but those that we put at its beginning ourselves.
const nowhere = "\x02"

// findable returns the arguments of a query with every text that cannot be
// stored replaced by one that is not.
func findable(args []any) []any {
	bad := func(v any) bool { s, ok := v.(string); return ok && !storable(s) }
	if !slices.ContainsFunc(args, bad) {
		return args
	}
	args = slices.Clone(args)
	for i, v := range args {
		if bad(v) {
			args[i] = nowhere
		}
	}
	return args
}

// fold makes texts that differ in letter case only equal.
func fold(s string) string { return strings.ToLower(strings.ToUpper(s)) }

// maxKey is how many bytes of a text an index holds: PostgreSQL takes at most
// 2,704 in a row of one.
const maxKey = 512

// key stands for a text of any length in a unique or sorting index: the text
// itself, or of a long one its beginning and a digest. The control character
// keeps the two apart, as no stored text holds one.
func key(s string) string {
	if len(s) <= maxKey {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return cut(s, maxKey-32) + "\x01" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// cut returns the longest beginning of s that has at most n bytes and ends at
// a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// texts turns ids of any kind into plain arguments.
func texts[T ~string](ids []T) []any {
	out := make([]any, len(ids))
	for i, id := range ids {
		out[i] = string(id)
	}
	return out
}

// now returns the time as it is stored.
func (s *Store) now() time.Time { return deputy.Time(s.clock()) }
