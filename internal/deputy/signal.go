package deputy

import (
	"net/url"
	"slices"
	"time"
)

// SignalKind is what kind of thing a signal says is over, or has changed.
type SignalKind string

// The kinds of signals. All but the last two say that what the subject names is
// over: an access token that it names, if issued no later than the signal, is
// not good any more.
const (
	SignalToken        SignalKind = "token"        // the subject is the token's jti
	SignalSession      SignalKind = "session"      // its sid
	SignalUser         SignalKind = "user"         // the sub of a person's token
	SignalClient       SignalKind = "client"       // its client_id
	SignalApplication  SignalKind = "application"  // the identifier of its application
	SignalCredential   SignalKind = "credential"   // a person's means to sign in changed; the subject is their sub
	SignalVerification SignalKind = "verification" // asked for by a receiver, for its stream alone
)

// SignalsKept is how long signals are kept for streams that are behind, and
// SignalsMatter how long a signal is of interest to whoever validates access
// tokens offline: the longest that one may live, and an hour for clocks.
const (
	SignalsKept   = 7 * 24 * time.Hour
	SignalsMatter = 25 * time.Hour
)

// Signal tells those outside of the zone that something it vouched for is over
// or has changed. It commits with that change, and its number counts within the
// zone without a gap.
type Signal struct {
	ZoneID   ZoneID
	Seq      int64
	Kind     SignalKind
	Subject  string
	Holder   string // the sub of the person whose session it is
	Detail   string // of a credential: its type, a space, and what happened; of a verification: its state
	StreamID ID     // of a verification
	At       time.Time
}

// The event types of streams (OpenID CAEP 1.0 §3, OpenID Shared Signals 1.0
// §8.1.4).
const (
	EventSessionRevoked   = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
	EventCredentialChange = "https://schemas.openid.net/secevent/caep/event-type/credential-change"
	EventVerification     = "https://schemas.openid.net/secevent/ssf/event-type/verification"
)

// SignalEvents are the event types that a receiver may ask for.
var SignalEvents = []string{EventSessionRevoked, EventCredentialChange}

// The delivery methods of streams (RFC 8935, RFC 8936).
const (
	PushDelivery = "urn:ietf:rfc:8935"
	PollDelivery = "urn:ietf:rfc:8936"
)

// StreamStatus is whether events are sent (OpenID Shared Signals 1.0 §8.1.2):
// while paused they are kept, while disabled they are not.
type StreamStatus string

// The statuses.
const (
	StreamEnabled  StreamStatus = "enabled"
	StreamPaused   StreamStatus = "paused"
	StreamDisabled StreamStatus = "disabled"
)

// MaxStreams is how many streams an application may have.
const MaxStreams = 10

// Stream is what an application receives of a zone's signals (OpenID Shared
// Signals Framework 1.0 §8.1.1).
type Stream struct {
	ZoneID         ZoneID
	ID             ID
	OrganizationID OrganizationID
	ApplicationID  ApplicationID
	Audience       string
	Method         string
	EndpointURL    string // of push
	Sealed         []byte // the Authorization header of push; nil for none
	Events         []string
	Status         StreamStatus
	Reason         string
	Description    string
	Delivered      int64 // the last signal that needs no sending any more

	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// Validate checks the stream's own invariants.
func (s *Stream) Validate() error {
	if s.Method != PushDelivery && s.Method != PollDelivery {
		return &Error{Kind: Invalid, Field: "delivery.method", Message: "must be " + PushDelivery + " or " + PollDelivery}
	}
	if u, err := url.Parse(s.EndpointURL); s.Method == PushDelivery && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || len(s.EndpointURL) > MaxIdentifier) {
		return &Error{Kind: Invalid, Field: "delivery.endpoint_url", Message: "must be a web address"}
	}
	if !slices.Contains([]StreamStatus{StreamEnabled, StreamPaused, StreamDisabled}, s.Status) {
		return &Error{Kind: Invalid, Field: "status", Message: "must be enabled, paused or disabled"}
	}
	if err := SafeText("reason", s.Reason, 0, MaxName); err != nil {
		return err
	}
	return SafeText("description", s.Description, 0, MaxName)
}

// Event returns the event type that tells a stream of the signal, empty when
// none does.
func (s *Stream) Event(of *Signal) string {
	event := ""
	switch of.Kind {
	case SignalSession, SignalUser, SignalClient, SignalApplication:
		event = EventSessionRevoked
	case SignalCredential:
		event = EventCredentialChange
	case SignalVerification:
		if of.StreamID == s.ID {
			return EventVerification
		}
	}
	if !slices.Contains(s.Events, event) {
		return ""
	}
	return event
}

// TaskPushSignals pushes what a stream has not got yet. The task's id is the
// stream's, so that there is one for each.
const TaskPushSignals = "signals:push"
