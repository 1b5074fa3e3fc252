package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"deputy/internal/deputy"
)

// Ages of documents where a Source does not say.
const (
	defaultMinAge     = time.Minute
	defaultMaxAge     = 5 * time.Minute
	unstatedAge       = 5 * time.Minute // when the answer's headers are silent
	defaultFailureAge = 30 * time.Second
	defaultRefreshGap = time.Minute
)

const (
	maxRedirects = 3
	// maxETag is the longest validator kept; a longer one is not worth it.
	maxETag = 512
	// leastWeight makes the cache's bound in bytes a bound in entries too.
	leastWeight = 4 << 10
)

// Source is a document that a tenant's URL names, and how it is to be had. The
// zero values fit a JWK set.
type Source struct {
	// Zone is the zone on whose behalf the document is fetched; empty outside
	// zones. It decides whose circuit counts, not which document is found.
	Zone deputy.ZoneID
	URL  string
	// Accept is the media type asked for; empty means application/json.
	Accept string
	// MaxBytes bounds the document; 0 means 64 KiB.
	MaxBytes int64
	// Timeout bounds one fetch with its redirects; 0 means 5 s.
	Timeout time.Duration
	// Redirects is how many redirects within scheme, host and port are
	// followed, at most 3. No other redirect ever is.
	Redirects int
	// MinAge and MaxAge bound how long the document is used before the host is
	// asked again, whatever its headers say; 0 means 1 min and 5 min.
	MinAge, MaxAge time.Duration
	// FailureAge is how long a failed fetch is remembered; 0 means 30 s.
	FailureAge time.Duration
	// RefreshGap is the least time between two fetches that Refresh forces; 0
	// means 1 min.
	RefreshGap time.Duration
}

// Document is what a Source's URL answered with status 200. It is shared and
// must not be changed. The same content, revalidated or remembered, is the
// same pointer: parsed forms may be kept by it.
type Document struct {
	Body        []byte
	ContentType string
}

// entry is all that is known about a document. It is a value: only the flight
// of its key replaces it.
type entry struct {
	document  *Document // nil before the first success
	etag      string
	fetchedAt time.Time
	lifetime  time.Duration
	stated    bool // lifetime comes from headers

	failure  error // nil after a success
	failedAt time.Time

	forcedAt time.Time // when Refresh last fetched
}

func entryWeight(key string, e *entry) uint32 {
	weight := len(key) + len(e.etag) + 512
	if e.document != nil {
		weight += cap(e.document.Body) + len(e.document.ContentType)
	}
	return uint32(max(weight, leastWeight))
}

// Get returns the document, remembered while it is fresh, else fetched (with
// If-None-Match where the host gave a validator). Callers who want the same
// document at the same time share one fetch, which goes on when one of them
// leaves. A failure is remembered for FailureAge. Errors: Invalid if the URL
// can never be fetched, Unavailable otherwise; the latter wraps the context's
// error when ctx ended first.
func (f *Fetcher) Get(ctx context.Context, s Source) (*Document, error) {
	return f.document(ctx, s, false)
}

// Refresh returns the document fetched anew, because what is remembered lacks
// something that it ought to have, such as a key id. Within RefreshGap of the
// last time it does what Get does, so that made-up key ids cost no fetches. A
// failure leaves the remembered document to Get.
func (f *Fetcher) Refresh(ctx context.Context, s Source) (*Document, error) {
	return f.document(ctx, s, true)
}

func (f *Fetcher) document(ctx context.Context, s Source, force bool) (*Document, error) {
	u, err := f.rules.parseURL(s.URL)
	if err != nil {
		return nil, err
	}
	s = s.withDefaults()
	key := fmt.Sprintf("%s %d %d %s", s.Accept, s.MaxBytes, s.Redirects, u)
	if _, d, known, err := f.look(key, s, force); known {
		return d, err
	}
	flight := f.flights.DoChan(key, func() (any, error) {
		return f.fly(context.WithoutCancel(ctx), s, u, key, force)
	})
	select {
	case landed := <-flight:
		if landed.Err != nil {
			return nil, landed.Err
		}
		return landed.Val.(*Document), nil
	case <-ctx.Done():
		return nil, unavailable(u, "did not answer before the request ended", ctx.Err())
	}
}

func (s Source) withDefaults() Source {
	s.Accept = cmp.Or(s.Accept, "application/json")
	s.MaxBytes = cmp.Or(s.MaxBytes, defaultMaxBytes)
	s.Redirects = min(s.Redirects, maxRedirects)
	s.MinAge = cmp.Or(s.MinAge, defaultMinAge)
	s.MaxAge = cmp.Or(s.MaxAge, defaultMaxAge)
	s.FailureAge = cmp.Or(s.FailureAge, defaultFailureAge)
	s.RefreshGap = cmp.Or(s.RefreshGap, defaultRefreshGap)
	return s
}

// look returns what is remembered under key, and whether that answers the
// call: a forced one only when the last is less than RefreshGap ago.
func (f *Fetcher) look(key string, s Source, force bool) (e entry, d *Document, known bool, err error) {
	if kept, ok := f.documents.GetIfPresent(key); ok {
		e = *kept
	}
	now := f.now()
	if force && now.Sub(e.forcedAt) >= s.RefreshGap {
		return e, nil, false, nil
	}
	d, known, err = e.remembered(s, now)
	return e, d, known, err
}

// remembered returns the document if it is fresh for s, or the failure if it
// is recent; known is false when the host must be asked.
func (e entry) remembered(s Source, now time.Time) (d *Document, known bool, err error) {
	age := unstatedAge
	if e.stated {
		age = e.lifetime
	}
	switch {
	case e.document != nil && now.Sub(e.fetchedAt) < min(max(age, s.MinAge), s.MaxAge):
		return e.document, true, nil
	case e.failure != nil && now.Sub(e.failedAt) < s.FailureAge:
		return nil, true, e.failure
	}
	return nil, false, nil
}

// fly is the one fetch of a key under way. It looks again first, since another
// may have landed between the caller's look and this start.
func (f *Fetcher) fly(ctx context.Context, s Source, u *url.URL, key string, force bool) (*Document, error) {
	e, d, known, err := f.look(key, s, force)
	if known {
		return d, err
	}
	ctx, cancel := limited(ctx, s.Timeout)
	defer cancel()
	res, err := f.follow(ctx, s, u, e.etag)
	if errors.Is(err, errCircuitOpen) {
		return nil, err // nothing was asked, so nothing is learned
	}
	now := f.now()
	if force {
		e.forcedAt = now
	}
	if err != nil {
		e.failure, e.failedAt = err, now
		f.documents.Set(key, &e)
		return nil, err
	}
	e = e.succeeded(res, now)
	f.documents.Set(key, &e)
	return e.document, nil
}

// succeeded returns e after an answer of 200, or of 304 to its validator.
func (e entry) succeeded(res *Response, now time.Time) entry {
	lifetime, stated := freshness(res.Header, now)
	if res.Status == http.StatusOK {
		e.document = &Document{Body: res.Body, ContentType: res.Header.Get("Content-Type")}
		e.etag = ""
	} else if !stated {
		lifetime, stated = e.lifetime, e.stated // a 304 updates only what it carries (RFC 9111 §3.2)
	}
	if etag := res.Header.Get("ETag"); etag != "" && len(etag) <= maxETag {
		e.etag = etag
	}
	e.failure, e.fetchedAt = nil, now
	e.lifetime, e.stated = lifetime, stated
	return e
}

// follow fetches u, with as many redirects within its origin as s allows, and
// returns an answer of 200, or 304 if etag is given. Each target is checked as
// a URL of its own.
func (f *Fetcher) follow(ctx context.Context, s Source, u *url.URL, etag string) (*Response, error) {
	for hops := 0; ; hops++ {
		res, err := f.fetch(ctx, s, u, etag)
		if err != nil {
			return nil, err
		}
		switch res.Status {
		case http.StatusOK:
			return res, nil
		case http.StatusNotModified:
			if etag != "" {
				return res, nil
			}
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
			http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
			if hops < s.Redirects {
				if u, err = f.redirected(u, res.Header.Get("Location")); err != nil {
					return nil, err
				}
				continue
			}
			return nil, unavailable(u, "redirects further than is followed", errUnwanted)
		}
		return nil, unavailable(u, fmt.Sprintf("answered with status %d", res.Status), errUnwanted)
	}
}

// fetch asks for u once.
func (f *Fetcher) fetch(ctx context.Context, s Source, u *url.URL, etag string) (*Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, deputy.Errorf(deputy.Invalid, "the URL is malformed").Because(err)
	}
	req.Header.Set("Accept", s.Accept)
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	return f.exchange(s.Zone, req, s.MaxBytes)
}

// redirected returns where location leads from u, if it stays in u's origin.
func (f *Fetcher) redirected(u *url.URL, location string) (*url.URL, error) {
	next, err := u.Parse(location)
	if err == nil {
		next.Fragment = "" // for who shows the document, not who fetches it
		next, err = f.rules.parseURL(next.String())
	}
	if err == nil && origin(next) != origin(u) {
		err = fmt.Errorf("redirect to %s", origin(next))
	}
	if err != nil {
		return nil, unavailable(u, "redirects to another place, which is not followed", err)
	}
	return next, nil
}
