package policy

import (
	"bytes"

	"deputy/internal/deputy"
	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

// Groups and roles are parents of users and applications since schema
// 2026-06-18, transitively closed: a user has the roles of its groups as its
// own. A role that is limited to a resource counts while that is asked for.

func groupUID(g *deputy.HeldGroup) types.EntityUID {
	return types.NewEntityUID(groupType, types.String(g.ID))
}

func roleUID(h deputy.HeldRole) types.EntityUID {
	return types.NewEntityUID(roleType, types.String(h.ID))
}

// inForce adds the roles that count while a resource is asked for.
func inForce(to []types.EntityUID, roles []deputy.HeldRole, wanted deputy.ResourceID) []types.EntityUID {
	for _, h := range roles {
		if h.Resource == "" || h.Resource == wanted {
			to = append(to, roleUID(h))
		}
	}
	return to
}

// parents returns the groups of the user, and the roles that count.
func (u *User) parents(wanted deputy.ResourceID) []types.EntityUID {
	all := inForce(nil, u.facts.Affiliations.Roles, wanted)
	for i := range u.facts.Affiliations.Groups {
		g := &u.facts.Affiliations.Groups[i]
		all = inForce(append(all, groupUID(g)), g.Roles, wanted)
	}
	return all
}

func (u *User) kin(uid types.EntityUID, wanted deputy.ResourceID) (types.Entity, bool) {
	for i := range u.facts.Affiliations.Groups {
		g := &u.facts.Affiliations.Groups[i]
		if groupUID(g) == uid {
			return types.Entity{
				UID: uid, Parents: types.NewEntityUIDSet(inForce(nil, g.Roles, wanted)...),
				Attributes: types.NewRecord(types.RecordMap{"identifier": types.String(g.Identifier), "name": types.String(g.Name)}),
			}, true
		}
		if e, ok := roleNamed(g.Roles, uid); ok {
			return e, true
		}
	}
	return roleNamed(u.facts.Affiliations.Roles, uid)
}

func (a *Application) kin(uid types.EntityUID, _ deputy.ResourceID) (types.Entity, bool) {
	return roleNamed(a.Roles, uid)
}

func roleNamed(roles []deputy.HeldRole, uid types.EntityUID) (types.Entity, bool) {
	for _, h := range roles {
		if roleUID(h) == uid {
			return types.Entity{UID: uid, Attributes: types.NewRecord(types.RecordMap{"identifier": types.String(h.Identifier)})}, true
		}
	}
	return types.Entity{}, false
}

// namesAffiliation reports whether a policy names a group, a role or their
// types. It can read them in no other way: no attribute holds one. The name
// may stand in a text, which costs a read and changes nothing.
func namesAffiliation(p *cedar.Policy) bool {
	text := p.MarshalCedar()
	return bytes.Contains(text, []byte(groupType)) || bytes.Contains(text, []byte(roleType))
}
