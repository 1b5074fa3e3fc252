package keys_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	stdjson "encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"deputy/internal/deputy"
	"deputy/internal/keys"
	"deputy/internal/vault"
)

const payload = `{"iss":"https://id.example/z","sub":"a","exp":1}`

func decode(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return b
}

// published reads the key called kid from the JWKS document with the standard
// library alone.
func published(t *testing.T, document []byte, kid string) crypto.PublicKey {
	t.Helper()
	var set struct{ Keys []map[string]string }
	if err := stdjson.Unmarshal(document, &set); err != nil {
		t.Fatal(err)
	}
	for _, k := range set.Keys {
		number := func(name string) *big.Int { return new(big.Int).SetBytes(decode(t, k[name])) }
		switch {
		case k["kid"] != kid:
		case k["kty"] == "RSA":
			return &rsa.PublicKey{N: number("n"), E: int(number("e").Int64())}
		case k["kty"] == "EC" && k["crv"] == "P-256":
			if len(decode(t, k["x"])) != 32 || len(decode(t, k["y"])) != 32 {
				t.Error("coordinates are not 32 bytes (RFC 7518 §6.2.1.2)")
			}
			point := append(append([]byte{4}, decode(t, k["x"])...), decode(t, k["y"])...) // SEC 1 §2.3.3
			key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
			if err != nil {
				t.Fatal(err)
			}
			return key
		}
	}
	t.Fatalf("%s is not in %s", kid, document)
	return nil
}

// TestOthersVerifyWhatWeSign checks signatures with go-jose and with arithmetic
// of our own. Many of ES256, since one number in 256 begins with a zero byte.
func TestOthersVerifyWhatWeSign(t *testing.T) {
	f := zone(t)
	document := f.set(t, start).JWKS()
	var joseSet jose.JSONWebKeySet
	if err := stdjson.Unmarshal(document, &joseSet); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		signer *keys.Signer
		row    deputy.SigningKey
		times  int
	}{{f.rsaSigner, f.rsa, 3}, {f.ecSigner, f.ec, 3000}} {
		public := published(t, document, c.row.ID)
		for i := range c.times {
			body := fmt.Appendf(nil, `{"n":%d}`, i)
			token, err := c.signer.Sign("at+jwt", body)
			if err != nil {
				t.Fatal(err)
			}
			parts := strings.Split(token, ".")
			if len(parts) != 3 || !bytes.Equal(decode(t, parts[1]), body) {
				t.Fatalf("odd token %s", token)
			}
			digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
			signature := decode(t, parts[2])
			switch k := public.(type) {
			case *rsa.PublicKey:
				err = rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], signature)
			case *ecdsa.PublicKey:
				r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
				if len(signature) != 64 || !ecdsa.Verify(k, digest[:], r, s) {
					err = fmt.Errorf("%x does not verify", signature)
				}
			}
			if err != nil {
				t.Fatalf("standard library: %v", err)
			}
			if i >= 100 {
				continue
			}
			jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(c.row.Algorithm)})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := jws.Verify(joseSet.Key(c.row.ID)[0]); err != nil || !bytes.Equal(got, body) {
				t.Fatalf("go-jose: %q, %v", got, err)
			}
		}
	}
}

func TestTheHeaderSaysAlgKidTyp(t *testing.T) {
	f := zone(t)
	for _, signer := range []*keys.Signer{f.rsaSigner, f.ecSigner} {
		for _, typ := range []string{"at+jwt", "JWT", "logout+jwt", `o"dd\`} {
			token, err := signer.Sign(typ, []byte(payload))
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]any
			head, _, _ := strings.Cut(token, ".")
			if err := stdjson.Unmarshal(decode(t, head), &got); err != nil {
				t.Fatal(err)
			}
			want := map[string]any{"alg": string(signer.Algorithm()), "kid": signer.KeyID(), "typ": typ}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		}
	}
}

func TestFlattenedSignatures(t *testing.T) {
	f := zone(t)
	flat, err := f.rsaSigner.SignFlattened([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(decode(t, flat.Protected)), `{"alg":"RS256","kid":"`+f.rsa.ID+`"}`; got != want {
		t.Errorf("protected header %s, want %s", got, want)
	}
	if string(decode(t, flat.Payload)) != payload {
		t.Errorf("payload %s", flat.Payload)
	}
	text, err := stdjson.Marshal(flat)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := jose.ParseSignedJSON(string(text), []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := jws.Verify(published(t, f.set(t, start).JWKS(), f.rsa.ID)); err != nil || string(got) != payload {
		t.Errorf("go-jose: %q, %v", got, err)
	}
	if _, err := f.ecSigner.SignFlattened([]byte(payload)); err == nil {
		t.Error("an attestation is signed with ES256")
	}
	compact := flat.Protected + "." + flat.Payload + "." + flat.Signature
	if _, _, err := f.set(t, start).Verify(start, compact, "at+jwt", "JWT"); err == nil {
		t.Error("an attestation passes for a token")
	}
}

func TestTheKeySetDocument(t *testing.T) {
	f := zone(t)
	later := f.ec
	later.CreatedAt = start.Add(1)
	document := f.set(t, start, f.rsa, later).JWKS()
	var set struct{ Keys []map[string]any }
	if err := stdjson.Unmarshal(document, &set); err != nil {
		t.Fatal(err)
	}
	var members [][]string
	for _, k := range set.Keys {
		var names []string
		for name, v := range k {
			names = append(names, name)
			if s, ok := v.(string); !ok || s == "" {
				t.Errorf("member %s is %v", name, v)
			}
		}
		slices.Sort(names)
		members = append(members, names)
		if k["use"] != "sig" {
			t.Errorf("use is %v", k["use"])
		}
	}
	want := [][]string{{"alg", "crv", "kid", "kty", "use", "x", "y"}, {"alg", "e", "kid", "kty", "n", "use"}}
	if diff := cmp.Diff(want, members); diff != "" {
		t.Error(diff)
	}
	if !regexp.MustCompile(`^\{"keys":\[\{[^{}]*\},\{[^{}]*\}\]\}$`).Match(document) {
		t.Errorf("odd document %s", document)
	}
	empty, err := keys.NewSet(nil, start)
	if err != nil || string(empty.JWKS()) != `{"keys":[]}` {
		t.Errorf("no keys: %s, %v", empty.JWKS(), err)
	}
}

func TestKeyIDsAreThumbprints(t *testing.T) {
	f := zone(t)
	var k struct{ E, N string }
	if err := stdjson.Unmarshal(f.rsa.Public, &k); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(`{"e":"` + k.E + `","kty":"RSA","n":"` + k.N + `"}`)) // RFC 7638 §3.1
	if want := base64.RawURLEncoding.EncodeToString(sum[:]); f.rsa.ID != want {
		t.Errorf("kid %s, want %s", f.rsa.ID, want)
	}
}

func TestSetsRefuseRowsThatDoNotBelongTogether(t *testing.T) {
	f := zone(t)
	for name, alter := range map[string]func(*deputy.SigningKey){
		"another's public key": func(k *deputy.SigningKey) { k.Public = f.other.Public },
		"another algorithm":    func(k *deputy.SigningKey) { k.Algorithm = deputy.RS256 },
		"unknown algorithm":    func(k *deputy.SigningKey) { k.Algorithm = "HS256" },
		"another id":           func(k *deputy.SigningKey) { k.ID = f.other.ID },
		"no public key":        func(k *deputy.SigningKey) { k.Public = nil },
		"a symmetric key":      func(k *deputy.SigningKey) { k.Public = []byte(`{"kty":"oct","k":"AAAA","kid":"` + k.ID + `"}`) },
		"null":                 func(k *deputy.SigningKey) { k.Public = []byte(`null`) },
		"RSA for ES256":        func(k *deputy.SigningKey) { *k = f.rsa; k.Algorithm = deputy.ES256 },
	} {
		row := f.ec
		alter(&row)
		if _, err := keys.NewSet([]deputy.SigningKey{f.rsa, row}, start); err == nil {
			t.Errorf("%s passes", name)
		}
	}
}

func TestKeysLoadFromTheirOwnRowOnly(t *testing.T) {
	f := zone(t)
	for _, row := range []deputy.SigningKey{f.rsa, f.ec} {
		signer, err := keys.Load(t.Context(), f.vault, row)
		if err != nil {
			t.Fatal(err)
		}
		token, err := signer.Sign("at+jwt", []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		if _, kid, err := f.set(t, start).Verify(start, token, "at+jwt"); err != nil || kid != row.ID {
			t.Errorf("%s after loading: %s, %v", row.Algorithm, kid, err)
		}
	}
	for name, alter := range map[string]func(*deputy.SigningKey){
		"another owner":         func(k *deputy.SigningKey) { k.OwnerID = f.other.OwnerID },
		"another's private key": func(k *deputy.SigningKey) { k.Sealed = f.other.Sealed },
		"another id":            func(k *deputy.SigningKey) { k.ID = f.rsa.ID },
		"another algorithm":     func(k *deputy.SigningKey) { k.Algorithm = deputy.RS256 },
		"no private key":        func(k *deputy.SigningKey) { k.Sealed = nil },
	} {
		row := f.ec
		alter(&row)
		if _, err := keys.Load(t.Context(), f.vault, row); err == nil {
			t.Errorf("%s passes", name)
		}
	}

	// What the vault opens must still be the key of this id.
	place := vault.Place{Zone: deputy.ZoneID(owner), Table: "signing_keys", Column: "sealed", Row: f.ec.ID}
	for name, content := range map[string][]byte{"another key": opened(t, f, f.other), "no key": []byte("text")} {
		row := f.ec
		var err error
		if row.Sealed, err = f.vault.Seal(t.Context(), f.dataKey, place, content); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.Load(t.Context(), f.vault, row); err == nil {
			t.Errorf("%s passes", name)
		}
	}
}

func opened(t *testing.T, f *fixture, row deputy.SigningKey) []byte {
	t.Helper()
	der, err := f.vault.Open(t.Context(), vault.Place{Zone: deputy.ZoneID(row.OwnerID), Table: "signing_keys", Column: "sealed", Row: row.ID}, row.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestGenerateRefuses(t *testing.T) {
	f := zone(t)
	for name, spec := range map[string]keys.Spec{
		"unknown algorithm": {Owner: owner, DataKey: f.dataKey, Algorithm: "HS256", State: deputy.KeyNext, Now: start},
		"retired":           {Owner: owner, DataKey: f.dataKey, Algorithm: deputy.ES256, State: deputy.KeyRetired, Now: start},
		"no state":          {Owner: owner, DataKey: f.dataKey, Algorithm: deputy.ES256, Now: start},
		"erased data key":   {Owner: owner, DataKey: deputy.NewID(start), Algorithm: deputy.ES256, State: deputy.KeyNext, Now: start},
	} {
		if _, _, err := keys.Generate(t.Context(), f.vault, f.pool, spec); err == nil {
			t.Errorf("%s passes", name)
		}
	}
}

// claims is a payload of the usual size.
var claims = []byte(`{"iss":"https://id.example.com/z/01j0000000000000000000000a","sub":"agent-17","sub_profile":"app","aud":"https://api.example.com/","client_id":"Qx3yT0a9Lk2mN8bV5cD1e","keycard_app_id":"agent-17","scope":"read write","exp":1795488180,"iat":1795484580,"jti":"01kc000000000000000000000a","act":{"sub":"gateway","client_id":"Zx3yT0a9Lk2mN8bV5cD1e"}}`)

func BenchmarkSign(b *testing.B) {
	f := zone(b)
	for _, signer := range []*keys.Signer{f.ecSigner, f.rsaSigner} {
		b.Run(string(signer.Algorithm()), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := signer.Sign("at+jwt", claims); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	digest := sha256.Sum256(claims)
	b.Run("bare-ES256", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ecdsa.SignASN1(rand.Reader, f.ecPrivate, digest[:]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare-RS256", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := rsa.SignPKCS1v15(nil, f.rsaPrivate, crypto.SHA256, digest[:]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	f := zone(b)
	set := f.set(b, start)
	for _, signer := range []*keys.Signer{f.ecSigner, f.rsaSigner} {
		token, err := signer.Sign("at+jwt", claims)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(string(signer.Algorithm()), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := set.Verify(start, token, "at+jwt"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	digest := sha256.Sum256(claims)
	der, err := ecdsa.SignASN1(rand.Reader, f.ecPrivate, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	b.Run("bare-ES256", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !ecdsa.VerifyASN1(&f.ecPrivate.PublicKey, digest[:], der) {
				b.Fatal("refused")
			}
		}
	})
}
