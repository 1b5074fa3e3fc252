package oauth_test

import (
	"context"
	"testing"

	"deputy/internal/deputy"
)

// role adds a role.
func (w *world) role(identifier string) *deputy.Role {
	now := w.clock.Now()
	r := &deputy.Role{
		ID: w.id(), OrganizationID: w.organization.ID, ZoneID: w.zone.ID, Slug: identifier, Identifier: identifier, Name: identifier,
		CreatedAt: now, UpdatedAt: now,
	}
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error { return tx.Roles().Insert(ctx, r) })
	return r
}

// assign gives a role to a principal and returns what takes it away again.
func (w *world) assign(r *deputy.Role, kind deputy.PrincipalType, id deputy.ID, in ...deputy.ResourceID) (undo func()) {
	a := &deputy.RoleAssignment{
		ID: w.id(), OrganizationID: w.organization.ID, ZoneID: w.zone.ID, RoleID: r.ID, PrincipalType: kind, PrincipalID: id, CreatedAt: w.clock.Now(),
	}
	if len(in) > 0 {
		a.ScopeType, a.ScopeID = deputy.ResourceScope, deputy.ID(in[0])
	}
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error { return tx.RoleAssignments().Insert(ctx, a) })
	return func() {
		w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error { return tx.RoleAssignments().Delete(ctx, w.in(), a.ID) })
	}
}

// join puts a person into a group and returns what takes them out again.
func (w *world) join(group deputy.ID, p *person) (undo func()) {
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		return tx.Memberships().Insert(ctx, &deputy.Membership{ZoneID: w.zone.ID, GroupID: group, UserID: p.User.ID, CreatedAt: w.clock.Now()})
	})
	return func() {
		w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
			in := w.in()
			in.Parent = group
			return tx.Memberships().Delete(ctx, in, deputy.ID(p.User.ID))
		})
	}
}

// TestRolesOfPeople: what a person may do by a role or a group counts from the
// very next request on, and no longer than that.
func TestRolesOfPeople(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	p := w.newPerson("zoe@example.test")
	token := w.userToken(p, w.agent.credential.Identifier, w.front.Identifier)
	approver, now := w.role("approver"), w.clock.Now()
	group := &deputy.Group{
		ID: w.id(), OrganizationID: w.organization.ID, ZoneID: w.zone.ID, Slug: "finance", Identifier: "finance", Name: "Finance", CreatedAt: now, UpdatedAt: now,
	}
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error { return tx.Groups().Insert(ctx, group) })
	w.activate(w.zone, "roles", []string{"apps", "approvers"}, map[string]string{
		"apps":      `permit (principal is Keycard::Application, action, resource);`,
		"approvers": `permit (principal in Keycard::Role::"` + string(approver.ID) + `", action, resource);`,
	})
	m := &meddling{Store: w.store}
	w.config.Store = m
	w.restart()
	allowed := func() {
		t.Helper()
		w.must(w.exchange(w.server, token, w.api.Identifier), 200, "")
	}
	denied := func() {
		t.Helper()
		w.must(w.exchange(w.server, token, w.api.Identifier), 400, "access_denied")
	}
	denied()
	undo := w.assign(approver, deputy.UserPrincipal, deputy.ID(p.User.ID))
	allowed()
	undo()
	denied()
	undo = w.assign(approver, deputy.UserPrincipal, deputy.ID(p.User.ID), w.front.ID) // for another resource
	denied()
	undo()
	undo = w.assign(approver, deputy.UserPrincipal, deputy.ID(p.User.ID), w.api.ID)
	allowed()
	undo()
	w.assign(approver, deputy.GroupPrincipal, group.ID)
	denied()
	leave := w.join(group.ID, p)
	allowed()
	// Between the decision and its commit.
	m.affiliations = leave
	denied()
	if m.affiliations != nil {
		t.Error("nobody meddled")
	}
	w.join(group.ID, p)
	allowed()
	m.affiliations = func() {
		w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error { return tx.Roles().Delete(ctx, w.in(), approver.ID) })
	}
	denied()
}

// TestRolesOfApplications: they are part of the application, so a node that has
// cached it still asks.
func TestRolesOfApplications(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	deployer := w.role("deployer")
	w.activate(w.zone, "roles", []string{"deployers"}, map[string]string{
		"deployers": `permit (principal in Keycard::Role::"` + string(deployer.ID) + `", action, resource);`,
	})
	w.config.Store = &interposed{Store: w.store} // a node that nobody tells anything
	w.restart()
	allowed := func() {
		t.Helper()
		w.must(w.credentialsFor(w.agent, w.api.Identifier), 200, "")
	}
	denied := func() {
		t.Helper()
		w.must(w.credentialsFor(w.agent, w.api.Identifier), 400, "access_denied")
	}
	denied()
	undo := w.assign(deployer, deputy.ApplicationPrincipal, deputy.ID(w.agent.ID))
	allowed()
	undo()
	denied()
	undo = w.assign(deployer, deputy.ApplicationPrincipal, deputy.ID(w.agent.ID), w.front.ID)
	denied()
	undo()
	w.assign(deployer, deputy.ApplicationPrincipal, deputy.ID(w.agent.ID), w.api.ID)
	allowed()
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error { return tx.Roles().Delete(ctx, w.in(), deployer.ID) })
	denied()
}
