package api

import (
	"context"
	"net/http"

	"deputy/internal/deputy"
)

// PolicySetShadow names the version of a set to bind as the zone's shadow.
type PolicySetShadow struct {
	VersionID string `json:"version_id" minLength:"1" doc:"A version of the set that is neither active nor archived."`
}

func (a *API) mountShadow() {
	bind := operation{
		ID: "bind-policy-set-shadow", Method: http.MethodPut, Path: policySets.Path + "/{policy_set_id}/shadow", Action: "policy_sets:shadow",
		Tag: policySets.Tag, Summary: "Bind a version of a policy set as the zone's shadow", Status: http.StatusOK, Headers: policyHeaders,
		Doc: "From now on it is asked whatever the active version is asked, after the answer has left. It has no say; what it would have said is recorded. " +
			"Whatever was bound as the zone's shadow before is unbound. To promote it, remove the shadow, then activate the version.",
	}
	mount(a, tagged(bind), a.bindShadow)
	remove := operation{
		ID: "remove-policy-set-shadow", Method: http.MethodDelete, Path: bind.Path, Action: "policy_sets:unshadow",
		Tag: policySets.Tag, Summary: "Remove the shadow of a policy set", Status: http.StatusOK, Headers: policyHeaders,
		Doc: "Does nothing where the set has none.",
	}
	mount(a, tagged(remove), a.removeShadow)
}

// bindShadow makes a version the one observed, at once.
func (a *API) bindShadow(ctx context.Context, c *call, in *input[PolicySetShadow]) (*output[PolicySet], error) {
	return a.rebind(ctx, c, func(tx deputy.Tx, set *deputy.PolicySet) error {
		id := deputy.ID(in.Body.VersionID)
		v, err := tx.PolicySetVersions().Get(ctx, deputy.Scope{Zone: c.zone.ID, Parent: set.ID}, id)
		switch {
		case deputy.KindOf(err) == deputy.NotFound:
			return deputy.Bad("version_id", "names no version of the policy set")
		case err != nil:
			return err
		case v.ArchivedAt != nil || set.ArchivedAt != nil:
			return deputy.Bad("version_id", "names a version that is archived")
		case set.ActiveVersionID == id:
			return deputy.Bad("version_id", "names the version that is active: it decides already")
		case set.TargetType != deputy.ZoneTarget:
			return deputy.Errorf(deputy.Invalid, "the set is not one of the zone: it cannot be its shadow")
		}
		_, err = tx.Shadow(ctx, c.zone.ID, set.ID, id)
		return err
	})
}

// removeShadow ends the observation of a set.
func (a *API) removeShadow(ctx context.Context, c *call, _ *empty) (*output[PolicySet], error) {
	return a.rebind(ctx, c, func(tx deputy.Tx, set *deputy.PolicySet) error {
		_, err := tx.Unshadow(ctx, c.zone.ID, set.ID)
		return err
	})
}

// rebind changes how the set that the path names is bound. Binding changes no
// version, so a set of the platform may be bound too.
func (a *API) rebind(ctx context.Context, c *call, change func(deputy.Tx, *deputy.PolicySet) error) (*output[PolicySet], error) {
	id := deputy.ID(c.param("policy_set_id"))
	var set *deputy.PolicySet
	err := a.write(ctx, c, policySets.target(id), func(tx deputy.Tx) (err error) {
		if set, err = tx.PolicySets().Get(ctx, policySets.scope(c), id); err != nil {
			return missing(err, policySets.Name)
		}
		if !matches(c.header("If-Match"), etag(set.Revision)) {
			return deputy.Errorf(deputy.Stale, "somebody else changed it: read it again")
		}
		if err := change(tx, set); err != nil {
			return err
		}
		set, err = tx.PolicySets().Get(ctx, policySets.scope(c), id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return policySets.view(a, c, set), nil
}
