package api_test

import (
	"strings"
	"sync"
	"testing"

	"deputy/internal/deputy"
)

func TestPolicyDrafts(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.policyWithVersion("p", "permit (principal, action, resource);")
	s.policyWithVersion("other", "forbid (principal, action, resource);")
	const draft = "/zones/{zone}/policies/{p}/draft"
	saved, published := []string{"policy_drafts:save"}, []string{"policy_drafts:publish"}
	s.run(
		step{do: "GET " + draft, status: 404, want: errorBody(404, "not_found")},
		step{do: "DELETE " + draft, status: 404},
		step{do: "POST " + draft + "/publish", status: 404},
		step{do: "PUT " + draft, body: version("permit (principal, action, resource);"), header: map[string]string{"If-Match": "*"}, status: 412},
		step{do: "PUT " + draft, body: version("permit (principal,   action, resource); // a comment"), status: 201, keep: []string{"tag=header:ETag"}, events: saved,
			want: `{"policy_id":"{p}","schema_version":"` + schema + `","cedar_raw":"permit ( principal, action, resource );","cedar_json":{"effect":"permit"},
				"base_version_id":"<absent>","warnings":"<absent>","updated_by":"<any>","created_at":"<any>","updated_at":"<any>","id":"<absent>"}`},
		step{do: "GET " + draft, status: 200, want: `{"cedar_raw":"<any>","cedar_json":"<any>"}`, heads: map[string]string{"ETag": "{tag}"}},
		step{do: "GET " + draft + "?format=json", status: 200, want: `{"cedar_raw":null,"cedar_json":"<any>"}`},
		step{do: "GET " + draft + "?format=cedar", status: 200, want: `{"cedar_raw":"<any>","cedar_json":null}`},
		step{do: "GET " + draft + "?format=yaml", status: 400},
		step{do: "GET " + draft, as: "stranger", status: 404},
		// Nobody's work is lost to somebody who did not see it.
		step{do: "PUT " + draft, body: version("forbid (principal, action, resource);"), header: map[string]string{"If-Match": "{tag}"}, status: 200, keep: []string{"tag2=header:ETag"}, events: saved},
		step{do: "PUT " + draft, body: version("permit (principal, action, resource);"), header: map[string]string{"If-Match": "{tag}"}, status: 412, want: errorBody(412, "conflict")},
		step{do: "DELETE " + draft, header: map[string]string{"If-Match": "{tag}"}, status: 412},
		step{do: "POST " + draft + "/publish", header: map[string]string{"If-Match": "{tag}"}, status: 412},
		step{do: "GET " + draft, status: 200, want: `{"cedar_json":{"effect":"forbid"}}`, heads: map[string]string{"ETag": "{tag2}"}},
		// A draft made in place of another never repeats its tag.
		step{do: "DELETE " + draft, header: map[string]string{"If-Match": "{tag2}"}, status: 204, events: []string{"policy_drafts:delete"}},
		step{do: "PUT " + draft, body: version("permit (principal, action, resource);"), status: 201, keep: []string{"tag3=header:ETag"}, events: saved},
		step{do: "DELETE " + draft, header: map[string]string{"If-Match": "{tag}"}, status: 412},
		// Taken from a version, as it is or with other content.
		step{do: "PUT " + draft, body: `{"schema_version":"` + schema + `","base_version_id":"{p-version}"}`, status: 200, events: saved,
			want: `{"base_version_id":"{p-version}","cedar_json":{"effect":"permit"}}`},
		step{do: "PUT " + draft + "?format=cedar", body: `{"schema_version":"` + schema + `","base_version_id":"{p-version}","cedar_raw":"forbid (principal, action, resource);"}`, status: 200, events: saved,
			want: `{"base_version_id":"{p-version}","cedar_json":null,"cedar_raw":"forbid ( principal, action, resource );"}`},
		// What parses may be saved; publishing is strict.
		step{do: "PUT " + draft, body: version(`permit (principal is Keycard::User, action == Keycard::Action::"access", resource) when { principal.nothing };`), status: 200, events: saved,
			want: `{"warnings":[{"type":"schema_validation","message":"<any>"}]}`},
		step{do: "GET " + draft, status: 200, want: `{"warnings":[{"type":"schema_validation"}]}`},
		step{do: "POST " + draft + "/publish", status: 400, want: `{"code":"validation_error","details":[{"field":"cedar_raw"}]}`},
		step{do: "GET /zones/{zone}/policies/{p}", status: 200, want: `{"latest_version":1}`},
		step{do: "PUT " + draft, body: `{"schema_version":"` + schema + `","cedar_json":{"effect":"forbid","principal":{"op":"All"},"action":{"op":"All"},"resource":{"op":"All"},"conditions":[]}}`, status: 200,
			want: `{"cedar_raw":"<any>","warnings":"<absent>"}`, keep: []string{"tag=header:ETag"}, events: saved},
		// Nothing is evaluated, numbered or listed until it is published.
		step{do: "GET /zones/{zone}/policies/{p}/versions", status: 200, want: `{"items":["<any>"]}`},
		step{do: "POST " + draft + "/publish", header: map[string]string{"If-Match": "{tag}"}, status: 201, events: published, keep: []string{"v2=id"},
			want: `{"version":2,"policy_id":"{p}","schema_version":"` + schema + `","cedar_json":{"effect":"forbid"}}`},
		step{do: "GET " + draft, status: 404},
		step{do: "GET /zones/{zone}/policies/{p}", status: 200, want: `{"latest_version":2,"latest_version_id":"{v2}"}`},
		step{do: "POST " + draft + "/publish", status: 404},
	)
	for body, field := range map[string]string{
		`{"schema_version":"` + schema + `"}`:                                                                                          "cedar_raw",
		`{"cedar_raw":"permit (principal, action, resource);"}`:                                                                        "schema_version",
		strings.Replace(version("permit (principal, action, resource);"), "6", "1", 1):                                                 "schema_version",
		version("permit (principal, action"):                                                                                           "cedar_raw",
		version("permit (principal, action, resource); permit (principal, action, resource);"):                                         "cedar_raw",
		version("permit (principal == ?principal, action, resource);"):                                                                 "cedar_raw",
		version("permit (principal, action, resource) when { " + strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200) + " };"): "cedar_raw",
		`{"schema_version":"` + schema + `","cedar_raw":"permit (principal, action, resource);","cedar_json":{}}`:                      "cedar_raw",
		`{"schema_version":"` + schema + `","cedar_json":{"effect":"maybe"}}`:                                                          "cedar_json",
		`{"schema_version":"` + schema + `","base_version_id":"none"}`:                                                                 "base_version_id",
		`{"schema_version":"` + schema + `","base_version_id":"{other-version}"}`:                                                      "base_version_id",
	} {
		s.run(step{do: "PUT " + draft, body: body, status: 400, want: `{"code":"validation_error","details":[{"field":"` + field + `"}]}`})
	}
	s.run(
		step{do: "GET " + draft, status: 404},
		step{do: "PUT /zones/{zone}/policies/none/draft", body: version("permit (principal, action, resource);"), status: 404},
		step{do: "GET /zones/{zone}/policies?filter[owner_type]=platform&limit=1", status: 200, keep: []string{"managed=items.0.id"}},
		step{do: "PUT /zones/{zone}/policies/{managed}/draft", body: version("permit (principal, action, resource);"), status: 403, events: []string{"policy_drafts:save!"}},
		// An archived policy takes no work; what was saved can still be read and dropped.
		step{do: "PUT " + draft, body: version("permit (principal, action, resource);"), status: 201, events: saved},
		step{do: "DELETE /zones/{zone}/policies/{p}", status: 200, events: []string{"policies:archive"}},
		step{do: "PUT " + draft, body: version("permit (principal, action, resource);"), status: 400, want: errorBody(400, "bad_request")},
		step{do: "POST " + draft + "/publish", status: 400, want: errorBody(400, "bad_request")},
		step{do: "GET " + draft, status: 200},
		step{do: "DELETE " + draft, status: 204, events: []string{"policy_drafts:delete"}},
	)
}

func TestPolicySetDrafts(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.policyWithVersion("one", "permit (principal, action, resource);")
	s.policyWithVersion("two", "forbid (principal, action, resource);")
	const draft = "/zones/{zone}/policy-sets/{set}/draft"
	const one, two = `{"policy_id":"{one}","policy_version_id":"{one-version}"}`, `{"policy_id":"{two}","policy_version_id":"{two-version}","sha":"lies"}`
	body := func(entries string) string {
		return `{"schema_version":"` + schema + `","manifest":{"entries":[` + entries + `]}}`
	}
	saved, published := []string{"policy_set_drafts:save"}, []string{"policy_set_drafts:publish"}
	s.run(
		step{do: "GET /zones/{zone}/policy-sets", status: 200, keep: []string{"default=items.0.id", "default-version=items.0.active_version_id"}},
		step{do: "POST /zones/{zone}/policy-sets", body: `{"name":"Mine"}`, status: 201, keep: []string{"set=id", "set-tag=header:ETag"}, events: []string{"policy_sets:create"}},
		step{do: "GET " + draft, status: 404},
		step{do: "GET " + draft + "/policies", status: 404},
		step{do: "DELETE " + draft, status: 404},
		step{do: "POST " + draft + "/publish", status: 404},
		step{do: "PUT " + draft, body: body(one + "," + two), status: 201, keep: []string{"tag=header:ETag"}, events: saved,
			want: `{"policy_set_id":"{set}","schema_version":"` + schema + `","name":"<absent>","description":"<absent>","base_version_id":"<absent>","warnings":"<absent>","updated_by":"<any>",
				"manifest":{"entries":[{"policy_version_id":"{one-version}","sha":"{one-sha}"},{"policy_version_id":"{two-version}","sha":"{two-sha}"}]}}`},
		step{do: "PUT " + draft, body: `{"schema_version":"` + schema + `","manifest":{"entries":[` + two + `]},"name":"Tighter","description":"For review"}`, header: map[string]string{"If-Match": "{tag}"}, status: 200,
			want: `{"name":"Tighter","description":"For review","manifest":{"entries":[{"policy_id":"{two}"}]}}`, keep: []string{"tag2=header:ETag"}, events: saved},
		step{do: "PUT " + draft, body: body(one), header: map[string]string{"If-Match": "{tag}"}, status: 412},
		step{do: "DELETE " + draft, header: map[string]string{"If-Match": "{tag}"}, status: 412},
		step{do: "POST " + draft + "/publish", header: map[string]string{"If-Match": "{tag}"}, status: 412},
		step{do: "GET " + draft, status: 200, want: `{"name":"Tighter"}`, heads: map[string]string{"ETag": "{tag2}"}},
		step{do: "GET " + draft + "/policies?format=cedar", status: 200, want: `{"items":[{"id":"{two-version}","cedar_json":null}],"pagination":{"after_cursor":null}}`},
		step{do: "GET " + draft + "/policies", as: "stranger", status: 404},
		// A draft leaves the set as it is.
		step{do: "GET /zones/{zone}/policy-sets/{set}", status: 200, want: `{"name":"Mine","latest_version":"<absent>"}`, heads: map[string]string{"ETag": "{set-tag}"}},
		step{do: "POST " + draft + "/publish", status: 201, events: published, keep: []string{"v1=id"},
			want: `{"version":1,"active":false,"policy_set_id":"{set}","manifest":{"entries":[{"policy_id":"{two}"}]},"attestation":{"policy_set_version":1,"status":"created"}}`},
		step{do: "GET " + draft, status: 404},
		step{do: "GET /zones/{zone}/policy-sets/{set}", status: 200, want: `{"name":"Mine","latest_version":1,"active":false}`},
		// Taken from a version.
		step{do: "PUT " + draft, body: `{"schema_version":"` + schema + `","base_version_id":"{v1}"}`, status: 201, events: saved,
			want: `{"base_version_id":"{v1}","manifest":{"entries":[{"policy_id":"{two}","sha":"{two-sha}"}]}}`},
		step{do: "PUT " + draft, body: `{"schema_version":"` + schema + `","base_version_id":"{v1}","manifest":{"entries":[` + one + `]}}`, status: 200, events: saved,
			want: `{"base_version_id":"{v1}","manifest":{"entries":[{"policy_id":"{one}"}]}}`},
		// Warnings name what would stop a version, and do.
		step{do: "POST /zones/{zone}/policies/{two}/versions", body: strings.Replace(version("forbid (principal, action, resource);"), schema, "2026-03-16", 1), status: 201, keep: []string{"old=id"}, events: []string{"policy_versions:create"}},
		step{do: "DELETE /zones/{zone}/policies/{one}/versions/{one-version}", status: 200, events: []string{"policy_versions:archive"}},
		step{do: "PUT " + draft, body: body(one + `,{"policy_id":"{two}","policy_version_id":"{old}"}`), status: 200, events: saved,
			want: `{"warnings":[
				{"type":"policy_version_archived","policy_id":"{one}","policy_version_id":"{one-version}","message":"the policy version is archived","detail":"<absent>"},
				{"type":"schema_version_mismatch","policy_id":"{two}","policy_version_id":"{old}","message":"the policy version was validated against schema 2026-03-16, not ` + schema + `",
					"detail":{"draft_schema_version":"` + schema + `","policy_schema_version":"2026-03-16"}}]}`},
		step{do: "GET " + draft, status: 200, want: `{"warnings":["<any>","<any>"]}`},
		step{do: "POST " + draft + "/publish", status: 400,
			want: `{"code":"validation_error","details":[{"field":"manifest.entries[0].policy_version_id"},{"field":"manifest.entries[1].policy_version_id"}]}`},
		step{do: "GET " + draft, status: 200},
		step{do: "GET /zones/{zone}/policy-sets/{set}", status: 200, want: `{"latest_version":1}`},
		// Published and active at once.
		step{do: "PUT " + draft, body: body(two), status: 200, keep: []string{"tag=header:ETag"}, events: saved},
		step{do: "POST " + draft + "/publish", body: `{"activate":true}`, header: map[string]string{"If-Match": "{tag}"}, status: 201, events: published, keep: []string{"v2=id"}, want: `{"version":2,"active":true}`},
		step{do: "GET /zones/{zone}/policy-sets/{set}", status: 200, want: `{"active":true,"active_version":2,"active_version_id":"{v2}","mode":"active"}`},
		step{do: "GET /zones/{zone}/policy-sets/{default}", status: 200, want: `{"active":false}`},
	)
	for body, field := range map[string]string{
		`{"schema_version":"` + schema + `"}`:                                  "manifest",
		`{"manifest":{"entries":[` + two + `]}}`:                               "schema_version",
		`{"schema_version":"1999-01-01","manifest":{"entries":[` + two + `]}}`: "schema_version",
		body(``):                      "manifest.entries",
		body(two + "," + two):         "manifest.entries[1].policy_id",
		body(`{"policy_id":"{two}"}`): "manifest.entries[0].policy_version_id",
		body(`{"policy_id":"{one}","policy_version_id":"{two-version}"}`):                                                            "manifest.entries[0].policy_version_id",
		`{"schema_version":"` + schema + `","base_version_id":"{default-version}"}`:                                                  "base_version_id",
		`{"schema_version":"` + schema + `","manifest":{"entries":[` + two + `]},"name":"<b>"}`:                                      "name",
		`{"schema_version":"` + schema + `","manifest":{"entries":[` + two + `]},"description":"` + strings.Repeat("x", 2049) + `"}`: "description",
	} {
		s.run(step{do: "PUT " + draft, body: body, status: 400, want: `{"code":"validation_error","details":[{"field":"` + field + `"}]}`})
	}
	s.run(
		step{do: "PUT /zones/{zone}/policy-sets/none/draft", body: body(two), status: 404},
		step{do: "PUT /zones/{zone}/policy-sets/{default}/draft", body: body(two), status: 403, events: []string{"policy_set_drafts:save!"}},
		step{do: "PUT " + draft, body: body(two), status: 201, events: saved},
		step{do: "PATCH /zones/{zone}/policy-sets/{default}/versions/{default-version}", body: `{"active":true}`, status: 200, events: []string{"policy_set_versions:activate"}},
		step{do: "DELETE /zones/{zone}/policy-sets/{set}", status: 200, events: []string{"policy_sets:archive"}},
		step{do: "PUT " + draft, body: body(two), status: 400},
		step{do: "POST " + draft + "/publish", status: 400, want: errorBody(400, "bad_request")},
		step{do: "DELETE " + draft, status: 204, events: []string{"policy_set_drafts:delete"}},
		// A set of a person without a target can have versions, but not decide:
		// then nothing happened, and the draft is still there.
		step{do: "POST /zones/{zone}/policy-sets", body: `{"name":"User","target_type":"user"}`, status: 201, keep: []string{"set=id"}, events: []string{"policy_sets:create"}},
		step{do: "PUT " + draft, body: body(two), status: 201, events: saved},
		step{do: "POST " + draft + "/publish", body: `{"activate":true}`, status: 400},
		step{do: "GET " + draft, status: 200},
		step{do: "GET /zones/{zone}/policy-sets/{set}", status: 200, want: `{"latest_version":"<absent>"}`},
	)
}

// TestDraftsPublishedAtOnce publishes one draft many times at once: it becomes
// one version.
func TestDraftsPublishedAtOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.policyWithVersion("p", "permit (principal, action, resource);")
	s.run(
		step{do: "POST /zones/{zone}/policy-sets", body: `{"name":"S"}`, status: 201, keep: []string{"set=id"}, events: []string{"policy_sets:create"}},
		step{do: "PUT /zones/{zone}/policies/{p}/draft", body: version("forbid (principal, action, resource);"), status: 201, events: []string{"policy_drafts:save"}},
		step{do: "PUT /zones/{zone}/policy-sets/{set}/draft", status: 201, events: []string{"policy_set_drafts:save"},
			body: `{"schema_version":"` + schema + `","manifest":{"entries":[{"policy_id":"{p}","policy_version_id":"{p-version}"}]}}`},
	)
	var group sync.WaitGroup
	var mu sync.Mutex
	answers := map[string]map[int]int{}
	for _, path := range []string{"policies/{p}", "policy-sets/{set}"} {
		answers[path] = map[int]int{}
		for range 10 {
			group.Go(func() {
				code := s.request(step{do: "POST /zones/{zone}/" + path + "/draft/publish"}).Code
				mu.Lock()
				defer mu.Unlock()
				answers[path][code]++
			})
		}
	}
	group.Wait()
	for path, codes := range answers {
		if codes[201] != 1 || codes[201]+codes[404] != 10 {
			t.Errorf("%s: %v", path, codes)
		}
	}
	s.events("")
	s.run(
		step{do: "GET /zones/{zone}/policies/{p}", status: 200, want: `{"latest_version":2}`},
		step{do: "GET /zones/{zone}/policy-sets/{set}/versions", status: 200, want: `{"items":[{"version":1}]}`},
	)
}

func TestPolicySchemas(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	const list = "GET /zones/{zone}/policy-schemas"
	s.run(
		step{do: list, status: 200, want: `{"items":[
			{"version":"2026-06-18","status":"active","is_default":true,"cedar_schema":null,"cedar_schema_json":{"Keycard":"<any>"},"created_at":"2026-06-18T00:00:00.000Z","deprecated_at":"<absent>","archived_at":"<absent>"},
			{"version":"2026-03-16","status":"active","is_default":false},
			{"version":"2026-02-24","status":"deprecated","deprecated_at":"<any>"}],"pagination":{"after_cursor":null,"before_cursor":null}}`},
		step{do: list + "?order=asc&limit=1&expand[]=total_count&format=cedar", status: 200, keep: []string{"next=pagination.after_cursor"},
			want: `{"items":[{"version":"2026-02-24","cedar_schema":"<any>","cedar_schema_json":null}],"pagination":{"total_count":3}}`},
		step{do: list + "?order=asc&limit=1&after={next}", status: 200, want: `{"items":[{"version":"2026-03-16"}]}`},
		step{do: list + "?filter[default]=true", status: 200, want: `{"items":[{"version":"2026-06-18"}]}`},
		step{do: list + "?is_default=false&order=asc", status: 200, want: `{"items":[{"version":"2026-02-24"},{"version":"2026-03-16"}]}`},
		step{do: list + "?is_default=false&filter[default]=true", status: 400},
		step{do: list + "?filter[default]=perhaps", status: 400},
		step{do: list + "?format=yaml", status: 400, want: `{"details":[{"field":"format"}]}`},
		step{do: list + "?sort=version", status: 400},
		step{do: list, as: "stranger", status: 404},
		step{do: list + "/2026-02-24", status: 200, want: `{"version":"2026-02-24","is_default":false,"cedar_schema":null,"cedar_schema_json":{"Keycard":{"entityTypes":{"User":"<any>"}}}}`},
		step{do: list + "/2026-02-24?format=cedar", status: 200, want: `{"cedar_schema":"<any>","cedar_schema_json":null}`},
		step{do: list + "/2026-02-24?format=yaml", status: 400},
		step{do: list + "/2026-02-14", status: 404, want: errorBody(404, "not_found")},
		// The default moves; whatever is in the body does not count.
		step{do: "PATCH /zones/{zone}/policy-schemas/2026-02-24", status: 200, want: `{"version":"2026-02-24","is_default":true}`, events: []string{"policy_schemas:update"}},
		step{do: list + "?filter[default]=true", status: 200, want: `{"items":[{"version":"2026-02-24"}]}`},
		step{do: "PATCH /zones/{zone}/policy-schemas/2026-03-16", body: `null`, status: 200, events: []string{"policy_schemas:update"}},
		step{do: "PATCH /zones/{zone}/policy-schemas/2026-06-18", body: `{"is_default":false,"anything":[1]}`, status: 200, want: `{"is_default":true}`, events: []string{"policy_schemas:update"}},
		step{do: list, status: 200, want: `{"items":[{"is_default":true},{"is_default":false},{"is_default":false}]}`},
		step{do: "PATCH /zones/{zone}/policy-schemas/none", status: 404},
	)
	// What the platform archives takes no new policies; what is pinned stays.
	old := strings.Replace(version("permit (principal, action, resource);"), schema, "2026-03-16", 1)
	s.run(
		step{do: "POST /zones/{zone}/policies", body: `{"name":"P"}`, status: 201, keep: []string{"p=id"}, events: []string{"policies:create"}},
		step{do: "POST /zones/{zone}/policies/{p}/versions", body: old, status: 201, keep: []string{"v=id"}, events: []string{"policy_versions:create"}},
		step{do: "PUT /zones/{zone}/policies/{p}/draft", body: old, status: 201, events: []string{"policy_drafts:save"}},
		step{do: "POST /zones/{zone}/policy-sets", body: `{"name":"S"}`, status: 201, keep: []string{"set=id"}, events: []string{"policy_sets:create"}},
	)
	now := s.now()
	s.write(deputy.OrganizationID(s.vars["org"]), func(tx deputy.Tx) error {
		_, err := tx.PolicySchemas().Update(t.Context(), deputy.Scope{}, "2026-03-16", func(d *deputy.PolicySchema) error {
			d.Status, d.ArchivedAt = deputy.SchemaArchived, &now
			return nil
		})
		return err
	})
	closed := `{"code":"validation_error","details":[{"field":"schema_version","message":"the schema is archived"}]}`
	s.run(
		step{do: list + "/2026-03-16", status: 200, want: `{"status":"archived","archived_at":"<any>"}`},
		step{do: "PATCH /zones/{zone}/policy-schemas/2026-03-16", status: 400, want: errorBody(400, "bad_request")},
		step{do: "POST /zones/{zone}/policies/{p}/versions", body: old, status: 400, want: closed},
		step{do: "PUT /zones/{zone}/policies/{p}/draft", body: old, status: 400, want: closed},
		step{do: "POST /zones/{zone}/policies/{p}/draft/publish", status: 400, want: closed},
		step{do: "GET /zones/{zone}/policies/{p}/versions", status: 200, want: `{"items":[{"id":"{v}"}]}`},
		step{do: "POST /zones/{zone}/policy-sets/{set}/versions", status: 201, keep: []string{"sv=id"}, events: []string{"policy_set_versions:create"},
			body: `{"schema_version":"2026-03-16","manifest":{"entries":[{"policy_id":"{p}","policy_version_id":"{v}"}]}}`},
		step{do: "PATCH /zones/{zone}/policy-sets/{set}/versions/{sv}", body: `{"active":true}`, status: 200, events: []string{"policy_set_versions:activate"}},
	)
}
