package deputy_test

import (
	"bytes"
	stdjson "encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"deputy/internal/deputy"
)

const canary = "canary-in-the-coal-mine"

func TestSecretsShowNothing(t *testing.T) {
	type holder struct {
		Name   string
		Secret deputy.Secret
		hidden deputy.Secret
		Many   []deputy.Secret
		Named  map[string]deputy.Secret
		Ptr    *deputy.Secret
	}
	s := deputy.Conceal(canary)
	h := holder{"n", s, s, []deputy.Secret{s}, map[string]deputy.Secret{"k": s}, &s}
	if h.hidden.Reveal() != canary {
		t.Fatal("the secret is not there to be leaked")
	}

	var shown bytes.Buffer
	for _, v := range []any{s, &s, h, &h, []any{h}, fmt.Errorf("wrapped: %v", s)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%U"} {
			fmt.Fprintf(&shown, verb+"\n", v)
		}
		for _, marshal := range []func() ([]byte, error){
			func() ([]byte, error) { return stdjson.Marshal(v) },
			func() ([]byte, error) { return stdjson.Marshal(map[string]any{"v": v}) },
		} {
			b, err := marshal()
			if err != nil {
				t.Fatal(err)
			}
			shown.Write(b)
		}
		for _, handler := range []slog.Handler{slog.NewJSONHandler(&shown, nil), slog.NewTextHandler(&shown, nil)} {
			slog.New(handler).Info("m", "v", v, slog.Group("g", "s", s))
		}
	}
	hexed := fmt.Sprintf("%x", canary)
	if out := shown.String(); strings.Contains(out, canary) || strings.Contains(strings.ToLower(out), hexed) {
		t.Fatalf("the secret shows:\n%s", out)
	}
	if b, _ := stdjson.Marshal(s); string(b) != `"[redacted]"` {
		t.Errorf("marshals as %s", b)
	}
}

func TestSecretsCompare(t *testing.T) {
	s := deputy.Conceal(canary)
	switch {
	case !s.Equal(deputy.Conceal(canary)):
		t.Error("equal secrets differ")
	case s.Equal(deputy.Conceal(canary + "x")), s.Equal(deputy.Secret{}):
		t.Error("different secrets are equal")
	case !(deputy.Secret{}).IsZero() || s.IsZero():
		t.Error("IsZero is wrong")
	}
}

func TestMadeSecretsAreRandomAlphanumerics(t *testing.T) {
	secretForm := regexp.MustCompile(`^[A-Za-z0-9]{64}$`)
	clientForm := regexp.MustCompile(`^[A-Za-z0-9]{21}$`)
	seen := map[string]bool{}
	count := map[rune]int{}
	for range 2000 {
		secret, client := deputy.NewSecret().Reveal(), deputy.NewClientID()
		if !secretForm.MatchString(secret) || !clientForm.MatchString(client) {
			t.Fatalf("odd form: %q %q", secret, client)
		}
		if seen[secret] || seen[client] {
			t.Fatal("a repetition")
		}
		seen[secret], seen[client] = true, true
		for _, c := range secret {
			count[c]++
		}
	}
	// 128,000 draws over 62 characters: 2,065 each, standard deviation 45.
	// Without rejection the first eight characters would come 2,500 times.
	for c, n := range count {
		if n < 1750 || n > 2380 {
			t.Errorf("%q came %d times of 128000", c, n)
		}
	}
	if len(count) != 62 {
		t.Errorf("%d different characters", len(count))
	}
}

func TestSecretHashMatchesItsSecretOnly(t *testing.T) {
	s := deputy.NewSecret()
	h := deputy.HashSecret(s)
	if len(h) != 32 || !h.Match(s) {
		t.Error("the secret does not match its hash")
	}
	for _, other := range []deputy.Secret{{}, deputy.NewSecret(), deputy.Conceal(s.Reveal() + "a"), deputy.Conceal(string(h))} {
		if h.Match(other) {
			t.Errorf("%d characters match another's hash", len(other.Reveal()))
		}
	}
	if (deputy.SecretHash{}).Match(deputy.Secret{}) || deputy.SecretHash(nil).Match(s) {
		t.Error("a secret matches no hash")
	}
}
