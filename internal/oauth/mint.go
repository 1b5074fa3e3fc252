package oauth

import (
	"cmp"
	"context"
	"errors"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

// decided is a request that was answered with yes: all that the mint needs.
type decided struct {
	claims   claims
	lifetime time.Duration
	signer   *signer
	// held is handed out in place of a token that is signed here; nil where one
	// is.
	held *held

	use      deputy.Use
	standing *deputy.Standing
	event    *deputy.Event

	// spend uses up what the request was authenticated with, in the committing
	// transaction; nil when that is good more often.
	spend func(deputy.Tx) error
	// reread brings those parts of standing up to date that no zone revision
	// covers, in the committing transaction; nil when there are none.
	reread func(context.Context, deputy.Tx, *deputy.Standing) error
	// effect is what happens with the credential, in the same transaction; nil
	// when that is nothing.
	effect func(context.Context, deputy.Tx) error
	// note writes what the use leaves behind; nil when there is nothing.
	note func(deputy.Tx)
	// again is a token to hand out once more in place of a new one, nil where
	// there is none, and keep keeps what was signed for that, nil for nobody.
	again *signed
	keep  func(*signed)
	// unkept must be kept with the event.
	unkept []policy.Entity

	identity *identityClaims // of the ID token that comes along; nil for none
	witness  *signer         // signs that
	refresh  *refresh        // the refresh token that comes along; nil for none
}

// credential is what the caller gets.
type credential struct {
	token     string
	username  string            // that goes with it; empty where it needs none
	kind      deputy.SecretType // of what is not a token; else empty
	lasts     time.Duration     // what is known of how long it does; 0: nothing
	expiresIn int64             // seconds, at least 1
	scopes    []string

	idToken      string
	refreshToken deputy.Secret
}

// mint is the one way for a credential to leave: it checks once more that all
// it rests on is in force, makes it, and records it in the transaction that
// proves that nothing has moved. The credential's id is the event's, unless it
// was handed out before. It is Stale when something has moved since the
// decision.
func (s *Server) mint(ctx context.Context, d *decided) (*credential, error) {
	if err := d.live(d.standing, d.event.Time); err != nil {
		return nil, err
	}
	c, err := d.make(ctx)
	if err != nil {
		return nil, err
	}
	d.event.Outcome = deputy.Success
	d.event.ScopesGranted = d.claims.scopes
	if d.held == nil {
		d.event.JTI = d.claims.id
	}
	if err := s.writeKeeping(ctx, d.event, d.unkept, d.apply(ctx)); err != nil {
		return nil, moved(err)
	}
	if d.keep != nil && d.claims.id == d.event.ID {
		d.keep(&signed{token: c.token, id: d.claims.id, issuedAt: d.claims.issuedAt, expiresAt: d.claims.expiresAt})
	}
	return c, nil
}

// live asks whether all that the credential rests on is in force.
func (d *decided) live(on *deputy.Standing, now time.Time) error {
	if err := on.Live(d.use, now); err != nil || d.held == nil || d.held.use == "" {
		return err
	}
	return on.Live(d.held.use, now)
}

// make makes the credential: a token is signed, or handed out again, what is held
// is opened. Its
// lifetime ends with that of the shortest session it rests on.
func (d *decided) make(ctx context.Context) (*credential, error) {
	if d.held != nil {
		return d.hand(ctx)
	}
	if err := d.spans(d.lifetime); err != nil {
		return nil, err
	}
	if s := d.again; s != nil && !s.expiresAt.After(d.claims.expiresAt) {
		d.claims.id, d.claims.issuedAt, d.claims.expiresAt = s.id, s.issuedAt, s.expiresAt
		return d.complete(&credential{token: s.token, scopes: d.claims.scopes})
	}
	token, err := d.signer.Sign(accessTokenTyp, d.claims.append(make([]byte, 0, 768)))
	if err != nil {
		return nil, err
	}
	return d.complete(&credential{token: token, scopes: d.claims.scopes})
}

// hand opens what is held.
func (d *decided) hand(ctx context.Context) (*credential, error) {
	c, err := d.held.open(ctx)
	if err != nil {
		return nil, err
	}
	if err := d.spans(cmp.Or(c.lasts, d.lifetime)); err != nil {
		return nil, err
	}
	return d.complete(c)
}

// spans sets the times of a credential that would live for so long.
func (d *decided) spans(lifetime time.Duration) error {
	c := &d.claims
	c.id = d.event.ID
	c.issuedAt = d.event.Time.Truncate(time.Second)
	c.expiresAt = c.issuedAt.Add(lifetime)
	for _, session := range d.standing.Sessions {
		if session.ExpiresAt.Before(c.expiresAt) {
			c.expiresAt = session.ExpiresAt.Truncate(time.Second)
		}
	}
	if c.expiresAt.Sub(c.issuedAt) < time.Second {
		return errGone
	}
	return nil
}

// complete adds what comes along with a credential.
func (d *decided) complete(minted *credential) (c *credential, err error) {
	minted.expiresIn = int64(d.claims.expiresAt.Sub(d.event.Time.Truncate(time.Second)) / time.Second)
	if d.identity != nil {
		if minted.idToken, err = d.witness.Sign(idTokenTyp, d.identity.append(&d.claims, minted.token)); err != nil {
			return nil, err
		}
	}
	if d.refresh != nil {
		minted.refreshToken = d.refresh.next
	}
	return minted, nil
}

// apply returns what the transaction does beside recording the event; nil for
// nothing, which is cheapest.
func (d *decided) apply(ctx context.Context) func(deputy.Tx) error {
	if d.spend == nil && d.reread == nil && d.effect == nil && d.note == nil {
		return nil
	}
	return func(tx deputy.Tx) error {
		if d.spend != nil {
			if err := d.spend(tx); err != nil {
				return err
			}
		}
		if d.reread != nil {
			now := *d.standing // apply may run again
			if err := d.reread(ctx, tx, &now); err != nil {
				return err
			}
			if err := d.live(&now, tx.Now()); err != nil {
				return err
			}
		}
		if d.note != nil {
			d.note(tx)
		}
		if d.effect != nil {
			return d.effect(ctx, tx)
		}
		return nil
	}
}

// attest signs the payload of a security event token. That is no credential:
// nobody can use it, and what it tells is in the log already, so it leaves no
// event. But it is signed here as well, and only as long as what it rests on is in
// force; a nil key is not.
func (s *Server) attest(key *signer, on *deputy.Standing, payload []byte) (string, error) {
	if key != nil {
		on.Key = key.row
	}
	if err := on.Live(deputy.UseSignals, s.now()); err != nil {
		return "", err
	}
	return key.Sign(securityEventTyp, payload)
}

// moved makes every failure of a commit that says that the decision's grounds
// are gone Stale: what turned off meanwhile, a person's key that was destroyed.
func moved(err error) error {
	var off *deputy.Off
	if errors.As(err, &off) || deputy.KindOf(err) == deputy.NotFound {
		return deputy.Error{Kind: deputy.Stale, Message: "what the decision relied on has moved"}.Because(err)
	}
	return err
}

// record writes down that a request of a known client was refused, on the same
// proof that nothing has moved.
func (s *Server) record(ctx context.Context, e *deputy.Event, unkept []policy.Entity, r *refusal) error {
	return s.recordWith(ctx, e, unkept, r, nil)
}

// recordWith is record with something else in the same transaction.
func (s *Server) recordWith(ctx context.Context, e *deputy.Event, unkept []policy.Entity, r *refusal, apply func(deputy.Tx) error) error {
	e.Outcome = deputy.Failure
	e.Error, e.ErrorDetail = r.code, r.description
	if r.cause != nil {
		e.ErrorDetail += " (" + r.cause.Error() + ")"
	}
	return moved(s.writeKeeping(ctx, e, unkept, apply))
}
