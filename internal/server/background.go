package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"deputy/internal/deputy"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// startBackground starts the work that no request waits for. It ends when ctx
// does; running counts what has not ended yet.
func (s *Server) startBackground(ctx context.Context, running *sync.WaitGroup) {
	running.Go(func() {
		if err := s.pool.Run(ctx); err != nil {
			s.log.Error("cannot make signing keys", "error", err)
		}
	})
	running.Go(func() {
		// Often enough for what was appended last to be still in memory.
		s.repeat(ctx, "indexing the log", time.Second/4, nil, func() (bool, error) { return s.store.IndexEvents(ctx, 4096) })
	})
	running.Go(func() {
		s.repeat(ctx, "growing the log's tree", time.Second, nil, func() (bool, error) { return s.store.GrowTree(ctx, 64) })
	})
	running.Go(func() {
		s.repeat(ctx, "removing unused entities", time.Minute, nil, func() (bool, error) {
			return s.store.PruneEntities(ctx, s.cfg.now().Add(-s.cfg.retention()-2*deputy.EntityUse), 1000)
		})
	})
	running.Go(func() {
		s.repeat(ctx, "writing down what has run out", time.Second/2, nil, func() (bool, error) { return s.store.Expire(ctx, expireStep) })
	})
	running.Go(func() {
		s.repeat(ctx, "removing what is over", time.Minute, nil, func() (bool, error) { return s.store.Sweep(ctx, 1000) })
	})
	running.Go(func() {
		s.repeat(ctx, "removing accounts that nobody owns", time.Minute, nil, func() (bool, error) { return s.oauth.RemoveUnverified(ctx, 100) })
	})
	running.Go(func() {
		s.repeat(ctx, "tasks of the catalog", time.Second, s.woken, func() (bool, error) { return s.runTasks(ctx, catalogWorks) })
	})
	s.startSinks(ctx, running)
	for _, group := range works {
		running.Go(func() {
			s.repeat(ctx, "background tasks", time.Second, nil, func() (bool, error) { return s.runTasks(ctx, group) })
		})
	}
}

// wakeUp has due tasks of the catalog done at once here. Other nodes find them
// sooner or later.
func (s *Server) wakeUp() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// repeat calls step until ctx ends: at once again while step reports that there
// is more to do, else when woken, or after pause. A failure is logged and tried
// again later.
func (s *Server) repeat(ctx context.Context, name string, pause time.Duration, woken <-chan struct{}, step func() (more bool, err error)) {
	for {
		more, err := step()
		if err != nil && ctx.Err() == nil {
			s.log.Error(name+" failed", "error", err)
		}
		wait := pause
		if more && err == nil {
			wait = 0
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		case <-woken:
		}
	}
}

// serveMetrics serves metrics and profiles on their own listener, when there
// is one. The function it returns ends it.
func (s *Server) serveMetrics() (stop func(), err error) {
	if s.cfg.MetricsListen == "" {
		return func() {}, nil
	}
	l, err := net.Listen("tcp", s.cfg.MetricsListen)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on --metrics-listen %s: %w", s.cfg.MetricsListen, err)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(s.meters.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	web := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go web.Serve(l)
	return func() { web.Close() }, nil
}
