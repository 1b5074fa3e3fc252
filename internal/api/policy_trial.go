package api

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

// PolicyTrial is a question to put to a policy set version.
type PolicyTrial struct {
	ApplicationID string          `json:"application_id" minLength:"1" doc:"The application that asks. Of its credentials the newest counts."`
	ResourceID    string          `json:"resource_id" minLength:"1"`
	UserID        Patch[string]   `json:"user_id,omitzero" doc:"The user for whom it asks."`
	Scopes        []string        `json:"scopes,omitempty" maxItems:"100"`
	OnBehalf      Patch[bool]     `json:"on_behalf,omitzero" doc:"With a token of the user, or of another application; true unless said where there is a user who is not impersonated."`
	Impersonate   Patch[bool]     `json:"impersonate,omitzero" doc:"For the user, without a token of theirs."`
	SubjectClaims Nullable[Value] `json:"subject_claims,omitzero" doc:"Claims of the subject token, an object."`
	ActorClaims   Nullable[Value] `json:"actor_claims,omitzero" doc:"Claims of the actor token, an object."`
}

// PolicyTrialResult is what the version answers.
type PolicyTrialResult struct {
	Decision           string             `json:"decision" enum:"allow,deny"`
	Refusal            string             `json:"refusal,omitzero" enum:"no_active_set,forbidden,not_permitted,not_narrowable,evaluation_failed" doc:"Why it was denied."`
	Message            string             `json:"message,omitzero" doc:"The refusal as the client would read it."`
	PolicySetID        string             `json:"policy_set_id"`
	PolicySetVersionID string             `json:"policy_set_version_id"`
	PolicySetVersion   int                `json:"policy_set_version"`
	ScopesKept         []string           `json:"scopes_kept,omitempty"`
	Determining        []string           `json:"determining,omitempty" doc:"Labels of the policies that made the decision, those of the first leg first."`
	Legs               []PolicyTrialLeg   `json:"legs"`
	Errors             []PolicyTrialError `json:"errors,omitempty"`
}

// PolicyTrialLeg is the answer to one of the questions that must all be
// answered with yes.
type PolicyTrialLeg struct {
	PrincipalType string   `json:"principal_type" enum:"user,application"`
	PrincipalID   string   `json:"principal_id"`
	OnBehalf      bool     `json:"on_behalf"`
	Decision      string   `json:"decision" enum:"allow,deny"`
	Determining   []string `json:"determining,omitempty"`
}

// PolicyTrialError is a policy that could not be evaluated.
type PolicyTrialError struct {
	Policy  string `json:"policy" doc:"Its label."`
	Message string `json:"message"`
}

func (a *API) mountTrials() {
	mount(a, operation{
		ID: "test-policy-set-version", Method: http.MethodPost, Path: policySetVersions.Path + "/{version_id}/test", Action: "policy_set_versions:test",
		Tag: policySetVersions.Tag, Summary: "Ask a policy set version for a decision", Status: http.StatusOK, Headers: policyHeaders,
		Doc: "Whether it is bound or not, archived or not. Nothing is issued and no decision is stored; only that somebody asked is an event.",
	}, a.tryVersion)
}

func (a *API) tryVersion(ctx context.Context, c *call, in *input[PolicyTrial]) (*output[PolicyTrialResult], error) {
	set, err := a.compiled(ctx, c)
	if err != nil {
		return nil, err
	}
	q, err := a.question(ctx, c, &in.Body)
	if err != nil {
		return nil, err
	}
	if err := a.noteRead(ctx, c); err != nil {
		return nil, err
	}
	return &output[PolicyTrialResult]{viewTrial(q, set.Decide(*q))}, nil
}

// compiled returns the set version that the path names, ready to decide.
func (a *API) compiled(ctx context.Context, c *call) (*policy.Set, error) {
	id := deputy.ID(c.param("version_id"))
	if _, err := a.store.PolicySetVersions().Get(ctx, policySetVersions.scope(c), id); err != nil {
		return nil, missing(err, policySetVersions.Name)
	}
	bound, err := a.store.BoundPolicy(ctx, c.zone.ID, id)
	if err != nil {
		return nil, missing(err, policySetVersions.Name)
	}
	return policy.CompileBound(bound)
}

// noteRead records that a version was asked: its answers tell as much as it
// does.
func (a *API) noteRead(ctx context.Context, c *call) error {
	return a.write(ctx, c, policySetVersions.target(deputy.ID(c.param("version_id"))), func(deputy.Tx) error { return nil })
}

// question makes of a trial the request that the token service would decide.
func (a *API) question(ctx context.Context, c *call, in *PolicyTrial) (*policy.Request, error) {
	q := &policy.Request{Impersonate: in.Impersonate.V, Scopes: in.Scopes}
	onBehalf := in.OnBehalf.Or(in.UserID.Set && !q.Impersonate)
	switch {
	case q.Impersonate && !in.UserID.Set:
		return nil, deputy.Bad("user_id", "must say who is impersonated")
	case q.Impersonate && onBehalf:
		return nil, deputy.Bad("on_behalf", "cannot be true with impersonate")
	}
	named, err := a.named(ctx, c, in)
	if err != nil {
		return nil, err
	}
	if u := named.user; u != nil {
		held, err := a.store.Affiliations(ctx, c.zone.ID, u.ID)
		if err != nil {
			return nil, err
		}
		q.Subject = policy.NewUser(policy.UserFacts{ID: u.ID, Identifier: u.Identifier, Email: u.Email, Affiliations: *held})
		q.Legs = append(q.Legs, policy.Leg{Principal: q.Subject, OnBehalf: onBehalf})
	}
	q.Legs = append(q.Legs, policy.Leg{Principal: named.application, OnBehalf: onBehalf})
	if err := a.aim(ctx, c, q, named.resource); err != nil {
		return nil, err
	}
	if q.SubjectClaims, err = claimsOf(in.SubjectClaims, "subject_claims"); err != nil {
		return nil, err
	}
	q.ActorClaims, err = claimsOf(in.ActorClaims, "actor_claims")
	return q, err
}

// inZone is the scope of what lies in the call's zone.
func (c *call) inZone() deputy.Scope {
	return deputy.Scope{Organization: c.zone.OrganizationID, Zone: c.zone.ID}
}

// named is what a trial names.
type named struct {
	user        *deputy.User // nil where none is named
	application *policy.Application
	resource    *deputy.Resource
}

// named finds what a trial names. The refusal blames every member that names
// nothing in the zone.
func (a *API) named(ctx context.Context, c *call, in *PolicyTrial) (n named, err error) {
	refused := deputy.Errorf(deputy.Invalid, "what is named does not exist in this zone")
	find := func(field, noun string, get func() error) error {
		err := get()
		if deputy.KindOf(err) == deputy.NotFound {
			refused.Details = append(refused.Details, *deputy.Bad(field, "names no %s in this zone", noun))
			return nil
		}
		return err
	}
	err = errors.Join(
		find("user_id", "user", func() (err error) {
			if in.UserID.Set {
				n.user, err = a.store.Users().Get(ctx, c.inZone(), deputy.ID(in.UserID.V))
			}
			return err
		}),
		find("application_id", "application", func() (err error) {
			n.application, err = a.principal(ctx, c, deputy.ApplicationID(in.ApplicationID))
			return err
		}),
		find("resource_id", "resource", func() (err error) {
			n.resource, err = a.store.Resources().Get(ctx, c.inZone(), deputy.ID(in.ResourceID))
			return err
		}),
	)
	if err == nil && len(refused.Details) > 0 {
		err = refused
	}
	return n, err
}

// claimsOf reads given claims; none is nil.
func claimsOf(given Nullable[Value], field string) (*policy.Claims, error) {
	if !given.Set || given.Null {
		return nil, nil
	}
	claims, err := policy.NewClaims(given.V)
	if err != nil {
		return nil, deputy.Bad(field, "must be an object with unique members")
	}
	return claims, nil
}

// aim makes a resource the request's. A credential that we do not make cannot
// be narrowed.
func (a *API) aim(ctx context.Context, c *call, q *policy.Request, r *deputy.Resource) error {
	q.Resource = policy.NewResource(policy.ResourceFacts{
		ID: r.ID, Identifier: a.addresses.Shown(c.zone, r.Identifier), Name: r.Name, Scopes: r.Scopes,
	})
	q.Narrowable = true
	if r.CredentialProviderID == nil {
		return nil
	}
	p, err := a.store.Providers().Get(ctx, c.inZone(), deputy.ID(*r.CredentialProviderID))
	if err != nil && deputy.KindOf(err) != deputy.NotFound {
		return err
	}
	q.Narrowable = p == nil || p.Type == deputy.STSProvider
	if p != nil && p.Type == deputy.ExternalProvider && q.Subject == nil {
		q.Scopes = r.Applied(q.Scopes)
	}
	return nil
}

// principal returns an application as policies see it, with the newest of its
// credentials.
func (a *API) principal(ctx context.Context, c *call, id deputy.ApplicationID) (*policy.Application, error) {
	app, err := a.store.Applications().Get(ctx, c.inZone(), deputy.ID(id))
	if err != nil {
		return nil, err
	}
	by, err := a.store.Credentials().List(ctx, c.inZone(), deputy.Query{Limit: 1, Where: []deputy.Filter{{Fields: []string{"application_id"}, Values: []string{string(id)}}}})
	if err != nil {
		return nil, err
	}
	var kind deputy.CredentialType
	if len(by.Items) > 0 {
		kind = by.Items[0].Type
	}
	below := c.inZone()
	below.Parent = deputy.ID(id)
	found, err := a.store.Dependencies().List(ctx, below, deputy.Query{All: true})
	if err != nil {
		return nil, err
	}
	edges := make([]deputy.Dependency, len(found.Items))
	for i, d := range found.Items {
		edges[i] = *d
	}
	var signIn deputy.ResourceID
	builtIn, err := a.store.Resources().Find(ctx, c.inZone(), "identifier", deputy.UserInfoIdentifier)
	switch {
	case err == nil:
		signIn = builtIn.ID
	case deputy.KindOf(err) != deputy.NotFound:
		return nil, err
	}
	roles, err := deputy.RolesOf(ctx, a.store, c.zone.ID, id)
	if err != nil {
		return nil, err
	}
	return policy.NewApplication(policy.DescribeApplication(app, kind, edges, roles, signIn)), nil
}

// viewTrial shows an answer with its reasons.
func viewTrial(q *policy.Request, out policy.Outcome) PolicyTrialResult {
	v := PolicyTrialResult{
		Decision: decision(out.Allowed), Refusal: string(out.Refusal), Message: out.Message(), ScopesKept: out.Scopes,
		PolicySetID: string(out.Set.SetID), PolicySetVersionID: string(out.Set.VersionID), PolicySetVersion: out.Set.Number,
		Legs: []PolicyTrialLeg{}, Determining: labels(out.Determining()),
	}
	for i, leg := range out.Legs {
		p := q.Legs[i]
		v.Legs = append(v.Legs, PolicyTrialLeg{
			PrincipalType: p.Principal.PrincipalType(), PrincipalID: p.Principal.PrincipalID(), OnBehalf: p.OnBehalf,
			Decision: decision(leg.Allowed), Determining: labels(leg.Determining),
		})
	}
	for _, e := range out.Errors {
		v.Errors = append(v.Errors, PolicyTrialError{e.Policy.Label, e.Message})
	}
	return v
}

func labels(policies []policy.PolicyRef) []string {
	var all []string
	for p := range slices.Values(policies) {
		all = append(all, p.Label)
	}
	return all
}
