package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"deputy/internal/api"
	"deputy/internal/bundle"
	"deputy/internal/deputy"
	"deputy/internal/vault"
)

// document is the OpenAPI document, for checking answers.
var document = sync.OnceValues(func() (map[string]any, error) {
	a, err := api.New(api.Config{
		Store: struct{ deputy.Store }{}, Vault: &vault.Vault{}, Pool: pool, Sealing: openSealing{}, Now: time.Now,
		Authenticate: func(context.Context, string, string) (*deputy.Caller, error) { return nil, errors.New("nobody") },
		IssueBearer:  func(context.Context, deputy.BearerRequest) (*deputy.Bearer, error) { return nil, errors.New("nobody") },
	})
	if err != nil {
		return nil, err
	}
	raw, err := a.Document()
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	return doc.(map[string]any), nil
})

// plainHeaders say nothing of an operation: every answer may have them.
var plainHeaders = []string{"Cache-Control", "Content-Type", "X-Content-Type-Options"}

// beside are paths that are not operations of the document.
var beside = []string{"/openapi.json", "/docs"}

// conforms checks that an answer is one that the document promises: its
// status, its headers, its content type and its body. Where no operation is,
// the answer is an error all the same.
func conforms(t testing.TB, r *http.Request, w *httptest.ResponseRecorder) {
	t.Helper()
	if _, err := document(); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(beside, r.URL.Path) {
		return
	}
	name := r.Method + " " + r.URL.Path
	op, found := operationAt(r.Method, r.URL.EscapedPath())
	if !found {
		if w.Code != http.StatusNotFound && w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: status %d where no operation is", name, w.Code)
		}
		if allow := w.Header().Get("Allow"); (w.Code == http.StatusMethodNotAllowed) != (allow != "") {
			t.Errorf("%s: status %d with Allow %q", name, w.Code, allow)
		}
		if r.Method != http.MethodHead {
			checkBody(t, name, "/components/schemas/Error", w)
		}
		return
	}
	op.checkAnswer(t, name, r.Method == http.MethodHead, w)
}

// served are the operations of the document.
var served = sync.OnceValue(func() map[string]described {
	doc, _ := document()
	return operationsOf(doc)
})

// operationAt returns the operation that takes a method and path. HEAD is
// answered as GET is.
func operationAt(method, path string) (described, bool) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	path = slashes.ReplaceAllString(path, "/")
	for _, op := range served() {
		if op.method == method && op.pattern().MatchString(path) {
			return op, true
		}
	}
	return described{}, false
}

var slashes = regexp.MustCompile(`/+`)

var patterns sync.Map // path template → *regexp.Regexp

// pattern matches the paths of the operation.
func (d described) pattern() *regexp.Regexp {
	if p, ok := patterns.Load(d.path); ok {
		return p.(*regexp.Regexp)
	}
	quoted := regexp.QuoteMeta(d.path)
	p := regexp.MustCompile("^" + regexp.MustCompile(`\\\{[^}]*\\\}`).ReplaceAllString(quoted, "[^/]+") + "$")
	patterns.Store(d.path, p)
	return p
}

func (d described) checkAnswer(t testing.TB, name string, head bool, w *httptest.ResponseRecorder) {
	t.Helper()
	responses := d.op["responses"].(map[string]any)
	written, ok := responses[fmt.Sprint(w.Code)].(map[string]any)
	if !ok {
		t.Errorf("%s: the document knows no status %d", name, w.Code)
		return
	}
	response := d.deref(written)
	headers, _ := response["headers"].(map[string]any)
	for header := range w.Header() {
		known := slices.Contains(plainHeaders, header)
		for promised := range headers {
			known = known || strings.EqualFold(promised, header)
		}
		if !known {
			t.Errorf("%s: the document knows no header %s of status %d", name, header, w.Code)
		}
	}
	if w.Header().Get("X-Client-Request-ID") == "" {
		t.Errorf("%s: the answer has no request id", name)
	}
	if response["content"] == nil {
		if w.Body.Len() > 0 {
			t.Errorf("%s: the document promises no body of status %d: %s", name, w.Code, w.Body)
		}
		return
	}
	if head {
		return
	}
	at := "/paths/" + escapePointer(d.path) + "/" + strings.ToLower(d.method) + "/responses/" + fmt.Sprint(w.Code)
	if ref, ok := written["$ref"].(string); ok {
		at = strings.TrimPrefix(ref, "#")
	}
	if w.Header().Get("Content-Type") == bundle.MediaType { // the one answer that is not JSON
		schemaAt(t, at+"/content/"+escapePointer(bundle.MediaType)+"/schema")
		return
	}
	checkBody(t, name, at+"/content/application~1json/schema", w)
}

func escapePointer(s string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(s) }

// checkBody checks that the body is JSON of the schema at a place in the
// document.
func checkBody(t testing.TB, name, pointer string, w *httptest.ResponseRecorder) {
	t.Helper()
	if ct := w.Header().Get("Content-Type"); ct != "application/json" {
		t.Errorf("%s: content type %q", name, ct)
	}
	body, err := jsonschema.UnmarshalJSON(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Errorf("%s: %v: %s", name, err, w.Body)
		return
	}
	if err := schemaAt(t, pointer).Validate(body); err != nil {
		t.Errorf("%s: the answer %s is not as documented: %v", name, w.Body, err)
	}
}

// closed returns a copy of a document whose objects have no members but those
// it names: the document lets requests hold more, but answers do not.
func closed(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, value := range v {
			out[name] = closed(value)
		}
		if _, object := v["properties"].(map[string]any); object && v["additionalProperties"] == true {
			delete(out, "additionalProperties")
			out["unevaluatedProperties"] = false
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = closed(value)
		}
		return out
	}
	return v
}

// refuse loads no schema: the document is whole.
type refuse struct{}

func (refuse) Load(url string) (any, error) { return nil, errors.New("remote reference: " + url) }

var (
	compiling sync.Mutex
	compiled  = map[string]*jsonschema.Schema{} // by pointer into the document
)

func schemaAt(t testing.TB, pointer string) *jsonschema.Schema {
	t.Helper()
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	compiling.Lock()
	defer compiling.Unlock()
	if s := compiled[pointer]; s != nil {
		return s
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(jsonschema.SchemeURLLoader{"mem": refuse{}})
	if err := c.AddResource("mem:///openapi.json", closed(doc)); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("mem:///openapi.json#" + strings.NewReplacer("{", "%7B", "}", "%7D").Replace(pointer))
	if err != nil {
		t.Fatal(err)
	}
	compiled[pointer] = s
	return s
}
