package api

import (
	"cmp"
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/maypok86/otter/v2"

	"deputy/internal/catalog"
	"deputy/internal/deputy"
	"deputy/internal/keys"
	"deputy/internal/vault"
)

// Config is what the management API works with.
type Config struct {
	Store     deputy.Store
	Addresses deputy.Addresses
	// Authenticate returns who holds a bearer token, or an Unauthenticated
	// error when the token is not one of ours, has expired, or is of somebody who
	// is no longer in force. It is TooMany for an address that keeps failing.
	Authenticate func(ctx context.Context, bearer, address string) (*deputy.Caller, error)
	// IssueBearer gives a person a bearer for one of their organizations.
	IssueBearer func(context.Context, deputy.BearerRequest) (*deputy.Bearer, error)
	Vault       *vault.Vault
	// CustomerKeys says that the vault reaches the keys of customers, so that
	// zones may have one.
	CustomerKeys bool
	// Pool has the RSA keys of new zones.
	Pool *keys.Pool
	// Sealing opens what events know of people.
	Sealing deputy.Sealing
	// ClientIP returns the address that events name; the peer's unless set.
	ClientIP func(*http.Request) string
	// EvaluationRetention is how long decisions of policy are shown and can be
	// made again; 30 days unless set.
	EvaluationRetention time.Duration
	// Catalog has the kinds of packages; the built-in one unless set.
	Catalog func() *catalog.Catalog
	// Wake tells that there is background work to do at once; nil: it is found.
	Wake func()
	// Limit returns how long a principal must wait before another call; 0: not
	// at all. Nil is no limit.
	Limit func(principal string) time.Duration
	// Version is the program's, for the document.
	Version string
	Now     func() time.Time
	Log     *slog.Logger
}

// API is the management API: an http.Handler for every path of its own,
// /openapi.json and /docs.
type API struct {
	store     deputy.Store
	addresses deputy.Addresses
	verify    func(ctx context.Context, bearer, address string) (*deputy.Caller, error)
	issue     func(context.Context, deputy.BearerRequest) (*deputy.Bearer, error)
	vault     *vault.Vault
	customers bool // have keys of their own
	pool      *keys.Pool
	sealing   deputy.Sealing
	clientIP  func(*http.Request) string
	retention time.Duration
	limit     func(principal string) time.Duration
	now       func() time.Time
	log       *slog.Logger

	catalog  func() *catalog.Catalog
	releases *otter.Cache[[32]byte, *catalog.Release]
	wake     func()

	lanes [64]sync.Mutex
	// replaying has room for the one replay that runs.
	replaying chan struct{}

	// prepare fills in what follows, once.
	prepare    func()
	mux        *http.ServeMux
	huma       huma.API
	operations []operation
}

// maxReleases is how many packages are kept ready for use.
const maxReleases = 200

// lane is what those hold who make versions of one set, in this process.
func (a *API) lane(set deputy.ID) *sync.Mutex {
	h := fnv.New32a()
	h.Write([]byte(set))
	return &a.lanes[h.Sum32()%uint32(len(a.lanes))]
}

// New returns the management API.
func New(c Config) (*API, error) {
	if c.Store == nil || c.Authenticate == nil || c.IssueBearer == nil || c.Vault == nil || c.Pool == nil || c.Sealing == nil || c.Now == nil {
		return nil, errors.New("api: the configuration is incomplete")
	}
	a := &API{
		store: c.Store, addresses: c.Addresses, verify: c.Authenticate, issue: c.IssueBearer, vault: c.Vault, customers: c.CustomerKeys, pool: c.Pool, sealing: c.Sealing,
		clientIP: c.ClientIP, retention: cmp.Or(c.EvaluationRetention, defaultRetention), now: c.Now, log: c.Log,
		mux: http.NewServeMux(), replaying: make(chan struct{}, 1),
	}
	if a.catalog = c.Catalog; a.catalog == nil {
		a.catalog = catalog.Builtin
	}
	if a.wake = c.Wake; a.wake == nil {
		a.wake = func() {}
	}
	a.releases = otter.Must(&otter.Options[[32]byte, *catalog.Release]{MaximumSize: maxReleases, Executor: func(f func()) { f() }})
	if a.limit = c.Limit; a.limit == nil {
		a.limit = func(string) time.Duration { return 0 }
	}
	if a.clientIP == nil {
		a.clientIP = peerAddress
	}
	if a.log == nil {
		a.log = slog.Default()
	}
	a.prepare = sync.OnceFunc(func() { a.build(c.Version) })
	return a, nil
}

// Prepare registers and describes every operation, which takes some tens of
// milliseconds. The first call does it if nobody did before.
func (a *API) Prepare() { a.prepare() }

func (a *API) build(version string) {
	config := huma.Config{
		OpenAPI:       description(version, a.addresses.PublicURL()),
		Formats:       map[string]huma.Format{"application/json": format},
		DefaultFormat: "application/json",
	}
	config.AllowAdditionalPropertiesByDefault = true // unknown members are ignored
	a.huma = humago.New(a.mux, config)
	a.huma.UseMiddleware(a.authenticate, a.readBody)
	a.routes()
	for _, s := range a.huma.OpenAPI().Components.Schemas.Map() {
		nullableEnums(s)
	}
	a.publish()
}
