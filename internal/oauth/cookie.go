package oauth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"deputy/internal/deputy"
)

// The cookies of an issuer. Zones in path form share an origin, so the zone is
// in the name, and what a cookie opens is bound to the zone on this side.
const (
	browserCookie = "deputy"       // a person's web session
	loginCookie   = "deputy-login" // a login transaction
)

// cookieName returns the name of a zone's cookie; no zone means the management
// plane. The prefix makes browsers refuse one that was not set by this very
// host over https (RFC 6265bis §4.1.3.2); on http, which is for loopback, they
// would refuse the prefix.
func (s *Server) cookieName(name string, zone deputy.ZoneID) string {
	if zone != "" {
		name += "-" + string(zone)
	}
	if s.secure() {
		name = "__Host-" + name
	}
	return name
}

// secure reports whether browsers reach the issuers by https.
func (s *Server) secure() bool { return strings.HasPrefix(s.addresses.PublicURL(), "https://") }

// setCookie hands the browser a secret to bring back: until it closes, or for
// as long as said. Lax lets it come along when somebody is sent here by another
// site, as by a client or an identity provider, but not with forms of others.
func (s *Server) setCookie(w http.ResponseWriter, name string, zone deputy.ZoneID, secret deputy.Secret, lives time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: s.cookieName(name, zone), Value: secret.Reveal(), Path: "/", MaxAge: int(lives / time.Second),
		Secure: s.secure(), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// dropCookie makes the browser forget one.
func (s *Server) dropCookie(w http.ResponseWriter, name string, zone deputy.ZoneID) {
	http.SetCookie(w, &http.Cookie{
		Name: s.cookieName(name, zone), Path: "/", MaxAge: -1,
		Secure: s.secure(), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// cookie returns the secret that the browser brings; ok is false when it brings
// none, or several of the name, of which one may be somebody else's.
func (s *Server) cookie(r *http.Request, name string, zone deputy.ZoneID) (secret deputy.Secret, ok bool) {
	found := r.CookiesNamed(s.cookieName(name, zone))
	if len(found) != 1 || found[0].Value == "" {
		return deputy.Secret{}, false
	}
	return deputy.Conceal(found[0].Value), true
}

// csrfToken returns what a form of a page must bring beside the cookie with the
// secret. Other sites can neither read nor guess it.
func csrfToken(secret deputy.Secret) string {
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write([]byte("a form of this page"))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// csrfMatches reports whether a form brings what csrfToken returned for the
// page that it was on.
func csrfMatches(secret deputy.Secret, token string) bool {
	return hmac.Equal([]byte(csrfToken(secret)), []byte(token))
}
