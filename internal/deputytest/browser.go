package deputytest

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// What scripts of tests may import, in exact versions. To change them, change
// package.json and call npm install --package-lock-only
// --omit-lockfile-registry-resolved beside it: where packages come from is not
// for the tree to say.
var (
	//go:embed node/package.json
	nodePackages []byte
	//go:embed node/package-lock.json
	nodeLock []byte
)

// scriptTimeout bounds one script: the machine may be busy with other tests.
const scriptTimeout = 5 * time.Minute

// Node runs a script, the text of an ECMAScript module, with the node packages
// above and a real Chromium at hand, and returns what it prints. Input comes to
// it on standard input. The path of Chromium is in CHROMIUM, and what it must
// be started with in CHROMIUM_FLAGS.
//
// The packages are installed once for a user and machine, from where npm gets
// its packages; no file of the tree says where that is. DEPUTY_TEST_NODE names
// a folder to keep them in, instead of the user's cache.
func Node(t testing.TB, script string, input []byte) []byte {
	t.Helper()
	Program(t, "node")
	Program(t, "npm")
	Program(t, "chromium")
	packages, err := installNode()
	if err != nil {
		missing(t, "node packages", err.Error())
	}
	dir := t.TempDir()
	if err := os.Symlink(packages, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "script.mjs")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), scriptTimeout)
	defer cancel()
	c := exec.CommandContext(ctx, "node", file)
	c.Dir = dir
	c.Stdin = bytes.NewReader(input)
	c.Env = append(os.Environ(), "CHROMIUM=chromium", "CHROMIUM_FLAGS="+chromiumFlags())
	if path, err := exec.LookPath("chromium"); err == nil {
		c.Env = append(c.Env, "CHROMIUM="+path)
	}
	c.WaitDelay = 5 * time.Second
	var complaints bytes.Buffer
	c.Stderr = &complaints
	out, err := c.Output()
	if err != nil {
		t.Fatalf("the script failed: %v\n%s\n%s", err, out, complaints.String())
	}
	return out
}

// chromiumFlags returns what Chromium needs to run where tests do: it refuses
// its sandbox to root.
func chromiumFlags() string {
	flags := "--disable-dev-shm-usage --disable-gpu"
	if os.Geteuid() == 0 {
		flags += " --no-sandbox"
	}
	return flags
}

// installNode returns the node_modules folder with the packages, which it makes
// when it is not there. Two processes that do so at once end up with one.
var installNode = sync.OnceValues(func() (string, error) {
	sum := sha256.Sum256(append(slices.Clone(nodePackages), nodeLock...))
	base := os.Getenv("DEPUTY_TEST_NODE")
	if base == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			cache = os.TempDir()
		}
		base = filepath.Join(cache, "deputy-test-node")
	}
	home := filepath.Join(base, hex.EncodeToString(sum[:8]))
	modules := filepath.Join(home, "node_modules")
	if _, err := os.Stat(modules); err == nil {
		return modules, nil
	}
	if err := os.MkdirAll(base, 0o700); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(base, "install-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	ctx, cancel := context.WithTimeout(context.Background(), scriptTimeout)
	defer cancel()
	for name, text := range map[string][]byte{"package.json": nodePackages, "package-lock.json": nodeLock} {
		if err := os.WriteFile(filepath.Join(fresh, name), text, 0o600); err != nil {
			return "", err
		}
	}
	if out, err := exec.CommandContext(ctx, "npm", "ci", "--prefix", fresh, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error").CombinedOutput(); err != nil {
		return "", &installError{string(out), err}
	}
	if err := os.Rename(fresh, home); err != nil {
		if _, there := os.Stat(modules); there != nil {
			return "", err
		}
	}
	return modules, nil
})

// installError says why the packages could not be had.
type installError struct {
	output string
	cause  error
}

func (e *installError) Error() string {
	return "needs node packages, which npm could not install: " + e.cause.Error() + "\n" + e.output
}

func (e *installError) Unwrap() error { return e.cause }
