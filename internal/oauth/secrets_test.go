package oauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
)

// TestSecretsAreNowhere lets a person sign up, use a client and fail at it, and
// looks for every secret of that in the server's log, in the audit log and in
// the database; and in the server's log for whatever tells who it was.
func TestSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, both...)
	var log bytes.Buffer
	w.config.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.restart()
	secrets := map[string]string{"password": adaPass, "another password": newPass}
	b := w.newBrowser()
	b.address = "198.51.100.77:4711"
	personal := map[string]string{"mail address": adaMail, "address": "198.51.100.77", "an app's address": "192.0.2.7", "program": "Canary/1.0"}
	keep := func(when string) {
		for name, value := range b.cookies {
			secrets[when+": "+name] = value
		}
	}
	p := b.follow(b.begin("scope", "openid"))
	keep("begun")
	p = b.follow(b.fill(p, "/login", "identifier", adaMail))
	p = b.follow(b.at(b.fill(p, "/login/signup", "password", adaPass), "/login/verify-email"))
	keep("signed up")
	_, code, link := w.lastMail()
	_, secrets["mailed link"], _ = strings.Cut(link, "token=")
	secrets["mailed code"] = code
	back := b.withCode(b.fill(p, "/login/verify-email", "code", code))
	secrets["code"], secrets["client secret"], secrets["verifier"] = back.query("code"), b.client.secret, verifier
	redeem := form("grant_type", "authorization_code", "code", back.query("code"), "redirect_uri", callback, "code_verifier", verifier)
	a := w.must(w.post(b.client, redeem), 200, "")
	next := w.must(w.post(b.client, form("grant_type", "refresh_token", "refresh_token", a.text("refresh_token"))), 200, "")
	for _, name := range []string{"access_token", "id_token", "refresh_token"} {
		secrets["first "+name], secrets["next "+name] = a.text(name), next.text(name)
	}
	// What goes wrong is where secrets get into logs.
	w.must(w.post(b.client, redeem), 400, "invalid_grant")
	w.must(w.post(b.client, form("grant_type", "refresh_token", "refresh_token", next.text("refresh_token")+"x")), 400, "invalid_grant")
	w.must(w.post(nil, form("grant_type", "client_credentials", "client_id", b.client.credential.Identifier, "client_secret", b.client.secret+"x")), 401, "invalid_client")
	w.must((&flow{world: w}).userInfo(a.text("access_token")+"x"), 401, "invalid_token")
	b.says(b.signInAgain(adaMail, newPass), 400, "did not work")
	b.get("/openid/connect/logout?id_token_hint=" + next.text("id_token") + "x")
	b.withCode(b.signInAgain(adaMail, adaPass))
	keep("signed in again")
	// Failures of ours are logged: there was no time for the database.
	late, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	for _, path := range []string{"/oauth/2/token", "/oauth/2/introspect", "/oauth/2/revoke", "/openid/connect/userinfo", "/oauth/2/par", "/login", "/oauth/2/authorize"} {
		text := form("grant_type", "refresh_token", "refresh_token", next.text("refresh_token"), "token", next.text("access_token"),
			"identifier", adaMail, "login_hint", adaMail, "password", adaPass, "client_id", b.client.credential.Identifier, "client_secret", b.client.secret).Encode()
		r := httptest.NewRequestWithContext(late, "POST", "http://deputy.test"+b.base()+path+"?login_hint="+adaMail, strings.NewReader(text))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("User-Agent", "Canary/1.0")
		r.Header.Set("Authorization", "Bearer "+a.text("access_token"))
		r.RemoteAddr = b.address
		w.server.ServeHTTP(httptest.NewRecorder(), r)
	}
	w.server.Settle()
	if !strings.Contains(log.String(), "request failed") {
		t.Error("no failure is in the log")
	}

	events, err := w.auditLog(), error(nil)
	places := map[string][]byte{"log": log.Bytes(), "audit log": events}
	for _, file := range []string{w.path, w.path + "-wal"} {
		if places[file], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Contains(events, []byte(b.client.credential.Identifier)) {
		t.Error("the audit log does not know the client")
	}
	if len(secrets) < 15 {
		t.Errorf("there are %d secrets only", len(secrets))
	}
	for name, tells := range personal {
		if bytes.Contains(log.Bytes(), []byte(tells)) {
			t.Errorf("%s is in the log:\n%s", name, log.Bytes())
		}
	}
	for name, secret := range secrets {
		if len(secret) < 8 {
			t.Fatalf("%s is %q", name, secret)
		}
		for place, text := range places {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s is in %s", name, place)
			}
		}
	}
}

// auditLog returns all that the audit log shows.
func (w *world) auditLog() []byte {
	w.Helper()
	page, err := w.store.Events(context.Background(), deputy.EventQuery{Organization: w.organization.ID, Limit: 100})
	if err != nil || len(page.Items) < 5 {
		w.Fatal(len(page.Items), err)
	}
	var events bytes.Buffer
	for _, item := range page.Items {
		e, err := item.Event(context.Background(), w.sealing)
		if err != nil {
			w.Fatal(err)
		}
		if err := json.NewEncoder(&events).Encode(e); err != nil {
			w.Fatal(err)
		}
	}
	return events.Bytes()
}

// hush is what another server puts where it fails.
const hush = "hush-4f1d9c27a0b3"

// failures are ways in which a server fails that repeat a secret.
var failures = map[string]func(w http.ResponseWriter, r *http.Request){
	"a code":               says(400, `{"error":"bad token `+hush+`"}`),
	"a code that is it":    says(400, `{"error":"`+hush+`"}`),
	"a description":        says(400, `{"error":"invalid_client","error_description":"`+hush+`","error_uri":"https://a.test/?t=`+hush+`"}`),
	"codes of others":      says(400, `{"code":"`+hush+`","err":"`+hush+`","status":"`+hush+`","message":"`+hush+`"}`),
	"a form":               says(400, "error="+hush+"&error_description="+hush),
	"a page":               says(502, "<title>"+hush+"</title>"),
	"broken off":           says(200, `{"access_token":"`+hush+`"`),
	"a number of its own":  says(200, `{"access_token":`+hush+`}`),
	"a token that is none": says(200, `{"access_token":["`+hush+`"]}`),
	"another type":         says(200, `["`+hush+`"]`),
	"what it was asked": func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		says(400, `{"error":"`+r.Form.Get("refresh_token")+`"}`)(w, r)
	},
	"a redirect": func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/"+hush+"?token="+hush, http.StatusFound)
	},
	"an encoding": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", hush)
		w.Write([]byte("x"))
	},
	"no HTTP":              raw(hush + "\r\n\r\n"),
	"a version":            raw("HTTP/" + hush + " 200 OK\r\n\r\n"),
	"a status":             raw("HTTP/1.1 " + hush + "\r\n\r\n"),
	"a header":             raw("HTTP/1.1 200 OK\r\n" + hush + "\r\n\r\n"),
	"the name of a header": raw("HTTP/1.1 200 OK\r\nX " + hush + ": a\r\n\r\n"),
	"a length":             raw("HTTP/1.1 200 OK\r\nContent-Length: " + hush + "\r\n\r\n"),
	"a transfer":           raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: " + hush + "\r\n\r\n"),
	"a part":               raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + hush + "\r\n"),
}

func says(status int, body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// raw answers with what may be no HTTP.
func raw(answer string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		io.WriteString(conn, answer)
		conn.Close()
	}
}

// TestFailuresOfOthersAreNotRepeated: servers elsewhere fail in every way that
// repeats a secret, which the server's log, the audit log and clients must not.
func TestFailuresOfOthersAreNotRepeated(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	var log bytes.Buffer
	g.config.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	g.restart()
	g.allow()
	g.listen(g.server)
	var fail func(w http.ResponseWriter, r *http.Request)
	ear := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fail(w, r) }))
	t.Cleanup(ear.Close)
	stream := g.newStream(fmt.Sprintf(`{"events_requested":[%q],"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":%q,"authorization_header":"Bearer %s"}}`,
		sessionRevoked, ear.URL+"/"+hush+"?token="+hush, hush))
	var refresh string
	asked := 0
	g.upstream.Interfere = func(w http.ResponseWriter, r *http.Request) bool {
		asked++
		r.ParseForm()
		refresh = r.Form.Get("refresh_token")
		fail(w, r)
		return true
	}
	for name, how := range failures {
		fail = how
		log.Reset()
		asked = 0
		g.clock.advance(time.Hour)
		a := g.exchangeFiles()
		if a.status == 200 || asked == 0 || !strings.Contains(log.String(), "a grant was not refreshed") {
			t.Errorf("%s: answered %s; asked %d times; the log has %s", name, a, asked, log.String())
		}
		zoe := g.newPerson(name)
		g.setSession(zoe.child, func(s *deputy.Session) { s.Status = deputy.Revoked })
		tasks, err := g.store.ClaimTasks(t.Context(), []string{deputy.TaskPushSignals}, 1, time.Minute)
		if err != nil || len(tasks) != 1 {
			t.Fatalf("%s: %d tasks, %v", name, len(tasks), err)
		}
		_, err = g.world.server.PushSignals(t.Context(), tasks[0])
		if finished := g.store.FinishTask(t.Context(), tasks[0], g.clock.Now()); finished != nil {
			t.Fatal(finished)
		}
		for place, text := range map[string]string{"the answer": a.body, "the log": log.String(), "what ends the push": fmt.Sprint(err)} {
			if strings.Contains(text, hush) || refresh != "" && strings.Contains(text, refresh) || strings.Contains(text, deputytest.UpstreamClientSecret) {
				t.Errorf("%s: it is in %s: %s", name, place, text)
			}
		}
	}
	if events := g.auditLog(); bytes.Contains(events, []byte(hush)) || stream == "" {
		t.Errorf("it is in the audit log: %s", events)
	}
}

// TestNamesAreNotLogged: what a provider says of people is not in the server's
// log, whether the sign-in works or not.
func TestNamesAreNotLogged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var log bytes.Buffer
	w.config.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.restart()
	outside := w.federate(nil)
	ada := map[string]any{"sub": "Canary-248289", "email": "canary@example.test", "email_verified": true, "name": "Ada Canary", "given_name": "Ada Canary", "family_name": "Canary", "preferred_username": "canary", "nickname": "Canary"}
	outside.Says(ada)
	b := w.newBrowser()
	b.withCode(b.get(b.depart(outside, "login_hint", "canary@example.test")))
	for name, c := range map[string]struct {
		claims map[string]any
		answer url.Values
	}{
		"another nonce":     {claims: map[string]any{"nonce": "Canary"}},
		"another audience":  {claims: map[string]any{"aud": "Canary"}},
		"another issuer":    {claims: map[string]any{"iss": "https://canary.test"}},
		"a name of no text": {claims: map[string]any{"email": map[string]any{"Canary": "canary"}}},
		"an error":          {answer: url.Values{"error": {"Canary"}, "error_description": {"Ada Canary"}, "iss": {outside.URL}}},
		"an unknown code":   {answer: url.Values{"code": {"Canary"}, "iss": {outside.URL}}},
	} {
		claims := maps.Clone(ada)
		maps.Copy(claims, c.claims)
		outside.Says(claims)
		outside.Answers(c.answer)
		other := w.newBrowser()
		other.client = b.client
		if p := other.get(other.depart(outside)); p.status != 400 {
			t.Errorf("%s: %d %s", name, p.status, p.body)
		}
	}
	// A policy that cannot be evaluated says what it cannot take.
	outside.Says(ada)
	outside.Answers(nil)
	w.activate(w.zone, "broken", []string{"permit", "broken"}, map[string]string{
		"permit": `permit (principal, action, resource);`,
		"broken": `forbid (principal, action, resource) when { context has subject && ip(context.subject.email).isLoopback() };`,
	})
	again := w.newBrowser()
	again.client = b.client
	again.get(again.depart(outside))
	if !strings.Contains(log.String(), "could not be evaluated") {
		t.Error("no policy failed")
	}
	// A failure of ours, in the middle of it.
	other := w.newBrowser()
	other.client = b.client
	back := other.depart(outside)
	late, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	r := httptest.NewRequestWithContext(late, "GET", "http://deputy.test"+other.base()+back, nil)
	w.server.ServeHTTP(httptest.NewRecorder(), r)
	w.server.Settle()
	if !strings.Contains(log.String(), "request failed") {
		t.Error("no failure is in the log")
	}
	if strings.Contains(strings.ToLower(log.String()), "canary") {
		t.Errorf("the log has %s", log.String())
	}
}
