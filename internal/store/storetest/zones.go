package storetest

import (
	"errors"
	"fmt"

	"deputy/internal/deputy"
)

var zones = map[string]func(*world){
	"a delta brings a snapshot forward":   deltas,
	"too many applications to name":       manyApplications,
	"too many revoked tokens to list":     manyRevoked,
	"a delta that cannot be told is full": fullDeltas,
	"the policy that decides":             active,
	"a person's policy set":               bindings,
	"a revision is known at once":         revisions,
	"a deleted zone is gone at once":      deletedZone,
	"the client behind a client id":       clients,
	"what no snapshot holds":              unnoticed,
}

// deltas changes one thing after the other, and expects each to be named.
func deltas(w *world) {
	a, r, p := w.application("app"), w.resource("api"), w.provider("issuer")
	c := w.credential(a.ID, deputy.PasswordCredential, "c")
	revoked := w.ticket(deputy.RevokedTicket, "token")
	in := w.in
	steps := []struct {
		apply func(deputy.Tx) error
		want  string
	}{
		{func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, a) }, "apps 1"},
		{func(t deputy.Tx) error { return t.Resources().Insert(w.ctx, r) }, "resource there"},
		{func(t deputy.Tx) error { return t.Providers().Insert(w.ctx, p) }, "provider there"},
		{func(t deputy.Tx) error { return t.Credentials().Insert(w.ctx, c) }, "apps 1"},
		{func(t deputy.Tx) error {
			_, err := t.Credentials().Update(w.ctx, in, deputy.ID(c.ID), func(c *deputy.Credential) error { c.Identifier = "d"; return nil })
			return err
		}, "apps 1"},
		{func(t deputy.Tx) error { return t.Credentials().Delete(w.ctx, in, deputy.ID(c.ID)) }, "apps 1"},
		{func(t deputy.Tx) error { return t.Dependencies().Insert(w.ctx, w.edge(a, r)) }, "apps 1"},
		{func(t deputy.Tx) error {
			return t.Dependencies().Delete(w.ctx, w.below(deputy.ID(a.ID)), deputy.ID(r.ID))
		}, "apps 1"},
		{func(t deputy.Tx) error {
			_, err := t.Zones().Update(w.ctx, w.owned(), deputy.ID(w.zone.ID), func(z *deputy.Zone) error { z.Name = "new"; return nil })
			return err
		}, "nothing"},
		{func(t deputy.Tx) error { return t.Policies().Insert(w.ctx, w.policy("p")) }, "policies"},
		{func(t deputy.Tx) error { return t.PutTicket(w.ctx, revoked) }, "tokens 1"},
		{func(t deputy.Tx) error { return t.Resources().Delete(w.ctx, in, deputy.ID(r.ID)) }, "resource gone"},
		{func(t deputy.Tx) error { return t.Providers().Delete(w.ctx, in, deputy.ID(p.ID)) }, "provider gone"},
		{func(t deputy.Tx) error { return t.Applications().Delete(w.ctx, in, deputy.ID(a.ID)) }, "apps 1"},
	}
	start := w.revision()
	for i, step := range steps {
		w.must(w.write(step.apply))
		d := w.delta(start + int64(i))
		if got := summary(d); got != step.want || d.Revision != start+int64(i)+1 || d.Zone == nil || d.Zone.Revision != d.Revision {
			w.Errorf("step %d: %q at revision %d, want %q", i, got, d.Revision, step.want)
		}
	}
	all := w.delta(start)
	value, named := all.Resources[r.ID]
	if len(all.Applications) != 1 || !named || value != nil || all.Policies == nil || all.Zone.Name != "new" {
		w.Errorf("together: %+v", all)
	}
	if d := w.delta(all.Revision); summary(d) != "nothing" {
		w.Errorf("no change: %s", summary(d))
	}
}

// summary says what a delta of one step names.
func summary(d *deputy.ZoneDelta) string {
	state := func(gone bool) string { return map[bool]string{true: "gone", false: "there"}[gone] }
	for _, r := range d.Resources {
		return "resource " + state(r == nil)
	}
	for _, p := range d.Providers {
		return "provider " + state(p == nil)
	}
	switch {
	case d.AllApplications:
		return "all apps"
	case d.Applications != nil:
		return fmt.Sprint("apps ", len(d.Applications))
	case d.Policies != nil:
		return "policies"
	case d.Keys != nil:
		return "keys"
	case d.Revoked != nil && d.Revoked.TooMany:
		return "many tokens"
	case d.Revoked != nil:
		return fmt.Sprint("tokens ", len(d.Revoked.Keys))
	}
	return "nothing"
}

func manyRevoked(w *world) {
	w.insert(func(t deputy.Tx) error { return t.PutTicket(w.ctx, w.ticket(deputy.CodeTicket, "code")) })
	if all := sure(w.Zone(w.ctx, w.zone.ID, 0)).Revoked; all.TooMany || len(all.Keys) > 0 {
		w.Errorf("%+v", all)
	}
	since := w.revision()
	w.must(w.write(func(t deputy.Tx) (err error) {
		for i := 0; i < 1001 && err == nil; i++ {
			err = t.PutTicket(w.ctx, w.ticket(deputy.RevokedTicket, fmt.Sprint(i)))
		}
		return err
	}))
	for _, d := range []*deputy.ZoneDelta{sure(w.Zone(w.ctx, w.zone.ID, 0)), w.delta(since)} {
		if d.Revoked == nil || !d.Revoked.TooMany || len(d.Revoked.Keys) > 0 {
			w.Errorf("%+v", d.Revoked)
		}
	}
}

func manyApplications(w *world) {
	r := w.resource("api")
	inserts := []func(deputy.Tx) error{func(t deputy.Tx) error { return t.Resources().Insert(w.ctx, r) }}
	for i := range 150 {
		a := w.application(fmt.Sprint(i))
		inserts = append(inserts,
			func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, a) },
			func(t deputy.Tx) error { return t.Dependencies().Insert(w.ctx, w.edge(a, r)) })
	}
	w.insert(inserts...)
	since := w.revision()
	w.must(w.write(func(t deputy.Tx) error { return t.Resources().Delete(w.ctx, w.in, deputy.ID(r.ID)) }))
	if d := w.delta(since); !d.AllApplications || len(d.Applications) > 0 || len(d.Resources) != 1 || d.Revision != since+1 {
		w.Errorf("%+v", d)
	}
}

func fullDeltas(w *world) {
	r, p := w.resource("api"), w.provider("issuer")
	w.insert(
		func(t deputy.Tx) error { return t.Resources().Insert(w.ctx, r) },
		func(t deputy.Tx) error { return t.Providers().Insert(w.ctx, p) },
	)
	now := w.revision()
	for _, since := range []int64{0, -1, now + 1, now + 100} {
		d := sure(w.Zone(w.ctx, w.zone.ID, since))
		if !d.Full || !d.AllApplications || d.Revision != now || d.Resources[r.ID] == nil || d.Providers[p.ID] == nil || d.Policies == nil {
			w.Errorf("since %d: %+v", since, d)
		}
	}
	_, err := w.Zone(w.ctx, "nowhere", 0)
	w.is(err, deputy.NotFound)
}

func active(w *world) {
	p, q, s, other := w.policy("p"), w.policy("q"), w.policySet("s"), w.policySet("other")
	pv, qv := w.policyVersion(p, "permit(principal,action,resource);"), w.policyVersion(q, "forbid(principal,action,resource);")
	manifest := []deputy.ManifestEntry{{PolicyID: q.ID, PolicyVersionID: qv.ID, SHA: "q"}, {PolicyID: p.ID, PolicyVersionID: pv.ID, SHA: "p"}}
	v, ov := w.setVersion(s, manifest...), w.setVersion(other)
	w.insert(
		func(t deputy.Tx) error { return t.Policies().Insert(w.ctx, p) },
		func(t deputy.Tx) error { return t.Policies().Insert(w.ctx, q) },
		func(t deputy.Tx) error { return t.PolicyVersions().Insert(w.ctx, pv) },
		func(t deputy.Tx) error { return t.PolicyVersions().Insert(w.ctx, qv) },
		func(t deputy.Tx) error { return t.PolicySets().Insert(w.ctx, s) },
		func(t deputy.Tx) error { return t.PolicySets().Insert(w.ctx, other) },
		func(t deputy.Tx) error { return t.PolicySetVersions().Insert(w.ctx, v) },
		func(t deputy.Tx) error { return t.PolicySetVersions().Insert(w.ctx, ov) },
	)
	if d := sure(w.Zone(w.ctx, w.zone.ID, 0)); d.Policies.Set != nil || d.Policies.Version != nil {
		w.Errorf("nothing is active: %+v", d.Policies)
	}
	activate := func(set *deputy.PolicySet, version *deputy.PolicySetVersion) (previous deputy.ID) {
		w.must(w.write(func(t deputy.Tx) (err error) {
			previous, err = t.Activate(w.ctx, w.zone.ID, set.ID, version.ID)
			return err
		}))
		return previous
	}
	since := w.revision()
	w.same(deputy.ID(""), activate(s, v))
	d := w.delta(since)
	if d.Policies == nil || d.Policies.Set.ID != s.ID || d.Policies.Set.ActiveVersionID != v.ID || d.Policies.Version.ID != v.ID ||
		len(d.Policies.Policies) != 2 || d.Policies.Policies[0].Name != "q" || d.Policies.Policies[1].Version.Text != pv.Text {
		w.Fatalf("active: %+v", d.Policies)
	}
	w.same(v.ID, d.Zone.ActivePolicySetVersionID)
	w.same(v.ID, activate(other, ov))
	set := sure(w.PolicySets().Get(w.ctx, w.in, s.ID))
	if set.ActiveVersion != 0 || set.ActiveVersionID != "" || set.Revision != 3 {
		w.Errorf("the set that was active: %+v", set)
	}
	if set := sure(w.PolicySets().Get(w.ctx, w.in, other.ID)); set.ActiveVersion != 1 || set.ActiveVersionID != ov.ID {
		w.Errorf("the set that is active: %+v", set)
	}
	w.is(w.write(func(t deputy.Tx) error {
		_, err := t.Activate(w.ctx, w.zone.ID, s.ID, ov.ID) // of another set
		return err
	}), deputy.NotFound)
	w.is(w.write(func(t deputy.Tx) error { return t.PolicySets().Delete(w.ctx, w.in, other.ID) }), deputy.Conflict)
	shadowed(w, s, v, other, ov)
	w.must(w.write(func(t deputy.Tx) error { return t.PolicySets().Delete(w.ctx, w.in, s.ID) }))
}

// bindings binds sets at people: each has one at most, and none of them
// decides in the zone.
func bindings(w *world) {
	bind := func(target string) (*deputy.PolicySet, *deputy.PolicySetVersion, deputy.ID) {
		s := w.policySet(string(w.newID()))
		s.TargetType, s.TargetID = deputy.UserTarget, target
		v := w.setVersion(s)
		var previous deputy.ID
		w.must(w.write(func(t deputy.Tx) (err error) {
			if err := errors.Join(t.PolicySets().Insert(w.ctx, s), t.PolicySetVersions().Insert(w.ctx, v)); err != nil {
				return err
			}
			previous, err = t.Activate(w.ctx, w.zone.ID, s.ID, v.ID)
			return err
		}))
		return s, v, previous
	}
	bound := func(s *deputy.PolicySet, v *deputy.PolicySetVersion) bool {
		set, version := sure(w.PolicySets().Get(w.ctx, w.in, s.ID)), sure(w.PolicySetVersions().Get(w.ctx, w.in, v.ID))
		if (set.ActiveVersionID == v.ID) != version.Active {
			w.Errorf("the set is bound at %q, its version active: %t", set.ActiveVersionID, version.Active)
		}
		return version.Active
	}
	s1, v1, _ := bind("ada")
	s2, v2, _ := bind("Ada")
	s3, v3, previous := bind("ada")
	if previous != v1.ID || bound(s1, v1) || !bound(s2, v2) || !bound(s3, v3) {
		t := []bool{bound(s1, v1), bound(s2, v2), bound(s3, v3)}
		w.Errorf("bound: %v, in place of %q", t, previous)
	}
	w.same(deputy.ID(""), sure(w.Zones().Get(w.ctx, w.owned(), deputy.ID(w.zone.ID))).ActivePolicySetVersionID)
}

// shadowed binds versions as shadow beside the active one, of which other is
// the set.
func shadowed(w *world, s *deputy.PolicySet, v *deputy.PolicySetVersion, other *deputy.PolicySet, ov *deputy.PolicySetVersion) {
	bind := func(set *deputy.PolicySet, version *deputy.PolicySetVersion) (previous deputy.ID) {
		w.must(w.write(func(t deputy.Tx) (err error) {
			previous, err = t.Shadow(w.ctx, w.zone.ID, set.ID, version.ID)
			return err
		}))
		return previous
	}
	unbind := func(set *deputy.PolicySet) (previous deputy.ID) {
		w.must(w.write(func(t deputy.Tx) (err error) {
			previous, err = t.Unshadow(w.ctx, w.zone.ID, set.ID)
			return err
		}))
		return previous
	}
	since := w.revision()
	w.same(deputy.ID(""), bind(other, ov))
	w.same(ov.ID, bind(s, v)) // takes the place of another set's
	d := w.delta(since)
	if d.Shadow == nil || d.Shadow.Set.ID != s.ID || d.Shadow.Set.ShadowVersionID != v.ID || d.Shadow.Version.ID != v.ID ||
		len(d.Shadow.Policies) != 2 || d.Policies.Version.ID != ov.ID {
		w.Fatalf("shadow: %+v beside %+v", d.Shadow, d.Policies)
	}
	w.same(v.ID, d.Zone.ShadowPolicySetVersionID)
	w.same(d.Shadow, sure(w.BoundPolicy(w.ctx, w.zone.ID, v.ID)))
	w.same(d.Shadow.Policies, sure(w.PinnedPolicies(w.ctx, w.zone.ID, v.Manifest)))
	if none := sure(w.BoundPolicy(w.ctx, w.zone.ID, "")); none.Set != nil {
		w.Errorf("no version: %+v", none)
	}
	_, err := w.BoundPolicy(w.ctx, "another zone", v.ID)
	w.is(err, deputy.NotFound)
	_, err = w.PinnedPolicies(w.ctx, "another zone", v.Manifest)
	w.is(err, deputy.NotFound)
	if set := sure(w.PolicySets().Get(w.ctx, w.in, other.ID)); set.ShadowVersion != 0 || set.ShadowVersionID != "" || set.ActiveVersionID != ov.ID {
		w.Errorf("the set that was shadow: %+v", set)
	}
	w.is(w.write(func(t deputy.Tx) error {
		_, err := t.Shadow(w.ctx, w.zone.ID, s.ID, ov.ID) // of another set
		return err
	}), deputy.NotFound)
	w.is(w.write(func(t deputy.Tx) error { return t.PolicySets().Delete(w.ctx, w.in, s.ID) }), deputy.Conflict)
	w.same(deputy.ID(""), unbind(other)) // is none
	since = w.revision()
	w.same(v.ID, unbind(s))
	if d := w.delta(since); d.Shadow == nil || d.Shadow.Set != nil || d.Zone.ShadowPolicySetVersionID != "" {
		w.Errorf("without a shadow: %+v", d.Shadow)
	}
}

func revisions(w *world) {
	for range 3 {
		w.insert(func(t deputy.Tx) error { return t.Resources().Insert(w.ctx, w.resource(string(w.newID()))) })
		hint := w.Revision(w.zone.ID)
		if now := w.revision(); hint != now {
			w.Errorf("the node knows of %d, the zone is at %d", hint, now)
		}
	}
	if n := w.Revision("nowhere"); n != 0 {
		w.Errorf("nowhere is at %d", n)
	}
	other := w.node()
	sure(other.Zone(w.ctx, w.zone.ID, 0))
	if other.Revision(w.zone.ID) != w.revision() {
		w.Error("a node that has read does not know")
	}
}

func deletedZone(w *world) {
	var inserts []func(deputy.Tx) error
	a := w.application("app")
	for i := range 20 {
		inserts = append(inserts, func(t deputy.Tx) error { return t.Resources().Insert(w.ctx, w.resource(fmt.Sprint(i))) })
	}
	w.insert(append(inserts,
		func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, a) },
		func(t deputy.Tx) error {
			return t.Credentials().Insert(w.ctx, w.credential(a.ID, deputy.PublicCredential, "client"))
		},
		func(t deputy.Tx) error { return t.Policies().Insert(w.ctx, w.policy("p")) },
		func(t deputy.Tx) error {
			return t.ZoneMembers().Insert(w.ctx, w.zoneMember(w.organizationUser("x@example.com")))
		},
		func(t deputy.Tx) error {
			return t.Mails().Insert(w.ctx, &deputy.Mail{ID: w.newID(), OrganizationID: w.org.ID, ZoneID: w.zone.ID, Sealed: []byte{1}, CreatedAt: w.tick()})
		},
	)...)
	kept := w.newZone("Kept")
	w.insert(func(t deputy.Tx) error { return t.Zones().Insert(w.ctx, kept) })
	_, err := w.PurgeZone(w.ctx, w.zone.ID, 10)
	w.is(err, deputy.Conflict) // it is in use
	w.must(w.write(func(t deputy.Tx) error { return t.Zones().Delete(w.ctx, w.owned(), deputy.ID(w.zone.ID)) }))

	_, err = w.Zones().Get(w.ctx, w.owned(), deputy.ID(w.zone.ID))
	w.is(err, deputy.NotFound)
	_, err = w.Zones().Find(w.ctx, w.owned(), "slug", w.zone.Slug)
	w.is(err, deputy.NotFound)
	_, err = w.Zone(w.ctx, w.zone.ID, 1)
	w.is(err, deputy.NotFound)
	_, err = w.Client(w.ctx, w.zone.ID, "client")
	w.is(err, deputy.NotFound)
	if p := sure(w.Zones().List(w.ctx, w.owned(), deputy.Query{})); len(p.Items) != 1 || p.Items[0].ID != kept.ID {
		w.Errorf("zones: %+v", p.Items)
	}
	w.is(w.write(func(t deputy.Tx) error { return t.Zones().Delete(w.ctx, w.owned(), deputy.ID(w.zone.ID)) }), deputy.NotFound)
	w.is(w.write(func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, w.application("late")) }), deputy.NotFound)
	again := w.newZone(w.zone.Name)
	w.insert(func(t deputy.Tx) error { return t.Zones().Insert(w.ctx, again) })
	w.same(w.zone.Slug, again.Slug)

	tasks := sure(w.ClaimTasks(w.ctx, []string{deputy.TaskPurgeZone}, 10, 1e9))
	if len(tasks) != 1 || tasks[0].ZoneID != w.zone.ID {
		w.Fatalf("tasks: %+v", tasks)
	}
	rounds := 0
	for more := true; more; rounds++ {
		more = sure(w.PurgeZone(w.ctx, w.zone.ID, 10))
	}
	if rounds < 3 {
		w.Errorf("%d rounds", rounds)
	}
	if p := sure(w.Resources().List(w.ctx, w.in, deputy.Query{})); len(p.Items) > 0 {
		w.Error("resources are left")
	}
	if p := sure(w.ZoneMembers().List(w.ctx, w.in, deputy.Query{})); len(p.Items) > 0 {
		w.Error("members are left")
	}
	if p := sure(w.Mails().List(w.ctx, w.owned(), deputy.Query{})); len(p.Items) > 0 {
		w.Error("mails are left")
	}
	if more := sure(w.PurgeZone(w.ctx, w.zone.ID, 10)); more {
		w.Error("a purged zone has rows")
	}
	if p := sure(w.Events(w.ctx, deputy.EventQuery{Organization: w.org.ID, Zone: w.zone.ID})); len(p.Items) == 0 {
		w.Error("the zone's events are gone")
	}
}

func clients(w *world) {
	a := w.application("app")
	x, y := w.resource("x"), w.resource("y")
	password, token := w.credential(a.ID, deputy.PasswordCredential, "client"), w.credential(a.ID, deputy.TokenCredential, "subject")
	w.insert(
		func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, a) },
		func(t deputy.Tx) error { return t.Credentials().Insert(w.ctx, password) },
		func(t deputy.Tx) error { return t.Credentials().Insert(w.ctx, token) },
	)
	second, first := w.edge(a, y), w.edge(a, x)
	first.CreatedAt = second.CreatedAt.Add(-1e6)
	w.insert(
		func(t deputy.Tx) error { return t.Dependencies().Insert(w.ctx, second) },
		func(t deputy.Tx) error { return t.Dependencies().Insert(w.ctx, first) },
	)
	a.Dependencies = 2
	for id, credential := range map[string]*deputy.Credential{"client": password, string(token.ID): token} {
		w.same(&deputy.Client{
			Revision: w.revision(), Credential: credential, Application: a, Dependencies: []deputy.Dependency{*first, *second},
		}, sure(w.Client(w.ctx, w.zone.ID, id)))
	}
	for _, id := range []string{"subject", "Client", "", string(password.ID)} {
		_, err := w.Client(w.ctx, w.zone.ID, id)
		w.is(err, deputy.NotFound)
	}
	_, err := w.Client(w.ctx, "elsewhere", "client")
	w.is(err, deputy.NotFound)
}

// unnoticed checks that keyed rows do not move the zone.
func unnoticed(w *world) {
	since := w.revision()
	u := w.user("u")
	w.insert(
		func(t deputy.Tx) error { return t.Users().Insert(w.ctx, u) },
		func(t deputy.Tx) error { return t.Sessions().Insert(w.ctx, w.session(deputy.UserSession)) },
		func(t deputy.Tx) error { return t.Grants().Insert(w.ctx, w.grant(u, w.resource("r"))) },
		func(t deputy.Tx) error { t.Touch(w.touched("c", w.tick())); return nil },
	)
	w.same(since, w.revision())
}
