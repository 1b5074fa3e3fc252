package oauth_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

// signed returns a browser at which the user has signed in to the client, and
// what is asked for on their behalf.
func (w *world) signed(client *app, user *deputy.User, more ...string) *page {
	w.Helper()
	b := w.newBrowser()
	b.open(asking(client.credential.Identifier, more...))
	return b.act("sign in", user)
}

// What policy says at the authorization endpoint is kept: of the first resource
// with the authorization, of each further one with an event of its own.
func TestAuthorizationsAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client := w.newWebApp("client", deputy.ImplicitConsent)
	first := w.newResource("https://first.test", func(r *deputy.Resource) { r.Scopes = []string{"read", "write"} })
	further := w.newResource("https://further.test", func(r *deputy.Resource) { r.Scopes = []string{"all"} })
	refused := w.newResource("https://refused.test", nil)
	w.depend(client, further)
	w.depend(client, refused)
	set := w.activate(w.zone, "Mine", []string{"yes", "no"}, map[string]string{
		"yes": `@id("yes") permit (principal, action, resource) when { if context has scopes then !context.scopes.contains("write") else true };`,
		"no":  fmt.Sprintf(`@id("no") forbid (principal is Keycard::User, action, resource == Keycard::Resource::"%s");`, refused.ID),
	})
	user := w.newUser("zoe@example.test")
	w.newBrowser().answered(w.signed(client, user, "resource", first.Identifier, "scope", "read write"))

	authorized := w.events("users:authorize")
	others := w.events("policies:evaluate")
	if len(authorized) != 1 || len(others) != 2 {
		t.Fatalf("%d authorizations, %d further decisions", len(authorized), len(others))
	}
	label := string(set.ID) + "::"
	for _, c := range []struct {
		event       *deputy.Event
		resource    *deputy.Resource
		outcome     deputy.Outcome
		code        string
		refusal     policy.Refusal
		kept        []string
		determining []string
	}{
		{authorized[0], first, deputy.Success, "", policy.None, []string{"read"}, []string{label + "yes", label + "yes"}},
		{others[0], further, deputy.Success, "", policy.None, []string{"all"}, []string{label + "yes", label + "yes"}},
		{others[1], refused, deputy.Failure, "access_denied", policy.Forbidden, nil, []string{label + "no", label + "yes"}},
	} {
		e := c.event
		if e.Resource == nil || e.Resource.ID != c.resource.ID || e.Outcome != c.outcome || e.Error != c.code || e.UserID != user.ID ||
			e.ClientID != client.credential.Identifier || e.RequestID != authorized[0].RequestID {
			t.Errorf("of %s the log says %+v", c.resource.Identifier, e)
		}
		if e.Evaluation == nil || e.Evaluation.Refusal != string(c.refusal) || !slices.Equal(e.Evaluation.Kept, c.kept) || len(e.Evaluation.Legs) != 2 {
			t.Errorf("of %s the evaluation is %+v", c.resource.Identifier, e.Evaluation)
		}
		if e.Policy == nil || e.Policy.SetID != set.ID || e.Policy.Version != 1 || c.refusal == policy.None && !slices.Equal(e.Policy.Determining, c.determining) ||
			!slices.Contains(e.Policy.Determining, c.determining[0]) {
			t.Errorf("of %s the event names %+v", c.resource.Identifier, e.Policy)
		}
		r, err := w.again(e)
		if err != nil {
			t.Fatal(err)
		}
		if r.Subject == nil || r.Resource.ID() != c.resource.ID || !r.Legs[0].OnBehalf || !r.Legs[1].OnBehalf ||
			r.Legs[0].Principal.PrincipalID() != string(user.ID) || r.Legs[1].Principal.PrincipalID() != string(client.ID) {
			t.Errorf("of %s, made again: %+v", c.resource.Identifier, r)
		}
		if string(c.refusal) != "" {
			want := fmt.Sprintf(`Access to %q is denied by Policy "Mine/no" in version 1 of Policy Set "Mine".`, c.resource.Name)
			if e.ErrorDetail != want {
				t.Errorf("the event says %s", e.ErrorDetail)
			}
		}
	}
}

// The answer of a refused authorization, its stored decision and its event name
// one policy version.
func TestRefusedAuthorizationNamesOneVersion(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text, want string
		refusal    policy.Refusal
	}{
		"a forbid":  {`@id("no") forbid (principal, action, resource);`, `Access to %q is denied by Policy "Strict/no" in version 1 of Policy Set "Strict".`, policy.Forbidden},
		"no permit": {`@id("no") permit (principal is Keycard::User, action, resource);`, `Application "client" is not allowed to access %q.`, policy.NotPermitted},
	} {
		w := newWorld(t)
		client, r := w.newWebApp("client", deputy.ImplicitConsent), w.newResource("https://api.test", nil)
		set := w.activate(w.zone, "Strict", []string{"no"}, map[string]string{"no": c.text})
		p := w.newBrowser().refused(w.signed(client, w.newUser("zoe@example.test"), "resource", r.Identifier), "access_denied")
		all := w.events("users:authorize")
		if len(all) != 1 {
			t.Fatalf("%s: %d events", name, len(all))
		}
		e, want := all[0], fmt.Sprintf(c.want, r.Name)
		if p.query("error_description") != want || e.ErrorDetail != want || e.Outcome != deputy.Failure || e.Error != "access_denied" {
			t.Errorf("%s: the answer is %s, the event %+v", name, p.location, e)
		}
		if e.Policy == nil || e.Policy.SetID != set.ID || e.Policy.Version != 1 || e.Evaluation == nil ||
			e.Evaluation.Refusal != string(c.refusal) || e.Resource == nil || e.Resource.ID != r.ID {
			t.Errorf("%s: the event names %+v for %+v of %+v", name, e.Policy, e.Evaluation, e.Resource)
		}
		if _, err := w.again(e); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An activation counts for an authorization that is decided and not committed
// yet, whatever was decided.
func TestActivationBetweenAuthorizationAndCommit(t *testing.T) {
	t.Parallel()
	for _, permitted := range []bool{true, false} {
		s := newStage(t)
		store := s.interpose()
		client := s.newWebApp("client", deputy.ImplicitConsent)
		texts := map[bool]string{true: "permit (principal, action, resource);", false: "forbid (principal, action, resource);"}
		s.activate(s.zone, "before", []string{"p"}, map[string]string{"p": texts[!permitted]})
		store.beforeWrite = func() { s.activate(s.zone, "after", []string{"p"}, map[string]string{"p": texts[permitted]}) }
		p := s.signed(client, s.newUser("ada@example.test"), "resource", s.api.Identifier)
		if permitted {
			s.newBrowser().answered(p)
		} else {
			s.newBrowser().refused(p, "access_denied")
		}
		all := s.events("users:authorize")
		if len(all) != 1 || all[0].Evaluation.Allowed() != permitted {
			t.Errorf("permitted %v: %+v", permitted, all)
		}
	}
}

// A zone's shadow is asked about authorizations, too.
func TestShadowsOfAuthorizations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client := w.newWebApp("client", deputy.ImplicitConsent)
	first, further := w.newResource("https://first.test", nil), w.newResource("https://further.test", nil)
	w.depend(client, further)
	w.shadow(`forbid (principal, action, resource);`)
	w.newBrowser().answered(w.signed(client, w.newUser("zoe@example.test"), "resource", first.Identifier))
	var asked []deputy.ResourceID
	for _, e := range w.said() {
		if s := e.Evaluation.Shadow; s != nil && s.Diverged {
			asked = append(asked, e.Resource.ID)
		}
	}
	slices.Sort(asked)
	want := []deputy.ResourceID{first.ID, further.ID}
	slices.Sort(want)
	if !slices.Equal(asked, want) {
		t.Errorf("the shadow was asked about %v, not %v", asked, want)
	}
}

// A policy that names a group decides about its members, from the next
// authorization on, and what it decided can be made again.
func TestGroupsDecideAboutAuthorizations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client, r := w.newWebApp("client", deputy.ImplicitConsent), w.newResource("https://api.test", nil)
	now := w.clock.Now()
	group := &deputy.Group{
		ID: w.id(), OrganizationID: w.organization.ID, ZoneID: w.zone.ID, Slug: "finance", Identifier: "finance", Name: "Finance", CreatedAt: now, UpdatedAt: now,
	}
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error { return tx.Groups().Insert(ctx, group) })
	w.activate(w.zone, "groups", []string{"apps", "finance"}, map[string]string{
		"apps":    `permit (principal is Keycard::Application, action, resource);`,
		"finance": `@id("finance") permit (principal in Keycard::Group::"` + string(group.ID) + `", action, resource);`,
	})
	user := w.newUser("zoe@example.test")
	w.newBrowser().refused(w.signed(client, user, "resource", r.Identifier), "access_denied")
	leave := w.join(group.ID, &person{User: user})
	w.newBrowser().answered(w.signed(client, user, "resource", r.Identifier))
	leave()
	w.newBrowser().refused(w.signed(client, user, "resource", r.Identifier), "access_denied")
	set := w.compiled()
	for i, allowed := range []bool{false, true, false} {
		e := w.events("users:authorize")[i]
		again, err := w.again(e)
		if err != nil {
			t.Fatal(err)
		}
		if out := set.Decide(again); out.Allowed != allowed || e.Evaluation.Allowed() != allowed {
			t.Errorf("authorization %d: %v, made again %v", i, e.Evaluation.Allowed(), out.Allowed)
		}
	}
}

// compiled returns what decides in the zone.
func (w *world) compiled() *policy.Set {
	w.Helper()
	zone, err := w.store.Zones().Get(context.Background(), deputy.Scope{Organization: w.organization.ID}, deputy.ID(w.zone.ID))
	if err != nil {
		w.Fatal(err)
	}
	bound, err := w.store.BoundPolicy(context.Background(), w.zone.ID, zone.ActivePolicySetVersionID)
	if err != nil {
		w.Fatal(err)
	}
	set, err := policy.CompileBound(bound)
	if err != nil {
		w.Fatal(err)
	}
	return set
}
