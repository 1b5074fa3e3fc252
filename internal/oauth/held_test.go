package oauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"deputy/internal/deputy"
	"deputy/internal/vault"
)

// vaulted is a resource with a secret in the vault.
type vaulted struct {
	*deputy.Resource
	secret *deputy.VaultSecret
}

// newVaulted makes a resource and the secret that consists of data, as the
// management API does.
func (w *world) newVaulted(identifier string, data map[string]string, set ...func(*deputy.Resource)) *vaulted {
	w.Helper()
	r := w.newResource(identifier, func(r *deputy.Resource) {
		r.CredentialProviderID, r.Scopes = &w.vaulted.ID, []string{"read", "write"}
		for _, f := range set {
			f(r)
		}
	})
	return &vaulted{r, w.newSecret(r, data)}
}

func (w *world) newSecret(r *deputy.Resource, data map[string]string) *deputy.VaultSecret {
	w.Helper()
	id := w.id()
	s := &deputy.VaultSecret{
		ID: id, ZoneID: w.zone.ID, EntityID: deputy.ID(r.ID), Name: "key", Type: deputy.SecretType(data["type"]), Version: 1,
		Sealed: w.sealSecret(id, data), CreatedAt: w.clock.Now(), UpdatedAt: w.clock.Now(),
	}
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error { return tx.Secrets().Insert(ctx, s) })
	return s
}

func (w *world) sealSecret(id deputy.ID, data map[string]string) []byte {
	w.Helper()
	plain, err := json.Marshal(data)
	if err != nil {
		w.Fatal(err)
	}
	sealed, err := w.vault.Seal(context.Background(), w.zone.KeyID, vault.SecretPlace(w.zone.ID, id), plain)
	if err != nil {
		w.Fatal(err)
	}
	return sealed
}

// change gives the secret another token.
func (v *vaulted) change(w *world, token string) {
	sealed := w.sealSecret(v.secret.ID, map[string]string{"type": "token", "token": token})
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.Secrets().Update(ctx, w.in(), v.secret.ID, func(s *deputy.VaultSecret) error {
			s.Sealed = sealed
			s.Version++
			return nil
		})
		return err
	})
}

func (v *vaulted) delete(w *world) {
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		return tx.Resources().Delete(ctx, w.in(), deputy.ID(v.ID))
	})
}

const kept = "sk-kept \"\\\u00e9\u2028-for-others"

func TestVaultedToken(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	v := w.newVaulted("urn:vaulted", map[string]string{"type": "token", "token": kept})
	w.depend(w.agent, v.Resource)
	a := w.must(w.credentialsFor(w.agent, "urn:vaulted", "scope", "read undeclared"), 200, "")
	if diff := cmp.Diff(map[string]any{"access_token": kept, "token_type": "Bearer", "expires_in": 3600.0}, a.json); diff != "" {
		t.Error(diff)
	}
	e := w.lastEvent()
	if e.Outcome != deputy.Success || e.Resource.ID != v.ID || e.ProviderID != w.vaulted.ID || e.JTI != "" || !cmp.Equal(e.ScopesGranted, []string{"read"}) ||
		*e.Target != (deputy.Target{Type: "secret", ID: string(v.secret.ID)}) || e.Policy == nil {
		t.Errorf("the event is %+v", e)
	}
	record, err := w.store.Event(context.Background(), w.organization.ID, w.zone.ID, e.ID)
	if err != nil || strings.Contains(string(record.Bytes), "sk-kept") {
		t.Errorf("the log has %s, %v", record.Bytes, err)
	}
	// The newest of several is handed out, and what it consists of now.
	second := w.newSecret(v.Resource, map[string]string{"type": "token", "token": "second"})
	if a := w.must(w.credentialsFor(w.agent, "urn:vaulted"), 200, ""); a.text("access_token") != "second" {
		t.Errorf("the second secret: %s", a)
	}
	(&vaulted{v.Resource, second}).change(w.world, "third")
	if a := w.must(w.credentialsFor(w.agent, "urn:vaulted"), 200, ""); a.text("access_token") != "third" {
		t.Errorf("its next version: %s", a)
	}
}

func TestVaultedPassword(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	lifetime := 600
	v := w.newVaulted("urn:vaulted", map[string]string{"type": "password", "username": "", "password": "pass"}, func(r *deputy.Resource) { r.Lifetime = &lifetime })
	w.depend(w.agent, v.Resource)
	a := w.must(w.exchange(w.server, w.token, "urn:vaulted", "scope", "read"), 200, "")
	if diff := cmp.Diff(map[string]any{
		"access_token": "pass", "username": "", "secret_type": "password", "token_type": "Bearer", "expires_in": 600.0, "issued_token_type": accessTokenType,
	}, a.json); diff != "" {
		t.Error(diff)
	}
	if e := w.lastEvent(); e.GrantType != exchangeGrantType || e.Target == nil || len(e.Actor.IdentityChain) != 2 {
		t.Errorf("the event is %+v", e)
	}
	// For a person it lasts no longer than their session.
	p := w.newPerson("zoe@example.test")
	token := w.userToken(p, w.agent.credential.Identifier, w.front.Identifier)
	w.setSession(p.child, func(s *deputy.Session) { s.ExpiresAt = w.clock.Now().Add(90 * time.Second) })
	if a := w.must(w.exchange(w.server, token, "urn:vaulted"), 200, ""); a.json["expires_in"].(float64) > 90 || a.text("user_id") != string(p.User.ID) {
		t.Errorf("for a person: %s", a)
	}
}

// TestVaultStaysShut: whatever is refused is refused before the secret is
// opened, which its being unreadable shows.
func TestVaultStaysShut(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	v := w.newVaulted("urn:vaulted", map[string]string{"type": "token", "token": kept})
	w.depend(w.server, v.Resource)
	w.depend(w.agent, v.Resource)
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.Secrets().Update(ctx, w.in(), v.secret.ID, func(s *deputy.VaultSecret) error {
			s.Sealed = append(bytes.Clone(s.Sealed[:len(s.Sealed)-1]), s.Sealed[len(s.Sealed)-1]^1)
			return nil
		})
		return err
	})
	empty := w.newResource("urn:empty", func(r *deputy.Resource) { r.CredentialProviderID = &w.vaulted.ID })
	w.depend(w.server, empty)
	p := w.newPerson("zoe@example.test")
	token := w.userToken(p, w.agent.credential.Identifier, w.front.Identifier)
	lonely := w.newApp("lonely")

	if a := w.must(w.credentialsFor(w.server, "urn:empty"), 400, "invalid_target"); a.text("error_description") != `Resource "urn:empty" has no secret attached.` {
		t.Error(a)
	}
	w.must(w.credentialsFor(lonely, "urn:vaulted"), 400, "access_denied")
	w.must(w.credentialsFor(w.server, "urn:vaulted", "scope", "a\tb"), 400, "invalid_scope")
	w.must(w.exchange(w.server, w.token, "urn:vaulted", "requested_token_type", "urn:ietf:params:oauth:token-type:jwt"), 400, "invalid_request")
	w.must(w.exchange(lonely, w.token, "urn:vaulted"), 400, "invalid_grant")
	w.change(w.server, func(a *deputy.Application) { a.Consent = deputy.RequiredConsent })
	if a := w.must(w.exchange(w.server, token, "urn:vaulted"), 400, "insufficient_authorization"); !strings.Contains(a.text("error_uri"), "urn%3Avaulted") {
		t.Error(a)
	}
	// Only who is let through finds out.
	w.must(w.credentialsFor(w.server, "urn:vaulted"), 500, "server_error")
	w.activate(w.zone, "read only", []string{"read"}, map[string]string{
		"read": `permit (principal, action, resource) unless { context has scopes && context.scopes.contains("write") };`,
	})
	w.must(w.credentialsFor(w.server, "urn:vaulted", "scope", "read write"), 400, "access_denied") // a secret is not narrower for having fewer scopes
	if n := len(w.events("credentials:issue")); n < 8 {
		t.Errorf("%d events", n)
	}
	for _, e := range w.events("credentials:issue")[1:] {
		if e.Outcome != deputy.Failure || e.ScopesGranted != nil {
			t.Errorf("the event is %+v", e)
		}
	}
}
