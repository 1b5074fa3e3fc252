package oauth

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"deputy/internal/deputy"
)

// trust says how a client came to be known, for the person who decides whether
// it may act for them.
type trust string

// The ways, from the best known down.
const (
	trustRegistered     trust = "registered"      // by an administrator of the zone
	trustDocument       trust = "document"        // by a metadata document at its own address
	trustSelfRegistered trust = "self-registered" // by itself: anybody can, under any name
)

// relyingParty is a client that sends people here: as it is now, read for each
// request.
type relyingParty struct {
	clientID     string
	name         string
	redirectURIs []string
	trust        trust
	*client      // as decisions see it
	dependencies []deputy.Dependency
	// agent is the client as it registered, nil for one that an administrator
	// registered. waiting says that nobody has signed in with it yet.
	agent   *deputy.UserAgent
	waiting bool
	refresh bool // it wants refresh tokens
}

// relyingParty returns the client called id, or nil when there is none: one that
// an administrator registered, else a user agent, else one that may become one.
func (s *Server) relyingParty(ctx context.Context, z *zone, snap *snapshot, id string, from *origin) (*relyingParty, error) {
	if len(id) > deputy.MaxIdentifier*utf8.UTFMax {
		return nil, nil
	}
	if z.manages() {
		return planeClients[id], nil
	}
	read, err := s.store.Client(ctx, z.id, id)
	switch {
	case err == nil:
		return s.registeredParty(ctx, z, snap, id, read)
	case deputy.KindOf(err) != deputy.NotFound:
		return nil, err
	case allowsDocument(snap.zone, id):
		return s.documentParty(ctx, z, snap, id, from)
	case !strings.HasPrefix(id, agentPrefix):
		return nil, nil
	}
	a, err := s.userAgent(ctx, z, snap, id)
	if err != nil {
		return nil, err
	}
	if a != nil {
		return newAgentParty(a, trustSelfRegistered, false), nil
	}
	if a, err = s.staged(ctx, z, id); err != nil || a == nil {
		return nil, err
	}
	return newAgentParty(a, trustSelfRegistered, true), nil
}

// registeredParty returns a client that an administrator registered. Where that
// was by its document, the document says where answers go.
func (s *Server) registeredParty(ctx context.Context, z *zone, snap *snapshot, id string, read *deputy.Client) (*relyingParty, error) {
	c := &relyingParty{
		clientID: id, name: read.Application.Name, redirectURIs: read.Application.RedirectURIs, trust: trustRegistered,
		client: newClient(read, snap.signIn()), dependencies: read.Dependencies, refresh: true,
	}
	if read.Credential.Type == deputy.URLCredential {
		said, err := s.readDocument(ctx, z.id, id)
		if err != nil {
			return nil, err
		}
		c.redirectURIs, c.keyed = said.RedirectURIs, said.keyed()
	}
	return c, nil
}

// newAgentParty returns a client that registered itself.
func newAgentParty(a *deputy.UserAgent, by trust, waiting bool) *relyingParty {
	return &relyingParty{
		clientID: a.Identifier, name: a.Name, redirectURIs: a.RedirectURIs, trust: by,
		client: newAgentClient(a), agent: a, waiting: waiting, refresh: slices.Contains(a.GrantTypes, refreshToken),
	}
}

// settle makes a user agent of a client that somebody has signed in with for the
// first time.
func (s *Server) settle(ctx context.Context, l *login, a *assessment) error {
	c := a.client
	if c == nil || !c.waiting {
		return nil
	}
	event := s.personalEvent(l, eventRegister, a.user)
	agent := *c.agent
	agent.ID = deputy.ID(event.ID)
	err := s.store.Write(ctx, event, func(tx deputy.Tx) error {
		agent.Slug, agent.CreatedAt, agent.UpdatedAt, agent.LastUsedAt = c.agent.Slug, tx.Now(), tx.Now(), tx.Now()
		key := deputy.HashSecret(deputy.Conceal(agent.Identifier))
		if _, err := tx.TakeTicket(ctx, deputy.RegistrationTicket, l.zone.id, key); unlessAbsent(err) != nil {
			return err
		}
		return tx.UserAgents().Insert(ctx, &agent)
	})
	if deputy.KindOf(err) == deputy.Conflict {
		return errMoved // another sign-in was faster: there it is
	}
	if err != nil {
		return err
	}
	a.client = newAgentParty(&agent, c.trust, false)
	for _, w := range a.wishes {
		w.pacts[0].by = a.client.client
		for i := range w.pacts {
			if w.pacts[i].by == c.client {
				w.pacts[i].by = a.client.client
			}
		}
	}
	a.client.stand(&a.standing, &a.grounds)
	return nil
}
