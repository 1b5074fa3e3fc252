package policy_test

import (
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/policy"
	"github.com/google/go-cmp/cmp"
)

func TestManifestHashVector(t *testing.T) {
	one := policy.Entry{PolicyID: "pol_1", VersionID: "pv_1", SHA: openSHA, PolicyName: "of no account", Text: openPolicy}
	got, err := policy.ManifestSHA([]policy.Entry{one})
	if want := "d484d71b7f2f396dbf721f8063baf07404fb86c468220af639f0331ff5b9b5b0"; err != nil || got != want {
		t.Errorf("manifest hash is %s (%v), want %s", got, err, want)
	}
	two := one
	two.VersionID = "pv_2"
	ab, _ := policy.ManifestSHA([]policy.Entry{one, two})
	ba, _ := policy.ManifestSHA([]policy.Entry{two, one})
	if ab == ba || ab == got {
		t.Error("order or number of entries does not count")
	}
}

func TestStatementPayload(t *testing.T) {
	s := policy.Statement{
		ZoneID: "z", PolicySetID: "ps", PolicySetVersion: 3, ManifestSHA: openSHA, KeyID: "k1",
		AttestedAt: time.Date(2026, 11, 24, 2, 23, 0, 120_000_000, time.FixedZone("", 3600)), AttestedBy: "usr_1", Status: policy.Created,
	}
	payload, err := s.Payload()
	want := `{"attested_at":"2026-11-24T01:23:00.120Z","attested_by":"usr_1","key_id":"k1","manifest_sha":"` + openSHA +
		`","policy_set_id":"ps","policy_set_version":3,"status":"created","type":"policy_set_attestation","v":1,"zone_id":"z"}`
	if err != nil || string(payload) != want {
		t.Errorf("payload is %s (%v)", payload, err)
	}
	back, err := policy.ParseStatement(payload)
	s.AttestedAt = s.AttestedAt.UTC()
	if diff := cmp.Diff(s, back); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	for _, raw := range []string{``, `{}`, `{"v":2,"type":"policy_set_attestation"}`, `{"v":1,"type":"other","attested_at":"2026-11-24T01:23:00.120Z"}`,
		`{"v":1,"type":"policy_set_attestation","attested_at":"yesterday"}`, `{"v":1,"type":"policy_set_attestation","attested_at":"2026-11-24T01:23:00.120Z","entries":[]}`} {
		if _, err := policy.ParseStatement([]byte(raw)); deputy.KindOf(err) != deputy.Invalid {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
