package api

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"deputy/internal/deputy"
)

// Code is what class of failure an error body reports.
type Code string

// The codes.
const (
	CodeValidation   Code = "validation_error"
	CodeBadRequest   Code = "bad_request"
	CodeUnauthorized Code = "unauthorized"
	CodeForbidden    Code = "forbidden"
	CodeNotFound     Code = "not_found"
	CodeConflict     Code = "conflict"
	CodeRateLimit    Code = "rate_limit_exceeded"
	CodeInternal     Code = "internal_error"
	CodeUnavailable  Code = "service_unavailable"
)

// Schema lists the codes.
func (Code) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Enum: []any{
		string(CodeValidation), string(CodeBadRequest), string(CodeUnauthorized), string(CodeForbidden), string(CodeNotFound),
		string(CodeConflict), string(CodeRateLimit), string(CodeInternal), string(CodeUnavailable),
	}}
}

// Error is the body of every error.
type Error struct {
	Code      Code          `json:"code" doc:"Class of the failure."`
	Message   string        `json:"message" doc:"What went wrong, for people." example:"identifier already in use"`
	Status    int           `json:"status" doc:"The HTTP status." example:"409"`
	Details   []ErrorDetail `json:"details" doc:"One finding each; empty when there is nothing to add."`
	Path      string        `json:"path" doc:"Path of the request." example:"/zones/k3v9q0m2x7b1c8d4e5f6g7h8j9/applications"`
	Witnesses []Witness     `json:"witnesses,omitempty" doc:"Of a 409 because access would widen: requests that would be answered otherwise."`
	RequestID string        `json:"request_id" format:"uuid" doc:"The X-Client-Request-ID of the request when it was a UUID, else one made for it. Events carry it too."`
	Timestamp Time          `json:"timestamp"`

	headers http.Header
}

// ErrorDetail is one finding.
type ErrorDetail struct {
	Code    Code   `json:"code"`
	Field   string `json:"field" doc:"Path of the member or name of the parameter at fault." example:"protocols.oauth2.redirect_uris"`
	Message string `json:"message"`
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// GetStatus returns the HTTP status.
func (e *Error) GetStatus() int { return e.Status }

// GetHeaders returns the headers that go with the error.
func (e *Error) GetHeaders() http.Header { return e.headers }

// answers is the one table from kinds of errors to statuses and codes.
var answers = map[deputy.Kind]struct {
	status int
	code   Code
}{
	deputy.Invalid:         {http.StatusBadRequest, CodeBadRequest},
	deputy.Unauthenticated: {http.StatusUnauthorized, CodeUnauthorized},
	deputy.Denied:          {http.StatusForbidden, CodeForbidden},
	deputy.NotFound:        {http.StatusNotFound, CodeNotFound},
	deputy.Conflict:        {http.StatusConflict, CodeConflict},
	deputy.Stale:           {http.StatusPreconditionFailed, CodeConflict},
	deputy.TooMany:         {http.StatusTooManyRequests, CodeRateLimit},
	deputy.Unavailable:     {http.StatusServiceUnavailable, CodeUnavailable},
}

// problem returns err as the error body of the request that ctx is of. What
// has no kind is logged and told as an internal error, without its text.
func problem(ctx context.Context, err error) *Error {
	var ready *Error // of a status that no kind stands for
	if errors.As(err, &ready) {
		return ready
	}
	kind := deputy.KindOf(err)
	answer, known := answers[kind]
	if !known {
		c := callOf(ctx)
		c.log.LogAttrs(ctx, slog.LevelError, "management call failed",
			slog.String("request_id", c.id), slog.String("action", c.action), slog.Any("error", err))
		return newError(ctx, http.StatusInternalServerError, CodeInternal, "something went wrong here; the request id finds it in the log")
	}
	message := kind.Error()
	var e *deputy.Error
	if errors.As(err, &e) {
		message = e.Message
	}
	body := newError(ctx, answer.status, answer.code, message)
	if e != nil {
		body.describe(e)
		if e.After > 0 {
			body.headers.Set("Retry-After", strconv.Itoa(int(math.Ceil(e.After.Seconds()))))
		}
	}
	body.Witnesses = witnessesOf(err)
	return body
}

// describe adds the fields that e blames. A refusal that blames one is about
// the form of the request; one that blames none is about its sense.
func (e *Error) describe(cause *deputy.Error) {
	findings := cause.Details
	if len(findings) == 0 && cause.Field != "" {
		findings = []deputy.Error{*cause}
	}
	if len(findings) > 0 && e.Code == CodeBadRequest {
		e.Code = CodeValidation
	}
	for _, f := range findings {
		e.Details = append(e.Details, ErrorDetail{Code: e.Code, Field: f.Field, Message: f.Message})
	}
}

// newError returns an error body with what every answer of its status carries.
func newError(ctx context.Context, status int, code Code, message string) *Error {
	c := callOf(ctx)
	e := &Error{
		Code: code, Message: message, Status: status, Details: []ErrorDetail{},
		Path: c.path, RequestID: c.id, Timestamp: Time(c.at), headers: http.Header{},
	}
	switch status {
	case http.StatusUnauthorized:
		e.headers.Set("WWW-Authenticate", "Bearer") // RFC 6750 §3
	case http.StatusConflict:
		e.headers.Set("X-Should-Retry", "false") // the same request conflicts again
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		e.headers.Set("Retry-After", "1")
	}
	return e
}

// decodeMark separates the path from the text in what our JSON format reports:
// the checker hands on nothing but a string. The second sort is of bodies that
// are not JSON at all.
const (
	decodeMark = "\x00"
	syntaxMark = "\x01"
)

// maxField bounds the path of a member at fault: in a body that is not JSON, or
// none of ours, it is anything at all.
const maxField = 255

// checked returns the findings of the checker as an error body. They may hold
// the submitted value, for broken JSON the whole body: it is never copied.
func checked(ctx context.Context, status int, message string, errs []error) *Error {
	code := CodeValidation
	switch status {
	case http.StatusUnprocessableEntity:
		status = http.StatusBadRequest
	case http.StatusBadRequest:
	case http.StatusInternalServerError:
		return problem(ctx, errors.Join(append(errs, errors.New(message))...))
	default:
		code = codeOf(status)
	}
	e := newError(ctx, status, code, message)
	for _, err := range errs {
		var d huma.ErrorDetailer
		if !errors.As(err, &d) {
			continue
		}
		detail := d.ErrorDetail()
		field, text := detail.Location, detail.Message
		if path, rest, ok := strings.Cut(text, decodeMark); ok {
			field, text = pointerPath(path), rest
		} else if path, rest, ok := strings.Cut(text, syntaxMark); ok {
			field, text = pointerPath(path), rest
			e.Code, e.Message = CodeBadRequest, "the body is not JSON"
		}
		for _, prefix := range []string{"body", "query", "path", "header"} {
			if rest, ok := strings.CutPrefix(field, prefix); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
				field = strings.TrimPrefix(rest, ".")
				break
			}
		}
		if text == validation.MsgExpectedPropertyNameInObject {
			text = "is required"
		}
		if name, ok := missingMember(text); ok {
			field, text = strings.TrimPrefix(field+"."+name, "."), "is required"
		}
		// The checker leaves the name of a discriminator it did not like in the
		// path of what it finds next, and may find the same twice.
		field = strings.Replace(field, "type.type", "type", 1)
		found := ErrorDetail{Field: strings.ToValidUTF8(field[:min(len(field), maxField)], ""), Message: text}
		if !slices.Contains(e.Details, found) {
			e.Details = append(e.Details, found)
		}
	}
	for i := range e.Details {
		e.Details[i].Code = e.Code
	}
	return e
}

// missingMember returns the name in what the checker says of an object that
// lacks a member.
func missingMember(text string) (name string, ok bool) {
	before, after, _ := strings.Cut(validation.MsgExpectedRequiredProperty, "%s")
	text, starts := strings.CutPrefix(text, before)
	name, ends := strings.CutSuffix(text, after)
	return name, starts && ends
}

// codeOf returns the code of a status that no error kind stands behind.
func codeOf(status int) Code {
	for _, a := range answers {
		if a.status == status {
			return a.code
		}
	}
	if status >= http.StatusInternalServerError {
		return CodeInternal
	}
	return CodeBadRequest
}

// pointerPath returns a JSON pointer (RFC 6901) as the path clients know:
// /manifest/entries/0/policy_id is manifest.entries[0].policy_id.
func pointerPath(pointer string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		if _, err := strconv.Atoi(part); err == nil {
			b.WriteString("[" + part + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(part)
	}
	return b.String()
}
