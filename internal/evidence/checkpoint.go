package evidence

import (
	"encoding/base64"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/mod/sumdb/tlog"

	"deputy/internal/deputy"
	"deputy/internal/keys"
)

// CheckpointType is the typ of a signed checkpoint, a compact JWS (RFC 7515).
const CheckpointType = "audit-checkpoint+jwt"

// b64 is how hashes are written: padded base64, refusing bits that encode
// nothing.
var b64 = base64.StdEncoding.Strict()

// Checkpoint says what an organization's log was at a moment.
type Checkpoint struct {
	Organization deputy.OrganizationID
	Size         int64     // how many events the log had
	Root         tlog.Hash // of its tree
	Time         time.Time // when it was signed
}

// claims is a checkpoint as it is signed.
type claims struct {
	Organization deputy.OrganizationID `json:"organization_id"`
	Size         int64                 `json:"tree_size"`
	Root         string                `json:"root_hash"`
	Time         string                `json:"time"`
}

// Sign returns the checkpoint as a compact JWS of the signer's.
func (c Checkpoint) Sign(s *keys.Signer) (string, error) {
	payload, err := json.Marshal(claims{c.Organization, c.Size, c.Root.String(), c.Time.UTC().Format(deputy.TimeFormat)})
	if err != nil {
		return "", err
	}
	return s.Sign(CheckpointType, payload)
}

// OpenCheckpoint returns the checkpoint that a key of a JWKS document signed,
// and the kid of that key. Every refusal is deputy.Invalid.
func OpenCheckpoint(jwks []byte, token string) (c Checkpoint, kid string, err error) {
	payload, kid, err := keys.VerifyCompact(jwks, CheckpointType, token)
	if err != nil {
		return c, "", err
	}
	var said claims
	if err := json.Unmarshal(payload, &said, json.RejectUnknownMembers(true)); err != nil || said.Size < 0 {
		return c, "", deputy.Errorf(deputy.Invalid, "the checkpoint is malformed")
	}
	c = Checkpoint{Organization: said.Organization, Size: said.Size}
	if c.Root, err = parseHash(said.Root); err == nil {
		c.Time, err = time.Parse(deputy.TimeFormat, said.Time)
	}
	if err != nil {
		return c, "", deputy.Errorf(deputy.Invalid, "the checkpoint is malformed")
	}
	return c, kid, nil
}

func parseHash(text string) (h tlog.Hash, err error) {
	b, err := b64.DecodeString(text)
	if err != nil || len(b) != len(h) || b64.EncodeToString(b) != text {
		return h, fmt.Errorf("%q is no hash", text)
	}
	return tlog.Hash(b), nil
}
