package api_test

import "testing"

func TestAuditEvents(t *testing.T) {
	s := newServer(t)
	s.zone()
	agent := map[string]string{"X-Client-Request-ID": requestID, "User-Agent": "tester/1"}
	s.run(
		step{do: "POST /zones/{zone}/providers", header: agent, status: 200, keep: []string{"idp=id"}, events: []string{"providers:create"},
			body: `{"identifier":"https://idp.test","name":"IdP","client_secret":"hush","protocols":{"oauth2":{"scope_separator":",","authorization_parameters":{"prompt":"x"}}}}`},
		step{do: "DELETE /zones/{zone}/providers/{idp}", status: 204, events: []string{"providers:delete"}},
		// What a call set is named, never what it was set to.
		step{do: "GET /zones/{zone}/audit-events?filter[request_id]=" + requestID, status: 200, keep: []string{"id=items.0.id", "when=items.0.time"},
			want: `{"items":[{"type":"providers:create","outcome":"success","zone_id":"{zone}","organization_id":"{org}","request_id":"` + requestID + `",
				"actor":{"type":"service_account","id":"<any>","identifier":"admin"},"client_id":"admin","target":{"type":"provider","id":"{idp}"},"user_agent":"tester/1","ip":"192.0.2.1",
				"changes":["client_secret","identifier","name","protocols.oauth2.authorization_parameters","protocols.oauth2.scope_separator"]}],
				"pagination":{"after_cursor":null,"before_cursor":null}}`},
		step{do: "GET /zones/{zone}/audit-events/{id}", status: 200, want: `{"id":"{id}","type":"providers:create"}`},
		step{do: "GET /organizations/own/audit-events/{id}", status: 200, want: `{"id":"{id}"}`},
		step{do: "GET /zones/{zone}/audit-events/none", status: 404},
		step{do: "GET /organizations/foreign/audit-events", as: "stranger", status: 200},
		step{do: "GET /organizations/foreign/audit-events/{id}", as: "stranger", status: 404},
		step{do: "PATCH /zones/{zone}", header: map[string]string{"X-Client-Request-ID": "6f1c2f0e-8f0e-4c52-9b58-0d6d2f6c1a12"}, body: `{"name":"Prod","protocols":{"oauth2":{"signing_alg":"ES256"},"other":1},"encryption_key":null}`, status: 200, events: []string{"zones:update"}},
		step{do: "GET /zones/{zone}/audit-events?filter[request_id]=6f1c2f0e-8f0e-4c52-9b58-0d6d2f6c1a12", status: 200, want: `{"items":[{"changes":["encryption_key","name","protocols.oauth2.signing_alg"],"target":{"type":"zone","id":"{zone}"}}]}`},
		step{do: "POST /zones/{zone}/applications", header: map[string]string{"X-Client-Request-ID": "6f1c2f0e-8f0e-4c52-9b58-0d6d2f6c1a13"}, body: `{"identifier":"a","name":"A","metadata":{}}`, status: 200, keep: []string{"app=id"}, events: []string{"applications:create"}},
		step{do: "GET /zones/{zone}/audit-events?filter[request_id]=6f1c2f0e-8f0e-4c52-9b58-0d6d2f6c1a13", status: 200, want: `{"items":[{"changes":["identifier","metadata","name"]}]}`},
		step{do: "GET /zones/{zone}/audit-events?filter[request_id]=6f1c2f0e-8f0e-4c52-9b58-0d6d2f6c1a13&filter[request_id]=" + requestID, status: 200, want: `{"items":[{"type":"applications:create"},{"type":"providers:create"}]}`},
	)
}

func TestAuditPages(t *testing.T) {
	s := newServer(t)
	s.zone()
	s.run(
		step{do: "POST /zones/{zone}/providers", status: 200, keep: []string{"idp=id"}, events: []string{"providers:create"}, body: `{"identifier":"https://idp.test","name":"IdP"}`},
		step{do: "DELETE /zones/{zone}/providers/{idp}", status: 204, events: []string{"providers:delete"}},
		step{do: "GET /zones/{zone}/audit-events", status: 200, keep: []string{"id=items.1.id", "when=items.1.time"}},
		// Newest first, or in order; pages and times.
		step{do: "GET /zones/{zone}/audit-events", status: 200, want: `{"items":[{"type":"providers:delete"},{"type":"providers:create"},{"type":"zones:create"}]}`},
		step{do: "GET /zones/{zone}/audit-events?order=asc&limit=2", status: 200, keep: []string{"next=pagination.after_cursor"}, want: `{"items":[{"type":"zones:create"},{"type":"providers:create"}]}`},
		step{do: "GET /zones/{zone}/audit-events?order=asc&limit=2&after={next}", status: 200, want: `{"items":[{"type":"providers:delete"}],"pagination":{"after_cursor":null,"before_cursor":"<any>"}}`},
		step{do: "GET /zones/{zone}/audit-events?since={when}&order=asc", status: 200, want: `{"items":[{"type":"providers:create"},{"type":"providers:delete"}]}`},
		step{do: "GET /zones/{zone}/audit-events?until={when}", status: 200, want: `{"items":[{"type":"zones:create"}]}`},
		step{do: "GET /zones/{zone}/audit-events?since=yesterday", status: 400, want: `{"details":[{"field":"since"}]}`},
		step{do: "GET /zones/{zone}/audit-events?order=random", status: 400},
		step{do: "GET /zones/{zone}/audit-events?limit=1000", status: 400},
		step{do: "GET /zones/{zone}/audit-events?after=made-up", status: 400},
		step{do: "GET /zones/{zone}/audit-events?filter[jti]=none", status: 200, want: `{"items":[]}`},
		step{do: "GET /zones/{zone}/audit-events?filter[jti]=&filter[request_id]=&limit=1", status: 200, want: `{"items":[{"type":"providers:delete"}]}`},
		step{do: "GET /zones/{zone}/audit-events?expand[]=total_count&limit=1", status: 200, want: `{"pagination":{"total_count":3}}`},
		step{do: "GET /organizations/{org}/audit-events?limit=1", status: 200, want: `{"items":[{"type":"providers:delete","zone_id":"{zone}"}]}`},
		// A refusal is an event, with the reason.
		step{do: "POST /organizations", status: 403, events: []string{"organizations:create!"}},
		step{do: "GET /organizations/{org}/audit-events?limit=1", status: 200, want: `{"items":[{"type":"organizations:create","outcome":"failure","error":"forbidden","error_description":"<any>","zone_id":"<absent>"}]}`},
	)
}
