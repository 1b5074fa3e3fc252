package mail

import (
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/mail"
	"strings"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/vault"
)

// Message is what a person gets to read.
type Message struct {
	To      string `json:"to"`
	Subject string `json:"subject"`
	Text    string `json:"text"` // lines end in \n
}

// Seal puts the message into m, whose other members are set, under the data
// key of its zone or organization.
func Seal(ctx context.Context, v *vault.Vault, key deputy.ID, m *deputy.Mail, msg Message) error {
	plain, err := json.Marshal(msg)
	if err != nil {
		return err
	}
	m.Sealed, err = v.Seal(ctx, key, place(m), plain)
	return err
}

// Open returns the message in m. It is NotFound when the zone's or
// organization's key was destroyed.
func Open(ctx context.Context, v *vault.Vault, m *deputy.Mail) (msg Message, err error) {
	plain, err := v.Open(ctx, place(m), m.Sealed)
	if err != nil {
		return msg, err
	}
	return msg, json.Unmarshal(plain, &msg)
}

func place(m *deputy.Mail) vault.Place {
	return vault.Place{Zone: m.ZoneID, Table: "mails", Column: "sealed", Row: string(m.ID)}
}

// encode returns the message as it is sent (RFC 5322), with \n for line ends:
// SMTP makes them its own.
func encode(m *deputy.Mail, msg Message, from string) []byte {
	_, host, _ := strings.Cut(from, "@")
	var b strings.Builder
	header := func(name, value string) { fmt.Fprintf(&b, "%s: %s\n", name, value) }
	header("From", (&mail.Address{Name: "Deputy", Address: from}).String())
	header("To", (&mail.Address{Address: msg.To}).String())
	header("Subject", mime.QEncoding.Encode("utf-8", msg.Subject))
	header("Date", m.CreatedAt.UTC().Format(time.RFC1123Z))
	header("Message-ID", "<"+string(m.ID)+"@"+host+">")
	header("X-Deputy-Purpose", string(m.Purpose))
	header("Auto-Submitted", "auto-generated") // RFC 3834 §5
	header("MIME-Version", "1.0")
	header("Content-Type", "text/plain; charset=utf-8")
	header("Content-Transfer-Encoding", "8bit")
	b.WriteString("\n" + strings.TrimRight(msg.Text, "\n") + "\n")
	return []byte(b.String())
}
