package api

import (
	"context"
	"errors"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

// PolicyDraft is the one piece of work in progress on a policy, as clients see
// it.
type PolicyDraft struct {
	PolicyID      string               `json:"policy_id"`
	SchemaVersion string               `json:"schema_version" doc:"The schema it will be validated against."`
	BaseVersionID *string              `json:"base_version_id,omitzero" doc:"The version it was taken from."`
	CedarRaw      *string              `json:"cedar_raw" doc:"Cedar text, normalized; null with format=json."`
	CedarJSON     Value                `json:"cedar_json" doc:"Cedar policy JSON; null with format=cedar."`
	Warnings      []PolicyDraftWarning `json:"warnings,omitzero" doc:"What keeps it from being published."`
	UpdatedBy     string               `json:"updated_by"`
	CreatedAt     Time                 `json:"created_at"`
	UpdatedAt     Time                 `json:"updated_at"`
}

// PolicyDraftWarning is one finding of validation.
type PolicyDraftWarning struct {
	Type    string `json:"type" enum:"schema_validation"`
	Message string `json:"message"`
}

// PolicyDraftPut saves a draft, in place of the one there is.
type PolicyDraftPut struct {
	SchemaVersion string           `json:"schema_version" example:"2026-06-18"`
	CedarRaw      Nullable[string] `json:"cedar_raw,omitzero" maxLength:"65536" doc:"One policy as Cedar text. It must parse; what the schema says against it becomes warnings." example:"forbid (principal, action, resource) when { context.impersonate };"`
	CedarJSON     Nullable[Value]  `json:"cedar_json,omitzero" doc:"One policy as Cedar policy JSON."`
	BaseVersionID Nullable[string] `json:"base_version_id,omitzero" doc:"A version of the policy that the draft is taken from. Without cedar_raw and cedar_json, its content is what is saved."`
}

var policyDrafts = Noun[deputy.PolicyDraft, PolicyDraft, empty, empty]{
	Name: "policy_draft", Plural: "policy_drafts", Path: policies.Path, Key: policies.Key, Tag: "Policy drafts",
	Headers:  policyHeaders,
	Reads:    func(v deputy.View) deputy.Reads[deputy.PolicyDraft] { return v.PolicyDrafts() },
	Writes:   func(tx deputy.Tx) deputy.Writes[deputy.PolicyDraft] { return tx.PolicyDrafts() },
	ID:       func(d *deputy.PolicyDraft) deputy.ID { return d.PolicyID },
	Revision: func(d *deputy.PolicyDraft) int64 { return d.Revision },
	View:     viewPolicyDraft,
}

func (a *API) mountPolicyDrafts() {
	mount(a, formatted(policyDrafts.draft(get)), a.getPolicyDraft)
	save := formatted(policyDrafts.draft(patch))
	save.Doc = "It replaces the one there is. What does not parse is refused; what the schema says against it is told as warnings."
	mount(a, save, a.putPolicyDraft)
	mount(a, policyDrafts.draft(remove), policyDrafts.remove(a))
	mount(a, policyDrafts.draft(create), a.publishPolicyDraft)
}

func viewPolicyDraft(_ *API, c *call, d *deputy.PolicyDraft) PolicyDraft {
	v := PolicyDraft{
		PolicyID: string(d.PolicyID), SchemaVersion: d.SchemaVersion, BaseVersionID: pointer(d.BaseVersionID),
		Warnings: draftWarnings(d), UpdatedBy: d.UpdatedBy, CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt),
	}
	v.CedarRaw, v.CedarJSON = cedarForms(c, &d.Text, d.JSON)
	return v
}

// draftWarnings says what validation has against a draft.
func draftWarnings(d *deputy.PolicyDraft) (warnings []PolicyDraftWarning) {
	_, err := validDraft(d)
	var refusal *deputy.Error
	if !errors.As(err, &refusal) {
		return nil
	}
	for _, finding := range refusal.Details {
		warnings = append(warnings, PolicyDraftWarning{"schema_validation", finding.Message})
	}
	return warnings
}

// validDraft returns what a draft holds if its schema has nothing against it.
func validDraft(d *deputy.PolicyDraft) (*policy.Document, error) {
	schema, err := schemaNamed(d.SchemaVersion)
	if err != nil {
		return nil, err
	}
	doc, err := policy.ParseText(d.Text)
	if err != nil {
		return nil, err
	}
	return doc, schema.Validate(doc)
}

// getPolicyDraft checks format, then is the plain read.
func (a *API) getPolicyDraft(ctx context.Context, c *call, in *empty) (*output[PolicyDraft], error) {
	if _, err := formatParameter.values(c.query); err != nil {
		return nil, err
	}
	return policyDrafts.get(a)(ctx, c, in)
}

func (a *API) putPolicyDraft(ctx context.Context, c *call, in *input[PolicyDraftPut]) (*placed[PolicyDraft], error) {
	if _, err := formatParameter.values(c.query); err != nil {
		return nil, err
	}
	fresh, err := a.readPolicyDraft(ctx, c, &in.Body)
	if err != nil {
		return nil, err
	}
	var d *deputy.PolicyDraft
	var made bool
	err = a.write(ctx, c, policyDrafts.target(fresh.PolicyID), func(tx deputy.Tx) (err error) {
		if err := openPolicy(ctx, tx, c, fresh.PolicyID); err != nil {
			return err
		}
		if err := openSchema(ctx, tx.PolicySchemas(), fresh.SchemaVersion); err != nil {
			return err
		}
		d, made, err = policyDrafts.save(ctx, tx, c, fresh, func(d *deputy.PolicyDraft) {
			d.SchemaVersion, d.Text, d.JSON, d.BaseVersionID, d.UpdatedBy = fresh.SchemaVersion, fresh.Text, fresh.JSON, fresh.BaseVersionID, fresh.UpdatedBy
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return placement(policyDrafts.view(a, c, d), made), nil
}

// readPolicyDraft returns the draft that a request describes.
func (a *API) readPolicyDraft(ctx context.Context, c *call, in *PolicyDraftPut) (*deputy.PolicyDraft, error) {
	d := &deputy.PolicyDraft{
		ZoneID: c.zone.ID, PolicyID: deputy.ID(c.param("policy_id")), SchemaVersion: in.SchemaVersion, BaseVersionID: deputy.ID(in.BaseVersionID.V),
		UpdatedBy: c.actor(), CreatedAt: c.at, UpdatedAt: c.at, Revision: c.at.UnixMicro(),
	}
	if _, err := a.store.Policies().Get(ctx, policies.scope(c), d.PolicyID); err != nil {
		return nil, missing(err, policies.Name)
	}
	if d.BaseVersionID != "" {
		base, err := a.store.PolicyVersions().Get(ctx, deputy.Scope{Zone: c.zone.ID, Parent: d.PolicyID}, d.BaseVersionID)
		if deputy.KindOf(err) == deputy.NotFound {
			return nil, deputy.Bad("base_version_id", "names no version of the policy")
		}
		if err != nil {
			return nil, err
		}
		if absent(in.CedarRaw) && absent(in.CedarJSON) {
			d.Text, d.JSON = base.Text, base.JSON
			return d, nil
		}
	}
	doc, err := readCedar(in.CedarRaw, in.CedarJSON)
	if err != nil {
		return nil, err
	}
	d.Text, d.JSON = doc.Text(), doc.JSON()
	return d, nil
}

func (a *API) publishPolicyDraft(ctx context.Context, c *call, _ *empty) (*output[PolicyVersion], error) {
	d, err := a.store.PolicyDrafts().Get(ctx, policyDrafts.scope(c), deputy.ID(c.param("policy_id")))
	if err != nil {
		return nil, missing(err, policyDrafts.Name)
	}
	if err := policyDrafts.writable(c, d); err != nil {
		return nil, err
	}
	doc, err := validDraft(d)
	if err != nil {
		return nil, err
	}
	v := newPolicyVersion(c, d.PolicyID, d.SchemaVersion, doc)
	err = a.write(ctx, c, policyVersions.target(v.ID), func(tx deputy.Tx) error {
		if err := insertPolicyVersion(ctx, tx, c, v); err != nil {
			return err
		}
		return policyDrafts.use(ctx, tx, c, d)
	})
	if err != nil {
		return nil, err
	}
	return policyVersions.view(a, c, v), nil
}
