package evidence_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/evidence"
	"deputy/internal/keys"
	"deputy/internal/vault"
)

const organization deputy.OrganizationID = "01organization000000000000"

var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

type dataKeys map[deputy.ID]deputy.DataKey

func (d dataKeys) DataKey(_ context.Context, id deputy.ID) (deputy.DataKey, error) { return d[id], nil }

// key is a signer and what verifiers know of it.
type key struct {
	signer *keys.Signer
	jwks   []byte
}

var newKeys = sync.OnceValues(func() (k [2]key, err error) {
	ctx, rows := context.Background(), dataKeys{}
	v := vault.New(vault.NewRoot([32]byte{7}), rows)
	data, err := v.New(ctx, deputy.PlatformID, "", start)
	if err != nil {
		return k, err
	}
	rows[data.ID] = data
	for i := range k {
		signer, row, err := keys.Generate(ctx, v, nil, keys.Spec{
			Owner: deputy.PlatformID, DataKey: data.ID, Algorithm: deputy.ES256, State: deputy.KeyActive, Now: start,
		})
		if err != nil {
			return k, err
		}
		set, err := keys.NewSet([]deputy.SigningKey{row}, start)
		if err != nil {
			return k, err
		}
		k[i] = key{signer, set.JWKS()}
	}
	return k, nil
})

// ours and theirs are two keys.
func ours(t testing.TB) key   { return keyOf(t, 0) }
func theirs(t testing.TB) key { return keyOf(t, 1) }

func keyOf(t testing.TB, i int) key {
	t.Helper()
	k, err := newKeys()
	if err != nil {
		t.Fatal(err)
	}
	return k[i]
}

// entries are those of a log of n events, of which every fourth is not shown.
func entries(n int) []evidence.Entry {
	var log []evidence.Entry
	for i := range n {
		record := fmt.Appendf(nil, `{"id":"e%d","type":"credentials:issue","note":"seq \"7\" and more"}`, i)
		e := evidence.Entry{Seq: int64(i + 1), Leaf: deputy.LeafHash(record), Record: record}
		if i%4 == 3 {
			e.Record = nil
		}
		log = append(log, e)
	}
	return log
}

// signed is the checkpoint of a log.
func signed(t testing.TB, k key, of deputy.OrganizationID, log []evidence.Entry) evidence.Signed {
	t.Helper()
	var hashes []tlog.Hash
	read := tlog.HashReaderFunc(func(at []int64) (out []tlog.Hash, err error) {
		for _, i := range at {
			out = append(out, hashes[i])
		}
		return out, nil
	})
	for i, e := range log {
		add, err := tlog.StoredHashesForRecordHash(int64(i), e.Leaf, read)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, add...)
	}
	root, err := tlog.TreeHash(int64(len(log)), read)
	if err != nil {
		t.Fatal(err)
	}
	token, err := evidence.Checkpoint{Organization: of, Size: int64(len(log)), Root: root, Time: start}.Sign(k.signer)
	if err != nil {
		t.Fatal(err)
	}
	s, err := evidence.NewSigned(token, k.jwks)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// lines is the export of a log.
func lines(t testing.TB, k key, log []evidence.Entry) [][]byte {
	t.Helper()
	var file [][]byte
	for _, e := range log {
		file = append(file, e.Append(nil))
	}
	return append(file, signed(t, k, organization, log).Append(nil))
}

func verify(file [][]byte, jwks []byte, earlier *evidence.Signed) (*evidence.Verified, error) {
	return evidence.Verify(bytes.NewReader(slices.Concat(file...)), jwks, earlier)
}

func TestAnExportProvesItself(t *testing.T) {
	k := ours(t)
	for n := range 70 {
		log := entries(n)
		for _, jwks := range [][]byte{k.jwks, nil} {
			v, err := verify(lines(t, k, log), jwks, nil)
			if err != nil {
				t.Fatalf("%d events: %v", n, err)
			}
			if v.Size != int64(n) || v.Shown != int64(n-n/4) || v.Organization != organization || !v.Time.Equal(start) ||
				v.Anchored != (jwks != nil) || v.Fingerprint == "" {
				t.Errorf("%d events: %+v", n, v)
			}
		}
	}
}

// wantMistake fails unless err is a mistake in the line.
func wantMistake(t *testing.T, err error, line int, reason string) {
	t.Helper()
	var m *evidence.Mistake
	if !errors.As(err, &m) || m.Line != int64(line) || !strings.Contains(m.Reason, reason) {
		t.Errorf("%v, want line %d: …%s…", err, line, reason)
	}
}

func TestForgeries(t *testing.T) {
	k, log := ours(t), entries(21)
	file := lines(t, k, log)
	// Whoever has no key of the platform cannot make another log of it, ...
	forged := slices.Clone(log)
	forged[4].Record = []byte(`{"id":"e4","type":"credentials:refuse"}`)
	forged[4].Leaf = deputy.LeafHash(forged[4].Record)
	_, err := verify(append(lines(t, k, forged)[:21:21], file[21]), k.jwks, nil)
	wantMistake(t, err, 22, "do not lead to the checkpoint")
	_, err = verify(lines(t, theirs(t), forged), k.jwks, nil)
	wantMistake(t, err, 22, "has no key")
	// ... and taking the key from the file says whose it is.
	v, err := verify(lines(t, theirs(t), forged), nil, nil)
	if err != nil || v.Anchored {
		t.Fatal(v, err)
	}
	if honest, err := verify(file, nil, nil); err != nil || honest.Fingerprint == v.Fingerprint {
		t.Error("the same fingerprint", err)
	}
	// What the platform signed for something else is no checkpoint.
	token, err := k.signer.Sign("at+jwt", []byte(`{"organization_id":"x","tree_size":0,"root_hash":"","time":""}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := evidence.OpenCheckpoint(k.jwks, token); deputy.KindOf(err) != deputy.Invalid {
		t.Error(err)
	}
	// A hash that is not shown is no less proven.
	hidden := slices.Clone(log)
	hidden[7].Leaf[3]++
	_, err = verify(append(lines(t, k, hidden)[:21:21], file[21]), k.jwks, nil)
	wantMistake(t, err, 22, "do not lead to the checkpoint")
}

func TestAnEarlierCheckpoint(t *testing.T) {
	k, log := ours(t), entries(40)
	file := lines(t, k, log)
	for n := range 41 {
		earlier := signed(t, k, organization, log[:n])
		for _, jwks := range [][]byte{k.jwks, nil} {
			if _, err := verify(file, jwks, &earlier); err != nil {
				t.Errorf("%d of 40: %v", n, err)
			}
		}
	}
	// The platform itself cannot take back what it once signed.
	changed := entries(40)
	changed[9].Leaf[0]++
	changed[9].Record = nil
	earlier := signed(t, k, organization, changed[:20])
	_, err := verify(file, k.jwks, &earlier)
	wantMistake(t, err, 20, "not the one of the earlier checkpoint")
	earlier = signed(t, k, organization, entries(50))
	_, err = verify(file, k.jwks, &earlier)
	wantMistake(t, err, 40, "not the one of the earlier checkpoint")
	earlier = signed(t, k, "01another00000000000000000", log[:20])
	_, err = verify(file, k.jwks, &earlier)
	wantMistake(t, err, 20, "not the one of the earlier checkpoint")
	earlier = signed(t, theirs(t), organization, log[:20])
	if _, err = verify(file, k.jwks, &earlier); deputy.KindOf(err) != deputy.Invalid {
		t.Error(err)
	}
}

// TestDamageIsFound damages an export at random, 10,000 times where all of it
// runs, and wants the first line named that is not as it was.
func TestDamageIsFound(t *testing.T) {
	k := ours(t)
	file := lines(t, k, entries(60))
	n := len(file)
	for seed := range uint64(deputytest.Times(1200, 10_000, 10_000)) {
		r := rand.New(rand.NewPCG(seed, 8))
		damaged, first, how := slices.Clone(file), r.IntN(n), ""
		switch seed % 6 {
		case 0:
			how = "a byte is another"
			line := slices.Clone(file[first])
			line[r.IntN(len(line))] ^= byte(1 + r.IntN(255))
			damaged[first] = line
		case 1:
			how = "two lines are exchanged"
			other := (first + 1 + r.IntN(n-1)) % n
			damaged[first], damaged[other] = damaged[other], damaged[first]
		case 2:
			how = "a line is gone"
			damaged = slices.Delete(damaged, first, first+1)
		case 3:
			how = "a line is there again"
			damaged = slices.Insert(damaged, first+1, file[r.IntN(n)])
		case 4:
			how = "the end is cut off"
			damaged = damaged[:first]
		case 5:
			how = "the end is cut off within a line"
			damaged = append(damaged[:first:first], file[first][:r.IntN(len(file[first]))])
		}
		first = 0
		for first < min(n, len(damaged)) && bytes.Equal(file[first], damaged[first]) {
			first++
		}
		_, err := verify(damaged, [][]byte{k.jwks, nil}[r.IntN(2)], nil)
		var m *evidence.Mistake
		if !errors.As(err, &m) || m.Line != int64(first+1) {
			t.Fatalf("seed %d: %s: %v, want line %d", seed, how, err, first+1)
		}
	}
}

// nothing stands for any hash: how long a proof is depends on the tree's size
// alone.
func nothing(at []int64) ([]tlog.Hash, error) { return make([]tlog.Hash, len(at)), nil }

// TestProofsAreShort: of a log of a million events, no proof takes 2 KB.
func TestProofsAreShort(t *testing.T) {
	const size, most = 1_000_000, 2 << 10
	longest, r := 0, rand.New(rand.NewPCG(1, 8))
	weigh := func(proof []tlog.Hash, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(proof)
		if err != nil {
			t.Fatal(err)
		}
		longest = max(longest, len(text))
	}
	for n := range 2000 {
		at := r.Int64N(size)
		if n < 100 { // and at both ends
			at = []int64{int64(n), size - 1 - int64(n)}[n%2]
		}
		included, err := tlog.ProveRecord(size, at, tlog.HashReaderFunc(nothing))
		weigh(included, err)
		grown, err := tlog.ProveTree(size, at+1, tlog.HashReaderFunc(nothing))
		weigh(grown, err)
	}
	if t.Logf("the longest proof takes %d bytes", longest); longest > most {
		t.Errorf("that is more than %d", most)
	}
}

func FuzzVerify(f *testing.F) {
	k := ours(f)
	f.Add(slices.Concat(lines(f, k, entries(5))...))
	f.Add([]byte("{\"checkpoint\":\"a.b.c\",\"key\":{}}\n"))
	f.Add([]byte(`{"a":1,"seq":1,"leaf_hash":"` + strings.Repeat("A", 43) + "=\"}\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		v, err := evidence.Verify(bytes.NewReader(file), k.jwks, nil)
		var m *evidence.Mistake
		if err == nil && v.Size == 0 || err == nil && v.Size > int64(bytes.Count(file, []byte("\n"))) || err != nil && !errors.As(err, &m) {
			t.Errorf("%+v, %v", v, err)
		}
	})
}
