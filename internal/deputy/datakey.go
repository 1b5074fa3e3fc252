package deputy

import (
	"context"
	"strings"
	"time"
)

// DataKey is a key that encrypts values and further data keys, at rest: it is
// kept only wrapped. The platform, organizations, zones and users own data
// keys, each wrapped by its parent's; the rows form a tree below the root key,
// which is in no database. Deleting a row makes everything sealed beneath it
// unreadable for good, backups of the values included.
type DataKey struct {
	ID      ID
	OwnerID ID
	// ParentID is the data key that wraps this one; empty when the root key does.
	ParentID ID
	// KEK names the key-encryption key that wraps a key without a parent: a root
	// key by its fingerprint, or a customer's (see Zone.KEK). The empty name is
	// that of rows from before names were kept: the root key's of then.
	KEK string
	// Wrapped is the key's ciphertext, bound to ID, OwnerID and ParentID: none
	// of the four can change alone.
	Wrapped   []byte
	CreatedAt time.Time
}

// Rooted reports whether a root key wraps this key, and not another data key or
// a customer's key.
func (k DataKey) Rooted() bool { return k.ParentID == "" && !strings.HasPrefix(k.KEK, customerKEK) }

// DataKeys finds data keys.
type DataKeys interface {
	// DataKey returns the key called id, or a NotFound error when there is
	// none, which means that it was destroyed.
	DataKey(ctx context.Context, id ID) (DataKey, error)
}
