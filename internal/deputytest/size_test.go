package deputytest_test

import (
	"testing"

	"deputy/internal/deputytest"
)

func TestTimes(t *testing.T) {
	inCI := 2
	if testing.Short() {
		inCI = 1
	}
	for _, c := range []struct {
		ci, soak string
		want     int
	}{{"", "", 1}, {"true", "", inCI}, {"", "1", 3}, {"true", "1", 3}} {
		t.Setenv("CI", c.ci)
		t.Setenv("DEPUTY_SOAK", c.soak)
		if got := deputytest.Times(1, 2, 3); got != c.want {
			t.Errorf("CI=%q, DEPUTY_SOAK=%q: %d, want %d", c.ci, c.soak, got, c.want)
		}
	}
}
