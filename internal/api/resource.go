package api

import (
	"context"
	"net/http"
	"strings"

	"deputy/internal/deputy"
)

// Resource is something protected, as clients see it.
type Resource struct {
	ID                        string    `json:"id"`
	OrganizationID            string    `json:"organization_id"`
	ZoneID                    string    `json:"zone_id"`
	OwnerType                 string    `json:"owner_type" enum:"platform,customer"`
	Slug                      string    `json:"slug"`
	Identifier                string    `json:"identifier"`
	Name                      string    `json:"name"`
	Description               *string   `json:"description,omitzero"`
	ApplicationType           string    `json:"application_type" enum:"native,web" doc:"The kind of client expected to present redirect URIs."`
	Prefix                    bool      `json:"prefix" doc:"The identifier also covers URLs that extend it at a path, query or fragment boundary."`
	CredentialLifetimeSeconds *int      `json:"credential_lifetime_seconds,omitzero" minimum:"60" maximum:"86400"`
	SigningAlg                *string   `json:"signing_alg,omitzero" enum:"RS256,ES256" doc:"What this resource's tokens are signed with; unset: as the zone says. An extension."`
	ApplicationID             *string   `json:"application_id,omitzero" doc:"The application that provides it."`
	CredentialProviderID      *string   `json:"credential_provider_id,omitzero" doc:"Where its credentials come from."`
	Scopes                    []string  `json:"scopes,omitzero"`
	Metadata                  *Metadata `json:"metadata,omitzero"`
	WhenAccessing             []string  `json:"when_accessing,omitzero" doc:"On dependencies: counts only while one of these resources is being accessed."`
	Application               *Embedded `json:"application,omitzero" deprecated:"true" doc:"Not sent: application_id names it."`
	CredentialProvider        *Embedded `json:"credential_provider,omitzero" deprecated:"true" doc:"Not sent: credential_provider_id names it."`
	CreatedAt                 Time      `json:"created_at"`
	UpdatedAt                 Time      `json:"updated_at"`
}

// Embedded is an entity inside another, which older clients know of.
type Embedded struct {
	ID string `json:"id"`
}

// ResourceCreate makes a resource.
type ResourceCreate struct {
	Identifier                string             `json:"identifier" minLength:"1" maxLength:"2048" doc:"Unique in the zone: a URL, a URN or a bare name." example:"https://api.example.com/v1"`
	Name                      string             `json:"name" minLength:"1" maxLength:"255" example:"Calendar API"`
	Description               *string            `json:"description,omitzero" maxLength:"2048"`
	ApplicationType           Patch[string]      `json:"application_type,omitzero" enum:"native,web" doc:"web unless said."`
	Prefix                    Patch[bool]        `json:"prefix,omitzero" doc:"False unless said."`
	CredentialLifetimeSeconds Nullable[int]      `json:"credential_lifetime_seconds,omitzero" minimum:"60" maximum:"86400" doc:"3600 unless said."`
	SigningAlg                Nullable[string]   `json:"signing_alg,omitzero" enum:"RS256,ES256" doc:"As the zone says unless said. An extension."`
	ApplicationID             Nullable[string]   `json:"application_id,omitzero"`
	CredentialProviderID      Nullable[string]   `json:"credential_provider_id,omitzero"`
	Scopes                    Nullable[[]string] `json:"scopes,omitzero" minLength:"1" maxLength:"255" doc:"Scope tokens (RFC 6749 §3.3) that it declares; none is ever granted beyond them."`
	Metadata                  Patch[Metadata]    `json:"metadata,omitzero"`
}

// ResourcePatch changes a resource.
type ResourcePatch struct {
	ZoneID                    Patch[Value]            `json:"zoneId,omitzero" deprecated:"true" doc:"Means nothing: the path names the zone."`
	Identifier                Patch[string]           `json:"identifier,omitzero" minLength:"1" maxLength:"2048"`
	Name                      Patch[string]           `json:"name,omitzero" minLength:"1" maxLength:"255"`
	Description               Nullable[string]        `json:"description,omitzero" maxLength:"2048"`
	ApplicationType           Patch[string]           `json:"application_type,omitzero" enum:"native,web"`
	Prefix                    Patch[bool]             `json:"prefix,omitzero"`
	CredentialLifetimeSeconds Nullable[int]           `json:"credential_lifetime_seconds,omitzero" minimum:"60" maximum:"86400"`
	SigningAlg                Nullable[string]        `json:"signing_alg,omitzero" enum:"RS256,ES256"`
	ApplicationID             Nullable[string]        `json:"application_id,omitzero"`
	CredentialProviderID      Nullable[string]        `json:"credential_provider_id,omitzero"`
	Scopes                    Nullable[[]string]      `json:"scopes,omitzero" minLength:"1" maxLength:"255"`
	Metadata                  Nullable[MetadataPatch] `json:"metadata,omitzero"`
}

var resources = Noun[deputy.Resource, Resource, ResourceCreate, ResourcePatch]{
	Name: "resource", Plural: "resources", Path: "/zones/{zone_id}/resources", Key: "id", Tag: "Resources", Made: http.StatusOK, Short: true,
	About: "A resource is something protected that actors obtain credentials for.",
	List: listing{
		Expand: []string{"total_count"}, Cursor: true,
		Parameters: []parameter{
			{Name: "identifier", Doc: "The resource that an identifier belongs to: the exact one, else the longest prefix that covers it."},
			{Name: "credentialProviderId", Also: []string{"credential_provider_id"}, Fields: []string{"credential_provider_id"}, Doc: "Resources whose credentials come from the provider."},
			{Name: "slug", Fields: []string{"slug"}, Doc: "The resource with the slug."},
		},
	},
	Reads:  func(v deputy.View) deputy.Reads[deputy.Resource] { return v.Resources() },
	Writes: func(tx deputy.Tx) deputy.Writes[deputy.Resource] { return tx.Resources() },
	ID:     func(d *deputy.Resource) deputy.ID { return deputy.ID(d.ID) },
	Owner:  func(d *deputy.Resource) deputy.Owner { return d.Owner },
	Narrow: narrowResources,
	View:   viewResource,
	New:    newResource,
	Change: changeResource,
	Check:  (*deputy.Resource).Validate,
	Settle: func(a *API, c *call, d *deputy.Resource) { d.Identifier = a.addresses.Stored(c.zone, d.Identifier) },
	Refer: func(ctx context.Context, tx deputy.Tx, c *call, d *deputy.Resource) error {
		in := deputy.Scope{Zone: c.zone.ID}
		if err := exists(ctx, tx.Applications(), in, "application_id", d.ApplicationID); err != nil {
			return err
		}
		return exists(ctx, tx.Providers(), in, "credential_provider_id", d.CredentialProviderID)
	},
}

func viewResource(a *API, c *call, d *deputy.Resource) Resource {
	v := Resource{
		ID: string(d.ID), OrganizationID: string(d.OrganizationID), ZoneID: string(d.ZoneID), OwnerType: string(d.Owner),
		Slug: d.Slug, Identifier: a.addresses.Shown(c.zone, d.Identifier), Name: d.Name, Description: d.Description,
		ApplicationType: string(d.ApplicationType), Prefix: d.Prefix, CredentialLifetimeSeconds: d.Lifetime, SigningAlg: d.SigningAlg,
		ApplicationID: text(d.ApplicationID), CredentialProviderID: text(d.CredentialProviderID),
		Metadata: viewMetadata(d.DocsURL), CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt),
	}
	if len(d.Scopes) > 0 {
		v.Scopes = d.Scopes
	}
	return v
}

func newResource(a *API, c *call, in *ResourceCreate) *deputy.Resource {
	d := &deputy.Resource{
		ID: deputy.ResourceID(deputy.NewID(c.at)), OrganizationID: c.zone.OrganizationID, ZoneID: c.zone.ID, Owner: deputy.Customer,
		Slug: deputy.Slug(in.Name, "resource"), Identifier: in.Identifier, Name: in.Name, Description: in.Description,
		ApplicationType: deputy.ApplicationType(in.ApplicationType.Or(string(deputy.Web))), Prefix: in.Prefix.V,
		DocsURL: in.Metadata.V.DocsURL, CreatedAt: c.at, UpdatedAt: c.at,
	}
	in.CredentialLifetimeSeconds.To(&d.Lifetime)
	in.SigningAlg.To(&d.SigningAlg)
	setID(in.ApplicationID, &d.ApplicationID)
	setID(in.CredentialProviderID, &d.CredentialProviderID)
	toSlice(in.Scopes, &d.Scopes)
	return d
}

func changeResource(_ *API, _ *call, d *deputy.Resource, in *ResourcePatch) error {
	in.Identifier.To(&d.Identifier)
	in.Name.To(&d.Name)
	in.Description.To(&d.Description)
	if in.ApplicationType.Set {
		d.ApplicationType = deputy.ApplicationType(in.ApplicationType.V)
	}
	in.Prefix.To(&d.Prefix)
	in.CredentialLifetimeSeconds.To(&d.Lifetime)
	in.SigningAlg.To(&d.SigningAlg)
	setID(in.ApplicationID, &d.ApplicationID)
	setID(in.CredentialProviderID, &d.CredentialProviderID)
	toSlice(in.Scopes, &d.Scopes)
	changeMetadata(in.Metadata, &d.DocsURL)
	return nil
}

// narrowResources finds the one resource that an identifier belongs to.
func narrowResources(ctx context.Context, a *API, c *call, q *asked) error {
	wanted := c.query.Get("identifier")
	if wanted == "" {
		return nil
	}
	candidates := []string{a.addresses.Stored(c.zone, wanted)}
	for _, p := range prefixes(wanted) {
		candidates = append(candidates, a.addresses.Stored(c.zone, p))
	}
	page, err := a.store.Resources().List(ctx, deputy.Scope{Zone: c.zone.ID}, deputy.Query{
		All: true, Where: []deputy.Filter{{Fields: []string{"identifier"}, Values: candidates}},
	})
	if err != nil {
		return err
	}
	var found deputy.ResourceID
	length := -1
	for _, r := range page.Items {
		shown := a.addresses.Shown(c.zone, r.Identifier)
		if shown == wanted || r.Prefix && deputy.Covers(shown, wanted) {
			if len(shown) > length {
				found, length = r.ID, len(shown)
			}
		}
	}
	q.Where = append(q.Where, deputy.Filter{Fields: []string{"id"}, Values: []string{string(found)}})
	return nil
}

// prefixes returns what could cover a URL: its parts up to, and up to and
// including, each boundary beyond the authority.
func prefixes(identifier string) []string {
	_, rest, ok := strings.Cut(identifier, "://")
	if !ok {
		return nil
	}
	var out []string
	for i := len(identifier) - len(rest); i < len(identifier); i++ {
		if strings.IndexByte("/?#", identifier[i]) >= 0 {
			out = append(out, identifier[:i])
			if identifier[i] == '/' && i+1 < len(identifier) {
				out = append(out, identifier[:i+1])
			}
		}
	}
	return out
}
