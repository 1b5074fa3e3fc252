package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"

	"deputy/internal/deputy"
)

// ServeHTTP answers management calls, /openapi.json and /docs; for every other
// path it answers 404 as the API does.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.prepare()
	r = collapseSlashes(r)
	c := a.begin(r)
	ctx := context.WithValue(r.Context(), callKey{}, c)
	r = r.WithContext(ctx)
	h := w.Header()
	h.Set("X-Client-Request-ID", c.id)
	deputy.SpanOf(ctx).Set(deputy.SpanRequestID, c.id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	defer func() {
		if cause := recover(); cause != nil {
			recovered(w, r, cause)
		}
	}()
	_, pattern := a.mux.Handler(r)
	named, counted := w.(interface{ Route(name string) })
	if pattern == "" || dotted(r.URL) {
		if counted {
			named.Route("api/none")
		}
		a.outside(w, r)
		return
	}
	if counted {
		named.Route(pattern)
	}
	a.mux.ServeHTTP(w, r)
}

// collapseSlashes returns the request with every run of slashes in its path
// made one: clients join a base that ends in a slash with a path that starts
// with one, and do not follow redirects.
func collapseSlashes(r *http.Request) *http.Request {
	if !strings.Contains(r.URL.EscapedPath(), "//") {
		return r
	}
	clean := new(http.Request)
	*clean = *r
	u := *r.URL
	u.Path, u.RawPath = collapse(u.Path), collapse(u.RawPath)
	clean.URL = &u
	return clean
}

func collapse(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}

// dotted reports whether a path has . or .. segments, which the mux would
// answer with a redirect.
func dotted(u *url.URL) bool {
	for segment := range strings.SplitSeq(u.EscapedPath(), "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// outside answers a request that no route takes: 405 when only the method is
// wrong.
func (a *API) outside(w http.ResponseWriter, r *http.Request) {
	probe := &headerProbe{header: http.Header{}}
	if !dotted(r.URL) {
		a.mux.ServeHTTP(probe, r)
	}
	if probe.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", probe.header.Get("Allow"))
		writeProblem(w, newError(r.Context(), http.StatusMethodNotAllowed, CodeBadRequest, "the path does not take "+r.Method))
		return
	}
	writeProblem(w, problem(r.Context(), deputy.Errorf(deputy.NotFound, "there is nothing at this path")))
}

// headerProbe takes what the mux answers by itself and drops the body.
type headerProbe struct {
	header http.Header
	status int
}

func (p *headerProbe) Header() http.Header         { return p.header }
func (p *headerProbe) Write(b []byte) (int, error) { return len(b), nil }
func (p *headerProbe) WriteHeader(status int)      { p.status = status }

// recovered ends a request whose handler panicked.
func recovered(w http.ResponseWriter, r *http.Request, cause any) {
	if cause == http.ErrAbortHandler {
		panic(cause)
	}
	if r.Context().Err() != nil {
		return // the client went away while it was being answered
	}
	writeProblem(w, problem(r.Context(), fmt.Errorf("panic: %v\n%s", cause, debug.Stack())))
}
