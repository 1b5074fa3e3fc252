package api

import (
	"context"
	"net/http"

	"deputy/internal/deputy"
	"deputy/internal/vault"
)

// SSOConnection is the identity provider of an organization, as clients see it.
type SSOConnection struct {
	ID              string        `json:"id"`
	Identifier      string        `json:"identifier" doc:"The issuer."`
	ClientID        *string       `json:"client_id" nullable:"true"`
	ClientSecretSet bool          `json:"client_secret_set" doc:"A client secret is stored. It is never shown."`
	Protocols       *SSOProtocols `json:"protocols,omitzero"`
	Permissions     Permissions   `json:"permissions,omitzero" doc:"What the caller may do with the connection; with expand permissions."`
	CreatedAt       Time          `json:"created_at"`
	UpdatedAt       Time          `json:"updated_at"`
}

// SSOProtocols are the connection's protocol settings.
type SSOProtocols struct {
	OAuth2 *SSOOAuth2 `json:"oauth2,omitzero"`
	OpenID *SSOOpenID `json:"openid,omitzero"`
}

// SSOOAuth2 overrides what discovery at the issuer gives.
type SSOOAuth2 struct {
	AuthorizationEndpoint         *string  `json:"authorization_endpoint,omitzero" format:"uri"`
	TokenEndpoint                 *string  `json:"token_endpoint,omitzero" format:"uri"`
	RegistrationEndpoint          *string  `json:"registration_endpoint,omitzero" format:"uri"`
	JWKSURI                       *string  `json:"jwks_uri,omitzero" format:"uri"`
	CodeChallengeMethodsSupported []string `json:"code_challenge_methods_supported,omitzero"`
	ScopesSupported               []string `json:"scopes_supported,omitzero"`
}

// SSOOpenID is what sign-in needs beyond OAuth 2.
type SSOOpenID struct {
	UserinfoEndpoint *string `json:"userinfo_endpoint,omitzero" format:"uri"`
}

// SSOConnectionCreate makes the connection of an organization.
type SSOConnectionCreate struct {
	Identifier   string                      `json:"identifier" minLength:"1" maxLength:"2048" doc:"The issuer." example:"https://accounts.example.com"`
	ClientID     string                      `json:"client_id" minLength:"1" maxLength:"2048"`
	ClientSecret Nullable[string]            `json:"client_secret,omitzero" maxLength:"8192" writeOnly:"true" doc:"Kept encrypted, never shown."`
	Protocols    Nullable[SSOProtocolsPatch] `json:"protocols,omitzero"`
}

// SSOConnectionPatch changes the connection.
type SSOConnectionPatch struct {
	Identifier   Patch[string]               `json:"identifier,omitzero" minLength:"1" maxLength:"2048"`
	ClientID     Nullable[string]            `json:"client_id,omitzero" minLength:"1" maxLength:"2048"`
	ClientSecret Nullable[string]            `json:"client_secret,omitzero" maxLength:"8192" writeOnly:"true"`
	Protocols    Nullable[SSOProtocolsPatch] `json:"protocols,omitzero"`
}

// SSOProtocolsPatch changes the connection's protocol settings.
type SSOProtocolsPatch struct {
	OAuth2 Nullable[SSOOAuth2Patch] `json:"oauth2,omitzero"`
	OpenID Nullable[SSOOpenIDPatch] `json:"openid,omitzero"`
}

// SSOOAuth2Patch changes the connection's OAuth 2 settings.
type SSOOAuth2Patch struct {
	AuthorizationEndpoint         Nullable[string]   `json:"authorization_endpoint,omitzero" format:"uri" maxLength:"2048"`
	TokenEndpoint                 Nullable[string]   `json:"token_endpoint,omitzero" format:"uri" maxLength:"2048"`
	RegistrationEndpoint          Nullable[string]   `json:"registration_endpoint,omitzero" format:"uri" maxLength:"2048"`
	JWKSURI                       Nullable[string]   `json:"jwks_uri,omitzero" format:"uri" maxLength:"2048"`
	CodeChallengeMethodsSupported Nullable[[]string] `json:"code_challenge_methods_supported,omitzero" maxItems:"100"`
	ScopesSupported               Nullable[[]string] `json:"scopes_supported,omitzero" maxItems:"1000"`
}

// SSOOpenIDPatch changes the connection's OpenID settings.
type SSOOpenIDPatch struct {
	UserinfoEndpoint Nullable[string] `json:"userinfo_endpoint,omitzero" format:"uri" maxLength:"2048"`
}

var ssoConnections = Noun[deputy.SSOConnection, SSOConnection, SSOConnectionCreate, SSOConnectionPatch]{
	Name: "sso_connection", Plural: "sso_connections", Path: organizationPath + "/sso-connection", Tag: "SSO connection", Made: http.StatusCreated, Owned: true,
	One:    func(c *call) deputy.ID { return deputy.ID(c.organization.ID) },
	List:   ownedListing(),
	Expand: organizationExpand,
	Reads:  func(v deputy.View) deputy.Reads[deputy.SSOConnection] { return v.SSOConnections() },
	Writes: func(tx deputy.Tx) deputy.Writes[deputy.SSOConnection] { return tx.SSOConnections() },
	ID:     func(d *deputy.SSOConnection) deputy.ID { return d.ID },
	View:   viewSSOConnection,
	Check:  (*deputy.SSOConnection).Validate,
	Refer: func(ctx context.Context, tx deputy.Tx, c *call, d *deputy.SSOConnection) error {
		there, err := tx.SSOConnections().Get(ctx, deputy.Scope{Organization: d.OrganizationID}, deputy.ID(d.OrganizationID))
		if err == nil && there.ID != d.ID {
			return deputy.Errorf(deputy.Conflict, "the organization has an SSO connection: change or delete it")
		}
		if deputy.KindOf(err) == deputy.NotFound {
			return nil
		}
		return err
	},
}

func (a *API) mountSSO() {
	ssoConnections.mountAll(a, get, remove)
	mount(a, ssoConnections.operation(create), a.createSSOConnection)
	mount(a, ssoConnections.operation(patch), a.patchSSOConnection)
}

func viewSSOConnection(a *API, c *call, d *deputy.SSOConnection) SSOConnection {
	v := SSOConnection{
		ID: string(d.ID), Identifier: d.Identifier, ClientID: d.ClientID, ClientSecretSet: len(d.SealedSecret) > 0,
		Permissions: a.allowed(c, "sso_connections"), CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt),
	}
	if !d.HasProtocols {
		return v
	}
	v.Protocols = &SSOProtocols{}
	if o := d.OAuth2; o != nil {
		v.Protocols.OAuth2 = &SSOOAuth2{
			AuthorizationEndpoint: o.AuthorizationEndpoint, TokenEndpoint: o.TokenEndpoint, RegistrationEndpoint: o.RegistrationEndpoint, JWKSURI: o.JWKSURI,
			CodeChallengeMethodsSupported: o.CodeChallengeMethodsSupported, ScopesSupported: o.ScopesSupported,
		}
	}
	if o := d.OpenID; o != nil {
		v.Protocols.OpenID = &SSOOpenID{UserinfoEndpoint: o.UserinfoEndpoint}
	}
	return v
}

// createSSOConnection makes the connection; its secret is sealed before the
// transaction.
func (a *API) createSSOConnection(ctx context.Context, c *call, in *input[SSOConnectionCreate]) (*output[SSOConnection], error) {
	sealed, err := a.sealSSOSecret(ctx, c, in.Body.ClientSecret)
	if err != nil {
		return nil, err
	}
	d := &deputy.SSOConnection{
		ID: deputy.NewID(c.at), OrganizationID: c.organization.ID, Identifier: in.Body.Identifier, ClientID: &in.Body.ClientID,
		SealedSecret: sealed, CreatedAt: c.at, UpdatedAt: c.at,
	}
	changeSSOProtocols(d, in.Body.Protocols)
	if err := ssoConnections.insert(ctx, a, c, d, nil); err != nil {
		return nil, err
	}
	return ssoConnections.view(a, c, d), nil
}

// patchSSOConnection changes the connection; its secret is sealed before the
// transaction.
func (a *API) patchSSOConnection(ctx context.Context, c *call, in *input[SSOConnectionPatch]) (*output[SSOConnection], error) {
	sealed, err := a.sealSSOSecret(ctx, c, in.Body.ClientSecret)
	if err != nil {
		return nil, err
	}
	d, err := ssoConnections.update(ctx, a, c, func(d *deputy.SSOConnection) error {
		in.Body.Identifier.To(&d.Identifier)
		in.Body.ClientID.To(&d.ClientID)
		if in.Body.ClientSecret.Set {
			d.SealedSecret = sealed
		}
		changeSSOProtocols(d, in.Body.Protocols)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ssoConnections.view(a, c, d), nil
}

// sealSSOSecret encrypts a client secret for the organization's row; nil for
// none.
func (a *API) sealSSOSecret(ctx context.Context, c *call, secret Nullable[string]) ([]byte, error) {
	if !secret.Set || secret.Null || secret.V == "" {
		return nil, nil
	}
	return a.vault.Seal(ctx, c.organization.KeyID, ssoSecretPlace(c.organization.ID), []byte(secret.V))
}

// ssoSecretPlace is where an organization's client secret is sealed.
func ssoSecretPlace(organization deputy.OrganizationID) vault.Place {
	return vault.Place{Table: "sso_connections", Column: "sealed_secret", Row: string(organization)}
}

// changeSSOProtocols merges settings member by member; null clears a level.
func changeSSOProtocols(d *deputy.SSOConnection, in Nullable[SSOProtocolsPatch]) {
	if in.Null {
		d.OAuth2, d.OpenID, d.HasProtocols = nil, nil, false
	}
	if !in.Set || in.Null {
		return
	}
	d.HasProtocols = true
	oauth2, openid := in.V.OAuth2, in.V.OpenID
	switch {
	case oauth2.Null:
		d.OAuth2 = nil
	case oauth2.Set:
		o := orNew(d.OAuth2)
		oauth2.V.AuthorizationEndpoint.To(&o.AuthorizationEndpoint)
		oauth2.V.TokenEndpoint.To(&o.TokenEndpoint)
		oauth2.V.RegistrationEndpoint.To(&o.RegistrationEndpoint)
		oauth2.V.JWKSURI.To(&o.JWKSURI)
		toSlice(oauth2.V.CodeChallengeMethodsSupported, &o.CodeChallengeMethodsSupported)
		toSlice(oauth2.V.ScopesSupported, &o.ScopesSupported)
		d.OAuth2 = &o
	}
	switch {
	case openid.Null:
		d.OpenID = nil
	case openid.Set:
		o := orNew(d.OpenID)
		openid.V.UserinfoEndpoint.To(&o.UserinfoEndpoint)
		d.OpenID = &o
	}
}

// orNew returns what p points to, or a new one.
func orNew[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
