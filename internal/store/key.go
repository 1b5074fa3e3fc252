package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"deputy/internal/deputy"
)

var dataKeys = declare(table[deputy.DataKey]{
	relation: relation{name: "data_keys", noun: "data key"},
	fields: func(k *deputy.DataKey) []field {
		return []field{
			{"id", &k.ID},
			{"owner_id", &k.OwnerID},
			{"parent_id", &k.ParentID},
			{"kek", &k.KEK},
			{"wrapped", &k.Wrapped},
			{"created_at", micros{&k.CreatedAt}},
		}
	},
	stamp: func(*deputy.DataKey) (*int64, *time.Time) { return nil, nil },
})

var signingKeys = declare(table[deputy.SigningKey]{
	relation: relation{name: "signing_keys", noun: "signing key"},
	fields: func(k *deputy.SigningKey) []field {
		return []field{
			{"owner_id", &k.OwnerID},
			{"id", &k.ID},
			{"algorithm", &k.Algorithm},
			{"state", &k.State},
			{"public", raw{&k.Public}},
			{"sealed", &k.Sealed},
			{"created_at", micros{&k.CreatedAt}},
			{"activated_at", optionalMicros{&k.ActivatedAt}},
			{"retired_at", optionalMicros{&k.RetiredAt}},
		}
	},
	stamp: func(*deputy.SigningKey) (*int64, *time.Time) { return nil, nil },
})

// keysOf returns the signing keys of an owner, oldest first.
func keysOf(ctx context.Context, q querier, owner deputy.ID) ([]deputy.SigningKey, error) {
	found, err := signingKeys.many(ctx, q, "owner_id = $1 ORDER BY created_at, id", string(owner))
	keys := make([]deputy.SigningKey, len(found))
	for i, k := range found {
		keys[i] = *k
	}
	return keys, err
}

// changedKeys notes that the keys of an owner changed, if it is a zone.
func (x *tx) changedKeys(owner deputy.ID) error {
	err := x.changed(x.ctx, change{deputy.ZoneID(owner), deputy.ChangedKeys, ""})
	if deputy.KindOf(err) == deputy.NotFound {
		return nil // the platform's own
	}
	return err
}

func (x *tx) InsertDataKey(_ context.Context, k deputy.DataKey) error {
	if k.Rooted() {
		if err := x.rootInForce(k.KEK); err != nil {
			return err
		}
	}
	return dataKeys.insert(x.ctx, x, &k)
}

// rootInForce checks that a root key is the one in force, until the end of the
// transaction: what the one before wraps would be lost with it.
func (x *tx) rootInForce(kek string) error {
	var known string
	err := row(x.ctx, x, "SELECT value FROM meta WHERE name = $1"+x.store.d.forShare, []any{MetaRootKey}, &known)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // a store by itself knows no root key
	}
	if err == nil && known != kek {
		err = deputy.Errorf(deputy.Unavailable, "the root key has been replaced meanwhile, try again")
	}
	return err
}

func (x *tx) RewrapDataKey(_ context.Context, was, now deputy.DataKey) error {
	if now.Rooted() {
		if err := x.rootInForce(now.KEK); err != nil {
			return err
		}
	}
	n, err := x.exec(x.ctx, "UPDATE data_keys SET wrapped = $1, kek = $2 WHERE id = $3 AND wrapped = $4", now.Wrapped, now.KEK, string(was.ID), was.Wrapped)
	if err != nil || n > 0 {
		return err
	}
	if _, err := dataKeys.one(x.ctx, x, "id = $1", string(was.ID)); err != nil {
		return err
	}
	return deputy.Errorf(deputy.Conflict, "the key was wrapped anew meanwhile, try again")
}

// destroyKey forgets all that was sealed under the key of somebody who is gone.
func (x *tx) destroyKey(ctx context.Context, id, owner deputy.ID) error {
	n, err := x.exec(ctx, "DELETE FROM data_keys WHERE id = $1 AND owner_id = $2", string(id), string(owner))
	if n > 0 {
		x.destroyed = append(x.destroyed, id)
	}
	return err
}

func (x *tx) InsertSigningKey(_ context.Context, k deputy.SigningKey) error {
	if err := signingKeys.insert(x.ctx, x, &k); err != nil {
		return err
	}
	return x.changedKeys(k.OwnerID)
}

func (x *tx) UpdateSigningKey(_ context.Context, k deputy.SigningKey) error {
	old, err := signingKeys.one(x.ctx, x, "owner_id = $1 AND id = $2"+x.store.d.forUpdate, string(k.OwnerID), k.ID)
	if err != nil {
		return err
	}
	before, err := signingKeys.values(old)
	if err != nil {
		return err
	}
	if err := signingKeys.write(x.ctx, x, &k, before, deputy.Scope{}, deputy.ID(k.ID)); err != nil {
		return err
	}
	return x.changedKeys(k.OwnerID)
}

func (x *tx) DeleteSigningKey(_ context.Context, owner deputy.ID, id string) error {
	n, err := x.exec(x.ctx, "DELETE FROM signing_keys WHERE owner_id = $1 AND id = $2", string(owner), id)
	if err != nil {
		return err
	}
	if n == 0 {
		return absent(signingKeys.noun)
	}
	return x.changedKeys(owner)
}
