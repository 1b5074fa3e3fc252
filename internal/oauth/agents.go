package oauth

import (
	"context"
	"strings"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

// agentPrefix begins the client_id of whoever registered itself.
const agentPrefix = "ua:"

// newAgentClient returns a user agent as decisions see it: an application that
// registered itself and depends on nothing.
func newAgentClient(a *deputy.UserAgent) *client {
	return &client{
		id: a.Identifier, agent: a.ID, consent: deputy.RequiredConsent,
		jwksURI: a.JWKSURI, jwks: a.JWKS, keyed: a.AuthMethod == methodKeys,
		application: *policy.NewApplication(policy.ApplicationFacts{
			ID: deputy.ApplicationID(a.ID), Identifier: a.Identifier, Name: a.Name,
			RegistrationMethod: "dcr", CredentialType: deputy.PublicCredential,
		}),
	}
}

// agentClient returns the user agent called id that people have signed in with,
// or nil. It is read each time, as no zone revision covers user agents.
func (s *Server) agentClient(ctx context.Context, z *zone, snap *snapshot, id string) (*client, error) {
	a, err := s.userAgent(ctx, z, snap, id)
	if err != nil || a == nil {
		return nil, err
	}
	return newAgentClient(a), nil
}

// newcomers finds the client called id, or nil.
type newcomers func(ctx context.Context, id string) (*client, error)

// unregistered returns the client called id that no administrator registered, or
// nil: a user agent, or where they may ask one that may become one.
func (s *Server) unregistered(ctx context.Context, i *issuance, id string) (*client, error) {
	if i.newcomers != nil {
		return i.newcomers(ctx, id)
	}
	return s.agentClient(ctx, i.zone, i.snap, id)
}

// takesAgent reports whether the zone takes a user agent called id: one that is
// known by a document only while it allows that.
func (s *snapshot) takesAgent(id string) bool {
	return strings.HasPrefix(id, agentPrefix) || allowsDocument(s.zone, id)
}

// userAgent returns the user agent called id, or nil.
func (s *Server) userAgent(ctx context.Context, z *zone, snap *snapshot, id string) (*deputy.UserAgent, error) {
	if !snap.takesAgent(id) {
		return nil, nil
	}
	in := deputy.Scope{Organization: snap.zone.OrganizationID, Zone: z.id}
	a, err := s.store.UserAgents().Find(ctx, in, "identifier", id)
	return a, unlessAbsent(err)
}

// rereadAgent looks in the committing transaction whether a user agent is still
// there.
func (c *client) rereadAgent(ctx context.Context, tx deputy.Tx, zone deputy.ZoneID, now *deputy.Standing) error {
	if c.agent == "" {
		return nil
	}
	_, err := tx.UserAgents().Get(ctx, deputy.Scope{Zone: zone}, c.agent)
	if err != nil {
		now.UserAgent = ""
	}
	return unlessAbsent(err)
}
