package store

import (
	"context"
	"strings"
	"time"

	"deputy/internal/deputy"
)

var roles = declare(table[deputy.Role]{
	relation: relation{
		name: "roles", noun: "role", scope: zoned,
		sorts: map[string]string{"identifier": "identifier"},
	},
	fields: func(r *deputy.Role) []field {
		return []field{
			{"zone_id", &r.ZoneID},
			{"id", &r.ID},
			{"organization_id", &r.OrganizationID},
			{"slug", &r.Slug},
			{"identifier", &r.Identifier},
			{"name", &r.Name},
			{"description", &r.Description},
			{"created_at", micros{&r.CreatedAt}},
			{"updated_at", micros{&r.UpdatedAt}},
			{"revision", &r.Revision},
		}
	},
	search: func(r *deputy.Role) []field { return []field{{"name_folded", text(fold(r.Name))}} },
	uniques: []unique[deputy.Role]{
		{field: "identifier", column: "identifier", within: zoned},
		{field: "slug", column: "slug", within: zoned, slug: true},
	},
	stamp: func(r *deputy.Role) (*int64, *time.Time) { return &r.Revision, &r.UpdatedAt },
	follow: func(ctx context.Context, x *tx, r *deputy.Role) error {
		return holdersChanged(ctx, x, r.ZoneID, "role_id", r.ID)
	},
	cascade: func(ctx context.Context, x *tx, r *deputy.Role) error {
		return unassign(ctx, x, r.ZoneID, "role_id = $2", string(r.ID))
	},
})

// Applications are cached together with their roles, so every change of an
// assignment is a change of the application that has it. Those of people are
// read when they are needed.
var roleAssignments = declare(table[deputy.RoleAssignment]{
	relation: relation{
		name: "role_assignments", noun: "role assignment", scope: zoned,
		computed: map[string]string{
			"role_identifier": "COALESCE((SELECT r.identifier FROM roles r WHERE r.zone_id = role_assignments.zone_id AND r.id = role_assignments.role_id), '')",
		},
	},
	fields: func(a *deputy.RoleAssignment) []field {
		return []field{
			{"zone_id", &a.ZoneID},
			{"id", &a.ID},
			{"organization_id", &a.OrganizationID},
			{"role_id", &a.RoleID},
			{"role_identifier", &a.RoleIdentifier},
			{"principal_type", &a.PrincipalType},
			{"principal_id", &a.PrincipalID},
			{"scope_type", &a.ScopeType},
			{"scope_id", &a.ScopeID},
			{"created_at", micros{&a.CreatedAt}},
		}
	},
	search: func(a *deputy.RoleAssignment) []field {
		once := strings.Join([]string{string(a.RoleID), string(a.PrincipalType), string(a.PrincipalID), string(a.ScopeType), string(a.ScopeID)}, " ")
		return []field{{"assignment_key", text(key(once))}}
	},
	uniques: []unique[deputy.RoleAssignment]{{field: "role_id", column: "assignment_key", within: zoned}},
	stamp:   func(*deputy.RoleAssignment) (*int64, *time.Time) { return nil, nil },
	after:   assigned,
	cascade: assigned,
})

// assigned notes that a principal has a role, or has it no longer.
func assigned(ctx context.Context, x *tx, a *deputy.RoleAssignment) error {
	if a.PrincipalType != deputy.ApplicationPrincipal {
		return nil
	}
	return x.changed(ctx, change{a.ZoneID, deputy.ChangedApplication, string(a.PrincipalID)})
}

// holdersChanged notes a change of every application with an assignment that
// a column ties to an id.
func holdersChanged(ctx context.Context, x *tx, zone deputy.ZoneID, field string, id deputy.ID) error {
	holders, err := column[string](ctx, x, "SELECT principal_id FROM role_assignments WHERE zone_id = $1 AND "+field+
		" = $2 AND principal_type = 'application' ORDER BY id", string(zone), string(id))
	if err != nil {
		return err
	}
	return x.changedApplications(ctx, zone, holders)
}

// unassign removes assignments.
func unassign(ctx context.Context, x *tx, zone deputy.ZoneID, where string, args ...any) error {
	var holders []string
	err := rows(ctx, x, "DELETE FROM role_assignments WHERE zone_id = $1 AND "+where+" RETURNING principal_type, principal_id",
		append([]any{string(zone)}, args...), func(scan func(...any) error) error {
			var kind deputy.PrincipalType
			var id string
			err := scan(&kind, &id)
			if kind == deputy.ApplicationPrincipal {
				holders = append(holders, id)
			}
			return err
		})
	if err != nil {
		return err
	}
	return x.changedApplications(ctx, zone, holders)
}

// unassignPrincipal removes what a principal has.
func unassignPrincipal(ctx context.Context, x *tx, zone deputy.ZoneID, kind deputy.PrincipalType, id deputy.ID) error {
	return unassign(ctx, x, zone, "principal_id = $2 AND principal_type = $3", string(id), string(kind))
}

var groups = declare(table[deputy.Group]{
	relation: relation{
		name: "user_groups", noun: "group", scope: zoned,
		sorts: map[string]string{"identifier": "identifier"},
	},
	fields: func(g *deputy.Group) []field {
		return []field{
			{"zone_id", &g.ZoneID},
			{"id", &g.ID},
			{"organization_id", &g.OrganizationID},
			{"slug", &g.Slug},
			{"identifier", &g.Identifier},
			{"name", &g.Name},
			{"description", &g.Description},
			{"created_at", micros{&g.CreatedAt}},
			{"updated_at", micros{&g.UpdatedAt}},
			{"revision", &g.Revision},
		}
	},
	search: func(g *deputy.Group) []field { return []field{{"name_folded", text(fold(g.Name))}} },
	uniques: []unique[deputy.Group]{
		{field: "identifier", column: "identifier", within: zoned},
		{field: "slug", column: "slug", within: zoned, slug: true},
	},
	stamp: func(g *deputy.Group) (*int64, *time.Time) { return &g.Revision, &g.UpdatedAt },
	cascade: func(ctx context.Context, x *tx, g *deputy.Group) error {
		if _, err := x.exec(ctx, "DELETE FROM group_members WHERE zone_id = $1 AND group_id = $2", string(g.ZoneID), string(g.ID)); err != nil {
			return err
		}
		return unassignPrincipal(ctx, x, g.ZoneID, deputy.GroupPrincipal, g.ID)
	},
})

var memberships = declare(table[deputy.Membership]{
	relation: relation{
		name: "group_members", noun: "member of the group", scope: zoned, parent: "group_id", id: "user_id",
		replace: "(zone_id, group_id, user_id) DO UPDATE SET user_id = excluded.user_id", // as it is
	},
	fields: func(m *deputy.Membership) []field {
		return []field{
			{"zone_id", &m.ZoneID},
			{"group_id", &m.GroupID},
			{"user_id", &m.UserID},
			{"created_at", micros{&m.CreatedAt}},
		}
	},
	stamp: func(*deputy.Membership) (*int64, *time.Time) { return nil, nil },
})

// held reads the roles that a principal has by itself.
func held(ctx context.Context, q querier, zone deputy.ZoneID, kind deputy.PrincipalType, id deputy.ID) (out []deputy.HeldRole, err error) {
	err = rows(ctx, q, "SELECT r.id, r.identifier, a.scope_id FROM role_assignments a JOIN roles r ON r.zone_id = a.zone_id AND r.id = a.role_id"+
		" WHERE a.zone_id = $1 AND a.principal_id = $2 AND a.principal_type = $3 ORDER BY a.id",
		[]any{string(zone), string(id), string(kind)}, func(scan func(...any) error) error {
			var h deputy.HeldRole
			err := scan(&h.ID, &h.Identifier, &h.Resource)
			out = append(out, h)
			return err
		})
	return out, err
}

// affiliations reads the groups and roles of a user.
func affiliations(ctx context.Context, q querier, zone deputy.ZoneID, user deputy.UserID) (*deputy.Affiliations, error) {
	out := &deputy.Affiliations{}
	err := rows(ctx, q, "SELECT g.id, g.identifier, g.name FROM group_members m JOIN user_groups g ON g.zone_id = m.zone_id AND g.id = m.group_id"+
		" WHERE m.zone_id = $1 AND m.user_id = $2 ORDER BY g.id", []any{string(zone), string(user)}, func(scan func(...any) error) error {
		var g deputy.HeldGroup
		err := scan(&g.ID, &g.Identifier, &g.Name)
		out.Groups = append(out.Groups, g)
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range out.Groups {
		g := &out.Groups[i]
		if g.Roles, err = held(ctx, q, zone, deputy.GroupPrincipal, g.ID); err != nil {
			return nil, err
		}
	}
	out.Roles, err = held(ctx, q, zone, deputy.UserPrincipal, deputy.ID(user))
	return out, err
}
