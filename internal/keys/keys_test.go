package keys_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"sync"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/keys"
	"deputy/internal/vault"
)

var start = time.Date(2026, 11, 24, 2, 23, 0, 0, time.UTC)

const owner deputy.ID = "01zone0000000000000000000a"

// dataKeys is a table of data keys.
type dataKeys map[deputy.ID]deputy.DataKey

func (d dataKeys) DataKey(_ context.Context, id deputy.ID) (deputy.DataKey, error) {
	row, ok := d[id]
	if !ok {
		return deputy.DataKey{}, deputy.Errorf(deputy.NotFound, "no such data key")
	}
	return row, nil
}

// fixture is a zone with one active key of each algorithm, and a second zone.
// The RSA keys take a while to make, so all tests share them.
type fixture struct {
	vault   *vault.Vault
	rows    dataKeys
	dataKey deputy.ID
	pool    *keys.Pool

	rsa, ec, other          deputy.SigningKey // other is the second zone's, ES256
	rsaSigner, ecSigner     *keys.Signer
	otherSigner             *keys.Signer
	rsaPrivate              *rsa.PrivateKey
	ecPrivate, otherPrivate *ecdsa.PrivateKey
}

var shared = sync.OnceValues(func() (*fixture, error) {
	ctx := context.Background()
	f := &fixture{rows: dataKeys{}, pool: keys.NewPool(1)}
	f.vault = vault.New(vault.NewRoot([32]byte{7}), f.rows)
	data, err := f.vault.New(ctx, owner, "", start)
	if err != nil {
		return nil, err
	}
	f.rows[data.ID], f.dataKey = data, data.ID
	make := func(owner deputy.ID, alg deputy.SigningAlgorithm) (s *keys.Signer, row deputy.SigningKey, private any) {
		if err != nil {
			return nil, deputy.SigningKey{}, nil
		}
		s, row, err = keys.Generate(ctx, f.vault, f.pool, keys.Spec{Owner: owner, DataKey: data.ID, Algorithm: alg, State: deputy.KeyActive, Now: start})
		if err == nil {
			private, err = f.private(ctx, row)
		}
		return s, row, private
	}
	var private any
	f.rsaSigner, f.rsa, private = make(owner, deputy.RS256)
	f.rsaPrivate, _ = private.(*rsa.PrivateKey)
	f.ecSigner, f.ec, private = make(owner, deputy.ES256)
	f.ecPrivate, _ = private.(*ecdsa.PrivateKey)
	f.otherSigner, f.other, private = make("01zone0000000000000000000b", deputy.ES256)
	f.otherPrivate, _ = private.(*ecdsa.PrivateKey)
	return f, err
})

func zone(t testing.TB) *fixture {
	t.Helper()
	f, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// private reads a row's private key, as only the vault's owner can.
func (f *fixture) private(ctx context.Context, row deputy.SigningKey) (crypto.PrivateKey, error) {
	der, err := f.vault.Open(ctx, vault.Place{Zone: deputy.ZoneID(row.OwnerID), Table: "signing_keys", Column: "sealed", Row: row.ID}, row.Sealed)
	if err != nil {
		return nil, err
	}
	return x509.ParsePKCS8PrivateKey(der)
}

// set is the zone's set at a time.
func (f *fixture) set(t testing.TB, at time.Time, rows ...deputy.SigningKey) *keys.Set {
	t.Helper()
	if len(rows) == 0 {
		rows = []deputy.SigningKey{f.rsa, f.ec}
	}
	s, err := keys.NewSet(rows, at)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
