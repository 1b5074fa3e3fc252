package server_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"deputy/internal/server"
)

// patient is a deployment with a running server.
type patient struct {
	*testing.T
	cfg     server.Config
	checkup server.Checkup
}

func newPatient(t *testing.T) *patient {
	t.Helper()
	s, c := open(t, nil, io.Discard)
	serve(t, s)
	if err := os.Chmod(c.DataDir, 0o700); err != nil { // the test's folder, not one that we made
		t.Fatal(err)
	}
	c.PublicURL, c.Listen = s.URL(), "127.0.0.1:0"
	p := &patient{T: t, cfg: c}
	p.checkup.FreeDisk = func(string) (uint64, uint64, error) { return 5 << 30, 9 << 30, nil }
	p.relay()
	p.checkup.Backups, p.checkup.BackupAge = t.TempDir(), 26*time.Hour
	p.put(filepath.Join(p.checkup.Backups, "today.db"), "x")
	return p
}

// relay gives the patient a relay that takes connections.
func (p *patient) relay() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { l.Close() })
	p.cfg.SMTPURL = "smtp://" + l.Addr().String()
}

func (p *patient) put(path, text string) {
	p.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.Fatal(err)
	}
}

func (p *patient) exec(statement string) {
	p.Helper()
	db, err := sql.Open("sqlite", filepath.Join(p.cfg.DataDir, "deputy.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		p.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		p.Fatal(err)
	}
}

// serveAs has another server answer at the public URL.
func (p *patient) serveAs(handler http.HandlerFunc) {
	s := httptest.NewServer(handler)
	p.Cleanup(s.Close)
	p.cfg.PublicURL = s.URL
}

func TestTheDoctorFindsAHealthyServerWell(t *testing.T) {
	p := newPatient(t)
	seen := map[string]bool{}
	for _, f := range server.Examine(t.Context(), p.cfg, p.checkup) {
		seen[f.Check] = true
		if f.Severity != server.Fine || f.Do != "" {
			t.Errorf("%+v", f)
		}
	}
	for _, check := range []string{"settings", "data folder", "disk", "root key", "database", "log", "background work", "keys", "public URL", "mail", "backups"} {
		if !seen[check] {
			t.Errorf("%s was not looked at", check)
		}
	}
}

func TestTheDoctorFindsWhatIsWrong(t *testing.T) {
	far := func(d time.Duration) func() time.Time { return func() time.Time { return time.Now().Add(d) } }
	for name, c := range map[string]struct {
		hurt     func(*patient)
		severity server.Severity
		check    string
		says     string
	}{
		"settings":     {func(p *patient) { p.cfg.LogFormat = "xml" }, server.Trouble, "settings", "--log-format"},
		"dev":          {func(p *patient) { p.cfg.Dev = true }, server.Warning, "settings", "--dev"},
		"no folder":    {func(p *patient) { p.cfg.DataDir += "-gone" }, server.Trouble, "data folder", "no such file"},
		"open folder":  {func(p *patient) { p.must(os.Chmod(p.cfg.DataDir, 0o755)) }, server.Warning, "data folder", "by others"},
		"little disk":  {func(p *patient) { p.disk(500 << 20) }, server.Warning, "disk", "500 MB free"},
		"no disk":      {func(p *patient) { p.disk(5 << 20) }, server.Trouble, "disk", "5 MB free"},
		"no root key":  {func(p *patient) { p.must(os.Remove(filepath.Join(p.cfg.DataDir, "root.key"))) }, server.Trouble, "root key", "does not exist"},
		"an open key":  {func(p *patient) { p.must(os.Chmod(filepath.Join(p.cfg.DataDir, "root.key"), 0o644)) }, server.Trouble, "root key", "root.key"},
		"another key":  {func(p *patient) { p.put(filepath.Join(p.cfg.DataDir, "root.key"), strings.Repeat("ab", 32)) }, server.Trouble, "database", "another root key"},
		"not migrated": {func(p *patient) { p.exec("UPDATE goose_db_version SET is_applied = 0") }, server.Trouble, "database", "deputy migrate"},
		"a changed log": {func(p *patient) {
			p.exec("UPDATE event_segments SET leaves = zeroblob(length(leaves)) WHERE last_seq = (SELECT MAX(last_seq) FROM event_segments)")
		}, server.Trouble, "log", "not the one of its leaf hash"},
		"a broken log":   {func(p *patient) { p.exec("UPDATE event_segments SET events = x'00'") }, server.Trouble, "log", "unreadable"},
		"the clock back": {func(p *patient) { p.cfg.Now = far(-time.Hour) }, server.Trouble, "clock", "from now"},
		"work is stuck": {func(p *patient) {
			p.exec("INSERT INTO tasks (id, kind, zone_id, data, run_at, lease_until, attempt) VALUES ('x', 'mails:lost', '', '', 0, 0, 5)")
		}, server.Warning, "background work", "mails:lost"},
		"a log far ahead": {func(p *patient) {
			p.exec("INSERT INTO event_heads (organization_id, last_seq, committed_at, drift) VALUES ('other', 200000, 0, 0)")
		}, server.Warning, "background work", "lacks 200000 events"},
		"old keys": {func(p *patient) { p.cfg.Now = far(120 * 24 * time.Hour) }, server.Warning, "keys", "days old"},
		"events wait": {func(p *patient) {
			p.cfg.EventsFolder, p.cfg.Now = filepath.Join(p.cfg.DataDir, "events"), far(3*time.Hour)
		}, server.Warning, "events", "folder lacks"},
		"nobody answers": {func(p *patient) { p.cfg.PublicURL = "http://" + freeAddress(p.T) }, server.Trouble, "public URL", "refused"},
		"in the clear":   {func(p *patient) { p.cfg.PublicURL = "http://deputy.invalid" }, server.Warning, "public URL", "in the clear"},
		"another issuer": {func(p *patient) {
			p.serveAs(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"issuer": "https://other.example.com"}`) })
		}, server.Trouble, "public URL", "https://other.example.com"},
		"another server": {func(p *patient) { p.serveAs(http.NotFound) }, server.Trouble, "public URL", "404"},
		"clocks apart": {func(p *patient) {
			p.serveAs(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Date", time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat))
				fmt.Fprintf(w, `{"issuer": "http://%s"}`, r.Host)
			})
		}, server.Warning, "clock", "apart"},
		"no relay":        {func(p *patient) { p.cfg.SMTPURL = "" }, server.Warning, "mail", "no relay"},
		"a dead relay":    {func(p *patient) { p.cfg.SMTPURL = "smtp://" + freeAddress(p.T) }, server.Trouble, "mail", "refused"},
		"no such relay":   {func(p *patient) { p.cfg.SMTPURL = "ftp://x" }, server.Trouble, "mail", "--smtp-url"},
		"no backups":      {func(p *patient) { p.checkup.Backups = p.TempDir() }, server.Trouble, "backups", "there is none"},
		"backups nowhere": {func(p *patient) { p.checkup.Backups += "-gone" }, server.Trouble, "backups", "no such file"},
		"no archive":      {func(p *patient) { p.cfg.ArchiveFolder = p.TempDir() }, server.Trouble, "archive", "no base"},
		"an archive too old": {func(p *patient) {
			p.archived()
			p.cfg.Now = far(time.Hour)
		}, server.Warning, "archive", "nothing from after "},
		"backups too old": {func(p *patient) { p.old() }, server.Warning, "backups", "48 h old"},
		"no database left": {func(p *patient) {
			p.cfg.DataDir, p.cfg.RootKeyFile = p.TempDir(), filepath.Join(p.cfg.DataDir, "root.key")
		}, server.Trouble, "database", "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t)
			c.hurt(p)
			for _, f := range server.Examine(t.Context(), p.cfg, p.checkup) {
				if f.Severity == c.severity && f.Check == c.check && strings.Contains(f.Says, c.says) {
					if f.Do == "" {
						t.Errorf("it does not say what to do: %+v", f)
					}
					return
				}
			}
			t.Errorf("not found: %+v", server.Examine(context.Background(), p.cfg, p.checkup))
		})
	}
}

// The certificate of whoever ends TLS in front.
func TestTheDoctorLooksAtTheCertificate(t *testing.T) {
	for left, want := range map[time.Duration]server.Severity{30 * 24 * time.Hour: server.Fine, 10 * 24 * time.Hour: server.Warning} {
		if f := server.Certificate(time.Now().Add(left)); len(f) != 1 || f[0].Severity != want {
			t.Errorf("%v before its end: %+v", left, f)
		}
	}
}

func (p *patient) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

func (p *patient) disk(free uint64) {
	p.checkup.FreeDisk = func(string) (uint64, uint64, error) { return free, 9 << 30, nil }
}

func (p *patient) old() {
	at := time.Now().Add(-48*time.Hour - time.Minute)
	p.must(os.Chtimes(filepath.Join(p.checkup.Backups, "today.db"), at, at))
}

// archived gives the patient an archive that another server has written.
func (p *patient) archived() {
	p.Helper()
	folder := filepath.Join(p.TempDir(), "archive")
	s, _ := open(p.T, map[string]string{"DEPUTY_ARCHIVE_FOLDER": folder}, io.Discard)
	serve(p.T, s)
	for {
		if marks, _ := filepath.Glob(filepath.Join(folder, "*.base")); len(marks) > 0 {
			break
		}
		if p.Context().Err() != nil {
			p.Fatal("no archive is made")
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.cfg.ArchiveFolder = folder
}
