package deputy

import (
	"context"
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
	// Wrapped is the key's ciphertext, bound to ID, OwnerID and ParentID: none
	// of the four can change alone.
	Wrapped   []byte
	CreatedAt time.Time
}

// DataKeys finds data keys.
type DataKeys interface {
	// DataKey returns the key called id, or a NotFound error when there is
	// none, which means that it was destroyed.
	DataKey(ctx context.Context, id ID) (DataKey, error)
}
