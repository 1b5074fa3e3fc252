package api

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed docs.html
var docsTemplate string

//go:embed docs.css
var docsStyle string

// docsPage returns the page that shows the OpenAPI document, and the content
// security policy that it lives under: no script, no network, and only the
// style that is inside it.
func docsPage(doc *huma.OpenAPI) (page []byte, policy string, err error) {
	t, err := template.New("docs").Parse(docsTemplate)
	if err != nil {
		return nil, "", err
	}
	style := template.CSS(docsStyle)
	sum := sha256.Sum256([]byte(docsStyle))
	policy = "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	var out bytes.Buffer
	err = t.Execute(&out, struct {
		Title, Version string
		Intro          []string
		Style          template.CSS
		Groups         []docsGroup
	}{doc.Info.Title, doc.Info.Version, strings.Split(doc.Info.Description, "\n\n"), style, docsGroups(doc)})
	return out.Bytes(), policy, err
}

// docsGroup is the operations under one heading.
type docsGroup struct {
	Name, Anchor string
	Operations   []docsOperation
}

type docsOperation struct {
	ID, Method, Path, Summary, Doc, Action string
	Parameters                             []docsRow
	Body                                   []docsRow
	Success                                docsAnswer
	Errors                                 []docsRow
}

type docsAnswer struct {
	Status  string
	Headers []docsRow
	Body    []docsRow
}

// docsRow is one parameter or member; Depth is how deep it lies.
type docsRow struct {
	Name, Type, In, Doc string
	Depth               int
	Required            bool
	Deprecated          bool
	Notes               []string
}

// docsGroups returns the operations in the order of their paths, by heading.
func docsGroups(doc *huma.OpenAPI) []docsGroup {
	var groups []docsGroup
	at := map[string]int{}
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		item := doc.Paths[path]
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if op == nil {
				continue
			}
			tag := op.Tags[0]
			if _, ok := at[tag]; !ok {
				at[tag] = len(groups)
				groups = append(groups, docsGroup{Name: tag, Anchor: strings.ReplaceAll(strings.ToLower(tag), " ", "-")})
			}
			g := &groups[at[tag]]
			g.Operations = append(g.Operations, docsOf(doc.Components, op))
		}
	}
	return groups
}

func docsOf(known *huma.Components, op *huma.Operation) docsOperation {
	r := known.Schemas
	d := docsOperation{ID: op.OperationID, Method: op.Method, Path: op.Path, Summary: op.Summary, Doc: op.Description}
	d.Action, _ = op.Extensions["x-deputy-action"].(string)
	for _, p := range op.Parameters {
		row := docsRowOf(r, p.Name, p.Schema)
		row.In, row.Doc, row.Required, row.Deprecated = p.In, p.Description, p.Required, p.Deprecated
		d.Parameters = append(d.Parameters, row)
	}
	if op.RequestBody != nil {
		d.Body = docsBody(r, op.RequestBody.Content)
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		answer := op.Responses[status]
		if status >= "400" {
			if name, shared := strings.CutPrefix(answer.Ref, responseRef); shared {
				answer = known.Responses[name]
			}
			d.Errors = append(d.Errors, docsRow{Name: status, Doc: answer.Description})
			continue
		}
		d.Success = docsAnswer{Status: status + " " + answer.Description, Body: docsBody(r, answer.Content)}
		for _, name := range slices.Sorted(maps.Keys(answer.Headers)) {
			d.Success.Headers = append(d.Success.Headers, docsRow{Name: name, Doc: answer.Headers[name].Description})
		}
	}
	return d
}

func docsBody(r huma.Registry, content map[string]*huma.MediaType) []docsRow {
	var rows []docsRow
	for _, media := range content {
		rows = docsMembers(r, rows, media.Schema, 0)
	}
	return rows
}

// maxDocsDepth ends types that hold themselves.
const maxDocsDepth = 6

// docsMembers appends the members of an object, and of the objects in it.
func docsMembers(r huma.Registry, rows []docsRow, s *huma.Schema, depth int) []docsRow {
	s = resolved(r, s)
	for s != nil && s.Type == huma.TypeArray {
		s = resolved(r, s.Items)
	}
	if s == nil || depth > maxDocsDepth {
		return rows
	}
	for _, variant := range s.OneOf {
		if v := resolved(r, variant); v.Properties != nil {
			kind := v.Properties[s.Discriminator.PropertyName].Enum[0]
			rows = append(rows, docsRow{Type: fmt.Sprintf("when %s is %v", s.Discriminator.PropertyName, kind), Depth: depth})
			rows = docsMembers(r, rows, v, depth+1)
		}
	}
	if len(s.OneOf) > 0 {
		return rows
	}
	names := slices.Sorted(maps.Keys(s.Properties))
	// What must be given comes first.
	slices.SortStableFunc(names, func(a, b string) int {
		return strings.Compare(boolKey(slices.Contains(s.Required, b)), boolKey(slices.Contains(s.Required, a)))
	})
	for _, name := range names {
		row := docsRowOf(r, name, s.Properties[name])
		row.Depth, row.Required = depth, slices.Contains(s.Required, name)
		rows = docsMembers(r, append(rows, row), s.Properties[name], depth+1)
	}
	return rows
}

func boolKey(b bool) string { return map[bool]string{false: "0", true: "1"}[b] }

func resolved(r huma.Registry, s *huma.Schema) *huma.Schema {
	for s != nil && s.Ref != "" {
		s = r.SchemaFromRef(s.Ref)
	}
	return s
}

// docsRowOf describes one value.
func docsRowOf(r huma.Registry, name string, s *huma.Schema) docsRow {
	row := docsRow{Name: name}
	if s == nil {
		return row
	}
	row.Doc, row.Deprecated = s.Description, s.Deprecated
	nullable := s.Nullable
	s = resolved(r, s)
	row.Type = s.Type
	if item := resolved(r, s.Items); item != nil {
		row.Type = "list of " + item.Type
		row.Notes = docsNotes(item)
	}
	if m, ok := s.AdditionalProperties.(*huma.Schema); ok && s.Properties == nil {
		row.Type = "map of " + resolved(r, m).Type
	}
	if row.Type == "" {
		row.Type = "any"
	}
	if nullable || s.Nullable {
		row.Type += " or null"
	}
	row.Notes = append(row.Notes, docsNotes(s)...)
	return row
}

// docsNotes says what a value must satisfy.
func docsNotes(s *huma.Schema) []string {
	var notes []string
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if s.Format != "" && s.Format != "int64" {
		add("%s", s.Format)
	}
	if len(s.Enum) > 0 {
		var values []string
		for _, v := range s.Enum {
			if v != nil { // the type says so
				values = append(values, fmt.Sprint(v))
			}
		}
		add("one of %s", strings.Join(values, ", "))
	}
	if s.MinLength != nil {
		add("at least %d long", *s.MinLength)
	}
	if s.MaxLength != nil {
		add("at most %d long", *s.MaxLength)
	}
	if s.Minimum != nil {
		add("from %v", *s.Minimum)
	}
	if s.Maximum != nil {
		add("to %v", *s.Maximum)
	}
	if s.MaxItems != nil {
		add("at most %d items", *s.MaxItems)
	}
	for _, example := range s.Examples {
		add("for example %v", example)
	}
	return notes
}
