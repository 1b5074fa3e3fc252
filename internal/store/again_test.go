package store

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestWhatIsDecidedByCountsItsChanges: a commit takes a session, a user or a
// grant for what it was while its revision is what it was. So a statement that
// changes one counts it up, unless it changes nothing that a decision sees.
func TestWhatIsDecidedByCountsItsChanges(t *testing.T) {
	unseen := []string{
		"UPDATE grants SET sealed = NULL WHERE",             // of a grant that was revoked, which counted
		"UPDATE grants SET lease_until = $1, fence = fence", // who refreshes it
		"UPDATE grants SET lease_until = 0 WHERE",
	}
	statement := regexp.MustCompile(`"UPDATE (sessions|users|grants) SET [^"]*"(?:\s*\+\s*"[^"]*")*`)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range statement.FindAllString(string(text), -1) {
			found++
			counts := strings.Contains(s, "revision = revision + 1")
			if !counts && !slices.ContainsFunc(unseen, func(start string) bool { return strings.HasPrefix(s, `"`+start) }) {
				t.Errorf("%s: %s", file, s)
			}
		}
	}
	if found < 4 {
		t.Errorf("%d statements", found)
	}
}

// TestAStatementChangesTheTableItNames: what is known of rows is forgotten by
// the name of the table in a statement, so no other may change with it.
func TestAStatementChangesTheTableItNames(t *testing.T) {
	files, err := filepath.Glob("migrations/*/*.sql")
	if err != nil || len(files) < 20 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if more := regexp.MustCompile(`(?i)\bTRIGGER\b|\bCASCADE\b|\bSET (NULL|DEFAULT)\b|\bRULE\b`).Find(text); more != nil {
			t.Errorf("%s: %s", file, more)
		}
	}
}
