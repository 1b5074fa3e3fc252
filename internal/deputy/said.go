package deputy

import "context"

// Said is where what a person agreed to is read: a store, a transaction, or what
// is remembered of either. Where there is nothing, the answer is NotFound or nil.
type Said interface {
	Grant(ctx context.Context, zone ZoneID, user UserID, resource ResourceID) (*Grant, error)
	Consent(ctx context.Context, zone ZoneID, user UserID, client ID, resource ResourceID) (*ConsentRecord, error)
}

// Withdrawn reports whether a person has taken back what they agreed to for a
// client, and has not agreed to anything for it since, or their newest grant for
// a resource was revoked and none is active. Client and resource may be empty,
// and count for nothing then.
func Withdrawn(ctx context.Context, in Said, zone ZoneID, user UserID, client ID, resource ResourceID) (bool, error) {
	g, err := in.Grant(ctx, zone, user, resource)
	switch {
	case err != nil && KindOf(err) != NotFound:
		return false, err
	case err == nil && g != nil && g.Status == Revoked:
		return true, nil
	}
	back, err := in.Consent(ctx, zone, user, client, "")
	if err != nil && KindOf(err) == NotFound {
		return false, nil
	}
	return back != nil && err == nil, err
}
