package oauth

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/vault"
)

// The people of the management plane. A person's account is the same in every
// organization that they are a user of, and signs in in one of two ways: with a
// password here, or through the identity provider of one organization. What
// that provider says counts in its own organization only: whoever runs it can
// make it say anything.

// membershipOf is a person's place in an organization.
type membershipOf struct {
	*deputy.OrganizationUser
	organization *deputy.Organization
}

// person returns the user of an organization as pages and events see people.
func (m *membershipOf) person() *deputy.User {
	return &deputy.User{
		ID: deputy.UserID(m.ID), OrganizationID: m.OrganizationID, Identifier: m.Email, Email: m.Email, EmailVerified: true,
		Status: m.Status, KeyID: m.KeyID,
	}
}

// live asks whether the person may act in the organization.
func (m *membershipOf) live(now time.Time) error {
	standing := deputy.Standing{Organization: m.organization, OrganizationUser: m.OrganizationUser}
	return standing.Live(deputy.UseUserManagement, now)
}

// memberships returns the places of an account, the oldest first; those where it
// is in force before others.
func (s *Server) memberships(ctx context.Context, account deputy.ID) ([]*membershipOf, error) {
	users, err := s.store.AccountsOf(ctx, "id", string(account))
	if err != nil {
		return nil, err
	}
	var in, out []*membershipOf
	for _, u := range users {
		o, err := s.store.Organizations().Get(ctx, deputy.Scope{}, deputy.ID(u.OrganizationID))
		if unlessAbsent(err) != nil {
			return nil, err
		}
		m := &membershipOf{u, o}
		if m.live(s.now()) == nil {
			in = append(in, m)
		} else {
			out = append(out, m)
		}
	}
	return append(in, out...), nil
}

// userOf returns a person by the id that the zone, or the management plane, has
// for them. There it turns the visit to an organization of theirs, whose key
// seals what is kept for them and whose log tells of it.
func (s *Server) userOf(ctx context.Context, v *visitor, id deputy.UserID) (*deputy.User, error) {
	if !v.zone.manages() {
		return s.store.Users().Get(ctx, v.in(), deputy.ID(id))
	}
	all, err := s.memberships(ctx, deputy.ID(id))
	if err != nil {
		return nil, err
	}
	if len(all) == 0 || all[0].organization == nil {
		return nil, deputy.Errorf(deputy.NotFound, "the account has no organization")
	}
	v.turnTo(all[0].organization)
	return all[0].person(), nil
}

// turnTo turns a visit of the management plane to an organization.
func (v *visitor) turnTo(o *deputy.Organization) {
	snap, zone := *v.snap, *v.snap.zone
	zone.OrganizationID, zone.KeyID = o.ID, o.KeyID
	snap.zone = &zone
	v.snap = &snap
}

// place returns the place that the bearer of a transaction is to be of: in the
// organization that the client asks for, else in the person's oldest. It is nil
// when nobody has signed in.
func (s *Server) place(ctx context.Context, l *login) (*membershipOf, error) {
	if l.User == "" {
		return nil, nil
	}
	all, err := s.memberships(ctx, deputy.ID(l.User))
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if m.live(s.now()) == nil && (l.Organization == "" || m.named(l.Organization)) {
			return m, nil
		}
	}
	return nil, refuse(codeAccessDenied, "The account is not a user of the organization.")
}

// named reports whether a client means the organization, by its id or label.
func (m *membershipOf) named(name string) bool {
	return string(m.organization.ID) == name || strings.EqualFold(m.organization.Label, name)
}

// stillMember refuses, in a committing transaction, who is not a user of the
// organization any more.
func stillMember(ctx context.Context, tx deputy.Tx, organization deputy.OrganizationID, account deputy.ID) error {
	o, u, err := membership(ctx, tx.Organizations(), tx.OrganizationUsers(), organization, account)
	if unlessAbsent(err) != nil {
		return err
	}
	return (&membershipOf{u, o}).live(tx.Now())
}

// managerSession is what a browser's ticket of the management plane says.
type managerSession struct {
	Account deputy.ID `json:"account"`
	// Organization is the one whose identity provider signed them in, and Issuer
	// what that was called; both are empty for those who have a password here.
	Organization    deputy.OrganizationID `json:"organization,omitzero"`
	Issuer          string                `json:"issuer,omitzero"`
	AuthenticatedAt time.Time             `json:"authenticated_at"`
}

// managerSession returns who is signed in at the browser that a ticket is of, or
// nil: when it was too long ago, their way to sign in has changed since, or they
// are a user of no organization.
func (s *Server) managerSession(ctx context.Context, x *managerSession) (*deputy.Session, *deputy.User, error) {
	if s.now().Sub(x.AuthenticatedAt) >= webSessionLives {
		return nil, nil, nil
	}
	if x.Organization == "" {
		p, err := s.store.Passwords().Get(ctx, deputy.Scope{}, x.Account)
		if err != nil || p.ChangedAt.After(x.AuthenticatedAt) {
			return nil, nil, unlessAbsent(err)
		}
	} else if c, err := s.connection(ctx, x.Organization); err != nil || c == nil || c.Identifier != x.Issuer {
		return nil, nil, err
	}
	all, err := s.memberships(ctx, x.Account)
	if err != nil || len(all) == 0 || all[0].live(s.now()) != nil {
		return nil, nil, err
	}
	session := &deputy.Session{AuthenticatedAt: x.AuthenticatedAt, ExpiresAt: x.AuthenticatedAt.Add(webSessionLives)}
	return session, all[0].person(), nil
}

// connection returns the identity provider that signs an organization's users
// in, or nil.
func (s *Server) connection(ctx context.Context, o deputy.OrganizationID) (*deputy.SSOConnection, error) {
	c, err := s.store.SSOConnections().Get(ctx, deputy.Scope{Organization: o}, deputy.ID(o))
	return c, unlessAbsent(err)
}

// identifyManager goes on from the address that a person gave: to their
// organization's identity provider if that signs them in, else to the password.
// Who is nobody goes on to the password like everybody.
func (s *Server) identifyManager(v *visitor, email string) {
	ctx := v.r.Context()
	o, err := s.signedInBy(ctx, v.login, email)
	switch {
	case err != nil:
		s.fail(v, err)
	case o != "":
		v.login.Through = o
		s.toProvider(v)
	default:
		s.turn(v, pagePassword)
	}
}

// signedInBy returns the organization whose identity provider signs in who has
// an address; none when that is a password's business. Where the client names
// an organization with a provider, that is asked about whoever has no password:
// it may know them by another address by now.
func (s *Server) signedInBy(ctx context.Context, l *login, email string) (deputy.OrganizationID, error) {
	users, err := s.store.AccountsOf(ctx, "email", email)
	if err != nil {
		return "", err
	}
	_, err = s.store.Passwords().Find(ctx, deputy.Scope{}, "email", email)
	if unlessAbsent(err) != nil {
		return "", err
	}
	hasPassword := err == nil
	for _, u := range users {
		o, err := s.store.Organizations().Get(ctx, deputy.Scope{}, deputy.ID(u.OrganizationID))
		if err != nil {
			return "", err
		}
		m := &membershipOf{u, o}
		if wanted := l.Organization != "" && m.named(l.Organization); u.Source == "" || !wanted && (hasPassword || l.Organization != "") {
			continue
		}
		if c, err := s.connection(ctx, o.ID); err != nil || c != nil && c.Identifier == u.Source {
			return o.ID, err
		}
	}
	if hasPassword || l.Organization == "" {
		return "", nil
	}
	return s.providerOf(ctx, l.Organization)
}

// providerOf returns the organization that a client names, if it has an identity
// provider.
func (s *Server) providerOf(ctx context.Context, name string) (deputy.OrganizationID, error) {
	o, err := s.store.Organizations().Get(ctx, deputy.Scope{}, deputy.ID(name))
	if deputy.KindOf(err) == deputy.NotFound {
		o, err = s.store.Organizations().Find(ctx, deputy.Scope{}, "label", strings.ToLower(name))
	}
	if err != nil || !o.SSOEnabled {
		return "", unlessAbsent(err)
	}
	return o.ID, nil
}

// organizationRelay returns the identity provider of the organization that a
// transaction goes through.
func (s *Server) organizationRelay(ctx context.Context, l *login) (*relay, error) {
	c, err := s.connection(ctx, l.Through)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, providerFault("the organization has none")
	}
	place := vault.Place{Table: "sso_connections", Column: "sealed_secret", Row: string(l.Through)}
	return s.newRelay(ctx, place, &deputy.Provider{
		ID: deputy.ProviderID(c.ID), OrganizationID: c.OrganizationID, Identifier: c.Identifier, ClientID: c.ClientID,
		SealedSecret: c.SealedSecret, OAuth2: c.OAuth2, OpenID: c.OpenID, Revision: c.Revision,
	})
}

// errUninvited says that an identity provider vouches for somebody who is no
// user of its organization.
var errUninvited = errors.Join(errIdentity, errors.New("nobody has invited the person"))

// vouched signs in whom an organization's identity provider vouches for, if they
// are a user of that organization, or come with an invitation to it that was
// sent to an address which the provider says is theirs.
func (s *Server) vouched(v *visitor, to *relay, c *providerClaims, raw []byte) {
	ctx, l := v.r.Context(), v.login
	user, err := s.store.OrganizationUsers().Find(ctx, deputy.Scope{Organization: l.Through}, "identity", deputy.Identity(to.Server.Issuer(), c.Subject))
	if err = unlessAbsent(err); err != nil {
		s.fail(v, err)
		return
	}
	address, verified := c.address()
	switch {
	case user == nil && l.Invitation == "":
		err = errUninvited
	case user == nil && !verified:
		err = errors.Join(errIdentity, errUnchecked)
	case user == nil:
		if user, err = s.joinOrganization(v, &deputy.OrganizationUser{Email: address, Source: to.Server.Issuer(), Subject: c.Subject}, nil); err != nil {
			err = errors.Join(errIdentity, err)
		}
	}
	if err != nil {
		s.notSignedIn(v, err)
		return
	}
	l.Invitation = ""
	m := &membershipOf{OrganizationUser: user}
	s.enter(v, proof{user: m.person(), issuer: to.Server.Issuer(), subject: c.Subject, claims: raw}, nil, nil)
}

// openManager lets a person who has just proved who they are in, and returns
// what their browser's ticket says.
func openManager(ctx context.Context, tx deputy.Tx, by proof) (*managerSession, error) {
	x := &managerSession{Account: deputy.ID(by.user.ID), AuthenticatedAt: tx.Now(), Issuer: by.issuer}
	if by.issuer != "" {
		x.Organization = by.user.OrganizationID
	}
	return x, stillMember(ctx, tx, by.user.OrganizationID, x.Account)
}

// signOutManager forgets the browser.
func (s *Server) signOutManager(ctx context.Context, r *http.Request, event *deputy.Event) error {
	return s.store.Write(ctx, event, func(tx deputy.Tx) error {
		secret, _ := s.cookie(r, browserCookie, "")
		_, err := tx.TakeTicket(ctx, deputy.BrowserTicket, "", deputy.HashSecret(secret))
		return unlessAbsent(err)
	})
}
