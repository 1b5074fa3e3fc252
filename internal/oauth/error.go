package oauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"deputy/internal/deputy"
)

// refusal is an answer other than a credential: what the caller is told, in
// the words of RFC 6749 §5.2.
type refusal struct {
	code        string
	description string // one line, for developers; no secrets
	status      int    // 0: the code's
	retryAfter  time.Duration
	uri         string // where a person can do something about it
	cause       error  // for the operator's log only
}

func (r *refusal) Error() string {
	if r.cause != nil {
		return r.code + ": " + r.description + ": " + r.cause.Error()
	}
	return r.code + ": " + r.description
}

func (r *refusal) Unwrap() error { return r.cause }

// refuse returns a refusal with the given code and description.
func refuse(code, format string, args ...any) *refusal {
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	return &refusal{code: code, description: format}
}

// because adds the cause that only the log shows.
func (r *refusal) because(err error) *refusal {
	r.cause = err
	return r
}

// why returns what the zone's administrators may know of the cause, if there is
// one. What a fetch met inside is for the operator's log only.
func (r *refusal) why() string {
	var e *deputy.Error
	switch {
	case errors.As(r.cause, &e):
		return clip(e.Message)
	case r.cause != nil:
		return clip(r.cause.Error())
	}
	return ""
}

// statuses holds the HTTP status of every code that is not answered with 400.
var statuses = map[string]int{
	codeInvalidClient:    http.StatusUnauthorized,
	codeUnavailable:      http.StatusServiceUnavailable,
	codeServerError:      http.StatusInternalServerError,
	codeNotFound:         http.StatusNotFound,
	codeMethodNotAllowed: http.StatusMethodNotAllowed,
}

// Refusals that say the same wherever they arise.
var (
	errClient      = refuse(codeInvalidClient, "Client authentication failed.")
	errNoZone      = refuse(codeNotFound, "There is no such zone.")
	errNoEndpoint  = refuse(codeNotFound, "There is no such endpoint.")
	errGone        = refuse(codeInvalidGrant, "The subject token is no longer valid.")
	errTooMuchTime = &refusal{code: codeUnavailable, description: "The zone is changing too quickly. Try again.", retryAfter: time.Second}
)

// asRefusal is the table from errors to answers. What it does not know is our
// own fault and says nothing of itself.
func asRefusal(err error) *refusal {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	var off *deputy.Off
	if errors.As(err, &off) {
		return offRefusal(off)
	}
	switch deputy.KindOf(err) {
	case deputy.Unavailable, deputy.Stale:
		return (&refusal{code: codeUnavailable, description: "The service cannot answer now. Try again.", retryAfter: time.Second}).because(err)
	case deputy.TooMany:
		return (&refusal{code: codeUnavailable, description: "Too many requests.", status: http.StatusTooManyRequests, retryAfter: time.Minute}).because(err)
	}
	return refuse(codeServerError, "Something went wrong here; the request id finds it in the log.").because(err)
}

// asDecision returns the refusal that err is, if it is one: an answer that was
// reached, and not a failure to reach one.
func asDecision(err error) (r *refusal, ok bool) {
	var off *deputy.Off
	if errors.As(err, &r) || errors.As(err, &off) {
		return asRefusal(err), true
	}
	return nil, false
}

// offRefusal says in OAuth's words that something a use rests on is off.
func offRefusal(off *deputy.Off) *refusal {
	if off.OfSubject() {
		return refuse(codeInvalidGrant, "The subject token is no longer valid.").because(off)
	}
	switch off.Part {
	case deputy.PartApplication, deputy.PartCredential, deputy.PartServiceAccount,
		deputy.PartServiceCredential, deputy.PartOrganization:
		return refuse(codeInvalidClient, "Client authentication failed.").because(off)
	case deputy.PartZone:
		return refuse(codeNotFound, "There is no such zone.").because(off)
	case deputy.PartResource:
		return refuse(codeInvalidTarget, "The resource is no longer there.").because(off)
	case deputy.PartGrant:
		return refuse(codeInsufficient, "User consent is required.").because(off)
	case deputy.PartSecret:
		return refuse(codeInvalidTarget, "The resource has no secret attached.").because(off)
	case deputy.PartProvider:
		return refuse(codeInvalidTarget, "The resource is missing a credential provider.").because(off)
	}
	return (&refusal{code: codeUnavailable, description: "No key can sign at the moment. Try again later.", retryAfter: time.Minute}).because(off)
}

// httpStatus returns the status of the answer.
func (r *refusal) httpStatus() int {
	if r.status != 0 {
		return r.status
	}
	if status, ok := statuses[r.code]; ok {
		return status
	}
	return http.StatusBadRequest
}

// ours reports whether the fault is on this side, so that the log must have it.
func (r *refusal) ours() bool { return r.httpStatus() >= http.StatusInternalServerError }

// Headers that answers share. Nobody changes them.
var (
	jsonType = []string{"application/json"}
	noStore  = []string{"no-store"}
	noCache  = []string{"no-cache"}
	anyone   = []string{"*"}
)

// writeRefusal answers with the error body of RFC 6749 §5.2 and requestId.
// realm is the issuer when the client used Basic, else empty.
func writeRefusal(w http.ResponseWriter, r *refusal, requestID, realm string) {
	h := w.Header()
	h["Content-Type"], h["Cache-Control"], h["Pragma"] = jsonType, noStore, noCache
	h["Access-Control-Allow-Origin"] = anyone
	r.challenge(h, realm)
	b := make([]byte, 0, 256)
	b = append(b, `{"error":`...)
	b = appendQuoted(b, r.code)
	b = append(b, `,"error_description":`...)
	b = appendQuoted(b, r.description)
	b = appendMember(b, "error_uri", r.uri)
	if requestID != "" {
		b = append(b, `,"requestId":`...)
		b = appendQuoted(b, requestID)
	}
	b = append(b, '}')
	w.WriteHeader(r.httpStatus())
	_, _ = w.Write(b) // a client that has gone needs no answer
}

// challenge sets the headers that tell a client how or when to try again.
func (r *refusal) challenge(h http.Header, realm string) {
	if realm != "" && r.httpStatus() == http.StatusUnauthorized {
		h["Www-Authenticate"] = []string{`Basic realm="` + realm + `"`} // an issuer needs no escaping
	}
	if r.retryAfter > 0 {
		h["Retry-After"] = []string{strconv.Itoa(int(r.retryAfter / time.Second))}
	}
}

// log writes down what the caller is not told, if there still is a caller.
func (r *refusal) log(l *slog.Logger, from *origin, zone deputy.ZoneID) {
	if r.ours() && !errors.Is(r.cause, context.Canceled) {
		l.ErrorContext(from.ctx, "request failed", slog.String("request_id", from.requestID), slog.String("zone_id", string(zone)),
			slog.String("error", r.code), slog.Any("cause", r.cause))
	}
}
