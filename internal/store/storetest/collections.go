package storetest

import (
	"errors"
	"strings"
	"time"

	"deputy/internal/deputy"

	"github.com/google/go-cmp/cmp"
)

var collections = map[string]func(*world){
	"what is stored reads back the same":           roundTrip,
	"what lies outside the scope does not exist":   scopes,
	"letter case counts":                           letterCase,
	"text that cannot be stored":                   unstorable,
	"unique fields":                                uniques,
	"long identifiers are told apart":              longIdentifiers,
	"a taken slug is replaced":                     slugs,
	"an update counts up what differs":             updates,
	"deleting an application":                      deleteApplication,
	"deleting a provider":                          deleteProvider,
	"deleting a resource":                          deleteResource,
	"deleting a user, an account, an organization": deleteOwners,
	"deleting a session ends its children":         deleteSession,
	"an edge is replaced":                          replaceEdge,
	"versions are numbered":                        versions,
	"versions are archived once":                   archivedVersions,
	"drafts":                                       drafts,
	"consents":                                     consentRecords,
	"keys":                                         keys,
}

// trip stores an entity and compares what comes back, after setting what the
// store fills.
func trip[T any](w *world, writes func(deputy.Tx) deputy.Inserts[T], reads deputy.Reads[T], in deputy.Scope, id deputy.ID, e *T) {
	w.Helper()
	w.insert(func(t deputy.Tx) error { return writes(t).Insert(w.ctx, e) })
	got, err := reads.Get(w.ctx, in, id)
	w.must(err)
	w.same(e, got)
	w.must(w.write(func(t deputy.Tx) error {
		inside, err := writes(t).Get(w.ctx, in, id)
		if err == nil && !cmp.Equal(e, inside) {
			err = errors.New(cmp.Diff(e, inside))
		}
		return err
	}))
}

// asInserts widens a collection that can do more.
func asInserts[T any](writes func(deputy.Tx) deputy.Writes[T]) func(deputy.Tx) deputy.Inserts[T] {
	return func(t deputy.Tx) deputy.Inserts[T] { return writes(t) }
}

func roundTrip(w *world) {
	at := func() *time.Time { return ref(w.tick()) }
	o := w.organization("Initech")
	trip(w, asInserts(deputy.Tx.Organizations), w.Organizations(), deputy.Scope{}, deputy.ID(o.ID), o)
	now := w.tick()
	account := &deputy.ServiceAccount{ID: w.newID(), OrganizationID: w.org.ID, Name: "Ünï", Description: ref(""), CreatedAt: now, UpdatedAt: now}
	trip(w, asInserts(deputy.Tx.ServiceAccounts), w.ServiceAccounts(), w.owned(), account.ID, account)
	secret := &deputy.ServiceAccountCredential{
		ID: w.newID(), OrganizationID: w.org.ID, ServiceAccountID: account.ID, Name: "n", Description: ref("d"), ClientID: "Client", SecretHash: []byte{0, 1, 255},
		LastUsedAt: at(), CreatedAt: now,
	}
	trip(w, asInserts(deputy.Tx.ServiceCredentials), w.ServiceCredentials(), w.owned(), secret.ID, secret)

	z := w.newZone("Everything")
	z.Description = ref("of a zone")
	z.DefaultGatewayApplicationID, z.DefaultResourceID = ref(deputy.ApplicationID("a")), ref(deputy.ResourceID("r"))
	z.UserIdentityProviderID, z.EncryptionKey = ref(deputy.ProviderID("p")), &deputy.EncryptionKey{Type: "aws", ARN: "arn"}
	z.CIMDEnabled, z.CIMDClientIDs = true, []string{"https://*.example.com", `with "quotes"`}
	z.ActivePolicySetVersionID, z.ShadowPolicySetVersionID, z.PolicySchema = "v", "s", "2026-01-01"
	trip(w, asInserts(deputy.Tx.Zones), w.Zones(), w.owned(), deputy.ID(z.ID), z)

	a := w.application("app")
	a.Description, a.DocsURL = ref("an app"), ref("https://docs.example.com")
	a.RedirectURIs, a.LogoutURIs, a.Traits = []string{"b:/", "a:/"}, []string{"c:/"}, []string{"gateway", "mcp-provider"}
	trip(w, asInserts(deputy.Tx.Applications), w.Applications(), w.in, deputy.ID(a.ID), a)
	c := w.credential(a.ID, deputy.TokenCredential, "*")
	c.SecretHash, c.JWKSURI, c.ProviderID, c.Subject = []byte{1}, "https://jwks.example.com", "p", ref("sub")
	trip(w, asInserts(deputy.Tx.Credentials), w.Credentials(), w.in, deputy.ID(c.ID), c)
	p := w.provider("https://issuer.example.com")
	p.Description, p.ClientID, p.SealedSecret, p.Metadata = ref("d"), ref("id"), []byte{0, 9}, []byte(`{"a": [1]}`)
	p.OAuth2 = &deputy.ProviderOAuth2{Issuer: ref("i"), ScopesSupported: []string{}, AuthorizationParameters: map[string]string{"k": "v"}, AuthorizationResourceEnabled: ref(false)}
	p.OpenID, p.HasProtocols = &deputy.ProviderOpenID{UserinfoEndpoint: ref("u"), Scopes: []string{"s"}}, true
	trip(w, asInserts(deputy.Tx.Providers), w.Providers(), w.in, deputy.ID(p.ID), p)
	r := w.resource("https://api.example.com")
	r.Description, r.Prefix, r.Lifetime, r.SigningAlg = ref("d"), true, ref(600), ref("ES256")
	r.ApplicationID, r.CredentialProviderID, r.Scopes, r.DocsURL = &a.ID, &p.ID, []string{"write", "read"}, ref("https://d")
	trip(w, asInserts(deputy.Tx.Resources), w.Resources(), w.in, deputy.ID(r.ID), r)
	trip(w, asInserts(deputy.Tx.Dependencies), w.Dependencies(), w.below(deputy.ID(a.ID)), deputy.ID(r.ID), w.edge(a, r, "x", "y"))
	u := w.user("somebody")
	u.EmailVerified, u.Status, u.ProviderID, u.Issuer, u.Subject, u.AuthenticatedAt = true, deputy.UserDisabled, &p.ID, ref("i"), ref("s"), at()
	trip(w, asInserts(deputy.Tx.Users), w.Users(), w.in, deputy.ID(u.ID), u)
	s := w.session(deputy.UserSession)
	s.ParentID, s.UserID, s.ApplicationID, s.UserAgentID = ref(deputy.SessionID("p")), &u.ID, &a.ID, ref(deputy.ID("ua"))
	s.CredentialID, s.ProviderID, s.Name, s.Issuer, s.Subject, s.Data = &c.ID, &p.ID, "n", "i", "s", []byte(`{"sub":"s"}`)
	trip(w, asInserts(deputy.Tx.Sessions), w.Sessions(), w.in, deputy.ID(s.ID), s)
	g := w.grant(u, r)
	g.Scopes, g.RefreshTokenSet, g.RefreshedAt = []string{"read"}, true, at()
	g.Requested, g.Sealed, g.Lease, g.Fence = []string{"read", "write"}, []byte{1, 0, 255}, *at(), 7
	trip(w, asInserts(deputy.Tx.Grants), w.Grants(), w.in, g.ID, g)

	policy := w.policy("allow")
	policy.Description, policy.ArchivedAt, policy.UpdatedBy = ref("d"), at(), "you"
	trip(w, asInserts(deputy.Tx.Policies), w.Policies(), w.in, policy.ID, policy)
	version := w.policyVersion(policy, "permit (principal, action, resource);")
	version.ArchivedAt, version.ArchivedBy = at(), "you"
	trip(w, func(t deputy.Tx) deputy.Inserts[deputy.PolicyVersion] { return t.PolicyVersions() }, w.PolicyVersions(), w.below(policy.ID), version.ID, version)
	set := w.policySet("set")
	set.ShadowVersion, set.ShadowVersionID, set.ArchivedAt = 2, "v2", at()
	trip(w, asInserts(deputy.Tx.PolicySets), w.PolicySets(), w.in, set.ID, set)
	setVersion := w.setVersion(set, deputy.ManifestEntry{PolicyID: "p", PolicyVersionID: "v", SHA: "s"}, deputy.ManifestEntry{PolicyID: "a"})
	setVersion.ArchivedAt, setVersion.ArchivedBy = at(), "you"
	trip(w, func(t deputy.Tx) deputy.Inserts[deputy.PolicySetVersion] { return t.PolicySetVersions() }, w.PolicySetVersions(), w.below(set.ID), setVersion.ID, setVersion)
	schema := &deputy.PolicySchema{Version: "2025-01-01", Status: deputy.SchemaArchived, CreatedAt: now, UpdatedAt: now, DeprecatedAt: at(), ArchivedAt: at()}
	trip(w, asInserts(deputy.Tx.PolicySchemas), w.PolicySchemas(), deputy.Scope{}, deputy.ID(schema.Version), schema)
	trip(w, asInserts(deputy.Tx.PolicyDrafts), w.PolicyDrafts(), w.in, policy.ID, w.policyDraft(policy))
	draft := w.policySetDraft(set)
	draft.Name, draft.Description, draft.BaseVersionID = ref("n"), ref(""), setVersion.ID
	trip(w, asInserts(deputy.Tx.PolicySetDrafts), w.PolicySetDrafts(), w.in, set.ID, draft)
}

// drafts checks that there is one of each, that its revision goes on from where
// it began, and that it goes with what it is a draft of.
func drafts(w *world) {
	p, s := w.policy("p"), w.policySet("s")
	pd, sd := w.policyDraft(p), w.policySetDraft(s)
	w.insert(
		func(t deputy.Tx) error { return t.Policies().Insert(w.ctx, p) },
		func(t deputy.Tx) error { return t.PolicySets().Insert(w.ctx, s) },
		func(t deputy.Tx) error { return t.PolicyDrafts().Insert(w.ctx, pd) },
		func(t deputy.Tx) error { return t.PolicySetDrafts().Insert(w.ctx, sd) },
	)
	w.is(w.write(func(t deputy.Tx) error { return t.PolicyDrafts().Insert(w.ctx, w.policyDraft(p)) }), deputy.Conflict)
	w.is(w.write(func(t deputy.Tx) error { return t.PolicySetDrafts().Insert(w.ctx, w.policySetDraft(s)) }), deputy.Conflict)
	since := w.revision()
	first := pd.Revision
	w.must(w.write(func(t deputy.Tx) error {
		d, err := t.PolicyDrafts().Update(w.ctx, w.in, p.ID, func(d *deputy.PolicyDraft) error { d.Text = "other"; return nil })
		if err == nil && d.Revision != first+1 {
			w.Errorf("revision %d after %d", d.Revision, first)
		}
		return err
	}))
	w.same(since, w.revision()) // no snapshot holds a draft
	w.must(w.write(func(t deputy.Tx) error {
		return errors.Join(t.Policies().Delete(w.ctx, w.in, p.ID), t.PolicySets().Delete(w.ctx, w.in, s.ID))
	}))
	_, err := w.PolicyDrafts().Get(w.ctx, w.in, p.ID)
	w.is(err, deputy.NotFound)
	_, err = w.PolicySetDrafts().Get(w.ctx, w.in, s.ID)
	w.is(err, deputy.NotFound)
}

func scopes(w *world) {
	mine := w.application("twin")
	w.insert(func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, mine) })
	other := w.newZone("Other")
	w.insert(func(t deputy.Tx) error { return t.Zones().Insert(w.ctx, other) })
	twin := *mine
	twin.ZoneID, twin.Name = other.ID, "the twin"
	w.insert(func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, &twin) }) // the same id, slug and identifier

	there := deputy.Scope{Organization: w.org.ID, Zone: other.ID}
	id := deputy.ID(mine.ID)
	w.same(&twin, sure(w.Applications().Get(w.ctx, there, id)))
	w.same(mine, sure(w.Applications().Find(w.ctx, w.in, "identifier", "twin")))
	w.must(w.write(func(t deputy.Tx) error { return t.Applications().Delete(w.ctx, there, id) }))
	w.same(mine, sure(w.Applications().Get(w.ctx, w.in, id)))
	_, err := w.Applications().Get(w.ctx, there, id)
	w.is(err, deputy.NotFound)

	for name, in := range map[string]deputy.Scope{
		"foreign organization": {Organization: "somebody", Zone: w.zone.ID},
		"foreign zone":         there,
		"no zone":              {Organization: w.org.ID},
	} {
		if _, err := w.Applications().Get(w.ctx, in, id); !errors.Is(err, deputy.NotFound) {
			w.Errorf("%s: get: %v", name, err)
		}
		if _, err := w.Applications().Find(w.ctx, in, "identifier", "twin"); !errors.Is(err, deputy.NotFound) {
			w.Errorf("%s: find: %v", name, err)
		}
		if p, err := w.Applications().List(w.ctx, in, deputy.Query{}); err != nil || len(p.Items) > 0 {
			w.Errorf("%s: list: %v, %v", name, p, err)
		}
		if err := w.write(func(t deputy.Tx) error {
			_, err := t.Applications().Update(w.ctx, in, id, func(a *deputy.Application) error { a.Name = "changed"; return nil })
			return err
		}); !errors.Is(err, deputy.NotFound) {
			w.Errorf("%s: update: %v", name, err)
		}
		if err := w.write(func(t deputy.Tx) error { return t.Applications().Delete(w.ctx, in, id) }); !errors.Is(err, deputy.NotFound) {
			w.Errorf("%s: delete: %v", name, err)
		}
	}
	_, err = w.Zones().Get(w.ctx, deputy.Scope{Organization: "somebody"}, deputy.ID(w.zone.ID))
	w.is(err, deputy.NotFound)
	_, err = w.Credentials().Get(w.ctx, w.below("no application"), "none")
	w.is(err, deputy.NotFound)
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

func updates(w *world) {
	a := w.application("app")
	w.insert(func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, a) })
	if a.Revision != 1 {
		w.Errorf("a new application has revision %d", a.Revision)
	}
	id := deputy.ID(a.ID)
	change := func(f func(*deputy.Application) error) (got *deputy.Application, err error) {
		err = w.write(func(t deputy.Tx) error {
			got, err = t.Applications().Update(w.ctx, w.in, id, f)
			return err
		})
		return got, err
	}
	at := w.tick()
	got, err := change(func(a *deputy.Application) error { a.Name, a.Traits = "new", []string{"gateway"}; return nil })
	w.must(err)
	if got.Revision != 2 || got.UpdatedAt.Before(at) || got.Name != "new" {
		w.Errorf("after a change: %+v", got)
	}
	w.same(got, sure(w.Applications().Get(w.ctx, w.in, id)))
	z := sure(w.Zone(w.ctx, w.zone.ID, 0)).Revision
	same, err := change(func(a *deputy.Application) error { a.Traits = []string{"gateway"}; return nil })
	w.must(err)
	w.same(got, same)
	if now := sure(w.Zone(w.ctx, w.zone.ID, 0)).Revision; now != z {
		w.Errorf("changing nothing moved the zone from %d to %d", z, now)
	}
	_, err = change(func(a *deputy.Application) error { a.Name = "no"; return deputy.Bad("name", "no") })
	w.blames(err, deputy.Invalid, "name")
	w.same(got, sure(w.Applications().Get(w.ctx, w.in, id)))
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

func replaceEdge(w *world) {
	a, r := w.application("app"), w.resource("api")
	first, second := w.edge(a, r, "x"), w.edge(a, r)
	w.insert(
		func(t deputy.Tx) error { return t.Applications().Insert(w.ctx, a) },
		func(t deputy.Tx) error { return t.Dependencies().Insert(w.ctx, first) },
		func(t deputy.Tx) error { return t.Dependencies().Insert(w.ctx, second) },
	)
	got := sure(w.Dependencies().Get(w.ctx, w.below(deputy.ID(a.ID)), deputy.ID(r.ID)))
	if len(got.WhenAccessing) != 0 || !got.CreatedAt.Equal(first.CreatedAt) {
		w.Errorf("the edge is %+v", got)
	}
	if app := sure(w.Applications().Get(w.ctx, w.in, deputy.ID(a.ID))); app.Dependencies != 1 {
		w.Errorf("the application has %d dependencies", app.Dependencies)
	}
}

func versions(w *world) {
	p, s := w.policy("p"), w.policySet("s")
	w.insert(
		func(t deputy.Tx) error { return t.Policies().Insert(w.ctx, p) },
		func(t deputy.Tx) error { return t.PolicySets().Insert(w.ctx, s) },
	)
	for want := 1; want <= 3; want++ {
		v, sv := w.policyVersion(p, "permit(principal,action,resource);"), w.setVersion(s)
		w.insert(
			func(t deputy.Tx) error { return t.PolicyVersions().Insert(w.ctx, v) },
			func(t deputy.Tx) error { return t.PolicySetVersions().Insert(w.ctx, sv) },
		)
		policy := sure(w.Policies().Get(w.ctx, w.in, p.ID))
		set := sure(w.PolicySets().Get(w.ctx, w.in, s.ID))
		if v.Version != want || sv.Version != want || policy.LatestVersion != want || set.LatestVersion != want ||
			policy.LatestVersionID != v.ID || set.LatestVersionID != sv.ID || policy.LatestSchemaVersion != v.SchemaVersion {
			w.Errorf("version %d: %+v %+v %+v %+v", want, v, sv, policy, set)
		}
		if set.Revision != 1 {
			w.Errorf("a new version moved the set's revision to %d", set.Revision)
		}
	}
	w.is(w.write(func(t deputy.Tx) error {
		return t.PolicyVersions().Insert(w.ctx, w.policyVersion(w.policy("absent"), "x"))
	}), deputy.NotFound)
	_, err := w.PolicyVersions().Get(w.ctx, w.below("another policy"), p.ID)
	w.is(err, deputy.NotFound)
}

func archivedVersions(w *world) {
	p, s := w.policy("policy"), w.policySet("set")
	v := w.policyVersion(p, "permit (principal, action, resource);")
	m := w.setVersion(s, deputy.ManifestEntry{PolicyID: p.ID, PolicyVersionID: v.ID, SHA: v.SHA})
	w.insert(
		func(t deputy.Tx) error { return t.Policies().Insert(w.ctx, p) },
		func(t deputy.Tx) error { return t.PolicyVersions().Insert(w.ctx, v) },
		func(t deputy.Tx) error { return t.PolicySets().Insert(w.ctx, s) },
		func(t deputy.Tx) error { return t.PolicySetVersions().Insert(w.ctx, m) },
	)
	var at time.Time
	archive := func(policy, set deputy.ID, by string) error {
		return w.write(func(t deputy.Tx) error {
			at = t.Now()
			archived, err := t.PolicyVersions().Archive(w.ctx, w.below(policy), v.ID, by)
			if err != nil {
				return err
			}
			w.same(by, archived.ArchivedBy)
			_, err = t.PolicySetVersions().Archive(w.ctx, w.below(set), m.ID, by)
			return err
		})
	}
	w.is(archive(w.newID(), s.ID, "me"), deputy.NotFound) // another policy's
	w.is(archive(p.ID, w.newID(), "me"), deputy.NotFound) // both or none
	w.same(v, sure(w.PolicyVersions().Get(w.ctx, w.below(p.ID), v.ID)))
	w.must(archive(p.ID, s.ID, "me"))
	v.ArchivedAt, v.ArchivedBy, m.ArchivedAt, m.ArchivedBy = ref(at), "me", ref(at), "me"
	w.must(w.write(func(t deputy.Tx) error {
		_, err := t.PolicyVersions().Archive(w.ctx, w.below(p.ID), v.ID, "another")
		return err
	}))
	w.same(v, sure(w.PolicyVersions().Get(w.ctx, w.below(p.ID), v.ID)))
	w.same(m, sure(w.PolicySetVersions().Get(w.ctx, w.below(s.ID), m.ID)))
	// The attestation is the one thing that is made again.
	since, again := w.revision(), *m
	again.Attestation, again.ManifestSHA = []byte(`{"payload":"y"}`), "other"
	w.must(w.write(func(t deputy.Tx) error { return t.Reattest(w.ctx, &again) }))
	m.Attestation = again.Attestation
	w.same(m, sure(w.PolicySetVersions().Get(w.ctx, w.below(s.ID), m.ID)))
	w.same(since, w.revision())
	again.ID = w.newID()
	w.is(w.write(func(t deputy.Tx) error { return t.Reattest(w.ctx, &again) }), deputy.NotFound)
}

func consentRecords(w *world) {
	c := &deputy.ConsentRecord{ZoneID: w.zone.ID, UserID: "u", ClientID: "a", ResourceID: "r", Scopes: []string{"read"}, CreatedAt: w.tick()}
	_, err := w.Consent(w.ctx, c.ZoneID, "u", "a", "r")
	w.is(err, deputy.NotFound)
	for _, scopes := range [][]string{{"read"}, {"read", "write"}} {
		c.Scopes = scopes
		w.insert(func(t deputy.Tx) error {
			if err := t.PutConsent(w.ctx, c); err != nil {
				return err
			}
			w.same(c, sure(t.Consent(w.ctx, c.ZoneID, "u", "a", "r"))) // a transaction sees its own
			_, err := t.Consent(w.ctx, c.ZoneID, "u", "a", "other")
			w.is(err, deputy.NotFound)
			return nil
		})
		w.same(c, sure(w.Consent(w.ctx, c.ZoneID, "u", "a", "r")))
	}
	_, err = w.Consent(w.ctx, "elsewhere", "u", "a", "r")
	w.is(err, deputy.NotFound)
}

func keys(w *world) {
	data := deputy.DataKey{ID: w.newID(), OwnerID: "o", ParentID: "p", Wrapped: []byte{1, 0}, CreatedAt: w.tick()}
	of := func(owner deputy.ID, id string) deputy.SigningKey {
		return deputy.SigningKey{
			ID: id, OwnerID: owner, Algorithm: deputy.ES256, State: deputy.KeyNext, Public: []byte(`{"kty":"EC"}`), Sealed: []byte{7, 0}, CreatedAt: w.tick(),
		}
	}
	second, first := of(deputy.ID(w.zone.ID), "a"), of(deputy.ID(w.zone.ID), "b")
	second, first = first, second // created in this order
	platform := of(deputy.PlatformID, "a")
	since := w.revision()
	w.insert(
		func(t deputy.Tx) error { return t.InsertDataKey(w.ctx, data) },
		func(t deputy.Tx) error { return t.InsertSigningKey(w.ctx, first) },
		func(t deputy.Tx) error { return t.InsertSigningKey(w.ctx, second) },
		func(t deputy.Tx) error { return t.InsertSigningKey(w.ctx, platform) },
	)
	w.same(data, sure(w.DataKey(w.ctx, data.ID)))
	_, err := w.DataKey(w.ctx, "none")
	w.is(err, deputy.NotFound)
	w.same([]deputy.SigningKey{first, second}, sure(w.SigningKeys(w.ctx, deputy.ID(w.zone.ID))))
	w.same([]deputy.SigningKey{first, second}, w.delta(since).Keys)
	w.same([]deputy.SigningKey{platform}, sure(w.SigningKeys(w.ctx, deputy.PlatformID)))
	first.State, first.ActivatedAt = deputy.KeyActive, ref(w.tick())
	since = w.revision()
	w.insert(func(t deputy.Tx) error { return t.UpdateSigningKey(w.ctx, first) })
	w.same([]deputy.SigningKey{first, second}, w.delta(since).Keys)
	w.is(w.write(func(t deputy.Tx) error { return t.UpdateSigningKey(w.ctx, of(deputy.PlatformID, "none")) }), deputy.NotFound)
	since = w.revision()
	w.insert(func(t deputy.Tx) error { return t.DeleteSigningKey(w.ctx, first.OwnerID, first.ID) })
	w.same([]deputy.SigningKey{second}, w.delta(since).Keys)
	w.is(w.write(func(t deputy.Tx) error { return t.DeleteSigningKey(w.ctx, first.OwnerID, first.ID) }), deputy.NotFound)
	w.is(w.write(func(t deputy.Tx) error { return t.DeleteSigningKey(w.ctx, second.OwnerID, platform.ID) }), deputy.NotFound)
	if none := sure(w.SigningKeys(w.ctx, "nobody")); len(none) != 0 {
		w.Error("keys of nobody")
	}
}

// revision returns the zone's revision.
func (w *world) revision() int64 {
	w.Helper()
	d, err := w.Zone(w.ctx, w.zone.ID, 0)
	w.must(err)
	return d.Revision
}

// delta returns what changed in the zone.
func (w *world) delta(since int64) *deputy.ZoneDelta {
	w.Helper()
	d, err := w.Zone(w.ctx, w.zone.ID, since)
	w.must(err)
	if d.Full {
		w.Fatalf("the delta since %d of %d is full", since, d.Revision)
	}
	return d
}
