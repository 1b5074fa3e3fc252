package oauth

import (
	"net/http"

	"deputy/internal/pages"
)

// askLogout asks a person whether they want to sign out.
func (s *Server) askLogout(w http.ResponseWriter, r *http.Request, snap *snapshot, user string, p *parameters) {
	secret, _ := s.cookie(r, browserCookie, snap.zone.ID)
	page := pages.Logout{User: user, Fields: make(map[string]string)}
	for _, name := range []string{"client_id", "id_token_hint", "post_logout_redirect_uri", "state"} {
		if value := p.values[name]; value != "" {
			page.Fields[name] = value
		}
	}
	f := s.frame(r, snap, csrfToken(secret))
	if to := p.values["post_logout_redirect_uri"]; to != "" {
		f.Targets = []string{to}
	}
	pages.Write(w, http.StatusOK, f, page)
}

// showSignedOut says that the person has signed out.
func (s *Server) showSignedOut(w http.ResponseWriter, r *http.Request, snap *snapshot) {
	pages.Write(w, http.StatusOK, s.frame(r, snap, ""), pages.Done{What: pages.DoneSignedOut})
}
