package api

import (
	"context"
	"net/http"

	"deputy/internal/deputy"
)

// ServiceAccount is a program that manages an organization, as clients see it.
type ServiceAccount struct {
	ID          string      `json:"id"`
	Name        string      `json:"name"`
	Description *string     `json:"description,omitzero"`
	Permissions Permissions `json:"permissions,omitzero" doc:"What the caller may do with service accounts; with expand permissions."`
	CreatedAt   Time        `json:"created_at"`
	UpdatedAt   Time        `json:"updated_at"`
}

// ServiceAccountCreate makes a service account.
type ServiceAccountCreate struct {
	Name        string        `json:"name" minLength:"1" maxLength:"255" example:"Terraform"`
	Description Patch[string] `json:"description,omitzero" maxLength:"500"`
}

// ServiceAccountPatch changes a service account.
type ServiceAccountPatch struct {
	Name        Patch[string]    `json:"name,omitzero" minLength:"1" maxLength:"255"`
	Description Nullable[string] `json:"description,omitzero" maxLength:"500"`
}

var serviceAccounts = Noun[deputy.ServiceAccount, ServiceAccount, ServiceAccountCreate, ServiceAccountPatch]{
	Name: "service_account", Plural: "service_accounts", Path: organizationPath + "/service-accounts", Key: "service_account_id",
	Tag: "Service accounts", Made: http.StatusCreated, Owned: true,
	About:  "A service account is a program that administers the organization.",
	List:   ownedListing(),
	Expand: organizationExpand,
	Reads:  func(v deputy.View) deputy.Reads[deputy.ServiceAccount] { return v.ServiceAccounts() },
	Writes: func(tx deputy.Tx) deputy.Writes[deputy.ServiceAccount] { return tx.ServiceAccounts() },
	ID:     func(d *deputy.ServiceAccount) deputy.ID { return d.ID },
	View: func(a *API, c *call, d *deputy.ServiceAccount) ServiceAccount {
		return ServiceAccount{
			ID: string(d.ID), Name: d.Name, Description: d.Description, Permissions: a.allowed(c, "service_accounts"),
			CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt),
		}
	},
	New: func(_ *API, c *call, in *ServiceAccountCreate) *deputy.ServiceAccount {
		d := &deputy.ServiceAccount{
			ID: deputy.NewID(c.at), OrganizationID: c.organization.ID, Name: in.Name, CreatedAt: c.at, UpdatedAt: c.at,
		}
		in.Description.ToPointer(&d.Description)
		return d
	},
	Change: func(_ *API, _ *call, d *deputy.ServiceAccount, in *ServiceAccountPatch) error {
		in.Name.To(&d.Name)
		in.Description.To(&d.Description)
		return nil
	},
	Check: (*deputy.ServiceAccount).Validate,
}

// ServiceAccountCredential is a client id of a service account, as clients see
// it.
type ServiceAccountCredential struct {
	ID          string      `json:"id"`
	ClientID    string      `json:"client_id"`
	Name        string      `json:"name"`
	Description *string     `json:"description,omitzero"`
	LastUsedAt  *Time       `json:"last_used_at,omitzero" doc:"When it last got a token."`
	Permissions Permissions `json:"permissions,omitzero" doc:"What the caller may do with such credentials; with expand permissions."`
	CreatedAt   Time        `json:"created_at"`
}

// ServiceAccountCredentialCreate makes a credential.
type ServiceAccountCredentialCreate struct {
	Name        string        `json:"name" minLength:"1" maxLength:"255" example:"Since May"`
	Description Patch[string] `json:"description,omitzero" maxLength:"500"`
}

// ServiceAccountCredentialPatch changes a credential.
type ServiceAccountCredentialPatch struct {
	Name        Patch[string]    `json:"name,omitzero" minLength:"1" maxLength:"255"`
	Description Nullable[string] `json:"description,omitzero" maxLength:"500"`
}

// NewServiceAccountCredential is a credential with its secret, in the answer
// that made it.
type NewServiceAccountCredential struct {
	ID           string  `json:"id"`
	ClientID     string  `json:"client_id"`
	ClientSecret string  `json:"client_secret" doc:"Shown here and never again."`
	Name         string  `json:"name"`
	Description  *string `json:"description,omitzero"`
	CreatedAt    Time    `json:"created_at"`
}

var serviceCredentials = Noun[deputy.ServiceAccountCredential, ServiceAccountCredential, ServiceAccountCredentialCreate, ServiceAccountCredentialPatch]{
	Name: "service_account_credential", Plural: "service_account_credentials", Key: "credential_id",
	Path: organizationPath + "/service-accounts/{service_account_id}/credentials",
	Tag:  "Service accounts", Made: http.StatusCreated, Owned: true,
	About:  "A credential is a client id and secret of a service account. It may have several at once, so that one can be replaced without a gap.",
	List:   ownedListing(),
	Expand: organizationExpand,
	Scope: func(c *call) deputy.Scope {
		return deputy.Scope{Organization: c.organization.ID, Parent: deputy.ID(c.param("service_account_id"))}
	},
	Reads:  func(v deputy.View) deputy.Reads[deputy.ServiceAccountCredential] { return v.ServiceCredentials() },
	Writes: func(tx deputy.Tx) deputy.Writes[deputy.ServiceAccountCredential] { return tx.ServiceCredentials() },
	ID:     func(d *deputy.ServiceAccountCredential) deputy.ID { return d.ID },
	Narrow: func(ctx context.Context, a *API, c *call, _ *asked) error {
		_, err := a.store.ServiceAccounts().Get(ctx, serviceAccounts.scope(c), serviceAccounts.id(c))
		return missing(err, serviceAccounts.Name)
	},
	View: func(a *API, c *call, d *deputy.ServiceAccountCredential) ServiceAccountCredential {
		return ServiceAccountCredential{
			ID: string(d.ID), ClientID: d.ClientID, Name: d.Name, Description: d.Description, LastUsedAt: timePointer(d.LastUsedAt),
			Permissions: a.allowed(c, "service_account_credentials"), CreatedAt: Time(d.CreatedAt),
		}
	},
	Change: func(_ *API, _ *call, d *deputy.ServiceAccountCredential, in *ServiceAccountCredentialPatch) error {
		in.Name.To(&d.Name)
		in.Description.To(&d.Description)
		return nil
	},
	Check: (*deputy.ServiceAccountCredential).Validate,
	Refer: func(ctx context.Context, tx deputy.Tx, c *call, d *deputy.ServiceAccountCredential) error {
		_, err := tx.ServiceAccounts().Get(ctx, serviceAccounts.scope(c), d.ServiceAccountID)
		return missing(err, serviceAccounts.Name)
	},
}

func (a *API) mountServiceAccounts() {
	serviceAccounts.mountAll(a, list, get, create, patch, remove)
	serviceCredentials.mountAll(a, list, get, patch, remove)
	mount(a, serviceCredentials.operation(create), a.createServiceCredential)
}

// createServiceCredential makes a client id and secret. The secret is in this
// answer and nowhere else: its hash is stored.
func (a *API) createServiceCredential(ctx context.Context, c *call, in *input[ServiceAccountCredentialCreate]) (*output[NewServiceAccountCredential], error) {
	secret := deputy.NewSecret()
	d := &deputy.ServiceAccountCredential{
		ID: deputy.NewID(c.at), OrganizationID: c.organization.ID, ServiceAccountID: deputy.ID(c.param("service_account_id")), Name: in.Body.Name,
		ClientID: deputy.NewClientID(), SecretHash: deputy.HashSecret(secret), CreatedAt: c.at,
	}
	in.Body.Description.ToPointer(&d.Description)
	if err := serviceCredentials.insert(ctx, a, c, d, nil); err != nil {
		return nil, err
	}
	return &output[NewServiceAccountCredential]{NewServiceAccountCredential{
		ID: string(d.ID), ClientID: d.ClientID, ClientSecret: secret.Reveal(), Name: d.Name, Description: d.Description, CreatedAt: Time(d.CreatedAt),
	}}, nil
}
