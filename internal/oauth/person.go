package oauth

import (
	"context"
	"reflect"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

// person is a user as policies see them.
type person struct {
	*policy.User
	// affiliations are their groups and roles; nil where no policy asks.
	affiliations *deputy.Affiliations
}

// affiliations is where groups and roles are read: the store, or the committing
// transaction.
type affiliations interface {
	Affiliations(context.Context, deputy.ZoneID, deputy.UserID) (*deputy.Affiliations, error)
}

// person returns a user as the zone's policies see them. Their groups and roles
// are read only where a policy that decides, or one that is tried out, names
// any.
func (s *snapshot) person(ctx context.Context, in affiliations, u *deputy.User) (*person, error) {
	p := &person{}
	facts := policy.UserFacts{ID: u.ID, Identifier: u.Identifier, Email: u.Email}
	if s.readsAffiliations() {
		var err error
		if p.affiliations, err = in.Affiliations(ctx, s.zone.ID, u.ID); err != nil {
			return nil, err
		}
		facts.Affiliations = *p.affiliations
	}
	p.User = policy.NewUser(facts)
	return p, nil
}

// readsAffiliations reports whether a policy that decides, or one that is tried
// out, names groups or roles.
func (s *snapshot) readsAffiliations() bool {
	return s.policies.ReadsAffiliations() || s.shadow.ReadsAffiliations()
}

// unchanged is Stale when the person's groups or roles, where they counted, are
// others now: they are outside of zone revisions.
func (p *person) unchanged(ctx context.Context, tx deputy.Tx, zone deputy.ZoneID, user deputy.UserID) error {
	if p.affiliations == nil {
		return nil
	}
	now, err := tx.Affiliations(ctx, zone, user)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(now, p.affiliations) {
		return errMoved
	}
	return nil
}
