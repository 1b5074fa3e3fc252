package oauth

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/keys"
	"deputy/internal/policy"
	"deputy/internal/vault"
)

// snapshot is the configuration of a zone at one revision, laid out for
// answering. It never changes, so that requests read it without a lock; a
// later revision is another snapshot, which shares what did not change.
type snapshot struct {
	revision int64
	made     time.Time
	zone     *deputy.Zone
	issuer   string

	resources map[deputy.ResourceID]*resource
	exact     map[string]*resource // by identifier, as clients write it
	// prefixes are the lengths of identifiers that cover more than themselves,
	// longest first, each once.
	prefixes  []int
	providers map[deputy.ProviderID]*deputy.Provider
	sts       *deputy.Provider              // the zone's own
	issuers   map[string][]*deputy.Provider // outside, by the issuer of their tokens

	policies *policy.Set
	// undecidable says why the active policies cannot be trusted to decide; then
	// nothing is issued.
	undecidable error
	// shadow is asked after an answer has left; nil when nothing is.
	shadow *policy.Set

	signers []*signer // of the active keys
	keys    *keys.Set
	rows    []deputy.SigningKey

	revoked *deputy.RevokedTokens

	metadata, jwks *document
}

// resource is a resource with what a decision and a token need of it.
type resource struct {
	*deputy.Resource
	identifier string // as clients see it
	entity     *policy.Resource
}

// signer is an active key, ready to sign.
type signer struct {
	*keys.Signer
	row *deputy.SigningKey
}

// signer returns the zone's active key for an algorithm, or nil.
func (s *snapshot) signer(alg deputy.SigningAlgorithm) *signer {
	for _, k := range s.signers {
		if k.Algorithm() == alg {
			return k
		}
	}
	return nil
}

// decidable refuses where the active policies cannot be trusted to decide.
func (s *snapshot) decidable() error {
	if s.undecidable == nil {
		return nil
	}
	return (&refusal{code: codeUnavailable, description: "The zone's policies cannot be evaluated.", retryAfter: time.Minute}).because(s.undecidable)
}

// ownerOf returns the application behind a resource: its own, or the zone's
// gateway where it names none. Built-in resources are nobody's.
func (s *snapshot) ownerOf(r *resource) *deputy.ApplicationID {
	if r.ApplicationID == nil && r.Owner != deputy.Platform {
		return s.zone.DefaultGatewayApplicationID
	}
	return r.ApplicationID
}

// weight is a rough measure of the memory that the snapshot takes.
func (s *snapshot) weight() int {
	return 64 + len(s.resources) + len(s.providers) + 8*len(s.policies.Policies())
}

// builder brings snapshots forward.
type builder struct {
	vault     *vault.Vault
	addresses deputy.Addresses
	log       *slog.Logger
}

// advance returns the snapshot that a delta makes of old, which may be nil
// when the delta is full. Work is done only for what changed.
func (b *builder) advance(ctx context.Context, old *snapshot, d *deputy.ZoneDelta, now time.Time) (*snapshot, error) {
	next := new(snapshot)
	if !d.Full {
		*next = *old
	}
	next.revision, next.made = d.Revision, now
	if d.Zone != nil {
		next.zone = d.Zone
		next.issuer = b.addresses.Issuer(d.Zone)
	}
	if d.Full || len(d.Resources) > 0 {
		next.setResources(d, b.addresses)
	}
	if d.Full || len(d.Providers) > 0 {
		next.setProviders(d.Providers)
	}
	if d.Policies != nil {
		next.policies, next.undecidable = policy.CompileBound(d.Policies)
	} else if d.Full {
		next.policies, next.undecidable = nil, nil
	}
	if d.Shadow != nil || d.Full {
		next.setShadow(d.Shadow, b.log)
	}
	if d.Keys != nil || d.Full {
		if err := next.setKeys(ctx, b.vault, old, d.Keys, now); err != nil {
			return nil, err
		}
	}
	if d.Revoked != nil {
		next.revoked = d.Revoked
	}
	if d.Zone != nil || next.metadata == nil {
		next.metadata = newDocument(metadata(next.zone, next.issuer))
	}
	return next, nil
}

// merge returns a copy of m with the changes made; a nil value removes.
func merge[K comparable, V any](m, changes map[K]*V) map[K]*V {
	out := maps.Clone(m)
	if out == nil {
		out = make(map[K]*V, len(changes))
	}
	for k, v := range changes {
		if v == nil {
			delete(out, k)
		} else {
			out[k] = v
		}
	}
	return out
}

// setResources takes over changed resources. The maps are copied, because the
// snapshot before is still read; that is microseconds a thousand entries.
func (s *snapshot) setResources(d *deputy.ZoneDelta, addresses deputy.Addresses) {
	changed := make(map[deputy.ResourceID]*resource, len(d.Resources))
	for id, r := range d.Resources {
		changed[id] = nil
		if r != nil {
			shown := addresses.Shown(s.zone, r.Identifier)
			changed[id] = &resource{Resource: r, identifier: shown, entity: policy.NewResource(policy.ResourceFacts{
				ID: r.ID, Identifier: shown, Name: r.Name, Scopes: r.Scopes,
			})}
		}
	}
	s.resources = merge(s.resources, changed)
	s.exact = make(map[string]*resource, len(s.resources))
	s.prefixes = nil
	lengths := make(map[int]bool)
	for _, r := range s.resources {
		s.exact[r.identifier] = r
		if r.Prefix && !lengths[len(r.identifier)] {
			lengths[len(r.identifier)] = true
			s.prefixes = append(s.prefixes, len(r.identifier))
		}
	}
	slices.SortFunc(s.prefixes, func(a, b int) int { return cmp.Compare(b, a) })
}

// setProviders takes over changed providers.
func (s *snapshot) setProviders(changed map[deputy.ProviderID]*deputy.Provider) {
	s.providers = merge(s.providers, changed)
	s.sts, s.issuers = nil, make(map[string][]*deputy.Provider)
	for _, p := range s.providers {
		if p.Type == deputy.ExternalProvider {
			s.issuers[p.Issuer()] = append(s.issuers[p.Issuer()], p)
		}
		if p.Type == deputy.STSProvider && p.Identifier == deputy.STSIdentifier {
			s.sts = p
		}
	}
}

// setKeys makes the key set and unseals the active keys, except those that old
// has unsealed already.
func (s *snapshot) setKeys(ctx context.Context, v *vault.Vault, old *snapshot, rows []deputy.SigningKey, now time.Time) error {
	set, err := keys.NewSet(rows, now)
	if err != nil {
		return err
	}
	s.keys, s.rows, s.signers = set, rows, nil
	s.jwks = newDocument(set.JWKS())
	for _, alg := range []deputy.SigningAlgorithm{deputy.ES256, deputy.RS256} {
		row, ok := keys.Active(rows, alg)
		if !ok {
			continue
		}
		k, err := unseal(ctx, v, row, old.unsealed(row.ID))
		if err != nil {
			return err
		}
		s.signers = append(s.signers, k)
	}
	return nil
}

// unsealed returns the signer of a key if the snapshot has it.
func (s *snapshot) unsealed(kid string) *keys.Signer {
	if s == nil {
		return nil
	}
	for _, k := range s.signers {
		if k.KeyID() == kid {
			return k.Signer
		}
	}
	return nil
}

// unseal returns the signer of a row, which known is if it is not nil.
func unseal(ctx context.Context, v *vault.Vault, row deputy.SigningKey, known *keys.Signer) (*signer, error) {
	if known == nil {
		var err error
		if known, err = keys.Load(ctx, v, row); err != nil {
			return nil, err
		}
	}
	return &signer{Signer: known, row: &row}, nil
}

// setShadow takes over what is bound as shadow. One that cannot be trusted to be
// what was bound is left out: it has no say, so nothing else is wrong.
func (s *snapshot) setShadow(b *deputy.BoundPolicy, log *slog.Logger) {
	s.shadow = nil
	if b == nil {
		return
	}
	var err error
	if s.shadow, err = policy.CompileBound(b); err != nil {
		log.Error("the zone's shadow policies cannot be asked", "zone_id", string(s.zone.ID), "cause", err)
	}
}
