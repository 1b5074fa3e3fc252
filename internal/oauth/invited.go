package oauth

import (
	"context"
	"net/http"
	"strings"

	"deputy/internal/deputy"
	"deputy/internal/pages"
	"deputy/internal/password"
)

// Whoever opens a mailed invitation to an organization reads that address's
// mail, so that the address is theirs: they choose a password, or give the one
// they have, and are in. Where the organization has an identity provider, that
// says who they are, and has to vouch for the same address.

const (
	pageInvitations = "/login/invitations/" // and the token
	pageJoined      = "/login/joined"
)

const eventAccept = "invitations:accept"

// invitation is what a link leads to.
type invitation struct {
	*deputy.Invitation
	organization *deputy.Organization
	sso          bool
	known        bool // the address has a password already
}

// token returns the secret of the link that was opened.
func (v *visitor) token(s *Server) string { return strings.TrimPrefix(s.below(v.r), pageInvitations) }

// invited returns what a link leads to. If that is nothing that can still be
// accepted, the person is told, and ok is false.
func (s *Server) invited(v *visitor) (_ *invitation, ok bool) {
	ctx := v.r.Context()
	i, o, err := s.store.Invitation(ctx, deputy.HashSecret(deputy.Conceal(v.token(s))))
	if unlessAbsent(err) != nil {
		s.fail(v, err)
		return nil, false
	}
	if err != nil {
		s.show(v, http.StatusNotFound, pages.Error{Problem: pages.ErrorLink})
		return nil, false
	}
	standing := deputy.Standing{Organization: o, Invitation: i}
	if standing.Live(deputy.UseInvitation, s.now()) != nil {
		s.show(v, http.StatusGone, pages.Error{Problem: pages.ErrorInvitation})
		return nil, false
	}
	c, err := s.connection(ctx, o.ID)
	if err == nil {
		_, err = s.store.Passwords().Find(ctx, v.in(), "email", i.Email)
	}
	if unlessAbsent(err) != nil {
		s.fail(v, err)
		return nil, false
	}
	return &invitation{i, o, c != nil, err == nil}, true
}

// shown returns the page of an invitation.
func (i *invitation) shown(problem pages.Message) pages.Invitation {
	return pages.Invitation{
		Organization: i.organization.Name, Email: i.Email, Role: string(i.Role), SSO: i.sso, Known: i.known,
		Shortest: password.Shortest, Problem: problem,
	}
}

// invitationPage shows what a link invites to. To look at it accepts nothing:
// programs that look through mail do.
func (s *Server) invitationPage(v *visitor) {
	i, ok := s.invited(v)
	if !ok {
		return
	}
	v.login = &login{zone: v.zone, snap: v.snap, from: v.from}
	v.login.Started, v.login.Invitation = v.from.at, v.token(s)
	if err := s.save(v.r.Context(), v.w, v.login); err != nil {
		s.fail(v, err)
		return
	}
	s.show(v, http.StatusOK, i.shown(pages.None))
}

// answerInvitation accepts an invitation.
func (s *Server) answerInvitation(v *visitor) {
	l, err := s.login(v.r, v.zone, v.snap, v.from)
	if err == nil {
		err = l.checkForm(v.text(csrfField))
	}
	if err == nil && l.Invitation != v.token(s) {
		err = errNoLogin
	}
	if err != nil {
		s.fail(v, err)
		return
	}
	v.login = l
	i, ok := s.invited(v)
	if !ok {
		return
	}
	if i.sso {
		l.Through = i.organization.ID
		s.toProvider(v)
		return
	}
	account, also, problem, err := s.credential(v, i)
	switch {
	case err != nil:
		s.fail(v, err)
		return
	case problem != pages.None:
		s.problem(v, problem, i.shown(problem))
		return
	}
	user, err := s.joinOrganization(v, &deputy.OrganizationUser{ID: account, Email: i.Email, Subject: string(account)}, also)
	switch {
	case deputy.KindOf(err) == deputy.Conflict:
		s.show(v, http.StatusConflict, pages.Error{Problem: pages.ErrorInvitation})
		return
	case err != nil:
		s.fail(v, err)
		return
	}
	l.Invitation = ""
	s.enter(v, proof{user: (&membershipOf{OrganizationUser: user}).person()}, nil, nil)
}

// credential returns the account that the password which was given is of, or a
// new one whose password it becomes; also stores that.
func (s *Server) credential(v *visitor, i *invitation) (account deputy.ID, also func(context.Context, deputy.Tx) error, problem pages.Message, err error) {
	ctx, given := v.r.Context(), deputy.Conceal(v.text("password"))
	if i.known {
		p, problem, err := s.passwordOf(v, i.Email, given)
		if p == nil {
			return "", nil, problem, err
		}
		return deputy.ID(p.UserID), nil, pages.None, nil
	}
	if problem = s.weak(given, v, i.Email); problem != pages.None {
		return "", nil, problem, nil
	}
	hash, err := s.passwords.Hash(ctx, given)
	if deputy.KindOf(err) == deputy.TooMany {
		return "", nil, pages.Busy, nil
	}
	now := deputy.Time(s.now())
	account = deputy.NewID(now)
	p := &deputy.Password{UserID: deputy.UserID(account), Email: i.Email, Hash: hash, ChangedAt: now, CreatedAt: now}
	return account, func(ctx context.Context, tx deputy.Tx) error { return tx.Passwords().Insert(ctx, p) }, pages.None, err
}

// joinOrganization makes somebody a user of the organization that the
// transaction's invitation is to. They have an account of their own unless who
// names one. Whatever is wrong with the invitation by now is a Conflict.
func (s *Server) joinOrganization(v *visitor, who *deputy.OrganizationUser, also func(context.Context, deputy.Tx) error) (*deputy.OrganizationUser, error) {
	ctx, token := v.r.Context(), deputy.Conceal(v.login.Invitation)
	i, o, err := s.store.Invitation(ctx, deputy.HashSecret(token))
	if err != nil {
		return nil, unaccepted(err)
	}
	now := deputy.Time(s.now())
	if who.ID == "" {
		who.ID = deputy.NewID(now)
	}
	key, err := s.builder.vault.New(ctx, who.ID, o.KeyID, now)
	if err != nil {
		return nil, err
	}
	who.KeyID, who.CreatedAt, who.UpdatedAt = key.ID, now, now
	event := s.personalEvent(v.login, eventAccept, &deputy.User{
		ID: deputy.UserID(who.ID), OrganizationID: o.ID, Identifier: who.Email, KeyID: key.ID,
	})
	event.Target = &deputy.Target{Type: "invitation", ID: string(i.ID)}
	err = s.store.Write(ctx, event, func(tx deputy.Tx) error {
		if err := tx.InsertDataKey(ctx, key); err != nil {
			return err
		}
		if also != nil {
			if err := also(ctx, tx); err != nil {
				return err
			}
		}
		made := *who // Accept fills it in, and this may run again
		if _, err := deputy.Accept(ctx, tx, token, &made); err != nil {
			return err
		}
		*who = made
		return nil
	})
	return who, unaccepted(err)
}

// unaccepted says of an invitation that is gone, or another's, what it says of
// one that is used up.
func unaccepted(err error) error {
	switch deputy.KindOf(err) {
	case deputy.NotFound, deputy.Denied:
		return deputy.Error{Kind: deputy.Conflict, Message: "the invitation is not the person's"}.Because(err)
	}
	return err
}

// joinedPage says that the person is a user of the organization.
func (s *Server) joinedPage(v *visitor) {
	s.show(v, http.StatusOK, pages.Done{What: pages.DoneJoined})
}
