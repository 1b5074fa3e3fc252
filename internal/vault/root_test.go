package vault_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"deputy/internal/vault"
)

func TestRootKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.key")
	if _, err := vault.ReadRootKey(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	made, err := vault.CreateRootKey(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	content, err := os.ReadFile(path)
	if err != nil || !regexp.MustCompile(`^[0-9a-f]{64}\n$`).Match(content) {
		t.Errorf("the file's form is odd, %v", err)
	}
	read, err := vault.ReadRootKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if read.Fingerprint() != made.Fingerprint() || len(read.Fingerprint()) != 32 || strings.Contains(string(content), read.Fingerprint()) {
		t.Errorf("fingerprints %s and %s", made.Fingerprint(), read.Fingerprint())
	}
	wrapped, err := made.Wrap(context.Background(), []byte("k"), []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := read.Unwrap(context.Background(), wrapped, []byte("a")); err != nil || string(plain) != "k" {
		t.Errorf("unwrapped %q, %v", plain, err)
	}
	if _, err := read.Unwrap(context.Background(), wrapped, []byte("b")); !errors.Is(err, vault.ErrRefused) {
		t.Errorf("other associated data: %v", err)
	}

	if _, err := vault.CreateRootKey(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("created over another: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(content) {
		t.Errorf("the key file was replaced (%v)", err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("%d files left, %v", len(entries), err)
	}
}

func TestOneOfManyCreatorsWins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.key")
	var wg sync.WaitGroup
	prints := make(chan string, 8)
	for range 8 {
		wg.Go(func() {
			root, err := vault.CreateRootKey(path)
			if errors.Is(err, fs.ErrExist) {
				root, err = vault.ReadRootKey(path)
			}
			if err != nil {
				t.Error(err)
				return
			}
			prints <- root.Fingerprint()
		})
	}
	wg.Wait()
	close(prints)
	first := <-prints
	for other := range prints {
		if other != first {
			t.Errorf("two root keys: %s and %s", first, other)
		}
	}
}

func TestRootKeysDiffer(t *testing.T) {
	if testRoot(1).Fingerprint() == testRoot(2).Fingerprint() {
		t.Error("two keys have one fingerprint")
	}
	if one, again := testRoot(1), testRoot(1); one.Fingerprint() != again.Fingerprint() {
		t.Error("one key has two fingerprints")
	}
}

func TestOddRootKeyFilesAreRefused(t *testing.T) {
	hex64 := strings.Repeat("0a", 32)
	for name, c := range map[string]struct {
		content string
		mode    os.FileMode
		ok      bool
	}{
		"plain":            {hex64, 0o600, true},
		"line end":         {hex64 + "\n", 0o600, true},
		"DOS line end":     {hex64 + "\r\n", 0o600, true},
		"upper case":       {strings.ToUpper(hex64), 0o600, true},
		"read only":        {hex64, 0o400, true},
		"group may read":   {hex64, 0o640, false},
		"others may read":  {hex64, 0o604, false},
		"group may write":  {hex64, 0o620, false},
		"others may write": {hex64, 0o602, false},
		"empty":            {"", 0o600, false},
		"line end only":    {"\n", 0o600, false},
		"short":            {hex64[:62], 0o600, false},
		"odd":              {hex64[:63], 0o600, false},
		"long by one":      {hex64 + "0", 0o600, false},
		"long by two":      {hex64 + "0a", 0o600, false},
		"two lines":        {hex64 + "\n" + hex64, 0o600, false},
		"not hex":          {strings.Repeat("zz", 32), 0o600, false},
		"raw":              {strings.Repeat("\x00", 32), 0o600, false},
		"space in front":   {" " + hex64[:63], 0o600, false},
	} {
		path := filepath.Join(t.TempDir(), "root.key")
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		_, err := vault.ReadRootKey(path)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && len(c.content) > 8 && strings.Contains(err.Error(), c.content[:8]) {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
	}
	if _, err := vault.ReadRootKey(t.TempDir()); err == nil {
		t.Error("a folder passes for a key file")
	}
}

func TestDerivedKeysDifferByPurposeAndRoot(t *testing.T) {
	one, other := vault.NewRoot([32]byte{1}), vault.NewRoot([32]byte{2})
	seen := map[string]bool{}
	for _, key := range [][]byte{one.Derive("a"), one.Derive("b"), other.Derive("a")} {
		if len(key) != 32 || seen[string(key)] {
			t.Errorf("derived key %x", key)
		}
		seen[string(key)] = true
	}
	if string(one.Derive("a")) != string(vault.NewRoot([32]byte{1}).Derive("a")) {
		t.Error("the same root key derives differently")
	}
}
