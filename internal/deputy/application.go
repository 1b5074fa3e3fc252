package deputy

import (
	"slices"
	"time"
)

// Consent says whether a person is asked before an application acts for them.
type Consent string

// The consents.
const (
	ImplicitConsent Consent = "implicit"
	RequiredConsent Consent = "required"
)

// Application is software that authenticates to a zone and reaches resources.
// Inside the authorization server it is called a client.
type Application struct {
	ID             ApplicationID
	OrganizationID OrganizationID
	ZoneID         ZoneID
	Owner          Owner
	Slug           string
	Identifier     string // unique in the zone; free form
	Name           string
	Description    *string
	Consent        Consent
	DocsURL        *string
	RedirectURIs   []string
	LogoutURIs     []string // post_logout_redirect_uris
	Traits         []string // "gateway", "mcp-provider"
	// Dependencies counts the edges; the store fills it when it reads.
	Dependencies         int
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// Traits an application may have.
const (
	TraitGateway     = "gateway"
	TraitMCPProvider = "mcp-provider"
)

// Validate checks the application's own invariants.
func (a *Application) Validate() error {
	if err := named(a.Identifier, a.Name, a.Description); err != nil {
		return err
	}
	if a.Consent != ImplicitConsent && a.Consent != RequiredConsent {
		return Bad("consent", "must be one of implicit, required")
	}
	if a.DocsURL != nil {
		if err := URI("metadata.docs_url", *a.DocsURL); err != nil {
			return err
		}
	}
	for _, u := range a.RedirectURIs {
		if err := URI("protocols.oauth2.redirect_uris", u); err != nil {
			return err
		}
	}
	for _, u := range a.LogoutURIs {
		if err := URI("protocols.oauth2.post_logout_redirect_uris", u); err != nil {
			return err
		}
	}
	for _, t := range a.Traits {
		if t != TraitGateway && t != TraitMCPProvider {
			return Bad("traits", "must be among gateway, mcp-provider")
		}
	}
	return nil
}

// named checks what applications, providers and resources share.
func named(identifier, name string, description *string) error {
	if err := SafeText("identifier", identifier, 1, MaxIdentifier); err != nil {
		return err
	}
	if err := SafeText("name", name, 1, MaxName); err != nil {
		return err
	}
	return optionalText("description", description)
}

// CredentialType is how an application proves who it is.
type CredentialType string

// The credential types.
const (
	TokenCredential     CredentialType = "token"      // a workload's own identity token
	PasswordCredential  CredentialType = "password"   // client secret
	PublicKeyCredential CredentialType = "public-key" // private_key_jwt with a jwks_uri
	URLCredential       CredentialType = "url"        // client ID metadata document
	PublicCredential    CredentialType = "public"     // no secret; PKCE
)

// Credential is one way for an application to authenticate. Application and
// type never change.
type Credential struct {
	ID             CredentialID
	OrganizationID OrganizationID
	ZoneID         ZoneID
	ApplicationID  ApplicationID
	Slug           string
	Type           CredentialType
	// Identifier is the OAuth client_id of every type but token, unique in the
	// zone among those; for a token credential it is the subject, or "*".
	Identifier           string
	SecretHash           []byte     // password: SHA-256 of the secret
	JWKSURI              string     // public-key
	ProviderID           ProviderID // token
	Subject              *string    // token; nil accepts any subject of the provider
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// Validate checks the credential's own invariants.
func (c *Credential) Validate() error {
	switch c.Type {
	case TokenCredential:
		if c.Subject != nil {
			return SafeText("subject", *c.Subject, 1, MaxIdentifier)
		}
		return nil
	case PublicKeyCredential:
		if err := URI("jwks_uri", c.JWKSURI); err != nil {
			return err
		}
	case URLCredential:
		if err := URI("identifier", c.Identifier); err != nil {
			return err
		}
	case PasswordCredential, PublicCredential:
	default:
		return Bad("type", "must be one of token, password, public-key, url, public")
	}
	return SafeText("identifier", c.Identifier, 1, MaxIdentifier)
}

// Dependency is an edge: the application may obtain access to the resource.
// Its id is the resource's. With a condition it counts only while one of the
// WhenAccessing resources is being accessed.
type Dependency struct {
	ZoneID        ZoneID
	ApplicationID ApplicationID
	ResourceID    ResourceID
	WhenAccessing []ResourceID // empty: always
	CreatedAt     time.Time
}

// Active reports whether the edge counts while the given resources are being
// accessed.
func (d *Dependency) Active(accessing ...ResourceID) bool {
	return len(d.WhenAccessing) == 0 || slices.ContainsFunc(accessing, func(r ResourceID) bool {
		return slices.Contains(d.WhenAccessing, r)
	})
}
