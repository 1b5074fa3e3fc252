package store

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
)

// wal reads SQLite's write-ahead log in its order, beside those who write it.
// https://www.sqlite.org/fileformat2.html#the_write_ahead_log describes it.
//
// The log is written in rounds: once all of it is in the database file, the
// next frame takes the place of the first. Each round has salts of its own, of
// which the first is counted up, so that a round that was missed shows.
type wal struct {
	path  string
	known bool // a round has been seen
	moved bool // all that was read is in the database file: the next round may begin
	salts [8]byte
	order binary.ByteOrder
	page  int
	next  int64 // frames of the round that were read
	sum   [2]uint32
}

const (
	walHeader   = 32
	frameHeader = 24
)

// errMissed is a log in which something was written over before it was read.
var errMissed = errors.New("the write-ahead log went on without the archive")

// pages is what a stretch of the log leaves behind.
type pages struct {
	size   int // bytes of one
	count  uint32
	latest map[uint32][]byte // by number, from 1
}

// round looks at which round the log is in.
func (l *wal) round() error {
	h := make([]byte, walHeader)
	f, err := os.Open(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.ReadAt(h, 0); errors.Is(err, io.EOF) {
		return nil // nothing was written since it was cut
	} else if err != nil {
		return err
	}
	magic := binary.BigEndian.Uint32(h)
	var order binary.ByteOrder = binary.LittleEndian
	if magic&1 == 1 {
		order = binary.BigEndian
	}
	sum := walSum(order, [2]uint32{}, h[:24])
	if magic&^1 != 0x377f0682 || sum != [2]uint32{binary.BigEndian.Uint32(h[24:]), binary.BigEndian.Uint32(h[28:])} {
		return nil // it is being written
	}
	salts := [8]byte(h[16:24])
	if l.known && salts == l.salts {
		return nil
	}
	following := binary.BigEndian.Uint32(salts[:]) == binary.BigEndian.Uint32(l.salts[:])+1
	if l.known && !(l.moved && following) {
		return errMissed
	}
	l.known, l.moved, l.salts, l.order, l.next, l.sum = true, false, salts, order, 0, sum
	l.page = int(binary.BigEndian.Uint32(h[8:]))
	return nil
}

// read reads the frames up to the one numbered last, which must be committed,
// and after most bytes stops at the end of a transaction. It returns nil where
// there is nothing to read.
func (l *wal) read(last int64, most int) (*pages, error) {
	if !l.known || last <= l.next {
		return nil, nil
	}
	f, err := os.Open(l.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size := frameHeader + l.page
	in := io.NewSectionReader(f, walHeader+l.next*int64(size), (last-l.next)*int64(size))
	found := &pages{size: l.page, latest: map[uint32][]byte{}}
	open := map[uint32][]byte{} // of the transaction that is being read
	at, sum := l.next, l.sum
	for n := l.next; n < last; n++ {
		frame := make([]byte, size)
		if _, err := io.ReadFull(in, frame); err != nil {
			return nil, errMissed
		}
		sum = walSum(l.order, walSum(l.order, sum, frame[:8]), frame[frameHeader:])
		if [8]byte(frame[8:16]) != l.salts || sum != [2]uint32{binary.BigEndian.Uint32(frame[16:]), binary.BigEndian.Uint32(frame[20:])} {
			if l.moved {
				return nil, nil // the next round has begun since the first look
			}
			return nil, errMissed
		}
		open[binary.BigEndian.Uint32(frame)] = frame[frameHeader:]
		count := binary.BigEndian.Uint32(frame[4:])
		if count == 0 {
			continue
		}
		found.take(count, open)
		clear(open)
		if at, l.sum = n+1, sum; len(found.latest)*l.page >= most {
			break
		}
	}
	if at == l.next {
		return nil, nil
	}
	l.next, l.moved = at, false
	return found, nil
}

// settle notes whether all that was read is in the database file. By now the log
// has last frames, of which moved are there.
func (l *wal) settle(last, moved int64) error {
	if last == 0 || last != moved || last != l.next {
		return nil
	}
	salts := l.salts
	err := l.round()
	l.moved = l.moved || err == nil && l.salts == salts // else the numbers may be the next round's
	return err
}

// again returns what the round holds up to where it was read.
func (l *wal) again() (*pages, error) {
	whole := wal{path: l.path}
	if err := whole.round(); err != nil || whole.salts != l.salts {
		return nil, err // nothing of this round is only in the log
	}
	return whole.read(l.next, 1<<62)
}

// take adds what a transaction wrote, after which the database has count pages.
func (p *pages) take(count uint32, written map[uint32][]byte) {
	p.count = count
	for n, page := range written {
		p.latest[n] = page
	}
	for n := range p.latest {
		if n > count {
			delete(p.latest, n)
		}
	}
}

// walSum goes on with SQLite's checksum of its log.
func walSum(order binary.ByteOrder, s [2]uint32, b []byte) [2]uint32 {
	for ; len(b) >= 8; b = b[8:] {
		s[0] += order.Uint32(b) + s[1]
		s[1] += order.Uint32(b[4:]) + s[0]
	}
	return s
}
