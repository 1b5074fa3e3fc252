package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"deputy/internal/deputytest"
)

// TestThePagesRun runs every bash block of the pages below, in order, in one
// shell beside a fresh server. A block that follows one directly is what it
// must print, where … stands for anything.
func TestThePagesRun(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"bash", "curl", "jq"} {
		deputytest.Program(t, program)
	}
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"../../README.md", "../../docs/first-steps.md", "../../docs/clients.md", "../../docs/policies.md", "../../docs/workloads.md", "../../docs/catalog.md"} {
		t.Run(filepath.Base(page), func(t *testing.T) {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			folder := t.TempDir()
			startNode(t, filepath.Join(folder, "deputy-data"))
			blocks := blocksOf(string(text))
			if len(blocks) == 0 {
				t.Fatal("no bash block found")
			}
			var script strings.Builder
			for _, b := range blocks {
				script.WriteString(b.commands + "printf '\\036'\n")
			}
			shell := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script.String())
			shell.Dir, shell.Env = folder, environment("PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"))
			var stderr output
			shell.Stderr = &stderr
			stdout, err := shell.Output()
			printed := strings.Split(string(stdout), "\x1e")
			for i, b := range blocks {
				if i >= len(printed)-1 {
					t.Fatalf("the shell ended (%v) in\n%s\n%s%s", err, b.commands, printed[len(printed)-1], &stderr)
				}
				if b.prints != "" && !pattern(b.prints).MatchString(strings.TrimSpace(printed[i])) {
					t.Errorf("%s\nprinted\n%s\nand not\n%s", b.commands, printed[i], b.prints)
				}
			}
			if err != nil || stderr.String() != "" {
				t.Errorf("%v\n%s", err, &stderr)
			}
		})
	}
}

// block is a bash block of a page with what it must print, if that is shown.
type block struct{ commands, prints string }

var fence = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```\n(\n```\\w*\n(.*?)^```\n)?")

func blocksOf(page string) (blocks []block) {
	for page != "" {
		at := fence.FindStringSubmatchIndex(page)
		if at == nil {
			return blocks
		}
		language, commands, rest := page[at[2]:at[3]], page[at[4]:at[5]], at[5]+len("```\n")
		if language == "bash" {
			b := block{commands: commands}
			if at[6] >= 0 && !strings.HasPrefix(page[at[6]:], "\n```bash\n") {
				b.prints, rest = page[at[8]:at[9]], at[1]
			}
			blocks = append(blocks, b)
		}
		page = page[rest:]
	}
	return blocks
}

// pattern matches text in which … stands for anything.
func pattern(text string) *regexp.Regexp {
	parts := strings.Split(strings.TrimSpace(text), "…")
	for i, p := range parts {
		parts[i] = regexp.QuoteMeta(p)
	}
	return regexp.MustCompile(`(?s)^` + strings.Join(parts, ".*") + `$`)
}

var link = regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`)

// Every link to a page of ours leads somewhere.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"../../docs/*.md", "../../docs/*/*.md"} {
		more, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, more...)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range link.FindAllStringSubmatch(string(text), -1) {
			if target := found[1]; !strings.Contains(target, "://") {
				if _, err := os.Stat(filepath.Join(filepath.Dir(page), target)); err != nil {
					t.Errorf("%s: %v", page, err)
				}
			}
		}
	}
}
