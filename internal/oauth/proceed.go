package oauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

// Pages of the sign-in, below the issuer.
const (
	pageLogin       = "/login"
	pageVerifyEmail = "/login/verify-email"
	pageConsent     = "/login/consent"
	pageGrant       = "/login/authorize" // for one resource, without a client that waits
)

// proceed takes the transaction to whatever is next: a page, or the answer.
// What is next follows from what the transaction holds and what is true now, so
// it may be called at any time.
func (s *Server) proceed(w http.ResponseWriter, r *http.Request, l *login) {
	if l.zone.manages() {
		s.proceedPlane(w, r, l)
		return
	}
	ctx := r.Context()
	for range maxAttempts {
		a, err := s.assess(ctx, l)
		if refused, ok := a.refused(err); ok {
			if err = s.recordRefusal(ctx, l, a, refused); err == nil {
				s.abandonRecorded(w, r, l, refused)
				return
			}
		} else if err == nil {
			if page, code := l.next(a); page != "" {
				s.turnTo(w, r, l, page, code)
				return
			}
			var answer url.Values
			if answer, err = s.complete(ctx, l, a); err == nil {
				s.answer(w, r, l, answer)
				return
			}
		}
		if deputy.KindOf(err) != deputy.Stale {
			s.stop(w, r, l, err)
			return
		}
		if l.snap, err = s.advance(ctx, l.zone, l.snap); err != nil {
			s.stop(w, r, l, err)
			return
		}
	}
	s.stop(w, r, l, errTooMuchTime)
}

// stop ends what cannot go on. Where the client itself is in doubt it is told
// nothing.
func (s *Server) stop(w http.ResponseWriter, r *http.Request, l *login, err error) {
	switch {
	case errors.Is(err, errNoLogin):
		s.showRefusal(w, r, l.from, l.zone.id, err)
	case errors.Is(err, errClientGone):
		s.end(w, r, l)
		s.showRefusal(w, r, l.from, l.zone.id, err)
	default:
		s.abandon(w, r, l, err)
	}
}

// next returns the page that the person has to see next, and what a client is
// told that wants none of them seen; no page when there is nothing left to do.
func (l *login) next(a *assessment) (page, code string) {
	switch {
	case a.user == nil:
		return pageLogin, codeLoginRequired
	case !ownsAddress(a.user):
		return pageVerifyEmail, codeInteractionRequired
	case len(l.pending(a)) > 0:
		return pageConsent, codeConsentRequired
	case a.connects() != nil:
		return pageConnect, codeInteractionRequired
	}
	return "", ""
}

// ownsAddress reports whether a person has shown that the address is theirs, which
// the zone wants of whom it vouches for itself. Until they do the account is
// whoever's who comes next, and holds nothing.
func ownsAddress(u *deputy.User) bool { return u.EmailVerified || u.Issuer != nil }

// pending returns what the consent page has to show before there is an answer.
// Where no client waits for one, the page is what the person came for, and what
// it leads to must not happen because of a link that somebody sent them.
func (l *login) pending(a *assessment) []*wish {
	if l.Request.RedirectURI == "" && !l.Consented {
		return a.wishes
	}
	return a.asks()
}

// turnTo sends the browser to a page, unless the client wants none.
func (s *Server) turnTo(w http.ResponseWriter, r *http.Request, l *login, page, code string) {
	if l.Request.prompts(promptNone) {
		s.abandon(w, r, l, refuse(code, "The request cannot be answered without the person."))
		return
	}
	if err := s.save(r.Context(), w, l); err != nil {
		s.stop(w, r, l, err)
		return
	}
	redirect(w, r, l.snap.issuer+page)
}

// answer sends the browser back with the answer, or where no client waits to
// the page that the transaction was begun for.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, l *login, answer url.Values) {
	if l.begun {
		s.dropCookie(w, loginCookie, l.zone.id)
	}
	if l.Request.RedirectURI == "" {
		redirect(w, r, l.snap.issuer+l.Return)
		return
	}
	answerClient(w, r, &l.Request, l.snap.issuer, answer)
}

// approve records that the person has agreed to what the consent page showed;
// shown is the digest that it carried. Where that is not what is asked any
// more, nothing is recorded and the page is next again.
func (s *Server) approve(w http.ResponseWriter, r *http.Request, l *login, shown string) {
	if l.zone.manages() {
		s.approvePlane(w, r, l, shown)
		return
	}
	ctx := r.Context()
	a, err := s.assess(ctx, l)
	if err == nil && a.user != nil && len(l.pending(a)) > 0 && shown == a.digest() {
		if err := s.recordConsent(ctx, l, a); err != nil && deputy.KindOf(err) != deputy.Stale {
			s.stop(w, r, l, err)
			return
		}
	}
	s.proceed(w, r, l)
}

// recordConsent writes down what the person has agreed to.
func (s *Server) recordConsent(ctx context.Context, l *login, a *assessment) error {
	if err := s.settle(ctx, l, a); err != nil {
		return err
	}
	next := *l
	next.Consented = true
	t, err := next.ticket(s.now())
	if err != nil {
		return err
	}
	event := s.personalEvent(l, eventConsent, a.user)
	event.SessionID = l.Session
	for _, wish := range l.pending(a) {
		event.ScopesGranted = append(event.ScopesGranted, wish.scopes...)
	}
	err = s.store.Write(ctx, event, func(tx deputy.Tx) error {
		if _, err := tx.TakeTicket(ctx, t.Kind, t.ZoneID, t.Key); err != nil {
			return ended(err)
		}
		if err := tx.PutTicket(ctx, t); err != nil {
			return err
		}
		for _, wish := range a.wishes {
			for _, p := range wish.pacts {
				if err := tx.Reconcile(ctx, l.zone.id, a.user.ID, p.by.consenter()); err != nil {
					return err
				}
			}
		}
		return a.putConsents(ctx, tx, l.zone.id)
	})
	if err == nil {
		*l = next
	}
	return err
}

// putConsents records the agreements that are new.
func (a *assessment) putConsents(ctx context.Context, tx deputy.Tx, zone deputy.ZoneID) error {
	for _, wish := range a.wishes {
		for _, p := range wish.pacts {
			if p.given && covers(p.known, p.scopes) {
				continue
			}
			record := &deputy.ConsentRecord{
				ZoneID: zone, UserID: a.user.ID, ClientID: p.by.consenter(), ResourceID: wish.ID,
				Scopes: union(p.known, p.scopes), CreatedAt: tx.Now(),
			}
			if err := tx.PutConsent(ctx, record); err != nil {
				return err
			}
		}
	}
	return nil
}

// union returns the texts of both lists, each once.
func union(a, b []string) []string {
	all := slices.Clone(a)
	for _, text := range b {
		if !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}

// deny ends the transaction because the person does not agree.
func (s *Server) deny(w http.ResponseWriter, r *http.Request, l *login) {
	s.abandon(w, r, l, refuse(codeAccessDenied, "The user did not agree."))
}

// complete ends the transaction with an answer: what was assessed is committed
// on the proof that it is still so, and the code with it.
func (s *Server) complete(ctx context.Context, l *login, a *assessment) (url.Values, error) {
	if err := s.settle(ctx, l, a); err != nil {
		return nil, err
	}
	event, entities := s.authorization(l, a)
	code := deputy.NewSecret()
	err := s.writeKeeping(ctx, event, entities, func(tx deputy.Tx) error {
		if l.begun {
			if _, err := tx.TakeTicket(ctx, deputy.LoginTicket, l.zone.id, deputy.HashSecret(l.secret)); err != nil {
				return ended(err)
			}
		}
		if a.client == nil {
			return nil
		}
		if err := a.reread(ctx, tx, l); err != nil {
			return err
		}
		if err := a.putConsents(ctx, tx, l.zone.id); err != nil {
			return err
		}
		if err := a.putGrants(ctx, tx, l); err != nil {
			return err
		}
		if l.Request.RedirectURI == "" {
			return nil
		}
		t, err := newTicket(deputy.CodeTicket, l.zone.id, code, a.authorized(l), tx.Now(), codeLives)
		if err != nil {
			return err
		}
		return tx.PutTicket(ctx, t)
	})
	if err != nil {
		return nil, moved(err)
	}
	s.observed(l, a, event)
	return url.Values{"code": {code.Reveal()}}, nil
}

// authorization returns the event of a transaction's end, and what must be kept
// with it.
func (s *Server) authorization(l *login, a *assessment) (*deputy.Event, []policy.Entity) {
	event := s.personalEvent(l, eventAuthorize, a.user)
	event.SessionID = l.Session
	event.ScopesRequested = append(slices.Clone(l.Request.OpenID), l.Request.Scopes...)
	event.Basis = &deputy.Basis{Zone: l.zone.id, Revision: l.snap.revision, Relies: a.grounds.rely}
	entities := a.decided(event)
	if len(a.wishes) > 0 {
		event.ScopesGranted = append(slices.Clone(l.Request.OpenID), a.wishes[0].scopes...)
	}
	return event, entities
}

// refused returns the refusal that policy has led to, if that is what err is.
func (a *assessment) refused(err error) (refused *refusal, ok bool) {
	if a == nil || len(a.decisions) == 0 || a.decisions[0].outcome.Allowed {
		return nil, false
	}
	return asDecision(err)
}

// recordRefusal writes down that policy refused the request, on the proof that
// what decided still decides: else the error is Stale.
func (s *Server) recordRefusal(ctx context.Context, l *login, a *assessment, r *refusal) error {
	event, entities := s.authorization(l, a)
	if err := s.record(ctx, event, entities, r); err != nil {
		return err
	}
	s.observed(l, a, event)
	return nil
}

// reread checks in the committing transaction what no zone revision covers: the
// person, their session, and what they agreed to.
func (a *assessment) reread(ctx context.Context, tx deputy.Tx, l *login) error {
	chain, user, err := tx.SessionChain(ctx, l.zone.id, l.Session)
	if err != nil {
		return err
	}
	now := a.standing
	now.Sessions, now.User = chain, user
	if err := a.client.rereadAgent(ctx, tx, l.zone.id, &now); err != nil {
		return err
	}
	if err := now.Live(a.client.use(deputy.UseAuthorize, deputy.UseAuthorizeAgent), tx.Now()); err != nil {
		return err
	}
	if user.Revision != a.user.Revision {
		return errMoved
	}
	if err := a.person.unchanged(ctx, tx, l.zone.id, user.ID); err != nil {
		return err
	}
	for _, wish := range a.wishes {
		for _, p := range wish.pacts {
			withdrawn, err := l.withdrawn(ctx, tx, user.ID, p.by, wish.ID)
			if err != nil {
				return err
			}
			if withdrawn {
				return errMoved
			}
			if p.by.consent != deputy.RequiredConsent {
				continue
			}
			given, err := tx.Consent(ctx, l.zone.id, user.ID, p.by.consenter(), wish.ID)
			if unlessAbsent(err) != nil {
				return err
			}
			if given == nil || !covers(given.Scopes, p.scopes) {
				return errMoved
			}
		}
	}
	return nil
}

// putGrants notes the person's authorization of each resource whose credential
// comes from this zone, so that it can be listed and revoked.
func (a *assessment) putGrants(ctx context.Context, tx deputy.Tx, l *login) error {
	now, in := tx.Now(), deputy.Scope{Zone: l.zone.id}
	// Authorizations of one person wait for each other here, so that two at once
	// do not both find that there is no grant yet.
	same := func(*deputy.User) error { return nil }
	if _, err := tx.Users().Update(ctx, in, deputy.ID(a.user.ID), same); err != nil {
		return err
	}
	for _, wish := range a.wishes {
		if l.snap.providers[*wish.CredentialProviderID].Type == deputy.ExternalProvider {
			continue
		}
		g, err := tx.Grant(ctx, l.zone.id, a.user.ID, wish.ID)
		if unlessAbsent(err) != nil {
			return err
		}
		if err == nil && g.State(now) == deputy.Active {
			_, err = tx.Grants().Update(ctx, in, g.ID, func(g *deputy.Grant) error {
				g.Scopes = union(g.Scopes, wish.scopes)
				return nil
			})
		} else {
			err = tx.Grants().Insert(ctx, &deputy.Grant{
				ID: deputy.NewID(now), OrganizationID: a.user.OrganizationID, ZoneID: l.zone.id, UserID: a.user.ID,
				ResourceID: wish.ID, ProviderID: *wish.CredentialProviderID, Scopes: wish.scopes, Status: deputy.Active,
				ExpiresAt: now.Add(grantLives), CreatedAt: now, UpdatedAt: now,
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	// codeLives is how long a code waits for its token request.
	codeLives = time.Minute
	// grantLives is how long a grant lasts that nobody revokes: what it stands
	// for is in this zone and does not run out by itself.
	grantLives = 100 * 365 * 24 * time.Hour
)

// recordAuthorization writes down that a known person's request was refused.
func (s *Server) recordAuthorization(ctx context.Context, l *login, r *refusal) error {
	user, err := s.signedIn(ctx, l)
	if err != nil || user == nil {
		return err
	}
	event := s.personalEvent(l, eventAuthorize, user)
	event.SessionID = l.Session
	event.ScopesRequested = append(slices.Clone(l.Request.OpenID), l.Request.Scopes...)
	return s.record(ctx, event, nil, r)
}

// signedIn returns who has signed in, in whatever state they are by now.
func (s *Server) signedIn(ctx context.Context, l *login) (*deputy.User, error) {
	if l.zone.manages() {
		all, err := s.memberships(ctx, deputy.ID(l.User))
		if err != nil || len(all) == 0 {
			return nil, err
		}
		return all[0].person(), nil
	}
	_, user, err := s.store.SessionChain(ctx, l.zone.id, l.Session)
	return user, unlessAbsent(err)
}

// authorized is what a code stands for.
type authorized struct {
	Request authorizationRequest `json:"request"`
	User    deputy.UserID        `json:"user"`
	Session deputy.SessionID     `json:"session"` // the web session
	// Agreed are the scopes that the person has agreed to, of the first resource.
	Agreed  []string `json:"agreed,omitempty"`
	Refresh bool     `json:"refresh,omitzero"` // the client wants refresh tokens
	// Targets are the further resources.
	Targets []deputy.ResourceID `json:"targets,omitempty"`
}

// authorized returns what the transaction comes to.
func (a *assessment) authorized(l *login) *authorized {
	out := &authorized{Request: l.Request, User: a.user.ID, Session: l.Session, Agreed: a.wishes[0].scopes, Refresh: a.client.refresh}
	for _, wish := range a.wishes[1:] {
		out.Targets = append(out.Targets, wish.ID)
	}
	return out
}
