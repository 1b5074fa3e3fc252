package api

import (
	"context"
	"net/http"

	"deputy/internal/deputy"
	"deputy/internal/vault"
)

// Provider authenticates actors or issues credentials, as clients see it.
type Provider struct {
	ID              string             `json:"id"`
	OrganizationID  string             `json:"organization_id"`
	ZoneID          string             `json:"zone_id"`
	OwnerType       string             `json:"owner_type" enum:"platform,customer"`
	Slug            string             `json:"slug"`
	Identifier      string             `json:"identifier"`
	Name            string             `json:"name"`
	Description     *string            `json:"description,omitzero"`
	Type            string             `json:"type" enum:"external,keycard-vault,keycard-sts" doc:"external: elsewhere; keycard-vault: stored here; keycard-sts: signed by the zone."`
	ClientID        *string            `json:"client_id,omitzero"`
	ClientSecretSet bool               `json:"client_secret_set" doc:"A client secret is stored. It is never shown."`
	Metadata        Value              `json:"metadata,omitzero"`
	Protocols       *ProviderProtocols `json:"protocols,omitzero"`
	CreatedAt       Time               `json:"created_at"`
	UpdatedAt       Time               `json:"updated_at"`
}

// ProviderProtocols are a provider's protocol settings.
type ProviderProtocols struct {
	OAuth2 *ProviderOAuth2 `json:"oauth2,omitzero"`
	OpenID *ProviderOpenID `json:"openid,omitzero"`
}

// ProviderOAuth2 overrides and completes what discovery at the issuer gives.
type ProviderOAuth2 struct {
	Issuer                          string            `json:"issuer" doc:"The identifier, which need not be a URL, unless said."`
	AuthorizationEndpoint           *string           `json:"authorization_endpoint,omitzero" format:"uri"`
	TokenEndpoint                   *string           `json:"token_endpoint,omitzero" format:"uri"`
	RegistrationEndpoint            *string           `json:"registration_endpoint,omitzero" format:"uri"`
	JWKSURI                         *string           `json:"jwks_uri,omitzero" format:"uri"`
	CodeChallengeMethodsSupported   []string          `json:"code_challenge_methods_supported,omitzero"`
	ScopesSupported                 []string          `json:"scopes_supported,omitzero"`
	AuthorizationParameters         map[string]string `json:"authorization_parameters,omitzero"`
	AuthorizationResourceEnabled    *bool             `json:"authorization_resource_enabled,omitzero"`
	AuthorizationResourceParameter  *string           `json:"authorization_resource_parameter,omitzero"`
	ScopeParameter                  *string           `json:"scope_parameter,omitzero"`
	ScopeSeparator                  *string           `json:"scope_separator,omitzero"`
	TokenResponseAccessTokenPointer *string           `json:"token_response_access_token_pointer,omitzero"`
	AllowedAudiences                []string          `json:"allowed_audiences,omitzero" doc:"What tokens of workloads may be addressed to, beside the zone. An extension."`
}

// ProviderOpenID is what sign-in through the provider needs beyond OAuth 2.
type ProviderOpenID struct {
	UserinfoEndpoint    *string  `json:"userinfo_endpoint,omitzero" format:"uri"`
	UserIdentifierClaim *string  `json:"user_identifier_claim,omitzero"`
	Scopes              []string `json:"scopes,omitzero"`
}

// ProviderCreate makes a provider of the type external.
type ProviderCreate struct {
	Identifier   string                        `json:"identifier" minLength:"1" maxLength:"2048" doc:"Unique in the zone; usually the issuer's URL." example:"https://accounts.example.com"`
	Name         string                        `json:"name" minLength:"1" maxLength:"255" example:"Example accounts"`
	Description  *string                       `json:"description,omitzero" maxLength:"2048"`
	ClientID     Nullable[string]              `json:"client_id,omitzero" maxLength:"2048"`
	ClientSecret Nullable[string]              `json:"client_secret,omitzero" maxLength:"8192" writeOnly:"true" doc:"Kept encrypted, never shown."`
	Metadata     Nullable[Value]               `json:"metadata,omitzero"`
	Protocols    Patch[ProviderProtocolsPatch] `json:"protocols,omitzero"`
}

// ProviderPatch changes a provider.
type ProviderPatch struct {
	ZoneID       Patch[Value]                     `json:"zoneId,omitzero" deprecated:"true" doc:"Means nothing: the path names the zone."`
	Identifier   Patch[string]                    `json:"identifier,omitzero" minLength:"1" maxLength:"2048"`
	Name         Patch[string]                    `json:"name,omitzero" minLength:"1" maxLength:"255"`
	Description  Nullable[string]                 `json:"description,omitzero" maxLength:"2048"`
	ClientID     Nullable[string]                 `json:"client_id,omitzero" maxLength:"2048"`
	ClientSecret Nullable[string]                 `json:"client_secret,omitzero" maxLength:"8192" writeOnly:"true"`
	Metadata     Nullable[Value]                  `json:"metadata,omitzero"`
	Protocols    Nullable[ProviderProtocolsPatch] `json:"protocols,omitzero"`
}

// ProviderProtocolsPatch changes a provider's protocol settings.
type ProviderProtocolsPatch struct {
	OAuth2 Nullable[ProviderOAuth2Patch] `json:"oauth2,omitzero"`
	OpenID Nullable[ProviderOpenIDPatch] `json:"openid,omitzero"`
}

// ProviderOAuth2Patch changes a provider's OAuth 2 settings.
type ProviderOAuth2Patch struct {
	Issuer                          Patch[string]               `json:"issuer,omitzero" format:"uri" maxLength:"2048" doc:"The identifier unless said."`
	AuthorizationEndpoint           Nullable[string]            `json:"authorization_endpoint,omitzero" format:"uri" maxLength:"2048"`
	TokenEndpoint                   Nullable[string]            `json:"token_endpoint,omitzero" format:"uri" maxLength:"2048"`
	RegistrationEndpoint            Nullable[string]            `json:"registration_endpoint,omitzero" format:"uri" maxLength:"2048"`
	JWKSURI                         Nullable[string]            `json:"jwks_uri,omitzero" format:"uri" maxLength:"2048"`
	CodeChallengeMethodsSupported   Nullable[[]string]          `json:"code_challenge_methods_supported,omitzero" maxItems:"100"`
	ScopesSupported                 Nullable[[]string]          `json:"scopes_supported,omitzero" maxItems:"1000"`
	AuthorizationParameters         Nullable[map[string]string] `json:"authorization_parameters,omitzero" maxProperties:"100" doc:"Sent along to the authorization endpoint."`
	AuthorizationResourceEnabled    Nullable[bool]              `json:"authorization_resource_enabled,omitzero" doc:"Send a resource parameter."`
	AuthorizationResourceParameter  Nullable[string]            `json:"authorization_resource_parameter,omitzero" maxLength:"2048"`
	ScopeParameter                  Nullable[string]            `json:"scope_parameter,omitzero" maxLength:"255" doc:"Name of the scope parameter; scope unless said."`
	ScopeSeparator                  Nullable[string]            `json:"scope_separator,omitzero" maxLength:"255" doc:"A space unless said."`
	TokenResponseAccessTokenPointer Nullable[string]            `json:"token_response_access_token_pointer,omitzero" maxLength:"255" doc:"Dotted path; access_token unless said."`
	AllowedAudiences                Nullable[[]string]          `json:"allowed_audiences,omitzero" maxItems:"100" doc:"What tokens of workloads may be addressed to, beside the zone: for clouds that fix the audience. An extension."`
}

// ProviderOpenIDPatch changes a provider's OpenID settings.
type ProviderOpenIDPatch struct {
	UserinfoEndpoint    Nullable[string]   `json:"userinfo_endpoint,omitzero" format:"uri" maxLength:"2048"`
	UserIdentifierClaim Nullable[string]   `json:"user_identifier_claim,omitzero" maxLength:"255" doc:"The claim of the ID token that becomes a person's identifier."`
	Scopes              Nullable[[]string] `json:"scopes,omitzero" maxItems:"100" doc:"Beside openid, profile and email."`
}

var providers = Noun[deputy.Provider, Provider, ProviderCreate, ProviderPatch]{
	Name: "provider", Plural: "providers", Path: "/zones/{zone_id}/providers", Key: "id", Tag: "Providers", Made: http.StatusOK,
	About: "A provider authenticates actors or issues the credentials of resources.",
	List: listing{
		Expand: []string{"total_count"}, Cursor: true,
		Parameters: []parameter{
			{Name: "identifier", Fields: []string{"identifier"}, Stored: true, Doc: "The provider with the identifier."},
			{Name: "slug", Fields: []string{"slug"}, Doc: "The provider with the slug."},
			{Name: "type", Fields: []string{"type"}, Doc: "Providers of the type.", Enum: []string{
				string(deputy.ExternalProvider), string(deputy.VaultProvider), string(deputy.STSProvider),
			}},
		},
	},
	Reads:  func(v deputy.View) deputy.Reads[deputy.Provider] { return v.Providers() },
	Writes: func(tx deputy.Tx) deputy.Writes[deputy.Provider] { return tx.Providers() },
	ID:     func(d *deputy.Provider) deputy.ID { return deputy.ID(d.ID) },
	Owner:  func(d *deputy.Provider) deputy.Owner { return d.Owner },
	View:   viewProvider,
	Change: changeProvider,
	Check:  (*deputy.Provider).Validate,
	Settle: func(a *API, c *call, d *deputy.Provider) { d.Identifier = a.addresses.Stored(c.zone, d.Identifier) },
}

func viewProvider(a *API, c *call, d *deputy.Provider) Provider {
	v := Provider{
		ID: string(d.ID), OrganizationID: string(d.OrganizationID), ZoneID: string(d.ZoneID), OwnerType: string(d.Owner),
		Slug: d.Slug, Identifier: a.addresses.Shown(c.zone, d.Identifier), Name: d.Name, Description: d.Description,
		Type: string(d.Type), ClientID: d.ClientID, ClientSecretSet: len(d.SealedSecret) > 0,
		CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt),
	}
	if len(d.Metadata) > 0 {
		v.Metadata = Value(d.Metadata)
	}
	if d.HasProtocols {
		v.Protocols = &ProviderProtocols{}
		if o := d.OAuth2; o != nil {
			v.Protocols.OAuth2 = viewOAuth2(o, v.Identifier)
		}
		if o := d.OpenID; o != nil {
			openid := ProviderOpenID(*o)
			v.Protocols.OpenID = &openid
		}
	}
	return v
}

func viewOAuth2(o *deputy.ProviderOAuth2, identifier string) *ProviderOAuth2 {
	v := &ProviderOAuth2{
		Issuer: identifier, AuthorizationEndpoint: o.AuthorizationEndpoint, TokenEndpoint: o.TokenEndpoint,
		RegistrationEndpoint: o.RegistrationEndpoint, JWKSURI: o.JWKSURI,
		CodeChallengeMethodsSupported: o.CodeChallengeMethodsSupported, ScopesSupported: o.ScopesSupported,
		AuthorizationParameters:      o.AuthorizationParameters,
		AuthorizationResourceEnabled: o.AuthorizationResourceEnabled, AuthorizationResourceParameter: o.AuthorizationResourceParameter,
		ScopeParameter: o.ScopeParameter, ScopeSeparator: o.ScopeSeparator,
		TokenResponseAccessTokenPointer: o.TokenResponseAccessTokenPointer, AllowedAudiences: o.AllowedAudiences,
	}
	if o.Issuer != nil {
		v.Issuer = *o.Issuer
	}
	return v
}

// changeProvider sets everything but the secret, which is sealed before.
func changeProvider(_ *API, _ *call, d *deputy.Provider, in *ProviderPatch) error {
	in.Identifier.To(&d.Identifier)
	in.Name.To(&d.Name)
	in.Description.To(&d.Description)
	in.ClientID.To(&d.ClientID)
	if in.Metadata.Set {
		d.Metadata = nil
		if !in.Metadata.Null {
			d.Metadata = in.Metadata.V
		}
	}
	switch {
	case in.Protocols.Null:
		d.HasProtocols, d.OAuth2, d.OpenID = false, nil, nil
	case in.Protocols.Set:
		d.HasProtocols = true
		changeProviderOAuth2(d, in.Protocols.V.OAuth2)
		changeProviderOpenID(d, in.Protocols.V.OpenID)
	}
	return nil
}

func changeProviderOAuth2(d *deputy.Provider, in Nullable[ProviderOAuth2Patch]) {
	if !in.Set || in.Null {
		if in.Null {
			d.OAuth2 = nil
		}
		return
	}
	o := deputy.ProviderOAuth2{}
	if d.OAuth2 != nil {
		o = *d.OAuth2
	}
	d.OAuth2 = &o
	in.V.Issuer.ToPointer(&o.Issuer)
	in.V.AuthorizationEndpoint.To(&o.AuthorizationEndpoint)
	in.V.TokenEndpoint.To(&o.TokenEndpoint)
	in.V.RegistrationEndpoint.To(&o.RegistrationEndpoint)
	in.V.JWKSURI.To(&o.JWKSURI)
	toSlice(in.V.CodeChallengeMethodsSupported, &o.CodeChallengeMethodsSupported)
	toSlice(in.V.ScopesSupported, &o.ScopesSupported)
	if in.V.AuthorizationParameters.Set {
		o.AuthorizationParameters = in.V.AuthorizationParameters.V
	}
	in.V.AuthorizationResourceEnabled.To(&o.AuthorizationResourceEnabled)
	in.V.AuthorizationResourceParameter.To(&o.AuthorizationResourceParameter)
	in.V.ScopeParameter.To(&o.ScopeParameter)
	in.V.ScopeSeparator.To(&o.ScopeSeparator)
	in.V.TokenResponseAccessTokenPointer.To(&o.TokenResponseAccessTokenPointer)
	toSlice(in.V.AllowedAudiences, &o.AllowedAudiences)
}

func changeProviderOpenID(d *deputy.Provider, in Nullable[ProviderOpenIDPatch]) {
	if !in.Set || in.Null {
		if in.Null {
			d.OpenID = nil
		}
		return
	}
	o := deputy.ProviderOpenID{}
	if d.OpenID != nil {
		o = *d.OpenID
	}
	d.OpenID = &o
	in.V.UserinfoEndpoint.To(&o.UserinfoEndpoint)
	in.V.UserIdentifierClaim.To(&o.UserIdentifierClaim)
	toSlice(in.V.Scopes, &o.Scopes)
}

// createProvider makes a provider; its secret is sealed before the transaction.
func (a *API) createProvider(ctx context.Context, c *call, in *input[ProviderCreate]) (*output[Provider], error) {
	d := &deputy.Provider{
		ID: deputy.ProviderID(deputy.NewID(c.at)), OrganizationID: c.zone.OrganizationID, ZoneID: c.zone.ID, Owner: deputy.Customer,
		Slug: deputy.Slug(in.Body.Name, "provider"), Identifier: in.Body.Identifier, Name: in.Body.Name, Description: in.Body.Description,
		Type: deputy.ExternalProvider, CreatedAt: c.at, UpdatedAt: c.at,
	}
	sealed, err := a.sealSecret(ctx, c, d.ID, in.Body.ClientSecret)
	if err != nil {
		return nil, err
	}
	d.SealedSecret = sealed
	rest := ProviderPatch{ClientID: in.Body.ClientID, Metadata: in.Body.Metadata}
	rest.Protocols = Nullable[ProviderProtocolsPatch]{Set: in.Body.Protocols.Set, V: in.Body.Protocols.V}
	if err := changeProvider(a, c, d, &rest); err != nil {
		return nil, err
	}
	if err := providers.insert(ctx, a, c, d, nil); err != nil {
		return nil, err
	}
	return providers.view(a, c, d), nil
}

// patchProvider changes a provider; its secret is sealed before the transaction.
func (a *API) patchProvider(ctx context.Context, c *call, in *input[ProviderPatch]) (*output[Provider], error) {
	sealed, err := a.sealSecret(ctx, c, deputy.ProviderID(c.param("id")), in.Body.ClientSecret)
	if err != nil {
		return nil, err
	}
	d, err := providers.update(ctx, a, c, func(d *deputy.Provider) error {
		if in.Body.ClientSecret.Set {
			d.SealedSecret = sealed
		}
		return changeProvider(a, c, d, &in.Body)
	})
	if err != nil {
		return nil, err
	}
	return providers.view(a, c, d), nil
}

// sealSecret encrypts a client secret for the provider's row; nil for none.
func (a *API) sealSecret(ctx context.Context, c *call, id deputy.ProviderID, secret Nullable[string]) ([]byte, error) {
	if !secret.Set || secret.Null || secret.V == "" {
		return nil, nil
	}
	return a.vault.Seal(ctx, c.zone.KeyID, vault.ClientSecretPlace(c.zone.ID, id), []byte(secret.V))
}
