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
	sdk "go.opentelemetry.io/otel/sdk/trace"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// checkCollector refuses settings of the collector that cannot work.
func (c *Config) checkCollector() error {
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

// collector is what traces and lines of the log are sent to (OTLP/HTTP). It is
// ours because those of the library bring gRPC with them.
type collector struct {
	url     string
	headers http.Header
	client  *http.Client
	who     []attribute.KeyValue // sends them
}

// newCollector returns the collector of settings that have been checked, nil
// where there is none.
func newCollector(cfg Config, client *http.Client) (*collector, error) {
	if cfg.OTLPEndpoint == "" {
		return nil, nil
	}
	headers, err := parseHeaders(cfg.OTLPHeaders)
	if err != nil {
		return nil, err
	}
	return &collector{strings.TrimSuffix(cfg.OTLPEndpoint, "/"), headers, client, []attribute.KeyValue{
		attribute.String("service.name", "deputy"), attribute.String("service.version", cfg.Version),
		attribute.String("service.instance.id", string(deputy.NewID(cfg.now()))),
	}}, nil
}

// openLog makes the log, which goes to w, and traces; where there is a collector
// it is told of both.
func (s *Server) openLog(w io.Writer) error {
	to, err := newCollector(s.cfg, s.fetcher.Operator())
	if err != nil {
		return err
	}
	if to != nil {
		s.lines = newOutbox[*logs.LogRecord]("lines of the log", s.meters.lined())
		s.lines.post = to.postLines
	}
	if s.log, err = newLogger(s.cfg, w, s.lines); err != nil || to == nil {
		return err
	}
	s.spans = newOutbox[sdk.ReadOnlySpan]("traces", s.meters.spanned())
	s.spans.log = s.log
	s.traces, err = newTracer(s.cfg, to, s.spans)
	return err
}

// rejected is how many of what it was sent a collector has not taken.
type rejected int64

func (n rejected) Error() string { return fmt.Sprintf("the collector has rejected %d", int64(n)) }

// post sends a message to a path of the collector. The error is rejected where it
// took the rest of it.
func (c *collector) post(ctx context.Context, path string, m proto.Message) error {
	body, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+path, bytes.NewReader(body))
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
	said, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err != nil {
		return err
	}
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return fmt.Errorf("the collector answered with status %d", answer.StatusCode)
	}
	if n := partial(said); n > 0 {
		return n
	}
	return nil
}

// partial reads from a collector's answer how much of what it was sent it has
// rejected: the first number of the first message, in every kind of answer.
func partial(answer []byte) rejected {
	inner, found := first(answer, protowire.BytesType)
	if !found {
		return 0
	}
	message, _ := protowire.ConsumeBytes(inner)
	number, found := first(message, protowire.VarintType)
	if !found {
		return 0
	}
	n, _ := protowire.ConsumeVarint(number)
	return rejected(n)
}

// first finds the value of a message's field 1.
func first(message []byte, kind protowire.Type) (value []byte, found bool) {
	for len(message) > 0 {
		number, is, size := protowire.ConsumeTag(message)
		if size < 0 {
			return nil, false
		}
		value = message[size:]
		if size = protowire.ConsumeFieldValue(number, is, value); size < 0 {
			return nil, false
		}
		if number == 1 && is == kind {
			return value, true
		}
		message = value[size:]
	}
	return nil, false
}

const (
	outboxHolds   = 4096 // that may wait; more are lost
	outboxBatch   = 512  // of one request to the collector
	outboxPause   = time.Second
	outboxTimeout = 10 * time.Second
	// outboxFlush is how long a stopping server waits for the collector to take
	// what is left in one.
	outboxFlush = 3 * time.Second
)

// outbox holds what a collector is to have until it has it. It never makes a
// request wait: what does not fit is lost, and what the collector does not take is
// not tried again. Nil is none, which need not be started or stopped.
type outbox[T any] struct {
	what     string // is in it
	waiting  chan T
	post     func(context.Context, []T) error
	ended    func(n int, sent bool) // is told of what was taken, and of what is lost
	log      *slog.Logger
	ctx      context.Context // of what is being sent
	giveUp   context.CancelFunc
	stopping chan struct{}
	done     chan struct{}
	failing  bool
}

func newOutbox[T any](what string, ended func(n int, sent bool)) *outbox[T] {
	o := &outbox[T]{what: what, waiting: make(chan T, outboxHolds), ended: ended, stopping: make(chan struct{}), done: make(chan struct{})}
	o.ctx, o.giveUp = context.WithCancel(context.Background())
	return o
}

func (o *outbox[T]) put(item T) {
	select {
	case o.waiting <- item:
	default:
		o.ended(1, false)
	}
}

// start lets what is put there leave, until stop.
func (o *outbox[T]) start() {
	if o != nil {
		go o.run()
	}
}

// stop sends what waits, as far as the collector takes it in time.
func (o *outbox[T]) stop() {
	if o == nil {
		return
	}
	late := time.AfterFunc(outboxFlush, o.giveUp)
	defer late.Stop()
	close(o.stopping)
	<-o.done
	o.giveUp()
}

func (o *outbox[T]) run() {
	defer close(o.done)
	tick := time.NewTicker(outboxPause)
	defer tick.Stop()
	batch := make([]T, 0, outboxBatch)
	for {
		select {
		case item := <-o.waiting:
			if batch = append(batch, item); len(batch) < outboxBatch {
				continue
			}
		case <-tick.C:
		case <-o.stopping:
			for len(o.waiting) > 0 {
				batch = append(batch, <-o.waiting)
			}
			for part := range slices.Chunk(batch, outboxBatch) {
				o.send(part)
			}
			return
		}
		o.send(batch)
		clear(batch)
		batch = batch[:0]
	}
}

// send sends a batch. The log has the first failure of a row and the end of it.
func (o *outbox[T]) send(batch []T) {
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(o.ctx, outboxTimeout)
	defer cancel()
	err := o.post(ctx, batch)
	lost := 0
	var some rejected
	switch {
	case errors.As(err, &some):
		lost = int(min(some, rejected(len(batch))))
	case err != nil:
		lost = len(batch)
	}
	if lost > 0 {
		o.ended(lost, false)
	}
	if lost < len(batch) {
		o.ended(len(batch)-lost, true)
	}
	switch failed := err != nil; {
	case failed && !o.failing:
		o.log.Warn(o.what+" are lost: the collector does not take them", "cause", err)
	case !failed && o.failing:
		o.log.Info("the collector takes " + o.what + " again")
	}
	o.failing = err != nil
}
