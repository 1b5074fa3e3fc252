package password

import "time"

// Rest is how long a slot stays empty after a hash.
var Rest = rest

// Fastest is how long a hash that has a processor to itself takes, after one of
// the usual cost took so long.
func (h *Hasher) Fastest(took time.Duration) time.Duration {
	return h.fastest(cost{memory, passes, parallelism}, took)
}

// FastestOfFour is the same of a hash that costs four times as much.
func (h *Hasher) FastestOfFour(took time.Duration) time.Duration {
	return h.fastest(cost{2 * memory, 2 * passes, parallelism}, took)
}
