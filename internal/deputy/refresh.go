package deputy

import "time"

// RefreshFamily is what all refresh tokens of one authorization have in common:
// they follow each other, and only the newest is good. It belongs to the session
// of the client, and has its id.
type RefreshFamily struct {
	ZoneID    ZoneID
	SessionID SessionID
	ClientID  string // whose tokens they are
	// Generation counts the tokens; Current is the newest one's hash, Previous
	// that of the one before, under which Sealed opens: the newest, for its
	// holder, should the answer that brought it be lost.
	Generation int64
	Current    SecretHash
	Previous   []byte
	Sealed     []byte
	// Turns are when the latest tokens were replaced, in microseconds since 1970;
	// the last belongs to Previous.
	Turns []int64
	// Tag is the key by which a token of the family is known from a made-up one.
	Tag       []byte
	Data      []byte // what the person agreed to, as JSON
	CreatedAt time.Time
	ExpiresAt time.Time
}
