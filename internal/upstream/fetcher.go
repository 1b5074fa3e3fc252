package upstream

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"deputy/internal/deputy"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"
)

// What a request is limited to when it does not say.
const (
	defaultTimeout  = 5 * time.Second
	defaultMaxBytes = 64 << 10
)

const (
	connectTimeout = 5 * time.Second
	userAgent      = "deputy"
	// maxHeaderBytes bounds an answer's header, which no caller needs much of.
	maxHeaderBytes = 32 << 10
	// maxCircuits bounds what is remembered about hosts; the least used are
	// forgotten, which closes their circuits.
	maxCircuits = 10_000
	// defaultCacheBytes bounds the documents remembered.
	defaultCacheBytes = 32 << 20
)

// Config says what a Fetcher may reach and how it tells the time. Only Now is
// required; the zero values of the rest are the ones for production.
type Config struct {
	// Now is the clock of cache and circuits. Time limits of requests run on
	// the machine's own clock.
	Now func() time.Time
	// Allow has the addresses that tenants' URLs may reach beside the public
	// internet, over https and plain http.
	Allow Allow
	// Dev opens loopback and private networks, and plain http to any address.
	Dev bool
	// RootCAs are the authorities trusted in tenants' URLs; nil means the
	// system's.
	RootCAs *x509.CertPool
	// Resolver resolves the hosts of tenants' URLs; nil means the system's.
	Resolver *net.Resolver
	// Dialed, if set, is called with each address that passed the rules, right
	// before a connection to it is made; an error stops that connection. It is
	// called concurrently, and not for Operator. Tests record connections with
	// it and keep public addresses off the wire.
	Dialed func(netip.AddrPort) error
	// CacheBytes bounds the memory of remembered documents; 0 means 32 MiB. A
	// document counts for 4 KiB at least, so that the number is bounded too.
	CacheBytes int
	// Ended, if set, is called at the end of each request to a tenant's URL: ok,
	// failed, abandoned by the caller, or refused because the host kept failing.
	// It is called concurrently.
	Ended func(result string)
}

// Fetcher sends every outgoing request that a tenant's URL causes. It is safe
// for concurrent use.
type Fetcher struct {
	now           func() time.Time
	rules         rules
	secure, plain *http.Transport
	operator      *http.Client
	ended         func(result string)
	// Both are of text and pointers: a cache is compiled anew, into 400 KB, for
	// each other kind of key and value.
	circuits  *otter.Cache[string, *circuit]
	documents *otter.Cache[string, *entry]
	flights   singleflight.Group
}

// circuitKey is whose failures count together: a tenant that makes a shared
// host fail for itself must not shut it for the others.
func circuitKey(zone deputy.ZoneID, origin string) string { return string(zone) + " " + origin }

// New returns a Fetcher that obeys c.
func New(c Config) *Fetcher {
	f := &Fetcher{
		now:      c.Now,
		rules:    newRules(c.Allow, c.Dev),
		operator: OperatorClient(),
		ended:    c.Ended,
		circuits: otter.Must(&otter.Options[string, *circuit]{MaximumSize: maxCircuits, Executor: atOnce}),
		documents: otter.Must(&otter.Options[string, *entry]{
			MaximumWeight: uint64(cmp.Or(c.CacheBytes, defaultCacheBytes)),
			Weigher:       entryWeight,
			Executor:      atOnce,
		}),
	}
	if f.ended == nil {
		f.ended = func(string) {}
	}
	// Two transports, since a connection is checked for the scheme it serves
	// and may be used again only for that one.
	f.secure = newTransport(c, f.rules.control(true, c.Dialed))
	f.plain = newTransport(c, f.rules.control(false, c.Dialed))
	return f
}

// atOnce runs the caches' upkeep in the goroutine that caused it: it is short,
// and the bounds then hold at every moment.
func atOnce(upkeep func()) { upkeep() }

// newTransport returns a transport for tenants' URLs. It speaks HTTP/1.1 only,
// of which each request is limited on its own, and takes no compressed
// answers, so that the size limit is a limit on work too.
func newTransport(c Config, control dialControl) *http.Transport {
	dialer := &net.Dialer{Timeout: connectTimeout, Control: control, Resolver: c.Resolver}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  nil,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: c.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    connectTimeout,
		Protocols:              protocols,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeaderBytes,
		MaxConnsPerHost:        64,
		MaxIdleConns:           128,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        90 * time.Second,
	}
}

// Close closes connections that wait for further requests. The Fetcher stays
// usable.
func (f *Fetcher) Close() {
	f.secure.CloseIdleConnections()
	f.plain.CloseIdleConnections()
	f.operator.CloseIdleConnections()
}

// Request is one call that is made as it is and never remembered: a token
// request, a revocation, a webhook.
type Request struct {
	// Zone is the zone on whose behalf the call is made; empty outside zones.
	Zone   deputy.ZoneID
	Method string // required, such as POST
	URL    string
	// Header is sent beside Host, Content-Length and User-Agent.
	Header http.Header
	Body   []byte
	// Timeout bounds the whole call up to the last byte of the answer; 0 means
	// 5 s.
	Timeout time.Duration
	// MaxBytes bounds the answer's body; 0 means 64 KiB. A longer one is an
	// error, not cut short.
	MaxBytes int64
}

// Response is a whole answer, of any status.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do makes the call once. It follows no redirect and retries nothing: an
// answer of any status is returned as it came, and what 400 or 503 means is the
// caller's to say. Errors: Invalid if the URL can never be called, Unavailable
// if the host is unreachable, exceeds a limit, or kept failing lately; the
// latter wraps the context's error when ctx ended first.
func (f *Fetcher) Do(ctx context.Context, r Request) (*Response, error) {
	u, err := f.rules.parseURL(r.URL)
	if err != nil {
		return nil, err
	}
	ctx, cancel := limited(ctx, r.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.Method, u.String(), bytes.NewReader(r.Body))
	if err != nil {
		return nil, deputy.Errorf(deputy.Invalid, "the request cannot be made").Because(err)
	}
	if r.Header != nil {
		req.Header = r.Header.Clone()
	}
	return f.exchange(r.Zone, req, cmp.Or(r.MaxBytes, defaultMaxBytes))
}

// errTimeout tells our time limit from the caller's own.
var errTimeout = errors.New("time limit reached")

func limited(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, cmp.Or(timeout, defaultTimeout), errTimeout)
}

// exchange sends req through the circuit of its host and reads the answer. The
// trace that it is part of stays here: no header tells the host of it.
func (f *Fetcher) exchange(zone deputy.ZoneID, req *http.Request, maxBytes int64) (*Response, error) {
	_, span := deputy.StartSpan(req.Context(), deputy.SpanUpstream)
	span.Set(deputy.SpanMethod, req.Method) // and not where to, which tells whose it is
	res, err := f.guarded(zone, req, maxBytes)
	if res != nil {
		span.Answered(res.Status)
	}
	span.End(err)
	return res, err
}

func (f *Fetcher) guarded(zone deputy.ZoneID, req *http.Request, maxBytes int64) (*Response, error) {
	c, _ := f.circuits.ComputeIfAbsent(circuitKey(zone, origin(req.URL)), func() (*circuit, bool) {
		return new(circuit), false
	})
	if !c.enter(f.now()) {
		f.ended("refused")
		return nil, unavailable(req.URL, "has been failing and is not asked again for a moment", errCircuitOpen)
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", userAgent)
	}
	res, err := f.receive(req, maxBytes)
	how := judge(req.Context(), res, err)
	f.ended(results[how])
	c.leave(f.now(), how)
	return res, err
}

// results are the verdicts in the words of those who count them.
var results = map[verdict]string{healthy: "ok", failing: "failed", abandoned: "abandoned"}

// judge says what the end of an exchange means for the circuit. An answer that
// we do not want is still an answer.
func judge(ctx context.Context, res *Response, err error) verdict {
	switch {
	case err == nil && res.Status < http.StatusInternalServerError, errors.Is(err, errUnwanted):
		return healthy
	case err != nil && ctx.Err() != nil && context.Cause(ctx) != errTimeout:
		return abandoned
	}
	return failing
}

var (
	errCircuitOpen = errors.New("circuit open")
	errUnwanted    = errors.New("answer beyond its limits")
)

// receive makes one round trip and reads the whole body.
func (f *Fetcher) receive(req *http.Request, maxBytes int64) (*Response, error) {
	transport := f.plain
	if req.URL.Scheme == "https" {
		transport = f.secure
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return nil, broken(req, err)
	}
	defer res.Body.Close()
	if coding := res.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return nil, unavailable(req.URL, "answered in an encoding that it was not asked for", errUnwanted)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBytes+1))
	if err != nil {
		return nil, broken(req, err)
	}
	if int64(len(body)) > maxBytes {
		return nil, unavailable(req.URL, "answered with more than is accepted", errUnwanted)
	}
	return &Response{Status: res.StatusCode, Header: res.Header, Body: body}, nil
}

// broken tells why a round trip ended without an answer. Refused by the
// address rules, not resolved, refused by the host, and cut off are told in
// the same words: the difference would map the inside for a tenant.
func broken(req *http.Request, err error) error {
	ctx := req.Context()
	var certificate *tls.CertificateVerificationError
	switch {
	case ctx.Err() != nil && context.Cause(ctx) == errTimeout:
		return unavailable(req.URL, "did not answer in time", err)
	case ctx.Err() != nil:
		return unavailable(req.URL, "did not answer before the request ended", ctx.Err())
	case errors.As(err, &certificate):
		return unavailable(req.URL, "has a certificate that cannot be verified", err)
	}
	return unavailable(req.URL, "cannot be reached", unquoted(err))
}

// unquoted is err without what the host sent: what net/http cannot read as HTTP
// it quotes, and that may be a secret.
func unquoted(err error) error {
	if text, _, quotes := strings.Cut(err.Error(), `"`); quotes {
		return errors.New(text + "…")
	}
	return err
}

// Code returns what a server says in place of an error code, or "other" where
// that is not like one: some repeat there what they were sent.
func Code(said string) string {
	const longest = 48
	if len(said) > longest || strings.Trim(said, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-.") != "" {
		return "other"
	}
	return said
}

// unavailable says what is wrong with the host of u. No more than the host is
// named: queries may carry secrets.
func unavailable(u *url.URL, what string, cause error) error {
	return deputy.Errorf(deputy.Unavailable, "%s %s", u.Host, what).Because(cause)
}

// origin is scheme, host and port of a URL from parseURL (RFC 6454 §4).
func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }
