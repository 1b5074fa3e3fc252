package evidence

import (
	"bytes"
	"cmp"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"deputy/internal/bundle"
	"deputy/internal/deputy"
	"deputy/internal/keys"
	"deputy/internal/policy"
)

// PolicySetVersion is a policy set version as a file that proves itself. Each
// member but the first is what the management API answers, as it is: the
// version, its attestation as it was signed, and the policy versions that it
// pins.
type PolicySetVersion struct {
	ZoneID      string         `json:"zone_id"`
	Version     jsontext.Value `json:"version"`
	Attestation jsontext.Value `json:"attestation"`
	// Policies may be missing: the version then says which they are by their
	// hash alone.
	Policies []jsontext.Value `json:"policies,omitempty"`
}

// setVersion is what is checked of a set version.
type setVersion struct {
	PolicySetID   string `json:"policy_set_id"`
	Version       int    `json:"version"`
	SchemaVersion string `json:"schema_version"`
	Manifest      struct {
		Entries []manifestEntry `json:"entries"`
	} `json:"manifest"`
	ManifestSHA string         `json:"manifest_sha"`
	Attestation jsontext.Value `json:"attestation"` // decoded
}

type manifestEntry struct {
	PolicyID  string `json:"policy_id"`
	VersionID string `json:"policy_version_id"`
	SHA       string `json:"sha"`
}

// policyVersion is what is checked of a policy version.
type policyVersion struct {
	ID            string         `json:"id"`
	PolicyID      string         `json:"policy_id"`
	SchemaVersion string         `json:"schema_version"`
	SHA           string         `json:"sha"`
	Text          string         `json:"cedar_raw"`
	JSON          jsontext.Value `json:"cedar_json"`
}

// Attested is what a verified policy set version says.
type Attested struct {
	ZoneID, PolicySetID string
	Version             int
	KeyID, By           string
	At                  time.Time
	ReSigned            bool // after a change of keys
	Policies            int
	Shown               int // of the policies, in Cedar; of the others there is the hash alone
}

// VerifyPolicySetVersion checks that a file is what the zone attested: a key of
// the JWKS document signed the statement, with RS256 or EdDSA, the statement is
// about this version of this set of this zone and its manifest, and each policy
// version is the one whose hash the manifest has. A directory of policies, when
// there is one, must hold exactly those of the manifest. Everything that is
// wrong is deputy.Invalid and says what it is.
func VerifyPolicySetVersion(file, jwks []byte, directory *bundle.Bundle) (*Attested, error) {
	var x PolicySetVersion
	if err := json.Unmarshal(file, &x); err != nil {
		return nil, deputy.Errorf(deputy.Invalid, "it is not an exported policy set version: %v", err)
	}
	var v setVersion
	if err := json.Unmarshal(x.Version, &v); err != nil {
		return nil, deputy.Errorf(deputy.Invalid, "version is not a policy set version: %v", err)
	}
	statement, err := x.statement(&v, jwks)
	if err != nil {
		return nil, err
	}
	if err := v.hashed(); err != nil {
		return nil, err
	}
	if err := v.about(x.ZoneID, statement); err != nil {
		return nil, err
	}
	out := &Attested{
		ZoneID: x.ZoneID, PolicySetID: v.PolicySetID, Version: v.Version, KeyID: statement.KeyID, By: statement.AttestedBy,
		At: statement.AttestedAt, ReSigned: statement.Status == policy.ReSigned, Policies: len(v.Manifest.Entries),
	}
	if x.Policies != nil {
		if err := v.texts(x.Policies); err != nil {
			return nil, err
		}
		out.Shown = out.Policies
	}
	if directory != nil {
		if err := v.directory(directory); err != nil {
			return nil, err
		}
		out.Shown = out.Policies
	}
	return out, nil
}

// statement returns what a key of the document signed.
func (x *PolicySetVersion) statement(v *setVersion, jwks []byte) (*policy.Statement, error) {
	if len(x.Attestation) == 0 {
		return nil, deputy.Errorf(deputy.Invalid, "attestation is missing: there is no signature to check")
	}
	var signed keys.Flattened
	if err := json.Unmarshal(x.Attestation, &signed, json.RejectUnknownMembers(true)); err != nil {
		return nil, deputy.Errorf(deputy.Invalid, "attestation is not a signature (RFC 7515 §7.2.2): %v", err)
	}
	payload, kid, err := keys.VerifyFlattened(jwks, signed)
	if err != nil {
		return nil, deputy.Errorf(deputy.Invalid, "attestation: %v", err)
	}
	statement, err := policy.ParseStatement(payload)
	if err != nil {
		return nil, deputy.Errorf(deputy.Invalid, "attestation: %v", err)
	}
	if statement.KeyID != kid {
		return nil, deputy.Errorf(deputy.Invalid, "attestation: it names the key %q and is signed with %q", statement.KeyID, kid)
	}
	if shown := v.Attestation; shown != nil && shown.Kind() != jsontext.KindNull {
		if err := shown.Canonicalize(); err != nil || !bytes.Equal(shown, payload) {
			return nil, deputy.Errorf(deputy.Invalid, "version.attestation is not what was signed")
		}
	}
	return &statement, nil
}

// hashed checks that the manifest's hash is the one that the version has.
func (v *setVersion) hashed() error {
	entries := make([]policy.Entry, len(v.Manifest.Entries))
	for i, e := range v.Manifest.Entries {
		entries[i] = policy.Entry{PolicyID: deputy.ID(e.PolicyID), VersionID: deputy.ID(e.VersionID), SHA: e.SHA}
	}
	sha, err := policy.ManifestSHA(entries)
	if err != nil {
		return err
	}
	if sha != v.ManifestSHA {
		return deputy.Errorf(deputy.Invalid, "manifest_sha is %s, and the manifest has %s", v.ManifestSHA, sha)
	}
	return nil
}

// about checks that a statement is about this version.
func (v *setVersion) about(zone string, s *policy.Statement) error {
	for _, m := range []struct{ name, attested, is string }{
		{"zone_id", string(s.ZoneID), zone},
		{"policy_set_id", string(s.PolicySetID), v.PolicySetID},
		{"policy_set_version", fmt.Sprint(s.PolicySetVersion), fmt.Sprint(v.Version)},
		{"manifest_sha", s.ManifestSHA, v.ManifestSHA},
	} {
		if m.attested != m.is {
			return deputy.Errorf(deputy.Invalid, "%s is %s, and %s is attested", m.name, m.is, m.attested)
		}
	}
	return nil
}

// texts checks that the policy versions are those of the manifest, each once.
func (v *setVersion) texts(all []jsontext.Value) error {
	given := make(map[string]*policyVersion, len(all))
	for i, raw := range all {
		p := new(policyVersion)
		if err := json.Unmarshal(raw, p); err != nil {
			return deputy.Errorf(deputy.Invalid, "policies[%d] is not a policy version: %v", i, err)
		}
		if given[p.ID] != nil {
			return deputy.Errorf(deputy.Invalid, "policies[%d] is policy version %s again", i, p.ID)
		}
		given[p.ID] = p
	}
	for i, e := range v.Manifest.Entries {
		p := given[e.VersionID]
		if p == nil {
			return deputy.Errorf(deputy.Invalid, "manifest.entries[%d]: policy version %s is missing from policies", i, e.VersionID)
		}
		if err := p.is(e, v.SchemaVersion); err != nil {
			return deputy.Errorf(deputy.Invalid, "manifest.entries[%d]: policy version %s: %v", i, e.VersionID, err)
		}
		delete(given, e.VersionID)
	}
	for i, raw := range all { // in the order of the file
		var p policyVersion
		if err := json.Unmarshal(raw, &p); err == nil && given[p.ID] != nil {
			return deputy.Errorf(deputy.Invalid, "policies[%d]: policy version %s is not in the manifest", i, p.ID)
		}
	}
	return nil
}

// is checks that a policy version is the one that an entry pins, in both of its
// forms.
func (p *policyVersion) is(e manifestEntry, schema string) error {
	if p.PolicyID != e.PolicyID {
		return fmt.Errorf("it is of policy %s, and the manifest says %s", p.PolicyID, e.PolicyID)
	}
	if p.SchemaVersion != schema {
		return fmt.Errorf("it was validated against schema %s, and the set is of %s", p.SchemaVersion, schema)
	}
	if p.SHA != e.SHA {
		return fmt.Errorf("its sha is %s, and the manifest says %s", p.SHA, e.SHA)
	}
	if p.Text == "" || p.JSON == nil {
		return fmt.Errorf("cedar_raw and cedar_json must both be there")
	}
	if err := says("cedar_raw", e.SHA, func() (*policy.Document, error) { return policy.ParseText(p.Text) }); err != nil {
		return err
	}
	return says("cedar_json", e.SHA, func() (*policy.Document, error) { return policy.ParseJSON(p.JSON) })
}

// says checks that a form of a policy has a content hash.
func says(form, sha string, parse func() (*policy.Document, error)) error {
	d, err := parse()
	if err != nil {
		return fmt.Errorf("%s: %w", form, err)
	}
	if d.SHA() != sha {
		return fmt.Errorf("%s has the hash %s, and %s is attested", form, d.SHA(), sha)
	}
	return nil
}

// directory checks that a directory holds the policies of the manifest and no
// others.
func (v *setVersion) directory(b *bundle.Bundle) error {
	if b.SchemaVersion != v.SchemaVersion {
		return deputy.Errorf(deputy.Invalid, "the directory is of schema %s, and the set of %s", b.SchemaVersion, v.SchemaVersion)
	}
	attested := make(map[string]string, len(v.Manifest.Entries))
	for _, e := range v.Manifest.Entries {
		attested[e.PolicyID] = e.SHA
	}
	for _, p := range b.Policies {
		sha, known := attested[p.PublicID]
		if !known {
			return deputy.Errorf(deputy.Invalid, "the directory has policy %s, which is not attested", cmp.Or(p.PublicID, p.NewPolicy))
		}
		if err := says("it", sha, func() (*policy.Document, error) { return policy.ParseText(string(p.Text)) }); err != nil {
			return deputy.Errorf(deputy.Invalid, "policy %s of the directory: %v", cmp.Or(p.PublicID, p.NewPolicy), err)
		}
		delete(attested, p.PublicID)
	}
	for _, e := range v.Manifest.Entries {
		if _, missing := attested[e.PolicyID]; missing {
			return deputy.Errorf(deputy.Invalid, "policy %s is attested and missing from the directory", e.PolicyID)
		}
	}
	return nil
}
