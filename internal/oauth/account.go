package oauth

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"deputy/internal/deputy"
	"deputy/internal/pages"
	"deputy/internal/password"
)

// The account page: where a person sees what stands in their name, and ends it.

// sudo is how long ago a person may have proved who they are to add a way to
// sign in: whoever finds a browser open must not move in.
const sudo = 15 * time.Minute

// errForged is the answer to a form that none of our pages sent.
var errForged = refuse(codeInvalidRequest, "The form is not from our own page, or was open for too long.")

// member is a person who looks at their account.
type member struct {
	*visitor
	secret  deputy.Secret // in the browser's cookie
	session *deputy.Session
	user    *deputy.User
}

// member returns who looks at the page, from the browser's web session. Whoever
// is not signed in, or has not shown that the address is theirs, is sent to do
// so, and comes back to the page; a form that was sent is refused unless it is
// from one of ours.
func (s *Server) member(v *visitor, fresh bool) (*member, bool) {
	session, user, err := s.browser(v.r.Context(), v.r, v.zone.id, v.snap)
	if err != nil {
		s.fail(v, err)
		return nil, false
	}
	known := session != nil && !(fresh && s.now().Sub(session.AuthenticatedAt) > sudo)
	if !known || !ownsAddress(user) {
		l := &login{zone: v.zone, snap: v.snap, from: v.from}
		if known {
			l.User, l.Session = user.ID, session.ID
		}
		l.Started, l.Return = v.from.at, s.below(v.r)
		if v.r.Method == http.MethodPost {
			l.Return = pageAccount
		}
		s.proceed(v.w, v.r, l)
		return nil, false
	}
	m := &member{visitor: v, session: session, user: user}
	m.secret, _ = s.cookie(v.r, browserCookie, v.zone.id)
	if v.r.Method == http.MethodPost && !csrfMatches(m.secret, v.text(csrfField)) {
		s.fail(v, errForged)
		return nil, false
	}
	return m, true
}

// display answers with a page of the account.
func (s *Server) display(m *member, status int, p pages.Page) {
	f := s.frame(m.r, m.snap, csrfToken(m.secret))
	pages.Write(m.w, status, f, p)
}

// notices are what the account page may say when it is come back to.
var notices = map[string]pages.Message{
	"saved": pages.Saved, "passkey": pages.PasskeyAdded, "removed": pages.Removed, "password": pages.PasswordChanged,
}

func (s *Server) accountPage(v *visitor) {
	m, ok := s.member(v, false)
	if !ok {
		return
	}
	p, err := s.account(m)
	if err != nil {
		s.fail(v, err)
		return
	}
	p.Notice = notices[v.text("done")]
	s.display(m, http.StatusOK, p)
}

// account returns the page with all that stands in the person's name.
func (s *Server) account(m *member) (pages.Account, error) {
	ctx := m.r.Context()
	p := pages.Account{User: displayName(m.user), Email: m.user.Email, Verified: m.user.EmailVerified}
	_, err := s.store.Passwords().Get(ctx, m.in(), deputy.ID(m.user.ID))
	if unlessAbsent(err) != nil {
		return p, err
	}
	p.Password = err == nil
	rp, err := s.relying(m.snap)
	if err != nil {
		return p, err
	}
	p.CanAdd = rp != nil && m.user.Issuer == nil
	keys, err := s.passkeys(ctx, m.visitor, m.user.ID)
	if err != nil {
		return p, err
	}
	for _, k := range keys {
		shown := pages.Passkey{ID: string(k.ID), Name: k.Name, Added: k.CreatedAt}
		if k.LastUsedAt != nil {
			shown.Used = *k.LastUsedAt
		}
		p.Passkeys = append(p.Passkeys, shown)
	}
	if p.Sessions, err = s.sessionsShown(ctx, m); err != nil {
		return p, err
	}
	if p.Consents, err = s.consentsShown(ctx, m); err != nil {
		return p, err
	}
	p.Grants, err = s.grantsShown(ctx, m)
	return p, err
}

// ofUser selects what is a person's and active.
func ofUser(id deputy.UserID) deputy.Query {
	return deputy.Query{All: true, Where: []deputy.Filter{
		{Fields: []string{"user_id"}, Values: []string{string(id)}},
		{Fields: []string{"status"}, Values: []string{string(deputy.Active)}},
	}}
}

// sessionsShown returns the person's browsers, each with the clients that came
// in through it.
func (s *Server) sessionsShown(ctx context.Context, m *member) ([]pages.Session, error) {
	list, err := s.store.Sessions().List(ctx, m.in(), ofUser(m.user.ID))
	if err != nil {
		return nil, err
	}
	below := make(map[deputy.SessionID][]pages.Session)
	var browsers []pages.Session
	for _, x := range list.Items {
		if !s.now().Before(x.ExpiresAt) {
			continue
		}
		shown := pages.Session{ID: string(x.ID), Name: x.Name, Since: x.AuthenticatedAt, Expires: x.ExpiresAt, Current: x.ID == m.session.ID}
		if x.ParentID == nil {
			browsers = append(browsers, shown)
		} else {
			below[*x.ParentID] = append(below[*x.ParentID], shown)
		}
	}
	for i := range browsers {
		browsers[i].Clients = below[deputy.SessionID(browsers[i].ID)]
	}
	return browsers, nil
}

// consentsShown returns what the person has agreed to, by client.
func (s *Server) consentsShown(ctx context.Context, m *member) ([]pages.Agreement, error) {
	records, err := s.store.Consents(ctx, m.zone.id, m.user.ID)
	if err != nil {
		return nil, err
	}
	var out []pages.Agreement
	for _, c := range records {
		r := m.snap.resources[c.ResourceID]
		if r == nil {
			continue
		}
		if len(out) == 0 || out[len(out)-1].Client != string(c.ClientID) {
			_, name, err := s.agreedClient(ctx, m, c.ClientID)
			if deputy.KindOf(err) == deputy.NotFound {
				name, err = string(c.ClientID), nil
			}
			if err != nil {
				return nil, err
			}
			out = append(out, pages.Agreement{Client: string(c.ClientID), Name: name, Since: c.CreatedAt})
		}
		last := &out[len(out)-1]
		last.Targets = append(last.Targets, pages.Target{Name: r.Name, Scopes: c.Scopes})
	}
	return out, nil
}

// agreedClient returns the client of a consent, an application or a user agent,
// and what it is called.
func (s *Server) agreedClient(ctx context.Context, m *member, id deputy.ID) (*deputy.Target, string, error) {
	a, err := s.store.Applications().Get(ctx, m.in(), id)
	if err == nil {
		return &deputy.Target{Type: "application", ID: string(id)}, a.Name, nil
	}
	if unlessAbsent(err) != nil {
		return nil, "", err
	}
	agent, err := s.store.UserAgents().Get(ctx, m.in(), id)
	if err != nil {
		return nil, "", err
	}
	return &deputy.Target{Type: "user_agent", ID: string(id)}, agent.Name, nil
}

// withdrawConsent takes back all that the person agreed to for a client, and
// ends the sessions that the client has with them. They are asked before it gets
// anything again, also where it need not ask.
func (s *Server) withdrawConsent(v *visitor) {
	m, ok := s.member(v, false)
	if !ok {
		return
	}
	client, event := deputy.ID(v.text("client")), s.memberEvent(m, eventWithdraw)
	var err error
	if event.Target, _, err = s.agreedClient(v.r.Context(), m, client); err != nil {
		s.done(m, "removed", err)
		return
	}
	err = s.change(m, event, func(ctx context.Context, tx deputy.Tx) error {
		list, err := tx.Sessions().List(ctx, m.in(), ofUser(m.user.ID))
		if err != nil {
			return err
		}
		for _, x := range list.Items {
			ofApplication := x.ApplicationID != nil && deputy.ID(*x.ApplicationID) == client
			if ofApplication || x.UserAgentID != nil && *x.UserAgentID == client {
				if err := revoke(ctx, tx, m.in(), x.ID); err != nil {
					return err
				}
			}
		}
		return tx.WithdrawConsents(ctx, m.zone.id, m.user.ID, client)
	})
	s.done(m, "removed", err)
}

// grantsShown returns what can be reached for the person.
func (s *Server) grantsShown(ctx context.Context, m *member) ([]pages.Connection, error) {
	list, err := s.store.Grants().List(ctx, m.in(), ofUser(m.user.ID))
	if err != nil {
		return nil, err
	}
	var out []pages.Connection
	for _, g := range list.Items {
		if r := m.snap.resources[g.ResourceID]; r != nil {
			out = append(out, pages.Connection{ID: string(g.ID), Name: r.Name, Scopes: g.Scopes, Since: g.CreatedAt, Status: string(g.Status)})
		}
	}
	return out, nil
}

// done goes back to the account page, which says what was done.
func (s *Server) done(m *member, what string, err error) {
	if unlessAbsent(err) != nil {
		s.fail(m.visitor, err)
		return
	}
	redirect(m.w, m.r, m.snap.issuer+pageAccount+"?done="+what)
}

// memberEvent returns an event of something that the person does.
func (s *Server) memberEvent(m *member, kind string) *deputy.Event {
	e := s.visitorEvent(m.visitor, kind, m.user)
	e.SessionID = m.session.ID
	return e
}

// change does something in the person's name, if they are still signed in when it
// is written down: what ends a session ends what is under way in it.
func (s *Server) change(m *member, event *deputy.Event, apply func(context.Context, deputy.Tx) error) error {
	ctx := m.r.Context()
	return s.store.Write(ctx, event, func(tx deputy.Tx) error {
		if err := m.stillHere(ctx, tx); err != nil {
			return err
		}
		return apply(ctx, tx)
	})
}

// stillHere refuses whose session is over. It holds the row of the session, so
// that whoever ends it meanwhile comes before or after.
func (m *member) stillHere(ctx context.Context, tx deputy.Tx) error {
	held := func(*deputy.Session) error { return nil }
	if _, err := tx.Sessions().Update(ctx, m.in(), deputy.ID(m.session.ID), held); unlessAbsent(err) != nil {
		return err
	}
	chain, user, err := tx.SessionChain(ctx, m.zone.id, m.session.ID)
	if unlessAbsent(err) != nil {
		return err
	}
	standing := deputy.Standing{Zone: m.snap.zone, User: user, Sessions: chain}
	if standing.Live(deputy.UseWebSession, tx.Now()) != nil {
		return errNoLogin
	}
	return nil
}

// endOneSession ends one of the person's sessions, with those below it.
func (s *Server) endOneSession(v *visitor) {
	m, ok := s.member(v, false)
	if !ok {
		return
	}
	x, err := s.store.Sessions().Get(v.r.Context(), m.in(), deputy.ID(v.text("id")))
	if err == nil && (x.UserID == nil || *x.UserID != m.user.ID) {
		err = deputy.NotFound
	}
	if err == nil {
		event := s.memberEvent(m, eventSessionEnd)
		event.SessionID = x.ID
		err = s.change(m, event, func(ctx context.Context, tx deputy.Tx) error { return revoke(ctx, tx, m.in(), x.ID) })
	}
	s.done(m, "removed", err)
}

// signOutHere ends the web session of the browser.
func (s *Server) signOutHere(v *visitor) {
	m, ok := s.member(v, false)
	if !ok {
		return
	}
	err := s.change(m, s.memberEvent(m, eventLogout), func(ctx context.Context, tx deputy.Tx) error {
		return revoke(ctx, tx, m.in(), m.session.ID)
	})
	if unlessAbsent(err) != nil {
		s.fail(v, err)
		return
	}
	s.dropCookie(v.w, browserCookie, v.zone.id)
	s.show(v, http.StatusOK, pages.Done{What: pages.DoneSignedOut})
}

// revokeGrant ends what can be reached for the person.
func (s *Server) revokeGrant(v *visitor) {
	m, ok := s.member(v, false)
	if !ok {
		return
	}
	g, err := s.store.Grants().Get(v.r.Context(), m.in(), deputy.ID(v.text("id")))
	if err == nil && g.UserID != m.user.ID {
		err = deputy.NotFound
	}
	if err == nil {
		event := s.memberEvent(m, eventRevokeGrant)
		event.Resource, event.ProviderID = &deputy.EventResource{ID: g.ResourceID}, g.ProviderID
		event.Target = &deputy.Target{Type: "delegated_grant", ID: string(g.ID)}
		err = s.change(m, event, func(ctx context.Context, tx deputy.Tx) error {
			_, err := tx.Grants().Update(ctx, m.in(), g.ID, func(g *deputy.Grant) error {
				g.End(tx.Now())
				return nil
			})
			return err
		})
	}
	s.done(m, "removed", err)
}

func (s *Server) changePasswordPage(v *visitor) {
	m, ok := s.member(v, false)
	if !ok {
		return
	}
	s.display(m, http.StatusOK, pages.ChangePassword{Username: displayName(m.user), Shortest: password.Shortest})
}

// changePassword replaces the password of whoever knows it, and ends all other
// sessions.
func (s *Server) changePassword(v *visitor) {
	m, ok := s.member(v, false)
	if !ok {
		return
	}
	ctx := v.r.Context()
	again := func(problem pages.Message, status int) {
		s.display(m, status, pages.ChangePassword{Username: displayName(m.user), Shortest: password.Shortest, Problem: problem})
	}
	had, err := s.store.Passwords().Get(ctx, m.in(), deputy.ID(m.user.ID))
	if err != nil {
		s.done(m, "", err)
		return
	}
	known, problem, err := s.passwordOf(v, had.Email, deputy.Conceal(v.text("current")))
	chosen := deputy.Conceal(v.text("password"))
	if err == nil && problem == pages.None {
		problem = s.weak(chosen, v, had.Email)
	}
	if err == nil && problem == pages.None && chosen.Equal(deputy.Conceal(v.text("current"))) {
		problem = pages.PasswordReused
	}
	var hash string
	if err == nil && problem == pages.None {
		hash, err = s.passwords.Hash(ctx, chosen)
	}
	switch {
	case deputy.KindOf(err) == deputy.TooMany, problem == pages.Busy:
		again(pages.Busy, http.StatusServiceUnavailable)
		return
	case problem == pages.Throttled:
		again(problem, http.StatusTooManyRequests)
		return
	case problem != pages.None:
		again(problem, http.StatusBadRequest)
		return
	case err != nil:
		s.fail(v, err)
		return
	}
	err = s.change(m, s.memberEvent(m, eventPassword), func(ctx context.Context, tx deputy.Tx) error {
		if _, err := tx.Passwords().Update(ctx, m.in(), deputy.ID(m.user.ID), func(p *deputy.Password) error {
			if p.Hash != known.Hash {
				return errReplaced
			}
			p.Hash, p.ChangedAt = hash, tx.Now()
			return nil
		}); err != nil {
			return err
		}
		return endSessions(ctx, tx, m.zone.id, m.user.ID, m.session.ID)
	})
	if errors.Is(err, errReplaced) {
		again(pages.WrongPassword, http.StatusBadRequest)
		return
	}
	s.done(m, "password", err)
}

// passkeyChallenge is what a browser was asked to make, kept under its web
// session's secret.
type passkeyChallenge struct {
	Session webauthn.SessionData `json:"session"`
}

// challengeLives is how long an authenticator may take.
const challengeLives = 10 * time.Minute

func (s *Server) addPasskeyPage(v *visitor) {
	m, ok := s.member(v, true)
	if !ok {
		return
	}
	s.askPasskey(m, http.StatusOK, pages.None)
}

// askPasskey shows the page that makes a passkey.
func (s *Server) askPasskey(m *member, status int, problem pages.Message) {
	ctx := m.r.Context()
	rp, err := s.relying(m.snap)
	if err != nil || rp == nil || m.user.Issuer != nil {
		s.fail(m.visitor, errors.Join(refuse(codeInvalidRequest, "Passkeys cannot be added here."), err))
		return
	}
	h, err := s.holder(ctx, m.visitor, m.user.ID)
	if err != nil {
		s.fail(m.visitor, err)
		return
	}
	options, session, err := rp.BeginRegistration(h, webauthn.WithExclusions(webauthn.Credentials(h.credentials).CredentialDescriptors()))
	if err != nil {
		s.fail(m.visitor, err)
		return
	}
	text, err := json.Marshal(options)
	if err != nil {
		s.fail(m.visitor, err)
		return
	}
	session.Expires = time.Time{} // the ticket is what ends it
	t, err := newTicket(deputy.PasskeyTicket, m.zone.id, m.secret, passkeyChallenge{*session}, s.now(), challengeLives)
	if err == nil {
		err = s.store.PutTicket(ctx, t, nil)
	}
	if err != nil {
		s.fail(m.visitor, err)
		return
	}
	s.display(m, status, pages.AddPasskey{Options: string(text), Problem: problem})
}

// changePasskeys adds a passkey, or removes one.
func (s *Server) changePasskeys(v *visitor) {
	m, ok := s.member(v, true)
	if !ok {
		return
	}
	if v.text("action") == "remove" {
		err := s.change(m, s.memberEvent(m, eventPasskey), func(ctx context.Context, tx deputy.Tx) error {
			in := m.in()
			in.Parent = deputy.ID(m.user.ID)
			return tx.Passkeys().Delete(ctx, in, deputy.ID(v.text("id")))
		})
		s.done(m, "removed", err)
		return
	}
	key, err := s.newPasskey(m)
	if err == nil {
		err = s.change(m, s.memberEvent(m, eventPasskey), func(ctx context.Context, tx deputy.Tx) error {
			if _, err := tx.TakeTicket(ctx, deputy.PasskeyTicket, m.zone.id, deputy.HashSecret(m.secret)); err != nil {
				return err
			}
			return tx.Passkeys().Insert(ctx, key)
		})
	}
	if err != nil {
		s.log.DebugContext(m.from.ctx, "a passkey was not added", "zone_id", string(m.zone.id), "request_id", m.from.requestID, "cause", err)
		s.askPasskey(m, http.StatusBadRequest, pages.PasskeyFailed)
		return
	}
	s.done(m, "passkey", nil)
}

// newPasskey returns the passkey that an authenticator has made.
func (s *Server) newPasskey(m *member) (*deputy.Passkey, error) {
	ctx := m.r.Context()
	t, err := s.store.Ticket(ctx, deputy.PasskeyTicket, m.zone.id, deputy.HashSecret(m.secret))
	if err != nil {
		return nil, err
	}
	var kept passkeyChallenge
	if err := openTicket(t, m.secret, &kept); err != nil {
		return nil, err
	}
	rp, err := s.relying(m.snap)
	if err != nil || rp == nil {
		return nil, errors.Join(errPasskey, err)
	}
	answer, err := protocol.ParseCredentialCreationResponseBytes([]byte(m.text("credential")))
	if err != nil {
		return nil, err
	}
	h, err := s.holder(ctx, m.visitor, m.user.ID)
	if err != nil {
		return nil, err
	}
	made, err := rp.CreateCredential(h, kept.Session, answer)
	if err != nil {
		return nil, err
	}
	made.Attestation = webauthn.CredentialAttestation{} // nobody asked who made the authenticator
	raw, err := json.Marshal(made)
	if err != nil {
		return nil, err
	}
	now := deputy.Time(s.now())
	key := &deputy.Passkey{
		ZoneID: m.zone.id, ID: deputy.NewID(now), UserID: m.user.ID, Name: strings.TrimSpace(m.text("name")),
		CredentialID: base64.RawURLEncoding.EncodeToString(made.ID), Credential: raw, CreatedAt: now,
	}
	return key, key.Validate()
}
