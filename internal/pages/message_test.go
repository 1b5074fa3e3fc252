package pages_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"deputy/internal/pages"
)

var (
	inTemplate = regexp.MustCompile(`\{\{-?\s*(?:if [^}]*)?t "([^"]+)"`)
	// inPrintf are the families of names whose end is a value.
	inPrintf = regexp.MustCompile(`t \(printf "([^"%]*)%s([^"]*)" `)
	inGo     = regexp.MustCompile(`Message\s+= "([^"]+)"`)
	word     = regexp.MustCompile(`\{(\w+)\}`)
)

// TestEverySentenceIsThereAndSaid compares the sentences with the names that
// templates and code say.
func TestEverySentenceIsThereAndSaid(t *testing.T) {
	t.Parallel()
	var said []string
	var families [][2]string
	files, err := filepath.Glob("template/*.html")
	if err != nil || len(files) == 0 {
		t.Fatal("no templates: ", err)
	}
	for _, file := range append(files, "page.go") {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inTemplate.FindAllStringSubmatch(string(raw), -1) {
			said = append(said, m[1])
		}
		for _, m := range inPrintf.FindAllStringSubmatch(string(raw), -1) {
			families = append(families, [2]string{m[1], m[2]})
		}
		for _, m := range inGo.FindAllStringSubmatch(string(raw), -1) {
			said = append(said, m[1])
			if strings.HasPrefix(m[1], "stop.") || strings.HasPrefix(m[1], "done.") {
				said = append(said, m[1]+".text")
			}
		}
	}
	for language, sentences := range pages.Sentences() {
		unsaid := make(map[string]bool)
		for name := range sentences {
			unsaid[name] = true
		}
		for _, name := range said {
			if sentences[name] == "" {
				t.Errorf("%s: there is no sentence %s", language, name)
			}
			delete(unsaid, name)
		}
		for name := range unsaid {
			member := false
			for _, f := range families {
				member = member || f[0] != "" && strings.HasPrefix(name, f[0]) && strings.HasSuffix(name, f[1])
			}
			if !member {
				t.Errorf("%s: nothing says %s", language, name)
			}
		}
		for name, sentence := range pages.Sentences()["en"] {
			for _, m := range word.FindAllString(sentence, -1) {
				if !strings.Contains(sentences[name], m) {
					t.Errorf("%s: %s leaves out %s", language, name, m)
				}
			}
		}
	}
}

// TestNoPageShowsTheNameOfASentence draws every sample: a sentence that is
// missing shows as its name, a word that nobody filled in as its braces.
func TestNoPageShowsTheNameOfASentence(t *testing.T) {
	t.Parallel()
	unfilled := regexp.MustCompile(`\{\w+\}|>\s*[a-z]+\.[a-z.-]+\s*<`)
	for name, p := range samples {
		body := draw(frame, p).Body.String()
		body = regexp.MustCompile(`data-options="[^"]*"`).ReplaceAllString(body, "")
		if m := unfilled.FindString(strings.ReplaceAll(body, ">id.example/z/01jd<", "><")); m != "" && !strings.Contains(m, "acme.example") && !strings.Contains(m, "notes.example") {
			t.Errorf("%s shows %q", name, m)
		}
	}
}
