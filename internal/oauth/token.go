package oauth

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

// maxAttempts is how often a request is decided before a zone that keeps
// changing under it gets the better of it.
const maxAttempts = 12

// grant is what one grant type adds to the phases that all share. Every
// function may be nil. They run in the order written here, so that a grant
// cannot leave out a shared check or come before it.
type grant struct {
	// public is set where clients that cannot prove who they are may use it:
	// what they present is bound to them otherwise.
	public bool
	// unscoped is set where the request's scope means nothing: what is presented
	// says which there are.
	unscoped bool
	// present checks what the request presents beside its client, and says who
	// the credential is about. The client is authenticated.
	present func(*Server, context.Context, *issuance) error
	// admit checks it against the target, which is in force. Policy decides
	// next.
	admit func(*Server, context.Context, *issuance) error
	// agree checks what must be there beside policy's permission.
	agree func(*Server, context.Context, *issuance) error
}

// grants holds every grant type of the token endpoint.
var grants = map[string]grant{
	clientCredentials: clientCredentialsGrant,
	tokenExchange:     exchangeGrant,
	authorizationCode: codeGrant,
	refreshToken:      refreshGrant,
}

// issuance is one attempt to answer a token request, against one snapshot.
type issuance struct {
	from     *origin
	form     *tokenRequest
	zone     *zone
	snap     *snapshot
	client   *client
	workload *vouched       // what a platform says of the client
	spent    *deputy.Ticket // of what the client proved itself with, where that is good once only
	// newcomers, where they may ask, finds clients that nobody has signed in with
	// yet.
	newcomers newcomers

	grant    grant
	use      deputy.Use
	wanted   []string // identifiers of resources, as requested
	scopes   []string // as requested
	target   target
	provider *deputy.Provider
	standing deputy.Standing
	question policy.Request
	outcome  policy.Outcome
	// evaluation is what the event tells of the outcome, unkept what of it must
	// be kept with the event.
	evaluation   deputy.Evaluation
	legs         [2]deputy.EvaluatedLeg // the memory of evaluation's
	unkept       []policy.Entity
	subject      *subject      // of an exchange
	impersonates bool          // for a person who gave no token
	delegator    *delegator    // who is behind it, if anybody
	agreed       *agreed       // what that person has agreed to, of a code or a refresh token
	refresh      *refresh      // what follows of refresh tokens, if anything
	said         *deputy.Grant // what that person last said about the target
	held         *held         // what is handed out, if the zone does not sign for the target
	claims       claims
	grounds      grounds
	recalled     bool // something that it rests on is remembered
	anew         bool // nothing may be
	event        deputy.Event
}

// token answers at a zone's token endpoint: one answer and, once the client is
// known, one event.
func (s *Server) token(w http.ResponseWriter, r *http.Request, id deputy.ZoneID, from *origin) {
	grantType, result := s.answerToken(w, r, id, from)
	if _, known := grants[grantType]; !known {
		grantType = "other"
	}
	span := deputy.SpanOf(r.Context())
	span.Set(deputy.SpanGrantType, grantType)
	span.Set(deputy.SpanResult, result)
	s.observer.Decided(grantType, result)
}

// answerToken answers, and returns the grant type asked for, and "issued" or the
// code of the refusal.
func (s *Server) answerToken(w http.ResponseWriter, r *http.Request, id deputy.ZoneID, from *origin) (grantType, result string) {
	ctx := r.Context()
	z, snap, err := s.zone(ctx, id)
	if err != nil {
		return "", s.refuse(w, from, id, asRefusal(err), "")
	}
	form, claimed, err := readTokenRequest(r)
	if err != nil {
		if form != nil {
			grantType = form.grantType
		}
		return grantType, s.refuseClaimant(w, from, snap, claimed, err)
	}
	grantType = form.grantType
	from.decides(s.now())
	for n := range maxAttempts {
		i := &issuance{from: from, form: form, zone: z, snap: snap, anew: n > 0}
		c, err := s.attempt(ctx, i, claimed)
		switch {
		case err == nil:
			writeCredential(w, i, c)
			s.observe(i.snap, &i.question, &i.event)
			return grantType, "issued"
		case deputy.KindOf(err) != deputy.Stale && i.client == nil:
			return grantType, s.refuseClaimant(w, from, snap, claimed, err)
		case deputy.KindOf(err) != deputy.Stale:
			result = s.refuse(w, from, id, asRefusal(err), realm(claimed, snap))
			if _, recorded := asDecision(err); recorded {
				s.observe(i.snap, &i.question, &i.event)
			}
			return grantType, result
		}
		if snap, err = s.advance(ctx, z, snap); err != nil {
			return grantType, s.refuse(w, from, id, asRefusal(err), "")
		}
	}
	return grantType, s.refuse(w, from, id, errTooMuchTime, "")
}

// readTokenRequest reads the form, and who it says it comes from.
func readTokenRequest(r *http.Request) (*tokenRequest, *claimant, error) {
	body, err := readForm(r)
	if err != nil {
		return nil, nil, err
	}
	form, err := parseForm(body)
	if err != nil {
		return nil, nil, err
	}
	claimed, err := newClaimant(r.Header, form)
	return form, claimed, err
}

// attempt decides the request against the snapshot and commits the answer,
// with a credential or without. It is Stale when the zone has moved on.
func (s *Server) attempt(ctx context.Context, i *issuance, claimed *claimant) (*credential, error) {
	if err := s.nameClient(ctx, i, claimed); err != nil {
		return nil, err
	}
	c, err := s.authenticate(ctx, i, claimed)
	if err != nil {
		return nil, err
	}
	who := c.id
	if !claimed.proven { // whoever names a public client must not use up its limit for all
		who += " " + i.from.address
	}
	if err := s.limited(i.from, deputy.ID(i.snap.zone.ID), who); err != nil {
		return nil, err
	}
	i.begin(c)
	d, err := s.decide(ctx, i)
	var minted *credential
	if err == nil {
		d.spend = i.spending(ctx)
		minted, err = s.mint(ctx, d)
	}
	if err == nil {
		if d.note != nil {
			c.touched.Store(i.from.at.Unix())
		}
		if r := i.refresh; r != nil && r.made != nil {
			s.memory.Set(rowKey{kind: aFamily, zone: i.zone.id, id: deputy.ID(r.made.SessionID)}, r.made)
		}
		return minted, nil
	}
	if i.doubtful(err) {
		return nil, errMoved
	}
	r, ok := asDecision(err)
	if ok && !errors.Is(err, errReplayed) {
		if err = s.recordWith(ctx, &i.event, i.unkept, r, i.spending(ctx)); err == nil {
			return nil, r
		}
	}
	if errors.Is(err, errReplayed) { // so it was not the client that asked
		i.client = nil
	}
	return nil, err
}

// authenticate returns the client if it proves who it is. A cached client can
// only say yes: a commit validates that, and nothing validates a refusal, so
// the store is asked before there is one. So every refusal costs one look-up
// and one comparison, whether there is such a client or not.
func (s *Server) authenticate(ctx context.Context, i *issuance, claimed *claimant) (*client, error) {
	if claimed.assertion != nil {
		return s.assert(ctx, i, claimed.assertion)
	}
	for _, who := range claimed.identities {
		if claimed.proven {
			c := s.clients.get(clientKey{zone: i.zone.serial, id: who.clientID})
			if c != nil && c.proves(who.secret) {
				return c, nil
			}
		}
		c, err := s.readClient(ctx, i.zone, who.clientID)
		if err == nil && c == nil {
			c, err = s.unregistered(ctx, i, who.clientID)
		}
		switch {
		case err != nil:
			return nil, err
		case claimed.proven && c.proves(who.secret):
			return c, nil
		case claimed.proven || c == nil || !c.isPublic():
		case grants[i.form.grantType].public:
			return c, s.keyless(ctx, i.zone.id, c)
		case c.application.CredentialType != deputy.URLCredential: // which could have keys
			return nil, refuse(codeUnauthorizedClient, "A public client may not use this grant.")
		}
	}
	return nil, errClient
}

// proves reports whether the secret is the client's. No client, which is nil,
// has one, and takes as long to find out.
func (c *client) proves(secret deputy.Secret) bool {
	known := c != nil && c.application.CredentialType == deputy.PasswordCredential
	hash := &nobody
	if known {
		hash = &c.secret
	}
	return deputy.SecretHash(hash[:]).Match(secret) && known
}

// nobody is the hash that the secrets of unknown clients are compared with. It
// has no known preimage, and a match would count for nothing.
var nobody [32]byte

// begin takes up an authenticated client's request.
func (i *issuance) begin(c *client) {
	i.client = c
	i.event = deputy.Event{
		ID: i.from.id, Time: i.from.at, Type: eventIssue,
		OrganizationID: i.snap.zone.OrganizationID, ZoneID: i.zone.id,
		RequestID: i.from.requestID, IP: i.from.address, UserAgent: i.from.userAgent,
		Actor:    c.actor(),
		ClientID: c.id, CredentialID: c.credential,
		GrantType: clip(i.form.grantType),
		Basis:     &deputy.Basis{Zone: i.zone.id, Revision: i.snap.revision, Relies: i.grounds.rely},
	}
	i.claims = claims{issuer: i.snap.issuer, clientID: c.id}
	if c.agent == "" {
		i.claims.application = c.application.Identifier
	}
	i.standing = deputy.Standing{Zone: i.snap.zone}
	c.stand(&i.standing, &i.grounds)
	i.question.Narrowable = true
	if i.workload != nil {
		i.question.ActorClaims = i.workload.policy
	}
}

// decide is the phases between authentication and the mint. What it returns
// rests on the snapshot and on what reread reads again.
func (s *Server) decide(ctx context.Context, i *issuance) (*decided, error) {
	var known bool
	if i.grant, known = grants[i.form.grantType]; !known {
		if i.form.grantType == "" {
			return nil, refuse(codeInvalidRequest, "The parameter grant_type is missing.")
		}
		return nil, refuse(codeUnsupportedGrantType, "The grant type is not supported.")
	}
	if i.client.agent != "" && !i.grant.public {
		return nil, refuse(codeUnauthorizedClient, "A client that registered itself may not use this grant.")
	}
	if !i.grant.unscoped {
		var err error
		if i.scopes, err = scopes(i.form.scope); err != nil {
			return nil, err
		}
		i.event.ScopesRequested = i.scopes
	}
	if err := run(i.grant.present, s, ctx, i); err != nil {
		return nil, err
	}
	missed := i.aim()
	off := i.standing.Live(i.use, i.from.at)
	if missed != nil && (i.impersonates || !aboutSubject(off)) {
		return nil, missed
	}
	if off != nil {
		return nil, off
	}
	if err := run(i.grant.admit, s, ctx, i); err != nil {
		return nil, err
	}
	if err := s.judge(ctx, i); err != nil {
		return nil, err
	}
	if err := run(i.grant.agree, s, ctx, i); err != nil {
		return nil, err
	}
	return s.handOut(ctx, i)
}

// aboutSubject reports whether err says that the subject is off: that comes
// before what is said about the target.
func aboutSubject(err error) bool {
	var off *deputy.Off
	return errors.As(err, &off) && off.OfSubject()
}

// run calls a function of a grant that may be nil.
func run(f func(*Server, context.Context, *issuance) error, s *Server, ctx context.Context, i *issuance) error {
	if f == nil {
		return nil
	}
	return f(s, ctx, i)
}

// aim finds the target and completes what the credential rests on.
func (i *issuance) aim() error {
	var err error
	i.target, err = i.snap.target(i.wanted)
	i.grounds.resource(i.target.resource, i.target.requested)
	if i.target.resource == nil {
		if i.target.requested != "" {
			i.event.Resource = &deputy.EventResource{Identifier: clip(i.target.requested)}
		}
		return err
	}
	r := i.target.resource
	i.event.Resource = &deputy.EventResource{ID: r.ID, Identifier: r.identifier}
	if r.CredentialProviderID == nil {
		return refuse(codeInvalidTarget, "Resource %q is missing a credential provider", r.identifier)
	}
	i.event.ProviderID = *r.CredentialProviderID
	i.grounds.provider = string(*r.CredentialProviderID)
	i.provider = i.snap.providers[*r.CredentialProviderID]
	i.standing.Resource, i.standing.Provider = r.Resource, i.provider
	if i.provider != nil && i.provider.Type != deputy.STSProvider {
		i.standing.Unsigned, i.question.Narrowable = true, false
		return nil
	}
	if k := i.signer(); k != nil {
		i.standing.Key = k.row
	}
	return nil
}

// signer returns the key that signs tokens for the target: of the resource's
// algorithm, else of the zone's.
func (i *issuance) signer() *signer {
	alg := i.snap.zone.SigningAlg
	if own := i.target.SigningAlg; own != nil {
		alg = *own
	}
	return i.snap.signer(deputy.SigningAlgorithm(alg))
}

// judge asks policy. A refusal names what decided.
func (s *Server) judge(ctx context.Context, i *issuance) error {
	if err := i.snap.decidable(); err != nil {
		return err
	}
	i.question.Resource = i.target.entity
	i.question.Scopes = i.asked()
	var took time.Duration
	i.outcome, took = s.askPolicy(ctx, i.snap.policies, i.question)
	i.event.Policy = eventPolicy(&i.outcome, took)
	i.evaluated()
	s.logErrors(&i.outcome, i.zone.id, i.from)
	if !i.outcome.Allowed {
		return refuse(codeAccessDenied, i.outcome.Message())
	}
	return nil
}

// asked returns the scopes that policy decides about: the requested ones, or what
// a token that Deputy gets for itself at a provider carries.
func (i *issuance) asked() []string {
	if i.provider != nil && i.provider.Type == deputy.ExternalProvider && i.standing.User == nil {
		return i.target.Applied(i.scopes)
	}
	return i.scopes
}

// askPolicy asks a set and takes the time.
func (s *Server) askPolicy(ctx context.Context, set *policy.Set, question policy.Request) (policy.Outcome, time.Duration) {
	_, span := deputy.StartSpan(ctx, deputy.SpanDecision)
	began := s.now()
	outcome := set.Decide(question)
	took := s.now().Sub(began)
	result := "forbid"
	if outcome.Allowed {
		result = "permit"
	}
	span.Set(deputy.SpanResult, result)
	span.End(nil)
	return outcome, took
}

// eventPolicy says in an event what decided and how long it took, or nil when
// nothing was there to.
func eventPolicy(o *policy.Outcome, took time.Duration) *deputy.EventPolicy {
	if o.Set.SetID == "" {
		return nil
	}
	p := &deputy.EventPolicy{
		SetID: o.Set.SetID, SetVersionID: o.Set.VersionID, Version: o.Set.Number, SchemaVersion: o.Set.SchemaVersion, ManifestSHA: o.Set.ManifestSHA,
		Latency: int64((took + time.Microsecond - 1) / time.Microsecond),
	}
	n := 0
	for i := range o.Legs {
		n += len(o.Legs[i].Determining)
	}
	if n == 0 {
		return p
	}
	p.Determining, p.Policies = make([]string, 0, n), make([]deputy.EventPolicyVersion, 0, n)
	for i := range o.Legs {
		for _, ref := range o.Legs[i].Determining {
			p.Determining = append(p.Determining, ref.Label)
			p.Policies = append(p.Policies, deputy.EventPolicyVersion{PolicyID: ref.PolicyID, VersionID: ref.VersionID})
		}
	}
	return p
}

// handOut says what the mint is to make for the target's provider.
func (s *Server) handOut(ctx context.Context, i *issuance) (*decided, error) {
	var err error
	switch i.provider.Type {
	case deputy.STSProvider:
	case deputy.VaultProvider:
		err = s.vaulted(ctx, i)
	default:
		err = s.brokered(ctx, i)
	}
	if err != nil {
		return nil, err
	}
	i.claims.audience = i.target.audience()
	i.claims.scopes = i.outcome.Scopes
	if i.agreed != nil {
		i.complete()
	}
	d := &decided{
		claims: i.claims, lifetime: i.within(i.target.lifetime()), signer: i.signer(), held: i.held,
		use: i.use, standing: &i.standing, event: &i.event, unkept: i.unkept,
	}
	if i.delegator != nil || i.client.agent != "" || i.held != nil {
		d.reread, i.event.Basis.Again = i.reread, i.again()
	}
	if i.agreed != nil {
		d.effect, d.refresh = i.settle, i.refresh
		if err := i.identify(d); err != nil {
			return nil, err
		}
	}
	s.repeats.find(i, d)
	if i.use == deputy.UseClientCredentials && i.from.at.Unix()-i.client.touched.Load() >= touchEvery {
		d.note = i.touch
	}
	return d, nil
}

// touchEvery is how often the session of a credential in use is written, in
// seconds.
const touchEvery = 60

// lifetime returns how long credentials of the resource live.
func (r *resource) lifetime() time.Duration {
	if r.Lifetime == nil {
		return deputy.DefaultLifetime * time.Second
	}
	return time.Duration(*r.Lifetime) * time.Second
}

// appendToken appends the member access_token. A JWS needs no escaping.
func appendToken(b []byte, token string) []byte {
	return append(append(append(appendName(b, "access_token"), '"'), token...), '"')
}

// answers holds the memory of answers that have left.
var answers = sync.Pool{New: func() any { return new([]byte) }}

// writeCredential answers with a credential (RFC 6749 §5.1, RFC 8693 §2.2.1).
func writeCredential(w http.ResponseWriter, i *issuance, c *credential) {
	h := w.Header()
	h["Content-Type"], h["Cache-Control"], h["Pragma"] = jsonType, noStore, noCache
	h["Access-Control-Allow-Origin"] = anyone
	memory := answers.Get().(*[]byte)
	b := append((*memory)[:0], '{')
	if i.held == nil {
		b = appendToken(b, c.token)
	} else {
		b = appendQuoted(appendName(b, "access_token"), c.token)
	}
	if c.kind != "" {
		b = appendQuoted(appendName(b, "username"), c.username)
		b = appendMember(b, "secret_type", string(c.kind))
	}
	if i.form.grantType == tokenExchange {
		b = appendMember(b, "issued_token_type", typeAccessToken)
	}
	b = appendMember(b, "token_type", "Bearer")
	b = strconv.AppendInt(appendName(b, "expires_in"), c.expiresIn, 10)
	if len(c.scopes) > 0 {
		b = appendScopes(appendName(b, "scope"), c.scopes)
	}
	b = appendMember(b, "refresh_token", c.refreshToken.Reveal())
	b = appendMember(b, "id_token", c.idToken)
	b = appendMember(b, "user_id", string(i.event.UserID))
	b = append(b, '}')
	_, _ = w.Write(b) // a client that has gone needs no answer
	*memory = b
	answers.Put(memory)
}
