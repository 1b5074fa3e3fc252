//go:build !linux

package bench

import "os"

// syncData waits until what was written to f would survive a crash.
func syncData(f *os.File) error { return f.Sync() }
