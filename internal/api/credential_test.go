package api_test

import (
	"regexp"
	"strings"
	"testing"

	"deputy/internal/deputy"
)

func TestCredentials(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	create := func(body string, status int, want string, keep ...string) step {
		st := step{do: "POST /zones/{zone}/application-credentials", body: body, status: status, want: want, keep: keep}
		if status == 200 {
			st.events = []string{"application_credentials:create"}
		}
		return st
	}
	s.run(
		step{do: "POST /zones/{zone}/applications", body: `{"identifier":"app","name":"App"}`, status: 200, keep: []string{"app=id"}, events: []string{"applications:create"}},
		step{do: "POST /zones/{zone}/providers", body: `{"identifier":"https://ci.test","name":"CI"}`, status: 200, keep: []string{"ci=id"}, events: []string{"providers:create"}},
		create(`{"application_id":"{app}","type":"password"}`, 200,
			`{"type":"password","application_id":"{app}","zone_id":"{zone}","organization_id":"{org}","identifier":"<any>","slug":"<any>","password":"<any>","provider_id":"<absent>","subject":"<absent>","jwks_uri":"<absent>"}`,
			"pw=id", "client=identifier", "secret=password"),
		step{do: "GET /zones/{zone}/application-credentials/{pw}", status: 200, want: `{"identifier":"{client}","password":"<absent>"}`},
		// An identifier is a client_id, so it is unique, and may be the application's own.
		create(`{"application_id":"{app}","type":"password","identifier":"app"}`, 200, `{"identifier":"app"}`),
		create(`{"application_id":"{app}","type":null}`, 400, `{"details":[{"field":"type"}]}`),
		create(`{"application_id":"{app}","type":"public","identifier":"app"}`, 409, `{"code":"conflict","details":[{"field":"identifier"}]}`),
		create(`{"application_id":"{app}","type":"public"}`, 200, `{"type":"public","identifier":"<any>","password":"<absent>"}`, "public=id"),
		create(`{"application_id":"{app}","type":"public-key","jwks_uri":"https://app.test/jwks"}`, 200, `{"type":"public-key","jwks_uri":"https://app.test/jwks","identifier":"<any>"}`, "key=id"),
		create(`{"application_id":"{app}","type":"url","identifier":"https://app.test/client.json"}`, 200, `{"type":"url","identifier":"https://app.test/client.json"}`, "url=id"),
		create(`{"application_id":"{app}","type":"token","provider_id":"{ci}","subject":"repo:a"}`, 200, `{"type":"token","provider_id":"{ci}","subject":"repo:a","identifier":"repo:a"}`, "token=id"),
		create(`{"application_id":"{app}","type":"token","provider_id":"{ci}"}`, 200, `{"identifier":"*","subject":"<absent>"}`),
		// What does not fit its variant.
		create(`{"application_id":"{app}","type":"magic"}`, 400, `{"code":"validation_error"}`),
		create(`{"application_id":"{app}"}`, 400, `{"code":"validation_error","details":[{"field":"type","message":"is required"}]}`),
		create(`{"application_id":"{app}","type":7}`, 400, `{"details":[{"field":"type","message":"expected string"}]}`),
		create(`{"application_id":"{app}","type":null}`, 400, `{"details":[{"field":"type"}]}`),
		create(`{"type":"password"}`, 400, `{"details":[{"field":"application_id","message":"is required"}]}`),
		create(`{"application_id":"{app}","type":"token"}`, 400, `{"details":[{"field":"provider_id","message":"is required"}]}`),
		create(`{"application_id":"{app}","type":"token","provider_id":"none"}`, 400, `{"details":[{"field":"provider_id"}]}`),
		create(`{"application_id":"none","type":"password"}`, 400, `{"details":[{"field":"application_id"}]}`),
		create(`{"application_id":"{app}","type":"url"}`, 400, `{"details":[{"field":"identifier"}]}`),
		create(`{"application_id":"{app}","type":"url","identifier":"plain"}`, 400, `{"details":[{"field":"identifier"}]}`),
		create(`{"application_id":"{app}","type":"public-key"}`, 400, `{"details":[{"field":"jwks_uri"}]}`),
		create(`{"application_id":"{app}","type":"password","identifier":""}`, 400, ``),
		// Changes are judged by the type it has.
		step{do: "PATCH /zones/{zone}/application-credentials/{token}", body: `{"type":"token","subject":"repo:b"}`, status: 200, want: `{"subject":"repo:b","identifier":"repo:b"}`, events: []string{"application_credentials:update"}},
		step{do: "PATCH /zones/{zone}/application-credentials/{token}", body: `{"type":"token","subject":null}`, status: 200, want: `{"subject":"<absent>","identifier":"*"}`, events: []string{"application_credentials:update"}},
		step{do: "PATCH /zones/{zone}/application-credentials/{token}", body: `{"type":"password"}`, status: 400, want: `{"details":[{"field":"type"}]}`},
		step{do: "PATCH /zones/{zone}/application-credentials/{url}", body: `{"identifier":"https://app.test/2.json"}`, status: 200, want: `{"identifier":"https://app.test/2.json"}`, events: []string{"application_credentials:update"}},
		step{do: "PATCH /zones/{zone}/application-credentials/{url}", body: `{"identifier":"plain"}`, status: 400},
		step{do: "PATCH /zones/{zone}/application-credentials/{public}", body: `{"identifier":"cli"}`, status: 200, want: `{"identifier":"cli"}`, events: []string{"application_credentials:update"}},
		step{do: "PATCH /zones/{zone}/application-credentials/{public}", body: `{"identifier":"app"}`, status: 409},
		step{do: "PATCH /zones/{zone}/application-credentials/{pw}", body: `{"identifier":"other"}`, status: 200, want: `{"identifier":"{client}","password":"<absent>"}`, events: []string{"application_credentials:update"}},
		step{do: "GET /zones/{zone}/application-credentials?applicationId={app}&expand[]=total_count", status: 200, want: `{"pagination":{"total_count":7},"page_info":"<any>"}`},
		step{do: "GET /zones/{zone}/application-credentials?application_id=none", status: 200, want: `{"items":[]}`},
		step{do: "GET /zones/{zone}/applications/{app}/application-credentials?limit=1", status: 200, want: `{"items":[{"application_id":"{app}","password":"<absent>"}],"pagination":{"after_cursor":"<any>"}}`},
		step{do: "GET /zones/{zone}/applications/none/application-credentials", status: 404},
		step{do: "DELETE /zones/{zone}/application-credentials/{pw}", status: 204, events: []string{"application_credentials:delete"}},
		step{do: "GET /zones/{zone}/application-credentials/{pw}", status: 404},
		// A provider that goes takes its token credentials along, an application all of its own.
		step{do: "DELETE /zones/{zone}/providers/{ci}", status: 204, events: []string{"providers:delete"}},
		step{do: "GET /zones/{zone}/application-credentials/{token}", status: 404},
		step{do: "DELETE /zones/{zone}/applications/{app}", status: 204, events: []string{"applications:delete"}},
		step{do: "GET /zones/{zone}/application-credentials", status: 200, want: `{"items":[]}`},
	)
	if !regexp.MustCompile(`^[A-Za-z0-9]{64}$`).MatchString(s.vars["secret"]) || !regexp.MustCompile(`^[A-Za-z0-9]{21}$`).MatchString(s.vars["client"]) {
		t.Errorf("client id %q, secret of %d characters", s.vars["client"], len(s.vars["secret"]))
	}
}

// TestPasswordIsHashed looks for the secret where it must not be.
func TestPasswordIsHashed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.zone()
	s.run(
		step{do: "POST /zones/{zone}/applications", body: `{"identifier":"app","name":"App"}`, status: 200, keep: []string{"app=id"}, events: []string{"applications:create"}},
		step{do: "POST /zones/{zone}/application-credentials", body: `{"application_id":"{app}","type":"password"}`, status: 200,
			keep: []string{"client=identifier", "secret=password"}, events: []string{"application_credentials:create"}},
	)
	c, err := s.store.Client(t.Context(), deputy.ZoneID(s.vars["zone"]), s.vars["client"])
	if err != nil {
		t.Fatal(err)
	}
	if !deputy.SecretHash(c.Credential.SecretHash).Match(deputy.Conceal(s.vars["secret"])) {
		t.Error("the stored hash is not that of the secret")
	}
	for _, do := range []string{"GET /zones/{zone}/application-credentials", "GET /zones/{zone}/audit-events"} {
		if body := s.request(step{do: do}).Body.String(); strings.Contains(body, s.vars["secret"]) {
			t.Errorf("%s shows the secret", do)
		}
	}
	if strings.Contains(s.log.String(), s.vars["secret"]) {
		t.Error("the log shows the secret")
	}
}
