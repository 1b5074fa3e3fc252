package deputy

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what class of failure an Error is. Kinds are errors themselves, so
// errors.Is(err, deputy.NotFound) asks for one. The domain knows no HTTP: the
// two tables from kinds to answers are api/problem.go and oauth/error.go.
type Kind string

// The kinds. An error without a kind is internal.
const (
	Invalid         Kind = "invalid"         // the request can never succeed as it is
	Unauthenticated Kind = "unauthenticated" // nobody, or not who they claim to be
	Denied          Kind = "denied"          // known, and not allowed
	NotFound        Kind = "not found"       // absent, or outside the caller's reach
	Conflict        Kind = "conflict"        // contradicts what exists
	Stale           Kind = "stale"           // what the decision relied on has moved
	TooMany         Kind = "too many"        // throttled
	Unavailable     Kind = "unavailable"     // try again later
)

// Error returns the kind's name.
func (k Kind) Error() string { return string(k) }

// Error is a failure that may be told to a caller: Message is safe to show,
// the cause is for the operator's log only.
type Error struct {
	Kind    Kind
	Message string
	// Field is the path of the offending member in the request, such as
	// "manifest.entries[0].policy_id"; empty when none is to blame.
	Field string
	// After is when to try again, of TooMany and Unavailable; zero: soon.
	After time.Duration
	// Details carries further findings of the same kind, one each.
	Details []Error
	cause   error
}

// Error returns the message followed by its cause, for logs.
func (e *Error) Error() string {
	if e.cause != nil {
		return e.Message + ": " + e.cause.Error()
	}
	return e.Message
}

// Is reports whether target is this error's kind.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && k == e.Kind
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Because returns a copy of e with a cause that only the log shows.
func (e Error) Because(cause error) *Error {
	e.cause = cause
	return &e
}

// Errorf returns an error of kind k with a message that is safe to show.
func Errorf(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// Bad returns an Invalid error that names the field at fault.
func Bad(field, format string, args ...any) *Error {
	return &Error{Kind: Invalid, Field: field, Message: fmt.Sprintf(format, args...)}
}

// KindOf returns the kind of err, or the empty kind for an internal error.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	var k Kind
	if errors.As(err, &k) {
		return k
	}
	return ""
}
