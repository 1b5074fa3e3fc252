package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"deputy/internal/deputy"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	wire "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

const (
	spanQueue   = 4096 // spans that may wait; more are lost
	spanBatch   = 512  // spans of one request to the collector
	spanHold    = time.Second
	spanTimeout = 10 * time.Second
	// spanFlush is how long a stopping server waits for the collector.
	spanFlush = 3 * time.Second
)

// tracer tells a collector of requests and background tasks. Nil tells nobody.
type tracer struct {
	tracer trace.Tracer
	outbox *outbox
}

// checkTraces refuses settings of traces that cannot work.
func (c *Config) checkTraces() error {
	headers, err := parseHeaders(c.OTLPHeaders)
	if err != nil {
		return err
	}
	if c.OTLPEndpoint == "" {
		if len(headers) > 0 {
			return errors.New("DEPUTY_OTLP_HEADERS needs --otlp-endpoint")
		}
		return nil
	}
	u, err := url.Parse(c.OTLPEndpoint)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return errors.New("--otlp-endpoint must be an http or https URL without a query")
	}
	if len(headers) > 0 && u.Scheme != "https" && !c.Dev {
		return errors.New("--otlp-endpoint must be an https URL where DEPUTY_OTLP_HEADERS is set: it is secret")
	}
	if share, err := strconv.ParseFloat(c.OTLPSample, 64); c.OTLPSample != "" && (err != nil || !(share > 0 && share <= 1)) {
		return errors.New("--otlp-sample must be a number above 0 and up to 1")
	}
	return nil
}

// parseHeaders reads "NAME=VALUE,…".
func parseHeaders(list string) (http.Header, error) {
	out := http.Header{}
	for item := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(item) == "" {
			continue
		}
		name, value, found := strings.Cut(item, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if name = strings.TrimSpace(name); !found || name == "" || err != nil {
			return nil, errors.New("DEPUTY_OTLP_HEADERS must be NAME=VALUE,…, with values percent-encoded")
		}
		out.Set(name, value)
	}
	return out, nil
}

// newTracer returns the tracer of settings that have been checked. ended is told
// of spans that the collector has taken, or that are lost.
func newTracer(cfg Config, client *http.Client, log *slog.Logger, ended func(spans int, sent bool)) (*tracer, error) {
	if cfg.OTLPEndpoint == "" {
		return nil, nil
	}
	headers, err := parseHeaders(cfg.OTLPHeaders)
	if err != nil {
		return nil, err
	}
	share := 0.01
	if cfg.OTLPSample != "" {
		if share, err = strconv.ParseFloat(cfg.OTLPSample, 64); err != nil {
			return nil, err
		}
	}
	exporter, err := otlptrace.New(context.Background(), &collector{strings.TrimSuffix(cfg.OTLPEndpoint, "/") + "/v1/traces", headers, client})
	if err != nil {
		return nil, err
	}
	box := &outbox{
		spans: make(chan sdk.ReadOnlySpan, spanQueue), exporter: exporter, log: log, ended: ended,
		stopping: make(chan struct{}), done: make(chan struct{}),
	}
	box.ctx, box.giveUp = context.WithCancel(context.Background())
	provider := sdk.NewTracerProvider(
		sdk.WithSpanProcessor(box),
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(share))),
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "deputy"), attribute.String("service.version", cfg.Version),
			attribute.String("service.instance.id", string(deputy.NewID(cfg.now()))),
		)),
	)
	return &tracer{tracer: provider.Tracer("deputy"), outbox: box}, nil
}

// start lets spans leave, until stop.
func (t *tracer) start() {
	if t != nil {
		go t.outbox.run()
	}
}

// stop sends what waits, as far as the collector takes it in time.
func (t *tracer) stop() {
	if t == nil {
		return
	}
	late := time.AfterFunc(spanFlush, t.outbox.giveUp)
	defer late.Stop()
	close(t.outbox.stopping)
	<-t.outbox.done
	t.outbox.giveUp()
}

// traced makes a span of each request that is sampled. It begins a trace: what a
// caller says of its own is a link and no more, as strangers must neither decide
// which requests cost a trace, nor choose ids that are always sampled.
func (t *tracer) traced(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		options := []trace.SpanStartOption{trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer)}
		if r.Header.Get("Traceparent") != "" {
			said := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(r.Header)))
			if said.IsValid() { // without its tracestate, which is free text
				options = append(options, trace.WithLinks(trace.Link{SpanContext: said.WithTraceState(trace.TraceState{})}))
			}
		}
		ctx, s := t.tracer.Start(r.Context(), "request", options...)
		if !s.IsRecording() {
			next.ServeHTTP(w, r)
			return
		}
		seen := &statusWriter{ResponseWriter: w, status: http.StatusOK, route: "other"}
		defer func() {
			// What is told is of closed sets: a route is a pattern of ours.
			_, route, found := strings.Cut(seen.route, " ")
			if !found {
				route = seen.route
			}
			method := r.Method
			if !slices.Contains(knownMethods, method) {
				method = "_OTHER"
			}
			s.SetName(method + " " + route)
			s.SetAttributes(
				attribute.String("http.request.method", method), attribute.String("http.route", route),
				attribute.Int("http.response.status_code", seen.status),
			)
			if seen.status >= http.StatusInternalServerError {
				s.SetStatus(codes.Error, "")
				s.SetAttributes(attribute.String("error.type", strconv.Itoa(seen.status)))
			}
			s.End()
		}()
		next.ServeHTTP(seen, r.WithContext(deputy.WithTracing(ctx, span{t.tracer, s})))
	})
}

var knownMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// task begins a trace of a background task. End must follow.
func (t *tracer) task(ctx context.Context, kind string) (context.Context, deputy.Span) {
	if t == nil {
		return ctx, deputy.Span{}
	}
	ctx, s := t.tracer.Start(ctx, "task "+kind, trace.WithNewRoot())
	if !s.IsRecording() {
		return ctx, deputy.Span{}
	}
	ctx = deputy.WithTracing(ctx, span{t.tracer, s})
	return ctx, deputy.SpanOf(ctx)
}

// span is a span for those who tell of their steps.
type span struct {
	tracer trace.Tracer
	trace.Span
}

func (s span) Start(ctx context.Context, name deputy.SpanName) (context.Context, deputy.Tracing) {
	kind := trace.SpanKindInternal
	if name == deputy.SpanUpstream {
		kind = trace.SpanKindClient
	}
	ctx, step := s.tracer.Start(trace.ContextWithSpan(ctx, s.Span), string(name), trace.WithSpanKind(kind))
	return ctx, span{s.tracer, step}
}

func (s span) Set(key deputy.SpanKey, value string) {
	s.SetAttributes(attribute.String(string(key), value))
}

func (s span) Answered(status int) {
	s.SetAttributes(attribute.Int("http.response.status_code", status))
}

func (s span) End(err error) {
	if err != nil { // its text may name anybody
		kind := "_OTHER"
		if k := deputy.KindOf(err); k != "" {
			kind = strings.ReplaceAll(string(k), " ", "_")
		}
		s.SetStatus(codes.Error, "")
		s.SetAttributes(attribute.String("error.type", kind))
	}
	s.Span.End()
}

func (s span) IDs() (traceID, spanID string) {
	c := s.SpanContext()
	return c.TraceID().String(), c.SpanID().String()
}

// outbox holds spans until the collector has them. It never makes a request wait:
// what does not fit is lost, and what the collector does not take is not tried
// again.
type outbox struct {
	spans    chan sdk.ReadOnlySpan
	exporter *otlptrace.Exporter
	log      *slog.Logger
	ended    func(spans int, sent bool)
	ctx      context.Context // of what is being sent
	giveUp   context.CancelFunc
	stopping chan struct{}
	done     chan struct{}
	failing  bool
}

func (o *outbox) OnStart(context.Context, sdk.ReadWriteSpan) {}
func (o *outbox) Shutdown(context.Context) error             { return nil }
func (o *outbox) ForceFlush(context.Context) error           { return nil }

func (o *outbox) OnEnd(s sdk.ReadOnlySpan) {
	select {
	case o.spans <- s:
	default:
		o.ended(1, false)
	}
}

// run sends spans until the server stops, and then what is left.
func (o *outbox) run() {
	defer close(o.done)
	tick := time.NewTicker(spanHold)
	defer tick.Stop()
	batch := make([]sdk.ReadOnlySpan, 0, spanBatch)
	for {
		select {
		case s := <-o.spans:
			if batch = append(batch, s); len(batch) < spanBatch {
				continue
			}
		case <-tick.C:
		case <-o.stopping:
			for len(o.spans) > 0 {
				batch = append(batch, <-o.spans)
			}
			for part := range slices.Chunk(batch, spanBatch) {
				o.send(part)
			}
			return
		}
		o.send(batch)
		batch = batch[:0]
	}
}

// send sends a batch. The log has the first failure of a row and the end of it.
func (o *outbox) send(batch []sdk.ReadOnlySpan) {
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(o.ctx, spanTimeout)
	defer cancel()
	err := o.exporter.ExportSpans(ctx, batch)
	o.ended(len(batch), err == nil)
	switch failed := err != nil; {
	case failed && !o.failing:
		o.log.Warn("traces are lost: the collector does not take them", "cause", err)
	case !failed && o.failing:
		o.log.Info("the collector takes traces again")
	}
	o.failing = err != nil
}

// collector is the client of a collector (OTLP/HTTP). It is ours because the one
// of the library brings gRPC with it.
type collector struct {
	url     string
	headers http.Header
	client  *http.Client
}

func (c *collector) Start(context.Context) error { return nil }
func (c *collector) Stop(context.Context) error  { return nil }

// UploadTraces posts the spans. TracesData has the wire form of the request that
// the protocol asks for.
func (c *collector) UploadTraces(ctx context.Context, spans []*wire.ResourceSpans) error {
	body, err := proto.Marshal(&wire.TracesData{ResourceSpans: spans})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header = c.headers.Clone()
	r.Header.Set("Content-Type", "application/x-protobuf")
	answer, err := c.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.CopyN(io.Discard, answer.Body, 64<<10); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return fmt.Errorf("the collector answered with status %d", answer.StatusCode)
	}
	return nil
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
