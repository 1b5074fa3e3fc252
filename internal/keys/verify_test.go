package keys_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"deputy/internal/deputy"
	"deputy/internal/keys"
)

func encode(b string) string { return base64.RawURLEncoding.EncodeToString([]byte(b)) }

// forge assembles a token from header and payload text and a signature made of
// its signing input.
func forge(head, body string, sign func(input []byte) []byte) string {
	input := encode(head) + "." + encode(body)
	return input + "." + encode(string(sign([]byte(input))))
}

func head(alg, kid string) string {
	return `{"alg":"` + alg + `","kid":"` + kid + `","typ":"at+jwt"}`
}

// es256 signs as ES256 does, by another way than the code under test.
func es256(t testing.TB, key *ecdsa.PrivateKey) func([]byte) []byte {
	return func(input []byte) []byte {
		digest := sha256.Sum256(input)
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
}

func rs256(t testing.TB, key *rsa.PrivateKey) func([]byte) []byte {
	return func(input []byte) []byte {
		digest := sha256.Sum256(input)
		signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
}

func hs256(secret []byte) func([]byte) []byte {
	return func(input []byte) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write(input)
		return mac.Sum(nil)
	}
}

func always(signature []byte) func([]byte) []byte {
	return func([]byte) []byte { return signature }
}

// TestForgeryWorks: what the refusals below are built with makes good tokens
// when nothing is wrong.
func TestForgeryWorks(t *testing.T) {
	f := zone(t)
	for name, token := range map[string]string{
		"ES256": forge(head("ES256", f.ec.ID), payload, es256(t, f.ecPrivate)),
		"RS256": forge(head("RS256", f.rsa.ID), payload, rs256(t, f.rsaPrivate)),
	} {
		got, _, err := f.set(t, start).Verify(start, token, "JWT", "at+jwt")
		if err != nil || string(got) != payload {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestEachAlgorithmIsItsKeysOwn(t *testing.T) {
	f := zone(t)
	spki, err := x509.MarshalPKIXPublicKey(&f.rsaPrivate.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})
	pss := func(input []byte) []byte {
		digest := sha256.Sum256(input)
		signature, err := rsa.SignPSS(rand.Reader, f.rsaPrivate, crypto.SHA256, digest[:], nil)
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
	rs512 := func(input []byte) []byte {
		digest := sha512.Sum512(input)
		signature, err := rsa.SignPKCS1v15(nil, f.rsaPrivate, crypto.SHA512, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
	es256DER := func(input []byte) []byte {
		digest := sha256.Sum256(input)
		signature, err := ecdsa.SignASN1(rand.Reader, f.ecPrivate, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
	refuseAll(t, f.set(t, start), map[string]string{
		"none":                           forge(head("none", f.rsa.ID), payload, always(nil)),
		"None":                           forge(head("None", f.rsa.ID), payload, always(nil)),
		"none with a true signature":     forge(head("none", f.ec.ID), payload, es256(t, f.ecPrivate)),
		"no alg":                         forge(`{"kid":"`+f.ec.ID+`","typ":"at+jwt"}`, payload, es256(t, f.ecPrivate)),
		"empty alg":                      forge(head("", f.ec.ID), payload, es256(t, f.ecPrivate)),
		"HS256 keyed with the PEM":       forge(head("HS256", f.rsa.ID), payload, hs256(publicPEM)),
		"HS256 keyed with the DER":       forge(head("HS256", f.rsa.ID), payload, hs256(spki)),
		"HS256 keyed with the modulus":   forge(head("HS256", f.rsa.ID), payload, hs256(f.rsaPrivate.N.Bytes())),
		"HS256 keyed with the JWK":       forge(head("HS256", f.rsa.ID), payload, hs256(f.rsa.Public)),
		"HS256 keyed with nothing":       forge(head("HS256", f.ec.ID), payload, hs256(nil)),
		"PS256":                          forge(head("PS256", f.rsa.ID), payload, pss),
		"PSS called RS256":               forge(head("RS256", f.rsa.ID), payload, pss),
		"RS512":                          forge(head("RS512", f.rsa.ID), payload, rs512),
		"RS512 called RS256":             forge(head("RS256", f.rsa.ID), payload, rs512),
		"RS256 signature called ES256":   forge(head("ES256", f.rsa.ID), payload, rs256(t, f.rsaPrivate)),
		"ES256 signature called RS256":   forge(head("RS256", f.ec.ID), payload, es256(t, f.ecPrivate)),
		"ES256 signature, the RSA kid":   forge(head("ES256", f.rsa.ID), payload, es256(t, f.ecPrivate)),
		"RS256 signature, the EC kid":    forge(head("RS256", f.ec.ID), payload, rs256(t, f.rsaPrivate)),
		"ES256 in DER":                   forge(head("ES256", f.ec.ID), payload, es256DER),
		"ES256 r and s zero":             forge(head("ES256", f.ec.ID), payload, always(make([]byte, 64))),
		"ES256 r and s the order":        forge(head("ES256", f.ec.ID), payload, always(bytes.Repeat(f.ecPrivate.Params().N.Bytes(), 2))),
		"ES256 signature empty":          forge(head("ES256", f.ec.ID), payload, always(nil)),
		"ES256 signature of 63 bytes":    forge(head("ES256", f.ec.ID), payload, always(make([]byte, 63))),
		"ES256 signature of 65 bytes":    forge(head("ES256", f.ec.ID), payload, func(b []byte) []byte { return append(es256(t, f.ecPrivate)(b), 0) }),
		"ES256 zero in front":            forge(head("ES256", f.ec.ID), payload, func(b []byte) []byte { return append([]byte{0}, es256(t, f.ecPrivate)(b)...) }),
		"RS256 signature empty":          forge(head("RS256", f.rsa.ID), payload, always(nil)),
		"RS256 signature one":            forge(head("RS256", f.rsa.ID), payload, always(big.NewInt(1).FillBytes(make([]byte, 256)))),
		"RS256 zero in front":            forge(head("RS256", f.rsa.ID), payload, func(b []byte) []byte { return append([]byte{0}, rs256(t, f.rsaPrivate)(b)...) }),
		"alg in lower case":              forge(head("es256", f.ec.ID), payload, es256(t, f.ecPrivate)),
		"alg not text":                   forge(`{"alg":["ES256"],"kid":"`+f.ec.ID+`","typ":"at+jwt"}`, payload, es256(t, f.ecPrivate)),
		"another zone's key, its kid":    forge(head("ES256", f.other.ID), payload, es256(t, f.otherPrivate)),
		"another zone's key, our kid":    forge(head("ES256", f.ec.ID), payload, es256(t, f.otherPrivate)),
		"signature of another payload":   forge(head("ES256", f.ec.ID), payload, always(es256(t, f.ecPrivate)([]byte(encode(head("ES256", f.ec.ID))+"."+encode("{}"))))),
		"signature of the payload alone": forge(head("ES256", f.ec.ID), payload, always(es256(t, f.ecPrivate)([]byte(payload)))),
	})
}

func TestOnlyOurHeadersPass(t *testing.T) {
	f := zone(t)
	kid := f.ec.ID
	public := string(f.ec.Public)
	table := map[string]string{}
	for name, head := range map[string]string{
		"no kid":                 `{"alg":"ES256","typ":"at+jwt"}`,
		"empty kid":              `{"alg":"ES256","kid":"","typ":"at+jwt"}`,
		"null kid":               `{"alg":"ES256","kid":null,"typ":"at+jwt"}`,
		"kid a number":           `{"alg":"ES256","kid":1,"typ":"at+jwt"}`,
		"kid a list":             `{"alg":"ES256","kid":["` + kid + `"],"typ":"at+jwt"}`,
		"kid of nobody":          `{"alg":"ES256","kid":"x","typ":"at+jwt"}`,
		"kid in upper case":      `{"alg":"ES256","kid":"` + strings.ToUpper(kid) + `","typ":"at+jwt"}`,
		"kid with a space":       `{"alg":"ES256","kid":"` + kid + ` ","typ":"at+jwt"}`,
		"kid with a zero byte":   `{"alg":"ES256","kid":"` + kid + `\u0000","typ":"at+jwt"}`,
		"kid a path":             `{"alg":"ES256","kid":"../../../dev/null","typ":"at+jwt"}`,
		"kid a query":            `{"alg":"ES256","kid":"' OR 1=1 --","typ":"at+jwt"}`,
		"kid twice":              `{"alg":"ES256","kid":"x","kid":"` + kid + `","typ":"at+jwt"}`,
		"alg twice":              `{"alg":"none","alg":"ES256","kid":"` + kid + `","typ":"at+jwt"}`,
		"typ twice":              `{"alg":"ES256","kid":"` + kid + `","typ":"JWT","typ":"at+jwt"}`,
		"alg twice, escaped":     `{"alg":"ES256","\u0061lg":"ES256","kid":"` + kid + `","typ":"at+jwt"}`,
		"names in upper case":    `{"ALG":"ES256","KID":"` + kid + `","TYP":"at+jwt"}`,
		"crit":                   `{"alg":"ES256","crit":["exp"],"exp":1,"kid":"` + kid + `","typ":"at+jwt"}`,
		"empty crit":             `{"alg":"ES256","crit":[],"kid":"` + kid + `","typ":"at+jwt"}`,
		"b64":                    `{"alg":"ES256","b64":false,"crit":["b64"],"kid":"` + kid + `","typ":"at+jwt"}`,
		"jwk":                    `{"alg":"ES256","jwk":` + public + `,"kid":"` + kid + `","typ":"at+jwt"}`,
		"jku":                    `{"alg":"ES256","jku":"https://evil.example/jwks","kid":"` + kid + `","typ":"at+jwt"}`,
		"x5u":                    `{"alg":"ES256","x5u":"https://evil.example/crt","kid":"` + kid + `","typ":"at+jwt"}`,
		"x5c":                    `{"alg":"ES256","x5c":["AAAA"],"kid":"` + kid + `","typ":"at+jwt"}`,
		"zip":                    `{"alg":"ES256","zip":"DEF","kid":"` + kid + `","typ":"at+jwt"}`,
		"enc":                    `{"alg":"ES256","enc":"A256GCM","kid":"` + kid + `","typ":"at+jwt"}`,
		"no typ":                 `{"alg":"ES256","kid":"` + kid + `"}`,
		"empty typ":              `{"alg":"ES256","kid":"` + kid + `","typ":""}`,
		"null typ":               `{"alg":"ES256","kid":"` + kid + `","typ":null}`,
		"typ of an ID token":     `{"alg":"ES256","kid":"` + kid + `","typ":"JWT"}`,
		"typ of a logout token":  `{"alg":"ES256","kid":"` + kid + `","typ":"logout+jwt"}`,
		"typ in upper case":      `{"alg":"ES256","kid":"` + kid + `","typ":"AT+JWT"}`,
		"typ with its tree":      `{"alg":"ES256","kid":"` + kid + `","typ":"application/at+jwt"}`,
		"two values":             `{"alg":"ES256","kid":"` + kid + `","typ":"at+jwt"}{}`,
		"text after the value":   `{"alg":"ES256","kid":"` + kid + `","typ":"at+jwt"}x`,
		"a list":                 `["ES256"]`,
		"null":                   `null`,
		"no value":               ``,
		"not JSON":               `alg=ES256`,
		"invalid UTF-8":          `{"alg":"ES256","kid":"` + kid + `","typ":"at+jwt` + "\xff" + `"}`,
		"byte order mark":        "\ufeff" + `{"alg":"ES256","kid":"` + kid + `","typ":"at+jwt"}`,
		"a member never written": `{"alg":"ES256","kid":"` + kid + `","typ":"at+jwt","x":1}`,
	} {
		table[name] = forge(head, payload, es256(t, f.ecPrivate))
	}
	refuseAll(t, f.set(t, start), table)
}

func TestATokenHasOneForm(t *testing.T) {
	f := zone(t)
	good, err := f.ecSigner.Sign("at+jwt", []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	p := strings.Split(good, ".")
	table := map[string]string{
		"nothing":                   "",
		"dots":                      "..",
		"one part":                  p[0],
		"two parts":                 p[0] + "." + p[1],
		"four parts":                good + ".",
		"four parts in front":       "." + good,
		"five parts":                good + ".." + p[2],
		"no header":                 "." + p[1] + "." + p[2],
		"no payload":                p[0] + ".." + p[2],
		"no signature":              p[0] + "." + p[1] + ".",
		"padding":                   good + "==",
		"padding of the header":     p[0] + "=." + p[1] + "." + p[2],
		"standard alphabet":         p[0] + "." + p[1] + "." + strings.Repeat("+/", 43),
		"space in front":            " " + good,
		"space behind":              good + " ",
		"line end behind":           good + "\n",
		"line end in the signature": p[0] + "." + p[1] + "." + p[2][:9] + "\r\n" + p[2][9:],
		"bearer":                    "Bearer " + good,
		"detached content":          p[0] + ".." + p[2],
		"JSON":                      `{"payload":"` + p[1] + `","protected":"` + p[0] + `","signature":"` + p[2] + `"}`,
		"altered payload":           p[0] + "." + encode(strings.Replace(payload, `"a"`, `"b"`, 1)) + "." + p[2],
		"cut payload":               p[0] + "." + p[1][:len(p[1])-4] + "." + p[2],
		"swapped":                   p[1] + "." + p[0] + "." + p[2],
	}
	// The last character carries bits that encode nothing: 64 bytes leave four.
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, good[len(good)-1])
	table["loose bits"] = good[:len(good)-1] + alphabet[last^1:][:1]
	for i := range good {
		table["character "+good[:i]+"*"] = good[:i] + "*" + good[i+1:]
	}
	refuseAll(t, f.set(t, start), table)

	// Line ends that were signed: the decoder would skip them.
	input := p[0][:4] + "\n" + p[0][4:] + "." + p[1]
	refuseAll(t, f.set(t, start), map[string]string{
		"signed line end":    input + "." + encode(string(es256(t, f.ecPrivate)([]byte(input)))),
		"signed odd payload": p[0] + ".*." + encode(string(es256(t, f.ecPrivate)([]byte(p[0]+".*")))),
	})
}

func TestATypeMustBeAskedFor(t *testing.T) {
	f := zone(t)
	for _, typ := range []string{"JWT", "at+jwt", "logout+jwt"} {
		token, err := f.ecSigner.Sign(typ, []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		set := f.set(t, start)
		if _, _, err := set.Verify(start, token, "x", typ); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
		for _, typs := range [][]string{nil, {"x"}, {typ + "x"}, {""}} {
			if _, _, err := set.Verify(start, token, typs...); !errors.Is(err, deputy.Unauthenticated) {
				t.Errorf("%s passes for %q", typ, typs)
			}
		}
	}
}

func TestRetiredKeysVerifyFor25Hours(t *testing.T) {
	f := zone(t)
	token, err := f.ecSigner.Sign("at+jwt", []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	retired := f.ec
	at := start.Add(100 * 24 * time.Hour)
	retired.State, retired.RetiredAt = deputy.KeyRetired, &at
	end := at.Add(25 * time.Hour)

	set := f.set(t, at, f.rsa, retired)
	if _, _, err := set.Verify(end.Add(-1), token, "at+jwt"); err != nil {
		t.Errorf("just before the end: %v", err)
	}
	if _, _, err := set.Verify(end, token, "at+jwt"); !errors.Is(err, deputy.Unauthenticated) {
		t.Errorf("at the end: %v", err)
	}
	if !strings.Contains(string(set.JWKS()), f.ec.ID) {
		t.Error("a retired key is not published")
	}
	late := f.set(t, end, f.rsa, retired)
	if strings.Contains(string(late.JWKS()), f.ec.ID) {
		t.Error("a key past its retention is published")
	}
	if _, _, err := late.Verify(start, token, "at+jwt"); err == nil {
		t.Error("a key past its retention verifies")
	}
	next := f.ec
	next.State, next.ActivatedAt = deputy.KeyNext, nil
	if !strings.Contains(string(f.set(t, start, next).JWKS()), f.ec.ID) {
		t.Error("the next key is not published")
	}
}

// refuseAll checks that no token passes, and that nothing of it is in the
// error, which the caller may see.
func refuseAll(t *testing.T, set *keys.Set, tokens map[string]string) {
	t.Helper()
	for name, token := range tokens {
		got, kid, err := set.Verify(start, token, "at+jwt")
		if !errors.Is(err, deputy.Unauthenticated) || got != nil || kid != "" {
			t.Errorf("%s: %q, %q, %v", name, got, kid, err)
			continue
		}
		if !strings.HasPrefix(err.Error(), "the token") || len(err.Error()) > 60 {
			t.Errorf("%s: message %q", name, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	z := zone(f)
	set := z.set(f, start)
	signed := map[string]bool{} // header and payload of what was signed
	for _, signer := range []*keys.Signer{z.ecSigner, z.rsaSigner} {
		for _, typ := range []string{"at+jwt", "JWT"} {
			token, err := signer.Sign(typ, []byte(payload))
			if err != nil {
				f.Fatal(err)
			}
			signed[token[:strings.LastIndexByte(token, '.')]] = true
			f.Add(token)
			f.Add(token[:len(token)-1])
		}
	}
	f.Add(forge(head("none", z.ec.ID), payload, always(nil)))
	f.Add(forge(head("HS256", z.rsa.ID), payload, hs256(z.rsa.Public)))
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		got, _, err := set.Verify(start, token, "at+jwt")
		if err != nil {
			if !errors.Is(err, deputy.Unauthenticated) {
				t.Errorf("%q: %v", token, err)
			}
			return
		}
		if string(got) != payload || !signed[token[:strings.LastIndexByte(token, '.')]] {
			t.Errorf("%q was never signed", token)
		}
		jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256, jose.ES256})
		if err != nil {
			t.Fatalf("%q: go-jose: %v", token, err)
		}
		if _, err := jws.Verify(published(t, set.JWKS(), jws.Signatures[0].Protected.KeyID)); err != nil {
			t.Errorf("%q: go-jose: %v", token, err)
		}
	})
}
