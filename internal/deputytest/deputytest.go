// Package deputytest is what tests stand on: a clock they set, and the real
// servers that Deputy needs outside itself, started when a test asks for them
// and gone when it ends. Only test code imports it.
//
// A part that a machine lacks skips the test with a sentence that says what to
// install, except where it is required: when the environment variable CI is
// set, or DEPUTY_TEST_REQUIRE names the part, the test fails instead.
package deputytest

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// missing ends a test that needs a part this machine lacks.
func missing(t testing.TB, part, reason string) {
	t.Helper()
	named := strings.Split(os.Getenv("DEPUTY_TEST_REQUIRE"), ",")
	if os.Getenv("CI") != "" || slices.Contains(named, part) {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// Program ends a test that needs a program which is not on PATH.
func Program(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		missing(t, name, "needs "+name+": install it (on Debian: apt-get install "+name+")")
	}
}
