// Package archtest holds the rules of the whole tree that no compiler checks:
// which package may import which (this file), what only one package may do
// (bans_test.go), and what the program is linked from (dependencies_test.go).
//
// It reads source, not builds, so a file for another operating system or build
// tag obeys too. Test code is free of the rules: files named _test.go, and
// packages whose name ends in test.
package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the module's folder, and module its path.
const (
	root   = "../.."
	module = "deputy"
)

// Groups of outside packages that rules keep out.
var (
	httpPackages = []string{"net/http", "github.com/danielgtaylor/huma"}
	sqlPackages  = []string{"database/sql", "github.com/jackc/pgx", "modernc.org/sqlite", "github.com/pressly/goose"}
	cedar        = []string{"github.com/cedar-policy"}
	huma         = []string{"github.com/danielgtaylor/huma"}
	protocols    = []string{
		"github.com/go-jose", "github.com/coreos/go-oidc", "golang.org/x/oauth2",
		"github.com/modelcontextprotocol", "github.com/cedar-policy",
	}
	ciphers    = []string{"crypto/aes", "crypto/cipher", "crypto/rsa", "crypto/ecdsa", "crypto/ed25519"}
	thirdParty = []string{"."} // any import path whose first element has a dot
)

// rule says what one package, with all below it, may import.
type rule struct {
	pkg  string     // path below the module
	ours []string   // packages of ours it may import; everybody may import internal/deputy
	only []string   // when set, the only outside packages it may import
	not  [][]string // outside packages it must not import, with all below them
	why  string     // what would be lost
}

// rules has a row for every package: one that is not here has no place yet.
var rules = []rule{
	{
		pkg: "internal/deputy", not: [][]string{thirdParty},
		why: "the domain stands alone: it knows the standard library and nothing that is built around it",
	}, {
		pkg: "internal/store", not: [][]string{httpPackages, protocols, ciphers},
		why: "the store keeps rows: it speaks no protocol and cannot open what it keeps sealed",
	}, {
		pkg: "internal/vault", not: [][]string{httpPackages, sqlPackages},
		why: "the vault seals and opens bytes: where they lie and who asks is for others",
	}, {
		pkg: "internal/keys", ours: []string{"internal/vault"}, not: [][]string{httpPackages, sqlPackages},
		why: "keys sign and verify: they are served and stored by others",
	}, {
		pkg: "internal/mail", ours: []string{"internal/vault"}, not: [][]string{httpPackages, sqlPackages},
		why: "mail is messages and how they leave: what they say and when is for others",
	}, {
		pkg: "internal/evidence", ours: []string{"internal/keys", "internal/policy", "internal/bundle"}, not: [][]string{httpPackages, sqlPackages, cedar},
		why: "what proves the log and the policies works without the server that kept them",
	}, {
		pkg: "internal/sink", not: [][]string{sqlPackages, huma},
		why: "what streams the log reads it through the domain's types and reaches where it goes with the client it is given",
	}, {
		pkg: "internal/policy", not: [][]string{httpPackages, sqlPackages},
		why: "a decision depends on its arguments alone, so that it can be replayed",
	}, {
		pkg: "internal/bundle", not: [][]string{httpPackages, sqlPackages, cedar},
		why: "a bundle is files: what they say and how they travel is for others",
	}, {
		pkg: "internal/catalog", not: [][]string{httpPackages, sqlPackages},
		why: "expressions of strangers are evaluated away from the network and the database",
	}, {
		pkg: "internal/upstream", not: [][]string{sqlPackages, huma},
		why: "the outgoing client serves whoever asks and knows none of them",
	}, {
		pkg: "internal/broker", ours: []string{"internal/upstream"}, not: [][]string{sqlPackages, huma},
		why: "what a provider is asked and what it answers is the same for whoever asks",
	}, {
		pkg: "internal/kms", ours: []string{"internal/vault"}, not: [][]string{sqlPackages, huma},
		why: "a key service wraps and unwraps: what and for whom is for others",
	}, {
		pkg: "internal/password", not: [][]string{httpPackages, sqlPackages},
		why: "passwords are hashed and checked: whose they are and where they lie is for others",
	}, {
		pkg: "internal/pages", not: [][]string{sqlPackages, thirdParty},
		why: "the pages draw what they are told: whoever calls has decided",
	}, {
		pkg: "internal/oauth", ours: []string{"internal/keys", "internal/policy", "internal/vault", "internal/upstream", "internal/broker", "internal/mail", "internal/password", "internal/pages"},
		not: [][]string{sqlPackages, huma},
		why: "the authorization server and the management API never meet, and reach the store through the domain's interfaces",
	}, {
		pkg: "internal/api", ours: []string{"internal/keys", "internal/policy", "internal/bundle", "internal/catalog", "internal/evidence", "internal/vault", "internal/mail"},
		not: [][]string{sqlPackages},
		why: "the management API and the authorization server never meet, and reach the store through the domain's interfaces",
	}, {
		pkg: "internal/console", only: []string{"embed"},
		why: "the console is files: what serves them is the server's",
	}, {
		pkg: "internal/server",
		ours: []string{
			"internal/store", "internal/vault", "internal/kms", "internal/keys", "internal/mail", "internal/policy", "internal/catalog",
			"internal/sink", "internal/upstream", "internal/password", "internal/pages", "internal/oauth", "internal/api", "internal/console",
		},
		why: "the server wires the parts and is imported only by programs and tests",
	}, {
		pkg: "internal/client", ours: []string{"internal/api", "internal/bundle", "internal/evidence"}, not: [][]string{sqlPackages},
		why: "the client sees what the outside sees: HTTP and the wire types",
	}, {
		pkg: "internal/demo", ours: []string{"internal/server", "internal/client", "internal/api"}, not: [][]string{sqlPackages, cedar, huma},
		why: "the demonstration proves the outside, so it starts a server and then uses nothing but HTTP",
	}, {
		pkg: "internal/bench", ours: []string{"internal/server", "internal/client", "internal/api"}, not: [][]string{sqlPackages, cedar, huma},
		why: "the load measures the outside, so it starts a server and then uses nothing but HTTP",
	}, {
		pkg: "cmd", ours: []string{"internal/server", "internal/client", "internal/demo", "internal/bench", "internal/evidence"},
		not: [][]string{sqlPackages, cedar, huma},
		why: "a command reads flags, calls and prints: the work lives behind it",
	},
}

func TestImportDirection(t *testing.T) {
	files := sources(t)
	if len(files) == 0 {
		t.Fatal("no source found")
	}
	for _, f := range files {
		for _, v := range f.wrongImports() {
			t.Error(v)
		}
	}
}

// source is one parsed file outside the tests.
type source struct {
	pkg    string // its package's path below the module
	name   string // its path below the module
	syntax *ast.File
	fset   *token.FileSet
}

// sources parses every file of the module that is not test code.
func sources(t *testing.T) (files []source) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			hidden := strings.HasPrefix(d.Name(), ".") && name != root
			if hidden || d.Name() == "testdata" || d.Name() == "node_modules" || isTestCode(d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		below, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		f, err := parse(filepath.ToSlash(below), string(text))
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func parse(name, text string) (source, error) {
	fset := token.NewFileSet()
	syntax, err := parser.ParseFile(fset, name, text, parser.SkipObjectResolution)
	return source{path.Dir(name), name, syntax, fset}, err
}

// isTestCode reports whether the package at path p is test code by its name.
func isTestCode(p string) bool { return strings.HasSuffix(p, "test") }

// wrongImports returns a sentence for each import that the rules forbid.
func (f source) wrongImports() (found []string) {
	i := slices.IndexFunc(rules, func(r rule) bool { return within(f.pkg, r.pkg) })
	if i < 0 {
		return []string{f.name + ": its package has no row in the rules: add one that says what it may import and why"}
	}
	for _, spec := range f.syntax.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err == nil && !rules[i].allows(imported) {
			found = append(found, fmt.Sprintf("%s imports %s: %s", f.name, imported, rules[i].why))
		}
	}
	return found
}

func (r rule) allows(imported string) bool {
	if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
		return !isTestCode(ours) && r.allowsOurs(ours)
	}
	if r.only != nil {
		return slices.Contains(r.only, imported)
	}
	for _, p := range slices.Concat(r.not...) {
		first, _, _ := strings.Cut(imported, "/")
		if within(imported, p) || p == thirdParty[0] && strings.Contains(first, ".") {
			return false
		}
	}
	return true
}

func (r rule) allowsOurs(imported string) bool {
	if within(imported, r.pkg) {
		return true
	}
	if r.only != nil {
		return false
	}
	return imported == "internal/deputy" ||
		slices.ContainsFunc(r.ours, func(p string) bool { return within(imported, p) })
}

// within reports whether the package at path p is parent or lies below it.
func within(p, parent string) bool {
	return p == parent || strings.HasPrefix(p, parent+"/")
}

// TestEachRuleBites shows every rule an import it must refuse and one it must
// not, so that a rule that stopped working does not pass for a clean tree.
func TestEachRuleBites(t *testing.T) {
	const (
		domain = "deputy/internal/deputy"
		store  = "deputy/internal/store"
		server = "deputy/internal/server"
		oauth  = "deputy/internal/oauth"
		api    = "deputy/internal/api"
		pgx    = "github.com/jackc/pgx/v5/stdlib"
		humago = "github.com/danielgtaylor/huma/v2"
	)
	cases := map[string]struct{ refused, allowed []string }{
		"internal/deputy":             {[]string{"github.com/google/uuid", store, api}, []string{"errors", "net/http"}},
		"internal/store":              {[]string{"net/http", "github.com/go-jose/go-jose/v4", "crypto/aes", "deputy/internal/vault", server}, []string{domain, "database/sql", pgx, "crypto/sha256", "deputy/internal/store/migrations"}},
		"internal/vault":              {[]string{store, "net/http", "database/sql"}, []string{domain, "crypto/cipher"}},
		"internal/keys":               {[]string{"net/http", "database/sql", "deputy/internal/policy"}, []string{domain, "deputy/internal/vault", "github.com/go-jose/go-jose/v4"}},
		"internal/mail":               {[]string{"net/http", "database/sql", oauth}, []string{domain, "deputy/internal/vault", "net/smtp"}},
		"internal/policy":             {[]string{"net/http", "modernc.org/sqlite", "deputy/internal/vault"}, []string{domain, "github.com/cedar-policy/cedar-go"}},
		"internal/bundle":             {[]string{"net/http", "database/sql", "github.com/cedar-policy/cedar-go", api}, []string{domain, "archive/tar"}},
		"internal/catalog":            {[]string{"net/http/httputil", "database/sql"}, []string{domain, "cel.dev/cel-go/cel"}},
		"internal/upstream":           {[]string{oauth, api, store, pgx}, []string{domain, "net/http", "code.dny.dev/ssrf"}},
		"internal/broker":             {[]string{oauth, api, store, "deputy/internal/vault"}, []string{domain, "deputy/internal/upstream", "net/http"}},
		"internal/kms":                {[]string{store, oauth, "database/sql"}, []string{domain, "deputy/internal/vault", "net/http", "github.com/aws/aws-sdk-go-v2/aws"}},
		"internal/password":           {[]string{"net/http", "database/sql", oauth}, []string{domain, "golang.org/x/crypto/argon2"}},
		"internal/pages":              {[]string{oauth, api, "database/sql", humago}, []string{domain, "net/http", "html/template"}},
		"internal/oauth":              {[]string{api, store, humago, "database/sql"}, []string{domain, "deputy/internal/upstream", "net/http"}},
		"internal/api":                {[]string{oauth, store, pgx, "database/sql"}, []string{domain, "deputy/internal/catalog", humago}},
		"internal/evidence":           {[]string{"net/http", store}, []string{domain, "deputy/internal/keys", "golang.org/x/mod/sumdb/tlog"}},
		"internal/sink":               {[]string{store, oauth, "database/sql", humago}, []string{domain, "net/http", "github.com/parquet-go/parquet-go"}},
		"internal/console":            {[]string{domain, "net/http", humago}, []string{"embed"}},
		"internal/server":             {[]string{"deputy/cmd/deputy", "deputy/internal/client", "deputy/internal/deputytest"}, []string{store, oauth, api, "net/http"}},
		"internal/client":             {[]string{server, store, "database/sql"}, []string{api, "net/http"}},
		"internal/demo":               {[]string{store, oauth, humago}, []string{server, "deputy/internal/client", "net/http"}},
		"internal/bench":              {[]string{store, "deputy/internal/keys", pgx}, []string{server, "deputy/internal/client", "net/http"}},
		"cmd":                         {[]string{store, pgx, "github.com/cedar-policy/cedar-go", humago}, []string{server}},
		"cmd/deputy":                  {[]string{oauth}, []string{"deputy/internal/client", "github.com/spf13/cobra"}},
		"internal/store/migrations":   {[]string{"net/http", "deputy/internal/store/storetest"}, []string{store}},
		"internal/storekeeper":        {[]string{"errors"}, nil}, // no row: not the store's by its name
		"internal/manager/underneath": {[]string{"errors"}, nil},
	}
	for _, r := range rules {
		if _, ok := cases[r.pkg]; !ok {
			t.Errorf("%s: no case shows that its rule refuses anything", r.pkg)
		}
	}
	for pkg, c := range cases {
		for _, imported := range c.refused {
			if len(importing(t, pkg, imported).wrongImports()) == 0 {
				t.Errorf("%s may import %s, and must not", pkg, imported)
			}
		}
		for _, imported := range c.allowed {
			if v := importing(t, pkg, imported).wrongImports(); len(v) != 0 {
				t.Error(v)
			}
		}
	}
}

func importing(t *testing.T, pkg, imported string) source {
	t.Helper()
	f, err := parse(pkg+"/x.go", fmt.Sprintf("package x\n\nimport _ %q\n", imported))
	if err != nil {
		t.Fatal(err)
	}
	return f
}
