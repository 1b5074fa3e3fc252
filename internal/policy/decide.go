package policy

import (
	"cmp"
	"slices"
	"sync"

	"deputy/internal/deputy"
	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

// Principal is who asks in one leg of a request: a [User] or an [Application].
type Principal interface {
	Entity
	// PrincipalType is what the principal is, "user" or "application",
	// PrincipalID which one.
	PrincipalType() string
	PrincipalID() string
	// entity shows the principal as it is in a request.
	entity(s shape, r *Request) *types.Entity
	// kin returns a group or a role that the principal has, while it asks for a
	// resource.
	kin(uid types.EntityUID, wanted deputy.ResourceID) (types.Entity, bool)
}

// Leg is one of the questions that must all be answered with yes.
//
// Client credentials have one leg: the application. What is done for a user
// has two: the user, then the application, both on behalf (or, when
// impersonating, neither). The exchange of an application's own token has two:
// the application that the token is about, not on behalf, then the calling
// one, on behalf.
type Leg struct {
	Principal Principal
	OnBehalf  bool // context.on_behalf: the leg acts with somebody's token
}

// Request asks for a credential. Its zero value is denied.
type Request struct {
	Legs     []Leg // user before application
	Resource *Resource
	// From is the resource whose access token was presented in an exchange
	// (context.resource): it switches on dependencies with a condition.
	From *Resource
	// Subject is the user acted for, if any.
	Subject     *User
	Impersonate bool // for the subject, without the subject's token
	// ActorClaims are those of a verified actor or client assertion,
	// SubjectClaims those of a verified subject token; nil when none came.
	ActorClaims, SubjectClaims *Claims
	// Scopes are the requested scope tokens, without those of OpenID Connect,
	// which are outside of policy.
	Scopes []string
	// Narrowable says that the credential can carry fewer scopes than were
	// asked for. A vault secret or a brokered token cannot.
	Narrowable bool
}

// Decide answers a request. It works in four steps:
//
//  1. Requested scopes that the resource does not declare are dropped.
//  2. The request is decided with all that remain, only to find a forbid,
//     which refuses it.
//  3. It is decided for each scope alone; the permitted ones are kept.
//  4. Where none was kept or requested, it is decided without scopes: denied
//     refuses it, allowed grants a credential without a scope.
//
// Each decision takes every leg. A credential that cannot be narrowed is
// refused unless all declared, requested scopes were kept. An error in any
// evaluation refuses the request. When no policy that could apply reads
// context.scopes, one decision answers for all of them.
//
// The nil set denies everything.
func (s *Set) Decide(r Request) Outcome {
	if s == nil {
		return Outcome{Refusal: NoActiveSet, request: &r}
	}
	out := Outcome{Set: s.ref, request: &r}
	if len(r.Legs) == 0 || r.Resource == nil {
		out.Refusal = NotPermitted
		return out
	}
	q := newQuestion(s, &r)
	defer q.done()
	wanted := r.declared()
	if len(wanted) == 0 || !q.readsScopes() {
		if out.settle(q, q.ask(nil)) {
			out.Scopes = wanted
		}
		return out
	}
	return q.narrow(out, wanted)
}

// declared returns the requested scopes that the resource declares, each once,
// in the order of the request. Where that is all of them they share its memory.
func (r *Request) declared() []string {
	for i, s := range r.Scopes {
		if _, ok := r.Resource.declared[s]; ok && !slices.Contains(r.Scopes[:i], s) {
			continue
		}
		all := append([]string(nil), r.Scopes[:i]...)
		for _, s := range r.Scopes[i+1:] {
			if _, ok := r.Resource.declared[s]; ok && !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
		return all
	}
	if len(r.Scopes) == 0 {
		return nil
	}
	return slices.Clip(r.Scopes)
}

// question is a request on its way through a set.
type question struct {
	set   *Set
	world world
	legs  []askedLeg
	// The memory of legs, and of the verdicts of the first decision, where that
	// is enough.
	few   [2]askedLeg
	first [2]verdict
	asked bool
}

// questions holds the memory of questions that were answered: it is half a
// kilobyte, and each decision needs it for some microseconds.
var questions = sync.Pool{New: func() any { return new(question) }}

// done gives back the memory of a question. Nothing that was answered shares it.
func (q *question) done() {
	*q = question{}
	questions.Put(q)
}

type askedLeg struct {
	uid        types.EntityUID
	onBehalf   bool
	candidates candidates
	answered   bool // once; a leg that reads no scopes always answers the same
	verdict    verdict
}

// verdict is the answer of one leg to one decision.
type verdict struct {
	allowed bool
	reasons []types.DiagnosticReason // the policies that matched: permits or forbids
	errors  []EvaluationError
}

// forbidden reports whether a forbid matched.
func (v *verdict) forbidden() bool { return !v.allowed && len(v.reasons) > 0 }

func newQuestion(s *Set, r *Request) *question {
	q := questions.Get().(*question)
	q.set, q.legs = s, q.few[:0]
	for range r.Legs {
		q.legs = append(q.legs, askedLeg{})
	}
	q.world.init(r, s.shape)
	for i := range q.legs {
		l := &q.legs[i]
		l.uid, l.onBehalf = q.world.entities[i].UID, r.Legs[i].OnBehalf
		s.index.find(&l.candidates, l.uid, accessAction, r.Resource.uid, &q.world)
	}
	return q
}

// readsScopes reports whether the answer may depend on context.scopes.
func (q *question) readsScopes() bool {
	for i := range q.legs {
		if q.legs[i].candidates.scopes {
			return true
		}
	}
	return false
}

// ask decides every leg with the given scopes; absent when nil.
func (q *question) ask(scopes []string) []verdict {
	verdicts := q.first[:]
	if q.asked || len(q.legs) > len(q.first) {
		verdicts = make([]verdict, len(q.legs))
	}
	verdicts, q.asked = verdicts[:len(q.legs)], true
	var contexts [2]*types.Record // the same for all legs that are on behalf, or not
	for i := range q.legs {
		l := &q.legs[i]
		if !l.answered || l.candidates.scopes {
			context := &contexts[0]
			if l.onBehalf {
				context = &contexts[1]
			}
			if *context == nil {
				*context = q.world.context(l.onBehalf, scopes)
			}
			l.answered = true
			l.verdict = q.set.evaluate(&l.candidates, &q.world, types.Request{
				Principal: l.uid, Action: accessAction, Resource: q.world.request.Resource.uid, Context: **context,
			})
		}
		verdicts[i] = l.verdict
	}
	return verdicts
}

// evaluate runs the engine over candidates.
func (s *Set) evaluate(c *candidates, entities types.EntityGetter, r types.Request) verdict {
	decision, diagnostic := cedar.Authorize(c, entities, r)
	v := verdict{allowed: decision == cedar.Allow, reasons: diagnostic.Reasons}
	for _, e := range diagnostic.Errors {
		v.errors = append(v.errors, EvaluationError{Policy: s.policies[s.position[e.PolicyID]], Message: e.Message})
	}
	slices.SortFunc(v.errors, func(a, b EvaluationError) int { return cmp.Compare(a.Policy.Label, b.Policy.Label) })
	return v
}

// narrow is steps 2 to 4 of Decide.
func (q *question) narrow(out Outcome, wanted []string) Outcome {
	whole := q.ask(wanted)
	if refusal(whole) == EvaluationFailed || refusal(whole) == Forbidden {
		out.settle(q, whole)
		return out
	}
	var kept []string
	var permitted [][]verdict
	for _, scope := range wanted {
		alone := whole
		if len(wanted) > 1 {
			alone = q.ask([]string{scope})
		}
		switch refusal(alone) {
		case EvaluationFailed:
			out.settle(q, alone)
			return out
		case None:
			kept = append(kept, scope)
			permitted = append(permitted, alone)
		}
	}
	if len(kept) == 0 {
		permitted = [][]verdict{q.ask(nil)}
	}
	switch {
	case !out.settle(q, permitted...):
	case !q.world.request.Narrowable && len(kept) < len(wanted):
		out.Allowed, out.Refusal = false, NotNarrowable
	default:
		out.Scopes = kept
	}
	return out
}
