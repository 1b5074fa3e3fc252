package store

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// A file of pieces begins with a header, and each piece names what it follows:
//
//	header  "deputyA1" · chain 16 · number of the file 8 · page size 4 · sum before 32 · sum 32
//	piece   begun 8 · ended 8 · pages of the database 4 · pages here 4 · sum 32
//	        page number 4, page … · sum 32
//
// Integers are big-endian, times microseconds since 1970. Each sum is SHA-256
// over the sum before it and what stands between, across files of one chain, so
// that no piece can be left out, moved or changed without being noticed. The
// first sum of a piece vouches for its length: a piece of which the end is not
// there was never finished, or has been cut off, and was not changed.
const (
	pieceMagic  = "deputyA1"
	fileHeader  = 8 + 16 + 8 + 4 + 32 + 32
	pieceHeader = 8 + 8 + 4 + 4 + 32
)

type sum = [sha256.Size]byte

// chain is an unbroken row of pieces, and where its end is.
type chain struct {
	id   [16]byte
	last sum
}

func newChain() (c chain) {
	rand.Read(c.id[:])
	return c
}

// add goes on with the sum.
func (c *chain) add(parts ...[]byte) []byte {
	h := sha256.New()
	h.Write(c.last[:])
	for _, p := range parts {
		h.Write(p)
	}
	c.last = sum(h.Sum(nil))
	return c.last[:]
}

// header begins a file.
func (c *chain) header(number int64, page int) []byte {
	b := append([]byte(pieceMagic), c.id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(number))
	b = binary.BigEndian.AppendUint32(b, uint32(page))
	b = append(b, c.last[:]...)
	return append(b, c.add(b)...)
}

// piece is what was committed since the one before. Everything that was
// committed before begun is in it or before it, and nothing from after ended.
type piece struct {
	begun, ended time.Time
	pages        *pages // nil: nothing was written
	all          bool   // nothing was left to be read, and begun holds
}

func (c *chain) piece(p piece) []byte {
	var b bytes.Buffer
	var count, here uint32
	if p.pages != nil {
		count, here = p.pages.count, uint32(len(p.pages.latest))
	}
	for _, v := range []any{p.begun.UnixMicro(), p.ended.UnixMicro(), count, here} {
		binary.Write(&b, binary.BigEndian, v)
	}
	b.Write(c.add(b.Bytes()))
	body := b.Len()
	if p.pages != nil {
		for _, n := range slices.Sorted(maps.Keys(p.pages.latest)) {
			binary.Write(&b, binary.BigEndian, n)
			b.Write(p.pages.latest[n])
		}
	}
	b.Write(c.add(b.Bytes()[body:]))
	return b.Bytes()
}

var (
	errDamaged = errors.New("is damaged")
	errCut     = errors.New("ends in the middle of a piece")
)

// pieces reads a file of pieces.
type pieces struct {
	in     io.ReadSeeker
	chain  chain
	number int64
	before sum // what the file says it follows
	page   int
}

func readPieces(in io.ReadSeeker) (*pieces, error) {
	h := make([]byte, fileHeader)
	if _, err := io.ReadFull(in, h); err != nil || string(h[:8]) != pieceMagic {
		return nil, errDamaged
	}
	p := &pieces{in: in, number: int64(binary.BigEndian.Uint64(h[24:])), page: int(binary.BigEndian.Uint32(h[32:])), before: sum(h[36:68])}
	p.chain = chain{id: [16]byte(h[8:24]), last: p.before}
	if p.page < 512 || p.page > 65536 || p.page&(p.page-1) != 0 || !bytes.Equal(p.chain.add(h[:68]), h[68:]) {
		return nil, errDamaged
	}
	return p, nil
}

// next reads a piece: once it is known to be whole and as it was written, put is
// given each of its pages. It returns how many the database has after it, 0 if
// nothing was written. After the last one it returns io.EOF, or errCut. wanted
// decides from the times whether to read the piece, which else is errUnwanted.
func (p *pieces) next(wanted func(begun, ended time.Time) bool, put func(n uint32, page []byte) error) (count uint32, err error) {
	h := make([]byte, pieceHeader)
	if _, err := io.ReadFull(p.in, h); errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, errCut
	} else if err != nil {
		return 0, err
	}
	if !bytes.Equal(p.chain.add(h[:24]), h[24:]) {
		return 0, errDamaged
	}
	count = binary.BigEndian.Uint32(h[16:])
	if !wanted(microTime(h), microTime(h[8:])) {
		return 0, errUnwanted
	}
	here := int64(binary.BigEndian.Uint32(h[20:]))
	bytes, page := here*int64(4+p.page), make([]byte, 4+p.page)
	whole := sha256.New()
	whole.Write(p.chain.last[:])
	if _, err := io.CopyN(whole, p.in, bytes); ended(err) {
		return 0, errCut
	} else if err != nil {
		return 0, err
	}
	var said sum
	if _, err := io.ReadFull(p.in, said[:]); ended(err) {
		return 0, errCut
	} else if err != nil {
		return 0, err
	}
	if p.chain.last = sum(whole.Sum(nil)); p.chain.last != said {
		return 0, errDamaged
	}
	if _, err := p.in.Seek(-bytes-int64(len(said)), io.SeekCurrent); err != nil {
		return 0, err
	}
	for range here {
		if _, err := io.ReadFull(p.in, page); err != nil {
			return 0, err
		}
		n := binary.BigEndian.Uint32(page)
		if n == 0 || n > count {
			return 0, errDamaged
		}
		if err := put(n, page[4:]); err != nil {
			return 0, err
		}
	}
	_, err = p.in.Seek(int64(len(said)), io.SeekCurrent)
	return count, err
}

// errUnwanted ends reading at a piece that is not wanted.
var errUnwanted = errors.New("enough")

func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func microTime(b []byte) time.Time {
	return time.UnixMicro(int64(binary.BigEndian.Uint64(b))).UTC()
}

func pieceFile(number int64) string { return fmt.Sprintf("%010d.wal", number) }
func baseFile(number int64) string  { return fmt.Sprintf("%010d.db", number) }
func markFile(number int64) string  { return fmt.Sprintf("%010d.base", number) }
