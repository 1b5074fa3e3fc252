package api_test

import (
	"encoding/json"
	"strings"
	"testing"

	"deputy/internal/api"
	"deputy/internal/deputy"
)

// TestPolicyRefusals is what the policy service refuses, a row each, in the
// order of its contract, and that a refusal changes nothing.
func TestPolicyRefusals(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.policyWithVersion("bound", "permit (principal, action, resource);")
	s.policyWithVersion("free", "forbid (principal, action, resource);")
	s.policyWithVersion("closed", "forbid (principal, action, resource);")
	s.policyWithVersion("halved", "forbid (principal, action, resource);")
	for _, set := range []string{"deciding", "observed", "idle", "left"} {
		s.setWithVersion(set, "bound")
	}
	s.person("org", "viewer", deputy.OrganizationMember)
	s.member("zone", "viewer", deputy.ZoneViewer)
	const old, gone = "2026-03-16", "2026-02-24"
	s.run(
		step{do: "GET /zones/{zone}/policy-sets?query=default", status: 200, keep: []string{"default=items.0.id", "default-version=items.0.latest_version_id"}},
		step{do: "GET /zones/{zone}/policy-sets/{default}/versions/{default-version}", status: 200, keep: []string{"managed=manifest.entries.0.policy_id", "managed-version=manifest.entries.0.policy_version_id"}},
		step{do: "POST /zones/{zone}/policies/{free}/versions", body: strings.Replace(version("permit (principal, action, resource);"), schema, old, 1), status: 201, keep: []string{"old-version=id"}, events: []string{"policy_versions:create"}},
		step{do: "DELETE /zones/{zone}/policies/{halved}/versions/{halved-version}", status: 200, events: []string{"policy_versions:archive"}},
		step{do: "DELETE /zones/{zone}/policies/{closed}", status: 200, events: []string{"policies:archive"}},
		step{do: "PATCH /zones/{zone}/policy-sets/{deciding}/versions/{deciding-version}", body: `{"active":true}`, status: 200, events: []string{"policy_set_versions:activate"}},
		step{do: "PUT /zones/{zone}/policy-sets/{observed}/shadow", body: `{"version_id":"{observed-version}"}`, status: 200, events: []string{"policy_sets:shadow"}},
		step{do: "DELETE /zones/{zone}/policy-sets/{left}/versions/{left-version}", status: 200, events: []string{"policy_set_versions:archive"}},
		step{do: "POST /zones", body: `{"name":"Elsewhere"}`, status: 200, keep: []string{"elsewhere=id"}, events: []string{"zones:create"}},
	)
	now := s.now()
	s.write(deputy.OrganizationID(s.vars["org"]), func(tx deputy.Tx) error {
		_, err := tx.PolicySchemas().Update(t.Context(), deputy.Scope{}, gone, func(d *deputy.PolicySchema) error {
			d.Status, d.ArchivedAt = deputy.SchemaArchived, &now
			return nil
		})
		return err
	})
	const (
		policies, sets    = "/zones/{zone}/policies", "/zones/{zone}/policy-sets"
		pin, permit       = sets + "/{idle}/versions", `permit (principal, action, resource);`
		invalid, bad      = "validation_error", "bad_request"
		conflict, unknown = "conflict", "not_found"
		activate          = `{"active":true}`
	)
	entry := func(policy, version string) string {
		return `{"policy_id":"{` + policy + `}","policy_version_id":"{` + version + `}"}`
	}
	manifest := func(entries ...string) string {
		return `{"schema_version":"` + schema + `","manifest":{"entries":[` + strings.Join(entries, ",") + `]}}`
	}
	stale := map[string]string{"If-Match": `"0"`}
	const pinned = "manifest.entries[0].policy_version_id"

	for _, row := range []struct {
		name, do, body string
		header         map[string]string
		as             string
		status         int
		code, field    string // field: the first detail's; none when empty
		says           string // part of the message
	}{
		{name: "archive a policy version that decides", do: "DELETE " + policies + "/{bound}/versions/{bound-version}", status: 400, code: bad, says: "cannot archive version: currently active"},
		{name: "archive a policy whose version decides", do: "DELETE " + policies + "/{bound}", status: 409, code: conflict},
		{name: "archive a set version that is active", do: "DELETE " + sets + "/{deciding}/versions/{deciding-version}", status: 400, code: bad, says: "cannot archive version: currently bound"},
		{name: "archive a set version that is shadow", do: "DELETE " + sets + "/{observed}/versions/{observed-version}", status: 400, code: bad, says: "cannot archive version: currently bound"},
		{name: "archive a set that is active", do: "DELETE " + sets + "/{deciding}", status: 409, code: conflict, says: "policy set has active bindings and cannot be archived"},
		{name: "archive a set that is shadow", do: "DELETE " + sets + "/{observed}", status: 409, code: conflict, says: "policy set has active bindings and cannot be archived"},
		{name: "activate a shadow", do: "PATCH " + sets + "/{observed}/versions/{observed-version}", body: activate, status: 400, code: bad, says: "remove that binding first"},
		{name: "activate with false", do: "PATCH " + pin + "/{idle-version}", body: `{"active":false}`, status: 400, code: invalid, field: "active"},
		{name: "activate with null", do: "PATCH " + pin + "/{idle-version}", body: `{"active":null}`, status: 400, code: invalid, field: "active"},
		{name: "activate with nothing", do: "PATCH " + pin + "/{idle-version}", body: `{}`, status: 400, code: invalid, field: "active"},
		{name: "activate and more", do: "PATCH " + pin + "/{idle-version}", body: `{"active":true,"name":"x"}`, status: 400, code: invalid, field: "name"},
		{name: "activate what is archived", do: "PATCH " + sets + "/{left}/versions/{left-version}", body: activate, status: 400, code: bad},
		{name: "a version of another policy", do: "GET " + policies + "/{free}/versions/{bound-version}", status: 404, code: unknown},
		{name: "a version of another set", do: "PATCH " + pin + "/{observed-version}", body: activate, status: 404, code: unknown},
		{name: "a policy of another zone", do: "GET /zones/{elsewhere}/policies/{free}", status: 404, code: unknown},
		{name: "a set of another zone", do: "PATCH /zones/{elsewhere}/policy-sets/{idle}/versions/{idle-version}", body: activate, status: 404, code: unknown},
		{name: "read an unknown schema", do: "GET /zones/{zone}/policy-schemas/1999-01-01", status: 404, code: unknown},
		{name: "write against an unknown schema", do: "POST " + policies + "/{free}/versions", body: strings.Replace(version(permit), schema, "1999-01-01", 1), status: 400, code: invalid, field: "schema_version"},
		{name: "pin against an unknown schema", do: "POST " + pin, body: strings.Replace(manifest(entry("bound", "bound-version")), schema, "1999-01-01", 1), status: 400, code: invalid, field: "schema_version"},
		{name: "write against an archived schema", do: "POST " + policies + "/{free}/versions", body: strings.Replace(version(permit), schema, gone, 1), status: 400, code: invalid, field: "schema_version", says: "archived"},
		{name: "prefer an archived schema", do: "PATCH /zones/{zone}/policy-schemas/" + gone, status: 400, code: bad, says: "archived"},
		{name: "write under an archived policy", do: "POST " + policies + "/{closed}/versions", body: version(permit), status: 400, code: bad},
		{name: "pin an unknown policy", do: "POST " + pin, body: manifest(`{"policy_id":"none","policy_version_id":"{bound-version}"}`), status: 400, code: invalid, field: pinned},
		{name: "pin an unknown version", do: "POST " + pin, body: manifest(`{"policy_id":"{bound}","policy_version_id":"none"}`), status: 400, code: invalid, field: pinned},
		{name: "pin a version of another policy", do: "POST " + pin, body: manifest(entry("free", "bound-version")), status: 400, code: invalid, field: pinned},
		{name: "pin an archived version", do: "POST " + pin, body: manifest(entry("halved", "halved-version")), status: 400, code: invalid, field: pinned},
		{name: "pin a version of another schema", do: "POST " + pin, body: manifest(entry("free", "old-version")), status: 400, code: invalid, field: pinned},
		{name: "pin one policy twice", do: "POST " + pin, body: manifest(entry("bound", "bound-version"), entry("bound", "bound-version")), status: 400, code: invalid, field: "manifest.entries[1].policy_id"},
		{name: "pin nothing", do: "POST " + pin, body: manifest(), status: 400, code: invalid, field: "manifest.entries"},
		{name: "both forms of Cedar", do: "POST " + policies + "/{free}/versions", body: `{"schema_version":"` + schema + `","cedar_raw":"` + permit + `","cedar_json":{}}`, status: 400, code: invalid, field: "cedar_raw"},
		{name: "neither form of Cedar", do: "POST " + policies + "/{free}/versions", body: `{"schema_version":"` + schema + `"}`, status: 400, code: invalid, field: "cedar_raw"},
		{name: "empty Cedar", do: "POST " + policies + "/{free}/versions", body: version(""), status: 400, code: invalid, field: "cedar_raw"},
		{name: "Cedar that does not parse", do: "POST " + policies + "/{free}/versions", body: version("permit ("), status: 400, code: invalid, field: "cedar_raw"},
		{name: "Cedar outside the schema", do: "POST " + policies + "/{free}/versions", body: version("permit (principal is Keycard::Robot, action, resource);"), status: 400, code: invalid, field: "cedar_raw"},
		{name: "a stale tag of a policy", do: "PATCH " + policies + "/{free}", body: `{"name":"x"}`, header: stale, status: 412, code: conflict},
		{name: "a stale tag of a set", do: "PATCH " + sets + "/{idle}", body: `{"name":"x"}`, header: stale, status: 412, code: conflict},
		{name: "a stale tag of a set to archive", do: "DELETE " + sets + "/{idle}", header: stale, status: 412, code: conflict},
		{name: "a policy's name that is taken", do: "POST " + policies, body: `{"name":"free"}`, status: 409, code: conflict, field: "name"},
		{name: "a rename to what is taken", do: "PATCH " + policies + "/{free}", body: `{"name":"bound"}`, status: 409, code: conflict, field: "name"},
		{name: "a set's name that is taken", do: "POST " + sets, body: `{"name":"idle"}`, status: 409, code: conflict, field: "name"},
		{name: "change the platform's policy", do: "PATCH " + policies + "/{managed}", body: `{"name":"x"}`, status: 403, code: "forbidden"},
		{name: "archive the platform's policy", do: "DELETE " + policies + "/{managed}", status: 403, code: "forbidden"},
		{name: "add to the platform's policy", do: "POST " + policies + "/{managed}/versions", body: version(permit), status: 403, code: "forbidden"},
		{name: "archive the platform's version", do: "DELETE " + policies + "/{managed}/versions/{managed-version}", status: 403, code: "forbidden"},
		{name: "change the platform's set", do: "PATCH " + sets + "/{default}", body: `{"name":"x"}`, status: 403, code: "forbidden"},
		{name: "archive the platform's set", do: "DELETE " + sets + "/{default}", status: 403, code: "forbidden"},
		{name: "add to the platform's set", do: "POST " + sets + "/{default}/versions", body: manifest(entry("bound", "bound-version")), status: 403, code: "forbidden"},
		{name: "archive the platform's set version", do: "DELETE " + sets + "/{default}/versions/{default-version}", status: 403, code: "forbidden"},
		{name: "a viewer makes a policy", as: "viewer@example.com", do: "POST " + policies, body: `{"name":"x"}`, status: 403, code: "forbidden"},
		{name: "a viewer writes a version", as: "viewer@example.com", do: "POST " + policies + "/{free}/versions", body: version(permit), status: 403, code: "forbidden"},
		{name: "a viewer activates", as: "viewer@example.com", do: "PATCH " + pin + "/{idle-version}", body: activate, status: 403, code: "forbidden"},
		{name: "a viewer archives", as: "viewer@example.com", do: "DELETE " + sets + "/{idle}", status: 403, code: "forbidden"},
	} {
		before := s.policyEstate()
		w := s.request(step{do: row.do, body: row.body, header: row.header, as: row.as})
		var got api.Error
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v: %s", row.name, err, w.Body)
		}
		field := ""
		if len(got.Details) > 0 {
			field = got.Details[0].Field
		}
		if w.Code != row.status || got.Status != row.status || string(got.Code) != row.code || field != row.field || !strings.Contains(got.Message, row.says) {
			t.Errorf("%s: want %d %s, of the field %q, saying %q: %d %s", row.name, row.status, row.code, row.field, row.says, w.Code, w.Body)
		}
		if s.policyEstate() != before {
			t.Errorf("%s: the refusal changed something", row.name)
		}
	}
}

// policyEstate is all that the zone's policies, sets and versions show.
func (s *server) policyEstate() string {
	s.t.Helper()
	var all strings.Builder
	for _, path := range []string{
		"/policies", "/policies/{bound}", "/policies/{bound}/versions", "/policies/{free}/versions", "/policies/{managed}/versions", "/policies/{closed}", "/policies/{halved}/versions",
		"/policy-sets", "/policy-sets/{deciding}/versions", "/policy-sets/{observed}/versions", "/policy-sets/{idle}/versions", "/policy-sets/{left}/versions/{left-version}",
		"/policy-sets/{default}/versions", "/policy-schemas",
	} {
		all.Write(s.request(step{do: "GET /zones/{zone}" + path}).Body.Bytes())
	}
	return all.String()
}
