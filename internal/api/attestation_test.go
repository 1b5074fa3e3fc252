package api_test

import (
	"encoding/json"
	"testing"

	"deputy/internal/api"
	"deputy/internal/deputy"
	"deputy/internal/keys"
	"deputy/internal/policy"
)

func TestAttestation(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.policyWithVersion("p", "permit (principal, action, resource);")
	const body = `{"schema_version":"` + schema + `","manifest":{"entries":[{"policy_id":"{p}","policy_version_id":"{p-version}"}]}}`
	s.run(
		step{do: "POST /zones/{zone}/policy-sets", body: `{"name":"S"}`, status: 201, keep: []string{"set=id"}, events: []string{"policy_sets:create"}},
		step{do: "POST /zones/{zone}/policy-sets/{set}/versions", body: body, status: 201, keep: []string{"v=id", "sha=manifest_sha"}, events: []string{"policy_set_versions:create"}},
		step{do: "GET /zones/{zone}/policy-sets/{set}/versions/none/attestation", status: 404},
		step{do: "GET /zones/{zone}/policy-sets/none/versions/{v}/attestation", status: 404},
		step{do: "GET /zones/{zone}/policy-sets/{set}/versions/{v}/attestation", as: "stranger", status: 404},
	)
	w := s.request(step{do: "GET /zones/{zone}/policy-sets/{set}/versions/{v}/attestation"})
	var envelope api.AttestationEnvelope
	if err := json.Unmarshal(w.Body.Bytes(), &envelope); err != nil || w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	rows, err := s.store.SigningKeys(t.Context(), deputy.ID(s.vars["zone"]))
	if err != nil {
		t.Fatal(err)
	}
	set, err := keys.NewSet(rows, s.now())
	if err != nil {
		t.Fatal(err)
	}
	payload, kid, err := keys.VerifyFlattened(set.JWKS(), keys.Flattened(envelope))
	if err != nil {
		t.Fatal(err)
	}
	statement, err := policy.ParseStatement(payload)
	if err != nil || statement.KeyID != kid || string(statement.ZoneID) != s.vars["zone"] || string(statement.PolicySetID) != s.vars["set"] ||
		statement.PolicySetVersion != 1 || statement.ManifestSHA != s.vars["sha"] || statement.Status != policy.Created {
		t.Errorf("by %s: %+v %v", kid, statement, err)
	}

	// Without a key to sign with, no version comes to be.
	s.write(deputy.OrganizationID(s.vars["org"]), func(tx deputy.Tx) error {
		return tx.DeleteSigningKey(t.Context(), deputy.ID(s.vars["zone"]), kid)
	})
	s.run(
		step{do: "POST /zones/{zone}/policy-sets/{set}/versions", body: body, status: 503, want: errorBody(503, "service_unavailable")},
		step{do: "GET /zones/{zone}/policy-sets/{set}", status: 200, want: `{"latest_version":1}`},
	)
}
