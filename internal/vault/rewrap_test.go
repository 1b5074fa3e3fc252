package vault_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/vault"
)

// keyring is key-encryption keys of which one is in force.
type keyring struct {
	current string
	keys    map[string]vault.KEK
}

func (k *keyring) Current(context.Context) (string, error) { return k.current, nil }

func (k *keyring) KEK(_ context.Context, name string) (vault.KEK, error) {
	if key := k.keys[name]; key != nil {
		return key, nil
	}
	return nil, vault.ErrRefused
}

// refusing is a customer's key whose owner can take it away, or unplug it.
type refusing struct {
	*vault.Root
	err  error
	uses int
}

func (r *refusing) Unwrap(ctx context.Context, wrapped, associated []byte) ([]byte, error) {
	r.uses++
	if r.err != nil {
		return nil, r.err
	}
	return r.Root.Unwrap(ctx, wrapped, associated)
}

func TestRewrap(t *testing.T) {
	former, next := testRoot(1), testRoot(2)
	rows := &table{}
	v := vault.New(former, rows)
	zone, user := tree(t, v, rows)
	sealed, err := v.Seal(t.Context(), user.ID, place, []byte("plain"))
	if err != nil {
		t.Fatal(err)
	}
	both := &keyring{current: next.Fingerprint(), keys: map[string]vault.KEK{former.Fingerprint(): former, next.Fingerprint(): next}}
	v = vault.New(both, rows)
	again, err := v.Rewrap(t.Context(), zone, "")
	if err != nil || again.KEK != next.Fingerprint() || zone.KEK != former.Fingerprint() || again.ID != zone.ID || string(again.Wrapped) == string(zone.Wrapped) {
		t.Fatalf("rewrapped %+v, %v", again, err)
	}
	rows.put(again)
	if plain, err := vault.New(next, rows).Open(t.Context(), place, sealed); err != nil || string(plain) != "plain" {
		t.Errorf("by the next key: %q, %v", plain, err)
	}
	if _, err := vault.New(former, rows).Open(t.Context(), place, sealed); !errors.Is(err, vault.ErrRefused) {
		t.Errorf("by the former key: %v", err)
	}
	// A row that names another key than the one that wraps it is no way in.
	forged := again
	forged.KEK = former.Fingerprint()
	rows.put(forged)
	if _, err := vault.New(both, rows).Open(t.Context(), place, sealed); !errors.Is(err, vault.ErrRefused) {
		t.Errorf("with another name: %v", err)
	}
	if _, err := vault.New(next, rows).Rewrap(t.Context(), zone, ""); !errors.Is(err, vault.ErrRefused) {
		t.Errorf("without the former key: %v", err)
	}
	if made, err := v.New(t.Context(), "o", "", now); err != nil || made.KEK != next.Fingerprint() {
		t.Errorf("a new key is wrapped by %q, %v", made.KEK, err)
	}
}

// TestKeysInMemoryAreLookedAfter: another node learns within a minute that a key
// was destroyed, and a customer's key that is taken away ends what hangs on it.
func TestKeysInMemoryAreLookedAfter(t *testing.T) {
	rows, at := &table{}, now
	own := &refusing{Root: testRoot(3)}
	root := testRoot(1)
	ring := &keyring{current: root.Fingerprint(), keys: map[string]vault.KEK{root.Fingerprint(): root, "aws:o:arn": own}}
	v := vault.New(ring, rows)
	v.Now = func() time.Time { return at }
	zone, user := tree(t, v, rows)
	sealed, err := v.Seal(t.Context(), user.ID, place, []byte("plain"))
	if err != nil {
		t.Fatal(err)
	}
	open := func(want error) {
		t.Helper()
		if _, err := v.Open(t.Context(), place, sealed); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	reads := rows.reads
	for range 100 {
		open(nil)
	}
	if rows.reads != reads {
		t.Errorf("%d looks within a minute", rows.reads-reads)
	}
	at = at.Add(vault.Believed)
	for range 100 {
		open(nil)
	}
	if rows.reads != reads+2 {
		t.Errorf("%d looks at two rows", rows.reads-reads)
	}
	rows.remove(zone.ID) // by another node
	open(nil)
	at = at.Add(vault.Believed)
	open(deputy.NotFound)
	rows.put(zone)
	open(nil)
	rows.err = errors.New("disk on fire")
	at = at.Add(vault.Believed)
	open(rows.err)
	open(rows.err)
	rows.err = nil

	// A customer's key.
	theirs, err := v.NewUnder(t.Context(), "z", "aws:o:arn", at)
	if err != nil || theirs.Rooted() {
		t.Fatalf("%+v, %v", theirs, err)
	}
	rows.put(theirs)
	if sealed, err = v.Seal(t.Context(), theirs.ID, place, []byte("plain")); err != nil {
		t.Fatal(err)
	}
	own.err = deputy.Unavailable
	for range 3 {
		at = at.Add(vault.Granted)
		open(nil) // the service does not answer: nobody took anything away
	}
	if own.uses != 3 {
		t.Errorf("the key was used %d times", own.uses)
	}
	own.err = vault.ErrRefused
	at = at.Add(vault.Granted)
	open(vault.ErrRefused)
	open(vault.ErrRefused)
	own.err = nil
	open(nil)
	if uses := own.uses; uses != 6 {
		t.Errorf("the key was used %d times", uses)
	}
	open(nil)
}
