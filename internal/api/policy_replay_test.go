package api_test

import (
	"testing"

	"deputy/internal/deputy"
)

// TestPolicyTrial asks versions, bound or not, what they would decide.
func TestPolicyTrial(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.policyWithVersion("claims", `permit (principal, action, resource) when { context has subject_claims && context.subject_claims.hasTag("team") && context.subject_claims.getTag("team") == "red" };`)
	s.policyWithVersion("fails", `permit (principal, action, resource) when { 9007199254740991 * 9007199254740991 > 0 };`)
	s.policyWithVersion("reads", `permit (principal, action, resource) unless { context has scopes && context.scopes.contains("write") };`)
	s.setWithVersion("own", "claims")
	s.setWithVersion("reading", "reads")
	s.setWithVersion("broken", "fails")
	s.user("zoe")
	const own = "POST /zones/{zone}/policy-sets/{own}/versions/{own-version}/test"
	const reading = "POST /zones/{zone}/policy-sets/{reading}/versions/{reading-version}/test"
	const platform = "POST /zones/{zone}/policy-sets/{default}/versions/{default-version}/test"
	asked := []string{"policy_set_versions:test"}
	ask := func(more string) string { return `{"application_id":"{app}","resource_id":"{resource}"` + more + `}` }
	s.run(
		step{do: "GET /zones/{zone}/policy-sets?query=default", status: 200, keep: []string{"default=items.0.id", "default-version=items.0.active_version_id"}},
		step{do: "POST /zones/{zone}/applications", body: `{"name":"Agent","identifier":"urn:agent"}`, status: 200, keep: []string{"app=id"}, events: []string{"applications:create"}},
		step{do: "POST /zones/{zone}/resources", body: `{"name":"Paper","identifier":"https://paper.test","scopes":["read","write"]}`, status: 200, keep: []string{"resource=id"}, events: []string{"resources:create"}},
		step{do: platform, body: ask(""), status: 200, events: asked,
			want: `{"decision":"deny","refusal":"not_permitted","message":"Application \"Agent\" is not allowed to access \"Paper\".","determining":"<absent>",
				"legs":[{"principal_type":"application","principal_id":"{app}","on_behalf":false,"decision":"deny"}],"policy_set_version_id":"{default-version}","policy_set_version":1}`},
		step{do: platform, body: ask(`,"user_id":"{zoe}","scopes":["read","other"]`), status: 200, events: asked,
			want: `{"decision":"allow","scopes_kept":["read"],"determining":["{default}::default-user-grants","{default}::default-app-delegation"],
				"legs":[{"principal_type":"user","principal_id":"{zoe}","on_behalf":true,"decision":"allow","determining":["{default}::default-user-grants"]},{"on_behalf":true}]}`},
		step{do: platform, body: ask(`,"user_id":"{zoe}","impersonate":true`), status: 200, events: asked,
			want: `{"decision":"deny","legs":[{"decision":"allow","on_behalf":false},{"decision":"deny"}]}`},
		step{do: own, body: ask(`,"subject_claims":{"team":"red"}`), status: 200, events: asked, want: `{"decision":"allow","determining":["{own}::policy0"]}`},
		step{do: own, body: ask(`,"actor_claims":{"team":"red"}`), status: 200, events: asked, want: `{"decision":"deny"}`},
		step{do: "POST /zones/{zone}/policy-sets/{broken}/versions/{broken-version}/test", body: ask(""), status: 200, events: asked,
			want: `{"decision":"deny","refusal":"evaluation_failed","errors":[{"policy":"{broken}::policy0","message":"<any>"}]}`},
		// A token for the application from elsewhere has every scope unless one is named.
		step{do: "POST /zones/{zone}/providers", body: `{"name":"Elsewhere","identifier":"https://elsewhere.test"}`, status: 200, keep: []string{"elsewhere=id"}, events: []string{"providers:create"}},
		step{do: "POST /zones/{zone}/resources", body: `{"name":"Files","identifier":"https://files.test","scopes":["read","write"],"credential_provider_id":"{elsewhere}"}`, status: 200, keep: []string{"files=id"}, events: []string{"resources:create"}},
		step{do: reading, body: `{"application_id":"{app}","resource_id":"{files}"}`, status: 200, events: asked, want: `{"decision":"deny","refusal":"not_narrowable"}`},
		step{do: reading, body: `{"application_id":"{app}","resource_id":"{files}","scopes":["other"]}`, status: 200, events: asked, want: `{"decision":"deny","refusal":"not_narrowable"}`},
		step{do: reading, body: `{"application_id":"{app}","resource_id":"{files}","scopes":["read"]}`, status: 200, events: asked, want: `{"decision":"allow"}`},
		step{do: reading, body: `{"application_id":"{app}","resource_id":"{files}","user_id":"{zoe}"}`, status: 200, events: asked, want: `{"decision":"allow"}`},
		// Nothing is stored of it.
		step{do: "GET /zones/{zone}/policy-evaluations", status: 200, want: `{"items":[]}`},
		step{do: own, body: ask(`,"impersonate":true`), status: 400, want: `{"details":[{"field":"user_id"}]}`},
		step{do: own, body: ask(`,"user_id":"{zoe}","impersonate":true,"on_behalf":true`), status: 400, want: `{"details":[{"field":"on_behalf"}]}`},
		step{do: own, body: ask(`,"user_id":"none"`), status: 400, want: `{"details":[{"field":"user_id"}]}`},
		step{do: own, body: `{"application_id":"none","resource_id":"{resource}"}`, status: 400, want: `{"details":[{"field":"application_id"}]}`},
		step{do: own, body: `{"application_id":"{app}","resource_id":"none"}`, status: 400, want: `{"details":[{"field":"resource_id"}]}`},
		step{do: own, body: ask(`,"subject_claims":[]`), status: 400, want: `{"details":[{"field":"subject_claims"}]}`},
		step{do: "POST /zones/{zone}/policy-sets/{own}/versions/{broken-version}/test", body: ask(""), status: 404},
	)
}

// TestPolicyReplay makes stored decisions again by a version and by a draft,
// and refuses to let one decide that widens access.
func TestPolicyReplay(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.policyWithVersion("reads", `permit (principal, action, resource) when { if context has scopes then ["read"].containsAll(context.scopes) else principal is Keycard::User };`)
	s.policyWithVersion("closed", `forbid (principal, action, resource);`)
	s.setWithVersion("own", "reads")
	s.setWithVersion("shut", "closed")
	a := s.asking()
	a.ask("", alone(agent, "read", "write"), nil)
	a.ask("", alone(agent, "read", "write"), nil)
	a.ask("", alone(agent, "read"), nil)
	denied := a.ask("", alone(robot, "read"), nil)
	a.ask("", alone(agent), nil)
	a.ask("", forUser(agent, "zoe@example.test", "read"), nil)
	a.ask(s.vars["own-version"], alone(agent, "write"), denied) // a shadow's: not made again
	s.vars["denied"] = string(denied.ID)
	const replay, draft = "POST /zones/{zone}/policy-sets/{own}/versions/{own-version}/replay", "/zones/{zone}/policy-sets/{own}/draft"
	events, asked := []string{"policy_set_drafts:save"}, []string{"policy_set_versions:replay"}
	gained := `{"change":"newly_allowed","count":1,"evaluation_id":"{denied}","principals":[{"type":"application","id":"robot","on_behalf":false}],"resource_id":"paper",
		"scopes":["read"],"before":{"decision":"deny","refusal":"not_permitted"},"after":{"decision":"allow","scopes_kept":["read"],"determining":["{own}::policy0"]}}`
	s.run(
		step{do: replay, status: 200, events: asked, want: `{"evaluated":6,"unchanged":2,"newly_allowed":1,"newly_denied":1,"narrowed":2,"widened":0,"gone":0,"complete":true,"changes":3,
			"witnesses":[{"change":"newly_denied","before":{"decision":"allow"},"after":{"decision":"deny"}},` + gained + `,
				{"change":"narrowed","count":2,"before":{"scopes_kept":["read","write"]},"after":{"scopes_kept":["read"]}}]}`},
		step{do: replay, body: `{"limit":2}`, status: 200, events: asked, want: `{"evaluated":2,"complete":false}`},
		step{do: replay, body: `{"until":"2026-05-04T03:00:00Z"}`, status: 200, events: asked, want: `{"evaluated":0,"complete":true,"witnesses":[]}`},
		step{do: replay, body: `{"limit":0}`, status: 400, want: `{"details":[{"field":"limit"}]}`},
		step{do: replay, body: `{"since":"yesterday"}`, status: 400, want: `{"details":[{"field":"since"}]}`},
		step{do: "POST /zones/{zone}/policy-sets/{shut}/versions/{own-version}/replay", status: 404},
		step{do: "POST " + draft + "/replay", status: 404},
		step{do: "PUT " + draft, body: `{"schema_version":"` + schema + `","manifest":{"entries":[{"policy_id":"{reads}","policy_version_id":"{reads-version}"}]}}`, status: 201, events: events},
		step{do: "POST " + draft + "/replay", status: 200, events: []string{"policy_set_drafts:replay"}, want: `{"evaluated":6,"newly_allowed":1,"newly_denied":1,"narrowed":2}`},
		// What widens access decides only when that is acknowledged; a refusal changes nothing.
		step{do: "POST " + draft + "/publish", body: `{"activate":true}`, status: 409, want: `{"code":"conflict","witnesses":[` + gained + `]}`},
		step{do: "GET " + draft, status: 200},
		step{do: "GET /zones/{zone}/policy-sets/{own}", status: 200, want: `{"active":false,"latest_version":1}`},
		step{do: "POST " + draft + "/publish", body: `{"activate":true,"acknowledge_widening":true}`, status: 201, want: `{"active":true}`, events: []string{"policy_set_drafts:publish"}},
		// What is in force today is not widened by saying the same again, whatever was decided before it.
		step{do: "PUT " + draft, body: `{"schema_version":"` + schema + `","manifest":{"entries":[{"policy_id":"{reads}","policy_version_id":"{reads-version}"}]}}`, status: 201, events: events},
		step{do: "POST " + draft + "/publish", body: `{"activate":true}`, status: 201, events: []string{"policy_set_drafts:publish"}},
		step{do: "PUT " + draft, body: `{"schema_version":"` + schema + `","manifest":{"entries":[{"policy_id":"{reads}","policy_version_id":"{reads-version}"}]}}`, status: 201, events: events},
	)
	// Nor does it decide in place of a stricter one that came between.
	s.between = func() {
		s.write(deputy.OrganizationID(s.vars["org"]), func(tx deputy.Tx) error {
			_, err := tx.Activate(t.Context(), deputy.ZoneID(s.vars["zone"]), deputy.ID(s.vars["shut"]), deputy.ID(s.vars["shut-version"]))
			return err
		})
	}
	s.run(
		step{do: "POST " + draft + "/publish", body: `{"activate":true}`, status: 409, want: `{"code":"conflict"}`},
		step{do: "GET /zones/{zone}/policy-sets/{shut}", status: 200, want: `{"active":true}`},
		step{do: "POST " + draft + "/publish", body: `{"activate":true}`, status: 409, want: `{"code":"conflict","witnesses":"<any>"}`},
		step{do: "PUT /zones/{zone}/policy-sets/{shut}/draft", body: `{"schema_version":"` + schema + `","manifest":{"entries":[{"policy_id":"{closed}","policy_version_id":"{closed-version}"}]}}`, status: 201, events: events},
		step{do: "POST /zones/{zone}/policy-sets/{shut}/draft/publish", body: `{"activate":true}`, status: 201, events: []string{"policy_set_drafts:publish"}},
	)
}
