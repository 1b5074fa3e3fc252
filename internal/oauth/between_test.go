package oauth_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"deputy/internal/deputy"
)

// interposed is the store with something happening, once, between a decision
// and its commit, or between two reads. It gives no hints of changes: only the
// commit finds out.
type interposed struct {
	deputy.Store
	beforeWrite, afterClient, beforeEdges func()
	writes                                atomic.Int64 // of issuances
}

// once runs what f holds, the first time.
func once(f *func()) {
	if run := *f; run != nil {
		*f = nil
		run()
	}
}

func (*interposed) Revision(deputy.ZoneID) int64 { return 0 }

func (s *interposed) Write(ctx context.Context, e *deputy.Event, apply func(deputy.Tx) error) error {
	switch e.Type {
	case "credentials:issue":
		s.writes.Add(1)
		once(&s.beforeWrite)
	case "users:authorize", "users:login", "users:reset_password", "users:change_passkeys", "users:delete":
		once(&s.beforeWrite)
	}
	return s.Store.Write(ctx, e, apply)
}

func (s *interposed) Client(ctx context.Context, zone deputy.ZoneID, id string) (*deputy.Client, error) {
	c, err := s.Store.Client(ctx, zone, id)
	once(&s.afterClient)
	return c, err
}

func (s *interposed) Dependencies() deputy.Reads[deputy.Dependency] {
	once(&s.beforeEdges)
	return s.Store.Dependencies()
}

// interpose puts a server before the stage's store that notices nothing by
// itself.
func (s *stage) interpose() *interposed {
	store := &interposed{Store: s.store}
	s.config.Store = store
	s.restart()
	return store
}

func (s *stage) permitAll() {
	s.activate(s.zone, "all", []string{"all"}, map[string]string{"all": "permit (principal, action, resource);"})
}

func (s *stage) asPerson() *answer { return uses[deputy.UseExchangeUser](s) }
func (s *stage) asAgent() *answer  { return uses[deputy.UseExchangeApplication](s) }
func (s *stage) asItself() *answer { return uses[deputy.UseClientCredentials](s) }

// future is an exchange of a token whose client does not exist yet.
func (s *stage) future() *answer {
	now := s.clock.Now()
	return s.exchange(s.server, s.sign(deputy.ES256, "at+jwt", map[string]any{
		"iss": s.issuer(), "sub": "urn:app:future", "aud": s.front.Identifier, "exp": now.Add(time.Hour).Unix(),
		"client_id": "future", "sub_profile": "app",
	}), s.api.Identifier)
}

// TestWhatHappensBetweenDecisionAndCommit: every ground of a decision can go
// after the decision was made, and then it is made again; nothing else can
// void it.
func TestWhatHappensBetweenDecisionAndCommit(t *testing.T) {
	t.Parallel()
	deep := func(s *stage) *answer { return s.credentialsFor(s.server, "https://deep.test/a/b") }
	for name, c := range map[string]struct {
		request func(*stage) *answer
		between func(*stage)
		status  int
		code    string
		// check looks at the answer of an issued credential.
		check func(*stage, *answer) error
	}{
		"secret deleted": {uses[deputy.UseSecret], ways[deputy.PartSecret]["deleted"].turn, 400, "invalid_target", nil},
		"secret changed": {uses[deputy.UseSecret], func(s *stage) { s.vaulted.change(s.world, "another") }, 200, "", func(_ *stage, a *answer) error {
			if a.text("access_token") != "another" {
				return fmt.Errorf("the credential is %s", a.text("access_token"))
			}
			return nil
		}},
		"grant revoked": {uses[deputy.UseGrant], ways[deputy.PartGrant]["revoked"].turn, 400, "insufficient_authorization", nil},
		"grant deleted": {uses[deputy.UseGrant], ways[deputy.PartGrant]["deleted"].turn, 400, "insufficient_authorization", nil},
		"grant's tokens replaced": {uses[deputy.UseGrant], func(s *stage) {
			sealed := s.sealGrant(s.person.User, s.grant.ID, "another")
			regrant(func(g *deputy.Grant) { g.Sealed = sealed })(s)
		}, 200, "", func(_ *stage, a *answer) error {
			if a.text("access_token") != "another" {
				return fmt.Errorf("the credential is %s", a.text("access_token"))
			}
			return nil
		}},
		"session revoked":         {(*stage).asPerson, ways[deputy.PartSession]["revoked"].turn, 400, "invalid_grant", nil},
		"parent session revoked":  {(*stage).asPerson, ways[deputy.PartSession]["parent revoked"].turn, 400, "invalid_grant", nil},
		"session deleted":         {(*stage).asPerson, ways[deputy.PartSession]["deleted"].turn, 400, "invalid_grant", nil},
		"user disabled":           {(*stage).asPerson, ways[deputy.PartUser]["disabled"].turn, 400, "invalid_grant", nil},
		"user deleted":            {(*stage).asPerson, ways[deputy.PartUser]["deleted"].turn, 400, "invalid_grant", nil},
		"client deleted":          {(*stage).asItself, ways[deputy.PartApplication]["deleted"].turn, 401, "invalid_client", nil},
		"credential deleted":      {(*stage).asItself, ways[deputy.PartCredential]["deleted"].turn, 401, "invalid_client", nil},
		"subject deleted":         {(*stage).asAgent, ways[deputy.PartSubject]["deleted"].turn, 400, "invalid_grant", nil},
		"subject's credential":    {(*stage).asAgent, ways[deputy.PartSubject]["credential deleted"].turn, 400, "invalid_grant", nil},
		"token's client deleted":  {(*stage).asPerson, ways[deputy.PartTokenClient]["deleted"].turn, 400, "invalid_grant", nil},
		"token's credential":      {(*stage).asPerson, ways[deputy.PartTokenClient]["credential deleted"].turn, 400, "invalid_grant", nil},
		"resource deleted":        {(*stage).asItself, ways[deputy.PartResource]["deleted"].turn, 400, "invalid_target", nil},
		"key retired":             {(*stage).asItself, ways[deputy.PartKey]["retired"].turn, 503, "temporarily_unavailable", nil},
		"zone deleted":            {(*stage).asItself, ways[deputy.PartZone]["deleted"].turn, 404, "not_found", nil},
		"service account deleted": {func(s *stage) *answer { return s.serviceToken(s.account) }, ways[deputy.PartServiceAccount]["deleted"].turn, 401, "invalid_client", nil},
		"service credential deleted": {
			func(s *stage) *answer { return s.serviceToken(s.account) }, ways[deputy.PartServiceCredential]["deleted"].turn, 401, "invalid_client", nil,
		},
		"policies activated": {(*stage).asItself, func(s *stage) {
			s.activate(s.zone, "none", []string{"none"}, map[string]string{"none": "forbid (principal, action, resource);"})
		}, 400, "access_denied", nil},
		"provider became a vault": {(*stage).asItself, func(s *stage) {
			s.write(s.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
				_, err := tx.Providers().Update(ctx, s.in(), deputy.ID(s.sts.ID), func(p *deputy.Provider) error {
					p.Type = deputy.VaultProvider
					return nil
				})
				return err
			})
		}, 400, "invalid_target", nil},
		"resource given to another owner": {(*stage).asAgent, func(s *stage) {
			s.setResource(s.front, func(r *deputy.Resource) { r.ApplicationID = &s.agent.ID })
		}, 400, "invalid_grant", nil},
		"resource's lifetime": {(*stage).asItself, func(s *stage) {
			s.setResource(s.api, func(r *deputy.Resource) { n := 60; r.Lifetime = &n })
		}, 200, "", func(_ *stage, a *answer) error {
			if a.json["expires_in"] != 60.0 {
				return fmt.Errorf("expires_in is %v", a.json["expires_in"])
			}
			return nil
		}},
		"a longer prefix": {deep, func(s *stage) {
			s.newResource("https://deep.test/a", func(r *deputy.Resource) { r.Prefix = true })
		}, 200, "", func(s *stage, a *answer) error {
			if aud := s.payload(a.text("access_token"))["aud"].([]any); aud[1] != "https://deep.test/a" {
				return fmt.Errorf("aud is %v", aud)
			}
			return nil
		}},
		"the unknown resource": {func(s *stage) *answer { return s.credentialsFor(s.server, "urn:future") }, func(s *stage) {
			s.newResource("urn:future", nil)
		}, 200, "", nil},
		"the unknown subject": {(*stage).future, func(s *stage) {
			a := s.newApp("future")
			s.insertCredential(a.Application, deputy.PasswordCredential, func(c *deputy.Credential) { c.Identifier = "future" })
		}, 200, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			if c.code != "access_denied" {
				s.permitAll()
			}
			s.newResource("https://deep.test/", func(r *deputy.Resource) { r.Prefix = true })
			s.token = s.must(s.credentialsFor(s.agent, s.front.Identifier), 200, "").text("access_token")
			store := s.interpose()
			store.beforeWrite = func() { c.between(s) }
			a := c.request(s)
			if a.status != c.status || a.text("error") != c.code {
				t.Fatalf("got %s, want %d %s", a, c.status, c.code)
			}
			if c.check != nil {
				if err := c.check(s, a); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestWhatIsNoGround: what a decision does not rest on does not void it.
func TestWhatIsNoGround(t *testing.T) {
	t.Parallel()
	for name, between := range map[string]func(*stage){
		"an application registered": func(s *stage) { s.newApp("new") },
		"a resource registered":     func(s *stage) { s.newResource("urn:new", nil) },
		"a provider registered":     func(s *stage) { s.newExternal() },
		"another resource changed":  func(s *stage) { s.setResource(s.front, func(r *deputy.Resource) { r.Name = "New" }) },
		"another client deleted":    ways[deputy.PartSubject]["deleted"].turn,
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			store := s.interpose()
			store.beforeWrite = func() { between(s) }
			s.must(s.asItself(), 200, "")
			if n := store.writes.Load(); n != 1 {
				t.Errorf("%d commits were tried", n)
			}
		})
	}
}

// TestClientReadBeforeAChange: a client that was read before a change is not
// cached once the snapshot has gone past the change.
func TestClientReadBeforeAChange(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	store := s.interpose()
	s.must(s.asItself(), 200, "")
	s.restart()
	store.afterClient = func() {
		s.write(s.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
			in := s.in()
			in.Parent = deputy.ID(s.server.ID)
			return tx.Dependencies().Delete(ctx, in, deputy.ID(s.api.ID))
		})
		s.setZone(func(z *deputy.Zone) { z.Name = "New" })
		s.must(s.credentialsFor(s.agent, s.front.Identifier), 200, "") // brings the snapshot forward
	}
	s.must(s.asItself(), 400, "access_denied")
	s.must(s.asItself(), 400, "access_denied")
}

// TestSubjectReadWhileItChanges: the application behind a chain is read in two
// steps, and a change between them is noticed.
func TestSubjectReadWhileItChanges(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	second := s.newApp("second")
	s.setResource(s.api, func(r *deputy.Resource) { r.ApplicationID = &second.ID })
	last := s.newResource("urn:last", nil)
	s.depend(s.agent, last)
	token := s.must(s.exchange(s.server, s.token, s.api.Identifier), 200, "").text("access_token")
	store := s.interpose()
	store.beforeEdges = func() {
		s.write(s.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
			_, err := tx.Applications().Update(ctx, s.in(), deputy.ID(s.agent.ID), func(a *deputy.Application) error {
				a.Identifier = "urn:app:elsewhere"
				return nil
			})
			return err
		})
		s.must(s.credentialsFor(s.agent, s.front.Identifier), 200, "") // brings the snapshot forward
	}
	for range 2 {
		s.must(s.exchange(second, token, "urn:last"), 400, "invalid_grant")
	}
}

// TestKeyGone: a token that was verified before is not when its key is gone.
func TestKeyGone(t *testing.T) {
	t.Parallel()
	w := newRelay(t, both...)
	token := w.sign(deputy.ES256, "at+jwt", w.payload(w.token))
	w.must(w.exchange(w.server, token, w.api.Identifier), 200, "")
	rows, err := w.store.SigningKeys(context.Background(), deputy.ID(w.zone.ID))
	if err != nil {
		t.Fatal(err)
	}
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		for _, row := range rows {
			if row.Algorithm == deputy.ES256 {
				long := w.clock.Now().Add(-48 * time.Hour)
				row.State, row.RetiredAt = deputy.KeyRetired, &long
				if err := tx.UpdateSigningKey(ctx, row); err != nil {
					return err
				}
			}
		}
		return nil
	})
	w.must(w.exchange(w.server, token, w.api.Identifier), 400, "invalid_grant")
	w.must(w.exchange(w.server, w.token, w.api.Identifier), 200, "") // signed with the other key
}
