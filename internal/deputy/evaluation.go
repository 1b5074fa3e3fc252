package deputy

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"slices"
	"sync/atomic"
	"time"
)

// EntityID names an entity as policies saw it: who or what it is, with all its
// attributes at the time. Where these tell nothing of a person it is a hash of
// them; else it is random, since a hash would still tell who was meant once the
// person is forgotten.
type EntityID [16]byte

// entities counts the ids given out here, from a random number on.
var entities = func() *atomic.Uint64 {
	var start [8]byte
	fillRandom(start[:])
	n := new(atomic.Uint64)
	n.Store(binary.BigEndian.Uint64(start[:]))
	return n
}()

// NewEntityID returns a new id: a count, then 64 random bits. So what is kept at
// one time lies together in an index, and is written together: most tokens that
// are presented have claims that no other has.
func NewEntityID() (id EntityID) {
	binary.BigEndian.PutUint64(id[:8], entities.Add(1))
	fillRandom(id[8:])
	return id
}

func fillRandom(b []byte) {
	if _, err := rand.Read(b); err != nil {
		panic(err) // crypto/rand does not fail on supported systems
	}
}

// String returns the id in base64url.
func (id EntityID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// MarshalText writes the id in base64url.
func (id EntityID) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, id[:]), nil
}

// UnmarshalText reads what MarshalText wrote.
func (id *EntityID) UnmarshalText(text []byte) error {
	b, err := base64.RawURLEncoding.AppendDecode(nil, text)
	if err != nil || len(b) != len(id) {
		return Errorf(Invalid, "not the id of an entity")
	}
	*id = EntityID(b)
	return nil
}

// EntityUse is how often it is said of an entity that decisions still name it:
// one that was last said to be in use at a time may be named until so long
// after.
const EntityUse = 24 * time.Hour

// PolicyEntity is an entity as policies saw it, kept for as long as decisions
// that name it can be made again.
type PolicyEntity struct {
	ID     EntityID
	Sealed bool // under the data key of the person whom it tells of
	Data   []byte
}

// Evaluation is what a policy decision was made of, and what it was: with the
// entities that it names it can be made again, by any policies. What decided is
// in the event's Policy.
type Evaluation struct {
	Legs []EvaluatedLeg `json:"legs"`
	// Entities; the zero id is none.
	Resource      EntityID `json:"resource"`
	From          EntityID `json:"from,omitzero"` // whose token was presented
	Subject       EntityID `json:"subject,omitzero"`
	ActorClaims   EntityID `json:"actor_claims,omitzero"`
	SubjectClaims EntityID `json:"subject_claims,omitzero"`
	Impersonate   bool     `json:"impersonate,omitzero"`
	Narrowable    bool     `json:"narrowable,omitzero"`
	Scopes        []string `json:"scopes,omitempty"` // asked about
	Kept          []string `json:"kept,omitempty"`   // of these
	Refusal       string   `json:"refusal,omitzero"` // empty when it was allowed
	// Errors are the labels of policies that could not be evaluated. What went
	// wrong is not kept: it may quote what the claims say.
	Errors []string `json:"errors,omitempty"`
	// Shadow is set where the decision had no say.
	Shadow *ShadowOf `json:"shadow,omitzero"`
}

// EvaluatedLeg is one of the questions that all had to be answered with yes.
type EvaluatedLeg struct {
	Principal EntityID `json:"principal"`
	OnBehalf  bool     `json:"on_behalf,omitzero"`
	Allowed   bool     `json:"allowed,omitzero"`
}

// ShadowOf is the decision that was enforced where a shadow was asked as well.
type ShadowOf struct {
	Event    EventID      `json:"event"`
	Policy   *EventPolicy `json:"policy,omitzero"`
	Kept     []string     `json:"kept,omitempty"`
	Refusal  string       `json:"refusal,omitzero"`
	Diverged bool         `json:"diverged,omitzero"` // the shadow would have answered otherwise
}

// Allowed reports whether the decision was to allow.
func (e *Evaluation) Allowed() bool { return e.Refusal == "" }

// evaluationKey is how the evaluation begins in the bytes of a record. No text
// can hold it, because its quotation marks would be escaped there.
var evaluationKey = []byte(`,"evaluation":`)

// EvaluationBytes returns the evaluation in the bytes of a record, or nil when
// there is none. It is the same for the same question with the same answer.
func EvaluationBytes(record []byte) []byte {
	_, evaluation, found := bytes.Cut(record, evaluationKey)
	if !found {
		return nil
	}
	return evaluation[:len(evaluation)-1] // the last member
}

// shadowKey is how what makes an evaluation a shadow's begins in its bytes.
var shadowKey = []byte(`,"shadow":`)

// Enforced reports whether the bytes of an evaluation are those of a decision
// that was enforced.
func Enforced(evaluation []byte) bool { return !bytes.Contains(evaluation, shadowKey) }

// append writes the evaluation as JSON, in the order of its fields.
func (e *Evaluation) append(w object) object {
	w = append(w, '{')
	w.key("legs")
	w = append(w, '[')
	for i := range e.Legs {
		l := &e.Legs[i]
		if i > 0 {
			w = append(w, ',')
		}
		w = append(w, '{')
		w.entity("principal", l.Principal)
		w.flag("on_behalf", l.OnBehalf)
		w.flag("allowed", l.Allowed)
		w = append(w, '}')
	}
	w = append(w, ']')
	w.entity("resource", e.Resource)
	w.entity("from", e.From)
	w.entity("subject", e.Subject)
	w.entity("actor_claims", e.ActorClaims)
	w.entity("subject_claims", e.SubjectClaims)
	w.flag("impersonate", e.Impersonate)
	w.flag("narrowable", e.Narrowable)
	w.texts("scopes", e.Scopes)
	w.texts("kept", e.Kept)
	w.text("refusal", e.Refusal)
	w.texts("errors", e.Errors)
	if s := e.Shadow; s != nil {
		w.key("shadow")
		w = append(w, '{')
		w.text("event", string(s.Event))
		w.policy(s.Policy)
		w.texts("kept", s.Kept)
		w.text("refusal", s.Refusal)
		w.flag("diverged", s.Diverged)
		w = append(w, '}')
	}
	return append(w, '}')
}

// entity appends a member unless the id is zero.
func (w *object) entity(name string, id EntityID) {
	if id == (EntityID{}) {
		return
	}
	w.key(name)
	*w = append(base64.RawURLEncoding.AppendEncode(append(*w, '"'), id[:]), '"')
}

// flag appends a member unless it is false.
func (w *object) flag(name string, value bool) {
	if value {
		w.key(name)
		*w = append(*w, "true"...)
	}
}

// EvaluationFilter selects records that tell of a decision of policy. What is
// nil or empty selects all.
type EvaluationFilter struct {
	Allowed     *bool
	Shadow      *bool // whether the decision had no say
	Diverged    *bool // whether a shadow would have answered otherwise
	SetVersions []ID  // one of which decided
}

// String tells filters apart.
func (f *EvaluationFilter) String() string {
	if f == nil {
		return ""
	}
	b, _ := json.Marshal(f) // of plain values
	return string(b)
}

// Match reports whether a record tells of such a decision.
func (f *EvaluationFilter) Match(record []byte) (bool, error) {
	raw := EvaluationBytes(record)
	if raw == nil {
		return false, nil
	}
	var told struct {
		Policy     *EventPolicy `json:"policy"`
		Evaluation Evaluation   `json:"evaluation"`
	}
	var err error
	if len(f.SetVersions) > 0 {
		err = json.Unmarshal(record, &told)
	} else {
		err = json.Unmarshal(raw, &told.Evaluation)
	}
	if err != nil {
		return false, err
	}
	e := &told.Evaluation
	return (f.Allowed == nil || *f.Allowed == e.Allowed()) &&
		(f.Shadow == nil || *f.Shadow == (e.Shadow != nil)) &&
		(f.Diverged == nil || *f.Diverged == (e.Shadow != nil && e.Shadow.Diverged)) &&
		(len(f.SetVersions) == 0 || told.Policy != nil && slices.Contains(f.SetVersions, told.Policy.SetVersionID)), nil
}

// EvaluationQuery selects decisions of policy that were enforced in a zone,
// newest first.
type EvaluationQuery struct {
	Organization OrganizationID
	Zone         ZoneID
	Since, Until time.Time // zero: open
	Before       int64     // a position in the log; 0: its end
	Limit        int
}

// StoredEvaluation is a decision of policy in the log: the bytes of its
// [Evaluation], which may be shared and must not be changed.
type StoredEvaluation struct {
	ID    EventID
	Seq   int64
	Bytes []byte
}
