package storetest

import (
	"deputy/internal/deputy"
)

var catalogs = map[string]func(*world){
	"the catalog reads back the same":     catalogRoundTrip,
	"a scope sees the catalogs of a zone": catalogScopes,
	"package versions are numbered":       packageVersions,
	"the catalog goes with its zone":      purgeCatalog,
}

func (w *world) pkg(catalog deputy.ID, slug string) *deputy.Package {
	now := w.tick()
	return &deputy.Package{
		ID: w.newID(), CatalogID: catalog, Slug: slug, Kind: "api-key", Name: "Ünï", Draft: []byte(`{"name":"Ünï"}`),
		DraftID: w.newID(), DraftSHA: "00", DraftUpdatedAt: &now, CreatedAt: now, UpdatedAt: now,
	}
}

func catalogRoundTrip(w *world) {
	now := w.tick()
	p := w.pkg(deputy.ID(w.zone.ID), "one")
	p.OrganizationID, p.Published, p.ArchivedAt = w.org.ID, true, &now
	own := deputy.Scope{Zone: w.zone.ID}
	trip(w, asInserts(deputy.Tx.Packages), w.Packages(), own, p.ID, p)
	v := &deputy.PackageVersion{
		ID: w.newID(), CatalogID: p.CatalogID, PackageID: p.ID, Owner: deputy.Customer, Manifest: []byte(`{"name":"Ünï"}`),
		ManifestSHA: "00", CreatedBy: "somebody", CreatedAt: now, ArchivedAt: &now, ArchivedBy: "somebody else",
	}
	trip(w, func(t deputy.Tx) deputy.Inserts[deputy.PackageVersion] { return t.PackageVersions() }, w.PackageVersions(), own, v.ID, v)
	i := &deputy.Install{
		ID: w.newID(), OrganizationID: w.org.ID, ZoneID: w.zone.ID, PackageID: p.ID, PackageSlug: p.Slug, CatalogID: p.CatalogID, Version: 1,
		Status: deputy.InstallPending, Inputs: []byte(`{"a":1}`), SealedInputs: []byte{0, 1, 255}, Outputs: []byte(`{}`), CreatedAt: now, UpdatedAt: now,
	}
	trip(w, asInserts(deputy.Tx.Installs), w.Installs(), w.in, i.ID, i)
	e := &deputy.InstalledEntity{
		ZoneID: w.zone.ID, InstallID: i.ID, Name: "resource", Position: 1, Type: "resource", EntityID: w.newID(), Path: "/x",
		Relation: deputy.EntityCreated, CreatedAt: now,
	}
	trip(w, asInserts(deputy.Tx.InstalledEntities), w.InstalledEntities(), w.below(i.ID), deputy.ID(e.Name), e)
	task := &deputy.CatalogTask{
		ID: w.newID(), OrganizationID: w.org.ID, ZoneID: w.zone.ID, InstallID: i.ID, Operation: deputy.CreateInstall,
		Status: deputy.CatalogTaskFailed, Error: "why", Warnings: []byte(`[]`), Run: w.newID(), Actor: &deputy.Actor{Type: "service_account", ID: "x"},
		RequestID: "r", CreatedAt: now, UpdatedAt: now,
	}
	trip(w, asInserts(deputy.Tx.CatalogTasks), w.CatalogTasks(), w.in, task.ID, task)
}

func catalogScopes(w *world) {
	other := w.newZone("Other")
	w.insert(func(t deputy.Tx) error { return t.Zones().Insert(w.ctx, other) })
	for _, catalog := range []deputy.ID{deputy.ID(w.zone.ID), deputy.ID(w.org.ID), deputy.GlobalCatalog, deputy.ID(other.ID)} {
		p := w.pkg(catalog, "same")
		w.insert(func(t deputy.Tx) error { return t.Packages().Insert(w.ctx, p) })
		w.same("same", p.Slug) // the slug is taken in other catalogs alone
		again := w.pkg(catalog, "same")
		w.insert(func(t deputy.Tx) error { return t.Packages().Insert(w.ctx, again) })
		if again.Slug == "same" {
			w.Error("two packages of a catalog have one slug")
		}
	}
	for in, n := range map[deputy.Scope]int{w.in: 6, {Zone: w.zone.ID}: 2, {Organization: w.org.ID}: 2, {}: 2, {Zone: "elsewhere"}: 0} {
		if p := sure(w.Packages().List(w.ctx, in, deputy.Query{})); len(p.Items) != n {
			w.Errorf("%+v sees %d packages, want %d", in, len(p.Items), n)
		}
	}
}

func packageVersions(w *world) {
	p := w.pkg(deputy.ID(w.zone.ID), "one")
	w.insert(func(t deputy.Tx) error { return t.Packages().Insert(w.ctx, p) })
	in := deputy.Scope{Zone: w.zone.ID}
	for n := range 3 {
		v := &deputy.PackageVersion{ID: w.newID(), CatalogID: p.CatalogID, PackageID: p.ID, Manifest: []byte(`{}`), CreatedAt: w.tick()}
		w.insert(func(t deputy.Tx) error { return t.PackageVersions().Insert(w.ctx, v) })
		got := sure(w.Packages().Get(w.ctx, in, p.ID))
		if v.Version != n+1 || got.LatestVersion != n+1 {
			w.Errorf("version %d, package at %d", v.Version, got.LatestVersion)
		}
	}
	orphan := &deputy.PackageVersion{ID: w.newID(), CatalogID: p.CatalogID, PackageID: "nobody's", Manifest: []byte(`{}`), CreatedAt: w.tick()}
	w.is(w.write(func(t deputy.Tx) error { return t.PackageVersions().Insert(w.ctx, orphan) }), deputy.NotFound)
	in.Parent = p.ID
	if l := sure(w.PackageVersions().List(w.ctx, in, deputy.Query{})); len(l.Items) != 3 || l.Items[0].Version != 3 {
		w.Errorf("%d versions", len(l.Items))
	}
}

func purgeCatalog(w *world) {
	catalogRoundTrip(w)
	w.must(w.write(func(t deputy.Tx) error { return t.Zones().Delete(w.ctx, w.owned(), deputy.ID(w.zone.ID)) }))
	for sure(w.PurgeZone(w.ctx, w.zone.ID, 2)) {
	}
	if p := sure(w.Packages().List(w.ctx, deputy.Scope{Zone: w.zone.ID}, deputy.Query{})); len(p.Items) != 0 {
		w.Error("a package is left of a zone")
	}
	if p := sure(w.PackageVersions().List(w.ctx, deputy.Scope{Zone: w.zone.ID}, deputy.Query{})); len(p.Items) != 0 {
		w.Error("a package version is left of a zone")
	}
	in := deputy.Scope{Zone: w.zone.ID}
	if len(sure(w.Installs().List(w.ctx, in, deputy.Query{})).Items)+len(sure(w.InstalledEntities().List(w.ctx, in, deputy.Query{})).Items)+
		len(sure(w.CatalogTasks().List(w.ctx, in, deputy.Query{})).Items) != 0 {
		w.Error("an install is left of a zone")
	}
}
