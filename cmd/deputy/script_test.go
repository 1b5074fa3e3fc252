package main_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"deputy/internal/api"
	"deputy/internal/client"
	"deputy/internal/deputy"

	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts in testdata show the program as its users see it. Beside the
// usual commands they have
//
//	status N PROGRAM ARGS…  runs a program that must exit with status N
//	serve FOLDER            runs a server on a free port until the script ends
//	account FOLDER          puts the account of a data folder into the environment
//	zone                    makes a zone as that account and calls it ZONE
//	installed               calls the install that was just made INSTALL
func TestScripts(t *testing.T) {
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Dir(path)+string(os.PathListSeparator)+e.Getenv("PATH"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) < 2 {
					ts.Fatalf("usage: status N PROGRAM ARGS...")
				}
				err, got := ts.Exec(args[1], args[2:]...), 0
				var exit *exec.ExitError
				if errors.As(err, &exit) {
					got, err = exit.ExitCode(), nil
				}
				ts.Check(err)
				if strconv.Itoa(got) != args[0] {
					ts.Fatalf("exit status %d, want %s", got, args[0])
				}
			},
			"serve": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 1 {
					ts.Fatalf("usage: serve FOLDER")
				}
				n, err := launch(nil, ts.MkAbs(args[0]))
				ts.Check(err)
				ts.Defer(n.kill)
			},
			"account": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 1 {
					ts.Fatalf("usage: account FOLDER")
				}
				a, err := loadAccount(ts.MkAbs(args[0]))
				ts.Check(err)
				ts.Setenv("DEPUTY_URL", a.BaseURL)
				ts.Setenv("DEPUTY_CLIENT_ID", a.ClientID)
				ts.Setenv("DEPUTY_CLIENT_SECRET", a.ClientSecret)
				ts.Setenv("DEPUTY_ORGANIZATION", a.OrganizationID)
			},
			"zone": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 0 {
					ts.Fatalf("usage: zone")
				}
				manage := client.New(ts.Getenv("DEPUTY_URL"), ts.Getenv("DEPUTY_CLIENT_ID"), deputy.Conceal(ts.Getenv("DEPUTY_CLIENT_SECRET")), nil)
				var z api.Zone
				ts.Check(manage.Do(context.Background(), http.MethodPost, "/zones", api.ZoneCreate{Name: "Test"}, &z))
				ts.Setenv("ZONE", z.ID)
			},
			"installed": func(ts *testscript.TestScript, neg bool, args []string) {
				m := regexp.MustCompile(`(?m)^install ([a-z0-9]+): active$`).FindStringSubmatch(ts.ReadFile("stdout"))
				if neg || len(args) != 0 || m == nil {
					ts.Fatalf("usage: installed, after an install")
				}
				ts.Setenv("INSTALL", m[1])
			},
		},
	})
}

var (
	subcommand = regexp.MustCompile(`(?m)^  ([a-z-]+) +[A-Z].*$`)
	example    = regexp.MustCompile(`\nExamples:\n  (deputy.*)\n\n`)
)

// Every command explains itself and shows one example of its use.
func TestHelpOfEveryCommand(t *testing.T) {
	t.Parallel()
	var seen []string
	var visit func(args []string)
	visit = func(args []string) {
		name := strings.Join(append([]string{"deputy"}, args...), " ")
		seen = append(seen, name)
		status, stdout, stderr := command(t, nil, append(args[:len(args):len(args)], "--help")...)
		if status != 0 || stderr != "" || !strings.Contains(stdout, "\nUsage:\n  "+name) {
			t.Errorf("%s --help: exit %d\n%s%s", name, status, stdout, stderr)
		}
		found := example.FindStringSubmatch(stdout)
		if found == nil || strings.Count(stdout, "\nExamples:\n") != 1 || !strings.HasPrefix(found[1], name+" ") && found[1] != name && len(args) > 0 {
			t.Errorf("%s --help has no example of its own, or more than one:\n%s", name, stdout)
		}
		_, list, _ := strings.Cut(stdout, "\nAvailable Commands:\n")
		list, _, _ = strings.Cut(list, "\n\n")
		for _, sub := range subcommand.FindAllStringSubmatch(list, -1) {
			if sub[1] != "help" { // the parser's own
				visit(append(args[:len(args):len(args)], sub[1]))
			}
		}
	}
	visit(nil)
	visit([]string{"floor"}) // hidden
	want := []string{
		"deputy", "deputy audit", "deputy audit export", "deputy audit verify", "deputy backup", "deputy bench", "deputy catalog", "deputy catalog install", "deputy catalog list", "deputy catalog release",
		"deputy catalog show", "deputy catalog uninstall", "deputy demo", "deputy doctor", "deputy keys", "deputy keys rotate", "deputy keys rotate-root", "deputy migrate",
		"deputy organization", "deputy organization create", "deputy policy", "deputy policy export", "deputy policy pull", "deputy policy push", "deputy policy verify", "deputy restore", "deputy serve", "deputy used", "deputy version", "deputy floor",
	}
	if !slices.Equal(seen, want) {
		t.Errorf("the commands are\n%q, and not\n%q", seen, want)
	}
}
