package bench

import (
	"os"
	"syscall"
)

// syncData waits until what was written to f would survive a crash. Like the
// databases it stands in for, it leaves out times and other metadata.
func syncData(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR {
			return err
		}
	}
}
