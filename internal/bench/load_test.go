package bench_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"deputy/internal/bench"
	"deputy/internal/deputy"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
)

// load is a short run against a handler; the long duration is cut by Requests.
func load(url string) bench.Load {
	return bench.Load{Scenario: "test", URL: url, Connections: 4, Duration: time.Minute, Now: time.Now}
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func run(t *testing.T, l bench.Load) bench.Result {
	t.Helper()
	r, err := bench.Run(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEveryRequestIsSentOnceAndCounted(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		seen[r.Method+" "+r.URL.String()+" "+r.Header.Get("X-Test")+" "+string(body)]++
		mu.Unlock()
		io.WriteString(w, "12345")
	})
	l := load(url + "/token?x=1")
	l.Requests = 500
	l.Header = http.Header{"X-Test": {"yes"}}
	l.Body = func(worker int, seq uint64) []byte {
		if worker < 0 || worker >= l.Connections {
			t.Errorf("worker %d of %d", worker, l.Connections)
		}
		return fmt.Appendf(nil, "n=%d", seq)
	}
	r := run(t, l)
	for i := range 500 {
		if n := seen[fmt.Sprintf("POST /token?x=1 yes n=%d", i)]; n != 1 {
			t.Fatalf("request %d arrived %d times", i, n)
		}
	}
	if len(seen) != 500 || r.Requests != 500 || r.OK != 500 || r.Bytes != 2500 || r.Dials != 4 || r.Failed() != 0 {
		t.Errorf("%d seen; result %+v", len(seen), r)
	}
	if r.P50US <= 0 || r.P50US > r.P90US || r.P90US > r.P99US || r.P99US > r.P999US || r.P999US > r.MaxUS || r.MeanUS > r.MaxUS {
		t.Errorf("latencies out of order: %+v", r)
	}
	if want := float64(r.OK) / r.Seconds; r.PerSec != want {
		t.Errorf("rate %v, want %v", r.PerSec, want)
	}
}

func TestStatusesAreTalliedAndOnlyTheExpectedOneIsSuccess(t *testing.T) {
	var n atomic.Int64
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) % 4 {
		case 0:
			w.WriteHeader(http.StatusUnauthorized)
		case 1:
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			w.WriteHeader(http.StatusCreated)
			w.(http.Flusher).Flush() // chunked
			io.WriteString(w, "a")
			w.(http.Flusher).Flush()
			io.WriteString(w, "b")
		}
	})
	l := load(url)
	l.Requests, l.Expect = 400, http.StatusCreated
	r := run(t, l)
	want := map[string]int{"201": 200, "401": 100, "503": 100}
	if diff := cmp.Diff(want, r.Statuses); diff != "" {
		t.Error(diff)
	}
	if r.OK != 200 || r.Requests != 400 || r.Failed() != 200 || r.Bytes != 400 {
		t.Errorf("%+v", r)
	}
	if r.Dials < 100 { // one for each answer that closed
		t.Errorf("%d dials", r.Dials)
	}
}

func TestRequestsWithoutAnswerAreErrorsByReason(t *testing.T) {
	hang := make(chan struct{})
	var n atomic.Int64
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) {
		case 1:
			<-hang
		case 2:
			c, _, _ := w.(http.Hijacker).Hijack()
			c.Close()
		case 3:
			c, _, _ := w.(http.Hijacker).Hijack()
			io.WriteString(c, "garbage, not HTTP at all\r\n\r\n")
			c.Close()
		}
	})
	defer close(hang)
	l := load(url)
	l.Connections, l.Requests, l.Timeout = 1, 10, time.Second
	r := run(t, l)
	want := map[string]int{"timeout": 1, "connection closed": 1, "malformed answer": 1}
	if diff := cmp.Diff(want, r.Errors); diff != "" {
		t.Error(diff)
	}
	if r.OK != 7 || r.Requests != 7 || r.Failed() != 3 || r.Dials != 4 {
		t.Errorf("%+v", r)
	}
}

func TestWarmUpIsInNoFigure(t *testing.T) {
	// A clock of our own: the first 50 readings are before the measured time.
	var readings atomic.Int64
	start := time.Unix(1_800_000_000, 0)
	now := func() time.Time { return start.Add(time.Duration(readings.Add(1)) * time.Millisecond) }
	var served atomic.Int64
	url := serve(t, func(http.ResponseWriter, *http.Request) { served.Add(1) })
	l := load(url)
	l.Now, l.Connections, l.Warmup, l.Duration = now, 1, 50*time.Millisecond, 50*time.Millisecond
	l.Timeout = 100 * 365 * 24 * time.Hour // deadlines are set on that clock too
	r := run(t, l)
	if all := uint64(served.Load()); r.Requests == 0 || r.Requests >= all || r.Requests > 50 {
		t.Errorf("%d of %d requests counted", r.Requests, all)
	}
	if r.Seconds != 0.05 {
		t.Errorf("figures stand for %v s", r.Seconds)
	}
}

func TestAnOpenLoopKeepsItsPaceAndCountsTheQueue(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) { time.Sleep(20 * time.Millisecond) })
	l := load(url)
	l.Connections, l.Rate, l.Duration = 1, 100, 200*time.Millisecond
	r := run(t, l)
	// 20 requests of 20 ms due within 200 ms on one connection: the last one
	// waits for all before it.
	if r.Requests != 20 || r.RateTarget != 100 {
		t.Fatalf("%+v", r)
	}
	if r.MaxUS < 150_000 || r.P50US < 60_000 {
		t.Errorf("latencies p50 %v, max %v µs hide the queue", r.P50US, r.MaxUS)
	}
	if r.Seconds < 0.4 {
		t.Errorf("a backlog that ran over is measured as %v s", r.Seconds)
	}
}

func TestAnOpenLoopThatCannotKeepUpIsCutOffAndSaysSo(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) { time.Sleep(30 * time.Millisecond) })
	l := load(url)
	l.Connections, l.Rate, l.Duration, l.Timeout = 2, 1000, 100*time.Millisecond, 200*time.Millisecond
	r := run(t, l)
	if all := int(r.OK + r.Failed()); all != 100 || r.Errors["not sent in time"] == 0 {
		t.Errorf("%d of 100 accounted for: %+v", all, r)
	}
}

func TestARunEndsWithItsContext(t *testing.T) {
	entered := make(chan struct{}, 8)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	r, err := bench.Run(ctx, load(url))
	if !errors.Is(err, context.Canceled) || r.Failed() != 0 {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestLoadsThatCannotBeRunAreRefused(t *testing.T) {
	for name, change := range map[string]func(*bench.Load){
		"no clock":             func(l *bench.Load) { l.Now = nil },
		"no connections":       func(l *bench.Load) { l.Connections = 0 },
		"too many connections": func(l *bench.Load) { l.Connections = bench.MaxConnections + 1 },
		"no time":              func(l *bench.Load) { l.Duration = 0 },
		"too much time":        func(l *bench.Load) { l.Warmup, l.Duration = time.Second, bench.MaxTime },
		"time that overflows":  func(l *bench.Load) { l.Warmup, l.Duration = 1<<62, 1<<62 },
		"negative rate":        func(l *bench.Load) { l.Rate = -1 },
		"no host":              func(l *bench.Load) { l.URL = "/token" },
		"https":                func(l *bench.Load) { l.URL = "https://127.0.0.1/" },
		"user in the address":  func(l *bench.Load) { l.URL = "http://a:b@127.0.0.1/" },
		"header injection":     func(l *bench.Load) { l.Header = http.Header{"X": {"a\r\nY: b"}} },
	} {
		l := load("http://127.0.0.1:9/")
		change(&l)
		if _, err := bench.Run(t.Context(), l); !errors.Is(err, deputy.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOnlyLoopbackIsLoadedUnlessAllowed(t *testing.T) {
	ln, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: ln, Config: &http.Server{Handler: http.NotFoundHandler()}}
	s.Start()
	defer s.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	l := load("http://0.0.0.0:" + port) // reaches this machine, and is no loopback address
	l.Requests, l.Expect = 4, 404
	if _, err := bench.Run(t.Context(), l); !errors.Is(err, deputy.Unavailable) || !strings.Contains(err.Error(), "not a loopback address") {
		t.Errorf("got %v", err)
	}
	l.AllowRemote = true
	if r, err := bench.Run(t.Context(), l); err != nil || r.OK != 4 {
		t.Errorf("allowed, got %+v, %v", r, err)
	}
}

func TestADeadServerIsOneClearError(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	_, err = bench.Run(t.Context(), load("http://"+ln.Addr().String()))
	if !errors.Is(err, deputy.Unavailable) {
		t.Errorf("got %v", err)
	}
}

func TestOnceShowsWhatTheServerSays(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"error":"invalid_client"}`)
	})
	status, body, err := bench.Once(t.Context(), bench.Load{URL: url, Now: time.Now})
	if err != nil || status != 401 || string(body) != `{"error":"invalid_client"}` {
		t.Errorf("got %d %q, %v", status, body, err)
	}
}

func TestTheServerProcessIsSampled(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {})
	l := load(url)
	l.PID, l.Duration = os.Getpid(), 300*time.Millisecond
	r := run(t, l)
	if runtime.GOOS != "linux" {
		if r.RSSBeforeKB != 0 || r.ServerCPU != 0 || r.ServerWrite != 0 {
			t.Errorf("figures from nowhere: %+v", r)
		}
		return
	}
	if r.RSSBeforeKB < 1000 || r.RSSPeakKB < r.RSSBeforeKB/2 || r.ServerCPU <= 0 || r.GenCPU <= 0 {
		t.Errorf("%+v", r)
	}
}

func TestPickIsEvenAndRepeatable(t *testing.T) {
	const n, draws = 100, 100_000
	var counts [n]int
	for seq := range uint64(draws) {
		i := bench.Pick(int(seq%7), seq, n)
		if i != bench.Pick(int(seq%7), seq, n) {
			t.Fatal("not repeatable")
		}
		counts[i]++
	}
	// 1000 expected each, standard deviation about 31.
	if lo, hi := slices.Min(counts[:]), slices.Max(counts[:]); lo < 840 || hi > 1160 {
		t.Errorf("between %d and %d draws each, want about %d", lo, hi, draws/n)
	}
}

func TestResultKeysAreFixed(t *testing.T) {
	full := bench.Result{
		Label: "x", RateTarget: 1, Errors: map[string]int{"x": 1}, Statuses: map[string]int{},
		RSSBeforeKB: 1, RSSPeakKB: 1, ServerCPU: 1, ServerWrite: 1,
	}
	always := []string{
		"body_bytes", "concurrency", "dials", "generator_cpu_cores", "max_us", "mean_us", "ok", "ok_per_sec",
		"p50_us", "p90_us", "p999_us", "p99_us", "requests", "run", "scenario", "seconds", "statuses",
	}
	sometimes := []string{
		"errors", "label", "rate_target", "server_cpu_cores", "server_rss_before_kb", "server_rss_peak_kb", "server_write_bytes",
	}
	for _, c := range []struct {
		r    bench.Result
		want []string
	}{
		{bench.Result{Statuses: map[string]int{}}, always},
		{full, slices.Sorted(slices.Values(slices.Concat(always, sometimes)))},
	} {
		b, err := json.Marshal(c.r)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		var got []string
		for k := range m {
			got = append(got, k)
		}
		slices.Sort(got)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestResultsReadAsATable(t *testing.T) {
	var b strings.Builder
	err := bench.WriteText(&b,
		bench.Result{
			Scenario: "client-credentials", Run: 1, Concurrency: 64, PerSec: 12345.6, P50US: 5000, P90US: 7500, P99US: 9990,
			Requests: 1000, OK: 1000, RSSBeforeKB: 30 * 1024, RSSPeakKB: 61 * 1024, ServerCPU: 0.99, ServerWrite: 1_500_000,
		},
		bench.Result{
			Scenario: "exchange", Label: "floor", Concurrency: 1, Requests: 3, OK: 1,
			Statuses: map[string]int{"200": 1, "401": 2}, Errors: map[string]int{"timeout": 4},
		})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"               scenario  conns  req/s  p50 ms  p90 ms  p99 ms  RSS MB  peak MB  server CPU  written B/req  failed",
		"  client-credentials #1     64  12346    5.00    7.50    9.99    30.0     61.0        0.99           1500       0",
		"         exchange floor      1      0    0.00    0.00    0.00       -        -           -              -       6",
		"exchange floor: answers 200 × 1, 401 × 2; no answer: timeout × 4",
		"",
	}, "\n")
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}
