package store_test

import (
	"testing"

	"deputy/internal/deputy"
)

// The tree and the index are built where most of them is lacking, so that a log
// that is written to without a pause keeps no other one waiting.
func TestTheLogFurthestBehindComesFirst(t *testing.T) {
	for engine, setup := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := setup(t)
			c.Migrate = true
			s := open(t, c)
			const each = 256
			write := func(organization deputy.OrganizationID, n int) {
				for range n {
					e := issued("z")
					e.OrganizationID = organization
					for range each - 1 {
						with := issued("z")
						with.OrganizationID = organization
						e.With = append(e.With, with)
					}
					if err := s.Write(t.Context(), e, nil); err != nil {
						t.Fatal(err)
					}
				}
			}
			write("a", 17)
			write("b", 34)
			if _, err := s.GrowTree(t.Context(), 17); err != nil {
				t.Fatal(err)
			}
			if _, err := s.IndexEvents(t.Context(), 17*each); err != nil {
				t.Fatal(err)
			}
			if behind, err := s.Backlog(t.Context()); err != nil || behind.Ungrown != 17*each || behind.Unindexed != 17*each {
				t.Errorf("%+v, %v", behind, err)
			}
		})
	}
}
