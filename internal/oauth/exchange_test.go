package oauth_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"deputy/internal/deputy"
	"deputy/internal/keys"
)

// relay is a chain in the making: an agent gets a token for the server's
// resource, the server exchanges it for the API's.
type relay struct {
	*world
	agent, server *app
	front, api    *deputy.Resource
	token         string // the agent's, for the front resource
}

func newRelay(t testing.TB, algs ...deputy.SigningAlgorithm) *relay {
	return newRelayIn(newWorld(t, algs...))
}

func newRelayIn(w *world) *relay {
	r := &relay{world: w, agent: w.newApp("agent"), server: w.newApp("server")}
	r.front = w.newResource("https://front.test/mcp", func(x *deputy.Resource) {
		x.ApplicationID, x.Scopes = &r.server.ID, []string{"use", "admin"}
	})
	r.api = w.newResource("https://api.test", func(x *deputy.Resource) { x.Scopes = []string{"read", "write"} })
	w.depend(r.agent, r.front)
	w.depend(r.agent, r.api)
	r.token = w.must(w.credentialsFor(r.agent, r.front.Identifier, "scope", "use"), 200, "").text("access_token")
	return r
}

func TestExchangeOfApplicationToken(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	before := len(w.events("credentials:issue"))
	a := w.must(w.exchange(w.server, w.token, w.api.Identifier, "scope", "read admin"), 200, "")
	claims := w.payload(a.text("access_token"))
	delete(a.json, "access_token")
	if diff := cmp.Diff(map[string]any{
		"issued_token_type": accessTokenType, "token_type": "Bearer", "expires_in": 3600.0, "scope": "read",
	}, a.json); diff != "" {
		t.Error("the answer:", diff)
	}
	events := w.events("credentials:issue")
	if len(events) != before+1 {
		t.Fatalf("%d events for one exchange", len(events)-before)
	}
	e := events[len(events)-1]
	now := float64(w.clock.Now().Unix())
	if diff := cmp.Diff(map[string]any{
		"iss": w.issuer(), "sub": w.agent.Identifier, "aud": w.api.Identifier, "iat": now, "exp": now + 3600, "jti": string(e.ID),
		"client_id": w.server.credential.Identifier, "sub_profile": "app", "keycard_app_id": w.server.Identifier, "scope": "read",
		"act": map[string]any{"sub": w.server.Identifier, "client_id": w.server.credential.Identifier},
	}, claims); diff != "" {
		t.Error("the claims:", diff)
	}
	acting := deputy.Actor{Type: "application", ID: string(w.server.ID), Identifier: w.server.Identifier}
	behind := deputy.Actor{Type: "application", ID: string(w.agent.ID), Identifier: w.agent.Identifier}
	want := acting
	want.IdentityChain = []deputy.Actor{acting, behind}
	if diff := cmp.Diff(want, e.Actor); diff != "" {
		t.Error("the event's actor:", diff)
	}
}

func TestExchangeOfUserToken(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	p := w.newPerson("zoe@example.test")
	token := w.userToken(p, w.agent.credential.Identifier, w.front.Identifier)
	a := w.must(w.exchange(w.server, token, w.api.Identifier, "scope", "read"), 200, "")
	claims := w.payload(a.text("access_token"))
	for name, want := range map[string]any{
		"sub": "zoe@example.test", "sub_profile": "user", "sid": string(p.child.ID), "scope": "read",
		"keycard_app_id": w.server.Identifier, "client_id": w.server.credential.Identifier,
	} {
		if claims[name] != want {
			t.Errorf("%s: %v, want %v", name, claims[name], want)
		}
	}
	if a.text("user_id") != string(p.User.ID) {
		t.Errorf("the answer is %s", a)
	}
	e := w.lastEvent()
	chain := e.Actor.IdentityChain
	if e.UserID != p.User.ID || e.SessionID != p.child.ID || len(chain) != 2 || chain[1].Type != "user" || chain[1].Identifier != p.Identifier || e.IP != "192.0.2.7" {
		t.Errorf("the event is %+v", e)
	}
	// What the log keeps of the person is sealed.
	record, err := w.store.Event(context.Background(), w.organization.ID, w.zone.ID, e.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, clear := range []string{p.Identifier, "192.0.2.7"} {
		if strings.Contains(string(record.Bytes), clear) {
			t.Errorf("the log holds %s in the clear", clear)
		}
	}
}

func TestExpiryNeverBeyondTheSession(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	p := w.newPerson("zoe@example.test")
	token := w.userToken(p, w.agent.credential.Identifier, w.front.Identifier)
	end := w.clock.Now().Truncate(time.Second).Add(10*time.Minute + 900*time.Millisecond)
	w.setSession(p.web, func(s *deputy.Session) { s.ExpiresAt = end })
	claims := w.payload(w.must(w.exchange(w.server, token, w.api.Identifier), 200, "").text("access_token"))
	if got := int64(claims["exp"].(float64)); got != end.Unix() {
		t.Errorf("exp is %d, the parent session ends at %d", got, end.Unix())
	}
	w.clock.advance(end.Sub(w.clock.Now()) - 200*time.Millisecond)
	w.must(w.exchange(w.server, token, w.api.Identifier), 400, "invalid_grant") // less than a second is no lifetime
}

func (w *world) setSession(s *deputy.Session, change func(*deputy.Session)) {
	w.Helper()
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.Sessions().Update(ctx, w.in(), deputy.ID(s.ID), func(s *deputy.Session) error {
			change(s)
			return nil
		})
		return err
	})
}

func TestExchangeRequests(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	front, api := w.front.Identifier, w.api.Identifier
	full := map[string]string{
		"grant_type": exchangeGrantType, "subject_token": w.token, "subject_token_type": accessTokenType, "resource": api,
	}
	w.depend(w.server, w.front)
	actor := w.must(w.credentialsFor(w.server, front), 200, "")
	const unset = "\x00"
	for _, c := range []struct {
		name   string
		change map[string]string
		status int
		code   string
	}{
		{"as it is", nil, 200, ""},
		{"subject token called a jwt", map[string]string{"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}, 200, ""},
		{"asking for an access token", map[string]string{"requested_token_type": accessTokenType}, 200, ""},
		{"asking for a jwt", map[string]string{"requested_token_type": "urn:ietf:params:oauth:token-type:jwt"}, 200, ""},
		{"audience beside resource", map[string]string{"audience": api}, 200, ""},
		{"audience instead of resource", map[string]string{"resource": unset, "audience": api}, 200, ""},
		{"with an actor token", map[string]string{"actor_token": actor.text("access_token"), "actor_token_type": accessTokenType}, 200, ""},
		{"for the same resource", map[string]string{"resource": front}, 200, ""},

		{"no subject token", map[string]string{"subject_token": unset}, 400, "invalid_request"},
		{"no subject token type", map[string]string{"subject_token_type": unset}, 400, "invalid_request"},
		{"an ID token type", map[string]string{"subject_token_type": "urn:ietf:params:oauth:token-type:id_token"}, 400, "invalid_request"},
		{"a refresh token type", map[string]string{"subject_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, 400, "invalid_request"},
		{"asking for a refresh token", map[string]string{"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, 400, "invalid_request"},
		{"another audience", map[string]string{"audience": front}, 400, "invalid_target"},
		{"unknown resource", map[string]string{"resource": "urn:nothing"}, 400, "invalid_target"},
		{"unknown audience", map[string]string{"resource": unset, "audience": "urn:nothing"}, 400, "invalid_target"},
		{"actor token without a type", map[string]string{"actor_token": w.token}, 400, "invalid_request"},
		{"the own actor token without a type", map[string]string{"actor_token": actor.text("access_token")}, 400, "invalid_request"},
		{"actor type without a token", map[string]string{"actor_token_type": accessTokenType}, 400, "invalid_request"},
		{"somebody else's actor token", map[string]string{"actor_token": w.token, "actor_token_type": accessTokenType}, 400, "invalid_request"},
		{"actor token of an unknown type", map[string]string{"actor_token": w.token, "actor_token_type": "urn:x"}, 400, "invalid_request"},
		{"an actor token that is none", map[string]string{"actor_token": "x", "actor_token_type": accessTokenType}, 400, "invalid_request"},
		{"malformed scope", map[string]string{"scope": "\""}, 400, "invalid_scope"},
	} {
		f := form()
		all := maps.Clone(full)
		maps.Copy(all, c.change)
		for name, value := range all {
			if value != unset {
				f.Set(name, value)
			}
		}
		if a := w.post(w.server, f); a.status != c.status || a.text("error") != c.code {
			t.Errorf("%s: %s, want %d %s", c.name, a, c.status, c.code)
		}
	}
	for _, name := range []string{"grant_type", "subject_token", "subject_token_type"} {
		f := form()
		for n, value := range full {
			f.Set(n, value)
		}
		f.Del(name)
		if a := w.must(w.post(w.server, f), 400, "invalid_request"); a.text("error_description") != "The parameter "+name+" is missing." {
			t.Errorf("without %s: %s", name, a)
		}
	}
	vaulted := w.newResource("urn:vaulted", func(r *deputy.Resource) { r.CredentialProviderID = &w.vaulted.ID })
	w.depend(w.agent, vaulted)
	w.must(w.exchange(w.server, w.token, "urn:vaulted", "requested_token_type", "urn:ietf:params:oauth:token-type:jwt"), 400, "invalid_request")
	w.must(w.exchange(w.server, w.token, "urn:vaulted"), 400, "invalid_target")
	p := w.newPerson("zoe@example.test")
	external := w.newResource("urn:external", func(r *deputy.Resource) {
		provider := w.newExternal()
		r.CredentialProviderID = &provider.ID
	})
	w.must(w.exchange(w.server, w.userToken(p, w.agent.credential.Identifier, front), external.Identifier), 400, "insufficient_authorization")
}

func (w *world) newExternal() *deputy.Provider {
	w.Helper()
	p := &deputy.Provider{
		ID: deputy.ProviderID(w.id()), OrganizationID: w.organization.ID, ZoneID: w.zone.ID, Owner: deputy.Customer, Slug: "ext",
		Identifier: "https://github.test", Name: "ext", Type: deputy.ExternalProvider, CreatedAt: w.clock.Now(), UpdatedAt: w.clock.Now(),
	}
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error { return tx.Providers().Insert(ctx, p) })
	return p
}

// actors returns so many, each acting for the next.
func actors(n int) (act map[string]any) {
	for range n {
		next := map[string]any{"sub": "urn:app:agent", "client_id": "agent"}
		if act != nil {
			next["act"] = act
		}
		act = next
	}
	return act
}

func TestSubjectTokens(t *testing.T) {
	t.Parallel()
	w := newRelay(t, both...)
	good := func() map[string]any {
		now := w.clock.Now()
		return map[string]any{
			"iss": w.issuer(), "sub": w.agent.Identifier, "aud": w.front.Identifier, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
			"jti": "x", "client_id": w.agent.credential.Identifier, "sub_profile": "app",
		}
	}
	altered := func(name string, value any) string {
		c := good()
		if c[name] = value; value == nil {
			delete(c, name)
		}
		return w.sign(deputy.ES256, "at+jwt", c)
	}
	now := w.clock.Now()
	parts := strings.Split(w.token, ".")
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	unsigned := encode(`{"alg":"none","typ":"at+jwt"}`) + "." + parts[1] + "."
	other := newWorld(t) // another deployment: other keys, other issuer
	foreign := other.sign(deputy.ES256, "at+jwt", good())
	second, _, _ := w.newZone(w.organization, deputy.PathIssuer)
	rows, err := w.store.SigningKeys(context.Background(), deputy.ID(second.ID))
	if err != nil {
		t.Fatal(err)
	}
	neighbour, err := keys.Load(context.Background(), w.vault, rows[0])
	if err != nil {
		t.Fatal(err)
	}
	signedBy := func(s *keys.Signer, claims map[string]any) string {
		return must(s.Sign("at+jwt", must(json.Marshal(claims))))
	}
	theirs := good()
	theirs["iss"] = w.config.Addresses.Issuer(second)
	own := must(w.store.SigningKeys(context.Background(), deputy.ID(w.zone.ID)))
	hmac := func(kid string, key []byte) string {
		return jws(map[string]any{"alg": "HS256", "typ": "at+jwt", "kid": kid}, good(), hs256(key))
	}
	for _, c := range []struct{ name, token, code string }{
		{"good", w.sign(deputy.ES256, "at+jwt", good()), ""},
		{"good, RS256", w.sign(deputy.RS256, "at+jwt", good()), ""},
		{"just expired, within the leeway", altered("exp", now.Add(-59*time.Second).Unix()), ""},
		{"expired", altered("exp", now.Add(-60*time.Second).Unix()), "invalid_grant"},
		{"without an end", altered("exp", nil), "invalid_grant"},
		{"of another issuer", altered("iss", "http://deputy.test/z/"+string(second.ID)), "invalid_grant"},
		{"without an issuer", altered("iss", nil), "invalid_grant"},
		{"without a subject", altered("sub", nil), "invalid_grant"},
		{"without a client", altered("client_id", nil), "invalid_grant"},
		{"without an audience", altered("aud", nil), "invalid_grant"},
		{"of an empty audience", altered("aud", []string{}), "invalid_grant"},
		{"with an audience that is a number", altered("aud", 1), "invalid_grant"},
		{"of a client that is gone", altered("client_id", "gone"), "invalid_grant"},
		{"of a subject that is another's", altered("sub", w.server.Identifier), "invalid_grant"},
		{"of a user without a session", altered("sub_profile", "user"), "invalid_grant"},
		{"of another type", w.sign(deputy.ES256, "JWT", good()), "invalid_grant"},
		{"of no type", w.sign(deputy.ES256, "", good()), "invalid_grant"},
		{"signed elsewhere", foreign, "invalid_grant"},
		{"unsigned", unsigned, "invalid_grant"},
		{"unsigned, with a key id", jws(map[string]any{"alg": "none", "typ": "at+jwt", "kid": own[0].ID}, good(), func([]byte) []byte { return nil }), "invalid_grant"},
		{"HMAC with the public key as it is published", hmac(own[0].ID, own[0].Public), "invalid_grant"},
		{"HMAC with nothing", hmac(own[0].ID, nil), "invalid_grant"},
		{"HMAC without a key id", hmac("", own[0].Public), "invalid_grant"},
		{"signed by another zone, in the name of this one", signedBy(neighbour, good()), "invalid_grant"},
		{"of another zone", signedBy(neighbour, theirs), "invalid_grant"},
		{"in the name of another zone", w.sign(deputy.ES256, "at+jwt", theirs), "invalid_grant"},
		{"typ of an impersonation", w.sign(deputy.ES256, "vnd.kc.su+jwt", good()), "invalid_grant"},
		{"a key id that is an address", jws(map[string]any{"alg": "ES256", "typ": "at+jwt", "kid": "https://evil.test/jwks"}, good(), func([]byte) []byte { return make([]byte, 64) }), "invalid_grant"},
		{"its own key in the header", newOutsideKey("x", "ES256").sign(map[string]any{"alg": "ES256", "typ": "at+jwt", "kid": "x", "jwk": newOutsideKey("x", "ES256").jwk()}, good()), "invalid_grant"},
		{"with more actors than there may be", altered("act", actors(11)), "invalid_grant"},
		{"claims swapped", parts[0] + "." + encode(`{"iss":"`+w.issuer()+`"}`) + "." + parts[2], "invalid_grant"},
		{"signature cut", parts[0] + "." + parts[1] + "." + parts[2][:10], "invalid_grant"},
		{"two parts", parts[0] + "." + parts[1], "invalid_request"},
		{"four parts", w.token + ".x", "invalid_request"},
		{"no token", "opaque", "invalid_request"},
		{"header no JSON", encode("x") + "." + parts[1] + "." + parts[2], "invalid_request"},
		{"not base64url", "+/+/." + parts[1] + "." + parts[2], "invalid_request"},
	} {
		for range 2 { // remembered or not
			a := w.exchange(w.server, c.token, w.api.Identifier)
			if a.text("error") != c.code || (a.status == 200) != (c.code == "") {
				t.Errorf("%s: %s, want %q", c.name, a, c.code)
			}
		}
	}
}

func TestOwnership(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	const text = "Client is not allowed to exchange token for this resource"
	refused := func(a *answer) {
		t.Helper()
		if w.must(a, 400, "invalid_grant").text("error_description") != text {
			t.Errorf("the text is %s", a)
		}
	}
	refused(w.exchange(w.agent, w.token, w.api.Identifier)) // not addressed to the agent
	stranger := w.newApp("stranger")
	w.depend(stranger, w.front) // a dependency is no ownership
	refused(w.exchange(stranger, w.token, w.api.Identifier))
	w.activate(w.zone, "all", []string{"all"}, map[string]string{"all": "permit (principal, action, resource);"})
	refused(w.exchange(stranger, w.token, w.api.Identifier)) // nor can policy give it
	w.must(w.exchange(w.server, w.token, w.api.Identifier), 200, "")

	w.setResource(w.front, func(r *deputy.Resource) { r.ApplicationID = nil })
	refused(w.exchange(w.server, w.token, w.api.Identifier)) // nobody's
	w.setZone(func(z *deputy.Zone) { z.DefaultGatewayApplicationID = &w.server.ID })
	w.must(w.exchange(w.server, w.token, w.api.Identifier), 200, "") // the gateway's
	refused(w.exchange(stranger, w.token, w.api.Identifier))
	w.setResource(w.front, func(r *deputy.Resource) { r.ApplicationID = &stranger.ID })
	refused(w.exchange(w.server, w.token, w.api.Identifier)) // the gateway only where nobody else is
	w.must(w.exchange(stranger, w.token, w.api.Identifier), 200, "")

	// A token of the default sign-in is nobody's to exchange.
	builtin, err := w.store.Resources().Find(context.Background(), w.in(), "identifier", deputy.UserInfoIdentifier)
	if err != nil {
		t.Fatal(err)
	}
	w.setZone(func(z *deputy.Zone) { z.DefaultGatewayApplicationID = &w.server.ID }) // not even the gateway's
	w.depend(w.agent, builtin)
	refused(w.exchange(w.server, w.must(w.credentialsFor(w.agent, ""), 200, "").text("access_token"), w.api.Identifier))
	// A resource that is gone owns nothing.
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		return tx.Resources().Delete(ctx, w.in(), deputy.ID(w.front.ID))
	})
	refused(w.exchange(stranger, w.token, w.api.Identifier))
}

func TestExchangeNeedsTheSubjectsOwnDependency(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	other := w.newResource("urn:other", nil)
	a := w.must(w.exchange(w.server, w.token, other.Identifier), 400, "access_denied")
	if want := `Application "agent" is not allowed to access "Resource urn:other".`; a.text("error_description") != want {
		t.Errorf("got %s", a)
	}
	w.depend(w.server, other)
	w.must(w.exchange(w.server, w.token, other.Identifier), 400, "access_denied")
	w.depend(w.agent, other, w.api.ID) // a condition that does not hold
	w.must(w.exchange(w.server, w.token, other.Identifier), 400, "access_denied")
	w.depend(w.agent, other, w.front.ID) // one that does
	w.must(w.exchange(w.server, w.token, other.Identifier), 200, "")
}

func TestPolicySeesClaims(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	w.depend(w.server, w.front)
	actorToken := w.must(w.credentialsFor(w.server, w.front.Identifier), 200, "").text("access_token")
	w.activate(w.zone, "claims", []string{"all", "subject", "actor", "from"}, map[string]string{
		"all": `permit (principal, action, resource);`,
		"subject": fmt.Sprintf(`forbid (principal, action, resource) when { resource.name == "S" && context has subject_claims &&
			context.subject_claims.hasTag("client_id") && context.subject_claims.getTag("client_id") == %q };`, w.agent.credential.Identifier),
		"actor": fmt.Sprintf(`forbid (principal, action, resource) when { resource.name == "A" && context has actor_claims &&
			context.actor_claims.hasTag("client_id") && context.actor_claims.getTag("client_id") == %q };`, w.server.credential.Identifier),
		"from": fmt.Sprintf(`forbid (principal, action, resource) when { resource.name == "F" && context has resource && context.resource.identifier == %q };`, w.front.Identifier),
	})
	for name, more := range map[string][]string{"S": nil, "A": {"actor_token", actorToken, "actor_token_type", accessTokenType}, "F": nil} {
		r := w.newResource("urn:"+name, func(r *deputy.Resource) { r.Name = name })
		w.must(w.exchange(w.server, w.token, r.Identifier, more...), 400, "access_denied")
		if more != nil {
			w.must(w.exchange(w.server, w.token, r.Identifier), 200, "")
		}
	}
}

func TestChains(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	// Every hop's resource belongs to the next hop's application.
	var apps []*app
	var resources []*deputy.Resource
	for n := range 12 {
		a := w.newApp(fmt.Sprintf("hop%d", n))
		apps = append(apps, a)
		r := w.newResource(fmt.Sprintf("urn:hop:%d", n), func(r *deputy.Resource) {
			r.ApplicationID, r.Scopes = &a.ID, []string{"x"}
		})
		resources = append(resources, r)
		w.depend(w.agent, r)
	}
	token := w.must(w.credentialsFor(w.agent, resources[0].Identifier), 200, "").text("access_token")
	for n := range 10 {
		a := w.must(w.exchange(apps[n], token, resources[n+1].Identifier), 200, "")
		token = a.text("access_token")
		claims := w.payload(token)
		if claims["sub"] != w.agent.Identifier || claims["keycard_app_id"] != apps[n].Identifier {
			t.Fatalf("hop %d: %v", n, claims)
		}
		act, _ := claims["act"].(map[string]any)
		for m := n; m >= 0; m-- {
			if act["sub"] != apps[m].Identifier || act["client_id"] != apps[m].credential.Identifier {
				t.Fatalf("hop %d: act is %v where %s is expected", n, act, apps[m].Identifier)
			}
			act, _ = act["act"].(map[string]any)
		}
		if act != nil {
			t.Fatalf("hop %d: an actor too many: %v", n, act)
		}
		if chain := w.lastEvent().Actor.IdentityChain; len(chain) != n+2 || chain[n+1].Identifier != w.agent.Identifier {
			t.Fatalf("hop %d: the event's chain is %+v", n, chain)
		}
	}
	w.must(w.exchange(apps[10], token, resources[11].Identifier), 400, "invalid_grant")
}

func TestNarrowingAtTheSameAudience(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	a := w.must(w.exchange(w.server, w.token, w.front.Identifier, "scope", "use admin"), 200, "")
	if got := a.text("scope"); got != "use" { // the subject token had use only
		t.Errorf("scope at the same audience: %q", got)
	}
	if got := w.lastEvent().ScopesRequested; !cmp.Equal(got, []string{"use", "admin"}) {
		t.Errorf("the event says that %v was requested", got)
	}
}

func TestConsent(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	p := w.newPerson("zoe@example.test")
	token := w.userToken(p, w.agent.credential.Identifier, w.front.Identifier)
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.Applications().Update(ctx, w.in(), deputy.ID(w.server.ID), func(a *deputy.Application) error {
			a.Consent = deputy.RequiredConsent
			return nil
		})
		return err
	})
	a := w.must(w.exchange(w.server, token, w.api.Identifier, "scope", "read"), 400, "insufficient_authorization")
	if a.text("error_description") != "User consent is required." {
		t.Error(a)
	}
	consent := func(r deputy.ResourceID, scopes ...string) {
		w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
			return tx.PutConsent(ctx, &deputy.ConsentRecord{
				ZoneID: w.zone.ID, UserID: p.User.ID, ClientID: deputy.ID(w.server.ID), ResourceID: r, Scopes: scopes, CreatedAt: w.clock.Now(),
			})
		})
	}
	consent(w.front.ID, "read")
	w.must(w.exchange(w.server, token, w.api.Identifier, "scope", "read"), 400, "insufficient_authorization") // another resource's
	consent(w.api.ID, "read")
	w.must(w.exchange(w.server, token, w.api.Identifier, "scope", "read"), 200, "")
	w.must(w.exchange(w.server, token, w.api.Identifier), 200, "")
	w.must(w.exchange(w.server, token, w.api.Identifier, "scope", "read write"), 400, "insufficient_authorization")
	// What was taken back for the client is so also where it need not ask.
	w.change(w.server, func(a *deputy.Application) { a.Consent = deputy.ImplicitConsent })
	w.must(w.exchange(w.server, token, w.api.Identifier, "scope", "read write"), 200, "")
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		return tx.WithdrawConsents(ctx, w.zone.ID, p.User.ID, deputy.ID(w.server.ID))
	})
	w.must(w.exchange(w.server, token, w.api.Identifier), 400, "insufficient_authorization")
	// Policy comes first: who may not is not asked to consent.
	w.activate(w.zone, "none", []string{"none"}, map[string]string{"none": "forbid (principal, action, resource);"})
	w.must(w.exchange(w.server, token, w.api.Identifier, "scope", "read write"), 400, "access_denied")
	// An application's own token needs no person's consent.
	w.activate(w.zone, "all", []string{"all"}, map[string]string{"all": "permit (principal, action, resource);"})
	w.must(w.exchange(w.server, w.token, w.api.Identifier), 200, "")
}

func TestPrefixAudienceIsOwned(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	w.setResource(w.front, func(r *deputy.Resource) { r.Prefix = true })
	token := w.must(w.credentialsFor(w.agent, w.front.Identifier+"/deep"), 200, "").text("access_token")
	w.must(w.exchange(w.server, token, w.api.Identifier), 200, "")
}

func TestRenamedSubject(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	rename := func(a *app, identifier string) {
		w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
			_, err := tx.Applications().Update(ctx, w.in(), deputy.ID(a.ID), func(a *deputy.Application) error {
				a.Identifier = identifier
				return nil
			})
			return err
		})
	}
	name := w.agent.Identifier
	rename(w.agent, "urn:app:former-agent")
	w.must(w.exchange(w.server, w.token, w.api.Identifier), 400, "invalid_grant")
	heir := w.newApp("heir")
	w.depend(heir, w.api)
	rename(heir, name)
	w.must(w.exchange(w.server, w.token, w.api.Identifier), 400, "invalid_grant") // a name does not make an heir

	zoe := w.newPerson("zoe")
	token := w.userToken(zoe, heir.credential.Identifier, w.front.Identifier)
	w.must(w.exchange(w.server, token, w.api.Identifier), 200, "")
	w.setUser(zoe.User, func(u *deputy.User) { u.Identifier = "zora" })
	w.must(w.exchange(w.server, token, w.api.Identifier), 400, "invalid_grant")
}

// TestSubjectBeforeTarget: whoever presents a token that is off is told so,
// whatever they ask for.
func TestSubjectBeforeTarget(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	p := w.newPerson("zoe@example.test")
	token := w.userToken(p, w.agent.credential.Identifier, w.front.Identifier)
	bare := w.newResource("urn:bare", func(r *deputy.Resource) { r.CredentialProviderID = nil })
	targets := []string{"urn:unknown", bare.Identifier}
	for _, target := range targets {
		w.must(w.exchange(w.server, token, target), 400, "invalid_target")
		w.must(w.exchange(w.server, w.token, target), 400, "invalid_target")
	}
	w.setSession(p.web, func(s *deputy.Session) { s.Status = deputy.Revoked })
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		return tx.Applications().Delete(ctx, w.in(), deputy.ID(w.agent.ID))
	})
	for _, target := range targets {
		w.must(w.exchange(w.server, token, target), 400, "invalid_grant")
		w.must(w.exchange(w.server, w.token, target), 400, "invalid_grant")
	}
}

// TestActorTokenIsTheClientsOwn: it is so by its credential, not by its name.
func TestActorTokenIsTheClientsOwn(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	tokenOf := func(a *app) string {
		return w.must(w.credentialsFor(a, ""), 200, "").text("access_token")
	}
	with := func(actor string) *answer {
		return w.exchange(w.server, w.token, w.api.Identifier, "actor_token", actor, "actor_token_type", accessTokenType)
	}
	own := tokenOf(w.server)
	w.must(with(own), 200, "")
	c, secret := w.newCredential(w.server.Application) // another credential of the same application
	second := tokenOf(&app{w.server.Application, c, secret})
	w.must(with(second), 200, "")
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		return tx.Credentials().Delete(ctx, w.in(), deputy.ID(c.ID))
	})
	w.must(with(second), 400, "invalid_request") // what it got ends with it
	// Nor is one that the client got, and is about somebody else, its own.
	w.must(with(w.userToken(w.newPerson("zoe"), w.server.credential.Identifier, w.front.Identifier)), 400, "invalid_request")
	w.must(with(w.must(w.exchange(w.server, w.token, w.api.Identifier), 200, "").text("access_token")), 400, "invalid_request")

	// A token of somebody who was called so before.
	former := w.newApp("former")
	theirs := tokenOf(former)
	for _, change := range []struct {
		id deputy.ApplicationID
		to string
	}{{former.ID, "urn:app:elsewhere"}, {w.server.ID, former.Identifier}} {
		w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
			_, err := tx.Applications().Update(ctx, w.in(), deputy.ID(change.id), func(a *deputy.Application) error {
				a.Identifier = change.to
				return nil
			})
			return err
		})
	}
	w.must(with(theirs), 400, "invalid_request")
	w.must(with(own), 200, "")
}
