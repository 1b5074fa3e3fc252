package bundle

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// baseFile holds the digest of what a directory was made from, so that sending
// it back replaces nothing that its authors have not seen. It belongs into the
// repository too.
const baseFile = ".deputy-bundle"

// WriteFolder makes the files in a directory those of the bundle, whose digest
// at the server is base, and removes the policies that it does not hold. Other
// files stay.
func (b *Bundle) WriteFolder(dir, base string) error {
	raw, err := b.encodeManifest()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, policyFolder), 0o755); err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, p := range b.Policies {
		name := p.key() + policySuffix
		keep[name] = true
		if err := os.WriteFile(filepath.Join(dir, policyFolder, name), p.Text, 0o644); err != nil {
			return err
		}
	}
	there, err := os.ReadDir(filepath.Join(dir, policyFolder))
	if err != nil {
		return err
	}
	for _, f := range there {
		if strings.HasSuffix(f.Name(), policySuffix) && !keep[f.Name()] {
			if err := os.Remove(filepath.Join(dir, policyFolder, f.Name())); err != nil {
				return err
			}
		}
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, schemaFile), b.Schema, 0o644),
		os.WriteFile(filepath.Join(dir, manifestFile), raw, 0o644),
		os.WriteFile(filepath.Join(dir, baseFile), []byte(base+"\n"), 0o644),
	)
}

// ReadFolder reads a bundle from a directory, and what it was made from: empty
// when it was made by hand. A policy without an entry in the manifest is an
// error there: most likely somebody forgot the entry.
func ReadFolder(dir string) (b *Bundle, base string, err error) {
	known, err := os.ReadFile(filepath.Join(dir, baseFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, "", err
	}
	b, err = readFolder(dir)
	return b, strings.TrimSpace(string(known)), err
}

func readFolder(dir string) (*Bundle, error) {
	raw, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if err != nil {
		return nil, err
	}
	b, err := decodeManifest(raw)
	if err != nil {
		return nil, err
	}
	if b.Schema, err = os.ReadFile(filepath.Join(dir, schemaFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	files := map[string][]byte{}
	there, err := os.ReadDir(filepath.Join(dir, policyFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, f := range there {
		key, isPolicy := policyKey(policyFolder + "/" + f.Name())
		if !isPolicy || !f.Type().IsRegular() {
			return nil, bad("%s/%s has no place in a bundle", policyFolder, f.Name())
		}
		if files[key], err = os.ReadFile(filepath.Join(dir, policyFolder, f.Name())); err != nil {
			return nil, err
		}
	}
	return b, b.fill(files, func(key string) error {
		return bad(`policies/%s.cedar has no entry in manifest.json: add {"new_policy": %q} to its policies, or remove the file`, key, key)
	})
}
