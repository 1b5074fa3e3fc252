package server_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"deputy/internal/server"
	"github.com/go-jose/go-jose/v4"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	wire "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// collector receives traces and lines of the log (OTLP/HTTP).
type collector struct {
	*httptest.Server
	mu      sync.Mutex
	spans   []*wire.Span
	bodies  [][]byte // with spans
	headers http.Header
	lines   []*logs.LogRecord
	who     map[string]string // sends the lines
	answer  []byte
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.headers = r.Header
		spans, lines := &wire.TracesData{}, &logs.LogsData{}
		switch r.URL.Path {
		case "/v1/traces":
			c.bodies, err = append(c.bodies, body), proto.Unmarshal(body, spans)
		case "/v1/logs":
			err = proto.Unmarshal(body, lines)
		default:
			err = errors.New(r.URL.Path)
		}
		if err != nil {
			t.Errorf("the collector got %q, %v", body, err)
		}
		for _, from := range spans.ResourceSpans {
			for _, scope := range from.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
		for _, from := range lines.ResourceLogs {
			c.who = named(from.Resource.Attributes)
			for _, scope := range from.ScopeLogs {
				c.lines = append(c.lines, scope.LogRecords...)
			}
		}
		w.Write(c.answer)
	}))
	t.Cleanup(c.Close)
	return c
}

// named returns the spans of a name.
func (c *collector) named(name string) (out []*wire.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if s.Name == name {
			out = append(out, s)
		}
	}
	return out
}

// below returns the names of the spans within one.
func (c *collector) below(s *wire.Span) (out []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, other := range c.spans {
		if bytes.Equal(other.ParentSpanId, s.SpanId) && bytes.Equal(other.TraceId, s.TraceId) {
			out = append(out, other.Name)
		}
	}
	slices.Sort(out)
	return out
}

// attributes returns those of a span as text.
func attributes(s *wire.Span) map[string]string { return named(s.Attributes) }

func named(attributes []*common.KeyValue) map[string]string {
	out := map[string]string{}
	for _, a := range attributes {
		switch v := a.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			out[a.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			out[a.Key] = fmt.Sprint(v.IntValue)
		case *common.AnyValue_DoubleValue:
			out[a.Key] = fmt.Sprint(v.DoubleValue)
		case *common.AnyValue_BoolValue:
			out[a.Key] = fmt.Sprint(v.BoolValue)
		}
	}
	return out
}

// ask posts a form to the zone's token endpoint with a header or more, and returns
// the status and the token.
func (w *rotating) ask(form url.Values, id, secret string, headers ...string) (status int, token string) {
	w.Helper()
	r, err := http.NewRequest("POST", w.nodes[0].ListensOn()+"/z/"+w.zone+"/oauth/2/token", strings.NewReader(form.Encode()))
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if secret != "" {
		r.SetBasicAuth(id, secret)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer answer.Body.Close()
	var body struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		w.Fatal(err)
	}
	return answer.StatusCode, body.AccessToken
}

// TestTraces follows a token exchange through the node, by what a collector gets of
// it.
func TestTraces(t *testing.T) {
	c := newCollector(t)
	metrics := freeAddress(t)
	w := newNodes(t, 1, map[string]string{
		"DEPUTY_OTLP_ENDPOINT": c.URL + "/", "DEPUTY_OTLP_SAMPLE": "1", "DEPUTY_OTLP_HEADERS": "x-key=a%20b", "DEPUTY_DEV": "true",
		"DEPUTY_METRICS_LISTEN": metrics, "DEPUTY_LOG_LEVEL": "debug",
	})
	// A client that proves itself with a key that has to be fetched.
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var told http.Header
	site := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		told = r.Header
		json.NewEncoder(answer).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "one", Algorithm: "ES256"}}})
	}))
	t.Cleanup(site.Close)
	base := "/zones/" + w.zone
	var there struct {
		Items []struct {
			ID                   string `json:"id"`
			CredentialProviderID string `json:"credential_provider_id"`
		} `json:"items"`
	}
	if err := w.manage.Do(t.Context(), "GET", base+"/resources?identifier=https://api.example.com", nil, &there); err != nil || len(there.Items) == 0 {
		t.Fatal(err)
	}
	api := there.Items[0]
	backend := w.make(base+"/resources", map[string]any{"name": "Backend", "identifier": "https://canary-backend.example.com", "credential_provider_id": api.CredentialProviderID})
	dependencies := []any{map[string]any{"id": api.ID}, map[string]any{"id": backend.ID}}
	agent := w.make(base+"/applications", map[string]any{"name": "Canary agent", "identifier": "canary-agent", "dependencies": dependencies})
	front := w.make(base+"/applications", map[string]any{"name": "Canary front", "identifier": "canary-front", "dependencies": dependencies})
	if err := w.manage.Do(t.Context(), "PATCH", base+"/resources/"+api.ID, map[string]any{"application_id": front.ID}, nil); err != nil {
		t.Fatal(err)
	}
	password := w.make(base+"/application-credentials", map[string]any{"application_id": agent.ID, "type": "password"})
	credential := w.make(base+"/application-credentials", map[string]any{"application_id": front.ID, "type": "public-key", "jwks_uri": site.URL + "/canary-keys", "identifier": "canary-client"})
	const userAgent = "Canary-Agent/1.0"
	status, subject := w.ask(url.Values{"grant_type": {"client_credentials"}, "resource": {"https://api.example.com"}}, password.Identifier, password.Password, "User-Agent", userAgent)
	if status != 200 {
		t.Fatal(status)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "one"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := w.clock.Now().Unix()
	claims, err := json.Marshal(map[string]any{"iss": credential.Identifier, "sub": credential.Identifier, "aud": w.nodes[0].URL() + "/z/" + w.zone, "iat": now, "exp": now + 60, "jti": "canary-jti"})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	assertion, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	const requestID = "0f8fad5b-d9cb-469f-a165-70867728950e"
	const caller = "0af7651916cd43dd8448eb211c80319c"
	status, token := w.ask(url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {subject},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"}, "resource": {"https://canary-backend.example.com"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion},
	}, "", "", "X-Client-Request-ID", requestID, "Traceparent", "00-"+caller+"-b7ad6b7169203331-01", "Tracestate", "canary=state", "Baggage", "canary=baggage", "User-Agent", userAgent)
	if status != 200 {
		t.Fatalf("%d\n%s", status, w.log.String())
	}
	w.ask(url.Values{"grant_type": {"password"}, "username": {"canary@example.com"}}, password.Identifier, password.Password)
	get(t, w.nodes[0].ListensOn()+"/z/"+w.zone+"/canary-path?code=canary-code")
	w.until("the spans are there", func() bool {
		return len(c.named("GET issuer/none")) == 1 && len(c.named("POST token")) == 3 && len(c.named("POST /zones")) == 1
	})

	exchange := c.named("POST token")[1]
	if got := attributes(exchange); got["deputy.grant_type"] != "urn:ietf:params:oauth:grant-type:token-exchange" || got["deputy.result"] != "issued" ||
		got["deputy.request_id"] != requestID || got["http.request.method"] != "POST" || got["http.route"] != "token" || got["http.response.status_code"] != "200" || len(got) != 6 {
		t.Errorf("the exchange: %v", got)
	}
	if exchange.Kind != wire.Span_SPAN_KIND_SERVER || len(exchange.ParentSpanId) != 0 || hex.EncodeToString(exchange.TraceId) == caller ||
		len(exchange.Links) != 1 || hex.EncodeToString(exchange.Links[0].TraceId) != caller || exchange.Links[0].TraceState != "" {
		t.Errorf("the exchange is part of another trace: %v", exchange)
	}
	if got, want := c.below(exchange), []string{"policy decision", "store commit", "upstream request"}; !slices.Equal(got, want) {
		t.Errorf("within the exchange: %q", got)
	}
	for _, s := range c.named("upstream request") {
		if got := attributes(s); s.Kind != wire.Span_SPAN_KIND_CLIENT || got["http.request.method"] != "GET" || got["http.response.status_code"] != "200" || len(got) != 2 {
			t.Errorf("upstream: %v", got)
		}
	}
	for name := range told {
		if strings.HasPrefix(strings.ToLower(name), "trace") {
			t.Errorf("a tenant's host is told of the trace: %s", name)
		}
	}
	if got := attributes(c.named("POST token")[2]); got["deputy.grant_type"] != "other" || got["deputy.result"] != "unsupported_grant_type" || got["http.response.status_code"] != "400" {
		t.Errorf("the refusal: %v", got)
	}
	if got := c.below(c.named("POST /zones")[0]); !slices.Contains(got, "store commit") {
		t.Errorf("within a management call: %q", got)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.headers.Get("X-Key") != "a b" || c.headers.Get("Content-Type") != "application/x-protobuf" {
		t.Error(c.headers)
	}
	if got := metric(t, metrics, `deputy_trace_spans_total{result="sent"}`); got <= 0 {
		t.Errorf("%v spans were sent", got)
	}
	if want := "trace_id=" + hex.EncodeToString(exchange.TraceId) + " span_id=" + hex.EncodeToString(exchange.SpanId); !strings.Contains(w.log.String(), want) {
		t.Errorf("the log lacks %s", want)
	}
	if !slices.ContainsFunc(c.lines, func(l *logs.LogRecord) bool {
		return bytes.Equal(l.TraceId, exchange.TraceId) && bytes.Equal(l.SpanId, exchange.SpanId)
	}) {
		t.Error("no line of the log that the collector has is of the exchange")
	}
	for _, body := range c.bodies {
		for name, secret := range map[string]string{
			"the zone": w.zone, "a client": password.Identifier, "a secret": password.Password, "an application": agent.ID, "a resource": backend.ID,
			"the subject token": subject, "the token": token, "an assertion": assertion, "a canary": "anary", "an address": "127.0.0.1",
		} {
			if bytes.Contains(body, []byte(secret)) {
				t.Errorf("%s is in a trace", name)
			}
		}
	}
}

// A collector has each line of the log, as it is written: at a level, at a time, and
// with all that it tells.
func TestTheCollectorHasTheLog(t *testing.T) {
	c, written := newCollector(t), new(records)
	s, _ := open(t, map[string]string{"DEPUTY_OTLP_ENDPOINT": c.URL, "DEPUTY_OTLP_SAMPLE": "1", "DEPUTY_LOG_FORMAT": "json", "DEPUTY_LOG_LEVEL": "debug", "DEPUTY_DEV": "true"}, written)
	t.Run("runs", func(t *testing.T) {
		serve(t, s)
		for _, path := range []string{"/healthz", "/nowhere", "/z/none/oauth/2/token"} {
			get(t, s.ListensOn()+path)
		}
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.who["service.name"] != "deputy" || c.who["service.instance.id"] == "" {
		t.Errorf("they are from %v", c.who)
	}
	var told []string
	for _, l := range c.lines {
		line := named(l.Attributes)
		line["msg"], line["level"] = l.Body.GetStringValue(), l.SeverityText
		if want := map[string]logs.SeverityNumber{"DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17}[l.SeverityText]; l.SeverityNumber != want {
			t.Errorf("%s is %d", l.SeverityText, l.SeverityNumber)
		}
		line["time"] = time.Unix(0, int64(l.TimeUnixNano)).Format(time.RFC3339Nano)
		if len(l.TraceId) > 0 {
			line["trace_id"], line["span_id"] = hex.EncodeToString(l.TraceId), hex.EncodeToString(l.SpanId)
		}
		delete(line, "took") // a duration has another form in JSON
		told = append(told, fmt.Sprint(line))
	}
	warned := false
	for i, raw := range strings.Split(strings.TrimSpace(written.String()), "\n") {
		var line map[string]any
		if err := json.Unmarshal([]byte(raw), &line); err != nil {
			t.Fatal(err)
		}
		delete(line, "took")
		warned = warned || line["level"] == "WARN"
		if i >= len(told) || fmt.Sprint(line) != told[i] {
			t.Fatalf("the log has %v\nthe collector %q", line, told[min(i, len(told)):])
		}
	}
	if len(told) < 5 || !warned {
		t.Errorf("the log has %d lines", len(told))
	}
}

// What a collector rejects of what it was sent is lost, and the log says so.
func TestACollectorThatRejects(t *testing.T) {
	t.Parallel()
	c, written, metrics := newCollector(t), new(records), freeAddress(t)
	c.answer = []byte{0x12, 0x01, 'x', 0x0a, 0x04, 0x08, 0x02, 0x12, 0x00} // rejected: 2; an unknown field before it
	s, _ := open(t, map[string]string{"DEPUTY_OTLP_ENDPOINT": c.URL, "DEPUTY_OTLP_SAMPLE": "1", "DEPUTY_METRICS_LISTEN": metrics}, written)
	serve(t, s)
	for metric(t, metrics, `deputy_trace_spans_total{result="sent"}`) == 0 {
		for range 5 {
			get(t, s.ListensOn()+"/healthz")
		}
	}
	if lost := metric(t, metrics, `deputy_trace_spans_total{result="lost"}`); lost == 0 || int(lost)%2 != 0 {
		t.Errorf("%v are lost", lost)
	}
	if !strings.Contains(written.String(), "traces are lost") || !strings.Contains(written.String(), "has rejected 2") {
		t.Errorf("the log says %q", written.String())
	}
}

// FuzzPartial reads what a collector may answer: whatever stands before and behind
// it, a number of rejected ones is that number.
func FuzzPartial(f *testing.F) {
	for _, answer := range []string{"", "\x0a\x00", "\x0a\x02\x08\x03", "\x0a\x02\x08", "\x0a\x7f", "\x08\x03\x0a\x02\x08\x05", "\xff"} {
		f.Add([]byte(answer), uint32(1))
	}
	f.Fuzz(func(t *testing.T, answer []byte, n uint32) {
		if n == 0 || server.Partial(answer) != 0 {
			return
		}
		inner := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(n))
		said := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), inner)
		if got := server.Partial(append(said, answer...)); got != int64(n) {
			t.Errorf("%d of %d", got, n)
		}
	})
}

// A collector that never answers makes no request wait, and the server's end only
// for its bound; what is lost is counted. Nobody is told of what is not sampled.
func TestACollectorThatHangs(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{}, 1)
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case entered <- struct{}{}:
		default:
		}
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	t.Cleanup(hanging.Close) // when the server has ended
	metrics := freeAddress(t)
	s, _ := open(t, map[string]string{"DEPUTY_OTLP_ENDPOINT": hanging.URL, "DEPUTY_OTLP_SAMPLE": "1", "DEPUTY_METRICS_LISTEN": metrics}, io.Discard)
	serve(t, s)
	get(t, s.ListensOn()+"/healthz")
	<-entered
	for metric(t, metrics, `deputy_trace_spans_total{result="lost"}`) == 0 {
		for range 500 {
			if answer, _ := get(t, s.ListensOn()+"/healthz"); answer.StatusCode != 200 {
				t.Fatal(answer.StatusCode)
			}
		}
	}
}

// configOf returns the settings of an environment.
func configOf(t *testing.T, env map[string]string) *server.Config {
	t.Helper()
	var c server.Config
	if err := c.Apply(func(string) bool { return false }, func(name string) (value string, ok bool) {
		value, ok = env[name]
		return value, ok
	}); err != nil {
		t.Fatal(err)
	}
	return &c
}

func TestSettingsOfTraces(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"no URL":               {"DEPUTY_OTLP_ENDPOINT": "collector:4317"},
		"a password":           {"DEPUTY_OTLP_ENDPOINT": "https://user:password@collector.example.com"},
		"a query":              {"DEPUTY_OTLP_ENDPOINT": "https://collector.example.com?key=secret"},
		"more than all":        {"DEPUTY_OTLP_ENDPOINT": "https://collector.example.com", "DEPUTY_OTLP_SAMPLE": "1.5"},
		"none":                 {"DEPUTY_OTLP_ENDPOINT": "https://collector.example.com", "DEPUTY_OTLP_SAMPLE": "0"},
		"not a number":         {"DEPUTY_OTLP_ENDPOINT": "https://collector.example.com", "DEPUTY_OTLP_SAMPLE": "NaN"},
		"headers for nobody":   {"DEPUTY_OTLP_HEADERS": "x-key=a"},
		"headers in the clear": {"DEPUTY_OTLP_ENDPOINT": "http://collector.example.com", "DEPUTY_OTLP_HEADERS": "x-key=a"},
		"headers without =":    {"DEPUTY_OTLP_ENDPOINT": "https://collector.example.com", "DEPUTY_OTLP_HEADERS": "x-key"},
	} {
		c := configOf(t, env)
		if err := c.Check(); err == nil || strings.Contains(err.Error(), "secret@") || strings.Contains(err.Error(), "password@") {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := configOf(t, map[string]string{"DEPUTY_OTLP_ENDPOINT": "http://collector:4318", "DEPUTY_OTLP_SAMPLE": "1"})
	if err := c.Check(); err != nil {
		t.Error(err)
	}
}

// What is not sampled costs a request next to nothing, and nobody is told.
func TestWhatIsNotSampled(t *testing.T) {
	c := newCollector(t)
	s, _ := open(t, map[string]string{"DEPUTY_OTLP_ENDPOINT": c.URL, "DEPUTY_OTLP_SAMPLE": "1e-15"}, io.Discard)
	t.Run("runs", func(t *testing.T) {
		serve(t, s)
		r, err := http.NewRequest("GET", s.ListensOn()+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		// The lowest ids are always sampled by their share, and the flag asks for it.
		r.Header.Set("Traceparent", "00-00000000000000010000000000000000-b7ad6b7169203331-01")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	})
	if len(c.bodies) != 0 {
		t.Errorf("a stranger had a request traced: %v", c.spans)
	}
}
