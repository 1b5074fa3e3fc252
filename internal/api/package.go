package api

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"deputy/internal/catalog"
	"deputy/internal/deputy"
)

// Package is a named recipe that can be installed, as clients see it.
type Package struct {
	ID        string        `json:"id"`
	Slug      string        `json:"slug"`
	Kind      string        `json:"kind"`
	Name      string        `json:"name"`
	Published bool          `json:"published" doc:"It is in lists."`
	Source    PackageSource `json:"source"`
	PackageContent
	InputState     *InputState     `json:"input_state,omitzero"`
	CurrentVersion *PackageVersion `json:"current_version,omitzero"`
	Draft          *PackageDraft   `json:"draft,omitzero"`
	CreatedAt      Time            `json:"created_at"`
	UpdatedAt      Time            `json:"updated_at"`
}

// PackageContent is what a manifest says of a package beside its kind and name.
type PackageContent struct {
	Description *string          `json:"description,omitzero" maxLength:"1024"`
	IconURL     *string          `json:"icon_url,omitzero" maxLength:"512"`
	Inputs      *PackageInputs   `json:"inputs,omitzero"`
	Outputs     *PackageOutputs  `json:"outputs,omitzero"`
	Links       []PackageLink    `json:"links,omitempty" maxItems:"50"`
	Properties  map[string]Value `json:"properties,omitempty" maxProperties:"100" doc:"Named by URNs."`
	Tags        []string         `json:"tags,omitempty" maxItems:"50"`
}

// PackageSource says in which catalog a package lies.
type PackageSource struct {
	Scope string `json:"scope" enum:"global,org,zone"`
}

// PackageInputs says what the installer gives, and how that becomes the inputs
// of the kind.
type PackageInputs struct {
	Schema   CatalogSchema `json:"schema,omitzero"`
	Bindings *string       `json:"bindings,omitzero" maxLength:"16384" doc:"CEL: a map of the kind's inputs, from pkg.inputs." example:"{\"issuer\": \"https://id.example.com\", \"client_id\": pkg.inputs.client_id}"`
}

// PackageOutputs says what an install shows.
type PackageOutputs struct {
	Schema   CatalogSchema `json:"schema"`
	Bindings string        `json:"bindings" maxLength:"16384" doc:"CEL: a map of the outputs, from entities." example:"{\"resource\": entities.resource.outputs.identifier}"`
}

// PackageLink is a relation, after RFC 7033 §4.4.4.
type PackageLink struct {
	Rel        string            `json:"rel" minLength:"1" maxLength:"255"`
	Href       string            `json:"href" minLength:"1" maxLength:"2048" doc:"#name of an entity of the graph, an absolute path, or a URL."`
	Type       *string           `json:"type,omitzero" maxLength:"255"`
	Titles     map[string]string `json:"titles,omitempty" maxProperties:"50" doc:"By language tag."`
	Properties map[string]Value  `json:"properties,omitempty" maxProperties:"50"`
}

// InputState is what an installer has to give, and what the author decided.
type InputState struct {
	EffectiveSchema   CatalogSchema `json:"effective_schema,omitzero"`
	EffectiveBindings Value         `json:"effective_bindings,omitzero"`
}

// PackageVersion is one release, as clients see it.
type PackageVersion struct {
	ID          string `json:"id"`
	Version     int    `json:"version" minimum:"1"`
	Name        string `json:"name"`
	ManifestSHA string `json:"manifest_sha" pattern:"^[0-9a-f]{64}$" doc:"SHA-256 of the manifest in its canonical form (RFC 8785), in hex."`
	OwnerType   string `json:"owner_type" enum:"platform,customer"`
	PackageContent
	CreatedBy  *string `json:"created_by,omitzero"`
	CreatedAt  Time    `json:"created_at"`
	ArchivedAt *Time   `json:"archived_at,omitzero"`
}

// PackageDraft is the next release, as clients see it.
type PackageDraft struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	ManifestSHA string `json:"manifest_sha" pattern:"^[0-9a-f]{64}$"`
	PackageContent
	UpdatedAt Time `json:"updated_at"`
}

// PackageCreate makes a package with a draft.
type PackageCreate struct {
	Kind string `json:"kind" minLength:"1" maxLength:"64" doc:"It cannot be changed." example:"oauth-api"`
	PackageDraftPut
}

// PackageDraftPut replaces a draft.
type PackageDraftPut struct {
	Name string `json:"name" minLength:"1" maxLength:"128" example:"Calendar API"`
	PackageContent
}

// PackagePatch changes a package.
type PackagePatch struct {
	Published Patch[bool] `json:"published,omitzero" doc:"Published packages are in lists; there must be a version."`
}

// PackageRelease releases the draft.
type PackageRelease struct {
	ManifestSHA Patch[string] `json:"manifest_sha,omitzero" doc:"Release only if the draft is still this one."`
}

// PackageFindings is what keeps a draft from being released.
type PackageFindings struct {
	Findings []ErrorDetail `json:"findings"`
}

// CatalogSchema is a schema of the supported subset of JSON Schema 2020-12.
type CatalogSchema struct{ Value }

// IsZero reports that there is none.
func (s CatalogSchema) IsZero() bool { return len(s.Value) == 0 }

// Schema documents the keywords. Bodies are checked for the types of their
// values; the rest is checked at release.
func (CatalogSchema) Schema(r huma.Registry) *huma.Schema {
	const name = "CatalogSchema"
	if r.Map()[name] == nil {
		below, count := &huma.Schema{Description: "A schema, of the same keywords."}, &huma.Schema{Type: huma.TypeInteger}
		text, truth, number := &huma.Schema{Type: huma.TypeString}, &huma.Schema{Type: huma.TypeBoolean}, &huma.Schema{Type: huma.TypeNumber}
		value := &huma.Schema{Description: "Any JSON value."}
		s := &huma.Schema{
			Type: huma.TypeObject, Description: "JSON Schema 2020-12, of the keywords that are listed here. Others are refused at release.",
			AdditionalProperties: &huma.Schema{Description: "Another keyword, which release refuses."},
			Properties: map[string]*huma.Schema{
				"type":       {Type: huma.TypeString, Enum: []any{"object", "array", "string", "integer", "number", "boolean", "null"}},
				"properties": {Description: "Schemas by name."}, "items": below, "additionalProperties": {Description: "A schema, or whether there may be others."},
				"required": {Type: huma.TypeArray, Items: text}, "enum": {Type: huma.TypeArray, Items: value}, "const": value, "default": value,
				"title": text, "description": text, "pattern": text, "format": text, "readOnly": truth, "writeOnly": truth,
				"minLength": count, "maxLength": count, "minItems": count, "maxItems": count, "minimum": number, "maximum": number,
			},
		}
		s.PrecomputeMessages() // else bodies are not checked against it
		r.Map()[name] = s
	}
	return &huma.Schema{Ref: "#/components/schemas/" + name}
}

// catalogOf returns the catalog that a call authors in: of its zone, or of its
// organization.
func catalogOf(c *call) deputy.Scope {
	if c.zone != nil {
		return deputy.Scope{Zone: c.zone.ID}
	}
	return deputy.Scope{Organization: c.organization.ID}
}

// catalogsOf returns the catalogs that a call sees.
func catalogsOf(c *call) deputy.Scope {
	in := catalogOf(c)
	if c.zone != nil {
		in.Organization = c.zone.OrganizationID
	}
	return in
}

// sourceOf says in which catalog a package lies.
func sourceOf(p *deputy.Package) string {
	switch {
	case p.CatalogID == deputy.GlobalCatalog:
		return "global"
	case p.CatalogID == deputy.ID(p.OrganizationID):
		return "org"
	}
	return "zone"
}

// ownPackage refuses to change a package through another catalog than its own.
func ownPackage(c *call, p *deputy.Package) error {
	own := deputy.ID(catalogOf(c).Zone)
	if c.zone == nil {
		own = deputy.ID(c.organization.ID)
	}
	if p.CatalogID != own {
		return deputy.Errorf(deputy.Denied, "the package comes from another catalog: it cannot be changed here")
	}
	return nil
}

var packageList = listing{
	Expand: []string{"total_count"},
	Parameters: []parameter{
		{Name: "kind", Doc: "Kinds, separated by commas."},
		{Name: "filters[slug]", Also: []string{"filter[slug]"}, Fields: []string{"slug"}, Many: true, Doc: "Packages with the slug."},
		{Name: "include_unpublished", Enum: []string{"true", "false"}, Doc: "With those of this catalog that are not published, for those who may publish them."},
	},
}

// listPackages answers with a page of the packages that the caller sees.
func (a *API) listPackages(ctx context.Context, c *call, _ *empty) (*output[ShortList[Package]], error) {
	q, err := packageList.read(a, c)
	if err != nil {
		return nil, err
	}
	if kinds := commaSeparated(c.query["kind"]); len(kinds) > 0 {
		q.Where = append(q.Where, deputy.Filter{Fields: []string{"kind"}, Values: kinds})
	}
	q.Where = append(q.Where, deputy.Filter{Fields: []string{"archived_at"}, Op: deputy.IsNull}, listed(c))
	page, err := a.store.Packages().List(ctx, catalogsOf(c), q.Query)
	if err != nil {
		return nil, err
	}
	versions, err := a.currentVersions(ctx, c, page.Items)
	if err != nil {
		return nil, err
	}
	list := newList(page, func(p *deputy.Package) Package { return a.viewPackage(c, p, versions[p.CurrentVersionID]) })
	return &output[ShortList[Package]]{ShortList[Package]{list.Items, list.Pagination}}, nil
}

// listed holds for packages that a list shows: published ones that can be
// installed, and for those who may publish them their catalog's others.
func listed(c *call) deputy.Filter {
	f := deputy.Filter{Fields: []string{"listed"}, Values: []string{"true"}}
	if c.query.Get("include_unpublished") == "true" && c.roles.may("package_drafts:read") {
		own := catalogOf(c)
		f = deputy.Filter{Fields: []string{"listed", "catalog_id"}, Values: []string{"true", string(own.Zone) + string(own.Organization)}}
	}
	return f
}

// commaSeparated returns the items of lists in which commas stand between them.
func commaSeparated(lists []string) []string {
	var out []string
	for _, l := range lists {
		out = append(out, strings.Split(l, ",")...)
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// currentVersions returns the current versions of packages by their ids.
func (a *API) currentVersions(ctx context.Context, c *call, packages []*deputy.Package) (map[deputy.ID]*deputy.PackageVersion, error) {
	out := map[deputy.ID]*deputy.PackageVersion{}
	var ids []string
	for _, p := range packages {
		if p.CurrentVersionID != "" {
			ids = append(ids, string(p.CurrentVersionID))
		}
	}
	if len(ids) == 0 {
		return out, nil
	}
	page, err := a.store.PackageVersions().List(ctx, catalogsOf(c), deputy.Query{All: true, Where: []deputy.Filter{{Fields: []string{"id"}, Values: ids}}})
	if err != nil {
		return nil, err
	}
	for _, v := range page.Items {
		out[v.ID] = v
	}
	return out, nil
}

// findPackage returns the package that the path names by id or slug, the
// nearest catalog first; it does not exist for those who may not see it.
func findPackage(ctx context.Context, c *call, packages deputy.Reads[deputy.Package], in deputy.Scope, ref string) (*deputy.Package, error) {
	p, err := packages.Get(ctx, in, deputy.ID(ref))
	if deputy.KindOf(err) == deputy.NotFound {
		p, err = bySlug(ctx, packages, in, ref)
	}
	if err != nil {
		return nil, missing(err, "package")
	}
	if !p.Published && (ownPackage(c, p) != nil || !c.roles.may("package_drafts:read")) {
		return nil, deputy.Errorf(deputy.NotFound, "no such package")
	}
	return p, nil
}

func bySlug(ctx context.Context, packages deputy.Reads[deputy.Package], in deputy.Scope, slug string) (*deputy.Package, error) {
	page, err := packages.List(ctx, in, deputy.Query{All: true, Where: []deputy.Filter{
		{Fields: []string{"slug"}, Values: []string{slug}}, {Fields: []string{"archived_at"}, Op: deputy.IsNull},
	}})
	if err != nil {
		return nil, err
	}
	for _, catalog := range []deputy.ID{deputy.ID(in.Zone), deputy.ID(in.Organization), deputy.GlobalCatalog} {
		if i := slices.IndexFunc(page.Items, func(p *deputy.Package) bool { return p.CatalogID == catalog }); i >= 0 {
			return page.Items[i], nil
		}
	}
	return nil, deputy.Errorf(deputy.NotFound, "no such package")
}

func (a *API) getPackage(ctx context.Context, c *call, _ *empty) (*output[Package], error) {
	p, err := findPackage(ctx, c, a.store.Packages(), catalogsOf(c), c.param("package_id"))
	if err != nil {
		return nil, err
	}
	return a.answerPackage(ctx, c, p)
}

func (a *API) answerPackage(ctx context.Context, c *call, p *deputy.Package) (*output[Package], error) {
	versions, err := a.currentVersions(ctx, c, []*deputy.Package{p})
	if err != nil {
		return nil, err
	}
	return &output[Package]{a.viewPackage(c, p, versions[p.CurrentVersionID])}, nil
}

// viewPackage shows a package with its current version; nil where there is none.
func (a *API) viewPackage(c *call, p *deputy.Package, current *deputy.PackageVersion) Package {
	v := Package{
		ID: string(p.ID), Slug: p.Slug, Kind: p.Kind, Name: p.Name, Published: p.Published,
		Source: PackageSource{sourceOf(p)}, CreatedAt: Time(p.CreatedAt), UpdatedAt: Time(p.UpdatedAt),
	}
	shown := p.Draft
	if current != nil {
		shown = current.Manifest
		version := viewPackageVersion(current)
		v.CurrentVersion = &version
	}
	if p.Draft != nil && ownPackage(c, p) == nil && c.roles.may("package_drafts:read") {
		draft := viewDraft(p)
		v.Draft = &draft
	} else if current == nil {
		return v
	}
	m := manifestOf(shown)
	v.Name, v.PackageContent = m.Name, viewContent(m)
	if r, err := a.release(shown); err == nil {
		v.InputState = viewInputState(r)
	}
	return v
}

func viewInputState(r *catalog.Release) *InputState {
	s := r.InputState()
	schema, err := catalog.Values(s.Schema).JSON()
	if err != nil {
		return nil
	}
	bindings, err := s.Bindings.JSON()
	if err != nil {
		return nil
	}
	return &InputState{EffectiveSchema: CatalogSchema{schema}, EffectiveBindings: bindings}
}

func viewPackageVersion(d *deputy.PackageVersion) PackageVersion {
	m := manifestOf(d.Manifest)
	return PackageVersion{
		ID: string(d.ID), Version: d.Version, Name: m.Name, ManifestSHA: d.ManifestSHA, OwnerType: string(d.Owner),
		PackageContent: viewContent(m), CreatedBy: pointer(d.CreatedBy), CreatedAt: Time(d.CreatedAt), ArchivedAt: timePointer(d.ArchivedAt),
	}
}

func viewDraft(p *deputy.Package) PackageDraft {
	m := manifestOf(p.Draft)
	return PackageDraft{
		ID: string(p.DraftID), Name: m.Name, ManifestSHA: p.DraftSHA, PackageContent: viewContent(m), UpdatedAt: Time(*p.DraftUpdatedAt),
	}
}

// manifestOf reads a manifest that we have stored.
func manifestOf(raw []byte) *catalog.Manifest {
	m, err := catalog.ParseManifest(raw)
	if err != nil {
		return &catalog.Manifest{}
	}
	return m
}

func viewContent(m *catalog.Manifest) PackageContent {
	c := PackageContent{Description: pointer(m.Description), IconURL: pointer(m.IconURL), Tags: m.Tags}
	if b := m.Inputs; b != nil {
		c.Inputs = &PackageInputs{Schema: CatalogSchema{Value(b.Schema)}, Bindings: pointer(b.Bindings)}
	}
	if b := m.Outputs; b != nil {
		c.Outputs = &PackageOutputs{Schema: CatalogSchema{Value(b.Schema)}, Bindings: b.Bindings}
	}
	for _, l := range m.Links {
		c.Links = append(c.Links, viewLink(l))
	}
	for name, v := range m.Properties {
		if c.Properties == nil {
			c.Properties = map[string]Value{}
		}
		c.Properties[name] = Value(v)
	}
	return c
}

func viewLink(l catalog.Link) PackageLink {
	v := PackageLink{Rel: l.Rel, Href: l.Href, Type: pointer(l.Type), Titles: l.Titles}
	for name, p := range l.Properties {
		if v.Properties == nil {
			v.Properties = map[string]Value{}
		}
		v.Properties[name] = Value(p)
	}
	return v
}

// manifest returns the manifest that a body describes.
func (in *PackageDraftPut) manifest(kind string) *catalog.Manifest {
	m := &catalog.Manifest{Kind: kind, Name: in.Name, Tags: slices.Clone(in.Tags)}
	if in.Description != nil {
		m.Description = *in.Description
	}
	if in.IconURL != nil {
		m.IconURL = *in.IconURL
	}
	if b := in.Inputs; b != nil {
		m.Inputs = &catalog.Binding{Schema: schemaOf(b.Schema)}
		if b.Bindings != nil {
			m.Inputs.Bindings = *b.Bindings
		}
	}
	if b := in.Outputs; b != nil {
		m.Outputs = &catalog.Binding{Schema: schemaOf(b.Schema), Bindings: b.Bindings}
	}
	for _, l := range in.Links {
		m.Links = append(m.Links, catalog.Link{Rel: l.Rel, Href: l.Href, Type: deref(l.Type), Titles: l.Titles, Properties: rawValues(l.Properties)})
	}
	m.Properties = rawValues(in.Properties)
	m.Normalize()
	return m
}

// Every package route lies below a zone and below an organization.
func (a *API) mountPackages() {
	for _, below := range []struct{ path, id, tag string }{
		{"/zones/{zone_id}", "", "Packages"}, {"/organizations/{organization_id}", "organization-", "Organization packages"},
	} {
		route := func(verb, noun, method, path, action, summary string) operation {
			return operation{
				ID: verb + "-" + below.id + noun, Method: method, Path: below.path + path, Action: action, Tag: below.tag,
				Summary: summary, Status: http.StatusOK,
			}
		}
		list := route("list", "packages", http.MethodGet, "/packages", "packages:list", "List the packages that can be installed")
		list.Query, list.Doc = packageList.document(), "Those of this catalog and the published ones of the catalogs above it, newest first."
		mount(a, list, a.listPackages)
		create := route("create", "package", http.MethodPost, "/packages", "packages:create", "Create a package with a draft")
		create.Status = http.StatusCreated
		mount(a, create, a.createPackage)
		mount(a, route("get", "package", http.MethodGet, "/packages/{package_id}", "packages:read", "Get a package"), a.getPackage)
		publish := route("update", "package", http.MethodPatch, "/packages/{package_id}", "packages:publish", "Publish a package, or withdraw it")
		publish.Errors = []int{http.StatusConflict}
		mount(a, publish, a.patchPackage)
		archive := archiving(route("delete", "package", http.MethodDelete, "/packages/{package_id}", "packages:archive", "Delete a package"), below.id+"package", "packages:archive")
		mount(a, archive, a.archivePackage)

		draft := "/packages/{package_id}/draft"
		get := route("get", "package-draft", http.MethodGet, draft, "package_drafts:read", "Get the draft of a package")
		get.ETag = true
		mount(a, get, a.getDraft)
		put := route("put", "package-draft", http.MethodPut, draft, "packages:update", "Replace the draft of a package")
		put.ETag = true
		put.Errors, put.Headers = []int{http.StatusConflict, http.StatusPreconditionFailed}, []*huma.Param{ifMatchHeader}
		mount(a, put, a.putDraft)
		drop := route("delete", "package-draft", http.MethodDelete, draft, "package_drafts:delete", "Drop the draft of a package")
		drop.Status, drop.Errors = http.StatusNoContent, []int{http.StatusConflict}
		mount(a, drop, a.deleteDraft)
		mount(a, route("validate", "package-draft", http.MethodPost, draft+"/validate", "package_drafts:validate", "Find out what keeps a draft from being released"), a.validateDraft)

		versions := "/packages/{package_id}/versions"
		list = route("list", "package-versions", http.MethodGet, versions, "package_versions:list", "List the versions of a package")
		list.Query = packageVersionList.document()
		mount(a, list, a.listPackageVersions)
		release := route("release", "package", http.MethodPost, versions, "packages:release", "Release the draft of a package")
		release.Status, release.Errors = http.StatusCreated, []int{http.StatusConflict, http.StatusPreconditionFailed}
		mount(a, release, a.releasePackage)
		mount(a, route("get", "package-version", http.MethodGet, versions+"/{version_id}", "package_versions:read", "Get a version of a package"), a.getPackageVersion)
		archive = archiving(route("delete", "package-version", http.MethodDelete, versions+"/{version_id}", "package_versions:archive", "Delete a version of a package"), below.id+"package-version", "package_versions:archive")
		archive.Errors = []int{http.StatusConflict}
		mount(a, archive, a.archivePackageVersion)

		mount(a, route("list", "package-kinds", http.MethodGet, "/package-kinds", "package_kinds:list", "List the kinds of packages"), a.listKinds)
		mount(a, route("get", "package-kind", http.MethodGet, "/package-kinds/{kind}", "package_kinds:read", "Get a kind of packages"), a.getKind)
	}
}
