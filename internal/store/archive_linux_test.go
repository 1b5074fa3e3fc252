package store_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"deputy/internal/store"
)

// small makes the folder of a store's archive lie on a disk of some bytes.
func small(t *testing.T, bytes int) (folder string) {
	t.Helper()
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); errors.Is(err, fs.ErrPermission) {
		t.Skip("only root makes a disk")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(disk, "archive")
}

// fill leaves some bytes free where the archive is, until it is told to make
// room again.
func (a *archived) fill(free int) (room func() error) {
	a.Helper()
	f, err := os.Create(filepath.Join(filepath.Dir(a.folder), "fill"))
	if err != nil {
		a.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		a.Fatal(err)
	}
	info, err := f.Stat()
	if err == nil {
		err = f.Truncate(info.Size() - int64(free))
	}
	if err != nil {
		a.Fatal(err)
	}
	return func() error { return os.Remove(f.Name()) }
}

// A folder that is away, full, or does not answer holds nothing up, and shows.
// When it is back soon, nothing lacks; when the log has grown too much meanwhile,
// the log is cut and a new base begins.
func TestAFolderInTrouble(t *testing.T) {
	for _, trouble := range []struct {
		name, says string
		disk       int
		begin      func(*archived) (end func() error, err error)
	}{
		{"away", "not a directory", 0, func(a *archived) (func() error, error) {
			return func() error {
				return errors.Join(os.Remove(a.folder), os.Rename(a.folder+"-away", a.folder))
			}, errors.Join(os.Rename(a.folder, a.folder+"-away"), os.WriteFile(a.folder, nil, 0o600))
		}},
		{"full", "no space left", 16 << 20, func(a *archived) (func() error, error) {
			return a.fill(0), nil
		}},
		// Before a base the archive looks at those that are there.
		{"silent", "", 0, func(a *archived) (func() error, error) {
			name := filepath.Join(a.folder, "0000000000.base")
			if err := syscall.Mkfifo(name, 0o600); err != nil {
				return nil, err
			}
			a.ahead.Add(int64(25 * time.Hour))
			for { // until it is being read
				f, err := os.OpenFile(name, os.O_WRONLY|syscall.O_NONBLOCK, 0)
				if errors.Is(err, syscall.ENXIO) {
					time.Sleep(time.Millisecond)
					continue
				}
				return func() error {
					a.ahead.Add(int64(time.Hour)) // it tries again
					return errors.Join(os.Remove(name), f.Close())
				}, err
			}
		}},
	} {
		for length, bound := range map[string]int64{"for a while": 1 << 30, "for too long": 300 << 10} {
			t.Run(trouble.name+" "+length, func(t *testing.T) {
				folder := filepath.Join(t.TempDir(), "archive")
				if trouble.disk > 0 {
					folder = small(t, trouble.disk)
				}
				a := archivedIn(t, folder)
				a.write(10)
				a.arrive()
				a.s.ArchiveBound(bound)
				a.s.CheckpointAfter(100 << 10)
				chains := a.chains()
				end, err := trouble.begin(a)
				if err != nil {
					t.Fatal(err)
				}
				size := func() int64 {
					info, err := os.Stat(a.path + "-wal")
					if err != nil {
						t.Fatal(err)
					}
					return info.Size()
				}
				if bound == 1<<30 {
					a.write(60)
				} else {
					for before := int64(0); size() >= before; {
						before = size()
						a.write(5)
					}
				}
				first := a.commits[10]
				if lag, ok := a.s.ArchiveLag(); !ok || lag < a.now().Sub(first.ended) {
					t.Errorf("it is %v behind, and %v passed", lag, a.now().Sub(first.ended))
				}
				if says := a.says.String(); !strings.Contains(says, trouble.says) || strings.Contains(says, "lacks what is written from now on") != (bound < 1<<30) {
					t.Errorf("the log says %q", says)
				}
				if err := end(); err != nil {
					t.Fatal(err)
				}
				a.write(10)
				a.arrive()
				if more := a.chains() > chains; more != (bound < 1<<30) || more != strings.Contains(a.says.String(), "begins anew") {
					t.Errorf("another chain: %v; the log says %q", more, a.says.String())
				}
				if n := a.check(time.Time{}); n != len(a.commits) {
					t.Errorf("%d of %d", n, len(a.commits))
				}
			})
		}
	}
}

// An archive that is lost between the two parts of a checkpoint, and cannot begin
// anew, does not keep the log from being used again.
func TestAnArchiveThatIsLostInACheckpoint(t *testing.T) {
	a := archivedIn(t, small(t, 16<<20))
	a.write(10)
	a.arrive()
	a.s.CheckpointAfter(100 << 10)
	a.until("the log is held", func() bool { // until somebody writes
		held := a.s.LogHeld()
		if !held {
			a.write(1)
		}
		return held
	})
	if err := errors.Join(os.Rename(a.folder, a.folder+"-away"), os.CopyFS(a.folder, os.DirFS(a.folder+"-away"))); err != nil {
		t.Fatal(err)
	}
	a.fill(0)
	a.says.Reset()
	a.ahead.Add(int64(time.Hour)) // a piece is due
	a.until("it cannot begin anew", func() bool { return strings.Contains(a.says.String(), "begins anew") })
	a.write(150)
	if info, err := os.Stat(a.path + "-wal"); err != nil || info.Size() > 1<<20 {
		t.Errorf("the log has %d bytes: %v", info.Size(), err)
	}
}

// A base that does not fit is tried again, and what is committed meanwhile can be
// restored from the one before.
func TestABaseThatDoesNotFit(t *testing.T) {
	a := archivedIn(t, small(t, 16<<20))
	a.write(10)
	a.arrive()
	info, err := os.Stat(a.files("*.db")[0])
	if err != nil {
		t.Fatal(err)
	}
	room := a.fill(int(info.Size()) * 3 / 4)
	before := len(a.files("*.wal"))
	for range 4 {
		a.says.Reset()
		a.ahead.Add(int64(25 * time.Hour))
		a.until("it does not fit", func() bool { return strings.Contains(a.says.String(), "no space left") })
		a.write(3)
		a.arrive()
	}
	if n := len(a.files("*.wal")) - before; n != 1 {
		t.Errorf("%d files were begun", n)
	}
	if n := a.check(time.Time{}); n != len(a.commits) {
		t.Errorf("%d of %d", n, len(a.commits))
	}
	moment := a.now()
	if err := room(); err != nil {
		t.Fatal(err)
	}
	a.base()
	a.write(3)
	a.arrive()
	if n := a.check(moment); n != len(a.commits)-3 {
		t.Errorf("%d of %d before the base", n, len(a.commits)-3)
	}
	for _, older := range a.files("*.db")[:1] {
		if err := os.Remove(older); err != nil {
			t.Fatal(err)
		}
	}
	if n := a.check(time.Time{}); n != len(a.commits) {
		t.Errorf("%d of %d from the new base", n, len(a.commits))
	}
	// A chain without a base brings nothing back, which its span says.
	a.fill(int(info.Size()) * 3 / 4)
	a.close()
	closed := time.Now()
	a.says.Reset()
	a.open()
	a.until("it does not fit", func() bool { return strings.Contains(a.says.String(), "no space left") })
	if _, newest, err := store.ArchiveSpan(a.folder); err != nil || newest.After(closed) {
		t.Errorf("it goes to %v, and was closed at %v: %v", newest, closed, err)
	}
}
