package server_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"deputy/internal/client"
	"deputy/internal/deputytest"
	"deputy/internal/server"
)

func TestRateLimitOfAPrincipal(t *testing.T) {
	clock := deputytest.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	wait, err := server.Limiter("2", clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if d := wait("ann"); d != 0 {
			t.Errorf("within the limit: wait %v", d)
		}
	}
	for range 3 { // who is told to wait is not set back
		if d := wait("ann"); d != 500*time.Millisecond {
			t.Errorf("the third: wait %v", d)
		}
	}
	if d := wait("bob"); d != 0 {
		t.Errorf("somebody else: wait %v", d)
	}
	clock.Advance(500 * time.Millisecond)
	if d := wait("ann"); d != 0 {
		t.Errorf("half a second later: wait %v", d)
	}
	for _, bad := range []string{"0", "-1", "many", "NaN", "Inf"} {
		if _, err := server.Limiter(bad, clock.Now); err == nil {
			t.Errorf("%q is a limit", bad)
		}
	}
	none, err := server.Limiter("", clock.Now)
	if err != nil || none("ann") != 0 {
		t.Error("a limit that nobody set")
	}
}

func TestRequestsAtOnce(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	h := server.Bounded(1, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			return
		}
		if _, timed := r.Context().Deadline(); !timed {
			t.Error("a request without an end")
		}
		entered <- struct{}{}
		<-leave
	}))
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w
	}
	ask := func() *httptest.ResponseRecorder { return get("/zones") }
	first := make(chan *httptest.ResponseRecorder)
	go func() { first <- ask() }()
	<-entered
	if w := get("/healthz"); w.Code != 200 {
		t.Errorf("/healthz of a busy server: %d", w.Code)
	}
	if w := ask(); w.Code != 503 || w.Header().Get("Retry-After") != "1" {
		t.Errorf("one too many: %d %v", w.Code, w.Header())
	}
	leave <- struct{}{}
	if w := <-first; w.Code != 200 {
		t.Errorf("the first: %d", w.Code)
	}
	go func() { first <- ask() }()
	<-entered
	leave <- struct{}{}
	if w := <-first; w.Code != 200 {
		t.Errorf("after it: %d", w.Code)
	}
}

// TestRateLimit asks too often at every door.
func TestRateLimit(t *testing.T) {
	clock := deputytest.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	s, c := openAt(t, clock.Now, map[string]string{"DEPUTY_RATE_LIMIT": "1"}, io.Discard)
	serve(t, s)
	account, err := client.ReadAccount(c.BootstrapFile())
	if err != nil {
		t.Fatal(err)
	}
	account.BaseURL = s.ListensOn()
	manage := account.Open()
	do := func(method, path string, in, out any) error {
		clock.Advance(time.Second)
		return manage.Do(t.Context(), method, path, in, out)
	}
	var zone, app, credential made
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(do("POST", "/zones", map[string]any{"name": "Limited"}, &zone))
	must(do("POST", "/zones/"+zone.ID+"/applications", map[string]any{"name": "Agent", "identifier": "agent"}, &app))
	must(do("POST", "/zones/"+zone.ID+"/application-credentials", map[string]any{"application_id": app.ID, "type": "password"}, &credential))
	bearer, err := manage.Bearer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	call := func(method, path, body, authorization string) (int, string) {
		r, err := http.NewRequest(method, s.ListensOn()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", authorization)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		return answer.StatusCode, answer.Header.Get("Retry-After")
	}
	basic := func(id, secret string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
	}
	const grant = "grant_type=client_credentials"
	for name, ask := range map[string]func() (int, string){
		"management API": func() (int, string) { return call("GET", "/zones", "", "Bearer "+bearer) },
		"management token": func() (int, string) {
			return call("POST", "/service-account-token", grant, basic(account.ClientID, account.ClientSecret))
		},
		"zone token": func() (int, string) {
			return call("POST", "/z/"+zone.ID+"/oauth/2/token", grant, basic(credential.Identifier, credential.Password))
		},
	} {
		clock.Advance(time.Second)
		if status, _ := ask(); status == 429 {
			t.Errorf("%s: the first is one too many", name)
		}
		if status, after := ask(); status != 429 || after == "" || after == "0" {
			t.Errorf("%s: the second in a second: %d, Retry-After %q", name, status, after)
		}
	}
}
