package store

// KeepChanges makes a zone's list of changes short enough for a test.
func (s *Store) KeepChanges(n int64) { s.kept = n }

// PruneEvery is how many changes a zone's list may be longer.
const PruneEvery = pruneEvery

// BoundTickets bounds the tickets of a kind to n bytes, little enough for a
// test.
func (s *Store) BoundTickets(n int64) { s.ticketBound = n }
