package oauth

import (
	"bytes"
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"deputy/internal/deputy"
	"deputy/internal/upstream"
)

// A client can be known by a document at an address of its own, which is its
// client_id (OAuth Client ID Metadata Document). What the document says is used
// as it is when a person is sent here; the token endpoint, where no person can
// notice a change, uses what was seen then.
const (
	maxDocument    = 32 << 10
	documentMinAge = time.Minute
	documentMaxAge = 24 * time.Hour
)

// isDocumentURL reports whether a client_id is the address of a document.
func isDocumentURL(id string) bool {
	if !strings.HasPrefix(id, "https://") || len(id) > deputy.MaxIdentifier {
		return false
	}
	u, err := url.Parse(id)
	return err == nil && u.Host != "" && u.User == nil && len(u.Path) > 1 && !strings.Contains(id, "#") &&
		u.String() == id && !slices.ContainsFunc(strings.Split(u.Path, "/"), func(s string) bool { return s == "." || s == ".." })
}

// allowsDocument reports whether a zone takes clients by a document at the
// address: listed, or below an origin whose first label is the wildcard, which
// stands for exactly one.
func allowsDocument(z *deputy.Zone, id string) bool {
	if !z.CIMDEnabled || !isDocumentURL(id) {
		return false
	}
	u, _ := url.Parse(id)
	return slices.ContainsFunc(z.CIMDClientIDs, func(pattern string) bool {
		if pattern == "*" || pattern == id {
			return true
		}
		parent, ok := strings.CutPrefix(pattern, u.Scheme+"://*.")
		_, below, _ := strings.Cut(u.Host, ".")
		return ok && below == parent
	})
}

// errDocument is the answer where a client's document is of no use.
var errDocument = refuse(codeInvalidClient, "The metadata document of the application that sent you here cannot be used.")

// readDocument returns what the document at the address says.
func (s *Server) readDocument(ctx context.Context, zone deputy.ZoneID, id string) (*registration, error) {
	if s.fetcher == nil {
		return nil, errDocument
	}
	d, err := s.fetcher.Get(ctx, upstream.Source{
		Zone: zone, URL: id, MaxBytes: maxDocument, MinAge: documentMinAge, MaxAge: documentMaxAge,
	})
	if err != nil {
		return nil, refuse(errDocument.code, errDocument.description).because(err)
	}
	said := new(registration)
	if err := json.Unmarshal(d.Body, said); err != nil {
		return nil, refuse(errDocument.code, errDocument.description).because(err)
	}
	if said.ClientID != id || !slices.Contains([]string{"", methodNone, methodKeys}, said.AuthMethod) {
		return nil, errDocument
	}
	if err := said.check(); err != nil {
		return nil, refuse(errDocument.code, errDocument.description).because(err)
	}
	return said, nil
}

// documentParty returns the client with the document at the address. When that
// says other redirect addresses or keys than the first time, nobody has agreed to
// this client: the user agent that it was goes, with what hangs on it.
func (s *Server) documentParty(ctx context.Context, z *zone, snap *snapshot, id string, from *origin) (*relyingParty, error) {
	said, err := s.readDocument(ctx, z.id, id)
	if err != nil {
		return nil, err
	}
	now := said.describe(snap.zone, id, said.keyed(), from.at)
	known, err := s.userAgent(ctx, z, snap, id)
	if err != nil {
		return nil, err
	}
	if changes := changedDocument(known, now); len(changes) > 0 {
		if err := s.forgetAgent(ctx, snap, from, known, changes); err != nil {
			return nil, err
		}
		known = nil
	}
	if known == nil {
		return newAgentParty(now, trustDocument, true), nil
	}
	return newAgentParty(known, trustDocument, false), nil
}

// changedDocument names what a document says else than it did the first time.
func changedDocument(known, now *deputy.UserAgent) (changes []string) {
	if known == nil {
		return nil
	}
	if !sameTexts(known.RedirectURIs, now.RedirectURIs) {
		changes = append(changes, "redirect_uris")
	}
	if known.AuthMethod != now.AuthMethod || known.JWKSURI != now.JWKSURI || !bytes.Equal(known.JWKS, now.JWKS) {
		changes = append(changes, "keys")
	}
	return changes
}

// sameTexts reports whether two lists have the same members.
func sameTexts(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// forgetAgent removes a user agent whose document has changed.
func (s *Server) forgetAgent(ctx context.Context, snap *snapshot, from *origin, a *deputy.UserAgent, changes []string) error {
	event := &deputy.Event{
		ID: deputy.EventID(deputy.NewID(from.at)), Time: from.at, Type: eventClientChange, Outcome: deputy.Success,
		OrganizationID: a.OrganizationID, ZoneID: a.ZoneID, RequestID: from.requestID, IP: from.address, UserAgent: from.userAgent,
		Actor:    deputy.Actor{Type: "user_agent", ID: string(a.ID), Identifier: a.Identifier},
		ClientID: a.Identifier, Target: &deputy.Target{Type: "user_agent", ID: string(a.ID)}, Changes: changes,
	}
	return unlessAbsent(s.store.Write(ctx, event, func(tx deputy.Tx) error {
		return tx.UserAgents().Delete(ctx, deputy.Scope{Zone: snap.zone.ID}, a.ID)
	}))
}
