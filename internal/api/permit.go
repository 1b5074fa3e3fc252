package api

import (
	"context"
	"strings"

	"deputy/internal/deputy"
)

// callers are kinds of callers.
type callers int

const (
	nobody          callers = 0
	serviceAccounts callers = 1 << (iota - 1)
)

// rights is who may do what in their own organization; in any other, nothing
// exists for them. A service account administers its organization, and cannot
// make another. An action that is missing here cannot be mounted.
var rights = map[string]callers{
	"organizations:list":   serviceAccounts,
	"organizations:create": nobody,
	"organizations:read":   serviceAccounts,
	"organizations:update": serviceAccounts,

	"zones:list":   serviceAccounts,
	"zones:create": serviceAccounts,
	"zones:read":   serviceAccounts,
	"zones:update": serviceAccounts,
	"zones:delete": serviceAccounts,

	"applications:list":   serviceAccounts,
	"applications:create": serviceAccounts,
	"applications:read":   serviceAccounts,
	"applications:update": serviceAccounts,
	"applications:delete": serviceAccounts,

	"application_credentials:list":   serviceAccounts,
	"application_credentials:create": serviceAccounts,
	"application_credentials:read":   serviceAccounts,
	"application_credentials:update": serviceAccounts,
	"application_credentials:delete": serviceAccounts,

	"application_dependencies:list":   serviceAccounts,
	"application_dependencies:read":   serviceAccounts,
	"application_dependencies:put":    serviceAccounts,
	"application_dependencies:delete": serviceAccounts,

	"providers:list":   serviceAccounts,
	"providers:create": serviceAccounts,
	"providers:read":   serviceAccounts,
	"providers:update": serviceAccounts,
	"providers:delete": serviceAccounts,

	"resources:list":   serviceAccounts,
	"resources:create": serviceAccounts,
	"resources:read":   serviceAccounts,
	"resources:update": serviceAccounts,
	"resources:delete": serviceAccounts,

	"users:list":   serviceAccounts,
	"users:read":   serviceAccounts,
	"users:update": serviceAccounts,

	"sessions:list":   serviceAccounts,
	"sessions:read":   serviceAccounts,
	"sessions:revoke": serviceAccounts,
	"sessions:delete": serviceAccounts,

	"user_agents:list": serviceAccounts,
	"user_agents:read": serviceAccounts,

	"delegated_grants:list":   serviceAccounts,
	"delegated_grants:read":   serviceAccounts,
	"delegated_grants:revoke": serviceAccounts,
	"delegated_grants:delete": serviceAccounts,

	"secrets:list":   serviceAccounts,
	"secrets:create": serviceAccounts,
	"secrets:read":   serviceAccounts,
	"secrets:update": serviceAccounts,
	"secrets:delete": serviceAccounts,

	"roles:list":   serviceAccounts,
	"roles:create": serviceAccounts,
	"roles:read":   serviceAccounts,
	"roles:update": serviceAccounts,
	"roles:delete": serviceAccounts,

	"role_assignments:list":   serviceAccounts,
	"role_assignments:create": serviceAccounts,
	"role_assignments:read":   serviceAccounts,
	"role_assignments:delete": serviceAccounts,

	"groups:list":   serviceAccounts,
	"groups:create": serviceAccounts,
	"groups:read":   serviceAccounts,
	"groups:update": serviceAccounts,
	"groups:delete": serviceAccounts,

	"group_members:list":   serviceAccounts,
	"group_members:put":    serviceAccounts,
	"group_members:delete": serviceAccounts,

	"policy_schemas:list":   serviceAccounts,
	"policy_schemas:read":   serviceAccounts,
	"policy_schemas:update": serviceAccounts,

	"policies:list":    serviceAccounts,
	"policies:create":  serviceAccounts,
	"policies:read":    serviceAccounts,
	"policies:update":  serviceAccounts,
	"policies:archive": serviceAccounts,

	"policy_versions:list":    serviceAccounts,
	"policy_versions:create":  serviceAccounts,
	"policy_versions:read":    serviceAccounts,
	"policy_versions:archive": serviceAccounts,

	"policy_drafts:read":    serviceAccounts,
	"policy_drafts:save":    serviceAccounts,
	"policy_drafts:delete":  serviceAccounts,
	"policy_drafts:publish": serviceAccounts,

	"policy_sets:list":     serviceAccounts,
	"policy_sets:create":   serviceAccounts,
	"policy_sets:read":     serviceAccounts,
	"policy_sets:update":   serviceAccounts,
	"policy_sets:archive":  serviceAccounts,
	"policy_sets:shadow":   serviceAccounts,
	"policy_sets:unshadow": serviceAccounts,

	"policy_set_versions:list":     serviceAccounts,
	"policy_set_versions:create":   serviceAccounts,
	"policy_set_versions:read":     serviceAccounts,
	"policy_set_versions:activate": serviceAccounts,
	"policy_set_versions:archive":  serviceAccounts,

	"policy_set_drafts:read":    serviceAccounts,
	"policy_set_drafts:save":    serviceAccounts,
	"policy_set_drafts:delete":  serviceAccounts,
	"policy_set_drafts:publish": serviceAccounts,

	"policy_bundles:read":  serviceAccounts,
	"policy_bundles:apply": serviceAccounts,

	"audit_events:list": serviceAccounts,
	"audit_events:read": serviceAccounts,
}

// may reports whether the caller's kind is among those that may do the action.
func (*call) may(action string) bool { return rights[action]&serviceAccounts != 0 }

// permit decides whether the caller may do the action where the path says, and
// fills in the organization or the zone of the call. Outside the caller's
// organization nothing exists; a denial is recorded.
func (a *API) permit(ctx context.Context, c *call, action string) error {
	c.action = action
	if err := a.locate(ctx, c); err != nil {
		return err
	}
	if !c.may(action) {
		return a.refuse(ctx, c, nil, deputy.Errorf(deputy.Denied, "a service account may not do this"))
	}
	return nil
}

// locate finds the zone that the path names, else the organization.
func (a *API) locate(ctx context.Context, c *call) error {
	if id := c.param("zone_id"); id != "" {
		zone, err := a.store.Zones().Get(ctx, deputy.Scope{Organization: c.caller.Organization}, deputy.ID(id))
		c.zone = zone
		return missing(err, "zone")
	}
	organization, err := a.store.Organizations().Get(ctx, deputy.Scope{}, deputy.ID(c.caller.Organization))
	if err != nil {
		return missing(err, "organization")
	}
	if ref := c.param("organization_id"); ref != "" && ref != string(organization.ID) && ref != organization.Label {
		return deputy.Errorf(deputy.NotFound, "no such organization")
	}
	c.organization = organization
	return nil
}

// missing says which noun was not found, when that is what err is about.
func missing(err error, noun string) error {
	if deputy.KindOf(err) != deputy.NotFound {
		return err
	}
	return deputy.Error{Kind: deputy.NotFound, Message: "no such " + strings.ReplaceAll(noun, "_", " ")}.Because(err)
}

// Permissions says what the caller may do: noun → action → allowed.
type Permissions map[string]map[string]bool

// permissions returns what the caller may do in zones, or in the organization
// outside them.
func (a *API) permissions(c *call, inZone bool) Permissions {
	out := Permissions{}
	for _, o := range a.operations {
		if o.inZone() != inZone || o.Action == "" {
			continue
		}
		noun, verb, _ := strings.Cut(o.Action, ":")
		if out[noun] == nil {
			out[noun] = map[string]bool{}
		}
		out[noun][verb] = c.may(o.Action)
	}
	return out
}
