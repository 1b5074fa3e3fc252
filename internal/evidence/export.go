package evidence

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/mod/sumdb/tlog"

	"deputy/internal/deputy"
)

// maxLine bounds a line of an export, in bytes.
const maxLine = 1 << 20

// Entry is an event of a log as an export has it.
type Entry struct {
	Seq    int64 // from 1
	Leaf   [32]byte
	Record []byte // as the log keeps it; nil: it is not shown
}

// Append appends the entry's line.
//
//	{the members of the event…,"seq":7,"leaf_hash":"…"}
//	{"seq":8,"leaf_hash":"…","check":"…"}
//
// check makes up for the event that would tell a damaged hash.
func (e Entry) Append(b []byte) []byte {
	if e.Record == nil {
		b = append(b, '{')
	} else {
		b = append(append(b, e.Record[:len(e.Record)-1]...), ',')
	}
	b = append(b, `"seq":`...)
	b = strconv.AppendInt(b, e.Seq, 10)
	b = append(b, `,"leaf_hash":"`...)
	b = b64.AppendEncode(b, e.Leaf[:])
	if e.Record == nil {
		b = append(append(b, `","check":"`...), check(e.Seq, e.Leaf)...)
	}
	return append(b, "\"}\n"...)
}

func check(seq int64, leaf [32]byte) string {
	sum := sha256.Sum256(append(strconv.AppendInt(nil, seq, 10), leaf[:]...))
	return hex.EncodeToString(sum[:4])
}

// tail is how the line of a shown event ends.
var tail = regexp.MustCompile(`,"seq":([0-9]{1,18}),"leaf_hash":"([A-Za-z0-9+/=]{44})"}$`)

// hidden is the line of one that is not.
var hidden = regexp.MustCompile(`^{"seq":([0-9]{1,18}),"leaf_hash":"([A-Za-z0-9+/=]{44})","check":"([0-9a-f]{8})"}$`)

// parseEntry reads the line of an event. The hash is what the line says.
func parseEntry(line []byte) (e Entry, err error) {
	m := hidden.FindSubmatch(line)
	if m == nil {
		at := tail.FindSubmatchIndex(line)
		if at == nil {
			return e, errors.New("it is no event of a log")
		}
		m = tail.FindSubmatch(line[at[0]:])
		e.Record = append(line[:at[0]:at[0]], '}')
	}
	e.Seq, _ = strconv.ParseInt(string(m[1]), 10, 64) // digits, and few enough
	leaf, err := parseHash(string(m[2]))
	if err != nil || strconv.FormatInt(e.Seq, 10) != string(m[1]) {
		return e, errors.New("it is no event of a log")
	}
	e.Leaf = leaf
	if e.Record == nil && check(e.Seq, e.Leaf) != string(m[3]) {
		return e, errors.New("its leaf_hash is damaged")
	}
	return e, nil
}

// Signed is a checkpoint with the public key that it can be read with, the last
// line of an export.
type Signed struct {
	Checkpoint string `json:"checkpoint"` // a compact JWS
	Key        JWK    `json:"key"`
}

// NewSigned returns the last line of an export: the checkpoint, with the key of
// a JWKS document that it names.
func NewSigned(checkpoint string, jwks []byte) (Signed, error) {
	_, kid, err := OpenCheckpoint(jwks, checkpoint)
	if err != nil {
		return Signed{}, err
	}
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(jwks, &set); err != nil {
		return Signed{}, err
	}
	for _, raw := range set.Keys {
		var k JWK
		if json.Unmarshal(raw, &k) == nil && k.Kid == kid {
			return Signed{checkpoint, k}, nil
		}
	}
	return Signed{}, errors.New("the key set lost the key of the checkpoint")
}

// JWK has the members of a public key (RFC 7517) that make it what it is, and
// its name.
type JWK struct {
	Crv string `json:"crv,omitzero"`
	E   string `json:"e,omitzero"`
	Kid string `json:"kid,omitzero"`
	Kty string `json:"kty"`
	N   string `json:"n,omitzero"`
	X   string `json:"x,omitzero"`
	Y   string `json:"y,omitzero"`
}

// Append appends the line.
func (s Signed) Append(b []byte) []byte {
	line, _ := json.Marshal(s) // of strings alone
	return append(append(b, line...), '\n')
}

// parseSigned reads the last line. It has one form only, so that no byte of it
// can change unseen.
func parseSigned(line []byte) (s Signed, err error) {
	err = json.Unmarshal(line, &s, json.RejectUnknownMembers(true))
	if err != nil || !bytes.Equal(s.Append(nil), append(line[:len(line):len(line)], '\n')) {
		return s, errors.New("it is no signed checkpoint")
	}
	return s, nil
}

// thumbprint returns the key's thumbprint by SHA-256 (RFC 7638), which is what
// our keys are called.
func (k JWK) thumbprint() string {
	k.Kid = ""
	b, _ := json.Marshal(k)
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Verified is what an export was found to be.
type Verified struct {
	Shown int64 // events that are shown, of Size
	Checkpoint
	Fingerprint string // thumbprint of the key (RFC 7638)
	Anchored    bool   // the key was known, not taken from the file
}

// Mistake is the first line of an export that is not as the log was.
type Mistake struct {
	Line   int64 // from 1
	Reason string
}

func (m *Mistake) Error() string { return fmt.Sprintf("line %d: %s", m.Line, m.Reason) }

// Verify reads an export and checks that it is what its checkpoint signed. The
// key is one of the JWKS document, or when that is nil the one in the file,
// which proves only that whoever has that key wrote it. An earlier checkpoint of
// the same log, when there is one, proves that nothing that was there then was
// changed or is gone since. What is wrong with the file is a *Mistake; what is
// wrong with the earlier checkpoint itself is deputy.Invalid.
func Verify(r io.Reader, jwks []byte, earlier *Signed) (*Verified, error) {
	var before Checkpoint
	if earlier != nil {
		var err error
		if before, _, err = earlier.open(jwks); err != nil {
			return nil, err
		}
	}
	v := &Verified{Anchored: jwks != nil}
	var log tree
	var then tlog.Hash // root when the log had the size of the earlier checkpoint
	in := bufio.NewReaderSize(r, maxLine)
	for n := int64(1); ; n++ {
		if log.size == before.Size {
			then = log.root()
		}
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, &Mistake{n, "it is too long"}
		case errors.Is(err, io.EOF) && len(line) == 0:
			return nil, &Mistake{n, "the end with the checkpoint is missing"}
		case errors.Is(err, io.EOF):
			return nil, &Mistake{n, "it is cut off"}
		case err != nil:
			return nil, err
		}
		line = line[:len(line)-1]
		if bytes.HasPrefix(line, []byte(`{"checkpoint":`)) {
			if err := v.end(line, jwks, &log); err != nil {
				return nil, &Mistake{n, err.Error()}
			}
			if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
				return nil, &Mistake{n + 1, "something follows the checkpoint"}
			}
			if earlier != nil && (before.Organization != v.Organization || before.Size > v.Size || before.Root != then) {
				return nil, &Mistake{min(before.Size, v.Size), "the log up to here is not the one of the earlier checkpoint"}
			}
			return v, nil
		}
		e, err := parseEntry(line)
		switch {
		case err != nil:
			return nil, &Mistake{n, err.Error()}
		case e.Seq != n:
			return nil, &Mistake{n, fmt.Sprintf("it has number %d", e.Seq)}
		case e.Record != nil && deputy.LeafHash(e.Record) != e.Leaf:
			return nil, &Mistake{n, "the event is not the one of its leaf_hash"}
		case e.Record != nil:
			v.Shown++
		}
		log.add(e.Leaf)
	}
}

// end checks the last line of an export against the events before it.
func (v *Verified) end(line, jwks []byte, log *tree) error {
	s, err := parseSigned(line)
	if err != nil {
		return err
	}
	if v.Fingerprint = s.Key.thumbprint(); v.Fingerprint != s.Key.Kid {
		return errors.New("the key is not the one of its kid")
	}
	var kid string
	if v.Checkpoint, kid, err = s.open(jwks); err != nil {
		return err
	}
	if kid != s.Key.Kid {
		return errors.New("the checkpoint is signed with another key")
	}
	switch {
	case v.Size != log.size:
		return fmt.Errorf("the checkpoint is of %d events, and %d are here", v.Size, log.size)
	case v.Root != log.root():
		return errors.New("the events do not lead to the checkpoint")
	}
	return nil
}

// open returns the checkpoint, read with a key of the JWKS document or, when
// that is nil, with its own.
func (s Signed) open(jwks []byte) (Checkpoint, string, error) {
	if jwks == nil {
		key, _ := json.Marshal(s.Key) // of strings alone
		jwks = slices.Concat([]byte(`{"keys":[`), key, []byte(`]}`))
	}
	return OpenCheckpoint(jwks, s.Checkpoint)
}
