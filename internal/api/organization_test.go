package api_test

import "testing"

func TestOrganizations(t *testing.T) {
	s := newServer(t)
	own := `{"id":"{org}","name":"Own","label":"own","sso_enabled":false,"permissions":"<absent>"}`
	s.run(
		// A service account sees exactly one.
		step{do: "GET /organizations", status: 200, want: `{"items":[` + own + `],"permissions":"<absent>",
			"page_info":{"has_next_page":false,"has_prev_page":false,"has_previous_page":false,"start_cursor":"<any>"},"pagination":"<absent>"}`, keep: []string{"cursor=page_info.end_cursor"}},
		step{do: "GET /organizations?after={cursor}", status: 200, want: `{"items":[],"page_info":{"has_prev_page":true}}`},
		step{do: "GET /organizations?after=made-up", status: 400},
		step{do: "GET /organizations?limit=1000", status: 400},
		step{do: "GET /organizations?expand=permissions&expand=whatever", status: 200, want: `{"permissions":{"organizations":{"read":true,"update":true,"create":false}},
			"items":[{"permissions":{"organizations":{"read":true},"zones":{"create":true,"list":true}}}]}`},
		step{do: "GET /organizations/{org}", status: 200, want: own},
		step{do: "GET /organizations/own?expand[]=permissions", status: 200, want: `{"id":"{org}","permissions":{"organizations":{"update":true}}}`},
		step{do: "GET /organizations/foreign", status: 404},
		step{do: "GET /organizations/odd%20id", status: 404},
		step{do: "PATCH /organizations/own", body: `{"name":"Renamed"}`, status: 200, want: `{"name":"Renamed","label":"own"}`, events: []string{"organizations:update"}},
		step{do: "PATCH /organizations/{org}", body: `{"name":""}`, status: 400},
		step{do: "PATCH /organizations/{org}", body: `{"name":null}`, status: 400, want: `{"details":[{"field":"name","message":"must not be null"}]}`},
		step{do: "GET /organizations/{org}", status: 200, want: `{"name":"Renamed"}`},
		step{do: "POST /organizations", status: 403, want: errorBody(403, "forbidden"), events: []string{"organizations:create!"}},
		step{do: "POST /organizations", body: `{"name":"More"}`, status: 403, events: []string{"organizations:create!"}},
	)
}
