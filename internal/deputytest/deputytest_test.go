package deputytest_test

import (
	"testing"

	"deputy/internal/deputytest"
)

// ending records how a test was ended.
type ending struct {
	testing.TB
	skipped, failed bool
}

func (e *ending) Helper()      {}
func (e *ending) Skip(...any)  { e.skipped = true }
func (e *ending) Fatal(...any) { e.failed = true; panic(e) }

func TestAMissingPartSkipsOnlyWhereItIsNotRequired(t *testing.T) {
	for _, c := range []struct {
		ci, require string
		fails       bool
	}{
		{"", "", false},
		{"", "chromium", false},
		{"true", "", true},
		{"1", "chromium", true},
		{"", "postgres", true},
		{"", "chromium,postgres", true},
	} {
		t.Setenv("CI", c.ci)
		t.Setenv("DEPUTY_TEST_REQUIRE", c.require)
		end := &ending{}
		func() {
			defer func() { _ = recover() }() // Fatal does not return
			deputytest.Missing(end, "postgres", "not here")
		}()
		if end.failed != c.fails || end.skipped == c.fails {
			t.Errorf("CI=%q, DEPUTY_TEST_REQUIRE=%q: failed %t, skipped %t; want failed %t", c.ci, c.require, end.failed, end.skipped, c.fails)
		}
	}
}

func TestSourcesOfACommitThatIsNotThereAreMissing(t *testing.T) {
	t.Setenv("CI", "true")
	end := &ending{TB: t}
	func() {
		defer func() { _ = recover() }()
		deputytest.Sources(end, "0123456789abcdef0123456789abcdef01234567")
	}()
	if !end.failed {
		t.Error("a commit that no repository has was found")
	}
}
