package oauth_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"deputy/internal/deputy"
)

// platform is what signs the tokens of workloads: a cluster, a cloud, a CI
// system. It is an issuer on loopback; the shapes of its tokens are recorded
// from the real ones.
type platform struct {
	*world
	*publisher
	key      *outsideKey
	provider *deputy.Provider
}

// newPlatform registers an issuer that is found by discovery.
func (w *world) newPlatform(alg string) *platform {
	w.Helper()
	p := &platform{world: w, publisher: newPublisher(w), key: newOutsideKey("k-1", alg)}
	p.publish(p.key)
	p.put("/.well-known/openid-configuration", map[string]any{
		"issuer": p.URL, "jwks_uri": p.URL + "/jwks.json", "response_types_supported": []string{"id_token"},
		"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{alg},
	})
	p.provider = w.insertProvider(p.URL, nil)
	return p
}

func (w *world) insertProvider(identifier string, set func(*deputy.Provider)) *deputy.Provider {
	w.Helper()
	now := w.clock.Now()
	p := &deputy.Provider{
		ID: deputy.ProviderID(w.id()), OrganizationID: w.organization.ID, ZoneID: w.zone.ID, Owner: deputy.Customer, Slug: "p",
		Identifier: identifier, Name: "Platform", Type: deputy.ExternalProvider, CreatedAt: now, UpdatedAt: now,
	}
	if set != nil {
		set(p)
	}
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error { return tx.Providers().Insert(ctx, p) })
	return p
}

// trust lets an application in whose workload has the subject; "" is any.
func (p *platform) trust(a *app, subject string) *deputy.Credential {
	p.Helper()
	return p.insertCredential(a.Application, deputy.TokenCredential, func(c *deputy.Credential) {
		c.ProviderID, c.Identifier = p.provider.ID, deputy.AnySubject
		if subject != "" {
			c.Subject, c.Identifier = &subject, subject
		}
	})
}

// claims are those that all platforms give, with more.
func (p *platform) claims(subject string, more ...any) map[string]any {
	now := p.clock.Now()
	return with(map[string]any{
		"iss": p.URL, "sub": subject, "aud": p.issuer(), "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
	}, more...)
}

// as asks with a token of the platform.
func (p *platform) as(token string, more ...string) *answer {
	p.Helper()
	return p.post(nil, form(append([]string{
		"grant_type", "client_credentials", "resource", "urn:api", "client_assertion_type", jwtBearer, "client_assertion", token,
	}, more...)...))
}

// Tokens as the platforms write them (docs/workloads.md has the recipes).
func TestWorkloads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	api := w.newResource("urn:api", nil)
	for _, c := range []struct {
		name, alg, typ, subject string
		pattern                 string // of the credential; empty: the subject
		claims                  map[string]any
		audience                string // that the platform fixes
	}{
		{
			name: "Kubernetes service account", alg: "RS256", subject: "system:serviceaccount:agents:planner",
			claims: map[string]any{
				"jti": "c7d0e9b2-1f6c-4e9a-8f3d-0a1b2c3d4e5f", "nbf": noon.Unix(),
				"kubernetes.io": map[string]any{
					"namespace": "agents", "node": map[string]any{"name": "node-1", "uid": "0f1e"},
					"pod":            map[string]any{"name": "planner-7d9c", "uid": "5e6f"},
					"serviceaccount": map[string]any{"name": "planner", "uid": "a1b2"}, "warnafter": noon.Unix() + 3607,
				},
			},
		}, {
			name: "GitHub Actions", alg: "RS256", typ: "JWT", subject: "repo:acme/agents:ref:refs/heads/main", pattern: "repo:acme/agents:ref:refs/heads/*",
			claims: map[string]any{
				"jti": "4f9a", "nbf": noon.Unix() - 300, "ref": "refs/heads/main", "sha": "0123456789abcdef", "repository": "acme/agents", "repository_owner": "acme",
				"repository_owner_id": "65", "run_id": "42", "run_number": "7", "run_attempt": "1", "repository_visibility": "private", "repository_id": "74",
				"actor_id": "12", "actor": "octocat", "workflow": "deploy", "head_ref": "", "base_ref": "", "event_name": "push", "ref_protected": "true",
				"ref_type": "branch", "workflow_ref": "acme/agents/.github/workflows/deploy.yml@refs/heads/main", "workflow_sha": "0123",
				"job_workflow_ref": "acme/agents/.github/workflows/deploy.yml@refs/heads/main", "job_workflow_sha": "0123", "runner_environment": "github-hosted",
			},
		}, {
			name: "Google Cloud metadata server", alg: "RS256", typ: "JWT", subject: "110248495921238986420",
			claims: map[string]any{
				"azp": "110248495921238986420", "email": "agent@project.iam.gserviceaccount.com", "email_verified": true,
				"google": map[string]any{"compute_engine": map[string]any{
					"instance_creation_timestamp": 1511900000, "instance_id": "152986662232938449", "instance_name": "agent", "project_id": "project", "project_number": 739419398126, "zone": "us-west1-a",
				}},
			},
		}, {
			name: "AWS EKS service account", alg: "RS256", subject: "system:serviceaccount:default:agent", audience: "sts.amazonaws.com",
			claims: map[string]any{
				"aud": []string{"sts.amazonaws.com"}, "jti": "0c1d", "nbf": noon.Unix(),
				"kubernetes.io": map[string]any{"namespace": "default", "pod": map[string]any{"name": "agent", "uid": "1"}, "serviceaccount": map[string]any{"name": "agent", "uid": "2"}},
			},
		}, {
			name: "Vercel", alg: "RS256", typ: "JWT", subject: "owner:acme:project:agents:environment:production", audience: "https://vercel.com/acme",
			claims: map[string]any{
				"aud": "https://vercel.com/acme", "nbf": noon.Unix(), "scope": "owner:acme:project:agents:environment:production",
				"owner": "acme", "owner_id": "team_7Gw5", "project": "agents", "project_id": "prj_7Gw5", "environment": "production", "plan": "pro",
			},
		}, {
			name: "Fly machine", alg: "RS256", typ: "JWT", subject: "acme:agents:winter-moon-1234", pattern: "acme:agents:*",
			claims: map[string]any{
				"app_id": "3671581", "app_name": "agents", "image": "image:latest", "image_digest": "sha256:dff79c6d", "jti": "e7a5", "machine_id": "3d8d377ce9e398",
				"machine_name": "winter-moon-1234", "machine_version": "01HRJ0", "nbf": noon.Unix(), "org_id": "29873298", "org_name": "acme", "region": "yyz",
			},
		}, {
			name: "SPIFFE JWT-SVID", alg: "ES256", typ: "JWT", subject: "spiffe://acme.example/ns/agents/sa/planner", pattern: "spiffe://acme.example/ns/agents/*",
			claims: map[string]any{"aud": []string{"AUD", "https://other.test"}},
		}, {
			name: "SPIFFE JWT-SVID with ES384", alg: "ES384", typ: "JOSE", subject: "spiffe://acme.example/agent", claims: map[string]any{"iat": nil},
		}, {
			name: "any subject", alg: "RS256", subject: "whoever", pattern: "*",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, a := w.newPlatform(c.alg), w.newApp(c.name)
			w.depend(a, api)
			if c.audience != "" {
				w.changeProvider(p.provider, func(x *deputy.Provider) { x.OAuth2 = &deputy.ProviderOAuth2{AllowedAudiences: []string{c.audience}} })
			}
			pattern := c.pattern
			switch pattern {
			case "":
				pattern = c.subject
			case "*":
				pattern = ""
			}
			credential := p.trust(a, pattern)
			claims := p.claims(c.subject)
			for name, value := range c.claims {
				claims = with(claims, name, value)
			}
			if list, ok := claims["aud"].([]string); ok && list[0] == "AUD" {
				claims["aud"] = []string{w.issuer(), list[1]}
			}
			header := map[string]any{"alg": c.alg, "kid": "k-1"}
			if c.typ != "" {
				header["typ"] = c.typ
			}
			token := p.key.sign(header, claims)
			for range 3 { // as long as it is good
				got := w.must(p.as(token), 200, "")
				if said := w.payload(got.text("access_token")); said["client_id"] != string(credential.ID) || said["sub"] != a.Identifier {
					t.Fatalf("the token is %v", said)
				}
			}
			if e := w.lastEvent(); e.CredentialID != credential.ID || e.ClientID != string(credential.ID) {
				t.Errorf("the event is %+v", e)
			}
			w.must(p.as(token, "client_id", string(credential.ID)), 200, "")
			w.must(p.as(p.key.sign(header, with(claims, "sub", "x"+c.subject))), map[bool]int{true: 200, false: 401}[pattern == ""], map[bool]string{false: "invalid_client"}[pattern == ""])
			if n := p.fetched("/jwks.json"); n > 1 {
				t.Errorf("the keys were fetched %d times", n)
			}
			if c.audience != "" {
				w.changeProvider(p.provider, func(x *deputy.Provider) { x.OAuth2 = nil })
				w.must(p.as(token), 401, "invalid_client")
			}
		})
	}
}

// changeProvider changes a provider.
func (w *world) changeProvider(p *deputy.Provider, change func(*deputy.Provider)) {
	w.Helper()
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.Providers().Update(ctx, w.in(), deputy.ID(p.ID), func(p *deputy.Provider) error { change(p); return nil })
		return err
	})
}

// Who a workload is: the closest credential, and nobody where two are as close.
func TestWhoAWorkloadIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.newResource("urn:api", nil)
	w.activateText("permit (principal, action, resource);")
	p := w.newPlatform("ES256")
	apps := make(map[string]*app)
	for _, subject := range []string{"org:app:one", "org:app:*", "org:*", ""} {
		apps[subject] = w.newApp("of " + subject)
		p.trust(apps[subject], subject)
	}
	check := func(subject, want string, more ...string) {
		t.Helper()
		got := w.must(p.as(p.key.token(p.claims(subject)), more...), 200, "")
		if id := w.payload(got.text("access_token"))["sub"]; id != apps[want].Identifier {
			t.Errorf("%s is %v, want that %s", subject, id, apps[want].Identifier)
		}
	}
	check("org:app:one", "org:app:one")
	check("org:app:two", "org:app:*")
	check("org:other", "org:*")
	check("else", "")
	// The same application twice is no question; another one is.
	same := p.trust(apps["org:app:one"], "org:app:one")
	check("org:app:one", "org:app:one")
	other := w.newApp("other")
	twin := p.trust(other, "org:app:one")
	apps["twin"] = other
	w.must(p.as(p.key.token(p.claims("org:app:one"))), 401, "invalid_client")
	check("org:app:one", "org:app:one", "client_id", string(same.ID))
	check("org:app:one", "twin", "client_id", string(twin.ID))
	w.must(p.as(p.key.token(p.claims("org:app:two")), "client_id", string(twin.ID)), 401, "invalid_client")
	w.must(p.as(p.key.token(p.claims("org:app:one")), "client_id", other.credential.Identifier), 401, "invalid_client")
	w.must(p.as(p.key.token(p.claims("org:app:one")), "client_id", "nobody"), 401, "invalid_client")
	elsewhere := w.newPlatform("ES256").trust(other, "")
	w.must(p.as(p.key.token(p.claims("org:app:one")), "client_id", string(elsewhere.ID)), 401, "invalid_client")
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		return tx.Credentials().Delete(ctx, w.in(), deputy.ID(twin.ID))
	})
	check("org:app:one", "org:app:one")
	// Two providers may have one issuer; the closer credential counts all the same.
	again := w.insertProvider("again", func(x *deputy.Provider) {
		x.OAuth2 = &deputy.ProviderOAuth2{Issuer: &p.URL}
	})
	apps["again"] = w.newApp("again")
	w.insertCredential(apps["again"].Application, deputy.TokenCredential, func(c *deputy.Credential) {
		subject := "org:app:two"
		c.ProviderID, c.Subject, c.Identifier = again.ID, &subject, subject
	})
	check("org:app:two", "again")
	check("org:app:three", "org:app:*")
	// A credential that comes or goes counts for the next request.
	apps["late"] = w.newApp("late")
	late := p.trust(apps["late"], "else")
	check("else", "late")
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		return tx.Credentials().Delete(ctx, w.in(), deputy.ID(late.ID))
	})
	check("else", "")
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		return tx.Providers().Delete(ctx, w.in(), deputy.ID(p.provider.ID))
	})
	w.must(p.as(p.key.token(p.claims("else"))), 401, "invalid_client")
}

// activateText makes one policy that of the zone.
func (w *world) activateText(text string) {
	w.Helper()
	w.activate(w.zone, "test "+string(w.id()), []string{"one"}, map[string]string{"one": text})
}

// What is no token of a workload, although it looks like one.
func TestForgedWorkloads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.depend(w.newApp("x"), w.newResource("urn:api", nil))
	p, other := w.newPlatform("RS256"), w.newPlatform("ES256")
	p.trust(w.newApp("agent"), "")
	other.trust(w.newApp("another"), "")
	zone2, _, _ := w.newZone(w.organization, deputy.PathIssuer)
	good, now := p.claims("agent"), w.clock.Now()
	header := func(pairs ...any) map[string]any { return with(map[string]any{"alg": "RS256", "kid": "k-1"}, pairs...) }
	nothing := func([]byte) []byte { return nil }
	sts := with(good, "iss", w.issuer(), "sub", "urn:app:agent")
	w.insertCredential(w.newApp("self").Application, deputy.TokenCredential, func(c *deputy.Credential) {
		c.ProviderID, c.Identifier = w.sts.ID, deputy.AnySubject
	})
	for name, token := range map[string]string{
		"alg none":                    jws(header("alg", "none"), good, nothing),
		"HMAC":                        jws(header("alg", "HS256"), good, hs256([]byte("secret"))),
		"another key":                 newOutsideKey("k-1", "ES256").sign(map[string]any{"alg": "ES256", "kid": "k-1"}, good),
		"the key of another provider": other.key.sign(map[string]any{"alg": "ES256", "kid": "k-1"}, good),
		"a kid that is not there":     p.key.sign(header("kid", "k-2"), good),
		"kid twice":                   jws(`{"alg":"RS256","kid":"k-2","kid":"k-1"}`, good, func(in []byte) []byte { return p.key.signature("RS256", in) }),
		"typ of an access token":      p.key.sign(header("typ", "at+jwt"), good),
		"typ of an impersonation":     p.key.sign(header("typ", "vnd.kc.su+jwt"), good),
		"crit":                        p.key.sign(header("crit", []string{"x"}, "x", 1), good),
		"an unknown issuer":           p.key.token(with(good, "iss", "https://issuer.test")),
		"the issuer with a slash":     p.key.token(with(good, "iss", p.URL+"/")),
		"no issuer":                   p.key.token(with(good, "iss", nil)),
		"no subject":                  p.key.token(with(good, "sub", nil)),
		"an empty subject":            p.key.token(with(good, "sub", "")),
		"a subject of nul":            p.key.token(with(good, "sub", "a\x00b")),
		"an endless subject":          p.key.token(with(good, "sub", strings.Repeat("x", 4096))),
		"no audience":                 p.key.token(with(good, "aud", nil)),
		"another audience":            p.key.token(with(good, "aud", "sts.amazonaws.com")),
		"another zone":                p.key.token(with(good, "aud", w.config.Addresses.Issuer(zone2))),
		"no end":                      p.key.token(with(good, "exp", nil)),
		"expired":                     p.key.token(with(good, "exp", now.Unix())),
		"not good yet":                p.key.token(with(good, "nbf", now.Add(2*time.Minute).Unix())),
		"from the future":             p.key.token(with(good, "iat", now.Add(time.Hour).Unix())),
		"oversized":                   p.key.token(with(good, "padding", strings.Repeat("x", 16<<10))),
		"a token of this zone":        w.sign(deputy.ES256, "at+jwt", sts),
		"an ID token of this zone":    w.sign(deputy.ES256, "JWT", sts),
	} {
		if got := p.as(token); got.status != 401 || got.text("error") != "invalid_client" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if n := len(w.events("credentials:issue")); n != 0 {
		t.Errorf("they left %d events", n)
	}
	w.must(p.as(p.key.token(good)), 400, "access_denied") // the good one has no dependency
}

// What an issuer says of itself is believed only of itself.
func TestIssuersAreDiscovered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.newApp("agent")
	w.depend(agent, w.newResource("urn:api", nil))
	p := w.newPlatform("ES256")
	p.trust(agent, "")
	const path = "/.well-known/openid-configuration"
	for name, content := range map[string]any{
		"another issuer": map[string]any{"issuer": "https://issuer.test", "jwks_uri": p.URL + "/jwks.json"},
		"no keys":        map[string]any{"issuer": p.URL},
		"no JSON":        "<html>",
		"nothing":        nil,
	} {
		p.put(path, content)
		w.clock.advance(2 * time.Hour)
		if got := p.as(p.key.token(p.claims("x"))); got.status != 401 {
			t.Errorf("%s: %s", name, got)
		}
	}
	keys := p.URL + "/jwks.json" // what is configured needs no discovery
	w.changeProvider(p.provider, func(x *deputy.Provider) { x.OAuth2 = &deputy.ProviderOAuth2{JWKSURI: &keys} })
	w.must(p.as(p.key.token(p.claims("x"))), 200, "")
	issuer := "https://kubernetes.default.svc"
	w.changeProvider(p.provider, func(x *deputy.Provider) { x.OAuth2.Issuer = &issuer })
	w.must(p.as(p.key.token(p.claims("x"))), 401, "invalid_client")
	w.must(p.as(p.key.token(p.claims("x", "iss", issuer))), 200, "")
}

// What a platform says of a workload can be asked by policies, and lies in its
// session.
func TestPoliciesSeeAWorkload(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.newApp("agent")
	api := w.newResource("urn:api", func(r *deputy.Resource) { r.ApplicationID = &agent.ID })
	p := w.newPlatform("ES256")
	credential := p.trust(agent, "repo:acme/*")
	w.activateText(`permit (principal, action, resource) when {
		!(context has actor_claims) || context.actor_claims.hasTag("environment") && context.actor_claims.getTag("environment") == "production"
	};`)
	w.must(p.as(p.key.token(p.claims("repo:acme/a", "environment", "test"))), 400, "access_denied")
	w.must(p.as(p.key.token(p.claims("repo:acme/a", "environment", "production"))), 200, "")
	zoe := w.newPerson("zoe")
	subject := w.userToken(zoe, string(credential.ID), api.Identifier)
	ask := func(environment string) *answer {
		f := form("grant_type", exchangeGrantType, "subject_token", subject, "subject_token_type", accessTokenType, "resource", api.Identifier,
			"client_assertion_type", jwtBearer, "client_assertion", p.key.token(p.claims("repo:acme/a", "environment", environment)))
		return w.post(nil, f)
	}
	w.must(ask("test"), 400, "access_denied")
	a := w.must(ask("production"), 200, "")
	act := w.payload(a.text("access_token"))["act"].(map[string]any)
	if act["sub"] != agent.Identifier || act["client_id"] != string(credential.ID) {
		t.Errorf("act is %v", act)
	}
	list, err := w.store.Sessions().List(context.Background(), w.in(), deputy.Query{})
	if err != nil {
		t.Fatal(err)
	}
	list.Items = slices.DeleteFunc(list.Items, func(s *deputy.Session) bool { return s.Type != deputy.ApplicationSession })
	if len(list.Items) != 1 {
		t.Fatalf("%d sessions of applications", len(list.Items))
	}
	if s := list.Items[0]; s.Issuer != p.URL || s.Subject != "repo:acme/a" || *s.ProviderID != p.provider.ID || !strings.Contains(string(s.Data), "production") {
		t.Errorf("the session is %+v", s)
	}
}
