package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"deputy/internal/api"
	"deputy/internal/deputy"
)

const requestID = "6f1c2f0e-8f0e-4c52-9b58-0d6d2f6c1a11"

func TestAuthentication(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	unauthorized := errorBody(401, "unauthorized")
	s.run(
		step{do: "GET /zones", as: "-", status: 401, want: unauthorized, heads: map[string]string{"WWW-Authenticate": "Bearer"}},
		step{do: "GET /zones", as: "nobody", status: 401, want: unauthorized},
		step{do: "GET /zones", as: "-", header: map[string]string{"Authorization": "Basic YWRtaW46YWRtaW4="}, status: 401, want: unauthorized},
		step{do: "GET /zones", as: "-", header: map[string]string{"Authorization": "Bearer "}, status: 401, want: unauthorized},
		step{do: "GET /zones", as: "-", header: map[string]string{"Authorization": "bearer admin"}, status: 200},
		// Who calls is settled before the body is looked at.
		step{do: "POST /zones", as: "-", body: `{`, status: 401, want: unauthorized},
	)
}

func TestErrorBody(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.run(
		step{
			do: "GET /zones/nowhere", header: map[string]string{"X-Client-Request-ID": requestID}, status: 404,
			want:  `{"status":404,"code":"not_found","message":"no such zone","details":[],"path":"/zones/nowhere","request_id":"` + requestID + `","timestamp":"<any>"}`,
			heads: map[string]string{"X-Client-Request-ID": requestID, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"},
		},
		// What is not a UUID is replaced.
		step{do: "GET /zones/nowhere", header: map[string]string{"X-Client-Request-ID": "mine"}, status: 404, keep: []string{"made=request_id"}},
		step{
			do: "POST /zones/{zone}/applications", body: `{"identifier":"a","name":"A","consent":"explicit"}`, status: 400,
			want: `{"code":"validation_error","details":[{"code":"validation_error","field":"consent","message":"<any>"}]}`,
		},
		step{
			do: "POST /zones/{zone}/applications", body: `{"identifier":"a"}`, status: 400,
			want: `{"code":"validation_error","details":[{"field":"name","message":"is required"}]}`,
		},
		step{do: "POST /zones/{zone}/applications", body: `{"identifier":7,"name":"A"}`, status: 400, want: `{"details":[{"field":"identifier"}]}`},
		step{do: "POST /zones/{zone}/applications", body: `{"identifier":"a","name":"A","consent":null}`, status: 400, want: `{"code":"validation_error"}`},
		step{do: "POST /zones/{zone}/applications", body: `{"identifier":"a","name":"<b>A</b>"}`, status: 400, want: `{"code":"validation_error","details":[{"field":"name"}]}`},
		step{do: "POST /zones/{zone}/applications", body: "{\"identifier\":\"a\\u0007\",\"name\":\"A\"}", status: 400, want: `{"details":[{"field":"identifier"}]}`},
	)
	if len(s.vars["made"]) != 36 || s.vars["made"] == "mine" {
		t.Errorf("request id %q", s.vars["made"])
	}
}

func TestMalformedBodies(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	for name, body := range map[string]string{
		"broken":          `{"name":"A","client_secret":"hush"`,
		"two values":      `{"name":"A"}{"client_secret":"hush"}`,
		"a name twice":    `{"name":"A","name":"B","client_secret":"hush"}`,
		"not UTF-8":       "{\"name\":\"\xff\",\"client_secret\":\"hush\"}",
		"bad escape":      `{"name":"\u12","client_secret":"hush"}`,
		"not an object":   `["hush"]`,
		"a text":          `"hush"`,
		"wrong secret":    `{"identifier":"i","name":"n","client_secret":["hush"]}`,
		"missing members": `{"client_secret":"hush"}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := s.request(step{do: "POST /zones/{zone}/providers", body: body})
			if w.Code != http.StatusBadRequest {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
			if strings.Contains(w.Body.String(), "hush") || strings.Contains(s.log.String(), "hush") {
				t.Errorf("the answer or the log repeats what was sent: %s", w.Body)
			}
		})
	}
	// What is at fault is named, not repeated at any length.
	long := s.request(step{do: "POST /zones/{zone}/providers", body: `{"` + strings.Repeat("ü", 20000) + `":tru`})
	if long.Code != http.StatusBadRequest || long.Body.Len() > 1000 {
		t.Errorf("status %d, %d bytes", long.Code, long.Body.Len())
	}
	s.run(step{do: "GET /zones/{zone}/providers", status: 200, want: `{"items":["<any>","<any>"]}`})
}

// TestBadInputIsNotRepeated sends secrets and names where they do not belong, which
// neither answers nor the log repeat, here and where the database fails.
func TestBadInputIsNotRepeated(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.run(step{do: "POST /zones/{zone}/providers", body: `{"identifier":"https://i.test","name":"N"}`, status: 200, keep: []string{"provider=id"}, events: []string{"providers:create"}})
	broken := s.over(failing{s.store})
	for name, c := range map[string]step{
		"an unknown parameter":        {do: "GET /zones/{zone}/providers?client_secret=hush", status: 200},
		"a token in the query":        {do: "GET /zones/{zone}/providers?access_token=hush", status: 200},
		"a limit":                     {do: "GET /zones/{zone}/providers?limit=hush", status: 400},
		"a cursor":                    {do: "GET /zones/{zone}/providers?after=hush", status: 400},
		"a filter":                    {do: "GET /zones/{zone}/providers?filter[identifier]=hush", status: 200},
		"a filter that is none":       {do: "GET /zones/{zone}/providers?filter[client_secret]=hush", status: 200},
		"a query that is none":        {do: "GET /zones/{zone}/providers?limit=%zzhush", status: 400},
		"an unknown member":           {do: "POST /zones/{zone}/providers", body: `{"identifier":"https://a.test","name":"A","client_secrets":"hush"}`, status: 200},
		"one below":                   {do: "POST /zones/{zone}/providers", body: `{"identifier":"https://b.test","name":"B","protocols":{"oauth2":{"client_secrets":{"now":"hush"}}}}`, status: 200},
		"one with a fault beside":     {do: "POST /zones/{zone}/providers", body: `{"identifier":"https://c.test","client_secrets":"hush"}`, status: 400},
		"a choice":                    {do: "POST /zones/{zone}/applications", body: `{"identifier":"a","name":"A","consent":"hush"}`, status: 400},
		"an address":                  {do: "POST /zones/{zone}/applications", body: `{"identifier":"a","name":"A","protocols":{"oauth2":{"redirect_uris":["hush"]}}}`, status: 400},
		"a person's name":             {do: "POST /zones/{zone}/applications", body: `{"identifier":"a","name":"<hush>"}`, status: 400},
		"a change of an unknown":      {do: "PATCH /zones/{zone}/providers/{provider}", body: `{"client_secrets":"hush"}`, status: 200},
		"a change of the wrong type":  {do: "PATCH /zones/{zone}/providers/{provider}", body: `{"client_secret":{"value":"hush"}}`, status: 400},
		"a revision":                  {do: "PATCH /zones/{zone}/providers/{provider}", body: `{"name":"M"}`, header: map[string]string{"If-Match": `"hush"`}, status: 200},
		"a form":                      {do: "POST /zones/{zone}/providers", body: `client_secret=hush`, header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, status: 415},
		"a bearer":                    {do: "GET /zones/{zone}/providers", header: map[string]string{"Authorization": "Bearer hush"}, status: 401},
		"another way to authenticate": {do: "GET /zones/{zone}/providers", header: map[string]string{"Authorization": "Basic hush"}, status: 401},
		"a request's id":              {do: "GET /zones/{zone}/providers", header: map[string]string{"X-Client-Request-ID": "hush"}, status: 200},
	} {
		w := s.request(c)
		if w.Code != c.status {
			t.Errorf("%s: status %d, want %d: %s", name, w.Code, c.status, w.Body)
		}
		late := s.requestAt(broken, c)
		for _, text := range []string{w.Body.String(), fmt.Sprint(w.Header()), late.Body.String(), s.log.String()} {
			if strings.Contains(text, "hush") {
				t.Errorf("%s: it is repeated: %s", name, text)
			}
		}
		s.log.Reset()
	}
	if w := s.requestAt(broken, step{do: "GET /zones?name=hush"}); w.Code != 500 || !strings.Contains(s.log.String(), "no such table") || strings.Contains(s.log.String(), "hush") {
		t.Errorf("a failure of ours: %d; the log has %s", w.Code, s.log)
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	plain := map[string]string{"Content-Type": "text/plain"}
	s.run(
		step{do: "PATCH /zones/{zone}", status: 200, want: `{"name":"Prod"}`, events: []string{"zones:update"}},
		step{do: "PATCH /zones/{zone}", body: `{}`, status: 200, want: `{"name":"Prod"}`, events: []string{"zones:update"}},
		step{do: "PATCH /zones/{zone}", body: ` null `, status: 200, want: `{"name":"Prod"}`, events: []string{"zones:update"}},
		step{do: "PATCH /zones/{zone}", body: `{"name":"X"}`, header: plain, status: 415, want: errorBody(415, "bad_request")},
		step{do: "PATCH /zones/{zone}", body: `{"name":"X"}`, header: map[string]string{"Content-Type": ""}, status: 415},
		step{do: "PATCH /zones/{zone}", body: `{"name":"Y"}`, header: map[string]string{"Content-Type": "application/json; charset=utf-8"}, status: 200, want: `{"name":"Y"}`, events: []string{"zones:update"}},
		step{do: "POST /zones", body: `{"name":"` + strings.Repeat("x", 600<<10) + `"}`, status: 413, want: errorBody(413, "bad_request")},
		step{do: "POST /zones", status: 400, want: `{"code":"validation_error"}`},
		// What nobody knows is ignored, and named.
		step{
			do:     "POST /zones/{zone}/resources",
			body:   `{"identifier":"https://x.test","name":"X","scopes_supported":["a"],"secret":"s","metadata":{"docs_url":"https://d.test","more":1},"bad\nname":1}`,
			status: 200, events: []string{"resources:create"},
			heads: map[string]string{"X-Deputy-Ignored-Fields": "bad%0Aname, metadata.more, scopes_supported, secret"},
		},
		step{do: "PATCH /zones/{zone}?a%0a=1&a=2", body: `{"z":1}`, status: 200, events: []string{"zones:update"}, heads: map[string]string{"X-Deputy-Ignored-Fields": "?a, ?a%0A, z"}},
		// A filter that the list does not have leaves it as it is, and is named.
		step{do: "GET /zones/{zone}/delegated-grants?filter[status]=active&status[]=active&expand=total_count&expand[]=total_count&limit=1", status: 200,
			heads: map[string]string{"X-Deputy-Ignored-Fields": "?filter[status]"}},
		step{do: "GET /zones/{zone}/users?sort=email&filter[email]=a@b.test&query[]=a&after=", status: 200, heads: map[string]string{"X-Deputy-Ignored-Fields": ""}},
		step{do: "GET /zones/{zone}/packages?filter[slug]=a&filters[slug]=a", status: 200, heads: map[string]string{"X-Deputy-Ignored-Fields": ""}},
		step{do: "GET /zones/{zone}/application-credentials?application_id=a", status: 200, heads: map[string]string{"X-Deputy-Ignored-Fields": ""}},
	)
}

func TestPaths(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.run(
		step{do: "GET //zones//{zone}", status: 200, want: `{"id":"{zone}"}`},
		step{do: "GET /nothing", status: 404, want: errorBody(404, "not_found")},
		step{do: "GET /nothing", as: "-", status: 404},
		step{do: "GET /zones/", status: 404, want: errorBody(404, "not_found")},
		step{do: "GET /zones/../zones", status: 404},
		step{do: "PUT /zones/{zone}", status: 405, want: errorBody(405, "bad_request"), heads: map[string]string{"Allow": "DELETE, GET, HEAD, PATCH"}},
		step{do: "GET /zones/non-existent-zone-id-12345", status: 404},
		step{do: "GET /zones/%2e%2e%2fetc", status: 404},
		step{do: "GET /zones/" + strings.Repeat("z", 300), status: 404},
		step{do: "GET /zones/{zone}/applications/%F0%9F%92%A5", status: 404},
		// A percent-encoded id is the id.
		step{do: "GET /zones/%" + "7A", status: 404},
	)
	id := s.vars["zone"]
	encoded := ""
	for i := range len(id) {
		encoded += "%" + string("0123456789ABCDEF"[id[i]>>4]) + string("0123456789ABCDEF"[id[i]&15])
	}
	s.run(step{do: "GET /zones/" + encoded, status: 200, want: `{"id":"{zone}"}`})
}

func TestLists(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		s.run(step{do: "POST /zones/{zone}/applications", body: `{"identifier":"` + name + `","name":"` + name + `"}`, status: 200, keep: []string{name + "=id"}, events: []string{"applications:create"}})
	}
	none := `"after_cursor":null,"before_cursor":null`
	s.run(
		// Newest first, both ways, the first and the last page with nulls.
		step{do: "GET /zones/{zone}/applications", status: 200, want: `{"items":[{"name":"e"},{"name":"d"},{"name":"c"},{"name":"b"},{"name":"a"}],
			"page_info":{"has_next_page":false,"has_previous_page":false,"start_cursor":"<any>","end_cursor":"<any>"},"pagination":{` + none + `,"total_count":"<absent>"}}`},
		step{do: "GET /zones/{zone}/applications?limit=2&expand[]=total_count", status: 200, keep: []string{"next=pagination.after_cursor"},
			want: `{"items":[{"name":"e"},{"name":"d"}],"page_info":{"has_next_page":true,"has_previous_page":false},"pagination":{"before_cursor":null,"total_count":5}}`},
		step{do: "GET /zones/{zone}/applications?limit=2&after={next}", status: 200, keep: []string{"more=pagination.after_cursor", "back=pagination.before_cursor"},
			want: `{"items":[{"name":"c"},{"name":"b"}],"page_info":{"has_next_page":true,"has_previous_page":true}}`},
		step{do: "GET /zones/{zone}/applications?limit=2&cursor={more}", status: 200, want: `{"items":[{"name":"a"}],"pagination":{"after_cursor":null,"before_cursor":"<any>"}}`},
		step{do: "GET /zones/{zone}/applications?limit=2&before={back}", status: 200, want: `{"items":[{"name":"e"},{"name":"d"}],"pagination":{"after_cursor":"<any>","before_cursor":null}}`},
		step{do: "GET /zones/{zone}/applications?after={next}&before={back}", status: 400, want: errorBody(400, "bad_request")},
		step{do: "GET /zones/{zone}/applications?after=made-up", status: 400},
		step{do: "GET /zones/{zone}/resources?after={next}", status: 400},
		step{do: "GET /zones/{zone}/applications?after=" + strings.Repeat("x", 256), status: 400},
		step{do: "GET /zones/{zone}/applications?limit=0", status: 400, want: `{"code":"validation_error","details":[{"field":"limit"}]}`},
		step{do: "GET /zones/{zone}/applications?limit=101", status: 400},
		step{do: "GET /zones/{zone}/applications?limit=ten", status: 400},
		step{do: "GET /zones/{zone}/applications?limit=100&anything=else", status: 200},
		// Every spelling of expand.
		step{do: "GET /zones/{zone}/applications?expand%5B%5D=total_count", status: 200, want: `{"pagination":{"total_count":5}}`},
		step{do: "GET /zones/{zone}/applications?expand=total_count", status: 200, want: `{"pagination":{"total_count":5}}`},
		step{do: "GET /zones/{zone}/applications?expand=everything", status: 400},
		// Filters: any of the values, all of the filters.
		step{do: "GET /zones/{zone}/applications?identifier=c", status: 200, want: `{"items":[{"name":"c"}]}`},
		step{do: "GET /zones/{zone}/applications?identifier=C", status: 200, want: `{"items":[]}`},
		step{do: "GET /zones/{zone}/applications?slug=d", status: 200, want: `{"items":[{"name":"d"}]}`},
		step{do: "GET /zones/{zone}/applications?filter[identifier]=a&filter[identifier]=c&filter[slug]=c&filter[slug]=d", status: 200, want: `{"items":[{"name":"c"}]}`},
		step{do: "GET /zones/{zone}/applications?filter[id]={a}&filter[id]={e}&filter[id]=unknown&limit=1", status: 200, want: `{"items":[{"name":"e"},{"name":"a"}],"pagination":{` + none + `}}`},
		step{do: "GET /zones/{zone}/applications?filter[id]={a},{b}", status: 400, want: `{"details":[{"field":"filter[id]"}]}`},
		step{do: "GET /zones/{zone}/applications?filter[id]={a}&after={next}", status: 400, want: errorBody(400, "bad_request")},
		step{do: "GET /zones/{zone}/applications?" + many("filter[id]", 101), status: 400},
		step{do: "GET /zones/{zone}/applications?" + many("query[]", 101), status: 400, want: `{"details":[{"field":"query[]"}]}`},
		step{do: "GET /zones/{zone}/applications?" + many("query[]", 100), status: 200, want: `{"items":[]}`},
		step{do: "GET /zones/{zone}/applications?" + strings.Repeat("traits[all]=gateway&", 2000), status: 200, want: `{"items":[]}`},
		step{do: "GET /zones/{zone}/applications?query[]=A&query[]=B", status: 200, want: `{"items":[{"name":"b"},{"name":"a"}]}`},
		step{do: "GET /zones/{zone}/applications?query=A", status: 200, want: `{"items":[{"name":"a"}]}`},
		step{do: "GET /zones/{zone}/applications?query[name]=a&query[identifier]=b", status: 200, want: `{"items":[]}`},
		step{do: "GET /zones/{zone}/applications?sort=name&limit=2", status: 200, want: `{"items":[{"name":"a"},{"name":"b"}]}`},
		step{do: "GET /zones/{zone}/applications?sort=-identifier&limit=1", status: 200, want: `{"items":[{"name":"e"}]}`},
		step{do: "GET /zones/{zone}/applications?sort=secret", status: 400},
		step{do: "GET /zones/{zone}/applications?traits=gateway,mcp-provider", status: 400},
		step{do: "GET /zones/{zone}/applications?traits=other", status: 400},
	)
}

// many returns a query with n values of a parameter.
func many(name string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%s=x%dx&", name, i)
	}
	return b.String()
}

// TestGoneMeanwhile changes with a credential that is deleted after its bearer
// was let in.
func TestGoneMeanwhile(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.run(
		step{do: "PATCH /zones/{zone}", as: "ghost", body: `{"name":"Mine"}`, status: 401, want: errorBody(401, "unauthorized")},
		step{do: "POST /zones", as: "ghost", body: `{"name":"Mine"}`, status: 401},
		step{do: "DELETE /zones/{zone}", as: "ghost", status: 401},
		step{do: "PATCH /zones/{zone}", as: "phantom", body: `{"name":"Mine"}`, status: 401},
		step{do: "GET /zones", status: 200, want: `{"items":[{"name":"Prod"}]}`},
	)
}

// TestPlatformApplication gives a platform's application no credential and no
// dependency.
func TestPlatformApplication(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	now := s.now()
	app := &deputy.Application{
		ID: deputy.ApplicationID(deputy.NewID(now)), OrganizationID: deputy.OrganizationID(s.vars["org"]), ZoneID: deputy.ZoneID(s.vars["zone"]),
		Owner: deputy.Platform, Slug: "cli", Identifier: "cli", Name: "CLI", Consent: deputy.ImplicitConsent, CreatedAt: now, UpdatedAt: now,
	}
	s.write(app.OrganizationID, func(tx deputy.Tx) error { return tx.Applications().Insert(t.Context(), app) })
	s.vars["app"] = string(app.ID)
	s.run(
		step{do: "GET /zones/{zone}/applications/{app}", status: 200, want: `{"owner_type":"platform"}`},
		step{do: "POST /zones/{zone}/resources", body: `{"identifier":"https://r.test","name":"R"}`, status: 200, keep: []string{"res=id"}, events: []string{"resources:create"}},
		step{do: "PATCH /zones/{zone}/applications/{app}", body: `{"name":"x"}`, status: 403, events: []string{"applications:update!"}},
		step{do: "DELETE /zones/{zone}/applications/{app}", status: 403, events: []string{"applications:delete!"}},
		step{do: "POST /zones/{zone}/application-credentials", body: `{"application_id":"{app}","type":"password"}`, status: 403, events: []string{"application_credentials:create!"}},
		step{do: "PUT /zones/{zone}/applications/{app}/dependencies/{res}", status: 403, events: []string{"application_dependencies:put!"}},
		step{do: "DELETE /zones/{zone}/applications/{app}/dependencies/{res}", status: 403, events: []string{"application_dependencies:delete!"}},
	)
}

// failing is a store whose zones cannot be listed.
type failing struct{ deputy.Store }

func (f failing) Zones() deputy.Reads[deputy.Zone] { return failingZones{f.Store.Zones()} }

type failingZones struct{ deputy.Reads[deputy.Zone] }

func (failingZones) List(context.Context, deputy.Scope, deputy.Query) (*deputy.Page[deputy.Zone], error) {
	return nil, errors.New("sql: no such table: zones")
}

// over is another node, over a store that may fail.
func (s *server) over(store deputy.Store) *api.API {
	s.t.Helper()
	a, err := api.New(api.Config{
		Store: store, Vault: s.vault, Pool: pool, Sealing: openSealing{}, Now: s.now, Log: slog.New(slog.NewTextHandler(s.log, nil)),
		IssueBearer: s.issueBearer,
		Authenticate: func(context.Context, string, string) (*deputy.Caller, error) {
			return &deputy.Caller{Organization: deputy.OrganizationID(s.vars["org"]), ClientID: "admin"}, nil
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// TestFailures answers what goes wrong here without saying what.
func TestFailures(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	broken := func(store deputy.Store) *httptest.ResponseRecorder {
		return s.requestAt(s.over(store), step{do: "GET /zones"})
	}
	for name, w := range map[string]*httptest.ResponseRecorder{"panic": broken(struct{ deputy.Store }{}), "error": broken(failing{s.store})} {
		var body api.Error
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatalf("%s: %v: %s", name, err, w.Body)
		}
		if w.Code != 500 || body.Status != w.Code || body.RequestID == "" || strings.Contains(w.Body.String(), "sql") || strings.Contains(w.Body.String(), "nil pointer") {
			t.Errorf("%s: status %d: %s", name, w.Code, w.Body)
		}
		if !strings.Contains(s.log.String(), body.RequestID) {
			t.Errorf("%s: the log does not name the request", name)
		}
	}
}

// TestLater tells callers to wait, and for how long, when they ask too much or
// nothing can be answered now.
func TestLater(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for kind, want := range map[deputy.Kind]struct {
		status int
		code   api.Code
	}{
		deputy.TooMany:     {http.StatusTooManyRequests, api.CodeRateLimit},
		deputy.Unavailable: {http.StatusServiceUnavailable, api.CodeUnavailable},
	} {
		a, err := api.New(api.Config{
			Store: s.store, Vault: s.vault, Pool: pool, Sealing: openSealing{}, Now: s.now, Log: slog.New(slog.NewTextHandler(s.log, nil)),
			IssueBearer: s.issueBearer,
			Authenticate: func(context.Context, string, string) (*deputy.Caller, error) {
				return nil, deputy.Errorf(kind, "later")
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/zones", nil)
		r.Header.Set("Authorization", "Bearer admin")
		a.ServeHTTP(w, r)
		conforms(t, r, w)
		if w.Code != want.status || text(w, "code") != string(want.code) || w.Header().Get("Retry-After") == "" {
			t.Errorf("%v: status %d, Retry-After %q: %s", kind, w.Code, w.Header().Get("Retry-After"), w.Body)
		}
	}
}
