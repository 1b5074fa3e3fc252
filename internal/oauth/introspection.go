package oauth

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"deputy/internal/deputy"
)

// callingClient authenticates the client of a request beside the token endpoint,
// as there. Public clients are taken at their word.
func (s *Server) callingClient(r *http.Request, z *zone, snap *snapshot, newcomers newcomers) (*client, *claimant, string, error) {
	body, err := readForm(r)
	if err != nil {
		return nil, nil, "", err
	}
	form, err := parseForm(body)
	if err != nil {
		return nil, nil, "", err
	}
	claimed, err := newClaimant(r.Header, form)
	if err != nil {
		return nil, claimed, "", err
	}
	i := &issuance{form: &tokenRequest{grantType: refreshToken}, zone: z, snap: snap, newcomers: newcomers} // a grant of public clients
	c, err := s.authenticate(r.Context(), i, claimed)
	if err == nil && i.spent != nil {
		err = replayed(s.store.SpendTicket(r.Context(), i.spent))
	}
	return c, claimed, body, err
}

// standingToken returns an access token of the zone that may still be used, and
// the person behind it if there is one. Any other answer is nil.
func (s *Server) standingToken(ctx context.Context, z *zone, snap *snapshot, token string) (*verified, *delegator, error) {
	v, err := s.verify(snap.keys, snap.issuer, token, 0)
	if err != nil {
		return nil, nil, nil // not ours, or over
	}
	if revoked, err := s.revoked(ctx, z.id, v); err != nil || revoked {
		return nil, nil, err
	}
	if v.Profile != profileUser {
		behind, err := s.behind(ctx, z, snap, v)
		standing := deputy.Standing{Zone: snap.zone}
		if behind != nil {
			standing.Subject = behind.application.ID
		}
		if err != nil || standing.Live(deputy.UseApplicationToken, s.now()) != nil {
			return nil, nil, err
		}
		return v, nil, nil
	}
	use := deputy.UseToken
	var chain []*deputy.Session
	var user *deputy.User
	if v.Session == "" && v.Act != nil {
		use = deputy.UseImpersonatedToken
		user, err = s.userCalled(ctx, z.id, v.Subject)
	} else {
		chain, user, err = s.store.SessionChain(ctx, z.id, v.Session)
	}
	if unlessAbsent(err) != nil {
		return nil, nil, err
	}
	client, err := s.tokenClient(ctx, z, snap, v, chain)
	if err != nil {
		return nil, nil, err
	}
	standing := deputy.Standing{Zone: snap.zone, User: user, Sessions: chain, TokenClient: client}
	if standing.Live(use, s.now()) != nil || user.Identifier != v.Subject {
		return nil, nil, nil
	}
	return v, &delegator{session: v.Session, user: user, sessions: chain}, nil
}

// introspect answers at the introspection endpoint (RFC 7662): to confidential
// clients, about tokens that were given to them or are addressed to a resource
// of theirs. Of any other token they learn nothing.
func (s *Server) introspect(w http.ResponseWriter, r *http.Request, id deputy.ZoneID, from *origin) {
	ctx := r.Context()
	z, snap, err := s.current(ctx, id)
	if err != nil {
		s.refuse(w, from, id, asRefusal(err), "")
		return
	}
	c, claimed, body, err := s.callingClient(r, z, snap, nil)
	if err == nil && !claimed.proven {
		err = errClient
	}
	if err != nil {
		s.refuseClaimant(w, from, snap, claimed, err)
		return
	}
	token, err := tokenOf(body)
	var v *verified
	if err == nil {
		v, _, err = s.standingToken(ctx, z, snap, token)
	}
	if err != nil {
		s.refuse(w, from, id, asRefusal(err), realm(claimed, snap))
		return
	}
	if v == nil || v.ClientID != c.id && !snap.addresses(v, c) {
		writeJSON(w, http.StatusOK, []byte(`{"active":false}`))
		return
	}
	// The claims are an object without these members.
	b := append([]byte(`{"active":true,"token_type":"Bearer",`), strings.TrimPrefix(string(payload(token)), "{")...)
	writeJSON(w, http.StatusOK, b)
}

// addresses reports whether a token is for a resource of the client's
// application.
func (s *snapshot) addresses(v *verified, c *client) bool {
	return slices.ContainsFunc(v.Audience, func(a string) bool {
		r := s.resolve(a)
		if r == nil {
			return false
		}
		owner := s.ownerOf(r)
		return owner != nil && *owner == c.application.ID
	})
}

// tokenOf returns the parameter token of a form.
func tokenOf(body string) (string, error) {
	p, err := parseParameters(body)
	if err != nil {
		return "", err
	}
	token, err := p.once("token")
	if err == nil && token == "" {
		err = refuse(codeInvalidRequest, "The parameter token is missing.")
	}
	return token, err
}

// revoke answers at the revocation endpoint (RFC 7009). Whatever the token was,
// the answer is the same: it is not good any more, for the client that asks.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request, id deputy.ZoneID, from *origin) {
	ctx := r.Context()
	z, snap, err := s.current(ctx, id)
	if err != nil {
		s.refuse(w, from, id, asRefusal(err), "")
		return
	}
	from.decides(s.now())
	c, claimed, body, err := s.callingClient(r, z, snap, nil)
	if err != nil {
		s.refuseClaimant(w, from, snap, claimed, err)
		return
	}
	token, err := tokenOf(body)
	if err == nil {
		i := &issuance{from: from, form: new(tokenRequest), zone: z, snap: snap}
		i.begin(c)
		err = s.revokeToken(ctx, i, token)
	}
	if err != nil {
		s.refuse(w, from, id, asRefusal(err), realm(claimed, snap))
		return
	}
	h := w.Header()
	h["Cache-Control"], h["Access-Control-Allow-Origin"] = noStore, anyone
	w.WriteHeader(http.StatusOK)
}

// revokeToken ends a token of the client: a refresh token with its session, an
// access token alone.
func (s *Server) revokeToken(ctx context.Context, i *issuance, token string) error {
	if text, ok := readRefreshToken(deputy.Conceal(token)); ok {
		f, err := s.store.RefreshFamilies().Get(ctx, deputy.Scope{Zone: i.zone.id}, deputy.ID(text.session))
		if err != nil || f.ClientID != i.client.id || !made(f, text) {
			return unlessAbsent(err)
		}
		return s.endSession(ctx, i, text.session, "The client has revoked its refresh token.")
	}
	v, err := s.verify(i.snap.keys, i.snap.issuer, token, leeway) // as long as an exchange takes it
	if err != nil || v.ClientID != i.client.id {
		return nil
	}
	event := i.event
	event.Type, event.Outcome, event.Basis = eventRevoke, deputy.Success, nil
	event.JTI, event.SessionID = deputy.EventID(v.ID), v.Session
	return s.store.Write(ctx, &event, func(tx deputy.Tx) error {
		return tx.PutTicket(ctx, &deputy.Ticket{
			Kind: deputy.RevokedTicket, ZoneID: i.zone.id, Key: revokedKey(v.ID), Data: []byte(v.ID),
			CreatedAt: tx.Now(), ExpiresAt: time.Unix(v.ExpiresAt, 0).Add(2 * leeway),
		})
	})
}

// userInfo answers at the UserInfo endpoint (OpenID Connect Core 1.0 §5.3): who
// the person is behind an access token that was given for that.
func (s *Server) userInfo(w http.ResponseWriter, r *http.Request, id deputy.ZoneID, from *origin) {
	ctx := r.Context()
	z, snap, err := s.current(ctx, id)
	if err != nil {
		s.refuse(w, from, id, asRefusal(err), "")
		return
	}
	token, err := bearer(r)
	if err != nil {
		s.challengeBearer(w, from, id, asRefusal(err))
		return
	}
	v, p, err := s.standingToken(ctx, z, snap, token)
	switch {
	case err != nil:
		s.refuse(w, from, id, asRefusal(err), "")
		return
	case v == nil || p == nil:
		s.challengeBearer(w, from, id, errToken)
		return
	case !v.hasScope(scopeOpenID):
		s.challengeBearer(w, from, id, &refusal{
			code: codeInsufficientScope, description: "The access token lacks the scope openid.", status: http.StatusForbidden,
		})
		return
	}
	b := appendMember([]byte{'{'}, "sub", p.user.Identifier)
	b = appendPersonal(b, p.user, strings.Fields(v.Scope))
	writeJSON(w, http.StatusOK, append(b, '}'))
}

// errToken is the answer to a bearer that is not good (RFC 6750 §3.1).
var errToken = &refusal{code: codeInvalidToken, description: "The access token is not valid here.", status: http.StatusUnauthorized}

// bearer returns the token of a request, from its header or its form (RFC 6750
// §2).
func bearer(r *http.Request) (string, error) {
	if scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") && token != "" {
		return strings.TrimSpace(token), nil
	}
	if r.Method == http.MethodPost && isForm(r.Header["Content-Type"]) {
		body, err := readForm(r)
		if err != nil {
			return "", err
		}
		p, err := parseParameters(body)
		if err != nil {
			return "", err
		}
		if token, err := p.once("access_token"); err == nil && token != "" {
			return token, nil
		}
	}
	return "", errToken
}

// challengeBearer refuses a bearer.
func (s *Server) challengeBearer(w http.ResponseWriter, from *origin, zone deputy.ZoneID, r *refusal) {
	w.Header().Set("WWW-Authenticate", "Bearer error="+strconv.Quote(r.code))
	s.refuse(w, from, zone, r, "")
}
