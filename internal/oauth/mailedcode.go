package oauth

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/mail"
	"deputy/internal/pages"
	"deputy/internal/vault"
)

// A code in a mail proves that whoever types it reads the address's mail. So
// does the link beside it, which leads to a page that asks once more: programs
// that look through mail open links too.
const (
	codeDigits   = 8
	codeValid    = 30 * time.Minute
	codeAttempts = 5
	// codeAgain is how long who asks for another code waits for it.
	codeAgain = 30 * time.Second
)

// sending is a code and the mail that brings it, ready to be stored.
type sending struct {
	code *deputy.MailedCode
	mail *deputy.Mail
}

func (x *sending) insert(ctx context.Context, tx deputy.Tx) error {
	if err := tx.MailedCodes().Insert(ctx, x.code); err != nil {
		return err
	}
	return tx.Mails().Insert(ctx, x.mail)
}

// mailTexts say what a mail for a purpose says, and where its link leads.
var mailTexts = map[deputy.MailPurpose]struct {
	subject, body pages.Message
	page          string
}{
	deputy.MailVerifyEmail:   {pages.MailVerify, pages.MailVerifyBody, pageVerifyEmail},
	deputy.MailResetPassword: {pages.MailReset, pages.MailResetBody, pageResetPassword},
}

// newCode makes a code for a person. It takes the place of an earlier one.
func (s *Server) newCode(ctx context.Context, v *visitor, user *deputy.User, purpose deputy.MailPurpose, email string) (*sending, error) {
	now := deputy.Time(s.now())
	n, err := rand.Int(rand.Reader, new(big.Int).Exp(big.NewInt(10), big.NewInt(codeDigits), nil))
	if err != nil {
		panic(err) // crypto/rand does not fail on supported systems
	}
	typed, link := fmt.Sprintf("%0*d", codeDigits, n), deputy.NewSecret()
	code := &deputy.MailedCode{
		ZoneID: v.zone.id, ID: deputy.CodeID(user.ID, purpose), UserID: user.ID, Purpose: purpose, Email: email,
		Link: linkHash(link.Reveal()), ExpiresAt: now.Add(codeValid), CreatedAt: now,
	}
	if code.SealedCode, err = s.builder.vault.Seal(ctx, v.snap.zone.KeyID, codePlace(code), []byte(typed)); err != nil {
		return nil, err
	}
	text := mailTexts[purpose]
	languages := pages.Languages(v.uiLocales(), v.r.Header.Get("Accept-Language"))
	m := &deputy.Mail{
		ID: deputy.NewID(now), OrganizationID: v.snap.zone.OrganizationID, ZoneID: v.zone.id, Purpose: purpose, CreatedAt: now,
	}
	err = mail.Seal(ctx, s.builder.vault, v.snap.zone.KeyID, m, mail.Message{
		To: email, Subject: pages.Text(languages, text.subject, "zone", v.snap.zone.Name),
		Text: pages.Text(languages, text.body, "zone", v.snap.zone.Name, "code", typed,
			"link", v.snap.issuer+text.page+"?token="+url.QueryEscape(link.Reveal())),
	})
	return &sending{code, m}, err
}

// uiLocales returns the languages that the client asks for.
func (v *visitor) uiLocales() string {
	if v.login == nil {
		return ""
	}
	return v.login.Request.UILocales
}

// linkHash returns what is stored of a link's secret.
func linkHash(secret string) string {
	return hex.EncodeToString(deputy.HashSecret(deputy.Conceal(secret)))
}

func codePlace(c *deputy.MailedCode) vault.Place {
	return vault.Place{Zone: c.ZoneID, Table: "mailed_codes", Column: "sealed_code", Row: string(c.ID) + "." + c.Link}
}

// errWrongCode says that a code is not the one that was mailed.
var errWrongCode = errors.New("oauth: the code is wrong, used up or too old")

// pretend does what it takes to count a try of a code where there is none to be
// tried, so that the time tells nobody who has one. It leaves a ticket that is
// over already and that nobody has: of those there is room for so many only.
func (s *Server) pretend(ctx context.Context, v *visitor) error {
	now, key := deputy.Time(s.now()), deputy.HashSecret(deputy.NewSecret())
	place := vault.Place{Zone: v.zone.id, Table: "tickets", Column: "data", Row: string(deputy.LoginTicket)}
	sealed, err := s.builder.vault.Seal(ctx, v.snap.zone.KeyID, place, make([]byte, codeDigits))
	if err != nil {
		return err
	}
	return s.store.PutTicket(ctx, &deputy.Ticket{
		Kind: deputy.LoginTicket, ZoneID: v.zone.id, Key: key, Source: network(v.from.address), Data: sealed, CreatedAt: now, ExpiresAt: now,
	}, nil)
}

// pendingCode returns a person's code for a purpose, or nil.
func (s *Server) pendingCode(ctx context.Context, v *visitor, user deputy.UserID, purpose deputy.MailPurpose) (*deputy.MailedCode, error) {
	c, err := s.store.MailedCodes().Get(ctx, v.in(), deputy.CodeID(user, purpose))
	if err != nil || !s.now().Before(c.ExpiresAt) {
		return nil, unlessAbsent(err)
	}
	return c, nil
}

// checkCode compares what was typed with a person's code. It is errWrongCode
// when it is another; each such try counts, before anything is compared, so
// that trying at the same time gives no more of them. Where there is no code,
// or no more tries of it, that takes as long; user may be nil, of an id that is
// nobody's.
func (s *Server) checkCode(ctx context.Context, v *visitor, id deputy.UserID, user *deputy.User, purpose deputy.MailPurpose, typed string) (*deputy.MailedCode, error) {
	c, err := s.pendingCode(ctx, v, id, purpose)
	if err != nil {
		return nil, err
	}
	if c != nil && user != nil && c.Attempts < codeAttempts {
		err = s.countTry(ctx, v, user, c)
	} else {
		err = errWrongCode
	}
	if errors.Is(err, errWrongCode) {
		if failed := s.pretend(ctx, v); failed != nil {
			err = failed
		}
	}
	if err != nil {
		return nil, err
	}
	plain, err := s.builder.vault.Open(ctx, codePlace(c), c.SealedCode)
	if err != nil {
		return nil, err
	}
	if !deputy.Conceal(string(plain)).Equal(deputy.Conceal(typed)) {
		return nil, errWrongCode
	}
	return c, nil
}

// countTry counts a try of a code. It is errWrongCode when there have been enough.
func (s *Server) countTry(ctx context.Context, v *visitor, user *deputy.User, c *deputy.MailedCode) error {
	event := s.visitorEvent(v, eventCode, nil)
	event.UserID, event.OrganizationID = user.ID, user.OrganizationID
	err := s.store.Write(ctx, event, func(tx deputy.Tx) error {
		_, err := tx.MailedCodes().Update(ctx, v.in(), c.ID, func(c *deputy.MailedCode) error {
			if c.Attempts >= codeAttempts {
				return errWrongCode
			}
			c.Attempts++
			return nil
		})
		return err
	})
	if deputy.KindOf(err) == deputy.NotFound { // somebody has used it up meanwhile
		return errWrongCode
	}
	return err
}

// linkedCode returns the code whose link has the secret, or nil.
func (s *Server) linkedCode(ctx context.Context, v *visitor, purpose deputy.MailPurpose, secret string) (*deputy.MailedCode, error) {
	c, err := s.store.MailedCodes().Find(ctx, v.in(), "link", linkHash(secret))
	if err != nil || c.Purpose != purpose || !s.now().Before(c.ExpiresAt) {
		return nil, unlessAbsent(err)
	}
	return c, nil
}

// spend uses a code up. It is errWrongCode when somebody else has.
func spend(ctx context.Context, tx deputy.Tx, c *deputy.MailedCode) error {
	in := deputy.Scope{Zone: c.ZoneID}
	now, err := tx.MailedCodes().Get(ctx, in, c.ID)
	if deputy.KindOf(err) == deputy.NotFound || err == nil && now.Link != c.Link {
		return errWrongCode
	}
	if err != nil {
		return err
	}
	return tx.MailedCodes().Delete(ctx, in, c.ID)
}

// verifyPage asks for the code that shows that the address is the person's. A
// mailed link leads here too.
func (s *Server) verifyPage(v *visitor) {
	ctx := v.r.Context()
	if token := v.text("token"); token != "" {
		c, err := s.linkedCode(ctx, v, deputy.MailVerifyEmail, token)
		switch {
		case err != nil:
			s.fail(v, err)
		case c == nil:
			s.show(v, http.StatusBadRequest, pages.Error{Problem: pages.ErrorLink})
		default:
			s.show(v, http.StatusOK, pages.ConfirmEmail{Email: c.Email, Code: token})
		}
		return
	}
	user, ok := s.unverifiedVisitor(v)
	if !ok {
		return
	}
	c, err := s.pendingCode(ctx, v, user.ID, deputy.MailVerifyEmail)
	if err == nil && c == nil {
		err = s.sendCode(v, user, deputy.MailVerifyEmail, user.Email)
	}
	if err != nil {
		s.fail(v, err)
		return
	}
	s.show(v, http.StatusOK, pages.VerifyEmail{Email: user.Email})
}

// unverifiedVisitor returns who has signed in and has not shown that the
// address is theirs. Anybody else goes on to what is next.
func (s *Server) unverifiedVisitor(v *visitor) (*deputy.User, bool) {
	l, err := s.login(v.r, v.zone, v.snap, v.from)
	if err != nil {
		s.fail(v, err)
		return nil, false
	}
	v.login = l
	a, err := s.assess(v.r.Context(), l)
	if err != nil || a.user == nil || a.user.EmailVerified {
		s.proceed(v.w, v.r, l)
		return nil, false
	}
	return a.user, true
}

// sendCode mails a person a new code.
func (s *Server) sendCode(v *visitor, user *deputy.User, purpose deputy.MailPurpose, email string) error {
	ctx := v.r.Context()
	sent, err := s.newCode(ctx, v, user, purpose, email)
	if err != nil {
		return err
	}
	return s.store.Write(ctx, s.visitorEvent(v, eventCode, user), func(tx deputy.Tx) error { return sent.insert(ctx, tx) })
}

// verifyEmail takes the code that was typed, or the secret of the link. The link
// confirms the address and leaves it at that: the browser that opens it need
// not be the one that signs in.
func (s *Server) verifyEmail(v *visitor) {
	if token := v.text("token"); token != "" {
		s.verifyLinked(v, token)
		return
	}
	l, err := s.login(v.r, v.zone, v.snap, v.from)
	if err == nil {
		err = l.checkForm(v.text(csrfField))
	}
	if err != nil {
		s.fail(v, err)
		return
	}
	user, ok := s.unverifiedVisitor(v)
	if !ok {
		return
	}
	again := func(problem, notice pages.Message) {
		p := pages.VerifyEmail{Email: user.Email, Problem: problem, Notice: notice}
		if problem != pages.None {
			s.problem(v, problem, p)
			return
		}
		s.show(v, http.StatusOK, p)
	}
	if v.text("action") == "resend" {
		s.resend(v, user, again)
		return
	}
	c, err := s.checkCode(v.r.Context(), v, user.ID, user, deputy.MailVerifyEmail, v.text("code"))
	if err == nil {
		err = s.confirm(v, user, c)
	}
	switch {
	case errors.Is(err, errWrongCode):
		again(pages.WrongCode, pages.None)
	case err != nil:
		s.fail(v, err)
	default:
		s.proceed(v.w, v.r, v.login)
	}
}

// resend mails another code, but not at once.
func (s *Server) resend(v *visitor, user *deputy.User, again func(problem, notice pages.Message)) {
	c, err := s.pendingCode(v.r.Context(), v, user.ID, deputy.MailVerifyEmail)
	from := by(mailsOfNetwork, "mails", network(v.from.address))
	switch {
	case err != nil:
		s.fail(v, err)
		return
	case c != nil && s.now().Sub(c.CreatedAt) < codeAgain, s.throttle.exceeded(from):
		again(pages.Throttled, pages.None)
		return
	}
	s.throttle.count(from)
	if err := s.sendCode(v, user, deputy.MailVerifyEmail, user.Email); err != nil {
		s.fail(v, err)
		return
	}
	again(pages.None, pages.CodeSent)
}

func (s *Server) verifyLinked(v *visitor, token string) {
	ctx := v.r.Context()
	c, err := s.linkedCode(ctx, v, deputy.MailVerifyEmail, token)
	var user *deputy.User
	if err == nil && c != nil {
		user, err = s.store.Users().Get(ctx, v.in(), deputy.ID(c.UserID))
	}
	if err == nil && user != nil {
		err = s.confirm(v, user, c)
	}
	switch {
	case errors.Is(err, errWrongCode), err == nil && user == nil:
		s.show(v, http.StatusBadRequest, pages.Error{Problem: pages.ErrorLink})
	case err != nil:
		s.fail(v, err)
	default:
		s.show(v, http.StatusOK, pages.Done{What: pages.DoneVerified})
	}
}

// confirm notes that an address is the person's, and that whoever invited them
// has been answered.
func (s *Server) confirm(v *visitor, user *deputy.User, c *deputy.MailedCode) error {
	ctx := v.r.Context()
	return s.store.Write(ctx, s.visitorEvent(v, eventVerify, user), func(tx deputy.Tx) error {
		if err := spend(ctx, tx, c); err != nil {
			return err
		}
		return markVerified(ctx, tx, v.in(), user.ID, c.Email)
	})
}

// markVerified notes that an address is a person's.
func markVerified(ctx context.Context, tx deputy.Tx, in deputy.Scope, id deputy.UserID, email string) error {
	if _, err := tx.Users().Update(ctx, in, deputy.ID(id), func(u *deputy.User) error {
		u.EmailVerified = true
		return nil
	}); err != nil {
		return err
	}
	i, err := tx.ZoneInvitations().Find(ctx, in, "email", email)
	if err != nil {
		return unlessAbsent(err)
	}
	_, err = tx.ZoneInvitations().Update(ctx, in, i.ID, func(i *deputy.ZoneInvitation) error {
		i.Status, i.UserID = deputy.InvitationAccepted, &id
		return nil
	})
	return err
}

// mailsTo counts the mails to an address that strangers have caused.
func (v *visitor) mailsTo(email string) at {
	return by(mailsToAddress, "mails to", string(v.zone.id), email)
}

// visitorEvent returns an event of something that is done on a page.
func (s *Server) visitorEvent(v *visitor, kind string, user *deputy.User) *deputy.Event {
	l := v.login
	if l == nil {
		l = &login{zone: v.zone, snap: v.snap, from: v.from}
	}
	e := s.personalEvent(l, kind, user)
	if user == nil {
		e.Actor = deputy.Actor{Type: "anonymous"}
	}
	return e
}

// later does something after the answer has left, so that how long it takes
// tells nobody anything. When too much waits already it is left undone:
// whoever misses it asks again.
func (s *Server) later(do func(context.Context) error) {
	select {
	case s.lateSlots <- struct{}{}:
	default:
		return
	}
	s.late.Add(1)
	go func() {
		defer s.late.Done()
		defer func() { <-s.lateSlots }()
		ctx, cancel := context.WithTimeout(context.Background(), lateTimeout)
		defer cancel()
		if err := do(ctx); err != nil {
			s.log.Error("work after an answer failed", "cause", err)
		}
	}()
}

const (
	maxLate     = 64
	lateTimeout = 10 * time.Second
)
