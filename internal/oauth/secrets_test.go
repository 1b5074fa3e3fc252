package oauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"testing"

	"deputy/internal/deputy"
)

// TestSecretsAreNowhere lets a person sign up, use a client and fail at it, and
// looks for every secret of that in the server's log, in the audit log and in
// the database.
func TestSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, both...)
	var log bytes.Buffer
	w.config.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.restart()
	secrets := map[string]string{"password": adaPass, "another password": newPass}
	b := w.newBrowser()
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
	w.server.Settle()

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
