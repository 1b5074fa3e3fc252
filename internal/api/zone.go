package api

import (
	"context"
	"net/http"
	"slices"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

// Zone is an isolated identity domain as clients see it.
type Zone struct {
	ID                             string         `json:"id" doc:"Also the first label of its issuer's host, where zones have hosts."`
	OrganizationID                 string         `json:"organization_id"`
	OwnerType                      string         `json:"owner_type" enum:"platform,customer" doc:"Who made it; the platform's cannot be changed."`
	Slug                           string         `json:"slug" doc:"Made from the name, unique in the organization."`
	Name                           string         `json:"name"`
	Description                    *string        `json:"description,omitzero"`
	DefaultMCPGatewayApplicationID *string        `json:"default_mcp_gateway_application_id,omitzero"`
	DefaultResourceID              *string        `json:"default_resource_id,omitzero" doc:"What a token is for when its request names no resource."`
	UserIdentityProviderID         *string        `json:"user_identity_provider_id,omitzero" doc:"Where people sign in; unset: here."`
	RequiresInvitation             bool           `json:"requires_invitation"`
	LoginFlow                      string         `json:"login_flow" enum:"default,identifier_first"`
	EncryptionKey                  *EncryptionKey `json:"encryption_key,omitzero"`
	Protocols                      ZoneProtocols  `json:"protocols"`
	Permissions                    Permissions    `json:"permissions,omitzero" doc:"What the caller may do in the zone; with expand permissions."`
	CreatedAt                      Time           `json:"created_at"`
	UpdatedAt                      Time           `json:"updated_at"`
}

// EncryptionKey is a customer's own key that wraps the zone's.
type EncryptionKey struct {
	Type string `json:"type" enum:"aws"`
	ARN  string `json:"arn" minLength:"1" example:"arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"`
}

// ZoneProtocols are the zone's addresses and protocol settings.
type ZoneProtocols struct {
	OAuth2 ZoneOAuth2 `json:"oauth2"`
	OpenID ZoneOpenID `json:"openid"`
}

// ZoneOAuth2 is the zone as an OAuth 2 authorization server.
type ZoneOAuth2 struct {
	Issuer                      string `json:"issuer" format:"uri"`
	AuthorizationEndpoint       string `json:"authorization_endpoint" format:"uri"`
	TokenEndpoint               string `json:"token_endpoint" format:"uri"`
	RegistrationEndpoint        string `json:"registration_endpoint" format:"uri"`
	JWKSURI                     string `json:"jwks_uri" format:"uri"`
	AuthorizationServerMetadata string `json:"authorization_server_metadata" format:"uri"`
	RedirectURI                 string `json:"redirect_uri" format:"uri" doc:"What to register at outside providers."`
	PKCERequired                bool   `json:"pkce_required"`
	DCREnabled                  bool   `json:"dcr_enabled" doc:"Clients may register themselves."`
	CIMD                        CIMD   `json:"cimd"`
	SigningAlg                  string `json:"signing_alg" enum:"RS256,ES256" doc:"What access tokens are signed with, unless their resource says otherwise. An extension."`
}

// CIMD says which clients may be known by a metadata document at their id.
type CIMD struct {
	Enabled          bool     `json:"enabled"`
	AllowedClientIDs []string `json:"allowed_client_ids" doc:"*, an exact URL, or an origin such as https://*.example.com whose * stands for one label."`
}

// ZoneOpenID is the zone as an OpenID provider.
type ZoneOpenID struct {
	ProviderConfiguration string `json:"provider_configuration" format:"uri"`
	UserinfoEndpoint      string `json:"userinfo_endpoint" format:"uri"`
}

// ZoneCreate makes a zone.
type ZoneCreate struct {
	Name                         string                     `json:"name" minLength:"1" maxLength:"255" example:"Production"`
	Description                  *string                    `json:"description,omitzero" maxLength:"2048"`
	OrganizationID               Patch[string]              `json:"organization_id,omitzero" doc:"The caller's own, when given."`
	DefaultMCPGatewayApplication Patch[bool]                `json:"default_mcp_gateway_application,omitzero" doc:"Make an application with the trait gateway and set default_mcp_gateway_application_id."`
	RequiresInvitation           Patch[bool]                `json:"requires_invitation,omitzero" doc:"People must be invited before they sign up; true unless said."`
	LoginFlow                    Patch[string]              `json:"login_flow,omitzero" enum:"default,identifier_first"`
	EncryptionKey                Nullable[EncryptionKey]    `json:"encryption_key,omitzero" doc:"A key of AWS KMS that wraps the zone's data key; null is the platform's. The server must be able to use the key, and when it is replaced the one before as well."`
	Protocols                    Patch[ZoneProtocolsCreate] `json:"protocols,omitzero"`
}

// ZoneProtocolsCreate are the settings of a new zone.
type ZoneProtocolsCreate struct {
	OAuth2 Patch[ZoneOAuth2Create] `json:"oauth2,omitzero"`
}

// ZoneOAuth2Create are the OAuth 2 settings of a new zone.
type ZoneOAuth2Create struct {
	PKCERequired Patch[bool]   `json:"pkce_required,omitzero" doc:"True unless said."`
	DCREnabled   Patch[bool]   `json:"dcr_enabled,omitzero" doc:"True unless said."`
	CIMD         Patch[CIMD]   `json:"cimd,omitzero"`
	SigningAlg   Patch[string] `json:"signing_alg,omitzero" enum:"RS256,ES256" doc:"RS256 unless said. ES256 signs many times faster, but some client libraries verify RS256 only. An extension."`
}

// ZonePatch changes a zone.
type ZonePatch struct {
	Name                           Patch[string]                `json:"name,omitzero" minLength:"1" maxLength:"255"`
	Description                    Nullable[string]             `json:"description,omitzero" maxLength:"2048"`
	DefaultMCPGatewayApplicationID Nullable[string]             `json:"default_mcp_gateway_application_id,omitzero"`
	DefaultResourceID              Nullable[string]             `json:"default_resource_id,omitzero"`
	UserIdentityProviderID         Nullable[string]             `json:"user_identity_provider_id,omitzero"`
	RequiresInvitation             Patch[bool]                  `json:"requires_invitation,omitzero"`
	LoginFlow                      Nullable[string]             `json:"login_flow,omitzero" enum:"default,identifier_first"`
	EncryptionKey                  Nullable[EncryptionKey]      `json:"encryption_key,omitzero" doc:"A key of AWS KMS that wraps the zone's data key; null is the platform's. The server must be able to use the key, and when it is replaced the one before as well."`
	Protocols                      Nullable[ZoneProtocolsPatch] `json:"protocols,omitzero" doc:"Null puts every setting back to its default."`
}

// ZoneProtocolsPatch changes a zone's protocol settings.
type ZoneProtocolsPatch struct {
	OAuth2 Nullable[ZoneOAuth2Patch] `json:"oauth2,omitzero"`
}

// ZoneOAuth2Patch changes a zone's OAuth 2 settings; null puts one back to its
// default.
type ZoneOAuth2Patch struct {
	PKCERequired Nullable[bool]   `json:"pkce_required,omitzero"`
	DCREnabled   Nullable[bool]   `json:"dcr_enabled,omitzero"`
	CIMD         Nullable[CIMD]   `json:"cimd,omitzero"`
	SigningAlg   Nullable[string] `json:"signing_alg,omitzero" enum:"RS256,ES256"`
}

var zones = Noun[deputy.Zone, Zone, ZoneCreate, ZonePatch]{
	Name: "zone", Plural: "zones", Path: "/zones", Key: "zone_id", Tag: "Zones", Made: http.StatusOK,
	About: "A zone is an isolated identity domain with its own issuer, keys, policies and log.",
	List: listing{
		Expand: []string{"total_count", "permissions"}, Cursor: true,
		Parameters: []parameter{
			{Name: "slug", Fields: []string{"slug"}, Doc: "The zone with the slug."},
			{Name: "filter[organization_id]", Many: true, Doc: "Zones of the organization. Callers see their own."},
		},
	},
	Expand: []string{"permissions"},
	Scope:  func(c *call) deputy.Scope { return deputy.Scope{Organization: c.caller.Organization} },
	Reads:  func(v deputy.View) deputy.Reads[deputy.Zone] { return v.Zones() },
	Writes: func(tx deputy.Tx) deputy.Writes[deputy.Zone] { return tx.Zones() },
	ID:     func(z *deputy.Zone) deputy.ID { return deputy.ID(z.ID) },
	Owner:  func(z *deputy.Zone) deputy.Owner { return z.Owner },
	Narrow: func(ctx context.Context, a *API, c *call, q *asked) error {
		if err := a.ownZones(ctx, c, q); err != nil {
			return err
		}
		if of := c.query["filter[organization_id]"]; len(of) > 0 && !slices.Contains(of, string(c.caller.Organization)) {
			q.Where = append(q.Where, deputy.Filter{Fields: []string{"id"}, Values: []string{""}}) // none
		}
		return nil
	},
	View:   viewZone,
	Change: changeZone,
	Check:  (*deputy.Zone).Validate,
	Refer:  referZone,
}

// ownZones narrows a list of zones to those that a person has a role in, unless
// they administer the organization.
func (a *API) ownZones(ctx context.Context, c *call, q *asked) (err error) {
	if c.roles&admins != 0 {
		return nil
	}
	q.Where = append(q.Where, deputy.Filter{Fields: []string{"member"}, Values: []string{string(c.caller.Account)}})
	if q.expand["permissions"] {
		c.zoneRoles, err = a.store.ZoneRoles(ctx, c.caller.Organization, c.caller.Account)
	}
	return err
}

func viewZone(a *API, c *call, z *deputy.Zone) Zone {
	issuer := a.addresses.Issuer(z)
	v := Zone{
		ID: string(z.ID), OrganizationID: string(z.OrganizationID), OwnerType: string(z.Owner), Slug: z.Slug, Name: z.Name,
		Description: z.Description, DefaultMCPGatewayApplicationID: text(z.DefaultGatewayApplicationID),
		DefaultResourceID: text(z.DefaultResourceID), UserIdentityProviderID: text(z.UserIdentityProviderID),
		RequiresInvitation: z.RequiresInvitation, LoginFlow: z.LoginFlow,
		CreatedAt: Time(z.CreatedAt), UpdatedAt: Time(z.UpdatedAt),
		Protocols: ZoneProtocols{
			OAuth2: ZoneOAuth2{
				Issuer:                      issuer,
				AuthorizationEndpoint:       issuer + "/oauth/2/authorize",
				TokenEndpoint:               issuer + "/oauth/2/token",
				RegistrationEndpoint:        issuer + "/oauth/2/registration",
				JWKSURI:                     issuer + "/openidconnect/jwks",
				AuthorizationServerMetadata: issuer + "/.well-known/oauth-authorization-server",
				RedirectURI:                 issuer + redirectPath,
				PKCERequired:                z.PKCERequired, DCREnabled: z.DCREnabled, SigningAlg: z.SigningAlg,
				CIMD: CIMD{Enabled: z.CIMDEnabled, AllowedClientIDs: append([]string{}, z.CIMDClientIDs...)},
			},
			OpenID: ZoneOpenID{
				ProviderConfiguration: issuer + "/.well-known/openid-configuration",
				UserinfoEndpoint:      issuer + "/openid/connect/userinfo",
			},
		},
	}
	if k := z.EncryptionKey; k != nil {
		v.EncryptionKey = &EncryptionKey{Type: k.Type, ARN: k.ARN}
	}
	if c.expand["permissions"] {
		v.Permissions = a.permissions(c.roles|roleNamed(c.zoneRoles[z.ID]), true)
	}
	return v
}

// newZone returns the zone that a request describes, with nothing in it.
func newZone(a *API, c *call, in *ZoneCreate) *deputy.Zone {
	z := &deputy.Zone{
		ID: deputy.ZoneID(deputy.NewID(c.at)), OrganizationID: c.caller.Organization, Owner: deputy.Customer,
		Slug: deputy.Slug(in.Name, "zone"), Name: in.Name, Description: in.Description,
		RequiresInvitation: in.RequiresInvitation.Or(true), LoginFlow: in.LoginFlow.Or(defaultLoginFlow),
		IssuerForm: a.addresses.NewZoneForm(), PolicySchema: policy.DefaultSchema, CreatedAt: c.at, UpdatedAt: c.at,
	}
	resetOAuth2(z)
	settings := in.Protocols.V.OAuth2.V
	settings.PKCERequired.To(&z.PKCERequired)
	settings.DCREnabled.To(&z.DCREnabled)
	settings.SigningAlg.To(&z.SigningAlg)
	if settings.CIMD.Set {
		z.CIMDEnabled, z.CIMDClientIDs = settings.CIMD.V.Enabled, settings.CIMD.V.AllowedClientIDs
	}
	return z
}

const defaultLoginFlow = "default"

// resetOAuth2 gives the zone the default OAuth 2 settings.
func resetOAuth2(z *deputy.Zone) {
	z.PKCERequired, z.DCREnabled, z.SigningAlg = true, true, string(deputy.RS256)
	z.CIMDEnabled, z.CIMDClientIDs = false, nil
}

// changeZone sets everything but the encryption key, which is tried before.
func changeZone(_ *API, _ *call, z *deputy.Zone, in *ZonePatch) error {
	in.Name.To(&z.Name)
	in.Description.To(&z.Description)
	setID(in.DefaultMCPGatewayApplicationID, &z.DefaultGatewayApplicationID)
	setID(in.DefaultResourceID, &z.DefaultResourceID)
	setID(in.UserIdentityProviderID, &z.UserIdentityProviderID)
	in.RequiresInvitation.To(&z.RequiresInvitation)
	restore(in.LoginFlow, &z.LoginFlow, defaultLoginFlow)
	oauth2 := in.Protocols.V.OAuth2
	if in.Protocols.Null || oauth2.Null {
		resetOAuth2(z)
		return nil
	}
	restore(oauth2.V.PKCERequired, &z.PKCERequired, true)
	restore(oauth2.V.DCREnabled, &z.DCREnabled, true)
	restore(oauth2.V.SigningAlg, &z.SigningAlg, string(deputy.RS256))
	if cimd := oauth2.V.CIMD; cimd.Set {
		z.CIMDEnabled, z.CIMDClientIDs = cimd.V.Enabled, cimd.V.AllowedClientIDs
	}
	return nil
}

// restore sets target to the value, or to its default for null.
func restore[T any](p Nullable[T], target *T, fallback T) {
	switch {
	case p.Null:
		*target = fallback
	case p.Set:
		*target = p.V
	}
}

// setID sets an optional id; null clears it.
func setID[T ~string](p Nullable[string], target **T) {
	switch {
	case p.Null:
		*target = nil
	case p.Set:
		id := T(p.V)
		*target = &id
	}
}

// referZone checks that what the zone points to is in it.
func referZone(ctx context.Context, tx deputy.Tx, _ *call, z *deputy.Zone) error {
	in := deputy.Scope{Zone: z.ID}
	if err := exists(ctx, tx.Applications(), in, "default_mcp_gateway_application_id", z.DefaultGatewayApplicationID); err != nil {
		return err
	}
	if err := exists(ctx, tx.Resources(), in, "default_resource_id", z.DefaultResourceID); err != nil {
		return err
	}
	return exists(ctx, tx.Providers(), in, "user_identity_provider_id", z.UserIdentityProviderID)
}

// exists reports whether the entity that field refers to is in the zone.
func exists[D any, T ~string](ctx context.Context, in deputy.Reads[D], scope deputy.Scope, field string, id *T) error {
	if id == nil {
		return nil
	}
	_, err := in.Get(ctx, scope, deputy.ID(*id))
	if deputy.KindOf(err) == deputy.NotFound {
		return deputy.Bad(field, "must name one of the zone's own")
	}
	return err
}

// createZone makes a zone complete: what every zone is born with is there when
// the call answers.
func (a *API) createZone(ctx context.Context, c *call, in *input[ZoneCreate]) (*output[Zone], error) {
	if of := in.Body.OrganizationID; of.Set && of.V != string(c.caller.Organization) {
		return nil, a.refuse(ctx, c, nil, deputy.Errorf(deputy.Denied, "zones can be created in the caller's organization only"))
	}
	z := newZone(a, c, &in.Body)
	if err := a.setEncryptionKey(z, in.Body.EncryptionKey); err != nil {
		return nil, err
	}
	if err := z.Validate(); err != nil {
		return nil, err
	}
	contents, err := a.birth(ctx, c, z)
	if err != nil {
		return nil, err
	}
	if in.Body.DefaultMCPGatewayApplication.Or(false) {
		contents.addGateway(z)
	}
	c.zone = z // the event is the new zone's first
	err = a.write(ctx, c, zones.target(deputy.ID(z.ID)), func(tx deputy.Tx) error { return contents.insert(ctx, tx, z) })
	if err != nil {
		return nil, err
	}
	return zones.view(a, c, z), nil
}

// redirectPath is, below an issuer, what to register at outside providers.
const redirectPath = "/oauth/2/redirect"
