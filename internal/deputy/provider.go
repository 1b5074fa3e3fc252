package deputy

import "time"

// ProviderType says where a provider's credentials come from.
type ProviderType string

// The provider types.
const (
	ExternalProvider ProviderType = "external"      // an authorization server elsewhere
	VaultProvider    ProviderType = "keycard-vault" // a secret stored here
	STSProvider      ProviderType = "keycard-sts"   // a token signed by the zone
)

// Provider authenticates actors or issues the credentials of resources.
// The identifier of a zone's own STS provider is derived when read: the issuer.
type Provider struct {
	ID             ProviderID
	OrganizationID OrganizationID
	ZoneID         ZoneID
	Owner          Owner
	Slug           string
	Identifier     string // unique in the zone; usually the issuer URL
	Name           string
	Description    *string
	Type           ProviderType
	ClientID       *string
	SealedSecret   []byte // client_secret, sealed under the zone's key; empty: none
	Metadata       []byte // any JSON; empty: none
	OAuth2         *ProviderOAuth2
	OpenID         *ProviderOpenID
	// HasProtocols tells an empty protocols object from an absent one.
	HasProtocols         bool
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// ProviderOAuth2 overrides and completes what discovery at the issuer gives.
// A nil member is not set.
type ProviderOAuth2 struct {
	Issuer                          *string           `json:"issuer,omitzero"`
	AuthorizationEndpoint           *string           `json:"authorization_endpoint,omitzero"`
	TokenEndpoint                   *string           `json:"token_endpoint,omitzero"`
	RegistrationEndpoint            *string           `json:"registration_endpoint,omitzero"`
	JWKSURI                         *string           `json:"jwks_uri,omitzero"`
	CodeChallengeMethodsSupported   []string          `json:"code_challenge_methods_supported,omitzero"`
	ScopesSupported                 []string          `json:"scopes_supported,omitzero"`
	AuthorizationParameters         map[string]string `json:"authorization_parameters,omitzero"`
	AuthorizationResourceEnabled    *bool             `json:"authorization_resource_enabled,omitzero"`
	AuthorizationResourceParameter  *string           `json:"authorization_resource_parameter,omitzero"`
	ScopeParameter                  *string           `json:"scope_parameter,omitzero"`
	ScopeSeparator                  *string           `json:"scope_separator,omitzero"`
	TokenResponseAccessTokenPointer *string           `json:"token_response_access_token_pointer,omitzero"`
	// AllowedAudiences are what tokens of workloads may be addressed to, beside
	// the zone.
	AllowedAudiences []string `json:"allowed_audiences,omitzero"`
}

// ProviderOpenID is what sign-in through the provider needs beyond OAuth.
type ProviderOpenID struct {
	UserinfoEndpoint    *string  `json:"userinfo_endpoint,omitzero"`
	UserIdentifierClaim *string  `json:"user_identifier_claim,omitzero"`
	Scopes              []string `json:"scopes,omitzero"`
}

// Issuer returns the issuer of the tokens that the provider signs.
func (p *Provider) Issuer() string {
	if p.OAuth2 != nil && p.OAuth2.Issuer != nil {
		return *p.OAuth2.Issuer
	}
	return p.Identifier
}

// Validate checks the provider's own invariants.
func (p *Provider) Validate() error {
	if err := named(p.Identifier, p.Name, p.Description); err != nil {
		return err
	}
	return validProtocols(p.OAuth2, p.OpenID)
}

// validProtocols checks the addresses of a provider's settings, of which either
// may be nil.
func validProtocols(o *ProviderOAuth2, id *ProviderOpenID) error {
	if o == nil {
		o = &ProviderOAuth2{}
	}
	if id == nil {
		id = &ProviderOpenID{}
	}
	for _, u := range []struct {
		field string
		value *string
	}{
		{"protocols.oauth2.issuer", o.Issuer},
		{"protocols.oauth2.authorization_endpoint", o.AuthorizationEndpoint},
		{"protocols.oauth2.token_endpoint", o.TokenEndpoint},
		{"protocols.oauth2.registration_endpoint", o.RegistrationEndpoint},
		{"protocols.oauth2.jwks_uri", o.JWKSURI},
		{"protocols.openid.userinfo_endpoint", id.UserinfoEndpoint},
	} {
		if u.value != nil {
			if err := URI(u.field, *u.value); err != nil {
				return err
			}
		}
	}
	return nil
}
