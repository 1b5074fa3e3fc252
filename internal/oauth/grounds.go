package oauth

import (
	"encoding/hex"
	"slices"

	"deputy/internal/deputy"
)

// grounds are what a decision rests on of all that a zone's revision covers,
// so that a change of anything else does not void it: a zone in which
// applications are registered all day still answers.
//
// The zone itself, its keys and its policies count always.
type grounds struct {
	applications, resources []string
	provider                string
	voucher                 string   // the provider whose word is taken for who the client is
	tokens                  []string // that were presented, by the keys of their tickets
	// Set where the decision would be another with one more of them: something
	// was looked for and not found, or found by its prefix.
	anyApplication, anyResource bool
}

// rely reports whether a change could make the decision another.
func (g *grounds) rely(kind deputy.ChangeKind, id string) bool {
	switch kind {
	case deputy.ChangedApplication:
		return g.anyApplication || slices.Contains(g.applications, id)
	case deputy.ChangedResource:
		return g.anyResource || slices.Contains(g.resources, id)
	case deputy.ChangedProvider:
		return g.provider == id || g.voucher == id
	case deputy.ChangedToken:
		return slices.ContainsFunc(g.tokens, func(key string) bool { return hex.EncodeToString([]byte(key)) == id })
	}
	return true
}

// application notes that the decision rests on an application, or if it is
// empty on there being none.
func (g *grounds) application(id deputy.ApplicationID) {
	if id == "" {
		g.anyApplication = true
		return
	}
	g.applications = append(g.applications, string(id))
}

// resource notes that the decision rests on what an identifier names.
func (g *grounds) resource(r *resource, requested string) {
	if r == nil || r.identifier != requested {
		g.anyResource = true
	}
	if r != nil {
		g.resources = append(g.resources, string(r.ID))
	}
}
