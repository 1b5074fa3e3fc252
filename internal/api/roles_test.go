package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"deputy/internal/api"
	"deputy/internal/deputy"
	"deputy/internal/deputytest"
)

// somebody is a caller, and the roles that they have in their organization and
// in the zone.
type somebody struct {
	as, inOrganization, inZone string
}

// TestRoles walks every route as everybody: who may, gets beyond the check of
// rights; who may not, is told so, and the log has it; who is nothing in a
// zone, does not see it.
func TestRoles(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	own := newEstate(s, "admin", s.vars["org"], "Own")
	s.vars["zone"] = own.id("/zones/{zone_id}")
	everybody := []somebody{{as: "admin", inOrganization: "service_account"}}
	for _, role := range []deputy.OrganizationRole{deputy.OrganizationAdmin, deputy.OrganizationViewer, deputy.OrganizationMember} {
		s.person("org", "some_"+string(role), role)
		everybody = append(everybody, somebody{as: "some_" + string(role) + "@example.com", inOrganization: string(role)})
	}
	for _, role := range []deputy.ZoneRole{deputy.ZoneManager, deputy.ZoneViewer} {
		s.person("org", "some_"+string(role), deputy.OrganizationMember)
		s.member("zone", "some_"+string(role), role)
		everybody = append(everybody, somebody{"some_" + string(role) + "@example.com", string(deputy.OrganizationMember), string(role)})
	}
	refused, every := 0, deputytest.Times(3, 1, 1) // where a part is enough, others at each route
	for i, r := range s.api.Routes() {
		op, found := operationAt(r.Method, strings.NewReplacer("{", "", "}", "").Replace(r.Path))
		if !found {
			t.Fatalf("the document does not know %s %s", r.Method, r.Path)
		}
		if op.open() {
			continue
		}
		for j, who := range everybody {
			if (i+j)%every == 0 && !own.walkRole(r, who) {
				refused++
			}
		}
	}
	if refused < len(s.api.Routes())/every {
		t.Errorf("only %d calls were refused", refused)
	}
}

// walkRole makes one call as somebody and reports whether they may.
func (e *estate) walkRole(r api.Route, who somebody) (may bool) {
	e.t.Helper()
	inZone := strings.Contains(r.Path, "{zone_id}")
	may = slices.Contains(r.Callers, who.inOrganization) || inZone && who.inZone != "" && slices.Contains(r.Callers, who.inZone)
	if may && r.Method == http.MethodDelete && r.Path == "/zones/{zone_id}" {
		return may // the zone is needed yet
	}
	w := e.request(step{do: r.Method + " " + e.harmless(r), as: who.as, body: e.bodyFor(r.Method, r.Path)})
	admin := who.inOrganization == string(deputy.OrganizationAdmin) || who.inOrganization == "service_account"
	fresh := e.events(who.as)
	switch {
	case may && (w.Code == http.StatusUnauthorized || strings.Contains(text(w, "message"), "role does not allow") || strings.Contains(text(w, "message"), "account may not")):
		e.t.Errorf("%s %s as %s: status %d: %s", r.Method, r.Path, who.as, w.Code, w.Body)
	case may:
	case inZone && !admin && who.inZone == "":
		if w.Code != http.StatusNotFound || text(w, "message") != "no such zone" || fresh != nil {
			e.t.Errorf("%s %s as %s, who is nothing there: status %d, events %v: %s", r.Method, r.Path, who.as, w.Code, fresh, w.Body)
		}
	case w.Code != http.StatusForbidden || !slices.Equal(fresh, []string{r.Action + "!"}):
		e.t.Errorf("%s %s as %s: status %d, events %v: %s", r.Method, r.Path, who.as, w.Code, fresh, w.Body)
	}
	return may
}

// harmless returns a path of the route that changes nothing of the estate: what
// would be changed is unknown.
func (e *estate) harmless(r api.Route) string {
	e.t.Helper()
	all := params(r.Path)
	if r.Method == http.MethodGet || len(all) == 0 || !strings.HasSuffix(r.Path, "}") || len(all) == 1 {
		return e.path(r.Path, nil)
	}
	return e.path(r.Path, map[string]string{r.Path: unknown})
}
