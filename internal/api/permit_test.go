package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"deputy/internal/api"
	"deputy/internal/deputy"
)

// TestRights keeps the table of who may do what under review, and without an
// action that no route asks for.
func TestRights(t *testing.T) {
	t.Parallel()
	var asked []string
	for _, r := range newServer(t).api.Routes() {
		asked = append(asked, r.Action)
	}
	roles := []string{"service_account", "org_admin", "org_viewer", "org_member", "zone_manager", "zone_viewer"}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\t%s\tforeign\n", "action", strings.Join(roles, "\t"))
	for _, r := range api.Rights() {
		if !slices.Contains(asked, r.Action) {
			t.Errorf("no route asks for %s", r.Action)
		}
		b.WriteString(r.Action)
		for _, role := range roles {
			b.WriteString("\t" + map[bool]string{true: "yes", false: "-"}[slices.Contains(r.Callers, role)])
		}
		b.WriteString("\t" + map[bool]string{true: "as there", false: "-"}[r.Anywhere] + "\n")
	}
	golden(t, "rights.txt", b.String())
}

// TestRolesInZones walks what each kind of person may do in a zone of their
// organization.
func TestRolesInZones(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.vars["own"] = s.vars["zone"]
	s.zone()
	s.vars["other"] = s.vars["zone"]
	for local, role := range map[string]deputy.OrganizationRole{
		"admin1": deputy.OrganizationAdmin, "viewer": deputy.OrganizationViewer, "reader": deputy.OrganizationMember, "manager": deputy.OrganizationMember,
	} {
		s.person("org", local, role)
	}
	s.member("own", "reader", deputy.ZoneViewer)
	s.member("own", "manager", deputy.ZoneManager)
	const admin, viewer, reader, manager = "admin1@example.com", "viewer@example.com", "reader@example.com", "manager@example.com"
	app := `{"identifier":"%s","name":"A"}`
	s.run(
		step{do: "GET /zones", as: admin, status: 200, want: `{"items":[{"id":"{other}"},{"id":"{own}"}]}`},
		step{do: "GET /zones?expand[]=total_count", as: reader, status: 200, want: `{"items":[{"id":"{own}"}],"pagination":{"total_count":1}}`},
		step{do: "GET /zones?expand[]=permissions", as: manager, status: 200, want: `{"items":[{"id":"{own}","permissions":{"zones":{"read":true,"delete":true},"applications":{"create":true}}}]}`},
		step{do: "GET /zones?expand[]=permissions", as: reader, status: 200, want: `{"items":[{"permissions":{"zones":{"read":true,"delete":false},"applications":{"create":false,"list":true}}}]}`},
		step{do: "GET /zones", as: viewer, status: 200, want: `{"items":[]}`},
		step{do: "POST /zones", as: manager, body: `{"name":"Mine"}`, status: 403, events: []string{"zones:create!"}},
		step{do: "POST /zones", as: viewer, body: `{"name":"Mine"}`, status: 403, events: []string{"zones:create!"}},

		// Who is nothing in a zone does not see it.
		step{do: "GET /zones/{own}", as: viewer, status: 404, want: `{"message":"no such zone"}`},
		step{do: "GET /zones/{other}", as: manager, status: 404, want: `{"message":"no such zone"}`},
		step{do: "PATCH /zones/{other}", as: manager, body: `{"name":"X"}`, status: 404},
		step{do: "GET /zones/{own}", as: admin, status: 200},

		step{do: "GET /zones/{own}?expand[]=permissions", as: reader, status: 200, want: `{"permissions":{"resources":{"list":true,"create":false}}}`},
		step{do: "GET /zones/{own}/audit-events", as: reader, status: 200},
		step{do: "PATCH /zones/{own}", as: reader, body: `{"name":"X"}`, status: 403, want: errorBody(403, "forbidden"), events: []string{"zones:update!"}},
		step{do: "POST /zones/{own}/applications", as: reader, body: fmt.Sprintf(app, "r"), status: 403, events: []string{"applications:create!"}},
		step{do: "POST /zones/{own}/applications", as: manager, body: fmt.Sprintf(app, "m"), status: 200, events: []string{"applications:create"}},
		step{do: "POST /zones/{own}/applications", as: admin, body: fmt.Sprintf(app, "a"), status: 200, events: []string{"applications:create"}},

		// The organization's own things.
		step{do: "GET /organizations/own", as: reader, status: 200, want: `{"id":"{org}"}`},
		step{do: "PATCH /organizations/own", as: viewer, body: `{"name":"X"}`, status: 403, events: []string{"organizations:update!"}},
		step{do: "PATCH /organizations/own", as: admin, body: `{"name":"Own"}`, status: 200, events: []string{"organizations:update"}},
		step{do: "GET /organizations/own/audit-events", as: viewer, status: 403, events: []string{"audit_events:list!"}}, // it tells of every zone
		step{do: "GET /organizations/own/audit-events", as: admin, status: 200},
	)
	events := s.request(step{do: "GET /organizations/own/audit-events?limit=1", as: admin})
	if body := events.Body.String(); !strings.Contains(body, `"type":"user"`) || !strings.Contains(body, `"identifier":"viewer@example.com"`) {
		t.Errorf("the event does not name the person: %s", body)
	}
}

// TestRolesAreLookedAtAgain takes a role away between the check and the change.
func TestRolesAreLookedAtAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		between func(*server, deputy.Tx) error
		status  int
	}{
		{"nothing", func(*server, deputy.Tx) error { return nil }, 200},
		{"demoted in the zone", func(s *server, tx deputy.Tx) error {
			_, err := tx.ZoneMembers().Update(t.Context(), s.inZone("zone"), s.id("manager"), func(m *deputy.ZoneMember) error {
				m.Role = deputy.ZoneViewer
				return nil
			})
			return err
		}, 403},
		{"removed from the zone", func(s *server, tx deputy.Tx) error {
			return tx.ZoneMembers().Delete(t.Context(), s.inZone("zone"), s.id("manager"))
		}, 404},
		{"disabled", func(s *server, tx deputy.Tx) error {
			_, err := tx.OrganizationUsers().Update(t.Context(), s.inOrganization("org"), s.id("manager"), func(u *deputy.OrganizationUser) error {
				u.Status = deputy.UserDisabled
				return nil
			})
			return err
		}, 401},
		{"removed from the organization", func(s *server, tx deputy.Tx) error {
			return tx.OrganizationUsers().Delete(t.Context(), s.inOrganization("org"), s.id("manager"))
		}, 401},
	} {
		s := newServer(t)
		s.zone()
		s.person("org", "manager", deputy.OrganizationMember)
		s.member("zone", "manager", deputy.ZoneManager)
		s.between = func() {
			s.write(deputy.OrganizationID(s.vars["org"]), func(tx deputy.Tx) error { return c.between(s, tx) })
		}
		w := s.request(step{do: "POST /zones/{zone}/applications", as: "manager@example.com", body: `{"identifier":"m","name":"A"}`})
		if w.Code != c.status {
			t.Errorf("%s: status %d: %s", c.name, w.Code, w.Body)
		}
	}
}
