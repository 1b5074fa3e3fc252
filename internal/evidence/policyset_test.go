package evidence_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"deputy/internal/bundle"
	"deputy/internal/deputy"
	"deputy/internal/evidence"
	"deputy/internal/policy"
)

// object is a JSON object that a test takes apart.
type object = map[string]any

// The vectors of a policy and of a manifest that pins it.
const (
	openText    = "permit(principal, action, resource);"
	openJSON    = `{"action":{"op":"All"},"conditions":[],"effect":"permit","principal":{"op":"All"},"resource":{"op":"All"}}`
	openSHA     = "98fb30e4c651063e13b12cee533bd4431ea535da9f2b8284b246ca9a798ac0b5"
	manifestSHA = "d484d71b7f2f396dbf721f8063baf07404fb86c468220af639f0331ff5b9b5b0"
	forbidText  = "forbid (principal, action, resource) when { context.impersonate };"
)

// zoneKey is a zone's key of any kind, with the JWKS document that has it.
type zoneKey struct {
	alg, kid string
	private  crypto.Signer
	jwks     []byte
}

func newZoneKey(t *testing.T, alg, kid string) zoneKey {
	t.Helper()
	var private crypto.Signer
	var err error
	switch alg {
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(nil)
	case "RS256":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	raw, err := (&jose.JSONWebKey{Key: private.Public(), KeyID: kid, Algorithm: alg, Use: "sig"}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return zoneKey{alg, kid, private, []byte(`{"keys":[` + string(raw) + `]}`)}
}

// sign returns a flattened JWS of a payload under a header.
func (k zoneKey) sign(t *testing.T, header string, payload []byte) object {
	t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	input := b64([]byte(header)) + "." + b64(payload)
	hash, message := crypto.Hash(0), []byte(input)
	if k.alg != "EdDSA" {
		sum := sha256.Sum256(message)
		hash, message = crypto.SHA256, sum[:]
	}
	signature, err := k.private.Sign(rand.Reader, message, hash)
	if err != nil {
		t.Fatal(err)
	}
	return object{"protected": b64([]byte(header)), "payload": b64(payload), "signature": b64(signature)}
}

func (k zoneKey) header() string { return `{"alg":"` + k.alg + `","kid":"` + k.kid + `"}` }

// policyVersionOf returns a policy version as the API shows it.
func policyVersionOf(t *testing.T, id, of, text string) object {
	t.Helper()
	d, err := policy.ParseText(text)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(d.JSON(), &tree); err != nil {
		t.Fatal(err)
	}
	return object{"id": id, "policy_id": of, "schema_version": "2026-06-18", "sha": d.SHA(), "cedar_raw": d.Text(), "cedar_json": tree}
}

// exported is an export in parts, signed when it is written.
type exported struct {
	t         *testing.T
	key       zoneKey
	statement policy.Statement
	file      object
	header    string
	signed    object // in place of the statement's signature
	shown     bool   // the version tells of the statement
}

// newExport is version 3 of the set ps in the zone z, with the policies of texts.
func newExport(t *testing.T, key zoneKey, texts ...string) *exported {
	x := &exported{t: t, key: key, header: key.header(), shown: true}
	var entries []policy.Entry
	var pinned, versions []any
	for i, text := range texts {
		n := string(rune('1' + i))
		v := policyVersionOf(t, "pv_"+n, "pol_"+n, text)
		versions = append(versions, v)
		pinned = append(pinned, object{"policy_id": "pol_" + n, "policy_version_id": "pv_" + n, "sha": v["sha"]})
		entries = append(entries, policy.Entry{PolicyID: deputy.ID("pol_" + n), VersionID: deputy.ID("pv_" + n), SHA: v["sha"].(string)})
	}
	sha, err := policy.ManifestSHA(entries)
	if err != nil {
		t.Fatal(err)
	}
	x.statement = policy.Statement{
		ZoneID: "z", PolicySetID: "ps", PolicySetVersion: 3, ManifestSHA: sha, KeyID: key.kid,
		AttestedAt: start, AttestedBy: "usr_1", Status: policy.Created,
	}
	x.file = object{"zone_id": "z", "policies": versions, "version": object{
		"id": "psv", "policy_set_id": "ps", "version": 3, "schema_version": "2026-06-18",
		"manifest": object{"entries": pinned}, "manifest_sha": sha,
	}}
	return x
}

func (x *exported) version() object    { return x.file["version"].(object) }
func (x *exported) entries() []any     { return x.version()["manifest"].(object)["entries"].([]any) }
func (x *exported) entry(i int) object { return x.entries()[i].(object) }
func (x *exported) policy(i int) object {
	return x.file["policies"].([]any)[i].(object)
}

// rehash makes the manifest's hash that of its entries, as somebody would who
// cannot sign.
func (x *exported) rehash() {
	var entries []policy.Entry
	for i := range x.entries() {
		e := x.entry(i)
		entries = append(entries, policy.Entry{PolicyID: deputy.ID(e["policy_id"].(string)), VersionID: deputy.ID(e["policy_version_id"].(string)), SHA: e["sha"].(string)})
	}
	sha, err := policy.ManifestSHA(entries)
	if err != nil {
		x.t.Fatal(err)
	}
	x.version()["manifest_sha"] = sha
}

// bytes writes and signs the export.
func (x *exported) bytes() []byte {
	x.t.Helper()
	payload, err := x.statement.Payload()
	if err != nil {
		x.t.Fatal(err)
	}
	if x.signed == nil {
		x.signed = x.key.sign(x.t, x.header, payload)
	}
	if _, set := x.file["attestation"]; !set {
		x.file["attestation"] = x.signed
	}
	if x.shown {
		var statement object
		if err := json.Unmarshal(payload, &statement); err != nil {
			x.t.Fatal(err)
		}
		x.version()["attestation"] = statement
	}
	raw, err := json.Marshal(x.file)
	if err != nil {
		x.t.Fatal(err)
	}
	return raw
}

func TestPolicySetVersionVerifies(t *testing.T) {
	for _, alg := range []string{"RS256", "EdDSA"} {
		key := newZoneKey(t, alg, "k")
		x := newExport(t, key, openText)
		if got := x.version()["manifest_sha"]; got != manifestSHA || x.policy(0)["sha"] != openSHA {
			t.Fatalf("the vectors are %s, %s", got, x.policy(0)["sha"])
		}
		v, err := evidence.VerifyPolicySetVersion(x.bytes(), key.jwks, nil)
		want := evidence.Attested{ZoneID: "z", PolicySetID: "ps", Version: 3, KeyID: "k", By: "usr_1", At: start, Policies: 1, Shown: 1}
		if err != nil || *v != want {
			t.Errorf("%s: %+v, %v", alg, v, err)
		}
	}
	key := newZoneKey(t, "EdDSA", "k")
	x := newExport(t, key, openText, forbidText)
	x.statement.Status, x.shown = policy.ReSigned, false
	x.version()["attestation"] = nil
	delete(x.file, "policies")
	v, err := evidence.VerifyPolicySetVersion(x.bytes(), key.jwks, nil)
	if err != nil || !v.ReSigned || v.Policies != 2 || v.Shown != 0 {
		t.Errorf("by the hashes alone: %+v, %v", v, err)
	}
	b := &bundle.Bundle{SchemaVersion: "2026-06-18", Policies: []bundle.Policy{
		{PublicID: "pol_2", Text: []byte("// why\n" + forbidText)}, {PublicID: "pol_1", Text: []byte(openText)},
	}}
	if v, err := evidence.VerifyPolicySetVersion(x.bytes(), key.jwks, b); err != nil || v.Shown != 2 {
		t.Errorf("with a directory: %+v, %v", v, err)
	}
	for name, c := range map[string]struct {
		change func(*bundle.Bundle)
		want   string
	}{
		"another schema":   {func(b *bundle.Bundle) { b.SchemaVersion = "2026-03-16" }, "the directory is of schema 2026-03-16, and the set of 2026-06-18"},
		"another policy":   {func(b *bundle.Bundle) { b.Policies[0].PublicID = "pol_3" }, "the directory has policy pol_3, which is not attested"},
		"a new policy":     {func(b *bundle.Bundle) { b.Policies[0] = bundle.Policy{NewPolicy: "mine"} }, "the directory has policy mine, which is not attested"},
		"another text":     {func(b *bundle.Bundle) { b.Policies[0].Text = []byte(openText) }, "policy pol_2 of the directory: it has the hash " + openSHA},
		"no Cedar":         {func(b *bundle.Bundle) { b.Policies[0].Text = []byte("permit") }, "policy pol_2 of the directory: it: must be one valid Cedar policy"},
		"a policy too few": {func(b *bundle.Bundle) { b.Policies = b.Policies[:1] }, "policy pol_1 is attested and missing from the directory"},
	} {
		changed := &bundle.Bundle{SchemaVersion: b.SchemaVersion, Policies: append([]bundle.Policy(nil), b.Policies...)}
		c.change(changed)
		if _, err := evidence.VerifyPolicySetVersion(x.bytes(), key.jwks, changed); deputy.KindOf(err) != deputy.Invalid || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("a directory with %s: %v", name, err)
		}
	}
}

// Whatever is changed of an export is found, and named.
func TestPolicySetVersionTampered(t *testing.T) {
	key, rsaKey, ecKey := newZoneKey(t, "EdDSA", "k"), newZoneKey(t, "RS256", "k"), newZoneKey(t, "ES256", "k")
	other := policyVersionOf(t, "pv_1", "pol_1", forbidText)
	for name, c := range map[string]struct {
		change func(x *exported)
		want   string
	}{
		// The policies.
		"the text of a policy":  {func(x *exported) { x.policy(0)["cedar_raw"] = other["cedar_raw"] }, "manifest.entries[0]: policy version pv_1: cedar_raw has the hash "},
		"the JSON of a policy":  {func(x *exported) { x.policy(0)["cedar_json"] = other["cedar_json"] }, "manifest.entries[0]: policy version pv_1: cedar_json has the hash "},
		"no text":               {func(x *exported) { delete(x.policy(0), "cedar_raw") }, "manifest.entries[0]: policy version pv_1: cedar_raw and cedar_json must both be there"},
		"no JSON":               {func(x *exported) { delete(x.policy(0), "cedar_json") }, "manifest.entries[0]: policy version pv_1: cedar_raw and cedar_json must both be there"},
		"text that is no Cedar": {func(x *exported) { x.policy(0)["cedar_raw"] = "permit" }, "manifest.entries[0]: policy version pv_1: cedar_raw: must be one valid"},
		"a whole policy":        {func(x *exported) { maps.Copy(x.policy(0), other) }, "manifest.entries[0]: policy version pv_1: its sha is "},
		"a policy's id":         {func(x *exported) { x.policy(0)["policy_id"] = "pol_2" }, "manifest.entries[0]: policy version pv_1: it is of policy pol_2, and the manifest says pol_1"},
		"a version's id":        {func(x *exported) { x.policy(0)["id"] = "pv_9" }, "manifest.entries[0]: policy version pv_1 is missing from policies"},
		"a policy left out":     {func(x *exported) { x.file["policies"] = x.file["policies"].([]any)[1:] }, "manifest.entries[0]: policy version pv_1 is missing from policies"},
		"a policy more": {func(x *exported) {
			x.file["policies"] = append(x.file["policies"].([]any), policyVersionOf(t, "pv_9", "pol_9", openText))
		}, "policies[2]: policy version pv_9 is not in the manifest"},
		"a policy twice":    {func(x *exported) { x.file["policies"] = append(x.file["policies"].([]any), x.policy(0)) }, "policies[2] is policy version pv_1 again"},
		"a policy's schema": {func(x *exported) { x.policy(1)["schema_version"] = "2026-03-16" }, "manifest.entries[1]: policy version pv_2: it was validated against schema 2026-03-16"},

		// The manifest, also with the hash that it has then.
		"a policy and its entry": {func(x *exported) {
			maps.Copy(x.policy(0), other)
			x.entry(0)["sha"] = other["sha"]
			x.rehash()
		}, "manifest_sha is "},
		"an entry's hash": {func(x *exported) { x.entry(0)["sha"] = openSHA[1:] + "0" }, "manifest_sha is "},
		"an entry left out": {func(x *exported) {
			x.version()["manifest"].(object)["entries"] = x.entries()[1:]
		}, "manifest_sha is "},
		"an entry left out, hashed": {func(x *exported) {
			x.version()["manifest"].(object)["entries"] = x.entries()[1:]
			x.rehash()
		}, "manifest_sha is "},
		"an entry more": {func(x *exported) {
			x.version()["manifest"].(object)["entries"] = append(x.entries(), x.entry(0))
			x.rehash()
		}, "manifest_sha is "},
		"the order": {func(x *exported) {
			x.version()["manifest"].(object)["entries"] = []any{x.entry(1), x.entry(0)}
			x.rehash()
		}, "manifest_sha is "},
		"the manifest's hash": {func(x *exported) { x.version()["manifest_sha"] = openSHA }, "manifest_sha is " + openSHA},

		// What the version is.
		"the zone":       {func(x *exported) { x.file["zone_id"] = "other" }, "zone_id is other, and z is attested"},
		"another zone's": {func(x *exported) { x.statement.ZoneID = "other" }, "zone_id is z, and other is attested"},
		"the set":        {func(x *exported) { x.version()["policy_set_id"] = "other" }, "policy_set_id is other, and ps is attested"},
		"the number":     {func(x *exported) { x.version()["version"] = 4 }, "policy_set_version is 4, and 3 is attested"},
		"the schema":     {func(x *exported) { x.version()["schema_version"] = "2026-03-16" }, "manifest.entries[0]: policy version pv_1: it was validated against schema 2026-06-18, and the set is of 2026-03-16"},
		"what it tells":  {func(x *exported) { x.shown = false; x.version()["attestation"] = object{"attested_by": "usr_2"} }, "version.attestation is not what was signed"},
		"no version":     {func(x *exported) { x.file["version"], x.shown = "3", false }, "version is not a policy set version"},

		// The signature.
		"another key":                  {func(x *exported) { x.key = newZoneKey(t, "EdDSA", "k") }, "attestation: the signature is wrong"},
		"an unknown key":               {func(x *exported) { x.header = `{"alg":"EdDSA","kid":"other"}` }, `attestation: the key set has no key "other"`},
		"a key's name":                 {func(x *exported) { x.statement.KeyID = "other" }, `attestation: it names the key "other" and is signed with "k"`},
		"the type":                     {func(x *exported) { x.header = `{"alg":"EdDSA","kid":"k","typ":"JWT"}` }, "attestation: the signature's header is malformed"},
		"no algorithm":                 {func(x *exported) { x.header = `{"alg":"none","kid":"k"}` }, "attestation: the signature is wrong"},
		"another algorithm":            {func(x *exported) { x.header = `{"alg":"RS256","kid":"k"}` }, "attestation: the signature is wrong"},
		"an algorithm of tokens alone": {func(x *exported) { x.key, x.header = ecKey, ecKey.header() }, "attestation: the signature's header is malformed"},
		"an algorithm of another key":  {func(x *exported) { x.key, x.header = rsaKey, rsaKey.header() }, "attestation: the signature is wrong"},
		"a critical header":            {func(x *exported) { x.header = `{"alg":"EdDSA","crit":["b64"],"b64":false,"kid":"k"}` }, "attestation: the signature's header is malformed"},
		"another statement":            {func(x *exported) { x.signed = key.sign(t, key.header(), []byte(`{"v":2}`)) }, "attestation: the attestation is of an unknown kind"},
		"no statement":                 {func(x *exported) { x.signed = key.sign(t, key.header(), []byte(`[]`)) }, "attestation: the attestation's payload is no statement"},
		"no signature":                 {func(x *exported) { x.file["attestation"] = object{"payload": "", "protected": ""} }, "attestation: the signature's header is malformed"},
		"no attestation":               {func(x *exported) { x.file["attestation"] = nil }, "attestation"},
		"a JWS of two":                 {func(x *exported) { x.file["attestation"] = object{"payload": "", "signatures": []any{}} }, "attestation is not a signature"},
	} {
		x := newExport(t, key, openText, forbidText)
		c.change(x)
		_, err := evidence.VerifyPolicySetVersion(x.bytes(), key.jwks, nil)
		if deputy.KindOf(err) != deputy.Invalid || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", name, err, c.want)
		}
	}
	good := newExport(t, key, openText).bytes()
	for name, jwks := range map[string]string{"no key set": `[]`, "an empty key set": `{"keys":[]}`} {
		if _, err := evidence.VerifyPolicySetVersion(good, []byte(jwks), nil); deputy.KindOf(err) != deputy.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, file := range map[string]string{
		"no JSON": `{`, "a member twice": `{"zone_id":"z",` + string(good[1:]), "a version as the API answers it": `{"id":"psv","manifest_sha":"x"}`,
	} {
		if _, err := evidence.VerifyPolicySetVersion([]byte(file), key.jwks, nil); deputy.KindOf(err) != deputy.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
