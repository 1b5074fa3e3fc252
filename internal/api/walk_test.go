package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"deputy/internal/deputytest"
)

// unknown is shaped like an id and nobody's.
const unknown = "0123456789abcdefghjkmnpqrs"

// TestForeign walks every route with every id of a foreign organization, and
// of another zone of one's own, wherever an id may stand: they are refused in
// the words that an unknown one is, and nothing happens to what they name.
func TestForeign(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	own := newEstate(s, "admin", s.vars["org"], "Own")
	foreign := newEstate(s, "stranger", s.vars["foreign"], "Theirs")
	sibling := newEstate(s, "admin", s.vars["org"], "Sibling")
	before := map[string]string{"foreign": foreign.everything(), "sibling": sibling.everything()}
	s.events("stranger") // of their own reads
	for name, other := range map[string]*estate{"organization": foreign, "zone": sibling} {
		t.Run("path of a foreign "+name, func(t *testing.T) { s.t = t; own.walkPaths(other) })
		t.Run("query of a foreign "+name, func(t *testing.T) { s.t = t; own.walkQueries(other) })
		t.Run("body of a foreign "+name, func(t *testing.T) { s.t = t; own.walkBodies(other) })
	}
	s.t = t
	if fresh := s.events("stranger"); fresh != nil {
		t.Errorf("the foreign organization's log has %v", fresh)
	}
	if foreign.everything() != before["foreign"] || sibling.everything() != before["sibling"] {
		t.Error("something happened to what is foreign")
	}
}

// everything returns what the owner can read, but for the log.
func (e *estate) everything() string {
	e.t.Helper()
	var b strings.Builder
	for _, r := range e.api.Routes() {
		if r.Method == http.MethodGet && !strings.Contains(r.Path, "audit") {
			w := e.call("GET "+e.path(r.Path, nil), "")
			if w.Code != http.StatusOK {
				e.t.Errorf("%s: status %d: %s", r.Path, w.Code, w.Body)
			}
			fmt.Fprintln(&b, r.Path, w.Body)
		}
	}
	return b.String()
}

// foreignIDs returns the ids of the other estate that are not one's own.
func (e *estate) foreignIDs(other *estate) []string {
	own := slices.Collect(maps.Values(e.ids))
	var out []string
	if other.label != e.label {
		out = append(out, other.label)
	}
	for _, id := range slices.Compact(slices.Sorted(maps.Values(other.ids))) {
		if !slices.Contains(own, id) {
			out = append(out, id)
		}
	}
	return out
}

// walkPaths puts ids of the other estate into every path.
func (e *estate) walkPaths(other *estate) {
	ids := e.foreignIDs(other)
	at, every := 0, deputytest.Times(6, 1, 1)
	for _, r := range e.api.Routes() {
		if r.Public {
			continue // for whoever has the link
		}
		for i, p := range params(r.Path) {
			// The others' ids in their places from the first on that is not
			// one's own, and each of them alone; where a part is enough, others at
			// each place.
			whole := map[string]string{}
			for _, q := range params(r.Path)[i:] {
				whole[q] = other.id(q)
			}
			if other.id(p) == e.id(p) {
				continue // every zone has it
			}
			if other.as == e.as && !strings.HasPrefix(p, "/zones/{zone_id}/") {
				continue // one's own organization, its zones and its log
			}
			e.sameAsUnknown(r.Method, r.Path, p, whole)
			var alone []map[string]string
			for ; at < len(ids); at += every {
				alone = append(alone, map[string]string{p: ids[at]})
			}
			at -= len(ids)
			e.sameAsUnknown(r.Method, r.Path, p, alone...)
		}
	}
}

// sameAsUnknown compares the refusals of foreign ids in a path with that of an
// unknown one in place p. What stands elsewhere is the same in all of them.
func (e *estate) sameAsUnknown(method, template, p string, all ...map[string]string) {
	e.t.Helper()
	body := e.bodyFor(method, template)
	var want *httptest.ResponseRecorder
	for _, ids := range all {
		path := e.path(template, ids)
		got := e.call(method+" "+path, body)
		if want == nil {
			nobody := maps.Clone(ids)
			nobody[p] = unknown
			want = e.call(method+" "+e.path(template, nobody), body)
		}
		if got.Code != http.StatusNotFound && got.Code != http.StatusForbidden || blind(got) != blind(want) {
			e.t.Errorf("%s %s (%s) is told from an unknown id: %d %s, then %d %s", method, path, template, got.Code, got.Body, want.Code, want.Body)
		}
	}
}

// blind returns an answer without what differs between any two requests.
// Cursors are bound to what was asked.
func blind(w *httptest.ResponseRecorder) string {
	header := w.Header().Clone()
	header.Del("X-Client-Request-ID")
	body := anyRequest.ReplaceAllString(w.Body.String(), `"$1":""`)
	return fmt.Sprint(w.Code, header, body)
}

var anyRequest = regexp.MustCompile(`"(request_id|timestamp|path|\w+_cursor)":"[^"]*"`)

// bodyFor returns a body that the operation takes.
func (e *estate) bodyFor(method, template string) string {
	e.t.Helper()
	for _, b := range slices.Concat(foundations, births) {
		if b.do == method+" "+template {
			return e.body(b.body)
		}
	}
	op, found := operationAt(method, strings.NewReplacer("{", "", "}", "").Replace(template))
	if !found {
		e.t.Fatalf("the document does not know %s %s", method, template)
	}
	schema, ok := op.bodySchema()
	if !ok {
		return ""
	}
	raw, err := json.Marshal(op.least(schema))
	if err != nil {
		e.t.Fatal(err)
	}
	return string(raw)
}

func (s *server) document() map[string]any {
	s.t.Helper()
	doc, err := document()
	if err != nil {
		s.t.Fatal(err)
	}
	return doc
}

// bodySchema returns the schema of the operation's body, if it takes one.
func (d described) bodySchema() (map[string]any, bool) {
	content, _ := d.deref(d.op["requestBody"])["content"].(map[string]any)
	media, ok := content["application/json"].(map[string]any)
	if !ok {
		return nil, false
	}
	return d.deref(media["schema"]), true
}

// least returns the smallest value of a schema.
func (d described) least(schema any) any {
	s := d.deref(schema)
	if values := list(s["enum"]); len(values) > 0 {
		return values[0]
	}
	if variants := list(s["oneOf"]); len(variants) > 0 {
		return d.least(variants[0])
	}
	kind, _ := s["type"].(string)
	if kinds := list(s["type"]); len(kinds) > 0 {
		kind, _ = kinds[0].(string)
	}
	switch kind {
	case "object":
		out := map[string]any{}
		properties, _ := s["properties"].(map[string]any)
		for _, name := range list(s["required"]) {
			out[name.(string)] = d.least(properties[name.(string)])
		}
		return out
	case "array":
		return []any{}
	case "integer", "number":
		if low, ok := s["minimum"]; ok {
			return low
		}
		return 1
	case "boolean":
		return true
	}
	return "x"
}

// reference matches the names of parameters and members whose values are ids
// of something else.
var reference = regexp.MustCompile(`(^|\.|_|\[\]\.)ids?(\[\])?$|[a-z]Id$|\[(\w+_)?id\]$|^when_accessing$|^members\[\]$`)

// notReferences look like references and are none: names that somebody else
// chose, or what the path says already.
var notReferences = map[string]bool{
	"client_id": true, "zoneId": true, "zone_id": true, "protocols.oauth2.cimd.allowed_client_ids[]": true,
	"protocols.oauth2.cimd.allowed_client_ids": true,
}

// ofOrganization refer to what the organization has, which its zones share.
var ofOrganization = map[string]bool{"organization_user_id": true}

// blamed are members whose refusals blame another one.
var blamed = map[string]string{"manifest.entries[].policy_id": "manifest.entries[].policy_version_id"}

// walkQueries puts ids of the other estate into every parameter that takes one.
func (e *estate) walkQueries(other *estate) {
	ids := e.foreignIDs(other)
	at, every := 0, deputytest.Times(6, 1, 1)
	for _, op := range operationsOf(e.document()) {
		for name := range op.parameters()["query"] {
			if !reference.MatchString(name) {
				continue
			}
			if other.as == e.as && strings.HasSuffix(op.path, "{organization_id}/audit-events") {
				continue // the log has the events of every zone
			}
			ask := func(id string) string {
				return blind(e.call(op.method+" "+e.path(op.path, nil)+"?"+escapeQuery(name)+"="+id, ""))
			}
			want := ask(unknown)
			for ; at < len(ids); at += every {
				if got := ask(ids[at]); got != want {
					e.t.Errorf("%s %s?%s=%s is told from an unknown id: %s, then %s", op.method, op.path, name, ids[at], got, want)
				}
			}
			at -= len(ids)
		}
	}
}

func escapeQuery(name string) string {
	return strings.NewReplacer("[", "%5B", "]", "%5D").Replace(name)
}

// walkBodies puts ids of the other estate into every member that takes one.
func (e *estate) walkBodies(other *estate) {
	ids := e.foreignIDs(other)
	at, every := 0, deputytest.Times(6, 1, 1)
	for _, op := range operationsOf(e.document()) {
		if _, ok := op.bodySchema(); !ok {
			continue
		}
		for member := range op.body() {
			if !reference.MatchString(member) || notReferences[member] || other.as == e.as && ofOrganization[member] {
				continue
			}
			var whole map[string]any
			if err := json.Unmarshal([]byte(e.bodyFor(op.method, op.path)), &whole); err != nil {
				e.t.Fatal(err)
			}
			for _, unique := range []string{"identifier", "name"} {
				if _, ok := whole[unique]; ok {
					whole[unique] = "https://another.test"
				}
			}
			send := func(id string) *httptest.ResponseRecorder {
				raw, err := json.Marshal(with(whole, strings.Split(member, "."), id))
				if err != nil {
					e.t.Fatal(err)
				}
				return e.call(op.method+" "+e.path(op.path, nil), string(raw))
			}
			want := send(unknown)
			for ; at < len(ids); at += every {
				id := ids[at]
				got := send(id)
				if blind(got) != blind(want) || !refusesMember(got, member) {
					e.t.Errorf("%s %s with the foreign %s %s: %d %s; an unknown one: %d %s", op.method, op.path, member, id, got.Code, got.Body, want.Code, want.Body)
				}
			}
			at -= len(ids)
		}
	}
}

// refusesMember reports whether an answer refuses what a member refers to.
func refusesMember(w *httptest.ResponseRecorder, member string) bool {
	switch w.Code {
	case http.StatusNotFound, http.StatusForbidden:
		return true
	}
	if other := blamed[member]; other != "" {
		member = other
	}
	return w.Code == http.StatusBadRequest && text(w, "details.0.field") == strings.ReplaceAll(member, "[]", "[0]")
}

// with returns a copy of a value in which a member has another value. A path
// goes through a list by its first item, which it makes if need be.
func with(v any, path []string, value any) any {
	if len(path) == 0 {
		return value
	}
	name, isList := strings.CutSuffix(path[0], "[]")
	object, _ := v.(map[string]any)
	out := maps.Clone(object)
	if out == nil {
		out = map[string]any{}
	}
	if !isList {
		out[name] = with(out[name], path[1:], value)
		return out
	}
	var first any
	items := list(out[name])
	if len(items) > 0 {
		first, items = items[0], items[1:]
	}
	out[name] = append([]any{with(first, path[1:], value)}, items...)
	return out
}

// TestUnauthenticated walks every route without a bearer, and with one that
// nobody issued: 401 comes before anything else is looked at.
func TestUnauthenticated(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	own := newEstate(s, "admin", s.vars["org"], "Own")
	for _, op := range operationsOf(s.document()) {
		if op.open() {
			continue
		}
		nobody := map[string]string{}
		for _, p := range params(op.path) {
			nobody[p] = unknown
		}
		paths := []string{own.path(op.path, nil), own.path(op.path, nobody)}
		var answers []string
		for _, path := range paths {
			for as, body := range map[string]string{"-": own.bodyFor(op.method, op.path), "made-up": `{`} {
				w := s.request(step{do: op.method + " " + path, as: as, body: body})
				if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") != "Bearer" {
					t.Errorf("%s %s as %s: status %d: %s", op.method, path, as, w.Code, w.Body)
				}
				if as == "-" {
					answers = append(answers, blind(w))
				}
			}
		}
		if answers[0] != answers[1] {
			t.Errorf("%s %s tells what exists to who is nobody: %s, then %s", op.method, op.path, answers[0], answers[1])
		}
	}
	if fresh := s.events("admin"); fresh != nil {
		t.Errorf("the log has %v", fresh)
	}
}

// open reports whether the operation needs no bearer.
func (d described) open() bool {
	security, given := d.op["security"].([]any)
	return given && len(security) == 0
}
