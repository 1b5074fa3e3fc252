package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

// PolicySetVersion is an immutable, attested manifest, as clients see it.
type PolicySetVersion struct {
	ID            string       `json:"id"`
	PolicySetID   string       `json:"policy_set_id"`
	OwnerType     string       `json:"owner_type" enum:"platform,customer"`
	Version       int          `json:"version" minimum:"1"`
	SchemaVersion string       `json:"schema_version"`
	Manifest      Manifest     `json:"manifest"`
	ManifestSHA   string       `json:"manifest_sha" pattern:"^[0-9a-f]{64}$" doc:"SHA-256 of the manifest in its canonical form (RFC 8785), in hex."`
	Active        bool         `json:"active" doc:"It decides for the zone."`
	Attestation   *Attestation `json:"attestation,omitzero"`
	CreatedBy     string       `json:"created_by"`
	CreatedAt     Time         `json:"created_at"`
	ArchivedAt    *Time        `json:"archived_at,omitzero"`
	ArchivedBy    *string      `json:"archived_by,omitzero"`
}

// maxPinned is how many policy versions a manifest pins at most.
const maxPinned = 2000

// Manifest pins policy versions; their order counts for its hash.
type Manifest struct {
	Entries []ManifestEntry `json:"entries" minItems:"1" maxItems:"2000"`
}

// ManifestEntry pins one policy version.
type ManifestEntry struct {
	PolicyID        string           `json:"policy_id"`
	PolicyVersionID string           `json:"policy_version_id"`
	SHA             Nullable[string] `json:"sha,omitzero" doc:"Hash of the version; filled in here, ignored when sent."`
}

// PolicySetVersionCreate makes a set version.
type PolicySetVersionCreate struct {
	SchemaVersion string   `json:"schema_version" doc:"The schema that decides once the version is active, and that every policy version was validated against." example:"2026-06-18"`
	Manifest      Manifest `json:"manifest"`
}

// PolicySetVersionActivation binds a version. Nothing else of it can change.
type PolicySetVersionActivation struct {
	_      struct{} `additionalProperties:"false"`
	Active bool     `json:"active" enum:"true" doc:"Make it the zone's active one, in place of whatever is."`
}

var policySetVersions = Noun[deputy.PolicySetVersion, PolicySetVersion, PolicySetVersionCreate, PolicySetVersionActivation]{
	Name: "policy_set_version", Plural: "policy_set_versions", Path: "/zones/{zone_id}/policy-sets/{policy_set_id}/versions", Key: "version_id",
	Tag: "Policy set versions", Made: http.StatusCreated, Short: true,
	About:   "A policy set version is an immutable, attested list of policy versions.",
	List:    listing{Expand: []string{"total_count"}, Style: both, Ordered: true},
	Headers: policyHeaders,
	Scope: func(c *call) deputy.Scope {
		return deputy.Scope{Zone: c.zone.ID, Parent: deputy.ID(c.param("policy_set_id"))}
	},
	Reads: func(v deputy.View) deputy.Reads[deputy.PolicySetVersion] { return v.PolicySetVersions() },
	ID:    func(d *deputy.PolicySetVersion) deputy.ID { return d.ID },
	Narrow: func(ctx context.Context, a *API, c *call, q *asked) error {
		if _, err := a.store.PolicySets().Get(ctx, policySets.scope(c), deputy.ID(c.param("policy_set_id"))); err != nil {
			return missing(err, policySets.Name)
		}
		return unarchived(ctx, a, c, q)
	},
	View: viewSetVersion,
}

func viewSetVersion(_ *API, _ *call, d *deputy.PolicySetVersion) PolicySetVersion {
	v := PolicySetVersion{
		ID: string(d.ID), PolicySetID: string(d.PolicySetID), OwnerType: string(d.Owner), Version: d.Version,
		SchemaVersion: d.SchemaVersion, Manifest: viewManifest(d.Manifest), ManifestSHA: d.ManifestSHA,
		Active: d.Active, Attestation: viewAttestation(d.Attestation),
		CreatedBy: d.CreatedBy, CreatedAt: Time(d.CreatedAt), ArchivedAt: timePointer(d.ArchivedAt), ArchivedBy: pointer(d.ArchivedBy),
	}
	return v
}

func viewManifest(entries []deputy.ManifestEntry) Manifest {
	m := Manifest{Entries: make([]ManifestEntry, 0, len(entries))}
	for _, e := range entries {
		m.Entries = append(m.Entries, ManifestEntry{string(e.PolicyID), string(e.PolicyVersionID), SetNullable(e.SHA)})
	}
	return m
}

// entries returns the manifest as the domain has it, without hashes.
func (m *Manifest) entries() []deputy.ManifestEntry {
	out := make([]deputy.ManifestEntry, 0, len(m.Entries))
	for _, e := range m.Entries {
		out = append(out, deputy.ManifestEntry{PolicyID: deputy.ID(e.PolicyID), PolicyVersionID: deputy.ID(e.PolicyVersionID)})
	}
	return out
}

// attestTries bounds how often a version is signed again because another node
// took the number it was signed with. Here the versions of one set are made one
// after the other.
const attestTries = 8

// createSetVersion adds the next version of a set.
func (a *API) createSetVersion(ctx context.Context, c *call, in *input[PolicySetVersionCreate]) (*output[PolicySetVersion], error) {
	if _, err := schemaNamed(in.Body.SchemaVersion); err != nil {
		return nil, err
	}
	v := newSetVersion(c, in.Body.SchemaVersion, in.Body.Manifest.entries())
	if err := a.addSetVersion(ctx, c, v, false, "", nil); err != nil {
		return nil, err
	}
	return policySetVersions.view(a, c, v), nil
}

// newSetVersion returns a version of the set that the path names.
func newSetVersion(c *call, schema string, manifest []deputy.ManifestEntry) *deputy.PolicySetVersion {
	return &deputy.PolicySetVersion{
		ID: deputy.NewID(c.at), ZoneID: c.zone.ID, PolicySetID: deputy.ID(c.param("policy_set_id")), Owner: deputy.Customer,
		SchemaVersion: schema, Manifest: manifest, CreatedBy: c.actor(), CreatedAt: c.at,
	}
}

// addSetVersion pins policy versions, signs the manifest and adds it as the
// set's next version, and in the same transaction does what also says and
// activates it. The number is part of what is signed, so the version is inserted
// only while that number is free, and activated only in place of what the event
// names. In a zone that must be the version that it was compared with, unless
// compared is empty.
func (a *API) addSetVersion(ctx context.Context, c *call, v *deputy.PolicySetVersion, active bool, compared deputy.ID, also func(deputy.Tx) error) error {
	lane := a.lane(v.PolicySetID)
	lane.Lock()
	defer lane.Unlock()
	if _, err := a.store.PolicySets().Get(ctx, policySets.scope(c), v.PolicySetID); err != nil {
		return missing(err, policySets.Name)
	}
	if err := checkManifest(ctx, a.store.PolicyVersions(), v); err != nil {
		return err
	}
	if err := hashManifest(v); err != nil {
		return err
	}
	signer, err := a.attester(ctx, c.zone)
	if err != nil {
		return err
	}
	for range attestTries {
		set, err := a.store.PolicySets().Get(ctx, policySets.scope(c), v.PolicySetID)
		if err != nil {
			return missing(err, policySets.Name)
		}
		number, taken, target := set.LatestVersion+1, false, policySetVersions.target(v.ID)
		if active {
			if target.PreviousID, err = a.activeAt(ctx, v.ZoneID, set.TargetType, set.TargetID); err != nil {
				return err
			}
			if compared != "" && set.TargetType == deputy.ZoneTarget && target.PreviousID != string(compared) {
				return deputy.Errorf(deputy.Conflict, "another version decides by now than the draft was compared with: publish it again")
			}
		}
		if err := attest(v, number, signer, c.actor(), c.at, policy.Created); err != nil {
			return err
		}
		err = a.write(ctx, c, target, func(tx deputy.Tx) error {
			taken = false
			set, err := openSet(ctx, tx, c)
			if err != nil {
				return err
			}
			if taken = set.LatestVersion+1 != number; taken {
				return deputy.Errorf(deputy.Stale, "another version was created")
			}
			if err := insertSetVersion(ctx, tx, v); err != nil {
				return err
			}
			if also != nil {
				if err := also(tx); err != nil {
					return err
				}
			}
			if !active {
				return nil
			}
			return activate(ctx, tx, c, v, target)
		})
		if !taken && !errors.Is(err, errReplaced) {
			return err
		}
	}
	return deputy.Errorf(deputy.Unavailable, "other versions of the set are being created: try again")
}

// openSet returns the set that the path names, unless it takes no versions;
// others who would work on it wait until the transaction ends.
func openSet(ctx context.Context, tx deputy.Tx, c *call) (*deputy.PolicySet, error) {
	set, err := tx.PolicySets().Update(ctx, policySets.scope(c), deputy.ID(c.param("policy_set_id")), func(set *deputy.PolicySet) error {
		if err := ownedByCustomer(set.Owner, policySets.Name); err != nil {
			return err
		}
		return closed(set.ArchivedAt != nil, "policy set")
	})
	return set, missing(err, policySets.Name)
}

// insertSetVersion adds a version, once it has looked again at what it pins:
// that cannot change, but it may have been archived since.
func insertSetVersion(ctx context.Context, tx deputy.Tx, v *deputy.PolicySetVersion) error {
	if err := checkManifest(ctx, tx.PolicyVersions(), v); err != nil {
		return err
	}
	return tx.PolicySetVersions().Insert(ctx, v)
}

// checkManifest checks that what a version pins is there and fits, and fills
// in the hashes.
func checkManifest(ctx context.Context, in deputy.Reads[deputy.PolicyVersion], v *deputy.PolicySetVersion) error {
	pinned, err := resolve(ctx, in, v.ZoneID, v.Manifest)
	if err != nil {
		return err
	}
	refusal := deputy.Errorf(deputy.Invalid, "the manifest pins versions that the set version cannot have")
	for i, version := range pinned {
		for _, w := range obstacles(v.SchemaVersion, version) {
			refusal.Details = append(refusal.Details, *deputy.Bad(entryField(i, "policy_version_id"), "%s", w.Message))
		}
	}
	if len(refusal.Details) > 0 {
		return refusal
	}
	return nil
}

// resolve returns the versions that a manifest pins, in its order, and fills in
// their hashes.
func resolve(ctx context.Context, in deputy.Reads[deputy.PolicyVersion], zone deputy.ZoneID, manifest []deputy.ManifestEntry) ([]*deputy.PolicyVersion, error) {
	page, err := in.List(ctx, deputy.Scope{Zone: zone}, deputy.Query{All: true, Where: []deputy.Filter{{Fields: []string{"id"}, Values: versionIDs(manifest)}}})
	if err != nil {
		return nil, err
	}
	found := map[deputy.ID]*deputy.PolicyVersion{}
	for _, version := range page.Items {
		found[version.ID] = version
	}
	pinned := make([]*deputy.PolicyVersion, 0, len(manifest))
	seen := map[deputy.ID]bool{}
	for i := range manifest {
		e := &manifest[i]
		if seen[e.PolicyID] {
			return nil, deputy.Bad(entryField(i, "policy_id"), "names a policy that another entry names")
		}
		seen[e.PolicyID] = true
		version := found[e.PolicyVersionID]
		if version == nil || version.PolicyID != e.PolicyID {
			return nil, deputy.Bad(entryField(i, "policy_version_id"), "names no version of the policy in this zone")
		}
		e.SHA = version.SHA
		pinned = append(pinned, version)
	}
	return pinned, nil
}

// entryField is the path of a member of a manifest's entry.
func entryField(i int, member string) string {
	return "manifest.entries[" + strconv.Itoa(i) + "]." + member
}

// activateSetVersion binds a version at the target of its set, at once.
func (a *API) activateSetVersion(ctx context.Context, c *call, _ *input[PolicySetVersionActivation]) (*output[PolicySetVersion], error) {
	id := deputy.ID(c.param("version_id"))
	set, err := a.store.PolicySets().Get(ctx, policySets.scope(c), deputy.ID(c.param("policy_set_id")))
	if err != nil {
		return nil, missing(err, policySets.Name)
	}
	lane := a.lane(deputy.ID(c.zone.ID)) // here they go one after the other
	lane.Lock()
	defer lane.Unlock()
	var v *deputy.PolicySetVersion
	for range attestTries {
		target := policySetVersions.target(id)
		if target.PreviousID, err = a.activeAt(ctx, set.ZoneID, set.TargetType, set.TargetID); err != nil {
			return nil, err
		}
		err = a.write(ctx, c, target, func(tx deputy.Tx) (err error) {
			v, err = tx.PolicySetVersions().Get(ctx, policySetVersions.scope(c), id)
			if err != nil {
				return missing(err, policySetVersions.Name)
			}
			return activate(ctx, tx, c, v, target)
		})
		if err == nil {
			return policySetVersions.view(a, c, v), nil
		}
		if !errors.Is(err, errReplaced) {
			return nil, err
		}
	}
	return nil, err
}

// activeAt returns the id of the version that decides at a target, empty when
// none does.
func (a *API) activeAt(ctx context.Context, zone deputy.ZoneID, kind, id string) (string, error) {
	set, err := a.shelf().activeSet(ctx, zone, kind, id)
	if set == nil || err != nil {
		return "", err
	}
	return string(set.ActiveVersionID), nil
}

// errReplaced says that another version is active than the one that the event
// names: it was written before.
var errReplaced = deputy.Errorf(deputy.Unavailable, "others activate versions: try again")

// activate binds a version, in place of the one that the event's target names,
// unless something speaks against it.
func activate(ctx context.Context, tx deputy.Tx, c *call, v *deputy.PolicySetVersion, target *deputy.Target) error {
	set, err := tx.PolicySets().Get(ctx, policySets.scope(c), v.PolicySetID)
	if err != nil {
		return missing(err, policySets.Name)
	}
	switch {
	case v.ArchivedAt != nil || set.ArchivedAt != nil:
		return deputy.Errorf(deputy.Invalid, "the version is archived")
	case set.ShadowVersionID == v.ID:
		return deputy.Errorf(deputy.Invalid, "the version is bound as shadow: remove that binding first")
	case set.TargetID == "":
		return deputy.Errorf(deputy.Invalid, "the set has no target: make one with a target_id")
	}
	previous, err := tx.Activate(ctx, c.zone.ID, set.ID, v.ID)
	if err == nil && string(previous) != target.PreviousID {
		err = errReplaced
	}
	v.Active = err == nil
	return err
}

// archiveSetVersion takes a version out of use for good. One that is bound
// stays.
func (a *API) archiveSetVersion(ctx context.Context, c *call, _ *empty) (*output[PolicySetVersion], error) {
	id := deputy.ID(c.param("version_id"))
	var v *deputy.PolicySetVersion
	err := a.write(ctx, c, policySetVersions.target(id), func(tx deputy.Tx) error {
		found, err := tx.PolicySetVersions().Get(ctx, policySetVersions.scope(c), id)
		if err != nil {
			return missing(err, policySetVersions.Name)
		}
		if err := ownedByCustomer(found.Owner, policySetVersions.Name); err != nil {
			return err
		}
		set, err := tx.PolicySets().Get(ctx, policySets.scope(c), found.PolicySetID)
		if err != nil {
			return missing(err, policySets.Name)
		}
		if set.ActiveVersionID == id || set.ShadowVersionID == id {
			return deputy.Errorf(deputy.Invalid, "cannot archive version: currently bound")
		}
		v, err = tx.PolicySetVersions().Archive(ctx, policySetVersions.scope(c), id, c.actor())
		return err
	})
	if err != nil {
		return nil, err
	}
	return policySetVersions.view(a, c, v), nil
}

// pinnedList is what the list of a set version's policies can be asked.
var pinnedList = policyVersionList

// listPinned lists the policy versions that a set version pins.
func (a *API) listPinned(ctx context.Context, c *call, _ *empty) (*output[ShortList[PolicyVersion]], error) {
	v, err := a.store.PolicySetVersions().Get(ctx, policySetVersions.scope(c), deputy.ID(c.param("version_id")))
	if err != nil {
		return nil, missing(err, policySetVersions.Name)
	}
	return a.pagePinned(ctx, c, v.Manifest)
}

// pagePinned returns a page of the policy versions that a manifest pins.
func (a *API) pagePinned(ctx context.Context, c *call, manifest []deputy.ManifestEntry) (*output[ShortList[PolicyVersion]], error) {
	pinned := policyVersions
	pinned.Narrow = nil
	pinned.Scope = func(c *call) deputy.Scope { return deputy.Scope{Zone: c.zone.ID} }
	page, err := pinned.page(ctx, a, c, deputy.Filter{Fields: []string{"id"}, Values: versionIDs(manifest)})
	if err != nil {
		return nil, err
	}
	return &output[ShortList[PolicyVersion]]{ShortList[PolicyVersion]{page.Items, page.Pagination}}, nil
}

// versionIDs returns the ids of what a manifest pins.
func versionIDs(manifest []deputy.ManifestEntry) []string {
	ids := make([]string, 0, len(manifest))
	for _, e := range manifest {
		ids = append(ids, string(e.PolicyVersionID))
	}
	return ids
}
