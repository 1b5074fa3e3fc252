package oauth

import (
	"context"
	"net/http"
	"time"

	"deputy/internal/deputy"
)

// A person's web session at a browser ends this long after they signed in, and
// the browser has to be used this often meanwhile. What hangs on the session, the
// sessions of clients, ends with it and minds no idleness.
const (
	webSessionLives = 30 * 24 * time.Hour
	webSessionIdles = 24 * time.Hour
	// webSessionTick is how often it is noted that the browser is in use.
	webSessionTick = 5 * time.Minute
)

// browser returns the web session of the browser that a request comes from and
// whose it is, if both may still be used: else nil.
func (s *Server) browser(ctx context.Context, r *http.Request, zone deputy.ZoneID, snap *snapshot) (*deputy.Session, *deputy.User, error) {
	secret, ok := s.cookie(r, browserCookie, zone)
	if !ok {
		return nil, nil, nil
	}
	t, err := s.store.Ticket(ctx, deputy.BrowserTicket, zone, deputy.HashSecret(secret))
	if err != nil {
		return nil, nil, unlessAbsent(err)
	}
	var session *deputy.Session
	var user *deputy.User
	if zone == "" {
		var says managerSession
		if err = openTicket(t, secret, &says); err == nil {
			session, user, err = s.managerSession(ctx, &says)
		}
	} else {
		var id deputy.SessionID
		if err = openTicket(t, secret, &id); err == nil {
			session, user, err = s.webSession(ctx, snap, id)
		}
	}
	if err != nil || session == nil {
		return nil, nil, err
	}
	if now := deputy.Time(s.now()); now.Sub(t.CreatedAt) >= webSessionTick {
		t.CreatedAt, t.ExpiresAt = now, now.Add(webSessionIdles)
		if err := s.store.PutTicket(ctx, t, t.Key); err != nil {
			return nil, nil, unlessAbsent(err)
		}
	}
	return session, user, nil
}

// signedInHere reports whether the browser is the one that the person of a
// transaction signed in at: in a zone in whatever state their session is by now,
// which assess looks at, and at the management plane only while it is good.
func (s *Server) signedInHere(ctx context.Context, r *http.Request, l *login) (bool, error) {
	if l.zone.manages() {
		_, user, err := s.browser(ctx, r, l.zone.id, l.snap)
		return user != nil && user.ID == l.User, err
	}
	secret, ok := s.cookie(r, browserCookie, l.zone.id)
	if !ok {
		return false, nil
	}
	t, err := s.store.Ticket(ctx, deputy.BrowserTicket, l.zone.id, deputy.HashSecret(secret))
	if err != nil {
		return false, unlessAbsent(err)
	}
	var session deputy.SessionID
	err = openTicket(t, secret, &session)
	return session == l.Session, err
}

// webSession returns a web session and whose it is, nil when they have signed
// out, in whatever way.
func (s *Server) webSession(ctx context.Context, snap *snapshot, id deputy.SessionID) (*deputy.Session, *deputy.User, error) {
	chain, user, err := s.store.SessionChain(ctx, snap.zone.ID, id)
	if err != nil {
		return nil, nil, unlessAbsent(err)
	}
	standing := deputy.Standing{Zone: snap.zone, User: user, Sessions: chain}
	if standing.Live(deputy.UseWebSession, s.now()) != nil {
		return nil, nil, nil
	}
	return chain[0], user, nil
}

// unlessAbsent returns an error that says more than that something is not there.
func unlessAbsent(err error) error {
	if deputy.KindOf(err) == deputy.NotFound {
		return nil
	}
	return err
}

// proof is how a person has just proved who they are.
type proof struct {
	user *deputy.User
	// provider is who vouches for them, nil for the zone itself; then issuer,
	// subject and claims say what it said.
	provider        *deputy.ProviderID
	issuer, subject string
	claims          []byte // JSON
	// at is when they proved it, which may be long ago where a provider knew them
	// already; zero for just now.
	at time.Time
}

// authenticated returns when the person proved who they are, as of now.
func (by *proof) authenticated(now time.Time) time.Time {
	if by.at.IsZero() || by.at.After(now) {
		return now
	}
	return by.at
}

// signIn begins a web session of a person who has just proved who they are, or
// renews the one that the browser has with them, and puts it into the
// transaction. also, if not nil, changes what belongs to it in the same commit:
// it makes a person of somebody new, or uses up a code; it runs first.
//
// The browser gets new secrets for both, so that nobody who knew those before is
// signed in with it. Whoever may not sign in gets an *deputy.Off.
func (s *Server) signIn(ctx context.Context, w http.ResponseWriter, r *http.Request, l *login, by proof, also func(context.Context, deputy.Tx) error) error {
	had, user, err := s.browser(ctx, r, l.zone.id, l.snap)
	if err != nil {
		return err
	}
	if user == nil || user.ID != by.user.ID {
		had = nil
	}
	var next login
	pass := deputy.NewSecret()
	event := s.personalEvent(l, eventLogin, by.user)
	event.SessionID = deputy.SessionID(event.ID)
	if had != nil && !l.zone.manages() {
		event.SessionID = had.ID
	}
	err = s.store.Write(ctx, event, func(tx deputy.Tx) error {
		if also != nil {
			if err := also(ctx, tx); err != nil {
				return err
			}
		}
		says, err := open(ctx, tx, l, by, event.SessionID, had == nil)
		if err != nil {
			return err
		}
		next = *l
		next.User, next.Session = by.user.ID, event.SessionID
		if next.secret, err = next.renew(ctx, tx); err != nil {
			return err
		}
		t, err := newTicket(deputy.BrowserTicket, l.zone.id, pass, says, tx.Now(), webSessionIdles)
		if err != nil {
			return err
		}
		if old, ok := s.cookie(r, browserCookie, l.zone.id); ok {
			if _, err := tx.TakeTicket(ctx, deputy.BrowserTicket, l.zone.id, deputy.HashSecret(old)); unlessAbsent(err) != nil {
				return err
			}
		}
		return tx.PutTicket(ctx, t)
	})
	if err != nil {
		return err
	}
	*l = next
	s.begun(w, l)
	s.setCookie(w, browserCookie, l.zone.id, pass, webSessionLives)
	return nil
}

// open begins or renews what the browser's ticket stands for, and returns what
// that is to say.
func open(ctx context.Context, tx deputy.Tx, l *login, by proof, id deputy.SessionID, fresh bool) (says any, err error) {
	if l.zone.manages() {
		return openManager(ctx, tx, by)
	}
	return id, openSession(ctx, tx, l, by, id, fresh)
}

// openSession makes or renews the web session of a person who may sign in.
func openSession(ctx context.Context, tx deputy.Tx, l *login, by proof, id deputy.SessionID, fresh bool) error {
	now := tx.Now()
	in := deputy.Scope{Zone: l.zone.id}
	user, err := tx.Users().Get(ctx, in, deputy.ID(by.user.ID))
	if unlessAbsent(err) != nil {
		return err
	}
	standing := deputy.Standing{Zone: l.snap.zone, User: user}
	if err := standing.Live(deputy.UseSignIn, now); err != nil {
		return err
	}
	if _, err := tx.Users().Update(ctx, in, deputy.ID(user.ID), func(u *deputy.User) error {
		u.AuthenticatedAt = &now
		return nil
	}); err != nil {
		return err
	}
	if !fresh {
		_, err := tx.Sessions().Update(ctx, in, deputy.ID(id), func(x *deputy.Session) error {
			x.AuthenticatedAt, x.ExpiresAt = by.authenticated(now), now.Add(webSessionLives)
			x.ProviderID, x.Issuer, x.Subject, x.Data = by.of(l.snap, user)
			return nil
		})
		return err
	}
	session := &deputy.Session{
		ID: id, OrganizationID: user.OrganizationID, ZoneID: l.zone.id,
		Type: deputy.UserSession, Status: deputy.Active, UserID: &user.ID,
		AuthenticatedAt: by.authenticated(now), ExpiresAt: now.Add(webSessionLives), CreatedAt: now, UpdatedAt: now,
	}
	session.ProviderID, session.Issuer, session.Subject, session.Data = by.of(l.snap, user)
	return tx.Sessions().Insert(ctx, session)
}

// of returns what a session says of where its person comes from.
func (by *proof) of(snap *snapshot, user *deputy.User) (provider *deputy.ProviderID, issuer, subject string, claims []byte) {
	if by.provider != nil {
		return by.provider, by.issuer, by.subject, by.claims
	}
	if snap.sts != nil {
		provider = &snap.sts.ID
	}
	return provider, snap.issuer, user.Identifier, by.claims
}

// personalEvent returns an event of something that a person does in a
// transaction.
func (s *Server) personalEvent(l *login, kind string, user *deputy.User) *deputy.Event {
	at := deputy.Time(s.now())
	e := &deputy.Event{
		ID: deputy.EventID(deputy.NewID(at)), Time: at, Type: kind, Outcome: deputy.Success,
		OrganizationID: l.snap.zone.OrganizationID, ZoneID: l.zone.id,
		RequestID: l.from.requestID, IP: l.from.address, UserAgent: l.from.userAgent,
		ClientID: clip(l.Request.ClientID),
	}
	if user != nil {
		e.Actor = deputy.Actor{Type: "user", ID: string(user.ID), Identifier: user.Identifier}
		e.OrganizationID, e.UserID, e.UserKey = user.OrganizationID, user.ID, user.KeyID
	}
	return e
}
