package api

import (
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

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
	// Pool has the RSA keys of new zones.
	Pool *keys.Pool
	// Sealing opens what events know of people.
	Sealing deputy.Sealing
	// ClientIP returns the address that events name; the peer's unless set.
	ClientIP func(*http.Request) string
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
	pool      *keys.Pool
	sealing   deputy.Sealing
	clientIP  func(*http.Request) string
	limit     func(principal string) time.Duration
	now       func() time.Time
	log       *slog.Logger

	lanes [64]sync.Mutex

	mux        *http.ServeMux
	huma       huma.API
	operations []operation
}

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
		store: c.Store, addresses: c.Addresses, verify: c.Authenticate, issue: c.IssueBearer, vault: c.Vault, pool: c.Pool, sealing: c.Sealing,
		clientIP: c.ClientIP, now: c.Now, log: c.Log, mux: http.NewServeMux(),
	}
	if a.limit = c.Limit; a.limit == nil {
		a.limit = func(string) time.Duration { return 0 }
	}
	if a.clientIP == nil {
		a.clientIP = peerAddress
	}
	if a.log == nil {
		a.log = slog.Default()
	}
	config := huma.Config{
		OpenAPI:       description(c.Version, c.Addresses.PublicURL()),
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
	return a, nil
}
