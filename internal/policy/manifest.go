package policy

import (
	"fmt"
	"time"

	"deputy/internal/deputy"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Entry is one policy version in the manifest of a set version.
type Entry struct {
	PolicyID   deputy.ID
	VersionID  deputy.ID // the policy version; Cedar's policy id inside a set
	PolicyName string    // for refusals and logs; no part of the hash
	Text       string    // normalised Cedar; no part of the hash
	SHA        string    // content hash of the version
}

// ManifestSHA returns the hash of a manifest: SHA-256, in lower-case hex, of
// the RFC 8785 form of its entries with their content hashes. The order of the
// entries counts.
func ManifestSHA(entries []Entry) (string, error) {
	type wireEntry struct {
		PolicyID  string `json:"policy_id"`
		VersionID string `json:"policy_version_id"`
		SHA       string `json:"sha"`
	}
	manifest := struct {
		Entries []wireEntry `json:"entries"`
	}{Entries: []wireEntry{}}
	for _, e := range entries {
		manifest.Entries = append(manifest.Entries, wireEntry{string(e.PolicyID), string(e.VersionID), e.SHA})
	}
	raw, err := canonical(manifest)
	if err != nil {
		return "", fmt.Errorf("hash manifest: %w", err)
	}
	return hash(raw), nil
}

// Status says why an attestation was made.
type Status string

// The statuses.
const (
	Created  Status = "created"   // with the set version
	ReSigned Status = "re_signed" // after a rotation of the zone's key
)

// Statement is what an attestation signs about a policy set version.
type Statement struct {
	ZoneID           deputy.ZoneID
	PolicySetID      deputy.ID
	PolicySetVersion int    // the set version's number
	ManifestSHA      string // of ManifestSHA
	KeyID            string // kid of the signing key
	AttestedAt       time.Time
	AttestedBy       string
	Status           Status
}

// wireStatement is the statement as JSON: version 1, type
// policy_set_attestation.
type wireStatement struct {
	V                int    `json:"v"`
	Type             string `json:"type"`
	ZoneID           string `json:"zone_id"`
	PolicySetID      string `json:"policy_set_id"`
	PolicySetVersion int    `json:"policy_set_version"`
	ManifestSHA      string `json:"manifest_sha"`
	KeyID            string `json:"key_id"`
	AttestedAt       string `json:"attested_at"`
	AttestedBy       string `json:"attested_by"`
	Status           Status `json:"status"`
}

const (
	statementVersion = 1
	statementType    = "policy_set_attestation"
	statementTime    = "2006-01-02T15:04:05.000Z"
)

// Payload returns the bytes to sign: the RFC 8785 form of the statement, its
// time in UTC to the millisecond.
func (s Statement) Payload() ([]byte, error) {
	raw, err := canonical(wireStatement{
		V: statementVersion, Type: statementType,
		ZoneID: string(s.ZoneID), PolicySetID: string(s.PolicySetID), PolicySetVersion: s.PolicySetVersion,
		ManifestSHA: s.ManifestSHA, KeyID: s.KeyID,
		AttestedAt: s.AttestedAt.UTC().Format(statementTime), AttestedBy: s.AttestedBy, Status: s.Status,
	})
	if err != nil {
		return nil, fmt.Errorf("write attestation statement: %w", err)
	}
	return raw, nil
}

// ParseStatement reads the payload of an attestation whose signature has been
// verified. It fails with Invalid on anything but a statement of version 1.
func ParseStatement(payload []byte) (Statement, error) {
	var w wireStatement
	if err := json.Unmarshal(payload, &w, json.RejectUnknownMembers(true)); err != nil {
		return Statement{}, deputy.Errorf(deputy.Invalid, "the attestation's payload is no statement").Because(err)
	}
	if w.V != statementVersion || w.Type != statementType {
		return Statement{}, deputy.Errorf(deputy.Invalid, "the attestation is of an unknown kind")
	}
	at, err := time.Parse(time.RFC3339, w.AttestedAt)
	if err != nil {
		return Statement{}, deputy.Errorf(deputy.Invalid, "the attestation's time is malformed").Because(err)
	}
	return Statement{
		ZoneID: deputy.ZoneID(w.ZoneID), PolicySetID: deputy.ID(w.PolicySetID), PolicySetVersion: w.PolicySetVersion,
		ManifestSHA: w.ManifestSHA, KeyID: w.KeyID,
		AttestedAt: at.UTC(), AttestedBy: w.AttestedBy, Status: w.Status,
	}, nil
}

// canonical writes v in the form of RFC 8785.
func canonical(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	value := jsontext.Value(raw)
	if err := value.Canonicalize(); err != nil {
		return nil, err
	}
	return value, nil
}
