package keys_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"deputy/internal/deputy"
	"deputy/internal/keys"
)

func encoded(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func TestVerifyFlattened(t *testing.T) {
	z := zone(t)
	set, err := keys.NewSet([]deputy.SigningKey{z.rsa, z.ec}, start)
	if err != nil {
		t.Fatal(err)
	}
	// What is not known is passed over.
	jwks := []byte(strings.Replace(string(set.JWKS()), `{"keys":[`, `{"keys":[{"kty":"XX","kid":"odd"},`, 1))
	good, err := z.rsaSigner.SignFlattened([]byte(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	payload, kid, err := keys.VerifyFlattened(jwks, good)
	if err != nil || string(payload) != `{"a":1}` || kid != z.rsa.ID {
		t.Fatalf("%s by %s: %v", payload, kid, err)
	}
	refused := map[string]keys.Flattened{}
	// Signed by the right key, and yet no attestation.
	for name, header := range map[string]string{
		"no algorithm":          `{"alg":"none","kid":"` + z.rsa.ID + `"}`,
		"another algorithm":     `{"alg":"EdDSA","kid":"` + z.rsa.ID + `"}`,
		"an unknown key":        `{"alg":"RS256","kid":"x"}`,
		"a key passed over":     `{"alg":"RS256","kid":"odd"}`,
		"a key of another kind": `{"alg":"RS256","kid":"` + z.ec.ID + `"}`,
		"a critical extension":  `{"alg":"RS256","kid":"` + z.rsa.ID + `","crit":["x"]}`,
		"a token's header":      `{"alg":"RS256","kid":"` + z.rsa.ID + `","typ":"JWT"}`,
		"a header of no JSON":   `{"alg":"RS256"`,
	} {
		f := keys.Flattened{Protected: encoded(header), Payload: good.Payload}
		digest := sha256.Sum256([]byte(f.Protected + "." + f.Payload))
		signature, err := rsa.SignPKCS1v15(nil, z.rsaPrivate, crypto.SHA256, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		f.Signature = encoded(string(signature))
		refused[name] = f
	}
	other, short, padded := good, good, good
	other.Payload, short.Signature, padded.Signature = encoded(`{"a":2}`), "", good.Signature+"="
	refused["another payload"], refused["no signature"], refused["padding"] = other, short, padded
	for name, f := range refused {
		if _, _, err := keys.VerifyFlattened(jwks, f); deputy.KindOf(err) != deputy.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := keys.VerifyFlattened([]byte(`[]`), good); deputy.KindOf(err) != deputy.Invalid {
		t.Errorf("no JWKS: %v", err)
	}
}

// EdDSA is announced for attestations: a verifier takes it from an Ed25519 key,
// and from no other.
func TestVerifyFlattenedEdDSA(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	k := jose.JSONWebKey{Key: public, KeyID: "ed", Algorithm: "EdDSA", Use: "sig"}
	raw, err := k.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	jwks := []byte(`{"keys":[` + string(raw) + `]}`)
	for alg, want := range map[string]bool{"EdDSA": true, "RS256": false} {
		f := keys.Flattened{Protected: encoded(`{"alg":"` + alg + `","kid":"ed"}`), Payload: encoded(`{}`)}
		f.Signature = encoded(string(ed25519.Sign(private, []byte(f.Protected+"."+f.Payload))))
		if _, _, err := keys.VerifyFlattened(jwks, f); (err == nil) != want {
			t.Errorf("%s: %v", alg, err)
		}
	}
}
