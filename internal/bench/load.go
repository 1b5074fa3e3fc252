// Package bench measures an HTTP server from outside: it sends requests over
// keep-alive connections, counts the answers and says how long they took.
//
// A Load describes one run; Run performs it and returns a Result, whose JSON is
// what `deputy bench --json` prints. Two shapes of load exist. In the closed
// loop (the default) each connection sends its next request when the answer to
// the last is in, which finds the highest rate. In the open loop (Load.Rate)
// requests are due at a fixed pace and a latency counts from the moment its
// request was due, so that a server that stalls cannot hide the queue it made.
//
// Machines differ and are noisy, so a rate alone says little. A Floor is the
// least server that could honestly answer a token request; Compare loads it and
// the server under test in turn and reports the median of their ratios, which
// carries from one machine to another.
//
// What holds: the generator costs a few microseconds a request (bytes made
// once, no header map, no allocation per answer), so one core of it saturates a
// server on another; every run is bounded in connections, time and, when asked,
// requests; nothing but loopback is dialled unless Load.AllowRemote says so;
// warm-up never enters a figure. Prepare makes a realistic zone through the
// management API; Start starts a server. Which ones is for the caller.
//
// The wire format is HTTP/1.1 (RFC 9112), of which the response side is read
// here: §4 status line, §5 header fields, §6.2-6.3 body length, §7.1 chunks.
package bench

import (
	"bytes"
	"context"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"deputy/internal/deputy"
)

// Bounds of a run. They keep a slip of a flag from becoming a denial of
// service, not from measuring anything real.
const (
	MaxConnections = 4096
	MaxTime        = time.Hour // warm-up and measured time together
)

// A Load is one kind of request and how hard to send it. URL, Connections,
// Duration and Now must be set.
type Load struct {
	Scenario string // copied to the result: what is being asked of the server
	Label    string // copied to the result: what tells this run from its siblings

	URL    string      // http://host:port/path?query; host is a loopback address or localhost
	Method string      // GET when empty, POST when there is a Body
	Header http.Header // sent with every request beside Host and Content-Length

	// Body returns the body of request seq (from 0, unique over all workers) on
	// connection worker (from 0). It is called from as many goroutines as there
	// are connections, at most once at a time for each worker, and the bytes
	// must stay unchanged until its next call. Nil sends no body.
	Body func(worker int, seq uint64) []byte
	// Raw, where requests differ in more than their body, appends the bytes of
	// one to dst, in place of all of the above but the host of URL.
	Raw func(dst []byte, worker int, seq uint64) []byte
	// Answer, if not nil, is given each answer, with its Location, by the
	// goroutine that asks Body and Raw of the worker, before it asks again.
	Answer func(worker, status int, location, body []byte)

	Connections int           // 1 to MaxConnections
	Warmup      time.Duration // load before the measured time; not in any figure
	Duration    time.Duration // measured time
	Requests    uint64        // ends the run early after so many requests, warm-up included; 0: time alone
	Rate        float64       // open loop: requests a second over all connections; 0: closed loop
	Expect      int           // the status that counts as success; 0: 200
	Step        int           // a status that only leads to the next request: it is counted, and in no other figure; 0: none
	Timeout     time.Duration // for one answer; 0: 10 s

	PID         int  // a process to sample (memory, CPU, bytes written) on Linux; 0: none
	AllowRemote bool // permit targets other than loopback

	Now func() time.Time // the clock latencies are read from
}

// Run performs the load and returns its figures. A load that cannot be run as
// described is a deputy.Invalid error, a target that cannot be reached at the
// start deputy.Unavailable; failures of single requests are in Result.Errors.
// When ctx ends first, the figures so far come with ctx's error.
func Run(ctx context.Context, l Load) (Result, error) {
	l, target, err := l.prepared()
	if err != nil {
		return Result{}, err
	}
	// The first connection is made here, so that a wrong address is one clear
	// error and not a tally of failures.
	first := target.newConn(l)
	if err := first.dial(ctx); err != nil {
		return Result{}, deputy.Errorf(deputy.Unavailable, "cannot reach %s; is the server running?", target.address).Because(err)
	}
	r := newRun(ctx, l, target)
	var sampling sync.WaitGroup
	sampling.Go(r.sample)
	var workers sync.WaitGroup
	for i := range r.workers {
		w := &r.workers[i]
		w.conn = target.newConn(l)
		if i == 0 {
			w.conn = first
		}
		workers.Go(w.work)
	}
	workers.Wait()
	r.stopped = l.Now()
	close(r.done)
	sampling.Wait()
	return r.result(), ctx.Err()
}

// Once sends a single request of the load (worker 0, seq 0) and returns the
// answer, whatever its status: the way to learn why a load is being refused.
func Once(ctx context.Context, l Load) (status int, body []byte, err error) {
	l.Connections, l.Duration = max(l.Connections, 1), max(l.Duration, time.Second)
	l, target, err := l.prepared()
	if err != nil {
		return 0, nil, err
	}
	c := target.newConn(l)
	defer c.close()
	c.keep = true
	if err := c.dial(ctx); err != nil {
		return 0, nil, deputy.Errorf(deputy.Unavailable, "cannot reach %s; is the server running?", target.address).Because(err)
	}
	status, _, err = c.do(ctx, target.request(nil, l, 0, 0), l.Now().Add(l.Timeout))
	return status, c.body, err
}

// Pick spreads requests evenly: it returns an index in [0, n) that depends on
// worker and seq alone and looks random. For use in Load.Body.
func Pick(worker int, seq uint64, n int) int {
	// SplitMix64's finaliser: every input bit reaches every output bit.
	x := seq*0x9e3779b97f4a7c15 + uint64(worker)*0xd1342543de82ef95 + 1
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return int((x ^ x>>31) % uint64(n))
}

// prepared returns the load with its defaults filled in, and its target, or
// says what is wrong with it.
func (l Load) prepared() (Load, *target, error) {
	switch {
	case l.Now == nil:
		return l, nil, deputy.Bad("Now", "a clock is needed")
	case l.Connections < 1 || l.Connections > MaxConnections:
		return l, nil, deputy.Bad("Connections", "want 1 to %d connections, not %d", MaxConnections, l.Connections)
	case l.Duration <= 0:
		return l, nil, deputy.Bad("Duration", "want a measured time above zero")
	case l.Warmup < 0 || l.Warmup > MaxTime || l.Duration > MaxTime-l.Warmup:
		return l, nil, deputy.Bad("Duration", "want at most %v of warm-up and measured time together", MaxTime)
	case l.Rate < 0 || l.Rate > 1e7:
		return l, nil, deputy.Bad("Rate", "want a rate of 0 to 10,000,000 requests a second")
	case l.Timeout < 0:
		return l, nil, deputy.Bad("Timeout", "want a time above zero")
	}
	if l.Timeout == 0 {
		l.Timeout = 10 * time.Second
	}
	if l.Expect == 0 {
		l.Expect = http.StatusOK
	}
	if l.Method == "" {
		l.Method = http.MethodGet
		if l.Body != nil {
			l.Method = http.MethodPost
		}
	}
	t, err := newTarget(l)
	return l, t, err
}

// A target is where requests go and the part of them that never changes.
type target struct {
	address string // host:port
	head    []byte // up to and with "Content-Length: " when there is a body, else the whole request
	loop    bool   // refuse to dial anything but loopback
}

func newTarget(l Load) (*target, error) {
	u, err := url.Parse(l.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" || u.User != nil {
		return nil, deputy.Bad("URL", "want an address such as http://127.0.0.1:8080/path, not %q", l.URL)
	}
	t := &target{address: u.Host, loop: !l.AllowRemote}
	if u.Port() == "" {
		t.address = net.JoinHostPort(u.Hostname(), "80")
	}
	var b bytes.Buffer
	b.WriteString(l.Method + " " + u.RequestURI() + " HTTP/1.1\r\nHost: " + u.Host + "\r\n")
	for _, name := range slices.Sorted(maps.Keys(l.Header)) {
		for _, value := range l.Header[name] {
			if strings.ContainsAny(name+value, "\r\n") {
				return nil, deputy.Bad("Header", "the header %q has a line break", name)
			}
			b.WriteString(name + ": " + value + "\r\n")
		}
	}
	if l.Body != nil {
		b.WriteString("Content-Length: ")
	} else {
		b.WriteString("\r\n")
	}
	t.head = b.Bytes()
	return t, nil
}

// request appends to dst the bytes of one request.
func (t *target) request(dst []byte, l Load, worker int, seq uint64) []byte {
	if l.Raw != nil {
		return l.Raw(dst, worker, seq)
	}
	dst = append(dst, t.head...)
	if l.Body == nil {
		return dst
	}
	body := l.Body(worker, seq)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, body...)
}
