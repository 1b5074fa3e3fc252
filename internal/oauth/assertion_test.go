package oauth_test

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"deputy/internal/deputy"
)

const jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// asserting is an application that proves who it is with keys of its own.
type asserting struct {
	*world
	*app
	site *publisher
	key  *outsideKey
	id   string
}

func newAsserting(t testing.TB) *asserting {
	w := newWorld(t)
	a := &asserting{world: w, app: w.newApp("agent"), site: newPublisher(t), key: newOutsideKey("one", "ES256"), id: "My_MCP_Server"}
	a.site.publish(a.key)
	a.credential = w.insertCredential(a.Application, deputy.PublicKeyCredential, func(c *deputy.Credential) {
		c.Identifier, c.JWKSURI = a.id, a.site.URL+"/jwks.json"
	})
	w.depend(a.app, w.newResource("urn:api", nil))
	return a
}

// claims are those of a good assertion, with another jti each time.
func (a *asserting) claims(pairs ...any) map[string]any {
	now := a.clock.Now()
	return with(map[string]any{
		"iss": a.id, "sub": a.id, "aud": a.issuer() + "/oauth/2/token", "jti": string(a.world.id()),
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}, pairs...)
}

// as sends a form with an assertion.
func (a *asserting) as(assertion string, pairs ...string) *answer {
	a.Helper()
	return a.asTo("/oauth/2/token", assertion, append([]string{"grant_type", "client_credentials", "resource", "urn:api"}, pairs...)...)
}

func (a *asserting) asTo(path, assertion string, pairs ...string) *answer {
	a.Helper()
	return a.postTo(path, nil, form(append([]string{"client_assertion_type", jwtBearer, "client_assertion", assertion}, pairs...)...))
}

func TestPrivateKeyJWT(t *testing.T) {
	t.Parallel()
	a := newAsserting(t)
	for _, alg := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		key := newOutsideKey(alg, alg)
		a.site.publish(a.key, key)
		a.clock.advance(10 * time.Minute)
		got := a.must(a.as(key.token(a.claims())), 200, "")
		if claims := a.payload(got.text("access_token")); claims["client_id"] != a.id || claims["sub"] != a.Identifier {
			t.Errorf("%s: the token is %v", alg, claims)
		}
		if e := a.lastEvent(); e.ClientID != a.id || e.CredentialID != a.credential.ID {
			t.Errorf("%s: the event is %+v", alg, e)
		}
	}
	a.site.publish(a.key)
	a.clock.advance(10 * time.Minute)
	for name, claims := range map[string]map[string]any{
		"the issuer":            a.claims("aud", a.issuer()),
		"a list":                a.claims("aud", []string{"https://other.test", a.issuer()}),
		"an endpoint's alias":   a.claims("aud", a.issuer()+"/oauth2/token"),
		"the PAR endpoint":      a.claims("aud", a.issuer()+"/oauth/2/par"),
		"introspection":         a.claims("aud", a.issuer()+"/oauth/2/introspect"),
		"revocation":            a.claims("aud", a.issuer()+"/oauth/2/revoke"),
		"without jti":           a.claims("jti", nil),
		"without iat":           a.claims("iat", nil),
		"an end that is broken": a.claims("exp", float64(a.clock.Now().Unix())+299.5),
		"a clock that is ahead": a.claims("iat", a.clock.Now().Add(59*time.Second).Unix(), "nbf", a.clock.Now().Add(59*time.Second).Unix()),
		"for an hour":           a.claims("exp", a.clock.Now().Add(time.Hour).Unix()),
	} {
		if got := a.as(a.key.token(claims)); got.status != 200 {
			t.Errorf("%s: %s", name, got)
		}
	}
	for _, typ := range []string{"JWT", "jwt", "client-authentication+jwt"} {
		a.must(a.as(a.key.sign(map[string]any{"alg": "ES256", "kid": "one", "typ": typ}, a.claims())), 200, "")
	}
	a.must(a.as(a.key.token(a.claims()), "client_id", a.id), 200, "")
	a.must(a.as(a.key.sign(map[string]any{"alg": "ES256"}, a.claims())), 200, "") // the only key
	if n := a.site.fetched("/jwks.json"); n > 12 {
		t.Errorf("the keys were fetched %d times", n)
	}
}

// Whatever may be wrong with an assertion: each is a 401 that does not say why,
// and no event of the client that it pretends to be from.
func TestForgedAssertions(t *testing.T) {
	t.Parallel()
	a := newAsserting(t)
	rs, other := newOutsideKey("rs", "RS256"), newOutsideKey("other", "ES256")
	weak := &outsideKey{kid: "weak", alg: "RS256", private: shortKey()}
	encryption, unusual := newOutsideKey("enc", "ES256"), newOutsideKey("unusual", "ES384")
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{encryption.jwk(), a.key.jwk(), rs.jwk(), weak.jwk(), unusual.jwk(), newOutsideKey("two", "ES256").jwk()}}
	set.Keys[0].Use = "enc"
	a.site.put("/jwks.json", set)
	a.must(a.as(rs.token(a.claims())), 200, "")

	rsaPublic := rs.private.Public().(*rsa.PublicKey)
	der := must(x509.MarshalPKIXPublicKey(rsaPublic))
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	good, now := a.claims(), a.clock.Now()
	header := func(pairs ...any) map[string]any { return with(map[string]any{"alg": "ES256", "kid": "one"}, pairs...) }
	es := func(header any, claims any) string {
		return jws(header, claims, func(in []byte) []byte { return a.key.signature("ES256", in) })
	}
	nothing := func([]byte) []byte { return nil }
	whole := a.key.token(good)
	parts := strings.Split(whole, ".")
	otherZone, _, _ := a.newZone(a.organization, deputy.PathIssuer)
	public := a.newApp("plain")
	for _, c := range []struct {
		name, assertion string
		more            []string
	}{
		{"alg none", jws(header("alg", "none"), good, nothing), nil},
		{"alg NONE", jws(header("alg", "NONE"), good, nothing), nil},
		{"alg none, signed", es(header("alg", "none"), good), nil},
		{"no alg", es(header("alg", nil), good), nil},
		{"alg empty", es(header("alg", ""), good), nil},
		{"alg es256", es(header("alg", "es256"), good), nil},
		{"HMAC with the public key in PEM", jws(map[string]any{"alg": "HS256", "kid": "rs"}, good, hs256(publicPEM)), nil},
		{"HMAC with the public key in DER", jws(map[string]any{"alg": "HS256", "kid": "rs"}, good, hs256(der)), nil},
		{"HMAC with the modulus", jws(map[string]any{"alg": "HS256", "kid": "rs"}, good, hs256(rsaPublic.N.Bytes())), nil},
		{"HMAC with nothing", jws(map[string]any{"alg": "HS256", "kid": "rs"}, good, hs256(nil)), nil},
		{"RSA for EC", rs.sign(header("kid", "one", "alg", "RS256"), good), nil},
		{"EC for RSA", es(header("kid", "rs"), good), nil},
		{"EC signature under RS256", es(header("kid", "rs", "alg", "RS256"), good), nil},
		{"PSS with an RS256 key", rs.sign(header("kid", "rs", "alg", "PS256"), good), nil},
		{"an algorithm of workloads", rs.sign(header("kid", "rs", "alg", "RS512"), good), nil},
		{"an algorithm of workloads, with its key", unusual.token(good), nil},
		{"a short RSA key", weak.token(good), nil},
		{"a key for encryption", encryption.token(good), nil},
		{"an unpublished key", other.token(good), nil},
		{"an unpublished key under a published id", other.sign(header(), good), nil},
		{"no kid among several", es(header("kid", nil), good), nil},
		{"kid empty", es(header("kid", ""), good), nil},
		{"kid twice", es(`{"alg":"ES256","kid":"rs","kid":"one"}`, good), nil},
		{"kid in another case", es(header("kid", "ONE"), good), nil},
		{"kid is a path", es(header("kid", "../../../dev/null"), good), nil},
		{"kid is a query", es(header("kid", "one' OR '1'='1"), good), nil},
		{"kid is an address", es(header("kid", a.site.URL+"/jwks.json"), good), nil},
		{"kid is a number", es(header("kid", 1), good), nil},
		{"alg twice", es(`{"alg":"none","alg":"ES256","kid":"one"}`, good), nil},
		{"its own key in jwk", other.sign(map[string]any{"alg": "ES256", "jwk": other.jwk()}, good), nil},
		{"its own key at jku", other.sign(map[string]any{"alg": "ES256", "kid": "other", "jku": a.site.URL + "/mine.json"}, good), nil},
		{"its own certificate in x5c", other.sign(map[string]any{"alg": "ES256", "x5c": []string{"MIIB"}}, good), nil},
		{"crit", es(header("crit", []string{"exp"}, "exp", 1), good), nil},
		{"crit empty", es(header("crit", []string{}), good), nil},
		{"b64", es(header("crit", []string{"b64"}, "b64", false), good), nil},
		{"typ of an access token", es(header("typ", "at+jwt"), good), nil},
		{"typ of a logout token", es(header("typ", "logout+jwt"), good), nil},
		{"typ of a DPoP proof", es(header("typ", "dpop+jwt"), good), nil},
		{"typ of an impersonation", es(header("typ", "vnd.kc.su+jwt"), good), nil},
		{"typ is a number", es(header("typ", 1), good), nil},
		{"no aud", a.key.token(a.claims("aud", nil)), nil},
		{"aud empty", a.key.token(a.claims("aud", "")), nil},
		{"aud null", es(header(), strings.Replace(`{"iss":"ID","sub":"ID","aud":null,"exp":`+fmt.Sprint(now.Unix()+60)+`}`, "ID", a.id, 2)), nil},
		{"aud an empty list", a.key.token(a.claims("aud", []string{})), nil},
		{"aud of another server", a.key.token(a.claims("aud", "https://other.test")), nil},
		{"aud of another zone", a.key.token(a.claims("aud", a.config.Addresses.Issuer(otherZone))), nil},
		{"aud is a beginning of the issuer", a.key.token(a.claims("aud", publicURL)), nil},
		{"aud with a slash more", a.key.token(a.claims("aud", a.issuer()+"/")), nil},
		{"aud in another case", a.key.token(a.claims("aud", strings.ToUpper(a.issuer()))), nil},
		{"aud is another path", a.key.token(a.claims("aud", a.issuer()+"/oauth/2/authorize")), nil},
		{"aud is a path behind dots", a.key.token(a.claims("aud", a.issuer()+"/x/../oauth/2/token")), nil},
		{"aud with a query", a.key.token(a.claims("aud", a.issuer()+"/oauth/2/token?x")), nil},
		{"aud is another client", a.key.token(a.claims("aud", public.credential.Identifier)), nil},
		{"aud is the client, without jti", a.key.token(a.claims("aud", a.id, "jti", nil)), nil},
		{"aud is a number", a.key.token(a.claims("aud", 1)), nil},
		{"no iss", a.key.token(a.claims("iss", nil)), nil},
		{"no sub", a.key.token(a.claims("sub", nil)), nil},
		{"neither", a.key.token(a.claims("iss", nil, "sub", nil)), nil},
		{"iss another", a.key.token(a.claims("iss", "other")), nil},
		{"sub another", a.key.token(a.claims("sub", public.credential.Identifier)), nil},
		{"another client altogether", a.key.token(a.claims("iss", public.credential.Identifier, "sub", public.credential.Identifier)), nil},
		{"an unknown client", a.key.token(a.claims("iss", "nobody", "sub", "nobody")), nil},
		{"sub twice", es(header(), `{"iss":"x","sub":"x","sub":"`+a.id+`","iss":"`+a.id+`"}`), nil},
		{"sub is a number", a.key.token(a.claims("iss", 1, "sub", 1)), nil},
		{"client_id of another", a.key.token(a.claims()), []string{"client_id", public.credential.Identifier}},
		{"client_id of nobody", a.key.token(a.claims()), []string{"client_id", "nobody"}},
		{"no exp", a.key.token(a.claims("exp", nil)), nil},
		{"expired", a.key.token(a.claims("exp", now.Unix())), nil},
		{"expired long ago", a.key.token(a.claims("exp", 1)), nil},
		{"exp negative", a.key.token(a.claims("exp", -1e30)), nil},
		{"exp is a text", a.key.token(a.claims("exp", "9999999999")), nil},
		{"for more than an hour", a.key.token(a.claims("exp", now.Add(time.Hour+2*time.Minute).Unix())), nil},
		{"for ever", a.key.token(a.claims("exp", 1e300)), nil},
		{"not good yet", a.key.token(a.claims("nbf", now.Add(2*time.Minute).Unix())), nil},
		{"from the future", a.key.token(a.claims("iat", now.Add(2*time.Minute).Unix())), nil},
		{"jti is a number", a.key.token(a.claims("jti", 1)), nil},
		{"other claims", parts[0] + "." + strings.Split(a.key.token(a.claims("iat", 1)), ".")[1] + "." + parts[2], nil},
		{"no signature", parts[0] + "." + parts[1] + ".", nil},
		{"a part less", parts[0] + "." + parts[1], nil},
		{"a part more", whole + ".x", nil},
		{"signature cut", whole[:len(whole)-4], nil},
		{"signature of zeroes", jws(header(), good, func([]byte) []byte { return make([]byte, 64) }), nil},
		{"a signature in DER", jws(header(), good, func(in []byte) []byte { return append([]byte{0x30, 0x44}, a.key.signature("ES256", in)...) }), nil},
		{"white space", " " + whole, nil},
		{"a line end inside", parts[0] + "." + parts[1] + ".\n" + parts[2], nil},
		{"padded", parts[0] + "." + parts[1] + "." + parts[2] + "==", nil},
		{"JSON serialization", `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`, nil},
		{"oversized", a.key.token(a.claims("padding", strings.Repeat("x", 16<<10))), nil},
		{"claims are no object", es(header(), `[]`), nil},
		{"claims are no JSON", es(header(), `{`), nil},
		{"header is no object", es(`[]`, good), nil},
		{"not UTF-8", es(header(), "{\"iss\":\"\xff\"}"), nil},
		{"nothing but dots", "..", nil},
		{"an access token of the zone", a.sign(deputy.ES256, "at+jwt", good), nil},
		{"an ID token of the zone", a.sign(deputy.ES256, "JWT", good), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(a.events("credentials:issue"))
			got := a.as(c.assertion, c.more...)
			if got.status != 401 && got.status != 429 || got.status == 401 && (got.text("error") != "invalid_client" || got.text("error_description") != "Client authentication failed.") {
				t.Fatalf("got %s", got)
			}
			if n := len(a.events("credentials:issue")); n != before {
				t.Error("a forged assertion left an event of its client")
			}
		})
	}
	a.must(a.as(whole), 200, "") // it was none of their fault
	for name, f := range map[string]url.Values{
		"without its type":     form("client_assertion", a.key.token(a.claims())),
		"with another type":    form("client_assertion", a.key.token(a.claims()), "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"),
		"without an assertion": form("client_assertion_type", jwtBearer),
	} {
		f.Set("grant_type", "client_credentials")
		if got := a.post(nil, f); got.status != 401 {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestAssertionsAreGoodOnce(t *testing.T) {
	t.Parallel()
	a := newAsserting(t)
	first := a.key.token(a.claims("jti", "one"))
	a.must(a.as(first), 200, "")
	a.must(a.as(first), 401, "invalid_client")
	a.must(a.as(a.key.token(a.claims("jti", "one"))), 401, "invalid_client") // another one with its name
	a.restart()
	a.must(a.as(first), 401, "invalid_client") // at another node
	for range 2 {
		a.must(a.as(a.key.token(a.claims("jti", nil))), 200, "")
	}
	// One that was refused for another reason is used up as well.
	denied := a.key.token(a.claims("jti", "two"))
	a.must(a.as(denied, "resource", "urn:unknown"), 400, "invalid_target")
	a.must(a.as(denied), 401, "invalid_client")
	events := len(a.events("credentials:issue"))
	for _, path := range []string{"/oauth/2/introspect", "/oauth/2/revoke", "/oauth/2/par"} {
		assertion := a.key.token(a.claims("aud", a.issuer()+path))
		more := []string{"token", "x", "response_type", "code", "resource", "urn:api"}
		if got := a.asTo(path, assertion, more...); got.status == 401 {
			t.Errorf("%s: %s", path, got)
		}
		a.must(a.asTo(path, assertion, more...), 401, "invalid_client")
		a.must(a.as(assertion), 401, "invalid_client")
		a.must(a.asTo(path, first, more...), 401, "invalid_client")
	}
	if n := len(a.events("credentials:issue")); n != events {
		t.Errorf("%d replays are events of the client", n-events)
	}
	// Of a client's own name, per client.
	twin := a.insertCredential(a.Application, deputy.PublicKeyCredential, func(c *deputy.Credential) {
		c.Identifier, c.JWKSURI = "twin", a.site.URL+"/jwks.json"
	})
	a.must(a.as(a.key.token(a.claims("jti", "one", "iss", twin.Identifier, "sub", twin.Identifier))), 200, "")
	// At the same time.
	again := a.key.token(a.claims())
	var wait sync.WaitGroup
	statuses := make(chan int, 8)
	for range cap(statuses) {
		wait.Go(func() { statuses <- a.as(again).status })
	}
	wait.Wait()
	close(statuses)
	good := 0
	for status := range statuses {
		if status == 200 {
			good++
		}
	}
	if good != 1 {
		t.Errorf("%d of 8 with the same assertion got a token", good)
	}
}

// One official SDK addresses its assertions to the client itself.
func TestAssertionsToTheClientItself(t *testing.T) {
	t.Parallel()
	a := newAsserting(t)
	own := a.key.token(a.claims("aud", a.id))
	a.must(a.as(own), 200, "")
	a.must(a.as(own), 401, "invalid_client")
	a.config.StrictAudience = true
	a.restart()
	a.must(a.as(a.key.token(a.claims("aud", a.id))), 401, "invalid_client")
	a.must(a.as(a.key.token(a.claims())), 200, "")
}

func TestKeysAreFetchedWithMeasure(t *testing.T) {
	t.Parallel()
	a := newAsserting(t)
	const path = "/jwks.json"
	a.must(a.as(a.key.token(a.claims())), 200, "")
	a.must(a.as(a.key.token(a.claims())), 200, "")
	if n := a.site.fetched(path); n != 1 {
		t.Fatalf("%d fetches for two good assertions", n)
	}
	for i := range 50 { // unknown keys cost one fetch a minute
		a.must(a.as(newOutsideKey(fmt.Sprint("made up ", i), "ES256").token(a.claims())), 401, "invalid_client")
	}
	if n := a.site.fetched(path); n != 2 {
		t.Errorf("%d fetches after 50 unknown key ids", n)
	}
	next := newOutsideKey("two", "ES256")
	a.site.publish(a.key, next)
	a.must(a.as(next.token(a.claims())), 401, "invalid_client")
	a.clock.advance(time.Minute)
	a.must(a.as(next.token(a.claims())), 200, "") // the keys were rotated
	a.site.publish(next)
	a.clock.advance(5 * time.Minute)
	a.must(a.as(a.key.token(a.claims())), 401, "invalid_client") // taken back
	a.site.put(path, nil)
	a.clock.advance(time.Minute)
	a.must(a.as(next.token(a.claims())), 200, "") // still remembered
	a.clock.advance(10 * time.Minute)
	a.must(a.as(next.token(a.claims())), 401, "invalid_client")
}

// Whoever looks for why a client cannot prove itself finds it in the log.
func TestWhyAnAssertionFailed(t *testing.T) {
	t.Parallel()
	a := newAsserting(t)
	for want, assertion := range map[string]string{
		"expired":                a.key.token(a.claims("exp", 1)),
		`no key of the issuer's`: newOutsideKey("x", "ES256").token(a.claims()),
		"somebody else":          a.key.token(a.claims("aud", "https://other.test")),
	} {
		a.must(a.as(assertion), 401, "invalid_client")
		a.server.Close() // writes the summaries
		all := a.events("clients:authenticate")
		if e := all[len(all)-1]; !strings.Contains(e.ErrorDetail, want) || e.Error != "invalid_client" {
			t.Errorf("the summary says %q, not %q", e.ErrorDetail, want)
		}
		a.restart()
	}
	a.site.Close()
	a.clock.advance(10 * time.Minute)
	a.must(a.as(a.key.token(a.claims())), 401, "invalid_client")
	a.server.Close()
	all := a.events("clients:authenticate")
	if e := all[len(all)-1]; !strings.HasSuffix(e.ErrorDetail, "cannot be reached") {
		t.Errorf("the summary of a site that is down says %q", e.ErrorDetail)
	}
}

func TestAssertionOfWhoIsGone(t *testing.T) {
	t.Parallel()
	a := newAsserting(t)
	a.must(a.as(a.key.token(a.claims())), 200, "")
	a.write(a.zone.ID, func(ctx context.Context, tx deputy.Tx) error {
		return tx.Credentials().Delete(ctx, a.in(), deputy.ID(a.credential.ID))
	})
	a.must(a.as(a.key.token(a.claims())), 401, "invalid_client")
}

// Keys of odd sets are passed over, and do not hide the good ones.
func TestOddKeySets(t *testing.T) {
	t.Parallel()
	a := newAsserting(t)
	good := string(must(a.key.jwk().MarshalJSON()))
	private := string(must(jose.JSONWebKey{Key: a.key.private, KeyID: "one", Algorithm: "ES256"}.MarshalJSON()))
	for name, c := range map[string]struct {
		set    string
		status int
	}{
		"unknown kinds beside": {`{"keys":[{"kty":"AKP","kid":"one"},{"kty":"oct","k":"AAAA","kid":"one"},7,` + good + `]}`, 200},
		"the key twice":        {`{"keys":[` + good + `,` + good + `]}`, 200},
		"without id":           {`{"keys":[` + strings.Replace(good, `"kid":"one",`, "", 1) + `]}`, 200},
		"a secret":             {`{"keys":[{"kty":"oct","k":"AAAA","kid":"one"}]}`, 401},
		"a private key":        {`{"keys":[` + private + `]}`, 401},
		"not on the curve":     {`{"keys":[` + strings.Replace(good, `"x":"`, `"x":"AAAA`, 1) + `]}`, 401},
		"no keys":              {`{"keys":[]}`, 401},
		"keys twice":           {`{"keys":[],"keys":[` + good + `]}`, 401},
		"no JSON":              {`<html>`, 401},
		"too long":             {`{"keys":[` + good + `],"x":"` + strings.Repeat("x", 64<<10) + `"}`, 401},
	} {
		a.site.put("/jwks.json", c.set)
		a.clock.advance(10 * time.Minute)
		if got := a.as(a.key.token(a.claims())); got.status != c.status {
			t.Errorf("%s: %s", name, got)
		}
	}
}
