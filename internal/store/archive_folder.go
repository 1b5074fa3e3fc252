package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What the archive writes into its folder: files of pieces, bases, and the marks
// that say of a base that it is whole.

// base is a copy of the database file, and what becomes its mark.
type base struct {
	First  int64     `json:"first"` // file of pieces
	Chain  string    `json:"chain"`
	Size   int64     `json:"size"`
	SHA256 string    `json:"sha256"`
	Whole  time.Time `json:"whole"` // the end of the piece that makes it whole
	err    error
}

// open begins the next file of the chain, with a piece if there is one.
func (a *archive) open(p *piece) error {
	c := a.chain
	raw := c.header(a.number+1, a.page)
	if p != nil {
		raw = append(raw, c.piece(*p)...)
	}
	f, err := a.place(pieceFile(a.number+1), raw)
	if err != nil {
		return err
	}
	if a.file != nil {
		a.file.Close()
	}
	a.chain, a.number, a.file, a.size, a.written = c, a.number+1, f, int64(len(raw)), a.s.clock()
	return nil
}

// place makes a file, which appears when all of it is on the disk.
func (a *archive) place(name string, raw []byte) (*os.File, error) {
	f, err := os.CreateTemp(a.folder, ".piece-*") // 0600
	if err != nil {
		return nil, err
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Sync()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(a.folder, name))
	}
	if err == nil {
		err = syncFolder(a.folder)
	}
	if err != nil {
		os.Remove(f.Name())
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// write appends a piece. What fails half-way is taken back, so that the next
// attempt stands in its place.
func (a *archive) write(p piece) error {
	there, err := os.Stat(filepath.Join(a.folder, pieceFile(a.number)))
	if err != nil {
		return err
	}
	if ours, err := a.file.Stat(); err != nil || !os.SameFile(there, ours) || there.Size() < a.size {
		a.unchain() // another folder is in its place
		return errors.Join(errors.New("another folder has taken the archive's place"), err)
	}
	if a.size >= pieceFileBytes {
		if err := a.open(nil); err != nil {
			return err
		}
	}
	c := a.chain
	raw := c.piece(p)
	if _, err = a.file.WriteAt(raw, a.size); err == nil {
		err = a.file.Sync()
	}
	if err != nil {
		if cut := a.file.Truncate(a.size); cut != nil {
			a.unchain()
		}
		return err
	}
	a.chain, a.size, a.written = c, a.size+int64(len(raw)), a.s.clock()
	return nil
}

// copy makes a base of the database file as it is, torn as it may be.
func (a *archive) copy(ctx context.Context, b *base) error {
	f, err := os.CreateTemp(a.folder, ".base-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	sum := sha256.New()
	part := make([]byte, 1<<20)
	for err == nil {
		if err = ctx.Err(); err != nil {
			break
		}
		var n int
		n, err = a.db.ReadAt(part, b.Size)
		sum.Write(part[:n])
		if _, failed := f.Write(part[:n]); failed != nil {
			err = failed
		}
		b.Size += int64(n)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	b.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return errors.Join(os.Rename(f.Name(), filepath.Join(a.folder, baseFile(b.First))), syncFolder(a.folder))
}

// mark makes a base count, once a piece from after its copy is there.
func (a *archive) mark(p piece) error {
	b := a.copied
	b.Whole = p.ended.Truncate(time.Microsecond).UTC()
	raw, err := json.Marshal(b)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(raw)
	raw = fmt.Appendf(raw, "\n%x\n", sum)
	f, err := a.place(markFile(b.First), raw)
	if err != nil {
		return err
	}
	f.Close()
	a.first, a.copied, a.marked = 0, nil, true
	return a.prune()
}

// prune removes what only moments before the retention need, and what was begun
// and never finished.
func (a *archive) prune() error {
	bases, _, err := basesIn(a.folder)
	if err != nil {
		return err
	}
	oldest := int64(0)
	for _, b := range bases {
		if b.Whole.Before(a.s.clock().Add(-a.retention)) {
			oldest = b.First
		}
	}
	entries, err := os.ReadDir(a.folder)
	if err != nil {
		return err
	}
	// A base goes before its pieces, and a mark before its base.
	slices.SortFunc(entries, func(x, y os.DirEntry) int {
		return strings.Compare(filepath.Ext(x.Name()), filepath.Ext(y.Name()))
	})
	for _, e := range entries {
		number, ours := numberOf(e.Name())
		unfinished := strings.HasPrefix(e.Name(), ".piece-") || strings.HasPrefix(e.Name(), ".base-")
		if ours && number < oldest || unfinished {
			if err := os.Remove(filepath.Join(a.folder, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// numberOf returns the number that a file of the archive is called by.
func numberOf(name string) (number int64, ours bool) {
	stem, kind, _ := strings.Cut(name, ".")
	number, err := strconv.ParseInt(stem, 10, 64)
	return number, err == nil && len(stem) == 10 && (kind == "wal" || kind == "db" || kind == "base")
}

func lastNumber(folder string) (last int64, err error) {
	entries, err := os.ReadDir(folder)
	for _, e := range entries {
		if n, ours := numberOf(e.Name()); ours {
			last = max(last, n)
		}
	}
	return last, err
}

func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
