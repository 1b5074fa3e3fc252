package server_test

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/server"
)

// mailing is a server with an organization that sends mail.
type mailing struct {
	*testing.T
	*server.Server
	clock        *deputytest.Clock
	organization deputy.OrganizationID
	folder       string
}

func newMailing(t *testing.T, relay string) *mailing {
	t.Helper()
	w := &mailing{T: t, clock: deputytest.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)), folder: t.TempDir()}
	var c server.Config
	w.Server, c = openAt(t, w.clock.Now, map[string]string{"DEPUTY_DATA_DIR": w.folder, "DEPUTY_SMTP_URL": relay}, io.Discard)
	serve(t, w.Server)
	raw, err := os.ReadFile(c.BootstrapFile())
	var made server.Bootstrap
	if err == nil {
		err = json.Unmarshal(raw, &made)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.organization = made.OrganizationID
	return w
}

func (w *mailing) send(to string) {
	w.Helper()
	if err := w.Send(w.Context(), w.organization, to); err != nil {
		w.Fatal(err)
	}
}

// until waits for the mails to have ended as said.
func (w *mailing) until(outcomes ...string) {
	w.Helper()
	for range 300 {
		waiting, got, err := w.Mails(w.Context(), w.organization)
		if err != nil {
			w.Fatal(err)
		}
		if waiting == 0 && slices.Equal(got, outcomes) {
			return
		}
		w.clock.Advance(100 * time.Millisecond)
		time.Sleep(50 * time.Millisecond)
	}
	w.Fatalf("the mails never ended as %v", outcomes)
}

func TestMailBecomesAFileWithoutARelay(t *testing.T) {
	w := newMailing(t, "")
	w.send("ann@example.com")
	w.until("success")
	files, err := filepath.Glob(filepath.Join(w.folder, "outbox", "*.eml"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil || !strings.Contains(string(text), "\n123456\n") || !strings.Contains(string(text), "From: \"Deputy\" <deputy@[127.0.0.1]>\n") {
		t.Errorf("%s, %v", text, err)
	}
}

func TestMailIsTriedAgain(t *testing.T) {
	relay := deputytest.NewRelay(t)
	relay.Answer("RCPT", "451 later")
	w := newMailing(t, "smtp://"+relay.Address())
	w.send("ann@example.com")
	for i := 0; relay.Conversations() < 3; i++ {
		if i == 300 {
			t.Fatal("it was not tried again")
		}
		w.clock.Advance(10 * time.Second)
		time.Sleep(50 * time.Millisecond)
	}
	relay.Answer("RCPT", "")
	w.clock.Advance(time.Hour)
	w.until("success")
	if got := relay.Received(); len(got) != 1 || !strings.Contains(got[0], "\n123456\n") {
		t.Errorf("the relay has %q", got)
	}
}

func TestMailIsGivenUp(t *testing.T) {
	relay := deputytest.NewRelay(t)
	relay.Answer("RCPT", "451 later")
	w := newMailing(t, "smtp://"+relay.Address())
	w.send("ann@example.com")
	for relay.Conversations() == 0 {
		time.Sleep(50 * time.Millisecond)
	}
	w.clock.Advance(24 * time.Hour)
	w.until("failure")
	relay.Answer("RCPT", "550 nobody")
	w.send("nobody@example.com") // refused for good: at once
	w.until("failure", "failure")
	if got := relay.Received(); len(got) != 0 {
		t.Errorf("the relay has %q", got)
	}
}
