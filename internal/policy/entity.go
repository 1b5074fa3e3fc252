package policy

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"

	"deputy/internal/deputy"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Entity types of the platform's schemas.
const (
	userType               types.EntityType = "Keycard::User"
	applicationType        types.EntityType = "Keycard::Application"
	resourceType           types.EntityType = "Keycard::Resource"
	claimsType             types.EntityType = "Keycard::Claims"
	groupType              types.EntityType = "Keycard::Group"
	roleType               types.EntityType = "Keycard::Role"
	registrationMethodType types.EntityType = "Keycard::RegistrationMethod"
	credentialTypeType     types.EntityType = "Keycard::CredentialType"
)

// accessAction is the one action of issuing a credential.
var accessAction = types.NewEntityUID("Keycard::Action", "access")

// shape is how a schema version shows the same facts as entities.
type shape int

const (
	plainShape  shape = iota // 2026-02-24: strings, no identifiers
	enumShape                // since 2026-03-16: enumerations, identifiers
	memberShape              // since 2026-06-18: groups and roles as parents
	shapes
)

// shapeOf returns the shape of a schema version.
func shapeOf(version string) shape {
	switch {
	case version < "2026-03-16":
		return plainShape
	case version < "2026-06-18":
		return enumShape
	}
	return memberShape
}

// drawn holds an entity in each shape it has been asked for.
type drawn [shapes]atomic.Pointer[types.Entity]

// in returns the entity in shape s, drawing it on first use.
func (d *drawn) in(s shape, draw func() types.Entity) *types.Entity {
	if e := d[s].Load(); e != nil {
		return e
	}
	e := draw()
	d[s].Store(&e)
	return &e
}

// Dependency is a resource that an application depends on, always or, with
// WhenAccessing, only in an exchange of a token for one of those resources.
type Dependency struct {
	ResourceID    deputy.ResourceID   `json:"resource_id"`
	WhenAccessing []deputy.ResourceID `json:"when_accessing,omitempty"`
}

// ApplicationFacts is what policies may know of an application.
type ApplicationFacts struct {
	ID                 deputy.ApplicationID  `json:"id"`
	Identifier         string                `json:"identifier"`
	Name               string                `json:"name"`
	RegistrationMethod string                `json:"registration_method"` // "managed" or "dcr"
	CredentialType     deputy.CredentialType `json:"credential_type"`     // of the credential used
	Dependencies       []Dependency          `json:"dependencies,omitempty"`
	Traits             []string              `json:"traits,omitempty"`
	Roles              []deputy.HeldRole     `json:"roles,omitempty"`
}

// Application is a principal, for any number of decisions of any set. Its
// entity is drawn when a decision asks for it, so that the many that callers
// keep are small. Once it is asked for its facts must not change; it is safe for
// concurrent use.
type Application struct {
	ApplicationFacts
	trace Trace
}

// NewApplication builds an application. It keeps the slices of facts, which
// must not change afterwards.
func NewApplication(facts ApplicationFacts) *Application {
	return &Application{facts, Trace{ID: hashed(facts)}}
}

// drawing is an application as an entity, in one shape, while accessing one
// resource and asking for another.
type drawing struct {
	of                *Application
	shape             shape
	accessing, wanted deputy.ResourceID
	entity            types.Entity
}

// recent holds the latest drawings. An application that decides often finds its
// own again; to keep one with every application would make callers' caches half
// as heavy again, for the microsecond that drawing takes.
var (
	recent     [1 << 10]atomic.Pointer[drawing]
	recentSeed = maphash.MakeSeed()
)

// entity returns the application as it is in a request.
func (a *Application) entity(s shape, r *Request) *types.Entity {
	var id, wanted deputy.ResourceID // empty unless it switches a dependency, or a role, on
	if r.From != nil && slices.ContainsFunc(a.Dependencies, func(d Dependency) bool {
		return slices.Contains(d.WhenAccessing, r.From.facts.ID)
	}) {
		id = r.From.facts.ID
	}
	if slices.ContainsFunc(a.Roles, func(h deputy.HeldRole) bool { return h.Resource == r.Resource.facts.ID }) {
		wanted = r.Resource.facts.ID
	}
	slot := &recent[maphash.String(recentSeed, string(a.ID))%uint64(len(recent))]
	if d := slot.Load(); d != nil && d.of == a && d.shape == s && d.accessing == id && d.wanted == wanted {
		return &d.entity
	}
	d := &drawing{of: a, shape: s, accessing: id, wanted: wanted, entity: a.draw(s, id)}
	if s == memberShape {
		d.entity.Parents = types.NewEntityUIDSet(inForce(nil, a.Roles, wanted)...)
	}
	slot.Store(d)
	return &d.entity
}

func (a *Application) draw(s shape, accessing deputy.ResourceID) types.Entity {
	var dependencies []types.Value
	for _, d := range a.Dependencies {
		if len(d.WhenAccessing) == 0 || slices.Contains(d.WhenAccessing, accessing) {
			dependencies = append(dependencies, types.NewEntityUID(resourceType, types.String(d.ResourceID)))
		}
	}
	attributes := types.RecordMap{
		"dependencies": types.NewSet(dependencies...),
		"traits":       stringSet(a.Traits),
	}
	method, credential := types.String(a.RegistrationMethod), types.String(a.CredentialType)
	if s == plainShape {
		attributes["registration_method"] = method
		attributes["credential_type"] = credential
	} else {
		attributes["identifier"] = types.String(a.Identifier)
		attributes["name"] = types.String(a.Name)
		attributes["registration_method"] = constant(registrationMethodType, method)
		attributes["credential_type"] = constant(credentialTypeType, credential)
	}
	return types.Entity{UID: types.NewEntityUID(applicationType, types.String(a.ID)), Attributes: types.NewRecord(attributes)}
}

// constants are the values of the enumerations, one each for all entities.
var constants = func() map[types.EntityUID]types.Value {
	all := map[types.EntityUID]types.Value{}
	for enum, names := range map[types.EntityType][]types.String{
		registrationMethodType: {"managed", "dcr"},
		credentialTypeType:     {"token", "password", "public-key", "url", "public"},
	} {
		for _, name := range names {
			uid := types.NewEntityUID(enum, name)
			all[uid] = uid
		}
	}
	return all
}()

// constant returns a value of an enumeration; one that is not in it matches
// nothing.
func constant(enum types.EntityType, name types.String) types.Value {
	uid := types.NewEntityUID(enum, name)
	if known, ok := constants[uid]; ok {
		return known
	}
	return uid
}

// UserFacts is what policies may know of a user.
type UserFacts struct {
	ID         deputy.UserID `json:"id"`
	Identifier string        `json:"identifier"`
	Email      string        `json:"email,omitzero"`   // "" when unknown
	Groups     []string      `json:"groups,omitempty"` // group identifiers, from claims
	// Affiliations are the groups and roles of the user in the zone. Whoever
	// knows that no policy reads them may leave them out: see
	// [Set.ReadsAffiliations].
	Affiliations deputy.Affiliations `json:"affiliations,omitzero"`
}

// User is a principal or a subject, built from its facts once, for any number
// of decisions of any set. It is immutable and safe for concurrent use.
type User struct {
	facts    UserFacts
	uid      types.EntityUID
	drawn    drawn
	trace    Trace
	contexts lastContexts // of requests for the user
}

// NewUser builds a user. It keeps the slices of facts, which must not change
// afterwards.
func NewUser(facts UserFacts) *User {
	return &User{facts: facts, uid: types.NewEntityUID(userType, types.String(facts.ID)), trace: Trace{ID: deputy.NewEntityID()}}
}

func (u *User) entity(s shape, r *Request) *types.Entity {
	e := u.drawn.in(s, func() types.Entity {
		attributes := types.RecordMap{
			"email":  types.String(u.facts.Email),
			"groups": stringSet(u.facts.Groups),
		}
		if s != plainShape {
			attributes["identifier"] = types.String(u.facts.Identifier)
		}
		return types.Entity{UID: u.uid, Attributes: types.NewRecord(attributes)}
	})
	all := &u.facts.Affiliations
	if s != memberShape || len(all.Groups) == 0 && len(all.Roles) == 0 {
		return e
	}
	member := *e // which roles count is another for another resource
	member.Parents = types.NewEntityUIDSet(u.parents(r.Resource.facts.ID)...)
	return &member
}

// ResourceFacts is what policies may know of a resource.
type ResourceFacts struct {
	ID         deputy.ResourceID `json:"id"`
	Identifier string            `json:"identifier"`
	Name       string            `json:"name"`
	Scopes     []string          `json:"scopes,omitempty"` // declared; no other scope is ever granted
}

// Resource is what a credential is asked for, built from its facts once, for
// any number of decisions of any set. It is immutable and safe for concurrent
// use.
type Resource struct {
	facts    ResourceFacts
	uid      types.EntityUID
	declared map[string]struct{}
	drawn    drawn
	trace    Trace
	contexts lastContexts // of requests without a subject
}

// NewResource builds a resource. It keeps the slices of facts, which must not
// change afterwards.
func NewResource(facts ResourceFacts) *Resource {
	r := &Resource{
		facts:    facts,
		uid:      types.NewEntityUID(resourceType, types.String(facts.ID)),
		declared: make(map[string]struct{}, len(facts.Scopes)),
		trace:    Trace{ID: hashed(facts)},
	}
	for _, s := range facts.Scopes {
		r.declared[s] = struct{}{}
	}
	return r
}

func (r *Resource) entity(s shape) *types.Entity {
	return r.drawn.in(s, func() types.Entity {
		attributes := types.RecordMap{
			"id":     types.String(r.facts.ID),
			"name":   types.String(r.facts.Name),
			"scopes": stringSet(r.facts.Scopes),
		}
		if s != plainShape {
			attributes["identifier"] = types.String(r.facts.Identifier)
		}
		return types.Entity{UID: r.uid, Attributes: types.NewRecord(attributes)}
	})
}

// Claims are the verified claims of a token. The email and groups claims are
// attributes; every other claim is a tag: strings as they are, numbers and
// booleans in JSON, arrays and objects in compact JSON, null left out. They
// are read when a policy first asks for them; few do. Claims are immutable and
// safe for concurrent use.
type Claims struct {
	object jsontext.Value
	read   func() (attributes, tags types.Record)
	trace  Trace
}

// NewClaims takes verified claims as a JSON object, such as the payload of a
// token. It keeps object, which must not change afterwards. It fails with
// Invalid when object is no JSON object or names a member twice.
func NewClaims(object []byte) (*Claims, error) {
	raw := jsontext.Value(object)
	if raw.Kind() != jsontext.KindBeginObject || !raw.IsValid() {
		return nil, deputy.Errorf(deputy.Invalid, "claims are not a JSON object with unique members")
	}
	return &Claims{
		object: raw, trace: Trace{ID: deputy.NewEntityID()},
		read: sync.OnceValues(func() (types.Record, types.Record) { return readClaims(raw) }),
	}, nil
}

// The entity ids of claims, whose token they say nothing about.
var (
	actorClaims   = types.NewEntityUID(claimsType, "actor")
	subjectClaims = types.NewEntityUID(claimsType, "subject")
)

func (c *Claims) entity(uid types.EntityUID) types.Entity {
	attributes, tags := c.read()
	return types.Entity{UID: uid, Attributes: attributes, Tags: tags}
}

// readClaims takes a valid JSON object apart, so reading it cannot fail.
func readClaims(raw jsontext.Value) (attributes, tags types.Record) {
	var members map[string]jsontext.Value
	_ = json.Unmarshal(raw, &members)
	fixed := types.RecordMap{"groups": types.NewSet()}
	free := types.RecordMap{}
	for name, value := range members {
		groups, listed := stringList(value)
		switch {
		case name == "email" && value.Kind() == jsontext.KindString:
			fixed["email"] = unquoted(value)
		case name == "groups" && listed:
			fixed["groups"] = stringSet(groups)
		case value.Kind() == jsontext.KindString:
			free[types.String(name)] = unquoted(value)
		case value.Kind() == jsontext.KindNull:
		default:
			_ = value.Compact()
			free[types.String(name)] = types.String(value)
		}
	}
	return types.NewRecord(fixed), types.NewRecord(free)
}

// unquoted returns what a valid JSON string spells.
func unquoted(value jsontext.Value) types.String {
	s, _ := jsontext.AppendUnquote(nil, value)
	return types.String(s)
}

// stringList reads an array of strings; ok is false when value is none.
func stringList(value jsontext.Value) (list []string, ok bool) {
	var elements []jsontext.Value
	if value.Kind() != jsontext.KindBeginArray || json.Unmarshal(value, &elements) != nil {
		return nil, false
	}
	for _, e := range elements {
		if e.Kind() != jsontext.KindString {
			return nil, false
		}
		list = append(list, string(unquoted(e)))
	}
	return list, true
}

// noStrings is shared by the many entities that have an empty set.
var noStrings = types.NewSet()

func stringSet(all []string) types.Set {
	if len(all) == 0 {
		return noStrings
	}
	values := make([]types.Value, len(all))
	for i, s := range all {
		values[i] = types.String(s)
	}
	return types.NewSet(values...)
}
