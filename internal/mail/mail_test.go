package mail_test

import (
	"context"
	"errors"
	"io"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	ours "deputy/internal/mail"
	"deputy/internal/vault"
)

var (
	noon    = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	letter  = &deputy.Mail{ID: deputy.NewID(noon), OrganizationID: "o", Purpose: deputy.MailInvitation, CreatedAt: noon}
	message = ours.Message{
		To: "ann@example.com", Subject: "Join Ünïon", Text: "Open\n\nhttps://id.example.com/login/invitations/" + strings.Repeat("x", 80) + "\n.\n\nBye\n",
	}
)

// shelf holds data keys.
type shelf map[deputy.ID]deputy.DataKey

func (s shelf) DataKey(_ context.Context, id deputy.ID) (deputy.DataKey, error) {
	if k, ok := s[id]; ok {
		return k, nil
	}
	return deputy.DataKey{}, deputy.NotFound
}

func TestSealedUntilItLeaves(t *testing.T) {
	ctx, keys := t.Context(), shelf{}
	v := vault.New(vault.NewRoot([32]byte{1}), keys)
	key, err := v.New(ctx, "o", "", noon)
	if err != nil {
		t.Fatal(err)
	}
	keys[key.ID] = key
	m := *letter
	if err := ours.Seal(ctx, v, key.ID, &m, message); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(m.Sealed), "ann") || strings.Contains(string(m.Sealed), "login") {
		t.Error("the message can be read")
	}
	if got, err := ours.Open(ctx, v, &m); err != nil || got != message {
		t.Errorf("opened %+v, %v", got, err)
	}
	for name, change := range map[string]func(*deputy.Mail){
		"another mail": func(m *deputy.Mail) { m.ID = deputy.NewID(noon) },
		"another zone": func(m *deputy.Mail) { m.ZoneID = "z" },
	} {
		moved := m
		change(&moved)
		if _, err := ours.Open(ctx, v, &moved); !errors.Is(err, vault.ErrRefused) {
			t.Errorf("moved to %s: %v", name, err)
		}
	}
}

// read checks a message as its recipient gets it.
func read(t *testing.T, text string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"From": `"Deputy" <deputy@example.com>`, "To": "<ann@example.com>", "Subject": "=?utf-8?q?Join_=C3=9Cn=C3=AFon?=",
		"X-Deputy-Purpose": "invitation", "Message-Id": "<" + string(letter.ID) + "@example.com>", "Auto-Submitted": "auto-generated",
	} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if at, err := m.Header.Date(); err != nil || !at.Equal(noon) {
		t.Errorf("date %v, %v", at, err)
	}
	body, err := io.ReadAll(m.Body)
	if err != nil || string(body) != message.Text {
		t.Errorf("the text is %q, %v", body, err)
	}
}

func TestOutbox(t *testing.T) {
	o := &ours.Outbox{Dir: filepath.Join(t.TempDir(), "outbox"), From: "deputy@example.com"}
	for range 2 { // handed over again, it is the same file
		if err := o.Deliver(t.Context(), letter, message); err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(o.Dir)
	if err != nil || len(files) != 1 || files[0].Name() != "20260301T120000.000Z-"+string(letter.ID)+".eml" {
		t.Fatalf("%v, %v", files, err)
	}
	path := filepath.Join(o.Dir, files[0].Name())
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	read(t, string(text))
}

func TestSMTP(t *testing.T) {
	relay := deputytest.NewRelay(t)
	smtp, err := ours.ParseSMTP("smtp://"+relay.Address()+"?from=deputy@example.com", "nobody@localhost")
	if err != nil {
		t.Fatal(err)
	}
	if err := smtp.Deliver(t.Context(), letter, message); err != nil {
		t.Fatal(err)
	}
	read(t, relay.Received()[0])
	for _, c := range []struct {
		command, answer string
		final           bool
	}{
		{"RCPT", "550 5.1.1 <" + message.To + "> is no mailbox", true},
		{"RCPT", "451 later", false},
		{"MAIL", "530 log in first", false}, // the operator's to mend
		{"DATA", "554 " + message.To + " wants no spam", false},
		{"STARTTLS", "454 not now", false},
	} {
		relay.Answer(c.command, c.answer)
		if c.command == "STARTTLS" { // offered and broken: nothing goes in the clear
			relay.Answer("EHLO", "250-relay.example.com\r\n250 STARTTLS")
		}
		err := smtp.Deliver(t.Context(), letter, message)
		if err == nil || errors.Is(err, deputy.Invalid) != c.final {
			t.Errorf("%s answered %s: %v", c.command, c.answer, err)
		}
		// This is logged: the codes, and not whom it was for.
		if err != nil && (strings.Contains(err.Error(), message.To) || strings.Contains(c.answer, "5.1.1") && !strings.Contains(err.Error(), "5.1.1")) {
			t.Errorf("%s answered %s: %v", c.command, c.answer, err)
		}
		relay.Answer(c.command, "")
	}
	if n := len(relay.Received()); n != 1 {
		t.Errorf("%d messages were taken", n)
	}
}

func TestSMTPThatIsNone(t *testing.T) {
	for _, text := range []string{"", "relay:25", "http://relay", "smtp://", "smtp://relay/path", "smtp://relay?from=no", "smtp://u:geheim@[::1"} {
		if _, err := ours.ParseSMTP(text, "a@b"); err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
