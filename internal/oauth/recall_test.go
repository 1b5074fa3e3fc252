package oauth_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/oauth"
)

// watched is a store that counts what is read of people and secrets, and gives no
// hints of changes.
type watched struct {
	deputy.Store
	reads atomic.Int64
}

func (*watched) Revision(deputy.ZoneID) int64 { return 0 }

func (w *watched) SessionChain(ctx context.Context, zone deputy.ZoneID, id deputy.SessionID) ([]*deputy.Session, *deputy.User, error) {
	w.reads.Add(1)
	return w.Store.SessionChain(ctx, zone, id)
}

func (w *watched) Grant(ctx context.Context, zone deputy.ZoneID, user deputy.UserID, r deputy.ResourceID) (*deputy.Grant, error) {
	w.reads.Add(1)
	return w.Store.Grant(ctx, zone, user, r)
}

func (w *watched) Consent(ctx context.Context, zone deputy.ZoneID, user deputy.UserID, client deputy.ID, r deputy.ResourceID) (*deputy.ConsentRecord, error) {
	w.reads.Add(1)
	return w.Store.Consent(ctx, zone, user, client, r)
}

func (w *watched) Secret(ctx context.Context, zone deputy.ZoneID, entity deputy.ID) (*deputy.VaultSecret, error) {
	w.reads.Add(1)
	return w.Store.Secret(ctx, zone, entity)
}

func (w *watched) RefreshFamilies() deputy.Reads[deputy.RefreshFamily] {
	w.reads.Add(1)
	return w.Store.RefreshFamilies()
}

// watch puts a server before the stage's store that is watched.
func (s *stage) watch() *watched {
	w := &watched{Store: s.store}
	s.config.Store = w
	s.restart()
	return w
}

// elsewhere runs f with another node on the same database.
func (s *stage) elsewhere(f func()) {
	here := s.world.server
	s.restart()
	f()
	s.world.server = here
}

// agree writes down that the person agreed to what the server asks for.
func (s *stage) agree(scopes ...string) {
	s.write(s.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		return tx.PutConsent(ctx, &deputy.ConsentRecord{
			ZoneID: s.zone.ID, UserID: s.person.User.ID, ClientID: deputy.ID(s.server.ID), ResourceID: s.api.ID, Scopes: scopes, CreatedAt: s.clock.Now(),
		})
	})
}

// setFamily changes the family of the person's refresh tokens.
func (s *stage) setFamily(change func(*deputy.RefreshFamily)) {
	s.write(s.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.RefreshFamilies().Update(ctx, s.in(), deputy.ID(s.person.child.ID), func(f *deputy.RefreshFamily) error {
			change(f)
			return nil
		})
		return err
	})
}

// replaced makes another token than the client's the newest, a time ago.
func replaced(ago time.Duration) func(*stage) {
	return func(s *stage) {
		s.setFamily(func(f *deputy.RefreshFamily) {
			f.Previous, f.Current = f.Current, deputy.HashSecret(deputy.NewSecret())
			f.Generation++
			f.Turns = []int64{s.clock.Now().Add(-ago).UnixMicro()}
		})
	}
}

// TestWhatIsRememberedIsNoAuthority: a node that was asked before does not read
// again who is behind a request, and still gives nothing once that has changed,
// nor refuses what may be had since.
func TestWhatIsRememberedIsNoAuthority(t *testing.T) {
	text := func(want string) func(*stage, *answer) bool {
		return func(_ *stage, a *answer) bool { return a.text("access_token") == want }
	}
	consented := func(s *stage) *answer {
		if s.personToken == "" {
			s.change(s.server, func(a *deputy.Application) { a.Consent = deputy.RequiredConsent })
			s.agree("read")
		}
		return s.asPerson()
	}
	for name, c := range map[string]struct {
		request func(*stage) *answer
		change  func(*stage)
		status  int
		code    string
		check   func(*stage, *answer) bool // of the answer to the request after the change
	}{
		"nothing":         {(*stage).asPerson, func(*stage) {}, 200, "", nil},
		"session revoked": {(*stage).asPerson, ways[deputy.PartSession]["parent revoked"].turn, 400, "invalid_grant", nil},
		"session cut short": {(*stage).asPerson, func(s *stage) {
			s.setSession(s.person.child, func(x *deputy.Session) { x.ExpiresAt = s.clock.Now().Add(2 * time.Minute) })
		}, 200, "", func(_ *stage, a *answer) bool { return a.json["expires_in"].(float64) <= 120 }},
		"user deleted": {(*stage).asPerson, ways[deputy.PartUser]["deleted"].turn, 400, "invalid_grant", nil},
		"user renamed": {(*stage).asPerson, func(s *stage) {
			s.write(s.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
				_, err := tx.Users().Update(ctx, s.in(), deputy.ID(s.person.User.ID), func(u *deputy.User) error {
					u.Identifier = "another"
					return nil
				})
				return err
			})
		}, 400, "invalid_grant", nil},
		"consent taken back": {consented, func(s *stage) {
			s.write(s.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
				return tx.WithdrawConsents(ctx, s.zone.ID, s.person.User.ID, deputy.ID(s.server.ID))
			})
		}, 400, "insufficient_authorization", nil},
		"withdrawn": {(*stage).asPerson, func(s *stage) {
			g := s.newGrant(s.person.User, s.api)
			s.grant = g
			regrant(func(g *deputy.Grant) { g.Status = deputy.Revoked })(s)
		}, 400, "insufficient_authorization", nil},
		"taken back from a client that need not ask": {(*stage).asPerson, func(s *stage) {
			s.agree("read")
			s.write(s.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
				return tx.WithdrawConsents(ctx, s.zone.ID, s.person.User.ID, deputy.ID(s.server.ID))
			})
		}, 400, "insufficient_authorization", nil},
		"grant revoked": {uses[deputy.UseGrant], ways[deputy.PartGrant]["revoked"].turn, 400, "insufficient_authorization", nil},
		"grant's tokens replaced": {uses[deputy.UseGrant], func(s *stage) {
			sealed := s.sealGrant(s.person.User, s.grant.ID, "another")
			regrant(func(g *deputy.Grant) { g.Sealed = sealed })(s)
		}, 200, "", text("another")},
		"secret changed": {uses[deputy.UseSecret], func(s *stage) { s.vaulted.change(s.world, "another") }, 200, "", text("another")},
		"secret deleted": {uses[deputy.UseSecret], ways[deputy.PartSecret]["deleted"].turn, 400, "invalid_target", nil},
		"secret followed": {uses[deputy.UseSecret], func(s *stage) {
			s.newSecret(s.vaulted.Resource, map[string]string{"type": "token", "token": "next"})
		}, 200, "", text("next")},
		"refreshed elsewhere": {uses[deputy.UseRefresh], func(s *stage) {
			was := s.refresh
			s.elsewhere(func() { s.must(s.refreshAgain(), 200, "") })
			s.refresh = was
		}, 200, "", func(s *stage, a *answer) bool {
			// It is the same successor, which is good for one more.
			return s.refreshAgain().status == 200
		}},
		"refresh token replaced long ago": {uses[deputy.UseRefresh], replaced(time.Hour), 400, "invalid_grant", func(s *stage, _ *answer) bool {
			x, err := s.store.Sessions().Get(context.Background(), s.in(), deputy.ID(s.person.child.ID))
			return err == nil && x.Status == deputy.Revoked // by whoever used it twice
		}},
		"refresh tokens ended": {uses[deputy.UseRefresh], func(s *stage) {
			s.write(s.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
				return tx.RefreshFamilies().Delete(ctx, s.in(), deputy.ID(s.person.child.ID))
			})
		}, 400, "invalid_grant", nil},
		"refreshing session revoked": {uses[deputy.UseRefresh], ways[deputy.PartSession]["revoked"].turn, 400, "invalid_grant", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.activate(s.zone, "all", []string{"all"}, map[string]string{"all": "permit (principal, action, resource);"})
			store := s.watch()
			s.must(c.request(s), 200, "")
			s.must(c.request(s), 200, "")
			reads := store.reads.Load()
			s.must(c.request(s), 200, "")
			if n := store.reads.Load() - reads; n != 0 {
				t.Errorf("%d times was read again what is remembered", n)
			}
			c.change(s)
			a := s.must(c.request(s), c.status, c.code)
			if c.check != nil && !c.check(s, a) {
				t.Errorf("got %s", a)
			}
		})
	}
}

// TestWhatIsRememberedIsBounded: large rows take the place of many.
func TestWhatIsRememberedIsBounded(t *testing.T) {
	if n := oauth.RememberSecrets(2000, 100); n != 2000 {
		t.Errorf("%d of 2000 small secrets", n)
	}
	const large = 64 << 10
	if n := oauth.RememberSecrets(2000, large); n == 0 || n*large > 40<<20 {
		t.Errorf("%d secrets of %d bytes", n, large)
	}
}

// TestWhatWasRefusedIsReadAgain: that there was nothing is not remembered either.
func TestWhatWasRefusedIsReadAgain(t *testing.T) {
	s := newStage(t)
	s.permitAll()
	s.watch()
	s.broker()
	for _, c := range []struct {
		request     func(*stage) *answer
		taken, back func(*stage)
	}{
		{uses[deputy.UseSecret], ways[deputy.PartSecret]["deleted"].turn, func(s *stage) {
			s.vaulted.secret = s.newSecret(s.vaulted.Resource, map[string]string{"type": "token", "token": "kept"})
		}},
		{uses[deputy.UseGrant], ways[deputy.PartGrant]["revoked"].turn, func(s *stage) { s.grant = s.newGrant(s.person.User, s.files) }},
	} {
		for range 2 {
			s.must(c.request(s), 200, "")
			c.taken(s)
			if a := c.request(s); a.status != 400 {
				t.Errorf("without it: %s", a)
			}
			if a := c.request(s); a.status != 400 {
				t.Errorf("still without it: %s", a)
			}
			c.back(s)
		}
	}
}
