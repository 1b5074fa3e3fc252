package broker_test

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"deputy/internal/broker"
	"deputy/internal/deputy"
	"deputy/internal/upstream"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// answer is what a server answered once, with the secrets replaced.
type answer struct {
	status int
	form   bool // it is no JSON
	body   string
}

// outside answers as it is told, and keeps what it was asked.
type outside struct {
	*httptest.Server
	answer func(*http.Request, url.Values) answer
	asked  []url.Values
	header http.Header
}

func newOutside(t testing.TB) *outside {
	o := new(outside)
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		q, _ := url.ParseQuery(string(body))
		o.asked, o.header = append(o.asked, q), r.Header
		a := o.answer(r, q)
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		if a.form {
			w.Header().Set("Content-Type", "application/x-www-form-urlencoded")
		}
		if a.status != 0 {
			w.WriteHeader(a.status)
		}
		io.WriteString(w, a.body)
	}))
	t.Cleanup(o.Close)
	return o
}

const clientID, clientSecret = "the client", "s/e:c%ret"

// server returns the server of a provider whose settings name the outside's
// token endpoint.
func (o *outside) server(t testing.TB, set deputy.ProviderOAuth2) *broker.Server {
	t.Helper()
	f := upstream.New(upstream.Config{Now: func() time.Time { return noon }, Dev: true})
	t.Cleanup(f.Close)
	id, token := clientID, o.URL+"/token"
	if set.TokenEndpoint == nil {
		set.TokenEndpoint = &token
	}
	s, err := broker.New(f).Server(t.Context(), &deputy.Provider{
		ID: "p", ZoneID: "z", Identifier: "https://issuer.test", ClientID: &id, OAuth2: &set,
	}, deputy.Conceal(clientSecret))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func text(s string) *string { return &s }
func yes() *bool            { b := true; return &b }

// known are providers as the catalog sets them up, with what they send.
var known = map[string]struct {
	set    deputy.ProviderOAuth2
	scopes []string
	query  map[string]string // of the address that people are sent to
	first  answer            // to a code
	access string
	lives  time.Duration
	granted,
	refreshed []string
	refresh     string // empty: there is none
	next        answer // to a refresh token
	nextAccess  string
	nextRefresh string
	over        answer // to one that is over
}{
	"GitHub": {
		set:    deputy.ProviderOAuth2{AuthorizationEndpoint: text("https://github.com/login/oauth/authorize")},
		scopes: []string{"repo", "read:user"},
		query:  map[string]string{"scope": "repo read:user"},
		first:  answer{form: true, body: "access_token=ghu_one&expires_in=28800&refresh_token=ghr_one&refresh_token_expires_in=15811200&scope=repo%2Cread%3Auser&token_type=bearer"},
		access: "ghu_one", lives: 8 * time.Hour, granted: []string{"repo", "read:user"}, refresh: "ghr_one",
		next:       answer{body: `{"access_token":"ghu_two","expires_in":28800,"refresh_token":"ghr_two","refresh_token_expires_in":15811200,"scope":"","token_type":"bearer"}`},
		nextAccess: "ghu_two", nextRefresh: "ghr_two", refreshed: []string{},
		over: answer{body: `{"error":"bad_refresh_token","error_description":"The refresh token passed is incorrect or expired.","error_uri":"https://docs.github.com"}`},
	},
	"Google": {
		set: deputy.ProviderOAuth2{
			AuthorizationEndpoint:   text("https://accounts.google.com/o/oauth2/v2/auth"),
			AuthorizationParameters: map[string]string{"access_type": "offline", "prompt": "consent"},
		},
		scopes: []string{"https://www.googleapis.com/auth/calendar", "email"},
		query:  map[string]string{"access_type": "offline", "prompt": "consent", "scope": "https://www.googleapis.com/auth/calendar email"},
		first:  answer{body: `{"access_token":"ya29.one","expires_in":3599,"refresh_token":"1//one","scope":"https://www.googleapis.com/auth/userinfo.email https://www.googleapis.com/auth/calendar openid","token_type":"Bearer","id_token":"e.e.e"}`},
		access: "ya29.one", lives: 3599 * time.Second, refresh: "1//one",
		granted:    []string{"https://www.googleapis.com/auth/userinfo.email", "https://www.googleapis.com/auth/calendar", "openid"},
		next:       answer{body: `{"access_token":"ya29.two","expires_in":3599,"scope":"https://www.googleapis.com/auth/calendar","token_type":"Bearer"}`},
		nextAccess: "ya29.two", nextRefresh: "1//one", refreshed: []string{"https://www.googleapis.com/auth/calendar"},
		over: answer{status: 400, body: `{"error":"invalid_grant","error_description":"Token has been expired or revoked."}`},
	},
	"Slack": {
		set: deputy.ProviderOAuth2{
			AuthorizationEndpoint: text("https://slack.com/oauth/v2/authorize"), ScopeParameter: text("user_scope"), ScopeSeparator: text(","),
			TokenResponseAccessTokenPointer: text("authed_user.access_token"),
		},
		scopes: []string{"channels:read", "chat:write"},
		query:  map[string]string{"user_scope": "channels:read,chat:write", "scope": ""},
		first:  answer{body: `{"ok":true,"app_id":"A1","authed_user":{"id":"U1","scope":"channels:read,chat:write","access_token":"xoxe.xoxp-one","token_type":"user","refresh_token":"xoxe-one","expires_in":43200},"team":{"id":"T1","name":"Team"},"enterprise":null,"is_enterprise_install":false}`},
		access: "xoxe.xoxp-one", lives: 12 * time.Hour, granted: []string{"channels:read", "chat:write"}, refresh: "xoxe-one",
		next:       answer{body: `{"ok":true,"access_token":"xoxe.xoxp-two","refresh_token":"xoxe-two","expires_in":43200,"token_type":"user","scope":"channels:read,chat:write","user_id":"U1","team":{"id":"T1","name":"Team"},"enterprise":null}`},
		nextAccess: "xoxe.xoxp-two", nextRefresh: "xoxe-two", refreshed: []string{"channels:read", "chat:write"},
		over: answer{body: `{"ok":false,"error":"invalid_refresh_token"}`},
	},
	"Linear": {
		set:    deputy.ProviderOAuth2{AuthorizationEndpoint: text("https://linear.app/oauth/authorize"), ScopeSeparator: text(",")},
		scopes: []string{"read", "write"},
		query:  map[string]string{"scope": "read,write"},
		first:  answer{body: `{"access_token":"lin_one","token_type":"Bearer","expires_in":86399,"scope":"read write","refresh_token":"lin_r_one"}`},
		access: "lin_one", lives: 86399 * time.Second, granted: []string{"read", "write"}, refresh: "lin_r_one",
		next:       answer{body: `{"access_token":"lin_two","token_type":"Bearer","expires_in":86399,"scope":["read","write"],"refresh_token":"lin_r_two"}`},
		nextAccess: "lin_two", nextRefresh: "lin_r_two", refreshed: []string{"read", "write"},
		over: answer{status: 400, body: `{"error":"invalid_grant","error_description":"invalid refresh token"}`},
	},
	"Notion": {
		set: deputy.ProviderOAuth2{
			AuthorizationEndpoint: text("https://api.notion.com/v1/oauth/authorize"), AuthorizationParameters: map[string]string{"owner": "user"},
		},
		query:  map[string]string{"owner": "user", "scope": ""},
		first:  answer{body: `{"access_token":"ntn_one","token_type":"bearer","refresh_token":"nrt_one","bot_id":"b","workspace_icon":null,"workspace_name":"W","workspace_id":"w","owner":{"type":"user","user":{"object":"user","id":"u"}},"duplicated_template_id":null,"request_id":"r"}`},
		access: "ntn_one", refresh: "nrt_one",
		next:       answer{body: `{"access_token":"ntn_two","token_type":"bearer","refresh_token":"nrt_two","bot_id":"b","workspace_id":"w"}`},
		nextAccess: "ntn_two", nextRefresh: "nrt_two",
		over: answer{status: 400, body: `{"object":"error","status":400,"code":"invalid_grant","message":"The provided refresh token is invalid."}`},
	},
	"Atlassian": {
		set: deputy.ProviderOAuth2{
			AuthorizationEndpoint:   text("https://auth.atlassian.com/authorize"),
			AuthorizationParameters: map[string]string{"audience": "api.atlassian.com", "prompt": "consent"},
		},
		scopes: []string{"read:jira-work", "offline_access"},
		query:  map[string]string{"audience": "api.atlassian.com", "prompt": "consent", "scope": "read:jira-work offline_access"},
		first:  answer{body: `{"access_token":"at_one","expires_in":3600,"token_type":"Bearer","refresh_token":"rt_one","scope":"offline_access read:jira-work"}`},
		access: "at_one", lives: time.Hour, granted: []string{"offline_access", "read:jira-work"}, refresh: "rt_one",
		next:       answer{body: `{"access_token":"at_two","refresh_token":"rt_two","scope":"offline_access read:jira-work","expires_in":3600,"token_type":"Bearer"}`},
		nextAccess: "at_two", nextRefresh: "rt_two", refreshed: []string{"offline_access", "read:jira-work"},
		over: answer{status: 403, body: `{"error":"unauthorized_client","error_description":"refresh_token is invalid"}`},
	},
	"Entra": {
		set:    deputy.ProviderOAuth2{AuthorizationEndpoint: text("https://login.microsoftonline.com/tenant/oauth2/v2.0/authorize")},
		scopes: []string{"Calendars.Read", "offline_access"},
		query:  map[string]string{"scope": "Calendars.Read offline_access"},
		first:  answer{body: `{"token_type":"Bearer","scope":"Calendars.Read profile openid email","expires_in":4839,"ext_expires_in":4839,"access_token":"eyJ0.one","refresh_token":"1.AXo_one"}`},
		access: "eyJ0.one", lives: 4839 * time.Second, granted: []string{"Calendars.Read", "profile", "openid", "email"}, refresh: "1.AXo_one",
		next:       answer{body: `{"token_type":"Bearer","scope":"Calendars.Read","expires_in":"3600","access_token":"eyJ0.two","refresh_token":"1.AXo_two"}`},
		nextAccess: "eyJ0.two", nextRefresh: "1.AXo_two", refreshed: []string{"Calendars.Read"},
		over: answer{status: 400, body: `{"error":"invalid_grant","error_description":"AADSTS700082: The refresh token has expired due to inactivity.","error_codes":[700082],"timestamp":"2026-11-24 12:00:00Z","trace_id":"t","correlation_id":"c"}`},
	},
	"Salesforce": {
		set:    deputy.ProviderOAuth2{AuthorizationEndpoint: text("https://acme.my.salesforce.com/services/oauth2/authorize")},
		scopes: []string{"api", "refresh_token"},
		query:  map[string]string{"scope": "api refresh_token"},
		first:  answer{body: `{"access_token":"00D!one","refresh_token":"5Aep_one","signature":"s","scope":"refresh_token api","instance_url":"https://acme.my.salesforce.com","id":"https://login.salesforce.com/id/1/2","token_type":"Bearer","issued_at":"1764000000000"}`},
		access: "00D!one", granted: []string{"refresh_token", "api"}, refresh: "5Aep_one",
		next:       answer{body: `{"access_token":"00D!two","signature":"s","scope":"refresh_token api","instance_url":"https://acme.my.salesforce.com","id":"https://login.salesforce.com/id/1/2","token_type":"Bearer","issued_at":"1764003600000"}`},
		nextAccess: "00D!two", nextRefresh: "5Aep_one", refreshed: []string{"refresh_token", "api"},
		over: answer{status: 400, body: `{"error":"invalid_grant","error_description":"expired access/refresh token"}`},
	},
	"HubSpot": {
		set:    deputy.ProviderOAuth2{AuthorizationEndpoint: text("https://app.hubspot.com/oauth/authorize")},
		scopes: []string{"crm.objects.contacts.read"},
		query:  map[string]string{"scope": "crm.objects.contacts.read"},
		first:  answer{body: `{"token_type":"bearer","refresh_token":"na1-one","access_token":"CJone","expires_in":1800}`},
		access: "CJone", lives: 30 * time.Minute, refresh: "na1-one",
		next:       answer{body: `{"token_type":"bearer","refresh_token":"na1-one","access_token":"CJtwo","expires_in":1800}`},
		nextAccess: "CJtwo", nextRefresh: "na1-one",
		over: answer{status: 400, body: `{"status":"BAD_REFRESH_TOKEN","message":"missing or invalid refresh token","correlationId":"c"}`},
	},
	"Snowflake": {
		set:    deputy.ProviderOAuth2{AuthorizationEndpoint: text("https://acme.snowflakecomputing.com/oauth/authorize")},
		scopes: []string{"refresh_token", "session:role:ANALYST"},
		query:  map[string]string{"scope": "refresh_token session:role:ANALYST"},
		first:  answer{body: `{"access_token":"ver:1-hint:one","refresh_token":"ver:2-hint:one","token_type":"Bearer","username":"ADA","scope":"refresh_token session:role:ANALYST","expires_in":600,"refresh_token_expires_in":86400,"idpInitiated":false}`},
		access: "ver:1-hint:one", lives: 10 * time.Minute, granted: []string{"refresh_token", "session:role:ANALYST"}, refresh: "ver:2-hint:one",
		next:       answer{body: `{"access_token":"ver:1-hint:two","expires_in":600,"token_type":"Bearer","idpInitiated":false}`},
		nextAccess: "ver:1-hint:two", nextRefresh: "ver:2-hint:one",
		over: answer{status: 400, body: `{"data":null,"message":"This is an invalid refresh token.","code":null,"success":false,"error":"invalid_grant"}`},
	},
}

// TestKnownProviders: what each sends is understood, and each is asked as it
// wants to be.
func TestKnownProviders(t *testing.T) {
	for name, k := range known {
		t.Run(name, func(t *testing.T) {
			o := newOutside(t)
			s := o.server(t, k.set)
			address, err := s.Address(broker.Authorization{Redirect: "https://deputy.test/redirect", State: "state", Verifier: "verifier", Scopes: k.scopes, Resource: "https://r.test"})
			u, bad := url.Parse(address)
			if err != nil || bad != nil {
				t.Fatal(err, bad)
			}
			for parameter, want := range k.query {
				if got := u.Query().Get(parameter); got != want {
					t.Errorf("%s is %q, not %q", parameter, got, want)
				}
			}
			send := func(a answer) { o.answer = func(*http.Request, url.Values) answer { return a } }
			send(k.first)
			tokens, err := s.Redeem(t.Context(), broker.Authorization{Redirect: "https://deputy.test/redirect", Verifier: "verifier"}, "code")
			if err != nil {
				t.Fatal(err)
			}
			if tokens.Access.Reveal() != k.access || tokens.Lives != k.lives || tokens.Refresh.Reveal() != k.refresh || !slices.Equal(tokens.Scopes, k.granted) || (tokens.Scopes == nil) != (k.granted == nil) {
				t.Errorf("the first tokens are %s, %s, %v, %v", tokens.Access.Reveal(), tokens.Refresh.Reveal(), tokens.Lives, tokens.Scopes)
			}
			send(k.next)
			tokens, err = s.Refresh(t.Context(), tokens.Refresh, "https://r.test")
			if err != nil {
				t.Fatal(err)
			}
			if tokens.Access.Reveal() != k.nextAccess || tokens.Refresh.Reveal() != k.nextRefresh || !slices.Equal(tokens.Scopes, k.refreshed) {
				t.Errorf("the next tokens are %s, %s, %v", tokens.Access.Reveal(), tokens.Refresh.Reveal(), tokens.Scopes)
			}
			send(k.over)
			var f *broker.Fault
			if _, err := s.Refresh(t.Context(), tokens.Refresh, ""); !errors.As(err, &f) || !f.Over || f.Transient {
				t.Errorf("a refresh token that is over: %v", err)
			}
		})
	}
}

// TestFaults: only a provider's word on what was presented ends a grant.
func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		answer
		over, transient bool
	}{
		"a fault of its own":       {answer{500, false, `{"error":"server_error"}`}, false, true},
		"a page in front of it":    {answer{502, false, `<html>Bad gateway</html>`}, false, true},
		"too many requests":        {answer{429, false, `{"error":"rate_limited"}`}, false, true},
		"Slack's too many":         {answer{200, false, `{"ok":false,"error":"ratelimited"}`}, false, true},
		"it does not know us":      {answer{401, false, `{"error":"invalid_client"}`}, false, false},
		"a wrong scope":            {answer{400, false, `{"error":"invalid_scope"}`}, false, false},
		"nothing at all":           {answer{400, false, ``}, false, false},
		"not ok, and nothing more": {answer{200, false, `{"ok":false}`}, false, false},
		"a token of no text":       {answer{200, false, `{"access_token":7}`}, false, true},
		"no token":                 {answer{200, false, `{"token_type":"Bearer"}`}, false, true},
		"no object":                {answer{200, false, `["access_token"]`}, false, true},
		"broken off":               {answer{200, false, `{"access_token":"a"`}, false, true},
		"a word in a form":         {answer{200, true, "error=bad_refresh_token"}, true, false},
		"over":                     {answer{400, false, `{"error":"invalid_grant"}`}, true, false},
		"over, and a fault":        {answer{503, false, `{"error":"temporarily_unavailable"}`}, false, true},
	} {
		o := newOutside(t)
		o.answer = func(*http.Request, url.Values) answer { return c.answer }
		s := o.server(t, deputy.ProviderOAuth2{AuthorizationEndpoint: text("https://issuer.test/authorize")})
		var f *broker.Fault
		if _, err := s.Refresh(t.Context(), deputy.Conceal("r"), ""); !errors.As(err, &f) || f.Over != c.over || f.Transient != c.transient {
			t.Errorf("%s: %+v", name, err)
		}
	}
}

// TestQuirks: each setting does what it says, and nothing that is set overrides
// what an answer's safety rests on.
func TestQuirks(t *testing.T) {
	o := newOutside(t)
	o.answer = func(*http.Request, url.Values) answer {
		return answer{body: `{"a":{"b~c":{"d/e":"deep"}},"expires_in":-1}`}
	}
	s := o.server(t, deputy.ProviderOAuth2{
		AuthorizationEndpoint: text("https://issuer.test/authorize?tenant=one&state=fixed"), CodeChallengeMethodsSupported: []string{"plain"},
		AuthorizationResourceEnabled: yes(), AuthorizationResourceParameter: text("api"), TokenResponseAccessTokenPointer: text("/a/b~0c/d~1e"),
		AuthorizationParameters: map[string]string{
			"response_type": "token", "client_id": "x", "redirect_uri": "https://evil.test", "state": "x", "code_challenge": "x", "code_challenge_method": "plain", "hd": "acme",
			"scope": "overridden",
		},
	})
	a := broker.Authorization{Redirect: "https://deputy.test/redirect", State: "state", Verifier: "verifier", Scopes: []string{"one"}, Resource: "https://r.test"}
	address, err := s.Address(a)
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(address)
	want := url.Values{
		"tenant": {"one"}, "response_type": {"code"}, "client_id": {clientID}, "redirect_uri": {a.Redirect}, "state": {"state"}, "hd": {"acme"},
		"api": {"https://r.test"}, "scope": {"overridden"},
	}
	if u.Query().Encode() != want.Encode() {
		t.Errorf("the address is %s", address)
	}
	tokens, err := s.Redeem(t.Context(), a, "code")
	if err != nil || tokens.Access.Reveal() != "deep" || tokens.Lives != 0 || tokens.Scopes != nil {
		t.Errorf("the tokens are %+v, %v", tokens, err)
	}
	if q := o.asked[0]; q.Get("api") != "https://r.test" || q.Has("code_verifier") || q.Get("redirect_uri") != a.Redirect {
		t.Errorf("asked with %v", q)
	}
	if got, want := o.header.Get("Authorization"), "Basic "+base64.StdEncoding.EncodeToString([]byte("the+client:s%2Fe%3Ac%25ret")); got != want {
		t.Errorf("authenticated with %s", got)
	}
	if _, err := s.Refresh(t.Context(), deputy.Conceal("r"), "https://r.test"); err != nil || o.asked[1].Get("api") != "https://r.test" {
		t.Errorf("asked with %v, %v", o.asked[1], err)
	}
	for _, bad := range []string{"javascript:alert(1)", "//nowhere", "https://"} {
		s := o.server(t, deputy.ProviderOAuth2{AuthorizationEndpoint: &bad})
		if address, err := s.Address(a); err == nil {
			t.Errorf("people are sent to %s", address)
		}
	}
}

// TestSecretInTheForm: a server that has not said how clients authenticate and
// refuses the header is asked once more, and from then on as it likes it.
func TestSecretInTheForm(t *testing.T) {
	o := newOutside(t)
	o.answer = func(r *http.Request, q url.Values) answer {
		if q.Get("client_secret") != clientSecret || q.Get("client_id") != clientID || r.Header.Get("Authorization") != "" {
			return answer{status: 400, body: `{"status":"BAD_CLIENT_ID","message":"missing or unknown client id"}`}
		}
		return answer{body: `{"access_token":"a"}`}
	}
	s := o.server(t, deputy.ProviderOAuth2{AuthorizationEndpoint: text("https://issuer.test/authorize")})
	for range 2 {
		if _, err := s.Refresh(t.Context(), deputy.Conceal("r"), ""); err != nil {
			t.Fatal(err)
		}
	}
	if len(o.asked) != 3 {
		t.Errorf("asked %d times", len(o.asked))
	}
	// What was presented is not presented twice when that is what is wrong.
	o.asked, o.answer = nil, func(*http.Request, url.Values) answer { return answer{status: 400, body: `{"error":"invalid_grant"}`} }
	other := o.server(t, deputy.ProviderOAuth2{AuthorizationEndpoint: text("https://issuer.test/authorize")})
	if _, err := other.Refresh(t.Context(), deputy.Conceal("r"), ""); err == nil || len(o.asked) != 1 {
		t.Errorf("asked %d times, %v", len(o.asked), err)
	}
}

// TestDiscovery: a server that describes itself is believed as far as it is the
// one that was named, and settings win.
func TestDiscovery(t *testing.T) {
	for name, c := range map[string]struct {
		path, issuer string // of the document, below the server
		below        string // of the issuer
		found        bool
	}{
		"OpenID":                   {path: "/.well-known/openid-configuration", found: true},
		"OpenID below a path":      {path: "/tenant/.well-known/openid-configuration", below: "/tenant", found: true},
		"OAuth":                    {path: "/.well-known/oauth-authorization-server", found: true},
		"OAuth below a path":       {path: "/.well-known/oauth-authorization-server/tenant", below: "/tenant", found: true},
		"the document of another":  {path: "/.well-known/openid-configuration", issuer: "https://other.test"},
		"a document where none is": {path: "/elsewhere"},
	} {
		o := newOutside(t)
		issuer := o.URL + c.below
		says := issuer
		if c.issuer != "" {
			says = c.issuer
		}
		o.answer = func(r *http.Request, _ url.Values) answer {
			if r.URL.Path == "/token" {
				return answer{body: `{"access_token":"a"}`}
			}
			if r.URL.Path != c.path {
				return answer{status: 404}
			}
			return answer{body: `{"issuer":"` + says + `","authorization_endpoint":"` + o.URL + `/authorize","token_endpoint":"` + o.URL + `/token",` +
				`"token_endpoint_auth_methods_supported":["client_secret_post"],"authorization_response_iss_parameter_supported":true}`}
		}
		f := upstream.New(upstream.Config{Now: func() time.Time { return noon }, Dev: true})
		t.Cleanup(f.Close)
		id := clientID
		s, err := broker.New(f).Server(t.Context(), &deputy.Provider{ID: "p", ZoneID: "z", Identifier: issuer, ClientID: &id}, deputy.Conceal(clientSecret))
		if (err == nil) != c.found {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		if address, err := s.Address(broker.Authorization{State: "s"}); err != nil || !strings.HasPrefix(address, o.URL+"/authorize?") {
			t.Errorf("%s: %s, %v", name, address, err)
		}
		if _, err := s.Refresh(t.Context(), deputy.Conceal("r"), ""); err != nil || o.asked[len(o.asked)-1].Get("client_secret") != clientSecret {
			t.Errorf("%s: asked with %v, %v", name, o.asked, err)
		}
		for iss, good := range map[string]bool{issuer: true, "": false, "https://other.test": false} {
			if err := s.CheckIssuer(iss); (err == nil) != good {
				t.Errorf("%s: an answer of %q: %v", name, iss, err)
			}
		}
	}
}
