package store

import (
	"context"
	"time"

	"deputy/internal/deputy"
)

// reader runs reads: each alone, or several on one state of the database. The
// store reads from its pool, a transaction from its own connection.
type reader interface {
	with(ctx context.Context, read func(querier) error) error
	consistent(ctx context.Context, read func(querier) error) error
}

// collection is a table as readers of it see it.
type collection[T any] struct {
	t *table[T]
	s *Store
	r reader
}

func (c collection[T]) Get(ctx context.Context, in deputy.Scope, id deputy.ID) (e *T, err error) {
	err = c.r.with(ctx, func(q querier) (err error) {
		e, err = c.t.get(ctx, q, in, id, "")
		return err
	})
	return e, c.s.fault(err)
}

func (c collection[T]) Find(ctx context.Context, in deputy.Scope, field, value string) (e *T, err error) {
	err = c.r.with(ctx, func(q querier) (err error) {
		e, err = c.t.find(ctx, q, in, field, value)
		return err
	})
	return e, c.s.fault(err)
}

func (c collection[T]) List(ctx context.Context, in deputy.Scope, q deputy.Query) (p *deputy.Page[T], err error) {
	err = c.r.consistent(ctx, func(r querier) (err error) {
		p, err = c.t.list(ctx, c.s, r, in, q)
		return err
	})
	return p, c.s.fault(err)
}

func (c collection[T]) Tally(ctx context.Context, in deputy.Scope, field string, values []string, where ...deputy.Filter) (counts map[string]int, err error) {
	err = c.r.with(ctx, func(q querier) (err error) {
		counts, err = c.t.tally(ctx, c.s, q, in, field, values, where)
		return err
	})
	return counts, c.s.fault(err)
}

// writes is a table as a transaction sees it.
type writes[T any] struct {
	collection[T]
	x *tx
}

func (w writes[T]) Insert(_ context.Context, e *T) error {
	return w.t.insert(w.x.ctx, w.x, e)
}

func (w writes[T]) Update(_ context.Context, in deputy.Scope, id deputy.ID, change func(*T) error) (*T, error) {
	return w.t.update(w.x.ctx, w.x, in, id, change)
}

func (w writes[T]) Delete(_ context.Context, in deputy.Scope, id deputy.ID) error {
	return w.t.delete(w.x.ctx, w.x, in, id)
}

// archives is a table of versions as a transaction sees it.
type archives[T any] struct {
	writes[T]
	archived func(*T) (at **time.Time, by *string)
}

func (a archives[T]) Archive(ctx context.Context, in deputy.Scope, id deputy.ID, by string) (*T, error) {
	return a.Update(ctx, in, id, func(e *T) error {
		if at, who := a.archived(e); *at == nil {
			now := a.x.now
			*at, *who = &now, by
		}
		return nil
	})
}

func reading[T any](s *Store, t *table[T]) deputy.Reads[T] {
	return collection[T]{t, s, s.readers}
}

func writing[T any](x *tx, t *table[T]) writes[T] {
	return writes[T]{collection[T]{t, x.store, x}, x}
}

func (s *Store) Organizations() deputy.Reads[deputy.Organization] { return reading(s, organizations) }
func (s *Store) ServiceAccounts() deputy.Reads[deputy.ServiceAccount] {
	return reading(s, serviceAccounts)
}
func (s *Store) ServiceCredentials() deputy.Reads[deputy.ServiceAccountCredential] {
	return reading(s, serviceCredentials)
}
func (s *Store) OrganizationUsers() deputy.Reads[deputy.OrganizationUser] {
	return reading(s, organizationUsers)
}
func (s *Store) Invitations() deputy.Reads[deputy.Invitation] { return reading(s, invitations) }
func (s *Store) OrganizationIdentities() deputy.Reads[deputy.OrganizationIdentity] {
	return reading(s, organizationIdentities)
}
func (s *Store) SSOConnections() deputy.Reads[deputy.SSOConnection] {
	return reading(s, ssoConnections)
}
func (s *Store) Mails() deputy.Reads[deputy.Mail]               { return reading(s, mails) }
func (s *Store) ZoneMembers() deputy.Reads[deputy.ZoneMember]   { return reading(s, zoneMembers) }
func (s *Store) Zones() deputy.Reads[deputy.Zone]               { return reading(s, zones) }
func (s *Store) Applications() deputy.Reads[deputy.Application] { return reading(s, applications) }
func (s *Store) Credentials() deputy.Reads[deputy.Credential]   { return reading(s, credentials) }
func (s *Store) Dependencies() deputy.Reads[deputy.Dependency]  { return reading(s, dependencies) }
func (s *Store) Providers() deputy.Reads[deputy.Provider]       { return reading(s, providers) }
func (s *Store) Resources() deputy.Reads[deputy.Resource]       { return reading(s, resources) }
func (s *Store) Users() deputy.Reads[deputy.User]               { return reading(s, users) }
func (s *Store) Passwords() deputy.Reads[deputy.Password]       { return reading(s, passwords) }
func (s *Store) MailedCodes() deputy.Reads[deputy.MailedCode]   { return reading(s, mailedCodes) }
func (s *Store) Passkeys() deputy.Reads[deputy.Passkey]         { return reading(s, passkeys) }
func (s *Store) ZoneInvitations() deputy.Reads[deputy.ZoneInvitation] {
	return reading(s, zoneInvitations)
}
func (s *Store) Sessions() deputy.Reads[deputy.Session]     { return reading(s, sessions) }
func (s *Store) Grants() deputy.Reads[deputy.Grant]         { return reading(s, grants) }
func (s *Store) Streams() deputy.Reads[deputy.Stream]       { return reading(s, streams) }
func (s *Store) UserAgents() deputy.Reads[deputy.UserAgent] { return reading(s, userAgents) }
func (s *Store) Secrets() deputy.Reads[deputy.VaultSecret]  { return reading(s, secrets) }
func (s *Store) Roles() deputy.Reads[deputy.Role]           { return reading(s, roles) }
func (s *Store) RoleAssignments() deputy.Reads[deputy.RoleAssignment] {
	return reading(s, roleAssignments)
}
func (s *Store) Groups() deputy.Reads[deputy.Group]           { return reading(s, groups) }
func (s *Store) Memberships() deputy.Reads[deputy.Membership] { return reading(s, memberships) }
func (s *Store) RefreshFamilies() deputy.Reads[deputy.RefreshFamily] {
	return reading(s, refreshFamilies)
}
func (s *Store) Policies() deputy.Reads[deputy.Policy] { return reading(s, policies) }
func (s *Store) PolicyVersions() deputy.Reads[deputy.PolicyVersion] {
	return reading(s, policyVersions)
}
func (s *Store) PolicySets() deputy.Reads[deputy.PolicySet] { return reading(s, policySets) }
func (s *Store) PolicySetVersions() deputy.Reads[deputy.PolicySetVersion] {
	return reading(s, policySetVersions)
}
func (s *Store) PolicySchemas() deputy.Reads[deputy.PolicySchema] { return reading(s, policySchemas) }
func (s *Store) PolicyDrafts() deputy.Reads[deputy.PolicyDraft]   { return reading(s, policyDrafts) }
func (s *Store) PolicySetDrafts() deputy.Reads[deputy.PolicySetDraft] {
	return reading(s, policySetDrafts)
}

func (s *Store) Packages() deputy.Reads[deputy.Package] { return reading(s, packages) }
func (s *Store) PackageVersions() deputy.Reads[deputy.PackageVersion] {
	return reading(s, packageVersions)
}
func (s *Store) Installs() deputy.Reads[deputy.Install] { return reading(s, installs) }
func (s *Store) InstalledEntities() deputy.Reads[deputy.InstalledEntity] {
	return reading(s, installedEntities)
}
func (s *Store) CatalogTasks() deputy.Reads[deputy.CatalogTask] { return reading(s, catalogTasks) }

func (s *Store) Account(ctx context.Context, clientID string) (a *deputy.Account, err error) {
	err = s.readers.consistent(ctx, func(q querier) (err error) {
		a, err = account(ctx, q, clientID)
		return err
	})
	return a, s.fault(err)
}

func (s *Store) AccountsOf(ctx context.Context, field, value string) (users []*deputy.OrganizationUser, err error) {
	err = s.readers.with(ctx, func(q querier) (err error) {
		users, err = accountsOf(ctx, q, field, value)
		return err
	})
	return users, s.fault(err)
}

func (s *Store) ZoneRoles(ctx context.Context, organization deputy.OrganizationID, user deputy.ID) (roles map[deputy.ZoneID]deputy.ZoneRole, err error) {
	err = s.readers.with(ctx, func(q querier) (err error) {
		roles, err = zoneRoles(ctx, q, organization, user)
		return err
	})
	return roles, s.fault(err)
}

func (s *Store) Invitation(ctx context.Context, token deputy.SecretHash) (i *deputy.Invitation, o *deputy.Organization, err error) {
	err = s.readers.consistent(ctx, func(q querier) (err error) {
		i, o, err = invitation(ctx, q, token)
		return err
	})
	return i, o, s.fault(err)
}

func (s *Store) Zone(ctx context.Context, zone deputy.ZoneID, since int64) (d *deputy.ZoneDelta, err error) {
	err = s.readers.consistent(ctx, func(q querier) (err error) {
		d, err = delta(ctx, q, zone, since)
		return err
	})
	if err == nil {
		s.hints.note(zone, d.Revision)
	}
	return d, s.fault(err)
}

func (s *Store) BoundPolicy(ctx context.Context, zone deputy.ZoneID, version deputy.ID) (b *deputy.BoundPolicy, err error) {
	err = s.readers.consistent(ctx, func(q querier) (err error) {
		b, err = boundPolicy(ctx, q, zone, version)
		return err
	})
	return b, s.fault(err)
}

func (s *Store) PinnedPolicies(ctx context.Context, zone deputy.ZoneID, manifest []deputy.ManifestEntry) (pinned []deputy.BoundPolicyEntry, err error) {
	err = s.readers.consistent(ctx, func(q querier) (err error) {
		pinned, err = pinnedPolicies(ctx, q, zone, manifest)
		return err
	})
	return pinned, s.fault(err)
}

func (s *Store) Client(ctx context.Context, zone deputy.ZoneID, clientID string) (c *deputy.Client, err error) {
	err = s.readers.consistent(ctx, func(q querier) (err error) {
		c, err = client(ctx, q, zone, clientID)
		return err
	})
	if err == nil {
		s.hints.note(zone, c.Revision)
	}
	return c, s.fault(err)
}

func (s *Store) SessionChain(ctx context.Context, zone deputy.ZoneID, id deputy.SessionID) (chain []*deputy.Session, u *deputy.User, err error) {
	err = s.readers.consistent(ctx, func(q querier) (err error) {
		chain, u, err = sessionChain(ctx, q, &foreseen{}, zone, id)
		return err
	})
	return chain, u, s.fault(err)
}

func (s *Store) Consent(ctx context.Context, zone deputy.ZoneID, user deputy.UserID, client deputy.ID, resource deputy.ResourceID) (c *deputy.ConsentRecord, err error) {
	err = s.readers.with(ctx, func(q querier) (err error) {
		c, err = consent(ctx, q, zone, user, client, resource)
		return err
	})
	return c, s.fault(err)
}

func (s *Store) Secret(ctx context.Context, zone deputy.ZoneID, entity deputy.ID) (found *deputy.VaultSecret, err error) {
	err = s.readers.with(ctx, func(q querier) (err error) {
		found, err = secretOf(ctx, q, zone, entity)
		return err
	})
	return found, s.fault(err)
}

func (s *Store) Grant(ctx context.Context, zone deputy.ZoneID, user deputy.UserID, resource deputy.ResourceID) (g *deputy.Grant, err error) {
	err = s.readers.with(ctx, func(q querier) (err error) {
		g, err = grantOf(ctx, q, zone, user, resource)
		return err
	})
	return g, s.fault(err)
}

func (s *Store) Consents(ctx context.Context, zone deputy.ZoneID, user deputy.UserID) (all []*deputy.ConsentRecord, err error) {
	err = s.readers.with(ctx, func(q querier) (err error) {
		all, err = consents.many(ctx, q, "zone_id = $1 AND user_id = $2 AND resource_id <> '' ORDER BY client_id, resource_id", string(zone), string(user))
		return err
	})
	return all, s.fault(err)
}

func (s *Store) Affiliations(ctx context.Context, zone deputy.ZoneID, user deputy.UserID) (a *deputy.Affiliations, err error) {
	err = s.readers.consistent(ctx, func(q querier) (err error) {
		a, err = affiliations(ctx, q, zone, user)
		return err
	})
	return a, s.fault(err)
}

func (s *Store) SigningKeys(ctx context.Context, owner deputy.ID) (keys []deputy.SigningKey, err error) {
	err = s.readers.with(ctx, func(q querier) (err error) {
		keys, err = keysOf(ctx, q, owner)
		return err
	})
	return keys, s.fault(err)
}

func (s *Store) DataKey(ctx context.Context, id deputy.ID) (k deputy.DataKey, err error) {
	err = s.readers.with(ctx, func(q querier) error {
		found, err := dataKeys.one(ctx, q, "id = $1", string(id))
		if err == nil {
			k = *found
		}
		return err
	})
	return k, s.fault(err)
}
