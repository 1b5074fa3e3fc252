package server

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// releaseImage lets go of the pages of the program itself. Around each page that
// is touched Linux takes up fifteen neighbours, and all of them count as memory in
// use from then on, so that after a start, or some use of the management API,
// that is nearly the whole file. What is needed comes back from the page cache,
// in a millisecond altogether.
func releaseImage() {
	image, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.ReadFile("/proc/self/maps") // proc_pid_maps(5)
	if err != nil {
		return
	}
	for line := range bytes.Lines(maps) {
		fields := strings.Fields(string(line))
		if len(fields) < 6 || fields[5] != image || strings.Contains(fields[1], "w") {
			continue // what may have been written to would be lost
		}
		from, to, _ := strings.Cut(fields[0], "-")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err1 == nil && err2 == nil {
			_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, uintptr(start), uintptr(end-start), syscall.MADV_DONTNEED)
		}
	}
}
