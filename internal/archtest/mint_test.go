package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"testing"
)

// signs returns where a file of the authorization server calls a Sign, but for the
// mint.
func (f source) signs() (at []token.Pos) {
	if f.pkg != "internal/oauth" || f.name == "internal/oauth/mint.go" {
		return nil
	}
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sign" {
				at = append(at, n.Pos())
			}
		}
		return true
	})
	return at
}

// TestOneMint: the authorization server signs in one file, where everything that a
// signature rests on is asked about once more.
func TestOneMint(t *testing.T) {
	for _, f := range sources(t) {
		for _, at := range f.signs() {
			t.Errorf("%s: a grant or an endpoint signs by itself: go through the mint", f.fset.Position(at))
		}
	}
	files := token.NewFileSet()
	syntax, err := parser.ParseFile(files, "x.go", "package oauth\nfunc f(s signer) { s.Sign(nil) }", 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"internal/oauth/grant.go": 1, "internal/oauth/mint.go": 0} {
		if n := len((source{"internal/oauth", name, syntax, files}).signs()); n != want {
			t.Errorf("%s: %d found, want %d", name, n, want)
		}
	}
}
