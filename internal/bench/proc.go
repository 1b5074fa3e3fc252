package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// usage is what a run took of the machine. The figures come from Linux's /proc
// (proc(5)); elsewhere, and for a process of another user, they stay zero.
type usage struct {
	rssBefore, rssPeak int64         // kilobytes
	server             time.Duration // CPU time of the server in the measured time
	over               time.Duration // the span server stands for
	written            int64         // bytes the server sent to the block layer
	generator          time.Duration // CPU time of this process before the run
}

// residentKB returns the resident memory of a process.
func residentKB(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize()) / 1024
}

// cpuTime returns the user and system time of a process, to a hundredth of a
// second.
func cpuTime(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name, field 2, is in brackets and may hold anything, brackets
	// included; utime and stime are fields 14 and 15.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	user, err1 := strconv.ParseInt(string(fields[11]), 10, 64)
	system, err2 := strconv.ParseInt(string(fields[12]), 10, 64)
	if err1 != nil || err2 != nil {
		return 0
	}
	const tick = time.Second / 100 // USER_HZ is 100 on every architecture Go runs on
	return time.Duration(user+system) * tick
}

// bytesWritten returns how much a process has caused to be written to storage.
func bytesWritten(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte("write_bytes:")); ok {
			n, err := strconv.ParseInt(string(bytes.TrimSpace(v)), 10, 64)
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}
