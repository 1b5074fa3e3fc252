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
	if r.From == nil && scopes == nil {
		if r.Subject == nil {
			return &bareContexts[key]
		}
		return r.Subject.context(key)
	}
	m := bareContext(key)
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

// contexts is how many contexts differ in what bareKey tells.
const contexts = 16

// bareContexts are the contexts of requests without subject, context resource
// and scopes: the most frequent ones, so they are built once. So are those with
// a subject and nothing else: see [User].
var bareContexts = func() (all [contexts]types.Record) {
	for key := range all {
		all[key] = types.NewRecord(bareContext(key))
	}
	return all
}()

// context returns the context of requests for the user, without context resource
// and scopes.
func (u *User) context(key int) *types.Record {
	if known := u.contexts[key].Load(); known != nil {
		return known
	}
	m := bareContext(key)
	m["subject"] = u.uid
	record := types.NewRecord(m)
	u.contexts[key].Store(&record)
	return &record
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
