package oauth_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"deputy/internal/oauth"
)

func decode(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzForm compares the parser with net/url: what it accepts, it reads alike.
func FuzzForm(f *testing.F) {
	for _, seed := range []string{
		"", "grant_type=client_credentials", "grant_type=a&grant_type=b", "scope=a+b%20c", "resource=x&resource=y",
		"client_id=%", "client_id=%zz", "client_id=%ff", "a=%", "grant_type=&grant_type=x", "&&=&=x&x", "scope=a;b", "client_secret=s%2B",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		got, err := oauth.ParseForm(body)
		if err != nil {
			return
		}
		want, werr := url.ParseQuery(strings.ReplaceAll(body, ";", "%3B"))
		for name, value := range got {
			var given []string
			for _, v := range want[name] {
				if v != "" {
					given = append(given, v)
				}
			}
			if strings.Join(value, "\x00") != strings.Join(given, "\x00") {
				t.Fatalf("%s: got %q, net/url reads %q (%v)", name, value, given, werr)
			}
			for _, v := range value {
				if !utf8.ValidString(v) {
					t.Fatalf("%s is not UTF-8: %q", name, v)
				}
			}
		}
	})
}

// FuzzBasic compares the reading of a Basic header with net/http.
func FuzzBasic(f *testing.F) {
	for _, seed := range []string{"a:b", "a%2Db:c%2Ed", ":", "a:", ":b", "a:b:c", "%:%", "a+b:c d"} {
		f.Add("Basic "+base64.StdEncoding.EncodeToString([]byte(seed)), "")
	}
	f.Add("basic YTpi", "a")
	f.Add("Bearer x", "")
	f.Add("Basic !", "b")
	f.Fuzz(func(t *testing.T, header, clientID string) {
		identities, err := oauth.ReadBasic(header, clientID)
		r := httptest.NewRequest("POST", "/", nil)
		scheme, rest, _ := strings.Cut(header, " ")
		r.Header["Authorization"] = []string{scheme + " " + strings.TrimLeft(rest, " ")} // net/http knows one space only
		id, secret, ok := r.BasicAuth()
		if err != nil || len(identities) == 0 {
			return
		}
		if !ok {
			t.Fatalf("%q is not Basic, yet reads as %q", header, identities)
		}
		for _, i := range identities {
			if i[0] == "" || i[1] == "" || clientID != "" && i[0] != clientID {
				t.Fatalf("%q reads as %q for client %q", header, identities, clientID)
			}
		}
		last := identities[len(identities)-1]
		if plain, err := url.QueryUnescape(id); clientID == "" && secret != "" && id != "" && (err != nil || plain != id) && (last[0] != id || last[1] != secret) {
			t.Fatalf("%q lost its raw reading: %q", header, identities)
		}
	})
}

// FuzzQuoted checks that strings survive JSON and stay in ASCII.
func FuzzQuoted(f *testing.F) {
	for _, seed := range []string{"", "a", "\"\\\x00\x1f\x7f", "é", "😀", "\xff", "\u2028"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := oauth.AppendQuoted(nil, s)
		for _, c := range b {
			if c < 0x20 || c >= 0x7f {
				t.Fatalf("%q holds %#x", b, c)
			}
		}
		var back string
		if err := json.Unmarshal(b, &back); err != nil || back != strings.ToValidUTF8(s, "\ufffd") && utf8.ValidString(s) {
			t.Fatalf("%q became %q and %q (%v)", s, b, back, err)
		}
	})
}
