package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"deputy/internal/deputy"
	"deputy/internal/keys"
	"deputy/internal/policy"
)

// Attestation is what the zone's key signed about a set version.
type Attestation struct {
	V                int    `json:"v" enum:"1"`
	Type             string `json:"type" enum:"policy_set_attestation"`
	Status           string `json:"status" enum:"created,re_signed"`
	ZoneID           string `json:"zone_id"`
	PolicySetID      string `json:"policy_set_id"`
	PolicySetVersion int    `json:"policy_set_version"`
	ManifestSHA      string `json:"manifest_sha"`
	KeyID            string `json:"key_id" doc:"kid of the key in the zone's JWKS."`
	AttestedBy       string `json:"attested_by"`
	AttestedAt       Time   `json:"attested_at"`
}

// AttestationEnvelope is an attestation as it was signed: a flattened JWS
// (RFC 7515 §7.2.2), whose members are base64url.
type AttestationEnvelope struct {
	Payload   string `json:"payload" doc:"The statement, in canonical form (RFC 8785)."`
	Protected string `json:"protected" doc:"The header: alg and kid."`
	Signature string `json:"signature"`
}

func (a *API) mountAttestation() {
	mount(a, operation{
		ID: "get-policy-set-version-attestation", Method: http.MethodGet, Path: policySetVersions.Path + "/{version_id}/attestation",
		Action: "policy_set_versions:read", Tag: policySetVersions.Tag, Summary: "Get the attestation of a policy set version as it was signed",
		Doc:    "Verify it with the zone's JWKS: kid is the statement's key_id. After a change of keys it is made again, and the newest is shown.",
		Status: http.StatusOK, Headers: policyHeaders,
	}, a.getAttestation)
}

func (a *API) getAttestation(ctx context.Context, c *call, _ *empty) (*output[AttestationEnvelope], error) {
	v, err := a.store.PolicySetVersions().Get(ctx, policySetVersions.scope(c), deputy.ID(c.param("version_id")))
	if err != nil {
		return nil, missing(err, policySetVersions.Name)
	}
	if len(v.Attestation) == 0 {
		return nil, deputy.Errorf(deputy.NotFound, "the version has no attestation")
	}
	var jws keys.Flattened
	if err := json.Unmarshal(v.Attestation, &jws); err != nil {
		return nil, fmt.Errorf("reading the attestation of %s: %w", v.ID, err)
	}
	return &output[AttestationEnvelope]{AttestationEnvelope(jws)}, nil
}

// viewAttestation returns the statement inside an attestation.
func viewAttestation(signed []byte) *Attestation {
	var jws keys.Flattened
	if len(signed) == 0 || json.Unmarshal(signed, &jws) != nil {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(jws.Payload)
	if err != nil {
		return nil
	}
	s, err := policy.ParseStatement(payload)
	if err != nil {
		return nil
	}
	return &Attestation{
		V: 1, Type: "policy_set_attestation", Status: string(s.Status), ZoneID: string(s.ZoneID), PolicySetID: string(s.PolicySetID),
		PolicySetVersion: s.PolicySetVersion, ManifestSHA: s.ManifestSHA, KeyID: s.KeyID, AttestedBy: s.AttestedBy, AttestedAt: Time(s.AttestedAt),
	}
}

// attester returns the zone's key that signs attestations.
func (a *API) attester(ctx context.Context, zone *deputy.Zone) (*keys.Signer, error) {
	rows, err := a.store.SigningKeys(ctx, deputy.ID(zone.ID))
	if err != nil {
		return nil, err
	}
	row, ok := keys.Active(rows, deputy.RS256)
	if !ok {
		return nil, deputy.Errorf(deputy.Unavailable, "the zone has no key that signs attestations")
	}
	return keys.Load(ctx, a.vault, row)
}

// hashManifest sets the hash of a set version's manifest.
func hashManifest(v *deputy.PolicySetVersion) error {
	entries := make([]policy.Entry, 0, len(v.Manifest))
	for _, e := range v.Manifest {
		entries = append(entries, policy.Entry{PolicyID: e.PolicyID, VersionID: e.PolicyVersionID, SHA: e.SHA})
	}
	var err error
	v.ManifestSHA, err = policy.ManifestSHA(entries)
	return err
}

// attest signs what a set version, as number n of its set, says. The version
// is inserted only if it gets that number.
func attest(v *deputy.PolicySetVersion, n int, signer *keys.Signer, by string, now time.Time, status policy.Status) (err error) {
	payload, err := policy.Statement{
		ZoneID: v.ZoneID, PolicySetID: v.PolicySetID, PolicySetVersion: n, ManifestSHA: v.ManifestSHA,
		KeyID: signer.KeyID(), AttestedAt: now, AttestedBy: by, Status: status,
	}.Payload()
	if err != nil {
		return err
	}
	signed, err := signer.SignFlattened(payload)
	if err != nil {
		return fmt.Errorf("attesting a policy set version: %w", err)
	}
	if v.Attestation, err = json.Marshal(signed); err != nil {
		return fmt.Errorf("encoding an attestation: %w", err)
	}
	return nil
}

// attestSome is how many versions are attested again in one transaction.
const attestSome = 32

// Reattest signs the set versions of a zone again that another than the active
// key attests: the key that does may leave the zone's JWKS soon.
func (a *API) Reattest(ctx context.Context, zone *deputy.Zone) error {
	signer, err := a.attester(ctx, zone)
	if err != nil {
		return err
	}
	q := deputy.Query{Limit: attestSome, Sort: []deputy.Sort{{Field: "created_at"}}}
	for {
		page, err := a.store.PolicySetVersions().List(ctx, deputy.Scope{Zone: zone.ID}, q)
		if err != nil {
			return err
		}
		if err := a.reattest(ctx, zone, signer, page.Items); err != nil {
			return err
		}
		if !page.HasNext {
			return nil
		}
		q.After = page.Last
	}
}

// reattest is Reattest for some of the versions.
func (a *API) reattest(ctx context.Context, zone *deputy.Zone, signer *keys.Signer, versions []*deputy.PolicySetVersion) error {
	now := deputy.Time(a.now())
	var again []*deputy.PolicySetVersion
	for _, v := range versions {
		statement := viewAttestation(v.Attestation)
		if statement == nil || statement.KeyID == signer.KeyID() {
			continue // from before there were attestations, or done
		}
		if err := attest(v, v.Version, signer, platformActor, now, policy.ReSigned); err != nil {
			return err
		}
		again = append(again, v)
	}
	if len(again) == 0 {
		return nil
	}
	event := &deputy.Event{
		ID: deputy.EventID(deputy.NewID(now)), Time: now, Type: "attestations:sign", Outcome: deputy.Success, OrganizationID: zone.OrganizationID,
		ZoneID: zone.ID, Actor: deputy.Actor{Type: platformActor}, Target: &deputy.Target{Type: "zone", ID: string(zone.ID)}, Count: len(again),
	}
	return a.store.Write(ctx, event, func(tx deputy.Tx) error {
		for _, v := range again {
			if err := tx.Reattest(ctx, v); err != nil {
				return err
			}
		}
		return nil
	})
}
