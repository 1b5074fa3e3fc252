package deputy

import "time"

// GlobalCatalog is the catalog of the packages that come with the program. A
// zone's catalog has the zone's id, an organization's the organization's.
const GlobalCatalog = ID("global")

// Package is a named recipe in a catalog, of immutable versions and a draft.
type Package struct {
	ID             ID
	CatalogID      ID
	OrganizationID OrganizationID // empty: it comes with the program
	Slug           string         // unique in its catalog
	Kind           string
	Name           string // the current version's, before there is one the draft's
	Published      bool
	LatestVersion  int // how many were ever released
	// CurrentVersionID is the highest version that is not archived; empty when
	// there is none.
	CurrentVersionID ID
	// Draft is the manifest of the next release, as JSON; nil when there is none.
	Draft                []byte
	DraftID              ID
	DraftSHA             string
	DraftUpdatedAt       *time.Time
	CreatedAt, UpdatedAt time.Time
	ArchivedAt           *time.Time
	Revision             int64
}

// PackageVersion is one release of a package. It never changes; it can only be
// archived.
type PackageVersion struct {
	ID          ID
	CatalogID   ID
	PackageID   ID
	Owner       Owner
	Version     int    // 1, 2, 3… without a gap in one package
	Manifest    []byte // as JSON
	ManifestSHA string
	CreatedBy   string // empty: it comes with the program
	CreatedAt   time.Time
	ArchivedAt  *time.Time
	ArchivedBy  string
}

// InstallStatus is the state of an install.
type InstallStatus string

// The states of an install. Deleted ones stay as tombstones.
const (
	InstallPending  InstallStatus = "pending"
	InstallActive   InstallStatus = "active"
	InstallFailed   InstallStatus = "failed"
	InstallDeleting InstallStatus = "deleting"
	InstallDeleted  InstallStatus = "deleted"
)

// Install is one application of a package version to a zone.
type Install struct {
	ID             ID
	OrganizationID OrganizationID
	ZoneID         ZoneID
	PackageID      ID
	PackageSlug    string
	CatalogID      ID // of the package
	Version        int
	Status         InstallStatus
	Inputs         []byte // as JSON, without secrets
	// SealedInputs are the write-only inputs, under the zone's key. They are
	// erased once the entities that they are for have them.
	SealedInputs         []byte
	Outputs              []byte // as JSON; nil before it is active
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// EntityRelation says how an install came by an entity.
type EntityRelation string

// The relations. Only what was created, and nobody shares any more, is deleted
// with an install.
const (
	EntityCreated EntityRelation = "created"
	EntityAdopted EntityRelation = "adopted" // it was there before
	EntityShared  EntityRelation = "shared"  // another install created it
)

// InstalledEntity is an entry of an install's journal: one entity of its graph
// that exists. It is written in the transaction that makes the entity.
type InstalledEntity struct {
	ZoneID    ZoneID
	InstallID ID
	Name      string // its name in the graph
	Position  int    // in the order in which they were made
	Type      string
	EntityID  ID
	Path      string // of the entity in the management API
	Relation  EntityRelation
	CreatedAt time.Time
}

// CatalogOperation is what a catalog task does.
type CatalogOperation string

// The operations.
const (
	CreateInstall CatalogOperation = "create"
	DeleteInstall CatalogOperation = "delete"
)

// CatalogTaskStatus is the state of a catalog task.
type CatalogTaskStatus string

// The states. Completed and failed are final.
const (
	CatalogTaskPending   CatalogTaskStatus = "pending"
	CatalogTaskRunning   CatalogTaskStatus = "running"
	CatalogTaskCompleted CatalogTaskStatus = "completed"
	CatalogTaskFailed    CatalogTaskStatus = "failed"
)

// CatalogTask is the job that creates or deletes an install.
type CatalogTask struct {
	ID                   ID
	OrganizationID       OrganizationID
	ZoneID               ZoneID
	InstallID            ID
	Operation            CatalogOperation
	Status               CatalogTaskStatus
	Error                string // one sentence for people; empty unless it failed
	Warnings             []byte // as JSON
	Run                  ID     // of the node that does it; another one makes what the last does stale
	Actor                *Actor // who asked for it
	RequestID            string // of the call that did
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// TaskCatalog does a catalog task; its data is the task's id.
const TaskCatalog = "catalog:run"
