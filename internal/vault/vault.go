package vault

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"deputy/internal/deputy"
)

// ErrRefused is the answer to a sealed value or wrapped key that was altered,
// moved, cut or made with another key: which of them cannot be told. It is
// internal: the database holds what we did not put there.
var ErrRefused = errors.New("vault: the ciphertext does not belong here")

// A sealed value is one version byte, the id of its data key, then nonce,
// ciphertext and tag.
const (
	version    = 1
	idLength   = 26
	headerSize = 1 + idLength
)

// maxDepth bounds the way from a data key to the root: longer than any tree we
// make, short enough that a row altered into a circle ends.
const maxDepth = 8

// Vault seals and opens. It is safe for concurrent use.
type Vault struct {
	// Now is the clock by which keys in memory are looked after: see Believed.
	// Without one, a key is believed until it is forgotten.
	Now func() time.Time

	ring  Keyring
	keys  deputy.DataKeys
	cache cache
}

// New returns a vault over the data keys that keys finds, those without a
// parent being wrapped by a key of the ring.
func New(ring Keyring, keys deputy.DataKeys) *Vault {
	return &Vault{ring: ring, keys: keys}
}

// New makes a data key for owner, wrapped by the data key parent, or by the
// root key if parent is empty. The caller inserts the row in its own
// transaction; the vault can already seal under the key, so that one
// transaction may hold a key and what is sealed under it.
func (v *Vault) New(ctx context.Context, owner, parent deputy.ID, now time.Time) (deputy.DataKey, error) {
	return v.make(ctx, deputy.DataKey{ID: deputy.NewID(now), OwnerID: owner, ParentID: parent, CreatedAt: now})
}

// NewUnder is New for a key that the key-encryption key kek wraps; the empty
// name is the root key.
func (v *Vault) NewUnder(ctx context.Context, owner deputy.ID, kek string, now time.Time) (deputy.DataKey, error) {
	return v.make(ctx, deputy.DataKey{ID: deputy.NewID(now), OwnerID: owner, KEK: kek, CreatedAt: now})
}

// Rewrap returns the row of a data key as the key-encryption key kek wraps it,
// the empty name being the root key. The data key is the same: what it seals
// needs no change.
func (v *Vault) Rewrap(ctx context.Context, row deputy.DataKey, kek string) (deputy.DataKey, error) {
	key, err := v.unwrapRooted(ctx, row)
	if err == nil {
		row.KEK = kek
		_, err = v.wrap(ctx, &row, key)
	}
	clear(key)
	if err != nil {
		return deputy.DataKey{}, fmt.Errorf("vault: wrap the key %s again: %w", row.ID, err)
	}
	return row, nil
}

func (v *Vault) make(ctx context.Context, row deputy.DataKey) (deputy.DataKey, error) {
	key := make([]byte, keySize)
	defer clear(key)
	if _, err := rand.Read(key); err != nil {
		return deputy.DataKey{}, fmt.Errorf("vault: make a key: %w", err)
	}
	for {
		epoch := v.cache.now()
		above, err := v.wrap(ctx, &row, key)
		if err != nil {
			return deputy.DataKey{}, fmt.Errorf("vault: wrap a key of %s: %w", row.OwnerID, err)
		}
		if v.cache.put(v.newDataKey(row, above, key), epoch) {
			return row, nil
		}
		// A key was dropped meanwhile, perhaps the parent: look again.
	}
}

// wrap sets row.Wrapped to key, and returns the data key that wraps it, which
// is nil below a key-encryption key.
func (v *Vault) wrap(ctx context.Context, row *deputy.DataKey, key []byte) (above *dataKey, err error) {
	if row.ParentID == "" {
		if row.KEK == "" {
			if row.KEK, err = v.ring.Current(ctx); err != nil {
				return nil, err
			}
		}
		kek, err := v.ring.KEK(ctx, row.KEK)
		if err != nil {
			return nil, err
		}
		row.Wrapped, err = kek.Wrap(ctx, key, ofKey(*row))
		return nil, err
	}
	above, err = v.find(ctx, row.ParentID, 1)
	if err != nil {
		return nil, err
	}
	row.Wrapped = above.aead.Seal(nil, nil, key, ofKey(*row))
	return above, nil
}

// Seal encrypts plain under the data key for place. A key that was destroyed
// answers deputy.NotFound.
func (v *Vault) Seal(ctx context.Context, key deputy.ID, place Place, plain []byte) ([]byte, error) {
	k, err := v.find(ctx, key, 0)
	if err != nil {
		return nil, fmt.Errorf("vault: seal %s.%s: %w", place.Table, place.Column, err)
	}
	sealed := make([]byte, headerSize, headerSize+len(plain)+k.aead.Overhead())
	sealed[0] = version
	copy(sealed[1:], key)
	return k.aead.Seal(sealed, nil, plain, ofValue(key, place)), nil
}

// SealedUnder returns which data key a value was sealed under; none for what is
// no sealed value.
func SealedUnder(sealed []byte) deputy.ID {
	if len(sealed) < headerSize || sealed[0] != version {
		return ""
	}
	return deputy.ID(sealed[1:headerSize])
}

// Open returns what was sealed for place. Anything else answers ErrRefused, a
// value whose key was destroyed deputy.NotFound.
func (v *Vault) Open(ctx context.Context, place Place, sealed []byte) ([]byte, error) {
	plain, err := v.open(ctx, place, sealed)
	if err != nil {
		return nil, fmt.Errorf("vault: open %s.%s: %w", place.Table, place.Column, err)
	}
	return plain, nil
}

func (v *Vault) open(ctx context.Context, place Place, sealed []byte) ([]byte, error) {
	if len(sealed) < headerSize || sealed[0] != version {
		return nil, ErrRefused
	}
	id := deputy.ID(sealed[1:headerSize])
	k, err := v.find(ctx, id, 0)
	if err != nil {
		return nil, err
	}
	plain, err := k.aead.Open(nil, nil, sealed[headerSize:], ofValue(id, place))
	if err != nil {
		return nil, ErrRefused
	}
	return plain, nil
}

// Forget drops the unwrapped data key id, and all keys beneath it, from memory.
// Every node calls it once the transaction that deleted the row has committed
// (not before: the row would be read again); until then a node that used the
// key lately can still open what it seals.
func (v *Vault) Forget(id deputy.ID) { v.cache.drop(id) }

// find returns the unwrapped data key id, from memory or by unwrapping it and
// the keys above it. depth counts the keys found beneath it in this call.
func (v *Vault) find(ctx context.Context, id deputy.ID, depth int) (*dataKey, error) {
	if k := v.cache.get(id); k != nil {
		return k, v.confirm(ctx, k)
	}
	if depth == maxDepth || !id.Valid() {
		return nil, ErrRefused
	}
	epoch := v.cache.now()
	row, err := v.keys.DataKey(ctx, id)
	if errors.Is(err, deputy.NotFound) {
		return nil, erased(err)
	}
	if err != nil {
		return nil, err
	}
	if row.ID != id {
		return nil, ErrRefused
	}
	k, err := v.unwrap(ctx, row, depth)
	if err != nil {
		return nil, err
	}
	v.cache.put(k, epoch)
	return k, nil
}

// unwrap returns the data key of a row.
func (v *Vault) unwrap(ctx context.Context, row deputy.DataKey, depth int) (*dataKey, error) {
	var above *dataKey
	var key []byte
	var err error
	if row.ParentID == "" {
		if key, err = v.unwrapRooted(ctx, row); err != nil {
			return nil, err
		}
	} else {
		if above, err = v.find(ctx, row.ParentID, depth+1); err != nil {
			return nil, err
		}
		if key, err = above.aead.Open(nil, nil, row.Wrapped, ofKey(row)); err != nil {
			return nil, fmt.Errorf("data key %s: %w", row.ID, ErrRefused)
		}
	}
	defer clear(key)
	if len(key) != keySize {
		return nil, ErrRefused
	}
	return v.newDataKey(row, above, key), nil
}

// unwrapRooted returns the bytes of a data key without a parent.
func (v *Vault) unwrapRooted(ctx context.Context, row deputy.DataKey) ([]byte, error) {
	kek, err := v.ring.KEK(ctx, row.KEK)
	if err != nil {
		return nil, fmt.Errorf("data key %s: %w", row.ID, err)
	}
	key, err := kek.Unwrap(ctx, row.Wrapped, ofKey(row))
	if err != nil {
		return nil, fmt.Errorf("data key %s: %w", row.ID, err)
	}
	return key, nil
}

// dataKey is an unwrapped data key.
type dataKey struct {
	id    deputy.ID
	above *dataKey // its parent, nil below a key-encryption key
	aead  cipher.AEAD
	// looked is when the row was last looked at, granted when a customer's key
	// last unwrapped it: microseconds.
	looked, granted atomic.Int64
}

func (v *Vault) newDataKey(row deputy.DataKey, above *dataKey, key []byte) *dataKey {
	k := &dataKey{id: row.ID, above: above, aead: newAEAD(key)}
	if v.Now != nil {
		now := v.Now().UnixMicro()
		k.looked.Store(now)
		k.granted.Store(now)
	}
	return k
}

// hangsOn reports whether k is the key id or beneath it.
func (k *dataKey) hangsOn(id deputy.ID) bool {
	for ; k != nil; k = k.above {
		if k.id == id {
			return true
		}
	}
	return false
}
