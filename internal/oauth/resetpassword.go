package oauth

import (
	"context"
	"errors"
	"net/http"

	"deputy/internal/deputy"
	"deputy/internal/pages"
	"deputy/internal/password"
)

func (s *Server) forgotPage(v *visitor) {
	s.show(v, http.StatusOK, pages.ForgotPassword{Username: v.login.note(noteEmail)})
}

// forgot mails a code for a new password, if the address has an account. The
// answer is there before that is found out, so that it tells nobody.
func (s *Server) forgot(v *visitor) {
	email := v.text("username")
	if deputy.Email("username", email) != nil {
		s.problem(v, pages.InvalidEmail, pages.ForgotPassword{Username: clip(email), Problem: pages.InvalidEmail})
		return
	}
	from, to := by(mailsOfNetwork, "mails", network(v.from.address)), v.mailsTo(email)
	if s.throttle.exceeded(from, to) {
		s.problem(v, pages.Throttled, pages.ForgotPassword{Username: email, Problem: pages.Throttled})
		return
	}
	s.throttle.count(from, to)
	v.login.setNote(noteReset, email)
	s.turn(v, pageResetPassword)
	s.later(func(ctx context.Context) error { return s.mailReset(ctx, v, email) })
}

// holderOf returns the account that an address signs in to. Where there is none,
// as much is read, the password is nobody's and the user is nil.
func (s *Server) holderOf(ctx context.Context, v *visitor, email string) (*deputy.Password, *deputy.User, error) {
	p, err := s.store.Passwords().Find(ctx, v.in(), "email", email)
	if unlessAbsent(err) != nil {
		return nil, nil, err
	}
	if p == nil {
		p = &deputy.Password{UserID: deputy.UserID(deputy.NewID(s.now()))}
	}
	user, err := s.userOf(ctx, v, p.UserID)
	return p, user, unlessAbsent(err)
}

func (s *Server) mailReset(ctx context.Context, v *visitor, email string) error {
	p, user, err := s.holderOf(ctx, v, email)
	if err != nil {
		return err
	}
	if user == nil || user.Status != deputy.UserActive {
		return s.pretend(ctx, v)
	}
	sent, err := s.newCode(ctx, v, user, deputy.MailResetPassword, p.Email)
	if err != nil {
		return err
	}
	return s.store.Write(ctx, s.visitorEvent(v, eventCode, user), func(tx deputy.Tx) error { return sent.insert(ctx, tx) })
}

// resetPage asks for the code and a new password. A mailed link leads here too,
// and brings the code along.
func (s *Server) resetPage(v *visitor) {
	if token := v.text("token"); token != "" {
		c, err := s.linkedCode(v.r.Context(), v, deputy.MailResetPassword, token)
		switch {
		case err != nil:
			s.fail(v, err)
		case c == nil:
			s.show(v, http.StatusBadRequest, pages.Error{Problem: pages.ErrorLink})
		default:
			s.show(v, http.StatusOK, pages.ResetPassword{Username: c.Email, Code: token, Shortest: password.Shortest})
		}
		return
	}
	l, err := s.login(v.r, v.zone, v.snap, v.from)
	if err != nil {
		s.fail(v, err)
		return
	}
	v.login = l
	if l.note(noteReset) == "" {
		redirect(v.w, v.r, v.snap.issuer+pageForgotPassword)
		return
	}
	s.show(v, http.StatusOK, pages.ResetPassword{Username: l.note(noteReset), Shortest: password.Shortest})
}

// reset sets a new password for whoever brings a code. It ends all sessions of
// the person: whoever knew the old one is out.
func (s *Server) reset(v *visitor) {
	ctx, given := v.r.Context(), v.text("code")
	p := pages.ResetPassword{Shortest: password.Shortest}
	linked := len(given) > 2*codeDigits
	if linked {
		p.Code = given
	}
	l, err := s.login(v.r, v.zone, v.snap, v.from)
	if err == nil {
		err = l.checkForm(v.text(csrfField))
	}
	switch {
	case err == nil:
		v.login, p.Username = l, l.note(noteReset)
	case !linked: // the secret of the link stands for the transaction
		s.fail(v, err)
		return
	}
	c, user, err := s.resetCode(v, given, linked)
	if errors.Is(err, errWrongCode) {
		p.Problem, p.Code = pages.WrongCode, ""
		if linked {
			s.show(v, http.StatusBadRequest, pages.Error{Problem: pages.ErrorLink})
			return
		}
		s.problem(v, p.Problem, p)
		return
	}
	if err != nil {
		s.fail(v, err)
		return
	}
	p.Username = c.Email
	chosen := deputy.Conceal(v.text("password"))
	if p.Problem = s.weak(chosen, v, c.Email); p.Problem != pages.None {
		s.problem(v, p.Problem, p)
		return
	}
	hash, err := s.passwords.Hash(ctx, chosen)
	if deputy.KindOf(err) == deputy.TooMany {
		p.Problem = pages.Busy
		s.problem(v, p.Problem, p)
		return
	}
	if err == nil {
		err = s.setPassword(v, user, c, hash)
	}
	switch {
	case errors.Is(err, errWrongCode):
		s.show(v, http.StatusBadRequest, pages.Error{Problem: pages.ErrorLink})
	case err != nil:
		s.fail(v, err)
	case v.login == nil || linked:
		s.show(v, http.StatusOK, pages.Done{What: pages.DoneReset})
	default:
		s.enter(v, proof{user: user}, nil, nil)
	}
}

// resetCode returns the code that was brought, with whose it is. It is
// errWrongCode when there is none like it.
func (s *Server) resetCode(v *visitor, given string, linked bool) (*deputy.MailedCode, *deputy.User, error) {
	ctx := v.r.Context()
	var c *deputy.MailedCode
	var user *deputy.User
	var err error
	if linked {
		if c, err = s.linkedCode(ctx, v, deputy.MailResetPassword, given); err == nil && c == nil {
			err = errWrongCode
		}
		if err == nil {
			user, err = s.userOf(ctx, v, c.UserID)
		}
	} else {
		var p *deputy.Password
		if p, user, err = s.holderOf(ctx, v, v.login.note(noteReset)); err == nil {
			c, err = s.checkCode(ctx, v, p.UserID, user, deputy.MailResetPassword, given)
		}
	}
	if deputy.KindOf(err) == deputy.NotFound {
		err = errWrongCode
	}
	return c, user, err
}

// setPassword replaces a person's password by one that they have just chosen,
// having shown that the address is theirs.
func (s *Server) setPassword(v *visitor, user *deputy.User, c *deputy.MailedCode, hash string) error {
	ctx := v.r.Context()
	return s.store.Write(ctx, s.visitorEvent(v, eventPassword, user), func(tx deputy.Tx) error {
		if err := spend(ctx, tx, c); err != nil {
			return err
		}
		if _, err := tx.Passwords().Update(ctx, v.in(), deputy.ID(user.ID), func(p *deputy.Password) error {
			p.Hash, p.ChangedAt = hash, tx.Now()
			return nil
		}); err != nil {
			return err
		}
		if v.zone.manages() { // sessions end because they are older than the password
			return nil
		}
		if err := markVerified(ctx, tx, v.in(), user.ID, c.Email); err != nil {
			return err
		}
		return endSessions(ctx, tx, v.zone.id, user.ID, "")
	})
}
