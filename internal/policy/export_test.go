package policy

import (
	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

// Index lets tests ask the index about any policies, entities and requests,
// not only those of the platform's schemas.
type Index struct{ index *index }

// NewIndex indexes policies under the given ids.
func NewIndex(ids []types.PolicyID, policies []*cedar.Policy) Index {
	members := make([]member, len(ids))
	for i, id := range ids {
		members[i] = member{id: id, policy: policies[i]}
	}
	return Index{newIndex(members)}
}

// Authorize decides over the candidates alone, and counts them.
func (x Index) Authorize(entities types.EntityGetter, r types.Request) (cedar.Decision, cedar.Diagnostic, int) {
	var c candidates
	x.index.find(&c, r.Principal, r.Action, r.Resource, entities)
	decision, diagnostic := cedar.Authorize(&c, entities, r)
	n := 0
	for range c.All() {
		n++
	}
	return decision, diagnostic, n
}

// Compiled returns the engine's policy of a document.
func Compiled(d *Document) *cedar.Policy { return d.policy }

// ID returns the value of the @id annotation, or "".
func (d *Document) ID() string { return annotation(d.policy, "id") }

// Effect says whether the policy permits or forbids.
func (d *Document) Effect() Effect { return effect(d.policy) }

// Annotation returns the value of an annotation, or "".
func (d *Document) Annotation(name string) string {
	return annotation(d.policy, types.AnnotationKey(name))
}

// Ref names the set version; the zero SetRef for the nil set.
func (s *Set) Ref() SetRef {
	if s == nil {
		return SetRef{}
	}
	return s.ref
}
