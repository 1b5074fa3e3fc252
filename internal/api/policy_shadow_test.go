package api_test

import (
	"strings"
	"testing"
)

// setWithVersion makes a set with one version that pins a policy made by
// policyWithVersion; kept as {name} and {name-version}.
func (s *server) setWithVersion(name, policy string) {
	s.t.Helper()
	s.run(
		step{do: "POST /zones/{zone}/policy-sets", body: `{"name":"` + name + `"}`, status: 201, keep: []string{name + "=id"}, events: []string{"policy_sets:create"}},
		step{do: "POST /zones/{zone}/policy-sets/{" + name + "}/versions", status: 201, keep: []string{name + "-version=id"}, events: []string{"policy_set_versions:create"},
			body: `{"schema_version":"` + schema + `","manifest":{"entries":[{"policy_id":"{` + policy + `}","policy_version_id":"{` + policy + `-version}"}]}}`},
	)
}

func TestShadow(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.policyWithVersion("all", "permit (principal, action, resource);")
	s.setWithVersion("one", "all")
	s.setWithVersion("two", "all")
	const shadow, set = " /zones/{zone}/policy-sets/{one}/shadow", "/zones/{zone}/policy-sets/{one}"
	bound, unbound := []string{"policy_sets:shadow"}, []string{"policy_sets:unshadow"}
	s.run(
		step{do: "GET " + set, status: 200, keep: []string{"tag=header:ETag"}},
		step{do: "PUT" + shadow, body: `{"version_id":"{one-version}"}`, header: map[string]string{"If-Match": "{tag}"}, status: 200, events: bound, keep: []string{"bound=header:ETag"},
			want: `{"id":"{one}","mode":"shadow","active":false,"shadow_version":1,"shadow_version_id":"{one-version}","scope_target_id":"{zone}"}`},
		step{do: "PUT" + shadow, body: `{"version_id":"{one-version}"}`, status: 200, events: bound, heads: map[string]string{"ETag": "{bound}"}},
		step{do: "PUT" + shadow, body: `{"version_id":"{one-version}"}`, header: map[string]string{"If-Match": "{tag}"}, status: 412, want: errorBody(412, "conflict")},
		step{do: "DELETE" + shadow, header: map[string]string{"If-Match": "{tag}"}, status: 412, want: errorBody(412, "conflict")},
		step{do: "GET " + set, status: 200, want: `{"shadow_version_id":"{one-version}"}`, heads: map[string]string{"ETag": "{bound}"}},
		// What is observed stays, and does not decide before it is promoted.
		step{do: "PATCH " + set + "/versions/{one-version}", body: `{"active":true}`, status: 400,
			want: `{"code":"bad_request","message":"the version is bound as shadow: remove that binding first"}`},
		step{do: "DELETE " + set + "/versions/{one-version}", status: 400, want: `{"code":"bad_request","message":"cannot archive version: currently bound"}`},
		step{do: "DELETE " + set, status: 409, want: `{"code":"conflict","message":"policy set has active bindings and cannot be archived"}`},
		// A zone has one shadow.
		step{do: "PUT /zones/{zone}/policy-sets/{two}/shadow", body: `{"version_id":"{two-version}"}`, status: 200, events: bound},
		step{do: "GET " + set, status: 200, want: `{"mode":"<absent>","shadow_version":"<absent>","shadow_version_id":"<absent>"}`},
		step{do: "DELETE" + shadow, status: 200, events: unbound},
		step{do: "DELETE /zones/{zone}/policy-sets/{two}/shadow", status: 200, want: `{"shadow_version_id":"<absent>"}`, events: unbound},
		step{do: "PATCH " + set + "/versions/{one-version}", body: `{"active":true}`, status: 200, events: []string{"policy_set_versions:activate"}},
		// The one that decides is nobody's shadow; nor is what is gone, elsewhere, or a person's.
		step{do: "PUT" + shadow, body: `{"version_id":"{one-version}"}`, status: 400, want: `{"details":[{"field":"version_id"}]}`},
		step{do: "PUT" + shadow, body: `{"version_id":"{two-version}"}`, status: 400, want: `{"details":[{"field":"version_id"}]}`},
		step{do: "PUT" + shadow, body: `{}`, status: 400, want: `{"details":[{"field":"version_id"}]}`},
		step{do: "PUT /zones/{zone}/policy-sets/none/shadow", body: `{"version_id":"{two-version}"}`, status: 404},
		step{do: "DELETE /zones/{zone}/policy-sets/none/shadow", status: 404},
		step{do: "DELETE /zones/{zone}/policy-sets/{two}/versions/{two-version}", status: 200, events: []string{"policy_set_versions:archive"}},
		step{do: "PUT /zones/{zone}/policy-sets/{two}/shadow", body: `{"version_id":"{two-version}"}`, status: 400, want: `{"details":[{"field":"version_id"}]}`},
		// The platform's set may be observed.
		step{do: "GET /zones/{zone}/policy-sets?query=default", status: 200, keep: []string{"default=items.0.id", "default-version=items.0.latest_version_id"}},
		step{do: "PUT /zones/{zone}/policy-sets/{default}/shadow", body: `{"version_id":"{default-version}"}`, status: 200, events: bound},
		step{do: "POST /zones/{zone}/policy-sets", body: `{"name":"User","target_type":"user"}`, status: 201, keep: []string{"user=id"}, events: []string{"policy_sets:create"}},
		step{do: "POST /zones/{zone}/policy-sets/{user}/versions", status: 201, keep: []string{"user-version=id"}, events: []string{"policy_set_versions:create"},
			body: strings.ReplaceAll(`{"schema_version":"SCHEMA","manifest":{"entries":[{"policy_id":"{all}","policy_version_id":"{all-version}"}]}}`, "SCHEMA", schema)},
		step{do: "PUT /zones/{zone}/policy-sets/{user}/shadow", body: `{"version_id":"{user-version}"}`, status: 400, want: errorBody(400, "bad_request")},
	)
}
