package api

import (
	"context"
	"fmt"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/keys"
	"deputy/internal/policy"
)

// platformActor is who made what a zone is born with.
const platformActor = "platform"

// birth is what a zone is born with, ready to be inserted: keys are made and
// the attestation is signed before the transaction, which others wait for.
type birth struct {
	dataKey      deputy.DataKey
	signingKeys  []deputy.SigningKey
	providers    []*deputy.Provider
	resources    []*deputy.Resource
	applications []*deputy.Application
	gateway      *deputy.ApplicationID
	policies     []*deputy.Policy
	versions     []*deputy.PolicyVersion
	set          *deputy.PolicySet
	setVersion   *deputy.PolicySetVersion
}

// birth makes what the zone z is born with.
func (a *API) birth(ctx context.Context, c *call, z *deputy.Zone) (*birth, error) {
	b := &birth{}
	var err error
	if b.dataKey, err = a.vault.NewUnder(ctx, deputy.ID(z.ID), z.KEK(), c.at); err != nil {
		return nil, keyFault(z, err)
	}
	z.KeyID = b.dataKey.ID
	signer, err := a.firstKeys(ctx, c.at, z, b)
	if err != nil {
		return nil, err
	}
	b.addBuiltIns(z, c.at)
	if err := b.addPolicies(z, c.at); err != nil {
		return nil, err
	}
	return b, attest(b.setVersion, 1, signer, platformActor, c.at, policy.Created)
}

// firstKeys makes the zone's signing keys and returns the one that attests.
func (a *API) firstKeys(ctx context.Context, now time.Time, z *deputy.Zone, b *birth) (attests *keys.Signer, err error) {
	for _, alg := range []deputy.SigningAlgorithm{deputy.RS256, deputy.ES256} {
		signer, row, err := keys.Generate(ctx, a.vault, a.pool, keys.Spec{
			Owner: deputy.ID(z.ID), DataKey: z.KeyID, Algorithm: alg, State: deputy.KeyActive, Now: now,
		})
		if err != nil {
			return nil, fmt.Errorf("making the signing keys of a zone: %w", err)
		}
		b.signingKeys = append(b.signingKeys, row)
		if alg == deputy.RS256 {
			attests = signer
		}
	}
	return attests, nil
}

// addBuiltIns adds the providers and resources of the platform. Their
// identifiers are derived when read, from the zone's issuer.
func (b *birth) addBuiltIns(z *deputy.Zone, now time.Time) {
	provider := func(kind deputy.ProviderType, name, identifier string) *deputy.Provider {
		p := &deputy.Provider{
			ID: deputy.ProviderID(deputy.NewID(now)), OrganizationID: z.OrganizationID, ZoneID: z.ID, Owner: deputy.Platform,
			Slug: deputy.Slug(name, "provider"), Name: name, Identifier: identifier, Type: kind, CreatedAt: now, UpdatedAt: now,
		}
		b.providers = append(b.providers, p)
		return p
	}
	sts := provider(deputy.STSProvider, deputy.STSProviderName, deputy.STSIdentifier)
	provider(deputy.VaultProvider, deputy.VaultProviderName, deputy.VaultIdentifier)
	for _, r := range []struct{ slug, name, identifier string }{
		{deputy.UserInfoSlug, "OpenID Connect UserInfo", deputy.UserInfoIdentifier},
		{deputy.EventsSlug, deputy.EventsResourceLabel, deputy.EventsIdentifier},
	} {
		b.resources = append(b.resources, &deputy.Resource{
			ID: deputy.ResourceID(deputy.NewID(now)), OrganizationID: z.OrganizationID, ZoneID: z.ID, Owner: deputy.Platform,
			Slug: r.slug, Name: r.name, Identifier: r.identifier, ApplicationType: deputy.Web,
			CredentialProviderID: &sts.ID, CreatedAt: now, UpdatedAt: now,
		})
	}
}

// addGateway adds an application that is the zone's default gateway.
func (b *birth) addGateway(z *deputy.Zone) {
	app := &deputy.Application{
		ID: deputy.ApplicationID(deputy.NewID(z.CreatedAt)), OrganizationID: z.OrganizationID, ZoneID: z.ID, Owner: deputy.Customer,
		Slug: "mcp-gateway", Identifier: "mcp-gateway", Name: "MCP Gateway", Consent: deputy.RequiredConsent,
		Traits: []string{deputy.TraitGateway}, CreatedAt: z.CreatedAt, UpdatedAt: z.CreatedAt,
	}
	b.applications = append(b.applications, app)
	b.gateway = &app.ID
}

// addPolicies adds the managed policies and the set that bundles them.
func (b *birth) addPolicies(z *deputy.Zone, now time.Time) error {
	managed, err := policy.Defaults(policy.DefaultSchema)
	if err != nil {
		return fmt.Errorf("reading the managed policies: %w", err)
	}
	b.set = &deputy.PolicySet{
		ID: deputy.NewID(now), ZoneID: z.ID, Owner: deputy.Platform, Name: policy.DefaultSetName,
		TargetType: deputy.ZoneTarget, TargetID: string(z.ID), CreatedBy: platformActor, CreatedAt: now, UpdatedAt: now,
	}
	b.setVersion = &deputy.PolicySetVersion{
		ID: deputy.NewID(now), ZoneID: z.ID, PolicySetID: b.set.ID, Owner: deputy.Platform,
		SchemaVersion: policy.DefaultSchema, CreatedBy: platformActor, CreatedAt: now,
	}
	for _, m := range managed {
		doc, err := policy.ParseText(m.Text)
		if err != nil {
			return fmt.Errorf("reading managed policy %s: %w", m.Name, err)
		}
		p := &deputy.Policy{
			ID: deputy.NewID(now), ZoneID: z.ID, Owner: deputy.Platform, Name: m.Name,
			CreatedBy: platformActor, CreatedAt: now, UpdatedAt: now,
		}
		v := &deputy.PolicyVersion{
			ID: deputy.NewID(now), ZoneID: z.ID, PolicyID: p.ID, Owner: deputy.Platform, SchemaVersion: policy.DefaultSchema,
			Text: doc.Text(), JSON: doc.JSON(), SHA: doc.SHA(), CreatedBy: platformActor, CreatedAt: now,
		}
		b.policies, b.versions = append(b.policies, p), append(b.versions, v)
		b.setVersion.Manifest = append(b.setVersion.Manifest, deputy.ManifestEntry{PolicyID: p.ID, PolicyVersionID: v.ID, SHA: v.SHA})
	}
	return hashManifest(b.setVersion)
}

// insert stores the zone and everything in it.
func (b *birth) insert(ctx context.Context, tx deputy.Tx, z *deputy.Zone) error {
	if err := tx.InsertDataKey(ctx, b.dataKey); err != nil {
		return err
	}
	if err := tx.Zones().Insert(ctx, z); err != nil {
		return err
	}
	for _, k := range b.signingKeys {
		if err := tx.InsertSigningKey(ctx, k); err != nil {
			return err
		}
	}
	if err := tx.Enqueue(ctx, deputy.KeyRotation{OrganizationID: z.OrganizationID}.Task(z.ID, z.CreatedAt)); err != nil {
		return err
	}
	if err := insertAll(ctx, tx.Providers(), b.providers); err != nil {
		return err
	}
	if err := insertAll(ctx, tx.Resources(), b.resources); err != nil {
		return err
	}
	if err := insertAll(ctx, tx.Applications(), b.applications); err != nil {
		return err
	}
	if err := b.insertPolicies(ctx, tx, z); err != nil {
		return err
	}
	stored, err := tx.Zones().Update(ctx, deputy.Scope{Organization: z.OrganizationID}, deputy.ID(z.ID), func(z *deputy.Zone) error {
		z.DefaultGatewayApplicationID = b.gateway // it is in the zone, so it came after it
		return nil
	})
	if err != nil {
		return err
	}
	*z = *stored
	return nil
}

func (b *birth) insertPolicies(ctx context.Context, tx deputy.Tx, z *deputy.Zone) error {
	if err := insertAll(ctx, tx.Policies(), b.policies); err != nil {
		return err
	}
	if err := insertAll(ctx, tx.PolicyVersions(), b.versions); err != nil {
		return err
	}
	if err := tx.PolicySets().Insert(ctx, b.set); err != nil {
		return err
	}
	if err := tx.PolicySetVersions().Insert(ctx, b.setVersion); err != nil {
		return err
	}
	_, err := tx.Activate(ctx, z.ID, b.set.ID, b.setVersion.ID)
	return err
}

func insertAll[D any](ctx context.Context, into deputy.Inserts[D], all []*D) error {
	for _, d := range all {
		if err := into.Insert(ctx, d); err != nil {
			return err
		}
	}
	return nil
}
