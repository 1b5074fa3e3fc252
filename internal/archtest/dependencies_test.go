package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden file instead of comparing with it")

// dependency is a module that the program is linked from.
type dependency struct{ Path, Version, Dir string }

// TestDependencies compares the modules linked into the program with the list
// under review: a new one is seen, and justified, in the commit that adds it.
func TestDependencies(t *testing.T) {
	var list strings.Builder
	for _, d := range dependencies(t) {
		list.WriteString(d.Path + " " + d.Version + "\n")
	}
	const golden = "testdata/dependencies.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(list.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(list.String(), "\n")); diff != "" {
		t.Errorf("the program is linked from other modules than %s says (-list +program); if that is meant, run the test with -update:\n%s", golden, diff)
	}
}

func TestLicences(t *testing.T) {
	for _, d := range dependencies(t) {
		texts, err := licenceFiles(d.Dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(texts) == 0 {
			t.Errorf("%s has no licence file", d.Path)
		}
		for name, text := range texts {
			if licence(text) == "" {
				t.Errorf("%s: %s is none of the licences we link: MIT, BSD, ISC, Apache-2.0", d.Path, name)
			}
		}
	}
}

// dependencies returns the modules of all packages that the commands are
// linked from, as a release is built, in the order of their paths.
func dependencies(t *testing.T) (all []dependency) {
	t.Helper()
	list := exec.Command("go", "list", "-deps", "-json=ImportPath,Name,Deps,Module", "./...")
	list.Dir = root
	list.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	type listed struct {
		ImportPath, Name string
		Deps             []string
		Module           *struct {
			dependency
			Main bool
		}
	}
	packages := map[string]listed{}
	var linked []string
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		packages[p.ImportPath] = p
		if p.Name == "main" && within(p.ImportPath, module+"/cmd") {
			linked = append(linked, p.Deps...)
		}
	}
	for _, p := range linked {
		if m := packages[p].Module; m != nil && !m.Main {
			all = append(all, m.dependency)
		}
	}
	slices.SortFunc(all, func(a, b dependency) int { return strings.Compare(a.Path, b.Path) })
	return slices.Compact(all)
}

// licenceFiles returns a module's own licence texts, by file name: LICENSE and
// its spellings. Names that go on, such as LICENSE-LOGO, speak of other things.
func licenceFiles(dir string) (map[string]string, error) {
	texts := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		stem, _, _ := strings.Cut(strings.ToUpper(e.Name()), ".")
		if e.IsDir() || !slices.Contains([]string{"LICENSE", "LICENCE", "COPYING"}, stem) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		texts[e.Name()] = string(text)
	}
	return texts, nil
}

// licence names the licence of a text, or returns "" when it is none that may
// be linked into a product under Apache-2.0 without a further thought.
func licence(text string) string {
	words := strings.ToLower(strings.Join(strings.Fields(text), " "))
	for _, foreign := range []string{"general public license", "mozilla public license", "commons clause", "business source", "server side public"} {
		if strings.Contains(words, foreign) {
			return ""
		}
	}
	for _, known := range []struct{ name, phrase string }{
		{"Apache-2.0", "apache license version 2.0"},
		{"MIT", "permission is hereby granted, free of charge, to any person obtaining a copy"},
		{"ISC", "permission to use, copy, modify, and/or distribute this software for any purpose"},
		{"ISC", "permission to use, copy, modify, and distribute this software for any purpose"},
		{"BSD", "redistribution and use in source and binary forms"},
	} {
		if strings.Contains(words, known.phrase) {
			return known.name
		}
	}
	return ""
}

func TestLicenceTexts(t *testing.T) {
	ours, err := os.ReadFile(filepath.Join(root, "LICENSE"))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		string(ours): "Apache-2.0",
		"Permission is hereby granted, free of charge, to any person\nobtaining a copy of this software":                     "MIT",
		"Permission to use, copy, modify, and/or distribute this software\nfor any purpose with or without fee":              "ISC",
		"Redistribution and use in source and binary forms, with or without\nmodification":                                   "BSD",
		"GNU GENERAL PUBLIC LICENSE\nVersion 3":                                                                              "",
		"Mozilla Public License Version 2.0":                                                                                 "",
		"All rights reserved.":                                                                                               "",
		"\"Commons Clause\" License Condition\nPermission is hereby granted, free of charge, to any person obtaining a copy": "",
		"Redistribution and use in source and binary forms; alternatively the GNU\nGeneral Public License":                   "",
	} {
		if got := licence(text); got != want {
			t.Errorf("licence is %q, want %q: %.60s", got, want, text)
		}
	}
	texts, err := licenceFiles(root)
	if err != nil || len(texts) != 1 || texts["LICENSE"] == "" {
		t.Errorf("licence files here: %d, %v; want our LICENSE", len(texts), err)
	}
}
