package policy

import "github.com/cedar-policy/cedar-go/types"

// world is what one request lets policies see: its entities, and the parts of
// its context that all legs share.
type world struct {
	entities       []*types.Entity // principals, resource, subject, context resource
	few            [5]*types.Entity
	actor, subject *Claims
	request        *Request
}

// init gathers the entities of a request in the given shape; those of the legs
// come first.
func (w *world) init(r *Request, s shape) {
	w.request, w.actor, w.subject = r, r.ActorClaims, r.SubjectClaims
	w.entities = w.few[:0]
	for _, leg := range r.Legs {
		w.entities = append(w.entities, leg.Principal.entity(s, r))
	}
	w.entities = append(w.entities, r.Resource.entity(s))
	if r.Subject != nil {
		w.entities = append(w.entities, r.Subject.entity(s, r))
	}
	if r.From != nil {
		w.entities = append(w.entities, r.From.entity(s))
	}
}

// Get returns an entity of the request. It implements types.EntityGetter.
func (w *world) Get(uid types.EntityUID) (types.Entity, bool) {
	for _, e := range w.entities {
		if e.UID == uid {
			return *e, true
		}
	}
	switch {
	case uid == actorClaims && w.actor != nil:
		return w.actor.entity(uid), true
	case uid == subjectClaims && w.subject != nil:
		return w.subject.entity(uid), true
	case uid.Type == groupType || uid.Type == roleType:
		return w.kin(uid)
	}
	return types.Entity{}, false
}

// kin returns a group or a role that somebody in the request has. Those that
// nobody has are not there: policies can ask whether somebody is in one, not
// what it is called.
func (w *world) kin(uid types.EntityUID) (types.Entity, bool) {
	for _, leg := range w.request.Legs {
		if e, ok := leg.Principal.kin(uid, w.request.Resource.facts.ID); ok {
			return e, true
		}
	}
	if w.request.Subject == nil {
		return types.Entity{}, false
	}
	return w.request.Subject.kin(uid, w.request.Resource.facts.ID)
}

// context returns the context of a leg; scopes are absent from it when nil.
func (w *world) context(onBehalf bool, scopes []string) *types.Record {
	r := w.request
	if r.Subject == nil && r.From == nil && scopes == nil {
		return &bareContexts[bareKey(onBehalf, r.Impersonate, w.actor != nil, w.subject != nil)]
	}
	m := bareContext(onBehalf, r.Impersonate, w.actor != nil, w.subject != nil)
	if r.Subject != nil {
		m["subject"] = r.Subject.uid
	}
	if r.From != nil {
		m["resource"] = r.From.uid
	}
	if scopes != nil {
		m["scopes"] = stringSet(scopes)
	}
	record := types.NewRecord(m)
	return &record
}

// bareContexts are the contexts of requests without subject, context resource
// and scopes: the most frequent ones, so they are built once.
var bareContexts = func() (all [16]types.Record) {
	for i := range all {
		all[i] = types.NewRecord(bareContext(i&1 != 0, i&2 != 0, i&4 != 0, i&8 != 0))
	}
	return all
}()

func bareKey(onBehalf, impersonate, actor, subject bool) (key int) {
	for bit, set := range [...]bool{onBehalf, impersonate, actor, subject} {
		if set {
			key |= 1 << bit
		}
	}
	return key
}

func bareContext(onBehalf, impersonate, actor, subject bool) types.RecordMap {
	m := types.RecordMap{
		"on_behalf":   types.Boolean(onBehalf),
		"impersonate": types.Boolean(impersonate),
	}
	if actor {
		m["actor_claims"] = actorClaims
	}
	if subject {
		m["subject_claims"] = subjectClaims
	}
	return m
}
