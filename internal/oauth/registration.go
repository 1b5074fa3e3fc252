package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"deputy/internal/deputy"
)

const (
	// registrationLives is how long a registration waits for somebody to sign in
	// with it.
	registrationLives = 24 * time.Hour
	// registrationAgain is how old one must be to be written anew when the same
	// client registers again.
	registrationAgain = time.Hour
	maxRegistration   = 64 << 10
	maxRedirects      = 32
)

// registration is what a client says of itself (RFC 7591 §2). Some clients send
// every member that they do not use as null.
type registration struct {
	RedirectURIs    []string       `json:"redirect_uris"`
	GrantTypes      []string       `json:"grant_types"`
	ApplicationType string         `json:"application_type"`
	Name            string         `json:"client_name"`
	Scope           string         `json:"scope"`
	ClientURI       string         `json:"client_uri"`
	LogoURI         string         `json:"logo_uri"`
	PolicyURI       string         `json:"policy_uri"`
	TermsURI        string         `json:"tos_uri"`
	Contacts        []string       `json:"contacts"`
	JWKS            jsontext.Value `json:"jwks"`
	JWKSURI         string         `json:"jwks_uri"`
	SoftwareID      string         `json:"software_id"`
	SoftwareVersion string         `json:"software_version"`
	AuthMethod      string         `json:"token_endpoint_auth_method"`
	ClientID        string         `json:"client_id"` // of a metadata document
}

// register answers at the registration endpoint (RFC 7591 §3): whoever asks is
// a client, and becomes a user agent once somebody has signed in with it. The
// same client gets the same client_id, so that nothing piles up.
func (s *Server) register(w http.ResponseWriter, r *http.Request, id deputy.ZoneID, from *origin) {
	z, snap, err := s.current(r.Context(), id)
	if err == nil && !snap.zone.DCREnabled {
		err = &refusal{code: codeAccessDenied, description: "Clients cannot register themselves here.", status: http.StatusForbidden}
	}
	var a *deputy.UserAgent
	if err == nil {
		from.decides(s.now())
		a, err = s.registered(r, z, snap, from)
	}
	if err != nil {
		s.refuse(w, from, id, asRefusal(err), "")
		return
	}
	writeRegistration(w, a)
}

// registered returns the user agent that a request registers.
func (s *Server) registered(r *http.Request, z *zone, snap *snapshot, from *origin) (*deputy.UserAgent, error) {
	said, err := readRegistration(r)
	if err != nil {
		return nil, err
	}
	if err := said.check(); err != nil {
		return nil, err
	}
	a, err := said.userAgent(snap.zone, from.at)
	if err != nil {
		return nil, err
	}
	known, err := s.userAgent(r.Context(), z, snap, a.Identifier)
	if err != nil || known != nil {
		return known, err
	}
	return s.stage(r.Context(), z, a, network(from.address))
}

func readRegistration(r *http.Request) (*registration, error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, refuse(codeInvalidMetadata, "The content type must be application/json.")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRegistration+1))
	if err != nil || len(body) > maxRegistration {
		return nil, refuse(codeInvalidMetadata, "The request body is incomplete or larger than 64 KiB.")
	}
	said := new(registration)
	if err := json.Unmarshal(body, said); err != nil {
		return nil, refuse(codeInvalidMetadata, "The client metadata is not a JSON object of the known form.").because(err)
	}
	return said, nil
}

// check refuses what no client may say of itself.
func (m *registration) check() error {
	if len(m.GrantTypes) > 0 && !slices.Contains(m.GrantTypes, authorizationCode) {
		return refuse(codeInvalidMetadata, "The grant type authorization_code is the one that a client can register for.")
	}
	if err := checkRedirects(m.RedirectURIs, m.ApplicationType); err != nil {
		return err
	}
	if err := m.checkKeys(); err != nil {
		return err
	}
	for _, text := range []struct{ name, value string }{
		{"client_name", m.Name}, {"software_id", m.SoftwareID}, {"software_version", m.SoftwareVersion},
	} {
		if deputy.SafeText(text.name, text.value, 0, deputy.MaxName) != nil {
			return refuse(codeInvalidMetadata, "The member %s is too long, or not plain text.", text.name)
		}
	}
	for _, link := range []struct{ name, value string }{
		{"client_uri", m.ClientURI}, {"logo_uri", m.LogoURI}, {"policy_uri", m.PolicyURI}, {"tos_uri", m.TermsURI}, {"jwks_uri", m.JWKSURI},
	} {
		if u, err := url.Parse(link.value); link.value != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || len(link.value) > deputy.MaxIdentifier) {
			return refuse(codeInvalidMetadata, "The member %s must be a web address.", link.name)
		}
	}
	return nil
}

// checkKeys refuses keys that nobody can use, or that are not for others to see,
// and brings those that are good into one form.
func (m *registration) checkKeys() error {
	if m.JWKS.Kind() == jsontext.KindNull || len(m.JWKS) == 0 {
		m.JWKS = nil
	}
	switch {
	case m.JWKS != nil && m.JWKSURI != "":
		return refuse(codeInvalidMetadata, "Of the members jwks and jwks_uri a client can have one.")
	case m.AuthMethod == methodKeys && !m.hasKeys():
		return refuse(codeInvalidMetadata, "The method private_key_jwt needs the member jwks or jwks_uri.")
	case m.JWKS == nil:
		return nil
	}
	if len(outsideSet(m.JWKS)) == 0 || m.JWKS.Canonicalize() != nil {
		return refuse(codeInvalidMetadata, "The member jwks has no public key that can verify a signature.")
	}
	return nil
}

// checkRedirects refuses addresses that answers must not go to. A client that
// does not run on the person's machine has https ones only (RFC 8252 §7, OpenID
// Connect Registration 1.0 §2).
func checkRedirects(uris []string, kind string) error {
	if len(uris) == 0 || len(uris) > maxRedirects {
		return refuse(codeInvalidRedirect, "The member redirect_uris must have 1 to %d addresses.", maxRedirects)
	}
	native := kind == "native" || !slices.ContainsFunc(uris, func(u string) bool { return strings.HasPrefix(u, "https:") })
	for _, u := range uris {
		if len(u) > deputy.MaxIdentifier || !safeRedirect(u) || !native && !strings.HasPrefix(u, "https:") {
			return refuse(codeInvalidRedirect, "The redirect_uri %s must be an https address, or for a native application a loopback address or one of its own scheme.", excerpt(u))
		}
	}
	return nil
}

// userAgent returns the user agent that the metadata describe, under an
// identifier that is the same for the same client.
func (m *registration) userAgent(zone *deputy.Zone, now time.Time) (*deputy.UserAgent, error) {
	uris := slices.Clone(m.RedirectURIs)
	slices.Sort(uris)
	said := map[string]any{"zone_id": zone.ID, "client_name": m.Name, "redirect_uris": uris, "software_id": m.SoftwareID, "jwks_uri": ""}
	// Keys are part of the name only of a client that authenticates with them.
	// They are public: otherwise whoever registered somebody's keys first, without
	// having to prove anything, would get the name that their owner gets.
	keyed := m.AuthMethod == methodKeys
	if keyed {
		said["jwks_uri"] = m.JWKSURI
		if m.JWKS != nil {
			said["jwks"] = m.JWKS
		}
	}
	text, err := json.Marshal(said)
	if err != nil {
		return nil, refuse(codeInvalidMetadata, "The client metadata cannot be read.").because(err)
	}
	canonical := jsontext.Value(text)
	if err := canonical.Canonicalize(); err != nil { // RFC 8785
		return nil, refuse(codeInvalidMetadata, "The client metadata cannot be read.").because(err)
	}
	sum := sha256.Sum256(canonical)
	return m.describe(zone, agentPrefix+hex.EncodeToString(sum[:]), keyed, now), nil
}

// keyed reports whether the client of a metadata document proves who it is with
// its keys.
func (m *registration) keyed() bool {
	return m.AuthMethod == methodKeys || m.AuthMethod == "" && m.hasKeys()
}

func (m *registration) hasKeys() bool { return m.JWKSURI != "" || m.JWKS != nil }

// describe returns the user agent called identifier, with the keys that it gave
// if it is to prove who it is with them.
func (m *registration) describe(zone *deputy.Zone, identifier string, keyed bool, now time.Time) *deputy.UserAgent {
	a := &deputy.UserAgent{
		OrganizationID: zone.OrganizationID, ZoneID: zone.ID, Slug: deputy.Slug(m.Name, "user-agent"), Name: m.Name,
		Identifier: identifier, RedirectURIs: m.RedirectURIs, AuthMethod: methodNone,
		LogoURI: m.LogoURI, SoftwareID: m.SoftwareID, SoftwareVersion: m.SoftwareVersion,
		LastUsedAt: now, CreatedAt: now, UpdatedAt: now,
	}
	if keyed {
		a.AuthMethod, a.JWKSURI, a.JWKS = methodKeys, m.JWKSURI, m.JWKS
	}
	for _, grant := range []string{authorizationCode, refreshToken} {
		if len(m.GrantTypes) == 0 || slices.Contains(m.GrantTypes, grant) {
			a.GrantTypes = append(a.GrantTypes, grant)
		}
	}
	return a
}

// stage keeps a registration until somebody signs in with it, or for a day. One
// that is there stays its first source's: nobody else can move it to where it
// would be displaced.
func (s *Server) stage(ctx context.Context, z *zone, a *deputy.UserAgent, source string) (*deputy.UserAgent, error) {
	secret := deputy.Conceal(a.Identifier)
	t, err := s.store.Ticket(ctx, deputy.RegistrationTicket, z.id, deputy.HashSecret(secret))
	switch {
	case err == nil:
		known := new(deputy.UserAgent)
		if err := openTicket(t, secret, known); err != nil || a.CreatedAt.Sub(t.CreatedAt) < registrationAgain {
			return known, err
		}
		a, source = known, t.Source
	case unlessAbsent(err) != nil:
		return nil, err
	}
	t, err = newTicket(deputy.RegistrationTicket, z.id, secret, a, s.now(), registrationLives)
	if err != nil {
		return nil, err
	}
	t.Source = source
	return a, s.store.PutTicket(ctx, t, nil)
}

// staged returns the registration called id that waits for somebody to sign in,
// or nil.
func (s *Server) staged(ctx context.Context, z *zone, id string) (*deputy.UserAgent, error) {
	secret := deputy.Conceal(id)
	t, err := s.store.Ticket(ctx, deputy.RegistrationTicket, z.id, deputy.HashSecret(secret))
	if err != nil {
		return nil, unlessAbsent(err)
	}
	a := new(deputy.UserAgent)
	return a, openTicket(t, secret, a)
}

// writeRegistration answers with what was registered (RFC 7591 §3.2.1). Members
// that are not set are left out: some clients refuse null.
func writeRegistration(w http.ResponseWriter, a *deputy.UserAgent) {
	var keys jsontext.Value
	if len(a.JWKS) > 0 {
		keys = a.JWKS
	}
	body, err := json.Marshal(struct {
		ClientID        string         `json:"client_id"`
		IssuedAt        int64          `json:"client_id_issued_at"`
		Name            string         `json:"client_name,omitzero"`
		RedirectURIs    []string       `json:"redirect_uris"`
		GrantTypes      []string       `json:"grant_types"`
		ResponseTypes   []string       `json:"response_types"`
		AuthMethod      string         `json:"token_endpoint_auth_method"`
		JWKSURI         string         `json:"jwks_uri,omitzero"`
		JWKS            jsontext.Value `json:"jwks,omitzero"`
		LogoURI         string         `json:"logo_uri,omitzero"`
		SoftwareID      string         `json:"software_id,omitzero"`
		SoftwareVersion string         `json:"software_version,omitzero"`
	}{
		a.Identifier, a.CreatedAt.Unix(), a.Name, a.RedirectURIs, a.GrantTypes, []string{"code"}, a.AuthMethod, a.JWKSURI, keys,
		a.LogoURI, a.SoftwareID, a.SoftwareVersion,
	})
	if err != nil {
		panic(err) // texts and a number
	}
	writeJSON(w, http.StatusCreated, body)
}

// writeJSON answers with an object that nobody keeps.
func writeJSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"], h["Cache-Control"], h["Pragma"] = jsonType, noStore, noCache
	h["Access-Control-Allow-Origin"] = anyone
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone needs no answer
}
