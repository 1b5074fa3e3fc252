package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"deputy/internal/deputy"
)

// VerifyFlattened returns the payload of a flattened JWS that a key of a JWKS
// document signed, and the kid of that key. The algorithm is RS256 or EdDSA, and
// its key's: those that attestations are or will be signed with. Every refusal
// is deputy.Invalid. Nothing in the payload has been looked at.
func VerifyFlattened(jwks []byte, f Flattened) (payload []byte, kid string, err error) {
	h, err := parseHeader(f.Protected)
	if err != nil || h.Typ != "" || h.Alg == string(deputy.ES256) {
		return nil, "", deputy.Errorf(deputy.Invalid, "the signature's header is malformed")
	}
	return verify(jwks, h, f)
}

// VerifyCompact returns the payload of a compact JWS with the typ that a key of
// a JWKS document signed, and the kid of that key. The algorithm is one of ours
// or EdDSA, and its key's. Every refusal is deputy.Invalid. Nothing in the
// payload has been looked at.
func VerifyCompact(jwks []byte, typ, token string) (payload []byte, kid string, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || strings.ContainsAny(token, "\r\n") {
		return nil, "", deputy.Errorf(deputy.Invalid, "the signature is malformed")
	}
	h, err := parseHeader(parts[0])
	if err != nil || h.Typ != typ {
		return nil, "", deputy.Errorf(deputy.Invalid, "the signature's header is malformed")
	}
	return verify(jwks, h, Flattened{Protected: parts[0], Payload: parts[1], Signature: parts[2]})
}

func verify(jwks []byte, h header, f Flattened) (payload []byte, kid string, err error) {
	key, err := keyOf(jwks, h.Kid)
	if err != nil {
		return nil, "", err
	}
	signature, err := b64.DecodeString(f.Signature)
	if err != nil || !signed(key, h.Alg, []byte(f.Protected+"."+f.Payload), signature) {
		return nil, "", deputy.Errorf(deputy.Invalid, "the signature is wrong")
	}
	if payload, err = b64.DecodeString(f.Payload); err != nil {
		return nil, "", deputy.Errorf(deputy.Invalid, "the payload is malformed")
	}
	return payload, h.Kid, nil
}

// keyOf returns the public key with the id in a JWKS document. Keys of a kind
// that is not known here are passed over (RFC 7517 §5).
func keyOf(jwks []byte, kid string) (crypto.PublicKey, error) {
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(jwks, &set); err != nil {
		return nil, deputy.Errorf(deputy.Invalid, "the key set is not a JWKS document")
	}
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) == nil && k.KeyID == kid && k.Valid() && k.IsPublic() && k.Use != "enc" {
			return k.Key, nil
		}
	}
	return nil, deputy.Errorf(deputy.Invalid, "the key set has no key %q", kid)
}

// signed reports whether signature is the key's on input, by the algorithm.
func signed(key crypto.PublicKey, alg string, input, signature []byte) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		digest := sha256.Sum256(input)
		return alg == string(deputy.RS256) && fits(k, deputy.RS256) && rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], signature) == nil
	case *ecdsa.PublicKey:
		if alg != string(deputy.ES256) || !fits(k, deputy.ES256) || len(signature) != rawSize {
			return false
		}
		digest := sha256.Sum256(input)
		return ecdsa.VerifyASN1(k, digest[:], derFromRaw(make([]byte, 0, maxDERSize), signature))
	case ed25519.PublicKey:
		return alg == "EdDSA" && ed25519.Verify(k, input, signature)
	}
	return false
}
