package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Rewind makes the SQLite database at path from an archive, as it was at a
// moment; the zero moment is the newest. It returns the moment that it got to:
// everything that was committed before is there, and nothing from after at; and
// the bases that are damaged and were not needed. It refuses what Restore
// refuses, a moment before the first that the archive has, and an archive in
// which anything is damaged or missing on the way, unless it is the end of the
// last piece, which was never finished then.
func Rewind(ctx context.Context, folder string, at time.Time, path, fingerprint string) (reached time.Time, damaged []error, err error) {
	if err := nothingAt(path); err != nil {
		return reached, nil, err
	}
	bases, bad, err := basesIn(folder)
	if err != nil {
		return reached, nil, err
	}
	if len(bases)+len(bad) == 0 {
		return reached, nil, fmt.Errorf("%s has no base: it is no archive, or the first was not finished", folder)
	}
	for _, b := range slices.Backward(bases) {
		if !at.IsZero() && b.Whole.After(at) {
			continue
		}
		r := &rewinding{folder: folder, at: at, base: b, damaged: bad}
		err := newFile(path, func(f *os.File) error {
			if err := r.into(f); err != nil {
				return err
			}
			if err := examine(ctx, f.Name(), fingerprint); err != nil {
				return fmt.Errorf("what %s had then %w", folder, err)
			}
			return nil
		})
		if b.err == nil {
			for _, b := range bad {
				damaged = append(damaged, b.err)
			}
			return r.reached, damaged, err
		}
		bad = append(bad, b) // the one before has more to replay
	}
	for _, b := range bad {
		err = errors.Join(err, b.err)
	}
	if len(bases) > 0 && bases[0].err == nil {
		_, newest, _ := ArchiveSpan(folder)
		err = errors.Join(err, fmt.Errorf("%s goes from %s to %s", folder, moment(bases[0].Whole), moment(newest)))
	}
	return reached, nil, err
}

// ArchiveSpan returns the first moment that an archive can bring back, and when
// what its newest base has been followed by was last written to.
func ArchiveSpan(folder string) (first, newest time.Time, err error) {
	bases, bad, err := basesIn(folder)
	if err != nil {
		return first, newest, err
	}
	if len(bases) == 0 && len(bad) > 0 {
		return first, newest, bad[0].err
	}
	if len(bases) == 0 {
		return first, newest, fmt.Errorf("%s has no base yet", folder)
	}
	last := bases[len(bases)-1]
	for n := last.First; ; n++ {
		written, chain, err := lastWritten(filepath.Join(folder, pieceFile(n)))
		if n > last.First && (errors.Is(err, fs.ErrNotExist) || err == nil && chain != last.Chain) {
			err = nil
			if len(bad) > 0 {
				err = bad[0].err
			}
			return bases[0].Whole, newest, err
		}
		if err != nil {
			return first, newest, err
		}
		newest = written
	}
}

// lastWritten returns when a file of pieces was, and its chain.
func lastWritten(name string) (at time.Time, chain string, err error) {
	f, err := os.Open(name)
	if err != nil {
		return at, chain, err
	}
	defer f.Close()
	p, err := readPieces(f)
	if err != nil {
		return at, chain, fmt.Errorf("%s %w", name, err)
	}
	info, err := f.Stat()
	if err != nil {
		return at, chain, err
	}
	return info.ModTime(), hex.EncodeToString(p.chain.id[:]), nil
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// nothingAt refuses where there is a database.
func nothingAt(path string) error {
	for _, there := range []string{path, path + "-wal", path + "-journal"} {
		if _, err := os.Stat(there); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s exists: move it away first", there)
		}
	}
	return nil
}

// basesIn returns the bases of an archive that are whole, the oldest first, and
// those whose mark is damaged.
func basesIn(folder string) (whole, damaged []*base, err error) {
	entries, err := os.ReadDir(folder) // by name
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		number, ours := numberOf(e.Name())
		if !ours || !strings.HasSuffix(e.Name(), ".base") {
			continue
		}
		name := filepath.Join(folder, e.Name())
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil, nil, err
		}
		b, err := readMark(raw)
		if err != nil || b.First != number {
			damaged = append(damaged, &base{First: number, err: fmt.Errorf("%s %w", name, errDamaged)})
			continue
		}
		whole = append(whole, b)
	}
	return whole, damaged, nil
}

func readMark(raw []byte) (*base, error) {
	said, sum, _ := bytes.Cut(raw, []byte("\n"))
	if fmt.Sprintf("%x\n", sha256.Sum256(said)) != string(sum) {
		return nil, errDamaged
	}
	b := new(base)
	return b, json.Unmarshal(said, b)
}

// rewinding makes a database of a base and pieces.
type rewinding struct {
	folder  string
	at      time.Time
	base    *base
	damaged []*base // others
	reached time.Time
	whole   bool // the base is
}

// wanted reports whether a piece is not too late.
func (r *rewinding) wanted(_, ended time.Time) bool { return r.at.IsZero() || !ended.After(r.at) }

func (r *rewinding) into(f *os.File) error {
	if err := r.start(f); err != nil {
		if errors.Is(err, errDamaged) || errors.Is(err, fs.ErrNotExist) {
			r.base.err = err
		}
		return err
	}
	last, err := lastNumber(r.folder)
	if err != nil {
		return err
	}
	var before *chain
	for n := r.base.First; n <= last; n++ {
		more, err := r.file(f, n, &before)
		if err != nil {
			return fmt.Errorf("%s %w", filepath.Join(r.folder, pieceFile(n)), err)
		}
		if !more {
			break
		}
	}
	if !r.whole {
		return fmt.Errorf("%s ends before the base that is to be restored is whole", r.folder)
	}
	return nil
}

// anew ends at the first file of the chain after, unless a base from there on is
// damaged and the moment is not before.
func (r *rewinding) anew(p *pieces) error {
	var begun time.Time
	p.next(func(b, _ time.Time) bool { begun = b; return false }, nil)
	for _, b := range r.damaged {
		if b.First >= p.number && (r.at.IsZero() || !r.at.Before(begun)) {
			return fmt.Errorf("begins anew, and %w: restore to %s, or to a moment before", b.err, moment(r.reached))
		}
	}
	return nil
}

// start copies the base.
func (r *rewinding) start(f *os.File) error {
	name := filepath.Join(r.folder, baseFile(r.base.First))
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), in)
	if err != nil {
		return err
	}
	if n != r.base.Size || hex.EncodeToString(sum.Sum(nil)) != r.base.SHA256 {
		return fmt.Errorf("%s %w", name, errDamaged)
	}
	return nil
}

// file applies the pieces of a file, and reports whether the next one may go on.
func (r *rewinding) file(f *os.File, number int64, before **chain) (more bool, err error) {
	in, err := os.Open(filepath.Join(r.folder, pieceFile(number)))
	if errors.Is(err, fs.ErrNotExist) {
		return false, errors.New("is missing")
	}
	if err != nil {
		return false, err
	}
	defer in.Close()
	p, err := readPieces(in)
	if err != nil {
		return false, err
	}
	switch id := hex.EncodeToString(p.chain.id[:]); {
	case *before == nil && id != r.base.Chain || p.number != number:
		return false, errors.New("is of another archive")
	case *before != nil && id != r.base.Chain:
		if p.before != (sum{}) {
			return false, errors.New("does not go on from the file before, and does not begin anew")
		}
		return false, r.anew(p)
	case *before != nil && p.before != (*before).last:
		return false, fmt.Errorf("does not go on from %s, which is damaged or cut short", pieceFile(number-1))
	}
	for {
		var begun, ended time.Time
		count, err := p.next(func(b, e time.Time) bool {
			begun, ended = b, e
			return r.wanted(b, e)
		}, func(n uint32, page []byte) error {
			_, err := f.WriteAt(page, int64(n-1)*int64(p.page))
			return err
		})
		switch {
		case errors.Is(err, errUnwanted):
			return false, nil
		case errors.Is(err, io.EOF), errors.Is(err, errCut):
			*before = &p.chain
			return true, nil
		case err != nil && !r.reached.IsZero():
			return false, fmt.Errorf("%w after %s: restore to that moment, or to one before", err, moment(r.reached))
		case err != nil:
			return false, err
		}
		if count > 0 {
			if err := f.Truncate(int64(count) * int64(p.page)); err != nil {
				return false, err
			}
		}
		r.whole = r.whole || !ended.Before(r.base.Whole)
		if r.whole && begun.After(r.reached) {
			r.reached = begun
		}
	}
}
