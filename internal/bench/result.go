package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// A Result is what one run measured. Latencies are microseconds, rates per
// second, memory kilobytes.
type Result struct {
	Scenario    string         `json:"scenario"`
	Label       string         `json:"label,omitempty"`
	Run         int            `json:"run"` // number of the turn, from 1; 0: the only one
	Concurrency int            `json:"concurrency"`
	RateTarget  float64        `json:"rate_target,omitzero"`
	Seconds     float64        `json:"seconds"`
	Requests    uint64         `json:"requests"` // answered, whatever the status
	OK          uint64         `json:"ok"`       // answered with the expected status
	PerSec      float64        `json:"ok_per_sec"`
	Errors      map[string]int `json:"errors,omitempty"` // requests without an answer, by reason
	Statuses    map[string]int `json:"statuses"`
	Bytes       int64          `json:"body_bytes"`
	Dials       int            `json:"dials"`
	MeanUS      float64        `json:"mean_us"`
	P50US       float64        `json:"p50_us"`
	P90US       float64        `json:"p90_us"`
	P99US       float64        `json:"p99_us"`
	P999US      float64        `json:"p999_us"`
	MaxUS       float64        `json:"max_us"`
	RSSBeforeKB int64          `json:"server_rss_before_kb,omitzero"`
	RSSPeakKB   int64          `json:"server_rss_peak_kb,omitzero"`
	ServerCPU   float64        `json:"server_cpu_cores,omitzero"`
	ServerWrite int64          `json:"server_write_bytes,omitzero"`
	GenCPU      float64        `json:"generator_cpu_cores"`
}

// latencies fills in the latency figures.
func (r *Result) latencies(h *histogram) {
	us := func(ns uint64) float64 { return float64(ns) / 1000 }
	r.MeanUS, r.MaxUS = us(h.mean()), us(h.max)
	r.P50US, r.P90US = us(h.quantile(0.50)), us(h.quantile(0.90))
	r.P99US, r.P999US = us(h.quantile(0.99)), us(h.quantile(0.999))
}

// Failed returns how many requests did not get the expected status.
func (r Result) Failed() uint64 {
	failed := r.Requests - r.OK
	for _, n := range r.Errors {
		failed += uint64(n)
	}
	return failed
}

// WrittenPerRequest returns the bytes the server wrote to disk for each
// answered request; 0 when it was not sampled.
func (r Result) WrittenPerRequest() float64 {
	if r.Requests == 0 {
		return 0
	}
	return float64(r.ServerWrite) / float64(r.Requests)
}

// WriteText writes the results as a table for people, one line each, and below
// it what went wrong.
func WriteText(w io.Writer, results ...Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "scenario\tconns\treq/s\tp50 ms\tp90 ms\tp99 ms\tRSS MB\tpeak MB\tserver CPU\twritten B/req\tfailed\t")
	for _, r := range results {
		fmt.Fprintf(t, "%s\t%d\t%.0f\t%.2f\t%.2f\t%.2f\t%s\t%s\t%s\t%s\t%d\t\n",
			r.name(), r.Concurrency, r.PerSec, r.P50US/1000, r.P90US/1000, r.P99US/1000,
			known("%.1f", float64(r.RSSBeforeKB)/1024), known("%.1f", float64(r.RSSPeakKB)/1024),
			known("%.2f", r.ServerCPU), known("%.0f", r.WrittenPerRequest()), r.Failed())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, r := range results {
		if r.Failed() == 0 {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s: answers %s; no answer: %s\n", r.name(), counts(r.Statuses), counts(r.Errors)); err != nil {
			return err
		}
	}
	return nil
}

// name returns scenario, label and turn as one word or a few.
func (r Result) name() string {
	parts := []string{r.Scenario}
	if r.Label != "" {
		parts = append(parts, r.Label)
	}
	if r.Run > 0 {
		parts = append(parts, fmt.Sprintf("#%d", r.Run))
	}
	return strings.Join(parts, " ")
}

// known formats a figure that is 0 when nobody measured it.
func known(format string, v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf(format, v)
}

// counts writes a tally in a stable order.
func counts(m map[string]int) string {
	if len(m) == 0 {
		return "none"
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%s × %d", k, m[k]))
	}
	return strings.Join(out, ", ")
}
