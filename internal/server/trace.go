package server

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"deputy/internal/deputy"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	wire "go.opentelemetry.io/proto/otlp/trace/v1"
)

// tracer tells a collector of requests and background tasks. Nil tells nobody.
type tracer struct {
	tracer trace.Tracer
}

// newTracer returns the tracer of settings that have been checked. Spans that have
// ended are put into the outbox.
func newTracer(cfg Config, to *collector, spans *outbox[sdk.ReadOnlySpan]) (*tracer, error) {
	share := 0.01
	if cfg.OTLPSample != "" {
		var err error
		if share, err = strconv.ParseFloat(cfg.OTLPSample, 64); err != nil {
			return nil, err
		}
	}
	exporter, err := otlptrace.New(context.Background(), uploader{to})
	if err != nil {
		return nil, err
	}
	spans.post = exporter.ExportSpans
	provider := sdk.NewTracerProvider(
		sdk.WithSpanProcessor(spanEnds{spans}),
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(share))),
		sdk.WithResource(resource.NewSchemaless(to.who...)),
	)
	return &tracer{provider.Tracer("deputy")}, nil
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

// spanEnds puts spans that have ended into an outbox.
type spanEnds struct{ spans *outbox[sdk.ReadOnlySpan] }

func (e spanEnds) OnEnd(s sdk.ReadOnlySpan)                   { e.spans.put(s) }
func (e spanEnds) OnStart(context.Context, sdk.ReadWriteSpan) {}
func (e spanEnds) Shutdown(context.Context) error             { return nil }
func (e spanEnds) ForceFlush(context.Context) error           { return nil }

// uploader sends the spans that the exporter has put into their wire form.
type uploader struct{ to *collector }

func (u uploader) Start(context.Context) error { return nil }
func (u uploader) Stop(context.Context) error  { return nil }

// UploadTraces posts the spans. TracesData has the wire form of the request that
// the protocol asks for.
func (u uploader) UploadTraces(ctx context.Context, spans []*wire.ResourceSpans) error {
	return u.to.post(ctx, "/v1/traces", &wire.TracesData{ResourceSpans: spans})
}
