package store

import (
	"context"
	"time"

	"deputy/internal/deputy"
)

var policies = declare(table[deputy.Policy]{
	relation: relation{name: "policies", noun: "policy", scope: zoned},
	fields: func(p *deputy.Policy) []field {
		return []field{
			{"zone_id", &p.ZoneID},
			{"id", &p.ID},
			{"owner_type", &p.Owner},
			{"name", &p.Name},
			{"description", &p.Description},
			{"latest_version", &p.LatestVersion},
			{"latest_version_id", &p.LatestVersionID},
			{"latest_schema_version", &p.LatestSchemaVersion},
			{"created_by", &p.CreatedBy},
			{"updated_by", &p.UpdatedBy},
			{"created_at", micros{&p.CreatedAt}},
			{"updated_at", micros{&p.UpdatedAt}},
			{"archived_at", optionalMicros{&p.ArchivedAt}},
			{"revision", &p.Revision},
		}
	},
	search: func(p *deputy.Policy) []field {
		description := ""
		if p.Description != nil {
			description = *p.Description
		}
		return []field{{"name_folded", text(fold(p.Name))}, {"description_folded", text(fold(description))}}
	},
	uniques: []unique[deputy.Policy]{{
		field: "name", column: "name", within: zoned, where: "archived_at IS NULL",
		about: func(p *deputy.Policy) bool { return p.ArchivedAt == nil },
	}},
	stamp: func(p *deputy.Policy) (*int64, *time.Time) { return &p.Revision, &p.UpdatedAt },
	// A snapshot holds the names of policies.
	change: func(p *deputy.Policy) change { return change{p.ZoneID, deputy.ChangedPolicies, ""} },
	cascade: func(ctx context.Context, x *tx, p *deputy.Policy) error {
		return x.each(ctx, []any{string(p.ZoneID), string(p.ID)},
			"DELETE FROM policy_versions WHERE zone_id = $1 AND policy_id = $2", "DELETE FROM policy_drafts WHERE zone_id = $1 AND policy_id = $2")
	},
})

// No snapshot holds a new version before a set version that names it is bound.
var policyVersions = declare(table[deputy.PolicyVersion]{
	relation: relation{name: "policy_versions", noun: "policy version", scope: zoned, parent: "policy_id"},
	fields: func(v *deputy.PolicyVersion) []field {
		return []field{
			{"zone_id", &v.ZoneID},
			{"id", &v.ID},
			{"policy_id", &v.PolicyID},
			{"owner_type", &v.Owner},
			{"version", &v.Version},
			{"schema_version", &v.SchemaVersion},
			{"cedar_raw", &v.Text},
			{"cedar_json", raw{&v.JSON}},
			{"sha", &v.SHA},
			{"created_by", &v.CreatedBy},
			{"created_at", micros{&v.CreatedAt}},
			{"archived_at", optionalMicros{&v.ArchivedAt}},
			{"archived_by", &v.ArchivedBy},
		}
	},
	stamp: func(*deputy.PolicyVersion) (*int64, *time.Time) { return nil, nil },
	before: func(ctx context.Context, x *tx, v *deputy.PolicyVersion) error {
		err := row(ctx, x, "UPDATE policies SET latest_version = latest_version + 1, latest_version_id = $1, latest_schema_version = $2"+
			" WHERE zone_id = $3 AND id = $4 RETURNING latest_version",
			[]any{string(v.ID), v.SchemaVersion, string(v.ZoneID), string(v.PolicyID)}, &v.Version)
		return missing(err, absent("policy"))
	},
})

var policySets = declare(table[deputy.PolicySet]{
	relation: relation{
		name: "policy_sets", noun: "policy set", scope: zoned,
		sorts: map[string]string{"status": "CASE WHEN active THEN 1 ELSE 0 END"},
	},
	fields: func(s *deputy.PolicySet) []field {
		return []field{
			{"zone_id", &s.ZoneID},
			{"id", &s.ID},
			{"owner_type", &s.Owner},
			{"name", &s.Name},
			{"target_type", &s.TargetType},
			{"target_id", &s.TargetID},
			{"latest_version", &s.LatestVersion},
			{"latest_version_id", &s.LatestVersionID},
			{"active_version", &s.ActiveVersion},
			{"active_version_id", &s.ActiveVersionID},
			{"shadow_version", &s.ShadowVersion},
			{"shadow_version_id", &s.ShadowVersionID},
			{"created_by", &s.CreatedBy},
			{"updated_by", &s.UpdatedBy},
			{"created_at", micros{&s.CreatedAt}},
			{"updated_at", micros{&s.UpdatedAt}},
			{"archived_at", optionalMicros{&s.ArchivedAt}},
			{"revision", &s.Revision},
		}
	},
	search: func(s *deputy.PolicySet) []field {
		return []field{{"active", flag(s.ActiveVersion != 0)}, {"name_folded", text(fold(s.Name))}}
	},
	uniques: []unique[deputy.PolicySet]{{
		field: "name", column: "name", within: zoned, where: "archived_at IS NULL",
		about: func(s *deputy.PolicySet) bool { return s.ArchivedAt == nil },
	}},
	stamp:  func(s *deputy.PolicySet) (*int64, *time.Time) { return &s.Revision, &s.UpdatedAt },
	change: func(s *deputy.PolicySet) change { return change{s.ZoneID, deputy.ChangedPolicies, ""} },
	cascade: func(ctx context.Context, x *tx, s *deputy.PolicySet) error {
		if s.ActiveVersion != 0 || s.ShadowVersion != 0 {
			return deputy.Errorf(deputy.Conflict, "the policy set is bound")
		}
		return x.each(ctx, []any{string(s.ZoneID), string(s.ID)},
			"DELETE FROM policy_set_versions WHERE zone_id = $1 AND policy_set_id = $2", "DELETE FROM policy_set_drafts WHERE zone_id = $1 AND policy_set_id = $2")
	},
})

var policySetVersions = declare(table[deputy.PolicySetVersion]{
	relation: relation{
		name: "policy_set_versions", noun: "policy set version", scope: zoned, parent: "policy_set_id",
		computed: map[string]string{
			"active": "EXISTS (SELECT 1 FROM policy_sets s WHERE s.zone_id = policy_set_versions.zone_id AND s.id = policy_set_id" +
				" AND s.active_version_id = policy_set_versions.id)",
		},
	},
	fields: func(v *deputy.PolicySetVersion) []field {
		return []field{
			{"zone_id", &v.ZoneID},
			{"id", &v.ID},
			{"policy_set_id", &v.PolicySetID},
			{"owner_type", &v.Owner},
			{"version", &v.Version},
			{"schema_version", &v.SchemaVersion},
			{"manifest", document{&v.Manifest}},
			{"manifest_sha", &v.ManifestSHA},
			{"attestation", raw{&v.Attestation}},
			{"active", &v.Active},
			{"created_by", &v.CreatedBy},
			{"created_at", micros{&v.CreatedAt}},
			{"archived_at", optionalMicros{&v.ArchivedAt}},
			{"archived_by", &v.ArchivedBy},
		}
	},
	stamp: func(*deputy.PolicySetVersion) (*int64, *time.Time) { return nil, nil },
	// The set's revision counts renaming and binding only, so this leaves it.
	before: func(ctx context.Context, x *tx, v *deputy.PolicySetVersion) error {
		err := row(ctx, x, "UPDATE policy_sets SET latest_version = latest_version + 1, latest_version_id = $1"+
			" WHERE zone_id = $2 AND id = $3 RETURNING latest_version",
			[]any{string(v.ID), string(v.ZoneID), string(v.PolicySetID)}, &v.Version)
		return missing(err, absent("policy set"))
	},
})

var policySchemas = declare(table[deputy.PolicySchema]{
	relation: relation{name: "policy_schemas", noun: "policy schema", id: "version"},
	fields: func(s *deputy.PolicySchema) []field {
		return []field{
			{"version", &s.Version},
			{"status", &s.Status},
			{"created_at", micros{&s.CreatedAt}},
			{"updated_at", micros{&s.UpdatedAt}},
			{"deprecated_at", optionalMicros{&s.DeprecatedAt}},
			{"archived_at", optionalMicros{&s.ArchivedAt}},
		}
	},
	stamp: func(s *deputy.PolicySchema) (*int64, *time.Time) { return nil, &s.UpdatedAt },
})

// No snapshot holds a draft.
var policyDrafts = declare(table[deputy.PolicyDraft]{
	relation: relation{name: "policy_drafts", noun: "policy draft", scope: zoned, id: "policy_id"},
	fields: func(d *deputy.PolicyDraft) []field {
		return []field{
			{"zone_id", &d.ZoneID},
			{"policy_id", &d.PolicyID},
			{"schema_version", &d.SchemaVersion},
			{"cedar_raw", &d.Text},
			{"cedar_json", raw{&d.JSON}},
			{"base_version_id", &d.BaseVersionID},
			{"updated_by", &d.UpdatedBy},
			{"created_at", micros{&d.CreatedAt}},
			{"updated_at", micros{&d.UpdatedAt}},
			{"revision", &d.Revision},
		}
	},
	stamp: func(d *deputy.PolicyDraft) (*int64, *time.Time) { return &d.Revision, &d.UpdatedAt },
})

var policySetDrafts = declare(table[deputy.PolicySetDraft]{
	relation: relation{name: "policy_set_drafts", noun: "policy set draft", scope: zoned, id: "policy_set_id"},
	fields: func(d *deputy.PolicySetDraft) []field {
		return []field{
			{"zone_id", &d.ZoneID},
			{"policy_set_id", &d.PolicySetID},
			{"schema_version", &d.SchemaVersion},
			{"manifest", document{&d.Manifest}},
			{"name", &d.Name},
			{"description", &d.Description},
			{"base_version_id", &d.BaseVersionID},
			{"updated_by", &d.UpdatedBy},
			{"created_at", micros{&d.CreatedAt}},
			{"updated_at", micros{&d.UpdatedAt}},
			{"revision", &d.Revision},
		}
	},
	stamp: func(d *deputy.PolicySetDraft) (*int64, *time.Time) { return &d.Revision, &d.UpdatedAt },
})

// binding is a way for a set version to be bound at the target of its set: each
// target has at most one in each way. The set says which; of a zone, so does the
// zone.
type binding struct {
	column string // of the zone
	among  string // which sets are bound
	held   func(*deputy.PolicySet) deputy.ID
	note   func(s *deputy.PolicySet, number int, version deputy.ID)
}

var (
	activeBinding = binding{
		"active_policy_set_version_id", "active",
		func(s *deputy.PolicySet) deputy.ID { return s.ActiveVersionID },
		func(s *deputy.PolicySet, number int, version deputy.ID) {
			s.ActiveVersion, s.ActiveVersionID = number, version
		},
	}
	shadowBinding = binding{
		"shadow_policy_set_version_id", "shadow_version_id <> ''",
		func(s *deputy.PolicySet) deputy.ID { return s.ShadowVersionID },
		func(s *deputy.PolicySet, number int, version deputy.ID) {
			s.ShadowVersion, s.ShadowVersionID = number, version
		},
	}
)

// bind makes a set version the one bound in this way at the target of its set,
// and returns the one that was. The zone's row is what those wait for who bind
// at the same time.
func (b *binding) bind(ctx context.Context, x *tx, zone deputy.ZoneID, set, version deputy.ID) (previous deputy.ID, err error) {
	v, err := policySetVersions.get(ctx, x, deputy.Scope{Zone: zone, Parent: set}, version, "")
	if err != nil {
		return "", err
	}
	if _, err := zones.one(ctx, x, "id = $1 AND deleted_at IS NULL"+x.store.d.forUpdate, string(zone)); err != nil {
		return "", err
	}
	s, err := policySets.get(ctx, x, deputy.Scope{Zone: zone}, set, "")
	if err != nil {
		return "", err
	}
	bound, err := policySets.many(ctx, x, "zone_id = $1 AND target_type = $2 AND target_id = $3 AND "+b.among, string(zone), s.TargetType, s.TargetID)
	if err != nil {
		return "", err
	}
	for _, old := range bound {
		if previous = b.held(old); previous == version {
			return previous, nil
		}
		if err := b.write(ctx, x, zone, old.ID, 0, ""); err != nil {
			return "", err
		}
	}
	return previous, b.write(ctx, x, zone, set, v.Version, version)
}

// write notes in a set, and in the zone when that is its target, what is bound.
func (b *binding) write(ctx context.Context, x *tx, zone deputy.ZoneID, set deputy.ID, number int, version deputy.ID) error {
	s, err := policySets.update(ctx, x, deputy.Scope{Zone: zone}, set, func(s *deputy.PolicySet) error {
		b.note(s, number, version)
		return nil
	})
	if err != nil || s.TargetType != deputy.ZoneTarget {
		return err
	}
	_, err = x.exec(ctx, "UPDATE zones SET "+b.column+" = $1 WHERE id = $2", string(version), string(zone))
	return err
}

// unshadow unbinds the shadow of a set.
func unshadow(ctx context.Context, x *tx, zone deputy.ZoneID, set deputy.ID) (previous deputy.ID, err error) {
	s, err := policySets.get(ctx, x, deputy.Scope{Zone: zone}, set, "")
	if err != nil || s.ShadowVersionID == "" {
		return "", err
	}
	return s.ShadowVersionID, shadowBinding.write(ctx, x, zone, set, 0, "")
}
