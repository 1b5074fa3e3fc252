package policy

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/cedar-policy/cedar-go/types"
)

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
	key := bareKey(onBehalf, r.Impersonate, w.actor != nil, w.subject != nil)
	switch {
	case r.Subject != nil:
		return r.Subject.contexts.of(key, r.Subject, r.From, scopes)
	case r.From != nil || scopes != nil:
		return r.Resource.contexts.of(key, nil, r.From, scopes)
	}
	return &bareContexts[key]
}

// contexts are how many contexts differ in what bareKey tells.
const contexts = 16

// bareContexts are the contexts of requests without subject, context resource
// and scopes: the most frequent ones.
var bareContexts = func() (all [contexts]types.Record) {
	for key := range all {
		all[key] = types.NewRecord(bareContext(key))
	}
	return all
}()

// lastContexts are the last contexts of somebody's requests, or of those for
// something, by what bareKey tells: the next request mostly has the same.
type lastContexts [contexts]atomic.Pointer[lastContext]

type lastContext struct {
	from   types.EntityUID // the context resource; zero where there is none
	scopes []string
	record types.Record
}

// of returns a context.
func (all *lastContexts) of(key int, subject *User, from *Resource, scopes []string) *types.Record {
	var about types.EntityUID
	if from != nil {
		about = from.uid
	}
	if last := all[key].Load(); last != nil && last.from == about && slices.Equal(last.scopes, scopes) && (last.scopes == nil) == (scopes == nil) {
		return &last.record
	}
	m := bareContext(key)
	if subject != nil {
		m["subject"] = subject.uid
	}
	if from != nil {
		m["resource"] = from.uid
	}
	if scopes != nil {
		scopes = slices.Clone(scopes)
		for i, s := range scopes {
			scopes[i] = strings.Clone(s) // a part of a request, of which no more is kept
		}
		m["scopes"] = stringSet(scopes)
	}
	c := &lastContext{about, scopes, types.NewRecord(m)}
	all[key].Store(c)
	return &c.record
}

func bareKey(onBehalf, impersonate, actor, subject bool) (key int) {
	for bit, set := range [...]bool{onBehalf, impersonate, actor, subject} {
		if set {
			key |= 1 << bit
		}
	}
	return key
}

func bareContext(key int) types.RecordMap {
	m := types.RecordMap{
		"on_behalf":   types.Boolean(key&1 != 0),
		"impersonate": types.Boolean(key&2 != 0),
	}
	if key&4 != 0 {
		m["actor_claims"] = actorClaims
	}
	if key&8 != 0 {
		m["subject_claims"] = subjectClaims
	}
	return m
}
