package deputy

import (
	"net/url"
	"strings"
)

// Addresses derives every address that a client sees from two settings and the
// zone. Nothing is ever taken from a request's Host or forwarded headers: they
// only find the zone.
type Addresses struct {
	publicURL  string // scheme and host, maybe a path; no trailing slash
	scheme     string
	port       string // with its colon, or empty
	zoneDomain string
}

// NewAddresses returns the addresses of a deployment. publicURL is an absolute
// http or https URL without a trailing slash; zoneDomain may be empty.
func NewAddresses(publicURL, zoneDomain string) (Addresses, error) {
	u, err := url.Parse(publicURL)
	switch {
	case err != nil, u.Host == "", u.Scheme != "http" && u.Scheme != "https":
		return Addresses{}, Errorf(Invalid, "the public URL must be an absolute http or https URL")
	case u.User != nil, u.RawQuery != "", u.Fragment != "", strings.HasSuffix(publicURL, "/"), strings.HasSuffix(publicURL, "?"), strings.HasSuffix(publicURL, "#"):
		return Addresses{}, Errorf(Invalid, "the public URL must have no user, query, fragment or trailing slash")
	case u.Host != strings.ToLower(u.Host):
		return Addresses{}, Errorf(Invalid, "the public URL's host must be in lower case")
	case u.Port() == map[string]string{"http": "80", "https": "443"}[u.Scheme]:
		return Addresses{}, Errorf(Invalid, "the public URL must not name its scheme's default port")
	}
	a := Addresses{publicURL: publicURL, scheme: u.Scheme, zoneDomain: zoneDomain}
	if p := u.Port(); p != "" {
		a.port = ":" + p
	}
	if zoneDomain != strings.ToLower(zoneDomain) || strings.ContainsAny(zoneDomain, ":/ ") || strings.Trim(zoneDomain, ".") != zoneDomain {
		return Addresses{}, Errorf(Invalid, "the zone domain must be a lower-case host name")
	}
	return a, nil
}

// PublicURL returns the base of every link and the management plane's issuer.
func (a Addresses) PublicURL() string { return a.publicURL }

// NewZoneForm returns the form that new zones' issuers take.
func (a Addresses) NewZoneForm() IssuerForm {
	if a.zoneDomain != "" {
		return HostIssuer
	}
	return PathIssuer
}

// Issuer returns the zone's issuer identifier: no trailing slash.
func (a Addresses) Issuer(z *Zone) string {
	if z.IssuerForm == HostIssuer && a.zoneDomain != "" {
		return a.scheme + "://" + string(z.ID) + "." + a.zoneDomain + a.port
	}
	return a.publicURL + "/z/" + string(z.ID)
}

// ZoneOfHost returns the zone that a request's host names, if it names one.
func (a Addresses) ZoneOfHost(host string) (ZoneID, bool) {
	if a.zoneDomain == "" {
		return "", false
	}
	host, _, _ = strings.Cut(host, ":")
	label, ok := strings.CutSuffix(strings.ToLower(host), "."+a.zoneDomain)
	return ZoneID(label), ok && ID(label).Valid()
}

// builtin starts the stored identifier of a built-in entity, whose shown
// identifier is derived from the issuer. It is a control character, which no
// identifier of a customer can hold.
const builtin = "\x01"

// Stored identifiers of what every zone is born with.
const (
	STSIdentifier      = builtin            // the zone's own provider
	VaultIdentifier    = builtin + "/vault" // the provider of stored secrets
	UserInfoIdentifier = builtin            // the default sign-in resource
	EventsIdentifier   = builtin + "/events"
)

// Shown returns a stored identifier as clients see it.
func (a Addresses) Shown(z *Zone, stored string) string {
	if suffix, ok := strings.CutPrefix(stored, builtin); ok {
		return a.Issuer(z) + suffix
	}
	return stored
}

// Stored returns an identifier given by a client as it is stored: the inverse
// of Shown, so that nobody can take a built-in identifier.
func (a Addresses) Stored(z *Zone, shown string) string {
	if suffix, ok := strings.CutPrefix(shown, a.Issuer(z)); ok && (suffix == "" || suffix == "/vault" || suffix == "/events") {
		return builtin + suffix
	}
	return shown
}
