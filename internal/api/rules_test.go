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

	"deputy/internal/bundle"
)

// bundles are sent as archives, and to nobody who asks for something else.
const bundles = "/zones/{zone_id}/policy-bundles/{target_type}/{target_id}"

// TestStatuses compares the status of every operation that clients know with
// the one they expect: some accept no other.
func TestStatuses(t *testing.T) {
	t.Parallel()
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	served := operationsOf(doc)
	for _, p := range readContract(t) {
		op, ok := served[p.Method+" "+anyParam.ReplaceAllString(p.Path, "{}")]
		if !ok {
			continue // in the list of what is to come
		}
		responses := op.op["responses"].(map[string]any)
		want := expectedStatus(p)
		if _, ok := responses[fmt.Sprint(want)]; !ok {
			t.Errorf("%s %s does not answer %d but %v", p.Method, p.Path, want, slices.Sorted(maps.Keys(responses)))
		}
	}
}

// expectedStatus is the status of success of an endpoint.
func expectedStatus(p promise) int {
	last := p.Path[strings.LastIndex(p.Path, "/")+1:]
	switch p.Method {
	case http.MethodPut:
		return http.StatusNoContent
	case http.MethodDelete:
		switch {
		case strings.HasSuffix(p.Path, "/installs/{install_id}"):
			return http.StatusAccepted
		case len(p.Response) > 0: // archived, and shown
			return http.StatusOK
		}
		return http.StatusNoContent
	case http.MethodPost:
		switch last {
		case "zones", "applications", "providers", "resources", "application-credentials", "members", "token", "accept":
			return http.StatusOK
		case "installs":
			return http.StatusAccepted
		}
		return http.StatusCreated
	}
	return http.StatusOK
}

// shapes are what values look like, by the names of their members.
var shapes = []struct{ name, value *regexp.Regexp }{
	// The target of an event may be an edge between two.
	{regexp.MustCompile(`^(id|(organization|zone|application|resource|provider|policy|policy_set|user|session|user_agent)_id)$`), regexp.MustCompile(`^[a-z0-9]{26}(/[a-z0-9]{26})?$`)},
	{regexp.MustCompile(`^slug$`), regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)},
	{regexp.MustCompile(`^slug$|^label$`), regexp.MustCompile(`^.{1,63}$`)},
	{regexp.MustCompile(`_at$|^time$|^timestamp$`), regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)},
	{regexp.MustCompile(`_cursor$`), regexp.MustCompile(`^.{1,255}$`)},
	{regexp.MustCompile(`^(manifest_)?sha$`), regexp.MustCompile(`^[0-9a-f]{64}$`)},
	{regexp.MustCompile(`^owner_type$`), regexp.MustCompile(`^(platform|customer)$`)},
	{regexp.MustCompile(`^request_id$`), regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)},
}

// TestShapes looks at every value of every answer: ids, slugs, times, cursors
// and hashes look like one, secrets and deprecated objects are not there.
func TestShapes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	own := newEstate(s, "admin", s.vars["org"], "Own")
	hidden := regexp.MustCompile(`^(password|client_secret|application|provider|credential_provider|user|user_agent)$`)
	for _, op := range operationsOf(s.document()) {
		if op.method != http.MethodGet {
			continue
		}
		w := own.call("GET "+own.path(op.path, nil), "")
		if w.Header().Get("Content-Type") == bundle.MediaType {
			continue
		}
		var body any
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		eachMember(body, func(name string, value any) {
			text, isText := value.(string)
			for _, shape := range shapes {
				if isText && shape.name.MatchString(name) && !shape.value.MatchString(text) {
					t.Errorf("%s: %s is %q", op.path, name, text)
				}
			}
			if hidden.MatchString(name) {
				t.Errorf("%s shows %s: %v", op.path, name, value)
			}
		})
	}
}

// eachMember calls do with every member of every object in a value.
func eachMember(v any, do func(name string, value any)) {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			do(name, value)
			switch name {
			case "cedar_json", "cedar_schema_json": // members there are Cedar's
			case "input_schema", "output_schema", "effective_schema", "effective_bindings", "schema": // and there those of packages
			default:
				eachMember(value, do)
			}
		}
	case []any:
		for _, item := range v {
			eachMember(item, do)
		}
	}
}

// TestListRules asks every list what every list must take and refuse.
func TestListRules(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	own := newEstate(s, "admin", s.vars["org"], "Own")
	sibling := newEstate(s, "admin", s.vars["org"], "Sibling")
	cursors := map[string]string{} // by path
	for _, op := range operationsOf(s.document()) {
		if _, pages := op.parameters()["query"]["after"]; !pages || op.method != http.MethodGet {
			continue
		}
		path := own.path(op.path, nil)
		want := func(status int, query string) {
			t.Helper()
			if w := own.call("GET "+path+"?"+query, ""); w.Code != status {
				t.Errorf("GET %s?%.80s: status %d, want %d: %s", op.path, query, w.Code, status, w.Body)
			}
		}
		for _, query := range []string{"limit=1", "limit=100", "unheard_of=1&unheard_of=2", "after=&before=", "limit="} {
			want(http.StatusOK, query)
		}
		for _, query := range []string{
			"limit=0", "limit=101", "limit=-1", "limit=ten", "limit=1&limit=2", "after=made-up", "before=made-up", "after=" + strings.Repeat("a", 256),
			"after=a&before=b", "after=a&after=b", "limit=%zz", "after=%00",
		} {
			want(http.StatusBadRequest, query)
		}
		cursor := own.cursor(path)
		if cursor == "" {
			continue // all on one page, and the list has no page_info
		}
		cursors[op.path] = cursor
		want(http.StatusOK, "after="+cursor)
		want(http.StatusOK, "before="+cursor)
		want(http.StatusBadRequest, "after="+cursor+"&before="+cursor)
		want(http.StatusBadRequest, "after="+tampered(cursor))
		want(http.StatusBadRequest, "after="+cursor+"A")
		for name, f := range op.parameters()["query"] {
			if f.types["string"] && len(f.enum) == 0 && !slices.Contains([]string{"after", "before", "cursor", "sort", "since", "until"}, name) {
				want(http.StatusBadRequest, "after="+cursor+"&"+escapeQuery(name)+"="+unknown) // of another selection
			}
		}
		if theirs := sibling.cursor(sibling.path(op.path, nil)); theirs != "" && sibling.path(op.path, nil) != path {
			want(http.StatusBadRequest, "after="+theirs)
		}
	}
	if len(cursors) < 5 {
		t.Errorf("only %d lists gave a cursor", len(cursors))
	}
	for path := range cursors {
		for other, cursor := range cursors {
			if w := own.call("GET "+own.path(path, nil)+"?after="+cursor, ""); path != other && w.Code != http.StatusBadRequest {
				t.Errorf("%s takes a cursor of %s: status %d", path, other, w.Code)
			}
		}
	}
}

// cursor returns a cursor of a list, if it gives one.
func (e *estate) cursor(path string) string {
	e.t.Helper()
	w := e.call("GET "+path+"?limit=1", "")
	if next := text(w, "pagination.after_cursor"); next != "" {
		return next
	}
	return text(w, "page_info.end_cursor")
}

// tampered returns a cursor with one character in its middle changed.
func tampered(cursor string) string {
	b := []byte(cursor)
	if b[len(b)/2] == 'A' {
		b[len(b)/2] = 'B'
	} else {
		b[len(b)/2] = 'A'
	}
	return string(b)
}

// TestParameterRules asks every operation with parameters: values outside an
// enumeration, more than one where one is meant, and lists in one value.
func TestParameterRules(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	own := newEstate(s, "admin", s.vars["org"], "Own")
	for _, op := range operationsOf(s.document()) {
		path := own.path(op.path, nil)
		lenient := strings.HasPrefix(op.path, "/organizations")
		for name, f := range op.parameters()["query"] {
			want := func(status int, values ...string) {
				t.Helper()
				query := ""
				for _, v := range values {
					query += "&" + escapeQuery(name) + "=" + v
				}
				if w := own.call(op.method+" "+path+"?"+query[1:], own.bodyFor(op.method, op.path)); w.Code != status {
					t.Errorf("%s %s?%s: status %d, want %d: %s", op.method, op.path, query[1:], w.Code, status, w.Body)
				}
			}
			expand := strings.HasPrefix(name, "expand")
			if (len(f.enum) > 0 || f.types["boolean"]) && !(expand && lenient) {
				want(http.StatusBadRequest, "zqx")
			}
			if len(f.enum) == 1 && f.types["boolean"] {
				want(http.StatusBadRequest, "false") // only true means something
			}
			if !f.types["array"] {
				want(http.StatusBadRequest, "zqx1", "zqx2")
			}
			if strings.HasPrefix(name, "filter[") && len(f.enum) > 1 {
				want(http.StatusBadRequest, fmt.Sprintf("%v,%v", f.enum[0], f.enum[1]))
			}
			if expand && op.method == http.MethodGet {
				for _, spelling := range []string{"expand", "expand[]"} {
					query := ""
					for _, v := range f.enum {
						query += "&" + escapeQuery(spelling) + "=" + fmt.Sprint(v)
					}
					if w := own.call("GET "+path+"?"+query[1:], ""); w.Code != http.StatusOK {
						t.Errorf("GET %s?%s: status %d: %s", op.path, query[1:], w.Code, w.Body)
					}
				}
			}
		}
	}
}

// withoutData returns an answer without what only a read of one shows: what a
// secret consists of.
func withoutData(w *httptest.ResponseRecorder) string {
	var members map[string]any
	_ = json.Unmarshal(w.Body.Bytes(), &members) // what is no object has none
	delete(members, "data")
	return fmt.Sprint(members)
}

// TestPatchRules changes nothing by every change that names nothing, and gives
// every member null.
func TestPatchRules(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	own := newEstate(s, "admin", s.vars["org"], "Own")
	for _, op := range operationsOf(s.document()) {
		if op.method != http.MethodPatch {
			continue
		}
		path := own.path(op.path, nil)
		members := op.body()
		if schema, _ := op.bodySchema(); len(list(schema["required"])) == 0 && !isAct(op) {
			before := withoutData(own.call("GET "+path, ""))
			for _, body := range []string{"", "{}", " null\n", `{"unheard_of":1}`} {
				w := own.call("PATCH "+path, body)
				if w.Code != http.StatusOK || withoutData(w) != before {
					t.Errorf("PATCH %s with %q: status %d: %s, was %s", op.path, body, w.Code, w.Body, before)
				}
			}
		}
		for name, f := range members {
			if name == "" || strings.ContainsAny(name, ".[{") || len(f.types) == 0 {
				continue
			}
			w := own.call("PATCH "+path, `{"`+name+`":null}`)
			if refused := w.Code == http.StatusBadRequest && text(w, "details.0.field") == name; refused == f.nullable {
				t.Errorf("PATCH %s with %s null: status %d: %s", op.path, name, w.Code, w.Body)
			}
		}
	}
}

// isAct reports whether a PATCH does something by itself, whatever its body.
func isAct(op described) bool { return op.op["x-deputy-action"] == "policy_set_versions:activate" }

// TestTextRules gives names, descriptions and identifiers at their bounds and
// beyond, markup and control characters.
func TestTextRules(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	own := newEstate(s, "admin", s.vars["org"], "Own")
	for _, template := range []string{
		"/zones/{zone_id}", "/zones/{zone_id}/applications/{id}", "/zones/{zone_id}/providers/{id}", "/zones/{zone_id}/resources/{id}",
	} {
		op, ok := operationsOf(s.document())["PATCH "+anyParam.ReplaceAllString(template, "{}")]
		if !ok {
			t.Fatalf("no PATCH %s", template)
		}
		for member, longest := range map[string]int{"name": 255, "description": 2048, "identifier": 2048} {
			if _, has := op.body()[member]; !has {
				continue // zones have no identifier
			}
			for value, status := range map[string]int{
				strings.Repeat("x", longest): 200, strings.Repeat("x", longest+1): 400, strings.Repeat("ü", longest): 200,
				"<b>x</b>": 400, "<script>": 400, "a\\u0000b": 400, "a\\nb": 400, "a\\u007fb": 400, "a\\u0085b": 400, "x < y": 200, "¿Qué? \U0001F600": 200,
			} {
				w := own.call("PATCH "+own.path(template, nil), `{"`+member+`":"`+value+`"}`)
				if w.Code != status || status == 400 && text(w, "details.0.field") != member {
					t.Errorf("PATCH %s with %s %.20q of %d: status %d, want %d: %s", template, member, value, len(value), w.Code, status, w.Body)
				}
				if status == 200 && text(w, member) != value {
					t.Errorf("PATCH %s: %s came back as %q", template, member, text(w, member))
				}
			}
			status := map[bool]int{true: 200, false: 400}[member == "description"]
			if w := own.call("PATCH "+own.path(template, nil), `{"`+member+`":""}`); w.Code != status {
				t.Errorf("PATCH %s with an empty %s: status %d: %s", template, member, w.Code, w.Body)
			}
		}
	}
}

// TestPlatformOwned changes and deletes everything that the platform owns.
func TestPlatformOwned(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	own := newEstate(s, "admin", s.vars["org"], "Own")
	tried := 0
	for _, op := range operationsOf(s.document()) {
		if op.method != http.MethodPatch && op.method != http.MethodDelete || isAct(op) {
			continue
		}
		collection := op.path[:strings.LastIndex(op.path, "/")]
		var body any
		_ = json.Unmarshal(own.call("GET "+own.path(collection, nil), "").Body.Bytes(), &body) // no list, no items
		items, _ := at(body, "items").([]any)
		for _, item := range items {
			id, _ := at(item, "id").(string)
			if at(item, "owner_type") != "platform" {
				continue
			}
			tried++
			path := own.path(op.path, map[string]string{op.path: id})
			if w := own.call(op.method+" "+path, ""); w.Code != http.StatusForbidden {
				t.Errorf("%s %s of the platform's: status %d: %s", op.method, op.path, w.Code, w.Body)
			}
		}
	}
	if tried < 10 {
		t.Errorf("only %d things of the platform were found", tried)
	}
}

// TestHeaderRules sends what clients send along, and looks at what comes back.
func TestHeaderRules(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	own := newEstate(s, "admin", s.vars["org"], "Own")
	for _, op := range operationsOf(s.document()) {
		if op.method != http.MethodGet {
			continue
		}
		path := own.path(op.path, nil)
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			w := s.request(step{do: method + " " + path, header: map[string]string{
				"X-Client-Request-ID": requestID, "X-API-Version": "2031-02-03", "X-Stainless-Lang": "go", "Idempotency-Key": "k",
				"X-Client-Trace-Id": "t", "Accept": "*/*", "Authorization": "bearer admin",
			}})
			if w.Code != http.StatusOK || w.Header().Get("X-Client-Request-ID") != requestID {
				t.Errorf("%s %s: status %d, request id %q", method, op.path, w.Code, w.Header().Get("X-Client-Request-ID"))
			}
		}
		for _, accept := range []string{"application/xml", "text/html;q=0.9, */*;q=0.1", "nonsense"} {
			if w := s.request(step{do: "GET " + path, header: map[string]string{"Accept": accept}}); w.Code != http.StatusOK && op.path != bundles {
				t.Errorf("GET %s with Accept %s: status %d", op.path, accept, w.Code)
			}
		}
		if _, pages := op.parameters()["query"]["after"]; !pages {
			continue
		}
		for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodOptions, "LINK"} {
			w := s.request(step{do: method + " " + path})
			if w.Code != http.StatusMethodNotAllowed || !strings.Contains(w.Header().Get("Allow"), "GET") || text(w, "message") == "" {
				t.Errorf("%s %s: status %d, Allow %q: %s", method, op.path, w.Code, w.Header().Get("Allow"), w.Body)
			}
		}
	}
}
