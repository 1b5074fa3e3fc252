package storetest

import "deputy/internal/deputy"

var deletions = map[string]func(*world){
	"deleting an application":                      deleteApplication,
	"deleting a provider":                          deleteProvider,
	"deleting a resource":                          deleteResource,
	"deleting a user, an account, an organization": deleteOwners,
	"deleting a session ends its children":         deleteSession,
}

func deleteApplication(w *world) {
	a, other := w.application("app"), w.application("other")
	r := w.resource("api")
	r.ApplicationID = &a.ID
	c, kept := w.credential(a.ID, deputy.PasswordCredential, "c"), w.credential(other.ID, deputy.PasswordCredential, "d")
	w.insert(
		func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, a) },
		func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, other) },
		func(t deputy.Tx) error { return t.Resources().Insert(w.ctx, r) },
		func(t deputy.Tx) error { return t.Credentials().Insert(w.ctx, c) },
		func(t deputy.Tx) error { return t.Credentials().Insert(w.ctx, kept) },
		func(t deputy.Tx) error { return t.Dependencies().Insert(w.ctx, w.edge(a, r)) },
		func(t deputy.Tx) error {
			_, err := t.Zones().Update(w.ctx, w.owned(), deputy.ID(w.zone.ID), func(z *deputy.Zone) error { z.DefaultGatewayApplicationID = &a.ID; return nil })
			return err
		},
	)
	since := w.revision()
	w.must(w.write(func(t deputy.Tx) error { return t.Applications().Delete(w.ctx, w.in, deputy.ID(a.ID)) }))
	w.is(w.write(func(t deputy.Tx) error { return t.Applications().Delete(w.ctx, w.in, deputy.ID(a.ID)) }), deputy.NotFound)
	_, err := w.Credentials().Get(w.ctx, w.in, deputy.ID(c.ID))
	w.is(err, deputy.NotFound)
	_, err = w.Credentials().Get(w.ctx, w.in, deputy.ID(kept.ID))
	w.must(err)
	_, err = w.Dependencies().Get(w.ctx, w.below(deputy.ID(a.ID)), deputy.ID(r.ID))
	w.is(err, deputy.NotFound)
	_, err = w.Client(w.ctx, w.zone.ID, "c")
	w.is(err, deputy.NotFound)
	d := w.delta(since)
	if d.Zone.DefaultGatewayApplicationID != nil || d.Resources[r.ID] == nil || d.Resources[r.ID].ApplicationID != nil || d.Resources[r.ID].Revision != 2 {
		w.Errorf("references were kept: %+v", d)
	}
	w.same([]deputy.ApplicationID{a.ID}, d.Applications)
}

func deleteProvider(w *world) {
	p, a, r, u := w.provider("issuer"), w.application("app"), w.resource("api"), w.user("u")
	r.CredentialProviderID, u.ProviderID = &p.ID, &p.ID
	token, password := w.credential(a.ID, deputy.TokenCredential, "*"), w.credential(a.ID, deputy.PasswordCredential, "c")
	token.ProviderID = p.ID
	w.insert(
		func(t deputy.Tx) error { return t.Providers().Insert(w.ctx, p) },
		func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, a) },
		func(t deputy.Tx) error { return t.Resources().Insert(w.ctx, r) },
		func(t deputy.Tx) error { return t.Users().Insert(w.ctx, u) },
		func(t deputy.Tx) error { return t.Credentials().Insert(w.ctx, token) },
		func(t deputy.Tx) error { return t.Credentials().Insert(w.ctx, password) },
		func(t deputy.Tx) error {
			_, err := t.Zones().Update(w.ctx, w.owned(), deputy.ID(w.zone.ID), func(z *deputy.Zone) error { z.UserIdentityProviderID = &p.ID; return nil })
			return err
		},
	)
	since := w.revision()
	w.must(w.write(func(t deputy.Tx) error { return t.Providers().Delete(w.ctx, w.in, deputy.ID(p.ID)) }))
	_, err := w.Credentials().Get(w.ctx, w.in, deputy.ID(token.ID))
	w.is(err, deputy.NotFound)
	_, err = w.Credentials().Get(w.ctx, w.in, deputy.ID(password.ID))
	w.must(err)
	d := w.delta(since)
	gone, named := d.Providers[p.ID]
	if !named || gone != nil || d.Zone.UserIdentityProviderID != nil || d.Resources[r.ID] == nil || d.Resources[r.ID].CredentialProviderID != nil {
		w.Errorf("references were kept: %+v", d)
	}
	w.same([]deputy.ApplicationID{a.ID}, d.Applications)
	if got := sure(w.Users().Get(w.ctx, w.in, deputy.ID(u.ID))); got.ProviderID != nil {
		w.Error("the user still names the provider")
	}
}

func deleteResource(w *world) {
	a, u := w.application("app"), w.user("u")
	gone, x, y := w.resource("gone"), w.resource("x"), w.resource("y")
	w.insert(
		func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, a) },
		func(t deputy.Tx) error { return t.Users().Insert(w.ctx, u) },
		func(t deputy.Tx) error { return t.Resources().Insert(w.ctx, gone) },
		func(t deputy.Tx) error { return t.Resources().Insert(w.ctx, x) },
		func(t deputy.Tx) error { return t.Resources().Insert(w.ctx, y) },
		func(t deputy.Tx) error { return t.Dependencies().Insert(w.ctx, w.edge(a, gone)) },
		func(t deputy.Tx) error { return t.Dependencies().Insert(w.ctx, w.edge(a, x, gone.ID)) },
		func(t deputy.Tx) error { return t.Dependencies().Insert(w.ctx, w.edge(a, y, x.ID, gone.ID)) },
		func(t deputy.Tx) error { return t.Grants().Insert(w.ctx, w.grant(u, gone)) },
		func(t deputy.Tx) error { return t.Grants().Insert(w.ctx, w.grant(u, x)) },
		func(t deputy.Tx) error {
			_, err := t.Zones().Update(w.ctx, w.owned(), deputy.ID(w.zone.ID), func(z *deputy.Zone) error { z.DefaultResourceID = &gone.ID; return nil })
			return err
		},
	)
	since := w.revision()
	w.must(w.write(func(t deputy.Tx) error { return t.Resources().Delete(w.ctx, w.in, deputy.ID(gone.ID)) }))
	edges := sure(w.Dependencies().List(w.ctx, w.below(deputy.ID(a.ID)), deputy.Query{}))
	if len(edges.Items) != 1 || edges.Items[0].ResourceID != y.ID || len(edges.Items[0].WhenAccessing) != 1 || edges.Items[0].WhenAccessing[0] != x.ID {
		w.Errorf("edges: %+v", edges.Items)
	}
	grants := sure(w.Grants().List(w.ctx, w.in, deputy.Query{}))
	if len(grants.Items) != 1 || grants.Items[0].ResourceID != x.ID {
		w.Errorf("grants: %+v", grants.Items)
	}
	d := w.delta(since)
	value, named := d.Resources[gone.ID]
	if !named || value != nil || d.Zone.DefaultResourceID != nil {
		w.Errorf("delta: %+v", d)
	}
	w.same([]deputy.ApplicationID{a.ID}, d.Applications)
}

func deleteOwners(w *world) {
	u := w.user("u")
	s := w.session(deputy.UserSession)
	s.UserID = &u.ID
	g := w.grant(u, w.resource("r"))
	now := w.tick()
	account := &deputy.ServiceAccount{ID: w.newID(), OrganizationID: w.org.ID, Name: "a", CreatedAt: now, UpdatedAt: now}
	secret := &deputy.ServiceAccountCredential{ID: w.newID(), OrganizationID: w.org.ID, ServiceAccountID: account.ID, ClientID: "c", CreatedAt: now}
	w.insert(
		func(t deputy.Tx) error { return t.Users().Insert(w.ctx, u) },
		func(t deputy.Tx) error { return t.Sessions().Insert(w.ctx, s) },
		func(t deputy.Tx) error { return t.Grants().Insert(w.ctx, g) },
		func(t deputy.Tx) error { return t.ServiceAccounts().Insert(w.ctx, account) },
		func(t deputy.Tx) error { return t.ServiceCredentials().Insert(w.ctx, secret) },
	)
	w.must(w.write(func(t deputy.Tx) error { return t.Users().Delete(w.ctx, w.in, deputy.ID(u.ID)) }))
	_, err := w.Sessions().Get(w.ctx, w.in, deputy.ID(s.ID))
	w.is(err, deputy.NotFound)
	_, err = w.Grants().Get(w.ctx, w.in, g.ID)
	w.is(err, deputy.NotFound)
	w.must(w.write(func(t deputy.Tx) error { return t.ServiceAccounts().Delete(w.ctx, w.owned(), account.ID) }))
	_, err = w.Account(w.ctx, "c")
	w.is(err, deputy.NotFound)
	w.is(w.write(func(t deputy.Tx) error { return t.Organizations().Delete(w.ctx, deputy.Scope{}, deputy.ID(w.org.ID)) }), deputy.Conflict)
	w.must(w.write(func(t deputy.Tx) error { return t.Zones().Delete(w.ctx, w.owned(), deputy.ID(w.zone.ID)) }))
	w.must(w.write(func(t deputy.Tx) error { return t.Organizations().Delete(w.ctx, deputy.Scope{}, deputy.ID(w.org.ID)) }))
}

func deleteSession(w *world) {
	root, child, grandchild, other := w.session(deputy.UserSession), w.session(deputy.UserSession), w.session(deputy.UserSession), w.session(deputy.UserSession)
	child.ParentID, grandchild.ParentID = &root.ID, &child.ID
	for _, s := range []*deputy.Session{root, child, grandchild, other} {
		w.insert(func(t deputy.Tx) error { return t.Sessions().Insert(w.ctx, s) })
	}
	w.must(w.write(func(t deputy.Tx) error { return t.Sessions().Delete(w.ctx, w.in, deputy.ID(root.ID)) }))
	left := sure(w.Sessions().List(w.ctx, w.in, deputy.Query{}))
	if len(left.Items) != 1 || left.Items[0].ID != other.ID {
		w.Errorf("left: %+v", left.Items)
	}
}
