package oauth_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"deputy/internal/deputy"
)

// both are the algorithms of a zone as its create call leaves it.
var both = []deputy.SigningAlgorithm{deputy.RS256, deputy.ES256}

func TestClientCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t, both...)
	agent := w.newApp("agent")
	r := w.newResource("https://api.test/v1", func(r *deputy.Resource) { r.Scopes = []string{"read", "write"} })
	w.depend(agent, r)
	before := len(w.events("credentials:issue"))
	a := w.must(w.credentialsFor(agent, r.Identifier, "scope", "read bogus read"), 200, "")

	token := a.text("access_token")
	delete(a.json, "access_token")
	if diff := cmp.Diff(map[string]any{"token_type": "Bearer", "expires_in": 3600.0, "scope": "read"}, a.json); diff != "" {
		t.Error("the answer:", diff)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "no-store", "Access-Control-Allow-Origin": "*",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if diff := cmp.Diff(map[string]any{
		"alg": "RS256", "typ": "at+jwt", "kid": w.signers[deputy.RS256].KeyID(),
	}, w.part(token, 0)); diff != "" {
		t.Error("the header:", diff)
	}
	events := w.events("credentials:issue")
	if len(events) != before+1 {
		t.Fatalf("%d events for one request", len(events)-before)
	}
	e := events[len(events)-1]
	now := float64(w.clock.Now().Unix())
	if diff := cmp.Diff(map[string]any{
		"iss": w.issuer(), "sub": agent.Identifier, "aud": r.Identifier, "iat": now, "exp": now + 3600, "jti": string(e.ID),
		"client_id": agent.credential.Identifier, "sub_profile": "app", "keycard_app_id": agent.Identifier, "scope": "read",
	}, w.payload(token)); diff != "" {
		t.Error("the claims:", diff)
	}
	e.Policy.Determining = nil // labels are of package policy
	if e.Evaluation == nil || !e.Evaluation.Allowed() {
		t.Errorf("the event does not tell what was decided: %+v", e.Evaluation)
	}
	e.Evaluation = nil
	if diff := cmp.Diff(&deputy.Event{
		ID: e.ID, JTI: e.ID, Time: w.clock.Now(), Type: "credentials:issue", Outcome: "success",
		ZoneID: w.zone.ID, OrganizationID: w.organization.ID, RequestID: e.RequestID,
		Actor:    deputy.Actor{Type: "application", ID: string(agent.ID), Identifier: agent.Identifier},
		ClientID: agent.credential.Identifier, CredentialID: agent.credential.ID,
		Resource:   &deputy.EventResource{ID: r.ID, Identifier: r.Identifier},
		ProviderID: w.sts.ID, GrantType: "client_credentials", ScopesRequested: []string{"read", "bogus"}, ScopesGranted: []string{"read"},
		Policy: e.Policy, IP: "192.0.2.7",
	}, e); diff != "" {
		t.Error("the event:", diff)
	}
	if e.Policy.SetID == "" || e.Policy.SetVersionID == "" || e.Policy.Version != 1 {
		t.Errorf("the event names no policy: %+v", e.Policy)
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.newApp("agent")
	const given = "6F1c2f0e-8f0e-4c52-9b58-0d6d2f6c1a11"
	for _, c := range []struct {
		header string
		kept   bool
	}{{given, true}, {"", false}, {given + "0", false}, {"not-a-uuid", false}, {strings.ReplaceAll(given, "-", "0"), false}} {
		r := httptest.NewRequest("POST", "/z/"+string(w.zone.ID)+"/oauth/2/token", strings.NewReader("grant_type=nonsense"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("X-Client-Request-ID", c.header)
		r.SetBasicAuth(agent.credential.Identifier, agent.secret)
		a := w.must(w.do(r), 400, "unsupported_grant_type")
		id := a.text("requestId")
		if (id == c.header) != c.kept || len(id) != 36 {
			t.Errorf("header %q gave request id %q", c.header, id)
		}
		if got := w.lastEvent().RequestID; got != id {
			t.Errorf("the event has request id %q, the answer %q", got, id)
		}
	}
}

// setZone changes the zone.
func (w *world) setZone(change func(*deputy.Zone)) {
	w.Helper()
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		z, err := tx.Zones().Update(ctx, deputy.Scope{Organization: w.organization.ID}, deputy.ID(w.zone.ID), func(z *deputy.Zone) error {
			change(z)
			return nil
		})
		if err == nil {
			*w.zone = *z
		}
		return err
	})
}

func (w *world) setResource(r *deputy.Resource, change func(*deputy.Resource)) {
	w.Helper()
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.Resources().Update(ctx, w.in(), deputy.ID(r.ID), func(r *deputy.Resource) error {
			change(r)
			return nil
		})
		return err
	})
}

func TestSigningAlgorithm(t *testing.T) {
	t.Parallel()
	w := newWorld(t, both...)
	agent := w.newApp("agent")
	r := w.newResource("urn:api", nil)
	w.depend(agent, r)
	alg := func() any {
		t.Helper()
		return w.part(w.must(w.credentialsFor(agent, "urn:api"), 200, "").text("access_token"), 0)["alg"]
	}
	if got := alg(); got != "RS256" {
		t.Errorf("by default: %v", got)
	}
	w.setZone(func(z *deputy.Zone) { z.SigningAlg = "ES256" })
	if got := alg(); got != "ES256" {
		t.Errorf("with a zone of ES256: %v", got)
	}
	own := "RS256"
	w.setResource(r, func(r *deputy.Resource) { r.SigningAlg = &own })
	if got := alg(); got != "RS256" {
		t.Errorf("with a resource of RS256 in a zone of ES256: %v", got)
	}
}

func TestLifetime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.newApp("agent")
	r := w.newResource("urn:api", func(r *deputy.Resource) { n := 61; r.Lifetime = &n })
	w.depend(agent, r)
	a := w.must(w.credentialsFor(agent, "urn:api"), 200, "")
	claims := w.payload(a.text("access_token"))
	if a.json["expires_in"] != 61.0 || claims["exp"].(float64)-claims["iat"].(float64) != 61 {
		t.Errorf("expires_in %v, claims %v", a.json["expires_in"], claims)
	}
}

func TestDefaultResource(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.newApp("agent")
	builtin, err := w.store.Resources().Find(context.Background(), w.in(), "identifier", deputy.UserInfoIdentifier)
	if err != nil {
		t.Fatal(err)
	}
	// Who names no resource gets a token that says who it is, in a zone where
	// nothing was set up but the client.
	for _, resource := range []string{"", w.issuer()} {
		a := w.must(w.credentialsFor(agent, resource), 200, "")
		if got := w.payload(a.text("access_token"))["aud"]; got != w.issuer() {
			t.Errorf("resource %q: aud %v", resource, got)
		}
	}
	// Other built-in resources have to be depended on, and so has the default
	// that somebody has chosen.
	w.newResource(deputy.EventsIdentifier, func(r *deputy.Resource) { r.Owner = deputy.Platform })
	w.must(w.credentialsFor(agent, w.issuer()+"/events"), 400, "access_denied")
	r := w.newResource("urn:default", nil)
	w.setZone(func(z *deputy.Zone) { z.DefaultResourceID = &r.ID })
	w.must(w.credentialsFor(agent, ""), 400, "access_denied")
	w.depend(agent, r)
	a := w.must(w.credentialsFor(agent, ""), 200, "")
	if got := w.payload(a.text("access_token"))["aud"]; got != "urn:default" {
		t.Errorf("with a default resource: aud %v", got)
	}
	w.setZone(func(z *deputy.Zone) { z.DefaultResourceID = nil })
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		return tx.Resources().Delete(ctx, w.in(), deputy.ID(builtin.ID))
	})
	w.must(w.credentialsFor(agent, ""), 400, "invalid_target")
}

func TestScopes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.newApp("agent")
	r := w.newResource("urn:api", func(r *deputy.Resource) { r.Scopes = []string{"read", "write"} })
	silent := w.newResource("urn:silent", nil)
	w.depend(agent, r)
	w.depend(agent, silent)
	for _, c := range []struct{ resource, requested, granted string }{
		{"urn:api", "", ""},
		{"urn:api", "write read", "write read"},
		{"urn:api", "write write", "write"},
		{"urn:api", " read  ", "read"},
		{"urn:api", "other", ""},
		{"urn:silent", "read", ""},
	} {
		a := w.must(w.credentialsFor(agent, c.resource, "scope", c.requested), 200, "")
		claim, inToken := w.payload(a.text("access_token"))["scope"]
		_, inAnswer := a.json["scope"]
		if a.text("scope") != c.granted || inAnswer != (c.granted != "") || inToken != inAnswer || inToken && claim != c.granted {
			t.Errorf("scope %q at %s: answer %s, claim %v", c.requested, c.resource, a, claim)
		}
	}
	for _, bad := range []string{"a\"b", "a\\b", "é", "a\tb", strings.Repeat("x", 256), manyScopes(257)} {
		w.must(w.credentialsFor(agent, "urn:api", "scope", bad), 400, "invalid_scope")
	}
}

// manyScopes returns n different scopes.
func manyScopes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "s%d ", i)
	}
	return b.String()
}

func TestTargets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.newApp("agent")
	for identifier, prefix := range map[string]bool{
		"https://a.co":           false,
		"https://b.co/":          false,
		"https://p.co/api":       true,
		"https://p.co/api/v2":    true,
		"https://p.co/plain":     false,
		"https://s.co/":          true,
		"https://o.co":           true,
		"urn:x:y":                false,
		"snowflakecomputing.com": false,
	} {
		w.depend(agent, w.newResource(identifier, func(r *deputy.Resource) { r.Prefix = prefix }))
	}
	for requested, aud := range map[string]any{
		"https://a.co":               "https://a.co",
		"https://a.co/":              []any{"https://a.co/", "https://a.co"},
		"https://b.co":               []any{"https://b.co", "https://b.co/"},
		"https://p.co/api":           "https://p.co/api",
		"https://p.co/api/x":         []any{"https://p.co/api/x", "https://p.co/api"},
		"https://p.co/api?q":         []any{"https://p.co/api?q", "https://p.co/api"},
		"https://p.co/api/v2/x":      []any{"https://p.co/api/v2/x", "https://p.co/api/v2"},
		"https://p.co/api/v22":       []any{"https://p.co/api/v22", "https://p.co/api"},
		"https://s.co/deep/er":       []any{"https://s.co/deep/er", "https://s.co/"},
		"https://o.co/x":             []any{"https://o.co/x", "https://o.co"},
		"urn:x:y":                    "urn:x:y",
		"snowflakecomputing.com":     "snowflakecomputing.com",
		"https://p.co/apix":          nil,
		"https://p.co/plain/x":       nil,
		"https://p.co/api/../plain":  nil,
		"https://p.co/api/%2e%2e/x":  nil,
		"https://p.co/api%2fx":       nil,
		"https://p.co/api/..;/x":     nil,
		"https://p.co/api/..%3Ba/x":  nil,
		"https://p.co/api/.;x/x":     nil,
		"https://p.co/api/..":        nil,
		"https://p.co/api/...":       []any{"https://p.co/api/...", "https://p.co/api"},
		"https://p.co/api/a;..":      []any{"https://p.co/api/a;..", "https://p.co/api"},
		"https://p.co/api/?q=/../":   []any{"https://p.co/api/?q=/../", "https://p.co/api"},
		"https://P.co/api":           nil,
		"http://p.co/api":            nil,
		"https://o.com":              nil,
		"https://o.co:8443/x":        nil,
		"https://o.co@evil.test/":    nil,
		"https://a.co/x":             nil,
		" https://a.co":              nil,
		"urn:x:y/":                   nil,
		"https://nowhere.test\nx":    nil,
		strings.Repeat("https:/", 9): nil,
	} {
		a := w.credentialsFor(agent, requested)
		if aud == nil {
			w.must(a, 400, "invalid_target")
			if !strings.HasPrefix(a.text("error_description"), "Requested authorization for unknown resource") {
				t.Errorf("%q: %s", requested, a)
			}
			if strings.Contains(a.text("error_description"), "\n") {
				t.Errorf("the description has a line break: %s", a)
			}
			continue
		}
		if a.status != 200 {
			t.Errorf("%q: %s", requested, a)
			continue
		}
		if diff := cmp.Diff(aud, w.payload(a.text("access_token"))["aud"]); diff != "" {
			t.Errorf("%q: aud %s", requested, diff)
		}
	}
	// What is asked for goes into the token, so it is no longer than an
	// identifier may be.
	longest := "https://p.co/api/" + strings.Repeat("x", 2048-17)
	w.must(w.credentialsFor(agent, longest), 200, "")
	w.must(w.credentialsFor(agent, longest+"x"), 400, "invalid_target")
	f := form("grant_type", "client_credentials", "resource", "urn:x:y", "resource", "https://a.co")
	w.must(w.post(agent, f), 400, "invalid_target")
	f = form("grant_type", "client_credentials", "resource", "urn:x:y", "resource", "urn:x:y", "audience", "other", "subject_token_type", "x")
	w.must(w.post(agent, f), 200, "") // what the grant has no use for is ignored
}

func TestRefusalsOfPolicyAndProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.newApp("agent")
	for _, c := range []struct {
		identifier  string
		set         func(*deputy.Resource)
		lonely      bool // no dependency
		code, texts string
	}{
		{identifier: "urn:lonely", lonely: true, code: "access_denied", texts: `Application "agent" is not allowed to access "Resource urn:lonely".`},
		{
			identifier: "urn:bare", code: "invalid_target", texts: `Resource "urn:bare" is missing a credential provider`,
			set: func(r *deputy.Resource) { r.CredentialProviderID = nil },
		},
		{
			identifier: "urn:vaulted", code: "invalid_target", texts: `Resource "urn:vaulted" has no secret attached.`,
			set: func(r *deputy.Resource) { r.CredentialProviderID = &w.vaulted.ID },
		},
	} {
		r := w.newResource(c.identifier, c.set)
		if !c.lonely {
			w.depend(agent, r)
		}
		a := w.must(w.credentialsFor(agent, c.identifier, "scope", "x"), 400, c.code)
		if got := a.text("error_description"); got != c.texts {
			t.Errorf("%s: %q, want %q", c.identifier, got, c.texts)
		}
		e := w.lastEvent()
		if e.Outcome != "failure" || e.Error != c.code || e.ErrorDetail != c.texts || e.JTI != "" || e.Resource.ID != r.ID ||
			!cmp.Equal(e.ScopesRequested, []string{"x"}) || e.ScopesGranted != nil {
			t.Errorf("%s: the event is %+v", c.identifier, e)
		}
	}
	external := &deputy.Provider{
		ID: deputy.ProviderID(w.id()), OrganizationID: w.organization.ID, ZoneID: w.zone.ID, Owner: deputy.Customer, Slug: "ext",
		Identifier: "https://github.test", Name: "ext", Type: deputy.ExternalProvider, CreatedAt: w.clock.Now(), UpdatedAt: w.clock.Now(),
	}
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error { return tx.Providers().Insert(ctx, external) })
	r := w.newResource("urn:external", func(r *deputy.Resource) { r.CredentialProviderID = &external.ID })
	w.depend(agent, r)
	w.must(w.credentialsFor(agent, "urn:external"), 400, "invalid_target")
}

func TestForbidNamesItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.newApp("agent")
	r := w.newResource("urn:api", func(r *deputy.Resource) { r.Scopes = []string{"read", "drop"} })
	w.depend(agent, r)
	w.must(w.credentialsFor(agent, "urn:api"), 200, "")
	w.activate(w.zone, "mine", []string{"allow", "no drops", "gone"}, map[string]string{
		"allow":    `permit (principal, action, resource);`,
		"no drops": `@id("no-drops") forbid (principal, action, resource) when { context has scopes && context.scopes.contains("drop") };`,
		"gone":     `forbid (principal, action, resource) when { resource.identifier == "urn:gone" };`,
	})
	w.must(w.credentialsFor(agent, "urn:api", "scope", "read"), 200, "")
	a := w.must(w.credentialsFor(agent, "urn:api", "scope", "read drop"), 400, "access_denied")
	want := `Access to "Resource urn:api" is denied by Policy "mine/no drops" in version 1 of Policy Set "mine".`
	if got := a.text("error_description"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	e := w.lastEvent()
	if e.Policy == nil || len(e.Policy.Determining) != 1 || !strings.HasSuffix(e.Policy.Determining[0], "::no-drops") {
		t.Errorf("the event names %+v", e.Policy)
	}
}

func TestApplicationSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.newApp("agent")
	r := w.newResource("urn:api", nil)
	w.depend(agent, r)
	sessions := func() []*deputy.Session {
		t.Helper()
		page, err := w.store.Sessions().List(context.Background(), w.in(), deputy.Query{})
		if err != nil {
			t.Fatal(err)
		}
		return page.Items
	}
	w.must(w.credentialsFor(agent, "urn:api"), 200, "")
	first := sessions()
	if len(first) != 1 || first[0].Type != deputy.ApplicationSession || *first[0].CredentialID != agent.credential.ID ||
		*first[0].ApplicationID != agent.ID || first[0].Issuer != w.issuer() || *first[0].ProviderID != w.sts.ID {
		t.Fatalf("sessions after the first token: %+v", first)
	}
	w.clock.advance(30 * time.Second)
	w.must(w.credentialsFor(agent, "urn:api"), 200, "")
	if again := sessions(); len(again) != 1 || !again[0].AuthenticatedAt.Equal(first[0].AuthenticatedAt) {
		t.Errorf("the session was written again within a minute")
	}
	w.clock.advance(31 * time.Second)
	w.must(w.credentialsFor(agent, "urn:api"), 200, "")
	if again := sessions(); len(again) != 1 || !again[0].AuthenticatedAt.Equal(w.clock.Now()) {
		t.Errorf("the session was not written after a minute: %+v", again[0])
	}
}

func TestNonASCIIStaysASCII(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.newApp("agent")
	r := w.newResource("urn:api", nil)
	w.depend(agent, r)
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.Applications().Update(ctx, w.in(), deputy.ID(agent.ID), func(a *deputy.Application) error {
			a.Identifier = "urn:app:Zoë 😀"
			return nil
		})
		return err
	})
	token := w.must(w.credentialsFor(agent, "urn:api"), 200, "").text("access_token")
	payload := decode(t, strings.Split(token, ".")[1])
	for _, c := range payload {
		if c >= 0x80 {
			t.Fatalf("the payload is not ASCII: %s", payload)
		}
	}
	if got := w.payload(token)["sub"]; got != "urn:app:Zoë 😀" {
		t.Errorf("sub: %v", got)
	}
}

// TestGone: nothing is issued to a caller who has gone, and nobody's log is
// filled.
func TestGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.newApp("agent")
	r := w.newResource("urn:api", nil)
	w.depend(agent, r)
	var logged strings.Builder
	w.config.Logger = slog.New(slog.NewTextHandler(&logged, nil))
	w.restart()
	w.must(w.credentialsFor(agent, "urn:api"), 200, "")
	before := len(w.events("credentials:issue"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	request := httptest.NewRequest("POST", "/z/"+string(w.zone.ID)+"/oauth/2/token", strings.NewReader("grant_type=client_credentials&resource=urn:api"))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(agent.credential.Identifier, agent.secret)
	if a := w.do(request.WithContext(ctx)); a.status == 200 {
		t.Errorf("got %s", a)
	}
	if n := len(w.events("credentials:issue")) - before; n != 0 || logged.Len() > 0 {
		t.Errorf("%d events, log %q", n, logged.String())
	}
}

// TestStoreGone: without a store nothing is issued.
func TestStoreGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.newApp("agent")
	r := w.newResource("urn:api", nil)
	w.depend(agent, r)
	w.must(w.credentialsFor(agent, "urn:api"), 200, "")
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	a := w.must(w.credentialsFor(agent, "urn:api"), 503, "temporarily_unavailable")
	if a.header.Get("Retry-After") == "" {
		t.Errorf("no Retry-After: %v", a.header)
	}
}
