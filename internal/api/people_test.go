package api_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"deputy/internal/deputy"
)

// in is the scope of the server's zone.
func (s *server) in() deputy.Scope { return deputy.Scope{Zone: deputy.ZoneID(s.vars["zone"])} }

// user adds a person, as sign-in does, and keeps the id as a variable.
func (s *server) user(name string, change ...func(*deputy.User)) deputy.UserID {
	s.t.Helper()
	now := s.now()
	u := &deputy.User{
		ID: deputy.UserID(deputy.NewID(now)), OrganizationID: deputy.OrganizationID(s.vars["org"]), ZoneID: s.in().Zone,
		Identifier: name, Email: name + "@example.test", Status: deputy.UserActive, CreatedAt: now, UpdatedAt: now,
	}
	for _, c := range change {
		c(u)
	}
	s.write(u.OrganizationID, func(tx deputy.Tx) error { return tx.Users().Insert(s.t.Context(), u) })
	s.vars[name] = string(u.ID)
	return u.ID
}

// session adds a session, as sign-in does.
func (s *server) session(name string, kind deputy.SessionType, change func(*deputy.Session)) deputy.SessionID {
	s.t.Helper()
	now := s.now()
	d := &deputy.Session{
		ID: deputy.SessionID(deputy.NewID(now)), OrganizationID: deputy.OrganizationID(s.vars["org"]), ZoneID: s.in().Zone, Type: kind,
		Status: deputy.Active, AuthenticatedAt: now, ExpiresAt: now.Add(time.Hour), CreatedAt: now, UpdatedAt: now,
	}
	change(d)
	s.write(d.OrganizationID, func(tx deputy.Tx) error { return tx.Sessions().Insert(s.t.Context(), d) })
	s.vars[name] = string(d.ID)
	return d.ID
}

// grant adds a delegated grant, as sign-in does.
func (s *server) grant(name string, user deputy.UserID, change ...func(*deputy.Grant)) {
	s.t.Helper()
	now := s.now()
	g := &deputy.Grant{
		ID: deputy.NewID(now), OrganizationID: deputy.OrganizationID(s.vars["org"]), ZoneID: s.in().Zone, UserID: user,
		ResourceID: "r", ProviderID: "p", Scopes: []string{"read"}, Status: deputy.Active, ExpiresAt: now.Add(time.Hour), CreatedAt: now, UpdatedAt: now,
	}
	for _, c := range change {
		c(g)
	}
	s.write(g.OrganizationID, func(tx deputy.Tx) error { return tx.Grants().Insert(s.t.Context(), g) })
	s.vars[name] = string(g.ID)
}

// later moves the clock on.
func (s *server) later(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = s.clock.Add(by)
}

// ids returns the wanted JSON of a list of the named variables.
func ids(names ...string) string {
	items := []string{}
	for _, n := range names {
		items = append(items, fmt.Sprintf(`{"id":"{%s}"}`, n))
	}
	return `{"items":[` + strings.Join(items, ",") + `]}`
}

func TestUsers(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	at := s.now()
	ann := s.user("ann", func(u *deputy.User) {
		u.EmailVerified, u.AuthenticatedAt = true, &at
	})
	s.user("bob", func(u *deputy.User) {
		issuer, subject, provider := "https://idp.test", "Bob-7", deputy.ProviderID("p")
		u.Issuer, u.Subject, u.ProviderID, u.Status = &issuer, &subject, &provider, deputy.UserDisabled
		u.Email = "Zed@example.test"
	})
	s.user("cyd")
	app := deputy.ApplicationID("a")
	var web deputy.SessionID
	s.session("web", deputy.UserSession, func(d *deputy.Session) { d.UserID = &ann })
	web = deputy.SessionID(s.vars["web"])
	s.session("child", deputy.UserSession, func(d *deputy.Session) { d.UserID, d.ParentID, d.ApplicationID = &ann, &web, &app })
	s.grant("grant", ann)
	s.run(
		step{do: "GET /zones/{zone}/users/{ann}", status: 200, want: `{"id":"{ann}","zone_id":"{zone}","organization_id":"{org}","identifier":"ann","email":"ann@example.test",
			"email_verified":true,"status":"active","authenticated_at":"<any>","provider_id":"<absent>","issuer":"<absent>","subject":"<absent>",
			"role_assignments":"<absent>","session_count":"<absent>","grant_count":"<absent>","created_at":"<any>","updated_at":"<any>"}`},
		step{do: "GET /zones/{zone}/users/{bob}", status: 200, want: `{"issuer":"https://idp.test","subject":"Bob-7","provider_id":"p","status":"disabled","authenticated_at":"<absent>"}`},
		step{do: "GET /zones/{zone}/users/none", status: 404, want: errorBody(404, "not_found")},
		step{do: "GET /zones/{zone}/users", status: 200, want: ids("cyd", "bob", "ann")},
		step{do: "GET /zones/{zone}/users?sort=created_at", status: 200, want: ids("ann", "bob", "cyd")},
		step{do: "GET /zones/{zone}/users?sort=email", status: 200, want: ids("bob", "ann", "cyd")},
		step{do: "GET /zones/{zone}/users?sort=-email", status: 200, want: ids("cyd", "ann", "bob")},
		step{do: "GET /zones/{zone}/users?sort=-authenticated_at,-created_at", status: 200, want: ids("ann", "cyd", "bob")},
		step{do: "GET /zones/{zone}/users?sort=-authenticated_at,email", status: 200, want: ids("ann", "bob", "cyd")},
		step{do: "GET /zones/{zone}/users?sort=identifier", status: 400, want: errorBody(400, "validation_error")},
		step{do: "GET /zones/{zone}/users?filter[id]={ann}&filter[id]=none&filter[id]={cyd}&limit=1", status: 200, want: ids("cyd", "ann")},
		step{do: "GET /zones/{zone}/users?filter[id]={ann}&after=x", status: 400, want: errorBody(400, "bad_request")},
		step{do: "GET /zones/{zone}/users?filter[email]=cyd@example.test&filter[email]=Zed@example.test", status: 200, want: ids("cyd", "bob")},
		step{do: "GET /zones/{zone}/users?filter[email]=ANN@example.test", status: 200, want: ids()},
		step{do: "GET /zones/{zone}/users?query[]=bob-", status: 200, want: ids("bob")},
		step{do: "GET /zones/{zone}/users?query=ZED&query=cyd@", status: 200, want: ids("cyd", "bob")},
		step{do: "GET /zones/{zone}/users?query[email]=example&query[subject]=bob", status: 200, want: ids("bob")},
		step{do: "GET /zones/{zone}/users?query[subject]=zed", status: 200, want: ids()},
		step{do: "GET /zones/{zone}/users?expand[]=total_count&limit=1", status: 200, want: `{"items":[{"id":"{cyd}"}],"pagination":{"total_count":3}}`},
		step{do: "GET /zones/{zone}/users?expand[]=sessions", status: 400},
		// What a list of their own would count.
		step{do: "GET /zones/{zone}/users?expand[]=session_count&expand[]=grant_count", status: 200, want: `{"items":[{"session_count":0,"grant_count":0},{"session_count":0},{"session_count":1,"grant_count":1,"role_assignments":"<absent>"}]}`},
		step{do: "GET /zones/{zone}/users/{ann}?expand[]=session_count", status: 200, want: `{"session_count":1,"grant_count":"<absent>"}`},
		step{do: "GET /zones/{zone}/users?expand[]=role-assignments", status: 200, want: `{"items":[{"role_assignments":[]},{"role_assignments":[]},{"role_assignments":[],"session_count":"<absent>"}]}`},
		// Whoever is disabled is signed out at once.
		step{do: "PATCH /zones/{zone}/users/{ann}", body: `{"status":"gone"}`, status: 400},
		step{do: "PATCH /zones/{zone}/users/{ann}", body: `{"status":null}`, status: 400},
		step{do: "PATCH /zones/{zone}/users/none", body: `{"status":"disabled"}`, status: 404},
		step{do: "PATCH /zones/{zone}/users/{ann}", body: `{}`, status: 200, want: `{"status":"active"}`, events: []string{"users:update"}},
		step{do: "PATCH /zones/{zone}/users/{ann}", body: `{"status":"disabled"}`, status: 200, want: `{"status":"disabled"}`, events: []string{"users:update"}},
		step{do: "GET /zones/{zone}/sessions/{web}", status: 200, want: `{"status":"revoked"}`},
		step{do: "GET /zones/{zone}/sessions/{child}", status: 200, want: `{"status":"revoked"}`},
		step{do: "PATCH /zones/{zone}/users/{ann}", body: `{"status":"active"}`, status: 200, want: `{"status":"active"}`, events: []string{"users:update"}},
		step{do: "GET /zones/{zone}/sessions/{child}", status: 200, want: `{"status":"revoked"}`},
		step{do: "GET /zones/{zone}/users/{ann}", as: "stranger", status: 404},
		// Whoever is deleted is gone, with all that is theirs.
		step{do: "DELETE /zones/{zone}/users/{ann}", as: "stranger", status: 404},
		step{do: "DELETE /zones/{zone}/users/none", status: 404},
		step{do: "DELETE /zones/{zone}/users/{ann}", status: 204, events: []string{"users:delete"}},
		step{do: "GET /zones/{zone}/users/{ann}", status: 404},
		step{do: "DELETE /zones/{zone}/users/{ann}", status: 404},
		step{do: "GET /zones/{zone}/sessions/{web}", status: 404},
		step{do: "GET /zones/{zone}/delegated-grants/{grant}", status: 404},
	)
}

func TestSessions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	ann, app, agent := s.user("ann"), deputy.ApplicationID("a"), deputy.ID("ua")
	web := s.session("web", deputy.UserSession, func(d *deputy.Session) { d.UserID = &ann })
	child := s.session("child", deputy.UserSession, func(d *deputy.Session) {
		d.UserID, d.ParentID, d.ApplicationID, d.Name = &ann, &web, &app, "Agent"
		d.Data = []byte(`{"sub":"s","n":[1]}`)
	})
	grandchild := s.session("grandchild", deputy.UserSession, func(d *deputy.Session) { d.UserID, d.ParentID, d.UserAgentID = &ann, &child, &agent })
	s.session("deepest", deputy.UserSession, func(d *deputy.Session) { d.UserID, d.ParentID, d.UserAgentID = &ann, &grandchild, &agent })
	s.session("root", deputy.UserSession, func(d *deputy.Session) { d.UserID, d.ApplicationID = &ann, &app })
	s.session("own", deputy.ApplicationSession, func(d *deputy.Session) {
		provider := deputy.ProviderID("p")
		d.ApplicationID, d.ProviderID, d.Issuer, d.Subject = &app, &provider, "https://idp.test", "app"
	})
	s.run(
		step{do: "GET /zones/{zone}/sessions/{child}", status: 200, want: `{"session_type":"user","id":"{child}","organization_id":"{org}","zone_id":"{zone}","status":"active","active":true,
			"user_id":"{ann}","application_id":"a","parent_id":"{web}","user_agent_id":"<absent>","provider_id":"<absent>","issuer":"<absent>","subject":"<absent>",
			"metadata":{"name":"Agent"},"session_data":{"sub":"s","n":[1]},"authenticated_at":"<any>","expires_at":"<any>","created_at":"<any>","updated_at":"<any>"}`},
		step{do: "GET /zones/{zone}/sessions/{own}", status: 200, want: `{"session_type":"application","application_id":"a","provider_id":"p","issuer":"https://idp.test","subject":"app","user_id":"<absent>","parent_id":"<absent>","metadata":"<absent>","session_data":"<absent>"}`},
		step{do: "GET /zones/{zone}/sessions/{web}", status: 200, want: `{"parent_id":"<absent>","application_id":"<absent>"}`},
		step{do: "GET /zones/{zone}/sessions/none", status: 404},
		// Those that somebody began, to the first generation.
		step{do: "GET /zones/{zone}/sessions?expand[]=total_count", status: 200, want: `{"items":[{"id":"{own}"},{"id":"{root}"},{"id":"{child}"}],"pagination":{"total_count":3,"after_cursor":null,"before_cursor":null}}`},
		step{do: "GET /zones/{zone}/sessions?include_nested=true&expand[]=total_count", status: 200, want: `{"items":[{"id":"{own}"},{"id":"{root}"},{"id":"{deepest}"},{"id":"{grandchild}"},{"id":"{child}"}],"pagination":{"total_count":5}}`},
		step{do: "GET /zones/{zone}/sessions?include_nested=false", status: 400},
		step{do: "GET /zones/{zone}/sessions?session_type=application", status: 200, want: ids("own")},
		step{do: "GET /zones/{zone}/sessions?session_type=application&include_nested=true", status: 200, want: ids("own")},
		step{do: "GET /zones/{zone}/sessions?session_type=user&include_nested=true&user_id={ann}&limit=2", status: 200, keep: []string{"after=pagination.after_cursor"}, want: ids("root", "deepest")},
		step{do: "GET /zones/{zone}/sessions?session_type=user&include_nested=true&user_id={ann}&limit=2&after={after}", status: 200, keep: []string{"before=pagination.before_cursor"}, want: ids("grandchild", "child")},
		step{do: "GET /zones/{zone}/sessions?session_type=user&include_nested=true&user_id={ann}&limit=2&before={before}", status: 200, want: ids("root", "deepest")},
		step{do: "GET /zones/{zone}/sessions?session_type=user&after={after}", status: 400},
		step{do: "GET /zones/{zone}/sessions?session_type=web", status: 400},
		step{do: "GET /zones/{zone}/sessions?user_id=nobody", status: 200, want: ids()},
		step{do: "GET /zones/{zone}/sessions?active=true", status: 200, want: ids("own", "root", "child")},
		step{do: "GET /zones/{zone}/sessions?active=false", status: 400},
		step{do: "GET /zones/{zone}/sessions?status=gone", status: 400},
		// To revoke a session is to revoke what is below it.
		step{do: "PATCH /zones/{zone}/sessions/{child}", body: `{}`, status: 400},
		step{do: "PATCH /zones/{zone}/sessions/{child}", body: `{"status":"active"}`, status: 400},
		step{do: "PATCH /zones/{zone}/sessions/none", body: `{"status":"revoked"}`, status: 404},
		step{do: "PATCH /zones/{zone}/sessions/{child}", as: "stranger", body: `{"status":"revoked"}`, status: 404},
		step{do: "PATCH /zones/{zone}/sessions/{child}", body: `{"status":"revoked","zoneId":"x"}`, status: 200, want: `{"status":"revoked","active":false}`, events: []string{"sessions:revoke"}},
		step{do: "PATCH /zones/{zone}/sessions/{child}", body: `{"status":"revoked"}`, status: 200, want: `{"status":"revoked"}`, events: []string{"sessions:revoke"}},
		step{do: "GET /zones/{zone}/sessions?status=revoked&include_nested=true", status: 200, want: ids("deepest", "grandchild", "child")},
		step{do: "GET /zones/{zone}/sessions?status=active&include_nested=true", status: 200, want: ids("own", "root")},
		step{do: "GET /zones/{zone}/sessions/{web}", status: 200, want: `{"status":"active"}`},
	)
	s.later(time.Hour) // and the rest runs out
	s.run(
		step{do: "GET /zones/{zone}/sessions?status=active&include_nested=true", status: 200, want: ids()},
		step{do: "GET /zones/{zone}/sessions?status=expired", status: 200, want: ids("own", "root")},
		step{do: "GET /zones/{zone}/sessions/{root}", status: 200, want: `{"status":"expired","active":false}`},
		step{do: "PATCH /zones/{zone}/sessions/{root}", body: `{"status":"revoked"}`, status: 200, want: `{"status":"expired"}`, events: []string{"sessions:revoke"}},
		step{do: "DELETE /zones/{zone}/sessions/{web}", as: "stranger", status: 404},
		step{do: "DELETE /zones/{zone}/sessions/{web}", status: 204, events: []string{"sessions:delete"}},
		step{do: "DELETE /zones/{zone}/sessions/{web}", status: 404},
		step{do: "GET /zones/{zone}/sessions?include_nested=true", status: 200, want: ids("own", "root")},
	)
}

func TestDelegatedGrants(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	ann, bob := s.user("ann"), s.user("bob")
	s.grant("first", ann)
	s.grant("second", ann, func(g *deputy.Grant) { g.ResourceID, g.Scopes, g.RefreshTokenSet = "other", nil, true })
	s.grant("third", bob, func(g *deputy.Grant) { at := s.now(); g.RefreshedAt, g.Status = &at, deputy.Expired })
	s.run(
		step{do: "GET /zones/{zone}/delegated-grants/{first}", status: 200, want: `{"id":"{first}","organization_id":"{org}","zone_id":"{zone}","user_id":"{ann}","resource_id":"r","provider_id":"p",
			"scopes":["read"],"status":"active","active":true,"refresh_token_set":false,"refreshed_at":"<absent>","expires_at":"<any>","created_at":"<any>","updated_at":"<any>"}`},
		step{do: "GET /zones/{zone}/delegated-grants/{second}", status: 200, want: `{"scopes":[],"refresh_token_set":true}`},
		step{do: "GET /zones/{zone}/delegated-grants/{third}", status: 200, want: `{"refreshed_at":"<any>","status":"expired"}`},
		step{do: "GET /zones/{zone}/delegated-grants/none", status: 404},
		step{do: "GET /zones/{zone}/delegated-grants?expand[]=total_count", status: 200, want: `{"items":[{"id":"{third}"},{"id":"{second}"},{"id":"{first}"}],"pagination":{"total_count":3}}`},
		step{do: "GET /zones/{zone}/delegated-grants?sort=created_at", status: 200, want: ids("first", "second", "third")},
		step{do: "GET /zones/{zone}/delegated-grants?sort=expires_at", status: 400},
		step{do: "GET /zones/{zone}/delegated-grants?user_id={ann}&resource_id=r", status: 200, want: ids("first")},
		step{do: "GET /zones/{zone}/delegated-grants?status=expired", status: 200, want: ids("third")},
		step{do: "GET /zones/{zone}/delegated-grants?active=true&sort=-created_at", status: 200, want: ids("second", "first")},
		step{do: "PATCH /zones/{zone}/delegated-grants/{first}", body: `{"status":"expired"}`, status: 400},
		step{do: "PATCH /zones/{zone}/delegated-grants/none", body: `{"status":"revoked"}`, status: 404},
		step{do: "PATCH /zones/{zone}/delegated-grants/{first}", body: `{"status":"revoked"}`, status: 200, want: `{"status":"revoked","active":false}`, events: []string{"delegated_grants:revoke"}},
		step{do: "PATCH /zones/{zone}/delegated-grants/{first}", body: `{"status":"revoked"}`, status: 200, want: `{"status":"revoked"}`, events: []string{"delegated_grants:revoke"}},
	)
	s.later(time.Hour) // but a grant that can be refreshed goes on
	s.run(
		step{do: "GET /zones/{zone}/delegated-grants?status=active", status: 200, want: ids("second")},
		step{do: "DELETE /zones/{zone}/delegated-grants/{first}", as: "stranger", status: 404},
		step{do: "DELETE /zones/{zone}/delegated-grants/{first}", status: 204, events: []string{"delegated_grants:delete"}},
		step{do: "DELETE /zones/{zone}/delegated-grants/{first}", status: 404},
		step{do: "GET /zones/{zone}/delegated-grants", status: 200, want: ids("third", "second")},
	)
}

// TestZoneInvitations: who may sign up is named, told, and asked for once.
func TestZoneInvitations(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	const one = `{"id":"{i}","organization_id":"{org}","zone_id":"{zone}","email":"Ada@Example.test","status":"pending","user_id":"<absent>","expires_at":"<any>","created_at":"<any>","updated_at":"<any>"}`
	s.run(
		step{do: "POST /zones/{zone}/invitations", body: `{"email":"no address"}`, status: 400},
		step{do: "POST /zones/{zone}/invitations", body: `{"email":"Ada@Example.test"}`, as: "stranger", status: 404},
		step{do: "POST /zones/{zone}/invitations", body: `{"email":"Ada@Example.test"}`, status: 200, keep: []string{"i=id"}, events: []string{"zone_invitations:create"}, want: `{"id":"<any>","email":"Ada@Example.test","status":"pending"}`},
		step{do: "POST /zones/{zone}/invitations", body: `{"email":"ada@example.test"}`, status: 409},
		step{do: "GET /zones/{zone}/invitations/{i}", status: 200, want: one},
		step{do: "GET /zones/{zone}/invitations?expand[]=total_count", status: 200, want: `{"items":[{"id":"{i}"}],"pagination":{"total_count":1}}`},
		step{do: "GET /zones/{zone}/invitations/{i}", as: "stranger", status: 404},
	)
	mails, err := s.store.Mails().List(t.Context(), deputy.Scope{Organization: deputy.OrganizationID(s.vars["org"])}, deputy.Query{All: true})
	if err != nil || len(mails.Items) != 1 || mails.Items[0].ZoneID != s.in().Zone || mails.Items[0].Purpose != deputy.MailInvitation {
		t.Errorf("the mails are %+v, %v", mails, err)
	}
	s.later(deputy.ZoneInvitationLifetime)
	s.run(
		step{do: "GET /zones/{zone}/invitations/{i}", status: 200, want: `{"status":"expired"}`},
		step{do: "POST /zones/{zone}/invitations", body: `{"email":"ada@example.test"}`, status: 200, keep: []string{"j=id"}, events: []string{"zone_invitations:create"}},
		step{do: "DELETE /zones/{zone}/invitations/{j}", as: "stranger", status: 404},
		step{do: "DELETE /zones/{zone}/invitations/{j}", status: 204, events: []string{"zone_invitations:delete"}},
		step{do: "DELETE /zones/{zone}/invitations/{j}", status: 404},
		step{do: "POST /zones/{zone}/invitations", body: `{"email":"ada@example.test"}`, status: 200, events: []string{"zone_invitations:create"}},
	)
}

func TestUserAgents(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	now := s.now()
	ua := &deputy.UserAgent{
		ID: deputy.NewID(now), OrganizationID: deputy.OrganizationID(s.vars["org"]), ZoneID: s.in().Zone, Slug: "zed", Name: "Zed",
		Identifier: "ua:" + strings.Repeat("0a", 32), AuthMethod: "none", LastUsedAt: now, CreatedAt: now, UpdatedAt: now,
	}
	s.write(ua.OrganizationID, func(tx deputy.Tx) error { return tx.UserAgents().Insert(t.Context(), ua) })
	s.vars["ua"], s.vars["identifier"] = string(ua.ID), ua.Identifier
	s.run(
		step{do: "GET /zones/{zone}/user-agents/{ua}", status: 200, want: `{"id":"{ua}","organization_id":"{org}","zone_id":"{zone}","slug":"zed","name":"Zed","identifier":"{identifier}","created_at":"<any>","updated_at":"<any>"}`},
		step{do: "GET /zones/{zone}/user-agents?expand[]=total_count", status: 200, want: `{"items":[{"id":"{ua}"}],"pagination":{"total_count":1}}`},
		step{do: "GET /zones/{zone}/user-agents/none", status: 404},
		step{do: "GET /zones/{zone}/user-agents/{ua}", as: "stranger", status: 404},
		step{do: "DELETE /zones/{zone}/user-agents/{ua}", status: 405},
	)
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.run(
		step{do: "POST /zones/{zone}/resources", body: `{"identifier":"https://r.test","name":"R"}`, status: 200, keep: []string{"res=id"}, events: []string{"resources:create"}},
		step{do: "POST /zones/{zone}/applications", body: `{"identifier":"app","name":"App"}`, status: 200, keep: []string{"app=id"}, events: []string{"applications:create"}},
		step{do: "POST /zones/{zone}/secrets", status: 201, keep: []string{"token=id"}, events: []string{"secrets:create"},
			body: `{"entity_id":"{res}","name":"API key","description":"of R","data":{"type":"token","token":"hush-1"},"metadata":{"env":["prod"]},"zone_id":"x","type":"token"}`,
			want: `{"id":"<any>","zone_id":"{zone}","entity_id":"{res}","name":"API key","description":"of R","type":"token","metadata":{"env":["prod"]},"version":1,"data":"<absent>","created_at":"<any>","updated_at":"<any>"}`},
		step{do: "POST /zones/{zone}/secrets", status: 201, keep: []string{"password=id"}, events: []string{"secrets:create"},
			body: `{"entity_id":"{app}","name":"Login","data":{"type":"password","username":"u","password":"hush-2"}}`,
			want: `{"type":"password","description":"<absent>","metadata":"<absent>","data":"<absent>"}`},
	)
	for body, field := range map[string]string{
		`{"entity_id":"none","name":"n","data":{"type":"token","token":"t"}}`:                        "entity_id",
		`{"entity_id":"{res}","data":{"type":"token","token":"t"}}`:                                  "name",
		`{"entity_id":"{res}","name":"n"}`:                                                           "data",
		`{"entity_id":"{res}","name":"n","data":{"type":null,"token":"t"}}`:                          "data.type",
		`{"entity_id":"{res}","name":"n","data":{"type":"password","username":"u"}}`:                 "data.password",
		`{"entity_id":"{res}","name":"n","data":{"type":"token","token":"t"},"metadata":[]}`:         "metadata",
		`{"entity_id":"{res}","name":"<b>","data":{"type":"token","token":"t"}}`:                     "name",
		`{"entity_id":"{res}","name":"n","description":null,"data":{"type":"token","token":"hush"}}`: "description",
	} {
		s.run(step{do: "POST /zones/{zone}/secrets", body: body, status: 400, want: `{"details":[{"field":"` + field + `"}]}`})
	}
	patch := func(body, want string) {
		t.Helper()
		s.run(step{do: "PATCH /zones/{zone}/secrets/{token}", body: body, status: 200, want: want, events: []string{"secrets:update"}})
	}
	s.run(
		step{do: "POST /zones/{zone}/secrets", body: `{"entity_id":"{res}","name":"n","data":{"type":"ssh","token":"t"}}`, status: 400},
		step{do: "POST /zones/{zone}/secrets", body: `{"entity_id":"{res}","name":"n","data":{"type":"token","token":"t"},"description":"` + strings.Repeat("x", 129) + `"}`, status: 400},
		// What it consists of is in a read of one alone, and that is an event.
		step{do: "GET /zones/{zone}/secrets/{token}", status: 200, events: []string{"secrets:read"}, want: `{"id":"{token}","version":1,"data":{"type":"token","token":"hush-1","password":"<absent>"}}`},
		step{do: "GET /zones/{zone}/secrets/{password}", status: 200, events: []string{"secrets:read"}, want: `{"data":{"type":"password","username":"u","password":"hush-2","token":"<absent>"}}`},
		step{do: "GET /zones/{zone}/secrets/none", status: 404},
		step{do: "GET /zones/{zone}/secrets/{token}", as: "stranger", status: 404},
		step{do: "GET /zones/{zone}/secrets", status: 200, want: `[{"id":"{password}","data":"<absent>"},{"id":"{token}","data":"<absent>"}]`},
		step{do: "GET /zones/{zone}/secrets?entity_id={res}", status: 200, want: `[{"id":"{token}"}]`},
		step{do: "GET /zones/{zone}/secrets?type=password", status: 200, want: `[{"id":"{password}"}]`},
		step{do: "GET /zones/{zone}/secrets?type=password&entity_id={res}", status: 200, want: `[]`},
		step{do: "GET /zones/{zone}/secrets?type=ssh", status: 400},
	)
	// Only new data is a new version.
	patch(`{"name":"Key","description":null,"metadata":null}`, `{"name":"Key","description":"<absent>","metadata":"<absent>","version":1}`)
	patch(`{"data":{"type":"token","token":"hush-1"}}`, `{"version":1}`)
	patch(`{"data":{"type":"token","token":"hush-3"}}`, `{"version":2,"type":"token"}`)
	patch(`{"data":{"type":"password","username":"","password":"hush-4"}}`, `{"version":3,"type":"password"}`)
	s.run(
		step{do: "GET /zones/{zone}/secrets/{token}", status: 200, events: []string{"secrets:read"}, want: `{"type":"password","version":3,"data":{"type":"password","username":"","password":"hush-4"}}`},
		step{do: "PATCH /zones/{zone}/secrets/none", body: `{"data":{"type":"token","token":"t"}}`, status: 404},
		step{do: "PATCH /zones/{zone}/secrets/{token}", as: "stranger", body: `{"name":"x"}`, status: 404},
		step{do: "PATCH /zones/{zone}/secrets/{token}", body: `{"data":null}`, status: 400},
		step{do: "PATCH /zones/{zone}/secrets/{token}", body: `{"entity_id":"{app}"}`, status: 200, want: `{"entity_id":"{res}"}`, events: []string{"secrets:update"}, heads: map[string]string{"X-Deputy-Ignored-Fields": "entity_id"}},
	)
	stored, err := s.store.Secrets().List(t.Context(), s.in(), deputy.Query{})
	if err != nil || len(stored.Items) != 2 {
		t.Fatal(stored, err)
	}
	for _, d := range stored.Items {
		if bytes.Contains(d.Sealed, []byte("hush")) {
			t.Error("a secret is stored as it is")
		}
	}
	if strings.Contains(s.log.String(), "hush") {
		t.Error("a secret is in the log")
	}
	s.run(
		step{do: "DELETE /zones/{zone}/secrets/{token}", as: "stranger", status: 404},
		step{do: "DELETE /zones/{zone}/secrets/{token}", status: 204, events: []string{"secrets:delete"}},
		step{do: "DELETE /zones/{zone}/secrets/{token}", status: 404},
		// The rest goes with what it is kept for.
		step{do: "DELETE /zones/{zone}/applications/{app}", status: 204, events: []string{"applications:delete"}},
		step{do: "GET /zones/{zone}/secrets", status: 200, want: `[]`},
	)
}

func TestRolesAndGroups(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.user("ann")
	s.run(
		step{do: "POST /zones/{zone}/applications", body: `{"identifier":"app","name":"App"}`, status: 200, keep: []string{"app=id"}, events: []string{"applications:create"}},
		step{do: "POST /zones/{zone}/resources", body: `{"identifier":"https://r.test","name":"R"}`, status: 200, keep: []string{"res=id"}, events: []string{"resources:create"}},
		step{do: "POST /zones/{zone}/roles", body: `{"identifier":"approver","name":"Approver","description":"approves"}`, status: 200, keep: []string{"role=id"}, events: []string{"roles:create"},
			want: `{"id":"<any>","organization_id":"{org}","zone_id":"{zone}","slug":"approver","identifier":"approver","name":"Approver","description":"approves","created_at":"<any>","updated_at":"<any>"}`},
		step{do: "POST /zones/{zone}/roles", body: `{"identifier":"approver","name":"Again"}`, status: 409, want: `{"details":[{"field":"identifier"}]}`},
		step{do: "POST /zones/{zone}/roles", body: `{"identifier":"` + strings.Repeat("x", 256) + `","name":"Long"}`, status: 400},
		step{do: "POST /zones/{zone}/roles", body: `{"identifier":"a","name":"<i>"}`, status: 400},
		step{do: "POST /zones/{zone}/roles", body: `{"identifier":"auditor","name":"Auditor"}`, status: 200, keep: []string{"auditor=id"}, events: []string{"roles:create"}},
		step{do: "GET /zones/{zone}/roles?sort=identifier&expand[]=total_count", status: 200, want: `{"items":[{"id":"{role}"},{"id":"{auditor}"}],"pagination":{"total_count":2}}`},
		step{do: "GET /zones/{zone}/roles?filter[identifier]=auditor&query[name]=AUDIT", status: 200, want: ids("auditor")},
		step{do: "PATCH /zones/{zone}/roles/{auditor}", body: `{"identifier":"approver"}`, status: 409},
		step{do: "PATCH /zones/{zone}/roles/{auditor}", body: `{"description":"looks"}`, status: 200, want: `{"description":"looks","identifier":"auditor"}`, events: []string{"roles:update"}},
		step{do: "PATCH /zones/{zone}/roles/{auditor}", body: `{"description":null}`, status: 200, want: `{"description":"<absent>"}`, events: []string{"roles:update"}},
		step{do: "GET /zones/{zone}/roles/{role}", as: "stranger", status: 404},

		step{do: "POST /zones/{zone}/groups", body: `{"identifier":"finance","name":"Finance"}`, status: 200, keep: []string{"group=id"}, want: `{"slug":"finance"}`, events: []string{"groups:create"}},
		step{do: "POST /zones/{zone}/groups", body: `{"identifier":"finance","name":"Finance"}`, status: 409},
		step{do: "PUT /zones/{zone}/groups/{group}/members/{ann}", status: 204, events: []string{"group_members:put"}},
		step{do: "PUT /zones/{zone}/groups/{group}/members/{ann}", status: 204, events: []string{"group_members:put"}},
		step{do: "PUT /zones/{zone}/groups/{group}/members/none", status: 404},
		step{do: "PUT /zones/{zone}/groups/none/members/{ann}", status: 404},
		step{do: "GET /zones/{zone}/groups/{group}/members?expand[]=total_count", status: 200, want: `{"items":[{"group_id":"{group}","user_id":"{ann}","zone_id":"{zone}","created_at":"<any>"}],"pagination":{"total_count":1}}`},
		step{do: "GET /zones/{zone}/groups/none/members", status: 404},

		step{do: "POST /zones/{zone}/role-assignments", body: `{"role_id":"{role}","principal":{"type":"user","id":"{ann}"}}`, status: 200, keep: []string{"whole=id"}, events: []string{"role_assignments:create"},
			want: `{"id":"<any>","organization_id":"{org}","zone_id":"{zone}","role_id":"{role}","role_identifier":"approver","principal":{"type":"user","id":"{ann}"},"scope":null,"created_at":"<any>"}`},
		step{do: "POST /zones/{zone}/role-assignments", body: `{"role_id":"{role}","principal":{"type":"user","id":"{ann}"},"scope":null}`, status: 409, want: `{"details":[{"field":"role_id"}]}`},
		step{do: "POST /zones/{zone}/role-assignments", body: `{"role_id":"{auditor}","principal":{"type":"user","id":"{ann}"},"scope":{"type":"resource","id":"{res}"}}`, status: 200, keep: []string{"scoped=id"},
			want: `{"scope":{"type":"resource","id":"{res}"}}`, events: []string{"role_assignments:create"}},
		step{do: "POST /zones/{zone}/role-assignments", body: `{"role_id":"{role}","principal":{"type":"application","id":"{app}"}}`, status: 200, keep: []string{"apps=id"}, events: []string{"role_assignments:create"}},
		step{do: "POST /zones/{zone}/role-assignments", body: `{"role_id":"{role}","principal":{"type":"group","id":"{group}"}}`, status: 200, keep: []string{"groups=id"}, events: []string{"role_assignments:create"}},
	)
	for body, field := range map[string]string{
		`{"role_id":"none","principal":{"type":"user","id":"{ann}"}}`:                                           "role_id",
		`{"role_id":"{role}","principal":{"type":"user","id":"{app}"}}`:                                         "principal.id",
		`{"role_id":"{role}","principal":{"type":"application","id":"{ann}"}}`:                                  "principal.id",
		`{"role_id":"{role}","principal":{"type":"group","id":"{ann}"}}`:                                        "principal.id",
		`{"role_id":"{role}","principal":{"type":"robot","id":"{ann}"}}`:                                        "principal.type",
		`{"role_id":"{role}","principal":{"type":"user","id":"{ann}"},"scope":{"type":"resource","id":"none"}}`: "scope.id",
		`{"role_id":"{role}","principal":{"type":"user","id":"{ann}"},"scope":{"type":"planet","id":"x"}}`:      "scope.type",
	} {
		s.run(step{do: "POST /zones/{zone}/role-assignments", body: body, status: 400, want: `{"details":[{"field":"` + field + `"}]}`})
	}
	s.run(
		step{do: "GET /zones/{zone}/role-assignments", status: 200, want: ids("groups", "apps", "scoped", "whole")},
		step{do: "GET /zones/{zone}/role-assignments?role_id={role}&principal_type=user", status: 200, want: ids("whole")},
		step{do: "GET /zones/{zone}/role-assignments?principal_id={ann}", status: 200, want: ids("scoped", "whole")},
		step{do: "GET /zones/{zone}/role-assignments/{scoped}", status: 200, want: `{"role_identifier":"auditor"}`},
		step{do: "PATCH /zones/{zone}/role-assignments/{scoped}", body: `{}`, status: 405},
		step{do: "GET /zones/{zone}/role-assignments/{scoped}", as: "stranger", status: 404},
		step{do: "GET /zones/{zone}/users/{ann}?expand[]=role-assignments", status: 200, want: `{"role_assignments":[
			{"role_id":"{role}","role_identifier":"approver","scope":null},
			{"role_id":"{auditor}","role_identifier":"auditor","scope":{"id":"{res}","type":"resource"}}]}`},
		step{do: "PATCH /zones/{zone}/roles/{role}", body: `{"identifier":"renamed"}`, status: 200, events: []string{"roles:update"}},
		step{do: "GET /zones/{zone}/role-assignments/{whole}", status: 200, want: `{"role_identifier":"renamed"}`},

		step{do: "DELETE /zones/{zone}/resources/{res}", status: 204, events: []string{"resources:delete"}},
		step{do: "GET /zones/{zone}/role-assignments/{scoped}", status: 404},
		step{do: "DELETE /zones/{zone}/role-assignments/{whole}", status: 204, events: []string{"role_assignments:delete"}},
		step{do: "DELETE /zones/{zone}/role-assignments/{whole}", status: 404},
		step{do: "DELETE /zones/{zone}/groups/{group}/members/{ann}", status: 204, events: []string{"group_members:delete"}},
		step{do: "DELETE /zones/{zone}/groups/{group}/members/{ann}", status: 404},
		step{do: "DELETE /zones/{zone}/groups/{group}", status: 204, events: []string{"groups:delete"}},
		step{do: "DELETE /zones/{zone}/roles/{role}", status: 204, events: []string{"roles:delete"}},
		step{do: "GET /zones/{zone}/role-assignments", status: 200, want: ids()},
	)
}
