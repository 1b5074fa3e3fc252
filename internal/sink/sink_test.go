package sink_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/sink"
	"deputy/internal/store"

	"github.com/parquet-go/parquet-go"
)

const organization = deputy.OrganizationID("org00000000000000000000001")

// people seals by turning around.
type people struct{}

func (people) SealPersonal(_ context.Context, _ deputy.ID, _ deputy.EventID, b []byte) ([]byte, error) {
	b = slices.Clone(b)
	slices.Reverse(b)
	return b, nil
}

func (p people) OpenPersonal(ctx context.Context, id deputy.EventID, b []byte) ([]byte, error) {
	return p.SealPersonal(ctx, "", id, b)
}

// world is a store with a log.
type world struct {
	*testing.T
	*store.Store
	path  string
	clock *deputytest.Clock
	ids   []string // of the events, in order
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, clock: deputytest.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)), path: deputytest.SQLite(t)}
	w.Store = w.node()
	return w
}

// node opens the store once more.
func (w *world) node() *store.Store {
	w.Helper()
	s, err := store.Open(w.Context(), store.Config{
		Path: w.path, CursorKey: make([]byte, 32), Now: w.clock.Now, Sealing: people{}, Migrate: true,
	})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { s.Close() })
	return s
}

// log appends n events.
func (w *world) log(n int) {
	w.Helper()
	for range n {
		w.append(&deputy.Event{Type: "credentials:issue", Outcome: deputy.Success, Actor: deputy.Actor{Type: "application", ID: "app"}})
	}
}

func (w *world) append(e *deputy.Event) {
	w.Helper()
	w.clock.Advance(time.Millisecond)
	now := deputy.Time(w.clock.Now())
	e.ID, e.Time, e.OrganizationID = deputy.EventID(deputy.NewID(now)), now, organization
	if err := w.Write(w.Context(), e, nil); err != nil {
		w.Fatal(err)
	}
	w.ids = append(w.ids, string(e.ID))
}

func (w *world) worker(name string, to sink.Destination) *sink.Worker {
	return &sink.Worker{
		Name: name, To: to, Log: w.Store, Now: w.clock.Now, Most: 10, Version: "1.2.3", Logger: slog.New(slog.DiscardHandler),
	}
}

// round does a round, which must not fail.
func (w *world) round(of *sink.Worker) (more bool) {
	w.Helper()
	more, err := of.Round(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return more
}

// all does rounds until there is no more.
func (w *world) all(of *sink.Worker) {
	w.Helper()
	for w.round(of) {
	}
}

// files returns the ids of the events in the files of a folder, in their order.
func files(t *testing.T, dir string) (ids []string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, string(organization), "*", "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(raw) {
			ids = append(ids, idOf(t, line))
		}
	}
	return ids
}

func idOf(t *testing.T, line []byte) string {
	t.Helper()
	var e sink.Event
	if err := json.Unmarshal(line, &e); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return e.Metadata.UID
}

func TestAnEventInTheWordsOfOCSF(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append(&deputy.Event{
		Type: "credentials:issue", Outcome: deputy.Failure, Error: "access_denied", ErrorDetail: "forbidden by policy", ZoneID: "zone", RequestID: "request",
		Actor:    deputy.Actor{Type: "application", ID: "app", IdentityChain: []deputy.Actor{{Type: "user", ID: "person", Identifier: "ann@example.com"}}},
		Resource: &deputy.EventResource{ID: "resource", Identifier: "https://api.example.com"}, UserID: "person", UserKey: "key",
		ScopesRequested: []string{"read"}, IP: "192.0.2.1", UserAgent: "agent/1", GrantType: "client_credentials",
	})
	w.append(&deputy.Event{Type: "applications:create", Outcome: deputy.Success, Actor: deputy.Actor{Type: "service_account", ID: "boss"}, Target: &deputy.Target{Type: "application", ID: "app"}})
	entries, err := w.LogEntries(t.Context(), deputy.LogQuery{Organization: organization, From: 1, Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	e, err := sink.Map(t.Context(), organization, entries[0], nil, "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := json.Marshal(e)
	if e.ClassUID != 3003 || e.ActivityID != 1 || e.TypeUID != 300301 || e.CategoryUID != 3 || e.StatusID != 2 || e.StatusCode != "access_denied" || e.SeverityID != 2 ||
		e.Actor.User.UID != "app" || e.User == nil || e.User.UID != "person" || e.Service.Name != "https://api.example.com" || e.Metadata.Sequence != 1 ||
		e.Metadata.Correlation != "request" || e.Unmapped.LeafHash != base64.StdEncoding.EncodeToString(entries[0].Leaf[:]) || e.Time != w.clock.Now().Add(-time.Millisecond).UnixMilli() {
		t.Errorf("a refusal: %s", raw)
	}
	if hash := deputy.LeafHash([]byte(e.RawData)); hash != entries[0].Leaf {
		t.Error("raw_data is not what the leaf hash is of")
	}
	for _, personal := range []string{"192.0.2.1", "agent/1", "ann@example.com"} {
		if bytes.Contains(raw, []byte(personal)) {
			t.Errorf("%s left without being asked for: %s", personal, raw)
		}
	}
	open, err := sink.Map(t.Context(), organization, entries[0], people{}, "1.2.3")
	if err != nil || open.SrcEndpoint.IP != "192.0.2.1" || open.HTTPRequest.UserAgent != "agent/1" {
		t.Errorf("asked for, it is %+v, %v", open, err)
	}
	made, err := sink.Map(t.Context(), organization, entries[1], nil, "1.2.3")
	if err != nil || made.ClassUID != 3004 || made.ActivityID != 1 || made.Entity == nil || *made.Entity != (sink.Entity{UID: "app", Type: "application"}) || made.StatusID != 1 {
		t.Errorf("a creation: %+v, %v", made, err)
	}
	broken := deputy.LogEntry{Seq: 3, Record: []byte(`{"id": 5`)}
	if kept, err := sink.Map(t.Context(), organization, broken, nil, ""); err != nil || kept.RawData != `{"id": 5` {
		t.Errorf("an unreadable record: %+v, %v", kept, err)
	}
}

// dying is a log whose cursor cannot be moved, as if the node died before.
type dying struct{ sink.Log }

func (d dying) AdvanceSink(ctx context.Context, name string, fence int64, lease time.Duration, o deputy.OrganizationID, n int64) error {
	if o != "" {
		return errors.New("died")
	}
	return d.Log.AdvanceSink(ctx, name, fence, lease, o, n)
}

func TestFilesHaveEachEventOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "events")
	folder := &sink.Folder{Dir: dir, Format: sink.JSONLines}
	w.log(25)
	first := w.worker("folder:1", folder)
	w.round(first)
	first.Log = dying{w.Store}
	if _, err := first.Round(t.Context()); err == nil {
		t.Fatal("the cursor moved")
	}
	if got := files(t, dir); !slices.Equal(got, w.ids[:20]) {
		t.Errorf("%d events when the node died", len(got))
	}
	w.clock.Advance(2 * time.Minute) // the lease runs out
	second := w.worker("folder:1", folder)
	second.Log, second.Most = w.node(), 12 // what comes again has another size
	w.all(second)
	if got := files(t, dir); !slices.Equal(got, w.ids) {
		t.Errorf("%d of %d events", len(got), len(w.ids))
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder is %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, string(organization), "*", ".events-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestFewEventsWaitForMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	worker := w.worker("folder:1", &sink.Folder{Dir: dir, Format: sink.JSONLines})
	worker.Hold = time.Minute
	w.log(3)
	if w.round(worker); len(files(t, dir)) != 0 {
		t.Error("three events did not wait")
	}
	w.clock.Advance(time.Minute)
	if w.round(worker); len(files(t, dir)) != 3 {
		t.Error("three events waited for too long")
	}
	w.log(10)
	if w.round(worker); len(files(t, dir)) != 13 {
		t.Error("a full batch waited")
	}
}

func TestOneOfTwoNodesDelivers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir, elsewhere := t.TempDir(), t.TempDir()
	w.log(5)
	a := w.worker("folder:1", &sink.Folder{Dir: dir, Format: sink.JSONLines})
	b := w.worker("folder:1", &sink.Folder{Dir: elsewhere, Format: sink.JSONLines})
	b.Log = w.node()
	w.round(a)
	w.round(b)
	w.log(5)
	w.round(b)
	if got := files(t, elsewhere); len(got) != 0 {
		t.Errorf("both delivered: %v", got)
	}
	w.clock.Advance(2 * time.Minute) // a is frozen
	if w.round(b); !slices.Equal(files(t, elsewhere), w.ids[5:]) {
		t.Errorf("the other went on with %v", files(t, elsewhere))
	}
	w.log(1)
	if w.round(a); len(files(t, dir)) != 5 {
		t.Errorf("who lost the lease went on: %v", files(t, dir))
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	b.Run(ctx) // which ends at once, and gives the lease back
	if w.round(a); !slices.Equal(files(t, dir)[5:], w.ids[10:]) {
		t.Errorf("after the other ended: %v", files(t, dir))
	}
}

func TestParquetHasTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	w.log(7)
	w.round(w.worker("folder:1", &sink.Folder{Dir: dir, Format: sink.Parquet}))
	names, _ := filepath.Glob(filepath.Join(dir, string(organization), "2026-03-01", "*.parquet"))
	if len(names) != 1 {
		t.Fatalf("%v", names)
	}
	rows, err := parquet.ReadFile[sink.Event](names[0])
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, r := range rows {
		ids = append(ids, r.Metadata.UID)
		if r.ClassUID != 3003 || r.Unmapped.LeafHash == "" || r.Entity != nil {
			t.Errorf("%+v", r)
		}
	}
	if !slices.Equal(ids, w.ids) {
		t.Errorf("%v", ids)
	}
}

// receiver is a webhook that refuses while it is told to.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	statuses []int // of the next requests; then 200
	ids      []string
	names    map[string]int
	wrong    error
}

func newReceiver(t *testing.T, check func(*http.Request, []byte) error) *receiver {
	r := &receiver{names: map[string]int{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		body, err := io.ReadAll(q.Body)
		if err == nil {
			err = check(q, body)
		}
		r.wrong = errors.Join(r.wrong, err)
		r.names[q.Header.Get("Webhook-Id")]++
		if len(r.statuses) > 0 {
			status := r.statuses[0]
			r.statuses = r.statuses[1:]
			w.WriteHeader(status)
			return
		}
		var events []sink.Event
		if err := json.Unmarshal(body, &events); err != nil {
			for line := range bytes.Lines(body) {
				r.ids = append(r.ids, idOf(t, line))
			}
		}
		for _, e := range events {
			r.ids = append(r.ids, e.Metadata.UID)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func TestAWebhookIsSignedAndTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const secret = "a secret of at least thirty-two characters"
	r := newReceiver(t, func(q *http.Request, body []byte) error {
		mac := hmac.New(sha256.New, []byte(secret))
		fmt.Fprintf(mac, "%s.%s.%s", q.Header.Get("Webhook-Id"), q.Header.Get("Webhook-Timestamp"), body)
		if got := q.Header.Get("Webhook-Signature"); got != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) || q.Header.Get("Content-Type") != "application/json" {
			return fmt.Errorf("%v", q.Header)
		}
		return nil
	})
	worker := w.worker("webhook:1", &sink.Webhook{URL: r.URL, Secret: deputy.Conceal(secret), Client: r.Client(), Now: w.clock.Now})
	w.log(15)
	r.statuses = []int{500, 302, 403}
	for range 3 {
		if _, err := worker.Round(t.Context()); err == nil {
			t.Error("a refusal counted as a delivery")
		}
	}
	w.all(worker)
	if !slices.Equal(r.ids, w.ids) {
		t.Errorf("%d of %d events arrived", len(r.ids), len(w.ids))
	}
	if got := r.names[string(organization)+".1.10"]; got != 4 {
		t.Errorf("the first batch came %d times under its id: %v", got, r.names)
	}
	if r.wrong != nil {
		t.Error(r.wrong)
	}
}

func TestARunningWorkerOutlivesItsReceiver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newReceiver(t, func(*http.Request, []byte) error { return nil })
	r.statuses = []int{503}
	worker := w.worker("webhook:1", &sink.Webhook{URL: r.URL, Secret: deputy.Conceal("s"), Client: r.Client(), Now: w.clock.Now})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		worker.Run(ctx)
	}()
	w.log(3)
	for range 600 {
		r.mu.Lock()
		n := len(r.ids)
		r.mu.Unlock()
		if n >= 3 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	<-ended
	if !slices.Equal(r.ids, w.ids) {
		t.Errorf("%v arrived, want %v", r.ids, w.ids)
	}
}

func TestObjectsAreSigned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var paths []string
	r := newReceiver(t, func(q *http.Request, body []byte) error {
		paths = append(paths, q.Method+" "+q.URL.Path)
		sum := sha256.Sum256(body)
		authorization := q.Header.Get("Authorization")
		if q.Header.Get("X-Amz-Content-Sha256") != hex.EncodeToString(sum[:]) || q.Header.Get("X-Amz-Date") != "20260301T120000Z" ||
			!strings.HasPrefix(authorization, "AWS4-HMAC-SHA256 Credential=AKID/20260301/eu-west-1/s3/aws4_request, SignedHeaders=") ||
			!strings.Contains(authorization, "host") {
			return fmt.Errorf("%v", q.Header)
		}
		return nil
	})
	to, err := sink.ParseS3("s3://bucket/audit/logs?region=eu-west-1&endpoint=" + r.URL)
	if err != nil {
		t.Fatal(err)
	}
	to.Format, to.Client, to.ID, to.Secret = sink.JSONLines, r.Client(), "AKID", deputy.Conceal("SECRET")
	at := w.clock.Now()
	to.Now = func() time.Time { return at }
	worker := w.worker("s3:1", to)
	w.log(12)
	r.statuses = []int{503}
	if _, err := worker.Round(t.Context()); err == nil {
		t.Error("a refusal counted as a delivery")
	}
	w.all(worker)
	base := "PUT /bucket/audit/logs/" + string(organization) + "/2026-03-01/"
	if want := []string{base + "00000000000000000001.jsonl", base + "00000000000000000001.jsonl", base + "00000000000000000011.jsonl"}; !slices.Equal(paths, want) {
		t.Errorf("%v", paths)
	}
	if r.wrong != nil || !slices.Equal(r.ids, w.ids) {
		t.Errorf("%v; %d of %d events", r.wrong, len(r.ids), len(w.ids))
	}
	for _, bad := range []string{"s3://bucket", "https://bucket/x?region=r", "s3:///x?region=r", "s3://b/x?region=r&endpoint=ftp://x"} {
		if _, err := sink.ParseS3(bad); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

// collector takes messages of syslog.
type collector struct {
	net.Listener
	mu       sync.Mutex
	messages []string
	hangUp   bool // after the first bytes of the next connection
}

func (c *collector) run(t *testing.T) {
	for {
		conn, err := c.Accept()
		if err != nil {
			return
		}
		in := bufio.NewReader(conn)
		for {
			length, err := in.ReadString(' ')
			if err != nil {
				break
			}
			c.mu.Lock()
			hangUp := c.hangUp
			c.hangUp = false
			c.mu.Unlock()
			if hangUp {
				break
			}
			n, err := strconv.Atoi(strings.TrimSpace(length))
			message := make([]byte, max(n, 0))
			if err == nil {
				_, err = io.ReadFull(in, message)
			}
			if err != nil {
				t.Errorf("a message of %q bytes: %v", length, err)
				break
			}
			c.mu.Lock()
			c.messages = append(c.messages, string(message))
			c.mu.Unlock()
		}
		conn.Close()
	}
}

func TestSyslogOverTLS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// The certificate of a web server does for a collector as well.
	web := httptest.NewTLSServer(nil)
	config := web.TLS.Clone()
	config.NextProtos = nil
	web.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{Listener: tlsListener(l, config), hangUp: true}
	go c.run(t)
	t.Cleanup(func() { c.Close() })
	to, err := sink.ParseSyslog("tls://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	worker := w.worker("syslog:1", to)
	w.log(4)
	if _, err := worker.Round(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
	to.Trust(web.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs)
	if _, err := worker.Round(t.Context()); err == nil {
		t.Error("a collector that hung up has got it")
	}
	w.all(worker)
	w.log(3)
	w.all(worker)
	to.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []string
	for _, m := range c.messages {
		header, body, _ := strings.Cut(m, "\xef\xbb\xbf")
		if fields := strings.Split(header, " "); len(fields) != 8 || fields[0] != "<110>1" || fields[3] != "deputy" || fields[5] != "credentials:issue" || fields[6] != "-" {
			t.Errorf("%q", header)
		}
		ids = append(ids, idOf(t, []byte(body)))
	}
	if !slices.Equal(ids, w.ids) {
		t.Errorf("%d of %d messages arrived", len(ids), len(w.ids))
	}
	for _, bad := range []string{"udp://x:514", "tls://", "tcp://x:1/y", "x:1"} {
		if _, err := sink.ParseSyslog(bad); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

// tlsListener is l over TLS.
func tlsListener(l net.Listener, c *tls.Config) net.Listener { return tls.NewListener(l, c) }
