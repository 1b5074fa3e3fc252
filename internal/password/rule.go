package password

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"deputy/internal/deputy"
)

// How many characters a password has. Composition is not ruled: length is what
// helps (NIST SP 800-63B §5.1.1.2).
const (
	Shortest = 8
	Longest  = 128
)

// Why a password is refused.
var (
	ErrTooShort  = errors.New("the password is too short")
	ErrTooLong   = errors.New("the password is too long")
	ErrTooCommon = errors.New("the password is one of the first to be tried")
)

// Rule returns nil when p may be a new password, of a person about whom an
// attacker knows these things: the parts of an e-mail address, the name of the
// zone.
func Rule(p deputy.Secret, known ...string) error {
	text := p.Reveal()
	switch n := utf8.RuneCountInString(text); {
	case n < Shortest:
		return ErrTooShort
	case n > Longest || len(text) > 4*Longest:
		return ErrTooLong
	case guessable(strings.ToLower(text), known):
		return ErrTooCommon
	}
	return nil
}

// guessable reports whether a password, in lower case, is all of one kind of
// what people choose first: a repetition, a walk along the alphabet, the digits
// or the keyboard, a common word or something known about them, with digits and
// signs behind or before.
func guessable(text string, known []string) bool {
	core := strings.TrimFunc(text, func(r rune) bool { return !unicode.IsLetter(r) })
	if core == "" {
		core = text
	}
	plain := unleet.Replace(core)
	for _, s := range []string{text, core, plain} {
		if repeats(s) || walks(s) {
			return true
		}
		if commonWords[s] {
			return true
		}
	}
	// Two common words in a row are as common as one.
	for i := 3; i <= len(plain)-3; i++ {
		if commonWords[plain[:i]] && commonWords[plain[i:]] {
			return true
		}
	}
	for _, about := range known {
		for _, part := range strings.FieldsFunc(strings.ToLower(about), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			if utf8.RuneCountInString(part) >= 3 && (core == part || plain == part || strings.Trim(text, "0123456789!.?-_") == part) {
				return true
			}
		}
		if text == strings.ToLower(about) {
			return true
		}
	}
	return false
}

// unleet undoes what people take for a disguise.
var unleet = strings.NewReplacer("0", "o", "1", "i", "3", "e", "4", "a", "5", "s", "7", "t", "8", "b", "@", "a", "$", "s", "!", "i")

// repeats reports whether s is one piece of at most four bytes again and again.
func repeats(s string) bool {
	for n := 1; n <= 4 && n <= len(s)/2; n++ {
		if strings.Repeat(s[:n], len(s)/n+1)[:len(s)] == s {
			return true
		}
	}
	return false
}

// rows are what fingers walk along.
var rows = []string{
	"abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl", "qsdfghjklm", "zxcvbnm", "yxcvbnm", "wxcvbn",
	"1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p", "qazwsxedcrfvtgbyhnujmikolp", "1q2w3e4r5t6y7u8i9o0p",
}

// walks reports whether s consists of at most two walks along rows, either way.
func walks(s string) bool {
	for range 2 {
		s = s[walk(s):]
		if s == "" {
			return true
		}
	}
	return false
}

// walk returns the length of the longest walk that s begins with, at least
// three steps, else 0.
func walk(s string) int {
	longest := 0
	for _, row := range rows {
		for _, way := range []string{row, backward(row)} {
			for n := len(s); n > max(longest, 2); n-- {
				if strings.Contains(way, s[:n]) {
					longest = n
					break
				}
			}
		}
	}
	return longest
}

func backward(s string) string {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

// commonWords are words that passwords of one word are made of.
var commonWords = func() map[string]bool {
	out := make(map[string]bool)
	for _, w := range strings.Fields(`
		password passwort passwd pass passw passwords secret geheim hunter letmein welcome willkommen hello hallo login logon signin admin administrator
		root user username guest test tester testing demo example sample default changeme change new newpass temp temporary
		iloveyou love lovely loveme baby angel princess prince sunshine flower butterfly summer winter spring autumn fall sommer
		monday tuesday wednesday thursday friday saturday sunday january february march april may june july august september october november december
		football fussball soccer baseball basketball hockey tennis golf dragon monkey tiger lion shadow master batman superman spiderman pokemon starwars matrix
		computer internet server windows linux google facebook apple samsung microsoft github amazon company office business work
		money freedom whatever trustno trust nothing something anything everything cheese chocolate cookie pepper ginger banana orange coffee
		michael jordan jennifer jessica thomas daniel andrew robert charlie george william maggie michelle nicole ashley anthony
		qwerty qwertz azerty asdf access secure security private killer ninja mustang ferrari porsche harley jesus heaven blessed
		correct horse battery staple the my is me you it in one two three deputy agent identity`) {
		out[w] = true
	}
	return out
}()
