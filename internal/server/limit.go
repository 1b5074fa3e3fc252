package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"
)

// healthPath answers whether the program runs.
const healthPath = "/healthz"

const (
	// maxRunning is how many requests a node answers at once. Each may hold its
	// body, so this bounds memory; whoever comes then is told to come again.
	maxRunning = 2048
	// requestTimeout ends the work on a request that takes too long.
	requestTimeout = 30 * time.Second
	// maxPrincipals is how many are told apart for the rate limit: whoever
	// has not asked for the longest is forgotten.
	maxPrincipals = 65536
)

// limiter bounds how many requests a second a node answers each principal who
// has proven who they are.
type limiter struct {
	rate    rate.Limit
	now     func() time.Time
	buckets *otter.Cache[string, *rate.Limiter]
}

// newLimiter reads the setting: a number of requests a second; none is no
// limit.
func newLimiter(setting string, now func() time.Time) (*limiter, error) {
	if setting == "" {
		return nil, nil
	}
	n, err := strconv.ParseFloat(setting, 64)
	if err != nil || !(n > 0) || math.IsInf(n, 1) {
		return nil, fmt.Errorf("--rate-limit must be a number of requests a second, more than 0")
	}
	return &limiter{rate.Limit(n), now, otter.Must(&otter.Options[string, *rate.Limiter]{
		MaximumSize: maxPrincipals, Executor: func(f func()) { f() },
	})}, nil
}

// wait returns how long the principal must wait before another request; 0: not
// at all, and this one counts. A second's worth may come at once.
func (l *limiter) wait(principal string) time.Duration {
	if l == nil {
		return 0
	}
	bucket, known := l.buckets.GetIfPresent(principal)
	if !known {
		bucket, _ = l.buckets.SetIfAbsent(principal, rate.NewLimiter(l.rate, int(math.Ceil(float64(l.rate)))))
	}
	now := l.now()
	r := bucket.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

// finishBytes is how much of a body is read before its request runs.
const finishBytes = 64 << 10

// finish reads a body, as far as it is not large. What goes wrong is told to
// whoever reads it then.
func finish(r *http.Request) {
	if r.ContentLength == 0 {
		return
	}
	var read bytes.Buffer
	_, err := io.CopyN(&read, r.Body, finishBytes)
	rest := io.Reader(r.Body)
	if err != nil { // mostly that there is no more
		rest = ended{err}
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(&read, rest), r.Body}
}

// ended is a body that ends with an error.
type ended struct{ err error }

func (e ended) Read([]byte) (int, error) { return 0, e.err }

// bounded bounds how many requests run at once, and each one's time. A server
// that has much to do is healthy, and says so.
func bounded(running chan struct{}, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == healthPath {
			next.ServeHTTP(w, r)
			return
		}
		// Where many run, who has not sent all that is to be read must wait
		// outside: else callers who never finish would take every place.
		if len(running) >= cap(running)/2 {
			finish(r)
		}
		select {
		case running <- struct{}{}:
			defer func() { <-running }()
		default:
			h := w.Header()
			h.Set("Content-Type", "application/json")
			h.Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, `{"error":"temporarily_unavailable","code":"service_unavailable","message":"the server is busy, try again","status":503}`)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
