package keys

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
)

// rsaBits is the size of every RSA key we make.
const rsaBits = 2048

// Pool keeps RSA keys ready, because to find two primes takes a tenth of a
// second or more, and a zone should not wait for that. They are in memory only.
type Pool struct{ ready chan *rsa.PrivateKey }

// NewPool returns an empty pool for up to size keys, at least one. It fills
// while Run does.
func NewPool(size int) *Pool {
	// One more key waits in the hand of Run.
	return &Pool{ready: make(chan *rsa.PrivateKey, max(size, 1)-1)}
}

// Run fills the pool, one key at a time, until ctx ends; the key being made
// then delays the return by a fraction of a second. It errs only if no key can
// be made at all. To keep a start fast, run it after the listeners are up.
func (p *Pool) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		key, err := rsa.GenerateKey(rand.Reader, rsaBits)
		if err != nil {
			return err
		}
		select {
		case p.ready <- key:
		case <-ctx.Done():
		}
	}
	return nil
}

// Take returns a key that nobody else gets. When none is ready it makes one,
// unless ctx has ended.
func (p *Pool) Take(ctx context.Context) (*rsa.PrivateKey, error) {
	select {
	case key := <-p.ready:
		return key, nil
	default:
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return rsa.GenerateKey(rand.Reader, rsaBits)
}
