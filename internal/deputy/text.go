package deputy

import (
	"crypto/rand"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Longest accepted texts, in characters.
const (
	MaxName        = 255
	MaxIdentifier  = 2048
	MaxDescription = 2048
	MaxSlug        = 63
)

var htmlTag = regexp.MustCompile(`<[A-Za-z/!?][^>]*>`)

// SafeText checks that s has min to max characters and holds neither HTML tags
// nor control characters. It returns an Invalid error naming field.
func SafeText(field, s string, min, max int) error {
	if !utf8.ValidString(s) {
		return Bad(field, "must be valid UTF-8")
	}
	if n := utf8.RuneCountInString(s); n < min || n > max {
		return Bad(field, "must be %d to %d characters long", min, max)
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return Bad(field, "must not contain control characters")
	}
	if htmlTag.MatchString(s) {
		return Bad(field, "must not contain HTML tags")
	}
	return nil
}

// URI checks that s is an absolute URI of at most 2048 characters. It returns
// an Invalid error naming field.
func URI(field, s string) error {
	if err := SafeText(field, s, 1, MaxIdentifier); err != nil {
		return err
	}
	u, err := url.Parse(s)
	if err != nil || !u.IsAbs() || (u.Host == "" && u.Opaque == "" && u.Path == "") {
		return Bad(field, "must be an absolute URI")
	}
	return nil
}

// Slug derives a URL-safe name of at most 63 characters from name. It is
// never empty: a name without a letter or digit gives fallback.
func Slug(name, fallback string) string {
	var b strings.Builder
	dash := false
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			if dash && b.Len() > 0 {
				b.WriteByte('-')
			}
			dash = false
			b.WriteRune(r)
		default:
			dash = true
		}
		if b.Len() >= MaxSlug-8 { // room for the suffix of NextSlug
			break
		}
	}
	if b.Len() == 0 {
		return fallback
	}
	return b.String()
}

// NextSlug returns slug with a random suffix, for when slug is taken.
func NextSlug(slug string) string {
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	var raw [5]byte
	if _, err := rand.Read(raw[:]); err != nil {
		panic(err)
	}
	for i, b := range raw {
		raw[i] = alphabet[b&31]
	}
	return slug + "-" + string(raw[:])
}
