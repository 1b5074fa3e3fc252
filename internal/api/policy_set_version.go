package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"

	"deputy/internal/deputy"
	"deputy/internal/keys"
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
	View: func(_ *API, c *call, d *deputy.PolicySetVersion) PolicySetVersion { return viewSetVersion(c, d) },
}

func viewSetVersion(c *call, d *deputy.PolicySetVersion) PolicySetVersion {
	v := PolicySetVersion{
		ID: string(d.ID), PolicySetID: string(d.PolicySetID), OwnerType: string(d.Owner), Version: d.Version,
		SchemaVersion: d.SchemaVersion, Manifest: Manifest{Entries: []ManifestEntry{}}, ManifestSHA: d.ManifestSHA,
		Active: d.ID == c.zone.ActivePolicySetVersionID, Attestation: viewAttestation(d.Attestation),
		CreatedBy: d.CreatedBy, CreatedAt: Time(d.CreatedAt), ArchivedAt: timePointer(d.ArchivedAt), ArchivedBy: pointer(d.ArchivedBy),
	}
	for _, e := range d.Manifest {
		v.Manifest.Entries = append(v.Manifest.Entries, ManifestEntry{string(e.PolicyID), string(e.PolicyVersionID), SetNullable(e.SHA)})
	}
	return v
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

// attestTries bounds how often a version is signed again because another node
// took the number it was signed with. Here the versions of one set are made one
// after the other.
const attestTries = 8

// createSetVersion pins policy versions, signs the manifest and adds it as the
// set's next version. The number is part of what is signed, so the version is
// inserted only while that number is free.
func (a *API) createSetVersion(ctx context.Context, c *call, in *input[PolicySetVersionCreate]) (*output[PolicySetVersion], error) {
	if _, err := schemaNamed(in.Body.SchemaVersion); err != nil {
		return nil, err
	}
	v := &deputy.PolicySetVersion{
		ID: deputy.NewID(c.at), ZoneID: c.zone.ID, PolicySetID: deputy.ID(c.param("policy_set_id")), Owner: deputy.Customer,
		SchemaVersion: in.Body.SchemaVersion, CreatedBy: c.actor(), CreatedAt: c.at,
	}
	for _, e := range in.Body.Manifest.Entries {
		v.Manifest = append(v.Manifest, deputy.ManifestEntry{PolicyID: deputy.ID(e.PolicyID), PolicyVersionID: deputy.ID(e.PolicyVersionID)})
	}
	lane := a.lane(v.PolicySetID)
	lane.Lock()
	defer lane.Unlock()
	set, err := a.store.PolicySets().Get(ctx, policySets.scope(c), v.PolicySetID)
	if err != nil {
		return nil, missing(err, policySets.Name)
	}
	if err := checkManifest(ctx, a.store.PolicyVersions(), v); err != nil {
		return nil, err
	}
	if err := hashManifest(v); err != nil {
		return nil, err
	}
	signer, err := a.attester(ctx, c.zone)
	if err != nil {
		return nil, err
	}
	for range attestTries {
		number := set.LatestVersion + 1
		if err := attest(v, number, signer, c.actor(), c.at); err != nil {
			return nil, err
		}
		err = a.write(ctx, c, policySetVersions.target(v.ID), func(tx deputy.Tx) error { return insertSetVersion(ctx, tx, c, v, number) })
		if err == nil {
			return policySetVersions.view(a, c, v), nil
		}
		if deputy.KindOf(err) != deputy.Stale {
			return nil, err
		}
		if set, err = a.store.PolicySets().Get(ctx, policySets.scope(c), v.PolicySetID); err != nil {
			return nil, missing(err, policySets.Name)
		}
	}
	return nil, deputy.Errorf(deputy.Unavailable, "other versions of the set are being created: try again")
}

// insertSetVersion adds a version that was signed as the given number. That the
// set may take it is looked at here, and again that what it pins is there: it
// cannot change, but it may have been archived since.
func insertSetVersion(ctx context.Context, tx deputy.Tx, c *call, v *deputy.PolicySetVersion, number int) error {
	set, err := tx.PolicySets().Get(ctx, policySets.scope(c), v.PolicySetID)
	if err != nil {
		return missing(err, policySets.Name)
	}
	if err := ownedByCustomer(set.Owner, policySets.Name); err != nil {
		return err
	}
	if err := closed(set.ArchivedAt != nil, "policy set"); err != nil {
		return err
	}
	if set.LatestVersion+1 != number {
		return deputy.Errorf(deputy.Stale, "another version was created")
	}
	if err := checkManifest(ctx, tx.PolicyVersions(), v); err != nil {
		return err
	}
	return tx.PolicySetVersions().Insert(ctx, v)
}

// checkManifest checks that what a version pins is there and fits, and fills
// in the hashes.
func checkManifest(ctx context.Context, in deputy.Reads[deputy.PolicyVersion], v *deputy.PolicySetVersion) error {
	ids := make([]string, 0, len(v.Manifest))
	for _, e := range v.Manifest {
		ids = append(ids, string(e.PolicyVersionID))
	}
	page, err := in.List(ctx, deputy.Scope{Zone: v.ZoneID}, deputy.Query{All: true, Where: []deputy.Filter{{Fields: []string{"id"}, Values: ids}}})
	if err != nil {
		return err
	}
	pinned := map[deputy.ID]*deputy.PolicyVersion{}
	for _, version := range page.Items {
		pinned[version.ID] = version
	}
	seen := map[deputy.ID]bool{}
	for i := range v.Manifest {
		e := &v.Manifest[i]
		at := "manifest.entries[" + strconv.Itoa(i) + "]"
		if seen[e.PolicyID] {
			return deputy.Bad(at+".policy_id", "names a policy that another entry names")
		}
		seen[e.PolicyID] = true
		version := pinned[e.PolicyVersionID]
		switch {
		case version == nil || version.PolicyID != e.PolicyID:
			return deputy.Bad(at+".policy_version_id", "names no version of the policy in this zone")
		case version.ArchivedAt != nil:
			return deputy.Bad(at+".policy_version_id", "names a version that is archived")
		case version.SchemaVersion != v.SchemaVersion:
			return deputy.Bad(at+".policy_version_id", "was validated against schema %s, not %s", version.SchemaVersion, v.SchemaVersion)
		}
		e.SHA = version.SHA
	}
	return nil
}

// attester returns the zone's key that signs attestations.
func (a *API) attester(ctx context.Context, zone *deputy.Zone) (*keys.Signer, error) {
	rows, err := a.store.SigningKeys(ctx, deputy.ID(zone.ID))
	if err != nil {
		return nil, err
	}
	row, ok := keys.Active(rows, deputy.RS256)
	if !ok {
		return nil, fmt.Errorf("zone %s has no active RS256 key", zone.ID)
	}
	return keys.Load(ctx, a.vault, row)
}

// activateSetVersion makes a version decide for the zone, at once.
func (a *API) activateSetVersion(ctx context.Context, c *call, _ *input[PolicySetVersionActivation]) (*output[PolicySetVersion], error) {
	id := deputy.ID(c.param("version_id"))
	var v *deputy.PolicySetVersion
	err := a.write(ctx, c, policySetVersions.target(id), func(tx deputy.Tx) (err error) {
		v, err = tx.PolicySetVersions().Get(ctx, policySetVersions.scope(c), id)
		if err != nil {
			return missing(err, policySetVersions.Name)
		}
		set, err := tx.PolicySets().Get(ctx, policySets.scope(c), v.PolicySetID)
		if err != nil {
			return missing(err, policySets.Name)
		}
		switch {
		case v.ArchivedAt != nil || set.ArchivedAt != nil:
			return deputy.Errorf(deputy.Invalid, "the version is archived")
		case set.ShadowVersionID == v.ID:
			return deputy.Errorf(deputy.Invalid, "the version is bound as shadow: remove that binding first")
		case set.TargetType != zoneTarget:
			return deputy.Errorf(deputy.Invalid, "the set is not one of the zone: it cannot decide for it")
		}
		_, err = tx.Activate(ctx, c.zone.ID, set.ID, v.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	c.zone.ActivePolicySetVersionID = v.ID
	return policySetVersions.view(a, c, v), nil
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
	ids := make([]string, 0, len(v.Manifest))
	for _, e := range v.Manifest {
		ids = append(ids, string(e.PolicyVersionID))
	}
	pinned := policyVersions
	pinned.Narrow = nil
	pinned.Scope = func(c *call) deputy.Scope { return deputy.Scope{Zone: c.zone.ID} }
	page, err := pinned.page(ctx, a, c, deputy.Filter{Fields: []string{"id"}, Values: ids})
	if err != nil {
		return nil, err
	}
	return &output[ShortList[PolicyVersion]]{ShortList[PolicyVersion]{page.Items, page.Pagination}}, nil
}
