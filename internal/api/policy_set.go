package api

import (
	"context"
	"net/http"
	"slices"

	"deputy/internal/deputy"
)

// PolicySet is a container of set versions bound to a target, as clients see
// it.
type PolicySet struct {
	ID              string  `json:"id"`
	ZoneID          string  `json:"zone_id"`
	OwnerType       string  `json:"owner_type" enum:"platform,customer"`
	Name            string  `json:"name"`
	TargetType      string  `json:"target_type" enum:"zone,user"`
	ScopeType       string  `json:"scope_type" enum:"zone,resource,user,session" deprecated:"true" doc:"The same as target_type."`
	TargetID        *string `json:"target_id,omitzero" doc:"The zone's id, or the identifier of the person."`
	ScopeTargetID   *string `json:"scope_target_id,omitzero" deprecated:"true" doc:"target_id while the set is bound."`
	LatestVersion   *int    `json:"latest_version,omitzero"`
	LatestVersionID *string `json:"latest_version_id,omitzero"`
	Active          bool    `json:"active" doc:"One of its versions decides for the target."`
	ActiveVersion   *int    `json:"active_version,omitzero"`
	ActiveVersionID *string `json:"active_version_id,omitzero"`
	Mode            *string `json:"mode,omitzero" enum:"active,shadow"`
	ShadowVersion   *int    `json:"shadow_version,omitzero"`
	ShadowVersionID *string `json:"shadow_version_id,omitzero"`
	CreatedBy       string  `json:"created_by"`
	UpdatedBy       *string `json:"updated_by,omitzero"`
	CreatedAt       Time    `json:"created_at"`
	UpdatedAt       Time    `json:"updated_at"`
	ArchivedAt      *Time   `json:"archived_at,omitzero"`
}

// PolicySetCreate makes a set; it decides nothing until a version of it is
// activated.
type PolicySetCreate struct {
	Name       string        `json:"name" minLength:"1" maxLength:"255" doc:"Unique among the zone's sets that are not archived." example:"production"`
	TargetType Patch[string] `json:"target_type,omitzero" enum:"zone,user" doc:"zone unless said."`
	TargetID   Patch[string] `json:"target_id,omitzero" minLength:"1" maxLength:"2048" doc:"Of a user target: the person's identifier. A set without one cannot be activated. An extension." example:"ada@example.com"`
	ScopeType  Patch[string] `json:"scope_type,omitzero" enum:"zone,resource,user,session" deprecated:"true" doc:"Older name of target_type; resource and session are refused."`
}

// PolicySetPatch changes a set. What binds a set is a version: activate one.
type PolicySetPatch struct {
	Name Patch[string] `json:"name,omitzero" minLength:"1" maxLength:"255"`
}

var (
	truth       = []string{"true", "false"}
	targetTypes = []string{"zone", "user"}
	scopeTypes  = []string{"zone", "resource", "user", "session"}
)

var policySets = Noun[deputy.PolicySet, PolicySet, PolicySetCreate, PolicySetPatch]{
	Name: "policy_set", Plural: "policy_sets", Path: "/zones/{zone_id}/policy-sets", Key: "policy_set_id", Tag: "Policy sets", Made: http.StatusCreated, Short: true,
	About: "A policy set is a named container of versions, one of which may be the zone's active one. Sets of people are left out unless asked for, archived ones always.",
	List: listing{
		Expand: []string{"total_count"}, Style: both, Ordered: true, Sort: []string{"status"},
		Parameters: []parameter{
			{Name: "filter[active]", Enum: truth, Doc: "Only sets with an active version, or only others."},
			{Name: "active", Enum: truth, Deprecated: true, Doc: "Older name of filter[active]."},
			{Name: "filter[owner_type]", Fields: []string{"owner_type"}, Many: true, Enum: ownerTypes, Doc: "Owned by one of these."},
			{Name: "filter[target_type]", Many: true, Enum: targetTypes, Doc: "Bound to one of these; zone unless said."},
			{Name: "filter[scope_type]", Many: true, Enum: scopeTypes, Deprecated: true, Doc: "Older name of filter[target_type], without its default."},
			{Name: "query", Fields: []string{"name"}, Op: deputy.Contains, Many: true, Doc: "Name contains one of these, letter case aside."},
			{Name: "query[name]", Fields: []string{"name"}, Op: deputy.Contains, Many: true, Doc: "Name contains one of these."},
		},
	},
	Headers:  policyHeaders,
	Reads:    func(v deputy.View) deputy.Reads[deputy.PolicySet] { return v.PolicySets() },
	Writes:   func(tx deputy.Tx) deputy.Writes[deputy.PolicySet] { return tx.PolicySets() },
	ID:       func(d *deputy.PolicySet) deputy.ID { return d.ID },
	Owner:    func(d *deputy.PolicySet) deputy.Owner { return d.Owner },
	Revision: func(d *deputy.PolicySet) int64 { return d.Revision },
	Narrow:   narrowPolicySets,
	View:     viewPolicySet,
	New: func(_ *API, c *call, in *PolicySetCreate) *deputy.PolicySet {
		d := &deputy.PolicySet{
			ID: deputy.NewID(c.at), ZoneID: c.zone.ID, Owner: deputy.Customer, Name: in.Name,
			TargetType: in.TargetType.Or(in.ScopeType.Or(deputy.ZoneTarget)), CreatedBy: c.actor(), CreatedAt: c.at, UpdatedAt: c.at,
		}
		if d.TargetType == deputy.ZoneTarget {
			d.TargetID = string(c.zone.ID)
		}
		in.TargetID.To(&d.TargetID)
		return d
	},
	Change: func(_ *API, c *call, d *deputy.PolicySet, in *PolicySetPatch) error {
		if err := closed(d.ArchivedAt != nil, "policy set"); err != nil {
			return err
		}
		if in.Name.Set && in.Name.V != d.Name {
			d.Name, d.UpdatedBy = in.Name.V, c.actor()
		}
		return nil
	},
	Check: (*deputy.PolicySet).Validate,
}

func viewPolicySet(_ *API, _ *call, d *deputy.PolicySet) PolicySet {
	v := PolicySet{
		ID: string(d.ID), ZoneID: string(d.ZoneID), OwnerType: string(d.Owner), Name: d.Name,
		TargetType: d.TargetType, ScopeType: d.TargetType, TargetID: pointer(d.TargetID),
		LatestVersion: positive(d.LatestVersion), LatestVersionID: pointer(d.LatestVersionID),
		Active: d.ActiveVersion > 0, ActiveVersion: positive(d.ActiveVersion), ActiveVersionID: pointer(d.ActiveVersionID),
		ShadowVersion: positive(d.ShadowVersion), ShadowVersionID: pointer(d.ShadowVersionID),
		CreatedBy: d.CreatedBy, UpdatedBy: pointer(d.UpdatedBy),
		CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt), ArchivedAt: timePointer(d.ArchivedAt),
	}
	switch {
	case d.ActiveVersion > 0:
		v.Mode = pointer("active")
	case d.ShadowVersion > 0:
		v.Mode = pointer("shadow")
	}
	if v.Mode != nil {
		v.ScopeTargetID = v.TargetID
	}
	return v
}

// narrowPolicySets reads what filters alone cannot say.
func narrowPolicySets(ctx context.Context, a *API, c *call, q *asked) error {
	active, err := either(c, "filter[active]", "active")
	if err != nil {
		return err
	}
	targets, err := either(c, "filter[target_type]", "filter[scope_type]")
	if err != nil {
		return err
	}
	if len(targets) == 0 {
		targets = []string{deputy.ZoneTarget}
	}
	q.Where = append(q.Where, deputy.Filter{Fields: []string{"target_type"}, Values: targets})
	if len(active) == 1 {
		q.Where = append(q.Where, deputy.Filter{Fields: []string{"active"}, Values: active})
	}
	if c.query.Get("sort") == "status" {
		if c.query.Get("order") == "asc" || q.Before != "" {
			return deputy.Errorf(deputy.Invalid, "sort=status goes downwards and forwards only")
		}
		q.Sort = []deputy.Sort{{Field: "status", Descending: true}, {Field: "created_at", Descending: true}}
	}
	return unarchived(ctx, a, c, q)
}

// either returns the values of a parameter or of its older name; when both are
// given they must agree.
func either(c *call, name, older string) ([]string, error) {
	values, old := c.values(name), c.values(older)
	if len(values) == 0 {
		return old, nil
	}
	if len(old) > 0 && !slices.Equal(values, old) {
		return nil, deputy.Errorf(deputy.Invalid, "%s is an older name of %s: give one of them", older, name)
	}
	return values, nil
}

func (a *API) createPolicySet(ctx context.Context, c *call, in *input[PolicySetCreate]) (*output[PolicySet], error) {
	body := &in.Body
	switch scope := body.ScopeType; {
	case scope.Set && (scope.V == "resource" || scope.V == "session"):
		return nil, deputy.Bad("scope_type", "must be one of zone, user")
	case scope.Set && body.TargetType.Set && scope.V != body.TargetType.V:
		return nil, deputy.Bad("scope_type", "is an older name of target_type: it must be the same")
	}
	return policySets.create(a)(ctx, c, in)
}

// archivePolicySet takes a set out of use for good. One that is bound stays.
func (a *API) archivePolicySet(ctx context.Context, c *call, _ *empty) (*output[PolicySet], error) {
	d, err := policySets.update(ctx, a, c, func(d *deputy.PolicySet) error {
		if d.ActiveVersion > 0 || d.ShadowVersion > 0 {
			return deputy.Errorf(deputy.Conflict, "policy set has active bindings and cannot be archived")
		}
		if d.ArchivedAt == nil {
			d.ArchivedAt, d.UpdatedBy = &c.at, c.actor()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return policySets.view(a, c, d), nil
}
