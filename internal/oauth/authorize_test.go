package oauth_test

import (
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

// TestSomebodyElseThanHinted: a client that says whom it expects gets nobody else
// (OpenID Connect Core 1.0 §3.1.2.1).
func TestSomebodyElseThanHinted(t *testing.T) {
	t.Parallel()
	f := newFlow(t, both...)
	hint := f.must(f.redeem(f.code("scope", "openid")), 200, "").text("id_token")
	request := asking(f.client.credential.Identifier, "id_token_hint", hint)
	b := f.newBrowser()
	b.at(b.open(request), "/login")
	b.refused(b.act("sign in", f.newUser("bob@example.test")), "login_required")
	b.at(b.open(request), "/login")
	b.answered(b.act("sign in", f.user))
}
