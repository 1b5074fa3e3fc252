package sink_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"deputy/internal/sink"
)

// kinds returns every type of event that there is: what the API's calls are
// called, and the words of this form in the source of those who write events.
func kinds(t *testing.T) (all []string) {
	t.Helper()
	routes, err := os.ReadFile("../api/testdata/routes.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(routes)) {
		columns := strings.Split(strings.TrimSpace(line), "\t")
		all = append(all, columns[3], columns[5])
	}
	word := regexp.MustCompile(`(?:Type:|event\w+ +=|Task\w+ +=) +"([a-z_]+:[a-z_]+)"`)
	for _, pattern := range []string{"oauth", "server", "api", "store", "deputy"} {
		files, err := filepath.Glob("../" + pattern + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			for _, found := range word.FindAllSubmatch(raw, -1) {
				all = append(all, string(bytes.TrimSpace(found[1])))
			}
		}
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(s string) bool { return !strings.Contains(s, ":") })
}

func TestEveryTypeOfEventHasItsClass(t *testing.T) {
	t.Parallel()
	all := kinds(t)
	for _, must := range []string{"credentials:issue", "keys:rotate", "users:login", "zones:create", "mails:send", "packages:release"} {
		if !slices.Contains(all, must) {
			t.Errorf("%s was not found among the types of events", must)
		}
	}
	for _, kind := range all {
		// A task is no event where it has no noun that a type of event could have.
		class, activity, known := sink.Classify(kind)
		if !known && kind != "catalog:run" {
			t.Errorf("%s has no class: give it one in class.go", kind)
		}
		if sink.Activities(class)[activity] == "" {
			t.Errorf("%s is of class %d, which has no activity %d", kind, class, activity)
		}
	}
	if class, _, known := sink.Classify("things:dance"); known || class != 6003 {
		t.Errorf("an unknown type is of class %d, known %t", class, known)
	}
}
