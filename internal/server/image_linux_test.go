package server

import (
	"os"
	"regexp"
	"strconv"
	"testing"
)

// TestReleaseImage: the program runs on with less of itself in memory.
func TestReleaseImage(t *testing.T) {
	resident := func() int {
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		file := regexp.MustCompile(`RssFile:\s+(\d+) kB`).FindSubmatch(status)
		n, err := strconv.Atoi(string(file[1]))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := resident()
	releaseImage()
	if after := resident(); after >= before {
		t.Errorf("%d kB of files in memory, then %d", before, after)
	}
}
