package api

import (
	"bytes"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json/jsontext"
)

// description returns the head of the OpenAPI document.
func description(version, publicURL string) *huma.OpenAPI {
	if version == "" {
		version = "dev"
	}
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "Deputy management API", Version: version,
			Description: "Organizations, zones and everything an organization configures in them.\n\n" +
				"Get a bearer token at /service-account-token and send it with every call. Unknown members of a body and parameters of a query are ignored and named in " +
				ignoredHeader + ". Lists page by cursor: send after_cursor back as after.",
			License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
		},
		Servers: []*huma.Server{{URL: publicURL}},
		Components: &huma.Components{
			Schemas:   huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
			Responses: map[string]*huma.Response{},
			SecuritySchemes: map[string]*huma.SecurityScheme{"bearer": {
				Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "A token of /service-account-token.",
			}},
		},
		Security: []map[string][]string{{"bearer": {}}},
	}
	doc.AddOperation(tokenOperation())
	return doc
}

// tokenOperation documents the token endpoint, which another package serves.
func tokenOperation() *huma.Operation {
	object := func(description string, required []string, properties map[string]*huma.Schema) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{
			Type: huma.TypeObject, Description: description, Required: required, Properties: properties,
		}}}
	}
	text := func(doc string) *huma.Schema { return &huma.Schema{Type: huma.TypeString, Description: doc} }
	form := object("", []string{"grant_type"}, map[string]*huma.Schema{
		"grant_type":    {Type: huma.TypeString, Enum: []any{"client_credentials"}},
		"client_id":     text("Of a service account credential, unless it is sent by HTTP Basic."),
		"client_secret": text("Its secret, unless it is sent by HTTP Basic."),
	})["application/json"]
	failure := func(description string) *huma.Response {
		return &huma.Response{Description: description, Content: object("RFC 6749 §5.2, with the members that other errors have.", []string{"error", "error_description", "code", "message", "status"}, map[string]*huma.Schema{
			"error": text("An OAuth 2 error code."), "error_description": text("What went wrong, for developers."),
			"code": Code("").Schema(nil), "message": text("The same as error_description."), "status": {Type: huma.TypeInteger, Description: "The HTTP status."},
			"details": {Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeObject}, Description: "Always empty."},
			"path":    text("Path of the request."), "request_id": {Type: huma.TypeString, Format: "uuid", Description: "Id of the request, which events carry too."},
			"timestamp": Time{}.Schema(nil),
		})}
	}
	return &huma.Operation{
		OperationID: "get-service-account-token", Method: http.MethodPost, Path: "/service-account-token", Tags: []string{"Tokens"},
		Summary: "Get a bearer token for the management API", Description: "OAuth 2 client credentials (RFC 6749 §4.4).",
		Security:    []map[string][]string{},
		Parameters:  []*huma.Param{requestIDHeader},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/x-www-form-urlencoded": form}},
		Responses: map[string]*huma.Response{
			"200": {Description: "OK", Content: object("", []string{"access_token", "token_type", "expires_in"}, map[string]*huma.Schema{
				"access_token": text("Send it as Authorization: Bearer."),
				"token_type":   {Type: huma.TypeString, Enum: []any{"Bearer"}},
				"expires_in":   {Type: huma.TypeInteger, Description: "Seconds."},
			})},
			"400": failure("Not a request of this grant."),
			"401": failure("Not a client and its secret."),
			"429": failure("Too many failures: wait as long as Retry-After says."),
			"500": failure("Something went wrong here; the request id finds it in the log."),
			"503": failure("Not able to answer now: wait as long as Retry-After says."),
		},
	}
}

// failures are the errors of operations: what each status is for, and an
// example of its body.
var failures = map[int]struct {
	about   string
	code    Code
	message string
	field   string
}{
	http.StatusBadRequest:            {"The request does not fit its form, or contradicts itself.", CodeValidation, "the request is not valid", "name"},
	http.StatusUnauthorized:          {"No bearer token in force.", CodeUnauthorized, "the bearer token is not valid", ""},
	http.StatusForbidden:             {"The caller may not do this, or the platform owns the entity.", CodeForbidden, "the platform owns this policy set: it cannot be changed", ""},
	http.StatusNotFound:              {"No such entity, or none that the caller can see.", CodeNotFound, "no such zone", ""},
	http.StatusNotAcceptable:         {"Accept takes nothing that could be sent.", CodeBadRequest, "a bundle is application/vnd.keycard.policy-bundle.v1+tar+gzip", ""},
	http.StatusPreconditionRequired:  {"If-Match is needed, so that no other change is lost (RFC 6585 §3).", CodeBadRequest, "something decides at the target: send If-Match with its ETag", ""},
	http.StatusConflict:              {"The state of something forbids it; the same request will be refused again.", CodeConflict, "identifier already in use", "identifier"},
	http.StatusPreconditionFailed:    {"If-Match names another state.", CodeConflict, "somebody else changed it: read it again", ""},
	http.StatusRequestEntityTooLarge: {"The body is too large.", CodeBadRequest, "the body is larger than 524288 bytes", ""},
	http.StatusUnsupportedMediaType:  {"The body is of another type than is taken, mostly JSON.", CodeBadRequest, "the body must be application/json", ""},
	http.StatusTooManyRequests:       {"Too many requests: wait.", CodeRateLimit, "too many requests", ""},
	http.StatusInternalServerError:   {"Something went wrong here; the request id finds it in the log.", CodeInternal, "something went wrong here; the request id finds it in the log", ""},
	http.StatusServiceUnavailable:    {"Not able to answer now: wait.", CodeUnavailable, "the database is not reachable", ""},
}

// responseRef begins the reference to an answer that operations share.
const responseRef = "#/components/responses/"

// failureResponse returns the reference to the answer that every operation
// gives with an error status, which it writes into the document once.
func failureResponse(doc *huma.OpenAPI, status int) string {
	name := strings.ReplaceAll(http.StatusText(status), " ", "")
	ref := responseRef + name
	if doc.Components.Responses[name] != nil {
		return ref
	}
	failure, known := failures[status]
	if !known {
		panic(fmt.Sprintf("nobody said what status %d is for", status))
	}
	example := Error{
		Code: failure.code, Message: failure.message, Status: status, Details: []ErrorDetail{},
		Path: "/zones/k3v9q0m2x7b1c8d4e5f6g7h8j9", RequestID: "6f1c2f0e-8f0e-4c52-9b58-0d6d2f6c1a11",
		Timestamp: Time(time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)),
	}
	if failure.field != "" {
		example.Details = append(example.Details, ErrorDetail{Code: failure.code, Field: failure.field, Message: failure.message})
	}
	headers := map[string]*huma.Param{"X-Client-Request-ID": requestIDAnswer, ignoredHeader: ignoredAnswer}
	switch status {
	case http.StatusUnauthorized:
		headers["WWW-Authenticate"] = textHeader("Bearer (RFC 6750 §3).")
	case http.StatusConflict:
		headers["X-Should-Retry"] = textHeader("false: the same request conflicts again.")
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		headers["Retry-After"] = textHeader("Seconds to wait.")
	}
	schema := doc.Components.Schemas.Schema(reflect.TypeFor[Error](), true, "Error")
	doc.Components.Responses[name] = &huma.Response{
		Description: failure.about, Headers: headers,
		Content: map[string]*huma.MediaType{"application/json": {Schema: schema, Example: example}},
	}
	return ref
}

// nullableEnums lets null into the enumerations of members that may be null:
// the checker knows, readers of the document do not.
func nullableEnums(s *huma.Schema) {
	if s == nil {
		return
	}
	if s.Nullable && len(s.Enum) > 0 && !slices.Contains(s.Enum, nil) {
		s.Enum = append(slices.Clone(s.Enum), nil)
	}
	nullableEnums(s.Items)
	for _, member := range s.Properties {
		nullableEnums(member)
	}
}

// Document returns the OpenAPI document.
func (a *API) Document() ([]byte, error) {
	a.prepare()
	raw, err := a.huma.OpenAPI().MarshalJSON()
	if err != nil {
		return nil, err
	}
	value := jsontext.Value(raw)
	err = value.Indent(jsontext.WithIndent("  "))
	return value, err
}

// publish serves the document and the page to read it, without a token. They
// are rendered when they are first asked for, not while the server starts.
func (a *API) publish() {
	document := sync.OnceValues(a.Document)
	a.mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, r *http.Request) {
		content, err := document()
		a.publicly(w, r, "application/json", content, err)
	})
	type page struct {
		content []byte
		policy  string
	}
	docs := sync.OnceValues(func() (page, error) {
		content, policy, err := docsPage(a.huma.OpenAPI())
		return page{content, policy}, err
	})
	a.mux.HandleFunc("GET /docs", func(w http.ResponseWriter, r *http.Request) {
		p, err := docs()
		w.Header().Set("Content-Security-Policy", p.policy)
		a.publicly(w, r, "text/html; charset=utf-8", p.content, err)
	})
}

// publicly answers with bytes that stay the same while the program runs.
func (a *API) publicly(w http.ResponseWriter, r *http.Request, contentType string, content []byte, err error) {
	if err != nil {
		writeProblem(w, problem(r.Context(), err))
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-cache")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}
