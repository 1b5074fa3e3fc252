package vault_test

import (
	"bytes"
	"errors"
	"testing"

	"deputy/internal/deputy"
	"deputy/internal/vault"
)

func TestUnderASecret(t *testing.T) {
	secret, place := deputy.NewSecret(), vault.Place{Zone: "z", Table: "t", Column: "c", Row: "r"}
	plain := []byte("what nobody else can read")
	sealed := vault.SealUnder(secret, place, plain)
	if bytes.Contains(sealed, plain) {
		t.Error("the plain text shows")
	}
	if got, err := vault.OpenUnder(secret, place, sealed); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("opened %q, %v", got, err)
	}
	if bytes.Equal(sealed, vault.SealUnder(secret, place, plain)) {
		t.Error("sealing twice gives the same")
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"another secret": func() ([]byte, error) { return vault.OpenUnder(deputy.NewSecret(), place, sealed) },
		"another row": func() ([]byte, error) {
			return vault.OpenUnder(secret, vault.Place{Zone: "z", Table: "t", Column: "c", Row: "s"}, sealed)
		},
		"another zone": func() ([]byte, error) {
			return vault.OpenUnder(secret, vault.Place{Zone: "y", Table: "t", Column: "c", Row: "r"}, sealed)
		},
		"changed": func() ([]byte, error) { return vault.OpenUnder(secret, place, changed) },
		"cut":     func() ([]byte, error) { return vault.OpenUnder(secret, place, sealed[:8]) },
		"nothing": func() ([]byte, error) { return vault.OpenUnder(secret, place, nil) },
	} {
		if got, err := open(); !errors.Is(err, vault.ErrRefused) || got != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
