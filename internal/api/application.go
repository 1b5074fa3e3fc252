package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"deputy/internal/deputy"
)

// Application is software that reaches resources, as clients see it.
type Application struct {
	ID                string                `json:"id"`
	OrganizationID    string                `json:"organization_id"`
	ZoneID            string                `json:"zone_id"`
	OwnerType         string                `json:"owner_type" enum:"platform,customer"`
	Slug              string                `json:"slug"`
	Identifier        string                `json:"identifier"`
	Name              string                `json:"name"`
	Description       *string               `json:"description,omitzero"`
	Consent           string                `json:"consent" enum:"implicit,required"`
	DependenciesCount int                   `json:"dependencies_count" doc:"Resources it may obtain access to."`
	Metadata          *Metadata             `json:"metadata,omitzero"`
	Protocols         *ApplicationProtocols `json:"protocols,omitzero"`
	Traits            []string              `json:"traits,omitzero" enum:"gateway,mcp-provider"`
	CreatedAt         Time                  `json:"created_at"`
	UpdatedAt         Time                  `json:"updated_at"`
}

// Metadata is what people may want to know of an application or a resource.
type Metadata struct {
	DocsURL *string `json:"docs_url,omitzero" format:"uri" maxLength:"2048"`
}

// MetadataPatch changes metadata.
type MetadataPatch struct {
	DocsURL Nullable[string] `json:"docs_url,omitzero" format:"uri" maxLength:"2048"`
}

// ApplicationProtocols are an application's protocol settings.
type ApplicationProtocols struct {
	OAuth2 *ApplicationOAuth2 `json:"oauth2,omitzero"`
}

// ApplicationOAuth2 is the application as an OAuth 2 client.
type ApplicationOAuth2 struct {
	RedirectURIs           []string `json:"redirect_uris,omitzero" format:"uri"`
	PostLogoutRedirectURIs []string `json:"post_logout_redirect_uris,omitzero" format:"uri"`
}

// ApplicationCreate makes an application.
type ApplicationCreate struct {
	Identifier   string                            `json:"identifier" minLength:"1" maxLength:"2048" doc:"Unique in the zone: a URL, a URN, a reverse domain name, a plain name." example:"https://agent.example.com"`
	Name         string                            `json:"name" minLength:"1" maxLength:"255" example:"Research agent"`
	Description  *string                           `json:"description,omitzero" maxLength:"2048"`
	Consent      Patch[string]                     `json:"consent,omitzero" enum:"implicit,required" doc:"Whether people are asked before it acts for them; required unless said."`
	Dependencies Patch[[]ApplicationDependency]    `json:"dependencies,omitzero" doc:"Resources of the zone that it may obtain access to from the start."`
	Metadata     Patch[Metadata]                   `json:"metadata,omitzero"`
	Protocols    Patch[ApplicationProtocolsCreate] `json:"protocols,omitzero"`
	Traits       Nullable[Traits]                  `json:"traits,omitzero"`
}

// Traits are what an application is beyond a client. One alone may be sent
// without its list.
type Traits []string

// UnmarshalJSONFrom reads a list or one trait.
func (t *Traits) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() != '"' {
		return json.UnmarshalDecode(d, (*[]string)(t))
	}
	one := ""
	err := json.UnmarshalDecode(d, &one)
	*t = Traits{one}
	return err
}

// Schema is a list of traits, or one.
func (Traits) Schema(huma.Registry) *huma.Schema {
	one := func() *huma.Schema {
		return &huma.Schema{Type: huma.TypeString, Enum: []any{deputy.TraitGateway, deputy.TraitMCPProvider}}
	}
	return &huma.Schema{AnyOf: []*huma.Schema{{Type: huma.TypeArray, Items: one(), MaxItems: number(100)}, one()}}
}

// ApplicationDependency names a resource.
type ApplicationDependency struct {
	ID   string        `json:"id" doc:"Id of the resource."`
	Type Patch[string] `json:"type,omitzero" doc:"Means nothing."`
}

// ApplicationProtocolsCreate are the protocol settings of a new application.
type ApplicationProtocolsCreate struct {
	OAuth2 Patch[ApplicationOAuth2Patch] `json:"oauth2,omitzero"`
}

// ApplicationPatch changes an application.
type ApplicationPatch struct {
	ZoneID      Patch[Value]                        `json:"zoneId,omitzero" deprecated:"true" doc:"Means nothing: the path names the zone."`
	Identifier  Patch[string]                       `json:"identifier,omitzero" minLength:"1" maxLength:"2048"`
	Name        Patch[string]                       `json:"name,omitzero" minLength:"1" maxLength:"255"`
	Description Nullable[string]                    `json:"description,omitzero" maxLength:"2048"`
	Consent     Patch[string]                       `json:"consent,omitzero" enum:"implicit,required"`
	Metadata    Nullable[MetadataPatch]             `json:"metadata,omitzero"`
	Protocols   Nullable[ApplicationProtocolsPatch] `json:"protocols,omitzero"`
	Traits      Nullable[Traits]                    `json:"traits,omitzero"`
}

// ApplicationProtocolsPatch changes an application's protocol settings.
type ApplicationProtocolsPatch struct {
	OAuth2 Nullable[ApplicationOAuth2Patch] `json:"oauth2,omitzero"`
}

// ApplicationOAuth2Patch changes the application as an OAuth 2 client; null
// and [] both unset a list.
type ApplicationOAuth2Patch struct {
	RedirectURIs           Nullable[[]string] `json:"redirect_uris,omitzero" format:"uri" maxItems:"100"`
	PostLogoutRedirectURIs Nullable[[]string] `json:"post_logout_redirect_uris,omitzero" format:"uri" maxItems:"100"`
}

var applications = Noun[deputy.Application, Application, ApplicationCreate, ApplicationPatch]{
	Name: "application", Plural: "applications", Path: "/zones/{zone_id}/applications", Key: "id", Tag: "Applications", Made: http.StatusOK,
	About: "An application is software with an identity in the zone that may obtain access to resources.",
	List: listing{
		Expand: []string{"total_count"}, Cursor: true, Sort: []string{"created_at", "name", "identifier"},
		Parameters: []parameter{
			{Name: "identifier", Fields: []string{"identifier"}, Doc: "The application with the identifier."},
			{Name: "slug", Fields: []string{"slug"}, Doc: "The application with the slug."},
			{Name: "filter[id]", Fields: []string{"id"}, Many: true, IDs: true, Doc: "These, on one page; ids of none are left out."},
			{Name: "filter[identifier]", Fields: []string{"identifier"}, Many: true, Doc: "Exactly one of these identifiers."},
			{Name: "filter[slug]", Fields: []string{"slug"}, Many: true, Doc: "Exactly one of these slugs."},
			{Name: "query[]", Fields: []string{"name", "identifier"}, Op: deputy.Contains, Many: true, Doc: "Name or identifier contains one of these, letter case aside."},
			{Name: "query[name]", Fields: []string{"name"}, Op: deputy.Contains, Many: true, Doc: "Name contains one of these."},
			{Name: "query[identifier]", Fields: []string{"identifier"}, Op: deputy.Contains, Many: true, Doc: "Identifier contains one of these."},
			{Name: "traits", Fields: []string{"traits"}, Op: deputy.Has, Many: true, Enum: traits, Doc: "Has one of these traits."},
			{Name: "traits[all]", Fields: []string{"traits"}, Op: deputy.Has, Many: true, All: true, Enum: traits, Doc: "Has all of these traits."},
		},
	},
	Reads:  func(v deputy.View) deputy.Reads[deputy.Application] { return v.Applications() },
	Writes: func(tx deputy.Tx) deputy.Writes[deputy.Application] { return tx.Applications() },
	ID:     func(d *deputy.Application) deputy.ID { return deputy.ID(d.ID) },
	Owner:  func(d *deputy.Application) deputy.Owner { return d.Owner },
	View:   viewApplication,
	New:    newApplication,
	Change: changeApplication,
	Check:  (*deputy.Application).Validate,
}

var traits = []string{deputy.TraitGateway, deputy.TraitMCPProvider}

func viewApplication(_ *API, _ *call, d *deputy.Application) Application {
	v := Application{
		ID: string(d.ID), OrganizationID: string(d.OrganizationID), ZoneID: string(d.ZoneID), OwnerType: string(d.Owner),
		Slug: d.Slug, Identifier: d.Identifier, Name: d.Name, Description: d.Description, Consent: string(d.Consent),
		DependenciesCount: d.Dependencies, Metadata: viewMetadata(d.DocsURL), Traits: d.Traits,
		CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt),
	}
	if len(d.RedirectURIs) > 0 || len(d.LogoutURIs) > 0 {
		// An empty list is left out: clients take it for a change.
		oauth2 := &ApplicationOAuth2{}
		if len(d.RedirectURIs) > 0 {
			oauth2.RedirectURIs = d.RedirectURIs
		}
		if len(d.LogoutURIs) > 0 {
			oauth2.PostLogoutRedirectURIs = d.LogoutURIs
		}
		v.Protocols = &ApplicationProtocols{OAuth2: oauth2}
	}
	if len(v.Traits) == 0 {
		v.Traits = nil
	}
	return v
}

// viewMetadata leaves out what holds nothing.
func viewMetadata(docs *string) *Metadata {
	if docs == nil {
		return nil
	}
	return &Metadata{DocsURL: docs}
}

func newApplication(_ *API, c *call, in *ApplicationCreate) *deputy.Application {
	d := &deputy.Application{
		ID: deputy.ApplicationID(deputy.NewID(c.at)), OrganizationID: c.zone.OrganizationID, ZoneID: c.zone.ID, Owner: deputy.Customer,
		Slug: deputy.Slug(in.Name, "application"), Identifier: in.Identifier, Name: in.Name, Description: in.Description,
		Consent: deputy.Consent(in.Consent.Or(string(deputy.RequiredConsent))), DocsURL: in.Metadata.V.DocsURL,
		CreatedAt: c.at, UpdatedAt: c.at,
	}
	if in.Traits.Set {
		d.Traits = in.Traits.V
	}
	changeClient(d, &in.Protocols.V.OAuth2.V)
	return d
}

func changeApplication(_ *API, _ *call, d *deputy.Application, in *ApplicationPatch) error {
	in.Identifier.To(&d.Identifier)
	in.Name.To(&d.Name)
	in.Description.To(&d.Description)
	if in.Consent.Set {
		d.Consent = deputy.Consent(in.Consent.V)
	}
	changeMetadata(in.Metadata, &d.DocsURL)
	if in.Traits.Set {
		d.Traits = in.Traits.V
	}
	if in.Protocols.Null || in.Protocols.V.OAuth2.Null {
		d.RedirectURIs, d.LogoutURIs = nil, nil
		return nil
	}
	changeClient(d, &in.Protocols.V.OAuth2.V)
	return nil
}

func changeClient(d *deputy.Application, in *ApplicationOAuth2Patch) {
	toSlice(in.RedirectURIs, &d.RedirectURIs)
	toSlice(in.PostLogoutRedirectURIs, &d.LogoutURIs)
}

// changeMetadata sets the one thing metadata hold; null and {} clear them.
func changeMetadata(in Nullable[MetadataPatch], docs **string) {
	if in.Null || in.Set && !in.V.DocsURL.Set {
		*docs = nil
		return
	}
	in.V.DocsURL.To(docs)
}

// createApplication makes an application with its first dependencies.
func (a *API) createApplication(ctx context.Context, c *call, in *input[ApplicationCreate]) (*output[Application], error) {
	d := newApplication(a, c, &in.Body)
	err := applications.insert(ctx, a, c, d, func(tx deputy.Tx) error {
		for i, dependency := range in.Body.Dependencies.V {
			resource := deputy.ResourceID(dependency.ID)
			if err := exists(ctx, tx.Resources(), deputy.Scope{Zone: c.zone.ID}, "dependencies["+strconv.Itoa(i)+"].id", &resource); err != nil {
				return err
			}
			edge := &deputy.Dependency{ZoneID: c.zone.ID, ApplicationID: d.ID, ResourceID: resource, CreatedAt: c.at}
			if err := tx.Dependencies().Insert(ctx, edge); err != nil {
				return err
			}
		}
		stored, err := tx.Applications().Get(ctx, deputy.Scope{Zone: c.zone.ID}, deputy.ID(d.ID))
		if err == nil {
			*d = *stored // the dependencies are counted
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return applications.view(a, c, d), nil
}
