package pages_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"deputy/internal/pages"
)

var frame = pages.Frame{Name: "Acme", Seed: "01jd", Base: "/z/01jd", Issuer: "https://id.example/z/01jd", Token: "token"}

func draw(f pages.Frame, p pages.Page) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	pages.Write(w, http.StatusOK, f, p)
	return w
}

func TestEveryPageSaysWhatItShould(t *testing.T) {
	t.Parallel()
	for name, p := range samples {
		t.Run(name, func(t *testing.T) {
			body := draw(frame, p).Body.String()
			for _, want := range []string{"<h1>", `<html lang="en"`, "<title>", "· Acme</title>", "id.example/z/01jd"} {
				if !strings.Contains(body, want) {
					t.Errorf("it lacks %q", want)
				}
			}
			for _, form := range strings.Split(body, `<form method="post"`)[1:] {
				form, _, _ = strings.Cut(form, "</form>")
				if !strings.Contains(form, `name="csrf_token" value="token"`) {
					t.Errorf("a form has no token: %s", form)
				}
			}
			for _, never := range []string{" style=", "<style", " onclick=", "javascript:", "ZgotmplZ"} {
				if strings.Contains(body, never) {
					t.Errorf("it has %q", never)
				}
			}
		})
	}
}

func TestNoPageCanBeFramedKeptOrScripted(t *testing.T) {
	t.Parallel()
	h := draw(frame, samples["consent"]).Header()
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
		"X-Frame-Options":         "DENY",
		"Referrer-Policy":         "no-referrer",
		"Cache-Control":           "no-store",
		"X-Content-Type-Options":  "nosniff",
		"Content-Type":            "text/html; charset=utf-8",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
}

func TestFormsLeadExactlyWhereTheFrameSays(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"https://app.example/cb?x=1":                 "https://app.example/cb",
		"https://APP.example:8443/a%20b":             "https://app.example:8443/a%20b",
		"http://127.0.0.1:5555/callback":             "http://127.0.0.1:5555/callback",
		"http://[::1]:5555/callback":                 "http:",
		"com.example.app:/callback":                  "com.example.app:",
		"https://app.example/a;script-src 'unsafe'":  "https://app.example",
		"https://app.example/a,b":                    "https://app.example",
		"https://app.example/cb%3B%20script-src%20*": "https://app.example/cb%3B%20script-src%20*",
		"nonsense": "",
	} {
		f := frame
		f.Targets = []string{target}
		got := draw(f, samples["consent"]).Header().Get("Content-Security-Policy")
		_, got, _ = strings.Cut(got, "form-action 'self'")
		if strings.TrimSpace(got) != want {
			t.Errorf("%s opens %q, not %q", target, got, want)
		}
	}
}

func TestTextFromOutsideIsText(t *testing.T) {
	t.Parallel()
	const evil = `"><script>alert(1)</script>`
	f := frame
	f.Name, f.Issuer = evil, "https://"+evil
	c := consent
	c.Client.Name, c.Client.Host, c.User, c.Fields = evil, evil, evil, map[string]string{evil: evil}
	c.Resources = []pages.Asked{{Name: evil, Identifier: evil, Through: evil, Scopes: []pages.AskedScope{{Name: evil}}}}
	for _, p := range []pages.Page{
		c, pages.Identifier{Client: evil, Identifier: evil, Passkey: evil}, pages.Error{Problem: pages.ErrorRequest, Code: evil, Description: evil, RequestID: evil},
		pages.Logout{User: evil, Fields: map[string]string{"state": evil}},
	} {
		if body := draw(f, p).Body.String(); strings.Contains(body, "<script>") {
			t.Errorf("%T lets markup through: %s", p, body)
		}
	}
}

func TestConsentKeepsItsNames(t *testing.T) {
	t.Parallel()
	body := draw(frame, samples["consent"]).Body.String()
	approve, deny, found := strings.Cut(body, `name="action" value="approve"`)
	if !found || !strings.Contains(deny, `name="action" value="deny"`) || strings.Contains(approve, `value="deny"`) {
		t.Error("the forms to approve and to deny are not where browser tests look for them")
	}
	if strings.Count(body, "<form") != 2 {
		t.Error("approving and denying need a form each")
	}
	body = draw(frame, samples["identifier"]).Body.String() + draw(frame, samples["password"]).Body.String()
	for _, name := range []string{`name="identifier"`, `name="username"`, `name="password"`} {
		if !strings.Contains(body, name) {
			t.Errorf("there is no input with %s", name)
		}
	}
}

func TestMarksWhatIsNewOnlyWhereSomethingIsOld(t *testing.T) {
	t.Parallel()
	c := consent
	if n := strings.Count(draw(frame, c).Body.String(), `class="new"`); n != 3 {
		t.Errorf("%d marks, not 3", n)
	}
	c.Renewed = false
	if strings.Contains(draw(frame, c).Body.String(), `class="new"`) {
		t.Error("everything is new the first time, and marked all the same")
	}
}

func TestAssetsAreNamedByWhatIsInThem(t *testing.T) {
	t.Parallel()
	body := draw(frame, samples["add-passkey"]).Body.String()
	for _, part := range []string{`href="`, `src="`} {
		_, rest, _ := strings.Cut(body, part)
		address, _, _ := strings.Cut(rest, `"`)
		name, ok := strings.CutPrefix(address, "/z/01jd"+pages.AssetPath)
		w := httptest.NewRecorder()
		if !ok || !pages.ServeAsset(w, name) {
			t.Fatalf("%s is not an asset", address)
		}
		if w.Body.Len() == 0 || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %v", address, w.Header())
		}
	}
	if pages.ServeAsset(httptest.NewRecorder(), "style.css") || pages.ServeAsset(httptest.NewRecorder(), "../frame.go") {
		t.Error("a name without what is in it is no asset")
	}
}

func TestLanguages(t *testing.T) {
	t.Parallel()
	got := pages.Languages("fr de-CH", "en-GB;q=0.8, en")
	if want := "fr de-CH en-GB en"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if s := pages.Text([]string{"xx", "en-GB"}, pages.MailVerify, "zone", "Acme"); s != "Your code for Acme" {
		t.Error(s)
	}
}
