package bench

import (
	"math"
	"math/bits"
)

// A histogram counts durations in nanoseconds with a bounded relative error, as
// HdrHistogram does: up to 2^precision every value has its own bucket, beyond
// that each power of two is divided into 2^(precision-1) buckets. A quantile is
// the upper edge of its bucket, so it is never below the true value and at most
// 1/64 above it. Values past the last bucket count as the longest duration.
type histogram struct {
	n, sum, max uint64
	buckets     [buckets]uint64
}

const (
	precision = 7
	half      = 1 << (precision - 1)
	longest   = 1<<42 - 1 // 73 minutes: more than MaxTime
	buckets   = half * (42 - precision + 2)
)

// bucketOf returns the bucket of v: its power of two and the precision-1 bits
// below the leading one.
func bucketOf(v uint64) int {
	shift := max(bits.Len64(v)-precision, 0)
	return shift*half + int(v>>shift)
}

// edge returns the largest value of bucket b.
func edge(b int) uint64 {
	shift := max(b/half-1, 0)
	return (uint64(b-shift*half)+1)<<shift - 1
}

func (h *histogram) add(v uint64) {
	v = min(v, longest)
	h.n++
	h.sum += v
	h.max = max(h.max, v)
	h.buckets[bucketOf(v)]++
}

func (h *histogram) merge(o *histogram) {
	h.n += o.n
	h.sum += o.sum
	h.max = max(h.max, o.max)
	for i, n := range o.buckets {
		h.buckets[i] += n
	}
}

// quantile returns a value that at least the share q of all values does not
// exceed; 0 when there are none.
func (h *histogram) quantile(q float64) uint64 {
	rank := uint64(max(math.Ceil(q*float64(h.n)), 1))
	var seen uint64
	for b, n := range h.buckets {
		if seen += n; seen >= rank {
			return min(edge(b), h.max)
		}
	}
	return h.max
}

func (h *histogram) mean() uint64 {
	if h.n == 0 {
		return 0
	}
	return h.sum / h.n
}
