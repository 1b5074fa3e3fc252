package oauth

import (
	"context"
	"errors"
	"time"

	"github.com/go-json-experiment/json"

	"deputy/internal/broker"
	"deputy/internal/deputy"
	"deputy/internal/vault"
)

// Tokens of outside providers, handed out for a person who has authorized that
// there, or for the application itself:
//
//	connect.go    a person authorizes at a provider, while they sign in
//	brokered.go   the token of their grant is handed out
//	renewal.go    it is refreshed first, by one at a time
//	withdraw.go   it is revoked at the provider, once the grant is over

// grantTokens are what is sealed in a grant.
type grantTokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token,omitzero"`
	Account string `json:"account,omitzero"` // whose they are, where the provider has said so
}

// sealTokens encrypts a provider's tokens for the row of a grant, under the
// person's key.
func (s *Server) sealTokens(ctx context.Context, key deputy.ID, zone deputy.ZoneID, grant deputy.ID, t *broker.Tokens) ([]byte, error) {
	plain, err := json.Marshal(grantTokens{t.Access.Reveal(), t.Refresh.Reveal(), t.Account})
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return s.builder.vault.Seal(ctx, key, vault.GrantPlace(zone, grant), plain)
}

// openTokens decrypts what sealTokens sealed.
func (s *Server) openTokens(ctx context.Context, zone deputy.ZoneID, grant deputy.ID, sealed []byte) (*broker.Tokens, error) {
	plain, err := s.builder.vault.Open(ctx, vault.GrantPlace(zone, grant), sealed)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	var t grantTokens
	if err := json.Unmarshal(plain, &t); err != nil {
		return nil, err
	}
	return &broker.Tokens{Access: deputy.Conceal(t.Access), Refresh: deputy.Conceal(t.Refresh), Account: t.Account}, nil
}

// provider returns the authorization server of a provider. Where Deputy is no
// client of it yet, it becomes one if the server takes new clients.
func (s *Server) provider(ctx context.Context, snap *snapshot, p *deputy.Provider) (*broker.Server, error) {
	secret, err := s.providerSecret(ctx, vault.ClientSecretPlace(p.ZoneID, p.ID), p)
	if err != nil {
		return nil, err
	}
	to, err := s.broker.Server(ctx, p, secret)
	if err != nil || to.Known() {
		return to, err
	}
	if !to.CanRegister() {
		return nil, &broker.Fault{Code: "unregistered"}
	}
	registered, err, _ := s.flights.Do("register "+string(p.ID), func() (any, error) {
		return s.registerAt(context.WithoutCancel(ctx), snap, to, p)
	})
	if err != nil {
		return nil, err
	}
	p = registered.(*deputy.Provider)
	if secret, err = s.providerSecret(ctx, vault.ClientSecretPlace(p.ZoneID, p.ID), p); err != nil {
		return nil, err
	}
	return s.broker.Server(ctx, p, secret)
}

// registerAt makes Deputy a client of a server and keeps what it is called
// there. Of two nodes that do so at once, the first counts.
func (s *Server) registerAt(ctx context.Context, snap *snapshot, at *broker.Server, p *deputy.Provider) (*deputy.Provider, error) {
	in := deputy.Scope{Zone: p.ZoneID}
	current, err := s.store.Providers().Get(ctx, in, deputy.ID(p.ID))
	if err != nil || current.ClientID != nil {
		return current, err
	}
	clientID, secret, err := at.Register(ctx, snap.zone.Name, snap.issuer+pathRedirect)
	if err != nil {
		return nil, err
	}
	var sealed []byte
	if !secret.IsZero() {
		if sealed, err = s.builder.vault.Seal(ctx, snap.zone.KeyID, vault.ClientSecretPlace(p.ZoneID, p.ID), []byte(secret.Reveal())); err != nil {
			return nil, err
		}
	}
	e := s.ownEvent(snap, eventProviderRegister)
	e.ProviderID = p.ID
	return current, s.store.Write(ctx, e, func(tx deputy.Tx) (err error) {
		current, err = tx.Providers().Update(ctx, in, deputy.ID(p.ID), func(p *deputy.Provider) error {
			if p.ClientID == nil {
				p.ClientID, p.SealedSecret = &clientID, sealed
			}
			return nil
		})
		return err
	})
}

// ownEvent returns an event of something that Deputy does by itself in a zone.
func (s *Server) ownEvent(snap *snapshot, kind string) *deputy.Event {
	at := deputy.Time(s.now())
	return &deputy.Event{
		ID: deputy.EventID(deputy.NewID(at)), Time: at, Type: kind, Outcome: deputy.Success,
		OrganizationID: snap.zone.OrganizationID, ZoneID: snap.zone.ID, Actor: deputy.Actor{Type: "platform"},
	}
}

// brokered finds the provider's token for the target: of the grant of the
// person, else of Deputy itself.
func (s *Server) brokered(ctx context.Context, i *issuance) error {
	user := i.standing.User
	if user == nil {
		return s.applied(i)
	}
	g, err := recalling{s, i}.Grant(ctx, i.zone.id, user.ID, i.target.ID)
	if err != nil {
		return err
	}
	usable := g != nil && g.Status == deputy.Active && g.ProviderID == i.provider.ID && g.Covers(i.outcome.Scopes)
	if usable && g.RefreshTokenSet && !g.Fresh(s.now()) {
		if g, err = s.freshened(ctx, i, g); err != nil {
			return err
		}
		s.memory.Set(rowKey{kind: aGrant, zone: i.zone.id, user: user.ID, about: i.target.ID}, g)
		i.said = g
	}
	if usable {
		i.standing.Grant = g
	}
	if i.standing.Live(deputy.UseGrant, s.now()) != nil {
		return i.askConsent()
	}
	i.event.Target = &deputy.Target{Type: "delegated_grant", ID: string(g.ID)}
	i.held = &held{
		use:  deputy.UseGrant,
		open: func(ctx context.Context) (*credential, error) { return s.openGrant(ctx, i, g) },
		reread: func(ctx context.Context, tx deputy.Tx, now *deputy.Standing) error {
			return i.rereadGrant(ctx, tx, now, g)
		},
	}
	return nil
}

// openGrant decrypts the token of a grant. It says how long it lasts, if that
// is known.
func (s *Server) openGrant(ctx context.Context, i *issuance, g *deputy.Grant) (*credential, error) {
	t, err := s.openTokens(ctx, g.ZoneID, g.ID, g.Sealed)
	if err != nil {
		return nil, err
	}
	return &credential{token: t.Access.Reveal(), scopes: g.Scopes, lasts: i.target.lasts(g.ExpiresAt.Sub(s.now()))}, nil
}

// forever is how long a token lasts at least of which the provider does not say.
const forever = 10 * 365 * 24 * time.Hour

// lasts returns how long a token is said to last that lasts so long at its
// provider.
func (r *resource) lasts(left time.Duration) time.Duration {
	if r.Lifetime != nil || left >= forever {
		return min(left, r.lifetime())
	}
	return left
}

// rereadGrant reads the grant again. It is Stale when it is another one, or has
// other tokens.
func (i *issuance) rereadGrant(ctx context.Context, tx deputy.Tx, now *deputy.Standing, decided *deputy.Grant) error {
	current, err := tx.Grant(ctx, i.zone.id, decided.UserID, decided.ResourceID)
	if err != nil {
		return err
	}
	if current.ID != decided.ID || current.Revision != decided.Revision {
		return errMoved
	}
	now.Grant = current
	return nil
}

// applied hands out a token that the provider gives Deputy itself: no person is
// behind the request.
func (s *Server) applied(i *issuance) error {
	if i.provider.ClientID == nil {
		return refuse(codeInvalidTarget, "Resource %q offers no credential to an application.", i.target.identifier)
	}
	i.held = &held{open: func(ctx context.Context) (*credential, error) {
		to, err := s.provider(ctx, i.snap, i.provider)
		if err != nil {
			return nil, s.notBrokered(i, err)
		}
		t, err := to.Apply(ctx, i.outcome.Scopes, i.target.identifier)
		if err != nil {
			return nil, s.notBrokered(i, err)
		}
		lives := t.Lives
		if lives == 0 {
			lives = forever
		}
		return &credential{token: t.Access.Reveal(), scopes: t.Scopes, lasts: i.target.lasts(lives)}, nil
	}}
	return nil
}

// notBrokered says that a provider has given no token for an application.
func (s *Server) notBrokered(i *issuance, err error) error {
	var f *broker.Fault
	if errors.As(err, &f) && !f.Transient {
		return refuse(codeInvalidTarget, "The provider of resource %q gives an application no token.", i.target.identifier).because(f)
	}
	return providerAway(err)
}

// providerAway says that a provider cannot be asked now.
func providerAway(err error) error {
	return (&refusal{code: codeUnavailable, description: "The resource's provider cannot be asked at the moment. Try again.", retryAfter: time.Second}).because(err)
}
