package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"deputy/internal/broker"
	"deputy/internal/deputy"
	"deputy/internal/pages"
	"deputy/internal/vault"
)

// Signing in through a zone's identity provider: OpenID Connect Core 1.0 §3.1
// with PKCE, a nonce, and a state that is good once and only in the browser
// that it was given to. Who a person is follows from issuer and subject alone;
// an address that two of them share joins nobody.

// Notes of a sign-in that is at the provider.
const (
	noteState    = "provider.state"
	noteNonce    = "provider.nonce"
	noteVerifier = "provider.verifier"
	noteUntil    = "provider.until" // in Unix seconds
)

// stateLives is how long the provider may keep the person.
const stateLives = 10 * time.Minute

// errProvider says that the identity provider gave no usable answer. What is
// wrong with it is for the log.
var errProvider = errors.New("oauth: the identity provider gave no usable answer")

func providerFault(format string, args ...any) error {
	return errors.Join(errProvider, refuse(codeServerError, "The identity provider gave no usable answer.").because(fmt.Errorf(format, args...)))
}

// relay is the zone's identity provider, and Deputy as its client.
type relay struct {
	*deputy.Provider
	*broker.Server
}

// relay returns the identity provider of the zone, or of the organization that
// the person goes through.
func (s *Server) relay(ctx context.Context, v *visitor) (*relay, error) {
	if v.zone.manages() {
		return s.organizationRelay(ctx, v.login)
	}
	id := v.snap.zone.UserIdentityProviderID
	if id == nil || v.snap.providers[*id] == nil {
		return nil, providerFault("the zone has none")
	}
	place := vault.Place{Zone: v.zone.id, Table: "providers", Column: "sealed_secret", Row: string(*id)}
	return s.newRelay(ctx, place, v.snap.providers[*id])
}

// newRelay returns a provider whose client secret is sealed at a place, with what
// it says of itself, where it was not configured.
func (s *Server) newRelay(ctx context.Context, secret vault.Place, p *deputy.Provider) (*relay, error) {
	if p.ClientID == nil {
		return nil, providerFault("provider %s has no client_id", p.ID)
	}
	opened, err := s.providerSecret(ctx, secret, p)
	if err != nil {
		return nil, err
	}
	at, err := s.broker.Identity(ctx, p, opened)
	if err != nil {
		return nil, providerFault("discovery: %w", err)
	}
	return &relay{p, at}, nil
}

// toProvider sends the person to the identity provider.
func (s *Server) toProvider(v *visitor) {
	to, err := s.relay(v.r.Context(), v)
	if err != nil {
		s.fail(v, err)
		return
	}
	l, verifier := v.login, deputy.NewSecret().Reveal()
	l.setNote(noteState, deputy.NewSecret().Reveal())
	l.setNote(noteNonce, deputy.NewSecret().Reveal())
	l.setNote(noteVerifier, verifier)
	l.setNote(noteUntil, strconv.FormatInt(s.now().Add(stateLives).Unix(), 10))
	address, err := to.address(l, v.snap.issuer+pathRedirect)
	if err == nil {
		err = s.save(v.r.Context(), v.w, l)
	}
	if err != nil {
		s.fail(v, err)
		return
	}
	redirect(v.w, v.r, address)
}

// address returns where the person is sent.
func (to *relay) address(l *login, back string) (string, error) {
	scopes := []string{scopeOpenID, scopeProfile, scopeEmail}
	if to.OpenID != nil {
		for _, scope := range to.OpenID.Scopes {
			if !slices.Contains(scopes, scope) {
				scopes = append(scopes, scope)
			}
		}
	}
	address, err := to.Address(broker.Authorization{
		Redirect: back, State: l.note(noteState), Verifier: l.note(noteVerifier), Nonce: l.note(noteNonce), Scopes: scopes, Wishes: wishes(l),
	})
	if err != nil {
		return "", providerFault("%w", err)
	}
	return address, nil
}

// wishes are what the client wants the provider to know.
func wishes(l *login) map[string]string {
	out := make(map[string]string)
	var prompts []string
	for _, prompt := range []string{promptLogin, promptSelect} {
		if l.Request.prompts(prompt) {
			prompts = append(prompts, prompt)
		}
	}
	if len(prompts) > 0 {
		out["prompt"] = strings.Join(prompts, " ")
	}
	if l.Request.MaxAge != nil {
		out["max_age"] = strconv.FormatInt(int64(*l.Request.MaxAge), 10)
	}
	if l.Request.LoginHint != "" {
		out["login_hint"] = l.Request.LoginHint
	}
	if l.Request.UILocales != "" {
		out["ui_locales"] = l.Request.UILocales
	}
	return out
}

// returned takes the provider's answer. One that comes as a form of another
// site brings no cookie along, so it is sent around once more.
func (s *Server) returned(v *visitor) {
	if v.r.Method == http.MethodPost {
		q := url.Values{}
		for _, name := range []string{"code", "state", "error", "iss"} {
			if text := v.text(name); text != "" && len(text) <= maxKept {
				q.Set(name, text)
			}
		}
		redirect(v.w, v.r, v.snap.issuer+pathRedirect+"?"+q.Encode())
		return
	}
	ctx := v.r.Context()
	l, err := s.login(v.r, v.zone, v.snap, v.from)
	if err != nil {
		s.fail(v, err)
		return
	}
	v.login = l
	if v.isBack() {
		s.connected(v)
		return
	}
	nonce, verifier, err := s.takeState(v)
	if err != nil {
		s.fail(v, err)
		return
	}
	to, err := s.relay(ctx, v)
	if err == nil {
		err = to.checkAnswer(v)
	}
	if err != nil {
		s.notSignedIn(v, err)
		return
	}
	claims, raw, err := s.redeem(ctx, v, to, verifier, nonce)
	if err != nil {
		s.notSignedIn(v, err)
		return
	}
	if v.zone.manages() {
		s.vouched(v, to, claims, raw)
		return
	}
	user, err := s.federated(ctx, v, to, claims)
	if err != nil {
		s.notSignedIn(v, err)
		return
	}
	by := proof{user: user, provider: &to.ID, issuer: to.Server.Issuer(), subject: claims.Subject, claims: raw}
	if at := claims.AuthTime; at != nil && *at > 0 {
		by.at = time.Unix(*at, 0).UTC()
	}
	s.enter(v, by, nil, nil)
}

// takeState compares the state with the one that the browser's transaction has,
// and uses it up.
func (s *Server) takeState(v *visitor) (nonce, verifier string, err error) {
	l := v.login
	state := deputy.Conceal(l.note(noteState))
	until, _ := strconv.ParseInt(l.note(noteUntil), 10, 64)
	if state.IsZero() || !state.Equal(deputy.Conceal(v.text("state"))) || s.now().Unix() >= until {
		return "", "", errNoLogin
	}
	nonce, verifier = l.note(noteNonce), l.note(noteVerifier)
	for _, name := range []string{noteState, noteNonce, noteVerifier, noteUntil} {
		l.setNote(name, "")
	}
	// Under a new secret: of two requests that bring the state at once, one finds
	// the transaction.
	return nonce, verifier, s.renewed(v)
}

// renewed keeps the transaction under a new secret.
func (s *Server) renewed(v *visitor) error {
	ctx, l := v.r.Context(), v.login
	next := *l
	next.secret = deputy.NewSecret()
	t, err := next.ticket(s.now())
	if err != nil {
		return err
	}
	if err := s.store.PutTicket(ctx, t, deputy.HashSecret(l.secret)); err != nil {
		return ended(err)
	}
	*l = next
	s.begun(v.w, l)
	return nil
}

// checkAnswer refuses an answer that is an error, or not the provider's.
func (to *relay) checkAnswer(v *visitor) error {
	if err := to.CheckIssuer(v.text("iss")); err != nil {
		return providerFault("%w", err)
	}
	if code := v.text("error"); code != "" {
		return providerFault("it answered %s", clip(code))
	}
	if v.text("code") == "" {
		return providerFault("the answer has no code")
	}
	return nil
}

// notSignedIn tells the person that the provider did not sign them in, and
// writes it down.
func (s *Server) notSignedIn(v *visitor, err error) {
	refused := asRefusal(err)
	if refused.code == codeServerError {
		refused = refuse(codeAccessDenied, "The identity provider did not sign the person in.").because(refused.cause)
	}
	event := s.visitorEvent(v, eventLogin, nil)
	if id := v.snap.zone.UserIdentityProviderID; id != nil {
		event.ProviderID = *id
	}
	if v.zone.manages() {
		event.OrganizationID = v.login.Through
	}
	if err := s.record(v.r.Context(), event, nil, refused); err != nil {
		s.fail(v, err)
		return
	}
	problem := pages.ErrorProvider
	if errors.Is(err, errIdentity) {
		problem = pages.ErrorIdentity
	}
	s.show(v, http.StatusBadRequest, pages.Error{Problem: problem, RequestID: v.from.requestID, Back: pageCancel})
}

// providerClaims are the claims of an ID token that say who somebody is.
type providerClaims struct {
	Subject         string         `json:"sub"`
	Nonce           string         `json:"nonce"`
	AuthorizedParty string         `json:"azp"`
	AuthTime        *int64         `json:"auth_time"`
	Email           string         `json:"email"`
	EmailVerified   jsontext.Value `json:"email_verified"`
	all             map[string]jsontext.Value
}

// address returns the mail address that the provider has for the person, and
// whether it vouches for it; empty for none. One that it says itself nobody has
// checked is none: policies, tokens and what people are called by would show what
// anybody could have typed in there. A provider that says nothing of it is taken
// at its word. Some write a text for the truth value.
func (c *providerClaims) address() (address string, verified bool) {
	said := strings.Trim(string(c.EmailVerified), `"`)
	if said != "" && said != "true" || deputy.Email("email", c.Email) != nil {
		return "", false
	}
	return c.Email, said == "true"
}

// redeem exchanges the code for an ID token, checks it, and returns what it
// says.
func (s *Server) redeem(ctx context.Context, v *visitor, to *relay, verifier, nonce string) (*providerClaims, []byte, error) {
	raw, err := s.askForToken(ctx, v, to, verifier)
	if err != nil {
		return nil, nil, err
	}
	check := oidc.NewVerifier(to.Server.Issuer(), &outsideKeys{s, keySource{zone: v.zone.id, address: to.Keys()}}, &oidc.Config{
		ClientID: *to.ClientID, Now: s.now, SupportedSigningAlgs: outsideNames,
	})
	token, err := check.Verify(ctx, raw)
	if err != nil {
		return nil, nil, providerFault("ID token: %w", err)
	}
	var body jsontext.Value
	claims := new(providerClaims)
	if err := errors.Join(token.Claims(&rawClaims{&body}), json.Unmarshal(body, claims), json.Unmarshal(body, &claims.all)); err != nil {
		return nil, nil, providerFault("ID token: %w", err)
	}
	switch {
	case claims.Subject == "":
		err = errors.New("it has no sub")
	case !deputy.Conceal(claims.Nonce).Equal(deputy.Conceal(nonce)):
		err = errors.New("its nonce is another")
	case (len(token.Audience) > 1 || claims.AuthorizedParty != "") && claims.AuthorizedParty != *to.ClientID:
		err = errors.New("its azp is another")
	case token.IssuedAt.After(s.now().Add(skew)):
		err = errors.New("it is from the future")
	case v.login.Request.MaxAge != nil && !s.recent(claims, int64(*v.login.Request.MaxAge)):
		err = errors.New("the person signed in too long ago")
	}
	if err != nil {
		return nil, nil, providerFault("ID token: %w", err)
	}
	return claims, body, nil
}

// rawClaims keeps the claims as they are written.
type rawClaims struct{ to *jsontext.Value }

func (c *rawClaims) UnmarshalJSON(b []byte) error {
	*c.to = slices.Clone(jsontext.Value(b))
	return nil
}

// recent reports whether the person proved to the provider who they are no
// longer ago than the client wants.
func (s *Server) recent(c *providerClaims, maxAge int64) bool {
	return c.AuthTime != nil && s.now().Unix()-*c.AuthTime <= maxAge+int64(skew/time.Second)
}

// redeemTimeout bounds the exchange of a code: the person waits.
const redeemTimeout = 10 * time.Second

// askForToken exchanges the code at the provider's token endpoint.
func (s *Server) askForToken(ctx context.Context, v *visitor, to *relay, verifier string) (idToken string, err error) {
	ctx, cancel := context.WithTimeout(ctx, redeemTimeout)
	defer cancel()
	t, err := to.Redeem(ctx, broker.Authorization{Redirect: v.snap.issuer + pathRedirect, Verifier: verifier}, v.text("code"))
	if err != nil {
		return "", providerFault("token endpoint: %w", err)
	}
	if t.Identity == "" {
		return "", providerFault("token endpoint: the answer has no ID token")
	}
	return t.Identity, nil
}

// providerSecret returns the client secret that a provider was configured with,
// the zero Secret when there is none.
func (s *Server) providerSecret(ctx context.Context, place vault.Place, p *deputy.Provider) (deputy.Secret, error) {
	if len(p.SealedSecret) == 0 {
		return deputy.Secret{}, nil
	}
	plain, err := s.builder.vault.Open(ctx, place, p.SealedSecret)
	return deputy.Conceal(string(plain)), err
}

// errIdentity says that no account can be made of what the provider said.
var errIdentity = refuse(codeAccessDenied, "An account cannot be made from what the identity provider says.")

// errUnchecked says that a provider has an address for somebody which it does
// not vouch for.
var errUnchecked = errors.New("the provider does not vouch for the address")

// federated returns the person with the issuer and subject, who is made if
// there is none: whoever the provider lets in is let in.
func (s *Server) federated(ctx context.Context, v *visitor, to *relay, c *providerClaims) (*deputy.User, error) {
	user, err := s.byAccount(ctx, v, to.Server.Issuer(), c.Subject)
	if err != nil {
		return nil, err
	}
	if user != nil {
		return user, s.refreshEmail(ctx, v, user, c)
	}
	user, key, err := s.newUser(ctx, v.snap, deputy.Time(s.now()))
	if err != nil {
		return nil, err
	}
	issuer := to.Server.Issuer()
	user.ProviderID, user.Issuer, user.Subject = &to.ID, &issuer, &c.Subject
	user.Email, user.EmailVerified = c.address()
	if claim := to.OpenID; claim != nil && claim.UserIdentifierClaim != nil {
		switch text := c.text(*claim.UserIdentifierClaim); {
		case text == "":
		case *claim.UserIdentifierClaim == "email" && user.Email == "":
			return nil, errors.Join(errIdentity, errUnchecked)
		default:
			user.Identifier = text
		}
	}
	if err := deputy.SafeText("identifier", user.Identifier, 1, deputy.MaxIdentifier); err != nil {
		return nil, errors.Join(errIdentity, err)
	}
	err = s.store.Write(ctx, s.visitorEvent(v, eventUserCreate, user), func(tx deputy.Tx) error {
		return s.insertUser(ctx, tx, user, key)
	})
	if deputy.KindOf(err) != deputy.Conflict {
		return user, err
	}
	// Somebody has the identifier, or the same person came twice at once.
	if same, err := s.byAccount(ctx, v, to.Server.Issuer(), c.Subject); err == nil && same != nil {
		return same, nil
	}
	return nil, errors.Join(errIdentity, err)
}

// byAccount returns the person who is the subject to the issuer, or nil.
func (s *Server) byAccount(ctx context.Context, v *visitor, issuer, subject string) (*deputy.User, error) {
	u, err := s.store.Users().Find(ctx, v.in(), "account", deputy.FederatedAccount(issuer, subject))
	return u, unlessAbsent(err)
}

// text returns a claim that is a text, else the empty one.
func (c *providerClaims) text(name string) string {
	var text string
	if err := json.Unmarshal(c.all[name], &text); err != nil {
		return ""
	}
	return text
}

// refreshEmail takes over the address that the provider has for the person now.
// What they are called by never changes.
func (s *Server) refreshEmail(ctx context.Context, v *visitor, user *deputy.User, c *providerClaims) error {
	address, verified := c.address()
	if c.Email == "" || user.Email == address && user.EmailVerified == verified {
		return nil
	}
	return s.store.Write(ctx, s.visitorEvent(v, "users:update", user), func(tx deputy.Tx) error {
		now, err := tx.Users().Update(ctx, v.in(), deputy.ID(user.ID), func(u *deputy.User) error {
			u.Email, u.EmailVerified = address, verified
			return nil
		})
		if err == nil {
			*user = *now
		}
		return err
	})
}

// outsideKeys verifies with the keys that another issuer publishes.
type outsideKeys struct {
	server *Server
	from   keySource
}

// VerifySignature returns the payload of a token that one of the keys signed.
func (k *outsideKeys) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	t, err := readOutside(token, outsideAlgorithms)
	if err == nil {
		err = k.server.trusts(ctx, k.from, t)
	}
	if err != nil {
		return nil, err
	}
	return t.payload, nil
}
