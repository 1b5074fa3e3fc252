package api

import (
	"context"
	"net/http"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/policy"
	"deputy/internal/vault"
)

// PolicyEvaluation is one decision of policy, as clients see it.
type PolicyEvaluation struct {
	ID                 string               `json:"id" doc:"Of the event that records it; of an allowed one at the token endpoint, also the jti of the credential."`
	Time               Time                 `json:"time"`
	RequestID          string               `json:"request_id,omitzero"`
	Mode               string               `json:"mode" enum:"active,shadow" doc:"Only an active one was enforced."`
	Decision           string               `json:"decision" enum:"allow,deny"`
	Refusal            string               `json:"refusal,omitzero" enum:"no_active_set,forbidden,not_permitted,not_narrowable,evaluation_failed" doc:"Why it was denied."`
	PolicySetID        string               `json:"policy_set_id,omitzero"`
	PolicySetVersionID string               `json:"policy_set_version_id,omitzero"`
	PolicySetVersion   int                  `json:"policy_set_version,omitzero"`
	Determining        []string             `json:"determining,omitempty" doc:"Labels of the policies that made the decision, those of the first leg first."`
	Policies           []AuditPolicyVersion `json:"policies,omitempty" doc:"The versions behind the labels, in the same order."`
	SchemaVersion      string               `json:"schema_version,omitzero" doc:"The schema that the set version is pinned to."`
	ManifestSHA        string               `json:"manifest_sha,omitzero" doc:"The hash of what the set version consists of."`
	Latency            int64                `json:"latency_us,omitzero" doc:"How long the decision took, in microseconds."`
	Errors             []string             `json:"errors,omitempty" doc:"Labels of policies that could not be evaluated."`
	Legs               []EvaluatedLeg       `json:"legs"`
	Replayable         bool                 `json:"replayable" doc:"What it was made of is still kept, so it can be made again."`
	GrantType          string               `json:"grant_type,omitzero" doc:"Absent where a person was asked, at the authorization endpoint."`
	ClientID           string               `json:"client_id,omitzero"`
	UserID             string               `json:"user_id,omitzero"`
	ResourceID         string               `json:"resource_id,omitzero"`
	Impersonate        bool                 `json:"impersonate"`
	ScopesRequested    []string             `json:"scopes_requested,omitempty"`
	ScopesKept         []string             `json:"scopes_kept,omitempty"`
	Diverged           *bool                `json:"diverged,omitzero" doc:"Of a shadow: it would have answered otherwise."`
	Enforced           *EnforcedDecision    `json:"enforced,omitzero" doc:"Of a shadow: the decision that was enforced."`
}

// EvaluatedLeg is one of the questions that all had to be answered with yes.
type EvaluatedLeg struct {
	PrincipalType string `json:"principal_type,omitzero" enum:"user,application" doc:"Absent once it is not kept any more."`
	PrincipalID   string `json:"principal_id,omitzero"`
	OnBehalf      bool   `json:"on_behalf"`
	Decision      string `json:"decision" enum:"allow,deny"`
}

// EnforcedDecision is the decision beside which a shadow was asked.
type EnforcedDecision struct {
	EvaluationID       string   `json:"evaluation_id"`
	Decision           string   `json:"decision" enum:"allow,deny"`
	PolicySetID        string   `json:"policy_set_id,omitzero"`
	PolicySetVersionID string   `json:"policy_set_version_id,omitzero"`
	PolicySetVersion   int      `json:"policy_set_version,omitzero"`
	Determining        []string `json:"determining,omitempty"`
	ScopesKept         []string `json:"scopes_kept,omitempty"`
}

var evaluationList = listing{
	Expand: []string{"total_count"}, Style: both,
	Parameters: []parameter{
		{Name: "filter[decision]", Many: true, Enum: []string{allow, deny}, Doc: "Only such decisions."},
		{Name: "filter[mode]", Many: true, Enum: []string{"active", "shadow"}, Doc: "Only enforced ones, or only those of a shadow."},
		{Name: "filter[diverged]", Enum: truth, Doc: "Only those of a shadow that would have answered otherwise, or only others."},
		{Name: "filter[policy_set_version_id]", Many: true, Doc: "Made by one of these versions."},
		{Name: "since", Doc: "Not before this time (RFC 3339)."},
		{Name: "until", Doc: "Before this time (RFC 3339)."},
		{Name: "order", Enum: []string{"asc", "desc"}, Doc: "Direction of time; desc unless said."},
	},
}

const evaluationTag = "Policy evaluations"

func (a *API) mountEvaluations() {
	mount(a, operation{
		ID: "list-policy-evaluations", Method: http.MethodGet, Path: "/zones/{zone_id}/policy-evaluations", Action: "policy_evaluations:list", Tag: evaluationTag,
		Summary: "List the decisions of policy", Status: http.StatusOK, Query: evaluationList.document(), Headers: policyHeaders,
		Doc: "Every decision that was enforced, and what the zone's shadow would have said, for as long as the server's setting keeps them; newest first. " +
			"A page may hold fewer than asked for, even none, while the list goes on: follow after_cursor.",
	}, a.listEvaluations)
}

func (a *API) listEvaluations(ctx context.Context, c *call, _ *empty) (*output[ShortList[PolicyEvaluation]], error) {
	asked, err := evaluationList.read(a, c)
	if err != nil {
		return nil, err
	}
	q := deputy.EventQuery{
		Organization: c.caller.Organization, Zone: c.zone.ID, Horizon: c.at.Add(-a.retention),
		After: asked.After, Before: asked.Before, Limit: asked.Limit, Count: asked.Count, Ascending: c.query.Get("order") == "asc",
		Evaluated: &deputy.EvaluationFilter{
			Allowed: chosen(c, "filter[decision]", allow), Shadow: chosen(c, "filter[mode]", "shadow"), Diverged: chosen(c, "filter[diverged]", "true"),
		},
	}
	for _, id := range c.values("filter[policy_set_version_id]") {
		q.Evaluated.SetVersions = append(q.Evaluated.SetVersions, deputy.ID(id))
	}
	if q.Since, err = timeOf(c, "since"); err != nil {
		return nil, err
	}
	if q.Until, err = timeOf(c, "until"); err != nil {
		return nil, err
	}
	page, err := a.store.Events(ctx, q)
	if err != nil {
		return nil, err
	}
	events := make([]*deputy.Event, len(page.Items))
	for i, r := range page.Items {
		if events[i], err = r.Event(ctx, a.sealing); err != nil {
			return nil, err
		}
	}
	entities := new(policy.Entities)
	if err := a.addEntities(ctx, c.zone.ID, entities, events); err != nil {
		return nil, err
	}
	out := newList(page, func(*deputy.Record) PolicyEvaluation { return PolicyEvaluation{} })
	for i, e := range events {
		out.Items[i] = viewEvaluation(e, entities)
	}
	return &output[ShortList[PolicyEvaluation]]{ShortList[PolicyEvaluation]{out.Items, out.Pagination}}, nil
}

// chosen reads a filter of two values: whether it is the one that is asked for,
// or nil where both are, or neither.
func chosen(c *call, name, one string) *bool {
	values := c.values(name)
	if len(values) != 1 {
		return nil
	}
	is := values[0] == one
	return &is
}

// addEntities loads the entities that the evaluations of events name.
func (a *API) addEntities(ctx context.Context, zone deputy.ZoneID, to *policy.Entities, events []*deputy.Event) error {
	var ids []deputy.EntityID
	for _, e := range events {
		ids = to.Missing(e.Evaluation, ids)
	}
	return a.loadEntities(ctx, zone, to, ids)
}

// loadEntities adds entities as far as they are kept and those they tell of are
// not forgotten.
func (a *API) loadEntities(ctx context.Context, zone deputy.ZoneID, to *policy.Entities, ids []deputy.EntityID) error {
	if len(ids) == 0 {
		return nil
	}
	kept, err := a.store.PolicyEntities(ctx, zone, ids)
	if err != nil {
		return err
	}
	facts := make(map[deputy.EntityID][]byte, len(kept))
	for _, e := range kept {
		if e.Sealed {
			e.Data, err = a.vault.Open(ctx, vault.PolicyEntity(zone, e.ID), e.Data)
			if err != nil && deputy.KindOf(err) != deputy.NotFound {
				return err
			}
		}
		facts[e.ID] = e.Data
	}
	for _, id := range ids {
		if err := to.Add(id, facts[id]); err != nil {
			return err
		}
	}
	return nil
}

// The decisions, as clients see them.
const (
	allow = "allow"
	deny  = "deny"
)

func decision(allowed bool) string {
	if allowed {
		return allow
	}
	return deny
}

// viewEvaluation shows a decision, with who was asked about while that is kept.
func viewEvaluation(e *deputy.Event, entities *policy.Entities) PolicyEvaluation {
	of := e.Evaluation
	v := PolicyEvaluation{
		ID: string(e.ID), Time: Time(e.Time), RequestID: e.RequestID, Mode: "active", Decision: decision(of.Allowed()), Refusal: of.Refusal,
		Errors: of.Errors, Legs: []EvaluatedLeg{}, GrantType: e.GrantType, ClientID: e.ClientID, UserID: string(e.UserID),
		Impersonate: of.Impersonate, ScopesRequested: of.Scopes, ScopesKept: of.Kept,
	}
	if e.Resource != nil {
		v.ResourceID = string(e.Resource.ID)
	}
	if p := viewDecider(e.Policy); p != nil {
		v.PolicySetID, v.PolicySetVersionID, v.PolicySetVersion, v.Determining = p.SetID, p.SetVersionID, p.Version, p.Determining
		v.Policies, v.SchemaVersion, v.ManifestSHA, v.Latency = p.Policies, p.SchemaVersion, p.ManifestSHA, p.Latency
	}
	if s := of.Shadow; s != nil {
		v.Mode, v.Diverged = "shadow", &s.Diverged
		v.Enforced = &EnforcedDecision{EvaluationID: string(s.Event), Decision: decision(s.Refusal == ""), ScopesKept: s.Kept}
		if p := s.Policy; p != nil {
			v.Enforced.PolicySetID, v.Enforced.PolicySetVersionID = string(p.SetID), string(p.SetVersionID)
			v.Enforced.PolicySetVersion, v.Enforced.Determining = p.Version, p.Determining
		}
	}
	request, err := entities.Request(of)
	v.Replayable = err == nil
	for i, leg := range of.Legs {
		shown := EvaluatedLeg{OnBehalf: leg.OnBehalf, Decision: decision(leg.Allowed)}
		if v.Replayable {
			shown.PrincipalType, shown.PrincipalID = request.Legs[i].Principal.PrincipalType(), request.Legs[i].Principal.PrincipalID()
		}
		v.Legs = append(v.Legs, shown)
	}
	return v
}

// defaultRetention is how long decisions are shown where nobody said.
const defaultRetention = 30 * 24 * time.Hour
