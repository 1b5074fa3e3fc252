package deputy

import "strings"

// AnySubject is the identifier of a token credential that takes any subject of
// its provider.
const AnySubject = "*"

// IsPattern reports whether the subject of a token credential stands for
// several: it has a star, and is not one alone, which stands for all.
func (c *Credential) IsPattern() bool {
	return c.Subject != nil && *c.Subject != AnySubject && strings.Contains(*c.Subject, "*")
}

// Fits reports whether a token credential takes a subject of its provider.
func (c *Credential) Fits(subject string) bool {
	return c.Identifier == AnySubject || c.Identifier == subject || c.IsPattern() && MatchSubject(*c.Subject, subject)
}

// MatchSubject reports whether a subject fits a pattern, in which a star stands
// for any run of characters, also for none.
func MatchSubject(pattern, subject string) bool {
	first, rest, several := strings.Cut(pattern, "*")
	subject, ok := strings.CutPrefix(subject, first)
	if !ok || !several {
		return ok && subject == ""
	}
	for {
		part, more, goesOn := strings.Cut(rest, "*")
		if !goesOn {
			return strings.HasSuffix(subject, part)
		}
		// The earliest place leaves most to what follows.
		i := strings.Index(subject, part)
		if i < 0 {
			return false
		}
		subject, rest = subject[i+len(part):], more
	}
}

// BestPatterns returns those of the credentials whose patterns a subject fits
// and that have the longest text before their first star.
func BestPatterns(all []*Credential, subject string) (best []*Credential) {
	longest := -1
	for _, c := range all {
		if !c.IsPattern() || !MatchSubject(*c.Subject, subject) {
			continue
		}
		n := strings.IndexByte(*c.Subject, '*')
		if n > longest {
			best, longest = nil, n
		}
		if n == longest {
			best = append(best, c)
		}
	}
	return best
}
