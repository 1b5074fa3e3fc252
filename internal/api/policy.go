package api

import (
	"context"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

// Policy is a container of versions of one Cedar policy, as clients see it.
type Policy struct {
	ID                  string  `json:"id"`
	ZoneID              string  `json:"zone_id"`
	OwnerType           string  `json:"owner_type" enum:"platform,customer"`
	Name                string  `json:"name"`
	Description         *string `json:"description,omitzero"`
	LatestVersion       *int    `json:"latest_version,omitzero" doc:"Number of the newest version; unset: there is none."`
	LatestVersionID     *string `json:"latest_version_id,omitzero"`
	LatestSchemaVersion *string `json:"latest_schema_version,omitzero"`
	CreatedBy           string  `json:"created_by"`
	UpdatedBy           *string `json:"updated_by,omitzero"`
	CreatedAt           Time    `json:"created_at"`
	UpdatedAt           Time    `json:"updated_at"`
	ArchivedAt          *Time   `json:"archived_at,omitzero"`
}

// PolicyCreate makes a policy.
type PolicyCreate struct {
	Name        string           `json:"name" minLength:"1" maxLength:"255" doc:"Unique among the zone's policies that are not archived." example:"finance-only"`
	Description Nullable[string] `json:"description,omitzero" maxLength:"2048"`
}

// PolicyPatch changes a policy.
type PolicyPatch struct {
	Name        Patch[string]    `json:"name,omitzero" minLength:"1" maxLength:"255"`
	Description Nullable[string] `json:"description,omitzero" maxLength:"2048"`
}

// policyHeaders go with every route of policies and sets.
var policyHeaders = []*huma.Param{versionHeader}

var ownerTypes = []string{string(deputy.Platform), string(deputy.Customer)}

// unarchived leaves archived entities out of a list; they can still be read.
func unarchived(_ context.Context, _ *API, _ *call, q *asked) error {
	q.Where = append(q.Where, deputy.Filter{Fields: []string{"archived_at"}, Op: deputy.IsNull})
	return nil
}

var policies = Noun[deputy.Policy, Policy, PolicyCreate, PolicyPatch]{
	Name: "policy", Plural: "policies", Path: "/zones/{zone_id}/policies", Key: "policy_id", Tag: "Policies", Made: http.StatusCreated, Short: true,
	About: "A policy is a named container of immutable versions of one Cedar policy. Archived ones are left out.",
	List: listing{
		Expand: []string{"total_count"}, Style: both, Ordered: true,
		Parameters: []parameter{
			{Name: "filter[id]", Fields: []string{"id"}, Many: true, IDs: true, Doc: "These, on one page; ids of none are left out."},
			{Name: "filter[owner_type]", Fields: []string{"owner_type"}, Many: true, Enum: ownerTypes, Doc: "Owned by one of these."},
			{Name: "query", Fields: []string{"name", "description"}, Op: deputy.Contains, Many: true, Doc: "Name or description contains one of these, letter case aside."},
			{Name: "query[name]", Fields: []string{"name"}, Op: deputy.Contains, Many: true, Doc: "Name contains one of these."},
			{Name: "query[description]", Fields: []string{"description"}, Op: deputy.Contains, Many: true, Doc: "Description contains one of these."},
		},
	},
	Headers:  policyHeaders,
	Reads:    func(v deputy.View) deputy.Reads[deputy.Policy] { return v.Policies() },
	Writes:   func(tx deputy.Tx) deputy.Writes[deputy.Policy] { return tx.Policies() },
	ID:       func(d *deputy.Policy) deputy.ID { return d.ID },
	Owner:    func(d *deputy.Policy) deputy.Owner { return d.Owner },
	Revision: func(d *deputy.Policy) int64 { return d.Revision },
	Narrow:   unarchived,
	View:     viewPolicy,
	New: func(_ *API, c *call, in *PolicyCreate) *deputy.Policy {
		d := &deputy.Policy{
			ID: deputy.NewID(c.at), ZoneID: c.zone.ID, Owner: deputy.Customer, Name: in.Name,
			CreatedBy: c.actor(), CreatedAt: c.at, UpdatedAt: c.at,
		}
		in.Description.To(&d.Description)
		return d
	},
	Change: func(_ *API, c *call, d *deputy.Policy, in *PolicyPatch) error {
		if err := closed(d.ArchivedAt != nil, "policy"); err != nil {
			return err
		}
		name, description := d.Name, d.Description
		in.Name.To(&d.Name)
		in.Description.To(&d.Description)
		if d.Name != name || !reflect.DeepEqual(d.Description, description) {
			d.UpdatedBy = c.actor()
		}
		return nil
	},
	Check: (*deputy.Policy).Validate,
}

// actor is who policies and versions say made or changed them.
func (c *call) actor() string { return string(c.caller.Account) }

// closed refuses to change what is archived.
func closed(archived bool, noun string) error {
	if archived {
		return deputy.Errorf(deputy.Invalid, "the %s is archived", noun)
	}
	return nil
}

func viewPolicy(_ *API, _ *call, d *deputy.Policy) Policy {
	return Policy{
		ID: string(d.ID), ZoneID: string(d.ZoneID), OwnerType: string(d.Owner), Name: d.Name, Description: d.Description,
		LatestVersion: positive(d.LatestVersion), LatestVersionID: pointer(d.LatestVersionID), LatestSchemaVersion: pointer(d.LatestSchemaVersion),
		CreatedBy: d.CreatedBy, UpdatedBy: pointer(d.UpdatedBy),
		CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt), ArchivedAt: timePointer(d.ArchivedAt),
	}
}

// positive returns nil for 0: the number of a version that there is not.
func positive(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}

// archivePolicy closes a policy to new versions for good. One that decides
// stays.
func (a *API) archivePolicy(ctx context.Context, c *call, _ *empty) (*output[Policy], error) {
	id := deputy.ID(c.param("policy_id"))
	var d *deputy.Policy
	err := a.write(ctx, c, policies.target(id), func(tx deputy.Tx) (err error) {
		bound, err := bound(ctx, tx, c, id)
		if err != nil {
			return err
		}
		d, err = tx.Policies().Update(ctx, policies.scope(c), id, func(d *deputy.Policy) error {
			if err := policies.writable(c, d); err != nil {
				return err
			}
			if bound {
				return deputy.Errorf(deputy.Conflict, "the policy is part of the active policy set version and cannot be archived")
			}
			if d.ArchivedAt == nil {
				d.ArchivedAt, d.UpdatedBy = &c.at, c.actor()
			}
			return nil
		})
		return missing(err, policies.Name)
	})
	if err != nil {
		return nil, err
	}
	return policies.view(a, c, d), nil
}

// bound reports whether an active set version, of the zone or of a person, pins
// the policy or the policy version.
func bound(ctx context.Context, tx deputy.Tx, c *call, id deputy.ID) (bool, error) {
	in := deputy.Scope{Zone: c.zone.ID}
	sets, err := tx.PolicySets().List(ctx, in, deputy.Query{All: true, Where: []deputy.Filter{{Fields: []string{"active"}, Values: []string{"true"}}}})
	if err != nil {
		return false, err
	}
	active := make([]string, 0, len(sets.Items))
	for _, s := range sets.Items {
		active = append(active, string(s.ActiveVersionID))
	}
	page, err := tx.PolicySetVersions().List(ctx, in, deputy.Query{Limit: 1, Where: []deputy.Filter{
		{Fields: []string{"id"}, Values: active}, {Fields: []string{"manifest"}, Op: deputy.Has, Values: []string{string(id)}},
	}})
	return err == nil && len(page.Items) > 0, err
}

// PolicyVersion is one immutable Cedar policy, as clients see it.
type PolicyVersion struct {
	ID            string  `json:"id"`
	ZoneID        string  `json:"zone_id"`
	PolicyID      string  `json:"policy_id"`
	OwnerType     string  `json:"owner_type" enum:"platform,customer"`
	Version       int     `json:"version" minimum:"1" doc:"1, 2, 3 and so on in one policy."`
	SchemaVersion string  `json:"schema_version" doc:"The schema it was validated against."`
	CedarRaw      *string `json:"cedar_raw" doc:"Cedar text, normalized; null with format=json."`
	CedarJSON     Value   `json:"cedar_json" doc:"Cedar policy JSON; null with format=cedar."`
	SHA           string  `json:"sha" doc:"SHA-256 of cedar_json in its canonical form (RFC 8785), in hex." pattern:"^[0-9a-f]{64}$"`
	CreatedBy     string  `json:"created_by"`
	CreatedAt     Time    `json:"created_at"`
	ArchivedAt    *Time   `json:"archived_at,omitzero"`
	ArchivedBy    *string `json:"archived_by,omitzero"`
}

// PolicyVersionCreate makes a version. Exactly one of the Cedar members is
// given.
type PolicyVersionCreate struct {
	SchemaVersion string           `json:"schema_version" doc:"A version of the platform's Cedar schema." example:"2026-06-18"`
	CedarRaw      Nullable[string] `json:"cedar_raw,omitzero" maxLength:"65536" doc:"One policy as Cedar text." example:"forbid (principal, action, resource) when { context has impersonate && context.impersonate };"`
	CedarJSON     Nullable[Value]  `json:"cedar_json,omitzero" doc:"One policy as Cedar policy JSON."`
}

// formatParameter narrows a version to one of its forms.
var formatParameter = parameter{Name: "format", Enum: []string{"cedar", "json"}, Doc: "Only this form of the policy; both unless said."}

var policyVersionList = listing{Expand: []string{"total_count"}, Style: both, Ordered: true, Parameters: []parameter{formatParameter}}

var policyVersions = Noun[deputy.PolicyVersion, PolicyVersion, PolicyVersionCreate, empty]{
	Name: "policy_version", Plural: "policy_versions", Path: "/zones/{zone_id}/policies/{policy_id}/versions", Key: "version_id",
	Tag: "Policy versions", Made: http.StatusCreated, Short: true,
	About:   "A policy version is one Cedar policy, validated against one schema. It never changes.",
	List:    policyVersionList,
	Headers: policyHeaders,
	Scope: func(c *call) deputy.Scope {
		return deputy.Scope{Zone: c.zone.ID, Parent: deputy.ID(c.param("policy_id"))}
	},
	Reads: func(v deputy.View) deputy.Reads[deputy.PolicyVersion] { return v.PolicyVersions() },
	ID:    func(d *deputy.PolicyVersion) deputy.ID { return d.ID },
	Narrow: func(ctx context.Context, a *API, c *call, q *asked) error {
		if _, err := a.store.Policies().Get(ctx, policies.scope(c), deputy.ID(c.param("policy_id"))); err != nil {
			return missing(err, policies.Name)
		}
		return unarchived(ctx, a, c, q)
	},
	View: viewPolicyVersion,
}

func viewPolicyVersion(_ *API, c *call, d *deputy.PolicyVersion) PolicyVersion {
	v := PolicyVersion{
		ID: string(d.ID), ZoneID: string(d.ZoneID), PolicyID: string(d.PolicyID), OwnerType: string(d.Owner),
		Version: d.Version, SchemaVersion: d.SchemaVersion, SHA: d.SHA, CreatedBy: d.CreatedBy, CreatedAt: Time(d.CreatedAt),
		ArchivedAt: timePointer(d.ArchivedAt), ArchivedBy: pointer(d.ArchivedBy),
	}
	v.CedarRaw, v.CedarJSON = cedarForms(c, &d.Text, d.JSON)
	return v
}

// cedarForms returns the forms of a policy that format asks for.
func cedarForms(c *call, text *string, tree []byte) (raw *string, value Value) {
	form := c.query.Get("format")
	if form != "json" {
		raw = text
	}
	if form != "cedar" {
		value = Value(tree)
	}
	return raw, value
}

// getPolicyVersion checks format, then is the plain read.
func (a *API) getPolicyVersion(ctx context.Context, c *call, in *empty) (*output[PolicyVersion], error) {
	if _, err := formatParameter.values(c.query); err != nil {
		return nil, err
	}
	return policyVersions.get(a)(ctx, c, in)
}

// createPolicyVersion validates a policy and adds it as the next version.
func (a *API) createPolicyVersion(ctx context.Context, c *call, in *input[PolicyVersionCreate]) (*output[PolicyVersion], error) {
	schema, err := schemaNamed(in.Body.SchemaVersion)
	if err != nil {
		return nil, err
	}
	doc, err := readCedar(in.Body.CedarRaw, in.Body.CedarJSON)
	if err != nil {
		return nil, err
	}
	if err := schema.Validate(doc); err != nil {
		return nil, err
	}
	v := newPolicyVersion(c, deputy.ID(c.param("policy_id")), in.Body.SchemaVersion, doc)
	err = a.write(ctx, c, policyVersions.target(v.ID), func(tx deputy.Tx) error { return insertPolicyVersion(ctx, tx, c, v) })
	if err != nil {
		return nil, err
	}
	return policyVersions.view(a, c, v), nil
}

func newPolicyVersion(c *call, of deputy.ID, schema string, doc *policy.Document) *deputy.PolicyVersion {
	return &deputy.PolicyVersion{
		ID: deputy.NewID(c.at), ZoneID: c.zone.ID, PolicyID: of, Owner: deputy.Customer, SchemaVersion: schema,
		Text: doc.Text(), JSON: doc.JSON(), SHA: doc.SHA(), CreatedBy: c.actor(), CreatedAt: c.at,
	}
}

// insertPolicyVersion adds a version whose content was validated.
func insertPolicyVersion(ctx context.Context, tx deputy.Tx, c *call, v *deputy.PolicyVersion) error {
	if err := openPolicy(ctx, tx, c, v.PolicyID); err != nil {
		return err
	}
	if err := openSchema(ctx, tx.PolicySchemas(), v.SchemaVersion); err != nil {
		return err
	}
	return tx.PolicyVersions().Insert(ctx, v)
}

// openPolicy refuses to work on a policy that takes no versions; others who
// would work on it wait until the transaction ends.
func openPolicy(ctx context.Context, tx deputy.Tx, c *call, id deputy.ID) error {
	_, err := tx.Policies().Update(ctx, policies.scope(c), id, func(p *deputy.Policy) error {
		if err := ownedByCustomer(p.Owner, policies.Name); err != nil {
			return err
		}
		return closed(p.ArchivedAt != nil, "policy")
	})
	return missing(err, policies.Name)
}

// archivePolicyVersion closes a version to new set versions for good. One that
// decides stays.
func (a *API) archivePolicyVersion(ctx context.Context, c *call, _ *empty) (*output[PolicyVersion], error) {
	id := deputy.ID(c.param("version_id"))
	var v *deputy.PolicyVersion
	err := a.write(ctx, c, policyVersions.target(id), func(tx deputy.Tx) error {
		found, err := tx.PolicyVersions().Get(ctx, policyVersions.scope(c), id)
		if err != nil {
			return missing(err, policyVersions.Name)
		}
		if err := ownedByCustomer(found.Owner, policyVersions.Name); err != nil {
			return err
		}
		if bound, err := bound(ctx, tx, c, id); err != nil {
			return err
		} else if bound {
			return deputy.Errorf(deputy.Invalid, "cannot archive version: currently active")
		}
		v, err = tx.PolicyVersions().Archive(ctx, policyVersions.scope(c), id, c.actor())
		return err
	})
	if err != nil {
		return nil, err
	}
	return policyVersions.view(a, c, v), nil
}

// readCedar reads the one form that is given.
func readCedar(raw Nullable[string], tree Nullable[Value]) (*policy.Document, error) {
	given := raw.Set && !raw.Null
	switch {
	case given == (tree.Set && !tree.Null):
		return nil, deputy.Bad("cedar_raw", "exactly one of cedar_raw and cedar_json must be given")
	case given:
		return policy.ParseText(raw.V)
	}
	return policy.ParseJSON(tree.V)
}
