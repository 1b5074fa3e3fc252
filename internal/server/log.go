package server

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"deputy/internal/deputy"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
)

// newLogger returns the logger of the settings. What it writes a collector is told
// too, where there are lines for one.
func newLogger(cfg Config, w io.Writer, lines *outbox[*logs.LogRecord]) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		return nil, fmt.Errorf("--log-level must be debug, info, warn or error")
	}
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewTextHandler(w, options)
	if cfg.LogFormat == "json" {
		handler = slog.NewJSONHandler(w, options)
	}
	if lines != nil {
		lines.log = slog.New(handler) // of the collector's failures it is not told
		handler = toldHandler{Handler: spanHandler{handler}, lines: lines}
	}
	return slog.New(handler), nil
}

// spanHandler adds to a line of a traced request which span it is of.
type spanHandler struct{ slog.Handler }

func (h spanHandler) Handle(ctx context.Context, r slog.Record) error {
	if traceID, spanID := deputy.SpanOf(ctx).IDs(); traceID != "" {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", traceID), slog.String("span_id", spanID))
	}
	return h.Handler.Handle(ctx, r)
}

func (h spanHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return spanHandler{h.Handler.WithAttrs(attrs)}
}

func (h spanHandler) WithGroup(name string) slog.Handler {
	return spanHandler{h.Handler.WithGroup(name)}
}

// toldHandler tells a collector each line as well.
type toldHandler struct {
	slog.Handler
	lines *outbox[*logs.LogRecord]
	with  []*common.KeyValue
	group string // the names of the groups, each with a dot
}

func (h toldHandler) Handle(ctx context.Context, r slog.Record) error {
	line := &logs.LogRecord{
		TimeUnixNano: uint64(r.Time.UnixNano()), ObservedTimeUnixNano: uint64(r.Time.UnixNano()),
		// slog's levels are as far apart, and its lowest is zero.
		SeverityNumber: logs.SeverityNumber(r.Level - slog.LevelInfo + slog.Level(logs.SeverityNumber_SEVERITY_NUMBER_INFO)), SeverityText: r.Level.String(),
		Body: text(r.Message), Attributes: slices.Clone(h.with),
	}
	r.Attrs(func(a slog.Attr) bool {
		line.Attributes = appendAttribute(line.Attributes, h.group, a)
		return true
	})
	traceID, spanID := deputy.SpanOf(ctx).IDs()
	line.TraceId, _ = hex.DecodeString(traceID) // of ours: hexadecimal, or empty
	line.SpanId, _ = hex.DecodeString(spanID)
	h.lines.put(line)
	return h.Handler.Handle(ctx, r)
}

func (h toldHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.Handler, h.with = h.Handler.WithAttrs(attrs), slices.Clip(h.with)
	for _, a := range attrs {
		h.with = appendAttribute(h.with, h.group, a)
	}
	return h
}

func (h toldHandler) WithGroup(name string) slog.Handler {
	h.Handler, h.group = h.Handler.WithGroup(name), h.group+name+"."
	return h
}

// appendAttribute adds an attribute in its wire form, those of a group one by one.
func appendAttribute(to []*common.KeyValue, group string, a slog.Attr) []*common.KeyValue {
	v := a.Value.Resolve()
	value := &common.AnyValue{}
	switch v.Kind() {
	case slog.KindGroup:
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, inner := range v.Group() {
			to = appendAttribute(to, group, inner)
		}
		return to
	case slog.KindBool:
		value.Value = &common.AnyValue_BoolValue{BoolValue: v.Bool()}
	case slog.KindInt64:
		value.Value = &common.AnyValue_IntValue{IntValue: v.Int64()}
	case slog.KindFloat64:
		value.Value = &common.AnyValue_DoubleValue{DoubleValue: v.Float64()}
	default:
		value = text(v.String())
	}
	return append(to, &common.KeyValue{Key: group + a.Key, Value: value})
}

func text(s string) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: strings.ToValidUTF8(s, "\uFFFD")}}
}

// postLines sends lines of the log.
func (c *collector) postLines(ctx context.Context, lines []*logs.LogRecord) error {
	of := &resource.Resource{}
	for _, a := range c.who {
		of.Attributes = append(of.Attributes, &common.KeyValue{Key: string(a.Key), Value: text(a.Value.AsString())})
	}
	return c.post(ctx, "/v1/logs", &logs.LogsData{ResourceLogs: []*logs.ResourceLogs{{Resource: of, ScopeLogs: []*logs.ScopeLogs{{LogRecords: lines}}}}})
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
