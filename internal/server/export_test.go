package server

import (
	"context"
	"net/http"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/mail"
	"deputy/internal/policy"
	"deputy/internal/vault"
)

// ClientAddress is clientAddress behind the text of its setting.
func ClientAddress(trusted string) (func(*http.Request) string, error) {
	prefixes, err := parsePrefixes(trusted)
	return clientAddress(prefixes), err
}

// Check refuses settings that contradict each other.
func (c *Config) Check() error { return c.check() }

// HandlerAround returns the server's handler with another management API.
func (s *Server) HandlerAround(api http.Handler) http.Handler { return s.handler(api) }

// ListensOn returns the address that the server listens on, as a URL.
func (s *Server) ListensOn() string { return "http://" + s.listener.Addr().String() }

// Config returns the settings.
func (s *Server) Config() *Config { return &s.cfg }

// Manage makes the first managed policy of the program another.
func (s *Server) Manage(text string) {
	release := s.manage
	s.manage = func(ctx context.Context, zone *deputy.Zone, schema string, managed []policy.Managed) error {
		managed[0].Text = text
		return release(ctx, zone, schema, managed)
	}
}

// Send writes a mail to the address, as a change of the organization.
func (s *Server) Send(ctx context.Context, o deputy.OrganizationID, to string) error {
	organization, err := s.store.Organizations().Get(ctx, deputy.Scope{}, deputy.ID(o))
	if err != nil {
		return err
	}
	now := s.cfg.now()
	m := &deputy.Mail{ID: deputy.NewID(now), OrganizationID: o, Purpose: deputy.MailInvitation, CreatedAt: now}
	if err := mail.Seal(ctx, s.vault, organization.KeyID, m, mail.Message{To: to, Subject: "Hello", Text: "Code:\n\n123456\n"}); err != nil {
		return err
	}
	event := &deputy.Event{
		ID: deputy.EventID(deputy.NewID(now)), Time: now, Type: "tests:arrange", Outcome: deputy.Success,
		OrganizationID: o, Actor: deputy.Actor{Type: "platform"},
	}
	return s.store.Write(ctx, event, func(tx deputy.Tx) error { return tx.Mails().Insert(ctx, m) })
}

// Mails returns how many mails wait, and the outcomes of those that left.
func (s *Server) Mails(ctx context.Context, o deputy.OrganizationID) (waiting int, outcomes []string, err error) {
	page, err := s.store.Mails().List(ctx, deputy.Scope{Organization: o}, deputy.Query{})
	if err != nil {
		return 0, nil, err
	}
	events, err := s.store.Events(ctx, deputy.EventQuery{Organization: o})
	if err != nil {
		return 0, nil, err
	}
	for _, r := range events.Items {
		e, err := r.Event(ctx, s.sealing)
		if err != nil {
			return 0, nil, err
		}
		if e.Type == deputy.TaskSendMail {
			outcomes = append(outcomes, string(e.Outcome))
		}
	}
	return len(page.Items), outcomes, nil
}

// RewrapStep sets how many keys one step of a rotation wraps anew.
func RewrapStep(n int) { rewrapStep = n }

// DataKeys returns the keys that a root key wraps, by its fingerprint, and for
// each how it opens.
func (s *Server) DataKeys(ctx context.Context, root *vault.Root) (all []deputy.DataKey, opened int, err error) {
	all, err = s.store.DataKeysUnder(ctx, root.Fingerprint(), 1000)
	for _, row := range all {
		if _, err := vault.New(root, s.store).Rewrap(ctx, row, ""); err == nil {
			opened++
		}
	}
	return all, opened, err
}

// Limiter returns the wait of a rate limit.
func Limiter(setting string, now func() time.Time) (func(principal string) time.Duration, error) {
	l, err := newLimiter(setting, now)
	return l.wait, err
}

// Bounded bounds how many requests a handler has at once.
func Bounded(n int, next http.Handler) http.Handler { return bounded(make(chan struct{}, n), next) }

// Observed counts what next answers.
func Observed(now func() time.Time, next http.Handler) http.Handler {
	return newMeters(Config{MetricsListen: "somewhere"}).observed(now, next)
}

// Decided counts a decision.
func Decided() func(grantType, result string) {
	return newMeters(Config{MetricsListen: "somewhere"}).observer().Decided
}

// Certificate is what the doctor says of a certificate that ends then.
func Certificate(until time.Time) []Finding {
	d := &doctor{}
	d.certificate(until)
	return d.found
}

// Partial is partial.
func Partial(answer []byte) int64 { return int64(partial(answer)) }
