package oauth_test

import (
	"context"
	"testing"
	"time"

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
	t.Parallel()
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

// meddling is a store in which something changes between a read of a session,
// a consent or somebody's groups and roles and whatever comes next.
type meddling struct {
	deputy.Store
	sessions, consents, affiliations func() // each runs once
}

func (m *meddling) Affiliations(ctx context.Context, zone deputy.ZoneID, user deputy.UserID) (*deputy.Affiliations, error) {
	defer once(&m.affiliations)
	return m.Store.Affiliations(ctx, zone, user)
}

func (m *meddling) SessionChain(ctx context.Context, zone deputy.ZoneID, id deputy.SessionID) ([]*deputy.Session, *deputy.User, error) {
	defer once(&m.sessions)
	return m.Store.SessionChain(ctx, zone, id)
}

func (m *meddling) Consent(ctx context.Context, zone deputy.ZoneID, user deputy.UserID, app deputy.ID, r deputy.ResourceID) (*deputy.ConsentRecord, error) {
	defer once(&m.consents)
	return m.Store.Consent(ctx, zone, user, app, r)
}

// TestPersonWhoChangesMeanwhile: what a decision knew of a person, of their
// session and of what they agreed to still holds when it is committed.
func TestPersonWhoChangesMeanwhile(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	p := w.newPerson("zoe@example.test")
	token := w.userToken(p, w.agent.credential.Identifier, w.front.Identifier)
	w.activate(w.zone, "zoe", []string{"zoe"}, map[string]string{
		"zoe": `permit (principal, action, resource) when { context has subject && context.subject.email == "zoe@example.test" };`,
	})
	m := &meddling{Store: w.store}
	w.config.Store = m
	w.restart()
	ask := func() *answer {
		t.Helper()
		w.restart() // what is remembered is not read
		return w.exchange(w.server, token, w.api.Identifier, "scope", "read")
	}
	rename := func(email string) {
		w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
			_, err := tx.Users().Update(ctx, w.in(), deputy.ID(p.User.ID), func(u *deputy.User) error {
				u.Email = email
				return nil
			})
			return err
		})
	}
	w.must(ask(), 200, "")

	m.sessions = func() { rename("zoe@elsewhere.test") }
	w.must(ask(), 400, "access_denied")
	if m.sessions != nil {
		t.Error("nobody meddled")
	}
	rename("zoe@example.test")

	m.sessions = func() {
		w.setSession(p.child, func(s *deputy.Session) { s.ExpiresAt = w.clock.Now().Add(2 * time.Minute) })
	}
	if a := w.must(ask(), 200, ""); a.json["expires_in"].(float64) > 120 {
		t.Errorf("the token outlives its session: %s", a)
	}

	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.Applications().Update(ctx, w.in(), deputy.ID(w.server.ID), func(a *deputy.Application) error {
			a.Consent = deputy.RequiredConsent
			return nil
		})
		return err
	})
	consent := func(scopes ...string) {
		w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
			return tx.PutConsent(ctx, &deputy.ConsentRecord{
				ZoneID: w.zone.ID, UserID: p.User.ID, ClientID: deputy.ID(w.server.ID), ResourceID: w.api.ID, Scopes: scopes, CreatedAt: w.clock.Now(),
			})
		})
	}
	consent("read")
	w.must(ask(), 200, "")
	m.consents = func() { consent("write") }
	w.must(ask(), 400, "insufficient_authorization")
	if e := w.lastEvent(); e.Outcome != deputy.Failure || e.JTI != "" || e.ScopesGranted != nil {
		t.Errorf("the event is %+v", e)
	}
}
