package deputytest

import (
	"os/exec"
	"strings"
	"testing"
)

// Sources returns a folder with the files of this repository as they were at a
// commit of its history. A clone without that commit is a part that is missing.
// Where there is no history to look into, because this is a copy of the files
// alone or a shallow clone, the test is skipped, and scripts/test says so.
func Sources(t testing.TB, commit string) (folder string) {
	t.Helper()
	Program(t, "git")
	Program(t, "tar")
	shallow, err := exec.Command("git", "rev-parse", "--is-shallow-repository").Output()
	if err != nil || strings.TrimSpace(string(shallow)) != "false" {
		t.Skip("there is no history here to take commit " + commit + " from (git fetch --unshallow)")
	}
	root, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err == nil {
		err = exec.Command("git", "cat-file", "-e", commit+"^{commit}").Run()
	}
	if err != nil {
		missing(t, "history", "needs commit "+commit+" of this repository")
	}
	folder = t.TempDir()
	const unpack = `git -C "$0" archive --format=tar "$1" >"$2.tar" && tar -xf "$2.tar" -C "$2" && rm "$2.tar"`
	if out, err := exec.Command("/bin/sh", "-c", unpack, strings.TrimSpace(string(root)), commit, folder).CombinedOutput(); err != nil {
		t.Fatalf("unpack %s: %v\n%s", commit, err, out)
	}
	return folder
}
