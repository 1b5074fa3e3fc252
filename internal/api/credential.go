package api

import (
	"context"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"deputy/internal/deputy"
)

// Credential is one way for an application to authenticate, as clients see it.
// Which members there are depends on its type.
type Credential struct {
	ID             string    `json:"id"`
	ApplicationID  string    `json:"application_id"`
	OrganizationID string    `json:"organization_id"`
	ZoneID         string    `json:"zone_id"`
	Slug           string    `json:"slug"`
	Type           string    `json:"type" enum:"token,password,public-key,url,public"`
	Identifier     string    `json:"identifier" doc:"The OAuth client_id; for token the subject, or * for any."`
	Password       *string   `json:"password,omitzero" doc:"password: the client secret, in the answer that made it and never again."`
	JWKSURI        *string   `json:"jwks_uri,omitzero" format:"uri" doc:"public-key: where its keys are."`
	ProviderID     *string   `json:"provider_id,omitzero" doc:"token: who issues the tokens."`
	Subject        *string   `json:"subject,omitzero" doc:"token: whose tokens; unset: any of the provider's."`
	Application    *Embedded `json:"application,omitzero" deprecated:"true" doc:"Not sent: application_id names it."`
	Provider       *Embedded `json:"provider,omitzero" deprecated:"true" doc:"Not sent: provider_id names it."`
	CreatedAt      Time      `json:"created_at"`
	UpdatedAt      Time      `json:"updated_at"`
}

// CredentialCreate makes a credential: one of five variants, told apart by
// type.
type CredentialCreate struct {
	ApplicationID string  `json:"application_id"`
	Type          string  `json:"type"`
	Identifier    *string `json:"identifier,omitzero"`
	JWKSURI       string  `json:"jwks_uri,omitzero"`
	ProviderID    string  `json:"provider_id,omitzero"`
	Subject       *string `json:"subject,omitzero"`
}

// The variants of a new credential, for the check and the document.
type (
	// TokenCredentialCreate accepts a workload's own identity token.
	TokenCredentialCreate struct {
		ApplicationID string           `json:"application_id"`
		Type          string           `json:"type" enum:"token"`
		ProviderID    string           `json:"provider_id" doc:"The provider of the zone that issues the tokens."`
		Subject       Nullable[string] `json:"subject,omitzero" minLength:"1" maxLength:"2048" doc:"Whose tokens; any of the provider's unless said."`
	}
	// PasswordCredentialCreate is a client secret made here.
	PasswordCredentialCreate struct {
		ApplicationID string           `json:"application_id"`
		Type          string           `json:"type" enum:"password"`
		Identifier    Nullable[string] `json:"identifier,omitzero" minLength:"1" maxLength:"2048" doc:"The client_id; made here unless said."`
	}
	// PublicKeyCredentialCreate is private_key_jwt with keys at a URL.
	PublicKeyCredentialCreate struct {
		ApplicationID string           `json:"application_id"`
		Type          string           `json:"type" enum:"public-key"`
		JWKSURI       string           `json:"jwks_uri" format:"uri" maxLength:"2048"`
		Identifier    Nullable[string] `json:"identifier,omitzero" minLength:"1" maxLength:"2048" doc:"The client_id; made here unless said."`
	}
	// URLCredentialCreate is a client ID metadata document.
	URLCredentialCreate struct {
		ApplicationID string `json:"application_id"`
		Type          string `json:"type" enum:"url"`
		Identifier    string `json:"identifier" format:"uri" maxLength:"2048" doc:"The document's URL, which is the client_id."`
	}
	// PublicCredentialCreate is a client without a secret.
	PublicCredentialCreate struct {
		ApplicationID string           `json:"application_id"`
		Type          string           `json:"type" enum:"public"`
		Identifier    Nullable[string] `json:"identifier,omitzero" minLength:"1" maxLength:"2048" doc:"The client_id; made here unless said."`
	}
)

// Schema is the choice of the five variants.
func (CredentialCreate) Schema(r huma.Registry) *huma.Schema {
	return choice(r,
		variant{string(deputy.TokenCredential), reflect.TypeFor[TokenCredentialCreate]()},
		variant{string(deputy.PasswordCredential), reflect.TypeFor[PasswordCredentialCreate]()},
		variant{string(deputy.PublicKeyCredential), reflect.TypeFor[PublicKeyCredentialCreate]()},
		variant{string(deputy.URLCredential), reflect.TypeFor[URLCredentialCreate]()},
		variant{string(deputy.PublicCredential), reflect.TypeFor[PublicCredentialCreate]()})
}

// CredentialPatch changes a credential, by the type it has.
type CredentialPatch struct {
	ZoneID     Patch[Value]     `json:"zoneId,omitzero" deprecated:"true" doc:"Means nothing: the path names the zone."`
	Type       Patch[string]    `json:"type,omitzero" enum:"token,password,public-key,url,public" doc:"The type it has; it cannot change."`
	Subject    Nullable[string] `json:"subject,omitzero" minLength:"1" maxLength:"2048" doc:"token: null accepts any."`
	Identifier Patch[string]    `json:"identifier,omitzero" minLength:"1" maxLength:"2048" doc:"url and public: the client_id."`
}

var credentials = Noun[deputy.Credential, Credential, CredentialCreate, CredentialPatch]{
	Name: "application_credential", Plural: "application_credentials", Path: "/zones/{zone_id}/application-credentials", Key: "id",
	Tag: "Application credentials", Made: http.StatusOK,
	About: "A credential is one way for an application to authenticate to the zone.",
	List: listing{
		Expand: []string{"total_count"}, Cursor: true,
		Parameters: []parameter{
			{Name: "applicationId", Also: []string{"application_id"}, Fields: []string{"application_id"}, Doc: "Credentials of the application."},
			{Name: "slug", Fields: []string{"slug"}, Doc: "The credential with the slug."},
		},
	},
	Reads:  func(v deputy.View) deputy.Reads[deputy.Credential] { return v.Credentials() },
	Writes: func(tx deputy.Tx) deputy.Writes[deputy.Credential] { return tx.Credentials() },
	ID:     func(d *deputy.Credential) deputy.ID { return deputy.ID(d.ID) },
	View:   viewCredential,
	Change: changeCredential,
	Check:  (*deputy.Credential).Validate,
	Refer: func(ctx context.Context, tx deputy.Tx, c *call, d *deputy.Credential) error {
		in := deputy.Scope{Zone: c.zone.ID}
		app, err := tx.Applications().Get(ctx, in, deputy.ID(d.ApplicationID))
		if deputy.KindOf(err) == deputy.NotFound {
			return deputy.Bad("application_id", "must name one of the zone's own")
		}
		if err != nil {
			return err
		}
		if err := ownedByCustomer(app.Owner, applications.Name); err != nil || d.Type != deputy.TokenCredential {
			return err
		}
		return exists(ctx, tx.Providers(), in, "provider_id", &d.ProviderID)
	},
}

func viewCredential(_ *API, _ *call, d *deputy.Credential) Credential {
	return Credential{
		ID: string(d.ID), ApplicationID: string(d.ApplicationID), OrganizationID: string(d.OrganizationID), ZoneID: string(d.ZoneID),
		Slug: d.Slug, Type: string(d.Type), Identifier: d.Identifier, JWKSURI: pointer(d.JWKSURI),
		ProviderID: pointer(d.ProviderID), Subject: d.Subject, CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt),
	}
}

func newCredential(c *call, in *CredentialCreate) *deputy.Credential {
	d := &deputy.Credential{
		ID: deputy.CredentialID(deputy.NewID(c.at)), OrganizationID: c.zone.OrganizationID, ZoneID: c.zone.ID,
		ApplicationID: deputy.ApplicationID(in.ApplicationID), Type: deputy.CredentialType(in.Type),
		CreatedAt: c.at, UpdatedAt: c.at,
	}
	switch {
	case d.Type == deputy.TokenCredential:
		d.ProviderID = deputy.ProviderID(in.ProviderID)
		setSubject(d, in.Subject)
	case in.Identifier != nil:
		d.Identifier = *in.Identifier
	default:
		d.Identifier = deputy.NewClientID()
	}
	if d.Type == deputy.PublicKeyCredential {
		d.JWKSURI = in.JWKSURI
	}
	d.Slug = deputy.Slug(d.Identifier, in.Type)
	return d
}

func setSubject(d *deputy.Credential, subject *string) {
	d.Subject, d.Identifier = subject, deputy.AnySubject
	if subject != nil {
		d.Identifier = *subject
	}
}

// changeCredential judges a change by the type that the credential has; what
// its type does not let change stays.
func changeCredential(_ *API, _ *call, d *deputy.Credential, in *CredentialPatch) error {
	if in.Type.Set && in.Type.V != string(d.Type) {
		return deputy.Bad("type", "cannot be changed: the credential is of the type %s", d.Type)
	}
	switch d.Type {
	case deputy.TokenCredential:
		if in.Subject.Set {
			subject := d.Subject
			in.Subject.To(&subject)
			setSubject(d, subject)
		}
	case deputy.URLCredential, deputy.PublicCredential:
		in.Identifier.To(&d.Identifier)
	}
	return nil
}

// createCredential makes a credential. The secret of a password is in this
// answer and nowhere else: its hash is stored.
func (a *API) createCredential(ctx context.Context, c *call, in *input[CredentialCreate]) (*output[Credential], error) {
	d := newCredential(c, &in.Body)
	var secret deputy.Secret
	if d.Type == deputy.PasswordCredential {
		secret = deputy.NewSecret()
		d.SecretHash = deputy.HashSecret(secret)
	}
	if err := credentials.insert(ctx, a, c, d, nil); err != nil {
		return nil, err
	}
	out := credentials.view(a, c, d)
	out.Body.Password = pointer(secret.Reveal())
	return out, nil
}

// listCredentialsOf lists the credentials of one application.
func (a *API) listCredentialsOf(ctx context.Context, c *call, _ *empty) (*output[List[Credential]], error) {
	if err := a.applicationExists(ctx, c); err != nil {
		return nil, err
	}
	sub := credentials
	sub.List = plainList
	page, err := sub.page(ctx, a, c, deputy.Filter{Fields: []string{"application_id"}, Values: []string{c.param("id")}})
	if err != nil {
		return nil, err
	}
	return &output[List[Credential]]{*page}, nil
}

// plainList is a list that can be asked for its pages alone.
var plainList = listing{Expand: []string{"total_count"}, Cursor: true}

// applicationExists looks for the application that the path names.
func (a *API) applicationExists(ctx context.Context, c *call) error {
	_, err := a.store.Applications().Get(ctx, deputy.Scope{Zone: c.zone.ID}, deputy.ID(c.param("id")))
	return missing(err, "application")
}
