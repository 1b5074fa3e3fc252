package api_test

import (
	"strings"
	"sync"
	"testing"
)

const schema = "2026-06-18"

// version is the body of a new policy version.
func version(cedar string) string {
	return `{"schema_version":"` + schema + `","cedar_raw":"` + strings.ReplaceAll(cedar, `"`, `\"`) + `"}`
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	created := []string{"policies:create"}
	s.run(
		step{do: "POST /zones/{zone}/policies", body: `{"name":"Finance","description":"Money only"}`, status: 201, keep: []string{"p=id", "tag=header:ETag"}, events: created,
			want: `{"name":"Finance","description":"Money only","zone_id":"{zone}","owner_type":"customer","created_by":"<any>","latest_version":"<absent>","latest_version_id":"<absent>","latest_schema_version":"<absent>","archived_at":"<absent>"}`},
		step{do: "POST /zones/{zone}/policies", body: `{"name":"Finance"}`, status: 409, want: `{"code":"conflict","details":[{"field":"name"}]}`},
		step{do: "POST /zones/{zone}/policies", body: `{"name":""}`, status: 400},
		step{do: "POST /zones/{zone}/policies", body: `{"name":"Other","description":null}`, status: 201, keep: []string{"other=id"}, events: created},
		step{do: "GET /zones/{zone}/policies/{p}", status: 200, want: `{"name":"Finance"}`, heads: map[string]string{"ETag": "{tag}"}},
		step{do: "GET /zones/{zone}/policies/none", status: 404},
		// Lists.
		step{do: "GET /zones/{zone}/policies?filter[owner_type]=customer", status: 200, want: `{"items":[{"name":"Other"},{"name":"Finance"}],"pagination":{"after_cursor":null,"before_cursor":null},"page_info":"<absent>"}`},
		step{do: "GET /zones/{zone}/policies?filter[owner_type]=customer&order=asc&sort=created_at", status: 200, want: `{"items":[{"name":"Finance"},{"name":"Other"}]}`},
		step{do: "GET /zones/{zone}/policies?order=up", status: 400},
		step{do: "GET /zones/{zone}/policies?sort=name", status: 400},
		step{do: "GET /zones/{zone}/policies?filter[owner_type]=customer&filter[owner_type]=platform&expand=total_count", status: 200, want: `{"pagination":{"total_count":5}}`},
		step{do: "GET /zones/{zone}/policies?filter[owner_type]=customer,platform", status: 400, want: `{"details":[{"field":"filter[owner_type]"}]}`},
		step{do: "GET /zones/{zone}/policies?filter[owner_type]=nobody", status: 400},
		step{do: "GET /zones/{zone}/policies?filter[id]={p}&filter[id]=unknown", status: 200, want: `{"items":[{"id":"{p}"}]}`},
		step{do: "GET /zones/{zone}/policies?filter[id]={p}&filter[id]={other}&limit=1", status: 200, want: `{"items":[{"id":"{other}"}]}`},
		step{do: "GET /zones/{zone}/policies?query=money", status: 200, want: `{"items":[{"id":"{p}"}]}`},
		step{do: "GET /zones/{zone}/policies?query[name]=FIN&query[description]=only", status: 200, want: `{"items":[{"id":"{p}"}]}`},
		step{do: "GET /zones/{zone}/policies?expand=total_count&expand[]=total_count", status: 200, want: `{"pagination":{"total_count":5}}`},
		// Changing only what nobody else changed.
		step{do: "PATCH /zones/{zone}/policies/{p}", body: `{"name":"Finance 2"}`, header: map[string]string{"If-Match": "{tag}"}, status: 200, want: `{"name":"Finance 2","updated_by":"<any>"}`, keep: []string{"tag2=header:ETag"}, events: []string{"policies:update"}},
		step{do: "PATCH /zones/{zone}/policies/{p}", body: `{"name":"Finance 3"}`, header: map[string]string{"If-Match": "{tag}"}, status: 412, want: errorBody(412, "conflict")},
		step{do: "PATCH /zones/{zone}/policies/{p}", body: `{"description":null}`, header: map[string]string{"If-Match": `"x", {tag2}`}, status: 200, want: `{"name":"Finance 2","description":"<absent>"}`, events: []string{"policies:update"}},
		step{do: "PATCH /zones/{zone}/policies/{p}", body: `{"description":"d"}`, header: map[string]string{"If-Match": "*"}, status: 200, events: []string{"policies:update"}, keep: []string{"tag3=header:ETag"}},
		step{do: "PATCH /zones/{zone}/policies/{p}", body: `{"name":"x"}`, header: map[string]string{"If-Match": "W/{tag3}"}, status: 412},
		step{do: "PATCH /zones/{zone}/policies/{p}", body: `{"name":"Other"}`, status: 409},
		// What changes nothing leaves the tag.
		step{do: "PATCH /zones/{zone}/policies/{other}", status: 200, want: `{"updated_by":"<absent>"}`, heads: map[string]string{"ETag": "{tag}"}, events: []string{"policies:update"}},
		step{do: "PATCH /zones/{zone}/policies/{other}", body: `{"name":"Other","description":null}`, status: 200, want: `{"updated_by":"<absent>"}`, heads: map[string]string{"ETag": "{tag}"}, events: []string{"policies:update"}},
		// Archiving: out of lists, closed, still there to read; its name is free.
		step{do: "DELETE /zones/{zone}/policies/{other}", status: 200, want: `{"archived_at":"<any>"}`, events: []string{"policies:archive"}},
		step{do: "GET /zones/{zone}/policies/{other}", status: 200, want: `{"archived_at":"<any>"}`},
		step{do: "GET /zones/{zone}/policies?filter[owner_type]=customer", status: 200, want: `{"items":[{"id":"{p}"}]}`},
		step{do: "POST /zones/{zone}/policies/{other}/versions", body: version("permit (principal, action, resource);"), status: 400, want: errorBody(400, "bad_request")},
		step{do: "PATCH /zones/{zone}/policies/{other}", body: `{"name":"x"}`, status: 400},
		step{do: "POST /zones/{zone}/policies", body: `{"name":"Other"}`, status: 201, events: created},
	)
}

func TestPolicyVersions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	const forbid = `@id("no")
forbid (principal, action, resource) when { context has impersonate && context.impersonate };`
	post := "POST /zones/{zone}/policies/{p}/versions"
	s.run(
		step{do: "POST /zones/{zone}/policies", body: `{"name":"P"}`, status: 201, keep: []string{"p=id", "tag=header:ETag"}, events: []string{"policies:create"}},
		step{do: post, body: version("permit (principal, action, resource);"), status: 201, keep: []string{"v1=id"}, events: []string{"policy_versions:create"},
			want: `{"version":1,"policy_id":"{p}","zone_id":"{zone}","schema_version":"` + schema + `","owner_type":"customer","created_by":"<any>",
				"sha":"98fb30e4c651063e13b12cee533bd4431ea535da9f2b8284b246ca9a798ac0b5",
				"cedar_raw":"<any>","cedar_json":{"effect":"permit","principal":{"op":"All"}}}`},
		step{do: post, body: version(strings.ReplaceAll(forbid, "\n", `\n`)), status: 201, keep: []string{"v2=id"}, want: `{"version":2,"cedar_json":{"annotations":{"id":"no"}}}`, events: []string{"policy_versions:create"}},
		step{do: post, status: 201, want: `{"version":3,"sha":"98fb30e4c651063e13b12cee533bd4431ea535da9f2b8284b246ca9a798ac0b5"}`, events: []string{"policy_versions:create"}, keep: []string{"v3=id"},
			body: `{"schema_version":"` + schema + `","cedar_raw":null,"cedar_json":{"effect":"permit","principal":{"op":"All"},"action":{"op":"All"},"resource":{"op":"All"},"conditions":[]}}`},
		step{do: "GET /zones/{zone}/policies/{p}", status: 200, want: `{"latest_version":3,"latest_version_id":"{v3}","latest_schema_version":"` + schema + `"}`, heads: map[string]string{"ETag": "{tag}"}},
		step{do: "GET /zones/{zone}/policies/{p}/versions/{v1}", status: 200, want: `{"cedar_raw":"<any>","cedar_json":"<any>"}`},
		step{do: "GET /zones/{zone}/policies/{p}/versions/{v1}?format=json", status: 200, want: `{"cedar_raw":null,"cedar_json":"<any>"}`},
		step{do: "GET /zones/{zone}/policies/{p}/versions/{v1}?format=cedar", status: 200, want: `{"cedar_raw":"<any>","cedar_json":null}`},
		step{do: "GET /zones/{zone}/policies/{p}/versions/{v1}?format=yaml", status: 400},
		step{do: "GET /zones/{zone}/policies/{p}/versions/none", status: 404},
		step{do: "GET /zones/{zone}/policies/none/versions/{v1}", status: 404},
		step{do: "GET /zones/{zone}/policies/none/versions", status: 404},
		step{do: "GET /zones/{zone}/policies/{p}/versions", status: 200, want: `{"items":[{"version":3},{"version":2},{"version":1}]}`},
		step{do: "GET /zones/{zone}/policies/{p}/versions?order=asc&limit=1&format=cedar", status: 200, want: `{"items":[{"version":1,"cedar_json":null}],"pagination":{"after_cursor":"<any>","before_cursor":null}}`},
		step{do: "POST /zones/{zone}/policies/none/versions", body: version("permit (principal, action, resource);"), status: 404},
	)
	for body, field := range map[string]string{
		`{"schema_version":"` + schema + `"}`: "cedar_raw",
		`{"schema_version":"` + schema + `","cedar_raw":"permit (principal, action, resource);","cedar_json":{}}`:                      "cedar_raw",
		`{"cedar_raw":"permit (principal, action, resource);"}`:                                                                        "schema_version",
		`{"schema_version":"1999-01-01","cedar_raw":"permit (principal, action, resource);"}`:                                          "schema_version",
		version("permit (principal, action"):                                                                                           "cedar_raw",
		version(""):                                                                                                                    "cedar_raw",
		version("permit (principal, action, resource); permit (principal, action, resource);"):                                         "cedar_raw",
		version("permit (principal == ?principal, action, resource);"):                                                                 "cedar_raw",
		version("permit (principal, action, resource) when { context.nothing };"):                                                      "cedar_raw",
		version("permit (principal is Keycard::Robot, action, resource);"):                                                             "cedar_raw",
		version("permit (principal, action, resource) when { " + strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200) + " };"): "cedar_raw",
		`{"schema_version":"` + schema + `","cedar_json":{"effect":"maybe"}}`:                                                          "cedar_json",
		`{"schema_version":"` + schema + `","cedar_json":{"effect":"permit","principal":{"op":"All"},"action":{"op":"All"},"resource":{"op":"All"},"conditions":[{"kind":"when","body":{"Value":1.5}}]}}`: "cedar_json",
	} {
		s.run(step{do: post, body: body, status: 400, want: `{"code":"validation_error"}`, keep: []string{"field=details.0.field", "message=details.0.message"}})
		if strings.Contains(s.vars["message"], "jsontext") {
			t.Errorf("%s names types of the program: %s", body, s.vars["message"])
		}
		if s.vars["field"] != field {
			t.Errorf("%s blames %q, want %q", body, s.vars["field"], field)
		}
	}
	s.run(step{do: "GET /zones/{zone}/policies/{p}/versions?expand[]=total_count", status: 200, want: `{"pagination":{"total_count":3}}`})
}

// policyWithVersion makes a policy with one version, kept as {name} and
// {name-version}.
func (s *server) policyWithVersion(name, cedar string) {
	s.t.Helper()
	s.run(
		step{do: "POST /zones/{zone}/policies", body: `{"name":"` + name + `"}`, status: 201, keep: []string{name + "=id"}, events: []string{"policies:create"}},
		step{do: "POST /zones/{zone}/policies/{" + name + "}/versions", body: version(cedar), status: 201, keep: []string{name + "-version=id", name + "-sha=sha"}, events: []string{"policy_versions:create"}},
	)
}

func TestPolicySets(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	created := []string{"policy_sets:create"}
	s.run(
		step{do: "GET /zones/{zone}/policy-sets", status: 200, keep: []string{"default=items.0.id", "default-version=items.0.active_version_id"}},
		step{do: "POST /zones/{zone}/policy-sets", body: `{"name":"Mine"}`, status: 201, keep: []string{"set=id", "tag=header:ETag"}, events: created,
			want: `{"name":"Mine","target_type":"zone","scope_type":"zone","target_id":"{zone}","scope_target_id":"<absent>","active":false,"mode":"<absent>","active_version":"<absent>","latest_version":"<absent>","owner_type":"customer"}`},
		step{do: "POST /zones/{zone}/policy-sets", body: `{"name":"Mine"}`, status: 409, want: `{"details":[{"field":"name"}]}`},
		step{do: "POST /zones/{zone}/policy-sets", body: `{"name":"A","target_type":"zone","scope_type":"user"}`, status: 400},
		step{do: "POST /zones/{zone}/policy-sets", body: `{"name":"A","scope_type":"resource"}`, status: 400, want: `{"details":[{"field":"scope_type"}]}`},
		step{do: "POST /zones/{zone}/policy-sets", body: `{"name":"A","target_type":"galaxy"}`, status: 400},
		step{do: "POST /zones/{zone}/policy-sets", body: `{"name":"Theirs","scope_type":"user"}`, status: 201, want: `{"target_type":"user","scope_type":"user"}`, events: created, keep: []string{"user=id"}},
		// Sets of people are left out unless asked for.
		step{do: "GET /zones/{zone}/policy-sets", status: 200, want: `{"items":[{"name":"Mine"},{"name":"default-zone-policies"}]}`},
		step{do: "GET /zones/{zone}/policy-sets?filter[target_type]=user", status: 200, want: `{"items":[{"name":"Theirs"}]}`},
		step{do: "GET /zones/{zone}/policy-sets?filter[scope_type]=user&filter[scope_type]=zone", status: 200, want: `{"items":["<any>","<any>","<any>"]}`},
		step{do: "GET /zones/{zone}/policy-sets?filter[scope_type]=user&filter[target_type]=zone", status: 400},
		step{do: "GET /zones/{zone}/policy-sets?filter[target_type]=zone,user", status: 400},
		step{do: "GET /zones/{zone}/policy-sets?filter[active]=true", status: 200, want: `{"items":[{"id":"{default}"}]}`},
		step{do: "GET /zones/{zone}/policy-sets?active=false", status: 200, want: `{"items":[{"id":"{set}"}]}`},
		step{do: "GET /zones/{zone}/policy-sets?active=false&filter[active]=true", status: 400},
		step{do: "GET /zones/{zone}/policy-sets?filter[active]=maybe", status: 400},
		step{do: "GET /zones/{zone}/policy-sets?filter[active]=true&filter[active]=true", status: 200, want: `{"items":[{"id":"{default}"}]}`},
		step{do: "GET /zones/{zone}/policy-sets?filter[active]=&filter[target_type]=", status: 200, want: `{"items":[{"id":"{set}"},{"id":"{default}"}]}`},
		step{do: "GET /zones/{zone}/policy-sets?sort=status", status: 200, want: `{"items":[{"id":"{default}"},{"id":"{set}"}]}`},
		step{do: "GET /zones/{zone}/policy-sets?sort=status&limit=1", status: 200, keep: []string{"next=pagination.after_cursor"}, want: `{"items":[{"id":"{default}"}]}`},
		step{do: "GET /zones/{zone}/policy-sets?sort=status&limit=1&after={next}", status: 200, want: `{"items":[{"id":"{set}"}]}`},
		step{do: "GET /zones/{zone}/policy-sets?sort=status&order=asc", status: 400},
		step{do: "GET /zones/{zone}/policy-sets?sort=status&before={next}", status: 400},
		step{do: "GET /zones/{zone}/policy-sets?query=mine", status: 200, want: `{"items":[{"id":"{set}"}]}`},
		step{do: "GET /zones/{zone}/policy-sets/{set}", status: 200, heads: map[string]string{"ETag": "{tag}"}},
		step{do: "PATCH /zones/{zone}/policy-sets/{set}", body: `{"name":"Mine"}`, status: 200, want: `{"updated_by":"<absent>"}`, heads: map[string]string{"ETag": "{tag}"}, events: []string{"policy_sets:update"}},
		step{do: "PATCH /zones/{zone}/policy-sets/{set}", body: `{"name":"Ours","active":true}`, header: map[string]string{"If-Match": "{tag}"}, status: 200, want: `{"name":"Ours","active":false}`,
			heads: map[string]string{"X-Deputy-Ignored-Fields": "active"}, events: []string{"policy_sets:update"}},
		step{do: "PATCH /zones/{zone}/policy-sets/{set}", body: `{"name":"No"}`, header: map[string]string{"If-Match": "{tag}"}, status: 412, want: errorBody(412, "conflict")},
		step{do: "DELETE /zones/{zone}/policy-sets/{set}", header: map[string]string{"If-Match": "{tag}"}, status: 412},
		step{do: "DELETE /zones/{zone}/policy-sets/{set}", status: 200, want: `{"archived_at":"<any>"}`, events: []string{"policy_sets:archive"}},
		step{do: "GET /zones/{zone}/policy-sets/{set}", status: 200, want: `{"archived_at":"<any>"}`},
		step{do: "PATCH /zones/{zone}/policy-sets/{set}", body: `{"name":"x"}`, status: 400},
		step{do: "GET /zones/{zone}/policy-sets", status: 200, want: `{"items":[{"id":"{default}"}]}`},
	)
}

func TestArchiveVersions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.policyWithVersion("one", "permit (principal, action, resource);")
	s.run(
		step{do: "POST /zones/{zone}/policies/{one}/versions", body: version("forbid (principal, action, resource);"), status: 201, keep: []string{"later=id"}, events: []string{"policy_versions:create"}},
		step{do: "GET /zones/{zone}/policy-sets", status: 200, keep: []string{"default=items.0.id", "default-version=items.0.active_version_id"}},
		step{do: "GET /zones/{zone}/policy-sets/{default}/versions/{default-version}", status: 200, keep: []string{"managed=manifest.entries.0.policy_id", "managed-version=manifest.entries.0.policy_version_id"}},
		step{do: "POST /zones/{zone}/policy-sets", body: `{"name":"Mine"}`, status: 201, keep: []string{"set=id", "tag=header:ETag"}, events: []string{"policy_sets:create"}},
	)
	post := step{do: "POST /zones/{zone}/policy-sets/{set}/versions", status: 201, keep: []string{"v1=id"}, events: []string{"policy_set_versions:create"},
		body: `{"schema_version":"` + schema + `","manifest":{"entries":[{"policy_id":"{one}","policy_version_id":"{one-version}"}]}}`}
	s.run(post)
	post.keep = []string{"v2=id"}
	const policy, set = "DELETE /zones/{zone}/policies/{one}/versions/", "DELETE /zones/{zone}/policy-sets/{set}/versions/"
	s.run(post,
		step{do: "PATCH /zones/{zone}/policy-sets/{set}/versions/{v1}", body: `{"active":true}`, status: 200, events: []string{"policy_set_versions:activate"}},
		// What decides, what is the platform's and what lies elsewhere stays.
		step{do: policy + "{one-version}", status: 400, want: `{"code":"bad_request","message":"cannot archive version: currently active"}`},
		step{do: set + "{v1}", status: 400, want: `{"code":"bad_request","message":"cannot archive version: currently bound"}`},
		step{do: "DELETE /zones/{zone}/policies/{managed}/versions/{managed-version}", status: 403, want: errorBody(403, "forbidden"), events: []string{"policy_versions:archive!"}},
		step{do: "DELETE /zones/{zone}/policy-sets/{default}/versions/{default-version}", status: 403, want: errorBody(403, "forbidden"), events: []string{"policy_set_versions:archive!"}},
		step{do: "DELETE /zones/{zone}/policies/{managed}/versions/{later}", status: 404, want: errorBody(404, "not_found")},
		step{do: "DELETE /zones/{zone}/policy-sets/{default}/versions/{v2}", status: 404, want: errorBody(404, "not_found")},
		step{do: policy + "none", status: 404},
		step{do: set + "none", status: 404},
		step{do: policy + "{later}", as: "stranger", status: 404},
		step{do: "GET /zones/{zone}/policies/{one}/versions", status: 200, want: `{"items":["<any>","<any>"]}`},
		// Out of lists and closed, still there to read; the number is not given again.
		step{do: policy + "{later}", status: 200, want: `{"id":"{later}","version":2,"archived_at":"<any>","archived_by":"<any>"}`, keep: []string{"at=archived_at"}, events: []string{"policy_versions:archive"}},
		step{do: policy + "{later}", status: 200, want: `{"archived_at":"{at}"}`, events: []string{"policy_versions:archive"}},
		step{do: "GET /zones/{zone}/policies/{one}/versions/{later}", status: 200, want: `{"archived_at":"{at}","cedar_raw":"<any>"}`},
		step{do: "GET /zones/{zone}/policies/{one}/versions", status: 200, want: `{"items":[{"id":"{one-version}"}]}`},
		step{do: "POST /zones/{zone}/policies/{one}/versions", body: version("permit (principal, action, resource);"), status: 201, want: `{"version":3}`, events: []string{"policy_versions:create"}},
		step{do: "POST /zones/{zone}/policy-sets/{set}/versions", status: 400, want: `{"code":"validation_error","details":[{"field":"manifest.entries[0].policy_version_id"}]}`,
			body: `{"schema_version":"` + schema + `","manifest":{"entries":[{"policy_id":"{one}","policy_version_id":"{later}"}]}}`},
		step{do: set + "{v2}", status: 200, want: `{"id":"{v2}","version":2,"active":false,"archived_at":"<any>","archived_by":"<any>","manifest":{"entries":["<any>"]}}`, events: []string{"policy_set_versions:archive"}},
		step{do: "GET /zones/{zone}/policy-sets/{set}/versions/{v2}", status: 200, want: `{"archived_at":"<any>"}`},
		step{do: "GET /zones/{zone}/policy-sets/{set}/versions/{v2}/policies", status: 200, want: `{"items":["<any>"]}`},
		step{do: "GET /zones/{zone}/policy-sets/{set}/versions", status: 200, want: `{"items":[{"id":"{v1}"}]}`},
		step{do: "PATCH /zones/{zone}/policy-sets/{set}/versions/{v2}", body: `{"active":true}`, status: 400, want: errorBody(400, "bad_request")},
		// Once another version decides, the one that did can go.
		step{do: "PATCH /zones/{zone}/policy-sets/{default}/versions/{default-version}", body: `{"active":true}`, status: 200, events: []string{"policy_set_versions:activate"}},
		step{do: policy + "{one-version}", status: 200, events: []string{"policy_versions:archive"}},
		step{do: set + "{v1}", status: 200, events: []string{"policy_set_versions:archive"}},
	)
}

func TestPolicySetVersions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.policyWithVersion("one", "permit (principal, action, resource);")
	s.policyWithVersion("two", "forbid (principal, action, resource);")
	const post = "POST /zones/{zone}/policy-sets/{set}/versions"
	manifest := func(entries string) string {
		return `{"schema_version":"` + schema + `","manifest":{"entries":[` + entries + `]}}`
	}
	const one, two = `{"policy_id":"{one}","policy_version_id":"{one-version}","sha":"lies"}`, `{"policy_id":"{two}","policy_version_id":"{two-version}","sha":null}`
	s.run(
		step{do: "GET /zones/{zone}/policy-sets", status: 200, keep: []string{"default=items.0.id", "default-version=items.0.active_version_id"}},
		step{do: "POST /zones/{zone}/policy-sets", body: `{"name":"Mine"}`, status: 201, keep: []string{"set=id", "tag=header:ETag"}, events: []string{"policy_sets:create"}},
		step{do: post, body: manifest(one + "," + two), status: 201, keep: []string{"v1=id", "sha=manifest_sha"}, events: []string{"policy_set_versions:create"},
			want: `{"version":1,"policy_set_id":"{set}","schema_version":"` + schema + `","active":false,"owner_type":"customer",
				"manifest":{"entries":[{"policy_id":"{one}","policy_version_id":"{one-version}","sha":"{one-sha}"},{"policy_id":"{two}","sha":"{two-sha}"}]},
				"attestation":{"v":1,"type":"policy_set_attestation","status":"created","zone_id":"{zone}","policy_set_id":"{set}","policy_set_version":1,"key_id":"<any>","attested_by":"<any>"}}`},
		step{do: post, body: manifest(two + "," + one), status: 201, keep: []string{"v2=id", "sha2=manifest_sha"}, want: `{"version":2,"attestation":{"policy_set_version":2}}`, events: []string{"policy_set_versions:create"}},
		// A rename changes the tag, a version does not.
		step{do: "GET /zones/{zone}/policy-sets/{set}", status: 200, want: `{"latest_version":2,"latest_version_id":"{v2}","active":false}`, heads: map[string]string{"ETag": "{tag}"}},
		step{do: "GET /zones/{zone}/policy-sets/{set}/versions/{v1}", status: 200, want: `{"manifest_sha":"{sha}","attestation":{"manifest_sha":"{sha}"}}`},
		step{do: "GET /zones/{zone}/policy-sets/{set}/versions", status: 200, want: `{"items":[{"version":2,"manifest":{"entries":["<any>","<any>"]}},{"version":1}]}`},
		step{do: "GET /zones/{zone}/policy-sets/{set}/versions/{v1}/policies", status: 200, want: `{"items":[{"id":"{two-version}"},{"id":"{one-version}"}]}`},
		step{do: "GET /zones/{zone}/policy-sets/{set}/versions/{v1}/policies?format=cedar&limit=1&order=asc", status: 200, want: `{"items":[{"id":"{one-version}","cedar_json":null}],"pagination":{"after_cursor":"<any>"}}`},
		step{do: "GET /zones/{zone}/policy-sets/{set}/versions/none", status: 404},
		step{do: "GET /zones/{zone}/policy-sets/{default}/versions/{v1}", status: 404},
		step{do: "GET /zones/{zone}/policy-sets/none/versions", status: 404},
		step{do: "GET /zones/{zone}/policy-sets/{set}/versions/none/policies", status: 404},
		step{do: "POST /zones/{zone}/policy-sets/none/versions", body: manifest(one), status: 404},
		step{do: "POST /zones/{zone}/policy-sets/none/versions", body: manifest(one + "," + one), status: 404},
		step{do: "POST /zones/{zone}/policy-sets/{default}/versions", body: manifest(one), status: 403, events: []string{"policy_set_versions:create!"}},
		// Activation: idempotent, forward and back, and it takes the place of what was.
		step{do: "PATCH /zones/{zone}/policy-sets/{set}/versions/{v1}", body: `{"active":true}`, status: 200, want: `{"active":true}`, events: []string{"policy_set_versions:activate"}},
		step{do: "PATCH /zones/{zone}/policy-sets/{set}/versions/{v1}", body: `{"active":true}`, status: 200, want: `{"active":true}`, events: []string{"policy_set_versions:activate"}},
		step{do: "GET /zones/{zone}/policy-sets/{default}", status: 200, want: `{"active":false,"active_version":"<absent>","mode":"<absent>"}`},
		step{do: "GET /zones/{zone}/policy-sets/{set}", status: 200, want: `{"active":true,"active_version":1,"active_version_id":"{v1}","mode":"active","scope_target_id":"{zone}"}`, keep: []string{"bound=header:ETag"}},
		step{do: "PATCH /zones/{zone}/policy-sets/{set}/versions/{v2}", body: `{"active":true}`, status: 200, want: `{"version":2,"active":true}`, events: []string{"policy_set_versions:activate"}},
		step{do: "GET /zones/{zone}/policy-sets/{set}/versions/{v1}", status: 200, want: `{"active":false}`},
		step{do: "PATCH /zones/{zone}/policy-sets/{set}/versions/{v1}", body: `{"active":true}`, status: 200, events: []string{"policy_set_versions:activate"}},
		step{do: "PATCH /zones/{zone}/policy-sets/{set}/versions/{v2}", body: `{"active":false}`, status: 400, want: `{"code":"validation_error","details":[{"field":"active"}]}`},
		step{do: "PATCH /zones/{zone}/policy-sets/{set}/versions/{v2}", body: `{}`, status: 400, want: `{"details":[{"field":"active"}]}`},
		step{do: "PATCH /zones/{zone}/policy-sets/{set}/versions/{v2}", body: `{"active":true,"name":"x"}`, status: 400, want: `{"code":"validation_error"}`},
		step{do: "PATCH /zones/{zone}/policy-sets/{default}/versions/{v2}", body: `{"active":true}`, status: 404},
		// What decides stays.
		step{do: "DELETE /zones/{zone}/policy-sets/{set}", status: 409, want: errorBody(409, "conflict")},
		step{do: "DELETE /zones/{zone}/policies/{one}", status: 409, want: errorBody(409, "conflict")},
		// The platform's set may be activated again.
		step{do: "PATCH /zones/{zone}/policy-sets/{default}/versions/{default-version}", body: `{"active":true}`, status: 200, events: []string{"policy_set_versions:activate"}},
		step{do: "DELETE /zones/{zone}/policies/{one}", status: 200, events: []string{"policies:archive"}},
		step{do: "DELETE /zones/{zone}/policy-sets/{set}", status: 200, events: []string{"policy_sets:archive"}},
		step{do: post, body: manifest(two), status: 400, want: errorBody(400, "bad_request")},
		step{do: "PATCH /zones/{zone}/policy-sets/{set}/versions/{v1}", body: `{"active":true}`, status: 400},
		step{do: "POST /zones/{zone}/policy-sets", body: `{"name":"User","target_type":"user"}`, status: 201, keep: []string{"set=id"}, events: []string{"policy_sets:create"}},
		step{do: post, body: manifest(two), status: 201, keep: []string{"v1=id"}, events: []string{"policy_set_versions:create"}},
		step{do: "PATCH /zones/{zone}/policy-sets/{set}/versions/{v1}", body: `{"active":true}`, status: 400},
	)
	if s.vars["sha"] == s.vars["sha2"] {
		t.Error("the order of a manifest does not count")
	}
	if s.vars["tag"] == s.vars["bound"] {
		t.Error("binding a set leaves its tag")
	}
	s.run(step{do: "POST /zones/{zone}/policies/{two}/versions", body: strings.Replace(version("permit (principal, action, resource);"), schema, "2026-03-16", 1), status: 201, keep: []string{"old=id"}, events: []string{"policy_versions:create"}})
	for entries, field := range map[string]string{
		``:                      "manifest.entries",
		one + "," + one:         "manifest.entries[1].policy_id",
		`{"policy_id":"{one}"}`: "manifest.entries[0].policy_version_id",
		`{"policy_id":"{one}","policy_version_id":"none"}`:                 "manifest.entries[0].policy_version_id",
		one + `,{"policy_id":"{two}","policy_version_id":"{one-version}"}`: "manifest.entries[1].policy_version_id",
		one + `,{"policy_id":"{two}","policy_version_id":"{old}"}`:         "manifest.entries[1].policy_version_id",
	} {
		s.run(step{do: post, body: manifest(entries), status: 400, want: `{"code":"validation_error","details":[{"field":"` + field + `"}]}`})
	}
	s.run(
		step{do: post, body: strings.Replace(manifest(two), schema, "1999-01-01", 1), status: 400, want: `{"details":[{"field":"schema_version"}]}`},
		step{do: post, body: `{"schema_version":"` + schema + `"}`, status: 400, want: `{"details":[{"field":"manifest"}]}`},
	)
}

// TestConcurrentVersions makes versions of one set and one policy at the same
// time: every number is given once, and attested.
func TestConcurrentVersions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.policyWithVersion("p", "permit (principal, action, resource);")
	s.run(step{do: "POST /zones/{zone}/policy-sets", body: `{"name":"S"}`, status: 201, keep: []string{"set=id"}, events: []string{"policy_sets:create"}})
	const many = 50
	var group sync.WaitGroup
	answers := make(chan int, 2*many)
	for range many {
		group.Go(func() {
			answers <- s.request(step{do: "POST /zones/{zone}/policies/{p}/versions", body: version("permit (principal, action, resource);")}).Code
		})
		group.Go(func() {
			answers <- s.request(step{do: "POST /zones/{zone}/policy-sets/{set}/versions",
				body: `{"schema_version":"` + schema + `","manifest":{"entries":[{"policy_id":"{p}","policy_version_id":"{p-version}"}]}}`}).Code
		})
	}
	group.Wait()
	close(answers)
	made := 0
	for code := range answers {
		if code == 201 {
			made++
		}
	}
	if made < 2*many {
		t.Errorf("%d of %d versions were made", made, 2*many)
	}
	s.events("")
	w := s.request(step{do: "GET /zones/{zone}/policy-sets/{set}/versions?order=asc"})
	if !strings.Contains(w.Body.String(), `"policy_set_version":1`) || strings.Count(w.Body.String(), `"version":1,`) > 1 {
		t.Errorf("versions: %s", w.Body)
	}
}
