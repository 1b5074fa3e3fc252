package keys

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"runtime"
	"sync/atomic"
)

// rsaBits is the size of every RSA key we make.
const rsaBits = 2048

// Pool keeps RSA keys ready, because to find two primes takes a tenth of a
// second or more, and a zone should not wait for that. They are in memory only.
//
// It holds few keys until somebody finds it empty; then it holds twice as many,
// so that whoever makes many zones at once soon waits for none of them.
type Pool struct {
	ready  chan *rsa.PrivateKey // up to mostReady
	size   atomic.Int32         // how many are to be ready
	taken  chan struct{}        // holds a signal when one may be missing
	making chan struct{}        // held by callers who make one themselves
}

// mostReady bounds the keys that are ready.
const mostReady = 64

// NewPool returns an empty pool for up to size keys, at least one, for now. It
// fills while Run does.
func NewPool(size int) *Pool {
	p := &Pool{
		ready: make(chan *rsa.PrivateKey, mostReady), taken: make(chan struct{}, 1),
		making: make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
	p.size.Store(int32(min(max(size, 1), mostReady)))
	return p
}

// Run fills the pool, one key at a time, until ctx ends; the key being made
// then delays the return by a fraction of a second. It errs only if no key can
// be made at all. To keep a start fast, run it after the listeners are up.
func (p *Pool) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if len(p.ready) >= int(p.size.Load()) {
			select {
			case <-p.taken:
			case <-ctx.Done():
			}
			continue
		}
		key, err := rsa.GenerateKey(rand.Reader, rsaBits)
		if err != nil {
			return err
		}
		p.ready <- key // nobody else adds any, so there is room
	}
	return nil
}

// Take returns a key that nobody else gets. When none is ready it makes one,
// unless ctx has ended; no more callers than there are processors do so at a
// time, so that the first of many need not wait for the last.
func (p *Pool) Take(ctx context.Context) (*rsa.PrivateKey, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	defer func() {
		select {
		case p.taken <- struct{}{}:
		default:
		}
	}()
	select {
	case key := <-p.ready:
		return key, nil
	default:
	}
	p.grow()
	select {
	case key := <-p.ready:
		return key, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case p.making <- struct{}{}:
	}
	defer func() { <-p.making }()
	return rsa.GenerateKey(rand.Reader, rsaBits)
}

// grow doubles how many keys are to be ready.
func (p *Pool) grow() {
	n := p.size.Load()
	p.size.CompareAndSwap(n, min(2*n, mostReady)) // else somebody else has
}
