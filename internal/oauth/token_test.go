package oauth_test

import (
	"testing"

	"deputy/internal/deputy"
)

func TestClientCredentials(t *testing.T) {
	w := newWorld(t)
	agent := w.newApp("agent")
	r := w.newResource("https://api.test/v1", func(r *deputy.Resource) { r.Scopes = []string{"read", "write"} })
	w.depend(agent, r)
	a := w.must(w.credentialsFor(agent, r.Identifier, "scope", "read bogus"), 200, "")
	t.Log(a)
	t.Log(w.payload(a.text("access_token")))
	t.Logf("%+v", w.lastEvent())
}
