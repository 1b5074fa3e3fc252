package policy

import (
	"fmt"
	"strconv"

	"deputy/internal/deputy"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// SetVersion is an immutable version of a policy set, as stored.
type SetVersion struct {
	ID            deputy.ID // of the version
	SetID         deputy.ID
	SetName       string
	Number        int // the version's number within its set
	SchemaVersion string
	Entries       []Entry // in manifest order
}

// SetRef names the set version that made a decision.
type SetRef struct {
	VersionID     deputy.ID
	SetID         deputy.ID
	SetName       string
	Number        int
	SchemaVersion string
	ManifestSHA   string
}

// PolicyRef names a policy version within a set version.
type PolicyRef struct {
	PolicyID  deputy.ID
	VersionID deputy.ID
	Name      string
	// Label is how the policy is called outside: <policy set id>::<@id>, or
	// <policy set id>::policy<N> with N the entry's index where it has no @id;
	// # and the index follow when an earlier entry has the same label.
	Label  string
	Effect Effect
}

// Set is a compiled policy set version. It is immutable and safe for
// concurrent use. The nil set denies everything.
type Set struct {
	ref      SetRef
	shape    shape
	policies []PolicyRef // in manifest order
	position map[types.PolicyID]int
	index    *index
	claims   bool // some policy reads claims
	// affiliations says that some policy names a group or a role.
	affiliations bool
}

// Compile makes a set version ready to decide. It fails when an entry's text
// is not one policy, does not have the content hash that the entry states, or
// appears twice, and when the schema version is unknown: a set that cannot be
// trusted to be the one reviewed must not decide.
func Compile(v SetVersion) (*Set, error) {
	if _, err := LookupSchema(v.SchemaVersion); err != nil {
		return nil, fmt.Errorf("compile policy set version %s: schema %q: %w", v.ID, v.SchemaVersion, err)
	}
	sha, err := ManifestSHA(v.Entries)
	if err != nil {
		return nil, err
	}
	s := &Set{
		ref: SetRef{
			VersionID: v.ID, SetID: v.SetID, SetName: v.SetName, Number: v.Number,
			SchemaVersion: v.SchemaVersion, ManifestSHA: sha,
		},
		shape:    shapeOf(v.SchemaVersion),
		policies: make([]PolicyRef, len(v.Entries)),
		position: make(map[types.PolicyID]int, len(v.Entries)),
	}
	members := make([]member, len(v.Entries))
	labels := make(map[string]bool, len(v.Entries))
	for i, e := range v.Entries {
		m, err := compileEntry(e)
		if err != nil {
			return nil, fmt.Errorf("compile policy set version %s: entry %d: %w", v.ID, i, err)
		}
		if _, twice := s.position[m.id]; twice {
			return nil, fmt.Errorf("compile policy set version %s: entry %d: policy version %s appears twice", v.ID, i, e.VersionID)
		}
		members[i] = m
		s.claims = s.claims || readsClaims((*ast.Policy)(m.policy.AST()))
		s.affiliations = s.affiliations || namesAffiliation(m.policy)
		s.position[m.id] = i
		s.policies[i] = PolicyRef{
			PolicyID: e.PolicyID, VersionID: e.VersionID, Name: e.PolicyName,
			Label: label(labels, v.SetID, annotation(m.policy, "id"), i), Effect: effect(m.policy),
		}
	}
	s.index = newIndex(members)
	return s, nil
}

// CompileBound compiles a set version with what it pins, as stored. It is the
// nil set, which denies everything, where no version is bound. Beyond what
// [Compile] refuses, it fails where the manifest is not the one that its hash
// was made of.
func CompileBound(b *deputy.BoundPolicy) (*Set, error) {
	if b.Set == nil {
		return nil, nil
	}
	v := SetVersion{
		ID: b.Version.ID, SetID: b.Set.ID, SetName: b.Set.Name,
		Number: b.Version.Version, SchemaVersion: b.Version.SchemaVersion,
		Entries: make([]Entry, len(b.Policies)),
	}
	for i, p := range b.Policies {
		v.Entries[i] = Entry{
			PolicyID: p.Version.PolicyID, VersionID: p.Version.ID, PolicyName: p.Name,
			Text: p.Version.Text, SHA: p.Version.SHA,
		}
	}
	set, err := Compile(v)
	if err != nil {
		return nil, err
	}
	if got := set.ref.ManifestSHA; got != b.Version.ManifestSHA {
		return nil, fmt.Errorf("policy set version %s has the manifest hash %s, not %s", v.ID, got, b.Version.ManifestSHA)
	}
	return set, nil
}

// compileEntry compiles one policy version and checks its content hash.
func compileEntry(e Entry) (member, error) {
	p, f := compile(e.Text)
	if f != nil {
		return member{}, fmt.Errorf("policy version %s: %s", e.VersionID, f)
	}
	raw, err := canonicalJSON(p)
	if err != nil {
		return member{}, err
	}
	if got := hash(raw); got != e.SHA {
		return member{}, fmt.Errorf("policy version %s has the content hash %s, not %s", e.VersionID, got, e.SHA)
	}
	return member{id: types.PolicyID(e.VersionID), policy: p}, nil
}

// label picks the label of the entry at index i, unique among those taken.
func label(taken map[string]bool, set deputy.ID, id string, i int) string {
	if id == "" {
		id = "policy" + strconv.Itoa(i)
	}
	l := string(set) + "::" + id
	for taken[l] {
		l += "#" + strconv.Itoa(i)
	}
	taken[l] = true
	return l
}

// ReadsAffiliations reports whether a decision of the set may depend on the
// groups and roles of somebody.
func (s *Set) ReadsAffiliations() bool { return s != nil && s.affiliations }

// Policies returns the set's policies in manifest order.
func (s *Set) Policies() []PolicyRef {
	if s == nil {
		return nil
	}
	return append([]PolicyRef(nil), s.policies...)
}

// readsClaims reports whether a decision may depend on the claims of tokens.
func (s *Set) readsClaims() bool { return s != nil && s.claims }
