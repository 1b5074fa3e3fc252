package api

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"deputy/internal/deputy"
)

// call is one management call: what the request says, and what the steps
// before its handler found.
type call struct {
	id, path, ip, agent string
	at                  time.Time
	log                 *slog.Logger

	// After authenticate:
	param  func(name string) string // path parameters, decoded once
	header func(name string) string
	sent   url.Values // the query
	body   io.Reader  // of the request, until readBody reads it
	query  url.Values // the query, names without a final []
	answer http.Header
	caller *deputy.Caller
	// ignored is what the request says that no one here knows.
	ignored []string
	// delegate makes the call for background work; nil for calls from outside.
	delegate *delegate

	changes []string // after readBody: the members that the body holds

	action       string     // after permit: plural:verb
	roles        capacities // what the caller is there
	organization *deputy.Organization
	zone         *deputy.Zone                      // nil for calls outside zones
	zoneRoles    map[deputy.ZoneID]deputy.ZoneRole // of a person, in a list of zones

	expand map[string]bool // after the query was read: what to add to the answer
	people *people         // what that comes to for users
}

type callKey struct{}

// callOf returns the call that ctx is of; never nil.
func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{log: slog.Default()}
}

var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)

// begin returns the call of a request, before anything is known of the caller.
func (a *API) begin(r *http.Request) *call {
	id := r.Header.Get("X-Client-Request-ID")
	if !uuid.MatchString(id) {
		id = newUUID()
	}
	return &call{id: id, path: r.URL.EscapedPath(), ip: a.clientIP(r), agent: userAgent(r), at: deputy.Time(a.now()), log: a.log}
}

// newUUID returns a random UUID (RFC 9562 §5.4).
func newUUID() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(err) // crypto/rand does not fail on supported systems
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// maxUserAgent bounds what an event keeps of a header that anyone may fill.
const maxUserAgent = 256

func userAgent(r *http.Request) string {
	agent := r.UserAgent()
	return strings.ToValidUTF8(agent[:min(len(agent), maxUserAgent)], "")
}

// peerAddress is the address of the other end of the connection.
func peerAddress(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	return r.RemoteAddr
}

// plainNames returns the query with the [] that some clients append to the
// name of a repeated parameter cut off.
func plainNames(sent url.Values) url.Values {
	query := make(url.Values, len(sent))
	for name, values := range sent {
		name = strings.TrimSuffix(name, "[]")
		query[name] = append(query[name], values...)
	}
	return query
}

// values returns the values of a query parameter, each once and in order;
// empty ones say nothing.
func (c *call) values(name string) []string {
	values := slices.Compact(slices.Sorted(slices.Values(c.query[name])))
	return slices.DeleteFunc(values, func(v string) bool { return v == "" })
}

// once refuses parameters that were given with more than one value.
func (c *call) once(names ...string) error {
	for _, name := range names {
		if len(c.values(name)) > 1 {
			return deputy.Bad(name, "must be given once")
		}
	}
	return nil
}

// authenticate is the step that finds out who calls.
func (a *API) authenticate(hc huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(hc)
	c := callOf(hc.Context())
	var caller *deputy.Caller
	var err error
	if c.delegate = delegateOf(hc.Context()); c.delegate != nil {
		caller = &deputy.Caller{Organization: c.delegate.task.OrganizationID}
	} else {
		caller, err = a.callerOf(hc, c, r)
	}
	if err != nil {
		writeProblem(w, problem(hc.Context(), err))
		return
	}
	sent, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil { // what cannot be read must not widen a list by being left out
		writeProblem(w, problem(hc.Context(), deputy.Errorf(deputy.Invalid, "the query is malformed")))
		return
	}
	c.caller, c.answer, c.param, c.header = caller, w.Header(), r.PathValue, r.Header.Get
	c.sent, c.query, c.body = sent, plainNames(sent), r.Body
	c.ignore(c.unknownParameters(hc.Operation()))
	next(hc)
}

// callerOf returns who calls; nil where nobody need say.
func (a *API) callerOf(hc huma.Context, c *call, r *http.Request) (*deputy.Caller, error) {
	if security := hc.Operation().Security; security != nil && len(security) == 0 {
		return nil, nil
	}
	scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	bearer = strings.TrimSpace(bearer)
	if !strings.EqualFold(scheme, "Bearer") || bearer == "" {
		return nil, deputy.Errorf(deputy.Unauthenticated, "a bearer token is needed: POST /service-account-token gives one")
	}
	caller, err := a.verify(hc.Context(), bearer, c.ip)
	if err != nil {
		return nil, err
	}
	if wait := a.limit(string(caller.Organization) + " " + string(caller.Account)); wait > 0 {
		return nil, &deputy.Error{Kind: deputy.TooMany, Message: "too many calls, try again later", After: wait}
	}
	return caller, nil
}

// event returns the event of the call with the given outcome.
func (c *call) event(outcome deputy.Outcome, target *deputy.Target) *deputy.Event {
	e := &deputy.Event{
		ID: deputy.EventID(deputy.NewID(c.at)), Time: c.at, Type: c.action, Outcome: outcome,
		OrganizationID: c.caller.Organization, RequestID: c.id, Actor: c.caller.Actor(), Target: target,
		ClientID: c.caller.ClientID, IP: c.ip, UserAgent: c.agent, UserKey: c.caller.KeyID,
	}
	if c.zone != nil {
		e.ZoneID = c.zone.ID
	}
	if c.delegate != nil {
		e.Actor = *c.delegate.task.Actor
		e.Package = packageOf(c.delegate.install, c.delegate.task)
	}
	return e
}

// write commits a change together with its event. Inside the transaction the
// caller's credential and the zone are looked at again, so that nothing is
// changed by a credential, or in a zone, that is gone by then. A refusal
// becomes an event of its own.
func (a *API) write(ctx context.Context, c *call, target *deputy.Target, change func(deputy.Tx) error) error {
	return a.writeEvent(ctx, c, c.event(deputy.Success, target), change)
}

// writeEvent is write with an event that says more than the call, or is not of
// the caller's organization.
func (a *API) writeEvent(ctx context.Context, c *call, event *deputy.Event, change func(deputy.Tx) error) error {
	event.Changes = c.changes
	err := a.store.Write(ctx, event, func(tx deputy.Tx) error {
		if err := stillLive(ctx, tx, c); err != nil {
			return err
		}
		if err := change(tx); err != nil || c.delegate == nil || c.delegate.journal == nil {
			return err
		}
		return c.delegate.journal(ctx, tx, event.Target)
	})
	if deputy.KindOf(err) == deputy.Denied {
		return a.refuse(ctx, c, event.Target, err)
	}
	return err
}

// stillLive reports whether caller and zone are still in force, and a person
// still has a role that allows the action.
func stillLive(ctx context.Context, tx deputy.Tx, c *call) error {
	if c.delegate != nil {
		_, err := tx.Zones().Get(ctx, deputy.Scope{Organization: c.caller.Organization}, deputy.ID(c.zone.ID))
		return err
	}
	now, err := standing(ctx, tx, c.caller)
	if err != nil {
		return err
	}
	use := deputy.UseManagement
	if c.caller.Person() {
		use = deputy.UseUserManagement
	}
	if err := now.Live(use, tx.Now()); err != nil {
		return deputy.Error{Kind: deputy.Unauthenticated, Message: "what the token rests on is no longer in force"}.Because(err)
	}
	if c.zone != nil && !c.newZone() {
		if _, err := tx.Zones().Get(ctx, deputy.Scope{Organization: c.caller.Organization}, deputy.ID(c.zone.ID)); err != nil {
			return err
		}
	}
	if !c.caller.Person() {
		return nil
	}
	return stillMay(ctx, tx, c, now.OrganizationUser)
}

// standing reads what the caller's bearer rests on; what is gone is nil.
func standing(ctx context.Context, tx deputy.Tx, caller *deputy.Caller) (now deputy.Standing, err error) {
	if caller.Person() {
		now.Organization, err = tx.Organizations().Get(ctx, deputy.Scope{}, deputy.ID(caller.Organization))
		if err == nil {
			now.OrganizationUser, err = tx.OrganizationUsers().Get(ctx, deputy.Scope{Organization: caller.Organization}, caller.Account)
		}
	} else {
		var account *deputy.Account
		if account, err = tx.Account(ctx, caller.ClientID); err == nil {
			now.Organization, now.ServiceAccount, now.ServiceCredential = account.Organization, account.Account, account.Credential
		}
	}
	if deputy.KindOf(err) == deputy.NotFound {
		err = nil
	}
	return now, err
}

// stillMay looks again at the roles of a person.
func stillMay(ctx context.Context, tx deputy.Tx, c *call, user *deputy.OrganizationUser) error {
	caller := *c.caller
	caller.Role = user.Role
	role := rolesOf(&caller)
	if c.zone != nil && !c.newZone() {
		more, err := zoneRole(ctx, tx.ZoneMembers(), &caller, c.zone.ID)
		if err != nil {
			return missing(err, "zone")
		}
		role |= more
	}
	if !role.may(c.action) {
		return denied(c.caller)
	}
	return nil
}

// newZone reports whether the call is the one that makes its zone.
func (c *call) newZone() bool { return c.action == "zones:create" }

// refuse records that the call was denied and returns the denial.
func (a *API) refuse(ctx context.Context, c *call, target *deputy.Target, denial error) error {
	event := c.event(deputy.Failure, target)
	event.Error, event.ErrorDetail = string(CodeForbidden), denial.Error()
	if err := a.store.Write(ctx, event, nil); err != nil {
		return fmt.Errorf("recording a refusal: %w", err)
	}
	return denial
}
