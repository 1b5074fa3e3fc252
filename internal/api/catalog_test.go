package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"deputy/internal/api"
	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/store"
)

// work does the catalog tasks that are due, as a node does in the background.
func (s *server) work() {
	s.t.Helper()
	for {
		tasks, err := s.store.ClaimTasks(s.t.Context(), []string{deputy.TaskCatalog}, 1, time.Minute)
		if err != nil {
			s.t.Fatal(err)
		}
		if len(tasks) == 0 {
			return
		}
		t := tasks[0]
		if err := s.api.RunCatalogTask(s.t.Context(), t.ZoneID, t.ID, t.Attempt); err != nil {
			s.t.Fatal(err)
		}
		if err := s.store.FinishTask(s.t.Context(), t, time.Time{}); err != nil {
			s.t.Fatal(err)
		}
	}
}

func newCatalogServer(t *testing.T) *server {
	s := newServer(t)
	s.run(step{do: "POST /zones", body: `{"name": "Prod"}`, status: 200, keep: []string{"zone=id"}, events: []string{"zones:create"}})
	return s
}

// calendar is the body of a package of the kind oauth-api.
const calendar = `{"kind": "oauth-api", "name": "Calendar API", "description": "Dates", "tags": [" Calendar "],
	"inputs": {
		"schema": {"type": "object", "required": ["id", "secret"], "properties": {"id": {"type": "string"}, "secret": {"type": "string", "writeOnly": true}}},
		"bindings": "{\"name\": \"Calendar\", \"issuer\": \"https://id.example\", \"client_id\": pkg.inputs.id, \"client_secret\": pkg.inputs.secret, \"resource_identifier\": \"https://api.example\", \"scopes\": [\"read\"]}"},
	"outputs": {"schema": {"type": "object", "properties": {"api": {"type": "string"}}}, "bindings": "{\"api\": entities.resource.outputs.identifier}"},
	"links": [{"rel": "help", "href": "https://example.com"}]}`

func (s *server) releaseCalendar() {
	s.t.Helper()
	s.run(
		step{do: "POST /zones/{zone}/packages", body: calendar, status: 201, keep: []string{"package=id", "sha=draft.manifest_sha"}, events: []string{"packages:create"}},
		step{do: "POST /zones/{zone}/packages/{package}/versions", status: 201, want: `{"version": 1, "manifest_sha": "{sha}", "owner_type": "customer"}`,
			keep: []string{"version=id"}, events: []string{"packages:release"}},
		step{do: "PATCH /zones/{zone}/packages/{package}", body: `{"published": true}`, status: 200, want: `{"published": true}`, events: []string{"packages:publish"}},
	)
}

func TestPackageLifecycle(t *testing.T) {
	t.Parallel()
	s := newCatalogServer(t)
	s.run(
		step{do: "POST /zones/{zone}/packages", body: `{"kind": "toaster", "name": "x"}`, status: 400, want: `{"code": "validation_error", "details": [{"field": "kind"}]}`},
		step{do: "POST /zones/{zone}/packages", body: calendar, status: 201,
			want: `{"slug": "calendar-api", "kind": "oauth-api", "name": "Calendar API", "published": false, "source": {"scope": "zone"}, "tags": ["calendar"],
				"current_version": "<absent>", "draft": {"name": "Calendar API"}, "input_state": {"effective_bindings": {"client_id": {"$input": "id"}}}}`,
			keep: []string{"package=id", "sha=draft.manifest_sha"}, events: []string{"packages:create"}},
		step{do: "GET /zones/{zone}/packages", status: 200, want: `{"items": []}`},
		step{do: "GET /zones/{zone}/packages?include_unpublished=true", status: 200, want: `{"items": [{"id": "{package}"}]}`},
		step{do: "PATCH /zones/{zone}/packages/{package}", body: `{"published": true}`, status: 409, heads: map[string]string{"X-Should-Retry": "false"}},
		step{do: "GET /zones/{zone}/packages/{package}/draft", status: 200, heads: map[string]string{"ETag": `"{sha}"`}},
		step{do: "POST /zones/{zone}/packages/{package}/versions", body: `{"manifest_sha": "0000"}`, status: 412},
		step{do: "POST /zones/{zone}/packages/{package}/versions", body: `{"manifest_sha": "{sha}"}`, status: 201, want: `{"version": 1}`,
			keep: []string{"v1=id"}, events: []string{"packages:release"}},
		step{do: "GET /zones/{zone}/packages/{package}/draft", status: 404},
		step{do: "POST /zones/{zone}/packages/{package}/versions", status: 409},
		step{do: "PATCH /zones/{zone}/packages/calendar-api", body: `{"published": true}`, status: 200, events: []string{"packages:publish"}},
		step{do: "GET /zones/{zone}/packages?kind=api-key,oauth-api&expand[]=total_count", status: 200, want: `{"items": [{"id": "{package}", "current_version": {"version": 1}}], "pagination": {"total_count": 1}}`},
		step{do: "GET /zones/{zone}/packages?kind=api-key", status: 200, want: `{"items": []}`},
		step{do: "GET /zones/{zone}/packages?filters[slug]=calendar-api", status: 200, want: `{"items": [{"id": "{package}"}]}`},
		step{do: "GET /zones/{zone}/packages?filter[slug]=other", status: 200, want: `{"items": []}`},

		// The same again is nothing to release; another draft is.
		step{do: "PUT /zones/{zone}/packages/{package}/draft", body: calendar, status: 200, events: []string{"packages:update"}},
		step{do: "POST /zones/{zone}/packages/{package}/versions", status: 409},
		step{do: "PUT /zones/{zone}/packages/{package}/draft", header: map[string]string{"If-Match": `"0000"`}, body: calendar, status: 412},
		step{do: "PUT /zones/{zone}/packages/{package}/draft", header: map[string]string{"If-Match": `"{sha}"`},
			body: `{"name": "Broken", "inputs": {"schema": {"type": "object", "allOf": []}, "bindings": "{"}}`, status: 200, events: []string{"packages:update"}},
		step{do: "PUT /zones/{zone}/packages/{package}/draft", body: `{"name": "Broken", "inputs": {"schema": {"maxLength": 1.5}}}`, status: 400},
		step{do: "PUT /zones/{zone}/packages/{package}/draft", body: `{"name": "Broken", "outputs": {"schema": null, "bindings": "{}"}}`, status: 400,
			want: `{"details":[{"field":"outputs.schema"}]}`},
		step{do: "PUT /zones/{zone}/packages/{package}/draft", body: `{"name": "Broken", "outputs": {"schema": {"description": null}, "bindings": "{}"}}`, status: 400,
			want: `{"code": "validation_error", "details": [{"field": "outputs.schema.description"}]}`},
		step{do: "GET /zones/{zone}/packages/{package}", status: 200, want: `{"name": "Calendar API", "draft": {"name": "Broken"}}`},
		step{do: "POST /zones/{zone}/packages/{package}/draft/validate", status: 200,
			want: `{"findings": [{"code": "validation_error", "field": "inputs.schema.allOf"}, {"field": "inputs.bindings"}]}`, events: []string{"package_drafts:validate"}},
		step{do: "POST /zones/{zone}/packages/{package}/versions", status: 400,
			want: `{"code": "validation_error", "details": [{"field": "inputs.schema.allOf"}, {"field": "inputs.bindings"}]}`},
		step{do: "GET /zones/{zone}/packages/{package}/versions", status: 200, want: `{"items": [{"version": 1, "name": "Calendar API"}]}`},
		step{do: "PUT /zones/{zone}/packages/{package}/draft", body: `{"name": "Second", "inputs": {"schema": null, "bindings": "{\"prefix\": true}"}}`, status: 200,
			want: `{"inputs": {"schema": "<absent>"}}`, events: []string{"packages:update"}},
		step{do: "POST /zones/{zone}/packages/{package}/versions", status: 201, want: `{"version": 2, "name": "Second"}`, keep: []string{"v2=id"}, events: []string{"packages:release"}},
		step{do: "GET /zones/{zone}/packages/{package}", status: 200, want: `{"name": "Second", "slug": "calendar-api", "draft": "<absent>"}`},

		// Archived versions are not offered any more.
		step{do: "DELETE /zones/{zone}/packages/{package}/versions/{v2}", status: 200, want: `{"archived_at": "<any>"}`, events: []string{"package_versions:archive"}},
		step{do: "GET /zones/{zone}/packages/{package}", status: 200, want: `{"name": "Calendar API", "current_version": {"id": "{v1}"}}`},
		step{do: "POST /zones/{zone}/installs", body: `{"package_id": "{package}", "version": 2}`, status: 409},
		step{do: "POST /zones/{zone}/installs", body: `{"package_id": "{package}", "version": 3}`, status: 404},
		step{do: "DELETE /zones/{zone}/packages/{package}/versions/{v1}", status: 200, events: []string{"package_versions:archive"}},
		step{do: "GET /zones/{zone}/packages", status: 200, want: `{"items": []}`},
		step{do: "POST /zones/{zone}/installs", body: `{"package_id": "{package}"}`, status: 409},
		step{do: "GET /zones/{zone}/packages/{package}/versions/{v1}", status: 200, want: `{"version": 1}`},
		step{do: "GET /zones/{zone}/packages/{package}/versions/nonsense", status: 404},
		step{do: "DELETE /zones/{zone}/packages/{package}", status: 200, events: []string{"packages:archive"}},
		step{do: "GET /zones/{zone}/packages?include_unpublished=true", status: 200, want: `{"items": []}`},
		step{do: "PUT /zones/{zone}/packages/{package}/draft", body: calendar, status: 409},
		step{do: "GET /zones/{zone}/packages/{package}", status: 200},
	)
}

func TestDraftsCanBeDropped(t *testing.T) {
	t.Parallel()
	s := newCatalogServer(t)
	s.run(
		step{do: "POST /zones/{zone}/packages", body: calendar, status: 201, keep: []string{"package=id"}, events: []string{"packages:create"}},
		step{do: "DELETE /zones/{zone}/packages/{package}/draft", status: 204, events: []string{"package_drafts:delete"}},
		step{do: "GET /zones/{zone}/packages/{package}", status: 200, want: `{"name": "Calendar API", "kind": "oauth-api", "draft": "<absent>", "current_version": "<absent>"}`},
		step{do: "POST /zones/{zone}/packages/{package}/versions", status: 409},
		step{do: "PUT /zones/{zone}/packages/{package}/draft", body: calendar, status: 200, events: []string{"packages:update"}},
		step{do: "POST /zones/{zone}/packages/{package}/versions", status: 201, events: []string{"packages:release"}},
		step{do: "DELETE /zones/{zone}/packages/{package}/draft", status: 404},
		step{do: "PUT /zones/{zone}/packages/{package}/draft", body: `{"name": "Next"}`, status: 200, events: []string{"packages:update"}},
		step{do: "DELETE /zones/{zone}/packages/{package}/draft", status: 204, events: []string{"package_drafts:delete"}},
		step{do: "GET /zones/{zone}/packages/{package}/draft", status: 404},
	)
}

func TestCatalogsAreInherited(t *testing.T) {
	t.Parallel()
	s := newCatalogServer(t)
	s.run(
		step{do: "POST /organizations/{org}/packages", body: calendar, status: 201, want: `{"source": {"scope": "org"}}`, keep: []string{"package=id"}, events: []string{"packages:create"}},
		step{do: "POST /organizations/{org}/packages/{package}/versions", status: 201, keep: []string{"version=id"}, events: []string{"packages:release"}},
		step{do: "GET /zones/{zone}/packages/{package}", status: 404}, // not published
		step{do: "GET /zones/{zone}/packages?include_unpublished=true", status: 200, want: `{"items": []}`},
		step{do: "POST /zones/{zone}/installs", body: `{"package_id": "{package}", "inputs": {"id": "a", "secret": "b"}}`, status: 404},
		step{do: "PATCH /organizations/{org}/packages/{package}", body: `{"published": true}`, status: 200, events: []string{"packages:publish"}},
		step{do: "PUT /organizations/{org}/packages/{package}/draft", body: `{"name": "Next"}`, status: 200, events: []string{"packages:update"}},
		step{do: "GET /zones/{zone}/packages/calendar-api", status: 200, want: `{"id": "{package}", "source": {"scope": "org"}, "draft": "<absent>"}`},
		step{do: "GET /zones/{zone}/packages/{package}/draft", status: 404},
		step{do: "PATCH /zones/{zone}/packages/{package}", body: `{"published": false}`, status: 403, events: []string{"packages:publish!"}},
		step{do: "PUT /zones/{zone}/packages/{package}/draft", body: `{"name": "x"}`, status: 403, events: []string{"packages:update!"}},
		step{do: "POST /zones/{zone}/packages/{package}/versions", status: 403, events: []string{"packages:release!"}},
		step{do: "DELETE /zones/{zone}/packages/{package}", status: 403, events: []string{"packages:archive!"}},
		step{do: "DELETE /zones/{zone}/packages/{package}/versions/{version}", status: 403, events: []string{"package_versions:archive!"}},
		// The nearest catalog wins by slug.
		step{do: "POST /zones/{zone}/packages", body: calendar, status: 201, want: `{"slug": "calendar-api"}`, keep: []string{"own=id"}, events: []string{"packages:create"}},
		step{do: "GET /zones/{zone}/packages/calendar-api", status: 200, want: `{"id": "{own}"}`},
		step{do: "GET /organizations/{org}/packages", status: 200, want: `{"items": [{"id": "{package}"}]}`},
		step{do: "GET /organizations/{foreign}/packages/{package}", as: "stranger", status: 404},
	)
}

func TestViewersSeeWhatIsPublished(t *testing.T) {
	t.Parallel()
	s := newCatalogServer(t)
	s.person("org", "vera", deputy.OrganizationMember)
	const vera, p = "vera@example.com", "/zones/{zone}/packages/{package}"
	s.run(
		step{do: "POST /zones/{zone}/members", body: `{"organization_user_id": "{vera}", "role": "zone_viewer"}`, status: 200, events: []string{"zone_members:create"}},
		step{do: "POST /zones/{zone}/packages", body: calendar, status: 201, keep: []string{"package=id"}, events: []string{"packages:create"}},
		step{do: "GET " + p, as: vera, status: 404},
		step{do: "GET " + p + "/versions", as: vera, status: 404},
		step{do: "GET /zones/{zone}/packages?include_unpublished=true", as: vera, status: 200, want: `{"items": []}`},
		step{do: "POST " + p + "/versions", status: 201, events: []string{"packages:release"}},
		step{do: "PATCH " + p, body: `{"published": true}`, status: 200, events: []string{"packages:publish"}},
		step{do: "PUT " + p + "/draft", body: `{"name": "Next"}`, status: 200, events: []string{"packages:update"}},
		step{do: "GET " + p, status: 200, want: `{"draft": {"name": "Next"}}`},
		step{do: "GET " + p, as: vera, status: 200, want: `{"name": "Calendar API", "draft": "<absent>"}`},
		step{do: "GET " + p + "/draft", as: vera, status: 403, events: []string{"package_drafts:read!"}},
		step{do: "POST /zones/{zone}/installs", as: vera, body: `{"package_id": "{package}"}`, status: 403, events: []string{"installs:create!"}},
	)
}

func TestKindsOfPackages(t *testing.T) {
	t.Parallel()
	s := newCatalogServer(t)
	s.run(
		step{do: "GET /zones/{zone}/package-kinds", status: 200, want: `{"items": [{"kind": "api-key"}, {"kind": "application"}, {"kind": "mcp-gateway-server"}, {"kind": "mcp-server"}, {"kind": "oauth-api"}]}`},
		step{do: "GET /zones/{zone}/package-kinds/api-key", status: 200,
			want: `{"entities": [{"name": "vault", "type": "provider", "mode": "reference"}, {"name": "resource", "mode": "managed"}, {"name": "secret"}], "input_schema": {"type": "object"}}`},
		step{do: "GET /zones/{zone}/package-kinds/toaster", status: 404},
	)
}

func TestInstallAndRemove(t *testing.T) {
	t.Parallel()
	s := newCatalogServer(t)
	s.releaseCalendar()
	s.run(
		step{do: "POST /zones/{zone}/installs", body: `{"package_id": "{package}", "inputs": {"id": 5}}`, status: 400,
			want: `{"code": "validation_error", "details": [{"field": "inputs.secret"}, {"field": "inputs.id"}]}`},
		step{do: "GET /zones/{zone}/catalog_tasks", status: 200, want: `{"items": []}`},
		step{do: "POST /zones/{zone}/installs", body: `{"package_id": "nobody"}`, status: 404},
		step{do: "POST /zones/{zone}/installs", body: `{"package_id": "calendar-api", "inputs": {"id": "c1", "secret": "hunter2"}}`, status: 202,
			want: `{"operation": "create", "status": "pending", "package_id": "{package}", "package_slug": "calendar-api", "package_version": 1}`,
			keep: []string{"task=id", "install=install_id", "at=header:Location"}, events: []string{"installs:create"}},
		step{do: "GET {at}", status: 200, want: `{"id": "{task}", "status": "pending"}`},
		step{do: "DELETE /zones/{zone}/installs/{install}", status: 409},
		step{do: "DELETE /zones/{zone}/packages/{package}/versions/{version}", status: 409},
	)
	s.work()
	s.run(
		step{do: "GET {at}", status: 303, heads: map[string]string{"Location": "/zones/{zone}/installs/{install}"},
			want:   `{"status": "completed", "warnings": "<absent>"}`,
			events: []string{"catalog_tasks:start", "providers:create", "resources:create", "catalog_tasks:complete"}},
		step{do: "GET /zones/{zone}/installs/{install}", status: 200, want: `{"status": "active", "inputs": {"id": "c1", "secret": "<absent>"},
			"outputs": {"api": "https://api.example"}, "links": [{"rel": "created", "properties": {"name": "provider"}}, {"rel": "created", "properties": {"name": "resource"}}]}`,
			keep: []string{"provider=links.0.href", "resource=links.1.href"}},
		step{do: "GET {provider}", status: 200, want: `{"identifier": "https://id.example", "client_id": "c1", "client_secret_set": true}`},
		step{do: "GET {resource}", status: 200, want: `{"identifier": "https://api.example", "scopes": ["read"], "credential_provider_id": "<any>"}`},
		step{do: "GET /zones/{zone}/audit-events?limit=2", status: 200, want: `{"items": [
			{"type": "catalog_tasks:complete", "target": {"type": "install", "id": "{install}"}, "package": {"id": "{package}", "slug": "calendar-api", "version": 1,
				"install_id": "{install}", "task_id": "{task}", "entities": ["created provider", "created resource"]}},
			{"type": "resources:create", "package": {"install_id": "{install}", "task_id": "{task}"}}]}`},
		step{do: "GET /zones/{zone}/catalog_tasks?filter[status]=completed&filter[install_id]={install}", status: 200, want: `{"items": [{"id": "{task}"}]}`},
		step{do: "GET /zones/{zone}/installs?expand[]=total_count", status: 200, want: `{"items": [{"id": "{install}"}], "pagination": {"total_count": 1}}`},
		step{do: "DELETE /zones/{zone}/installs/{install}", status: 202, want: `{"operation": "delete", "warnings": "<absent>"}`, keep: []string{"task=id"}, events: []string{"installs:delete"}},
		step{do: "DELETE /zones/{zone}/installs/{install}", status: 409},
	)
	s.work()
	s.run(
		step{do: "GET /zones/{zone}/catalog_tasks/{task}", status: 303, heads: map[string]string{"Location": "/zones/{zone}/installs/{install}"},
			events: []string{"catalog_tasks:start", "resources:delete", "providers:delete", "catalog_tasks:complete"}},
		step{do: "GET /zones/{zone}/audit-events?limit=1", status: 200, want: `{"items": [{"package": {"entities": ["deleted provider", "deleted resource"]}}]}`},
		step{do: "GET /zones/{zone}/installs/{install}", status: 200, want: `{"status": "deleted", "links": "<absent>"}`},
		step{do: "DELETE /zones/{zone}/installs/{install}", status: 404},
		step{do: "GET {provider}", status: 404},
		step{do: "GET {resource}", status: 404},
		step{do: "GET /zones/{zone}/installs/nonsense", status: 404},
		step{do: "GET /zones/{zone}/catalog_tasks/nonsense", status: 404},
	)
}

// installCalendar installs the calendar and returns the variables task and install.
func (s *server) installCalendar(name string) {
	s.t.Helper()
	s.run(step{do: "POST /zones/{zone}/installs", body: `{"package_id": "{package}", "inputs": {"id": "c1", "secret": "hunter2"}}`, status: 202,
		keep: []string{name + "-task=id", name + "=install_id"}, events: []string{"installs:create"}})
	s.work()
	s.events("")
}

func (s *server) removeInstall(name, warnings string) {
	s.t.Helper()
	s.run(step{do: "DELETE /zones/{zone}/installs/{" + name + "}", status: 202, want: `{"warnings": ` + warnings + `}`,
		keep: []string{name + "-task=id"}, events: []string{"installs:delete"}})
	s.work()
	s.events("")
	s.run(step{do: "GET /zones/{zone}/catalog_tasks/{" + name + "-task}", status: 303, want: `{"warnings": ` + warnings + `}`})
}

func TestWhatExistedIsAdoptedAndKept(t *testing.T) {
	t.Parallel()
	s := newCatalogServer(t)
	s.releaseCalendar()
	s.run(step{do: "POST /zones/{zone}/providers", body: `{"identifier": "https://id.example", "name": "Mine", "client_id": "c9"}`, status: 200,
		keep: []string{"provider=id"}, events: []string{"providers:create"}})
	before := s.request(step{do: "GET /zones/{zone}/providers/{provider}"}).Body.String()
	s.installCalendar("one")
	s.run(
		step{do: "GET /zones/{zone}/installs/{one}", status: 200, want: `{"status": "active", "links": [
			{"rel": "adopted", "href": "/zones/{zone}/providers/{provider}"}, {"rel": "created"}]}`, keep: []string{"resource=links.1.href"}},
		step{do: "GET /zones/{zone}/catalog_tasks/{one-task}", status: 303, want: `{"warnings": [{"code": "conflict", "status": 409, "path": "/zones/{zone}/providers/{provider}",
			"details": [{"field": "entities.provider.client_id"}, {"field": "entities.provider.name"}]}]}`},
	)
	s.removeInstall("one", `[{"code": "conflict", "status": 409, "path": "/zones/{zone}/providers/{provider}", "details": [{"field": "entities.provider"}]}]`)
	s.run(
		step{do: "GET {resource}", status: 404},
		step{do: "GET /zones/{zone}/audit-events?limit=1", status: 200, want: `{"items": [{"package": {"entities": ["kept provider", "deleted resource"]}}]}`},
	)
	if after := s.request(step{do: "GET /zones/{zone}/providers/{provider}"}).Body.String(); after != before {
		t.Errorf("what was adopted has changed:\n%s\n%s", before, after)
	}
}

func TestInstallsShareWhatOneOfThemCreated(t *testing.T) {
	t.Parallel()
	s := newCatalogServer(t)
	s.releaseCalendar()
	s.installCalendar("one")
	s.installCalendar("two")
	s.run(step{do: "GET /zones/{zone}/installs/{two}", status: 200, want: `{"links": [{"rel": "shared"}, {"rel": "shared"}]}`,
		keep: []string{"provider=links.0.href", "resource=links.1.href"}})
	s.removeInstall("one", `"<absent>"`)
	s.run(
		step{do: "GET {resource}", status: 200},
		step{do: "GET /zones/{zone}/installs/{two}", status: 200, want: `{"links": [{"rel": "created"}, {"rel": "created"}]}`},
	)
	s.removeInstall("two", `"<absent>"`)
	s.run(step{do: "GET {resource}", status: 404}, step{do: "GET {provider}", status: 404})
}

func TestWhatOthersNeedIsKept(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		need  step
		kept  string
		still []string
	}{
		"a dependency of another application": {
			step{do: "PUT /zones/{zone}/applications/{app}/dependencies/{resource}", status: 204, events: []string{"application_dependencies:put"}},
			`[{"details": [{"field": "entities.resource"}]}, {"details": [{"field": "entities.provider"}]}]`, []string{"resources/{resource}", "providers/{provider}"},
		},
		"another resource of the provider": {
			step{do: "POST /zones/{zone}/resources", body: `{"identifier": "r", "name": "r", "credential_provider_id": "{provider}"}`, status: 200, events: []string{"resources:create"}},
			`[{"details": [{"field": "entities.provider"}]}]`, []string{"providers/{provider}"},
		},
		"people signing in": {
			step{do: "PATCH /zones/{zone}", body: `{"user_identity_provider_id": "{provider}"}`, status: 200, events: []string{"zones:update"}},
			`[{"details": [{"field": "entities.provider"}]}]`, []string{"providers/{provider}"},
		},
		"being the zone's default resource": {
			step{do: "PATCH /zones/{zone}", body: `{"default_resource_id": "{resource}"}`, status: 200, events: []string{"zones:update"}},
			`[{"details": [{"field": "entities.resource"}]}, {"details": [{"field": "entities.provider"}]}]`, []string{"resources/{resource}", "providers/{provider}"},
		},
		"a secret that somebody keeps for the resource": {
			step{do: "POST /zones/{zone}/secrets", body: `{"entity_id": "{resource}", "name": "Mine", "data": {"type": "token", "token": "t"}}`, status: 201, keep: []string{"secret=id"}, events: []string{"secrets:create"}},
			`[{"details": [{"field": "entities.resource"}]}, {"details": [{"field": "entities.provider"}]}]`, []string{"resources/{resource}", "providers/{provider}"},
		},
		"a secret that somebody keeps for the provider": {
			step{do: "POST /zones/{zone}/secrets", body: `{"entity_id": "{provider}", "name": "Mine", "data": {"type": "token", "token": "t"}}`, status: 201, keep: []string{"secret=id"}, events: []string{"secrets:create"}},
			`[{"details": [{"field": "entities.provider"}]}]`, []string{"providers/{provider}"},
		},
		"a credential of the provider": {
			step{do: "POST /zones/{zone}/application-credentials", body: `{"application_id": "{app}", "type": "token", "provider_id": "{provider}"}`, status: 200, events: []string{"application_credentials:create"}},
			`[{"details": [{"field": "entities.provider"}]}]`, []string{"providers/{provider}"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := newCatalogServer(t)
			s.releaseCalendar()
			s.installCalendar("one")
			s.run(
				step{do: "GET /zones/{zone}/providers?identifier=https://id.example", status: 200, keep: []string{"provider=items.0.id"}},
				step{do: "GET /zones/{zone}/resources?identifier=https://api.example", status: 200, keep: []string{"resource=items.0.id"}},
				step{do: "POST /zones/{zone}/applications", body: `{"identifier": "app", "name": "App"}`, status: 200, keep: []string{"app=id"}, events: []string{"applications:create"}},
				c.need,
			)
			s.removeInstall("one", c.kept)
			for _, path := range c.still {
				s.run(step{do: "GET /zones/{zone}/" + path, status: 200})
			}
		})
	}
}

// The gateway of a zone that a package made stays, and so does a secret that
// somebody keeps for what a package made, beside the package's own.
func TestWhatTheZoneNeedsIsKept(t *testing.T) {
	t.Parallel()
	s := newCatalogServer(t)
	release := func(body string) {
		s.run(
			step{do: "POST /zones/{zone}/packages", body: body, status: 201, keep: []string{"package=id"}, events: []string{"packages:create"}},
			step{do: "POST /zones/{zone}/packages/{package}/versions", status: 201, events: []string{"packages:release"}},
		)
	}
	install := func(name, inputs string) {
		s.run(step{do: "POST /zones/{zone}/installs", body: `{"package_id": "{package}", "inputs": ` + inputs + `}`, status: 202, keep: []string{name + "=install_id"}, events: []string{"installs:create"}})
		s.work()
		s.events("")
	}
	release(`{"kind": "application", "name": "Gateway", "inputs": {"bindings": "{\"name\": \"Gateway\", \"identifier\": \"gate\"}"}}`)
	install("gateway", `{}`)
	s.run(
		step{do: "GET /zones/{zone}/applications?identifier=gate", status: 200, keep: []string{"gate=items.0.id"}},
		step{do: "PATCH /zones/{zone}", body: `{"default_mcp_gateway_application_id": "{gate}"}`, status: 200, events: []string{"zones:update"}},
	)
	s.removeInstall("gateway", `[{"details": [{"field": "entities.application"}]}]`)
	s.run(step{do: "GET /zones/{zone}", status: 200, want: `{"default_mcp_gateway_application_id": "{gate}"}`})

	release(`{"kind": "api-key", "name": "Search", "inputs": {"schema": {"type": "object", "required": ["token"], "properties": {"token": {"type": "string", "writeOnly": true}}},
		"bindings": "{\"name\": \"Search\", \"resource_identifier\": \"https://search.example\"}"}}`)
	install("search", `{"token": "hunter2"}`)
	s.run(
		step{do: "GET /zones/{zone}/resources?identifier=https://search.example", status: 200, keep: []string{"resource=items.0.id"}},
		step{do: "GET /zones/{zone}/secrets", status: 200, keep: []string{"theirs=0.id"}},
		step{do: "POST /zones/{zone}/secrets", body: `{"entity_id": "{resource}", "name": "Mine", "data": {"type": "token", "token": "t"}}`, status: 201, keep: []string{"mine=id"}, events: []string{"secrets:create"}},
	)
	s.removeInstall("search", `[{"details": [{"field": "entities.resource"}]}, {"details": [{"field": "entities.vault"}]}]`)
	s.run(
		step{do: "GET /zones/{zone}/secrets/{mine}", status: 200, events: []string{"secrets:read"}},
		step{do: "GET /zones/{zone}/secrets/{theirs}", status: 404},
	)

	// Another install's is that install's to remove.
	release(`{"kind": "api-key", "name": "Both", "inputs": {"schema": {"type": "object", "properties": {
		"token": {"type": "string", "writeOnly": true}, "username": {"type": "string"}, "password": {"type": "string", "writeOnly": true}}},
		"bindings": "{\"name\": \"Both\", \"resource_identifier\": \"https://both.example\"}"}}`)
	install("token", `{"token": "hunter2"}`)
	install("password", `{"username": "u", "password": "hunter2"}`)
	s.run(step{do: "GET /zones/{zone}/resources?identifier=https://both.example", status: 200, keep: []string{"resource=items.0.id"}})
	for _, name := range []string{"token", "password"} {
		s.run(step{do: "GET /zones/{zone}/resources/{resource}", status: 200})
		s.removeInstall(name, `[{"details": [{"field": "entities.vault"}]}]`)
	}
	s.run(step{do: "GET /zones/{zone}/resources/{resource}", status: 404})
}

// impossible is a package whose second entity cannot be made: the resource's
// identifier holds a control character, which only its creation finds.
const impossible = `{"kind": "oauth-api", "name": "Failing",
	"inputs": {"schema": {"type": "object", "required": ["id", "secret"], "properties": {"id": {"type": "string"}, "secret": {"type": "string", "writeOnly": true}}},
	"bindings": "{\"name\": \"Failing\", \"issuer\": \"https://id.example\", \"client_id\": pkg.inputs.id, \"client_secret\": pkg.inputs.secret, \"resource_identifier\": \"a\\u0001b\"}"}}`

func TestAFailedInstallLeavesNothing(t *testing.T) {
	t.Parallel()
	s := newCatalogServer(t)
	s.run(
		step{do: "POST /zones/{zone}/packages", body: impossible, status: 201, keep: []string{"package=id"}, events: []string{"packages:create"}},
		step{do: "POST /zones/{zone}/packages/{package}/versions", status: 201, events: []string{"packages:release"}},
		step{do: "POST /zones/{zone}/installs", body: `{"package_id": "{package}", "inputs": {"id": "c", "secret": "hunter2"}}`, status: 202,
			keep: []string{"task=id", "install=install_id"}, events: []string{"installs:create"}},
	)
	s.work()
	s.run(
		step{do: "GET /zones/{zone}/catalog_tasks/{task}", status: 200, want: `{"status": "failed", "error_message": "resource: must not contain control characters; identifier must not contain control characters"}`,
			events: []string{"catalog_tasks:start", "providers:create", "providers:delete", "catalog_tasks:fail!"}},
		step{do: "GET /zones/{zone}/installs/{install}", status: 200, want: `{"status": "failed", "links": "<absent>"}`},
		step{do: "GET /zones/{zone}/providers?identifier=https://id.example", status: 200, want: `{"items": []}`},
	)
	s.removeInstall("install", `"<absent>"`)
	s.run(step{do: "GET /zones/{zone}/installs/{install}", status: 200, want: `{"status": "deleted"}`})
}

// A write-only input appears nowhere once it was used, whether the install
// succeeds, fails, or is removed.
func TestSecretInputsLeaveNoTrace(t *testing.T) {
	t.Parallel()
	const canary = "canary-7f3a"
	at := deputytest.SQLite(t)
	s := newServerOn(t, store.Config{Path: at})
	s.run(step{do: "POST /zones", body: `{"name": "Prod"}`, status: 200, keep: []string{"zone=id"}, events: []string{"zones:create"}})
	var answers strings.Builder
	see := func(status int, do, body string) map[string]any {
		out := s.object(status, do, s.fill(body))
		raw, err := json.Marshal(out)
		if err != nil {
			t.Fatal(err)
		}
		answers.Write(raw)
		return out
	}
	s.releaseCalendar()
	p := see(201, "POST /zones/{zone}/packages", impossible)["id"].(string)
	see(201, "POST /zones/{zone}/packages/"+p+"/versions", "")
	for _, ref := range []string{s.vars["package"], p} {
		task := see(202, "POST /zones/{zone}/installs", `{"package_id": "`+ref+`", "inputs": {"id": "c1", "secret": "`+canary+`"}}`)
		s.work()
		install := task["install_id"].(string)
		see(200, "GET /zones/{zone}/installs/"+install, "")
		answers.WriteString(s.request(step{do: "GET /zones/{zone}/catalog_tasks/" + task["id"].(string)}).Body.String())
		see(200, "GET /zones/{zone}/installs", "")
		see(200, "GET /zones/{zone}/audit-events", "")
		see(202, "DELETE /zones/{zone}/installs/"+install, "")
		s.work()
		see(200, "GET /zones/{zone}/catalog_tasks", "")
	}
	// A refused one, whose error must not repeat what was sent.
	answers.WriteString(s.request(step{do: "POST /zones/{zone}/installs", body: `{"package_id": "{package}", "inputs": {"id": 1, "secret": ["` + canary + `"]}}`}).Body.String())
	if strings.Contains(answers.String(), canary) {
		t.Error("an answer holds the secret")
	}
	if strings.Contains(s.log.String(), canary) {
		t.Error("the log holds the secret")
	}
	files, err := filepath.Glob(at + "*")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(raw, []byte(canary)) {
			t.Errorf("%s holds the secret", filepath.Base(f))
		}
	}
}

func TestAKeyGoesToTheVault(t *testing.T) {
	t.Parallel()
	s := newCatalogServer(t)
	s.run(
		step{do: "POST /zones/{zone}/packages", status: 201, keep: []string{"package=id"}, events: []string{"packages:create"},
			body: `{"kind": "api-key", "name": "Search", "inputs": {"schema": {"type": "object", "required": ["token"], "properties": {"token": {"type": "string", "writeOnly": true}}},
				"bindings": "{\"name\": \"Search\", \"resource_identifier\": \"https://search.example\"}"}}`},
		step{do: "POST /zones/{zone}/packages/{package}/versions", status: 201, events: []string{"packages:release"}},
		step{do: "POST /zones/{zone}/installs", body: `{"package_id": "{package}", "inputs": {"token": "hunter2"}}`, status: 202,
			keep: []string{"install=install_id"}, events: []string{"installs:create"}},
	)
	s.work()
	s.run(
		step{do: "GET /zones/{zone}/installs/{install}", status: 200, want: `{"status": "active", "inputs": "<absent>", "links": [
			{"rel": "adopted", "properties": {"name": "vault"}}, {"rel": "created", "properties": {"name": "resource"}}, {"rel": "created", "properties": {"name": "secret"}}]}`,
			keep:   []string{"resource=links.1.href", "secret=links.2.href"},
			events: []string{"catalog_tasks:start", "installs:adopt", "resources:create", "secrets:create", "catalog_tasks:complete"}},
		step{do: "GET {secret}", status: 200, want: `{"data": {"type": "token", "token": "hunter2"}}`, events: []string{"secrets:read"}},
	)
	s.removeInstall("install", `[{"details": [{"field": "entities.vault"}]}]`)
	s.run(step{do: "GET {secret}", status: 404}, step{do: "GET {resource}", status: 404})
}

// Many installs at once, with two nodes at work, all come to a good end.
func TestManyInstallsAtOnce(t *testing.T) {
	t.Parallel()
	s := newCatalogServer(t)
	s.releaseCalendar()
	const many = 100
	ids := make([]string, many)
	var callers sync.WaitGroup
	for i := range many {
		callers.Go(func() {
			w := s.request(step{do: "POST /zones/{zone}/installs", body: `{"package_id": "{package}", "inputs": {"id": "c1", "secret": "hunter2"}}`})
			var task api.CatalogTask
			if err := json.Unmarshal(w.Body.Bytes(), &task); err != nil || w.Code != 202 {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
			ids[i] = task.InstallID
		})
	}
	callers.Wait()
	s.recover()
	for _, id := range ids {
		if got := s.object(200, "GET /zones/{zone}/installs/"+id, "")["status"]; got != "active" {
			t.Errorf("an install is %v", got)
		}
	}
	if failed := s.object(200, "GET /zones/{zone}/catalog_tasks?filter[status]=failed", "")["items"].([]any); len(failed) > 0 {
		t.Errorf("%d tasks failed: %v", len(failed), failed[0])
	}
}

func BenchmarkInstall(b *testing.B) {
	s := newServer(b)
	zone := s.object(200, "POST /zones", `{"name": "Prod"}`)["id"].(string)
	s.vars["zone"] = zone
	p := s.object(201, "POST /zones/{zone}/packages", `{"kind": "mcp-gateway-server", "name": "Gateway", "inputs": {"schema": {"type": "object", "required": ["n", "g"],
		"properties": {"n": {"type": "string"}, "g": {"type": "string"}}},
		"bindings": "{\"gateway_application_id\": pkg.inputs.g, \"upstream_identifier\": \"https://\" + pkg.inputs.n, \"upstream_name\": \"U\", \"provider_identifier\": \"https://id.\" + pkg.inputs.n}"}}`)["id"].(string)
	s.object(201, "POST /zones/{zone}/packages/"+p+"/versions", "")
	gateway := s.object(200, "POST /zones/{zone}/applications", `{"identifier": "https://gateway.example", "name": "G"}`)["id"].(string)
	n := 0
	for b.Loop() { // four entities made, two found
		n++
		s.object(202, "POST /zones/{zone}/installs", fmt.Sprintf(`{"package_id": %q, "inputs": {"n": "s%d.example", "g": %q}}`, p, n, gateway))
		s.work()
	}
}
