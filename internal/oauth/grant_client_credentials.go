package oauth

import (
	"context"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

// clientCredentialsGrant is an application that asks for itself (RFC 6749
// §4.4). There is nothing to present but the client: policy decides whether
// the application may use the resource.
var clientCredentialsGrant = grant{
	present: func(_ *Server, _ context.Context, i *issuance) error {
		i.use = deputy.UseClientCredentials
		i.wanted = i.form.resource
		i.claims.subject, i.claims.profile = i.client.application.Identifier, profileApplication
		i.question.Legs = []policy.Leg{{Principal: &i.client.application}}
		return nil
	},
}

// touch notes that the credential was used: its application session says since
// when and until when.
func (i *issuance) touch(tx deputy.Tx) {
	now := i.from.at
	app, credential := &i.client.application, i.client.credential
	session := &deputy.Session{
		ID: deputy.SessionID(deputy.NewID(now)), OrganizationID: i.snap.zone.OrganizationID, ZoneID: i.zone.id,
		Type: deputy.ApplicationSession, Status: deputy.Active,
		ApplicationID: &app.ID, CredentialID: &credential, Name: app.Name,
		Issuer: i.snap.issuer, Subject: app.Identifier,
		AuthenticatedAt: now, ExpiresAt: now.Add(i.target.lifetime()), CreatedAt: now, UpdatedAt: now,
	}
	if i.snap.sts != nil {
		session.ProviderID = &i.snap.sts.ID
	}
	if w := i.workload; w != nil {
		session.ProviderID, session.Issuer, session.Subject, session.Data = &w.provider.ID, w.provider.Issuer(), w.subject, w.payload
	}
	tx.Touch(session)
}
