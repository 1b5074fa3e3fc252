package deputy

import "context"

// SpanName is what a step of a request is called in traces.
type SpanName string

// The steps that are told.
const (
	SpanDecision SpanName = "policy decision"
	SpanCommit   SpanName = "store commit"
	SpanUpstream SpanName = "upstream request"
)

// SpanKey is an attribute of a span. Its values are out of few: traces leave the
// node, so nothing in them names a zone, a client or a person, nor can be used by
// who reads it.
type SpanKey string

// The attributes, named by OpenTelemetry's conventions or beside them.
const (
	SpanMethod    SpanKey = "http.request.method"
	SpanGrantType SpanKey = "deputy.grant_type"
	SpanResult    SpanKey = "deputy.result"
	SpanRequestID SpanKey = "deputy.request_id" // a UUID
)

// Tracing is what is told of a span. Whoever exports traces implements it and puts
// it into the context of a request with WithTracing.
type Tracing interface {
	// Start begins a step within this one.
	Start(ctx context.Context, name SpanName) (context.Context, Tracing)
	// Set sets an attribute.
	Set(key SpanKey, value string)
	// Answered sets the HTTP status of the answer that the step got.
	Answered(status int)
	// End ends the step; of an error it tells no more than the kind.
	End(err error)
	// IDs returns the ids of the trace and of the span as hexadecimal digits.
	IDs() (trace, span string)
}

// Span is a step of a request. The zero Span is of one that is not traced: its
// methods do nothing.
type Span struct{ to Tracing }

type spanKey struct{}

// WithTracing returns a context whose steps are told to t.
func WithTracing(ctx context.Context, t Tracing) context.Context {
	return context.WithValue(ctx, spanKey{}, t)
}

// SpanOf returns the step that the context is of.
func SpanOf(ctx context.Context) Span {
	t, _ := ctx.Value(spanKey{}).(Tracing)
	return Span{t}
}

// StartSpan begins a step of what the context is of, and returns the context of
// what is done in it. End must follow.
func StartSpan(ctx context.Context, name SpanName) (context.Context, Span) {
	within := SpanOf(ctx)
	if within.to == nil {
		return ctx, within
	}
	ctx, t := within.to.Start(ctx, name)
	return WithTracing(ctx, t), Span{t}
}

// Set sets an attribute.
func (s Span) Set(key SpanKey, value string) {
	if s.to != nil {
		s.to.Set(key, value)
	}
}

// Answered sets the HTTP status of the answer that the step got.
func (s Span) Answered(status int) {
	if s.to != nil {
		s.to.Answered(status)
	}
}

// End ends the step.
func (s Span) End(err error) {
	if s.to != nil {
		s.to.End(err)
	}
}

// IDs returns the ids of the trace and of the span, empty where there is none.
func (s Span) IDs() (trace, span string) {
	if s.to == nil {
		return "", ""
	}
	return s.to.IDs()
}
