package deputy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"deputy/internal/deputy"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// reversal stands in for the vault: it hides bytes by turning them around.
type reversal struct{ erased bool }

func (reversal) SealPersonal(_ context.Context, _ deputy.ID, _ deputy.EventID, p []byte) ([]byte, error) {
	return turn(p), nil
}

func (r reversal) OpenPersonal(_ context.Context, _ deputy.EventID, p []byte) ([]byte, error) {
	if r.erased {
		return nil, deputy.Errorf(deputy.NotFound, "erased")
	}
	return turn(p), nil
}

func turn(p []byte) []byte {
	out := make([]byte, len(p))
	for i, b := range p {
		out[len(p)-1-i] = b
	}
	return out
}

func anyEvaluation(t *rapid.T) *deputy.Evaluation {
	text := rapid.StringN(0, 12, 64)
	texts := rapid.SliceOfN(rapid.StringN(1, 8, 32), 1, 3)
	flag := rapid.Bool()
	entity := func(name string) (id deputy.EntityID) {
		if flag.Draw(t, "has "+name) {
			id = deputy.EntityID(rapid.SliceOfN(rapid.Byte(), len(id), len(id)).Draw(t, name))
		}
		return id
	}
	e := &deputy.Evaluation{
		Legs: []deputy.EvaluatedLeg{
			{Principal: entity("first"), OnBehalf: flag.Draw(t, "on behalf"), Allowed: flag.Draw(t, "allowed")},
			{Principal: entity("second"), OnBehalf: true},
		},
		Resource: entity("resource"), From: entity("from"), Subject: entity("subject"),
		ActorClaims: entity("actor"), SubjectClaims: entity("claims"),
		Impersonate: flag.Draw(t, "impersonate"), Narrowable: flag.Draw(t, "narrowable"),
		Scopes: texts.Draw(t, "scopes"), Kept: texts.Draw(t, "kept"), Refusal: text.Draw(t, "refusal"), Errors: texts.Draw(t, "errors"),
	}
	if flag.Draw(t, "shadow") {
		e.Shadow = &deputy.ShadowOf{
			Event: "e", Policy: &deputy.EventPolicy{SetID: "s", SetVersionID: "v", Version: 2, Determining: texts.Draw(t, "determining")},
			Kept: texts.Draw(t, "enforced"), Refusal: text.Draw(t, "enforced refusal"), Diverged: flag.Draw(t, "diverged"),
		}
	}
	return e
}

func anyEvent(t *rapid.T) *deputy.Event {
	text := rapid.StringN(0, 12, 64)
	texts := rapid.SliceOfN(rapid.StringN(1, 8, 32), 0, 3)
	user := deputy.Actor{Type: "user", ID: text.Draw(t, "user"), Identifier: text.Draw(t, "identifier")}
	e := &deputy.Event{
		ID:             deputy.EventID(deputy.NewID(time.UnixMilli(rapid.Int64Range(0, 1<<41).Draw(t, "time")))),
		Time:           time.UnixMilli(rapid.Int64Range(0, 1<<41).Draw(t, "time")).UTC(),
		Type:           "credentials:issue",
		Outcome:        deputy.Success,
		Error:          text.Draw(t, "error"),
		ErrorDetail:    text.Draw(t, "detail"),
		ZoneID:         deputy.ZoneID(text.Draw(t, "zone")),
		OrganizationID: deputy.OrganizationID(text.Draw(t, "organization")),
		RequestID:      text.Draw(t, "request"),
		Actor:          deputy.Actor{Type: "application", ID: text.Draw(t, "app"), IdentityChain: []deputy.Actor{user}},
		Target:         &deputy.Target{Type: "zone", ID: text.Draw(t, "target")},
		Resource:       &deputy.EventResource{ID: "r", Identifier: text.Draw(t, "resource") + "x"},
		GrantType:      text.Draw(t, "grant"),
		Policy: &deputy.EventPolicy{
			SetID: "s", SetVersionID: "v", Version: rapid.Int().Draw(t, "version"), SchemaVersion: text.Draw(t, "schema"), ManifestSHA: text.Draw(t, "sha"),
			Policies: []deputy.EventPolicyVersion{{PolicyID: "p", VersionID: "pv"}, {PolicyID: "q", VersionID: "qv"}}[:rapid.IntRange(1, 2).Draw(t, "policies")], Latency: rapid.Int64Min(0).Draw(t, "latency"),
		},
		Package:    &deputy.EventPackage{ID: "p", Slug: text.Draw(t, "slug"), Version: rapid.Int().Draw(t, "package version"), InstallID: "i", TaskID: "t"},
		IP:         text.Draw(t, "ip"),
		UserAgent:  text.Draw(t, "agent"),
		Count:      rapid.Int().Draw(t, "count"),
		Evaluation: anyEvaluation(t),
	}
	if s := texts.Draw(t, "scopes"); len(s) > 0 {
		e.ScopesRequested, e.Changes, e.Policy.Determining, e.Package.Entities = s, s, s, s
	}
	return e
}

func TestRecordsReadBackWhatWasWritten(t *testing.T) {
	var r deputy.Record // of one event after the other: nothing of the last may be left
	rapid.Check(t, func(t *rapid.T) {
		want := anyEvent(t)
		if rapid.Bool().Draw(t, "person") {
			want.UserKey = "key"
		}
		if err := r.Take(t.Context(), want, reversal{}); err != nil {
			t.Fatal(err)
		}
		if !json.Valid(r.Bytes) {
			t.Fatalf("not JSON: %s", r.Bytes)
		}
		if r.Leaf != deputy.LeafHash(r.Bytes) {
			t.Fatal("the leaf hash is not that of the bytes")
		}
		got, err := r.Event(t.Context(), reversal{})
		if err != nil {
			t.Fatal(err)
		}
		var evaluation deputy.Evaluation
		if err := json.Unmarshal(deputy.EvaluationBytes(r.Bytes), &evaluation); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.Evaluation, &evaluation); diff != "" {
			t.Fatal(diff)
		}
		want.UserKey = ""
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestPersonalFieldsAreSealedAndCanBeForgotten(t *testing.T) {
	e := &deputy.Event{
		ID: "e", Type: "credentials:issue", UserKey: "key", IP: "192.0.2.7", UserAgent: "canary-agent",
		Actor: deputy.Actor{Type: "application", Identifier: "app", IdentityChain: []deputy.Actor{{Type: "user", ID: "u", Identifier: "canary@example.com"}}},
	}
	r := new(deputy.Record)
	err := r.Take(t.Context(), e, reversal{})
	if err != nil {
		t.Fatal(err)
	}
	for _, canary := range []string{"192.0.2.7", "canary"} {
		if bytes.Contains(r.Bytes, []byte(canary)) {
			t.Errorf("the record holds %q in clear: %s", canary, r.Bytes)
		}
	}
	if e.IP == "" || e.Actor.IdentityChain[0].Identifier == "" {
		t.Error("the caller's event was changed")
	}
	got, err := r.Event(t.Context(), reversal{erased: true})
	if err != nil {
		t.Fatal(err)
	}
	if got.IP != "" || got.Actor.IdentityChain[0].Identifier != "" || got.Actor.Identifier != "app" {
		t.Errorf("after the key is gone: %+v", got)
	}
}

func TestWithoutAPersonNothingIsSealed(t *testing.T) {
	r := new(deputy.Record)
	err := r.Take(t.Context(), &deputy.Event{ID: "e", IP: "192.0.2.7"}, nil)
	if err != nil || !strings.Contains(string(r.Bytes), `"ip":"192.0.2.7"`) || deputy.EvaluationBytes(r.Bytes) != nil {
		t.Errorf("%s, %v", r.Bytes, err)
	}
}

func BenchmarkRecord(b *testing.B) {
	e := &deputy.Event{
		ID: "01kg0000000000000000000000", Time: time.UnixMilli(1), Type: "credentials:issue", Outcome: deputy.Success,
		ZoneID: "01kg0000000000000000000000", OrganizationID: "01kg0000000000000000000000", RequestID: "6f1c2f0e-8f0e-4c52-9b58-0d6d2f6c1a11",
		Actor: deputy.Actor{Type: "application", ID: "01kg0000000000000000000000", Identifier: "billing-agent"}, ClientID: "abcdefghijklmnopqrstu",
		Resource: &deputy.EventResource{ID: "01kg0000000000000000000000", Identifier: "https://api.example.com/v1"}, GrantType: "client_credentials",
		ScopesRequested: []string{"read"}, ScopesGranted: []string{"read"}, JTI: "01kg0000000000000000000000", IP: "127.0.0.1", UserAgent: "Go-http-client/1.1",
		Policy: &deputy.EventPolicy{SetID: "01kg0000000000000000000000", SetVersionID: "01kg0000000000000000000000", Version: 3, Determining: []string{"01kg0000000000000000000000::default-app-direct-access"}},
	}
	var r deputy.Record
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Take(b.Context(), e, nil); err != nil {
			b.Fatal(err)
		}
	}
}
