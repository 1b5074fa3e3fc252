package oauth

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/maypok86/otter/v2"

	"deputy/internal/deputy"
	"deputy/internal/policy"
	"deputy/internal/vault"
)

// evaluated notes in the event what policy decided of what.
func (i *issuance) evaluated() {
	i.evaluation.Legs = i.legs[:0]
	i.outcome.Evaluation(&i.evaluation)
	i.event.Evaluation = &i.evaluation
	i.unkept = i.unkept[:0]
	now, keepEvery := i.from.at.Unix(), int64(deputy.EntityUse/time.Second)
	var few [8]policy.Entity
	for _, e := range i.question.Entities(few[:0]) {
		if now-e.Trace().Kept() >= keepEvery {
			i.unkept = append(i.unkept, e)
		}
	}
}

// writeKeeping writes as the store does, and keeps the entities that the event
// names, so that its decision can be made again.
func (s *Server) writeKeeping(ctx context.Context, e *deputy.Event, unkept []policy.Entity, apply func(deputy.Tx) error) error {
	if len(unkept) == 0 {
		return s.store.Write(ctx, e, apply)
	}
	kept := make([]deputy.PolicyEntity, len(unkept))
	for n, entity := range unkept {
		var err error
		if kept[n], err = s.keepable(ctx, e, entity); err != nil {
			return err
		}
	}
	err := s.store.Write(ctx, e, func(tx deputy.Tx) error {
		for _, entity := range kept {
			tx.KeepEntity(e.ZoneID, entity)
		}
		if apply == nil {
			return nil
		}
		return apply(tx)
	})
	if err != nil {
		return err
	}
	for _, entity := range unkept {
		entity.Trace().Keep(e.Time.Unix())
	}
	return nil
}

// keepable returns an entity as it is kept: sealed, like the event's own
// personal fields, when it may tell of the person whom the event is about.
func (s *Server) keepable(ctx context.Context, e *deputy.Event, entity policy.Entity) (deputy.PolicyEntity, error) {
	kept := deputy.PolicyEntity{ID: entity.Trace().ID, Data: entity.Facts()}
	if e.UserKey == "" || !entity.Personal() {
		return kept, nil
	}
	var err error
	kept.Sealed = true
	kept.Data, err = s.builder.vault.Seal(ctx, e.UserKey, vault.PolicyEntity(e.ZoneID, kept.ID), kept.Data)
	return kept, err
}

// maxPeople is how many people are remembered as policies see them, some
// hundred bytes each.
const maxPeople = 2048

// people remembers people as policies saw them, by all that these may know: the
// same facts are drawn, named and kept once.
type people struct {
	seen *otter.Cache[[sha256.Size]byte, *policy.User]
}

func newPeople() people {
	return people{otter.Must(&otter.Options[[sha256.Size]byte, *policy.User]{
		MaximumSize: maxPeople, Executor: func(f func()) { f() },
	})}
}

// of returns the user, or the one with the same facts that was seen before. The
// key that seals what is kept of them counts as a fact: when it goes, so does
// what it sealed.
func (p people) of(u *policy.User, key deputy.ID) *policy.User {
	h := sha256.New()
	h.Write([]byte(key))
	h.Write(u.Facts())
	sum := [sha256.Size]byte(h.Sum(nil))
	known, _ := p.seen.SetIfAbsent(sum, u)
	return known
}
