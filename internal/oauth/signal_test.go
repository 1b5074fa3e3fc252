package oauth_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/vault"
)

const (
	sessionRevoked   = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
	credentialChange = "https://schemas.openid.net/secevent/caep/event-type/credential-change"
)

// listen gives the world an access token of the application for the zone's
// events, which an administrator has opened to it.
func (w *world) listen(a *app) {
	w.Helper()
	if w.ear != "" {
		return
	}
	w.depend(a, w.newResource(w.issuer()+"/events", nil))
	w.ear = w.must(w.credentialsFor(a, w.issuer()+"/events"), 200, "").text("access_token")
}

// signals asks an endpoint of receivers.
func (w *world) signals(method, path, body string) *answer {
	w.Helper()
	r := httptest.NewRequest(method, "/z/"+string(w.zone.ID)+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+w.ear)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return w.do(r)
}

// newStream makes a stream and returns its id.
func (w *world) newStream(body string) string {
	w.Helper()
	return w.must(w.signals("POST", "/ssf/streams", body), 201, "").text("stream_id")
}

// told opens a security event token as a receiver does.
func (w *world) told(set string) (jti string, about, says map[string]any, event string) {
	w.Helper()
	head, claims := w.part(set, 0), w.part(set, 1)
	if head["typ"] != "secevent+jwt" || claims["iss"] != w.issuer() || claims["iat"] == nil || claims["aud"] == nil || claims["exp"] != nil {
		w.Fatalf("the token is %v %v", head, claims)
	}
	rows, err := w.store.SigningKeys(context.Background(), deputy.ID(w.zone.ID))
	if err != nil || !slices.ContainsFunc(rows, func(k deputy.SigningKey) bool { return k.ID == head["kid"] }) {
		w.Fatalf("nobody knows the key of %v: %v", head, err)
	}
	for name, value := range claims["events"].(map[string]any) {
		event, says = name, value.(map[string]any)
	}
	return claims["jti"].(string), claims["sub_id"].(map[string]any), says, event
}

// polled polls a stream and returns what is new, acknowledging all.
func (w *world) polled(stream string, ack ...string) (jtis []string, texts []string) {
	w.Helper()
	acked, _ := json.Marshal(ack)
	a := w.must(w.signals("POST", "/ssf/poll?stream_id="+stream, `{"returnImmediately":true,"ack":`+string(acked)+`}`), 200, "")
	sets := a.json["sets"].(map[string]any)
	for id := range sets {
		jtis = append(jtis, id)
	}
	slices.SortFunc(jtis, func(a, b string) int { // numbers of any length
		return len(a) - len(b) + strings.Compare(a, b)
	})
	for _, id := range jtis {
		jti, about, says, event := w.told(sets[id].(string))
		if jti != id {
			w.Errorf("%s is called %s", jti, id)
		}
		delete(says, "event_timestamp")
		text, _ := json.Marshal(map[string]any{event[strings.LastIndex(event, "/")+1:]: says, "about": about})
		texts = append(texts, string(text))
	}
	return jtis, texts
}

func TestStreamIsToldWhatIsOver(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	w.listen(w.server)
	all := fmt.Sprintf(`{"events_requested":["%s","%s","urn:unknown"]}`, sessionRevoked, credentialChange)
	stream, sessions := w.newStream(all), w.newStream(fmt.Sprintf(`{"events_requested":[%q]}`, sessionRevoked))
	zoe, bob, eve := w.newPerson("zoe"), w.newPerson("bob"), w.newPerson("eve")
	w.setSession(zoe.web, func(s *deputy.Session) { s.Status = deputy.Revoked })
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		p := &deputy.Password{ZoneID: w.zone.ID, UserID: bob.User.ID, Email: "bob@example.test", Hash: "x", ChangedAt: tx.Now(), CreatedAt: tx.Now()}
		if err := tx.Passwords().Insert(ctx, p); err != nil {
			return err
		}
		return tx.Users().Delete(ctx, w.in(), deputy.ID(eve.User.ID))
	})
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		if _, err := tx.Users().Update(ctx, w.in(), deputy.ID(bob.User.ID), func(u *deputy.User) error {
			u.Status = deputy.UserDisabled
			return nil
		}); err != nil {
			return err
		}
		return tx.Applications().Delete(ctx, w.in(), deputy.ID(w.agent.ID))
	})
	user := func(sub string) string { return fmt.Sprintf(`{"format":"iss_sub","iss":%q,"sub":%q}`, w.issuer(), sub) }
	want := []string{
		fmt.Sprintf(`{"about":{"format":"complex","session":{"format":"opaque","id":%q},"user":%s},"session-revoked":{}}`, zoe.web.ID, user("zoe")),
		fmt.Sprintf(`{"about":{"format":"complex","session":{"format":"opaque","id":%q},"user":%s},"session-revoked":{}}`, zoe.child.ID, user("zoe")),
		fmt.Sprintf(`{"about":%s,"credential-change":{"change_type":"create","credential_type":"password"}}`, user("bob")),
		fmt.Sprintf(`{"about":{"format":"complex","user":%s},"session-revoked":{}}`, user("eve")),
		fmt.Sprintf(`{"about":{"format":"complex","user":%s},"session-revoked":{}}`, user("bob")),
		fmt.Sprintf(`{"about":{"application":{"format":"opaque","id":%q},"format":"complex"},"session-revoked":{}}`, w.agent.Identifier),
	}
	ids, got := w.polled(stream)
	if !slices.Equal(got, want) {
		t.Fatalf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if _, got := w.polled(sessions); len(got) != len(want)-1 {
		t.Errorf("who did not ask is told of credentials: %v", got)
	}
	// What is not acknowledged comes again, and what was acknowledged out of order.
	if again, _ := w.polled(stream, ids[0], ids[2]); !slices.Equal(again, []string{ids[1], ids[3], ids[4], ids[5]}) {
		t.Errorf("told again %v of %v", again, ids)
	}
	if again, _ := w.polled(stream, ids[1:]...); len(again) != 0 {
		t.Errorf("told again %v", again)
	}
	if again, _ := w.polled(stream); len(again) != 0 {
		t.Errorf("told again %v", again)
	}
	// Pausing keeps, disabling forgets.
	status := func(to string) {
		w.must(w.signals("POST", "/ssf/status", fmt.Sprintf(`{"stream_id":%q,"status":%q}`, stream, to)), 200, "")
	}
	verify := func() { w.signals("POST", "/ssf/verify", fmt.Sprintf(`{"stream_id":%q,"state":"s"}`, sessions)) }
	for to, kept := range map[string]int{"paused": 1, "disabled": 0} {
		status(to)
		amy := w.newPerson(to)
		w.setSession(amy.child, func(s *deputy.Session) { s.Status = deputy.Revoked })
		if ids, _ := w.polled(stream); len(ids) != 0 {
			t.Errorf("%s: told %v", to, ids)
		}
		status("enabled")
		ids, _ := w.polled(stream)
		if len(ids) != kept {
			t.Errorf("%s: %d are kept", to, len(ids))
		}
		w.polled(stream, ids...)
	}
	// A verification is for the stream that asked.
	verify()
	if ids, _ := w.polled(stream); len(ids) != 0 {
		t.Errorf("told of another stream's verification: %v", ids)
	}
	_, got = w.polled(sessions)
	if last := got[len(got)-1]; !strings.Contains(last, `"verification":{"state":"s"}`) || !strings.Contains(last, sessions) {
		t.Errorf("verified by %s", last)
	}
	// It has to be waited for again.
	again := `{"stream_id":"` + sessions + `"}`
	if a := w.must(w.signals("POST", "/ssf/verify", again), 429, "temporarily_unavailable"); a.header.Get("Retry-After") != "10" {
		t.Errorf("asked to wait for %q", a.header.Get("Retry-After"))
	}
	w.must(w.signals("POST", "/ssf/verify", `{"stream_id":"`+stream+`"}`), 204, "")
	w.clock.advance(10 * time.Second)
	w.must(w.signals("POST", "/ssf/verify", again), 204, "")
	if said := w.signals("GET", "/ssf/streams?stream_id="+sessions, "").json["min_verification_interval"]; said != 10.0 {
		t.Errorf("the stream says %v", said)
	}
	if events := w.events("streams:create"); len(events) != 2 || events[0].ClientID != w.server.credential.Identifier {
		t.Errorf("the events are %v", events)
	}
}

func TestFeedOfRevocations(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.listen(s.server)
	other := s.newPerson("bob")
	feed := func(query string) (entries []string, last string) {
		a := s.must(s.signals("GET", "/revocations"+query, ""), 200, "")
		for _, e := range a.json["revocations"].([]any) {
			entry := e.(map[string]any)
			entries = append(entries, fmt.Sprint(entry["type"], " ", entry["id"]))
			if late := s.clock.Now().Unix() - int64(entry["time"].(float64)); late < 0 || late > 60 {
				t.Errorf("%v, and it is %d", entry, s.clock.Now().Unix())
			}
		}
		if a.json["issuer"] != s.issuer() || a.json["refresh_seconds"] != 10.0 {
			t.Errorf("the feed is %s", a)
		}
		return entries, fmt.Sprint(a.json["last"])
	}
	if had, _ := feed(""); len(had) != 0 {
		t.Errorf("at the beginning: %v", had)
	}
	jti := s.payload(s.token)["jti"]
	s.revoke(s.token)
	s.setSession(s.person.child, func(x *deputy.Session) { x.Status = deputy.Revoked })
	_, last := feed("")
	s.write(s.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		if err := tx.Users().Delete(ctx, s.in(), deputy.ID(other.User.ID)); err != nil {
			return err
		}
		if err := tx.Credentials().Delete(ctx, s.in(), deputy.ID(s.agent.credential.ID)); err != nil {
			return err
		}
		return tx.Applications().Delete(ctx, s.in(), deputy.ID(s.agent.ID))
	})
	want := []string{
		fmt.Sprint("token ", jti), fmt.Sprint("session ", s.person.child.ID), "user bob",
		"client " + s.agent.credential.Identifier, "application " + s.agent.Identifier,
	}
	if got, _ := feed(""); !slices.Equal(got, want) {
		t.Errorf("the feed has %v, want %v", got, want)
	}
	if got, _ := feed("?after=" + last); !slices.Equal(got, want[2:]) {
		t.Errorf("after %s it has %v", last, got)
	}
	s.must(s.signals("GET", "/revocations?after=x", ""), 400, "invalid_request")
	// When no token can be affected any more, nothing is left of it.
	s.clock.advance(26 * time.Hour)
	s.ear = ""
	s.ear = s.must(s.credentialsFor(s.server, s.issuer()+"/events"), 200, "").text("access_token")
	if got, _ := feed(""); len(got) != 0 {
		t.Errorf("a day later: %v", got)
	}
}

// TestWhoMayListen: only an application itself, that policy lets.
func TestWhoMayListen(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ask := func(token string) *answer {
		s.ear = token
		return s.signals("GET", "/revocations", "")
	}
	s.must(ask(s.token), 403, "insufficient_scope")
	s.must(ask("x"), 401, "invalid_token")
	s.newResource(s.issuer()+"/events", func(r *deputy.Resource) { r.ApplicationID = &s.server.ID })
	s.must(s.credentialsFor(s.server, s.issuer()+"/events"), 400, "access_denied")
	s.must(ask(s.userToken(s.person, s.server.credential.Identifier, s.issuer()+"/events")), 401, "invalid_token")
	chained := s.sign(deputy.ES256, "at+jwt", with(s.payload(s.token), "aud", s.issuer()+"/events", "act", map[string]any{"sub": s.server.Identifier}))
	s.must(ask(chained), 401, "invalid_token")
	// Nobody sees the streams of others.
	s.ear = ""
	s.depend(s.server, must(s.store.Resources().Find(context.Background(), s.in(), "identifier", s.issuer()+"/events")))
	s.depend(s.agent, must(s.store.Resources().Find(context.Background(), s.in(), "identifier", s.issuer()+"/events")))
	tokens := []string{}
	for _, a := range []*app{s.server, s.agent} {
		tokens = append(tokens, s.must(s.credentialsFor(a, s.issuer()+"/events"), 200, "").text("access_token"))
	}
	s.ear = tokens[0]
	stream := s.newStream(`{}`)
	s.ear = tokens[1]
	for _, a := range []*answer{
		s.signals("GET", "/ssf/streams?stream_id="+stream, ""), s.signals("DELETE", "/ssf/streams?stream_id="+stream, ""),
		s.signals("PATCH", "/ssf/streams", `{"stream_id":"`+stream+`","description":"mine"}`), s.signals("POST", "/ssf/poll?stream_id="+stream, `{}`),
		s.signals("POST", "/ssf/status", `{"stream_id":"`+stream+`","status":"disabled"}`), s.signals("POST", "/ssf/verify", `{"stream_id":"`+stream+`"}`),
	} {
		s.must(a, 404, "not_found")
	}
	for range deputy.MaxStreams {
		s.newStream(`{}`)
	}
	s.must(s.signals("POST", "/ssf/streams", `{}`), 403, "access_denied")
	s.must(s.signals("POST", "/ssf/streams", `{"delivery":{"method":"urn:else"}}`), 400, "invalid_request")
	s.must(s.signals("POST", "/ssf/streams", `{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"nowhere"}}`), 400, "invalid_request")
	s.ear = tokens[0]
	if a := s.signals("DELETE", "/ssf/streams?stream_id="+stream, ""); a.status != 204 {
		t.Error(a)
	}
}

// ear is a receiver that takes what is pushed to it, when it likes.
type ear struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	says   string
	heard  []string
}

func newEar(t *testing.T) *ear {
	e := &ear{status: http.StatusAccepted}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Authorization") != "Bearer secret" || r.Header.Get("Content-Type") != "application/secevent+jwt" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if e.status == http.StatusAccepted {
			e.heard = append(e.heard, string(body))
		}
		w.WriteHeader(e.status)
		io.WriteString(w, e.says)
	}))
	t.Cleanup(e.Close)
	return e
}

func TestSignalsArePushed(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	w.listen(w.server)
	to := newEar(t)
	stream := w.newStream(fmt.Sprintf(`{"events_requested":[%q],"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":%q,"authorization_header":"Bearer secret"}}`, sessionRevoked, to.URL))
	if a := w.must(w.signals("GET", "/ssf/streams?stream_id="+stream, ""), 200, ""); strings.Contains(a.body, "secret") {
		t.Errorf("the header is shown: %s", a.body)
	}
	kept, err := w.store.Streams().Get(t.Context(), w.in(), deputy.ID(stream))
	if err != nil || strings.Contains(string(kept.Sealed), "secret") {
		t.Error("the header is not sealed", err)
	}
	if plain, err := w.vault.Open(t.Context(), vault.StreamPlace(w.zone.ID, kept.ID), kept.Sealed); err != nil || string(plain) != "Bearer secret" {
		t.Error(err)
	}
	// turn does what a node does in the background, and reports whether it came to
	// an end.
	turn := func() error {
		t.Helper()
		tasks, err := w.store.ClaimTasks(t.Context(), []string{deputy.TaskPushSignals}, 1, time.Minute)
		if err != nil || len(tasks) != 1 {
			t.Fatalf("%d tasks, %v", len(tasks), err)
		}
		_, err = w.world.server.PushSignals(t.Context(), tasks[0])
		again := time.Time{}
		if err != nil {
			again = w.clock.Now()
		}
		if err := w.store.FinishTask(t.Context(), tasks[0], again); err != nil {
			t.Fatal(err)
		}
		return err
	}
	zoe := w.newPerson("zoe")
	w.setSession(zoe.child, func(s *deputy.Session) { s.Status = deputy.Revoked })
	to.status = http.StatusServiceUnavailable
	if err := turn(); err == nil {
		t.Error("a receiver that is down has taken it")
	}
	w.setSession(zoe.web, func(s *deputy.Session) { s.Status = deputy.Revoked })
	w.clock.advance(time.Minute)
	to.status = http.StatusAccepted
	if err := turn(); err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, set := range to.heard {
		_, about, _, event := w.told(set)
		told = append(told, fmt.Sprint(event == sessionRevoked, about["session"].(map[string]any)["id"]))
	}
	if want := []string{fmt.Sprint(true, zoe.child.ID), fmt.Sprint(true, zoe.web.ID)}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
	// One that the receiver will never take is let go, one that it may not is kept.
	amy := w.newPerson("amy")
	w.setSession(amy.child, func(s *deputy.Session) { s.Status = deputy.Revoked })
	to.status, to.says = http.StatusBadRequest, `{"err":"authentication_failed"}`
	if turn() == nil {
		t.Error("a refusal of the sender is the end")
	}
	to.says = `{"err":"invalid_request"}`
	w.clock.advance(time.Minute)
	if err := turn(); err != nil {
		t.Error(err)
	}
	// A signal that comes while a push is under way is not forgotten.
	w.setSession(amy.web, func(s *deputy.Session) { s.Status = deputy.Revoked })
	tasks, err := w.store.ClaimTasks(t.Context(), []string{deputy.TaskPushSignals}, 1, time.Minute)
	if err != nil || len(tasks) != 1 {
		t.Fatal(tasks, err)
	}
	ann := w.newPerson("ann")
	w.setSession(ann.child, func(s *deputy.Session) { s.Status = deputy.Revoked })
	if err := w.store.FinishTask(t.Context(), tasks[0], time.Time{}); deputy.KindOf(err) != deputy.Stale {
		t.Errorf("the push that is under way ends with %v", err)
	}
	to.status, to.heard = http.StatusAccepted, nil
	if err := turn(); err != nil || len(to.heard) != 2 {
		t.Errorf("%d were told, %v", len(to.heard), err)
	}
	// Policy takes back what it gave: from then on nothing is told, and what came
	// meanwhile is not told later.
	heard := func(p *person) int {
		t.Helper()
		to.heard = nil
		w.setSession(p.child, func(s *deputy.Session) { s.Status = deputy.Revoked })
		if err := turn(); err != nil {
			t.Error(err)
		}
		return len(to.heard)
	}
	w.activate(w.zone, "none", []string{"none"}, map[string]string{"none": "forbid (principal, action, resource);"})
	if n := heard(w.newPerson("bea")); n != 0 {
		t.Errorf("%d were told that policy forbids", n)
	}
	w.activate(w.zone, "all", []string{"all"}, map[string]string{"all": "permit (principal, action, resource);"})
	if n := heard(w.newPerson("eve")); n != 1 {
		t.Errorf("%d were told of one thing", n)
	}
	events, err := w.store.Resources().Find(t.Context(), w.in(), "identifier", w.issuer()+"/events")
	if err != nil {
		t.Fatal(err)
	}
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		return tx.Resources().Delete(ctx, w.in(), deputy.ID(events.ID))
	})
	if n := heard(w.newPerson("liv")); n != 0 {
		t.Errorf("%d were told without a resource to be told of", n)
	}
}

func TestTransmitterDocument(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{"/z/" + string(w.zone.ID) + "/.well-known/ssf-configuration", "/.well-known/ssf-configuration/z/" + string(w.zone.ID)} {
		a := w.must(w.get("GET", path), 200, "")
		if a.json["issuer"] != w.issuer() || a.json["spec_version"] != "1_0" || a.json["configuration_endpoint"] != w.issuer()+"/ssf/streams" {
			t.Errorf("%s: %s", path, a)
		}
	}
}

// TestTheHeaderOfAStreamGoesToItsAddressAlone: nobody is shown it, and who could
// send it to an address of theirs would be.
func TestTheHeaderOfAStreamGoesToItsAddressAlone(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	w.listen(w.server)
	const form = `{"stream_id":%q,"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://%s.test/events"%s}}`
	const header = `,"authorization_header":"Bearer secret"`
	stream := w.newStream(fmt.Sprintf(form, "", "one", header))
	for _, c := range []struct {
		method, host, more string
		kept               bool
	}{
		{"PATCH", "one", "", true},
		{"PATCH", "two", "", false},
		{"PATCH", "two", header, true},
		{"PUT", "two", header, true},
		{"PUT", "two", "", false}, // as in a new one
	} {
		w.must(w.signals(c.method, "/ssf/streams", fmt.Sprintf(form, stream, c.host, c.more)), 200, "")
		now, err := w.store.Streams().Get(t.Context(), w.in(), deputy.ID(stream))
		if err != nil || (now.Sealed != nil) != c.kept {
			t.Errorf("%s %s%s: kept %v, %v", c.method, c.host, c.more, now.Sealed != nil, err)
		}
	}
}
