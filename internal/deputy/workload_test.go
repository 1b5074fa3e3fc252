package deputy_test

import (
	"testing"

	"deputy/internal/deputy"
)

func TestMatchSubject(t *testing.T) {
	for _, c := range []struct {
		pattern, subject string
		want             bool
	}{
		{"org:app:*", "org:app:machine", true},
		{"org:app:*", "org:app:", true},
		{"org:app:*", "org:app", false},
		{"org:app:*", "org:apple:x", false},
		{"org:app:*", "xorg:app:x", false},
		{"*:prod", "a:prod", true},
		{"*:prod", "a:prod:x", false},
		{"a*a", "a", false},
		{"a*a", "aa", true},
		{"a*b*c", "aXbYc", true},
		{"a*b*c", "aXcYb", false},
		{"a*bc*bc", "abc", false},
		{"a*bc*bc", "abcbc", true},
		{"a**b", "ab", true},
		{"**", "", true},
		{"plain", "plain", true},
		{"plain", "plainer", false},
		{"repo:o/*:ref:refs/heads/main", "repo:o/r:ref:refs/heads/main", true},
		{"repo:o/*:ref:refs/heads/main", "repo:o/r:ref:refs/heads/main2", false},
		{"?", "a", false},
		{"[a]*", "a", false},
		{"*é*", "caféx", true},
	} {
		if got := deputy.MatchSubject(c.pattern, c.subject); got != c.want {
			t.Errorf("%q on %q: %t", c.pattern, c.subject, got)
		}
	}
}
