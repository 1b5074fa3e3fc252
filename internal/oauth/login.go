package oauth

import (
	"context"
	"net/http"
	"time"

	"deputy/internal/deputy"
)

// A login transaction takes a browser from an authorization request to its
// answer, over as many pages as it needs:
//
//	begin     authorize.go has checked a request: the transaction begins
//	login     a page finds the transaction that the browser's cookie names
//	csrf      what the page's forms must bring back
//	save      the page has made progress that its next request needs
//	signIn    the person has proved who they are: a web session begins
//	approve   the person has agreed to what the consent page listed
//	proceed   on to whatever is next: a page, or the answer
//	abandon   the answer is an error
//
// proceed alone decides what is next, from what the transaction holds and what
// is true now; pages never link to one another past it. Whatever a page does, a
// code is issued only where proceed finds nothing left to do.
type login struct {
	visit
	zone   *zone
	snap   *snapshot
	from   *origin
	secret deputy.Secret // in the browser's cookie
	begun  bool          // the browser has the cookie, and the store the ticket
}

// visit is what is kept of a login transaction.
type visit struct {
	Request authorizationRequest `json:"request"`
	// Return is where to go in the end when no client waits for an answer: a
	// path below the issuer.
	Return  string    `json:"return,omitzero"`
	Started time.Time `json:"started"`

	// Who has signed in, and the web session that this is at: within the
	// transaction, where prompt=login or max_age ask for that.
	User    deputy.UserID    `json:"user,omitzero"`
	Session deputy.SessionID `json:"session,omitzero"`

	// Of the management plane: the organization that the client asks for, the
	// token of the invitation that the person came with, and the organization
	// whose identity provider they are sent to.
	Organization string                `json:"organization,omitzero"`
	Invitation   string                `json:"invitation,omitzero"`
	Through      deputy.OrganizationID `json:"through,omitzero"`

	// Consented says that they agreed within the transaction, which is what
	// prompt=consent asks for.
	Consented bool `json:"consented,omitzero"`

	// Away says that they are at the provider of a resource; Skipped are the
	// resources that they go on without.
	Away    *away               `json:"away,omitzero"`
	Skipped []deputy.ResourceID `json:"skipped,omitempty"`

	// Notes are what a page keeps for its next request: the identifier that was
	// typed, or the nonce that an identity provider is to send back. Names begin
	// with the page's.
	Notes map[string]string `json:"notes,omitempty"`
}

const (
	// loginLives is how long a login transaction waits for the next request.
	loginLives = 15 * time.Minute
	// loginEnds is how long it may go on in all.
	loginEnds = 2 * time.Hour
)

// errNoLogin is the answer where a page finds no transaction to go on with.
var errNoLogin = refuse(codeInvalidRequest, "This sign-in has ended or was begun in another window. Go back to the application and start again.")

// login returns the transaction that the browser's cookie names. Without one
// the error is errNoLogin.
func (s *Server) login(r *http.Request, z *zone, snap *snapshot, from *origin) (*login, error) {
	secret, ok := s.cookie(r, loginCookie, z.id)
	if !ok {
		return nil, errNoLogin
	}
	l := &login{zone: z, snap: snap, from: from, secret: secret, begun: true}
	t, err := s.store.Ticket(r.Context(), deputy.LoginTicket, z.id, deputy.HashSecret(secret))
	switch {
	case deputy.KindOf(err) == deputy.NotFound:
		return nil, errNoLogin
	case err != nil:
		return nil, err
	}
	if err := openTicket(t, secret, &l.visit); err != nil {
		return nil, err
	}
	if s.now().Sub(l.Started) >= loginEnds {
		return nil, errNoLogin
	}
	if l.User == "" {
		return l, nil
	}
	// Whoever plants the cookie of a transaction that they signed in to must not
	// have another person finish it.
	own, err := s.signedInHere(r.Context(), r, l)
	if err == nil && !own {
		l.User, l.Session, l.Consented = "", "", false
	}
	return l, err
}

// csrf returns what every form of the transaction's pages must bring back.
func (l *login) csrf() string { return csrfToken(l.secret) }

// checkForm refuses a form that another site made.
func (l *login) checkForm(token string) error {
	if !csrfMatches(l.secret, token) {
		return errNoLogin
	}
	return nil
}

// note returns what a page has kept.
func (l *login) note(name string) string { return l.Notes[name] }

// setNote keeps a text for the page's next request; save writes it down.
func (l *login) setNote(name, text string) {
	if l.Notes == nil {
		l.Notes = make(map[string]string)
	}
	l.Notes[name] = text
}

// save writes down the progress made and lets the transaction live on. It is
// errNoLogin when the transaction has ended meanwhile.
func (s *Server) save(ctx context.Context, w http.ResponseWriter, l *login) error {
	var was deputy.SecretHash
	if l.begun {
		was = deputy.HashSecret(l.secret)
	} else {
		l.secret = deputy.NewSecret()
	}
	t, err := l.ticket(s.now())
	if err != nil {
		return err
	}
	if err := s.store.PutTicket(ctx, t, was); err != nil {
		return ended(err)
	}
	s.begun(w, l)
	return nil
}

// ended says of a transaction that is not there any more that it has ended.
func ended(err error) error {
	if deputy.KindOf(err) == deputy.NotFound {
		return errNoLogin
	}
	return err
}

// renew puts the transaction under a new secret, which it returns: whoever knew
// the one before a person signed in must not share what they did.
func (l *login) renew(ctx context.Context, tx deputy.Tx) (secret deputy.Secret, err error) {
	if l.begun {
		if _, err := tx.TakeTicket(ctx, deputy.LoginTicket, l.zone.id, deputy.HashSecret(l.secret)); err != nil {
			return secret, ended(err)
		}
	}
	next := *l
	next.secret = deputy.NewSecret()
	t, err := next.ticket(tx.Now())
	if err != nil {
		return secret, err
	}
	return next.secret, tx.PutTicket(ctx, t)
}

// ticket returns the transaction as it is kept.
func (l *login) ticket(now time.Time) (*deputy.Ticket, error) {
	t, err := newTicket(deputy.LoginTicket, l.zone.id, l.secret, &l.visit, now, loginLives)
	if err != nil {
		return nil, err
	}
	t.Source = network(l.from.address)
	return t, nil
}

// begun tells the browser which transaction it is in.
func (s *Server) begun(w http.ResponseWriter, l *login) {
	l.begun = true
	s.setCookie(w, loginCookie, l.zone.id, l.secret, loginEnds)
}
