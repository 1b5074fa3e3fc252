package api_test

import (
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/policy"
	"deputy/internal/vault"
)

// asker records decisions in a zone as the token service does.
type asker struct {
	*server
	userKey deputy.ID
}

// asking returns an asker of the zone {zone}.
func (s *server) asking() *asker {
	s.t.Helper()
	a := &asker{server: s}
	zone, err := s.store.Zones().Get(s.t.Context(), deputy.Scope{Organization: deputy.OrganizationID(s.vars["org"])}, deputy.ID(s.vars["zone"]))
	if err != nil {
		s.t.Fatal(err)
	}
	key, err := s.vault.New(s.t.Context(), deputy.NewID(s.now()), zone.KeyID, s.now())
	if err != nil {
		s.t.Fatal(err)
	}
	a.userKey = key.ID
	s.write(zone.OrganizationID, func(tx deputy.Tx) error { return tx.InsertDataKey(s.t.Context(), key) })
	return a
}

// version compiles a set version of the zone; the active one for "".
func (a *asker) version(id string) *policy.Set {
	a.t.Helper()
	if id == "" {
		delta, err := a.store.Zone(a.t.Context(), deputy.ZoneID(a.vars["zone"]), 0)
		if err != nil {
			a.t.Fatal(err)
		}
		id = string(delta.Zone.ActivePolicySetVersionID)
	}
	bound, err := a.store.BoundPolicy(a.t.Context(), deputy.ZoneID(a.vars["zone"]), deputy.ID(id))
	if err != nil {
		a.t.Fatal(err)
	}
	set, err := policy.CompileBound(bound)
	if err != nil {
		a.t.Fatal(err)
	}
	return set
}

// ask decides a request by a set version and records it; as a shadow's when of
// is not nil. It returns the event.
func (a *asker) ask(version string, r policy.Request, of *deputy.Event) *deputy.Event {
	a.t.Helper()
	out := a.version(version).Decide(r)
	at := a.now()
	e := &deputy.Event{
		ID: deputy.EventID(deputy.NewID(at)), Time: deputy.Time(at), Type: "credentials:issue", Outcome: deputy.Success,
		ZoneID: deputy.ZoneID(a.vars["zone"]), OrganizationID: deputy.OrganizationID(a.vars["org"]), RequestID: "request",
		Actor: deputy.Actor{Type: "application"}, ClientID: "client", GrantType: "client_credentials",
		Resource: &deputy.EventResource{ID: r.Resource.ID()}, Evaluation: new(deputy.Evaluation),
		Policy: &deputy.EventPolicy{SetID: out.Set.SetID, SetVersionID: out.Set.VersionID, Version: out.Set.Number, SchemaVersion: out.Set.SchemaVersion, ManifestSHA: out.Set.ManifestSHA, Latency: 12},
	}
	for _, p := range out.Determining() {
		e.Policy.Determining = append(e.Policy.Determining, p.Label)
		e.Policy.Policies = append(e.Policy.Policies, deputy.EventPolicyVersion{PolicyID: p.PolicyID, VersionID: p.VersionID})
	}
	if r.Subject != nil {
		e.UserID, e.UserKey = deputy.UserID(r.Subject.PrincipalID()), a.userKey
	}
	out.Evaluation(e.Evaluation)
	if of != nil {
		e.Type = "policies:evaluate"
		e.Evaluation.Shadow = &deputy.ShadowOf{
			Event: of.ID, Policy: of.Policy, Kept: of.Evaluation.Kept, Refusal: of.Evaluation.Refusal,
			Diverged: of.Evaluation.Allowed() != e.Evaluation.Allowed(),
		}
	}
	var kept []deputy.PolicyEntity
	for _, entity := range r.Entities(nil) {
		k := deputy.PolicyEntity{ID: entity.Trace().ID, Data: entity.Facts(), Sealed: entity.Personal()}
		if k.Sealed {
			var err error
			if k.Data, err = a.vault.Seal(a.t.Context(), a.userKey, vault.PolicyEntity(e.ZoneID, k.ID), k.Data); err != nil {
				a.t.Fatal(err)
			}
		}
		kept = append(kept, k)
	}
	err := a.store.Write(a.t.Context(), e, func(tx deputy.Tx) error {
		for _, k := range kept {
			tx.KeepEntity(e.ZoneID, k)
		}
		return nil
	})
	if err != nil {
		a.t.Fatal(err)
	}
	a.seen[e.OrganizationID]++
	return e
}

// Who asks for what in the tests of decisions.
var (
	paper = policy.NewResource(policy.ResourceFacts{ID: "paper", Identifier: "https://paper.test", Name: "Paper", Scopes: []string{"read", "write"}})
	agent = policy.NewApplication(policy.ApplicationFacts{
		ID: "agent", Identifier: "urn:agent", Name: "Agent", RegistrationMethod: "managed", CredentialType: "password",
		Dependencies: []policy.Dependency{{ResourceID: "paper"}},
	})
	robot = policy.NewApplication(policy.ApplicationFacts{ID: "robot", Identifier: "urn:robot", Name: "Robot", RegistrationMethod: "managed", CredentialType: "password"})
)

func alone(by *policy.Application, scopes ...string) policy.Request {
	return policy.Request{Legs: []policy.Leg{{Principal: by}}, Resource: paper, Scopes: scopes, Narrowable: true}
}

func forUser(by *policy.Application, email string, scopes ...string) policy.Request {
	u := policy.NewUser(policy.UserFacts{ID: deputy.UserID("user-" + email), Identifier: email, Email: email})
	claims, err := policy.NewClaims([]byte(`{"sub":"` + email + `","jti":"1"}`))
	if err != nil {
		panic(err)
	}
	return policy.Request{
		Legs: []policy.Leg{{Principal: u, OnBehalf: true}, {Principal: by, OnBehalf: true}}, Resource: paper, Subject: u,
		SubjectClaims: claims, Scopes: scopes, Narrowable: true,
	}
}

func TestPolicyEvaluations(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.policyWithVersion("none", "forbid (principal, action, resource);")
	s.setWithVersion("strict", "none")
	a := s.asking()
	first := a.ask("", alone(agent, "read", "other"), nil)
	a.ask(s.vars["strict-version"], alone(agent, "read", "other"), first)
	a.ask("", alone(robot), nil)
	a.ask("", forUser(robot, "zoe@example.test", "read"), nil)
	const list = "GET /zones/{zone}/policy-evaluations"
	s.vars["first"] = string(first.ID)
	s.run(
		step{do: "GET /zones/{zone}/policy-sets?query=default", status: 200, keep: []string{"default=items.0.id", "default-version=items.0.active_version_id"}},
		step{do: "GET /zones/{zone}/policy-sets/{strict}/versions/{strict-version}", status: 200,
			keep: []string{"sha=manifest_sha", "policy=manifest.entries.0.policy_id", "policy-version=manifest.entries.0.policy_version_id"}},
		step{do: "GET /zones/{zone}/audit-events?filter[type]=policies:evaluate", status: 200, want: `{"items":[{"policy":{"set_version_id":"{strict-version}",
			"schema_version":"` + schema + `","manifest_sha":"{sha}","policies":[{"policy_id":"{policy}","policy_version_id":"{policy-version}"}],"latency_us":12}}]}`},
		step{do: list, status: 200, want: `{"items":[
			{"mode":"active","decision":"allow","user_id":"user-zoe@example.test","replayable":true,"legs":[
				{"principal_type":"user","principal_id":"user-zoe@example.test","on_behalf":true,"decision":"allow"},
				{"principal_type":"application","principal_id":"robot","on_behalf":true,"decision":"allow"}],
				"determining":["{default}::default-user-grants","{default}::default-app-delegation"],"scopes_requested":["read"],"scopes_kept":["read"]},
			{"mode":"active","decision":"deny","refusal":"not_permitted","legs":[{"principal_id":"robot","decision":"deny","on_behalf":false}],"determining":"<absent>"},
			{"mode":"shadow","decision":"deny","refusal":"forbidden","diverged":true,"policy_set_id":"{strict}","policy_set_version_id":"{strict-version}",
				"schema_version":"` + schema + `","manifest_sha":"{sha}","policies":[{"policy_id":"{policy}","policy_version_id":"{policy-version}"}],"latency_us":12,
				"enforced":{"evaluation_id":"{first}","decision":"allow","policy_set_version_id":"{default-version}","policy_set_version":1,"scopes_kept":["read"]}},
			{"id":"{first}","mode":"active","decision":"allow","policy_set_id":"{default}","policy_set_version_id":"{default-version}","policy_set_version":1,
				"scopes_requested":["read","other"],"scopes_kept":["read"],"resource_id":"paper","client_id":"client","grant_type":"client_credentials",
				"request_id":"request","diverged":"<absent>","enforced":"<absent>","impersonate":false}],
			"pagination":{"after_cursor":null,"before_cursor":null}}`},
		step{do: list + "?filter[decision]=deny&filter[mode]=active", status: 200, want: `{"items":[{"refusal":"not_permitted"}]}`},
		step{do: list + "?filter[mode]=shadow", status: 200, want: `{"items":[{"mode":"shadow"}]}`},
		step{do: list + "?filter[mode]=shadow&filter[mode]=active&expand[]=total_count", status: 200, want: `{"pagination":{"total_count":4}}`},
		step{do: list + "?filter[diverged]=true", status: 200, want: `{"items":[{"mode":"shadow"}]}`},
		step{do: list + "?filter[policy_set_version_id]={strict-version}", status: 200, want: `{"items":[{"mode":"shadow"}]}`},
		step{do: list + "?filter[policy_set_version_id]=none", status: 200, want: `{"items":[]}`},
		step{do: list + "?order=asc&limit=1", status: 200, keep: []string{"next=pagination.after_cursor"}, want: `{"items":[{"id":"{first}"}]}`},
		step{do: list + "?order=asc&limit=1&after={next}", status: 200, want: `{"items":[{"mode":"shadow"}]}`},
		step{do: list + "?limit=1&after={next}", status: 400}, // of another list
		step{do: list + "?until=2026-05-04T03:00:00Z", status: 200, want: `{"items":[]}`},
		step{do: list + "?since=yesterday", status: 400, want: `{"details":[{"field":"since"}]}`},
		step{do: list + "?filter[decision]=maybe", status: 400, want: `{"details":[{"field":"filter[decision]"}]}`},
		step{do: list + "?filter[mode]=active,shadow", status: 400, want: `{"details":[{"field":"filter[mode]"}]}`},
		step{do: list, as: "stranger", status: 404},
	)
	// What is older than it is kept is not shown, whatever the log still has.
	s.mu.Lock()
	s.clock = s.clock.Add(30 * 24 * time.Hour)
	s.mu.Unlock()
	s.run(step{do: list, status: 200, want: `{"items":[]}`})
	// Of what is not kept any more the decision remains.
	late := a.ask("", alone(agent, "read"), nil)
	if _, err := s.store.PruneEntities(t.Context(), late.Time.Add(time.Hour), 1000); err != nil {
		t.Fatal(err)
	}
	s.run(step{do: list, status: 200, want: `{"items":[{"decision":"allow","replayable":false,"legs":[{"principal_id":"<absent>","decision":"allow"}]}]}`})
}
