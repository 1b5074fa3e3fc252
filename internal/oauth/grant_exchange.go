package oauth

import (
	"cmp"
	"context"
	"net/url"
	"slices"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

// exchangeGrant turns a token that was addressed to the client into one for a
// further resource, with the same subject and the client as its newest actor
// (RFC 8693).
var exchangeGrant = grant{present: presentExchange, admit: admitExchange, agree: agree}

// presentExchange checks the tokens and says who the credential is about.
func presentExchange(s *Server, ctx context.Context, i *issuance) error {
	f := i.form
	if err := f.checkExchange(); err != nil {
		return err
	}
	if f.subjectTokenType == typeSubstitute {
		return s.presentSubstitute(ctx, i)
	}
	v, err := s.verify(i.snap.keys, i.snap.issuer, f.subjectToken, leeway)
	if err != nil {
		if deputy.KindOf(err) == deputy.Invalid {
			return refuse(codeInvalidRequest, "The subject token is not a JWS.").because(err)
		}
		return refuse(codeInvalidGrant, "The subject token is not valid here.").because(err)
	}
	if i.wanted, err = f.exchangeTargets(); err != nil {
		return err
	}
	if err := s.presentSubject(ctx, i, v); err != nil {
		return err
	}
	if revoked, err := s.presentedRevoked(ctx, i, v); err != nil || revoked {
		return cmp.Or(err, error(errGone))
	}
	sub := i.subject
	i.event.Actor.IdentityChain = i.identities(i.event.Actor)
	i.claims.subject, i.claims.profile, i.claims.session = v.Subject, v.Profile, v.Session
	i.claims.act = &actor{Subject: i.client.application.Identifier, ClientID: i.client.id, Previous: v.Act}
	if i.claims.act.depth() > maxActors {
		return refuse(codeInvalidGrant, "The token has passed through more than %d actors.", maxActors)
	}
	if sub.principal != nil {
		i.question.Legs = []policy.Leg{
			{Principal: sub.principal, OnBehalf: i.standing.User != nil},
			{Principal: &i.client.application, OnBehalf: true},
		}
	}
	i.question.SubjectClaims = v.policy
	return nil
}

// checkExchange checks the token types (RFC 8693 §2.1).
func (f *tokenRequest) checkExchange() error {
	zoneToken := func(kind string) bool { return kind == typeAccessToken || kind == typeJWT }
	switch {
	case f.subjectToken == "":
		return refuse(codeInvalidRequest, "The parameter subject_token is missing.")
	case f.subjectTokenType == "":
		return refuse(codeInvalidRequest, "The parameter subject_token_type is missing.")
	case !zoneToken(f.subjectTokenType) && f.subjectTokenType != typeSubstitute:
		return refuse(codeInvalidRequest, "The subject token type is not supported.")
	case f.requestedTokenType != "" && !zoneToken(f.requestedTokenType):
		return refuse(codeInvalidRequest, "The requested token type is not supported.")
	case f.actorToken != "" && !zoneToken(f.actorTokenType):
		return refuse(codeInvalidRequest, "The actor token type is missing or not supported.")
	case f.actorToken == "" && f.actorTokenType != "":
		return refuse(codeInvalidRequest, "The parameter actor_token is missing.")
	}
	return nil
}

// exchangeTargets returns the identifiers of what is asked for. Where there is
// no resource, audience stands for it; where there are both, they agree.
func (f *tokenRequest) exchangeTargets() ([]string, error) {
	if len(f.resource) == 0 {
		return f.audience, nil
	}
	for _, a := range f.audience {
		if !slices.Contains(f.resource, a) {
			return nil, refuse(codeInvalidTarget, "The parameters resource and audience ask for different things.")
		}
	}
	return f.resource, nil
}

// identities lists who acted, from the one acting now to the subject.
func (i *issuance) identities(now deputy.Actor) []deputy.Actor {
	sub, user := i.subject, i.standing.User
	chain := []deputy.Actor{now}
	if sub != nil {
		for a := sub.Act; a != nil; a = a.Previous {
			chain = append(chain, deputy.Actor{Type: "application", Identifier: a.Subject})
		}
	}
	switch {
	case user != nil:
		return append(chain, deputy.Actor{Type: "user", ID: string(user.ID), Identifier: user.Identifier})
	case sub.application != nil:
		return append(chain, deputy.Actor{Type: "application", ID: string(sub.application.ID), Identifier: sub.application.Identifier})
	}
	return chain
}

// admitExchange holds the ownership invariant: an application exchanges only
// tokens that were addressed to it. No policy can permit more.
func admitExchange(s *Server, ctx context.Context, i *issuance) error {
	if i.form.requestedTokenType == typeJWT && i.standing.Unsigned {
		return refuse(codeInvalidRequest, "The resource's credential is not a JWT.")
	}
	if i.impersonates { // with no token, there is none that could be somebody else's
		return s.presentActor(ctx, i)
	}
	if !i.owns(i.subject.from) {
		return refuse(codeInvalidGrant, "Client is not allowed to exchange token for this resource")
	}
	i.question.From = i.subject.from.entity
	if i.target.ID == i.subject.from.ID {
		// The same audience again: nothing the token did not have.
		i.scopes = slices.DeleteFunc(slices.Clone(i.scopes), func(scope string) bool { return !i.subject.hasScope(scope) })
	}
	return s.presentActor(ctx, i)
}

// owns reports whether the client's application is behind the resource: its
// own, or the zone's gateway's where a resource names none. Built-in resources
// are nobody's: a token that is for nothing in particular cannot be exchanged.
func (i *issuance) owns(r *resource) bool {
	if r == nil {
		return false
	}
	owner := i.snap.ownerOf(r)
	return owner != nil && *owner == i.client.application.ID
}

// presentActor checks the actor token, if there is one: the client's own, from a credential that
// still exists.
func (s *Server) presentActor(ctx context.Context, i *issuance) error {
	if i.form.actorToken == "" {
		return nil
	}
	v, err := s.verify(i.snap.keys, i.snap.issuer, i.form.actorToken, leeway)
	if err != nil {
		return refuse(codeInvalidRequest, "The actor token is not valid here.").because(err)
	}
	holder, err := i.relyOn(s.client(ctx, i.zone, v.ClientID))
	if err != nil {
		return err
	}
	revoked, err := s.presentedRevoked(ctx, i, v)
	if err != nil {
		return err
	}
	if revoked {
		return refuse(codeInvalidRequest, "The actor token is no longer valid.")
	}
	if v.Profile != profileApplication || v.Act != nil || holder == nil || holder.application.ID != i.client.application.ID {
		return refuse(codeInvalidRequest, "The actor token is not the client's own.")
	}
	i.question.ActorClaims = v.policy
	return nil
}

// agree checks that the person has agreed, where the application asks for it, to
// what policy has permitted.
func agree(s *Server, ctx context.Context, i *issuance) error {
	return i.checkConsent(ctx, recalling{s, i})
}

// checkConsent refuses unless the person has agreed, or need not. A grant that
// was revoked says no for every client until they authorize the resource again,
// whoever provides its credential, and a consent that was withdrawn for every
// resource until they agree to something for the client again.
func (i *issuance) checkConsent(ctx context.Context, in deputy.Said) error {
	user := i.standing.User
	if user == nil {
		return nil
	}
	revoked, err := deputy.Withdrawn(ctx, in, i.zone.id, user.ID, i.client.consenter(), i.target.ID)
	if err != nil {
		return err
	}
	if revoked {
		return i.askConsent()
	}
	if i.client.consent == deputy.ImplicitConsent {
		return nil
	}
	given, err := in.Consent(ctx, i.zone.id, user.ID, i.client.consenter(), i.target.ID)
	if unlessAbsent(err) != nil {
		return err
	}
	if given == nil || !covers(given.Scopes, i.outcome.Scopes) {
		return i.askConsent()
	}
	return nil
}

// askConsent refuses for want of the person's agreement, and says where they can
// give it.
func (i *issuance) askConsent() *refusal {
	r := refuse(codeInsufficient, "User consent is required.")
	r.uri = i.snap.issuer + pageGrant + "?" + url.Values{"resource": {i.target.requested}, "client_id": {i.client.id}}.Encode()
	return r
}
