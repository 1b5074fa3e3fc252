// Package server makes the program out of its parts: it reads the settings,
// opens the store, makes what an empty database needs, listens, and runs the
// background work until it is told to stop.
//
//	listener ── recover, log ──┬── /healthz, /readyz
//	                           ├── oauth: zones, /service-account-token
//	                           └── api:   everything else
//
// It is the only package that sees the store, and the only one with a clock.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"deputy/internal/api"
	"deputy/internal/deputy"
	"deputy/internal/keys"
	"deputy/internal/mail"
	"deputy/internal/oauth"
	"deputy/internal/policy"
	"deputy/internal/sink"
	"deputy/internal/upstream"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
)

// grace is how long a stopping server waits for running requests.
const grace = 10 * time.Second

// Server is one node.
type Server struct {
	cfg       Config
	log       *slog.Logger
	listener  net.Listener
	addresses deputy.Addresses
	*data
	meters  *meters // nil: nobody listens
	traces  *tracer // nil: nobody is told
	spans   *outbox[sdk.ReadOnlySpan]
	lines   *outbox[*logs.LogRecord]
	pool    *keys.Pool
	mails   mail.Transport
	fetcher *upstream.Fetcher
	oauth   *oauth.Server
	api     *api.API
	woken   chan struct{} // has an element when there is a task to do at once
	sinks   []*sink.Worker
	// manage gives a zone the policies that come with the program.
	manage func(ctx context.Context, zone *deputy.Zone, schema string, managed []policy.Managed) error
}

// Open reads the settings, takes the listen address, opens the database and
// makes what an empty one needs. The log goes to lines. The caller runs Serve next,
// or Close.
func Open(ctx context.Context, cfg Config, lines io.Writer) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	trusted, err := parsePrefixes(cfg.TrustedProxies)
	if err != nil {
		return nil, fmt.Errorf("--trusted-proxies: %w", err)
	}
	allow, err := upstream.ParseAllow(cfg.OutgoingAllow)
	if err != nil {
		return nil, fmt.Errorf("--outgoing-allow: %w", err)
	}
	s := &Server{cfg: cfg, meters: newMeters(cfg)}
	s.fetcher = upstream.New(upstream.Config{Now: s.cfg.now, Allow: allow, Dev: cfg.Dev, Ended: s.meters.fetched()})
	if err := s.openLog(lines); err != nil {
		return nil, err
	}
	log := s.log
	limits, err := newLimiter(cfg.RateLimit, s.cfg.now)
	if err != nil {
		return nil, err
	}
	if s.listener, err = net.Listen("tcp", cfg.Listen); err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", cfg.Listen, err)
	}
	if cfg.PublicURL == "" {
		s.cfg.PublicURL = "http://" + s.listener.Addr().String()
	}
	if s.addresses, err = deputy.NewAddresses(s.cfg.PublicURL, cfg.ZoneDomain); err != nil {
		return nil, errors.Join(err, s.listener.Close())
	}
	if s.mails, err = newTransport(s.cfg); err != nil {
		return nil, errors.Join(err, s.listener.Close())
	}
	if s.data, err = openData(ctx, s.cfg, log, s.cfg.ArchiveFolder, s.meters.committed()); err != nil {
		return nil, errors.Join(err, s.listener.Close())
	}
	if err := s.firstStart(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.releasePackages(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot release the packages that come with the program: %w", err), s.Close())
	}
	address := clientAddress(trusted)
	s.pool = keys.NewPool(2)
	s.woken = make(chan struct{}, 1)
	if s.sinks, err = s.newSinks(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.oauth = oauth.New(oauth.Config{
		Fetcher: s.fetcher, StrictAudience: cfg.StrictAudience, RepeatTokens: cfg.repeatTokens(), Store: s.store, Vault: s.vault, Addresses: s.addresses, Platform: deputy.PlatformID,
		ClientAddress: address, Limit: limits.wait, Now: s.cfg.now, Logger: log, Observer: s.meters.observer(),
	})
	s.api, err = api.New(api.Config{
		Store: s.store, Vault: s.vault, CustomerKeys: cfg.AWSKMS, Sealing: s.sealing, Pool: s.pool, Addresses: s.addresses,
		Authenticate: s.oauth.Authenticate, IssueBearer: s.oauth.IssueBearer, Limit: limits.wait, ClientIP: address,
		EvaluationRetention: s.cfg.retention(), Version: cfg.Version, Now: s.cfg.now, Log: log, Wake: s.wakeUp,
	})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.manage = s.api.ReleaseManaged
	return s, nil
}

// URL returns the public URL.
func (s *Server) URL() string { return s.cfg.PublicURL }

// Close releases the address and the database of a server that does not run.
func (s *Server) Close() error {
	return errors.Join(s.listener.Close(), s.store.Close())
}

// Serve answers requests until ctx ends, then finishes what runs, for 10 s at
// most, and closes the store. Once requests are answered it prints
// "listening on URL" to out.
func (s *Server) Serve(ctx context.Context, out io.Writer) error {
	if s.cfg.Dev {
		s.log.Warn("--dev: outgoing requests may reach private addresses and plain http; not for production")
	}
	running := make(chan struct{}, maxRunning)
	handler := bounded(running, s.handler(s.api))
	if s.meters != nil {
		s.meters.watch(s, func() int { return len(running) })
		handler = s.meters.observed(s.cfg.now, handler)
	}
	handler = s.traces.traced(handler)
	web := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup
	s.startBackground(work, &background)
	stopMetrics, err := s.serveMetrics()
	if err != nil {
		stopWork()
		background.Wait()
		return errors.Join(err, s.Close())
	}

	s.lines.start()
	s.spans.start()
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(s.listener) }()
	go func() {
		s.api.Prepare() // which needs most of the program, so not before
		s.repeat(work, "releasing the program's pages", time.Minute, nil, func() (bool, error) {
			releaseImage()
			return false, nil
		})
	}()
	fmt.Fprintf(out, "listening on http://%s\n", s.listener.Addr())
	select {
	case err = <-failed:
	case <-ctx.Done():
		s.log.Info("stopping")
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		err = web.Shutdown(late)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			err = web.Close()
		}
	}
	stopMetrics()
	s.oauth.Close()
	s.fetcher.Close()
	stopWork()
	background.Wait()
	s.spans.stop()
	err = errors.Join(err, s.store.Close())
	s.lines.stop() // which has what closing said
	return err
}

// handler routes a request to the part that answers it, the management API if
// no other does. A panic becomes a 500 that tells the caller nothing and the log
// everything.
func (s *Server) handler(management http.Handler) http.Handler {
	var base string // the path of the public URL
	if u, err := url.Parse(s.cfg.PublicURL); err == nil {
		base = u.Path
	}
	rest := s.rest(management)
	answer := func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			failure := recover()
			if failure == nil {
				return
			}
			if failure == http.ErrAbortHandler {
				panic(failure)
			}
			s.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", shownPath(r), "panic", failure, "stack", string(debug.Stack()))
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusInternalServerError)
			io.WriteString(w, `{"error":"server_error","code":"internal_error","message":"internal error","status":500}`)
		}()
		if s.oauth.Handles(r) {
			s.oauth.ServeHTTP(w, r)
			return
		}
		// Whether a proxy in front takes the public URL's path away or not.
		if path, ok := strings.CutPrefix(r.URL.Path, base); ok && base != "" && strings.HasPrefix(path, "/") {
			http.StripPrefix(base, rest).ServeHTTP(w, r)
			return
		}
		rest(w, r)
	}
	if s.log.Enabled(context.Background(), slog.LevelDebug) {
		return logged(s.log, answer)
	}
	return http.HandlerFunc(answer)
}

// rest answers what is not for an issuer.
func (s *Server) rest(management http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case healthPath:
			tookRoute(w, healthPath)
			s.health(r.Context(), w, nil)
		case "/readyz":
			tookRoute(w, "/readyz")
			s.health(r.Context(), w, s.store.Ready(r.Context()))
		default:
			management.ServeHTTP(w, r)
		}
	}
}

// tookRoute tells whoever counts it which route a request takes.
func tookRoute(w http.ResponseWriter, name string) {
	if to, ok := w.(*statusWriter); ok {
		to.Route(name)
	}
}

// health answers 200, or 503 with the reason as far as it is fit for strangers;
// the log has all of it.
func (s *Server) health(ctx context.Context, w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	body := map[string]string{"status": "ok"}
	if err != nil {
		s.log.WarnContext(ctx, "not ready", "error", err)
		reason := "not ready"
		var known *deputy.Error
		if errors.As(err, &known) {
			reason = known.Message
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		body = map[string]string{"status": "unavailable", "reason": reason}
	}
	json.NewEncoder(w).Encode(body)
}
