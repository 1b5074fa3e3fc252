package deputy

import (
	"crypto/sha256"
	"time"
)

// Outcome is how an event ended.
type Outcome string

// The outcomes.
const (
	Success Outcome = "success"
	Failure Outcome = "failure"
)

// Actor is who did it. For a chain of actors, IdentityChain lists them from
// the one acting to the person behind.
type Actor struct {
	Type          string  `json:"type"` // service_account, application, user, platform, anonymous
	ID            string  `json:"id,omitzero"`
	Identifier    string  `json:"identifier,omitzero"`
	IdentityChain []Actor `json:"identity_chain,omitempty"`
}

// EventResource names the resource that was asked for.
type EventResource struct {
	ID         ResourceID `json:"id,omitzero"`
	Identifier string     `json:"identifier"`
}

// EventPolicy names what decided.
type EventPolicy struct {
	SetID         ID       `json:"set_id"`
	SetVersionID  ID       `json:"set_version_id"`
	Version       int      `json:"version"`
	SchemaVersion string   `json:"schema_version,omitzero"`
	ManifestSHA   string   `json:"manifest_sha,omitzero"`
	Determining   []string `json:"determining,omitempty"` // labels of the policies that made the decision
	// Policies are the versions behind the labels, in the same order.
	Policies []EventPolicyVersion `json:"policies,omitempty"`
	// Latency is how long the decision took, in microseconds, rounded up; 0
	// where the clock saw no time pass.
	Latency int64 `json:"latency_us,omitzero"`
}

// EventPolicyVersion is a policy version that made a decision.
type EventPolicyVersion struct {
	PolicyID  ID `json:"policy_id"`
	VersionID ID `json:"policy_version_id"`
}

// Event is one entry of an organization's log: what was asked, by whom, how it
// ended. It never holds a token, secret, code or verifier.
//
// Its JSON form, with the personal fields sealed where a person is involved,
// is what the log keeps and what its leaf hash commits to.
type Event struct {
	ID              EventID        `json:"id"` // also the jti of the credential it records
	Time            time.Time      `json:"time"`
	Type            string         `json:"type"` // plural:verb, such as credentials:issue
	Outcome         Outcome        `json:"outcome"`
	Error           string         `json:"error,omitzero"`
	ErrorDetail     string         `json:"error_description,omitzero"`
	ZoneID          ZoneID         `json:"zone_id,omitzero"`
	OrganizationID  OrganizationID `json:"organization_id"`
	RequestID       string         `json:"request_id,omitzero"`
	Actor           Actor          `json:"actor"`
	Target          *Target        `json:"target,omitzero"` // management calls: what was changed
	ClientID        string         `json:"client_id,omitzero"`
	CredentialID    CredentialID   `json:"credential_id,omitzero"`
	UserID          UserID         `json:"user_id,omitzero"`
	Resource        *EventResource `json:"resource,omitzero"`
	ProviderID      ProviderID     `json:"provider_id,omitzero"`
	GrantType       string         `json:"grant_type,omitzero"`
	ScopesRequested []string       `json:"scopes_requested,omitempty"`
	ScopesGranted   []string       `json:"scopes_granted,omitempty"`
	JTI             EventID        `json:"jti,omitzero"`
	SessionID       SessionID      `json:"session_id,omitzero"`
	Policy          *EventPolicy   `json:"policy,omitzero"`
	Package         *EventPackage  `json:"package,omitzero"`
	IP              string         `json:"ip,omitzero"`
	UserAgent       string         `json:"user_agent,omitzero"`
	Changes         []string       `json:"changes,omitempty"` // field names only
	Count           int            `json:"count,omitzero"`    // how many of a kind a summary stands for

	// Evaluation is what policy decided, where it was asked.
	Evaluation *Evaluation `json:"evaluation,omitzero"`

	// Basis is the state of the zone that the decision relied on; nil for a
	// change that decides nothing. It is not part of the event.
	Basis *Basis `json:"-"`
	// UserKey names the data key of the person involved. When it is set, what
	// the event knows of that person (IP, UserAgent, identifiers of user actors)
	// is sealed under it before it is stored. It is not part of the event.
	UserKey ID `json:"-"`
	// With are events of the same organization that are recorded right after
	// this one, in the same commit. They are not part of the event.
	With []*Event `json:"-"`
}

// EventPackage is the package that a change is about, or that was installed by
// the task that made the change.
type EventPackage struct {
	ID        ID       `json:"id"`
	Slug      string   `json:"slug"`
	Version   int      `json:"version,omitzero"`
	InstallID ID       `json:"install_id,omitzero"`
	TaskID    ID       `json:"task_id,omitzero"`
	Entities  []string `json:"entities,omitempty"` // of the install, such as "created provider"
}

// Target is the entity that a management call was about.
type Target struct {
	Type string `json:"type"` // the noun, such as application
	ID   string `json:"id"`
	// PreviousID is what it takes the place of: of a policy set version that is
	// activated, the version that decided before.
	PreviousID string `json:"previous_id,omitzero"`
}

// Term is a kind of thing that events are found by.
type Term byte

// The terms, those first that name the fewest events. Their numbers are part of
// what is stored.
const (
	TermRequest     Term = iota + 1 // the request id
	TermSession                     // the id of the session, or of the one that was changed
	TermUser                        // so of the user, or of one who acted
	TermResource                    // so of the resource
	TermApplication                 // so of the application
	TermOutcome
	TermType
)

// Terms lists the terms in their order.
var Terms = []Term{TermRequest, TermSession, TermUser, TermResource, TermApplication, TermOutcome, TermType}

// Terms calls visit for everything that the event is found by. Some may come
// more than once.
func (e *Event) Terms(visit func(Term, string)) {
	visit(TermType, e.Type)
	visit(TermOutcome, string(e.Outcome))
	some := func(t Term, value string) {
		if value != "" {
			visit(t, value)
		}
	}
	some(TermRequest, e.RequestID)
	some(TermSession, string(e.SessionID))
	some(TermUser, string(e.UserID))
	if e.Resource != nil {
		some(TermResource, string(e.Resource.ID))
	}
	e.Actor.terms(some)
	if e.Target == nil {
		return
	}
	switch e.Target.Type {
	case "session":
		some(TermSession, e.Target.ID)
	case "user":
		some(TermUser, e.Target.ID)
	case "resource":
		some(TermResource, e.Target.ID)
	case "application":
		some(TermApplication, e.Target.ID)
	}
}

func (a *Actor) terms(visit func(Term, string)) {
	switch a.Type {
	case "user":
		visit(TermUser, a.ID)
	case "application":
		visit(TermApplication, a.ID)
	}
	for i := range a.IdentityChain {
		a.IdentityChain[i].terms(visit)
	}
}

// LeafHash returns the RFC 6962 §2.1 hash of a leaf of the log.
func LeafHash(record []byte) [32]byte {
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(record)
	return [32]byte(h.Sum(nil))
}
