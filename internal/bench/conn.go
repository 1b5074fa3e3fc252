package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// A conn is one keep-alive connection to a target. It is dialled again by the
// next request after any failure and when the server asks to close it.
type conn struct {
	address string
	dialer  net.Dialer
	keep    bool // keep the answer
	answer       // the last one, when keep is set
	dials   int

	c      net.Conn
	r      *bufio.Reader
	broken atomic.Pointer[net.Conn] // c again, for interrupt
}

// An answer is what is kept of one.
type answer struct{ location, body []byte }

func (t *target) newConn(l Load) *conn {
	c := &conn{address: t.address, dialer: net.Dialer{Timeout: l.Timeout}, keep: l.Answer != nil}
	if t.loop {
		// Checked on the address that is connected to, after any name has been
		// resolved, so that no name leads elsewhere.
		c.dialer.Control = func(_, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil || !ap.Addr().Unmap().IsLoopback() {
				return fmt.Errorf("%s is not a loopback address", address)
			}
			return nil
		}
	}
	return c
}

func (c *conn) dial(ctx context.Context) error {
	nc, err := c.dialer.DialContext(ctx, "tcp", c.address)
	if err != nil {
		return err
	}
	c.c = nc
	c.broken.Store(&nc)
	c.dials++
	if c.r == nil {
		c.r = bufio.NewReaderSize(nc, 16<<10)
	} else {
		c.r.Reset(nc)
	}
	return nil
}

func (c *conn) close() {
	if c.c != nil {
		c.c.Close()
		c.c = nil
	}
}

// interrupt ends a request under way; it may be called from any goroutine.
func (c *conn) interrupt() {
	if nc := c.broken.Load(); nc != nil {
		(*nc).SetDeadline(time.Unix(1, 0))
	}
}

// do sends the request and reads its answer: the status and the length of the
// body.
func (c *conn) do(ctx context.Context, request []byte, deadline time.Time) (status int, n int64, err error) {
	if c.c == nil {
		if err := c.dial(ctx); err != nil {
			return 0, 0, err
		}
	}
	last := true
	defer func() {
		if err != nil || last {
			c.close()
		}
	}()
	if err := c.c.SetDeadline(deadline); err != nil {
		return 0, 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, 0, err // an interrupt before the deadline was set
	}
	if _, err := c.c.Write(request); err != nil {
		return 0, 0, err
	}
	c.body, c.location = c.body[:0], c.location[:0]
	var into *answer
	if c.keep {
		into = &c.answer
	}
	status, n, last, err = readResponse(c.r, into)
	return status, n, err
}

var errMalformed = errors.New("malformed answer")

// Bounds of an answer; a server under test has no reason to exceed them.
const (
	maxFields     = 128      // header lines, and trailer lines
	maxAnswerBody = 64 << 20 // bytes
	maxInterim    = 8        // 1xx answers before the final one
)

// readResponse reads one final answer to a request other than HEAD, appending
// to what is in keep unless that is nil. last says that the server closes the
// connection after it (RFC 9112 §9.3).
func readResponse(r *bufio.Reader, keep *answer) (status int, n int64, last bool, err error) {
	var into *[]byte
	if keep != nil {
		into = &keep.body
	}
	for range maxInterim {
		h, err := readHead(r, keep)
		if err != nil {
			return 0, 0, true, err
		}
		if h.status < 200 {
			continue // an interim answer has no body; the final one follows
		}
		switch {
		case h.status == 204 || h.status == 304:
		case h.chunked:
			n, err = readChunks(r, into)
		case h.length >= 0:
			n, err = h.length, take(r, h.length, into)
		default: // RFC 9112 §6.3 rule 8: the body ends with the connection
			h.last = true
			n, err = takeAll(r, into)
		}
		return h.status, n, h.last, err
	}
	return 0, 0, true, fmt.Errorf("%w: too many interim answers", errMalformed)
}

// A head is what the header section of an answer says about its body.
type head struct {
	status  int
	length  int64 // -1: not given
	chunked bool
	last    bool // the connection closes after this answer
}

func readHead(r *bufio.Reader, keep *answer) (h head, err error) {
	line, err := readLine(r)
	if err != nil {
		return h, err
	}
	// "HTTP/1.1 200" and anything after another space.
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) || line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return h, fmt.Errorf("%w: status line", errMalformed)
	}
	status, ok := number(line[9:12], 10)
	if !ok || status < 100 {
		return h, fmt.Errorf("%w: status", errMalformed)
	}
	old := line[7] == '0' // HTTP/1.0 closes unless it says otherwise
	h.status, h.length, h.last = int(status), -1, old
	for range maxFields {
		line, err = readLine(r)
		if err != nil {
			return h, err
		}
		if len(line) == 0 {
			if h.chunked && old {
				return h, fmt.Errorf("%w: chunks in HTTP/1.0", errMalformed) // RFC 9112 §6.1
			}
			return h, nil
		}
		if err := h.field(line, keep); err != nil {
			return h, err
		}
	}
	return h, fmt.Errorf("%w: too many header fields", errMalformed)
}

// field takes up one header line.
func (h *head) field(line []byte, keep *answer) error {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		return fmt.Errorf("%w: header field", errMalformed)
	}
	value = bytes.TrimSpace(value)
	switch { // lengths first: most fields are none of these
	case len(name) == len("content-length") && bytes.EqualFold(name, []byte("content-length")):
		n, ok := number(value, 10)
		if !ok || n > maxAnswerBody || h.length >= 0 && h.length != n {
			return fmt.Errorf("%w: content length", errMalformed)
		}
		h.length = n
	case len(name) == len("transfer-encoding") && bytes.EqualFold(name, []byte("transfer-encoding")):
		if !bytes.EqualFold(value, []byte("chunked")) {
			return fmt.Errorf("%w: transfer encoding", errMalformed)
		}
		h.chunked = true
	case len(name) == len("connection") && bytes.EqualFold(name, []byte("connection")):
		if bytes.EqualFold(value, []byte("close")) {
			h.last = true
		} else if bytes.EqualFold(value, []byte("keep-alive")) {
			h.last = false
		}
	case keep != nil && len(name) == len("location") && bytes.EqualFold(name, []byte("location")):
		keep.location = append(keep.location, value...)
	}
	return nil
}

func readChunks(r *bufio.Reader, into *[]byte) (total int64, err error) {
	for {
		line, err := readLine(r)
		if err != nil {
			return total, err
		}
		digits, _, _ := bytes.Cut(line, []byte(";")) // extensions mean nothing here
		size, ok := number(bytes.TrimRight(digits, " \t"), 16)
		if !ok || size > maxAnswerBody-total {
			return total, fmt.Errorf("%w: chunk size", errMalformed)
		}
		if size == 0 {
			return total, skipTrailers(r)
		}
		if err := take(r, size, into); err != nil {
			return total, err
		}
		total += size
		if end, err := readLine(r); err != nil || len(end) != 0 {
			return total, errors.Join(err, fmt.Errorf("%w: end of chunk", errMalformed))
		}
	}
}

func skipTrailers(r *bufio.Reader) error {
	for range maxFields {
		line, err := readLine(r)
		if err != nil || len(line) == 0 {
			return err
		}
	}
	return fmt.Errorf("%w: too many trailer fields", errMalformed)
}

// take reads n bytes of body.
func take(r *bufio.Reader, n int64, into *[]byte) error {
	if into == nil {
		_, err := r.Discard(int(n))
		return err
	}
	before := len(*into)
	*into = append(*into, make([]byte, n)...)
	_, err := io.ReadFull(r, (*into)[before:])
	return err
}

// takeAll reads body until the connection ends.
func takeAll(r *bufio.Reader, into *[]byte) (n int64, err error) {
	var w io.Writer = io.Discard
	var kept bytes.Buffer
	if into != nil {
		w = &kept
	}
	n, err = io.Copy(w, io.LimitReader(r, maxAnswerBody+1))
	if err == nil && n > maxAnswerBody {
		err = fmt.Errorf("%w: body too large", errMalformed)
	}
	if into != nil {
		*into = append(*into, kept.Bytes()...)
	}
	return n, err
}

// readLine returns a line without its end. It is valid until the next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, fmt.Errorf("%w: line too long", errMalformed)
		}
		if len(line) > 0 && errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		}
		return nil, err
	}
	line = line[:len(line)-1]
	return bytes.TrimSuffix(line, []byte("\r")), nil
}

// number reads an unsigned number without sign, space or underscore.
func number(digits []byte, radix int64) (n int64, ok bool) {
	if len(digits) == 0 || len(digits) > 15 {
		return 0, false
	}
	for _, c := range digits {
		var d int64
		switch {
		case '0' <= c && c <= '9':
			d = int64(c - '0')
		case radix == 16 && 'a' <= c|0x20 && c|0x20 <= 'f':
			d = int64(c|0x20-'a') + 10
		default:
			return 0, false
		}
		n = n*radix + d
	}
	return n, true
}
