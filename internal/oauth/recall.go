package oauth

import (
	"bytes"
	"context"

	"github.com/maypok86/otter/v2"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

// maxRecalled is how many bytes of rows a node remembers, roughly.
const maxRecalled = 32 << 20

// rowBytes is what a row takes beside what it has of any length.
const rowBytes = 2048

// memory is rows as this node last read them, of what no zone revision covers:
// people with their sessions, what they said about resources, secrets, refresh
// tokens. It is no authority. What it has may be out of date, and two rules keep
// that from mattering:
//
//   - Of what is remembered only a yes can come. The transaction that commits it
//     reads the same rows again (issuance.reread, refresh.turn) and makes the
//     request Stale where one has changed.
//   - Where a no would come of it, and after Stale, the request is decided again
//     on rows that are read (issuance.anew).
type memory struct{ *otter.Cache[rowKey, any] }

// rowKey names what is remembered, by the fields that its kind has.
type rowKey struct {
	kind   rowKind
	zone   deputy.ZoneID
	id     deputy.ID     // of the entity that a secret is kept for, or of a session
	user   deputy.UserID // who said something
	client deputy.ID     // to whom
	about  deputy.ResourceID
}

// rowKind is what a key names.
type rowKind byte

const (
	aPerson  rowKind = iota // *remembered, by a session
	aGrant                  // *deputy.Grant, nil for nothing; by user and resource
	aConsent                // *deputy.ConsentRecord, nil for none; by user, client and resource
	aSecret                 // *deputy.VaultSecret, by its entity
	aFamily                 // *deputy.RefreshFamily, by its session
)

// remembered is a person with the session that they are known by.
type remembered struct {
	sessions []*deputy.Session
	user     *deputy.User
	seen     *policy.User // as policies see them that do not ask for groups and roles
}

func newMemory() memory {
	return memory{otter.Must(&otter.Options[rowKey, any]{MaximumWeight: maxRecalled, Weigher: weigh, Executor: func(f func()) { f() }})}
}

// weigh returns how many bytes a row takes, roughly.
func weigh(_ rowKey, row any) uint32 {
	n := rowBytes
	switch r := row.(type) {
	case *remembered:
		for _, s := range r.sessions {
			if s != nil {
				n += len(s.Data)
			}
		}
	case *deputy.Grant:
		if r != nil {
			n += len(r.Sealed)
		}
	case *deputy.VaultSecret:
		n += len(r.Sealed) + len(r.Metadata)
	case *deputy.RefreshFamily:
		n += len(r.Data)
	}
	return uint32(n)
}

// recall returns what is remembered for an issuance, or else what read finds,
// which is remembered unless it is an error.
func recall[V any](i *issuance, rows memory, key rowKey, read func() (V, error)) (V, error) {
	if !i.anew {
		if v, ok := rows.GetIfPresent(key); ok {
			i.recalled = true
			return v.(V), nil
		}
	}
	v, err := read()
	if err != nil {
		rows.Invalidate(key)
		return v, err
	}
	rows.Set(key, v)
	return v, nil
}

// doubtful reports whether a request that ended with err is to be decided again,
// because what it was decided on was remembered and may have changed. That a
// provider or the database is away does not come of it.
func (i *issuance) doubtful(err error) bool {
	r, refused := asDecision(err)
	return i.recalled && (refused && r.code != codeUnavailable || deputy.KindOf(err) == deputy.NotFound)
}

// personOf returns the person of a session and their sessions: neither where the
// session is gone, and no person where they are.
func (s *Server) personOf(ctx context.Context, i *issuance, session deputy.SessionID) (*remembered, error) {
	r, err := recall(i, s.memory, rowKey{kind: aPerson, zone: i.zone.id, id: deputy.ID(session)}, func() (*remembered, error) {
		chain, user, err := s.store.SessionChain(ctx, i.zone.id, session)
		if err != nil {
			return nil, err
		}
		r := &remembered{sessions: chain, user: user}
		if user != nil {
			r.seen = s.people.of(policy.NewUser(policy.UserFacts{ID: user.ID, Identifier: user.Identifier, Email: user.Email}), user.KeyID)
		}
		return r, nil
	})
	if err != nil {
		return &remembered{}, unlessAbsent(err)
	}
	return r, nil
}

// recalling is where an issuance reads what a person said.
type recalling struct {
	*Server
	of *issuance
}

// Grant returns what a person last said about a resource, nil for nothing.
func (r recalling) Grant(ctx context.Context, zone deputy.ZoneID, user deputy.UserID, resource deputy.ResourceID) (*deputy.Grant, error) {
	g, err := recall(r.of, r.memory, rowKey{kind: aGrant, zone: zone, user: user, about: resource}, func() (*deputy.Grant, error) {
		g, err := r.store.Grant(ctx, zone, user, resource)
		return g, unlessAbsent(err)
	})
	if resource == r.of.target.ID {
		r.of.said = g
	}
	return g, err
}

// Consent returns the record of a person, client and resource, nil if there is
// none; without a resource that they have taken back what they agreed to.
func (r recalling) Consent(ctx context.Context, zone deputy.ZoneID, user deputy.UserID, client deputy.ID, resource deputy.ResourceID) (*deputy.ConsentRecord, error) {
	return recall(r.of, r.memory, rowKey{kind: aConsent, zone: zone, user: user, client: client, about: resource}, func() (*deputy.ConsentRecord, error) {
		given, err := r.store.Consent(ctx, zone, user, client, resource)
		return given, unlessAbsent(err)
	})
}

// secretOf returns the secret of an entity, or NotFound.
func (s *Server) secretOf(ctx context.Context, i *issuance, entity deputy.ID) (*deputy.VaultSecret, error) {
	return recall(i, s.memory, rowKey{kind: aSecret, zone: i.zone.id, id: entity}, func() (*deputy.VaultSecret, error) {
		return s.store.Secret(ctx, i.zone.id, entity)
	})
}

// familyOf returns the family of a refresh token, or NotFound. It is remembered
// only by its newest token: all that is to say about an older one is read.
func (s *Server) familyOf(ctx context.Context, i *issuance, session deputy.SessionID, presented deputy.SecretHash) (*deputy.RefreshFamily, error) {
	if known, ok := s.memory.GetIfPresent(rowKey{kind: aFamily, zone: i.zone.id, id: deputy.ID(session)}); ok && !i.anew {
		if f := known.(*deputy.RefreshFamily); bytes.Equal(f.Current, presented) {
			i.recalled = true
			return f, nil
		}
	}
	return s.store.RefreshFamilies().Get(ctx, deputy.Scope{Zone: i.zone.id}, deputy.ID(session))
}

// again names the rows that the commit reads again.
func (i *issuance) again() (rows deputy.Rows) {
	if i.held != nil && i.held.use == deputy.UseSecret {
		rows.Entity = deputy.ID(i.target.ID)
	}
	if user := i.standing.User; user != nil {
		rows.Sessions, rows.User, rows.Client, rows.Resource = i.standing.Sessions, user, i.client.consenter(), i.target.ID
		rows.Grant = i.said
	}
	return rows
}
