package demo_test

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"deputy/internal/demo"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

const audience = "http://127.0.0.1:1/notes"

func verifier(is *issuer) *demo.Verifier {
	return &demo.Verifier{Issuer: is.URL, Audience: audience, HTTP: http.DefaultClient, Now: time.Now}
}

func sound() map[string]any {
	return map[string]any{"sub": "ann", "client_id": "agent", "aud": audience, "scope": "notes:read notes:write"}
}

func TestSoundTokensAreUnderstood(t *testing.T) {
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.RS256} {
		t.Run(string(alg), func(t *testing.T) {
			is := newIssuer(t, alg)
			v := verifier(is)
			claims := sound()
			claims["aud"] = []string{"http://other", audience}
			claims["jti"] = "event-1"
			claims["act"] = map[string]any{"sub": "mcp", "client_id": "m", "act": map[string]any{"sub": "gateway"}}
			raw := is.sign(claims, nil)
			token, err := v.Verify(t.Context(), raw)
			if err != nil {
				t.Fatal(err)
			}
			want := &demo.Token{
				Raw: raw, Subject: "ann", ClientID: "agent", Scopes: []string{"notes:read", "notes:write"}, ID: "event-1",
				Actors: []demo.Actor{{Subject: "mcp", ClientID: "m"}, {Subject: "gateway"}},
				Expiry: token.Expiry,
			}
			if diff := cmp.Diff(want, token); diff != "" {
				t.Error(diff)
			}
			if left := time.Until(token.Expiry); left < 50*time.Minute || left > time.Hour {
				t.Errorf("expires in %v", left)
			}
			if !token.Has("notes:read") || token.Has("notes") || token.Has("") {
				t.Error("scopes are not compared whole")
			}
		})
	}
}

func TestUnsoundTokensAreRefused(t *testing.T) {
	is := newIssuer(t, jose.ES256)
	stranger := newIssuer(t, jose.ES256)
	v := verifier(is)
	now := time.Now().Unix()
	claim := func(name string, value any) string {
		return is.sign(sound(), func(_, c map[string]any) {
			if value == nil {
				delete(c, name)
			} else {
				c[name] = value
			}
		})
	}
	header := func(name string, value any) string {
		return is.sign(sound(), func(h, _ map[string]any) { h[name] = value })
	}
	unsigned := func() string {
		parts := strings.Split(is.sign(sound(), nil), ".")
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt","kid":"ES256"}`)) + "." + parts[1] + "."
	}
	for name, raw := range map[string]string{
		"nothing":              "",
		"garbage":              "a.b.c",
		"unsigned":             unsigned(),
		"signature changed":    tampered(is.sign(sound(), nil)),
		"signed by a stranger": stranger.sign(sound(), func(_, c map[string]any) { c["iss"] = is.URL }),
		"key of another kind":  header("kid", "RS256"),
		"unknown key":          header("kid", "forged"),
		"no key id":            header("kid", ""),
		"an ID token":          header("typ", "JWT"),
		"no type":              header("typ", ""),
		"another issuer":       claim("iss", stranger.URL),
		"issuer with a slash":  claim("iss", is.URL+"/"),
		"no issuer":            claim("iss", nil),
		"another audience":     claim("aud", audience+"/1"),
		"no audience":          claim("aud", nil),
		"expired":              claim("exp", now-31),
		"no expiry":            claim("exp", nil),
		"not yet valid":        claim("nbf", now+300),
		"issued tomorrow":      claim("iat", now+86400),
		"no subject":           claim("sub", nil),
		"no client":            claim("client_id", nil),
	} {
		_, err := v.Verify(t.Context(), raw)
		var invalid demo.InvalidToken
		if !errors.As(err, &invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := v.Verify(t.Context(), is.sign(sound(), nil)); err != nil {
		t.Errorf("and a sound one: %v", err)
	}
}

func TestKeysAreRememberedAndForgedKeyIDsCauseNoStorm(t *testing.T) {
	is := newIssuer(t, jose.ES256)
	var minutes atomic.Int64
	v := verifier(is)
	start := time.Now()
	v.Now = func() time.Time { return start.Add(time.Duration(minutes.Load()) * time.Minute) }
	check := func(raw string, ok bool, fetches int64) {
		t.Helper()
		if _, err := v.Verify(t.Context(), raw); (err == nil) != ok {
			t.Errorf("minute %d: %v", minutes.Load(), err)
		}
		if got := is.fetches.Load(); got != fetches {
			t.Errorf("minute %d: %d fetches, want %d", minutes.Load(), got, fetches)
		}
	}
	sign := func(kid string) string {
		return is.sign(sound(), func(h, _ map[string]any) { h["kid"] = kid })
	}
	good := sign("ES256")
	check(good, true, 1)
	check(good, true, 1)
	for range 50 {
		check(sign("forged"), false, 1)
	}
	minutes.Store(1)
	check(sign("forged"), false, 2)
	check(sign("forged"), false, 2)
	minutes.Store(4)
	check(good, true, 2)
	minutes.Store(7) // five minutes after the last fetch and more
	check(good, true, 3)
}

func TestAnIssuerThatCannotBeTrustedIsNoReasonToBlameTheToken(t *testing.T) {
	for name, spoil := range map[string]func(*issuer){
		"speaks for another issuer":   func(is *issuer) { is.meta = func(m map[string]any) { m["issuer"] = is.URL + "/" } },
		"keys at another origin":      func(is *issuer) { is.meta = func(m map[string]any) { m["jwks_uri"] = "http://127.0.0.1:1/jwks" } },
		"tokens at another origin":    func(is *issuer) { is.meta = func(m map[string]any) { m["token_endpoint"] = "http://127.0.0.1:1/t" } },
		"no key set":                  func(is *issuer) { is.jwks = func() any { return []int{1} } },
		"an issuer that is not there": func(is *issuer) { is.URL = "http://127.0.0.1:1/z/x" },
	} {
		is := newIssuer(t, jose.ES256)
		spoil(is)
		_, err := verifier(is).Verify(t.Context(), is.sign(sound(), nil))
		var invalid demo.InvalidToken
		if err == nil || errors.As(err, &invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOnlyAGoodAnswerInJSONIsBelieved(t *testing.T) {
	is := newIssuer(t, jose.ES256)
	for name, spoil := range map[string]spoiled{
		"status": func(r *http.Response) { r.StatusCode = 500 },
		"type":   func(r *http.Response) { r.Header.Set("Content-Type", "text/html") },
		"size": func(r *http.Response) {
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader(strings.Repeat(" ", 2<<20)), r.Body))
		},
	} {
		v := verifier(is)
		v.HTTP = &http.Client{Transport: spoil}
		_, err := v.Verify(t.Context(), is.sign(sound(), nil))
		var invalid demo.InvalidToken
		if err == nil || errors.As(err, &invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// spoiled changes every answer on its way.
type spoiled func(*http.Response)

func (s spoiled) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err == nil {
		s(resp)
	}
	return resp, err
}

// Private and encryption keys in a key set sign nothing.
func TestOnlyPublicSigningKeysCount(t *testing.T) {
	is := newIssuer(t, jose.ES256)
	for name, k := range map[string]jose.JSONWebKey{
		"private":    {Key: is.keys[jose.ES256], KeyID: "ES256", Use: "sig"},
		"encryption": {Key: public(is.keys[jose.ES256]), KeyID: "ES256", Use: "enc"},
		"symmetric":  {Key: []byte(strings.Repeat("k", 32)), KeyID: "ES256"},
	} {
		is.jwks = func() any { return map[string]any{"keys": []any{k}} }
		_, err := verifier(is).Verify(t.Context(), is.sign(sound(), nil))
		var invalid demo.InvalidToken
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), "does not publish") {
			t.Errorf("%s: %v", name, err)
		}
	}
	is.jwks = func() any {
		return map[string]any{"keys": []any{jose.JSONWebKey{Key: public(is.keys[jose.ES256]), KeyID: "ES256", Algorithm: "ES384"}}}
	}
	if _, err := verifier(is).Verify(t.Context(), is.sign(sound(), nil)); err == nil || !strings.Contains(err.Error(), "another algorithm") {
		t.Errorf("a key for another algorithm: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6IkVTMjU2In0.e30.AAAA")
	f.Add(`{"payload":"e30","signatures":[]}`)
	v := &demo.Verifier{
		Issuer: "http://127.0.0.1:1/z/x", Audience: audience, Now: time.Now,
		HTTP: &http.Client{Transport: refusing{}},
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if token, err := v.Verify(t.Context(), raw); err == nil {
			t.Fatalf("%q verified as %+v", raw, token)
		}
	})
}

type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("offline") }
