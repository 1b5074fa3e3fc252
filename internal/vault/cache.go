package vault

import (
	"maps"
	"sync"

	"deputy/internal/deputy"
)

// generation is how many keys are used before one that was not is forgotten.
// At most twice as many are in memory, about a kilobyte each.
const generation = 2048

// cache holds unwrapped data keys in two generations: keys in use move to the
// young one, and when that is full it becomes the old one, whose predecessor is
// dropped. So reading takes a shared lock only, and a key just put stays for a
// while whatever else is used, which Vault.New relies on.
type cache struct {
	mu         sync.RWMutex
	young, old map[deputy.ID]*dataKey
	epoch      uint64 // counts drops
}

// now returns the epoch, to be taken before the row of a key is read.
func (c *cache) now() uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.epoch
}

// get returns the key, or nil.
func (c *cache) get(id deputy.ID) *dataKey {
	c.mu.RLock()
	k, epoch := c.young[id], c.epoch
	aging := k == nil
	if aging {
		k = c.old[id]
	}
	c.mu.RUnlock()
	if aging && k != nil {
		c.put(k, epoch)
	}
	return k
}

// put keeps k, unless a key was dropped since epoch: it may have been k, read
// just before its row was deleted. It reports whether it kept k.
func (c *cache) put(k *dataKey, epoch uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch != c.epoch {
		return false
	}
	if c.young == nil || len(c.young) >= generation {
		c.young, c.old = make(map[deputy.ID]*dataKey), c.young
	}
	c.young[k.id] = k
	return true
}

// drop forgets the key id and all that hang on it.
func (c *cache) drop(id deputy.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	doomed := func(_ deputy.ID, k *dataKey) bool { return k.hangsOn(id) }
	maps.DeleteFunc(c.young, doomed)
	maps.DeleteFunc(c.old, doomed)
}
