package api_test

import (
	"context"
	"os"
	"testing"
	"time"

	"deputy/internal/api"
	"deputy/internal/deputy"
	"deputy/internal/keys"
	"deputy/internal/vault"
)

type nostore struct{ deputy.Store }
type nosealing struct{ deputy.Sealing }

func TestScratch(t *testing.T) {
	ad, _ := deputy.NewAddresses("http://127.0.0.1:8080", "")
	start := time.Now()
	a, err := api.New(api.Config{Store: nostore{}, Addresses: ad, Vault: &vault.Vault{}, Pool: keys.NewPool(1), Sealing: nosealing{}, Now: time.Now,
		Authenticate: func(context.Context, string) (*deputy.Caller, error) { return nil, nil }})
	t.Log(time.Since(start))
	if err != nil {
		t.Fatal(err)
	}
	start = time.Now()
	d, err := a.Document()
	t.Log(time.Since(start), len(d))
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile("/tmp/openapi.json", d, 0o644)
}
