package api_test

import (
	"slices"
	"sync"
	"testing"

	"deputy/internal/api"
	"deputy/internal/deputy"
	"deputy/internal/policy"
	"deputy/internal/store"
)

// newer are the managed policies of a program of a later release: the first is
// changed, and there is one more.
func newer(t *testing.T) []policy.Managed {
	t.Helper()
	managed, err := policy.Defaults(policy.DefaultSchema)
	if err != nil {
		t.Fatal(err)
	}
	managed[0].Text = `@id("default-user-grants") permit (principal is Keycard::User, action, resource is Keycard::Resource) when { !context.impersonate };`
	return append(managed, policy.Managed{Name: "default-tools", Text: `@id("default-tools") forbid (principal, action, resource) when { context.impersonate && context.on_behalf };`})
}

// release is what a program of a release does in the zone.
func (s *server) release(node *api.API, schema string, managed []policy.Managed) {
	s.t.Helper()
	zone, err := s.store.Zones().Get(s.t.Context(), s.inOrganization("org"), s.id("zone"))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := node.ReleaseManaged(s.t.Context(), zone, schema, managed); err != nil {
		s.t.Error(err)
	}
}

// A program with newer managed policies adds them to every zone as one more
// version of the platform's set. What decides stays what it is until somebody
// activates another, also where that is the platform's.
func TestManagedPoliciesAreReleased(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	shipped, err := policy.Defaults(policy.DefaultSchema)
	if err != nil {
		t.Fatal(err)
	}
	managed := newer(t)
	s.policyWithVersion("mine", "permit (principal, action, resource);")
	s.run(
		step{do: "POST /zones/{zone}/policies", body: `{"name":"default-tools"}`, status: 201, keep: []string{"taken=id"}, events: []string{"policies:create"}},
		step{do: "GET /zones/{zone}/policy-sets", status: 200, keep: []string{"set=items.0.id", "version=items.0.active_version_id"}},
		step{do: "POST /zones/{zone}/policy-sets", body: `{"name":"Mine"}`, status: 201, keep: []string{"own=id"}, events: []string{"policy_sets:create"}},
		step{do: "POST /zones/{zone}/policy-sets/{own}/versions", body: `{"schema_version":"` + schema + `","manifest":{"entries":[{"policy_id":"{mine}","policy_version_id":"{mine-version}"}]}}`,
			status: 201, keep: []string{"own-version=id"}, events: []string{"policy_set_versions:create"}},
	)
	// What is there already is not made again.
	s.release(s.api, policy.DefaultSchema, shipped)
	s.run(step{do: "GET /zones/{zone}/policy-sets/{set}", status: 200, want: `{"latest_version":1,"active_version":1}`})
	// A newer program's is, once, and decides nothing.
	s.release(s.api, policy.DefaultSchema, managed)
	s.run(step{do: "GET /zones/{zone}/policy-sets/{set}", status: 200, events: []string{"policy_set_versions:create"}, keep: []string{"second=latest_version_id"},
		want: `{"latest_version":2,"active_version":1,"active_version_id":"{version}","owner_type":"platform"}`})
	s.release(s.api, policy.DefaultSchema, managed)
	s.release(s.api, policy.DefaultSchema, shipped) // nor does an older program beside it take it back
	s.run(
		step{do: "GET /zones/{zone}/policy-sets/{set}", status: 200, want: `{"latest_version":2,"active_version":1}`},
		step{do: "GET /zones/{zone}/policy-sets/{set}/versions/{second}", status: 200,
			want: `{"version":2,"owner_type":"platform","created_by":"platform","active":false,"schema_version":"` + schema + `","manifest":{"entries":["<any>","<any>","<any>","<any>"]},
				"attestation":{"status":"created","zone_id":"{zone}","policy_set_id":"{set}","policy_set_version":2,"attested_by":"platform"}}`},
		step{do: "GET /zones/{zone}/policies?filter[owner_type]=platform", status: 200, want: `{"items":["<any>","<any>","<any>","<any>"]}`},
		step{do: "GET /zones/{zone}/policies?query[name]=default-user-grants", status: 200, want: `{"items":[{"latest_version":2}]}`},
		step{do: "GET /zones/{zone}/policies?query[name]=default-app-direct-access", status: 200, want: `{"items":[{"latest_version":1}]}`},
		step{do: "GET /zones/{zone}/policies?query[name]=default-tools+(platform)", status: 200, want: `{"items":[{"owner_type":"platform","latest_version":1}]}`},
		step{do: "GET /zones/{zone}/policies/{taken}", status: 200, want: `{"name":"default-tools","owner_type":"customer","latest_version":"<absent>"}`},
	)
	// For another schema each policy has one more version, and the set one.
	s.release(s.api, "2026-03-16", managed)
	s.run(
		step{do: "GET /zones/{zone}/policy-sets/{set}", status: 200, events: []string{"policy_set_versions:create"}, keep: []string{"third=latest_version_id"}, want: `{"latest_version":3,"active_version":1}`},
		step{do: "GET /zones/{zone}/policy-sets/{set}/versions/{third}", status: 200, want: `{"schema_version":"2026-03-16"}`},
		step{do: "GET /zones/{zone}/policies?query[name]=default-app-delegation", status: 200, want: `{"items":[{"latest_version":2,"latest_schema_version":"2026-03-16"}]}`},
	)
	// The zone takes the new version when it wants to, and goes back as it likes;
	// a set of its own is left alone.
	activate := func(path string) step {
		return step{do: "PATCH /zones/{zone}/policy-sets/" + path, body: `{"active":true}`, status: 200, events: []string{"policy_set_versions:activate"}, want: `{"active":true}`}
	}
	s.run(activate("{set}/versions/{second}"), activate("{set}/versions/{version}"), activate("{own}/versions/{own-version}"))
	managed[1].Text = `@id("default-app-delegation") permit (principal is Keycard::Application, action, resource) when { context.on_behalf };`
	s.release(s.api, policy.DefaultSchema, managed)
	s.run(
		step{do: "GET /zones/{zone}/policy-sets/{own}", status: 200, events: []string{"policy_set_versions:create"}, want: `{"active":true,"active_version":1,"latest_version":1}`},
		step{do: "GET /zones/{zone}/policy-sets/{set}", status: 200, keep: []string{"fourth=latest_version_id"}, want: `{"active":false,"latest_version":4}`},
		activate("{set}/versions/{fourth}"),
	)
}

// Two nodes that release at the same time make one version.
func TestManagedPoliciesAreReleasedOnce(t *testing.T) {
	t.Parallel()
	database := store.Config{Path: t.TempDir() + "/deputy.db"}
	s := newServerOn(t, database)
	s.zone()
	other, _, _ := s.node(database)
	managed := newer(t)
	var group sync.WaitGroup
	for _, node := range []*api.API{s.api, other, s.api, other} {
		group.Go(func() { s.release(node, policy.DefaultSchema, managed) })
	}
	group.Wait()
	s.run(step{do: "GET /zones/{zone}/policy-sets", status: 200, events: []string{"policy_set_versions:create"}, want: `{"items":[{"latest_version":2,"active_version":1}]}`})
}

// The event of an activation names the version that decided before, however it
// came about and whoever else activates at the same time.
func TestActivationNamesWhatItReplaces(t *testing.T) {
	t.Parallel()
	database := store.Config{Path: t.TempDir() + "/deputy.db"}
	s := newServerOn(t, database)
	s.zone()
	other, _, _ := s.node(database)
	s.policyWithVersion("p", "permit (principal, action, resource);")
	const version = `{"schema_version":"` + schema + `","manifest":{"entries":[{"policy_id":"{p}","policy_version_id":"{p-version}"}]}}`
	s.run(
		step{do: "GET /zones/{zone}/policy-sets", status: 200, keep: []string{"default=items.0.active_version_id"}},
		step{do: "POST /zones/{zone}/policy-sets", body: `{"name":"S"}`, status: 201, keep: []string{"set=id"}, events: []string{"policy_sets:create"}},
		step{do: "POST /zones/{zone}/policy-sets/{set}/versions", body: version, status: 201, keep: []string{"v1=id"}, events: []string{"policy_set_versions:create"}},
		step{do: "PATCH /zones/{zone}/policy-sets/{set}/versions/{v1}", body: `{"active":true}`, status: 200, events: []string{"policy_set_versions:activate"}},
		step{do: "PUT /zones/{zone}/policy-sets/{set}/draft", body: version, status: 201, events: []string{"policy_set_drafts:save"}},
		step{do: "POST /zones/{zone}/policy-sets/{set}/draft/publish", body: `{"activate":true,"acknowledge_widening":true}`, status: 201, keep: []string{"v2=id"}, events: []string{"policy_set_drafts:publish"}},
		step{do: "GET /zones/{zone}/audit-events?order=desc&limit=1", status: 200, want: `{"items":[{"target":{"id":"{v2}","previous_id":"{v1}"}}]}`},
		step{do: "PUT /zones/{zone}/policy-sets/{set}/draft", body: version, status: 201, events: []string{"policy_set_drafts:save"}},
		step{do: "POST /zones/{zone}/policy-sets/{set}/draft/publish", status: 201, events: []string{"policy_set_drafts:publish"}},
		step{do: "GET /zones/{zone}/audit-events?order=desc&limit=1", status: 200, want: `{"items":[{"target":{"previous_id":"<absent>"}}]}`},
	)
	nodes := []*api.API{s.api, other}
	var group sync.WaitGroup
	for i, id := range []string{"v1", "v2"} {
		group.Go(func() {
			for range 6 {
				if w := s.requestAt(nodes[i], step{do: "PATCH /zones/{zone}/policy-sets/{set}/versions/{" + id + "}", body: `{"active":true}`}); w.Code != 200 {
					t.Errorf("activating: %d %s", w.Code, w.Body)
				}
			}
		})
	}
	group.Wait()
	page, err := s.store.Events(t.Context(), deputy.EventQuery{Organization: deputy.OrganizationID(s.vars["org"]), Ascending: true, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	before := s.vars["default"]
	for _, r := range page.Items {
		e, err := r.Event(t.Context(), openSealing{})
		if err != nil {
			t.Fatal(err)
		}
		activates := e.Type == "policy_set_versions:activate" || e.Type == "policy_set_drafts:publish" && e.Target.ID == s.vars["v2"]
		if !activates {
			continue
		}
		if e.Target.PreviousID != before {
			t.Errorf("the event of %s says that %s decided, and that was %s", e.Target.ID, e.Target.PreviousID, before)
		}
		before = e.Target.ID
	}
	if !slices.Contains([]string{s.vars["v1"], s.vars["v2"]}, before) {
		t.Errorf("in the end %s decides", before)
	}
}
