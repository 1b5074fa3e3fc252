package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"deputy/internal/deputy"
	"deputy/internal/store"
	"deputy/internal/vault"
)

// ring is the root keys of a node: that of --root-key-file and, while it is
// being replaced, the next one beside it. The database says which is in force.
// A key that appears while the node runs is found when it is needed.
type ring struct {
	cfg     Config
	meta    func(ctx context.Context, name string) (string, error)
	outside func(ctx context.Context, name string) (vault.KEK, error) // customers' keys; nil: none

	mu    sync.Mutex
	known map[string]*vault.Root // by fingerprint
}

func newRing(cfg Config, root *vault.Root) *ring {
	return &ring{cfg: cfg, known: map[string]*vault.Root{root.Fingerprint(): root}}
}

// Current returns the fingerprint of the root key in force.
func (r *ring) Current(ctx context.Context) (string, error) {
	return r.meta(ctx, store.MetaRootKey)
}

// KEK returns a root key by its fingerprint, or a customer's by its name.
func (r *ring) KEK(ctx context.Context, name string) (vault.KEK, error) {
	if _, _, _, ok := deputy.CustomerKEK(name); ok {
		if r.outside == nil {
			return nil, deputy.Errorf(deputy.Unavailable, "zones have keys of AWS KMS: start every node with --aws-kms")
		}
		return r.outside(ctx, name)
	}
	if name == "" {
		return r.nameless(ctx)
	}
	return r.root(name)
}

// nameless returns the root key of rows from before names were kept: the one
// that is being replaced, else the one in force.
func (r *ring) nameless(ctx context.Context) (vault.KEK, error) {
	name, err := r.meta(ctx, store.MetaFormerRootKey)
	if deputy.KindOf(err) == deputy.NotFound {
		name, err = r.Current(ctx)
	}
	if err != nil {
		return nil, err
	}
	return r.root(name)
}

// root returns the root key with a fingerprint, from memory or one of the files.
func (r *ring) root(fingerprint string) (*vault.Root, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if key := r.known[fingerprint]; key != nil {
		return key, nil
	}
	for _, file := range []string{r.cfg.rootKeyFile(), r.cfg.nextRootKeyFile()} {
		key, err := vault.ReadRootKey(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err == nil {
			r.known[key.Fingerprint()] = key
		}
	}
	if key := r.known[fingerprint]; key != nil {
		return key, nil
	}
	return nil, deputy.Errorf(deputy.Unavailable, "this node lacks the root key %s: put it into %s", fingerprint, r.cfg.nextRootKeyFile())
}

// nextRootKeyFile returns where the key is that is to replace the root key.
func (c *Config) nextRootKeyFile() string { return c.rootKeyFile() + ".next" }

// belongs checks that the database and the node's root keys belong together.
func (d *data) belongs(ctx context.Context, cfg Config, root *vault.Root) error {
	known, err := d.store.Remember(ctx, store.MetaRootKey, root.Fingerprint())
	if err != nil {
		return err
	}
	if _, err := d.ring.root(known); err != nil {
		return fmt.Errorf("the database was made with another root key than %s: give every node the same file", cfg.rootKeyFile())
	}
	former, err := d.store.Meta(ctx, store.MetaFormerRootKey)
	if deputy.KindOf(err) == deputy.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := d.ring.root(former); err != nil {
		return fmt.Errorf("the root key is being replaced, and this node lacks the former one: put it into %s until deputy keys rotate-root has ended", cfg.rootKeyFile())
	}
	return nil
}

// rewrapStep is how many keys one transaction of a rotation wraps anew.
var rewrapStep = 100

// RotateRootKey replaces the root key while servers run, and says so on out. It
// can be ended at any moment and run again.
func RotateRootKey(ctx context.Context, cfg Config, logs, out io.Writer) error {
	d, err := openQuiet(ctx, cfg, logs)
	if err != nil {
		return err
	}
	defer d.store.Close()
	former, next, err := d.rootKeys(ctx, cfg)
	if err != nil {
		return err
	}
	if former != "" {
		if err := d.rewrapAll(ctx, former, next, out); err != nil {
			return err
		}
	}
	return placeRootKey(cfg, next, out)
}

// rootKeys returns the fingerprints of the root key to replace and of the next
// one, which is put in force if it is not yet; no former one means that the
// replacement has ended but for the files.
func (d *data) rootKeys(ctx context.Context, cfg Config) (former, next string, err error) {
	known, err := d.ring.Current(ctx)
	if err != nil {
		return "", "", err
	}
	former, err = d.store.Meta(ctx, store.MetaFormerRootKey)
	if err == nil {
		return former, known, nil // begun before
	}
	if deputy.KindOf(err) != deputy.NotFound {
		return "", "", err
	}
	key, err := vault.ReadRootKey(cfg.nextRootKeyFile())
	switch {
	case errors.Is(err, fs.ErrNotExist) && cfg.DatabaseURL != "":
		return "", "", fmt.Errorf("%s does not exist: make it with openssl rand -hex 32, give it to every node, and run this again", cfg.nextRootKeyFile())
	case errors.Is(err, fs.ErrNotExist):
		key, err = vault.CreateRootKey(cfg.nextRootKeyFile())
	}
	if err != nil {
		return "", "", err
	}
	if key.Fingerprint() == known {
		return "", known, nil
	}
	return known, key.Fingerprint(), d.store.ReplaceRootKey(ctx, known, key.Fingerprint())
}

// rewrapAll wraps by the next root key what hangs on the former one, in steps,
// each of which is complete by itself.
func (d *data) rewrapAll(ctx context.Context, former, next string, out io.Writer) error {
	for total := 0; ; {
		was, err := d.store.DataKeysUnder(ctx, former, rewrapStep)
		if err != nil {
			return err
		}
		if len(was) == 0 {
			break
		}
		now := make([]deputy.DataKey, len(was))
		for i, row := range was {
			if now[i], err = d.vault.Rewrap(ctx, row, next); err != nil {
				return err
			}
		}
		if err := d.store.Rewrap(ctx, was, now); err != nil {
			return err
		}
		total += len(was)
		fmt.Fprintf(out, "%d keys are wrapped by the next root key\n", total)
	}
	first, err := d.store.Organizations().List(ctx, deputy.Scope{}, deputy.Query{Limit: 1, Sort: []deputy.Sort{{Field: "created_at"}}})
	if err != nil || len(first.Items) == 0 {
		return errors.Join(err, errors.New("the database is empty"))
	}
	at := d.now()
	event := &deputy.Event{
		ID: deputy.EventID(deputy.NewID(at)), Time: at, Type: "root_keys:rotate", Outcome: deputy.Success,
		OrganizationID: first.Items[0].ID, Actor: deputy.Actor{Type: "platform"}, Target: &deputy.Target{Type: "root_key", ID: next},
	}
	if err := d.store.RetireRootKey(ctx, event, former); err != nil {
		return err
	}
	return d.store.Shred(ctx)
}

// placeRootKey puts the root key in force where a start looks for it. Where the
// files are somebody else's to change, out says what is to be done.
func placeRootKey(cfg Config, fingerprint string, out io.Writer) error {
	at, next := cfg.rootKeyFile(), cfg.nextRootKeyFile()
	key, err := vault.ReadRootKey(at)
	if err != nil {
		return err
	}
	if key.Fingerprint() == fingerprint {
		fmt.Fprintf(out, "%s is in force\n", at)
		return nil
	}
	former := at + "." + key.Fingerprint()[:8]
	if err := replaceFile(at, next, former); err != nil {
		fmt.Fprintf(out, "%s is in force and could not be put in the place of %s (%v): do that on every node\n", next, at, err)
		return nil
	}
	fmt.Fprintf(out, "%s is in force; do the same with the files of other nodes\n%s is the former key: backups made before need it, so remove it together with them\n", at, former)
	return nil
}

// replaceFile keeps the file at as former and puts next in its place. Ended
// between the two steps, it can be done again.
func replaceFile(at, next, former string) error {
	if err := os.Link(at, former); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Rename(next, at)
}
