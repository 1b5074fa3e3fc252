package server_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"deputy/internal/server"

	"go.uber.org/goleak"
	_ "modernc.org/sqlite"
)

// records collects a log that several goroutines write.
type records struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *records) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}

// open opens a server on a free port with the settings of env.
func open(t *testing.T, env map[string]string, log io.Writer) (*server.Server, server.Config) {
	t.Helper()
	return openAt(t, nil, env, log)
}

// openAt opens it with a clock.
func openAt(t *testing.T, now func() time.Time, env map[string]string, log io.Writer) (*server.Server, server.Config) {
	t.Helper()
	defaults := map[string]string{"DEPUTY_LISTEN": "127.0.0.1:0", "DEPUTY_DATA_DIR": t.TempDir()}
	c := server.Config{Now: now}
	err := c.Apply(func(string) bool { return false }, func(name string) (string, bool) {
		if value, ok := env[name]; ok {
			return value, true
		}
		value, ok := defaults[name]
		return value, ok
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.Open(t.Context(), c, log)
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

// serve runs a server until the test ends, which it must do without an error.
func serve(t *testing.T, s *server.Server) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	line, out := io.Pipe()
	go func() { ended <- s.Serve(ctx, out) }()
	said := make([]byte, 256)
	n, err := line.Read(said)
	if err != nil || string(said[:n]) != "listening on "+s.ListensOn()+"\n" {
		t.Errorf("the server said %q, %v", said[:n], err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
}

// get returns an answer with its body.
func get(t *testing.T, address string) (*http.Response, string) {
	t.Helper()
	answer, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

func TestHealth(t *testing.T) {
	log := &records{}
	s, c := open(t, nil, log)
	serve(t, s)
	for _, path := range []string{"/healthz", "/readyz"} {
		answer, body := get(t, s.URL()+path)
		if answer.StatusCode != 200 || body != `{"status":"ok"}`+"\n" || answer.Header.Get("Cache-Control") != "no-store" || answer.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %v %s", path, answer.StatusCode, answer.Header, body)
		}
	}

	// A database that lacks a migration this program needs.
	db, err := sql.Open("sqlite", filepath.Join(c.DataDir, "deputy.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("PRAGMA busy_timeout(5000); UPDATE goose_db_version SET is_applied = 0"); err != nil {
		t.Fatal(err)
	}
	answer, body := get(t, s.URL()+"/readyz")
	var told struct{ Status, Reason string }
	if err := json.Unmarshal([]byte(body), &told); err != nil || answer.StatusCode != 503 || told.Status != "unavailable" || !strings.Contains(told.Reason, "run deputy migrate") {
		t.Errorf("without its schema: %d %s", answer.StatusCode, body)
	}
	if answer, _ := get(t, s.URL()+"/healthz"); answer.StatusCode != 200 {
		t.Errorf("/healthz without the schema: %d", answer.StatusCode)
	}

	// What the engine says stays in the log.
	if _, err := db.Exec("DROP TABLE goose_db_version"); err != nil {
		t.Fatal(err)
	}
	answer, body = get(t, s.URL()+"/readyz")
	if answer.StatusCode != 503 || strings.Contains(body, "goose") {
		t.Errorf("without the table: %d %s", answer.StatusCode, body)
	}
	if !strings.Contains(log.String(), "no such table: goose_db_version") {
		t.Errorf("the log lacks the cause:\n%s", log)
	}
}

// Probes and the API answer below the public URL's path, and also where a
// proxy takes it away.
func TestAPublicURLWithAPath(t *testing.T) {
	s, _ := open(t, map[string]string{"DEPUTY_PUBLIC_URL": "https://id.example.com/deputy"}, io.Discard)
	defer s.Close()
	handler := s.HandlerAround(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "API "+r.URL.Path) }))
	for path, want := range map[string]string{
		"/healthz":              `{"status":"ok"}` + "\n",
		"/deputy/healthz":       `{"status":"ok"}` + "\n",
		"/deputy/readyz":        `{"status":"ok"}` + "\n",
		"/zones/x":              "API /zones/x",
		"/deputy/zones/x":       "API /zones/x",
		"/deputy":               "API /deputy",
		"/deputyzones":          "API /deputyzones",
		"/deputy/deputy/zones":  "API /deputy/zones",
		"/other/deputy/healthz": "API /other/deputy/healthz",
	} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if got := w.Body.String(); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestAPanicTellsTheCallerNothingAndTheLogEverything(t *testing.T) {
	log := &records{}
	s, _ := open(t, nil, log)
	defer s.Close()
	handler := s.HandlerAround(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("the secret of the house") }))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("GET", "/zones", nil))
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	if w.Code != 500 || w.Header().Get("Content-Type") != "application/json" || body["code"] != "internal_error" || body["error"] != "server_error" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if told := w.Body.String(); strings.Contains(told, "secret") || strings.Contains(told, ".go") || strings.Contains(told, "goroutine") {
		t.Errorf("the caller is told %s", told)
	}
	if !strings.Contains(log.String(), "the secret of the house") || !strings.Contains(log.String(), "server_test.go") {
		t.Errorf("the log lacks the cause or the stack:\n%s", log)
	}

	// net/http's own way to break off an answer stays its own.
	handler = s.HandlerAround(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer func() {
		if got := recover(); got != http.ErrAbortHandler {
			t.Errorf("recovered %v", got)
		}
	}()
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/zones", nil))
}

// The log at level debug has a line for each request; secrets in a query or a
// header are not in it.
func TestRequestsInTheLog(t *testing.T) {
	log := &records{}
	s, _ := open(t, map[string]string{"DEPUTY_LOG_LEVEL": "debug", "DEPUTY_LOG_FORMAT": "json"}, log)
	defer s.Close()
	handler := s.HandlerAround(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(418) }))
	r := httptest.NewRequest("GET", "/zones?filter=hidden", nil)
	r.Header.Set("Authorization", "Bearer hidden")
	handler.ServeHTTP(httptest.NewRecorder(), r)
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	var line struct {
		Msg, Method, Path string
		Status            int
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &line); err != nil || line.Msg != "request" || line.Method != "GET" || line.Path != "/zones" || line.Status != 418 {
		t.Errorf("%v: %s", err, log)
	}
	for _, path := range []string{"/login/invitations/hidden", "/invitations/hidden", "/invitations/hidden/accept"} {
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil))
	}
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/organizations/own/invitations/id", nil))
	if !strings.Contains(log.String(), "/invitations/[redacted]/accept") || !strings.Contains(log.String(), "/own/invitations/id") {
		t.Errorf("the log does not tell where the requests went:\n%s", log)
	}
	if strings.Contains(log.String(), "hidden") {
		t.Errorf("the log tells what it should not:\n%s", log)
	}
}

func TestMetricsHaveTheirOwnListener(t *testing.T) {
	address := freeAddress(t)
	s, _ := open(t, map[string]string{"DEPUTY_METRICS_LISTEN": address}, io.Discard)
	serve(t, s)
	for path, want := range map[string]string{"/metrics": "go_goroutines", "/debug/pprof/": "goroutine", "/debug/pprof/cmdline": "server.test"} {
		if answer, body := get(t, "http://"+address+path); answer.StatusCode != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.200s", path, answer.StatusCode, body)
		}
		if answer, _ := get(t, s.URL()+path); answer.StatusCode != 404 {
			t.Errorf("%s on the public listener: %d", path, answer.StatusCode)
		}
	}
	if answer, _ := get(t, "http://"+address+"/zones"); answer.StatusCode != 404 {
		t.Errorf("the API on the metrics listener: %d", answer.StatusCode)
	}
}

// freeAddress returns a loopback address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l := httptest.NewServer(nil)
	defer l.Close()
	return l.Listener.Addr().String()
}

func TestATakenMetricsAddressEndsTheServer(t *testing.T) {
	taken := httptest.NewServer(nil)
	defer taken.Close()
	s, _ := open(t, map[string]string{"DEPUTY_METRICS_LISTEN": taken.Listener.Addr().String()}, io.Discard)
	if err := s.Serve(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "--metrics-listen") {
		t.Errorf("%v", err)
	}
}

// A server that has ended leaves nothing running, and its address and data are
// free for the next.
func TestNothingIsLeftRunning(t *testing.T) {
	http.DefaultClient.CloseIdleConnections()
	before := goleak.IgnoreCurrent()
	folder := t.TempDir()
	for range 2 {
		s, _ := open(t, map[string]string{"DEPUTY_DATA_DIR": folder}, io.Discard)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(ctx, io.Discard) }()
		if answer, _ := get(t, s.URL()+"/readyz"); answer.StatusCode != 200 {
			t.Errorf("/readyz: %d", answer.StatusCode)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	s, _ := open(t, map[string]string{"DEPUTY_DATA_DIR": folder}, io.Discard)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
	goleak.VerifyNone(t, before)
}

// The warning of --dev cannot be missed.
func TestDevWarns(t *testing.T) {
	log := &records{}
	s, _ := open(t, map[string]string{"DEPUTY_DEV": "true"}, log)
	serve(t, s)
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "not for production") {
		t.Errorf("the log:\n%s", log)
	}
}
