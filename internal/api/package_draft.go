package api

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"deputy/internal/catalog"
	"deputy/internal/deputy"
)

// release returns a stored manifest ready for use, or an Invalid error with
// what keeps it from being released. Those used last are kept: the check
// compiles schemas and expressions.
func (a *API) release(manifest []byte) (*catalog.Release, error) {
	key := sha256.Sum256(manifest)
	if r, ok := a.releases.GetIfPresent(key); ok {
		return r, nil
	}
	m, err := catalog.ParseManifest(manifest)
	if err != nil {
		return nil, err
	}
	r, err := a.catalog().Check(m)
	if err == nil {
		a.releases.Set(key, r)
	}
	return r, err
}

// schemaOf returns a schema as manifests have it; null is none.
func schemaOf(s CatalogSchema) jsontext.Value {
	if string(s.Value) == "null" {
		return nil
	}
	return jsontext.Value(s.Value)
}

func rawValues(values map[string]Value) map[string]jsontext.Value {
	if len(values) == 0 {
		return nil
	}
	out := map[string]jsontext.Value{}
	for name, v := range values {
		out[name] = jsontext.Value(v)
	}
	return out
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func packageTarget(p *deputy.Package) *deputy.Target {
	return &deputy.Target{Type: "package", ID: string(p.ID)}
}

// setDraft puts a manifest into a package as its draft.
func (c *call) setDraft(p *deputy.Package, m *catalog.Manifest) error {
	if err := withoutNullKeywords(m); err != nil {
		return err
	}
	raw, err := m.JSON()
	if err != nil {
		return err
	}
	sha, err := m.SHA()
	if err != nil {
		return deputy.Error{Kind: deputy.Invalid, Message: "the manifest cannot be written as JSON"}.Because(err)
	}
	if p.Draft == nil {
		p.DraftID = deputy.NewID(c.at)
	}
	now := c.at
	p.Draft, p.DraftSHA, p.DraftUpdatedAt = raw, sha, &now
	if p.CurrentVersionID == "" {
		p.Name = m.Name
	}
	return nil
}

func (a *API) createPackage(ctx context.Context, c *call, in *input[PackageCreate]) (*output[Package], error) {
	if a.catalog().Kind(in.Body.Kind) == nil {
		return nil, deputy.Bad("kind", "is not a kind that is known here")
	}
	own := catalogOf(c)
	p := &deputy.Package{
		ID: deputy.NewID(c.at), CatalogID: deputy.ID(own.Zone), OrganizationID: own.Organization,
		Slug: deputy.Slug(in.Body.Name, "package"), Kind: in.Body.Kind, CreatedAt: c.at, UpdatedAt: c.at,
	}
	if c.zone != nil {
		p.OrganizationID = c.zone.OrganizationID
	} else {
		p.CatalogID = deputy.ID(own.Organization)
	}
	if err := c.setDraft(p, in.Body.manifest(p.Kind)); err != nil {
		return nil, err
	}
	err := a.write(ctx, c, packageTarget(p), func(tx deputy.Tx) error { return tx.Packages().Insert(ctx, p) })
	if err != nil {
		return nil, err
	}
	return a.answerPackage(ctx, c, p)
}

// changePackage changes the package that the path names, if it is this
// catalog's and not archived. Its event is about the version, if one is named.
func (a *API) changePackage(ctx context.Context, c *call, version deputy.ID, change func(deputy.Tx, *deputy.Package) error) (p *deputy.Package, err error) {
	found, err := findPackage(ctx, c, a.store.Packages(), catalogsOf(c), c.param("package_id"))
	if err != nil {
		return nil, err
	}
	event := c.event(deputy.Success, packageTarget(found))
	if version != "" {
		event.Target = &deputy.Target{Type: "package_version", ID: string(version)}
	}
	event.Package = &deputy.EventPackage{ID: found.ID, Slug: found.Slug}
	err = a.writeEvent(ctx, c, event, func(tx deputy.Tx) (err error) {
		if err := ownPackage(c, found); err != nil {
			return err
		}
		p, err = tx.Packages().Update(ctx, catalogOf(c), found.ID, func(p *deputy.Package) error {
			if p.ArchivedAt != nil {
				return deputy.Errorf(deputy.Conflict, "the package is archived")
			}
			return change(tx, p)
		})
		return missing(err, "package")
	})
	return p, err
}

func (a *API) patchPackage(ctx context.Context, c *call, in *input[PackagePatch]) (*output[Package], error) {
	p, err := a.changePackage(ctx, c, "", func(_ deputy.Tx, p *deputy.Package) error {
		in.Body.Published.To(&p.Published)
		if p.Published && p.CurrentVersionID == "" {
			return deputy.Errorf(deputy.Conflict, "a package without a version cannot be published: release its draft first")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return a.answerPackage(ctx, c, p)
}

func (a *API) archivePackage(ctx context.Context, c *call, _ *empty) (*output[Package], error) {
	p, err := a.changePackage(ctx, c, "", func(tx deputy.Tx, p *deputy.Package) error {
		now := tx.Now()
		p.ArchivedAt, p.Published = &now, false
		return nil
	})
	if err != nil {
		return nil, err
	}
	return a.answerPackage(ctx, c, p)
}

// ownDraft returns the package that the path names with its draft, which those
// see who may edit it.
func (a *API) ownDraft(ctx context.Context, c *call) (*deputy.Package, error) {
	p, err := findPackage(ctx, c, a.store.Packages(), catalogsOf(c), c.param("package_id"))
	if err != nil {
		return nil, err
	}
	if p.Draft == nil || ownPackage(c, p) != nil {
		return nil, deputy.Errorf(deputy.NotFound, "the package has no draft")
	}
	return p, nil
}

func (a *API) getDraft(ctx context.Context, c *call, _ *empty) (*output[PackageDraft], error) {
	p, err := a.ownDraft(ctx, c)
	if err != nil {
		return nil, err
	}
	c.answer.Set("ETag", `"`+p.DraftSHA+`"`)
	return &output[PackageDraft]{viewDraft(p)}, nil
}

func (a *API) putDraft(ctx context.Context, c *call, in *input[PackageDraftPut]) (*output[PackageDraft], error) {
	p, err := a.changePackage(ctx, c, "", func(_ deputy.Tx, p *deputy.Package) error {
		tag := `"` + p.DraftSHA + `"`
		if p.Draft == nil && c.header("If-Match") != "" || !matches(c.header("If-Match"), tag) {
			return deputy.Errorf(deputy.Stale, "somebody else changed it: read it again")
		}
		return c.setDraft(p, in.Body.manifest(p.Kind))
	})
	if err != nil {
		return nil, err
	}
	c.answer.Set("ETag", `"`+p.DraftSHA+`"`)
	return &output[PackageDraft]{viewDraft(p)}, nil
}

func (a *API) deleteDraft(ctx context.Context, c *call, _ *empty) (*empty, error) {
	_, err := a.changePackage(ctx, c, "", func(_ deputy.Tx, p *deputy.Package) error {
		if p.Draft == nil {
			return deputy.Errorf(deputy.NotFound, "the package has no draft")
		}
		dropDraft(p)
		return nil
	})
	return nil, err
}

func dropDraft(p *deputy.Package) {
	p.Draft, p.DraftID, p.DraftSHA, p.DraftUpdatedAt = nil, "", "", nil
}

func (a *API) validateDraft(ctx context.Context, c *call, _ *input[struct{}]) (*output[PackageFindings], error) {
	p, err := a.ownDraft(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := a.write(ctx, c, packageTarget(p), func(deputy.Tx) error { return nil }); err != nil {
		return nil, err
	}
	out := PackageFindings{Findings: []ErrorDetail{}}
	for _, f := range a.catalog().Findings(manifestOf(p.Draft)) {
		out.Findings = append(out.Findings, ErrorDetail{Code: CodeValidation, Field: f.Field, Message: f.Message})
	}
	return &output[PackageFindings]{out}, nil
}

// releasePackage makes the draft the next version, if it passes every check.
func (a *API) releasePackage(ctx context.Context, c *call, in *input[PackageRelease]) (*output[PackageVersion], error) {
	v := &deputy.PackageVersion{ID: deputy.NewID(c.at), Owner: deputy.Customer, CreatedBy: c.caller.Actor().ID, CreatedAt: c.at}
	var checked []byte
	_, err := a.changePackage(ctx, c, v.ID, func(tx deputy.Tx, p *deputy.Package) error {
		switch {
		case p.Draft == nil:
			return deputy.Errorf(deputy.Conflict, "there is no draft to release")
		case in.Body.ManifestSHA.Set && in.Body.ManifestSHA.V != p.DraftSHA:
			return deputy.Errorf(deputy.Stale, "the draft is another one by now: read it again")
		}
		if string(checked) != string(p.Draft) { // apply may run again
			if _, err := a.release(p.Draft); err != nil {
				return err
			}
			checked = p.Draft
		}
		if p.CurrentVersionID != "" {
			current, err := tx.PackageVersions().Get(ctx, catalogOf(c), p.CurrentVersionID)
			if err != nil {
				return err
			}
			if current.ManifestSHA == p.DraftSHA {
				return deputy.Errorf(deputy.Conflict, "the draft is the same as version %d: there is nothing to release", current.Version)
			}
		}
		v.CatalogID, v.PackageID, v.Manifest, v.ManifestSHA = p.CatalogID, p.ID, p.Draft, p.DraftSHA
		if err := tx.PackageVersions().Insert(ctx, v); err != nil {
			return err
		}
		p.CurrentVersionID, p.Name, p.LatestVersion = v.ID, manifestOf(p.Draft).Name, v.Version
		dropDraft(p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &output[PackageVersion]{viewPackageVersion(v)}, nil
}

var packageVersionList = listing{Expand: []string{"total_count"}}

func (a *API) listPackageVersions(ctx context.Context, c *call, _ *empty) (*output[ShortList[PackageVersion]], error) {
	p, err := findPackage(ctx, c, a.store.Packages(), catalogsOf(c), c.param("package_id"))
	if err != nil {
		return nil, err
	}
	q, err := packageVersionList.read(a, c)
	if err != nil {
		return nil, err
	}
	in := catalogsOf(c)
	in.Parent = p.ID
	page, err := a.store.PackageVersions().List(ctx, in, q.Query)
	if err != nil {
		return nil, err
	}
	list := newList(page, viewPackageVersion)
	return &output[ShortList[PackageVersion]]{ShortList[PackageVersion]{list.Items, list.Pagination}}, nil
}

func (a *API) getPackageVersion(ctx context.Context, c *call, _ *empty) (*output[PackageVersion], error) {
	p, err := findPackage(ctx, c, a.store.Packages(), catalogsOf(c), c.param("package_id"))
	if err != nil {
		return nil, err
	}
	in := catalogsOf(c)
	in.Parent = p.ID
	v, err := a.store.PackageVersions().Get(ctx, in, deputy.ID(c.param("version_id")))
	if err != nil {
		return nil, missing(err, "package version")
	}
	return &output[PackageVersion]{viewPackageVersion(v)}, nil
}

// archivePackageVersion takes a version out of use; the highest that is left
// becomes the current one.
func (a *API) archivePackageVersion(ctx context.Context, c *call, _ *empty) (*output[PackageVersion], error) {
	var v *deputy.PackageVersion
	id := deputy.ID(c.param("version_id"))
	_, err := a.changePackage(ctx, c, id, func(tx deputy.Tx, p *deputy.Package) (err error) {
		in := catalogOf(c)
		in.Parent = p.ID
		if v, err = tx.PackageVersions().Get(ctx, in, id); err != nil {
			return missing(err, "package version")
		}
		if err := a.unusedVersion(ctx, c, tx, p, v); err != nil {
			return err
		}
		if v, err = tx.PackageVersions().Archive(ctx, in, id, c.caller.Actor().ID); err != nil {
			return err
		}
		left, err := tx.PackageVersions().List(ctx, in, deputy.Query{Limit: 1, Where: []deputy.Filter{{Fields: []string{"archived_at"}, Op: deputy.IsNull}}})
		if err != nil {
			return err
		}
		p.CurrentVersionID = ""
		for _, highest := range left.Items {
			p.CurrentVersionID, p.Name = highest.ID, manifestOf(highest.Manifest).Name
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &output[PackageVersion]{viewPackageVersion(v)}, nil
}

// unusedVersion refuses to archive a version that an install is about to use.
func (a *API) unusedVersion(ctx context.Context, c *call, tx deputy.Tx, p *deputy.Package, v *deputy.PackageVersion) error {
	if c.zone == nil {
		return nil // an install that has begun has what it needs
	}
	pending, err := tx.Installs().List(ctx, deputy.Scope{Zone: c.zone.ID}, deputy.Query{Limit: 1, Where: []deputy.Filter{
		{Fields: []string{"package_id"}, Values: []string{string(p.ID)}},
		{Fields: []string{"version"}, Values: []string{fmt.Sprint(v.Version)}},
		{Fields: []string{"status"}, Values: []string{string(deputy.InstallPending)}},
	}})
	if err == nil && len(pending.Items) > 0 {
		return deputy.Errorf(deputy.Conflict, "an install of this version is under way")
	}
	return err
}

// PackageKind is a recipe shape, as clients see it.
type PackageKind struct {
	Kind         string              `json:"kind"`
	Title        string              `json:"title"`
	Description  string              `json:"description"`
	InputSchema  CatalogSchema       `json:"input_schema"`
	OutputSchema CatalogSchema       `json:"output_schema" doc:"What each entity shows to output bindings."`
	Entities     []PackageKindEntity `json:"entities" doc:"In the order in which they are made."`
}

// PackageKindEntity is one node of a kind's graph.
type PackageKindEntity struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Mode string `json:"mode" enum:"managed,reference" doc:"managed: made unless it exists; reference: must exist."`
}

// PackageKindList is all kinds.
type PackageKindList struct {
	Items []PackageKind `json:"items"`
}

func viewKind(k *catalog.Kind) (PackageKind, error) {
	in, err := k.Inputs.JSON()
	if err != nil {
		return PackageKind{}, err
	}
	out, err := k.OutputSchema().JSON()
	v := PackageKind{Kind: k.Name, Title: k.Title, Description: k.Description, InputSchema: CatalogSchema{in}, OutputSchema: CatalogSchema{out}}
	for _, e := range k.Entities {
		mode := "managed"
		if e.Reference {
			mode = "reference"
		}
		v.Entities = append(v.Entities, PackageKindEntity{e.Name, string(e.Type), mode})
	}
	return v, err
}

func (a *API) listKinds(context.Context, *call, *empty) (*output[PackageKindList], error) {
	out := PackageKindList{Items: []PackageKind{}}
	for _, k := range a.catalog().Kinds() {
		v, err := viewKind(k)
		if err != nil {
			return nil, err
		}
		out.Items = append(out.Items, v)
	}
	return &output[PackageKindList]{out}, nil
}

func (a *API) getKind(_ context.Context, c *call, _ *empty) (*output[PackageKind], error) {
	k := a.catalog().Kind(c.param("kind"))
	if k == nil {
		return nil, deputy.Errorf(deputy.NotFound, "no such kind of packages")
	}
	v, err := viewKind(k)
	return &output[PackageKind]{v}, err
}

// withoutNullKeywords refuses null as the schema of outputs, which have one, and
// as the value of a keyword of a schema other than those that hold any value: the
// checker of bodies takes it for the absence of the keyword, and what is shown of
// the draft would have it.
func withoutNullKeywords(m *catalog.Manifest) error {
	if m.Outputs != nil && m.Outputs.Schema == nil {
		return deputy.Bad("outputs.schema", mustNotBeNull)
	}
	for field, b := range map[string]*catalog.Binding{"inputs.schema": m.Inputs, "outputs.schema": m.Outputs} {
		var keywords map[string]Value
		if b == nil || json.Unmarshal(b.Schema, &keywords) != nil {
			continue // a schema that is no object is refused elsewhere
		}
		for name, v := range keywords {
			if string(v) == "null" && name != "const" && name != "default" {
				return deputy.Bad(field+"."+name, mustNotBeNull)
			}
		}
	}
	return nil
}
