package main_test

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
)

// memoryOf returns what a process that we started has in its writable memory.
func memoryOf(t *testing.T, pid int) (all []byte) {
	t.Helper()
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close()
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") || to-from > 256<<20 {
			continue
		}
		part := make([]byte, to-from)
		if n, err := memory.ReadAt(part, from); err == nil {
			all = append(all, part[:n]...)
		}
	}
	if len(all) == 0 {
		t.Fatal("nothing could be read")
	}
	return all
}
