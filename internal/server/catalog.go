package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"deputy/internal/catalog"
	"deputy/internal/deputy"
)

// catalogWorks has its own group, because people wait for it.
var catalogWorks = map[string]work{deputy.TaskCatalog: (*Server).runCatalogTask}

// runCatalogTask does a task of the catalog. The API does it, as the calls that
// whoever asked for it could have made.
func (s *Server) runCatalogTask(ctx context.Context, t deputy.Task) (again time.Time, err error) {
	return time.Time{}, s.api.RunCatalogTask(ctx, t.ZoneID, t.ID, t.Attempt)
}

// releasePackages brings the global catalog to what the program comes with:
// each package that is new, or another than its current version, is released.
// Of several nodes that start together one does it.
func (s *Server) releasePackages(ctx context.Context) error {
	current, err := s.globalCatalog(ctx)
	if err != nil {
		return err
	}
	var news []catalog.Shipped
	key := "packages"
	for _, p := range catalog.Packages() {
		if known := current[p.Slug]; known == nil || known.sha != p.SHA {
			news = append(news, p)
			key += " " + p.SHA
		}
	}
	first, err := s.store.Organizations().List(ctx, deputy.Scope{}, deputy.Query{Limit: 1, Sort: []deputy.Sort{{Field: "created_at"}}})
	if err != nil || len(news) == 0 || len(first.Items) == 0 {
		return err // without an organization there is no log, and nobody to install anything
	}
	now := deputy.Time(s.cfg.now())
	event := &deputy.Event{
		ID: deputy.EventID(deputy.NewID(now)), Time: now, Type: "packages:release", Outcome: deputy.Success, Count: len(news),
		OrganizationID: first.Items[0].ID, Actor: deputy.Actor{Type: "platform"},
	}
	digest := sha256.Sum256([]byte(key))
	return s.store.Write(ctx, event, func(tx deputy.Tx) error {
		mine, err := tx.Once(ctx, "packages "+hex.EncodeToString(digest[:]))
		if err != nil || !mine {
			return err
		}
		for _, p := range news {
			if err := releasePackage(ctx, tx, current[p.Slug], &p); err != nil {
				return err
			}
		}
		return nil
	})
}

// globalPackage is a package of the global catalog with the hash of its
// current version.
type globalPackage struct {
	id  deputy.ID
	sha string
}

// globalCatalog returns the global catalog by slug.
func (s *Server) globalCatalog(ctx context.Context) (map[string]*globalPackage, error) {
	packages, err := s.store.Packages().List(ctx, deputy.Scope{}, deputy.Query{All: true})
	if err != nil {
		return nil, err
	}
	versions, err := s.store.PackageVersions().List(ctx, deputy.Scope{}, deputy.Query{All: true})
	if err != nil {
		return nil, err
	}
	sha := map[deputy.ID]string{}
	for _, v := range versions.Items {
		sha[v.ID] = v.ManifestSHA
	}
	out := map[string]*globalPackage{}
	for _, p := range packages.Items {
		out[p.Slug] = &globalPackage{p.ID, sha[p.CurrentVersionID]}
	}
	return out, nil
}

// releasePackage releases a package that is known already, or new.
func releasePackage(ctx context.Context, tx deputy.Tx, known *globalPackage, shipped *catalog.Shipped) error {
	now := tx.Now()
	manifest, err := shipped.Manifest.JSON()
	if err != nil {
		return err
	}
	if known == nil {
		p := &deputy.Package{
			ID: deputy.NewID(now), CatalogID: deputy.GlobalCatalog, Slug: shipped.Slug, Kind: shipped.Manifest.Kind,
			Published: true, CreatedAt: now, UpdatedAt: now,
		}
		if err := tx.Packages().Insert(ctx, p); err != nil {
			return err
		}
		known = &globalPackage{id: p.ID}
	}
	v := &deputy.PackageVersion{
		ID: deputy.NewID(now), CatalogID: deputy.GlobalCatalog, PackageID: known.id, Owner: deputy.Platform,
		Manifest: manifest, ManifestSHA: shipped.SHA, CreatedAt: now,
	}
	if err := tx.PackageVersions().Insert(ctx, v); err != nil {
		return err
	}
	_, err = tx.Packages().Update(ctx, deputy.Scope{}, known.id, func(p *deputy.Package) error {
		p.CurrentVersionID, p.Name, p.Published, p.LatestVersion = v.ID, shipped.Manifest.Name, true, v.Version
		return nil
	})
	return err
}
