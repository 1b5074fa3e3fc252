package oauth

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"
	"unique"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

// client is an application as one of its credentials shows it: what decisions
// need of the two, and no more, because very many are in memory and the
// collector walks through them. Whoever needs the rest reads it. It never
// changes, but for the note of its last session write.
type client struct {
	revision    int64
	id          string              // client_id; empty, as is all of the credential, where only the application is known
	credential  deputy.CredentialID // that proves it
	secret      [sha256.Size]byte   // the hash of it, of a password credential
	jwksURI     string              // where the client's own keys are
	jwks        []byte              // those keys, of a user agent that registered them
	keyed       bool                // it has keys, and so must prove who it is
	application policy.Application
	consent     deputy.Consent
	// agent is set where the client is a user agent, to its id: then application
	// is what policies see in place of one.
	agent   deputy.ID
	touched atomic.Int64 // when its session was last written, in Unix seconds
}

// newClient returns the client that was read. Its texts lie in one piece of
// memory, instead of each in one that a row was read into.
func newClient(read *deputy.Client, signIn deputy.ResourceID) *client {
	by := read.Credential
	c := &client{consent: shared(read.Application.Consent), application: *newPrincipal(read.Application, by.Type, read.Dependencies, read.Roles, signIn)}
	c.revision, c.credential, c.id = read.Revision, by.ID, by.Identifier
	if by.Type == deputy.TokenCredential {
		c.id = string(by.ID)
	}
	c.jwksURI = by.JWKSURI
	copy(c.secret[:], by.SecretHash)
	pack(&c.id, &c.jwksURI, (*string)(&c.credential), (*string)(&c.application.ID), &c.application.Identifier, &c.application.Name)
	return c
}

// newPrincipal returns an application as policies see it.
func newPrincipal(a *deputy.Application, by deputy.CredentialType, edges []deputy.Dependency, roles []deputy.HeldRole, signIn deputy.ResourceID) *policy.Application {
	facts := policy.DescribeApplication(a, shared(by), edges, roles, signIn)
	for i := range facts.Dependencies {
		d := &facts.Dependencies[i]
		d.ResourceID = shared(d.ResourceID)
	}
	return policy.NewApplication(facts)
}

// shared returns s in memory that all cached clients share, for what many of
// them have in common.
func shared[S ~string](s S) S { return unique.Make(s).Value() }

// pack moves texts into one piece of memory.
func pack(texts ...*string) {
	size := 0
	for _, t := range texts {
		size += len(*t)
	}
	var all strings.Builder
	all.Grow(size)
	for _, t := range texts {
		all.WriteString(*t)
	}
	rest := all.String()
	for _, t := range texts {
		*t, rest = rest[:len(*t)], rest[len(*t):]
	}
}

// isPublic reports whether the client has nothing to prove itself with.
func (c *client) isPublic() bool {
	kind := c.application.CredentialType
	return !c.keyed && (c.agent != "" || kind == deputy.PublicCredential || kind == deputy.URLCredential)
}

// consenter returns what agreements name the client by.
func (c *client) consenter() deputy.ID {
	if c.agent != "" {
		return c.agent
	}
	return deputy.ID(c.application.ID)
}

// stand notes the client in what a use rests on.
func (c *client) stand(in *deputy.Standing, on *grounds) {
	if c.agent != "" {
		in.UserAgent = c.agent
		return
	}
	in.Application, in.Credential = c.application.ID, c.credential
	on.application(c.application.ID)
}

// use returns the one of two uses that is the client's.
func (c *client) use(application, agent deputy.Use) deputy.Use {
	if c.agent != "" {
		return agent
	}
	return application
}

// actor returns the client as events name it.
func (c *client) actor() deputy.Actor {
	if c.agent != "" {
		return deputy.Actor{Type: "user_agent", ID: string(c.agent), Identifier: c.id}
	}
	return deputy.Actor{Type: "application", ID: string(c.application.ID), Identifier: c.application.Identifier}
}

// key returns what the client is cached under.
func (c *client) key(zone uint64) clientKey {
	if c.id == "" {
		return clientKey{zone: zone, id: c.application.Identifier, application: true}
	}
	return clientKey{zone: zone, id: c.id}
}

// clientKey names a client in the cache. The serial belongs to one holding of a
// zone: what an earlier holding cached has missed changes and is not found.
type clientKey struct {
	zone uint64
	id   string // a client_id
	// application says that id is an application's identifier instead.
	application bool
}

// generationSize is how many clients are cached before one that was not used
// is forgotten. At most twice as many are in memory, some 800 bytes each.
const generationSize = 12_288

// clients caches clients of all zones, so that a zone with a million of them
// costs no more than one with ten.
//
// An entry that is found is as new as its zone's current snapshot at least.
// Two rules see to that. A client is put only under its zone's lock, and only
// when it was read at the current snapshot's revision or a later one. A delta
// removes the clients that it names under the same lock, before its snapshot
// can be seen. An entry may be newer than the snapshot of a request: if its
// application has changed in between, the commit finds the request stale,
// because that rests on the snapshot's revision.
//
// There are two generations: entries in use move to the young one, and when
// that is full it becomes the old one, whose predecessor is forgotten. So
// reading takes no lock.
type clients struct {
	young, old atomic.Pointer[generation]
	mu         sync.Mutex // guards changes
}

// generation is a set of clients.
type generation struct {
	entries sync.Map // of *client by clientKey
	// byApplication finds what a change of an application voids.
	byApplication map[applicationKey][]*client
	weight        int
}

type applicationKey struct {
	zone uint64
	id   deputy.ApplicationID
}

func newClients() *clients {
	c := new(clients)
	c.young.Store(newGeneration())
	c.old.Store(newGeneration())
	return c
}

func newGeneration() *generation {
	return &generation{byApplication: make(map[applicationKey][]*client)}
}

// get returns a cached client, or nil.
func (c *clients) get(key clientKey) *client {
	if found, ok := c.young.Load().entries.Load(key); ok {
		return found.(*client)
	}
	found, ok := c.old.Load().entries.Load(key)
	if !ok {
		return nil
	}
	kept := found.(*client)
	c.mu.Lock()
	defer c.mu.Unlock()
	if again, ok := c.old.Load().entries.Load(key); ok && again == found {
		c.insert(key.zone, kept) // still valid: a change would have removed it
	}
	return kept
}

// put caches a client. The caller holds its zone's lock and has seen that the
// client was read at the zone's current revision.
func (c *clients) put(zone uint64, entry *client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.insert(zone, entry)
}

// insert puts an entry into the young generation; c.mu is held.
func (c *clients) insert(zone uint64, entry *client) {
	g := c.young.Load()
	if g.weight >= generationSize {
		c.old.Store(g)
		g = newGeneration()
		c.young.Store(g)
	}
	was, replaced := g.entries.Swap(entry.key(zone), entry)
	owner := applicationKey{zone, entry.application.ID}
	if replaced {
		g.byApplication[owner] = slices.DeleteFunc(g.byApplication[owner], func(c *client) bool { return c == was })
	} else {
		g.weight += 1 + len(entry.application.Dependencies)/8
	}
	g.byApplication[owner] = append(g.byApplication[owner], entry)
}

// apply removes what a delta voids. The caller holds the zone's lock.
func (c *clients) apply(z *zone, d *deputy.ZoneDelta) {
	if !d.Full && !d.AllApplications && len(d.Applications) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, g := range []*generation{c.young.Load(), c.old.Load()} {
		if !d.Full && !d.AllApplications {
			for _, id := range d.Applications {
				g.remove(applicationKey{z.serial, id})
			}
			continue
		}
		for owner := range g.byApplication {
			if owner.zone == z.serial {
				g.remove(owner)
			}
		}
	}
}

func (g *generation) remove(owner applicationKey) {
	for _, c := range g.byApplication[owner] {
		g.entries.Delete(c.key(owner.zone))
	}
	delete(g.byApplication, owner)
}

// client returns the client called id, as of the zone's current revision or
// later: nil when there is none. Whoever uses it rests on it from the
// snapshot's revision on.
func (s *Server) client(ctx context.Context, z *zone, id string) (*client, error) {
	if c := s.clients.get(clientKey{zone: z.serial, id: id}); c != nil {
		return c, nil
	}
	return s.readClient(ctx, z, id)
}

// readClient returns the client called id as it is now: nil when there is none.
func (s *Server) readClient(ctx context.Context, z *zone, id string) (*client, error) {
	if len(id) > deputy.MaxIdentifier*utf8.UTFMax {
		return nil, nil
	}
	read, err := s.store.Client(ctx, z.id, id)
	if deputy.KindOf(err) == deputy.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c := newClient(read, z.current.Load().signIn())
	s.keep(z, c)
	return c, nil
}

// keep caches a client that was just read, unless the snapshot has left it
// behind.
func (s *Server) keep(z *zone, c *client) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if c.revision >= z.current.Load().revision {
		s.clients.put(z.serial, c)
	}
}

// errMoved says that what was read is not of one state.
var errMoved = deputy.Errorf(deputy.Stale, "the zone has changed")

// application returns the application with the identifier, whatever its
// credentials, as client does.
func (s *Server) application(ctx context.Context, z *zone, snap *snapshot, identifier string) (*client, error) {
	key := clientKey{zone: z.serial, id: identifier, application: true}
	if c := s.clients.get(key); c != nil {
		return c, nil
	}
	in := deputy.Scope{Organization: snap.zone.OrganizationID, Zone: z.id}
	a, err := s.store.Applications().Find(ctx, in, "identifier", identifier)
	if deputy.KindOf(err) == deputy.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	in.Parent = deputy.ID(a.ID)
	edges, err := s.store.Dependencies().List(ctx, in, deputy.Query{All: true})
	if err != nil {
		return nil, err
	}
	roles, err := deputy.RolesOf(ctx, s.store, z.id, a.ID)
	if err != nil {
		return nil, err
	}
	// Several reads see one state only if the application has not changed since.
	delta, err := s.store.Zone(ctx, z.id, snap.revision)
	if err != nil {
		return nil, err
	}
	if delta.Full || delta.AllApplications || slices.Contains(delta.Applications, a.ID) {
		return nil, errMoved
	}
	list := make([]deputy.Dependency, len(edges.Items))
	for i, d := range edges.Items {
		list[i] = *d
	}
	c := &client{revision: delta.Revision, consent: a.Consent, application: *newPrincipal(a, "", list, roles, snap.signIn())}
	s.keep(z, c)
	return c, nil
}
