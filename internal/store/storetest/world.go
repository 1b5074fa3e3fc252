// Package storetest is the one suite that every store passes, whole: each
// sentence of deputy.Store and the interfaces below it has a case here. There is
// no switch for an engine; a case that one of them cannot pass is a promise that
// deputy must not make.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"deputy/internal/deputy"

	"github.com/google/go-cmp/cmp"
)

// Store is what the suite tests: a deputy.Store with its work behind the log
// and its notes about the database.
type Store interface {
	deputy.Store
	IndexEvents(ctx context.Context, limit int) (more bool, err error)
	GrowTree(ctx context.Context, limit int) (more bool, err error)
	LeaseSink(ctx context.Context, sink string, lease time.Duration) (fence int64, err error)
	AdvanceSink(ctx context.Context, sink string, fence int64, lease time.Duration, organization deputy.OrganizationID, delivered int64) error
	ReleaseSink(ctx context.Context, sink string, fence int64) error
	SinkHeads(ctx context.Context, sink string, limit int) ([]deputy.SinkHead, error)
	SinkLag(ctx context.Context, sink string) (events int64, since time.Time, err error)
	Meta(ctx context.Context, name string) (string, error)
	Remember(ctx context.Context, name, value string) (string, error)
	ReplaceRootKey(ctx context.Context, former, next string) error
	RetireRootKey(ctx context.Context, event *deputy.Event, former string) error
	DataKeysUnder(ctx context.Context, root string, limit int) ([]deputy.DataKey, error)
	Rewrap(ctx context.Context, was, now []deputy.DataKey) error
}

// Settings are what a store under test is opened with.
type Settings struct {
	Now     func() time.Time
	Sealing deputy.Sealing
}

// Fresh makes an empty database and returns how to open it: each call is
// another node. Nodes and database are gone when the test ends.
type Fresh func(t testing.TB, s Settings) (node func() Store)

// Run runs the suite.
func Run(t *testing.T, fresh Fresh) {
	for _, group := range []map[string]func(*world){collections, texts, deletions, organizations, people, grants, signIns, lists, commits, tickets, zones, log, trees, background, nodes, catalogs, workloads, rootKeys} {
		for name, test := range group {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, fresh)
				defer func() {
					switch p := recover().(type) {
					case nil:
					case surprise:
						t.Fatalf("%s: %v", p.where, p.error)
					default:
						panic(p)
					}
				}()
				test(w)
			})
		}
	}
}

// world is a fresh store with an organization and a zone in it.
type world struct {
	*testing.T
	Store
	ctx   context.Context
	clock *clock
	node  func() Store
	org   *deputy.Organization
	zone  *deputy.Zone
	in    deputy.Scope
}

func newWorld(t *testing.T, fresh Fresh) *world {
	w := &world{T: t, ctx: t.Context(), clock: &clock{}}
	w.clock.now.Store(time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC).UnixMicro())
	w.node = fresh(t, Settings{Now: w.clock.Now, Sealing: reversal{}})
	w.Store = w.node()
	w.org = w.organization("Acme")
	w.must(w.write(func(t deputy.Tx) error { return t.Organizations().Insert(w.ctx, w.org) }))
	w.zone = w.newZone("Production")
	w.in = deputy.Scope{Organization: w.org.ID, Zone: w.zone.ID}
	w.must(w.write(func(t deputy.Tx) error { return t.Zones().Insert(w.ctx, w.zone) }))
	return w
}

// clock moves when the world makes something, so that no two things have the
// same time.
type clock struct{ now atomic.Int64 }

func (c *clock) Now() time.Time                 { return time.UnixMicro(c.now.Load()).UTC() }
func (c *clock) advance(by time.Duration)       { c.now.Add(by.Microseconds()) }
func (w *world) tick() time.Time                { w.clock.advance(1001 * time.Microsecond); return w.clock.Now() }
func (w *world) newID() deputy.ID               { return deputy.NewID(w.tick()) }
func fresh[T ~string](w *world) T               { return T(w.newID()) }
func ref[T any](v T) *T                         { return &v }
func (w *world) owned() deputy.Scope            { return deputy.Scope{Organization: w.org.ID} }
func (w *world) below(p deputy.ID) deputy.Scope { in := w.in; in.Parent = p; return in }

// reversal stands in for the vault: it hides bytes by turning them around.
type reversal struct{}

func (reversal) SealPersonal(_ context.Context, _ deputy.ID, _ deputy.EventID, p []byte) ([]byte, error) {
	return turn(p), nil
}

func (reversal) OpenPersonal(_ context.Context, _ deputy.EventID, p []byte) ([]byte, error) {
	return turn(p), nil
}

func turn(p []byte) []byte {
	out := bytes.Clone(p)
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// surprise is an error that ends a case.
type surprise struct {
	error
	where string
}

// sure returns v, or ends the case with the error.
func sure[T any](v T, err error) T {
	if err != nil {
		_, file, line, _ := runtime.Caller(1)
		panic(surprise{err, fmt.Sprintf("%s:%d", filepath.Base(file), line)})
	}
	return v
}

// is fails unless err is of the kind.
func (w *world) is(err error, kind deputy.Kind) {
	w.Helper()
	if !errors.Is(err, kind) {
		w.Errorf("error %v, want %q", err, kind)
	}
}

// blames fails unless err is of the kind and names the field.
func (w *world) blames(err error, kind deputy.Kind, field string) {
	w.Helper()
	var e *deputy.Error
	if !errors.As(err, &e) || e.Kind != kind || e.Field != field {
		w.Errorf("error %#v, want %q of field %q", err, kind, field)
	}
}

func (w *world) same(want, got any) {
	w.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		w.Error("(-want +got)\n" + diff)
	}
}

// event returns an event of the zone.
func (w *world) event() *deputy.Event {
	e := &deputy.Event{
		ID: fresh[deputy.EventID](w), Time: deputy.Time(w.clock.Now()), Type: "things:change", Outcome: deputy.Success,
		OrganizationID: w.org.ID, RequestID: string(w.newID()), Actor: deputy.Actor{Type: "platform"},
	}
	if w.zone != nil {
		e.ZoneID = w.zone.ID
	}
	return e
}

// write changes something.
func (w *world) write(apply func(deputy.Tx) error) error { return w.Write(w.ctx, w.event(), apply) }

// insert adds entities, of which each call adds one.
func (w *world) insert(inserts ...func(deputy.Tx) error) {
	w.Helper()
	w.must(w.write(func(t deputy.Tx) error {
		for _, insert := range inserts {
			if err := insert(t); err != nil {
				return err
			}
		}
		return nil
	}))
}

func (w *world) organization(name string) *deputy.Organization {
	now := w.tick()
	return &deputy.Organization{
		ID: fresh[deputy.OrganizationID](w), Name: name, Label: deputy.Slug(name, "org"), KeyID: "key",
		CreatedAt: now, UpdatedAt: now,
	}
}

func (w *world) newZone(name string) *deputy.Zone {
	now := w.tick()
	return &deputy.Zone{
		ID: fresh[deputy.ZoneID](w), OrganizationID: w.org.ID, Owner: deputy.Customer, Slug: deputy.Slug(name, "zone"), Name: name,
		RequiresInvitation: true, LoginFlow: "default", PKCERequired: true, DCREnabled: true, SigningAlg: "RS256",
		IssuerForm: deputy.PathIssuer, KeyID: "key", CreatedAt: now, UpdatedAt: now,
	}
}

func (w *world) application(identifier string) *deputy.Application {
	now := w.tick()
	return &deputy.Application{
		ID: fresh[deputy.ApplicationID](w), OrganizationID: w.org.ID, ZoneID: w.zone.ID, Owner: deputy.Customer,
		Slug: string(w.newID()), Identifier: identifier, Name: strings.ToUpper(identifier), Consent: deputy.RequiredConsent,
		CreatedAt: now, UpdatedAt: now,
	}
}

func (w *world) credential(app deputy.ApplicationID, kind deputy.CredentialType, identifier string) *deputy.Credential {
	now := w.tick()
	return &deputy.Credential{
		ID: fresh[deputy.CredentialID](w), OrganizationID: w.org.ID, ZoneID: w.zone.ID, ApplicationID: app,
		Slug: string(w.newID()), Type: kind, Identifier: identifier, CreatedAt: now, UpdatedAt: now,
	}
}

func (w *world) provider(identifier string) *deputy.Provider {
	now := w.tick()
	return &deputy.Provider{
		ID: fresh[deputy.ProviderID](w), OrganizationID: w.org.ID, ZoneID: w.zone.ID, Owner: deputy.Customer,
		Slug: string(w.newID()), Identifier: identifier, Name: identifier, Type: deputy.ExternalProvider, CreatedAt: now, UpdatedAt: now,
	}
}

func (w *world) resource(identifier string) *deputy.Resource {
	now := w.tick()
	return &deputy.Resource{
		ID: fresh[deputy.ResourceID](w), OrganizationID: w.org.ID, ZoneID: w.zone.ID, Owner: deputy.Customer,
		Slug: string(w.newID()), Identifier: identifier, Name: identifier, ApplicationType: deputy.Web, CreatedAt: now, UpdatedAt: now,
	}
}

func (w *world) edge(app *deputy.Application, to *deputy.Resource, when ...deputy.ResourceID) *deputy.Dependency {
	return &deputy.Dependency{ZoneID: w.zone.ID, ApplicationID: app.ID, ResourceID: to.ID, WhenAccessing: when, CreatedAt: w.tick()}
}

func (w *world) user(identifier string) *deputy.User {
	now := w.tick()
	return &deputy.User{
		ID: fresh[deputy.UserID](w), OrganizationID: w.org.ID, ZoneID: w.zone.ID, Identifier: identifier,
		Email: identifier + "@example.com", Status: deputy.UserActive, KeyID: "key", CreatedAt: now, UpdatedAt: now,
	}
}

func (w *world) session(kind deputy.SessionType) *deputy.Session {
	now := w.tick()
	return &deputy.Session{
		ID: fresh[deputy.SessionID](w), OrganizationID: w.org.ID, ZoneID: w.zone.ID, Type: kind, Status: deputy.Active,
		AuthenticatedAt: now, ExpiresAt: now.Add(time.Hour), CreatedAt: now, UpdatedAt: now,
	}
}

func (w *world) grant(user *deputy.User, to *deputy.Resource) *deputy.Grant {
	now := w.tick()
	return &deputy.Grant{
		ID: w.newID(), OrganizationID: w.org.ID, ZoneID: w.zone.ID, UserID: user.ID, ResourceID: to.ID, ProviderID: "p",
		Status: deputy.Active, ExpiresAt: now.Add(time.Hour), CreatedAt: now, UpdatedAt: now,
	}
}

func (w *world) policy(name string) *deputy.Policy {
	now := w.tick()
	return &deputy.Policy{ID: w.newID(), ZoneID: w.zone.ID, Owner: deputy.Customer, Name: name, CreatedBy: "me", CreatedAt: now, UpdatedAt: now}
}

func (w *world) policyVersion(p *deputy.Policy, text string) *deputy.PolicyVersion {
	return &deputy.PolicyVersion{
		ID: w.newID(), ZoneID: w.zone.ID, PolicyID: p.ID, Owner: p.Owner, SchemaVersion: "2026-01-01", Text: text,
		JSON: []byte(`{"effect":"permit"}`), SHA: "ab", CreatedBy: "me", CreatedAt: w.tick(),
	}
}

func (w *world) policySet(name string) *deputy.PolicySet {
	now := w.tick()
	return &deputy.PolicySet{
		ID: w.newID(), ZoneID: w.zone.ID, Owner: deputy.Customer, Name: name, TargetType: "zone", TargetID: string(w.zone.ID),
		CreatedBy: "me", CreatedAt: now, UpdatedAt: now,
	}
}

func (w *world) setVersion(s *deputy.PolicySet, manifest ...deputy.ManifestEntry) *deputy.PolicySetVersion {
	return &deputy.PolicySetVersion{
		ID: w.newID(), ZoneID: w.zone.ID, PolicySetID: s.ID, Owner: s.Owner, SchemaVersion: "2026-01-01", Manifest: manifest,
		ManifestSHA: "cd", Attestation: []byte(`{"payload":"x"}`), CreatedBy: "me", CreatedAt: w.tick(),
	}
}

func (w *world) policyDraft(p *deputy.Policy) *deputy.PolicyDraft {
	now := w.tick()
	return &deputy.PolicyDraft{
		ZoneID: w.zone.ID, PolicyID: p.ID, SchemaVersion: "2026-01-01", Text: "permit (principal, action, resource);", JSON: []byte(`{"effect":"permit"}`),
		BaseVersionID: "v", UpdatedBy: "me", CreatedAt: now, UpdatedAt: now, Revision: now.UnixMicro(),
	}
}

func (w *world) policySetDraft(s *deputy.PolicySet) *deputy.PolicySetDraft {
	now := w.tick()
	return &deputy.PolicySetDraft{
		ZoneID: w.zone.ID, PolicySetID: s.ID, SchemaVersion: "2026-01-01", Manifest: []deputy.ManifestEntry{{PolicyID: "p", PolicyVersionID: "v", SHA: "s"}},
		UpdatedBy: "me", CreatedAt: now, UpdatedAt: now, Revision: now.UnixMicro(),
	}
}
