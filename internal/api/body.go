package api

import (
	"bytes"
	"cmp"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/go-json-experiment/json"

	"deputy/internal/deputy"
)

// maxBody bounds a request body, in bytes. The largest legal one is a policy
// of 64 KiB whose every character is escaped.
const maxBody = 512 << 10

// ignoredHeader names the members of a body that no one here knows, and the
// parameters of a query, with a question mark in front.
const ignoredHeader = "X-Deputy-Ignored-Fields"

// readBody is the step that reads the body of an operation that has one:
// nothing, null and {} are the same, anything else must be called JSON.
func (a *API) readBody(hc huma.Context, next func(huma.Context)) {
	op := hc.Operation()
	if op.RequestBody == nil || op.RequestBody.Content["application/json"] == nil {
		next(hc) // an archive is its handler's to read
		return
	}
	ctx := hc.Context()
	r, w := humago.Unwrap(hc)
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	switch {
	case err != nil:
		writeProblem(w, problem(ctx, deputy.Error{Kind: deputy.Invalid, Message: "the body could not be read"}.Because(err)))
		return
	case len(raw) > maxBody:
		writeProblem(w, newError(ctx, http.StatusRequestEntityTooLarge, CodeBadRequest, "the body is larger than "+strconv.Itoa(maxBody)+" bytes"))
		return
	}
	trimmed := bytes.TrimSpace(raw)
	if len(trimmed) > 0 {
		if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
			writeProblem(w, newError(ctx, http.StatusUnsupportedMediaType, CodeBadRequest, "the body must be application/json"))
			return
		}
	}
	if len(trimmed) == 0 || string(trimmed) == "null" {
		raw = []byte("{}")
	}
	var members members
	var value any
	if json.Unmarshal(raw, &value) == nil { // broken JSON is reported by the checker
		members.walk(a.huma.OpenAPI().Components.Schemas, op.RequestBody.Content["application/json"].Schema, "", value)
	}
	callOf(ctx).ignore(members.unknown)
	slices.Sort(members.known)
	callOf(ctx).changes = members.known
	next(&jsonContext{humaContext: hc, body: raw})
}

// humaContext lets jsonContext embed the interface without a field named Context.
type humaContext = huma.Context

// jsonContext is the request with the body that readBody made of it.
type jsonContext struct {
	humaContext
	body []byte
}

// Unwrap returns the context beneath.
func (c *jsonContext) Unwrap() huma.Context { return c.humaContext }

// BodyReader returns the body.
func (c *jsonContext) BodyReader() io.Reader { return bytes.NewReader(c.body) }

// Header returns a header; the body's type is settled.
func (c *jsonContext) Header(name string) string {
	if name == "Content-Type" {
		return "application/json"
	}
	return c.humaContext.Header(name)
}

// members sorts the members of a body into those that its schema names and
// those that it does not.
type members struct{ known, unknown []string }

func (m *members) walk(r huma.Registry, s *huma.Schema, path string, value any) {
	for s != nil && s.Ref != "" {
		s = r.SchemaFromRef(s.Ref)
	}
	if s == nil {
		return
	}
	switch v := value.(type) {
	case map[string]any:
		if s.Properties == nil && s.OneOf == nil {
			m.add(path)
			return // a map or any value: its names are the caller's own
		}
		if len(v) == 0 {
			m.add(path)
		}
		for name, member := range v {
			at := strings.TrimPrefix(path+"."+name, ".")
			if sub := property(r, s, v, name); sub != nil {
				m.walk(r, sub, at, member)
			} else if _, open := s.AdditionalProperties.(*huma.Schema); open {
				m.add(at)
			} else {
				m.unknown = append(m.unknown, at)
			}
		}
	case []any:
		m.add(path)
		inner := members{}
		for i, item := range v {
			inner.walk(r, s.Items, path+"["+strconv.Itoa(i)+"]", item)
		}
		m.unknown = append(m.unknown, inner.unknown...)
	default:
		m.add(path)
	}
}

func (m *members) add(path string) {
	if path != "" {
		m.known = append(m.known, path)
	}
}

// property returns the schema of an object's member, in the variant that the
// object's own discriminator names when there are several.
func property(r huma.Registry, s *huma.Schema, object map[string]any, name string) *huma.Schema {
	if s.Discriminator != nil {
		kind, _ := object[s.Discriminator.PropertyName].(string)
		if variant := r.SchemaFromRef(cmp.Or(s.Discriminator.Mapping[kind], "none")); variant != nil {
			return variant.Properties[name]
		}
	}
	return s.Properties[name]
}

// ignore names in the answer what the call leaves out of account.
func (c *call) ignore(names []string) {
	if c.ignored = append(c.ignored, names...); len(c.ignored) > 0 {
		c.answer.Set(ignoredHeader, headerList(c.ignored))
	}
}

// unknownParameters returns the parameters of the query that the operation does
// not have: they are ignored, and a list is then wider than whoever misspelt a
// filter believes.
func (c *call) unknownParameters(op *huma.Operation) (names []string) {
	known := func(name string) bool {
		return slices.ContainsFunc(op.Parameters, func(p *huma.Param) bool { return p.In == "query" && strings.TrimSuffix(p.Name, "[]") == name })
	}
	for name := range c.query {
		if !known(name) {
			names = append(names, "?"+name)
		}
	}
	return names
}

// headerList renders names for a header: what is not plainly a name is escaped,
// and a long list is cut.
func headerList(names []string) string {
	slices.Sort(names)
	const limit = 1024
	var b strings.Builder
	for i, name := range names {
		name = escapeName(name)
		if b.Len()+len(name) > limit {
			b.WriteString(", and " + strconv.Itoa(len(names)-i) + " more")
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(name)
	}
	return strings.TrimPrefix(b.String(), ", ")
}

func escapeName(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("_-.[]$?", c) >= 0:
			b.WriteByte(c)
		default:
			const hex = "0123456789ABCDEF"
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// writeProblem answers with an error before or beside the checker.
func writeProblem(w http.ResponseWriter, e *Error) {
	for name, values := range e.headers {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	// The status is out; a client that is gone cannot be told more.
	_ = format.Marshal(w, e)
}
