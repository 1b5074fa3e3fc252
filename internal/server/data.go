package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/keys"
	"deputy/internal/kms"
	"deputy/internal/store"
	"deputy/internal/upstream"
	"deputy/internal/vault"
)

// data is an opened database with the root key that it belongs to.
type data struct {
	store   *store.Store
	vault   *vault.Vault
	ring    *ring
	sealing *sealing
	now     func() time.Time
}

// openData reads or makes the root key, opens the database, brings its schema
// up to date and checks that the two belong together. Whoever serves names the
// folder of the archive, which is else empty. The store calls committed, which
// may be nil, for each of its commits.
func openData(ctx context.Context, cfg Config, log *slog.Logger, archive string, committed func(int, time.Duration)) (*data, error) {
	if file := sqliteFile(cfg); cfg.Migrate == "off" && file != "" {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no database %s, and --migrate off makes none: run deputy migrate, or leave --migrate at auto", file)
		}
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the data folder: %w", err)
	}
	root, err := rootKey(cfg)
	if err != nil {
		return nil, err
	}
	if err := privateFile(sqliteFile(cfg)); err != nil {
		return nil, fmt.Errorf("cannot make the database: %w", err)
	}
	d := &data{ring: newRing(cfg, root), sealing: &sealing{}, now: cfg.now}
	d.store, err = store.Open(ctx, store.Config{
		Path: sqliteFile(cfg), URL: cfg.DatabaseURL, CursorKey: root.Derive("list cursors"),
		Now: cfg.now, Sealing: d.sealing, Destroyed: func(key deputy.ID) { d.vault.Forget(key) }, Migrate: cfg.Migrate == "auto", Logger: log, Committed: committed,
		Archive: archive, ArchiveRetention: cfg.archiveRetention(),
	})
	if err != nil {
		return nil, err
	}
	d.ring.meta = d.store.Meta
	if cfg.AWSKMS {
		d.ring.outside = kms.New(upstream.OperatorClient(), cfg.now, os.LookupEnv).KEK
	}
	d.vault = vault.New(d.ring, d.store)
	d.vault.Now = cfg.now
	d.sealing.vault = d.vault
	if cfg.Migrate == "off" {
		if err := d.store.Ready(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("%w: run deputy migrate, or leave --migrate at auto", err), d.store.Close())
		}
	}
	if err := d.belongs(ctx, cfg, root); err != nil {
		return nil, errors.Join(err, d.store.Close())
	}
	return d, nil
}

// sqliteFile returns where the database is, when it is a file.
func sqliteFile(cfg Config) string {
	if cfg.DatabaseURL != "" {
		return ""
	}
	return filepath.Join(cfg.DataDir, "deputy.db")
}

// privateFile makes the file at path, unless it exists, for its owner alone:
// the engine would let others read it. The empty path is no file.
func privateFile(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// rootKey reads the root key. It makes one only for a database that does not
// exist yet: a new key beside old data would lock that data away for good.
func rootKey(cfg Config) (*vault.Root, error) {
	path := cfg.rootKeyFile()
	root, err := vault.ReadRootKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return root, err
	}
	if cfg.DatabaseURL != "" || cfg.RootKeyFile != "" {
		return nil, fmt.Errorf("the root key file %s does not exist; make one with: openssl rand -hex 32", path)
	}
	if _, err := os.Stat(sqliteFile(cfg)); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s exists, but its root key %s does not: put the file back", sqliteFile(cfg), path)
	}
	return vault.CreateRootKey(path)
}

// sealing hides what events know of a person, in the vault.
type sealing struct{ vault *vault.Vault }

func eventPlace(id deputy.EventID) vault.Place {
	return vault.Place{Table: "events", Column: "personal", Row: string(id)}
}

func (s *sealing) SealPersonal(ctx context.Context, key deputy.ID, id deputy.EventID, personal []byte) ([]byte, error) {
	return s.vault.Seal(ctx, key, eventPlace(id), personal)
}

func (s *sealing) OpenPersonal(ctx context.Context, id deputy.EventID, sealed []byte) ([]byte, error) {
	return s.vault.Open(ctx, eventPlace(id), sealed)
}

// Migrate applies the database migrations of this program and says so on out.
func Migrate(ctx context.Context, cfg Config, logs, out io.Writer) error {
	cfg.Migrate = "auto"
	d, err := openQuiet(ctx, cfg, logs)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "schema version %d\n", store.SchemaVersion())
	return d.store.Close()
}

// SchemaVersion returns the version of the database schema that this program
// needs.
func SchemaVersion() int64 { return store.SchemaVersion() }

// openQuiet opens the database for a command that does not serve.
func openQuiet(ctx context.Context, cfg Config, logs io.Writer) (*data, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	log, err := newLogger(cfg, logs, nil)
	if err != nil {
		return nil, err
	}
	return openData(ctx, cfg, log, "", nil)
}

// Bootstrap is what a client needs to manage an organization: the content of
// bootstrap.json.
type Bootstrap struct {
	BaseURL          string                `json:"base_url"`
	OrganizationID   deputy.OrganizationID `json:"organization_id"`
	OrganizationSlug string                `json:"organization_slug"`
	ClientID         string                `json:"client_id"`
	ClientSecret     string                `json:"client_secret"`
}

// BootstrapFile returns where the first account's credential is written.
func (c *Config) BootstrapFile() string { return filepath.Join(c.DataDir, "bootstrap.json") }

// firstStart makes what an empty database needs and refreshes base_url in the
// bootstrap file of the node that has one.
func (s *Server) firstStart(ctx context.Context) error {
	if err := s.data.bootstrap(ctx, s.cfg); err != nil {
		return fmt.Errorf("cannot prepare the empty database: %w", err)
	}
	path := s.cfg.BootstrapFile()
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var known Bootstrap
	if err := errors.Join(err, json.Unmarshal(raw, &known)); err != nil {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	if known.BaseURL == s.cfg.PublicURL {
		return nil
	}
	known.BaseURL = s.cfg.PublicURL
	return writeFile(path, &known)
}

// bootstrap makes what an empty database needs: the platform's keys, an
// organization and its service account, whose credential goes to
// bootstrap.json. Of several nodes that start together one does it.
//
// The file is there before the account is: a start that ends between the two
// is made again, and the only copy of the secret is never lost.
func (d *data) bootstrap(ctx context.Context, cfg Config) error {
	empty, err := d.store.Organizations().List(ctx, deputy.Scope{}, deputy.Query{Limit: 1})
	if err != nil || len(empty.Items) > 0 {
		return err
	}
	secret := deputy.Conceal(cfg.BootstrapClientSecret)
	if secret.IsZero() {
		secret = deputy.NewSecret()
	}
	id := cfg.BootstrapClientID
	if id == "" {
		id = deputy.NewClientID()
	}
	now := cfg.now()
	o, err := d.newOrganization(ctx, "Default", "default", id, secret, now)
	if err != nil {
		return err
	}
	platform, err := d.platform(ctx, o.organization.ID, now)
	if err != nil {
		return err
	}
	o.made.BaseURL = cfg.baseURL()
	if err := writeFile(cfg.BootstrapFile(), o.made); err != nil {
		return err
	}
	first := false
	err = d.store.Write(ctx, o.event, func(tx deputy.Tx) error {
		if first, err = tx.Once(ctx, "bootstrap"); err != nil || !first {
			return err
		}
		if err := platform(ctx, tx); err != nil {
			return err
		}
		return o.insert(ctx, tx)
	})
	if err == nil && !first { // another node's file holds the account
		err = os.Remove(cfg.BootstrapFile())
	}
	return err
}

// platform returns an apply that gives the platform its data key and the key
// that signs management tokens. The log of the first organization tells of its
// rotation.
func (d *data) platform(ctx context.Context, first deputy.OrganizationID, now time.Time) (func(context.Context, deputy.Tx) error, error) {
	dataKey, err := d.vault.New(ctx, deputy.PlatformID, "", now)
	if err != nil {
		return nil, err
	}
	_, signing, err := keys.Generate(ctx, d.vault, nil, keys.Spec{
		Owner: deputy.PlatformID, DataKey: dataKey.ID, Algorithm: deputy.ES256, State: deputy.KeyActive, Now: now,
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, tx deputy.Tx) error {
		if err := tx.InsertDataKey(ctx, dataKey); err != nil {
			return err
		}
		if err := tx.InsertSigningKey(ctx, signing); err != nil {
			return err
		}
		return tx.Enqueue(ctx, deputy.KeyRotation{OrganizationID: first, KeyID: dataKey.ID}.Task("", now))
	}, nil
}

// newborn is an organization about to be written with its first account.
type newborn struct {
	made         *Bootstrap
	event        *deputy.Event
	key          deputy.DataKey
	organization *deputy.Organization
	account      *deputy.ServiceAccount
	credential   *deputy.ServiceAccountCredential
}

// newOrganization prepares an organization with its first account.
func (d *data) newOrganization(ctx context.Context, name, label, clientID string, secret deputy.Secret, now time.Time) (*newborn, error) {
	id := deputy.OrganizationID(deputy.NewID(now))
	key, err := d.vault.New(ctx, deputy.ID(id), "", now)
	if err != nil {
		return nil, err
	}
	n := &newborn{
		key:          key,
		organization: &deputy.Organization{ID: id, Name: name, Label: label, KeyID: key.ID, CreatedAt: now, UpdatedAt: now},
		account:      &deputy.ServiceAccount{ID: deputy.NewID(now), OrganizationID: id, Name: "bootstrap", CreatedAt: now, UpdatedAt: now},
	}
	if err := n.organization.Validate(); err != nil {
		return nil, err
	}
	n.credential = &deputy.ServiceAccountCredential{
		ID: deputy.NewID(now), OrganizationID: id, ServiceAccountID: n.account.ID,
		ClientID: clientID, SecretHash: deputy.HashSecret(secret), CreatedAt: now,
	}
	n.event = &deputy.Event{
		ID: deputy.EventID(deputy.NewID(now)), Time: now, Type: "organizations:create", Outcome: deputy.Success,
		OrganizationID: id, Actor: deputy.Actor{Type: "platform"}, Target: &deputy.Target{Type: "organization", ID: string(id)},
	}
	n.made = &Bootstrap{OrganizationID: id, OrganizationSlug: label, ClientID: clientID, ClientSecret: secret.Reveal()}
	return n, nil
}

func (n *newborn) insert(ctx context.Context, tx deputy.Tx) error {
	if err := tx.InsertDataKey(ctx, n.key); err != nil {
		return err
	}
	if err := tx.Organizations().Insert(ctx, n.organization); err != nil {
		return err
	}
	n.made.OrganizationSlug = n.organization.Label
	if err := tx.ServiceAccounts().Insert(ctx, n.account); err != nil {
		return err
	}
	return tx.ServiceCredentials().Insert(ctx, n.credential)
}

// CreateOrganization makes another organization with its first service
// account, beside a running server or without one.
func CreateOrganization(ctx context.Context, cfg Config, name string, logs io.Writer) (*Bootstrap, error) {
	d, err := openQuiet(ctx, cfg, logs)
	if err != nil {
		return nil, err
	}
	defer d.store.Close()
	if err := d.bootstrap(ctx, cfg); err != nil {
		return nil, fmt.Errorf("cannot prepare the empty database: %w", err)
	}
	o, err := d.newOrganization(ctx, name, deputy.Slug(name, "organization"), deputy.NewClientID(), deputy.NewSecret(), cfg.now())
	if err != nil {
		return nil, err
	}
	if err := d.store.Write(ctx, o.event, func(tx deputy.Tx) error { return o.insert(ctx, tx) }); err != nil {
		return nil, err
	}
	o.made.BaseURL = cfg.PublicURL
	if raw, err := os.ReadFile(cfg.BootstrapFile()); err == nil && o.made.BaseURL == "" {
		var first Bootstrap
		if json.Unmarshal(raw, &first) == nil {
			o.made.BaseURL = first.BaseURL
		}
	}
	return o.made, nil
}

// writeFile replaces path by v as JSON, readable by its owner only; the file
// appears whole or not at all.
func writeFile(path string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".bootstrap-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(append(raw, '\n'))
	if err := errors.Join(err, temporary.Sync(), temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}
