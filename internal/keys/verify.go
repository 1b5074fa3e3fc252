package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"deputy/internal/deputy"
)

// header is the JOSE header of the tokens we sign: these members and no others.
type header struct {
	Alg string `json:"alg"`
	Kid string `json:"kid"`
	Typ string `json:"typ"`
}

// Verify returns the payload of a compact JWS that a key of this set signed,
// and that key's id. The header's typ must be one of typs, letter for letter.
// Retired keys verify until 25 hours after their retirement. Every refusal is
// deputy.Unauthenticated. Nothing in the payload has been looked at.
func (s *Set) Verify(now time.Time, token string, typs ...string) (payload []byte, kid string, err error) {
	head, rest, _ := strings.Cut(token, ".")
	body, tail, ok := strings.Cut(rest, ".")
	// A fourth part would leave a dot in the signature, which is not base64url.
	// The decoder skips line ends, and one token must not have two forms.
	if !ok || strings.ContainsAny(token, "\r\n") {
		return nil, "", refuse("the token is malformed")
	}
	h, err := parseHeader(head)
	if err != nil {
		return nil, "", err
	}
	if !slices.Contains(typs, h.Typ) {
		return nil, "", refuse("the token is of another type")
	}
	key, ok := s.keys[h.Kid]
	if !ok || !key.until.IsZero() && !now.Before(key.until) {
		return nil, "", refuse("the token is signed with an unknown key")
	}
	if h.Alg != string(key.alg) {
		return nil, "", refuse("the token's algorithm is not its key's")
	}
	signature, err := b64.DecodeString(tail)
	if err != nil || !key.verify(token[:len(head)+1+len(body)], signature) {
		return nil, "", refuse("the token's signature is wrong")
	}
	payload, err = b64.DecodeString(body)
	if err != nil {
		return nil, "", refuse("the token is malformed")
	}
	return payload, h.Kid, nil
}

// parseHeader reads an encoded header. We never write crit, jwk, x5c or any
// member but ours, so all of them are refused, as are members given twice and
// names in other letter case.
func parseHeader(encoded string) (h header, err error) {
	text, err := b64.DecodeString(encoded)
	if err == nil {
		err = json.Unmarshal(text, &h, json.RejectUnknownMembers(true))
	}
	if err != nil {
		return header{}, refuse("the token's header is malformed")
	}
	return h, nil
}

// verify reports whether signature is the key's on input.
func (v verifier) verify(input string, signature []byte) bool {
	digest := sha256.Sum256([]byte(input))
	switch k := v.key.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], signature) == nil
	case *ecdsa.PublicKey:
		if len(signature) != rawSize {
			return false
		}
		return ecdsa.VerifyASN1(k, digest[:], derFromRaw(make([]byte, 0, maxDERSize), signature))
	}
	return false
}

func refuse(message string) error {
	return &deputy.Error{Kind: deputy.Unauthenticated, Message: message}
}
