package oauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"deputy/internal/deputy"
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

	page, err := w.store.Events(context.Background(), deputy.EventQuery{Organization: w.organization.ID, Limit: 100})
	if err != nil || len(page.Items) < 5 {
		t.Fatal(len(page.Items), err)
	}
	var events bytes.Buffer
	for _, item := range page.Items {
		e, err := item.Event(context.Background(), w.sealing)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.NewEncoder(&events).Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	places := map[string][]byte{"log": log.Bytes(), "audit log": events.Bytes()}
	for _, file := range []string{w.path, w.path + "-wal"} {
		if places[file], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Contains(events.Bytes(), []byte(b.client.credential.Identifier)) {
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
