package api_test

import "testing"

func TestApplications(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.run(
		step{do: "POST /zones/{zone}/resources", body: `{"identifier":"https://api.test","name":"API"}`, status: 200, keep: []string{"res=id"}, events: []string{"resources:create"}},
		step{do: "POST /zones/{zone}/applications", body: `{"identifier":"com.example.app","name":"My App"}`, status: 200, keep: []string{"app=id"}, events: []string{"applications:create"},
			want: `{"identifier":"com.example.app","name":"My App","slug":"my-app","zone_id":"{zone}","organization_id":"{org}","owner_type":"customer","consent":"required",
				"dependencies_count":0,"description":"<absent>","metadata":"<absent>","protocols":"<absent>","traits":"<absent>"}`},
		step{do: "POST /zones/{zone}/applications", body: `{"identifier":"com.example.app","name":"Again"}`, status: 409,
			want: `{"code":"conflict","details":[{"code":"conflict","field":"identifier"}]}`, heads: map[string]string{"X-Should-Retry": "false"}},
		step{do: "POST /zones/{zone}/applications", status: 200, keep: []string{"full=id"}, events: []string{"applications:create"},
			body: `{"identifier":"https://full.test","name":"Full","description":"d","consent":"implicit","dependencies":[{"id":"{res}","type":"resource"}],
				"metadata":{"docs_url":"https://docs.test"},"traits":["mcp-provider","gateway"],
				"protocols":{"oauth2":{"redirect_uris":["com.example.mobile://oauth/callback","http://127.0.0.1/cb"],"post_logout_redirect_uris":["https://full.test/bye"]}}}`,
			want: `{"description":"d","consent":"implicit","dependencies_count":1,"metadata":{"docs_url":"https://docs.test"},"traits":["mcp-provider","gateway"],
				"protocols":{"oauth2":{"redirect_uris":["com.example.mobile://oauth/callback","http://127.0.0.1/cb"],"post_logout_redirect_uris":["https://full.test/bye"]}}}`},
		step{do: "POST /zones/{zone}/applications", body: `{"identifier":"x","name":"X","dependencies":[{"id":"none"}]}`, status: 400, want: `{"details":[{"field":"dependencies[0].id"}]}`},
		step{do: "GET /zones/{zone}/applications?identifier=x", status: 200, want: `{"items":[]}`},
		step{do: "GET /zones/{zone}/applications?identifier=%zz", status: 400, want: errorBody(400, "bad_request")},
		step{do: "GET /zones/{zone}/applications?identifier=x;limit=1", status: 400},
		step{do: "POST /zones/{zone}/applications", body: `{"identifier":"x","name":"X","protocols":{"oauth2":{"redirect_uris":["not a uri"]}}}`, status: 400},
		step{do: "POST /zones/{zone}/applications", body: `{"identifier":"x","name":"X","traits":["king"]}`, status: 400, want: `{"code":"validation_error","details":[{"field":"traits"}]}`},
		step{do: "POST /zones/{zone}/applications", body: `{"identifier":"one","name":"One","traits":"gateway"}`, status: 200, want: `{"traits":["gateway"]}`, events: []string{"applications:create"}},
		step{do: "GET /zones/{zone}/applications?traits=mcp-provider&traits=gateway", status: 200, want: `{"items":[{"name":"One"},{"name":"Full"}]}`},
		step{do: "GET /zones/{zone}/applications?traits[all]=mcp-provider&traits[all]=gateway", status: 200, want: `{"items":[{"name":"Full"}]}`},
		step{do: "DELETE /zones/{zone}/applications/{full}", status: 204, events: []string{"applications:delete"}},
		step{do: "GET /zones/{zone}/applications/{full}", status: 404},
		step{do: "DELETE /zones/{zone}/applications/{full}", status: 404},
		step{do: "PATCH /zones/{zone}/applications/{full}", body: `{"name":"x"}`, status: 404},
	)
}

func TestPatchApplication(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.run(
		step{do: "POST /zones/{zone}/applications", body: `{"identifier":"taken","name":"Taken"}`, status: 200, events: []string{"applications:create"}},
		step{do: "POST /zones/{zone}/applications", status: 200, keep: []string{"app=id"}, events: []string{"applications:create"},
			body: `{"identifier":"a","name":"A","description":"d","metadata":{"docs_url":"https://docs.test"},"traits":["gateway"],
				"protocols":{"oauth2":{"redirect_uris":["https://a.test/cb"],"post_logout_redirect_uris":["https://a.test/bye"]}}}`},
	)
	patch := func(body, want string) {
		t.Helper()
		s.run(step{do: "PATCH /zones/{zone}/applications/{app}", body: body, status: 200, want: want, events: []string{"applications:update"}})
	}
	patch(`{}`, `{"name":"A","description":"d","traits":["gateway"]}`)
	patch(`{"zoneId":"{zone}"}`, `{"name":"A"}`)
	patch(`{"name":"B","identifier":"b","consent":"implicit"}`, `{"name":"B","identifier":"b","consent":"implicit","slug":"a"}`)
	patch(`{"metadata":{}}`, `{"metadata":"<absent>"}`)
	patch(`{"metadata":{"docs_url":"https://docs.test/2"}}`, `{"metadata":{"docs_url":"https://docs.test/2"}}`)
	patch(`{"metadata":{"docs_url":null}}`, `{"metadata":"<absent>"}`)
	patch(`{"metadata":{"docs_url":"https://docs.test/2"}}`, `{"metadata":{"docs_url":"https://docs.test/2"}}`)
	patch(`{"metadata":null}`, `{"metadata":"<absent>"}`)
	patch(`{"protocols":{"oauth2":{"redirect_uris":["https://a.test/2"]}}}`, `{"protocols":{"oauth2":{"redirect_uris":["https://a.test/2"],"post_logout_redirect_uris":["https://a.test/bye"]}}}`)
	patch(`{"protocols":{"oauth2":{"redirect_uris":[]}}}`, `{"protocols":{"oauth2":{"redirect_uris":"<absent>","post_logout_redirect_uris":["https://a.test/bye"]}}}`)
	patch(`{"protocols":{"oauth2":null}}`, `{"protocols":"<absent>"}`)
	patch(`{"protocols":{"oauth2":{"redirect_uris":["https://a.test/3"]}}}`, `{"protocols":{"oauth2":{"redirect_uris":["https://a.test/3"]}}}`)
	patch(`{"protocols":null}`, `{"protocols":"<absent>"}`)
	patch(`{"traits":null,"description":null}`, `{"traits":"<absent>","description":"<absent>"}`)
	// What Terraform sends when nothing is configured.
	patch(`{"name":"B","identifier":"b","description":null,"metadata":null,"protocols":null,"traits":null}`, `{"name":"B","description":"<absent>"}`)
	for body, field := range map[string]string{
		`{"name":null}`:                       "name",
		`{"consent":"explicit"}`:              "consent",
		`{"consent":null}`:                    "consent",
		`{"metadata":{"docs_url":"nowhere"}}`: "metadata.docs_url",
		`{"traits":["x"]}`:                    "traits",
		`{"protocols":{"oauth2":{"redirect_uris":"https://a.test"}}}`: "protocols.oauth2.redirect_uris",
	} {
		s.run(step{do: "PATCH /zones/{zone}/applications/{app}", body: body, status: 400, want: `{"code":"validation_error","details":[{"field":"` + field + `"}]}`})
	}
	s.run(step{do: "PATCH /zones/{zone}/applications/{app}", body: `{"identifier":"taken"}`, status: 409, want: errorBody(409, "conflict")})
}

func TestDependencies(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.run(
		step{do: "POST /zones/{zone}/applications", body: `{"identifier":"app","name":"App"}`, status: 200, keep: []string{"app=id"}, events: []string{"applications:create"}},
		step{do: "POST /zones/{zone}/resources", body: `{"identifier":"https://own.test","name":"Own","application_id":"{app}"}`, status: 200, keep: []string{"own=id"}, events: []string{"resources:create"}},
		step{do: "POST /zones/{zone}/resources", body: `{"identifier":"https://other.test","name":"Other"}`, status: 200, keep: []string{"other=id"}, events: []string{"resources:create"}},
		step{do: "GET /zones/{zone}/applications/{app}/dependencies/{other}", status: 404},
		step{do: "PUT /zones/{zone}/applications/{app}/dependencies/{other}", status: 204, events: []string{"application_dependencies:put"}},
		step{do: "PUT /zones/{zone}/applications/{app}/dependencies/{other}", body: `{}`, status: 204, events: []string{"application_dependencies:put"}},
		step{do: "GET /zones/{zone}/applications/{app}/dependencies/{other}", status: 200, want: `{"id":"{other}","identifier":"https://other.test","when_accessing":"<absent>"}`},
		step{do: "GET /zones/{zone}/applications/{app}", status: 200, want: `{"dependencies_count":1}`},
		// A second PUT replaces the condition.
		step{do: "PUT /zones/{zone}/applications/{app}/dependencies/{other}?when_accessing={own}", status: 204, events: []string{"application_dependencies:put"}},
		step{do: "GET /zones/{zone}/applications/{app}/dependencies/{other}", status: 200, want: `{"id":"{other}","when_accessing":["{own}"]}`},
		step{do: "GET /zones/{zone}/applications/{app}/dependencies?when_accessing={own}", status: 200, want: `{"items":[{"id":"{other}","when_accessing":["{own}"]}],"page_info":"<any>"}`},
		step{do: "GET /zones/{zone}/applications/{app}/dependencies?when_accessing={other}", status: 200, want: `{"items":[]}`},
		step{do: "PUT /zones/{zone}/applications/{app}/dependencies/{own}", status: 204, events: []string{"application_dependencies:put"}},
		step{do: "GET /zones/{zone}/applications/{app}/dependencies?when_accessing={other}&expand[]=total_count", status: 200, want: `{"items":[{"id":"{own}"}],"pagination":{"total_count":1}}`},
		step{do: "GET /zones/{zone}/applications/{app}/dependencies?limit=1", status: 200, want: `{"items":["<any>"],"pagination":{"after_cursor":"<any>"}}`},
		step{do: "GET /zones/{zone}/applications/none/dependencies", status: 404},
		step{do: "PUT /zones/{zone}/applications/{app}/dependencies/none", status: 404, want: `{"message":"no such resource"}`},
		step{do: "PUT /zones/{zone}/applications/none/dependencies/{own}", status: 404, want: `{"message":"no such application"}`},
		step{do: "PUT /zones/{zone}/applications/{app}/dependencies/{own}?when_accessing=none", status: 400, want: `{"details":[{"field":"when_accessing"}]}`},
		// The resources that it provides.
		step{do: "GET /zones/{zone}/applications/{app}/resources", status: 200, want: `{"items":[{"id":"{own}","application_id":"{app}"}],"page_info":"<any>"}`},
		step{do: "GET /zones/{zone}/applications/none/resources", status: 404},
		// A resource that goes takes its edges along, and the conditions that name it.
		step{do: "DELETE /zones/{zone}/resources/{own}", status: 204, events: []string{"resources:delete"}},
		step{do: "GET /zones/{zone}/applications/{app}/dependencies", status: 200, want: `{"items":[]}`},
		step{do: "PUT /zones/{zone}/applications/{app}/dependencies/{other}", status: 204, events: []string{"application_dependencies:put"}},
		step{do: "DELETE /zones/{zone}/applications/{app}/dependencies/{other}", status: 204, events: []string{"application_dependencies:delete"}},
		step{do: "DELETE /zones/{zone}/applications/{app}/dependencies/{other}", status: 404},
	)
}
