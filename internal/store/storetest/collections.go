package storetest

import (
	"errors"
	"time"

	"deputy/internal/deputy"

	"github.com/google/go-cmp/cmp"
)

var collections = map[string]func(*world){
	"what is stored reads back the same":         roundTrip,
	"what lies outside the scope does not exist": scopes,
	"an update counts up what differs":           updates,
	"an edge is replaced":                        replaceEdge,
	"versions are numbered":                      versions,
	"versions are archived once":                 archivedVersions,
	"drafts":                                     drafts,
	"consents":                                   consentRecords,
	"keys":                                       keys,
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
