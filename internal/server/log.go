package server

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// newLogger returns the logger of the settings.
func newLogger(cfg Config, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		return nil, fmt.Errorf("--log-level must be debug, info, warn or error")
	}
	options := &slog.HandlerOptions{Level: level}
	var lines slog.Handler = slog.NewTextHandler(w, options)
	if cfg.LogFormat == "json" {
		lines = slog.NewJSONHandler(w, options)
	}
	if cfg.OTLPEndpoint != "" {
		lines = spanHandler{lines}
	}
	return slog.New(lines), nil
}

// logged writes one line for each request. It is used at level debug only:
// what matters is in the audit log, and each failure of ours is logged where
// it happens.
func logged(log *slog.Logger, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		seen := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next(seen, r)
		log.LogAttrs(r.Context(), slog.LevelDebug, "request",
			slog.String("method", r.Method), slog.String("path", shownPath(r)), slog.Int("status", seen.status),
			slog.Duration("took", time.Since(start)), slog.String("request_id", seen.Header().Get("X-Client-Request-ID")))
	})
}

// shownPath returns the path of a request without the secret that the link of
// an invitation is.
func shownPath(r *http.Request) string {
	const secret = "/invitations/"
	before, after, found := strings.Cut(r.URL.Path, secret)
	if !found || strings.Contains(before, "/organizations") { // where it is an id
		return r.URL.Path
	}
	_, rest, more := strings.Cut(after, "/")
	if more {
		rest = "/" + rest
	}
	return before + secret + "[redacted]" + rest
}

// statusWriter remembers the status that was answered, and the route that the
// request took.
type statusWriter struct {
	http.ResponseWriter
	status int
	route  string
}

// Route is called by whoever answers, with a name out of few.
func (w *statusWriter) Route(name string) {
	w.route = name
	if outer, ok := w.ResponseWriter.(*statusWriter); ok {
		outer.Route(name)
	}
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
