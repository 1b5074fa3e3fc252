package oauth_test

import (
	"encoding/json"
	"strings"
	"testing"

	"deputy/internal/deputy"
)

// FuzzSubjectToken sends anything as a subject token: as it is, or signed by
// the zone as a payload. The first is refused unless it is the token that was
// issued; the second is never the server's fault.
func FuzzSubjectToken(f *testing.F) {
	w := newRelay(f)
	parts := strings.Split(w.token, ".")
	payload, err := json.Marshal(w.payload(w.token))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		w.token, parts[0] + "." + parts[1] + ".", parts[0] + ".." + parts[2], "a.b.c", "...", "",
		"eyJhbGciOiJub25lIn0." + parts[1] + ".",
	} {
		f.Add(seed, false)
	}
	for _, seed := range []string{
		string(payload), "{}", "[]", "null", `{"sub":"x","sub":"y"}`, `{"aud":[[]]}`, `{"act":{"act":{"act":{}}}}`,
		strings.Replace(string(payload), `"app"`, `"user"`, 1), `{"exp":1e400}`, `{"exp":9223372036854775807}`,
	} {
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, token string, signed bool) {
		at := *w.world
		at.TB = t
		sent := token
		if signed {
			var err error
			if sent, err = w.signers[deputy.ES256].Sign("at+jwt", []byte(token)); err != nil {
				t.Fatal(err)
			}
		}
		a := at.exchange(w.server, sent, w.api.Identifier)
		switch code := a.text("error"); {
		case a.status == 200 && !signed && token != w.token:
			t.Fatalf("%q is accepted", token)
		case a.status == 200:
		case a.status != 400 || code != "invalid_request" && code != "invalid_grant":
			t.Fatalf("%q (signed %v): %s", token, signed, a)
		}
	})
}
