package bench_test

import (
	"slices"
	"testing"

	"deputy/internal/bench"

	"pgregory.net/rapid"
)

// Quantiles are at most 1/64 above the true value and never below it, however
// the values are spread and over however many histograms.
func TestQuantilesAreCloseToTheTruth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		magnitude := rapid.Custom(func(t *rapid.T) uint64 {
			return rapid.Uint64Range(0, 1<<rapid.IntRange(0, 41).Draw(t, "bits")).Draw(t, "value")
		})
		values := rapid.SliceOfN(magnitude, 1, 300).Draw(t, "values")
		var parts [3]bench.Histogram
		for i, v := range values {
			parts[i%3].Add(v)
		}
		var all bench.Histogram
		for i := range parts {
			all.Merge(&parts[i])
		}
		slices.Sort(values)
		for _, percent := range []int{0, 1, 50, 90, 99, 100} {
			rank := max((percent*len(values)+99)/100, 1) // the smallest that covers the share
			want := values[rank-1]
			got := all.Quantile(float64(percent) / 100)
			if got < want || got > want+want/64 {
				t.Fatalf("quantile %d%% of %v is %d, want %d to %d", percent, values, got, want, want+want/64)
			}
		}
	})
}

func TestAHistogramOfNothingIsZero(t *testing.T) {
	var h bench.Histogram
	if got := h.Quantile(0.99); got != 0 {
		t.Errorf("quantile of nothing is %d", got)
	}
	h.Add(1 << 63) // beyond the last bucket: counted, not lost and no panic
	if got := h.Quantile(0.5); got != 1<<42-1 {
		t.Errorf("an endless duration counts as %d", got)
	}
}
