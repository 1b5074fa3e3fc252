package api_test

import "testing"

func TestResources(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.run(
		step{do: "POST /zones/{zone}/applications", body: `{"identifier":"app","name":"App"}`, status: 200, keep: []string{"app=id"}, events: []string{"applications:create"}},
		step{do: "POST /zones/{zone}/resources", body: `{"identifier":"http://localhost:8000/mcp","name":"Google Calendar API"}`, status: 200, keep: []string{"res=id"}, events: []string{"resources:create"},
			want: `{"slug":"google-calendar-api","identifier":"http://localhost:8000/mcp","application_type":"web","prefix":false,"owner_type":"customer","credential_lifetime_seconds":"<absent>","signing_alg":"<absent>",
				"application_id":"<absent>","credential_provider_id":"<absent>","scopes":"<absent>","metadata":"<absent>","description":"<absent>","when_accessing":"<absent>"}`},
		step{do: "POST /zones/{zone}/resources", status: 200, keep: []string{"full=id"}, events: []string{"resources:create"},
			body: `{"identifier":"urn:x","name":"X","application_type":"native","prefix":true,"credential_lifetime_seconds":60,"signing_alg":"ES256","application_id":"{app}","scopes":["write","read"],"metadata":{"docs_url":"https://d.test"}}`,
			want: `{"application_type":"native","prefix":true,"credential_lifetime_seconds":60,"signing_alg":"ES256","application_id":"{app}","scopes":["write","read"],"metadata":{"docs_url":"https://d.test"}}`},
		step{do: "POST /zones/{zone}/resources", body: `{"identifier":"urn:x","name":"Y"}`, status: 409, want: `{"code":"conflict"}`},
	)
	for body, field := range map[string]string{
		`{"identifier":"a","name":"A","application_id":"none"}`:             "application_id",
		`{"identifier":"a","name":"A","credential_provider_id":"{app}"}`:    "credential_provider_id",
		`{"identifier":"a","name":"A","credential_lifetime_seconds":59}`:    "credential_lifetime_seconds",
		`{"identifier":"a","name":"A","credential_lifetime_seconds":86401}`: "credential_lifetime_seconds",
		`{"identifier":"a","name":"A","credential_lifetime_seconds":60.5}`:  "credential_lifetime_seconds",
		`{"identifier":"a","name":"A","credential_lifetime_seconds":"60"}`:  "credential_lifetime_seconds",
		`{"identifier":"a","name":"A","scopes":[""]}`:                       "scopes[0]",
		`{"identifier":"a","name":"A","scopes":["two words"]}`:              "scopes",
		`{"identifier":"a","name":"A","application_type":"other"}`:          "application_type",
		`{"identifier":"a","name":"A","signing_alg":"HS256"}`:               "signing_alg",
		`{"identifier":"a","name":"A","prefix":null}`:                       "prefix",
		`{"identifier":"","name":"A"}`:                                      "identifier",
	} {
		s.run(step{do: "POST /zones/{zone}/resources", body: body, status: 400, want: `{"code":"validation_error","details":[{"field":"` + field + `"}]}`})
	}
	patch := func(body, want string) {
		t.Helper()
		s.run(step{do: "PATCH /zones/{zone}/resources/{full}", body: body, status: 200, want: want, events: []string{"resources:update"}})
	}
	patch(`{"prefix":false,"name":"Z"}`, `{"prefix":false,"name":"Z","scopes":["write","read"]}`)
	patch(`{"scopes":["b","a","b"]}`, `{"scopes":["b","a","b"]}`)
	patch(`{"scopes":null,"metadata":null,"application_id":null,"credential_provider_id":null}`, `{"scopes":"<absent>","metadata":"<absent>","application_id":"<absent>"}`)
	patch(`{"credential_lifetime_seconds":null,"signing_alg":null}`, `{"credential_lifetime_seconds":"<absent>","signing_alg":"<absent>"}`)
	s.run(
		step{do: "PATCH /zones/{zone}/resources/{full}", body: `{"identifier":"http://localhost:8000/mcp"}`, status: 409},
		step{do: "PATCH /zones/{zone}/resources/{full}", body: `{"application_id":"none"}`, status: 400, want: `{"details":[{"field":"application_id"}]}`},
		step{do: "GET /zones/{zone}/resources", status: 200, want: `{"items":[{"id":"{full}"},{"id":"{res}"},"<any>","<any>"],"pagination":{"after_cursor":null,"before_cursor":null},"page_info":"<absent>"}`},
		step{do: "GET /zones/{zone}/resources?credential_provider_id=none", status: 200, want: `{"items":[]}`},
		step{do: "GET /zones/{zone}/resources?slug=google-calendar-api", status: 200, want: `{"items":[{"id":"{res}"}]}`},
	)
}

// TestIdentifierQuery asks which resource an identifier belongs to.
func TestIdentifierQuery(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	for name, body := range map[string]string{
		"v1":    `{"identifier":"https://h.test/v1","name":"v1","prefix":true}`,
		"deep":  `{"identifier":"https://h.test/v1/deep","name":"deep","prefix":true}`,
		"exact": `{"identifier":"https://h.test/v1/only","name":"exact"}`,
		"slash": `{"identifier":"https://s.test/","name":"slash","prefix":true}`,
		"host":  `{"identifier":"https://p.test","name":"host","prefix":true}`,
		"urn":   `{"identifier":"urn:a","name":"urn","prefix":true}`,
		"query": `{"identifier":"https://h.test/q?x=1","name":"query","prefix":true}`,
	} {
		s.run(step{do: "POST /zones/{zone}/resources", body: body, status: 200, keep: []string{name + "=id"}, events: []string{"resources:create"}})
	}
	for identifier, found := range map[string]string{
		"https://h.test/v1":               "v1",
		"https://h.test/v1/a":             "v1",
		"https://h.test/v1%3Fx":           "v1",
		"https://h.test/v1%23f":           "v1",
		"https://h.test/v10":              "",
		"https://h.test/v1/deep/er":       "deep",
		"https://h.test/v1/deeper":        "v1",
		"https://h.test/v1/only":          "exact",
		"https://h.test/v1/only/below":    "v1",
		"https://h.test/v1/../v2":         "",
		"https://h.test":                  "",
		"http://h.test/v1":                "",
		"https://h.test:8443/v1":          "",
		"https://s.test/any":              "slash",
		"https://s.test":                  "",
		"https://p.test/x":                "host",
		"https://p.test.evil.test/x":      "",
		"https://h.test/q%3Fx=1%23frag":   "query",
		"urn:a":                           "urn",
		"urn:a:b":                         "",
		"{issuer}":                        "userinfo",
		"{issuer}/something":              "",
		"https://h.test/v1/%252e%252e/v2": "",
	} {
		want := `{"items":[]}`
		switch found {
		case "":
		case "userinfo":
			want = `{"items":[{"slug":"openid-connect-userinfo"}]}`
		default:
			want = `{"items":[{"id":"{` + found + `}"}]}`
		}
		s.run(step{do: "GET /zones/{zone}/resources?identifier=" + identifier, status: 200, want: want})
	}
}
