package oauth_test

import (
	"cmp"
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"deputy/internal/deputy"
)

// The errors of authorization requests, of codes and of refresh tokens: every row
// is something that is wrong, in the order in which it is looked for. Of two
// things that are wrong at once the earlier is told, which is tried with every
// row and the first one of each later step.

// The steps of an authorization request (RFC 6749 §4.1.2.1). The first two are
// told to the person, because the client is in doubt or where its answer goes;
// all others to the client.
const (
	stepClient = iota
	stepRedirect
	stepResponse
	stepChallenge
	stepResource
	stepScope
	stepPrompt
	stepSignIn // from here on it matters who sits at the browser
	stepPolicy
	stepConsent
	stepConnection
)

// authorizationError is a row of the table. member says that the browser is that
// of somebody who is signed in.
type authorizationError struct {
	name   string
	step   int
	change func(url.Values)
	member bool
	code   string
	detail string
}

var authorizationErrors = []authorizationError{
	{"unknown client", stepClient, set("client_id", "nobody"), false, "invalid_client", "not known"},
	{"no client", stepClient, set("client_id", ""), false, "invalid_request", "client_id is missing"},
	{"two clients", stepClient, add("client_id", "nobody"), false, "invalid_request", "client_id is given more than once"},

	{"another redirect", stepRedirect, set("redirect_uri", "https://client.test/other"), false, "invalid_request", "redirect_uri is not registered"},
	{"a longer redirect", stepRedirect, set("redirect_uri", callback+"/more"), false, "invalid_request", "redirect_uri"},
	{"a shorter redirect", stepRedirect, set("redirect_uri", "https://client.test/"), false, "invalid_request", "redirect_uri"},
	{"a redirect with a query", stepRedirect, set("redirect_uri", callback+"?a=b"), false, "invalid_request", "redirect_uri"},
	{"a redirect in capitals", stepRedirect, set("redirect_uri", "https://CLIENT.test/callback"), false, "invalid_request", "redirect_uri"},
	{"a redirect with a user", stepRedirect, set("redirect_uri", "https://client.test@evil.test/callback"), false, "invalid_request", "redirect_uri"},
	{"a redirect with a port", stepRedirect, set("redirect_uri", "https://client.test:444/callback"), false, "invalid_request", "redirect_uri"},
	{"an encoded slash", stepRedirect, set("redirect_uri", "https://client.test%2fcallback"), false, "invalid_request", "redirect_uri"},
	{"a dot segment", stepRedirect, set("redirect_uri", "https://client.test/x/../callback"), false, "invalid_request", "redirect_uri"},
	{"a fragment", stepRedirect, set("redirect_uri", callback+"#x"), false, "invalid_request", "redirect_uri"},
	{"two redirects", stepRedirect, add("redirect_uri", callback), false, "invalid_request", "redirect_uri is given more than once"},
	{"no redirect in OpenID", stepRedirect, together(set("redirect_uri", ""), set("scope", "openid")), false, "invalid_request", "redirect_uri is missing"},

	{"another response type", stepResponse, set("response_type", "token"), false, "unsupported_response_type", "must be code"},
	{"no response type", stepResponse, set("response_type", ""), false, "invalid_request", "response_type is missing"},
	{"two response types", stepResponse, add("response_type", "code"), false, "invalid_request", "response_type is given more than once"},
	{"two nonces", stepResponse, add("nonce", "a", "nonce", "b"), false, "invalid_request", "nonce is given more than once"},
	{"another response mode", stepResponse, set("response_mode", "fragment"), false, "invalid_request", "response mode"},
	{"a request object", stepResponse, set("request", "e30.e30."), false, "request_not_supported", ""},

	{"no challenge", stepChallenge, set("code_challenge", ""), false, "invalid_request", "code_challenge is missing"},
	{"no challenge at all", stepChallenge, together(set("code_challenge", ""), set("code_challenge_method", "")), false, "invalid_request", "code_challenge is missing"},
	{"a plain challenge", stepChallenge, set("code_challenge_method", "plain"), false, "invalid_request", "S256"},
	{"a challenge by default", stepChallenge, set("code_challenge_method", ""), false, "invalid_request", "S256"},
	{"a short challenge", stepChallenge, set("code_challenge", "short"), false, "invalid_request", "malformed"},

	{"an unknown resource", stepResource, set("resource", "urn:nothing"), false, "invalid_target", `Requested authorization for unknown resource "urn:nothing"`},
	{"a further unknown one", stepResource, add("resource", "https://api.test", "resource", "urn:nothing"), false, "invalid_target", "unknown resource"},
	{"no credential provider", stepResource, set("resource", "urn:bare"), false, "invalid_target", `Resource "urn:bare" is missing a credential provider`},
	{"a vault's first", stepResource, set("resource", "urn:vaulted"), false, "invalid_target", "cannot be the first"},
	{"a provider's first", stepResource, set("resource", "urn:guarded"), false, "invalid_target", "cannot be the first"},

	{"a malformed scope", stepScope, set("scope", `a"b`), false, "invalid_scope", "scope"},

	{"none and another", stepPrompt, set("prompt", "none login"), false, "invalid_request", "cannot be combined"},
	{"an unknown prompt", stepPrompt, set("prompt", "dance"), false, "invalid_request", "prompt"},
	{"a negative age", stepPrompt, set("max_age", "-1"), false, "invalid_request", "max_age"},
	{"an age in words", stepPrompt, set("max_age", "old"), false, "invalid_request", "max_age"},
	{"a hint of somebody", stepPrompt, set("id_token_hint", "e30.e30.e30"), false, "invalid_request", "id_token_hint"},

	{"nobody signed in", stepSignIn, set("prompt", "none"), false, "login_required", ""},
	{"signed in too long ago", stepSignIn, together(set("prompt", "none"), set("max_age", "1")), true, "login_required", ""},
	{"another is signed in", stepSignIn, together(set("prompt", "none"), set("id_token_hint", "OF ANOTHER")), true, "login_required", ""},

	{"forbidden", stepPolicy, together(set("prompt", "none"), set("resource", "urn:forbidden")), true, "access_denied", "is denied by Policy"},
	{"not agreed to", stepConsent, together(set("prompt", "none"), set("client_id", "THAT ASKS")), true, "consent_required", ""},
	{"not connected", stepConnection, together(set("prompt", "none"), add("resource", "https://api.test", "resource", "urn:guarded")), true, "interaction_required", ""},
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

// firstOfLater returns the first row of each step after one.
func firstOfLater[R any](rows []R, step func(R) int, after int) (first []R) {
	for _, r := range rows {
		if at := step(r); at > after {
			first, after = append(first, r), at
		}
	}
	return first
}

// errorsOf is a person who is signed in, and all that the rows name.
type errorsOf struct {
	*flow
	stands map[string]string // for what a row can only name
}

func newErrorsOf(t *testing.T) *errorsOf {
	f := &errorsOf{flow: newFlow(t, both...)}
	f.newResource("urn:bare", func(r *deputy.Resource) { r.CredentialProviderID = nil })
	f.newResource("urn:vaulted", func(r *deputy.Resource) { r.CredentialProviderID = &f.vaulted.ID })
	f.newGuarded("urn:guarded", f.newExternal())
	forbidden := f.newResource("urn:forbidden", nil)
	f.activate(f.zone, "all but one", []string{"all", "but one"}, map[string]string{
		"all": "permit (principal, action, resource);", "but one": `forbid (principal, action, resource == Keycard::Resource::"` + string(forbidden.ID) + `");`,
	})
	other := f.newBrowser()
	other.open(asking(f.client.credential.Identifier, "scope", "openid"))
	id := f.must(f.redeem(f.browser.answered(other.act("sign in", f.newUser("bob@example.test")))), 200, "").text("id_token")
	f.code()
	f.clock.advance(time.Minute)
	f.stands = map[string]string{"OF ANOTHER": id, "THAT ASKS": f.newWebApp("asks", deputy.RequiredConsent).credential.Identifier}
	return f
}

// request returns the request of a row, in which a later one is wrong too.
func (f *errorsOf) request(row authorizationError, later ...authorizationError) url.Values {
	q := asking(f.client.credential.Identifier)
	for _, r := range append(later, row) {
		r.change(q)
	}
	for _, values := range q {
		for i, text := range values {
			values[i] = cmp.Or(f.stands[text], text)
		}
	}
	return q
}

// told fails unless a page is what the row says, with exactly the parameters of
// an error.
func (f *errorsOf) told(row authorizationError, p *page) {
	f.Helper()
	if row.step <= stepRedirect {
		f.browser.shown(p, row.code)
		if !strings.Contains(strings.ReplaceAll(p.body, "&#34;", `"`), row.detail) {
			f.Errorf("%s: %s", row.name, p.body)
		}
	} else {
		f.browser.refused(p, row.code)
		if !strings.Contains(p.query("error_description"), row.detail) ||
			!slices.Equal(slices.Sorted(maps.Keys(p.location.Query())), []string{"error", "error_description", "iss", "state"}) {
			f.Errorf("%s: %s", row.name, p.location)
		}
	}
	if p.header.Get("Referrer-Policy") != "no-referrer" || p.header.Get("Access-Control-Allow-Origin") != "" {
		f.Errorf("%s: the headers are %v", row.name, p.header)
	}
}

func TestErrorsOfAuthorizations(t *testing.T) {
	t.Parallel()
	f := newErrorsOf(t)
	push := *f.world
	for _, row := range authorizationErrors {
		f.TB = t
		t.Run(row.name, func(t *testing.T) {
			f.TB, push.TB, f.browser.TB = t, t, t
			b := f.newBrowser()
			if row.member {
				b = f.browser
			}
			for method, status := range map[string]int{"GET": 302, "POST": 303} {
				q := f.request(row)
				p := b.open(q)
				if method == "POST" {
					p = b.send("/oauth/2/authorize", q)
				}
				f.told(row, p)
				if row.step > stepRedirect && p.status != status {
					t.Errorf("%s: %d", method, p.status)
				}
				q.Del("state")
				if p = b.open(q); row.step > stepRedirect && (p.query("error") != row.code || p.location.Query().Has("state")) {
					t.Errorf("without a state the client hears %v", p.location)
				}
			}
			if !row.member && len(b.cookies) > 0 {
				t.Errorf("the browser is left with %v", b.cookies)
			}
			for _, later := range firstOfLater(authorizationErrors, func(r authorizationError) int { return r.step }, row.step) {
				at := b
				if row.step < stepSignIn && later.member {
					at = f.browser
				}
				f.told(row, at.open(f.request(row, later)))
			}
			// What is looked at before anybody signs in is looked at when a request
			// is pushed (RFC 9126 §2.3).
			if stepRedirect <= row.step && row.step < stepSignIn {
				a := push.postTo("/oauth/2/par", f.client, f.request(row))
				if a.status != 400 || a.text("error") != row.code {
					t.Errorf("pushed: %s", a)
				}
			}
		})
	}
}

// TestPromptsOfThoseSignedIn: with something to do for them, people are asked and
// not refused.
func TestPromptsOfThoseSignedIn(t *testing.T) {
	t.Parallel()
	f := newErrorsOf(t)
	for name, c := range map[string]struct {
		change func(url.Values)
		page   string
	}{
		"login":                  {set("prompt", "login"), "/login"},
		"another account":        {set("prompt", "select_account"), "/login"},
		"signed in too long ago": {set("max_age", "1"), "/login"},
		"another is meant":       {set("id_token_hint", f.stands["OF ANOTHER"]), "/login"},
		"not agreed to":          {set("client_id", f.stands["THAT ASKS"]), "/login/consent"},
		"asked for consent":      {set("prompt", "consent"), "/login/consent"},
	} {
		q := asking(f.client.credential.Identifier)
		c.change(q)
		if p := f.browser.open(q); p.location == nil || !strings.HasSuffix(p.location.Path, c.page) {
			t.Errorf("%s: %d %v", name, p.status, p.location)
		}
	}
	for name, change := range map[string]func(url.Values){
		"nothing": set("prompt", "none"), "just signed in": together(set("prompt", "none"), set("max_age", "3600")),
	} {
		q := asking(f.client.credential.Identifier)
		change(q)
		if p := f.browser.open(q); p.query("code") == "" {
			t.Errorf("%s: %d %v", name, p.status, p.location)
		}
	}
}

// tokenError is a row of what can be wrong with a code or a refresh token. before
// changes what the request rests on, and is followed by nothing good.
type tokenError struct {
	name   string
	step   int
	change func(url.Values)
	by     func(*flow) *app // nil: the client
	asked  []string         // of the authorization request
	before func(*flow)
	code   string
	detail string
}

// disable, signOut and forbid are what a person, a browser or an administrator
// does meanwhile.
func disable(f *flow) { f.setUser(f.user, func(u *deputy.User) { u.Status = deputy.UserDisabled }) }

func signOut(f *flow) {
	f.setSession(f.newestSession(&person{User: f.user}), func(s *deputy.Session) { s.Status = deputy.Revoked })
}

func forbid(f *flow) { f.activateText("forbid (principal, action, resource);") }

func byAnother(f *flow) *app { return f.newWebApp("other "+string(f.id()), deputy.ImplicitConsent) }

func byNobody(*flow) *app { return nil }

func byImpostor(f *flow) *app {
	return &app{f.client.Application, f.client.credential, deputy.NewSecret().Reveal()}
}

// codeErrors are in the order of the checks of a code (RFC 6749 §4.1.3, RFC 7636
// §4.6): client, code, redirect_uri, verifier, resource, person, policy.
var codeErrors = []tokenError{
	{name: "a wrong secret", step: 1, by: byImpostor, code: "invalid_client"},
	{name: "no secret", step: 1, by: byNobody, code: "invalid_client"},
	{name: "another code", step: 2, change: set("code", "nothing"), code: "invalid_grant", detail: "code is not valid"},
	{name: "no code", step: 2, change: set("code", ""), code: "invalid_request", detail: "code is missing"},
	{name: "of another client", step: 2, by: byAnother, code: "invalid_grant", detail: "code is not valid"},
	{name: "late", step: 2, before: func(f *flow) { f.clock.advance(time.Minute) }, code: "invalid_grant", detail: "code is not valid"},
	{name: "another redirect", step: 3, change: set("redirect_uri", callback+"x"), code: "invalid_grant", detail: "redirect_uri"},
	{name: "no redirect", step: 3, change: set("redirect_uri", ""), code: "invalid_grant", detail: "redirect_uri"},
	{name: "another verifier", step: 4, change: set("code_verifier", strings.Repeat("x", 43)), code: "invalid_grant", detail: "code_verifier"},
	{name: "no verifier", step: 4, change: set("code_verifier", ""), code: "invalid_grant", detail: "code_verifier"},
	{name: "a verifier for none", step: 4, asked: []string{"code_challenge", "", "code_challenge_method", ""}, code: "invalid_grant", detail: "code_verifier"},
	{name: "a short verifier", step: 4, asked: []string{"code_challenge", challengeOf(strings.Repeat("x", 42))}, change: set("code_verifier", strings.Repeat("x", 42)), code: "invalid_grant", detail: "code_verifier"},
	{name: "a long verifier", step: 4, asked: []string{"code_challenge", challengeOf(strings.Repeat("x", 129))}, change: set("code_verifier", strings.Repeat("x", 129)), code: "invalid_grant", detail: "code_verifier"},
	{name: "an unknown resource", step: 5, change: set("resource", "urn:other"), code: "invalid_target", detail: "was not part of the authorization"},
	{name: "another resource", step: 5, change: set("resource", "https://other.test"), code: "invalid_target", detail: "was not part of the authorization"},
	{name: "one and another", step: 5, change: add("resource", "https://api.test", "resource", "https://other.test"), code: "invalid_target", detail: "was not part of the authorization"},
	{name: "user disabled", step: 6, before: disable, code: "invalid_grant", detail: "no longer"},
	{name: "signed out", step: 6, before: signOut, code: "invalid_grant", detail: "no longer"},
	{name: "policy", step: 7, before: forbid, code: "access_denied", detail: "denied by Policy"},
}

// refreshErrors are in the order of the checks of a refresh token (RFC 6749 §6):
// client, scope, token, number of resources, person, resource, policy, consent.
var refreshErrors = []tokenError{
	{name: "a wrong secret", step: 1, by: byImpostor, code: "invalid_client"},
	{name: "no client", step: 1, by: byNobody, code: "invalid_client"},
	{name: "a malformed scope", step: 2, change: set("scope", `a"b`), code: "invalid_scope", detail: "scope"},
	{name: "nonsense", step: 3, change: set("refresh_token", "nonsense"), code: "invalid_grant", detail: "refresh token is not valid"},
	{name: "none", step: 3, change: set("refresh_token", ""), code: "invalid_request", detail: "refresh_token is missing"},
	{name: "of no session", step: 3, change: set("refresh_token", "drt_x_1_y_z"), code: "invalid_grant", detail: "refresh token is not valid"},
	{name: "made up", step: 3, change: rewritten(func(s string) string { return s[:len(s)-32] + strings.Repeat("0", 32) }), code: "invalid_grant", detail: "refresh token is not valid"},
	{name: "changed", step: 3, change: rewritten(func(s string) string { return s[:len(s)-1] + "x" }), code: "invalid_grant", detail: "refresh token is not valid"},
	{name: "another generation", step: 3, change: rewritten(func(s string) string { return strings.Replace(s, "_1_", "_0_", 1) }), code: "invalid_grant", detail: "refresh token is not valid"},
	{name: "of another client", step: 3, by: byAnother, code: "invalid_grant", detail: "refresh token is not valid"},
	{name: "over", step: 3, before: func(f *flow) { f.clock.advance(31 * 24 * time.Hour) }, code: "invalid_grant", detail: "refresh token is not valid"},
	{name: "two resources", step: 4, change: add("resource", "https://api.test", "resource", "https://other.test"), code: "invalid_target", detail: "more than one"},
	{name: "user disabled", step: 5, before: disable, code: "invalid_grant", detail: "no longer"},
	{name: "signed out", step: 5, before: signOut, code: "invalid_grant", detail: "no longer"},
	{name: "an unknown resource", step: 6, change: set("resource", "urn:nothing"), code: "invalid_target", detail: `Requested authorization for unknown resource "urn:nothing"`},
	{name: "policy", step: 7, before: forbid, code: "access_denied", detail: "denied by Policy"},
	{name: "not agreed to", step: 8, change: set("resource", "https://other.test"), code: "insufficient_authorization", detail: "User consent is required."},
	{name: "withdrawn", step: 8, before: func(f *flow) {
		f.write(f.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
			return tx.WithdrawConsents(ctx, f.zone.ID, f.user.ID, deputy.ID(f.client.ID))
		})
	}, code: "invalid_grant", detail: "withdrawn"},
}

// rewritten changes the refresh token of a request.
func rewritten(change func(string) string) func(url.Values) {
	return func(q url.Values) { q.Set("refresh_token", change(q.Get("refresh_token"))) }
}

// tokenErrors tries the rows of a table, with requests that present makes of what
// a client has got.
func tokenErrors(t *testing.T, rows []tokenError, setUp func(*testing.T) *flow, present func(*flow, ...string) url.Values) {
	request := func(f *flow, q url.Values, row tokenError, later ...tokenError) *answer {
		by := f.client
		for _, r := range append(later, row) {
			if r.change != nil {
				r.change(q)
			}
			if r.by != nil {
				by = r.by(f)
			}
		}
		return f.post(by, q)
	}
	told := func(f *flow, row tokenError, a *answer) {
		f.Helper()
		status, members := 400, []string{"error", "error_description", "requestId"}
		switch row.code {
		case "invalid_client":
			status = 401
		case "insufficient_authorization":
			members = append(members, "error_uri")
			slices.Sort(members)
		}
		if a.status != status || a.text("error") != row.code || !strings.Contains(a.text("error_description"), row.detail) ||
			!slices.Equal(slices.Sorted(maps.Keys(a.json)), members) {
			f.Errorf("%s: %s", row.name, a)
		}
		if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "application/json" {
			f.Errorf("%s: the headers are %v", row.name, a.header)
		}
		if challenged := a.header.Get("WWW-Authenticate") != ""; challenged != (row.name == "a wrong secret") {
			f.Errorf("%s: challenged: %t", row.name, challenged)
		}
	}
	step := func(r tokenError) int { return r.step }
	harmless := slices.DeleteFunc(slices.Clone(rows), func(r tokenError) bool { return r.before != nil })
	t.Run("of the request", func(t *testing.T) {
		f := setUp(t)
		shared := present(f)
		for _, row := range harmless {
			q := maps.Clone(shared)
			if row.asked != nil {
				q = present(f, row.asked...)
			}
			told(f, row, request(f, maps.Clone(q), row))
			for _, later := range firstOfLater(harmless, step, row.step) {
				told(f, row, request(f, maps.Clone(q), row, later))
			}
		}
		f.must(f.post(f.client, shared), 200, "") // nothing of that has ended anything
	})
	for _, row := range rows {
		if row.before == nil {
			continue
		}
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f := setUp(t)
			q := present(f)
			row.before(f)
			for _, with := range harmless {
				switch {
				case with.asked != nil || with.step == row.step:
				case with.step < row.step:
					told(f, with, request(f, maps.Clone(q), with))
				default:
					told(f, row, request(f, maps.Clone(q), row, with))
				}
			}
			told(f, row, request(f, q, row))
		})
	}
}

func TestErrorsOfCodes(t *testing.T) {
	t.Parallel()
	tokenErrors(t, codeErrors, func(t *testing.T) *flow {
		f := newFlow(t)
		f.setZone(func(z *deputy.Zone) { z.PKCERequired = false })
		f.newResource("https://other.test", nil)
		return f
	}, func(f *flow, more ...string) url.Values {
		q := form("grant_type", "authorization_code", "redirect_uri", callback, "code_verifier", verifier)
		q.Set("code", f.code(append(more, "resource", f.api.Identifier)...))
		q.Set("scope", `is "ignored`) // RFC 6749 §4.1.3 has none
		return q
	})
}

func TestErrorsOfRefreshTokens(t *testing.T) {
	t.Parallel()
	tokenErrors(t, refreshErrors, func(t *testing.T) *flow {
		f := newFlow(t)
		f.client = f.newWebApp("asks", deputy.RequiredConsent)
		f.newResource("https://other.test", nil)
		return f
	}, func(f *flow, _ ...string) url.Values {
		token := f.must(f.redeem(f.code("resource", f.api.Identifier)), 200, "").text("refresh_token")
		return form("grant_type", "refresh_token", "refresh_token", token)
	})
}
