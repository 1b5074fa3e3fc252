package deputytest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Upstream is an authorization server of somebody else's that guards what
// agents are to reach: it lets everybody in, and replaces a refresh token with
// every use. As careful servers do, it takes the token before once more until
// the new one was used, and takes anything older for theft: that ends the
// family.
type Upstream struct {
	*httptest.Server

	// ExpiresIn is how long tokens last, in seconds; 0: it does not say.
	ExpiresIn int
	// Bare says that it does not describe itself.
	Bare bool
	// Clients takes registrations.
	Clients bool
	// InForm takes a client's secret in the form only.
	InForm bool
	// Shape makes an answer of what a standard server says; nil: that is it.
	Shape func(map[string]any) any
	// Interfere is called with each token request before it is looked at; it may
	// answer itself, which true says.
	Interfere func(w http.ResponseWriter, r *http.Request) bool
	// Lose is called after a token request was done; true loses the answer.
	Lose func(r *http.Request) bool
	// Deny answers people with this error.
	Deny string

	mu       sync.Mutex
	secrets  map[string]string // of clients
	codes    map[string]url.Values
	families map[string]*family // by any of their tokens
	asked    []url.Values       // authorization requests
	forms    []url.Values       // token requests
	revoked  []string
	running  map[*family]int // refreshes under way
	most     int
}

// family are the tokens of one authorization.
type family struct {
	current, previous string // refresh tokens
	access            string
	ended             bool
	refreshes         int
}

// UpstreamClientID and UpstreamClientSecret are those of a client that every
// Upstream knows.
const (
	UpstreamClientID     = "deputy"
	UpstreamClientSecret = "a secret: with / everything%"
)

// NewUpstream starts an authorization server, which ends with the test. What it
// does is to be set before it is asked.
func NewUpstream(t testing.TB) *Upstream {
	u := &Upstream{
		ExpiresIn: 3600, secrets: map[string]string{UpstreamClientID: UpstreamClientSecret},
		codes: map[string]url.Values{}, families: map[string]*family{}, running: map[*family]int{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", u.describe)
	mux.HandleFunc("POST /register", u.register)
	mux.HandleFunc("GET /authorize", u.authorize)
	mux.HandleFunc("POST /token", u.token)
	mux.HandleFunc("POST /revoke", u.revoke)
	u.Server = httptest.NewServer(mux)
	t.Cleanup(u.Close)
	return u
}

// Asked returns the last authorization request.
func (u *Upstream) Asked() url.Values {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.asked[len(u.asked)-1]
}

// Forms returns the token requests so far.
func (u *Upstream) Forms() []url.Values {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.forms)
}

// Revoked returns the tokens that were revoked.
func (u *Upstream) Revoked() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.revoked)
}

// AtOnce returns the largest number of refreshes of one family that were under
// way at the same time.
func (u *Upstream) AtOnce() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.most
}

// Good reports whether an access token is the newest of a family in force.
func (u *Upstream) Good(access string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	f := u.families[access]
	return f != nil && !f.ended && f.access == access
}

// Known reports whether an access token is one of a family in force.
func (u *Upstream) Known(access string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	f := u.families[access]
	return f != nil && !f.ended
}

// End ends all authorizations.
func (u *Upstream) End() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, f := range u.families {
		f.ended = true
	}
}

func (u *Upstream) describe(w http.ResponseWriter, r *http.Request) {
	if u.Bare {
		http.NotFound(w, r)
		return
	}
	said := map[string]any{
		"issuer": u.URL, "authorization_endpoint": u.URL + "/authorize?tenant=one", "token_endpoint": u.URL + "/token", "revocation_endpoint": u.URL + "/revoke",
		"response_types_supported": []string{"code"}, "authorization_response_iss_parameter_supported": true,
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
	}
	if u.InForm {
		said["token_endpoint_auth_methods_supported"] = []string{"client_secret_post"}
	}
	if u.Clients {
		said["registration_endpoint"] = u.URL + "/register"
	}
	write(w, said)
}

func (u *Upstream) register(w http.ResponseWriter, r *http.Request) {
	var in map[string]any
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || !u.Clients {
		w.WriteHeader(http.StatusBadRequest)
		write(w, map[string]any{"error": "invalid_client_metadata"})
		return
	}
	id, secret := rand.Text(), rand.Text()
	u.mu.Lock()
	u.secrets[id] = secret
	u.mu.Unlock()
	in["client_id"], in["client_secret"], in["client_secret_expires_at"] = id, secret, 0
	w.WriteHeader(http.StatusCreated)
	write(w, in)
}

func (u *Upstream) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	code := rand.Text()
	u.mu.Lock()
	u.asked = append(u.asked, q)
	u.codes[code] = q
	u.mu.Unlock()
	answer := url.Values{"code": {code}, "state": {q.Get("state")}}
	if u.Deny != "" {
		answer = url.Values{"error": {u.Deny}, "state": {q.Get("state")}}
	}
	if !u.Bare {
		answer.Set("iss", u.URL)
	}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+answer.Encode(), http.StatusFound)
}

// client returns which client a request is from, or "".
func (u *Upstream) client(r *http.Request) string {
	id, secret, basic := r.BasicAuth()
	if basic {
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
	} else {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if known, ok := u.secrets[id]; !ok || known != secret || basic && u.InForm {
		return ""
	}
	return id
}

// Change changes how it behaves while it is being asked.
func (u *Upstream) Change(set func(*Upstream)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	set(u)
}

func (u *Upstream) token(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	u.mu.Lock()
	u.forms = append(u.forms, r.PostForm)
	f := u.families[r.PostFormValue("refresh_token")]
	if f != nil {
		u.running[f]++
		u.most = max(u.most, u.running[f])
	}
	interfere, lose := u.Interfere, u.Lose
	u.mu.Unlock()
	defer func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if f != nil {
			u.running[f]--
		}
	}()
	if interfere != nil && interfere(w, r) {
		return
	}
	answer, wrong := u.grant(r)
	if wrong != "" {
		w.WriteHeader(map[bool]int{true: http.StatusUnauthorized, false: http.StatusBadRequest}[wrong == "invalid_client"])
		write(w, map[string]any{"error": wrong})
		return
	}
	if lose != nil && lose(r) {
		panic(http.ErrAbortHandler) // the connection ends without a word
	}
	if u.Shape != nil {
		write(w, u.Shape(answer))
		return
	}
	write(w, answer)
}

// grant does what a token request asks for.
func (u *Upstream) grant(r *http.Request) (answer map[string]any, wrong string) {
	if u.client(r) == "" {
		return nil, "invalid_client"
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	answer = map[string]any{"token_type": "Bearer", "access_token": "access-" + rand.Text()}
	if u.ExpiresIn > 0 {
		answer["expires_in"] = u.ExpiresIn
	}
	switch r.PostFormValue("grant_type") {
	case "client_credentials":
		answer["scope"] = r.PostFormValue("scope")
		return answer, ""
	case "authorization_code":
		code := r.PostFormValue("code")
		q, known := u.codes[code]
		delete(u.codes, code)
		sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		proven := base64.RawURLEncoding.EncodeToString(sum[:]) == q.Get("code_challenge") || !q.Has("code_challenge") && !r.PostForm.Has("code_verifier")
		if !known || !proven || q.Get("redirect_uri") != r.PostFormValue("redirect_uri") {
			return nil, "invalid_grant"
		}
		u.turn(&family{}, answer)
		answer["scope"] = strings.Join(slices.Concat(q["scope"], q["user_scope"]), " ")
		return answer, ""
	case "refresh_token":
		token := r.PostFormValue("refresh_token")
		f := u.families[token]
		if f == nil || f.ended || token == "" || token != f.current && token != f.previous {
			if f != nil {
				f.ended = true
			}
			return nil, "invalid_grant"
		}
		f.refreshes++
		f.previous = token
		u.turn(f, answer)
		return answer, ""
	}
	return nil, "unsupported_grant_type"
}

// turn gives a family its next tokens.
func (u *Upstream) turn(f *family, answer map[string]any) {
	f.current, f.access = "refresh-"+rand.Text(), answer["access_token"].(string)
	u.families[f.current], u.families[f.access] = f, f
	answer["refresh_token"] = f.current
}

// Refreshes returns how often the family of a token was refreshed.
func (u *Upstream) Refreshes(token string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	if f := u.families[token]; f != nil {
		return f.refreshes
	}
	return 0
}

func (u *Upstream) revoke(w http.ResponseWriter, r *http.Request) {
	if u.client(r) == "" {
		w.WriteHeader(http.StatusUnauthorized)
		write(w, map[string]any{"error": "invalid_client"})
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	token := r.PostFormValue("token")
	u.revoked = append(u.revoked, token)
	if f := u.families[token]; f != nil {
		f.ended = true
	}
}
