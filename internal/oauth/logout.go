package oauth

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"deputy/internal/deputy"
)

// logout answers at the end session endpoint (OpenID Connect RP-Initiated Logout
// 1.0). Whoever comes with an ID token of the session that the browser has is
// signed out at once; anybody else is asked, because any site can send a
// browser here.
func (s *Server) logout(w http.ResponseWriter, r *http.Request, id deputy.ZoneID, from *origin) {
	ctx := r.Context()
	z, snap, err := s.current(ctx, id)
	if err != nil {
		s.refuse(w, from, id, asRefusal(err), "")
		return
	}
	from.decides(s.now())
	p, err := readParameters(r)
	if err == nil && len(p.repeated) > 0 {
		err = refuse(codeInvalidRequest, "A parameter is given more than once.")
	}
	if err != nil {
		s.showRefusal(w, r, from, id, err)
		return
	}
	out, err := s.departure(ctx, r, z, snap, p)
	if err != nil {
		s.showRefusal(w, r, from, id, err)
		return
	}
	if out.session != nil && !out.hinted && !s.confirmed(r, z.id, p) {
		s.askLogout(w, r, snap, displayName(out.user), p)
		return
	}
	if err := s.signOut(ctx, w, r, z, snap, from, out); err != nil {
		s.showRefusal(w, r, from, id, err)
		return
	}
	if out.to == "" {
		s.showSignedOut(w, r, snap)
		return
	}
	redirect(w, r, out.to)
}

// departure is what a request to sign out comes to.
type departure struct {
	session *deputy.Session // nil: the browser has none
	user    *deputy.User
	hinted  bool   // the client has proved that it knows this session
	to      string // where to go afterwards; empty: nowhere
}

// departure checks a request to sign out. The browser goes to an address only
// if it is registered for the client.
func (s *Server) departure(ctx context.Context, r *http.Request, z *zone, snap *snapshot, p *parameters) (*departure, error) {
	out := new(departure)
	var err error
	if out.session, out.user, err = s.browser(ctx, r, z.id, snap); err != nil {
		return nil, err
	}
	clientID := p.values["client_id"]
	if hint := p.values["id_token_hint"]; hint != "" && !z.manages() { // which issues none
		claims, err := snap.readIDToken(s.now(), hint)
		if err != nil || clientID != "" && clientID != claims.Audience[0] {
			return nil, refuse(codeInvalidRequest, "The parameter id_token_hint is not an ID token of the client.").because(err)
		}
		clientID = claims.Audience[0]
		out.hinted = out.user != nil && claims.Subject == out.user.Identifier
	}
	to := p.values["post_logout_redirect_uri"]
	if to == "" {
		return out, nil
	}
	read, err := s.store.Client(ctx, z.id, clientID)
	if unlessAbsent(err) != nil {
		return nil, err
	}
	if read == nil || !slices.Contains(read.Application.LogoutURIs, to) || !safeRedirect(to) {
		return nil, refuse(codeInvalidRequest, "The post_logout_redirect_uri is not registered for the client.")
	}
	out.to = withState(to, p.values["state"])
	return out, nil
}

// withState returns an address with the state that the client sent.
func withState(to, state string) string {
	if state == "" {
		return to
	}
	u, err := url.Parse(to)
	if err != nil {
		return to // it was checked
	}
	q := u.Query()
	q.Set("state", state)
	u.RawQuery = q.Encode()
	return u.String()
}

// confirmed reports whether a form of our own page asks for it.
func (s *Server) confirmed(r *http.Request, zone deputy.ZoneID, p *parameters) bool {
	secret, ok := s.cookie(r, browserCookie, zone)
	return ok && r.Method == http.MethodPost && csrfMatches(secret, p.values[csrfField])
}

// signOut ends the person's web session at the browser, with every session of a
// client that hangs on it.
func (s *Server) signOut(ctx context.Context, w http.ResponseWriter, r *http.Request, z *zone, snap *snapshot, from *origin, out *departure) error {
	if out.session == nil {
		return nil
	}
	l := &login{zone: z, snap: snap, from: from}
	event := s.personalEvent(l, eventLogout, out.user)
	event.SessionID = out.session.ID
	if z.manages() {
		err := s.signOutManager(ctx, r, event)
		if err == nil {
			s.dropCookie(w, browserCookie, z.id)
		}
		return err
	}
	err := s.store.Write(ctx, event, func(tx deputy.Tx) error {
		if secret, ok := s.cookie(r, browserCookie, z.id); ok {
			if _, err := tx.TakeTicket(ctx, deputy.BrowserTicket, z.id, deputy.HashSecret(secret)); unlessAbsent(err) != nil {
				return err
			}
		}
		return revoke(ctx, tx, deputy.Scope{Zone: z.id}, out.session.ID)
	})
	if err != nil {
		return err
	}
	s.dropCookie(w, browserCookie, z.id)
	return nil
}
