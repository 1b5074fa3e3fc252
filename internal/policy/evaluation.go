package policy

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"deputy/internal/deputy"
)

// Entity is what a request shows to policies: an [Application], a [User], a
// [Resource] or [Claims].
type Entity interface {
	// Trace returns what is remembered of keeping the entity's facts.
	Trace() *Trace
	// Facts returns all that policies may know of the entity, so that
	// [Entities] can build it again. Of claims, those with the names of secrets
	// are left out.
	Facts() []byte
	// Personal reports whether the facts may tell of the person that a request
	// is about.
	Personal() bool
}

// Trace is how an entity is named in the record of decisions. It is the same
// for the same facts, except where those may tell of a person.
type Trace struct {
	ID   deputy.EntityID
	kept int64 // read and written atomically
}

// Kept returns when the facts were last said to be in use, in Unix seconds. It
// is whoever keeps them that says so.
func (t *Trace) Kept() int64 { return atomic.LoadInt64(&t.kept) }

// Keep says that the facts are in use.
func (t *Trace) Keep(at int64) { atomic.StoreInt64(&t.kept, at) }

// facts is how the facts of an entity are written, whatever it is.
type facts struct {
	Application *ApplicationFacts `json:"application,omitzero"`
	User        *UserFacts        `json:"user,omitzero"`
	Resource    *ResourceFacts    `json:"resource,omitzero"`
	Claims      jsontext.Value    `json:"claims,omitzero"`
}

// write returns the facts as JSON. They are text, so writing them cannot fail.
func (f facts) write() []byte {
	b, err := json.Marshal(f, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		panic(fmt.Sprintf("policy: facts cannot be written: %v", err))
	}
	return b
}

// hashed returns the id of facts that tell nothing of a person.
func hashed[F ApplicationFacts | ResourceFacts](of F) deputy.EntityID {
	var f facts
	switch of := any(of).(type) {
	case ApplicationFacts:
		f.Application = &of
	case ResourceFacts:
		f.Resource = &of
	}
	sum := sha256.Sum256(f.write())
	return deputy.EntityID(sum[:len(deputy.EntityID{})])
}

// PrincipalType implements [Principal].
func (a *Application) PrincipalType() string { return "application" }

// PrincipalID implements [Principal].
func (a *Application) PrincipalID() string { return string(a.ID) }

// PrincipalType implements [Principal].
func (u *User) PrincipalType() string { return "user" }

// PrincipalID implements [Principal].
func (u *User) PrincipalID() string { return string(u.facts.ID) }

// ID returns the id of the resource.
func (r *Resource) ID() deputy.ResourceID { return r.facts.ID }

// Trace implements [Entity].
func (a *Application) Trace() *Trace { return &a.trace }

// Facts implements [Entity].
func (a *Application) Facts() []byte { return facts{Application: &a.ApplicationFacts}.write() }

// Personal implements [Entity]: an application is nobody.
func (a *Application) Personal() bool { return false }

// Trace implements [Entity].
func (u *User) Trace() *Trace { return &u.trace }

// Facts implements [Entity].
func (u *User) Facts() []byte { return facts{User: &u.facts}.write() }

// Personal implements [Entity].
func (u *User) Personal() bool { return true }

// Trace implements [Entity].
func (r *Resource) Trace() *Trace { return &r.trace }

// Facts implements [Entity].
func (r *Resource) Facts() []byte { return facts{Resource: &r.facts}.write() }

// Personal implements [Entity]: a resource is nobody.
func (r *Resource) Personal() bool { return false }

// Trace implements [Entity].
func (c *Claims) Trace() *Trace { return &c.trace }

// Facts implements [Entity].
func (c *Claims) Facts() []byte { return facts{Claims: withoutSecrets(c.object)}.write() }

// Personal implements [Entity].
func (c *Claims) Personal() bool { return true }

// Entities appends every entity that the request shows to all, each once.
func (r *Request) Entities(all []Entity) []Entity {
	for _, leg := range r.Legs {
		all = append(all, leg.Principal)
	}
	if r.Resource != nil {
		all = append(all, r.Resource)
	}
	if r.From != nil && r.From != r.Resource {
		all = append(all, r.From)
	}
	if r.Subject != nil && !r.asks(r.Subject) {
		all = append(all, r.Subject)
	}
	if r.ActorClaims != nil {
		all = append(all, r.ActorClaims)
	}
	if r.SubjectClaims != nil && r.SubjectClaims != r.ActorClaims {
		all = append(all, r.SubjectClaims)
	}
	return all
}

// asks reports whether the user is the principal of a leg.
func (r *Request) asks(u *User) bool {
	for _, leg := range r.Legs {
		if leg.Principal == Principal(u) {
			return true
		}
	}
	return false
}

// Evaluation writes down the decision and what it was made of. It shares the
// memory of the request's and the outcome's scopes.
func (o *Outcome) Evaluation(to *deputy.Evaluation) {
	*to = deputy.Evaluation{Legs: to.Legs[:0], Kept: o.Scopes, Refusal: string(o.Refusal)}
	for _, e := range o.Errors {
		to.Errors = append(to.Errors, e.Policy.Label)
	}
	r := o.request
	if r == nil {
		return
	}
	for i, leg := range r.Legs {
		e := deputy.EvaluatedLeg{Principal: leg.Principal.Trace().ID, OnBehalf: leg.OnBehalf}
		if i < len(o.Legs) {
			e.Allowed = o.Legs[i].Allowed
		}
		to.Legs = append(to.Legs, e)
	}
	to.Scopes, to.Impersonate, to.Narrowable = r.Scopes, r.Impersonate, r.Narrowable
	if r.Resource != nil {
		to.Resource = r.Resource.trace.ID
	}
	if r.From != nil {
		to.From = r.From.trace.ID
	}
	if r.Subject != nil {
		to.Subject = r.Subject.trace.ID
	}
	if r.ActorClaims != nil {
		to.ActorClaims = r.ActorClaims.trace.ID
	}
	if r.SubjectClaims != nil {
		to.SubjectClaims = r.SubjectClaims.trace.ID
	}
}

// Names of claims that hold secrets, in lower case and without what separates
// words: those that have such a part, and those that are such a word.
var (
	secretNames = []string{
		"accesstoken", "refreshtoken", "idtoken", "apitoken", "bearer", "secret", "password", "passwd", "passphrase",
		"privatekey", "apikey", "accesskey", "signingkey", "cookie", "assertion", "authorization", "credential", "verifier",
	}
	secretWords = []string{"token", "jwt", "pin", "otp", "code", "key"}
)

// secretClaim reports whether a claim is named as secrets are.
func secretClaim(name string) bool {
	plain := strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return -1
	}, name)
	return slices.Contains(secretWords, plain) || slices.ContainsFunc(secretNames, func(part string) bool {
		return strings.Contains(plain, part)
	})
}

// withoutSecrets returns a JSON object without the members, at any depth, that
// are named as secrets are.
func withoutSecrets(object jsontext.Value) jsontext.Value {
	var out bytes.Buffer
	in, to := jsontext.NewDecoder(bytes.NewReader(object)), jsontext.NewEncoder(&out)
	for {
		token, err := in.ReadToken()
		if err != nil {
			break // the end: the object is valid
		}
		if name, last := in.StackIndex(in.StackDepth()); name == jsontext.KindBeginObject && last%2 == 1 && secretClaim(token.String()) {
			_ = in.SkipValue()
			continue
		}
		if err := to.WriteToken(token); err != nil {
			break
		}
	}
	return bytes.TrimSpace(out.Bytes())
}

// Entities builds again the entities that evaluations name, each once.
type Entities struct {
	known map[deputy.EntityID]Entity // nil where the facts are gone
}

// Missing returns which of the entities of an evaluation have not been added,
// appended to ids.
func (e *Entities) Missing(of *deputy.Evaluation, ids []deputy.EntityID) []deputy.EntityID {
	visit := func(id deputy.EntityID) {
		if _, known := e.known[id]; !known && id != (deputy.EntityID{}) && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for _, leg := range of.Legs {
		visit(leg.Principal)
	}
	for _, id := range []deputy.EntityID{of.Resource, of.From, of.Subject, of.ActorClaims, of.SubjectClaims} {
		visit(id)
	}
	return ids
}

// Add builds the entity that the facts are of; nil facts are those of one that
// is not kept any more. It fails with Invalid on anything but facts.
func (e *Entities) Add(id deputy.EntityID, written []byte) error {
	if e.known == nil {
		e.known = map[deputy.EntityID]Entity{}
	}
	if written == nil {
		e.known[id] = nil
		return nil
	}
	var f facts
	if err := json.Unmarshal(written, &f, jsontext.AllowInvalidUTF8(true)); err != nil {
		return deputy.Error{Kind: deputy.Invalid, Message: "the facts of an entity are unreadable"}.Because(err)
	}
	switch {
	case f.Application != nil:
		e.known[id] = NewApplication(*f.Application)
	case f.User != nil:
		e.known[id] = NewUser(*f.User)
	case f.Resource != nil:
		e.known[id] = NewResource(*f.Resource)
	case f.Claims != nil:
		claims, err := NewClaims(f.Claims)
		if err != nil {
			return err
		}
		e.known[id] = claims
	default:
		return deputy.Errorf(deputy.Invalid, "the facts of an entity are of an unknown kind")
	}
	return nil
}

// Request returns the request that an evaluation answered. It is NotFound when
// one of its entities is not kept any more.
func (e *Entities) Request(of *deputy.Evaluation) (Request, error) {
	r := Request{Impersonate: of.Impersonate, Scopes: of.Scopes, Narrowable: of.Narrowable}
	whole := true
	for _, leg := range of.Legs {
		p, ok := e.known[leg.Principal].(Principal)
		whole = whole && ok
		r.Legs = append(r.Legs, Leg{Principal: p, OnBehalf: leg.OnBehalf})
	}
	whole = pick(e, of.Resource, &r.Resource) && pick(e, of.From, &r.From) && pick(e, of.Subject, &r.Subject) &&
		pick(e, of.ActorClaims, &r.ActorClaims) && pick(e, of.SubjectClaims, &r.SubjectClaims) && whole
	if !whole {
		return Request{}, deputy.Errorf(deputy.NotFound, "what the decision was made of is not kept any more")
	}
	return r, nil
}

// pick finds an entity of a kind, and reports whether it is there if there is
// one at all.
func pick[E any](e *Entities, id deputy.EntityID, to *E) (ok bool) {
	if id == (deputy.EntityID{}) {
		return true
	}
	*to, ok = e.known[id].(E)
	return ok
}
