package deputy

import "time"

// SchemaStatus is what may be done with a version of the platform's schema.
type SchemaStatus string

// The statuses, in the order in which a schema passes them.
const (
	SchemaActive     SchemaStatus = "active"
	SchemaDeprecated SchemaStatus = "deprecated" // superseded; still takes policy versions
	SchemaArchived   SchemaStatus = "archived"   // closed to new policy versions; what is pinned to it still decides
)

// PolicySchema is one dated version of the platform's Cedar schema, shared by
// all zones. Its text is the program's own.
type PolicySchema struct {
	Version                  string
	Status                   SchemaStatus
	CreatedAt, UpdatedAt     time.Time
	DeprecatedAt, ArchivedAt *time.Time
}

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

// PolicyDraft is the one piece of work in progress on a policy. It decides
// nothing.
type PolicyDraft struct {
	ZoneID        ZoneID
	PolicyID      ID // its only name
	SchemaVersion string
	Text          string // normalized Cedar; it need not satisfy the schema
	JSON          []byte // canonical Cedar JSON
	BaseVersionID ID     // the version it was taken from; empty: none
	UpdatedBy     string
	CreatedAt     time.Time
	UpdatedAt     time.Time
	// Revision starts at the time the draft was made, so that one made in place
	// of another never repeats its ETag.
	Revision int64
}

// What a policy set can be bound to.
const (
	ZoneTarget = "zone" // every request in the zone
	UserTarget = "user" // one person, whose agent runtime enforces it
)

// PolicySet is a named container of manifests bound to a target.
type PolicySet struct {
	ID                   ID
	ZoneID               ZoneID
	Owner                Owner
	Name                 string // unique among the zone's unarchived sets
	TargetType           string // ZoneTarget or UserTarget
	TargetID             string // the zone's id, or the user's identifier; empty: nobody yet
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
	if s.TargetType != ZoneTarget && s.TargetType != UserTarget {
		return Bad("target_type", "must be one of zone, user")
	}
	if s.TargetType == ZoneTarget && s.TargetID != string(s.ZoneID) {
		return Bad("target_id", "must be the zone's id")
	}
	return SafeText("target_id", s.TargetID, 0, MaxIdentifier)
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
	// Active says that its set is bound at it. The set knows; this is read only.
	Active     bool
	CreatedBy  string
	CreatedAt  time.Time
	ArchivedAt *time.Time
	ArchivedBy string
}

// PolicySetDraft is the one piece of work in progress on a policy set. It
// decides nothing.
type PolicySetDraft struct {
	ZoneID        ZoneID
	PolicySetID   ID // its only name
	SchemaVersion string
	Manifest      []ManifestEntry
	// Name and Description are notes for those who work on it.
	Name, Description *string
	BaseVersionID     ID // the version it was taken from; empty: none
	UpdatedBy         string
	CreatedAt         time.Time
	UpdatedAt         time.Time
	Revision          int64 // as that of a PolicyDraft
}

// Validate checks the draft's own invariants.
func (d *PolicySetDraft) Validate() error {
	if d.Name != nil {
		if err := SafeText("name", *d.Name, 1, MaxName); err != nil {
			return err
		}
	}
	return optionalText("description", d.Description)
}
