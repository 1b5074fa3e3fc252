package oauth_test

import (
	"slices"
	"strings"
	"testing"

	"deputy/internal/oauth"
)

// Assertions come from anybody: whatever is read is a compact JWS of an
// algorithm that verifies with a public key.
func FuzzAssertion(f *testing.F) {
	key := newOutsideKey("one", "ES256")
	for _, token := range []string{
		key.token(map[string]any{"iss": "a", "sub": "a", "aud": []string{"b"}, "exp": 1e300, "iat": -1.5, "jti": "c"}),
		jws(`{"alg":"none"}`, `{}`, func([]byte) []byte { return nil }),
		jws(`{"alg":"HS256","crit":["x"]}`, `{"aud":null}`, hs256([]byte("x"))),
		jws(`{"alg":"ES256","alg":"RS256","typ":1}`, `[]`, hs256(nil)), "..", "a.b", "",
	} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		alg, err := oauth.ReadOutside(token)
		if err != nil {
			return
		}
		if !slices.Contains([]string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}, alg) {
			t.Errorf("%q is of %q", token, alg)
		}
		if strings.Count(token, ".") != 2 || len(token) > 16<<10 {
			t.Errorf("%q is no compact JWS", token)
		}
	})
}

// The one unsigned token that is taken says one thing, in one way.
func FuzzSubstitute(f *testing.F) {
	good := substitute("zoe@example.test")
	for _, token := range []string{good, good + "x", strings.TrimSuffix(good, "."), "..", "a.b.", jws(`{"alg":"none","typ":"JWT"}`, `{"sub":"x"}`, func([]byte) []byte { return nil })} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		sub, err := oauth.ReadSubstitute(token)
		if err != nil {
			return
		}
		if sub == "" || !strings.HasSuffix(token, ".") || strings.Count(token, ".") != 2 {
			t.Errorf("%q means %q", token, sub)
		}
		if again, err := oauth.ReadSubstitute(substitute(sub)); err != nil || again != sub {
			t.Errorf("%q means %q, which written anew means %q, %v", token, sub, again, err)
		}
	})
}
