package oauth_test

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
)

// Deputy as real browsers and the libraries of others see it.

var (
	//go:embed testdata/passkey.mjs
	passkeyScript string
	//go:embed testdata/keyboard.mjs
	keyboardScript string
)

// script runs a script, and fails with each problem that it prints.
func (w *world) script(t *testing.T, text string, input map[string]any) {
	t.Helper()
	in, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	var problems []string
	if err := json.Unmarshal(deputytest.Node(t, text, in), &problems); err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

// site is an origin of somebody else: any page of it says where one is.
func site(t *testing.T) (origin string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<!doctype html><title>elsewhere</title><p>elsewhere")
	}))
	t.Cleanup(s.Close)
	return strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
}

// newClientAt makes an application that people sign in to, which is answered at
// the address.
func (w *world) newClientAt(callback string, consent deputy.Consent) *app {
	a := w.newWebApp("browsed", consent)
	w.change(a, func(x *deputy.Application) { x.RedirectURIs = []string{callback} })
	return a
}

// authorize returns the address that a client sends a browser to.
func (w *world) authorize(a *app, callback string) string {
	return w.issuer() + "/oauth/2/authorize?" + asking(a.credential.Identifier, "redirect_uri", callback).Encode()
}

func TestPasskeyInABrowser(t *testing.T) {
	t.Parallel()
	w, _ := onlineNow(t)
	elsewhere := site(t)
	callback := elsewhere + "/callback"
	ada := w.newBrowser()
	ada.withCode(ada.signUp(adaMail, adaPass))
	user := w.onlyUser()
	bob := w.newUser("bob@example.test")
	client := w.newClientAt(callback, deputy.ImplicitConsent)
	w.script(t, passkeyScript, map[string]any{
		"authorize": w.authorize(client, callback), "account": w.issuer() + "/account", "callback": callback,
		"elsewhere": elsewhere, "email": adaMail, "password": adaPass, "somebody": bob.ID,
	})
	logins := map[deputy.UserID]int{}
	for _, e := range w.events("users:login") {
		logins[e.UserID]++
	}
	// Signed up, with the password, and three times with the passkey.
	if logins[user.ID] != 5 || len(logins) != 1 {
		t.Errorf("who signed in: %v", logins)
	}
}

func TestSignUpByKeyboardWithoutScript(t *testing.T) {
	t.Parallel()
	w, base := onlineNow(t)
	callback := site(t) + "/callback"
	client := w.newClientAt(callback, deputy.RequiredConsent)
	w.script(t, keyboardScript, map[string]any{
		"authorize": w.authorize(client, callback), "callback": callback, "code": base + "/mailed-code", "email": adaMail, "password": adaPass,
	})
	if u := w.onlyUser(); u.Email != adaMail || !u.EmailVerified {
		t.Errorf("the person is %+v", u)
	}
}

// mailedCode answers with the code of the newest mail, as the person reads it.
func (w *world) mailedCode(rw http.ResponseWriter) {
	_, code, _ := w.lastMail()
	fmt.Fprint(rw, code)
}
