package deputy

import (
	"context"
	"time"
)

// Store keeps everything. There is one implementation, over SQL, on two
// engines that prove the same promises.
type Store interface {
	View

	// Write is the only door to change. It runs apply in a transaction, appends
	// the event to its organization's log, and returns when both are durable;
	// on any error neither happened; so with the events that it brings along.
	// Concurrent writes may share one transaction
	// and one sync; a failing one is isolated from the rest.
	//
	// apply may run more than once, so it touches only the Tx it is given, and
	// it must not wait for anything else: others wait for it. A nil apply
	// records the event alone. When event.Basis is set and something that it
	// relies on has changed, nothing happens and the error is Stale.
	Write(ctx context.Context, event *Event, apply func(Tx) error) error

	// Revision returns the newest revision of the zone that this node knows of,
	// without asking the database: a hint for when to look, never a proof.
	Revision(zone ZoneID) int64

	// ClaimTasks leases up to limit due tasks of the given kinds until now+lease
	// and returns them. A task whose lease ran out is claimed again by whoever
	// asks next; two claims never overlap.
	ClaimTasks(ctx context.Context, kinds []string, limit int, lease time.Duration) ([]Task, error)
	// FinishTask ends a claimed task: it removes it, or when again is not zero
	// makes it due at that time. It is Stale when the lease was lost.
	FinishTask(ctx context.Context, t Task, again time.Time) error
	// LeaseGrant gives the caller the refresh of an active grant to themselves for
	// a time, unless somebody has it: ours tells. Either way it returns the grant
	// as it is now, with the Fence that is the caller's if it is ours, or NotFound.
	LeaseGrant(ctx context.Context, zone ZoneID, id ID, lease time.Duration) (g *Grant, ours bool, err error)
	// DeliveredSignals notes that a stream needs no sending of the signals up to a
	// number. No event tells of it.
	DeliveredSignals(ctx context.Context, zone ZoneID, stream ID, upTo int64) error
	// EndLease gives back the lease that has the fence, if it is still held.
	EndLease(ctx context.Context, zone ZoneID, id ID, fence int64) error
	// PruneEntities removes up to limit entities that were last used before a
	// time, and reports whether any are left.
	PruneEntities(ctx context.Context, before time.Time, limit int) (more bool, err error)
	// Expire writes down that the time of up to limit sessions and grants has run
	// out, and reports whether there are more. Nobody needs to wait for that: the
	// status of each counts at the time it is asked for.
	Expire(ctx context.Context, limit int) (more bool, err error)
	// PurgeZone removes up to limit rows of a deleted zone and reports whether
	// any are left.
	PurgeZone(ctx context.Context, zone ZoneID, limit int) (more bool, err error)

	// PutTicket adds a ticket, or with was not nil puts it in that one's place,
	// which is NotFound when it is gone. No event tells of it. Of a bounded kind
	// the heaviest source's oldest tickets go when there are too many.
	PutTicket(ctx context.Context, t *Ticket, was SecretHash) error
	// TakeTicket removes a ticket that is not over and returns it, to one of all
	// who ask; to the others it is NotFound. No event tells of it.
	TakeTicket(ctx context.Context, kind TicketKind, zone ZoneID, key SecretHash) (*Ticket, error)
	// DropTicket removes a ticket, if there is one. No event tells of it.
	DropTicket(ctx context.Context, kind TicketKind, zone ZoneID, key SecretHash) error
	// SpendTicket is Tx.SpendTicket without anything else. No event tells of it.
	SpendTicket(ctx context.Context, t *Ticket) error
	// Unverified returns up to limit people who signed up and have not shown that
	// the address is theirs, though the last code for that ended before a time.
	Unverified(ctx context.Context, before time.Time, limit int) ([]*User, error)
	// Sweep removes up to limit tickets, families of refresh tokens and mailed
	// codes that are over and reports whether there may be more.
	Sweep(ctx context.Context, limit int) (more bool, err error)

	// Ready returns nil when the database can be reached and its schema is the
	// one this program needs.
	Ready(ctx context.Context) error
	Close() error
}

// View reads. Outside a transaction each call sees the newest committed state.
type View interface {
	Organizations() Reads[Organization]
	ServiceAccounts() Reads[ServiceAccount]
	ServiceCredentials() Reads[ServiceAccountCredential]
	OrganizationUsers() Reads[OrganizationUser]
	Invitations() Reads[Invitation]
	// OrganizationIdentities are the users, and the invitations whose address no
	// user has.
	OrganizationIdentities() Reads[OrganizationIdentity]
	// SSOConnections: the id is the organization's.
	SSOConnections() Reads[SSOConnection]
	Mails() Reads[Mail]
	Zones() Reads[Zone]
	// ZoneMembers: the id is the organization user's.
	ZoneMembers() Reads[ZoneMember]
	Applications() Reads[Application]
	Credentials() Reads[Credential]
	Dependencies() Reads[Dependency]
	Providers() Reads[Provider]
	Resources() Reads[Resource]
	Users() Reads[User]
	// Passwords: the id is the user's; email is unique.
	Passwords() Reads[Password]
	// MailedCodes: link is unique.
	MailedCodes() Reads[MailedCode]
	// Passkeys: the scope's Parent is the user; credential_id is unique.
	Passkeys() Reads[Passkey]
	// ZoneInvitations: email is unique among those pending.
	ZoneInvitations() Reads[ZoneInvitation]
	Sessions() Reads[Session]
	Grants() Reads[Grant]
	UserAgents() Reads[UserAgent]
	// Streams: the scope's Parent is the application.
	Streams() Reads[Stream]
	Secrets() Reads[VaultSecret]
	Roles() Reads[Role]
	RoleAssignments() Reads[RoleAssignment]
	Groups() Reads[Group]
	// Memberships: the scope's Parent is the group, the id the user's.
	Memberships() Reads[Membership]
	RefreshFamilies() Reads[RefreshFamily]
	Policies() Reads[Policy]
	PolicyVersions() Reads[PolicyVersion]
	PolicySets() Reads[PolicySet]
	PolicySetVersions() Reads[PolicySetVersion]
	// Packages and their versions lie in catalogs: of the zone of the scope, or
	// of its organization, or of a scope with both in these two and the global one.
	Packages() Reads[Package]
	PackageVersions() Reads[PackageVersion]
	Installs() Reads[Install]
	// InstalledEntities: the scope's Parent is the install, the id the name.
	InstalledEntities() Reads[InstalledEntity]
	CatalogTasks() Reads[CatalogTask]
	// PolicySchemas are of no zone: their scope is empty, their ids are versions.
	PolicySchemas() Reads[PolicySchema]
	// PolicyDrafts are named by their policies, PolicySetDrafts by their sets.
	PolicyDrafts() Reads[PolicyDraft]
	PolicySetDrafts() Reads[PolicySetDraft]

	// Account returns what a management caller's client id rests on, in one
	// consistent read. It is NotFound when the client id is unknown.
	Account(ctx context.Context, clientID string) (*Account, error)
	// AccountsOf returns the organization users of all organizations, oldest
	// first, whose field has the value: id, email (letter case aside), or
	// identity.
	AccountsOf(ctx context.Context, field, value string) ([]*OrganizationUser, error)
	// ZoneRoles returns the roles that an organization user has in zones.
	ZoneRoles(ctx context.Context, organization OrganizationID, user ID) (map[ZoneID]ZoneRole, error)
	// Invitation returns what has the token, with its organization, in one
	// consistent read, or NotFound.
	Invitation(ctx context.Context, token SecretHash) (*Invitation, *Organization, error)
	// Zone returns what changed in a zone since a revision, in one consistent
	// read; everything when since is 0 or too old to tell. It is NotFound when
	// the zone does not exist or was deleted.
	Zone(ctx context.Context, zone ZoneID, since int64) (*ZoneDelta, error)
	// Client returns the application behind an OAuth client_id in one consistent
	// read: the identifier of a credential of any type but token, or the id of
	// a token credential. It is NotFound when there is none.
	Client(ctx context.Context, zone ZoneID, clientID string) (*Client, error)
	// Workload returns the token credentials of a provider that fit a subject
	// best, in the order of their ids: those with this very subject, else those
	// of the patterns matching it that have the longest text before their first
	// star, else those for any subject.
	Workload(ctx context.Context, zone ZoneID, provider ProviderID, subject string) ([]*Credential, error)
	// SessionChain returns a session and its parents, innermost first, ending
	// with nil where a parent is missing, and the session's user if it has one.
	SessionChain(ctx context.Context, zone ZoneID, id SessionID) ([]*Session, *User, error)
	// Consent returns the record of a person, client and resource, or NotFound.
	Consent(ctx context.Context, zone ZoneID, user UserID, client ID, resource ResourceID) (*ConsentRecord, error)
	// Secret returns the newest secret that is kept for an entity, or NotFound.
	Secret(ctx context.Context, zone ZoneID, entity ID) (*VaultSecret, error)
	// Grant returns what a person last said about a resource: the newest grant
	// with the status active, else the newest, or NotFound.
	Grant(ctx context.Context, zone ZoneID, user UserID, resource ResourceID) (*Grant, error)
	// Signals returns up to limit signals of a zone with a higher number that were
	// made since a time, in their order. None is ever there later with a number
	// lower than that of one that was returned.
	Signals(ctx context.Context, zone ZoneID, after int64, since time.Time, limit int) ([]*Signal, error)
	// Consents returns all records of a person, in the order of clients.
	Consents(ctx context.Context, zone ZoneID, user UserID) ([]*ConsentRecord, error)
	// Affiliations returns the groups and roles of a person, in the order of
	// their ids, in one consistent read. Somebody unknown has none.
	Affiliations(ctx context.Context, zone ZoneID, user UserID) (*Affiliations, error)

	// Ticket returns a ticket that is not over, or NotFound.
	Ticket(ctx context.Context, kind TicketKind, zone ZoneID, key SecretHash) (*Ticket, error)

	SigningKeys(ctx context.Context, owner ID) ([]SigningKey, error)
	DataKey(ctx context.Context, id ID) (DataKey, error)

	// BoundPolicy returns a set version with all that it pins, bound or not; one
	// without a set when version is empty. It is NotFound when there is none.
	BoundPolicy(ctx context.Context, zone ZoneID, version ID) (*BoundPolicy, error)
	// PinnedPolicies returns the policy versions that a manifest pins, in its
	// order. It is NotFound when one is missing.
	PinnedPolicies(ctx context.Context, zone ZoneID, manifest []ManifestEntry) ([]BoundPolicyEntry, error)
	// Evaluations returns decisions of policy in a zone that were enforced,
	// newest first, up to limit: those before a position of the log (0: from its
	// end), made since and before until. Where the last of them lies is where to
	// go on; none means that there are no more.
	Evaluations(ctx context.Context, q EvaluationQuery) ([]StoredEvaluation, error)
	// PolicyEntities returns those of the entities that are kept.
	PolicyEntities(ctx context.Context, zone ZoneID, ids []EntityID) ([]PolicyEntity, error)

	// Events returns a page of an organization's log.
	Events(ctx context.Context, q EventQuery) (*Page[Record], error)
	// Event returns one event by its id, or NotFound.
	Event(ctx context.Context, organization OrganizationID, zone ZoneID, id EventID) (*Record, error)
	// ProveEvent returns it with the hashes that prove that it is in the log.
	ProveEvent(ctx context.Context, organization OrganizationID, zone ZoneID, id EventID) (*Record, LogState, error)
	// LogState returns the size and root of a log, and the hashes that prove that
	// it continues what it was at an earlier size, none when since is 0. A size
	// that it has not had yet is Invalid.
	LogState(ctx context.Context, organization OrganizationID, since int64) (LogState, error)
	// LogEntries returns events of a log in its order.
	LogEntries(ctx context.Context, q LogQuery) ([]LogEntry, error)
}

// Tx reads and changes inside one Write.
type Tx interface {
	// Now is the time of the transaction.
	Now() time.Time
	Account(ctx context.Context, clientID string) (*Account, error)
	AccountsOf(ctx context.Context, field, value string) ([]*OrganizationUser, error)
	Invitation(ctx context.Context, token SecretHash) (*Invitation, *Organization, error)
	SessionChain(ctx context.Context, zone ZoneID, id SessionID) ([]*Session, *User, error)
	Consent(ctx context.Context, zone ZoneID, user UserID, client ID, resource ResourceID) (*ConsentRecord, error)
	Secret(ctx context.Context, zone ZoneID, entity ID) (*VaultSecret, error)
	Grant(ctx context.Context, zone ZoneID, user UserID, resource ResourceID) (*Grant, error)
	Affiliations(ctx context.Context, zone ZoneID, user UserID) (*Affiliations, error)

	Organizations() Writes[Organization]
	ServiceAccounts() Writes[ServiceAccount]
	ServiceCredentials() Writes[ServiceAccountCredential]
	// OrganizationUsers: Delete also ends their memberships of zones and destroys
	// their key; with the last one goes what they sign in with here.
	OrganizationUsers() Writes[OrganizationUser]
	Invitations() Writes[Invitation]
	SSOConnections() Writes[SSOConnection]
	// Mails: Insert also enqueues the task that sends the mail.
	Mails() Writes[Mail]
	ZoneMembers() Writes[ZoneMember]
	// Zones: Delete makes the zone unusable and invisible at once, destroys its
	// key, and leaves its rows to PurgeZone.
	Zones() Writes[Zone]
	// Applications: Delete also removes the application's credentials, edges,
	// consents, secrets and roles, revokes its sessions, and unsets it where a
	// resource or the zone names it.
	Applications() Writes[Application]
	Credentials() Writes[Credential]
	// Dependencies: Insert replaces the condition of an edge that exists. The
	// scope's Parent is the application, the id the resource's.
	Dependencies() Writes[Dependency]
	// Providers: Delete also removes its token credentials and secrets, revokes
	// the grants it issued, and unsets it where a resource, the zone or a user
	// names it.
	Providers() Writes[Provider]
	// Resources: Delete also removes edges to it, its grants, consents and
	// secrets and the roles assigned for it, takes its id out of conditions (an
	// edge whose condition becomes empty goes), and unsets it where the zone
	// names it.
	Resources() Writes[Resource]
	// Users: whoever becomes disabled has their sessions revoked. Delete also
	// removes sessions, grants, consents, roles and memberships, and destroys their
	// key.
	Users() Writes[User]
	Passwords() Writes[Password]
	// MailedCodes: Insert replaces the person's code for the purpose.
	MailedCodes() Writes[MailedCode]
	Passkeys() Writes[Passkey]
	ZoneInvitations() Writes[ZoneInvitation]
	// Sessions: one that becomes revoked takes all that are below it along.
	// Delete removes those as well.
	Sessions() Writes[Session]
	// Grants: one that becomes revoked, or is deleted, loses the provider's tokens,
	// and what revokes those at the provider is enqueued.
	Grants() Writes[Grant]
	// Streams: one that is inserted is told of what is signalled from then on, as
	// is one that was disabled.
	Streams() Writes[Stream]
	// Signal numbers a signal, and tells the zone's streams. Whoever becomes
	// revoked, disabled or deleted is signalled by what does that.
	Signal(ctx context.Context, s *Signal) error
	// UserAgents: Delete also removes its consents and revokes its sessions.
	UserAgents() Writes[UserAgent]
	Secrets() Writes[VaultSecret]
	// Roles: Delete also removes the role's assignments.
	Roles() Writes[Role]
	// RoleAssignments: a second one of the same role, principal and scope is a
	// conflict of role_id.
	RoleAssignments() Writes[RoleAssignment]
	// Groups: Delete also removes the group's members and roles.
	Groups() Writes[Group]
	// Memberships: Insert keeps one that exists.
	Memberships() Writes[Membership]
	RefreshFamilies() Writes[RefreshFamily]
	// TurnRefresh gives the family the Generation, Current, Previous, Sealed and
	// Turns of f. It is Stale, and nothing happens, unless was is the hash of the
	// family's newest token. It is the last that happens in a Write.
	TurnRefresh(ctx context.Context, f *RefreshFamily, was SecretHash) error
	// Policies, PolicySets: Delete also removes the draft.
	Policies() Writes[Policy]
	// PolicyVersions: Insert gives the version its number and updates the
	// policy's latest members. The scope's Parent is the policy.
	PolicyVersions() Archives[PolicyVersion]
	PolicySets() Writes[PolicySet]
	// PolicySetVersions: Insert gives the version its number and updates the
	// set's latest members. The scope's Parent is the set.
	PolicySetVersions() Archives[PolicySetVersion]
	Packages() Writes[Package]
	// PackageVersions: Insert gives the version its number and counts it in the
	// package. The scope's Parent is the package.
	PackageVersions() Archives[PackageVersion]
	Installs() Writes[Install]
	InstalledEntities() Writes[InstalledEntity]
	CatalogTasks() Writes[CatalogTask]
	PolicySchemas() Writes[PolicySchema]
	PolicyDrafts() Writes[PolicyDraft]
	PolicySetDrafts() Writes[PolicySetDraft]

	// Activate binds a set version as the active one of its set's target, in
	// place of whatever was, and returns the id of that (empty when none). What
	// is bound at the zone decides there.
	Activate(ctx context.Context, zone ZoneID, set, version ID) (previous ID, err error)
	// Shadow binds a set version as the zone's shadow, in place of whatever was,
	// and returns the id of that (empty when none).
	Shadow(ctx context.Context, zone ZoneID, set, version ID) (previous ID, err error)
	// Unshadow unbinds the shadow of a set, if it has one, and returns its id.
	Unshadow(ctx context.Context, zone ZoneID, set ID) (previous ID, err error)
	// Reattest replaces the attestation of a set version, the one thing of it
	// that is ever made again.
	Reattest(ctx context.Context, v *PolicySetVersion) error
	PutConsent(ctx context.Context, c *ConsentRecord) error
	// WithdrawConsents removes what a person agreed to for a client, and keeps
	// that they have taken it back: Withdrawn says so until Reconcile. Where they
	// agreed to nothing it does nothing.
	WithdrawConsents(ctx context.Context, zone ZoneID, user UserID, client ID) error
	// Reconcile forgets that a person has taken back what they agreed to for a
	// client, because they have agreed to something anew.
	Reconcile(ctx context.Context, zone ZoneID, user UserID, client ID) error
	// Touch notes that a credential was used: its application session is written
	// once for all touches of one transaction.
	Touch(s *Session)
	// KeepEntity keeps an entity, or notes the use of one that is kept: it is
	// written once for all of one transaction.
	KeepEntity(zone ZoneID, e PolicyEntity)
	// TouchServiceCredential notes the last use of a management credential.
	TouchServiceCredential(organization OrganizationID, id ID, at time.Time)

	Ticket(ctx context.Context, kind TicketKind, zone ZoneID, key SecretHash) (*Ticket, error)
	// PutTicket adds a ticket, in place of one with the same key.
	PutTicket(ctx context.Context, t *Ticket) error
	// TakeTicket removes a ticket that is not over and returns it. Of those who
	// take the same one, on any node, one succeeds; for the others it is NotFound.
	TakeTicket(ctx context.Context, kind TicketKind, zone ZoneID, key SecretHash) (*Ticket, error)
	// SpendTicket adds a ticket where there is none with its key, or one that is
	// over. Of those who spend the same one, on any node, one succeeds; for the
	// others it is a Conflict.
	SpendTicket(ctx context.Context, t *Ticket) error
	// Once reports whether this is the first transaction ever to name the key, on
	// any node; a later one that asks at the same time waits for this one's end.
	Once(ctx context.Context, key string) (first bool, err error)
	// InsertDataKey is Unavailable when a root key wraps it that is not in force
	// any more: it has to be made again.
	InsertDataKey(ctx context.Context, k DataKey) error
	// RewrapDataKey stores how a key is wrapped now, unless that has changed since
	// it was read as was, which is a Conflict, or it is gone, which is NotFound.
	RewrapDataKey(ctx context.Context, was, now DataKey) error
	InsertSigningKey(ctx context.Context, k SigningKey) error
	UpdateSigningKey(ctx context.Context, k SigningKey) error
	// DeleteSigningKey removes a key for good, or gives NotFound.
	DeleteSigningKey(ctx context.Context, owner ID, id string) error
	Enqueue(ctx context.Context, t Task) error
}

// Account is what a management caller rests on.
type Account struct {
	Organization *Organization
	Account      *ServiceAccount
	Credential   *ServiceAccountCredential
}

// ChangeKind is what kind of thing a zone change touched.
type ChangeKind string

// The kinds of zone changes. Credentials and dependencies are part of their
// application.
const (
	ChangedZone         ChangeKind = "zone"
	ChangedApplication  ChangeKind = "application"
	ChangedApplications ChangeKind = "applications" // too many to name
	ChangedResource     ChangeKind = "resource"
	ChangedProvider     ChangeKind = "provider"
	ChangedPolicies     ChangeKind = "policies" // what the active set version names
	ChangedKeys         ChangeKind = "keys"
	ChangedToken        ChangeKind = "token" // revoked; the id is its ticket's key, in hexadecimal
)

// ZoneDelta is what changed in a zone: enough to bring a snapshot from one
// revision to another.
type ZoneDelta struct {
	Revision int64
	// Full says that the delta holds everything and the old state is void.
	Full         bool
	Zone         *Zone
	Resources    map[ResourceID]*Resource // changed; nil value: gone
	Providers    map[ProviderID]*Provider // changed; nil value: gone
	Applications []ApplicationID          // changed: forget what is cached of them
	// AllApplications: forget what is cached of every application.
	AllApplications bool
	Keys            []SigningKey // nil: unchanged
	// Policies decide, and Shadow is asked as well; nil: unchanged.
	Policies, Shadow *BoundPolicy
	Revoked          *RevokedTokens // nil: unchanged
}

// RevokedTokens are a zone's access tokens that were revoked before their time.
type RevokedTokens struct {
	Keys map[string]bool // of their tickets
	// TooMany says that there are more than a list is good for, so Keys is empty:
	// the tickets have to be looked up.
	TooMany bool
}

// BoundPolicy is a set version with what it pins, such as the one that decides
// for a zone or its shadow.
type BoundPolicy struct {
	Set      *PolicySet // nil: none is bound
	Version  *PolicySetVersion
	Policies []BoundPolicyEntry // in manifest order
}

// BoundPolicyEntry is one policy of a bound set version.
type BoundPolicyEntry struct {
	Name    string
	Version *PolicyVersion
}

// Client is the application behind an OAuth client_id.
type Client struct {
	// Revision is the zone's at the time of the read.
	Revision     int64
	Credential   *Credential
	Application  *Application
	Dependencies []Dependency // in order of creation
	Roles        []HeldRole   // of the application, in the order of their ids
}

// Basis is the state of a zone that a decision relied on.
type Basis struct {
	Zone     ZoneID
	Revision int64
	// Relies reports whether the decision could be another after a change of the
	// kind, of what has the id; nil means after any. It is asked about what
	// changed since Revision while other writes wait, and may be asked again.
	Relies func(kind ChangeKind, id string) bool
	// Again are rows that apply reads again. The store reads them for all who
	// share a transaction at once; what is not listed is read as well, alone.
	Again Rows
}

// Rows names rows of a zone that no revision of it covers, and has those that
// count their changes as the decision saw them. What is empty names none.
type Rows struct {
	Sessions []*Session
	User     *User
	Client   ID         // with User and Resource: the consent, and whether it was withdrawn
	Resource ResourceID // with User: the grant
	Grant    *Grant     // nil: the decision saw none
	Entity   ID         // whose secret
}

// LogState is what a log is at a moment: the tree of RFC 6962 §2.1 over the leaf
// hashes of its events, and hashes that prove something about it.
type LogState struct {
	Size  int64
	Root  [32]byte
	Proof [][32]byte
}

// LogQuery selects a stretch of a log.
type LogQuery struct {
	Organization OrganizationID
	Zone         ZoneID    // not empty: events of others are not shown
	Since        time.Time // events before are not shown
	From         int64     // the first sequence number; they begin at 1
	Limit        int
}

// LogEntry is an event of a log, or where it is and its hash alone.
type LogEntry struct {
	Seq    int64
	Leaf   [32]byte
	Record []byte // as Record.Bytes; nil: it is not shown
}

// EventQuery selects a page of a log, newest first unless Ascending.
type EventQuery struct {
	Organization OrganizationID
	Zone         ZoneID // empty: the whole organization
	JTI          []EventID
	Named        map[Term][]string // events with one of the values of each term; no values: any
	Since, Until time.Time         // zero: open
	Ascending    bool
	Evaluated    *EvaluationFilter // not nil: only decisions of policy
	// Horizon hides what is older. It moves with the clock, so a cursor is not
	// bound to it as it is to Since.
	Horizon       time.Time
	After, Before string
	Limit         int
	Count         bool
}

// Task is background work that some node will do. Kind names the worker.
type Task struct {
	ID      ID
	Kind    string
	ZoneID  ZoneID
	Data    []byte // JSON for the worker
	RunAt   time.Time
	Attempt int // counts the claims
}

// TaskAttest signs what the zone attests again, with its active key.
const TaskAttest = "attestations:sign"

// TaskRevokeGrant revokes the tokens of a grant at their provider.
const TaskRevokeGrant = "grants:revoke"

// GrantRevocation is what TaskRevokeGrant needs: the grant is over, or gone.
type GrantRevocation struct {
	OrganizationID OrganizationID `json:"organization_id"`
	GrantID        ID             `json:"grant_id"`
	UserID         UserID         `json:"user_id"`
	ProviderID     ProviderID     `json:"provider_id"`
	Sealed         []byte         `json:"sealed"`
}

// TaskPurgeZone removes the rows of a deleted zone.
const TaskPurgeZone = "zones:purge"
