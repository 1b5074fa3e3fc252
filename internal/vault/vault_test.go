package vault_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/vault"
)

var now = time.Date(2026, 11, 24, 2, 23, 0, 0, time.UTC)

// table is the data keys of a database.
type table struct {
	mu    sync.Mutex
	rows  map[deputy.ID]deputy.DataKey
	reads int
	err   error
}

func (t *table) DataKey(_ context.Context, id deputy.ID) (deputy.DataKey, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reads++
	if t.err != nil {
		return deputy.DataKey{}, t.err
	}
	row, ok := t.rows[id]
	if !ok {
		return deputy.DataKey{}, deputy.Errorf(deputy.NotFound, "no such data key")
	}
	return row, nil
}

func (t *table) put(row deputy.DataKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rows == nil {
		t.rows = map[deputy.ID]deputy.DataKey{}
	}
	t.rows[row.ID] = row
}

func (t *table) remove(id deputy.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.rows, id)
}

func testRoot(b byte) *vault.Root { return vault.NewRoot([32]byte{b, 1, 2, 3}) }

// tree makes a zone key and a user key beneath it.
func tree(t testing.TB, v *vault.Vault, rows *table) (zone, user deputy.DataKey) {
	t.Helper()
	zone, err := v.New(t.Context(), "zoneowner", "", now)
	if err != nil {
		t.Fatal(err)
	}
	rows.put(zone)
	user, err = v.New(t.Context(), "userowner", zone.ID, now)
	if err != nil {
		t.Fatal(err)
	}
	rows.put(user)
	return zone, user
}

var place = vault.Place{Zone: "z1", Table: "secrets", Column: "data", Row: "r1"}

func TestSealedValuesOpenAfterRestart(t *testing.T) {
	rows := &table{}
	before := vault.New(testRoot(1), rows)
	zone, user := tree(t, before, rows)
	for _, key := range []deputy.ID{zone.ID, user.ID} {
		for _, plain := range []string{"", "x", "a longer secret than one block of the cipher takes"} {
			sealed, err := before.Seal(t.Context(), key, place, []byte(plain))
			if err != nil {
				t.Fatal(err)
			}
			after := vault.New(testRoot(1), rows)
			got, err := after.Open(t.Context(), place, sealed)
			if err != nil || string(got) != plain {
				t.Errorf("opened %q, %v; want %q", got, err, plain)
			}
		}
	}
}

func TestAKeySealsBeforeItsRowIsCommitted(t *testing.T) {
	v := vault.New(testRoot(1), &table{})
	zone, err := v.New(t.Context(), "zoneowner", "", now)
	if err != nil {
		t.Fatal(err)
	}
	user, err := v.New(t.Context(), "userowner", zone.ID, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Seal(t.Context(), user.ID, place, []byte("x")); err != nil {
		t.Errorf("sealing under a fresh key: %v", err)
	}
}

// TestValuesAreBoundToTheirPlace moves a value to every neighbouring place, also
// to those whose parts join to the same text.
func TestValuesAreBoundToTheirPlace(t *testing.T) {
	rows := &table{}
	v := vault.New(testRoot(1), rows)
	_, user := tree(t, v, rows)
	sealed, err := v.Seal(t.Context(), user.ID, place, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []vault.Place{
		{},
		{Zone: "z2", Table: "secrets", Column: "data", Row: "r1"},
		{Zone: "", Table: "secrets", Column: "data", Row: "r1"},
		{Zone: "z1", Table: "tokens", Column: "data", Row: "r1"},
		{Zone: "z1", Table: "secrets", Column: "note", Row: "r1"},
		{Zone: "z1", Table: "secrets", Column: "data", Row: "r2"},
		{Zone: "z1s", Table: "ecrets", Column: "data", Row: "r1"},
		{Zone: "z1", Table: "secretsd", Column: "ata", Row: "r1"},
		{Zone: "z1", Table: "secrets", Column: "datar", Row: "1"},
		{Zone: "z1", Table: "secrets", Column: "data\x02r1", Row: ""},
	} {
		if _, err := v.Open(t.Context(), other, sealed); !errors.Is(err, vault.ErrRefused) {
			t.Errorf("opens at %+v: %v", other, err)
		}
	}
}

func TestAlteredValuesAreRefused(t *testing.T) {
	rows := &table{}
	v := vault.New(testRoot(1), rows)
	zone, user := tree(t, v, rows)
	sealed, err := v.Seal(t.Context(), user.ID, place, []byte("some plain text"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		for bit := range 8 {
			altered := bytes.Clone(sealed)
			altered[i] ^= 1 << bit
			if plain, err := v.Open(t.Context(), place, altered); err == nil {
				t.Errorf("bit %d of byte %d altered: opens as %q", bit, i, plain)
			}
		}
		if _, err := v.Open(t.Context(), place, sealed[:i]); !errors.Is(err, vault.ErrRefused) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
	for name, altered := range map[string][]byte{
		"nil":         nil,
		"longer":      append(bytes.Clone(sealed), 0),
		"other key":   append([]byte("\x01"+string(zone.ID)), sealed[27:]...),
		"version 0":   append([]byte{0}, sealed[1:]...),
		"version 2":   append([]byte{2}, sealed[1:]...),
		"wrapped key": append([]byte("\x01"+string(zone.ID)), user.Wrapped...),
	} {
		if _, err := v.Open(t.Context(), place, altered); !errors.Is(err, vault.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestForeignRootKeyIsRefused(t *testing.T) {
	rows := &table{}
	v := vault.New(testRoot(1), rows)
	_, user := tree(t, v, rows)
	sealed, err := v.Seal(t.Context(), user.ID, place, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	other := vault.New(testRoot(2), rows)
	if _, err := other.Open(t.Context(), place, sealed); !errors.Is(err, vault.ErrRefused) {
		t.Errorf("opens with another root key: %v", err)
	}
	if _, err := other.New(t.Context(), "u", user.ID, now); !errors.Is(err, vault.ErrRefused) {
		t.Errorf("wraps beneath a key of another root: %v", err)
	}
}

// TestDataKeyRowsAreBound alters each member of a row, as someone with access
// to the database could.
func TestDataKeyRowsAreBound(t *testing.T) {
	rows := &table{}
	v := vault.New(testRoot(1), rows)
	zone, user := tree(t, v, rows)
	zone2, user2 := tree(t, v, rows)
	user3, err := v.New(t.Context(), user.OwnerID, zone.ID, now)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := v.Seal(t.Context(), user.ID, place, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for name, alter := range map[string]func(zone, user *deputy.DataKey){
		"owner of the user key":        func(_, u *deputy.DataKey) { u.OwnerID = user2.OwnerID + "2" },
		"owner of the zone key":        func(z, _ *deputy.DataKey) { z.OwnerID = "other" },
		"parent":                       func(_, u *deputy.DataKey) { u.ParentID = zone2.ID },
		"no parent":                    func(_, u *deputy.DataKey) { u.ParentID = "" },
		"itself as parent":             func(_, u *deputy.DataKey) { u.ParentID = u.ID },
		"circle":                       func(z, u *deputy.DataKey) { z.ParentID = u.ID },
		"odd parent":                   func(_, u *deputy.DataKey) { u.ParentID = "odd" },
		"another's ciphertext":         func(_, u *deputy.DataKey) { u.Wrapped = user2.Wrapped },
		"the same owner's other key":   func(_, u *deputy.DataKey) { u.Wrapped = user3.Wrapped },
		"the zone's ciphertext":        func(z, u *deputy.DataKey) { u.Wrapped = z.Wrapped },
		"a value instead of a key":     func(_, u *deputy.DataKey) { u.Wrapped = sealed[27:] },
		"altered ciphertext":           func(_, u *deputy.DataKey) { u.Wrapped = append(bytes.Clone(u.Wrapped[1:]), 1) },
		"no ciphertext":                func(_, u *deputy.DataKey) { u.Wrapped = nil },
		"another row under this id":    func(_, u *deputy.DataKey) { *u = user2 },
		"no ciphertext below the root": func(z, _ *deputy.DataKey) { z.Wrapped = nil },
	} {
		z, u := zone, user
		alter(&z, &u)
		altered := &table{rows: map[deputy.ID]deputy.DataKey{zone.ID: z, user.ID: u, zone2.ID: zone2, user2.ID: user2}}
		if _, err := vault.New(testRoot(1), altered).Open(t.Context(), place, sealed); !errors.Is(err, vault.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := vault.New(testRoot(1), altered).Seal(t.Context(), user.ID, place, nil); !errors.Is(err, vault.ErrRefused) {
			t.Errorf("%s: seals, %v", name, err)
		}
	}
}

func TestDestroyedKeysAreErased(t *testing.T) {
	for _, which := range []string{"user", "zone"} {
		rows := &table{}
		v := vault.New(testRoot(1), rows)
		zone, user := tree(t, v, rows)
		other, err := v.New(t.Context(), "other", "", now)
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := v.Seal(t.Context(), user.ID, place, []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		gone := map[string]deputy.ID{"user": user.ID, "zone": zone.ID}[which]
		rows.remove(gone)
		v.Forget(gone)

		_, openErr := v.Open(t.Context(), place, sealed)
		_, sealErr := v.Seal(t.Context(), user.ID, place, []byte("x"))
		_, newErr := v.New(t.Context(), "u", user.ID, now)
		for _, err := range []error{openErr, sealErr, newErr} {
			var shown *deputy.Error
			if !errors.Is(err, deputy.NotFound) || !errors.As(err, &shown) || shown.Message != "erased" {
				t.Errorf("%s key gone: %v", which, err)
			}
		}
		if _, err := v.Seal(t.Context(), other.ID, place, nil); err != nil {
			t.Errorf("%s key gone, another forgotten too: %v", which, err)
		}
	}
}

// TestForgetWinsOverAReadUnderWay drops a key while its row, read before it was
// deleted, is on its way into the cache.
func TestForgetWinsOverAReadUnderWay(t *testing.T) {
	rows := &table{}
	made := vault.New(testRoot(1), rows)
	zone, _ := tree(t, made, rows)
	sealed, err := made.Seal(t.Context(), zone.ID, place, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	late := &forgetful{table: rows, id: zone.ID}
	late.vault = vault.New(testRoot(1), late)
	if _, err := late.vault.Open(t.Context(), place, sealed); err != nil {
		t.Fatal(err)
	}
	if _, err := late.vault.Open(t.Context(), place, sealed); !errors.Is(err, deputy.NotFound) {
		t.Errorf("the key is still in memory: %v", err)
	}
}

// forgetful deletes and forgets a key just after its row was read.
type forgetful struct {
	*table
	vault *vault.Vault
	id    deputy.ID
}

func (f *forgetful) DataKey(ctx context.Context, id deputy.ID) (deputy.DataKey, error) {
	row, err := f.table.DataKey(ctx, id)
	f.remove(f.id)
	f.vault.Forget(f.id)
	return row, err
}

func TestNewKeysOutliveAForgetMeanwhile(t *testing.T) {
	kek := &interrupting{Root: testRoot(1)}
	v := vault.New(kek, &table{})
	kek.during = func() { v.Forget("another") }
	zone, err := v.New(t.Context(), "zoneowner", "", now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Seal(t.Context(), zone.ID, place, nil); err != nil {
		t.Errorf("the fresh key is not in memory: %v", err)
	}
}

// interrupting is a root key during whose first use something happens.
type interrupting struct {
	*vault.Root
	during func()
}

func (i *interrupting) KEK(context.Context, string) (vault.KEK, error) { return i, nil }

func (i *interrupting) Wrap(ctx context.Context, plain, associated []byte) ([]byte, error) {
	if i.during != nil {
		i.during()
		i.during = nil
	}
	return i.Root.Wrap(ctx, plain, associated)
}

// TestFailuresElsewhereAreNotErasure: a database that does not answer must not
// look like a key that was destroyed, nor like a forgery.
func TestFailuresElsewhereAreNotErasure(t *testing.T) {
	rows := &table{}
	v := vault.New(testRoot(1), rows)
	zone, _ := tree(t, v, rows)
	rows.err = errors.New("disk on fire")
	_, err := vault.New(testRoot(1), rows).Seal(t.Context(), zone.ID, place, nil)
	if !errors.Is(err, rows.err) || errors.Is(err, deputy.NotFound) || errors.Is(err, vault.ErrRefused) {
		t.Errorf("got %v", err)
	}
}

func TestTheCacheIsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	rows := &table{}
	v := vault.New(testRoot(1), rows)
	hot, err := v.New(t.Context(), "hot", "", now)
	if err != nil {
		t.Fatal(err)
	}
	rows.put(hot)
	var ids []deputy.ID
	for i := range 6000 {
		k, err := v.New(t.Context(), deputy.ID(fmt.Sprint("owner", i)), "", now)
		if err != nil {
			t.Fatal(err)
		}
		rows.put(k)
		ids = append(ids, k.ID)
		if _, err := v.Seal(t.Context(), hot.ID, place, nil); err != nil {
			t.Fatal(err)
		}
	}
	if rows.reads != 0 {
		t.Errorf("the key in use was read %d times", rows.reads)
	}
	for _, id := range ids {
		if _, err := v.Seal(t.Context(), id, place, nil); err != nil {
			t.Fatal(err)
		}
	}
	if rows.reads < 1000 {
		t.Errorf("%d of 6000 keys left the cache", rows.reads)
	}
}

func TestConcurrentUse(t *testing.T) {
	rows := &table{}
	v := vault.New(testRoot(1), rows)
	zone, user := tree(t, v, rows)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 200 {
				sealed, err := v.Seal(t.Context(), user.ID, place, []byte("x"))
				if err != nil {
					t.Error(err)
				}
				if _, err := v.Open(t.Context(), place, sealed); err != nil {
					t.Error(err)
				}
				if i%20 == 0 {
					v.Forget(zone.ID)
				}
			}
		})
	}
	wg.Wait()
}

// TestNothingAtRestIsReadable looks for the plain text, in the forms it could
// have, in every byte that would be stored.
func TestNothingAtRestIsReadable(t *testing.T) {
	const canary = "canary-0123456789abcdef"
	rows := &table{}
	v := vault.New(testRoot(1), rows)
	_, user := tree(t, v, rows)
	var stored bytes.Buffer
	seen := map[string]bool{}
	for range 100 {
		sealed, err := v.Seal(t.Context(), user.ID, place, []byte(canary))
		if err != nil {
			t.Fatal(err)
		}
		if seen[string(sealed)] {
			t.Fatal("the same ciphertext twice")
		}
		seen[string(sealed)] = true
		stored.Write(sealed)
	}
	for _, row := range rows.rows {
		fmt.Fprintf(&stored, "%s", row.Wrapped)
	}
	fmt.Fprintf(&stored, "%v %+v %#v", testRoot(1), testRoot(1), testRoot(1))
	fmt.Fprintf(&stored, "%v %+v", v, v)
	for _, form := range []string{
		canary, canary[7:], hex.EncodeToString([]byte(canary)),
		base64.StdEncoding.EncodeToString([]byte(canary)), base64.RawURLEncoding.EncodeToString([]byte(canary)),
		string([]byte{1, 1, 2, 3, 0, 0, 0, 0}), "[1 1 2 3 0 0", "0x1, 0x1, 0x2, 0x3",
	} {
		if bytes.Contains(stored.Bytes(), []byte(form)) {
			t.Errorf("%q is readable", form)
		}
	}
}

func FuzzOpen(f *testing.F) {
	rows := &table{}
	v := vault.New(testRoot(1), rows)
	zone, user := tree(f, v, rows)
	good, err := v.Seal(context.Background(), user.ID, place, []byte("plain"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:27])
	f.Add(append([]byte("\x01"+string(zone.ID)), user.Wrapped...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, sealed []byte) {
		plain, err := v.Open(t.Context(), place, sealed)
		switch {
		case bytes.Equal(sealed, good):
			if err != nil || string(plain) != "plain" {
				t.Errorf("the true value: %q, %v", plain, err)
			}
		case err == nil:
			t.Errorf("%x opens as %q", sealed, plain)
		case !errors.Is(err, vault.ErrRefused) && !errors.Is(err, deputy.NotFound):
			t.Errorf("%x: %v", sealed, err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	rows := &table{}
	v := vault.New(testRoot(1), rows)
	_, user := tree(b, v, rows)
	plain := []byte("someone@example.com")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Seal(b.Context(), user.ID, place, plain); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	rows := &table{}
	v := vault.New(testRoot(1), rows)
	_, user := tree(b, v, rows)
	sealed, err := v.Seal(b.Context(), user.ID, place, []byte("someone@example.com"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Open(b.Context(), place, sealed); err != nil {
			b.Fatal(err)
		}
	}
}
