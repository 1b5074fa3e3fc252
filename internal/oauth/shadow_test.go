package oauth_test

import (
	"context"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"deputy/internal/deputy"
	"deputy/internal/oauth"
	"deputy/internal/policy"
)

// shadow makes a policy set of one text and binds it as the zone's shadow.
func (w *world) shadow(text string, change ...func(*deputy.PolicySetVersion)) *deputy.PolicySet {
	w.Helper()
	return w.bind(deputy.Tx.Shadow, w.zone, "Shadow "+string(w.id()), []string{"only"}, map[string]string{"only": `@id("only") ` + text}, change...)
}

// said waits for the shadow and returns what it said, oldest first.
func (w *world) said() []*deputy.Event {
	w.Helper()
	w.server.Close()
	w.restart()
	return w.events("policies:evaluate")
}

func TestShadowsAreRecordedAndHaveNoSay(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	p := w.newPerson("zoe@example.test")
	token := w.userToken(p, w.agent.credential.Identifier, w.front.Identifier)
	set := w.shadow(`permit (principal, action, resource) when { if context has scopes then ["read"].containsAll(context.scopes) else principal has email };`)

	// Allowed with two scopes; the shadow would have kept one.
	w.must(w.exchange(w.server, token, w.api.Identifier, "scope", "read write"), 200, "")
	enforced := w.lastEvent()
	// Allowed without a scope; the shadow would have refused the application.
	w.must(w.exchange(w.server, token, w.api.Identifier), 200, "")
	// Refused; the shadow would have, too.
	w.must(w.credentialsFor(w.newApp("other"), w.api.Identifier), 400, "access_denied")
	// Refused before policy was asked.
	w.must(w.credentialsFor(w.agent, "https://unknown.test"), 400, "invalid_target")

	said := w.said()
	if len(said) != 3 {
		t.Fatalf("the shadow was asked %d times", len(said))
	}
	by := map[deputy.EventID]*deputy.Event{} // it may have been asked in any order
	for _, e := range said {
		by[e.Evaluation.Shadow.Event] = e
	}
	first := by[enforced.ID]
	if diff := cmp.Diff(&deputy.ShadowOf{
		Event: enforced.ID, Policy: enforced.Policy, Kept: []string{"read", "write"}, Diverged: true,
	}, first.Evaluation.Shadow); diff != "" {
		t.Error("what was enforced:", diff)
	}
	label := string(set.ID) + "::only"
	if diff := cmp.Diff(&deputy.EventPolicy{
		SetID: set.ID, SetVersionID: first.Policy.SetVersionID, Version: 1, Determining: []string{label, label},
	}, first.Policy, cmpopts.IgnoreFields(deputy.EventPolicy{}, "SchemaVersion", "ManifestSHA", "Policies")); diff != "" {
		t.Error("what decided:", diff)
	}
	if first.RequestID != enforced.RequestID || first.UserID != p.User.ID || first.Resource.ID != w.api.ID || first.Outcome != deputy.Success ||
		!slices.Equal(first.Evaluation.Kept, []string{"read"}) || first.Evaluation.Resource != enforced.Evaluation.Resource {
		t.Errorf("the shadow's event: %+v", first)
	}
	issued := w.events("credentials:issue")
	issued = issued[len(issued)-4:]
	for i, want := range []struct {
		refusal  policy.Refusal
		diverged bool
	}{{policy.None, true}, {policy.NotPermitted, true}, {policy.NotPermitted, false}} {
		e := by[issued[i].ID]
		if e == nil || e.Evaluation.Refusal != string(want.refusal) || e.Evaluation.Shadow.Diverged != want.diverged {
			t.Errorf("answer %d: %+v", i, e)
		}
	}
	if _, err := w.again(first); err != nil {
		t.Error(err)
	}
}

// A shadow of another schema version sees the same request in that schema, and
// a change of it is in force at once.
func TestShadowsChangeAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent, r := w.newApp("agent"), w.newResource("https://api.test", nil)
	w.depend(agent, r)
	ask := func() { w.must(w.credentialsFor(agent, r.Identifier), 200, "") }
	ask()
	old := w.shadow(`permit (principal is Keycard::Application, action, resource) when { principal.credential_type == "password" };`,
		func(v *deputy.PolicySetVersion) { v.SchemaVersion = "2026-02-24" })
	ask()
	broken := w.shadow(`permit (principal, action, resource) when { 9007199254740991 * 9007199254740991 > 0 };`)
	ask()
	untrusted := w.shadow("permit (principal, action, resource);", func(v *deputy.PolicySetVersion) { v.ManifestSHA = "x" })
	ask()
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.Unshadow(ctx, w.zone.ID, untrusted.ID)
		return err
	})
	ask()
	by := map[deputy.ID]*deputy.Event{}
	for _, e := range w.said() {
		by[e.Policy.SetID] = e
	}
	if len(by) != 2 || by[old.ID] == nil || by[broken.ID] == nil {
		t.Fatalf("shadows that were asked: %v", slices.Collect(maps.Keys(by)))
	}
	if e := by[old.ID].Evaluation; e.Refusal != "" || e.Shadow.Diverged {
		t.Errorf("in another schema: %+v, %+v", e, e.Shadow)
	}
	if e := by[broken.ID].Evaluation; e.Refusal != string(policy.EvaluationFailed) || !e.Shadow.Diverged || !slices.Equal(e.Errors, []string{string(broken.ID) + "::only"}) {
		t.Errorf("a policy that fails: %+v, %+v", e, e.Shadow)
	}
}

// A shadow that cannot keep up is not asked, and that is counted; answers do
// not wait for it.
func TestShadowsThatCannotKeepUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent, r := w.newApp("agent"), w.newResource("https://api.test", nil)
	w.depend(agent, r)
	w.shadow("forbid (principal, action, resource);")
	oauth.DeafenShadows(w.server)
	for range 3 {
		w.must(w.credentialsFor(agent, r.Identifier), 200, "")
	}
	if n := w.server.ShadowsDropped(); n != 3 {
		t.Errorf("%d questions were dropped", n)
	}
	said := w.said()
	if len(said) != 1 || said[0].Count != 3 || said[0].Outcome != deputy.Failure || said[0].ZoneID != w.zone.ID || said[0].Evaluation != nil {
		t.Errorf("what is written down: %+v", said)
	}
}

// Whatever a shadow says, every answer is the one that is given without it.
func TestShadowsChangeNoAnswer(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	stranger := w.newApp("stranger")
	ask := func(scope, resource string, by *app, exchange bool) map[string]any {
		a := w.credentialsFor(by, resource, "scope", scope)
		if exchange {
			a = w.exchange(by, w.token, resource, "scope", scope)
		}
		answer := map[string]any{"status": a.status, "body": a.json}
		if token := a.text("access_token"); token != "" {
			claims := w.payload(token)
			for _, drawn := range []string{"jti", "iat", "exp"} {
				delete(claims, drawn)
			}
			answer["claims"] = claims
		}
		for _, drawn := range []string{"access_token", "requestId"} {
			delete(a.json, drawn)
		}
		for name := range a.header {
			if name != "Date" {
				answer[name] = a.header[name]
			}
		}
		return answer
	}
	rapid.Check(t, func(t *rapid.T) {
		scope := rapid.SampledFrom([]string{"", "read", "read write", "write unknown", "use"}).Draw(t, "scope")
		resource := rapid.SampledFrom([]string{w.api.Identifier, w.front.Identifier, "https://unknown.test"}).Draw(t, "resource")
		by := rapid.SampledFrom([]*app{w.agent, w.server, stranger}).Draw(t, "by")
		exchange := rapid.Bool().Draw(t, "exchange")
		without := ask(scope, resource, by, exchange)
		set := w.shadow(rapid.SampledFrom([]string{
			"permit (principal, action, resource);", "forbid (principal, action, resource);",
			"permit (principal, action, resource) when { 9007199254740991 * 9007199254740991 > 0 };",
			`permit (principal, action, resource) when { context has scopes && context.scopes.contains("read") };`,
		}).Draw(t, "shadow"))
		with := ask(scope, resource, by, exchange)
		w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
			_, err := tx.Unshadow(ctx, w.zone.ID, set.ID)
			return err
		})
		if diff := cmp.Diff(without, with); diff != "" {
			t.Fatal(diff)
		}
	})
}
