//go:build linux

package server

import "syscall"

// freeDisk returns the bytes that are free for us where a folder is, and all
// there are.
func freeDisk(folder string) (free, all uint64, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil {
		return 0, 0, err
	}
	return uint64(s.Bavail) * uint64(s.Bsize), uint64(s.Blocks) * uint64(s.Bsize), nil
}
