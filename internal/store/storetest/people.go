package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"deputy/internal/deputy"
)

// people are the cases about who acts in a zone and what they were given.
var people = map[string]func(*world){
	"people are listed by authentication":              peopleByAuthentication,
	"user agents, secrets, roles and groups read back": tripPeople,
	"an account and a local address are one user's":    federated,
	"a revoked session takes those below along":        revokedSession,
	"whoever is disabled is signed out":                disabledUser,
	"deleting ends sessions and grants":                deleteBehindSessions,
	"deleting takes roles and secrets along":           deleteBehindRoles,
	"a person who is gone is forgotten":                forgottenPerson,
	"what a person has withdrawn":                      withdrawn,
	"two who find no grant make one":                   oneGrant,
	"roles of applications are part of the client":     clientRoles,
	"affiliations":                              affiliations,
	"a role is assigned once":                   assignedOnce,
	"members are added once":                    memberOnce,
	"consents of a person":                      consentsOfPerson,
	"sessions are counted by their user":        tally,
	"pages of sessions make up their list":      sessionPages,
	"the state of a session counts at the time": states,
	"what has run out is written down":          expire,
	"the newest secret of an entity":            secretOfEntity,
}

func (w *world) userAgent(name string) *deputy.UserAgent {
	now := w.tick()
	return &deputy.UserAgent{
		ID: w.newID(), OrganizationID: w.org.ID, ZoneID: w.zone.ID, Slug: string(w.newID()), Name: name, Identifier: "ua:" + name,
		AuthMethod: "none", LastUsedAt: now, CreatedAt: now, UpdatedAt: now,
	}
}

func (w *world) secret(entity deputy.ID) *deputy.VaultSecret {
	now := w.tick()
	return &deputy.VaultSecret{
		ID: w.newID(), ZoneID: w.zone.ID, EntityID: entity, Name: "key", Type: deputy.TokenSecret, Sealed: []byte{1, 0, 255}, Version: 1,
		CreatedAt: now, UpdatedAt: now,
	}
}

func (w *world) role(identifier string) *deputy.Role {
	now := w.tick()
	return &deputy.Role{
		ID: w.newID(), OrganizationID: w.org.ID, ZoneID: w.zone.ID, Slug: string(w.newID()), Identifier: identifier, Name: identifier,
		CreatedAt: now, UpdatedAt: now,
	}
}

func (w *world) group(identifier string) *deputy.Group {
	now := w.tick()
	return &deputy.Group{
		ID: w.newID(), OrganizationID: w.org.ID, ZoneID: w.zone.ID, Slug: string(w.newID()), Identifier: identifier, Name: identifier,
		CreatedAt: now, UpdatedAt: now,
	}
}

// assign returns an assignment, for one resource if there is one.
func (w *world) assign(r *deputy.Role, kind deputy.PrincipalType, id deputy.ID, in ...deputy.ResourceID) *deputy.RoleAssignment {
	a := &deputy.RoleAssignment{
		ID: w.newID(), OrganizationID: w.org.ID, ZoneID: w.zone.ID, RoleID: r.ID, PrincipalType: kind, PrincipalID: id, CreatedAt: w.tick(),
	}
	if len(in) > 0 {
		a.ScopeType, a.ScopeID = deputy.ResourceScope, deputy.ID(in[0])
	}
	return a
}

func (w *world) member(g *deputy.Group, u *deputy.User) *deputy.Membership {
	return &deputy.Membership{ZoneID: w.zone.ID, GroupID: g.ID, UserID: u.ID, CreatedAt: w.tick()}
}

// put inserts entities of one kind.
func put[T any](w *world, in func(deputy.Tx) deputy.Writes[T], all ...*T) {
	w.Helper()
	for _, e := range all {
		w.insert(func(t deputy.Tx) error { return in(t).Insert(w.ctx, e) })
	}
}

// drop deletes an entity of the zone.
func drop[T any](w *world, in func(deputy.Tx) deputy.Writes[T], id deputy.ID) {
	w.Helper()
	w.must(w.write(func(t deputy.Tx) error { return in(t).Delete(w.ctx, w.in, id) }))
}

func forgottenPerson(w *world) {
	u, other := w.user("u"), w.user("other")
	u.KeyID, other.KeyID = w.dataKey(deputy.ID(u.ID)), w.dataKey("a zone")
	put(w, deputy.Tx.Users, u, other)
	drop(w, deputy.Tx.Users, deputy.ID(u.ID))
	_, err := w.DataKey(w.ctx, u.KeyID)
	w.is(err, deputy.NotFound)
	drop(w, deputy.Tx.Users, deputy.ID(other.ID))
	_, err = w.DataKey(w.ctx, other.KeyID) // nobody's own
	w.must(err)
}

// withdrawn follows a person's grants for one resource: the active one counts,
// else the newest.
func withdrawn(w *world) {
	u, r, another := w.user("u"), w.resource("r"), w.resource("another")
	put(w, deputy.Tx.Users, u)
	put(w, deputy.Tx.Resources, r, another)
	is := func(want bool) {
		w.Helper()
		got, err := deputy.Withdrawn(w.ctx, w, w.zone.ID, u.ID, "app", r.ID)
		var inside bool
		w.must(err)
		w.must(w.write(func(t deputy.Tx) (err error) {
			inside, err = deputy.Withdrawn(w.ctx, t, w.zone.ID, u.ID, "app", r.ID)
			return err
		}))
		if got != want || inside != want {
			w.Errorf("withdrawn is %t, inside %t, want %t", got, inside, want)
		}
	}
	end := func(g *deputy.Grant, as deputy.Status) {
		w.must(w.write(func(t deputy.Tx) error {
			_, err := t.Grants().Update(w.ctx, w.in, g.ID, func(g *deputy.Grant) error {
				g.Status = as
				return nil
			})
			return err
		}))
	}
	grant := func() *deputy.Grant {
		g := w.grant(u, r)
		put(w, deputy.Tx.Grants, g)
		return g
	}
	is(false)
	first := grant()
	is(false)
	end(first, deputy.Revoked)
	is(true)
	second := grant()
	is(false)
	end(second, deputy.Expired)
	is(false)
	end(grant(), deputy.Revoked)
	is(true)
	put(w, deputy.Tx.Grants, w.grant(u, another))
	is(true)
}

// oneGrant: whoever holds the person's row reads what others have committed.
func oneGrant(w *world) {
	u, r := w.user("u"), w.resource("r")
	put(w, deputy.Tx.Users, u)
	var wait sync.WaitGroup
	for range 16 {
		g := w.grant(u, r)
		event := w.event()
		wait.Go(func() {
			err := w.Write(w.ctx, event, func(t deputy.Tx) error {
				if _, err := t.Users().Update(w.ctx, w.in, deputy.ID(u.ID), func(*deputy.User) error { return nil }); err != nil {
					return err
				}
				all, err := t.Grants().List(w.ctx, w.in, deputy.Query{All: true, Where: []deputy.Filter{{Fields: []string{"user_id"}, Values: []string{string(u.ID)}}}})
				if err != nil || len(all.Items) > 0 {
					return err
				}
				return t.Grants().Insert(w.ctx, g)
			})
			if err != nil {
				w.Error(err)
			}
		})
	}
	wait.Wait()
	all := sure(w.Grants().List(w.ctx, w.in, deputy.Query{All: true}))
	if len(all.Items) != 1 {
		w.Errorf("%d grants", len(all.Items))
	}
}

func tripPeople(w *world) {
	ua := w.userAgent("Zed")
	ua.RedirectURIs, ua.GrantTypes, ua.AuthMethod = []string{"http://127.0.0.1/cb", "app:/cb"}, []string{"authorization_code"}, "private_key_jwt"
	ua.JWKS, ua.JWKSURI, ua.LogoURI, ua.SoftwareID, ua.SoftwareVersion = []byte(`{"keys":[]}`), "https://k", "https://l", "zed", "1.2"
	ua.Metadata = []byte(`{"client_uri": "https://zed.example"}`)
	trip(w, asInserts(deputy.Tx.UserAgents), w.UserAgents(), w.in, ua.ID, ua)
	s := w.secret("entity")
	s.Description, s.Metadata, s.Version = ref("d"), []byte(`{"a": [1]}`), 7
	trip(w, asInserts(deputy.Tx.Secrets), w.Secrets(), w.in, s.ID, s)
	r, g, u := w.role("approver"), w.group("finance"), w.user("u")
	r.Description, g.Description = ref("may approve"), ref("")
	trip(w, asInserts(deputy.Tx.Roles), w.Roles(), w.in, r.ID, r)
	trip(w, asInserts(deputy.Tx.Groups), w.Groups(), w.in, g.ID, g)
	a := w.assign(r, deputy.GroupPrincipal, g.ID, "r")
	a.RoleIdentifier = "approver"
	trip(w, asInserts(deputy.Tx.RoleAssignments), w.RoleAssignments(), w.in, a.ID, a)
	m := w.member(g, u)
	trip(w, asInserts(deputy.Tx.Memberships), w.Memberships(), w.below(g.ID), deputy.ID(u.ID), m)
	for _, insert := range []func(deputy.Tx) error{
		func(t deputy.Tx) error { return t.UserAgents().Insert(w.ctx, renewed(w, ua)) },
		func(t deputy.Tx) error { x := w.role("approver"); return t.Roles().Insert(w.ctx, x) },
		func(t deputy.Tx) error { x := w.group("finance"); return t.Groups().Insert(w.ctx, x) },
	} {
		w.blames(w.write(insert), deputy.Conflict, "identifier")
	}
}

func renewed(w *world, ua *deputy.UserAgent) *deputy.UserAgent {
	twin := *ua
	twin.ID = w.newID()
	return &twin
}

func federated(w *world) {
	linked, local := w.user("federated"), w.user("local")
	linked.Issuer, linked.Subject, linked.Email = ref("https://idp.example"), ref("Sub"), local.Email
	put(w, deputy.Tx.Users, linked, local)
	w.same(linked.ID, sure(w.Users().Find(w.ctx, w.in, "account", deputy.FederatedAccount("https://idp.example", "Sub"))).ID)
	w.same(local.ID, sure(w.Users().Find(w.ctx, w.in, "email", "LOCAL@example.com")).ID)
	for _, account := range []string{deputy.FederatedAccount("https://idp.example", "sub"), ""} {
		_, err := w.Users().Find(w.ctx, w.in, "account", account)
		w.is(err, deputy.NotFound)
	}
	twin, namesake, other := w.user("twin"), w.user("namesake"), w.user("other")
	twin.Issuer, twin.Subject = linked.Issuer, linked.Subject
	namesake.Email = "Local@example.com"
	other.Issuer, other.Subject, other.Email = linked.Issuer, ref("other"), local.Email
	w.blames(w.write(func(t deputy.Tx) error { return t.Users().Insert(w.ctx, twin) }), deputy.Conflict, "account")
	w.blames(w.write(func(t deputy.Tx) error { return t.Users().Insert(w.ctx, namesake) }), deputy.Conflict, "email")
	put(w, deputy.Tx.Users, other) // an address of another account
}

// family is a web session, a child at an application, a child of that, and one
// of somebody else.
func family(w *world, u *deputy.User, app deputy.ApplicationID) (root, child, grandchild, other *deputy.Session) {
	root, child, grandchild, other = w.session(deputy.UserSession), w.session(deputy.UserSession), w.session(deputy.UserSession), w.session(deputy.UserSession)
	for _, s := range []*deputy.Session{root, child, grandchild} {
		s.UserID = &u.ID
	}
	child.ParentID, grandchild.ParentID = &root.ID, &child.ID
	child.ApplicationID, grandchild.ApplicationID = &app, ref(deputy.ApplicationID("another"))
	put(w, deputy.Tx.Sessions, root, child, grandchild, other)
	return root, child, grandchild, other
}

// statuses returns the statuses of sessions.
func (w *world) statuses(all ...*deputy.Session) (out []deputy.Status) {
	w.Helper()
	for _, s := range all {
		out = append(out, sure(w.Sessions().Get(w.ctx, w.in, deputy.ID(s.ID))).Status)
	}
	return out
}

func revokedSession(w *world) {
	u := w.user("u")
	put(w, deputy.Tx.Users, u)
	root, child, grandchild, other := family(w, u, "app")
	w.same([]int{0, 1, 2}, []int{root.Depth, child.Depth, grandchild.Depth})
	revoke := func(s *deputy.Session) {
		w.must(w.write(func(t deputy.Tx) error {
			_, err := t.Sessions().Update(w.ctx, w.in, deputy.ID(s.ID), func(s *deputy.Session) error { s.Status = deputy.Revoked; return nil })
			return err
		}))
	}
	revoke(child)
	w.same([]deputy.Status{deputy.Active, deputy.Revoked, deputy.Revoked, deputy.Active}, w.statuses(root, child, grandchild, other))
	root, child, grandchild, _ = family(w, u, "app")
	revoke(root)
	w.same([]deputy.Status{deputy.Revoked, deputy.Revoked, deputy.Revoked, deputy.Active}, w.statuses(root, child, grandchild, other))
	if got := sure(w.Sessions().Get(w.ctx, w.in, deputy.ID(grandchild.ID))); got.Revision != 2 || !got.UpdatedAt.After(grandchild.UpdatedAt) {
		w.Errorf("the end of a session below left it as %+v", got)
	}
}

func disabledUser(w *world) {
	u := w.user("u")
	put(w, deputy.Tx.Users, u)
	root, child, grandchild, other := family(w, u, "app")
	w.must(w.write(func(t deputy.Tx) error {
		_, err := t.Users().Update(w.ctx, w.in, deputy.ID(u.ID), func(u *deputy.User) error { u.Status = deputy.UserDisabled; return nil })
		return err
	}))
	w.same([]deputy.Status{deputy.Revoked, deputy.Revoked, deputy.Revoked, deputy.Active}, w.statuses(root, child, grandchild, other))
}

func secretOfEntity(w *world) {
	entity := w.newID()
	older, newer, other := w.secret(entity), w.secret(entity), w.secret(w.newID())
	put(w, deputy.Tx.Secrets, newer, older, other)
	w.same(newer, sure(w.Secret(w.ctx, w.zone.ID, entity)))
	w.insert(func(t deputy.Tx) error {
		w.same(newer, sure(t.Secret(w.ctx, w.zone.ID, entity)))
		if err := t.Secrets().Delete(w.ctx, w.in, newer.ID); err != nil {
			return err
		}
		w.same(older, sure(t.Secret(w.ctx, w.zone.ID, entity))) // a transaction sees its own
		return nil
	})
	w.same(older, sure(w.Secret(w.ctx, w.zone.ID, entity)))
	for _, zone := range []deputy.ZoneID{w.zone.ID, "elsewhere"} {
		if _, err := w.Secret(w.ctx, zone, deputy.ID(w.zone.ID)); deputy.KindOf(err) != deputy.NotFound {
			w.Errorf("the secret of something else in %s: %v", zone, err)
		}
	}
	if _, err := w.Secret(w.ctx, "elsewhere", entity); deputy.KindOf(err) != deputy.NotFound {
		w.Errorf("the secret in another zone: %v", err)
	}
}

func deleteBehindSessions(w *world) {
	u, app, p, r, ua := w.user("u"), w.application("app"), w.provider("issuer"), w.resource("api"), w.userAgent("zed")
	put(w, deputy.Tx.Users, u)
	put(w, deputy.Tx.Applications, app)
	put(w, deputy.Tx.Providers, p)
	put(w, deputy.Tx.Resources, r)
	put(w, deputy.Tx.UserAgents, ua)
	consented := func(client deputy.ID) bool {
		_, err := w.Consent(w.ctx, w.zone.ID, u.ID, client, r.ID)
		return err == nil
	}
	for _, client := range []deputy.ID{deputy.ID(app.ID), ua.ID} {
		w.insert(func(t deputy.Tx) error {
			return t.PutConsent(w.ctx, &deputy.ConsentRecord{ZoneID: w.zone.ID, UserID: u.ID, ClientID: client, ResourceID: r.ID, CreatedAt: w.tick()})
		})
	}

	root, child, grandchild, other := family(w, u, app.ID)
	drop(w, deputy.Tx.Applications, deputy.ID(app.ID))
	w.same([]deputy.Status{deputy.Active, deputy.Revoked, deputy.Revoked, deputy.Active}, w.statuses(root, child, grandchild, other))
	w.same([]bool{false, true}, []bool{consented(deputy.ID(app.ID)), consented(ua.ID)})

	agents := w.session(deputy.UserSession)
	agents.UserID, agents.ParentID, agents.UserAgentID = &u.ID, &root.ID, &ua.ID
	put(w, deputy.Tx.Sessions, agents)
	drop(w, deputy.Tx.UserAgents, ua.ID)
	w.same([]deputy.Status{deputy.Active, deputy.Revoked}, w.statuses(root, agents))
	w.same(false, consented(ua.ID))

	from, elsewhere := w.grant(u, r), w.grant(u, r)
	from.ProviderID, from.Sealed = p.ID, []byte("tokens")
	put(w, deputy.Tx.Grants, from, elsewhere)
	drop(w, deputy.Tx.Providers, deputy.ID(p.ID))
	revoked := sure(w.Grants().Get(w.ctx, w.in, from.ID))
	w.same(deputy.Revoked, revoked.Status)
	w.same(0, len(revoked.Sealed))
	w.same(deputy.Active, sure(w.Grants().Get(w.ctx, w.in, elsewhere.ID)).Status)
}

func deleteBehindRoles(w *world) {
	app, u, p, r, kept := w.application("app"), w.user("u"), w.provider("p"), w.resource("api"), w.resource("kept")
	role, group := w.role("role"), w.group("group")
	setUp := func() {
		put(w, deputy.Tx.RoleAssignments,
			w.assign(role, deputy.ApplicationPrincipal, deputy.ID(app.ID)), w.assign(role, deputy.ApplicationPrincipal, deputy.ID(app.ID), r.ID),
			w.assign(role, deputy.UserPrincipal, deputy.ID(u.ID)), w.assign(role, deputy.GroupPrincipal, group.ID))
	}
	put(w, deputy.Tx.Applications, app)
	put(w, deputy.Tx.Users, u)
	put(w, deputy.Tx.Providers, p)
	put(w, deputy.Tx.Resources, r, kept)
	put(w, deputy.Tx.Roles, role)
	put(w, deputy.Tx.Groups, group)
	put(w, deputy.Tx.Memberships, w.member(group, u))
	put(w, deputy.Tx.Secrets, w.secret(deputy.ID(app.ID)), w.secret(deputy.ID(p.ID)), w.secret(deputy.ID(r.ID)), w.secret(deputy.ID(kept.ID)))
	left := func(assignments, secrets, members int) {
		w.Helper()
		a := sure(w.RoleAssignments().List(w.ctx, w.in, deputy.Query{}))
		s := sure(w.Secrets().List(w.ctx, w.in, deputy.Query{}))
		m := sure(w.Memberships().List(w.ctx, w.below(group.ID), deputy.Query{}))
		w.same([]int{assignments, secrets, members}, []int{len(a.Items), len(s.Items), len(m.Items)})
	}
	setUp()
	left(4, 4, 1)
	since := w.revision()
	drop(w, deputy.Tx.Resources, deputy.ID(r.ID)) // and what was assigned for it
	left(3, 3, 1)
	w.same([]deputy.ApplicationID{app.ID}, w.delta(since).Applications)
	drop(w, deputy.Tx.Providers, deputy.ID(p.ID))
	drop(w, deputy.Tx.Applications, deputy.ID(app.ID))
	left(2, 1, 1)
	drop(w, deputy.Tx.Users, deputy.ID(u.ID))
	left(1, 1, 0)
	drop(w, deputy.Tx.Groups, group.ID)
	left(0, 1, 0)
	setUp()
	since = w.revision()
	drop(w, deputy.Tx.Roles, role.ID)
	left(0, 1, 0)
	w.same([]deputy.ApplicationID{app.ID}, w.delta(since).Applications)
}

func clientRoles(w *world) {
	app, role, r := w.application("app"), w.role("role"), w.resource("api")
	put(w, deputy.Tx.Applications, app)
	put(w, deputy.Tx.Credentials, w.credential(app.ID, deputy.PasswordCredential, "client"))
	put(w, deputy.Tx.Roles, role)
	roles := func() []deputy.HeldRole { return sure(w.Client(w.ctx, w.zone.ID, "client")).Roles }
	changed := func(change func()) {
		w.Helper()
		since := w.revision()
		change()
		w.same([]deputy.ApplicationID{app.ID}, w.delta(since).Applications)
	}
	whole, scoped := w.assign(role, deputy.ApplicationPrincipal, deputy.ID(app.ID)), w.assign(role, deputy.ApplicationPrincipal, deputy.ID(app.ID), r.ID)
	changed(func() { put(w, deputy.Tx.RoleAssignments, whole, scoped) })
	w.same([]deputy.HeldRole{{ID: role.ID, Identifier: "role"}, {ID: role.ID, Identifier: "role", Resource: r.ID}}, roles())
	changed(func() {
		w.must(w.write(func(t deputy.Tx) error {
			_, err := t.Roles().Update(w.ctx, w.in, role.ID, func(r *deputy.Role) error { r.Identifier = "renamed"; return nil })
			return err
		}))
	})
	w.same("renamed", roles()[0].Identifier)
	w.same("renamed", sure(w.RoleAssignments().Get(w.ctx, w.in, whole.ID)).RoleIdentifier)
	changed(func() { drop(w, deputy.Tx.RoleAssignments, whole.ID) })
	w.same(1, len(roles()))
	// What people have is no zone's configuration.
	since := w.revision()
	put(w, deputy.Tx.RoleAssignments, w.assign(role, deputy.UserPrincipal, "u"))
	w.same(since, w.revision())
}

func affiliations(w *world) {
	u, other := w.user("u"), w.user("other")
	r1, r2, r3 := w.role("one"), w.role("two"), w.role("three")
	g, empty, foreign := w.group("finance"), w.group("empty"), w.group("foreign")
	put(w, deputy.Tx.Users, u, other)
	put(w, deputy.Tx.Roles, r1, r2, r3)
	put(w, deputy.Tx.Groups, g, empty, foreign)
	put(w, deputy.Tx.Memberships, w.member(g, u), w.member(empty, u), w.member(foreign, other), w.member(g, other))
	put(w, deputy.Tx.RoleAssignments,
		w.assign(r1, deputy.UserPrincipal, deputy.ID(u.ID), "r"), w.assign(r2, deputy.GroupPrincipal, g.ID),
		w.assign(r3, deputy.GroupPrincipal, foreign.ID), w.assign(r3, deputy.ApplicationPrincipal, deputy.ID(u.ID)))
	want := &deputy.Affiliations{
		Groups: []deputy.HeldGroup{
			{ID: g.ID, Identifier: "finance", Name: "finance", Roles: []deputy.HeldRole{{ID: r2.ID, Identifier: "two"}}},
			{ID: empty.ID, Identifier: "empty", Name: "empty"},
		},
		Roles: []deputy.HeldRole{{ID: r1.ID, Identifier: "one", Resource: "r"}},
	}
	w.same(want, sure(w.Affiliations(w.ctx, w.zone.ID, u.ID)))
	w.same(&deputy.Affiliations{}, sure(w.Affiliations(w.ctx, "elsewhere", u.ID)))
	w.insert(func(t deputy.Tx) error {
		w.same(want, sure(t.Affiliations(w.ctx, w.zone.ID, u.ID)))
		return nil
	})
}

func assignedOnce(w *world) {
	r := w.role("role")
	put(w, deputy.Tx.Roles, r)
	put(w, deputy.Tx.RoleAssignments,
		w.assign(r, deputy.UserPrincipal, "u"), w.assign(r, deputy.UserPrincipal, "u", "r"), w.assign(r, deputy.UserPrincipal, "u", "s"),
		w.assign(r, deputy.GroupPrincipal, "u"), w.assign(r, deputy.UserPrincipal, "v"))
	for _, again := range []*deputy.RoleAssignment{w.assign(r, deputy.UserPrincipal, "u"), w.assign(r, deputy.UserPrincipal, "u", "s")} {
		w.blames(w.write(func(t deputy.Tx) error { return t.RoleAssignments().Insert(w.ctx, again) }), deputy.Conflict, "role_id")
	}
}

func memberOnce(w *world) {
	g, u := w.group("g"), w.user("u")
	first := w.member(g, u)
	put(w, deputy.Tx.Memberships, first, w.member(g, u))
	w.same([]*deputy.Membership{first}, sure(w.Memberships().List(w.ctx, w.below(g.ID), deputy.Query{})).Items)
	w.must(w.write(func(t deputy.Tx) error { return t.Memberships().Delete(w.ctx, w.below(g.ID), deputy.ID(u.ID)) }))
	w.is(w.write(func(t deputy.Tx) error { return t.Memberships().Delete(w.ctx, w.below(g.ID), deputy.ID(u.ID)) }), deputy.NotFound)
}

// peopleByAuthentication pages people, most of whom never authenticated, in every
// order of two fields.
func peopleByAuthentication(w *world) {
	var all []*deputy.User
	at := w.tick()
	for i := range 23 {
		u := w.user(fmt.Sprint("u", i))
		u.Email = fmt.Sprint("u", i*7%5, "@example.test") // several have one
		u.Issuer = new("https://idp.test")
		u.Subject = new(fmt.Sprint(i))
		if i%3 == 0 {
			u.AuthenticatedAt = new(at.Add(time.Duration(i/6) * time.Second))
		}
		all = append(all, u)
	}
	put(w, deputy.Tx.Users, all...)
	when := func(u *deputy.User) int64 {
		if u.AuthenticatedAt == nil {
			return 0
		}
		return u.AuthenticatedAt.UnixMicro()
	}
	turned := func(n int, descending bool) int {
		if descending {
			return -n
		}
		return n
	}
	for _, sort := range [][2]bool{{false, false}, {false, true}, {true, false}, {true, true}} {
		want := slices.Clone(all)
		slices.SortFunc(want, func(a, b *deputy.User) int {
			return cmp.Or(turned(cmp.Compare(when(a), when(b)), sort[0]), turned(cmp.Compare(a.Email, b.Email), sort[1]), turned(cmp.Compare(a.ID, b.ID), sort[1]))
		})
		q := deputy.Query{Limit: 4, Sort: []deputy.Sort{{Field: "authenticated_at", Descending: sort[0]}, {Field: "email", Descending: sort[1]}}, Count: true}
		var forward, back []*deputy.User
		var last *deputy.Page[deputy.User]
		for more := true; more; more = last.HasNext {
			last = sure(w.Users().List(w.ctx, w.in, q))
			forward = append(forward, last.Items...)
			q.After = last.Last
			w.same(len(all), *last.Total)
		}
		w.same(want, forward)
		q.After = ""
		for back = last.Items; last.HasPrevious; {
			q.Before = last.First
			last = sure(w.Users().List(w.ctx, w.in, q))
			back = append(slices.Clone(last.Items), back...)
		}
		w.same(want, back)
	}
}

func consentsOfPerson(w *world) {
	given := func(user deputy.UserID, client deputy.ID, r deputy.ResourceID) *deputy.ConsentRecord {
		c := &deputy.ConsentRecord{ZoneID: w.zone.ID, UserID: user, ClientID: client, ResourceID: r, CreatedAt: w.tick()}
		w.insert(func(t deputy.Tx) error { return t.PutConsent(w.ctx, c) })
		return c
	}
	b, a2, a1 := given("u", "b", "r"), given("u", "a", "s"), given("u", "a", "r")
	given("v", "a", "r")
	w.same([]*deputy.ConsentRecord{a1, a2, b}, sure(w.Consents(w.ctx, w.zone.ID, "u")))
	withdrawn := func(user deputy.UserID, client deputy.ID) bool {
		return sure(deputy.Withdrawn(w.ctx, w, w.zone.ID, user, client, "r"))
	}
	w.insert(func(t deputy.Tx) error { return t.WithdrawConsents(w.ctx, w.zone.ID, "u", "a") })
	w.same([]*deputy.ConsentRecord{b}, sure(w.Consents(w.ctx, w.zone.ID, "u")))
	w.same([]bool{true, false, false, false}, []bool{withdrawn("u", "a"), withdrawn("u", "b"), withdrawn("v", "a"), withdrawn("u", "")})
	w.insert(func(t deputy.Tx) error { return t.WithdrawConsents(w.ctx, w.zone.ID, "u", "a") }) // once more changes nothing
	w.insert(func(t deputy.Tx) error { return t.WithdrawConsents(w.ctx, w.zone.ID, "u", "c") })
	w.same([]bool{true, false}, []bool{withdrawn("u", "a"), withdrawn("u", "c")})
	a1 = given("u", "a", "r")
	w.same(true, withdrawn("u", "a"))
	w.insert(func(t deputy.Tx) error { return t.Reconcile(w.ctx, w.zone.ID, "u", "a") })
	w.same(false, withdrawn("u", "a"))
	w.same([]*deputy.ConsentRecord{a1, b}, sure(w.Consents(w.ctx, w.zone.ID, "u")))
	w.same(1, len(sure(w.Consents(w.ctx, w.zone.ID, "v"))))
}
