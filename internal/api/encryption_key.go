package api

import (
	"context"
	"errors"

	"deputy/internal/deputy"
	"deputy/internal/vault"
)

// setEncryptionKey gives a zone the customer's key that a request names.
func (a *API) setEncryptionKey(z *deputy.Zone, key Nullable[EncryptionKey]) error {
	switch {
	case !key.Set:
		return nil
	case key.Null:
		z.EncryptionKey = nil
		return nil
	case !a.customers:
		return deputy.Bad("encryption_key", "this server has no access to a key management service")
	}
	z.EncryptionKey = &deputy.EncryptionKey{Type: key.V.Type, ARN: key.V.ARN}
	return nil
}

// patchZone changes a zone. A new encryption key wraps the zone's data key
// before the transaction, which is where it shows whether both keys can be used;
// the two change together.
func (a *API) patchZone(ctx context.Context, c *call, in *input[ZonePatch]) (*output[Zone], error) {
	z := *c.zone
	if err := a.setEncryptionKey(&z, in.Body.EncryptionKey); err != nil {
		return nil, err
	}
	var also []func(deputy.Tx) error
	if z.KEK() != c.zone.KEK() {
		if err := z.Validate(); err != nil {
			return nil, err
		}
		was, err := a.store.DataKey(ctx, z.KeyID)
		if err != nil {
			return nil, err
		}
		now, err := a.vault.Rewrap(ctx, was, z.KEK())
		if err != nil {
			return nil, keyFault(&z, err)
		}
		also = append(also, func(tx deputy.Tx) error { return tx.RewrapDataKey(ctx, was, now) })
	}
	d, err := zones.update(ctx, a, c, func(d *deputy.Zone) error {
		if also != nil {
			d.EncryptionKey = z.EncryptionKey
		}
		return changeZone(a, c, d, &in.Body)
	}, also...)
	if err != nil {
		return nil, err
	}
	return zones.view(a, c, d), nil
}

// keyFault tells the caller that a customer's key cannot be used, which is
// theirs to mend, from a service that does not answer.
func keyFault(z *deputy.Zone, err error) error {
	if errors.Is(err, vault.ErrRefused) {
		return deputy.Error{
			Kind: deputy.Invalid, Field: "encryption_key",
			Message: "the key, or the one before, may not be used by this server: see the organization's key policy",
		}.Because(err)
	}
	return err
}
