package oauth_test

import (
	"context"
	"testing"

	"deputy/internal/deputy"
)

// elsewhere is the world seen through another node, which hears of changes
// only when it asks.
func (w *world) elsewhere() *world {
	other := *w
	other.config.Store = deaf{w.store}
	other.restart()
	return &other
}

// TestNobodyIsRefusedFromMemory: a client that another node has changed is
// not refused because of what this node remembers.
func TestNobodyIsRefusedFromMemory(t *testing.T) {
	w := newWorld(t)
	other := w.elsewhere()
	agent, heir := w.newApp("agent"), w.newApp("heir")
	r := w.newResource("urn:api", nil)
	w.depend(agent, r)
	w.depend(heir, r)
	name := agent.credential.Identifier
	remove := func(id deputy.CredentialID) {
		w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
			return tx.Credentials().Delete(ctx, w.in(), deputy.ID(id))
		})
	}
	again := func(a *deputy.Application, kind deputy.CredentialType) *app {
		t.Helper()
		secret := deputy.NewSecret()
		c := w.insertCredential(a, kind, func(c *deputy.Credential) {
			c.Identifier = name
			if kind == deputy.PasswordCredential {
				c.SecretHash = deputy.HashSecret(secret)
			}
		})
		return &app{a, c, secret.Reveal()}
	}
	other.must(other.credentialsFor(agent, "urn:api"), 200, "")

	// The credential is made anew, then given to another application.
	remove(agent.credential.ID)
	renewed := again(agent.Application, deputy.PasswordCredential)
	other.must(other.credentialsFor(renewed, "urn:api"), 200, "")
	other.must(other.credentialsFor(agent, "urn:api"), 401, "invalid_client")
	remove(renewed.credential.ID)
	given := again(heir.Application, deputy.PasswordCredential)
	a := other.must(other.credentialsFor(given, "urn:api"), 200, "")
	if sub := w.payload(a.text("access_token"))["sub"]; sub != heir.Identifier {
		t.Errorf("the subject is %v", sub)
	}
	// A change of the new owner reaches it where the old one is remembered too.
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.Applications().Update(ctx, w.in(), deputy.ID(heir.ID), func(a *deputy.Application) error {
			a.Identifier = "urn:app:renamed"
			return nil
		})
		return err
	})
	a = other.must(other.credentialsFor(given, "urn:api"), 200, "")
	if sub := w.payload(a.text("access_token"))["sub"]; sub != "urn:app:renamed" {
		t.Errorf("the subject is %v", sub)
	}

	// It becomes public: then it is not for this grant, and not before.
	body := "grant_type=client_credentials&resource=urn:api&client_id=" + name
	other.must(other.send(body), 401, "invalid_client")
	remove(given.credential.ID)
	public := again(heir.Application, deputy.PublicCredential)
	other.must(other.send(body), 400, "unauthorized_client")
	remove(public.credential.ID)
	other.must(other.send(body), 401, "invalid_client")
}
