package api_test

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"flag"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"deputy/internal/api"
	"deputy/internal/deputytest"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares text with a file under testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s is not as reviewed; if the change is meant, run the test with -update (-want +got):\n%s", path, diff)
	}
}

// TestRoutes keeps the API on one page: method, path, operation, action, who may
// call it, event.
func TestRoutes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var b strings.Builder
	for _, r := range s.api.Routes() {
		callers := strings.Join(r.Callers, " ")
		if r.Public {
			callers = "everybody"
		}
		b.WriteString(strings.Join([]string{r.Method, r.Path, r.Operation, orDash(r.Action), orDash(callers), orDash(r.Event)}, "\t") + "\n")
	}
	golden(t, "routes.txt", b.String())
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// TestDocument keeps the OpenAPI document under review.
func TestDocument(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	w := httptest.NewRecorder()
	s.api.ServeHTTP(w, httptest.NewRequest("GET", "/openapi.json", nil))
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("status %d, content type %q", w.Code, w.Header().Get("Content-Type"))
	}
	golden(t, "openapi.json", w.Body.String()+"\n")
	for _, odd := range []string{`"422"`, "application/octet-stream", `"null",`} {
		if strings.Contains(w.Body.String(), odd) {
			t.Errorf("the document holds %s", odd)
		}
	}
}

// TestDocs reads the page without a network: it holds every operation, no
// script, and only the style that its policy names.
func TestDocs(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	w := httptest.NewRecorder()
	s.api.ServeHTTP(w, httptest.NewRequest("GET", "/docs", nil))
	page, policy := w.Body.String(), w.Header().Get("Content-Security-Policy")
	if w.Code != 200 || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("status %d, content type %q", w.Code, w.Header().Get("Content-Type"))
	}
	if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
	_, style, _ := strings.Cut(page, "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	if sum := sha256.Sum256([]byte(style)); !strings.Contains(policy, base64.StdEncoding.EncodeToString(sum[:])) {
		t.Error("the policy does not let the page's own style in")
	}
	for _, r := range s.api.Routes() {
		if !strings.Contains(page, `id="`+r.Operation+`"`) {
			t.Errorf("the page lacks %s", r.Operation)
		}
	}
	for _, odd := range []string{"<script", "<link", "<img", " style=", "ZgotmplZ", "url("} {
		if strings.Contains(page, odd) {
			t.Errorf("the page holds %s", odd)
		}
	}
	if loads := regexp.MustCompile(`(src|href)="https?:`).FindString(page); loads != "" {
		t.Errorf("the page points outside: %s", loads)
	}
}

//go:embed testdata/docs.mjs
var lookAtDocs string

// TestDocsInABrowser shows the page to a real browser, in both themes and as
// wide as a phone: nothing breaks its content security policy, leaves the
// server, keeps people with a screen reader or a keyboard out, or has to be
// scrolled aside. It takes pictures: in DEPUTY_TEST_SCREENS, a folder, where it
// is set.
func TestDocsInABrowser(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(newServer(t).api)
	defer s.Close()
	screens := os.Getenv("DEPUTY_TEST_SCREENS")
	if screens == "" {
		screens = t.TempDir()
	}
	input, err := json.Marshal(map[string]string{"base": s.URL, "screens": screens})
	if err != nil {
		t.Fatal(err)
	}
	var problems []string
	if err := json.Unmarshal(deputytest.Node(t, lookAtDocs, input), &problems); err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Error(problem)
	}
}

// TestConfig refuses to start half set.
func TestConfig(t *testing.T) {
	t.Parallel()
	if _, err := api.New(api.Config{}); err == nil {
		t.Error("an API without a store was made")
	}
}
