package upstream_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/upstream"
)

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 11, 24, 2, 23, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// errOffTheWire is how the recorder stops a connection that it has recorded.
var errOffTheWire = errors.New("kept off the wire")

// recorder records each address that a fetcher connects to, and lets only
// loopback addresses be connected to in fact.
type recorder struct {
	mu   sync.Mutex
	seen []netip.AddrPort
}

func (r *recorder) dialed(to netip.AddrPort) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, to)
	if !to.Addr().IsLoopback() {
		return errOffTheWire
	}
	return nil
}

// take returns what was recorded since the last take.
func (r *recorder) take() []netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}

// names answers DNS questions over UDP on loopback: name to the addresses of
// each lookup in turn, of which the last repeats.
type names struct {
	mu      sync.Mutex
	answers map[string][][]netip.Addr
	asked   map[string]int // questions per name and type
}

func (n *names) set(name string, lookups ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answers[name] = nil
	for _, lookup := range lookups {
		var addrs []netip.Addr
		for text := range strings.FieldsSeq(lookup) {
			addrs = append(addrs, netip.MustParseAddr(text))
		}
		n.answers[name] = append(n.answers[name], addrs)
	}
}

// newNames starts the name server and returns a resolver that asks only it.
func newNames(t *testing.T) (*names, *net.Resolver) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &names{answers: map[string][][]netip.Addr{}, asked: map[string]int{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		question := make([]byte, 2048)
		for {
			size, from, err := conn.ReadFrom(question)
			if err != nil {
				return
			}
			if answer := n.answer(question[:size]); answer != nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return n, &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// answer builds the reply to a message with one question (RFC 1035 §4.1).
func (n *names) answer(message []byte) []byte {
	const header, typeA, typeAAAA = 12, 1, 28
	if len(message) < header {
		return nil
	}
	var labels []string
	end := header
	for end < len(message) && message[end] != 0 {
		next := end + 1 + int(message[end])
		if next >= len(message) {
			return nil
		}
		labels = append(labels, string(message[end+1:next]))
		end = next
	}
	end += 5 // the root label, type and class
	if end > len(message) {
		return nil
	}
	kind := binary.BigEndian.Uint16(message[end-4:])
	addrs, known := n.lookup(strings.ToLower(strings.Join(labels, ".")), kind)

	reply := append([]byte(nil), message[:end]...)
	binary.BigEndian.PutUint16(reply[2:], 0x8180) // a response, recursion available
	if !known {
		reply[3] |= 3 // no such name
	}
	clear(reply[6:12])
	count := uint16(0)
	for _, addr := range addrs {
		data := addr.AsSlice()
		if kind == typeA && len(data) != 4 || kind == typeAAAA && len(data) != 16 || kind != typeA && kind != typeAAAA {
			continue
		}
		count++
		reply = append(reply, 0xc0, header) // the name of the question
		reply = binary.BigEndian.AppendUint16(reply, kind)
		reply = append(reply, 0, 1, 0, 0, 0, 0) // IN, time to live 0
		reply = binary.BigEndian.AppendUint16(reply, uint16(len(data)))
		reply = append(reply, data...)
	}
	binary.BigEndian.PutUint16(reply[4:], 1)
	binary.BigEndian.PutUint16(reply[6:], count)
	return reply
}

func (n *names) lookup(name string, kind uint16) ([]netip.Addr, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	lookups, known := n.answers[name]
	if !known {
		return nil, false
	}
	key := name + string(rune(kind))
	turn := min(n.asked[key], len(lookups)-1)
	n.asked[key]++
	return lookups[turn], true
}

// world is a fetcher and all it can see of the outside.
type world struct {
	*upstream.Fetcher
	clock *clock
	dials *recorder
	names *names
}

// newWorld returns a fetcher with its own clock, resolver and dial recorder;
// change, if any, adjusts its configuration first.
func newWorld(t *testing.T, allow string, change func(*upstream.Config)) *world {
	t.Helper()
	parsed, err := upstream.ParseAllow(allow)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{clock: newClock(), dials: &recorder{}}
	var resolver *net.Resolver
	w.names, resolver = newNames(t)
	c := upstream.Config{Now: w.clock.now, Allow: parsed, Resolver: resolver, Dialed: w.dials.dialed}
	if change != nil {
		change(&c)
	}
	w.Fetcher = upstream.New(c)
	t.Cleanup(w.Close)
	return w
}

// get fetches url with the zero values of everything else.
func (w *world) get(url string) (*upstream.Document, error) {
	return w.Get(context.Background(), upstream.Source{URL: url})
}

// host is a server on loopback that counts what it is asked.
type host struct {
	*httptest.Server
	mu   sync.Mutex
	seen []*http.Request
}

func newHost(t *testing.T, answer http.HandlerFunc) *host {
	t.Helper()
	h := new(host)
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.seen = append(h.seen, r)
		h.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *host) requests() []*http.Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seen
}

// wantRequests checks how many requests h has seen since it started.
func (h *host) wantRequests(t *testing.T, want int, when string) {
	t.Helper()
	if got := len(h.requests()); got != want {
		t.Fatalf("%s: the host has seen %d requests, want %d", when, got, want)
	}
}

// wantKind checks the kind of an error, and that its message, which tenants
// see, names no address that they have not written themselves.
func wantKind(t *testing.T, err error, want deputy.Kind, hidden ...string) {
	t.Helper()
	if deputy.KindOf(err) != want {
		t.Fatalf("error is %v of kind %q, want %q", err, deputy.KindOf(err), want)
	}
	var e *deputy.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is no deputy.Error", err)
	}
	for _, secret := range hidden {
		if strings.Contains(e.Message, secret) {
			t.Fatalf("message %q tells %q", e.Message, secret)
		}
	}
}
