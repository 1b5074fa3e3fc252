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
	i.unkept = unkept(i.unkept[:0], &i.question, i.from.at)
}

// unkept appends to all the entities of a question that must be kept, since
// nobody said lately that they are in use.
func unkept(all []policy.Entity, question *policy.Request, at time.Time) []policy.Entity {
	now, keepEvery := at.Unix(), int64(deputy.EntityUse/time.Second)
	var few [8]policy.Entity
	for _, e := range question.Entities(few[:0]) {
		if now-e.Trace().Kept() >= keepEvery {
			all = append(all, e)
		}
	}
	return all
}

// logErrors says which policies could not be evaluated. Why may quote what the
// request or somebody's claims say.
func (s *Server) logErrors(o *policy.Outcome, zone deputy.ZoneID, from *origin) {
	for _, e := range o.Errors {
		s.log.ErrorContext(from.ctx, "a policy could not be evaluated, so the request was refused", "zone_id", string(zone),
			"request_id", from.requestID, "policy", e.Policy.Label)
	}
}

// decision is what policy said about a resource of an authorization request.
type decision struct {
	resource *resource
	question policy.Request
	outcome  policy.Outcome
	took     time.Duration
}

// ask asks policy about a resource of an authorization request.
func (s *Server) ask(ctx context.Context, l *login, a *assessment, r *resource, question policy.Request) *policy.Outcome {
	d := &decision{resource: r, question: question}
	d.outcome, d.took = s.askPolicy(ctx, l.snap.policies, question)
	s.logErrors(&d.outcome, l.zone.id, l.from)
	a.decisions = append(a.decisions, d)
	return &d.outcome
}

// note notes the decision in an event.
func (d *decision) note(e *deputy.Event) {
	e.Resource = &deputy.EventResource{ID: d.resource.ID, Identifier: d.resource.identifier}
	e.Policy, e.Evaluation = eventPolicy(&d.outcome, d.took), new(deputy.Evaluation)
	d.outcome.Evaluation(e.Evaluation)
}

// decided notes in the event of an authorization request what policy said about
// its first resource, and brings along an event for each other decision. It
// returns the entities that must be kept with them.
func (a *assessment) decided(e *deputy.Event) (entities []policy.Entity) {
	for i, d := range a.decisions {
		entities = unkept(entities, &d.question, e.Time)
		if i == 0 {
			d.note(e)
			continue
		}
		further := *e
		further.ID, further.Type, further.With = deputy.EventID(deputy.NewID(e.Time)), eventEvaluate, nil
		further.Outcome, further.Error, further.ErrorDetail = deputy.Success, "", ""
		further.ScopesRequested, further.ScopesGranted = d.question.Scopes, d.outcome.Scopes
		if !d.outcome.Allowed {
			further.Outcome, further.Error, further.ErrorDetail = deputy.Failure, codeAccessDenied, d.outcome.Message()
		}
		d.note(&further)
		e.With = append(e.With, &further)
	}
	return entities
}

// observed hands what was decided and recorded to the zone's shadow.
func (s *Server) observed(l *login, a *assessment, e *deputy.Event) {
	for i, d := range a.decisions {
		if i == 0 {
			s.observe(l.snap, &d.question, e)
			continue
		}
		s.observe(l.snap, &d.question, e.With[i-1])
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
