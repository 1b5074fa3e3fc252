package password_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/password"
)

func TestChecksWhatItHashed(t *testing.T) {
	h := password.New(1, 1, time.Now)
	ctx := t.Context()
	secret := deputy.Conceal("four words in a row")
	hash, err := h.Hash(ctx, secret)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("the hash does not say what it cost: %s", hash)
	}
	again, err := h.Hash(ctx, secret)
	if err != nil || again == hash {
		t.Error("one password has one hash: it has no salt")
	}
	for text, want := range map[string]bool{"four words in a row": true, "four words in a ro": false, "": false, "Four words in a row": false} {
		if got, err := h.Check(ctx, hash, deputy.Conceal(text)); got != want || err != nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if ok, err := h.Check(ctx, "", secret); ok || err != nil {
		t.Errorf("nobody has a password: %v, %v", ok, err)
	}
}

func TestRefusesHashesOfAnotherMake(t *testing.T) {
	h := password.New(1, 1, time.Now)
	for _, hash := range []string{
		"plain", "$2b$12$abc", "$argon2id$v=19$m=999999999,t=2,p=1$AAAA$AAAA", "$argon2id$v=16$m=19456,t=2,p=1$AAAA$AAAA",
		"$argon2id$v=19$m=19456,t=0,p=1$AAAA$AAAA", "$argon2id$v=19$m=19456,t=2,p=1$AAAA$AAAA",
	} {
		if ok, err := h.Check(t.Context(), hash, deputy.Conceal("x")); ok || err == nil {
			t.Errorf("%s: %v, %v", hash, ok, err)
		}
	}
}

// TestTurnsAwayWhoCannotWait asks for many more hashes at once than there are
// places: the rest is told so, and no place is lost.
func TestTurnsAwayWhoCannotWait(t *testing.T) {
	h := password.New(1, 2, time.Now)
	var busy, done int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			_, err := h.Check(context.Background(), "", deputy.Conceal("x"))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				done++
			case errors.Is(err, deputy.TooMany):
				busy++
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if busy == 0 || done < 3 {
		t.Errorf("%d done, %d turned away", done, busy)
	}
	for range 3 {
		if _, err := h.Check(t.Context(), "", deputy.Conceal("x")); err != nil {
			t.Fatal("a place was lost: ", err)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, _ = h.Check(gone, "", deputy.Conceal("x"))
	if _, err := h.Check(t.Context(), "", deputy.Conceal("x")); err != nil {
		t.Fatal("who left took a place along: ", err)
	}
}

func TestRule(t *testing.T) {
	for text, want := range map[string]error{
		"short":                            password.ErrTooShort,
		"seven77":                          password.ErrTooShort,
		"äöüäöüß":                          password.ErrTooShort,
		strings.Repeat("long enough ", 11): password.ErrTooLong,
		"password":                         password.ErrTooCommon,
		"Password1":                        password.ErrTooCommon,
		"P@ssw0rd2026!":                    password.ErrTooCommon,
		"12345678":                         password.ErrTooCommon,
		"987654321":                        password.ErrTooCommon,
		"qwertyuiop":                       password.ErrTooCommon,
		"qwerty123456":                     password.ErrTooCommon,
		"1q2w3e4r5t":                       password.ErrTooCommon,
		"aaaaaaaa":                         password.ErrTooCommon,
		"abcabcabcabc":                     password.ErrTooCommon,
		"iloveyou!!":                       password.ErrTooCommon,
		"welcomehome":                      nil,
		"helloworld":                       nil,
		"trustnoone":                       password.ErrTooCommon,
		"lovelace":                         password.ErrTooCommon, // her name
		"lovelace1815":                     password.ErrTooCommon,
		"ada.lovelace@acme.example":        password.ErrTooCommon,
		"acmecorporation":                  password.ErrTooCommon, // the zone's
		"four words in a row":              nil,
		"tr0ub4dor&3":                      nil,
		"xk7-qmvz-22":                      nil,
		"日本語のパスワード":                        nil,
	} {
		if got := password.Rule(deputy.Conceal(text), "ada.lovelace@acme.example", "AcmeCorporation"); !errors.Is(got, want) || want == nil && got != nil {
			t.Errorf("%q: %v, not %v", text, got, want)
		}
	}
}

// TestRestsAfterSharingTheProcessor: what a hash took beyond the least that one
// takes it shared with other work, which gets twice as much in return.
func TestRestsAfterSharingTheProcessor(t *testing.T) {
	h := password.New(1, 1, time.Now)
	for _, c := range []struct {
		fastest    func(took time.Duration) time.Duration
		took, want time.Duration
	}{
		{h.Fastest, 30 * time.Millisecond, 0}, // nothing to compare it with
		{h.Fastest, 20 * time.Millisecond, 0},
		{h.Fastest, 30 * time.Millisecond, 20 * time.Millisecond},
		{h.Fastest, 40 * time.Millisecond, 40 * time.Millisecond},
		{h.Fastest, time.Hour, 80 * time.Millisecond}, // the whole process stood still
		{h.FastestOfFour, 80 * time.Millisecond, 0},
		{h.FastestOfFour, 90 * time.Millisecond, 20 * time.Millisecond},
	} {
		if got := password.Rest(c.took, c.fastest(c.took)).Round(time.Millisecond); got != c.want {
			t.Errorf("after %v it rests %v, not %v", c.took, got, c.want)
		}
	}
}

// TestNobodyHashesWhileASlotRests asks for a hash after one that, by the clock,
// took a thousand times as long as the one before.
func TestNobodyHashesWhileASlotRests(t *testing.T) {
	var clock time.Time
	var took time.Duration
	h := password.New(1, 1, func() time.Time { clock = clock.Add(took); return clock })
	for _, took = range []time.Duration{time.Minute, 1000 * time.Minute} {
		if _, err := h.Check(t.Context(), "", deputy.Conceal("x")); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := h.Check(ctx, "", deputy.Conceal("x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v while the slot rests", err)
	}
}
