package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"deputy/internal/deputy"
)

// b64 is base64url without padding, refusing bits that encode nothing.
var b64 = base64.RawURLEncoding.Strict()

// hotTypes are the token types whose headers are encoded once per key: access
// tokens (RFC 9068 §2.1) and ID tokens. Others are encoded each time.
var hotTypes = []string{"at+jwt", "JWT"}

// Signer signs with one private key. It is safe for concurrent use.
type Signer struct {
	kid     string
	alg     deputy.SigningAlgorithm
	rsa     *rsa.PrivateKey   // of RS256, else nil
	ecdsa   *ecdsa.PrivateKey // of ES256, else nil
	headers map[string]string // by typ, encoded
}

// Flattened is a JWS in flattened JSON serialization (RFC 7515 §7.2.2); each
// member is base64url.
type Flattened struct {
	Payload   string `json:"payload"`
	Protected string `json:"protected"`
	Signature string `json:"signature"`
}

// newSigner returns the signer of a row whose private key is known to fit.
func newSigner(row deputy.SigningKey, private crypto.Signer) (*Signer, error) {
	s := &Signer{kid: row.ID, alg: row.Algorithm, headers: make(map[string]string)}
	switch k := private.(type) {
	case *rsa.PrivateKey:
		s.rsa = k
	case *ecdsa.PrivateKey:
		s.ecdsa = k
	default:
		return nil, fmt.Errorf("keys: %T does not sign %s", private, row.Algorithm)
	}
	for _, typ := range hotTypes {
		s.headers[typ] = encodeHeader(s.alg, s.kid, typ)
	}
	return s, nil
}

// KeyID returns the kid of what this signer signs.
func (s *Signer) KeyID() string { return s.kid }

// Algorithm returns the alg of what this signer signs.
func (s *Signer) Algorithm() deputy.SigningAlgorithm { return s.alg }

// Sign returns payload as a compact JWS whose header says alg, kid and typ.
func (s *Signer) Sign(typ string, payload []byte) (string, error) {
	header, ok := s.headers[typ]
	if !ok {
		header = encodeHeader(s.alg, s.kid, typ)
	}
	w := workspaces.Get().(*workspace)
	defer workspaces.Put(w)
	w.token = append(append(w.token[:0], header...), '.')
	w.token = b64.AppendEncode(w.token, payload)
	signature, err := s.signature(w, w.token)
	if err != nil {
		return "", err
	}
	w.token = b64.AppendEncode(append(w.token, '.'), signature)
	return string(w.token), nil
}

// SignFlattened returns payload as a flattened JWS whose protected header says
// alg and kid. Only RS256 keys sign so: the readers of attestations accept no
// ES256.
func (s *Signer) SignFlattened(payload []byte) (Flattened, error) {
	if s.alg != deputy.RS256 {
		return Flattened{}, fmt.Errorf("keys: an attestation is not signed with %s", s.alg)
	}
	f := Flattened{Payload: b64.EncodeToString(payload), Protected: encodeHeader(s.alg, s.kid, "")}
	signature, err := s.signature(new(workspace), []byte(f.Protected+"."+f.Payload))
	if err != nil {
		return Flattened{}, err
	}
	f.Signature = b64.EncodeToString(signature)
	return f, nil
}

// workspace is the memory of one signature, used again so that a token costs
// its own allocation and those of the standard library's signature.
type workspace struct {
	token  []byte
	digest [sha256.Size]byte
	raw    [rawSize]byte
}

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

// signature signs input; what it returns lies in w or is new.
func (s *Signer) signature(w *workspace, input []byte) ([]byte, error) {
	w.digest = sha256.Sum256(input)
	if s.rsa != nil {
		signature, err := rsa.SignPKCS1v15(nil, s.rsa, crypto.SHA256, w.digest[:])
		if err != nil {
			return nil, fmt.Errorf("keys: sign with %s: %w", s.kid, err)
		}
		return signature, nil
	}
	// Without a source of randomness the nonce is derived from key and message
	// (RFC 6979). That needs no luck, and a quarter less time than hedging it.
	der, err := s.ecdsa.Sign(nil, w.digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("keys: sign with %s: %w", s.kid, err)
	}
	if !rawFromDER(&w.raw, der) {
		return nil, errors.New("keys: the signature is not DER")
	}
	return w.raw[:], nil
}

// encodeHeader returns the encoded JOSE header; an empty typ is left out.
func encodeHeader(alg deputy.SigningAlgorithm, kid, typ string) string {
	header := []byte(`{"alg":"` + string(alg) + `","kid":"` + kid + `"`) // neither needs escaping
	if typ != "" {
		header = append(header, `,"typ":`...)
		// It errs on invalid UTF-8 only, having replaced it.
		header, _ = jsontext.AppendQuote(header, typ)
	}
	return b64.EncodeToString(append(header, '}'))
}
