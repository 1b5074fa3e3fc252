package api

import (
	"context"
	"slices"
	"strings"

	"deputy/internal/deputy"
)

// capacities are what somebody may be who acts, as a set.
type capacities uint16

// The capacities. A service account administers its organization; a person has a
// role in it, and may have one in a zone.
const (
	serviceAccount capacities = 1 << iota
	orgAdmin
	orgViewer
	orgMember
	zoneManager
	zoneViewer
	// anywhere marks what persons do for themselves: also in those of their
	// organizations that the bearer is not of.
	anywhere
)

// Those who usually may do something together.
const (
	nobody         capacities = 0
	admins                    = serviceAccount | orgAdmin
	orgReaders                = admins | orgViewer
	everybody                 = orgReaders | orgMember
	persons                   = orgAdmin | orgViewer | orgMember
	zoneWriters               = admins | zoneManager
	zoneReaders               = zoneWriters | zoneViewer
	catalogReaders            = zoneReaders | orgViewer
)

// rights is who may do what in their own organization; in any other, nothing
// exists for them. It is the only place that says so: permit asks it, and
// permissions shows it. An action that is missing here cannot be mounted.
var rights = map[string]capacities{
	"organizations:list":   everybody,
	"organizations:create": orgAdmin,
	"organizations:read":   everybody,
	"organizations:update": admins,
	"organizations:token":  persons | anywhere,

	"organization_identities:list": orgReaders,
	"organization_roles:list":      everybody,

	"organization_users:list":   orgReaders,
	"organization_users:read":   orgReaders,
	"organization_users:update": admins,
	"organization_users:delete": admins,

	"invitations:list":   orgReaders,
	"invitations:create": admins,
	"invitations:revoke": admins,
	"invitations:accept": persons,

	"service_accounts:list":   orgReaders,
	"service_accounts:create": admins,
	"service_accounts:read":   orgReaders,
	"service_accounts:update": admins,
	"service_accounts:delete": admins,

	"service_account_credentials:list":   orgReaders,
	"service_account_credentials:create": admins,
	"service_account_credentials:read":   orgReaders,
	"service_account_credentials:update": admins,
	"service_account_credentials:delete": admins,

	"sso_connections:read":   orgReaders,
	"sso_connections:create": admins,
	"sso_connections:update": admins,
	"sso_connections:delete": admins,

	"key_policies:read": orgReaders,

	"zones:list":   everybody,
	"zones:create": admins,
	"zones:read":   zoneReaders,
	"zones:update": zoneWriters,
	"zones:delete": zoneWriters,

	"zone_members:list":   zoneReaders,
	"zone_members:create": admins,
	"zone_members:read":   zoneReaders,
	"zone_members:update": admins,
	"zone_members:delete": admins,

	"applications:list":   zoneReaders,
	"applications:create": zoneWriters,
	"applications:read":   zoneReaders,
	"applications:update": zoneWriters,
	"applications:delete": zoneWriters,

	"application_credentials:list":   zoneReaders,
	"application_credentials:create": zoneWriters,
	"application_credentials:read":   zoneReaders,
	"application_credentials:update": zoneWriters,
	"application_credentials:delete": zoneWriters,

	"application_dependencies:list":   zoneReaders,
	"application_dependencies:read":   zoneReaders,
	"application_dependencies:put":    zoneWriters,
	"application_dependencies:delete": zoneWriters,

	"providers:list":   zoneReaders,
	"providers:create": zoneWriters,
	"providers:read":   zoneReaders,
	"providers:update": zoneWriters,
	"providers:delete": zoneWriters,

	"resources:list":   zoneReaders,
	"resources:create": zoneWriters,
	"resources:read":   zoneReaders,
	"resources:update": zoneWriters,
	"resources:delete": zoneWriters,

	"policies:list":    zoneReaders,
	"policies:create":  zoneWriters,
	"policies:read":    zoneReaders,
	"policies:update":  zoneWriters,
	"policies:archive": zoneWriters,

	"policy_versions:list":    zoneReaders,
	"policy_versions:create":  zoneWriters,
	"policy_versions:read":    zoneReaders,
	"policy_versions:archive": zoneWriters,

	"policy_sets:list":     zoneReaders,
	"policy_sets:create":   zoneWriters,
	"policy_sets:read":     zoneReaders,
	"policy_sets:update":   zoneWriters,
	"policy_sets:archive":  zoneWriters,
	"policy_sets:shadow":   zoneWriters,
	"policy_sets:unshadow": zoneWriters,

	"policy_set_versions:list":     zoneReaders,
	"policy_set_versions:create":   zoneWriters,
	"policy_set_versions:read":     zoneReaders,
	"policy_set_versions:activate": zoneWriters,
	"policy_set_versions:archive":  zoneWriters,
	"policy_set_versions:test":     zoneReaders,
	"policy_set_versions:replay":   zoneReaders,

	"policy_schemas:list":   zoneReaders,
	"policy_schemas:read":   zoneReaders,
	"policy_schemas:update": zoneWriters,

	"policy_drafts:read":    zoneReaders,
	"policy_drafts:save":    zoneWriters,
	"policy_drafts:delete":  zoneWriters,
	"policy_drafts:publish": zoneWriters,

	"policy_set_drafts:read":    zoneReaders,
	"policy_set_drafts:save":    zoneWriters,
	"policy_set_drafts:delete":  zoneWriters,
	"policy_set_drafts:publish": zoneWriters,
	"policy_set_drafts:replay":  zoneReaders,

	"policy_evaluations:list": zoneReaders,

	"policy_bundles:read":  zoneReaders,
	"policy_bundles:apply": zoneWriters,

	"users:list":   zoneReaders,
	"users:read":   zoneReaders,
	"users:update": zoneWriters,
	"users:delete": zoneWriters,

	"zone_invitations:list":   zoneReaders,
	"zone_invitations:create": zoneWriters,
	"zone_invitations:read":   zoneReaders,
	"zone_invitations:delete": zoneWriters,

	"sessions:list":   zoneReaders,
	"sessions:read":   zoneReaders,
	"sessions:revoke": zoneWriters,
	"sessions:delete": zoneWriters,

	"user_agents:list": zoneReaders,
	"user_agents:read": zoneReaders,

	"delegated_grants:list":   zoneReaders,
	"delegated_grants:read":   zoneReaders,
	"delegated_grants:revoke": zoneWriters,
	"delegated_grants:delete": zoneWriters,

	"secrets:list":   zoneReaders,
	"secrets:create": zoneWriters,
	"secrets:read":   zoneWriters,
	"secrets:update": zoneWriters,
	"secrets:delete": zoneWriters,

	"roles:list":   zoneReaders,
	"roles:create": zoneWriters,
	"roles:read":   zoneReaders,
	"roles:update": zoneWriters,
	"roles:delete": zoneWriters,

	"role_assignments:list":   zoneReaders,
	"role_assignments:create": zoneWriters,
	"role_assignments:read":   zoneReaders,
	"role_assignments:delete": zoneWriters,

	"groups:list":   zoneReaders,
	"groups:create": zoneWriters,
	"groups:read":   zoneReaders,
	"groups:update": zoneWriters,
	"groups:delete": zoneWriters,

	"group_members:list":   zoneReaders,
	"group_members:put":    zoneWriters,
	"group_members:delete": zoneWriters,

	"packages:list":            catalogReaders,
	"packages:create":          zoneWriters,
	"packages:read":            catalogReaders,
	"packages:update":          zoneWriters,
	"packages:publish":         zoneWriters,
	"packages:archive":         zoneWriters,
	"packages:release":         zoneWriters,
	"package_drafts:read":      zoneWriters,
	"package_drafts:delete":    zoneWriters,
	"package_drafts:validate":  zoneWriters,
	"package_versions:list":    catalogReaders,
	"package_versions:read":    catalogReaders,
	"package_versions:archive": zoneWriters,
	"package_kinds:list":       catalogReaders,
	"package_kinds:read":       catalogReaders,
	"installs:list":            zoneReaders,
	"installs:create":          zoneWriters,
	"installs:read":            zoneReaders,
	"installs:delete":          zoneWriters,
	"catalog_tasks:list":       zoneReaders,
	"catalog_tasks:read":       zoneReaders,

	"audit_events:list": zoneReaders,
	"audit_events:read": zoneReaders,
}

// roleNames names the roles that a caller can have.
var roleNames = []struct {
	name string
	role capacities
}{
	{"service_account", serviceAccount},
	{string(deputy.OrganizationAdmin), orgAdmin},
	{string(deputy.OrganizationViewer), orgViewer},
	{string(deputy.OrganizationMember), orgMember},
	{string(deputy.ZoneManager), zoneManager},
	{string(deputy.ZoneViewer), zoneViewer},
}

// roleNamed returns the role with the name; nobody for no name.
func roleNamed[T ~string](name T) capacities {
	for _, r := range roleNames {
		if r.name == string(name) {
			return r.role
		}
	}
	return nobody
}

// names returns the names of the roles in the set.
func (r capacities) names() (out []string) {
	for _, known := range roleNames {
		if r&known.role != 0 {
			out = append(out, known.name)
		}
	}
	return out
}

// may reports whether somebody in these roles may do the action.
func (r capacities) may(action string) bool { return rights[action]&r&^anywhere != 0 }

// rolesOf returns what a caller is in their own organization.
func rolesOf(caller *deputy.Caller) capacities {
	if caller.Person() {
		return roleNamed(caller.Role)
	}
	return serviceAccount
}

// permit decides whether the caller may do the action where the path says, and
// fills in the organization or the zone of the call, and the caller's roles
// there. Outside the caller's organization, and for a person outside the zones
// they have a role in, nothing exists; a denial is recorded.
func (a *API) permit(ctx context.Context, c *call, action string) error {
	c.action = action
	if err := a.locate(ctx, c); err != nil {
		return err
	}
	if c.delegate == nil && !c.roles.may(action) {
		return a.refuse(ctx, c, nil, denied(c.caller))
	}
	return nil
}

func denied(caller *deputy.Caller) error {
	if caller.Person() {
		return deputy.Errorf(deputy.Denied, "your role does not allow this")
	}
	return deputy.Errorf(deputy.Denied, "a service account may not do this")
}

// locate finds the zone that the path names, else the organization.
func (a *API) locate(ctx context.Context, c *call) error {
	c.roles = rolesOf(c.caller)
	if id := c.param("zone_id"); id != "" {
		return a.locateZone(ctx, c, deputy.ID(id))
	}
	organization, err := a.store.Organizations().Get(ctx, deputy.Scope{}, deputy.ID(c.caller.Organization))
	if err != nil {
		return missing(err, "organization")
	}
	c.organization = organization
	ref := c.param("organization_id")
	if ref == "" || ref == string(organization.ID) || ref == organization.Label {
		return nil
	}
	if rights[c.action]&anywhere != 0 && c.caller.Person() {
		return a.locateElsewhere(ctx, c, ref)
	}
	return deputy.Errorf(deputy.NotFound, "no such organization")
}

// locateZone finds a zone of the caller's organization, and what a person is in
// it.
func (a *API) locateZone(ctx context.Context, c *call, id deputy.ID) error {
	zone, err := a.store.Zones().Get(ctx, deputy.Scope{Organization: c.caller.Organization}, id)
	if err != nil {
		return missing(err, "zone")
	}
	role, err := zoneRole(ctx, a.store.ZoneMembers(), c.caller, zone.ID)
	if err != nil {
		return missing(err, "zone")
	}
	c.zone, c.roles = zone, c.roles|role
	return nil
}

// zoneRole returns what the caller is in a zone beside what they are in its
// organization, from the store or inside a transaction. It is NotFound for a
// person who is nothing in either.
func zoneRole(ctx context.Context, members deputy.Reads[deputy.ZoneMember], caller *deputy.Caller, zone deputy.ZoneID) (capacities, error) {
	if rolesOf(caller)&admins != 0 {
		return nobody, nil
	}
	member, err := members.Get(ctx, deputy.Scope{Zone: zone}, caller.Account)
	if err != nil {
		return nobody, err
	}
	return roleNamed(member.Role), nil
}

// locateElsewhere finds another organization that the person is in.
func (a *API) locateElsewhere(ctx context.Context, c *call, ref string) error {
	organization, err := a.store.Organizations().Get(ctx, deputy.Scope{}, deputy.ID(ref))
	if deputy.KindOf(err) == deputy.NotFound {
		organization, err = a.store.Organizations().Find(ctx, deputy.Scope{}, "label", ref)
	}
	if err != nil {
		return missing(err, "organization")
	}
	user, err := a.store.OrganizationUsers().Get(ctx, deputy.Scope{Organization: organization.ID}, c.caller.Account)
	if err != nil {
		return missing(err, "organization")
	}
	c.organization, c.roles = organization, roleNamed(user.Role)
	return nil
}

// missing says which noun was not found, when that is what err is about.
func missing(err error, noun string) error {
	if deputy.KindOf(err) != deputy.NotFound {
		return err
	}
	return deputy.Error{Kind: deputy.NotFound, Message: "no such " + strings.ReplaceAll(noun, "_", " ")}.Because(err)
}

// organizationPrefix tells nouns of an organization from those of a zone with
// the same name. Permissions are of one or the other and leave it out.
const organizationPrefix = "organization_"

// Permissions says what the caller may do: noun → action → allowed.
type Permissions map[string]map[string]bool

// permissions returns what somebody in these roles may do in a zone, or in the
// organization outside zones; of some nouns when they are given, else of all.
func (a *API) permissions(r capacities, inZone bool, nouns ...string) Permissions {
	out := Permissions{}
	for _, o := range a.operations {
		noun, verb, _ := strings.Cut(o.Action, ":")
		noun = strings.TrimPrefix(noun, organizationPrefix)
		if o.inZone() != inZone || verb == "" || len(nouns) > 0 && !slices.Contains(nouns, noun) {
			continue
		}
		if out[noun] == nil {
			out[noun] = map[string]bool{}
		}
		out[noun][verb] = r.may(o.Action)
	}
	return out
}

// allowed returns what the caller may do with a noun of the organization, when
// that was asked for.
func (a *API) allowed(c *call, noun string) Permissions {
	if !c.expand["permissions"] {
		return nil
	}
	return a.permissions(c.roles, false, noun)
}
