package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"

	"deputy/internal/deputy"
)

// The cost of new hashes. Those that exist say their own.
const (
	memory      = 19 << 10 // KiB
	passes      = 2
	parallelism = 1
	saltBytes   = 16
	hashBytes   = 32
)

// Hasher makes and checks hashes, a bounded number at once. It is safe for
// concurrent use.
type Hasher struct {
	now    func() time.Time
	places chan struct{} // one for each that works, rests or waits
	slots  chan struct{} // one for each that works or rests
	made   atomic.Uint64
	least  atomic.Int64 // the shortest that a hash took, in picoseconds for each KiB and pass; 0 before the first
}

// Made returns how many hashes were made, to keep or to compare.
func (h *Hasher) Made() uint64 { return h.made.Load() }

// New returns a Hasher that works on so many hashes at once and lets so many
// wait. By now it knows what a hash took.
func New(atOnce, waiting int, now func() time.Time) *Hasher {
	return &Hasher{now: now, places: make(chan struct{}, atOnce+waiting), slots: make(chan struct{}, atOnce)}
}

// errBusy says that as many wait as may.
var errBusy = deputy.Errorf(deputy.TooMany, "too many people sign in at the moment")

// hash works on a password once there is a slot for it. It is TooMany when too
// many wait already.
func (h *Hasher) hash(ctx context.Context, c cost, p deputy.Secret, salt []byte) ([]byte, error) {
	select {
	case h.places <- struct{}{}:
	default:
		return nil, errBusy
	}
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		<-h.places
		return nil, ctx.Err()
	}
	h.made.Add(1)
	start := h.now()
	sum := argon2.IDKey([]byte(p.Reveal()), salt, c.passes, c.memory, c.parallelism, hashBytes)
	took := h.now().Sub(start)
	time.AfterFunc(rest(took, h.fastest(c, took)), func() { <-h.slots; <-h.places })
	return sum, nil
}

// fastest returns how long a hash of this cost takes that has a processor to
// itself, as far as is known after one took so long.
func (h *Hasher) fastest(c cost, took time.Duration) time.Duration {
	work := int64(c.memory) * int64(c.passes)
	this := max(1, took.Nanoseconds()*1000/work)
	for {
		least := h.least.Load()
		if least != 0 && least <= this {
			return time.Duration(least * work / 1000)
		}
		if h.least.CompareAndSwap(least, this) {
			return took
		}
	}
}

// rest returns for how long the slot of a hash that took so long stays empty.
// One that was held up shared the processor, half and half with everything else
// that goes on, however many wait for that. It leaves twice the time that it was
// held up, so that tokens keep most of the processor while people sign in, and
// passwords have all of it while nothing else wants it.
func rest(took, fastest time.Duration) time.Duration {
	return min(2*(took-fastest), 4*fastest)
}

// Hash returns the hash of a password with all that checking it needs, in the
// form of the PHC strings: $argon2id$v=19$m=…,t=…,p=…$salt$hash.
func (h *Hasher) Hash(ctx context.Context, p deputy.Secret) (string, error) {
	salt := make([]byte, saltBytes)
	if _, err := rand.Read(salt); err != nil {
		panic(err) // crypto/rand does not fail on supported systems
	}
	c := cost{memory, passes, parallelism}
	sum, err := h.hash(ctx, c, p, salt)
	if err != nil {
		return "", err
	}
	return c.encode(salt, sum), nil
}

// Check reports whether p is the password of the hash. The empty hash is
// nobody's, and finding that out takes as long.
func (h *Hasher) Check(ctx context.Context, hash string, p deputy.Secret) (bool, error) {
	known := hash != ""
	if !known {
		hash = decoy
	}
	c, salt, want, err := decode(hash)
	if err != nil {
		return false, err
	}
	sum, err := h.hash(ctx, c, p, salt)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(sum, want) == 1 && known, nil
}

// decoy is a hash of no known password, as dear to check as any.
var decoy = cost{memory, passes, parallelism}.encode(make([]byte, saltBytes), make([]byte, hashBytes))

type cost struct {
	memory, passes uint32
	parallelism    uint8
}

func (c cost) encode(salt, hash []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.memory, c.passes, c.parallelism,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(hash))
}

// decode reads a hash. Those that we did not make are refused: their cost is
// not ours to pay.
func decode(encoded string) (c cost, salt, hash []byte, err error) {
	bad := fmt.Errorf("password: a stored hash cannot be read")
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return c, nil, nil, bad
	}
	var version int
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return c, nil, nil, bad
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &c.memory, &c.passes, &c.parallelism); err != nil {
		return c, nil, nil, bad
	}
	if c.memory > 8*memory || c.passes == 0 || c.passes > 8*passes || c.parallelism == 0 || c.parallelism > 8 {
		return c, nil, nil, bad
	}
	salt, err = base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil {
		return c, nil, nil, bad
	}
	hash, err = base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || len(hash) != hashBytes {
		return c, nil, nil, bad
	}
	return c, salt, hash, nil
}
