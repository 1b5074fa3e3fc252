package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/mail"
)

func TestOrganizations(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	own := `{"id":"{org}","name":"Own","label":"own","sso_enabled":false,"permissions":"<absent>"}`
	s.run(
		// A service account sees exactly one.
		step{do: "GET /organizations", status: 200, want: `{"items":[` + own + `],"permissions":"<absent>",
			"page_info":{"has_next_page":false,"has_prev_page":false,"has_previous_page":false,"start_cursor":"<any>"},"pagination":"<absent>"}`, keep: []string{"cursor=page_info.end_cursor"}},
		step{do: "GET /organizations?after={cursor}", status: 200, want: `{"items":[],"page_info":{"has_prev_page":true}}`},
		step{do: "GET /organizations?after=made-up", status: 400},
		step{do: "GET /organizations?limit=1000", status: 400},
		step{do: "GET /organizations?expand=permissions&expand=whatever", status: 200, want: `{"permissions":{"organizations":{"read":true,"update":true,"create":false,"token":false}},
			"items":[{"permissions":{"organizations":{"read":true},"users":{"read":true,"list":true},"zones":{"create":true,"list":true}}}]}`},
		step{do: "GET /organizations/{org}", status: 200, want: own},
		step{do: "GET /organizations/own?expand[]=permissions", status: 200, want: `{"id":"{org}","permissions":{"organizations":{"update":true}}}`},
		step{do: "GET /organizations/foreign", status: 404},
		step{do: "GET /organizations/odd%20id", status: 404},
		// The label stays: links may hold it.
		step{do: "PATCH /organizations/own", body: `{"name":"Renamed","label":"renamed"}`, status: 200, want: `{"name":"Renamed","label":"own"}`,
			heads: map[string]string{"X-Deputy-Ignored-Fields": "label"}, events: []string{"organizations:update"}},
		step{do: "PATCH /organizations/{org}", body: `{"name":""}`, status: 400},
		step{do: "PATCH /organizations/{org}", body: `{"name":null}`, status: 400, want: `{"details":[{"field":"name","message":"must not be null"}]}`},
		step{do: "GET /organizations/{org}", status: 200, want: `{"name":"Renamed"}`},
		step{do: "POST /organizations", status: 403, want: errorBody(403, "forbidden"), events: []string{"organizations:create!"}},
		step{do: "POST /organizations", body: `{"name":"More"}`, status: 403, events: []string{"organizations:create!"}},
		step{do: "POST /organizations/own/token", status: 403, events: []string{"organizations:token!"}},
	)
}

func TestOrganizationsOfAPerson(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.person("org", "ann", deputy.OrganizationAdmin)
	s.person("org", "bob", deputy.OrganizationMember)
	s.person("foreign", "ann", deputy.OrganizationViewer)
	const ann, bob = "ann@example.com/own", "bob@example.com"
	s.run(
		step{do: "GET /organizations?expand=permissions", as: ann, status: 200, want: `{"items":[
			{"id":"{foreign}","permissions":{"organizations":{"update":false},"users":{"list":true,"delete":false}}},
			{"id":"{org}","permissions":{"organizations":{"update":true},"users":{"delete":true}}}]}`},
		step{do: "GET /organizations?limit=1", as: ann, status: 200, want: `{"items":[{"id":"{foreign}"}],"page_info":{"has_next_page":true}}`, keep: []string{"at=page_info.end_cursor"}},
		step{do: "GET /organizations?limit=1&after={at}", as: ann, status: 200, want: `{"items":[{"id":"{org}"}],"page_info":{"has_prev_page":true}}`},
		step{do: "GET /organizations", as: bob, status: 200, want: `{"items":[{"id":"{org}"}]}`},

		// A bearer is of one organization; for another of theirs there is another.
		step{do: "GET /organizations/foreign", as: ann, status: 404},
		step{do: "GET /organizations/foreign/users", as: ann, status: 404},
		step{do: "POST /organizations/foreign/token", as: ann, status: 200, want: `{"access_token":"ann@example.com/foreign","token_type":"Bearer","expires_in":3600}`},
		step{do: "POST /organizations/{foreign}/token", as: ann, status: 200},
		step{do: "POST /organizations/own/token", as: ann, status: 200, want: `{"access_token":"ann@example.com/own"}`},
		step{do: "GET /organizations/foreign/users", as: "ann@example.com/foreign", status: 200},
		step{do: "POST /organizations/foreign/token", as: bob, status: 404, want: `{"message":"no such organization"}`},
		step{do: "POST /organizations/nowhere/token", as: bob, status: 404, want: `{"message":"no such organization"}`},

		// Who administers one may make another.
		step{do: "POST /organizations", as: bob, status: 403, events: []string{"organizations:create!"}},
		step{do: "POST /organizations", as: ann, body: `{"name":"<b>"}`, status: 400},
		step{do: "POST /organizations", as: ann, body: `{"name":"Own"}`, status: 201, want: `{"name":"Own","label":"<any>","sso_enabled":false}`, keep: []string{"new=id", "label=label"}},
		step{do: "POST /organizations", as: ann, status: 201, want: `{"name":"Organization","label":"organization"}`},
		step{do: "POST /organizations/{label}/token", as: ann, status: 200, keep: []string{"bearer=access_token"}},
	)
	if s.vars["label"] == "own" {
		t.Error("two organizations have one label")
	}
	s.vars["org"], s.seen[deputy.OrganizationID(s.vars["new"])] = s.vars["new"], 0
	s.run(
		step{do: "GET /organizations/{new}/users", as: s.vars["bearer"], status: 200,
			want: `{"items":[{"id":"{ann}","email":"ann@example.com","role":"org_admin","status":"active"}]}`, events: []string{"organizations:create"}},
		step{do: "POST /zones", as: s.vars["bearer"], body: `{"name":"First"}`, status: 200, events: []string{"zones:create"}},
	)
}

func TestOrganizationUsers(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.person("org", "ann", deputy.OrganizationAdmin)
	s.person("org", "bob", deputy.OrganizationViewer)
	s.person("org", "carol", deputy.OrganizationMember)
	s.person("foreign", "dave", deputy.OrganizationAdmin)
	s.zone()
	s.member("zone", "carol", deputy.ZoneManager)
	const ann, bob, carol = "ann@example.com", "bob@example.com", "carol@example.com"
	const users = "/organizations/own/users"
	last := errorBody(409, "conflict")
	s.run(
		step{do: "GET " + users, status: 200, want: `{"items":[{"id":"{carol}"},{"id":"{bob}"},
			{"id":"{ann}","email":"ann@example.com","role":"org_admin","status":"active","source":"` + publicURL + `","permissions":"<absent>","created_at":"<any>","updated_at":"<any>"}],
			"permissions":"<absent>","pagination":"<absent>"}`},
		step{do: "GET " + users + "?role=org_viewer&expand=permissions", as: bob, status: 200, want: `{"items":[{"id":"{bob}","permissions":{"users":{"read":true,"update":false}}}],
			"permissions":{"users":{"list":true,"delete":false}}}`},
		step{do: "GET " + users + "?role=zone_viewer", status: 400},
		step{do: "GET " + users, as: carol, status: 403, events: []string{"organization_users:list!"}},
		step{do: "GET " + users + "/{bob}?expand=permissions", status: 200, want: `{"id":"{bob}","permissions":{"users":{"update":true}}}`},
		step{do: "GET " + users + "/{dave}", status: 404, want: `{"message":"no such organization user"}`},
		step{do: "PATCH " + users + "/{dave}", body: `{"role":"org_member"}`, status: 404},
		step{do: "PATCH " + users + "/{bob}", as: bob, body: `{"role":"org_admin"}`, status: 403, events: []string{"organization_users:update!"}},
		step{do: "PATCH " + users + "/{bob}", body: `{"role":"zone_manager"}`, status: 400},
		step{do: "PATCH " + users + "/{bob}", body: `{"status":"deleted"}`, status: 400},
		step{do: "PATCH " + users + "/{bob}", body: `{}`, status: 200, want: `{"role":"org_viewer"}`, events: []string{"organization_users:update"}},

		// Somebody must administer the organization.
		step{do: "PATCH " + users + "/{ann}", body: `{"role":"org_viewer"}`, status: 409, want: last, heads: map[string]string{"X-Should-Retry": "false"}},
		step{do: "PATCH " + users + "/{ann}", as: ann, body: `{"status":"disabled"}`, status: 409, want: last},
		step{do: "DELETE " + users + "/{ann}", status: 409, want: last},
		step{do: "PATCH " + users + "/{bob}", body: `{"role":"org_admin","status":"disabled"}`, status: 200, events: []string{"organization_users:update"}},
		step{do: "DELETE " + users + "/{ann}", status: 409, want: last}, // who is disabled administers nothing
		step{do: "PATCH " + users + "/{bob}", as: ann, body: `{"status":"active"}`, status: 200, want: `{"role":"org_admin","status":"active"}`, events: []string{"organization_users:update"}},
		step{do: "PATCH " + users + "/{ann}", as: bob, body: `{"role":"org_member"}`, status: 200, events: []string{"organization_users:update"}},

		// Disabled is out, and so is deleted.
		step{do: "PATCH " + users + "/{ann}", as: bob, body: `{"status":"disabled"}`, status: 200, events: []string{"organization_users:update"}},
		step{do: "GET /organizations", as: ann, status: 401},
		step{do: "DELETE " + users + "/{carol}", as: bob, status: 204, events: []string{"organization_users:delete"}},
		step{do: "GET /zones", as: carol, status: 401},
		step{do: "GET /zones/{zone}/members", as: bob, status: 200, want: `{"items":[]}`},
		step{do: "DELETE " + users + "/{carol}", as: bob, status: 404},
	)
}

// TestLastAdministrators has the last two go at once: one stays.
func TestLastAdministrators(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for round := range 5 {
		locals := []string{fmt.Sprintf("a%d", round), fmt.Sprintf("b%d", round)}
		var wait sync.WaitGroup
		codes := make([]int, len(locals))
		for i, local := range locals {
			s.person("org", local, deputy.OrganizationAdmin)
			if round > 0 && i == 0 { // whoever stayed before
				for _, u := range s.admins() {
					if !strings.HasPrefix(u.Email, local) {
						s.run(step{do: "DELETE /organizations/own/users/" + string(u.ID), status: 204, events: []string{"organization_users:delete"}})
					}
				}
			}
		}
		for i, local := range locals {
			wait.Go(func() { codes[i] = s.request(step{do: "DELETE /organizations/own/users/{" + local + "}"}).Code })
		}
		wait.Wait()
		slices.Sort(codes)
		if !slices.Equal(codes, []int{204, 409}) || len(s.admins()) != 1 {
			t.Errorf("round %d: %v, %d left", round, codes, len(s.admins()))
		}
		s.events("admin")
	}
}

// admins returns who administers the organization.
func (s *server) admins() []*deputy.OrganizationUser {
	s.t.Helper()
	page, err := s.store.OrganizationUsers().List(s.t.Context(), s.inOrganization("org"), deputy.Query{
		Where: []deputy.Filter{{Fields: []string{"role"}, Values: []string{"org_admin"}}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return page.Items
}

// mailed returns the messages that wait to be sent, oldest first.
func (s *server) mailed() (out []mail.Message) {
	s.t.Helper()
	page, err := s.store.Mails().List(s.t.Context(), s.inOrganization("org"), deputy.Query{})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, m := range page.Items {
		if m.Purpose != deputy.MailInvitation {
			s.t.Errorf("a mail to %s", m.Purpose)
		}
		msg, err := mail.Open(s.t.Context(), s.vault, m)
		if err != nil {
			s.t.Fatal(err)
		}
		out = append(out, msg)
	}
	slices.Reverse(out)
	return out
}

var link = regexp.MustCompile(`(?m)^` + publicURL + `/login/invitations/([A-Za-z0-9]{64})$`)

func TestInvitations(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.person("org", "ann", deputy.OrganizationAdmin)
	s.person("foreign", "bob", deputy.OrganizationMember)
	s.person("foreign", "eve", deputy.OrganizationAdmin)
	const ann, bob, eve = "ann@example.com", "bob@example.com/foreign", "eve@example.com/foreign"
	const all = "/organizations/own/invitations"
	invite := func(email string) string { return `{"email":"` + email + `","role":"org_viewer"}` }
	s.run(
		step{do: "POST " + all, as: ann, body: invite("Bob@example.com"), status: 201, keep: []string{"id=id"}, events: []string{"invitations:create"},
			want: `{"organization_id":"{org}","email":"Bob@example.com","role":"org_viewer","status":"pending","created_by":"{ann}","expires_at":"<any>","created_at":"<any>","updated_at":"<any>","permissions":"<absent>"}`},
		step{do: "POST " + all, body: invite("bob@EXAMPLE.com"), status: 409, want: `{"code":"conflict","details":[{"field":"email"}]}`},
		step{do: "POST " + all, body: invite("ANN@example.com"), status: 409, want: `{"details":[{"field":"email","message":"a user of the organization has this mail address"}]}`},
		step{do: "POST " + all, body: invite("no address"), status: 400, want: `{"details":[{"field":"email"}]}`},
		step{do: "POST " + all, body: invite("Ann <ann@example.org>"), status: 400},
		step{do: "POST " + all, body: `{"email":"x@example.com","role":"zone_viewer"}`, status: 400},
		step{do: "POST " + all, body: `{"email":"x@example.com"}`, status: 400, want: `{"details":[{"field":"role","message":"is required"}]}`},
		step{do: "POST " + all, as: "stranger", body: invite("x@example.com"), status: 404},
		step{do: "GET " + all + "?expand=permissions", status: 200, want: `{"items":[{"id":"{id}","permissions":{"invitations":{"create":true}}}],"permissions":{"invitations":{"list":true}}}`},
	)
	mails := s.mailed()
	if len(mails) != 1 || mails[0].To != "Bob@example.com" || !strings.Contains(mails[0].Text, "ann@example.com invites you to Own.") {
		t.Fatalf("the mails are %+v", mails)
	}
	found := link.FindStringSubmatch(mails[0].Text)
	if found == nil {
		t.Fatalf("no link alone on a line in %s", mails[0].Text)
	}
	s.vars["token"] = found[1]
	if answer := s.request(step{do: "GET " + all}).Body.String(); strings.Contains(answer, found[1]) {
		t.Error("the token is in an answer")
	}
	preview := `{"email":"Bob@example.com","role":"org_viewer","status":"%s","expires_at":"<any>","organization_name":"Own","created_by_name":"ann@example.com"}`
	s.run(
		// The link shows what it is, without a bearer and without being used up.
		step{do: "GET /invitations/{token}", as: "-", status: 200, want: fmt.Sprintf(preview, "pending")},
		step{do: "GET /invitations/{token}", as: "-", status: 200, want: fmt.Sprintf(preview, "pending")},
		step{do: "GET /invitations/made-up", as: "-", status: 404, want: errorBody(404, "not_found")},
		step{do: "POST /invitations/{token}/accept", as: "-", status: 401},
		step{do: "POST /invitations/{token}/accept", status: 403, events: []string{"invitations:accept!"}}, // a service account is nobody to join
		step{do: "POST /invitations/made-up/accept", as: bob, status: 404},
		step{do: "POST /invitations/{token}/accept", as: eve, status: 403, want: `{"message":"the invitation was sent to another mail address"}`, events: []string{"invitations:accept!"}},
		step{do: "POST /invitations/{token}/accept", as: bob, status: 200, want: `{"success":true,"organization_id":"{org}","organization_name":"Own","user_id":"{bob}"}`},
		step{do: "GET /organizations/own/users/{bob}", status: 200, want: `{"email":"bob@example.com","role":"org_viewer","status":"active"}`, events: []string{"invitations:accept"}},
		step{do: "GET /organizations", as: bob, status: 200, want: `{"items":[{"id":"{foreign}"},{"id":"{org}"}]}`},
		step{do: "GET /organizations/own/users", as: "bob@example.com/own", status: 200},
		step{do: "GET /invitations/{token}", as: "-", status: 200, want: fmt.Sprintf(preview, "accepted")},
		step{do: "POST /invitations/{token}/accept", as: bob, status: 409, want: `{"message":"the invitation is accepted"}`},
		step{do: "DELETE " + all + "/{id}", status: 409},
		step{do: "GET " + all, status: 200, want: `{"items":[{"id":"{id}","status":"accepted"}]}`},
	)
}

// TestVouchedPeopleStay: whom an organization's identity provider signs in is
// of that organization alone.
func TestVouchedPeopleStay(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	bob := s.person("foreign", "bob", deputy.OrganizationAdmin)
	s.write(bob.OrganizationID, func(tx deputy.Tx) error {
		_, err := tx.OrganizationUsers().Update(t.Context(), s.inOrganization("foreign"), bob.ID, func(u *deputy.OrganizationUser) error {
			u.Source = "https://idp.example.com"
			return nil
		})
		return err
	})
	s.run(step{do: "POST /organizations/own/invitations", body: `{"email":"bob@example.com","role":"org_member"}`, status: 201, events: []string{"invitations:create"}})
	s.vars["token"] = link.FindStringSubmatch(s.mailed()[0].Text)[1]
	const stays = `{"message":"an account that an organization's identity provider signs in belongs to that organization alone"}`
	s.run(
		step{do: "POST /invitations/{token}/accept", as: "bob@example.com/foreign", status: 403, want: stays, events: []string{"invitations:accept!"}},
		step{do: "POST /organizations", as: "bob@example.com/foreign", body: `{"name":"Mine"}`, status: 403, want: stays, events: []string{"organizations:create!"}},
		step{do: "GET /organizations", as: "bob@example.com/foreign", status: 200, want: `{"items":[{"id":"{foreign}"}]}`},
	)
}

func TestInvitationsThatEnd(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.person("foreign", "bob", deputy.OrganizationMember)
	const bob = "bob@example.com/foreign"
	const all = "/organizations/own/invitations"
	invite := step{do: "POST " + all, body: `{"email":"bob@example.com","role":"org_member"}`, status: 201, keep: []string{"id=id"}, events: []string{"invitations:create"}}
	token := func() {
		mails := s.mailed()
		s.vars["token"] = link.FindStringSubmatch(mails[len(mails)-1].Text)[1]
	}
	s.run(invite)
	token()
	s.run(
		step{do: "DELETE " + all + "/{foreign}", status: 404},
		step{do: "DELETE " + all + "/{id}", status: 204, events: []string{"invitations:revoke"}},
		step{do: "DELETE " + all + "/{id}", status: 204, events: []string{"invitations:revoke"}},
		step{do: "GET /invitations/{token}", as: "-", status: 200, want: `{"status":"revoked"}`},
		step{do: "POST /invitations/{token}/accept", as: bob, status: 409, want: `{"message":"the invitation is revoked"}`},
		invite, // the address is free again
	)
	token()
	s.clock = s.clock.Add(deputy.InvitationLifetime - time.Minute)
	s.run(step{do: "GET /invitations/{token}", as: "-", status: 200, want: `{"status":"pending"}`})
	s.clock = s.clock.Add(time.Minute)
	s.run(
		step{do: "GET /invitations/{token}", as: "-", status: 200, want: `{"status":"expired"}`},
		step{do: "POST /invitations/{token}/accept", as: bob, status: 409, want: `{"message":"the invitation is expired"}`},
		step{do: "GET " + all, status: 200, want: `{"items":[{"status":"expired"},{"status":"revoked"}]}`},
		step{do: "GET /organizations/own/identities", status: 200, want: `{"items":[{"status":"expired"},{"status":"revoked"}]}`},
		invite,
	)
}

// TestJoining has many accept one invitation at once: one of them joins.
func TestJoining(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.person("foreign", "bob", deputy.OrganizationMember)
	s.run(step{do: "POST /organizations/own/invitations", body: `{"email":"bob@example.com","role":"org_member"}`, status: 201, events: []string{"invitations:create"}})
	s.vars["token"] = link.FindStringSubmatch(s.mailed()[0].Text)[1]
	codes := make([]int, 16)
	var wait sync.WaitGroup
	for i := range codes {
		wait.Go(func() {
			codes[i] = s.request(step{do: "POST /invitations/{token}/accept", as: "bob@example.com/foreign"}).Code
		})
	}
	wait.Wait()
	slices.Sort(codes)
	if codes[0] != 200 || codes[1] != 409 || codes[15] != 409 {
		t.Errorf("answers: %v", codes)
	}
}

func TestIdentities(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ann := s.person("org", "ann", deputy.OrganizationAdmin)
	s.person("org", "bob", deputy.OrganizationMember)
	s.write(ann.OrganizationID, func(tx deputy.Tx) error {
		_, err := tx.OrganizationUsers().Update(t.Context(), s.inOrganization("org"), ann.ID, func(u *deputy.OrganizationUser) error {
			u.Source = "https://idp.example.com"
			return nil
		})
		return err
	})
	const all = "/organizations/own/identities"
	s.run(
		step{do: "POST /organizations/own/invitations", body: `{"email":"Carol@example.org","role":"org_viewer"}`, status: 201, keep: []string{"carol=id"}, events: []string{"invitations:create"}},
		step{do: "GET " + all + "?expand=total_count&expand=permissions", status: 200, want: `{"items":[
			{"id":"{carol}","type":"invitation","email":"Carol@example.org","role":"org_viewer","status":"pending","source":"` + publicURL + `","created_at":"<any>","updated_at":"<any>"},
			{"id":"{bob}","type":"user","status":"active","source":"` + publicURL + `"},
			{"id":"{ann}","type":"user","email":"ann@example.com","role":"org_admin","source":"https://idp.example.com","permissions":{"identities":{"list":true}}}],
			"page_info":{"has_next_page":false,"has_prev_page":false,"has_previous_page":false},"pagination":{"after_cursor":null,"before_cursor":null,"total_count":3}}`},
		step{do: "GET " + all + "?limit=2", status: 200, want: `{"items":[{"id":"{carol}"},{"id":"{bob}"}],"pagination":{"before_cursor":null}}`, keep: []string{"next=pagination.after_cursor"}},
		step{do: "GET " + all + "?limit=2&after={next}", status: 200, want: `{"items":[{"id":"{ann}"}],"pagination":{"after_cursor":null}}`, keep: []string{"back=pagination.before_cursor"}},
		step{do: "GET " + all + "?limit=2&before={back}", status: 200, want: `{"items":[{"id":"{carol}"},{"id":"{bob}"}]}`},
		step{do: "GET " + all + "?role=org_viewer", status: 200, want: `{"items":[{"id":"{carol}"}]}`},
		step{do: "GET " + all + "?query[email]=CAROL", status: 200, want: `{"items":[{"id":"{carol}"}]}`},
		step{do: "GET " + all + "?query[email]=example.com", status: 200, want: `{"items":[{"id":"{bob}"},{"id":"{ann}"}]}`},
		step{do: "GET " + all, as: "bob@example.com", status: 403, events: []string{"organization_identities:list!"}},
	)
}

func TestOrganizationRoles(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.run(
		step{do: "GET /organizations/own/roles?expand=permissions", status: 200, want: `{"permissions":{"roles":{"list":true}},"items":[
			{"name":"org_admin","label":"Organization Administrator","description":"<any>","scope":"organization"},
			{"name":"org_member","scope":"organization"},{"name":"org_viewer","scope":"organization"},{"name":"zone_manager","scope":"zone"},{"name":"zone_viewer","scope":"zone"}]}`},
		step{do: "GET /organizations/own/roles?scope=zone", status: 200, want: `{"items":[{"name":"zone_manager"},{"name":"zone_viewer"}],"permissions":"<absent>"}`},
		step{do: "GET /organizations/own/roles?scope=planet", status: 400},
	)
}

func TestServiceAccounts(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	const all = "/organizations/own/service-accounts"
	s.run(
		step{do: "POST " + all, body: `{"name":"CI","description":"builds"}`, status: 201, keep: []string{"account=id"}, events: []string{"service_accounts:create"},
			want: `{"name":"CI","description":"builds","created_at":"<any>","updated_at":"<any>","permissions":"<absent>"}`},
		step{do: "POST " + all, body: `{"description":"x"}`, status: 400},
		step{do: "POST " + all, body: `{"name":"a\u0007"}`, status: 400},
		step{do: "POST " + all, body: `{"name":"x","description":"` + strings.Repeat("x", 501) + `"}`, status: 400, want: `{"details":[{"field":"description"}]}`},
		step{do: "GET " + all + "?expand=permissions", status: 200, want: `{"items":[{"id":"{account}"},{"name":"admin","permissions":{"service_accounts":{"delete":true}}}],
			"page_info":{"has_prev_page":false,"has_previous_page":false,"has_next_page":false},"permissions":{"service_accounts":{"create":true}}}`},
		step{do: "PATCH " + all + "/{account}", body: `{"name":"Build","description":null}`, status: 200, want: `{"name":"Build","description":"<absent>"}`, events: []string{"service_accounts:update"}},
		step{do: "GET " + all + "/{account}", status: 200, want: `{"name":"Build"}`},
		step{do: "GET " + all + "/{account}", as: "stranger", status: 404},

		step{do: "POST " + all + "/{account}/credentials", body: `{"name":"one","description":"d"}`, status: 201, events: []string{"service_account_credentials:create"},
			want: `{"client_id":"<any>","client_secret":"<any>","name":"one","description":"d","created_at":"<any>","updated_at":"<absent>"}`, keep: []string{"one=id", "client1=client_id", "secret=client_secret"}},
		step{do: "POST " + all + "/{account}/credentials", body: `{"name":"two"}`, status: 201, keep: []string{"two=id", "client2=client_id"}, events: []string{"service_account_credentials:create"}},
		step{do: "POST " + all + "/{account}/credentials", body: `{}`, status: 400},
		step{do: "POST " + all + "/{one}/credentials", body: `{"name":"x"}`, status: 404, want: `{"message":"no such service account"}`},
		step{do: "GET " + all + "/{one}/credentials", status: 404},
		step{do: "GET " + all + "/{account}/credentials?expand=permissions", status: 200, want: `{"items":[
			{"id":"{two}","client_id":"{client2}","client_secret":"<absent>","last_used_at":"<absent>"},
			{"id":"{one}","client_id":"{client1}","name":"one","client_secret":"<absent>","permissions":{"service_account_credentials":{"delete":true}}}]}`},
		step{do: "GET " + all + "/{account}/credentials/{one}", status: 200, want: `{"id":"{one}","client_secret":"<absent>"}`},
		step{do: "PATCH " + all + "/{account}/credentials/{one}", body: `{"name":"first","description":null}`, status: 200,
			want: `{"name":"first","description":"<absent>","client_id":"{client1}"}`, events: []string{"service_account_credentials:update"}},
	)
	// Both are good at once, and each ends alone.
	s.run(
		step{do: "GET /organizations", as: s.vars["client1"], status: 200, want: `{"items":[{"id":"{org}"}]}`},
		step{do: "GET /organizations", as: s.vars["client2"], status: 200},
		step{do: "DELETE " + all + "/{account}/credentials/{one}", status: 204, events: []string{"service_account_credentials:delete"}},
		step{do: "DELETE " + all + "/{account}/credentials/{one}", status: 404},
		step{do: "GET /organizations", as: s.vars["client1"], status: 401},
		step{do: "GET /organizations", as: s.vars["client2"], status: 200},
		step{do: "DELETE " + all + "/{account}", as: s.vars["client2"], status: 204, events: []string{"service_accounts:delete"}},
		step{do: "GET /organizations", as: s.vars["client2"], status: 401},
		step{do: "GET " + all + "/{account}/credentials", status: 404},
	)
	if len(s.vars["client1"]) != 21 || len(s.vars["secret"]) != 64 {
		t.Errorf("client id %q, secret of %d characters", s.vars["client1"], len(s.vars["secret"]))
	}
}

func TestSSOConnection(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	const at = "/organizations/own/sso-connection"
	none := errorBody(404, "not_found")
	s.run(
		step{do: "GET " + at, status: 404, want: none},
		step{do: "PATCH " + at, body: `{"client_id":"x"}`, status: 404, want: none},
		step{do: "DELETE " + at, status: 404, want: none},
		step{do: "POST " + at, body: `{"identifier":"https://idp.example.com"}`, status: 400, want: `{"details":[{"field":"client_id","message":"is required"}]}`},
		step{do: "POST " + at, body: `{"identifier":"not a uri","client_id":"c"}`, status: 400, want: `{"details":[{"field":"identifier"}]}`},
		step{do: "POST " + at, body: `{"identifier":"https://idp.example.com","client_id":"c","client_secret":"geheim","protocols":{"oauth2":{"token_endpoint":"https://idp.example.com/token","scopes_supported":["a"]}}}`,
			status: 201, keep: []string{"id=id"}, events: []string{"sso_connections:create"},
			want: `{"identifier":"https://idp.example.com","client_id":"c","client_secret_set":true,"client_secret":"<absent>","permissions":"<absent>",
				"protocols":{"oauth2":{"token_endpoint":"https://idp.example.com/token","scopes_supported":["a"]},"openid":"<absent>"}}`},
		step{do: "POST " + at, body: `{"identifier":"https://other.example.com","client_id":"c"}`, status: 409, want: errorBody(409, "conflict")},
		step{do: "GET /organizations/own", status: 200, want: `{"sso_enabled":true}`},
		step{do: "GET " + at + "?expand=permissions", status: 200, want: `{"id":"{id}","identifier":"https://idp.example.com","permissions":{"sso_connections":{"update":true}}}`},
		step{do: "GET " + at, as: "stranger", status: 404},
		step{do: "PATCH " + at, body: `{"protocols":{"openid":{"userinfo_endpoint":"https://idp.example.com/me"},"oauth2":{"scopes_supported":null}}}`, status: 200, events: []string{"sso_connections:update"},
			want: `{"client_secret_set":true,"protocols":{"oauth2":{"token_endpoint":"https://idp.example.com/token","scopes_supported":"<absent>"},"openid":{"userinfo_endpoint":"https://idp.example.com/me"}}}`},
		step{do: "PATCH " + at, body: `{"protocols":{"oauth2":{"jwks_uri":"nowhere"}}}`, status: 400},
		step{do: "PATCH " + at, body: `{"client_id":null,"client_secret":null,"protocols":{"oauth2":null}}`, status: 200, events: []string{"sso_connections:update"},
			want: `{"client_id":null,"client_secret_set":false,"protocols":{"oauth2":"<absent>","openid":{}}}`},
		step{do: "PATCH " + at, body: `{"protocols":null,"identifier":"https://new.example.com"}`, status: 200, want: `{"identifier":"https://new.example.com","protocols":"<absent>"}`, events: []string{"sso_connections:update"}},
		step{do: "DELETE " + at, status: 204, events: []string{"sso_connections:delete"}},
		step{do: "GET /organizations/own", status: 200, want: `{"sso_enabled":false}`},
		step{do: "GET " + at, status: 404},
	)
	s.run(step{do: "POST " + at, body: `{"identifier":"https://idp.example.com","client_id":"c","client_secret":"geheim"}`, status: 201, events: []string{"sso_connections:create"}})
	stored, err := s.store.SSOConnections().Get(context.Background(), s.inOrganization("org"), s.id("org"))
	if err != nil || len(stored.SealedSecret) == 0 || strings.Contains(string(stored.SealedSecret), "geheim") {
		t.Errorf("the secret is stored as %q, %v", stored.SealedSecret, err)
	}
}

func TestKeyPolicy(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	w := s.request(step{do: "GET /organizations/own/aws/key-policy"})
	var answer struct{ Policy string }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != 200 {
		t.Fatal(w.Code, err)
	}
	if !strings.Contains(answer.Policy, "<YOUR_AWS_ACCOUNT_ID>") {
		t.Errorf("no place for the account in %s", answer.Policy)
	}
	filled := strings.ReplaceAll(answer.Policy, "<YOUR_AWS_ACCOUNT_ID>", "123456789012")
	var policy struct {
		Version   string
		Statement []struct {
			Effect    string
			Action    []string
			Condition map[string]map[string]string
		}
	}
	if err := json.Unmarshal([]byte(filled), &policy); err != nil || policy.Version != "2012-10-17" || len(policy.Statement) != 3 {
		t.Fatalf("%v: %s", err, filled)
	}
	if use := policy.Statement[1]; !slices.Equal(use.Action, []string{"kms:Encrypt", "kms:Decrypt"}) ||
		use.Condition["StringEquals"]["kms:EncryptionContext:organization_id"] != s.vars["org"] {
		t.Errorf("the use is not this organization's alone: %+v", use)
	}
	s.run(step{do: "GET /organizations/foreign/aws/key-policy", status: 404})
}

func TestZoneMembers(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.person("org", "ann", deputy.OrganizationAdmin)
	s.person("org", "bob", deputy.OrganizationMember)
	s.person("org", "carol", deputy.OrganizationMember)
	s.person("foreign", "dave", deputy.OrganizationMember)
	const ann, bob, all = "ann@example.com", "bob@example.com", "/zones/{zone}/members"
	add := func(who, role string) string { return `{"organization_user_id":"{` + who + `}","role":"` + role + `"}` }
	s.run(
		step{do: "POST " + all, as: ann, body: add("bob", "zone_manager"), status: 200, events: []string{"zone_members:create"},
			want: `{"id":"<any>","organization_id":"{org}","zone_id":"{zone}","organization_user_id":"{bob}","role":"zone_manager","created_at":"<any>","updated_at":"<any>",
				"_links":{"self":{"href":"/zones/{zone}/members/{bob}"},"organization_user":{"href":"/organizations/{org}/users/{bob}"}}}`},
		step{do: "POST " + all, body: add("bob", "zone_viewer"), status: 409, want: `{"code":"conflict","details":[{"field":"organization_user_id"}]}`},
		step{do: "POST " + all, body: add("dave", "zone_viewer"), status: 404, want: `{"message":"no such organization user"}`},
		step{do: "POST " + all, body: add("carol", "org_admin"), status: 400},
		step{do: "POST " + all, body: add("carol", "zone_viewer"), status: 200, events: []string{"zone_members:create"}},
		step{do: "GET " + all + "?expand[]=total_count", as: bob, status: 200, want: `{"items":[{"organization_user_id":"{carol}"},{"organization_user_id":"{bob}"}],
			"page_info":{"has_next_page":false,"has_previous_page":false},"pagination":{"total_count":2}}`},
		step{do: "GET " + all + "?role=zone_viewer", status: 200, want: `{"items":[{"organization_user_id":"{carol}"}]}`},
		step{do: "GET " + all + "?role=org_admin", status: 400},
		step{do: "GET " + all + "/{carol}", as: bob, status: 200, want: `{"role":"zone_viewer"}`},
		step{do: "GET " + all + "/{ann}", status: 404},

		// Who is a member is for the organization's administrators to say.
		step{do: "POST " + all, as: bob, body: add("ann", "zone_viewer"), status: 403, events: []string{"zone_members:create!"}},
		step{do: "PATCH " + all + "/{carol}", as: bob, body: `{"role":"zone_manager"}`, status: 403, events: []string{"zone_members:update!"}},
		step{do: "DELETE " + all + "/{carol}", as: bob, status: 403, events: []string{"zone_members:delete!"}},

		step{do: "PATCH " + all + "/{carol}", body: `{"role":"zone_manager"}`, status: 200, want: `{"role":"zone_manager"}`, events: []string{"zone_members:update"}},
		step{do: "PATCH " + all + "/{carol}", body: `{}`, status: 400, want: `{"details":[{"field":"role","message":"is required"}]}`},
		step{do: "DELETE " + all + "/{bob}", as: ann, status: 204, events: []string{"zone_members:delete"}},
		step{do: "DELETE " + all + "/{bob}", as: ann, status: 404},
		step{do: "GET /zones/{zone}", as: bob, status: 404}, // at once
	)
}
