package oauth

import (
	"context"
	"errors"
	"time"

	"deputy/internal/broker"
	"deputy/internal/deputy"
)

// A provider may replace a refresh token with every use, and may take a second
// use of one for theft. So a grant is refreshed by one at a time, on all nodes,
// and what comes back is written down before anything else happens:
//
//   - Those who want the same grant at one node share one flight, which goes on
//     when they leave.
//   - Whoever refreshes holds the grant's lease in the database; the others look
//     until there is a fresh token. A node that dies leaves its lease to run out.
//   - A lease has a fence, and only the newest may write: a node that slept
//     through its lease throws away what it has got, because the next one has
//     asked after it.
//   - Only the provider's word ends a grant. Whatever else goes wrong leaves the
//     refresh token where it is, to be tried again.
const (
	// refreshLease is how long a refresh is somebody's own; a call to the
	// provider may take a third of it, so that two calls end within it.
	refreshLease = 30 * time.Second
	// refreshWait is how long others wait for it.
	refreshWait = 10 * time.Second
)

// renewal is what a refresh needs to know of a request that wants it.
type renewal struct {
	snap     *snapshot
	provider *deputy.Provider
	resource string // its identifier
	user     *deputy.User
	grant    deputy.ID
}

// errRenewing is the answer while somebody else takes long to refresh.
var errRenewing = deputy.Errorf(deputy.Unavailable, "the grant is being refreshed elsewhere")

// freshened returns the grant with a fresh token. What it returns need not be
// active: the provider may have ended it.
func (s *Server) freshened(ctx context.Context, i *issuance, g *deputy.Grant) (*deputy.Grant, error) {
	r := renewal{snap: i.snap, provider: i.provider, resource: i.target.identifier, user: i.standing.User, grant: g.ID}
	s.late.Add(1) // a token that comes after the last answer is written down too
	flight := s.flights.DoChan("renew "+string(g.ID), func() (any, error) { return s.renew(context.WithoutCancel(ctx), r) })
	select {
	case landed := <-flight:
		s.late.Done()
		if landed.Err != nil {
			return nil, providerAway(landed.Err)
		}
		return landed.Val.(*deputy.Grant), nil
	case <-ctx.Done():
		go func() {
			<-flight
			s.late.Done()
		}()
		return nil, ctx.Err()
	}
}

// renew gets hold of the lease, or waits for whoever has it.
func (s *Server) renew(ctx context.Context, r renewal) (*deputy.Grant, error) {
	late := time.After(refreshWait)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		g, ours, err := s.store.LeaseGrant(ctx, r.snap.zone.ID, r.grant, s.refreshLease)
		switch {
		case err != nil:
			return nil, err
		case ours && g.Fresh(s.now()): // somebody was faster
			return g, s.store.EndLease(ctx, g.ZoneID, g.ID, g.Fence)
		case ours:
			return s.renewHeld(ctx, r, g)
		case g.Fresh(s.now()) || g.State(s.now()) != deputy.Active:
			return g, nil
		}
		select {
		case <-late:
			return nil, errRenewing
		case <-time.After(pause):
		}
	}
}

// renewHeld refreshes a grant whose lease is ours.
func (s *Server) renewHeld(ctx context.Context, r renewal, g *deputy.Grant) (*deputy.Grant, error) {
	to, tokens, err := s.askAgain(ctx, r, g)
	var fault *broker.Fault
	switch {
	case err == nil:
		return s.keepTokens(ctx, r, g, to, tokens)
	case errors.As(err, &fault) && fault.Over:
		return s.expireGrant(ctx, r, g, fault)
	}
	s.log.Warn("a grant was not refreshed", "zone_id", string(g.ZoneID), "grant_id", string(g.ID), "cause", err)
	return nil, errors.Join(err, s.store.EndLease(ctx, g.ZoneID, g.ID, g.Fence))
}

// askAgain asks the provider for new tokens, and once more if it answers that
// this may help. One that has not answered may still be at it.
func (s *Server) askAgain(ctx context.Context, r renewal, g *deputy.Grant) (*broker.Server, *broker.Tokens, error) {
	former, err := s.openTokens(ctx, g.ZoneID, g.ID, g.Sealed)
	if err != nil {
		return nil, nil, err
	}
	to, err := s.provider(ctx, r.snap, r.provider)
	if err != nil {
		return nil, nil, err
	}
	for again := true; ; again = false {
		t, late, err := s.askOnce(ctx, to, former.Refresh, r.resource)
		if err == nil && t.Account == "" {
			t.Account = former.Account
		}
		var fault *broker.Fault
		if err == nil || late || !again || !errors.As(err, &fault) || !fault.Transient {
			return to, t, err
		}
	}
}

func (s *Server) askOnce(ctx context.Context, to *broker.Server, refresh deputy.Secret, resource string) (t *broker.Tokens, late bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.refreshLease/3)
	defer cancel()
	t, err = to.Refresh(ctx, refresh, resource)
	return t, ctx.Err() != nil, err
}

// keepTokens writes down what the provider has given. It tries for a while: a
// refresh token that is lost here cannot be had again.
func (s *Server) keepTokens(ctx context.Context, r renewal, g *deputy.Grant, to *broker.Server, t *broker.Tokens) (*deputy.Grant, error) {
	sealed, err := s.sealTokens(ctx, r.user.KeyID, g.ZoneID, g.ID, t)
	if err != nil {
		return nil, err
	}
	e := s.grantEvent(r.snap, eventGrantRefresh, g, r.user)
	var kept *deputy.Grant
	for pause := 100 * time.Millisecond; ; pause *= 2 {
		err = s.store.Write(ctx, e, func(tx deputy.Tx) (err error) {
			kept, err = tx.Grants().Update(ctx, deputy.Scope{Zone: g.ZoneID}, g.ID, func(now *deputy.Grant) error {
				if now.Fence != g.Fence || now.Status != deputy.Active {
					return errMoved
				}
				at := tx.Now()
				take(now, sealed, t, at)
				now.RefreshedAt = &at
				return nil
			})
			return err
		})
		switch kind := deputy.KindOf(err); {
		case err == nil:
			return kept, nil
		case kind == deputy.Stale, kind == deputy.NotFound:
			return s.tooLate(ctx, g, to, t)
		case pause > s.refreshLease/6:
			return nil, err
		}
		time.Sleep(pause)
	}
}

// take puts new tokens into a grant and gives its lease back.
func take(g *deputy.Grant, sealed []byte, t *broker.Tokens, at time.Time) {
	g.Sealed, g.Lease = sealed, time.Time{}
	g.RefreshTokenSet, g.ExpiresAt = !t.Refresh.IsZero(), at.Add(grantLives)
	if t.Lives > 0 {
		g.ExpiresAt = at.Add(t.Lives)
	}
	if t.Scopes != nil {
		g.Scopes = t.Scopes
	}
}

// tooLate returns the grant as others have left it. If that is over, the tokens
// that came too late are revoked.
func (s *Server) tooLate(ctx context.Context, g *deputy.Grant, to *broker.Server, t *broker.Tokens) (*deputy.Grant, error) {
	now, err := s.store.Grants().Get(ctx, deputy.Scope{Zone: g.ZoneID}, g.ID)
	if unlessAbsent(err) != nil {
		return nil, err
	}
	if err == nil && now.State(s.now()) == deputy.Active {
		return now, nil
	}
	if err := revokeTokens(ctx, to, t.Access, t.Refresh); err != nil && !errors.Is(err, broker.ErrNoRevocation) {
		s.log.Warn("tokens of a revoked grant were not revoked at their provider", "zone_id", string(g.ZoneID), "grant_id", string(g.ID), "cause", err)
	}
	over := *g
	over.Status = deputy.Revoked
	return &over, nil
}

// expireGrant writes down that the provider has ended a grant.
func (s *Server) expireGrant(ctx context.Context, r renewal, g *deputy.Grant, why *broker.Fault) (*deputy.Grant, error) {
	e := s.grantEvent(r.snap, eventGrantExpire, g, r.user)
	e.ErrorDetail = "The provider answered " + why.Code + "."
	var over *deputy.Grant
	err := s.store.Write(ctx, e, func(tx deputy.Tx) (err error) {
		over, err = tx.Grants().Update(ctx, deputy.Scope{Zone: g.ZoneID}, g.ID, func(now *deputy.Grant) error {
			if now.Fence != g.Fence || now.Status != deputy.Active {
				return errMoved
			}
			now.Status, now.Sealed, now.Lease = deputy.Expired, nil, time.Time{}
			return nil
		})
		return err
	})
	if kind := deputy.KindOf(err); kind == deputy.Stale || kind == deputy.NotFound {
		return s.store.Grants().Get(ctx, deputy.Scope{Zone: g.ZoneID}, g.ID)
	}
	return over, err
}

// grantEvent returns an event of what Deputy does with a person's grant by
// itself.
func (s *Server) grantEvent(snap *snapshot, kind string, g *deputy.Grant, user *deputy.User) *deputy.Event {
	e := s.ownEvent(snap, kind)
	e.UserID, e.UserKey, e.ProviderID = user.ID, user.KeyID, g.ProviderID
	e.Resource = &deputy.EventResource{ID: g.ResourceID}
	if r := snap.resources[g.ResourceID]; r != nil {
		e.Resource.Identifier = r.identifier
	}
	e.Target = &deputy.Target{Type: "delegated_grant", ID: string(g.ID)}
	return e
}
