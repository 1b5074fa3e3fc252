package bench

import (
	"context"
	"fmt"
	"io"
	"slices"

	"deputy/internal/deputy"
)

// A Comparison is a load and its floor, measured in turn.
type Comparison struct {
	Server []Result // one a turn
	Floor  []Result
	// Rate is the median over the turns of the server's rate divided by the
	// floor's; Tail the same of p99/p50, so 1 is as even as the floor and more
	// is worse.
	Rate, Tail float64
}

// Compare runs the two loads in turn, so that whatever else the machine does
// meets both, and divides what belongs to the same turn. Results are labelled
// "floor" where they are the floor's. An error ends it; what was measured until
// then is returned.
func Compare(ctx context.Context, server, floor Load, turns int) (Comparison, error) {
	var c Comparison
	if turns < 1 {
		return c, deputy.Bad("turns", "want at least one turn")
	}
	floor.Scenario, floor.Label = server.Scenario, "floor"
	for turn := range turns {
		f, err := Run(ctx, floor)
		if err != nil {
			return c, err
		}
		s, err := Run(ctx, server)
		if err != nil {
			return c, err
		}
		c.add(s, f, turn+1)
	}
	return c, nil
}

// add takes in the results of one turn.
func (c *Comparison) add(server, floor Result, turn int) {
	server.Run, floor.Run = turn, turn
	c.Server, c.Floor = append(c.Server, server), append(c.Floor, floor)
	var rates, tails []float64
	for i, s := range c.Server {
		f := c.Floor[i]
		rates = append(rates, ratio(s.PerSec, f.PerSec))
		tails = append(tails, ratio(ratio(s.P99US, s.P50US), ratio(f.P99US, f.P50US)))
	}
	c.Rate, c.Tail = median(rates), median(tails)
}

// Add takes in further turns, for loads that must be made anew for each.
func (c *Comparison) Add(more Comparison) {
	for i := range more.Server {
		c.add(more.Server[i], more.Floor[i], len(c.Server)+1)
	}
}

// Results returns every result in the order it was measured.
func (c Comparison) Results() []Result {
	var out []Result
	for i := range c.Server {
		out = append(out, c.Floor[i], c.Server[i])
	}
	return out
}

// WriteText writes the results as a table and the two ratios below it.
func (c Comparison) WriteText(w io.Writer) error {
	if err := WriteText(w, c.Results()...); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "median of %d turns: rate %.2f of the floor, p99/p50 %.2f of the floor's\n", len(c.Server), c.Rate, c.Tail)
	return err
}

// ratio returns a/b, and 0 when there is no b to speak of.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// median returns the middle value, or the mean of the two in the middle; 0 of
// none.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
