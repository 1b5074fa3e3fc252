package deputy

import "time"

// Policy is a named container of immutable versions of one Cedar policy.
type Policy struct {
	ID                   ID
	ZoneID               ZoneID
	Owner                Owner
	Name                 string // unique among the zone's unarchived policies
	Description          *string
	LatestVersion        int // 0: none yet
	LatestVersionID      ID
	LatestSchemaVersion  string
	CreatedBy, UpdatedBy string
	CreatedAt, UpdatedAt time.Time
	ArchivedAt           *time.Time
	Revision             int64
}

// Validate checks the policy's own invariants.
func (p *Policy) Validate() error {
	if err := SafeText("name", p.Name, 1, MaxName); err != nil {
		return err
	}
	return optionalText("description", p.Description)
}

// PolicyVersion is one Cedar policy, validated against one schema version. It
// never changes; it can only be archived.
type PolicyVersion struct {
	ID            ID
	ZoneID        ZoneID
	PolicyID      ID
	Owner         Owner
	Version       int // 1, 2, 3… without a gap in one policy
	SchemaVersion string
	Text          string // normalized Cedar
	JSON          []byte // canonical Cedar JSON
	SHA           string // hex SHA-256 of JSON
	CreatedBy     string
	CreatedAt     time.Time
	ArchivedAt    *time.Time
	ArchivedBy    string
}

// PolicySet is a named container of manifests bound to a target.
type PolicySet struct {
	ID                   ID
	ZoneID               ZoneID
	Owner                Owner
	Name                 string // unique among the zone's unarchived sets
	TargetType           string // "zone" or "user"
	TargetID             string // the zone's id, or the user's identifier
	LatestVersion        int
	LatestVersionID      ID
	ActiveVersion        int // 0: not active
	ActiveVersionID      ID
	ShadowVersion        int
	ShadowVersionID      ID
	CreatedBy, UpdatedBy string
	CreatedAt, UpdatedAt time.Time
	ArchivedAt           *time.Time
	Revision             int64 // changes on rename and on binding; the ETag
}

// Validate checks the set's own invariants.
func (s *PolicySet) Validate() error {
	if err := SafeText("name", s.Name, 1, MaxName); err != nil {
		return err
	}
	if s.TargetType != "zone" && s.TargetType != "user" {
		return Bad("target_type", "must be one of zone, user")
	}
	return nil
}

// ManifestEntry pins one policy version in a set version.
type ManifestEntry struct {
	PolicyID        ID     `json:"policy_id"`
	PolicyVersionID ID     `json:"policy_version_id"`
	SHA             string `json:"sha"`
}

// PolicySetVersion is an immutable, attested list of policy versions.
type PolicySetVersion struct {
	ID            ID
	ZoneID        ZoneID
	PolicySetID   ID
	Owner         Owner
	Version       int
	SchemaVersion string
	Manifest      []ManifestEntry // order counts
	ManifestSHA   string
	// Attestation is the flattened JWS over the statement, as JSON.
	Attestation []byte
	CreatedBy   string
	CreatedAt   time.Time
	ArchivedAt  *time.Time
	ArchivedBy  string
}
