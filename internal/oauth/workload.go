package oauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"deputy/internal/deputy"
	"deputy/internal/policy"
	"deputy/internal/upstream"
)

// Workload identity: whoever runs a workload (a cluster, a cloud, a CI system)
// signs tokens that say which one it is. A provider of the zone names the
// issuer, a token credential the subject. The same token comes again with every
// request until the platform hands out the next, so a jti means nothing here.

// vouched is a workload that proved who it is, and what its platform says of it.
type vouched struct {
	provider *deputy.Provider
	subject  string
	payload  []byte         // the claims
	policy   *policy.Claims // as policies see them
}

// workload authenticates a client by the token of its platform.
func (s *Server) workload(ctx context.Context, i *issuance, a *assertion) (*client, error) {
	providers := i.snap.issuers[a.claims.Issuer]
	if len(providers) == 0 {
		return nil, disproven(fmt.Errorf("no provider of the zone has the issuer %s", excerpt(a.claims.Issuer)))
	}
	if err := deputy.SafeText("sub", a.claims.Subject, 1, deputy.MaxIdentifier); err != nil {
		return nil, disproven(err)
	}
	if err := a.claims.current(s.now()); err != nil {
		return nil, disproven(err)
	}
	var fit []fitting
	var why error
	for _, p := range providers {
		if why = s.vouches(ctx, i, p, a); why != nil {
			continue
		}
		found, err := s.naming(ctx, i, p, a.claims.Subject)
		if err != nil {
			return nil, err
		}
		for _, c := range found {
			fit = append(fit, fitting{c, p})
		}
	}
	if len(fit) == 0 {
		return nil, disproven(cmp.Or(why, fmt.Errorf("no credential fits the subject %s", excerpt(a.claims.Subject))))
	}
	chosen, err := choose(fit)
	if err != nil {
		return nil, disproven(err)
	}
	i.grounds.voucher = string(chosen.provider.ID)
	i.workload = &vouched{provider: chosen.provider, subject: a.claims.Subject, payload: a.token.payload}
	if i.workload.policy, err = policy.NewClaims(a.token.payload); err != nil {
		return nil, disproven(err)
	}
	c, err := s.client(ctx, i.zone, string(chosen.ID))
	if err == nil && c == nil {
		err = errMoved
	}
	return c, err
}

// naming returns the credentials of a provider that fit a subject: the one that
// the request names, else those that fit it best.
func (s *Server) naming(ctx context.Context, i *issuance, p *deputy.Provider, subject string) ([]*deputy.Credential, error) {
	named := i.form.clientID
	if named == "" {
		i.grounds.application("") // another credential could fit better
		return s.store.Workload(ctx, i.zone.id, p.ID, subject)
	}
	in := deputy.Scope{Organization: i.snap.zone.OrganizationID, Zone: i.zone.id}
	c, err := s.store.Credentials().Get(ctx, in, deputy.ID(named))
	if err != nil || c.Type != deputy.TokenCredential || c.ProviderID != p.ID || !c.Fits(subject) {
		return nil, unlessAbsent(err)
	}
	return []*deputy.Credential{c}, nil
}

// vouches returns nil when the provider's platform has signed the token, for
// somebody here.
func (s *Server) vouches(ctx context.Context, i *issuance, p *deputy.Provider, a *assertion) error {
	if !slices.ContainsFunc(a.claims.Audience, func(audience string) bool {
		return i.snap.isAddressed(audience) || p.OAuth2 != nil && slices.Contains(p.OAuth2.AllowedAudiences, audience)
	}) {
		return errors.New("the token is addressed to somebody else")
	}
	from, err := s.keysOfIssuer(ctx, i.zone.id, p)
	if err != nil {
		return err
	}
	return s.trusts(ctx, from, a.token)
}

// fitting is a credential that fits a workload, and its provider.
type fitting struct {
	*deputy.Credential
	provider *deputy.Provider
}

// rank orders credentials by how closely they name a subject.
func (f fitting) rank() int {
	switch {
	case f.Identifier == deputy.AnySubject:
		return -1
	case f.IsPattern():
		return strings.IndexByte(*f.Subject, '*')
	}
	return deputy.MaxIdentifier * 4 // longer than any text before a star
}

// choose returns the credential that names the workload most closely. Two
// applications that are named equally closely would be told apart by chance, so
// neither is taken.
func choose(fit []fitting) (fitting, error) {
	best := slices.MaxFunc(fit, func(a, b fitting) int { return cmp.Compare(a.rank(), b.rank()) })
	if slices.ContainsFunc(fit, func(f fitting) bool { return f.rank() == best.rank() && f.ApplicationID != best.ApplicationID }) {
		return fitting{}, errors.New("several applications fit the subject equally well")
	}
	return best, nil
}

// keysOfIssuer returns where the keys of a provider's issuer are: as configured,
// else as the issuer says of itself (OpenID Connect Discovery 1.0 §4).
func (s *Server) keysOfIssuer(ctx context.Context, zone deputy.ZoneID, p *deputy.Provider) (keySource, error) {
	if p.OAuth2 != nil && p.OAuth2.JWKSURI != nil {
		return keySource{zone: zone, address: *p.OAuth2.JWKSURI}, nil
	}
	if s.fetcher == nil {
		return keySource{}, errors.New("no issuer can be asked from here")
	}
	issuer := p.Issuer()
	d, err := s.fetcher.Get(ctx, upstream.Source{
		Zone: zone, URL: strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration", MaxAge: time.Hour,
	})
	if err != nil {
		return keySource{}, err
	}
	var said struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(d.Body, &said); err != nil {
		return keySource{}, fmt.Errorf("the issuer's configuration: %w", err)
	}
	if said.Issuer != issuer || said.JWKSURI == "" { // RFC 8414 §3.3
		return keySource{}, fmt.Errorf("the issuer's configuration is of %s, or has no jwks_uri", excerpt(said.Issuer))
	}
	return keySource{zone: zone, address: said.JWKSURI}, nil
}
