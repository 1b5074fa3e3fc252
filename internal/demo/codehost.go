package demo

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// CodeHost is a service of somebody else's that a person has an account at: an
// authorization server, and the API that takes its tokens. It knows nothing of
// Deputy but one client, and asks nobody whether they are sure.
type CodeHost struct {
	ClientID, ClientSecret string

	url string
	mux *http.ServeMux

	mu       sync.Mutex
	codes    map[string]url.Values // authorization requests
	sessions map[string]*hosted    // by access and by refresh token
}

// hosted is what one person has authorized.
type hosted struct {
	access, refresh string
	scope           string
}

// NewCodeHost returns a code host that answers at an address.
func NewCodeHost(at string) *CodeHost {
	h := &CodeHost{ClientID: "deputy", ClientSecret: rand.Text(), url: at, mux: http.NewServeMux(), codes: map[string]url.Values{}, sessions: map[string]*hosted{}}
	h.mux.HandleFunc("GET /.well-known/oauth-authorization-server", h.describe)
	h.mux.HandleFunc("GET /login/oauth/authorize", h.authorize)
	h.mux.HandleFunc("POST /login/oauth/access_token", h.token)
	h.mux.HandleFunc("POST /login/oauth/revoke", h.revoke)
	h.mux.HandleFunc("GET /api/repositories", h.repositories)
	return h
}

// ServeHTTP answers for the code host.
func (h *CodeHost) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

func (h *CodeHost) describe(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, object{
		"issuer": h.url, "authorization_endpoint": h.url + "/login/oauth/authorize", "token_endpoint": h.url + "/login/oauth/access_token",
		"revocation_endpoint": h.url + "/login/oauth/revoke", "response_types_supported": []string{"code"},
	})
}

// authorize lets the person in: they are always signed in here.
func (h *CodeHost) authorize(w http.ResponseWriter, r *http.Request) {
	q, code := r.URL.Query(), rand.Text()
	h.mu.Lock()
	h.codes[code] = q
	h.mu.Unlock()
	answer := url.Values{"code": {code}, "state": {q.Get("state")}}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+answer.Encode(), http.StatusFound)
}

// known reports whether a request is Deputy's.
func (h *CodeHost) known(r *http.Request) bool {
	id, secret, _ := r.BasicAuth()
	return id == h.ClientID && secret == h.ClientSecret
}

func (h *CodeHost) token(w http.ResponseWriter, r *http.Request) {
	if !h.known(r) {
		writeJSON(w, http.StatusUnauthorized, object{"error": "invalid_client"})
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var s *hosted
	switch r.PostFormValue("grant_type") {
	case "authorization_code":
		q, ok := h.codes[r.PostFormValue("code")]
		delete(h.codes, r.PostFormValue("code"))
		sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		if ok && q.Get("redirect_uri") == r.PostFormValue("redirect_uri") && q.Get("code_challenge") == base64.RawURLEncoding.EncodeToString(sum[:]) {
			s = &hosted{scope: q.Get("scope")}
		}
	case "refresh_token":
		if s = h.sessions[r.PostFormValue("refresh_token")]; s != nil && s.refresh != r.PostFormValue("refresh_token") {
			s = nil
		}
	}
	if s == nil {
		writeJSON(w, http.StatusBadRequest, object{"error": "invalid_grant"})
		return
	}
	delete(h.sessions, s.access)
	delete(h.sessions, s.refresh)
	s.access, s.refresh = "ghu_"+rand.Text(), "ghr_"+rand.Text()
	h.sessions[s.access], h.sessions[s.refresh] = s, s
	writeJSON(w, http.StatusOK, object{
		"access_token": s.access, "refresh_token": s.refresh, "expires_in": 28800, "token_type": "bearer",
		"scope": strings.ReplaceAll(s.scope, " ", ","),
	})
}

func (h *CodeHost) revoke(w http.ResponseWriter, r *http.Request) {
	if !h.known(r) {
		writeJSON(w, http.StatusUnauthorized, object{"error": "invalid_client"})
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.sessions[r.PostFormValue("token")]; s != nil {
		delete(h.sessions, s.access)
		delete(h.sessions, s.refresh)
	}
}

// repositories is the API: it takes the host's own tokens alone.
func (h *CodeHost) repositories(w http.ResponseWriter, r *http.Request) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	h.mu.Lock()
	s := h.sessions[token]
	h.mu.Unlock()
	if s == nil || s.access != token {
		writeJSON(w, http.StatusUnauthorized, object{"message": "Bad credentials"})
		return
	}
	writeJSON(w, http.StatusOK, []string{"ada/engine", "ada/notes"})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a caller that has gone needs no answer
}
