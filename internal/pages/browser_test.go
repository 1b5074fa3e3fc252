package pages_test

import (
	_ "embed"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"deputy/internal/deputytest"
	"deputy/internal/pages"
)

//go:embed testdata/look.mjs
var look string

// TestPagesInABrowser shows every page, or where a part is enough every third, to a real browser, in both themes and as
// wide as a phone: nothing breaks the content security policy, nothing keeps
// people with a screen reader or a keyboard out, and nothing has to be scrolled
// aside. It takes a picture of each: in DEPUTY_TEST_SCREENS, a folder, where it
// is set.
func TestPagesInABrowser(t *testing.T) {
	t.Parallel()
	seen := frame
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, ok := strings.CutPrefix(r.URL.Path, seen.Base+pages.AssetPath); ok {
			pages.ServeAsset(w, name)
			return
		}
		p, ok := samples[strings.TrimPrefix(r.URL.Path, "/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		pages.Write(w, http.StatusOK, seen, p)
	}))
	defer s.Close()
	screens, every := os.Getenv("DEPUTY_TEST_SCREENS"), 1
	if screens == "" {
		screens, every = t.TempDir(), deputytest.Times(3, 1, 1)
	}
	var names []string
	for few := range slices.Chunk(pictured(), every) {
		names = append(names, few[0])
	}
	input, err := json.Marshal(map[string]any{"base": s.URL, "screens": screens, "pages": names})
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	if err := json.Unmarshal(deputytest.Node(t, look, input), &found); err != nil {
		t.Fatal(err)
	}
	for _, problem := range found {
		t.Error(problem)
	}
	pictures, err := filepath.Glob(filepath.Join(screens, "*.png"))
	if err != nil || len(pictures) < 3*len(names) {
		t.Errorf("%d pictures of %d pages: %v", len(pictures), len(names), err)
	}
}

// alike are samples that look like another but for a sentence.
var alike = []string{
	"password-throttled", "password-busy", "signup-short", "signup-long", "signup-common", "account-empty", "account-saved",
	"account-removed", "account-passkey", "add-passkey-failed", "invitation-known", "done-verified", "done-signedout",
	"done-reset", "done-joined", "error-expired", "error-provider", "error-identity", "error-forged", "error-link", "error-invitation",
	"error-internal", "error-throttled",
}

// pictured returns the names of the samples that are looked at.
func pictured() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(samples)), func(name string) bool { return slices.Contains(alike, name) })
}
