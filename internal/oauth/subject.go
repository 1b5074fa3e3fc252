package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"deputy/internal/deputy"
	"deputy/internal/keys"
	"deputy/internal/policy"
)

// leeway is how far the clocks that judge a token's end may differ.
const leeway = time.Minute

// maxRemembered is how many tokens are remembered as verified, somewhat more
// than a kilobyte each.
const maxRemembered = 4096

// verified is a token of ours whose signature was found good. Whether it may
// still be used is asked each time.
type verified struct {
	verifiedClaims
	set    *keys.Set      // which verified it
	policy *policy.Claims // the claims as policies see them
}

// payload returns the claims as the token has them.
func payload(token string) []byte {
	_, rest, _ := strings.Cut(token, ".")
	body, _, _ := strings.Cut(rest, ".")
	b, _ := base64.RawURLEncoding.DecodeString(body)
	return b
}

// errMalformed is what a token is refused with that is no JWS at all.
var errMalformed = deputy.Errorf(deputy.Invalid, "the token is not a JWS")

// verify returns an access token signed with a key of the set, whose issuer is
// as given. A token verified before is remembered by its hash, for as long as
// the keys stay the same; then only its end is looked at. It is Invalid when
// token is no JWS, else Unauthenticated.
func (s *Server) verify(set *keys.Set, issuer, token string, leeway time.Duration) (*verified, error) {
	now := s.now()
	sum := sha256.Sum256([]byte(token))
	v, known := s.verified.GetIfPresent(sum)
	if !known || v.set != set {
		var err error
		if v, err = readToken(set, now, token); err != nil {
			return nil, err
		}
		s.verified.Set(sum, v)
	}
	switch {
	case v.Issuer != issuer:
		return nil, deputy.Errorf(deputy.Unauthenticated, "the token is of another issuer")
	case v.expired(now, leeway):
		return nil, deputy.Errorf(deputy.Unauthenticated, "the token has expired")
	}
	return v, nil
}

func readToken(set *keys.Set, now time.Time, token string) (*verified, error) {
	payload, _, err := set.Verify(now, token, accessTokenTyp)
	if err != nil {
		if !isJWS(token) {
			return nil, errMalformed
		}
		return nil, err
	}
	v := &verified{set: set}
	if err := json.Unmarshal(payload, &v.verifiedClaims); err != nil {
		return nil, deputy.Error{Kind: deputy.Unauthenticated, Message: "the token's claims are malformed"}.Because(err)
	}
	if v.policy, err = policy.NewClaims(payload); err != nil {
		return nil, err
	}
	if v.Subject == "" || v.ClientID == "" || len(v.Audience) == 0 || v.Act.depth() > maxActors {
		return nil, deputy.Errorf(deputy.Unauthenticated, "the token lacks claims that an access token has")
	}
	return v, nil
}

// isJWS reports whether s has the form of a compact JWS (RFC 7515 §7.1):
// three parts in base64url, the first a JSON object, the others not empty.
func isJWS(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return false
	}
	for i, part := range parts {
		b, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || i < 2 && len(b) == 0 {
			return false
		}
		if i == 0 {
			if v := jsontext.Value(b); v.Kind() != jsontext.KindBeginObject || !v.IsValid() {
				return false
			}
		}
	}
	return true
}

// subject is whom an exchanged token is about: a person, or an application.
type subject struct {
	*verified
	from        *resource // to which the token was addressed; nil if it is gone
	application *policy.Application
	principal   policy.Principal
}

// delegator is the person behind a request, and the session that this rests on.
type delegator struct {
	*person  // as policies see them; nil: gone, as is user
	session  deputy.SessionID
	user     *deputy.User
	sessions []*deputy.Session
}

// presentPerson reads the person of a session.
func (s *Server) presentPerson(ctx context.Context, i *issuance, session deputy.SessionID) error {
	r, err := s.personOf(ctx, i, session)
	if err != nil {
		return err
	}
	i.delegator = &delegator{session: session, user: r.user, sessions: r.sessions}
	i.standing.Sessions, i.standing.User = r.sessions, r.user
	if r.user == nil {
		return nil
	}
	if !i.snap.readsAffiliations() {
		i.delegator.person = &person{User: r.seen}
		return nil
	}
	if i.delegator.person, err = i.snap.person(ctx, s.store, r.user); err != nil {
		return err
	}
	i.delegator.User = s.people.of(i.delegator.User, r.user.KeyID)
	return nil
}

// show puts the person into what is asked of policy and into the event.
func (i *issuance) show() *policy.User {
	u := i.delegator.user
	i.event.UserID, i.event.UserKey, i.event.SessionID = u.ID, u.KeyID, i.delegator.session
	i.question.Subject = i.delegator.User
	return i.question.Subject
}

// presentSubject takes up the subject token: who it is about is read anew, and
// whether they may still be acted for is for Standing to say.
func (s *Server) presentSubject(ctx context.Context, i *issuance, v *verified) error {
	i.subject = &subject{verified: v, from: i.snap.resolve(v.Audience[0])}
	i.grounds.resource(i.subject.from, v.Audience[0])
	if v.Profile == profileUser {
		i.use = deputy.UseExchangeUser
		return s.presentUser(ctx, i)
	}
	i.use = deputy.UseExchangeApplication
	return s.presentApplication(ctx, i)
}

// presentUser reads the person and the session of the subject token.
func (s *Server) presentUser(ctx context.Context, i *issuance) error {
	sub := i.subject
	if sub.Session == "" && sub.Act != nil { // an impersonated person, whose token goes on
		i.use = deputy.UseExchangeImpersonated
		if err := s.presentAbsent(ctx, i, sub.Subject); err != nil {
			return err
		}
	} else if err := s.presentPerson(ctx, i, sub.Session); err != nil {
		return err
	}
	var err error
	if i.standing.TokenClient, err = s.tokenClient(ctx, i.zone, i.snap, sub.verified, i.standing.Sessions, i.relyOn); err != nil {
		return err
	}
	if user := i.delegator.user; user != nil && user.Identifier != sub.Subject {
		i.delegator.user, i.standing.User = nil, nil // the session is not of the token's subject
	}
	if i.delegator.user != nil { // else Standing refuses
		sub.principal = i.show()
	}
	return nil
}

// reread brings up to date in the committing transaction what no zone revision
// covers.
func (i *issuance) reread(ctx context.Context, tx deputy.Tx, now *deputy.Standing) error {
	if err := i.client.rereadAgent(ctx, tx, i.zone.id, now); err != nil {
		return err
	}
	if i.held != nil && i.held.reread != nil {
		if err := i.held.reread(ctx, tx, now); err != nil {
			return err
		}
	}
	if i.delegator == nil {
		return nil
	}
	return i.rereadPerson(ctx, tx, now)
}

// rereadPerson brings the person and the session up to date: they are outside of
// zone revisions, and so is what the person agreed to. It is Stale when any of it
// is another than what the decision was made of: policies see the person, and the
// token's end is the session's.
func (i *issuance) rereadPerson(ctx context.Context, tx deputy.Tx, now *deputy.Standing) error {
	decided := i.delegator
	chain, user, err := i.rereadChain(ctx, tx)
	if err != nil {
		return err
	}
	same := user != nil && user.ID == decided.user.ID && user.Revision == decided.user.Revision &&
		slices.EqualFunc(chain, decided.sessions, func(a, b *deputy.Session) bool {
			return a != nil && b != nil && a.ID == b.ID && a.Revision == b.Revision
		})
	if !same {
		return errMoved
	}
	now.Sessions, now.User = chain, user
	if err := decided.person.unchanged(ctx, tx, i.zone.id, user.ID); err != nil {
		return err
	}
	var withdrawn *refusal
	if err = i.checkConsent(ctx, tx); errors.As(err, &withdrawn) {
		return errMoved
	}
	return err
}

// presentApplication finds the application that the subject token is about.
func (s *Server) presentApplication(ctx context.Context, i *issuance) error {
	holder, err := s.behind(ctx, i.zone, i.snap, i.subject.verified, i.relyOn)
	if err != nil || holder == nil {
		return err // without a subject, Standing refuses
	}
	i.subject.application, i.subject.principal = &holder.application, &holder.application
	i.standing.Subject = holder.application.ID
	return nil
}

// behind returns the application that a token is about, nil when it may not be
// acted for any more. The credential that got the token must still exist: to
// delete it is to end what it got. Each look-up is passed through note.
func (s *Server) behind(ctx context.Context, z *zone, snap *snapshot, v *verified, note ...func(*client, error) (*client, error)) (*client, error) {
	noted := func(c *client, err error) (*client, error) {
		for _, f := range note {
			c, err = f(c, err)
		}
		return c, err
	}
	holder, err := noted(s.client(ctx, z, v.ClientID))
	if err == nil && holder != nil && v.Act != nil { // the holder is the last actor, not the subject
		holder, err = noted(s.application(ctx, z, snap, v.Subject))
	}
	if err != nil || holder == nil || holder.application.Identifier != v.Subject {
		return nil, err // renamed since, and another may have the name now
	}
	return holder, nil
}

// tokenClient returns the client_id that a person's token was issued to, which is
// empty when there is no such client any more: to delete a credential is to end
// what it got. What a user agent got needs no look-up, as its session ends with
// it, but that the zone still takes it. The look-up is passed through note.
func (s *Server) tokenClient(ctx context.Context, z *zone, snap *snapshot, v *verified, chain []*deputy.Session, note ...func(*client, error) (*client, error)) (string, error) {
	if v.Act == nil && len(chain) > 0 && chain[0] != nil && chain[0].UserAgentID != nil {
		if !snap.takesAgent(v.ClientID) {
			return "", nil
		}
		return v.ClientID, nil
	}
	c, err := s.client(ctx, z, v.ClientID)
	for _, f := range note {
		c, err = f(c, err)
	}
	if err != nil || c == nil {
		return "", err
	}
	return v.ClientID, nil
}

// relyOn notes what was looked up as grounds of the decision and passes it on.
func (i *issuance) relyOn(c *client, err error) (*client, error) {
	switch {
	case err != nil:
	case c == nil:
		i.grounds.application("")
	default:
		i.grounds.application(c.application.ID)
	}
	return c, err
}
