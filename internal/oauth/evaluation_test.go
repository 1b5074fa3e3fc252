package oauth_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"deputy/internal/deputy"
	"deputy/internal/policy"
	"deputy/internal/vault"
)

// kept returns the entities that are kept for an event's evaluation.
func (w *world) kept(e *deputy.Event) []deputy.PolicyEntity {
	w.Helper()
	if e.Evaluation == nil {
		w.Fatalf("event %s tells of no decision", e.Type)
	}
	found, err := w.store.PolicyEntities(context.Background(), w.zone.ID, new(policy.Entities).Missing(e.Evaluation, nil))
	if err != nil {
		w.Fatal(err)
	}
	return found
}

// again makes the request of an event again, of what is kept.
func (w *world) again(e *deputy.Event) (policy.Request, error) {
	w.Helper()
	var entities policy.Entities
	for _, k := range w.kept(e) {
		data := k.Data
		if k.Sealed {
			var err error
			if data, err = w.vault.Open(context.Background(), vault.PolicyEntity(w.zone.ID, k.ID), k.Data); err != nil {
				return policy.Request{}, err
			}
		}
		if err := entities.Add(k.ID, data); err != nil {
			w.Fatal(err)
		}
	}
	return entities.Request(e.Evaluation)
}

func TestDecisionsAreKept(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	p := w.newPerson("zoe@example.test")
	token := w.userToken(p, w.agent.credential.Identifier, w.front.Identifier)
	w.must(w.exchange(w.server, token, w.api.Identifier, "scope", "read other"), 200, "")
	e := w.lastEvent()
	if e.Evaluation.Refusal != "" || !slices.Equal(e.Evaluation.Scopes, []string{"read", "other"}) || !slices.Equal(e.Evaluation.Kept, []string{"read"}) {
		t.Errorf("the evaluation: %+v", e.Evaluation)
	}
	r, err := w.again(e)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Legs) != 2 || !r.Legs[0].OnBehalf || !r.Legs[1].OnBehalf || r.Subject == nil || r.From == nil || r.SubjectClaims == nil || !r.Narrowable {
		t.Errorf("made again: %+v", r)
	}
	for _, leg := range r.Legs {
		if !strings.Contains(string(leg.Principal.Facts()), fmt.Sprintf("%q", map[bool]string{true: p.Identifier, false: w.server.Identifier}[leg.Principal.Personal()])) {
			t.Errorf("a principal is %s", leg.Principal.Facts())
		}
	}
	if !strings.Contains(string(r.SubjectClaims.Facts()), string(p.child.ID)) {
		t.Errorf("the claims are %s", r.SubjectClaims.Facts())
	}
	// What tells of the person is sealed under their key.
	sealed := 0
	for _, k := range w.kept(e) {
		if k.Sealed && strings.Contains(string(k.Data), string(p.User.KeyID)) {
			sealed++
		}
		if strings.Contains(string(k.Data), p.Identifier) || strings.Contains(string(k.Data), string(p.child.ID)) {
			t.Errorf("kept in the clear: %s", k.Data)
		}
	}
	if sealed != 2 { // the person and the claims
		t.Errorf("%d entities are sealed", sealed)
	}
}

// Entities are kept once, also for another node's decisions where they tell of
// nobody, and for as long as they are in use.
func TestEntitiesAreKeptOnce(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	p := w.newPerson("zoe@example.test")
	token := w.userToken(p, w.agent.credential.Identifier, w.front.Identifier)
	w.must(w.exchange(w.server, token, w.api.Identifier), 200, "")
	first := w.lastEvent().Evaluation
	w.clock.advance(time.Minute)
	w.must(w.exchange(w.server, token, w.api.Identifier), 200, "")
	if again := w.lastEvent().Evaluation; fmt.Sprint(again) != fmt.Sprint(first) {
		t.Errorf("the same question is written as %+v, then as %+v", first, again)
	}
	w.restart()
	w.must(w.exchange(w.server, token, w.api.Identifier), 200, "")
	other := w.lastEvent().Evaluation
	if other.Resource != first.Resource || other.From != first.From || other.Legs[1] != first.Legs[1] {
		t.Errorf("another node calls the same entities otherwise: %+v, %+v", first, other)
	}
	if other.Subject == first.Subject || other.SubjectClaims == first.SubjectClaims {
		t.Error("what a person's facts are called can be guessed")
	}
	if _, err := w.again(w.lastEvent()); err != nil {
		t.Error(err)
	}
	// A day later their use is noted again, so that they are not taken for unused.
	w.clock.advance(24 * time.Hour)
	w.must(w.credentialsFor(w.agent, w.api.Identifier), 200, "")
	e := w.lastEvent()
	if _, err := w.store.PruneEntities(context.Background(), w.clock.Now().Add(-time.Hour), 1000); err != nil {
		t.Fatal(err)
	}
	if _, err := w.again(e); err != nil {
		t.Errorf("what is in use was removed: %v", err)
	}
}

// One request's answer, stored decision and event name one policy version.
func TestDenialNamesOneVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent, r := w.newApp("agent"), w.newResource("https://api.test", nil)
	w.depend(agent, r)
	set := w.activate(w.zone, "Strict", []string{"no"}, map[string]string{"no": `@id("no") forbid (principal, action, resource);`})
	w.clock.tick = time.Millisecond
	a := w.must(w.credentialsFor(agent, r.Identifier, "scope", "read"), 400, "access_denied")
	w.clock.tick = 0
	e := w.lastEvent()
	says := fmt.Sprintf(`Access to %q is denied by Policy "Strict/no" in version %d of Policy Set "Strict".`, r.Name, e.Policy.Version)
	if a.text("error_description") != says || e.ErrorDetail != says {
		t.Errorf("the answer says %s, the event %s", a, e.ErrorDetail)
	}
	if e.Evaluation.Refusal != string(policy.Forbidden) || e.Evaluation.Legs[0].Allowed {
		t.Errorf("the event tells of %+v", e.Evaluation)
	}
	v, err := w.store.PolicySetVersions().Get(t.Context(), deputy.Scope{Zone: w.zone.ID, Parent: set.ID}, e.Policy.SetVersionID)
	if err != nil {
		t.Fatal(err)
	}
	want := &deputy.EventPolicy{
		SetID: set.ID, SetVersionID: v.ID, Version: v.Version, SchemaVersion: v.SchemaVersion, ManifestSHA: v.ManifestSHA,
		Determining: []string{string(set.ID) + "::no"},
		Policies:    []deputy.EventPolicyVersion{{PolicyID: v.Manifest[0].PolicyID, VersionID: v.Manifest[0].PolicyVersionID}},
		Latency:     1000, // one tick, in microseconds
	}
	if diff := cmp.Diff(want, e.Policy); diff != "" {
		t.Error("what decided:", diff)
	}
	if _, err := w.again(e); err != nil {
		t.Error(err)
	}
}
