package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/keys"
	"deputy/internal/store"
	"deputy/internal/upstream"
	"deputy/internal/vault"
)

// Severity is how bad a finding is.
type Severity int

// The severities.
const (
	Fine    Severity = iota
	Warning          // it works, and something ought to be done
	Trouble          // it does not work, or data is at risk
)

func (s Severity) String() string { return [...]string{"ok", "warn", "fail"}[s] }

// Finding is what the doctor says of one thing.
type Finding struct {
	Severity Severity
	Check    string // what was looked at
	Says     string
	Do       string // what to do about it; empty when it is fine
}

// Checkup is what the doctor is told beside the settings.
type Checkup struct {
	// Backups is the folder that backups are put into; empty: not looked at.
	Backups string
	// BackupAge is how old the newest of them may be.
	BackupAge time.Duration
	// FreeDisk returns the bytes that are free where a folder is, and all there
	// are; nil asks the system.
	FreeDisk func(folder string) (free, all uint64, err error)
}

// What is enough, or too much.
const (
	littleDisk     = 1 << 30
	noDisk         = 100 << 20
	certificateEnd = 14 * 24 * time.Hour
	clockApart     = 5 * time.Second
	taskStuck      = time.Hour
	lagMuch        = 100_000 // events
	keyLate        = 8 * 24 * time.Hour
	archiveLate    = 5 * time.Minute
	tail           = 1000 // events of each log that are checked
	someLogs       = 100
)

// doctor looks at one deployment.
type doctor struct {
	cfg     Config
	checkup Checkup
	client  *http.Client
	found   []Finding
}

// Examine checks the deployment that the settings describe, with its server
// running or not, and changes nothing. What it finds is in the order in which it
// is best put right.
func Examine(ctx context.Context, cfg Config, c Checkup) []Finding {
	if c.FreeDisk == nil {
		c.FreeDisk = freeDisk
	}
	fetcher := upstream.New(upstream.Config{Now: cfg.now})
	defer fetcher.Close()
	d := &doctor{cfg: cfg, checkup: c, client: fetcher.Operator()}
	if !d.settings() {
		return d.found
	}
	d.folder()
	if root := d.rootKey(); root && d.databaseThere() {
		d.database(ctx, fetcher)
	}
	d.public(ctx)
	d.mail(ctx)
	d.backups()
	d.archive()
	return d.found
}

func (d *doctor) say(s Severity, check, do, says string, args ...any) {
	d.found = append(d.found, Finding{s, check, fmt.Sprintf(says, args...), do})
}

func (d *doctor) settings() bool {
	if err := d.cfg.check(); err != nil {
		d.say(Trouble, "settings", "set it as docs/settings.md says", "%v", err)
		return false
	}
	if d.cfg.Dev {
		d.say(Warning, "settings", "leave it out in production; --outgoing-allow opens single addresses",
			"--dev lets outgoing requests reach private addresses and plain http")
		return true
	}
	d.say(Fine, "settings", "", "do not contradict each other")
	return true
}

func (d *doctor) folder() {
	info, err := os.Stat(d.cfg.DataDir)
	switch {
	case err != nil:
		d.say(Trouble, "data folder", "name it with --data-dir, or start the server, which makes it", "%v", err)
		return
	case info.Mode().Perm()&0o077 != 0:
		d.say(Warning, "data folder", "chmod 700 "+d.cfg.DataDir, "%s can be entered by others (%v)", d.cfg.DataDir, info.Mode().Perm())
	default:
		d.say(Fine, "data folder", "", "%s is its owner's alone", d.cfg.DataDir)
	}
	free, all, err := d.checkup.FreeDisk(d.cfg.DataDir)
	says := fmt.Sprintf("%d MB free of %d MB", free>>20, all>>20)
	switch {
	case err != nil:
		d.say(Warning, "disk", "look at it by hand", "the free space cannot be told: %v", err)
	case free < noDisk:
		d.say(Trouble, "disk", "make room at once: without it nothing can be issued", "%s", says)
	case free < littleDisk:
		d.say(Warning, "disk", "make room: each million tokens takes about a gigabyte", "%s", says)
	default:
		d.say(Fine, "disk", "", "%s", says)
	}
}

func (d *doctor) rootKey() bool {
	path := d.cfg.rootKeyFile()
	root, err := vault.ReadRootKey(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.say(Trouble, "root key", "put the file back; without it everything sealed is lost", "%s does not exist", path)
	case err != nil:
		d.say(Trouble, "root key", "chmod 600 "+path+", and see that it is the file that was made", "%v", err)
	default:
		d.say(Fine, "root key", "", "%s, fingerprint %s", path, root.Fingerprint())
	}
	return err == nil
}

func (d *doctor) databaseThere() bool {
	file := sqliteFile(d.cfg)
	if file == "" {
		return true
	}
	if _, err := os.Stat(file); err != nil {
		d.say(Trouble, "database", "start the server, which makes it, or deputy restore a backup", "%v", err)
		return false
	}
	return true
}

// database opens the database without changing its schema, and looks into it.
func (d *doctor) database(ctx context.Context, fetcher *upstream.Fetcher) {
	cfg := d.cfg
	cfg.Migrate = "off"
	log, err := newLogger(cfg, io.Discard, nil)
	if err != nil {
		d.say(Trouble, "settings", "set it as docs/settings.md says", "%v", err)
		return
	}
	opened, err := openData(ctx, cfg, log, "", nil)
	if err != nil {
		d.say(Trouble, "database", "see that it runs, that --database-url is right, and that it was migrated by this program", "%v", err)
		return
	}
	defer opened.store.Close()
	d.say(Fine, "database", "", "answers, with the schema that this program needs (%d)", store.SchemaVersion())
	d.logs(ctx, opened)
	d.background(ctx, opened)
	d.keys(ctx, opened)
	s := &Server{cfg: cfg, log: log, data: opened, fetcher: fetcher}
	sinks, err := s.newSinks()
	if err != nil {
		d.say(Trouble, "events", "set it as docs/settings.md says", "%v", err)
		return
	}
	for _, w := range sinks {
		events, since, err := opened.store.SinkLag(ctx, w.Name)
		kind, _, _ := strings.Cut(w.Name, ":")
		switch {
		case err != nil:
			d.say(Trouble, "events", "see the log of the server", "%v", err)
		case events > 0 && cfg.now().Sub(since) > taskStuck:
			d.say(Warning, "events", "see the log of the server for why they are not taken",
				"%s lacks %d events, the oldest of %s", kind, events, since.Format(time.RFC3339))
		default:
			d.say(Fine, "events", "", "%s lacks %d", kind, events)
		}
	}
}

// logs checks the end of each organization's log: that every record is the one
// of its leaf hash, and that none is of a time to come.
func (d *doctor) logs(ctx context.Context, opened *data) {
	page, err := opened.store.Organizations().List(ctx, deputy.Scope{}, deputy.Query{Limit: someLogs})
	if err != nil {
		d.say(Trouble, "log", "see the log of the server", "%v", err)
		return
	}
	if len(page.Items) == 0 {
		d.say(Warning, "log", "start the server once", "there is no organization yet")
		return
	}
	checked, newest := 0, time.Time{}
	for _, o := range page.Items {
		state, err := opened.store.LogState(ctx, o.ID, 0)
		var entries []deputy.LogEntry
		if err == nil {
			entries, err = opened.store.LogEntries(ctx, deputy.LogQuery{Organization: o.ID, From: max(1, state.Size-tail+1), Limit: tail})
		}
		if err != nil {
			d.say(Trouble, "log", "restore a backup, and keep this database for whoever finds out what happened", "of organization %s: %v", o.ID, err)
			return
		}
		for _, e := range entries {
			if deputy.LeafHash(e.Record) != e.Leaf {
				d.say(Trouble, "log", "somebody changed the database: keep it, and compare with an export and an earlier checkpoint",
					"event %d of organization %s is not the one of its leaf hash", e.Seq, o.ID)
				return
			}
			var named struct{ Time time.Time }
			if json.Unmarshal(e.Record, &named) == nil && named.Time.After(newest) {
				newest = named.Time
			}
		}
		checked += len(entries)
	}
	d.say(Fine, "log", "", "the last %d events of %d organizations are those of their hashes", checked, len(page.Items))
	if ahead := newest.Sub(d.cfg.now()); ahead > clockApart {
		d.say(Trouble, "clock", "set the clock right, by NTP", "the newest event is of %s: %s from now", newest.Format(time.RFC3339), ahead.Round(time.Second))
	}
}

func (d *doctor) background(ctx context.Context, opened *data) {
	b, err := opened.store.Backlog(ctx)
	if err != nil {
		d.say(Trouble, "background work", "see the log of the server", "%v", err)
		return
	}
	stuck := false
	for kind, due := range b.Tasks {
		if late := d.cfg.now().Sub(due.Oldest); late > taskStuck {
			stuck = true
			d.say(Warning, "background work", "see the log of the server for why it fails; a server must be running",
				"%d tasks of the kind %s wait, one of them for %s", due.Due, kind, late.Round(time.Minute))
		}
	}
	if b.Unindexed > lagMuch {
		stuck = true
		d.say(Warning, "background work", "see the log of the server; a server must be running", "the index of a log lacks %d events", b.Unindexed)
	}
	if !stuck {
		d.say(Fine, "background work", "", "nothing is stuck")
	}
}

func (d *doctor) keys(ctx context.Context, opened *data) {
	rows, err := opened.store.SigningKeys(ctx, deputy.PlatformID)
	if err != nil {
		d.say(Trouble, "keys", "see the log of the server", "%v", err)
		return
	}
	row, ok := keys.Active(rows, deputy.ES256)
	if !ok {
		d.say(Trouble, "keys", "start the server once", "the platform has no active key")
		return
	}
	age := d.cfg.now().Sub(row.CreatedAt)
	days := int(age / (24 * time.Hour))
	if age > keys.DefaultMaxAge+keyLate {
		d.say(Warning, "keys", "a running server rotates them: see its log for why it did not", "the platform's key is %d days old", days)
		return
	}
	d.say(Fine, "keys", "", "the platform's key is %d days old", days)
}

// public asks the public URL what its clients ask.
func (d *doctor) public(ctx context.Context) {
	base := d.cfg.baseURL()
	u, err := url.Parse(base)
	if err != nil {
		d.say(Trouble, "public URL", "set --public-url", "%v", err)
		return
	}
	if u.Scheme != "https" && !loopback(u.Hostname()) {
		d.say(Warning, "public URL", "put a proxy with TLS in front, and set --public-url to https://…", "%s sends secrets and tokens in the clear", base)
	}
	where := url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/.well-known/oauth-authorization-server" + u.Path}
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	asked := time.Now()
	r, err := http.NewRequestWithContext(limited, http.MethodGet, where.String(), nil)
	if err != nil {
		d.say(Trouble, "public URL", "set --public-url", "%v", err)
		return
	}
	answer, err := d.client.Do(r)
	if err != nil {
		d.say(Trouble, "public URL", "start the server, and see that "+base+" leads to it", "%v", err)
		return
	}
	defer answer.Body.Close()
	var said struct{ Issuer string }
	raw, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err == nil {
		err = json.Unmarshal(raw, &said)
	}
	switch {
	case err != nil || answer.StatusCode != http.StatusOK:
		d.say(Trouble, "public URL", "see that the proxy passes every path on, and its host", "%s answered %s", where.String(), answer.Status)
		return
	case said.Issuer != base:
		d.say(Trouble, "public URL", "give every node the same --public-url", "the issuer there is %s, and the settings say %s", said.Issuer, base)
		return
	}
	d.say(Fine, "public URL", "", "%s answers as itself", base)
	if at, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
		if apart := asked.Sub(at).Abs(); apart > clockApart {
			d.say(Warning, "clock", "set the clocks right, by NTP", "the clock here and that of the server are %s apart", apart.Round(time.Second))
		}
	}
	if answer.TLS != nil {
		d.certificate(answer.TLS.PeerCertificates[0].NotAfter)
	}
}

func (d *doctor) certificate(until time.Time) {
	left := until.Sub(d.cfg.now())
	if left < certificateEnd {
		d.say(Warning, "certificate", "renew it in the proxy", "ends on %s", until.UTC().Format(time.DateOnly))
		return
	}
	d.say(Fine, "certificate", "", "good until %s", until.UTC().Format(time.DateOnly))
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (d *doctor) mail(ctx context.Context) {
	if d.cfg.SMTPURL == "" {
		d.say(Warning, "mail", "set DEPUTY_SMTP_URL where people sign in", "no relay: codes and invitations are files in %s", filepath.Join(d.cfg.DataDir, "outbox"))
		return
	}
	if _, err := newTransport(d.cfg); err != nil {
		d.say(Trouble, "mail", "set it as docs/settings.md says", "%v", err)
		return
	}
	u, err := url.Parse(d.cfg.SMTPURL)
	if err != nil {
		d.say(Trouble, "mail", "set it as docs/settings.md says", "--smtp-url is no URL")
		return
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"smtp": "587", "smtps": "465"}[u.Scheme]
	}
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(limited, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		d.say(Trouble, "mail", "see that the relay runs and can be reached from here", "%v", err)
		return
	}
	conn.Close()
	d.say(Fine, "mail", "", "the relay %s can be reached", net.JoinHostPort(u.Hostname(), port))
}

// backups looks at the newest file of the folder that backups are put into.
func (d *doctor) backups() {
	if d.checkup.Backups == "" {
		d.say(Fine, "backups", "", "not looked at; --backups FOLDER says where they are")
		return
	}
	entries, err := os.ReadDir(d.checkup.Backups)
	if err != nil {
		d.say(Trouble, "backups", "run deputy backup every day", "%v", err)
		return
	}
	var times []time.Time
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			times = append(times, info.ModTime())
		}
	}
	if len(times) == 0 {
		d.say(Trouble, "backups", "run deputy backup every day", "there is none in %s", d.checkup.Backups)
		return
	}
	newest := slices.MaxFunc(times, time.Time.Compare)
	if age := d.cfg.now().Sub(newest); age > d.checkup.BackupAge {
		d.say(Warning, "backups", "see why deputy backup did not run", "the newest is %s old", strconv.Itoa(int(age/time.Hour))+" h")
		return
	}
	d.say(Fine, "backups", "", "the newest is of %s", newest.UTC().Format(time.RFC3339))
}

// archive looks at how far the archive goes, which a running server writes to
// every minute at least.
func (d *doctor) archive() {
	if d.cfg.ArchiveFolder == "" {
		return
	}
	first, newest, err := store.ArchiveSpan(d.cfg.ArchiveFolder)
	switch {
	case err != nil:
		d.say(Trouble, "archive", "see the log of the server for why it cannot write to it", "%v", err)
	case d.cfg.now().Sub(newest) > archiveLate:
		d.say(Warning, "archive", "see the log of the server for why it does not write to it; a server must be running",
			"nothing from after %s can be restored from it", newest.UTC().Format(time.RFC3339))
	default:
		d.say(Fine, "archive", "", "goes from %s to %s", first.UTC().Format(time.RFC3339), newest.UTC().Format(time.RFC3339))
	}
}
