package pages_test

import (
	"time"

	"deputy/internal/pages"
)

var since = time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)

const (
	requestOptions  = `{"publicKey":{"challenge":"AAAA","rpId":"localhost"}}`
	creationOptions = `{"publicKey":{"challenge":"AAAA","rp":{"id":"localhost","name":"Acme"},"user":{"id":"AAAA","name":"ada","displayName":"ada"},"pubKeyCredParams":[{"type":"public-key","alg":-7}]}}`
)

// samples has every page in every shape that it has, by the name of its
// picture.
var samples = map[string]pages.Page{
	"identifier":          pages.Identifier{Client: "Inbox Agent", SignUp: true, Passkey: requestOptions},
	"identifier-own":      pages.Identifier{Identifier: "ada", Problem: pages.InvalidEmail},
	"password":            pages.Password{Username: "ada@acme.example", Passkey: requestOptions},
	"password-wrong":      pages.Password{Username: "ada@acme.example", Problem: pages.WrongPassword},
	"password-throttled":  pages.Password{Username: "ada@acme.example", Problem: pages.Throttled},
	"password-busy":       pages.Password{Username: "ada@acme.example", Problem: pages.Busy},
	"signup":              pages.SignUp{Username: "ada@acme.example", Shortest: 8},
	"signup-refused":      pages.SignUp{Shortest: 8, Problem: pages.NoSignUp},
	"signup-short":        pages.SignUp{Username: "ada@acme.example", Shortest: 8, Problem: pages.PasswordTooShort},
	"signup-long":         pages.SignUp{Username: "ada@acme.example", Shortest: 8, Problem: pages.PasswordTooLong},
	"signup-common":       pages.SignUp{Username: "ada@acme.example", Shortest: 8, Problem: pages.PasswordTooCommon},
	"verify-email":        pages.VerifyEmail{Email: "ada@acme.example", Notice: pages.CodeSent},
	"verify-email-wrong":  pages.VerifyEmail{Email: "ada@acme.example", Problem: pages.WrongCode},
	"confirm-email":       pages.ConfirmEmail{Email: "ada@acme.example", Code: "code"},
	"forgot-password":     pages.ForgotPassword{Username: "ada@acme.example"},
	"reset-password":      pages.ResetPassword{Username: "ada@acme.example", Shortest: 8},
	"reset-password-link": pages.ResetPassword{Username: "ada@acme.example", Code: "code", Shortest: 8, Problem: pages.PasswordReused},
	"consent":             consent,
	"consent-loopback": pages.Consent{
		Client: pages.Client{Name: "Code Assistant", Trust: pages.SelfRegistered, Host: "127.0.0.1:33418", Loopback: true},
		User:   "ada@acme.example", Action: "/login/consent", Personal: []string{"openid", "profile", "email", "offline_access"},
	},
	"consent-document": pages.Consent{
		Client: pages.Client{Name: "Notes", Trust: pages.MetadataDocument, ID: "https://notes.example/client.json", Host: "notes.example"},
		User:   "ada@acme.example", Action: "/login/consent", Resources: consent.Resources[:1],
	},
	"authorize": pages.Consent{
		Client: pages.Client{Name: "Inbox Agent", Trust: pages.Registered}, User: "ada@acme.example", Action: "/login/authorize",
		Resources: []pages.Asked{{Name: "Calendar", Identifier: "https://calendar.acme.example"}},
		Fields:    map[string]string{"client_id": "inbox-agent", "resource": "https://calendar.acme.example"},
	},
	"connect": pages.Connect{
		Provider: "GitHub", Resource: "Repositories", Scopes: []string{"repo", "read:user"}, Host: "github.com",
		Address: "https://github.com/login/oauth/authorize?client_id=a&state=b", Action: "/login/connect",
	},
	"connect-failed":     pages.Connect{Provider: "GitHub", Resource: "Repositories", Failed: true, Action: "/login/connect"},
	"account":            account,
	"account-empty":      pages.Account{User: "ada@acme.example"},
	"account-saved":      pages.Account{User: "ada@acme.example", Notice: pages.Saved},
	"account-removed":    pages.Account{User: "ada@acme.example", Notice: pages.Removed},
	"account-passkey":    pages.Account{User: "ada@acme.example", Notice: pages.PasskeyAdded},
	"change-password":    pages.ChangePassword{Username: "ada@acme.example", Shortest: 8, Problem: pages.WrongPassword},
	"add-passkey":        pages.AddPasskey{Options: creationOptions},
	"add-passkey-failed": pages.AddPasskey{Options: creationOptions, Problem: pages.PasskeyFailed},
	"logout":             pages.Logout{User: "ada@acme.example", Fields: map[string]string{"state": "s"}},
	"invitation":         pages.Invitation{Organization: "Acme", Email: "ada@acme.example", Role: "org_admin", Shortest: 8},
	"invitation-known":   pages.Invitation{Organization: "Acme", Email: "ada@acme.example", Role: "org_viewer", Known: true},
	"invitation-sso":     pages.Invitation{Organization: "Acme", Email: "ada@acme.example", Role: "org_member", SSO: true},
	"done-verified":      pages.Done{What: pages.DoneVerified},
	"done-signedout":     pages.Done{What: pages.DoneSignedOut},
	"done-approved":      pages.Done{What: pages.DoneApproved},
	"done-reset":         pages.Done{What: pages.DoneReset},
	"done-joined":        pages.Done{What: pages.DoneJoined},
	"error-request": pages.Error{
		Problem: pages.ErrorRequest, Code: "invalid_request", Description: "The redirect URI is not registered.",
		RequestID: "0193614e-8b1c-7c3a-9f2e-5d1a4b6c7d8e",
	},
	"error-expired":    pages.Error{Problem: pages.ErrorExpired},
	"error-disabled":   pages.Error{Problem: pages.ErrorDisabled, Back: "/login/cancel"},
	"error-provider":   pages.Error{Problem: pages.ErrorProvider},
	"error-identity":   pages.Error{Problem: pages.ErrorIdentity},
	"error-forged":     pages.Error{Problem: pages.ErrorForged},
	"error-link":       pages.Error{Problem: pages.ErrorLink},
	"error-invitation": pages.Error{Problem: pages.ErrorInvitation},
	"error-internal":   pages.Error{Problem: pages.ErrorInternal},
	"error-throttled":  pages.Error{Problem: pages.ErrorThrottled},
}

var consent = pages.Consent{
	Client:  pages.Client{Name: "Inbox Agent", Trust: pages.Registered, Host: "inbox.acme.example"},
	User:    "ada@acme.example",
	Action:  "/login/consent",
	Renewed: true,
	Resources: []pages.Asked{
		{Name: "Mail tools", Identifier: "https://mail.acme.example/mcp", Scopes: []pages.AskedScope{{Name: "mail:read"}, {Name: "mail:send", New: true}}},
		{Name: "Calendar", Identifier: "https://calendar.acme.example", New: true, Through: "Mail tools", Scopes: []pages.AskedScope{{Name: "events:read", New: true}}},
	},
	Personal: []string{"openid", "email"},
}

var account = pages.Account{
	User: "ada@acme.example", Email: "ada@acme.example", Verified: true, Password: true, CanAdd: true,
	Passkeys: []pages.Passkey{{ID: "p1", Name: "Laptop", Added: since, Used: since.Add(time.Hour)}},
	Sessions: []pages.Session{
		{ID: "s1", Since: since, Current: true, Clients: []pages.Session{{ID: "s2", Name: "Inbox Agent", Since: since}, {ID: "s3", Name: "Code Assistant", Since: since}}},
		{ID: "s4", Name: "Firefox on Linux", Since: since.Add(-48 * time.Hour)},
	},
	Consents: []pages.Agreement{
		{Client: "a1", Name: "Inbox Agent", Targets: []pages.Target{{Name: "Mail tools", Scopes: []string{"mail:read", "mail:send"}}, {Name: "Calendar"}}, Since: since},
		{Client: "a2", Name: "Code Assistant", Targets: []pages.Target{{Name: "Mail tools"}}, Since: since},
	},
	Grants: []pages.Connection{{ID: "g1", Name: "Calendar", Scopes: []string{"events:read"}, Since: since, Status: "active"}},
}
