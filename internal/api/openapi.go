package api

import (
	"bytes"
	"net/http"
	"slices"
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
				"Get a bearer token at /service-account-token and send it with every call. Unknown members of a body are ignored and named in " +
				ignoredHeader + ". Lists page by cursor: send after_cursor back as after.",
			License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
		},
		Servers: []*huma.Server{{URL: publicURL}},
		Components: &huma.Components{
			Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
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
		return &huma.Response{Description: description, Content: object("RFC 6749 §5.2, with the message that other errors have.", []string{"error", "message"}, map[string]*huma.Schema{
			"error": text("An OAuth 2 error code."), "error_description": text(""), "message": text("What went wrong, for people."),
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
		},
	}
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
