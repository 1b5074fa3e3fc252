package deputy

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
)

// redacted is what a Secret shows of itself.
const redacted = "[redacted]"

// Secret is a text that prints, logs and marshals as "[redacted]"; the only way
// to read it is Reveal, which can be searched for. The zero Secret is empty.
type Secret struct {
	// A pointer, because fmt looks into unexported fields without calling
	// methods: from a struct that holds a Secret it can print an address only.
	text *string
	_    [0]func() // no ==, which would take time that depends on the text
}

// Conceal returns text as a Secret.
func Conceal(text string) Secret { return Secret{text: &text} }

// Reveal returns the text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether the text is empty.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// Equal reports whether two secrets are the same text, in time that depends on
// their lengths only.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// Format prints "[redacted]" whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue returns "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]", for JSON, XML and the like.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// alphanumerics need no escaping in a form, a header, a shell or a URL.
const alphanumerics = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// NewSecret returns a fresh client secret: 64 letters and digits, 381 bits.
func NewSecret() Secret { return Conceal(randomText(64)) }

// NewClientID returns a fresh client identifier: 21 letters and digits, 125
// bits, so that it is unique without asking anyone.
func NewClientID() string { return randomText(21) }

// randomText returns n characters, each of the 62 equally likely.
func randomText(n int) string {
	const fair = 256 - 256%len(alphanumerics) // bytes from here on would favour the first letters
	out := make([]byte, 0, n)
	var chunk [96]byte
	for {
		if _, err := rand.Read(chunk[:]); err != nil {
			panic(err) // crypto/rand does not fail on supported systems
		}
		for _, b := range chunk {
			if int(b) >= fair {
				continue
			}
			if out = append(out, alphanumerics[int(b)%len(alphanumerics)]); len(out) == n {
				return string(out)
			}
		}
	}
}

// SecretHash is what is stored of a secret that we made: its SHA-256. That is
// enough for at least 256 random bits, and never enough for a text that a
// person chose.
type SecretHash []byte

// HashSecret returns the hash of s.
func HashSecret(s Secret) SecretHash {
	sum := sha256.Sum256([]byte(s.Reveal()))
	return sum[:]
}

// Match reports whether s is the hashed secret, in constant time. No secret
// matches an empty hash.
func (h SecretHash) Match(s Secret) bool {
	sum := sha256.Sum256([]byte(s.Reveal()))
	return subtle.ConstantTimeCompare(h, sum[:]) == 1
}
