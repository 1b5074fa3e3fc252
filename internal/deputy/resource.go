package deputy

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// ApplicationType is the kind of client expected to present redirect URIs.
type ApplicationType string

// The application types.
const (
	Native ApplicationType = "native"
	Web    ApplicationType = "web"
)

// Bounds of a credential's lifetime, in seconds.
const (
	MinLifetime     = 60
	MaxLifetime     = 86400
	DefaultLifetime = 3600
)

// Resource is something protected that actors obtain credentials for. The
// identifiers of a zone's built-in resources are derived when read, from its
// issuer.
type Resource struct {
	ID                   ResourceID
	OrganizationID       OrganizationID
	ZoneID               ZoneID
	Owner                Owner
	Slug                 string
	Identifier           string // unique in the zone; URL, URN or bare name
	Name                 string
	Description          *string
	ApplicationType      ApplicationType
	Prefix               bool           // the identifier covers what extends it at a boundary
	Lifetime             *int           // credential_lifetime_seconds
	SigningAlg           *string        // signs this resource's tokens; nil: the zone's choice
	ApplicationID        *ApplicationID // who provides it
	CredentialProviderID *ProviderID
	Scopes               []string
	DocsURL              *string
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// Applied returns the scopes that an application asks an outside provider for, to
// act there by itself: what it has requested, or all that the resource declares
// where nothing of that is requested.
func (r *Resource) Applied(requested []string) []string {
	if slices.ContainsFunc(requested, func(s string) bool { return slices.Contains(r.Scopes, s) }) {
		return requested
	}
	return r.Scopes
}

// Validate checks the resource's own invariants.
func (r *Resource) Validate() error {
	if err := named(r.Identifier, r.Name, r.Description); err != nil {
		return err
	}
	if r.ApplicationType != Native && r.ApplicationType != Web {
		return Bad("application_type", "must be one of native, web")
	}
	if r.Lifetime != nil && (*r.Lifetime < MinLifetime || *r.Lifetime > MaxLifetime) {
		return Bad("credential_lifetime_seconds", "must be %d to %d", MinLifetime, MaxLifetime)
	}
	if a := r.SigningAlg; a != nil && *a != "RS256" && *a != "ES256" {
		return Bad("signing_alg", "must be one of RS256, ES256")
	}
	for _, s := range r.Scopes {
		if !ValidScope(s) {
			return Bad("scopes", "each scope must be one or more visible ASCII characters without quote or backslash")
		}
	}
	if r.DocsURL != nil {
		return URI("metadata.docs_url", *r.DocsURL)
	}
	return nil
}

// ValidScope reports whether s is a scope-token of RFC 6749 §3.3.
func ValidScope(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// Covers reports whether identifier, taken as a prefix, covers the requested
// URL: same scheme and host, and the request extends it at a path, query or
// fragment boundary. A request with dot segments or encoded separators is
// covered by nothing, because servers disagree about where it leads.
func Covers(identifier, requested string) bool {
	if !strings.HasPrefix(requested, identifier) {
		return false
	}
	rest := requested[len(identifier):]
	if rest == "" {
		return true
	}
	id, err := url.Parse(identifier)
	if err != nil || id.Host == "" {
		return false
	}
	// The identifier must reach past the authority, or the next character must
	// end it: https://a.co does not cover https://a.com, nor https://a.co:8443.
	boundary := rest[0] == '/' || rest[0] == '?' || rest[0] == '#' ||
		strings.HasSuffix(identifier, "/") && !strings.HasSuffix(identifier, "://")
	if !boundary {
		return false
	}
	req, err := url.Parse(requested)
	if err != nil || req.Scheme != id.Scheme || req.Host != id.Host || req.User != nil {
		return false
	}
	path, _, _ := strings.Cut(requested, "#")
	path, _, _ = strings.Cut(path, "?")
	lower := strings.ToLower(path)
	for _, trick := range []string{"%2e", "%2f", "%5c", "\\"} {
		if strings.Contains(lower, trick) {
			return false
		}
	}
	for _, segment := range strings.Split(strings.ReplaceAll(lower, "%3b", ";"), "/") {
		// Some servers leave out what follows a semicolon before they look for
		// dots.
		if segment, _, _ = strings.Cut(segment, ";"); segment == "." || segment == ".." {
			return false
		}
	}
	return true
}
