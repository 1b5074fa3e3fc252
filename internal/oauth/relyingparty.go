package oauth

import (
	"context"
	"strings"
	"unicode/utf8"

	"deputy/internal/deputy"
	"deputy/internal/policy"
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
	principal    *policy.Application
	// application and credential are those of a registered client, nil for
	// others.
	application  *deputy.Application
	credential   *deputy.Credential
	dependencies []deputy.Dependency
}

// confidential reports whether the client can prove who it is.
func (c *relyingParty) confidential() bool {
	return c.credential != nil && c.credential.Confidential()
}

// id returns what consents name the client by.
func (c *relyingParty) id() deputy.ID { return deputy.ID(c.application.ID) }

// consent says whether people are asked. Who registered itself cannot say that
// they need not be.
func (c *relyingParty) consent() deputy.Consent {
	if c.application == nil {
		return deputy.RequiredConsent
	}
	return c.application.Consent
}

// relyingParty returns the client called id, or nil when there is none.
func (s *Server) relyingParty(ctx context.Context, z *zone, snap *snapshot, id string) (*relyingParty, error) {
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
	return &relyingParty{
		clientID: id, name: read.Application.Name, redirectURIs: read.Application.RedirectURIs, trust: trustRegistered,
		principal:   newPrincipal(read.Application, read.Credential.Type, read.Dependencies, read.Roles, snap.signIn()),
		application: read.Application, credential: read.Credential, dependencies: read.Dependencies,
	}, nil
}

// spaced splits a list of texts that are separated by spaces.
func spaced(list string) []string { return strings.Fields(list) }
