package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

// assessment is what a login transaction comes to, as things are now: who it is
// for, what policy permits, and what the person still has to agree to.
type assessment struct {
	client   *relyingParty
	user     *deputy.User      // nil: nobody has signed in
	person   *person           // the same, as policies see them
	sessions []*deputy.Session // the web session
	standing deputy.Standing
	grounds  grounds

	// wishes are the resources that policy permits: first the one whose token
	// the client gets, then the further ones, which are targets.
	wishes []*wish
	// decisions are what policy said, of the first resource first.
	decisions []*decision
	// owner is the application behind the first resource, which acts next; nil
	// when that is nobody or the client itself.
	owner *owner
}

// owner is the application behind a resource.
type owner struct {
	*client
	dependencies []deputy.Dependency
}

// wish is a resource that a client is to reach for the person.
type wish struct {
	*resource
	scopes []string
	// asked is set where the person has to agree; known are the scopes that
	// they have agreed to before, and isNew says that they agreed to nothing.
	asked bool
	isNew bool
	known []string
	// connect is set where an outside provider guards it that the person has not
	// authorized yet.
	connect bool
	// pacts are the agreements to be recorded.
	pacts []pact
}

// pact is an agreement of the person with one client about a resource.
type pact struct {
	by     *client
	scopes []string
	given  bool     // there is one
	known  []string // its scopes
}

// assess looks at a transaction as things are now. A refusal ends it, and comes
// with what was decided so far; the error is Stale when the snapshot has been
// left behind.
func (s *Server) assess(ctx context.Context, l *login) (*assessment, error) {
	a := new(assessment)
	if l.User == "" {
		return a, nil
	}
	chain, user, err := s.store.SessionChain(ctx, l.zone.id, l.Session)
	if unlessAbsent(err) != nil {
		return nil, err
	}
	standing := deputy.Standing{Zone: l.snap.zone, User: user, Sessions: chain}
	switch err := standing.Live(deputy.UseWebSession, s.now()); {
	case user != nil && user.Status != deputy.UserActive:
		return nil, refuse(codeAccessDenied, "The account is disabled.").because(err)
	case err != nil:
		return a, nil // signed out meanwhile: once more
	}
	if hinted := l.Request.Hinted; hinted != "" && hinted != user.Identifier { // OpenID Connect Core 1.0 §3.1.2.1
		return nil, refuse(codeLoginRequired, "Somebody else has signed in than the client expects.")
	}
	a.user, a.sessions, a.standing = user, chain, standing
	if a.person, err = l.snap.person(ctx, s.store, user); err != nil {
		return nil, err
	}
	a.person.User = s.people.of(a.person.User, user.KeyID)
	if l.Request.ClientID == "" {
		return a, nil
	}
	if a.client, err = s.relyingParty(ctx, l.zone, l.snap, l.Request.ClientID, l.from); err != nil {
		return nil, err
	}
	if a.client == nil || l.Request.RedirectURI != "" && !matchRedirect(a.client.redirectURIs, l.Request.RedirectURI) {
		return nil, errClientGone
	}
	a.client.stand(&a.standing, &a.grounds)
	if err := s.permit(ctx, l, a); err != nil {
		return a, err
	}
	return a, s.compare(ctx, l, a)
}

// errClientGone is the answer when the client is not there any more, or not
// where it was: there is nobody to send the person back to.
var errClientGone = refuse(codeInvalidClient, "The application that sent you here is no longer known.")

// permit asks policy about every resource: a refusal of the first one refuses
// the request, others are left out.
func (s *Server) permit(ctx context.Context, l *login, a *assessment) error {
	first, err := l.snap.target(l.Request.first())
	if err != nil {
		return err
	}
	a.grounds.resource(first.resource, first.requested)
	if err := l.snap.obtainable(first.resource, l.Request.RedirectURI != ""); err != nil {
		return err
	}
	a.standing.Resource, a.standing.Provider = first.Resource, l.snap.providers[*first.CredentialProviderID]
	a.grounds.provider = string(*first.CredentialProviderID)
	if err := l.snap.decidable(); err != nil {
		return err
	}
	outcome := s.ask(ctx, l, a, first.resource, a.question(first.resource, &a.client.application, nil, l.Request.Scopes))
	if !outcome.Allowed {
		return refuse(codeAccessDenied, outcome.Message())
	}
	connect, err := s.unconnected(ctx, l, a, first.resource)
	if err != nil {
		return err
	}
	a.wishes = []*wish{{resource: first.resource, scopes: outcome.Scopes, connect: connect}}
	if a.owner, err = s.owner(ctx, l, a.client, first.resource); err != nil {
		return err
	}
	if a.owner != nil {
		a.grounds.application(a.owner.application.ID)
	}
	return s.permitFurther(ctx, l, a)
}

// first returns the resource that the request names first, if any.
func (r *authorizationRequest) first() []string { return r.Resources[:min(1, len(r.Resources))] }

// question asks whether the person may use a resource through an application.
func (a *assessment) question(r *resource, principal *policy.Application, from *policy.Resource, scopes []string) policy.Request {
	return policy.Request{
		Legs:     []policy.Leg{{Principal: a.person.User, OnBehalf: true}, {Principal: principal, OnBehalf: true}},
		Resource: r.entity, From: from, Subject: a.person.User, Scopes: scopes, Narrowable: true,
	}
}

// owner returns the application behind a resource, unless it is the client.
func (s *Server) owner(ctx context.Context, l *login, c *relyingParty, r *resource) (*owner, error) {
	id := l.snap.ownerOf(r)
	if id == nil || c.application.ID == *id {
		return nil, nil
	}
	o, err := s.acting(ctx, l.snap, *id)
	if err != nil {
		return nil, moved(err)
	}
	return o, nil
}

// acting returns an application as it acts by itself, whatever its credentials.
func (s *Server) acting(ctx context.Context, snap *snapshot, id deputy.ApplicationID) (*owner, error) {
	in := deputy.Scope{Zone: snap.zone.ID}
	app, err := s.store.Applications().Get(ctx, in, deputy.ID(id))
	if err != nil {
		return nil, err
	}
	in.Parent = deputy.ID(id)
	edges, err := s.store.Dependencies().List(ctx, in, deputy.Query{All: true, Sort: []deputy.Sort{{Field: "created_at"}}})
	if err != nil {
		return nil, err
	}
	list := make([]deputy.Dependency, len(edges.Items))
	for i, d := range edges.Items {
		list[i] = *d
	}
	roles, err := deputy.RolesOf(ctx, s.store, snap.zone.ID, id)
	if err != nil {
		return nil, err
	}
	return &owner{
		client:       &client{consent: app.Consent, application: *newPrincipal(app, "", list, roles, snap.signIn())},
		dependencies: list,
	}, nil
}

// permitFurther adds the further resources: those named, then those that the
// client and the owner of the first one depend on. Each is for all the scopes
// that it declares and policy permits, because what is asked for there is known
// only when a token is exchanged.
func (s *Server) permitFurther(ctx context.Context, l *login, a *assessment) error {
	var requested []deputy.ResourceID
	for _, identifier := range l.Request.Resources {
		r := l.snap.resolve(identifier)
		a.grounds.resource(r, identifier)
		if r != nil {
			requested = append(requested, r.ID)
		}
	}
	first := a.wishes[0]
	first.pacts = append(first.pacts, a.pact(first))
	if l.Request.RedirectURI == "" {
		return nil // this is about that one resource
	}
	var ways []way
	for _, id := range requested[min(1, len(requested)):] {
		ways = append(ways, way{to: id, by: &a.client.application})
	}
	for _, d := range a.client.dependencies {
		if d.Active(requested...) {
			ways = append(ways, way{to: d.ResourceID, by: &a.client.application})
		}
	}
	if a.owner != nil {
		for _, d := range a.owner.dependencies {
			if d.Active(append(requested, first.ID)...) {
				ways = append(ways, way{to: d.ResourceID, by: &a.owner.application, from: first.entity, owner: a.owner})
			}
		}
	}
	for _, w := range ways {
		if err := s.permitWay(ctx, l, a, w); err != nil {
			return err
		}
	}
	return nil
}

// way is how a further resource is reached: by the client, or by the owner of
// the first resource, who exchanges the token for that one.
type way struct {
	to    deputy.ResourceID
	by    *policy.Application
	from  *policy.Resource
	owner *owner
}

// permitWay adds a further resource if policy permits it.
func (s *Server) permitWay(ctx context.Context, l *login, a *assessment, by way) error {
	r := l.snap.resources[by.to]
	if r == nil || r.ID == a.wishes[0].ID || l.snap.obtainable(r, false) != nil {
		return nil
	}
	outcome := s.ask(ctx, l, a, r, a.question(r, by.by, by.from, r.Scopes))
	if !outcome.Allowed {
		return nil
	}
	connect, err := s.unconnected(ctx, l, a, r)
	if err != nil || connect && slices.Contains(l.Skipped, r.ID) {
		return err
	}
	a.grounds.resource(r, r.identifier)
	i := slices.IndexFunc(a.wishes, func(w *wish) bool { return w.ID == r.ID })
	if i < 0 {
		i = len(a.wishes)
		w := &wish{resource: r, scopes: outcome.Scopes, connect: connect}
		w.pacts = append(w.pacts, a.pact(w))
		a.wishes = append(a.wishes, w)
	}
	if w := a.wishes[i]; by.owner != nil {
		w.pacts = append(w.pacts, pact{by: by.owner.client, scopes: outcome.Scopes})
	}
	return nil
}

// pact returns the agreement that the client needs about a resource.
func (a *assessment) pact(w *wish) pact {
	return pact{by: a.client.client, scopes: w.scopes}
}

// unconnected reports whether the credential of a resource comes from an outside
// provider that the person has not authorized yet, for all the scopes that it
// declares.
func (s *Server) unconnected(ctx context.Context, l *login, a *assessment, r *resource) (bool, error) {
	if l.snap.providers[*r.CredentialProviderID].Type != deputy.ExternalProvider {
		return false, nil
	}
	g, err := s.store.Grant(ctx, l.zone.id, a.user.ID, r.ID)
	if unlessAbsent(err) != nil {
		return false, err
	}
	on := deputy.Standing{User: a.user, Resource: r.Resource, Provider: l.snap.providers[*r.CredentialProviderID]}
	if err == nil && g.ProviderID == *r.CredentialProviderID && g.Covers(r.Scopes) {
		on.Grant = g
	}
	return on.Live(deputy.UseGrant, s.now()) != nil, nil
}

// covers reports whether all the wanted scopes are among those had.
func covers(had, wanted []string) bool {
	return !slices.ContainsFunc(wanted, func(scope string) bool { return !slices.Contains(had, scope) })
}

// compare finds out which agreements the person still has to give.
func (s *Server) compare(ctx context.Context, l *login, a *assessment) error {
	for _, w := range a.wishes {
		w.isNew = true
		for i := range w.pacts {
			p := &w.pacts[i]
			given, err := s.consentOf(ctx, l.zone.id, a.user.ID, p.by, w.ID)
			if err != nil {
				return err
			}
			if given != nil {
				p.given, p.known = true, given.Scopes
			}
			if i == 0 && given != nil {
				w.isNew, w.known = false, given.Scopes
			}
			withdrawn, err := l.withdrawn(ctx, s.store, a.user.ID, p.by, w.ID)
			if err != nil {
				return err
			}
			missing := p.by.consent == deputy.RequiredConsent && (!p.given || !covers(p.known, p.scopes))
			w.asked = w.asked || missing || withdrawn || !l.Consented && l.Request.prompts(promptConsent)
		}
	}
	return nil
}

// withdrawn reports whether the person has taken back what they agreed to for a
// client, or authorized for a resource, and must be asked whatever the client's
// consent is: what is recorded by itself must not undo it. That they have agreed
// on the way settles the resource here, and the client where it is recorded.
func (l *login) withdrawn(ctx context.Context, in deputy.Said, user deputy.UserID, by *client, resource deputy.ResourceID) (bool, error) {
	if l.Consented {
		resource = ""
	}
	return deputy.Withdrawn(ctx, in, l.zone.id, user, by.consenter(), resource)
}

// consentOf returns what a person has agreed to for a client, or nil.
func (s *Server) consentOf(ctx context.Context, zone deputy.ZoneID, user deputy.UserID, by *client, r deputy.ResourceID) (*deputy.ConsentRecord, error) {
	if by.consenter() == "" {
		return nil, nil // nobody has ever signed in with it
	}
	given, err := s.store.Consent(ctx, zone, user, by.consenter(), r)
	return given, unlessAbsent(err)
}

// asks returns what the person has to agree to before there is an answer: when
// anything is missing, everything is shown.
func (a *assessment) asks() []*wish {
	if slices.ContainsFunc(a.wishes, func(w *wish) bool { return w.asked }) {
		return a.wishes
	}
	return nil
}

// digest tells one list of asks from another, so that what is approved is what
// was shown.
func (a *assessment) digest() string {
	h := sha256.New()
	for _, w := range a.wishes {
		h.Write([]byte(string(w.ID) + "\x00" + strings.Join(w.scopes, " ") + "\x00"))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}
