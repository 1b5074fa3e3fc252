package oauth_test

import (
	"net/url"
	"strings"
	"testing"

	"deputy/internal/deputy"
)

func TestAuthorizeToCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.newBrowser()
	client := w.newWebApp("client", deputy.RequiredConsent)
	user := w.newUser("zoe@example.test")
	b.at(b.open(asking(client.credential.Identifier, "scope", "openid email")), "/login")
	before := b.cookies["deputy-login-"+string(w.zone.ID)]
	b.at(b.act("sign in", user), "/login/consent")
	if after := b.cookies["deputy-login-"+string(w.zone.ID)]; after == before || after == "" {
		t.Error("the transaction has kept its id over a sign-in")
	}
	b.answered(b.act("approve", nil))
	if len(b.cookies) != 1 {
		t.Errorf("the cookies left are %v", b.cookies)
	}
	// Signed in and agreed: there is nothing left to do.
	b.answered(b.open(asking(client.credential.Identifier, "scope", "openid email")))
	for kind, n := range map[string]int{"users:login": 1, "consents:create": 1, "users:authorize": 2} {
		if got := len(w.events(kind)); got != n {
			t.Errorf("%d events %s, want %d", got, kind, n)
		}
	}
}

func TestDeny(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.newBrowser()
	client := w.newWebApp("client", deputy.RequiredConsent)
	b.open(asking(client.credential.Identifier))
	b.at(b.act("sign in", w.newUser("zoe@example.test")), "/login/consent")
	b.refused(b.act("deny", nil), "access_denied")
	b.shown(b.act("approve", nil), "invalid_request") // the transaction has ended
}

// authorizations lists every refusal of an authorization request (RFC 6749
// §4.1.2.1): a page where the client or where its answer goes is in doubt, else
// the way back with exactly these parameters.
var authorizations = map[string]struct {
	change func(url.Values)
	page   bool
	code   string
	detail string
}{
	"no client":               {set("client_id", ""), true, "invalid_request", "client_id is missing"},
	"unknown client":          {set("client_id", "nobody"), true, "invalid_client", ""},
	"two clients":             {add("client_id", "nobody"), true, "invalid_request", "client_id is given more than once"},
	"another redirect":        {set("redirect_uri", "https://client.test/other"), true, "invalid_request", "redirect_uri"},
	"a longer redirect":       {set("redirect_uri", callback+"/more"), true, "invalid_request", "redirect_uri"},
	"a shorter redirect":      {set("redirect_uri", "https://client.test/"), true, "invalid_request", "redirect_uri"},
	"a redirect with a query": {set("redirect_uri", callback+"?a=b"), true, "invalid_request", "redirect_uri"},
	"a redirect in capitals":  {set("redirect_uri", "https://CLIENT.test/callback"), true, "invalid_request", "redirect_uri"},
	"a redirect with a user":  {set("redirect_uri", "https://client.test@evil.test/callback"), true, "invalid_request", "redirect_uri"},
	"a redirect with a port":  {set("redirect_uri", "https://client.test:444/callback"), true, "invalid_request", "redirect_uri"},
	"an encoded slash":        {set("redirect_uri", "https://client.test%2fcallback"), true, "invalid_request", "redirect_uri"},
	"a dot segment":           {set("redirect_uri", "https://client.test/x/../callback"), true, "invalid_request", "redirect_uri"},
	"a fragment":              {set("redirect_uri", callback+"#x"), true, "invalid_request", "redirect_uri"},
	"two redirects":           {add("redirect_uri", callback), true, "invalid_request", "redirect_uri is given more than once"},
	"no redirect in OpenID":   {together(set("redirect_uri", ""), set("scope", "openid")), true, "invalid_request", "redirect_uri is missing"},
	"no response type":        {set("response_type", ""), false, "invalid_request", "response_type is missing"},
	"another response type":   {set("response_type", "token"), false, "unsupported_response_type", ""},
	"two response types":      {add("response_type", "code"), false, "invalid_request", "response_type is given more than once"},
	"two states":              {add("nonce", "a", "nonce", "b"), false, "invalid_request", "nonce is given more than once"},
	"another response mode":   {set("response_mode", "fragment"), false, "invalid_request", "response mode"},
	"a request object":        {set("request", "e30.e30."), false, "request_not_supported", ""},
	"no challenge":            {set("code_challenge", ""), false, "invalid_request", "code_challenge is missing"},
	"no challenge at all":     {together(set("code_challenge", ""), set("code_challenge_method", "")), false, "invalid_request", "code_challenge is missing"},
	"a plain challenge":       {set("code_challenge_method", "plain"), false, "invalid_request", "S256"},
	"a challenge by default":  {set("code_challenge_method", ""), false, "invalid_request", "S256"},
	"a short challenge":       {set("code_challenge", "short"), false, "invalid_request", "malformed"},
	"an unknown resource":     {set("resource", "urn:nothing"), false, "invalid_target", "Requested authorization for unknown resource \"urn:nothing\""},
	"a further unknown one":   {add("resource", "https://api.test", "resource", "urn:nothing"), false, "invalid_target", "unknown resource"},
	"no credential provider":  {set("resource", "urn:bare"), false, "invalid_target", "Resource \"urn:bare\" is missing a credential provider"},
	"a vault's first":         {set("resource", "urn:vaulted"), false, "invalid_target", "cannot be the first"},
	"a malformed scope":       {set("scope", "a\"b"), false, "invalid_scope", ""},
	"none and another":        {set("prompt", "none login"), false, "invalid_request", "cannot be combined"},
	"an unknown prompt":       {set("prompt", "dance"), false, "invalid_request", "prompt"},
	"a negative age":          {set("max_age", "-1"), false, "invalid_request", "max_age"},
	"an age in words":         {set("max_age", "old"), false, "invalid_request", "max_age"},
	"a hint of somebody":      {set("id_token_hint", "e30.e30.e30"), false, "invalid_request", "id_token_hint"},
	"nobody signed in":        {set("prompt", "none"), false, "login_required", ""},
}

func set(name, value string) func(url.Values) {
	return func(q url.Values) {
		if value == "" {
			q.Del(name)
		} else {
			q.Set(name, value)
		}
	}
}

func add(pairs ...string) func(url.Values) {
	return func(q url.Values) {
		for i := 0; i < len(pairs); i += 2 {
			q.Add(pairs[i], pairs[i+1])
		}
	}
}

func together(a, b func(url.Values)) func(url.Values) {
	return func(q url.Values) { a(q); b(q) }
}

func TestAuthorizationRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client := w.newWebApp("client", deputy.ImplicitConsent)
	w.newResource("https://api.test", nil)
	w.newResource("urn:bare", func(r *deputy.Resource) { r.CredentialProviderID = nil })
	w.newResource("urn:vaulted", func(r *deputy.Resource) { r.CredentialProviderID = &w.vaulted.ID })
	for name, c := range authorizations {
		q := asking(client.credential.Identifier)
		c.change(q)
		b := w.newBrowser()
		for _, p := range []*page{b.open(q), b.send("/oauth/2/authorize", q)} {
			if c.page {
				b.shown(p, c.code)
				if !strings.Contains(strings.ReplaceAll(p.body, "&#34;", `"`), c.detail) {
					t.Errorf("%s: %s", name, p.body)
				}
			} else {
				b.refused(p, c.code)
				if !strings.Contains(p.query("error_description"), c.detail) || len(p.location.Query()) != 4 {
					t.Errorf("%s: %s", name, p.location)
				}
			}
			if p.header.Get("Referrer-Policy") != "no-referrer" || p.header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s: the headers are %v", name, p.header)
			}
		}
		if len(b.cookies) > 0 {
			t.Errorf("%s left %v", name, b.cookies)
		}
	}
}
