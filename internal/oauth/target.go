package oauth

import (
	"net/url"
	"strings"

	"deputy/internal/deputy"
)

// target is the resource that a credential is asked for, and how it was asked
// for.
type target struct {
	*resource
	requested string
}

// audience returns the aud claim of a token for the target: the identifier, or
// where a prefix matched what was asked for and the identifier, because
// resource servers compare the first with their own URL.
func (t target) audience() []string {
	if t.requested == t.identifier {
		return []string{t.identifier}
	}
	return []string{t.requested, t.identifier}
}

// resolve returns the resource that an identifier names, or nil: the one of
// exactly that identifier, else the one of the longest prefix, else the one
// that differs in the slash of an empty path only, which URL libraries add.
func (s *snapshot) resolve(requested string) *resource {
	if r := s.exact[requested]; r != nil {
		return r
	}
	if len(requested) > deputy.MaxIdentifier {
		return nil // it would go into the token as it is
	}
	for _, n := range s.prefixes {
		if n >= len(requested) || !endsAt(requested, n) {
			continue
		}
		if r := s.exact[requested[:n]]; r != nil && r.Prefix && deputy.Covers(r.identifier, requested) {
			return r
		}
	}
	if bare, ok := strings.CutSuffix(requested, "/"); ok {
		if isOrigin(bare) {
			return s.exact[bare]
		}
	} else if isOrigin(requested) {
		return s.exact[requested+"/"]
	}
	return nil
}

// endsAt reports whether a prefix of n bytes ends at a boundary of the URL.
func endsAt(requested string, n int) bool {
	return n > 0 && requested[n-1] == '/' || strings.IndexByte("/?#", requested[n]) >= 0
}

// isOrigin reports whether s is a URL that ends with its authority.
func isOrigin(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && u.Path == "" && u.RawQuery == "" && u.Fragment == "" && !strings.ContainsAny(s, "?#")
}

// target returns what the identifiers ask for: the zone's default resource
// when there are none, and one at most (RFC 8707 §2).
func (s *snapshot) target(identifiers []string) (target, error) {
	if len(identifiers) == 0 {
		return s.defaultTarget()
	}
	requested := identifiers[0]
	for _, other := range identifiers[1:] {
		if other != requested {
			return target{requested: requested}, refuse(codeInvalidTarget, "A token is for one resource; more than one is requested.")
		}
	}
	r := s.resolve(requested)
	if r == nil {
		return target{requested: requested}, refuse(codeInvalidTarget, "Requested authorization for unknown resource %s", excerpt(requested))
	}
	return target{r, requested}, nil
}

// defaultTarget returns the resource of requests that name none.
func (s *snapshot) defaultTarget() (target, error) {
	var r *resource
	if id := s.zone.DefaultResourceID; id != nil {
		r = s.resources[*id]
	} else {
		r = s.exact[s.issuer]
	}
	if r == nil {
		return target{}, refuse(codeInvalidTarget, "No resource is requested and the zone has no default.")
	}
	return target{r, r.identifier}, nil
}

// signIn returns the zone's built-in resource of sign-in, whose identifier is
// the issuer; it is empty where there is none.
func (s *snapshot) signIn() deputy.ResourceID {
	if r := s.exact[s.issuer]; r != nil {
		return r.ID
	}
	return ""
}

// clip bounds text of a stranger that goes into an event.
func clip(s string) string {
	if len(s) > deputy.MaxIdentifier {
		return strings.ToValidUTF8(s[:deputy.MaxIdentifier], "")
	}
	return s
}

// excerpt returns text of a stranger for a message of one line.
func excerpt(s string) string {
	const most = 200
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return `"` + strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return ' '
		}
		return r
	}, s) + `"`
}
