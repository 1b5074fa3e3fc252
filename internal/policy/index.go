package policy

import (
	"iter"
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// index finds the policies of a set that could apply to a request.
//
// Every policy lies in exactly one bucket, named by what its scope pins in
// each of the three places: an entity (== and in), an entity type (is), or
// nothing. A request looks into the buckets of what it is: itself, its
// ancestors, its type, and nothing, in each place. A policy in any other
// bucket has a scope that cannot match; evaluating it would yield false
// without an error, since a scope is evaluated first and cannot fail. So
// leaving it out changes neither the decision nor its reasons nor its errors.
//
// Within a bucket, policies whose conditions begin with the demand that an
// attribute of the principal or the resource be some text lie under that text:
// see guard.
type index struct {
	principals, actions, resources pins
	buckets                        map[bucketKey]*bucket
}

// pins numbers what scopes pin in one place. Zero stands for nothing.
type pins struct {
	entities map[types.EntityUID]int32
	types    map[types.EntityType]int32
	last     int32
	in       bool // some scope uses in, so ancestors count
}

type bucketKey struct{ principal, action, resource int32 }

type bucket struct {
	policies []member
	scopes   bool // some policy reads context.scopes
	guards   []guard
}

func (b *bucket) add(m member, tree *ast.Policy) {
	b.policies = append(b.policies, m)
	b.scopes = b.scopes || reads(tree, "scopes")
}

// member is a policy under its id in the set.
type member struct {
	id     types.PolicyID
	policy *cedar.Policy
}

func newIndex(members []member) *index {
	x := &index{buckets: map[bucketKey]*bucket{}}
	for _, m := range members {
		tree := (*ast.Policy)(m.policy.AST())
		key := bucketKey{
			principal: x.principals.number(tree.Principal),
			action:    x.actions.number(tree.Action),
			resource:  x.resources.number(tree.Resource),
		}
		b := x.buckets[key]
		if b == nil {
			b = &bucket{}
			x.buckets[key] = b
		}
		if d, ok := demandOf(tree); ok {
			b.guard(d).add(d.text, m, tree)
		} else {
			b.add(m, tree)
		}
	}
	return x
}

// number returns the number of what scope pins, giving out a new one when it
// is pinned for the first time.
func (p *pins) number(scope ast.IsScopeNode) int32 {
	switch n := scope.(type) {
	case ast.ScopeTypeEq:
		return numbered(&p.entities, n.Entity, &p.last)
	case ast.ScopeTypeIn:
		p.in = true
		return numbered(&p.entities, n.Entity, &p.last)
	case ast.ScopeTypeIsIn:
		p.in = true
		return numbered(&p.entities, n.Entity, &p.last)
	case ast.ScopeTypeIs:
		return numbered(&p.types, n.Type, &p.last)
	case ast.ScopeTypeInSet:
		// A policy lies in one bucket, so several actions pin nothing.
		if len(n.Entities) == 1 {
			p.in = true
			return numbered(&p.entities, n.Entities[0], &p.last)
		}
	}
	return 0
}

func numbered[K comparable](all *map[K]int32, key K, last *int32) int32 {
	if n, ok := (*all)[key]; ok {
		return n
	}
	if *all == nil {
		*all = map[K]int32{}
	}
	*last++
	(*all)[key] = *last
	return *last
}

// append adds the numbers that match uid: nothing, its type, itself and, if
// any scope uses in, its ancestors.
func (p *pins) append(numbers []int32, uid types.EntityUID, entities types.EntityGetter) []int32 {
	numbers = append(numbers, 0)
	if n, ok := p.types[uid.Type]; ok {
		numbers = append(numbers, n)
	}
	if n, ok := p.entities[uid]; ok {
		numbers = append(numbers, n)
	}
	if !p.in {
		return numbers
	}
	e, ok := entities.Get(uid)
	if !ok || e.Parents.Len() == 0 {
		return numbers
	}
	seen := map[types.EntityUID]bool{uid: true}
	todo := []types.EntityUID{uid}
	for len(todo) > 0 {
		e, _ := entities.Get(todo[len(todo)-1])
		todo = todo[:len(todo)-1]
		for parent := range e.Parents.All() {
			if seen[parent] {
				continue
			}
			seen[parent] = true
			todo = append(todo, parent)
			if n, ok := p.entities[parent]; ok {
				numbers = append(numbers, n)
			}
		}
	}
	return numbers
}

// candidates are the policies of a set that could apply to one principal,
// action and resource. They implement cedar.PolicyIterator.
type candidates struct {
	buckets []*bucket
	scopes  bool // some candidate reads context.scopes
	few     [8]*bucket
}

// find puts the candidates of a request into c, which must not be copied
// afterwards.
func (x *index) find(c *candidates, principal, action, resource types.EntityUID, entities types.EntityGetter) {
	var few [3][4]int32
	principals := x.principals.append(few[0][:0], principal, entities)
	actions := x.actions.append(few[1][:0], action, entities)
	resources := x.resources.append(few[2][:0], resource, entities)
	c.buckets = c.few[:0]
	for _, p := range principals {
		for _, r := range resources {
			for _, a := range actions {
				if b := x.buckets[bucketKey{p, a, r}]; b != nil {
					c.add(b)
					for i := range b.guards {
						c.add(b.guards[i].find(principal, resource, entities))
					}
				}
			}
		}
	}
}

// add adds the policies of a bucket, which may be nil, without its guards.
func (c *candidates) add(b *bucket) {
	if b != nil && len(b.policies) > 0 {
		c.buckets = append(c.buckets, b)
		c.scopes = c.scopes || b.scopes
	}
}

// All yields every candidate once.
func (c *candidates) All() iter.Seq2[types.PolicyID, *cedar.Policy] {
	return func(yield func(types.PolicyID, *cedar.Policy) bool) {
		for _, b := range c.buckets {
			for i := range b.policies {
				if !yield(b.policies[i].id, b.policies[i].policy) {
					return
				}
			}
		}
	}
}

// reads reports whether a policy's outcome may depend on one of the members of
// the context. A use of the context other than reading one named member might
// be anything.
func reads(p *ast.Policy, members ...types.String) (reads bool) {
	for _, c := range p.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			var of ast.IsNode
			var member types.String
			switch n := n.(type) {
			case ast.NodeTypeAccess:
				of, member = n.Arg, n.Value
			case ast.NodeTypeHas:
				of, member = n.Arg, n.Value
			case ast.NodeTypeVariable:
				reads = reads || n.Name == "context"
				return false
			default:
				return true
			}
			if v, ok := of.(ast.NodeTypeVariable); ok && v.Name == "context" {
				reads = reads || slices.Contains(members, member)
				return false
			}
			return true
		})
	}
	return reads
}

// readsClaims reports whether a policy's outcome may depend on the claims of
// tokens: it reads them from the context, or names them.
func readsClaims(p *ast.Policy) bool {
	named := reads(p, "actor_claims", "subject_claims")
	for _, c := range p.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			if v, ok := n.(ast.NodeValue); ok {
				uid, ok := v.Value.(types.EntityUID)
				named = named || ok && uid.Type == claimsType
			}
			return true
		})
	}
	return named
}
