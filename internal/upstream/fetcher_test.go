package upstream_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/upstream"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDo(t *testing.T) {
	h := newHost(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Answer", "yes")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, "%s %s %s %s %s", r.Method, r.URL, r.Header.Get("Content-Type"), r.Header.Get("User-Agent"), body)
	})
	w := newWorld(t, loopback, nil)
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	for range 2 {
		res, err := w.Do(context.Background(), upstream.Request{
			Method: http.MethodPost, URL: h.URL + "/token", Header: header, Body: []byte(url.Values{"code": {"a b"}}.Encode()),
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := "POST /token application/x-www-form-urlencoded deputy code=a+b"; res.Status != 400 || string(res.Body) != want || res.Header.Get("X-Answer") != "yes" {
			t.Errorf("answer %d %q %v, want %q", res.Status, res.Body, res.Header, want)
		}
	}
	h.wantRequests(t, 2, "nothing is remembered")
	if len(header) != 1 {
		t.Errorf("the caller's header has become %v", header)
	}
}

func TestDoFollowsNoRedirect(t *testing.T) {
	h := newHost(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/next", http.StatusTemporaryRedirect)
	})
	res, err := newWorld(t, loopback, nil).Do(context.Background(), upstream.Request{Method: http.MethodPost, URL: h.URL})
	if err != nil || res.Status != http.StatusTemporaryRedirect {
		t.Fatalf("%v, %v", res, err)
	}
	h.wantRequests(t, 1, "a redirect")
}

func TestDoRefusesWhatIsNoRequest(t *testing.T) {
	_, err := newWorld(t, loopback, nil).Do(context.Background(), upstream.Request{Method: "BAD METHOD", URL: "https://example.com/"})
	wantKind(t, err, deputy.Invalid)
}

func TestSizeLimit(t *testing.T) {
	const limit = 1000
	for name, answer := range map[string]func(w http.ResponseWriter, size int){
		"announced": func(w http.ResponseWriter, size int) { fmt.Fprint(w, strings.Repeat("x", size)) },
		"chunked": func(w http.ResponseWriter, size int) {
			w.(http.Flusher).Flush()
			fmt.Fprint(w, strings.Repeat("x", size))
		},
	} {
		t.Run(name, func(t *testing.T) {
			size := limit
			h := newHost(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, size) })
			w := newWorld(t, loopback, nil)
			fetch := func(path string) (*upstream.Document, *upstream.Response, error, error) {
				d, errGet := w.Get(context.Background(), upstream.Source{URL: h.URL + path, MaxBytes: limit})
				r, errDo := w.Do(context.Background(), upstream.Request{Method: http.MethodPost, URL: h.URL + path, MaxBytes: limit})
				return d, r, errGet, errDo
			}
			if d, r, errGet, errDo := fetch("/fits"); errGet != nil || errDo != nil || len(d.Body) != limit || len(r.Body) != limit {
				t.Fatalf("exactly the limit: %v, %v", errGet, errDo)
			}
			size++
			_, _, errGet, errDo := fetch("/exceeds")
			wantKind(t, errGet, deputy.Unavailable)
			wantKind(t, errDo, deputy.Unavailable)
		})
	}
	h := newHost(t, text(strings.Repeat("x", 64<<10+1)))
	_, err := newWorld(t, loopback, nil).get(h.URL)
	wantKind(t, err, deputy.Unavailable)
}

func TestHeaderSizeLimit(t *testing.T) {
	h := newHost(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Long", strings.Repeat("x", 64<<10)) })
	_, err := newWorld(t, loopback, nil).get(h.URL)
	wantKind(t, err, deputy.Unavailable)
}

// A compressed answer is small on the wire and large in memory.
func TestNoCompressedAnswers(t *testing.T) {
	h := newHost(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.Copy(z, bytes.NewReader(make([]byte, 1<<20)))
		_ = z.Close()
	})
	w := newWorld(t, loopback, nil)
	for range 10 { // and the host is not held for broken
		_, err := w.Do(context.Background(), upstream.Request{Method: http.MethodPost, URL: h.URL})
		wantKind(t, err, deputy.Unavailable)
	}
	h.wantRequests(t, 10, "unwanted answers")
}

func TestTimeLimit(t *testing.T) {
	hold := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, answer := range map[string]http.HandlerFunc{
		"no header": hold,
		"slow body": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				fmt.Fprint(w, " ")
				w.(http.Flusher).Flush()
				time.Sleep(5 * time.Millisecond)
			}
		},
		"slow redirect": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/" {
				http.Redirect(w, r, "/slow", http.StatusFound)
				return
			}
			hold(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, answer)
			w := newWorld(t, loopback, nil)
			const limit = 50 * time.Millisecond
			_, err := w.Get(context.Background(), upstream.Source{URL: h.URL, Timeout: limit, Redirects: 1})
			wantKind(t, err, deputy.Unavailable)
			if !strings.HasSuffix(message(t, err), "did not answer in time") {
				t.Errorf("message %q", message(t, err))
			}
			if name != "slow redirect" {
				_, err = w.Do(context.Background(), upstream.Request{Method: http.MethodPost, URL: h.URL, Timeout: limit})
				wantKind(t, err, deputy.Unavailable)
			}
		})
	}
}

func TestTheCallersEndIsTheCallsEnd(t *testing.T) {
	arrived := make(chan struct{})
	h := newHost(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	w := newWorld(t, loopback, nil)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-arrived; cancel() }()
	_, err := w.Do(ctx, upstream.Request{Method: http.MethodPost, URL: h.URL})
	wantKind(t, err, deputy.Unavailable)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v does not wrap the context's error", err)
	}
}

func TestCircuit(t *testing.T) {
	var status atomic.Int32
	h := newHost(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) })
	w := newWorld(t, loopback, nil)
	post := func(zone deputy.ZoneID) error {
		_, err := w.Do(context.Background(), upstream.Request{Zone: zone, Method: http.MethodPost, URL: h.URL})
		return err
	}
	answers := func(code int32, times int) {
		t.Helper()
		status.Store(code)
		for range times {
			if err := post("a"); err != nil {
				t.Fatal(err)
			}
		}
	}
	refused := func() {
		t.Helper()
		before := len(h.requests())
		wantKind(t, post("a"), deputy.Unavailable)
		h.wantRequests(t, before, "an open circuit")
	}
	answers(404, 10) // answers, whatever they say
	answers(500, 4)
	answers(200, 1) // in a row is what counts
	answers(500, 5)
	refused()
	status.Store(200)
	if err := post("b"); err != nil {
		t.Fatalf("one zone's circuit refuses another: %v", err)
	}
	_, err := w.Get(context.Background(), upstream.Source{Zone: "a", URL: h.URL})
	wantKind(t, err, deputy.Unavailable)
	if _, err := w.Get(context.Background(), upstream.Source{Zone: "b", URL: h.URL}); err != nil {
		t.Fatalf("a refusal by a circuit is remembered as the document's failure: %v", err)
	}
	w.clock.advance(30*time.Second - 1)
	refused()
	w.clock.advance(1)
	answers(502, 1) // the probe fails
	refused()
	w.clock.advance(30 * time.Second)
	answers(200, 1)
	answers(500, 4) // closed: the count starts anew
	answers(200, 1)
}

func TestCircuitCountsUnreachableAndSlowHosts(t *testing.T) {
	w := newWorld(t, "", nil)
	w.names.set("gone.example", "8.8.8.8")
	for range 10 {
		_, err := w.Do(context.Background(), upstream.Request{Method: http.MethodPost, URL: "https://gone.example/"})
		wantKind(t, err, deputy.Unavailable)
	}
	if n := len(w.dials.take()); n != 5 {
		t.Errorf("an unreachable host was dialled %d times, want 5", n)
	}

	h := newHost(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	w = newWorld(t, loopback, nil)
	for range 10 {
		_, err := w.Do(context.Background(), upstream.Request{Method: http.MethodPost, URL: h.URL, Timeout: 20 * time.Millisecond})
		wantKind(t, err, deputy.Unavailable)
	}
	if n := len(w.dials.take()); n != 5 {
		t.Errorf("a slow host was dialled %d times, want 5", n)
	}
}

// Callers who leave say nothing about the host, and free the probe's place.
func TestCircuitIgnoresCallersWhoLeave(t *testing.T) {
	var status atomic.Int32
	arrived := make(chan struct{})
	h := newHost(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			arrived <- struct{}{}
			<-r.Context().Done()
			return
		}
		w.WriteHeader(int(status.Load()))
	})
	w := newWorld(t, loopback, nil)
	leave := func() {
		t.Helper()
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() {
			_, err := w.Do(ctx, upstream.Request{Method: http.MethodPost, URL: h.URL + "/hold"})
			done <- err
		}()
		<-arrived
		// A probe is under way: nobody else is let through meanwhile.
		if status.Load() == 500 {
			before := len(h.requests())
			_, err := w.Do(ctx, upstream.Request{Method: http.MethodPost, URL: h.URL})
			wantKind(t, err, deputy.Unavailable)
			h.wantRequests(t, before, "beside a probe")
		}
		cancel()
		wantKind(t, <-done, deputy.Unavailable)
	}
	for range 6 {
		leave()
	}
	status.Store(500)
	for range 5 {
		if _, err := w.Do(context.Background(), upstream.Request{Method: http.MethodPost, URL: h.URL}); err != nil {
			t.Fatalf("callers who left opened the circuit: %v", err)
		}
	}
	w.clock.advance(30 * time.Second)
	leave() // as the probe
	status.Store(200)
	if _, err := w.Do(context.Background(), upstream.Request{Method: http.MethodPost, URL: h.URL}); err != nil {
		t.Fatalf("the probe's place was not freed: %v", err)
	}
}

func TestCertificatesAreVerified(t *testing.T) {
	server := httptest.NewUnstartedServer(text("{}"))
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)
	_, err := newWorld(t, loopback, nil).get(server.URL)
	wantKind(t, err, deputy.Unavailable)
	if !strings.HasSuffix(message(t, err), "has a certificate that cannot be verified") {
		t.Errorf("message %q", message(t, err))
	}
	trusting := newWorld(t, loopback, func(c *upstream.Config) {
		c.RootCAs = x509.NewCertPool()
		c.RootCAs.AddCert(server.Certificate())
	})
	if _, err := trusting.get(server.URL); err != nil {
		t.Error(err)
	}
	trusting.names.set("other.test", "127.0.0.1")
	_, err = trusting.get("https://other.test:" + server.URL[strings.LastIndex(server.URL, ":")+1:])
	wantKind(t, err, deputy.Unavailable)
}

func TestOperatorHasNoAddressRules(t *testing.T) {
	h := newHost(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/next", http.StatusFound) })
	w := newWorld(t, "", nil)
	_, err := w.get(h.URL)
	wantKind(t, err, deputy.Invalid)
	res, err := w.Operator().Get(h.URL)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	h.wantRequests(t, 1, "without following the redirect")
	if w.Operator().Transport.(*http.Transport).Proxy != nil {
		t.Error("uses a proxy")
	}
	if seen := w.dials.take(); len(seen) != 0 {
		t.Errorf("recorded %v", seen)
	}
}

func TestMessagesTellNoQuery(t *testing.T) {
	h := newHost(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	_, err := newWorld(t, loopback, nil).get(h.URL + "/secret-path?token=secret-query")
	wantKind(t, err, deputy.Unavailable, "secret")
	_, err = newWorld(t, loopback, nil).get("https://user:secret@example.com:x/")
	wantKind(t, err, deputy.Invalid)
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the log would show %v", err)
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	h := newHost(t, text("{}"))
	w := newWorld(t, loopback, nil)
	for i := range 5 {
		if _, err := w.get(fmt.Sprintf("%s/%d", h.URL, i)); err != nil {
			t.Fatal(err)
		}
	}
	want := netip.MustParseAddrPort(h.Listener.Addr().String())
	if seen := w.dials.take(); len(seen) != 1 || seen[0] != want {
		t.Errorf("five requests dialled %v", seen)
	}
}
