package bundle_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"deputy/internal/bundle"
	"deputy/internal/deputy"
)

// vector is the bundle whose digest is known.
func vector() *bundle.Bundle {
	return &bundle.Bundle{
		SchemaVersion: "2026-06-18", Schema: []byte("namespace Keycard { entity User; }\n"), TargetType: "user", TargetID: "usr_1",
		Policies: []bundle.Policy{{PublicID: "pol_1", Name: "one", Text: []byte("permit(principal, action, resource);\n")}},
	}
}

const vectorDigest = "sha256:3a1870cc2bafe62f33f2899e56a428bddcca7c74f071f8299b2de86dd222e0e9"

func digest(t *testing.T, b *bundle.Bundle) string {
	t.Helper()
	d, err := b.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDigest(t *testing.T) {
	b := vector()
	if got := digest(t, b); got != vectorDigest {
		t.Errorf("digest %s", got)
	}
	// Names do not count, nor does the order; everything else does.
	b.Policies[0].Name = ""
	if got := digest(t, b); got != vectorDigest {
		t.Error("a name counts")
	}
	two := bundle.Policy{NewPolicy: "two", Text: []byte("forbid(principal, action, resource);")}
	b.Policies = append(b.Policies, two)
	forward := digest(t, b)
	b.Policies[0], b.Policies[1] = b.Policies[1], b.Policies[0]
	if got := digest(t, b); got != forward || got == vectorDigest {
		t.Error("the order counts, or a policy does not")
	}
	seen := map[string]bool{vectorDigest: true}
	for name, change := range map[string]func(*bundle.Bundle){
		"text":    func(b *bundle.Bundle) { b.Policies[0].Text = []byte("permit(principal, action, resource);") },
		"key":     func(b *bundle.Bundle) { b.Policies[0].PublicID = "pol_2" },
		"new":     func(b *bundle.Bundle) { b.Policies[0].PublicID, b.Policies[0].NewPolicy = "", "pol_1" },
		"schema":  func(b *bundle.Bundle) { b.Schema = nil },
		"version": func(b *bundle.Bundle) { b.SchemaVersion = "2026-03-16" },
		"target":  func(b *bundle.Bundle) { b.TargetID = "usr_2" },
		"kind":    func(b *bundle.Bundle) { b.TargetType = "zone" },
		"empty":   func(b *bundle.Bundle) { b.Policies = nil },
	} {
		b := vector()
		change(b)
		d := digest(t, b)
		if seen[d] {
			t.Errorf("%s does not count", name)
		}
		seen[d] = true
	}
}

const vectorManifest = `{
  "schema": {
    "version": "2026-06-18",
    "sha": "sha256:cd1f9db07f73152ccdc5a0a1934f14a34beea7366b78e951050669466bad53bb"
  },
  "target_type": "user",
  "target_id": "usr_1",
  "policies": [
    {
      "public_id": "pol_1",
      "name": "one",
      "sha": "sha256:ae6f3bbc10d4275226be91b066f1cc3f381fdfef0924005ad6d9c410c2f9d5df"
    }
  ]
}`

// The tar layer is the same to the byte; what compresses it may differ.
func TestTarIsTheSameToTheByte(t *testing.T) {
	b := vector()
	b.Policies = append(b.Policies, bundle.Policy{NewPolicy: "zeta", Text: []byte("z")}, bundle.Policy{PublicID: "pol_0", Text: []byte("0")}, bundle.Policy{NewPolicy: "alpha", Text: []byte("a")})
	var layer bytes.Buffer
	if err := b.Tar(&layer); err != nil {
		t.Fatal(err)
	}
	var names []string
	for archive := tar.NewReader(bytes.NewReader(layer.Bytes())); ; {
		h, err := archive.Next()
		if err != nil {
			break
		}
		names = append(names, h.Name)
		if h.Typeflag != tar.TypeReg || h.Mode != 0o644 || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || !h.ModTime.Equal(time.Unix(0, 0)) || h.Format != tar.FormatUSTAR {
			t.Errorf("%+v", h)
		}
	}
	want := []string{"manifest.json", "schema.cedarschema", "policies/alpha.cedar", "policies/zeta.cedar", "policies/pol_0.cedar", "policies/pol_1.cedar"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	layer.Reset()
	if err := vector().Tar(&layer); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(layer.Bytes(), []byte(vectorManifest+"\x00")) {
		t.Errorf("the manifest is not\n%s", vectorManifest)
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(layer.Bytes())); got != goldenTar {
		t.Errorf("the tar layer is %s", got)
	}
	packed, err := vector().Pack()
	if err != nil {
		t.Fatal(err)
	}
	zip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil || zip.Name != "" || !zip.ModTime.IsZero() {
		t.Errorf("gzip with name %q, time %v: %v", zip.Name, zip.ModTime, err)
	}
}

// goldenTar is the SHA-256 of the vector's tar layer.
const goldenTar = "51fc09c0f2c78fbc7ad6d8b3a0314a6d1c0081d1ba3266483f783e68410aef89"

func TestRoundTrip(t *testing.T) {
	b := vector()
	packed, err := b.Pack()
	if err != nil {
		t.Fatal(err)
	}
	got, err := bundle.Unpack(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b, got); diff != "" {
		t.Error(diff)
	}
	dir := filepath.Join(t.TempDir(), "new")
	if err := b.WriteFolder(dir, "sha256:1"); err != nil {
		t.Fatal(err)
	}
	got, base, err := bundle.ReadFolder(dir)
	if err != nil || base != "sha256:1" {
		t.Fatal(base, err)
	}
	if diff := cmp.Diff(b, got); diff != "" {
		t.Error(diff)
	}
	if raw, err := os.ReadFile(filepath.Join(dir, "manifest.json")); err != nil || string(raw) != vectorManifest {
		t.Errorf("%s %v", raw, err)
	}
	// A policy that goes takes its file along; what is not ours stays.
	if err := os.WriteFile(filepath.Join(dir, "README.md"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.Policies[0].PublicID = "pol_9"
	if err := b.WriteFolder(dir, "sha256:1"); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(dir + "/policies/*")
	if err != nil || len(files) != 1 || filepath.Base(files[0]) != "pol_9.cedar" {
		t.Errorf("%v %v", files, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "README.md")); err != nil {
		t.Error(err)
	}
}

// file is one entry of an archive in the making.
type file struct {
	name, content string
	kind          byte
}

func pack(t testing.TB, files ...file) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	archive := tar.NewWriter(zip)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Size: int64(len(f.content)), Mode: 0o644, Typeflag: f.kind}
		if f.kind == 0 {
			h.Typeflag = tar.TypeReg
		} else {
			h.Size, h.Linkname = 0, "x"
		}
		if err := archive.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if f.kind == 0 {
			if _, err := archive.Write([]byte(f.content)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(archive.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// refusals are archives that are not quite bundles.
func refusals(t testing.TB) map[string][]byte {
	entries := func(entries string) file {
		return file{name: "manifest.json", content: `{"schema":{"version":"2026-06-18"},"target_type":"zone","target_id":"z","policies":[` + entries + `]}`}
	}
	const one = `{"public_id":"p"}`
	policy := file{name: "policies/p.cedar", content: "x"}
	cut := pack(t, entries(one), policy)
	var plain bytes.Buffer
	zip := gzip.NewWriter(&plain)
	_, _ = zip.Write([]byte(strings.Repeat("not a tar ", 100)))
	_ = zip.Close()
	return map[string][]byte{
		"nothing":                 nil,
		"not gzip":                []byte("PK\x03\x04"),
		"not tar":                 plain.Bytes(),
		"cut off":                 cut[:len(cut)-20],
		"no manifest":             pack(t, policy),
		"a manifest of no JSON":   pack(t, file{name: "manifest.json", content: "{"}),
		"a manifest of a list":    pack(t, file{name: "manifest.json", content: "[]"}),
		"no schema version":       pack(t, file{name: "manifest.json", content: `{"target_type":"zone","target_id":"z","policies":[]}`}),
		"both keys":               pack(t, entries(`{"public_id":"p","new_policy":"p"}`), policy),
		"neither key":             pack(t, entries(`{"name":"p"}`), policy),
		"a key with /":            pack(t, entries(`{"public_id":"a/b"}`)),
		`a key with \`:            pack(t, entries(`{"public_id":"a\\b"}`)),
		"the key .":               pack(t, entries(`{"public_id":"."}`)),
		"the key ..":              pack(t, entries(`{"new_policy":".."}`)),
		"a key twice":             pack(t, entries(one+`,{"new_policy":"p"}`), policy),
		"an entry without a file": pack(t, entries(one)),
		"two manifests":           pack(t, entries(one), entries(one), policy),
		"two schemas":             pack(t, entries(one), policy, file{name: "schema.cedarschema"}, file{name: "schema.cedarschema", content: "x"}, file{name: "schema.cedarschema"}),
		"a file twice":            pack(t, entries(one), policy, policy),
		"a folder":                pack(t, entries(one), policy, file{name: "policies/", kind: tar.TypeDir}),
		"a link":                  pack(t, entries(one), file{name: "policies/p.cedar", kind: tar.TypeSymlink}),
		"another file":            pack(t, entries(one), policy, file{name: "README.md"}),
		"a file with no key":      pack(t, entries(one), policy, file{name: "policies/.cedar"}),
		"a file deeper":           pack(t, entries(one), policy, file{name: "policies/a/b.cedar"}),
		"a path upwards":          pack(t, entries(one), policy, file{name: "../manifest.json"}),
	}
}

func TestUnpackRefuses(t *testing.T) {
	for name, packed := range refusals(t) {
		if b, err := bundle.Unpack(bytes.NewReader(packed)); deputy.KindOf(err) != deputy.Invalid {
			t.Errorf("%s: %+v, %v", name, b, err)
		}
	}
	// A policy that the manifest does not name is left out, and a claimed hash
	// says nothing.
	b, err := bundle.Unpack(bytes.NewReader(pack(t,
		file{name: "policies/q.cedar", content: "y"}, file{name: "policies/p.cedar", content: "x"},
		file{name: "manifest.json", content: `{"schema":{"version":"v","sha":"lies"},"target_type":"","target_id":"","policies":[{"public_id":"p","sha":"lies"}]}`},
	)))
	if err != nil || len(b.Policies) != 1 || string(b.Policies[0].Text) != "x" || b.Schema != nil {
		t.Errorf("%+v %v", b, err)
	}
}

// TestSize packs as much as is allowed, and one byte more.
func TestSize(t *testing.T) {
	manifest := file{name: "manifest.json", content: `{"schema":{"version":"v"},"target_type":"zone","target_id":"z","policies":[]}`}
	// Beside the content of the schema: three headers, the manifest's block, and
	// two blocks at the end.
	const rest = 512 * 5
	for _, c := range []struct {
		size int
		ok   bool
	}{{bundle.MaxSize - rest, true}, {bundle.MaxSize - rest + 1, false}} {
		packed := pack(t, manifest, file{name: "schema.cedarschema", content: strings.Repeat(" ", c.size)})
		_, err := bundle.Unpack(bytes.NewReader(packed))
		if c.ok && err != nil || !c.ok && !errors.Is(err, bundle.ErrTooLarge) {
			t.Errorf("%d bytes: %v", c.size, err)
		}
	}
}

func TestFolderRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(dir string) error
		says   string
	}{
		"a policy without an entry": {func(dir string) error { return os.WriteFile(dir+"/policies/two.cedar", nil, 0o644) }, `add {"new_policy": "two"}`},
		"an entry without a policy": {func(dir string) error { return os.Remove(dir + "/policies/pol_1.cedar") }, "policies/pol_1.cedar is missing"},
		"another file":              {func(dir string) error { return os.WriteFile(dir+"/policies/notes.txt", nil, 0o644) }, "notes.txt has no place"},
		"a link":                    {func(dir string) error { return os.Symlink("/etc/passwd", dir+"/policies/l.cedar") }, "l.cedar has no place"},
		"no manifest":               {func(dir string) error { return os.Remove(dir + "/manifest.json") }, "manifest.json"},
	} {
		dir := t.TempDir()
		if err := vector().WriteFolder(dir, ""); err != nil {
			t.Fatal(err)
		}
		if err := c.change(dir); err != nil {
			t.Fatal(err)
		}
		if _, _, err := bundle.ReadFolder(dir); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A name that an archive cannot hold is refused before anything is written.
func TestPackRefuses(t *testing.T) {
	for _, key := range []string{strings.Repeat("k", 300), "käse"} {
		b := vector()
		b.Policies[0].PublicID = key
		if _, err := b.Pack(); deputy.KindOf(err) != deputy.Invalid {
			t.Errorf("%q: %v", key, err)
		}
	}
}

// Whatever strangers send is refused or becomes a bundle that packs again.
func FuzzUnpack(f *testing.F) {
	for _, packed := range refusals(f) {
		f.Add(packed)
	}
	packed, err := vector().Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Fuzz(func(t *testing.T, packed []byte) {
		b, err := bundle.Unpack(bytes.NewReader(packed))
		if err != nil {
			return
		}
		first, err := b.Digest()
		if err != nil {
			return
		}
		again, err := b.Pack()
		if err != nil {
			return // a name that we do not write
		}
		b, err = bundle.Unpack(bytes.NewReader(again))
		if err != nil {
			t.Fatal(err)
		}
		if second, err := b.Digest(); err != nil || second != first {
			t.Errorf("digest %s, then %s: %v", first, second, err)
		}
	})
}
