package store

import (
	"context"
	"sync"
	"sync/atomic"

	"deputy/internal/deputy"
)

// keptChanges is how many revisions back a zone's list of changes reaches at
// least; every pruneEvery revisions the rest goes.
const (
	keptChanges = 10_000
	pruneEvery  = 256
)

// changed counts up the zone's revision, once in a member's turn, and notes
// what changed. A zone made in the same turn is nobody's old state, so only
// its existence counts.
func (x *tx) changed(ctx context.Context, c change) error {
	revision, ok := x.bumped[c.zone]
	if !ok {
		if err := x.lockExclusive(c.zone); err != nil {
			return err
		}
		err := row(ctx, x, "UPDATE zones SET revision = revision + 1 WHERE id = $1 AND deleted_at IS NULL RETURNING revision",
			[]any{string(c.zone)}, &revision)
		if err != nil {
			return missing(err, absent("zone"))
		}
		x.bumped[c.zone] = revision
		if revision%pruneEvery == 0 {
			if _, err := x.exec(ctx, "DELETE FROM zone_changes WHERE zone_id = $1 AND revision <= $2", string(c.zone), revision-x.store.kept); err != nil {
				return err
			}
		}
	}
	if x.born[c.zone] {
		return nil
	}
	if c.kind == deputy.ChangedApplication {
		if x.named++; x.named > fewApplications+1 {
			return nil
		} else if x.named > fewApplications {
			c.kind, c.id = deputy.ChangedApplications, ""
		}
	}
	_, err := x.exec(ctx, "INSERT INTO zone_changes (zone_id, revision, kind, id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
		string(c.zone), revision, string(c.kind), c.id)
	return err
}

// fewApplications is how many applications one turn names at most: from then
// on, any may have changed.
const fewApplications = 100

// changedApplications notes that applications changed.
func (x *tx) changedApplications(ctx context.Context, zone deputy.ZoneID, ids []string) error {
	if len(ids) > fewApplications {
		return x.changed(ctx, change{zone, deputy.ChangedApplications, ""})
	}
	for _, id := range ids {
		if err := x.changed(ctx, change{zone, deputy.ChangedApplication, id}); err != nil {
			return err
		}
	}
	return nil
}

// delta reads what changed in a zone since a revision.
func delta(ctx context.Context, q querier, zone deputy.ZoneID, since int64) (*deputy.ZoneDelta, error) {
	z, err := zones.one(ctx, q, "id = $1 AND deleted_at IS NULL", string(zone))
	if err != nil {
		return nil, err
	}
	d := &deputy.ZoneDelta{
		Revision: z.Revision, Zone: z,
		Resources: map[deputy.ResourceID]*deputy.Resource{}, Providers: map[deputy.ProviderID]*deputy.Provider{},
	}
	if since == z.Revision {
		return d, nil
	}
	changes, err := changesSince(ctx, q, zone, since)
	if err != nil {
		return nil, err
	}
	// Every revision has a row until it is pruned: when the next one is missing
	// the list does not reach back far enough.
	if since <= 0 || since > z.Revision || len(changes) == 0 || changes[0].revision != since+1 {
		return d, everything(ctx, q, d)
	}
	return d, apply(ctx, q, d, changes)
}

type noted struct {
	revision int64
	change
}

func changesSince(ctx context.Context, q querier, zone deputy.ZoneID, since int64) (out []noted, err error) {
	if since <= 0 {
		return nil, nil
	}
	err = rows(ctx, q, "SELECT revision, kind, id FROM zone_changes WHERE zone_id = $1 AND revision > $2 ORDER BY revision",
		[]any{string(zone), since}, func(scan func(...any) error) error {
			n := noted{change: change{zone: zone}}
			err := scan(&n.revision, &n.kind, &n.id)
			out = append(out, n)
			return err
		})
	return out, err
}

// everything fills the delta with the whole zone.
func everything(ctx context.Context, q querier, d *deputy.ZoneDelta) error {
	d.Full, d.AllApplications = true, true
	zone := string(d.Zone.ID)
	all, err := resources.many(ctx, q, "zone_id = $1", zone)
	if err != nil {
		return err
	}
	for _, r := range all {
		d.Resources[r.ID] = r
	}
	sources, err := providers.many(ctx, q, "zone_id = $1", zone)
	if err != nil {
		return err
	}
	for _, p := range sources {
		d.Providers[p.ID] = p
	}
	if d.Keys, err = keysOf(ctx, q, deputy.ID(zone)); err != nil {
		return err
	}
	if d.Revoked, err = revokedTokens(ctx, q, d.Zone.ID); err != nil {
		return err
	}
	return bound(ctx, q, d)
}

// apply fills the delta with the present state of what the changes name.
func apply(ctx context.Context, q querier, d *deputy.ZoneDelta, changes []noted) (err error) {
	seen := map[change]bool{}
	for _, c := range changes {
		if seen[c.change] {
			continue
		}
		seen[c.change] = true
		switch c.kind {
		case deputy.ChangedApplication:
			d.Applications = append(d.Applications, deputy.ApplicationID(c.id))
		case deputy.ChangedApplications:
			d.AllApplications = true
		case deputy.ChangedResource:
			d.Resources[deputy.ResourceID(c.id)], err = present(resources.one(ctx, q, "zone_id = $1 AND id = $2", string(c.zone), c.id))
		case deputy.ChangedProvider:
			d.Providers[deputy.ProviderID(c.id)], err = present(providers.one(ctx, q, "zone_id = $1 AND id = $2", string(c.zone), c.id))
		case deputy.ChangedPolicies:
			err = bound(ctx, q, d)
		case deputy.ChangedKeys:
			d.Keys, err = keysOf(ctx, q, deputy.ID(c.zone))
		case deputy.ChangedToken:
			if d.Revoked == nil {
				d.Revoked, err = revokedTokens(ctx, q, c.zone)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// present turns NotFound into nil.
func present[T any](e *T, err error) (*T, error) {
	if deputy.KindOf(err) == deputy.NotFound {
		return nil, nil
	}
	return e, err
}

// bound fills the delta with the set versions that are bound to the zone.
func bound(ctx context.Context, q querier, d *deputy.ZoneDelta) (err error) {
	if d.Policies, err = boundPolicy(ctx, q, d.Zone.ID, d.Zone.ActivePolicySetVersionID); err != nil {
		return err
	}
	d.Shadow, err = boundPolicy(ctx, q, d.Zone.ID, d.Zone.ShadowPolicySetVersionID)
	return err
}

// boundPolicy reads a set version with all that it pins.
func boundPolicy(ctx context.Context, q querier, in deputy.ZoneID, version deputy.ID) (*deputy.BoundPolicy, error) {
	b := &deputy.BoundPolicy{}
	if version == "" {
		return b, nil
	}
	zone := string(in)
	var err error
	if b.Version, err = policySetVersions.one(ctx, q, "zone_id = $1 AND id = $2", zone, string(version)); err != nil {
		return nil, err
	}
	if b.Set, err = policySets.one(ctx, q, "zone_id = $1 AND id = $2", zone, string(b.Version.PolicySetID)); err != nil {
		return nil, err
	}
	b.Policies, err = pinnedPolicies(ctx, q, in, b.Version.Manifest)
	return b, err
}

// pinnedPolicies reads what a manifest pins.
func pinnedPolicies(ctx context.Context, q querier, in deputy.ZoneID, manifest []deputy.ManifestEntry) (pinned []deputy.BoundPolicyEntry, err error) {
	for _, entry := range manifest {
		v, err := policyVersions.one(ctx, q, "zone_id = $1 AND id = $2", string(in), string(entry.PolicyVersionID))
		if err != nil {
			return nil, err
		}
		p, err := policies.one(ctx, q, "zone_id = $1 AND id = $2", string(in), string(entry.PolicyID))
		if err != nil {
			return nil, err
		}
		pinned = append(pinned, deputy.BoundPolicyEntry{Name: p.Name, Version: v})
	}
	return pinned, nil
}

// hints remembers the newest revision seen of each zone.
type hints struct{ zones sync.Map }

// note keeps the larger of what is known and revision.
func (h *hints) note(zone deputy.ZoneID, revision int64) {
	v, ok := h.zones.Load(zone)
	if !ok {
		v, _ = h.zones.LoadOrStore(zone, new(atomic.Int64))
	}
	known := v.(*atomic.Int64)
	for {
		old := known.Load()
		if old >= revision || known.CompareAndSwap(old, revision) {
			return
		}
	}
}

// Revision returns the newest revision of the zone that this node has seen.
func (s *Store) Revision(zone deputy.ZoneID) int64 {
	if v, ok := s.hints.zones.Load(zone); ok {
		return v.(*atomic.Int64).Load()
	}
	return 0
}
