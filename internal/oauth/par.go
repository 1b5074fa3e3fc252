package oauth

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"deputy/internal/deputy"
)

// Pushed authorization requests (RFC 9126).
const (
	pushedPrefix = "urn:ietf:params:oauth:request_uri:"
	pushedLives  = time.Minute
)

// push answers at the pushed authorization request endpoint: the request is
// checked as if a browser had brought it, and waits under an address that can
// be used once.
func (s *Server) push(w http.ResponseWriter, r *http.Request, id deputy.ZoneID, from *origin) {
	z, snap, err := s.current(r.Context(), id)
	if err != nil {
		s.refuse(w, from, id, asRefusal(err), "")
		return
	}
	from.decides(s.now())
	// Nobody need have signed in with the client yet.
	c, claimed, body, err := s.callingClient(r, z, snap, func(ctx context.Context, id string) (*client, error) {
		party, err := s.relyingParty(ctx, z, snap, id, from)
		if err != nil || party == nil {
			return nil, err
		}
		return party.client, nil
	})
	if err != nil {
		s.refuseClaimant(w, from, snap, claimed, err)
		return
	}
	uri, err := s.pushed(r, z, snap, c, body, from)
	if err != nil {
		s.refuse(w, from, id, asRefusal(err), realm(claimed, snap))
		return
	}
	b := appendMember([]byte{'{'}, "request_uri", uri)
	b = strconv.AppendInt(appendName(b, "expires_in"), int64(pushedLives/time.Second), 10)
	writeJSON(w, http.StatusCreated, append(b, '}'))
}

// pushed keeps a checked request and returns its address.
func (s *Server) pushed(r *http.Request, z *zone, snap *snapshot, c *client, body string, from *origin) (string, error) {
	p, err := parseParameters(body)
	if err != nil {
		return "", err
	}
	if p.values["request_uri"] != "" {
		return "", refuse(codeInvalidRequest, "A pushed request cannot refer to another one.")
	}
	p.values["client_id"] = c.id
	request := new(authorizationRequest)
	party, err := s.checkClient(r.Context(), z, snap, p, request, from)
	if err != nil {
		return "", err
	}
	request.State = p.values["state"]
	if err := s.checkRequest(snap, party, p, request); err != nil {
		return "", err
	}
	secret := deputy.NewSecret()
	t, err := newTicket(deputy.PushedTicket, z.id, secret, request, s.now(), pushedLives)
	if err != nil {
		return "", err
	}
	t.Source = network(from.address)
	return pushedPrefix + secret.Reveal(), s.store.PutTicket(r.Context(), t, nil)
}

// errPushed is the answer to an address of a request that is not there.
var errPushed = refuse(codeInvalidRequestURI, "The request_uri is unknown, was used, or has expired.")

// pull takes up a pushed request, which is then used up. Only the client that
// pushed it may refer to it.
func (s *Server) pull(r *http.Request, z *zone, p *parameters) (*authorizationRequest, error) {
	uri, err := p.once("request_uri")
	if err != nil {
		return nil, err
	}
	text, ok := strings.CutPrefix(uri, pushedPrefix)
	if !ok {
		return nil, errPushed
	}
	secret := deputy.Conceal(text)
	t, err := s.store.Ticket(r.Context(), deputy.PushedTicket, z.id, deputy.HashSecret(secret))
	if err != nil {
		if unlessAbsent(err) == nil {
			err = errPushed
		}
		return nil, err
	}
	request := new(authorizationRequest)
	if err := openTicket(t, secret, request); err != nil {
		return nil, err
	}
	if request.ClientID != p.values["client_id"] {
		return nil, errPushed
	}
	// Of two browsers that open the address at once, one finds the request.
	if _, err := s.store.TakeTicket(r.Context(), deputy.PushedTicket, z.id, t.Key); err != nil {
		if unlessAbsent(err) == nil {
			err = errPushed
		}
		return nil, err
	}
	return request, nil
}
