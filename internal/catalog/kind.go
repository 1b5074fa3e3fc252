package catalog

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"deputy/internal/deputy"
)

// EntityType is what an entity of a graph is in the zone.
type EntityType string

// The types of entities.
const (
	Provider    EntityType = "provider"
	Application EntityType = "application"
	Credential  EntityType = "application-credential"
	Resource    EntityType = "resource"
	Dependency  EntityType = "application-dependency"
	Secret      EntityType = "secret"
)

// outputs are what an entity of each type shows to those made after it and to
// output bindings. No secret is among them.
var outputs = map[EntityType][]string{
	Provider:    {"id", "identifier", "slug", "redirect_uri"},
	Application: {"id", "identifier", "slug"},
	Credential:  {"id", "identifier"},
	Resource:    {"id", "identifier", "slug"},
	Dependency:  {"id"},
	Secret:      {"id"},
}

// Outputs returns what an entity of the type shows.
func Outputs(t EntityType) []string { return outputs[t] }

// Key says what the identity of an entity is compared with.
type Key string

// The keys.
const (
	ByIdentifier Key = "identifier"
	ByID         Key = "id"
	ByType       Key = "type"
)

// Kind is a recipe shape: a schema of inputs and a graph of entities. It is
// immutable.
type Kind struct {
	Name, Title, Description string
	Inputs                   *Schema
	Entities                 []*Entity // each behind those it refers to
}

// Entity is one node of a kind's graph.
type Entity struct {
	Name string
	Type EntityType
	// Reference entities must exist; the others are made when they do not.
	Reference bool
	// Key is what Identity finds an existing entity by.
	Key      Key
	identity *Expression
	bindings *Expression // body of the create call; nil for references
	when     *Expression // nil: always
	each     *Expression // a list: one instance for each element, called item
	links    []Link
}

// Each reports whether there may be any number of the entity.
func (e *Entity) Each() bool { return e.each != nil }

// Link is a relation of an entity or a package, after RFC 7033 §4.4.4.
type Link struct {
	Rel        string                    `json:"rel"`
	Href       string                    `json:"href"`
	Type       string                    `json:"type,omitzero"`
	Titles     map[string]string         `json:"titles,omitempty"`
	Properties map[string]jsontext.Value `json:"properties,omitempty"`
}

// dependsOn is the relation that orders entities.
const dependsOn = "depends-on"

// kindFile is a kind as its file has it.
type kindFile struct {
	Title       string         `json:"title"`
	Description string         `json:"description"`
	Inputs      jsontext.Value `json:"input_schema"`
	Entities    []entityFile   `json:"entities"`
}

type entityFile struct {
	Name      string            `json:"name"`
	Type      EntityType        `json:"type"`
	Mode      string            `json:"mode"`
	Key       Key               `json:"key"`
	Identity  string            `json:"identity"`
	Bindings  map[string]string `json:"bindings"` // member to expression
	When      string            `json:"when"`
	Each      string            `json:"each"`
	DependsOn []string          `json:"depends_on"`
}

// ParseKind reads and checks a kind: its schema, that every expression refers
// to inputs of the schema and to entities of the graph, and that these form no
// cycle. The entities are put into an order in which they can be made.
func ParseKind(name string, raw []byte) (*Kind, error) {
	var file kindFile
	if err := json.Unmarshal(raw, &file, json.RejectUnknownMembers(true)); err != nil {
		return nil, err
	}
	k := &Kind{Name: name, Title: file.Title, Description: file.Description}
	var findings Findings
	if k.Inputs = parseSchema(file.Inputs, "input_schema", &findings); k.Inputs == nil {
		return nil, report(findings)
	}
	for _, f := range file.Entities {
		k.Entities = append(k.Entities, f.parse(k, &findings))
	}
	if len(findings) > 0 {
		return nil, report(findings)
	}
	return k, k.order(&findings)
}

// report returns the findings with their fields, for whoever writes a kind.
func report(findings Findings) error {
	if len(findings) == 0 {
		return nil
	}
	var lines []string
	for _, f := range findings {
		lines = append(lines, f.Field+": "+f.Message)
	}
	return deputy.Errorf(deputy.Invalid, "%s", strings.Join(lines, "; "))
}

func (f *entityFile) parse(k *Kind, findings *Findings) *Entity {
	at := "entities." + f.Name
	e := &Entity{Name: f.Name, Type: f.Type, Key: f.Key, Reference: f.Mode == "reference"}
	if e.Key == "" {
		e.Key = ByIdentifier
	}
	switch {
	case !name.MatchString(f.Name), f.Name == "inputs", f.Name == "item":
		findings.add(at, "must have a name of its own")
	case k.entity(f.Name) != nil:
		findings.add(at, "is there twice")
	case outputs[f.Type] == nil:
		findings.add(at+".type", "is not a type of entity")
	case !e.Reference && f.Mode != "managed":
		findings.add(at+".mode", "must be managed or reference")
	case e.Reference != (f.Bindings == nil):
		findings.add(at+".bindings", "belong to managed entities")
	}
	e.identity = parseExpression(f.Identity, entities, at+".identity", findings)
	if f.Bindings != nil {
		e.bindings = parseExpression(mapLiteral(f.Bindings), entities, at+".bindings", findings)
		if e.bindings != nil {
			e.bindings.literal(at+".bindings", findings)
		}
	}
	if f.When != "" {
		e.when = parseExpression(f.When, entities, at+".when", findings)
	}
	if f.Each != "" {
		e.each = parseExpression(f.Each, entities, at+".each", findings)
	}
	for _, other := range f.DependsOn {
		e.links = append(e.links, Link{Rel: dependsOn, Href: "#" + other})
	}
	return e
}

// mapLiteral writes the CEL map of a body from its members' expressions. A
// member that is an object holds its own members.
func mapLiteral(members map[string]string) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, n := range sorted(members) {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q: %s", n, members[n])
	}
	b.WriteByte('}')
	return b.String()
}

// entity returns the entity with the name, or nil.
func (k *Kind) entity(name string) *Entity {
	i := slices.IndexFunc(k.Entities, func(e *Entity) bool { return e.Name == name })
	if i < 0 {
		return nil
	}
	return k.Entities[i]
}

// needs returns the entities that must be made before e.
func (k *Kind) needs(e *Entity, findings *Findings) map[string]bool {
	out := map[string]bool{}
	for what, x := range map[string]*Expression{"identity": e.identity, "bindings": e.bindings, "when": e.when, "each": e.each} {
		if x == nil {
			continue
		}
		at := "entities." + e.Name + "." + what
		for _, r := range x.references(x.tree.NativeRep().Expr()) {
			switch {
			case len(r.path) == 0:
				findings.add(at, "must say which entity it refers to")
			case r.path[0] == "item":
				if e.each == nil {
					findings.add(at, "only entities with each have an item")
				}
			case r.path[0] != "inputs":
				k.checkOutput(r, at, findings)
				out[r.path[0]] = true
			case len(r.path) < 2 || !k.Inputs.Has(r.path[1]):
				findings.add(at, "refers to no input of the kind")
			}
		}
	}
	for _, l := range e.links {
		if other := strings.TrimPrefix(l.Href, "#"); k.entity(other) == nil {
			findings.add("entities."+e.Name+".depends_on", "there is no entity called %s", other)
		} else {
			out[other] = true
		}
	}
	return out
}

// checkOutput checks a reference to what an entity shows.
func (k *Kind) checkOutput(r reference, at string, findings *Findings) {
	e := k.entity(r.path[0])
	switch {
	case e == nil || e.Each():
		findings.add(at, "there is no entity called %s", r.path[0])
	case len(r.path) == 1 && r.test, len(r.path) == 2 && r.path[1] == "href":
	case len(r.path) == 3 && r.path[1] == "outputs" && slices.Contains(outputs[e.Type], r.path[2]):
	default:
		findings.add(at, "%s has only href and outputs: %s", r.path[0], strings.Join(outputs[e.Type], ", "))
	}
}

// order sorts the entities so that each comes behind those it needs, and
// otherwise as they are written.
func (k *Kind) order(findings *Findings) error {
	waiting := map[string]map[string]bool{}
	for _, e := range k.Entities {
		waiting[e.Name] = k.needs(e, findings)
	}
	if len(*findings) > 0 {
		return report(*findings)
	}
	var done []*Entity
	for len(done) < len(k.Entities) {
		next := slices.IndexFunc(k.Entities, func(e *Entity) bool {
			needs, open := waiting[e.Name]
			return open && len(needs) == 0
		})
		if next < 0 {
			return deputy.Errorf(deputy.Invalid, "the entities %s wait for each other", strings.Join(sorted(waiting), ", "))
		}
		e := k.Entities[next]
		done = append(done, e)
		delete(waiting, e.Name)
		for _, needs := range waiting {
			delete(needs, e.Name)
		}
	}
	k.Entities = done
	return nil
}

// Made is an entity that exists, as expressions see it.
type Made struct {
	Href    string
	Outputs Values
}

// Wanted is an entity that an install asks for.
type Wanted struct {
	Entity   *Entity
	Name     string // the entity's, with a number behind it where there are several
	Identity string // what an existing one is found by
	Body     Values // of the create call
}

// Wanted computes what an install wants of an entity, once all before it are
// made: nothing, one, or several. The inputs are those that Merge returned.
func (k *Kind) Wanted(ctx context.Context, e *Entity, inputs Values, made map[string]Made) ([]Wanted, error) {
	scope := k.scope(inputs, made)
	if e.when != nil {
		applies, err := e.when.evaluate(ctx, scope)
		if err != nil || applies != true {
			return nil, e.blame(err)
		}
	}
	if e.each == nil {
		w, err := e.wanted(ctx, e.Name, scope)
		if err != nil {
			return nil, err
		}
		return []Wanted{*w}, nil
	}
	v, err := e.each.evaluate(ctx, scope)
	if err != nil {
		return nil, e.blame(err)
	}
	items, _ := v.([]any)
	var out []Wanted
	for i, item := range items {
		scope["item"] = item
		w, err := e.wanted(ctx, fmt.Sprintf("%s-%d", e.Name, i+1), scope)
		if err != nil {
			return nil, err
		}
		out = append(out, *w)
	}
	return out, nil
}

func (e *Entity) wanted(ctx context.Context, name string, scope map[string]any) (*Wanted, error) {
	w := &Wanted{Entity: e, Name: name}
	identity, err := e.identity.evaluate(ctx, scope)
	if err != nil {
		return nil, e.blame(err)
	}
	w.Identity, _ = identity.(string)
	if w.Identity == "" {
		return nil, e.blame(deputy.Errorf(deputy.Invalid, "its identity is empty"))
	}
	if e.bindings == nil {
		return w, nil
	}
	body, err := e.bindings.evaluate(ctx, scope)
	if err != nil {
		return nil, e.blame(err)
	}
	w.Body, _ = withoutNulls(body).(map[string]any)
	return w, nil
}

// blame says which entity an error is about.
func (e *Entity) blame(err error) error {
	if err == nil {
		return nil
	}
	return deputy.Bad("entities."+e.Name, "%s: %v", e.Name, err)
}

// scope returns what the expressions of the graph see. Inputs that are not
// given are null there, so that a kind can pass them on without asking.
func (k *Kind) scope(inputs Values, made map[string]Made) map[string]any {
	all := map[string]any{}
	for _, name := range k.Inputs.Properties() {
		all[name] = nil
	}
	maps.Copy(all, inputs)
	return scope(all, made)
}

func scope(inputs Values, made map[string]Made) map[string]any {
	out := map[string]any{"inputs": map[string]any(inputs)}
	for name, m := range made {
		out[name] = map[string]any{"href": m.Href, "outputs": map[string]any(m.Outputs)}
	}
	return out
}

// withoutNulls drops the members of objects that are null: they are not set.
func withoutNulls(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, member := range v {
			if member != nil {
				out[name] = withoutNulls(member)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = withoutNulls(item)
		}
		return out
	}
	return v
}

// OutputSchema describes what each entity shows, as output bindings see it.
func (k *Kind) OutputSchema() Values {
	properties := map[string]any{}
	for _, e := range k.Entities {
		if e.Each() {
			continue
		}
		shown := map[string]any{}
		for _, name := range outputs[e.Type] {
			shown[name] = map[string]any{"type": "string"}
		}
		properties[e.Name] = map[string]any{"type": "object", "properties": map[string]any{
			"href":    map[string]any{"type": "string"},
			"outputs": map[string]any{"type": "object", "properties": shown},
		}}
	}
	return Values{"type": "object", "properties": properties}
}
