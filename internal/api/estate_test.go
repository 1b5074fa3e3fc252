package api_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"deputy/internal/deputy"
)

// estateLives is how long what an estate has is good for: longer than any test
// takes by its clock, so that nothing changes by itself.
const estateLives = 365 * 24 * time.Hour

// birth is how one of each thing in a zone or an organization comes into
// being. Braces in the body name those that came before, of the same owner. It
// names everything that a body of its kind may refer to.
type birth struct {
	do   string // method and path template
	as   string // what later ones call it
	body string
}

// foundations make one of everything that an organization has beside zones.
var foundations = []birth{
	{"POST /organizations/{organization_id}/service-accounts", "service_account", `{"name":"CI"}`},
	{"POST /organizations/{organization_id}/service-accounts/{service_account_id}/credentials", "service_credential", `{"name":"C"}`},
	{"POST /organizations/{organization_id}/invitations", "invitation", `{"email":"invited@example.com","role":"org_member"}`},
	{"POST /organizations/{organization_id}/sso-connection", "", `{"identifier":"https://sso.test","client_id":"c"}`},
}

// births make one of everything that the API can make, parents first. What the
// API cannot make is put into the store by plant.
var births = []birth{
	{"POST /zones/{zone_id}/members", "", `{"organization_user_id":"{organization_user}","role":"zone_viewer"}`},
	{"POST /zones/{zone_id}/providers", "provider", `{"identifier":"https://idp.test","name":"IdP"}`},
	{"POST /zones/{zone_id}/applications", "application", `{"identifier":"https://app.test","name":"App"}`},
	{"POST /zones/{zone_id}/resources", "resource", `{"identifier":"https://api.test","name":"Api","application_id":"{application}","credential_provider_id":"{provider}"}`},
	{"PUT /zones/{zone_id}/applications/{id}/dependencies/{dependency_id}", "", ``},
	{"POST /zones/{zone_id}/application-credentials", "credential", `{"application_id":"{application}","type":"token","provider_id":"{provider}"}`},
	{"POST /zones/{zone_id}/secrets", "secret", `{"entity_id":"{resource}","name":"Key","data":{"type":"token","token":"t"}}`},
	{"POST /zones/{zone_id}/invitations", "", `{"email":"signs-up@example.com"}`},
	{"POST /zones/{zone_id}/roles", "role", `{"identifier":"role","name":"Role"}`},
	{"POST /zones/{zone_id}/groups", "group", `{"identifier":"group","name":"Group"}`},
	{"POST /zones/{zone_id}/role-assignments", "role_assignment",
		`{"role_id":"{role}","principal":{"type":"application","id":"{application}"},"scope":{"type":"resource","id":"{resource}"}}`},
	{"POST /zones/{zone_id}/policies", "policy", `{"name":"P"}`},
	{"POST /zones/{zone_id}/policies/{policy_id}/versions", "policy_version", version("permit (principal, action, resource);")},
	{"POST /zones/{zone_id}/policy-sets", "policy_set", `{"name":"S"}`},
	{"POST /zones/{zone_id}/policy-sets/{policy_set_id}/versions", "policy_set_version",
		`{"schema_version":"` + schema + `","manifest":{"entries":[{"policy_id":"{policy}","policy_version_id":"{policy_version}"}]}}`},
	{"POST /zones/{zone_id}/policy-sets/{policy_set_id}/versions/{version_id}/test", "", `{"application_id":"{application}","resource_id":"{resource}"}`},
	{"PUT /zones/{zone_id}/policies/{policy_id}/draft", "", version("permit (principal, action, resource);")},
	{"PUT /zones/{zone_id}/policy-sets/{policy_set_id}/draft", "",
		`{"schema_version":"` + schema + `","base_version_id":"{policy_set_version}","manifest":{"entries":[{"policy_id":"{policy}","policy_version_id":"{policy_version}"}]}}`},
	{"POST /zones/{zone_id}/packages", "package", `{"kind":"application","name":"Pack","inputs":{"bindings":"{\"name\": \"Pack\", \"identifier\": \"pack\"}"}}`},
	{"POST /zones/{zone_id}/packages/{package_id}/versions", "package_version", ``},
	{"PATCH /zones/{zone_id}/packages/{package_id}", "", `{"published":true}`},
	{"PUT /zones/{zone_id}/packages/{package_id}/draft", "", `{"name":"Next","inputs":{"bindings":"{\"name\": \"Next\", \"identifier\": \"pack\"}"}}`},
	{"POST /zones/{zone_id}/installs", "", `{"package_id":"{package}"}`},
	{"POST /organizations/{organization_id}/packages", "organization_package", `{"kind":"application","name":"Pack","inputs":{"bindings":"{\"name\": \"Pack\", \"identifier\": \"pack\"}"}}`},
	{"POST /organizations/{organization_id}/packages/{package_id}/versions", "organization_package_version", ``},
	{"PUT /organizations/{organization_id}/packages/{package_id}/draft", "", `{"name":"Next","inputs":{"bindings":"{\"name\": \"Next\", \"identifier\": \"pack\"}"}}`},
	{"PATCH /zones/{zone_id}", "", `{"user_identity_provider_id":"{provider}","default_resource_id":"{resource}","default_mcp_gateway_application_id":"{application}"}`},
}

// sameAs are path parameters that name what lies elsewhere.
var sameAs = map[string]string{
	"/zones/{zone_id}/applications/{id}/dependencies/{dependency_id}": "/zones/{zone_id}/resources/{id}",
	"/zones/{zone_id}/policy-bundles/{target_type}/{target_id}":       "/zones/{zone_id}",
}

// estate is what one owner has: an organization, a zone in it, and one of
// everything in both.
type estate struct {
	*server
	as    string            // the caller who owns it
	label string            // of the organization, which may stand for its id
	ids   map[string]string // by path template, up to and including the parameter
	names map[string]string // ids by what births call them
}

// newEstate makes a zone for the caller, and one of everything in it.
func newEstate(s *server, as, organization, name string) *estate {
	s.t.Helper()
	e := &estate{server: s, as: as, ids: map[string]string{"/organizations/{organization_id}": organization}, names: map[string]string{}}
	e.label = text(e.call("GET /organizations/"+organization, ""), "label")
	e.ids["/zones/{zone_id}/policy-bundles/{target_type}"] = "zone"
	e.settle(name)
	e.ids["/zones/{zone_id}"] = text(e.call("POST /zones", `{"name":"`+name+`"}`), "id")
	e.bear(births)
	e.plant()
	for _, r := range s.api.Routes() {
		e.path(r.Path, nil) // finds every id
	}
	s.events(as)
	return e
}

// settle makes what the organization has beside zones, once.
func (e *estate) settle(name string) {
	e.t.Helper()
	organization, now := deputy.OrganizationID(e.ids["/organizations/{organization_id}"]), e.now()
	token := deputy.NewSecret()
	e.ids["/invitations/{token}"] = token.Reveal()
	u := &deputy.OrganizationUser{
		OrganizationID: organization, ID: deputy.NewID(now), Email: name + "@example.com", Role: deputy.OrganizationMember,
		Status: deputy.UserActive, Subject: name, CreatedAt: now, UpdatedAt: now,
	}
	e.names["organization_user"] = string(u.ID)
	e.write(organization, func(tx deputy.Tx) error {
		return errors.Join(tx.OrganizationUsers().Insert(e.t.Context(), u), tx.Invitations().Insert(e.t.Context(), &deputy.Invitation{
			ID: deputy.NewID(now), OrganizationID: organization, Email: "link-" + name + "@example.com", Role: deputy.OrganizationMember,
			Status: deputy.InvitationPending, TokenHash: deputy.HashSecret(token), ExpiresAt: now.Add(estateLives), CreatedAt: now, UpdatedAt: now,
		}))
	})
	if w := e.call("GET /organizations/"+string(organization)+"/sso-connection", ""); w.Code == http.StatusNotFound {
		e.bear(foundations)
	}
}

// bear makes what is to be born.
func (e *estate) bear(births []birth) {
	e.t.Helper()
	for _, b := range births {
		method, template, _ := strings.Cut(b.do, " ")
		w := e.call(method+" "+e.path(template, nil), e.body(b.body))
		if w.Code >= 300 {
			e.t.Fatalf("%s: status %d: %s", b.do, w.Code, w.Body)
		}
		if b.as != "" {
			e.names[b.as] = text(w, "id")
			if child, ok := e.child(template); ok {
				e.ids[child] = e.names[b.as]
			}
		}
	}
}

// plant puts into the store what only the token service makes.
func (e *estate) plant() {
	e.t.Helper()
	zone, organization := deputy.ZoneID(e.ids["/zones/{zone_id}"]), deputy.OrganizationID(e.ids["/organizations/{organization_id}"])
	now := e.now()
	user := &deputy.User{
		ID: deputy.UserID(deputy.NewID(now)), OrganizationID: organization, ZoneID: zone, Identifier: "user", Email: "user@example.test",
		Status: deputy.UserActive, CreatedAt: now, UpdatedAt: now,
	}
	agent := &deputy.UserAgent{
		ID: deputy.NewID(now), OrganizationID: organization, ZoneID: zone, Slug: "agent", Name: "Agent", Identifier: "ua:00", AuthMethod: "none",
		LastUsedAt: now, CreatedAt: now, UpdatedAt: now,
	}
	session := &deputy.Session{
		ID: deputy.SessionID(deputy.NewID(now)), OrganizationID: organization, ZoneID: zone, Type: deputy.UserSession, Status: deputy.Active,
		UserID: &user.ID, UserAgentID: &agent.ID, AuthenticatedAt: now, ExpiresAt: now.Add(estateLives), CreatedAt: now, UpdatedAt: now,
	}
	grant := &deputy.Grant{
		ID: deputy.NewID(now), OrganizationID: organization, ZoneID: zone, UserID: user.ID, ResourceID: deputy.ResourceID(e.names["resource"]),
		ProviderID: deputy.ProviderID(e.names["provider"]), Status: deputy.Active, ExpiresAt: now.Add(estateLives), CreatedAt: now, UpdatedAt: now,
	}
	e.write(organization, func(tx deputy.Tx) error {
		ctx := e.t.Context()
		return errors.Join(tx.Users().Insert(ctx, user), tx.UserAgents().Insert(ctx, agent), tx.Sessions().Insert(ctx, session),
			tx.Grants().Insert(ctx, grant),
			tx.Memberships().Insert(ctx, &deputy.Membership{ZoneID: zone, GroupID: deputy.ID(e.names["group"]), UserID: user.ID, CreatedAt: now}))
	})
}

// child returns the template of one in a collection, if a route names one.
func (e *estate) child(collection string) (string, bool) {
	for _, r := range e.api.Routes() {
		if rest, ok := strings.CutPrefix(r.Path, collection+"/{"); ok {
			name, _, _ := strings.Cut(rest, "}")
			return collection + "/{" + name + "}", true
		}
	}
	return "", false
}

// call makes a request as the owner.
func (e *estate) call(do, body string) *httptest.ResponseRecorder {
	e.t.Helper()
	return e.request(step{do: do, as: e.as, body: body})
}

// body fills in what a body refers to.
func (e *estate) body(template string) string {
	for name, id := range e.names {
		template = strings.ReplaceAll(template, "{"+name+"}", id)
	}
	return template
}

// params returns the templates of a path's parameters, each with all before it.
func params(template string) []string {
	var out []string
	for i, c := range template {
		if c == '}' {
			out = append(out, template[:i+1])
		}
	}
	return out
}

// path fills in the ids of the estate, or those that others give.
func (e *estate) path(template string, others map[string]string) string {
	e.t.Helper()
	path := template
	for _, p := range params(template) {
		id, given := others[p]
		if !given {
			id = e.id(p)
		}
		path = strings.Replace(path, p[strings.LastIndex(p, "{"):], id, 1)
	}
	return path
}

// id returns the id that a path parameter has in the estate: of what was born
// there, else of the first in the list.
func (e *estate) id(template string) string {
	e.t.Helper()
	if id, known := e.ids[template]; known {
		return id
	}
	if elsewhere, ok := sameAs[template]; ok {
		return e.id(elsewhere)
	}
	brace := strings.LastIndex(template, "/{")
	name := strings.Trim(template[brace:], "/{}")
	w := e.call("GET "+e.path(template[:brace], nil), "")
	for _, path := range []string{"items.0." + name, "items.0.id", "0.id"} {
		if id := text(w, path); id != "" {
			e.ids[template] = id
			return id
		}
	}
	e.t.Fatalf("nothing lies at %s: let births or plant in estate_test.go make one (its list: %d %s)", template, w.Code, w.Body)
	return ""
}

// text returns the text at a path of an answer; empty when there is none.
func text(w *httptest.ResponseRecorder, path string) string {
	var v any
	_ = json.Unmarshal(w.Body.Bytes(), &v) // what is not JSON holds no text
	text, _ := at(v, path).(string)
	return text
}
