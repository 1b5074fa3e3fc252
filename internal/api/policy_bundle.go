package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"deputy/internal/bundle"
	"deputy/internal/deputy"
	"deputy/internal/policy"
)

const bundlePath = "/zones/{zone_id}/policy-bundles/{target_type}/{target_id}"

// maxBundle bounds a bundle as it is sent, in bytes.
const maxBundle = 16 << 20

// PolicyBundleApplied says what became of a bundle.
type PolicyBundleApplied struct {
	Digest             string         `json:"digest" doc:"Identifies what decides now; the ETag without its quotes."`
	PolicySetID        string         `json:"policy_set_id"`
	PolicySetVersionID string         `json:"policy_set_version_id" doc:"The active version."`
	Version            int            `json:"version"`
	Minted             []MintedPolicy `json:"minted" doc:"The ids of policies that had none."`
}

// MintedPolicy is a policy that a bundle made.
type MintedPolicy struct {
	NewPolicy       string `json:"new_policy"`
	PolicyID        string `json:"policy_id"`
	PolicyVersionID string `json:"policy_version_id"`
}

func (a *API) mountBundles() {
	o := operation{
		ID: "get-policy-bundle", Method: http.MethodGet, Path: bundlePath, Action: "policy_bundles:read", Tag: "Policy bundles",
		Summary: "Get what decides at a target as a bundle", Status: http.StatusOK, Headers: policyHeaders,
		Doc:    "The active policies as files in an archive, so that they can live in a git repository. 404 when nothing is bound at the target. Those of a person are for managers and that person.",
		Errors: []int{http.StatusNotAcceptable}, ETag: true,
	}
	mount(a, o, a.getBundle)
	op := a.huma.OpenAPI().Paths[bundlePath].Get
	content := map[string]*huma.MediaType{bundle.MediaType: {Schema: &huma.Schema{}}}
	op.Responses["200"].Content = content
	op.Responses["304"] = &huma.Response{Description: "What If-None-Match names is still it."}
	op.Parameters = append(op.Parameters, &huma.Param{
		Name: "If-None-Match", In: "header", Description: "ETag of an earlier answer (RFC 9110 §13.1.2).", Schema: &huma.Schema{Type: huma.TypeString},
	})
	o.ID, o.Method, o.Action, o.Summary = "put-policy-bundle", http.MethodPut, "policy_bundles:apply", "Make a bundle what decides at a target"
	o.Doc = "All of it or nothing: policies whose content changed get a new version, those without an id are made, the set gets a version of exactly these, which is activated. " +
		"Policies that are left out stay, and no longer decide. What decides already needs If-Match."
	o.Headers = append([]*huma.Param{ifMatchHeader}, policyHeaders...)
	o.Errors = []int{http.StatusConflict, http.StatusPreconditionFailed, http.StatusPreconditionRequired, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType}
	mount(a, o, a.putBundle)
	a.huma.OpenAPI().Paths[bundlePath].Put.RequestBody = &huma.RequestBody{Required: true, Content: content}
}

// bundleTarget is what the path names: a kind of target and its id.
func bundleTarget(c *call) (kind, id string, err error) {
	kind, id = c.param("target_type"), c.param("target_id")
	if kind == deputy.ZoneTarget && id == string(c.zone.ID) || kind == deputy.UserTarget {
		return kind, id, deputy.SafeText("target_id", id, 1, deputy.MaxIdentifier)
	}
	return "", "", deputy.Errorf(deputy.NotFound, "no such target")
}

// isPerson reports whether the caller is the person with the identifier.
func (c *call) isPerson(identifier string) bool {
	return c.caller.Person() && c.caller.Name == identifier
}

// shelf is where policies lie: in the store, or as a transaction sees it.
type shelf struct {
	policies    deputy.Reads[deputy.Policy]
	versions    deputy.Reads[deputy.PolicyVersion]
	sets        deputy.Reads[deputy.PolicySet]
	setVersions deputy.Reads[deputy.PolicySetVersion]
}

func (a *API) shelf() shelf {
	return shelf{a.store.Policies(), a.store.PolicyVersions(), a.store.PolicySets(), a.store.PolicySetVersions()}
}

func shelfOf(tx deputy.Tx) shelf {
	return shelf{tx.Policies(), tx.PolicyVersions(), tx.PolicySets(), tx.PolicySetVersions()}
}

// boundBundle is what decides at a target.
type boundBundle struct {
	set     *deputy.PolicySet
	version *deputy.PolicySetVersion
	bundle  *bundle.Bundle
	digest  string
}

// activeSet returns the set with the version that decides at a target, or nil.
func (s shelf) activeSet(ctx context.Context, zone deputy.ZoneID, kind, id string) (*deputy.PolicySet, error) {
	sets, err := s.sets.List(ctx, deputy.Scope{Zone: zone}, deputy.Query{Limit: 1, Where: []deputy.Filter{
		{Fields: []string{"target_type"}, Values: []string{kind}}, {Fields: []string{"target_id"}, Values: []string{id}}, {Fields: []string{"active"}, Values: []string{"true"}},
	}})
	if err != nil || len(sets.Items) == 0 {
		return nil, err
	}
	return sets.Items[0], nil
}

// bound returns what decides at a target, or NotFound.
func (s shelf) bound(ctx context.Context, zone deputy.ZoneID, kind, id string) (b *boundBundle, err error) {
	set, err := s.activeSet(ctx, zone, kind, id)
	if err != nil {
		return nil, err
	}
	if set == nil {
		return nil, deputy.Errorf(deputy.NotFound, "no policy set is bound at the target")
	}
	version, err := s.setVersions.Get(ctx, deputy.Scope{Zone: zone}, set.ActiveVersionID)
	if err != nil {
		return nil, err
	}
	return s.pack(ctx, set, version)
}

// pack returns a set version as a bundle.
func (s shelf) pack(ctx context.Context, set *deputy.PolicySet, version *deputy.PolicySetVersion) (b *boundBundle, err error) {
	in := deputy.Scope{Zone: set.ZoneID}
	pinned, err := resolve(ctx, s.versions, set.ZoneID, version.Manifest)
	if err != nil {
		return nil, err
	}
	b = &boundBundle{set: set, version: version}
	b.bundle = &bundle.Bundle{SchemaVersion: version.SchemaVersion, TargetType: set.TargetType, TargetID: set.TargetID}
	if schema, err := policy.LookupSchema(b.version.SchemaVersion); err == nil {
		b.bundle.Schema = []byte(schema.Text())
	}
	for _, v := range pinned {
		p, err := s.policies.Get(ctx, in, v.PolicyID)
		if err != nil {
			return nil, err
		}
		b.bundle.Policies = append(b.bundle.Policies, bundle.Policy{PublicID: string(p.ID), Name: p.Name, Text: []byte(v.Text + "\n")})
	}
	b.digest, err = b.bundle.Digest()
	return b, err
}

func (a *API) getBundle(ctx context.Context, c *call, _ *empty) (*placed[[]byte], error) {
	kind, id, err := bundleTarget(c)
	if err != nil {
		return nil, err
	}
	if kind == deputy.UserTarget && c.roles&zoneWriters == 0 && !c.isPerson(id) {
		return nil, a.refuse(ctx, c, nil, denied(c.caller))
	}
	if !acceptable(c.header("Accept")) {
		return nil, newError(ctx, http.StatusNotAcceptable, CodeBadRequest, "a bundle is "+bundle.MediaType)
	}
	b, err := a.shelf().bound(ctx, c.zone.ID, kind, id)
	if err != nil {
		return nil, err
	}
	tag := strconv.Quote(b.digest)
	c.answer.Set("ETag", tag)
	c.answer.Set("Content-Type", bundle.MediaType)
	if known := c.header("If-None-Match"); known != "" && matches(strings.ReplaceAll(known, "W/", ""), tag) { // weakly (RFC 9110 §13.1.2)
		return &placed[[]byte]{Status: http.StatusNotModified}, nil
	}
	packed, err := b.bundle.Pack()
	return &placed[[]byte]{http.StatusOK, packed}, err
}

// acceptable reports whether an Accept header takes bundles (RFC 9110 §12.5.1).
func acceptable(accept string) bool {
	if accept == "" {
		return true
	}
	for each := range strings.SplitSeq(accept, ",") {
		media, parameters, err := mime.ParseMediaType(strings.TrimSpace(each))
		if err != nil || !slices.Contains([]string{"*/*", "application/*", bundle.MediaType}, media) {
			continue
		}
		if q, err := strconv.ParseFloat(parameters["q"], 64); err != nil || q > 0 {
			return true
		}
	}
	return false
}

// bundling is a bundle on its way to being what decides.
type bundling struct {
	*API
	c        *call
	kind, id string
	sent     *bundle.Bundle
	docs     []*policy.Document // of the policies, in their order
	fresh    []freshIDs         // for what may have to be made, in the same order
	freshSet deputy.ID
	version  *deputy.PolicySetVersion
}

type freshIDs struct{ policy, version deputy.ID }

// bundlePlan is what applying a bundle comes to in one state of the zone.
type bundlePlan struct {
	bound    *boundBundle // nil: nothing is
	set      *deputy.PolicySet
	newSet   bool
	manifest []deputy.ManifestEntry
	policies []*deputy.Policy
	versions []*deputy.PolicyVersion
}

// idle reports that what is sent decides already.
func (p *bundlePlan) idle(schema string) bool {
	if p.bound == nil || p.bound.version.SchemaVersion != schema {
		return false
	}
	now, then := slices.Sorted(slices.Values(versionIDs(p.bound.version.Manifest))), slices.Sorted(slices.Values(versionIDs(p.manifest)))
	return slices.Equal(now, then)
}

// same reports whether two plans come to the same.
func (p *bundlePlan) same(q *bundlePlan) bool {
	return p.newSet == q.newSet && (p.newSet || p.set.ID == q.set.ID && p.set.LatestVersion == q.set.LatestVersion) && slices.Equal(p.manifest, q.manifest)
}

func (a *API) putBundle(ctx context.Context, c *call, _ *empty) (*output[PolicyBundleApplied], error) {
	kind, id, err := bundleTarget(c)
	if err != nil {
		return nil, err
	}
	sent, err := readBundle(ctx, c)
	if err != nil {
		return nil, err
	}
	if sent.TargetType != "" && sent.TargetType != kind || sent.TargetID != "" && sent.TargetID != id {
		return nil, deputy.Bad("manifest.json", "is of another target")
	}
	p := &bundling{API: a, c: c, kind: kind, id: id, sent: sent, freshSet: deputy.NewID(c.at)}
	if err := p.parse(); err != nil {
		return nil, err
	}
	plan, err := p.apply(ctx)
	if err != nil {
		return nil, err
	}
	return p.answer(ctx, plan)
}

// readBundle reads the archive that is the body.
func readBundle(ctx context.Context, c *call) (*bundle.Bundle, error) {
	if media, _, err := mime.ParseMediaType(c.header("Content-Type")); err != nil || media != bundle.MediaType {
		return nil, newError(ctx, http.StatusUnsupportedMediaType, CodeBadRequest, "the body must be "+bundle.MediaType)
	}
	raw, err := io.ReadAll(io.LimitReader(c.body, maxBundle+1))
	if err != nil {
		return nil, deputy.Error{Kind: deputy.Invalid, Message: "the body could not be read"}.Because(err)
	}
	b, err := (*bundle.Bundle)(nil), error(bundle.ErrTooLarge)
	if len(raw) <= maxBundle {
		b, err = bundle.Unpack(bytes.NewReader(raw))
	}
	if errors.Is(err, bundle.ErrTooLarge) {
		return nil, newError(ctx, http.StatusRequestEntityTooLarge, CodeBadRequest, "the bundle is larger than is taken")
	}
	return b, err
}

// parse checks each policy against the schema of the manifest.
func (p *bundling) parse() error {
	schema, err := policy.LookupSchema(p.sent.SchemaVersion)
	if err != nil {
		return deputy.Bad("manifest.json", "names no schema")
	}
	if n := len(p.sent.Policies); n == 0 || n > maxPinned {
		return deputy.Bad("manifest.json", "must have 1 to %d policies", maxPinned)
	}
	for _, sent := range p.sent.Policies {
		doc, err := policy.ParseText(string(sent.Text))
		if err == nil {
			err = schema.Validate(doc)
		}
		if err != nil {
			return inFile(sent, err)
		}
		p.docs = append(p.docs, doc)
		p.fresh = append(p.fresh, freshIDs{deputy.NewID(p.c.at), deputy.NewID(p.c.at)})
	}
	p.version = &deputy.PolicySetVersion{
		ID: deputy.NewID(p.c.at), ZoneID: p.c.zone.ID, Owner: deputy.Customer, SchemaVersion: p.sent.SchemaVersion, CreatedBy: p.c.actor(), CreatedAt: p.c.at,
	}
	return nil
}

// inFile makes the file of a policy what an error blames.
func inFile(sent bundle.Policy, err error) error {
	file := "policies/" + sent.PublicID + sent.NewPolicy + ".cedar"
	var refusal *deputy.Error
	if !errors.As(err, &refusal) {
		return err
	}
	told := *refusal
	told.Field, told.Details = file, slices.Clone(refusal.Details)
	for i := range told.Details {
		told.Details[i].Field = file
	}
	return &told
}

// apply makes the bundle what decides, in one transaction. What it comes to is
// planned before, since it is signed, and planned again inside: should they
// differ, somebody changed the policies meanwhile.
func (p *bundling) apply(ctx context.Context) (*bundlePlan, error) {
	lane := p.lane(deputy.ID(p.id))
	lane.Lock()
	defer lane.Unlock()
	signer, err := p.attester(ctx, p.c.zone)
	if err != nil {
		return nil, err
	}
	for range attestTries {
		plan, err := p.plan(ctx, p.shelf())
		if err != nil {
			return nil, p.recorded(ctx, err)
		}
		v := p.version
		v.PolicySetID, v.Manifest = plan.set.ID, plan.manifest
		if err := hashManifest(v); err != nil {
			return nil, err
		}
		if err := attest(v, plan.set.LatestVersion+1, signer, p.c.actor(), p.c.at, policy.Created); err != nil {
			return nil, err
		}
		moved, target := false, policySetVersions.target(v.ID)
		if plan.bound != nil {
			target.PreviousID = string(plan.bound.version.ID)
		}
		err = p.write(ctx, p.c, target, func(tx deputy.Tx) error {
			now, err := p.plan(ctx, shelfOf(tx))
			if err != nil {
				return err
			}
			if moved = !now.same(plan); moved {
				return deputy.Errorf(deputy.Stale, "the policies were changed")
			}
			return p.insert(ctx, tx, plan, target)
		})
		if !moved && !errors.Is(err, errReplaced) {
			return plan, err
		}
	}
	return nil, deputy.Errorf(deputy.Unavailable, "others change the policies: try again")
}

// recorded makes an event of a denial that was found before the transaction.
func (p *bundling) recorded(ctx context.Context, err error) error {
	if deputy.KindOf(err) != deputy.Denied {
		return err
	}
	return p.refuse(ctx, p.c, nil, err)
}

// plan says what applying the bundle comes to.
func (p *bundling) plan(ctx context.Context, s shelf) (*bundlePlan, error) {
	plan := &bundlePlan{}
	bound, err := s.bound(ctx, p.c.zone.ID, p.kind, p.id)
	if err != nil && deputy.KindOf(err) != deputy.NotFound {
		return nil, err
	}
	if plan.bound = bound; err != nil {
		plan.bound = nil
	}
	if err := p.unmodified(ctx, plan.bound); err != nil {
		return nil, err
	}
	if plan.set, plan.newSet, err = p.setFor(ctx, s, plan.bound); err != nil {
		return nil, err
	}
	for i := range p.sent.Policies {
		if err := p.pin(ctx, s, plan, i); err != nil {
			return nil, inFile(p.sent.Policies[i], err)
		}
	}
	return plan, nil
}

// unmodified refuses to take the place of what the caller has not seen.
func (p *bundling) unmodified(ctx context.Context, bound *boundBundle) error {
	tag := p.c.header("If-Match")
	switch {
	case bound == nil && tag != "":
		return deputy.Errorf(deputy.Stale, "nothing is bound at the target")
	case bound == nil:
		return nil
	case tag == "":
		return newError(ctx, http.StatusPreconditionRequired, CodeBadRequest, "something decides at the target: send If-Match with its ETag")
	case !matches(tag, strconv.Quote(bound.digest)):
		return deputy.Errorf(deputy.Stale, "somebody else changed it: read it again")
	}
	return nil
}

// setFor returns the set that gets the version: the one that is bound, if it is
// the customer's, else one kept for bundles.
func (p *bundling) setFor(ctx context.Context, s shelf, bound *boundBundle) (set *deputy.PolicySet, made bool, err error) {
	if bound != nil && bound.set.Owner == deputy.Customer {
		return bound.set, false, nil
	}
	name := "policy-bundle"
	if p.kind == deputy.UserTarget {
		name += "-" + p.id
	}
	name = name[:min(len(name), deputy.MaxName)]
	known, err := s.sets.Find(ctx, deputy.Scope{Zone: p.c.zone.ID}, "name", name)
	if err == nil && known.Owner == deputy.Customer && known.TargetType == p.kind && known.TargetID == p.id {
		return known, false, nil
	}
	if err == nil {
		return nil, false, deputy.Errorf(deputy.Conflict, "the policy set %q, which bundles need, is of another target", name)
	}
	if deputy.KindOf(err) != deputy.NotFound {
		return nil, false, err
	}
	return &deputy.PolicySet{
		ID: p.freshSet, ZoneID: p.c.zone.ID, Owner: deputy.Customer, Name: name, TargetType: p.kind, TargetID: p.id,
		CreatedBy: p.c.actor(), CreatedAt: p.c.at, UpdatedAt: p.c.at,
	}, true, nil
}

// pin adds one policy to the plan: as it is, in a new version, or as a new
// policy.
func (p *bundling) pin(ctx context.Context, s shelf, plan *bundlePlan, i int) error {
	sent, doc, fresh, zone := p.sent.Policies[i], p.docs[i], p.fresh[i], p.c.zone.ID
	of := &deputy.Policy{
		ID: fresh.policy, ZoneID: zone, Owner: deputy.Customer, Name: sent.NewPolicy, CreatedBy: p.c.actor(), CreatedAt: p.c.at, UpdatedAt: p.c.at,
	}
	if sent.NewPolicy != "" {
		if err := of.Validate(); err != nil {
			return err
		}
		plan.policies = append(plan.policies, of)
	} else {
		known, err := s.policies.Get(ctx, deputy.Scope{Zone: zone}, deputy.ID(sent.PublicID))
		if deputy.KindOf(err) == deputy.NotFound {
			return deputy.Errorf(deputy.Invalid, "is of no policy in this zone")
		}
		if err != nil {
			return err
		}
		latest, err := s.latest(ctx, known)
		if err != nil {
			return err
		}
		if latest != nil && latest.SHA == doc.SHA() && latest.SchemaVersion == p.sent.SchemaVersion {
			plan.manifest = append(plan.manifest, deputy.ManifestEntry{PolicyID: known.ID, PolicyVersionID: latest.ID, SHA: latest.SHA})
			return nil
		}
		if err := ownedByCustomer(known.Owner, policies.Name); err != nil {
			return err
		}
		if err := closed(known.ArchivedAt != nil, "policy"); err != nil {
			return err
		}
		of = known
	}
	v := newPolicyVersion(p.c, of.ID, p.sent.SchemaVersion, doc)
	v.ID = fresh.version
	plan.versions = append(plan.versions, v)
	plan.manifest = append(plan.manifest, deputy.ManifestEntry{PolicyID: of.ID, PolicyVersionID: v.ID, SHA: v.SHA})
	return nil
}

// latest returns the newest version of a policy that is not archived; nil when
// there is none.
func (s shelf) latest(ctx context.Context, p *deputy.Policy) (*deputy.PolicyVersion, error) {
	page, err := s.versions.List(ctx, deputy.Scope{Zone: p.ZoneID, Parent: p.ID}, deputy.Query{Limit: 1, Where: []deputy.Filter{{Fields: []string{"archived_at"}, Op: deputy.IsNull}}})
	if err != nil || len(page.Items) == 0 {
		return nil, err
	}
	return page.Items[0], nil
}

// insert does what a plan says.
func (p *bundling) insert(ctx context.Context, tx deputy.Tx, plan *bundlePlan, target *deputy.Target) error {
	if plan.idle(p.sent.SchemaVersion) {
		return nil
	}
	if err := insertAll(ctx, tx.Policies(), plan.policies); err != nil {
		return err
	}
	for _, v := range plan.versions {
		if err := insertPolicyVersion(ctx, tx, p.c, v); err != nil {
			return err
		}
	}
	if plan.newSet {
		if err := tx.PolicySets().Insert(ctx, plan.set); err != nil {
			return err
		}
	}
	if err := tx.PolicySetVersions().Insert(ctx, p.version); err != nil {
		return err
	}
	return activate(ctx, tx, p.c, p.version, target)
}

// answer tells what decides now.
func (p *bundling) answer(ctx context.Context, plan *bundlePlan) (*output[PolicyBundleApplied], error) {
	now := plan.bound
	if !plan.idle(p.sent.SchemaVersion) {
		var err error
		if now, err = p.shelf().pack(ctx, plan.set, p.version); err != nil {
			return nil, err
		}
	}
	out := PolicyBundleApplied{
		Digest: now.digest, PolicySetID: string(now.set.ID), PolicySetVersionID: string(now.version.ID), Version: now.version.Version, Minted: []MintedPolicy{},
	}
	for i, sent := range p.sent.Policies {
		if sent.NewPolicy != "" {
			out.Minted = append(out.Minted, MintedPolicy{sent.NewPolicy, string(p.fresh[i].policy), string(p.fresh[i].version)})
		}
	}
	p.c.answer.Set("ETag", strconv.Quote(now.digest))
	return &output[PolicyBundleApplied]{out}, nil
}
