package evidence

import "golang.org/x/mod/sumdb/tlog"

// tree takes in leaves one by one and knows the root at every moment, in memory
// that grows with the logarithm of its size: it keeps the complete subtrees
// along the right edge, of strictly falling height.
type tree struct {
	size  int64
	edges []tlog.Hash
}

// add appends a leaf.
func (t *tree) add(leaf tlog.Hash) {
	h := leaf
	for n := t.size; n&1 == 1; n >>= 1 {
		last := len(t.edges) - 1
		h, t.edges = tlog.NodeHash(t.edges[last], h), t.edges[:last]
	}
	t.edges = append(t.edges, h)
	t.size++
}

// root returns the hash of the tree (RFC 6962 §2.1); of an empty one that of
// nothing.
func (t *tree) root() tlog.Hash {
	if t.size == 0 {
		h, _ := tlog.TreeHash(0, nil) // reads nothing
		return h
	}
	h := t.edges[len(t.edges)-1]
	for i := len(t.edges) - 2; i >= 0; i-- {
		h = tlog.NodeHash(t.edges[i], h)
	}
	return h
}
