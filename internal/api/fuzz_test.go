package api_test

import (
	"net/http"
	"testing"
)

// FuzzPatch sends any bytes as a change: they are taken or refused in good
// form, and a refusal changes nothing.
func FuzzPatch(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `{"name":"B"}`, `{"name":null}`, `{"metadata":{}}`, `{"metadata":null}`, `{"protocols":{"oauth2":{"redirect_uris":["https://a.test"]}}}`,
		`{"traits":"gateway"}`, `{"traits":["gateway"]}`, `{"name":"a","name":"b"}`, `[1]`, `{"consent":1e9}`, "{\"name\":\"\xff\"}", `{"a":{"a":{"a":[[[[]]]]}}}`,
		`{"zoneId":{"x":1}}`, `{"protocols":{"oauth2":null}}`, `{"description":""}`, `{"identifier":"\u0000"}`,
	} {
		f.Add(seed)
	}
	s := newServer(f)
	s.zone()
	s.run(step{do: "POST /zones/{zone}/applications", body: `{"identifier":"a","name":"A"}`, status: 200, keep: []string{"app=id"}, events: []string{"applications:create"}})
	f.Fuzz(func(t *testing.T, body string) {
		s.t = t
		const at = " /zones/{zone}/applications/{app}"
		before := s.request(step{do: "GET" + at}).Body.String()
		w := s.request(step{do: "PATCH" + at, body: body, header: map[string]string{"Content-Type": "application/json"}})
		after := s.request(step{do: "GET" + at}).Body.String()
		switch w.Code {
		case http.StatusOK:
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
			if before != after {
				t.Errorf("a refused change changed something: %s then %s", before, after)
			}
		default:
			t.Errorf("status %d for %q: %s", w.Code, body, w.Body)
		}
	})
}
