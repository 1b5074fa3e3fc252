package api

import (
	"context"
	"fmt"
	"net/http"

	"deputy/internal/deputy"
)

// PolicySetDraft is the one piece of work in progress on a policy set, as
// clients see it.
type PolicySetDraft struct {
	PolicySetID   string                  `json:"policy_set_id"`
	SchemaVersion string                  `json:"schema_version" doc:"The schema that the version will pin."`
	Manifest      Manifest                `json:"manifest"`
	Name          *string                 `json:"name,omitzero" doc:"A note for those who work on it; the set keeps its own name."`
	Description   *string                 `json:"description,omitzero" doc:"Another note."`
	BaseVersionID *string                 `json:"base_version_id,omitzero" doc:"The version it was taken from."`
	Warnings      []PolicySetDraftWarning `json:"warnings,omitzero" doc:"What keeps it from being published."`
	UpdatedBy     string                  `json:"updated_by"`
	CreatedAt     Time                    `json:"created_at"`
	UpdatedAt     Time                    `json:"updated_at"`
}

// PolicySetDraftWarning names a policy version that a version of the set cannot
// pin.
type PolicySetDraftWarning struct {
	Type            string          `json:"type" enum:"policy_version_archived,schema_version_mismatch"`
	PolicyID        string          `json:"policy_id"`
	PolicyVersionID string          `json:"policy_version_id"`
	Message         string          `json:"message"`
	Detail          *SchemaMismatch `json:"detail,omitzero" doc:"With schema_version_mismatch only."`
}

// SchemaMismatch names two schemas that should be one.
type SchemaMismatch struct {
	DraftSchemaVersion  string `json:"draft_schema_version"`
	PolicySchemaVersion string `json:"policy_schema_version"`
}

// PolicySetDraftPut saves a draft, in place of the one there is.
type PolicySetDraftPut struct {
	SchemaVersion string             `json:"schema_version" example:"2026-06-18"`
	Manifest      Nullable[Manifest] `json:"manifest,omitzero" doc:"It may be left out with a base_version_id, whose manifest is then saved."`
	Name          Nullable[string]   `json:"name,omitzero" minLength:"1" maxLength:"255"`
	Description   Nullable[string]   `json:"description,omitzero" maxLength:"2048"`
	BaseVersionID Nullable[string]   `json:"base_version_id,omitzero" doc:"A version of the set that the draft is taken from."`
}

// PolicySetDraftPublish says how to publish a draft.
type PolicySetDraftPublish struct {
	Activate            Patch[bool] `json:"activate,omitzero" doc:"Let the new version decide at once."`
	AcknowledgeWidening Patch[bool] `json:"acknowledge_widening,omitzero" doc:"Also where that gives access which is not there today. Otherwise it is refused with 409 and witnesses."`
}

var policySetDrafts = Noun[deputy.PolicySetDraft, PolicySetDraft, empty, empty]{
	Name: "policy_set_draft", Plural: "policy_set_drafts", Path: policySets.Path, Key: policySets.Key, Tag: "Policy set drafts",
	Headers:  policyHeaders,
	Reads:    func(v deputy.View) deputy.Reads[deputy.PolicySetDraft] { return v.PolicySetDrafts() },
	Writes:   func(tx deputy.Tx) deputy.Writes[deputy.PolicySetDraft] { return tx.PolicySetDrafts() },
	ID:       func(d *deputy.PolicySetDraft) deputy.ID { return d.PolicySetID },
	Revision: func(d *deputy.PolicySetDraft) int64 { return d.Revision },
}

func (a *API) mountPolicySetDrafts() {
	mount(a, policySetDrafts.draft(get), a.getSetDraft)
	save := policySetDrafts.draft(patch)
	save.Doc = "It replaces the one there is. What it pins must exist; what keeps a version from pinning it is told as warnings."
	mount(a, save, a.putSetDraft)
	mount(a, policySetDrafts.draft(remove), policySetDrafts.remove(a))
	publish := policySetDrafts.draft(create)
	publish.Errors = append(publish.Errors, http.StatusConflict)
	mount(a, publish, a.publishSetDraft)
	pinned := policySetDrafts.draft(get)
	pinned.ID, pinned.Path, pinned.Action, pinned.ETag = "list-policies-of-policy-set-draft", pinned.Path+"/policies", "policy_versions:list", false
	pinned.Summary, pinned.Query = "List the policy versions that the draft of a policy set pins", pinnedList.document()
	mount(a, pinned, a.listDraftPinned)
}

// viewSetDraft shows a draft with what keeps it from being published.
func (a *API) viewSetDraft(ctx context.Context, c *call, d *deputy.PolicySetDraft) (*output[PolicySetDraft], error) {
	pinned, err := resolve(ctx, a.store.PolicyVersions(), d.ZoneID, d.Manifest)
	if err != nil {
		return nil, err
	}
	v := PolicySetDraft{
		PolicySetID: string(d.PolicySetID), SchemaVersion: d.SchemaVersion, Manifest: viewManifest(d.Manifest), Name: d.Name,
		Description: d.Description, BaseVersionID: pointer(d.BaseVersionID), UpdatedBy: d.UpdatedBy, CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt),
	}
	for _, version := range pinned {
		v.Warnings = append(v.Warnings, obstacles(d.SchemaVersion, version)...)
	}
	c.answer.Set("ETag", etag(d.Revision))
	return &output[PolicySetDraft]{v}, nil
}

// obstacles says what keeps a set version of a schema from pinning a policy
// version.
func obstacles(schema string, v *deputy.PolicyVersion) (found []PolicySetDraftWarning) {
	if v.ArchivedAt != nil {
		found = append(found, PolicySetDraftWarning{
			Type: "policy_version_archived", PolicyID: string(v.PolicyID), PolicyVersionID: string(v.ID), Message: "the policy version is archived",
		})
	}
	if v.SchemaVersion != schema {
		found = append(found, PolicySetDraftWarning{
			Type: "schema_version_mismatch", PolicyID: string(v.PolicyID), PolicyVersionID: string(v.ID),
			Message: fmt.Sprintf("the policy version was validated against schema %s, not %s", v.SchemaVersion, schema),
			Detail:  &SchemaMismatch{DraftSchemaVersion: schema, PolicySchemaVersion: v.SchemaVersion},
		})
	}
	return found
}

func (a *API) setDraft(ctx context.Context, c *call) (*deputy.PolicySetDraft, error) {
	d, err := a.store.PolicySetDrafts().Get(ctx, policySetDrafts.scope(c), deputy.ID(c.param("policy_set_id")))
	return d, missing(err, policySetDrafts.Name)
}

func (a *API) getSetDraft(ctx context.Context, c *call, _ *empty) (*output[PolicySetDraft], error) {
	d, err := a.setDraft(ctx, c)
	if err != nil {
		return nil, err
	}
	return a.viewSetDraft(ctx, c, d)
}

func (a *API) putSetDraft(ctx context.Context, c *call, in *input[PolicySetDraftPut]) (*placed[PolicySetDraft], error) {
	fresh, err := a.readSetDraft(ctx, c, &in.Body)
	if err != nil {
		return nil, err
	}
	var d *deputy.PolicySetDraft
	var made bool
	err = a.write(ctx, c, policySetDrafts.target(fresh.PolicySetID), func(tx deputy.Tx) (err error) {
		if _, err := openSet(ctx, tx, c); err != nil {
			return err
		}
		d, made, err = policySetDrafts.save(ctx, tx, c, fresh, func(d *deputy.PolicySetDraft) {
			d.SchemaVersion, d.Manifest, d.BaseVersionID = fresh.SchemaVersion, fresh.Manifest, fresh.BaseVersionID
			d.Name, d.Description, d.UpdatedBy = fresh.Name, fresh.Description, fresh.UpdatedBy
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	out, err := a.viewSetDraft(ctx, c, d)
	if err != nil {
		return nil, err
	}
	return placement(out, made), nil
}

// readSetDraft returns the draft that a request describes.
func (a *API) readSetDraft(ctx context.Context, c *call, in *PolicySetDraftPut) (*deputy.PolicySetDraft, error) {
	d := &deputy.PolicySetDraft{
		ZoneID: c.zone.ID, PolicySetID: deputy.ID(c.param("policy_set_id")), SchemaVersion: in.SchemaVersion, Manifest: in.Manifest.V.entries(),
		BaseVersionID: deputy.ID(in.BaseVersionID.V), UpdatedBy: c.actor(), CreatedAt: c.at, UpdatedAt: c.at, Revision: c.at.UnixMicro(),
	}
	in.Name.To(&d.Name)
	in.Description.To(&d.Description)
	if _, err := a.store.PolicySets().Get(ctx, policySets.scope(c), d.PolicySetID); err != nil {
		return nil, missing(err, policySets.Name)
	}
	if _, err := schemaNamed(in.SchemaVersion); err != nil {
		return nil, err
	}
	if d.BaseVersionID != "" {
		base, err := a.store.PolicySetVersions().Get(ctx, policySetVersions.scope(c), d.BaseVersionID)
		if deputy.KindOf(err) == deputy.NotFound {
			return nil, deputy.Bad("base_version_id", "names no version of the policy set")
		}
		if err != nil {
			return nil, err
		}
		if absent(in.Manifest) {
			d.Manifest = base.Manifest
		}
	}
	if len(d.Manifest) == 0 {
		return nil, deputy.Bad("manifest", "is required without a base_version_id")
	}
	if _, err := resolve(ctx, a.store.PolicyVersions(), d.ZoneID, d.Manifest); err != nil {
		return nil, err
	}
	return d, d.Validate()
}

func (a *API) listDraftPinned(ctx context.Context, c *call, _ *empty) (*output[ShortList[PolicyVersion]], error) {
	d, err := a.setDraft(ctx, c)
	if err != nil {
		return nil, err
	}
	return a.pagePinned(ctx, c, d.Manifest)
}

// publishSetDraft makes a version from a draft and, when asked, lets it decide.
func (a *API) publishSetDraft(ctx context.Context, c *call, in *input[PolicySetDraftPublish]) (*output[PolicySetVersion], error) {
	d, err := a.setDraft(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := policySetDrafts.writable(c, d); err != nil {
		return nil, err
	}
	var compared deputy.ID
	if in.Body.Activate.V && !in.Body.AcknowledgeWidening.V {
		if err := a.checkWidening(ctx, c, d); err != nil {
			return nil, err
		}
		compared = c.zone.ActivePolicySetVersionID
	}
	v := newSetVersion(c, d.SchemaVersion, d.Manifest)
	err = a.addSetVersion(ctx, c, v, in.Body.Activate.V, compared, func(tx deputy.Tx) error { return policySetDrafts.use(ctx, tx, c, d) })
	if err != nil {
		return nil, err
	}
	return policySetVersions.view(a, c, v), nil
}
