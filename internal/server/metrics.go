package server

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"deputy/internal/oauth"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// meters is what a node counts. They are made only where somebody listens: a
// nil *meters counts nothing. Whatever is on the way of a token is resolved
// before the first one comes; labels are of closed sets, and never a zone, a
// client or a person.
type meters struct {
	registry  *prometheus.Registry
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	routes    table[string, *routeMeter]

	decisions *prometheus.CounterVec
	decided   table[[2]string, prometheus.Counter]
	built     map[bool]prometheus.Counter

	members prometheus.Histogram
	commits prometheus.Histogram

	fetches *prometheus.CounterVec
	mails   *prometheus.CounterVec
	tasks   *prometheus.CounterVec
	events  *prometheus.CounterVec
	spans   *prometheus.CounterVec
	lines   *prometheus.CounterVec
}

// newMeters returns the meters, or nil where nobody listens.
func newMeters(cfg Config) *meters {
	if cfg.MetricsListen == "" {
		return nil
	}
	fast := []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}
	m := &meters{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "deputy_http_requests_total", Help: "Requests that were answered.",
		}, []string{"route", "status"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "deputy_http_request_duration_seconds", Help: "From the header of a request to its answer.", Buckets: fast,
		}, []string{"route"}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "deputy_token_decisions_total", Help: "Answers of the token endpoints of zones: issued, or the error code.",
		}, []string{"grant_type", "result"}),
		members: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "deputy_store_commit_members", Help: "Writes that shared one commit.", Buckets: prometheus.ExponentialBuckets(1, 2, 9),
		}),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "deputy_store_commit_duration_seconds", Help: "A commit of a group of writes, with its sync.", Buckets: fast,
		}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "deputy_upstream_requests_total", Help: "Outgoing requests to URLs of tenants: ok, failed, abandoned by the caller, refused because the host kept failing.",
		}, []string{"result"}),
		mails: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "deputy_mails_total", Help: "Attempts to hand a mail over: sent, delayed, given_up.",
		}, []string{"result"}),
		tasks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "deputy_tasks_total", Help: "Background tasks that were tried.",
		}, []string{"kind", "result"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "deputy_event_sink_events_total", Help: "Events that were handed to where the log is streamed: delivered, or failed and to be tried again.",
		}, []string{"sink", "result"}),
	}
	m.spans = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "deputy_trace_spans_total", Help: "Spans that the collector of traces took, or that were lost because it did not or too many waited.",
	}, []string{"result"})
	m.lines = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "deputy_log_lines_total", Help: "Lines of the log that the collector took, or that were lost to it because it did not or too many waited.",
	}, []string{"result"})
	snapshots := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "deputy_zone_snapshot_builds_total", Help: "Snapshots of zones that were made: loaded in full, or brought forward by changes.",
	}, []string{"how"})
	m.built = map[bool]prometheus.Counter{true: snapshots.WithLabelValues("full"), false: snapshots.WithLabelValues("changes")}
	for _, result := range []string{"ok", "failed", "abandoned", "refused"} {
		m.fetches.WithLabelValues(result)
	}
	for _, result := range []string{"sent", "delayed", "given_up"} {
		m.mails.WithLabelValues(result)
	}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.requests, m.durations, m.decisions, snapshots, m.members, m.commits, m.fetches, m.mails, m.tasks, m.events, m.spans, m.lines)
	return m
}

// committed returns what the store is to call for each commit.
func (m *meters) committed() func(members int, took time.Duration) {
	if m == nil {
		return nil
	}
	return func(members int, took time.Duration) {
		m.members.Observe(float64(members))
		m.commits.Observe(took.Seconds())
	}
}

// fetched returns what the fetcher is to call for each request.
func (m *meters) fetched() func(result string) {
	if m == nil {
		return nil
	}
	return func(result string) { m.fetches.WithLabelValues(result).Inc() }
}

// observer returns what the authorization servers are to call.
func (m *meters) observer() oauth.Observer {
	if m == nil {
		return oauth.Observer{}
	}
	return oauth.Observer{
		Decided: func(grantType, result string) {
			m.decided.get([2]string{grantType, result}, m.newDecision).Inc()
		},
		Built: func(full bool) { m.built[full].Inc() },
	}
}

func (m *meters) newDecision(of [2]string) prometheus.Counter {
	return m.decisions.WithLabelValues(of[0], of[1])
}

// mailed counts how an attempt to hand a mail over ended.
func (m *meters) mailed(result string) {
	if m != nil {
		m.mails.WithLabelValues(result).Inc()
	}
}

// delivered returns what counts the deliveries to a sink.
func (m *meters) delivered(sink string) func(events int, err error) {
	if m == nil {
		return nil
	}
	good, bad := m.events.WithLabelValues(sink, "delivered"), m.events.WithLabelValues(sink, "failed")
	return func(events int, err error) {
		if err != nil {
			bad.Add(float64(events))
			return
		}
		good.Add(float64(events))
	}
}

// spanned and lined return what counts the spans and lines that a collector took,
// and those that are lost.
func (m *meters) spanned() func(n int, sent bool) {
	if m == nil {
		return taken(nil)
	}
	return taken(m.spans)
}

func (m *meters) lined() func(n int, sent bool) {
	if m == nil {
		return taken(nil)
	}
	return taken(m.lines)
}

func taken(of *prometheus.CounterVec) func(n int, sent bool) {
	if of == nil {
		return func(int, bool) {}
	}
	sent, lost := of.WithLabelValues("sent"), of.WithLabelValues("lost")
	return func(n int, taken bool) {
		if taken {
			sent.Add(float64(n))
			return
		}
		lost.Add(float64(n))
	}
}

// tried counts a task.
func (m *meters) tried(kind string, err error) {
	if m == nil {
		return
	}
	result := "done"
	if err != nil {
		result = "failed"
	}
	m.tasks.WithLabelValues(kind, result).Inc()
}

// routeMeter is what one route counts.
type routeMeter struct {
	took     prometheus.Observer
	statuses table[int, prometheus.Counter]
}

// newRoute makes the meter of a route. Routes are patterns of ours, so there are
// only so many.
func (m *meters) newRoute(name string) *routeMeter {
	return &routeMeter{took: m.durations.WithLabelValues(name)}
}

// count counts an answer.
func (m *meters) count(route string, status int, took time.Duration) {
	r := m.routes.get(route, m.newRoute)
	r.took.Observe(took.Seconds())
	c, known := r.statuses.find(status)
	if !known {
		c = r.statuses.get(status, func(int) prometheus.Counter {
			return m.requests.WithLabelValues(route, strconv.Itoa(status))
		})
	}
	c.Inc()
}

// table is a map that is read without a lock or any memory, and written when it
// lacks something, which ends soon.
type table[K comparable, V any] struct {
	mu   sync.Mutex
	held atomic.Pointer[map[K]V]
}

func (t *table[K, V]) find(k K) (v V, known bool) {
	if held := t.held.Load(); held != nil {
		v, known = (*held)[k]
	}
	return v, known
}

// get returns what is held for k, which newly makes if there is nothing yet.
func (t *table[K, V]) get(k K, newly func(K) V) V {
	if v, known := t.find(k); known {
		return v
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if v, known := t.find(k); known {
		return v
	}
	held := map[K]V{}
	if old := t.held.Load(); old != nil {
		held = maps.Clone(*old)
	}
	held[k] = newly(k)
	t.held.Store(&held)
	return held[k]
}

// backlogTimeout bounds the questions of one scrape to the database.
const backlogTimeout = 5 * time.Second

// watch registers what is read when somebody asks.
func (m *meters) watch(s *Server, running func() int) {
	gauge := func(name, help string, read func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
	}
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "deputy_shadow_evaluations_dropped_total", Help: "Questions that shadow policies were not asked because too many waited.",
	}, func() float64 { return float64(s.oauth.ShadowsDropped()) }))
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "deputy_password_hashes_total", Help: "Hashes of people's passwords that were made, to keep or to compare.",
	}, func() float64 { return float64(s.oauth.PasswordHashes()) }))
	gauge("deputy_http_requests_running", "Requests being answered.", func() float64 { return float64(running()) })
	gauge("deputy_zone_snapshots", "Zones whose snapshot is in memory.", func() float64 {
		n, _ := s.oauth.Snapshots()
		return float64(n)
	})
	gauge("deputy_zone_snapshot_age_seconds", "Since the snapshot in memory that is the oldest was made or brought forward.", func() float64 {
		_, oldest := s.oauth.Snapshots()
		if oldest.IsZero() {
			return 0
		}
		return max(s.cfg.now().Sub(oldest).Seconds(), 0)
	})
	if _, ok := s.store.ArchiveLag(); ok {
		gauge("deputy_archive_lag_seconds", "For how long nothing of what was committed can be restored from the archive.", func() float64 {
			lag, _ := s.store.ArchiveLag()
			return lag.Seconds()
		})
	}
	m.registry.MustRegister(&backlog{server: s})
}

// backlog collects what waits in the database: the same on every node.
type backlog struct{ server *Server }

var (
	tasksDue     = prometheus.NewDesc("deputy_tasks_due", "Background tasks that are due and not being done.", []string{"kind"}, nil)
	tasksOldest  = prometheus.NewDesc("deputy_tasks_oldest_seconds", "For how long the task has been due that waits the longest.", []string{"kind"}, nil)
	logUnindexed = prometheus.NewDesc("deputy_log_index_lag_events", "Events that the index of the log which is the furthest behind does not have yet; below 4096 is normal.", nil, nil)
	logUngrown   = prometheus.NewDesc("deputy_log_tree_lag_events", "So of the tree of the log; below 256 is normal.", nil, nil)
	sinkLag      = prometheus.NewDesc("deputy_event_sink_lag_events", "Events of all logs that the sink does not have yet.", []string{"sink"}, nil)
	sinkLagAge   = prometheus.NewDesc("deputy_event_sink_lag_seconds", "For how long the first of them has been in the log.", []string{"sink"}, nil)
	databaseUp   = prometheus.NewDesc("deputy_database_up", "1 when the database answered this scrape.", nil, nil)
)

func (b *backlog) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{tasksDue, tasksOldest, logUnindexed, logUngrown, sinkLag, sinkLagAge, databaseUp} {
		ch <- d
	}
}

func (b *backlog) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), backlogTimeout)
	defer cancel()
	found, err := b.server.store.Backlog(ctx)
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	if err != nil {
		gauge(databaseUp, 0)
		return
	}
	gauge(databaseUp, 1)
	for _, w := range b.server.sinks {
		events, since, err := b.server.store.SinkLag(ctx, w.Name)
		if err != nil {
			continue
		}
		kind, _, _ := strings.Cut(w.Name, ":")
		gauge(sinkLag, float64(events), kind)
		age := 0.0
		if events > 0 {
			age = max(b.server.cfg.now().Sub(since).Seconds(), 0)
		}
		gauge(sinkLagAge, age, kind)
	}
	gauge(logUnindexed, float64(found.Unindexed))
	gauge(logUngrown, float64(found.Ungrown))
	for _, group := range append(slices.Clone(works), catalogWorks) {
		for kind := range group {
			due := found.Tasks[kind]
			gauge(tasksDue, float64(due.Due), kind)
			age := 0.0
			if due.Due > 0 {
				age = b.server.cfg.now().Sub(due.Oldest).Seconds()
			}
			gauge(tasksOldest, max(age, 0), kind)
		}
	}
}

// observed counts requests by the route that they took.
func (m *meters) observed(now func() time.Time, next http.Handler) http.Handler {
	seen := sync.Pool{New: func() any { return new(statusWriter) }}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sw := seen.Get().(*statusWriter)
		*sw = statusWriter{ResponseWriter: w, status: http.StatusOK, route: "other"}
		begun := now()
		defer func() {
			m.count(sw.route, sw.status, now().Sub(begun))
			*sw = statusWriter{}
			seen.Put(sw)
		}()
		next.ServeHTTP(sw, r)
	})
}
