package bundle

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"deputy/internal/deputy"
)

// MediaType is the type of a bundle as an archive.
const MediaType = "application/vnd.keycard.policy-bundle.v1+tar+gzip"

// MaxSize bounds a bundle, unpacked, in bytes.
const MaxSize = 64 << 20

// Bundle is what a target's policies are.
type Bundle struct {
	SchemaVersion        string
	Schema               []byte // nil when it did not come along
	TargetType, TargetID string
	Policies             []Policy
}

// Policy is one policy. Exactly one of PublicID and NewPolicy is set.
type Policy struct {
	PublicID  string // its id
	NewPolicy string // the name to give to one that has no id yet
	Name      string // of one with an id; advice
	Text      []byte // Cedar
}

// key names the policy's file.
func (p *Policy) key() string { return cmp.Or(p.PublicID, p.NewPolicy) }

// manifest is manifest.json.
type manifest struct {
	Schema     schemaRef `json:"schema"`
	TargetType string    `json:"target_type"`
	TargetID   string    `json:"target_id"`
	Policies   []entry   `json:"policies"`
}

type schemaRef struct {
	Version string `json:"version"`
	SHA     string `json:"sha"`
}

type entry struct {
	PublicID  string `json:"public_id,omitempty"`
	NewPolicy string `json:"new_policy,omitempty"`
	Name      string `json:"name,omitempty"`
	SHA       string `json:"sha"`
}

// manifest describes the bundle, policies in order, hashes of their bytes.
func (b *Bundle) manifest() manifest {
	m := manifest{
		Schema:     schemaRef{Version: b.SchemaVersion, SHA: sha(b.Schema)},
		TargetType: b.TargetType, TargetID: b.TargetID, Policies: []entry{},
	}
	for _, p := range b.sorted() {
		m.Policies = append(m.Policies, entry{p.PublicID, p.NewPolicy, p.Name, sha(p.Text)})
	}
	return m
}

// sorted returns the policies in the order in which they are written.
func (b *Bundle) sorted() []Policy {
	return slices.SortedFunc(slices.Values(b.Policies), func(x, y Policy) int {
		return cmp.Or(strings.Compare(x.PublicID, y.PublicID), strings.Compare(x.NewPolicy, y.NewPolicy))
	})
}

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Digest identifies what the bundle says: the hash of its manifest without
// names, in canonical form (RFC 8785).
func (b *Bundle) Digest() (string, error) {
	m := b.manifest()
	for i := range m.Policies {
		m.Policies[i].Name = ""
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return "", bad("the manifest holds text that is not UTF-8").Because(err)
	}
	value := jsontext.Value(raw)
	if err := value.Canonicalize(); err != nil {
		return "", err
	}
	return sha(value), nil
}

// encodeManifest returns manifest.json: two spaces a level, no final newline.
func (b *Bundle) encodeManifest() ([]byte, error) {
	raw, err := json.Marshal(b.manifest(), jsontext.WithIndent("  "))
	if err != nil {
		return nil, bad("the manifest holds text that is not UTF-8").Because(err)
	}
	return raw, nil
}

// decodeManifest reads manifest.json, without what lies in other files. The
// hashes it claims say nothing.
func decodeManifest(raw []byte) (*Bundle, error) {
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, bad("manifest.json cannot be read: %s", plain(err)).Because(err)
	}
	if m.Schema.Version == "" {
		return nil, bad("manifest.json names no schema version")
	}
	b := &Bundle{SchemaVersion: m.Schema.Version, TargetType: m.TargetType, TargetID: m.TargetID}
	seen := map[string]bool{}
	for _, e := range m.Policies {
		if (e.PublicID == "") == (e.NewPolicy == "") {
			return nil, bad("an entry of manifest.json has both or neither of public_id and new_policy")
		}
		p := Policy{PublicID: e.PublicID, NewPolicy: e.NewPolicy, Name: e.Name}
		key := p.key()
		if !usable(key) {
			return nil, bad("manifest.json has the key %q, which cannot name a file", key)
		}
		if seen[key] {
			return nil, bad("manifest.json has the key %q twice", key)
		}
		seen[key] = true
		b.Policies = append(b.Policies, p)
	}
	return b, nil
}

// plain says what is wrong with JSON, without names of types.
func plain(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return text
}

// usable reports whether a key can name a file.
func usable(key string) bool {
	return key != "" && key != "." && key != ".." && !strings.ContainsAny(key, `/\`) && !strings.ContainsRune(key, 0)
}

// fill gives the policies their texts; strays says what to do with a file that
// has no entry.
func (b *Bundle) fill(files map[string][]byte, strays func(key string) error) error {
	entries := map[string]bool{}
	for i := range b.Policies {
		key := b.Policies[i].key()
		entries[key] = true
		text, ok := files[key]
		if !ok {
			return bad("policies/%s.cedar is missing: manifest.json names it", key)
		}
		b.Policies[i].Text = text
	}
	for key := range files {
		if !entries[key] {
			if err := strays(key); err != nil {
				return err
			}
		}
	}
	return nil
}

func bad(format string, args ...any) *deputy.Error {
	return deputy.Errorf(deputy.Invalid, format, args...)
}

// The names of the files.
const (
	manifestFile = "manifest.json"
	schemaFile   = "schema.cedarschema"
	policyFolder = "policies"
	policySuffix = ".cedar"
)

// policyKey returns the key of a policy's file.
func policyKey(name string) (key string, ok bool) {
	name, inside := strings.CutPrefix(name, policyFolder+"/")
	key, cedar := strings.CutSuffix(name, policySuffix)
	return key, inside && cedar && usable(key)
}
