package api

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// operation is one route of the API.
type operation struct {
	ID     string // in the OpenAPI document
	Method string
	Path   string
	Action string // plural:verb, as permit and events name it
	Tag    string // heading in the document

	Summary string
	Doc     string
	Status  int // on success
	Also    int // another status of success, with the same answer; 0: none
	Errors  []int
	Query   []*huma.Param
	Headers []*huma.Param
	ETag    bool // the answer carries one
	// Location says that the answer says where to go on.
	Location bool
	// Public operations need no bearer: nobody asks who may do the action.
	Public bool
	// Records is the type of the event of success, where it is not the action's.
	Records string
	// Recorded says that although it only reads it leaves an event.
	Recorded bool
	Body     bool // a PUT takes one
}

// inZone reports whether the operation is about one zone or what is in it.
func (o *operation) inZone() bool { return strings.Contains(o.Path, "{zone_id}") }

// Event returns the type of the event that success records; reads record none
// unless they say so.
func (o *operation) Event() string {
	if o.Method == http.MethodGet && !o.Recorded {
		return ""
	}
	return cmp.Or(o.Records, o.Action)
}

// Route is one operation, for review.
type Route struct {
	Method, Path, Operation string
	Action                  string   // what permit asks for
	Callers                 []string // the roles that may call it
	Public                  bool     // everybody may call it
	Event                   string   // type of the event that success records; empty for reads
}

// Routes returns every operation in the order in which it was mounted.
func (a *API) Routes() []Route {
	a.prepare()
	var out []Route
	for _, o := range a.operations {
		out = append(out, Route{o.Method, o.Path, o.ID, o.Action, rights[o.Action].names(), o.Public, o.Event()})
	}
	return out
}

// Right is who may do an action, for review.
type Right struct {
	Action  string
	Callers []string // roles, in the organization that the bearer is of
	// Anywhere says that persons may do it in their other organizations too.
	// Everything else does not exist for those outside.
	Anywhere bool
}

// Rights returns the whole table of rights, by action.
func Rights() []Right {
	var out []Right
	for _, action := range slices.Sorted(maps.Keys(rights)) {
		out = append(out, Right{action, rights[action].names(), rights[action]&anywhere != 0})
	}
	return out
}

// input is what a handler is given when its operation has a body.
type input[B any] struct{ Body B }

// output is what a handler answers.
type output[V any] struct{ Body V }

// placed is what a handler answers that made an entity or replaced it.
type placed[V any] struct {
	Status int
	Body   V
}

// empty is for operations without a body, or without an answer.
type empty struct{}

// mount registers an operation. Its handler runs once permit has said yes.
func mount[I, O any](a *API, o operation, handle func(context.Context, *call, *I) (*O, error)) {
	a.mount(o, reflect.TypeFor[I](), reflect.TypeFor[O](), func(ctx context.Context, c *call, in any) (any, error) {
		return handle(ctx, c, in.(*I))
	})
}

// mount is what mounting has in common for all types, and is compiled once.
// handle takes a pointer to an in and returns one to an out.
func (a *API) mount(o operation, in, out reflect.Type, handle func(ctx context.Context, c *call, in any) (any, error)) {
	if _, known := rights[o.Action]; !known && !o.Public {
		panic(fmt.Sprintf("operation %s: nobody said who may do %q", o.ID, o.Action))
	}
	a.operations = append(a.operations, o)
	op := huma.Operation{
		OperationID: o.ID, Method: o.Method, Path: o.Path, Summary: o.Summary, Description: o.Doc, Tags: []string{o.Tag},
		DefaultStatus: o.Status, MaxBodyBytes: maxBody + 1, // the checker refuses exactly the limit
		Parameters: slices.Concat(pathParams(o.Path), o.Query, []*huma.Param{requestIDHeader}, o.Headers),
		Errors:     o.errors(),
		Extensions: map[string]any{"x-deputy-action": o.Action},
	}
	if o.Public {
		op.Security, op.Extensions = []map[string][]string{}, nil
	}
	a.describe(&op, in, out)
	a.register(op, func(ctx context.Context, body []byte) (*answer, error) {
		in, c := reflect.New(in), callOf(ctx)
		if err := receive(ctx, body, in); err != nil {
			return nil, err
		}
		if !o.Public {
			if err := a.permit(ctx, c, o.Action); err != nil {
				return nil, problem(ctx, err)
			}
		}
		out, err := handle(ctx, c, in.Interface())
		if err != nil {
			return nil, problem(ctx, err)
		}
		return o.answer(reflect.ValueOf(out)), nil
	})
	document(a.huma.OpenAPI(), o)
}

// received is the request of an operation that has a body, which the checker has
// compared with its schema.
type received struct{ RawBody []byte }

// answer is what an operation answers.
type answer struct {
	Status int
	Body   any
}

// register hands an operation to the checker. Its registration is compiled anew
// for each pair of types that it is given, into 35 KB: hence types that all
// operations share.
func (a *API) register(op huma.Operation, handle func(context.Context, []byte) (*answer, error)) {
	if op.RequestBody == nil {
		huma.Register(a.huma, op, func(ctx context.Context, _ *empty) (*answer, error) { return handle(ctx, nil) })
		return
	}
	huma.Register(a.huma, op, func(ctx context.Context, in *received) (*answer, error) { return handle(ctx, in.RawBody) })
}

// describe says what an operation takes and answers, as the checker would by
// itself of a handler for these types.
func (a *API) describe(op *huma.Operation, in, out reflect.Type) {
	schemas := a.huma.OpenAPI().Components.Schemas
	content := func(body reflect.StructField, hint string) map[string]*huma.MediaType {
		s := huma.SchemaFromField(schemas, body, op.OperationID+hint)
		return map[string]*huma.MediaType{"application/json": {Schema: s}}
	}
	if body, ok := in.FieldByName("Body"); ok {
		op.RequestBody = &huma.RequestBody{Content: content(body, "Request")}
	}
	success := &huma.Response{Description: http.StatusText(op.DefaultStatus)}
	op.Responses = map[string]*huma.Response{strconv.Itoa(op.DefaultStatus): success}
	if body, ok := out.FieldByName("Body"); ok {
		success.Content = content(body, "Response")
	}
}

// receive reads a checked body into the input that it is for.
func receive(ctx context.Context, body []byte, in reflect.Value) error {
	to := in.Elem().FieldByName("Body")
	if !to.IsValid() {
		return nil
	}
	if err := format.Unmarshal(body, to.Addr().Interface()); err != nil {
		return checked(ctx, http.StatusUnprocessableEntity, "validation failed", []error{&huma.ErrorDetail{Location: "body", Message: err.Error()}})
	}
	return nil
}

// answer makes the answer of a handler's output; nil when it has no body.
func (o *operation) answer(out reflect.Value) *answer {
	if out.IsNil() || !out.Elem().FieldByName("Body").IsValid() {
		return nil
	}
	a := &answer{Status: o.Status, Body: out.Elem().FieldByName("Body").Interface()}
	if status := out.Elem().FieldByName("Status"); status.IsValid() {
		a.Status = int(status.Int())
	}
	return a
}

// document corrects and completes what the registration wrote.
func document(doc *huma.OpenAPI, o operation) {
	item := doc.Paths[o.Path]
	op := map[string]*huma.Operation{
		http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
	}[o.Method]
	delete(op.Responses, "422") // findings of the checker are 400
	for _, status := range o.errors() {
		op.Responses[strconv.Itoa(status)] = &huma.Response{Ref: failureResponse(doc, status)}
	}
	if op.RequestBody != nil {
		op.RequestBody.Required = false // nothing, null and {} are the same
		delete(op.RequestBody.Content, "application/octet-stream")
	}
	success := op.Responses[strconv.Itoa(o.Status)]
	if o.Status == http.StatusNoContent {
		success.Content = nil
	}
	if success.Headers == nil {
		success.Headers = map[string]*huma.Param{}
	}
	success.Headers["X-Client-Request-ID"] = requestIDAnswer
	success.Headers[ignoredHeader] = ignoredAnswer
	if o.ETag {
		success.Headers["ETag"] = textHeader("State of the entity, for If-Match.")
	}
	if o.Location {
		success.Headers["Location"] = textHeader("Where the task is, or what it made.")
	}
	if o.Also != 0 {
		also := *success
		also.Description = http.StatusText(o.Also)
		op.Responses[strconv.Itoa(o.Also)] = &also
	}
}

func textHeader(doc string) *huma.Param {
	return &huma.Param{Description: doc, Schema: &huma.Schema{Type: huma.TypeString}}
}

// Headers that many answers have.
var (
	requestIDAnswer = textHeader("The id of the request, as events name it.")
	ignoredAnswer   = textHeader("Members of the body, and with ? in front parameters of the query, that are not known here and were ignored.")
)

// errors returns the statuses that the operation may fail with.
func (o *operation) errors() []int {
	out := append([]int{
		http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden,
		http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable,
	}, o.Errors...)
	if strings.Contains(o.Path, "{") {
		out = append(out, http.StatusNotFound)
	}
	if o.Body || o.Method == http.MethodPost || o.Method == http.MethodPatch {
		out = append(out, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

var pathParam = regexp.MustCompile(`\{([a-z_]+)\}`)

// pathDocs says what the path parameters are.
var pathDocs = map[string]string{
	"organization_id":      "Id or label of an organization.",
	"zone_id":              "Id of a zone.",
	"dependency_id":        "Id of the resource that the application depends on.",
	"user_id":              "Id of a person.",
	"organization_user_id": "Id of an organization user.",
	"invitation_id":        "Id of an invitation.",
	"token":                "The token of the mailed link.",
	"service_account_id":   "Id of a service account.",
	"credential_id":        "Id of a credential.",
	"version":              "Version of a schema.",
	"target_type":          "zone or user.",
	"target_id":            "The zone's id, or the identifier of the person.",
	"policy_id":            "Id of a policy.",
	"policy_set_id":        "Id of a policy set.",
	"version_id":           "Id of a version.",
	"package_id":           "Id or slug of a package.",
	"event_id":             "Id of an event, which is also the jti of the credential it records.",
}

// pathParams documents the parameters of a path. They are plain strings: an
// odd id names nothing, which is 404.
func pathParams(path string) []*huma.Param {
	var out []*huma.Param
	for _, m := range pathParam.FindAllStringSubmatch(path, -1) {
		doc := pathDocs[m[1]]
		if doc == "" {
			doc = "Its id."
		}
		out = append(out, &huma.Param{
			Name: m[1], In: "path", Required: true, Description: doc,
			Schema: &huma.Schema{Type: huma.TypeString, Examples: []any{"k3v9q0m2x7b1c8d4e5f6g7h8j9"}},
		})
	}
	return out
}

var (
	requestIDHeader = &huma.Param{
		Name: "X-Client-Request-ID", In: "header", Description: "A UUID that the answer, its errors and the event repeat.",
		Schema: &huma.Schema{Type: huma.TypeString, Format: "uuid"},
	}
	versionHeader = &huma.Param{
		Name: "X-API-Version", In: "header", Description: "A date such as 2026-02-01; there is one version yet, so any is taken.",
		Schema: &huma.Schema{Type: huma.TypeString},
	}
	ifMatchHeader = &huma.Param{
		Name: "If-Match", In: "header", Description: "ETag of an earlier answer: change it only if nobody else did (RFC 9110 §13.1.1).",
		Schema: &huma.Schema{Type: huma.TypeString},
	}
)
