package oauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"deputy/internal/broker"
	"deputy/internal/deputy"
	"deputy/internal/pages"
)

// Where the credential of a resource comes from an outside provider, the person
// authorizes there as well, one resource after the other, once they have agreed
// here. The sign-in goes on without one that does not work out.

// pageConnect sends the person on to the provider of the next resource.
const pageConnect = "/login/connect"

// away says that the person is at a provider: its answer is good once, for a
// while, in the browser whose transaction this is in, and for the person who
// left.
type away struct {
	State    string            `json:"state"`
	Verifier string            `json:"verifier"`
	Until    time.Time         `json:"until"`
	User     deputy.UserID     `json:"user"`
	Resource deputy.ResourceID `json:"resource"`
	Provider deputy.ProviderID `json:"provider"`
}

// connects returns the first resource whose provider the person still has to
// authorize, or nil.
func (a *assessment) connects() *wish {
	if i := slices.IndexFunc(a.wishes, func(w *wish) bool { return w.connect }); i >= 0 {
		return a.wishes[i]
	}
	return nil
}

// connectPage sends the person to a provider. It is a page that leads on by
// itself, and no redirect: a browser would stop one that a form has led to.
func (s *Server) connectPage(v *visitor) {
	w, ok := s.nextConnection(v)
	if !ok {
		return
	}
	address, err := s.depart(v, w)
	if err != nil {
		s.notConnected(v, w.resource, err)
		return
	}
	s.show(v, http.StatusOK, s.leading(v, w.resource, address))
}

// nextConnection returns the resource that is next. Where there is none, or
// something else comes first, the person is sent there and ok is false.
func (s *Server) nextConnection(v *visitor) (w *wish, ok bool) {
	a, err := s.assess(v.r.Context(), v.login)
	if err == nil && a.user != nil {
		if page, _ := v.login.next(a); page == pageConnect {
			return a.connects(), true
		}
	}
	s.proceed(v.w, v.r, v.login)
	return nil, false
}

// leading returns the page that leads to a resource's provider, without an address
// where nobody can go there.
func (s *Server) leading(v *visitor, r *resource, address string) pages.Connect {
	p := pages.Connect{Resource: r.Name, Scopes: r.Scopes, Address: address, Action: pageConnect, Failed: address == ""}
	if provider := v.snap.providers[*r.CredentialProviderID]; provider != nil {
		p.Provider = provider.Name
	}
	if u, err := url.Parse(address); err == nil {
		p.Host = u.Host
	}
	return p
}

// depart notes that the person leaves for a resource's provider and returns
// where they go.
func (s *Server) depart(v *visitor, w *wish) (address string, err error) {
	ctx := v.r.Context()
	provider := v.snap.providers[*w.CredentialProviderID]
	to, err := s.provider(ctx, v.snap, provider)
	if err != nil {
		return "", err
	}
	out := &away{
		State: deputy.NewSecret().Reveal(), Verifier: deputy.NewSecret().Reveal(), Until: s.now().Add(stateLives),
		User: v.login.User, Resource: w.ID, Provider: provider.ID,
	}
	if address, err = to.Address(out.authorization(v.snap, w.resource)); err != nil {
		return "", err
	}
	v.login.Away = out
	return address, s.save(ctx, v.w, v.login)
}

// authorization returns what the person is asked at the provider.
func (a *away) authorization(snap *snapshot, r *resource) broker.Authorization {
	return broker.Authorization{
		Redirect: snap.issuer + pathRedirect, State: a.State, Verifier: a.Verifier, Scopes: r.Scopes, Resource: r.identifier,
	}
}

// answerConnection takes the person's answer on the page: to try again, or to go
// on without the resource.
func (s *Server) answerConnection(v *visitor) {
	w, ok := s.nextConnection(v)
	if !ok {
		return
	}
	v.login.Away = nil
	if v.text("action") != "skip" {
		s.proceed(v.w, v.r, v.login)
		return
	}
	if v.login.Request.RedirectURI == "" { // it is all that they came for
		s.deny(v.w, v.r, v.login)
		return
	}
	v.login.Skipped = append(v.login.Skipped, w.ID)
	if err := s.save(v.r.Context(), v.w, v.login); err != nil {
		s.fail(v, err)
		return
	}
	s.proceed(v.w, v.r, v.login)
}

// isBack reports whether the answer that a browser brings is that of the
// provider that its transaction is at.
func (v *visitor) isBack() bool {
	out := v.login.Away
	return out != nil && deputy.Conceal(out.State).Equal(deputy.Conceal(v.text("state")))
}

// connected takes the answer of a resource's provider, which is used up with it.
func (s *Server) connected(v *visitor) {
	out := v.login.Away
	v.login.Away = nil
	if err := s.renewed(v); err != nil {
		s.fail(v, err)
		return
	}
	r := v.snap.resources[out.Resource]
	if !s.now().Before(out.Until) || out.User != v.login.User || r == nil || r.CredentialProviderID == nil || *r.CredentialProviderID != out.Provider {
		s.fail(v, errNoLogin)
		return
	}
	if err := s.connect(v, out, r); err != nil {
		s.notConnected(v, r, err)
		return
	}
	s.proceed(v.w, v.r, v.login)
}

// connect redeems the provider's answer and keeps what it gives.
func (s *Server) connect(v *visitor, out *away, r *resource) error {
	ctx, cancel := context.WithTimeout(v.r.Context(), s.refreshLease/3)
	defer cancel()
	to, err := s.provider(ctx, v.snap, v.snap.providers[out.Provider])
	if err != nil {
		return err
	}
	if err := to.CheckIssuer(v.text("iss")); err != nil {
		return err
	}
	switch code := v.text("error"); {
	case code != "":
		return &broker.Fault{Code: clip(code)}
	case v.text("code") == "":
		return &broker.Fault{Code: "no code"}
	}
	tokens, err := to.Redeem(ctx, out.authorization(v.snap, r), v.text("code"))
	if err != nil {
		return err
	}
	return s.keepGrant(context.WithoutCancel(ctx), v, r, tokens)
}

// keepGrant keeps tokens as the person's grant for a resource: in the one that
// they have, or in a new one.
func (s *Server) keepGrant(ctx context.Context, v *visitor, r *resource, t *broker.Tokens) (err error) {
	user, err := s.store.Users().Get(ctx, v.in(), deputy.ID(v.login.User))
	if err != nil {
		return err
	}
	for range maxAttempts {
		if err = s.tryKeepGrant(ctx, v, r, user, *t); deputy.KindOf(err) != deputy.Stale {
			return err
		}
	}
	return err
}

func (s *Server) tryKeepGrant(ctx context.Context, v *visitor, r *resource, user *deputy.User, t broker.Tokens) error {
	had, err := s.store.Grant(ctx, v.zone.id, user.ID, r.ID)
	if unlessAbsent(err) != nil {
		return err
	}
	if err != nil || had.ProviderID != *r.CredentialProviderID || had.State(s.now()) != deputy.Active {
		return s.newGrant(ctx, v, r, user, had, t)
	}
	if t.Refresh.IsZero() && had.RefreshTokenSet {
		// Some give one the first time only. It goes on where it is known to be of
		// the same account there: the person may have chosen another this time.
		former, err := s.openTokens(ctx, v.zone.id, had.ID, had.Sealed)
		if err != nil {
			return err
		}
		if t.Account != "" && t.Account == former.Account {
			t.Refresh = former.Refresh
		}
	}
	sealed, err := s.sealTokens(ctx, user.KeyID, v.zone.id, had.ID, &t)
	if err != nil {
		return err
	}
	e := s.connectEvent(v, r, user, had.ID)
	return s.store.Write(ctx, e, func(tx deputy.Tx) error {
		_, err := tx.Grants().Update(ctx, v.in(), had.ID, func(g *deputy.Grant) error {
			if g.Revision != had.Revision || g.State(tx.Now()) != deputy.Active {
				return errMoved
			}
			now := tx.Now()
			take(g, sealed, &t, now)
			g.RefreshedAt, g.Requested = &now, r.Scopes
			g.Fence++ // whoever refreshes the former tokens is too late
			if t.Scopes == nil {
				g.Scopes = r.Scopes
			}
			return nil
		})
		return err
	})
}

// newGrant makes a grant. The one before, if there is one, has run out or is of
// another provider: it is over.
func (s *Server) newGrant(ctx context.Context, v *visitor, r *resource, user *deputy.User, had *deputy.Grant, t broker.Tokens) error {
	id := deputy.NewID(deputy.Time(s.now()))
	sealed, err := s.sealTokens(ctx, user.KeyID, v.zone.id, id, &t)
	if err != nil {
		return err
	}
	return s.store.Write(ctx, s.connectEvent(v, r, user, id), func(tx deputy.Tx) error {
		now := tx.Now()
		current, err := tx.Grant(ctx, v.zone.id, user.ID, r.ID)
		switch {
		case unlessAbsent(err) != nil:
			return err
		case err == nil && (had == nil || current.ID != had.ID):
			return errMoved
		case err == nil:
			if _, err := tx.Grants().Update(ctx, v.in(), current.ID, func(g *deputy.Grant) error {
				if g.Status = g.State(now); g.Status == deputy.Active {
					g.Status = deputy.Revoked
				}
				return nil
			}); err != nil {
				return err
			}
		}
		g := &deputy.Grant{
			ID: id, OrganizationID: user.OrganizationID, ZoneID: v.zone.id, UserID: user.ID, ResourceID: r.ID, ProviderID: *r.CredentialProviderID,
			Scopes: r.Scopes, Requested: r.Scopes, Status: deputy.Active, CreatedAt: now, UpdatedAt: now,
		}
		take(g, sealed, &t, now)
		return tx.Grants().Insert(ctx, g)
	})
}

// connectEvent returns the event of a person's authorization at a provider.
func (s *Server) connectEvent(v *visitor, r *resource, user *deputy.User, grant deputy.ID) *deputy.Event {
	e := s.visitorEvent(v, eventGrantCreate, user)
	e.SessionID, e.ProviderID = v.login.Session, *r.CredentialProviderID
	e.Resource = &deputy.EventResource{ID: r.ID, Identifier: r.identifier}
	if grant != "" {
		e.Target = &deputy.Target{Type: "delegated_grant", ID: string(grant)}
	}
	e.ScopesRequested = r.Scopes
	return e
}

// notConnected tells the person that a provider has not given what was asked
// for, and lets them try again or go on without.
func (s *Server) notConnected(v *visitor, r *resource, err error) {
	ctx := v.r.Context()
	var f *broker.Fault
	if !errors.As(err, &f) {
		s.stop(v.w, v.r, v.login, err)
		return
	}
	user, read := s.store.Users().Get(ctx, v.in(), deputy.ID(v.login.User))
	if read != nil {
		s.stop(v.w, v.r, v.login, read)
		return
	}
	said := strings.TrimSpace("The provider did not authorize the person. " + f.Code)
	if err := s.record(ctx, s.connectEvent(v, r, user, ""), nil, refuse(codeAccessDenied, said).because(f)); err != nil {
		s.fail(v, err)
		return
	}
	if v.login.begun {
		if err := s.save(ctx, v.w, v.login); err != nil {
			s.fail(v, err)
			return
		}
	}
	s.show(v, http.StatusOK, s.leading(v, r, ""))
}
