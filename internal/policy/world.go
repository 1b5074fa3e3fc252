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
	key := bareKey(onBehalf, r.Impersonate, w.actor != nil, w.subject != nil)
	if r.Subject != nil && scopes == nil {
		return r.Subject.context(key, r.From)
	}
	if r.Subject == nil && r.From == nil && scopes == nil {
		return &bareContexts[key]
	}
	m := personalContext(key, r.Subject, r.From)
	if scopes != nil {
		m["scopes"] = stringSet(scopes)
	}
	record := types.NewRecord(m)
	return &record
}

// contexts is how many contexts differ in what bareKey tells.
const contexts = 16

// bareContexts are the contexts of requests without subject, context resource
// and scopes: the most frequent ones, so they are built once. So are those with
// a subject: see [User].
var bareContexts = func() (all [contexts]types.Record) {
	for key := range all {
		all[key] = types.NewRecord(bareContext(key))
	}
	return all
}()

// userContext is the context of requests for a user, without scopes.
type userContext struct {
	from   types.EntityUID // the context resource; zero where there is none
	record types.Record
}

// context returns the context of requests for the user, without scopes. Of
// those that differ in the context resource alone the last one is kept: what a
// person's tokens are for is mostly the same.
func (u *User) context(key int, from *Resource) *types.Record {
	var uid types.EntityUID
	if from != nil {
		uid = from.uid
	}
	if known := u.contexts[key].Load(); known != nil && known.from == uid {
		return &known.record
	}
	c := &userContext{uid, types.NewRecord(personalContext(key, u, from))}
	u.contexts[key].Store(c)
	return &c.record
}

// personalContext is a bare context with a subject and a context resource, where
// there are any.
func personalContext(key int, subject *User, from *Resource) types.RecordMap {
	m := bareContext(key)
	if subject != nil {
		m["subject"] = subject.uid
	}
	if from != nil {
		m["resource"] = from.uid
	}
	return m
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
