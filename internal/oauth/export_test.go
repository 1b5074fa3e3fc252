package oauth

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"deputy/internal/deputy"
)

// ParseForm returns what the form parser keeps, by parameter.
func ParseForm(body string) (map[string][]string, error) {
	f, err := parseForm(body)
	if err != nil {
		return nil, err
	}
	kept := make(map[string][]string)
	for _, name := range []string{
		"grant_type", "client_id", "client_assertion", "client_assertion_type", "scope", "subject_token",
		"subject_token_type", "actor_token", "actor_token_type", "requested_token_type",
	} {
		if v := *f.text(name); v != "" {
			kept[name] = []string{v}
		}
	}
	if !f.clientSecret.IsZero() {
		kept["client_secret"] = []string{f.clientSecret.Reveal()}
	}
	if f.resource != nil {
		kept["resource"] = f.resource
	}
	if f.audience != nil {
		kept["audience"] = f.audience
	}
	return kept, nil
}

// ReadBasic returns the readings of an Authorization header.
func ReadBasic(header, clientID string) (identities [][2]string, err error) {
	c, err := newClaimant(map[string][]string{"Authorization": {header}}, &tokenRequest{clientID: clientID})
	if err != nil || !c.basic {
		return nil, err
	}
	for _, i := range c.identities {
		identities = append(identities, [2]string{i.clientID, i.secret.Reveal()})
	}
	return identities, nil
}

// AppendQuoted appends a JSON string.
func AppendQuoted(b []byte, s string) []byte { return appendQuoted(b, s) }

// Clients is how many clients are cached before one is forgotten.
const Clients = generationSize

// MaxSources is how many sources of failures are told apart.
const MaxSources = maxSources

// Sources returns how many sources of failures a server has counted.
func Sources(s *Server) int {
	s.failures.mu.Lock()
	defer s.failures.mu.Unlock()
	return len(s.failures.counts)
}

// Hold bounds the zones that a server holds.
func Hold(s *Server, weight int) { s.zones.limit = weight }

// Held returns how many zones a server holds.
func Held(s *Server) (n int) {
	for range s.zones.held.Range {
		n++
	}
	return n
}

// CachedClients returns how many clients a server has cached.
func CachedClients(s *Server) (n int) {
	for _, g := range []*generation{s.clients.young.Load(), s.clients.old.Load()} {
		for range g.entries.Range {
			n++
		}
	}
	return n
}

// DeafenShadows makes the shadows of a server too busy for any question.
func DeafenShadows(s *Server) { s.shadows.start.Do(func() {}); s.shadows.queue = make(chan *shadowed) }

// Act stands for the pages of the sign-in: it takes the login transaction that
// the request's cookie names one step on, as the page's form would.
func (s *Server) Act(w http.ResponseWriter, r *http.Request, zone deputy.ZoneID, step string, user *deputy.User) {
	from := s.origin(r)
	z, snap, err := s.zone(r.Context(), zone)
	if err != nil {
		s.showRefusal(w, r, from, zone, err)
		return
	}
	l, err := s.login(r, z, snap, from)
	if err == nil {
		err = l.checkForm(l.csrf())
	}
	if err != nil {
		s.showRefusal(w, r, from, zone, err)
		return
	}
	switch step {
	case "sign in":
		l.setNote("test", l.note("test")+".")
		if err := s.signIn(r.Context(), w, r, l, proof{user: user}, nil); err != nil {
			s.stop(w, r, l, err)
			return
		}
		s.proceed(w, r, l)
	case "approve":
		a, err := s.assess(r.Context(), l)
		if err != nil {
			s.proceed(w, r, l)
			return
		}
		s.approve(w, r, l, a.digest())
	case "deny":
		s.deny(w, r, l)
	}
}

// RememberSecrets has a new memory take in n secrets of some bytes, and returns
// how many of them it has then.
func RememberSecrets(n, size int) (has int) {
	m, sealed := newMemory(), make([]byte, size)
	key := func(i int) rowKey { return rowKey{kind: aSecret, id: deputy.ID(strconv.Itoa(i))} }
	for i := range n {
		m.Set(key(i), &deputy.VaultSecret{Sealed: sealed})
	}
	for i := range n {
		if _, ok := m.GetIfPresent(key(i)); ok {
			has++
		}
	}
	return has
}

// Settle waits for what is done after answers.
func (s *Server) Settle() { s.late.Wait() }

// ReadOutside reads a token of somebody else's and returns its algorithm.
func ReadOutside(token string) (alg string, err error) {
	t, err := readOutside(token, workloadAlgorithms)
	if err != nil {
		return "", err
	}
	if c, err := t.claims(); err == nil {
		_ = c.current(time.Unix(0, 0))
	}
	_ = t.verify(nil)
	return t.alg, nil
}

// ReadSubstitute is readSubstitute.
var ReadSubstitute = readSubstitute

// Counted returns how many bytes name what the sign-in pages count by.
func Counted(s *Server) (n int) {
	for key := range s.throttle.counts.Keys() {
		n += len(key)
	}
	return n
}

// Endpoints returns a path of each endpoint below an issuer, and of the bearers
// of the management plane.
func Endpoints() map[int]string {
	all := map[int]string{int(serviceTokenEndpoint): serviceTokenPath, int(pageEndpoint): pageAccount}
	for path, to := range endpoints {
		all[int(to)] = path
	}
	return all
}

// EndpointOf returns which of the endpoints a request is for.
func EndpointOf(s *Server, r *http.Request) int {
	_, to, _ := s.route(r)
	return int(to)
}

// FormPages returns the paths of all pages that take a form, but for the one
// that answers of others come to.
func FormPages() (paths []string) {
	for path, p := range sitePages {
		if p.post != nil && path != pathRedirect {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}
