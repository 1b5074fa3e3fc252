package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"deputy/internal/deputy"
)

// Manage makes one management call: it sends in as JSON, unless it is nil, and
// reads the answer into out, unless that is nil. It is called concurrently.
type Manage func(ctx context.Context, method, path string, in, out any) error

// Size says how large the zone of a measurement is. The zero value of a field
// means the default: 1,000 resources, 10,000 applications, 100 policies of
// which five apply to any request, RS256 when Algorithm is empty.
type Size struct {
	Resources    int
	Applications int
	Policies     int
	Algorithm    string // signs the zone's access tokens: RS256 or ES256
}

// MaxClients is how many applications of a zone have a credential and take
// part in the load, picked uniformly. Further ones are there to be many.
const MaxClients = 10_000

// Zone is a prepared zone with everything that a token load needs.
type Zone struct {
	ID, Issuer string
	Clients    []Client
	// Broker may exchange the tokens of all clients: it owns the resource that
	// they are addressed to. Its exchanges are for Target.
	Broker         Client
	Source, Target string // resource identifiers
	Vaulted        string // of one whose credential is a secret in the vault
}

// Client is an application's credential.
type Client struct{ ID, Secret string }

type object = map[string]any

// What the management API answers with, as far as it is of interest here.
type (
	ref struct {
		ID string `json:"id"`
	}
	list[T any] struct {
		Items []T `json:"items"`
	}
	credential struct {
		Identifier string `json:"identifier"`
		Password   string `json:"password"`
	}
	made struct {
		ID        string `json:"id"`
		Protocols struct {
			OAuth2 struct {
				Issuer string `json:"issuer"`
			} `json:"oauth2"`
		} `json:"protocols"`
	}
	activeSet struct {
		ID              string `json:"id"`
		ActiveVersionID string `json:"active_version_id"`
	}
	setVersion struct {
		SchemaVersion string `json:"schema_version"`
		Manifest      struct {
			Entries []object `json:"entries"`
		} `json:"manifest"`
	}
)

// Prepare makes a realistic zone through the management API: every application
// depends on two resources and a third one in the vault, and of the policies all but the managed ones and
// two more are pinned to other resources than the one under load.
func Prepare(ctx context.Context, manage Manage, size Size) (*Zone, error) {
	b := builder{manage: manage, size: size}
	if b.size.Resources == 0 {
		b.size.Resources = 1000
	}
	if b.size.Applications == 0 {
		b.size.Applications = MaxClients
	}
	if b.size.Policies == 0 {
		b.size.Policies = 100
	}
	if b.size.Algorithm == "" {
		b.size.Algorithm = "RS256"
	}
	for _, step := range []func(context.Context) error{b.makeZone, b.makeResources, b.makeBroker, b.makeApplications, b.makePolicies} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("preparing a zone: %w", err)
		}
	}
	return &b.zone, nil
}

type builder struct {
	manage    Manage
	size      Size
	zone      Zone
	sts       string   // the zone's own provider
	vaulted   string   // the resource with a secret
	resources []string // ids; the first two are under load
}

func (b *builder) makeZone(ctx context.Context) error {
	var zone made
	err := b.manage(ctx, "POST", "/zones", object{"name": "Benchmark", "protocols": object{"oauth2": object{"signing_alg": b.size.Algorithm}}}, &zone)
	if err != nil {
		return err
	}
	b.zone.ID, b.zone.Issuer = zone.ID, zone.Protocols.OAuth2.Issuer
	var providers list[ref]
	if err := b.manage(ctx, "GET", b.path("/providers?type=keycard-sts"), nil, &providers); err != nil {
		return err
	}
	if len(providers.Items) != 1 {
		return deputy.Errorf(deputy.Unavailable, "the zone has %d token providers", len(providers.Items))
	}
	b.sts = providers.Items[0].ID
	return nil
}

func (b *builder) path(format string, args ...any) string {
	return "/zones/" + b.zone.ID + fmt.Sprintf(format, args...)
}

// create makes an entity and returns its id.
func (b *builder) create(ctx context.Context, path string, in object) (string, error) {
	var made ref
	err := b.manage(ctx, "POST", b.path("%s", path), in, &made)
	return made.ID, err
}

func (b *builder) makeResources(ctx context.Context) error {
	b.resources = make([]string, b.size.Resources)
	identifier := func(i int) string { return fmt.Sprintf("https://api-%d.example.com/v1", i) }
	b.zone.Source, b.zone.Target = identifier(0), identifier(1)
	return each(ctx, b.size.Resources, func(i int) (err error) {
		b.resources[i], err = b.create(ctx, "/resources", object{
			"name": fmt.Sprintf("API %d", i), "identifier": identifier(i),
			"credential_provider_id": b.sts, "scopes": []string{"documents:read", "documents:write"},
		})
		return err
	})
}

func (b *builder) makeBroker(ctx context.Context) error {
	if err := b.makeVaulted(ctx); err != nil {
		return err
	}
	id, err := b.create(ctx, "/applications", object{"name": "Broker", "identifier": "broker", "dependencies": []object{{"id": b.resources[1]}}})
	if err != nil {
		return err
	}
	if err := b.manage(ctx, "PATCH", b.path("/resources/%s", b.resources[0]), object{"application_id": id}, nil); err != nil {
		return err
	}
	b.zone.Broker, err = b.credential(ctx, id)
	return err
}

// makeVaulted makes a resource and its secret.
func (b *builder) makeVaulted(ctx context.Context) error {
	var providers list[ref]
	if err := b.manage(ctx, "GET", b.path("/providers?type=keycard-vault"), nil, &providers); err != nil {
		return err
	}
	if len(providers.Items) != 1 {
		return deputy.Errorf(deputy.Unavailable, "the zone has %d vaults", len(providers.Items))
	}
	b.zone.Vaulted = "https://vaulted.example.com/v1"
	var err error
	if b.vaulted, err = b.create(ctx, "/resources", object{
		"name": "Vaulted", "identifier": b.zone.Vaulted, "credential_provider_id": providers.Items[0].ID, "scopes": []string{"documents:read", "documents:write"},
	}); err != nil {
		return err
	}
	_, err = b.create(ctx, "/secrets", object{"name": "Key", "entity_id": b.vaulted, "data": object{"type": "token", "token": "a-key-of-somebody-elses-0123456789"}})
	return err
}

func (b *builder) credential(ctx context.Context, application string) (Client, error) {
	var made credential
	err := b.manage(ctx, "POST", b.path("/application-credentials"), object{"application_id": application, "type": "password"}, &made)
	return Client{made.Identifier, made.Password}, err
}

// makeApplications spreads those that take part in the load evenly over all.
func (b *builder) makeApplications(ctx context.Context) error {
	clients := min(b.size.Applications, MaxClients)
	b.zone.Clients = make([]Client, clients)
	stride := b.size.Applications / clients
	return each(ctx, b.size.Applications, func(i int) error {
		id, err := b.create(ctx, "/applications", object{
			"name": fmt.Sprintf("Agent %d", i), "identifier": fmt.Sprintf("agent-%d", i),
			"dependencies": []object{{"id": b.resources[0]}, {"id": b.resources[1]}, {"id": b.vaulted}},
		})
		if err != nil || i%stride != 0 || i/stride >= clients {
			return err
		}
		b.zone.Clients[i/stride], err = b.credential(ctx, id)
		return err
	})
}

// makePolicies activates a set of the managed policies, two that are open and
// match no application here, and the rest pinned to further resources.
func (b *builder) makePolicies(ctx context.Context) error {
	var sets list[activeSet]
	if err := b.manage(ctx, "GET", b.path("/policy-sets?filter[active]=true"), nil, &sets); err != nil {
		return err
	}
	if len(sets.Items) != 1 {
		return deputy.Errorf(deputy.Unavailable, "the zone has %d active policy sets", len(sets.Items))
	}
	var managed setVersion
	if err := b.manage(ctx, "GET", b.path("/policy-sets/%s/versions/%s", sets.Items[0].ID, sets.Items[0].ActiveVersionID), nil, &managed); err != nil {
		return err
	}
	entries := make([]object, max(b.size.Policies, len(managed.Manifest.Entries)))
	shipped := copy(entries, managed.Manifest.Entries)
	err := each(ctx, len(entries)-shipped, func(i int) error {
		text := fmt.Sprintf(`@id("open-%d") forbid (principal is Keycard::Application, action, resource) when { principal.identifier == "nobody-%d" };`, i, i)
		if i >= 2 {
			text = fmt.Sprintf(`@id("pinned-%d") forbid (principal, action, resource == Keycard::Resource::%q) when { context.impersonate };`, i, b.resources[2+i%max(len(b.resources)-2, 1)])
		}
		policy, err := b.create(ctx, "/policies", object{"name": fmt.Sprintf("policy-%d", i)})
		if err != nil {
			return err
		}
		version, err := b.create(ctx, "/policies/"+policy+"/versions", object{"schema_version": managed.SchemaVersion, "cedar_raw": text})
		entries[shipped+i] = object{"policy_id": policy, "policy_version_id": version}
		return err
	})
	if err != nil {
		return err
	}
	set, err := b.create(ctx, "/policy-sets", object{"name": "benchmark"})
	if err != nil {
		return err
	}
	version, err := b.create(ctx, "/policy-sets/"+set+"/versions", object{"schema_version": managed.SchemaVersion, "manifest": object{"entries": entries}})
	if err != nil {
		return err
	}
	return b.manage(ctx, "PATCH", b.path("/policy-sets/%s/versions/%s", set, version), object{"active": true}, nil)
}

// each calls do for 0 to n-1 from 32 goroutines and returns the first error,
// after which no further call is begun.
func each(ctx context.Context, n int, do func(i int) error) error {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var workers sync.WaitGroup
	for range min(n, 32) {
		workers.Go(func() {
			for failed.Load() == nil && ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(i); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	workers.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return ctx.Err()
}

// TokenURL returns the zone's token endpoint at base, the address under load,
// which may differ from the issuer's.
func (z *Zone) TokenURL(base string) string { return base + "/z/" + z.ID + "/oauth/2/token" }

// ClientCredentials returns a load's bodies: each request asks as a client
// picked uniformly.
func (z *Zone) ClientCredentials() func(worker int, seq uint64) []byte {
	bodies := make([][]byte, len(z.Clients))
	for i, c := range z.Clients {
		bodies[i] = []byte(url.Values{
			"grant_type": {"client_credentials"}, "client_id": {c.ID}, "client_secret": {c.Secret},
			"resource": {z.Source}, "scope": {"documents:read"},
		}.Encode())
	}
	return func(worker int, seq uint64) []byte { return bodies[Pick(worker, seq, len(bodies))] }
}

// Exchange returns a load's bodies: each request exchanges the next of the
// subject tokens, in turn, for the target. With more tokens than requests each
// is seen once.
func (z *Zone) Exchange(subjects []string, target string) func(worker int, seq uint64) []byte {
	fixed := url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "client_id": {z.Broker.ID}, "client_secret": {z.Broker.Secret},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"}, "resource": {target}, "scope": {"documents:read"},
	}.Encode() + "&subject_token="
	bodies := make([][]byte, len(subjects))
	for i, s := range subjects {
		bodies[i] = []byte(fixed + s)
	}
	return func(_ int, seq uint64) []byte { return bodies[seq%uint64(len(bodies))] }
}

// Subjects gets n tokens of clients, for the broker to exchange.
func (z *Zone) Subjects(ctx context.Context, load Load, n int) ([]string, error) {
	out := make([]string, n)
	bodies := z.ClientCredentials()
	err := each(ctx, n, func(i int) error {
		one := load
		one.URL, one.Body = z.TokenURL(load.URL), func(int, uint64) []byte { return bodies(0, uint64(i)) }
		status, body, err := Once(ctx, one)
		if err != nil {
			return err
		}
		var answer struct {
			AccessToken string `json:"access_token"`
		}
		if err := json.Unmarshal(body, &answer); err != nil || status != 200 {
			return deputy.Errorf(deputy.Unavailable, "no subject token: %d %s", status, strings.TrimSpace(string(body)))
		}
		out[i] = answer.AccessToken
		return nil
	})
	return out, err
}
