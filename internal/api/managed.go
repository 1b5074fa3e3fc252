package api

import (
	"context"
	"fmt"
	"slices"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

// ReleaseManaged gives a zone the platform's policies that come with the program
// for a schema, as the next version of the platform's set, unless some version of
// the set has been that already. What decides in the zone goes on deciding:
// whoever manages it activates the new version, or does not.
//
// A version that was there before is not made again, so that an older node
// beside a newer one takes nothing back.
func (a *API) ReleaseManaged(ctx context.Context, zone *deputy.Zone, schema string, managed []policy.Managed) error {
	for range attestTries {
		r := &managedRelease{zone: zone, schema: schema, at: deputy.Time(a.now())}
		if err := r.plan(ctx, a.store, managed); err != nil || r.version == nil {
			return err
		}
		signer, err := a.attester(ctx, zone)
		if err != nil {
			return err
		}
		if err := attest(r.version, r.set.LatestVersion+1, signer, platformActor, r.at, policy.Created); err != nil {
			return err
		}
		err = a.store.Write(ctx, r.event(), func(tx deputy.Tx) error { return r.insert(ctx, tx) })
		if deputy.KindOf(err) != deputy.Stale {
			return err
		}
	}
	return deputy.Errorf(deputy.Unavailable, "other versions of the platform's policy set are being created")
}

// managedRelease is a version of the platform's set in the making.
type managedRelease struct {
	zone     *deputy.Zone
	schema   string
	at       time.Time
	set      *deputy.PolicySet
	policies []*deputy.Policy         // new ones
	versions []*deputy.PolicyVersion  // new ones
	version  *deputy.PolicySetVersion // nil: there is nothing to do
}

// plan finds out what is missing.
func (r *managedRelease) plan(ctx context.Context, in deputy.View, managed []policy.Managed) error {
	zone := deputy.Scope{Zone: r.zone.ID}
	ours := deputy.Filter{Fields: []string{"owner_type"}, Values: []string{string(deputy.Platform)}}
	sets, err := in.PolicySets().List(ctx, zone, deputy.Query{All: true, Where: []deputy.Filter{ours}})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(sets.Items, func(s *deputy.PolicySet) bool { return s.Name == policy.DefaultSetName && s.ArchivedAt == nil })
	if i < 0 {
		return nil
	}
	r.set = sets.Items[i]
	known, err := in.Policies().List(ctx, zone, deputy.Query{All: true, Where: []deputy.Filter{ours}})
	if err != nil {
		return err
	}
	v := &deputy.PolicySetVersion{
		ID: deputy.NewID(r.at), ZoneID: r.zone.ID, PolicySetID: r.set.ID, Owner: deputy.Platform,
		SchemaVersion: r.schema, CreatedBy: platformActor, CreatedAt: r.at,
	}
	for _, m := range managed {
		entry, err := r.pin(ctx, in, known.Items, m)
		if err != nil {
			return err
		}
		v.Manifest = append(v.Manifest, entry)
	}
	if err := hashManifest(v); err != nil {
		return err
	}
	before, err := in.PolicySetVersions().List(ctx, deputy.Scope{Zone: r.zone.ID, Parent: r.set.ID}, deputy.Query{All: true})
	if err != nil {
		return err
	}
	same := func(old *deputy.PolicySetVersion) bool {
		return old.SchemaVersion == r.schema && old.ManifestSHA == v.ManifestSHA
	}
	if !slices.ContainsFunc(before.Items, same) {
		r.version = v
	}
	return nil
}

// pin returns the entry of a managed policy, whose version is made where there
// is none that says the same.
func (r *managedRelease) pin(ctx context.Context, in deputy.View, known []*deputy.Policy, m policy.Managed) (e deputy.ManifestEntry, err error) {
	doc, err := policy.ParseText(m.Text)
	if err != nil {
		return e, fmt.Errorf("reading managed policy %s: %w", m.Name, err)
	}
	names := []string{m.Name, m.Name + " (platform)"}
	i := slices.IndexFunc(known, func(p *deputy.Policy) bool { return slices.Contains(names, p.Name) && p.ArchivedAt == nil })
	var p *deputy.Policy
	if i >= 0 {
		p = known[i]
		versions, err := in.PolicyVersions().List(ctx, deputy.Scope{Zone: r.zone.ID, Parent: p.ID}, deputy.Query{All: true})
		if err != nil {
			return e, err
		}
		for _, v := range versions.Items {
			if v.SHA == doc.SHA() && v.SchemaVersion == r.schema {
				return deputy.ManifestEntry{PolicyID: p.ID, PolicyVersionID: v.ID, SHA: v.SHA}, nil
			}
		}
	} else {
		p = &deputy.Policy{
			ID: deputy.NewID(r.at), ZoneID: r.zone.ID, Owner: deputy.Platform, Name: names[0],
			CreatedBy: platformActor, CreatedAt: r.at, UpdatedAt: r.at,
		}
		// Somebody may have given the name to a policy of their own.
		switch _, err := in.Policies().Find(ctx, deputy.Scope{Zone: r.zone.ID}, "name", p.Name); {
		case err == nil:
			p.Name = names[1]
		case deputy.KindOf(err) != deputy.NotFound:
			return e, err
		}
		r.policies = append(r.policies, p)
	}
	v := &deputy.PolicyVersion{
		ID: deputy.NewID(r.at), ZoneID: r.zone.ID, PolicyID: p.ID, Owner: deputy.Platform, SchemaVersion: r.schema,
		Text: doc.Text(), JSON: doc.JSON(), SHA: doc.SHA(), CreatedBy: platformActor, CreatedAt: r.at,
	}
	r.versions = append(r.versions, v)
	return deputy.ManifestEntry{PolicyID: p.ID, PolicyVersionID: v.ID, SHA: v.SHA}, nil
}

// insert adds what is new, unless the set has another version by now: the number
// is part of what was signed.
func (r *managedRelease) insert(ctx context.Context, tx deputy.Tx) error {
	set, err := tx.PolicySets().Update(ctx, deputy.Scope{Zone: r.zone.ID}, r.set.ID, func(*deputy.PolicySet) error { return nil })
	if err != nil {
		return err
	}
	if set.LatestVersionID != r.set.LatestVersionID {
		return deputy.Errorf(deputy.Stale, "another version was created")
	}
	if err := insertAll(ctx, tx.Policies(), r.policies); err != nil {
		return err
	}
	if err := insertAll(ctx, tx.PolicyVersions(), r.versions); err != nil {
		return err
	}
	return tx.PolicySetVersions().Insert(ctx, r.version)
}

func (r *managedRelease) event() *deputy.Event {
	return &deputy.Event{
		ID: deputy.EventID(deputy.NewID(r.at)), Time: r.at, Type: policySetVersions.Plural + ":create", Outcome: deputy.Success,
		OrganizationID: r.zone.OrganizationID, ZoneID: r.zone.ID, Actor: deputy.Actor{Type: platformActor},
		Target: policySetVersions.target(r.version.ID),
	}
}
