package bench

import (
	"bufio"
	"io"
)

// For tests alone: the parts that a run has no other door to.

type Histogram = histogram

func (h *histogram) Add(v uint64)              { h.add(v) }
func (h *histogram) Merge(o *histogram)        { h.merge(o) }
func (h *histogram) Quantile(q float64) uint64 { return h.quantile(q) }

// ReadResponse reads one answer and keeps its body.
func ReadResponse(r io.Reader) (status int, body []byte, last bool, err error) {
	var kept answer
	status, _, last, err = readResponse(bufio.NewReaderSize(r, 16<<10), &kept)
	return status, kept.body, last, err
}
