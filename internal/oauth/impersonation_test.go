package oauth_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"deputy/internal/deputy"
)

const substituteType = "urn:keycard:params:oauth:token-type:substitute-user"

// substitute returns the unsigned token that means a person, as SDKs write it.
func substitute(identifier string) string {
	return jws(`{"typ":"vnd.kc.su+jwt","alg":"none"}`, map[string]any{"sub": identifier}, func([]byte) []byte { return nil })
}

// impersonate asks in the name of a person who is not there.
func (w *world) impersonate(a *app, identifier, resource string, more ...string) *answer {
	w.Helper()
	return w.post(a, form(append([]string{
		"grant_type", exchangeGrantType, "subject_token", substitute(identifier), "subject_token_type", substituteType, "resource", resource,
	}, more...)...))
}

const permitServer = `permit (principal is Keycard::Application, action, resource)
	when { context.impersonate && principal.identifier == "urn:app:server" };`

const permitUsers = `permit (principal is Keycard::User, action, resource);`

const permitDelegation = `permit (principal is Keycard::Application, action, resource) when { context.on_behalf && !context.impersonate };`

// permit binds policies as the zone's.
func (w *world) permit(texts ...string) {
	w.Helper()
	order, named := []string(nil), map[string]string{}
	for i, text := range texts {
		name := string(rune('a' + i))
		order, named[name] = append(order, name), text
	}
	w.activate(w.zone, "test "+string(w.id()), order, named)
}

func TestImpersonation(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	p := w.newPerson("zoe@example.test")
	w.depend(w.server, w.api)
	// Nothing that is there from the beginning permits it, not even for what the
	// application depends on.
	w.must(w.impersonate(w.server, p.Identifier, w.api.Identifier), 400, "access_denied")
	w.permit(permitUsers, permitServer, permitDelegation)
	w.must(w.impersonate(w.agent, p.Identifier, w.api.Identifier), 400, "access_denied") // another application
	a := w.must(w.impersonate(w.server, p.Identifier, w.api.Identifier, "scope", "read"), 200, "")
	e, now := w.lastEvent(), float64(w.clock.Now().Unix())
	token := a.text("access_token")
	act := map[string]any{"sub": w.server.Identifier, "client_id": w.server.credential.Identifier}
	want := map[string]any{
		"iss": w.issuer(), "sub": p.Identifier, "aud": w.api.Identifier, "iat": now, "exp": now + 3600, "jti": string(e.ID),
		"client_id": w.server.credential.Identifier, "sub_profile": "user", "keycard_app_id": w.server.Identifier, "scope": "read", "act": act,
	}
	if diff := cmp.Diff(want, w.payload(token)); diff != "" {
		t.Error("the claims:", diff)
	}
	if a.text("issued_token_type") != accessTokenType || a.text("user_id") != string(p.User.ID) {
		t.Errorf("the answer is %s", a)
	}
	chain := e.Actor.IdentityChain
	if len(chain) != 2 || chain[0].ID != string(w.server.ID) || chain[1].Type != "user" || chain[1].ID != string(p.User.ID) || e.UserID != p.User.ID || e.SessionID != "" {
		t.Errorf("the event is %+v", e)
	}
	// Who may know of it sees the same.
	seen := w.introspect(w.server, token)
	if diff := cmp.Diff(act, seen.json["act"]); diff != "" || seen.status != 200 {
		t.Errorf("introspection: %s", seen)
	}
	if got := w.postTo("/openid/connect/userinfo", nil, form("access_token", token)); got.status == 200 {
		t.Errorf("it opens the account: %s", got)
	}
	// An actor token is the client's own or none.
	w.must(w.impersonate(w.server, p.Identifier, w.api.Identifier, "actor_token", w.token, "actor_token_type", accessTokenType), 400, "invalid_request")
	w.must(w.impersonate(w.server, p.Identifier, w.api.Identifier, "actor_token", substitute("x"), "actor_token_type", accessTokenType), 400, "invalid_request")
}

// What was got by impersonation goes on as that, and ends when it would have.
func TestImpersonationGoesOn(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	p := w.newPerson("zoe@example.test")
	w.permit(permitUsers, `permit (principal is Keycard::Application, action, resource) when { context.impersonate && principal.identifier == "urn:app:agent" };`, permitDelegation)
	first := w.must(w.impersonate(w.agent, p.Identifier, w.front.Identifier), 200, "").text("access_token")
	w.clock.advance(30 * time.Minute)
	second := w.must(w.exchange(w.server, first, w.api.Identifier), 200, "").text("access_token")
	claims := w.payload(second)
	if diff := cmp.Diff(map[string]any{
		"sub": w.server.Identifier, "client_id": w.server.credential.Identifier,
		"act": map[string]any{"sub": w.agent.Identifier, "client_id": w.agent.credential.Identifier},
	}, claims["act"]); diff != "" || claims["sub"] != p.Identifier || claims["exp"] != w.payload(first)["exp"] {
		t.Errorf("the claims are %v", claims)
	}
	if chain := w.lastEvent().Actor.IdentityChain; len(chain) != 3 || chain[1].Identifier != w.agent.Identifier || chain[2].ID != string(p.User.ID) {
		t.Errorf("the chain is %+v", chain)
	}
	w.clock.advance(time.Hour)
	w.must(w.exchange(w.server, first, w.api.Identifier), 400, "invalid_grant")
}

func TestImpersonationRefusals(t *testing.T) {
	t.Parallel()
	w := newRelay(t)
	p, disabled := w.newPerson("zoe@example.test"), w.newPerson("off@example.test")
	w.permit(permitUsers, permitServer)
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.Users().Update(ctx, w.in(), deputy.ID(disabled.User.ID), func(u *deputy.User) error {
			u.Identifier, u.Status = "disabled", deputy.UserDisabled
			return nil
		})
		return err
	})
	public := w.insertCredential(w.server.Application, deputy.PublicCredential, nil)
	good := substitute(p.Identifier)
	parts := strings.Split(good, ".")
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	zoe := string(must(json.Marshal(p.Identifier)))
	for _, c := range []struct {
		name, token, kind string
		status            int
		code              string
	}{
		{"good", good, substituteType, 200, ""},
		{"more members", parts[0] + "." + encode(`{"sub":`+zoe+`,"exp":1,"aud":"x"}`) + ".", substituteType, 200, ""},
		{"unknown person", substitute("nobody"), substituteType, 400, "invalid_grant"},
		{"their id", substitute(string(p.User.ID)), substituteType, 400, "invalid_grant"},
		{"in another case", substitute(strings.ToUpper(p.Identifier)), substituteType, 400, "invalid_grant"},
		{"their address, which is not what they are called", substitute("off@example.test"), substituteType, 400, "invalid_grant"},
		{"disabled", substitute("disabled"), substituteType, 400, "invalid_grant"},
		{"nobody", substitute(""), substituteType, 400, "invalid_request"},
		{"nul", substitute("a\x00b"), substituteType, 400, "invalid_grant"},
		{"as an access token", good, accessTokenType, 400, "invalid_grant"},
		{"as a JWT", good, "urn:ietf:params:oauth:token-type:jwt", 400, "invalid_grant"},
		{"an access token as a substitute", w.userToken(p, w.agent.credential.Identifier, w.front.Identifier), substituteType, 400, "invalid_request"},
		{"signed", good + encode("x"), substituteType, 400, "invalid_request"},
		{"without the last dot", strings.TrimSuffix(good, "."), substituteType, 400, "invalid_request"},
		{"with one more", good + ".", substituteType, 400, "invalid_request"},
		{"another typ", encode(`{"typ":"JWT","alg":"none"}`) + "." + parts[1] + ".", substituteType, 400, "invalid_request"},
		{"no typ", encode(`{"alg":"none"}`) + "." + parts[1] + ".", substituteType, 400, "invalid_request"},
		{"another alg", encode(`{"typ":"vnd.kc.su+jwt","alg":"HS256"}`) + "." + parts[1] + ".", substituteType, 400, "invalid_request"},
		{"alg NONE", encode(`{"typ":"vnd.kc.su+jwt","alg":"NONE"}`) + "." + parts[1] + ".", substituteType, 400, "invalid_request"},
		{"a key id", encode(`{"typ":"vnd.kc.su+jwt","alg":"none","kid":"x"}`) + "." + parts[1] + ".", substituteType, 400, "invalid_request"},
		{"typ twice", encode(`{"typ":"JWT","typ":"vnd.kc.su+jwt","alg":"none"}`) + "." + parts[1] + ".", substituteType, 400, "invalid_request"},
		{"sub twice", parts[0] + "." + encode(`{"sub":"x","sub":`+zoe+`}`) + ".", substituteType, 400, "invalid_request"},
		{"sub is a number", parts[0] + "." + encode(`{"sub":1}`) + ".", substituteType, 400, "invalid_request"},
		{"no JSON", parts[0] + "." + encode(`zoe`) + ".", substituteType, 400, "invalid_request"},
		{"oversized", parts[0] + "." + encode(`{"sub":`+zoe+`,"x":"`+strings.Repeat("x", 16<<10)+`"}`) + ".", substituteType, 400, "invalid_request"},
		{"another kind of token", good, "urn:ietf:params:oauth:token-type:saml2", 400, "invalid_request"},
	} {
		f := []string{"grant_type", exchangeGrantType, "subject_token", c.token, "subject_token_type", c.kind, "resource", w.api.Identifier}
		if got := w.post(w.server, form(f...)); got.status != c.status || got.text("error") != c.code {
			t.Errorf("%s: %s", c.name, got)
		}
	}
	f := []string{"grant_type", exchangeGrantType, "subject_token", good, "subject_token_type", substituteType, "resource", w.api.Identifier}
	w.must(w.post(nil, form(append(f, "client_id", public.Identifier)...)), 400, "unauthorized_client")
	w.must(w.post(nil, form(f...)), 401, "invalid_client")
	w.must(w.impersonate(w.server, "nobody", "urn:unknown"), 400, "invalid_target") // the target comes first
	w.must(w.impersonate(w.server, p.Identifier, w.api.Identifier, "audience", "urn:other"), 400, "invalid_target")
	w.change(w.server, func(a *deputy.Application) { a.Consent = deputy.RequiredConsent })
	w.must(w.impersonate(w.server, p.Identifier, w.api.Identifier), 400, "insufficient_authorization")
	w.write(w.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		return tx.PutConsent(ctx, &deputy.ConsentRecord{
			ZoneID: w.zone.ID, UserID: p.User.ID, ClientID: deputy.ID(w.server.ID), ResourceID: w.api.ID, CreatedAt: noon,
		})
	})
	w.must(w.impersonate(w.server, p.Identifier, w.api.Identifier), 200, "")
	// A policy that lets the application in does not let the person in.
	w.permit(permitServer)
	w.must(w.impersonate(w.server, p.Identifier, w.api.Identifier), 400, "access_denied")
	w.permit(permitUsers)
	w.must(w.impersonate(w.server, p.Identifier, w.api.Identifier), 400, "access_denied")
}

// TestImpersonationAtAProvider: what a person has authorized elsewhere can be
// used in their name where a policy permits to impersonate them, and nothing
// that they have not authorized can.
func TestImpersonationAtAProvider(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.allow()
	someone := g.newPerson("somebody@example.test")
	g.must(g.impersonate(g.server, g.user.Identifier, g.files.Identifier), 400, "access_denied")
	if n := len(g.upstream.Forms()); n != 1 {
		t.Errorf("the provider was asked %d times", n)
	}
	g.permit(permitUsers, permitServer)
	a := g.must(g.impersonate(g.server, g.user.Identifier, g.files.Identifier), 200, "")
	if token := a.text("access_token"); !g.upstream.Good(token) || a.text("user_id") != string(g.user.ID) {
		t.Errorf("the answer is %s", a)
	}
	e := g.lastEvent()
	if chain := e.Actor.IdentityChain; len(chain) != 2 || chain[0].ID != string(g.server.ID) || chain[1].ID != string(g.user.ID) || e.UserID != g.user.ID {
		t.Errorf("the event is %+v", e)
	}
	g.must(g.impersonate(g.agent, g.user.Identifier, g.files.Identifier), 400, "access_denied")
	g.must(g.impersonate(g.server, someone.Identifier, g.files.Identifier), 400, "insufficient_authorization")
	g.write(g.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		_, err := tx.Grants().Update(ctx, g.in(), g.grant().ID, func(x *deputy.Grant) error { x.Status = deputy.Revoked; return nil })
		return err
	})
	g.must(g.impersonate(g.server, g.user.Identifier, g.files.Identifier), 400, "insufficient_authorization")
}
