package oauth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/pages"
	"deputy/internal/password"
)

// Signing in where the zone itself vouches for its people: who they say they
// are first, then the password or a passkey. New people choose a password and
// show that the address is theirs.

// Notes of the sign-in pages.
const (
	noteEmail   = "signin.email"   // the address that was typed
	notePasskey = "signin.passkey" // the challenge that was set
	noteReset   = "signin.reset"   // the address that a code was sent to
)

// identifierPage asks who signs in, or leaves that to the zone's identity
// provider.
func (s *Server) identifierPage(v *visitor) {
	l := v.login
	if v.snap.zone.UserIdentityProviderID != nil {
		s.toProvider(v)
		return
	}
	p := pages.Identifier{Client: s.clientName(v), Identifier: l.note(noteEmail), SignUp: !v.snap.zone.RequiresInvitation}
	if p.Identifier == "" {
		p.Identifier = s.hint(v)
	}
	var err error
	if p.Passkey, err = s.passkeyOptions(v); err != nil {
		s.fail(v, err)
		return
	}
	s.show(v, http.StatusOK, p)
}

// clientName returns what the client is called, if a client sent the person.
func (s *Server) clientName(v *visitor) string {
	if v.login.Request.ClientID == "" {
		return ""
	}
	c, err := s.relyingParty(v.r.Context(), v.zone, v.snap, v.login.Request.ClientID, v.from)
	if err != nil || c == nil {
		return ""
	}
	return c.name
}

// hint returns the address that the client expects to sign in.
func (s *Server) hint(v *visitor) string {
	hint := v.login.Request.LoginHint
	if deputy.Email("identifier", hint) != nil {
		return ""
	}
	return hint
}

// identify takes the address and goes on to the password, or to signing up.
//
// Where anybody may sign up, that an address has no account is no secret:
// signing up tells. Where it takes an invitation, it is one, and whoever was
// not invited goes on to the password like everybody else.
func (s *Server) identify(v *visitor) {
	email := v.text("identifier")
	v.login.setNote(noteEmail, clip(email))
	if deputy.Email("identifier", email) != nil {
		s.problem(v, pages.InvalidEmail, pages.Identifier{
			Client: s.clientName(v), Identifier: clip(email), SignUp: !v.snap.zone.RequiresInvitation, Problem: pages.InvalidEmail,
		})
		return
	}
	if v.zone.manages() {
		s.identifyManager(v, email)
		return
	}
	_, err := s.store.Passwords().Find(v.r.Context(), v.in(), "email", email)
	if unlessAbsent(err) != nil {
		s.fail(v, err)
		return
	}
	if err != nil {
		may, err := s.maySignUp(v.r.Context(), v, email)
		if err != nil {
			s.fail(v, err)
			return
		}
		if may {
			s.turn(v, pageSignUp)
			return
		}
	}
	s.turn(v, pagePassword)
}

// in is the scope of the visitor's zone.
func (v *visitor) in() deputy.Scope { return deputy.Scope{Zone: v.zone.id} }

func (s *Server) passwordPage(v *visitor) {
	p := pages.Password{Username: v.login.note(noteEmail)}
	if p.Username == "" || v.snap.zone.UserIdentityProviderID != nil {
		redirect(v.w, v.r, v.snap.issuer+pageLogin)
		return
	}
	var err error
	if p.Passkey, err = s.passkeyOptions(v); err != nil {
		s.fail(v, err)
		return
	}
	s.show(v, http.StatusOK, p)
}

// checkPassword signs in who brings the right password. Nobody learns whether
// it was the address or the password that was wrong, nor from how long it took.
func (s *Server) checkPassword(v *visitor) {
	ctx, email := v.r.Context(), v.text("username")
	again := func(m pages.Message) { s.problem(v, m, pages.Password{Username: clip(email), Problem: m}) }
	if v.snap.zone.UserIdentityProviderID != nil {
		s.fail(v, errNoLogin)
		return
	}
	known, m, err := s.passwordOf(v, email, deputy.Conceal(v.text("password")))
	switch {
	case err != nil:
		s.fail(v, err)
		return
	case m != pages.None:
		again(m)
		return
	}
	user, err := s.userOf(ctx, v, known.UserID)
	if unlessAbsent(err) != nil {
		s.fail(v, err)
		return
	}
	if user == nil {
		again(pages.WrongPassword)
		return
	}
	s.enter(v, proof{user: user}, known, nil)
}

// enter signs a person in and goes on: by the password that known is, unless that
// is nil. also is what signIn changes too.
func (s *Server) enter(v *visitor, by proof, known *deputy.Password, also func(context.Context, deputy.Tx) error) {
	if known != nil {
		also = func(ctx context.Context, tx deputy.Tx) error { return stillGood(ctx, tx, known) }
	}
	err := s.signIn(v.r.Context(), v.w, v.r, v.login, by, also)
	var off *deputy.Off
	switch {
	case errors.Is(err, errReplaced):
		s.problem(v, pages.WrongPassword, pages.Password{Username: known.Email, Problem: pages.WrongPassword})
		return
	case errors.As(err, &off) && (off.Part == deputy.PartUser || off.Part == deputy.PartOrganizationUser):
		s.refuseUser(v, by.user, off)
		return
	case err != nil:
		s.fail(v, err)
		return
	}
	if known != nil {
		s.setCookie(v.w, knownCookie, v.zone.id, deputy.Conceal(knownToken(known)), knownLives)
	}
	s.proceed(v.w, v.r, v.login)
}

// errReplaced says that a password was replaced after it had been compared.
var errReplaced = errors.New("oauth: the password was replaced meanwhile")

// stillGood refuses, in a committing transaction, a password that was replaced
// since it was compared: whoever replaces it ends the sessions there are. It holds
// the row, so that this one is among them or is not begun.
func stillGood(ctx context.Context, tx deputy.Tx, p *deputy.Password) error {
	_, err := tx.Passwords().Update(ctx, deputy.Scope{Zone: p.ZoneID}, deputy.ID(p.UserID), func(now *deputy.Password) error {
		if now.Hash != p.Hash {
			return errReplaced
		}
		return nil
	})
	if deputy.KindOf(err) == deputy.NotFound {
		return errReplaced
	}
	return err
}

// refuseUser tells a person that they may not sign in, and writes it down.
func (s *Server) refuseUser(v *visitor, user *deputy.User, off *deputy.Off) {
	event := s.personalEvent(v.login, eventLogin, user)
	if err := s.record(v.r.Context(), event, nil, refuse(codeAccessDenied, "The account is disabled.").because(off)); err != nil {
		s.log.ErrorContext(v.from.ctx, "a refused sign-in was not recorded", "zone_id", string(v.zone.id), "request_id", v.from.requestID, "cause", err)
	}
	s.disabled(v)
}

// passwordOf returns the password that the address and the secret are of, else
// what to say. Whatever is wrong, one hash is made.
func (s *Server) passwordOf(v *visitor, email string, secret deputy.Secret) (*deputy.Password, pages.Message, error) {
	ctx := v.r.Context()
	known, err := s.store.Passwords().Find(ctx, v.in(), "email", email)
	if unlessAbsent(err) != nil {
		return nil, pages.None, err
	}
	hash := ""
	if known != nil {
		hash = known.Hash
	}
	zone, from := string(v.zone.id), network(v.from.address)
	counted := []at{by(triesAtAccount, "account", zone, email, from), by(triesOfNetwork, "network", from)}
	account := by(triesOfAccount, "accounts", zone, email)
	if s.throttle.exceeded(counted...) || s.throttle.exceeded(account) && !s.isKnown(v.r, known) {
		return nil, pages.Throttled, nil
	}
	right, err := s.passwords.Check(ctx, hash, secret)
	switch {
	case deputy.KindOf(err) == deputy.TooMany:
		return nil, pages.Busy, nil
	case err != nil:
		return nil, pages.None, err
	case !right:
		s.throttle.count(append(counted, account)...)
		s.failures.count(errClient, failure{v.snap.zone.OrganizationID, v.zone.id, v.from.address, ""})
		return nil, pages.WrongPassword, nil
	}
	return known, pages.None, nil
}

const (
	// knownCookie tells a browser that has signed in to an account before from
	// one that only tries to.
	knownCookie = "deputy-known"
	knownLives  = 365 * 24 * time.Hour
)

// knownToken returns what only a browser has that has signed in with the
// password. It is good until the password changes.
func knownToken(p *deputy.Password) string {
	mac := hmac.New(sha256.New, []byte(p.Hash))
	mac.Write([]byte("a known browser\x00" + string(p.ZoneID) + "\x00" + string(p.UserID)))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// isKnown reports whether the browser has signed in with the password before.
func (s *Server) isKnown(r *http.Request, p *deputy.Password) bool {
	if p == nil {
		return false
	}
	token, ok := s.cookie(r, knownCookie, p.ZoneID)
	return ok && token.Equal(deputy.Conceal(knownToken(p)))
}

// maySignUp reports whether an account may be made for an address that has
// none.
func (s *Server) maySignUp(ctx context.Context, v *visitor, email string) (bool, error) {
	if v.snap.zone.UserIdentityProviderID != nil {
		return false, nil
	}
	if !v.snap.zone.RequiresInvitation {
		return true, nil
	}
	i, err := s.store.ZoneInvitations().Find(ctx, v.in(), "email", email)
	if unlessAbsent(err) != nil {
		return false, err
	}
	return i != nil && i.State(s.now()) == deputy.InvitationPending, nil
}

func (s *Server) signUpPage(v *visitor) {
	if v.snap.zone.UserIdentityProviderID != nil {
		redirect(v.w, v.r, v.snap.issuer+pageLogin)
		return
	}
	s.show(v, http.StatusOK, pages.SignUp{Username: v.login.note(noteEmail), Shortest: password.Shortest})
}

// signUp makes an account, whose owner then shows that the address is theirs.
// Until they do it holds nothing, so that whoever comes first can be replaced
// by the next.
func (s *Server) signUp(v *visitor) {
	ctx, email := v.r.Context(), v.text("username")
	again := func(m pages.Message) {
		s.problem(v, m, pages.SignUp{Username: clip(email), Shortest: password.Shortest, Problem: m})
	}
	if deputy.Email("username", email) != nil {
		again(pages.InvalidEmail)
		return
	}
	chosen := deputy.Conceal(v.text("password"))
	if m := s.weak(chosen, v, email); m != pages.None {
		again(m)
		return
	}
	from, to := by(mailsOfNetwork, "mails", network(v.from.address)), v.mailsTo(email)
	if s.throttle.exceeded(from, to) {
		again(pages.Throttled)
		return
	}
	s.throttle.count(from, to)
	had, err := s.unverified(ctx, v, email)
	if err == nil && had == nil {
		var may bool
		if may, err = s.maySignUp(ctx, v, email); err == nil && !may {
			err = errTaken
		}
	}
	var hash string
	if err == nil {
		hash, err = s.passwords.Hash(ctx, chosen)
	}
	switch {
	case errors.Is(err, errTaken):
		again(pages.NoSignUp)
	case deputy.KindOf(err) == deputy.TooMany:
		again(pages.Busy)
	case err != nil:
		s.fail(v, err)
	default:
		v.login.setNote(noteEmail, email)
		s.join(v, email, hash, had)
	}
}

// weak says what is wrong with a new password, if anything is.
func (s *Server) weak(chosen deputy.Secret, v *visitor, email string) pages.Message {
	switch err := password.Rule(chosen, email, v.snap.zone.Name); {
	case errors.Is(err, password.ErrTooShort):
		return pages.PasswordTooShort
	case errors.Is(err, password.ErrTooLong):
		return pages.PasswordTooLong
	case err != nil:
		return pages.PasswordTooCommon
	}
	return pages.None
}

// errTaken says that no account may be made for an address.
var errTaken = deputy.Errorf(deputy.Conflict, "no account may be made for this address")

// unverified returns the person who has signed up with an address and has not
// shown that it is theirs, or nil when nobody has. An account whose address is
// verified is errTaken.
func (s *Server) unverified(ctx context.Context, v *visitor, email string) (*deputy.User, error) {
	p, err := s.store.Passwords().Find(ctx, v.in(), "email", email)
	if err != nil {
		return nil, unlessAbsent(err)
	}
	u, err := s.store.Users().Get(ctx, v.in(), deputy.ID(p.UserID))
	if err != nil {
		return nil, unlessAbsent(err)
	}
	if u.EmailVerified || u.Status != deputy.UserActive {
		return nil, errTaken
	}
	return u, nil
}

// join makes the person, or gives one whose address is unverified to whoever
// has just signed up, mails a code, and signs them in as far as that goes.
func (s *Server) join(v *visitor, email, hash string, had *deputy.User) {
	ctx, now := v.r.Context(), deputy.Time(s.now())
	user := had
	var key deputy.DataKey
	if had == nil {
		var err error
		if user, key, err = s.newUser(ctx, v.snap, now); err != nil {
			s.fail(v, err)
			return
		}
		user.Email = email
	}
	sent, err := s.newCode(ctx, v, user, deputy.MailVerifyEmail, email)
	if err != nil {
		s.fail(v, err)
		return
	}
	known := &deputy.Password{ZoneID: v.zone.id, UserID: user.ID, Email: email, Hash: hash, ChangedAt: now, CreatedAt: now}
	err = s.store.Write(ctx, s.visitorEvent(v, eventUserCreate, user), func(tx deputy.Tx) error {
		if had != nil {
			if err := s.reclaim(ctx, tx, v, had); err != nil {
				return err
			}
		} else if err := s.insertUser(ctx, tx, user, key); err != nil {
			return err
		}
		if err := tx.Passwords().Insert(ctx, known); err != nil {
			return err
		}
		return sent.insert(ctx, tx)
	})
	switch {
	case deputy.KindOf(err) == deputy.Conflict: // somebody else was faster
		s.problem(v, pages.NoSignUp, pages.SignUp{Username: email, Shortest: password.Shortest, Problem: pages.NoSignUp})
	case err != nil:
		s.fail(v, err)
	default:
		s.enter(v, proof{user: user}, nil, nil)
	}
}

// reclaim ends what somebody began with an address that they have not shown to
// be theirs.
func (s *Server) reclaim(ctx context.Context, tx deputy.Tx, v *visitor, user *deputy.User) error {
	if err := stillUnverified(ctx, tx, user); err != nil {
		return err
	}
	if err := endSessions(ctx, tx, v.zone.id, user.ID, ""); err != nil {
		return err
	}
	return tx.Passwords().Delete(ctx, v.in(), deputy.ID(user.ID))
}

// stillUnverified refuses, in a committing transaction, a person who has shown
// that the address is theirs. It holds the row, so that whoever does so meanwhile
// comes before or after.
func stillUnverified(ctx context.Context, tx deputy.Tx, user *deputy.User) error {
	_, err := tx.Users().Update(ctx, deputy.Scope{Zone: user.ZoneID}, deputy.ID(user.ID), func(now *deputy.User) error {
		if now.EmailVerified || now.Status != deputy.UserActive || now.Issuer != nil {
			return errTaken
		}
		return nil
	})
	return err
}

// unverifiedKept is how long an account is kept after its last code has ended
// whose owner has not shown that the address is theirs.
const unverifiedKept = 24 * time.Hour

// RemoveUnverified removes up to limit accounts that strangers began and nobody
// came to own, each with an event. It reports whether there may be more.
func (s *Server) RemoveUnverified(ctx context.Context, limit int) (more bool, err error) {
	before := s.now().Add(-unverifiedKept)
	people, err := s.store.Unverified(ctx, before, limit)
	if err != nil {
		return false, err
	}
	for _, u := range people {
		if err := s.removeUnverified(ctx, u, before); err != nil && !errors.Is(err, errTaken) {
			return false, err
		}
	}
	return len(people) >= limit, nil
}

// removeUnverified removes an account, unless somebody has done something with it
// meanwhile.
func (s *Server) removeUnverified(ctx context.Context, u *deputy.User, before time.Time) error {
	at := deputy.Time(s.now())
	return s.store.Write(ctx, &deputy.Event{
		ID: deputy.EventID(deputy.NewID(at)), Time: at, Type: eventUserDelete, Outcome: deputy.Success,
		OrganizationID: u.OrganizationID, ZoneID: u.ZoneID, Actor: deputy.Actor{Type: "platform"},
		UserID: u.ID, Target: &deputy.Target{Type: "user", ID: string(u.ID)},
	}, func(tx deputy.Tx) error {
		err := stillUnverified(ctx, tx, u)
		if deputy.KindOf(err) == deputy.NotFound {
			return errTaken
		}
		if err != nil {
			return err
		}
		in := deputy.Scope{Zone: u.ZoneID}
		c, err := tx.MailedCodes().Get(ctx, in, deputy.CodeID(u.ID, deputy.MailVerifyEmail))
		if unlessAbsent(err) != nil {
			return err
		}
		if err != nil || c.ExpiresAt.After(before) {
			return errTaken
		}
		return tx.Users().Delete(ctx, in, deputy.ID(u.ID))
	})
}

// endSessions revokes the web sessions of a person, with all that hangs on
// them, but for one.
func endSessions(ctx context.Context, tx deputy.Tx, zone deputy.ZoneID, user deputy.UserID, except deputy.SessionID) error {
	in := deputy.Scope{Zone: zone}
	list, err := tx.Sessions().List(ctx, in, deputy.Query{All: true, Where: []deputy.Filter{
		{Fields: []string{"user_id"}, Values: []string{string(user)}},
		{Fields: []string{"status"}, Values: []string{string(deputy.Active)}},
	}})
	if err != nil {
		return err
	}
	for _, x := range list.Items {
		if x.ID == except || x.ParentID != nil && *x.ParentID == except {
			continue
		}
		if err := revoke(ctx, tx, in, x.ID); err != nil {
			return err
		}
	}
	return nil
}

// revoke ends a session, with those below it.
func revoke(ctx context.Context, tx deputy.Tx, in deputy.Scope, id deputy.SessionID) error {
	_, err := tx.Sessions().Update(ctx, in, deputy.ID(id), func(x *deputy.Session) error {
		x.End(tx.Now())
		return nil
	})
	return err
}

// newUser returns a person of the zone who is not stored yet, and the key that
// what is known of them is sealed under.
func (s *Server) newUser(ctx context.Context, snap *snapshot, now time.Time) (*deputy.User, deputy.DataKey, error) {
	id := deputy.NewID(now)
	key, err := s.builder.vault.New(ctx, id, snap.zone.KeyID, now)
	if err != nil {
		return nil, key, err
	}
	return &deputy.User{
		ID: deputy.UserID(id), OrganizationID: snap.zone.OrganizationID, ZoneID: snap.zone.ID, Identifier: string(id),
		Status: deputy.UserActive, KeyID: key.ID, CreatedAt: now, UpdatedAt: now,
	}, key, nil
}

func (s *Server) insertUser(ctx context.Context, tx deputy.Tx, u *deputy.User, key deputy.DataKey) error {
	if err := tx.InsertDataKey(ctx, key); err != nil {
		return err
	}
	return tx.Users().Insert(ctx, u)
}
