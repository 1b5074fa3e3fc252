package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"deputy/internal/deputy"
)

// Transport takes messages out of the house.
type Transport interface {
	// Deliver hands a message over. It is Invalid when trying again cannot help.
	Deliver(ctx context.Context, m *deputy.Mail, msg Message) error
}

// Outbox is a folder that keeps messages as files, for those who have no relay.
type Outbox struct {
	Dir  string
	From string
}

// Deliver writes the file TIME-ID.eml, whole or not at all, for its owner alone.
func (o *Outbox) Deliver(_ context.Context, m *deputy.Mail, msg Message) error {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return err
	}
	name := filepath.Join(o.Dir, m.CreatedAt.UTC().Format("20060102T150405.000Z")+"-"+string(m.ID)+".eml")
	unfinished := name + ".part"
	if err := os.WriteFile(unfinished, encode(m, msg, o.From), 0o600); err != nil {
		return err
	}
	return os.Rename(unfinished, name)
}

// deliveryTimeout bounds a conversation with a relay.
const deliveryTimeout = 30 * time.Second

// SMTP is a relay that the operator named.
type SMTP struct {
	address string // host:port
	host    string
	tls     bool // from the first byte
	user    *url.Userinfo
	from    string
}

// ParseSMTP reads smtp://USER:PASSWORD@HOST:PORT?from=ADDRESS. With smtps the
// connection is encrypted from the beginning; with smtp as soon as the relay
// offers it, and a password is never sent without. from is the sender unless
// the URL names one.
func ParseSMTP(text, from string) (*SMTP, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Path != "" && u.Path != "/" {
		return nil, errors.New("must be smtp://USER:PASSWORD@HOST:PORT or smtps://…") // the text holds the password
	}
	s := &SMTP{host: u.Hostname(), tls: u.Scheme == "smtps", user: u.User, from: from}
	port := u.Port()
	switch {
	case port != "":
	case s.tls:
		port = "465"
	default:
		port = "587"
	}
	s.address = net.JoinHostPort(s.host, port)
	if named := u.Query().Get("from"); named != "" {
		if err := deputy.Email("from", named); err != nil {
			return nil, fmt.Errorf("from: %w", err)
		}
		s.from = named
	}
	return s, nil
}

// Deliver gives the message to the relay.
func (s *SMTP) Deliver(ctx context.Context, m *deputy.Mail, msg Message) error {
	ctx, cancel := context.WithTimeout(ctx, deliveryTimeout)
	defer cancel()
	c, err := s.dial(ctx)
	if err != nil {
		return fmt.Errorf("connecting to the mail relay: %w", err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	if err := s.greet(c); err != nil {
		return fmt.Errorf("greeting the mail relay: %w", err)
	}
	if err := s.hand(c, m, msg); err != nil {
		return fmt.Errorf("handing a mail over: %w", err)
	}
	_ = c.Quit() // it has the mail
	return nil
}

func (s *SMTP) dial(ctx context.Context) (*smtp.Client, error) {
	dial := (&net.Dialer{}).DialContext
	if s.tls {
		dial = (&tls.Dialer{Config: s.config()}).DialContext
	}
	conn, err := dial(ctx, "tcp", s.address)
	if err != nil {
		return nil, err
	}
	end, _ := ctx.Deadline()
	if err := conn.SetDeadline(end); err != nil {
		conn.Close()
		return nil, err
	}
	c, err := smtp.NewClient(conn, s.host)
	if err != nil {
		conn.Close()
	}
	return c, err
}

func (s *SMTP) config() *tls.Config {
	return &tls.Config{ServerName: s.host, MinVersion: tls.VersionTLS12}
}

// greet encrypts the connection where that can be done, and logs in.
func (s *SMTP) greet(c *smtp.Client) error {
	if offered, _ := c.Extension("STARTTLS"); offered && !s.tls {
		if err := c.StartTLS(s.config()); err != nil {
			return err
		}
	}
	if s.user == nil {
		return nil
	}
	password, _ := s.user.Password()
	return c.Auth(smtp.PlainAuth("", s.user.Username(), password, s.host))
}

// hand sends one message. What the relay refuses for good (RFC 5321 §4.2.1) is
// Invalid.
func (s *SMTP) hand(c *smtp.Client, m *deputy.Mail, msg Message) error {
	if err := c.Mail(s.from); err != nil {
		return err
	}
	if err := c.Rcpt(msg.To); err != nil {
		return final(unnamed(err))
	}
	w, err := c.Data()
	if err != nil {
		return unnamed(err)
	}
	if _, err := w.Write(encode(m, msg, s.from)); err != nil {
		return err
	}
	return final(unnamed(w.Close()))
}

var enhancedStatus = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}\b`) // RFC 3463 §2

// unnamed takes the text out of what the relay says, all but its status codes: it
// often quotes the recipient, and errors are logged.
func unnamed(err error) error {
	var said *textproto.Error
	if errors.As(err, &said) {
		return &textproto.Error{Code: said.Code, Msg: enhancedStatus.FindString(said.Msg)}
	}
	return err
}

// final marks a refusal that is for good.
func final(err error) error {
	var said *textproto.Error
	if errors.As(err, &said) && said.Code >= 500 {
		return deputy.Error{Kind: deputy.Invalid, Message: "the mail relay refuses it for good"}.Because(err)
	}
	return err
}
