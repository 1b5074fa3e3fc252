package policy

import (
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// guard are the policies of a bucket that demand something of one attribute
// first of all, by the text that it must be.
//
// The engine evaluates a policy's scope and then its conditions from left to
// right, until one is false. So a policy whose attribute is there and is another
// text, or no text at all, yields false without an error, whatever comes behind:
// leaving it out changes nothing. Where the attribute is missing the engine has
// to say so, and all policies of the guard are asked.
type guard struct {
	of, attribute types.String // of the principal or of the resource
	texts         map[types.String]*bucket
	all           bucket
}

// demand is that an attribute of the principal or of the resource be a text.
type demand struct{ of, attribute, text types.String }

// guard returns the guard of what a policy demands, a new one if need be.
func (b *bucket) guard(d demand) *guard {
	for i := range b.guards {
		if g := &b.guards[i]; g.of == d.of && g.attribute == d.attribute {
			return g
		}
	}
	b.guards = append(b.guards, guard{of: d.of, attribute: d.attribute, texts: map[types.String]*bucket{}})
	return &b.guards[len(b.guards)-1]
}

func (g *guard) add(text types.String, m member, tree *ast.Policy) {
	g.all.add(m, tree)
	b := g.texts[text]
	if b == nil {
		b = &bucket{}
		g.texts[text] = b
	}
	b.add(m, tree)
}

// find returns the policies that could apply; nil for none.
func (g *guard) find(principal, resource types.EntityUID, entities types.EntityGetter) *bucket {
	uid := principal
	if g.of == resourceVariable {
		uid = resource
	}
	e, ok := entities.Get(uid)
	if !ok {
		return &g.all
	}
	value, ok := e.Attributes.Get(g.attribute)
	if !ok {
		return &g.all
	}
	text, ok := value.(types.String)
	if !ok {
		return nil // equal to no text
	}
	return g.texts[text]
}

// The variables of a policy that stand for entities.
const (
	principalVariable types.String = "principal"
	actionVariable    types.String = "action"
	resourceVariable  types.String = "resource"
	contextVariable   types.String = "context"
)

// demandOf returns what a policy demands first of all. Before it there may be
// tests that cannot fail, because they do not make it another policy: they yield
// false or go on.
func demandOf(p *ast.Policy) (d demand, ok bool) {
	if len(p.Conditions) == 0 || p.Conditions[0].Condition != ast.ConditionWhen {
		return d, false
	}
	found := false
	conjuncts(p.Conditions[0].Body, func(n ast.IsNode) (more bool) {
		if equals, is := n.(ast.NodeTypeEquals); is {
			if d, ok = demandIn(equals.Left, equals.Right); !ok {
				d, ok = demandIn(equals.Right, equals.Left)
			}
			found = ok
			return false
		}
		return cannotFail(n)
	})
	return d, found
}

// conjuncts visits what a condition demands, in the order of evaluation, for as
// long as visit says so.
func conjuncts(n ast.IsNode, visit func(ast.IsNode) bool) (more bool) {
	if and, ok := n.(ast.NodeTypeAnd); ok {
		return conjuncts(and.Left, visit) && conjuncts(and.Right, visit)
	}
	return visit(n)
}

// demandIn reads an attribute and the text that it is compared with.
func demandIn(attribute, text ast.IsNode) (d demand, ok bool) {
	access, isAccess := attribute.(ast.NodeTypeAccess)
	value, isValue := text.(ast.NodeValue)
	if !isAccess || !isValue {
		return d, false
	}
	of, isVariable := access.Arg.(ast.NodeTypeVariable)
	wanted, isText := value.Value.(types.String)
	if !isVariable || !isText || of.Name != principalVariable && of.Name != resourceVariable {
		return d, false
	}
	return demand{of.Name, access.Value, wanted}, true
}

// cannotFail reports whether a test yields true or false whatever the request:
// whether an attribute is there, and whether an entity is of a type.
func cannotFail(n ast.IsNode) bool {
	switch n := n.(type) {
	case ast.NodeTypeHas:
		v, ok := n.Arg.(ast.NodeTypeVariable)
		return ok && (v.Name == principalVariable || v.Name == actionVariable || v.Name == resourceVariable || v.Name == contextVariable)
	case ast.NodeTypeIs:
		v, ok := n.Left.(ast.NodeTypeVariable)
		return ok && (v.Name == principalVariable || v.Name == actionVariable || v.Name == resourceVariable)
	}
	return false
}
