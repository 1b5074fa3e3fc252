package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"slices"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

// codeGrant redeems an authorization code (RFC 6749 §4.1.3): once, by the client
// that it was given to, with the verifier of its challenge. That begins the
// client's session and its refresh tokens.
var codeGrant = grant{public: true, unscoped: true, present: presentCode, agree: agree}

// Refusals of a code.
var (
	errCode     = refuse(codeInvalidGrant, "The authorization code is not valid here.")
	errRedirect = refuse(codeInvalidGrant, "The redirect_uri is not the one of the authorization request.")
	errVerifier = refuse(codeInvalidGrant, "The code_verifier does not fit the code_challenge.")
)

// spentLives is how long the second use of a code is noticed.
const spentLives = 24 * time.Hour

// agreed is what a person has agreed to for a client, as codes and refresh
// tokens carry it on.
type agreed struct {
	Resources []string            `json:"resources,omitempty"` // as requested; the first is the audience
	Requested []string            `json:"requested,omitempty"` // scopes of resources
	Scopes    []string            `json:"scopes,omitempty"`    // those of the first resource
	Targets   []deputy.ResourceID `json:"targets,omitempty"`
	OpenID    []string            `json:"openid,omitempty"`
	Refresh   bool                `json:"refresh,omitzero"` // refresh tokens come along

	nonce    string          // of a code
	session  *deputy.Session // of a code: the client's, to be begun
	code     deputy.Secret
	narrowed bool // another resource than the first
}

// nameClient finds out who a code belongs to where the request says nothing of
// itself: some clients of ours leave out their client_id, and a code of a public
// client is bound to it by the challenge.
func (s *Server) nameClient(ctx context.Context, i *issuance, claimed *claimant) error {
	if len(claimed.identities) > 0 || claimed.proven || i.form.grantType != authorizationCode || i.form.code.IsZero() {
		return nil
	}
	t, err := s.store.Ticket(ctx, deputy.CodeTicket, i.zone.id, deputy.HashSecret(i.form.code))
	if err != nil {
		return unlessAbsent(err)
	}
	var a authorized
	if err := openTicket(t, i.form.code, &a); err != nil {
		return err
	}
	if a.Request.Challenge != "" {
		claimed.identities = []identity{{clientID: a.Request.ClientID}}
	}
	return nil
}

func presentCode(s *Server, ctx context.Context, i *issuance) error {
	f := i.form
	if f.code.IsZero() {
		return refuse(codeInvalidRequest, "The parameter code is missing.")
	}
	a, err := s.readCode(ctx, i)
	if err != nil {
		return err
	}
	if a.Request.ClientID != i.client.id {
		return errCode
	}
	if f.redirectURI != a.Request.RedirectURI && (a.Request.Redirect || f.redirectURI != "") {
		return errRedirect
	}
	if !verifies(a.Request.Challenge, f.codeVerifier) {
		return errVerifier
	}
	i.use = i.client.use(deputy.UseCode, deputy.UseCodeAgent)
	i.agreed = &agreed{
		Resources: a.Request.Resources, Requested: a.Request.Scopes, Scopes: a.Agreed, Targets: a.Targets,
		OpenID: a.Request.OpenID, Refresh: a.Refresh, nonce: a.Request.Nonce, code: f.code,
	}
	if err := i.choose(f.resource); err != nil {
		return err
	}
	if err := s.presentPerson(ctx, i, a.Session); err != nil {
		return err
	}
	i.begins(ctx, a)
	return nil
}

// readCode returns what a code stands for. A code that was redeemed before ends
// what the first time began: one of the two who had it is not the client (RFC
// 6749 §4.1.2).
func (s *Server) readCode(ctx context.Context, i *issuance) (*authorized, error) {
	key := deputy.HashSecret(i.form.code)
	t, err := s.store.Ticket(ctx, deputy.CodeTicket, i.zone.id, key)
	if err == nil {
		a := new(authorized)
		return a, openTicket(t, i.form.code, a)
	}
	if unlessAbsent(err) != nil {
		return nil, err
	}
	spent, err := s.store.Ticket(ctx, deputy.SpentCodeTicket, i.zone.id, key)
	if err != nil {
		if unlessAbsent(err) == nil {
			err = errCode
		}
		return nil, err
	}
	var session deputy.SessionID
	if err := openTicket(spent, i.form.code, &session); err != nil {
		return nil, err
	}
	if err := s.endSession(ctx, i, session, "The authorization code was used again."); err != nil {
		return nil, err
	}
	return nil, errCode
}

// verifies reports whether a verifier is that of a challenge (RFC 7636 §4.6).
// Without a challenge there must be none: it was taken out of the request.
func verifies(challenge string, verifier deputy.Secret) bool {
	v := verifier.Reveal()
	if challenge == "" {
		return v == ""
	}
	sum := sha256.Sum256([]byte(v))
	fits := subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) == 1
	return fits && len(v) >= 43 && len(v) <= 128
}

// choose finds what the token is for: the first of the resources of the
// authorization, or another one of them that is named.
func (i *issuance) choose(named []string) error {
	i.wanted, i.scopes = i.agreed.Resources[:min(1, len(i.agreed.Resources))], i.agreed.Scopes
	if len(named) == 0 {
		return nil
	}
	for _, r := range named {
		if !i.agreed.covers(i.snap, r) {
			return refuse(codeInvalidTarget, "The resource %s was not part of the authorization.", excerpt(r))
		}
	}
	if !i.agreed.isFirst(i.snap, named[0]) {
		i.agreed.narrowed, i.scopes = true, i.agreed.Requested
	}
	i.wanted = named[:1]
	return nil
}

// isFirst reports whether an identifier names the first resource.
func (a *agreed) isFirst(snap *snapshot, identifier string) bool {
	if len(a.Resources) > 0 {
		return a.Resources[0] == identifier
	}
	t, err := snap.defaultTarget()
	return err == nil && t.identifier == identifier
}

// covers reports whether an identifier names one of the resources.
func (a *agreed) covers(snap *snapshot, identifier string) bool {
	return slices.Contains(a.Resources, identifier) || a.isFirst(snap, identifier)
}

// begins prepares the session of the client, below the person's web session:
// it ends with that. It is named after the event that begins it.
func (i *issuance) begins(_ context.Context, a *authorized) {
	i.claims.session = deputy.SessionID(i.event.ID)
	if i.delegator.user == nil || len(i.delegator.sessions) == 0 || i.delegator.sessions[0] == nil {
		return // Standing refuses
	}
	above, now := i.delegator.sessions[0], i.from.at
	i.agreed.session = &deputy.Session{
		ID: i.claims.session, OrganizationID: i.snap.zone.OrganizationID, ZoneID: i.zone.id,
		Type: deputy.UserSession, Status: deputy.Active, ParentID: &above.ID, UserID: &i.delegator.user.ID,
		Name: i.client.application.Name, ProviderID: above.ProviderID, Issuer: above.Issuer, Subject: above.Subject,
		AuthenticatedAt: above.AuthenticatedAt, ExpiresAt: above.ExpiresAt, CreatedAt: now, UpdatedAt: now,
	}
	if i.client.agent != "" {
		i.agreed.session.UserAgentID = &i.client.agent
	} else {
		i.agreed.session.ApplicationID = &i.client.application.ID
	}
	i.behalf()
	i.event.SessionID = i.claims.session
	if a.Refresh {
		i.refresh = firstRefresh(i.claims.session)
	}
}

// behalf puts the person and the client into what is asked of policy.
func (i *issuance) behalf() {
	user := i.show()
	i.question.Legs = []policy.Leg{{Principal: user, OnBehalf: true}, {Principal: &i.client.application, OnBehalf: true}}
	i.event.Actor.IdentityChain = []deputy.Actor{
		i.event.Actor, {Type: "user", ID: string(i.delegator.user.ID), Identifier: i.delegator.user.Identifier},
	}
	i.claims.subject, i.claims.profile = i.delegator.user.Identifier, profileUser
}

// settle is what comes with a token of a code or a refresh token, in the same
// transaction.
func (i *issuance) settle(ctx context.Context, tx deputy.Tx) error {
	if i.agreed.session == nil {
		return i.refresh.turn(ctx, tx, i.zone.id)
	}
	key := deputy.HashSecret(i.agreed.code)
	if _, err := tx.TakeTicket(ctx, deputy.CodeTicket, i.zone.id, key); err != nil {
		return err // NotFound: somebody was faster
	}
	spent, err := newTicket(deputy.SpentCodeTicket, i.zone.id, i.agreed.code, i.agreed.session.ID, tx.Now(), spentLives)
	if err != nil {
		return err
	}
	if err := tx.PutTicket(ctx, spent); err != nil {
		return err
	}
	if err := tx.Sessions().Insert(ctx, i.agreed.session); err != nil {
		return err
	}
	if i.refresh == nil {
		return nil
	}
	return i.refresh.begin(ctx, tx, i)
}

// endSession ends a client's session because what it rests on was used twice.
func (s *Server) endSession(ctx context.Context, i *issuance, id deputy.SessionID, why string) error {
	chain, user, err := s.store.SessionChain(ctx, i.zone.id, id)
	if err != nil || len(chain) == 0 || chain[0].Status != deputy.Active {
		return unlessAbsent(err)
	}
	event := i.event
	event.ID, event.Type, event.Outcome, event.Basis = deputy.EventID(deputy.NewID(i.from.at)), eventSessionEnd, deputy.Success, nil
	event.ErrorDetail, event.SessionID = why, id
	if user != nil {
		event.UserID, event.UserKey = user.ID, user.KeyID
	}
	return s.store.Write(ctx, &event, func(tx deputy.Tx) error {
		_, err := tx.Sessions().Update(ctx, deputy.Scope{Zone: i.zone.id}, deputy.ID(id), func(x *deputy.Session) error {
			x.Status = deputy.Revoked
			return nil
		})
		return unlessAbsent(err)
	})
}
