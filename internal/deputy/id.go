package deputy

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"time"
)

// ID is the identifier of any entity: 26 lower-case letters and digits, made
// by us, whose order is the order of creation to the millisecond. A zone's is
// also a DNS label.
type ID string

// Identifiers of one kind each; the compiler keeps them apart.
type (
	OrganizationID ID
	ZoneID         ID
	ApplicationID  ID
	CredentialID   ID
	ProviderID     ID
	ResourceID     ID
	UserID         ID
	SessionID      ID
	EventID        ID
)

// crockford leaves out i, l, o and u, so that ids read aloud well and sort as
// their bytes do.
var crockford = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID returns a fresh id: 48 bits of milliseconds since 1970, then 80 random
// bits.
func NewID(now time.Time) ID {
	// 130 bits are 26 characters; 16 bytes are 128 bits, so two zero bits lead:
	// the encoder pads at the end, hence the shift into 17 bytes.
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], uint64(now.UnixMilli())<<16)
	if _, err := rand.Read(raw[6:]); err != nil {
		panic(err) // crypto/rand does not fail on supported systems
	}
	return encodeID(raw)
}

// MinID returns the smallest id of the given millisecond: a bound for ranges
// of ids by time.
func MinID(t time.Time) ID {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], uint64(t.UnixMilli())<<16)
	return encodeID(raw)
}

// encodeID writes 128 bits as 26 base32 characters, most significant first:
// two zero bits, then the bytes.
func encodeID(raw [16]byte) ID {
	var wide [17]byte // raw shifted right by two bits; 130 of its 136 bits count
	for i, b := range raw {
		wide[i] |= b >> 2
		wide[i+1] = b << 6
	}
	var out [28]byte
	crockford.Encode(out[:], wide[:])
	return ID(out[:26])
}

// Time returns the millisecond at which the id was made; ok is false when id
// is not one of ours.
func (id ID) Time() (t time.Time, ok bool) {
	if !id.Valid() {
		return time.Time{}, false
	}
	var wide [17]byte
	padded := string(id) + "00"
	if _, err := crockford.Decode(wide[:], []byte(padded)[:28]); err != nil {
		return time.Time{}, false
	}
	var ms uint64
	for i := range 6 {
		ms = ms<<8 | uint64(wide[i]<<2|wide[i+1]>>6)
	}
	return time.UnixMilli(int64(ms)).UTC(), true
}

// Valid reports whether id has the form of an id. An odd id names nothing:
// callers answer as if it did not exist.
func (id ID) Valid() bool {
	if len(id) != 26 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
