package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/mail"
)

// mailLifetime is how long a mail is tried to be handed over.
const mailLifetime = 24 * time.Hour

// newTransport returns what takes mails: the relay of the settings, or the
// outbox in the data folder.
func newTransport(cfg Config) (mail.Transport, error) {
	from := sender(cfg.baseURL())
	if cfg.SMTPURL == "" {
		return &mail.Outbox{Dir: filepath.Join(cfg.DataDir, "outbox"), From: from}, nil
	}
	relay, err := mail.ParseSMTP(cfg.SMTPURL, from)
	if err != nil {
		return nil, fmt.Errorf("--smtp-url %w", err)
	}
	return relay, nil
}

// sender is who mails come from unless the relay's URL says: us, at the public
// URL's host.
func sender(public string) string {
	host := "localhost"
	if u, err := url.Parse(public); err == nil && u.Hostname() != "" {
		host = u.Hostname()
	}
	if ip, err := netip.ParseAddr(host); err == nil { // RFC 5321 §4.1.3
		if host = "[" + host + "]"; ip.Is6() {
			host = "[IPv6:" + ip.String() + "]"
		}
	}
	return "deputy@" + host
}

// sendMail hands a mail over and forgets it. What fails is tried again later
// and later, until the mail is a day old or refused for good; then it is given
// up, which the log tells.
func (s *Server) sendMail(ctx context.Context, t deputy.Task) (again time.Time, err error) {
	var named deputy.MailTask
	if err := json.Unmarshal(t.Data, &named); err != nil {
		return again, err
	}
	m, err := s.store.Mails().Get(ctx, deputy.Scope{Organization: named.OrganizationID}, named.ID)
	if deputy.KindOf(err) == deputy.NotFound {
		return again, nil // it was sent, or its zone is gone
	}
	if err != nil {
		return again, err
	}
	msg, err := mail.Open(ctx, s.vault, m)
	if err == nil {
		err = s.mails.Deliver(ctx, m, msg)
	}
	now := s.cfg.now()
	final := deputy.KindOf(err) == deputy.Invalid || deputy.KindOf(err) == deputy.NotFound
	if err != nil && !final && now.Before(m.CreatedAt.Add(mailLifetime)) {
		s.log.Warn("a mail was not sent; it is tried again", "purpose", m.Purpose, "mail", m.ID, "attempt", t.Attempt, "cause", err)
		s.meters.mailed("delayed")
		return now.Add(mailPause(t.Attempt)), nil
	}
	return again, s.forgetMail(ctx, m, now, err)
}

// mailPause is how long to wait after an attempt: ten seconds, then twice as
// long each time, an hour at most.
func mailPause(attempt int) time.Duration {
	return min(time.Hour, 10*time.Second<<min(max(attempt-1, 0), 10))
}

// forgetMail removes a mail and records how it ended.
func (s *Server) forgetMail(ctx context.Context, m *deputy.Mail, now time.Time, failed error) error {
	event := &deputy.Event{
		ID: deputy.EventID(deputy.NewID(now)), Time: deputy.Time(now), Type: deputy.TaskSendMail, Outcome: deputy.Success,
		OrganizationID: m.OrganizationID, ZoneID: m.ZoneID, Actor: deputy.Actor{Type: "platform"},
		Target: &deputy.Target{Type: string(m.Purpose), ID: string(m.ID)},
	}
	if failed != nil {
		event.Outcome, event.Error, event.ErrorDetail = deputy.Failure, "given_up", "the mail could not be handed over"
		s.log.Error("a mail was given up", "purpose", m.Purpose, "mail", m.ID, "cause", failed)
	}
	result := "sent"
	if failed != nil {
		result = "given_up"
	}
	s.meters.mailed(result)
	return s.store.Write(ctx, event, func(tx deputy.Tx) error {
		return tx.Mails().Delete(ctx, deputy.Scope{Organization: m.OrganizationID}, m.ID)
	})
}
