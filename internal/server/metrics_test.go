package server_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"deputy/internal/server"
)

// metric returns the value of a series, written as it is served; -1 when it is
// not there.
func metric(t *testing.T, address, series string) float64 {
	t.Helper()
	_, body := get(t, "http://"+address+"/metrics")
	for line := range strings.Lines(body) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	return -1
}

func TestMetricsCountWhatIsDone(t *testing.T) {
	address := freeAddress(t)
	w := newNodes(t, 1, map[string]string{"DEPUTY_METRICS_LISTEN": address})
	node := w.nodes[0]
	for range 3 {
		w.signer(node, "")
	}
	for _, form := range []url.Values{
		{"grant_type": {"client_credentials"}, "resource": {"https://nowhere.example.com"}}, // invalid_target
		{"grant_type": {"password"}},
	} {
		r, err := http.NewRequest("POST", node.ListensOn()+"/z/"+w.zone+"/oauth/2/token", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(w.agent.id, w.agent.secret)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
	}
	get(t, node.ListensOn()+"/z/"+w.zone+"/nothing")
	get(t, node.ListensOn()+"/z/"+w.zone+"/.well-known/ssf-configuration")
	get(t, node.ListensOn()+"/z/"+w.zone+"/revocations")
	get(t, node.ListensOn()+"/nothing")
	get(t, node.ListensOn()+"/healthz")
	if got := metric(t, address, `deputy_http_requests_total{route="token",status="200"}`); got != 3 {
		t.Errorf("tokens by route: %v", got)
	}
	for series, want := range map[string]float64{
		`deputy_token_decisions_total{grant_type="client_credentials",result="issued"}`:         3,
		`deputy_token_decisions_total{grant_type="client_credentials",result="invalid_target"}`: 1,
		`deputy_token_decisions_total{grant_type="other",result="unsupported_grant_type"}`:      1,
		`deputy_http_request_duration_seconds_count{route="token"}`:                             5,
		`deputy_http_requests_total{route="POST /zones",status="200"}`:                          1,
		`deputy_http_requests_total{route="issuer/none",status="404"}`:                          1,
		`deputy_http_requests_total{route="ssf-configuration",status="200"}`:                    1,
		`deputy_http_requests_total{route="revocations",status="401"}`:                          1,
		`deputy_http_requests_total{route="api/none",status="404"}`:                             1,
		`deputy_http_requests_total{route="/healthz",status="200"}`:                             1,
		`deputy_zone_snapshots`:                           1,
		`deputy_database_up`:                              1,
		`deputy_upstream_requests_total{result="failed"}`: 0,
		`deputy_mails_total{result="given_up"}`:           0,
		`deputy_password_hashes_total`:                    0,
		`deputy_tasks_due{kind="mails:send"}`:             0,
		`deputy_log_tree_lag_events`:                      -2, // some
		`deputy_log_index_lag_events`:                     -2,
		`deputy_store_commit_members_count`:               -2,
		`deputy_store_commit_duration_seconds_count`:      -2,
		`deputy_zone_snapshot_builds_total{how="full"}`:   -2,
		`process_cpu_seconds_total`:                       -2,
	} {
		got := metric(t, address, series)
		if want == -2 && got <= 0 || want >= 0 && got != want {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}
	w.clock.Advance(time.Minute)
	if got := metric(t, address, "deputy_zone_snapshot_age_seconds"); got != 60 {
		t.Errorf("the snapshot is %v seconds old", got)
	}
	_, all := get(t, "http://"+address+"/metrics")
	for _, secret := range []string{w.zone, w.agent.id} {
		if strings.Contains(all, secret) {
			t.Errorf("a metric names %s", secret)
		}
	}
}

// Counting a request is on the way of every token.
func TestCountingTakesNoMemory(t *testing.T) {
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.(interface{ Route(string) }).Route("token")
		w.WriteHeader(http.StatusOK)
	})
	counted := server.Observed(time.Now, next)
	decided := server.Decided()
	w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil)
	if n := testing.AllocsPerRun(1000, func() {
		counted.ServeHTTP(w, r)
		decided("client_credentials", "issued")
	}); n >= 1 {
		t.Errorf("%v allocations for each request", n)
	}
}

func BenchmarkCounting(b *testing.B) {
	counted := server.Observed(time.Now, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.(interface{ Route(string) }).Route("token")
	}))
	decided := server.Decided()
	w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil)
	b.ReportAllocs()
	for b.Loop() {
		counted.ServeHTTP(w, r)
		decided("client_credentials", "issued")
	}
}
