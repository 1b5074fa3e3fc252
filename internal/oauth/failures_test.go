package oauth_test

import (
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"deputy/internal/deputy"
	"deputy/internal/oauth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fail sends a request with a wrong secret.
func (w *world) fail(clientID, address string) *answer {
	w.Helper()
	r := httptest.NewRequest("POST", "/z/"+string(w.zone.ID)+"/oauth/2/token",
		strings.NewReader("grant_type=client_credentials&client_id="+clientID+"&client_secret=wrong"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.RemoteAddr = address + ":1"
	return w.do(r)
}

func TestFailuresAreCountedNotRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.newApp("agent")
	public := w.insertCredential(agent.Application, deputy.PublicCredential, nil)
	account := w.newAccount()
	for range 3 {
		w.must(w.fail(agent.credential.Identifier, "192.0.2.1"), 401, "invalid_client")
	}
	w.must(w.fail("nobody", "192.0.2.1"), 401, "invalid_client")
	w.must(w.fail(agent.credential.Identifier, "192.0.2.2"), 401, "invalid_client")
	w.must(w.send("grant_type=client_credentials&client_id="+public.Identifier), 400, "unauthorized_client") // from 192.0.2.1 by httptest
	w.must(w.service("grant_type=client_credentials", basic(account.credential.ClientID, "wrong")), 401, "invalid_client")
	w.must(w.service("grant_type=client_credentials", basic("nobody", "wrong")), 401, "invalid_client") // nobody's log
	if all := w.events("clients:authenticate"); len(all) != 0 {
		t.Errorf("%d events before the minute is over", len(all))
	}
	w.server.Close()
	counts := make(map[string]int)
	for _, e := range w.events("clients:authenticate") {
		if e.Outcome != "failure" || e.Error != "invalid_client" || e.Actor.Type != "anonymous" || e.ZoneID != w.zone.ID {
			t.Errorf("the event is %+v", e)
		}
		counts[e.IP] += e.Count
	}
	if len(counts) != 2 || counts["192.0.2.1"] != 5 || counts["192.0.2.2"] != 1 || len(w.events("clients:authenticate")) != 2 {
		t.Errorf("summaries: %v", counts)
	}
	if n := len(w.events("credentials:issue")); n != 0 {
		t.Errorf("%d failures of unknown callers are events of their own", n)
	}
	w.organization = account.organization
	if all := w.events("clients:authenticate"); len(all) != 1 || all[0].Count != 1 || all[0].ZoneID != "" {
		t.Errorf("the account's organization has %+v", all)
	}
}

func TestFailuresAreThrottledSuccessesNever(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.newApp("agent")
	r := w.newResource("urn:api", nil)
	w.depend(agent, r)
	for range 100 {
		w.must(w.fail(agent.credential.Identifier, "192.0.2.7"), 401, "invalid_client")
	}
	a := w.must(w.fail(agent.credential.Identifier, "192.0.2.7"), 429, "temporarily_unavailable")
	if a.header.Get("Retry-After") != "60" {
		t.Errorf("Retry-After: %q", a.header.Get("Retry-After"))
	}
	w.must(w.credentialsFor(agent, "urn:api"), 200, "") // the same client and address, with the right secret
	w.must(w.fail("another", "192.0.2.7"), 401, "invalid_client")
	// At the management plane nobody learns in this way who exists.
	account := w.newAccount()
	for _, id := range []string{account.credential.ClientID, "nobody"} {
		for range 100 {
			w.must(w.service("grant_type=client_credentials", basic(id, "wrong")), 401, "invalid_client")
		}
		a := w.must(w.service("grant_type=client_credentials", basic(id, "wrong")), 429, "temporarily_unavailable")
		if a.header.Get("Retry-After") != "60" || a.text("code") != "rate_limit_exceeded" {
			t.Errorf("%s: %s %v", id, a, a.header)
		}
	}
	w.must(w.serviceToken(account), 200, "")
	w.must(w.fail(agent.credential.Identifier, "192.0.2.8"), 401, "invalid_client")
}

// TestLimitOfWhoCannotProve: whoever names a public client uses up its limit for
// their own address alone; a client that proves itself has one for all.
func TestLimitOfWhoCannotProve(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.newApp("agent")
	w.depend(agent, w.newResource("urn:api", nil))
	public := w.insertCredential(agent.Application, deputy.PublicCredential, nil)
	asked := map[string]int{}
	w.config.Limit = func(principal string) time.Duration {
		if asked[principal]++; asked[principal] > 1 {
			return time.Second
		}
		return 0
	}
	limited := *w
	limited.server = oauth.New(w.config)
	t.Cleanup(limited.server.Close)
	ask := func(by *app, address string, form url.Values) *answer {
		r := httptest.NewRequest("POST", "/z/"+string(w.zone.ID)+"/oauth/2/token", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.RemoteAddr = address + ":1234"
		if by != nil {
			r.SetBasicAuth(by.credential.Identifier, by.secret)
		}
		return limited.do(r)
	}
	unproven := form("grant_type", "refresh_token", "refresh_token", "none", "client_id", public.Identifier)
	for _, address := range []string{"192.0.2.7", "192.0.2.8"} {
		w.must(ask(nil, address, unproven), 400, "invalid_grant")
		w.must(ask(nil, address, unproven), 429, "temporarily_unavailable")
	}
	proven := form("grant_type", "client_credentials", "resource", "urn:api")
	w.must(ask(agent, "192.0.2.7", proven), 200, "")
	w.must(ask(agent, "192.0.2.8", proven), 429, "temporarily_unavailable")
}

func TestFailuresAreBounded(t *testing.T) {
	w := newWorld(t)
	for n := range oauth.MaxSources + 500 {
		w.must(w.fail("nobody", fmt.Sprintf("10.0.%d.%d", n/256, n%256)), 401, "invalid_client")
	}
	if n := oauth.Sources(w.server); n > oauth.MaxSources+1 {
		t.Errorf("%d sources are told apart", n)
	}
	w.server.Close()
	if n := oauth.Sources(w.server); n != 0 {
		t.Errorf("%d sources are left after Close", n)
	}
}

// TestFailuresCannotBeHidden: who names very many clients has not hidden who
// else fails, and is told to wait.
func TestFailuresCannotBeHidden(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for n := range oauth.MaxSources + 50 {
		w.fail(fmt.Sprint(n), "192.0.2.1")
	}
	w.must(w.fail("agent", "192.0.2.1"), 429, "temporarily_unavailable")
	w.must(w.fail("agent", "192.0.2.2"), 401, "invalid_client")
	w.server.Close()
	counts := make(map[string]int)
	for _, e := range w.events("clients:authenticate") {
		counts[e.IP] += e.Count
	}
	if len(counts) != 2 || counts["192.0.2.1"] != oauth.MaxSources+51 || counts["192.0.2.2"] != 1 {
		t.Errorf("summaries: %v", counts)
	}
}

func TestFailuresFromManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for range 50 {
				w.fail(fmt.Sprint(n), "192.0.2.7")
			}
		})
	}
	all.Wait()
	w.server.Close()
	if all := w.events("clients:authenticate"); len(all) != 1 || all[0].Count != 400 {
		t.Errorf("summaries: %+v", all)
	}
}
