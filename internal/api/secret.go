package api

import (
	"context"
	"fmt"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"

	"deputy/internal/deputy"
	"deputy/internal/vault"
)

// Secret is a vaulted credential without what it consists of.
type Secret struct {
	ID          string  `json:"id"`
	ZoneID      string  `json:"zone_id"`
	EntityID    string  `json:"entity_id"`
	Name        string  `json:"name"`
	Description *string `json:"description,omitzero"`
	Type        string  `json:"type" enum:"token,password"`
	Metadata    Object  `json:"metadata,omitzero"`
	Version     int     `json:"version" minimum:"1" doc:"Counts the changes of what it consists of."`
	CreatedAt   Time    `json:"created_at"`
	UpdatedAt   Time    `json:"updated_at"`
}

// RevealedSecret is a vaulted credential with what it consists of.
type RevealedSecret struct {
	Secret
	Data SecretData `json:"data"`
}

// SecretData is what a secret consists of: one of two variants, told apart by
// type.
type SecretData struct {
	Type     string  `json:"type"`
	Token    *string `json:"token,omitzero"`
	Username *string `json:"username,omitzero"`
	Password *string `json:"password,omitzero"`
}

// The variants of a secret's data, for the check and the document.
type (
	// TokenSecretData is one token.
	TokenSecretData struct {
		Type  string `json:"type" enum:"token"`
		Token string `json:"token" minLength:"1" maxLength:"65536"`
	}
	// PasswordSecretData is a user name and a password.
	PasswordSecretData struct {
		Type     string `json:"type" enum:"password"`
		Username string `json:"username" maxLength:"2048"`
		Password string `json:"password" minLength:"1" maxLength:"65536"`
	}
)

// Schema is the choice of the two variants.
func (SecretData) Schema(r huma.Registry) *huma.Schema {
	return choice(r, variant{string(deputy.TokenSecret), reflect.TypeFor[TokenSecretData]()},
		variant{string(deputy.PasswordSecret), reflect.TypeFor[PasswordSecretData]()})
}

// equal reports whether two secrets consist of the same.
func (d *SecretData) equal(other *SecretData) bool {
	return d.Type == other.Type && conceal(d.Token).Equal(conceal(other.Token)) &&
		conceal(d.Username).Equal(conceal(other.Username)) && conceal(d.Password).Equal(conceal(other.Password))
}

func conceal(text *string) deputy.Secret {
	if text == nil {
		return deputy.Secret{}
	}
	return deputy.Conceal(*text)
}

// SecretCreate makes a secret.
type SecretCreate struct {
	ZoneID      Patch[Value]  `json:"zone_id,omitzero" deprecated:"true" doc:"Means nothing: the path names the zone."`
	EntityID    string        `json:"entity_id" minLength:"1" doc:"A resource, application or provider of the zone, most often a resource whose credentials come from the vault."`
	Name        string        `json:"name" minLength:"1" maxLength:"255"`
	Description Patch[string] `json:"description,omitzero" maxLength:"128"`
	Data        SecretData    `json:"data"`
	Metadata    Patch[Object] `json:"metadata,omitzero" doc:"Kept in clear."`
}

// SecretPatch changes a secret.
type SecretPatch struct {
	Name        Patch[string]     `json:"name,omitzero" minLength:"1" maxLength:"255"`
	Description Nullable[string]  `json:"description,omitzero" maxLength:"128"`
	Data        Patch[SecretData] `json:"data,omitzero" doc:"A new version, if it differs."`
	Metadata    Nullable[Object]  `json:"metadata,omitzero"`
}

var secrets = Noun[deputy.VaultSecret, Secret, SecretCreate, SecretPatch]{
	Name: "secret", Plural: "secrets", Path: "/zones/{zone_id}/secrets", Key: "id", Tag: "Secrets", Made: http.StatusCreated,
	About: "A secret is a credential that the zone keeps for an entity. It is encrypted at rest; what it consists of is shown by a read of one alone.",
	List: listing{Parameters: []parameter{
		{Name: "entity_id", Fields: []string{"entity_id"}, Doc: "Kept for this entity."},
		{Name: "type", Fields: []string{"type"}, Enum: []string{string(deputy.TokenSecret), string(deputy.PasswordSecret)}, Doc: "Of this type."},
	}},
	Reads:  func(v deputy.View) deputy.Reads[deputy.VaultSecret] { return v.Secrets() },
	Writes: func(tx deputy.Tx) deputy.Writes[deputy.VaultSecret] { return tx.Secrets() },
	ID:     func(d *deputy.VaultSecret) deputy.ID { return d.ID },
	View:   viewSecret,
	Check:  (*deputy.VaultSecret).Validate,
	Refer:  secretEntity,
}

func viewSecret(_ *API, _ *call, d *deputy.VaultSecret) Secret {
	return Secret{
		ID: string(d.ID), ZoneID: string(d.ZoneID), EntityID: string(d.EntityID), Name: d.Name, Description: d.Description,
		Type: string(d.Type), Metadata: Object(d.Metadata), Version: d.Version, CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt),
	}
}

// secretEntity checks that what a secret is kept for is in the zone.
func secretEntity(ctx context.Context, tx deputy.Tx, c *call, d *deputy.VaultSecret) error {
	in, field := deputy.Scope{Zone: c.zone.ID}, "entity_id"
	err := exists(ctx, tx.Resources(), in, field, &d.EntityID)
	if deputy.KindOf(err) == deputy.Invalid {
		err = exists(ctx, tx.Applications(), in, field, &d.EntityID)
	}
	if deputy.KindOf(err) == deputy.Invalid {
		err = exists(ctx, tx.Providers(), in, field, &d.EntityID)
	}
	return err
}

func (a *API) mountSecrets() {
	all := secrets.operation(list)
	all.Query = nil
	for _, p := range secrets.List.Parameters {
		all.Query = append(all.Query, p.document())
	}
	mount(a, all, a.listSecrets)
	reveal := secrets.operation(get)
	reveal.Recorded, reveal.Doc = true, "It shows what the secret consists of, and leaves an event."
	mount(a, reveal, a.revealSecret)
	mount(a, secrets.operation(create), a.createSecret)
	mount(a, secrets.operation(patch), a.patchSecret)
	secrets.mountAll(a, remove)
}

// listSecrets lists what matches, all at once: its clients know no pages.
func (a *API) listSecrets(ctx context.Context, c *call, _ *empty) (*output[[]Secret], error) {
	q, err := secrets.List.read(a, c)
	if err != nil {
		return nil, err
	}
	q.After, q.Before, q.All = "", "", true
	page, err := a.store.Secrets().List(ctx, deputy.Scope{Zone: c.zone.ID}, q.Query)
	if err != nil {
		return nil, err
	}
	return &output[[]Secret]{newList(page, func(d *deputy.VaultSecret) Secret { return viewSecret(a, c, d) }).Items}, nil
}

// revealSecret shows a secret with what it consists of, once the event of that
// is written.
func (a *API) revealSecret(ctx context.Context, c *call, _ *empty) (*output[RevealedSecret], error) {
	id := deputy.ID(c.param("id"))
	var d *deputy.VaultSecret
	err := a.write(ctx, c, secrets.target(id), func(tx deputy.Tx) (err error) {
		d, err = tx.Secrets().Get(ctx, deputy.Scope{Zone: c.zone.ID}, id)
		return missing(err, secrets.Name)
	})
	if err != nil {
		return nil, err
	}
	data, err := a.openSecret(ctx, d)
	if err != nil {
		return nil, err
	}
	return &output[RevealedSecret]{RevealedSecret{viewSecret(a, c, d), *data}}, nil
}

func (a *API) createSecret(ctx context.Context, c *call, in *input[SecretCreate]) (*output[Secret], error) {
	d := &deputy.VaultSecret{
		ID: deputy.NewID(c.at), ZoneID: c.zone.ID, EntityID: deputy.ID(in.Body.EntityID), Name: in.Body.Name,
		Type: deputy.SecretType(in.Body.Data.Type), Metadata: in.Body.Metadata.V, Version: 1, CreatedAt: c.at, UpdatedAt: c.at,
	}
	in.Body.Description.ToPointer(&d.Description)
	var err error
	if d.Sealed, err = a.sealData(ctx, c, d.ID, &in.Body.Data); err != nil {
		return nil, err
	}
	if err := secrets.insert(ctx, a, c, d, nil); err != nil {
		return nil, err
	}
	return secrets.view(a, c, d), nil
}

// patchSecret changes a secret. What it consists of is compared and sealed
// before the transaction; whoever sends what is there already makes no version,
// unless somebody else changed it in between.
func (a *API) patchSecret(ctx context.Context, c *call, in *input[SecretPatch]) (*output[Secret], error) {
	var sealed []byte
	same := 0 // the version that is what was sent
	if data := &in.Body.Data; data.Set {
		d, err := a.store.Secrets().Get(ctx, deputy.Scope{Zone: c.zone.ID}, deputy.ID(c.param("id")))
		if err != nil {
			return nil, missing(err, secrets.Name)
		}
		was, err := a.openSecret(ctx, d)
		if err != nil {
			return nil, err
		}
		if was.equal(&data.V) {
			same = d.Version
		}
		if sealed, err = a.sealData(ctx, c, d.ID, &data.V); err != nil {
			return nil, err
		}
	}
	d, err := secrets.update(ctx, a, c, func(d *deputy.VaultSecret) error {
		in.Body.Name.To(&d.Name)
		in.Body.Description.To(&d.Description)
		if in.Body.Metadata.Set {
			d.Metadata = in.Body.Metadata.V
		}
		if in.Body.Data.Set && d.Version != same {
			d.Type, d.Sealed = deputy.SecretType(in.Body.Data.V.Type), sealed
			d.Version++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return secrets.view(a, c, d), nil
}

func (a *API) sealData(ctx context.Context, c *call, id deputy.ID, data *SecretData) ([]byte, error) {
	plain, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	return a.vault.Seal(ctx, c.zone.KeyID, vault.SecretPlace(c.zone.ID, id), plain)
}

func (a *API) openSecret(ctx context.Context, d *deputy.VaultSecret) (*SecretData, error) {
	plain, err := a.vault.Open(ctx, vault.SecretPlace(d.ZoneID, d.ID), d.Sealed)
	if err != nil {
		return nil, err
	}
	data := &SecretData{}
	if err := json.Unmarshal(plain, data); err != nil {
		return nil, fmt.Errorf("a secret does not read: %w", err)
	}
	return data, nil
}
