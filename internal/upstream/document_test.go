package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/upstream"
)

const loopback = "127.0.0.0/8"

// text answers with status 200 and body.
func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

func TestGetAsksPlainly(t *testing.T) {
	h := newHost(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		fmt.Fprint(w, `{"keys":[]}`)
	})
	w := newWorld(t, loopback, nil)
	d, err := w.get(h.URL + "/jwks.json?v=1")
	if err != nil {
		t.Fatal(err)
	}
	if string(d.Body) != `{"keys":[]}` || d.ContentType != "application/jwk-set+json" {
		t.Errorf("got %q of type %q", d.Body, d.ContentType)
	}
	if _, err := w.Get(context.Background(), upstream.Source{URL: h.URL + "/logo", Accept: "image/png"}); err != nil {
		t.Fatal(err)
	}
	r, logo := h.requests()[0], h.requests()[1]
	if r.Method != http.MethodGet || r.URL.String() != "/jwks.json?v=1" || r.Header.Get("Accept") != "application/json" || logo.Header.Get("Accept") != "image/png" {
		t.Errorf("asked %s %s for %q, then for %q", r.Method, r.URL, r.Header.Get("Accept"), logo.Header.Get("Accept"))
	}
	for _, name := range []string{"Accept-Encoding", "Authorization", "Cookie", "Referer", "If-None-Match"} {
		if r.Header.Get(name) != "" {
			t.Errorf("sent %s: %s", name, r.Header.Get(name))
		}
	}
}

func TestFreshnessIsClamped(t *testing.T) {
	for _, c := range []struct {
		name, cacheControl string
		min, max           time.Duration
		want               time.Duration
	}{
		{"as stated", "max-age=180", 0, 0, 3 * time.Minute},
		{"not below the least", "no-store", 2 * time.Minute, 0, 2 * time.Minute},
		{"not beyond the most", "max-age=86400", 0, 10 * time.Minute, 10 * time.Minute},
		{"unstated", "", 0, time.Hour, 5 * time.Minute},
		{"unstated, but the most is less", "", 0, 2 * time.Minute, 2 * time.Minute},
		{"least by default", "max-age=0", 0, 0, time.Minute},
		{"most by default", "max-age=86400", 0, 0, 5 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, func(w http.ResponseWriter, _ *http.Request) {
				if c.cacheControl != "" {
					w.Header().Set("Cache-Control", c.cacheControl)
				}
			})
			w := newWorld(t, loopback, nil)
			get := func() {
				t.Helper()
				if _, err := w.Get(context.Background(), upstream.Source{URL: h.URL, MinAge: c.min, MaxAge: c.max}); err != nil {
					t.Fatal(err)
				}
			}
			get()
			w.clock.advance(c.want - time.Nanosecond)
			get()
			h.wantRequests(t, 1, "while fresh")
			w.clock.advance(time.Nanosecond)
			get()
			h.wantRequests(t, 2, "when stale")
		})
	}
}

func TestOneURLInManySpellingsIsOneDocument(t *testing.T) {
	h := newHost(t, text("{}"))
	w := newWorld(t, loopback, nil)
	w.names.set("keys.example", "127.0.0.1")
	_, port, _ := strings.Cut(h.Listener.Addr().String(), ":")
	for _, form := range []string{"http://keys.example:%s", "http://keys.example:%s/", "HTTP://Keys.EXAMPLE:%s/", "http://keys.example:0%s/"} {
		if _, err := w.get(fmt.Sprintf(form, port)); err != nil {
			t.Fatal(err)
		}
	}
	h.wantRequests(t, 1, "four spellings")
}

func TestRevalidation(t *testing.T) {
	var version atomic.Value
	version.Store(`"one"`)
	h := newHost(t, func(w http.ResponseWriter, r *http.Request) {
		etag := version.Load().(string)
		w.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Cache-Control", "max-age=120")
		fmt.Fprint(w, etag)
	})
	w := newWorld(t, loopback, nil)
	first, err := w.get(h.URL)
	if err != nil {
		t.Fatal(err)
	}
	w.clock.advance(2 * time.Minute)
	same, err := w.get(h.URL)
	if err != nil || same != first {
		t.Fatalf("after 304: %p, %v; want the same document %p", same, err, first)
	}
	h.wantRequests(t, 2, "revalidated")
	w.clock.advance(2*time.Minute - 1)
	if _, err := w.get(h.URL); err != nil {
		t.Fatal(err)
	}
	h.wantRequests(t, 2, "fresh again for as long as first stated")
	version.Store(`"two"`)
	w.clock.advance(1)
	changed, err := w.get(h.URL)
	if err != nil || changed == first || string(changed.Body) != `"two"` || string(first.Body) != `"one"` {
		t.Fatalf("after a change: %v, %v", changed, err)
	}
	if got := h.requests()[2].Header.Get("If-None-Match"); got != `"one"` {
		t.Errorf("the third request has If-None-Match %q", got)
	}
}

func TestNotModifiedUnasked(t *testing.T) {
	h := newHost(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) })
	_, err := newWorld(t, loopback, nil).get(h.URL)
	wantKind(t, err, deputy.Unavailable)
}

func TestFailuresAreRemembered(t *testing.T) {
	var status atomic.Int32
	status.Store(http.StatusNotFound)
	h := newHost(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) })
	w := newWorld(t, loopback, nil)
	for range 10 {
		_, err := w.get(h.URL)
		wantKind(t, err, deputy.Unavailable)
	}
	h.wantRequests(t, 1, "ten times within the failure's age")
	status.Store(http.StatusOK)
	w.clock.advance(30*time.Second - 1)
	if _, err := w.get(h.URL); err == nil {
		t.Fatal("the failure is forgotten too early")
	}
	w.clock.advance(1)
	if _, err := w.get(h.URL); err != nil {
		t.Fatalf("the failure is remembered too long: %v", err)
	}
}

// Only 200 is a document: the error page of a 404 is none, nor a 204.
func TestOnlyOKIsADocument(t *testing.T) {
	for _, status := range []int{201, 204, 206, 400, 401, 403, 404, 410, 429, 500, 503} {
		h := newHost(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		_, err := newWorld(t, loopback, nil).get(h.URL)
		wantKind(t, err, deputy.Unavailable)
	}
}

func TestRefresh(t *testing.T) {
	var broken atomic.Bool
	h := newHost(t, func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	w := newWorld(t, loopback, nil)
	source := upstream.Source{URL: h.URL, MinAge: time.Hour, MaxAge: time.Hour}
	refresh := func() (*upstream.Document, error) { return w.Refresh(context.Background(), source) }

	first, err := w.Get(context.Background(), source)
	if err != nil {
		t.Fatal(err)
	}
	second, err := refresh()
	if err != nil || second == first {
		t.Fatalf("the first refresh gave the document that was remembered, or %v", err)
	}
	h.wantRequests(t, 2, "one refresh")
	for range 100 {
		w.clock.advance(time.Minute/100 - time.Millisecond)
		if d, err := refresh(); err != nil || d != second {
			t.Fatalf("a refresh too early: %v, %v", d, err)
		}
	}
	h.wantRequests(t, 2, "a hundred refreshes within the gap")
	w.clock.advance(time.Second)
	broken.Store(true)
	_, err = refresh()
	wantKind(t, err, deputy.Unavailable)
	h.wantRequests(t, 3, "a refresh after the gap")
	if d, err := w.Get(context.Background(), source); err != nil || d != second {
		t.Fatalf("a failed refresh took the fresh document away: %v", err)
	}
	if d, err := refresh(); err != nil || d != second {
		t.Fatalf("after a failed refresh, one too early: %v, %v", d, err)
	}
	h.wantRequests(t, 3, "failed refreshes count for the gap")
}

func TestRefreshOfWhatWasNeverFetched(t *testing.T) {
	h := newHost(t, text("{}"))
	w := newWorld(t, loopback, nil)
	if _, err := w.Refresh(context.Background(), upstream.Source{URL: h.URL}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.get(h.URL); err != nil {
		t.Fatal(err)
	}
	h.wantRequests(t, 1, "refresh, then get")
}

func TestSingleFlight(t *testing.T) {
	arrived, answer := make(chan struct{}, 100), make(chan struct{})
	h := newHost(t, func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-answer
	})
	w := newWorld(t, loopback, nil)
	var group sync.WaitGroup
	documents := make([]*upstream.Document, 50)
	for i := range documents {
		group.Go(func() {
			d, err := w.get(h.URL)
			if err != nil {
				t.Error(err)
			}
			documents[i] = d
		})
	}
	<-arrived
	// Who leaves takes only itself away: the first to come may be the one.
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := w.Get(gone, upstream.Source{URL: h.URL})
	wantKind(t, err, deputy.Unavailable)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v does not wrap the context's error", err)
	}
	close(answer)
	group.Wait()
	h.wantRequests(t, 1, "fifty at once")
	for _, d := range documents {
		if d != documents[0] {
			t.Fatal("two documents from one flight")
		}
	}
}

func TestFlightOutlivesWhoStartedIt(t *testing.T) {
	arrived, answer := make(chan struct{}), make(chan struct{})
	h := newHost(t, func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-answer
	})
	w := newWorld(t, loopback, nil)
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan error)
	go func() {
		_, err := w.Get(ctx, upstream.Source{URL: h.URL})
		first <- err
	}()
	<-arrived
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Fatalf("the one that left got %v", err)
	}
	second := make(chan error)
	go func() {
		_, err := w.get(h.URL)
		second <- err
	}()
	close(answer)
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	h.wantRequests(t, 1, "the starter left")
}

func TestRedirects(t *testing.T) {
	other := newHost(t, text("stolen"))
	var h *host
	h = newHost(t, func(w http.ResponseWriter, r *http.Request) {
		host := h.Listener.Addr().String()
		switch r.URL.Path {
		case "/other":
			w.Header().Set("Location", other.URL)
		case "/private":
			w.Header().Set("Location", "http://127.0.0.9:1/")
		case "/metadata":
			w.Header().Set("Location", "http://169.254.169.254/latest/meta-data/")
		case "/scheme":
			w.Header().Set("Location", "https://"+host+"/ok")
		case "/file":
			w.Header().Set("Location", "file:///etc/passwd")
		case "/user":
			w.Header().Set("Location", "http://user@"+host+"/ok")
		case "/name":
			w.Header().Set("Location", "http://localhost:"+h.Listener.Addr().String()[strings.LastIndex(host, ":")+1:]+"/ok")
		case "/malformed":
			w.Header().Set("Location", "http://[::1/")
		case "/missing":
		case "/1":
			w.Header().Set("Location", "//"+host+"/ok#fragment")
		case "/2", "/3", "/4":
			w.Header().Set("Location", fmt.Sprintf("/%d", r.URL.Path[1]-'0'-1))
		default:
			fmt.Fprint(w, "ok")
			return
		}
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	for _, c := range []struct {
		path     string
		follow   int
		ok       bool
		requests int
	}{
		{"/ok", 0, true, 1},
		{"/1", 0, false, 1},
		{"/1", 1, true, 2},
		{"/2", 1, false, 2},
		{"/3", 3, true, 4},
		{"/4", 3, false, 4},
		{"/4", 9, false, 4}, // three is the most
		{"/missing", 3, false, 4},
		{"/other", 3, false, 1},
		{"/private", 3, false, 1},
		{"/metadata", 3, false, 1},
		{"/scheme", 3, false, 1},
		{"/file", 3, false, 1},
		{"/user", 3, false, 1},
		{"/name", 3, false, 1},
		{"/malformed", 3, false, 1},
	} {
		t.Run(fmt.Sprintf("%s/%d", c.path, c.follow), func(t *testing.T) {
			before := len(h.requests())
			w := newWorld(t, loopback, nil)
			d, err := w.Get(context.Background(), upstream.Source{URL: h.URL + c.path, Redirects: c.follow})
			if c.ok && (err != nil || string(d.Body) != "ok") {
				t.Errorf("not followed: %v", err)
			}
			if !c.ok {
				wantKind(t, err, deputy.Unavailable, "127.0.0.9", "169.254", other.Listener.Addr().String())
			}
			h.wantRequests(t, before+c.requests, "asked")
			for _, to := range w.dials.take() {
				if to.String() != h.Listener.Addr().String() {
					t.Errorf("dialled %v", to)
				}
			}
		})
	}
	other.wantRequests(t, 0, "redirected to another host")
}

func TestTheCacheIsBounded(t *testing.T) {
	const size, room = 32 << 10, 256 << 10
	h := newHost(t, text(strings.Repeat("x", size)))
	w := newWorld(t, loopback, func(c *upstream.Config) { c.CacheBytes = room })
	const documents = 100
	for range 2 {
		for i := range documents {
			if _, err := w.get(fmt.Sprintf("%s/%d", h.URL, i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if again := len(h.requests()) - documents; again < documents-room/size {
		t.Errorf("only %d of %d documents were fetched again: more than %d bytes are remembered", again, documents, room)
	}
}

// Failures and empty documents weigh something too.
func TestTheCacheIsBoundedInEntries(t *testing.T) {
	h := newHost(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	const entries = 16
	w := newWorld(t, loopback, func(c *upstream.Config) { c.CacheBytes = entries * 4 << 10 })
	const documents = 100
	for range 2 {
		for i := range documents {
			_, err := w.get(fmt.Sprintf("%s/%d", h.URL, i))
			wantKind(t, err, deputy.Unavailable)
		}
	}
	if again := len(h.requests()) - documents; again < documents-entries {
		t.Errorf("only %d of %d failures were fetched again: more than %d are remembered", again, documents, entries)
	}
}

func TestDocumentsOfDifferentLimitsAreDifferent(t *testing.T) {
	h := newHost(t, text(strings.Repeat("x", 2000)))
	w := newWorld(t, loopback, nil)
	if _, err := w.get(h.URL); err != nil {
		t.Fatal(err)
	}
	_, err := w.Get(context.Background(), upstream.Source{URL: h.URL, MaxBytes: 1999})
	wantKind(t, err, deputy.Unavailable)
}
