package store_test

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"deputy/internal/deputy"
	"deputy/internal/deputytest"
	"deputy/internal/store"
)

// archived is a store with an archive.
type archived struct {
	*testing.T
	s            *store.Store
	path, folder string
	ahead        atomic.Int64 // of the clock
	says         said         // the store's log
	mu           sync.Mutex
	commits      []commit
	damaged      []error // bases that the last restore did not need
}

// commit is a write that was answered, with when it was begun and when answered.
type commit struct {
	id           deputy.EventID
	begun, ended time.Time
}

const rootOf = "the root key"

// said is what was logged.
type said struct {
	mu sync.Mutex
	bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Buffer.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Buffer.String()
}

func (s *said) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Buffer.Reset()
}

func newArchived(t *testing.T) *archived {
	return archivedIn(t, filepath.Join(t.TempDir(), "archive"))
}

func archivedIn(t *testing.T, folder string) *archived {
	a := &archived{T: t, path: deputytest.SQLite(t), folder: folder}
	a.open()
	if err := a.s.Exec(t.Context(), "INSERT INTO meta (name, value) VALUES ('"+store.MetaRootKey+"', '"+rootOf+"')"); err != nil {
		t.Fatal(err)
	}
	a.arrive()
	return a
}

func (a *archived) now() time.Time { return time.Now().Add(time.Duration(a.ahead.Load())) }

func (a *archived) open() {
	a.Helper()
	a.s = open(a.T, store.Config{Path: a.path, Archive: a.folder, ArchiveRetention: 48 * time.Hour, Migrate: true, Now: a.now, Sealing: unsealed{}, Logger: slog.New(slog.NewTextHandler(&a.says, nil))})
}

func (a *archived) close() {
	a.Helper()
	if err := a.s.Close(); err != nil {
		a.Fatal(err)
	}
}

// write commits n events, one after the other.
func (a *archived) write(n int) {
	for range n {
		e, begun := issued("z"), a.now()
		if err := a.s.Write(a.Context(), e, nil); err != nil {
			a.Error(err)
			return
		}
		a.mu.Lock()
		a.commits = append(a.commits, commit{e.ID, begun, a.now()})
		a.mu.Unlock()
	}
}

// until has the archive written until something is so.
func (a *archived) until(what string, so func() bool) {
	a.Helper()
	for range 20_000 {
		if so() {
			return
		}
		a.s.ShipArchive()
		time.Sleep(time.Millisecond)
	}
	a.Fatal("never: " + what)
}

// arrive waits until all that was written can be restored.
func (a *archived) arrive() {
	a.Helper()
	since := a.now()
	a.until("the archive has everything", func() bool {
		now := a.now()
		lag, _ := a.s.ArchiveLag()
		return now.Add(-lag).After(since)
	})
}

// round returns what tells the rounds of SQLite's log apart.
func (a *archived) round() string {
	log, err := os.ReadFile(a.path + "-wal")
	if err != nil {
		a.Fatal(err)
	}
	return string(log[:min(24, len(log))])
}

// base lets a day pass and waits for the next base.
func (a *archived) base() {
	a.Helper()
	newest := func() string { return slices.Max(a.files("*.base")) }
	before := newest()
	a.ahead.Add(int64(25 * time.Hour))
	a.until("another base", func() bool { return newest() != before })
}

func (a *archived) files(pattern string) []string {
	a.Helper()
	found, err := filepath.Glob(filepath.Join(a.folder, pattern))
	if err != nil || len(found) == 0 {
		a.Fatalf("no %s: %v", pattern, err)
	}
	return found
}

// chains returns how often the archive has begun anew.
func (a *archived) chains() int {
	a.Helper()
	ids := map[string]bool{}
	for _, file := range a.files("*.wal") {
		raw, err := os.ReadFile(file)
		if err != nil {
			a.Fatal(err)
		}
		ids[string(raw[8:24])] = true
	}
	return len(ids)
}

// restored opens what the archive has of a moment.
func (a *archived) restored(at time.Time) (*store.Store, time.Time, error) {
	path := filepath.Join(a.TempDir(), "restored.db")
	reached, damaged, err := store.Rewind(a.Context(), a.folder, at, path, rootOf)
	a.damaged = damaged
	if err != nil {
		if _, there := os.Stat(path); !errors.Is(there, fs.ErrNotExist) {
			a.Errorf("refused, and there is a database: %v", there)
		}
		return nil, reached, err
	}
	return open(a.T, store.Config{Path: path}), reached, nil
}

// check restores a moment and compares which commits are there: all from before
// the moment that was reached, none from after the one that was asked for.
func (a *archived) check(at time.Time) (there int) {
	a.Helper()
	s, reached, err := a.restored(at)
	if err != nil {
		a.Error(err)
		return 0
	}
	defer s.Close()
	for _, c := range a.commits {
		_, err := s.Event(a.Context(), organization, "", c.id)
		switch {
		case err == nil:
			there++
			if !at.IsZero() && c.begun.After(at) {
				a.Errorf("%s was written at %v, after %v, and is there", c.id, c.begun, at)
			}
		case !errors.Is(err, deputy.NotFound):
			a.Fatal(err)
		case c.ended.Before(reached):
			a.Errorf("%s was answered at %v, before %v, and is not there", c.id, c.ended, reached)
		}
	}
	return there
}

// Across checkpoints, rounds of the log, cuts of it, bases and restarts.
func TestTheArchiveBringsBackEveryMoment(t *testing.T) {
	a := newArchived(t)
	first := a.now()
	var moments []time.Time
	for round := range 4 {
		a.s.CheckpointAfter(200 << 10)
		var writers sync.WaitGroup
		for range 4 {
			writers.Go(func() { a.write(30) })
		}
		if round%2 == 1 {
			before := a.round()
			a.s.CutLog()
			a.base()
			a.until("the log is cut", func() bool { return a.round() != before })
		}
		writers.Wait()
		if round == 2 {
			a.close()
			a.open()
		}
		a.arrive()
		moments = append(moments, a.now())
	}
	if n := a.check(time.Time{}); n != len(a.commits) {
		t.Errorf("the newest has %d of %d", n, len(a.commits))
	}
	// Checkpoints of ours, of which there were dozens, end no chain.
	if n := a.chains(); n > 2 {
		t.Errorf("%d chains after two starts", n)
	}
	for _, m := range moments {
		a.check(m)
	}
	for range 12 {
		a.check(a.commits[rand.N(len(a.commits))].ended)
	}
	if _, _, err := a.restored(first.Add(-time.Hour)); err == nil || !strings.Contains(err.Error(), " goes from ") {
		t.Errorf("before the first base: %v", err)
	}
	for _, file := range a.files("*") {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", file, info.Mode(), err)
		}
	}
	if info, err := os.Stat(a.folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

// A chain that begins when all of the log is in the database file goes on in the
// log's next round, which the next write begins.
func TestAnArchiveOfALogThatIsMoved(t *testing.T) {
	a := newArchived(t)
	other := open(t, store.Config{Path: a.path}) // the log outlives the restart
	a.close()
	if err := other.Exec(t.Context(), "UPDATE meta SET value = value", "PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
		t.Fatal(err)
	}
	a.open()
	a.arrive()
	before := a.round()
	a.write(5)
	a.arrive()
	if after := a.round(); after == before {
		t.Error("the log is in the same round")
	}
	if n := a.chains(); n != 2 {
		t.Errorf("%d chains after two starts", n)
	}
	if n := a.check(time.Time{}); n != len(a.commits) {
		t.Errorf("%d of %d", n, len(a.commits))
	}
}

// What is damaged or missing is refused and named, wherever it is. Only the end
// of the last piece may lack: then it was never finished.
func TestADamagedArchiveIsRefused(t *testing.T) {
	a := newArchived(t)
	for range 2 {
		a.write(10)
		a.base() // begins a file of pieces
	}
	a.write(10)
	a.arrive()
	before := len(a.commits)
	a.write(5)
	a.close()
	// From the first base on, all pieces are needed.
	for _, pattern := range []string{"*.base", "*.db"} {
		for _, later := range a.files(pattern)[1:] {
			if err := os.Remove(later); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := a.check(time.Time{}); n != len(a.commits) {
		t.Fatalf("%d of %d", n, len(a.commits))
	}
	whole := a.folder
	damaged := func(what, pattern string, which int, names string, do func(file string) error) {
		t.Helper()
		a.folder = filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(a.folder, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		file := a.files(pattern)[which]
		if err := do(file); err != nil {
			t.Fatal(err)
		}
		if _, _, err := a.restored(time.Time{}); names != "" && (err == nil || !strings.Contains(err.Error(), filepath.Base(file)) || !strings.Contains(err.Error(), names)) {
			t.Errorf("%s of %s: %v", what, filepath.Base(file), err)
		}
	}
	flip := func(file string) error {
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		raw[rand.N(len(raw))] ^= 1 << rand.N(8)
		return os.WriteFile(file, raw, 0o600)
	}
	cut := func(file string) error {
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		return os.Truncate(file, info.Size()-7)
	}
	for which := range a.files("*") {
		for range 8 {
			damaged("a bit", "*", which, "is damaged", flip)
		}
	}
	damaged("all", "*.db", 0, "no such file", os.Remove)
	for which := range a.files("*.wal") {
		if which < 2 { // of the last one nobody knows that it was there
			damaged("all", "*.wal", which, "is missing", os.Remove)
			damaged("the end", "*.wal", which, "is damaged or cut short", cut)
		}
	}
	damaged("the end", "*.wal", 2, "", cut)
	if n := a.check(time.Time{}); n < before || n == len(a.commits) {
		t.Errorf("without the end of the last piece: %d of %d, %d before it", n, len(a.commits), before)
	}
	a.folder = whole
	if _, _, err := store.Rewind(t.Context(), whole, time.Time{}, a.path, rootOf); err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("over a database: %v", err)
	}
	if _, _, err := store.Rewind(t.Context(), whole, time.Time{}, filepath.Join(t.TempDir(), "x.db"), "another"); err == nil || !strings.Contains(err.Error(), "another root key") {
		t.Errorf("with another root key: %v", err)
	}
}

// What another program does to the log shows, and a new base begins.
func TestALogThatWentOnWithoutTheArchive(t *testing.T) {
	a := newArchived(t)
	a.write(10)
	a.arrive()
	other := open(t, store.Config{Path: a.path})
	for range 3 {
		if err := other.Exec(t.Context(), "UPDATE meta SET value = value", "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
			t.Fatal(err)
		}
	}
	a.write(10)
	a.until("another base", func() bool { return len(a.files("*.base")) > 1 })
	a.arrive()
	if n := a.check(time.Time{}); n != len(a.commits) {
		t.Errorf("%d of %d", n, len(a.commits))
	}
}

// A damaged base is needed only for moments that no other leads to.
func TestOneDamagedBase(t *testing.T) {
	a := newArchived(t)
	var moments []time.Time // one from each base on
	step := func() {
		a.write(4)
		a.arrive()
		moments = append(moments, a.now())
		a.write(1)
		a.arrive()
	}
	step()
	for range 2 {
		a.base()
		step()
	}
	a.close()
	closed := a.now()
	a.open()
	a.arrive()
	step()
	whole := a.folder
	for _, damage := range []struct {
		file    string
		which   int
		refuses []int // of the moments
	}{
		{"*.base", 0, []int{0}},
		{"*.db", 0, []int{0}},
		{"*.base", 1, nil},
		{"*.db", 1, nil},
		{"*.base", 2, nil},
		{"*.db", 2, nil},
		{"*.base", 3, []int{3, 4}},
		{"*.db", 3, []int{3, 4}},
	} {
		a.folder = filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(a.folder, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		file := a.files(damage.file)[damage.which]
		if err := os.WriteFile(file, []byte("no base\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for which, at := range append(slices.Clone(moments), time.Time{}) {
			if slices.Contains(damage.refuses, which) {
				_, _, err := a.restored(at)
				if err == nil || !strings.Contains(err.Error(), filepath.Base(file)+" is damaged") {
					t.Errorf("moment %d without %s: %v", which, filepath.Base(file), err)
				}
				continue
			}
			want := which*5 + 4
			if at.IsZero() {
				want = len(a.commits)
			}
			if n := a.check(at); n != want {
				t.Errorf("moment %d without %s: %d of %d", which, filepath.Base(file), n, want)
			}
			mark := strings.HasSuffix(damage.file, ".base")
			if named := len(a.damaged) == 1 && strings.Contains(a.damaged[0].Error(), filepath.Base(file)); named != (mark || which == damage.which) && damage.which != 3 {
				t.Errorf("moment %d without %s: warned of %v", which, filepath.Base(file), a.damaged)
			}
		}
		if damage.which == 3 {
			if n := a.check(closed); n != 15 {
				t.Errorf("between two chains, of which one has no base: %d of 15", n)
			}
		}
	}
}

// What is older than the retention goes; what is needed to get back to its
// beginning stays.
func TestTheArchiveForgets(t *testing.T) {
	a := newArchived(t)
	for range 6 {
		a.write(3)
		a.base()
	}
	first, _, err := store.ArchiveSpan(a.folder)
	if err != nil {
		t.Fatal(err)
	}
	if age := a.now().Sub(first); age < 48*time.Hour || age > 76*time.Hour {
		t.Errorf("it goes back by %v", age)
	}
	if bases, pieces := a.files("*.base"), a.files("*.wal"); len(a.files("*.db")) != len(bases) || len(pieces) != len(bases) {
		t.Errorf("%v is left", a.files("*"))
	}
	a.check(a.now().Add(-48 * time.Hour))
}

// What waited for the folder is handed over in several pieces. A moment between
// two of them promises nothing that only the later one brings.
func TestAMomentBetweenPiecesOfOneBacklog(t *testing.T) {
	a := newArchived(t)
	if err := errors.Join(os.Rename(a.folder, a.folder+"-away"), os.WriteFile(a.folder, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		a.write(2)
		if err := a.s.Exec(t.Context(), "INSERT INTO meta (name, value) SELECT hex(randomblob(8)), hex(randomblob(300000))"); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Remove(a.folder), os.Rename(a.folder+"-away", a.folder)); err != nil {
		t.Fatal(err)
	}
	a.arrive()
	raw, err := os.ReadFile(a.files("*.wal")[0])
	if err != nil {
		t.Fatal(err)
	}
	first, _, err := store.ArchiveSpan(a.folder)
	if err != nil {
		t.Fatal(err)
	}
	between := 0
	for _, end := range store.PieceEnds(raw) {
		if end.Before(first) {
			continue
		}
		if n := a.check(end); n > 0 && n < len(a.commits) {
			between++
		}
	}
	if between == 0 {
		t.Error("all came in one piece")
	}
}

// A folder may be called what it likes.
func TestRestoreIntoAFolderOfAnyName(t *testing.T) {
	a := newArchived(t)
	folder := filepath.Join(t.TempDir(), "is it 100%41 of #1?")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Rewind(t.Context(), a.folder, time.Time{}, filepath.Join(folder, "x.db"), rootOf); err != nil {
		t.Error(err)
	}
}

// PostgreSQL has its own.
func TestOnlySQLiteHasAnArchive(t *testing.T) {
	if _, err := tryOpen(t, store.Config{URL: "postgres://127.0.0.1:1/x", Archive: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "SQLite") {
		t.Error(err)
	}
}

// FuzzPieces reads what is no file of pieces.
func FuzzPieces(f *testing.F) {
	good := store.PiecesOf(512, 3)
	f.Add(good)
	f.Add(good[:len(good)-5])
	f.Add(good[:120])
	f.Fuzz(func(t *testing.T, raw []byte) {
		n := store.ReadPieces(raw)
		if n > 0 && !bytes.HasPrefix(raw, []byte("deputyA1")) {
			t.Errorf("%d pieces", n)
		}
	})
}

// What a crash left in SQLite's log, which may be much, is moved into the
// database before the archive follows the log.
func TestTheArchiveBeginsWithAnEmptyLog(t *testing.T) {
	a := newArchived(t)
	a.write(100)
	crashed := filepath.Join(t.TempDir(), "crashed.db")
	var left int
	for _, file := range []string{"", "-wal"} {
		b, err := os.ReadFile(a.path + file)
		if err == nil {
			left, err = len(b), os.WriteFile(crashed+file, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	a.close()
	a.path = crashed
	a.open()
	info, err := os.Stat(crashed + "-wal")
	if err != nil || info.Size() >= int64(left) {
		t.Errorf("the log had %d bytes and has %d: %v", left, info.Size(), err)
	}
	a.arrive()
	a.close()
}
