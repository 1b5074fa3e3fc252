package archtest

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strconv"
	"testing"
)

// ban keeps names of one package out of the tree but for a few places.
type ban struct {
	path    string   // the import path
	names   []string // its names; none means the import itself
	types   []string // names whose values are banned, while a pointer to one may be named
	allowed []string // packages of ours that may use them
	why     string
}

var bans = []ban{
	{
		path:    "net/http",
		names:   []string{"DefaultClient", "DefaultTransport", "Get", "Head", "Post", "PostForm"},
		types:   []string{"Client", "Transport"},
		allowed: []string{"internal/upstream", "internal/client"},
		why:     "requests leave through internal/upstream alone, which checks the address when it dials",
	}, {
		path:    "time",
		names:   []string{"Now", "Since", "Until"},
		allowed: []string{"internal/server", "internal/demo", "internal/bench", "cmd"},
		why:     "the clock is injected as Now func() time.Time, so that a test can set it",
	}, {
		path: "math/rand",
		why:  "chance comes from crypto/rand, where it can be neither guessed nor repeated",
	}, {
		path: "math/rand/v2",
		why:  "chance comes from crypto/rand, where it can be neither guessed nor repeated",
	},
}

func TestBans(t *testing.T) {
	for _, f := range sources(t) {
		for _, v := range f.banned() {
			t.Error(v)
		}
	}
}

// banned returns a sentence for each use of a banned name in f.
func (f source) banned() (found []string) {
	for _, b := range bans {
		if slices.ContainsFunc(b.allowed, func(p string) bool { return within(f.pkg, p) }) {
			continue
		}
		for _, node := range f.uses(b) {
			found = append(found, fmt.Sprintf("%s: %s: %s", f.fset.Position(node.Pos()), b.path, b.why))
		}
	}
	return found
}

// uses returns the places where f uses what b bans.
func (f source) uses(b ban) (nodes []ast.Node) {
	for _, spec := range f.syntax.Imports {
		if imported, err := strconv.Unquote(spec.Path.Value); err != nil || imported != b.path {
			continue
		}
		local := path.Base(b.path)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		if local == "." || len(b.names) == 0 { // a dot would hide the names
			nodes = append(nodes, spec)
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if star, ok := n.(*ast.StarExpr); ok && selects(star.X, local, b.types) {
				return false // the type of a client that somebody else makes
			}
			if selects(n, local, b.names) || selects(n, local, b.types) {
				nodes = append(nodes, n)
			}
			return true
		})
	}
	return nodes
}

// selects reports whether n is local.name for one of the names.
func selects(n ast.Node, local string, names []string) bool {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == local && slices.Contains(names, sel.Sel.Name)
}

func TestEachBanBites(t *testing.T) {
	const elsewhere = "internal/oauth"
	for _, b := range bans {
		for _, name := range append(slices.Clone(b.names), b.types...) {
			plain := fmt.Sprintf("package x\nimport %q\nvar _ = %s.%s\n", b.path, path.Base(b.path), name)
			renamed := fmt.Sprintf("package x\nimport other %q\nvar _ = other.%s\n", b.path, name)
			for _, text := range []string{plain, renamed} {
				expect(t, elsewhere, text, true)
				for _, place := range b.allowed {
					expect(t, place, text, false)
					expect(t, place+"/below", text, false)
				}
			}
		}
		expect(t, elsewhere, fmt.Sprintf("package x\nimport . %q\n", b.path), true)
	}
	for text, banned := range map[string]bool{
		`import "net/http"; var c = &http.Client{}`:             true,
		`import "net/http"; var c = new(http.Client)`:           true,
		`import "net/http"; var c http.Client`:                  true,
		`import "net/http"; var c = *http.DefaultClient`:        true,
		`import "net/http"; func f() { go http.Get("x") }`:      true,
		`import "time"; var now func() time.Time = time.Now`:    true,
		`import "math/rand"`:                                    true,
		`import "math/rand/v2"`:                                 true,
		`import "net/http"; func f(c *http.Client) { c.Get() }`: false,
		`import "net/http"; var h http.Handler`:                 false,
		`import "time"; type T struct{ Now func() time.Time }`:  false,
		`import "crypto/rand"; var r = rand.Text()`:             false,
		`var s = "time.Now" // time.Now`:                        false,
	} {
		expect(t, elsewhere, "package x\n"+text+"\n", banned)
	}
}

func expect(t *testing.T, pkg, text string, banned bool) {
	t.Helper()
	f, err := parse(pkg+"/x.go", text)
	if err != nil {
		t.Fatal(err)
	}
	if found := f.banned(); banned != (len(found) > 0) {
		t.Errorf("in %s, banned is %t, want %t:\n%s", pkg, !banned, banned, text)
	}
}
