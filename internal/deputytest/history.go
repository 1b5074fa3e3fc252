package deputytest

import (
	"os/exec"
	"strings"
	"testing"
)

// Sources returns a folder with the files of this repository as they were at a
// commit of its history. A clone without that commit, or no clone at all, is a
// part that is missing.
func Sources(t testing.TB, commit string) (folder string) {
	t.Helper()
	Program(t, "git")
	Program(t, "tar")
	root, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err == nil {
		err = exec.Command("git", "cat-file", "-e", commit+"^{commit}").Run()
	}
	if err != nil {
		missing(t, "history", "needs commit "+commit+" of this repository: clone it with its history (git fetch --unshallow)")
	}
	folder = t.TempDir()
	const unpack = `git -C "$0" archive --format=tar "$1" >"$2.tar" && tar -xf "$2.tar" -C "$2" && rm "$2.tar"`
	if out, err := exec.Command("/bin/sh", "-c", unpack, strings.TrimSpace(string(root)), commit, folder).CombinedOutput(); err != nil {
		t.Fatalf("unpack %s: %v\n%s", commit, err, out)
	}
	return folder
}
