package store

import (
	"context"
	"database/sql"
	"errors"
	"hash/fnv"
	"strings"
	"time"

	"deputy/internal/deputy"
)

// tx is a transaction as one member of a group sees it. Several members have
// their turns in one transaction, one after the other: what a member did is
// undone alone when it fails.
//
// The contexts that a member passes to it are not used: one caller's
// cancellation must not end the transaction of the others.
type tx struct {
	store *Store
	ctx   context.Context // of the transaction
	link  *link
	now   time.Time

	// revisions are those of zones as of the turns before this one, locked the
	// zones that the transaction has to itself from its beginning.
	revisions map[deputy.ZoneID]int64
	locked    map[deputy.ZoneID]bool
	touches   touches
	destroyed []deputy.ID // data keys
	// statements counts what was run on behalf of members.
	statements int
	spans      map[span][]noted // what changed, as far as it was asked
	packed     int              // bytes of the events

	// The state of one turn.
	alone  bool // nobody else shares the transaction: it ends whole
	marked bool // the savepoint is set
	bare   bool // something was written without one
	bumped map[deputy.ZoneID]int64
	born   map[deputy.ZoneID]bool
	named  int     // applications noted as changed
	mark   touches // the touches before the turn
	kept   int     // data keys destroyed before the turn
}

// Now is the time of the transaction.
func (x *tx) Now() time.Time { return x.now }

func (x *tx) query(_ context.Context, text string, args ...any) (*sql.Rows, error) {
	if err := x.writing(text); err != nil {
		return nil, err
	}
	return x.link.query(x.ctx, text, args...)
}

func (x *tx) exec(_ context.Context, text string, args ...any) (int64, error) {
	if err := x.writing(text); err != nil {
		return 0, err
	}
	x.statements++
	return x.link.exec(x.ctx, text, args...)
}

// execLast is exec for a statement after which the turn can only go well, if it
// changed anything: it sets no savepoint. A turn that fails all the same ends
// the whole transaction.
func (x *tx) execLast(text string, args ...any) (int64, error) {
	x.statements++
	n, err := x.link.exec(x.ctx, text, args...)
	x.bare = x.bare || n > 0 && !x.marked
	return n, err
}

// writing sets the savepoint before the first statement of a turn that writes.
// A read that fails although nothing is wrong with what it asks takes the
// whole transaction along, and the members are run again one by one.
func (x *tx) writing(text string) error {
	if strings.HasPrefix(text, "SELECT") {
		return nil
	}
	if x.marked || x.alone {
		return nil
	}
	x.marked = true
	_, err := x.link.exec(x.ctx, "SAVEPOINT turn")
	return err
}

// with and consistent read inside the transaction.
func (x *tx) with(_ context.Context, read func(querier) error) error       { return read(x) }
func (x *tx) consistent(_ context.Context, read func(querier) error) error { return read(x) }

// begin starts a member's turn.
func (x *tx) begin() {
	x.marked, x.bare, x.named = false, false, 0
	clear(x.bumped)
	clear(x.born)
	x.mark, x.kept = x.touches, len(x.destroyed)
}

// keep ends a turn that went well.
func (x *tx) keep() error {
	if x.marked {
		if _, err := x.link.exec(x.ctx, "RELEASE SAVEPOINT turn"); err != nil {
			return err
		}
	}
	for zone, revision := range x.bumped {
		x.revisions[zone] = revision
	}
	return nil
}

// errBare ends a transaction in which a turn failed after its last statement.
var errBare = errors.New("a turn failed that could not be undone alone")

// undo ends a turn that failed.
func (x *tx) undo() error {
	x.touches, x.destroyed = x.mark, x.destroyed[:x.kept]
	if x.bare && !x.alone {
		return errBare
	}
	if !x.marked {
		return nil
	}
	if _, err := x.link.exec(x.ctx, "ROLLBACK TO SAVEPOINT turn"); err != nil {
		return err
	}
	_, err := x.link.exec(x.ctx, "RELEASE SAVEPOINT turn")
	return err
}

// revision returns the zone's revision as this turn sees it; a zone that is
// gone has none.
func (x *tx) revision(zone deputy.ZoneID) (int64, error) {
	if r, ok := x.revisions[zone]; ok {
		return r, nil
	}
	r, err := revisionOf(x.ctx, x.link, zone)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, err
	}
	x.revisions[zone] = r
	return r, nil
}

// readRevisions returns what notes the revisions of zones, in which there was no
// turn yet.
func (x *tx) readRevisions(zones []deputy.ZoneID) call {
	b := &statement{}
	b.WriteString("SELECT id, revision FROM zones WHERE deleted_at IS NULL AND id IN ")
	oneOf(b, zones)
	for _, zone := range zones {
		x.revisions[zone] = 0
	}
	return call{b.String(), b.args, func(scan func(...any) error) error {
		var zone string
		var revision int64
		err := scan(&zone, &revision)
		x.revisions[deputy.ZoneID(zone)] = revision
		return err
	}}
}

// lockExclusive makes sure that no other node commits anything in the zone
// that relied on what is about to change. The lock is not remembered: it goes
// when the turn is undone.
func (x *tx) lockExclusive(zone deputy.ZoneID) error {
	if x.store.d.exclusive == "" || x.locked[zone] {
		return nil
	}
	_, err := x.exec(x.ctx, x.store.d.exclusive, lockOf(zone))
	return err
}

// lockOf is the advisory lock of a zone.
func lockOf(zone deputy.ZoneID) int64 {
	h := fnv.New64a()
	h.Write([]byte("zone " + zone))
	return int64(h.Sum64())
}

// each runs statements with the same arguments.
func (x *tx) each(ctx context.Context, args []any, texts ...string) error {
	for _, text := range texts {
		if _, err := x.exec(ctx, text, args...); err != nil {
			return err
		}
	}
	return nil
}

// unset clears a reference to what is being deleted wherever it stands in a
// column, and notes the change of each row of the kind; an empty kind is of
// no interest to snapshots.
func (x *tx) unset(ctx context.Context, zone deputy.ZoneID, table, field, id string, kind deputy.ChangeKind) error {
	scope, counted := "zone_id", ", revision = revision + 1"
	if table == "zones" {
		scope, counted = "id", "" // changed counts up the zone's own revision
	}
	ids, err := column[string](ctx, x, "UPDATE "+table+" SET "+field+" = NULL, updated_at = $1"+counted+
		" WHERE "+scope+" = $2 AND "+field+" = $3 RETURNING id", x.now.UnixMicro(), string(zone), id)
	if err != nil || kind == "" {
		return err
	}
	for _, id := range ids {
		if err := x.changed(ctx, change{zone, kind, id}); err != nil {
			return err
		}
	}
	return nil
}

// missing replaces sql.ErrNoRows by an answer.
func missing(err, absent error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return absent
	}
	return err
}

func (x *tx) Account(_ context.Context, clientID string) (*deputy.Account, error) {
	return account(x.ctx, x, clientID)
}

func (x *tx) AccountsOf(_ context.Context, field, value string) ([]*deputy.OrganizationUser, error) {
	return accountsOf(x.ctx, x, field, value)
}

func (x *tx) Invitation(_ context.Context, token deputy.SecretHash) (*deputy.Invitation, *deputy.Organization, error) {
	return invitation(x.ctx, x, token)
}

func (x *tx) SessionChain(_ context.Context, zone deputy.ZoneID, id deputy.SessionID) ([]*deputy.Session, *deputy.User, error) {
	return sessionChain(x.ctx, x, &x.link.seen, zone, id)
}

func (x *tx) Consent(_ context.Context, zone deputy.ZoneID, user deputy.UserID, client deputy.ID, resource deputy.ResourceID) (*deputy.ConsentRecord, error) {
	at := place{zone: zone, id: string(user), client: string(client), resource: string(resource)}
	return known(x.link.seen.consents, at, consents, func() (*deputy.ConsentRecord, error) {
		return consent(x.ctx, x, zone, user, client, resource)
	})
}

func (x *tx) Secret(_ context.Context, zone deputy.ZoneID, entity deputy.ID) (*deputy.VaultSecret, error) {
	return known(x.link.seen.secrets, place{zone: zone, id: string(entity)}, secrets, func() (*deputy.VaultSecret, error) {
		return secretOf(x.ctx, x, zone, entity)
	})
}

func (x *tx) Grant(_ context.Context, zone deputy.ZoneID, user deputy.UserID, resource deputy.ResourceID) (*deputy.Grant, error) {
	return known(x.link.seen.grants, place{zone: zone, id: string(user), resource: string(resource)}, grants, func() (*deputy.Grant, error) {
		return grantOf(x.ctx, x, zone, user, resource)
	})
}

func (x *tx) Affiliations(_ context.Context, zone deputy.ZoneID, user deputy.UserID) (*deputy.Affiliations, error) {
	return affiliations(x.ctx, x, zone, user)
}

func (x *tx) Organizations() deputy.Writes[deputy.Organization] { return writing(x, organizations) }
func (x *tx) ServiceAccounts() deputy.Writes[deputy.ServiceAccount] {
	return writing(x, serviceAccounts)
}
func (x *tx) ServiceCredentials() deputy.Writes[deputy.ServiceAccountCredential] {
	return writing(x, serviceCredentials)
}
func (x *tx) OrganizationUsers() deputy.Writes[deputy.OrganizationUser] {
	return writing(x, organizationUsers)
}
func (x *tx) Invitations() deputy.Writes[deputy.Invitation] { return writing(x, invitations) }
func (x *tx) SSOConnections() deputy.Writes[deputy.SSOConnection] {
	return writing(x, ssoConnections)
}
func (x *tx) Mails() deputy.Writes[deputy.Mail]               { return writing(x, mails) }
func (x *tx) ZoneMembers() deputy.Writes[deputy.ZoneMember]   { return writing(x, zoneMembers) }
func (x *tx) Zones() deputy.Writes[deputy.Zone]               { return writing(x, zones) }
func (x *tx) Applications() deputy.Writes[deputy.Application] { return writing(x, applications) }
func (x *tx) Credentials() deputy.Writes[deputy.Credential]   { return writing(x, credentials) }
func (x *tx) Dependencies() deputy.Writes[deputy.Dependency]  { return writing(x, dependencies) }
func (x *tx) Providers() deputy.Writes[deputy.Provider]       { return writing(x, providers) }
func (x *tx) Resources() deputy.Writes[deputy.Resource]       { return writing(x, resources) }
func (x *tx) Users() deputy.Writes[deputy.User]               { return writing(x, users) }
func (x *tx) Passwords() deputy.Writes[deputy.Password]       { return writing(x, passwords) }
func (x *tx) MailedCodes() deputy.Writes[deputy.MailedCode]   { return writing(x, mailedCodes) }
func (x *tx) Passkeys() deputy.Writes[deputy.Passkey]         { return writing(x, passkeys) }
func (x *tx) ZoneInvitations() deputy.Writes[deputy.ZoneInvitation] {
	return writing(x, zoneInvitations)
}
func (x *tx) Sessions() deputy.Writes[deputy.Session]     { return writing(x, sessions) }
func (x *tx) Grants() deputy.Writes[deputy.Grant]         { return writing(x, grants) }
func (x *tx) UserAgents() deputy.Writes[deputy.UserAgent] { return writing(x, userAgents) }
func (x *tx) Streams() deputy.Writes[deputy.Stream]       { return writing(x, streams) }
func (x *tx) Secrets() deputy.Writes[deputy.VaultSecret]  { return writing(x, secrets) }
func (x *tx) Roles() deputy.Writes[deputy.Role]           { return writing(x, roles) }
func (x *tx) RoleAssignments() deputy.Writes[deputy.RoleAssignment] {
	return writing(x, roleAssignments)
}
func (x *tx) Groups() deputy.Writes[deputy.Group]           { return writing(x, groups) }
func (x *tx) Memberships() deputy.Writes[deputy.Membership] { return writing(x, memberships) }
func (x *tx) RefreshFamilies() deputy.Writes[deputy.RefreshFamily] {
	return writing(x, refreshFamilies)
}
func (x *tx) Policies() deputy.Writes[deputy.Policy] { return writing(x, policies) }
func (x *tx) PolicyVersions() deputy.Archives[deputy.PolicyVersion] {
	return archives[deputy.PolicyVersion]{writing(x, policyVersions), func(v *deputy.PolicyVersion) (**time.Time, *string) {
		return &v.ArchivedAt, &v.ArchivedBy
	}}
}
func (x *tx) PolicySets() deputy.Writes[deputy.PolicySet] { return writing(x, policySets) }
func (x *tx) PolicySetVersions() deputy.Archives[deputy.PolicySetVersion] {
	return archives[deputy.PolicySetVersion]{writing(x, policySetVersions), func(v *deputy.PolicySetVersion) (**time.Time, *string) {
		return &v.ArchivedAt, &v.ArchivedBy
	}}
}

func (x *tx) Packages() deputy.Writes[deputy.Package] { return writing(x, packages) }
func (x *tx) PackageVersions() deputy.Archives[deputy.PackageVersion] {
	return archives[deputy.PackageVersion]{writing(x, packageVersions), func(v *deputy.PackageVersion) (**time.Time, *string) {
		return &v.ArchivedAt, &v.ArchivedBy
	}}
}
func (x *tx) Installs() deputy.Writes[deputy.Install] { return writing(x, installs) }
func (x *tx) InstalledEntities() deputy.Writes[deputy.InstalledEntity] {
	return writing(x, installedEntities)
}
func (x *tx) CatalogTasks() deputy.Writes[deputy.CatalogTask]   { return writing(x, catalogTasks) }
func (x *tx) PolicySchemas() deputy.Writes[deputy.PolicySchema] { return writing(x, policySchemas) }
func (x *tx) PolicyDrafts() deputy.Writes[deputy.PolicyDraft]   { return writing(x, policyDrafts) }
func (x *tx) PolicySetDrafts() deputy.Writes[deputy.PolicySetDraft] {
	return writing(x, policySetDrafts)
}

func (x *tx) Activate(_ context.Context, zone deputy.ZoneID, set, version deputy.ID) (deputy.ID, error) {
	return activeBinding.bind(x.ctx, x, zone, set, version)
}

func (x *tx) Shadow(_ context.Context, zone deputy.ZoneID, set, version deputy.ID) (deputy.ID, error) {
	return shadowBinding.bind(x.ctx, x, zone, set, version)
}

func (x *tx) Unshadow(_ context.Context, zone deputy.ZoneID, set deputy.ID) (deputy.ID, error) {
	return unshadow(x.ctx, x, zone, set)
}

func (x *tx) Reattest(ctx context.Context, v *deputy.PolicySetVersion) error {
	_, err := policySetVersions.update(ctx, x, deputy.Scope{Zone: v.ZoneID}, v.ID, func(old *deputy.PolicySetVersion) error {
		old.Attestation = v.Attestation
		return nil
	})
	return err
}

func (x *tx) PutConsent(_ context.Context, c *deputy.ConsentRecord) error {
	return consents.insert(x.ctx, x, c)
}

func (x *tx) WithdrawConsents(_ context.Context, zone deputy.ZoneID, user deputy.UserID, client deputy.ID) error {
	n, err := x.exec(x.ctx, "DELETE FROM consents WHERE zone_id = $1 AND user_id = $2 AND client_id = $3", string(zone), string(user), string(client))
	if err != nil || n == 0 {
		return err
	}
	return consents.insert(x.ctx, x, &deputy.ConsentRecord{ZoneID: zone, UserID: user, ClientID: client, CreatedAt: x.now})
}

func (x *tx) Reconcile(_ context.Context, zone deputy.ZoneID, user deputy.UserID, client deputy.ID) error {
	_, err := x.exec(x.ctx, "DELETE FROM consents WHERE zone_id = $1 AND user_id = $2 AND client_id = $3 AND resource_id = ''",
		string(zone), string(user), string(client))
	return err
}

func (x *tx) Touch(s *deputy.Session) { x.touches.sessions = append(x.touches.sessions, s) }

func (x *tx) KeepEntity(zone deputy.ZoneID, e deputy.PolicyEntity) {
	x.touches.entities = append(x.touches.entities, usedEntity{zone, e})
}

func (x *tx) TouchServiceCredential(organization deputy.OrganizationID, id deputy.ID, at time.Time) {
	x.touches.accounts = append(x.touches.accounts, touchedAccount{organization, id, at})
}

// Once notes the key beside the facts about the database.
func (x *tx) Once(_ context.Context, key string) (first bool, err error) {
	n, err := x.exec(x.ctx, "INSERT INTO meta (name, value) VALUES ($1, '') ON CONFLICT DO NOTHING", "once:"+key)
	return n > 0, err
}
