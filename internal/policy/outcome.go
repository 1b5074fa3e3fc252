package policy

import (
	"fmt"
	"slices"
)

// Refusal says why a request was denied.
type Refusal string

// The refusals.
const (
	None             Refusal = ""                  // it was allowed
	NoActiveSet      Refusal = "no_active_set"     // nothing decides in this zone
	Forbidden        Refusal = "forbidden"         // a forbid matched
	NotPermitted     Refusal = "not_permitted"     // some leg had no permit
	NotNarrowable    Refusal = "not_narrowable"    // only some scopes, and the credential carries all or none
	EvaluationFailed Refusal = "evaluation_failed" // a policy could not be evaluated
)

// Outcome is the answer to a request. Its zero value denies.
type Outcome struct {
	Allowed bool
	Refusal Refusal
	Scopes  []string // granted, in the order of the request
	Set     SetRef
	// Legs holds the answer of each leg, in the order of the request.
	Legs []LegOutcome
	// Errors are those of policies that could not be evaluated: never on an
	// allowed request, and always worth an alert.
	Errors []EvaluationError

	request *Request
}

// LegOutcome is the answer of one leg.
type LegOutcome struct {
	Allowed bool
	// Determining are the permits that allowed the leg or the forbids that
	// denied it, in manifest order; none when it was denied by default.
	Determining []PolicyRef
}

// EvaluationError is a policy that could not be evaluated.
type EvaluationError struct {
	Policy  PolicyRef
	Message string // of the engine; may quote values of the request
}

// Determining returns the determining policies of every leg, in leg order.
func (o *Outcome) Determining() []PolicyRef {
	var all []PolicyRef
	for _, leg := range o.Legs {
		all = append(all, leg.Determining...)
	}
	return all
}

// ForbiddenBy returns the first forbid that denied the request; ok is false
// when none did.
func (o *Outcome) ForbiddenBy() (p PolicyRef, ok bool) {
	if o.Refusal != Forbidden {
		return PolicyRef{}, false
	}
	for _, p := range o.Determining() {
		if p.Effect == Forbid {
			return p, true
		}
	}
	return PolicyRef{}, false
}

// refusal reads the verdicts of all legs as one answer.
func refusal(verdicts []verdict) Refusal {
	answer := None
	for i := range verdicts {
		v := &verdicts[i]
		switch {
		case len(v.errors) > 0:
			return EvaluationFailed
		case v.forbidden():
			answer = Forbidden
		case !v.allowed && answer == None:
			answer = NotPermitted
		}
	}
	return answer
}

// settle fills in the answer of one or several decisions that agree, and
// reports whether it is to allow.
func (o *Outcome) settle(q *question, decisions ...[]verdict) bool {
	o.Refusal = refusal(decisions[0])
	o.Allowed = o.Refusal == None
	o.Legs = make([]LegOutcome, len(q.legs))
	for i := range q.legs {
		var few [8]int
		reasons := few[:0]
		for _, verdicts := range decisions {
			v := &verdicts[i]
			o.Legs[i].Allowed = v.allowed && len(v.errors) == 0
			for i := range v.reasons {
				reasons = append(reasons, q.set.position[v.reasons[i].PolicyID])
			}
			o.Errors = append(o.Errors, v.errors...)
		}
		slices.Sort(reasons)
		o.Legs[i].Determining = q.set.named(slices.Compact(reasons))
	}
	return o.Allowed
}

// named returns the policies at positions in ascending order. One alone shares
// the set's memory.
func (s *Set) named(positions []int) []PolicyRef {
	switch len(positions) {
	case 0:
		return nil
	case 1:
		i := positions[0]
		return s.policies[i : i+1 : i+1]
	}
	all := make([]PolicyRef, len(positions))
	for n, i := range positions {
		all[n] = s.policies[i]
	}
	return all
}

// Message returns the refusal in one sentence for the caller, naming what
// denied it; "" when the request was allowed.
func (o *Outcome) Message() string {
	if o.Allowed {
		return ""
	}
	if o.request == nil || o.request.Resource == nil {
		return "Access is denied."
	}
	resource := o.request.Resource.facts.Name
	switch o.Refusal {
	case NoActiveSet:
		return fmt.Sprintf("Access to %q is denied: the zone has no active policy set.", resource)
	case Forbidden:
		p, _ := o.ForbiddenBy()
		return fmt.Sprintf("Access to %q is denied by Policy %q in version %d of Policy Set %q.", resource, p.Name, o.Set.Number, o.Set.SetName)
	case EvaluationFailed:
		return fmt.Sprintf("Access to %q is denied: a policy in version %d of Policy Set %q could not be evaluated.", resource, o.Set.Number, o.Set.SetName)
	case NotNarrowable:
		return fmt.Sprintf("Access to %q is denied: not every requested scope is permitted, and its credential cannot be narrowed.", resource)
	}
	for i, leg := range o.Legs {
		if a, ok := o.request.Legs[i].Principal.(*Application); ok && !leg.Allowed {
			return fmt.Sprintf("Application %q is not allowed to access %q.", a.Name, resource)
		}
	}
	return fmt.Sprintf("The user is not allowed to access %q.", resource)
}
