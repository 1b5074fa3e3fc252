package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"deputy/internal/deputy"
)

// AuditEvent is one entry of an organization's log, as clients see it.
type AuditEvent struct {
	ID               string         `json:"id" doc:"Also the jti of the credential that the event records, unless that was handed out before."`
	Time             Time           `json:"time"`
	Type             string         `json:"type" doc:"plural:verb, such as credentials:issue." example:"credentials:issue"`
	Outcome          string         `json:"outcome" enum:"success,failure"`
	Error            string         `json:"error,omitzero" doc:"Code of a failure."`
	ErrorDescription string         `json:"error_description,omitzero"`
	ZoneID           string         `json:"zone_id,omitzero"`
	OrganizationID   string         `json:"organization_id"`
	RequestID        string         `json:"request_id,omitzero"`
	Actor            AuditActor     `json:"actor"`
	Target           *AuditTarget   `json:"target,omitzero" doc:"What a management call was about."`
	ClientID         string         `json:"client_id,omitzero"`
	CredentialID     string         `json:"credential_id,omitzero"`
	UserID           string         `json:"user_id,omitzero"`
	Resource         *AuditResource `json:"resource,omitzero" doc:"What was asked for."`
	ProviderID       string         `json:"provider_id,omitzero"`
	GrantType        string         `json:"grant_type,omitzero"`
	ScopesRequested  []string       `json:"scopes_requested,omitempty"`
	ScopesGranted    []string       `json:"scopes_granted,omitempty"`
	JTI              string         `json:"jti,omitzero"`
	SessionID        string         `json:"session_id,omitzero"`
	Policy           *AuditPolicy   `json:"policy,omitzero" doc:"What decided."`
	Package          *AuditPackage  `json:"package,omitzero" doc:"The package that it was about, or whose install or removal it was part of."`
	IP               string         `json:"ip,omitzero"`
	UserAgent        string         `json:"user_agent,omitzero"`
	Changes          []string       `json:"changes,omitempty" doc:"Names of the members that a management call set."`
	Count            int            `json:"count,omitzero" doc:"How many of a kind a summary stands for."`
	InclusionProof   *AuditProof    `json:"inclusion_proof,omitzero" doc:"Where one event is got: that it is in the log."`
}

// AuditActor is who did it.
type AuditActor struct {
	Type          string       `json:"type" doc:"service_account, application, user, platform or anonymous."`
	ID            string       `json:"id,omitzero"`
	Identifier    string       `json:"identifier,omitzero"`
	IdentityChain []AuditActor `json:"identity_chain,omitempty" doc:"From the one acting to the person behind."`
}

// AuditTarget is what a management call was about.
type AuditTarget struct {
	Type       string `json:"type"`
	ID         string `json:"id"`
	PreviousID string `json:"previous_id,omitzero" doc:"Of a policy set version that was activated: the version that decided before."`
}

// AuditResource is the resource that a credential was asked for.
type AuditResource struct {
	ID         string `json:"id,omitzero"`
	Identifier string `json:"identifier"`
}

// AuditPolicy is what decided.
type AuditPolicy struct {
	SetID         string               `json:"set_id"`
	SetVersionID  string               `json:"set_version_id"`
	Version       int                  `json:"version"`
	SchemaVersion string               `json:"schema_version,omitzero"`
	ManifestSHA   string               `json:"manifest_sha,omitzero"`
	Determining   []string             `json:"determining,omitempty" doc:"Labels of the policies that made the decision, those of the first leg first."`
	Policies      []AuditPolicyVersion `json:"policies,omitempty" doc:"The versions behind the labels, in the same order."`
	Latency       int64                `json:"latency_us,omitzero" doc:"How long the decision took, in microseconds."`
}

// AuditPolicyVersion is a policy version that made a decision.
type AuditPolicyVersion struct {
	PolicyID        string `json:"policy_id"`
	PolicyVersionID string `json:"policy_version_id"`
}

// viewDecider shows what decided; nil when nothing was there to.
func viewDecider(p *deputy.EventPolicy) *AuditPolicy {
	if p == nil {
		return nil
	}
	v := &AuditPolicy{
		SetID: string(p.SetID), SetVersionID: string(p.SetVersionID), Version: p.Version, SchemaVersion: p.SchemaVersion, ManifestSHA: p.ManifestSHA,
		Determining: p.Determining, Latency: p.Latency,
	}
	for _, of := range p.Policies {
		v.Policies = append(v.Policies, AuditPolicyVersion{string(of.PolicyID), string(of.VersionID)})
	}
	return v
}

// AuditPackage is the package that a change is about, or part of.
type AuditPackage struct {
	ID        string   `json:"id"`
	Slug      string   `json:"slug"`
	Version   int      `json:"version,omitzero"`
	InstallID string   `json:"install_id,omitzero"`
	TaskID    string   `json:"task_id,omitzero"`
	Entities  []string `json:"entities,omitempty" doc:"Entities of the install, each with how it came by it." example:"[\"created provider\"]"`
}

var auditList = listing{
	Expand: []string{"total_count"},
	Parameters: []parameter{
		{Name: "filter[jti]", Many: true, Doc: "Events of one of these credentials."},
		{Name: "filter[request_id]", Many: true, Doc: "Events of one of these requests."},
		{Name: "filter[session_id]", Many: true, Doc: "Events of one of these sessions, and changes of them."},
		{Name: "filter[user_id]", Many: true, Doc: "Events about one of these users, or in which they acted."},
		{Name: "filter[resource_id]", Many: true, Doc: "Events about one of these resources."},
		{Name: "filter[application_id]", Many: true, Doc: "Events about one of these applications, or in which they acted."},
		{Name: "filter[outcome]", Enum: []string{string(deputy.Success), string(deputy.Failure)}, Doc: "How they ended."},
		{Name: "filter[type]", Many: true, Doc: "Events of one of these types, such as credentials:issue."},
		{Name: "since", Doc: "Not before this time (RFC 3339)."},
		{Name: "until", Doc: "Before this time (RFC 3339)."},
		{Name: "order", Enum: []string{"asc", "desc"}, Doc: "Direction of time; desc unless said."},
	},
}

// eventTerms are the filters that name what events are found by.
var eventTerms = map[string]deputy.Term{
	"filter[request_id]": deputy.TermRequest, "filter[session_id]": deputy.TermSession, "filter[user_id]": deputy.TermUser,
	"filter[resource_id]": deputy.TermResource, "filter[application_id]": deputy.TermApplication,
	"filter[outcome]": deputy.TermOutcome, "filter[type]": deputy.TermType,
}

func (a *API) mountAudit() {
	for _, at := range []struct{ id, path, what string }{
		{"zone", "/zones/{zone_id}/audit-events", "a zone"},
		{"organization", "/organizations/{organization_id}/audit-events", "an organization"},
	} {
		mount(a, operation{
			ID: "list-" + at.id + "-audit-events", Method: http.MethodGet, Path: at.path, Action: "audit_events:list", Tag: "Audit events",
			Summary: "List the events of " + at.what, Status: http.StatusOK, Query: auditList.document(),
			Doc: "Every answer given or refused and every change, from the moment it was committed, newest first.",
		}, a.listEvents)
		mount(a, operation{
			ID: "get-" + at.id + "-audit-event", Method: http.MethodGet, Path: at.path + "/{event_id}", Action: "audit_events:read", Tag: "Audit events",
			Summary: "Get one of the events of " + at.what, Status: http.StatusOK,
		}, a.getEvent)
		a.mountProofs(at.id, strings.TrimSuffix(at.path, "/audit-events"), at.what)
	}
}

func (a *API) listEvents(ctx context.Context, c *call, _ *empty) (*output[ShortList[AuditEvent]], error) {
	asked, err := auditList.read(a, c)
	if err != nil {
		return nil, err
	}
	q := deputy.EventQuery{
		Organization: c.caller.Organization, Named: map[deputy.Term][]string{},
		After: asked.After, Before: asked.Before, Limit: asked.Limit, Count: asked.Count, Ascending: c.query.Get("order") == "asc",
	}
	if c.zone != nil {
		q.Zone = c.zone.ID
	}
	for name, term := range eventTerms {
		q.Named[term] = c.values(name)
	}
	for _, id := range c.values("filter[jti]") {
		q.JTI = append(q.JTI, deputy.EventID(id))
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
	out := newList(page, func(*deputy.Record) AuditEvent { return AuditEvent{} })
	for i, r := range page.Items {
		if out.Items[i], err = a.viewEvent(ctx, r); err != nil {
			return nil, err
		}
	}
	return &output[ShortList[AuditEvent]]{ShortList[AuditEvent]{out.Items, out.Pagination}}, nil
}

func timeOf(c *call, name string) (time.Time, error) {
	value := c.query.Get(name)
	if value == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return time.Time{}, deputy.Bad(name, "must be an RFC 3339 time")
	}
	return t, nil
}

func (a *API) getEvent(ctx context.Context, c *call, _ *empty) (*output[AuditEvent], error) {
	var zone deputy.ZoneID
	if c.zone != nil {
		zone = c.zone.ID
	}
	r, state, err := a.store.ProveEvent(ctx, c.caller.Organization, zone, deputy.EventID(c.param("event_id")))
	if err != nil {
		return nil, missing(err, "event")
	}
	v, err := a.viewEvent(ctx, r)
	if err != nil {
		return nil, err
	}
	if v.InclusionProof, err = a.proof(ctx, r, state); err != nil {
		return nil, err
	}
	return &output[AuditEvent]{v}, nil
}

// viewEvent returns an event with what it knows of people, while they are
// known.
func (a *API) viewEvent(ctx context.Context, r *deputy.Record) (AuditEvent, error) {
	e, err := r.Event(ctx, a.sealing)
	if err != nil {
		return AuditEvent{}, err
	}
	v := AuditEvent{
		ID: string(e.ID), Time: Time(e.Time), Type: e.Type, Outcome: string(e.Outcome), Error: e.Error, ErrorDescription: e.ErrorDetail,
		ZoneID: string(e.ZoneID), OrganizationID: string(e.OrganizationID), RequestID: e.RequestID, Actor: viewActor(e.Actor),
		ClientID: e.ClientID, CredentialID: string(e.CredentialID), UserID: string(e.UserID), ProviderID: string(e.ProviderID),
		GrantType: e.GrantType, ScopesRequested: e.ScopesRequested, ScopesGranted: e.ScopesGranted,
		JTI: string(e.JTI), SessionID: string(e.SessionID), IP: e.IP, UserAgent: e.UserAgent, Changes: e.Changes, Count: e.Count,
	}
	if t := e.Target; t != nil {
		v.Target = &AuditTarget{t.Type, t.ID, t.PreviousID}
	}
	if r := e.Resource; r != nil {
		v.Resource = &AuditResource{string(r.ID), r.Identifier}
	}
	v.Policy = viewDecider(e.Policy)
	if p := e.Package; p != nil {
		v.Package = &AuditPackage{string(p.ID), p.Slug, p.Version, string(p.InstallID), string(p.TaskID), p.Entities}
	}
	return v, nil
}

func viewActor(a deputy.Actor) AuditActor {
	v := AuditActor{Type: a.Type, ID: a.ID, Identifier: a.Identifier}
	for _, link := range a.IdentityChain {
		v.IdentityChain = append(v.IdentityChain, viewActor(link))
	}
	return v
}
