package storetest

import (
	"strings"

	"deputy/internal/deputy"
)

var texts = map[string]func(*world){
	"letter case counts":              letterCase,
	"text that cannot be stored":      unstorable,
	"unique fields":                   uniques,
	"long identifiers are told apart": longIdentifiers,
	"a taken slug is replaced":        slugs,
}

func letterCase(w *world) {
	lower, upper := w.application("billing"), w.application("Billing")
	lower.Name, upper.Name = "Straße Ünï", "STRASSE ÜNÏ"
	w.insert(
		func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, lower) },
		func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, upper) },
	)
	got := sure(w.Applications().Find(w.ctx, w.in, "identifier", "Billing"))
	w.same(upper.ID, got.ID)
	_, err := w.Applications().Find(w.ctx, w.in, "identifier", "BILLING")
	w.is(err, deputy.NotFound)
	for text, want := range map[string]int{"ILLIN": 2, "billing": 2, "sTRAß": 1, "ünÏ": 2, "%": 0, "_": 0, "": 2, "nothing": 0} {
		p := sure(w.Applications().List(w.ctx, w.in, deputy.Query{Where: []deputy.Filter{
			{Fields: []string{"name", "identifier"}, Op: deputy.Contains, Values: []string{text}},
		}}))
		if len(p.Items) != want {
			w.Errorf("%d applications contain %q, want %d", len(p.Items), text, want)
		}
	}
}

// unstorable looks for, and tries to store, what PostgreSQL cannot hold.
func unstorable(w *world) {
	a := w.application("app")
	w.insert(func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, a) })
	for _, text := range []string{"\x00", "a\x00b", "\xff", strings.Repeat("long", 200) + "\x00"} {
		_, err := w.Applications().Get(w.ctx, w.in, deputy.ID(text))
		w.is(err, deputy.NotFound)
		_, err = w.Applications().Find(w.ctx, w.in, "identifier", text)
		w.is(err, deputy.NotFound)
		_, err = w.Client(w.ctx, w.zone.ID, text)
		w.is(err, deputy.NotFound)
		_, err = w.Account(w.ctx, text)
		w.is(err, deputy.NotFound)
		_, err = w.Zone(w.ctx, deputy.ZoneID(text), 0)
		w.is(err, deputy.NotFound)
		_, err = w.Event(w.ctx, w.org.ID, w.zone.ID, deputy.EventID(text))
		w.is(err, deputy.NotFound)
		for _, f := range []deputy.Filter{
			{Fields: []string{"identifier"}, Values: []string{text, "app"}},
			{Fields: []string{"name", "identifier"}, Op: deputy.Contains, Values: []string{text, "app"}},
		} {
			p := sure(w.Applications().List(w.ctx, w.in, deputy.Query{Where: []deputy.Filter{f}}))
			w.same(1, len(p.Items))
		}
		e := sure(w.Events(w.ctx, deputy.EventQuery{Organization: w.org.ID, Named: named(deputy.TermRequest, text)}))
		w.same(0, len(e.Items))
		w.is(w.write(func(t deputy.Tx) error { return t.Applications().Delete(w.ctx, w.in, deputy.ID(text)) }), deputy.NotFound)
		p := w.provider("issuer")
		p.ClientID = &text
		w.blames(w.write(func(t deputy.Tx) error { return t.Providers().Insert(w.ctx, p) }), deputy.Invalid, "client_id")
	}
}

func uniques(w *world) {
	app, other := w.application("app"), w.application("other")
	password := w.credential(app.ID, deputy.PasswordCredential, "client")
	provider, resource, user := w.provider("issuer"), w.resource("api"), w.user("user")
	policy, set := w.policy("policy"), w.policySet("set")
	secret := &deputy.ServiceAccountCredential{ID: w.newID(), OrganizationID: w.org.ID, ServiceAccountID: "s", ClientID: "sa", CreatedAt: w.tick()}
	inserts := map[string]func(deputy.Tx, bool) error{
		"identifier": func(t deputy.Tx, again bool) error { return t.Applications().Insert(w.ctx, renew(w, app, again)) },
		"identifier of a credential": func(t deputy.Tx, again bool) error {
			c := renew(w, password, again)
			if again {
				c.Type = deputy.PublicCredential
			}
			return t.Credentials().Insert(w.ctx, c)
		},
		"identifier of a provider": func(t deputy.Tx, again bool) error { return t.Providers().Insert(w.ctx, renew(w, provider, again)) },
		"identifier of a resource": func(t deputy.Tx, again bool) error { return t.Resources().Insert(w.ctx, renew(w, resource, again)) },
		"identifier of a user":     func(t deputy.Tx, again bool) error { return t.Users().Insert(w.ctx, renew(w, user, again)) },
		"name of a policy":         func(t deputy.Tx, again bool) error { return t.Policies().Insert(w.ctx, renew(w, policy, again)) },
		"name of a set":            func(t deputy.Tx, again bool) error { return t.PolicySets().Insert(w.ctx, renew(w, set, again)) },
		"client_id": func(t deputy.Tx, again bool) error {
			c := renew(w, secret, again)
			if again {
				c.OrganizationID = "another" // unique over all organizations
			}
			return t.ServiceCredentials().Insert(w.ctx, c)
		},
	}
	for name, insert := range inserts {
		field, _, _ := strings.Cut(name, " ")
		w.must(w.write(func(t deputy.Tx) error { return insert(t, false) }))
		w.blames(w.write(func(t deputy.Tx) error { return insert(t, true) }), deputy.Conflict, field)
	}
	w.insert(func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, other) })
	w.blames(w.write(func(t deputy.Tx) error {
		_, err := t.Applications().Update(w.ctx, w.in, deputy.ID(other.ID), func(a *deputy.Application) error { a.Identifier = "app"; return nil })
		return err
	}), deputy.Conflict, "identifier")
	// Subjects of token credentials are no client ids.
	for range 2 {
		w.insert(func(t deputy.Tx) error {
			return t.Credentials().Insert(w.ctx, w.credential(app.ID, deputy.TokenCredential, "client"))
		})
	}
	// Archived names are free.
	archive := ref(w.tick())
	w.insert(func(t deputy.Tx) error {
		_, err := t.Policies().Update(w.ctx, w.in, policy.ID, func(p *deputy.Policy) error { p.ArchivedAt = archive; return nil })
		return err
	}, func(t deputy.Tx) error { return inserts["name of a policy"](t, true) })
	_, err := w.Policies().Find(w.ctx, w.in, "name", "policy")
	w.must(err)
}

// renew returns an entity, or when again is set a copy with an id of its own.
func renew[T any](w *world, e *T, again bool) *T {
	if !again {
		return e
	}
	twin := *e
	switch e := any(&twin).(type) {
	case *deputy.Application:
		e.ID, e.Slug = fresh[deputy.ApplicationID](w), string(w.newID())
	case *deputy.Credential:
		e.ID, e.Slug = fresh[deputy.CredentialID](w), string(w.newID())
	case *deputy.Provider:
		e.ID, e.Slug = fresh[deputy.ProviderID](w), string(w.newID())
	case *deputy.Resource:
		e.ID, e.Slug = fresh[deputy.ResourceID](w), string(w.newID())
	case *deputy.User:
		e.ID = fresh[deputy.UserID](w)
	case *deputy.Policy:
		e.ID = w.newID()
	case *deputy.PolicySet:
		e.ID = w.newID()
	case *deputy.ServiceAccountCredential:
		e.ID = w.newID()
	}
	return &twin
}

func longIdentifiers(w *world) {
	long := strings.Repeat("é", deputy.MaxIdentifier-1)
	a, b := w.application(long+"a"), w.application(long+"b")
	a.Name, b.Name = strings.Repeat("ü", 255), "b"
	w.insert(
		func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, a) },
		func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, b) },
	)
	got := sure(w.Applications().Find(w.ctx, w.in, "identifier", b.Identifier))
	w.same(b, got)
	twin := w.application(a.Identifier)
	w.blames(w.write(func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, twin) }), deputy.Conflict, "identifier")
	p := sure(w.Applications().List(w.ctx, w.in, deputy.Query{Where: []deputy.Filter{{Fields: []string{"identifier"}, Values: []string{a.Identifier, "x"}}}}))
	if len(p.Items) != 1 || p.Items[0].ID != a.ID {
		w.Errorf("found %d", len(p.Items))
	}
}

func slugs(w *world) {
	for range 3 {
		a := w.application(string(w.newID()))
		a.Slug = "billing"
		w.insert(func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, a) })
		if got := sure(w.Applications().Get(w.ctx, w.in, deputy.ID(a.ID))); got.Slug != a.Slug || !strings.HasPrefix(a.Slug, "billing") {
			w.Errorf("slug %q, stored %q", a.Slug, got.Slug)
		}
	}
	o := w.organization("Acme")
	w.insert(func(t deputy.Tx) error { return t.Organizations().Insert(w.ctx, o) })
	z := w.newZone("Production")
	w.insert(func(t deputy.Tx) error { return t.Zones().Insert(w.ctx, z) })
	if o.Label == w.org.Label || z.Slug == w.zone.Slug {
		w.Errorf("label %q and slug %q are taken", o.Label, z.Slug)
	}
	z.ID, z.OrganizationID, z.Slug = fresh[deputy.ZoneID](w), o.ID, w.zone.Slug
	w.insert(func(t deputy.Tx) error { return t.Zones().Insert(w.ctx, z) })
	w.same(w.zone.Slug, z.Slug) // another organization's
}
