package oauth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"deputy/internal/deputy"
)

// Client assertions (RFC 7521 §4.2, RFC 7523 §2.2): a JWT that the client signed
// itself, with a key that it publishes, or one that whoever runs the workload
// signed for it. What tells them apart is the issuer.

const (
	// assertionLives is how far ahead the end of an assertion may be: for so long
	// must be remembered that it was used.
	assertionLives = time.Hour
	assertionType  = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

// assertion is a JWT that is to prove who the client is.
type assertion struct {
	token  *outside
	claims *outsideClaims
}

// newAssertion reads the assertion of a form, which names its client too or not.
func newAssertion(f *tokenRequest) (*assertion, error) {
	if f.clientAssertionType != assertionType {
		return nil, errors.New("the assertion is of another type")
	}
	t, err := readOutside(f.clientAssertion, workloadAlgorithms)
	if err != nil {
		return nil, err
	}
	c, err := t.claims()
	if err != nil {
		return nil, err
	}
	a := &assertion{t, c}
	if a.own() && f.clientID != "" && f.clientID != c.Subject {
		return nil, errors.New("the assertion is of another client than client_id")
	}
	return a, nil
}

// own reports whether the client issued the assertion itself.
func (a *assertion) own() bool {
	return a.claims.Issuer == a.claims.Subject && a.claims.Subject != ""
}

// disproven refuses an assertion; why is for the log of failures only.
func disproven(why error) *refusal {
	return refuse(errClient.code, errClient.description).because(why)
}

// errReplayed is the answer to an assertion that was used before.
var errReplayed = disproven(errors.New("the assertion was used before"))

// assert authenticates a client by its assertion.
func (s *Server) assert(ctx context.Context, i *issuance, a *assertion) (*client, error) {
	if !a.own() {
		return s.workload(ctx, i, a)
	}
	if err := s.checkAssertion(i, a); err != nil {
		return nil, disproven(err)
	}
	c, err := s.signing(ctx, i, a)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(a.claims.Audience, i.snap.isAddressed) {
		if err := s.takesOwnName(c, a); err != nil {
			return nil, disproven(err)
		}
	}
	if a.claims.ID != "" {
		i.spent = &deputy.Ticket{
			Kind: deputy.AssertionTicket, ZoneID: i.zone.id, Key: deputy.HashSecret(deputy.Conceal(c.id + "\x00" + a.claims.ID)),
			CreatedAt: deputy.Time(s.now()), ExpiresAt: a.claims.Expires.time().Add(skew),
		}
	}
	return c, nil
}

// checkAssertion checks what needs no key.
func (s *Server) checkAssertion(i *issuance, a *assertion) error {
	now := s.now()
	if !slices.Contains(outsideAlgorithms, a.token.algorithm()) {
		return fmt.Errorf("the assertion's algorithm %s is not accepted of clients", a.token.alg)
	}
	if err := a.claims.current(now); err != nil {
		return err
	}
	if a.claims.Expires.time().After(now.Add(assertionLives + skew)) {
		return fmt.Errorf("the assertion is good for more than %v", assertionLives)
	}
	return nil
}

// isAddressed reports whether an assertion's audience is this authorization
// server: its issuer, or an endpoint that takes assertions.
func (s *snapshot) isAddressed(audience string) bool {
	if len(audience) < len(s.issuer) || audience[:len(s.issuer)] != s.issuer {
		return false
	}
	switch endpoints[audience[len(s.issuer):]] {
	case tokenEndpoint, pushEndpoint, introspectEndpoint, revokeEndpoint:
		return true
	}
	return audience == s.issuer
}

// takesOwnName refuses an assertion that is addressed to nobody here, unless it
// is addressed to the client itself, as one official SDK writes it, and that is
// taken. Such an assertion could have been made for somebody else, so at least
// it must be good only once.
func (s *Server) takesOwnName(c *client, a *assertion) error {
	switch {
	case s.strictAudience || c.application.CredentialType != deputy.PublicKeyCredential || !slices.Contains(a.claims.Audience, c.id):
		return errors.New("the assertion is addressed to somebody else")
	case a.claims.ID == "":
		return errors.New("an assertion that is addressed to the client itself needs a jti")
	}
	return nil
}

// signing returns the client that signed the assertion with a key of its own. A
// cached client can only say yes: see authenticate.
func (s *Server) signing(ctx context.Context, i *issuance, a *assertion) (*client, error) {
	id := a.claims.Subject
	if c := s.clients.get(clientKey{zone: i.zone.serial, id: id}); c != nil && s.signed(ctx, i.zone.id, c, a) == nil {
		return c, nil
	}
	c, err := s.readClient(ctx, i.zone, id)
	if err == nil && c == nil {
		c, err = s.unregistered(ctx, i, id)
	}
	switch {
	case err != nil:
		return nil, err
	case c == nil:
		return nil, disproven(errors.New("there is no such client"))
	}
	if err := s.signed(ctx, i.zone.id, c, a); err != nil {
		return nil, disproven(err)
	}
	return c, nil
}

// signed reports whether the client has signed the assertion.
func (s *Server) signed(ctx context.Context, zone deputy.ZoneID, c *client, a *assertion) error {
	from, err := s.keysOf(ctx, zone, c)
	if err != nil {
		return err
	}
	return s.trusts(ctx, from, a.token)
}

// keysOf returns where the client's keys are. It is an error where the client
// has none.
func (s *Server) keysOf(ctx context.Context, zone deputy.ZoneID, c *client) (keySource, error) {
	switch {
	case c.jwksURI != "" || len(c.jwks) > 0:
		return keySource{zone, c.jwksURI, c.jwks}, nil
	case c.application.CredentialType == deputy.URLCredential:
		said, err := s.readDocument(ctx, zone, c.id)
		if err != nil {
			return keySource{}, err
		}
		if said.keyed() {
			return keySource{zone, said.JWKSURI, said.JWKS}, nil
		}
	}
	return keySource{}, errors.New("the client has no keys")
}

// keyless refuses a client that only says who it is when its document says that
// it has keys.
func (s *Server) keyless(ctx context.Context, zone deputy.ZoneID, c *client) error {
	if c.application.CredentialType != deputy.URLCredential {
		return nil
	}
	said, err := s.readDocument(ctx, zone, c.id)
	if err != nil {
		return err
	}
	if said.keyed() {
		return disproven(errors.New("the client has keys and did not use them"))
	}
	return nil
}

// spending returns what uses up the proof of who the client is, in the
// transaction that records what came of it: so a proof is good once whatever the
// answer is, and costs no transaction of its own. It is nil where the proof is
// good more often.
func (i *issuance) spending(ctx context.Context) func(deputy.Tx) error {
	if i.spent == nil {
		return nil
	}
	return func(tx deputy.Tx) error { return replayed(tx.SpendTicket(ctx, i.spent)) }
}

// replayed makes of a ticket that is spent already the refusal of its request.
func replayed(err error) error {
	if deputy.KindOf(err) == deputy.Conflict {
		return errReplayed
	}
	return err
}
